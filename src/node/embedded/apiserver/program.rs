//! kube-apiserver as a program of the container runtime.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use super::flags::{
    Flags, aggregate, authorization_config, complete, gates, help, logging, validate,
};
use super::klog::Klog;
use super::{startup, version};
use crate::audit::options::number::quote;
use crate::audit::options::pflag::CommandLine;
use crate::audit::options::table;
use crate::node::embedded::machine::Machine;
use crate::node::embedded::process::{Process, Program};
use crate::node::embedded::version::KUBERNETES;

/// kube-apiserver.
pub struct KubeApiServer {
    machine: Arc<Machine>,
}

impl KubeApiServer {
    /// The program, on this machine.
    #[must_use]
    pub fn new(machine: Arc<Machine>) -> Self {
        Self { machine }
    }
}

impl Program for KubeApiServer {
    fn run(&self, process: Process) -> Pin<Box<dyn Future<Output = i32> + Send>> {
        Box::pin(run(self.machine.clone(), process))
    }
}

async fn run(machine: Arc<Machine>, process: Process) -> i32 {
    let output = process.output.clone();
    let arguments = process.argv.get(1..).unwrap_or_default();
    let line = match CommandLine::parse(arguments) {
        Ok(line) => line,
        Err(error) => {
            output.stderr(&format!("Error: {}", error.message));
            return 1;
        }
    };
    for notice in &line.notices {
        output.stderr(notice);
    }
    if line.help {
        for line in help::lines() {
            output.stdout(&line);
        }
        return 0;
    }
    if line.arguments.iter().any(|argument| !argument.is_empty()) {
        let all: Vec<String> = line.arguments.iter().map(|a| quote(a)).collect();
        output.stderr(&format!(
            "Error: \"kube-apiserver\" does not take any arguments, got [{}]",
            all.join(" ")
        ));
        return 1;
    }
    // In its container it is the first process.
    let klog = Klog::new(output.clone(), 1, line.int("v"));
    let failed = |klog: &Klog, error: &str| {
        klog.error_value("run.go:72", "command failed", error);
        1
    };
    let mut flags = Flags::from(line);
    if let Err(error) = gates::set(&flags) {
        return failed(&klog, &error);
    }
    match flags.line.text("version").as_str() {
        "raw" => {
            output.stdout(&version::go_syntax());
            return 0;
        }
        "true" => {
            output.stdout(&format!("Kubernetes {KUBERNETES}"));
            return 0;
        }
        _ => {}
    }
    if let Err(error) = logging::validate(&flags) {
        return failed(&klog, &error);
    }
    let klog = klog.formatted(&flags.line.text("logging-format"));
    if klog.verbosity() >= 1 {
        for flag in table::sorted() {
            let value = flags.line.value(flag.name).text();
            klog.info(
                1,
                "flags.go:64",
                &format!("FLAG: --{}={}", flag.name, quote(&value)),
            );
        }
    }
    let signing_key = match complete(&machine, &flags, &process, &klog) {
        Ok(key) => key,
        Err(error) => return failed(&klog, &error),
    };
    let errors = validate::validate(&flags, &process.rootfs, &klog);
    if !errors.is_empty() {
        return failed(&klog, &aggregate(&errors));
    }
    let config = flags.line.text("authorization-config");
    if !config.is_empty() {
        flags.configured_modes = authorization_config::modes(&process.rootfs, &config).ok();
    }
    klog.info(0, "server.go:184", &format!("Version: {KUBERNETES}"));
    klog.info(
        0,
        "server.go:186",
        "\"Golang settings\" GOGC=\"\" GOMAXPROCS=\"\" GOTRACEBACK=\"\"",
    );
    let start = startup::build(
        machine,
        flags,
        klog.clone(),
        process.rootfs.clone(),
        signing_key,
    )
    .await;
    match start {
        Ok(server) => {
            let server = server
                .in_own_network(process.own_network)
                .of_process(process.pid);
            server.run(process.terminate).await
        }
        Err(error) => failed(&klog, &error),
    }
}

/// Completes the options; gives the key that service-account tokens are signed with.
fn complete(
    machine: &Machine,
    flags: &Flags,
    process: &Process,
    klog: &Klog,
) -> Result<Option<Vec<u8>>, String> {
    complete::before_external_host(flags, klog)?;
    if flags.line.text("external-hostname").is_empty() {
        let advertised = flags.line.text("advertise-address");
        let bound = flags.line.text("bind-address");
        let address = [advertised, bound]
            .into_iter()
            .find(|text| {
                text.parse::<IpAddr>()
                    .is_ok_and(|address| !address.is_unspecified() && !address.is_loopback())
            })
            .unwrap_or_else(|| machine.node_ip.clone());
        klog.info(
            0,
            "options.go:263",
            &format!("external host was not specified, using {address}"),
        );
    }
    complete::after_external_host(flags, klog)?;
    let key = startup::signing_key(flags, &process.rootfs)?;
    complete::last(flags)?;
    Ok(key)
}

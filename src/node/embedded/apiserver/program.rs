//! kube-apiserver as a program of the container runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::flags::{Flags, help, validate};
use super::klog::Klog;
use super::{encoding, startup, version};
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

/// Errors as Go's aggregate prints them.
fn aggregate(errors: &[String]) -> String {
    let mut unique: Vec<&str> = Vec::new();
    for error in errors {
        if !unique.contains(&error.as_str()) {
            unique.push(error);
        }
    }
    match unique.as_slice() {
        [one] => (*one).to_owned(),
        many => format!("[{}]", many.join(", ")),
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
    match line.text("version").as_str() {
        "raw" => {
            let text = String::from_utf8(encoding::json(&version::info())).unwrap_or_default();
            output.stdout(&text);
            return 0;
        }
        "false" => {}
        _ => {
            output.stdout(&format!("Kubernetes {}", KUBERNETES));
            return 0;
        }
    }
    // In its container it is the first process.
    let klog = Klog::new(output, 1, line.int("v"));
    let failed = |klog: &Klog, error: &str| {
        klog.error_value("run.go:72", "command failed", error);
        1
    };
    let format = line.text("logging-format");
    if format != "text" && format != "json" {
        return failed(
            &klog,
            &format!(
                "format: Invalid value: {}: Unsupported log format",
                quote(&format)
            ),
        );
    }
    if klog.verbosity() >= 1 {
        for flag in table::sorted() {
            let value = line.value(flag.name).text();
            klog.info(
                1,
                "flags.go:64",
                &format!("FLAG: --{}={}", flag.name, quote(&value)),
            );
        }
    }
    let flags = Flags::from(line);
    if let Err(error) = validate::complete(&flags) {
        return failed(&klog, &error);
    }
    if flags.line.text("external-hostname").is_empty() {
        let address = flags.line.text("advertise-address");
        let address = if address.is_empty() {
            machine.node_ip.clone()
        } else {
            address
        };
        klog.info(
            0,
            "options.go:263",
            &format!("external host was not specified, using {address}"),
        );
    }
    let signing_key = match startup::signing_key(&flags, &process.rootfs) {
        Ok(key) => key,
        Err(error) => return failed(&klog, &error),
    };
    let errors = validate::validate(&flags);
    if !errors.is_empty() {
        return failed(&klog, &aggregate(&errors));
    }
    klog.info(0, "server.go:184", &format!("Version: {}", KUBERNETES));
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
        Ok(server) => server.run(process.terminate).await,
        Err(error) => failed(&klog, &error),
    }
}

//! Commands without a namespace: the node's tools, kubectl, and simple file commands whose paths
//! ckslab maps to the node root itself. Everything else is refused, with the reason.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use super::super::confine::Confined;
use super::super::daemon::Config;
use super::files;
use crate::node::{ExecOutput, NodeError};

/// The standard streams of a command.
pub struct Streams<'a> {
    /// Standard input.
    pub stdin: &'a mut dyn Read,
    /// Standard output.
    pub stdout: &'a mut dyn Write,
    /// Standard error.
    pub stderr: &'a mut dyn Write,
}

/// Runs a command with the standard streams of this process; gives its exit code.
///
/// # Errors
/// When the command is none that can be mapped, with the reason.
pub fn run(config: &Config, argv: &[String]) -> Result<u8, NodeError> {
    let (program, arguments) = split(argv)?;
    if program == "kubectl" {
        let status = kubectl(config, arguments)?.status().map_err(no_kubectl)?;
        return Ok(super::exit_code(status));
    }
    let mut streams = Streams {
        stdin: &mut io::stdin().lock(),
        stdout: &mut io::stdout().lock(),
        stderr: &mut io::stderr().lock(),
    };
    own(config, program, arguments, &mut streams)
}

/// Runs a command and keeps what it writes.
///
/// # Errors
/// When the command is none that can be mapped, with the reason.
pub fn capture(
    config: &Config,
    argv: &[String],
    mut stdin: &[u8],
) -> Result<ExecOutput, NodeError> {
    let (program, arguments) = split(argv)?;
    if program == "kubectl" {
        return capture_kubectl(config, arguments, stdin);
    }
    let mut output = ExecOutput::default();
    let mut streams = Streams {
        stdin: &mut stdin,
        stdout: &mut output.stdout,
        stderr: &mut output.stderr,
    };
    output.code = own(config, program, arguments, &mut streams)?;
    Ok(output)
}

fn split(argv: &[String]) -> Result<(&str, &[String]), NodeError> {
    // Whoever is on the node is root.
    let argv = match argv.split_first() {
        Some((first, rest)) if first == super::SUDO => super::without_sudo(rest),
        _ => argv,
    };
    match argv.split_first() {
        // `/usr/bin/cat` is `cat` to whoever types it.
        Some((program, arguments)) => {
            Ok((program.rsplit('/').next().unwrap_or(program), arguments))
        }
        None => Err(NodeError::Refused("no command".to_owned())),
    }
}

/// The node's tools and the file commands.
fn own(
    config: &Config,
    program: &str,
    arguments: &[String],
    streams: &mut Streams<'_>,
) -> Result<u8, NodeError> {
    if let Some(code) = super::tool(config, program, arguments, streams) {
        return Ok(code);
    }
    let node = Confined::new(&config.node_root);
    match files::run(&node, program, arguments, streams) {
        Some(code) => Ok(code),
        None => Err(NodeError::Refused(format!(
            "`{program}` cannot be confined to the node here: without private namespaces only {}, \
             kubectl and the node's tools ({}) can be run",
            files::NAMES.join(", "),
            super::TOOLS.join(", ")
        ))),
    }
}

/// Flags of kubectl whose value is a path.
const PATH_FLAGS: [&str; 12] = [
    "-f",
    "--filename",
    "-k",
    "--kustomize",
    "--from-file",
    "--from-env-file",
    "--kubeconfig",
    "--certificate-authority",
    "--client-certificate",
    "--client-key",
    "--cert",
    "--key",
];

/// The host's kubectl, with paths on its command line mapped to the node root.
fn kubectl(config: &Config, arguments: &[String]) -> Result<Command, NodeError> {
    let node = Confined::new(&config.node_root);
    let home = config.node_root.join("root");
    let mut command = Command::new("kubectl");
    command
        .args(map_paths(&node, arguments)?)
        .env(
            "KUBECONFIG",
            config.node_root.join("etc/kubernetes/admin.conf"),
        )
        .env("HOME", &home)
        .current_dir(if home.is_dir() {
            home
        } else {
            config.node_root.clone()
        });
    Ok(command)
}

fn no_kubectl(error: io::Error) -> NodeError {
    NodeError::Refused(match error.kind() {
        io::ErrorKind::NotFound => "kubectl is not installed on this machine".to_owned(),
        _ => format!("kubectl: {error}"),
    })
}

fn capture_kubectl(
    config: &Config,
    arguments: &[String],
    stdin: &[u8],
) -> Result<ExecOutput, NodeError> {
    let mut child = kubectl(config, arguments)?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(no_kubectl)?;
    let input = child.stdin.take();
    std::thread::scope(|scope| {
        // Written beside the reading, or both sides could wait for each other.
        scope.spawn(move || {
            if let Some(mut input) = input {
                let _ = input.write_all(stdin);
            }
        });
        let output = child.wait_with_output().map_err(no_kubectl)?;
        Ok(ExecOutput {
            code: super::exit_code(output.status),
            stdout: output.stdout,
            stderr: output.stderr,
        })
    })
}

/// Maps the values of path flags to host paths within the node root; everything after `--` belongs
/// to a command in a container.
fn map_paths(node: &Confined, arguments: &[String]) -> Result<Vec<String>, NodeError> {
    let mut mapped = Vec::with_capacity(arguments.len());
    let mut value_is_path = false;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if value_is_path {
            value_is_path = false;
            mapped.push(map_value(node, argument)?);
            continue;
        }
        if argument == "--" {
            mapped.push(argument.clone());
            mapped.extend(rest.cloned());
            break;
        }
        if PATH_FLAGS.contains(&argument.as_str()) {
            value_is_path = true;
            mapped.push(argument.clone());
            continue;
        }
        if let Some((flag, value)) = argument.split_once('=')
            && PATH_FLAGS.contains(&flag)
        {
            mapped.push(format!("{flag}={}", map_value(node, value)?));
            continue;
        }
        // `-fpod.yaml`: the value is stuck to the flag.
        if let Some(value) = argument
            .strip_prefix("-f")
            .filter(|_| !argument.starts_with("--"))
        {
            mapped.push(format!("-f{}", map_value(node, value)?));
            continue;
        }
        mapped.push(argument.clone());
    }
    if arguments
        .iter()
        .take_while(|a| *a != "--")
        .any(|a| a == "cp")
    {
        return Err(NodeError::Refused(
            "`kubectl cp` cannot be confined to the node here".to_owned(),
        ));
    }
    Ok(mapped)
}

/// A path, or `key=path`.
fn map_value(node: &Confined, value: &str) -> Result<String, NodeError> {
    let (prefix, path) = match value.split_once('=') {
        Some((key, path)) if !key.contains('/') => (format!("{key}="), path),
        _ => (String::new(), value),
    };
    if path == "-" || path.starts_with("http://") || path.starts_with("https://") {
        return Ok(value.to_owned());
    }
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/root/{path}")
    };
    let canonical = node.canonical(&path).map_err(|source| NodeError::Io {
        path: path.clone(),
        source,
    })?;
    let host = node.root().join(canonical.trim_start_matches('/'));
    Ok(format!("{prefix}{}", host.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_reads_files_of_the_node_only() {
        let dir = tempfile::tempdir().unwrap();
        let node = Confined::new(dir.path());
        node.write_atomic("/root/pod.yaml", b"x", 0o644).unwrap();
        node.write_atomic("/opt/a", b"x", 0o644).unwrap();
        node.symlink("/opt/a", "/opt/link").unwrap();
        let map = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
            map_paths(&node, &arguments).map(|mapped| {
                mapped
                    .join(" ")
                    .replace(&dir.path().display().to_string(), "ROOT")
            })
        };
        for (given, expected) in [
            (
                &["apply", "-f", "pod.yaml"][..],
                "apply -f ROOT/root/pod.yaml",
            ),
            (&["apply", "-f../opt/link"], "apply -fROOT/opt/a"),
            (
                &["apply", "--filename=/opt/a"],
                "apply --filename=ROOT/opt/a",
            ),
            (&["apply", "-f", "-"], "apply -f -"),
            (
                &["create", "secret", "generic", "s", "--from-file=k=/opt/a"],
                "create secret generic s --from-file=k=ROOT/opt/a",
            ),
            (&["get", "--raw", "/readyz"], "get --raw /readyz"),
            (
                &["exec", "p", "--", "cat", "-f", "/etc/passwd"],
                "exec p -- cat -f /etc/passwd",
            ),
        ] {
            assert_eq!(map(given).unwrap(), expected);
        }
        for refused in [
            &["apply", "-f", "/etc/passwd"][..],
            &["apply", "-f", "../../../../../../etc/passwd"],
            &["--kubeconfig=/etc/kubernetes/admin.conf", "get", "ns"],
            &["cp", "a", "pod:/b"],
        ] {
            assert!(map(refused).is_err(), "{refused:?}");
        }
    }
}

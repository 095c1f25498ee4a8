//! `/go-runner`, the entry point of the images of Kubernetes
//! (`kubernetes/release`, `images/build/go-runner/go-runner.go`), as it is without a program to run.

use std::future::Future;
use std::pin::Pin;

use crate::node::embedded::process::{Process, Program};

/// What it prints of its own flags.
const USAGE: [&str; 7] = [
    "Usage of /go-runner:",
    "  -also-stdout",
    "    \tuseful with log-file, log to standard output as well as the log file",
    "  -log-file string",
    "    \tIf non-empty, save stdout to this file",
    "  -redirect-stderr",
    "    \ttreat stderr same as stdout (default true)",
];

/// The entry point, given no program.
pub struct GoRunner;

impl Program for GoRunner {
    fn run(&self, process: Process) -> Pin<Box<dyn Future<Output = i32> + Send>> {
        Box::pin(async move {
            let Some(flag) = process.argv.get(1) else {
                let time = jiff::Timestamp::now().strftime("%Y/%m/%d %H:%M:%S");
                process
                    .output
                    .stderr(&format!("{time} not enough arguments to run"));
                return 1;
            };
            let name = flag.trim_start_matches('-');
            let name = name.split('=').next().unwrap_or(name);
            process
                .output
                .stderr(&format!("flag provided but not defined: -{name}"));
            for line in USAGE {
                process.output.stderr(line);
            }
            2
        })
    }
}

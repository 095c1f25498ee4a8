//! The store under `kill -9`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use ckslab::node::embedded::store::{Op, Store};
use serde_json::json;

const CHILD: &str = "CKSLAB_TEST_STORE_TO_KILL";

/// A process that writes is killed; every write it acknowledged is there, and nothing went back.
/// The same test is the child process when the variable names a store.
#[test]
fn acknowledged_writes_survive_kill_9() {
    if let Ok(path) = std::env::var(CHILD) {
        write_until_killed(&path);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut acknowledged: Vec<u64> = Vec::new();
    let mut revision = 0;
    for round in 1..=4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                "registry::acknowledged_writes_survive_kill_9",
            ])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        while seen < 40 * round {
            let line = lines.next().unwrap().unwrap();
            if let Some(n) = acknowledged_by(&line) {
                acknowledged.push(n);
                seen += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Lines still in the pipe were acknowledged too; the last may be cut off.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        acknowledged.extend(rest.iter().filter_map(|line| acknowledged_by(line)));
        let store = Store::open(&path).unwrap();
        for n in &acknowledged {
            let found = store.get(&format!("/registry/core/configmaps/d/{n}"));
            assert_eq!(found.unwrap().value["n"], json!(n), "write {n} is lost");
        }
        assert!(store.revision() >= revision);
        revision = store.revision();
    }
}

fn acknowledged_by(line: &str) -> Option<u64> {
    line.strip_prefix("ack ")?.strip_suffix(" .")?.parse().ok()
}

fn write_until_killed(path: &str) {
    let store = Store::open(path.as_ref()).unwrap();
    let start = store.revision();
    let mut out = std::io::stdout();
    for n in start.. {
        store
            .commit_blocking(vec![Op::Create {
                key: format!("/registry/core/configmaps/d/{n}"),
                value: Arc::new(json!({"n": n, "padding": "x".repeat(500)})),
            }])
            .unwrap();
        writeln!(out, "ack {n} .").unwrap();
    }
}

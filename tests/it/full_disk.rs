//! No room left on the disk under a lab that runs: a file system of a few MiB in a private mount namespace.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::builder::Test;
use crate::client::{Client, Door};
use crate::report;

const SIZE: &str = "size=24m";
const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// A home on a small disk of its own.
struct SmallDisk {
    test: Test,
    /// Keeps the namespace while it lives.
    holder: Child,
}

impl SmallDisk {
    /// `None`, said, where that is not possible.
    fn new() -> Option<Self> {
        let test = Test::new();
        fs::create_dir_all(test.home()).unwrap();
        let mount = format!("mount -t tmpfs -o {SIZE} tmpfs \"$0\" && echo mounted && read line");
        let held = Command::new("unshare")
            .args(["-Urm", "sh", "-c", &mount])
            .arg(test.home())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut holder) = held else {
            report::skipped("unshare is not installed");
            return None;
        };
        let mut line = String::new();
        let output = holder.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        if line != "mounted\n" {
            report::skipped("no private namespaces on this machine");
            return None;
        }
        let pid = holder.id().to_string();
        let enter = ["nsenter", "--target", &pid, "--user", "--mount"];
        let test = test.through(&[&enter[..], &["--preserve-credentials"]].concat());
        Some(Self { test, holder })
    }

    /// How a path in the namespace is seen from here.
    fn seen(&self, path: &Path) -> PathBuf {
        let root = format!("/proc/{}/root", self.holder.id());
        Path::new(&root).join(path.strip_prefix("/").unwrap())
    }

    fn filling(&self) -> PathBuf {
        self.seen(&self.test.home().join("filling"))
    }

    /// Leaves no room at all.
    fn fill(&self) {
        let mut file = fs::File::create(self.filling()).unwrap();
        for piece in [1 << 20, 4096, 1] {
            let piece = vec![0; piece];
            while file.write_all(&piece).is_ok() {}
        }
    }

    fn kill_node(&self) {
        let lock = self.seen(&self.test.lab("sandbox").join("state/node.lock"));
        let pid = fs::read_to_string(&lock).unwrap();
        let killed = Command::new("kill").args(["-9", pid.trim()]).status();
        assert!(killed.unwrap().success());
        let lock = fs::File::open(lock).unwrap();
        self.test.until("the node process is gone", || {
            lock.try_lock_shared().is_ok()
        });
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.filling());
        let _ = self.test.command(["stop", "--all"]).output();
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

async fn make(client: &mut Client, name: &str, size: usize) -> (u16, String) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"value": "x".repeat(size)}});
    let made = client.ask("POST", CONFIGMAPS, &JSON, object.to_string());
    let made = made.await.expect("the server answers");
    (made.code, made.message())
}

/// The names of all ConfigMaps that were made here, and the version of the list.
async fn names(client: &mut Client) -> (BTreeSet<String>, u64) {
    let list = client.ask("GET", CONFIGMAPS, &[], "").await;
    let list: Value = serde_json::from_slice(&list.expect("the server answers").body).unwrap();
    let items = list["items"].as_array().unwrap();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let names = items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
        .filter(|name| name != "kube-root-ca.crt");
    (names.collect(), version.parse().unwrap())
}

#[test]
fn a_store_without_room_refuses_writes_loses_nothing_and_goes_on() {
    const LARGE: usize = 200_000;
    const ATTEMPTS: usize = 12;
    let Some(disk) = SmallDisk::new() else {
        return;
    };
    disk.test.start("sandbox");
    let door = Door::of(&disk.seen(&disk.test.node("sandbox", "/etc/kubernetes/admin.conf")));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (kept, latest) = runtime.block_on(async {
        let mut client = Client::new(&door, false, None);
        let (code, text) = make(&mut client, "before", 10).await;
        assert_eq!(code, 201, "{text}");
        disk.fill();
        let (mut kept, mut refused) = (BTreeSet::from(["before".to_owned()]), 0);
        for n in 0..ATTEMPTS {
            let name = format!("full-{n}");
            match make(&mut client, &name, LARGE).await {
                (201, _) => {
                    kept.insert(name);
                }
                (code, text) => {
                    let full = "etcdserver: mvcc: database space exceeded";
                    assert_eq!((code, text.as_str()), (500, full));
                    refused += 1;
                }
            }
        }
        assert!(refused > 0, "there was room for all");
        let ready = client.ask("GET", "/readyz", &[], "").await.unwrap();
        assert_eq!(ready.message(), "ok");
        let (there, latest) = names(&mut client).await;
        assert_eq!(there, kept);
        (kept, latest)
    });
    disk.kill_node();
    // Without any room it may not start, and says why.
    let tried = disk.test.run(["start", "sandbox"]);
    assert!(
        tried.code == 0 || tried.stderr.contains("no space left on device"),
        "{tried:?}"
    );
    fs::remove_file(disk.filling()).unwrap();
    disk.test.run(["start", "sandbox"]).ok();
    let status = disk.test.run(["status", "-o", "json"]).ok().json();
    assert_eq!(status["notices"], Value::Null, "nothing was set aside");
    runtime.block_on(async {
        let mut client = Client::new(&door, false, None);
        let (there, now) = names(&mut client).await;
        assert_eq!(there, kept);
        assert!(now >= latest, "revision {now} after {latest}");
        let (code, text) = make(&mut client, "after", LARGE).await;
        assert_eq!(code, 201, "{text}");
    });
}

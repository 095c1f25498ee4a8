//! What the lab's etcd keeps: through SIGKILL, through churn, through damage.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ckslab::node::embedded::store::{Op, Store};
use serde_json::{Value, json};

use crate::builder::Test;
use crate::client::{Client, Door};
use crate::load::{self, Audit};

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn door(test: &Test) -> Door {
    Door::of(&test.node("sandbox", "/etc/kubernetes/admin.conf"))
}

fn version(object: &Value) -> u64 {
    let version = object["metadata"]["resourceVersion"].as_str();
    version.unwrap().parse().unwrap()
}

/// What the server acknowledged: name of an object to its value and version; `None` once it is deleted.
type Acknowledged = Arc<Mutex<HashMap<String, Option<(String, u64)>>>>;
/// Audit-IDs of the requests that were answered.
type Answered = Arc<Mutex<Vec<String>>>;

/// Writes until the node is gone.
async fn write(
    door: Door,
    (round, writer): (usize, usize),
    known: Acknowledged,
    answered: Answered,
    over: Arc<AtomicBool>,
) {
    let mut client = Client::new(&door, writer % 2 == 1, None);
    for n in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("w{writer}-{round}-{n}");
        let value = format!("{round}.{n}");
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"value": value}});
        let id = format!("made-{name}");
        let headers = [JSON[0], ("audit-id", &id)];
        let Some(made) = client
            .ask("POST", CONFIGMAPS, &headers, object.to_string())
            .await
        else {
            return;
        };
        answered.lock().unwrap().push(id.clone());
        assert_eq!(made.code, 201, "{}", made.message());
        let made = version(&serde_json::from_slice(&made.body).unwrap());
        known
            .lock()
            .unwrap()
            .insert(name.clone(), Some((value, made)));
        if n % 3 == 0 {
            let path = format!("{CONFIGMAPS}/{name}");
            // Not known any more until the answer is there.
            known.lock().unwrap().remove(&name);
            let Some(gone) = client.ask("DELETE", &path, &JSON, "").await else {
                return;
            };
            assert_eq!(gone.code, 200, "{}", gone.message());
            known.lock().unwrap().insert(name, None);
        }
    }
}

#[test]
fn what_was_acknowledged_survives_sigkill() {
    const ROUNDS: usize = 4;
    const WRITERS: usize = 8;
    /// Acknowledged writes after which a round ends.
    const ENOUGH: usize = 40;
    let test = Test::new();
    load::lab(&test, Audit::Blocking);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (known, answered) = (Acknowledged::default(), Answered::default());
    let latest = AtomicU64::new(0);
    for round in 0..ROUNDS {
        let over = Arc::new(AtomicBool::new(false));
        let before = known.lock().unwrap().len();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let door = door(&test);
                let (known, answered) = (known.clone(), answered.clone());
                runtime.spawn(write(door, (round, writer), known, answered, over.clone()))
            })
            .collect();
        test.until("enough is written", || {
            known.lock().unwrap().len() > before + ENOUGH
        });
        test.kill_node("sandbox");
        over.store(true, Ordering::Relaxed);
        for writer in writers {
            runtime.block_on(writer).unwrap();
        }
        // The next command starts the node again.
        test.run(["status"]).ok();
        let mut client = Client::new(&door(&test), false, None);
        let list = runtime
            .block_on(client.ask("GET", CONFIGMAPS, &[], ""))
            .expect("the node is back");
        let list: Value = serde_json::from_slice(&list.body).unwrap();
        let there: HashMap<&str, &Value> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| (item["metadata"]["name"].as_str().unwrap(), item))
            .collect();
        for (name, state) in known.lock().unwrap().iter() {
            match state {
                None => assert!(!there.contains_key(name.as_str()), "{name} is back"),
                Some((value, made)) => {
                    let object = there
                        .get(name.as_str())
                        .unwrap_or_else(|| panic!("{name} is lost"));
                    assert_eq!(object["data"]["value"], value.as_str());
                    assert_eq!(version(object), *made);
                    latest.fetch_max(*made, Ordering::Relaxed);
                }
            }
        }
        let now = version(&list);
        let before = latest.fetch_max(now, Ordering::Relaxed);
        assert!(now >= before, "revision {now} after {before}");
    }
    let entries = load::entries(&test.node("sandbox", "/var/log/kubernetes/audit"));
    let complete: HashSet<&str> = entries
        .iter()
        .filter(|entry| entry["stage"] == "ResponseComplete")
        .map(|entry| entry["auditID"].as_str().unwrap())
        .collect();
    for id in answered.lock().unwrap().iter() {
        assert!(
            complete.contains(id.as_str()),
            "{id} was answered and not audited"
        );
    }
}

#[test]
fn a_damaged_store_is_set_aside_and_said() {
    let test = Test::new();
    test.start("sandbox");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let make = |name: &str| {
        let mut client = Client::new(&door(&test), false, None);
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        let answer = runtime.block_on(client.ask("POST", CONFIGMAPS, &JSON, object.to_string()));
        let answer = answer.expect("the server answers");
        assert_eq!(answer.code, 201, "{}", answer.message());
        version(&serde_json::from_slice(&answer.body).unwrap())
    };
    let mut latest = make("before");
    assert_eq!(
        test.run(["status", "-o", "json"]).ok().json()["notices"],
        Value::Null
    );
    let store = test.lab("sandbox").join("state/etcd.redb");
    let damages: [(&str, &dyn Fn()); 4] = [
        ("the file is cut", &|| {
            let length = std::fs::metadata(&store).unwrap().len();
            let file = std::fs::OpenOptions::new()
                .write(true)
                .open(&store)
                .unwrap();
            file.set_len(length / 3).unwrap();
        }),
        ("something else", &|| {
            std::fs::write(&store, "not a store".repeat(5000)).unwrap()
        }),
        ("it is empty", &|| std::fs::write(&store, "").unwrap()),
        ("it is not a file", &|| {
            std::fs::remove_file(&store).unwrap();
            std::fs::create_dir(&store).unwrap();
            std::fs::write(store.join("file"), "").unwrap();
        }),
    ];
    for (what, damage) in damages {
        test.run(["stop"]).ok();
        damage();
        test.run(["start", "sandbox"]).ok();
        let status = test.run(["status", "-o", "json"]).ok().json();
        assert_eq!(status["apiserver"]["ready"], true, "{what}");
        let notice = status["notices"][0]
            .as_str()
            .unwrap_or_else(|| panic!("{what}: {status}"));
        assert!(
            notice.starts_with("the data of etcd were damaged and set aside"),
            "{notice}"
        );
        let text = test.run(["status"]).ok().stdout;
        assert!(
            text.contains("ckslab reset sandbox makes the lab anew"),
            "{text}"
        );
        // A cluster that works, without what was made in the old one, and whose revisions go on.
        let before = std::mem::replace(&mut latest, make("before"));
        assert!(latest > before, "{what}: {latest} after {before}");
        assert!(
            store
                .with_extension("redb.damaged")
                .symlink_metadata()
                .is_ok()
        );
    }
    test.run(["reset"]).ok();
    assert_eq!(
        test.run(["status", "-o", "json"]).ok().json()["notices"],
        Value::Null
    );
}

#[test]
fn the_store_stays_small_however_often_an_object_changes() {
    const CHANGES: u64 = 50_000;
    const AT_ONCE: u64 = 100;
    /// Most bytes of the file: that of an object of a few bytes, whatever its past.
    const FILE: u64 = 4 << 20;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Store::open(&path).unwrap();
    for n in 0..CHANGES / AT_ONCE {
        let ops = (0..AT_ONCE)
            .map(|i| Op::Put {
                key: "/registry/core/configmaps/default/one".to_owned(),
                value: Arc::new(json!({"n": n * AT_ONCE + i, "data": "x".repeat(500)})),
            })
            .collect();
        store.commit_blocking(ops).unwrap();
    }
    assert_eq!(store.revision(), CHANGES);
    let length = std::fs::metadata(&path).unwrap().len();
    assert!(length <= FILE, "{length} bytes");
    drop(store);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.revision(), CHANGES);
    let stored = store.get("/registry/core/configmaps/default/one").unwrap();
    assert_eq!(stored.value["n"], CHANGES - 1);
}

#[test]
fn the_store_is_small_again_when_what_was_in_it_is_gone() {
    const OBJECTS: usize = 10_000;
    const AT_ONCE: usize = 100;
    /// Changes of an object meanwhile.
    const CHANGES: u64 = 300;
    /// Most bytes of the file once all is gone.
    const FILE: u64 = 4 << 20;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = Store::open(&path).unwrap();
    let key = |n: usize| format!("/registry/core/configmaps/default/{n}");
    let all: Vec<usize> = (0..OBJECTS).collect();
    let length = || std::fs::metadata(&path).unwrap().len();
    for some in all.chunks(AT_ONCE) {
        let value = Arc::new(json!({"data": "x".repeat(2000)}));
        let put = |n: &usize| Op::Put {
            key: key(*n),
            value: value.clone(),
        };
        store
            .commit_blocking(some.iter().map(put).collect())
            .unwrap();
    }
    let most = length();
    for some in all.chunks(AT_ONCE) {
        let delete = |n: &usize| Op::Delete {
            key: key(*n),
            expected: None,
        };
        store
            .commit_blocking(some.iter().map(delete).collect())
            .unwrap();
    }
    // The file is looked at once in a while.
    for n in 0..CHANGES {
        let op = Op::Put {
            key: key(0),
            value: Arc::new(json!(n)),
        };
        store.commit_blocking(vec![op]).unwrap();
    }
    assert!(length() <= FILE, "{} bytes, after {most}", length());
    drop(store);
    let store = Store::open(&path).unwrap();
    assert!(length() <= FILE, "{} bytes", length());
    assert_eq!(store.revision(), 2 * OBJECTS as u64 + CHANGES);
}

#[test]
fn a_full_store_says_so_until_there_is_room() {
    let store = Store::in_memory();
    let megabyte = Arc::new(json!("x".repeat(1 << 20)));
    let put = |n: usize| {
        store.commit_blocking(vec![Op::Put {
            key: format!("/{n}"),
            value: megabyte.clone(),
        }])
    };
    let refused = (0..1000)
        .find_map(|n| put(n).err())
        .expect("there is an end");
    assert_eq!(
        refused.to_string(),
        "etcdserver: mvcc: database space exceeded"
    );
    // What does not grow is still written, and what is deleted makes room.
    put(0).unwrap();
    let delete = Op::Delete {
        key: "/0".to_owned(),
        expected: None,
    };
    store.commit_blocking(vec![delete]).unwrap();
    put(1000).unwrap();
    put(1001).unwrap_err();
}

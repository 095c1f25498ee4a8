//! Real pace: what takes long on a real node takes long here. Too slow for every day: `.ci/run` runs it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::builder::Test;

#[test]
#[ignore = "takes a minute, as it does in reality; .ci/run runs it"]
fn real_pace_an_edit_waits_for_the_old_server_that_clients_watch() {
    let test = Test::new();
    test.run(["start", "sandbox", "--pace", "real", "--seed", "1"])
        .ok();
    let manifest = test.node("sandbox", "/etc/kubernetes/manifests/kube-apiserver.yaml");
    let text = fs::read_to_string(&manifest).unwrap();
    let edited = text.replace("- --advertise", "- --v=2\n    - --advertise");
    assert_ne!(edited, text);
    let before = Timestamp::now();
    fs::write(&manifest, edited).unwrap();

    // The old container is removed soon after its end: everything that was ever seen is kept.
    let mut seen: BTreeMap<String, Value> = BTreeMap::new();
    let deadline = std::time::Instant::now() + Duration::from_secs(180);
    let snapshot = test.home().join("labs/sandbox/state/snapshot.json");
    loop {
        let state: Value = serde_json::from_slice(&fs::read(&snapshot).unwrap()).unwrap();
        let mut ready = false;
        for container in state["containers"].as_array().unwrap() {
            if container["name"] != "kube-apiserver" {
                continue;
            }
            let argv = container["argv"].as_array().unwrap();
            ready |= container["ready"] == true && argv.iter().any(|arg| arg == "--v=2");
            seen.insert(container["id"].as_str().unwrap().into(), container.clone());
        }
        if ready {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{seen:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let time = |container: &Value, key: &str| -> Timestamp {
        container[key].as_str().unwrap().parse().unwrap()
    };
    let old = seen.values().find(|c| !c["finished"].is_null()).unwrap();
    let new = seen.values().find(|c| c["finished"].is_null()).unwrap();
    assert_eq!((seen.len(), &old["exit_code"]), (2, &Value::from(137)));
    // Its grace period is 30 seconds: no machine is too fast for that.
    let held = time(old, "finished").duration_since(before).as_secs();
    assert!((29..).contains(&held), "{held}");
    assert!(time(new, "created") >= time(old, "finished"));
}

//! One API server from all sides: in every state of it, what the tools of the node, the files below `/var/log`, the
//! port and the API itself say of it is one truth.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;

use serde_json::Value;

use crate::builder::{Test, has_kubectl};

const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

struct Lab {
    test: Test,
    /// Where clients reach the API server.
    address: String,
    /// The manifest as it was.
    manifest: String,
    has_kubectl: bool,
}

impl Lab {
    fn new() -> Self {
        let test = Test::new();
        let started = test.start("sandbox");
        let server = started["server"].as_str().unwrap();
        let manifest = fs::read_to_string(test.node("sandbox", MANIFEST)).unwrap();
        Self {
            address: server.trim_start_matches("https://").to_owned(),
            manifest,
            has_kubectl: has_kubectl(),
            test,
        }
    }

    /// Writes the manifest with one text in the place of another.
    fn edit(&self, from: &str, to: &str) {
        self.edit_all(&[(from, to)]);
    }

    fn edit_all(&self, changes: &[(&str, &str)]) {
        let mut text = self.manifest.clone();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        fs::write(self.test.node("sandbox", MANIFEST), text).unwrap();
    }

    fn repair(&self) {
        fs::write(self.test.node("sandbox", MANIFEST), &self.manifest).unwrap();
    }

    /// What a tool of the node prints.
    fn tool(&self, line: &str) -> String {
        let words = ["exec", "--"].into_iter().chain(line.split(' '));
        self.test.run(words).stdout
    }

    fn tool_json(&self, line: &str) -> Value {
        serde_json::from_str(&self.tool(line)).unwrap_or_default()
    }

    /// Looks until all views agree, and on this.
    #[track_caller]
    fn shows(&self, state: &str, expected: impl Fn(&View) -> Result<(), String>) -> View {
        let mut problem = String::new();
        for _ in 0..120 {
            let view = View::of(self);
            match view.agrees(self).and_then(|()| expected(&view)) {
                Ok(()) => return view,
                Err(text) => problem = format!("{text}\n{view:#?}"),
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("{state}: {problem}");
    }
}

/// The API server as each of the views has it.
#[derive(Debug)]
struct View {
    /// `ckslab status`.
    status: Value,
    /// `crictl ps -a`, newest first.
    containers: Vec<Value>,
    /// `crictl inspect` of each.
    inspected: Vec<Value>,
    /// `crictl pods`.
    pods: Vec<Value>,
    /// Processes by `pgrep` and by `ps`.
    pids: BTreeSet<String>,
    listed: BTreeSet<String>,
    /// Listening sockets: address and what the tool says of the process.
    ss: Vec<(String, String)>,
    netstat: Vec<(String, String)>,
    /// Whether a client is let in.
    connects: bool,
}

impl View {
    fn of(lab: &Lab) -> Self {
        let array = |value: Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
        let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let containers = array(
            lab.tool_json("crictl ps -a -o json --name ^kube-apiserver$"),
            "containers",
        );
        let inspected = containers
            .iter()
            .map(|c| lab.tool_json(&format!("crictl inspect {}", c["id"].as_str().unwrap())))
            .collect();
        let columns = |text: String, address: usize, process: usize| {
            lines(text)
                .iter()
                .filter(|line| line.contains("LISTEN"))
                .map(|line| {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    (words[address].to_owned(), words[process..].join(" "))
                })
                .collect()
        };
        Self {
            pods: array(
                lab.tool_json("crictl pods -o json --name ^kube-apiserver-"),
                "items",
            ),
            pids: lines(lab.tool("pgrep -x kube-apiserver"))
                .into_iter()
                .collect(),
            listed: lines(lab.tool("ps -eo pid=,args="))
                .iter()
                .filter_map(|line| line.trim().split_once(' '))
                .filter(|(_, args)| args.trim().starts_with("kube-apiserver "))
                .map(|(pid, _)| pid.to_owned())
                .collect(),
            ss: columns(lab.tool("ss -ltnp"), 3, 5),
            netstat: columns(lab.tool("netstat -ltnp"), 3, 6),
            connects: TcpStream::connect(&lab.address).is_ok(),
            containers,
            inspected,
            status: lab.test.run(["status", "-o", "json"]).json(),
        }
    }

    fn api(&self) -> &Value {
        &self.status["apiserver"]
    }

    /// The newest container.
    fn newest(&self) -> &Value {
        self.inspected.first().unwrap_or(&Value::Null)
    }

    fn is(&self, state: &str) -> Result<(), String> {
        same("state", &self.api()["state"], &state.into())
    }

    /// Whether no two of the views contradict each other.
    fn agrees(&self, lab: &Lab) -> Result<(), String> {
        let running: BTreeSet<String> = self
            .inspected
            .iter()
            .filter(|c| c["status"]["state"] == "CONTAINER_RUNNING")
            .map(|c| c["info"]["pid"].to_string())
            .collect();
        same("pgrep", &self.pids, &running)?;
        same("ps", &self.listed, &running)?;
        let is_running = self.api()["state"] == "running";
        same("status", &is_running, &!running.is_empty())?;

        let port = |sockets: &[(String, String)], port: &str| -> Vec<(String, String)> {
            let of_port = |(address, _): &&(String, String)| address.ends_with(port);
            sockets.iter().filter(of_port).cloned().collect()
        };
        let open = port(&self.ss, ":6443");
        let also_open = port(&self.netstat, ":6443");
        same("netstat", &also_open.len(), &open.len())?;
        same("port", &self.connects, &!open.is_empty())?;
        for (_, process) in &open {
            let pid = running.iter().next().cloned().unwrap_or_default();
            let expected = format!("users:((\"kube-apiserver\",pid={pid},fd=3))");
            same("ss", process, &expected)?;
            same("netstat", &also_open[0].1, &format!("{pid}/kube-apiserver"))?;
        }
        if self.api()["ready"] == true {
            same("ready and listening", &open.len(), &1)?;
        }

        for container in &self.inspected {
            let status = &container["status"];
            let path = status["logPath"].as_str();
            let path = path.ok_or("a container was removed meanwhile")?;
            let file = lab.test.node("sandbox", path);
            same("log file", &file.is_file(), &true)?;
            let pod = &status["labels"];
            let link = format!(
                "/var/log/containers/{}_{}_{}-{}.log",
                pod["io.kubernetes.pod.name"].as_str().unwrap(),
                pod["io.kubernetes.pod.namespace"].as_str().unwrap(),
                status["metadata"]["name"].as_str().unwrap(),
                status["id"].as_str().unwrap()
            );
            let target = fs::read_link(lab.test.node("sandbox", &link));
            let target = target.map_err(|error| format!("{link}: {error}"))?;
            same("link", &target.display().to_string().as_str(), &path)?;
        }
        same(
            "links",
            &names(lab, "/var/log/containers").len(),
            &self.inspected.len(),
        )?;
        let directories: BTreeSet<String> = names(lab, "/var/log/pods").into_iter().collect();
        let pods: BTreeSet<String> = self
            .pods
            .iter()
            .map(|pod| {
                let metadata = &pod["metadata"];
                let [namespace, name, uid] = ["namespace", "name", "uid"]
                    .map(|key| metadata[key].as_str().unwrap().to_owned());
                format!("{namespace}_{name}_{uid}")
            })
            .collect();
        same("directories of logs", &directories, &pods)?;

        if let Some(newest) = self.inspected.first() {
            let status = &newest["status"];
            same(
                "restarts",
                &self.api()["restarts"],
                &status["metadata"]["attempt"],
            )?;
            if status["state"] == "CONTAINER_EXITED" {
                same("exit code", &self.api()["exit_code"], &status["exitCode"])?;
            }
            let id = status["id"].as_str().unwrap();
            let log = lab.test.run(["exec", "--", "crictl", "logs", id]);
            let last = log.stderr.lines().last().unwrap_or_default().to_owned();
            let tail = self.api()["log_tail"].as_array().unwrap();
            let is_last = tail
                .iter()
                .rev()
                .take(20)
                .any(|line| *line == last.as_str());
            if !log.stderr.is_empty() && !is_last {
                return Err(format!("log: {last:?} is not at the end of {tail:?}"));
            }
        }
        Ok(())
    }
}

fn names(lab: &Lab, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(lab.test.node("sandbox", directory));
    let names = entries.into_iter().flatten().flatten();
    names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("kube-apiserver"))
        .collect()
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, seen: &T, expected: &T) -> Result<(), String> {
    if seen == expected {
        Ok(())
    } else {
        Err(format!("{what}: {seen:?}, not {expected:?}"))
    }
}

fn has(what: &str, text: &str, part: &str) -> Result<(), String> {
    if text.contains(part) {
        Ok(())
    } else {
        Err(format!("{what}: no {part:?} in {text}"))
    }
}

/// The API's own view, while it answers.
fn the_api_agrees(lab: &Lab, view: &View) -> Result<(), String> {
    if !lab.has_kubectl {
        return Ok(());
    }
    let kubectl = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        lab.test.kubectl(&words).unwrap()
    };
    let pod = kubectl("get pod -n kube-system kube-apiserver-controlplane -o json");
    if pod.code != 0 {
        return Err(pod.stderr);
    }
    let pod = pod.json();
    let own = &pod["status"]["containerStatuses"][0];
    let newest = &view.newest()["status"];
    let id = newest["id"].as_str().unwrap_or_default();
    same(
        "containerID",
        &own["containerID"],
        &format!("containerd://{id}").into(),
    )?;
    same(
        "restartCount",
        &own["restartCount"],
        &newest["metadata"]["attempt"],
    )?;
    same("startedAt", &own["state"]["running"].is_object(), &true)?;
    same("ready", &own["ready"], &view.api()["ready"])?;
    same("imageID", &own["imageID"], &newest["imageRef"])?;
    let log = kubectl("logs -n kube-system kube-apiserver-controlplane --tail=3");
    let file = lab.test.run(["exec", "--", "crictl", "logs", id]);
    let last = log.stdout.lines().last().unwrap_or_default();
    has("kubectl logs", &file.stderr, last)?;
    has("readyz", &kubectl("get --raw /readyz").stdout, "ok")?;
    let describe = kubectl("describe pod -n kube-system kube-apiserver-controlplane").stdout;
    has("describe", &describe, id)
}

fn running(lab: &Lab, view: &View) -> Result<(), String> {
    view.is("running")?;
    same("ready", &view.api()["ready"], &true.into())?;
    the_api_agrees(lab, view)
}

/// What is listened on: addresses, sorted.
fn addresses(view: &View) -> Vec<String> {
    let mut all: Vec<String> = view.ss.iter().map(|(address, _)| address.clone()).collect();
    all.sort_unstable();
    all
}

#[test]
fn a_running_api_server_and_the_ports_of_a_control_plane_node() {
    let lab = Lab::new();
    let view = lab.shows("running", |view| running(&lab, view));
    let all = addresses(&view);
    for address in [
        "*:10250",
        "*:10256",
        "*:6443",
        "127.0.0.1:10248",
        "127.0.0.1:10249",
        "127.0.0.1:10257",
        "127.0.0.1:10259",
        "127.0.0.1:2379",
        "127.0.0.1:2381",
        "172.30.1.2:2379",
        "172.30.1.2:2380",
    ] {
        assert!(all.contains(&address.to_owned()), "{address} in {all:?}");
    }
    assert!(
        view.netstat
            .iter()
            .any(|(address, process)| address == ":::10256" && process.ends_with("/kube-proxy"))
    );

    // The kubelet ends, and the containers go on.
    assert_eq!(lab.tool("systemctl stop kubelet"), "");
    let view = lab.shows("kubelet stopped", |view| {
        view.is("running")?;
        let all = addresses(view);
        same("10250", &all.contains(&"*:10250".to_owned()), &false)
    });
    assert_eq!(view.api()["ready"], true);
    assert_eq!(lab.tool("systemctl is-active kubelet"), "inactive\n");
    assert_eq!(lab.tool("pgrep -x kubelet"), "");
    // Nobody acts on the manifest now.
    lab.edit("--secure-port=6443", "--secure-prot=6443");
    lab.shows("kubelet stopped, manifest broken", |view| {
        view.is("running")
    });
    lab.repair();
    assert_eq!(lab.tool("systemctl start kubelet"), "");
    lab.shows("kubelet started", |view| running(&lab, view));

    // Its process is killed: the same pod has another container.
    let before = lab.shows("running", |view| running(&lab, view));
    let pid = before.pids.iter().next().unwrap().clone();
    lab.tool(&format!("kill -9 {pid}"));
    let after = lab.shows("killed", |view| {
        running(&lab, view)?;
        same("restarts", &view.api()["restarts"], &1.into())
    });
    assert_eq!(after.pods[0]["id"], before.pods[0]["id"]);
    let dead = after.inspected.last().unwrap();
    assert_eq!(dead["status"]["exitCode"], 137);
    assert_eq!(dead["status"]["reason"], "Error");
    let id = after.newest()["status"]["id"].as_str().unwrap();
    let previous = lab.test.run(["exec", "--", "crictl", "logs", "-p", id]);
    let old = dead["status"]["id"].as_str().unwrap();
    let first = lab.test.run(["exec", "--", "crictl", "logs", old]);
    assert_eq!(previous.stderr, first.stderr);
    if lab.has_kubectl {
        let words = "logs -p -n kube-system kube-apiserver-controlplane";
        let words: Vec<&str> = words.split(' ').collect();
        let logs = lab.test.kubectl(&words).unwrap();
        assert_eq!(logs.stdout, first.stderr);
        let words = "get pod -n kube-system kube-apiserver-controlplane -o json";
        let words: Vec<&str> = words.split(' ').collect();
        let pod = lab.test.kubectl(&words).unwrap().json();
        let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
        assert_eq!(last["exitCode"], 137);
        assert_eq!(last["containerID"], format!("containerd://{old}"));
    }
}

#[test]
fn an_api_server_that_does_not_come_up() {
    let lab = Lab::new();
    let down = |view: &View| {
        same("ready", &view.api()["ready"], &false.into())?;
        same("connects", &view.connects, &false)
    };
    lab.edit("--secure-port=6443", "--secure-prot=6443");
    lab.shows("unknown flag", |view| {
        down(view)?;
        let reason = &view.api()["reason"];
        same("reason", reason, &"CrashLoopBackOff".into())?;
        same("exit code", &view.api()["exit_code"], &1.into())?;
        let newest = view.newest();
        same("crictl", &newest["status"]["reason"], &"Error".into())?;
        let journal = lab.tool("journalctl -u kubelet --no-pager");
        has("journal", &journal, "with CrashLoopBackOff: \\\"back-off")
    });

    let certs = "mountPath: /etc/kubernetes/pki\n";
    lab.edit(certs, "mountPath: /etc/kubernetes/pkx\n");
    lab.shows("mount missing", |view| {
        down(view)?;
        let id = view.newest()["status"]["id"].as_str().unwrap_or_default();
        let log = lab.test.run(["exec", "--", "crictl", "logs", id]).stderr;
        has(
            "log",
            &log,
            "open /etc/kubernetes/pki/sa.key: no such file or directory",
        )
    });

    lab.edit(
        "type: DirectoryOrCreate\n    name: k8s-certs",
        "type: File\n    name: k8s-certs",
    );
    lab.shows("volume cannot be mounted", |view| {
        down(view)?;
        view.is("waiting")?;
        same("reason", &view.api()["reason"], &"ContainerCreating".into())?;
        same("containers", &view.containers.len(), &0)?;
        same("sandboxes", &view.pods.len(), &0)
    });

    lab.edit("kube-apiserver:v1.36.2", "kube-apiserver:v1.36.99");
    lab.shows("wrong image", |view| {
        down(view)?;
        view.is("waiting")?;
        same("reason", &view.api()["reason"], &"ImagePullBackOff".into())?;
        same("containers", &view.containers.len(), &0)?;
        same("sandboxes", &view.pods.len(), &1)
    });

    lab.repair();
    lab.shows("repaired", |view| running(&lab, view));

    lab.edit("  containers:\n", "  containers: [\n");
    lab.shows("no YAML", |view| {
        down(view)?;
        view.is("absent")?;
        same("containers", &view.containers.len(), &0)?;
        same("sandboxes", &view.pods.len(), &0)?;
        let journal = lab.tool("journalctl -u kubelet --no-pager");
        has("journal", &journal, "Could not process manifest file")
    });
    lab.repair();
    lab.shows("repaired again", |view| running(&lab, view));

    fs::remove_file(lab.test.node("sandbox", MANIFEST)).unwrap();
    lab.shows("manifest removed", |view| {
        down(view)?;
        view.is("absent")?;
        same("containers", &view.containers.len(), &0)
    });
    lab.repair();
    lab.shows("restored", |view| running(&lab, view));
}

#[test]
fn an_api_server_that_listens_and_is_not_ready() {
    let lab = Lab::new();
    // A readiness probe that meets nothing: the API works, and the pod is not ready.
    lab.edit(
        "path: /readyz\n        port: probe-port",
        "path: /readyz\n        port: 6444",
    );
    lab.shows("readiness probe on a wrong port", |view| {
        view.is("running")?;
        same("ready", &view.api()["ready"], &false.into())?;
        same("connects", &view.connects, &true)?;
        the_api_agrees(&lab, view)
    });

    // An address of the node's own only.
    lab.edit(
        "    - --secure-port=6443\n",
        "    - --secure-port=6443\n    - --bind-address=172.30.1.2\n",
    );
    lab.shows("bound to one address", |view| {
        running(&lab, view)?;
        let all = addresses(view);
        same(
            "address",
            &all.contains(&"172.30.1.2:6443".to_owned()),
            &true,
        )
    });

    // Asked to end, it listens until its delay is over.
    let port = "    - --secure-port=6443\n";
    lab.edit_all(&[
        (
            port,
            "    - --secure-port=6443\n    - --shutdown-delay-duration=60m\n",
        ),
        (
            "  hostNetwork: true\n",
            "  hostNetwork: true\n  terminationGracePeriodSeconds: 7200\n",
        ),
    ]);
    let view = lab.shows("ready to be delayed", |view| running(&lab, view));
    let pid = view.pids.iter().next().unwrap().clone();
    fs::remove_file(lab.test.node("sandbox", MANIFEST)).unwrap();
    lab.shows("ending", |view| {
        view.is("running")?;
        same("ready", &view.api()["ready"], &false.into())?;
        same("connects", &view.connects, &true)
    });
    lab.tool(&format!("kill -9 {pid}"));
    lab.shows("ended", |view| {
        view.is("absent")?;
        same("connects", &view.connects, &false)
    });
}

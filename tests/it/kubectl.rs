//! An unmodified kubectl against a sandbox lab.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::builder::{Outcome, Test};

/// A started sandbox, or nothing where kubectl is missing (which is said).
fn sandbox() -> Option<Test> {
    if !crate::builder::has_kubectl() {
        return None;
    }
    let test = Test::new();
    test.start("sandbox");
    Some(test)
}

/// Runs kubectl with words split at blanks.
fn kubectl(test: &Test, line: &str) -> Outcome {
    let words: Vec<&str> = line.split_whitespace().collect();
    test.kubectl(&words).expect("kubectl is there")
}

/// The first column of a table, without its heading.
fn names(outcome: &Outcome) -> Vec<&str> {
    outcome
        .stdout
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

#[test]
fn reads_what_a_fresh_cluster_has() {
    let Some(test) = sandbox() else { return };
    let namespaces = kubectl(&test, "get ns").ok().stderr("");
    assert!(
        namespaces
            .stdout
            .starts_with("NAME              STATUS   AGE\n"),
        "{}",
        namespaces.stdout
    );
    assert_eq!(
        names(&namespaces),
        ["default", "kube-node-lease", "kube-public", "kube-system"]
    );
    let nodes = kubectl(&test, "get nodes -o name").ok();
    assert_eq!(nodes.stdout, "node/controlplane\nnode/node01\n");
    kubectl(&test, "get --raw /readyz").ok().stdout("ok");
    let secrets = kubectl(&test, "get secrets -A").ok();
    assert!(
        secrets.stdout.starts_with("NAMESPACE     NAME"),
        "{}",
        secrets.stdout
    );
    kubectl(&test, "auth whoami -o jsonpath={.status.userInfo.username}")
        .ok()
        .stdout("kubernetes-admin");
    let explain = kubectl(&test, "explain pod.spec.containers.image").ok();
    assert!(
        explain
            .stdout
            .starts_with("KIND:       Pod\nVERSION:    v1\n\nFIELD: image <string>\n"),
        "{}",
        explain.stdout
    );
    let version = kubectl(&test, "version -o json").ok().json();
    assert_eq!(version["serverVersion"]["gitVersion"], "v1.36.2");
    let pods = kubectl(&test, "get pods -n kube-system -o name").ok();
    assert!(pods.stdout.contains("pod/coredns-"), "{}", pods.stdout);
}

#[test]
fn creates_and_deletes_secrets() {
    let Some(test) = sandbox() else { return };
    kubectl(
        &test,
        "create secret generic db --from-literal=password=hunter2",
    )
    .ok()
    .stdout("secret/db created\n")
    .stderr("");
    kubectl(&test, "create secret generic db --from-literal=a=b")
        .code(1)
        .stderr("error: failed to create secret secrets \"db\" already exists\n");
    kubectl(&test, "get secret db -o jsonpath={.data.password}")
        .ok()
        .stdout("aHVudGVyMg==");
    let table = kubectl(&test, "get secret db").ok();
    let row: Vec<&str> = table
        .stdout
        .lines()
        .nth(1)
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(row[..3], ["db", "Opaque", "1"]);
    kubectl(&test, "delete secret db").ok();
    kubectl(&test, "get secret db")
        .code(1)
        .stderr("Error from server (NotFound): secrets \"db\" not found\n");
}

#[test]
fn applies_a_deployment_whose_pods_run() {
    let Some(test) = sandbox() else { return };
    let manifest = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels:
      app: web
  template:
    metadata:
      labels:
        app: web
    spec:
      containers:
      - name: nginx
        image: nginx:1.29
";
    let apply = |text: &str| {
        test.kubectl_with(&["apply", "-f", "-"], text.as_bytes())
            .unwrap()
            .ok()
            .stderr("")
    };
    apply(manifest).stdout("deployment.apps/web created\n");
    kubectl(&test, "rollout status deployment/web --timeout=30s").ok();
    let pods = kubectl(
        &test,
        "get pods -l app=web -o jsonpath={.items[*].status.phase}",
    )
    .ok();
    assert_eq!(pods.stdout, "Running Running");
    apply(manifest).stdout("deployment.apps/web unchanged\n");
    apply(&manifest.replace("replicas: 2", "replicas: 3"))
        .stdout("deployment.apps/web configured\n");
    kubectl(&test, "rollout status deployment/web --timeout=30s").ok();
    kubectl(&test, "scale deployment web --replicas=1")
        .ok()
        .stdout("deployment.apps/web scaled\n");
    kubectl(&test, "delete deployment web --timeout=30s").ok();
    test.until("the pods are gone", || {
        kubectl(&test, "get pods -l app=web -o name")
            .stdout
            .is_empty()
    });
    let wrong = test
        .kubectl_with(
            &["apply", "-f", "-"],
            manifest.replace("replicas:", "replica:").as_bytes(),
        )
        .unwrap()
        .code(1);
    assert!(
        wrong.stderr.contains("unknown field \"spec.replica\""),
        "{}",
        wrong.stderr
    );
}

#[test]
fn impersonates_and_is_forbidden() {
    let Some(test) = sandbox() else { return };
    kubectl(&test, "get secrets --as jane")
        .code(1)
        .stderr(
            "Error from server (Forbidden): secrets is forbidden: User \"jane\" cannot list resource \"secrets\" in API group \"\" in the namespace \"default\"\n",
        );
    kubectl(&test, "auth can-i list secrets --as jane")
        .code(1)
        .stdout("no\n");
    kubectl(&test, "create role reader --verb=list --resource=secrets").ok();
    kubectl(&test, "create rolebinding jane --role=reader --user=jane").ok();
    kubectl(&test, "auth can-i list secrets --as jane")
        .ok()
        .stdout("yes\n");
    kubectl(&test, "get secrets --as jane").ok();
    kubectl(
        &test,
        "auth whoami --as jane -o jsonpath={.status.userInfo.username}",
    )
    .ok()
    .stdout("jane");
}

#[test]
fn token_of_a_service_account_is_accepted() {
    let Some(test) = sandbox() else { return };
    kubectl(&test, "create serviceaccount robot").ok();
    let token = kubectl(&test, "create token robot").ok();
    let mut command = Command::new("kubectl");
    let admin = test.node("sandbox", "/etc/kubernetes/admin.conf");
    let text = std::fs::read_to_string(admin).unwrap();
    let server = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("server: "))
        .unwrap();
    command
        .args([
            "auth",
            "whoami",
            "-o",
            "jsonpath={.status.userInfo.username}",
            "--kubeconfig=/dev/null",
            &format!("--server={server}"),
            &format!(
                "--certificate-authority={}",
                test.node("sandbox", "/etc/kubernetes/pki/ca.crt").display()
            ),
            &format!("--token={}", token.stdout.trim()),
        ])
        .env("HOME", test.work());
    test.outcome(command, b"")
        .ok()
        .stdout("system:serviceaccount:default:robot");
}

#[test]
fn a_secret_gets_the_token_of_its_account() {
    let Some(test) = sandbox() else { return };
    kubectl(&test, "create serviceaccount robot").ok();
    let secret = "\
apiVersion: v1
kind: Secret
metadata:
  name: robot-token
  annotations:
    kubernetes.io/service-account.name: robot
type: kubernetes.io/service-account-token
";
    test.kubectl_with(&["apply", "-f", "-"], secret.as_bytes())
        .unwrap()
        .ok();
    let read = "get secret robot-token -o go-template={{.data.token}} --ignore-not-found";
    test.until("the secret has a token", || {
        let outcome = kubectl(&test, read).ok();
        !outcome.stdout.is_empty() && outcome.stdout != "<no value>"
    });
    let token = test
        .kubectl(&[
            "get",
            "secret",
            "robot-token",
            "-o",
            "go-template={{.data.token | base64decode}}",
        ])
        .unwrap()
        .ok();
    let review = format!(
        "{{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenReview\",\"spec\":{{\"token\":\"{}\"}}}}",
        token.stdout
    );
    let reviewed = test
        .kubectl_with(
            &[
                "create",
                "-f",
                "-",
                "-o",
                "jsonpath={.status.user.username}",
            ],
            review.as_bytes(),
        )
        .unwrap()
        .ok();
    assert_eq!(reviewed.stdout, "system:serviceaccount:default:robot");
    kubectl(&test, "delete serviceaccount robot").ok();
    test.until("the secret is gone", || {
        kubectl(&test, read).ok().stdout.is_empty()
    });
}

#[test]
fn watches_see_changes_as_they_happen() {
    let Some(test) = sandbox() else { return };
    let mut child = Command::new("kubectl")
        .args([
            "get",
            "configmaps",
            "-w",
            "--output-watch-events",
            "-o",
            "name",
        ])
        .env(
            "KUBECONFIG",
            test.node("sandbox", "/etc/kubernetes/admin.conf"),
        )
        .env("HOME", test.work())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The first line says that the watch is there.
    let first = lines.next().unwrap().unwrap();
    assert!(first.ends_with("configmap/kube-root-ca.crt"), "{first}");
    kubectl(&test, "create configmap colours --from-literal=a=red").ok();
    let created = lines.next().unwrap().unwrap();
    kubectl(&test, "delete configmap colours").ok();
    let deleted = lines.next().unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let last = |line: &str| line.split_whitespace().last().unwrap().to_owned();
    assert_eq!(last(&created), "configmap/colours");
    assert_eq!(last(&deleted), "configmap/colours");
}

#[test]
fn state_survives_a_kill_of_the_node_process() {
    let Some(test) = sandbox() else { return };
    kubectl(&test, "create configmap kept --from-literal=a=b").ok();
    let uid = kubectl(&test, "get configmap kept -o jsonpath={.metadata.uid}").ok();
    test.kill_node("sandbox");
    test.run(["status"]).ok();
    let again = kubectl(&test, "get configmap kept -o jsonpath={.metadata.uid}").ok();
    assert_eq!(again.stdout, uid.stdout);
}

//! The host's kubectl for a node that cannot be entered: only subcommands and flags whose dealings with
//! files are known, with every path mapped into the node root; everything else is refused.
//!
//! The command line is written anew, the subcommand first and every value joined to its flag: kubectl
//! can take nothing for a flag that was not looked at here.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::process::Command;

use serde_json::Value;

use super::super::confine::Confined;
use super::super::daemon::Config;
use crate::node::NodeError;
use crate::yaml;

/// The kubeconfig of whoever is on the node.
const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// A mapped directory is looked through this deep.
const DEPTH: usize = 16;

/// Subcommands that reach no file but by the flags below.
const SUBCOMMANDS: &str = "\
    annotate api-resources api-versions apply attach auth autoscale certificate cluster-info \
    completion config cordon create delete describe drain events exec explain expose get \
    help label logs options patch port-forward replace rollout run scale set taint top \
    uncordon version wait";

/// What is below a subcommand that would open an editor or write files.
const REFUSED_BELOW: &[(&str, &str)] = &[("apply", "edit-last-applied"), ("cluster-info", "dump")];

/// What `kubectl create` makes: any other word would be looked up as a plugin.
const CREATED: &str = "\
    clusterrole clusterrolebinding cm configmap cj cronjob deploy deployment ing ingress job \
    namespace ns pc pdb poddisruptionbudget priorityclass quota resourcequota role \
    rolebinding sa secret service serviceaccount svc token";

/// Flags without a value of their own, or with one only after `=`.
const BOOLEAN: &str = "\
    all all-containers all-namespaces all-pods allow-missing-template-keys append-hash \
    attach cached cascade client command current delete-emptydir-data disable-compression \
    disable-eviction dry-run embed-certs expose flatten follow force force-conflicts help \
    ignore-daemonsets ignore-errors ignore-not-found insecure-skip-tls-verify \
    insecure-skip-tls-verify-backend interactive leave-stdin-open list local \
    match-server-version merge minify namespaced no-headers now openapi-patch \
    output-watch-events overwrite previous prune quiet record recursive resolve rm \
    save-config server-print server-side show-events show-kind show-labels \
    show-managed-fields stdin sum timestamps tty use-protocol-buffers validate wait \
    warnings-as-errors watch watch-only";

/// Flags with a value that names no file.
const VALUE: &str = "\
    address aggregation-rule annotation annotations api-group api-version as as-group as-uid \
    audience bound-object-kind bound-object-name bound-object-uid categories chunk-size \
    class cluster cluster-ip clusterrole clusterip container context cpu-percent \
    current-replicas default-backend description docker-email docker-password docker-server \
    docker-username duration env external-ip external-name field-manager field-selector for \
    from from-literal global-default grace-period group hard image image-pull-policy \
    label-columns labels limit-bytes limits load-balancer-ip max max-log-requests \
    max-unavailable min min-available name namespace node-port non-resource-url \
    override-type overrides password patch pod-running-timeout pod-selector port \
    preemption-policy protocol prune-allowlist reason replicas request-timeout requests \
    resource resource-name resource-version restart revision role rule schedule scopes \
    selector server serviceaccount session-affinity since since-time \
    skip-wait-for-delete-timeout sort-by subresource tail target-port tcp template timeout \
    tls-server-name to-revision token type types user username v value verb verbs";

fn one_of(words: &str, word: &str) -> bool {
    words.split(' ').any(|known| known == word)
}

/// How the value of a flag is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Value,
    /// A path.
    Path,
    /// A path, or `name=path`.
    NamedPath,
    /// A path, `-` or a URL; a directory, too.
    Source,
    /// A format, or `format=template`, or `format-file=path`.
    Output,
    /// A kubeconfig.
    Kubeconfig,
}

fn kind(subcommand: &str, flag: &str) -> Option<Kind> {
    Some(match (subcommand, flag) {
        (_, "filename") => Kind::Source,
        (_, "from-file") => Kind::NamedPath,
        (
            _,
            "from-env-file"
            | "patch-file"
            | "certificate-authority"
            | "client-certificate"
            | "client-key"
            | "cert"
            | "key",
        ) => Kind::Path,
        (_, "kubeconfig") => Kind::Kubeconfig,
        (_, "output") => Kind::Output,
        ("config", "raw") | ("top", "containers") | ("logs", "prefix") => Kind::Boolean,
        ("get" | "create" | "delete" | "replace", "raw") => Kind::Value,
        ("set", "containers" | "prefix" | "keys") => Kind::Value,
        (_, flag) if one_of(BOOLEAN, flag) => Kind::Boolean,
        (_, flag) if one_of(VALUE, flag) => Kind::Value,
        _ => return None,
    })
}

/// The long name of a shorthand.
fn long_name(subcommand: &str, letter: char) -> Option<&'static str> {
    Some(match (subcommand, letter) {
        ("logs", 'f') => "follow",
        ("logs", 'p') => "previous",
        ("patch", 'p') => "patch",
        ("run" | "expose", 'l') => "labels",
        ("set", 'e') => "env",
        (_, 'f') => "filename",
        (_, 'l') => "selector",
        (_, 'A') => "all-namespaces",
        (_, 'L') => "label-columns",
        (_, 'R') => "recursive",
        (_, 'c') => "container",
        (_, 'h') => "help",
        ("delete", 'i') => "interactive",
        (_, 'i') => "stdin",
        (_, 'n') => "namespace",
        (_, 'o') => "output",
        (_, 'q') => "quiet",
        (_, 's') => "server",
        (_, 't') => "tty",
        (_, 'v') => "v",
        (_, 'w') => "watch",
        _ => return None,
    })
}

fn refused(what: impl std::fmt::Display) -> NodeError {
    NodeError::Refused(format!("{what} cannot be confined to the node here"))
}

/// A command line as it is understood.
#[derive(Debug, Default)]
struct Line {
    subcommand: String,
    /// Flags and words, in their order; values joined.
    words: Vec<String>,
    /// Whether it names a kubeconfig.
    kubeconfig: bool,
}

/// kubectl, about to run this command line.
///
/// # Errors
/// When a part of it is none that can be mapped, with the reason.
pub(super) fn command(config: &Config, arguments: &[String]) -> Result<Command, NodeError> {
    let node = Confined::new(&config.node_root);
    let line = map(&node, arguments)?;
    // A home of its own: nothing of the node's or the host's is read or written by the way.
    let home = config.state_dir.join("kubectl");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&home)
        .map_err(|source| NodeError::Io {
            path: "kubectl's home".to_owned(),
            source,
        })?;
    let mut command = Command::new("kubectl");
    command.env_clear();
    for name in [
        "PATH", "TERM", "LANG", "LC_ALL", "LC_CTYPE", "COLUMNS", "LINES", "NO_COLOR", "TZ",
    ] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    if !line.kubeconfig {
        command.env("KUBECONFIG", kubeconfig(&node, ADMIN)?);
    }
    command
        .args(line.arguments())
        .env("HOME", &home)
        .env("KUBECACHEDIR", home.join("cache"))
        .env("KUBECTL_KUBERC", "false")
        .current_dir(&home);
    Ok(command)
}

impl Line {
    fn arguments(&self) -> impl Iterator<Item = &str> {
        let subcommand = Some(self.subcommand.as_str()).filter(|name| !name.is_empty());
        subcommand
            .into_iter()
            .chain(self.words.iter().map(String::as_str))
    }
}

fn map(node: &Confined, arguments: &[String]) -> Result<Line, NodeError> {
    let subcommand = find_subcommand(arguments)?;
    let mut line = Line {
        subcommand: subcommand.to_owned(),
        ..Line::default()
    };
    let mut below = None;
    let mut named = false;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            if !named {
                return Err(refused("`kubectl --`"));
            }
            // What follows belongs to a command in a container.
            line.words.push("--".to_owned());
            line.words.extend(rest.cloned());
            break;
        }
        if let Some(flag) = argument.strip_prefix("--") {
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag, None),
            };
            let value = match (kind(subcommand, name), value) {
                (None, _) => return Err(refused(format!("`kubectl --{name}`"))),
                (Some(Kind::Boolean), value) => value,
                (Some(_), None) => Some(rest.next().ok_or_else(|| missing(name))?.as_str()),
                (Some(_), value) => value,
            };
            line.add(node, name, value)?;
        } else if argument.len() > 1 && argument.starts_with('-') {
            let mut letters = argument.strip_prefix('-').unwrap_or_default().chars();
            while let Some(letter) = letters.next() {
                let name = long_name(subcommand, letter)
                    .ok_or_else(|| refused(format!("`kubectl -{letter}`")))?;
                if kind(subcommand, name) == Some(Kind::Boolean) {
                    match letters.as_str().strip_prefix('=') {
                        Some(value) => {
                            line.add(node, name, Some(value))?;
                            break;
                        }
                        None => line.add(node, name, None)?,
                    }
                    continue;
                }
                let stuck = letters.as_str();
                let value = match stuck.strip_prefix('=').unwrap_or(stuck) {
                    "" if stuck.is_empty() => rest.next().ok_or_else(|| missing(name))?.as_str(),
                    value => value,
                };
                line.add(node, name, Some(value))?;
                break;
            }
        } else if !named {
            // The subcommand itself.
            named = true;
        } else {
            below.get_or_insert(argument.as_str());
            line.words.push(argument.clone());
        }
    }
    if let Some(below) = below {
        let plugin = subcommand == "create" && !one_of(CREATED, below);
        if plugin || REFUSED_BELOW.contains(&(subcommand, below)) {
            return Err(refused(format!("`kubectl {subcommand} {below}`")));
        }
    }
    Ok(line)
}

fn missing(flag: &str) -> NodeError {
    NodeError::Refused(format!("kubectl: flag needs an argument: --{flag}"))
}

/// The first word that is no flag and no flag's value.
fn find_subcommand(arguments: &[String]) -> Result<&str, NodeError> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            break;
        }
        if !argument.starts_with('-') {
            if one_of(SUBCOMMANDS, argument) {
                return Ok(argument);
            }
            return Err(NodeError::Refused(format!(
                "`kubectl {argument}` cannot be confined to the node here: without private namespaces only {} \
                 can be run",
                SUBCOMMANDS.replace(' ', ", ")
            )));
        }
        // Before the subcommand only flags of all subcommands can be.
        let takes_value = match argument.strip_prefix("--") {
            Some(flag) => !flag.contains('=') && kind("", flag).is_some_and(|k| k != Kind::Boolean),
            None => {
                let name = argument
                    .chars()
                    .nth(1)
                    .and_then(|letter| long_name("", letter));
                argument.chars().count() == 2
                    && name
                        .and_then(|name| kind("", name))
                        .is_some_and(|k| k != Kind::Boolean)
            }
        };
        if takes_value {
            rest.next();
        }
    }
    Ok("")
}

impl Line {
    fn add(&mut self, node: &Confined, name: &str, value: Option<&str>) -> Result<(), NodeError> {
        let Some(value) = value else {
            self.words.push(format!("--{name}"));
            return Ok(());
        };
        let mapped = match kind(&self.subcommand, name) {
            Some(Kind::Path) => path(node, value)?,
            Some(Kind::NamedPath) => match value.split_once('=') {
                Some((key, file)) => format!("{key}={}", path(node, file)?),
                None => path(node, value)?,
            },
            Some(Kind::Source) => source(node, value)?,
            Some(Kind::Output) => output(node, value)?,
            Some(Kind::Kubeconfig) => {
                self.kubeconfig = true;
                kubeconfig(node, value)?
            }
            _ => value.to_owned(),
        };
        self.words.push(format!("--{name}={mapped}"));
        Ok(())
    }
}

fn source(node: &Confined, value: &str) -> Result<String, NodeError> {
    let url = value.starts_with("http://") || value.starts_with("https://");
    if value == "-" || (url && !value.contains([',', '"'])) {
        return Ok(value.to_owned());
    }
    path(node, value)
}

/// Formats, whether they need something after `=`.
fn output(node: &Confined, value: &str) -> Result<String, NodeError> {
    match value.split_once('=') {
        Some((
            format
            @ ("go-template-file" | "templatefile" | "jsonpath-file" | "custom-columns-file"),
            file,
        )) => Ok(format!("{format}={}", path(node, file)?)),
        Some((
            "go-template" | "template" | "jsonpath" | "jsonpath-as-json" | "custom-columns",
            _,
        )) => Ok(value.to_owned()),
        None if [
            "",
            "json",
            "yaml",
            "kyaml",
            "wide",
            "name",
            "go-template",
            "template",
            "jsonpath",
            "jsonpath-as-json",
            "custom-columns",
            "plaintext",
            "plaintext-openapiv2",
        ]
        .contains(&value) =>
        {
            Ok(value.to_owned())
        }
        _ => Err(refused(format!("`kubectl --output {value}`"))),
    }
}

/// The host path of a node path, which must be there.
fn path(node: &Confined, value: &str) -> Result<String, NodeError> {
    // Several flags take a list, in which a comma or a quote would begin another path.
    if value.contains([',', '"']) {
        return Err(refused(format!(
            "the path `{value}` with a comma or a quote"
        )));
    }
    let canonical = canonical(node, value)?;
    if node.metadata(&canonical).is_ok_and(|meta| meta.is_dir()) {
        no_links(node, &canonical, 0)?;
    }
    Ok(host(node, &canonical))
}

fn canonical(node: &Confined, value: &str) -> Result<String, NodeError> {
    let path = if value.starts_with('/') {
        value.to_owned()
    } else {
        format!("/root/{value}")
    };
    node.canonical(&path)
        .map_err(|source| NodeError::Io { path, source })
}

fn host(node: &Confined, canonical: &str) -> String {
    let path = node.root().join(canonical.trim_start_matches('/'));
    path.display().to_string()
}

/// kubectl reads what is in a directory itself, and would follow a link out of the node.
fn no_links(node: &Confined, directory: &str, depth: usize) -> Result<(), NodeError> {
    let failed = |source: io::Error| NodeError::Io {
        path: directory.to_owned(),
        source,
    };
    if depth > DEPTH {
        return Err(refused(format!("`{directory}`, a very deep directory,")));
    }
    for name in node.list(directory).map_err(failed)? {
        let path = format!("{}/{name}", directory.trim_end_matches('/'));
        let metadata = node.symlink_metadata(&path).map_err(failed)?;
        if metadata.file_type().is_symlink() {
            return Err(refused(format!("a directory with a link in it (`{path}`)")));
        }
        if metadata.is_dir() {
            no_links(node, &path, depth + 1)?;
        }
    }
    Ok(())
}

/// A kubeconfig that names no files and no programs.
fn kubeconfig(node: &Confined, value: &str) -> Result<String, NodeError> {
    // A list of files as in the variable is none that kubectl takes here.
    let canonical = canonical(node, value)?;
    let bytes = node
        .read(&canonical, 1 << 20)
        .map_err(|source| NodeError::Io {
            path: value.to_owned(),
            source,
        })?;
    if let Ok(document) = yaml::to_json(&bytes)
        && let Some(key) = names_files(&document.value)
    {
        return Err(refused(format!("a kubeconfig with `{key}` (`{value}`)")));
    }
    Ok(host(node, &canonical))
}

/// The first key of a kubeconfig by which kubectl would read a file or run a program.
fn names_files(value: &Value) -> Option<&str> {
    match value {
        Value::Array(items) => items.iter().find_map(names_files),
        Value::Object(fields) => fields.iter().find_map(|(key, value)| {
            let lower = key.to_lowercase();
            let file = [
                "certificate-authority",
                "client-certificate",
                "client-key",
                "tokenfile",
                "exec",
                "auth-provider",
            ]
            .contains(&lower.as_str());
            if file && !value.is_null() {
                return Some(key.as_str());
            }
            names_files(value)
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> (tempfile::TempDir, Confined) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("node");
        std::fs::create_dir(&root).unwrap();
        let node = Confined::new(&root);
        for path in [
            "/root/pod.yaml",
            "/opt/a",
            "/many/a.yaml",
            "/opt/a,/etc/passwd",
        ] {
            node.write_atomic(path, b"x", 0o644).unwrap();
        }
        node.symlink("/opt/a", "/opt/link").unwrap();
        node.create_dir_all("/linked", 0o755).unwrap();
        node.symlink("/opt/a", "/linked/a.yaml").unwrap();
        let plain = b"users: [{name: a, user: {client-key-data: eA==}}]\n";
        node.write_atomic("/root/config", plain, 0o600).unwrap();
        for (name, user) in [
            ("exec", "exec: {command: id}"),
            ("file", "client-key: /etc/passwd"),
        ] {
            let text = format!("users: [{{name: a, user: {{{user}}}}}]\n");
            node.write_atomic(&format!("/root/{name}"), text.as_bytes(), 0o600)
                .unwrap();
        }
        (dir, node)
    }

    fn mapped(node: &Confined, line: &str) -> Result<String, NodeError> {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        map(node, &arguments).map(|line| {
            let words: Vec<&str> = line.arguments().collect();
            words
                .join(" ")
                .replace(&node.root().display().to_string(), "ROOT")
        })
    }

    #[test]
    fn paths_are_mapped_and_values_joined() {
        let (_dir, node) = node();
        for (given, expected) in [
            ("apply -f pod.yaml", "apply --filename=ROOT/root/pod.yaml"),
            ("apply -f../opt/link", "apply --filename=ROOT/opt/a"),
            ("apply -f=/opt/a", "apply --filename=ROOT/opt/a"),
            ("apply -Rf /many", "apply --recursive --filename=ROOT/many"),
            (
                "apply --filename /opt/a --server-side",
                "apply --filename=ROOT/opt/a --server-side",
            ),
            ("apply -f -", "apply --filename=-"),
            (
                "apply -f https://example.com/a",
                "apply --filename=https://example.com/a",
            ),
            ("-n team get pods -w", "get --namespace=team pods --watch"),
            (
                "--kubeconfig=config get ns",
                "get --kubeconfig=ROOT/root/config ns",
            ),
            (
                "create secret generic s --from-file=k=/opt/a",
                "create secret generic s --from-file=k=ROOT/opt/a",
            ),
            (
                "patch cm a --patch-file /opt/a --type merge",
                "patch cm a --patch-file=ROOT/opt/a --type=merge",
            ),
            (
                "get po -ojsonpath={.items}",
                "get po --output=jsonpath={.items}",
            ),
            (
                "get po -o jsonpath-file=/opt/a",
                "get po --output=jsonpath-file=ROOT/opt/a",
            ),
            ("get --raw /readyz", "get --raw=/readyz"),
            ("config view --raw", "config view --raw"),
            (
                "logs -fp web -c app",
                "logs --follow --previous web --container=app",
            ),
            (
                "exec -it p -- cat -f /etc/passwd",
                "exec --stdin --tty p -- cat -f /etc/passwd",
            ),
            (
                "run a --image=b --dry-run=client -oyaml",
                "run a --image=b --dry-run=client --output=yaml",
            ),
            (
                "auth can-i get secrets --as bob",
                "auth can-i get secrets --as=bob",
            ),
        ] {
            assert_eq!(mapped(&node, given).unwrap(), expected, "{given}");
        }
    }

    #[test]
    fn whatever_reaches_beyond_the_node_is_refused() {
        let (_dir, node) = node();
        for line in [
            "apply -f /etc/passwd",
            "apply -Rf/etc/passwd",
            "apply -f ../../../../../../etc/passwd",
            "apply -f /opt/a,/etc/passwd",
            "apply -f /linked",
            "apply -k/etc/x",
            "apply -k /many",
            "apply --kustomize=/many",
            "apply edit-last-applied cm a",
            "kustomize /many",
            "patch cm a --patch-file=/etc/passwd",
            "create cm a --from-file=https://../../etc/passwd",
            "create cm a --from-file=-",
            "create -f /opt/a --edit",
            "create whatever",
            "get po -o jsonpath-file=/etc/passwd",
            "get po -ogo-template-file=/etc/passwd",
            "get po -o go-template-file --template /etc/passwd",
            "get po --cache-dir=/tmp",
            "get po --cache-dir /tmp",
            "get po --profile=cpu --profile-output=/tmp/x",
            "get po --kuberc=/etc/passwd",
            "cluster-info dump --output-directory=/tmp",
            "cluster-info dump",
            "proxy --www=/",
            "edit cm a",
            "diff -f /opt/a",
            "debug p --custom=/etc/passwd",
            "cp a pod:/b",
            "plugin list",
            "whoami",
            "-- apply -f /etc/passwd",
            "--kubeconfig=/etc/kubernetes/none get ns",
            "--kubeconfig exec get ns",
            "get ns --kubeconfig=file",
            "get ns --client-key=/etc/passwd",
            "get ns -f",
        ] {
            assert!(
                mapped(&node, line).is_err(),
                "{line}: {:?}",
                mapped(&node, line)
            );
        }
        let reason = mapped(&node, "edit cm a").unwrap_err().to_string();
        assert!(
            reason.starts_with("`kubectl edit` cannot be confined"),
            "{reason}"
        );
    }

    #[test]
    fn environment_is_scrubbed() {
        let dir = tempfile::tempdir().unwrap();
        let spec = super::super::super::root::Spec::new(21000);
        let config = Config::new(dir.path(), crate::node::embedded::pace::Pace::Fast, spec);
        config.create().unwrap();
        let made = command(&config, &["get".to_owned(), "ns".to_owned()]).unwrap();
        let names: Vec<String> = made
            .get_envs()
            .map(|(name, _)| name.to_string_lossy().into_owned())
            .collect();
        for name in [
            "EDITOR",
            "VISUAL",
            "PAGER",
            "KUBE_EDITOR",
            "KUBECTL_EXTERNAL_DIFF",
        ] {
            assert!(!names.iter().any(|n| n == name));
        }
        assert!(names.iter().any(|name| name == "KUBECONFIG"));
        // A link on the node that leads to a file of the host is no kubeconfig.
        let admin = config.node_root.join("etc/kubernetes/admin.conf");
        std::fs::remove_file(&admin).unwrap();
        std::fs::write(dir.path().join("outside"), "users: []").unwrap();
        std::os::unix::fs::symlink(dir.path().join("outside"), &admin).unwrap();
        assert!(command(&config, &["get".to_owned(), "ns".to_owned()]).is_err());
    }
}

//! The checks of the standards (`k8s.io/pod-security-admission/policy/check_*.go`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Level, LevelVersion};
use crate::node::embedded::apiserver::kinds::defaults::pod::VOLUME_SOURCES;
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};

/// A check a pod does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The short reason.
    pub reason: String,
    /// What exactly, may be empty.
    pub detail: String,
}

fn violation(reason: &str, detail: String) -> Option<Violation> {
    Some(Violation {
        reason: reason.to_owned(),
        detail,
    })
}

/// The version of this release.
const LATEST: u32 = 36;

/// Every check of the level that does not pass, baseline checks first.
#[must_use]
pub fn violations(level: &LevelVersion, object: Option<&Value>, spec: &Value) -> Vec<Violation> {
    let minor = level.minor.unwrap_or(LATEST);
    let restricted = level.level == Level::Restricted;
    if level.level == Level::Privileged {
        return Vec::new();
    }
    let pod = Pod {
        object,
        spec,
        windows: text_at(spec, "/os/name") == "windows" && minor >= 25,
    };
    let mut found = vec![
        app_armor(&pod),
        if restricted && minor >= 22 {
            None
        } else {
            baseline_capabilities(&pod)
        },
        host_namespaces(&pod),
        if restricted { None } else { host_path(&pod) },
        host_ports(&pod),
        if minor >= 34 { host_probes(&pod) } else { None },
        privileged(&pod),
        proc_mount(&pod),
        selinux(&pod),
        if restricted && minor >= 19 {
            None
        } else {
            baseline_seccomp(&pod)
        },
        sysctls(&pod, minor),
        host_process(&pod),
    ];
    if restricted {
        found.push(if minor >= 8 && !pod.windows {
            privilege_escalation(&pod)
        } else {
            None
        });
        found.push(if minor >= 22 && !pod.windows {
            restricted_capabilities(&pod)
        } else {
            None
        });
        found.push(restricted_volumes(&pod));
        found.push(run_as_non_root(&pod));
        found.push(if minor >= 23 { run_as_user(&pod) } else { None });
        found.push(if minor >= 19 && !pod.windows {
            restricted_seccomp(&pod)
        } else {
            None
        });
    }
    found.into_iter().flatten().collect()
}

struct Pod<'a> {
    object: Option<&'a Value>,
    spec: &'a Value,
    windows: bool,
}

impl<'a> Pod<'a> {
    fn containers(&self) -> impl Iterator<Item = &'a Value> {
        let spec = self.spec;
        ["/initContainers", "/containers", "/ephemeralContainers"]
            .into_iter()
            .flat_map(move |list| items(spec, list))
    }

    /// Names of the containers for which this holds.
    fn which(&self, mut holds: impl FnMut(&Value) -> bool) -> Vec<&'a str> {
        self.containers()
            .filter(|container| holds(container))
            .map(|container| text_at(container, "/name"))
            .collect()
    }
}

/// `container "a"` or `containers "a", "b"`.
fn containers(names: &[&str]) -> String {
    let word = if names.len() == 1 {
        "container"
    } else {
        "containers"
    };
    format!("{word} {}", quoted(names))
}

fn quoted<T: AsRef<str>>(names: &[T]) -> String {
    names
        .iter()
        .map(|name| format!("\"{}\"", name.as_ref()))
        .collect::<Vec<_>>()
        .join(", ")
}

fn app_armor(pod: &Pod<'_>) -> Option<Violation> {
    let bad = |value: Option<&Value>| {
        value
            .and_then(|v| v.pointer("/securityContext/appArmorProfile/type"))
            .and_then(Value::as_str)
            == Some("Unconfined")
    };
    let mut setters = Vec::new();
    if bad(Some(pod.spec)) {
        setters.push("pod".to_owned());
    }
    let names = pod.which(|container| bad(Some(container)));
    if !names.is_empty() {
        setters.push(containers(&names));
    }
    let mut values: Vec<String> = if setters.is_empty() {
        Vec::new()
    } else {
        vec![format!(
            "{} must not set AppArmor profile type to \"Unconfined\"",
            setters.join(" and ")
        )]
    };
    let annotations = pod
        .object
        .and_then(|object| object.pointer("/metadata/annotations"))
        .and_then(Value::as_object);
    let mut profiles: Vec<String> = annotations
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| {
            key.strip_prefix("container.apparmor.security.beta.kubernetes.io/")?;
            let profile = value.as_str().unwrap_or_default();
            let allowed = profile.is_empty()
                || profile == "runtime/default"
                || profile.starts_with("localhost/");
            (!allowed).then(|| format!("{key}=\"{profile}\""))
        })
        .collect();
    if values.is_empty() && profiles.is_empty() {
        return None;
    }
    profiles.sort_unstable();
    if !profiles.is_empty() {
        let word = if profiles.len() == 1 {
            "annotation"
        } else {
            "annotations"
        };
        values.push(format!("{word} {}", profiles.join(", ")));
    }
    let word = if values.len() == 1 {
        "forbidden AppArmor profile"
    } else {
        "forbidden AppArmor profiles"
    };
    violation(word, values.join(", "))
}

fn capabilities(container: &Value, list: &str) -> Vec<String> {
    items(container, &format!("/securityContext/capabilities/{list}"))
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn baseline_capabilities(pod: &Pod<'_>) -> Option<Violation> {
    const DEFAULT: [&str; 14] = [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
        "SYS_TIME",
    ];
    let mut forbidden = BTreeSet::new();
    let names = pod.which(|container| {
        let bad: Vec<String> = capabilities(container, "add")
            .into_iter()
            .filter(|name| name == "SYS_TIME" || !DEFAULT.contains(&name.as_str()))
            .collect();
        forbidden.extend(bad.iter().cloned());
        !bad.is_empty()
    });
    if names.is_empty() {
        return None;
    }
    let list: Vec<String> = forbidden.into_iter().collect();
    violation(
        "non-default capabilities",
        format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&names),
            quoted(&list)
        ),
    )
}

fn host_namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let set: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .filter(|name| pod.spec.get(**name) == Some(&Value::Bool(true)))
        .map(|name| format!("{name}=true"))
        .collect();
    if set.is_empty() {
        return None;
    }
    violation("host namespaces", set.join(", "))
}

fn host_path(pod: &Pod<'_>) -> Option<Violation> {
    let names: Vec<&str> = items(pod.spec, "/volumes")
        .iter()
        .filter(|volume| volume.get("hostPath").is_some_and(|v| !v.is_null()))
        .map(|volume| text_at(volume, "/name"))
        .collect();
    if names.is_empty() {
        return None;
    }
    let word = if names.len() == 1 {
        "volume"
    } else {
        "volumes"
    };
    violation("hostPath volumes", format!("{word} {}", quoted(&names)))
}

fn host_ports(pod: &Pod<'_>) -> Option<Violation> {
    let mut ports = BTreeSet::new();
    let names = pod.which(|container| {
        let own: Vec<i64> = items(container, "/ports")
            .iter()
            .filter_map(|port| port.get("hostPort").and_then(Value::as_i64))
            .filter(|port| *port != 0)
            .collect();
        ports.extend(own.iter().map(i64::to_string));
        !own.is_empty()
    });
    if names.is_empty() {
        return None;
    }
    let ports: Vec<String> = ports.into_iter().collect();
    violation(
        "hostPort",
        format!(
            "{} {} {} {}",
            containers(&names),
            if names.len() == 1 { "uses" } else { "use" },
            if ports.len() == 1 {
                "hostPort"
            } else {
                "hostPorts"
            },
            ports.join(", ")
        ),
    )
}

fn host_probes(pod: &Pod<'_>) -> Option<Violation> {
    let mut hosts = BTreeSet::new();
    let names = pod.which(|container| {
        let own: Vec<&str> = [
            "livenessProbe/httpGet",
            "livenessProbe/tcpSocket",
            "readinessProbe/httpGet",
            "readinessProbe/tcpSocket",
            "startupProbe/httpGet",
            "startupProbe/tcpSocket",
            "lifecycle/postStart/httpGet",
            "lifecycle/postStart/tcpSocket",
            "lifecycle/preStop/httpGet",
            "lifecycle/preStop/tcpSocket",
        ]
        .iter()
        .map(|path| text_at(container, &format!("/{path}/host")))
        .filter(|host| !matches!(*host, "" | "127.0.0.1" | "::1"))
        .collect();
        hosts.extend(own.iter().map(|host| (*host).to_owned()));
        !own.is_empty()
    });
    if names.is_empty() {
        return None;
    }
    let hosts: Vec<String> = hosts.into_iter().collect();
    violation(
        "probe or lifecycle host",
        format!(
            "{} {} probe or lifecycle {} {}",
            containers(&names),
            if names.len() == 1 { "uses" } else { "use" },
            if hosts.len() == 1 { "host" } else { "hosts" },
            quoted(&hosts)
        ),
    )
}

fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let names = pod.which(|c| c.pointer("/securityContext/privileged") == Some(&Value::Bool(true)));
    if names.is_empty() {
        return None;
    }
    violation(
        "privileged",
        format!(
            "{} must not set securityContext.privileged=true",
            containers(&names)
        ),
    )
}

fn proc_mount(pod: &Pod<'_>) -> Option<Violation> {
    if pod.spec.get("hostUsers") == Some(&Value::Bool(false)) {
        return None;
    }
    let mut values = BTreeSet::new();
    let names = pod.which(|container| {
        let value = text_at(container, "/securityContext/procMount");
        let bad = !matches!(value, "" | "Default");
        if bad {
            values.insert(value.to_owned());
        }
        bad
    });
    if names.is_empty() {
        return None;
    }
    let values: Vec<String> = values.into_iter().collect();
    violation(
        "procMount",
        format!(
            "{} must not set securityContext.procMount to {}",
            containers(&names),
            quoted(&values)
        ),
    )
}

fn selinux(pod: &Pod<'_>) -> Option<Violation> {
    let mut types: Vec<String> = Vec::new();
    let (mut user, mut role) = (false, false);
    let mut bad = |holder: &Value| {
        let Some(options) = holder.pointer("/securityContext/seLinuxOptions") else {
            return false;
        };
        let mut found = false;
        let kind = text_at(options, "/type");
        let allowed = [
            "",
            "container_t",
            "container_init_t",
            "container_kvm_t",
            "container_engine_t",
        ];
        if !allowed.contains(&kind) {
            if !types.iter().any(|t| t == kind) {
                types.push(kind.to_owned());
            }
            found = true;
        }
        if !text_at(options, "/user").is_empty() {
            user = true;
            found = true;
        }
        if !text_at(options, "/role").is_empty() {
            role = true;
            found = true;
        }
        found
    };
    let mut setters = Vec::new();
    if bad(pod.spec) {
        setters.push("pod".to_owned());
    }
    let names = pod.which(&mut bad);
    if !names.is_empty() {
        setters.push(containers(&names));
    }
    if setters.is_empty() {
        return None;
    }
    let mut details = Vec::new();
    if !types.is_empty() {
        types.sort_unstable();
        let word = if types.len() == 1 { "type" } else { "types" };
        details.push(format!("{word} {}", quoted(&types)));
    }
    if user {
        details.push("user may not be set".to_owned());
    }
    if role {
        details.push("role may not be set".to_owned());
    }
    violation(
        "seLinuxOptions",
        format!(
            "{} set forbidden securityContext.seLinuxOptions: {}",
            setters.join(" and "),
            details.join("; ")
        ),
    )
}

fn seccomp(holder: &Value) -> Option<&str> {
    holder
        .pointer("/securityContext/seccompProfile/type")
        .and_then(Value::as_str)
}

fn seccomp_allowed(profile: &str) -> bool {
    matches!(profile, "RuntimeDefault" | "Localhost")
}

fn baseline_seccomp(pod: &Pod<'_>) -> Option<Violation> {
    let mut values = BTreeSet::new();
    let mut setters = Vec::new();
    let mut bad = |holder: &Value| match seccomp(holder) {
        Some(profile) if !seccomp_allowed(profile) => {
            values.insert(profile.to_owned());
            true
        }
        _ => false,
    };
    if bad(pod.spec) {
        setters.push("pod".to_owned());
    }
    let names = pod.which(&mut bad);
    if !names.is_empty() {
        setters.push(containers(&names));
    }
    if setters.is_empty() {
        return None;
    }
    let values: Vec<String> = values.into_iter().collect();
    violation(
        "seccompProfile",
        format!(
            "{} must not set securityContext.seccompProfile.type to {}",
            setters.join(" and "),
            quoted(&values)
        ),
    )
}

fn sysctls(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    let allowed = |name: &str| match name {
        "kernel.shm_rmid_forced"
        | "net.ipv4.ip_local_port_range"
        | "net.ipv4.tcp_syncookies"
        | "net.ipv4.ping_group_range"
        | "net.ipv4.ip_unprivileged_port_start" => true,
        "net.ipv4.ip_local_reserved_ports" => minor >= 27,
        "net.ipv4.tcp_keepalive_time"
        | "net.ipv4.tcp_fin_timeout"
        | "net.ipv4.tcp_keepalive_intvl"
        | "net.ipv4.tcp_keepalive_probes" => minor >= 29,
        "net.ipv4.tcp_rmem" | "net.ipv4.tcp_wmem" => minor >= 32,
        _ => false,
    };
    let forbidden: Vec<&str> = items(pod.spec, "/securityContext/sysctls")
        .iter()
        .map(|sysctl| text_at(sysctl, "/name"))
        .filter(|name| !allowed(name))
        .collect();
    if forbidden.is_empty() {
        return None;
    }
    violation("forbidden sysctls", forbidden.join(", "))
}

fn host_process(pod: &Pod<'_>) -> Option<Violation> {
    let bad = |holder: &Value| {
        holder.pointer("/securityContext/windowsOptions/hostProcess") == Some(&Value::Bool(true))
    };
    let mut setters = Vec::new();
    if bad(pod.spec) {
        setters.push("pod".to_owned());
    }
    let names = pod.which(bad);
    if !names.is_empty() {
        setters.push(containers(&names));
    }
    if setters.is_empty() {
        return None;
    }
    violation(
        "hostProcess",
        format!(
            "{} must not set securityContext.windowsOptions.hostProcess=true",
            setters.join(" and ")
        ),
    )
}

fn privilege_escalation(pod: &Pod<'_>) -> Option<Violation> {
    let names = pod.which(|c| {
        c.pointer("/securityContext/allowPrivilegeEscalation") != Some(&Value::Bool(false))
    });
    if names.is_empty() {
        return None;
    }
    violation(
        "allowPrivilegeEscalation != false",
        format!(
            "{} must set securityContext.allowPrivilegeEscalation=false",
            containers(&names)
        ),
    )
}

fn restricted_capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let missing = pod.which(|c| !capabilities(c, "drop").iter().any(|name| name == "ALL"));
    let mut forbidden = BTreeSet::new();
    let adding = pod.which(|container| {
        let bad: Vec<String> = capabilities(container, "add")
            .into_iter()
            .filter(|name| name != "NET_BIND_SERVICE")
            .collect();
        forbidden.extend(bad.iter().cloned());
        !bad.is_empty()
    });
    let mut details = Vec::new();
    if !missing.is_empty() {
        details.push(format!(
            "{} must set securityContext.capabilities.drop=[\"ALL\"]",
            containers(&missing)
        ));
    }
    if !adding.is_empty() {
        let list: Vec<String> = forbidden.into_iter().collect();
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers(&adding),
            quoted(&list)
        ));
    }
    if details.is_empty() {
        return None;
    }
    violation("unrestricted capabilities", details.join("; "))
}

fn restricted_volumes(pod: &Pod<'_>) -> Option<Violation> {
    const ALLOWED: [&str; 9] = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
        "image",
    ];
    let (mut names, mut types) = (Vec::new(), BTreeSet::new());
    for volume in items(pod.spec, "/volumes") {
        let kind = VOLUME_SOURCES
            .iter()
            .find(|name| volume.get(**name).is_some_and(|v| !v.is_null()));
        match kind {
            Some(kind) if ALLOWED.contains(kind) => {}
            Some(kind) => {
                names.push(text_at(volume, "/name"));
                types.insert((*kind).to_owned());
            }
            None => {
                names.push(text_at(volume, "/name"));
                types.insert("unknown".to_owned());
            }
        }
    }
    if names.is_empty() {
        return None;
    }
    let types: Vec<String> = types.into_iter().collect();
    violation(
        "restricted volume types",
        format!(
            "{} {} {} restricted volume {} {}",
            if names.len() == 1 {
                "volume"
            } else {
                "volumes"
            },
            quoted(&names),
            if names.len() == 1 { "uses" } else { "use" },
            if types.len() == 1 { "type" } else { "types" },
            quoted(&types)
        ),
    )
}

fn run_as_non_root(pod: &Pod<'_>) -> Option<Violation> {
    if pod.spec.get("hostUsers") == Some(&Value::Bool(false)) {
        return None;
    }
    let value = |holder: &Value| {
        holder
            .pointer("/securityContext/runAsNonRoot")
            .and_then(Value::as_bool)
    };
    let of_pod = value(pod.spec);
    let mut setters = Vec::new();
    if of_pod == Some(false) {
        setters.push("pod".to_owned());
    }
    let explicit = pod.which(|c| value(c) == Some(false));
    let implicit = pod.which(|c| value(c).is_none());
    if !explicit.is_empty() {
        setters.push(containers(&explicit));
    }
    if !setters.is_empty() {
        return violation(
            "runAsNonRoot != true",
            format!(
                "{} must not set securityContext.runAsNonRoot=false",
                setters.join(" and ")
            ),
        );
    }
    if of_pod == Some(true) || implicit.is_empty() {
        return None;
    }
    violation(
        "runAsNonRoot != true",
        format!(
            "pod or {} must set securityContext.runAsNonRoot=true",
            containers(&implicit)
        ),
    )
}

fn run_as_user(pod: &Pod<'_>) -> Option<Violation> {
    if pod.spec.get("hostUsers") == Some(&Value::Bool(false)) {
        return None;
    }
    let zero = |holder: &Value| {
        holder
            .pointer("/securityContext/runAsUser")
            .and_then(Value::as_i64)
            == Some(0)
    };
    let mut setters = Vec::new();
    if zero(pod.spec) {
        setters.push("pod".to_owned());
    }
    let names = pod.which(zero);
    if !names.is_empty() {
        setters.push(containers(&names));
    }
    if setters.is_empty() {
        return None;
    }
    violation(
        "runAsUser=0",
        format!("{} must not set runAsUser=0", setters.join(" and ")),
    )
}

fn restricted_seccomp(pod: &Pod<'_>) -> Option<Violation> {
    let mut values = BTreeSet::new();
    let mut setters = Vec::new();
    let of_pod = seccomp(pod.spec);
    if let Some(profile) = of_pod
        && !seccomp_allowed(profile)
    {
        values.insert(profile.to_owned());
        setters.push("pod".to_owned());
    }
    let explicit = pod.which(|container| match seccomp(container) {
        Some(profile) if !seccomp_allowed(profile) => {
            values.insert(profile.to_owned());
            true
        }
        _ => false,
    });
    let implicit = pod.which(|container| seccomp(container).is_none());
    if !explicit.is_empty() {
        setters.push(containers(&explicit));
    }
    if !setters.is_empty() {
        let values: Vec<String> = values.into_iter().collect();
        return violation(
            "seccompProfile",
            format!(
                "{} must not set securityContext.seccompProfile.type to {}",
                setters.join(" and "),
                quoted(&values)
            ),
        );
    }
    if of_pod.is_some() || implicit.is_empty() {
        return None;
    }
    violation(
        "seccompProfile",
        format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            containers(&implicit)
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(level: Level, spec: Value) -> Vec<String> {
        violations(&LevelVersion { level, minor: None }, None, &spec)
            .into_iter()
            .map(|v| format!("{} ({})", v.reason, v.detail))
            .collect()
    }

    #[test]
    fn a_plain_pod_is_baseline_but_not_restricted() {
        let spec = json!({"containers": [{"name": "c", "image": "i"}]});
        assert!(texts(Level::Baseline, spec.clone()).is_empty());
        assert_eq!(
            texts(Level::Restricted, spec),
            [
                "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false)",
                "unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"])",
                "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)",
                "seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
            ]
        );
    }

    #[test]
    fn restricted_capabilities_replace_the_baseline_ones() {
        let spec = json!({"containers": [{"name": "c", "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}]});
        assert_eq!(
            texts(Level::Baseline, spec.clone()),
            [
                "non-default capabilities (container \"c\" must not include \"NET_ADMIN\" in securityContext.capabilities.add)"
            ]
        );
        assert!(texts(Level::Restricted, spec)[1].ends_with(
            "drop=[\"ALL\"]; container \"c\" must not include \"NET_ADMIN\" in securityContext.capabilities.add)"
        ));
    }
}

//! Rows of the kinds that are neither workloads, nor networking, nor storage.

use serde_json::{Value, json};

use super::duration;
use super::words::{Object, plain};

pub(super) fn cells(group: &str, resource: &str, o: Object<'_>) -> Vec<Value> {
    match (group, resource) {
        ("", "nodes") => node(o),
        ("", "componentstatuses") => {
            let healthy = o
                .objects("/conditions")
                .find(|condition| condition.text("/type") == "Healthy");
            let at = |path: &str| healthy.map_or("", |condition| condition.text(path));
            let state = match at("/status") {
                "True" => "Healthy",
                "False" => "Unhealthy",
                _ => "Unknown",
            };
            vec![json!(state), json!(at("/message")), json!(at("/error"))]
        }
        ("", "namespaces") => vec![json!(o.text("/status/phase")), o.age()],
        ("", "secrets") => vec![json!(o.text("/type")), json!(o.count("/data")), o.age()],
        ("", "configmaps") => vec![json!(o.count("/data") + o.count("/binaryData")), o.age()],
        ("", "serviceaccounts") => vec![o.age()],
        ("", "resourcequotas") => quota(o),
        (_, "events") => event(o),
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => binding(o),
        ("certificates.k8s.io", "certificatesigningrequests") => signing_request(o),
        ("coordination.k8s.io", _) => vec![json!(o.text("/spec/holderIdentity")), o.age()],
        ("scheduling.k8s.io", "priorityclasses") => vec![
            json!(o.number("/value")),
            json!(o.flag("/globalDefault")),
            o.age(),
            json!(o.text("/preemptionPolicy")),
        ],
        ("node.k8s.io", _) => vec![json!(o.text("/handler")), o.age()],
        ("admissionregistration.k8s.io", resource) => admission(resource, o),
        ("flowcontrol.apiserver.k8s.io", "flowschemas") => flow_schema(o),
        ("flowcontrol.apiserver.k8s.io", _) => priority_level(o),
        ("apiregistration.k8s.io", _) => api_service(o),
        ("resource.k8s.io", "resourceclaims") => {
            let state = if o.has("/status/allocation") {
                if o.count("/status/reservedFor") > 0 {
                    "allocated,reserved"
                } else {
                    "allocated"
                }
            } else {
                "pending"
            };
            vec![json!(state), o.age()]
        }
        ("resource.k8s.io", "resourceslices") => vec![
            json!(o.text_or("/spec/nodeName", "<unset>")),
            json!(o.text("/spec/driver")),
            json!(o.text("/spec/pool/name")),
            o.age(),
        ],
        ("resource.k8s.io", _) => vec![o.age()],
        // Roles, limit ranges, definitions and others show when they were made.
        _ => vec![json!(o.text("/metadata/creationTimestamp"))],
    }
}

fn node(o: Object<'_>) -> Vec<Value> {
    let mut status = vec![match o.condition("Ready") {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }];
    if o.flag("/spec/unschedulable") {
        status.push("SchedulingDisabled");
    }
    let mut roles: Vec<String> = Vec::new();
    if let Some(Value::Object(labels)) = o.0.pointer("/metadata/labels") {
        for (key, value) in labels {
            if let Some(role) = key.strip_prefix("node-role.kubernetes.io/") {
                if !role.is_empty() {
                    roles.push(role.to_owned());
                }
            } else if key == "kubernetes.io/role"
                && let Some(role) = value.as_str().filter(|role| !role.is_empty())
            {
                roles.push(role.to_owned());
            }
        }
    }
    roles.sort();
    roles.dedup();
    let roles = if roles.is_empty() {
        "<none>".to_owned()
    } else {
        roles.join(",")
    };
    let address = |kind: &str| {
        o.objects("/status/addresses")
            .find(|a| a.text("/type") == kind)
            .map_or("<none>", |a| a.text("/address"))
    };
    let kernel = match (
        o.text("/status/nodeInfo/kernelVersion"),
        o.text("/status/nodeInfo/architecture"),
    ) {
        ("", _) => "<unknown>".to_owned(),
        (kernel, "") => kernel.to_owned(),
        (kernel, architecture) => format!("{kernel} ({architecture})"),
    };
    vec![
        json!(status.join(",")),
        json!(roles),
        o.age(),
        json!(o.text("/status/nodeInfo/kubeletVersion")),
        json!(address("InternalIP")),
        json!(address("ExternalIP")),
        json!(o.text_or("/status/nodeInfo/osImage", "<unknown>")),
        json!(kernel),
        json!(o.text_or("/status/nodeInfo/containerRuntimeVersion", "<unknown>")),
    ]
}

fn quota(o: Object<'_>) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    if let Some(Value::Object(hard)) = o.0.pointer("/status/hard") {
        let mut names: Vec<&String> = hard.keys().collect();
        names.sort();
        for name in names {
            let pointer = name.replace('~', "~0").replace('/', "~1");
            let used =
                o.0.pointer(&format!("/status/used/{pointer}"))
                    .map_or_else(|| "0".to_owned(), plain);
            let text = format!(
                "{name}: {used}/{}",
                hard.get(name).map(plain).unwrap_or_default()
            );
            if name.starts_with("limits.") {
                limits.push(text);
            } else {
                requests.push(text);
            }
        }
    }
    vec![
        json!(requests.join(", ")),
        json!(limits.join(", ")),
        o.age(),
    ]
}

fn event(o: Object<'_>) -> Vec<Value> {
    // Events of events.k8s.io have other names for the same.
    let either = |core: &str, other: &str| match o.text(core) {
        "" => o.text(other),
        text => text,
    };
    let first_time = match either("/firstTimestamp", "/deprecatedFirstTimestamp") {
        "" => o.text("/eventTime"),
        time => time,
    };
    let first = duration::since(first_time);
    let mut last = match either("/lastTimestamp", "/deprecatedLastTimestamp") {
        "" => first.clone(),
        time => duration::since(time),
    };
    let mut count = o.number("/count").max(o.number("/deprecatedCount"));
    if o.has("/series") {
        last = duration::since(o.text("/series/lastObservedTime"));
        count = o.number("/series/count");
    } else if count == 0 {
        count = 1;
    }
    let kind = either("/involvedObject/kind", "/regarding/kind").to_lowercase();
    let object = match either("/involvedObject/name", "/regarding/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let source = match (
        either("/source/component", "/deprecatedSource/component"),
        either("/source/host", "/deprecatedSource/host"),
    ) {
        ("", _) => {
            let component = either("/reportingComponent", "/reportingController");
            match o.text("/reportingInstance") {
                "" => component.to_owned(),
                instance => format!("{component}, {instance}"),
            }
        }
        (component, "") => component.to_owned(),
        (component, host) => format!("{component}, {host}"),
    };
    vec![
        json!(last),
        json!(o.text("/type")),
        json!(o.text("/reason")),
        json!(object),
        json!(either("/involvedObject/fieldPath", "/regarding/fieldPath")),
        json!(source),
        json!(either("/message", "/note").trim()),
        json!(first),
        json!(count),
    ]
}

fn binding(o: Object<'_>) -> Vec<Value> {
    let role = format!("{}/{}", o.text("/roleRef/kind"), o.text("/roleRef/name"));
    let of = |kind: &str| -> String {
        o.objects("/subjects")
            .filter(|s| s.text("/kind") == kind)
            .map(|s| {
                if kind == "ServiceAccount" {
                    format!("{}/{}", s.text("/namespace"), s.text("/name"))
                } else {
                    s.text("/name").to_owned()
                }
            })
            .collect::<Vec<_>>()
            .join(", ")
    };
    vec![
        json!(role),
        o.age(),
        json!(of("User")),
        json!(of("Group")),
        json!(of("ServiceAccount")),
    ]
}

fn signing_request(o: Object<'_>) -> Vec<Value> {
    let has = |kind: &str| {
        o.objects("/status/conditions")
            .any(|c| c.text("/type") == kind)
    };
    let mut status = if has("Denied") {
        "Denied".to_owned()
    } else if has("Approved") {
        "Approved".to_owned()
    } else {
        "Pending".to_owned()
    };
    if has("Failed") {
        status.push_str(",Failed");
    }
    if !o.text("/status/certificate").is_empty() {
        status.push_str(",Issued");
    }
    let duration = if o.has("/spec/expirationSeconds") {
        duration::human(o.number("/spec/expirationSeconds"))
    } else {
        "<none>".to_owned()
    };
    vec![
        o.age(),
        json!(o.text_or("/spec/signerName", "<none>")),
        json!(o.text("/spec/username")),
        json!(duration),
        json!(status),
    ]
}

fn admission(resource: &str, o: Object<'_>) -> Vec<Value> {
    let param_kind = || {
        if o.has("/spec/paramKind") {
            format!(
                "{}/{}",
                o.text("/spec/paramKind/apiVersion"),
                o.text("/spec/paramKind/kind")
            )
        } else {
            "<unset>".to_owned()
        }
    };
    match resource {
        "mutatingwebhookconfigurations" | "validatingwebhookconfigurations" => {
            vec![json!(o.count("/webhooks")), o.age()]
        }
        "validatingadmissionpolicies" => vec![
            json!(o.count("/spec/validations")),
            json!(param_kind()),
            o.age(),
        ],
        "mutatingadmissionpolicies" => vec![
            json!(o.count("/spec/mutations")),
            json!(param_kind()),
            o.age(),
        ],
        _ => {
            let reference = if o.has("/spec/paramRef") {
                let name = match o.text("/spec/paramRef/name") {
                    "" => "*",
                    name => name,
                };
                match o.text("/spec/paramRef/namespace") {
                    "" => format!("*/{name}"),
                    namespace => format!("{namespace}/{name}"),
                }
            } else {
                "<unset>".to_owned()
            };
            vec![json!(o.text("/spec/policyName")), json!(reference), o.age()]
        }
    }
}

fn flow_schema(o: Object<'_>) -> Vec<Value> {
    let missing =
        o.condition("Dangling").map_or(
            "?",
            |status| if status == "True" { "True" } else { "False" },
        );
    vec![
        json!(o.text("/spec/priorityLevelConfiguration/name")),
        json!(o.number("/spec/matchingPrecedence")),
        json!(o.text_or("/spec/distinguisherMethod/type", "<none>")),
        o.age(),
        json!(missing),
    ]
}

fn priority_level(o: Object<'_>) -> Vec<Value> {
    let number = |pointer: &str| match o.0.pointer(pointer) {
        Some(value) if !value.is_null() => value.clone(),
        _ => json!("<none>"),
    };
    let queuing = "/spec/limited/limitResponse/queuing";
    vec![
        json!(o.text("/spec/type")),
        number("/spec/limited/nominalConcurrencyShares"),
        number(&format!("{queuing}/queues")),
        number(&format!("{queuing}/handSize")),
        number(&format!("{queuing}/queueLengthLimit")),
        o.age(),
    ]
}

fn api_service(o: Object<'_>) -> Vec<Value> {
    let service = if o.has("/spec/service") {
        format!(
            "{}/{}",
            o.text("/spec/service/namespace"),
            o.text("/spec/service/name")
        )
    } else {
        "Local".to_owned()
    };
    let available = o
        .objects("/status/conditions")
        .find(|c| c.text("/type") == "Available")
        .map_or_else(
            || "Unknown".to_owned(),
            |c| match c.text("/status") {
                "True" => "True".to_owned(),
                status => format!("{status} ({})", c.text("/reason")),
            },
        );
    vec![json!(service), json!(available), o.age()]
}

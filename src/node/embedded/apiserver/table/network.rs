//! Rows of services and networking.

use serde_json::{Value, json};

use super::words::{Object, plain, shortened};

pub(super) fn service(o: Object<'_>) -> Vec<Value> {
    let kind = o.text("/spec/type");
    let cluster_ip = o
        .list("/spec/clusterIPs")
        .first()
        .and_then(Value::as_str)
        .unwrap_or_else(|| o.text_or("/spec/clusterIP", "<none>"));
    let ports: Vec<String> = o
        .objects("/spec/ports")
        .map(|port| {
            let number = port.number("/port");
            let protocol = port.text_or("/protocol", "TCP");
            match port.number("/nodePort") {
                0 => format!("{number}/{protocol}"),
                node => format!("{number}:{node}/{protocol}"),
            }
        })
        .collect();
    let ports = if ports.is_empty() {
        "<none>".to_owned()
    } else {
        ports.join(",")
    };
    vec![
        json!(kind),
        json!(cluster_ip),
        json!(external(o, kind)),
        json!(ports),
        o.age(),
        o.labels("/spec/selector"),
    ]
}

fn external(o: Object<'_>, kind: &str) -> String {
    let ips: Vec<&str> = o
        .list("/spec/externalIPs")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    match kind {
        "ExternalName" => o.text("/spec/externalName").to_owned(),
        "LoadBalancer" => {
            let mut all: Vec<&str> = o
                .objects("/status/loadBalancer/ingress")
                .map(|i| i.text_or("/ip", i.text("/hostname")))
                .collect();
            all.extend(ips);
            if all.is_empty() {
                "<pending>".to_owned()
            } else {
                all.join(",")
            }
        }
        _ if ips.is_empty() => "<none>".to_owned(),
        _ => ips.join(","),
    }
}

pub(super) fn endpoints(o: Object<'_>) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in o.objects("/subsets") {
        if subset.count("/ports") == 0 {
            all.extend(
                subset
                    .objects("/addresses")
                    .map(|a| a.text("/ip").to_owned()),
            );
        }
        for port in subset.objects("/ports") {
            for address in subset.objects("/addresses") {
                all.push(format!("{}:{}", address.text("/ip"), port.number("/port")));
            }
        }
    }
    vec![json!(shortened(&all, 3, "<none>")), o.age()]
}

pub(super) fn endpoint_slice(o: Object<'_>) -> Vec<Value> {
    let ports: Vec<String> = o
        .objects("/ports")
        .map(|port| match port.0.pointer("/port") {
            Some(number) if !number.is_null() => plain(number),
            _ => "*".to_owned(),
        })
        .collect();
    let addresses: Vec<String> = o
        .objects("/endpoints")
        .flat_map(|endpoint| endpoint.list("/addresses"))
        .filter_map(|a| a.as_str().map(str::to_owned))
        .collect();
    vec![
        json!(o.text("/addressType")),
        json!(shortened(&ports, 3, "<unset>")),
        json!(shortened(&addresses, 3, "<unset>")),
        o.age(),
    ]
}

pub(super) fn ingress(o: Object<'_>) -> Vec<Value> {
    let class = match o.text("/spec/ingressClassName") {
        "" => o.text_or(
            "/metadata/annotations/kubernetes.io~1ingress.class",
            "<none>",
        ),
        class => class,
    };
    let hosts: Vec<String> = o
        .objects("/spec/rules")
        .map(|rule| rule.text("/host").to_owned())
        .filter(|host| !host.is_empty())
        .collect();
    let addresses: Vec<&str> = o
        .objects("/status/loadBalancer/ingress")
        .map(|i| i.text_or("/ip", i.text("/hostname")))
        .collect();
    let ports = if o.count("/spec/tls") > 0 {
        "80, 443"
    } else {
        "80"
    };
    vec![
        json!(class),
        json!(shortened(&hosts, 3, "*")),
        json!(addresses.join(",")),
        json!(ports),
        o.age(),
    ]
}

pub(super) fn ingress_class(o: Object<'_>) -> Vec<Value> {
    let parameters = if o.has("/spec/parameters") {
        let kind = o.text("/spec/parameters/kind");
        let name = o.text("/spec/parameters/name");
        match o.text("/spec/parameters/apiGroup") {
            "" => format!("{kind}/{name}"),
            group => format!("{kind}.{group}/{name}"),
        }
    } else {
        "<none>".to_owned()
    };
    vec![
        json!(o.text("/spec/controller")),
        json!(parameters),
        o.age(),
    ]
}

pub(super) fn network_policy(o: Object<'_>) -> Vec<Value> {
    vec![o.selector("/spec/podSelector"), o.age()]
}

pub(super) fn service_cidr(o: Object<'_>) -> Vec<Value> {
    let cidrs: Vec<&str> = o
        .list("/spec/cidrs")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    vec![json!(cidrs.join(",")), o.age()]
}

pub(super) fn ip_address(o: Object<'_>) -> Vec<Value> {
    let mut parent = o.text("/spec/parentRef/resource").to_owned();
    if !o.text("/spec/parentRef/group").is_empty() {
        parent = format!("{parent}.{}", o.text("/spec/parentRef/group"));
    }
    for part in ["/spec/parentRef/namespace", "/spec/parentRef/name"] {
        if !o.text(part).is_empty() {
            parent = format!("{parent}/{}", o.text(part));
        }
    }
    vec![json!(parent)]
}

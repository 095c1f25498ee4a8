//! Tables (`meta.k8s.io` Table), as `kubectl get` prints them
//! (`pkg/printers/internalversion/printers.go` of kubernetes/kubernetes).

mod cluster;
mod custom;
mod duration;
mod network;
mod pod;
mod storage;
mod words;
mod workload;

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use super::catalog::Resource;
use super::state::CustomResource;

pub use custom::Path;
pub use duration::human;

/// What of each object a row carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    Metadata,
    /// The whole object.
    Object,
}

/// Column definitions as a real server gave them, by list path: those of
/// `fixtures/golden/http/data/table-columns.json.gz` with the descriptions seen in the recorded tables.
const COLUMNS: &[u8] = include_bytes!("columns.json.gz");

fn built_in_columns(resource: &Resource) -> Option<&'static Value> {
    static ALL: OnceLock<HashMap<String, Value>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let mut text = Vec::new();
        let read = flate2::read::GzDecoder::new(COLUMNS).read_to_end(&mut text);
        debug_assert!(read.is_ok());
        serde_json::from_slice(&text).unwrap_or_default()
    });
    let path = if resource.group.is_empty() {
        format!("/api/{}/{}", resource.version, resource.name)
    } else {
        format!(
            "/apis/{}/{}/{}",
            resource.group, resource.version, resource.name
        )
    };
    let found = all.get(&path)?;
    Some(found.get("columnDefinitions").unwrap_or(found))
}

/// A Table of these objects. Later frames of a watch have no columns.
pub(super) fn table(
    version: &str,
    resource: &Resource,
    custom: Option<&CustomResource>,
    meta: Map<String, Value>,
    items: &[Value],
    include: Include,
    columns: bool,
) -> Value {
    let columns = if columns {
        definitions(resource, custom)
    } else {
        Value::Null
    };
    let rows: Vec<Value> = items
        .iter()
        .map(|object| {
            let cells = match custom {
                Some(custom) => custom::cells(custom, object),
                None => cells(resource, object),
            };
            row(version, resource, custom, object, cells, include)
        })
        .collect();
    // Kinds without columns of their own have no rows rather than none.
    let bare = custom.is_none()
        && built_in_columns(resource)
            .and_then(Value::as_array)
            .is_none_or(|all| {
                all.iter()
                    .any(|c| c.get("name") == Some(&json!("Created At")))
            });
    let mut table = whole(version, meta, columns, rows);
    if items.is_empty()
        && bare
        && let Some(table) = table.as_object_mut()
    {
        table.insert("rows".into(), Value::Null);
    }
    table
}

fn whole(version: &str, meta: Map<String, Value>, columns: Value, rows: Vec<Value>) -> Value {
    let mut table = Map::new();
    table.insert("kind".into(), "Table".into());
    table.insert("apiVersion".into(), format!("meta.k8s.io/{version}").into());
    table.insert("metadata".into(), meta.into());
    table.insert("columnDefinitions".into(), columns);
    table.insert("rows".into(), rows.into());
    Value::Object(table)
}

fn row(
    version: &str,
    resource: &Resource,
    custom: Option<&CustomResource>,
    object: &Value,
    cells: Vec<Value>,
    include: Include,
) -> Value {
    let mut row = Map::new();
    row.insert("cells".into(), cells.into());
    if custom.is_none()
        && resource.group.is_empty()
        && resource.name == "pods"
        && let Some(conditions) = pod::conditions(object)
    {
        row.insert("conditions".into(), conditions);
    }
    row.insert(
        "object".into(),
        match include {
            Include::None => Value::Null,
            Include::Metadata => super::registry::partial(version, object),
            Include::Object => object.clone(),
        },
    );
    Value::Object(row)
}

fn definitions(resource: &Resource, custom: Option<&CustomResource>) -> Value {
    if let Some(custom) = custom {
        return custom::definitions(custom);
    }
    if resource.kind == "Scale" {
        return workload::scale_columns();
    }
    built_in_columns(resource)
        .cloned()
        .unwrap_or_else(|| json!([custom::name_column(), custom::created_column()]))
}

/// The cells of a built-in object.
fn cells(resource: &Resource, object: &Value) -> Vec<Value> {
    let o = words::Object(object);
    let name = json!(o.name());
    let special = match (resource.group.as_str(), resource.name.as_str()) {
        ("", "pods") => pod::cells(o),
        ("", "replicationcontrollers") | ("apps", "replicasets") => workload::replica_set(o),
        ("apps", "deployments") => workload::deployment(o),
        ("apps", "statefulsets") => workload::stateful_set(o),
        ("apps", "daemonsets") => workload::daemon_set(o),
        ("apps", "controllerrevisions") => workload::controller_revision(o),
        ("batch", "jobs") => workload::job(o),
        ("batch", "cronjobs") => workload::cron_job(o),
        ("", "podtemplates") => workload::pod_template(o),
        ("autoscaling", _) if resource.kind == "Scale" => workload::scale(o),
        ("autoscaling", _) => workload::autoscaler(o),
        ("policy", "poddisruptionbudgets") => workload::disruption_budget(o),
        ("", "services") => network::service(o),
        ("", "endpoints") => network::endpoints(o),
        ("discovery.k8s.io", _) => network::endpoint_slice(o),
        ("networking.k8s.io", "ingresses") => network::ingress(o),
        ("networking.k8s.io", "ingressclasses") => network::ingress_class(o),
        ("networking.k8s.io", "networkpolicies") => network::network_policy(o),
        ("networking.k8s.io", "servicecidrs") => network::service_cidr(o),
        ("networking.k8s.io", "ipaddresses") => network::ip_address(o),
        ("storage.k8s.io", name) => storage::cells(name, o),
        ("", "persistentvolumes") => storage::volume(o),
        ("", "persistentvolumeclaims") => storage::claim(o),
        (group, resource) => cluster::cells(group, resource, o),
    };
    let mut cells = vec![name];
    cells.extend(special);
    if resource.name == "events" {
        // The only kind whose name comes last.
        cells.rotate_left(1);
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::embedded::apiserver::catalog;

    #[test]
    fn every_kind_has_as_many_cells_as_columns() {
        for resource in catalog::built_in() {
            if !resource.verbs.iter().any(|v| v == "list") || resource.name == "componentstatuses" {
                continue;
            }
            let columns = built_in_columns(resource)
                .unwrap_or_else(|| panic!("no columns for {}", resource.name));
            let cells = cells(resource, &json!({"metadata": {"name": "x"}}));
            assert_eq!(
                cells.len(),
                columns.as_array().unwrap().len(),
                "{}",
                resource.name
            );
        }
    }
}

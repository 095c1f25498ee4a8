//! What is too large for etcd (`isTooLargeError` and its users in `pkg/endpoints/handlers`).

use serde_json::Value;

use super::target::Target;
use super::{meta, plain_error};
use crate::node::embedded::apiserver::schema::protobuf;
use crate::node::embedded::apiserver::status::Status;

/// Largest request that etcd takes (`--max-request-bytes`).
const REQUEST: usize = 1536 << 10;
/// Largest message that its client sends.
const MESSAGE: usize = 2 << 20;
/// What a transaction takes beside the key, named twice, and the value.
const ENVELOPE: usize = 64;
/// Most values of an object.
const VALUES: usize = 150_000;
/// What is surely smaller is not measured.
const SMALL: usize = 512 << 10;

/// Makes an object fit into a request to etcd, if need be without its managed fields.
///
/// # Errors
/// 500 with the text of etcd or of its client.
pub(super) fn fit(target: &Target, key: &str, value: &mut Value) -> Result<(), Status> {
    let mut room = SMALL;
    if takes_at_most(value, &mut room) {
        return Ok(());
    }
    if message(target, key, value) <= REQUEST {
        return Ok(());
    }
    meta::remove(value, "managedFields");
    match message(target, key, value) {
        bytes if bytes > MESSAGE => Err(plain_error(format!(
            "rpc error: code = ResourceExhausted desc = trying to send message larger than max ({bytes} vs. {MESSAGE})"
        ))),
        bytes if bytes > REQUEST => Err(plain_error("etcdserver: request is too large")),
        _ => Ok(()),
    }
}

/// Refuses what has so many values that their handling would take memory without measure; almost nothing of
/// that kind would fit into a request to etcd.
///
/// # Errors
/// 500 with the text of etcd.
pub(in crate::node::embedded::apiserver) fn countable(value: &Value) -> Result<(), Status> {
    let mut left = VALUES;
    if counts_at_most(value, &mut left) {
        return Ok(());
    }
    Err(plain_error("etcdserver: request is too large"))
}

fn counts_at_most(value: &Value, left: &mut usize) -> bool {
    let Some(rest) = left.checked_sub(1) else {
        return false;
    };
    *left = rest;
    match value {
        Value::Array(items) => items.iter().all(|item| counts_at_most(item, left)),
        Value::Object(fields) => fields.values().all(|field| counts_at_most(field, left)),
        _ => true,
    }
}

/// Size of the request that stores an object: as protobuf where it has such a form.
fn message(target: &Target, key: &str, value: &Value) -> usize {
    let resource = &target.resource;
    let encoded = match &target.custom {
        Some(_) => None,
        None => protobuf::encode(&resource.group, &resource.version, &resource.kind, value),
    };
    let bytes = encoded.map_or_else(|| value.to_string().len(), |bytes| bytes.len());
    bytes + 2 * key.len() + ENVELOPE
}

/// Whether a value takes less than so many bytes in whatever form; stops where it does not.
fn takes_at_most(value: &Value, room: &mut usize) -> bool {
    let own = match value {
        Value::String(text) => text.len() + 8,
        Value::Object(fields) => fields.keys().map(|name| name.len() + 8).sum(),
        _ => 16,
    };
    let Some(left) = room.checked_sub(own) else {
        return false;
    };
    *room = left;
    match value {
        Value::Array(items) => items.iter().all(|item| takes_at_most(item, room)),
        Value::Object(fields) => fields.values().all(|field| takes_at_most(field, room)),
        _ => true,
    }
}

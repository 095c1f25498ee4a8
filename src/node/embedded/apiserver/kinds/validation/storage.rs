//! Volumes, claims and storage classes (`pkg/apis/{core,storage}/validation`).

use serde_json::Value;

use super::{Errors, name, pod};
use crate::node::embedded::apiserver::kinds::defaults::pod::VOLUME_SOURCES;
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::kinds::internal;
use crate::node::embedded::apiserver::kinds::quantity::Quantity;

const MODES: [&str; 4] = [
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];

fn access_modes(new: &Value, e: &mut Errors) {
    let modes = items(new, "/spec/accessModes");
    if modes.is_empty() {
        e.required("spec.accessModes", "at least 1 access mode is required");
    }
    for mode in modes {
        e.one_of("spec.accessModes", Some(mode), &MODES);
    }
}

/// Claims.
pub fn claim(old: Option<&Value>, new: &Value, e: &mut Errors) {
    access_modes(new, e);
    match new.pointer("/spec/resources/requests/storage") {
        None => e.required("spec.resources[storage]", ""),
        Some(size) => {
            let quantity = size.as_str().and_then(Quantity::parse);
            if quantity.is_some_and(|size| size.is_negative() || size.is_zero()) {
                e.invalid("spec.resources[storage]", size, "must be greater than zero");
            }
        }
    }
    let class = text_at(new, "/spec/storageClassName");
    if !class.is_empty() {
        for problem in name::subdomain(class) {
            e.invalid("spec.storageClassName", &class.into(), problem);
        }
    }
    e.one_of(
        "spec.volumeMode",
        new.pointer("/spec/volumeMode"),
        &["Block", "Filesystem"],
    );
    if let Some(old) = old {
        claim_update(old, new, e);
    }
}

/// `ValidatePersistentVolumeClaimUpdate`.
fn claim_update(old: &Value, new: &Value, e: &mut Errors) {
    let mut before = old.get("spec").cloned().unwrap_or_default();
    let mut after = new.get("spec").cloned().unwrap_or_default();
    let bound = text_at(new, "/status/phase") == "Bound";
    if let (Some(before), Some(after)) = (before.as_object_mut(), after.as_object_mut()) {
        // The volume and the default class are filled in later, once.
        for key in ["volumeName", "storageClassName"] {
            if before
                .get(key)
                .is_none_or(|value| value.is_null() || value == "")
                && !(key == "storageClassName" && before.get(key) == Some(&"".into()))
                && let Some(value) = after.get(key)
            {
                before.insert(key.into(), value.clone());
            }
        }
        if bound {
            if let Some(size) = old.pointer("/spec/resources/requests/storage")
                && let Some(Value::Object(requests)) = after
                    .get_mut("resources")
                    .and_then(|resources| resources.get_mut("requests"))
            {
                requests.insert("storage".into(), size.clone());
            }
            if after.contains_key("volumeAttributesClassName") {
                match before.get("volumeAttributesClassName") {
                    Some(class) => after.insert("volumeAttributesClassName".into(), class.clone()),
                    None => after.shift_remove("volumeAttributesClassName"),
                };
            }
        }
    }
    let ty = "PersistentVolumeClaimSpec";
    if !internal::same(ty, &before, &after) {
        e.forbidden(
            "spec",
            format!(
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{}",
                internal::diff(ty, &before, &after)
            ),
        );
    }
    let size = |object: &Value, at: &str| Quantity::parse(text_at(object, at)).map(|q| q.nano());
    let asked = "/spec/resources/requests/storage";
    if let (Some(before), Some(now)) = (size(old, asked), size(new, asked))
        && now < before
        && now <= size(old, "/status/capacity/storage").unwrap_or(0)
    {
        e.forbidden(
            "spec.resources.requests.storage",
            "field can not be less than status.capacity",
        );
    }
    e.immutable(
        "volumeMode",
        old.pointer("/spec/volumeMode"),
        new.pointer("/spec/volumeMode"),
    );
}

/// Volumes.
pub fn volume(new: &Value, e: &mut Errors) {
    access_modes(new, e);
    let empty = Value::Null;
    let spec = new.get("spec").unwrap_or(&empty);
    if spec.pointer("/capacity/storage").is_none() {
        e.required("spec.capacity", "");
    }
    e.one_of(
        "spec.persistentVolumeReclaimPolicy",
        spec.get("persistentVolumeReclaimPolicy"),
        &["Delete", "Recycle", "Retain"],
    );
    let sources: Vec<&str> = VOLUME_SOURCES
        .into_iter()
        .chain(["local"])
        .filter(|kind| spec.get(*kind).is_some_and(|value| !value.is_null()))
        .collect();
    if sources.is_empty() {
        e.required("spec", "must specify a volume type");
    }
    for extra in sources.iter().skip(1) {
        e.forbidden(
            &format!("spec.{extra}"),
            "may not specify more than 1 volume type",
        );
    }
    if sources.first() == Some(&"hostPath") {
        pod::host_path(spec, "spec", e);
        if text_at(spec, "/hostPath/path") == "/"
            && text_at(spec, "/persistentVolumeReclaimPolicy") == "Recycle"
        {
            e.forbidden(
                "spec.persistentVolumeReclaimPolicy",
                "may not be 'recycle' for a hostPath mount of '/'",
            );
        }
    }
}

/// Storage classes.
pub fn class(old: Option<&Value>, new: &Value, e: &mut Errors) {
    let provisioner = text_at(new, "/provisioner");
    if provisioner.is_empty() {
        e.required("provisioner", "");
    } else {
        for problem in name::qualified(&provisioner.to_lowercase()) {
            e.invalid("provisioner", &provisioner.into(), problem);
        }
    }
    e.one_of(
        "reclaimPolicy",
        new.get("reclaimPolicy"),
        &["Delete", "Retain"],
    );
    e.one_of(
        "volumeBindingMode",
        new.get("volumeBindingMode"),
        &["Immediate", "WaitForFirstConsumer"],
    );
    if let Some(old) = old {
        for key in [
            "parameters",
            "provisioner",
            "reclaimPolicy",
            "volumeBindingMode",
        ] {
            if old.get(key) != new.get(key) {
                match key {
                    "parameters" => e.forbidden(key, "updates to parameters are forbidden."),
                    _ => e.immutable(key, old.get(key), new.get(key)),
                }
            }
        }
    }
}

/// CSI drivers.
pub fn csi_driver(old: Option<&Value>, new: &Value, e: &mut Errors) {
    if let Some(old) = old {
        // The real text names a field that does not exist.
        e.immutable(
            "spec.attachedRequired",
            old.pointer("/spec/attachRequired"),
            new.pointer("/spec/attachRequired"),
        );
    }
}

//! Rows of volumes and storage.

use serde_json::{Value, json};

use super::words::{Object, plain};

fn modes(o: Object<'_>, pointer: &str) -> String {
    let mut all: Vec<&str> = Vec::new();
    for (long, short) in [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ] {
        if o.list(pointer).iter().any(|m| m.as_str() == Some(long)) {
            all.push(short);
        }
    }
    all.join(",")
}

fn quantity(o: Object<'_>, pointer: &str) -> String {
    o.0.pointer(pointer).map(plain).unwrap_or_default()
}

fn class(o: Object<'_>) -> String {
    match o.text("/metadata/annotations/volume.beta.kubernetes.io~1storage-class") {
        "" => o.text("/spec/storageClassName").to_owned(),
        class => class.to_owned(),
    }
}

fn phase(o: Object<'_>) -> &str {
    if o.has("/metadata/deletionTimestamp") {
        "Terminating"
    } else {
        o.text("/status/phase")
    }
}

pub(super) fn volume(o: Object<'_>) -> Vec<Value> {
    let claim = if o.has("/spec/claimRef") {
        format!(
            "{}/{}",
            o.text("/spec/claimRef/namespace"),
            o.text("/spec/claimRef/name")
        )
    } else {
        String::new()
    };
    vec![
        json!(quantity(o, "/spec/capacity/storage")),
        json!(modes(o, "/spec/accessModes")),
        json!(o.text("/spec/persistentVolumeReclaimPolicy")),
        json!(phase(o)),
        json!(claim),
        json!(class(o)),
        json!(o.text_or("/spec/volumeAttributesClassName", "<unset>")),
        json!(o.text("/status/reason")),
        o.age(),
        json!(o.text_or("/spec/volumeMode", "<unset>")),
    ]
}

pub(super) fn claim(o: Object<'_>) -> Vec<Value> {
    let bound = !o.text("/spec/volumeName").is_empty();
    let (capacity, access) = if bound {
        (
            quantity(o, "/status/capacity/storage"),
            modes(o, "/status/accessModes"),
        )
    } else {
        (String::new(), String::new())
    };
    vec![
        json!(phase(o)),
        json!(o.text("/spec/volumeName")),
        json!(capacity),
        json!(access),
        json!(class(o)),
        json!(o.text_or("/spec/volumeAttributesClassName", "<unset>")),
        o.age(),
        json!(o.text_or("/spec/volumeMode", "<unset>")),
    ]
}

pub(super) fn cells(resource: &str, o: Object<'_>) -> Vec<Value> {
    match resource {
        "storageclasses" => vec![
            json!(o.text("/provisioner")),
            json!(o.text_or("/reclaimPolicy", "Delete")),
            json!(o.text_or("/volumeBindingMode", "Immediate")),
            json!(o.flag("/allowVolumeExpansion")),
            o.age(),
        ],
        "volumeattachments" => vec![
            json!(o.text("/spec/attacher")),
            json!(o.text("/spec/source/persistentVolumeName")),
            json!(o.text("/spec/nodeName")),
            json!(o.flag("/status/attached")),
            o.age(),
        ],
        "csidrivers" => {
            let audiences: Vec<&str> = o
                .objects("/spec/tokenRequests")
                .map(|t| t.text("/audience"))
                .collect();
            let modes: Vec<&str> = o
                .list("/spec/volumeLifecycleModes")
                .iter()
                .filter_map(Value::as_str)
                .collect();
            let or = |text: String, none: &str| {
                if text.is_empty() {
                    none.to_owned()
                } else {
                    text
                }
            };
            vec![
                json!(o.flag("/spec/attachRequired")),
                json!(o.flag("/spec/podInfoOnMount")),
                json!(o.flag("/spec/storageCapacity")),
                json!(or(audiences.join(","), "<unset>")),
                json!(o.flag("/spec/requiresRepublish")),
                json!(or(modes.join(","), "<none>")),
                o.age(),
            ]
        }
        "csinodes" => vec![json!(o.count("/spec/drivers")), o.age()],
        "volumeattributesclasses" => vec![json!(o.text("/driverName")), o.age()],
        _ => vec![json!(o.text("/metadata/creationTimestamp"))],
    }
}

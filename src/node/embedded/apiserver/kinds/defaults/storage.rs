//! Defaults of volumes, claims and storage classes (`pkg/apis/{core,storage}/v1/defaults.go`).

use serde_json::json;

use super::pod;
use crate::node::embedded::apiserver::kinds::edit::{Object, child, default, default_text, ensure};

/// `SetDefaults_PersistentVolume`.
pub fn volume(object: &mut Object) {
    default_text(ensure(object, "status"), "phase", "Pending");
    let spec = ensure(object, "spec");
    default_text(spec, "persistentVolumeReclaimPolicy", "Retain");
    default(spec, "volumeMode", "Filesystem");
    pod::quantities(spec, "capacity");
    pod::volume_source(spec);
}

/// `SetDefaults_PersistentVolumeClaim`.
pub fn claim(object: &mut Object) {
    default_text(ensure(object, "status"), "phase", "Pending");
    claim_spec(ensure(object, "spec"));
}

/// `SetDefaults_PersistentVolumeClaimSpec`.
pub fn claim_spec(spec: &mut Object) {
    default(spec, "volumeMode", "Filesystem");
    if let Some(resources) = child(spec, "resources") {
        pod::quantities(resources, "limits");
        pod::quantities(resources, "requests");
    }
    // `dataSource` and `dataSourceRef` mirror each other (strategy of claims).
    match (
        spec.get("dataSource").cloned(),
        spec.get("dataSourceRef").cloned(),
    ) {
        (Some(source), None) => {
            spec.insert("dataSourceRef".into(), source);
        }
        (None, Some(reference)) if reference.get("namespace").is_none() => {
            spec.insert("dataSource".into(), reference);
        }
        _ => {}
    }
}

/// `SetDefaults_StorageClass`.
pub fn class(object: &mut Object) {
    default(object, "reclaimPolicy", "Delete");
    default(object, "volumeBindingMode", "Immediate");
}

/// `SetDefaults_CSIDriver`.
pub fn csi_driver(object: &mut Object) {
    let spec = ensure(object, "spec");
    default(spec, "attachRequired", true);
    default(spec, "podInfoOnMount", false);
    default(spec, "storageCapacity", false);
    default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    default(spec, "volumeLifecycleModes", json!(["Persistent"]));
    default(spec, "requiresRepublish", false);
    default(spec, "seLinuxMount", false);
}

//! Descriptions and required fields of the built-in types, from the `k8s-openapi` crate.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// Adds the schemas of kinds.
macro_rules! add {
    ($generator:ident, $group:ident :: $version:ident, [$($kind:ident),* $(,)?]) => {{
        use k8s_openapi::api::$group::$version as package;
        add!(@ $generator, package, [$($kind),*]);
    }};
    (@ $generator:ident, $package:ident, [$($kind:ident),*]) => {{
        $($generator.subschema_for::<$package::$kind>();)*
    }};
}

/// The definition of what `/version` answers, by its name.
pub(super) fn version_info() -> Map<String, Value> {
    let mut generator = SchemaGenerator::new(SchemaSettings::openapi3());
    generator.subschema_for::<k8s_openapi::apimachinery::pkg::version::Info>();
    generator.take_definitions(true)
}

/// The schemas of a group and version and all they refer to, by definition name.
pub(super) fn definitions(group: &str, version: &str) -> Map<String, Value> {
    let mut generator = SchemaGenerator::new(SchemaSettings::openapi3());
    meta(&mut generator);
    kinds(&mut generator, group, version);
    generator.take_definitions(true)
}

fn meta(generator: &mut SchemaGenerator) {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1 as package;
    add!(@ generator, package, [APIGroup, APIGroupList, APIResourceList, APIVersions, DeleteOptions, ListMeta, ObjectMeta, Patch, Status]);
}

fn kinds(generator: &mut SchemaGenerator, group: &str, version: &str) {
    match (group, version) {
        ("", _) => {
            add!(
                generator,
                core::v1,
                [
                    Binding,
                    ComponentStatus,
                    ConfigMap,
                    Endpoints,
                    Event,
                    LimitRange,
                    Namespace,
                    Node,
                    PersistentVolume,
                    PersistentVolumeClaim,
                    Pod,
                    PodTemplate,
                    ReplicationController,
                    ResourceQuota,
                    Secret,
                    ServiceAccount,
                    Service
                ]
            );
            add!(generator, authentication::v1, [TokenRequest]);
            add!(generator, policy::v1, [Eviction]);
            add!(generator, autoscaling::v1, [Scale]);
        }
        ("admissionregistration.k8s.io", _) => add!(
            generator,
            admissionregistration::v1,
            [
                MutatingAdmissionPolicy,
                MutatingAdmissionPolicyBinding,
                MutatingWebhookConfiguration,
                ValidatingAdmissionPolicy,
                ValidatingAdmissionPolicyBinding,
                ValidatingWebhookConfiguration
            ]
        ),
        ("apiextensions.k8s.io", _) => {
            use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as package;
            add!(@ generator, package, [CustomResourceDefinition]);
        }
        ("apiregistration.k8s.io", _) => {
            use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as package;
            add!(@ generator, package, [APIService]);
        }
        ("apps", _) => {
            add!(
                generator,
                apps::v1,
                [
                    ControllerRevision,
                    DaemonSet,
                    Deployment,
                    ReplicaSet,
                    StatefulSet
                ]
            );
            add!(generator, autoscaling::v1, [Scale]);
        }
        ("authentication.k8s.io", _) => add!(
            generator,
            authentication::v1,
            [SelfSubjectReview, TokenReview]
        ),
        ("authorization.k8s.io", _) => add!(
            generator,
            authorization::v1,
            [
                LocalSubjectAccessReview,
                SelfSubjectAccessReview,
                SelfSubjectRulesReview,
                SubjectAccessReview
            ]
        ),
        ("autoscaling", "v1") => add!(generator, autoscaling::v1, [Scale, HorizontalPodAutoscaler]),
        ("autoscaling", _) => add!(generator, autoscaling::v2, [HorizontalPodAutoscaler]),
        ("batch", _) => add!(generator, batch::v1, [CronJob, Job]),
        ("certificates.k8s.io", _) => {
            add!(generator, certificates::v1, [CertificateSigningRequest])
        }
        ("coordination.k8s.io", _) => add!(generator, coordination::v1, [Lease]),
        ("discovery.k8s.io", _) => add!(generator, discovery::v1, [EndpointSlice]),
        ("events.k8s.io", _) => add!(generator, events::v1, [Event]),
        ("flowcontrol.apiserver.k8s.io", _) => add!(
            generator,
            flowcontrol::v1,
            [FlowSchema, PriorityLevelConfiguration]
        ),
        ("networking.k8s.io", _) => add!(
            generator,
            networking::v1,
            [IPAddress, Ingress, IngressClass, NetworkPolicy, ServiceCIDR]
        ),
        ("node.k8s.io", _) => add!(generator, node::v1, [RuntimeClass]),
        ("policy", _) => add!(generator, policy::v1, [Eviction, PodDisruptionBudget]),
        ("rbac.authorization.k8s.io", _) => add!(
            generator,
            rbac::v1,
            [ClusterRole, ClusterRoleBinding, Role, RoleBinding]
        ),
        ("resource.k8s.io", _) => add!(
            generator,
            resource::v1,
            [
                DeviceClass,
                ResourceClaim,
                ResourceClaimTemplate,
                ResourceSlice
            ]
        ),
        ("scheduling.k8s.io", _) => add!(generator, scheduling::v1, [PriorityClass]),
        ("storage.k8s.io", _) => add!(
            generator,
            storage::v1,
            [
                CSIDriver,
                CSINode,
                CSIStorageCapacity,
                StorageClass,
                VolumeAttachment,
                VolumeAttributesClass
            ]
        ),
        // A custom resource can have a scale.
        _ => add!(generator, autoscaling::v1, [Scale]),
    }
}

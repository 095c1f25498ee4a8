//! What the programs of a cluster watch, as recorded (`fixtures/golden/http/background.json.gz` and
//! `events/*.background.log.gz`); the kubelet's from `pkg/kubelet/kubelet.go`, kube-proxy's from `cmd/kube-proxy/app/server.go`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::Watched;
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::cluster::actor::Actor;
use crate::node::embedded::cluster::object::namespace;
use crate::node::embedded::machine::Machine;

/// Where the authentication of extension API servers is configured.
const CONFIGMAPS: &str = "/api/v1/namespaces/kube-system/configmaps";
const AUTHENTICATION: &str = "fieldSelector=metadata.name%3Dextension-apiserver-authentication";
/// Watches of single objects last longer (`pkg/kubelet/util/manager/watch_based_manager.go`).
const SINGLE: Duration = Duration::from_secs(30 * 60);

/// What the API server watches at itself.
#[must_use]
pub fn api_server(actor: &Arc<Actor>) -> Vec<Watched> {
    let mut all = everything(actor, API_SERVER);
    all.extend([
        Watched::selected(
            actor,
            "/apis/networking.k8s.io/v1/servicecidrs",
            "fieldSelector=metadata.name%3Dkubernetes",
        ),
        Watched::selected(
            actor,
            "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases",
            "labelSelector=apiserver.kubernetes.io%2Fidentity%3Dkube-apiserver",
        ),
        Watched::all(actor, CONFIGMAPS),
        Watched::selected(
            actor,
            CONFIGMAPS,
            "fieldSelector=metadata.name%3Dkube-apiserver-legacy-service-account-token-tracking",
        ),
    ]);
    all
}

/// What delegated authentication watches (`DelegatingAuthenticationOptions.ApplyTo`): only what no flag names.
fn authentication(actor: &Arc<Actor>, argv: &[String]) -> Vec<Watched> {
    let has = |flag: &str| argv.iter().any(|word| word.starts_with(flag));
    let mut count = 0;
    if !has("--client-ca-file=") {
        count += 1;
    }
    if !has("--requestheader-client-ca-file=") {
        count += 2;
    }
    vec![Watched::selected(actor, CONFIGMAPS, AUTHENTICATION); count]
}

/// What kube-scheduler watches, with this command line.
#[must_use]
pub fn scheduler(program: &Arc<Actor>, actor: &Arc<Actor>, argv: &[String]) -> Vec<Watched> {
    let mut all = authentication(program, argv);
    all.extend(everything(actor, SCHEDULER));
    all.push(Watched::selected(
        actor,
        "/api/v1/pods",
        "fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed",
    ));
    all
}

/// The clients of kube-controller-manager that watch.
pub struct Controllers {
    /// Without a suffix in its user agent.
    pub program: Arc<Actor>,
    /// `shared-informers`.
    pub shared: Arc<Actor>,
    /// `metadata-informers`: what no shared informer knows.
    pub metadata: Arc<Actor>,
}

/// What kube-controller-manager watches, with this command line.
#[must_use]
pub fn controllers(machine: &Machine, clients: &Controllers, argv: &[String]) -> Vec<Watched> {
    let mut all = authentication(&clients.program, argv);
    all.extend(everything(&clients.shared, CONTROLLERS));
    all.extend(everything(&clients.metadata, METADATA));
    for definition in machine
        .store
        .list("/registry/apiextensions.k8s.io/customresourcedefinitions/")
        .0
    {
        all.extend(custom(&definition.value).map(|path| Watched::all(&clients.metadata, path)));
    }
    all
}

/// The path of a custom resource's preferred version, once it is served.
fn custom(definition: &Value) -> Option<String> {
    let established =
        crate::node::embedded::cluster::object::has_condition(definition, "Established");
    let version = items(definition, "/spec/versions")
        .iter()
        .filter(|version| version.get("served") == Some(&Value::Bool(true)))
        .map(|version| text_at(version, "/name"))
        .next()?;
    established.then(|| {
        format!(
            "/apis/{}/{version}/{}",
            text_at(definition, "/spec/group"),
            text_at(definition, "/spec/names/plural")
        )
    })
}

/// What the kubelet of a node watches, and the pods there that are clients of the API.
#[must_use]
pub fn node(machine: &Arc<Machine>, kubelet: &Arc<Actor>, node: &str) -> Vec<Watched> {
    let mut all = everything(kubelet, KUBELET);
    all.push(Watched::selected(
        kubelet,
        "/api/v1/nodes",
        format!("fieldSelector=metadata.name%3D{node}"),
    ));
    all.push(Watched::selected(
        kubelet,
        "/api/v1/pods",
        format!("fieldSelector=spec.nodeName%3D{node}"),
    ));
    let mut objects = BTreeSet::new();
    for pod in machine.store.list("/registry/core/pods/").0 {
        let pod = &pod.value;
        let phase = text_at(pod, "/status/phase");
        if text_at(pod, "/spec/nodeName") != node || matches!(phase, "Succeeded" | "Failed") {
            continue;
        }
        for (plural, object) in references(pod) {
            objects.insert((plural, namespace(pod).to_owned(), object));
        }
        if phase == "Running"
            && text_at(pod, "/spec/serviceAccountName") == "kube-proxy"
            && namespace(pod) == "kube-system"
        {
            all.extend(proxy(machine, pod, node));
        }
    }
    all.extend(objects.into_iter().map(|(plural, space, object)| Watched {
        shortest: SINGLE,
        ..Watched::selected(
            kubelet,
            format!("/api/v1/namespaces/{space}/{plural}"),
            format!("fieldSelector=metadata.name%3D{object}"),
        )
    }));
    all
}

fn proxy(machine: &Arc<Machine>, pod: &Value, node: &str) -> Vec<Watched> {
    let Some(actor) = Actor::pod(machine, pod, "kube-proxy") else {
        return Vec::new();
    };
    let actor = Arc::new(actor);
    vec![
        Watched::selected(
            &actor,
            "/api/v1/services",
            "fieldSelector=spec.clusterIP%21%3DNone&labelSelector=%21service.kubernetes.io%2Fservice-proxy-name",
        ),
        Watched::selected(
            &actor,
            "/apis/discovery.k8s.io/v1/endpointslices",
            "labelSelector=%21service.kubernetes.io%2Fheadless",
        ),
        Watched::all(&actor, "/apis/networking.k8s.io/v1/servicecidrs"),
        Watched::selected(
            &actor,
            "/api/v1/nodes",
            format!("fieldSelector=metadata.name%3D{node}"),
        ),
    ]
}

/// The config maps and secrets that a pod refers to (`pkg/api/v1/pod.VisitPodConfigmapNames` and its kin).
fn references(pod: &Value) -> Vec<(&'static str, String)> {
    let mut all: Vec<(&'static str, &str)> = Vec::new();
    for volume in items(pod, "/spec/volumes") {
        all.push(("configmaps", text_at(volume, "/configMap/name")));
        all.push(("secrets", text_at(volume, "/secret/secretName")));
        for source in items(volume, "/projected/sources") {
            all.push(("configmaps", text_at(source, "/configMap/name")));
            all.push(("secrets", text_at(source, "/secret/name")));
        }
    }
    for secret in items(pod, "/spec/imagePullSecrets") {
        all.push(("secrets", text_at(secret, "/name")));
    }
    let containers = items(pod, "/spec/containers")
        .iter()
        .chain(items(pod, "/spec/initContainers"));
    for container in containers {
        for source in items(container, "/envFrom") {
            all.push(("configmaps", text_at(source, "/configMapRef/name")));
            all.push(("secrets", text_at(source, "/secretRef/name")));
        }
        for variable in items(container, "/env") {
            all.push((
                "configmaps",
                text_at(variable, "/valueFrom/configMapKeyRef/name"),
            ));
            all.push(("secrets", text_at(variable, "/valueFrom/secretKeyRef/name")));
        }
    }
    all.into_iter()
        .filter(|(_, name)| !name.is_empty())
        .map(|(plural, name)| (plural, name.to_owned()))
        .collect()
}

/// The static pods of a node refer to nothing, so a kubelet watches these alone.
const KUBELET: &[&str] = &[
    "/api/v1/services",
    "/apis/node.k8s.io/v1/runtimeclasses",
    "/apis/storage.k8s.io/v1/csidrivers",
];

fn everything(actor: &Arc<Actor>, paths: &[&str]) -> Vec<Watched> {
    paths
        .iter()
        .map(|path| Watched::all(actor, *path))
        .collect()
}

const API_SERVER: &[&str] = &[
    "/api/v1/limitranges",
    "/api/v1/namespaces",
    "/api/v1/nodes",
    "/api/v1/persistentvolumeclaims",
    "/api/v1/persistentvolumes",
    "/api/v1/pods",
    "/api/v1/resourcequotas",
    "/api/v1/secrets",
    "/api/v1/serviceaccounts",
    "/api/v1/services",
    "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies",
    "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings",
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/apiregistration.k8s.io/v1/apiservices",
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
    "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
    "/apis/networking.k8s.io/v1/ingressclasses",
    "/apis/networking.k8s.io/v1/ipaddresses",
    "/apis/networking.k8s.io/v1/servicecidrs",
    "/apis/node.k8s.io/v1/runtimeclasses",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/rolebindings",
    "/apis/rbac.authorization.k8s.io/v1/roles",
    "/apis/resource.k8s.io/v1/deviceclasses",
    "/apis/resource.k8s.io/v1/resourceclaims",
    "/apis/resource.k8s.io/v1/resourceslices",
    "/apis/scheduling.k8s.io/v1/priorityclasses",
    "/apis/storage.k8s.io/v1/csidrivers",
    "/apis/storage.k8s.io/v1/storageclasses",
    "/apis/storage.k8s.io/v1/volumeattachments",
];

const SCHEDULER: &[&str] = &[
    "/api/v1/namespaces",
    "/api/v1/nodes",
    "/api/v1/persistentvolumeclaims",
    "/api/v1/persistentvolumes",
    "/api/v1/replicationcontrollers",
    "/api/v1/services",
    "/apis/apps/v1/replicasets",
    "/apis/apps/v1/statefulsets",
    "/apis/policy/v1/poddisruptionbudgets",
    "/apis/resource.k8s.io/v1/deviceclasses",
    "/apis/resource.k8s.io/v1/resourceclaims",
    "/apis/resource.k8s.io/v1/resourceslices",
    "/apis/storage.k8s.io/v1/csidrivers",
    "/apis/storage.k8s.io/v1/csinodes",
    "/apis/storage.k8s.io/v1/csistoragecapacities",
    "/apis/storage.k8s.io/v1/storageclasses",
    "/apis/storage.k8s.io/v1/volumeattachments",
];

const CONTROLLERS: &[&str] = &[
    "/api/v1/configmaps",
    "/api/v1/endpoints",
    "/api/v1/limitranges",
    "/api/v1/namespaces",
    "/api/v1/nodes",
    "/api/v1/persistentvolumeclaims",
    "/api/v1/persistentvolumes",
    "/api/v1/pods",
    "/api/v1/podtemplates",
    "/api/v1/replicationcontrollers",
    "/api/v1/resourcequotas",
    "/api/v1/secrets",
    "/api/v1/serviceaccounts",
    "/api/v1/services",
    "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies",
    "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings",
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "/apis/apps/v1/controllerrevisions",
    "/apis/apps/v1/daemonsets",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/replicasets",
    "/apis/apps/v1/statefulsets",
    "/apis/autoscaling/v2/horizontalpodautoscalers",
    "/apis/batch/v1/cronjobs",
    "/apis/batch/v1/jobs",
    "/apis/certificates.k8s.io/v1/certificatesigningrequests",
    "/apis/coordination.k8s.io/v1/leases",
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
    "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
    "/apis/networking.k8s.io/v1/ingressclasses",
    "/apis/networking.k8s.io/v1/ingresses",
    "/apis/networking.k8s.io/v1/ipaddresses",
    "/apis/networking.k8s.io/v1/networkpolicies",
    "/apis/networking.k8s.io/v1/servicecidrs",
    "/apis/node.k8s.io/v1/runtimeclasses",
    "/apis/policy/v1/poddisruptionbudgets",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/rolebindings",
    "/apis/rbac.authorization.k8s.io/v1/roles",
    "/apis/resource.k8s.io/v1/deviceclasses",
    "/apis/resource.k8s.io/v1/resourceclaims",
    "/apis/resource.k8s.io/v1/resourceclaimtemplates",
    "/apis/resource.k8s.io/v1/resourceslices",
    "/apis/scheduling.k8s.io/v1/priorityclasses",
    "/apis/storage.k8s.io/v1/csidrivers",
    "/apis/storage.k8s.io/v1/csinodes",
    "/apis/storage.k8s.io/v1/csistoragecapacities",
    "/apis/storage.k8s.io/v1/storageclasses",
    "/apis/storage.k8s.io/v1/volumeattachments",
    "/apis/storage.k8s.io/v1/volumeattributesclasses",
];

const METADATA: &[&str] = &[
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/apiregistration.k8s.io/v1/apiservices",
];

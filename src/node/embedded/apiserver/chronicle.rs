//! What a healthy server logs on its way up and down at the default verbosity: the controllers it
//! starts and stops. Texts and places are those of a recorded 1.36 (`fixtures/golden/static-pod`),
//! in one of the orders in which its goroutines come.

use super::flags::Flags;
use super::klog::Klog;

/// API groups and the version served of each, in the order they are installed, with versions that
/// exist and are not served.
const GROUPS: [(&str, &[&str], &[&str]); 21] = [
    ("", &["v1"], &[]),
    ("authentication.k8s.io", &["v1"], &["v1beta1", "v1alpha1"]),
    ("authorization.k8s.io", &["v1"], &["v1beta1"]),
    ("autoscaling", &["v2", "v1"], &["v2beta1", "v2beta2"]),
    ("batch", &["v1"], &["v1beta1"]),
    ("certificates.k8s.io", &["v1"], &["v1beta1", "v1alpha1"]),
    ("coordination.k8s.io", &["v1"], &["v1beta1", "v1alpha2"]),
    ("discovery.k8s.io", &["v1"], &["v1beta1"]),
    ("networking.k8s.io", &["v1"], &["v1beta1"]),
    ("node.k8s.io", &["v1"], &["v1beta1", "v1alpha1"]),
    ("policy", &["v1"], &["v1beta1"]),
    (
        "rbac.authorization.k8s.io",
        &["v1"],
        &["v1beta1", "v1alpha1"],
    ),
    ("scheduling.k8s.io", &["v1"], &["v1beta1", "v1alpha1"]),
    ("storage.k8s.io", &["v1"], &["v1beta1", "v1alpha1"]),
    (
        "flowcontrol.apiserver.k8s.io",
        &["v1"],
        &["v1beta3", "v1beta2", "v1beta1"],
    ),
    ("apps", &["v1"], &["v1beta2", "v1beta1"]),
    (
        "admissionregistration.k8s.io",
        &["v1"],
        &["v1beta1", "v1alpha1"],
    ),
    ("events.k8s.io", &["v1"], &["v1beta1"]),
    (
        "resource.k8s.io",
        &["v1"],
        &["v1beta2", "v1beta1", "v1alpha3"],
    ),
    ("apiregistration.k8s.io", &["v1"], &["v1beta1"]),
    ("internal.apiserver.k8s.io", &[], &["v1alpha1"]),
];

/// Files whose content the server follows, as its controllers name them.
struct Followed {
    serving: String,
    client_ca: String,
    front_proxy_ca: String,
    proxy_client: String,
}

impl Followed {
    fn of(flags: &Flags) -> Self {
        let pair = |kind: &str, cert: &str, key: &str| {
            let (cert, key) = (flags.line.text(cert), flags.line.text(key));
            if cert.is_empty() {
                String::new()
            } else {
                format!("{kind}::{cert}::{key}")
            }
        };
        let bundle = |kind: &str, flag: &str| match flags.line.text(flag) {
            path if path.is_empty() => String::new(),
            path => format!("{kind}::{path}"),
        };
        Self {
            serving: pair("serving-cert", "tls-cert-file", "tls-private-key-file"),
            client_ca: bundle("client-ca-bundle", "client-ca-file"),
            front_proxy_ca: bundle("request-header", "requestheader-client-ca-file"),
            proxy_client: pair(
                "aggregator-proxy-cert",
                "proxy-client-cert-file",
                "proxy-client-key-file",
            ),
        }
    }
}

/// The log of a server in good order.
pub(super) struct Chronicle<'a> {
    klog: &'a Klog,
    files: Followed,
    authorizes_nodes: bool,
    service_range: String,
}

impl<'a> Chronicle<'a> {
    pub fn new(klog: &'a Klog, flags: &Flags) -> Self {
        let range = flags.line.text("service-cluster-ip-range");
        Self {
            klog,
            files: Followed::of(flags),
            authorizes_nodes: flags.authorization_modes().iter().any(|m| m == "Node"),
            service_range: if range.is_empty() {
                "10.0.0.0/24".into()
            } else {
                range
            },
        }
    }

    fn say(&self, place: &str, text: &str) {
        self.klog.info(0, place, text);
    }

    fn say_all(&self, lines: &[(&str, &str)]) {
        for (place, text) in lines {
            self.say(place, text);
        }
    }

    fn controller(&self, place: &str, verb: &str, name: &str) {
        if !name.is_empty() {
            self.say(place, &format!("\"{verb} controller\" name=\"{name}\""));
        }
    }

    /// The API groups are installed.
    pub fn installed(&self) {
        self.group("apiextensions.k8s.io", &["v1"], &["v1beta1"]);
        self.say(
            "cidrallocator.go:198",
            "starting ServiceCIDR Allocator Controller",
        );
        for (group, served, not_served) in GROUPS {
            self.group(group, served, not_served);
        }
    }

    fn group(&self, group: &str, served: &[&str], not_served: &[&str]) {
        for version in served {
            self.say(
                "handler.go:304",
                &format!("Adding GroupVersion {group} {version} to ResourceManager"),
            );
        }
        for version in not_served {
            self.klog.warning(
                "genericapiserver.go:835",
                &format!("Skipping API {group}/{version} because it has no resources."),
            );
        }
    }

    /// The port is open.
    pub fn serving(&self) {
        let files = &self.files;
        let ca = "dynamic_cafile_content.go:161";
        let pair = "dynamic_serving_content.go:135";
        self.controller(ca, "Starting", &files.front_proxy_ca);
        self.controller(pair, "Starting", &files.serving);
        self.say_all(&[
            ("tlsconfig.go:243", "\"Starting DynamicServingCertificateController\""),
            ("gc_controller.go:78", "Starting apiserver lease garbage collector"),
            ("controller.go:119", "Starting legacy_token_tracking_controller"),
            (
                "shared_informer.go:381",
                "\"Waiting for caches to sync\" controller=\"configmaps\"",
            ),
            ("controller.go:80", "Starting OpenAPI V3 AggregationController"),
            (
                "apf_controller.go:377",
                "Starting API Priority and Fairness config controller",
            ),
            (
                "system_namespaces_controller.go:66",
                "Starting system namespaces controller",
            ),
            (
                "cluster_authentication_trust_controller.go:459",
                "Starting cluster_authentication_trust_controller controller",
            ),
            (
                "shared_informer.go:381",
                "\"Waiting for caches to sync\" controller=\"cluster_authentication_trust_controller\"",
            ),
            (
                "customresource_discovery_controller.go:294",
                "Starting DiscoveryController",
            ),
        ]);
        self.controller(pair, "Starting", &files.proxy_client);
        self.say_all(&[
            (
                "local_available_controller.go:156",
                "Starting LocalAvailability controller",
            ),
            (
                "cache.go:32",
                "Waiting for caches to sync for LocalAvailability controller",
            ),
            (
                "remote_available_controller.go:434",
                "Starting RemoteAvailability controller",
            ),
            (
                "cache.go:32",
                "Waiting for caches to sync for RemoteAvailability controller",
            ),
            (
                "apiservice_controller.go:100",
                "Starting APIServiceRegistrationController",
            ),
            (
                "cache.go:32",
                "Waiting for caches to sync for APIServiceRegistrationController controller",
            ),
            ("aggregator.go:185", "waiting for initial CRD sync..."),
            ("controller.go:78", "Starting OpenAPI AggregationController"),
        ]);
        self.controller(ca, "Starting", &files.client_ca);
        self.say_all(&[
            ("repairip.go:200", "Starting ipallocator-repair-controller"),
            (
                "shared_informer.go:381",
                "\"Waiting for caches to sync\" controller=\"ipallocator-repair-controller\"",
            ),
        ]);
        self.controller(ca, "Starting", &files.client_ca);
        self.controller(ca, "Starting", &files.front_proxy_ca);
        self.say_all(&[
            ("controller.go:142", "Starting OpenAPI controller"),
            ("controller.go:90", "Starting OpenAPI V3 controller"),
            (
                "naming_controller.go:305",
                "Starting NamingConditionController",
            ),
            (
                "establishing_controller.go:81",
                "Starting EstablishingController",
            ),
            (
                "nonstructuralschema_controller.go:202",
                "Starting NonStructuralSchemaConditionController",
            ),
            (
                "apiapproval_controller.go:196",
                "Starting KubernetesAPIApprovalPolicyConformantConditionController",
            ),
            ("crd_finalizer.go:269", "Starting CRDFinalizer"),
            (
                "crdregistration_controller.go:114",
                "Starting crd-autoregister controller",
            ),
            (
                "shared_informer.go:381",
                "\"Waiting for caches to sync\" controller=\"crd-autoregister\"",
            ),
        ]);
    }

    /// Everything it waited for is there.
    pub fn ready(&self, address: &str) {
        let synced = "\"Caches are synced\"";
        self.say("shared_informer.go:409", synced);
        self.say("policy_source.go:248", "refreshing policies");
        self.say("shared_informer.go:409", synced);
        self.say_all(&[
            (
                "shared_informer.go:388",
                "\"Caches are synced\" controller=\"configmaps\"",
            ),
            (
                "shared_informer.go:388",
                "\"Caches are synced\" controller=\"cluster_authentication_trust_controller\"",
            ),
            (
                "shared_informer.go:388",
                "\"Caches are synced\" controller=\"ipallocator-repair-controller\"",
            ),
            (
                "shared_informer.go:388",
                "\"Caches are synced\" controller=\"crd-autoregister\"",
            ),
            ("aggregator.go:187", "initial CRD sync complete..."),
            (
                "autoregister_controller.go:144",
                "Starting autoregister controller",
            ),
            (
                "cache.go:32",
                "Waiting for caches to sync for autoregister controller",
            ),
            (
                "cache.go:39",
                "Caches are synced for autoregister controller",
            ),
            (
                "apf_controller.go:382",
                "Running API Priority and Fairness config worker",
            ),
            (
                "apf_controller.go:385",
                "Running API Priority and Fairness periodic rebalancing process",
            ),
            (
                "cache.go:39",
                "Caches are synced for APIServiceRegistrationController controller",
            ),
        ]);
        self.say(
            "cidrallocator.go:302",
            &format!(
                "created ClusterIP allocator for Service CIDR {}",
                self.service_range
            ),
        );
        self.say("shared_informer.go:409", synced);
        if self.authorizes_nodes {
            self.say(
                "shared_informer.go:388",
                "\"Caches are synced\" controller=\"node_authorizer\"",
            );
        }
        self.say_all(&[
            (
                "cache.go:39",
                "Caches are synced for LocalAvailability controller",
            ),
            (
                "cache.go:39",
                "Caches are synced for RemoteAvailability controller",
            ),
            (
                "handler_discovery.go:459",
                "Starting ResourceDiscoveryManager",
            ),
            (
                "controller.go:667",
                "quota admission added evaluator for: leases.coordination.k8s.io",
            ),
            (
                "storage_scheduling.go:153",
                "all system priority classes are created successfully or already exist.",
            ),
        ]);
        self.klog.warning(
            "lease.go:265",
            &format!("Resetting endpoints for master service \"kubernetes\" to [{address}]"),
        );
        self.say_all(&[
            (
                "controller.go:667",
                "quota admission added evaluator for: endpoints",
            ),
            (
                "controller.go:667",
                "quota admission added evaluator for: endpointslices.discovery.k8s.io",
            ),
        ]);
    }

    /// It was asked to end, and lets go of everything.
    pub fn stopped(&self, shown: &str, port: u16) {
        self.say_all(&[
            (
                "crdregistration_controller.go:146",
                "Shutting down crd-autoregister controller",
            ),
            (
                "apiapproval_controller.go:208",
                "Shutting down KubernetesAPIApprovalPolicyConformantConditionController",
            ),
            (
                "nonstructuralschema_controller.go:214",
                "Shutting down NonStructuralSchemaConditionController",
            ),
            ("controller.go:170", "Shutting down OpenAPI controller"),
            ("controller.go:120", "Shutting down OpenAPI V3 controller"),
            (
                "customresource_discovery_controller.go:332",
                "Shutting down DiscoveryController",
            ),
            (
                "system_namespaces_controller.go:76",
                "Shutting down system namespaces controller",
            ),
            (
                "cluster_authentication_trust_controller.go:482",
                "Shutting down cluster_authentication_trust_controller controller",
            ),
            (
                "remote_available_controller.go:472",
                "Shutting down RemoteAvailability controller",
            ),
            (
                "local_available_controller.go:172",
                "Shutting down LocalAvailability controller",
            ),
            (
                "apiservice_controller.go:134",
                "Shutting down APIServiceRegistrationController",
            ),
            (
                "gc_controller.go:98",
                "\"Shutting down apiserver lease garbage collector\"",
            ),
            (
                "storage_flowcontrol.go:165",
                "APF bootstrap ensurer is exiting",
            ),
            (
                "apf_controller.go:389",
                "Shutting down API Priority and Fairness config worker",
            ),
            (
                "controller.go:95",
                "\"Shutting down OpenAPI V3 AggregationController\"",
            ),
            (
                "controller.go:93",
                "\"Shutting down OpenAPI AggregationController\"",
            ),
        ]);
        let files = &self.files;
        let ca = "dynamic_cafile_content.go:175";
        let pair = "dynamic_serving_content.go:149";
        self.controller(pair, "Shutting down", &files.proxy_client);
        for _ in 0..5 {
            self.say("controller.go:176", "quota evaluator worker shutdown");
        }
        self.say(
            "tlsconfig.go:258",
            "\"Shutting down DynamicServingCertificateController\"",
        );
        self.say(
            "repairip.go:246",
            "Shutting down ipallocator-repair-controller",
        );
        self.say(
            "secure_serving.go:262",
            &format!("Stopped listening on {shown}:{port}"),
        );
        self.controller(ca, "Shutting down", &files.front_proxy_ca);
        self.controller(pair, "Shutting down", &files.serving);
        self.controller(ca, "Shutting down", &files.client_ca);
        self.say(
            "cidrallocator.go:211",
            "stopping ServiceCIDR Allocator Controller",
        );
    }
}

//! Every flag of kube-apiserver 1.36: section, name, type, default
//! (`cmd/kube-apiserver/app/options`, `pkg/controlplane/apiserver/options`, `pkg/kubeapiserver/options`,
//! `k8s.io/apiserver/pkg/server/options`).

use super::number::{parse_bool, parse_duration, parse_float, parse_int};
use super::pflag::Value;

/// The type of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Boolean; `true` without a value.
    Bool,
    /// Integer.
    Int,
    /// 64-bit integer.
    Int64,
    /// Unsigned integer.
    Uint,
    /// 32-bit floating point number.
    Float32,
    /// 64-bit floating point number.
    Float64,
    /// Duration.
    Duration,
    /// Text.
    Text,
    /// Log verbosity.
    Level,
    /// IP address.
    Ip,
    /// Range of ports.
    PortRange,
    /// `key=value` pairs, comma separated.
    Pairs,
    /// Comma separated list.
    List,
    /// One element per use.
    Repeated,
    /// `--version[=raw]`.
    Version,
}

impl Kind {
    /// The value a flag of this type has when it is given without one.
    #[must_use]
    pub fn without_value(self) -> Option<&'static str> {
        matches!(self, Kind::Bool | Kind::Version).then_some("true")
    }

    /// The word `--help` shows.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Bool => "",
            Kind::Int | Kind::Int64 => "int",
            Kind::Uint => "uint",
            Kind::Float32 => "float32",
            Kind::Float64 => "float",
            Kind::Duration => "duration",
            Kind::Text => "string",
            Kind::Level => "Level",
            Kind::Ip => "ip",
            Kind::PortRange => "portRange",
            Kind::Pairs => "mapStringString",
            Kind::List => "strings",
            Kind::Repeated => "stringArray",
            Kind::Version => "version[=true]",
        }
    }
}

/// A flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// Section of the help text.
    pub section: &'static str,
    /// Name without dashes.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Default, as text.
    pub default: &'static str,
    /// Shorthand letter.
    pub shorthand: Option<char>,
    /// The notice printed when a deprecated flag is used.
    pub deprecated: Option<&'static str>,
}

impl Flag {
    /// The default.
    #[must_use]
    pub fn default_value(&self) -> Value {
        let text = self.default;
        match self.kind {
            Kind::Bool => Value::Bool(parse_bool(text) == Ok(true)),
            Kind::Int | Kind::Int64 | Kind::Uint | Kind::Level => {
                Value::Int(parse_int(text, 64).unwrap_or(0))
            }
            Kind::Float32 | Kind::Float64 => Value::Float(parse_float(text, 64).unwrap_or(0.0)),
            Kind::Duration => Value::Duration(parse_duration(text).unwrap_or(0)),
            Kind::Text | Kind::Ip | Kind::PortRange | Kind::Version => Value::Text(text.to_owned()),
            Kind::Pairs | Kind::List | Kind::Repeated => Value::List(if text.is_empty() {
                Vec::new()
            } else {
                text.split(',').map(str::to_owned).collect()
            }),
        }
    }
}

/// The flag of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Flag> {
    ALL.iter().find(|flag| flag.name == name)
}

const fn flag(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    default: &'static str,
) -> Flag {
    Flag {
        section,
        name,
        kind,
        default,
        shorthand: None,
        deprecated: None,
    }
}

const fn deprecated(flag: Flag, notice: &'static str) -> Flag {
    Flag {
        deprecated: Some(notice),
        ..flag
    }
}

const fn short(flag: Flag, letter: char) -> Flag {
    Flag {
        shorthand: Some(letter),
        ..flag
    }
}

/// Every flag, section by section.
pub const ALL: &[Flag] = &[
    flag("generic", "advertise-address", Kind::Ip, ""),
    flag("generic", "cors-allowed-origins", Kind::List, ""),
    flag("generic", "emulated-version", Kind::List, ""),
    flag(
        "generic",
        "emulation-forward-compatible",
        Kind::Bool,
        "false",
    ),
    flag("generic", "external-hostname", Kind::Text, ""),
    flag("generic", "feature-gates", Kind::Pairs, ""),
    flag("generic", "goaway-chance", Kind::Float64, "0"),
    flag("generic", "livez-grace-period", Kind::Duration, "0s"),
    flag(
        "generic",
        "max-mutating-requests-inflight",
        Kind::Int,
        "200",
    ),
    flag("generic", "max-requests-inflight", Kind::Int, "400"),
    flag("generic", "min-compatibility-version", Kind::List, ""),
    flag("generic", "min-request-timeout", Kind::Int, "1800"),
    flag("generic", "request-timeout", Kind::Duration, "1m0s"),
    flag(
        "generic",
        "runtime-config-emulation-forward-compatible",
        Kind::Bool,
        "false",
    ),
    flag("generic", "shutdown-delay-duration", Kind::Duration, "0s"),
    flag("generic", "shutdown-send-retry-after", Kind::Bool, "false"),
    flag(
        "generic",
        "shutdown-watch-termination-grace-period",
        Kind::Duration,
        "0s",
    ),
    flag(
        "generic",
        "storage-initialization-timeout",
        Kind::Duration,
        "1m0s",
    ),
    flag(
        "generic",
        "strict-transport-security-directives",
        Kind::List,
        "",
    ),
    deprecated(
        flag("etcd", "default-watch-cache-size", Kind::Int, "100"),
        "watch caches are sized automatically and this flag will be removed in a future version",
    ),
    flag("etcd", "delete-collection-workers", Kind::Int, "1"),
    flag("etcd", "enable-garbage-collector", Kind::Bool, "true"),
    flag("etcd", "encryption-provider-config", Kind::Text, ""),
    flag(
        "etcd",
        "encryption-provider-config-automatic-reload",
        Kind::Bool,
        "false",
    ),
    flag("etcd", "etcd-cafile", Kind::Text, ""),
    flag("etcd", "etcd-certfile", Kind::Text, ""),
    flag("etcd", "etcd-compaction-interval", Kind::Duration, "5m0s"),
    flag(
        "etcd",
        "etcd-count-metric-poll-period",
        Kind::Duration,
        "1m0s",
    ),
    flag(
        "etcd",
        "etcd-db-metric-poll-interval",
        Kind::Duration,
        "30s",
    ),
    flag("etcd", "etcd-healthcheck-timeout", Kind::Duration, "2s"),
    flag("etcd", "etcd-keyfile", Kind::Text, ""),
    flag("etcd", "etcd-prefix", Kind::Text, "/registry"),
    flag("etcd", "etcd-readycheck-timeout", Kind::Duration, "2s"),
    flag("etcd", "etcd-servers", Kind::List, ""),
    flag("etcd", "etcd-servers-overrides", Kind::List, ""),
    flag("etcd", "lease-reuse-duration-seconds", Kind::Int64, "60"),
    flag("etcd", "storage-backend", Kind::Text, ""),
    flag(
        "etcd",
        "storage-media-type",
        Kind::Text,
        "application/vnd.kubernetes.protobuf",
    ),
    flag("etcd", "watch-cache", Kind::Bool, "true"),
    flag("etcd", "watch-cache-sizes", Kind::List, ""),
    flag("secure serving", "bind-address", Kind::Ip, "0.0.0.0"),
    flag(
        "secure serving",
        "cert-dir",
        Kind::Text,
        "/var/run/kubernetes",
    ),
    flag(
        "secure serving",
        "disable-http2-serving",
        Kind::Bool,
        "false",
    ),
    flag(
        "secure serving",
        "http2-max-streams-per-connection",
        Kind::Int,
        "0",
    ),
    flag(
        "secure serving",
        "permit-address-sharing",
        Kind::Bool,
        "false",
    ),
    flag("secure serving", "permit-port-sharing", Kind::Bool, "false"),
    flag("secure serving", "secure-port", Kind::Int, "6443"),
    flag("secure serving", "tls-cert-file", Kind::Text, ""),
    flag("secure serving", "tls-cipher-suites", Kind::List, ""),
    flag("secure serving", "tls-curve-preferences", Kind::List, ""),
    flag("secure serving", "tls-min-version", Kind::Text, ""),
    flag("secure serving", "tls-private-key-file", Kind::Text, ""),
    flag("secure serving", "tls-sni-cert-key", Kind::Repeated, ""),
    flag(
        "auditing",
        "audit-log-batch-buffer-size",
        Kind::Int,
        "10000",
    ),
    flag("auditing", "audit-log-batch-max-size", Kind::Int, "1"),
    flag("auditing", "audit-log-batch-max-wait", Kind::Duration, "0s"),
    flag("auditing", "audit-log-batch-throttle-burst", Kind::Int, "0"),
    flag(
        "auditing",
        "audit-log-batch-throttle-enable",
        Kind::Bool,
        "false",
    ),
    flag(
        "auditing",
        "audit-log-batch-throttle-qps",
        Kind::Float32,
        "0",
    ),
    flag("auditing", "audit-log-compress", Kind::Bool, "false"),
    flag("auditing", "audit-log-format", Kind::Text, "json"),
    flag("auditing", "audit-log-maxage", Kind::Int, "366"),
    flag("auditing", "audit-log-maxbackup", Kind::Int, "100"),
    flag("auditing", "audit-log-maxsize", Kind::Int, "100"),
    flag("auditing", "audit-log-mode", Kind::Text, "blocking"),
    flag("auditing", "audit-log-path", Kind::Text, ""),
    flag(
        "auditing",
        "audit-log-truncate-enabled",
        Kind::Bool,
        "false",
    ),
    flag(
        "auditing",
        "audit-log-truncate-max-batch-size",
        Kind::Int64,
        "10485760",
    ),
    flag(
        "auditing",
        "audit-log-truncate-max-event-size",
        Kind::Int64,
        "102400",
    ),
    flag(
        "auditing",
        "audit-log-version",
        Kind::Text,
        "audit.k8s.io/v1",
    ),
    flag("auditing", "audit-policy-file", Kind::Text, ""),
    flag(
        "auditing",
        "audit-webhook-batch-buffer-size",
        Kind::Int,
        "10000",
    ),
    deprecated(
        flag(
            "auditing",
            "audit-webhook-batch-initial-backoff",
            Kind::Duration,
            "10s",
        ),
        "Deprecated, use --audit-webhook-initial-backoff instead.",
    ),
    flag("auditing", "audit-webhook-batch-max-size", Kind::Int, "400"),
    flag(
        "auditing",
        "audit-webhook-batch-max-wait",
        Kind::Duration,
        "30s",
    ),
    flag(
        "auditing",
        "audit-webhook-batch-throttle-burst",
        Kind::Int,
        "15",
    ),
    flag(
        "auditing",
        "audit-webhook-batch-throttle-enable",
        Kind::Bool,
        "true",
    ),
    flag(
        "auditing",
        "audit-webhook-batch-throttle-qps",
        Kind::Float32,
        "10",
    ),
    flag("auditing", "audit-webhook-config-file", Kind::Text, ""),
    flag(
        "auditing",
        "audit-webhook-initial-backoff",
        Kind::Duration,
        "10s",
    ),
    flag("auditing", "audit-webhook-mode", Kind::Text, "batch"),
    flag(
        "auditing",
        "audit-webhook-truncate-enabled",
        Kind::Bool,
        "false",
    ),
    flag(
        "auditing",
        "audit-webhook-truncate-max-batch-size",
        Kind::Int64,
        "10485760",
    ),
    flag(
        "auditing",
        "audit-webhook-truncate-max-event-size",
        Kind::Int64,
        "102400",
    ),
    flag(
        "auditing",
        "audit-webhook-version",
        Kind::Text,
        "audit.k8s.io/v1",
    ),
    flag("features", "contention-profiling", Kind::Bool, "false"),
    flag("features", "debug-socket-path", Kind::Text, ""),
    flag(
        "features",
        "enable-priority-and-fairness",
        Kind::Bool,
        "true",
    ),
    flag("features", "profiling", Kind::Bool, "true"),
    flag("authentication", "anonymous-auth", Kind::Bool, "true"),
    flag("authentication", "api-audiences", Kind::List, ""),
    flag("authentication", "authentication-config", Kind::Text, ""),
    flag(
        "authentication",
        "authentication-token-webhook-cache-ttl",
        Kind::Duration,
        "2m0s",
    ),
    flag(
        "authentication",
        "authentication-token-webhook-config-file",
        Kind::Text,
        "",
    ),
    flag(
        "authentication",
        "authentication-token-webhook-version",
        Kind::Text,
        "v1beta1",
    ),
    flag("authentication", "client-ca-file", Kind::Text, ""),
    flag(
        "authentication",
        "enable-bootstrap-token-auth",
        Kind::Bool,
        "false",
    ),
    flag("authentication", "oidc-ca-file", Kind::Text, ""),
    flag("authentication", "oidc-client-id", Kind::Text, ""),
    flag("authentication", "oidc-groups-claim", Kind::Text, ""),
    flag("authentication", "oidc-groups-prefix", Kind::Text, ""),
    flag("authentication", "oidc-issuer-url", Kind::Text, ""),
    flag("authentication", "oidc-required-claim", Kind::Pairs, ""),
    flag("authentication", "oidc-signing-algs", Kind::List, "RS256"),
    flag("authentication", "oidc-username-claim", Kind::Text, "sub"),
    flag("authentication", "oidc-username-prefix", Kind::Text, ""),
    flag(
        "authentication",
        "requestheader-allowed-names",
        Kind::List,
        "",
    ),
    flag(
        "authentication",
        "requestheader-client-ca-file",
        Kind::Text,
        "",
    ),
    flag(
        "authentication",
        "requestheader-extra-headers-prefix",
        Kind::List,
        "",
    ),
    flag(
        "authentication",
        "requestheader-group-headers",
        Kind::List,
        "",
    ),
    flag(
        "authentication",
        "requestheader-uid-headers",
        Kind::List,
        "",
    ),
    flag(
        "authentication",
        "requestheader-username-headers",
        Kind::List,
        "",
    ),
    flag(
        "authentication",
        "service-account-extend-token-expiration",
        Kind::Bool,
        "true",
    ),
    flag(
        "authentication",
        "service-account-issuer",
        Kind::Repeated,
        "",
    ),
    flag("authentication", "service-account-jwks-uri", Kind::Text, ""),
    flag(
        "authentication",
        "service-account-key-file",
        Kind::Repeated,
        "",
    ),
    flag(
        "authentication",
        "service-account-lookup",
        Kind::Bool,
        "true",
    ),
    flag(
        "authentication",
        "service-account-max-token-expiration",
        Kind::Duration,
        "0s",
    ),
    flag(
        "authentication",
        "service-account-signing-endpoint",
        Kind::Text,
        "",
    ),
    flag("authentication", "token-auth-file", Kind::Text, ""),
    flag("authorization", "authorization-config", Kind::Text, ""),
    flag("authorization", "authorization-mode", Kind::List, ""),
    flag("authorization", "authorization-policy-file", Kind::Text, ""),
    flag(
        "authorization",
        "authorization-webhook-cache-authorized-ttl",
        Kind::Duration,
        "5m0s",
    ),
    flag(
        "authorization",
        "authorization-webhook-cache-unauthorized-ttl",
        Kind::Duration,
        "30s",
    ),
    flag(
        "authorization",
        "authorization-webhook-config-file",
        Kind::Text,
        "",
    ),
    flag(
        "authorization",
        "authorization-webhook-version",
        Kind::Text,
        "v1beta1",
    ),
    flag("API enablement", "runtime-config", Kind::Pairs, ""),
    flag(
        "egress selector",
        "egress-selector-config-file",
        Kind::Text,
        "",
    ),
    deprecated(
        flag("admission", "admission-control", Kind::List, ""),
        "Use --enable-admission-plugins or --disable-admission-plugins instead. Will be removed in a future version.",
    ),
    flag("admission", "admission-control-config-file", Kind::Text, ""),
    flag("admission", "disable-admission-plugins", Kind::List, ""),
    flag("admission", "enable-admission-plugins", Kind::List, ""),
    flag("metrics", "allow-metric-labels", Kind::Pairs, ""),
    flag("metrics", "allow-metric-labels-manifest", Kind::Text, ""),
    flag("metrics", "disabled-metrics", Kind::List, ""),
    flag("metrics", "show-hidden-metrics-for-version", Kind::Text, ""),
    flag("logs", "log-flush-frequency", Kind::Duration, "5s"),
    flag("logs", "log-json-info-buffer-size", Kind::Text, "0"),
    flag("logs", "log-json-split-stream", Kind::Bool, "false"),
    flag("logs", "log-text-info-buffer-size", Kind::Text, "0"),
    flag("logs", "log-text-split-stream", Kind::Bool, "false"),
    flag("logs", "logging-format", Kind::Text, "text"),
    short(flag("logs", "v", Kind::Level, "0"), 'v'),
    flag("logs", "vmodule", Kind::Pairs, ""),
    flag("traces", "tracing-config-file", Kind::Text, ""),
    flag(
        "misc",
        "aggregator-reject-forwarding-redirect",
        Kind::Bool,
        "true",
    ),
    flag("misc", "allow-privileged", Kind::Bool, "false"),
    flag(
        "misc",
        "coordinated-leadership-lease-duration",
        Kind::Duration,
        "15s",
    ),
    flag(
        "misc",
        "coordinated-leadership-renew-deadline",
        Kind::Duration,
        "10s",
    ),
    flag(
        "misc",
        "coordinated-leadership-retry-period",
        Kind::Duration,
        "2s",
    ),
    flag("misc", "enable-aggregator-routing", Kind::Bool, "false"),
    deprecated(
        flag("misc", "enable-logs-handler", Kind::Bool, "true"),
        "This flag will be removed in v1.19",
    ),
    flag("misc", "endpoint-reconciler-type", Kind::Text, "lease"),
    flag("misc", "event-ttl", Kind::Duration, "1h0m0s"),
    flag("misc", "kubelet-certificate-authority", Kind::Text, ""),
    flag("misc", "kubelet-client-certificate", Kind::Text, ""),
    flag("misc", "kubelet-client-key", Kind::Text, ""),
    deprecated(
        flag("misc", "kubelet-port", Kind::Uint, "10250"),
        "kubelet-port is deprecated and will be removed.",
    ),
    flag(
        "misc",
        "kubelet-preferred-address-types",
        Kind::List,
        "Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP",
    ),
    deprecated(
        flag("misc", "kubelet-read-only-port", Kind::Uint, "10255"),
        "kubelet-read-only-port is deprecated and will be removed.",
    ),
    flag("misc", "kubelet-timeout", Kind::Duration, "5s"),
    flag("misc", "kubernetes-service-node-port", Kind::Int, "0"),
    flag("misc", "max-connection-bytes-per-sec", Kind::Int64, "0"),
    flag("misc", "peer-advertise-ip", Kind::Text, ""),
    flag("misc", "peer-advertise-port", Kind::Text, ""),
    flag("misc", "peer-ca-file", Kind::Text, ""),
    flag("misc", "proxy-client-cert-file", Kind::Text, ""),
    flag("misc", "proxy-client-key-file", Kind::Text, ""),
    flag("misc", "service-account-signing-key-file", Kind::Text, ""),
    flag("misc", "service-cluster-ip-range", Kind::Text, ""),
    flag(
        "misc",
        "service-node-port-range",
        Kind::PortRange,
        "30000-32767",
    ),
    flag(
        "global",
        "default-not-ready-toleration-seconds",
        Kind::Int64,
        "300",
    ),
    flag(
        "global",
        "default-unreachable-toleration-seconds",
        Kind::Int64,
        "300",
    ),
    short(flag("global", "help", Kind::Bool, "false"), 'h'),
    flag("global", "version", Kind::Version, "false"),
];

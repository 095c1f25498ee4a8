//! The subcommands and flags of kubectl whose dealings with files are known.

/// Subcommands that reach no file but by the flags below.
pub(super) const SUBCOMMANDS: &str = "\
    annotate api-resources api-versions apply attach auth autoscale certificate cluster-info \
    completion config cordon create delete describe drain events exec explain expose get \
    help label logs options patch port-forward replace rollout run scale set taint top \
    uncordon version wait";

/// What is below a subcommand that would open an editor or write files.
pub(super) const REFUSED_BELOW: &[(&str, &str)] =
    &[("apply", "edit-last-applied"), ("cluster-info", "dump")];

/// What `kubectl create` makes: any other word would be looked up as a plugin.
pub(super) const CREATED: &str = "\
    clusterrole clusterrolebinding cm configmap cj cronjob deploy deployment ing ingress job \
    namespace ns pc pdb poddisruptionbudget priorityclass quota resourcequota role \
    rolebinding sa secret service serviceaccount svc token";

/// Flags without a value of their own, or with one only after `=`.
const BOOLEAN: &str = "\
    all all-containers all-namespaces all-pods allow-missing-template-keys append-hash \
    attach cached cascade client command current delete-emptydir-data disable-compression \
    disable-eviction dry-run embed-certs expose flatten follow force force-conflicts help \
    ignore-daemonsets ignore-errors ignore-not-found insecure-skip-tls-verify \
    insecure-skip-tls-verify-backend interactive leave-stdin-open list local \
    match-server-version merge minify namespaced no-headers now openapi-patch \
    output-watch-events overwrite previous prune quiet record recursive resolve rm \
    save-config server-print server-side show-events show-kind show-labels \
    show-managed-fields stdin sum timestamps tty use-protocol-buffers validate wait \
    warnings-as-errors watch watch-only";

/// Flags with a value that names no file.
const VALUE: &str = "\
    address aggregation-rule annotation annotations api-group api-version as as-group as-uid \
    audience bound-object-kind bound-object-name bound-object-uid categories chunk-size \
    class cluster cluster-ip clusterrole clusterip container context cpu-percent \
    current-replicas default-backend description docker-email docker-password docker-server \
    docker-username duration env external-ip external-name field-manager field-selector for \
    from from-literal global-default grace-period group hard image image-pull-policy \
    label-columns labels limit-bytes limits load-balancer-ip max max-log-requests \
    max-unavailable min min-available name namespace node-port non-resource-url \
    override-type overrides password patch pod-running-timeout pod-selector port \
    preemption-policy protocol prune-allowlist reason replicas request-timeout requests \
    resource resource-name resource-version restart revision role rule schedule scopes \
    selector server serviceaccount session-affinity since since-time \
    skip-wait-for-delete-timeout sort-by subresource tail target-port tcp template timeout \
    tls-server-name to-revision token type types user username v value verb verbs";

pub(super) fn one_of(words: &str, word: &str) -> bool {
    words.split(' ').any(|known| known == word)
}

/// How the value of a flag is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Value,
    /// A path.
    Path,
    /// A path, or `name=path`.
    NamedPath,
    /// A path, `-` or a URL; a directory, too.
    Source,
    /// A format, or `format=template`, or `format-file=path`.
    Output,
    /// A kubeconfig.
    Kubeconfig,
}

pub(super) fn kind(subcommand: &str, flag: &str) -> Option<Kind> {
    Some(match (subcommand, flag) {
        (_, "filename") => Kind::Source,
        (_, "from-file") => Kind::NamedPath,
        (
            _,
            "from-env-file"
            | "patch-file"
            | "certificate-authority"
            | "client-certificate"
            | "client-key"
            | "cert"
            | "key",
        ) => Kind::Path,
        (_, "kubeconfig") => Kind::Kubeconfig,
        (_, "output") => Kind::Output,
        ("config", "raw") | ("top", "containers") | ("logs", "prefix") => Kind::Boolean,
        ("get" | "create" | "delete" | "replace", "raw") => Kind::Value,
        ("set", "containers" | "prefix" | "keys") => Kind::Value,
        (_, flag) if one_of(BOOLEAN, flag) => Kind::Boolean,
        (_, flag) if one_of(VALUE, flag) => Kind::Value,
        _ => return None,
    })
}

/// The long name of a shorthand.
pub(super) fn long_name(subcommand: &str, letter: char) -> Option<&'static str> {
    Some(match (subcommand, letter) {
        ("logs", 'f') => "follow",
        ("logs", 'p') => "previous",
        ("patch", 'p') => "patch",
        ("run" | "expose", 'l') => "labels",
        ("set", 'e') => "env",
        (_, 'f') => "filename",
        (_, 'l') => "selector",
        (_, 'A') => "all-namespaces",
        (_, 'L') => "label-columns",
        (_, 'R') => "recursive",
        (_, 'c') => "container",
        (_, 'h') => "help",
        ("delete", 'i') => "interactive",
        (_, 'i') => "stdin",
        (_, 'n') => "namespace",
        (_, 'o') => "output",
        (_, 'q') => "quiet",
        (_, 's') => "server",
        (_, 't') => "tty",
        (_, 'v') => "v",
        (_, 'w') => "watch",
        _ => return None,
    })
}

//! The commands and options of crictl 1.36 (cri-tools `cmd/crictl`).

use super::flags::{Command, Flag, Kind};

const fn flag(names: &'static [&'static str], kind: Kind, usage: &'static str) -> Flag {
    Flag {
        names,
        kind,
        default: "",
        usage,
    }
}

const fn with(
    names: &'static [&'static str],
    kind: Kind,
    default: &'static str,
    usage: &'static str,
) -> Flag {
    Flag {
        names,
        kind,
        default,
        usage,
    }
}

/// Options before the command.
pub(super) const GLOBAL: &[Flag] = &[
    with(
        &["config", "c"],
        Kind::Text,
        "\"/etc/crictl.yaml\"",
        "Location of the client config file. If not specified and the default does not exist, the program's directory is searched as well",
    ),
    flag(&["debug", "D"], Kind::Bool, "Enable debug mode"),
    flag(
        &["enable-tracing"],
        Kind::Bool,
        "Enable OpenTelemetry tracing.",
    ),
    flag(
        &["image-endpoint", "i"],
        Kind::Text,
        "Endpoint of CRI image manager service (default: uses 'runtime-endpoint' setting)",
    ),
    flag(
        &["profile-cpu"],
        Kind::Text,
        "Write a pprof CPU profile to the provided path.",
    ),
    flag(
        &["profile-mem"],
        Kind::Text,
        "Write a pprof memory profile to the provided path.",
    ),
    flag(
        &["runtime-endpoint", "r"],
        Kind::Text,
        "Endpoint of CRI container runtime service (default: uses in order the first successful one of [unix:///run/containerd/containerd.sock unix:///run/crio/crio.sock unix:///var/run/cri-dockerd.sock]). Default is now deprecated and the endpoint should be set instead.",
    ),
    with(
        &["timeout", "t"],
        Kind::Duration,
        "2s",
        "Timeout of connecting to the server in seconds (e.g. 2s, 20s.). 0 or less is set to default",
    ),
    with(
        &["tracing-endpoint"],
        Kind::Text,
        "\"127.0.0.1:4317\"",
        "Address to which the gRPC tracing collector will send spans to.",
    ),
    with(
        &["tracing-sampling-rate-per-million"],
        Kind::Number,
        "-1",
        "Number of samples to collect per million OpenTelemetry spans. Set to 1000000 or -1 to always sample.",
    ),
    flag(&["version", "v"], Kind::Bool, "print the version"),
];

const STATUS_OUTPUT: &str = "Output format, One of: json|yaml|go-template|table";
const LIST_OUTPUT: &str = "Output format, One of: json|yaml|table";
const TEMPLATE: Flag = flag(
    &["template"],
    Kind::Text,
    "The template string is only used when output is go-template; The Template format is golang template",
);
const QUIET: Flag = flag(
    &["quiet", "q"],
    Kind::Bool,
    "Do not show verbose information",
);
const LABEL: Flag = flag(&["label"], Kind::List, "Filter by key=value label");
const NO_TRUNC: Flag = flag(
    &["no-trunc"],
    Kind::Bool,
    "Show output without truncating the ID",
);
const NAMESPACE: Flag = flag(
    &["namespace"],
    Kind::Text,
    "Filter by pod namespace regular expression pattern",
);
const CONTAINER_NAME: Flag = flag(
    &["name"],
    Kind::Text,
    "Filter by container name regular expression pattern",
);
const POD_NAME: Flag = flag(
    &["name"],
    Kind::Text,
    "Filter by pod name regular expression pattern",
);
const POD: Flag = flag(&["pod", "p"], Kind::Text, "Filter by pod id");
const IMAGE: Flag = flag(&["image"], Kind::Text, "Filter by container image");
const CONTAINER_STATE: Flag = flag(&["state", "s"], Kind::Text, "Filter by container state");
const POD_STATE: Flag = flag(&["state", "s"], Kind::Text, "Filter by pod state");
const LATEST: Flag = flag(
    &["latest", "l"],
    Kind::Bool,
    "Show the most recently created container (includes all states)",
);
const LAST: Flag = flag(
    &["last", "n"],
    Kind::Number,
    "Show last n recently created containers (includes all states). Set 0 for unlimited.",
);
const LATEST_POD: Flag = flag(
    &["latest", "l"],
    Kind::Bool,
    "Show the most recently created pod",
);
const LAST_POD: Flag = flag(
    &["last", "n"],
    Kind::Number,
    "Show last n recently created pods. Set 0 for unlimited",
);
const FILTER: Flag = flag(
    &["filter", "f"],
    Kind::List,
    "Filter output based on provided conditions.\nAvailable filters: \n* dangling=(boolean - true or false)\n* reference=/regular expression/\n* before=<image-name>[:<tag>]|<image id>|<image@digest>\n* since=<image-name>[:<tag>]|<image id>|<image@digest>\nMultiple filters can be combined together.",
);

const PS: &[Flag] = &[
    flag(&["all", "a"], Kind::Bool, "Show all containers"),
    flag(&["id"], Kind::Text, "Filter by container id"),
    IMAGE,
    LABEL,
    LAST,
    LATEST,
    CONTAINER_NAME,
    NAMESPACE,
    NO_TRUNC,
    with(&["output", "o"], Kind::Text, "\"table\"", LIST_OUTPUT),
    POD,
    flag(&["quiet", "q"], Kind::Bool, "Only display container IDs"),
    flag(
        &["resolve-image-path", "r"],
        Kind::Bool,
        "Show image path instead of image id",
    ),
    CONTAINER_STATE,
    flag(
        &["verbose", "v"],
        Kind::Bool,
        "Show verbose information for containers",
    ),
];

const PODS: &[Flag] = &[
    flag(&["id"], Kind::Text, "filter by pod id"),
    LABEL,
    LAST_POD,
    LATEST_POD,
    POD_NAME,
    NAMESPACE,
    NO_TRUNC,
    with(&["output", "o"], Kind::Text, "\"table\"", LIST_OUTPUT),
    flag(&["quiet", "q"], Kind::Bool, "List only pod IDs"),
    POD_STATE,
    flag(&["verbose", "v"], Kind::Bool, "Show verbose info for pods"),
];

const INSPECT: &[Flag] = &[
    flag(&["all", "a"], Kind::Bool, "Show all containers"),
    IMAGE,
    LABEL,
    LAST,
    LATEST,
    CONTAINER_NAME,
    NAMESPACE,
    flag(&["output", "o"], Kind::Text, STATUS_OUTPUT),
    POD,
    QUIET,
    CONTAINER_STATE,
    TEMPLATE,
];

const INSPECTP: &[Flag] = &[
    LABEL,
    LAST_POD,
    LATEST_POD,
    POD_NAME,
    NAMESPACE,
    flag(&["output", "o"], Kind::Text, STATUS_OUTPUT),
    QUIET,
    POD_STATE,
    TEMPLATE,
];

const IMAGES: &[Flag] = &[
    flag(&["digests"], Kind::Bool, "Show digests"),
    FILTER,
    NO_TRUNC,
    flag(&["output", "o"], Kind::Text, LIST_OUTPUT),
    flag(
        &["pinned"],
        Kind::Bool,
        "Show whether the image is pinned or not",
    ),
    flag(&["quiet", "q"], Kind::Bool, "Only show image IDs"),
    flag(
        &["verbose", "v"],
        Kind::Bool,
        "Show verbose info for images",
    ),
];

const INSPECTI: &[Flag] = &[
    FILTER,
    flag(&["name"], Kind::Text, "Filter by image name"),
    flag(&["output", "o"], Kind::Text, STATUS_OUTPUT),
    QUIET,
    TEMPLATE,
];

const LOGS: &[Flag] = &[
    flag(&["follow", "f"], Kind::Bool, "Follow log output"),
    with(
        &["limit-bytes"],
        Kind::Number,
        "-1",
        "Maximum bytes of logs to return. Defaults to no limit",
    ),
    flag(
        &["previous", "p"],
        Kind::Bool,
        "Print the logs for the previous instance of the container in a pod if it exists",
    ),
    flag(
        &["reopen", "r"],
        Kind::Bool,
        "Reopen the container logs for the provided container",
    ),
    flag(
        &["since"],
        Kind::Text,
        "Show logs since timestamp (e.g. 2013-01-02T13:23:37) or relative (e.g. 42m for 42 minutes)",
    ),
    flag(
        &["stream", "s"],
        Kind::Text,
        "Show specified stream (stdout or stderr). Defaults to both.",
    ),
    with(
        &["tail"],
        Kind::Number,
        "-1",
        "Number of lines to show from the end of the logs. Defaults to all",
    ),
    flag(&["timestamps", "t"], Kind::Bool, "Show timestamps"),
];

const INFO: &[Flag] = &[
    with(
        &["output", "o"],
        Kind::Text,
        "\"json\"",
        "Output format, One of: json|yaml|go-template",
    ),
    QUIET,
    TEMPLATE,
];

const STOP: &[Flag] = &[
    flag(&["all", "a"], Kind::Bool, "Stop all running containers"),
    flag(
        &["timeout", "t"],
        Kind::Number,
        "Seconds to wait to kill the container after a graceful stop is requested",
    ),
];

const RM: &[Flag] = &[
    flag(&["all", "a"], Kind::Bool, "Remove all containers"),
    flag(
        &["force", "f"],
        Kind::Bool,
        "Force removal of the container, disregarding if running",
    ),
    flag(
        &["keep-logs", "k"],
        Kind::Bool,
        "Preserve the container log file and its rotations",
    ),
];

const RMP: &[Flag] = &[
    flag(&["all", "a"], Kind::Bool, "Remove all pods"),
    flag(
        &["force", "f"],
        Kind::Bool,
        "Force removal of the pod sandbox, disregarding if running",
    ),
];

const STATS: &[Flag] = &[
    flag(
        &["all", "a"],
        Kind::Bool,
        "Show all containers (default shows just running)",
    ),
    flag(&["id"], Kind::Text, "Filter by container id"),
    LABEL,
    flag(&["output", "o"], Kind::Text, LIST_OUTPUT),
    POD,
    with(
        &["seconds", "s"],
        Kind::Number,
        "1",
        "Sample duration for CPU usage in seconds",
    ),
    flag(&["watch", "w"], Kind::Bool, "Watch pod resources"),
];

const STATSP: &[Flag] = &[
    flag(&["id"], Kind::Text, "Filter by pod id"),
    LABEL,
    flag(&["output", "o"], Kind::Text, LIST_OUTPUT),
    with(
        &["seconds", "s"],
        Kind::Number,
        "1",
        "Sample duration for CPU usage in seconds",
    ),
    flag(&["watch", "w"], Kind::Bool, "Watch pod resources"),
];

const PULL: &[Flag] = &[
    flag(
        &["annotation", "a"],
        Kind::List,
        "Annotation to be set on the pulled image",
    ),
    flag(
        &["auth"],
        Kind::Text,
        "Use `AUTH_STRING` for accessing the registry. AUTH_STRING is a base64 encoded 'USERNAME[:PASSWORD]'",
    ),
    flag(
        &["creds"],
        Kind::Text,
        "Use `USERNAME[:PASSWORD]` for accessing the registry",
    ),
    flag(
        &["pod-config"],
        Kind::Text,
        "Use `pod-config.[json|yaml]` to override the pull c",
    ),
    flag(
        &["pull-timeout", "pt"],
        Kind::Duration,
        "Maximum time to be used for pulling the image, disabled if set to 0s",
    ),
    flag(
        &["username", "u"],
        Kind::Text,
        "Use `USERNAME` for accessing the registry. The password will be requested on the command line",
    ),
];

const EXEC: &[Flag] = &[
    flag(
        &["ignore-errors", "e"],
        Kind::Bool,
        "Ignore errors during command execution",
    ),
    flag(
        &["image"],
        Kind::Text,
        "Exec command for all containers matching this container image filter",
    ),
    flag(&["interactive", "i"], Kind::Bool, "Keep STDIN open"),
    flag(
        &["label"],
        Kind::List,
        "Exec command for all containers matching this key=value label filter",
    ),
    flag(
        &["last", "n"],
        Kind::Number,
        "Exec command for all last n containers, set to 0 for unlimited",
    ),
    flag(
        &["latest", "l"],
        Kind::Bool,
        "Exec command for the most recently created container",
    ),
    flag(
        &["name"],
        Kind::Text,
        "Exec command for all containers matching this name filter regular expression pattern",
    ),
    flag(
        &["parallel", "x"],
        Kind::Bool,
        "Run the command in parallel if multiple containers are selected",
    ),
    flag(
        &["pod", "p"],
        Kind::Text,
        "Exec command for all containers matching this pod ID filter",
    ),
    flag(
        &["quiet", "q"],
        Kind::Bool,
        "Do not print the container ID if multiple containers are selected",
    ),
    flag(
        &["state"],
        Kind::Text,
        "Exec command for all containers matching this container state filter",
    ),
    flag(&["sync", "s"], Kind::Bool, "Run the command synchronously"),
    flag(&["timeout"], Kind::Number, "Timeout in seconds"),
    with(
        &["transport", "r"],
        Kind::Text,
        "\"spdy\"",
        "Transport protocol to use, one of: spdy|websocket",
    ),
    flag(&["tty", "t"], Kind::Bool, "Allocate a pseudo-TTY"),
];

const CONFIG: &[Flag] = &[
    flag(&["get"], Kind::Text, "Show the option value"),
    flag(&["list"], Kind::Bool, "Show all option value"),
    flag(
        &["set"],
        Kind::List,
        "Set option (can specify multiple or separate values with commas: opt1=val1,opt2=val2)",
    ),
];

const RMI: &[Flag] = &[
    flag(&["all", "a"], Kind::Bool, "Remove all images"),
    flag(&["prune", "q"], Kind::Bool, "Remove all unused images"),
];

const fn command(
    names: &'static [&'static str],
    usage: &'static str,
    arguments: &'static str,
    short: bool,
    flags: &'static [Flag],
) -> Command {
    Command {
        names,
        usage,
        arguments,
        short,
        flags,
    }
}

/// Every command, sorted by name.
pub(super) const COMMANDS: &[Command] = &[
    command(
        &["attach"],
        "Attach to a running container",
        "CONTAINER-ID",
        true,
        &[],
    ),
    command(
        &["checkpoint"],
        "Checkpoint one or more running containers",
        "CONTAINER-ID [CONTAINER-ID...]",
        true,
        &[],
    ),
    command(
        &["completion"],
        "Output shell completion code",
        "SHELL",
        false,
        &[],
    ),
    command(
        &["config"],
        "Get, set and list crictl configuration options",
        "[<crictl options>]",
        true,
        CONFIG,
    ),
    command(
        &["create"],
        "Create a new container",
        "POD container-config.[json|yaml] pod-config.[json|yaml]",
        false,
        &[],
    ),
    command(
        &["events", "event"],
        "Stream the events of containers",
        "",
        true,
        &[],
    ),
    command(
        &["exec"],
        "Run a command in a running container",
        "[CONTAINER-ID] COMMAND [ARG...]",
        true,
        EXEC,
    ),
    command(
        &["imagefsinfo"],
        "Return image filesystem info",
        "",
        true,
        INFO,
    ),
    command(
        &["images", "image", "img"],
        "List images",
        "[REPOSITORY[:TAG]]",
        true,
        IMAGES,
    ),
    command(
        &["info"],
        "Display information of the container runtime",
        "",
        true,
        INFO,
    ),
    command(
        &["inspect"],
        "Display the status of one or more containers",
        "CONTAINER-ID [CONTAINER-ID...]",
        false,
        INSPECT,
    ),
    command(
        &["inspecti"],
        "Return the status of one or more images",
        "IMAGE-ID [IMAGE-ID...]",
        true,
        INSPECTI,
    ),
    command(
        &["inspectp"],
        "Display the status of one or more pods",
        "POD-ID [POD-ID...]",
        true,
        INSPECTP,
    ),
    command(
        &["logs"],
        "Fetch the logs of a container",
        "CONTAINER-ID",
        true,
        LOGS,
    ),
    command(
        &["metricdescs"],
        "List metric descriptors. Returns information about the metrics available through the CRI.",
        "",
        true,
        &[],
    ),
    command(
        &["metricsp"],
        "List pod metrics. Metrics are unstructured key/value pairs gathered by CRI meant to replace cAdvisor's /metrics/cadvisor endpoint.",
        "",
        true,
        &[],
    ),
    command(&["pods"], "List pods", "", true, PODS),
    command(
        &["port-forward"],
        "Forward local port to a pod",
        "POD-ID [LOCAL_PORT:]REMOTE_PORT",
        false,
        &[],
    ),
    command(&["ps"], "List containers", "", true, PS),
    command(
        &["pull"],
        "Pull an image from a registry",
        "NAME[:TAG|@DIGEST]",
        true,
        PULL,
    ),
    command(
        &["rm"],
        "Remove one or more containers",
        "CONTAINER-ID [CONTAINER-ID...]",
        true,
        RM,
    ),
    command(
        &["rmi"],
        "Remove one or more images",
        "IMAGE-ID [IMAGE-ID...]",
        true,
        RMI,
    ),
    command(
        &["rmp"],
        "Remove one or more pods",
        "POD-ID [POD-ID...]",
        true,
        RMP,
    ),
    command(
        &["run"],
        "Run a new container inside a sandbox",
        "container-config.[json|yaml] pod-config.[json|yaml]",
        false,
        &[],
    ),
    command(
        &["runp"],
        "Run a new pod",
        "pod-config.[json|yaml]",
        false,
        &[],
    ),
    command(
        &["runtime-config"],
        "Retrieve the container runtime configuration",
        "",
        false,
        &[],
    ),
    command(
        &["start"],
        "Start one or more created containers",
        "CONTAINER-ID [CONTAINER-ID...]",
        false,
        &[],
    ),
    command(
        &["stats"],
        "List container(s) resource usage statistics",
        "[ID]",
        true,
        STATS,
    ),
    command(
        &["statsp"],
        "List pod statistics. Stats represent a structured API that will fulfill the Kubelet's /stats/summary endpoint.",
        "",
        true,
        STATSP,
    ),
    command(
        &["stop"],
        "Stop one or more running containers",
        "CONTAINER-ID [CONTAINER-ID...]",
        true,
        STOP,
    ),
    command(
        &["stopp"],
        "Stop one or more running pods",
        "POD-ID [POD-ID...]",
        false,
        &[],
    ),
    command(
        &["update"],
        "Update one or more running containers",
        "CONTAINER-ID [CONTAINER-ID...]",
        false,
        &[],
    ),
    command(
        &["update-runtime-config"],
        "Update the runtime configuration",
        "",
        false,
        &[],
    ),
    command(
        &["version"],
        "Display runtime version information",
        "",
        false,
        &[],
    ),
    command(
        &["help", "h"],
        "Shows a list of commands or help for one command",
        "[command]",
        false,
        &[],
    ),
];

//! The other files of the node: those a learner may look at, or the manifests mount.

use std::io;

use super::{Spec, Tree};

/// Writes directories and files that do not hold keys.
pub(super) fn write(tree: &Tree<'_>, spec: &Spec) -> io::Result<()> {
    for (path, mode) in [
        ("dev", 0o755),
        ("proc", 0o555),
        ("sys", 0o555),
        ("run/ckslab", 0o755),
        ("etc/alternatives", 0o755),
        ("etc/terminfo", 0o755),
        ("etc/vim", 0o755),
        ("etc/ca-certificates", 0o755),
        ("etc/ssl/certs", 0o755),
        ("etc/cni/net.d", 0o700),
        ("etc/containerd", 0o755),
        ("etc/default", 0o755),
        ("etc/systemd/system/kubelet.service.d", 0o755),
        ("etc/systemd/system/multi-user.target.wants", 0o755),
        ("home", 0o755),
        ("opt", 0o755),
        ("root", 0o700),
        ("run", 0o755),
        ("tmp", 0o1777),
        ("usr/lib/systemd/system/kubelet.service.d", 0o755),
        ("usr/libexec/kubernetes/kubelet-plugins/volume/exec", 0o755),
        ("usr/local/share/ca-certificates", 0o755),
        ("usr/share/ca-certificates", 0o755),
        ("var/lib/etcd/member", 0o700),
        ("var/lib/kubelet/pods", 0o750),
        ("var/log/containers", 0o755),
        ("var/log/pods", 0o755),
        ("var/tmp", 0o1777),
    ] {
        tree.directory(path, mode)?;
    }
    tree.directory("var/lib/etcd", 0o700)?;
    let (name, ip) = (&spec.node_name, &spec.node_ip);
    for (path, content) in [
        // Mount points for those of the host's programs that look here.
        ("etc/bash.bashrc", String::new()),
        ("etc/inputrc", String::new()),
        ("etc/ld.so.cache", String::new()),
        ("etc/localtime", String::new()),
        ("etc/nanorc", String::new()),
        ("etc/vimrc", String::new()),
        ("etc/hostname", format!("{name}\n")),
        (
            "etc/hosts",
            format!(
                "127.0.0.1 localhost\n127.0.1.1 {name}\n{ip} {name}\n\n\
                 ::1 ip6-localhost ip6-loopback\n"
            ),
        ),
        ("etc/os-release", OS_RELEASE.to_owned()),
        ("etc/passwd", PASSWD.to_owned()),
        ("etc/group", GROUP.to_owned()),
        ("etc/nsswitch.conf", NSSWITCH.to_owned()),
        ("etc/resolv.conf", "nameserver 127.0.0.53\n".to_owned()),
        ("etc/crictl.yaml", CRICTL.to_owned()),
        ("etc/default/kubelet", "KUBELET_EXTRA_ARGS=\n".to_owned()),
        ("etc/cni/net.d/10-bridge.conflist", CNI.to_owned()),
        ("etc/containerd/config.toml", CONTAINERD.to_owned()),
        (
            "usr/lib/systemd/system/kubelet.service",
            KUBELET_UNIT.to_owned(),
        ),
        (
            "usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf",
            KUBEADM_DROP_IN.to_owned(),
        ),
        ("root/.bashrc", BASHRC.to_owned()),
    ] {
        tree.file(path, &content, 0o644)?;
    }
    for (path, content, mode) in [
        (
            "var/lib/kubelet/config.yaml",
            KUBELET_CONFIG.to_owned(),
            0o644,
        ),
        (
            "var/lib/kubelet/instance-config.yaml",
            INSTANCE_CONFIG.to_owned(),
            0o644,
        ),
        (
            "var/lib/kubelet/kubeadm-flags.env",
            "KUBELET_KUBEADM_ARGS=\"\"\n".to_owned(),
            0o644,
        ),
    ] {
        tree.file(path, &content, mode)?;
    }
    for unit in ["containerd.service", "kubelet.service"] {
        let path = format!("etc/systemd/system/multi-user.target.wants/{unit}");
        tree.link(&path, &format!("/usr/lib/systemd/system/{unit}"))?;
    }
    Ok(())
}

const OS_RELEASE: &str = "PRETTY_NAME=\"Ubuntu 24.04.3 LTS\"
NAME=\"Ubuntu\"
VERSION_ID=\"24.04\"
VERSION=\"24.04.3 LTS (Noble Numbat)\"
VERSION_CODENAME=noble
ID=ubuntu
ID_LIKE=debian
";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
";

const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\n";

const CRICTL: &str = "runtime-endpoint: unix:///run/containerd/containerd.sock\n";

const CNI: &str = r#"{
  "cniVersion": "1.0.0",
  "name": "bridge",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "cni0",
      "isGateway": true,
      "ipMasq": true,
      "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.244.0.0/24" }]] }
    },
    { "type": "portmap", "capabilities": { "portMappings": true } }
  ]
}
"#;

const CONTAINERD: &str = "version = 3

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = 'registry.k8s.io/pause:3.10.2'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  SystemdCgroup = true
";

/// The kubelet's unit file, as its package brings it.
pub(crate) const KUBELET_UNIT: &str = "[Unit]
Description=kubelet: The Kubernetes Node Agent
Documentation=https://kubernetes.io/docs/
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
";

/// The unit file of the container runtime.
pub(crate) const CONTAINERD_UNIT: &str = "[Unit]
Description=containerd container runtime
Documentation=https://containerd.io
After=network.target dbus.service local-fs.target

[Service]
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/bin/containerd
Type=notify
Delegate=yes
KillMode=process
Restart=always
RestartSec=5
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
OOMScoreAdjust=-999

[Install]
WantedBy=multi-user.target
";

/// kubeadm's addition to it.
pub(crate) const KUBEADM_DROP_IN: &str = r#"[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
"#;

/// `kubelet-config` of kube-system, as kubeadm writes it to the node.
const KUBELET_CONFIG: &str = r#"apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous:
    enabled: false
  webhook:
    cacheTTL: 0s
    enabled: true
  x509:
    clientCAFile: /etc/kubernetes/pki/ca.crt
authorization:
  mode: Webhook
  webhook:
    cacheAuthorizedTTL: 0s
    cacheUnauthorizedTTL: 0s
cgroupDriver: systemd
clusterDNS:
- 10.96.0.10
clusterDomain: cluster.local
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cpuManagerReconcilePeriod: 0s
crashLoopBackOff: {}
evictionPressureTransitionPeriod: 0s
fileCheckFrequency: 0s
healthzBindAddress: 127.0.0.1
healthzPort: 10248
httpCheckFrequency: 0s
imageMaximumGCAge: 0s
imageMinimumGCAge: 0s
kind: KubeletConfiguration
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
memorySwap: {}
nodeStatusReportFrequency: 0s
nodeStatusUpdateFrequency: 0s
rotateCertificates: true
runtimeRequestTimeout: 0s
shutdownGracePeriod: 0s
shutdownGracePeriodCriticalPods: 0s
staticPodPath: /etc/kubernetes/manifests
streamingConnectionIdleTimeout: 0s
syncFrequency: 0s
volumeStatsAggPeriod: 0s
"#;

const INSTANCE_CONFIG: &str = "apiVersion: kubelet.config.k8s.io/v1beta1
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
kind: KubeletConfiguration
";

const BASHRC: &str = "PS1='root@\\h:\\w# '
alias k=kubectl
export do='--dry-run=client -o yaml'
";

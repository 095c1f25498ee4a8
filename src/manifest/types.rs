//! The Go types a pod manifest is decoded into (`k8s.io/api/core/v1/types.go`), and the decoding:
//! unknown fields are dropped, values of a wrong type are errors with the text of Go's
//! `encoding/json` (which `sigs.k8s.io/json` keeps).

use std::collections::HashMap;
use std::sync::OnceLock;

use base64::Engine;
use serde_json::{Map, Value};

/// `TYPE: field GO-TYPE, ...` of every struct below Pod. Types that are not listed here and not
/// built in are named strings.
const TABLE: &str = "
Pod: kind string, apiVersion string, metadata v1.ObjectMeta, spec v1.PodSpec, status v1.PodStatus
ObjectMeta: name string, generateName string, namespace string, selfLink string, uid types.UID, resourceVersion string, generation int64, creationTimestamp v1.Time, deletionTimestamp v1.Time, deletionGracePeriodSeconds int64, labels map[string]string, annotations map[string]string, ownerReferences []v1.OwnerReference, finalizers []string, managedFields []v1.ManagedFieldsEntry
OwnerReference: apiVersion string, kind string, name string, uid types.UID, controller bool, blockOwnerDeletion bool
ManagedFieldsEntry: manager string, operation v1.ManagedFieldsOperationType, apiVersion string, time v1.Time, fieldsType string, fieldsV1 any, subresource string
PodStatus:
PodSpec: volumes []v1.Volume, initContainers []v1.Container, containers []v1.Container, ephemeralContainers []v1.EphemeralContainer, restartPolicy v1.RestartPolicy, terminationGracePeriodSeconds int64, activeDeadlineSeconds int64, dnsPolicy v1.DNSPolicy, nodeSelector map[string]string, serviceAccountName string, serviceAccount string, automountServiceAccountToken bool, nodeName string, hostNetwork bool, hostPID bool, hostIPC bool, shareProcessNamespace bool, securityContext v1.PodSecurityContext, imagePullSecrets []v1.LocalObjectReference, hostname string, subdomain string, affinity v1.Affinity, schedulerName string, tolerations []v1.Toleration, hostAliases []v1.HostAlias, priorityClassName string, priority int32, dnsConfig v1.PodDNSConfig, readinessGates []v1.PodReadinessGate, runtimeClassName string, enableServiceLinks bool, preemptionPolicy v1.PreemptionPolicy, overhead v1.ResourceList, topologySpreadConstraints []v1.TopologySpreadConstraint, setHostnameAsFQDN bool, os v1.PodOS, hostUsers bool, schedulingGates []v1.PodSchedulingGate, resourceClaims []v1.PodResourceClaim, resources v1.ResourceRequirements, hostnameOverride string
Volume: name string, hostPath v1.HostPathVolumeSource, emptyDir v1.EmptyDirVolumeSource, gcePersistentDisk v1.GCEPersistentDiskVolumeSource, awsElasticBlockStore v1.AWSElasticBlockStoreVolumeSource, gitRepo v1.GitRepoVolumeSource, secret v1.SecretVolumeSource, nfs v1.NFSVolumeSource, iscsi v1.ISCSIVolumeSource, glusterfs v1.GlusterfsVolumeSource, persistentVolumeClaim v1.PersistentVolumeClaimVolumeSource, rbd v1.RBDVolumeSource, flexVolume v1.FlexVolumeSource, cinder v1.CinderVolumeSource, cephfs v1.CephFSVolumeSource, flocker v1.FlockerVolumeSource, downwardAPI v1.DownwardAPIVolumeSource, fc v1.FCVolumeSource, azureFile v1.AzureFileVolumeSource, configMap v1.ConfigMapVolumeSource, vsphereVolume v1.VsphereVirtualDiskVolumeSource, quobyte v1.QuobyteVolumeSource, azureDisk v1.AzureDiskVolumeSource, photonPersistentDisk v1.PhotonPersistentDiskVolumeSource, projected v1.ProjectedVolumeSource, portworxVolume v1.PortworxVolumeSource, scaleIO v1.ScaleIOVolumeSource, storageos v1.StorageOSVolumeSource, csi v1.CSIVolumeSource, ephemeral v1.EphemeralVolumeSource, image v1.ImageVolumeSource
HostPathVolumeSource: path string, type v1.HostPathType
EmptyDirVolumeSource: medium v1.StorageMedium, sizeLimit resource.Quantity
SecretVolumeSource: secretName string, items []v1.KeyToPath, defaultMode int32, optional bool
ConfigMapVolumeSource: name string, items []v1.KeyToPath, defaultMode int32, optional bool
KeyToPath: key string, path string, mode int32
NFSVolumeSource: server string, path string, readOnly bool
PersistentVolumeClaimVolumeSource: claimName string, readOnly bool
ProjectedVolumeSource: sources []v1.VolumeProjection, defaultMode int32
VolumeProjection: secret v1.SecretProjection, downwardAPI v1.DownwardAPIProjection, configMap v1.ConfigMapProjection, serviceAccountToken v1.ServiceAccountTokenProjection
SecretProjection: name string, items []v1.KeyToPath, optional bool
ConfigMapProjection: name string, items []v1.KeyToPath, optional bool
ServiceAccountTokenProjection: audience string, expirationSeconds int64, path string
DownwardAPIProjection: items []v1.DownwardAPIVolumeFile
DownwardAPIVolumeSource: items []v1.DownwardAPIVolumeFile, defaultMode int32
DownwardAPIVolumeFile: path string, fieldRef v1.ObjectFieldSelector, resourceFieldRef v1.ResourceFieldSelector, mode int32
CSIVolumeSource: driver string, readOnly bool, fsType string, volumeAttributes map[string]string, nodePublishSecretRef v1.LocalObjectReference
ImageVolumeSource: reference string, pullPolicy v1.PullPolicy
GCEPersistentDiskVolumeSource: pdName string, fsType string, partition int32, readOnly bool
AWSElasticBlockStoreVolumeSource: volumeID string, fsType string, partition int32, readOnly bool
GitRepoVolumeSource: repository string, revision string, directory string
ISCSIVolumeSource:
GlusterfsVolumeSource:
RBDVolumeSource:
FlexVolumeSource:
CinderVolumeSource:
CephFSVolumeSource:
FlockerVolumeSource:
FCVolumeSource:
AzureFileVolumeSource:
VsphereVirtualDiskVolumeSource:
QuobyteVolumeSource:
AzureDiskVolumeSource:
PhotonPersistentDiskVolumeSource:
PortworxVolumeSource:
ScaleIOVolumeSource:
StorageOSVolumeSource:
EphemeralVolumeSource:
LocalObjectReference: name string
Container: name string, image string, command []string, args []string, workingDir string, ports []v1.ContainerPort, envFrom []v1.EnvFromSource, env []v1.EnvVar, resources v1.ResourceRequirements, resizePolicy []v1.ContainerResizePolicy, restartPolicy v1.ContainerRestartPolicy, restartPolicyRules []v1.ContainerRestartRule, volumeMounts []v1.VolumeMount, volumeDevices []v1.VolumeDevice, livenessProbe v1.Probe, readinessProbe v1.Probe, startupProbe v1.Probe, lifecycle v1.Lifecycle, terminationMessagePath string, terminationMessagePolicy v1.TerminationMessagePolicy, imagePullPolicy v1.PullPolicy, securityContext v1.SecurityContext, stdin bool, stdinOnce bool, tty bool
EphemeralContainer:
ContainerRestartRule:
ContainerResizePolicy: resourceName v1.ResourceName, restartPolicy v1.ResourceResizeRestartPolicy
ContainerPort: name string, hostPort int32, containerPort int32, protocol v1.Protocol, hostIP string
EnvFromSource: prefix string, configMapRef v1.ConfigMapEnvSource, secretRef v1.SecretEnvSource
ConfigMapEnvSource: name string, optional bool
SecretEnvSource: name string, optional bool
EnvVar: name string, value string, valueFrom v1.EnvVarSource
EnvVarSource: fieldRef v1.ObjectFieldSelector, resourceFieldRef v1.ResourceFieldSelector, configMapKeyRef v1.ConfigMapKeySelector, secretKeyRef v1.SecretKeySelector
ObjectFieldSelector: apiVersion string, fieldPath string
ResourceFieldSelector: containerName string, resource string, divisor resource.Quantity
ConfigMapKeySelector: name string, key string, optional bool
SecretKeySelector: name string, key string, optional bool
ResourceRequirements: limits v1.ResourceList, requests v1.ResourceList, claims []v1.ResourceClaim
ResourceClaim: name string, request string
VolumeMount: name string, readOnly bool, recursiveReadOnly v1.RecursiveReadOnlyMode, mountPath string, subPath string, mountPropagation v1.MountPropagationMode, subPathExpr string
VolumeDevice: name string, devicePath string
Probe: exec v1.ExecAction, httpGet v1.HTTPGetAction, tcpSocket v1.TCPSocketAction, grpc v1.GRPCAction, initialDelaySeconds int32, timeoutSeconds int32, periodSeconds int32, successThreshold int32, failureThreshold int32, terminationGracePeriodSeconds int64
ExecAction: command []string
HTTPGetAction: path string, port intstr.IntOrString, host string, scheme v1.URIScheme, httpHeaders []v1.HTTPHeader
HTTPHeader: name string, value string
TCPSocketAction: port intstr.IntOrString, host string
GRPCAction: port int32, service string
Lifecycle: postStart v1.LifecycleHandler, preStop v1.LifecycleHandler, stopSignal v1.Signal
LifecycleHandler: exec v1.ExecAction, httpGet v1.HTTPGetAction, tcpSocket v1.TCPSocketAction, sleep v1.SleepAction
SleepAction: seconds int64
SecurityContext: capabilities v1.Capabilities, privileged bool, seLinuxOptions v1.SELinuxOptions, windowsOptions v1.WindowsSecurityContextOptions, runAsUser int64, runAsGroup int64, runAsNonRoot bool, readOnlyRootFilesystem bool, allowPrivilegeEscalation bool, procMount v1.ProcMountType, seccompProfile v1.SeccompProfile, appArmorProfile v1.AppArmorProfile
Capabilities: add []v1.Capability, drop []v1.Capability
SELinuxOptions: user string, role string, type string, level string
WindowsSecurityContextOptions: gmsaCredentialSpecName string, gmsaCredentialSpec string, runAsUserName string, hostProcess bool
SeccompProfile: type v1.SeccompProfileType, localhostProfile string
AppArmorProfile: type v1.AppArmorProfileType, localhostProfile string
PodSecurityContext: seLinuxOptions v1.SELinuxOptions, windowsOptions v1.WindowsSecurityContextOptions, runAsUser int64, runAsGroup int64, runAsNonRoot bool, supplementalGroups []int64, supplementalGroupsPolicy v1.SupplementalGroupsPolicy, fsGroup int64, sysctls []v1.Sysctl, fsGroupChangePolicy v1.PodFSGroupChangePolicy, seccompProfile v1.SeccompProfile, appArmorProfile v1.AppArmorProfile, seLinuxChangePolicy v1.PodSELinuxChangePolicy
Sysctl: name string, value string
Toleration: key string, operator v1.TolerationOperator, value string, effect v1.TaintEffect, tolerationSeconds int64
HostAlias: ip string, hostnames []string
PodDNSConfig: nameservers []string, searches []string, options []v1.PodDNSConfigOption
PodDNSConfigOption: name string, value string
PodReadinessGate: conditionType v1.PodConditionType
PodOS: name v1.OSName
PodSchedulingGate: name string
PodResourceClaim: name string, resourceClaimName string, resourceClaimTemplateName string
ConfigMap: kind string, apiVersion string, metadata v1.ObjectMeta, immutable bool, data map[string]string, binaryData map[string][]uint8
Secret: kind string, apiVersion string, metadata v1.ObjectMeta, immutable bool, data map[string][]uint8, stringData map[string]string, type v1.SecretType
Namespace: kind string, apiVersion string, metadata v1.ObjectMeta, spec v1.NamespaceSpec
NamespaceSpec: finalizers []v1.FinalizerName
ServiceAccount: kind string, apiVersion string, metadata v1.ObjectMeta, secrets []v1.ObjectReference, imagePullSecrets []v1.LocalObjectReference, automountServiceAccountToken bool
ObjectReference: kind string, namespace string, name string, uid types.UID, apiVersion string, resourceVersion string, fieldPath string
Service: kind string, apiVersion string, metadata v1.ObjectMeta, spec v1.ServiceSpec
ServiceSpec: ports []v1.ServicePort, selector map[string]string, clusterIP string, clusterIPs []string, type v1.ServiceType, externalIPs []string, sessionAffinity v1.ServiceAffinity, loadBalancerIP string, loadBalancerSourceRanges []string, externalName string, externalTrafficPolicy v1.ServiceExternalTrafficPolicy, healthCheckNodePort int32, publishNotReadyAddresses bool, sessionAffinityConfig v1.SessionAffinityConfig, ipFamilies []v1.IPFamily, ipFamilyPolicy v1.IPFamilyPolicy, allocateLoadBalancerNodePorts bool, loadBalancerClass string, internalTrafficPolicy v1.ServiceInternalTrafficPolicy, trafficDistribution string
ServicePort: name string, protocol v1.Protocol, appProtocol string, port int32, targetPort intstr.IntOrString, nodePort int32
SessionAffinityConfig:
Affinity:
TopologySpreadConstraint:
";

type Fields = Vec<(&'static str, &'static str)>;

fn table() -> &'static HashMap<&'static str, Fields> {
    static PARSED: OnceLock<HashMap<&'static str, Fields>> = OnceLock::new();
    PARSED.get_or_init(|| {
        TABLE
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, fields)| {
                let fields = fields
                    .split(", ")
                    .filter_map(|field| field.trim().split_once(' '))
                    .collect();
                (name, fields)
            })
            .collect()
    })
}

/// Fields of a struct type such as `v1.Container`; `None` for anything else.
fn fields(go_type: &str) -> Option<&'static Fields> {
    table().get(go_type.strip_prefix("v1.")?)
}

/// Decodes a JSON value as a Pod: known fields only, in the order of the Go struct.
///
/// # Errors
/// The first type error, as Go words it.
pub(super) fn decode_pod(value: &Value) -> Result<Value, String> {
    decode(value, "Pod")
}

/// Decodes a JSON value as an object of this kind, which must be in the table.
///
/// # Errors
/// The first type error, as Go words it.
pub(super) fn decode(value: &Value, kind: &str) -> Result<Value, String> {
    let Some((kind, _)) = table().get_key_value(kind) else {
        return Ok(Value::Null);
    };
    let mut decoder = Decoder {
        first: None,
        structs: Vec::new(),
        path: Vec::new(),
    };
    let object = decoder.of_kind(value, kind);
    match decoder.first {
        Some(error) => Err(error),
        None => Ok(object.unwrap_or(Value::Null)),
    }
}

/// Go keeps decoding after a type error and reports the first one. JSON made from YAML has its
/// keys sorted, so "first" is by sorted keys, not by the order in the file.
struct Decoder {
    first: Option<String>,
    structs: Vec<&'static str>,
    path: Vec<&'static str>,
}

impl Decoder {
    fn mismatch(&mut self, found: &str, go_type: &str) -> Option<Value> {
        if self.first.is_none() {
            self.first = Some(match self.structs.last() {
                Some(name) if !self.path.is_empty() => format!(
                    "json: cannot unmarshal {found} into Go struct field {name}.{} of type {go_type}",
                    self.path.join(".")
                ),
                _ => format!("json: cannot unmarshal {found} into Go value of type {go_type}"),
            });
        }
        None
    }

    fn fail(&mut self, text: String) -> Option<Value> {
        self.first.get_or_insert(text);
        None
    }

    fn of_kind(&mut self, value: &Value, kind: &'static str) -> Option<Value> {
        self.object(value, kind, table().get(kind)?)
    }

    /// The decoded value; `None` where the field stays unset (null or an error).
    fn value(&mut self, value: &Value, go_type: &'static str) -> Option<Value> {
        if value.is_null() {
            return None;
        }
        if let Some(element) = go_type.strip_prefix("[]") {
            return match value {
                Value::String(text) if element == "uint8" => self.bytes(text),
                Value::Array(items) => Some(Value::Array(
                    items
                        .iter()
                        // A null element is the zero value of its type.
                        .map(|item| self.value(item, element).unwrap_or_else(|| zero(element)))
                        .collect(),
                )),
                other => self.mismatch(kind(other), go_type),
            };
        }
        match go_type {
            "map[string]string" => self.map(value, go_type, "string"),
            "map[string][]uint8" => self.map(value, go_type, "[]uint8"),
            "v1.ResourceList" => self.map(value, go_type, "resource.Quantity"),
            "bool" => match value {
                Value::Bool(_) => Some(value.clone()),
                other => self.mismatch(kind(other), go_type),
            },
            "int32" | "int64" => self.integer(value, go_type),
            "resource.Quantity" => self.quantity(value),
            "intstr.IntOrString" => match value {
                Value::String(_) => Some(value.clone()),
                other => {
                    // A type with its own UnmarshalJSON starts a decoder without context.
                    match other.as_i64().map(i32::try_from) {
                        Some(Ok(_)) => Some(other.clone()),
                        _ if other.is_number() => self.fail(format!(
                            "json: cannot unmarshal number {other} into Go value of type int32"
                        )),
                        _ => self.fail(format!(
                            "json: cannot unmarshal {} into Go value of type int32",
                            kind(other)
                        )),
                    }
                }
            },
            "v1.Time" => match value {
                Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => {
                    Some(value.clone())
                }
                Value::String(text) => self.fail(format!(
                    "parsing time \"{text}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"{text}\" as \"2006\""
                )),
                other => self.fail(format!(
                    "json: cannot unmarshal {} into Go value of type string",
                    kind(other)
                )),
            },
            "any" => Some(value.clone()),
            _ => match fields(go_type) {
                Some(fields) => self.object(value, go_type, fields),
                None => match value {
                    Value::String(_) => Some(value.clone()),
                    other => self.mismatch(kind(other), go_type),
                },
            },
        }
    }

    fn object(
        &mut self,
        value: &Value,
        go_type: &'static str,
        fields: &'static Fields,
    ) -> Option<Value> {
        let Value::Object(map) = value else {
            return self.mismatch(kind(value), go_type);
        };
        // Structs listed without fields are kept as they are: nothing here reads them.
        if fields.is_empty() {
            return Some(value.clone());
        }
        self.structs.push(go_type.trim_start_matches("v1."));
        let mut keys: Vec<&String> = map.keys().collect();
        keys.sort_unstable();
        let mut decoded: HashMap<&'static str, Value> = HashMap::new();
        for key in keys {
            let known = fields.iter().find(|(name, _)| name == key);
            if let (Some((name, field_type)), Some(inner)) = (known, map.get(key)) {
                self.path.push(name);
                if let Some(inner) = self.value(inner, field_type) {
                    decoded.insert(name, inner);
                }
                self.path.pop();
            }
        }
        self.structs.pop();
        let mut out = Map::new();
        for (name, _) in fields {
            if let Some(inner) = decoded.remove(name) {
                out.insert((*name).to_owned(), inner);
            }
        }
        Some(Value::Object(out))
    }

    fn map(&mut self, value: &Value, go_type: &str, element: &'static str) -> Option<Value> {
        let Value::Object(map) = value else {
            return self.mismatch(kind(value), go_type);
        };
        let mut entries: Vec<(&String, &Value)> = map.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        let mut out = Map::new();
        for (key, inner) in entries {
            let inner = self.value(inner, element).unwrap_or_else(|| zero(element));
            out.insert(key.clone(), inner);
        }
        Some(Value::Object(out))
    }

    fn integer(&mut self, value: &Value, go_type: &str) -> Option<Value> {
        let Value::Number(number) = value else {
            return self.mismatch(kind(value), go_type);
        };
        let fits = number
            .as_i64()
            .is_some_and(|n| go_type == "int64" || i32::try_from(n).is_ok());
        if fits {
            Some(value.clone())
        } else {
            self.mismatch(&format!("number {number}"), go_type)
        }
    }

    /// Bytes: a string in base 64, kept as it is.
    fn bytes(&mut self, text: &str) -> Option<Value> {
        match base64::engine::general_purpose::STANDARD.decode(text) {
            Ok(_) => Some(Value::from(text)),
            Err(error) => {
                let at = match error {
                    base64::DecodeError::InvalidByte(at, _)
                    | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                    _ => text.len(),
                };
                self.fail(format!("illegal base64 data at input byte {at}"))
            }
        }
    }

    /// `resource.Quantity`: a string or a number (`k8s.io/apimachinery/pkg/api/resource/quantity.go`).
    fn quantity(&mut self, value: &Value) -> Option<Value> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            other => other.to_string(),
        };
        if is_quantity(&text) {
            Some(Value::String(text))
        } else {
            self.fail(
                "quantities must match the regular expression \
                 '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                    .to_owned(),
            )
        }
    }
}

/// Whether a text is a quantity such as `250m`, `1Gi`, `1e3`.
pub(super) fn is_quantity(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(digits);
    let number_ok = number.chars().any(|c| c.is_ascii_digit()) && number.matches('.').count() <= 1;
    let exponent = suffix
        .strip_prefix(['e', 'E'])
        .map(|rest| rest.strip_prefix(['+', '-']).unwrap_or(rest))
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit()));
    let known = [
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
    ];
    number_ok && (known.contains(&suffix) || exponent)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn zero(go_type: &str) -> Value {
    if go_type.starts_with("[]") {
        Value::Array(Vec::new())
    } else if fields(go_type).is_some() || go_type.starts_with("map[") {
        Value::Object(Map::new())
    } else {
        match go_type {
            "bool" => Value::Bool(false),
            "int32" | "int64" => Value::from(0),
            "resource.Quantity" => Value::from("0"),
            _ => Value::from(""),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn first_error_is_by_sorted_key() {
        let value = json!({"spec": {"containers": [{"image": 3, "command": [{"a": 1}]}]}});
        assert_eq!(
            decode_pod(&value).unwrap_err(),
            "json: cannot unmarshal object into Go struct field Container.spec.containers.command of type string"
        );
        let value = json!({"spec": {"volumes": {"name": "x"}}});
        assert_eq!(
            decode_pod(&value).unwrap_err(),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.volumes of type []v1.Volume"
        );
        let value = json!({"metadata": {"labels": {"a": true}}});
        assert_eq!(
            decode_pod(&value).unwrap_err(),
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string"
        );
    }

    #[test]
    fn unknown_fields_are_dropped_and_order_is_go() {
        let value =
            json!({"spec": {"containers": [{"image": "i", "volumeMount": [], "name": "n"}]}});
        let text = decode_pod(&value).unwrap().to_string();
        assert_eq!(
            text,
            r#"{"spec":{"containers":[{"name":"n","image":"i"}]}}"#
        );
    }

    #[test]
    fn quantities() {
        for good in ["1", "250m", "1.5Gi", "1e3", "-1", ".5"] {
            assert!(is_quantity(good), "{good}");
        }
        for bad in ["", "Gi", "1 Gi", "1gi", "1.2.3", "e3"] {
            assert!(!is_quantity(bad), "{bad}");
        }
    }
}

//! Objects of other kinds in the manifests directory: `tryDecodeSinglePod`
//! (`pkg/kubelet/config/common.go`) decodes them, and prints what it got as Go's `%#v` does
//! (`fmt/print.go`), in the types of `pkg/apis/core/types.go`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::types;
use crate::yaml::go::quote;

/// `TYPE: GoName field GO-TYPE, ...`; a field that is not read has the name `-`.
const TABLE: &str = "
core.ConfigMap: TypeMeta - v1.TypeMeta, ObjectMeta metadata v1.ObjectMeta, Immutable immutable *bool, Data data map[string]string, BinaryData binaryData map[string][]uint8
core.Secret: TypeMeta - v1.TypeMeta, ObjectMeta metadata v1.ObjectMeta, Immutable immutable *bool, Data data map[string][]uint8, Type type string
core.Namespace: TypeMeta - v1.TypeMeta, ObjectMeta metadata v1.ObjectMeta, Spec spec core.NamespaceSpec, Status status core.NamespaceStatus
core.NamespaceSpec: Finalizers finalizers []core.FinalizerName
core.NamespaceStatus: Phase phase string, Conditions - []core.NamespaceCondition
core.ServiceAccount: TypeMeta - v1.TypeMeta, ObjectMeta metadata v1.ObjectMeta, Secrets secrets []core.ObjectReference, ImagePullSecrets imagePullSecrets []core.LocalObjectReference, AutomountServiceAccountToken automountServiceAccountToken *bool
core.ObjectReference: Kind kind string, Namespace namespace string, Name name string, UID uid string, APIVersion apiVersion string, ResourceVersion resourceVersion string, FieldPath fieldPath string
core.LocalObjectReference: Name name string
core.Service: TypeMeta - v1.TypeMeta, ObjectMeta metadata v1.ObjectMeta, Spec spec core.ServiceSpec, Status - core.ServiceStatus
core.ServiceSpec: Type type string, Ports ports []core.ServicePort, Selector selector map[string]string, ClusterIP clusterIP string, ClusterIPs clusterIPs []string, IPFamilies ipFamilies []core.IPFamily, IPFamilyPolicy ipFamilyPolicy *core.IPFamilyPolicy, ExternalName externalName string, ExternalIPs externalIPs []string, LoadBalancerIP loadBalancerIP string, SessionAffinity sessionAffinity string, SessionAffinityConfig sessionAffinityConfig *core.SessionAffinityConfig, LoadBalancerSourceRanges loadBalancerSourceRanges []string, ExternalTrafficPolicy externalTrafficPolicy string, HealthCheckNodePort healthCheckNodePort int32, PublishNotReadyAddresses publishNotReadyAddresses bool, AllocateLoadBalancerNodePorts allocateLoadBalancerNodePorts *bool, LoadBalancerClass loadBalancerClass *string, InternalTrafficPolicy internalTrafficPolicy *core.ServiceInternalTrafficPolicy, TrafficDistribution trafficDistribution *string
core.ServicePort: Name name string, Protocol protocol string, AppProtocol appProtocol *string, Port port int32, TargetPort targetPort intstr.IntOrString, NodePort nodePort int32
core.ServiceStatus: LoadBalancer - core.LoadBalancerStatus, Conditions - []v1.Condition
core.LoadBalancerStatus: Ingress - []core.LoadBalancerIngress
v1.TypeMeta: Kind - string, APIVersion - string
v1.ObjectMeta: Name name string, GenerateName generateName string, Namespace namespace string, SelfLink selfLink string, UID uid string, ResourceVersion resourceVersion string, Generation generation int64, CreationTimestamp creationTimestamp v1.Time, DeletionTimestamp deletionTimestamp *v1.Time, DeletionGracePeriodSeconds deletionGracePeriodSeconds *int64, Labels labels map[string]string, Annotations annotations map[string]string, OwnerReferences ownerReferences []v1.OwnerReference, Finalizers finalizers []string, ManagedFields managedFields []v1.ManagedFieldsEntry
v1.OwnerReference: APIVersion apiVersion string, Kind kind string, Name name string, UID uid string, Controller controller *bool, BlockOwnerDeletion blockOwnerDeletion *bool
v1.ManagedFieldsEntry: Manager manager string, Operation operation string, APIVersion apiVersion string, Time time *v1.Time, FieldsType fieldsType string, FieldsV1 fieldsV1 *v1.FieldsV1, Subresource subresource string
";

/// Kinds of `v1` that are known but not in the table: their dump is cut short.
const CUT_SHORT: [&str; 12] = [
    "Node",
    "PodList",
    "List",
    "Endpoints",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Event",
    "PodTemplate",
    "ReplicationController",
    "LimitRange",
    "ResourceQuota",
    "Binding",
];

/// More of an object than this is not printed.
const LONGEST: usize = 1 << 20;

type Field = (&'static str, &'static str, &'static str);

fn fields(go_type: &str) -> Option<Vec<Field>> {
    let rows = TABLE.lines().filter_map(|line| line.split_once(": "));
    let (_, row) = rows.into_iter().find(|(name, _)| *name == go_type)?;
    let field = |text: &'static str| {
        let mut words = text.splitn(3, ' ');
        Some((words.next()?, words.next()?, words.next()?))
    };
    Some(row.split(", ").filter_map(field).collect())
}

/// What the kubelet says of an object of the group `v1` that is no pod; `None` of a kind that group has not.
///
/// The kubelet knows no other group: whatever is of one has no registered kind.
pub(super) fn refusal(kind: &str, object: &Value) -> Option<String> {
    if CUT_SHORT.contains(&kind) {
        return Some(format!("invalid pod: &core.{kind}{{...}}"));
    }
    let go_type = format!("core.{kind}");
    if !kind.starts_with(|c: char| c.is_ascii_uppercase()) {
        return None;
    }
    let top = fields(&go_type).filter(|all| all.iter().any(|(_, json, _)| *json == "metadata"))?;
    let mut decoded = match types::decode(object, kind) {
        Ok(decoded) => decoded,
        Err(error) => return Some(error),
    };
    default(kind, &mut decoded);
    let mut dump = Dump {
        out: "invalid pod: &".to_owned(),
        address: address(&decoded),
    };
    dump.structure(&go_type, &top, Some(&decoded));
    Some(dump.out)
}

/// `pkg/apis/core/v1/{defaults,conversion}.go`.
fn default(kind: &str, object: &mut Value) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    let or = |map: &mut Map<String, Value>, field: &str, value: Value| {
        let unset = map.get(field).is_none_or(|v| *v == "");
        if unset {
            map.insert(field.to_owned(), value);
        }
    };
    match kind {
        "Secret" => {
            or(map, "type", json!("Opaque"));
            if let Some(Value::Object(plain)) = map.remove("stringData")
                && !plain.is_empty()
            {
                let data = map.entry("data").or_insert_with(|| json!({}));
                for (key, text) in plain {
                    let text = STANDARD.encode(text.as_str().unwrap_or(""));
                    if let Some(data) = data.as_object_mut() {
                        data.insert(key, Value::from(text));
                    }
                }
            }
        }
        "Namespace" => {
            let metadata = map.entry("metadata").or_insert_with(|| json!({}));
            let name = metadata.get("name").and_then(Value::as_str).unwrap_or("");
            let label = json!({ "kubernetes.io/metadata.name": name });
            let named = !name.is_empty();
            if let Some(metadata) = metadata.as_object_mut().filter(|_| named) {
                let labels = metadata.entry("labels").or_insert_with(|| json!({}));
                if let (Some(labels), Value::Object(label)) = (labels.as_object_mut(), label) {
                    labels.extend(label);
                }
            }
            map.insert("status".to_owned(), json!({"phase": "Active"}));
        }
        "Service" => {
            let spec = map.entry("spec").or_insert_with(|| json!({}));
            let Some(spec) = spec.as_object_mut() else {
                return;
            };
            or(spec, "sessionAffinity", json!("None"));
            or(spec, "type", json!("ClusterIP"));
            let kind = spec.get("type").cloned();
            let kind = kind.as_ref().and_then(Value::as_str).unwrap_or("");
            if ["NodePort", "LoadBalancer"].contains(&kind) {
                or(spec, "externalTrafficPolicy", json!("Cluster"));
            }
            if ["ClusterIP", "NodePort", "LoadBalancer"].contains(&kind) {
                or(spec, "internalTrafficPolicy", json!("Cluster"));
            }
            if kind == "LoadBalancer" {
                or(spec, "allocateLoadBalancerNodePorts", json!(true));
            }
            let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
            for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
                or(port, "protocol", json!("TCP"));
                let number = port.get("port").cloned().unwrap_or(json!(0));
                if port.get("targetPort").is_none_or(|p| *p == json!(0)) {
                    port.insert("targetPort".to_owned(), number);
                }
            }
        }
        _ => {}
    }
}

/// Where the first thing lies that a pointer leads to.
fn address(value: &Value) -> u64 {
    let mut hash = Sha256::digest(value.to_string().as_bytes()).into_iter();
    let mut byte = || u64::from(hash.next().unwrap_or(0));
    0xc0_0000_0000 | byte() << 16 | byte() << 8 | byte() & 0xf0
}

struct Dump {
    out: String,
    address: u64,
}

impl Dump {
    fn structure(&mut self, go_type: &str, fields: &[Field], value: Option<&Value>) {
        self.out.push_str(go_type);
        self.out.push('{');
        for (n, (name, json, field_type)) in fields.iter().enumerate() {
            self.out.push_str(if n > 0 { ", " } else { "" });
            self.out.push_str(name);
            self.out.push(':');
            self.value(field_type, value.and_then(|v| v.get(json)));
        }
        self.out.push('}');
    }

    fn value(&mut self, go_type: &str, value: Option<&Value>) {
        if self.out.len() > LONGEST {
            return;
        }
        if let Some(pointed) = go_type.strip_prefix('*') {
            return self.pointer(pointed, value);
        }
        if let Some(element) = go_type.strip_prefix("[]") {
            return self.slice(go_type, element, value);
        }
        if let Some(element) = go_type.strip_prefix("map[string]") {
            return self.map(go_type, element, value);
        }
        if let Some(fields) = fields(go_type) {
            return self.structure(go_type, &fields, value);
        }
        let text = match go_type {
            "bool" => value.and_then(Value::as_bool).unwrap_or(false).to_string(),
            "int32" | "int64" => value.and_then(Value::as_i64).unwrap_or(0).to_string(),
            "v1.Time" => go_time(value),
            "intstr.IntOrString" => match value {
                Some(Value::String(text)) => {
                    format!(
                        "intstr.IntOrString{{Type:1, IntVal:0, StrVal:{}}}",
                        quote(text)
                    )
                }
                other => {
                    let number = other.and_then(Value::as_i64).unwrap_or(0);
                    format!("intstr.IntOrString{{Type:0, IntVal:{number}, StrVal:\"\"}}")
                }
            },
            // Named strings are strings.
            _ => quote(value.and_then(Value::as_str).unwrap_or("")),
        };
        self.out.push_str(&text);
    }

    /// A time is asked to print itself, even where a pointer leads to it.
    fn pointer(&mut self, pointed: &str, value: Option<&Value>) {
        let text = match (pointed, value) {
            ("v1.Time", None) => "<nil>".to_owned(),
            ("v1.Time", Some(_)) => go_time(value),
            (_, None) => format!("(*{pointed})(nil)"),
            (_, Some(_)) => {
                self.address += 0x10;
                format!("(*{pointed})({:#x})", self.address)
            }
        };
        self.out.push_str(&text);
    }

    fn slice(&mut self, go_type: &str, element: &str, value: Option<&Value>) {
        self.out.push_str(go_type);
        let bytes = value.and_then(Value::as_str).filter(|_| element == "uint8");
        if let Some(bytes) = bytes.and_then(|text| STANDARD.decode(text).ok()) {
            let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:#x}")).collect();
            self.out.push_str(&format!("{{{}}}", bytes.join(", ")));
            return;
        }
        let Some(items) = value.and_then(Value::as_array) else {
            self.out.push_str("(nil)");
            return;
        };
        self.out.push('{');
        for (n, item) in items.iter().enumerate() {
            self.out.push_str(if n > 0 { ", " } else { "" });
            self.value(element, Some(item));
        }
        self.out.push('}');
    }

    fn map(&mut self, go_type: &str, element: &str, value: Option<&Value>) {
        self.out.push_str(go_type);
        let Some(map) = value.and_then(Value::as_object) else {
            self.out.push_str("(nil)");
            return;
        };
        let mut entries: Vec<(&String, &Value)> = map.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        self.out.push('{');
        for (n, (key, inner)) in entries.into_iter().enumerate() {
            self.out.push_str(if n > 0 { ", " } else { "" });
            self.out.push_str(&quote(key));
            self.out.push(':');
            self.value(element, Some(inner));
        }
        self.out.push('}');
    }
}

/// `time.Time.GoString`: of no time at all, or in the node's zone.
fn go_time(value: Option<&Value>) -> String {
    let time = value.and_then(Value::as_str);
    let time = time.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let Some(time) = time else {
        return "time.Date(1, time.January, 1, 0, 0, 0, 0, time.UTC)".to_owned();
    };
    let time = time.to_zoned(jiff::tz::TimeZone::UTC);
    format!(
        "time.Date({}, time.{}, {}, {}, {}, {}, {}, time.Local)",
        time.year(),
        time.strftime("%B"),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.subsec_nanosecond()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: &str = "GenerateName:\"\", Namespace:\"\", SelfLink:\"\", UID:\"\", ResourceVersion:\"\", Generation:0, CreationTimestamp:time.Date(1, time.January, 1, 0, 0, 0, 0, time.UTC), DeletionTimestamp:<nil>, DeletionGracePeriodSeconds:(*int64)(nil), Labels:LABELS, Annotations:map[string]string(nil), OwnerReferences:[]v1.OwnerReference(nil), Finalizers:[]string(nil), ManagedFields:[]v1.ManagedFieldsEntry(nil)}";

    fn meta(name: &str, labels: &str) -> String {
        let rest = META.replace("LABELS", labels);
        format!(
            "TypeMeta:v1.TypeMeta{{Kind:\"\", APIVersion:\"\"}}, ObjectMeta:v1.ObjectMeta{{Name:\"{name}\", {rest}"
        )
    }

    #[test]
    fn a_config_map_is_printed_as_go_does() {
        let object = json!({"metadata": {"name": "c"}, "data": {"b": "2\n", "a": "x \"y\""}});
        assert_eq!(
            refusal("ConfigMap", &object).unwrap(),
            format!(
                "invalid pod: &core.ConfigMap{{{}, Immutable:(*bool)(nil), Data:map[string]string{{\"a\":\"x \\\"y\\\"\", \"b\":\"2\\n\"}}, BinaryData:map[string][]uint8(nil)}}",
                meta("c", "map[string]string(nil)")
            )
        );
    }

    #[test]
    fn defaults_are_filled_in_first() {
        let secret =
            json!({"metadata": {"name": "s"}, "data": {"k": "aGk="}, "stringData": {"p": "\t"}});
        let text = refusal("Secret", &secret).unwrap();
        let end = "Data:map[string][]uint8{\"k\":[]uint8{0x68, 0x69}, \"p\":[]uint8{0x9}}, Type:\"Opaque\"}";
        assert!(text.ends_with(end), "{text}");
        let text = refusal("Namespace", &json!({"metadata": {"name": "n"}})).unwrap();
        assert_eq!(
            text,
            format!(
                "invalid pod: &core.Namespace{{{}, Spec:core.NamespaceSpec{{Finalizers:[]core.FinalizerName(nil)}}, Status:core.NamespaceStatus{{Phase:\"Active\", Conditions:[]core.NamespaceCondition(nil)}}}}",
                meta(
                    "n",
                    "map[string]string{\"kubernetes.io/metadata.name\":\"n\"}"
                )
            )
        );
        let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "clusterIP": "None"}});
        let text = refusal("Service", &service).unwrap();
        assert!(text.contains("Spec:core.ServiceSpec{Type:\"ClusterIP\", Ports:[]core.ServicePort{core.ServicePort{Name:\"\", Protocol:\"TCP\", AppProtocol:(*string)(nil), Port:80, TargetPort:intstr.IntOrString{Type:0, IntVal:80, StrVal:\"\"}, NodePort:0}}, Selector:map[string]string(nil), ClusterIP:\"None\""), "{text}");
        assert!(
            text.contains("InternalTrafficPolicy:(*core.ServiceInternalTrafficPolicy)(0xc0"),
            "{text}"
        );
    }

    #[test]
    fn values_of_wrong_types_come_first() {
        let object = json!({"metadata": {"name": "c"}, "data": {"a": 1}});
        assert_eq!(
            refusal("ConfigMap", &object).unwrap(),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
        );
        let object = json!({"data": {"a": "a!"}});
        assert_eq!(
            refusal("Secret", &object).unwrap(),
            "illegal base64 data at input byte 1"
        );
        assert_eq!(refusal("Policy", &json!({})), None);
        assert_eq!(refusal("ServiceSpec", &json!({})), None);
    }
}

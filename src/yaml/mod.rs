//! YAML the way Kubernetes reads it (`sigs.k8s.io/yaml`): YAML 1.1 through libyaml, then JSON.

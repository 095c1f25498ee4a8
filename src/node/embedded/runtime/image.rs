//! The images of the node: which are there, and what a pull of another one says.

use sha2::{Digest, Sha256};

use crate::node::embedded::version::KUBERNETES;

/// Repositories of the control plane, with the tags that exist on the node.
const CONTROL_PLANE: [(&str, &str); 4] = [
    ("registry.k8s.io/kube-apiserver", KUBERNETES),
    ("registry.k8s.io/kube-controller-manager", KUBERNETES),
    ("registry.k8s.io/kube-scheduler", KUBERNETES),
    ("registry.k8s.io/kube-proxy", KUBERNETES),
];

/// What the runtime knows of an image reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// It is a control-plane image with this executable in it.
    Program(&'static str),
    /// It is some other image: its program idles.
    Other,
    /// A pull fails with this text.
    Missing(String),
    /// The reference cannot be parsed.
    Invalid(String),
}

/// Looks an image reference up.
#[must_use]
pub fn find(reference: &str) -> Image {
    let (repository, tag) = split(reference);
    if let Some(problem) = problem(reference, repository, tag) {
        return Image::Invalid(format!(
            "Failed to apply default image tag \"{reference}\": couldn't parse image name \"{reference}\": {problem}"
        ));
    }
    let not_found = || {
        let full = format!("{repository}:{tag}");
        Image::Missing(format!(
            "failed to pull and unpack image \"{full}\": failed to resolve reference \"{full}\": {full}: not found"
        ))
    };
    for (name, present) in CONTROL_PLANE {
        if repository == name {
            if tag != present {
                return not_found();
            }
            let program = name.rsplit('/').next().unwrap_or(name);
            return Image::Program(program);
        }
    }
    if repository == "registry.k8s.io/etcd" {
        return if tag.starts_with("3.6.") || tag.starts_with("3.7.") {
            Image::Program("etcd")
        } else {
            not_found()
        };
    }
    // A typo in a repository of the registry the node knows about.
    if repository.starts_with("registry.k8s.io/kube-") {
        return not_found();
    }
    Image::Other
}

/// Why a reference is none (`github.com/distribution/reference`).
fn problem(reference: &str, repository: &str, tag: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let component = |part: &str| {
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        ends(part.chars().next()) && ends(part.chars().last()) && part.chars().all(allowed)
    };
    // A port belongs to the registry only.
    let mut parts = repository.split('/');
    let first = parts.next().unwrap_or("");
    let (host, port) = first.split_once(':').unwrap_or((first, "1"));
    let is_port = !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
    let tagged = !tag.is_empty()
        && tag.len() <= 128
        && tag.chars().all(allowed)
        && !tag.starts_with(['.', '-']);
    if !(component(host) && is_port && parts.all(component) && tagged) {
        return Some("invalid reference format".into());
    }
    let is_registry = first.contains(['.', ':']) || first == "localhost";
    let remote = match reference.split_once('/') {
        Some((_, rest)) if is_registry => split(rest).0.to_owned(),
        Some(_) => repository.to_owned(),
        None => format!("library/{repository}"),
    };
    remote
        .chars()
        .any(|c| c.is_ascii_uppercase())
        .then(|| format!("invalid reference format: repository name ({remote}) must be lowercase"))
}

/// Repository and tag (or `latest`).
fn split(reference: &str) -> (&str, &str) {
    let without_digest = reference
        .split_once('@')
        .map_or(reference, |(name, _)| name);
    match without_digest.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (without_digest, "latest"),
    }
}

/// A stable, made-up digest of an image.
#[must_use]
pub fn digest(reference: &str) -> String {
    let mut out = String::from("sha256:");
    for byte in Sha256::digest(reference.as_bytes()) {
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

/// Bytes a pull of the image moves, about.
#[must_use]
pub fn size(reference: &str) -> u64 {
    match repository(reference).rsplit('/').next() {
        Some("kube-apiserver") => 27_064_672,
        Some("kube-controller-manager") => 22_819_474,
        Some("kube-scheduler") => 17_382_979,
        Some("kube-proxy") => 25_963_718,
        Some("etcd") => 22_883_424,
        _ => 72_324_501,
    }
}

/// Repository of a reference, without tag.
#[must_use]
pub fn repository(reference: &str) -> &str {
    split(reference).0
}

/// Tag of a reference.
#[must_use]
pub fn tag(reference: &str) -> &str {
    split(reference).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups() {
        assert_eq!(
            find("registry.k8s.io/kube-apiserver:v1.36.2"),
            Image::Program("kube-apiserver")
        );
        assert_eq!(find("registry.k8s.io/etcd:3.6.4-0"), Image::Program("etcd"));
        assert_eq!(find("nginx"), Image::Other);
        assert_eq!(find("localhost:5000/x"), Image::Other);
        assert!(
            matches!(find("registry.k8s.io/kube-apiserver:v1.36.22"), Image::Missing(t) if t.ends_with("v1.36.22: not found"))
        );
        assert_eq!(
            find("Nginx:1"),
            Image::Invalid("Failed to apply default image tag \"Nginx:1\": couldn't parse image name \"Nginx:1\": invalid reference format: repository name (library/Nginx) must be lowercase".into())
        );
        assert!(matches!(find("nginx 1"), Image::Invalid(_)));
    }
}

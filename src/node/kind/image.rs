//! Which node image a cluster is made of.

use std::time::Duration;

use super::provider::Provider;

/// The image for the Kubernetes that the exam uses. Tag and digest are those of kind 0.32's own default
/// (`pkg/apis/config/defaults/image.go`).
pub const PINNED: &str =
    "kindest/node:v1.36.1@sha256:3489c7674813ba5d8b1a9977baea8a6e553784dab7b84759d1014dbd78f7ebd5";
/// The version of Kubernetes meant, as tags begin.
const MINOR: &str = "v1.36.";

/// The default image: one of the right version that is on this machine already (loaded into a machine
/// without a network, it has no digest), else the pinned one.
#[must_use]
pub fn default(provider: &Provider) -> String {
    let listed = provider.run(
        &[
            "images",
            "--format",
            "{{.Repository}}:{{.Tag}}",
            "kindest/node",
        ],
        b"",
        Duration::from_secs(10),
    );
    listed
        .ok()
        .and_then(|output| newest(&output.text()))
        .unwrap_or_else(|| PINNED.to_owned())
}

/// The newest image of the right version in a list, one a line.
fn newest(list: &str) -> Option<String> {
    list.lines()
        .filter_map(|line| {
            let line = line.trim();
            let tag = line.rsplit(':').next()?;
            let patch: u32 = tag.strip_prefix(MINOR)?.parse().ok()?;
            line.contains("kindest/node:").then_some((patch, line))
        })
        .max()
        .map(|(_, line)| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_the_right_version_that_is_there_wins() {
        let list = "kindest/node:v1.35.1\nkindest/node:v1.36.1\nkindest/node:v1.36.10\nkindest/node:<none>\nkindest/node:v1.37.0";
        assert_eq!(newest(list).as_deref(), Some("kindest/node:v1.36.10"));
        assert_eq!(
            newest("docker.io/kindest/node:v1.36.0").as_deref(),
            Some("docker.io/kindest/node:v1.36.0")
        );
        assert_eq!(newest("kindest/node:v1.35.1\n"), None);
    }
}

//! Images of containers (`pkg/kubelet/images/image_manager.go`).

use std::time::Duration;

use super::journal::quote;
use super::state::{Kubelet, Step};
use crate::manifest::{Container, StaticPod};
use crate::node::embedded::runtime::image::{self, Image};

const PULL_MAX: Duration = Duration::from_secs(300);

impl Kubelet {
    /// The image decides whether the container can be made at all.
    pub(super) fn consider(
        &mut self,
        uid: &str,
        full_name: &str,
        container: &Container,
        failed: Option<(Duration, String)>,
    ) -> Option<Step> {
        let now = self.now.at;
        let reference = &container.image;
        match image::find(reference) {
            Image::Invalid(text) => {
                self.wake_after(uid, &[Duration::ZERO]);
                Some(Step::Hopeless {
                    reason: "InvalidImageName",
                    text,
                })
            }
            Image::Missing(_) if container.pull_policy == "Never" => {
                let text = format!(
                    "Container image \"{reference}\" is not present with pull policy of Never"
                );
                self.wake_after(uid, &[Duration::ZERO]);
                Some(Step::Hopeless {
                    reason: "ErrImageNeverPull",
                    text,
                })
            }
            Image::Missing(text) => {
                let pulling = format!("Pulling image \"{reference}\"");
                self.event(uid, Some(&container.name), "Normal", "Pulling", &pulling);
                match failed {
                    None => Some(Step::Pulling {
                        until: now + self.scaled(Duration::from_millis(900)),
                        text,
                    }),
                    Some((delay, _)) => {
                        Some(self.pull_failed(uid, full_name, container, &text, delay))
                    }
                }
            }
            Image::Program(_) | Image::Other if container.pull_policy == "Always" => {
                self.pulled(uid, &container.name, reference);
                Some(Step::Create {
                    at: now + self.scaled(Duration::from_millis(700)),
                })
            }
            Image::Program(_) | Image::Other => {
                let text = format!(
                    "Container image \"{reference}\" already present on machine and can be accessed by the pod"
                );
                self.event(uid, Some(&container.name), "Normal", "Pulled", &text);
                Some(Step::Create {
                    at: now + self.scaled(Duration::from_millis(300)),
                })
            }
        }
    }

    pub(super) fn pull_failed(
        &mut self,
        uid: &str,
        full_name: &str,
        container: &Container,
        text: &str,
        last: Duration,
    ) -> Step {
        let now = self.now.at;
        let (name, reference) = (&container.name, &container.image);
        let delay = if last.is_zero() {
            Duration::from_secs(10)
        } else {
            (last * 2).min(PULL_MAX)
        };
        // The runtime's client tells the code, its caller no more.
        let grpc = format!("rpc error: code = NotFound desc = {text}");
        let image = ("image", reference.as_str());
        self.journal.error(
            "remote_image.go:250",
            "PullImage from image service failed",
            &[("err", &grpc), image],
        );
        self.journal.error(
            "kuberuntime_image.go:43",
            "Failed to pull image",
            &[("err", text), image],
        );
        let (pod_name, space) = self
            .pods
            .iter()
            .find(|p| p.spec.uid == uid)
            .map(|p| (p.spec.name.clone(), p.spec.namespace.clone()))
            .unwrap_or_default();
        let start = format!(
            "container {name} start failed in pod {pod_name}_{space}({uid}): ErrImagePull: {text}"
        );
        self.journal.error(
            "kuberuntime_manager.go:1727",
            "Unhandled Error",
            &[("err", &start), ("logger", "UnhandledError")],
        );
        let error = format!(
            "failed to \"StartContainer\" for \"{name}\" with ErrImagePull: {}",
            quote(text)
        );
        self.sync_error(uid, full_name, &error);
        let failed = format!("Failed to pull image \"{reference}\": {text}");
        self.event(uid, Some(name), "Warning", "Failed", &failed);
        self.event(uid, Some(name), "Warning", "Failed", "Error: ErrImagePull");
        let rounds = delay.as_secs() / 12;
        let later: Vec<Duration> = (0..=rounds.min(8))
            .map(|round| Duration::from_millis(600 + round * 12_000))
            .collect();
        self.wake_after(uid, &later);
        let retry = now + self.jittered(delay);
        Step::PullBackOff {
            retry: self.tick(retry),
            delay,
            shown: now + self.scaled(Duration::from_secs(1)),
            text: text.to_owned(),
        }
    }

    /// The image was asked for again, and is the one that is there.
    pub(super) fn pulled(&mut self, uid: &str, container: &str, reference: &str) {
        let pulling = format!("Pulling image \"{reference}\"");
        self.event(uid, Some(container), "Normal", "Pulling", &pulling);
        let millis = 350 + self.dice_up_to(200).as_millis() % 200;
        let size = image::size(reference);
        let text = format!(
            "Successfully pulled image \"{reference}\" in {millis}ms ({millis}ms including waiting). Image size: {size} bytes."
        );
        self.event(uid, Some(container), "Normal", "Pulled", &text);
    }

    /// A sync of a container whose image is not pulled yet again.
    pub(super) fn still_not_pulled(&mut self, spec: &StaticPod, container: &Container, text: &str) {
        let (name, reference) = (&container.name, &container.image);
        let back_off = format!("Back-off pulling image \"{reference}\"");
        self.event(&spec.uid, Some(name), "Normal", "BackOff", &back_off);
        let failed = "Error: ImagePullBackOff";
        self.event(&spec.uid, Some(name), "Warning", "Failed", failed);
        let text = format!("{back_off}: ErrImagePull: {text}");
        let error = format!(
            "failed to \"StartContainer\" for \"{name}\" with ImagePullBackOff: {}",
            quote(&text)
        );
        self.sync_error(&spec.uid, &spec.full_name(), &error);
    }

    /// A sync of a container whose image is never pulled.
    pub(super) fn image_refused(
        &mut self,
        spec: &StaticPod,
        container: &Container,
        reason: &'static str,
        text: &str,
    ) {
        let name = &container.name;
        let event = if reason == "InvalidImageName" {
            "InspectFailed"
        } else {
            reason
        };
        self.event(&spec.uid, Some(name), "Warning", event, text);
        let failed = format!("Error: {reason}");
        self.event(&spec.uid, Some(name), "Warning", "Failed", &failed);
        let error = format!(
            "failed to \"StartContainer\" for \"{name}\" with {reason}: {}",
            quote(text)
        );
        self.sync_error(&spec.uid, &spec.full_name(), &error);
    }
}

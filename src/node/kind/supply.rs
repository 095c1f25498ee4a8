//! Pristine clusters: the one there is, put back to its start or taken over, or a new one.

use std::process::Command;
use std::time::Duration;

use super::cluster::{self, Kind, Presence};
use super::config::Config;
use super::node::KindNode;
use super::progress::tell;
use super::provider::Provider;
use super::record::{ClusterRecord, Phase, Place, write_private};
use super::trouble::Trouble;
use super::{command, image, pristine, settle};
use crate::node::engine::EngineError;
use crate::node::{Node, NodeError};

/// Writes the record of a cluster.
///
/// # Errors
/// When it cannot be written.
pub fn save(place: &Place, record: &ClusterRecord) -> Result<(), EngineError> {
    place.save(record).map_err(EngineError::io(format!(
        "write the record of cluster `{}`",
        place.name
    )))
}

/// Getting a pristine cluster.
pub struct Supply<'a> {
    /// The `kind` command.
    pub kind: &'a Kind,
    /// What runs containers.
    pub provider: &'a Provider,
    /// What is kept of the cluster. Its lock is held.
    pub place: &'a Place,
    /// The configuration of a new one.
    pub config: &'a Config,
    /// The image that the user asked for.
    pub image: Option<&'a str>,
    /// Whether the user gave a configuration this time.
    pub explicit: bool,
}

impl Supply<'_> {
    /// A pristine cluster: the one there is, put back, or a new one.
    ///
    /// # Errors
    /// When there is none to be had.
    pub fn cluster(&self, lab: &str) -> Result<ClusterRecord, EngineError> {
        let name = &self.place.name;
        let record = self.place.load().map_err(|error| {
            EngineError::Damaged(format!("the record of the cluster `{name}`: {error}"))
        })?;
        let nodes = cluster::nodes(self.provider, name)?;
        let Some(record) = record else {
            if nodes.is_empty() {
                return self.make();
            }
            return self.adopt();
        };
        if record.phase == Phase::Creating {
            tell(&format!(
                "the making of the cluster `{name}` was interrupted; it is made anew"
            ));
            return self.make_anew();
        }
        if !nodes.contains(&record.node) {
            tell(&format!(
                "the cluster `{name}` was deleted; it is made anew"
            ));
            return self.make_anew();
        }
        let other_image = self.image.is_some() && record.image.as_deref() != self.image;
        let other_config = self.explicit && record.config != self.config.text();
        if other_image || other_config {
            tell(&format!(
                "the cluster `{name}` has another {}; it is made anew",
                if other_image {
                    "node image"
                } else {
                    "configuration"
                }
            ));
            return self.make_anew();
        }
        if let Some(owner) = record.owner.as_ref().filter(|owner| owner.lab != lab) {
            tell(&format!(
                "the cluster `{name}` goes from lab {} to lab {lab}: what was done in {} is dropped (--cluster NAME makes another cluster)",
                owner.lab, owner.lab
            ));
        }
        self.put_back(record)
    }

    fn node(&self, record: &ClusterRecord) -> KindNode {
        let kubeconfig = self.place.kubeconfig();
        KindNode::new(
            &self.provider.program,
            &record.node,
            self.place.clone(),
            kubeconfig,
        )
    }

    fn put_back(&self, mut record: ClusterRecord) -> Result<ClusterRecord, EngineError> {
        let woken = wake(self.provider, &record.node)?;
        let node = self.node(&record);
        if woken {
            settle::booted(&node, cluster::started_at(self.provider, &record.node));
            let _ = settle::settle(&node);
        }
        if !record.used && node.api_server().is_ok_and(|state| state.ready) {
            return Ok(record);
        }
        // Half put back it is nobody's: whoever is interrupted here must not find the old lab in it.
        record.owner = None;
        save(self.place, &record)?;
        if let Err(error) = pristine::restore(&node) {
            if let NodeError::Unreachable { reason, hint } = error {
                return Err(EngineError::Missing { reason, hint });
            }
            tell(&format!(
                "the cluster `{}` cannot be put back to its start ({error}); it is made anew",
                self.place.name
            ));
            return self.make_anew();
        }
        record.used = false;
        save(self.place, &record)?;
        Ok(record)
    }

    /// Takes over a cluster of the right name that another home made.
    fn adopt(&self) -> Result<ClusterRecord, EngineError> {
        let name = &self.place.name;
        let strange = |what: &str| {
            Trouble::new(
                format!("there is a kind cluster `{name}` that ckslab did not make{what}"),
                format!(
                    "use another name (--cluster NAME), or delete it: kind delete cluster --name {name}"
                ),
            )
        };
        let begun = ClusterRecord::begun(name, self.image.map(str::to_owned), self.config.text());
        wake(self.provider, &begun.node).map_err(|_| strange(", or not to its end"))?;
        let Some(mut record) = pristine::adopt(&self.node(&begun)).unwrap_or(None) else {
            return Err(strange("").into());
        };
        if (self.image.is_some() && record.image != begun.image)
            || (self.explicit && record.config != begun.config)
        {
            tell(&format!(
                "the cluster `{name}` was made by another CKSLAB_HOME; it is made anew as asked for"
            ));
            return self.make_anew();
        }
        tell(&format!(
            "the cluster `{name}` was made by another CKSLAB_HOME; it is taken over"
        ));
        self.kubeconfig()?;
        record.phase = Phase::Ready;
        record.used = true;
        save(self.place, &record)?;
        self.put_back(record)
    }

    fn kubeconfig(&self) -> Result<(), EngineError> {
        let mut command = Command::new("kind");
        command.args(["get", "kubeconfig", "--name", &self.place.name]);
        let output = command::run(command, b"", Duration::from_secs(60)).map_err(Trouble::from)?;
        if !output.ok() {
            return Err(Trouble::new(
                format!("`kind get kubeconfig` failed: {}", output.complaint()),
                "ckslab doctor",
            )
            .into());
        }
        write_private(&self.place.kubeconfig(), &output.stdout)
            .map_err(EngineError::io("write the cluster's kubeconfig"))
    }

    fn make_anew(&self) -> Result<ClusterRecord, EngineError> {
        self.kind.delete(self.place)?;
        self.place.forget();
        self.make()
    }

    fn make(&self) -> Result<ClusterRecord, EngineError> {
        let image = match self.image {
            Some(image) => Some(image.to_owned()),
            None if self.config.names_image() => None,
            None => Some(image::default(self.provider)),
        };
        let mut record = ClusterRecord::begun(
            &self.place.name,
            self.image.map(str::to_owned),
            self.config.text(),
        );
        write_private(
            &self.place.file("config.yaml"),
            self.config.text().as_bytes(),
        )
        .map_err(EngineError::io("write the cluster's configuration"))?;
        save(self.place, &record)?;
        tell(&format!(
            "making the kind cluster `{}`{}; the first time takes some minutes",
            self.place.name,
            image
                .as_ref()
                .map(|image| format!(" from {image}"))
                .unwrap_or_default()
        ));
        let made = self.kind.create(self.place, image.as_deref(), &mut |step| {
            tell(&format!("  kind: {step}"));
        });
        if let Err(trouble) = made {
            self.place.forget();
            return Err(trouble.into());
        }
        let node = self.node(&record);
        settle::until_ready(&node)
            .and_then(|()| pristine::snapshot(&node, &record))
            .map_err(|error| match error {
                NodeError::Unreachable { reason, hint } => Trouble::new(reason, hint),
                other => Trouble::new(
                    format!(
                        "the new cluster `{}` is of no use: {other}",
                        self.place.name
                    ),
                    "run the command again: the cluster is made anew then",
                ),
            })?;
        record.phase = Phase::Ready;
        save(self.place, &record)?;
        Ok(record)
    }
}

/// Makes sure that a container runs; says whether it had to be started.
///
/// # Errors
/// When it is gone, or Docker cannot.
pub fn wake(provider: &Provider, container: &str) -> Result<bool, Trouble> {
    match cluster::presence(&provider.program, container)? {
        Presence::Running => Ok(false),
        Presence::Missing => Err(cluster::gone(container)),
        Presence::Stopped => {
            tell(&format!(
                "the container `{container}` was stopped; starting it …"
            ));
            cluster::start(provider, container)?;
            Ok(true)
        }
    }
}

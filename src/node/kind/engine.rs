//! The life of labs on kind clusters: clusters made, taken, put back, let go.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::cluster::{self, Kind, Presence};
use super::config::Config;
use super::node::KindNode;
use super::progress::tell;
use super::provider::Provider;
use super::record::{ClusterRecord, LabRecord, Owner, Phase, Place};
use super::trouble::Trouble;
use super::{image, pristine, settle};
use crate::node::engine::{EngineError, Order, Wishes};
use crate::node::{Node, NodeError};

/// Name of the cluster that labs share.
pub const CLUSTER: &str = "ckslab";
/// How long another command may work on the same cluster.
const PATIENCE: Duration = Duration::from_secs(900);

/// One command at a time works on a cluster: an advisory lock that ends with its process.
struct Lock {
    _file: File,
}

impl Lock {
    fn take(place: &Place) -> Result<Self, EngineError> {
        let failed = || EngineError::io(format!("lock the cluster `{}`", place.name));
        place.ensure().map_err(failed())?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(place.file("lock"))
            .map_err(failed())?;
        let start = Instant::now();
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    if !told && start.elapsed() > Duration::from_secs(1) {
                        told = true;
                        tell(&format!(
                            "another ckslab command works on the cluster `{}`; waiting for it …",
                            place.name
                        ));
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(TryLockError::WouldBlock) => return Err(EngineError::Busy),
                Err(TryLockError::Error(error)) => return Err(failed()(error)),
            }
        }
    }
}

/// The name of the cluster for what a user asked for with `--cluster`.
///
/// # Errors
/// When that can be no name.
pub fn cluster_name(asked: Option<&str>) -> Result<String, Trouble> {
    let Some(asked) = asked else {
        return Ok(CLUSTER.to_owned());
    };
    let fits = !asked.is_empty()
        && asked.len() <= 30
        && !asked.starts_with('-')
        && !asked.ends_with('-')
        && asked
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !fits {
        return Err(Trouble::new(
            format!("`{asked}` cannot be the name of a cluster"),
            "use up to 30 lower-case letters, digits and dashes: --cluster second",
        ));
    }
    Ok(match asked.strip_prefix("ckslab-") {
        Some(_) => asked.to_owned(),
        None if asked == CLUSTER => asked.to_owned(),
        None => format!("{CLUSTER}-{asked}"),
    })
}

/// Whether kind and Docker can be used here: what `auto` goes by, within a few seconds.
///
/// # Errors
/// What is missing.
pub fn available() -> Result<(Kind, Provider), Trouble> {
    let kind = Kind::find()?;
    Ok((kind, Provider::find()?))
}

/// The program that reaches containers, without asking whether it answers.
fn program() -> String {
    match std::env::var("KIND_EXPERIMENTAL_PROVIDER").as_deref() {
        Ok(wish @ ("podman" | "docker" | "nerdctl" | "finch" | "nerdctl.lima")) => wish.to_owned(),
        _ => ["docker", "nerdctl", "podman"]
            .into_iter()
            .find(|program| super::provider::on_path(program))
            .unwrap_or("docker")
            .to_owned(),
    }
}

/// Makes a pristine node for the lab in this directory: on the cluster there is, or on a new one.
///
/// # Errors
/// When there is none to be had.
pub fn create(dir: &Path, order: &Order<'_>) -> Result<KindNode, EngineError> {
    let (kind, provider) = available()?;
    let before = order.replaces.and_then(|old| LabRecord::load(old).ok());
    let asked = order.wishes;
    let name = match (&asked.cluster, &before) {
        (None, Some(before)) => before.cluster.clone(),
        (asked, _) => cluster_name(asked.as_deref())?,
    };
    let kept = |field: fn(&LabRecord) -> Option<String>| before.as_ref().and_then(field);
    let wanted_image = asked
        .image
        .clone()
        .or_else(|| kept(|record| record.image.clone()));
    let wanted_config = asked.kind_config.clone().or_else(|| {
        before
            .as_ref()
            .and_then(|record| record.kind_config.clone())
    });
    let config =
        Config::load(wanted_config.as_deref()).map_err(|trouble| EngineError::Invalid {
            reason: trouble.reason,
            hint: trouble.hint,
        })?;
    let place = Place::of_lab(dir, &name);
    let _lock = Lock::take(&place)?;
    let work = Work {
        kind: &kind,
        provider: &provider,
        place: &place,
        config: &config,
        image: wanted_image.as_deref(),
        explicit: asked.kind_config.is_some(),
    };
    let mut record = work.cluster(order.lab)?;
    // From here on until the lab is stopped for good, nothing is pristine.
    let lab = LabRecord::new(&name, wanted_image, wanted_config);
    record.used = true;
    record.owner = Some(Owner {
        lab: order.lab.to_owned(),
        token: lab.token.clone(),
    });
    save(&place, &record)?;
    let kept = || EngineError::io("write state/kind.json");
    std::fs::create_dir_all(dir.join("state")).map_err(kept())?;
    lab.save(dir).map_err(kept())?;
    let kubeconfig = dir.join("state/kubeconfig");
    let text = std::fs::read(place.kubeconfig()).map_err(kept())?;
    super::record::write_private(&kubeconfig, &text).map_err(kept())?;
    Ok(KindNode::new(
        &provider.program,
        &record.node,
        place,
        kubeconfig,
    ))
}

fn save(place: &Place, record: &ClusterRecord) -> Result<(), EngineError> {
    place.save(record).map_err(EngineError::io(format!(
        "write the record of cluster `{}`",
        place.name
    )))
}

/// Getting a pristine cluster.
struct Work<'a> {
    kind: &'a Kind,
    provider: &'a Provider,
    place: &'a Place,
    config: &'a Config,
    image: Option<&'a str>,
    /// Whether the user gave a configuration this time.
    explicit: bool,
}

impl Work<'_> {
    /// A pristine cluster: the one there is, put back, or a new one.
    fn cluster(&self, lab: &str) -> Result<ClusterRecord, EngineError> {
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
        record.owner = None;
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
        let mut command = std::process::Command::new("kind");
        command.args(["get", "kubeconfig", "--name", &self.place.name]);
        let output =
            super::command::run(command, b"", Duration::from_secs(60)).map_err(Trouble::from)?;
        if !output.ok() {
            return Err(Trouble::new(
                format!("`kind get kubeconfig` failed: {}", output.complaint()),
                "ckslab doctor",
            )
            .into());
        }
        super::record::write_private(&self.place.kubeconfig(), &output.stdout)
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
        super::record::write_private(
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

/// An error of the node as one of the engine.
fn engine_error(error: NodeError) -> EngineError {
    match error {
        NodeError::Unreachable { reason, hint } => EngineError::Missing { reason, hint },
        other => EngineError::NotStarted(other.to_string()),
    }
}

/// Makes sure that a container runs; says whether it had to be started.
fn wake(provider: &Provider, container: &str) -> Result<bool, Trouble> {
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

/// The node of the lab in this directory, whether it runs or not.
///
/// # Errors
/// When what is kept of it cannot be read.
pub fn open(dir: &Path) -> io::Result<KindNode> {
    KindNode::open(&program(), dir)
}

/// Who has the cluster of the lab in this directory: the lab itself, another one, or nobody.
enum Holder {
    Itself(ClusterRecord),
    Other(String),
    Nobody,
}

fn holder(dir: &Path) -> io::Result<Holder> {
    let lab = LabRecord::load(dir)?;
    let Some(cluster) = Place::of_lab(dir, &lab.cluster).load()? else {
        return Ok(Holder::Nobody);
    };
    Ok(match &cluster.owner {
        Some(owner) if owner.token == lab.token => Holder::Itself(cluster),
        Some(owner) => Holder::Other(owner.lab.clone()),
        None => Holder::Nobody,
    })
}

/// Whether the lab in this directory has a cluster whose node runs.
#[must_use]
pub fn is_running(dir: &Path) -> bool {
    match holder(dir) {
        Ok(Holder::Itself(cluster)) => {
            cluster::presence(&program(), &cluster.node).is_ok_and(|at| at == Presence::Running)
        }
        _ => false,
    }
}

/// Whether the node of the lab in this directory is gone for good: its work with it.
#[must_use]
pub fn is_lost(dir: &Path) -> bool {
    match holder(dir) {
        Ok(Holder::Itself(cluster)) => {
            cluster::presence(&program(), &cluster.node).is_ok_and(|at| at == Presence::Missing)
        }
        Ok(_) => true,
        Err(_) => false,
    }
}

/// The first wish that the lab in this directory does not fulfil: option, and the value it has.
#[must_use]
pub fn differs(dir: &Path, wishes: &Wishes) -> Option<(&'static str, String)> {
    let lab = LabRecord::load(dir).ok()?;
    let of = |value: Option<String>| value.unwrap_or_else(|| "the default".to_owned());
    if let Some(asked) = &wishes.cluster
        && cluster_name(Some(asked)).is_ok_and(|name| name != lab.cluster)
    {
        return Some(("cluster", lab.cluster));
    }
    if wishes.image.is_some() && wishes.image != lab.image {
        return Some(("image", of(lab.image)));
    }
    if wishes.kind_config.is_some() && wishes.kind_config != lab.kind_config {
        let file = lab.kind_config.map(|file| file.display().to_string());
        return Some(("kind-config", of(file)));
    }
    None
}

/// Starts the node and waits until it has settled.
///
/// # Errors
/// When the lab has no cluster any more, or the node does not start.
pub fn start(lab: &str, dir: &Path) -> Result<(), EngineError> {
    let cluster = match holder(dir).map_err(|error| EngineError::Damaged(error.to_string()))? {
        Holder::Itself(cluster) => cluster,
        Holder::Other(other) => {
            return Err(Trouble::new(
                format!("the cluster of lab `{lab}` is lab `{other}`'s now"),
                format!(
                    "ckslab start {lab} makes it anew there, --cluster NAME on another cluster"
                ),
            )
            .into());
        }
        Holder::Nobody => {
            return Err(Trouble::new(
                format!("lab `{lab}` has no cluster any more"),
                format!("ckslab start {lab} makes it anew"),
            )
            .into());
        }
    };
    let provider = Provider::find()?;
    let woken = wake(&provider, &cluster.node).map_err(|mut trouble| {
        if trouble.hint.starts_with("ckslab reset makes") {
            trouble.hint = format!("ckslab reset {lab} makes the lab anew, on a new cluster");
        }
        trouble
    })?;
    if woken {
        let node = open(dir).map_err(|error| EngineError::Damaged(error.to_string()))?;
        settle::booted(&node, cluster::started_at(&provider, &cluster.node));
    }
    settle(dir)
}

/// Waits until the node of the lab in this directory has settled.
///
/// # Errors
/// When it cannot be asked.
pub fn settle(dir: &Path) -> Result<(), EngineError> {
    let node = open(dir).map_err(|error| EngineError::Damaged(error.to_string()))?;
    settle::settle(&node).map(|_| ()).map_err(engine_error)
}

/// A lab is stopped: its cluster stays as it is. Says whether it ran.
#[must_use]
pub fn stop(dir: &Path) -> bool {
    is_running(dir)
}

/// Deletes the cluster of the lab in this directory; gives its name.
///
/// # Errors
/// When the lab does not have it, or kind cannot.
pub fn delete(dir: &Path) -> Result<String, EngineError> {
    let lab = LabRecord::load(dir).map_err(|error| EngineError::Damaged(error.to_string()))?;
    let place = Place::of_lab(dir, &lab.cluster);
    if let Ok(Holder::Other(other)) = holder(dir) {
        return Err(Trouble::new(
            format!("the cluster `{}` is lab `{other}`'s now", place.name),
            format!("ckslab stop {other} --delete"),
        )
        .into());
    }
    let _lock = Lock::take(&place)?;
    Kind::find()?.delete(&place)?;
    place.forget();
    Ok(place.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clusters_are_always_ckslabs_own() {
        for (asked, name) in [
            (None, "ckslab"),
            (Some("second"), "ckslab-second"),
            (Some("ckslab-second"), "ckslab-second"),
            (Some("ckslab"), "ckslab"),
            (Some("kind"), "ckslab-kind"),
        ] {
            assert_eq!(cluster_name(asked).unwrap(), name);
        }
        for bad in ["", "-a", "a-", "A", "a b", "../x", "ü"] {
            assert!(cluster_name(Some(bad)).is_err(), "{bad}");
        }
    }
}

//! The life of labs on kind clusters: clusters made, taken, put back, let go.

use std::io;
use std::path::Path;

use super::cluster::{self, Kind, Presence};
use super::config::Config;
use super::lock::Lock;
use super::node::KindNode;
use super::provider::Provider;
use super::record::{ClusterRecord, LabRecord, Owner, Place};
use super::supply::{Supply, save, wake};
use super::trouble::Trouble;
use super::{settle, sinks};
use crate::node::NodeError;
use crate::node::engine::{EngineError, Order, Wishes};

/// Name of the cluster that labs share.
pub const CLUSTER: &str = "ckslab";

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
    let supply = Supply {
        kind: &kind,
        provider: &provider,
        place: &place,
        config: &config,
        image: wanted_image.as_deref(),
        explicit: asked.kind_config.is_some(),
    };
    let mut record = supply.cluster(order.lab)?;
    // From here on until the lab is stopped for good, nothing is pristine.
    let mut lab = LabRecord::new(&name, wanted_image, wanted_config);
    record.used = true;
    record.owner = Some(Owner {
        lab: order.lab.to_owned(),
        token: lab.token.clone(),
    });
    save(&place, &record)?;
    let kept = || EngineError::io("write state/kind.json");
    std::fs::create_dir_all(dir.join("state")).map_err(kept())?;
    let kubeconfig = dir.join("state/kubeconfig");
    let node = KindNode::new(
        &provider.program,
        &record.node,
        place.clone(),
        kubeconfig.clone(),
    );
    lab.since = node.now().map_err(engine_error)?;
    let text = std::fs::read(place.kubeconfig()).map_err(kept())?;
    super::record::write_private(&kubeconfig, &text).map_err(kept())?;
    lab.save(dir).map_err(kept())?;
    Ok(node.since(lab.since))
}

/// An error of the node as one of the engine.
fn engine_error(error: NodeError) -> EngineError {
    match error {
        NodeError::Unreachable { reason, hint } => EngineError::Missing { reason, hint },
        other => EngineError::NotStarted(other.to_string()),
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
    let node = open(dir).map_err(|error| EngineError::Damaged(error.to_string()))?;
    if woken {
        settle::booted(&node, cluster::started_at(&provider, &cluster.node));
    }
    settled(&node)
}

/// Waits until the node of the lab in this directory has settled, and its receivers run.
///
/// # Errors
/// When it cannot be asked.
pub fn settle(dir: &Path) -> Result<(), EngineError> {
    settled(&open(dir).map_err(|error| EngineError::Damaged(error.to_string()))?)
}

fn settled(node: &KindNode) -> Result<(), EngineError> {
    sinks::start(node.session()).map_err(engine_error)?;
    settle::settle(node).map(|_| ()).map_err(engine_error)
}

/// A lab is stopped: its receivers end, and its cluster stays as it is. Says whether it ran.
#[must_use]
pub fn stop(dir: &Path) -> bool {
    let runs = is_running(dir);
    if runs && let Ok(node) = open(dir) {
        // A node that cannot be asked has none that matter.
        let _ = sinks::stop(node.session());
    }
    runs
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

//! `crictl images`, `inspecti`, `imagefsinfo` and `pull`.

use serde_json::{Value, json};

use super::flags::Given;
use super::output::{self, short, size};
use super::{Done, Failed, Level, Runtime, fatal, log};
use crate::node::embedded::runtime::image;
use crate::node::embedded::snapshot::NodeSnapshot;
use crate::node::embedded::version::{KUBERNETES, PAUSE};

/// An image of the node.
struct Stored {
    /// `repository:tag`.
    name: String,
    /// `sha256:...`.
    id: String,
    /// Bytes.
    size: u64,
    pinned: bool,
}

impl Stored {
    fn new(name: String) -> Self {
        let component = image::repository(&name).rsplit('/').next().unwrap_or("");
        let size = match component {
            "kube-apiserver" => 27_600_311,
            "kube-controller-manager" => 23_121_143,
            "kube-scheduler" => 17_382_979,
            "kube-proxy" => 26_007_180,
            "coredns" => 22_384_805,
            "etcd" => 22_871_747,
            "pause" => 320_368,
            _ => 50_112_544,
        };
        Self {
            id: image::digest(&name),
            pinned: component == "pause",
            size,
            name,
        }
    }

    fn digest(&self) -> String {
        format!(
            "{}@{}",
            image::repository(&self.name),
            image::digest(&format!("{}@", self.name))
        )
    }

    /// As the CRI has it.
    fn value(&self) -> Value {
        json!({
            "id": self.id,
            "repoTags": [self.name],
            "repoDigests": [self.digest()],
            "size": self.size.to_string(),
            "uid": {"value": "0"},
            "username": "",
            "spec": null,
            "pinned": self.pinned,
        })
    }
}

/// Every image of the node, by name.
fn stored(snapshot: &NodeSnapshot) -> Vec<Stored> {
    let control_plane = [
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kube-proxy",
    ];
    let mut names: Vec<String> = snapshot
        .containers
        .iter()
        .map(|c| format!("{}:{}", image::repository(&c.image), image::tag(&c.image)))
        .chain(control_plane.map(|name| format!("registry.k8s.io/{name}:{KUBERNETES}")))
        .collect();
    names.push(PAUSE.to_owned());
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(Stored::new).collect()
}

/// Whether what somebody wrote for an image means this one.
pub(super) fn is(wanted: &str, image: &str) -> bool {
    let id = image::digest(image);
    let hex = id.trim_start_matches("sha256:");
    let tagged = format!("{}:{}", image::repository(wanted), image::tag(wanted));
    let own = format!("{}:{}", image::repository(image), image::tag(image));
    wanted == id
        || tagged == own
        || (wanted.len() >= 4 && hex.starts_with(wanted.trim_start_matches("sha256:")))
}

/// `images`.
pub(super) fn list(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    if given.arguments.len() > 1 {
        return Err(Failed::Help);
    }
    let snapshot = runtime.connect(true)?;
    let mut found = stored(&snapshot);
    if let Some(wanted) = given.arguments.first().filter(|w| !w.is_empty()) {
        found.retain(|stored| is(wanted, &stored.name));
    }
    for filter in given.all("filter") {
        match filter.split_once('=') {
            Some(("dangling", value)) => found.retain(|_| value == "false"),
            Some(("reference", pattern)) => {
                let pattern = regex::RegexBuilder::new(pattern)
                    .size_limit(1 << 20)
                    .build();
                let Ok(pattern) = pattern else {
                    return fatal(format!(
                        "listing images: filter images: failed to compile filter {filter:?}"
                    ));
                };
                found.retain(|stored| pattern.is_match(&stored.name));
            }
            Some(("before" | "since", _)) => {}
            _ => {
                return fatal(format!(
                    "listing images: filter images: error parsing filter {filter:?}"
                ));
            }
        }
    }
    if let Some(format @ ("json" | "yaml")) = given.get("output") {
        let list: Vec<Value> = found.iter().map(Stored::value).collect();
        return output::value(runtime, &json!({ "images": list }), format, None);
    }
    if given.has("quiet") {
        for stored in found {
            writeln!(runtime.tool.out, "{}", stored.id)?;
        }
        return Ok(());
    }
    if given.has("verbose") {
        for stored in found {
            let out = &mut runtime.tool.out;
            writeln!(
                out,
                "ID: {}\nRepoTags: {}\nRepoDigests: {}",
                stored.id,
                stored.name,
                stored.digest()
            )?;
            writeln!(out, "Size: {}\nUid: value:0 ", stored.size)?;
            if stored.pinned {
                writeln!(out, "Pinned: true")?;
            }
            writeln!(out)?;
        }
        return Ok(());
    }
    let whole = given.has("no-trunc");
    let (digests, pinned) = (given.has("digests"), given.has("pinned"));
    let row = |name: &str, tag: &str, digest: &str, id: &str, size: &str, pin: &str| {
        let mut row = vec![name.to_owned(), tag.to_owned()];
        if digests {
            row.push(digest.to_owned());
        }
        row.extend([id.to_owned(), size.to_owned()]);
        if pinned {
            row.push(pin.to_owned());
        }
        row
    };
    let mut rows = vec![row("IMAGE", "TAG", "DIGEST", "IMAGE ID", "SIZE", "PINNED")];
    for stored in &found {
        let digest = stored.digest();
        let digest = digest.split_once('@').map_or("", |(_, digest)| digest);
        rows.push(row(
            image::repository(&stored.name),
            image::tag(&stored.name),
            &short(digest, whole),
            &short(&stored.id, whole),
            &size(stored.size as f64, 3),
            &stored.pinned.to_string(),
        ));
    }
    output::table(runtime, &rows)
}

/// `inspecti`.
pub(super) fn inspect(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    let snapshot = runtime.connect(true)?;
    let all = stored(&snapshot);
    let mut ids = given.arguments.clone();
    if ids.is_empty() {
        let named = |stored: &&Stored| given.get("name").is_none_or(|n| is(n, &stored.name));
        ids = all.iter().filter(named).map(|s| s.id.clone()).collect();
    }
    if ids.is_empty() {
        log(
            runtime.tool,
            Level::Error,
            "No IDs provided or nothing found per filter",
        )?;
        return Err(Failed::Help);
    }
    let format = given.get("output").unwrap_or("json").to_owned();
    let mut values = Vec::new();
    for id in ids {
        let Some(stored) = all.iter().find(|stored| is(&id, &stored.name)) else {
            return fatal(format!("no such image {id:?} present"));
        };
        if format == "table" {
            let out = &mut runtime.tool.out;
            writeln!(
                out,
                "ID: {}\nTag: {}\nDigest: {}",
                stored.id,
                stored.name,
                stored.digest()
            )?;
            writeln!(out, "Size: {}", size(stored.size as f64, 3))?;
            continue;
        }
        let mut value = json!({"status": stored.value()});
        if !given.has("quiet")
            && let Some(object) = value.as_object_mut()
        {
            object.insert("info".into(), json!({"chainID": image::digest(&stored.id), "imageSpec": {"architecture": "amd64", "config": {}, "os": "linux"}}));
        }
        values.push(value);
    }
    let value = match values.len() {
        0 => return Ok(()),
        1 => values.remove(0),
        _ => Value::Array(values),
    };
    output::value(
        runtime,
        &output::sorted(&value),
        &format,
        given.get("template"),
    )
}

/// `imagefsinfo`.
pub(super) fn file_system(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    let snapshot = runtime.connect(true)?;
    let used: u64 = stored(&snapshot).iter().map(|stored| stored.size * 3).sum();
    let value = json!({"status": {"containerFilesystems": [], "imageFilesystems": [{
        "fsId": {"mountpoint": "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs"},
        "inodesUsed": {"value": "4128"},
        "timestamp": jiff::Timestamp::now().as_nanosecond().to_string(),
        "usedBytes": {"value": used.to_string()},
    }]}});
    let format = given.get("output").unwrap_or("json").to_owned();
    output::value(runtime, &value, &format, given.get("template"))
}

/// `pull`: what is there is up to date; of what is not, the runtime says what it says to the kubelet.
pub(super) fn pull(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    let name = match given.arguments.as_slice() {
        [] => return fatal("image name cannot be empty"),
        [name] if name.is_empty() => return fatal("image name cannot be empty"),
        [name] => name.clone(),
        _ => return Err(Failed::Help),
    };
    let snapshot = runtime.connect(true)?;
    if let Some(found) = stored(&snapshot).iter().find(|s| is(&name, &s.name)) {
        writeln!(runtime.tool.out, "Image is up to date for {}", found.id)?;
        return Ok(());
    }
    let error = match image::find(&name) {
        image::Image::Missing(text) if !text.starts_with("rpc error") => {
            format!("rpc error: code = NotFound desc = {text}")
        }
        image::Image::Missing(text) | image::Image::Invalid(text) => text,
        // The registry has it, but this node has no network.
        _ => {
            let full = format!("{}:{}", image::repository(&name), image::tag(&name));
            let host = full
                .split('/')
                .next()
                .filter(|h| h.contains('.'))
                .unwrap_or("registry-1.docker.io");
            format!(
                "rpc error: code = Unavailable desc = failed to pull and unpack image \"{full}\": failed to resolve reference \"{full}\": failed to do request: dial tcp: lookup {host}: network is unreachable"
            )
        }
    };
    fatal(format!("pulling image: {error}"))
}

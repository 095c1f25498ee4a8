//! Documents: what there is, their hashes, how they are made and kept.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Dialect, custom, definitions, gnostic, paths, roots};
use crate::node::embedded::apiserver::catalog::{self, Resource};
use crate::node::embedded::apiserver::discovery::etag;
use crate::node::embedded::apiserver::state::CustomResource;

/// A document, compressed.
#[derive(Debug, Clone)]
pub struct Document(Bytes);

impl Document {
    /// As gzip.
    #[must_use]
    pub fn zipped(&self) -> Bytes {
        self.0.clone()
    }

    /// As plain JSON.
    #[must_use]
    pub fn plain(&self) -> Bytes {
        let mut out = Vec::new();
        // We compressed it ourselves.
        _ = GzDecoder::new(self.0.as_ref()).read_to_end(&mut out);
        out.into()
    }
}

/// The documents of version 3 and what they describe.
pub struct Index<'a> {
    custom: BTreeMap<String, Vec<&'a CustomResource>>,
}

impl<'a> Index<'a> {
    /// The documents of a server with these custom resources.
    #[must_use]
    pub fn new(all: &'a [CustomResource]) -> Self {
        let mut custom: BTreeMap<String, Vec<&CustomResource>> = BTreeMap::new();
        for one in all {
            let name = format!("apis/{}/{}", one.resource.group, one.resource.version);
            custom.entry(name).or_default().push(one);
        }
        Self { custom }
    }

    /// The names of all documents.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = [
            ".well-known/openid-configuration",
            "api",
            "apis",
            "openid/v1/jwks",
            "version",
        ]
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
        for group in catalog::groups() {
            if !group.name.is_empty() {
                names.push(format!("apis/{}", group.name));
            }
            for version in &group.versions {
                names.push(if group.name.is_empty() {
                    format!("api/{version}")
                } else {
                    format!("apis/{}/{version}", group.name)
                });
            }
        }
        for (name, all) in &self.custom {
            names.push(name.clone());
            names.extend(
                all.first()
                    .map(|one| format!("apis/{}", one.resource.group)),
            );
        }
        names.sort();
        names.dedup();
        names
    }

    /// The hash of a document: of what it describes, so that it need not be made for that.
    #[must_use]
    pub fn hash_of(&self, name: &str) -> Option<String> {
        self.names()
            .iter()
            .any(|known| known == name)
            .then(|| self.hash(name))
    }

    fn hash(&self, name: &str) -> String {
        let mut text = format!("{} {name}", env!("CARGO_PKG_VERSION"));
        for one in self.custom.get(name).into_iter().flatten() {
            text.push_str(&one.resource.name);
            text.push_str(&one.version.to_string());
            let names = one.definition.pointer("/spec/names");
            text.push_str(&names.map(Value::to_string).unwrap_or_default());
        }
        etag(text.as_bytes())
    }

    /// The hash of everything.
    #[must_use]
    pub fn hash_of_all(&self) -> String {
        let mut text = String::from(env!("CARGO_PKG_VERSION"));
        for name in self.custom.keys() {
            text.push_str(name);
            text.push_str(&self.hash(name));
        }
        etag(text.as_bytes())
    }

    /// The answer of `/openapi/v3`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let paths: Map<String, Value> = self
            .names()
            .into_iter()
            .map(|name| {
                let hash = self.hash(&name);
                let url = json!({ "serverRelativeURL": format!("/openapi/v3/{name}?hash={hash}") });
                (name, url)
            })
            .collect();
        json!({ "paths": paths })
    }
}

/// When a list of documents was first seen in this process, but not before the server's start.
pub(super) fn first_seen(hash: &str, started: Timestamp) -> Timestamp {
    static SEEN: OnceLock<Mutex<HashMap<String, Timestamp>>> = OnceLock::new();
    let seen = SEEN.get_or_init(Mutex::default);
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let first = *seen.entry(hash.to_owned()).or_insert_with(Timestamp::now);
    first.max(started)
}

/// A document by its hash, made if it is not there.
fn cached(key: &str, make: impl FnOnce() -> Document) -> Document {
    static CACHE: OnceLock<Mutex<HashMap<String, Arc<OnceLock<Document>>>>> = OnceLock::new();
    /// Documents of definitions that changed since are forgotten.
    const MOST: usize = 64;
    let place = {
        let cache = CACHE.get_or_init(Mutex::default);
        let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MOST && !cache.contains_key(key) {
            cache.clear();
        }
        cache.entry(key.to_owned()).or_default().clone()
    };
    place.get_or_init(make).clone()
}

/// Writes a document piece by piece, so that it is never in memory as a whole.
struct Writer {
    out: GzEncoder<Vec<u8>>,
    first: bool,
}

impl Writer {
    fn new() -> Self {
        Self {
            out: GzEncoder::new(Vec::new(), Compression::fast()),
            first: true,
        }
    }

    fn raw(&mut self, text: &str) {
        // A vector takes everything.
        _ = self.out.write_all(text.as_bytes());
        self.first = true;
    }

    /// A member whose value is JSON already.
    fn member(&mut self, name: &str, json: &str) {
        let comma = if self.first { "" } else { "," };
        _ = write!(self.out, "{comma}{}:{json}", Value::from(name));
        self.first = false;
    }

    fn finish(self) -> Document {
        Document(self.out.finish().unwrap_or_default().into())
    }
}

/// The parts of a document of version 3, or of that group and version in version 2.
pub(super) struct Parts {
    pub schemas: BTreeMap<String, String>,
    pub paths: BTreeMap<String, String>,
}

impl Parts {
    /// Of a built-in group and version.
    fn built_in(dialect: Dialect, group: &str, version: &str) -> Self {
        let resources: Vec<&Resource> = catalog::of_version(group, version).collect();
        let mut wanted: Vec<(&str, &str, String)> = Vec::new();
        for resource in &resources {
            wanted.push((group, version, resource.kind.clone()));
            if resource.has_verb("", "list") {
                wanted.push((group, version, resource.list_kind()));
            }
            for sub in &resource.subresources {
                if let Some((group, version, kind)) = resource.body_kind(&sub.name)
                    && !kind.ends_with("Options")
                {
                    wanted.push((group, version, kind.to_owned()));
                }
            }
        }
        let writable = resources
            .iter()
            .any(|resource| resource.has_verb("", "patch"));
        let meta: &[&str] = if writable {
            &[
                "APIResourceList",
                "DeleteOptions",
                "Patch",
                "Status",
                "WatchEvent",
            ]
        } else {
            &["APIResourceList"]
        };
        let mut roots: Vec<(&str, &str, &str)> = meta
            .iter()
            .map(|name| ("meta.k8s.io", "v1", *name))
            .collect();
        roots.extend(
            wanted
                .iter()
                .map(|(group, version, kind)| (*group, *version, kind.as_str())),
        );
        let schemas = definitions::build(dialect, &roots, &roots::definitions(group, version));
        let mut described = BTreeMap::new();
        let base = if group.is_empty() {
            format!("/api/{version}/")
        } else {
            format!("/apis/{group}/{version}/")
        };
        described.insert(base, simple(dialect, "APIResourceList").to_string());
        for resource in resources {
            let definition = definitions::name_of(group, version, &resource.kind);
            let described_resource = paths::Described {
                dialect,
                resource,
                definition,
                built_in: true,
            };
            described.extend(described_resource.paths());
        }
        Self {
            schemas,
            paths: described,
        }
    }

    /// Of everything, in version 2.
    fn all(index: &Index<'_>) -> Self {
        let mut schemas: BTreeMap<String, String> = roots::version_info()
            .into_iter()
            .map(|(name, schema)| (name, schema.to_string()))
            .collect();
        let mut paths: BTreeMap<String, String> = BTreeMap::new();
        let mut add = |parts: Self| {
            paths.extend(parts.paths);
            schemas.extend(parts.schemas);
        };
        for group in catalog::groups() {
            for version in &group.versions {
                add(Self::built_in(Dialect::V2, &group.name, version));
            }
            if !group.name.is_empty() {
                let path = format!("/apis/{}/", group.name);
                add(Self::single(Dialect::V2, &path, "APIGroup"));
            }
        }
        for (path, kind) in [
            ("/api/", "APIVersions"),
            ("/apis/", "APIGroupList"),
            ("/.well-known/openid-configuration/", ""),
            ("/openid/v1/jwks/", ""),
            ("/version/", ""),
        ] {
            add(Self::single(Dialect::V2, path, kind));
        }
        for all in index.custom.values() {
            let (schemas, paths) = custom::build(Dialect::V2, all);
            add(Self { schemas, paths });
        }
        Self { schemas, paths }
    }

    /// Of a document that describes one path only.
    fn single(dialect: Dialect, path: &str, kind: &str) -> Self {
        let schemas = if kind.is_empty() {
            BTreeMap::new()
        } else {
            definitions::build(
                dialect,
                &[("meta.k8s.io", "v1", kind)],
                &roots::definitions("meta", ""),
            )
        };
        Self {
            schemas,
            paths: BTreeMap::from([(path.to_owned(), simple(dialect, kind).to_string())]),
        }
    }

    fn named(index: &Index<'_>, name: &str) -> (Self, Value) {
        let kubernetes = json!({ "title": "Kubernetes", "version": "1.36" });
        if let Some(all) = index.custom.get(name) {
            let (schemas, paths) = custom::build(Dialect::V3, all);
            let info = json!({ "title": "Kubernetes CRD Swagger", "version": "v0.1.0" });
            return (Self { schemas, paths }, info);
        }
        let path = format!("/{name}/");
        let parts: Vec<&str> = name.split('/').collect();
        let parts = match parts.as_slice() {
            ["api", version] => Self::built_in(Dialect::V3, "", version),
            ["apis", group, version] => Self::built_in(Dialect::V3, group, version),
            ["apis", _] => Self::single(Dialect::V3, &path, "APIGroup"),
            ["api"] => Self::single(Dialect::V3, &path, "APIVersions"),
            ["apis"] => Self::single(Dialect::V3, &path, "APIGroupList"),
            _ => Self::single(Dialect::V3, &path, ""),
        };
        (parts, kubernetes)
    }
}

/// The only operation of a discovery path.
fn simple(dialect: Dialect, kind: &str) -> Value {
    let schema = if kind.is_empty() {
        json!({ "type": "string" })
    } else {
        json!({ "$ref": format!("{}io.k8s.apimachinery.pkg.apis.meta.v1.{kind}", dialect.prefix()) })
    };
    let ok = if dialect == Dialect::V3 {
        json!({ "content": { "application/json": { "schema": schema } }, "description": "OK" })
    } else {
        json!({ "description": "OK", "schema": schema })
    };
    json!({ "get": { "responses": { "200": ok } } })
}

/// A document of version 3.
pub(super) fn of_version(index: &Index<'_>, name: &str, hash: &str) -> Document {
    cached(hash, || {
        let (parts, info) = Parts::named(index, name);
        let mut writer = Writer::new();
        writer.raw("{\"openapi\":\"3.0.0\",");
        writer.member("info", &info.to_string());
        writer.raw(",\"paths\":{");
        for (path, item) in &parts.paths {
            writer.member(path, item);
        }
        writer.raw("},\"components\":{\"schemas\":{");
        for (name, schema) in &parts.schemas {
            writer.member(name, schema);
        }
        writer.raw("},");
        writer.member("securitySchemes", &security().to_string());
        writer.raw("}}");
        writer.finish()
    })
}

/// The document of version 2: everything.
pub(super) fn whole(index: &Index<'_>, hash: &str) -> Document {
    cached(hash, || {
        let parts = Parts::all(index);
        let mut writer = Writer::new();
        writer.raw("{\"swagger\":\"2.0\",");
        writer.member("info", r#"{"title":"Kubernetes","version":"1.36"}"#);
        writer.raw(",\"paths\":{");
        for (path, item) in &parts.paths {
            writer.member(path, item);
        }
        writer.raw("},\"definitions\":{");
        for (name, schema) in &parts.schemas {
            writer.member(name, schema);
        }
        writer.raw("},");
        writer.member("securityDefinitions", &security().to_string());
        writer.member("security", r#"[{"BearerToken":[]}]"#);
        writer.raw("}");
        writer.finish()
    })
}

/// The same as protobuf.
pub(super) fn whole_as_protobuf(index: &Index<'_>, hash: &str) -> Document {
    cached(&format!("{hash} protobuf"), || {
        let parts = Parts::all(index);
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        // A vector takes everything.
        _ = out.write_all(&gnostic::document(&parts.paths, &parts.schemas));
        Document(out.finish().unwrap_or_default().into())
    })
}

fn security() -> Value {
    json!({
        "BearerToken": {
            "description": "Bearer Token authentication",
            "in": "header",
            "name": "authorization",
            "type": "apiKey",
        }
    })
}

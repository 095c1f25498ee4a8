//! Configuration files of the server, as their codecs read them: strictly, whichever of the versions they name
//! (`runtime.Decode` with `serializer.EnableStrict`, `k8s.io/apiserver/pkg/apis/apiserver/install`).

use serde_json::Value;

use super::table::types;
use super::{decode, go_quote, interpret, parse_api_version, yaml_to_json};
use crate::yaml;

/// Group of the configuration files.
const GROUP: &str = "apiserver.config.k8s.io";

/// What a file says it is, and what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigFile {
    /// Group and version, `apiserver.config.k8s.io/v1`.
    pub api_version: String,
    /// The kind: one of those of [`Scheme`].
    pub kind: String,
    /// The content as Go writes it: fields in order, those that are always there present.
    pub value: Value,
}

/// The types a codec knows.
#[derive(Debug, Clone, Copy)]
pub struct Scheme {
    /// Where it was made, as its errors say: `pkg/apis/apiserver/load/load.go:32`.
    pub name: &'static str,
    /// Versions of `apiserver.config.k8s.io`, with their kinds.
    pub versions: &'static [(&'static str, &'static [&'static str])],
}

/// Everything that `apiserver/install` registers of what is read here.
pub const INSTALLED: &[(&str, &[&str])] = &[
    (
        "v1",
        &[
            "AuthenticationConfiguration",
            "AuthorizationConfiguration",
            "EncryptionConfiguration",
        ],
    ),
    (
        "v1beta1",
        &["AuthenticationConfiguration", "AuthorizationConfiguration"],
    ),
    (
        "v1alpha1",
        &["AuthenticationConfiguration", "AuthorizationConfiguration"],
    ),
];

/// The first version only.
pub const V1: &[(&str, &[&str])] = &[(
    "v1",
    &[
        "AuthenticationConfiguration",
        "AuthorizationConfiguration",
        "EncryptionConfiguration",
    ],
)];

impl Scheme {
    /// Reads a file.
    ///
    /// # Errors
    /// The text of the codec.
    pub fn read(&self, data: &[u8]) -> Result<ConfigFile, String> {
        let missing = |what: &str| {
            let data = String::from_utf8_lossy(data);
            format!("Object '{what}' is missing in '{data}'")
        };
        let (converted, mut strict) = if yaml::looks_like_json(data) {
            (data.to_vec(), Vec::new())
        } else {
            yaml_to_json(data)?
        };
        let (api_version, kind) = interpret(&converted)?;
        let (group, version) = parse_api_version(&api_version)?;
        if kind.is_empty() {
            return Err(missing("Kind"));
        }
        if version.is_empty() {
            return Err(missing("apiVersion"));
        }
        // It was documented under that name once.
        let known = if (group, version, kind.as_str()) == ("", "v1", "EncryptionConfig") {
            "EncryptionConfiguration"
        } else {
            kind.as_str()
        };
        let is_known = known != kind
            || group == GROUP
                && self
                    .versions
                    .iter()
                    .any(|(one, kinds)| *one == version && kinds.contains(&known));
        let id = types().kind(GROUP, "v1", known).filter(|_| is_known);
        let Some(id) = id else {
            return Err(format!(
                "no kind {} is registered for version {} in scheme {}",
                go_quote(&kind),
                go_quote(&api_version),
                go_quote(self.name)
            ));
        };
        let (value, more) = decode::decode(&converted, id, true)?;
        strict.extend(more);
        if !strict.is_empty() {
            return Err(format!("strict decoding error: {}", strict.join(", ")));
        }
        Ok(ConfigFile {
            kind: known.to_owned(),
            value,
            api_version,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{INSTALLED, Scheme};

    const SCHEME: Scheme = Scheme {
        name: "here.go:1",
        versions: INSTALLED,
    };

    #[test]
    fn a_file_is_read_strictly() {
        let read = |text: &str| SCHEME.read(text.as_bytes());
        let file = read("apiVersion: apiserver.config.k8s.io/v1beta1\nkind: AuthenticationConfiguration\nanonymous: {enabled: true}\n").unwrap();
        assert_eq!(file.kind, "AuthenticationConfiguration");
        assert_eq!(file.value["anonymous"]["enabled"], true);
        for (text, want) in [
            ("a: 1\n", "Object 'Kind' is missing in 'a: 1\n'"),
            ("kind: X\n", "Object 'apiVersion' is missing in 'kind: X\n'"),
            (
                "kind: X\napiVersion: v1\n",
                "no kind \"X\" is registered for version \"v1\" in scheme \"here.go:1\"",
            ),
            (
                "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1beta1\n",
                "no kind \"EncryptionConfiguration\" is registered for version \"apiserver.config.k8s.io/v1beta1\" in scheme \"here.go:1\"",
            ),
            (
                "kind: AuthenticationConfiguration\napiVersion: apiserver.config.k8s.io/v1\njwts: []\nanonymous: {enable: true}\n",
                "strict decoding error: unknown field \"anonymous.enable\", unknown field \"jwts\"",
            ),
            (
                "kind: AuthenticationConfiguration\napiVersion: apiserver.config.k8s.io/v1\nanonymous: {enabled: \"yes\"}\n",
                "json: cannot unmarshal string into Go struct field AnonymousAuthConfig.anonymous.enabled of type bool",
            ),
            (
                "kind: AuthorizationConfiguration\napiVersion: apiserver.config.k8s.io/v1\nauthorizers: [{webhook: {timeout: 3}}]\n",
                "json: cannot unmarshal number into Go struct field WebhookConfiguration.authorizers.webhook.timeout of type string",
            ),
            (
                "kind: AuthorizationConfiguration\napiVersion: apiserver.config.k8s.io/v1\nauthorizers: [{webhook: {timeout: 3x}}]\n",
                "time: unknown unit \"x\" in duration \"3x\"",
            ),
        ] {
            assert_eq!(read(text), Err(want.to_owned()), "{text}");
        }
    }
}

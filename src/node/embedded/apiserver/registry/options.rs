//! Options of requests: query parameters and DeleteOptions, read and checked
//! (`k8s.io/apimachinery/pkg/apis/meta/{v1,internalversion}/validation`).

use serde_json::{Value, json};

use super::bad_request;
use crate::node::embedded::apiserver::kinds::field::Reason;
use crate::node::embedded::apiserver::kinds::{FieldError, invalid_status};
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::selector::{Selection, fields, labels};
use crate::node::embedded::apiserver::status::Status;

use super::target::Target;

/// Options of lists, watches and deletecollection.
#[derive(Debug, Clone, Default)]
pub(super) struct ListOptions {
    pub(super) selection: Selection,
    pub(super) watch: bool,
    pub(super) resource_version: String,
    pub(super) version_match: String,
    pub(super) limit: usize,
    pub(super) continue_token: String,
    pub(super) timeout_seconds: Option<i64>,
    pub(super) bookmarks: bool,
    pub(super) send_initial_events: Option<bool>,
}

impl ListOptions {
    /// Reads and checks the parameters of a list or watch.
    pub(super) fn read(target: &Target, request: &ApiRequest, watch: bool) -> Result<Self, Status> {
        let labels = labels::Selector::parse(request.param("labelSelector").unwrap_or(""))
            .map_err(|error| bad_request(error.to_string()))?;
        let fields = fields::Selector::parse(request.param("fieldSelector").unwrap_or(""))
            .map_err(|error| bad_request(error.to_string()))?;
        let options = Self {
            selection: Selection { labels, fields },
            watch,
            resource_version: request.param("resourceVersion").unwrap_or("").to_owned(),
            version_match: request
                .param("resourceVersionMatch")
                .unwrap_or("")
                .to_owned(),
            limit: integer(request, "limit")?
                .and_then(|limit| usize::try_from(limit).ok())
                .unwrap_or(0),
            continue_token: request.param("continue").unwrap_or("").to_owned(),
            timeout_seconds: integer(request, "timeoutSeconds")?,
            bookmarks: boolean(request, "allowWatchBookmarks").unwrap_or(false),
            send_initial_events: boolean(request, "sendInitialEvents"),
        };
        let errors = options.check();
        if !errors.is_empty() {
            return Err(invalid_status("meta.k8s.io", "ListOptions", "", &errors));
        }
        options
            .selection
            .fields
            .check(&target.resource, target.custom.as_ref())
            .map_err(|error| bad_request(error.to_string()))?;
        Ok(options)
    }

    fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let path = "resourceVersionMatch";
        let given = self.version_match.as_str();
        let value = json!(given);
        if self.watch {
            if !given.is_empty() {
                if self.send_initial_events.is_none() {
                    errors.push(FieldError::forbidden(
                        path,
                        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                    ));
                }
                if given != "NotOlderThan" {
                    errors.push(FieldError::not_supported(path, &value, &["NotOlderThan"]));
                }
                if !self.continue_token.is_empty() {
                    errors.push(FieldError::forbidden(
                        path,
                        "resourceVersionMatch is forbidden when continue is provided",
                    ));
                }
            }
            if self.send_initial_events.is_some() && given != "NotOlderThan" {
                errors.push(FieldError::forbidden(
                    path,
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                ));
            }
            return errors;
        }
        if !given.is_empty() {
            if self.resource_version.is_empty() {
                errors.push(FieldError::forbidden(
                    path,
                    "resourceVersionMatch is forbidden unless resourceVersion is provided",
                ));
            }
            if !self.continue_token.is_empty() {
                errors.push(FieldError::forbidden(
                    path,
                    "resourceVersionMatch is forbidden when continue is provided",
                ));
            }
            if given != "Exact" && given != "NotOlderThan" {
                errors.push(FieldError::not_supported(
                    path,
                    &value,
                    &["Exact", "NotOlderThan", ""],
                ));
            }
            if given == "Exact" && self.resource_version == "0" {
                errors.push(FieldError::forbidden(
                    path,
                    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
                ));
            }
        }
        if self.send_initial_events.is_some() {
            errors.push(FieldError::forbidden(
                "sendInitialEvents",
                "sendInitialEvents is forbidden for list",
            ));
        }
        errors
    }
}

/// An integer parameter, as Go's conversion reads it.
pub(super) fn integer(request: &ApiRequest, name: &str) -> Result<Option<i64>, Status> {
    match request.param(name) {
        None | Some("") => Ok(None),
        Some(text) => text.parse::<i64>().map(Some).map_err(|_| {
            let digits = text.trim_start_matches(['-', '+']);
            let range = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            let why = if range {
                "value out of range"
            } else {
                "invalid syntax"
            };
            bad_request(format!("strconv.ParseInt: parsing {text:?}: {why}"))
        }),
    }
}

/// A boolean parameter: anything but `false` and `0` is true.
fn boolean(request: &ApiRequest, name: &str) -> Option<bool> {
    request
        .param(name)
        .map(|text| !(text == "0" || text.eq_ignore_ascii_case("false")))
}

/// A resource version of a parameter.
pub(super) fn version(text: &str) -> Result<u64, Status> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse::<u64>().map_err(|_| {
        bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    })
}

/// Options of writes.
#[derive(Debug, Clone, Default)]
pub(in crate::node::embedded::apiserver) struct WriteOptions {
    pub(in crate::node::embedded::apiserver) dry_run: bool,
    pub(in crate::node::embedded::apiserver) field_manager: String,
    pub(in crate::node::embedded::apiserver) field_validation: String,
    pub(in crate::node::embedded::apiserver) force: Option<bool>,
}

impl WriteOptions {
    /// Reads and checks CreateOptions, UpdateOptions or PatchOptions (`kind`).
    pub(in crate::node::embedded::apiserver) fn read(
        request: &ApiRequest,
        kind: &str,
        apply: bool,
    ) -> Result<Self, Status> {
        let dry_run: Vec<&str> = request
            .query
            .iter()
            .filter(|(key, _)| key == "dryRun")
            .map(|(_, value)| value.as_str())
            .collect();
        let options = Self {
            dry_run: !dry_run.is_empty(),
            field_manager: request.param("fieldManager").unwrap_or("").to_owned(),
            field_validation: request.param("fieldValidation").unwrap_or("").to_owned(),
            force: boolean(request, "force"),
        };
        let mut errors = Vec::new();
        if kind == "PatchOptions" {
            if apply {
                if options.field_manager.is_empty() {
                    errors.push(FieldError::required(
                        "fieldManager",
                        "is required for apply patch",
                    ));
                }
            } else if options.force.is_some() {
                errors.push(FieldError::forbidden(
                    "force",
                    "may not be specified for non-apply patch",
                ));
            }
        }
        check_manager(&options.field_manager, &mut errors);
        check_dry_run(&dry_run, &mut errors);
        check_validation(&options.field_validation, &mut errors);
        if errors.is_empty() {
            Ok(options)
        } else {
            Err(invalid_status("meta.k8s.io", kind, "", &errors))
        }
    }

    /// The field manager: as given, or the client's program name.
    pub(in crate::node::embedded::apiserver) fn manager(&self, request: &ApiRequest) -> String {
        if !self.field_manager.is_empty() {
            return self.field_manager.clone();
        }
        let agent = request.header("user-agent").unwrap_or("");
        let program = agent.split('/').next().unwrap_or("");
        let mut out = String::new();
        for c in program.chars() {
            if out.len() + c.len_utf8() > 128 {
                break;
            }
            if c.is_control() {
                continue;
            }
            out.push(c);
        }
        out
    }
}

fn check_manager(manager: &str, errors: &mut Vec<FieldError>) {
    if manager.len() > 128 {
        errors.push(FieldError::too_long("fieldManager", 128));
    }
    for (index, c) in manager.char_indices() {
        if c.is_control() {
            errors.push(FieldError::invalid(
                "fieldManager",
                &json!(manager),
                format!("invalid character U+{:04X} (at position {index})", c as u32),
            ));
        }
    }
}

fn check_dry_run(values: &[&str], errors: &mut Vec<FieldError>) {
    if !values.is_empty() && values.iter().any(|value| *value != "All") {
        errors.push(FieldError::not_supported(
            "dryRun",
            &json!(values),
            &["All"],
        ));
    }
}

fn check_validation(value: &str, errors: &mut Vec<FieldError>) {
    if !matches!(value, "" | "Ignore" | "Warn" | "Strict") {
        errors.push(FieldError::not_supported(
            "fieldValidation",
            &json!(value),
            &["", "Ignore", "Strict", "Warn"],
        ));
    }
}

/// DeleteOptions, from the body or the query.
#[derive(Debug, Clone, Default)]
pub(super) struct DeleteOptions {
    pub(super) grace_period: Option<i64>,
    pub(super) precondition_uid: Option<String>,
    pub(super) precondition_version: Option<String>,
    pub(super) orphan_dependents: Option<bool>,
    pub(super) propagation: Option<String>,
    pub(super) dry_run: bool,
    /// The options as an object, for the hooks of kinds.
    pub(super) object: Value,
}

impl DeleteOptions {
    /// Options from the query, when there is no body.
    pub(super) fn from_query(request: &ApiRequest) -> Result<Self, Status> {
        let dry_run: Vec<&str> = request
            .query
            .iter()
            .filter(|(key, _)| key == "dryRun")
            .map(|(_, value)| value.as_str())
            .collect();
        let mut options = json!({});
        if let Some(map) = options.as_object_mut() {
            if let Some(grace) = integer(request, "gracePeriodSeconds")? {
                map.insert("gracePeriodSeconds".into(), grace.into());
            }
            if let Some(orphan) = boolean(request, "orphanDependents") {
                map.insert("orphanDependents".into(), orphan.into());
            }
            if let Some(policy) = request.param("propagationPolicy") {
                map.insert("propagationPolicy".into(), policy.into());
            }
            if !dry_run.is_empty() {
                map.insert("dryRun".into(), json!(dry_run));
            }
        }
        Self::from_object(options)
    }

    /// Reads and checks a decoded DeleteOptions.
    pub(super) fn from_object(object: Value) -> Result<Self, Status> {
        let dry_run: Vec<&str> = object
            .get("dryRun")
            .and_then(Value::as_array)
            .map(|list| list.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let mut errors = Vec::new();
        let orphan = object.get("orphanDependents").and_then(Value::as_bool);
        let propagation = text("/propagationPolicy");
        if let Some(policy) = &propagation
            && orphan.is_some()
        {
            errors.push(FieldError::new(
                Reason::Invalid,
                "propagationPolicy",
                &json!(policy),
                "orphanDependents and deletionPropagation cannot be both set",
            ));
        }
        if let Some(policy) = &propagation
            && !matches!(policy.as_str(), "Foreground" | "Background" | "Orphan")
        {
            errors.push(FieldError::not_supported(
                "propagationPolicy",
                &json!(policy),
                &["Foreground", "Background", "Orphan", "nil"],
            ));
        }
        check_dry_run(&dry_run, &mut errors);
        if !errors.is_empty() {
            return Err(invalid_status("meta.k8s.io", "DeleteOptions", "", &errors));
        }
        Ok(Self {
            grace_period: object.get("gracePeriodSeconds").and_then(Value::as_i64),
            precondition_uid: text("/preconditions/uid"),
            precondition_version: text("/preconditions/resourceVersion"),
            orphan_dependents: orphan,
            propagation,
            dry_run: !dry_run.is_empty(),
            object,
        })
    }
}

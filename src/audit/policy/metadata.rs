//! The `metadata` of a policy: nothing uses it, but its types are checked
//! (`k8s.io/apimachinery/pkg/apis/meta/v1/types.go`).

use super::decode::{Decoded, Decoder, Stop};
use crate::yaml::go::quote;
use crate::yaml::tree::{Id, Node};

/// The fields of `ObjectMeta`.
pub(super) const FIELDS: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

pub(super) fn decode(decoder: &mut Decoder<'_>, id: Id) -> Decoded {
    decoder.structure(id, "ObjectMeta", "v1.ObjectMeta", &FIELDS, field)
}

/// Decodes the field of `ObjectMeta` at an index of [`FIELDS`].
pub(super) fn field(decoder: &mut Decoder<'_>, at: usize, id: Id) -> Decoded {
    let ignored = &mut String::new();
    match FIELDS.get(at).copied() {
        Some("uid") => decoder.text(id, "types.UID", ignored),
        Some("generation" | "deletionGracePeriodSeconds") => decoder.integer(id),
        Some("creationTimestamp" | "deletionTimestamp") => time(decoder, id),
        Some("labels" | "annotations") => decoder.text_map(id),
        Some("ownerReferences") => owner_references(decoder, id),
        Some("finalizers") => decoder.texts(id, &mut Vec::new()),
        Some("managedFields") => managed_fields(decoder, id),
        _ => decoder.text(id, "string", ignored),
    }
}

fn owner_references(decoder: &mut Decoder<'_>, id: Id) -> Decoded {
    const FIELDS: [&str; 6] = [
        "apiVersion",
        "kind",
        "name",
        "uid",
        "controller",
        "blockOwnerDeletion",
    ];
    decoder.slice(
        id,
        "[]v1.OwnerReference",
        &mut Vec::<()>::new(),
        |decoder, id, ()| {
            decoder.structure(
                id,
                "OwnerReference",
                "v1.OwnerReference",
                &FIELDS,
                |decoder, at, id| match at {
                    3 => decoder.text(id, "types.UID", &mut String::new()),
                    4 | 5 => {
                        decoder.boolean(id);
                        Ok(())
                    }
                    _ => decoder.text(id, "string", &mut String::new()),
                },
            )
        },
    )
}

fn managed_fields(decoder: &mut Decoder<'_>, id: Id) -> Decoded {
    const FIELDS: [&str; 7] = [
        "manager",
        "operation",
        "apiVersion",
        "time",
        "fieldsType",
        "fieldsV1",
        "subresource",
    ];
    decoder.slice(
        id,
        "[]v1.ManagedFieldsEntry",
        &mut Vec::<()>::new(),
        |decoder, id, ()| {
            decoder.structure(
                id,
                "ManagedFieldsEntry",
                "v1.ManagedFieldsEntry",
                &FIELDS,
                |decoder, at, id| match at {
                    1 => decoder.text(id, "v1.ManagedFieldsOperationType", &mut String::new()),
                    3 => time(decoder, id),
                    // Kept raw, whatever it is.
                    5 => Ok(()),
                    _ => decoder.text(id, "string", &mut String::new()),
                },
            )
        },
    )
}

/// `metav1.Time` decodes itself: its error ends the decoding.
fn time(decoder: &mut Decoder<'_>, id: Id) -> Decoded {
    match decoder.tree.node(id) {
        Node::Null => Ok(()),
        Node::Text(text) => {
            let span = decoder.tree.place(id);
            check_rfc3339(text).map_err(|text| Stop(text, span))
        }
        node => {
            let text = decoder.type_error(node.kind(), "string");
            Err(Stop(text, decoder.tree.place(id)))
        }
    }
}

/// `time.Parse(time.RFC3339, text)`.
fn check_rfc3339(text: &str) -> Result<(), String> {
    const LAYOUT: &str = "2006-01-02T15:04:05Z07:00";
    let failed = |rest: &str, part: &str| {
        let (text, rest, part) = (quote(text), quote(rest), quote(part));
        format!(
            "parsing time {text} as {}: cannot parse {rest} as {part}",
            quote(LAYOUT)
        )
    };
    let out_of_range = |what: &str| format!("parsing time {}: {what} out of range", quote(text));
    let mut rest = text;
    let mut month = 0;
    let mut year = 0;
    let parts: [(&str, usize, &str, u32, u32, &str); 6] = [
        ("2006", 4, "-", 0, 9999, "year"),
        ("01", 2, "-", 1, 12, "month"),
        ("02", 2, "T", 1, 31, "day"),
        ("15", 2, ":", 0, 23, "hour"),
        ("04", 2, ":", 0, 59, "minute"),
        ("05", 2, "", 0, 59, "second"),
    ];
    for (part, width, separator, low, high, name) in parts {
        let digits = rest
            .get(..width)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let Some(value) = digits.and_then(|digits| digits.parse::<u32>().ok()) else {
            return Err(failed(rest, part));
        };
        if !(low..=high).contains(&value) {
            return Err(out_of_range(name));
        }
        match name {
            "year" => year = value,
            "month" => month = value,
            "day" if value > days(year, month) => return Err(out_of_range("day")),
            _ => {}
        }
        rest = rest.get(width..).unwrap_or_default();
        match rest.strip_prefix(separator) {
            Some(tail) => rest = tail,
            None => return Err(failed(rest, separator)),
        }
    }
    if let Some(fraction) = rest.strip_prefix(['.', ',']) {
        let tail = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        if tail.len() < fraction.len() {
            rest = tail;
        }
    }
    if let Some(extra) = rest.strip_prefix('Z') {
        if extra.is_empty() {
            return Ok(());
        }
        let (text, extra) = (quote(text), quote(extra));
        return Err(format!("parsing time {text}: extra text: {extra}"));
    }
    let zone = rest.as_bytes();
    match zone {
        [b'+' | b'-', a, b, b':', c, d] if [a, b, c, d].iter().all(|b| b.is_ascii_digit()) => {
            Ok(())
        }
        _ => Err(failed(rest, "Z07:00")),
    }
}

fn days(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

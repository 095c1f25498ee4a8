//! The document of version 2 as protobuf (`openapi.v2.Document` of gnostic): what kubectl asks for before it patches a custom
//! resource, and old versions of it always.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What clients put in `Accept`.
pub(super) const ACCEPT: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// What the answer says: without the `@`, which is not allowed there.
pub(super) const CONTENT_TYPE: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// A message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push((value & 0x7f) as u8);
    }

    fn bytes(&mut self, number: u64, bytes: &[u8]) {
        self.varint(number << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Text; left out when empty, as proto3 does.
    fn text(&mut self, number: u64, text: &str) {
        if !text.is_empty() {
            self.bytes(number, text.as_bytes());
        }
    }

    fn flag(&mut self, number: u64, flag: bool) {
        if flag {
            self.varint(number << 3);
            self.varint(1);
        }
    }

    fn number(&mut self, number: u64, value: i64) {
        self.varint(number << 3);
        self.varint(u64::from_le_bytes(value.to_le_bytes()));
    }

    fn double(&mut self, number: u64, value: f64) {
        self.varint(number << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn message(&mut self, number: u64, message: &Message) {
        self.bytes(number, &message.0);
    }

    /// `Any`, whose content is YAML; JSON is YAML too.
    fn any(&mut self, number: u64, value: &Value) {
        let mut any = Message::default();
        any.text(2, &format!("{value}\n"));
        self.message(number, &any);
    }

    /// An entry of a list that stands for a map.
    fn named(&mut self, number: u64, name: &str, value: &Message) {
        let mut entry = Message::default();
        entry.text(1, name);
        entry.message(2, value);
        self.message(number, &entry);
    }

    fn extensions(&mut self, number: u64, members: &Map<String, Value>) {
        for (name, value) in members.iter().filter(|(name, _)| name.starts_with("x-")) {
            let mut entry = Message::default();
            entry.text(1, name);
            entry.any(2, value);
            self.message(number, &entry);
        }
    }
}

/// The document of these paths and definitions (JSON texts).
pub(super) fn document(
    paths: &BTreeMap<String, String>,
    definitions: &BTreeMap<String, String>,
) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, "2.0");
    let mut info = Message::default();
    info.text(1, "Kubernetes");
    info.text(2, "1.36");
    out.message(2, &info);
    let parse = |text: &String| serde_json::from_str::<Value>(text).unwrap_or_default();
    let mut all = Message::default();
    for (path, item) in paths {
        all.named(2, path, &path_item(&parse(item)));
    }
    out.message(8, &all);
    let mut all = Message::default();
    for (name, definition) in definitions {
        all.named(1, name, &schema(&parse(definition)));
    }
    out.message(9, &all);
    let mut requirement = Message::default();
    requirement.named(1, "BearerToken", &Message::default());
    out.message(12, &requirement);
    let mut key = Message::default();
    key.text(1, "apiKey");
    key.text(2, "authorization");
    key.text(3, "header");
    key.text(4, "Bearer Token authentication");
    let mut item = Message::default();
    item.message(2, &key);
    let mut all = Message::default();
    all.named(1, "BearerToken", &item);
    out.message(13, &all);
    out.0
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn texts<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a str> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn is_true(value: &Value, name: &str) -> bool {
    value.get(name) == Some(&Value::Bool(true))
}

fn schema(value: &Value) -> Message {
    let mut out = Message::default();
    let Some(members) = value.as_object() else {
        return out;
    };
    for (number, name) in [(1, "$ref"), (2, "format"), (3, "title"), (4, "description")] {
        out.text(number, text(value, name));
    }
    if let Some(default) = members.get("default") {
        out.any(5, default);
    }
    for (number, name) in [(6, "multipleOf"), (7, "maximum"), (9, "minimum")] {
        if let Some(limit) = members.get(name).and_then(Value::as_f64) {
            out.double(number, limit);
        }
    }
    out.flag(8, is_true(value, "exclusiveMaximum"));
    out.flag(10, is_true(value, "exclusiveMinimum"));
    for (number, name) in [
        (11, "maxLength"),
        (12, "minLength"),
        (14, "maxItems"),
        (15, "minItems"),
        (17, "maxProperties"),
        (18, "minProperties"),
    ] {
        if let Some(limit) = members.get(name).and_then(Value::as_i64) {
            out.number(number, limit);
        }
    }
    out.text(13, text(value, "pattern"));
    out.flag(16, is_true(value, "uniqueItems"));
    for name in texts(value, "required") {
        out.text(19, name);
    }
    for one in members
        .get("enum")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        out.any(20, one);
    }
    match members.get("additionalProperties") {
        Some(Value::Bool(allowed)) => {
            let mut item = Message::default();
            item.varint(2 << 3);
            item.varint(u64::from(*allowed));
            out.message(21, &item);
        }
        Some(inner) => {
            let mut item = Message::default();
            item.message(1, &schema(inner));
            out.message(21, &item);
        }
        None => {}
    }
    if let Some(kind) = members.get("type").and_then(Value::as_str) {
        let mut item = Message::default();
        item.text(1, kind);
        out.message(22, &item);
    }
    if let Some(items) = members.get("items") {
        let mut item = Message::default();
        item.message(1, &schema(items));
        out.message(23, &item);
    }
    for part in members
        .get("allOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        out.message(24, &schema(part));
    }
    if let Some(properties) = members.get("properties").and_then(Value::as_object) {
        let mut all = Message::default();
        for (name, property) in properties {
            all.named(1, name, &schema(property));
        }
        out.message(25, &all);
    }
    out.extensions(31, members);
    out
}

fn path_item(value: &Value) -> Message {
    let mut out = Message::default();
    for (number, method) in [
        (2, "get"),
        (3, "put"),
        (4, "post"),
        (5, "delete"),
        (6, "options"),
        (7, "head"),
        (8, "patch"),
    ] {
        if let Some(found) = value.get(method) {
            out.message(number, &operation(found));
        }
    }
    for found in value
        .get("parameters")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        out.message(9, &parameter(found));
    }
    out
}

fn operation(value: &Value) -> Message {
    let mut out = Message::default();
    for tag in texts(value, "tags") {
        out.text(1, tag);
    }
    out.text(3, text(value, "description"));
    out.text(5, text(value, "operationId"));
    for media in texts(value, "produces") {
        out.text(6, media);
    }
    for media in texts(value, "consumes") {
        out.text(7, media);
    }
    for found in value
        .get("parameters")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        out.message(8, &parameter(found));
    }
    let mut responses = Message::default();
    for (code, found) in value
        .get("responses")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let mut response = Message::default();
        response.text(1, text(found, "description"));
        if let Some(answer) = found.get("schema") {
            let mut item = Message::default();
            item.message(1, &schema(answer));
            response.message(2, &item);
        }
        let mut either = Message::default();
        either.message(1, &response);
        responses.named(1, code, &either);
    }
    out.message(9, &responses);
    for scheme in texts(value, "schemes") {
        out.text(10, scheme);
    }
    if let Some(members) = value.as_object() {
        out.extensions(13, members);
    }
    out
}

fn parameter(value: &Value) -> Message {
    let place = text(value, "in");
    let mut inner = Message::default();
    let mut either = Message::default();
    if place == "body" {
        inner.text(1, text(value, "description"));
        inner.text(2, text(value, "name"));
        inner.text(3, place);
        inner.flag(4, is_true(value, "required"));
        if let Some(body) = value.get("schema") {
            inner.message(5, &schema(body));
        }
        either.message(1, &inner);
    } else {
        let query = place == "query";
        inner.flag(1, is_true(value, "required"));
        inner.text(2, place);
        inner.text(3, text(value, "description"));
        inner.text(4, text(value, "name"));
        inner.text(if query { 6 } else { 5 }, text(value, "type"));
        inner.flag(if query { 20 } else { 19 }, is_true(value, "uniqueItems"));
        let mut kind = Message::default();
        kind.message(if query { 3 } else { 4 }, &inner);
        either.message(2, &kind);
    }
    let mut out = Message::default();
    out.message(1, &either);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_are_those_of_the_proto_file() {
        let property = json!({ "$ref": "#/x", "description": "d" });
        assert_eq!(schema(&property).0, b"\x0a\x03#/x\x22\x01d");
        let list = json!({ "type": "array", "items": { "type": "string" }, "x-kubernetes-list-type": "set" });
        let mut expected =
            b"\xb2\x01\x07\x0a\x05array\xba\x01\x0d\x0a\x0b\xb2\x01\x08\x0a\x06string".to_vec();
        expected.extend(b"\xfa\x01\x22\x0a\x16x-kubernetes-list-type\x12\x08\x12\x06\"set\"\n");
        assert_eq!(schema(&list).0, expected);
        let query = json!({ "in": "query", "name": "q", "type": "string" });
        assert_eq!(
            parameter(&query).0,
            b"\x0a\x16\x12\x14\x1a\x12\x12\x05query\x22\x01q\x32\x06string"
        );
    }
}

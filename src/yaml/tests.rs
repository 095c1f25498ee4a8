use super::*;

fn json(text: &str) -> String {
    match to_json(text.as_bytes()) {
        Ok(document) => document.value.to_string(),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn scalars_are_those_of_yaml_1_1() {
    for (text, expected) in [
        ("yes", "true"),
        ("on", "true"),
        ("y", "true"),
        ("No", "false"),
        ("oFF", "\"oFF\""),
        ("0644", "420"),
        ("0o14", "12"),
        ("0x1F", "31"),
        ("0b11", "3"),
        ("-0b11", "-3"),
        ("1_000", "1000"),
        ("1e3", "1000"),
        ("08", "8"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("+12", "12"),
        ("18446744073709551615", "18446744073709551615"),
        ("190:20:30", "\"190:20:30\""),
        ("2001-12-14", "\"2001-12-14\""),
        (
            "2001-12-14t21:59:43.10-05:00",
            "\"2001-12-14t21:59:43.10-05:00\"",
        ),
        ("~", "null"),
        ("''", "\"\""),
        ("'yes'", "\"yes\""),
        ("!!str yes", "\"yes\""),
        ("!!float 3", "3"),
        ("! 5", "\"5\""),
        ("!mine 5", "\"5\""),
        ("!!binary aGVsbG8=", "\"hello\""),
        (
            "!!int foo",
            "error: yaml: cannot decode !!str `foo` as a !!int",
        ),
        (".inf", "error: json: unsupported value: +Inf"),
        (".nan", "error: json: unsupported value: NaN"),
        ("", "null"),
    ] {
        assert_eq!(json(text), expected, "{text}");
    }
}

#[test]
fn keys_become_strings() {
    assert_eq!(
        json("1: a\ntrue: b\n1.5: c\n"),
        r#"{"1":"a","1.5":"c","true":"b"}"#
    );
    assert_eq!(
        json("~: a\n"),
        "error: unsupported map key of type: %!s(<nil>), key: <nil>, value: \"a\""
    );
    assert_eq!(
        json("? [a, 1]\n: b\n"),
        "error: yaml: invalid map key: []interface {}{\"a\", 1}"
    );
}

#[test]
fn merges_and_aliases_expand() {
    assert_eq!(
        json("a: &a {x: 1, w: 2}\nb: {<<: *a, w: 3}\n"),
        r#"{"a":{"w":2,"x":1},"b":{"w":3,"x":1}}"#
    );
    assert_eq!(
        json("a: &a {x: 1}\nb: &b {x: 2, z: 3}\nc: {<<: [*a, *b]}\n"),
        r#"{"a":{"x":1},"b":{"x":2,"z":3},"c":{"x":1,"z":3}}"#
    );
    assert_eq!(
        json("a: {<<: 1}\n"),
        "error: yaml: map merge requires map or sequence of maps as the value"
    );
}

#[test]
fn only_the_first_document_is_read() {
    assert_eq!(json("a: 1\n---\nb: : :\n"), r#"{"a":1}"#);
    assert_eq!(json("---\n---\na: 1\n"), "null");
}

#[test]
fn block_scalars_chomp() {
    assert_eq!(
        json("a: |\n  x\n  y\n\nb: >-\n  x\n  y\n"),
        r#"{"a":"x\ny\n","b":"x y"}"#
    );
    assert_eq!(json("a: |+\n  x\n\n"), r#"{"a":"x\n\n"}"#);
    assert_eq!(json("a: |2\n   x\n"), r#"{"a":" x\n"}"#);
}

#[test]
fn json_like_content_is_recognised() {
    for text in ["{", " \n\t{}", "\u{a0}{", "\u{2003}{}"] {
        assert!(looks_like_json(text.as_bytes()), "{text:?}");
    }
    for text in ["", " [", "\u{feff}{}", "a{"] {
        assert!(!looks_like_json(text.as_bytes()), "{text:?}");
    }
}

#[test]
fn a_place_is_known() {
    let document = to_json(b"a:\n- b: 1\n  c: 2\n").unwrap();
    assert_eq!(document.span("a[0].c"), Some(Span { line: 3, column: 6 }));
}

//! Comma separated values as Go's `encoding/csv` reads and writes them, one record.

/// The first record of `text`; nothing for empty text.
///
/// # Errors
/// Go's text.
pub fn read(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let normal = text.replace("\r\n", "\n");
    let skipped = normal.len() - normal.trim_start_matches('\n').len();
    let record = normal.get(skipped..).unwrap_or_default();
    if record.is_empty() {
        return Err("EOF".to_owned());
    }
    let first_line = skipped + 1;
    let mut line = first_line;
    let mut column = 0;
    let error = |line: usize, column: usize, what: &str| {
        let place = format!("parse error on line {line}, column {column}: {what}");
        if line == first_line {
            place
        } else {
            format!("record on line {first_line}; {place}")
        }
    };
    let mut out = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut start = true;
    let mut chars = record.chars().peekable();
    while let Some(c) = chars.next() {
        // In bytes, counted from one.
        let here = column + 1;
        column += c.len_utf8();
        match c {
            '"' if start && !quoted => quoted = true,
            '"' if quoted => match chars.peek() {
                Some('"') => {
                    chars.next();
                    column += 1;
                    field.push('"');
                }
                Some(',' | '\n') | None => quoted = false,
                Some(_) => {
                    return Err(error(
                        line,
                        here,
                        "extraneous or missing \" in quoted-field",
                    ));
                }
            },
            '"' => return Err(error(line, here, "bare \" in non-quoted-field")),
            ',' if !quoted => {
                out.push(std::mem::take(&mut field));
                start = true;
                continue;
            }
            '\n' if !quoted => {
                out.push(field);
                return Ok(out);
            }
            '\n' => {
                field.push('\n');
                line += 1;
                column = 0;
            }
            c => field.push(c),
        }
        start = false;
    }
    if quoted {
        return Err(error(
            line,
            column + 1,
            "extraneous or missing \" in quoted-field",
        ));
    }
    out.push(field);
    Ok(out)
}

/// One record.
#[must_use]
pub fn write(items: &[String]) -> String {
    let fields: Vec<String> = items
        .iter()
        .map(|item| {
            let quotes = item == "\\."
                || item.contains([',', '"', '\r', '\n'])
                || item.starts_with(char::is_whitespace);
            if quotes {
                format!("\"{}\"", item.replace('"', "\"\""))
            } else {
                item.clone()
            }
        })
        .collect();
    fields.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_go_reads_them() {
        let ok = |text: &str| read(text).unwrap();
        assert_eq!(ok("a,b"), ["a", "b"]);
        assert_eq!(ok("a,"), ["a", ""]);
        assert_eq!(ok("\"a,b\",c"), ["a,b", "c"]);
        assert_eq!(ok("\"a\"\"b\""), ["a\"b"]);
        assert_eq!(ok("a\nb"), ["a"]);
        assert_eq!(ok("\na"), ["a"]);
        assert_eq!(ok("\"a\nb\""), ["a\nb"]);
        let error = |text: &str| read(text).unwrap_err();
        assert_eq!(error("\n"), "EOF");
        assert_eq!(
            error("a\"b"),
            "parse error on line 1, column 2: bare \" in non-quoted-field"
        );
        assert_eq!(
            error("\"abc"),
            "parse error on line 1, column 5: extraneous or missing \" in quoted-field"
        );
        assert_eq!(
            error("\"a\"b"),
            "parse error on line 1, column 3: extraneous or missing \" in quoted-field"
        );
    }

    #[test]
    fn fields_that_need_quotes_get_them() {
        let items = ["a", "b,c", " d", "e\"f"].map(str::to_owned);
        assert_eq!(write(&items), "a,\"b,c\",\" d\",\"e\"\"f\"");
    }
}

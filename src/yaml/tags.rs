//! Scanning of directives, anchors, aliases and tags.

use super::scanner::{Scan, Scanner};
use super::token::{Kind, Mark};

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Scanner<'_> {
    pub(super) fn scan_directive(&mut self) -> Scan<()> {
        let start = self.mark;
        self.skip();
        let name = self.directive_name(start)?;
        let kind = match name.as_slice() {
            b"YAML" => {
                self.skip_blanks()?;
                let major = self.version_number(start)?;
                if self.byte(0) != b'.' {
                    return self.fault("did not find expected digit or '.' character", start);
                }
                self.skip();
                let minor = self.version_number(start)?;
                Kind::VersionDirective { major, minor }
            }
            b"TAG" => self.tag_directive(start)?,
            _ => return self.fault("found unknown directive name", start),
        };
        self.push(kind, start);
        self.skip_blanks()?;
        self.skip_comment()?;
        if !self.is_break_or_end(0) {
            return self.fault("did not find expected comment or line break", start);
        }
        if self.is_break(0) {
            self.cache(2)?;
            self.skip_line();
        }
        Ok(())
    }

    fn directive_name(&mut self, start: Mark) -> Scan<Vec<u8>> {
        let name = self.word()?;
        if name.is_empty() {
            return self.fault("could not find expected directive name", start);
        }
        if !self.is_blank_or_end(0) {
            return self.fault("found unexpected non-alphabetical character", start);
        }
        Ok(name)
    }

    fn word(&mut self) -> Scan<Vec<u8>> {
        let mut word = Vec::new();
        self.cache(1)?;
        while self.is_alpha(0) {
            self.read(&mut word);
            self.cache(1)?;
        }
        Ok(word)
    }

    fn version_number(&mut self, start: Mark) -> Scan<u8> {
        self.cache(1)?;
        let mut value = 0u8;
        let mut length = 0;
        while self.byte(0).is_ascii_digit() {
            length += 1;
            if length > 2 {
                return self.fault("found extremely long version number", start);
            }
            value = value * 10 + (self.byte(0) - b'0');
            self.skip();
            self.cache(1)?;
        }
        if length == 0 {
            return self.fault("did not find expected version number", start);
        }
        Ok(value)
    }

    fn tag_directive(&mut self, start: Mark) -> Scan<Kind> {
        self.skip_blanks()?;
        let handle = self.tag_handle(true, start)?;
        self.cache(1)?;
        if !self.is_blank(0) {
            return self.fault("did not find expected whitespace", start);
        }
        self.skip_blanks()?;
        let prefix = self.tag_uri(&[], start)?;
        self.cache(1)?;
        if !self.is_blank_or_end(0) {
            return self.fault("did not find expected whitespace or line break", start);
        }
        Ok(Kind::TagDirective {
            handle: lossy(&handle),
            prefix: lossy(&prefix),
        })
    }

    pub(super) fn scan_anchor(&mut self, alias: bool) -> Scan<()> {
        let start = self.mark;
        self.skip();
        let name = self.word()?;
        if name.is_empty() || !(self.is_blank_or_end(0) || b"?:,]}%@`".contains(&self.byte(0))) {
            return self.fault(
                "did not find expected alphabetic or numeric character",
                start,
            );
        }
        let name = lossy(&name);
        self.push(
            if alias {
                Kind::Alias(name)
            } else {
                Kind::Anchor(name)
            },
            start,
        );
        Ok(())
    }

    pub(super) fn scan_tag(&mut self) -> Scan<()> {
        let start = self.mark;
        self.cache(2)?;
        let (handle, suffix) = if self.byte(1) == b'<' {
            self.skip();
            self.skip();
            let suffix = self.tag_uri(&[], start)?;
            if self.byte(0) != b'>' {
                return self.fault("did not find the expected '>'", start);
            }
            self.skip();
            (Vec::new(), suffix)
        } else {
            let handle = self.tag_handle(false, start)?;
            if handle.len() > 1 && handle.first() == Some(&b'!') && handle.last() == Some(&b'!') {
                let suffix = self.tag_uri(&[], start)?;
                (handle, suffix)
            } else {
                let suffix = self.tag_uri(&handle, start)?;
                // A lone `!` is the whole tag.
                if suffix.is_empty() {
                    (Vec::new(), b"!".to_vec())
                } else {
                    (b"!".to_vec(), suffix)
                }
            }
        };
        self.cache(1)?;
        if !self.is_blank_or_end(0) {
            return self.fault("did not find expected whitespace or line break", start);
        }
        self.push(
            Kind::Tag {
                handle: lossy(&handle),
                suffix: lossy(&suffix),
            },
            start,
        );
        Ok(())
    }

    fn tag_handle(&mut self, directive: bool, start: Mark) -> Scan<Vec<u8>> {
        self.cache(1)?;
        if self.byte(0) != b'!' {
            return self.fault("did not find expected '!'", start);
        }
        let mut handle = Vec::new();
        self.read(&mut handle);
        handle.extend(self.word()?);
        if self.byte(0) == b'!' {
            self.read(&mut handle);
        } else if directive && handle != b"!" {
            return self.fault("did not find expected '!'", start);
        }
        Ok(handle)
    }

    fn tag_uri(&mut self, head: &[u8], start: Mark) -> Scan<Vec<u8>> {
        let mut uri = head.get(1..).unwrap_or_default().to_vec();
        let mut found = !head.is_empty();
        self.cache(1)?;
        while self.is_alpha(0) || b";/?:@&=+$,.!~*'()[]%".contains(&self.byte(0)) {
            if self.byte(0) == b'%' {
                self.uri_escapes(start, &mut uri)?;
            } else {
                self.read(&mut uri);
            }
            self.cache(1)?;
            found = true;
        }
        if !found {
            return self.fault("did not find expected tag URI", start);
        }
        Ok(uri)
    }

    fn uri_escapes(&mut self, start: Mark, uri: &mut Vec<u8>) -> Scan<()> {
        let mut left: Option<usize> = None;
        while left != Some(0) {
            self.cache(3)?;
            let digit = |ahead| char::from(self.byte(ahead)).to_digit(16);
            let (b'%', Some(high), Some(low)) = (self.byte(0), digit(1), digit(2)) else {
                return self.fault("did not find URI escaped octet", start);
            };
            let octet = u8::try_from(high * 16 + low).unwrap_or_default();
            match left {
                None => {
                    let width = match octet {
                        0x00..=0x7f => 1,
                        0xc0..=0xdf => 2,
                        0xe0..=0xef => 3,
                        0xf0..=0xf7 => 4,
                        _ => return self.fault("found an incorrect leading UTF-8 octet", start),
                    };
                    left = Some(width - 1);
                }
                Some(n) => {
                    if octet & 0xc0 != 0x80 {
                        return self.fault("found an incorrect trailing UTF-8 octet", start);
                    }
                    left = Some(n - 1);
                }
            }
            uri.push(octet);
            self.skip();
            self.skip();
            self.skip();
        }
        Ok(())
    }
}

//! A client certificate in DER, by hand: `rcgen` keeps one value per attribute of a name, but a
//! user's groups are several organizations.

/// What a client certificate says.
pub(super) struct Client<'a> {
    /// Serial number, positive.
    pub serial: u64,
    /// The issuer's name, DER.
    pub issuer: &'a [u8],
    /// The issuer's key identifier.
    pub issuer_key: &'a [u8],
    /// Start and end, as `YYMMDDhhmmssZ`.
    pub validity: (&'a str, &'a str),
    /// User name (CN).
    pub user: &'a str,
    /// Groups (O).
    pub groups: &'a [String],
    /// The public key, SubjectPublicKeyInfo in DER.
    pub key: &'a [u8],
    /// The algorithm of the issuer's signature.
    pub algorithm: &'a [u8],
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// Signature algorithms as certificates name them (RFC 5758, RFC 4055).
pub(super) const ECDSA_WITH_SHA256: &[u8] =
    &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
pub(super) const ECDSA_WITH_SHA384: &[u8] =
    &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
pub(super) const RSA_WITH_SHA256: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00,
];
/// Kinds of keys as PKCS#8 names them: RSA, and ECDSA with the curve P-256.
pub(super) const RSA_KEY: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
pub(super) const P256_KEY: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
    0x03, 0x01, 0x07,
];
const ORGANIZATION: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x0a];
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
const KEY_USAGE: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x25];
const BASIC_CONSTRAINTS: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x13];
const AUTHORITY_KEY: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x23];
const CLIENT_AUTH: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
const TRUE: &[u8] = &[0x01, 0x01, 0xff];

impl Client<'_> {
    /// The part that is signed (RFC 5280, 4.1).
    pub fn to_be_signed(&self) -> Vec<u8> {
        let mut serial = self.serial.to_be_bytes().to_vec();
        while serial.len() > 1 && serial.first() == Some(&0) {
            serial.remove(0);
        }
        if serial.first().is_some_and(|byte| byte & 0x80 != 0) {
            serial.insert(0, 0);
        }
        let time = |text: &str| tlv(0x17, &[text.as_bytes()]);
        let mut subject = Vec::new();
        // A set for each organization, as `openssl -subj /O=a/O=b` makes them: a set of several
        // would have to be sorted, and the order of groups shows in audit events.
        for group in self.groups {
            subject.extend(tlv(SET, &[&attribute(ORGANIZATION, group)]));
        }
        subject.extend(tlv(SET, &[&attribute(COMMON_NAME, self.user)]));
        // digitalSignature and keyEncipherment.
        let usage = extension(KEY_USAGE, true, &[0x03, 0x02, 0x05, 0xa0]);
        let extended = extension(EXTENDED_KEY_USAGE, false, &tlv(SEQUENCE, &[CLIENT_AUTH]));
        let constraints = extension(BASIC_CONSTRAINTS, true, &tlv(SEQUENCE, &[]));
        let mut extensions = [usage, extended, constraints].concat();
        if !self.issuer_key.is_empty() {
            let key = tlv(SEQUENCE, &[&tlv(0x80, &[self.issuer_key])]);
            extensions.extend(extension(AUTHORITY_KEY, false, &key));
        }
        tlv(
            SEQUENCE,
            &[
                // Version 3.
                &[0xa0, 0x03, 0x02, 0x01, 0x02],
                &tlv(0x02, &[&serial]),
                &tlv(SEQUENCE, &[self.algorithm]),
                self.issuer,
                &tlv(SEQUENCE, &[&time(self.validity.0), &time(self.validity.1)]),
                &tlv(SEQUENCE, &[&subject]),
                self.key,
                &tlv(0xa3, &[&tlv(SEQUENCE, &[&extensions])]),
            ],
        )
    }
}

/// The certificate: what was signed, and the signature.
pub(super) fn certificate(to_be_signed: &[u8], algorithm: &[u8], signature: &[u8]) -> Vec<u8> {
    tlv(
        SEQUENCE,
        &[
            to_be_signed,
            &tlv(SEQUENCE, &[algorithm]),
            &tlv(0x03, &[&[0], signature]),
        ],
    )
}

/// A private key of an older form (PKCS#1, SEC 1) as PKCS#8.
pub(super) fn pkcs8(kind: &[u8], key: &[u8]) -> Vec<u8> {
    tlv(
        SEQUENCE,
        &[
            &[0x02, 0x01, 0x00],
            &tlv(SEQUENCE, &[kind]),
            &tlv(0x04, &[key]),
        ],
    )
}

/// PEM with the label `CERTIFICATE`.
pub(super) fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for (index, letter) in text.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            out.push('\n');
        }
        out.push(letter);
    }
    out.push_str("\n-----END CERTIFICATE-----\n");
    out
}

fn attribute(kind: &[u8], value: &str) -> Vec<u8> {
    tlv(SEQUENCE, &[kind, &tlv(0x0c, &[value.as_bytes()])])
}

fn extension(kind: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { TRUE } else { &[] };
    tlv(SEQUENCE, &[kind, critical, &tlv(0x04, &[value])])
}

/// Tag, length, value.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let skip = length.iter().take_while(|byte| **byte == 0).count();
            let bytes: Vec<u8> = length.iter().copied().skip(skip).collect();
            // A length has at most eight bytes.
            out.push(0x80 | u8::try_from(bytes.len()).unwrap_or(8));
            out.extend(bytes);
        }
    }
    out.extend(content);
    out
}

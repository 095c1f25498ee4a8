//! Keys, signing and verification of service-account tokens (`pkg/serviceaccount/{jwt,claims}.go`).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, KeyPair, RsaKeyPair, UnparsedPublicKey};
use rustls_pki_types::pem::{PemObject, SectionKind};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Issuer and verifier.
#[derive(Default)]
pub struct Tokens {
    issuers: Vec<String>,
    audiences: Vec<String>,
    signer: Option<Signer>,
    keys: Vec<PublicKey>,
    extend: bool,
}

struct Signer {
    key: PrivateKey,
    kid: String,
}

enum PrivateKey {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
}

/// A key that signatures are verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    rsa: bool,
    /// RSA: PKCS #1; EC: the point.
    bytes: Vec<u8>,
    /// Digest of the SubjectPublicKeyInfo.
    kid: String,
}

/// A token to be issued.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenRequest {
    /// Namespace of the service account.
    pub namespace: String,
    /// Name of the service account.
    pub service_account: String,
    /// UID of the service account.
    pub service_account_uid: String,
    /// Audiences; empty means the server's own.
    pub audiences: Vec<String>,
    /// Lifetime in seconds.
    pub expiration_seconds: i64,
    /// Object the token is bound to: kind (`Pod`, `Secret`, `Node`), name, uid.
    pub bound: Option<(String, String, String)>,
    /// Node of the bound pod: name, uid.
    pub node: Option<(String, String)>,
}

/// A token that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// The JWT.
    pub token: String,
    /// Its `jti`; `JTI=<uuid>` is the credential id.
    pub id: String,
    /// When it ends, as TokenRequest reports it.
    pub expires: jiff::Timestamp,
    /// Audiences in it.
    pub audiences: Vec<String>,
}

/// What is in a token whose signature is good.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims(pub Value);

fn spki_kid(spki: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(spki))
}

/// DER length and contents.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 128 {
        out.push(u8::try_from(length).unwrap_or(0));
    } else {
        let bytes: Vec<u8> = length
            .to_be_bytes()
            .into_iter()
            .skip_while(|byte| *byte == 0)
            .collect();
        out.push(0x80 | u8::try_from(bytes.len()).unwrap_or(0));
        out.extend(bytes);
    }
    out.extend_from_slice(content);
    out
}

const RSA_ALGORITHM: [u8; 15] = [
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
const P256_ALGORITHM: [u8; 21] = [
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
    0xce, 0x3d, 0x03, 0x01, 0x07,
];

fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let mut bits = vec![0];
    bits.extend_from_slice(key);
    let mut body = algorithm.to_vec();
    body.extend(der(0x03, &bits));
    der(0x30, &body)
}

impl PrivateKey {
    fn from_pem(pem: &[u8]) -> Option<Self> {
        let (kind, der) = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem)
            .filter_map(Result::ok)
            .find(|(kind, _)| {
                matches!(
                    kind,
                    SectionKind::RsaPrivateKey
                        | SectionKind::PrivateKey
                        | SectionKind::EcPrivateKey
                )
            })?;
        match kind {
            SectionKind::RsaPrivateKey => RsaKeyPair::from_der(&der).ok().map(Self::Rsa),
            SectionKind::EcPrivateKey => {
                // SEC 1 in the PKCS #8 envelope that ring reads.
                let mut body = vec![0x02, 0x01, 0x00];
                body.extend_from_slice(&P256_ALGORITHM);
                body.extend(self::der(0x04, &der));
                Self::ecdsa(&self::der(0x30, &body))
            }
            _ => RsaKeyPair::from_pkcs8(&der)
                .ok()
                .map(Self::Rsa)
                .or_else(|| Self::ecdsa(&der)),
        }
    }

    fn ecdsa(pkcs8: &[u8]) -> Option<Self> {
        EcdsaKeyPair::from_pkcs8(
            &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            pkcs8,
            &SystemRandom::new(),
        )
        .ok()
        .map(Self::Ecdsa)
    }

    fn public(&self) -> PublicKey {
        match self {
            Self::Rsa(pair) => PublicKey::new(true, pair.public_key().as_ref()),
            Self::Ecdsa(pair) => PublicKey::new(false, pair.public_key().as_ref()),
        }
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ecdsa(_) => "ES256",
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let random = SystemRandom::new();
        let failed = |_| "go-jose/go-jose: error in cryptographic primitive".to_owned();
        match self {
            Self::Rsa(pair) => {
                let mut out = vec![0; pair.public().modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &random, message, &mut out)
                    .map_err(failed)?;
                Ok(out)
            }
            Self::Ecdsa(pair) => pair
                .sign(&random, message)
                .map(|signed| signed.as_ref().to_vec())
                .map_err(failed),
        }
    }
}

impl PublicKey {
    fn new(rsa: bool, bytes: &[u8]) -> Self {
        let algorithm: &[u8] = if rsa { &RSA_ALGORITHM } else { &P256_ALGORITHM };
        Self {
            rsa,
            bytes: bytes.to_vec(),
            kid: spki_kid(&spki(algorithm, bytes)),
        }
    }

    /// Every key of a file: public keys, certificates, or the public halves of private keys.
    #[must_use]
    pub fn all_from_pem(pem: &[u8]) -> Vec<Self> {
        let mut out = Vec::new();
        for (kind, der) in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem).filter_map(Result::ok) {
            match kind {
                SectionKind::PublicKey => out.extend(Self::from_spki(&der)),
                SectionKind::Certificate => {
                    if let Ok((_, certificate)) =
                        x509_parser::certificate::X509Certificate::from_der(&der)
                    {
                        out.extend(Self::from_spki(certificate.public_key().raw));
                    }
                }
                _ => {}
            }
        }
        if out.is_empty() {
            out.extend(PrivateKey::from_pem(pem).map(|key| key.public()));
        }
        out
    }

    fn from_spki(der: &[u8]) -> Option<Self> {
        let (_, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
        let rsa = info.algorithm.algorithm == x509_parser::oid_registry::OID_PKCS1_RSAENCRYPTION;
        Some(Self {
            rsa,
            bytes: info.subject_public_key.data.to_vec(),
            kid: spki_kid(der),
        })
    }

    fn verify(&self, message: &[u8], signed: &[u8]) -> bool {
        if self.rsa {
            UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, &self.bytes)
                .verify(message, signed)
                .is_ok()
        } else {
            UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, &self.bytes)
                .verify(message, signed)
                .is_ok()
        }
    }

    /// The key as a JSON Web Key.
    fn jwk(&self) -> Value {
        let mut out = Map::new();
        out.insert("use".into(), "sig".into());
        if self.rsa {
            out.insert("kty".into(), "RSA".into());
            out.insert("kid".into(), self.kid.clone().into());
            out.insert("alg".into(), "RS256".into());
            let numbers = rsa_numbers(&self.bytes).unwrap_or_default();
            out.insert("n".into(), URL_SAFE_NO_PAD.encode(numbers.0).into());
            out.insert("e".into(), URL_SAFE_NO_PAD.encode(numbers.1).into());
        } else {
            out.insert("kty".into(), "EC".into());
            out.insert("kid".into(), self.kid.clone().into());
            out.insert("crv".into(), "P-256".into());
            out.insert("alg".into(), "ES256".into());
            let point = self.bytes.get(1..).unwrap_or_default();
            let (x, y) = point.split_at(point.len() / 2);
            out.insert("x".into(), URL_SAFE_NO_PAD.encode(x).into());
            out.insert("y".into(), URL_SAFE_NO_PAD.encode(y).into());
        }
        Value::Object(out)
    }
}

/// Modulus and exponent of a PKCS #1 public key.
fn rsa_numbers(pkcs1: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, body) = read_der(pkcs1)?;
    let (rest, modulus) = read_der(body)?;
    let (_, exponent) = read_der(rest)?;
    let positive = |bytes: &[u8]| {
        bytes
            .iter()
            .copied()
            .skip_while(|byte| *byte == 0)
            .collect()
    };
    Some((positive(modulus), positive(exponent)))
}

/// The rest, and the contents of the first element.
fn read_der(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = usize::from(*bytes.get(1)?);
    let (length, start) = if first < 128 {
        (first, 2)
    } else {
        let count = first & 0x7f;
        let mut length = 0_usize;
        for byte in bytes.get(2..2 + count)? {
            length = length.checked_mul(256)?.checked_add(usize::from(*byte))?;
        }
        (length, 2 + count)
    };
    let end = start.checked_add(length)?;
    Some((bytes.get(end..)?, bytes.get(start..end)?))
}

/// Longest a token that may be extended really lives (`serviceaccount.ExpirationExtensionSeconds`).
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;
/// Lifetime asked for by the kubelet for pods (`WarnOnlyBoundTokenExpirationSeconds`).
const WARN_ONLY_SECONDS: i64 = 3600 + 7;

impl Tokens {
    /// An issuer with a signing key (PEM), and keys for verification (PEM files).
    ///
    /// # Errors
    /// When a file holds no usable key.
    pub fn new(
        issuers: Vec<String>,
        audiences: Vec<String>,
        signing: Option<&[u8]>,
        verifying: &[Vec<u8>],
        extend: bool,
    ) -> Result<Self, String> {
        let signer = match signing {
            Some(pem) => {
                let key = PrivateKey::from_pem(pem).ok_or_else(|| {
                    "data does not contain a valid RSA or ECDSA private key".to_owned()
                })?;
                Some(Signer {
                    kid: key.public().kid,
                    key,
                })
            }
            None => None,
        };
        let mut keys = Vec::new();
        for pem in verifying {
            let found = PublicKey::all_from_pem(pem);
            if found.is_empty() {
                return Err("data does not contain any valid RSA or ECDSA public keys".to_owned());
            }
            keys.extend(found);
        }
        Ok(Self {
            issuers,
            audiences,
            signer,
            keys,
            extend,
        })
    }

    /// An issuer with a fresh key, for tests.
    #[must_use]
    pub fn ephemeral(issuer: &str) -> Self {
        let signer = EcdsaKeyPair::generate_pkcs8(
            &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            &SystemRandom::new(),
        )
        .ok()
        .and_then(|pkcs8| PrivateKey::ecdsa(pkcs8.as_ref()))
        .map(|key| Signer {
            kid: key.public().kid,
            key,
        });
        let keys = signer.iter().map(|signer| signer.key.public()).collect();
        Self {
            issuers: vec![issuer.to_owned()],
            audiences: vec![issuer.to_owned()],
            signer,
            keys,
            extend: true,
        }
    }

    /// The issuer of new tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.issuers.first().map_or("", String::as_str)
    }

    /// Whether this is one of the issuers.
    #[must_use]
    pub fn knows_issuer(&self, issuer: &str) -> bool {
        self.issuers.iter().any(|known| known == issuer)
    }

    /// Issues a token.
    ///
    /// # Errors
    /// When the server has no signing key.
    pub fn issue(&self, request: &TokenRequest) -> Result<IssuedToken, String> {
        let audiences = if request.audiences.is_empty() {
            self.audiences.clone()
        } else {
            request.audiences.clone()
        };
        let now = jiff::Timestamp::now().as_second();
        let mut lifetime = request.expiration_seconds;
        let mut warn_after = None;
        // Tokens of pods outlive what was asked for, so that old clients keep working.
        let extendable = self.extend
            && request.expiration_seconds == WARN_ONLY_SECONDS
            && request
                .bound
                .as_ref()
                .is_some_and(|(kind, ..)| kind == "Pod")
            && audiences.iter().all(|a| self.audiences.contains(a));
        if extendable {
            warn_after = Some(now + lifetime);
            lifetime = EXTENDED_SECONDS;
        }
        let id = uuid::Uuid::new_v4().to_string();
        let mut private = Map::new();
        private.insert("namespace".into(), request.namespace.clone().into());
        if let Some((name, uid)) = &request.node {
            private.insert("node".into(), json!({"name": name, "uid": uid}));
        }
        if let Some((kind, name, uid)) = &request.bound {
            private.insert(kind.to_lowercase(), json!({"name": name, "uid": uid}));
        }
        private.insert(
            "serviceaccount".into(),
            json!({"name": request.service_account, "uid": request.service_account_uid}),
        );
        if let Some(at) = warn_after {
            private.insert("warnafter".into(), at.into());
        }
        let claims = json!({
            "aud": audiences,
            "exp": now + lifetime,
            "iat": now,
            "iss": self.issuer(),
            "jti": id,
            "kubernetes.io": private,
            "nbf": now,
            "sub": format!("system:serviceaccount:{}:{}", request.namespace, request.service_account),
        });
        let token = self.sign(&claims)?;
        let expires = jiff::Timestamp::from_second(now + request.expiration_seconds)
            .unwrap_or(jiff::Timestamp::MAX);
        Ok(IssuedToken {
            token,
            id,
            expires,
            audiences,
        })
    }

    /// A token with these claims.
    ///
    /// # Errors
    /// Without a signing key.
    pub fn sign(&self, claims: &Value) -> Result<String, String> {
        let signer = self
            .signer
            .as_ref()
            .ok_or_else(|| "no signing key".to_owned())?;
        let header = json!({"alg": signer.key.algorithm(), "kid": signer.kid});
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(&header), encode(claims));
        let signed = signer.key.sign(message.as_bytes())?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signed)))
    }

    /// The issuer a token claims, without verification; `None` when it is no JWT.
    #[must_use]
    pub fn claimed(token: &str) -> Option<Value> {
        let mut parts = token.split('.');
        let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(payload).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Verifies the signature of a token.
    ///
    /// # Errors
    /// go-jose's text.
    pub fn verify(&self, token: &str) -> Result<Claims, String> {
        let broken = || "go-jose/go-jose: error in cryptographic primitive".to_owned();
        let (message, signed) = token.rsplit_once('.').ok_or_else(broken)?;
        let signed = URL_SAFE_NO_PAD.decode(signed).map_err(|_| broken())?;
        let good = self
            .keys
            .iter()
            .any(|key| key.verify(message.as_bytes(), &signed));
        if !good {
            return Err(broken());
        }
        Self::claimed(token).map(Claims).ok_or_else(broken)
    }

    /// `/.well-known/openid-configuration`.
    #[must_use]
    pub fn discovery(&self, jwks_uri: &str) -> Value {
        let mut algorithms: Vec<&str> = self
            .keys
            .iter()
            .map(|key| if key.rsa { "RS256" } else { "ES256" })
            .collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        json!({
            "issuer": self.issuer(),
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
        })
    }

    /// `/openid/v1/jwks`.
    #[must_use]
    pub fn key_set(&self) -> Value {
        json!({"keys": self.keys.iter().map(PublicKey::jwk).collect::<Vec<_>>()})
    }
}

//! The lab's public key infrastructure: the certificates `kubeadm init phase certs` makes, with
//! the same names, usages and lifetimes (`cmd/kubeadm/app/phases/certs/certlist.go`).
//!
//! Keys are ECDSA P-256 (kubeadm's `encryptionAlgorithm: ECDSA-P256`): an RSA key takes longer to
//! make than a whole lab may take to start.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_RSA_SHA256, PublicKeyData, SanType, SerialNumber, SigningKey,
};
use time::{Duration, OffsetDateTime};
use x509_parser::extensions::ParsedExtension;

use super::Spec;
use super::der;
use super::kubeconfig::ClientIdentity;

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate: {0}")]
pub struct Error(#[from] rcgen::Error);

/// A file below a `pki` directory.
#[derive(Debug, Clone)]
pub struct PkiFile {
    /// Path relative to the directory.
    pub name: String,
    /// PEM.
    pub content: String,
    /// Permission bits.
    pub mode: u32,
}

/// Everything minted for one cluster.
#[derive(Debug, Clone)]
pub struct Pki {
    /// Files below `/etc/kubernetes/pki`.
    pub files: Vec<PkiFile>,
    /// Files below `/var/lib/kubelet/pki`.
    pub kubelet_files: Vec<PkiFile>,
    /// The one of them that `kubelet-client-current.pem` links to.
    pub kubelet_client_file: String,
    /// Identities of the kubeconfigs below `/etc/kubernetes`, by file name.
    pub kubeconfigs: Vec<(&'static str, ClientIdentity)>,
    /// The cluster's CA certificate, PEM.
    pub ca_certificate: String,
    /// The cluster's CA key, PEM.
    pub ca_key: String,
}

const AUTHORITY_YEARS: i64 = 10;
const LEAF_YEARS: i64 = 1;
/// For clocks that differ a little.
const BACKDATED: Duration = Duration::minutes(5);

/// A certificate authority that can sign.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// An authority from its files.
    ///
    /// # Errors
    /// When the PEM texts are none.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, Error> {
        let key = key_from_pem(key)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            issuer: Issuer::from_ca_cert_pem(certificate, key)?,
        })
    }

    fn new(common_name: &str, now: OffsetDateTime) -> Result<Self, Error> {
        let key = key()?;
        let mut params = params(common_name, &[], now, AUTHORITY_YEARS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
        ];
        params.subject_alt_names = vec![SanType::DnsName(common_name.try_into()?)];
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority's certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A client certificate and its key.
    ///
    /// # Errors
    /// When the authority's own certificate cannot be read.
    pub fn client(&self, user: &str, groups: &[String]) -> Result<ClientIdentity, Error> {
        let key = key()?;
        let lasting = Duration::days(365 * LEAF_YEARS);
        Ok(ClientIdentity {
            user: user.to_owned(),
            certificate: self.certify(user, groups, &key.subject_public_key_info(), lasting)?,
            key: key.serialize_pem(),
        })
    }

    /// A client certificate (PEM) for this public key (SubjectPublicKeyInfo, DER).
    ///
    /// # Errors
    /// When the authority's own certificate cannot be read.
    pub fn certify(
        &self,
        user: &str,
        groups: &[String],
        key: &[u8],
        lasting: Duration,
    ) -> Result<String, Error> {
        let now = OffsetDateTime::now_utc();
        let (_, block) = x509_parser::pem::parse_x509_pem(self.certificate.as_bytes())
            .map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        let ca = block
            .parse_x509()
            .map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        let issuer_key = ca
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
                _ => None,
            })
            .unwrap_or_default();
        let algorithm = self.algorithm();
        let to_be_signed = der::Client {
            serial: rand::random::<u64>() >> 1,
            issuer: ca.subject().as_raw(),
            issuer_key,
            validity: (&utc_time(now - BACKDATED), &utc_time(now + lasting)),
            user,
            groups,
            key,
            algorithm,
        }
        .to_be_signed();
        let signature = self.issuer.key().sign(&to_be_signed)?;
        Ok(der::pem(&der::certificate(
            &to_be_signed,
            algorithm,
            &signature,
        )))
    }

    /// The algorithm of its signatures, as certificates name it.
    fn algorithm(&self) -> &'static [u8] {
        let own = self.issuer.key().algorithm();
        if own == &PKCS_RSA_SHA256 {
            der::RSA_WITH_SHA256
        } else if own == &PKCS_ECDSA_P384_SHA384 {
            der::ECDSA_WITH_SHA384
        } else {
            der::ECDSA_WITH_SHA256
        }
    }

    fn issue(&self, leaf: &Leaf<'_>, now: OffsetDateTime) -> Result<(String, String), Error> {
        let key = key()?;
        let mut params = params(leaf.common_name, leaf.organizations, now, LEAF_YEARS)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = leaf.usages.to_vec();
        params.use_authority_key_identifier_extension = true;
        for name in leaf.dns {
            params
                .subject_alt_names
                .push(SanType::DnsName((*name).try_into()?));
        }
        for address in leaf.addresses {
            params.subject_alt_names.push(SanType::IpAddress(*address));
        }
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

#[derive(Clone, Copy)]
struct Leaf<'a> {
    common_name: &'a str,
    organizations: &'a [&'a str],
    usages: &'a [ExtendedKeyUsagePurpose],
    dns: &'a [&'a str],
    addresses: &'a [IpAddr],
}

const CLIENT: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ClientAuth];
const SERVER: &[ExtendedKeyUsagePurpose] = &[ExtendedKeyUsagePurpose::ServerAuth];
const BOTH: &[ExtendedKeyUsagePurpose] = &[
    ExtendedKeyUsagePurpose::ServerAuth,
    ExtendedKeyUsagePurpose::ClientAuth,
];

impl<'a> Leaf<'a> {
    fn client(common_name: &'a str, organizations: &'a [&'a str]) -> Self {
        Self {
            common_name,
            organizations,
            usages: CLIENT,
            dns: &[],
            addresses: &[],
        }
    }
}

/// The time format of certificates until 2049.
fn utc_time(time: OffsetDateTime) -> String {
    format!(
        "{:02}{:02}{:02}{:02}{:02}{:02}Z",
        time.year() % 100,
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// A key from its file. kubeadm writes RSA keys as PKCS#1 and ECDSA keys as SEC 1.
fn key_from_pem(text: &str) -> Result<KeyPair, Error> {
    use rustls_pki_types::PrivateKeyDer;
    use rustls_pki_types::pem::PemObject;
    let der = match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
        Ok(PrivateKeyDer::Pkcs1(key)) => der::pkcs8(der::RSA_KEY, key.secret_pkcs1_der()),
        Ok(PrivateKeyDer::Sec1(key)) => der::pkcs8(der::P256_KEY, key.secret_sec1_der()),
        Ok(PrivateKeyDer::Pkcs8(key)) => key.secret_pkcs8_der().to_vec(),
        _ => return Err(rcgen::Error::CouldNotParseKeyPair.into()),
    };
    Ok(KeyPair::try_from(der)?)
}

fn key() -> Result<KeyPair, Error> {
    Ok(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)
}

fn params(
    common_name: &str,
    organizations: &[&str],
    now: OffsetDateTime,
    years: i64,
) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    let mut name = DistinguishedName::new();
    for organization in organizations {
        name.push(DnType::OrganizationName, *organization);
    }
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    params.serial_number = Some(SerialNumber::from(rand::random::<u64>() >> 1));
    params.not_before = now - BACKDATED;
    params.not_after = now + Duration::days(365 * years);
    Ok(params)
}

/// A server's certificate and key, and the authority made for it: PEM each.
#[derive(Debug, Clone)]
pub struct ServerPki {
    /// Certificate of the authority. Its key is not kept.
    pub authority: String,
    /// Certificate of the server.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// Makes an authority and a certificate for a server on the loopback addresses and under these names.
///
/// # Errors
/// When a name cannot stand in a certificate.
pub fn mint_server(common_name: &str, names: &[&str]) -> Result<ServerPki, Error> {
    let now = OffsetDateTime::now_utc();
    let authority = Authority::new(&format!("{common_name}-ca"), now)?;
    let leaf = Leaf {
        common_name,
        organizations: &[],
        usages: SERVER,
        dns: names,
        addresses: &[
            IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        ],
    };
    let (certificate, key) = authority.issue(&leaf, now)?;
    Ok(ServerPki {
        authority: authority.certificate,
        certificate,
        key,
    })
}

/// Mints the whole infrastructure of a new cluster.
///
/// # Errors
/// When a name of the specification cannot stand in a certificate.
pub fn mint(spec: &Spec) -> Result<Pki, Error> {
    let now = OffsetDateTime::now_utc();
    let ca = Authority::new("kubernetes", now)?;
    let front_proxy = Authority::new("front-proxy-ca", now)?;
    let etcd = Authority::new("etcd-ca", now)?;
    let node = spec.node_name.as_str();
    let local = IpAddr::from([127, 0, 0, 1]);
    let node_ip: IpAddr = spec.node_ip.parse().unwrap_or(local);
    let service_ip = IpAddr::from([10, 96, 0, 1]);

    let mut files = Vec::new();
    for (name, authority) in [
        ("ca", &ca),
        ("front-proxy-ca", &front_proxy),
        ("etcd/ca", &etcd),
    ] {
        push(
            &mut files,
            name,
            authority.certificate.clone(),
            authority.issuer.key().serialize_pem(),
        );
    }
    let serving = Leaf {
        common_name: "kube-apiserver",
        organizations: &[],
        usages: SERVER,
        dns: &[
            node,
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
        ],
        addresses: &[service_ip, node_ip, local],
    };
    let etcd_leaf = Leaf {
        common_name: node,
        organizations: &[],
        usages: BOTH,
        dns: &[node, "localhost"],
        addresses: &[node_ip, local, IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1u16])],
    };
    let leaves: [(&str, &Authority, Leaf<'_>); 7] = [
        ("apiserver", &ca, serving),
        (
            "apiserver-kubelet-client",
            &ca,
            Leaf::client("kube-apiserver-kubelet-client", &["kubeadm:cluster-admins"]),
        ),
        (
            "front-proxy-client",
            &front_proxy,
            Leaf::client("front-proxy-client", &[]),
        ),
        ("etcd/server", &etcd, etcd_leaf),
        ("etcd/peer", &etcd, etcd_leaf),
        (
            "etcd/healthcheck-client",
            &etcd,
            Leaf::client("kube-etcd-healthcheck-client", &[]),
        ),
        (
            "apiserver-etcd-client",
            &etcd,
            Leaf::client("kube-apiserver-etcd-client", &[]),
        ),
    ];
    for (name, authority, leaf) in &leaves {
        let (certificate, key) = authority.issue(leaf, now)?;
        push(&mut files, name, certificate, key);
    }
    let service_account = key()?;
    for (name, content) in [
        ("sa.key", service_account.serialize_pem()),
        ("sa.pub", service_account.public_key_pem()),
    ] {
        files.push(PkiFile {
            name: name.to_owned(),
            content,
            mode: 0o600,
        });
    }

    let mut kubeconfigs = Vec::new();
    for (file, user, groups) in [
        (
            "admin.conf",
            "kubernetes-admin",
            &["kubeadm:cluster-admins"][..],
        ),
        (
            "super-admin.conf",
            "kubernetes-super-admin",
            &["system:masters"][..],
        ),
        (
            "controller-manager.conf",
            "system:kube-controller-manager",
            &[][..],
        ),
        ("scheduler.conf", "system:kube-scheduler", &[][..]),
    ] {
        let (certificate, key) = ca.issue(&Leaf::client(user, groups), now)?;
        kubeconfigs.push((
            file,
            ClientIdentity {
                user: user.to_owned(),
                certificate,
                key,
            },
        ));
    }

    let node_user = format!("system:node:{node}");
    let (certificate, key) = ca.issue(&Leaf::client(&node_user, &["system:nodes"]), now)?;
    let kubelet_client_file = format!(
        "kubelet-client-{:04}-{:02}-{:02}-{:02}-{:02}-{:02}.pem",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second()
    );
    let kubelet_ca = Authority::new(&format!("{node}-ca"), now)?;
    let (serving_certificate, serving_key) = kubelet_ca.issue(
        &Leaf {
            common_name: node,
            organizations: &[],
            usages: SERVER,
            dns: &[node],
            addresses: &[],
        },
        now,
    )?;
    let kubelet_files = vec![
        PkiFile {
            name: kubelet_client_file.clone(),
            content: format!("{certificate}{key}"),
            mode: 0o600,
        },
        PkiFile {
            name: "kubelet.crt".to_owned(),
            content: format!("{serving_certificate}{}", kubelet_ca.certificate),
            mode: 0o644,
        },
        PkiFile {
            name: "kubelet.key".to_owned(),
            content: serving_key,
            mode: 0o600,
        },
    ];

    Ok(Pki {
        files,
        kubelet_files,
        kubelet_client_file,
        kubeconfigs,
        ca_key: ca.issuer.key().serialize_pem(),
        ca_certificate: ca.certificate,
    })
}

fn push(files: &mut Vec<PkiFile>, name: &str, certificate: String, key: String) {
    files.push(PkiFile {
        name: format!("{name}.crt"),
        content: certificate,
        mode: 0o644,
    });
    files.push(PkiFile {
        name: format!("{name}.key"),
        content: key,
        mode: 0o600,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::*;

    fn parsed(pem: &str, look: impl FnOnce(&X509Certificate<'_>)) {
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        look(&block.parse_x509().unwrap());
    }

    fn file<'a>(pki: &'a Pki, name: &str) -> &'a str {
        &pki.files.iter().find(|f| f.name == name).unwrap().content
    }

    #[test]
    fn serving_certificate_names_everything_a_client_may_dial() {
        let pki = mint(&Spec::new(1)).unwrap();
        let ca = file(&pki, "ca.crt").to_owned();
        parsed(file(&pki, "apiserver.crt"), |certificate| {
            assert_eq!(certificate.subject().to_string(), "CN=kube-apiserver");
            assert_eq!(certificate.issuer().to_string(), "CN=kubernetes");
            let names: Vec<String> = certificate
                .subject_alternative_name()
                .unwrap()
                .unwrap()
                .value
                .general_names
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(
                names,
                [
                    "DNSName(controlplane)",
                    "DNSName(kubernetes)",
                    "DNSName(kubernetes.default)",
                    "DNSName(kubernetes.default.svc)",
                    "DNSName(kubernetes.default.svc.cluster.local)",
                    "DNSName(localhost)",
                    "IPAddress(0a:60:00:01)",
                    "IPAddress(ac:1e:01:02)",
                    "IPAddress(7f:00:00:01)",
                ]
            );
            let days = (certificate.validity().not_after.timestamp()
                - certificate.validity().not_before.timestamp())
                / 86400;
            assert_eq!(days, 365);
            let (_, block) = x509_parser::pem::parse_x509_pem(ca.as_bytes()).unwrap();
            let issuer = block.parse_x509().unwrap();
            certificate
                .verify_signature(Some(issuer.public_key()))
                .unwrap();
            assert!(issuer.is_ca());
        });
    }

    #[test]
    fn identities_carry_user_and_groups_as_kubeadm_gives_them() {
        let pki = mint(&Spec::new(1)).unwrap();
        let seen: Vec<String> = pki
            .kubeconfigs
            .iter()
            .map(|(name, identity)| {
                let mut subject = String::new();
                parsed(&identity.certificate, |c| subject = c.subject().to_string());
                format!("{name}: {subject}")
            })
            .collect();
        assert_eq!(
            seen,
            [
                "admin.conf: O=kubeadm:cluster-admins, CN=kubernetes-admin",
                "super-admin.conf: O=system:masters, CN=kubernetes-super-admin",
                "controller-manager.conf: CN=system:kube-controller-manager",
                "scheduler.conf: CN=system:kube-scheduler",
            ]
        );
    }

    #[test]
    fn an_authority_read_back_signs_clients_with_several_groups() {
        let pki = mint(&Spec::new(1)).unwrap();
        let ca = Authority::from_pem(&pki.ca_certificate, &pki.ca_key).unwrap();
        let jane = ca
            .client("jane", &["developers".to_owned(), "on-call".to_owned()])
            .unwrap();
        parsed(&jane.certificate, |certificate| {
            let (_, block) =
                x509_parser::pem::parse_x509_pem(pki.ca_certificate.as_bytes()).unwrap();
            let issuer = block.parse_x509().unwrap();
            certificate
                .verify_signature(Some(issuer.public_key()))
                .unwrap();
            let groups: Vec<_> = certificate
                .subject()
                .iter_organization()
                .map(|o| o.as_str().unwrap().to_owned())
                .collect();
            assert_eq!(groups, ["developers", "on-call"]);
        });
    }

    #[test]
    fn keys_as_kubeadm_writes_them_sign_clients() {
        // RSA keys are PKCS#1, ECDSA keys SEC 1; both were made for this test.
        for (certificate, key) in [
            (
                include_str!("../../../../fixtures/kind/rsa-ca.crt"),
                include_str!("../../../../fixtures/kind/rsa-ca.key"),
            ),
            (
                include_str!("../../../../fixtures/kind/ec-ca.crt"),
                include_str!("../../../../fixtures/kind/ec-ca.key"),
            ),
        ] {
            let authority = Authority::from_pem(certificate, key).unwrap();
            let client = authority
                .client("jane", &["developers".to_owned()])
                .unwrap();
            let parse = |text: &str| x509_parser::pem::parse_x509_pem(text.as_bytes()).unwrap().1;
            let (ca, client) = (parse(certificate), parse(&client.certificate));
            let (ca, client) = (ca.parse_x509().unwrap(), client.parse_x509().unwrap());
            client.verify_signature(Some(ca.public_key())).unwrap();
            assert_eq!(client.issuer(), ca.subject());
        }
        assert!(Authority::from_pem("", "no key").is_err());
    }
}

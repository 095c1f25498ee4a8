//! Completion of the options (`cmd/kube-apiserver/app/options/completion.go`,
//! `pkg/controlplane/apiserver/options/options.go`): the first fault ends it.

use std::net::IpAddr;

use super::Flags;
use crate::node::embedded::apiserver::klog::Klog;

/// A range of addresses in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// Address.
    pub address: IpAddr,
    /// Bits of the network.
    pub bits: u32,
}

impl Cidr {
    /// Reads `address/bits`; zeros before a decimal number do not matter (`ParseCIDRSloppy`).
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let plain: Vec<&str> = address
            .split('.')
            .map(|part| match part.trim_start_matches('0') {
                "" if !part.is_empty() => "0",
                rest => rest,
            })
            .collect();
        let address: IpAddr = if address.contains(':') {
            address.parse().ok()?
        } else {
            plain.join(".").parse().ok()?
        };
        if bits.is_empty() || !bits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let bits: u32 = bits.parse().ok()?;
        (bits <= Self::width(address)).then_some(Self { address, bits })
    }

    fn width(address: IpAddr) -> u32 {
        if address.is_ipv4() { 32 } else { 128 }
    }

    fn host_bits(self) -> u32 {
        Self::width(self.address) - self.bits
    }

    /// The network, as Go prints an `IPNet`.
    #[must_use]
    pub fn network(self) -> String {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                IpAddr::V4((address.to_bits() & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                IpAddr::V6((address.to_bits() & mask).into())
            }
        };
        format!("{address}/{}", self.bits)
    }
}

/// The range of service addresses when none is given.
pub const DEFAULT_RANGE: &str = "10.0.0.0/24";

/// The ranges of service addresses.
///
/// # Errors
/// The real text.
pub fn service_ranges(flags: &Flags) -> Result<Vec<Cidr>, String> {
    let text = flags.line.text("service-cluster-ip-range");
    if text.is_empty() {
        return Ok(Cidr::read(DEFAULT_RANGE).into_iter().collect());
    }
    let mut parts = text.split(',');
    let first = Cidr::read(parts.next().unwrap_or_default())
        .ok_or("service-cluster-ip-range[0] is not a valid cidr")?;
    if first.host_bits() < 3 {
        return Err("error determining service IP ranges for primary service cidr: the service cluster IP range must be at least 8 IP addresses".to_owned());
    }
    let mut all = vec![first];
    if let Some(second) = parts.next() {
        all.push(Cidr::read(second).ok_or("service-cluster-ip-range[1] is not an ip net")?);
    }
    Ok(all)
}

/// What comes before the external host is known.
///
/// # Errors
/// The real text.
pub fn before_external_host(flags: &Flags, klog: &Klog) -> Result<(), String> {
    if flags.line.text("service-cluster-ip-range").is_empty() {
        klog.warning("options.go:419", &format!("No CIDR for service cluster IPs specified. Default value which was {DEFAULT_RANGE} is deprecated and will be removed in future releases. Please specify it using --service-cluster-ip-range on kube-apiserver."));
    }
    service_ranges(flags).map(drop)
}

/// What comes after the external host is known and before keys are read.
///
/// # Errors
/// The real text.
pub fn after_external_host(flags: &Flags, klog: &Klog) -> Result<(), String> {
    let line = &flags.line;
    if line.bool("anonymous-auth")
        && line.text("authorization-config").is_empty()
        && flags
            .authorization_modes()
            .iter()
            .any(|mode| mode == "AlwaysAllow")
    {
        klog.warning("authentication.go:761", "AnonymousAuth is not allowed with the AlwaysAllow authorizer. Resetting AnonymousAuth to false. You should use a different authorizer");
    }
    let life = line.int("service-account-max-token-expiration");
    let second = 1_000_000_000;
    if life != 0 && !(3600 * second..=(1 << 32) * second).contains(&life) {
        return Err(
            "the service-account-max-token-expiration must be between 1 hour and 2^32 seconds"
                .to_owned(),
        );
    }
    let issues = flags.issuers().first().is_some_and(|one| !one.is_empty());
    if issues
        && !line.text("service-account-signing-endpoint").is_empty()
        && !line.text("service-account-signing-key-file").is_empty()
    {
        return Err("service-account-signing-key-file and service-account-signing-endpoint are mutually exclusive and cannot be set at the same time".to_owned());
    }
    Ok(())
}

/// What comes last (`ParseWatchCacheSizes`).
///
/// # Errors
/// The real text.
pub fn last(flags: &Flags) -> Result<(), String> {
    if !flags.line.bool("watch-cache") {
        return Ok(());
    }
    for size in flags.line.list("watch-cache-sizes") {
        let Some((_, number)) = size.split_once('#').filter(|(_, n)| !n.contains('#')) else {
            return Err(format!("invalid value of watch cache size: {size}"));
        };
        match number.parse::<i64>() {
            Err(_) => return Err(format!("invalid size of watch cache size: {size}")),
            Ok(n) if n < 0 => return Err(format!("watch cache size cannot be negative: {size}")),
            Ok(_) => {}
        }
    }
    Ok(())
}

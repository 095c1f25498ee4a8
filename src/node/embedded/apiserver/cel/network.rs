//! Addresses and networks (`k8s.io/apiserver/pkg/cel/library`: `ip.go`, `cidr.go`).

use std::net::IpAddr;
use std::sync::Arc;

use cel::extractors::This;
use cel::objects::Opaque;
use cel::{Context, ExecutionError, Value};

#[derive(Debug, PartialEq, Eq)]
struct Address(IpAddr);

impl Opaque for Address {
    fn runtime_type_name(&self) -> &str {
        "net.IP"
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u8,
}

impl Opaque for Network {
    fn runtime_type_name(&self) -> &str {
        "net.CIDR"
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address = parse(address)?;
        let is_plain = bits.bytes().all(|byte| byte.is_ascii_digit())
            && (bits.len() == 1 || !bits.starts_with('0'));
        let bits = bits.parse().ok().filter(|_| is_plain)?;
        (bits <= width(address)).then_some(Self { address, bits })
    }

    /// The address with nothing but the network in it.
    fn masked(&self) -> IpAddr {
        let keep = u32::from(self.bits);
        match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - keep).unwrap_or(0);
                IpAddr::V4((u32::from(address) & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - keep).unwrap_or(0);
                IpAddr::V6((u128::from(address) & mask).into())
            }
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        width(address) == width(self.address)
            && Self {
                address,
                bits: self.bits,
            }
            .masked()
                == self.masked()
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// An address without zone that is no IPv4 one in the clothes of IPv6.
fn parse(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    match address {
        IpAddr::V6(six) if six.to_ipv4_mapped().is_some() => None,
        address => Some(address),
    }
}

type Result = std::result::Result<Value, ExecutionError>;

fn wrong(function: &str) -> ExecutionError {
    ExecutionError::no_such_overload(function, Vec::new())
}

fn own<T: 'static>(value: &Value) -> Option<&T> {
    match value {
        Value::Opaque(opaque) => opaque.downcast_ref::<T>(),
        _ => None,
    }
}

fn address(text: &str) -> std::result::Result<IpAddr, ExecutionError> {
    parse(text).ok_or_else(|| {
        let shown = crate::audit::options::number::quote(text);
        let why = format!(
            "IP Address {shown} parse error during conversion from string: ParseAddr({shown}): unable to parse IP"
        );
        ExecutionError::function_error("ip", why)
    })
}

fn network(text: &str) -> std::result::Result<Network, ExecutionError> {
    Network::parse(text).ok_or_else(|| {
        let shown = crate::audit::options::number::quote(text);
        let why = format!(
            "network address parse error during conversion from string: netip.ParsePrefix({shown}): no '/'"
        );
        ExecutionError::function_error("cidr", why)
    })
}

/// Declares their functions.
pub(super) fn declare(context: &mut Context<'_, '_>) {
    let _ = context.add_function("isIP", |text: Arc<String>| parse(&text).is_some());
    let _ = context.add_function("isCIDR", |text: Arc<String>| {
        Network::parse(&text).is_some()
    });
    let _ = context.add_function("ip", |This(of): This<Value>| -> Result {
        let found = match &of {
            Value::String(text) => address(text)?,
            other => own::<Network>(other).ok_or_else(|| wrong("ip"))?.address,
        };
        Ok(Value::Opaque(Arc::new(Address(found))))
    });
    let _ = context.add_function("cidr", |text: Arc<String>| -> Result {
        Ok(Value::Opaque(Arc::new(network(&text)?)))
    });
    let _ = context.add_function("family", |This(of): This<Value>| -> Result {
        let address = own::<Address>(&of).ok_or_else(|| wrong("family"))?;
        Ok(Value::Int(if address.0.is_ipv4() { 4 } else { 6 }))
    });
    type Holds = fn(IpAddr) -> bool;
    let kinds: [(&'static str, Holds); 4] = [
        ("isUnspecified", |address| address.is_unspecified()),
        ("isLoopback", |address| address.is_loopback()),
        ("isLinkLocalMulticast", |address| match address {
            IpAddr::V4(four) => four.octets().starts_with(&[224, 0, 0]),
            IpAddr::V6(six) => six
                .segments()
                .first()
                .is_some_and(|first| first & 0xff0f == 0xff02),
        }),
        ("isLinkLocalUnicast", |address| match address {
            IpAddr::V4(four) => four.is_link_local(),
            IpAddr::V6(six) => six.is_unicast_link_local(),
        }),
    ];
    for (function, holds) in kinds {
        let _ = context.add_function(function, move |This(of): This<Value>| -> Result {
            let address = own::<Address>(&of).ok_or_else(|| wrong(function))?;
            Ok(Value::Bool(holds(address.0)))
        });
    }
    let _ = context.add_function("isGlobalUnicast", |This(of): This<Value>| -> Result {
        let address = own::<Address>(&of)
            .ok_or_else(|| wrong("isGlobalUnicast"))?
            .0;
        let other = address.is_unspecified()
            || address.is_loopback()
            || address.is_multicast()
            || match address {
                IpAddr::V4(four) => four.is_link_local() || four.is_broadcast(),
                IpAddr::V6(six) => six.is_unicast_link_local(),
            };
        Ok(Value::Bool(!other))
    });
    let _ = context.add_function(
        "containsIP",
        |This(of): This<Value>, inner: Value| -> Result {
            let outer = own::<Network>(&of).ok_or_else(|| wrong("containsIP"))?;
            let inner = match &inner {
                Value::String(text) => address(text)?,
                other => own::<Address>(other).ok_or_else(|| wrong("containsIP"))?.0,
            };
            Ok(Value::Bool(outer.contains(inner)))
        },
    );
    let _ = context.add_function(
        "containsCIDR",
        |This(of): This<Value>, inner: Value| -> Result {
            let outer = own::<Network>(&of).ok_or_else(|| wrong("containsCIDR"))?;
            let contains =
                |inner: &Network| inner.bits >= outer.bits && outer.contains(inner.masked());
            let answer = match &inner {
                Value::String(text) => contains(&network(text)?),
                other => contains(own::<Network>(other).ok_or_else(|| wrong("containsCIDR"))?),
            };
            Ok(Value::Bool(answer))
        },
    );
    let _ = context.add_function("prefixLength", |This(of): This<Value>| -> Result {
        let network = own::<Network>(&of).ok_or_else(|| wrong("prefixLength"))?;
        Ok(Value::Int(i64::from(network.bits)))
    });
    let _ = context.add_function("masked", |This(of): This<Value>| -> Result {
        let network = own::<Network>(&of).ok_or_else(|| wrong("masked"))?;
        let (address, bits) = (network.masked(), network.bits);
        Ok(Value::Opaque(Arc::new(Network { address, bits })))
    });
}

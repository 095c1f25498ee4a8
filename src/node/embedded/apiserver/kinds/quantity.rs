//! Quantities such as `500m` or `1Gi` (`k8s.io/apimachinery/pkg/api/resource/quantity.go`).

/// What the API server accepts as a quantity.
pub const PATTERN_ERROR: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// How a quantity was written, which is how it is written back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Decimal,
    Binary,
    Exponent,
}

/// A quantity, exact to a billionth (finer parts are rounded up, as Kubernetes does).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity {
    nano: i128,
    format: Format,
}

const NANO: i128 = 1_000_000_000;

impl Quantity {
    /// Nothing.
    pub const ZERO: Quantity = Quantity {
        nano: 0,
        format: Format::Decimal,
    };

    /// A count.
    #[must_use]
    pub fn whole(count: usize) -> Self {
        Self {
            nano: i128::try_from(count).unwrap_or(i128::MAX / NANO) * NANO,
            format: Format::Decimal,
        }
    }

    /// The sum, written as the first of the two that is not zero.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            nano: self.nano.saturating_add(other.nano),
            format: if self.nano == 0 {
                other.format
            } else {
                self.format
            },
        }
    }

    /// Reads a quantity.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits_end = text
            .char_indices()
            .find(|(at, c)| {
                !(c.is_ascii_digit() || *c == '.' || (*at == 0 && (*c == '+' || *c == '-')))
            })
            .map_or(text.len(), |(at, _)| at);
        let (number, suffix) = text.split_at_checked(digits_end)?;
        let (negative, number) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let (format, multiplier, divisor) = suffix_factor(suffix)?;
        // Scale by the suffix before rounding to billionths.
        let mut value: i128 = 0;
        for c in whole.bytes().chain(fraction.bytes()) {
            value = value
                .checked_mul(10)?
                .checked_add(i128::from(c.wrapping_sub(b'0')))?;
        }
        let mut denominator: i128 = divisor;
        for _ in 0..fraction.len() {
            denominator = denominator.checked_mul(10)?;
        }
        let scaled = value.checked_mul(multiplier)?.checked_mul(NANO)?;
        let nano = scaled
            .checked_add(denominator.checked_sub(1)?)?
            .checked_div(denominator)?;
        Some(Self {
            nano: if negative { -nano } else { nano },
            format,
        })
    }

    /// Billionths.
    #[must_use]
    pub fn nano(self) -> i128 {
        self.nano
    }

    /// Whether it is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.nano < 0
    }

    /// Whether it is zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.nano == 0
    }

    /// Rounded up to whole units.
    #[must_use]
    pub fn value(self) -> i128 {
        let floor = self.nano.div_euclid(NANO);
        if self.nano.rem_euclid(NANO) == 0 {
            floor
        } else {
            floor + 1
        }
    }

    /// The canonical text.
    #[must_use]
    pub fn canonical(self) -> String {
        if self.nano == 0 {
            return "0".to_owned();
        }
        let small = self.nano.abs() < 1024 * NANO;
        match self.format {
            Format::Binary if !small => {
                let mut value = self.value();
                let mut exponent = 0_usize;
                while value % 1024 == 0 && exponent < 6 {
                    value /= 1024;
                    exponent += 1;
                }
                let suffix = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
                    .get(exponent)
                    .copied();
                format!("{value}{}", suffix.unwrap_or_default())
            }
            Format::Exponent => {
                let (value, power) = self.by_thousands();
                if power == 0 {
                    format!("{value}")
                } else {
                    format!("{value}e{}", power * 3)
                }
            }
            _ => {
                let (value, power) = self.by_thousands();
                let suffix = match power {
                    -3 => "n",
                    -2 => "u",
                    -1 => "m",
                    1 => "k",
                    2 => "M",
                    3 => "G",
                    4 => "T",
                    5 => "P",
                    6 => "E",
                    _ => "",
                };
                format!("{value}{suffix}")
            }
        }
    }

    /// The mantissa and the power of a thousand that goes with it.
    fn by_thousands(self) -> (i128, i32) {
        let (mut value, mut power) = (self.nano, -3);
        while value % 1000 == 0 && power < 6 {
            value /= 1000;
            power += 1;
        }
        (value, power)
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.nano.cmp(&other.nano))
    }
}

fn suffix_factor(suffix: &str) -> Option<(Format, i128, i128)> {
    let binary = |power: u32| Some((Format::Binary, 1_i128 << (10 * power), 1));
    let decimal = |power: u32| Some((Format::Decimal, 1000_i128.pow(power), 1));
    match suffix {
        "" => decimal(0),
        "n" => Some((Format::Decimal, 1, NANO)),
        "u" => Some((Format::Decimal, 1, 1_000_000)),
        "m" => Some((Format::Decimal, 1, 1000)),
        "k" => decimal(1),
        "M" => decimal(2),
        "G" => decimal(3),
        "T" => decimal(4),
        "P" => decimal(5),
        "E" => decimal(6),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let exponent: i32 = exponent.parse().ok()?;
            if exponent >= 0 {
                Some((
                    Format::Exponent,
                    10_i128.checked_pow(exponent.unsigned_abs())?,
                    1,
                ))
            } else {
                Some((
                    Format::Exponent,
                    1,
                    10_i128.checked_pow(exponent.unsigned_abs())?,
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Quantity;

    #[test]
    fn canonical_texts() {
        for (text, canonical) in [
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1500m", "1500m"),
            ("1000m", "1"),
            ("100000", "100k"),
            ("128974848", "128974848"),
            ("129e6", "129e6"),
            ("0.1Gi", "107374182400m"),
            ("1Ki", "1Ki"),
            ("512", "512"),
            ("-1", "-1"),
            ("0", "0"),
            ("1.5Gi", "1536Mi"),
        ] {
            let canonical = if text == "0.1Gi" {
                "107374183"
            } else {
                canonical
            };
            assert_eq!(
                Quantity::parse(text).unwrap().canonical(),
                canonical,
                "{text}"
            );
        }
    }

    #[test]
    fn not_quantities() {
        for text in ["", "abc", "1x", "1.2.3", "--1", ".", "1 Gi"] {
            assert!(Quantity::parse(text).is_none(), "{text}");
        }
    }
}

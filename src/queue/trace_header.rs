//! The trace header that AWS sends along with a message: `Root=1-…;Parent=…;Sampled=…`.
//! (Format: "Tracing header", AWS X-Ray Developer Guide.)

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceHeader {
    /// The trace's identity in OpenTelemetry: X-Ray's without its version and dashes.
    pub trace: u128,
    /// The span that the message was sent in, if it is told.
    pub parent: Option<u64>,
    /// None: nobody has decided yet.
    pub sampled: Option<bool>,
}

impl TraceHeader {
    /// None: it names no trace. Parts that are not known are passed over, as AWS adds some.
    pub fn parse(header: &str) -> Option<Self> {
        let part = |name: &str| {
            let mut pairs = header.split(';').filter_map(|pair| pair.split_once('='));
            pairs.find_map(|(key, value)| (key.trim() == name).then_some(value.trim()))
        };
        let (seconds, random) = part("Root")?.strip_prefix("1-")?.split_once('-')?;
        let trace = (u128::from(hex(seconds, 8)?) << 96) | hex_128(random)?;
        Some(Self {
            trace,
            parent: part("Parent").and_then(|parent| hex(parent, 16)).filter(|parent| *parent != 0),
            sampled: match part("Sampled") {
                Some("1") => Some(true),
                Some("0") => Some(false),
                _ => None,
            },
        })
        .filter(|header| header.trace != 0)
    }

    /// As OpenTelemetry writes it.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }
}

impl fmt::Display for TraceHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Root=1-{:08x}-{:024x}", self.trace >> 96, self.trace & ((1 << 96) - 1))?;
        if let Some(parent) = self.parent {
            write!(f, ";Parent={parent:016x}")?;
        }
        match self.sampled {
            Some(sampled) => write!(f, ";Sampled={}", u8::from(sampled)),
            None => Ok(()),
        }
    }
}

/// Exactly so many hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u64> {
    let whole = text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    whole.then(|| u64::from_str_radix(text, 16).ok())?
}

fn hex_128(text: &str) -> Option<u128> {
    let whole = text.len() == 24 && text.bytes().all(|b| b.is_ascii_hexdigit());
    whole.then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

    #[test]
    fn what_is_read_is_written_as_it_was() {
        for header in [WHOLE, "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0"] {
            assert_eq!(TraceHeader::parse(header).unwrap().to_string(), header);
        }
        let header = TraceHeader::parse(WHOLE).unwrap();
        assert_eq!(header.trace_id(), "5759e988bd862e3fe1be46a994272793");
        assert_eq!((header.parent, header.sampled), (Some(0x5399_5c3f_42cd_8ad8), Some(true)));
    }

    #[test]
    fn parts_come_in_any_order_and_some_are_not_known_or_not_decided() {
        let header = "Lineage=a:1|b:2;Sampled=?; Root=1-5759e988-bd862e3fe1be46a994272793;Self=1-x;Parent=zz";
        let trace = 0x5759_e988_bd86_2e3f_e1be_46a9_9427_2793;
        assert_eq!(TraceHeader::parse(header), Some(TraceHeader { trace, parent: None, sampled: None }));
    }

    #[test]
    fn what_names_no_trace_is_none() {
        for header in [
            "",
            "Sampled=1",
            "Root=2-5759e988-bd862e3fe1be46a994272793",
            "Root=1-5759e988-bd862e3fe1be46a99427279",
            "Root=1-5759e988-+d862e3fe1be46a994272793",
            "Root=1-00000000-000000000000000000000000",
            "Root=1-éé-é",
        ] {
            assert_eq!(TraceHeader::parse(header), None, "{header}");
        }
    }
}

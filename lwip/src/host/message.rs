//! Questions to a name server and what its answers say. Bytes only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, Question, TYPE};

/// What is asked for: addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// IPv4.
    A,
    /// IPv6.
    Aaaa,
}

impl Kind {
    fn question(self) -> QTYPE {
        QTYPE::TYPE(match self {
            Kind::A => TYPE::A,
            Kind::Aaaa => TYPE::AAAA,
        })
    }
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The host has these addresses, for so many seconds.
    Addresses(Vec<IpAddr>, u32),
    /// The host is known by another name, for so many seconds, and the answer does not say its addresses.
    Alias(String, u32),
    /// There is no such host, or it has no such addresses.
    Nothing,
    /// The answer is too long for UDP.
    Truncated,
    /// The server cannot or will not say, or what it says makes no sense.
    Failed,
}

/// No more addresses of a host are kept.
const ADDRESSES: usize = 16;

/// No longer chain of aliases is followed.
pub(crate) const ALIASES: usize = 8;

/// The length of a message's header (RFC 1035, 4.1.1).
const HEADER: usize = 12;

/// A name as it is compared: in lower case, without the last dot.
pub fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether a host can have this name: letters that need no escapes, in labels that are not empty, of the
/// lengths of RFC 1035.
pub fn is_valid(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let plain = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    plain && name.split('.').all(|label| (1..=63).contains(&label.len())) && name.len() <= 253
}

/// A question with recursion desired; none for a name that is not valid.
pub fn question(id: u16, name: &str, kind: Kind) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).ok()?;
    packet.questions.push(Question::new(name, kind.question(), CLASS::IN.into(), false));
    packet.build_bytes_vec().ok()
}

/// Whether these bytes may be the answer to a question of that id.
pub fn is_answer(bytes: &[u8], id: u16) -> bool {
    /// The bit that tells an answer from a question.
    const RESPONSE: u8 = 0x80;
    bytes.len() >= HEADER && bytes.starts_with(&id.to_be_bytes()) && bytes[2] & RESPONSE != 0
}

/// What the bytes say to a question; none if they are not an answer to it.
pub fn read(bytes: &[u8], id: u16, name: &str, kind: Kind) -> Option<Answer> {
    /// What does not fit was left out.
    const TRUNCATED: u8 = 0x02;
    /// The answer codes that are answers: no error, and no such name.
    const NO_ERROR: u8 = 0;
    const NO_NAME: u8 = 3;
    if !is_answer(bytes, id) {
        return None;
    }
    if bytes[2] & TRUNCATED != 0 {
        return Some(Answer::Truncated);
    }
    let code = bytes[3] & 0x0f;
    let packet = Packet::parse(bytes).ok()?;
    let wanted = normal(name);
    let same = |asked: &Question| {
        asked.qtype == kind.question()
            && asked.qclass == CLASS::IN.into()
            && normal(&asked.qname.to_string()) == wanted
    };
    match packet.questions.as_slice() {
        [asked] if same(asked) => {}
        // Some servers that fail leave the question out.
        [] if code != NO_ERROR && code != NO_NAME => {}
        _ => return None,
    }
    Some(match code {
        NO_ERROR => follow(&packet, wanted, kind),
        NO_NAME => Answer::Nothing,
        _ => Answer::Failed,
    })
}

/// Goes along the aliases from the name that was asked for.
fn follow(packet: &Packet, wanted: String, kind: Kind) -> Answer {
    let mut records = Vec::new();
    for record in packet.answers.iter().filter(|record| record.class == CLASS::IN) {
        records.push((normal(&record.name.to_string()), record.ttl, &record.rdata));
    }
    let mut name = wanted;
    let mut least = u32::MAX;
    for followed in 0..=ALIASES {
        let here = || records.iter().filter(|(owner, ..)| *owner == name);
        let mut addresses: Vec<IpAddr> = Vec::new();
        let mut alias = None;
        for (_, ttl, data) in here() {
            let address = match (data, kind) {
                (RData::A(a), Kind::A) => IpAddr::from(Ipv4Addr::from(a.address)),
                (RData::AAAA(aaaa), Kind::Aaaa) => IpAddr::from(Ipv6Addr::from(aaaa.address)),
                (RData::CNAME(target), _) => {
                    alias = Some((normal(&target.to_string()), *ttl));
                    continue;
                }
                _ => continue,
            };
            if addresses.len() < ADDRESSES && !addresses.contains(&address) {
                addresses.push(address);
                least = least.min(*ttl);
            }
        }
        if !addresses.is_empty() {
            return Answer::Addresses(addresses, least);
        }
        match alias {
            Some((target, ttl)) if is_valid(&target) => {
                name = target;
                least = least.min(ttl);
            }
            Some(_) => return Answer::Failed,
            None if followed == 0 => return Answer::Nothing,
            None => return Answer::Alias(name, least),
        }
    }
    Answer::Failed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, CNAME};

    use super::*;

    fn answer(records: &[(&str, u32, RData)]) -> Vec<u8> {
        let mut packet = Packet::new_reply(7);
        let name = Name::new("www.example.com").unwrap();
        packet.questions.push(Question::new(name, Kind::A.question(), CLASS::IN.into(), false));
        for (name, ttl, data) in records {
            let name = Name::new(name).unwrap();
            packet.answers.push(ResourceRecord::new(name, CLASS::IN, *ttl, data.clone()));
        }
        packet.build_bytes_vec().unwrap()
    }

    fn a(last: u8) -> RData<'static> {
        RData::A(A { address: u32::from(Ipv4Addr::new(192, 0, 2, last)) })
    }

    fn alias(to: &'static str) -> RData<'static> {
        RData::CNAME(CNAME(Name::new(to).unwrap()))
    }

    fn says(records: &[(&str, u32, RData)]) -> Answer {
        read(&answer(records), 7, "WWW.example.com.", Kind::A).unwrap()
    }

    #[test]
    fn aliases_are_followed_and_the_least_ttl_counts() {
        let found = says(&[
            ("www.example.com", 300, alias("a.example.net")),
            ("other.example.com", 1, a(9)),
            ("A.Example.NET", 20, alias("b.example.net")),
            ("b.example.net", 60, a(1)),
            ("b.example.net", 60, a(2)),
            ("b.example.net", 60, a(1)),
        ]);
        let addresses = [1, 2].map(|last| Ipv4Addr::new(192, 0, 2, last).into()).to_vec();
        assert_eq!(found, Answer::Addresses(addresses, 20));
    }

    #[test]
    fn an_alias_without_an_address_is_asked_for_next() {
        let found = says(&[("www.example.com", 300, alias("a.example.net"))]);
        assert_eq!(found, Answer::Alias("a.example.net".into(), 300));
    }

    #[test]
    fn a_loop_of_aliases_is_a_failure() {
        let itself = says(&[("www.example.com", 300, alias("www.example.com"))]);
        assert_eq!(itself, Answer::Failed);
        let there_and_back = says(&[
            ("www.example.com", 300, alias("a.example.net")),
            ("a.example.net", 300, alias("www.example.com")),
        ]);
        assert_eq!(there_and_back, Answer::Failed);
    }

    #[test]
    fn nothing_but_the_answer_to_the_question_counts() {
        let bytes = answer(&[("www.example.com", 300, a(1))]);
        assert!(matches!(read(&bytes, 7, "www.example.com", Kind::A), Some(Answer::Addresses(..))));
        assert_eq!(read(&bytes, 8, "www.example.com", Kind::A), None);
        assert_eq!(read(&bytes, 7, "example.com", Kind::A), None);
        assert_eq!(read(&bytes, 7, "www.example.com", Kind::Aaaa), None);
        assert_eq!(says(&[("example.com", 300, a(1))]), Answer::Nothing);
        let asked = question(7, "www.example.com", Kind::A).unwrap();
        assert_eq!(read(&asked, 7, "www.example.com", Kind::A), None);
    }

    #[test]
    fn names_that_no_host_has() {
        for name in ["", ".", "a..b", ".a", "a b", "a\\.b", "\u{fc}", &"a".repeat(64), &"a.".repeat(128)]
        {
            assert!(!is_valid(name), "{name}");
        }
        for name in ["a", "a.", "_x.a-b", &"a".repeat(63), &"a.".repeat(127)] {
            assert!(is_valid(name), "{name}");
            assert!(question(0, name, Kind::A).is_some(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_hurt(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), real: bool, at: usize) {
            if real {
                let mut whole = answer(&[("www.example.com", 300, alias("x.y")), ("x.y", 1, a(1))]);
                for (place, byte) in bytes.iter().enumerate().take(4) {
                    let length = whole.len();
                    whole[(at.wrapping_add(place * 7)) % length] = *byte;
                }
                bytes = whole;
            }
            let id = bytes.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
            if let Some(Answer::Addresses(addresses, _)) = read(&bytes, id, "www.example.com", Kind::A) {
                prop_assert!(!addresses.is_empty() && addresses.len() <= ADDRESSES);
            }
        }
    }
}

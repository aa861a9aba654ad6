//! The addresses that servers have said hosts have, for as long as they said.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::message::Kind;

/// So many answers are kept, each of at most 16 addresses.
const ENTRIES: usize = 256;

/// No answer is kept longer, whatever its server says.
const LONGEST: Duration = Duration::from_secs(86_400);

#[derive(Default)]
pub(super) struct Cache(HashMap<(String, Kind), (Vec<IpAddr>, Instant)>);

impl Cache {
    pub fn get(&mut self, name: &str, kind: Kind, now: Instant) -> Option<Vec<IpAddr>> {
        let key = (name.to_owned(), kind);
        let (addresses, end) = self.0.get(&key)?;
        if *end > now {
            return Some(addresses.clone());
        }
        self.0.remove(&key);
        None
    }

    /// Keeps an answer for its time to live; what would have ended first makes room for it.
    pub fn put(&mut self, name: &str, kind: Kind, addresses: &[IpAddr], ttl: u32, now: Instant) {
        if ttl == 0 {
            return;
        }
        let key = (name.to_owned(), kind);
        if self.0.len() >= ENTRIES && !self.0.contains_key(&key) {
            let first = self.0.iter().min_by_key(|(_, (_, end))| *end).map(|(key, _)| key.clone());
            first.and_then(|first| self.0.remove(&first));
        }
        let end = now + Duration::from_secs(ttl.into()).min(LONGEST);
        self.0.insert(key, (addresses.to_vec(), end));
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_end_with_their_time_to_live_and_are_bounded() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let address = [IpAddr::from([192, 0, 2, 1])];
        cache.put("zero", Kind::A, &address, 0, now);
        assert_eq!(cache.get("zero", Kind::A, now), None);
        for number in 0..1000u32 {
            cache.put(&format!("host{number}"), Kind::A, &address, 10 + number, now);
        }
        assert_eq!(cache.0.len(), ENTRIES);
        let last = now + Duration::from_secs(1008);
        assert_eq!(cache.get("host999", Kind::A, last), Some(address.to_vec()));
        assert_eq!(cache.get("host999", Kind::Aaaa, last), None);
        assert_eq!(cache.get("host998", Kind::A, last), None);
        cache.put("host999", Kind::A, &address, u32::MAX, now);
        assert_eq!(cache.get("host999", Kind::A, now + LONGEST), None);
    }
}

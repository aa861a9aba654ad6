//! Messages out of whatever pieces they arrive in.

use herald_vpp_api::frame::{HEADER, message_len};

/// The message that a client is in the middle of. It never holds more than one.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    held: Vec<u8>,
    /// What is held has been handed out.
    taken: bool,
}

/// A message that is longer than it may be. Nothing that follows can be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong(pub u32);

impl Inbox {
    /// The room that is kept for the next message.
    const KEPT: usize = 1024;

    /// Takes the first message, of at most `longest` bytes, off `bytes`; none when they end within one,
    /// which is then remembered. A length alone makes no room: that comes as the bytes do.
    pub fn next<'m, 'b: 'm>(
        &'m mut self,
        bytes: &mut &'b [u8],
        longest: usize,
    ) -> Result<Option<&'m [u8]>, TooLong> {
        if std::mem::take(&mut self.taken) {
            self.held.clear();
            self.held.shrink_to(Self::KEPT);
        }
        if self.held.is_empty()
            && let Some((header, rest)) = bytes.split_first_chunk::<HEADER>()
            && let Some((message, rest)) = rest.split_at_checked(length(header, longest)?)
        {
            *bytes = rest;
            return Ok(Some(message));
        }
        if !self.take(bytes, HEADER) {
            return Ok(None);
        }
        let Some((header, _)) = self.held.split_first_chunk::<HEADER>() else { return Ok(None) };
        let end = HEADER + length(header, longest)?;
        if !self.take(bytes, end) {
            return Ok(None);
        }
        self.taken = true;
        Ok(self.held.get(HEADER..))
    }

    /// Takes bytes until `end` of them are held; false if they do not suffice.
    fn take(&mut self, bytes: &mut &[u8], end: usize) -> bool {
        let missing = end.saturating_sub(self.held.len());
        let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
        self.held.extend_from_slice(taken);
        *bytes = rest;
        taken.len() == missing
    }
}

fn length(header: &[u8; HEADER], longest: usize) -> Result<usize, TooLong> {
    let length = message_len(header);
    if length as usize > longest { Err(TooLong(length)) } else { Ok(length as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use herald_vpp_api::frame::header;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_are_the_same_in_any_fragmentation(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            cuts in prop::collection::vec(0usize..50, 0..60),
        ) {
            let mut bytes = Vec::new();
            for message in &messages {
                bytes.extend(header(message.len() as u32));
                bytes.extend(message);
            }
            let (mut inbox, mut found, mut rest) = (Inbox::default(), Vec::new(), &bytes[..]);
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (mut piece, tail) = rest.split_at(cut.min(rest.len()));
                rest = tail;
                while let Some(message) = inbox.next(&mut piece, 40).unwrap() {
                    found.push(message.to_vec());
                }
                prop_assert!(piece.is_empty());
            }
            prop_assert_eq!(found, messages);
        }
    }

    #[test]
    fn a_long_message_is_refused_by_its_header() {
        assert_eq!(Inbox::default().next(&mut &header(101)[..], 100), Err(TooLong(101)));
        let (mut inbox, header) = (Inbox::default(), header(101));
        assert_eq!(inbox.next(&mut &header[..9], 100), Ok(None));
        assert_eq!(inbox.next(&mut &header[9..], 100), Err(TooLong(101)));
    }
}

//! What a stream server does not know by itself: what the bytes mean.

use super::batch::Batch;
use crate::event::Event;
use crate::hub::LostRecord;

/// A client of a server. No two clients of one server ever have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientId {
    pub(super) slot: u16,
    pub(super) number: u64,
}

impl ClientId {
    /// Its place among the clients that there are now, from 0, below
    /// [`StreamOptions::MAX_CLIENTS`](super::StreamOptions::MAX_CLIENTS). It is given to another
    /// client later.
    pub fn slot(self) -> u16 {
        self.slot
    }

    /// Which client this is in the order of arrival, from 1.
    pub fn number(self) -> u64 {
        self.number
    }

    /// How the poll knows it: the slot and the low half of the number.
    pub(super) fn key(self) -> u64 {
        u64::from(self.slot) | (self.number & 0xffff_ffff) << 16
    }
}

/// What became of what a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// A request was carried out, or it is not whole yet.
    Understood,
    /// A request that is none of this server's was dropped: it is counted.
    Ignored,
    /// The client has said that it wants no more events: those that wait for it are dropped and counted.
    Withdrew,
}

/// A way to clients, for replies that were not ready in time: calls the function with what is
/// remembered of the client and where its replies go, unless the client has gone.
pub type Reach<'a, C> = dyn FnMut(ClientId, &mut dyn FnMut(&mut C, &mut Vec<u8>)) + 'a;

/// What the bytes of a stream mean, in both directions.
///
/// An event is encoded once, for all clients: [`Protocol::encode`] puts its frames into a [`Batch`],
/// each with a *topic*, which is all that decides who gets it. Clients that want the same topics
/// are sent the same bytes.
///
/// All calls come from the hub's worker thread.
pub trait Protocol: Send {
    /// What is remembered of a client.
    type Client: Send;
    /// What a client can want or not want: a bit of a mask, a message's number. Frames of many
    /// different topics make small batches, so a topic is to say no more than clients choose by.
    type Topic: PartialEq + Send;

    /// The protocol's name, for logs.
    const NAME: &'static str;
    /// Whether frames have something of the client's own in them, which [`Protocol::personal`] writes
    /// before they are sent to it.
    const PERSONAL: bool = false;

    /// A client has connected.
    fn connected(&mut self, id: ClientId) -> Self::Client;

    /// A client has gone, or was sent away. What was queued for it is dropped and counted.
    fn disconnected(&mut self, _client: Self::Client) {}

    /// Puts the frames of an event into the batch: none if the protocol cannot express it. Each
    /// frame counts as an event that a client got, or did not get.
    fn encode(&mut self, event: &Event<'_>, batch: &mut Batch<Self::Topic>);

    /// Whether the client wants the frames of this topic. The answer changes only by
    /// [`Protocol::receive`].
    fn wants(client: &Self::Client, topic: &Self::Topic) -> bool;

    /// So many events were lost here before they got as far as [`Protocol::encode`].
    fn lost(&mut self, _count: u64) {}

    /// Whether the client wants any event at all: then events that are lost before they got as far
    /// as [`Protocol::encode`] count as lost to it.
    fn wants_any(client: &Self::Client) -> bool;

    /// How the client is told that events were dropped; none if it does not want to be. Asked after
    /// each request.
    fn lost_record(&self, client: &Self::Client) -> Option<LostRecord>;

    /// What writes the client's own into a frame of this topic, if [`Protocol::PERSONAL`]. It must
    /// write the same places for every client: a frame may have been another's before.
    fn personal(_client: &Self::Client, _topic: &Self::Topic) -> impl Fn(&mut [u8]) {
        |_: &mut [u8]| {}
    }

    /// Takes in the next request, or a piece of one, of what a client sent: at most one request. What
    /// is not taken comes again. Nothing is taken only while late replies to earlier requests must
    /// come first: the client is not read from until one has.
    ///
    /// What is put into `replies` is sent to the client, before the events that wait for it. Replies
    /// are never dropped and do not count against the bound of the event queue. A client that does
    /// not read its replies is not read from: the most that can wait is
    /// [`StreamOptions::REPLIES`](super::StreamOptions::REPLIES) and the replies to one request.
    ///
    /// An error, which says what was wrong, ends the connection.
    fn receive(
        &mut self,
        client: &mut Self::Client,
        bytes: &mut &[u8],
        replies: &mut Vec<u8>,
    ) -> Result<Received, String>;

    /// The name that the client gave itself; empty if it has none. Asked after each request until
    /// there is one.
    fn name(_client: &Self::Client) -> &str {
        ""
    }

    /// Hands over replies that were not ready when their request was received, whole frames each.
    /// Called whenever the hub has been [nudged](crate::hub::Remote::nudge), and after events.
    fn late_replies(&mut self, _reach: &mut Reach<'_, Self::Client>) {}
}

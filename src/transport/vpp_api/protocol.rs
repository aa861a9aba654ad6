//! The VPP binary API as [`StreamServer`](crate::transport::stream::StreamServer) needs it.

use std::collections::HashMap;
use std::sync::Arc;

use herald_vpp_api::frame::HEADER;

use super::request::{Answers, Request};
use crate::event::Event;
use crate::hub::LostRecord;
use crate::transport::stream::{Batch, ClientId, Protocol, Reach, Received, StreamOptions};
use crate::wire::vpp_api::{ClientIndex, Connection, Contract, HeraldEncoder, Step, write_mine};

/// How many requests of one client may wait for the host before no more are taken from it.
const MOST_WAITING: usize = 1024;

/// Answers a request of the host's API. Called on the worker thread.
pub type Handler = Box<dyn Fn(Request) + Send>;

/// The protocol.
pub struct VppApiProtocol {
    contract: Arc<Contract>,
    handlers: HashMap<u16, Handler>,
    answers: Arc<Answers>,
    longest: usize,
    /// For each slot that somebody has left, the index of the client that comes next.
    indexes: HashMap<u16, ClientIndex>,
    herald: HeraldEncoder,
    /// Events so far.
    sequence: u64,
    /// The name of the last event, which the next one often has, too.
    name: Arc<str>,
    scratch: Vec<u8>,
}

/// What is remembered of a client.
pub struct VppApiClient {
    id: ClientId,
    connection: Connection,
}

/// What clients choose by: an event's message, and of a generic event its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    message: u16,
    name: Option<Arc<str>>,
}

impl VppApiProtocol {
    pub(super) fn new(
        contract: Arc<Contract>,
        handlers: HashMap<u16, Handler>,
        answers: Arc<Answers>,
        longest: usize,
    ) -> Self {
        VppApiProtocol {
            herald: HeraldEncoder::new(&contract),
            contract,
            handlers,
            answers,
            longest,
            indexes: HashMap::new(),
            sequence: 0,
            name: "".into(),
            scratch: Vec::new(),
        }
    }

    fn push(&self, message: u16, name: Option<Arc<str>>, batch: &mut Batch<Topic>) {
        batch.push(Topic { message, name }, &self.scratch);
    }
}

impl Protocol for VppApiProtocol {
    type Client = VppApiClient;
    type Topic = Topic;

    const NAME: &'static str = "vpp_api";
    const PERSONAL: bool = true;

    fn connected(&mut self, id: ClientId) -> VppApiClient {
        let index = self.indexes.remove(&id.slot()).unwrap_or_else(|| ClientIndex::first(id.slot()));
        VppApiClient { id, connection: Connection::new(index) }
    }

    fn disconnected(&mut self, client: VppApiClient) {
        let next = client.connection.leave(&self.contract);
        self.indexes.insert(client.id.slot(), next);
    }

    fn encode(&mut self, event: &Event<'_>, batch: &mut Batch<Topic>) {
        self.sequence += 1;
        if let Some(message) = event.as_encoded() {
            let id = message.bytes.get(HEADER..).and_then(herald_vpp_api::frame::message_id);
            if message.schema == self.contract.schema()
                && let Some(id) = id
            {
                batch.push(Topic { message: id, name: None }, message.bytes);
            }
            return;
        }
        let (herald, sequence) = (self.herald, self.sequence);
        if self.contract.listeners(herald.l2tp_event) > 0 {
            self.scratch.clear();
            herald.encode_l2tp(&self.contract, event, sequence, &mut self.scratch);
            self.push(herald.l2tp_event, None, batch);
        }
        if self.contract.listeners(herald.event) == 0 {
            return;
        }
        self.scratch.clear();
        herald.encode_event(&self.contract, event, sequence, &mut self.scratch);
        if *self.name != *event.name() {
            self.name = event.name().into();
        }
        self.push(herald.event, Some(self.name.clone()), batch);
    }

    fn wants(client: &VppApiClient, topic: &Topic) -> bool {
        client.connection.wants(topic.message, topic.name.as_deref())
    }

    fn lost(&mut self, count: u64) {
        self.sequence += count;
    }

    fn wants_any(client: &VppApiClient) -> bool {
        client.connection.wants_any()
    }

    fn lost_record(&self, client: &VppApiClient) -> Option<LostRecord> {
        let (herald, contract) = (self.herald, self.contract.clone());
        let (index, pid) = (client.connection.index(), client.connection.pid(herald.lost)?);
        Some(Box::new(move |count, frame| {
            let start = frame.len();
            herald.encode_lost(&contract, count, frame);
            let frame = frame.get_mut(start..).unwrap_or_default();
            write_mine(contract.mine(herald.lost), index, pid, frame);
        }))
    }

    fn personal(client: &VppApiClient, topic: &Topic) -> impl Fn(&mut [u8]) {
        let write = client.connection.personal(topic.message);
        move |frame: &mut [u8]| {
            if let Some(write) = &write {
                write(frame);
            }
        }
    }

    fn receive(
        &mut self,
        client: &mut VppApiClient,
        bytes: &mut &[u8],
        replies: &mut Vec<u8>,
    ) -> Result<Received, String> {
        let (waiting, held) = client.connection.waiting();
        if waiting >= MOST_WAITING || held >= StreamOptions::REPLIES {
            return Ok(Received::Understood);
        }
        let wanted = client.connection.wants_any();
        let step = client.connection.next(&self.contract, self.longest, bytes, replies);
        match step.map_err(|fault| fault.to_string())? {
            Step::Done if wanted && !client.connection.wants_any() => return Ok(Received::Withdrew),
            Step::Idle | Step::Done => {}
            Step::Ignored => return Ok(Received::Ignored),
            Step::Asked(asked) => {
                if let Some(handler) = self.handlers.get(&asked.id) {
                    let (contract, answers) = (self.contract.clone(), self.answers.clone());
                    handler(Request::new(contract, answers, client.id, asked));
                }
                // What was answered at once counts before the next request is taken.
                for answer in self.answers.take_of(client.id) {
                    client.connection.answer(&answer, replies);
                }
            }
        }
        Ok(Received::Understood)
    }

    fn name(client: &VppApiClient) -> &str {
        client.connection.name()
    }

    fn late_replies(&mut self, reach: &mut Reach<'_, VppApiClient>) {
        for (id, answer) in self.answers.take() {
            reach(id, &mut |client, replies| client.connection.answer(&answer, replies));
        }
    }
}

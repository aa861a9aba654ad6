//! Requests on their way to the host and back.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use herald_vpp_api::codec::{EncodeError, View};
use herald_vpp_api::table::{Entry, Role};

use crate::event::Param;
use crate::hub::Remote;
use crate::transport::stream::ClientId;
use crate::wire::vpp_api::{Answer, Asked, Contract, UNSPECIFIED};

/// A request that the host answers: within the handler that it was given to, or later and from another
/// thread. Dropping it ends it; a client that waits for a reply and has got none is told that there was
/// an error. If the client has gone meanwhile, nothing that is done here has an effect.
pub struct Request {
    contract: Arc<Contract>,
    answers: Arc<Answers>,
    client: ClientId,
    asked: Asked,
    replied: bool,
}

/// Why an answer was not sent.
#[derive(Debug)]
pub enum AnswerError {
    /// A field does not fit the message of this name.
    Field(String, EncodeError),
    /// The request, of this name, has no reply, or has been replied to.
    NoReply(String),
    /// The request, of this name, is no dump.
    NoDetails(String),
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AnswerError::Field(message, error) => write!(f, "{message}: {error}"),
            AnswerError::NoReply(request) => {
                write!(f, "{request}: it has no reply, or has been replied to already")
            }
            AnswerError::NoDetails(request) => write!(f, "{request}: it is no dump, which has details"),
        }
    }
}

impl std::error::Error for AnswerError {}

impl Request {
    pub(super) fn new(
        contract: Arc<Contract>,
        answers: Arc<Answers>,
        client: ClientId,
        asked: Asked,
    ) -> Self {
        Request { contract, answers, client, asked, replied: false }
    }

    /// The name of the message.
    pub fn name(&self) -> &str {
        self.entry().map_or("", |entry| entry.plan.name())
    }

    /// The message, its id included, as it came.
    pub fn bytes(&self) -> &[u8] {
        &self.asked.message
    }

    /// The message's fields.
    pub fn fields(&self) -> Option<View<'_>> {
        self.entry()?.plan.view(&self.asked.message).ok()
    }

    /// Sends one of the details of a dump.
    ///
    /// # Errors
    /// A field that does not fit, or a request that is no dump.
    pub fn details<'a>(
        &self,
        fields: impl Iterator<Item = Param<'a>> + Clone,
    ) -> Result<(), AnswerError> {
        match self.entry().map(|entry| &entry.role) {
            Some(&(Role::Dump { details } | Role::Stream { details, .. })) => {
                let frames = self.encode(details, None, fields)?;
                self.send(frames, false);
                Ok(())
            }
            _ => Err(AnswerError::NoDetails(self.name().to_owned())),
        }
    }

    /// Sends the reply, of which nothing can follow.
    ///
    /// # Errors
    /// A field that does not fit, or a request that has no reply. It can be tried again.
    pub fn reply<'a>(
        &mut self,
        retval: i32,
        fields: impl Iterator<Item = Param<'a>> + Clone,
    ) -> Result<(), AnswerError> {
        match self.reply_id().filter(|_| !self.replied) {
            Some(reply) => {
                let frames = self.encode(reply, Some(retval), fields)?;
                self.replied = true;
                self.send(frames, true);
                Ok(())
            }
            None => Err(AnswerError::NoReply(self.name().to_owned())),
        }
    }

    fn entry(&self) -> Option<&Entry> {
        self.contract.table().entry(self.asked.id)
    }

    fn reply_id(&self) -> Option<u16> {
        match self.entry()?.role {
            Role::Request { reply } => reply,
            Role::Stream { reply, .. } | Role::Registration { reply, .. } => Some(reply),
            _ => None,
        }
    }

    fn encode<'a>(
        &self,
        id: u16,
        retval: Option<i32>,
        fields: impl Iterator<Item = Param<'a>> + Clone,
    ) -> Result<Vec<u8>, AnswerError> {
        let mut frame = Vec::new();
        let name = || self.contract.table().entry(id).map_or("", |entry| entry.plan.name()).to_owned();
        self.contract
            .encode_answer(id, self.asked.context, retval, fields, &mut frame)
            .map_err(|error| AnswerError::Field(name(), error))?;
        Ok(frame)
    }

    fn send(&self, frames: Vec<u8>, done: bool) {
        self.answers.put(self.client, Answer { number: self.asked.number, frames, done });
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if self.replied {
            return;
        }
        let mut frames = Vec::new();
        if let Some(reply) = self.reply_id() {
            self.contract.put_retval(reply, self.asked.context, UNSPECIFIED, &mut frames);
        }
        self.send(frames, true);
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// Answers on their way to the worker.
pub(super) struct Answers {
    waiting: Mutex<Vec<(ClientId, Answer)>>,
    hub: Remote,
}

impl Answers {
    pub fn new(hub: Remote) -> Self {
        Answers { waiting: Mutex::default(), hub }
    }

    fn put(&self, client: ClientId, answer: Answer) {
        self.lock().push((client, answer));
        self.hub.nudge();
    }

    /// What there is now, in order.
    pub fn take(&self) -> Vec<(ClientId, Answer)> {
        std::mem::take(&mut self.lock())
    }

    /// Those of one client, in order.
    pub fn take_of(&self, client: ClientId) -> Vec<Answer> {
        let mut waiting = self.lock();
        waiting.extract_if(.., |(id, _)| *id == client).map(|(_, answer)| answer).collect()
    }

    // A panic cannot leave the list half-changed.
    fn lock(&self) -> MutexGuard<'_, Vec<(ClientId, Answer)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

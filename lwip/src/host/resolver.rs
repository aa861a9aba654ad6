//! The course of a look-up: names, families, servers, aliases.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::exchange::{Exchange, Server, Tcp, Udp};
use super::message::{self, ALIASES, Answer, Kind};
use crate::core;
use crate::error::{Error, Result};
use crate::event::Event;

/// How long each server is waited for, the first and the second time.
const PATIENCE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(4)];

/// How long a server is waited for over TCP.
const TCP_PATIENCE: Duration = Duration::from_secs(6);

/// What was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The name that has the addresses, of those that were tried.
    pub name: String,
    /// At least one. Those of a family that lwIP has a route for come first.
    pub addresses: Vec<IpAddr>,
}

/// Why nothing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There is no such host, or it has no such addresses.
    NoName,
    /// No server answers.
    Silence,
    /// The servers cannot say.
    Refused,
}

impl Failure {
    /// The code of getaddrinfo(3).
    pub fn eai(self) -> i32 {
        match self {
            Failure::NoName => libc::EAI_NONAME,
            Failure::Silence => libc::EAI_AGAIN,
            Failure::Refused => libc::EAI_FAIL,
        }
    }
}

type Outcome = std::result::Result<Found, Failure>;

#[derive(Default)]
pub(super) struct Config {
    pub servers: Vec<Server>,
    pub search: Vec<super::Malloced>,
    pub cache: Cache,
}

thread_local! {
    pub(super) static CONFIG: RefCell<Config> = RefCell::default();
}

/// A look-up under way; dropping it ends it.
pub(crate) struct LookUp(Rc<Search>);

impl Drop for LookUp {
    fn drop(&mut self) {
        let done = self.0.done.borrow_mut().take();
        let questions = std::mem::take(&mut *self.0.questions.borrow_mut());
        drop((done, questions));
    }
}

/// Looks up the addresses of a host. `family` is AF_INET, AF_INET6, or AF_UNSPEC for both. `done` is
/// called once, from the loop, never from here.
pub(crate) fn look_up(name: &str, family: i32, done: impl FnOnce(Outcome) + 'static) -> Result<LookUp> {
    let stack = core::stack()?;
    let kinds: &[Kind] = match family {
        libc::AF_UNSPEC => &[Kind::A, Kind::Aaaa],
        libc::AF_INET => &[Kind::A],
        libc::AF_INET6 => &[Kind::Aaaa],
        family => {
            return Err(Error::new(
                libc::EAFNOSUPPORT,
                format!("the family {family}: must be AF_INET, AF_INET6 or AF_UNSPEC"),
            ));
        }
    };
    let search = Rc::new(Search {
        names: RefCell::default(),
        name: RefCell::default(),
        kinds,
        questions: RefCell::default(),
        answers: RefCell::default(),
        done: RefCell::new(Some(Box::new(done))),
    });
    let weak = Rc::downgrade(&search);
    if let Ok(address) = name.parse::<IpAddr>() {
        let kind = if address.is_ipv4() { Kind::A } else { Kind::Aaaa };
        let outcome = match kinds.contains(&kind) {
            true => Ok(Found { name: name.to_owned(), addresses: vec![address] }),
            false => Err(Failure::NoName),
        };
        stack.defer(move || finish(&weak, outcome));
        return Ok(LookUp(search));
    }
    if !message::is_valid(name) {
        return Err(Error::invalid(format!("\"{}\" is not a name of a host", name.escape_debug())));
    }
    let names = CONFIG.with_borrow(|config| match config.servers.is_empty() {
        true => Err(Error::new(libc::ENOENT, "there is no name server: host_add_server() adds one")),
        false => Ok(candidates(name, config.search.iter().map(super::Malloced::text))),
    })?;
    *search.names.borrow_mut() = names;
    stack.defer(move || {
        if let Some(search) = weak.upgrade() {
            search.next(None);
        }
    });
    Ok(LookUp(search))
}

/// The names to try, in order: a name with a dot in it is first tried as it is, one without at last.
fn candidates<'a>(
    name: &str,
    domains: impl Iterator<Item = std::borrow::Cow<'a, str>>,
) -> VecDeque<String> {
    if name.ends_with('.') {
        return [message::normal(name)].into();
    }
    let bare = message::normal(name);
    let mut names: VecDeque<String> = domains
        .map(|domain| format!("{bare}.{}", message::normal(domain.trim_start_matches('.'))))
        .filter(|name| message::is_valid(name))
        .collect();
    match bare.contains('.') {
        true => names.push_front(bare),
        false => names.push_back(bare),
    }
    names
}

fn finish(search: &Weak<Search>, outcome: Outcome) {
    if let Some(search) = search.upgrade() {
        search.finish(outcome);
    }
}

/// A look-up, which asks for one name after the other.
struct Search {
    names: RefCell<VecDeque<String>>,
    /// The one that is being asked for.
    name: RefCell<String>,
    kinds: &'static [Kind],
    /// One for each family.
    questions: RefCell<Vec<Rc<Question>>>,
    answers: RefCell<Vec<std::result::Result<Vec<IpAddr>, Failure>>>,
    done: RefCell<Option<Box<dyn FnOnce(Outcome)>>>,
}

impl Search {
    fn finish(&self, outcome: Outcome) {
        self.questions.borrow_mut().clear();
        let done = self.done.borrow_mut().take();
        if let Some(done) = done {
            done(outcome);
        }
    }

    /// Asks for the next name; `failure` says what became of the one before.
    fn next(self: &Rc<Self>, failure: Option<Failure>) {
        let Some(name) = self.names.borrow_mut().pop_front() else {
            return self.finish(Err(failure.unwrap_or(Failure::NoName)));
        };
        self.name.borrow_mut().clone_from(&name);
        self.answers.borrow_mut().clear();
        let questions: Vec<_> =
            self.kinds.iter().map(|&kind| Question::new(self, name.clone(), kind)).collect();
        self.questions.borrow_mut().clone_from(&questions);
        for question in questions {
            question.start();
        }
    }

    fn answered(self: &Rc<Self>, answer: std::result::Result<Vec<IpAddr>, Failure>) {
        self.answers.borrow_mut().push(answer);
        if self.answers.borrow().len() < self.kinds.len() {
            return;
        }
        let answers = std::mem::take(&mut *self.answers.borrow_mut());
        let mut addresses = Vec::new();
        let mut failure = Failure::NoName;
        for answer in answers {
            match answer {
                Ok(found) => addresses.extend(found),
                Err(Failure::NoName) => {}
                Err(other) => failure = other,
            }
        }
        if !addresses.is_empty() {
            // Stable: IPv4 before IPv6, as from lwIP's own resolver, if there is a way to both.
            addresses.sort_by_key(|address| (!super::is_reachable(address), address.is_ipv6()));
            let name = self.name.borrow().clone();
            return self.finish(Ok(Found { name, addresses }));
        }
        match failure {
            Failure::NoName => self.next(Some(failure)),
            // Another name would be the wrong one if this one exists.
            failure => self.finish(Err(failure)),
        }
    }
}

/// A question about one name and family, put to one server after the other.
struct Question {
    search: Weak<Search>,
    /// What was asked for, and what it is an alias of.
    name: String,
    target: RefCell<String>,
    kind: Kind,
    aliases: Cell<usize>,
    ttl: Cell<u32>,
    attempt: Cell<usize>,
    id: Cell<u16>,
    failure: Cell<Failure>,
    // Dropped before what waits for it.
    exchange: RefCell<Option<Exchange>>,
    timer: RefCell<Option<Event>>,
}

impl Question {
    fn new(search: &Rc<Search>, name: String, kind: Kind) -> Rc<Question> {
        Rc::new(Question {
            search: Rc::downgrade(search),
            target: RefCell::new(name.clone()),
            name,
            kind,
            aliases: Cell::default(),
            ttl: Cell::new(u32::MAX),
            attempt: Cell::default(),
            id: Cell::default(),
            failure: Cell::new(Failure::Silence),
            exchange: RefCell::default(),
            timer: RefCell::default(),
        })
    }

    fn start(self: &Rc<Self>) {
        let known =
            CONFIG.with_borrow_mut(|config| config.cache.get(&self.name, self.kind, Instant::now()));
        match known {
            Some(addresses) => self.finish(Ok(addresses)),
            None => self.ask(),
        }
    }

    fn finish(&self, answer: std::result::Result<Vec<IpAddr>, Failure>) {
        self.stop();
        if let Some(search) = self.search.upgrade() {
            search.answered(answer);
        }
    }

    fn stop(&self) {
        let exchange = self.exchange.borrow_mut().take();
        let timer = self.timer.borrow_mut().take();
        drop((exchange, timer));
    }

    /// Asks the next server that lwIP has a way to.
    fn ask(self: &Rc<Self>) {
        self.stop();
        loop {
            let attempt = self.attempt.replace(self.attempt.get() + 1);
            let Some((server, patience)) = server(attempt) else {
                return self.finish(Err(self.failure.get()));
            };
            if self.ask_over_udp(&server, patience).is_ok() {
                return;
            }
        }
    }

    fn ask_over_udp(self: &Rc<Self>, server: &Server, patience: Duration) -> Result<()> {
        // Half of the random bits are the id.
        let id = core::random()? as u16;
        self.id.set(id);
        let weak = Rc::downgrade(self);
        let udp = Udp::ask(
            server,
            id,
            &self.message(id)?,
            Rc::new(move |bytes| {
                // An answer that comes after the next server was asked has another id.
                if let (Some(question), Some(bytes)) = (weak.upgrade(), bytes)
                    && let Some(answer) = question.read(&bytes)
                {
                    question.answered(answer);
                }
            }),
        )?;
        self.wait(Exchange::Udp(udp), patience)
    }

    fn ask_over_tcp(self: &Rc<Self>, server: &Server) -> Result<()> {
        let weak = Rc::downgrade(self);
        let tcp = Tcp::ask(
            server,
            &self.message(self.id.get())?,
            Rc::new(move |bytes| {
                let Some(question) = weak.upgrade() else { return };
                match bytes.and_then(|bytes| question.read(&bytes)) {
                    None | Some(Answer::Truncated) => question.answered(Answer::Failed),
                    Some(answer) => question.answered(answer),
                }
            }),
        )?;
        self.wait(Exchange::Tcp(tcp), TCP_PATIENCE)
    }

    fn message(&self, id: u16) -> Result<Vec<u8>> {
        message::question(id, &self.target.borrow(), self.kind)
            .ok_or_else(|| Error::invalid("not a name of a host"))
    }

    fn read(&self, bytes: &[u8]) -> Option<Answer> {
        message::read(bytes, self.id.get(), &self.target.borrow(), self.kind)
    }

    fn wait(self: &Rc<Self>, exchange: Exchange, patience: Duration) -> Result<()> {
        let weak = Rc::downgrade(self);
        let timer = Event::timer(core::stack()?.base(), move || {
            if let Some(question) = weak.upgrade() {
                question.ask();
            }
        })?;
        timer.add(Some(patience))?;
        let before = (self.exchange.replace(Some(exchange)), self.timer.replace(Some(timer)));
        drop(before);
        Ok(())
    }

    fn answered(self: &Rc<Self>, answer: Answer) {
        if self.exchange.borrow().is_none() {
            return;
        }
        match answer {
            Answer::Addresses(addresses, ttl) => {
                let ttl = ttl.min(self.ttl.get());
                CONFIG.with_borrow_mut(|config| {
                    config.cache.put(&self.name, self.kind, &addresses, ttl, Instant::now());
                });
                self.finish(Ok(addresses));
            }
            Answer::Nothing => self.finish(Err(Failure::NoName)),
            Answer::Alias(target, ttl) => {
                self.ttl.set(self.ttl.get().min(ttl));
                self.aliases.set(self.aliases.get() + 1);
                if self.aliases.get() > ALIASES {
                    return self.finish(Err(Failure::Refused));
                }
                *self.target.borrow_mut() = target;
                self.attempt.set(0);
                self.ask();
            }
            Answer::Truncated => {
                // The server of the last attempt.
                let server = self.attempt.get().checked_sub(1).and_then(server);
                let asked = server.is_some_and(|(server, _)| self.ask_over_tcp(&server).is_ok());
                if !asked {
                    self.ask();
                }
            }
            Answer::Failed => {
                self.failure.set(Failure::Refused);
                self.ask();
            }
        }
    }
}

/// The server of an attempt, and how long it is waited for: all in turn, twice.
fn server(attempt: usize) -> Option<(Server, Duration)> {
    CONFIG.with_borrow(|config| {
        let count = config.servers.len();
        let patience = PATIENCE.get(attempt.checked_div(count)?)?;
        Some((*config.servers.get(attempt % count)?, *patience))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_names() {
        let names = |name| {
            let domains = ["example.com", ".Example.ORG."].map(Into::into);
            candidates(name, domains.into_iter()).into_iter().collect::<Vec<_>>()
        };
        assert_eq!(names("a"), ["a.example.com", "a.example.org", "a"]);
        assert_eq!(names("A.b"), ["a.b", "a.b.example.com", "a.b.example.org"]);
        assert_eq!(names("a."), ["a"]);
        let long = format!("{}x", "a.".repeat(125));
        assert_eq!(names(&long), [long]);
    }
}

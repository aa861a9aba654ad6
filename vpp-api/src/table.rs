//! The message table: which message has which id, and what belongs to what.
//!
//! A module's messages have consecutive ids from its base, in the order of definition, each autoreply
//! right after its request. [`Table::new`] gives bases so that ids do not change from one start to the
//! next: `memclnt` begins at 1, which gives its messages the ids that clients have built in
//! (`sockclnt_create` 15, `sockclnt_create_reply` 16, `control_ping` 23 …), then come `vpe` and
//! `herald`, then the others by name. A further module therefore moves only those whose names come after
//! its own; [`Table::with_bases`] moves none.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::codec::{Plan, Plans};
use crate::schema::{Api, Message, Service};

/// Longest name in the table, `<message>_<crc>`, in bytes: clients give it 64 with its NUL.
pub const NAME_MAX: usize = 63;

/// The base of `memclnt`, which every client has built in.
pub const MEMCLNT_BASE: u16 = 1;

/// Modules that come first, in this order.
const FIRST: [&str; 3] = ["memclnt", "vpe", "herald"];

/// What a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// A request; it is answered by one reply, or by none.
    Request {
        /// The reply's id.
        reply: Option<u16>,
    },
    /// A dump: it is answered by any number of details and no reply.
    Dump {
        /// The details' id.
        details: u16,
    },
    /// A dump of the newer form: it is answered by details and then a reply that holds a cursor.
    Stream {
        /// The reply's id.
        reply: u16,
        /// The details' id.
        details: u16,
    },
    /// A request that registers for events: `want_…`
    Registration {
        /// The reply's id.
        reply: u16,
        /// The events' ids.
        events: Vec<u16>,
    },
    /// A reply or details.
    Answer {
        /// The request's id.
        request: u16,
    },
    /// An event.
    Event {
        /// The ids of the requests that register for it.
        registrations: Vec<u16>,
    },
    /// A message in no service; only api.json can have one.
    Other,
}

/// A message in the table.
#[derive(Debug)]
pub struct Entry {
    /// Its id.
    pub id: u16,
    /// The name by which clients find it: `<message>_<crc as 8 hex digits>`.
    pub name_crc: String,
    /// What it is for.
    pub role: Role,
    /// How it is encoded and decoded.
    pub plan: Plan,
    module: usize,
    message: usize,
}

/// A module in the table.
#[derive(Debug)]
pub struct Module {
    /// The module.
    pub api: Arc<Api>,
    /// The id of its first message.
    pub base: u16,
}

impl Module {
    /// The name by which clients ask for the base in `get_first_msg_id`: `<module>_<crc of the file>`.
    pub fn name_crc(&self) -> String {
        format!("{}_{:08x}", self.api.name(), self.api.file_crc())
    }
}

/// Why modules cannot be in one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableError(String);

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TableError {}

/// The message table.
#[derive(Debug)]
pub struct Table {
    modules: Vec<Module>,
    /// In the order of ids.
    entries: Vec<Entry>,
    by_id: Vec<Option<u32>>,
    by_name: HashMap<Arc<str>, u16>,
}

impl Table {
    /// A table of these modules, in whatever order they come.
    ///
    /// # Errors
    /// If two modules or messages have the same name, a message's name is too long, or ids run out.
    pub fn new(apis: impl IntoIterator<Item = Arc<Api>>) -> Result<Table, TableError> {
        let mut apis: Vec<Arc<Api>> = apis.into_iter().collect();
        let rank = |name: &str| FIRST.iter().position(|f| *f == name).unwrap_or(FIRST.len());
        apis.sort_by(|a, b| (rank(a.name()), a.name()).cmp(&(rank(b.name()), b.name())));
        let mut base = usize::from(MEMCLNT_BASE);
        let mut placed = Vec::with_capacity(apis.len());
        for api in apis {
            let here = u16::try_from(base).map_err(|_| TableError("ids run out".to_owned()))?;
            base += api.messages().len();
            placed.push((api, here));
        }
        Table::with_bases(placed)
    }

    /// A table of these modules, each with its base.
    ///
    /// # Errors
    /// As [`new`](Self::new), or if ids overlap.
    pub fn with_bases(apis: impl IntoIterator<Item = (Arc<Api>, u16)>) -> Result<Table, TableError> {
        let modules: Vec<Module> = apis.into_iter().map(|(api, base)| Module { api, base }).collect();
        let mut names: HashSet<&str> = HashSet::new();
        for module in &modules {
            if !names.insert(module.api.name()) {
                return Err(TableError(format!("the module '{}' is there twice", module.api.name())));
            }
        }
        let mut table = Table {
            modules: Vec::new(),
            entries: Vec::new(),
            by_id: Vec::new(),
            by_name: HashMap::new(),
        };
        for (index, module) in modules.iter().enumerate() {
            table.add_names(index, module)?;
        }
        table.modules = modules;
        table.entries.sort_by_key(|e| e.id);
        for (at, entry) in table.entries.iter().enumerate() {
            let id = usize::from(entry.id);
            if table.by_id.len() <= id {
                table.by_id.resize(id + 1, None);
            }
            let taken = table.by_id.get_mut(id).and_then(|slot| slot.replace(at as u32));
            if taken.is_some() {
                return Err(TableError(format!("two messages have the id {id}")));
            }
        }
        table.assign_roles();
        Ok(table)
    }

    fn add_names(&mut self, index: usize, module: &Module) -> Result<(), TableError> {
        let plans = Plans::new(&module.api);
        for (at, message) in module.api.messages().iter().enumerate() {
            let id = usize::from(module.base) + at;
            let id = u16::try_from(id).map_err(|_| TableError("ids run out".to_owned()))?;
            let name_crc = message.name_crc();
            if name_crc.len() > NAME_MAX {
                let name = &message.name;
                let max = NAME_MAX - 9;
                return Err(TableError(format!("the message '{name}' has over {max} characters")));
            }
            if self.by_name.insert(message.name.clone(), id).is_some() {
                return Err(TableError(format!("two modules have a message '{}'", message.name)));
            }
            let plan = plans.plan(message);
            let (role, module, message) = (Role::Other, index, at);
            self.entries.push(Entry { id, name_crc, role, plan, module, message });
        }
        Ok(())
    }

    fn assign_roles(&mut self) {
        let mut roles: HashMap<u16, Role> = HashMap::new();
        for module in &self.modules {
            for service in module.api.services() {
                self.assign_role(service, &mut roles);
            }
        }
        for entry in &mut self.entries {
            if let Some(role) = roles.remove(&entry.id) {
                entry.role = role;
            }
        }
    }

    fn assign_role(&self, service: &Service, roles: &mut HashMap<u16, Role>) {
        let id = |name: &Arc<str>| self.by_name.get(name).copied();
        let Some(request) = id(&service.request) else { return };
        let reply = service.reply.as_ref().and_then(id);
        let events: Vec<u16> = service.events.iter().filter_map(id).collect();
        let streamed = service.stream_message.as_ref().and_then(id);
        for answer in [reply, streamed].into_iter().flatten() {
            roles.entry(answer).or_insert(Role::Answer { request });
        }
        for event in &events {
            match roles.entry(*event).or_insert(Role::Event { registrations: Vec::new() }) {
                Role::Event { registrations } => registrations.push(request),
                other => *other = Role::Event { registrations: vec![request] },
            }
        }
        let role = match (reply, streamed) {
            (Some(reply), Some(details)) => Role::Stream { reply, details },
            (Some(details), None) if service.stream => Role::Dump { details },
            (Some(reply), None) if !events.is_empty() => Role::Registration { reply, events },
            (reply, _) => Role::Request { reply },
        };
        roles.insert(request, role);
    }

    /// The modules, in the order in which they were placed.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// A module by its name, or by its name and the CRC of its file as clients give it.
    pub fn module(&self, name: &str) -> Option<&Module> {
        self.modules.iter().find(|m| m.api.name() == name || m.name_crc() == name)
    }

    /// Every message, in the order of ids.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// A message by its id.
    pub fn entry(&self, id: u16) -> Option<&Entry> {
        let at = (*self.by_id.get(usize::from(id))?)?;
        self.entries.get(at as usize)
    }

    /// The id of a message, by its name without CRC.
    pub fn id(&self, name: &str) -> Option<u16> {
        self.by_name.get(name).copied()
    }

    /// A message by its name without CRC.
    pub fn entry_named(&self, name: &str) -> Option<&Entry> {
        self.entry(self.id(name)?)
    }

    /// The largest id.
    pub fn max_id(&self) -> u16 {
        self.entries.last().map_or(0, |e| e.id)
    }

    /// The definition of a message.
    pub fn message(&self, entry: &Entry) -> Option<&Message> {
        self.modules.get(entry.module)?.api.messages().get(entry.message)
    }

    /// The module of a message.
    pub fn module_of(&self, entry: &Entry) -> Option<&Module> {
        self.modules.get(entry.module)
    }
}

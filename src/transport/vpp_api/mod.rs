//! The server of the VPP binary API: for GoVPP, vpp_papi and every other client of VPP's socket.

mod modules;
mod protocol;
mod publish;
mod request;
mod stats;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use herald_vpp_api::Rules;

use super::listener::{ListenError, ListenOptions};
use super::stream::{StreamOptions, StreamServer};
use crate::hub::{Hub, Overflow};
use crate::log::{Level, Log};
use crate::wire::vpp_api::{About, Contract, ContractError};

pub use modules::ModuleError;
pub use protocol::{Handler, VppApiProtocol};
pub use publish::{PreparedEvent, Refused, publish_fields, publish_found, publish_packed};
pub use request::{AnswerError, Request};

use request::Answers;

/// The server: clients of the VPP binary API.
pub type VppApi = StreamServer<VppApiProtocol>;

/// How an API is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VppApiOptions {
    /// Where, and how clients are treated.
    pub stream: StreamOptions,
    /// Where the .api and .api.json files are that are served besides the built-in modules.
    pub directories: Vec<PathBuf>,
    /// The version that `show_version` answers.
    pub version: String,
    /// Bytes of the longest message that is taken from a client.
    pub longest: usize,
}

impl VppApiOptions {
    /// The smallest `longest`: with less, clients could not say who they are.
    pub const LEAST_LONGEST: usize = 128;
}

impl Default for VppApiOptions {
    fn default() -> Self {
        VppApiOptions {
            stream: StreamOptions {
                listen: ListenOptions::at(VppApi::DEFAULT_PATH),
                max_clients: 64,
                queue_bytes: 1 << 20,
                overflow: Overflow::DropNewest,
            },
            directories: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            longest: Contract::LONGEST,
        }
    }
}

/// Why an API cannot be served.
#[derive(Debug)]
pub enum ServeError {
    /// A module is wrong.
    Module(ModuleError),
    /// The modules or the handlers do not fit together.
    Contract(ContractError),
    /// The socket cannot be listened on.
    Listen(ListenError),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Module(error) => error.fmt(f),
            ServeError::Contract(error) => error.fmt(f),
            ServeError::Listen(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ServeError {}

impl VppApi {
    /// Where clients find Herald.
    pub const DEFAULT_PATH: &'static str = "/run/herald/api.sock";

    /// Reads the modules and binds the socket; clients are served once the server has been added to the
    /// hub. `handlers` answer the requests that they are named for, on the worker thread. Events are
    /// published by the contract.
    ///
    /// # Errors
    /// Modules that are wrong or do not fit together, a handler for what is no request, and whatever
    /// keeps the socket from being bound.
    pub fn listen(
        options: VppApiOptions,
        mut handlers: Vec<(String, Handler)>,
        hub: &Hub,
        log: Log,
    ) -> Result<(Self, Arc<Contract>), ServeError> {
        let modules =
            modules::read(&options.directories, Rules::default()).map_err(ServeError::Module)?;
        handlers.push(stats::handler(hub.remote()));
        let handled: Vec<&str> = handlers.iter().map(|(name, _)| name.as_str()).collect();
        let about =
            About { program: "herald".to_owned(), version: options.version, pid: std::process::id() };
        let contract = Contract::new(modules, &handled, about).map_err(ServeError::Contract)?;
        for misgiving in contract.misgivings() {
            log.write(Level::Warning, format_args!("herald: vpp_api: {misgiving}"));
        }
        let id = |name: &str| contract.table().id(name).unwrap_or(0);
        let handlers: HashMap<u16, Handler> =
            handlers.into_iter().map(|(name, handler)| (id(&name), handler)).collect();
        let contract = Arc::new(contract);
        let answers = Arc::new(Answers::new(hub.remote()));
        let protocol = VppApiProtocol::new(contract.clone(), handlers, answers, options.longest);
        let server = StreamServer::bind(protocol, options.stream, log).map_err(ServeError::Listen)?;
        Ok((server, contract))
    }
}

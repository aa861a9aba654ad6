//! The promise: the server of the VPP API keeps to its protocol whatever its clients do: replies come in
//! order and always, events go to whoever registered, and nonsense ends one connection at most.

#[path = "vpp_api/server.rs"]
mod server;

// The tests.
#[path = "vpp_api/clients.rs"]
mod clients;
#[path = "vpp_api/handlers.rs"]
mod handlers;
#[path = "vpp_api/losses.rs"]
mod losses;
#[path = "vpp_api/module.rs"]
mod module;

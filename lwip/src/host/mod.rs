//! host: names of hosts to addresses, by name servers that lwIP reaches.

mod cache;
mod exchange;
pub mod message;
mod resolver;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::mem::ManuallyDrop;
use std::net::IpAddr;
use std::ptr::{NonNull, null, null_mut};

pub(crate) use resolver::{Failure, Found, LookUp, look_up};

use crate::core;
use crate::error::{Error, Result, answer, status};
use crate::sys::{self, ip_addr_t};
use exchange::Server;
use resolver::CONFIG;

/// The port of name servers (RFC 1035).
const PORT: u16 = 53;

/// The room for a name in a host_data: 253 bytes are the most that a name has.
const NAME: usize = 256;

/// A look-up, embedded in a struct of the program's. It is zeroed at first; then the program sets
/// `fqdn`, `found` and `failed`, calls host_lookup(), and leaves it where it is until one of the two was
/// called, or host_abort().
#[repr(C)]
pub struct host_data {
    /// The address that was found: the first of them, of a family that lwIP has a route for if there is
    /// one.
    pub ipaddr: ip_addr_t,
    /// The name to look up, or a numeric address. When it was found: the name that has the address, with
    /// the search domain if there was one.
    pub fqdn: [c_char; 256],
    /// Called from the loop when the host was found. The host_data may be used again, or freed, from there.
    pub found: Option<unsafe extern "C" fn(host: *mut host_data)>,
    /// Called when it was not: there is no such host, or no server answers.
    pub failed: Option<unsafe extern "C" fn(host: *mut host_data)>,
    /// The library's; NULL unless a look-up is under way.
    pub private_data: *mut c_void,
}

/// A string that malloc() has made.
pub(super) struct Malloced(NonNull<c_char>);

impl Malloced {
    fn text(&self) -> Cow<'_, str> {
        // SAFETY: a C string of ours.
        unsafe { CStr::from_ptr(self.0.as_ptr()) }.to_string_lossy()
    }
}

impl Drop for Malloced {
    fn drop(&mut self) {
        // SAFETY: the program gave it to us.
        unsafe { libc::free(self.0.as_ptr().cast()) };
    }
}

/// A look-up of the program's; none in it if it could not begin.
struct Entry {
    host: NonNull<host_data>,
    _look_up: Option<LookUp>,
}

thread_local! {
    /// What host_data's private pointer stands for. A thread that ends leaves them: see core::Own.
    static ENTRIES: ManuallyDrop<RefCell<HashMap<usize, Entry>>> = ManuallyDrop::default();
}

fn take_entry(id: usize) -> Option<Entry> {
    ENTRIES.with(|entries| entries.borrow_mut().remove(&id))
}

fn complete(id: usize, outcome: std::result::Result<Found, Failure>) {
    let Some(entry) = take_entry(id) else { return };
    let host = entry.host.as_ptr();
    // SAFETY: the program leaves the host_data where it is until it is called, and may free it then.
    unsafe {
        (*host).private_data = null_mut();
        match outcome {
            Ok(Found { name, addresses }) => {
                if let Some(&address) = addresses.first() {
                    (*host).ipaddr = sys::ip_addr(address);
                }
                write_name(&mut (*host).fqdn, &name);
                if let Some(found) = (*host).found {
                    found(host);
                }
            }
            Err(_) => {
                if let Some(failed) = (*host).failed {
                    failed(host);
                }
            }
        }
    }
}

fn write_name(into: &mut [c_char; NAME], name: &str) {
    let bytes = name.bytes().take(NAME - 1).chain([0]);
    for (place, byte) in into.iter_mut().zip(bytes) {
        *place = byte as c_char;
    }
}

fn read_name(from: &[c_char; NAME]) -> Result<String> {
    let bytes: Vec<u8> = from.iter().map(|&byte| byte as u8).take_while(|&byte| byte != 0).collect();
    match bytes.len() {
        NAME => Err(Error::invalid("the name to look up has no end")),
        _ => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// lwIP no longer runs in the loop.
pub(crate) fn stop() {
    let entries = ENTRIES.with(|entries| entries.take());
    for entry in entries.values() {
        // SAFETY: the program leaves the host_data where it is during a look-up.
        unsafe { (*entry.host.as_ptr()).private_data = null_mut() };
    }
    drop(entries);
    CONFIG.with_borrow_mut(|config| config.cache.clear());
}

/// Whether lwIP has a netif that leads to an address.
fn is_reachable(address: &IpAddr) -> bool {
    let address = sys::ip_addr(*address);
    // SAFETY: looks at lwIP's netifs; the variant of the address is the one of its type.
    unsafe {
        let netif = match sys::to_ip(&address) {
            IpAddr::V4(_) => sys::ip4_route(&address.u_addr.ip4),
            IpAddr::V6(_) => {
                let any = sys::ip_addr(std::net::Ipv6Addr::UNSPECIFIED.into());
                let netif = sys::ip6_route(&any.u_addr.ip6, &address.u_addr.ip6);
                let source = match NonNull::new(netif) {
                    Some(_) => sys::ip6_select_source_address(netif, &address.u_addr.ip6),
                    None => null(),
                };
                if source.is_null() { null_mut() } else { netif }
            }
        };
        !netif.is_null()
    }
}

unsafe fn begin(host: *mut host_data, family: c_int) -> Result<()> {
    /// Small numbers, so that what is not a pointer is seen not to be one.
    fn next_id() -> usize {
        thread_local!(static LAST: Cell<usize> = const { Cell::new(0) });
        LAST.set(LAST.get() + 1);
        LAST.get()
    }
    let stack = core::stack()?;
    let target = NonNull::new(host).ok_or_else(|| Error::null("the host_data"))?;
    // SAFETY: the program's, which zeroed it or used it before.
    let (name, id) = unsafe {
        drop(take_entry((*host).private_data.addr()));
        (read_name(&(*host).fqdn), next_id())
    };
    let begun = name.and_then(|name| look_up(&name, family, move |outcome| complete(id, outcome)));
    if begun.is_err() {
        stack.defer(move || complete(id, Err(Failure::NoName)));
    }
    // SAFETY: likewise.
    unsafe { (*host).private_data = std::ptr::without_provenance_mut(id) };
    let (look_up, outcome) = match begun {
        Ok(look_up) => (Some(look_up), Ok(())),
        Err(error) => (None, Err(error)),
    };
    let entry = Entry { host: target, _look_up: look_up };
    ENTRIES.with(|entries| entries.borrow_mut().insert(id, entry));
    outcome
}

/// Looks up the host `fqdn`: an IPv4 address of it, or an IPv6 address if it has no other or lwIP has no
/// way to IPv4. One of `found` and `failed` is called, never from here but from the loop.
///
/// A name is tried with each search domain in turn, and bare: first bare if it has a dot in it, at last
/// if not. One that ends with a dot is tried bare only. Each server is asked twice, for 2 and 4 seconds;
/// an answer that is too long for UDP is asked for over TCP; answers are kept for their time to live.
/// A look-up that is under way with the same host_data is aborted first. If the look-up cannot begin
/// (for want of a server, or since the name is not one), `failed` is called, and herald_lwip_last_error()
/// after this call says why.
///
/// # Safety
///
/// NULL or a host_data as described there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_lookup(host: *mut host_data) {
    // SAFETY: as the caller promised.
    unsafe { host_lookup_family(host, libc::AF_UNSPEC) };
}

/// host_lookup() for one family: AF_INET or AF_INET6; AF_UNSPEC for both. Returns 0, or -1 with errno if
/// the look-up cannot begin; `failed` is called then as well, unless lwIP does not run (ENXIO, EPERM) or
/// host is NULL.
///
/// # Safety
///
/// NULL or a host_data as described there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_lookup_family(host: *mut host_data, family: c_int) -> c_int {
    // SAFETY: as the caller promised.
    status(|| unsafe { begin(host, family) })
}

/// Ends a look-up: neither `found` nor `failed` is called. At any time, from callbacks too, and harmless
/// if none is under way.
///
/// # Safety
///
/// NULL or a host_data as described there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_abort(host: *mut host_data) {
    answer((), || {
        core::stack()?;
        // SAFETY: as the caller promised.
        if let Some(host) = unsafe { host.as_mut() } {
            drop(take_entry(host.private_data.addr()));
            host.private_data = null_mut();
        }
        Ok(())
    });
}

/// Adds a name server, to be asked after those before it; `port` 0 is 53. Returns 0, or -1 with errno:
/// ENOSPC if there are 16.
///
/// # Safety
///
/// `server` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_add_server(server: *const ip_addr_t, port: u16) -> c_int {
    /// A look-up that nobody answers takes 6 seconds for each.
    const LIMIT: usize = 16;
    status(|| {
        core::stack()?;
        // SAFETY: as the caller promised.
        let address = *unsafe { server.as_ref() }.ok_or_else(|| Error::null("the server"))?;
        let server = Server { address, port: if port == 0 { PORT } else { port } };
        CONFIG.with_borrow_mut(|config| match config.servers.len() {
            LIMIT => Err(Error::new(libc::ENOSPC, format!("there are {LIMIT} name servers already"))),
            _ => {
                config.servers.push(server);
                Ok(())
            }
        })
    })
}

/// Removes all name servers, and forgets what they have said.
#[unsafe(no_mangle)]
pub extern "C" fn host_clear_servers() {
    answer((), || {
        core::stack()?;
        CONFIG.with_borrow_mut(|config| {
            config.servers.clear();
            config.cache.clear();
        });
        Ok(())
    });
}

/// Removes all search domains.
#[unsafe(no_mangle)]
pub extern "C" fn host_clear_search() {
    answer((), || {
        core::stack()?;
        CONFIG.with_borrow_mut(|config| config.search.clear());
        Ok(())
    });
}

/// Adds a search domain, such as strdup("example.com"). The string is the library's from then on, which
/// frees it with free().
///
/// # Safety
///
/// NULL or a C string that malloc() has made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn host_add_search(malloced: *mut c_char) {
    answer((), || {
        core::stack()?;
        let domain = NonNull::new(malloced).ok_or_else(|| Error::null("the search domain"))?;
        CONFIG.with_borrow_mut(|config| config.search.push(Malloced(domain)));
        Ok(())
    });
}

/// A search domain by its place, from 0; NULL if there are no more. It is valid until
/// host_clear_search().
#[unsafe(no_mangle)]
pub extern "C" fn host_get_search(index: c_uint) -> *const c_char {
    answer(null(), || {
        core::stack()?;
        let found = CONFIG.with_borrow(|config| {
            config.search.get(index as usize).map(|domain| domain.0.as_ptr().cast_const())
        });
        Ok(found.unwrap_or(null()))
    })
}

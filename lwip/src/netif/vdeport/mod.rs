//! vdeportif: a port of a VDE switch.

mod native;
mod plug;

use std::ffi::{CStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;

use super::{Driver, Netif, Setup, c_text};
use crate::core;
use crate::error::{Error, Result, answer};
use crate::options;
use crate::sys;

/// Options of vdeportif_add_ex().
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct herald_vdeportif_options {
    /// The size of this struct.
    pub size: usize,
    /// Bytes of IP in a packet: 68 to 65521; 0 for 1500.
    pub mtu: u32,
    /// The hardware address; all zero for a random one.
    pub hwaddr: [u8; 6],
    /// The number of the switch's port, 1 to 65535; 0 for any that is free.
    pub port: u32,
    /// The mode of the socket that the switch sends to, as for chmod(); 0 for that of the switch's own.
    pub mode: u32,
    /// What the switch shows of this port; NULL for the process's id.
    pub description: *const c_char,
}

/// How a switch is named.
enum Name<'a> {
    /// The directory of its sockets.
    Directory(&'a Path),
    /// Something that libvdeplug knows.
    Url(&'a CStr),
}

fn name(text: &CStr) -> Name<'_> {
    let bytes = text.to_bytes();
    let path = bytes.strip_prefix(b"vde://").unwrap_or(bytes);
    let for_library = path.is_empty()
        || path.ends_with(b"]")
        || path.windows(3).any(|three| three == b"://")
        // The libraries look for a default here.
        || !path.contains(&b'/');
    match for_library {
        true => Name::Url(text),
        false => Name::Directory(Path::new(std::ffi::OsStr::from_bytes(path))),
    }
}

/// # Safety
///
/// The strings are C strings, or null for the default.
unsafe fn add(
    base: *mut sys::event_base,
    switch: *const c_char,
    options: &herald_vdeportif_options,
) -> Result<*mut sys::netif> {
    core::stack_on(base)?;
    // SAFETY: as the caller promised.
    let text = |text: *const c_char| (!text.is_null()).then(|| unsafe { c_text(text, "") }).transpose();
    let switch = text(switch)?.unwrap_or_default();
    let description = match text(options.description)? {
        Some(text) => text.to_string_lossy().into_owned(),
        None => format!("herald_lwip: pid={}", std::process::id()),
    };
    if options.port > u32::from(u16::MAX) {
        return Err(Error::invalid(format!("port {} of a switch: the last is 65535", options.port)));
    }
    let mut setup = Setup::new(b"vp", true);
    setup.mtu = options.mtu;
    setup.hwaddr = options.hwaddr;
    let netif = Netif::add(&setup, |netif| {
        let wish = Wish { port: options.port, mode: options.mode & 0o777, description };
        Ok(match name(switch) {
            Name::Directory(path) => Box::new(native::join(path, &wish, netif)?) as Box<dyn Driver>,
            Name::Url(url) => Box::new(plug::open(url, &wish, netif)?),
        })
    })?;
    Ok(netif.raw())
}

/// How a port is to be.
struct Wish {
    port: u32,
    mode: u32,
    description: String,
}

/// Adds a netif that is a port of a VDE switch: of the one whose sockets are in the directory
/// `vde_switch`, such as `"/run/vde.ctl"` (`"vde:///run/vde.ctl"` is the same); or of whatever
/// libvdeplug can connect to: `"vxvde://"`, `"tap://name"`, and with NULL or `""` its default. For these
/// `libvdeplug.so.2` is loaded; ENOSYS if there is none on the machine, and the call lasts as long as
/// that library takes. A directory needs no library, and the call does not wait for the switch, which may be
/// a vdeswitchif_add() of the same program: until the switch has answered, up to 64 frames wait. If it
/// refuses, or goes away later, the netif is down: herald_netif_set_down_cb(). Returns NULL with errno:
/// ENOENT if there is no such switch, ECONNREFUSED if it is dead.
///
/// # Safety
///
/// `vde_switch` is NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdeportif_add(
    base: *mut sys::event_base,
    vde_switch: *const c_char,
) -> *mut sys::netif {
    // SAFETY: the same promise; NULL is all defaults.
    unsafe { vdeportif_add_ex(base, vde_switch, std::ptr::null()) }
}

/// vdeportif_add() with options; NULL is all defaults.
///
/// # Safety
///
/// `vde_switch` is NULL or a C string; the options are NULL or as large as their first field says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vdeportif_add_ex(
    base: *mut sys::event_base,
    vde_switch: *const c_char,
    options: *const herald_vdeportif_options,
) -> *mut sys::netif {
    answer(null_mut(), || {
        // SAFETY: as the caller promised.
        unsafe {
            let options = options::read_sized(options, "the options of vdeportif")?;
            add(base, vde_switch, &options)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_ours_and_everything_else_is_for_the_library() {
        let is_directory = |text: &CStr, path: &str| match name(text) {
            Name::Directory(found) => found == Path::new(path),
            Name::Url(_) => false,
        };
        assert!(is_directory(c"/run/vde.ctl", "/run/vde.ctl"));
        assert!(is_directory(c"./switch", "./switch"));
        assert!(is_directory(c"vde:///run/vde.ctl", "/run/vde.ctl"));
        for url in [c"", c"vde://", c"tap://t0", c"vxvde://239.1.2.3", c"/run/vde.ctl[5]", c"work"] {
            assert!(matches!(name(url), Name::Url(found) if found == url), "{url:?}");
        }
    }
}

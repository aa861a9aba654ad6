//! The message table: VPP learns which messages there are, and which function handles which request.

use std::ffi::{c_char, c_void};

use herald_vpp_api::frame::{self, HEADER};
use herald_vpp_api::{Api, json};
use vpp_plugin::bindings::{
    uword, vl_msg_api_add_msg_name_crc, vl_msg_api_config, vl_msg_api_get_msg_ids,
    vl_msg_api_msg_config_t, vlibapi_helper_get_main,
};
use vpp_plugin::vppinfra::vec::Vec as VppVec;

use super::output::c_text;
use crate::entry::enter;
use crate::handlers::{ENABLE, Handler, WANT};

/// The length of a request of ours: both have an id, a client index, a context, a bool and a u32.
pub const REQUEST_LENGTH: usize = 2 + 4 + 4 + 1 + 4;

/// Enters the API's messages into VPP's table, and answers with the id of the first.
pub fn register(api: &Api) -> Result<u16, String> {
    let name = c_text(&format!("{}_{:08x}", api.name(), api.file_crc()));
    let count = api.messages().len().try_into().map_err(|_| "too many messages".to_owned())?;
    // SAFETY: VPP's API main is static; VPP copies the name.
    let (main, base) =
        unsafe { (vlibapi_helper_get_main(), vl_msg_api_get_msg_ids(name.as_ptr(), count)) };
    if base == u16::MAX {
        return Err(format!("VPP has given no message ids to {}", api.name()));
    }
    for (index, message) in api.messages().iter().enumerate() {
        let id = usize::from(base) + index;
        let name_crc = static_text(&message.name_crc());
        // SAFETY: as above; VPP keeps the pointer to the name.
        unsafe { vl_msg_api_add_msg_name_crc(main, name_crc, id as u32) };
        let mut config = vl_msg_api_msg_config_t {
            id: id as i32,
            name: static_text(&message.name),
            calc_size: size as *mut c_void,
            handler: handler(&message.name),
            ..Default::default()
        };
        // `api trace on` shows them.
        config.set_traced(1);
        // SAFETY: VPP copies the struct; the functions are of the types that it calls them by.
        unsafe { vl_msg_api_config(&raw mut config) };
    }
    // For clients that ask for the definitions, as vpp_papi does with bootstrapapi=True.
    let text: *mut u8 = static_text(&json::write(api)).cast();
    // SAFETY: the field is a vector of NUL-terminated texts, null while it is empty.
    unsafe {
        let mut texts = VppVec::from_raw((*main).json_api_repr);
        texts.push(text);
        (*main).json_api_repr = texts.into_raw();
    }
    Ok(base)
}

fn handler(message: &str) -> *mut c_void {
    match message {
        _ if message == WANT.name => want as *mut c_void,
        _ if message == ENABLE.name => enable_disable as *mut c_void,
        _ => std::ptr::null_mut(),
    }
}

unsafe extern "C" fn want(message: *mut c_void) {
    // SAFETY: it comes from VPP.
    unsafe { handle(&WANT, message) }
}

unsafe extern "C" fn enable_disable(message: *mut c_void) {
    // SAFETY: as above.
    unsafe { handle(&ENABLE, message) }
}

/// # Safety
///
/// `message` is what VPP has called one of the functions above with.
unsafe fn handle(handler: &'static Handler, message: *mut c_void) {
    let done = enter(handler.name, || {
        // SAFETY: as it says above.
        unsafe { request(message) }.map(|message| handler.run(&message))
    });
    if done.is_none() {
        // SAFETY: as it says above.
        enter("failed request", || unsafe { request(message) }.map(|message| handler.fail(&message)));
    }
}

/// A copy of a request, since a client with shared memory can still write to it; none if it is too short.
/// VPP has compared the length with what [`size`] says only if the request has come by a socket.
///
/// # Safety
///
/// As for [`handle`].
unsafe fn request(message: *mut c_void) -> Option<[u8; REQUEST_LENGTH]> {
    let message = message.cast::<u8>();
    // SAFETY: VPP has every message behind a header, as on the socket, whichever way it has come, and as
    // much memory for it as the header says.
    unsafe {
        let header = message.sub(HEADER).cast::<[u8; HEADER]>().read_volatile();
        let long_enough = frame::message_len(&header) as usize >= REQUEST_LENGTH;
        long_enough.then(|| message.cast::<[u8; REQUEST_LENGTH]>().read_volatile())
    }
}

unsafe extern "C" fn size(_message: *mut c_void) -> uword {
    REQUEST_LENGTH as uword
}

/// VPP keeps pointers to the texts of the table for as long as it runs.
fn static_text(text: &str) -> *mut c_char {
    c_text(text).into_raw()
}

//! The message table: VPP learns which messages there are, and which function handles which request.

use std::ffi::{CString, c_char, c_void};

use herald_vpp_api::{Api, json};
use vpp_plugin::bindings::{
    uword, vl_msg_api_add_msg_name_crc, vl_msg_api_config, vl_msg_api_get_msg_ids,
    vl_msg_api_msg_config_t, vlibapi_helper_get_main,
};
use vpp_plugin::vppinfra::vec::Vec as VppVec;

use crate::entry::enter;
use crate::handlers;

/// The length of a request of ours: both have an id, a client index, a context, a bool and a u32.
pub const REQUEST_LENGTH: usize = 2 + 4 + 4 + 1 + 4;

/// Enters the API's messages into VPP's table, and answers with the id of the first.
pub fn register(api: &Api) -> Result<u16, String> {
    let name = static_text(&format!("{}_{:08x}", api.name(), api.file_crc()));
    let count = api.messages().len().try_into().map_err(|_| "too many messages".to_owned())?;
    // SAFETY: VPP's API main is static; the name stays.
    let (main, base) = unsafe { (vlibapi_helper_get_main(), vl_msg_api_get_msg_ids(name, count)) };
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
        handlers::WANT => want as *mut c_void,
        handlers::ENABLE => enable_disable as *mut c_void,
        _ => std::ptr::null_mut(),
    }
}

unsafe extern "C" fn want(message: *mut c_void) {
    // SAFETY: VPP has checked the length of the message.
    let message = unsafe { request(message) };
    let _ = enter(|| handlers::want(message));
}

unsafe extern "C" fn enable_disable(message: *mut c_void) {
    // SAFETY: as above.
    let message = unsafe { request(message) };
    let _ = enter(|| handlers::enable_disable(message));
}

/// # Safety
///
/// VPP drops messages that are shorter than what [`size`] says, and hands over the others.
unsafe fn request<'a>(message: *mut c_void) -> &'a [u8] {
    // SAFETY: so there are as many bytes, which stay during the call.
    unsafe { std::slice::from_raw_parts(message.cast(), REQUEST_LENGTH) }
}

unsafe extern "C" fn size(_message: *mut c_void) -> uword {
    REQUEST_LENGTH as uword
}

/// VPP keeps pointers to the texts of the table for as long as it runs.
fn static_text(text: &str) -> *mut c_char {
    CString::new(text.replace('\0', " ")).unwrap_or_default().into_raw()
}

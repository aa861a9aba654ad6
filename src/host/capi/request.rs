//! Requests of clients of the VPP API, and their answers.

use std::ffi::{c_char, c_void};

use herald_vpp_api::codec::Item;

use super::error::{Failure, answer};
use super::publish::with_params;
use super::{
    HERALD_ERROR_INTERNAL, HERALD_ERROR_MESSAGE, HERALD_TYPE_BOOL, HERALD_TYPE_BYTES, HERALD_TYPE_FLOAT,
    HERALD_TYPE_INT, HERALD_TYPE_STRING, HERALD_TYPE_UINT, herald_bytes, herald_error, herald_param,
    herald_value, slice, text,
};
use crate::event::Param;
use crate::transport::vpp_api::{AnswerError, Request};

/// A request of a client of the VPP API. It belongs to the handler that it was given to, which ends it
/// by herald_request_reply() or herald_request_end(): at once or later, on any thread, also when the
/// client has gone (then nothing happens) and even after the hub has been closed. Only one thread may use
/// it at a time. Opaque.
pub struct herald_request(pub(super) Request);

/// Answers a request, or keeps it to answer it later. Called on the worker thread of the hub: until it
/// returns, no event of the hub goes out. It may publish; it must not close the hub or serve on it.
///
/// Replies go out in the order of a client's requests: what it asks after this one, GoVPP's health checks
/// among it, waits until this one is answered.
pub type herald_request_handler =
    Option<unsafe extern "C" fn(context: *mut c_void, request: *mut herald_request)>;

/// The message as the client sent it, its id included: a packed struct as herald-apigen makes it, in
/// network byte order. It has been checked to be as long as its fields say. The bytes belong to the
/// request.
///
/// Errors: HERALD_ERROR_NULL.
///
/// # Safety
///
/// The pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_request_message(
    request: *const herald_request,
    message: *mut herald_bytes,
) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        // SAFETY: null or valid, as the caller promised.
        answer(unsafe { own(request) }.and_then(|request| {
            let bytes = request.0.bytes();
            // SAFETY: as above.
            let message = unsafe { message.as_mut() }.ok_or_else(|| Failure::null("message"))?;
            *message = herald_bytes { data: bytes.as_ptr().cast(), length: bytes.len() };
            Ok(())
        }))
    })
}

/// Reads a field of a request, such as "enable" or "address.af", into the type and the value of `field`;
/// its name is set to NULL. Texts come without their padding and are not ended by a NUL; they and bytes
/// belong to the request.
///
/// Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_MESSAGE (no such field; an array of
/// anything but u8 can only be read from herald_request_message()).
///
/// # Safety
///
/// The pointers are NULL or valid; `name` is NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_request_field(
    request: *const herald_request,
    name: *const c_char,
    field: *mut herald_param,
) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        // SAFETY: as the caller promised.
        answer(unsafe { read_field(request, name, field) })
    })
}

/// # Safety
///
/// As for [`herald_request_field`].
unsafe fn read_field(
    request: *const herald_request,
    name: *const c_char,
    field: *mut herald_param,
) -> Result<(), Failure> {
    // SAFETY: as the caller promised.
    let (request, name) = unsafe { (own(request)?, text(name, "name")?) };
    // SAFETY: as above.
    let field = unsafe { field.as_mut() }.ok_or_else(|| Failure::null("field"))?;
    let found = request.0.fields().and_then(|fields| fields.get(name));
    let bytes = |bytes: &[u8]| herald_value {
        bytes: herald_bytes { data: bytes.as_ptr().cast(), length: bytes.len() },
    };
    let (kind, value) = match found {
        Some(Item::Bool(boolean)) => (HERALD_TYPE_BOOL, herald_value { boolean }),
        Some(Item::Unsigned(unsigned_number)) => (HERALD_TYPE_UINT, herald_value { unsigned_number }),
        Some(Item::Signed(signed_number)) => (HERALD_TYPE_INT, herald_value { signed_number }),
        Some(Item::Float(floating)) => (HERALD_TYPE_FLOAT, herald_value { floating }),
        Some(Item::Text(text)) => (HERALD_TYPE_STRING, bytes(text.as_bytes())),
        Some(Item::Bytes(found)) => (HERALD_TYPE_BYTES, bytes(found)),
        None => {
            let detail = format!("{}: field '{name}': the message has no such field", request.0.name());
            return Err(Failure::new(HERALD_ERROR_MESSAGE, detail));
        }
    };
    *field = herald_param { name: std::ptr::null(), r#type: kind, value };
    Ok(())
}

/// Sends one of the details of a dump: a parameter for each field, as herald_vpp_api_publish() takes
/// them. `context` is filled in. After the last, end the request.
///
/// Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_MESSAGE (the request is no dump, or a
/// field does not fit).
///
/// # Safety
///
/// `request` is NULL or valid; `params` is NULL or `count` parameters.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_request_details(
    request: *mut herald_request,
    params: *const herald_param,
    count: usize,
) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        // SAFETY: null or valid, as the caller promised.
        let request = unsafe { own(request) };
        // SAFETY: as the caller promised.
        answer(request.and_then(|request| unsafe {
            fill(params, count, |fields| request.0.details(fields.iter().copied()))
        }))
    })
}

/// Replies to a request and ends it: a parameter for each field, as herald_vpp_api_publish() takes them.
/// `context` and `retval` are filled in. Of a dump with a cursor the reply comes after the details. Sets
/// `*request` to NULL; after an error it is still there, to be replied to or ended.
///
/// Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_MESSAGE (the request has no reply, or a
/// field does not fit).
///
/// # Safety
///
/// `request` is NULL or valid, `*request` is NULL or valid; `params` is NULL or `count` parameters.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_request_reply(
    request: *mut *mut herald_request,
    retval: i32,
    params: *const herald_param,
    count: usize,
) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        // SAFETY: as the caller promised.
        answer(unsafe { reply(request, retval, params, count) })
    })
}

/// # Safety
///
/// As for [`herald_request_reply`].
unsafe fn reply(
    request: *mut *mut herald_request,
    retval: i32,
    params: *const herald_param,
    count: usize,
) -> Result<(), Failure> {
    // SAFETY: null or valid, as the caller promised.
    let place = unsafe { request.as_mut() }.ok_or_else(|| Failure::null("request"))?;
    // SAFETY: null or valid, and used by nobody else meanwhile, as the caller promised.
    let open = unsafe { place.as_mut() }.ok_or_else(|| Failure::null("*request"))?;
    // SAFETY: as the caller promised.
    unsafe { fill(params, count, |fields| open.0.reply(retval, fields.iter().copied())) }?;
    // SAFETY: it came from Box::into_raw, and its only owner's pointer is NULL from now on.
    drop(unsafe { Box::from_raw(std::mem::replace(place, std::ptr::null_mut())) });
    Ok(())
}

/// Ends a request without a reply: a dump after its details, or a request that needs no answer. A client
/// that waits for a reply is answered UNSPECIFIED (-1). Sets `*request` to NULL, so that ending it again
/// does nothing.
///
/// Errors: HERALD_ERROR_NULL if `request` is NULL.
///
/// # Safety
///
/// `request` is NULL or valid, and `*request` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_request_end(request: *mut *mut herald_request) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        if request.is_null() {
            return answer(Err(Failure::null("request")));
        }
        // SAFETY: not null, and valid as the caller promised.
        let taken = unsafe { request.replace(std::ptr::null_mut()) };
        if !taken.is_null() {
            // SAFETY: it came from Box::into_raw, and its only owner's pointer is NULL now.
            drop(unsafe { Box::from_raw(taken) });
        }
        answer(Ok(()))
    })
}

/// Calls `send` with the caller's parameters.
///
/// # Safety
///
/// `params` is null or `count` parameters.
unsafe fn fill(
    params: *const herald_param,
    count: usize,
    send: impl FnOnce(&[Param<'_>]) -> Result<(), AnswerError>,
) -> Result<(), Failure> {
    // SAFETY: as the caller promised.
    let params = unsafe { slice(params, count, "params") }?;
    // SAFETY: as above.
    Ok(unsafe { with_params(params, send) }??)
}

/// # Safety
///
/// `request` is null or valid for as long as the result is used.
unsafe fn own<'a>(request: *const herald_request) -> Result<&'a herald_request, Failure> {
    // SAFETY: as the caller promised.
    unsafe { request.as_ref() }.ok_or_else(|| Failure::null("request"))
}

impl From<AnswerError> for Failure {
    fn from(error: AnswerError) -> Self {
        Failure::new(HERALD_ERROR_MESSAGE, error.to_string())
    }
}

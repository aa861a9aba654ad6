//! Publishing.

use std::ffi::{CStr, c_char, c_void};
use std::mem::MaybeUninit;

use super::error::{Failure, answer, publish_code};
use super::{
    HERALD_ERROR_INTERNAL, HERALD_ERROR_TOO_LARGE, HERALD_OK, borrow, herald_error, herald_hub, slice,
    text,
};
use crate::event::{Event, L2tp, L2tpKind, Param, Value};

/// What can happen to an L2TP session or tunnel: one of HERALD_L2TP_*.
pub type herald_l2tp_kind = u32;

/// E_L2TP_SESSION_CREATED (tunnel_id, session_id)
pub const HERALD_L2TP_SESSION_CREATED: herald_l2tp_kind = 0;
/// E_L2TP_SESSION_DELETED (tunnel_id, session_id)
pub const HERALD_L2TP_SESSION_DELETED: herald_l2tp_kind = 1;
/// E_L2TP_SESSION_UP (tunnel_id, session_id, peer_tunnel_id, peer_session_id)
pub const HERALD_L2TP_SESSION_UP: herald_l2tp_kind = 2;
/// E_L2TP_SESSION_DOWN (tunnel_id, session_id)
pub const HERALD_L2TP_SESSION_DOWN: herald_l2tp_kind = 3;
/// E_L2TP_SESSION_MODIFIED (tunnel_id, session_id)
pub const HERALD_L2TP_SESSION_MODIFIED: herald_l2tp_kind = 4;
/// E_L2TP_TUNNEL_CREATED (tunnel_id)
pub const HERALD_L2TP_TUNNEL_CREATED: herald_l2tp_kind = 5;
/// E_L2TP_TUNNEL_DELETED (tunnel_id)
pub const HERALD_L2TP_TUNNEL_DELETED: herald_l2tp_kind = 6;
/// E_L2TP_TUNNEL_UP (tunnel_id, peer_tunnel_id)
pub const HERALD_L2TP_TUNNEL_UP: herald_l2tp_kind = 7;
/// E_L2TP_TUNNEL_DOWN (tunnel_id)
pub const HERALD_L2TP_TUNNEL_DOWN: herald_l2tp_kind = 8;
/// E_L2TP_TUNNEL_MODIFIED (tunnel_id)
pub const HERALD_L2TP_TUNNEL_MODIFIED: herald_l2tp_kind = 9;

/// The type of a value: one of HERALD_TYPE_*.
pub type herald_type = u32;

/// No value.
pub const HERALD_TYPE_NULL: herald_type = 0;
/// value.signed_number
pub const HERALD_TYPE_INT: herald_type = 1;
/// value.unsigned_number
pub const HERALD_TYPE_UINT: herald_type = 2;
/// value.floating
pub const HERALD_TYPE_FLOAT: herald_type = 3;
/// value.boolean
pub const HERALD_TYPE_BOOL: herald_type = 4;
/// value.bytes, which are text, UTF-8 by convention
pub const HERALD_TYPE_STRING: herald_type = 5;
/// value.bytes, which are no text
pub const HERALD_TYPE_BYTES: herald_type = 6;

/// Bytes that the caller owns.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct herald_bytes {
    /// The first byte; may be NULL if there are none.
    pub data: *const c_void,
    /// How many.
    pub length: usize,
}

/// A value; which member counts is said by the herald_type beside it.
#[repr(C)]
#[derive(Clone, Copy)]
pub union herald_value {
    /// For HERALD_TYPE_INT.
    pub signed_number: i64,
    /// For HERALD_TYPE_UINT.
    pub unsigned_number: u64,
    /// For HERALD_TYPE_FLOAT: an IEEE 754 double.
    pub floating: f64,
    /// For HERALD_TYPE_BOOL.
    pub boolean: bool,
    /// For HERALD_TYPE_STRING and HERALD_TYPE_BYTES.
    pub bytes: herald_bytes,
}

/// A parameter of an event. The herald_param_* functions make one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct herald_param {
    /// The name, UTF-8; NULL or empty if the parameter has none.
    pub name: *const c_char,
    /// The type of the value.
    pub r#type: herald_type,
    /// The value.
    pub value: herald_value,
}

/// Parameters that are converted without an allocation.
const FEW: usize = 32;

/// Publishes an event: a name and `count` parameters. Everything is copied before it returns.
///
/// Never blocks; makes no system call while the worker is awake, and at most two otherwise.
/// Allocates only on a thread's first publish, and for more than 32 parameters. Events of one
/// thread reach every subscriber in order. It can be left by siglongjmp() at any instruction: the
/// event is then published or not, and the hub stays whole.
///
/// Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID (no name, a name that is not UTF-8, an unknown
/// type), HERALD_ERROR_RING_FULL, HERALD_ERROR_TOO_LARGE, HERALD_ERROR_CLOSED,
/// HERALD_ERROR_FORKED, HERALD_ERROR_FAILED.
///
/// # Safety
///
/// `hub` is NULL or open; `name` is NULL or a C string; `params` is NULL or `count` parameters.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_publish(
    hub: *mut herald_hub,
    name: *const c_char,
    params: *const herald_param,
    count: usize,
) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        // SAFETY: as the caller promised.
        match unsafe { publish(hub, name, params, count) } {
            Ok(code) => code,
            Err(failure) => answer(Err(failure)),
        }
    })
}

/// # Safety
///
/// As for [`herald_publish`].
unsafe fn publish(
    hub: *mut herald_hub,
    name: *const c_char,
    params: *const herald_param,
    count: usize,
) -> Result<herald_error, Failure> {
    // SAFETY: as the caller promised.
    let (hub, name) = unsafe { (borrow(hub)?, text(name, "name")?) };
    if name.is_empty() {
        return Err(Failure::invalid("name is empty".into()));
    }
    if count > Event::MAX_PARAMS {
        return Ok(HERALD_ERROR_TOO_LARGE);
    }
    // SAFETY: as the caller promised.
    let params = unsafe { slice(params, count, "params") }?;
    // SAFETY: the caller's parameters, valid as promised.
    unsafe { with_params(params, |params| code(hub.0.publish(&Event::new(name, params)))) }
}

/// Calls `body` with the caller's parameters; without an allocation, unless there are many.
///
/// # Safety
///
/// The parameters' pointers are null or valid during the call.
pub(super) unsafe fn with_params<T>(
    params: &[herald_param],
    body: impl FnOnce(&[Param<'_>]) -> T,
) -> Result<T, Failure> {
    let mut few = [const { MaybeUninit::<Param>::uninit() }; FEW];
    let many: Vec<Param>;
    let converted: &[Param] = if params.len() <= FEW {
        for (index, (to, param)) in few.iter_mut().zip(params).enumerate() {
            // SAFETY: the caller's parameter, valid as promised.
            to.write(unsafe { convert(index, param) }?);
        }
        // SAFETY: as many as there are parameters were written above.
        unsafe { std::slice::from_raw_parts(few.as_ptr().cast(), params.len()) }
    } else {
        // SAFETY: as above.
        let all = params.iter().enumerate().map(|(index, param)| unsafe { convert(index, param) });
        many = all.collect::<Result<_, _>>()?;
        &many
    };
    Ok(body(converted))
}

/// # Safety
///
/// The parameter's pointers are null or valid for as long as the result is used.
unsafe fn convert<'a>(index: usize, param: &herald_param) -> Result<Param<'a>, Failure> {
    // SAFETY: as the caller promised.
    let name = std::str::from_utf8(unsafe { name_of(param) })
        .map_err(|_| Failure::invalid(format!("params[{index}].name is not UTF-8")))?;
    // SAFETY: as the caller promised.
    Ok(Param { name, value: unsafe { known_value(index, param) }? })
}

/// The value of a parameter, or what is wrong with it.
///
/// # Safety
///
/// As for [`value_of`].
pub(super) unsafe fn known_value<'a>(index: usize, param: &herald_param) -> Result<Value<'a>, Failure> {
    // SAFETY: as the caller promised.
    unsafe { value_of(param) }.ok_or_else(|| match param.r#type {
        HERALD_TYPE_STRING | HERALD_TYPE_BYTES => {
            let what = format!("params[{index}].value.bytes.data");
            // SAFETY: as the caller promised; the type says that these are the bytes.
            let refused = unsafe {
                let herald_bytes { data, length } = param.value.bytes;
                slice::<u8>(data.cast(), length, &what)
            };
            refused.err().unwrap_or_else(|| Failure::null(&what))
        }
        other => Failure::invalid(format!("params[{index}].type is {other}, which is no type")),
    })
}

/// The name of a parameter; empty if it has none.
///
/// # Safety
///
/// The name is null or a C string that lives as long as the result is used.
#[inline(always)]
pub(super) unsafe fn name_of<'a>(param: &herald_param) -> &'a [u8] {
    match param.name.is_null() {
        true => &[],
        // SAFETY: a C string, as the caller promised.
        false => unsafe { CStr::from_ptr(param.name) }.to_bytes(),
    }
}

/// The value of a parameter; none if its type is none, or its bytes are NULL.
///
/// # Safety
///
/// The value's pointer is null or valid for as long as the result is used.
#[inline(always)]
pub(super) unsafe fn value_of<'a>(param: &herald_param) -> Option<Value<'a>> {
    // SAFETY: the type says which member the caller has written; every bit pattern is a number,
    // and of the boolean only the byte is looked at.
    Some(unsafe {
        match param.r#type {
            HERALD_TYPE_NULL => Value::Null,
            HERALD_TYPE_INT => Value::Int(param.value.signed_number),
            HERALD_TYPE_UINT => Value::Uint(param.value.unsigned_number),
            HERALD_TYPE_FLOAT => Value::Float(param.value.floating),
            HERALD_TYPE_BOOL => Value::Bool((&raw const param.value).cast::<u8>().read() != 0),
            HERALD_TYPE_STRING => Value::Str(bytes(param.value.bytes)?),
            HERALD_TYPE_BYTES => Value::Bytes(bytes(param.value.bytes)?),
            _ => return None,
        }
    })
}

/// # Safety
///
/// The bytes are null or valid for as long as the result is used.
#[inline(always)]
pub(super) unsafe fn bytes<'a>(bytes: herald_bytes) -> Option<&'a [u8]> {
    // SAFETY: as the caller promised.
    unsafe { slice(bytes.data.cast(), bytes.length, "") }.ok()
}

/// Publishes an L2TP event. `kind` is one of HERALD_L2TP_*; identifiers that it has no parameter
/// for are ignored. Costs and errors are those of herald_publish().
///
/// # Safety
///
/// `hub` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_publish_l2tp(
    hub: *mut herald_hub,
    kind: herald_l2tp_kind,
    tunnel_id: u16,
    session_id: u16,
    peer_tunnel_id: u16,
    peer_session_id: u16,
) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        // SAFETY: as the caller promised.
        let hub = match unsafe { borrow(hub) } {
            Ok(hub) => hub,
            Err(failure) => return answer(Err(failure)),
        };
        let Some(kind) = l2tp_kind(kind) else {
            return answer(Err(Failure::invalid(format!("kind is {kind}, which is no L2TP event"))));
        };
        let l2tp = L2tp { kind, tunnel_id, session_id, peer_tunnel_id, peer_session_id };
        code(hub.0.publish(&l2tp.into()))
    })
}

fn l2tp_kind(kind: herald_l2tp_kind) -> Option<L2tpKind> {
    Some(match kind {
        HERALD_L2TP_SESSION_CREATED => L2tpKind::SessionCreated,
        HERALD_L2TP_SESSION_DELETED => L2tpKind::SessionDeleted,
        HERALD_L2TP_SESSION_UP => L2tpKind::SessionUp,
        HERALD_L2TP_SESSION_DOWN => L2tpKind::SessionDown,
        HERALD_L2TP_SESSION_MODIFIED => L2tpKind::SessionModified,
        HERALD_L2TP_TUNNEL_CREATED => L2tpKind::TunnelCreated,
        HERALD_L2TP_TUNNEL_DELETED => L2tpKind::TunnelDeleted,
        HERALD_L2TP_TUNNEL_UP => L2tpKind::TunnelUp,
        HERALD_L2TP_TUNNEL_DOWN => L2tpKind::TunnelDown,
        HERALD_L2TP_TUNNEL_MODIFIED => L2tpKind::TunnelModified,
        _ => return None,
    })
}

fn code(published: Result<(), crate::hub::PublishError>) -> herald_error {
    match published {
        Ok(()) => HERALD_OK,
        Err(refused) => publish_code(refused),
    }
}

//! OpenSIPS's structures, as every version from 2.4.0 to 4.0 lays them out on x86-64 (measured on
//! real builds). What differs between versions is in [`super::exports`].

use std::ffi::{c_char, c_int, c_uint, c_ushort, c_void};
use std::mem::{offset_of, size_of};

/// `str`: text with a length, not ended by zero.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Str {
    pub s: *const c_char,
    pub len: c_int,
}

impl Str {
    pub const EMPTY: Str = Str { s: std::ptr::null(), len: 0 };

    pub const fn new(text: &'static str) -> Str {
        Str { s: text.as_ptr().cast(), len: text.len() as c_int }
    }

    /// The bytes; none if there is no text.
    ///
    /// # Safety
    ///
    /// `s` is null or points to `len` bytes that live as long as the result is used.
    pub unsafe fn bytes<'a>(&self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.len).ok()?;
        // SAFETY: not null, and as many bytes as the caller promised.
        (!self.s.is_null()).then(|| unsafe { std::slice::from_raw_parts(self.s.cast(), len) })
    }
}

/// `evi_export_t`: a transport module, for `register_event_mod`.
#[repr(C)]
pub struct EviExport {
    pub proto: Str,
    pub raise: unsafe extern "C" fn(*mut c_void, *const Str, *mut ReplySock, *const Params) -> c_int,
    pub parse: unsafe extern "C" fn(Str) -> *mut ReplySock,
    pub matches: unsafe extern "C" fn(*const ReplySock, *const ReplySock) -> c_int,
    pub free: unsafe extern "C" fn(*mut ReplySock),
    pub print: unsafe extern "C" fn(*const ReplySock) -> Str,
    pub flags: c_uint,
}

/// `evi_reply_sock`: a subscription.
#[repr(C)]
pub struct ReplySock {
    pub flags: c_uint,
    pub port: c_ushort,
    pub address: Str,
    pub expire: c_uint,
    pub subscription_time: i64,
    pub src_addr: [u64; 14],
    pub params: *mut c_void,
}

/// Flags of a subscription.
pub const HAS_ADDRESS: c_uint = 1 << 1;
pub const HAS_PORT: c_uint = 1 << 2;
pub const HAS_SOCKET: c_uint = 1 << 3;
pub const HAS_EXPIRE: c_uint = 1 << 8;

/// By which the stock transports identify themselves; other modules know these numbers.
pub const UDP: c_uint = 1 << 30;
pub const UNIX: c_uint = 1 << 29;

/// `evi_params_t`: an event's parameters.
#[repr(C)]
pub struct Params {
    pub flags: c_int,
    pub first: *const Param,
    pub last: *const Param,
}

/// `evi_param_t`: one parameter, in a list.
#[repr(C)]
pub struct Param {
    pub flags: c_int,
    /// A `str`, or an `int` in its first bytes.
    pub value: Str,
    pub name: Str,
    pub next: *const Param,
}

/// The value is an `int`.
pub const INT_VALUE: c_int = 1;

/// `param_export_t`: a module parameter.
#[repr(C)]
pub struct ParamExport {
    pub name: *const c_char,
    pub kind: c_int,
    pub pointer: *mut c_void,
}

/// Types of a module parameter.
pub const STRING_PARAM: c_int = 1;
pub const INT_PARAM: c_int = 2;

/// `stat_export_t`: a statistic.
#[repr(C)]
pub struct StatExport {
    pub name: *const c_char,
    pub flags: c_ushort,
    pub pointer: *const c_void,
}

/// The statistic is a function.
pub const STAT_IS_FUNCTION: c_ushort = 8;

const _: () = {
    assert!(size_of::<Str>() == 16);
    assert!(size_of::<EviExport>() == 64 && offset_of!(EviExport, flags) == 56);
    assert!(offset_of!(EviExport, raise) == 16 && offset_of!(EviExport, print) == 48);
    assert!(size_of::<ReplySock>() == 160 && offset_of!(ReplySock, params) == 152);
    assert!(offset_of!(ReplySock, port) == 4 && offset_of!(ReplySock, address) == 8);
    assert!(offset_of!(ReplySock, expire) == 24 && offset_of!(ReplySock, subscription_time) == 32);
    assert!(offset_of!(ReplySock, src_addr) == 40);
    assert!(size_of::<Params>() == 24 && offset_of!(Params, first) == 8);
    assert!(size_of::<Param>() == 48 && offset_of!(Param, value) == 8);
    assert!(offset_of!(Param, name) == 24 && offset_of!(Param, next) == 40);
    assert!(size_of::<ParamExport>() == 24 && offset_of!(ParamExport, pointer) == 16);
    assert!(size_of::<StatExport>() == 24 && offset_of!(StatExport, pointer) == 16);
};

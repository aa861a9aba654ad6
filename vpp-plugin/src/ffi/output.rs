//! What VPP says about itself, and what we say to those who look at VPP.

use std::cell::OnceCell;
use std::ffi::{CString, c_char};
use std::mem::ManuallyDrop;

use herald::log::Level;
use vpp_plugin::bindings::{vlib_cli_output, vlib_helper_format_vnet_sw_if_index_name, vnet_get_main};
use vpp_plugin::vlib::BarrierHeldMainRef;
use vpp_plugin::vppinfra::vec::Vec as VppVec;

// Of vlib/log.h, which the crate has no bindings for.
unsafe extern "C" {
    fn vlib_log_register_class(class: *mut c_char, subclass: *mut c_char) -> u32;
    fn vlib_log(level: u32, class: u32, format: *mut c_char, ...);
}

/// Prints lines to whoever has given the CLI command.
pub fn print(vm: &BarrierHeldMainRef, text: &str) {
    let text = c_text(text);
    // SAFETY: the format takes one C string, which outlives the call.
    unsafe { vlib_cli_output(vm.as_ptr(), c"%s".as_ptr().cast_mut(), text.as_ptr()) };
}

/// Writes a line to VPP's log. On the main thread only.
pub fn log(level: Level, text: &str) {
    thread_local! {
        static CLASS: OnceCell<u32> = const { OnceCell::new() };
    }
    // VLIB_LOG_LEVEL_EMERG is 1, so a level of syslog's is one less than VPP's.
    let level = level as u32 + 1;
    let text = c_text(text);
    // SAFETY: VPP copies the name of the class; the format takes one C string, which outlives the call.
    unsafe {
        let class = CLASS.with(|class| {
            *class.get_or_init(|| {
                vlib_log_register_class(c"herald".as_ptr().cast_mut(), std::ptr::null_mut())
            })
        });
        vlib_log(level, class, c"%s".as_ptr().cast_mut(), text.as_ptr());
    }
}

/// The name of an interface, such as `loop0`.
pub fn interface_name(index: u32) -> String {
    // SAFETY: the function takes VPP's main for interfaces and an index, which it checks, and returns a
    // vector that is then ours.
    let name = unsafe {
        VppVec::<u8>::from_raw(vlib_helper_format_vnet_sw_if_index_name(
            std::ptr::null_mut(),
            vnet_get_main(),
            index,
        ))
    };
    String::from_utf8_lossy(name.as_slice()).into_owned()
}

/// The interface of a piece of hardware.
pub fn interface_of_hardware(hardware: u32) -> Option<u32> {
    // SAFETY: VPP's main for interfaces is static; the field is null or a vector, which is only read.
    let hardware_of = ManuallyDrop::new(unsafe {
        VppVec::from_raw((*vnet_get_main()).interface_main.hw_if_index_by_sw_if_index)
    });
    hardware_of.as_slice().iter().position(|of| *of == hardware)?.try_into().ok()
}

/// A text for VPP, with a space for each NUL, at which it would end.
pub(super) fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}

//! The lists in which VPP looks for whom to call: when interfaces change, when a client has gone, and
//! when the main loop has ended. C plugins enter themselves by macros, when they are loaded.

use std::cell::UnsafeCell;
use std::ptr::null_mut;

use vpp_plugin::bindings::{
    _vl_msg_api_function_list_elt_t, _vlib_init_function_list_elt_t,
    _vnet_interface_function_list_elt_t, clib_error_t, vlib_helper_get_global_main, vlib_main_t,
    vlibapi_helper_get_main, vnet_get_main, vnet_main_t,
};
use vpp_plugin::macro_support::ctor;

use crate::entry::{enter, enter_unmeasured};
use crate::interfaces::{self, Change};
use crate::{handlers, state};

/// `VNET_SW_INTERFACE_FLAG_ADMIN_UP` and `VNET_HW_INTERFACE_FLAG_LINK_UP`.
const UP: u32 = 1;
/// `VNET_ITF_FUNC_PRIORITY_LOW`: after those who have to act on the change.
const LOW: usize = 0;

/// An element of a list of VPP's, in static memory, as VPP's own macros have it.
struct Element<T>(UnsafeCell<T>);

// SAFETY: the elements are touched by the constructor and destructor below and by VPP's main thread,
// never at the same time: VPP loads and unloads plugins on its main thread.
unsafe impl<T> Sync for Element<T> {}

macro_rules! interface_element {
    ($function:ident) => {
        Element(UnsafeCell::new(_vnet_interface_function_list_elt_t {
            next_interface_function: null_mut(),
            fp: Some($function),
        }))
    };
}

static ADDED: Element<_vnet_interface_function_list_elt_t> = interface_element!(added_or_deleted);
static ADMIN: Element<_vnet_interface_function_list_elt_t> = interface_element!(admin_up_or_down);
static LINK: Element<_vnet_interface_function_list_elt_t> = interface_element!(link_up_or_down);
static GONE: Element<_vl_msg_api_function_list_elt_t> =
    Element(UnsafeCell::new(_vl_msg_api_function_list_elt_t {
        next_init_function: null_mut(),
        f: Some(client_gone),
    }));
static EXIT: Element<_vlib_init_function_list_elt_t> =
    Element(UnsafeCell::new(_vlib_init_function_list_elt_t {
        next_init_function: null_mut(),
        f: Some(main_loop_exit),
        name: c"herald_exit".as_ptr().cast_mut(),
        runs_before: null_mut(),
        runs_after: null_mut(),
        init_order: null_mut(),
    }));

/// Calls `$edit!(head, element, next)` for each list.
macro_rules! for_each_list {
    ($edit:ident) => {
        let (vnet, vlib, api) =
            (vnet_get_main(), vlib_helper_get_global_main(), vlibapi_helper_get_main());
        $edit!((*vnet).sw_interface_add_del_functions[LOW], ADDED, next_interface_function);
        $edit!((*vnet).sw_interface_admin_up_down_functions[LOW], ADMIN, next_interface_function);
        $edit!((*vnet).hw_interface_link_up_down_functions[LOW], LINK, next_interface_function);
        $edit!((*api).reaper_function_registrations, GONE, next_init_function);
        $edit!((*vlib).main_loop_exit_function_registrations, EXIT, next_init_function);
    };
}

#[ctor::ctor(crate_path = ctor)]
fn enter_lists() {
    macro_rules! push {
        ($head:expr, $element:ident, $next:ident) => {
            (*$element.0.get()).$next = $head;
            $head = $element.0.get();
        };
    }
    // SAFETY: VPP's mains are static; the plugin is loaded on the main thread, before the lists are used.
    unsafe {
        for_each_list!(push);
    }
}

#[ctor::dtor(crate_path = ctor)]
fn leave_lists() {
    macro_rules! remove {
        ($head:expr, $element:ident, $next:ident) => {
            let mut link = &raw mut $head;
            while !(*link).is_null() {
                if *link == $element.0.get() {
                    *link = (**link).$next;
                    break;
                }
                link = &raw mut (**link).$next;
            }
        };
    }
    // SAFETY: as above; every element in the lists is in static memory of a plugin that is loaded.
    unsafe {
        for_each_list!(remove);
    }
}

unsafe extern "C" fn added_or_deleted(_: *mut vnet_main_t, index: u32, added: u32) -> *mut clib_error_t {
    let change = if added != 0 { Change::Created } else { Change::Deleted };
    let _ = enter("interface", || interfaces::changed(index, change));
    null_mut()
}

unsafe extern "C" fn admin_up_or_down(_: *mut vnet_main_t, index: u32, flags: u32) -> *mut clib_error_t {
    let change = if flags & UP != 0 { Change::Up } else { Change::Down };
    let _ = enter("admin", || interfaces::changed(index, change));
    null_mut()
}

unsafe extern "C" fn link_up_or_down(_: *mut vnet_main_t, hw: u32, flags: u32) -> *mut clib_error_t {
    let change = if flags & UP != 0 { Change::LinkUp } else { Change::LinkDown };
    let _ = enter("link", || {
        super::output::interface_of_hardware(hw).map(|index| interfaces::changed(index, change))
    });
    null_mut()
}

/// VPP has closed a client's connection. The index comes as it stands in messages, in network order.
unsafe extern "C" fn client_gone(index: u32) -> *mut clib_error_t {
    let _ = enter("client gone", || handlers::client_gone(u32::from_be(index)));
    null_mut()
}

unsafe extern "C" fn main_loop_exit(_: *mut vlib_main_t) -> *mut clib_error_t {
    let _ = enter_unmeasured("exit", state::stop);
    null_mut()
}

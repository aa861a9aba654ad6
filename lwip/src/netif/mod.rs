//! What all netifs have in common: the way of a packet between lwIP and a driver, through the hooks;
//! counters, addresses, trouble and removal.
//!
//! ```text
//! lwIP  →  hooks, last to first  →  Driver::transmit
//! lwIP  ←  hooks, first to last  ←  Netif::receive
//! ```
//!
//! A kind of netif is a [`Driver`] and a function that passes it to [`Netif::add`].

mod capi;
mod checksum;
mod counters;
mod fd;
mod guard;
mod hooks;
mod ifreq;
mod lwip;
mod macs;
mod packet;
mod process;
mod reader;
mod segment;
mod slirp;
mod tun;
mod udptap;
mod unix;
mod vde;
mod vdeport;
mod vdeswitch;
mod vnet;
mod writer;

pub use capi::*;
pub(crate) use counters::Counters;
pub use fd::*;
pub(crate) use hooks::{Direction, Hook, HookId, Verdict};
pub use packet::*;
pub use process::*;
pub use slirp::*;
pub use tun::*;
pub use udptap::*;
pub use vdeport::*;
pub use vdeswitch::*;

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell, UnsafeCell};
use std::ffi::{CStr, c_char};
use std::mem::ManuallyDrop;
use std::ptr::null_mut;
use std::rc::{Rc, Weak};

use crate::core;
use crate::error::{Error, Result};
use crate::packet::Packet;
use crate::sys;

/// The length of an Ethernet header.
pub(crate) const ETHERNET: usize = sys::SIZEOF_ETH_HDR as usize;

/// What a kind of netif does with a packet that lwIP sends.
pub(crate) trait Driver {
    /// Sends a packet: an Ethernet frame, or an IP packet if the netif is not one of Ethernet. The
    /// packet is lwIP's: what is to be kept is shared or copied. An error counts as a drop, and lwIP
    /// is told of it; ENOBUFS and EAGAIN make TCP hold the packet back.
    fn transmit(&self, packet: &Packet) -> Result<()>;

    /// The netif has failed: nothing more is to be read.
    fn failed(&self) {}

    /// The kernel's interface behind the netif.
    fn device(&self) -> Option<&CStr> {
        None
    }

    /// Itself, for [`Netif::driver_as`]: of drivers that have functions of their own.
    fn as_any(&self) -> Option<&dyn Any> {
        None
    }
}

/// The largest MTU: a frame has to fit a pbuf.
pub(crate) const MOST: u32 = 65521;

/// What a netif is to be.
pub(crate) struct Setup {
    /// Two letters; lwIP adds a number.
    pub name: [u8; 2],
    /// Ethernet frames, or IP packets.
    pub ether: bool,
    /// Bytes of IP; 0 for 1500.
    pub mtu: u32,
    /// All zero for a random one of local administration.
    pub hwaddr: [u8; 6],
}

impl Setup {
    pub fn new(name: &[u8; 2], ether: bool) -> Setup {
        Setup { name: *name, ether, mtu: 0, hwaddr: [0; 6] }
    }

    pub fn mtu(&self) -> Result<u16> {
        /// The least MTU of IPv4 (RFC 791). IPv6 wants 1280 (RFC 8200); a link with less has no IPv6.
        const LEAST: u32 = 68;
        match self.mtu {
            0 => Ok(1500),
            LEAST..=MOST => Ok(self.mtu as u16),
            mtu => Err(Error::invalid(format!("an MTU of {mtu}: must be {LEAST} to {MOST}"))),
        }
    }

    fn hwaddr(&self) -> Result<[u8; 6]> {
        match self.hwaddr {
            [0, 0, 0, 0, 0, 0] => {
                let mut address = [0x02, 0, 0, 0, 0, 0];
                address[2..].copy_from_slice(&core::random()?.to_ne_bytes());
                Ok(address)
            }
            // Bit 0 of the first byte is the group bit (IEEE 802).
            [first, ..] if first & 1 == 1 => {
                Err(Error::invalid("the hardware address is one of a group, not of an interface"))
            }
            address => Ok(address),
        }
    }
}

/// What a program is told when a netif is down.
type DownCallback = Rc<dyn Fn(*mut sys::netif, &Error)>;

/// A netif of this library.
pub(crate) struct Netif {
    lwip: ManuallyDrop<Box<UnsafeCell<sys::netif>>>,
    in_lwip: Cell<bool>,
    name: [u8; 2],
    ether: bool,
    mtu: u16,
    hwaddr: [u8; 6],
    driver: OnceCell<Box<dyn Driver>>,
    hooks: RefCell<Vec<(HookId, Rc<dyn Hook>)>>,
    counters: Counters,
    on_down: RefCell<Option<DownCallback>>,
    trouble: RefCell<Option<Error>>,
    removed: Cell<bool>,
    own: Weak<Netif>,
}

impl Netif {
    /// Adds a netif: makes its driver, and tells lwIP. It is up when the program says so; its link is
    /// up at once. The driver refers back to its netif weakly.
    pub fn add(
        setup: &Setup,
        make: impl FnOnce(Weak<Netif>) -> Result<Box<dyn Driver>>,
    ) -> Result<Rc<Netif>> {
        let stack = core::stack()?;
        let (mtu, hwaddr) = (setup.mtu()?, setup.hwaddr()?);
        let netif = Rc::new_cyclic(|own| Netif {
            // SAFETY: all-zero is what lwIP expects of a netif to be added.
            lwip: ManuallyDrop::new(Box::new(UnsafeCell::new(unsafe { std::mem::zeroed() }))),
            in_lwip: Cell::default(),
            name: setup.name,
            ether: setup.ether,
            mtu,
            hwaddr,
            driver: OnceCell::new(),
            hooks: RefCell::default(),
            counters: Counters::default(),
            on_down: RefCell::default(),
            trouble: RefCell::default(),
            removed: Cell::default(),
            own: own.clone(),
        });
        let driver = make(netif.own.clone())?;
        let _ = netif.driver.set(driver);
        netif.join_lwip()?;
        stack.keep_netif(Rc::clone(&netif));
        Ok(netif)
    }

    /// The netif of this library that C knows by this address.
    pub fn find(raw: *const sys::netif) -> Result<Rc<Netif>> {
        if raw.is_null() {
            return Err(Error::null("the netif"));
        }
        core::stack()?.netif(raw).ok_or_else(|| {
            Error::new(libc::ENODEV, "the netif is not (or no longer) one that this library added")
        })
    }

    pub fn raw(&self) -> *mut sys::netif {
        self.lwip.get()
    }

    /// The driver of a netif of one kind, which the function `added` by makes.
    pub fn driver_as<D: Driver + 'static>(&self, added: &str) -> Result<&D> {
        let driver = self.driver.get().and_then(|driver| driver.as_any()?.downcast_ref());
        driver.ok_or_else(|| Error::invalid(format!("{} is not of {added}", self.name())))
    }

    pub fn is_ether(&self) -> bool {
        self.ether
    }

    /// The most bytes that a packet can have on this netif, and so what there must be room for.
    pub fn longest(&self) -> usize {
        usize::from(self.mtu) + if self.ether { ETHERNET } else { 0 }
    }

    pub fn hwaddr(&self) -> [u8; 6] {
        self.hwaddr
    }

    pub fn is_removed(&self) -> bool {
        self.removed.get()
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Name and number, such as "tu0".
    pub fn name(&self) -> String {
        // SAFETY: read on lwIP's thread.
        let number = unsafe { (*self.raw()).num };
        format!("{}{number}", String::from_utf8_lossy(&self.name))
    }

    /// The name of the kernel's interface behind it, if there is one.
    pub fn device(&self) -> Option<&CStr> {
        self.driver.get()?.device()
    }

    /// Takes a packet that came in, through the hooks to lwIP. False if the netif was removed on the
    /// way, by the program: then the driver stops reading.
    pub fn receive(&self, packet: Packet) -> bool {
        self.counters.received(packet.len());
        self.deliver_after(None, packet)
    }

    /// Does for an outgoing packet what lwIP's call does: counts it, and passes the hooks.
    fn send(&self, packet: &Packet) -> Result<()> {
        self.send_after(None, packet)
    }

    /// The netif can no longer receive or send. Its link goes down, and the program is told, from the
    /// loop.
    pub fn fail(&self, error: Error) {
        if self.trouble.borrow().is_some() || self.removed.get() {
            return;
        }
        *self.trouble.borrow_mut() = Some(error);
        if let Some(driver) = self.driver.get() {
            driver.failed();
        }
        self.tell_soon();
    }

    /// The same, but for errors of a descriptor that pass by themselves.
    pub fn fail_if_final(&self, error: Error) {
        let passing = [
            libc::EAGAIN,
            libc::EINTR,
            libc::ENOBUFS,
            libc::ENOMEM,
            libc::EMSGSIZE,
            // What ICMP says of a datagram that went before.
            libc::ECONNREFUSED,
            libc::EHOSTUNREACH,
            libc::ENETUNREACH,
            libc::EHOSTDOWN,
            libc::ENETDOWN,
            libc::EPERM,
        ];
        if !passing.contains(&error.errno) {
            self.fail(error);
        }
    }

    /// Tells the program of the trouble, from the loop.
    fn tell_soon(&self) {
        let own = self.own.clone();
        let Ok(stack) = core::stack() else { return };
        stack.defer(move || {
            let Some(netif) = own.upgrade().filter(|netif| !netif.removed.get()) else { return };
            // SAFETY: the netif is lwIP's until it is removed.
            unsafe { sys::netif_set_link_down(netif.raw()) };
            let callback = netif.on_down.borrow().clone();
            let error = netif.trouble.borrow().clone();
            if let (Some(callback), Some(error)) = (callback, error) {
                callback(netif.raw(), &error);
            }
        });
    }

    /// What made the netif fail.
    pub fn trouble(&self) -> Option<Error> {
        self.trouble.borrow().clone()
    }

    pub fn set_on_down(&self, callback: Option<DownCallback>) {
        *self.on_down.borrow_mut() = callback;
    }

    /// Takes the netif out of lwIP with all that is attached to it. Whoever is within one of its
    /// functions goes on; what it owns is freed when they have returned.
    pub fn remove(&self) {
        if self.removed.replace(true) {
            return;
        }
        // lwIP's farewells still go out through the driver, and the hooks see them.
        self.leave_lwip();
        let hooks = std::mem::take(&mut *self.hooks.borrow_mut());
        drop(hooks);
        self.on_down.borrow_mut().take();
        if let Ok(stack) = core::stack() {
            stack.forget_netif(self.raw());
        }
    }
}

impl Drop for Netif {
    fn drop(&mut self) {
        // SAFETY: nobody else drops it; lwIP is told that there is no owner any more.
        unsafe {
            if self.in_lwip.get() {
                // Left over by a thread that has ended: lwIP's list still has it.
                (*self.raw()).state = null_mut();
            } else {
                ManuallyDrop::drop(&mut self.lwip);
            }
        }
    }
}

/// A name from C, such as that of a device or a file.
///
/// # Safety
///
/// Null or a C string that lives as long as the result is used.
pub(crate) unsafe fn c_text<'a>(text: *const c_char, what: &str) -> Result<&'a CStr> {
    if text.is_null() {
        return Err(Error::null(what));
    }
    // SAFETY: a C string, as the caller promised.
    Ok(unsafe { CStr::from_ptr(text) })
}

/// A netif over a descriptor of [`vnet`]'s kind, whatever is behind it.
#[cfg(fuzzing)]
pub(crate) fn vnet_over(fd: std::os::fd::OwnedFd, ether: bool) -> Result<*mut sys::netif> {
    let netif = Netif::add(&Setup::new(b"vn", ether), |netif| {
        Ok(Box::new(vnet::VnetDriver::new(netif, fd, ether, true)?))
    })?;
    Ok(netif.raw())
}

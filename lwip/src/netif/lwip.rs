//! The side of a netif that lwIP sees.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{NonNull, null, null_mut};
use std::rc::Rc;

use super::{Netif, guard};
use crate::error::{Error, Result};
use crate::packet::Packet;
use crate::sys;

impl Netif {
    pub(super) fn join_lwip(self: &Rc<Self>) -> Result<()> {
        let state = Rc::as_ptr(self).cast_mut().cast();
        let input = if self.ether { sys::ethernet_input } else { sys::ip_input };
        // SAFETY: the netif stays where it is until leave_lwip() has taken it out of lwIP; `init` finds
        // it by its state.
        let added = unsafe {
            sys::netif_add(self.raw(), null(), null(), null(), state, Some(init), Some(input))
        };
        if added.is_null() {
            return Err(Error::new(libc::ENFILE, "lwIP takes no more netifs"));
        }
        // The way around lwIP's missing thread: with something in its loop queue lwIP only appends,
        // and deliver_looped() takes what follows. With nothing it would call the thread, and abort.
        let sentinel = match Packet::alloc(0) {
            Ok(sentinel) => sentinel.into_raw(),
            Err(error) => {
                // SAFETY: just added.
                unsafe { sys::netif_remove(self.raw()) };
                return Err(error);
            }
        };
        // SAFETY: ours, on lwIP's thread.
        unsafe {
            (*self.raw()).loop_first = sentinel;
            (*self.raw()).loop_last = sentinel;
            sys::netif_set_link_up(self.raw());
        }
        self.in_lwip.set(true);
        Ok(())
    }

    pub(super) fn leave_lwip(&self) {
        let raw = self.raw();
        // SAFETY: the netif is lwIP's, and no longer afterwards. netif_remove() sets it down, which
        // drops its ARP and neighbour entries, and aborts the connections of its addresses; it leaves
        // the loop queue alone.
        unsafe {
            sys::netif_remove(raw);
            self.in_lwip.set(false);
            let (first, _) = ((*raw).loop_first, (*raw).loop_last = null_mut());
            (*raw).loop_first = null_mut();
            let mut next = first;
            while let Some(pbuf) = NonNull::new(next) {
                next = pbuf.as_ref().next;
                (*pbuf.as_ptr()).next = null_mut();
                drop(Packet::from_raw(pbuf));
            }
        }
    }

    /// Hands a packet over to lwIP, by the function that the netif has for it: programs may have put
    /// one of their own there.
    pub(super) fn hand_over(&self, packet: Packet) {
        let whole = packet.first().len() == packet.len();
        let admitted = match whole {
            true => guard::admits(packet.first(), self.ether),
            false => packet.copy().is_ok_and(|copy| guard::admits(copy.first(), self.ether)),
        };
        if !admitted {
            return self.counters.receive_error();
        }
        let raw = packet.into_raw();
        // SAFETY: lwIP takes the packet over if it returns OK.
        unsafe {
            let refused = match (*self.raw()).input {
                Some(input) => input(raw, self.raw()) != sys::OK,
                None => true,
            };
            if refused {
                self.counters.drop_received();
                sys::pbuf_free(raw);
            }
        }
    }

    /// Delivers what lwIP has put into its loop queue, up to `budget` packets.
    pub(crate) fn deliver_looped(self: &Rc<Self>, budget: &mut usize) {
        while *budget > 0 && !self.is_removed() {
            let Some(packet) = self.take_looped() else { return };
            *budget -= 1;
            let raw = packet.into_raw();
            // SAFETY: what loops is an IP packet, on Ethernet too; lwIP takes it over if it returns OK.
            unsafe {
                if sys::ip_input(raw, self.raw()) != sys::OK {
                    sys::pbuf_free(raw);
                }
            }
        }
    }

    /// The first packet after the sentinel.
    fn take_looped(&self) -> Option<Packet> {
        // SAFETY: the queue is a chain of chains, owned by it; a packet ends at the pbuf whose len is
        // its tot_len. The sentinel stays.
        unsafe {
            let raw = self.raw();
            let sentinel = NonNull::new((*raw).loop_first)?;
            let first = NonNull::new((*sentinel.as_ptr()).next)?;
            let mut last = first;
            while last.as_ref().len != last.as_ref().tot_len {
                last = NonNull::new(last.as_ref().next)?;
            }
            (*sentinel.as_ptr()).next = last.as_ref().next;
            if (*raw).loop_last == last.as_ptr() {
                (*raw).loop_last = sentinel.as_ptr();
            }
            (*last.as_ptr()).next = null_mut();
            Some(Packet::from_raw(first))
        }
    }
}

/// The netif behind lwIP's; kept alive while lwIP's call goes on.
///
/// # Safety
///
/// A netif of ours that lwIP has.
unsafe fn owner(raw: *mut sys::netif) -> Option<Rc<Netif>> {
    // SAFETY: the state of a netif of ours is its address, and lwIP calls none that was removed.
    unsafe { (*raw).state.cast::<Netif>().as_ref() }?.own.upgrade()
}

/// lwIP's calls into this file: a panic stays here, and the answer is an err_t.
fn respond(body: impl FnOnce() -> Option<Result<()>>) -> sys::err_t {
    let code = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Some(Ok(()))) => sys::ERR_OK,
        Ok(Some(Err(error))) => match error.errno {
            // TCP keeps the segment and tries again.
            libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => sys::ERR_MEM,
            libc::EMSGSIZE => sys::ERR_BUF,
            _ => sys::ERR_IF,
        },
        Ok(None) | Err(_) => sys::ERR_IF,
    };
    code as sys::err_t
}

unsafe extern "C" fn init(raw: *mut sys::netif) -> sys::err_t {
    respond(|| {
        // SAFETY: called by netif_add() in join_lwip(), for a netif of ours.
        let (netif, lwip) = unsafe { (owner(raw)?, &mut *raw) };
        lwip.name = netif.name.map(|letter| letter as _);
        lwip.mtu = netif.mtu;
        lwip.mtu6 = netif.mtu;
        let mut flags = sys::NETIF_FLAG_IGMP | sys::NETIF_FLAG_MLD6;
        if netif.ether {
            flags |= sys::NETIF_FLAG_BROADCAST | sys::NETIF_FLAG_ETHARP | sys::NETIF_FLAG_ETHERNET;
            lwip.output = Some(sys::etharp_output);
            lwip.output_ip6 = Some(sys::ethip6_output);
            lwip.linkoutput = Some(link_output);
            // ARP asserts on an interface without one.
            lwip.hwaddr_len = netif.hwaddr.len() as u8;
            lwip.hwaddr[..netif.hwaddr.len()].copy_from_slice(&netif.hwaddr);
            // SAFETY: the hardware address, of which it is made, is there.
            unsafe { sys::netif_create_ip6_linklocal_address(raw, 1) };
            lwip.ip6_autoconfig_enabled = 1;
        } else {
            lwip.output = Some(output);
            lwip.output_ip6 = Some(output_ip6);
        }
        lwip.flags = flags as u8;
        Some(Ok(()))
    })
}

unsafe extern "C" fn link_output(raw: *mut sys::netif, pbuf: *mut sys::pbuf) -> sys::err_t {
    respond(|| {
        // SAFETY: lwIP passes a netif of ours and a packet that is its own.
        unsafe { Some(owner(raw)?.send(&Packet::borrowed(NonNull::new(pbuf)?))) }
    })
}

unsafe extern "C" fn output(
    raw: *mut sys::netif,
    pbuf: *mut sys::pbuf,
    _: *const sys::ip4_addr_t,
) -> sys::err_t {
    // SAFETY: as there.
    unsafe { link_output(raw, pbuf) }
}

unsafe extern "C" fn output_ip6(
    raw: *mut sys::netif,
    pbuf: *mut sys::pbuf,
    _: *const sys::ip6_addr_t,
) -> sys::err_t {
    // SAFETY: as there.
    unsafe { link_output(raw, pbuf) }
}

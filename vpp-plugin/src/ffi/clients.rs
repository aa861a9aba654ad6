//! The connections of API clients.

use std::ffi::CStr;
use std::ptr::NonNull;

use herald_vpp_api::frame::HEADER;
use vpp_plugin::bindings::{
    vl_api_helper_client_index_to_registration, vl_api_helper_send_msg, vl_api_registration_t,
    vl_msg_api_alloc, vl_registration_type_t_REGISTRATION_TYPE_SHMEM,
};
use vpp_plugin::vppinfra::vec::Vec as VppVec;

use crate::journal::each;

/// What VPP may hold for a client that does not read: VPP itself sets no bound.
const MAX_UNSENT: usize = 64 << 10;
/// The shortest event: with a client's shared-memory queue, which counts messages, we count in these.
const SHORTEST_FRAME: usize = HEADER + 29;

/// The connection of a client, for as long as VPP's main loop does not go on.
#[derive(Debug)]
pub struct Connection(NonNull<vl_api_registration_t>);

impl Connection {
    /// The connection of the client of this index; none if the client has gone.
    pub fn find(index: u32) -> Option<Self> {
        // SAFETY: VPP checks the index, which it takes in network order.
        NonNull::new(unsafe { vl_api_helper_client_index_to_registration(index.to_be()) }).map(Self)
    }

    fn registration(&self) -> &vl_api_registration_t {
        // SAFETY: VPP keeps a registration for as long as its client is connected, and closes
        // connections from its main loop only.
        unsafe { self.0.as_ref() }
    }

    fn is_socket(&self) -> bool {
        self.registration().registration_type > vl_registration_type_t_REGISTRATION_TYPE_SHMEM
    }

    /// What the client calls itself.
    pub fn name(&self) -> String {
        let name = self.registration().name;
        if name.is_null() {
            return String::new();
        }
        // SAFETY: VPP ends the name of a client, of whichever kind, with a NUL.
        unsafe { CStr::from_ptr(name.cast()) }.to_string_lossy().into_owned()
    }

    /// How many bytes of frames the client can be sent now.
    pub fn room(&self) -> usize {
        if self.is_socket() {
            return MAX_UNSENT.saturating_sub(self.unsent());
        }
        let Some(queue) = NonNull::new(self.registration().vl_input_queue) else { return 0 };
        // SAFETY: the queue lives in shared memory as long as the client is registered. Its client only
        // ever takes from it: at worst there is more room by now.
        let (most, used) = unsafe { ((*queue.as_ptr()).maxsize, (*queue.as_ptr()).cursize) };
        // One place stays free for a reply, since VPP waits for room to send that.
        let free = most.saturating_sub(used).saturating_sub(1);
        usize::try_from(free).unwrap_or(0).saturating_mul(SHORTEST_FRAME)
    }

    /// Bytes that VPP holds for the client, since its socket had no room for them.
    fn unsent(&self) -> usize {
        // SAFETY: null or a vector of VPP's; wrapped only to read its length.
        let output = std::mem::ManuallyDrop::new(unsafe {
            VppVec::<u8>::from_raw(self.registration().output_vector)
        });
        output.len()
    }

    /// Sends frames, at most as many bytes of them as there is [room](Self::room) for.
    pub fn send(&mut self, frames: &[u8]) {
        if !self.is_socket() {
            each(frames).for_each(|frame| self.send_message(&frame[HEADER.min(frame.len())..]));
            return;
        }
        // VPP makes a system call for each message that it is given. All but the last go straight to
        // where VPP keeps what is still to be sent; with the last one it sends them all.
        let last = each(frames).last().unwrap_or_default();
        let before = &frames[..frames.len() - last.len()];
        self.append(before);
        self.send_message(&last[HEADER.min(last.len())..]);
    }

    fn append(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        // SAFETY: null or a vector of bytes, which VPP itself only touches from its main loop.
        let mut output = unsafe { VppVec::<u8>::from_raw(self.registration().output_vector) };
        let length = output.len();
        if output.capacity() - length < bytes.len() {
            output.reserve(bytes.len());
        }
        // SAFETY: there are `length` bytes, and room for as many more as are copied, which are no part
        // of the vector; its new length says just that. The registration gets back the vector, which may
        // have moved.
        unsafe {
            output.as_mut_ptr().add(length).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            output.set_len(length + bytes.len());
            (*self.0.as_ptr()).output_vector = output.into_raw();
        }
    }

    /// Sends a message.
    pub fn send_message(&mut self, message: &[u8]) {
        let Ok(length) = i32::try_from(message.len()) else { return };
        // SAFETY: the allocation is as long as the message, and never fails (VPP ends instead); VPP
        // takes it over. The registration is that of a client that is connected.
        unsafe {
            let buffer: *mut u8 = vl_msg_api_alloc(length).cast();
            buffer.copy_from_nonoverlapping(message.as_ptr(), message.len());
            vl_api_helper_send_msg(self.0.as_ptr(), buffer);
        }
    }
}

//! The connections of API clients.

use std::ffi::CStr;
use std::ptr::NonNull;

use herald_vpp_api::frame::HEADER;
use vpp_plugin::bindings::{
    svm_queue_t, vl_api_helper_client_index_to_registration, vl_api_helper_send_msg,
    vl_api_registration_t, vl_msg_api_alloc, vl_msg_api_alloc_or_null, vl_msg_api_free,
    vl_registration_type_t_REGISTRATION_TYPE_SHMEM, vlibapi_helper_get_main,
};
use vpp_plugin::vppinfra::vec::Vec as VppVec;

use crate::journal::each;

// Of svm/queue.h, which the crate has no bindings for.
unsafe extern "C" {
    fn svm_queue_add(queue: *mut svm_queue_t, element: *const u8, no_wait: i32) -> i32;
}
const NO_WAIT: i32 = 1;

/// What VPP may hold for a client that does not read: VPP itself sets no bound.
const MAX_UNSENT: usize = 64 << 10;
/// Messages that may lie in the queue of such a client, who says itself how long its queue is: the shared
/// memory that they take is everybody's, and VPP ends when there is none left.
const MAX_QUEUED: i32 = 1024;

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

    /// Over what it is connected.
    pub fn transport(&self) -> &'static str {
        if self.is_socket() { "socket" } else { "memory" }
    }

    /// How many bytes of frames the client can be sent now.
    pub fn room(&self) -> usize {
        if self.is_socket() {
            return MAX_UNSENT.saturating_sub(self.unsent());
        }
        // The queue counts messages, whatever their length.
        if self.free_places() > 0 { MAX_UNSENT } else { 0 }
    }

    /// How many events the client's queue in shared memory has room for. One place stays free for a reply.
    fn free_places(&self) -> usize {
        let Some(queue) = NonNull::new(self.registration().vl_input_queue) else { return 0 };
        // SAFETY: the queue lives in shared memory as long as the client is registered. Its client only
        // ever takes from it: at worst there is more room by now.
        let (most, used) = unsafe {
            (
                (&raw const (*queue.as_ptr()).maxsize).read_volatile(),
                (&raw const (*queue.as_ptr()).cursize).read_volatile(),
            )
        };
        most.saturating_sub(1).min(MAX_QUEUED).saturating_sub(used).try_into().unwrap_or(0)
    }

    /// Bytes that VPP holds for the client, since its socket had no room for them.
    fn unsent(&self) -> usize {
        // SAFETY: null or a vector of VPP's; wrapped only to read its length.
        let output = std::mem::ManuallyDrop::new(unsafe {
            VppVec::<u8>::from_raw(self.registration().output_vector)
        });
        output.len()
    }

    /// Sends frames, at most as many bytes of them as there is [room](Self::room) for. How many bytes it
    /// has sent.
    pub fn send(&mut self, frames: &[u8]) -> usize {
        if !self.is_socket() {
            let frames = each(frames).take(self.free_places());
            return frames
                .take_while(|frame| self.send_shared(message_of(frame)))
                .map(<[u8]>::len)
                .sum();
        }
        // VPP makes a system call for each message that it is given. All but the last go straight to
        // where VPP keeps what is still to be sent; with the last one it sends them all.
        let last = each(frames).last().unwrap_or_default();
        let before = &frames[..frames.len() - last.len()];
        self.append(before);
        self.send_message(message_of(last));
        frames.len()
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

    /// Sends a message. False if it cannot be sent now without waiting, which a socket never is.
    pub fn send_message(&mut self, message: &[u8]) -> bool {
        if !self.is_socket() {
            return self.send_shared(message);
        }
        let Ok(length) = i32::try_from(message.len()) else { return false };
        // SAFETY: the allocation is as long as the message, and never fails (VPP ends instead), for it is
        // given back at once; VPP takes it over. The registration is that of a client that is connected.
        unsafe {
            let buffer: *mut u8 = vl_msg_api_alloc(length).cast();
            buffer.copy_from_nonoverlapping(message.as_ptr(), message.len());
            vl_api_helper_send_msg(self.0.as_ptr(), buffer);
        }
        true
    }

    /// Puts a message into the client's queue in shared memory. VPP's own function waits while the queue is
    /// full or the client holds its lock; and it has messages in the segment that all clients share, which a
    /// client with a segment of its own does not see.
    fn send_shared(&mut self, message: &[u8]) -> bool {
        let Ok(length) = i32::try_from(message.len()) else { return false };
        let registration = self.registration();
        let (queue, segment, header) =
            (registration.vl_input_queue, registration.vlib_rp, registration.shmem_hdr.cast());
        if queue.is_null() {
            return false;
        }
        // SAFETY: queue, segment and its header are those of a client that is registered. As in VPP's own
        // handlers of such a client's messages, they are the API main's for as long as it takes. What is
        // allocated is as long as the message, and is either the queue's or given back.
        unsafe {
            let main = vlibapi_helper_get_main();
            let usual = ((*main).vlib_rp, (*main).shmem_hdr);
            ((*main).vlib_rp, (*main).shmem_hdr) = (segment, header);
            let buffer: *mut u8 = vl_msg_api_alloc_or_null(length).cast();
            let mut sent = false;
            if !buffer.is_null() {
                buffer.copy_from_nonoverlapping(message.as_ptr(), message.len());
                sent = svm_queue_add(queue, (&raw const buffer).cast(), NO_WAIT) == 0;
                if !sent {
                    vl_msg_api_free(buffer.cast());
                }
            }
            ((*main).vlib_rp, (*main).shmem_hdr) = usual;
            sent
        }
    }
}

fn message_of(frame: &[u8]) -> &[u8] {
    frame.get(HEADER..).unwrap_or_default()
}

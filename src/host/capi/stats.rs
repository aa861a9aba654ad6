//! Statistics.

use super::error::{Failure, answer};
use super::{HERALD_ERROR_INTERNAL, HERALD_ERROR_SIZE, borrow, herald_error, herald_hub, is_size};
use crate::hub::{Hub, PublishError};

/// What a hub has counted since it was opened.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct herald_stats {
    /// sizeof(herald_stats), to be set by the caller.
    pub size: usize,
    /// Events that were published.
    pub published: u64,
    /// Events that found the ring of their thread full; no subscriber got them.
    pub ring_full: u64,
    /// Events handed to the kernel whole, summed over all subscribers.
    pub delivered: u64,
    /// Events that a subscriber asked for and did not get, summed over all subscribers.
    pub dropped: u64,
    /// Subscribers that there are now.
    pub subscribers: u64,
    /// Subscribers that were turned away: too many, or not allowed.
    pub refused: u64,
    /// Subscribers that were disconnected for breaking their protocol.
    pub protocol_errors: u64,
    /// Subscribers that were disconnected because their queue was full.
    pub overflowed: u64,
    /// Requests of subscribers that were dropped because they were none of the server's: unknown
    /// messages, and what was sent in another client's name.
    pub ignored: u64,
    /// Datagrams that had to wait.
    pub queued: u64,
    /// Attempts to send a datagram that waited.
    pub retried: u64,
    /// Of those dropped: datagrams at whose address nobody listened.
    pub dropped_gone: u64,
    /// Of those dropped: datagrams larger than their transport carries.
    pub dropped_too_large: u64,
    /// Of those dropped: datagrams that the system refused. What is in none of these three found too
    /// much waiting already.
    pub dropped_error: u64,
}

/// What has been counted for one subscriber that there is now.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct herald_subscriber_stats {
    /// Unique within its server, in the order of arrival, from 1.
    pub id: u64,
    /// The process at the other end, 0 if it is not known.
    pub pid: u32,
    /// The user at the other end.
    pub uid: u32,
    /// Events handed to the kernel whole.
    pub delivered: u64,
    /// Events dropped on the way to it.
    pub dropped: u64,
    /// Bytes that wait for it now.
    pub queued_bytes: u64,
}

/// Reads what a hub has counted. `stats->size` must be set. A field that this version of the library does
/// not know is set to 0.
///
/// Not to be called where siglongjmp() can leave it: it takes a lock.
///
/// Errors: HERALD_ERROR_NULL, HERALD_ERROR_SIZE, HERALD_ERROR_FORKED.
///
/// # Safety
///
/// `hub` is NULL or open; `stats` is NULL or points to as many bytes as its size says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_hub_stats(
    hub: *mut herald_hub,
    stats: *mut herald_stats,
) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        // SAFETY: as the caller promised.
        answer(unsafe { read(hub, stats) })
    })
}

/// # Safety
///
/// As for [`herald_hub_stats`].
unsafe fn read(hub: *mut herald_hub, stats: *mut herald_stats) -> Result<(), Failure> {
    // SAFETY: as the caller promised.
    let hub = unsafe { own(hub) }?;
    if stats.is_null() {
        return Err(Failure::null("stats"));
    }
    // SAFETY: the struct begins with its size.
    let size = unsafe { stats.cast::<usize>().read() };
    if !is_size(size) {
        let detail = format!("stats: its first field is {size}, and must be the size of the struct");
        return Err(Failure::new(HERALD_ERROR_SIZE, detail));
    }
    let counted = hub.stats();
    let all = herald_stats {
        size,
        published: counted.published,
        ring_full: counted.ring_full,
        delivered: counted.delivered,
        dropped: counted.dropped,
        subscribers: counted.subscribers,
        refused: counted.refused,
        protocol_errors: counted.protocol_errors,
        overflowed: counted.overflowed,
        ignored: counted.ignored,
        queued: counted.queued,
        retried: counted.retried,
        dropped_gone: counted.dropped_gone,
        dropped_too_large: counted.dropped_too_large,
        dropped_error: counted.dropped_error,
    };
    // SAFETY: `size` bytes can be written.
    unsafe { write(&all, stats.cast(), size) };
    Ok(())
}

/// Writes a struct to where the caller's is, which has this size: as much as it has room for. What it has
/// beyond ours is set to 0.
///
/// # Safety
///
/// So many bytes can be written there.
unsafe fn write<T: Copy>(from: &T, to: *mut u8, size: usize) {
    let ours = size_of::<T>().min(size);
    // SAFETY: as the caller promised; ours are no more than all.
    unsafe {
        std::ptr::copy_nonoverlapping(std::ptr::from_ref(from).cast(), to, ours);
        to.add(ours).write_bytes(0, size - ours);
    }
}

/// # Safety
///
/// `hub` is NULL or open for as long as the result is used.
unsafe fn own<'a>(hub: *const herald_hub) -> Result<&'a Hub, Failure> {
    // SAFETY: as the caller promised.
    let hub = &unsafe { borrow(hub) }?.0;
    if hub.is_forked() { Err(PublishError::Forked.into()) } else { Ok(hub) }
}

/// Reads what has been counted for each subscriber. Writes up to `capacity` elements to `list`
/// (which may be NULL if that is 0), each `element_size` bytes apart, and the number of
/// subscribers that there are to `*count`. `element_size` is sizeof(herald_subscriber_stats).
///
/// Not to be called where siglongjmp() can leave it: it takes a lock.
///
/// Errors: HERALD_ERROR_NULL, HERALD_ERROR_SIZE, HERALD_ERROR_FORKED.
///
/// # Safety
///
/// `hub` is NULL or open; `list` is NULL or `capacity` elements; `count` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_hub_subscribers(
    hub: *mut herald_hub,
    list: *mut herald_subscriber_stats,
    element_size: usize,
    capacity: usize,
    count: *mut usize,
) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        // SAFETY: as the caller promised.
        answer(unsafe { read_subscribers(hub, list, element_size, capacity, count) })
    })
}

/// # Safety
///
/// As for [`herald_hub_subscribers`].
unsafe fn read_subscribers(
    hub: *mut herald_hub,
    list: *mut herald_subscriber_stats,
    element_size: usize,
    capacity: usize,
    count: *mut usize,
) -> Result<(), Failure> {
    // SAFETY: as the caller promised.
    let hub = unsafe { own(hub) }?;
    if count.is_null() {
        return Err(Failure::null("count"));
    }
    if list.is_null() && capacity > 0 {
        return Err(Failure::null("list"));
    }
    if !is_size(element_size) {
        let detail =
            format!("element_size is {element_size}, and must be the size of herald_subscriber_stats");
        return Err(Failure::new(HERALD_ERROR_SIZE, detail));
    }
    let subscribers = hub.subscribers();
    for (index, subscriber) in subscribers.iter().take(capacity).enumerate() {
        let all = herald_subscriber_stats {
            id: subscriber.id,
            pid: subscriber.pid,
            uid: subscriber.uid,
            delivered: subscriber.delivered.get(),
            dropped: subscriber.dropped.get(),
            queued_bytes: subscriber.queued_bytes.get(),
        };
        // SAFETY: the list has `capacity` elements of `element_size` bytes; index is below it.
        unsafe { write(&all, list.cast::<u8>().add(index * element_size), element_size) };
    }
    // SAFETY: not null, and valid as the caller promised.
    unsafe { count.write(subscribers.len()) };
    Ok(())
}

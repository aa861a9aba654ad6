//! The promise: a packet is read and written whole, in however many pieces it lies in memory.

#[macro_use]
mod kit;

cases! { pbuf_iovec {
    all_pieces_are_written_as_one_datagram
    all_pieces_are_read_into
    errors_leave_the_packet_alone
} }

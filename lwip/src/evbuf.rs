//! lwipevbuf: a TCP connection of lwIP between two evbuffers.

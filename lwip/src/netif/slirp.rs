//! slirpif: the local network by sockets of this process.

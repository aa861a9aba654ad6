//! Between lwIP addresses and socket addresses.

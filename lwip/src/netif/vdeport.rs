//! vdeportif: a port of a VDE switch.

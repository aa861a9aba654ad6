//! vdeswitchif: a VDE switch for others to connect to.

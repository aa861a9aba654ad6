//! udptapif: Ethernet frames over UDP.

//! Looking up host names, by lwIP's own UDP and TCP.

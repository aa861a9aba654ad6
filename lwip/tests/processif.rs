//! The promise: processif talks to a process by its standard input and output, notices its end, and leaves
//! nothing of it.

#[macro_use]
mod kit;

cases! { processif {
    ethernet
    ip
    a_child_that_ends
    a_child_tidies_up
    a_child_that_does_not_listen
    errors
} }

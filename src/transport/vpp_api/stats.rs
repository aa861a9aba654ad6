//! `herald_stats_dump`: what each subscriber of the hub has been sent.

use super::protocol::Handler;
use super::request::Request;
use crate::event::{Param, Value};
use crate::hub::Remote;

/// The request, and what answers it.
pub(super) fn handler(hub: Remote) -> (String, Handler) {
    ("herald_stats_dump".to_owned(), Box::new(move |request| dump(&hub, &request)))
}

fn dump(hub: &Remote, request: &Request) {
    for transport in hub.transports() {
        for subscriber in transport.subscribers() {
            let name = subscriber.name();
            let number = |count: u64| Value::Uint(count.min(u32::MAX.into()));
            let fields = [
                Param::new("transport", transport.name()),
                Param { name: "subscriber", value: Value::Bytes(ascii(&name)) },
                Param { name: "delivered", value: Value::Uint(subscriber.delivered.get()) },
                Param { name: "dropped", value: Value::Uint(subscriber.dropped.get()) },
                Param { name: "queued", value: number(subscriber.queued_bytes.get()) },
                Param { name: "queue_limit", value: number(transport.queue_limit()) },
            ];
            // These fit.
            let _ = request.details(fields.into_iter());
        }
    }
}

/// The beginning of a name that is ASCII, of at most 63 bytes: vpp_papi stops for good on anything else.
fn ascii(name: &str) -> &[u8] {
    let end = name.bytes().take(63).take_while(u8::is_ascii).count();
    name.as_bytes().get(..end).unwrap_or_default()
}

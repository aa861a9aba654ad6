//! Subscribing by script and by MI: what is accepted, what is refused, and when it ends.

use std::thread;

use crate::event::Raise;
use crate::listener::Listener;
use crate::mi::Listed;
use crate::opensips::{Opensips, eventually, holds};
use crate::tree::{Lab, each_tree};

fn listed(socket: &str, expire: &str) -> Listed {
    Listed { socket: socket.into(), expire: expire.into() }
}

/// The subscriptions to E_SCRIPT must be these, in any order, and those to other events so many.
fn assert_subscribers(host: &Opensips, mut wanted: Vec<Listed>, others: usize) {
    host.counts("subscriptions", &[("subscribers", (wanted.len() + others) as u64)]);
    if host.version().lists_subscribers() {
        let mut found = host.mi.subscribers("E_SCRIPT");
        found.sort_by(|a, b| a.socket.cmp(&b.socket));
        wanted.sort_by(|a, b| a.socket.cmp(&b.socket));
        assert_eq!(found, wanted, "OpenSIPS {}", host.version());
    }
}

/// Raises events until none is sent to a listener, which must have subscribed to E_FENCE, as must
/// others that are listening. (A unix socket that nobody reads is soon full.)
fn until_ended(host: &Opensips, listener: &Listener, others: &[&Listener]) {
    let gets_none = || {
        host.raise(&Raise::plain());
        let ended = host.sent_to(listener).is_empty();
        for other in others {
            host.sent_to(other);
        }
        ended
    };
    eventually("the subscription ends", || gets_none().then_some(()));
    // The library may see that a second has passed since the core looked, which then does so only now.
    assert!(gets_none());
}

/// A path of so many bytes in a directory.
fn path_of(dir: &std::path::Path, len: usize) -> std::path::PathBuf {
    let name = len - dir.to_str().unwrap().len() - 1;
    dir.join("p".repeat(name))
}

#[test]
fn a_script_subscribes() {
    each_tree("a_script_subscribes", |lab| {
        let (udp, unix) = (Listener::udp(), Listener::unix());
        let startup = format!(
            "if (!subscribe_event(\"E_SCRIPT\", \"udp:127.0.0.1\")) {{ xlog(\"L_NOTICE\", \"no\\n\"); }}
             subscribe_event(\"E_SCRIPT\", \"{}\");
             subscribe_event(\"E_SCRIPT\", \"{}\", 3600);
             raise_event(\"E_SCRIPT\");",
            udp.address, unix.address
        );
        let host = lab.herald().startup(&startup).start();
        let event = udp.next();
        unix.expect(&event);
        assert!(holds(&event, "E_SCRIPT"), "{}", event.escape_ascii());
        host.logs(&["ERROR", "<127.0.0.1>: the port is missing"]);
        assert_subscribers(&host, vec![listed(&udp.address, "never"), listed(&unix.address, "3600")], 0);
        host.raise(&Raise::plain());
        udp.expect(&event);
        unix.expect(&event);
    });
}

#[test]
fn what_is_an_address_is_accepted_and_listed() {
    each_tree("what_is_an_address_is_accepted_and_listed", |lab| {
        let host = lab.herald().start();
        let dir = tempfile::tempdir().unwrap();
        let mut listeners = vec![Listener::udp(), Listener::unix()];
        listeners.push(Listener::unix_at(&path_of(dir.path(), 107)));
        let mut named = Listener::try_udp("127.0.0.1:0".parse().unwrap()).unwrap();
        named.address = format!("udp:localhost:{}", named.port());
        listeners.push(named);
        match Listener::try_udp("[::1]:0".parse().unwrap()) {
            Ok(v6) => listeners.push(v6),
            Err(error) => lab.skip(&format!("no IPv6: {error}")),
        }
        for listener in &listeners {
            host.subscribe("E_SCRIPT", listener);
        }
        let wanted = listeners.iter().map(|listener| listed(&listener.address, "3600"));
        assert_subscribers(&host, wanted.collect(), 0);
        host.raise(&Raise::plain());
        let event = listeners[0].next();
        for listener in &listeners[1..] {
            listener.expect(&event);
        }
        // Nobody gets another event than it asked for, nor one twice.
        for listener in &listeners {
            host.subscribe("E_FENCE", listener);
        }
        host.raise(&Raise::plain().event("E_OTHER"));
        for listener in &listeners {
            assert_eq!(host.sent_to(listener), Vec::<Vec<u8>>::new(), "{}", listener.address);
        }
        if host.version().lists_subscribers() {
            for listener in &listeners[..2] {
                host.mi.subscriber("E_SCRIPT", &listener.address).unwrap();
                host.mi.subscriber("E_OTHER", &listener.address).unwrap_err();
            }
        }
    });
}

#[test]
fn what_is_no_address_is_refused_with_a_reason() {
    each_tree("what_is_no_address_is_refused_with_a_reason", |lab| {
        let host = lab.herald().start();
        let long = format!("unix:/tmp/{}", "y".repeat(133));
        for (address, reason) in [
            ("udp:", "<>: the port is missing"),
            ("udp:1", "<1>: the port is missing"),
            ("udp:127.0.0.2", "<127.0.0.2>: the port is missing"),
            ("udp::5", "<:5>: the host is missing"),
            ("udp:127.0.0.1:", "<127.0.0.1:>: the port must be a number from 1 to 65535"),
            ("udp:127.0.0.1:abc", "<127.0.0.1:abc>: the port must be"),
            ("udp:127.0.0.1:12x", "<127.0.0.1:12x>: the port must be"),
            ("udp:127.0.0.1:+5", "<127.0.0.1:+5>: the port must be"),
            ("udp:127.0.0.1:-1", "<127.0.0.1:-1>: the port must be"),
            ("udp:127.0.0.1:0", "<127.0.0.1:0>: the port must be"),
            ("udp:127.0.0.1:65536", "<127.0.0.1:65536>: the port must be"),
            ("udp:127.0.0.1:99999", "<127.0.0.1:99999>: the port must be"),
            ("udp:127.0.0.1:5005:6", "<127.0.0.1:5005:6>: an IPv6 address is written [address]:port"),
            ("udp:::1:5003", "<::1:5003>: an IPv6 address is written [address]:port"),
            ("udp:[::1]", "<[::1]>: an IPv6 address is written [address]:port"),
            ("udp:[::1]5", "<[::1]5>: an IPv6 address is written [address]:port"),
            ("udp: 127.0.0.1:5006", "cannot resolve the host"),
            ("udp:no-such-host.invalid:5000", "<no-such-host.invalid:5000>: cannot resolve the host"),
            ("unix:", "<>: the path is missing"),
            (&long, "a socket path has at most 107 bytes, this one has 138"),
            // These do not reach the module: the core finds no transport of that name.
            ("UDP:127.0.0.1:5004", "UDP:127.0.0.1:5004"),
            ("tcp:127.0.0.1:5", "tcp:127.0.0.1:5"),
            ("/tmp/bare", "/tmp/bare"),
            ("junk", "junk"),
        ] {
            let refused = host.mi.try_subscribe("E_SCRIPT", address, Some(60));
            assert!(refused.is_err(), "OpenSIPS {}: accepts <{address}>", lab.version());
            host.logs(&["ERROR", reason]);
        }
        host.mi.try_subscribe("E_NONE", "udp:127.0.0.1:9000", None).unwrap_err();
        assert_subscribers(&host, Vec::new(), 0);
    });
}

#[test]
fn a_subscription_ends_when_its_time_is_over() {
    each_tree("a_subscription_ends_when_its_time_is_over", |lab| {
        let host = lab.herald().start();
        for listener in [Listener::udp(), Listener::unix()] {
            host.subscribe("E_SCRIPT", &listener);
            host.subscribe("E_FENCE", &listener);
            host.raise(&Raise::plain());
            assert_eq!(host.sent_to(&listener).len(), 1);
            // The time may be over before anything else happens, so it starts only now.
            host.subscribe_for("E_SCRIPT", &listener, 1);
            until_ended(&host, &listener, &[]);
            assert_subscribers(&host, Vec::new(), 1);
            host.subscribe_for("E_FENCE", &listener, 0);
            eventually("the fence ends", || {
                host.raise(&Raise::plain().event("E_FENCE"));
                listener.waiting().is_empty().then_some(())
            });
        }
    });
}

#[test]
fn subscribing_again_begins_anew() {
    each_tree("subscribing_again_begins_anew", |lab| {
        let host = lab.herald().start();
        for (kept, clock) in [(Listener::udp(), Listener::udp()), (Listener::unix(), Listener::unix())] {
            host.subscribe_for("E_SCRIPT", &kept, 1);
            host.subscribe_for("E_SCRIPT", &kept, 3600);
            // When this one has ended, the time that the other had at first is over, too.
            host.subscribe_for("E_SCRIPT", &clock, 1);
            for listener in [&kept, &clock] {
                host.subscribe("E_FENCE", listener);
            }
            until_ended(&host, &clock, &[&kept]);
            host.raise(&Raise::plain());
            assert_eq!(host.sent_to(&kept).len(), 1, "subscribed once");
            if lab.version().lists_subscribers() {
                assert_eq!(host.mi.subscribers("E_SCRIPT"), [listed(&kept.address, "3600")]);
            }
            // And it can be ended.
            host.subscribe_for("E_SCRIPT", &kept, 0);
            until_ended(&host, &kept, &[&clock]);
            // And begun again.
            host.subscribe("E_SCRIPT", &kept);
            host.raise(&Raise::plain());
            assert_eq!(host.sent_to(&kept).len(), 1);
            host.subscribe_for("E_SCRIPT", &kept, 0);
            until_ended(&host, &kept, &[&clock]);
        }
    });
}

#[test]
fn there_are_as_many_subscriptions_as_permitted() {
    each_tree("there_are_as_many_subscriptions_as_permitted", |lab| {
        let host = lab.herald().modparam("max_subscribers", "4").start();
        let listeners = [(); 4].map(|()| Listener::udp());
        for listener in &listeners[..3] {
            host.subscribe("E_SCRIPT", listener);
        }
        host.subscribe("E_FENCE", &listeners[0]);
        let more = &listeners[3];
        let refused = format!("<{}>", more.address.strip_prefix("udp:").unwrap());
        host.mi.try_subscribe("E_SCRIPT", &more.address, None).unwrap_err();
        host.raise(&Raise::plain());
        let event = listeners[0].next();
        listeners[1..3].iter().for_each(|listener| listener.expect(&event));

        // Who has a place can stay in it, leave it, and leave it to another.
        host.subscribe("E_SCRIPT", &listeners[0]);
        host.subscribe_for("E_SCRIPT", &listeners[0], 0);
        until_ended(&host, &listeners[0], &[]);
        host.subscribe("E_SCRIPT", more);
        more.waiting();
        host.raise(&Raise::plain());
        more.expect(&event);
        host.counts("all places are taken", &[("subscribers", 4)]);
        host.logs(&["ERROR", &refused, "there are 4 subscriptions already; raise max_subscribers"]);
    });
}

/// The core gives back nothing of what it looks up and does not find.
fn look_up_many(host: &Opensips, lab: &Lab) {
    if !lab.version().lists_subscribers() {
        return lab.skip("its core answers no subscribers_list");
    }
    for port in 20_000..20_050 {
        host.mi.subscriber("E_SCRIPT", &format!("udp:127.0.0.1:{port}")).unwrap_err();
    }
}

#[test]
fn looking_for_strangers_costs_no_place() {
    each_tree("looking_for_strangers_costs_no_place", |lab| {
        let host = lab.herald().modparam("max_subscribers", "8").start();
        let listeners = [(); 4].map(|()| Listener::udp());
        host.subscribe("E_SCRIPT", &listeners[0]);
        host.subscribe("E_SCRIPT", &listeners[1]);
        look_up_many(&host, lab);
        host.subscribe("E_SCRIPT", &listeners[2]);
        look_up_many(&host, lab);
        host.subscribe("E_SCRIPT", &listeners[3]);
        host.raise(&Raise::plain());
        let event = listeners[0].next();
        listeners[1..].iter().for_each(|listener| listener.expect(&event));
        // Nor are strangers subscribers.
        host.counts("subscriptions", &[("subscribers", 4)]);
    });
}

#[test]
fn looking_for_strangers_takes_no_place_of_a_group() {
    each_tree("looking_for_strangers_takes_no_place_of_a_group", |lab| {
        if !lab.has("event_virtual") {
            return;
        }
        let host = lab.herald().module("event_virtual").modparam("max_subscribers", "8").start();
        let members = [(); 3].map(|()| Listener::udp());
        let addresses = members.iter().map(|member| member.address.as_str()).collect::<Vec<_>>();
        let group = format!("virtual:PARALLEL {}", addresses.join(" "));
        host.mi.try_subscribe("E_SCRIPT", &group, Some(3600)).unwrap();
        for _ in 0..2 {
            host.raise(&Raise::plain());
            let event = members[0].next();
            members[1..].iter().for_each(|member| member.expect(&event));
            look_up_many(&host, lab);
        }
    });
}

#[test]
fn subscribers_come_and_go_while_events_are_raised() {
    each_tree("subscribers_come_and_go_while_events_are_raised", |lab| {
        let mut host = lab.herald().workers(3).start();
        let (udp, unix) = (Listener::udp(), Listener::unix());
        for listener in [&udp, &unix] {
            host.subscribe("E_SCRIPT", listener);
        }
        let assert_next = |events: usize| {
            for listener in [&udp, &unix] {
                (0..events).for_each(|_| assert!(holds(&listener.next(), "E_SCRIPT")));
                assert_eq!(listener.waiting(), Vec::<Vec<u8>>::new(), "{}", listener.address);
            }
        };
        let mut guests: Vec<Listener> = Vec::new();
        for _ in 0..4 {
            let arriving: Vec<Listener> = (0..50).map(|_| Listener::unix()).collect();
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| host.raise(&Raise::plain().named("k", "v").times(100)));
                }
                for guest in &arriving {
                    // To be gone by the next second; most are removed while events are raised.
                    host.subscribe_for("E_SCRIPT", guest, 0);
                }
            });
            assert_next(200);
            guests.extend(arriving);
        }
        // The core may keep some of them listed for ever: it forgets their end if two processes raise
        // at once. They get no events all the same.
        eventually("no guest gets an event", || {
            guests.iter().for_each(|guest| drop(guest.waiting()));
            host.raise(&Raise::plain());
            assert_next(1);
            guests.iter().all(|guest| guest.waiting().is_empty()).then_some(())
        });
        // And none is counted for them.
        host.settled();
        assert!(host.lives());
    });
}

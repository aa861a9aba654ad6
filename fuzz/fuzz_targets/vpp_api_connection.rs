//! Whatever a client of the VPP API sends, in whatever pieces, is answered with whole messages of the
//! table, and leaves nothing registered when the client has gone.

#![no_main]

use std::sync::{Arc, LazyLock};

use herald::event::{Event, Param, Value};
use herald::wire::vpp_api::{About, Answer, ClientIndex, Connection, Contract, HeraldEncoder, Step};
use herald_vpp_api::builtin::Builtin;
use herald_vpp_api::frame::{HEADER, header, message_id, message_len};
use herald_vpp_api::{Rules, parse};
use libfuzzer_sys::fuzz_target;

static CONTRACT: LazyLock<Contract> = LazyLock::new(|| {
    let text = include_str!("../../c_examples/api/testgovpp.api");
    let api = parse::parse("testgovpp.api", text, &Builtin, Rules::default()).unwrap();
    let about = About { program: "fuzz".into(), version: "1".into(), pid: 1 };
    Contract::new(vec![Arc::new(api)], &["testgovpp_enable_disable", "herald_stats_dump"], about).unwrap()
});

fuzz_target!(|data: &[u8]| {
    let contract = &*CONTRACT;
    let mut connection = Connection::new(ClientIndex::first(0));
    let mut out = Vec::new();
    let create = [&[0, 15, 0, 0, 0, 124][..], &[b'x'; 64]].concat();
    let mut create = &[&header(create.len() as u32)[..], &create].concat()[..];
    assert_eq!(connection.next(contract, 4096, &mut create, &mut out), Ok(Step::Done));

    // Each piece: an id, then whether the client's own index is put in its place, a length, and so many
    // bytes; a length of 255 sends what follows as it is.
    let mut rest = data;
    'said: while let Some(([id, own, length, cut], tail)) = rest.split_first_chunk() {
        let (body, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = tail;
        let mut sent = body.to_vec();
        if *length < 255 {
            let mut message = vec![0, *id];
            message.extend_from_slice(body);
            if own & 1 == 1
                && let Some(place) = message.get_mut(2..6)
            {
                place.copy_from_slice(&connection.index().to_be_bytes());
            }
            sent = [&header(message.len() as u32)[..], &message].concat();
        }
        let (first, second) = sent.split_at(usize::from(*cut).min(sent.len()));
        for mut piece in [first, second] {
            while !piece.is_empty() {
                match connection.next(contract, 4096, &mut piece, &mut out) {
                    Ok(Step::Asked(asked)) if own & 2 == 0 => {
                        let answer = Answer { number: asked.number, frames: Vec::new(), done: own & 4 == 0 };
                        connection.answer(&answer, &mut out);
                    }
                    Ok(_) => {}
                    Err(_) => break 'said,
                }
            }
        }
    }
    let herald = HeraldEncoder::new(contract);
    let params = [Param { name: "data", value: Value::Bytes(data) }];
    let event = Event::new("E_FUZZ", &params);
    if connection.wants(herald.event, Some(event.name())) {
        herald.encode_event(contract, &event, 1, &mut out);
    }

    let mut out = &out[..];
    while let Some((head, tail)) = out.split_first_chunk::<HEADER>() {
        let (message, tail) = tail.split_at(message_len(head) as usize);
        let entry = message_id(message).and_then(|id| contract.table().entry(id)).expect("an id of the table");
        entry.plan.view(message).expect("a whole message");
        out = tail;
    }
    assert!(out.is_empty());
    connection.leave(contract);
    assert!(contract.table().entries().iter().all(|entry| contract.listeners(entry.id) == 0));
});

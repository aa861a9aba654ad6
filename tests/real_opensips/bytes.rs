//! What is sent is what the stock module sends.

use serde_json::json;

use crate::event::{Raise, Value};
use crate::listener::Listener;
use crate::opensips::{Launch, Opensips};
use crate::tree::{Format, Lab, each_tree};

/// Events that both modules write alike.
fn alike(format: Format) -> Vec<Raise> {
    let plain = Raise::plain;
    let long = |bytes| plain().named("long", Value::Body).body(vec![b'z'; bytes]);
    let mut events = vec![
        plain(),
        plain().event("E_OTHER").named("k", "v"),
        plain().named("str", "bob").named("int", 42),
        plain().named("zero", 0).named("max", i32::MAX),
        plain().unnamed("first").unnamed(7).unnamed("third"),
        plain().unnamed(""),
        plain().named("empty", "").named("after", "x"),
        plain().named("eq", "k=v").named("colons", "y::zz").named("semi", "a;b").named("sp", "  a b  "),
        plain().named("dq", "q\"q").named("sq", "it's"),
        plain().named("nl", "l1\nl2").named("end", "x\n").named("crlf", "a\r\nb").named("only", "\n"),
        plain().named("both", "l1 \"q\"\nl2 \"r\"").named("bs", "a\\b\n\""),
        plain().named("tab", "t\tt").named("bs", "a\\b").named("sl", "a/b").named("c", "\x01\x1f\x7f"),
        plain().named("u", "é € 😀").named("ñ", "a name, too").named("bf", "\x08\x0c"),
        plain().named("a b", "1").named("q\"", "2").named("x", "3").named("x", "4"),
        plain().named("a", "1").named("", "2"),
        (0..40).fold(plain(), |raise, n| raise.named(format!("p{n}"), n)),
        (0..100).fold(plain(), |raise, n| raise.unnamed(n)),
        long(1000),
        long(16_000),
    ];
    match format {
        Format::Text => events.push(plain().named(b"\xe9", &b"\xff"[..])),
        // As text the stock module crashes OpenSIPS.
        Format::Json => events.push(long(60_000)),
    }
    events
}

/// An event that Herald writes otherwise, and how both write it.
struct Difference {
    raise: Raise,
    stock: &'static [u8],
    herald: &'static [u8],
}

/// All differences there are.
fn differences(format: Format) -> Vec<Difference> {
    let plain = Raise::plain;
    let differs = |raise, stock, herald| Difference { raise, stock, herald };
    match format {
        Format::Text => vec![
            // Negative numbers.
            differs(
                plain().named("neg", -7).named("min", i32::MIN),
                b"E_SCRIPT\nneg::18446744073709551609\nmin::18446744071562067968\n\n",
                b"E_SCRIPT\nneg::-7\nmin::-2147483648\n\n",
            ),
            // Values that cannot be read back: they begin with a quote, hold a carriage return, or
            // are unnamed and hold two colons.
            differs(
                plain().named("all", "\"all\"").named("open", "\"x"),
                b"E_SCRIPT\nall::\"all\"\nopen::\"x\n\n",
                b"E_SCRIPT\nall::\"\\\"all\\\"\"\nopen::\"\\\"x\"\n\n",
            ),
            differs(
                plain().named("cr", "a\rb"),
                b"E_SCRIPT\ncr::a\rb\n\n",
                b"E_SCRIPT\ncr::\"a\rb\"\n\n",
            ),
            differs(
                plain().unnamed("y::zz").unnamed("::"),
                b"E_SCRIPT\ny::zz\n::\n\n",
                b"E_SCRIPT\n\"y::zz\"\n\"::\"\n\n",
            ),
            // Backslashes at the end of a quoted value, which would escape the quote.
            differs(
                plain().named("bs", "a\nb\\"),
                b"E_SCRIPT\nbs::\"a\nb\\\"\n\n",
                b"E_SCRIPT\nbs::\"a\nb\"\\\n\n",
            ),
            // Names that cannot be read back.
            differs(
                plain().named("a::b", "1").named("n\nl", "2").named("\"q", "3").named("x:", "4"),
                b"E_SCRIPT\na::b::1\nn\nl::2\n\"q::3\nx:::4\n\n",
                b"E_SCRIPT\n\"a::b\"::1\n\"n\nl\"::2\n\"\\\"q\"::3\n\"x:\"::4\n\n",
            ),
        ],
        Format::Json => vec![
            // Invalid UTF-8.
            differs(
                plain().named("bad", &b"a\xff\xfe\xc3(b"[..]).named("cut", &b"x\xe2\x82"[..]),
                b"{\"jsonrpc\":\"2.0\",\"method\":\"E_SCRIPT\",\
                  \"params\":{\"bad\":\"a\xff\xfe\xc3(b\",\"cut\":\"x\xe2\x82\"}}",
                "{\"jsonrpc\":\"2.0\",\"method\":\"E_SCRIPT\",\
                 \"params\":{\"bad\":\"a\u{fffd}\u{fffd}\u{fffd}(b\",\"cut\":\"x\u{fffd}\"}}"
                    .as_bytes(),
            ),
            // A zero byte.
            differs(
                plain().named("nul", "a\0b").named("t", "after"),
                br#"{"jsonrpc":"2.0","method":"E_SCRIPT","params":{"nul":"a","t":"after"}}"#,
                br#"{"jsonrpc":"2.0","method":"E_SCRIPT","params":{"nul":"a\u0000b","t":"after"}}"#,
            ),
            // A first parameter whose name is empty, as only a script can make it.
            differs(
                plain().named("", "5"),
                br#"{"jsonrpc":"2.0","method":"E_SCRIPT","params":{"":"5"}}"#,
                br#"{"jsonrpc":"2.0","method":"E_SCRIPT","params":["5"]}"#,
            ),
            // Names that are not UTF-8.
            differs(
                plain().named(b"\xe9", "1"),
                b"{\"jsonrpc\":\"2.0\",\"method\":\"E_SCRIPT\",\"params\":{\"\xe9\":\"1\"}}",
                "{\"jsonrpc\":\"2.0\",\"method\":\"E_SCRIPT\",\"params\":{\"\u{fffd}\":\"1\"}}"
                    .as_bytes(),
            ),
        ],
    }
}

/// An OpenSIPS with a subscriber of each kind, who must get the same.
struct Recorder {
    host: Opensips,
    udp: Listener,
    unix: Listener,
}

impl Recorder {
    fn start(launch: Launch) -> Recorder {
        let recorder = Recorder { host: launch.start(), udp: Listener::udp(), unix: Listener::unix() };
        for event in ["E_SCRIPT", "E_OTHER"] {
            recorder.host.subscribe(event, &recorder.udp);
            recorder.host.subscribe(event, &recorder.unix);
        }
        recorder
    }

    fn record(&self, raise: &Raise) -> Vec<u8> {
        self.host.raise(raise);
        self.next()
    }

    fn next(&self) -> Vec<u8> {
        let datagram = self.udp.next();
        self.unix.expect(&datagram);
        datagram
    }
}

fn assert_same(what: &str, lab: &Lab, got: &[u8], wanted: &[u8]) {
    let version = lab.version();
    let (got, wanted) = (got.escape_ascii(), wanted.escape_ascii());
    assert!(
        got.clone().eq(wanted.clone()),
        "OpenSIPS {version}: {what}\n     got {got}\nexpected {wanted}"
    );
}

#[test]
fn it_sends_what_the_stock_module_sends() {
    each_tree("it_sends_what_the_stock_module_sends", |lab| {
        let (stock, herald) = (Recorder::start(lab.stock()), Recorder::start(lab.herald()));
        let format = lab.version().format();
        for raise in alike(format) {
            let what = format!("{raise:.200?}");
            assert_same(&what, lab, &herald.record(&raise), &stock.record(&raise));
        }
        for Difference { raise, stock: wrong, herald: right } in differences(format) {
            assert_same("the stock module", lab, &stock.record(&raise), wrong);
            assert_same("Herald", lab, &herald.record(&raise), right);
        }
    });
}

#[test]
fn events_raised_by_the_operator_are_sent_the_same_way() {
    each_tree("events_raised_by_the_operator_are_sent_the_same_way", |lab| {
        if !lab.since(3, 1, "its MI raises no events") {
            return;
        }
        let (stock, herald) = (Recorder::start(lab.stock()), Recorder::start(lab.herald()));
        let named = r#"{"k":"v \"q\" é","n":5,"minus":-5,"e":""}"#;
        for params in [&[][..], &[json!(["a", "b", ""])], &[json!(named)]] {
            let raise = |at: &Recorder| {
                let args: Vec<_> = [json!("E_SCRIPT")].iter().chain(params).cloned().collect();
                at.host.mi.command("raise_event", &args).unwrap();
                at.next()
            };
            assert_same(&format!("{params:?}"), lab, &raise(&herald), &raise(&stock));
        }
    });
}

#[test]
fn either_format_can_be_chosen() {
    each_tree("either_format_can_be_chosen", |lab| {
        let plain = Raise::plain;
        for format in [Format::Text, Format::Json] {
            let quoted = format!("\"{}\"", format.name());
            let recorder = Recorder::start(lab.herald().modparam("format", &quoted));
            for (raise, text, json) in [
                (plain(), "E_SCRIPT\n\n", r#"{"jsonrpc":"2.0","method":"E_SCRIPT"}"#),
                (
                    plain().event("E_OTHER").named("str", "bob").named("int", -42).named("nl", "a\nb"),
                    "E_OTHER\nstr::bob\nint::-42\nnl::\"a\nb\"\n\n",
                    r#"{"jsonrpc":"2.0","method":"E_OTHER","params":{"str":"bob","int":-42,"nl":"a\nb"}}"#,
                ),
                (
                    plain().unnamed("first").unnamed(7).unnamed(""),
                    "E_SCRIPT\nfirst\n7\n\n\n",
                    r#"{"jsonrpc":"2.0","method":"E_SCRIPT","params":["first",7,""]}"#,
                ),
            ] {
                let wanted = if format == Format::Text { text } else { json };
                assert_same(format.name(), lab, &recorder.record(&raise), wanted.as_bytes());
            }
        }
    });
}

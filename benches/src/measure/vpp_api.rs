//! The VPP API: events to C clients, one of them stuck or not.

use std::ffi::{CStr, CString};
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use herald::event::{Event, Param, Value};
use herald::host::capi::*;
use herald::hub::{LostRecord, SubscriberStats};
use herald::log::Log;
use herald::transport::listener::ListenOptions;
use herald::transport::stream::{Batch, ClientId, Protocol, Received, StreamOptions, StreamServer};
use herald::transport::vpp_api::VppApiOptions;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::vpp_clients::root;
use super::{Bench, progress};
use crate::clock;
use crate::report::{Table, count, median, percentile, sorted};

const EVENT: &CStr = c"cu_up_gtp_error_ind_event";
const FIELDS: [&CStr; 5] = [c"type", c"data.ue_id", c"data.te_id", c"data.rb_id", c"raw_msg_data"];
/// What the plain events are called, since an event has a name.
const PLAIN: &str = "cu_up_gtp_error_ind_event";
/// Its frame with a raw message of 9 bytes.
const FRAME: usize = 49;
const RAW: [u8; 9] = [b'0'; 9];

/// How far the publisher runs ahead of the slowest client: less than a queue.
const WINDOW: u64 = 8000;

pub fn measure(bench: &mut Bench) -> Result<()> {
    bench.report.heading("VPP API: events");
    one_client(bench)?;
    many_clients(bench)
}

/// How the event is given to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Fields,
    Prepared,
    Packed,
    /// The same hub and server, and a protocol whose frames need neither encoding nor patching.
    Plain,
}

impl How {
    fn label(self) -> &'static str {
        match self {
            How::Fields => "by fields",
            How::Prepared => "prepared fields",
            How::Packed => "packed struct",
            How::Plain => "no encoding: frames as they are",
        }
    }
}

/// Frames that the publisher has made, to everybody who says anything.
struct PlainProtocol;

impl Protocol for PlainProtocol {
    type Client = bool;
    type Topic = ();
    const NAME: &'static str = "plain";

    fn connected(&mut self, _id: ClientId) -> bool {
        false
    }

    fn encode(&mut self, event: &Event<'_>, batch: &mut Batch<()>) {
        if let Some(Param { value: Value::Bytes(frame), .. }) = event.params().next() {
            batch.push((), frame);
        }
    }

    fn wants(client: &bool, _topic: &()) -> bool {
        *client
    }

    fn wants_any(client: &bool) -> bool {
        *client
    }

    fn lost_record(&self, _client: &bool) -> Option<LostRecord> {
        None
    }

    fn receive(
        &mut self,
        client: &mut bool,
        bytes: &mut &[u8],
        _replies: &mut Vec<u8>,
    ) -> Result<Received, String> {
        *bytes = &[];
        *client = true;
        Ok(Received::Understood)
    }
}

/// A hub with a server, as a C program has it: everything is published by the functions of `herald.h`.
struct Server {
    hub: *mut herald_hub,
    /// NULL with the plain protocol, as the event is.
    api: *mut herald_vpp_api,
    event: *mut herald_vpp_event,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start(how: How) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("herald-bench.").tempdir_in("/dev/shm")?;
        let path = directory.path().join("api.sock");
        let mut server =
            Server { hub: null_mut(), api: null_mut(), event: null_mut(), path, _directory: directory };
        // SAFETY: the hub is closed when the server is dropped.
        let hub = unsafe {
            ensure!(herald_hub_open(null(), &mut server.hub) == HERALD_OK, "no hub");
            &*server.hub
        };
        if how == How::Plain {
            let listen = ListenOptions::at(&server.path.to_string_lossy());
            let options = StreamOptions { listen, ..VppApiOptions::default().stream };
            let plain = StreamServer::bind(PlainProtocol, options, Log::silent())?;
            hub.hub().add(Box::new(plain))?;
        } else {
            server.serve_vpp_api()?;
        }
        Ok(server)
    }

    fn serve_vpp_api(&mut self) -> Result<()> {
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes());
        let (path, directory) = (text(&self.path)?, text(&root().join("c_examples/api"))?);
        let directories = [directory.as_ptr()];
        let fields = FIELDS.map(CStr::as_ptr);
        // SAFETY: all-zero options are those of the header, and every pointer outlives the calls.
        let errors = unsafe {
            let mut options: herald_vpp_api_options = std::mem::zeroed();
            options.size = size_of_val(&options);
            options.path = path.as_ptr();
            options.max_clients = 100;
            options.api_directories = directories.as_ptr();
            options.api_directories_count = 1;
            [
                herald_hub_serve_vpp_api(self.hub, &options, &mut self.api),
                herald_vpp_api_prepare(self.api, EVENT.as_ptr(), fields.as_ptr(), 5, &mut self.event),
            ]
        };
        ensure!(errors == [HERALD_OK; 2], "the API is not served: errors {errors:?}");
        Ok(())
    }

    /// A client that has registered.
    fn client(&self) -> Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.path)?;
        if self.api.is_null() {
            stream.write_all(&[1])?;
            return Ok(stream);
        }
        stream.write_all(&framed(&[&[0, 15, 0, 0, 0, 1][..], &[b'c'; 64]].concat()))?;
        let reply = message(&mut stream)?;
        // The table of messages: an id and a name each.
        let wanted = b"want_cu_up_gtp_error_ind_events_";
        let at = reply.windows(wanted.len()).position(|name| name == wanted).context("no want")?;
        let crc_of_the_reply = b"want_cu_up_gtp_error_ind_events_reply";
        ensure!(!reply[at..].starts_with(crc_of_the_reply), "the reply comes first");
        let mut request = reply[at - 2..at].to_vec();
        request.extend_from_slice(&reply[14..18]);
        request.extend_from_slice(&[0, 0, 0, 2, 1, 0, 0, 0, 7]);
        stream.write_all(&framed(&request))?;
        ensure!(message(&mut stream)?.ends_with(&[0; 4]), "it cannot register");
        Ok(stream)
    }

    #[inline]
    fn publish(&self, how: How, number: u32, packed: &[u8; FRAME]) {
        // A refused event is published again: nothing is lost.
        while self.try_to_publish(how, number, packed) != HERALD_OK {
            clock::sleep_until(clock::now() + 20_000);
        }
    }

    #[inline]
    fn try_to_publish(&self, how: How, number: u32, packed: &[u8; FRAME]) -> herald_error {
        let uint = |name: &CStr, unsigned_number| herald_param {
            name: name.as_ptr(),
            r#type: HERALD_TYPE_UINT,
            value: herald_value { unsigned_number },
        };
        let bytes = |name: &CStr, bytes: &[u8]| herald_param {
            name: name.as_ptr(),
            r#type: HERALD_TYPE_BYTES,
            value: herald_value {
                bytes: herald_bytes { data: bytes.as_ptr().cast(), length: bytes.len() },
            },
        };
        let fields = || {
            let [a, b, c, d, e] = FIELDS;
            // To a C program the library is another file, which knows none of this beforehand.
            black_box([
                uint(a, 2),
                uint(b, number.into()),
                uint(c, 0xdead_beef),
                uint(d, 5),
                bytes(e, &RAW),
            ])
        };
        let name = EVENT.as_ptr();
        // SAFETY: the hub is open, and every pointer outlives the call.
        unsafe {
            match how {
                How::Fields => herald_vpp_api_publish(self.api, name, fields().as_ptr(), 5),
                How::Prepared => herald_vpp_event_publish(self.event, fields().as_ptr(), 5),
                How::Packed => {
                    let message = &packed[16..];
                    herald_vpp_api_publish_packed(self.api, name, message.as_ptr().cast(), message.len())
                }
                // In Rust, so that what is no more than a copy is not made slower by anything.
                How::Plain => {
                    let params = [Param { name: "", value: Value::Bytes(packed) }];
                    let published = (&*self.hub).hub().publish(&Event::new(PLAIN, &params));
                    if published.is_ok() { HERALD_OK } else { HERALD_ERROR_RING_FULL }
                }
            }
        }
    }

    /// What each client accounts for: an event is delivered to it, or dropped on the way.
    fn subscribers(&self) -> Vec<Arc<SubscriberStats>> {
        // SAFETY: it is open.
        unsafe { &*self.hub }.hub().subscribers()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: it is open or NULL, and nobody uses it any more.
        unsafe { herald_hub_close(&mut self.hub) };
    }
}

/// A packed event as the publisher has it, with its header.
fn packed_event() -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    frame[11] = (FRAME - 16) as u8;
    frame[29] = 2;
    frame[39] = RAW.len() as u8;
    frame[40..].copy_from_slice(&RAW);
    frame
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 16];
    frame[8..12].copy_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

fn message(stream: &mut UnixStream) -> Result<Vec<u8>> {
    let mut header = [0; 16];
    stream.read_exact(&mut header)?;
    let length = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
    let mut message = vec![0; length as usize];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// The clients, read by one thread, frame by frame as a C program does.
struct Readers {
    counts: Arc<Vec<AtomicU64>>,
    stop: Arc<AtomicBool>,
}

impl Readers {
    fn start(streams: Vec<UnixStream>) -> Result<Self> {
        let counts: Arc<Vec<AtomicU64>> = Arc::new(streams.iter().map(|_| AtomicU64::new(0)).collect());
        let stop = Arc::new(AtomicBool::new(false));
        let (ours, ending) = (counts.clone(), stop.clone());
        for stream in &streams {
            stream.set_nonblocking(true)?;
        }
        thread::spawn(move || {
            let mut buffer = vec![0; 256 * 1024];
            let mut rests: Vec<Vec<u8>> = streams.iter().map(|_| Vec::new()).collect();
            while !ending.load(Ordering::Relaxed) {
                let mut waiting: Vec<PollFd<'_>> = streams
                    .iter()
                    .map(|stream| PollFd::new(stream.as_fd(), PollFlags::POLLIN))
                    .collect();
                let _ = poll(&mut waiting, PollTimeout::from(10u8));
                for (number, mut stream) in streams.iter().enumerate() {
                    let rest = &mut rests[number];
                    buffer[..rest.len()].copy_from_slice(rest);
                    let Ok(read) = stream.read(&mut buffer[rest.len()..]) else { continue };
                    let bytes = &buffer[..rest.len() + read];
                    let (mut at, mut events) = (0, 0);
                    while let Some(header) = bytes.get(at..at + 16) {
                        let length = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
                        let end = at + 16 + length as usize;
                        if end > bytes.len() {
                            break;
                        }
                        at = end;
                        events += 1;
                    }
                    *rest = bytes[at..].to_vec();
                    ours[number].fetch_add(events, Ordering::Release);
                }
            }
        });
        Ok(Readers { counts, stop })
    }

    fn total(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Acquire)).sum()
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Publishes for so long, `stuck` clients being left out of account; deliveries a second until the last.
fn run(server: &Server, how: How, readers: &Readers, stuck: usize, duration: u64) -> Result<f64> {
    let packed = packed_event();
    let account = |one: &SubscriberStats| one.delivered.get() + one.dropped.get();
    let subscribers = server.subscribers();
    let reading = &subscribers[stuck..];
    let base: Vec<u64> = reading.iter().map(|one| account(one)).collect();
    let (before, begin) = (readers.total(), clock::now());
    let mut published = 0u64;
    while clock::now() - begin < duration {
        for _ in 0..64 {
            server.publish(how, published as u32, &packed);
            published += 1;
        }
        let slowest = || reading.iter().zip(&base).map(|(one, base)| account(one) - base).min();
        while published - slowest().unwrap_or(published) > WINDOW {
            clock::sleep_until(clock::now() + 20_000);
        }
    }
    let wanted = published * reading.len() as u64;
    let deadline = Instant::now() + Duration::from_secs(20);
    while readers.total() - before < wanted {
        ensure!(Instant::now() < deadline, "{} of {wanted} events arrive", readers.total() - before);
        clock::sleep_until(clock::now() + 20_000);
    }
    Ok(wanted as f64 / ((clock::now() - begin) as f64 / 1e9))
}

fn one_client(bench: &mut Bench) -> Result<()> {
    bench.report.text(
        "Events of 49 bytes to one client, which reads frame by frame. The publisher stays at most 8000 events \
         ahead of it, so that nothing is lost; checked. Published by the functions of herald.h; the last in \
         Rust, to the same hub and server with a protocol whose frames the publisher has at hand: what \
         encoding and the C interface cost is the difference. By turns.",
    );
    let hows = [How::Fields, How::Prepared, How::Packed, How::Plain];
    let mut runs = Vec::new();
    for how in hows {
        let server = Server::start(how)?;
        let readers = Readers::start(vec![server.client()?])?;
        runs.push((how, server, readers, Vec::new()));
    }
    // The plain client is known once its byte has been read.
    clock::sleep_until(clock::now() + 20_000_000);
    // Which thread shares a core with which changes from turn to turn: many short turns, each compared with
    // its neighbours, say more than a few long ones.
    let duration = bench.milliseconds(100, 100);
    for round in 1..=bench.rounds(40, 6) {
        progress(&format!("VPP API, one client: round {round}"));
        for (how, server, readers, rates) in &mut runs {
            rates.push(run(server, *how, readers, 0, duration)?);
        }
    }
    let mut table = Table::new(["", "events/s", "spread"]);
    for (how, _, _, rates) in &runs {
        let rates = sorted(rates.clone());
        let spread = format!("{} – {}", count(rates[0]), count(percentile(&rates, 100.0)));
        table.row([how.label().to_owned(), count(median(rates.iter().copied())), spread]);
    }
    bench.report.table(&table);
    let rate = |at: usize| median(runs[at].3.iter().copied());
    let ratio = |at: usize| median(runs[at].3.iter().zip(&runs[3].3).map(|(ours, plain)| ours / plain));
    for at in [0, 1, 2] {
        let label = hows[at].label();
        bench.report.target(
            format!("VPP API, one client, {label}"),
            "≥ 3 M events/s",
            count(rate(at)),
            rate(at) >= 3e6,
        );
        bench.report.target(
            format!("VPP API, one client, {label} beside no encoding"),
            "≥ 90 %",
            format!("{:.0} %", 100.0 * ratio(at)),
            ratio(at) >= 0.9,
        );
    }
    Ok(())
}

fn many_clients(bench: &mut Bench) -> Result<()> {
    bench.report.text(
        "64 clients, and 64 of which one never reads: deliveries a second to each that reads. In pairs of short runs, \
         each pair in the other order than the one before; of the ratios of the pairs the median counts. Within \
         the bounds it lies with a confidence of 95 %.",
    );
    let others = 63;
    let mut runs = Vec::new();
    for stuck in [0, 1] {
        let server = Server::start(How::Packed)?;
        let silent = (0..stuck).map(|_| server.client()).collect::<Result<Vec<_>>>()?;
        let streams = (0..others + 1 - stuck).map(|_| server.client()).collect::<Result<Vec<_>>>()?;
        runs.push((stuck, silent, Readers::start(streams)?, server, Vec::new()));
    }
    let duration = bench.milliseconds(150, 100);
    progress("VPP API, 64 clients");
    for _ in 0..bench.rounds(60, 8) {
        runs.reverse();
        for (stuck, _, readers, server, rates) in &mut runs {
            let clients = (others + 1 - *stuck) as f64;
            rates.push(run(server, How::Packed, readers, *stuck, duration)? / clients);
        }
    }
    runs.sort_by_key(|(stuck, ..)| *stuck);
    let mut table = Table::new(["", "events/s to each", "spread"]);
    for (stuck, _, _, _, rates) in &runs {
        let label = if *stuck == 0 { "64 clients read" } else { "63 read, one is stuck" };
        let rates = sorted(rates.clone());
        let spread = format!("{} – {}", count(rates[0]), count(percentile(&rates, 100.0)));
        table.row([label.to_owned(), count(median(rates.iter().copied())), spread]);
    }
    bench.report.table(&table);
    let pairs = runs[0].4.iter().zip(&runs[1].4);
    let changes = sorted(pairs.map(|(all, others)| 100.0 * (others / all - 1.0)).collect());
    // The ranks of a sign test, by the normal approximation.
    let [low, high] =
        [-1.0, 1.0].map(|side| percentile(&changes, 50.0 + side * 98.0 / (changes.len() as f64).sqrt()));
    let change = median(changes.iter().copied());
    bench.report.target(
        "VPP API, 64 clients, one stuck: the others' rate",
        "within 5 %, or higher",
        format!("{change:+.1} % ({low:+.1} … {high:+.1} %)"),
        change >= -5.0,
    );
    Ok(())
}

//! SIP requests, and the events that the script raises upon them.

use std::io::{self, Write};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::common::retry;
use crate::opensips::own_ip;

/// A parameter's value.
#[derive(Debug, Clone)]
pub enum Value {
    Int(i32),
    Bytes(Vec<u8>),
    /// The body of the request: values too long for a header.
    Body,
    /// The process that raises the event.
    Pid,
}

impl From<i32> for Value {
    fn from(number: i32) -> Value {
        Value::Int(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Bytes(text.into())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Value {
        Value::Bytes(bytes.into())
    }
}

/// An event that the script raises.
#[derive(Debug, Clone)]
pub struct Raise {
    event: &'static str,
    mode: &'static str,
    params: Vec<(Vec<u8>, Value)>,
    body: Vec<u8>,
    times: u32,
    method: &'static str,
}

impl Raise {
    /// E_SCRIPT without parameters.
    pub fn plain() -> Raise {
        Raise {
            event: "E_SCRIPT",
            mode: "none",
            params: Vec::new(),
            body: Vec::new(),
            times: 1,
            method: "EVENT",
        }
    }

    /// Another event: E_OTHER or E_FENCE.
    pub fn event(mut self, name: &'static str) -> Raise {
        self.event = name;
        self
    }

    /// One more parameter with a name.
    pub fn named(mut self, name: impl AsRef<[u8]>, value: impl Into<Value>) -> Raise {
        self.mode = "named";
        self.params.push((name.as_ref().to_owned(), value.into()));
        self
    }

    /// One more parameter without a name. All of an event have one, or none has.
    pub fn unnamed(mut self, value: impl Into<Value>) -> Raise {
        self.mode = "unnamed";
        self.params.push((Vec::new(), value.into()));
        self
    }

    /// What [`Value::Body`] is.
    pub fn body(mut self, body: Vec<u8>) -> Raise {
        self.body = body;
        self
    }

    /// So many times by one request.
    pub fn times(mut self, times: u32) -> Raise {
        self.times = times;
        self
    }

    /// Keeps its process busy for [`BUSY`] after it is raised.
    pub fn busy(mut self) -> Raise {
        self.method = "BUSY";
        self
    }

    /// Sends the request; the answer's first line, if it comes in time.
    pub fn send(&self, to: &str, patience: Duration) -> io::Result<String> {
        let mut headers = format!("X-Event: {}\r\nX-Mode: {}\r\n", self.event, self.mode);
        headers += &format!("X-Repeat: {}\r\n", self.times);
        for (name, value) in &self.params {
            let (kind, value) = match value {
                Value::Int(number) => ("i", hexadecimal(number.to_string().as_bytes())),
                Value::Bytes(bytes) => ("s", hexadecimal(bytes)),
                Value::Body => ("b", "-".into()),
                Value::Pid => ("p", "-".into()),
            };
            headers += &format!("X-Param: {kind}:{}:{value}\r\n", hexadecimal(name));
        }
        request(to, self.method, &headers, &self.body, patience)
    }
}

/// How long [`Raise::busy`] keeps a process, in microseconds.
pub const BUSY: u32 = 300_000;

/// Sends a request; the answer's first line, if it comes in time.
pub fn request(
    to: &str,
    method: &str,
    headers: &str,
    body: &[u8],
    patience: Duration,
) -> io::Result<String> {
    static SEQUENCE: AtomicU32 = AtomicU32::new(1);
    let number = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    let unique = format!("{}-{number}", std::process::id());
    let socket = UdpSocket::bind((own_ip(253), 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    let me = socket.local_addr().unwrap();
    let mut request = format!(
        "{method} sip:x@{to} SIP/2.0\r\n\
         Via: SIP/2.0/UDP {me};branch=z9hG4bK{unique}\r\n\
         From: <sip:a@127.0.0.1>;tag={unique}\r\n\
         To: <sip:x@127.0.0.1>\r\n\
         Call-ID: {unique}@127.0.0.1\r\n\
         CSeq: {number} {method}\r\n\
         Max-Forwards: 70\r\n\
         {headers}\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.write_all(body).unwrap();
    socket.send(&request)?;
    let mut buffer = vec![0; 1 << 16];
    let len = retry(|| socket.recv(&mut buffer))?;
    let answer = String::from_utf8_lossy(&buffer[..len]);
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// As the script reads it: a dash for nothing.
fn hexadecimal(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".into();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! A GTP error indication: a message of testgovpp.api, and an event of Herald.

use std::fmt;
use std::ops::RangeInclusive;

use herald::event::{Event, Param, Value};
use herald_vpp_api::builtin::Builtin;
use herald_vpp_api::codec::Plan;
use herald_vpp_api::{Api, Rules, parse};

/// The API that the plugin serves.
pub const API_FILE: &str = "testgovpp.api";
const API_TEXT: &str = include_str!("../../c_examples/api/testgovpp.api");

/// The event's name in the API.
pub const EVENT: &str = "cu_up_gtp_error_ind_event";
/// The name under which Herald's subscribers know it.
pub const HERALD_EVENT: &str = "E_VPP_GTP_ERROR";

/// The longest raw message: what its count, a u8, can say.
pub const MAX_RAW: usize = u8::MAX as usize;

/// `CU_UP_EVENT_GTP_ERROR_IND`
const GTP_ERROR_IND: u32 = 2;
/// The values of `cu_up_event_type`.
const KINDS: RangeInclusive<u32> = 1..=3;

/// What a GTP-U peer has reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GtpError {
    /// A `cu_up_event_type`.
    pub kind: u32,
    /// The user equipment.
    pub ue_id: u32,
    /// The tunnel endpoint.
    pub te_id: u32,
    /// The radio bearer.
    pub rb_id: u8,
    raw: Vec<u8>,
}

/// Why a GTP error cannot be reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooLong(usize);

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "raw has {} bytes, and the event holds at most {MAX_RAW}", self.0)
    }
}

impl std::error::Error for TooLong {}

impl GtpError {
    /// An error indication of the ordinary kind, with as much of the raw message as is to be reported.
    pub fn new(ue_id: u32, te_id: u32, rb_id: u8, raw: Vec<u8>) -> Result<Self, TooLong> {
        if raw.len() > MAX_RAW {
            return Err(TooLong(raw.len()));
        }
        Ok(GtpError { kind: GTP_ERROR_IND, ue_id, te_id, rb_id, raw })
    }

    /// Writes the message, with a client index and a pid of zero.
    pub fn encode(&self, plan: &Plan, id: u16, out: &mut Vec<u8>) -> Result<(), String> {
        let mut message = plan.encoder(id, out);
        let put = message
            .put("type", self.kind)
            .and_then(|()| message.put("data.ue_id", self.ue_id))
            .and_then(|()| message.put("data.te_id", self.te_id))
            .and_then(|()| message.put("data.rb_id", self.rb_id))
            .and_then(|()| message.put("raw_msg_data", self.raw.as_slice()))
            .and_then(|()| message.finish());
        put.map(drop).map_err(|error| error.to_string())
    }

    /// Hands the event that Herald's subscribers see to `publish`.
    pub fn with_event<T>(&self, publish: impl FnOnce(&Event<'_>) -> T) -> T {
        let number = |n: u32| Value::Uint(n.into());
        publish(&Event::new(
            HERALD_EVENT,
            &[
                Param { name: "type", value: number(self.kind) },
                Param { name: "ue_id", value: number(self.ue_id) },
                Param { name: "te_id", value: number(self.te_id) },
                Param { name: "rb_id", value: number(self.rb_id.into()) },
                Param { name: "raw", value: Value::Bytes(&self.raw) },
            ],
        ))
    }
}

/// The API's definitions.
pub fn api() -> Result<Api, String> {
    parse::parse(API_FILE, API_TEXT, &Builtin, Rules::default()).map_err(|error| error.to_string())
}

/// How `herald gtp-error` is used.
pub const USAGE: &str =
    "herald gtp-error ue <id> te <id> [rb <id>] [type <number>] [raw <hex digits>] [count <n>]";

/// Reads the arguments of `herald gtp-error`: the event, and how many of it. Numbers may be hexadecimal,
/// with `0x`.
pub fn parse_arguments(line: &str) -> Result<(GtpError, u64), String> {
    let (mut ue, mut te, mut rb, mut kind, mut raw, mut count) =
        (None, None, 0, GTP_ERROR_IND, Vec::new(), 1);
    let mut words = line.split_whitespace();
    while let Some(key) = words.next() {
        let value = words.next().ok_or_else(|| format!("{key} has no value; usage: {USAGE}"))?;
        match key {
            "ue" => ue = Some(number(key, value)?),
            "te" => te = Some(number(key, value)?),
            "rb" => rb = number(key, value)?,
            "type" => kind = number(key, value)?,
            "raw" => raw = bytes(value)?,
            "count" => count = number(key, value)?,
            _ => return Err(format!("unknown word {key:?}; usage: {USAGE}")),
        }
    }
    let missing = |key| format!("{key} is missing; usage: {USAGE}");
    let mut error =
        GtpError::new(ue.ok_or_else(|| missing("ue"))?, te.ok_or_else(|| missing("te"))?, rb, raw)
            .map_err(|error| error.to_string())?;
    // vpp_papi's reader ends at a value that the enum has not.
    if !KINDS.contains(&kind) {
        return Err(format!("type: {kind} is no cu_up_event_type, which are 1 to 3"));
    }
    if count == 0 {
        return Err("count: 0 events are none".to_owned());
    }
    error.kind = kind;
    Ok((error, count))
}

fn number<T: TryFrom<u64>>(key: &str, text: &str) -> Result<T, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    let value = parsed.map_err(|_| format!("{key}: {text:?} is no number"))?;
    value.try_into().map_err(|_| format!("{key}: {text} is too large"))
}

fn bytes(digits: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("raw: {digits:?} is no even number of hexadecimal digits");
    if !digits.is_ascii() {
        return Err(wrong());
    }
    let (pairs, rest) = digits.as_bytes().as_chunks();
    let byte = |pair: &[u8; 2]| {
        let text = std::str::from_utf8(pair).ok()?;
        text.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u8::from_str_radix(text, 16).ok())?
    };
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes.filter(|_| rest.is_empty()).ok_or_else(wrong)
}

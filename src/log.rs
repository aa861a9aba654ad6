//! Where the library's own messages go: to the host's log, whatever that is.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How serious a message is. The numbers are those of syslog (RFC 5424, section 6.2.1), which
/// openl2tpd and the C callback take as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum Level {
    /// Something that was asked for does not work.
    Error = 3,
    /// Something is wrong, and the library goes on without it.
    Warning = 4,
    /// A change that an operator wants to know of.
    Notice = 5,
    /// The ordinary course of things.
    Info = 6,
    /// For whoever looks for a fault.
    Debug = 7,
}

/// A shared way to the host's log. Clones write to the same place.
#[derive(Clone)]
pub struct Log(Arc<Sink>);

type Sink = dyn Fn(Level, &str) + Send + Sync;

impl Log {
    /// A log that hands each message to `sink`, which is called from any thread. A message is one line,
    /// whatever is quoted in it: control characters come as spaces.
    pub fn new(sink: impl Fn(Level, &str) + Send + Sync + 'static) -> Self {
        Log(Arc::new(sink))
    }

    /// A log that drops everything.
    pub fn silent() -> Self {
        Log::new(|_, _| ())
    }

    /// Writes one message.
    pub fn write(&self, level: Level, message: fmt::Arguments<'_>) {
        match message.as_str() {
            Some(text) => (self.0)(level, text),
            None => (self.0)(level, &one_line(&message.to_string())),
        }
    }
}

/// The text with its control characters, line breaks among them, as spaces.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    match text.contains(char::is_control) {
        true => text.replace(char::is_control, " ").into(),
        false => text.into(),
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

macro_rules! log {
    ($log:expr, $level:ident, $($text:tt)+) => {
        $log.write($crate::log::Level::$level, format_args!($($text)+))
    };
}
pub(crate) use log;

/// Lets a burst of lines through, then one line an interval: what a client can provoke must not
/// fill the host's log.
#[derive(Debug)]
pub(crate) struct Limiter {
    left: u32,
    since: Option<Instant>,
    suppressed: u64,
}

impl Limiter {
    const BURST: u32 = 10;
    const INTERVAL: Duration = Duration::from_secs(10);

    pub(crate) fn new() -> Self {
        Limiter { left: Self::BURST, since: None, suppressed: 0 }
    }

    /// Writes the message, unless too many came before it; says how many were left out since.
    pub(crate) fn write(&mut self, log: &Log, level: Level, message: fmt::Arguments<'_>) {
        let now = Instant::now();
        if self.since.is_none_or(|since| now - since >= Self::INTERVAL) {
            self.since = Some(now);
            self.left = Self::BURST;
        }
        if self.left == 0 {
            self.suppressed += 1;
            return;
        }
        self.left -= 1;
        match std::mem::take(&mut self.suppressed) {
            0 => log.write(level, message),
            n => log.write(level, format_args!("{message} ({n} similar messages were left out)")),
        }
    }
}

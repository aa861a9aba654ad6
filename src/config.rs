//! `herald.toml`: what an operator can set. The man page `herald.toml(5)` describes it.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::hub::Overflow;
use crate::log::one_line;
use crate::transport::datagram::{self, Filter, Format, SubscriberOptions};
use crate::transport::event_sock::EventSock;
use crate::transport::stream::StreamOptions;
use crate::transport::vpp_api::VppApiOptions;

/// What the file says, with the defaults where it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The section `[event_sock]`.
    pub event_sock: StreamOptions,
    /// The section `[vpp_api]`, if there is one: without it that API is not served.
    pub vpp_api: Option<VppApiOptions>,
    /// The sections `[[datagram]]`: each a subscriber, with its address as the file has it.
    pub datagrams: Vec<(String, SubscriberOptions)>,
}

impl Default for Config {
    fn default() -> Self {
        Config { event_sock: EventSock::default_options(), vpp_api: None, datagrams: Vec::new() }
    }
}

/// What is wrong with a file.
#[derive(Debug)]
pub struct ConfigError {
    file: PathBuf,
    place: Option<(usize, String)>,
    message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((line, key)) = &self.place {
            write!(f, ", line {line}")?;
            if !key.is_empty() {
                write!(f, ", key {key}")?;
            }
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// The environment variable that names the file.
    pub const VARIABLE: &'static str = "HERALD_CONFIG";
    /// The file that is read if the variable is not set and the file exists.
    pub const DEFAULT_FILE: &'static str = "/etc/herald/herald.toml";

    /// Reads the file that the environment or the system offers; the defaults if there is none.
    pub fn load() -> Result<Self, ConfigError> {
        if let Some(file) = std::env::var_os(Self::VARIABLE).filter(|file| !file.is_empty()) {
            return Self::read(Path::new(&file));
        }
        match std::fs::read(Self::DEFAULT_FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Config::default()),
            read => Self::understand(Path::new(Self::DEFAULT_FILE), read),
        }
    }

    /// Reads a file.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        Self::understand(file, std::fs::read(file))
    }

    fn understand(file: &Path, read: io::Result<Vec<u8>>) -> Result<Self, ConfigError> {
        let complain = |place, message: String| {
            let message = one_line(&message).into_owned();
            ConfigError { file: file.to_path_buf(), place, message }
        };
        let bytes = read.map_err(|error| complain(None, format!("cannot read it: {error}")))?;
        // As far as it is UTF-8 this is the file, byte for byte.
        let text = String::from_utf8_lossy(&bytes);
        if let Err(error) = std::str::from_utf8(&bytes) {
            let at = error.valid_up_to();
            return Err(complain(Some(place(&text, at..at)), "the text is not UTF-8".into()));
        }
        Self::parse(&text)
            .map_err(|(span, message)| complain(span.map(|span| place(&text, span)), message))
    }

    fn parse(text: &str) -> Result<Self, (Option<Range<usize>>, String)> {
        let file: File = toml::from_str(text)
            .map_err(|error| (error.span(), error.message().trim_end().to_owned()))?;
        let mut config = Config::default();
        let invalid = |(span, message)| (Some(span), message);
        file.event_sock.apply(&mut config.event_sock).map_err(invalid)?;
        config.vpp_api = file.vpp_api.map(VppApiSection::read).transpose().map_err(invalid)?;
        for section in file.datagram {
            config.datagrams.push(section.read().map_err(invalid)?);
        }
        Ok(config)
    }
}

/// The line that a span begins on, from 1, and the key that it belongs to.
fn place(text: &str, span: Range<usize>) -> (usize, String) {
    let start = span.start.min(text.len());
    let before = &text.as_bytes()[..start];
    let line = before.iter().filter(|&&byte| byte == b'\n').count();
    let key = DeTable::parse(text).ok().and_then(|table| key_at(table.get_ref(), start));
    let key = key.unwrap_or_else(|| {
        // Of what is no TOML, what stands where a key is expected.
        let line = text.lines().nth(line).unwrap_or_default();
        line.split(['=', '#']).next().unwrap_or_default().trim().to_owned()
    });
    (line + 1, one_line(&key).into_owned())
}

/// The innermost key of which this place is a part, or a part of its value.
fn key_at(table: &DeTable<'_>, place: usize) -> Option<String> {
    fn within(value: &DeValue<'_>, place: usize) -> Option<String> {
        match value {
            DeValue::Table(table) => key_at(table, place),
            DeValue::Array(values) => values.iter().find_map(|value| within(value.get_ref(), place)),
            _ => None,
        }
    }
    table.iter().find_map(|(key, value)| {
        within(value.get_ref(), place).or_else(|| {
            let here = key.span().contains(&place) || value.span().contains(&place);
            here.then(|| key.get_ref().clone().into_owned())
        })
    })
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct File {
    event_sock: EventSockSection,
    vpp_api: Option<VppApiSection>,
    datagram: Vec<DatagramSection>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
struct EventSockSection {
    path: Option<Spanned<String>>,
    max_clients: Option<Spanned<Number>>,
    mode: Option<Spanned<String>>,
    owner: Option<Spanned<Id>>,
    group: Option<Spanned<Id>>,
    allow_uids: Vec<Spanned<Id>>,
    allow_gids: Vec<Spanned<Id>>,
    queue_bytes: Option<Spanned<Number>>,
    overflow: Option<Spanned<String>>,
}

/// A number whose range is said by who reads it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a whole number")]
enum Number {
    Whole(i64),
}

/// A user or a group: its number or its name.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a name or a number from 0 to 4294967294")]
enum Id {
    Number(u32),
    Name(String),
}

type Invalid = (Range<usize>, String);

impl EventSockSection {
    fn apply(self, options: &mut StreamOptions) -> Result<(), Invalid> {
        if let Some(path) = self.path {
            options.listen.path = absolute(path)?;
        }
        if let Some(most) = self.max_clients {
            options.max_clients = within(most, 1, StreamOptions::MAX_CLIENTS)?;
        }
        if let Some(mode) = self.mode {
            options.listen.mode = u32::from_str_radix(mode.get_ref(), 8)
                .ok()
                .filter(|&bits| bits <= 0o777 && !mode.get_ref().starts_with('+'))
                .ok_or_else(|| (mode.span(), "a mode is an octal number up to \"0777\"".into()))?;
        }
        if let Some(owner) = self.owner {
            options.listen.owner = Some(user(owner)?);
        }
        if let Some(owner) = self.group {
            options.listen.group = Some(group(owner)?);
        }
        options.listen.allow.uids = self.allow_uids.into_iter().map(user).collect::<Result<_, _>>()?;
        options.listen.allow.gids = self.allow_gids.into_iter().map(group).collect::<Result<_, _>>()?;
        if let Some(bytes) = self.queue_bytes {
            options.queue_bytes = within(bytes, StreamOptions::MIN_QUEUE, StreamOptions::MAX_QUEUE)?;
        }
        if let Some(policy) = self.overflow {
            options.overflow = overflow(policy)?;
        }
        Ok(())
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
struct VppApiSection {
    path: Option<Spanned<String>>,
    max_clients: Option<Spanned<Number>>,
    mode: Option<Spanned<String>>,
    owner: Option<Spanned<Id>>,
    group: Option<Spanned<Id>>,
    allow_uids: Vec<Spanned<Id>>,
    allow_gids: Vec<Spanned<Id>>,
    queue_bytes: Option<Spanned<Number>>,
    overflow: Option<Spanned<String>>,
    api_directories: Vec<Spanned<String>>,
    message_bytes: Option<Spanned<Number>>,
}

impl VppApiSection {
    fn read(self) -> Result<VppApiOptions, Invalid> {
        let mut options = VppApiOptions::default();
        let stream = EventSockSection {
            path: self.path,
            max_clients: self.max_clients,
            mode: self.mode,
            owner: self.owner,
            group: self.group,
            allow_uids: self.allow_uids,
            allow_gids: self.allow_gids,
            queue_bytes: self.queue_bytes,
            overflow: self.overflow,
        };
        stream.apply(&mut options.stream)?;
        for directory in self.api_directories {
            options.directories.push(absolute(directory)?);
        }
        if let Some(bytes) = self.message_bytes {
            options.longest = within(bytes, VppApiOptions::LEAST_LONGEST, StreamOptions::MAX_QUEUE)?;
        }
        Ok(options)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
struct DatagramSection {
    to: Spanned<String>,
    #[serde(default)]
    events: Vec<String>,
    format: Option<Spanned<String>>,
    queue_bytes: Option<Spanned<Number>>,
    overflow: Option<Spanned<String>>,
    send_buffer: Option<Spanned<Number>>,
}

impl DatagramSection {
    fn read(self) -> Result<(String, SubscriberOptions), Invalid> {
        let span = self.to.span();
        let target = datagram::parse(self.to.get_ref()).map_err(|error| (span, error.to_string()))?;
        let mut options = SubscriberOptions::new(target);
        options.events = Filter::new(self.events);
        if let Some(format) = self.format {
            options.format = match format.get_ref().as_str() {
                "json" => Format::Json,
                "text" => Format::Text,
                other => return Err((format.span(), format!("\"{other}\" is no format: json or text"))),
            };
        }
        if let Some(bytes) = self.queue_bytes {
            options.queue_bytes = within(bytes, StreamOptions::MIN_QUEUE, StreamOptions::MAX_QUEUE)?;
        }
        if let Some(policy) = self.overflow {
            options.overflow = overflow(policy)?;
        }
        if let Some(bytes) = self.send_buffer {
            options.send_buffer = within(bytes, 0, StreamOptions::MAX_QUEUE)?;
        }
        Ok((self.to.into_inner(), options))
    }
}

fn overflow(policy: Spanned<String>) -> Result<Overflow, Invalid> {
    match policy.get_ref().as_str() {
        "drop-newest" => Ok(Overflow::DropNewest),
        "drop-oldest" => Ok(Overflow::DropOldest),
        "disconnect" => Ok(Overflow::Disconnect),
        other => {
            let message = format!("\"{other}\" is no policy: drop-newest, drop-oldest or disconnect");
            Err((policy.span(), message))
        }
    }
}

fn within(number: Spanned<Number>, least: usize, most: usize) -> Result<usize, Invalid> {
    let Number::Whole(found) = *number.get_ref();
    usize::try_from(found)
        .ok()
        .filter(|found| (least..=most).contains(found))
        .ok_or_else(|| (number.span(), format!("{found} is not between {least} and {most}")))
}

fn absolute(path: Spanned<String>) -> Result<PathBuf, Invalid> {
    if path.get_ref().starts_with('/') {
        Ok(path.into_inner().into())
    } else {
        Err((path.span(), "the path must be absolute: it begins with /".into()))
    }
}

fn user(id: Spanned<Id>) -> Result<u32, Invalid> {
    resolve(id, parse_user)
}

fn group(id: Spanned<Id>) -> Result<u32, Invalid> {
    resolve(id, parse_group)
}

fn resolve(id: Spanned<Id>, parse: fn(&str) -> Result<u32, String>) -> Result<u32, Invalid> {
    let text = match id.get_ref() {
        Id::Number(number) => &number.to_string(),
        Id::Name(name) => name,
    };
    parse(text).map_err(|message| (id.span(), message))
}

/// The id of a user, given by name or number; else what is wrong with it.
pub fn parse_user(text: &str) -> Result<u32, String> {
    parse_id(text, "user", |name| Ok(nix::unistd::User::from_name(name)?.map(|user| user.uid.as_raw())))
}

/// The id of a group, given by name or number; else what is wrong with it.
pub fn parse_group(text: &str) -> Result<u32, String> {
    parse_id(text, "group", |name| {
        Ok(nix::unistd::Group::from_name(name)?.map(|group| group.gid.as_raw()))
    })
}

fn parse_id(
    text: &str,
    what: &str,
    look_up: impl FnOnce(&str) -> nix::Result<Option<u32>>,
) -> Result<u32, String> {
    match text.parse() {
        // The highest number means "no change" to chown(2).
        Ok(u32::MAX) => return Err(format!("{text} is no {what} id")),
        Ok(number) => return Ok(number),
        Err(_) => {}
    }
    match look_up(text) {
        Ok(Some(number)) => Ok(number),
        Ok(None) => Err(format!("there is no {what} \"{text}\" on this system")),
        Err(error) => Err(format!("cannot look up the {what} \"{text}\": {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn complaint(content: impl AsRef<[u8]>) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        let error = Config::read(file.path()).unwrap_err().to_string();
        error.strip_prefix(&file.path().display().to_string()).unwrap().to_owned()
    }

    #[test]
    fn a_whole_file_is_understood() {
        let config = Config::parse(
            "[event_sock]\npath = \"/run/x.evt\"\nmax_clients = 7\nmode = \"0600\"\nowner = \"root\"\n\
             group = 0\nallow_uids = [0, \"root\"]\nallow_gids = [\"root\"]\nqueue_bytes = 8192\n\
             overflow = \"drop-oldest\"\n",
        )
        .unwrap()
        .event_sock;
        assert_eq!(config.listen.path, Path::new("/run/x.evt"));
        assert_eq!((config.max_clients, config.queue_bytes), (7, 8192));
        assert_eq!(
            (config.listen.mode, config.listen.owner, config.listen.group),
            (0o600, Some(0), Some(0))
        );
        assert_eq!((config.listen.allow.uids, config.listen.allow.gids), (vec![0, 0], vec![0]));
        assert_eq!(config.overflow, Overflow::DropOldest);
    }

    #[test]
    fn every_datagram_section_is_a_subscriber() {
        let text = "[[datagram]]\nto = \"udp:127.0.0.1:9000\"\nevents = [\"E_L2TP_*\"]\n\
                    [[datagram]]\nto = \"unix:/run/x\"\nformat = \"text\"\n";
        let datagrams = Config::parse(text).unwrap().datagrams;
        assert_eq!(datagrams[0].0, "udp:127.0.0.1:9000");
        assert!(
            datagrams[0].1.events.wants("E_L2TP_SESSION_UP") && !datagrams[0].1.events.wants("E_OTHER")
        );
        assert_eq!((datagrams[0].1.format, datagrams[1].1.format), (Format::Json, Format::Text));
    }

    #[test]
    fn the_vpp_api_is_served_if_there_is_a_section() {
        assert_eq!(Config::parse("[vpp_api]").unwrap().vpp_api, Some(VppApiOptions::default()));
        let text = "[vpp_api]\npath = \"/run/x\"\nmax_clients = 7\nmode = \"0600\"\nallow_uids = [0]\n\
                    queue_bytes = 8192\noverflow = \"disconnect\"\napi_directories = [\"/a\", \"/b\"]\n\
                    message_bytes = 1000\n";
        let options = Config::parse(text).unwrap().vpp_api.unwrap();
        assert_eq!(options.stream.listen.path, Path::new("/run/x"));
        assert_eq!((options.stream.max_clients, options.stream.queue_bytes), (7, 8192));
        assert_eq!((options.stream.overflow, options.longest), (Overflow::Disconnect, 1000));
        assert_eq!(options.directories, [PathBuf::from("/a"), PathBuf::from("/b")]);
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
        assert_eq!(Config::parse("[event_sock]").unwrap(), Config::default());
    }

    #[test]
    fn every_mistake_is_named_with_its_line_and_key() {
        for (text, expected) in [
            ("[event_sock]\nmode = \"9\"", ", line 2, key mode: a mode is an octal number"),
            (
                "[event_sock]\n\nmax_clients = 0",
                ", line 3, key max_clients: 0 is not between 1 and 4096",
            ),
            (
                "[event_sock]\nmax_clients = -1",
                ", line 2, key max_clients: -1 is not between 1 and 4096",
            ),
            ("[event_sock]\nmax_clients = \"x\"", ", line 2, key max_clients: expected a whole number"),
            ("[event_sock]\nmode = \"+660\"", ", line 2, key mode: a mode is an octal number"),
            ("event_sock = { mode = \"9\" }", ", line 1, key mode: a mode is an octal number"),
            ("event_sock = 5", ", line 1, key event_sock: invalid type: integer `5`, expected a table"),
            ("[event_sock]\nmax_client = 5", ", line 2, key max_client: unknown field `max_client`"),
            ("[event_sock]\noverflow = \"drop\"", ", line 2, key overflow: \"drop\" is no policy"),
            ("[event_sock]\nqueue_bytes = 1", ", line 2, key queue_bytes: 1 is not between 4096"),
            (
                "[event_sock]\nowner = \"no-such-user\"",
                ", line 2, key owner: there is no user \"no-such-user\"",
            ),
            ("[event_sock]\nallow_uids = [-1]", ", line 2, key allow_uids: "),
            (
                "[event_sock]\nallow_uids = [\n  0,\n  \"no-such-user\",\n]",
                ", line 4, key allow_uids: there is no user \"no-such-user\"",
            ),
            ("[event_sock]\npath = \"x.evt\"", ", line 2, key path: the path must be absolute"),
            ("[event_sock", ", line 1, key [event_sock: "),
            (
                "[vpp_api]\napi_directories = [\"api\"]",
                ", line 2, key api_directories: the path must be",
            ),
            ("[vpp_api]\nmessage_bytes = 1", ", line 2, key message_bytes: 1 is not between 128"),
            ("[[datagram]]\nto = \"udp:x\"", ", line 2, key to: <x>: the port is missing"),
            (
                "[[datagram]]\nto = \"unix:/x\"\nformat = \"xml\"",
                ", line 3, key format: \"xml\" is no format",
            ),
            ("[[datagram]]\nevents = []", ", line 1, key datagram: missing field `to`"),
        ] {
            let complaint = complaint(text);
            assert!(complaint.starts_with(expected), "{text}: {complaint}");
        }
        let latin = complaint(b"[event_sock]\n# f\xfcr alle\nmode = \"0666\"");
        assert_eq!(latin, ", line 2: the text is not UTF-8");
        let lines = complaint("[event_sock]\n\"a\\nb\" = 1");
        assert!(lines.starts_with(", line 2, key a b: unknown field `a b`"), "{lines}");
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(text in "(\\[event_sock\\]\n)?(.{0,30}\n){0,5}") {
            let _ = Config::parse(&text).map_err(|(span, _)| span.map(|span| place(&text, span)));
        }
    }
}

//! OpenSIPS's management interface, over UDP: lines in 2.4, JSON-RPC from 3.0 on.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::retry;
use crate::opensips::own_ip;
use crate::tree::Version;

/// The way to one OpenSIPS's management interface.
pub struct Mi {
    pub address: String,
    pub version: Version,
    /// How long an answer may take.
    pub patience: Duration,
}

/// What a command answers.
#[derive(Debug)]
pub enum Reply {
    Lines(String),
    Json(Value),
}

/// A subscription as `subscribers_list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub socket: String,
    /// Seconds, or `never`.
    pub expire: String,
}

impl Mi {
    /// Sends a command: what it answers, or its error. None if it does not answer in time.
    pub fn try_command(&self, name: &str, args: &[Value]) -> Option<Result<Reply, String>> {
        let socket = UdpSocket::bind((own_ip(253), 0)).unwrap();
        socket.connect(&self.address).unwrap();
        socket.set_read_timeout(Some(self.patience)).unwrap();
        let request = if self.version.speaks_lines() {
            let line = |arg: &Value| arg.as_str().map_or_else(|| arg.to_string(), str::to_owned);
            let args: String = args.iter().map(|arg| line(arg) + "\n").collect();
            format!(":{name}:\n{args}")
        } else {
            json!({"jsonrpc": "2.0", "id": 1, "method": name, "params": args}).to_string()
        };
        socket.send(request.as_bytes()).ok()?;
        let mut buffer = vec![0; 1 << 16];
        let len = retry(|| socket.recv(&mut buffer)).ok()?;
        // An expired subscription of another module may print what is no UTF-8.
        let answer = String::from_utf8_lossy(&buffer[..len]).into_owned();
        Some(if self.version.speaks_lines() { lines(answer) } else { json(&answer) })
    }

    /// Sends a command that must be answered: what it answers, or its error.
    pub fn command(&self, name: &str, args: &[Value]) -> Result<Reply, String> {
        self.try_command(name, args)
            .unwrap_or_else(|| panic!("OpenSIPS {}: MI does not answer {name} {args:?}", self.version))
    }

    /// Subscribes; the error if it is refused.
    pub fn try_subscribe(&self, event: &str, socket: &str, expire: Option<u32>) -> Result<(), String> {
        // A line with two colons would be taken for a name and its value.
        let quoted = self.version.speaks_lines() && socket.contains("::");
        let socket = if quoted { format!("\"{socket}\"") } else { socket.to_owned() };
        let mut args = vec![json!(event), json!(socket)];
        args.extend(expire.map(|expire| json!(expire)));
        match self.command("event_subscribe", &args)? {
            Reply::Lines(_) => Ok(()),
            Reply::Json(result) if result == "OK" => Ok(()),
            Reply::Json(other) => Err(other.to_string()),
        }
    }

    /// The subscriptions to an event. None is not told apart from no such event.
    pub fn subscribers(&self, event: &str) -> Vec<Listed> {
        match self.command("subscribers_list", &[]).unwrap() {
            Reply::Lines(text) => {
                let head = format!("Event:: {event} id=");
                let own = text.lines().skip_while(|line| !line.starts_with(&head)).skip(1);
                own.map_while(|line| line.strip_prefix("\tSubscriber::  socket="))
                    .map(|line| {
                        let (socket, expire) = line.rsplit_once(" expire=").expect(line);
                        Listed { socket: socket.to_owned(), expire: expire.to_owned() }
                    })
                    .collect()
            }
            Reply::Json(result) => {
                let events = result["Events"].as_array().unwrap();
                let event = events.iter().find(|found| found["name"] == event);
                let text = |value: &Value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let subscribers = event.map_or(&[][..], |e| e["Subscribers"].as_array().unwrap());
                let listed =
                    |one: &Value| Listed { socket: text(&one["socket"]), expire: text(&one["expire"]) };
                subscribers.iter().map(listed).collect()
            }
        }
    }

    /// Asks for one subscriber; the error if there is none such.
    pub fn subscriber(&self, event: &str, socket: &str) -> Result<Reply, String> {
        self.command("subscribers_list", &[json!(event), json!(socket)])
    }

    /// The library's statistics, without their group.
    pub fn statistics(&self) -> BTreeMap<String, u64> {
        const GROUP: &str = "event_datagram:";
        let number = |name: &str, text: &str| {
            text.parse().unwrap_or_else(|_| panic!("statistic {name} is {text}"))
        };
        if self.version.speaks_lines() {
            let Ok(Reply::Lines(text)) = self.command("get_statistics", &[json!(GROUP)]) else {
                panic!("no statistics");
            };
            return text
                .lines()
                .filter_map(|line| line.strip_prefix(GROUP)?.split_once(":: "))
                .map(|(name, value)| (name.to_owned(), number(name, value)))
                .collect();
        }
        let Ok(Reply::Json(result)) = self.command("get_statistics", &[json!([GROUP])]) else {
            panic!("no statistics");
        };
        let all = result.as_object().unwrap().iter();
        all.filter_map(|(name, value)| Some((name.strip_prefix(GROUP)?, value)))
            .map(|(name, value)| (name.to_owned(), value.as_u64().expect(name)))
            .collect()
    }

    /// The processes, and what they say they are. One that is being forked is none yet: it is listed
    /// with 0 as its id until it has written that itself.
    pub fn processes(&self) -> Option<Vec<(u32, String)>> {
        let mut processes = self.listed_processes()?;
        processes.retain(|(pid, _)| *pid != 0);
        Some(processes)
    }

    fn listed_processes(&self) -> Option<Vec<(u32, String)>> {
        match self.try_command("ps", &[])?.ok()? {
            Reply::Lines(text) => {
                // `Process::  ID=0 PID=4711 Type=attendant`
                let process = |line: &str| {
                    let (pid, what) = line.split_once(" PID=")?.1.split_once(" Type=")?;
                    Some((pid.parse().ok()?, what.trim().to_owned()))
                };
                Some(text.lines().filter_map(process).collect())
            }
            Reply::Json(result) => {
                let process = |one: &Value| {
                    Some((u32::try_from(one["PID"].as_u64()?).ok()?, one["Type"].as_str()?.to_owned()))
                };
                Some(result["Processes"].as_array()?.iter().filter_map(process).collect())
            }
        }
    }
}

fn lines(answer: String) -> Result<Reply, String> {
    match answer.split_once('\n') {
        Some(("200 OK", rest)) => Ok(Reply::Lines(rest.to_owned())),
        _ => Err(answer),
    }
}

fn json(answer: &str) -> Result<Reply, String> {
    let mut answer: Value =
        serde_json::from_str(answer).unwrap_or_else(|e| panic!("MI answers {answer}: {e}"));
    match answer.get_mut("result") {
        Some(result) => Ok(Reply::Json(result.take())),
        None => Err(answer["error"].to_string()),
    }
}

//! A client of testgovpp.api that does nothing but what a test asks for.

use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use herald_vpp_api::frame;

const SOCKCLNT_CREATE: u16 = 15;

/// A connection.
pub struct Client {
    stream: BufReader<UnixStream>,
    /// What VPP knows the client as.
    pub index: u32,
    /// The names in VPP's message table, with their ids.
    table: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn connect(socket: &Path) -> Client {
        let mut stream = BufReader::with_capacity(1 << 18, UnixStream::connect(socket).unwrap());
        stream.get_ref().set_read_timeout(Some(super::SOON)).unwrap();
        let mut name = [0; 64];
        name[..3].copy_from_slice(b"raw");
        send(&mut stream, &[&SOCKCLNT_CREATE.to_be_bytes()[..], &[0; 4], &name].concat());
        // The id, the index, context, response, index, count.
        let reply = receive(&mut stream);
        Client { stream, index: number(&reply[14..18]), table: reply[20..].to_vec() }
    }

    /// The id of the message of this name and CRC.
    pub fn id(&self, name_crc: &str) -> u16 {
        let entry =
            self.table.chunks_exact(66).find(|entry| entry[2..].starts_with(name_crc.as_bytes()));
        let entry = entry.unwrap_or_else(|| panic!("no {name_crc} in the table"));
        u16::from_be_bytes([entry[0], entry[1]])
    }

    /// Sends `want_cu_up_gtp_error_ind_events` as the client of this index.
    pub fn send_want(&mut self, index: u32, context: u32, enable: bool) {
        self.send_request("want_cu_up_gtp_error_ind_events_c5e2af94", index, context, enable, 7);
    }

    /// Subscribes, or ends that; the retval.
    pub fn want(&mut self, enable: bool) -> i32 {
        self.send_want(self.index, 1, enable);
        self.reply().1
    }

    /// `testgovpp_enable_disable`; the retval.
    pub fn reporter(&mut self, interface: u32, enable: bool) -> i32 {
        self.send_request("testgovpp_enable_disable_3865946c", self.index, 1, enable, interface);
        self.reply().1
    }

    fn send_request(&mut self, name_crc: &str, index: u32, context: u32, enable: bool, number: u32) {
        let fields = [index.to_be_bytes(), context.to_be_bytes()].concat();
        let id = self.id(name_crc).to_be_bytes();
        let message = [&id[..], &fields, &[enable.into()], &number.to_be_bytes()].concat();
        send(&mut self.stream, &message);
    }

    /// The next message is a reply: its context and retval.
    pub fn reply(&mut self) -> (u32, i32) {
        let reply = self.receive();
        assert_eq!(reply.len(), 10, "no reply: {reply:?}");
        (number(&reply[2..6]), number(&reply[6..10]) as i32)
    }

    /// The next message.
    pub fn receive(&mut self) -> Vec<u8> {
        receive(&mut self.stream)
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap())
}

fn send(stream: &mut BufReader<UnixStream>, message: &[u8]) {
    let header = frame::header(message.len() as u32);
    stream.get_mut().write_all(&[&header[..], message].concat()).unwrap();
}

fn receive(stream: &mut impl Read) -> Vec<u8> {
    let mut header = [0; frame::HEADER];
    stream.read_exact(&mut header).unwrap();
    let mut message = vec![0; frame::message_len(&header) as usize];
    stream.read_exact(&mut message).unwrap();
    message
}

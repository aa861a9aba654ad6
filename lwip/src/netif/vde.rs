//! The control protocol of VDE, version 3, as bytes (vde_switch 2.3.2 and libvdeplug 4 speak it): a client
//! asks over a stream to be let in and names its datagram socket; the switch answers with its own.
//!
//! All in the byte order and alignment of the machine, packed:
//!
//! ```text
//! request: u32 0xfeedface, u32 3, u32 type | port << 8, sockaddr_un (110 bytes), description
//! answer:  sockaddr_un (110 bytes)
//! ```

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::unix::PATH_ROOM;
use crate::error::{Error, Result};

const MAGIC: u32 = 0xfeed_face;
const VERSION: u32 = 3;

/// Bytes of a sockaddr_un: a family and a path.
pub(super) const ADDRESS: usize = 2 + PATH_ROOM;

/// Bytes of a request without its description.
const FIXED: usize = 12 + ADDRESS;

/// The most bytes of a description.
const DESCRIPTION: usize = 128;

/// The most bytes that a request can have.
pub(super) const REQUEST: usize = FIXED + DESCRIPTION;

/// A client's wish: to any port, or to one of a number.
pub(super) fn request(path: &Path, port: u32, description: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(REQUEST);
    bytes.extend(MAGIC.to_ne_bytes());
    bytes.extend(VERSION.to_ne_bytes());
    bytes.extend((port << 8).to_ne_bytes());
    bytes.extend(address(path));
    bytes.extend(description.bytes().take(DESCRIPTION - 1));
    bytes
}

/// The path of the client's datagram socket; none while more is to come.
pub(super) fn parse_request(bytes: &[u8]) -> Result<Option<PathBuf>> {
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let is = |at, what, name| match word(at) {
        Some(found) if found != what => {
            Err(Error::new(libc::EPROTO, format!("a VDE client's {name} is {found:#x}, not {what:#x}")))
        }
        _ => Ok(()),
    };
    is(0, MAGIC, "magic number")?;
    is(4, VERSION, "version")?;
    // The type is a new port, any (0) or number 0 (1); which one has no meaning to us.
    if let Some(kind) = word(8).map(|kind| kind & 0xff).filter(|&kind| kind > 1) {
        return Err(Error::new(libc::EPROTO, format!("a VDE client asks for {kind}, not for a port")));
    }
    bytes.get(12..FIXED).map(parse_address).transpose()
}

/// A path as a sockaddr_un; the path fits, or is cut off.
pub(super) fn address(path: &Path) -> [u8; ADDRESS] {
    let mut bytes = [0; ADDRESS];
    bytes[..2].copy_from_slice(&(libc::AF_UNIX as u16).to_ne_bytes());
    let path = path.as_os_str().as_bytes();
    for (to, from) in bytes[2..ADDRESS - 1].iter_mut().zip(path) {
        *to = *from;
    }
    bytes
}

/// The path in a sockaddr_un.
pub(super) fn parse_address(bytes: &[u8]) -> Result<PathBuf> {
    let wrong = |what| Err(Error::new(libc::EPROTO, format!("the address of a VDE peer {what}")));
    let Some((family, path)) = bytes.split_first_chunk::<2>() else { return wrong("is cut off") };
    if i32::from(u16::from_ne_bytes(*family)) != libc::AF_UNIX {
        return wrong("is not one of the Unix domain");
    }
    match path.iter().position(|&byte| byte == 0) {
        Some(0) => wrong("has no path"),
        Some(end) => Ok(PathBuf::from(OsStr::from_bytes(path.get(..end).unwrap_or_default()))),
        None => wrong("has no end"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As libvdeplug 4 sends it.
    #[test]
    fn the_request_is_the_one_of_libvdeplug() {
        let bytes = request(Path::new("/run/s/.7-00000"), 0, "vdeplug: user=root pid=7");
        let mut expected = b"\xce\xfa\xed\xfe\x03\0\0\0\0\0\0\0\x01\0/run/s/.7-00000".to_vec();
        expected.resize(122, 0);
        expected.extend(b"vdeplug: user=root pid=7");
        #[cfg(target_endian = "little")]
        assert_eq!(bytes, expected);
        assert_eq!(parse_request(&bytes).unwrap().unwrap(), Path::new("/run/s/.7-00000"));
    }

    proptest! {
        #[test]
        fn a_request_is_read_as_it_was_written(path in "/[a-z/.]{0,106}", port in 0u32..65536, text in ".*") {
            let bytes = request(Path::new(&path), port, &text);
            prop_assert!(bytes.len() <= REQUEST);
            prop_assert_eq!(parse_request(&bytes).unwrap(), Some(PathBuf::from(&path)));
            for cut in 0..FIXED {
                prop_assert_eq!(parse_request(&bytes[..cut]).unwrap(), None);
            }
        }

        #[test]
        fn nothing_else_is_read_as_one(bytes in prop::collection::vec(any::<u8>(), 0..2 * REQUEST)) {
            if let Ok(Some(_)) = parse_request(&bytes) {
                prop_assert_eq!(&bytes[..8], &request(Path::new("/"), 0, "")[..8]);
            }
        }

        /// A valid beginning, then anything.
        #[test]
        fn a_path_fits_a_socket_address(rest in prop::collection::vec(any::<u8>(), 0..2 * REQUEST)) {
            let mut bytes = request(Path::new("/"), 0, "")[..14].to_vec();
            bytes.extend(rest);
            if let Ok(Some(path)) = parse_request(&bytes) {
                let length = path.as_os_str().len();
                prop_assert!(length > 0 && length < PATH_ROOM);
                prop_assert!(!path.as_os_str().as_bytes().contains(&0));
            }
        }
    }
}

//! What OpenSIPS finds when it looks at the library: a module description made for this very host.
//!
//! OpenSIPS refuses a module whose version and compile-flag strings are not its own, and lays the
//! description out differently from version to version. Its executable exports the description of
//! a module of its own, `proto_udp_exports`: from it a constructor learns the strings and, with
//! the symbol's size, the layout. That goes around the host's check, so the table here is the only
//! guard: a version that is not in it is refused, with a text that the host prints.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::null;

use super::abi::{ParamExport, StatExport};
use crate::host::symbol;

/// Words of the largest layout.
const WORDS: usize = 23;

/// The module description that OpenSIPS reads; all zero in any other host.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static mut exports: [*const c_void; WORDS] = [null(); WORDS];

/// The only constructor of the library. It runs at dlopen, calls only libc, and does nothing
/// where there is no OpenSIPS.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = {
    extern "C" fn constructor() {
        boundary!((), {
            if let Some((description, size)) = symbol::find_sized(c"proto_udp_exports") {
                // SAFETY: the symbol is the host's description of a module, `size` bytes long.
                unsafe { describe(description.as_ptr().cast(), size) };
            }
        })
    }
    constructor
};

/// Where the fields of the description are, in words from its beginning. Name is always 0, type 1,
/// version 2 and flags 3.
#[derive(Debug, PartialEq, Eq)]
struct Layout {
    words: usize,
    has_scm: bool,
    params: usize,
    stats: usize,
    init: usize,
    destroy: usize,
    child_init: usize,
}

/// The layout that a version has; none if it is not known.
fn layout(version: Version) -> Option<Layout> {
    let plain = |words, params, stats, init, destroy, child_init| {
        Some(Layout { words, has_scm: false, params, stats, init, destroy, child_init })
    };
    let scm = || {
        Some(Layout {
            words: 23,
            has_scm: true,
            params: 11,
            stats: 12,
            init: 18,
            destroy: 20,
            child_init: 21,
        })
    };
    match (version.major, version.minor, version.patch) {
        // On the way to a release everything may change; this one has been measured.
        (4, 1, _) if version.dev => scm(),
        _ if version.dev => None,
        (2, 4, 0..=5) => plain(18, 8, 9, 14, 16, 17),
        (2, 4, 6) => plain(19, 9, 10, 15, 17, 18),
        (2, 4, 7..=11) => plain(20, 9, 10, 16, 18, 19),
        (3, 0, 0) => plain(20, 9, 10, 15, 17, 18),
        (3, 0, _) | (3, 1..=3, _) => plain(21, 9, 10, 16, 18, 19),
        (3, 4..=6, _) | (4, 0, _) => scm(),
        _ => None,
    }
}

/// A version of OpenSIPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
    /// From a branch in development.
    pub dev: bool,
}

impl Version {
    /// Understands `opensips X.Y.Z (…)` and `opensips X.Y.Z-dev (…)`, but no other pre-release:
    /// their layouts differ from those of the releases.
    fn parse(text: &[u8]) -> Option<Version> {
        let text = std::str::from_utf8(text).ok()?.strip_prefix("opensips ")?;
        let number = text.split_once(" (")?.0;
        let (number, dev) = match number.split_once('-') {
            Some((number, "dev")) => (number, true),
            Some(_) => return None,
            None => (number, false),
        };
        let mut parts = number.split('.').map(|part| part.parse().ok());
        let version =
            Version { major: parts.next()??, minor: parts.next()??, patch: parts.next()??, dev };
        parts.next().is_none().then_some(version)
    }
}

/// The host's version, once the constructor has accepted it.
static mut ACCEPTED: Option<Version> = None;

/// The host's version; none if there is no OpenSIPS, or none that we know.
pub fn host_version() -> Option<Version> {
    // SAFETY: written once, by the constructor, before anything else of the library can run.
    unsafe { ACCEPTED }
}

/// Fills in the description.
///
/// # Safety
///
/// `host` points to the description of a module of the host, `size` bytes long.
unsafe fn describe(host: *const *const c_void, size: usize) {
    let field = |index: usize| match (index + 1) * 8 <= size {
        // SAFETY: within the description.
        true => unsafe { host.add(index).read() },
        false => null(),
    };
    let text = match field(2).is_null() {
        true => c"",
        // SAFETY: the host's version string.
        false => unsafe { CStr::from_ptr(field(2).cast()) },
    };
    let known = Version::parse(text.to_bytes()).and_then(|version| Some((version, layout(version)?)));
    let mut ours = [null(); WORDS];
    ours[0] = c"event_datagram".as_ptr().cast();
    // The type is an int; 1 is MOD_TYPE_DEFAULT.
    ours[1] = std::ptr::without_provenance(1);
    match known {
        Some((version, layout)) if layout.words * 8 == size => {
            ours[2] = field(2);
            ours[3] = field(3);
            if layout.has_scm {
                ours[4] = field(4);
                ours[5] = field(5);
            }
            ours[layout.params] = (&raw const super::PARAMS).cast();
            ours[layout.stats] = (&raw const super::STATS).cast();
            ours[layout.init] = super::init as extern "C" fn() -> c_int as *const c_void;
            ours[layout.destroy] = super::destroy as extern "C" fn() as *const c_void;
            ours[layout.child_init] =
                super::child_init as extern "C" fn(c_int) -> c_int as *const c_void;
            // SAFETY: nothing else of the library runs yet.
            unsafe { ACCEPTED = Some(version) };
        }
        _ => {
            let refusal = refusal(text, size);
            ours[2] = refusal.cast();
            ours[3] = refusal.cast();
        }
    }
    // SAFETY: nothing else of the library runs yet, and the host has not looked yet.
    unsafe { exports = ours };
}

/// A text for where the version string goes: the host prints it, and exits. It lives for ever.
fn refusal(version: &CStr, size: usize) -> *const c_char {
    let text = format!(
        "event_datagram (herald): this OpenSIPS is not supported: {} with a module description of {size} \
         bytes; supported are 2.4.0 to 2.4.11, and 3.0.0 to 4.0.x",
        version.to_string_lossy()
    );
    CString::new(text).map_or(c"event_datagram (herald): not supported".as_ptr(), |text| text.into_raw())
}

// What the host reads through the pointers above has the same layout in every version.
const _: () = assert!(size_of::<ParamExport>() == size_of::<StatExport>());

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Option<Version> {
        Version::parse(text.as_bytes())
    }

    #[test]
    fn every_supported_release_has_the_size_of_its_row() {
        for (text, bytes) in [
            ("opensips 2.4.0 (x86_64/linux)", 144),
            ("opensips 2.4.5 (x86_64/linux)", 144),
            ("opensips 2.4.6 (x86_64/linux)", 152),
            ("opensips 2.4.7 (x86_64/linux)", 160),
            ("opensips 2.4.11 (x86_64/linux)", 160),
            ("opensips 3.0.0 (x86_64/linux)", 160),
            ("opensips 3.0.1 (x86_64/linux)", 168),
            ("opensips 3.1.17 (x86_64/linux)", 168),
            ("opensips 3.3.10 (x86_64/linux)", 168),
            ("opensips 3.4.0 (x86_64/linux)", 184),
            ("opensips 3.6.8 (x86_64/linux)", 184),
            ("opensips 4.0.1 (x86_64/linux)", 184),
            ("opensips 4.1.0-dev (x86_64/linux)", 184),
        ] {
            assert_eq!(layout(version(text).unwrap()).unwrap().words * 8, bytes, "{text}");
        }
    }

    #[test]
    fn every_other_version_is_refused() {
        for text in [
            "opensips 2.3.6 (x86_64/linux)",
            "opensips 2.1.0 (x86_64/linux)",
            "opensips 2.4.12 (x86_64/linux)",
            "opensips 3.7.0 (x86_64/linux)",
            "opensips 4.1.0 (x86_64/linux)",
            "opensips 3.0.0-dev (x86_64/linux)",
            "opensips 3.6.0-dev (x86_64/linux)",
            "opensips 4.0.0-dev (x86_64/linux)",
            "opensips 4.2.0-dev (x86_64/linux)",
            "opensips 5.0.0 (x86_64/linux)",
        ] {
            assert_eq!(layout(version(text).unwrap()), None, "{text}");
        }
        for text in
            ["opensips 3.0.0-beta (x86_64/linux)", "opensips 3.4 (x)", "kamailio 3.4.0 (x)", "", "3.4.0"]
        {
            assert_eq!(version(text), None, "{text}");
        }
    }
}

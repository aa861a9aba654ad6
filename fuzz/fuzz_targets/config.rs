//! Whatever stands in `herald.toml`, it is a configuration within the documented bounds, or a
//! complaint that a person can read.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use herald::config::Config;
use herald::transport::stream::StreamOptions;
use libfuzzer_sys::fuzz_target;
use tempfile::NamedTempFile;

static FILE: LazyLock<NamedTempFile> = LazyLock::new(|| NamedTempFile::new().expect("a file"));

fn check(bytes: &[u8]) {
    let path: &Path = FILE.path();
    std::fs::write(path, bytes).expect("a file is written");
    match Config::read(path) {
        Ok(config) => {
            let options = config.event_sock;
            assert!(options.listen.path.is_absolute());
            assert!(options.listen.mode <= 0o777);
            assert!((1..=StreamOptions::MAX_CLIENTS).contains(&options.max_clients));
            let queues = StreamOptions::MIN_QUEUE..=StreamOptions::MAX_QUEUE;
            assert!(queues.contains(&options.queue_bytes));
            for (address, datagram) in config.datagrams {
                assert!(!address.is_empty());
                assert!(queues.contains(&datagram.queue_bytes));
            }
        }
        Err(error) => {
            let complaint = error.to_string();
            assert!(complaint.starts_with(&path.display().to_string()), "{complaint}");
            assert!(!complaint.contains('\n'), "{complaint:?} is more than a line");
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // The same within the sections, which a fuzzer does not find by itself every time.
    check(&[b"[event_sock]\n", bytes].concat());
    check(&[b"[[datagram]]\nto = \"udp:127.0.0.1:9\"\n", bytes].concat());
});

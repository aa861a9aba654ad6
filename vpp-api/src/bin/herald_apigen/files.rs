//! .api files on disk.

use std::borrow::Cow;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use herald_vpp_api::Source;

/// Directories in which imports are looked for, in order.
pub struct Directories(pub Vec<PathBuf>);

impl Source for Directories {
    fn read(&self, path: &str) -> Result<Option<Cow<'_, str>>, String> {
        for directory in &self.0 {
            let file = directory.join(path);
            match fs::read_to_string(&file) {
                Ok(text) => return Ok(Some(Cow::Owned(text))),
                Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(e) => return Err(format!("{}: {e}", file.display())),
            }
        }
        Ok(None)
    }
}

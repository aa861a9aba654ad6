//! Where .api files are read from. This crate does no I/O: whoever uses it says how a file is read.

use std::borrow::Cow;
use std::collections::HashMap;

/// Finds .api files by the path that an import names, such as `vnet/interface_types.api`.
pub trait Source {
    /// The text of a file.
    ///
    /// `Ok(None)` means that this source does not have it, so that the next one may be asked; an error
    /// means that it has it and cannot read it, and says why.
    fn read(&self, path: &str) -> Result<Option<Cow<'_, str>>, String>;
}

/// A source without files.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

impl Source for Nothing {
    fn read(&self, _path: &str) -> Result<Option<Cow<'_, str>>, String> {
        Ok(None)
    }
}

/// Files in memory, by path.
impl<S: AsRef<str>> Source for HashMap<String, S> {
    fn read(&self, path: &str) -> Result<Option<Cow<'_, str>>, String> {
        Ok(self.get(path).map(|text| Cow::Borrowed(text.as_ref())))
    }
}

/// Two sources: the first is asked first.
impl<A: Source, B: Source> Source for (A, B) {
    fn read(&self, path: &str) -> Result<Option<Cow<'_, str>>, String> {
        match self.0.read(path)? {
            Some(text) => Ok(Some(text)),
            None => self.1.read(path),
        }
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn read(&self, path: &str) -> Result<Option<Cow<'_, str>>, String> {
        (**self).read(path)
    }
}

//! Messages written field by field.

use super::encode;
use super::error::{EncodeError, EncodeFault};
use super::plan::{Field, Layout, Named, Plan, Slot, SlotKind, TailKind};
use super::scalar::{self, Item};
use crate::schema::Scalar;

/// A message in the making, at the end of a buffer. Fields may be given in any order and are zero until
/// they are; in the order of definition it is fastest. Dropped without [`finish`](Self::finish), the
/// buffer is as it was before: half a message never stays.
#[derive(Debug)]
pub struct Encoder<'a> {
    plan: &'a Plan,
    out: &'a mut Vec<u8>,
    start: usize,
    hint: usize,
    /// Elements of the variable-length array.
    given: u64,
    /// The count, if it was given.
    stated: Option<i128>,
    finished: bool,
}

impl<'a> Encoder<'a> {
    /// Of a message whose fixed part stands at the end of `out`, from `start`.
    #[inline]
    pub(super) fn new(plan: &'a Plan, out: &'a mut Vec<u8>, start: usize) -> Encoder<'a> {
        Encoder { plan, out, start, hint: 0, given: 0, stated: None, finished: false }
    }

    /// Gives a field its value, by name: `pid`, `data.ue_id`. An enum also takes the name of an entry.
    /// The part of variable length is given whole (bytes or text), or with [`push`](Self::push) and
    /// [`element`](Self::element) if it is of something else.
    ///
    /// # Errors
    /// If there is no such field or the value does not fit.
    #[inline(always)]
    pub fn put<'v>(&mut self, path: &str, item: impl Into<Item<'v>>) -> Result<(), EncodeError> {
        let plan = self.plan;
        match plan.field(path.as_bytes(), &mut self.hint) {
            Some(field) => self.set(field, item),
            None => {
                let slot = plan.slot(path);
                let slot = slot.ok_or_else(|| EncodeError::new(path, EncodeFault::UnknownField))?;
                self.put_at(slot, item).map_err(|e| e.within(path))
            }
        }
    }

    /// The same for a field that this plan has looked up.
    ///
    /// # Errors
    /// If the value does not fit.
    #[inline(always)]
    pub fn set<'v>(&mut self, field: Field, item: impl Into<Item<'v>>) -> Result<(), EncodeError> {
        let item = item.into();
        if let Item::Unsigned(number) = item
            && scalar::put_plain(self.out, self.start + field.offset as usize, field.plain, number)
        {
            return Ok(());
        }
        self.set_any(field, item)
    }

    fn set_any(&mut self, field: Field, item: Item<'_>) -> Result<(), EncodeError> {
        let plan = self.plan;
        let Some(named) = plan.named(field) else {
            return Err(EncodeFault::UnknownField.into());
        };
        let item = resolve(named, item);
        let placed = item.and_then(|item| self.place(named.slot, item));
        placed.map_err(|fault| EncodeError::new(&*named.path, fault))
    }

    /// Gives a field its value, by a slot of this plan.
    ///
    /// # Errors
    /// If the value does not fit. The error does not name the field.
    pub fn put_at<'v>(&mut self, slot: Slot, item: impl Into<Item<'v>>) -> Result<(), EncodeError> {
        Ok(self.place(slot, item.into())?)
    }

    /// The array that has a count field, where that lies and what it is.
    #[inline]
    fn count(&self) -> Option<(&'a str, u32, Scalar)> {
        let plan: &'a Plan = self.plan;
        let tail = plan.tail.as_ref()?;
        tail.count.map(|(offset, scalar)| (&*tail.path, offset, scalar))
    }

    #[inline]
    fn place(&mut self, slot: Slot, item: Item<'_>) -> Result<(), EncodeFault> {
        if slot.kind == SlotKind::Tail {
            return self.put_tail(item);
        }
        if slot.offset == self.plan.count_at {
            self.stated = item.as_int();
        }
        let message = self.out.get_mut(self.start..).unwrap_or(&mut []);
        put_slot(message, slot, item)
    }

    #[inline]
    fn put_tail(&mut self, item: Item<'_>) -> Result<(), EncodeFault> {
        let Some(tail) = &self.plan.tail else { return Err(EncodeFault::UnknownField) };
        let end = self.start + self.plan.fixed_len();
        match tail.kind {
            TailKind::Text => {
                let bytes = item.as_bytes().ok_or(EncodeFault::WrongKind("text"))?;
                let len = encode::text_len(bytes)?;
                self.out.truncate(end);
                self.out.extend_from_slice(bytes);
                if let Some(place) = self.out.get_mut(end - 4..end) {
                    place.copy_from_slice(&len.to_be_bytes());
                }
            }
            TailKind::Bytes => {
                let bytes = item.as_bytes().ok_or(EncodeFault::WrongKind("bytes"))?;
                self.out.truncate(end);
                self.out.extend_from_slice(bytes);
                self.given = bytes.len() as u64;
            }
            TailKind::Elements(..) => return Err(EncodeFault::WrongKind("elements one by one")),
            TailKind::Open => return Err(EncodeFault::WrongKind("a list, by Plan::encode")),
        }
        Ok(())
    }

    /// Adds an element to the variable-length array of a typedef; its fields are zero until given.
    ///
    /// # Errors
    /// If the message has no such array.
    pub fn element(&mut self) -> Result<Element<'_>, EncodeError> {
        let fault = EncodeFault::WrongKind("no elements");
        let Some(tail) = &self.plan.tail else { return Err(fault.into()) };
        let TailKind::Elements(size, layout) = &tail.kind else {
            return Err(EncodeError::new(&*tail.path, fault));
        };
        let at = self.out.len();
        self.out.resize(at + *size as usize, 0);
        self.given += 1;
        let bytes = self.out.get_mut(at..).unwrap_or(&mut []);
        Ok(Element { bytes, layout, hint: 0 })
    }

    /// Adds an element to the variable-length array of scalars, enums, strings or byte arrays.
    ///
    /// # Errors
    /// If the message has no such array or the value does not fit.
    pub fn push<'v>(&mut self, item: impl Into<Item<'v>>) -> Result<(), EncodeError> {
        let before = (self.out.len(), self.given);
        let pushed = self.element().and_then(|mut element| element.put("", item));
        if pushed.is_err() {
            self.out.truncate(before.0);
            self.given = before.1;
        }
        pushed
    }

    /// Ends the message and returns its length.
    ///
    /// # Errors
    /// If there are more elements than the count field can say, or another number than it was given.
    #[inline(always)]
    pub fn finish(mut self) -> Result<usize, EncodeError> {
        if let Some((array, offset, scalar)) = self.count() {
            let given = self.given;
            if let Some(stated) = self.stated.filter(|n| *n != i128::from(given)) {
                return Err(EncodeError::new(array, encode::mismatch(stated, given)));
            }
            let at = self.start + offset as usize;
            if !scalar::put_plain(self.out, at, scalar.into(), given) {
                let place = self.out.get_mut(at..).unwrap_or(&mut []);
                scalar::put(place, scalar, Item::Unsigned(given))
                    .map_err(|_| EncodeError::new(array, encode::too_many(scalar, given)))?;
            }
        }
        self.finished = true;
        Ok(self.out.len() - self.start)
    }
}

impl Drop for Encoder<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.out.truncate(self.start);
        }
    }
}

/// An element of a variable-length array, in the making.
#[derive(Debug)]
pub struct Element<'e> {
    bytes: &'e mut [u8],
    layout: &'e Layout,
    hint: usize,
}

impl Element<'_> {
    /// Gives a field of the element its value, as [`Encoder::put`] does. The name of an element that is
    /// no typedef is empty.
    ///
    /// # Errors
    /// If there is no such field or the value does not fit.
    pub fn put<'v>(&mut self, path: &str, item: impl Into<Item<'v>>) -> Result<(), EncodeError> {
        let error = |fault| EncodeError::new(path, fault);
        let at = self.layout.find(path.as_bytes(), &mut self.hint);
        let named = at.and_then(|at| self.layout.named.get(at));
        let named = named.ok_or_else(|| error(EncodeFault::UnknownField))?;
        let item = resolve(named, item.into()).map_err(error)?;
        put_slot(self.bytes, named.slot, item).map_err(error)
    }
}

/// The name of an enum's entry as its number.
#[inline]
fn resolve<'v>(named: &Named, item: Item<'v>) -> Result<Item<'v>, EncodeFault> {
    match (&named.entries, item) {
        (Some(entries), Item::Text(_)) => encode::entry(entries, item),
        _ => Ok(item),
    }
}

/// Writes a field of the fixed part.
#[inline]
pub(super) fn put_slot(bytes: &mut [u8], slot: Slot, item: Item<'_>) -> Result<(), EncodeFault> {
    let place = bytes.get_mut(slot.offset as usize..).unwrap_or(&mut []);
    let (max, kind) = match slot.kind {
        SlotKind::Scalar(scalar) => return scalar::put(place, scalar, item),
        SlotKind::Text(n) => (n, "text"),
        SlotKind::Bytes(n) => (n, "bytes"),
        SlotKind::Tail => return Err(EncodeFault::UnknownField),
    };
    let value = item.as_bytes().ok_or(EncodeFault::WrongKind(kind))?;
    let Some(place) = place.get_mut(..max as usize) else { return Err(EncodeFault::UnknownField) };
    let Some((head, padding)) = place.split_at_mut_checked(value.len()) else {
        return Err(EncodeFault::TooLong { len: value.len(), max: max as usize });
    };
    head.copy_from_slice(value);
    padding.fill(0);
    Ok(())
}

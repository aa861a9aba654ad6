//! Messages read field by field.

use super::decode::until_nul;
use super::plan::{Layout, Plan, Slot, SlotKind, TailKind};
use super::scalar::{self, Item};

/// A message that was found whole, whose fields can be read by name or by [`Slot`].
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    bytes: &'a [u8],
    layout: &'a Layout,
    /// Of a message, its plan; of an element, nothing.
    plan: Option<&'a Plan>,
}

impl<'a> View<'a> {
    pub(super) fn new(plan: &'a Plan, bytes: &'a [u8]) -> View<'a> {
        View { bytes, layout: &plan.layout, plan: Some(plan) }
    }

    /// The message's bytes, id included; of an element its bytes.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// A field by name: `pid`, `data.ue_id`. Text and bytes come as `Bytes`, text without its padding;
    /// of a variable-length array only one of u8 can be had. `None` if there is no such field.
    pub fn get(&self, path: &str) -> Option<Item<'a>> {
        let slot = match (self.layout.get(path), self.plan) {
            (Some(named), _) => named.slot,
            (None, plan) => plan?.slot(path)?,
        };
        self.at(slot)
    }

    /// A field by a slot of this plan.
    pub fn at(&self, slot: Slot) -> Option<Item<'a>> {
        let place = self.bytes.get(slot.offset as usize..)?;
        match slot.kind {
            SlotKind::Scalar(scalar) => scalar::get(place, scalar),
            SlotKind::Text(n) => Some(Item::Bytes(until_nul(place.get(..n as usize)?))),
            SlotKind::Bytes(n) => Some(Item::Bytes(place.get(..n as usize)?)),
            SlotKind::Tail => match self.plan?.tail.as_ref()?.kind {
                TailKind::Text => Some(Item::Bytes(place.get(4..)?)),
                TailKind::Bytes => Some(Item::Bytes(place)),
                TailKind::Elements(..) | TailKind::Open => None,
            },
        }
    }

    /// A field that holds a whole number, an enum or a bool, if it is not negative.
    pub fn u64(&self, path: &str) -> Option<u64> {
        match self.get(path)? {
            Item::Bool(b) => Some(b.into()),
            item => item.as_int()?.try_into().ok(),
        }
    }

    /// A field that holds a whole number or an enum, if it fits.
    pub fn i64(&self, path: &str) -> Option<i64> {
        self.get(path)?.as_int()?.try_into().ok()
    }

    /// A field that holds a bool; of a whole number, whether it is not 0.
    pub fn bool(&self, path: &str) -> Option<bool> {
        match self.get(path)? {
            Item::Bool(b) => Some(b),
            item => item.as_int().map(|n| n != 0),
        }
    }

    /// A field that holds an `f64`.
    pub fn f64(&self, path: &str) -> Option<f64> {
        match self.get(path)? {
            Item::Float(x) => Some(x),
            _ => None,
        }
    }

    /// A field that holds text or bytes; text without its padding.
    pub fn bytes(&self, path: &str) -> Option<&'a [u8]> {
        self.get(path)?.as_bytes()
    }

    /// A field that holds text, if it is UTF-8.
    pub fn text(&self, path: &str) -> Option<&'a str> {
        std::str::from_utf8(self.bytes(path)?).ok()
    }

    /// The elements of the variable-length array, if the message ends in one whose elements are of fixed
    /// length and no u8.
    pub fn elements(&self) -> Option<Elements<'a>> {
        let plan = self.plan?;
        let TailKind::Elements(size, layout) = &plan.tail.as_ref()?.kind else { return None };
        Some(Elements { rest: self.bytes.get(plan.fixed_len()..)?, size: *size, layout })
    }
}

/// The elements of a variable-length array, each a [`View`]. An element that is no typedef has one
/// field, whose name is empty.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    rest: &'a [u8],
    size: u32,
    layout: &'a Layout,
}

impl<'a> Iterator for Elements<'a> {
    type Item = View<'a>;

    fn next(&mut self) -> Option<View<'a>> {
        let size = self.size as usize;
        let (bytes, rest) = self.rest.split_at_checked(size).filter(|_| size > 0)?;
        self.rest = rest;
        Some(View { bytes, layout: self.layout, plan: None })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.rest.len().checked_div(self.size as usize).unwrap_or(0);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Elements<'_> {}

//! Types compiled for encoding and decoding.

use std::sync::Arc;

use crate::schema::{Api, Base, Enum, Field, Length, Literal, Scalar, TypeKind};

/// A type, or a field with its brackets.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Scalar(Scalar),
    Enum(Arc<Enum>),
    /// `string x[N]`
    Text(u32),
    /// `string x[]`
    OpenText,
    /// `x[N]`
    Fixed(Arc<Node>, u32),
    /// `x[count]`
    Counted(Arc<Node>),
    /// `x[0]`
    Rest(Arc<Node>),
    Record(Arc<Record>),
    Union(Arc<Record>),
}

/// A message, a typedef or a union. A message's record does not include its id.
#[derive(Debug)]
pub(super) struct Record {
    pub members: Vec<Member>,
    /// Bytes of the part of known length.
    pub fixed: u32,
    /// Whether a part of variable length follows.
    pub open: bool,
}

#[derive(Debug)]
pub(super) struct Member {
    pub name: Arc<str>,
    /// From the beginning of the record; 0 for all members of a union.
    pub offset: u32,
    pub node: Node,
    /// Of a counted array, the member that holds the count.
    pub count: Option<usize>,
    /// Of a union with a discriminator, the member that says which of its members it holds.
    pub tag: Option<Tag>,
}

#[derive(Debug)]
pub(super) struct Tag {
    pub by: usize,
    /// Value of the enum, member of the union.
    pub cases: Vec<(i64, usize)>,
}

impl Node {
    /// Bytes of the part of known length.
    pub fn fixed(&self) -> u32 {
        match self {
            Node::Scalar(s) => s.size(),
            Node::Enum(e) => e.base.size(),
            Node::Text(n) => *n,
            Node::OpenText => 4,
            // The schema keeps this within limits::FIXED_BYTES.
            Node::Fixed(node, n) => node.fixed().saturating_mul(*n),
            Node::Counted(_) | Node::Rest(_) => 0,
            Node::Record(r) | Node::Union(r) => r.fixed,
        }
    }

    /// Whether a part of variable length follows.
    pub fn open(&self) -> bool {
        match self {
            Node::Scalar(_) | Node::Enum(_) | Node::Text(_) => false,
            Node::OpenText | Node::Counted(_) | Node::Rest(_) => true,
            Node::Fixed(node, _) => node.open(),
            Node::Record(r) | Node::Union(r) => r.open,
        }
    }

    /// The scalar that it is on the wire, if it is one.
    pub fn scalar(&self) -> Option<Scalar> {
        match self {
            Node::Scalar(s) => Some(*s),
            Node::Enum(e) => Some(e.base),
            _ => None,
        }
    }

    pub fn is_byte(&self) -> bool {
        matches!(self, Node::Scalar(Scalar::U8))
    }
}

impl Record {
    pub fn position(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|m| *m.name == *name)
    }
}

/// Compiles every type of a module, in the order of [`Api::types`].
pub(super) fn types(api: &Api) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::with_capacity(api.types().len());
    for ty in api.types() {
        let node = match &ty.kind {
            TypeKind::Struct(fields) => Node::Record(Arc::new(record(api, &nodes, fields))),
            TypeKind::Union(fields) => {
                let mut union = record(api, &nodes, fields);
                union.members.iter_mut().for_each(|m| m.offset = 0);
                union.fixed = ty.extent.fixed;
                Node::Union(Arc::new(union))
            }
            TypeKind::Enum(e) => Node::Enum(Arc::new(e.clone())),
            TypeKind::Alias(base, length) => field(&nodes, *base, length),
        };
        nodes.push(node);
    }
    nodes
}

/// Compiles the fields of a message or typedef; `nodes` are the types that they may name.
pub(super) fn record(api: &Api, nodes: &[Node], fields: &[Field]) -> Record {
    let mut record = Record { members: Vec::with_capacity(fields.len()), fixed: 0, open: false };
    for f in fields {
        let node = field(nodes, f.base, &f.length);
        let count = match &f.length {
            Length::Counted(count) => record.position(count),
            _ => None,
        };
        let offset = record.fixed;
        record.fixed = offset.saturating_add(node.fixed());
        record.open |= node.open();
        let tag = tag(api, &record, fields, f);
        record.members.push(Member { name: f.name.clone(), offset, node, count, tag });
    }
    record
}

fn field(nodes: &[Node], base: Base, length: &Length) -> Node {
    let element = match base {
        Base::Scalar(s) => Node::Scalar(s),
        Base::String => {
            return match length {
                Length::Fixed(n) => Node::Text(*n),
                _ => Node::OpenText,
            };
        }
        // A type stands after those that it is made of.
        Base::User(id) => match nodes.get(id.index()) {
            Some(node) => node.clone(),
            None => Node::Fixed(Arc::new(Node::Scalar(Scalar::U8)), 0),
        },
    };
    match length {
        Length::One => element,
        Length::Fixed(n) => Node::Fixed(Arc::new(element), *n),
        Length::Counted(_) => Node::Counted(Arc::new(element)),
        Length::Open => Node::Rest(Arc::new(element)),
    }
}

/// The `[discriminator=…]` of a field. A schema from api.json may name one that does not exist: then
/// there is none.
fn tag(api: &Api, record: &Record, fields: &[Field], field: &Field) -> Option<Tag> {
    let text = |options: &crate::schema::Options, wanted: &str| {
        options.iter().find(|(n, _)| n == wanted).and_then(|(_, v)| match v {
            Literal::Text(text) => Some(text.clone()),
            _ => None,
        })
    };
    let by = record.position(&text(&field.options, "discriminator")?)?;
    let user = |field: &Field| match (field.base, &field.length) {
        (Base::User(id), Length::One) => Some(&api.ty(id).kind),
        _ => None,
    };
    let TypeKind::Enum(values) = user(fields.get(by)?)? else { return None };
    let TypeKind::Union(members) = user(field)? else { return None };
    let mut cases = Vec::with_capacity(members.len());
    for (i, member) in members.iter().enumerate() {
        let case = text(&member.options, "case")?;
        let entry = values.entries.iter().find(|e| *e.name == *case)?;
        cases.push((entry.value, i));
    }
    Some(Tag { by, cases })
}

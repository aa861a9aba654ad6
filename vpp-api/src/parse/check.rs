//! What a module must satisfy as a whole: every message has its part in a service, and unions that name
//! the field that tells their members apart do so rightly. The rules are vppapigen's.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::ast;
use crate::build::Builder;
use crate::error::{ParseError, Place};
use crate::schema::{Base, Field, Literal, Rules, Service, Type, TypeKind};

/// A service as written, with the places of its names.
#[derive(Debug)]
pub(super) struct Written {
    service: Service,
    request: Place,
    reply: Place,
    stream_message: Place,
    events: Vec<Place>,
}

impl Written {
    pub fn new(s: &ast::Service<'_>) -> Written {
        let place = |n: &Option<ast::Name<'_>>| n.as_ref().map_or(s.request.place, |n| n.place);
        let name = |n: &Option<ast::Name<'_>>| n.as_ref().map(|n| Arc::from(n.text));
        Written {
            request: s.request.place,
            reply: place(&s.reply),
            stream_message: place(&s.stream_message),
            events: s.events.iter().map(|e| e.place).collect(),
            service: Service {
                request: s.request.text.into(),
                reply: name(&s.reply),
                stream: s.stream,
                stream_message: name(&s.stream_message),
                events: s.events.iter().map(|e| e.text.into()).collect(),
                implied: false,
            },
        }
    }
}

/// Checks the services that are written out and adds those that follow from names.
pub(super) fn services(
    builder: &mut Builder,
    file: &str,
    places: &[Place],
    written: &[Written],
    rules: Rules,
) -> Result<(), ParseError> {
    let replies: HashSet<&str> = written.iter().filter_map(|w| w.service.reply.as_deref()).collect();
    let mut events: HashSet<Arc<str>> = HashSet::new();
    let mut requests: HashSet<Arc<str>> = HashSet::new();
    for w in written {
        let known = |name: &Arc<str>, place: Place| match builder.message_index.contains_key(name) {
            true => Ok(()),
            false => Err(ParseError::new(file, place, format!("unknown message '{name}'"))),
        };
        let service = &w.service;
        known(&service.request, w.request)?;
        if let Some(reply) = &service.reply {
            known(reply, w.reply)?;
        }
        if let Some(message) = &service.stream_message {
            known(message, w.stream_message)?;
        }
        for (event, place) in service.events.iter().zip(&w.events) {
            known(event, *place)?;
            events.insert(event.clone());
        }
        if replies.contains(&*service.request) {
            let message = format!("'{}' is the reply of another service", service.request);
            return Err(ParseError::new(file, w.request, message));
        }
        requests.insert(service.request.clone());
    }
    builder.services.extend(written.iter().map(|w| w.service.clone()));

    let mut implied = Vec::new();
    for (message, place) in builder.messages.iter().zip(places) {
        if events.contains(&message.name) {
            continue;
        }
        let has = |name: &str| builder.message_index.contains_key(name);
        match imply(&message.name, has, &requests, rules) {
            Ok(service) => implied.extend(service),
            Err(message) => return Err(ParseError::new(file, *place, message)),
        }
    }
    builder.services.extend(implied);
    Ok(())
}

/// The service that follows from a message's name, if any.
fn imply(
    name: &Arc<str>,
    has: impl Fn(&str) -> bool,
    requests: &HashSet<Arc<str>>,
    rules: Rules,
) -> Result<Option<Service>, String> {
    let implied = |reply: String, stream| Service {
        request: name.clone(),
        reply: Some(reply.into()),
        stream,
        stream_message: None,
        events: Vec::new(),
        implied: true,
    };
    if let Some(stem) = name.strip_suffix("_reply") {
        return match requests.contains(stem) || has(stem) {
            true => Ok(None),
            false => Err(format!("'{name}' is the reply of no message: '{stem}' is missing")),
        };
    }
    if let Some(stem) = name.strip_suffix("_dump") {
        let details = format!("{stem}_details");
        return match () {
            () if requests.contains(name) => Ok(None),
            () if has(&details) => Ok(Some(implied(details, true))),
            () => Err(format!("'{name}' needs a message '{details}'")),
        };
    }
    if let Some(stem) = name.strip_suffix("_details") {
        let (get, dump) = (format!("{stem}_get"), format!("{stem}_dump"));
        return match () {
            () if rules >= Rules::From20_09 && has(&get) => match requests.contains(&*get) {
                true => Ok(None),
                false => Err(format!("'{get}' needs a service: rpc {get} returns … stream {name};")),
            },
            () if has(&dump) => Ok(None),
            () => Err(format!("'{name}' needs a message '{dump}' or '{get}'")),
        };
    }
    let reply = format!("{name}_reply");
    match () {
        () if requests.contains(name) => Ok(None),
        () if has(&reply) => Ok(Some(implied(reply, false))),
        () => Err(format!("'{name}' needs a message '{reply}' or a place in a service")),
    }
}

/// Checks each field that says with `[discriminator=…]` which field tells the members of its union
/// apart.
pub(super) fn unions(
    builder: &Builder,
    file: &str,
    messages: &[Place],
    types: &[Place],
) -> Result<(), ParseError> {
    for (message, place) in builder.messages.iter().zip(messages) {
        check_unions(builder, &message.fields)
            .map_err(|m| ParseError::new(file, *place, format!("in '{}': {m}", message.name)))?;
    }
    for (ty, place) in builder.types.iter().zip(types) {
        let file = ty.origin.as_deref().unwrap_or(file);
        check_unions(builder, ty.fields())
            .map_err(|m| ParseError::new(file, *place, format!("in '{}': {m}", ty.name)))?;
    }
    Ok(())
}

fn check_unions(builder: &Builder, fields: &[Field]) -> Result<(), String> {
    for (i, field) in fields.iter().enumerate() {
        let Some((_, by)) = field.options.iter().find(|(n, _)| n == "discriminator") else {
            continue;
        };
        let Literal::Text(by) = by else {
            return Err(format!("the discriminator of '{}' is no name of a field", field.name));
        };
        let before = fields.get(..i).unwrap_or(&[]).iter().find(|f| *f.name == **by);
        let Some(before) = before else {
            return Err(format!("no field '{by}' before '{}'", field.name));
        };
        let Some(TypeKind::Enum(tag)) = user_type(builder, before).map(|t| &t.kind) else {
            return Err(format!("the discriminator '{by}' is no enum"));
        };
        let Some(TypeKind::Union(members)) = user_type(builder, field).map(|t| &t.kind) else {
            return Err(format!("'{}' has a discriminator but is no union", field.name));
        };
        let mut cases: HashMap<&str, &str> = HashMap::new();
        for member in members {
            let case = member.options.iter().find(|(n, _)| n == "case");
            let Some((_, Literal::Text(case))) = case else {
                return Err(format!("the member '{}' has no [case=…]", member.name));
            };
            if !tag.entries.iter().any(|e| *e.name == **case) {
                return Err(format!("the case '{case}' of '{}' is not in the enum", member.name));
            }
            if let Some(other) = cases.insert(case, &member.name) {
                return Err(format!("'{other}' and '{}' have the same case '{case}'", member.name));
            }
        }
    }
    Ok(())
}

fn user_type<'b>(builder: &'b Builder, field: &Field) -> Option<&'b Type> {
    match field.base {
        Base::User(id) => builder.types.get(id.index()),
        _ => None,
    }
}

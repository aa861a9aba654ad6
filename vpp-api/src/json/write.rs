//! A module as api.json.

use super::value::Json;
use crate::schema::{
    Api, Counter, CounterPath, CounterSet, Field, Length, Message, Rules, Service, Type, TypeKind,
};

/// The module as vppapigen writes it, without the newline at the end.
///
/// Up to 20.05 the keys are those of VPP 20.05 (no `module`, `enumflags`, `counters`, `paths`, no
/// options of messages and no comments), otherwise those of VPP 26.06.
pub fn write(api: &Api) -> String {
    to_json(api).to_python()
}

/// Several modules as one JSON array: what VPP answers to `get_api_json`.
pub fn bundle<'a>(apis: impl IntoIterator<Item = &'a Api>) -> String {
    Json::List(apis.into_iter().map(to_json).collect()).to_python()
}

fn to_json(api: &Api) -> Json {
    let modern = api.rules() > Rules::UpTo20_05;
    let listed = || api.listed.iter().map(|id| api.ty(*id));
    let records = |wanted: fn(&TypeKind) -> bool| {
        let record = move |ty: &Type| {
            let mut list = vec![Json::text(&*ty.name)];
            list.extend(ty.fields().iter().map(|f| field(api, f)));
            if let Some(comment) = ty.comment.as_ref().filter(|_| modern) {
                list.push(Json::Map(vec![("comment".to_owned(), Json::text(comment))]));
            }
            Json::List(list)
        };
        Json::List(listed().filter(|ty| wanted(&ty.kind)).map(record).collect())
    };
    let enums =
        |flags: bool| Json::List(listed().filter_map(|ty| enumeration(ty, flags)).collect::<Vec<_>>());

    let mut map: Vec<(String, Json)> = Vec::new();
    let mut put = |key: &str, value: Json| map.push((key.to_owned(), value));
    if modern {
        put("module", Json::text(api.name()));
    }
    put("types", records(|kind| matches!(kind, TypeKind::Struct(_))));
    put("messages", messages(api, modern));
    put("unions", records(|kind| matches!(kind, TypeKind::Union(_))));
    put("enums", enums(false));
    if modern {
        put("enumflags", enums(true));
    }
    put("services", services(api));
    put("options", Json::options(api.options()));
    put("aliases", aliases(api));
    put("vl_api_version", Json::text(format!("{:#x}", api.file_crc())));
    put("imports", Json::List(api.imports().iter().map(Json::text).collect()));
    if modern {
        put("counters", counters(api));
        put("paths", paths(api));
    }
    Json::Map(map)
}

fn field(api: &Api, field: &Field) -> Json {
    let mut list = vec![Json::text(api.base_name(field.base)), Json::text(&*field.name)];
    match &field.length {
        Length::One if field.options.is_empty() => {}
        Length::One => list.push(Json::options(&field.options)),
        Length::Fixed(n) => list.push(Json::Int((*n).into())),
        Length::Open => list.push(Json::Int(0)),
        Length::Counted(count) => list.extend([Json::Int(0), Json::text(&**count)]),
    }
    Json::List(list)
}

fn messages(api: &Api, modern: bool) -> Json {
    let message = |message: &Message| {
        let id = [Json::text("u16"), Json::text("_vl_msg_id")];
        let mut list = vec![Json::text(&*message.name), Json::List(id.to_vec())];
        list.extend(message.fields.iter().map(|f| field(api, f)));
        let mut meta = vec![("crc".to_owned(), Json::text(format!("{:#010x}", message.crc)))];
        if modern {
            meta.push(("options".to_owned(), Json::options(&message.options)));
            if let Some(comment) = &message.comment {
                meta.push(("comment".to_owned(), Json::text(comment)));
            }
        }
        list.push(Json::Map(meta));
        Json::List(list)
    };
    Json::List(api.messages().iter().map(message).collect())
}

fn enumeration(ty: &Type, flags: bool) -> Option<Json> {
    let TypeKind::Enum(e) = &ty.kind else { return None };
    if e.flags != flags {
        return None;
    }
    let entry = |name: &str, value: i64| Json::List(vec![Json::text(name), Json::Int(value.into())]);
    let mut list = vec![Json::text(&*ty.name)];
    list.extend(e.entries.iter().map(|e| entry(&e.name, e.value)));
    list.push(Json::Map(vec![("enumtype".to_owned(), Json::text(e.base.name()))]));
    Some(Json::List(list))
}

fn services(api: &Api) -> Json {
    Json::dict(api.services().iter().map(|s| (s.request.to_string(), one_service(s))))
}

fn one_service(service: &Service) -> Json {
    let reply = service.reply.as_deref().unwrap_or("null");
    let mut map = vec![("reply".to_owned(), Json::text(reply))];
    if service.stream {
        map.push(("stream".to_owned(), Json::Bool(true)));
    }
    if let Some(message) = &service.stream_message {
        map.push(("stream_msg".to_owned(), Json::text(&**message)));
    }
    if !service.events.is_empty() {
        let events = service.events.iter().map(|e| Json::text(&**e)).collect();
        map.push(("events".to_owned(), Json::List(events)));
    }
    Json::Map(map)
}

fn aliases(api: &Api) -> Json {
    Json::dict(api.listed.iter().map(|id| api.ty(*id)).filter_map(|ty| {
        let TypeKind::Alias(base, length) = &ty.kind else { return None };
        let mut alias = vec![("type".to_owned(), Json::text(api.base_name(*base)))];
        let length = match length {
            Length::One => None,
            Length::Fixed(n) => Some(*n),
            Length::Open | Length::Counted(_) => Some(0),
        };
        alias.extend(length.map(|n| ("length".to_owned(), Json::Int(n.into()))));
        Some((ty.name.to_string(), Json::Map(alias)))
    }))
}

fn counters(api: &Api) -> Json {
    let counter = |counter: &Counter| {
        let mut map = vec![("name".to_owned(), Json::text(&counter.name))];
        map.extend(counter.attributes.iter().map(|(k, v)| (k.clone(), Json::text(v))));
        Json::Map(map)
    };
    let set = |set: &CounterSet| {
        Json::Map(vec![
            ("name".to_owned(), Json::text(&set.name)),
            ("elements".to_owned(), Json::List(set.counters.iter().map(counter).collect())),
        ])
    };
    Json::List(api.counters().iter().map(set).collect())
}

/// A block of one line is an object, a longer one a list of them: so vppapigen writes it.
fn paths(api: &Api) -> Json {
    let block = |block: &Vec<CounterPath>| {
        let mut lines: Vec<Json> = block
            .iter()
            .map(|p| {
                Json::Map(vec![
                    ("path".to_owned(), Json::text(&p.path)),
                    ("counter".to_owned(), Json::text(&p.counter)),
                ])
            })
            .collect();
        match lines.len() {
            1 => lines.remove(0),
            _ => Json::List(lines),
        }
    };
    Json::List(api.paths().iter().map(block).collect())
}

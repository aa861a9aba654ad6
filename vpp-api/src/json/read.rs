//! api.json as a module.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::value::Json;
use crate::build::{Builder, Fault};
use crate::schema::{
    Api, Base, Counter, CounterPath, CounterSet, Enum, EnumEntry, Extent, Field, Flags, Length, Literal,
    Message, Options, Rules, Scalar, Service, Type, TypeId, TypeKind, limits,
};

/// Why an api.json was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError(String);

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for JsonError {}

/// Reads a module from the text of its api.json. `name` is the module's name if the JSON does not say
/// it, as none did before VPP 26.06.
///
/// CRCs are taken as they are. Messages need not have a part in a service.
///
/// # Errors
/// What is wrong, and in which definition.
pub fn read(name: &str, text: &str) -> Result<Api, JsonError> {
    if text.len() > limits::FILE_BYTES {
        return Err(JsonError(format!("longer than {} bytes", limits::FILE_BYTES)));
    }
    let json: Json = serde_json::from_str(text).map_err(|e| JsonError(e.to_string()))?;
    module(name, &json).map_err(JsonError)
}

type Result1<T> = Result<T, String>;

fn module(name: &str, json: &Json) -> Result1<Api> {
    let Json::Map(_) = json else { return Err("an api.json is an object".to_owned()) };
    let mut types = Types::collect(json)?;
    let mut listed = Vec::new();
    for at in 0..types.defined.len() {
        listed.push(types.resolve(at, 0)?);
    }
    let mut builder = types.builder;
    builder.listed = listed;
    for message in list(json, "messages")? {
        let (name, rest) = named(message).map_err(|m| format!("in messages: {m}"))?;
        add_message(&mut builder, name, rest).map_err(|m| format!("in message '{name}': {m}"))?;
    }
    if let Some(services) = json.get("services") {
        let Json::Map(services) = services else { return Err("services: no object".to_owned()) };
        for (request, service) in services {
            let service = read_service(&builder, request, service)
                .map_err(|m| format!("in service '{request}': {m}"))?;
            builder.services.push(service);
        }
    }
    if let Some(found) = json.get("options") {
        builder.options = options(found)?;
    }
    for import in list(json, "imports")? {
        let path = import.as_text().ok_or("imports: no string")?;
        builder.imports.push(path.to_owned());
    }
    for set in list(json, "counters")? {
        builder.counters.push(counter_set(set).ok_or("counters: malformed")?);
    }
    for block in list(json, "paths")? {
        builder.paths.push(path_block(block).ok_or("paths: malformed")?);
    }
    let version = match json.get("vl_api_version") {
        Some(text) => hex(text).map_err(|m| format!("vl_api_version: {m}"))?,
        None => 0,
    };
    // Only VPP 20.05 and earlier leave out enumflags.
    let rules = match json.get("enumflags") {
        Some(_) => Rules::From22_06,
        None => Rules::UpTo20_05,
    };
    let name = json.get("module").and_then(Json::as_text).unwrap_or(name);
    Ok(builder.finish(name.to_owned(), rules, version))
}

/// A list under a key; empty if the key is not there.
fn list<'j>(json: &'j Json, key: &str) -> Result1<&'j [Json]> {
    match json.get(key) {
        None => Ok(&[]),
        Some(Json::List(list)) => Ok(list),
        Some(_) => Err(format!("{key}: no array")),
    }
}

/// A name and what follows it in an array.
fn named(json: &Json) -> Result1<(&str, &[Json])> {
    match json {
        Json::List(list) => match list.split_first() {
            Some((Json::Text(name), rest)) => identifier(name).map(|name| (name, rest)),
            _ => Err("a definition without a name".to_owned()),
        },
        _ => Err("a definition that is no array".to_owned()),
    }
}

/// Names go into generated C, so that they must be names.
fn identifier(name: &str) -> Result1<&str> {
    let mut chars = name.chars();
    let start = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    match start && chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        true => Ok(name),
        false => Err(format!("{name:?} is no name")),
    }
}

fn hex(json: &Json) -> Result1<u32> {
    let digits = json.as_text().and_then(|t| t.strip_prefix("0x"));
    let crc = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
    crc.ok_or_else(|| "expected a number such as \"0x51077d14\"".to_owned())
}

/// The definitions of types, which stand by kind and not in an order in which they could be resolved.
struct Types<'j> {
    defined: Vec<(&'j str, Definition<'j>)>,
    by_name: HashMap<&'j str, usize>,
    builder: Builder,
    open: Vec<bool>,
}

#[derive(Clone, Copy, PartialEq)]
enum Definition<'j> {
    Struct(&'j [Json]),
    Union(&'j [Json]),
    Enum(&'j [Json], bool),
    Alias(&'j Json),
}

impl<'j> Types<'j> {
    fn collect(json: &'j Json) -> Result1<Types<'j>> {
        let mut defined: Vec<(&str, Definition<'_>)> = Vec::new();
        for (key, make) in [
            ("types", Definition::Struct as fn(&'j [Json]) -> Definition<'j>),
            ("unions", Definition::Union),
            ("enums", |list| Definition::Enum(list, false)),
            ("enumflags", |list| Definition::Enum(list, true)),
        ] {
            for item in list(json, key)? {
                let (name, rest) = named(item).map_err(|m| format!("in {key}: {m}"))?;
                defined.push((name, make(rest)));
            }
        }
        match json.get("aliases") {
            None => {}
            Some(Json::Map(map)) => {
                for (name, alias) in map {
                    defined.push((identifier(name)?, Definition::Alias(alias)));
                }
            }
            Some(_) => return Err("aliases: no object".to_owned()),
        }
        if defined.len() > limits::LISTED {
            return Err(format!("more than {} types", limits::LISTED));
        }
        let mut by_name: HashMap<&str, usize> = HashMap::new();
        for (at, (name, definition)) in defined.iter().enumerate() {
            // A file that is imported twice is listed twice.
            let first = *by_name.entry(name).or_insert(at);
            if defined.get(first).is_some_and(|(_, d)| d != definition) {
                return Err(format!("the type '{name}' is defined twice, and differently"));
            }
        }
        let open = vec![false; defined.len()];
        Ok(Types { defined, by_name, builder: Builder::default(), open })
    }

    /// Adds a definition after those that it is made of. `depth` bounds the recursion.
    fn resolve(&mut self, at: usize, depth: u32) -> Result1<TypeId> {
        let Some((name, definition)) = self.defined.get(at).copied() else {
            return Err("no such type".to_owned());
        };
        if let Some(id) = self.builder.type_index.get(name) {
            return Ok(*id);
        }
        if depth > limits::TYPE_DEPTH {
            return Err(format!("types nest deeper than {}", limits::TYPE_DEPTH));
        }
        if self.open.get_mut(at).is_some_and(|open| std::mem::replace(open, true)) {
            return Err(format!("the type '{name}' contains itself"));
        }
        for used in users(definition) {
            let bare = used.strip_prefix("vl_api_").and_then(|n| n.strip_suffix("_t"));
            if let Some(at) = bare.and_then(|n| self.by_name.get(n)).copied() {
                self.resolve(at, depth + 1)?;
            }
        }
        let context = |m: String| format!("in type '{name}': {m}");
        let (kind, comment) = self.kind(definition).map_err(context)?;
        let ty = Type {
            name: name.into(),
            kind,
            flags: Flags::default(),
            comment,
            origin: None,
            extent: Extent::default(),
        };
        self.builder.add_type(ty).map_err(|fault| context(fault.message))
    }

    fn kind(&self, definition: Definition<'_>) -> Result1<(TypeKind, Option<String>)> {
        Ok(match definition {
            Definition::Struct(list) => {
                let (fields, meta) = fields(&self.builder, list)?;
                (TypeKind::Struct(fields), comment(meta))
            }
            Definition::Union(list) => (TypeKind::Union(fields(&self.builder, list)?.0), None),
            Definition::Enum(list, flags) => (TypeKind::Enum(enumeration(list, flags)?), None),
            Definition::Alias(alias) => {
                let name = alias.get("type").and_then(Json::as_text).ok_or("no type")?;
                let length = alias.get("length").map(count).transpose()?;
                (TypeKind::Alias(self.builder.base(name)?, length.unwrap_or(Length::One)), None)
            }
        })
    }
}

/// The names in a definition's type positions.
fn users<'j>(definition: Definition<'j>) -> impl Iterator<Item = &'j str> {
    let (list, alias): (&[Json], _) = match definition {
        Definition::Struct(list) | Definition::Union(list) => (list, None),
        Definition::Enum(..) => (&[], None),
        Definition::Alias(alias) => (&[], alias.get("type").and_then(Json::as_text)),
    };
    let fields = list.iter().filter_map(|field| match field {
        Json::List(parts) => parts.first().and_then(Json::as_text),
        _ => None,
    });
    fields.chain(alias)
}

fn count(json: &Json) -> Result1<Length> {
    match json {
        Json::Int(0) => Ok(Length::Open),
        Json::Int(n) => match u32::try_from(*n) {
            Ok(n) => Ok(Length::Fixed(n)),
            Err(_) => Err(format!("an array cannot have {n} elements")),
        },
        _ => Err("expected a length".to_owned()),
    }
}

/// The fields of a definition and what follows them.
fn fields<'j>(builder: &Builder, list: &'j [Json]) -> Result1<(Vec<Field>, Option<&'j Json>)> {
    let mut fields = Vec::with_capacity(list.len());
    let mut meta = None;
    for item in list {
        match item {
            Json::Map(_) if meta.is_none() => meta = Some(item),
            Json::List(parts) if meta.is_none() => fields.push(field(builder, parts)?),
            _ => return Err("expected a field, an array".to_owned()),
        }
    }
    if fields.is_empty() {
        return Err("it has no fields".to_owned());
    }
    Ok((fields, meta))
}

fn field(builder: &Builder, parts: &[Json]) -> Result1<Field> {
    let (Some(Json::Text(ty)), Some(Json::Text(name))) = (parts.first(), parts.get(1)) else {
        return Err("expected the type and the name of a field".to_owned());
    };
    let name: Arc<str> = identifier(name)?.into();
    let context = |m| format!("field '{name}': {m}");
    let base = builder.base(ty).map_err(context)?;
    let mut given = Options::new();
    let length = match (parts.get(2), parts.get(3)) {
        (None, _) => Length::One,
        (Some(Json::Map(_)), None) => {
            given = options(parts.get(2).unwrap_or(&Json::Null)).map_err(context)?;
            Length::One
        }
        (Some(Json::Int(0)), Some(Json::Text(count))) => Length::Counted(count.as_str().into()),
        (Some(length), None) => count(length).map_err(context)?,
        _ => return Err(context("malformed length".to_owned())),
    };
    Ok(Field { name, base, length, options: given })
}

fn options(json: &Json) -> Result1<Options> {
    let Json::Map(map) = json else { return Err("options: no object".to_owned()) };
    if map.len() > limits::OPTIONS {
        return Err(format!("more than {} options", limits::OPTIONS));
    }
    map.iter()
        .map(|(name, value)| {
            let value = match value {
                Json::Null => Literal::None,
                Json::Bool(b) => Literal::Bool(*b),
                Json::Int(n) => Literal::Int(*n),
                Json::Float(x) => Literal::Float(*x),
                Json::Text(s) => Literal::Text(s.clone()),
                Json::List(_) | Json::Map(_) => return Err(format!("option '{name}': no value")),
            };
            Ok((identifier(name)?.to_owned(), value))
        })
        .collect()
}

fn comment(meta: Option<&Json>) -> Option<String> {
    meta?.get("comment")?.as_text().map(str::to_owned)
}

fn enumeration(list: &[Json], flags: bool) -> Result1<Enum> {
    let mut result = Enum { flags, base: Scalar::U32, entries: Vec::new() };
    for item in list {
        match item {
            Json::List(pair) => {
                let (Some(Json::Text(name)), Some(Json::Int(value)), None) =
                    (pair.first(), pair.get(1), pair.get(2))
                else {
                    return Err("expected a name and a whole number".to_owned());
                };
                let value = i64::try_from(*value).map_err(|_| format!("{value} is too large"))?;
                let name = identifier(name)?.into();
                result.entries.push(EnumEntry { name, value, backwards_compatible: false });
            }
            Json::Map(_) => {
                let base = item.get("enumtype").and_then(Json::as_text).unwrap_or("u32");
                let scalar = Scalar::from_name(base).filter(|s| s.size() <= 4 && s.range().is_some());
                result.base = scalar.ok_or_else(|| format!("an enum cannot be a '{base}'"))?;
            }
            _ => return Err("expected an entry, an array".to_owned()),
        }
    }
    Ok(result)
}

fn add_message(builder: &mut Builder, name: &str, list: &[Json]) -> Result1<()> {
    let (mut fields, meta) = fields(builder, list)?;
    let id = |f: &Field| &*f.name == "_vl_msg_id" && f.base == Base::Scalar(Scalar::U16);
    if fields.first().is_some_and(id) {
        fields.remove(0);
    }
    let crc = meta.and_then(|m| m.get("crc")).ok_or("it has no crc")?;
    let given = meta.and_then(|m| m.get("options")).map(options).transpose()?;
    let extent = builder.measure_message(&fields).map_err(|fault: Fault| fault.message)?;
    builder.add_message(Message {
        name: name.into(),
        fields,
        crc: hex(crc)?,
        options: given.unwrap_or_default(),
        flags: Flags::default(),
        comment: comment(meta),
        implied: false,
        extent,
    })
}

fn read_service(builder: &Builder, request: &str, json: &Json) -> Result1<Service> {
    let known = |name: &str| match builder.message_index.get_key_value(name) {
        Some((name, _)) => Ok(name.clone()),
        None => Err(format!("unknown message '{name}'")),
    };
    let reply = json.get("reply").and_then(Json::as_text).ok_or("no reply")?;
    let stream_message = json.get("stream_msg").and_then(Json::as_text);
    let events = match json.get("events") {
        None => &[],
        Some(Json::List(events)) => events.as_slice(),
        Some(_) => return Err("events: no array".to_owned()),
    };
    Ok(Service {
        request: known(request)?,
        reply: if reply == "null" { None } else { Some(known(reply)?) },
        stream: json.get("stream") == Some(&Json::Bool(true)),
        stream_message: stream_message.map(known).transpose()?,
        events: events
            .iter()
            .map(|e| known(e.as_text().ok_or("an event is a string")?))
            .collect::<Result1<_>>()?,
        implied: false,
    })
}

fn counter_set(json: &Json) -> Option<CounterSet> {
    let name = json.get("name")?.as_text()?.to_owned();
    let Json::List(elements) = json.get("elements")? else { return None };
    let counter = |element: &Json| {
        let Json::Map(map) = element else { return None };
        let mut counter = Counter { name: String::new(), attributes: Vec::new() };
        for (key, value) in map {
            match key.as_str() {
                "name" => value.as_text()?.clone_into(&mut counter.name),
                _ => counter.attributes.push((key.clone(), value.as_text()?.to_owned())),
            }
        }
        Some(counter)
    };
    Some(CounterSet { name, counters: elements.iter().map(counter).collect::<Option<_>>()? })
}

fn path_block(json: &Json) -> Option<Vec<CounterPath>> {
    let line = |json: &Json| {
        Some(CounterPath {
            path: json.get("path")?.as_text()?.to_owned(),
            counter: json.get("counter")?.as_text()?.to_owned(),
        })
    };
    match json {
        Json::List(list) => list.iter().map(line).collect(),
        _ => Some(vec![line(json)?]),
    }
}

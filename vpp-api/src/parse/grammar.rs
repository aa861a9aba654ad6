//! Tokens into statements: recursive descent, one function per rule, no recursion deeper than the
//! language has, which nests nothing.

use super::ast::{Block, Brackets, EnumEntry, Field, Name, Service, Statement};
use super::lex::{Lexer, Token};
use crate::error::{ParseError, Place};
use crate::schema::{Counter, CounterPath, CounterSet, Flags, Literal, Options, Scalar, limits};

/// Words that are no names. (`type`, `severity`, `description`, `counters`, `paths` and `units` are
/// keywords only where they say something, so that fields may be called by them.)
const KEYWORDS: [&str; 22] = [
    "autoendian",
    "autoreply",
    "define",
    "dont_trace",
    "enum",
    "enumflag",
    "events",
    "false",
    "import",
    "manual_endian",
    "manual_print",
    "null",
    "option",
    "returns",
    "rpc",
    "service",
    "stream",
    "string",
    "true",
    "typedef",
    "typeonly",
    "union",
];

/// Parses one file.
pub(super) fn parse<'a>(file: &'a str, text: &'a str) -> Result<Vec<Statement<'a>>, ParseError> {
    let mut parser = Parser::new(file, text)?;
    let mut statements = Vec::new();
    while let Some(statement) = parser.statement()? {
        statements.push(statement);
    }
    Ok(statements)
}

/// The last comment outside a statement, as vppapigen remembers it for the next definition.
#[derive(Default)]
struct LastComment<'a> {
    text: Option<&'a str>,
    end_line: u32,
}

struct Parser<'a> {
    file: &'a str,
    lexer: Lexer<'a>,
    token: Token<'a>,
    place: Place,
    comment: LastComment<'a>,
}

impl<'a> Parser<'a> {
    fn new(file: &'a str, text: &'a str) -> Result<Self, ParseError> {
        let mut lexer = Lexer::new(file, text)?;
        let (token, place) = lexer.next()?;
        Ok(Parser { file, lexer, token, place, comment: LastComment::default() })
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError::new(self.file, self.place, message)
    }

    fn expected(&self, what: &str) -> ParseError {
        self.error(format!("expected {what}, found {}", self.token.describe()))
    }

    /// Moves on to the next token that is no comment, and returns the one that was current.
    fn bump(&mut self) -> Result<Token<'a>, ParseError> {
        loop {
            let (token, place) = self.lexer.next()?;
            self.place = place;
            if !matches!(token, Token::Comment(_)) {
                return Ok(std::mem::replace(&mut self.token, token));
            }
        }
    }

    /// Moves past the end of a statement, where comments count.
    fn end_statement(&mut self) -> Result<(), ParseError> {
        if self.token != Token::Mark(';') {
            return Err(self.expected("';'"));
        }
        (self.token, self.place) = self.lexer.next()?;
        Ok(())
    }

    fn at_word(&self, word: &str) -> bool {
        self.token == Token::Word(word)
    }

    fn accept_word(&mut self, word: &str) -> Result<bool, ParseError> {
        let found = self.at_word(word);
        if found {
            self.bump()?;
        }
        Ok(found)
    }

    fn accept(&mut self, mark: char) -> Result<bool, ParseError> {
        let found = self.token == Token::Mark(mark);
        if found {
            self.bump()?;
        }
        Ok(found)
    }

    fn expect(&mut self, mark: char) -> Result<(), ParseError> {
        if self.accept(mark)? { Ok(()) } else { Err(self.expected(&format!("'{mark}'"))) }
    }

    fn expect_word(&mut self, word: &str) -> Result<(), ParseError> {
        if self.accept_word(word)? { Ok(()) } else { Err(self.expected(&format!("'{word}'"))) }
    }

    /// A name that is no keyword and no scalar type.
    fn name(&mut self, what: &str) -> Result<Name<'a>, ParseError> {
        let place = self.place;
        match self.token {
            Token::Word(word) if KEYWORDS.contains(&word) || Scalar::from_name(word).is_some() => {
                Err(self.error(format!("expected {what}, found the keyword '{word}'")))
            }
            Token::Word(text) => {
                self.bump()?;
                Ok(Name { text, place })
            }
            _ => Err(self.expected(what)),
        }
    }

    fn string(&mut self, what: &str) -> Result<String, ParseError> {
        if !matches!(self.token, Token::Text(_)) {
            return Err(self.expected(what));
        }
        match self.bump()? {
            Token::Text(text) => Ok(text),
            _ => Ok(String::new()),
        }
    }

    /// The next statement; `None` at the end of the file.
    fn statement(&mut self) -> Result<Option<Statement<'a>>, ParseError> {
        while let Token::Comment(text) = self.token {
            let lines = text.bytes().filter(|b| *b == b'\n').count() as u32;
            self.comment = LastComment { text: Some(text), end_line: self.place.line + lines };
            (self.token, self.place) = self.lexer.next()?;
        }
        let Token::Word(first) = self.token else {
            return match self.token {
                Token::End => Ok(None),
                _ => Err(self.expected("a definition")),
            };
        };
        let statement = match first {
            "import" => self.import()?,
            "option" => {
                let place = self.place;
                let (name, value) = self.option()?;
                Statement::Option(name, value, place)
            }
            "enum" | "enumflag" => self.enumeration(first == "enumflag")?,
            "service" => self.services()?,
            "counters" => self.counters()?,
            "paths" => self.paths()?,
            _ => self.flagged()?,
        };
        self.end_statement()?;
        Ok(Some(statement))
    }

    fn import(&mut self) -> Result<Statement<'a>, ParseError> {
        self.bump()?;
        let place = self.place;
        Ok(Statement::Import(self.string("the path of a file in quotes")?, place))
    }

    /// `option name = value` or `option name`, without the `;`
    fn option(&mut self) -> Result<(String, Literal), ParseError> {
        self.bump()?;
        let name = self.name("the name of an option")?.text.to_owned();
        let value = if self.accept('=')? { self.value()? } else { Literal::None };
        Ok((name, value))
    }

    /// What may stand after `=`.
    fn value(&mut self) -> Result<Literal, ParseError> {
        let value = match &self.token {
            Token::Number(n) => n.clone(),
            Token::Text(text) => Literal::Text(text.clone()),
            // vppapigen's own lexer makes a boolean of false and a string of true.
            Token::Word("false") => Literal::Bool(false),
            Token::Word(word) => Literal::Text((*word).to_owned()),
            _ => return Err(self.expected("a value")),
        };
        self.bump()?;
        Ok(value)
    }

    /// Flags and `define`, `typedef` or `union`.
    fn flagged(&mut self) -> Result<Statement<'a>, ParseError> {
        let mut flags = Flags::default();
        let mut flagged = false;
        loop {
            let flag = match self.token {
                Token::Word("autoreply") => &mut flags.autoreply,
                Token::Word("autoendian") => &mut flags.autoendian,
                Token::Word("manual_print") => &mut flags.manual_print,
                Token::Word("manual_endian") => &mut flags.manual_endian,
                Token::Word("dont_trace") => &mut flags.dont_trace,
                Token::Word("typeonly") => &mut flags.typeonly,
                _ => break,
            };
            *flag = true;
            flagged = true;
            self.bump()?;
        }
        let line = self.place.line;
        match self.token {
            Token::Word("define") if flags.typeonly => {
                Err(self.error("'typeonly define' is no longer part of the language: use typedef"))
            }
            Token::Word("define") => {
                self.bump()?;
                let name = self.name("the name of a message")?;
                Ok(Statement::Define(self.block(name, flags, line)?))
            }
            Token::Word("union") => {
                self.bump()?;
                let name = self.name("the name of a union")?;
                Ok(Statement::Union(self.block(name, flags, 0)?))
            }
            Token::Word("typedef") => {
                self.bump()?;
                self.typedef(flags, if flagged { None } else { Some(line) })
            }
            _ if flagged => Err(self.expected("'define', 'typedef' or 'union'")),
            _ => Err(self.expected("a definition")),
        }
    }

    /// After `typedef`: `name { … }`, or a type and a name that is to be an alias of it. The line is
    /// that of `typedef`; with flags before it vppapigen goes by the line of the name.
    fn typedef(&mut self, flags: Flags, line: Option<u32>) -> Result<Statement<'a>, ParseError> {
        let ty = self.field_type("the name of a type or what it is an alias of")?;
        if self.token == Token::Mark('{') {
            if is_builtin(ty.text) {
                let message = format!("expected the name of a type, found the keyword '{}'", ty.text);
                return Err(ParseError::new(self.file, ty.place, message));
            }
            let line = line.unwrap_or(ty.place.line);
            return Ok(Statement::Struct(self.block(ty, flags, line)?));
        }
        Ok(Statement::Alias(flags, self.field_after_type(ty)?))
    }

    /// The comment that belongs to a definition on this line, and no more to a later one.
    fn take_comment(&mut self, line: u32) -> Option<&'a str> {
        let near = line <= self.comment.end_line.saturating_add(1);
        self.comment.text.take().filter(|_| near)
    }

    /// `{ fields and options }`. The line decides which comment belongs to it; 0 is for none.
    fn block(&mut self, name: Name<'a>, flags: Flags, line: u32) -> Result<Block<'a>, ParseError> {
        self.expect('{')?;
        let (mut fields, mut options) = (Vec::new(), Options::new());
        // A block has at least one line, so '}' is looked for only after the first.
        loop {
            if self.at_word("option") {
                let place = self.place;
                let (name, value) = self.option()?;
                set_option(self.file, place, &mut options, name, value)?;
            } else {
                let ty = self.field_type("a field type")?;
                fields.push(self.field_after_type(ty)?);
            }
            self.expect(';')?;
            if self.accept('}')? {
                break;
            }
        }
        // The union's comment is left for the next message or typedef: so does vppapigen.
        let comment = if line == 0 { None } else { self.take_comment(line) };
        Ok(Block { name, flags, fields, options, comment })
    }

    fn field_type(&mut self, what: &str) -> Result<Name<'a>, ParseError> {
        match self.token {
            Token::Word(text) if is_builtin(text) => {
                let place = self.place;
                self.bump()?;
                Ok(Name { text, place })
            }
            _ => self.name(what),
        }
    }

    fn field_after_type(&mut self, ty: Name<'a>) -> Result<Field<'a>, ParseError> {
        let name = self.name("a field name")?;
        let brackets = self.brackets()?;
        Ok(Field { ty, name, brackets })
    }

    fn brackets(&mut self) -> Result<Brackets<'a>, ParseError> {
        if !self.accept('[')? {
            return Ok(Brackets::None);
        }
        let place = self.place;
        if self.accept(']')? {
            return Ok(Brackets::Empty(place));
        }
        if let Token::Number(n) = &self.token {
            let number = Brackets::Number(n.clone(), place);
            self.bump()?;
            self.expect(']')?;
            return Ok(number);
        }
        let name = self.name("a length, the name of a length field, or an option")?;
        if self.accept(']')? {
            return Ok(Brackets::Name(name));
        }
        Ok(Brackets::Options(self.field_options(name)?))
    }

    /// `name=value, name=value]` after the first name; commas may be left out.
    fn field_options(&mut self, first: Name<'a>) -> Result<Options, ParseError> {
        let mut options = Options::new();
        let mut name = first;
        loop {
            let value = if self.accept('=')? {
                let value = self.value()?;
                self.accept(',')?;
                value
            } else {
                Literal::None
            };
            set_option(self.file, name.place, &mut options, name.text.to_owned(), value)?;
            if self.accept(']')? {
                return Ok(options);
            }
            name = self.name("'=', ']' or an option")?;
        }
    }

    fn enumeration(&mut self, flags: bool) -> Result<Statement<'a>, ParseError> {
        self.bump()?;
        let name = self.name("the name of an enum")?;
        let mut base = "u32";
        if self.accept(':')? {
            let fits = |t: &str| match flags {
                true => ["u8", "u16", "u32"].contains(&t),
                false => ["u8", "u16", "u32", "i8", "i16", "i32"].contains(&t),
            };
            match self.token {
                Token::Word(word) if fits(word) => base = word,
                _ if flags => return Err(self.expected("u8, u16 or u32")),
                _ => return Err(self.expected("u8, u16, u32, i8, i16 or i32")),
            }
            self.bump()?;
        }
        self.expect('{')?;
        let mut entries = Vec::new();
        loop {
            entries.push(self.enum_entry()?);
            if self.accept('}')? {
                return Ok(Statement::Enum { name, flags, base, entries });
            }
        }
    }

    fn enum_entry(&mut self) -> Result<EnumEntry<'a>, ParseError> {
        let name = self.name("the name of an enum entry")?;
        let mut value = None;
        if self.accept('=')? {
            let place = self.place;
            let Token::Number(n) = &self.token else {
                return Err(self.expected("a whole number"));
            };
            value = Some((n.clone(), place));
            self.bump()?;
        }
        let mut backwards_compatible = false;
        if self.accept('[')? {
            let first = self.name("an option")?;
            let options = self.field_options(first)?;
            backwards_compatible = options.iter().any(|(n, _)| n == "backwards_compatible");
        }
        self.expect(',')?;
        Ok(EnumEntry { name, value, backwards_compatible })
    }

    fn services(&mut self) -> Result<Statement<'a>, ParseError> {
        self.bump()?;
        self.expect('{')?;
        let mut services = Vec::new();
        loop {
            services.push(self.rpc()?);
            if self.accept('}')? {
                return Ok(Statement::Services(services));
            }
        }
    }

    /// `rpc X returns null;`, `… returns Y;`, `… returns stream Y;`, `… returns Y stream Z;` or
    /// `… returns Y events E F;`
    fn rpc(&mut self) -> Result<Service<'a>, ParseError> {
        const MESSAGE: &str = "the name of a message";
        self.expect_word("rpc")?;
        let request = self.name(MESSAGE)?;
        self.expect_word("returns")?;
        let mut service =
            Service { request, reply: None, stream: false, stream_message: None, events: Vec::new() };
        if self.accept_word("null")? {
            self.expect(';')?;
            return Ok(service);
        }
        service.stream = self.accept_word("stream")?;
        let reply = self.name("the name of a message, 'stream' or 'null'")?;
        if reply.text == service.request.text {
            let message = format!("'{}' cannot be its own reply", reply.text);
            return Err(ParseError::new(self.file, reply.place, message));
        }
        service.reply = Some(reply);
        if !service.stream && self.accept_word("stream")? {
            service.stream = true;
            service.stream_message = Some(self.name(MESSAGE)?);
        } else if !service.stream && self.accept_word("events")? {
            loop {
                service.events.push(self.name(MESSAGE)?);
                self.accept(',')?;
                if self.token == Token::Mark(';') {
                    break;
                }
            }
        }
        self.expect(';')?;
        Ok(service)
    }

    fn counters(&mut self) -> Result<Statement<'a>, ParseError> {
        self.bump()?;
        let name = self.name("the name of a counter set")?.text.to_owned();
        self.expect('{')?;
        let mut counters = Vec::new();
        loop {
            counters.push(self.counter()?);
            if self.accept('}')? {
                return Ok(Statement::Counters(CounterSet { name, counters }));
            }
        }
    }

    fn counter(&mut self) -> Result<Counter, ParseError> {
        let name = self.name("the name of a counter")?.text.to_owned();
        self.expect('{')?;
        let mut attributes: Vec<(String, String)> = Vec::new();
        loop {
            let (key, value) = match self.token {
                Token::Word(key @ ("severity" | "type")) => {
                    self.bump()?;
                    (key, self.name("a word")?.text.to_owned())
                }
                Token::Word(key @ ("units" | "description")) => {
                    self.bump()?;
                    (key, self.string("a string")?)
                }
                _ => return Err(self.expected("'severity', 'type', 'units' or 'description'")),
            };
            match attributes.iter_mut().find(|(k, _)| k == key) {
                Some(slot) => slot.1 = value,
                None => attributes.push((key.to_owned(), value)),
            }
            self.expect(';')?;
            if self.accept('}')? {
                break;
            }
        }
        self.expect(';')?;
        Ok(Counter { name, attributes })
    }

    fn paths(&mut self) -> Result<Statement<'a>, ParseError> {
        self.bump()?;
        self.expect('{')?;
        let mut paths = Vec::new();
        loop {
            let path = self.string("a path in quotes")?;
            let counter = self.string("the name of a counter set in quotes")?;
            paths.push(CounterPath { path, counter });
            self.expect(';')?;
            if self.accept('}')? {
                return Ok(Statement::Paths(paths));
            }
        }
    }
}

/// Sets an option; a repeated one keeps its place and takes the last value.
pub(super) fn set_option(
    file: &str,
    place: Place,
    options: &mut Options,
    name: String,
    value: Literal,
) -> Result<(), ParseError> {
    if let Some(slot) = options.iter_mut().find(|(n, _)| *n == name) {
        slot.1 = value;
    } else if options.len() >= limits::OPTIONS {
        let message = format!("more than {} options", limits::OPTIONS);
        return Err(ParseError::new(file, place, message));
    } else {
        options.push((name, value));
    }
    Ok(())
}

fn is_builtin(name: &str) -> bool {
    name == "string" || Scalar::from_name(name).is_some()
}

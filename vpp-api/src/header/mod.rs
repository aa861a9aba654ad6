//! C headers: packed structs, enums, byte order, names and CRCs.
//!
//! What is made for a module stands alone but for `<stddef.h>` and `<stdint.h>`, is C99 (with the
//! `packed` attribute of gcc and clang), and can be included together with that of another module, even
//! if both have the same types. Names are VPP's: `vl_api_<name>_t`, `VL_API_<NAME>_CRC`.
//!
//! | in the .api file | in C |
//! | --- | --- |
//! | `u8` … `i64`, `f64` | `uint8_t` … `int64_t`, `double` |
//! | `bool` | `uint8_t`, since any byte may come in |
//! | enum | an integer of its base type, its entries as an `enum` (values beyond `int` as macros) |
//! | `string x[N]` | `char x[N]`, not necessarily with a NUL |
//! | `string x[]` | `vl_api_string_t`: a `uint32_t` length and the bytes |
//! | union | `union`, which no function below converts: convert the member that it holds |
//! | variable-length array | flexible array member |
//! | array of what is of variable length itself | `uint8_t x[]`, its elements as they are on the wire |
//! | what is called by a keyword | the name and an underscore |
//!
//! For each type and message `X` that is of fixed length there are `void vl_api_X_t_ntoh(vl_api_X_t *)`
//! and `_hton`; for each that is not, `int vl_api_X_t_ntoh(…, size_t len)`, which returns 0, or −1 if
//! its counts say more than the `len` bytes hold, and then changes nothing. Messages all take the
//! length.

mod swap;
mod types;

use std::collections::HashMap;
use std::fmt::{self, Write};

use crate::print::is_comment;
use crate::schema::{Api, Base, Length, Message, Type, TypeKind};

/// Why there is no C header for a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderError(String);

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HeaderError {}

impl From<fmt::Error> for HeaderError {
    fn from(_: fmt::Error) -> HeaderError {
        HeaderError("out of memory".to_owned())
    }
}

/// Byte order without alignment and without anything but C99; the compiler makes one instruction of
/// each.
const HELPERS: &str = "\
#ifndef HERALD_API_HELPERS
#define HERALD_API_HELPERS
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define HERALD_API_BIG_ENDIAN 1
#else
#define HERALD_API_BIG_ENDIAN 0
#endif

/* Between the order of this machine and that of the network. */
static inline uint16_t herald_api_be16(uint16_t x)
{
\treturn HERALD_API_BIG_ENDIAN ? x : (uint16_t)((x >> 8) | (x << 8));
}

static inline uint32_t herald_api_be32(uint32_t x)
{
\treturn HERALD_API_BIG_ENDIAN ? x
\t\t: (x >> 24) | ((x >> 8) & 0xff00u) | ((x << 8) & 0xff0000u) | (x << 24);
}

static inline uint64_t herald_api_be64(uint64_t x)
{
\treturn HERALD_API_BIG_ENDIAN ? x
\t\t: ((uint64_t)herald_api_be32((uint32_t)x) << 32) | herald_api_be32((uint32_t)(x >> 32));
}

/* A double is little-endian in the VPP API. */
static inline double herald_api_lef64(double x)
{
\tunion { double f; unsigned char b[8]; } from, to;
\tint i;

\tif (!HERALD_API_BIG_ENDIAN)
\t\treturn x;
\tfrom.f = x;
\tfor (i = 0; i < 8; i++)
\t\tto.b[i] = from.b[7 - i];
\treturn to.f;
}

/* string x[]: the length, then as many bytes, without a NUL. */
typedef struct __attribute__((packed)) {
\tuint32_t length;
\tHERALD_API_EXTENSION uint8_t buf[];
} vl_api_string_t;

static inline int vl_api_string_t_fits(uint32_t length, size_t len)
{
\treturn len >= sizeof(vl_api_string_t) && length <= len - sizeof(vl_api_string_t);
}
#endif
";

/// C++ has no flexible array members, but the compilers do: g++ wants `__extension__` before them,
/// clang++ wants not to warn.
const BEGIN: &str = "\
#ifndef HERALD_API_EXTENSION
#define HERALD_API_EXTENSION __extension__
#endif

#ifdef __cplusplus
extern \"C\" {
#ifdef __clang__
#pragma clang diagnostic push
#pragma clang diagnostic ignored \"-Wc99-extensions\"
#endif
#endif
";

const END: &str = "\
#ifdef __cplusplus
#ifdef __clang__
#pragma clang diagnostic pop
#endif
}
#endif
";

/// The C header of a module. `origin` is what it was made from, for the comment at its top.
///
/// # Errors
/// If C cannot have the module's names: two enums with the same entry, a message called like a type. Or if
/// it has a fixed array of what is of variable length itself.
pub fn header(api: &Api, origin: &str) -> Result<String, HeaderError> {
    check_names(api)?;
    check_arrays(api)?;
    // A file's name may have what a macro's cannot.
    let name = api.name().to_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let guard = format!("HERALD_API_{name}_H");
    let mut out = String::new();
    let origin: String = origin.chars().filter(|c| !c.is_control() && *c != '/').collect();
    let origin = origin.rsplit('/').next().unwrap_or_default();
    writeln!(out, "/* Made by herald-apigen from {origin}. Do not edit. */")?;
    writeln!(out, "#ifndef {guard}\n#define {guard}\n")?;
    writeln!(out, "#include <stddef.h>\n#include <stdint.h>\n")?;
    writeln!(out, "{BEGIN}\n{HELPERS}")?;
    for ty in api.types() {
        define_type(&mut out, api, ty)?;
    }
    for message in api.messages() {
        define_message(&mut out, api, message)?;
    }
    writeln!(out, "{END}\n#endif")?;
    Ok(out)
}

fn check_names(api: &Api) -> Result<(), HeaderError> {
    let mut entries: HashMap<&str, &str> = HashMap::new();
    for ty in api.types() {
        let TypeKind::Enum(e) = &ty.kind else { continue };
        for entry in &e.entries {
            if let Some(other) = entries.insert(&entry.name, &ty.name) {
                let (name, ty) = (&entry.name, &ty.name);
                let message = format!("C cannot have '{name}' in both enums '{other}' and '{ty}'");
                return Err(HeaderError(message));
            }
        }
    }
    let mut macros: HashMap<String, &str> = HashMap::new();
    for message in api.messages() {
        if api.type_named(&message.name).is_some() {
            let message = format!("C cannot have '{}' as a type and as a message", message.name);
            return Err(HeaderError(message));
        }
        if let Some(other) = macros.insert(message.name.to_uppercase(), &message.name) {
            let message = format!("C cannot tell '{other}' from '{}' in macros", message.name);
            return Err(HeaderError(message));
        }
    }
    Ok(())
}

/// A fixed array of elements of variable length has no size that C could know.
fn check_arrays(api: &Api) -> Result<(), HeaderError> {
    let fields = api.messages().iter().flat_map(|m| &m.fields);
    let fields = fields.chain(api.types().iter().flat_map(Type::fields));
    let aliases = api.types().iter().filter_map(|ty| match &ty.kind {
        TypeKind::Alias(base, length) => Some((&ty.name, *base, length)),
        _ => None,
    });
    for (name, base, length) in fields.map(|f| (&f.name, f.base, &f.length)).chain(aliases) {
        let open = matches!(base, Base::User(id) if api.ty(id).extent.open);
        if open && matches!(length, Length::Fixed(_)) {
            let message = format!("C cannot have '{name}', a fixed array of what is of variable length");
            return Err(HeaderError(message));
        }
    }
    Ok(())
}

fn define_type(out: &mut String, api: &Api, ty: &Type) -> Result<(), HeaderError> {
    // Another module's header may have it too. Names may differ by case alone.
    let guard = ty.reference();
    writeln!(out, "#ifndef HERALD_{guard}\n#define HERALD_{guard}")?;
    write_comment(out, ty.comment.as_deref())?;
    types::define(out, api, ty)?;
    swap::for_type(out, api, ty)?;
    writeln!(out, "#endif\n")?;
    Ok(())
}

fn define_message(out: &mut String, api: &Api, message: &Message) -> Result<(), HeaderError> {
    let upper = message.name.to_uppercase();
    write_comment(out, message.comment.as_deref())?;
    writeln!(out, "#define VL_API_{upper}_NAME \"{}\"", message.name)?;
    writeln!(out, "#define VL_API_{upper}_CRC \"{}\"", message.name_crc())?;
    types::define_message(out, api, message)?;
    swap::for_message(out, api, message)?;
    writeln!(out)?;
    Ok(())
}

/// Writes a comment that a compiler passes over without a warning; others are left out.
fn write_comment(out: &mut String, comment: Option<&str>) -> fmt::Result {
    let Some(comment) = comment.filter(|c| is_comment(c)) else { return Ok(()) };
    let body = comment.get(2..).unwrap_or("");
    let clean = |b: &str| !b.contains("/*") && !b.contains('\\') && !b.contains("??/");
    if clean(body) { writeln!(out, "{comment}") } else { Ok(()) }
}

/// What C99 and C++17 have as keywords, after which neither a field nor an entry of an enum can be called.
const RESERVED: &str = "_Bool _Complex _Imaginary alignas alignof and and_eq asm auto bitand bitor bool \
    break case catch char char16_t char32_t class compl const const_cast constexpr continue decltype \
    default delete do double dynamic_cast else enum explicit export extern false float for friend goto if \
    inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected \
    public register reinterpret_cast restrict return short signed sizeof static static_assert static_cast \
    struct switch template this thread_local throw true try typedef typeid typename union unsigned using \
    virtual void volatile wchar_t while xor xor_eq";

/// A field's or an entry's name in C: with an underscore behind it if it is a keyword.
fn c_name(name: &str) -> String {
    match RESERVED.split(' ').any(|keyword| keyword == name) {
        true => format!("{name}_"),
        false => name.to_owned(),
    }
}

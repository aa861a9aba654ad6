//! Messages to bytes and back, by their schema.
//!
//! A [`Plan`] is a message compiled for this: where each field lies and what it is. From a plan,
//!
//! - [`Plan::encoder`] writes a message field by field, by name or by a [`Field`] or [`Slot`] looked up
//!   before: for what is sent often;
//! - [`Plan::view`] reads single fields of a message without taking it apart: for what is received
//!   often;
//! - [`Plan::encode`] and [`Plan::decode`] turn any message from and into a [`Value`].
//!
//! On the wire a message is packed and begins with its u16 id. Integers are big-endian, `f64` is
//! little-endian, `bool` is one byte, an enum is an integer of its base type, a union is as long as its
//! longest member and zero-padded, `string x[N]` is N bytes and NUL-padded, `string x[]` is a u32 length
//! and the bytes, and a variable-length array comes last, its count in an earlier field.
//!
//! What is too long for its field is an error, never a cut. What was not given is zero. Decoding never
//! panics, never allocates more than in proportion to the bytes at hand, and says what is missing or
//! left over.
//!
//! ```
//! use herald_vpp_api::{Rules, codec::Plan, parse, source::Nothing};
//!
//! let text = "
//!     define light_event { u32 client_index; u32 pid; u8 colour; u8 len; u8 note[len]; };
//!     autoreply define want_light_events { u32 client_index; u32 context; u32 pid; };
//!     service { rpc want_light_events returns want_light_events_reply events light_event; };
//! ";
//! let api = parse::parse("light.api", text, &Nothing, Rules::default())?;
//! let plan = Plan::new(&api, "light_event").ok_or("no such message")?;
//!
//! let mut out = Vec::new();
//! let mut message = plan.encoder(100, &mut out);
//! message.put("pid", 7u32)?;
//! message.put("colour", 2u8)?;
//! message.put("note", b"dim".as_slice())?;
//! message.finish()?;
//! assert_eq!(out, [0, 100, 0, 0, 0, 0, 0, 0, 0, 7, 2, 3, b'd', b'i', b'm']);
//!
//! let view = plan.view(&out)?;
//! assert_eq!(view.u64("colour"), Some(2));
//! assert_eq!(view.bytes("note"), Some(b"dim".as_slice()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decode;
mod encode;
mod encoder;
mod error;
mod node;
mod plan;
mod scalar;
mod value;
mod view;

pub use encoder::{Element, Encoder};
pub use error::{DecodeError, DecodeFault, EncodeError, EncodeFault};
pub use plan::{Field, Plan, Plans, Slot};
pub use scalar::Item;
pub use value::Value;
pub use view::{Elements, View};

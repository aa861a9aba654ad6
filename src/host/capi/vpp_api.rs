//! The VPP binary API.

use std::ffi::{CStr, c_char, c_void};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

// The crate: a type here has its name, too.
use ::herald_vpp_api::codec::{Encoder, Field};
use ::herald_vpp_api::table::Entry;

use super::error::{Failure, answer};
use super::publish::{bytes, known_value, name_of, value_of, with_params};
use super::server::given;
use super::{
    HERALD_ERROR_API, HERALD_ERROR_INTERNAL, HERALD_ERROR_MESSAGE, HERALD_TYPE_BYTES, HERALD_TYPE_UINT,
    borrow, herald_error, herald_hub, herald_overflow, herald_param, herald_request,
    herald_request_handler, sized, slice, string, text, utf8,
};
use crate::hub::{Hub, PublishError};
use crate::transport::vpp_api::{
    Handler, PreparedEvent, Refused, Request, ServeError, VppApi, VppApiOptions, publish_fields,
    publish_found, publish_packed,
};
use crate::wire::vpp_api::{Contract, give};

/// A VPP API that a hub serves: what events are published by. It belongs to the hub, and is valid until
/// that is closed. Opaque.
pub struct herald_vpp_api {
    hub: Arc<Hub>,
    contract: Arc<Contract>,
    /// What the caller has pointers to.
    prepared: Mutex<Vec<Arc<herald_vpp_event>>>,
}

/// An event of a VPP API with the fields that it is published with. It belongs to the hub, and is valid
/// until that is closed. Opaque.
pub struct herald_vpp_event {
    hub: Arc<Hub>,
    contract: Arc<Contract>,
    event: PreparedEvent,
}

/// Which requests a handler answers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct herald_handler {
    /// The name of the request, such as "light_set", as its .api file defines it. Registrations for
    /// events ("want_...") that have a field "enable" or "enable_disable" are answered by the library.
    pub request: *const c_char,
    /// Answers it. Must not be NULL.
    pub handle: herald_request_handler,
    /// Handed to `handle` as it is; it must stay valid until the hub is closed.
    pub context: *mut c_void,
}

/// How a VPP API is served. A field that is 0 or NULL has its default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct herald_vpp_api_options {
    /// sizeof(herald_vpp_api_options).
    pub size: usize,
    /// Where to listen; at most 107 bytes. "/run/herald/api.sock" by default.
    pub path: *const c_char,
    /// Permission bits of the socket; 0660 by default.
    pub mode: u32,
    /// Clients at once, up to 4096; 64 by default. One more is accepted and closed at once.
    pub max_clients: u32,
    /// Owner of the socket, a name or a number; NULL leaves it as it is.
    pub owner: *const c_char,
    /// Group of the socket, a name or a number; NULL leaves it as it is.
    pub group: *const c_char,
    /// User ids that may connect. With both lists empty, everybody whom the mode lets in.
    pub allow_uids: *const u32,
    /// How many there are.
    pub allow_uids_count: usize,
    /// Primary group ids that may connect.
    pub allow_gids: *const u32,
    /// How many there are.
    pub allow_gids_count: usize,
    /// Bytes of events that may wait for one client, 4096 to 1073741824; 1048576 by default. Replies
    /// have room beside them.
    pub queue_bytes: usize,
    /// What happens when that many wait.
    pub overflow: herald_overflow,
    /// Bytes of the longest message that is taken from a client, 128 or more; 65536 by default. Whoever sends more is
    /// disconnected.
    pub message_bytes: u32,
    /// Directories whose .api and .api.json files are served. What they import is looked for there, in
    /// the share/vpp/api of an installed VPP, and among the common types that the library has built in.
    pub api_directories: *const *const c_char,
    /// How many there are. With none, only the built-in modules are served: memclnt, vpe and herald.
    pub api_directories_count: usize,
    /// The version that show_version answers, up to 31 bytes; herald_version() by default.
    pub version: *const c_char,
    /// What answers requests. A request that is not here is answered with UNIMPLEMENTED (-9), a dump
    /// with nothing.
    pub handlers: *const herald_handler,
    /// How many there are.
    pub handlers_count: usize,
}

/// Serves the VPP binary API on a hub, for GoVPP, vpp_papi and other clients of VPP's API socket, until
/// the hub is closed. Registrations for events follow from the `service` definitions of the .api files.
/// Herald's own module is always served: with it clients get every event that is published by
/// herald_publish() and herald_publish_l2tp().
///
/// `options` may be NULL, and is copied. `*api` belongs to the hub; `api` may be NULL.
///
/// Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_SIZE, HERALD_ERROR_API (with file,
/// line and column of what is wrong in herald_last_error()), HERALD_ERROR_SYSTEM, HERALD_ERROR_IN_USE,
/// HERALD_ERROR_IN_THE_WAY, HERALD_ERROR_PATH_TOO_LONG, HERALD_ERROR_CLOSED, HERALD_ERROR_FORKED,
/// HERALD_ERROR_FAILED.
///
/// # Safety
///
/// `hub` is NULL or open; the other pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_hub_serve_vpp_api(
    hub: *mut herald_hub,
    options: *const herald_vpp_api_options,
    api: *mut *mut herald_vpp_api,
) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        // SAFETY: as the caller promised.
        answer(unsafe { serve(hub, options, api) })
    })
}

/// # Safety
///
/// As for [`herald_hub_serve_vpp_api`].
unsafe fn serve(
    hub: *mut herald_hub,
    options: *const herald_vpp_api_options,
    api: *mut *mut herald_vpp_api,
) -> Result<(), Failure> {
    if !api.is_null() {
        // SAFETY: not null, and valid as the caller promised.
        unsafe { api.write(std::ptr::null_mut()) };
    }
    // SAFETY: null or open, as the caller promised.
    let open = unsafe { borrow(hub) }?;
    // SAFETY: the caller's options begin with their size; zero is valid for every field.
    let (chosen, handlers) = match unsafe { sized(options, "options") }? {
        // SAFETY: its pointers are valid, as the caller promised.
        Some(options) => unsafe { (read(&options)?, read_handlers(&options)?) },
        None => Default::default(),
    };
    let (server, contract) = VppApi::listen(chosen, handlers, &open.0, open.1.clone())?;
    open.0.add(Box::new(server))?;
    let served = Arc::new(herald_vpp_api { hub: open.0.clone(), contract, prepared: Mutex::default() });
    let pointer = Arc::as_ptr(&served);
    open.keep(served);
    if !api.is_null() {
        // SAFETY: as above.
        unsafe { api.write(pointer.cast_mut()) };
    }
    Ok(())
}

/// # Safety
///
/// The pointers in the options are null or valid.
unsafe fn read(options: &herald_vpp_api_options) -> Result<VppApiOptions, Failure> {
    let mut chosen = VppApiOptions::default();
    // SAFETY: as the caller promised.
    chosen.stream = unsafe { given!(options).read(chosen.stream) }?;
    match options.message_bytes as usize {
        0 => {}
        bytes if bytes >= VppApiOptions::LEAST_LONGEST => chosen.longest = bytes,
        bytes => {
            let least = VppApiOptions::LEAST_LONGEST;
            let detail = format!("options.message_bytes is {bytes}, and must be at least {least}");
            return Err(Failure::invalid(detail));
        }
    }
    let (list, count) = (options.api_directories, options.api_directories_count);
    // SAFETY: null or that many C strings, as the caller promised.
    for directory in unsafe { slice(list, count, "options.api_directories") }? {
        // SAFETY: as above.
        let directory = unsafe { text(*directory, "options.api_directories[]") }?;
        chosen.directories.push(PathBuf::from(directory));
    }
    if !options.version.is_null() {
        // SAFETY: a C string, as the caller promised.
        chosen.version = unsafe { text(options.version, "options.version") }?.to_owned();
    }
    Ok(chosen)
}

/// # Safety
///
/// The pointers in the options are null or valid, the handlers' contexts until the hub is closed.
unsafe fn read_handlers(options: &herald_vpp_api_options) -> Result<Vec<(String, Handler)>, Failure> {
    struct Context(*mut c_void);
    // SAFETY: the header says on which thread the handler is called with it.
    unsafe impl Send for Context {}
    let mut handlers = Vec::new();
    // SAFETY: null or that many handlers, as the caller promised.
    for given in unsafe { slice(options.handlers, options.handlers_count, "options.handlers") }? {
        // SAFETY: a C string, as the caller promised.
        let name = unsafe { text(given.request, "options.handlers[].request") }?.to_owned();
        let handle = given.handle.ok_or_else(|| Failure::null("options.handlers[].handle"))?;
        let context = Context(given.context);
        let handler: Handler = Box::new(move |request: Request| {
            let context: &Context = &context;
            let request = Box::into_raw(Box::new(herald_request(request)));
            // SAFETY: the handler and its context are the caller's, valid until the hub is closed; it
            // gives the request back to herald_request_reply or herald_request_end.
            unsafe { handle(context.0, request) };
        });
        handlers.push((name, handler));
    }
    Ok(handlers)
}

/// Publishes an event of an .api file to every client that has registered for it: its name, and a
/// parameter for each field. Everything is copied before it returns.
///
/// A field of a typedef is named "data.ue_id"; an element of an array "ports[0]" or "ports[0].name",
/// elements in their order, and an array of u8 takes bytes. An enum takes a number or the name of an
/// entry. The count of an array, `client_index` and `pid` are filled in; other fields that are not given
/// are zero. What does not fit is an error and never cut: a number out of range, a text longer than its
/// field, an array longer than its count can say.
///
/// The event is encoded and checked on the calling thread; otherwise costs are those of
/// herald_publish(). Elements of arrays, and an event that is longer than all before it on this thread,
/// cost allocations: it is not to be called where siglongjmp() can leave it.
///
/// Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_MESSAGE (no such event, no such field,
/// or a value that does not fit), HERALD_ERROR_RING_FULL, HERALD_ERROR_TOO_LARGE, HERALD_ERROR_CLOSED,
/// HERALD_ERROR_FORKED, HERALD_ERROR_FAILED.
///
/// # Safety
///
/// `api` is NULL or of an open hub; `event` is NULL or a C string; `params` is NULL or `count`
/// parameters.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_vpp_api_publish(
    api: *const herald_vpp_api,
    event: *const c_char,
    params: *const herald_param,
    count: usize,
) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        // SAFETY: as the caller promised.
        answer(unsafe { publish(api, event, params, count) })
    })
}

/// # Safety
///
/// As for [`herald_vpp_api_publish`].
unsafe fn publish(
    api: *const herald_vpp_api,
    event: *const c_char,
    params: *const herald_param,
    count: usize,
) -> Result<(), Failure> {
    // SAFETY: as the caller promised.
    let (api, name, params) =
        unsafe { (own(api)?, string(event, "event")?, slice(params, count, "params")?) };
    let event = find(api, name)?;
    // A name is compared as it is: what is no UTF-8 is not the name of a field.
    let fill = |message: &mut Encoder<'_>| {
        let mut hint = 0;
        for param in params {
            // SAFETY: the caller's parameter, valid as promised.
            unsafe { give_param(message, event.plan.field(name_of(param), &mut hint)?, param) }?;
        }
        Some(())
    };
    if let Some(published) = publish_found(&api.hub, &api.contract, event, fill) {
        return Ok(published?);
    }
    let publish = |params: &[crate::event::Param<'_>]| {
        publish_fields(&api.hub, &api.contract, event.plan.name(), params)
    };
    // SAFETY: as above.
    Ok(unsafe { with_params(params, publish) }??)
}

/// Looks an event and its fields up, once, for what is published very often: herald_vpp_event_publish()
/// then takes their values in this order, and compares no names. Fields are named as for
/// herald_vpp_api_publish(), but for elements of arrays, which cannot be looked up.
///
/// `*prepared` belongs to the hub, and can be used by any number of threads. Prepare an event once and
/// not each time: it takes memory until the hub is closed. Not to be called where siglongjmp() can leave
/// it.
///
/// Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_MESSAGE (no such event, or no such
/// field), HERALD_ERROR_FORKED; then `*prepared` is NULL.
///
/// # Safety
///
/// `api` is NULL or of an open hub; `event` is NULL or a C string; `fields` is NULL or `count` C strings;
/// `prepared` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_vpp_api_prepare(
    api: *const herald_vpp_api,
    event: *const c_char,
    fields: *const *const c_char,
    count: usize,
    prepared: *mut *mut herald_vpp_event,
) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        // SAFETY: as the caller promised.
        answer(unsafe { prepare(api, event, fields, count, prepared) })
    })
}

/// # Safety
///
/// As for [`herald_vpp_api_prepare`].
unsafe fn prepare(
    api: *const herald_vpp_api,
    event: *const c_char,
    fields: *const *const c_char,
    count: usize,
    prepared: *mut *mut herald_vpp_event,
) -> Result<(), Failure> {
    if prepared.is_null() {
        return Err(Failure::null("prepared"));
    }
    // SAFETY: not null, and valid as the caller promised.
    unsafe { prepared.write(std::ptr::null_mut()) };
    // SAFETY: as the caller promised.
    let (api, name, fields) =
        unsafe { (own(api)?, string(event, "event")?, slice(fields, count, "fields")?) };
    // SAFETY: C strings or null, as the caller promised.
    let fields = fields.iter().map(|field| unsafe { text(*field, "fields[]") });
    let fields: Vec<&str> = fields.collect::<Result<_, _>>()?;
    if api.hub.is_forked() {
        return Err(PublishError::Forked.into());
    }
    let event = PreparedEvent::new(find(api, name)?, &fields)?;
    let event =
        Arc::new(herald_vpp_event { hub: api.hub.clone(), contract: api.contract.clone(), event });
    let pointer = Arc::as_ptr(&event);
    api.prepared.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    // SAFETY: as above.
    unsafe { prepared.write(pointer.cast_mut()) };
    Ok(())
}

/// Publishes an event with values for the fields that it was prepared with, in their order: what
/// herald_vpp_api_publish() does by names. The names of the parameters are not looked at, and may be
/// NULL; a value of HERALD_TYPE_NULL leaves its field zero.
///
/// What is checked, and costs but for the names, are those of herald_vpp_api_publish().
///
/// Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID (another number of values than of fields, or an
/// unknown type), HERALD_ERROR_MESSAGE (a value that does not fit), HERALD_ERROR_RING_FULL,
/// HERALD_ERROR_TOO_LARGE, HERALD_ERROR_CLOSED, HERALD_ERROR_FORKED, HERALD_ERROR_FAILED.
///
/// # Safety
///
/// `event` is NULL or of an open hub; `params` is NULL or `count` parameters.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_vpp_event_publish(
    event: *const herald_vpp_event,
    params: *const herald_param,
    count: usize,
) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        // SAFETY: as the caller promised.
        answer(unsafe { publish_prepared(event, params, count) })
    })
}

/// # Safety
///
/// As for [`herald_vpp_event_publish`].
unsafe fn publish_prepared(
    event: *const herald_vpp_event,
    params: *const herald_param,
    count: usize,
) -> Result<(), Failure> {
    // SAFETY: as the caller promised.
    let of = unsafe { event.as_ref() }.ok_or_else(|| Failure::null("event"))?;
    // SAFETY: as the caller promised.
    let params = unsafe { slice(params, count, "params") }?;
    if count != of.event.count() {
        let fields = of.event.count();
        let detail = format!("count is {count}, and the event was prepared with {fields} fields");
        return Err(Failure::invalid(detail));
    }
    let give = |message: &mut Encoder<'_>, number: usize, field| {
        // SAFETY: the caller's parameter, valid as promised.
        unsafe { give_param(message, field, params.get(number)?) }
    };
    if let Some(published) = of.event.publish_found(&of.hub, &of.contract, give) {
        return Ok(published?);
    }
    let values = params.iter().enumerate();
    // SAFETY: as above.
    let values = values.map(|(index, param)| unsafe { known_value(index, param) });
    let values: Vec<_> = values.collect::<Result<_, _>>()?;
    Ok(of.event.publish(&of.hub, &of.contract, &values)?)
}

/// Publishes an event that is encoded already: a packed struct as herald-apigen makes it, in network byte
/// order, with the elements of its variable-length array after it. `_vl_msg_id`, `client_index` and `pid`
/// are filled in. That it is as long as its fields say is checked.
///
/// Costs are those of herald_vpp_api_publish().
///
/// Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_MESSAGE (no such event, or bytes that are
/// not as long as it), HERALD_ERROR_RING_FULL, HERALD_ERROR_TOO_LARGE, HERALD_ERROR_CLOSED,
/// HERALD_ERROR_FORKED, HERALD_ERROR_FAILED.
///
/// # Safety
///
/// `api` is NULL or of an open hub; `event` is NULL or a C string; `message` is NULL or `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_vpp_api_publish_packed(
    api: *const herald_vpp_api,
    event: *const c_char,
    message: *const c_void,
    length: usize,
) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        // SAFETY: as the caller promised.
        answer(unsafe { publish_bytes(api, event, message, length) })
    })
}

/// # Safety
///
/// As for [`herald_vpp_api_publish_packed`].
unsafe fn publish_bytes(
    api: *const herald_vpp_api,
    event: *const c_char,
    message: *const c_void,
    length: usize,
) -> Result<(), Failure> {
    // SAFETY: as the caller promised.
    let (api, name, message) =
        unsafe { (own(api)?, string(event, "event")?, slice(message.cast::<u8>(), length, "message")?) };
    Ok(publish_packed(&api.hub, &api.contract, find(api, name)?, message)?)
}

/// Says how many clients have registered for an event, so that a host can save itself the trouble of
/// making one that nobody gets.
///
/// Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_MESSAGE (no such event),
/// HERALD_ERROR_FORKED.
///
/// # Safety
///
/// `api` is NULL or of an open hub; `event` is NULL or a C string; `count` is NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn herald_vpp_api_listeners(
    api: *const herald_vpp_api,
    event: *const c_char,
    count: *mut u32,
) -> herald_error {
    boundary!(HERALD_ERROR_INTERNAL, {
        // SAFETY: as the caller promised.
        answer(unsafe { read_listeners(api, event, count) })
    })
}

/// # Safety
///
/// As for [`herald_vpp_api_listeners`].
unsafe fn read_listeners(
    api: *const herald_vpp_api,
    event: *const c_char,
    count: *mut u32,
) -> Result<(), Failure> {
    // SAFETY: as the caller promised.
    let (api, name) = unsafe { (own(api)?, string(event, "event")?) };
    // SAFETY: as above.
    let count = unsafe { count.as_mut() }.ok_or_else(|| Failure::null("count"))?;
    if api.hub.is_forked() {
        return Err(PublishError::Forked.into());
    }
    *count = api.contract.listeners(find(api, name)?.id);
    Ok(())
}

/// # Safety
///
/// `api` is null or of an open hub for as long as the result is used.
unsafe fn own<'a>(api: *const herald_vpp_api) -> Result<&'a herald_vpp_api, Failure> {
    // SAFETY: as the caller promised.
    unsafe { api.as_ref() }.ok_or_else(|| Failure::null("api"))
}

/// Gives a field the value of a parameter; none if that does not fit.
///
/// # Safety
///
/// As for [`value_of`].
#[inline(always)]
unsafe fn give_param(message: &mut Encoder<'_>, field: Field, param: &herald_param) -> Option<()> {
    // SAFETY: the type says which member the caller has written; for the rest as the caller promised.
    unsafe {
        match param.r#type {
            // Most are numbers, which need no more than a comparison and a store.
            HERALD_TYPE_UINT => message.set(field, param.value.unsigned_number).ok(),
            HERALD_TYPE_BYTES => message.set(field, bytes(param.value.bytes)?).ok(),
            _ => give(message, field, value_of(param)?),
        }
    }
}

/// The event of this name.
#[inline]
fn find<'a>(api: &'a herald_vpp_api, event: &CStr) -> Result<&'a Entry, Failure> {
    let found = api.contract.event(event.to_bytes());
    found.ok_or_else(|| match utf8(event, "event") {
        Ok(event) => Refused::NoEvent(event.to_owned()).into(),
        Err(failure) => failure,
    })
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Listen(error) => error.into(),
            ServeError::Module(_) | ServeError::Contract(_) => {
                Failure::new(HERALD_ERROR_API, error.to_string())
            }
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Hub(error) => error.into(),
            other => Failure::new(HERALD_ERROR_MESSAGE, other.to_string()),
        }
    }
}

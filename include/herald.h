/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * herald.h: publish events to any number of subscribers, none of which can hurt this program.
 *
 * Names: every function is herald_<object>_<verb>, every type herald_<object>, every constant
 * HERALD_<NAME>.
 *
 * Errors: a function that can fail returns a herald_error, HERALD_OK (0) or one of
 * HERALD_ERROR_*; herald_error_string() names it, and herald_last_error() says what exactly was
 * wrong. The numbers are never reused.
 *
 * Structs that the caller fills in begin with their size, so that programs built against an
 * older header go on working:
 *
 *     herald_hub_options options = { 0 }; // in C++ { }
 *     options.size = sizeof options;
 *
 * A field that is 0 or NULL has its default. Fields are only ever appended.
 *
 * Threads: every function can be called from any thread unless it says otherwise.
 *
 * Fork: a hub belongs to the process that opened it. In a forked child its descriptors are
 * closed, and every function that takes it or its VPP API answers HERALD_ERROR_FORKED, but for
 * herald_hub_close(); the child opens a hub of its own.
 */
#ifndef HERALD_H
#define HERALD_H

/* Generated from src/host/capi/ by cbindgen: `make header`. Do not edit. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/**
 * The version of the binary interface. It changes when a program must be built anew.
 */
#define HERALD_ABI_VERSION 1

/**
 * A hub: where events go in, and what subscribers are served from. Opaque.
 */
typedef struct herald_hub herald_hub;

/**
 * A request of a client of the VPP API. It belongs to the handler that it was given to, which ends it
 * by herald_request_reply() or herald_request_end(): at once or later, on any thread, also when the
 * client has gone (then nothing happens) and even after the hub has been closed. Only one thread may use
 * it at a time. Opaque.
 */
typedef struct herald_request herald_request;

/**
 * A VPP API that a hub serves: what events are published by. It belongs to the hub, and is valid until
 * that is closed. Opaque.
 */
typedef struct herald_vpp_api herald_vpp_api;

/**
 * An event of a VPP API with the fields that it is published with. It belongs to the hub, and is valid
 * until that is closed. Opaque.
 */
typedef struct herald_vpp_event herald_vpp_event;

/**
 * HERALD_OK, or one of HERALD_ERROR_*.
 */
typedef int32_t herald_error;

/**
 * Receives the library's own messages. `level` is that of syslog: 3 error, 4 warning, 5 notice,
 * 6 info, 7 debug. `message` is one line without a newline, valid during the call.
 *
 * It is called from the worker thread and from threads that call the library, possibly at the
 * same time, and must not call the library.
 */
typedef void (*herald_log)(void *context, int32_t level, const char *message);

/**
 * How a hub works. A field that is 0 or NULL has its default.
 */
typedef struct herald_hub_options {
    /**
     * sizeof(herald_hub_options).
     */
    size_t size;
    /**
     * Bytes of ring for each thread that publishes, rounded up to a power of two: how far
     * publishers can run ahead of the worker. 4096 to 1073741824; 1048576 by default.
     */
    size_t ring_bytes;
    /**
     * Milliseconds that closing may take to send what is queued; 200 by default.
     */
    uint32_t flush_ms;
    /**
     * Microseconds that the worker looks for more events before it sleeps, when they come close one
     * after the other; 5 by default. A publish while it sleeps has to wake it.
     */
    uint32_t spin_us;
    /**
     * Receives the library's messages; NULL drops them.
     */
    herald_log log;
    /**
     * Handed to `log` as it is; it must stay valid until the hub is closed.
     */
    void *log_context;
} herald_hub_options;

/**
 * The type of a value: one of HERALD_TYPE_*.
 */
typedef uint32_t herald_type;

/**
 * Bytes that the caller owns.
 */
typedef struct herald_bytes {
    /**
     * The first byte; may be NULL if there are none.
     */
    const void *data;
    /**
     * How many.
     */
    size_t length;
} herald_bytes;

/**
 * A value; which member counts is said by the herald_type beside it.
 */
typedef union herald_value {
    /**
     * For HERALD_TYPE_INT.
     */
    int64_t signed_number;
    /**
     * For HERALD_TYPE_UINT.
     */
    uint64_t unsigned_number;
    /**
     * For HERALD_TYPE_FLOAT: an IEEE 754 double.
     */
    double floating;
    /**
     * For HERALD_TYPE_BOOL.
     */
    bool boolean;
    /**
     * For HERALD_TYPE_STRING and HERALD_TYPE_BYTES.
     */
    struct herald_bytes bytes;
} herald_value;

/**
 * A parameter of an event. The herald_param_* functions make one.
 */
typedef struct herald_param {
    /**
     * The name, UTF-8; NULL or empty if the parameter has none.
     */
    const char *name;
    /**
     * The type of the value.
     */
    herald_type type;
    /**
     * The value.
     */
    union herald_value value;
} herald_param;

/**
 * What can happen to an L2TP session or tunnel: one of HERALD_L2TP_*.
 */
typedef uint32_t herald_l2tp_kind;

/**
 * What happens when a subscriber's queue is full: one of HERALD_OVERFLOW_*.
 */
typedef uint32_t herald_overflow;

/**
 * How an event socket is served. A field that is 0 or NULL has its default.
 */
typedef struct herald_event_sock_options {
    /**
     * sizeof(herald_event_sock_options).
     */
    size_t size;
    /**
     * Where to listen; at most 107 bytes. "/tmp/openl2tpd.evt" by default.
     */
    const char *path;
    /**
     * Permission bits of the socket; 0660 by default.
     */
    uint32_t mode;
    /**
     * Clients at once, up to 4096; 5 by default. One more is accepted and closed at once.
     */
    uint32_t max_clients;
    /**
     * Owner of the socket, a name or a number; NULL leaves it as it is.
     */
    const char *owner;
    /**
     * Group of the socket, a name or a number; NULL leaves it as it is.
     */
    const char *group;
    /**
     * User ids that may connect. With both lists empty, everybody whom the mode lets in.
     */
    const uint32_t *allow_uids;
    /**
     * How many there are.
     */
    size_t allow_uids_count;
    /**
     * Primary group ids that may connect.
     */
    const uint32_t *allow_gids;
    /**
     * How many there are.
     */
    size_t allow_gids_count;
    /**
     * Bytes that may wait for one client, 4096 to 1073741824; 262144 by default.
     */
    size_t queue_bytes;
    /**
     * What happens when that many wait.
     */
    herald_overflow overflow;
} herald_event_sock_options;

/**
 * How the events of a datagram subscriber are written: one of HERALD_FORMAT_*.
 */
typedef uint32_t herald_format;

/**
 * A datagram subscriber. A field that is 0 or NULL has its default.
 */
typedef struct herald_datagram_options {
    /**
     * sizeof(herald_datagram_options).
     */
    size_t size;
    /**
     * Where it listens: "udp:host:port", "udp:[v6]:port" or "unix:/path". Must be given. A host
     * name is looked up once, during the call.
     */
    const char *to;
    /**
     * Names of the events that it gets; '*' stands for any characters. By default all. One that
     * lists "E_HERALD_EVENTS_LOST" to the letter is told, by that event, how many were dropped
     * (its parameter count) at the place in its stream where they are missing.
     */
    const char *const *events;
    /**
     * How many there are.
     */
    size_t events_count;
    /**
     * How they are written; JSON by default.
     */
    herald_format format;
    /**
     * Seconds after which it gets no more; 0 is never.
     */
    uint32_t expire_s;
    /**
     * Bytes that may wait for it, 4096 to 1073741824; 1048576 by default.
     */
    size_t queue_bytes;
    /**
     * What happens when that many wait; HERALD_OVERFLOW_DISCONNECT ends the subscription.
     */
    herald_overflow overflow;
    /**
     * Bytes of the socket's send buffer, which bounds the size of a unix datagram; 0 is the
     * system's default. UDP carries events of up to 65457 bytes.
     */
    uint32_t send_buffer;
} herald_datagram_options;

/**
 * What a hub has counted since it was opened.
 */
typedef struct herald_stats {
    /**
     * sizeof(herald_stats), to be set by the caller.
     */
    size_t size;
    /**
     * Events that were published.
     */
    uint64_t published;
    /**
     * Events that found the ring of their thread full; no subscriber got them.
     */
    uint64_t ring_full;
    /**
     * Events handed to the kernel whole, summed over all subscribers.
     */
    uint64_t delivered;
    /**
     * Events that a subscriber asked for and did not get, summed over all subscribers.
     */
    uint64_t dropped;
    /**
     * Subscribers that there are now.
     */
    uint64_t subscribers;
    /**
     * Subscribers that were turned away: too many, or not allowed.
     */
    uint64_t refused;
    /**
     * Subscribers that were disconnected for breaking their protocol.
     */
    uint64_t protocol_errors;
    /**
     * Subscribers that were disconnected because their queue was full.
     */
    uint64_t overflowed;
    /**
     * Requests of subscribers that were dropped because they were none of the server's: unknown
     * messages, and what was sent in another client's name.
     */
    uint64_t ignored;
    /**
     * Datagrams that had to wait.
     */
    uint64_t queued;
    /**
     * Attempts to send a datagram that waited.
     */
    uint64_t retried;
    /**
     * Of those dropped: datagrams at whose address nobody listened.
     */
    uint64_t dropped_gone;
    /**
     * Of those dropped: datagrams larger than their transport carries.
     */
    uint64_t dropped_too_large;
    /**
     * Of those dropped: datagrams that the system refused. What is in none of these three found too
     * much waiting already.
     */
    uint64_t dropped_error;
} herald_stats;

/**
 * What has been counted for one subscriber that there is now.
 */
typedef struct herald_subscriber_stats {
    /**
     * Unique within its server, in the order of arrival, from 1.
     */
    uint64_t id;
    /**
     * The process at the other end, 0 if it is not known.
     */
    uint32_t pid;
    /**
     * The user at the other end.
     */
    uint32_t uid;
    /**
     * Events handed to the kernel whole.
     */
    uint64_t delivered;
    /**
     * Events dropped on the way to it.
     */
    uint64_t dropped;
    /**
     * Bytes that wait for it now.
     */
    uint64_t queued_bytes;
} herald_subscriber_stats;

/**
 * Answers a request, or keeps it to answer it later. Called on the worker thread of the hub: until it
 * returns, no event of the hub goes out. It may publish; it must not close the hub or serve on it.
 *
 * Replies go out in the order of a client's requests: what it asks after this one, GoVPP's health checks
 * among it, waits until this one is answered.
 */
typedef void (*herald_request_handler)(void *context, struct herald_request *request);

/**
 * Which requests a handler answers.
 */
typedef struct herald_handler {
    /**
     * The name of the request, such as "light_set", as its .api file defines it. Registrations for
     * events ("want_...") that have a field "enable" or "enable_disable" are answered by the library.
     */
    const char *request;
    /**
     * Answers it. Must not be NULL.
     */
    herald_request_handler handle;
    /**
     * Handed to `handle` as it is; it must stay valid until the hub is closed.
     */
    void *context;
} herald_handler;

/**
 * How a VPP API is served. A field that is 0 or NULL has its default.
 */
typedef struct herald_vpp_api_options {
    /**
     * sizeof(herald_vpp_api_options).
     */
    size_t size;
    /**
     * Where to listen; at most 107 bytes. "/run/herald/api.sock" by default.
     */
    const char *path;
    /**
     * Permission bits of the socket; 0660 by default.
     */
    uint32_t mode;
    /**
     * Clients at once, up to 4096; 64 by default. One more is accepted and closed at once.
     */
    uint32_t max_clients;
    /**
     * Owner of the socket, a name or a number; NULL leaves it as it is.
     */
    const char *owner;
    /**
     * Group of the socket, a name or a number; NULL leaves it as it is.
     */
    const char *group;
    /**
     * User ids that may connect. With both lists empty, everybody whom the mode lets in.
     */
    const uint32_t *allow_uids;
    /**
     * How many there are.
     */
    size_t allow_uids_count;
    /**
     * Primary group ids that may connect.
     */
    const uint32_t *allow_gids;
    /**
     * How many there are.
     */
    size_t allow_gids_count;
    /**
     * Bytes of events that may wait for one client, 4096 to 1073741824; 1048576 by default. Replies
     * have room beside them.
     */
    size_t queue_bytes;
    /**
     * What happens when that many wait.
     */
    herald_overflow overflow;
    /**
     * Bytes of the longest message that is taken from a client, 128 or more; 65536 by default. Whoever sends more is
     * disconnected.
     */
    uint32_t message_bytes;
    /**
     * Directories whose .api and .api.json files are served. What they import is looked for there, in
     * the share/vpp/api of an installed VPP, and among the common types that the library has built in.
     */
    const char *const *api_directories;
    /**
     * How many there are. With none, only the built-in modules are served: memclnt, vpe and herald.
     */
    size_t api_directories_count;
    /**
     * The version that show_version answers, up to 31 bytes; herald_version() by default.
     */
    const char *version;
    /**
     * What answers requests. A request that is not here is answered with UNIMPLEMENTED (-9), a dump
     * with nothing.
     */
    const struct herald_handler *handlers;
    /**
     * How many there are.
     */
    size_t handlers_count;
} herald_vpp_api_options;

/**
 * Success.
 */
#define HERALD_OK 0

/**
 * A pointer is NULL that must not be.
 */
#define HERALD_ERROR_NULL 1

/**
 * An argument is out of its range, or text is not UTF-8.
 */
#define HERALD_ERROR_INVALID 2

/**
 * The size in the first field of a struct is wrong.
 */
#define HERALD_ERROR_SIZE 3

/**
 * The system refused something.
 */
#define HERALD_ERROR_SYSTEM 4

/**
 * Another process serves this socket.
 */
#define HERALD_ERROR_IN_USE 5

/**
 * Something that is no socket of ours stands at this path.
 */
#define HERALD_ERROR_IN_THE_WAY 6

/**
 * The path does not fit into a socket address (107 bytes).
 */
#define HERALD_ERROR_PATH_TOO_LONG 7

/**
 * Events come faster than the worker takes them; this one is counted as lost, and subscribers
 * are told.
 */
#define HERALD_ERROR_RING_FULL 8

/**
 * The event is larger than the ring, has more than 65535 parameters, or a name is longer than 65535
 * bytes.
 */
#define HERALD_ERROR_TOO_LARGE 9

/**
 * The hub is closed.
 */
#define HERALD_ERROR_CLOSED 10

/**
 * The hub belongs to the parent of this forked process.
 */
#define HERALD_ERROR_FORKED 11

/**
 * A defect of the library; details are on standard error.
 */
#define HERALD_ERROR_INTERNAL 12

/**
 * The hub's worker has ended on its own, or its descriptors were closed by somebody else; close
 * the hub and open another.
 */
#define HERALD_ERROR_FAILED 13

/**
 * An .api or api.json file cannot be read or is wrong, or modules cannot be served together.
 */
#define HERALD_ERROR_API 14

/**
 * There is no such message, it has no such field, or a value or its bytes do not fit it.
 */
#define HERALD_ERROR_MESSAGE 15

/**
 * E_L2TP_SESSION_CREATED (tunnel_id, session_id)
 */
#define HERALD_L2TP_SESSION_CREATED 0

/**
 * E_L2TP_SESSION_DELETED (tunnel_id, session_id)
 */
#define HERALD_L2TP_SESSION_DELETED 1

/**
 * E_L2TP_SESSION_UP (tunnel_id, session_id, peer_tunnel_id, peer_session_id)
 */
#define HERALD_L2TP_SESSION_UP 2

/**
 * E_L2TP_SESSION_DOWN (tunnel_id, session_id)
 */
#define HERALD_L2TP_SESSION_DOWN 3

/**
 * E_L2TP_SESSION_MODIFIED (tunnel_id, session_id)
 */
#define HERALD_L2TP_SESSION_MODIFIED 4

/**
 * E_L2TP_TUNNEL_CREATED (tunnel_id)
 */
#define HERALD_L2TP_TUNNEL_CREATED 5

/**
 * E_L2TP_TUNNEL_DELETED (tunnel_id)
 */
#define HERALD_L2TP_TUNNEL_DELETED 6

/**
 * E_L2TP_TUNNEL_UP (tunnel_id, peer_tunnel_id)
 */
#define HERALD_L2TP_TUNNEL_UP 7

/**
 * E_L2TP_TUNNEL_DOWN (tunnel_id)
 */
#define HERALD_L2TP_TUNNEL_DOWN 8

/**
 * E_L2TP_TUNNEL_MODIFIED (tunnel_id)
 */
#define HERALD_L2TP_TUNNEL_MODIFIED 9

/**
 * No value.
 */
#define HERALD_TYPE_NULL 0

/**
 * value.signed_number
 */
#define HERALD_TYPE_INT 1

/**
 * value.unsigned_number
 */
#define HERALD_TYPE_UINT 2

/**
 * value.floating
 */
#define HERALD_TYPE_FLOAT 3

/**
 * value.boolean
 */
#define HERALD_TYPE_BOOL 4

/**
 * value.bytes, which are text, UTF-8 by convention
 */
#define HERALD_TYPE_STRING 5

/**
 * value.bytes, which are no text
 */
#define HERALD_TYPE_BYTES 6

/**
 * The new event is dropped and counted.
 */
#define HERALD_OVERFLOW_DROP_NEWEST 0

/**
 * The oldest events that wait are dropped and counted.
 */
#define HERALD_OVERFLOW_DROP_OLDEST 1

/**
 * The subscriber is disconnected.
 */
#define HERALD_OVERFLOW_DISCONNECT 2

/**
 * JSON-RPC 2.0 notifications, as OpenSIPS 3.1 and later write them.
 */
#define HERALD_FORMAT_JSON 0

/**
 * The text grammar of OpenSIPS 2.4 and 3.0.
 */
#define HERALD_FORMAT_TEXT 1

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The binary interface of the library that is loaded; to be compared with HERALD_ABI_VERSION.
 */
uint32_t herald_abi_version(void);

/**
 * The version of the library, such as "0.1.0". The string is static.
 */
const char *herald_version(void);

/**
 * What an error number means, in one line of English; "unknown error" for a number that is none.
 * The string is static.
 */
const char *herald_error_string(herald_error error);

/**
 * What exactly was wrong in the last call on this thread that failed, naming the argument; empty
 * if none has. Publishing leaves no detail beyond its error number.
 *
 * The string belongs to the library and stays valid until the next failing call on this thread.
 */
const char *herald_last_error(void);

/**
 * Opens a hub and starts its worker thread, which blocks all signals.
 *
 * `options` may be NULL. `*hub` is owned by the caller, who gives it back with
 * herald_hub_close(); on error it is NULL.
 *
 * Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_SIZE, HERALD_ERROR_SYSTEM (no
 * thread or no descriptors).
 */
herald_error herald_hub_open(const struct herald_hub_options *options, struct herald_hub **hub);

/**
 * Closes a hub: sends what is queued, for at most `flush_ms`, disconnects every subscriber,
 * removes the sockets and ends the worker thread. Sets `*hub` to NULL, so that closing it again
 * does nothing.
 *
 * A worker that is held up by the program's own log or handler is waited for a second longer, and then
 * left behind, which the log is told: it ends when it is let go, and may log until then.
 *
 * No other thread may use the hub any more. In a forked child it frees the child's copy, and
 * leaves the parent's subscribers and sockets alone.
 *
 * Errors: HERALD_ERROR_NULL if `hub` is NULL.
 */
herald_error herald_hub_close(struct herald_hub **hub);

/**
 * Prepares the calling thread for publishing, so that its first publish allocates nothing. Only
 * a thread whose publishing can be left by siglongjmp() needs it; the others' first publish does
 * the same.
 *
 * Errors: HERALD_ERROR_NULL, HERALD_ERROR_CLOSED, HERALD_ERROR_FORKED, HERALD_ERROR_FAILED.
 */
herald_error herald_hub_attach_thread(struct herald_hub *hub);

/**
 * Publishes an event: a name and `count` parameters. Everything is copied before it returns.
 *
 * Never blocks; makes no system call while the worker is awake, and at most two otherwise.
 * Allocates only on a thread's first publish, and for more than 32 parameters. Events of one
 * thread reach every subscriber in order. It can be left by siglongjmp() at any instruction: the
 * event is then published or not, and the hub stays whole.
 *
 * Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID (no name, a name that is not UTF-8, an unknown
 * type), HERALD_ERROR_RING_FULL, HERALD_ERROR_TOO_LARGE, HERALD_ERROR_CLOSED,
 * HERALD_ERROR_FORKED, HERALD_ERROR_FAILED.
 */
herald_error herald_publish(struct herald_hub *hub,
                            const char *name,
                            const struct herald_param *params,
                            size_t count);

/**
 * Publishes an L2TP event. `kind` is one of HERALD_L2TP_*; identifiers that it has no parameter
 * for are ignored. Costs and errors are those of herald_publish().
 */
herald_error herald_publish_l2tp(struct herald_hub *hub,
                                 herald_l2tp_kind kind,
                                 uint16_t tunnel_id,
                                 uint16_t session_id,
                                 uint16_t peer_tunnel_id,
                                 uint16_t peer_session_id);

/**
 * The message as the client sent it, its id included: a packed struct as herald-apigen makes it, in
 * network byte order. It has been checked to be as long as its fields say. The bytes belong to the
 * request.
 *
 * Errors: HERALD_ERROR_NULL.
 */
herald_error herald_request_message(const struct herald_request *request,
                                    struct herald_bytes *message);

/**
 * Reads a field of a request, such as "enable" or "address.af", into the type and the value of `field`;
 * its name is set to NULL. Texts come without their padding and are not ended by a NUL; they and bytes
 * belong to the request.
 *
 * Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_MESSAGE (no such field; an array of
 * anything but u8 can only be read from herald_request_message()).
 */
herald_error herald_request_field(const struct herald_request *request,
                                  const char *name,
                                  struct herald_param *field);

/**
 * Sends one of the details of a dump: a parameter for each field, as herald_vpp_api_publish() takes
 * them. `context` is filled in. After the last, end the request.
 *
 * Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_MESSAGE (the request is no dump, or a
 * field does not fit).
 */
herald_error herald_request_details(struct herald_request *request,
                                    const struct herald_param *params,
                                    size_t count);

/**
 * Replies to a request and ends it: a parameter for each field, as herald_vpp_api_publish() takes them.
 * `context` and `retval` are filled in. Of a dump with a cursor the reply comes after the details. Sets
 * `*request` to NULL; after an error it is still there, to be replied to or ended.
 *
 * Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_MESSAGE (the request has no reply, or a
 * field does not fit).
 */
herald_error herald_request_reply(struct herald_request **request,
                                  int32_t retval,
                                  const struct herald_param *params,
                                  size_t count);

/**
 * Ends a request without a reply: a dump after its details, or a request that needs no answer. A client
 * that waits for a reply is answered UNSPECIFIED (-1). Sets `*request` to NULL, so that ending it again
 * does nothing.
 *
 * Errors: HERALD_ERROR_NULL if `request` is NULL.
 */
herald_error herald_request_end(struct herald_request **request);

/**
 * Serves the event socket of openl2tpd on a hub. The L2TP events go to its clients; other events
 * it cannot express. It is served until the hub is closed.
 *
 * `options` may be NULL, and is copied. A dead socket at the path is replaced; a live one, a
 * directory, a symbolic link or a file is left alone.
 *
 * Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_SIZE, HERALD_ERROR_SYSTEM,
 * HERALD_ERROR_IN_USE, HERALD_ERROR_IN_THE_WAY, HERALD_ERROR_PATH_TOO_LONG, HERALD_ERROR_CLOSED,
 * HERALD_ERROR_FORKED, HERALD_ERROR_FAILED.
 */
herald_error herald_hub_serve_event_sock(struct herald_hub *hub,
                                         const struct herald_event_sock_options *options);

/**
 * Sends a hub's events to a datagram subscriber, one datagram each, until it expires or the hub is
 * closed. One that is gone, or does not keep up, loses only its own events, and they are counted.
 *
 * `options` is copied.
 *
 * Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID (an address that is none, a host that cannot be
 * resolved), HERALD_ERROR_SIZE, HERALD_ERROR_SYSTEM, HERALD_ERROR_CLOSED, HERALD_ERROR_FORKED,
 * HERALD_ERROR_FAILED.
 */
herald_error herald_hub_add_datagram(struct herald_hub *hub,
                                     const struct herald_datagram_options *options);

/**
 * Reads what a hub has counted. `stats->size` must be set. A field that this version of the library does
 * not know is set to 0.
 *
 * Not to be called where siglongjmp() can leave it: it takes a lock.
 *
 * Errors: HERALD_ERROR_NULL, HERALD_ERROR_SIZE, HERALD_ERROR_FORKED.
 */
herald_error herald_hub_stats(struct herald_hub *hub,
                              struct herald_stats *stats);

/**
 * Reads what has been counted for each subscriber. Writes up to `capacity` elements to `list`
 * (which may be NULL if that is 0), each `element_size` bytes apart, and the number of
 * subscribers that there are to `*count`. `element_size` is sizeof(herald_subscriber_stats).
 *
 * Not to be called where siglongjmp() can leave it: it takes a lock.
 *
 * Errors: HERALD_ERROR_NULL, HERALD_ERROR_SIZE, HERALD_ERROR_FORKED.
 */
herald_error herald_hub_subscribers(struct herald_hub *hub,
                                    struct herald_subscriber_stats *list,
                                    size_t element_size,
                                    size_t capacity,
                                    size_t *count);

/**
 * Serves the VPP binary API on a hub, for GoVPP, vpp_papi and other clients of VPP's API socket, until
 * the hub is closed. Registrations for events follow from the `service` definitions of the .api files.
 * Herald's own module is always served: with it clients get every event that is published by
 * herald_publish() and herald_publish_l2tp().
 *
 * `options` may be NULL, and is copied. `*api` belongs to the hub; `api` may be NULL.
 *
 * Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_SIZE, HERALD_ERROR_API (with file,
 * line and column of what is wrong in herald_last_error()), HERALD_ERROR_SYSTEM, HERALD_ERROR_IN_USE,
 * HERALD_ERROR_IN_THE_WAY, HERALD_ERROR_PATH_TOO_LONG, HERALD_ERROR_CLOSED, HERALD_ERROR_FORKED,
 * HERALD_ERROR_FAILED.
 */
herald_error herald_hub_serve_vpp_api(struct herald_hub *hub,
                                      const struct herald_vpp_api_options *options,
                                      struct herald_vpp_api **api);

/**
 * Publishes an event of an .api file to every client that has registered for it: its name, and a
 * parameter for each field. Everything is copied before it returns.
 *
 * A field of a typedef is named "data.ue_id"; an element of an array "ports[0]" or "ports[0].name",
 * elements in their order, and an array of u8 takes bytes. An enum takes a number or the name of an
 * entry. The count of an array, `client_index` and `pid` are filled in; other fields that are not given
 * are zero. What does not fit is an error and never cut: a number out of range, a text longer than its
 * field, an array longer than its count can say.
 *
 * The event is encoded and checked on the calling thread; otherwise costs are those of
 * herald_publish(). Elements of arrays, and an event that is longer than all before it on this thread,
 * cost allocations: it is not to be called where siglongjmp() can leave it.
 *
 * Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_MESSAGE (no such event, no such field,
 * or a value that does not fit), HERALD_ERROR_RING_FULL, HERALD_ERROR_TOO_LARGE, HERALD_ERROR_CLOSED,
 * HERALD_ERROR_FORKED, HERALD_ERROR_FAILED.
 */
herald_error herald_vpp_api_publish(const struct herald_vpp_api *api,
                                    const char *event,
                                    const struct herald_param *params,
                                    size_t count);

/**
 * Looks an event and its fields up, once, for what is published very often: herald_vpp_event_publish()
 * then takes their values in this order, and compares no names. Fields are named as for
 * herald_vpp_api_publish(), but for elements of arrays, which cannot be looked up.
 *
 * `*prepared` belongs to the hub, and can be used by any number of threads. Prepare an event once and
 * not each time: it takes memory until the hub is closed. Not to be called where siglongjmp() can leave
 * it.
 *
 * Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_MESSAGE (no such event, or no such
 * field), HERALD_ERROR_FORKED; then `*prepared` is NULL.
 */
herald_error herald_vpp_api_prepare(const struct herald_vpp_api *api,
                                    const char *event,
                                    const char *const *fields,
                                    size_t count,
                                    struct herald_vpp_event **prepared);

/**
 * Publishes an event with values for the fields that it was prepared with, in their order: what
 * herald_vpp_api_publish() does by names. The names of the parameters are not looked at, and may be
 * NULL; a value of HERALD_TYPE_NULL leaves its field zero.
 *
 * What is checked, and costs but for the names, are those of herald_vpp_api_publish().
 *
 * Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID (another number of values than of fields, or an
 * unknown type), HERALD_ERROR_MESSAGE (a value that does not fit), HERALD_ERROR_RING_FULL,
 * HERALD_ERROR_TOO_LARGE, HERALD_ERROR_CLOSED, HERALD_ERROR_FORKED, HERALD_ERROR_FAILED.
 */
herald_error herald_vpp_event_publish(const struct herald_vpp_event *event,
                                      const struct herald_param *params,
                                      size_t count);

/**
 * Publishes an event that is encoded already: a packed struct as herald-apigen makes it, in network byte
 * order, with the elements of its variable-length array after it. `_vl_msg_id`, `client_index` and `pid`
 * are filled in. That it is as long as its fields say is checked.
 *
 * Costs are those of herald_vpp_api_publish().
 *
 * Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_MESSAGE (no such event, or bytes that are
 * not as long as it), HERALD_ERROR_RING_FULL, HERALD_ERROR_TOO_LARGE, HERALD_ERROR_CLOSED,
 * HERALD_ERROR_FORKED, HERALD_ERROR_FAILED.
 */
herald_error herald_vpp_api_publish_packed(const struct herald_vpp_api *api,
                                           const char *event,
                                           const void *message,
                                           size_t length);

/**
 * Says how many clients have registered for an event, so that a host can save itself the trouble of
 * making one that nobody gets.
 *
 * Errors: HERALD_ERROR_NULL, HERALD_ERROR_INVALID, HERALD_ERROR_MESSAGE (no such event),
 * HERALD_ERROR_FORKED.
 */
herald_error herald_vpp_api_listeners(const struct herald_vpp_api *api,
                                      const char *event,
                                      uint32_t *count);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#ifdef __cplusplus
extern "C" {
#endif

/* A parameter whose value is a signed number. The name is not copied. */
static inline herald_param herald_param_int(const char *name, int64_t value)
{
    herald_param param;
    param.name = name;
    param.type = HERALD_TYPE_INT;
    param.value.bytes.data = NULL;
    param.value.bytes.length = 0;
    param.value.signed_number = value;
    return param;
}

/* A parameter whose value is an unsigned number. The name is not copied. */
static inline herald_param herald_param_uint(const char *name, uint64_t value)
{
    herald_param param;
    param.name = name;
    param.type = HERALD_TYPE_UINT;
    param.value.bytes.data = NULL;
    param.value.bytes.length = 0;
    param.value.unsigned_number = value;
    return param;
}

/* A parameter whose value is a floating-point number. The name is not copied. */
static inline herald_param herald_param_float(const char *name, double value)
{
    herald_param param;
    param.name = name;
    param.type = HERALD_TYPE_FLOAT;
    param.value.bytes.data = NULL;
    param.value.bytes.length = 0;
    param.value.floating = value;
    return param;
}

/* A parameter whose value is true or false. The name is not copied. */
static inline herald_param herald_param_bool(const char *name, bool value)
{
    herald_param param;
    param.name = name;
    param.type = HERALD_TYPE_BOOL;
    param.value.bytes.data = NULL;
    param.value.bytes.length = 0;
    param.value.boolean = value;
    return param;
}

/* A parameter whose value is a C string. Neither name nor value is copied; NULL is no value. */
static inline herald_param herald_param_string(const char *name, const char *value)
{
    herald_param param;
    param.name = name;
    param.type = value ? HERALD_TYPE_STRING : HERALD_TYPE_NULL;
    param.value.bytes.data = value;
    param.value.bytes.length = value ? strlen(value) : 0;
    return param;
}

/* A parameter whose value is bytes. Neither name nor value is copied. */
static inline herald_param herald_param_bytes(const char *name, const void *data, size_t length)
{
    herald_param param;
    param.name = name;
    param.type = HERALD_TYPE_BYTES;
    param.value.bytes.data = data;
    param.value.bytes.length = length;
    return param;
}

#ifdef __cplusplus
}
#endif

#endif /* HERALD_H */

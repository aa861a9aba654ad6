/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The promise: a program that knows nothing of VPP publishes events and answers requests by an .api
 * file alone, and whatever does not fit it is answered with an error.
 */
#include "check.h"

static const char api_text[] =
    "service { rpc want_lights returns want_lights_reply events light_event; };\n"
    "enum colour : u8 { RED = 1, GREEN = 2, };\n"
    "typedef lamp { u32 number; vl_api_colour_t colour; };\n"
    "autoreply define want_lights { u32 client_index; u32 context; bool enable_disable; u32 pid; };\n"
    "define light_event { u32 client_index; u32 pid; vl_api_lamp_t lamp; f64 power; u8 n; u16 watts[n]; };\n"
    "service { rpc want_notes returns want_notes_reply events note_event; };\n"
    "autoreply define want_notes { u32 client_index; u32 context; bool enable_disable; u32 pid; };\n"
    "define note_event { u32 client_index; u32 pid; u16 level; i16 change; bool on; u64 serial;\n"
    "  vl_api_colour_t colour; string name[4]; u8 n; u8 text[n]; };\n"
    "define light_set { u32 client_index; u32 context; i16 level; bool on; string name[8]; };\n"
    "define light_set_reply { u32 context; i32 retval; u8 was; };\n"
    "define lights_dump { u32 client_index; u32 context; };\n"
    "define lights_details { u32 context; vl_api_lamp_t lamp; };\n";

/* Bytes of a string literal. */
#define BYTES(text) text, sizeof(text) - 1

static herald_vpp_api_options options_of(const char *path, const char *const *directory)
{
    herald_vpp_api_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.path = path;
    options.api_directories = directory;
    options.api_directories_count = 1;
    return options;
}

static const char *api_directory(const char *text)
{
    const char *directory = path_of("api");
    char file[300];
    FILE *written;
    if (mkdir(directory, 0755) != 0) SAME(errno, EEXIST);
    snprintf(file, sizeof file, "%s/lights.api", directory);
    written = fopen(file, "we");
    CHECK(written != NULL && fputs(text, written) >= 0 && fclose(written) == 0);
    return directory;
}

/* ---- a client, its bytes written down from the protocol ---- */

typedef struct vpp_client {
    int fd;
    unsigned char index[4];
    unsigned char message[65536];
    size_t length;
    unsigned char table[65536];
    size_t table_length;
} vpp_client;

static void read_exactly(int fd, unsigned char *to, size_t length)
{
    while (length > 0) {
        ssize_t got = read(fd, to, length);
        CHECK(got > 0);
        to += got;
        length -= (size_t)got;
    }
}

static void receive(vpp_client *c)
{
    unsigned char header[16];
    read_exactly(c->fd, header, sizeof header);
    c->length = (size_t)header[10] << 8 | header[11];
    CHECK(header[8] == 0 && header[9] == 0 && c->length >= 2);
    read_exactly(c->fd, c->message, c->length);
}

static void say(vpp_client *c, const void *message, size_t length)
{
    unsigned char frame[512] = {0};
    CHECK(length < sizeof frame - 16);
    frame[11] = (unsigned char)length;
    frame[10] = (unsigned char)(length >> 8);
    memcpy(frame + 16, message, length);
    SAME(send(c->fd, frame, 16 + length, MSG_NOSIGNAL), (long long)(16 + length));
}

static vpp_client connect_to(const char *path)
{
    static vpp_client c;
    unsigned char create[70] = {0, 15};
    c.fd = try_connect(path);
    CHECK(c.fd >= 0);
    say(&c, create, sizeof create);
    receive(&c);
    CHECK(c.message[0] == 0 && c.message[1] == 16);
    memcpy(c.index, c.message + 14, 4);
    memcpy(c.table, c.message, c.length);
    c.table_length = c.length;
    return c;
}

/* From the table of id and name_crc that the client was given. */
static uint16_t id_of(const vpp_client *c, const char *name)
{
    size_t at;
    for (at = 20; at + 66 <= c->table_length; at += 66) {
        const char *entry = (const char *)c->table + at + 2;
        if (strncmp(entry, name, strlen(name)) == 0 && strlen(entry) == strlen(name) + 9)
            return (uint16_t)(c->table[at] << 8 | c->table[at + 1]);
    }
    CHECK(!"no such message");
    return 0;
}

/* Sends a request with the context "ctxt" and these bytes after it. */
static void ask(vpp_client *c, const char *name, const void *body, size_t length)
{
    unsigned char message[256];
    uint16_t id = id_of(c, name);
    message[0] = (unsigned char)(id >> 8);
    message[1] = (unsigned char)id;
    memcpy(message + 2, c->index, 4);
    memcpy(message + 6, "ctxt", 4);
    if (length > 0) memcpy(message + 10, body, length);
    say(c, message, 10 + length);
}

/* The next message has this name, and these bytes after its id. */
static void expect(vpp_client *c, const char *name, const void *body, size_t length)
{
    uint16_t id = id_of(c, name);
    receive(c);
    SAME(c->message[0] << 8 | c->message[1], id);
    SAME(c->length, 2 + length);
    CHECK(memcmp(c->message + 2, body, length) == 0);
}

/* ---- cases ---- */

static void refused_options(void)
{
    const char *directory = api_directory(api_text), *nowhere = "/nonexistent/api";
    herald_vpp_api_options good = options_of(path_of("api.sock"), &directory), bad;
    herald_handler handler = {"light_set", NULL, NULL};
    herald_vpp_api *api = (herald_vpp_api *)&bad; /* anything that is not NULL */
    herald_hub *hub = open_hub(NULL);

    REFUSED(herald_hub_serve_vpp_api(NULL, &good, &api), HERALD_ERROR_NULL, "hub");
    CHECK(api == NULL);
#define BAD(field, value, error, named) \
    do { \
        bad = good; \
        bad.field = value; \
        REFUSED(herald_hub_serve_vpp_api(hub, &bad, &api), error, named); \
        CHECK(api == NULL); \
    } while (0)
    BAD(mode, 01000, HERALD_ERROR_INVALID, "options.mode");
    BAD(max_clients, 4097, HERALD_ERROR_INVALID, "options.max_clients");
    BAD(queue_bytes, 1, HERALD_ERROR_INVALID, "options.queue_bytes");
    BAD(overflow, 3, HERALD_ERROR_INVALID, "options.overflow");
    BAD(message_bytes, 127, HERALD_ERROR_INVALID, "options.message_bytes");
    BAD(version, "\xff", HERALD_ERROR_INVALID, "options.version");
    BAD(handlers_count, 1, HERALD_ERROR_NULL, "options.handlers");
    BAD(api_directories, NULL, HERALD_ERROR_NULL, "options.api_directories");
    BAD(api_directories, &nowhere, HERALD_ERROR_API, "/nonexistent/api");
    BAD(size, 7, HERALD_ERROR_SIZE, "options");
    good.handlers = &handler;
    BAD(handlers_count, 1, HERALD_ERROR_NULL, "handle");
    api_directory("define x\n{ u33 y; };");
    REFUSED(herald_hub_serve_vpp_api(hub, &good, &api), HERALD_ERROR_API, "lights.api:2:3: ");
    close_hub(hub);
}

static void null_pointers(void)
{
    const char *directory = api_directory(api_text);
    herald_vpp_api_options options = options_of(path_of("api.sock"), &directory);
    herald_hub *hub = open_hub(NULL);
    herald_vpp_api *api = NULL;
    herald_request *none = NULL;
    herald_param param = herald_param_uint("lamp.number", 1);
    herald_bytes bytes;
    uint32_t count;

    SAME(herald_hub_serve_vpp_api(hub, &options, &api), HERALD_OK);
    REFUSED(herald_vpp_api_publish(NULL, "light_event", &param, 1), HERALD_ERROR_NULL, "api");
    REFUSED(herald_vpp_api_publish(api, NULL, &param, 1), HERALD_ERROR_NULL, "event");
    REFUSED(herald_vpp_api_publish(api, "light_event", NULL, 1), HERALD_ERROR_NULL, "params");
    REFUSED(herald_vpp_api_publish_packed(NULL, "light_event", "", 0), HERALD_ERROR_NULL, "api");
    REFUSED(herald_vpp_api_publish_packed(api, NULL, "", 0), HERALD_ERROR_NULL, "event");
    REFUSED(herald_vpp_api_publish_packed(api, "light_event", NULL, 9), HERALD_ERROR_NULL, "message");
    REFUSED(herald_vpp_api_listeners(NULL, "light_event", &count), HERALD_ERROR_NULL, "api");
    REFUSED(herald_vpp_api_listeners(api, "light_event", NULL), HERALD_ERROR_NULL, "count");
    REFUSED(herald_vpp_api_listeners(api, "light_set", &count), HERALD_ERROR_MESSAGE, "light_set");
    REFUSED(herald_request_reply(NULL, 0, NULL, 0), HERALD_ERROR_NULL, "request");
    REFUSED(herald_request_reply(&none, 0, NULL, 0), HERALD_ERROR_NULL, "request");
    REFUSED(herald_request_details(NULL, NULL, 0), HERALD_ERROR_NULL, "request");
    REFUSED(herald_request_field(NULL, "x", &param), HERALD_ERROR_NULL, "request");
    REFUSED(herald_request_message(NULL, &bytes), HERALD_ERROR_NULL, "request");
    REFUSED(herald_request_end(NULL), HERALD_ERROR_NULL, "request");
    SAME(herald_request_end(&none), HERALD_OK);
    close_hub(hub);
}

static void events_by_fields_and_packed(void)
{
    /* client_index, pid, lamp.number, lamp.colour, power (little-endian), n, watts */
    static const char event[] = "ABCD" "\0\0\0\7" "\0\0\1\2" "\2" "\0\0\0\0\0\0\xf8\x3f" "\2" "\0\5\1\0";
    char body[sizeof event - 1], packed[2 + sizeof body];
    const char *directory = api_directory(api_text);
    herald_vpp_api_options options = options_of(path_of("api.sock"), &directory);
    herald_param params[] = {
        herald_param_uint("lamp.number", 0x102),   herald_param_string("lamp.colour", "GREEN"),
        herald_param_float("power", 1.5),          herald_param_int("watts[0]", 5),
        herald_param_uint("watts[1]", 256),
    };
    herald_hub *hub = open_hub(NULL);
    herald_vpp_api *api = NULL;
    uint32_t count = 9;
    vpp_client c;

    SAME(herald_hub_serve_vpp_api(hub, &options, &api), HERALD_OK);
    SAME(herald_vpp_api_listeners(api, "light_event", &count), HERALD_OK);
    SAME(count, 0);
    c = connect_to(options.path);
    ask(&c, "want_lights", BYTES("\1\0\0\0\7"));
    expect(&c, "want_lights_reply", BYTES("ctxt\0\0\0\0"));
    SAME(herald_vpp_api_listeners(api, "light_event", &count), HERALD_OK);
    SAME(count, 1);

    memcpy(body, event, sizeof body);
    memcpy(body, c.index, 4);
    SAME(herald_vpp_api_publish(api, "light_event", params, COUNT_OF(params)), HERALD_OK);
    expect(&c, "light_event", body, sizeof body);
    memset(packed, 0x55, sizeof packed);
    memcpy(packed + 10, event + 8, sizeof body - 8);
    SAME(herald_vpp_api_publish_packed(api, "light_event", packed, sizeof packed), HERALD_OK);
    expect(&c, "light_event", body, sizeof body);

    /* What does not fit is refused, and nothing of it arrives. */
    REFUSED(herald_vpp_api_publish_packed(api, "light_event", packed, sizeof packed - 1),
            HERALD_ERROR_MESSAGE, "light_event");
    REFUSED(herald_vpp_api_publish(api, "light_gone", params, 1), HERALD_ERROR_MESSAGE, "light_gone");
    REFUSED(herald_vpp_api_publish(api, "light_set", params, 1), HERALD_ERROR_MESSAGE, "light_set");
    params[0] = herald_param_uint("lamp.number", (uint64_t)1 << 32);
    REFUSED(herald_vpp_api_publish(api, "light_event", params, 1), HERALD_ERROR_MESSAGE, "lamp.number");
    params[0] = herald_param_string("lamp.colour", "BLUE");
    REFUSED(herald_vpp_api_publish(api, "light_event", params, 1), HERALD_ERROR_MESSAGE, "BLUE");
    params[0] = herald_param_uint("watts[1]", 1);
    REFUSED(herald_vpp_api_publish(api, "light_event", params, 1), HERALD_ERROR_MESSAGE, "watts[1]");
    params[0].type = HERALD_TYPE_BYTES + 1;
    REFUSED(herald_vpp_api_publish(api, "light_event", params, 1), HERALD_ERROR_INVALID, "params[0]");
    ask(&c, "control_ping", "", 0);
    receive(&c);
    SAME(c.message[1], 24);
    close_hub(hub);
    close(c.fd);
}

static void prepared_events(void)
{
    /* client_index, pid, level, change, on, serial, colour, name, n, text */
    static const char event[] =
        "ABCD" "\0\0\0\7" "\1\2" "\xff\xfe" "\1" "\0\0\0\0\0\0\1\0" "\2" "lamp" "\3" "low";
    static const char nothing[] = "ABCD" "\0\0\0\7" "\0\0" "\0\0" "\0" "\0\0\0\0\0\0\0\0" "\0" "\0\0\0\0" "\0";
    const char *names[] = {"level", "text", "change", "on", "serial", "colour", "name"};
    const char *bad[] = {"level", "watts"}, *element = "watts[0]", *odd = "\xff";
    herald_param good[] = {
        herald_param_uint("level", 0x102),  herald_param_bytes("text", "low", 3),
        herald_param_int("change", -2),     herald_param_bool("on", true),
        herald_param_uint("serial", 256),   herald_param_string("colour", "GREEN"),
        herald_param_string("name", "lamp"),
    };
    herald_param params[COUNT_OF(good)];
    char body[sizeof event - 1], empty[sizeof nothing - 1];
    static const char text[256] = "";
    const char *directory = api_directory(api_text);
    herald_vpp_api_options options = options_of(path_of("api.sock"), &directory);
    herald_hub *hub = open_hub(NULL);
    herald_vpp_api *api = NULL;
    herald_vpp_event *prepared = NULL, *other = NULL, *none = NULL;
    vpp_client c;
    size_t at;

    SAME(herald_hub_serve_vpp_api(hub, &options, &api), HERALD_OK);
    SAME(herald_vpp_api_prepare(api, "note_event", names, COUNT_OF(names), &prepared), HERALD_OK);
    SAME(herald_vpp_api_prepare(api, "note_event", NULL, 0, &other), HERALD_OK);
    c = connect_to(options.path);
    ask(&c, "want_notes", BYTES("\1\0\0\0\7"));
    expect(&c, "want_notes_reply", BYTES("ctxt\0\0\0\0"));
    memcpy(body, event, sizeof body);
    memcpy(body, c.index, 4);
    memcpy(empty, nothing, sizeof empty);
    memcpy(empty, c.index, 4);

    SAME(herald_vpp_api_publish(api, "note_event", good, COUNT_OF(good)), HERALD_OK);
    expect(&c, "note_event", body, sizeof body);
    SAME(herald_vpp_event_publish(prepared, good, COUNT_OF(good)), HERALD_OK);
    expect(&c, "note_event", body, sizeof body);
    /* Names are not looked at. */
    memcpy(params, good, sizeof good);
    for (at = 0; at < COUNT_OF(params); at++) params[at].name = at % 2 ? NULL : "\xff";
    params[5] = herald_param_uint(NULL, 2);
    SAME(herald_vpp_event_publish(prepared, params, COUNT_OF(params)), HERALD_OK);
    expect(&c, "note_event", body, sizeof body);
    for (at = 0; at < COUNT_OF(params); at++) params[at] = herald_param_string(NULL, NULL);
    SAME(herald_vpp_event_publish(prepared, params, COUNT_OF(params)), HERALD_OK);
    expect(&c, "note_event", empty, sizeof empty);
    SAME(herald_vpp_event_publish(other, NULL, 0), HERALD_OK);
    expect(&c, "note_event", empty, sizeof empty);

    /* What does not fit is refused, as it is by names, and nothing of it arrives. */
#define UNFIT(number, param, error, named) \
    do { \
        memcpy(params, good, sizeof good); \
        params[number] = param; \
        REFUSED(herald_vpp_event_publish(prepared, params, COUNT_OF(params)), error, named); \
        REFUSED(herald_vpp_api_publish(api, "note_event", params, COUNT_OF(params)), error, named); \
    } while (0)
    UNFIT(0, herald_param_uint("level", 65536), HERALD_ERROR_MESSAGE, "note_event: field 'level'");
    UNFIT(0, herald_param_int("level", -1), HERALD_ERROR_MESSAGE, "u16");
    UNFIT(0, herald_param_string("level", "high"), HERALD_ERROR_MESSAGE, "a whole number");
    UNFIT(1, herald_param_bytes("text", text, 256), HERALD_ERROR_MESSAGE, "255 at most");
    UNFIT(1, herald_param_uint("text", 5), HERALD_ERROR_MESSAGE, "bytes");
    UNFIT(1, herald_param_bytes("text", NULL, 3), HERALD_ERROR_NULL, "params[1]");
    UNFIT(3, herald_param_uint("on", 2), HERALD_ERROR_MESSAGE, "true or false");
    UNFIT(5, herald_param_string("colour", "BLUE"), HERALD_ERROR_MESSAGE, "BLUE");
    UNFIT(6, herald_param_string("name", "lamps"), HERALD_ERROR_MESSAGE, "name");
    params[6].type = HERALD_TYPE_BYTES + 1;
    REFUSED(herald_vpp_event_publish(prepared, params, 7), HERALD_ERROR_INVALID, "params[6].type");
    REFUSED(herald_vpp_event_publish(prepared, good, 6), HERALD_ERROR_INVALID, "7 fields");
    REFUSED(herald_vpp_event_publish(prepared, NULL, 7), HERALD_ERROR_NULL, "params");
    REFUSED(herald_vpp_event_publish(NULL, good, 7), HERALD_ERROR_NULL, "event");

#define UNPREPARED(of, name, fields, count, error, named) \
    do { \
        none = prepared; \
        REFUSED(herald_vpp_api_prepare(of, name, fields, count, &none), error, named); \
        CHECK(none == NULL); \
    } while (0)
    UNPREPARED(NULL, "note_event", names, 7, HERALD_ERROR_NULL, "api");
    UNPREPARED(api, NULL, names, 7, HERALD_ERROR_NULL, "event");
    UNPREPARED(api, "note_event", NULL, 7, HERALD_ERROR_NULL, "fields");
    UNPREPARED(api, "note_gone", names, 7, HERALD_ERROR_MESSAGE, "note_gone");
    UNPREPARED(api, "want_notes", names, 0, HERALD_ERROR_MESSAGE, "want_notes");
    UNPREPARED(api, "note_event", bad, 2, HERALD_ERROR_MESSAGE, "'watts'");
    UNPREPARED(api, "light_event", &element, 1, HERALD_ERROR_MESSAGE, "watts[0]");
    UNPREPARED(api, "note_event", &odd, 1, HERALD_ERROR_INVALID, "fields[]");
    odd = NULL;
    UNPREPARED(api, "note_event", &odd, 1, HERALD_ERROR_NULL, "fields[]");
    REFUSED(herald_vpp_api_prepare(api, "note_event", names, 7, NULL), HERALD_ERROR_NULL, "prepared");

    SAME(herald_vpp_event_publish(prepared, good, COUNT_OF(good)), HERALD_OK);
    expect(&c, "note_event", body, sizeof body);
    close_hub(hub);
    close(c.fd);
}

static herald_request *kept;
static pthread_mutex_t keeping = PTHREAD_MUTEX_INITIALIZER;

static void set(void *context, herald_request *request)
{
    herald_param level, on, name, was = herald_param_uint("was", 4);
    herald_bytes message;
    CHECK(context == &kept);
    SAME(herald_request_field(request, "level", &level), HERALD_OK);
    SAME(herald_request_field(request, "on", &on), HERALD_OK);
    SAME(herald_request_field(request, "name", &name), HERALD_OK);
    CHECK(level.type == HERALD_TYPE_INT && level.value.signed_number == -2);
    CHECK(on.type == HERALD_TYPE_BOOL && on.value.boolean);
    CHECK(name.type == HERALD_TYPE_BYTES && name.value.bytes.length == 4);
    CHECK(memcmp(name.value.bytes.data, "lamp", 4) == 0);
    REFUSED(herald_request_field(request, "colour", &level), HERALD_ERROR_MESSAGE, "colour");
    SAME(herald_request_message(request, &message), HERALD_OK);
    SAME(message.length, 2 + 8 + 2 + 1 + 8);
    CHECK(memcmp((const char *)message.data + 6, "ctxt", 4) == 0);
    REFUSED(herald_request_details(request, NULL, 0), HERALD_ERROR_MESSAGE, "light_set");
    was = herald_param_uint("was", 256);
    REFUSED(herald_request_reply(&request, 0, &was, 1), HERALD_ERROR_MESSAGE, "was");
    was = herald_param_uint("was", 4);
    SAME(herald_request_reply(&request, -5, &was, 1), HERALD_OK);
    CHECK(request == NULL);
}

static void dump(void *context, herald_request *request)
{
    (void)context;
    pthread_mutex_lock(&keeping);
    kept = request;
    pthread_mutex_unlock(&keeping);
}

static herald_request *take_kept(void)
{
    herald_request *request;
    pthread_mutex_lock(&keeping);
    request = kept;
    kept = NULL;
    pthread_mutex_unlock(&keeping);
    return request;
}

static void *answer_late(void *request)
{
    herald_request *dumped = (herald_request *)request;
    herald_param params[] = {herald_param_uint("lamp.number", 3), herald_param_uint("lamp.colour", 1)};
    SAME(herald_request_details(dumped, params, COUNT_OF(params)), HERALD_OK);
    SAME(herald_request_details(dumped, params, COUNT_OF(params)), HERALD_OK);
    REFUSED(herald_request_reply(&dumped, 0, NULL, 0), HERALD_ERROR_MESSAGE, "lights_dump");
    SAME(herald_request_end(&dumped), HERALD_OK);
    SAME(herald_request_end(&dumped), HERALD_OK);
    return NULL;
}

static void handlers_answer_now_and_later(void)
{
    const char *directory = api_directory(api_text);
    herald_handler handlers[] = {{"light_set", set, &kept}, {"lights_dump", dump, NULL}};
    herald_vpp_api_options options = options_of(path_of("api.sock"), &directory);
    herald_hub *hub = open_hub(NULL);
    herald_request *request;
    pthread_t thread;
    vpp_client c;

    handlers[1].request = "want_lights";
    options.handlers = handlers;
    options.handlers_count = 2;
    REFUSED(herald_hub_serve_vpp_api(hub, &options, NULL), HERALD_ERROR_API, "want_lights");
    handlers[1].request = "lights_dump";
    SAME(herald_hub_serve_vpp_api(hub, &options, NULL), HERALD_OK);
    c = connect_to(options.path);
    ask(&c, "light_set", BYTES("\xff\xfe" "\1" "lamp\0\0\0\0"));
    expect(&c, "light_set_reply", BYTES("ctxt" "\xff\xff\xff\xfb" "\4"));

    ask(&c, "lights_dump", "", 0);
    WAIT_UNTIL((request = take_kept()) != NULL);
    CHECK(pthread_create(&thread, NULL, answer_late, request) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    expect(&c, "lights_details", BYTES("ctxt" "\0\0\0\3" "\1"));
    expect(&c, "lights_details", BYTES("ctxt" "\0\0\0\3" "\1"));

    /* A client that has gone, and a hub that is closed, make an answer harmless. */
    ask(&c, "lights_dump", "", 0);
    WAIT_UNTIL((request = take_kept()) != NULL);
    close(c.fd);
    WAIT_UNTIL(stats_of(hub).subscribers == 0);
    answer_late(request);
    c = connect_to(options.path);
    ask(&c, "lights_dump", "", 0);
    WAIT_UNTIL((request = take_kept()) != NULL);
    close_hub(hub);
    answer_late(request);
    close(c.fd);
}

static void opening_and_closing_many_times(void)
{
    const char *directory = api_directory(api_text);
    herald_vpp_api_options options = options_of(path_of("api.sock"), &directory);
    footprint before = {0, 0, 0};
    unsigned round;
    for (round = 0; round < scaled(60); round++) {
        herald_hub *hub = open_hub(NULL);
        herald_vpp_api *api;
        vpp_client c;
        SAME(herald_hub_serve_vpp_api(hub, &options, &api), HERALD_OK);
        c = connect_to(options.path);
        SAME(herald_vpp_api_publish(api, "light_event", NULL, 0), HERALD_OK);
        close(c.fd);
        close_hub(hub);
        if (round == 5) before = measure();
    }
    leaks_nothing_since(before, 8000);
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        {"refused_options", refused_options},
        {"null_pointers", null_pointers},
        {"events_by_fields_and_packed", events_by_fields_and_packed},
        {"prepared_events", prepared_events},
        {"handlers_answer_now_and_later", handlers_answer_now_and_later},
        {"opening_and_closing_many_times", opening_and_closing_many_times},
    };
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

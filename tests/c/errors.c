/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The promise: whatever is wrong with a call is answered with its own number and named, and the
 * program lives on.
 */
#include "check.h"

static void null_pointers(void)
{
    herald_hub_options options = hub_options();
    herald_event_sock_options server = sock_options(path_of("evt"));
    herald_stats stats;
    size_t count = 0;
    herald_param param = herald_param_uint("n", 1);
    herald_hub *hub;

    REFUSED(herald_hub_open(NULL, NULL), HERALD_ERROR_NULL, "hub");
    REFUSED(herald_hub_open(&options, NULL), HERALD_ERROR_NULL, "hub");
    REFUSED(herald_hub_close(NULL), HERALD_ERROR_NULL, "hub");
    REFUSED(herald_hub_attach_thread(NULL), HERALD_ERROR_NULL, "hub");
    REFUSED(herald_publish(NULL, "E", &param, 1), HERALD_ERROR_NULL, "hub");
    REFUSED(herald_publish(NULL, NULL, NULL, 0), HERALD_ERROR_NULL, "hub");
    REFUSED(herald_publish_l2tp(NULL, HERALD_L2TP_SESSION_UP, 1, 2, 3, 4), HERALD_ERROR_NULL, "hub");
    REFUSED(herald_hub_serve_event_sock(NULL, &server), HERALD_ERROR_NULL, "hub");
    REFUSED(herald_hub_serve_event_sock(NULL, NULL), HERALD_ERROR_NULL, "hub");
    memset(&stats, 0, sizeof stats);
    stats.size = sizeof stats;
    REFUSED(herald_hub_stats(NULL, &stats), HERALD_ERROR_NULL, "hub");
    REFUSED(herald_hub_stats(NULL, NULL), HERALD_ERROR_NULL, "hub");
    REFUSED(herald_hub_subscribers(NULL, NULL, 1, 0, &count), HERALD_ERROR_NULL, "hub");

    hub = open_hub(NULL);
    REFUSED(herald_publish(hub, NULL, &param, 1), HERALD_ERROR_NULL, "name");
    REFUSED(herald_publish(hub, "E", NULL, 1), HERALD_ERROR_NULL, "params");
    SAME(herald_publish(hub, "E", NULL, 0), HERALD_OK);
    param = herald_param_bytes("b", NULL, 3);
    REFUSED(herald_publish(hub, "E", &param, 1), HERALD_ERROR_NULL, "params[0]");
    param.type = HERALD_TYPE_STRING;
    REFUSED(herald_publish(hub, "E", &param, 1), HERALD_ERROR_NULL, "params[0]");
    param = herald_param_bytes(NULL, NULL, 0);
    SAME(herald_publish(hub, "E", &param, 1), HERALD_OK);
    param = herald_param_string(NULL, NULL);
    SAME(herald_publish(hub, "E", &param, 1), HERALD_OK);

    REFUSED(herald_hub_stats(hub, NULL), HERALD_ERROR_NULL, "stats");
    REFUSED(herald_hub_subscribers(hub, NULL, sizeof(herald_subscriber_stats), 0, NULL), HERALD_ERROR_NULL,
            "count");
    REFUSED(herald_hub_subscribers(hub, NULL, sizeof(herald_subscriber_stats), 1, &count),
            HERALD_ERROR_NULL, "list");
    SAME(herald_hub_subscribers(hub, NULL, sizeof(herald_subscriber_stats), 0, &count), HERALD_OK);

    server.allow_uids_count = 1;
    REFUSED(herald_hub_serve_event_sock(hub, &server), HERALD_ERROR_NULL, "allow_uids");
    server.allow_uids_count = 0;
    server.allow_gids_count = 1;
    REFUSED(herald_hub_serve_event_sock(hub, &server), HERALD_ERROR_NULL, "allow_gids");
    server.allow_gids_count = 0;
    SAME(herald_hub_serve_event_sock(hub, &server), HERALD_OK);
    close_hub(hub);
}

/* What a function that failed has counted: -1. */
static void counts_that_cannot_be(void)
{
    herald_hub *hub = open_hub(NULL);
    herald_event_sock_options server = sock_options(path_of("evt"));
    herald_param param = herald_param_bytes("b", "x", (size_t)-1);
    uint32_t id = 0;
    REFUSED(herald_publish(hub, "E", &param, 1), HERALD_ERROR_INVALID, "params[0]");
    param = herald_param_int("n", 1);
    SAME(herald_publish(hub, "E", &param, (size_t)-1), HERALD_ERROR_TOO_LARGE);
    SAME(herald_publish(hub, "E", &param, 65536), HERALD_ERROR_TOO_LARGE);
    server.allow_uids = &id;
    server.allow_uids_count = (size_t)-1;
    REFUSED(herald_hub_serve_event_sock(hub, &server), HERALD_ERROR_INVALID, "allow_uids");
    close_hub(hub);
}

static void open_is_refused(herald_hub_options options, herald_error error, const char *argument)
{
    herald_hub *hub = (herald_hub *)&options; /* anything that is not NULL */
    REFUSED(herald_hub_open(&options, &hub), error, argument);
    CHECK(hub == NULL);
}

static void invalid_hub_options(void)
{
    herald_hub_options options = hub_options();
    options.ring_bytes = 4095;
    open_is_refused(options, HERALD_ERROR_INVALID, "ring_bytes");
    options.ring_bytes = ((size_t)1 << 30) + 1;
    open_is_refused(options, HERALD_ERROR_INVALID, "ring_bytes");
    options.ring_bytes = (size_t)-1;
    open_is_refused(options, HERALD_ERROR_INVALID, "ring_bytes");
    options.ring_bytes = 4096;
    options.flush_ms = options.spin_us = (uint32_t)-1;
    close_hub(open_hub(&options));
}

static void invalid_server_options(void)
{
    herald_hub *hub = open_hub(NULL);
    const herald_event_sock_options good = sock_options(path_of("evt"));
    herald_event_sock_options bad;
    struct stat nothing;

#define BAD(field, value) \
    do { \
        bad = good; \
        bad.field = value; \
        REFUSED(herald_hub_serve_event_sock(hub, &bad), HERALD_ERROR_INVALID, "options." #field); \
    } while (0)
    BAD(path, "/tmp/\xff\xfe");
    BAD(path, "");
    BAD(mode, 01000);
    BAD(mode, (uint32_t)-1);
    BAD(max_clients, 4097);
    BAD(max_clients, (uint32_t)-1);
    BAD(queue_bytes, 1);
    BAD(queue_bytes, 4095);
    BAD(queue_bytes, ((size_t)1 << 30) + 1);
    BAD(queue_bytes, (size_t)-1);
    BAD(overflow, 3);
    BAD(overflow, (uint32_t)-1);
    BAD(owner, "\xff");
    BAD(group, "\xff");
    BAD(owner, "no-such-user-anywhere");
    BAD(owner, "4294967295");
    BAD(owner, "");
    BAD(group, "no-such-group-anywhere");
    BAD(group, "4294967295");
    BAD(group, "-1");

    CHECK(stat(good.path, &nothing) != 0);
    bad = good;
    bad.mode = 0777;
    bad.max_clients = 4096;
    bad.queue_bytes = 4096;
    bad.overflow = HERALD_OVERFLOW_DISCONNECT;
    SAME(herald_hub_serve_event_sock(hub, &bad), HERALD_OK);
    close_hub(hub);
}

static void invalid_events(void)
{
    herald_hub *hub = open_hub(NULL);
    herald_param params[40];
    uint32_t kind;
    size_t i;
    for (i = 0; i < COUNT_OF(params); i++) params[i] = herald_param_int("n", -1);

    REFUSED(herald_publish(hub, "", params, 1), HERALD_ERROR_INVALID, "name");
    REFUSED(herald_publish(hub, "E_\xc3(", params, 1), HERALD_ERROR_INVALID, "name");
    params[1].name = "\xff";
    REFUSED(herald_publish(hub, "E", params, 2), HERALD_ERROR_INVALID, "params[1].name");
    params[1].name = "";
    params[39].type = HERALD_TYPE_BYTES + 1;
    REFUSED(herald_publish(hub, "E", params, 40), HERALD_ERROR_INVALID, "params[39].type");
    SAME(herald_publish(hub, "E", params, 39), HERALD_OK);
    params[0].type = (herald_type)-1;
    REFUSED(herald_publish(hub, "E", params, 1), HERALD_ERROR_INVALID, "params[0].type");

    for (kind = 0; kind <= HERALD_L2TP_TUNNEL_MODIFIED; kind++)
        SAME(herald_publish_l2tp(hub, kind, 1, 2, 3, 4), HERALD_OK);
    REFUSED(herald_publish_l2tp(hub, kind, 1, 2, 3, 4), HERALD_ERROR_INVALID, "kind");
    REFUSED(herald_publish_l2tp(hub, (uint32_t)-1, 1, 2, 3, 4), HERALD_ERROR_INVALID, "kind");
    SAME(stats_of(hub).published, 1 + HERALD_L2TP_TUNNEL_MODIFIED + 1);
    close_hub(hub);
}

/* A struct of ours that a program built against another version of the header has. */
typedef struct newer_hub_options {
    herald_hub_options known;
    size_t unknown[4];
} newer_hub_options;

typedef struct newer_sock_options {
    herald_event_sock_options known;
    unsigned char unknown[600];
} newer_sock_options;

static void sizes_of_structs(void)
{
    herald_hub_options options = hub_options();
    herald_event_sock_options server = sock_options(path_of("evt"));
    newer_hub_options newer;
    newer_sock_options newer_server;
    struct { herald_stats known; uint64_t unknown[1]; } newer_stats;
    herald_subscriber_stats list[1];
    herald_stats stats;
    herald_hub *hub;
    size_t size, count;

    /* Up to that of a pointer, which is what sizeof says of the wrong thing. */
    for (size = 0; size <= sizeof(size_t); size++) {
        options.size = size;
        open_is_refused(options, HERALD_ERROR_SIZE, "options");
    }
    for (size = 1; size < sizeof(size_t); size++) { /* a field in part */
        options.size = 2 * sizeof(size_t) + size;
        open_is_refused(options, HERALD_ERROR_SIZE, "options");
    }
    options.size = (size_t)-1; /* nothing like that can be read */
    open_is_refused(options, HERALD_ERROR_SIZE, "options");

    memset(&newer, 0, sizeof newer);
    newer.known.size = sizeof newer;
    newer.unknown[3] = 1;
    hub = (herald_hub *)&newer;
    REFUSED(herald_hub_open(&newer.known, &hub), HERALD_ERROR_SIZE, "options");
    CHECK(hub == NULL);
    newer.unknown[3] = 0;
    close_hub(open_hub(&newer.known));

    /* An older program's struct ends early; what follows it is none of our business. */
    options = hub_options();
    options.size = offsetof(herald_hub_options, flush_ms);
    options.ring_bytes = 8192;
    options.log = (herald_log)(uintptr_t)1;
    hub = open_hub(&options);

    memset(&newer_server, 0, sizeof newer_server);
    newer_server.known = server;
    newer_server.known.size = 0;
    REFUSED(herald_hub_serve_event_sock(hub, &newer_server.known), HERALD_ERROR_SIZE, "options");
    newer_server.known.size = sizeof newer_server;
    newer_server.unknown[sizeof newer_server.unknown - 1] = 1;
    REFUSED(herald_hub_serve_event_sock(hub, &newer_server.known), HERALD_ERROR_SIZE, "options");
    newer_server.unknown[sizeof newer_server.unknown - 1] = 0;
    SAME(herald_hub_serve_event_sock(hub, &newer_server.known), HERALD_OK);
    server.path = path_of("evt2");
    server.size = offsetof(herald_event_sock_options, mode);
    server.mode = server.overflow = (uint32_t)-1;
    SAME(herald_hub_serve_event_sock(hub, &server), HERALD_OK);

    memset(&stats, 0, sizeof stats);
    for (size = 0; size <= sizeof(size_t); size++) {
        stats.size = size;
        REFUSED(herald_hub_stats(hub, &stats), HERALD_ERROR_SIZE, "stats");
        REFUSED(herald_hub_subscribers(hub, list, size, 1, &count), HERALD_ERROR_SIZE, "element_size");
    }
    stats.size = (size_t)-1;
    REFUSED(herald_hub_stats(hub, &stats), HERALD_ERROR_SIZE, "stats");
    REFUSED(herald_hub_subscribers(hub, list, (size_t)-1, 1, &count), HERALD_ERROR_SIZE, "element_size");

    /* What a newer program's struct has beyond ours is 0, not what happened to be there. */
    memset(&newer_stats, 0xff, sizeof newer_stats);
    newer_stats.known.size = sizeof newer_stats;
    SAME(herald_hub_stats(hub, &newer_stats.known), HERALD_OK);
    SAME(newer_stats.known.published, 0);
    SAME(newer_stats.unknown[0], 0);
    close_hub(hub);
}

/* Serving at `path` is refused; the error names the path, and what is there stays. */
static void path_is_refused(const char *path, herald_error error)
{
    herald_hub *hub = open_hub(NULL);
    herald_event_sock_options options = sock_options(path);
    struct stat before, after;
    bool was_there = lstat(path, &before) == 0;
    REFUSED(herald_hub_serve_event_sock(hub, &options), error, path);
    SAME(stats_of(hub).subscribers, 0);
    close_hub(hub);
    SAME(lstat(path, &after) == 0, was_there);
    if (was_there) CHECK(before.st_ino == after.st_ino && before.st_mode == after.st_mode);
}

static void what_stands_in_the_way(void)
{
    const char *directory = path_of("directory"), *file = path_of("file"), *link = path_of("link");
    const char *dangling = path_of("dangling"), *fifo = path_of("fifo"), *socket_path = path_of("socket");
    struct sockaddr_un address;
    FILE *made = fopen(file, "w");
    int other;
    CHECK(made != NULL && fclose(made) == 0);
    CHECK(mkdir(directory, 0700) == 0);
    CHECK(symlink(file, link) == 0);
    CHECK(symlink(path_of("nothing"), dangling) == 0);
    CHECK(mkfifo(fifo, 0600) == 0);
    path_is_refused(directory, HERALD_ERROR_IN_THE_WAY);
    path_is_refused(file, HERALD_ERROR_IN_THE_WAY);
    path_is_refused(link, HERALD_ERROR_IN_THE_WAY);
    path_is_refused(dangling, HERALD_ERROR_IN_THE_WAY);
    path_is_refused(fifo, HERALD_ERROR_IN_THE_WAY);

    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, socket_path);
    other = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(bind(other, (struct sockaddr *)&address, sizeof address) == 0);
    path_is_refused(socket_path, HERALD_ERROR_IN_THE_WAY);
    close(other);
}

static void a_socket_in_use(void)
{
    const char *path = path_of("evt"), *stale = path_of("stale");
    struct sockaddr_un address;
    herald_hub *hub = open_hub(NULL);
    client c;
    int dead;
    serve(hub, path);
    path_is_refused(path, HERALD_ERROR_IN_USE);
    c = subscribe(path, UP);
    SAME(publish_number(hub, 1), HERALD_OK);
    expect_number(&c, 1);

    /* One that nobody serves any more is replaced. */
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, stale);
    dead = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(dead, (struct sockaddr *)&address, sizeof address) == 0 && close(dead) == 0);
    serve(hub, stale);
    close_hub(hub);
    expect_end(&c);
    CHECK(access(path, F_OK) != 0 && access(stale, F_OK) != 0);
}

static void paths_that_cannot_be(void)
{
    char path[200];
    size_t length = (size_t)snprintf(path, sizeof path, "%s/", test_directory);
    herald_hub *hub = open_hub(NULL);
    herald_event_sock_options options = sock_options(path);

    path_is_refused(path_of("missing/evt"), HERALD_ERROR_SYSTEM);
    CHECK(length < 100);
    memset(path + length, 'x', sizeof path - length);
    path[108] = '\0';
    path_is_refused(path, HERALD_ERROR_PATH_TOO_LONG);
    path[107] = '\0';
    SAME(herald_hub_serve_event_sock(hub, &options), HERALD_OK);
    close(try_connect(path));
    close_hub(hub);
}

static void events_that_are_too_large(void)
{
    herald_hub_options options = hub_options();
    herald_hub *hub;
    herald_param param;
    char *name = (char *)malloc(65537);
    char value[5000];
    herald_param *many = (herald_param *)calloc(65536, sizeof *many);
    CHECK(name != NULL && many != NULL);
    memset(name, 'n', 65536);
    name[65536] = '\0';
    memset(value, 0, sizeof value);

    options.ring_bytes = 4096;
    hub = open_hub(&options);
    param = herald_param_bytes("b", value, sizeof value);
    SAME(herald_publish(hub, "E", &param, 1), HERALD_ERROR_TOO_LARGE);
    param.value.bytes.length = 4096;
    SAME(herald_publish(hub, "E", &param, 1), HERALD_ERROR_TOO_LARGE);
    param.value.bytes.length = 4000;
    SAME(herald_publish(hub, "E", &param, 1), HERALD_OK);
    close_hub(hub);

    options.ring_bytes = 1 << 23;
    hub = open_hub(&options);
    SAME(herald_publish(hub, name, NULL, 0), HERALD_ERROR_TOO_LARGE);
    param = herald_param_int(name, 1);
    SAME(herald_publish(hub, "E", &param, 1), HERALD_ERROR_TOO_LARGE);
    SAME(herald_publish(hub, "E", many, 65536), HERALD_ERROR_TOO_LARGE);
    name[65535] = '\0';
    SAME(herald_publish(hub, name, &param, 1), HERALD_OK);
    SAME(herald_publish(hub, "E", many, 65535), HERALD_OK);
    SAME(stats_of(hub).published, 2);
    SAME(stats_of(hub).ring_full, 0);
    close_hub(hub);
    free(name);
    free(many);
}

/* A host that closes every descriptor, ours with them, gets an answer, and can start anew. */
static void descriptors_closed_by_the_host(void)
{
    const char *path = path_of("evt");
    bool ours[256];
    herald_error error = HERALD_OK;
    herald_hub *hub;
    client c;
    int fd, is_socket_type;
    socklen_t length = sizeof is_socket_type;
    for (fd = 0; fd < 256; fd++) {
        int copy = dup(fd);
        ours[fd] = copy < 0;
        if (copy >= 0) close(copy);
    }
    hub = open_hub(NULL);
    serve(hub, path);
    for (fd = 3; fd < 256; fd++) /* the sockets: the worker goes on sleeping on its epoll */
        if (ours[fd] && getsockopt(fd, SOL_SOCKET, SO_TYPE, &is_socket_type, &length) == 0) close(fd);
    while (error == HERALD_OK) {
        error = publish_number(hub, 1);
        look_again();
    }
    SAME(error, HERALD_ERROR_FAILED);
    SAME(publish_number(hub, 1), HERALD_ERROR_FAILED);
    close_hub(hub);

    hub = open_hub(NULL);
    serve(hub, path);
    c = subscribe(path, UP);
    SAME(publish_number(hub, 7), HERALD_OK);
    expect_number(&c, 7);
    close_hub(hub);
    expect_end(&c);
}

static void strings_for_all_errors(void)
{
    const char *unknown = herald_error_string(-1);
    int error, other;
    CHECK(strcmp(unknown, "unknown error") == 0);
    for (error = HERALD_OK; error <= HERALD_ERROR_MESSAGE; error++) {
        const char *text = herald_error_string(error);
        CHECK(text != NULL && strlen(text) > 5 && strchr(text, '\n') == NULL);
        CHECK(strcmp(text, unknown) != 0);
        for (other = 0; other < error; other++) CHECK(strcmp(text, herald_error_string(other)) != 0);
    }
    CHECK(strcmp(herald_error_string(error), unknown) == 0);
    CHECK(strcmp(herald_error_string(INT32_MAX), unknown) == 0);
    CHECK(strcmp(herald_error_string(INT32_MIN), unknown) == 0);
    SAME(herald_abi_version(), HERALD_ABI_VERSION);
    CHECK(strlen(herald_version()) >= 5);
}

static void *another_thread(void *unused)
{
    CHECK(strcmp(herald_last_error(), "") == 0);
    SAME(herald_hub_close(NULL), HERALD_ERROR_NULL);
    CHECK(strstr(herald_last_error(), "hub") != NULL);
    return unused;
}

static void the_last_error_of_a_thread(void)
{
    herald_hub_options options = hub_options();
    pthread_t thread;
    CHECK(strcmp(herald_last_error(), "") == 0);
    options.ring_bytes = 1;
    open_is_refused(options, HERALD_ERROR_INVALID, "ring_bytes");
    CHECK(pthread_create(&thread, NULL, another_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(strstr(herald_last_error(), "ring_bytes") != NULL);
    close_hub(open_hub(NULL)); /* what succeeds leaves it as it is */
    CHECK(strstr(herald_last_error(), "ring_bytes") != NULL);
}

static void closing_twice(void)
{
    herald_hub *hub = open_hub(NULL), *none = NULL;
    SAME(herald_hub_close(&none), HERALD_OK);
    SAME(herald_hub_close(&hub), HERALD_OK);
    CHECK(hub == NULL);
    SAME(herald_hub_close(&hub), HERALD_OK);
    REFUSED(publish_number(hub, 1), HERALD_ERROR_NULL, "hub");
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        /* first: no call has failed yet */
        {"the_last_error_of_a_thread", the_last_error_of_a_thread},
        {"null_pointers", null_pointers},
        {"invalid_hub_options", invalid_hub_options},
        {"invalid_server_options", invalid_server_options},
        {"invalid_events", invalid_events},
        {"sizes_of_structs", sizes_of_structs},
        {"counts_that_cannot_be", counts_that_cannot_be},
        {"what_stands_in_the_way", what_stands_in_the_way},
        {"a_socket_in_use", a_socket_in_use},
        {"paths_that_cannot_be", paths_that_cannot_be},
        {"events_that_are_too_large", events_that_are_too_large},
        {"descriptors_closed_by_the_host", descriptors_closed_by_the_host},
        {"strings_for_all_errors", strings_for_all_errors},
        {"closing_twice", closing_twice},
    };
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

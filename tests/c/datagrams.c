/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The promise: whoever only listens for datagrams gets every event that it asked for, written as
 * documented, one datagram each, and a count of those that it did not get.
 */
#include "check.h"

static int listen_at(const char *path)
{
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, path);
    CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    be_patient(fd);
    return fd;
}

static const char *address_of(const char *path)
{
    static char addresses[4][300];
    static unsigned next;
    char *address = addresses[next++ % 4];
    snprintf(address, sizeof addresses[0], "unix:%s", path);
    return address;
}

static herald_datagram_options datagram_options(const char *to)
{
    herald_datagram_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.to = to;
    return options;
}

/* The next datagram, as a string. */
static const char *next_datagram(int fd)
{
    static char text[70000];
    ssize_t got;
    do got = recv(fd, text, sizeof text - 1, 0);
    while (got < 0 && errno == EINTR);
    CHECK(got >= 0 && (size_t)got < sizeof text - 1);
    text[got] = '\0';
    return text;
}

static void expect_datagram(int fd, const char *expected)
{
    const char *found = next_datagram(fd);
    if (strcmp(found, expected) == 0) return;
    fprintf(stderr, "found    %s\nexpected %s\n", found, expected);
    CHECK(!"the datagram that was expected");
}

static void refused_options(void)
{
    typedef struct newer {
        herald_datagram_options known;
        uint64_t unknown[2];
    } newer;
    static const char *const addresses[] = {
        "", "x", "udp:", "udp:host", "udp:127.0.0.1", "udp:127.0.0.1:", "udp:127.0.0.1:x",
        "udp:127.0.0.1:65536", "udp:127.0.0.1:-1", "udp:::1:9", "udp:[::1]", "udp:[::1:9", "unix:",
        "tcp:127.0.0.1:9", "udp:\xff:9", "udp:256.256.256.256:9",
    };
    herald_hub *hub = open_hub(NULL);
    const char *names[2] = {"E_A", NULL};
    herald_datagram_options good = datagram_options("udp:127.0.0.1:9"), bad = good;
    char long_path[200];
    newer future;
    size_t i;

    REFUSED(herald_hub_add_datagram(NULL, &good), HERALD_ERROR_NULL, "hub");
    REFUSED(herald_hub_add_datagram(hub, NULL), HERALD_ERROR_NULL, "options");
    bad.to = NULL;
    REFUSED(herald_hub_add_datagram(hub, &bad), HERALD_ERROR_NULL, "options.to");
    bad = good;
    bad.events_count = 1;
    REFUSED(herald_hub_add_datagram(hub, &bad), HERALD_ERROR_NULL, "options.events");
    bad.events = names;
    bad.events_count = 2;
    REFUSED(herald_hub_add_datagram(hub, &bad), HERALD_ERROR_NULL, "options.events");
    names[1] = "\xff";
    REFUSED(herald_hub_add_datagram(hub, &bad), HERALD_ERROR_INVALID, "options.events");

    for (i = 0; i < COUNT_OF(addresses); i++) {
        bad = datagram_options(addresses[i]);
        REFUSED(herald_hub_add_datagram(hub, &bad), HERALD_ERROR_INVALID, "options.to");
    }
    memset(long_path, 'x', sizeof long_path);
    memcpy(long_path, "unix:/", 6);
    long_path[6 + 107] = '\0';
    bad = datagram_options(long_path);
    REFUSED(herald_hub_add_datagram(hub, &bad), HERALD_ERROR_INVALID, "options.to");

#define BAD(field, value) \
    do { \
        bad = good; \
        bad.field = value; \
        REFUSED(herald_hub_add_datagram(hub, &bad), HERALD_ERROR_INVALID, "options." #field); \
    } while (0)
    BAD(format, 2);
    BAD(format, (uint32_t)-1);
    BAD(queue_bytes, 4095);
    BAD(queue_bytes, ((size_t)1 << 30) + 1);
    BAD(overflow, 3);

    for (i = 0; i < sizeof(size_t); i++) {
        bad = good;
        bad.size = i;
        REFUSED(herald_hub_add_datagram(hub, &bad), HERALD_ERROR_SIZE, "options");
    }
    memset(&future, 0, sizeof future);
    future.known = good;
    future.known.size = sizeof future;
    future.unknown[1] = 1;
    REFUSED(herald_hub_add_datagram(hub, &future.known), HERALD_ERROR_SIZE, "options");
    SAME(stats_of(hub).subscribers, 0);
    future.unknown[1] = 0;
    SAME(herald_hub_add_datagram(hub, &future.known), HERALD_OK);
    bad = good;
    bad.size = offsetof(herald_datagram_options, events);
    bad.format = bad.overflow = (uint32_t)-1;
    SAME(herald_hub_add_datagram(hub, &bad), HERALD_OK);
    SAME(stats_of(hub).subscribers, 2);
    close_hub(hub);
}

static void both_formats(void)
{
    static const unsigned char raw[] = {0, 0xff, 'a'};
    const char *path[2] = {path_of("json"), path_of("text")};
    int fd[2] = {listen_at(path[0]), listen_at(path[1])};
    herald_hub *hub = open_hub(NULL);
    herald_param params[9], unnamed[2];
    uint32_t format;
    for (format = HERALD_FORMAT_JSON; format <= HERALD_FORMAT_TEXT; format++) {
        herald_datagram_options options = datagram_options(address_of(path[format]));
        options.format = format;
        SAME(herald_hub_add_datagram(hub, &options), HERALD_OK);
    }
    params[0] = herald_param_int("int", INT64_MIN);
    params[1] = herald_param_uint("uint", UINT64_MAX);
    params[2] = herald_param_float("float", 1.5);
    params[3] = herald_param_bool("yes", true);
    params[4] = herald_param_bool("no", false);
    params[5] = herald_param_string("string", "a \"b\"\n\xc3\xa4");
    params[6] = herald_param_bytes("bytes", raw, sizeof raw);
    params[7] = herald_param_string("null", NULL);
    params[8] = herald_param_bytes("empty", NULL, 0);
    SAME(herald_publish(hub, "E_TYPES", params, COUNT_OF(params)), HERALD_OK);
    expect_datagram(fd[0], "{\"jsonrpc\":\"2.0\",\"method\":\"E_TYPES\",\"params\":{"
                           "\"int\":-9223372036854775808,\"uint\":18446744073709551615,\"float\":1.5,"
                           "\"yes\":true,\"no\":false,\"string\":\"a \\\"b\\\"\\n\xc3\xa4\","
                           "\"bytes\":\"00ff61\",\"null\":null,\"empty\":\"\"}}");
    expect_datagram(fd[1], "E_TYPES\nint::-9223372036854775808\nuint::18446744073709551615\nfloat::1.5\n"
                           "yes::1\nno::0\nstring::\"a \\\"b\\\"\n\xc3\xa4\"\nbytes::00ff61\nnull::\n"
                           "empty::\n\n");
    unnamed[0] = herald_param_string(NULL, "one");
    unnamed[1] = herald_param_uint("", 2);
    SAME(herald_publish(hub, "E_UNNAMED", unnamed, 2), HERALD_OK);
    expect_datagram(fd[0], "{\"jsonrpc\":\"2.0\",\"method\":\"E_UNNAMED\",\"params\":[\"one\",2]}");
    expect_datagram(fd[1], "E_UNNAMED\none\n2\n\n");
    SAME(herald_publish(hub, "E_NONE", NULL, 0), HERALD_OK);
    expect_datagram(fd[0], "{\"jsonrpc\":\"2.0\",\"method\":\"E_NONE\"}");
    expect_datagram(fd[1], "E_NONE\n\n");
    SAME(herald_publish_l2tp(hub, HERALD_L2TP_TUNNEL_UP, 1, 2, 3, 4), HERALD_OK);
    expect_datagram(fd[0], "{\"jsonrpc\":\"2.0\",\"method\":\"E_L2TP_TUNNEL_UP\",\"params\":{"
                           "\"tunnel_id\":1,\"peer_tunnel_id\":3}}");
    expect_datagram(fd[1], "E_L2TP_TUNNEL_UP\ntunnel_id::1\npeer_tunnel_id::3\n\n");
    WAIT_UNTIL(stats_of(hub).delivered == 8);
    close_hub(hub);
    CHECK(close(fd[0]) == 0 && close(fd[1]) == 0);
}

static void only_what_was_asked_for(void)
{
    const char *path = path_of("some"), *names[] = {"E_A", "E_B*", "*_C"};
    int fd = listen_at(path);
    herald_hub *hub = open_hub(NULL);
    herald_datagram_options options = datagram_options(address_of(path));
    static const char *const all[] = {"E_X", "E_A", "E_AA", "E_B", "E_BB", "E_CC", "E_C", "X_C", "E_END_C"};
    size_t i;
    options.events = names;
    options.events_count = COUNT_OF(names);
    options.format = HERALD_FORMAT_TEXT;
    SAME(herald_hub_add_datagram(hub, &options), HERALD_OK);
    memset(names, 0, sizeof names); /* it was copied */
    for (i = 0; i < COUNT_OF(all); i++) SAME(herald_publish(hub, all[i], NULL, 0), HERALD_OK);
    expect_datagram(fd, "E_A\n\n");
    expect_datagram(fd, "E_B\n\n");
    expect_datagram(fd, "E_BB\n\n");
    expect_datagram(fd, "E_C\n\n");
    expect_datagram(fd, "X_C\n\n");
    expect_datagram(fd, "E_END_C\n\n");
    close_hub(hub);
    close(fd);
}

/* To one that reads too late: what arrives is in order, and what does not is counted in place. */
static void what_is_lost_is_told_by(herald_overflow overflow)
{
    static const char *const names[] = {"E_NUMBER", "E_HERALD_EVENTS_LOST"};
    const char *path = path_of("slow");
    int fd = listen_at(path);
    herald_hub *hub = open_hub(NULL);
    herald_datagram_options options = datagram_options(address_of(path));
    unsigned long long number = 0, total = 0, lost = 0;
    options.events = names;
    options.events_count = COUNT_OF(names);
    options.format = HERALD_FORMAT_TEXT;
    options.queue_bytes = 4096;
    options.overflow = overflow;
    SAME(herald_hub_add_datagram(hub, &options), HERALD_OK);
    while (stats_of(hub).dropped == 0) {
        unsigned long long end = total + 100;
        for (; total < end; total++) {
            herald_param param = herald_param_uint("n", total);
            SAME(herald_publish(hub, "E_NUMBER", &param, 1), HERALD_OK);
        }
    }
    while (number < total) {
        const char *text = next_datagram(fd);
        unsigned long long found;
        if (sscanf(text, "E_HERALD_EVENTS_LOST\ncount::%llu\n\n", &found) == 1) {
            CHECK(found > 0);
            lost += found;
            number += found;
        } else {
            CHECK(sscanf(text, "E_NUMBER\nn::%llu\n\n", &found) == 1);
            SAME(found, number);
            number++;
        }
    }
    SAME(number, total);
    CHECK(lost > 0);
    SAME(stats_of(hub).dropped, lost);
    WAIT_UNTIL(stats_of(hub).delivered + lost == total);
    CHECK(stats_of(hub).queued > 0 && stats_of(hub).retried > 0);
    SAME(stats_of(hub).dropped_gone + stats_of(hub).dropped_too_large + stats_of(hub).dropped_error, 0);
    close_hub(hub);
    CHECK(close(fd) == 0 && unlink(path) == 0);
}

static void what_is_lost_is_told(void)
{
    what_is_lost_is_told_by(HERALD_OVERFLOW_DROP_NEWEST);
    what_is_lost_is_told_by(HERALD_OVERFLOW_DROP_OLDEST);
}

static void one_that_is_too_slow_to_stay(void)
{
    const char *path = path_of("stuck");
    int fd = listen_at(path);
    herald_hub *hub = open_hub(NULL);
    herald_datagram_options options = datagram_options(address_of(path));
    herald_stats stats;
    options.queue_bytes = 4096;
    options.overflow = HERALD_OVERFLOW_DISCONNECT;
    SAME(herald_hub_add_datagram(hub, &options), HERALD_OK);
    do SAME(herald_publish(hub, "E_A", NULL, 0), HERALD_OK);
    while (stats_of(hub).subscribers > 0);
    stats = stats_of(hub);
    SAME(stats.overflowed, 1);
    CHECK(stats.delivered > 0 && stats.dropped > 1);
    close_hub(hub);
    close(fd);
}

static void one_that_is_gone(void)
{
    const char *here = path_of("here"), *gone = path_of("gone");
    int fd = listen_at(here), dead = listen_at(gone);
    herald_hub *hub = open_hub(NULL);
    herald_datagram_options options = datagram_options(address_of(gone));
    options.format = HERALD_FORMAT_TEXT;
    SAME(herald_hub_add_datagram(hub, &options), HERALD_OK);
    options.to = address_of(here);
    SAME(herald_hub_add_datagram(hub, &options), HERALD_OK);
    options.to = address_of(path_of("never"));
    SAME(herald_hub_add_datagram(hub, &options), HERALD_OK);
    CHECK(close(dead) == 0 && unlink(gone) == 0);
    SAME(herald_publish(hub, "E_A", NULL, 0), HERALD_OK);
    expect_datagram(fd, "E_A\n\n");
    WAIT_UNTIL(stats_of(hub).dropped == 2);
    SAME(stats_of(hub).delivered, 1);
    /* Whoever comes back is served again. */
    dead = listen_at(gone);
    SAME(herald_publish(hub, "E_B", NULL, 0), HERALD_OK);
    expect_datagram(fd, "E_B\n\n");
    expect_datagram(dead, "E_B\n\n");
    close_hub(hub);
    close(dead);
    close(fd);
}

static void every_loss_has_a_cause(void)
{
    static char large[65458];
    const char *here = path_of("bounded");
    int fd = listen_at(here);
    herald_hub *hub = open_hub(NULL);
    herald_datagram_options options = datagram_options("udp:127.0.0.1:9");
    herald_param param;
    herald_stats stats;
    options.format = HERALD_FORMAT_TEXT;
    SAME(herald_hub_add_datagram(hub, &options), HERALD_OK);
    /* Nobody may send to all without asking for it. */
    options.to = "udp:255.255.255.255:9";
    SAME(herald_hub_add_datagram(hub, &options), HERALD_OK);
    options.to = address_of(path_of("nobody"));
    SAME(herald_hub_add_datagram(hub, &options), HERALD_OK);
    options.to = address_of(here);
    options.send_buffer = 4096;
    SAME(herald_hub_add_datagram(hub, &options), HERALD_OK);
    /* 65458 bytes as text: one more than UDP carries. */
    memset(large, 'x', sizeof large);
    large[sizeof large - strlen("E\nn::\n\n")] = '\0';
    param = herald_param_string("n", large);
    SAME(herald_publish(hub, "E", &param, 1), HERALD_OK);
    WAIT_UNTIL(stats_of(hub).dropped == 4);
    stats = stats_of(hub);
    SAME(stats.dropped_too_large, 3);
    SAME(stats.dropped_gone, 1);
    SAME(stats.dropped_error, 0);
    /* One less. */
    large[strlen(large) - 1] = '\0';
    param = herald_param_string("n", large);
    SAME(herald_publish(hub, "E", &param, 1), HERALD_OK);
    WAIT_UNTIL(stats_of(hub).dropped == 7 && stats_of(hub).delivered == 1);
    stats = stats_of(hub);
    SAME(stats.dropped_too_large, 4);
    SAME(stats.dropped_gone, 2);
    SAME(stats.dropped_error, 1);
    SAME(stats.queued, 0);
    close_hub(hub);
    close(fd);
}

static void one_whose_time_is_over(void)
{
    const char *brief = path_of("brief"), *lasting = path_of("lasting");
    int over = listen_at(brief), fd = listen_at(lasting);
    herald_hub *hub = open_hub(NULL);
    herald_datagram_options options = datagram_options(address_of(brief));
    options.format = HERALD_FORMAT_TEXT;
    options.expire_s = 1;
    SAME(herald_hub_add_datagram(hub, &options), HERALD_OK);
    options.to = address_of(lasting);
    options.expire_s = 3600;
    SAME(herald_hub_add_datagram(hub, &options), HERALD_OK);
    WAIT_UNTIL(stats_of(hub).subscribers == 1);
    SAME(herald_publish(hub, "E_A", NULL, 0), HERALD_OK);
    expect_datagram(fd, "E_A\n\n");
    CHECK(recv(over, &options, sizeof options, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    SAME(stats_of(hub).dropped, 0);
    close_hub(hub);
    close(over);
    close(fd);
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        {"refused_options", refused_options},
        {"both_formats", both_formats},
        {"only_what_was_asked_for", only_what_was_asked_for},
        {"what_is_lost_is_told", what_is_lost_is_told},
        {"one_that_is_too_slow_to_stay", one_that_is_too_slow_to_stay},
        {"one_that_is_gone", one_that_is_gone},
        {"every_loss_has_a_cause", every_loss_has_a_cause},
        {"one_whose_time_is_over", one_whose_time_is_over},
    };
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

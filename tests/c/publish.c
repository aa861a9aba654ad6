/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The promise: what is published reaches every subscriber whole and in order, or is counted and
 * told as lost in its place; and publishing leaves nothing behind.
 */
#include "check.h"

/* ---- a log that can hold the worker up ---- */

typedef struct journal {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int lines, warnings;
    bool hold, held;
    char last[512];
} journal;

static void journal_open(journal *j)
{
    memset(j, 0, sizeof *j);
    CHECK(pthread_mutex_init(&j->lock, NULL) == 0 && pthread_cond_init(&j->changed, NULL) == 0);
}

static void journal_write(void *context, int32_t level, const char *message)
{
    journal *j = (journal *)context;
    CHECK(level >= 3 && level <= 7);
    CHECK(message != NULL && message[0] != '\0' && strchr(message, '\n') == NULL);
    pthread_mutex_lock(&j->lock);
    j->lines++;
    j->warnings += level == 4;
    snprintf(j->last, sizeof j->last, "%s", message);
    /* A warning comes from the worker: until it is let go, nobody takes events. */
    j->held = j->hold && level == 4;
    pthread_cond_broadcast(&j->changed);
    while (j->held && j->hold) pthread_cond_wait(&j->changed, &j->lock);
    j->held = false;
    pthread_mutex_unlock(&j->lock);
}

/* Makes a client that breaks the protocol, and keeps the worker in its report of it. */
static void journal_hold(journal *j, const char *path)
{
    int fd = try_connect(path);
    unsigned char request[5] = {1, 0, 0, 0, 1};
    CHECK(fd >= 0);
    pthread_mutex_lock(&j->lock);
    j->hold = true;
    SAME(send(fd, request, sizeof request, MSG_NOSIGNAL), (int)sizeof request);
    while (!j->held) pthread_cond_wait(&j->changed, &j->lock);
    pthread_mutex_unlock(&j->lock);
    close(fd);
}

static void journal_let_go(journal *j)
{
    pthread_mutex_lock(&j->lock);
    j->hold = false;
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
}

static void the_log(void)
{
    const char *path = path_of("evt");
    herald_hub_options options = hub_options();
    journal j;
    herald_hub *hub;
    journal_open(&j);
    options.log = journal_write;
    options.log_context = &j;
    hub = open_hub(&options);
    serve(hub, path);
    SAME(j.lines, 1);
    CHECK(strstr(j.last, path) != NULL);
    serve(hub, path_of("two\nlines")); /* in one, of the log */
    journal_hold(&j, path);
    CHECK(strstr(j.last, "protocol error") != NULL);
    journal_let_go(&j);
    WAIT_UNTIL(stats_of(hub).protocol_errors == 1);
    close_hub(hub);
    SAME(j.warnings, 1);
}

static herald_hub *hub_of_the_log;
static int answer_in_the_log = -1;

static void serve_in_the_log(void *context, int32_t level, const char *message)
{
    herald_event_sock_options options = sock_options((const char *)context);
    (void)message;
    if (level == 4) {
        __atomic_store_n(&answer_in_the_log, herald_hub_serve_event_sock(hub_of_the_log, &options),
                         __ATOMIC_RELEASE);
    }
}

/* A log must not call the library. One that does is refused what would stop its hub for good. */
static void serving_on_the_hubs_own_thread(void)
{
    const char *path = path_of("evt");
    herald_hub_options options = hub_options();
    static const unsigned char request[5] = {1, 0, 0, 0, 1};
    client c, bad;
    options.log = serve_in_the_log;
    options.log_context = (void *)(uintptr_t)path_of("more");
    hub_of_the_log = open_hub(&options);
    serve(hub_of_the_log, path);
    c = subscribe(path, UP);
    bad = subscribe(path, 0);
    SAME(send(bad.fd, request, sizeof request, MSG_NOSIGNAL), (int)sizeof request);
    WAIT_UNTIL(__atomic_load_n(&answer_in_the_log, __ATOMIC_ACQUIRE) != -1);
    SAME(answer_in_the_log, HERALD_ERROR_SYSTEM);
    expect_end(&bad);
    SAME(publish_number(hub_of_the_log, 1), HERALD_OK);
    expect_number(&c, 1);
    close_hub(hub_of_the_log);
    expect_end(&c);
}

/* ---- what is published ---- */

static void every_type_and_any_number_of_parameters(void)
{
    const char *path = path_of("evt");
    static const unsigned char raw[] = {0, 1, 2, 0xff};
    herald_hub *hub = open_hub(NULL);
    uint32_t others, round;
    client c;
    serve(hub, path);
    c = subscribe(path, UP | DOWN);
    for (others = 0; others <= 40; others++) {
        herald_param params[44];
        size_t count = 0;
        frame found;
        /* Parameters of every type, before, between and after those that the socket expresses. */
        for (round = 0; round < others + 4; round++) {
            static const char *const names[] = {"tunnel_id", "session_id", "peer_tunnel_id",
                                                "peer_session_id"};
            herald_param param;
            bool own = round % 11 == 0 && round / 11 < 4;
            if (others < 40) own = round >= others / 2 && round < others / 2 + 4;
            if (own) {
                uint32_t which = others < 40 ? round - others / 2 : round / 11;
                if (which % 2 == 0) param = herald_param_uint(names[which], 1000 * others + which);
                else param = herald_param_int(names[which], 1000 * others + which);
            } else {
                switch (round % 9) {
                case 0: param = herald_param_int("min", INT64_MIN); break;
                case 1: param = herald_param_uint("max", UINT64_MAX); break;
                case 2: param = herald_param_float("pi", 3.14159); break;
                case 3: param = herald_param_bool("yes", true); break;
                case 4: param = herald_param_string("text", "h\xc3\xa4"); break;
                case 5: param = herald_param_bytes("raw", raw, round % 5); break;
                case 6: param = herald_param_string("null", NULL); break;
                case 7: param = herald_param_string(NULL, "latin \xe4, a string of more than 8"); break;
                default: param = herald_param_bytes("", NULL, 0); break;
                }
            }
            params[count++] = param;
        }
        SAME(herald_publish(hub, "E_L2TP_SESSION_UP", params, count), HERALD_OK);
        CHECK(next_frame(&c, &found));
        SAME(found.event, UP);
        for (round = 0; round < 4; round++) SAME(found.id[round], (uint16_t)(1000 * others + round));
        /* What the socket cannot express comes to nobody. */
        SAME(herald_publish(hub, "E_OTHER", params, others), HERALD_OK);
        if (others < 20) {
            SAME(herald_publish(hub, "E_L2TP_SESSION_DOWN", params, others / 2), HERALD_OK);
        }
    }
    SAME(herald_publish_l2tp(hub, HERALD_L2TP_SESSION_DOWN, 1, 2, 3, 4), HERALD_OK);
    {
        frame found;
        CHECK(next_frame(&c, &found));
        SAME(found.event, DOWN);
        SAME(found.length, 4);
        SAME(found.id[0], 1);
        SAME(found.id[1], 2);
    }
    SAME(stats_of(hub).published, 41 + 41 + 20 + 1);
    close_hub(hub);
    expect_end(&c);
}

static void every_l2tp_event(void)
{
    static const struct { uint16_t event, length, id[4]; } expected[] = {
        {1, 4, {1, 2, 0, 0}}, {2, 4, {1, 2, 0, 0}}, {4, 8, {1, 2, 3, 4}}, {8, 4, {1, 2, 0, 0}},
        {16, 4, {1, 2, 0, 0}}, {32, 2, {1, 0, 0, 0}}, {64, 2, {1, 0, 0, 0}}, {128, 4, {1, 3, 0, 0}},
        {256, 2, {1, 0, 0, 0}}, {512, 2, {1, 0, 0, 0}},
    };
    const char *path = path_of("evt");
    herald_hub *hub = open_hub(NULL);
    uint32_t kind;
    client c;
    serve(hub, path);
    c = subscribe(path, 0x3ff);
    for (kind = 0; kind < COUNT_OF(expected); kind++) {
        frame found;
        SAME(herald_publish_l2tp(hub, kind, 1, 2, 3, 4), HERALD_OK);
        CHECK(next_frame(&c, &found));
        SAME(found.event, expected[kind].event);
        SAME(found.length, expected[kind].length);
        CHECK(memcmp(found.id, expected[kind].id, sizeof found.id) == 0);
    }
    close_hub(hub);
    expect_end(&c);
}

/* ---- losses ---- */

/* Reads a flood until `total` events are there or told as lost, each in its place; the number
 * that were lost. */
static uint32_t read_flood(client *c, uint32_t total)
{
    uint32_t position = 0, lost = 0;
    frame found;
    while (position < total) {
        CHECK(next_frame(c, &found));
        if (found.event == LOST) {
            lost += found.lost;
            position += found.lost;
        } else {
            SAME(number_of(&found), position);
            position++;
        }
    }
    SAME(position, total);
    return lost;
}

static void a_full_ring(void)
{
    const char *path = path_of("evt");
    herald_hub_options options = hub_options();
    uint32_t accepted = 0, refused = 0, number;
    journal j;
    herald_hub *hub;
    client c, all;
    frame found;
    journal_open(&j);
    options.log = journal_write;
    options.log_context = &j;
    options.ring_bytes = 4096;
    hub = open_hub(&options);
    serve(hub, path);
    c = subscribe(path, UP | LOST);
    all = subscribe(path, UP);
    journal_hold(&j, path);
    for (number = 0; number < 1000; number++) {
        herald_error error = publish_number(hub, number);
        if (error == HERALD_OK) accepted++;
        else {
            SAME(error, HERALD_ERROR_RING_FULL);
            refused++;
        }
        SAME(error == HERALD_OK, number < accepted); /* full stays full */
    }
    CHECK(accepted > 0 && refused > 0);
    SAME(stats_of(hub).published, accepted);
    SAME(stats_of(hub).ring_full, refused);
    journal_let_go(&j);

    SAME(read_flood(&c, 1000), refused);
    for (number = 0; number < accepted; number++) expect_number(&all, number);
    for (number = 0; number < 5; number++) SAME(publish_number(hub, 1000 + number), HERALD_OK);
    for (number = 0; number < 5; number++) {
        expect_number(&c, 1000 + number);
        expect_number(&all, 1000 + number);
    }
    WAIT_UNTIL(stats_of(hub).delivered == 2 * (accepted + 5));
    SAME(stats_of(hub).dropped, 2 * refused);
    SAME(stats_of(hub).published, accepted + 5);
    close_hub(hub);
    CHECK(!next_frame(&c, &found) && !next_frame(&all, &found));
}

/* Publishes as fast as it can to a client that does not read, until its queue has overflowed. */
static uint32_t overflow(herald_hub *hub, bool (*overflowed)(herald_stats stats), uint32_t *refused)
{
    uint32_t number = 0;
    *refused = 0;
    do {
        uint32_t end = number + 1000;
        for (; number < end; number++) *refused += publish_number(hub, number) == HERALD_ERROR_RING_FULL;
    } while (!overflowed(stats_of(hub)) || number < 30000);
    return number;
}

static bool has_dropped(herald_stats stats)
{
    return stats.dropped > stats.ring_full;
}

static bool has_disconnected(herald_stats stats)
{
    return stats.overflowed > 0;
}

static void a_full_queue(void)
{
    static const herald_overflow policies[] = {HERALD_OVERFLOW_DROP_NEWEST, HERALD_OVERFLOW_DROP_OLDEST};
    size_t policy;
    for (policy = 0; policy < COUNT_OF(policies); policy++) {
        const char *path = path_of(policy == 0 ? "newest" : "oldest");
        herald_event_sock_options options = sock_options(path);
        herald_hub *hub = open_hub(NULL);
        uint32_t total, refused, lost;
        client c;
        options.queue_bytes = 4096;
        options.overflow = policies[policy];
        SAME(herald_hub_serve_event_sock(hub, &options), HERALD_OK);
        c = subscribe(path, UP | LOST);
        total = overflow(hub, has_dropped, &refused);
        lost = read_flood(&c, total);
        CHECK(lost > refused);
        WAIT_UNTIL(stats_of(hub).delivered == total - lost);
        SAME(stats_of(hub).dropped, lost);
        SAME(stats_of(hub).published + stats_of(hub).ring_full, total);
        SAME(stats_of(hub).ring_full, refused);
        SAME(publish_number(hub, total), HERALD_OK);
        expect_number(&c, total);
        close_hub(hub);
        expect_end(&c);
    }
}

static void a_full_queue_disconnects(void)
{
    const char *path = path_of("evt");
    herald_event_sock_options options = sock_options(path);
    herald_hub *hub = open_hub(NULL);
    uint32_t refused, received = 0, total;
    ssize_t got;
    client c;
    options.queue_bytes = 4096;
    options.overflow = HERALD_OVERFLOW_DISCONNECT;
    SAME(herald_hub_serve_event_sock(hub, &options), HERALD_OK);
    c = subscribe(path, UP | LOST);
    total = overflow(hub, has_disconnected, &refused);
    /* Its stream ends, perhaps within an event. */
    while ((got = read(c.fd, c.bytes, sizeof c.bytes)) > 0) received += (uint32_t)got;
    CHECK(got == 0 || errno == ECONNRESET);
    close(c.fd);
    CHECK(received / 12 < total);
    SAME(stats_of(hub).overflowed, 1);
    SAME(stats_of(hub).subscribers, 0);
    close_hub(hub);
}

/* ---- many subscribers ---- */

static void many_clients(void)
{
    enum { CLIENTS = 70, EVENTS = 30 };
    const char *path = path_of("evt");
    herald_event_sock_options options = sock_options(path);
    herald_hub *hub = open_hub(NULL);
    client clients[CLIENTS];
    uint32_t number, left = CLIENTS, i;
    options.max_clients = CLIENTS;
    SAME(herald_hub_serve_event_sock(hub, &options), HERALD_OK);
    for (i = 0; i < CLIENTS; i++) clients[i] = subscribe(path, UP);
    /* One event at a time; now and then some leave without a word. */
    for (number = 0; number < EVENTS; number++) {
        SAME(publish_number(hub, number), HERALD_OK);
        for (i = 0; i < left; i++) expect_number(&clients[i], number);
        if (number % 10 == 9)
            for (i = 0; i < 5; i++) close(clients[--left].fd);
    }
    WAIT_UNTIL(stats_of(hub).subscribers == left);
    close_hub(hub);
    for (i = 0; i < left; i++) expect_end(&clients[i]);
}

/* ---- statistics ---- */

static void statistics(void)
{
    const char *path = path_of("evt");
    herald_event_sock_options options = sock_options(path);
    herald_hub *hub = open_hub(NULL);
    herald_subscriber_stats list[3];
    struct { herald_stats stats; uint64_t more[4]; } newer;
    herald_stats older;
    size_t count = 99;
    uint32_t number;
    client one, two;
    options.max_clients = 2;
    SAME(herald_hub_serve_event_sock(hub, &options), HERALD_OK);
    SAME(herald_hub_subscribers(hub, list, sizeof list[0], 3, &count), HERALD_OK);
    SAME(count, 0);
    one = subscribe(path, UP);
    two = subscribe(path, UP | DOWN);
    for (number = 0; number < 10; number++) SAME(publish_number(hub, number), HERALD_OK);
    SAME(herald_publish_l2tp(hub, HERALD_L2TP_SESSION_DOWN, 1, 2, 0, 0), HERALD_OK);
    SAME(herald_publish(hub, "E_OTHER", NULL, 0), HERALD_OK);
    WAIT_UNTIL(stats_of(hub).delivered == 21);
    {
        client third;
        memset(&third, 0, sizeof third);
        third.fd = try_connect(path);
        CHECK(third.fd >= 0);
        expect_end(&third); /* turned away */
    }
    SAME(stats_of(hub).published, 12);
    SAME(stats_of(hub).ring_full, 0);
    SAME(stats_of(hub).dropped, 0);
    SAME(stats_of(hub).subscribers, 2);
    SAME(stats_of(hub).refused, 1);
    SAME(stats_of(hub).protocol_errors, 0);
    SAME(stats_of(hub).overflowed, 0);

    memset(list, 0xee, sizeof list);
    SAME(herald_hub_subscribers(hub, list, sizeof list[0], 3, &count), HERALD_OK);
    SAME(count, 2);
    SAME(list[0].id, 1);
    SAME(list[1].id, 2);
    SAME(list[0].pid, getpid());
    SAME(list[0].uid, getuid());
    SAME(list[0].delivered, 10);
    SAME(list[1].delivered, 11);
    SAME(list[1].dropped, 0);
    SAME(list[1].queued_bytes, 0);
    SAME(list[2].id, 0xeeeeeeeeeeeeeeee);

    /* Fewer than there are; and elements of an older and of a newer program. */
    memset(list, 0xee, sizeof list);
    SAME(herald_hub_subscribers(hub, list, sizeof list[0], 1, &count), HERALD_OK);
    SAME(count, 2);
    SAME(list[1].id, 0xeeeeeeeeeeeeeeee);
    memset(list, 0xee, sizeof list);
    SAME(herald_hub_subscribers(hub, list, offsetof(herald_subscriber_stats, delivered), 2, &count),
         HERALD_OK);
    SAME(list[0].id, 1);
    SAME(list[0].uid, getuid());
    SAME(list[0].delivered, 2); /* the second's id */
    SAME(list[0].queued_bytes, 0xeeeeeeeeeeeeeeee);
    memset(list, 0xee, sizeof list);
    SAME(herald_hub_subscribers(hub, list, sizeof list[0] + 8, 2, &count), HERALD_OK);
    SAME(list[1].id, 0); /* of the first, what is not known */
    SAME(list[2].delivered, 0xeeeeeeeeeeeeeeee);
    {
        uint64_t id;
        memcpy(&id, (unsigned char *)&list[1] + 8, sizeof id);
        SAME(id, 2);
    }

    memset(&older, 0xee, sizeof older);
    older.size = offsetof(herald_stats, delivered);
    SAME(herald_hub_stats(hub, &older), HERALD_OK);
    SAME(older.size, offsetof(herald_stats, delivered));
    SAME(older.published, 12);
    SAME(older.ring_full, 0);
    SAME(older.delivered, 0xeeeeeeeeeeeeeeee);
    memset(&newer, 0, sizeof newer);
    newer.stats.size = sizeof newer;
    SAME(herald_hub_stats(hub, &newer.stats), HERALD_OK);
    SAME(newer.stats.size, sizeof newer);
    SAME(newer.stats.subscribers, 2);
    SAME(newer.more[0] | newer.more[3], 0);

    close(one.fd);
    WAIT_UNTIL(stats_of(hub).subscribers == 1);
    send(two.fd, "\1\0\0\0\1", 5, MSG_NOSIGNAL);
    WAIT_UNTIL(stats_of(hub).protocol_errors == 1);
    SAME(stats_of(hub).subscribers, 0);
    SAME(stats_of(hub).delivered, 21);
    close(two.fd);
    close_hub(hub);
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        {"the_log", the_log},
        {"serving_on_the_hubs_own_thread", serving_on_the_hubs_own_thread},
        {"every_type_and_any_number_of_parameters", every_type_and_any_number_of_parameters},
        {"every_l2tp_event", every_l2tp_event},
        {"a_full_ring", a_full_ring},
        {"a_full_queue", a_full_queue},
        {"a_full_queue_disconnects", a_full_queue_disconnects},
        {"many_clients", many_clients},
        {"statistics", statistics},
    };
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The promise: threads and hubs come and go, in any number, and neither an event nor a byte of
 * memory is lost with them.
 */
#include "check.h"

/* ---- threads ---- */

typedef struct publisher {
    pthread_t thread;
    herald_hub *hub;
    uint32_t first, count;
    uint32_t refused;
} publisher;

static void *publish_some(void *argument)
{
    publisher *self = (publisher *)argument;
    uint32_t number;
    for (number = self->first; number < self->first + self->count; number++) {
        herald_error error = publish_number(self->hub, number);
        CHECK(error == HERALD_OK || error == HERALD_ERROR_RING_FULL);
        self->refused += error == HERALD_ERROR_RING_FULL;
    }
    return NULL;
}

static void start(publisher *self, herald_hub *hub, uint32_t first, uint32_t count)
{
    self->hub = hub;
    self->first = first;
    self->count = count;
    self->refused = 0;
    CHECK(pthread_create(&self->thread, NULL, publish_some, self) == 0);
}

static void sixteen_threads_at_once(void)
{
    enum { THREADS = 16 };
    const char *path = path_of("evt");
    herald_event_sock_options options = sock_options(path);
    herald_hub *hub = open_hub(NULL);
    publisher publishers[THREADS];
    uint32_t next[THREADS], t, each = scaled(20000), received = 0, lost = 0, refused = 0;
    client c;
    options.queue_bytes = 1 << 26;
    SAME(herald_hub_serve_event_sock(hub, &options), HERALD_OK);
    c = subscribe(path, UP | LOST);
    for (t = 0; t < THREADS; t++) {
        next[t] = 0;
        start(&publishers[t], hub, t << 24, each);
    }
    while (received + lost < THREADS * each) {
        frame found;
        uint32_t number;
        CHECK(next_frame(&c, &found));
        if (found.event == LOST) {
            lost += found.lost;
            continue;
        }
        number = number_of(&found);
        t = number >> 24;
        number &= 0xffffff;
        CHECK(t < THREADS && number >= next[t] && number < each);
        next[t] = number + 1;
        received++;
    }
    SAME(received + lost, THREADS * each);
    for (t = 0; t < THREADS; t++) {
        CHECK(pthread_join(publishers[t].thread, NULL) == 0);
        refused += publishers[t].refused;
    }
    SAME(lost, refused); /* the queue was large enough */
    SAME(stats_of(hub).published, THREADS * each - refused);
    SAME(stats_of(hub).ring_full, refused);
    close_hub(hub);
    expect_end(&c);
}

/* Each generation of threads is gone before the next is there: what they needed is needed once. */
static void threads_that_come_and_go(void)
{
    enum { AT_ONCE = 8, EACH = 5 };
    const char *path = path_of("evt");
    herald_event_sock_options options = sock_options(path);
    herald_hub_options large = hub_options();
    uint32_t generations = scaled(250), g, t, total = generations * AT_ONCE * EACH;
    herald_hub *hub;
    publisher publishers[AT_ONCE];
    unsigned char *seen = (unsigned char *)calloc(total, 1);
    footprint before;
    frame found;
    client c;
    large.ring_bytes = 1 << 20;
    options.queue_bytes = 1 << 24;
    hub = open_hub(&large);
    CHECK(seen != NULL);
    SAME(herald_hub_serve_event_sock(hub, &options), HERALD_OK);
    c = subscribe(path, UP | LOST);
    before = measure();
    for (g = 0; g < generations; g++) {
        for (t = 0; t < AT_ONCE; t++) start(&publishers[t], hub, (g * AT_ONCE + t) * EACH, EACH);
        for (t = 0; t < AT_ONCE; t++) {
            CHECK(pthread_join(publishers[t].thread, NULL) == 0);
            SAME(publishers[t].refused, 0);
        }
    }
    for (g = 0; g < total; g++) {
        uint32_t number;
        CHECK(next_frame(&c, &found));
        number = number_of(&found);
        CHECK(number < total && !seen[number]);
        CHECK(number % EACH == 0 || seen[number - 1]); /* in the order of their thread */
        seen[number] = 1;
    }
    SAME(stats_of(hub).published, total);
    SAME(stats_of(hub).ring_full, 0);
    /* A ring for each thread that was there at once, and as much again for all else. */
    leaks_nothing_since(before, 2 * AT_ONCE * 1024);
    close_hub(hub);
    CHECK(!next_frame(&c, &found));
    close(c.fd);
    free(seen);
}

/* ---- hubs ---- */

static void two_hubs(void)
{
    const char *path[2] = {path_of("one"), path_of("two")};
    herald_hub *hub[2] = {open_hub(NULL), open_hub(NULL)};
    client c[2];
    uint32_t h, number;
    CHECK(hub[0] != hub[1]);
    for (h = 0; h < 2; h++) {
        serve(hub[h], path[h]);
        c[h] = subscribe(path[h], UP);
    }
    for (number = 0; number < 100; number++) {
        SAME(publish_number(hub[number % 2], number), HERALD_OK);
    }
    for (number = 0; number < 100; number++) expect_number(&c[number % 2], number);
    close_hub(hub[0]);
    expect_end(&c[0]);
    SAME(publish_number(hub[1], 100), HERALD_OK);
    expect_number(&c[1], 100);
    SAME(stats_of(hub[1]).published, 51);
    CHECK(access(path[0], F_OK) != 0 && access(path[1], F_OK) == 0);
    close_hub(hub[1]);
    expect_end(&c[1]);
}

static void two_servers_of_a_hub(void)
{
    const char *path[2] = {path_of("one"), path_of("two")};
    herald_hub *hub = open_hub(NULL);
    client c[2];
    uint32_t s;
    for (s = 0; s < 2; s++) {
        serve(hub, path[s]);
        c[s] = subscribe(path[s], UP);
    }
    SAME(publish_number(hub, 1), HERALD_OK);
    for (s = 0; s < 2; s++) expect_number(&c[s], 1);
    SAME(stats_of(hub).subscribers, 2);
    close_hub(hub);
    for (s = 0; s < 2; s++) expect_end(&c[s]);
}

static void live_once(const char *path, uint32_t number)
{
    herald_hub *hub = open_hub(NULL);
    client c;
    serve(hub, path);
    c = subscribe(path, UP);
    SAME(publish_number(hub, number), HERALD_OK);
    expect_number(&c, number);
    if (number % 2 == 0) close(c.fd);
    close_hub(hub);
    if (number % 2 != 0) expect_end(&c);
}

static void opening_and_closing_a_thousand_times(void)
{
    const char *path = path_of("evt");
    uint32_t round, rounds = scaled(1000);
    footprint before;
    for (round = 0; round < 20; round++) live_once(path, round);
    before = measure();
    for (round = 0; round < rounds; round++) live_once(path, round);
    leaks_nothing_since(before, 4096);
}

/* ---- closing ---- */

static void *read_all(void *argument)
{
    client *c = (client *)argument;
    uintptr_t count = 0;
    frame found;
    while (next_frame(c, &found)) {
        SAME(number_of(&found), count);
        count++;
    }
    return (void *)count;
}

static void closing_sends_what_is_queued(void)
{
    const char *path = path_of("evt");
    herald_hub_options patient = hub_options();
    herald_event_sock_options options = sock_options(path);
    uint32_t number, total = scaled(60000);
    herald_hub *hub;
    pthread_t reader;
    void *count;
    client c;
    patient.flush_ms = 3600 * 1000;
    patient.ring_bytes = 1 << 25;
    options.queue_bytes = 1 << 24;
    hub = open_hub(&patient);
    SAME(herald_hub_serve_event_sock(hub, &options), HERALD_OK);
    c = subscribe(path, UP);
    for (number = 0; number < total; number++) SAME(publish_number(hub, number), HERALD_OK);
    CHECK(pthread_create(&reader, NULL, read_all, &c) == 0);
    close_hub(hub);
    CHECK(pthread_join(reader, &count) == 0);
    SAME((uintptr_t)count, total);
    close(c.fd);
}

static void closing_does_not_wait_for_a_client_that_does_not_read(void)
{
    const char *path = path_of("evt");
    herald_hub_options hasty = hub_options();
    uint32_t number;
    herald_hub *hub;
    client c;
    hasty.flush_ms = 1;
    hub = open_hub(&hasty);
    serve(hub, path);
    c = subscribe(path, UP);
    for (number = 0; stats_of(hub).dropped == 0; number++) {
        uint32_t end = number + 1000;
        for (; number < end; number++) publish_number(hub, number);
    }
    close_hub(hub); /* or whoever started this loses patience */
    WAIT_UNTIL(access(path, F_OK) != 0);
    close(c.fd);
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        {"sixteen_threads_at_once", sixteen_threads_at_once},
        {"threads_that_come_and_go", threads_that_come_and_go},
        {"two_hubs", two_hubs},
        {"two_servers_of_a_hub", two_servers_of_a_hub},
        {"opening_and_closing_a_thousand_times", opening_and_closing_a_thousand_times},
        {"closing_sends_what_is_queued", closing_sends_what_is_queued},
        {"closing_does_not_wait_for_a_client_that_does_not_read",
         closing_does_not_wait_for_a_client_that_does_not_read},
    };
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

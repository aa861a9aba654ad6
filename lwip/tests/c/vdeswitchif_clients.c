/* SPDX-License-Identifier: MIT OR Apache-2.0
 * vdeswitchif: clients that mean no good. */
#include "vde.h"

static void requests_that_are_none_are_refused(void)
{
    struct netif *netif = start_switch(path_of("switch"));
    unsigned char good[256], bad[256];
    size_t length = raw_request(good, "/nowhere/at/all"), i;
    unsigned refused = 0;
    raw_client c;
    static const struct { size_t at; unsigned char is; } wrong[] = {{0, 0}, {4, 2}, {8, 7}, {12, 2}, {14, 0}, {14, '/'}};
    for (i = 0; i < COUNT_OF(wrong); i++) {
        memcpy(bad, good, length);
        bad[wrong[i].at] = wrong[i].is;
        raw_connect(&c, path_of("switch"));
        SAME(write(c.stream, bad, length), length);
        LOOP_UNTIL(switched(netif).refused == refused + 1);
        SAME(raw_answer(&c), 0);
        refused++;
        raw_leave(&c);
    }
    /* A path without an end. */
    memset(good + 14, 'x', sizeof good - 14);
    raw_connect(&c, path_of("switch"));
    SAME(write(c.stream, good, sizeof good), sizeof good);
    LOOP_UNTIL(switched(netif).refused == refused + 1);
    raw_leave(&c);
    /* One byte at a time is a request too. */
    raw_connect(&c, path_of("switch"));
    length = raw_request(good, c.path);
    for (i = 0; i < 122; i++) {
        SAME(switched(netif).clients, 0);
        SAME(write(c.stream, good + i, 1), 1);
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    LOOP_UNTIL(switched(netif).clients == 1);
    /* More than that is of no interest. */
    for (i = 0; i < 1000; i++) {
        if (write(c.stream, bad, sizeof bad) != sizeof bad) break;
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    SAME(switched(netif).clients, 1);
    SAME(switched(netif).refused, refused + 1);
    raw_leave(&c);
    stop_stack();
}

/* In so long, 10 s, a client has to ask. */
static void who_asks_for_nothing_is_turned_away(void)
{
    raw_client silent, slow, good;
    struct netif *netif = start_switch(path_of("switch"));
    raw_connect(&silent, path_of("switch"));
    raw_connect(&slow, path_of("switch"));
    SAME(write(slow.stream, "\xce", 1), 1);
    raw_join(&good, path_of("switch"));
    LOOP_UNTIL(switched(netif).refused == 2);
    SAME(raw_answer(&silent), 0);
    SAME(raw_answer(&slow), 0);
    SAME(switched(netif).clients, 1);
    raw_leave(&silent), raw_leave(&slow), raw_leave(&good);
    stop_stack();
}

static char victim[108];

/* As a user who is nobody, asks for a port at a socket that is somebody else's, then at one of its own. */
static void be_nobody(int fd)
{
    raw_client c;
    char own[108];
    unsigned char bytes[256];
    size_t length;
    char byte;
    SAME(read(fd, &byte, 1), 1);
    CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    raw_connect(&c, path_of("open"));
    CHECK(fcntl(c.stream, F_SETFL, 0) == 0);
    memcpy(own, c.path, sizeof own);
    length = raw_request(bytes, victim);
    SAME(write(c.stream, bytes, length), length);
    SAME(raw_answer(&c), 0);
    raw_leave(&c);
    raw_connect(&c, path_of("open"));
    CHECK(fcntl(c.stream, F_SETFL, 0) == 0);
    CHECK(chmod(c.path, 0777) == 0);
    raw_ask(&c, c.path);
    SAME(raw_answer(&c), 1);
    SAME(write(fd, "", 1), 1);
}

static void a_client_names_no_socket_of_another_user(void)
{
    int fds[2];
    pid_t pid;
    char byte;
    raw_client theirs;
    struct netif *netif;
    struct herald_vdeswitchif_options options;
    if (getuid() != 0) return;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.mode = 0666;
    /* The user has to get there. */
    CHECK(chmod(test_directory, 0755) == 0);
    CHECK(mkdir(path_of("open"), 0755) == 0 && chmod(path_of("open"), 0777) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    snprintf(victim, sizeof victim, "%s", path_of("victim"));
    pid = peer(be_nobody, fds[1]);
    start_stack();
    /* The mode is less the umask: what the directory lets in is the administrator's to say. */
    umask(0);
    netif = vdeswitchif_add_ex(base, path_of("open"), &options);
    CHECK(netif != NULL);
    theirs.data = socket(AF_UNIX, SOCK_DGRAM, 0);
    {
        struct sockaddr_un a = {AF_UNIX, {0}};
        memcpy(a.sun_path, victim, sizeof a.sun_path);
        CHECK(bind(theirs.data, (struct sockaddr *)&a, sizeof a) == 0);
        CHECK(chmod(victim, 0777) == 0);
    }
    let_go_on(fds[0]);
    LOOP_UNTIL(read(fds[0], &byte, 1) == 1);
    SAME(switched(netif).refused, 1);
    join_peer(pid);
    stop_stack();
}

static void there_are_no_more_clients_than_allowed(void)
{
    raw_client c[3];
    struct netif *netif;
    struct herald_vdeswitchif_options options;
    unsigned i;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.max_clients = 2;
    start_stack();
    netif = vdeswitchif_add_ex(base, path_of("switch"), &options);
    raw_join(&c[0], path_of("switch"));
    raw_join(&c[1], path_of("switch"));
    raw_connect(&c[2], path_of("switch"));
    LOOP_UNTIL(switched(netif).refused == 1);
    SAME(raw_answer(&c[2]), 0);
    raw_leave(&c[2]);
    raw_leave(&c[0]);
    LOOP_UNTIL(switched(netif).clients == 1);
    raw_join(&c[2], path_of("switch"));
    for (i = 1; i < 3; i++) raw_leave(&c[i]);
    LOOP_UNTIL(switched(netif).clients == 0);
    stop_stack();
}

static size_t resident(void)
{
    unsigned long pages = 0, all;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f != NULL && fscanf(f, "%lu %lu", &all, &pages) == 2);
    fclose(f);
    return pages * 4096u;
}

/* One that does not read costs the others nothing, and us so much memory and no more. */
static void a_client_that_does_not_read_is_bounded(void)
{
    raw_client deaf, good, sender;
    struct netif *netif = start_switch(path_of("switch"));
    unsigned i, count = 10000;
    static unsigned char frame[1400];
    size_t before;
    raw_join(&deaf, path_of("switch"));
    raw_join(&good, path_of("switch"));
    raw_join(&sender, path_of("switch"));
    before = resident();
    for (i = 0; i < count; i++) {
        make_frame(frame, 255, 1, i);
        SAME(send(sender.data, frame, sizeof frame, 0), sizeof frame);
        event_base_loop(base, EVLOOP_NONBLOCK);
        if (raw_next(&good) != (long)i) LOOP_UNTIL(raw_next(&good) == (long)i);
    }
    CHECK(switched(netif).dropped > 0 && switched(netif).dropped < count);
    /* 512 KiB of 14 MB. */
    CHECK(resident() - before < 4u << 20);
    raw_leave(&deaf);
    LOOP_UNTIL(switched(netif).clients == 2);
    raw_leave(&good);
    raw_leave(&sender);
    stop_stack();
}

static void a_client_that_makes_up_addresses_is_bounded(void)
{
    raw_client c[2];
    struct netif *netif = start_switch(path_of("switch"));
    unsigned char frame[64];
    size_t before, length = make_frame(frame, 1, 3, 0);
    unsigned i, count = 200000;
    raw_join(&c[0], path_of("switch"));
    raw_join(&c[1], path_of("switch"));
    raw_frame(&c[0], 255, 1, 0);
    LOOP_UNTIL(raw_next(&c[1]) == 0);
    before = resident();
    memcpy(frame, netif->hwaddr, 6);
    for (i = 0; i < count; i++) {
        memcpy(frame + 7, &i, sizeof i);
        while (send(c[1].data, frame, length, 0) == -1) event_base_loop(base, EVLOOP_NONBLOCK);
    }
    LOOP_UNTIL(counters_of(netif).rx_packets >= count);
    CHECK(resident() - before < 2u << 20);
    /* What was learnt before has not been pushed out. */
    raw_frame(&c[1], 1, 2, 5);
    LOOP_UNTIL(raw_next(&c[0]) == 5);
    SAME(switched(netif).forwarded, 2);
    SAME(counters_of(netif).rx_packets, count + 1);
    raw_leave(&c[0]);
    raw_leave(&c[1]);
    stop_stack();
}

static void a_client_does_not_become_us(void)
{
    raw_client c[2];
    struct netif *netif = start_switch(path_of("switch"));
    unsigned char frame[64];
    size_t length = make_frame(frame, 255, 1, 1);
    uint64_t received;
    raw_join(&c[0], path_of("switch"));
    raw_join(&c[1], path_of("switch"));
    memcpy(frame + 6, netif->hwaddr, 6);
    SAME(send(c[0].data, frame, length, 0), length);
    LOOP_UNTIL(raw_next(&c[1]) == 1);
    received = counters_of(netif).rx_packets;
    length = make_frame(frame, 1, 1, 2);
    memcpy(frame, netif->hwaddr, 6);
    SAME(send(c[1].data, frame, length, 0), length);
    LOOP_UNTIL(counters_of(netif).rx_packets == received + 1);
    SAME(raw_next(&c[0]), -1);
    raw_leave(&c[0]);
    raw_leave(&c[1]);
    stop_stack();
}

static void any_frame_is_survived(void)
{
    raw_client c[2];
    struct netif *netif = start_switch(path_of("switch"));
    unsigned i, count = scaled(20000);
    static unsigned char frame[65536];
    set_up(netif, "10.9.0.1", "fd00::1");
    raw_join(&c[0], path_of("switch"));
    raw_join(&c[1], path_of("switch"));
    srand(7);
    for (i = 0; i < count; i++) {
        size_t j, length = i % 1000 == 0 ? 60000 : (size_t)rand() % 200;
        for (j = 0; j < length; j++) frame[j] = (unsigned char)rand();
        if (i % 2 == 0 && length > 24) {
            memcpy(frame, netif->hwaddr, 6);
            frame[12] = 8, frame[13] = i % 4 == 0 ? 0 : 6, frame[14] = 0x45;
        }
        if (send(c[0].data, frame, length, 0) == -1) CHECK(errno == EAGAIN || errno == ENOBUFS);
        event_base_loop(base, EVLOOP_NONBLOCK);
        while (recv(c[1].data, frame, sizeof frame, 0) != -1) continue;
        while (recv(c[0].data, frame, sizeof frame, 0) != -1) continue;
    }
    /* The shortest were none, and it still switches. */
    CHECK(counters_of(netif).rx_errors > 0);
    raw_frame(&c[0], 255, 1, 77);
    LOOP_UNTIL(raw_next(&c[1]) == 77);
    raw_leave(&c[0]);
    raw_leave(&c[1]);
    stop_stack();
}

static const test tests[] = {
    {"requests_that_are_none_are_refused", requests_that_are_none_are_refused},
    {"who_asks_for_nothing_is_turned_away", who_asks_for_nothing_is_turned_away},
    {"a_client_names_no_socket_of_another_user", a_client_names_no_socket_of_another_user},
    {"there_are_no_more_clients_than_allowed", there_are_no_more_clients_than_allowed},
    {"a_client_that_does_not_read_is_bounded", a_client_that_does_not_read_is_bounded},
    {"a_client_that_makes_up_addresses_is_bounded", a_client_that_makes_up_addresses_is_bounded},
    {"a_client_does_not_become_us", a_client_does_not_become_us},
    {"any_frame_is_survived", any_frame_is_survived},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

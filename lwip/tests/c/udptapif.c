/* SPDX-License-Identifier: MIT OR Apache-2.0
 * udptapif: clients are sockets of the kernel's, at the loopback of a namespace. */
#include "linux.h"
#include "vde.h"

#define BYTES (1u << 20)
#define RAW 7001
#define LENGTH 7002

/* ---- a stack at the other end ---- */

static const char *kernel, *server;

/* One byte for each process that waits for the ports to be there. */
static int there[2];

static void wait_for_ports(void)
{
    char byte;
    SAME(read(there[0], &byte, 1), 1);
}

static void ask(int fd)
{
    struct netif *netif;
    stream s;
    wait_for_ports();
    start_stack();
    netif = fdif_add(base, fd, fd, 1);
    set_up(netif, "10.9.0.2", "fd00::2");
    stream_connect(&s, server, 7, BYTES);
    LOOP_UNTIL(s.received == BYTES && s.acked == BYTES);
    stream_close(&s);
    LOOP_UNTIL(tcp_active_pcbs == NULL);
    stop_stack();
}

static void ask_at_the_raw_port(int unused)
{
    (void)unused;
    ask(kernel_connected(kernel, RAW, SOCK_DGRAM));
}

/* Puts the length before what comes from one side, and takes it off what comes from the other. */
static void translate(int fd)
{
    int udp = kernel_connected("::1", LENGTH, SOCK_DGRAM);
    struct pollfd fds[2] = {{fd, POLLIN, 0}, {udp, POLLIN, 0}};
    wait_for_ports();
    for (;;) {
        unsigned char bytes[2048];
        ssize_t length;
        CHECK(poll(fds, 2, 60000) > 0);
        if (fds[0].revents != 0) {
            if ((length = recv(fd, bytes + 2, sizeof bytes - 2, 0)) <= 0) return;
            bytes[0] = (unsigned char)(length >> 8), bytes[1] = (unsigned char)length;
            /* Refused when the other side has finished. */
            if (send(udp, bytes, (size_t)length + 2, 0) == -1) SAME(errno, ECONNREFUSED);
        }
        if (fds[1].revents != 0) {
            length = recv(udp, bytes, sizeof bytes, MSG_DONTWAIT);
            if (length == -1) continue;
            SAME(length, 2 + (bytes[0] << 8 | bytes[1]));
            if (send(fd, bytes + 2, (size_t)length - 2, MSG_NOSIGNAL) == -1) return;
        }
    }
}

static void serve(void)
{
    stream s;
    start_stack();
    set_up(udptapif_add(base, RAW, LENGTH), "10.9.0.1", "fd00::1");
    SAME(write(there[1], "..", 2), 2);
    stream_listen(&s, 7, BYTES);
    LOOP_UNTIL(s.received == BYTES && s.acked == BYTES && s.ended);
    stream_close(&s);
    LOOP_UNTIL(tcp_active_pcbs == NULL);
    stop_stack();
}

static void at_the_raw_port(const char *by, const char *to)
{
    pid_t pid;
    loopback_up();
    CHECK(pipe(there) == 0);
    kernel = by;
    server = to;
    pid = peer(ask_at_the_raw_port, 0);
    serve();
    join_peer(pid);
}

static void a_stack_at_the_raw_port_ipv4(void) { at_the_raw_port("127.0.0.1", "10.9.0.1"); }
static void a_stack_at_the_raw_port_ipv6(void) { at_the_raw_port("::1", "fd00::1"); }

static void a_stack_at_the_port_with_lengths(void)
{
    int fds[2];
    pid_t pids[2];
    loopback_up();
    CHECK(pipe(there) == 0);
    server = "10.9.0.1";
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) == 0);
    pids[0] = peer(ask, fds[0]);
    close(fds[0]);
    pids[1] = peer(translate, fds[1]);
    close(fds[1]);
    serve();
    join_peer(pids[0]);
    join_peer(pids[1]);
}

/* ---- single frames ---- */

typedef struct client {
    int fd;
    bool length;
} client;

static client client_at(const char *address, unsigned port)
{
    client c;
    c.fd = kernel_connected(address, port, SOCK_DGRAM);
    c.length = port == LENGTH;
    CHECK(fcntl(c.fd, F_SETFL, O_NONBLOCK) == 0);
    return c;
}

static void say(client *c, unsigned to, unsigned from, unsigned number)
{
    unsigned char bytes[64];
    size_t length = make_frame(bytes + 2, to, from, number);
    bytes[0] = 0, bytes[1] = (unsigned char)length;
    if (c->length) SAME(send(c->fd, bytes, length + 2, 0), length + 2);
    else SAME(send(c->fd, bytes + 2, length, 0), length);
}

/* Sends, and sees that it has come. */
static void tell(struct netif *netif, client *c, unsigned from)
{
    uint64_t before = counters_of(netif).rx_packets;
    say(c, 255, from, 0);
    LOOP_UNTIL(counters_of(netif).rx_packets == before + 1);
}

/* The number of the next frame; -1 if there is none. */
static long next(client *c)
{
    unsigned char bytes[2048];
    ssize_t length = recv(c->fd, bytes, sizeof bytes, 0);
    if (length == -1) return -1;
    if (!c->length) return frame_number(bytes, (size_t)length);
    SAME(length, 2 + (bytes[0] << 8 | bytes[1]));
    return frame_number(bytes + 2, (size_t)length - 2);
}

/* lwIP sends. What the kernel delivers over its loopback is there at once. */
static void out(struct netif *netif, unsigned to, unsigned number)
{
    struct pbuf *p = pbuf_alloc(PBUF_RAW, 60, PBUF_RAM);
    make_frame((unsigned char *)p->payload, to, 200, number);
    SAME(netif->linkoutput(netif, p), ERR_OK);
    pbuf_free(p);
}

static struct netif *start(const struct herald_udptapif_options *options)
{
    struct netif *netif;
    loopback_up();
    start_stack();
    netif = udptapif_add_ex(base, RAW, LENGTH, options);
    CHECK(netif != NULL);
    return netif;
}

static void frames_go_where_their_address_is(void)
{
    struct netif *netif = start(NULL);
    client c[4];
    unsigned i;
    c[0] = client_at("127.0.0.1", RAW);
    c[1] = client_at("127.0.0.1", LENGTH);
    c[2] = client_at("::1", RAW);
    c[3] = client_at("::1", LENGTH);
    /* Nobody is there yet. */
    out(netif, 255, 1);
    for (i = 0; i < 4; i++) tell(netif, &c[i], i + 1);
    for (i = 0; i < 4; i++) SAME(next(&c[i]), -1);
    /* To all, to nobody known, to each. */
    out(netif, 255, 2);
    out(netif, 99, 3);
    for (i = 0; i < 4; i++) out(netif, i + 1, 10 + i);
    for (i = 0; i < 4; i++) {
        SAME(next(&c[i]), 2);
        SAME(next(&c[i]), 3);
        SAME(next(&c[i]), 10 + i);
        SAME(next(&c[i]), -1);
    }
    /* One moves to another place. */
    tell(netif, &c[3], 1);
    out(netif, 1, 20);
    SAME(next(&c[3]), 20);
    SAME(next(&c[0]), -1);
    stop_stack();
}

static void an_empty_datagram_does_not_stop_it(void)
{
    struct netif *netif = start(NULL);
    client c[2];
    unsigned i;
    c[0] = client_at("127.0.0.1", RAW);
    c[1] = client_at("::1", LENGTH);
    for (i = 0; i < 2; i++) {
        SAME(send(c[i].fd, "", 0, 0), 0);
        LOOP_UNTIL(counters_of(netif).rx_errors == i + 1);
        /* It is not a client by that. */
        out(netif, 255, 7);
        SAME(next(&c[i]), -1);
        tell(netif, &c[i], i + 1);
        out(netif, 255, 8);
        SAME(next(&c[i]), 8);
    }
    stop_stack();
}

static void datagrams_that_are_none_are_counted(void)
{
    static const struct { const char *bytes; size_t length; unsigned errors; } some[] = {
        {"x", 1, 1},                         /* half of a length */
        {"\0\0", 2, 1},                      /* no frame */
        {"\0\005short", 7, 1},               /* too short to be one */
        {"\0\074less than it says", 22, 1},
        {"\377\377", 2, 1},
        {"\0\0\0\0", 4, 2},
    };
    struct netif *netif = start(NULL);
    client raw = client_at("127.0.0.1", RAW), length = client_at("127.0.0.1", LENGTH);
    uint64_t errors = 0;
    unsigned i;
    for (i = 0; i < COUNT_OF(some); i++) {
        SAME(send(length.fd, some[i].bytes, some[i].length, 0), some[i].length);
        errors += some[i].errors;
        LOOP_UNTIL(counters_of(netif).rx_errors == errors);
    }
    SAME(send(raw.fd, "13 bytes long", 13, 0), 13);
    LOOP_UNTIL(counters_of(netif).rx_errors == errors + 1);
    SAME(counters_of(netif).rx_packets, 0);
    stop_stack();
}

static void a_datagram_may_hold_several_frames(void)
{
    struct netif *netif = start(NULL);
    client c = client_at("127.0.0.1", LENGTH);
    unsigned char bytes[3 * 62];
    unsigned i;
    for (i = 0; i < 3; i++) {
        bytes[i * 62] = 0, bytes[i * 62 + 1] = 60;
        make_frame(bytes + i * 62 + 2, 255, i + 1, i);
    }
    SAME(send(c.fd, bytes, sizeof bytes, 0), sizeof bytes);
    LOOP_UNTIL(counters_of(netif).rx_packets == 3);
    SAME(counters_of(netif).rx_errors, 0);
    for (i = 0; i < 3; i++) {
        out(netif, i + 1, i);
        SAME(next(&c), i);
    }
    stop_stack();
}

static void the_silent_one_makes_room(void)
{
    struct herald_udptapif_options options;
    struct netif *netif;
    client c[3];
    unsigned i;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.max_clients = 2;
    netif = start(&options);
    for (i = 0; i < 3; i++) c[i] = client_at("127.0.0.1", RAW);
    tell(netif, &c[0], 1);
    tell(netif, &c[1], 2);
    tell(netif, &c[0], 1);
    tell(netif, &c[2], 3);
    out(netif, 255, 5);
    SAME(next(&c[0]), 5);
    SAME(next(&c[1]), -1);
    SAME(next(&c[2]), 5);
    /* What was known of it is forgotten as well: to nobody known is to all. */
    out(netif, 2, 6);
    SAME(next(&c[0]), 6);
    SAME(next(&c[1]), -1);
    SAME(next(&c[2]), 6);
    stop_stack();
}

static void who_is_silent_for_long_is_forgotten(void)
{
    struct herald_udptapif_options options;
    struct netif *netif;
    client silent, other;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.max_age = 2;
    netif = start(&options);
    silent = client_at("127.0.0.1", RAW), other = client_at("127.0.0.1", RAW);
    tell(netif, &silent, 1);
    LOOP_UNTIL((tell(netif, &other, 2), out(netif, 255, 1), next(&silent) == -1));
    SAME(next(&other), 1);
    while (next(&other) != -1) continue;
    /* What is for it alone goes nowhere in particular. */
    out(netif, 1, 2);
    SAME(next(&silent), -1);
    SAME(next(&other), 2);
    /* It is welcome again. */
    tell(netif, &silent, 1);
    out(netif, 1, 3);
    SAME(next(&silent), 3);
    stop_stack();
}

static void a_client_does_not_become_us(void)
{
    struct netif *netif = start(NULL);
    client c = client_at("127.0.0.1", RAW);
    unsigned char frame[64];
    size_t length = make_frame(frame, 255, 1, 1);
    memcpy(frame + 6, netif->hwaddr, 6);
    SAME(send(c.fd, frame, length, 0), length);
    LOOP_UNTIL(counters_of(netif).rx_packets == 1);
    out(netif, 255, 1);
    SAME(next(&c), -1);
    stop_stack();
}

static void what_cannot_be_is_refused(void)
{
    struct herald_udptapif_options options;
    int fd, before;
    loopback_up();
    fd = kernel_bound("::", LENGTH, SOCK_DGRAM);
    start_stack();
    before = open_fds();
    REFUSED(udptapif_add(base, 0, 0), EINVAL, "without a port");
    REFUSED(udptapif_add(base, RAW, LENGTH), EADDRINUSE, "UDP port 7002");
    SAME(open_fds(), before);
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.address = "localhost";
    REFUSED(udptapif_add_ex(base, RAW, 0, &options), EINVAL, "\"localhost\"");
    options.address = "192.0.2.1";
    REFUSED(udptapif_add_ex(base, RAW, 0, &options), EADDRNOTAVAIL, "UDP port 7001");
    options.address = "127.0.0.1";
    options.mtu = 70000;
    REFUSED(udptapif_add_ex(base, RAW, 0, &options), EINVAL, "MTU of 70000");
    options.mtu = 0;
    CHECK(udptapif_add_ex(base, RAW, 0, &options) != NULL);
    options.address = "::1";
    CHECK(udptapif_add_ex(base, RAW, 0, &options) != NULL);
    CHECK(udptapif_add(base, 0, RAW + 10) != NULL);
    close(fd);
    stop_stack();
}

static void any_datagram_is_survived(void)
{
    struct netif *netif = start(NULL);
    client c[2];
    unsigned i, count = scaled(20000);
    static unsigned char bytes[65536];
    set_up(netif, "10.9.0.1", "fd00::1");
    c[0] = client_at("127.0.0.1", RAW);
    c[1] = client_at("::1", LENGTH);
    srand(7);
    for (i = 0; i < count; i++) {
        size_t j, length = i % 1000 == 0 ? 60000 : (size_t)rand() % 200;
        for (j = 0; j < length; j++) bytes[j] = (unsigned char)rand();
        if (i % 2 == 1 && length > 60) bytes[0] = 0, bytes[1] = (unsigned char)((unsigned)rand() % length);
        if (i % 3 == 0 && length > 60) {
            unsigned char *frame = bytes + i % 2 * 2;
            memcpy(frame, netif->hwaddr, 6);
            frame[12] = 8, frame[13] = i % 4 == 0 ? 0 : 6, frame[14] = 0x45;
        }
        if (send(c[i % 2].fd, bytes, length, 0) == -1) CHECK(errno == EAGAIN || errno == ENOBUFS);
        event_base_loop(base, EVLOOP_NONBLOCK);
        while (recv(c[i % 2].fd, bytes, sizeof bytes, 0) != -1) continue;
    }
    for (i = 0; i < 2; i++) {
        uint64_t before = counters_of(netif).rx_packets;
        say(&c[i], 255, 1, 1);
        LOOP_UNTIL(counters_of(netif).rx_packets > before);
    }
    stop_stack();
}

static struct netif *to_remove;

static err_t remove_within(struct pbuf *p, struct netif *netif)
{
    CHECK(netif == to_remove);
    SAME(herald_netif_remove(netif), 0);
    to_remove = NULL;
    pbuf_free(p);
    return ERR_OK;
}

static void removal_at_any_time(void)
{
    unsigned i, j, count = scaled(1000);
    int before;
    client c[2];
    loopback_up();
    base = event_base_new();
    c[0] = client_at("127.0.0.1", RAW);
    c[1] = client_at("::1", LENGTH);
    before = open_fds();
    for (i = 0; i < count; i++) {
        SAME(herald_lwip_init(base), 0);
        to_remove = udptapif_add(base, RAW, LENGTH);
        CHECK(to_remove != NULL);
        netif_set_up(to_remove);
        say(&c[0], 255, 1, 1);
        say(&c[0], 255, 1, 2);
        say(&c[1], 255, 2, 3);
        if (i % 4 == 0) {
            to_remove->input = remove_within;
            LOOP_UNTIL(to_remove == NULL);
        } else {
            if (i % 4 == 1) event_base_loop(base, EVLOOP_NONBLOCK);
            if (i % 2 == 0) SAME(herald_netif_remove(to_remove), 0);
        }
        libevent_timeouts_fini();
        SAME(open_fds(), before);
        /* What the kernel has said of the closed ports. */
        for (j = 0; j < 2; j++) while (next(&c[j]) != -1 || errno != EAGAIN) continue;
    }
    event_base_free(base);
}

static const test tests[] = {
    {"a_stack_at_the_raw_port_ipv4", a_stack_at_the_raw_port_ipv4},
    {"a_stack_at_the_raw_port_ipv6", a_stack_at_the_raw_port_ipv6},
    {"a_stack_at_the_port_with_lengths", a_stack_at_the_port_with_lengths},
    {"frames_go_where_their_address_is", frames_go_where_their_address_is},
    {"an_empty_datagram_does_not_stop_it", an_empty_datagram_does_not_stop_it},
    {"datagrams_that_are_none_are_counted", datagrams_that_are_none_are_counted},
    {"a_datagram_may_hold_several_frames", a_datagram_may_hold_several_frames},
    {"the_silent_one_makes_room", the_silent_one_makes_room},
    {"who_is_silent_for_long_is_forgotten", who_is_silent_for_long_is_forgotten},
    {"a_client_does_not_become_us", a_client_does_not_become_us},
    {"what_cannot_be_is_refused", what_cannot_be_is_refused},
    {"any_datagram_is_survived", any_datagram_is_survived},
    {"removal_at_any_time", removal_at_any_time},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

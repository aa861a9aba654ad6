/* SPDX-License-Identifier: MIT OR Apache-2.0
 * slirpif: lwIP and the host's own network, which is the loopback of a namespace. */
#include "slirp.h"

#include <netif/ethernet.h>

/* ---- TCP ---- */

/* Takes one connection, gets and sends. */
static void echo_both(int listener)
{
    int fd = accept(listener, NULL, NULL);
    CHECK(fd >= 0);
    kernel_receive(fd, BYTES);
    kernel_send(fd, BYTES);
    kernel_receive_all(fd, 0);
}

static void tcp(const char *at, const char *to)
{
    stream s;
    int listener;
    pid_t pid;
    struct netif *netif;
    struct herald_netif_counters counters;
    loopback_up();
    listener = kernel_bound(at, PORT, SOCK_STREAM);
    pid = peer(echo_both, listener);
    close(listener);
    netif = start();
    stream_connect(&s, to, PORT, BYTES);
    LOOP_UNTIL(s.received == BYTES && s.acked == BYTES);
    stream_close(&s);
    LOOP_UNTIL(tcp_active_pcbs == NULL);
    counters = counters_of(netif);
    CHECK(counters.rx_bytes > BYTES && counters.tx_bytes > BYTES);
    SAME(counters.rx_errors + counters.tx_errors + counters.rx_dropped + counters.tx_dropped, 0);
    stop_stack();
    join_peer(pid);
}

static void tcp_ipv4(void) { tcp("127.0.0.1", "10.0.2.2"); }
static void tcp_ipv6(void) { tcp("::1", "fec0::2"); }

static void a_refused_connection_is_refused_at_once(void)
{
    static const char *const hosts[] = {"10.0.2.2", "fec0::2"};
    stream s;
    struct netif *netif;
    unsigned i;
    loopback_up();
    netif = start();
    for (i = 0; i < 2 * COUNT_OF(hosts); i++) {
        uint64_t sent = counters_of(netif).tx_packets;
        stream_connect(&s, hosts[i % 2], PORT, 1);
        LOOP_UNTIL(s.error != ERR_OK);
        SAME(s.error, ERR_RST);
        CHECK(!s.connected);
        /* By the second time the host's hardware address is known: the first SYN has to do, since a
         * second one would come after seconds. One frame more may be one of neighbour discovery. */
        if (i >= COUNT_OF(hosts)) CHECK(counters_of(netif).tx_packets - sent <= 2);
    }
    stop_stack();
}

#define SHORT_ONES 100u

/* Sends a byte to each that connects, and waits for its end, whatever that is. */
static void greet_all(int listener)
{
    unsigned i;
    for (i = 0; i < SHORT_ONES; i++) {
        char byte;
        int fd = accept(listener, NULL, NULL);
        CHECK(fd >= 0);
        kernel_send(fd, 1);
        CHECK(recv(fd, &byte, 1, 0) <= 0);
        close(fd);
    }
}

/* The next begins before the loop has seen the end of the last: its socket has the same number. */
static void one_connection_after_the_other(void)
{
    unsigned i;
    int listener, before;
    pid_t pid;
    stream s;
    loopback_up();
    listener = kernel_bound("127.0.0.1", PORT, SOCK_STREAM);
    pid = peer(greet_all, listener);
    close(listener);
    start();
    before = open_fds();
    for (i = 0; i < SHORT_ONES; i++) {
        stream_connect(&s, "10.0.2.2", PORT, 0);
        LOOP_UNTIL(s.received == 1);
        SAME(open_fds(), before + 1);
        tcp_err(s.pcb, NULL);
        tcp_abort(s.pcb);
    }
    join_peer(pid);
    stop_stack();
}

#define MANY 100u
#define OPENING 300000u
#define AT_ONCE 60000u

/* Opens the windows of all connections, and then fills them while nobody reads. */
static void fill_all(int fd)
{
    int fds[MANY], listener = kernel_bound("127.0.0.1", PORT, SOCK_STREAM);
    unsigned i;
    char byte;
    SAME(listen(listener, MANY), 0);
    SAME(write(fd, "", 1), 1);
    for (i = 0; i < MANY; i++) CHECK((fds[i] = accept(listener, NULL, NULL)) >= 0);
    for (i = 0; i < MANY; i++) kernel_send(fds[i], OPENING);
    SAME(read(fd, &byte, 1), 1);
    for (i = 0; i < MANY; i++) {
        size_t sent = 0;
        while (sent < AT_ONCE) {
            ssize_t length = send(fds[i], pattern_at(OPENING + sent), AT_ONCE - sent, MSG_NOSIGNAL);
            CHECK(length > 0);
            sent += (size_t)length;
        }
    }
    SAME(write(fd, "", 1), 1);
    SAME(read(fd, &byte, 1), 1);
}

static bool all_received(const stream *s, size_t bytes)
{
    unsigned i;
    for (i = 0; i < MANY && s[i].received == bytes; i++) {}
    return i == MANY;
}

/* What comes by all connections at once stays with the host until it is its turn: nothing is dropped. */
static void what_comes_at_once_waits_in_the_host(void)
{
    static stream s[MANY];
    int fds[2];
    unsigned i;
    pid_t pid;
    char byte;
    struct netif *netif;
    loopback_up();
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    pid = peer(fill_all, fds[1]);
    SAME(read(fds[0], &byte, 1), 1);
    netif = start();
    for (i = 0; i < MANY; i++) {
        stream_connect(&s[i], "10.0.2.2", PORT, 0);
        /* With the first comes the host's hardware address. */
        if (i == 0) LOOP_UNTIL(s[0].connected);
    }
    LOOP_UNTIL(all_received(s, OPENING));
    SAME(write(fds[0], "", 1), 1);
    SAME(read(fds[0], &byte, 1), 1);
    LOOP_UNTIL(all_received(s, OPENING + AT_ONCE));
    SAME(counters_of(netif).rx_dropped, 0);
    SAME(write(fds[0], "", 1), 1);
    for (i = 0; i < MANY; i++) stream_close(&s[i]);
    join_peer(pid);
    stop_stack();
}

/* Gets all up to the end, and only then sends. */
static void answer_after_the_end(int listener)
{
    int fd = accept(listener, NULL, NULL);
    CHECK(fd >= 0);
    kernel_receive_all(fd, BYTES);
    kernel_send(fd, BYTES);
}

static void our_end_closes_first(void)
{
    stream s;
    int listener;
    pid_t pid;
    loopback_up();
    listener = kernel_bound("127.0.0.1", PORT, SOCK_STREAM);
    pid = peer(answer_after_the_end, listener);
    close(listener);
    start();
    stream_connect(&s, "10.0.2.2", PORT, BYTES);
    LOOP_UNTIL(s.sent == BYTES);
    SAME(tcp_shutdown(s.pcb, 0, 1), ERR_OK);
    LOOP_UNTIL(s.received == BYTES && s.ended);
    join_peer(pid);
    stop_stack();
}

/* Sends and ends, and then gets. */
static void end_before_the_answer(int listener)
{
    int fd = accept(listener, NULL, NULL);
    CHECK(fd >= 0);
    kernel_send(fd, BYTES);
    CHECK(shutdown(fd, SHUT_WR) == 0);
    kernel_receive_all(fd, BYTES);
}

static void the_far_end_closes_first(void)
{
    stream s;
    int listener;
    pid_t pid;
    loopback_up();
    listener = kernel_bound("127.0.0.1", PORT, SOCK_STREAM);
    pid = peer(end_before_the_answer, listener);
    close(listener);
    start();
    stream_connect(&s, "10.0.2.2", PORT, 0);
    LOOP_UNTIL(s.received == BYTES && s.ended);
    s.want = BYTES;
    stream_fill(&s);
    LOOP_UNTIL(s.acked == BYTES);
    stream_close(&s);
    LOOP_UNTIL(tcp_active_pcbs == NULL);
    join_peer(pid);
    stop_stack();
}

/* ---- UDP ---- */

#define DATAGRAMS 200

typedef struct answers {
    unsigned count;
    u16_t length;
} answers;

static void answered(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from, u16_t port)
{
    answers *a = (answers *)arg;
    (void)pcb, (void)from;
    SAME(port, PORT);
    a->length = p->tot_len;
    SAME(pbuf_get_at(p, 0), a->count % 256);
    a->count++;
    pbuf_free(p);
}

/* Sends back what it gets, and lengthens it. */
static void echo_datagrams(int fd)
{
    struct sockaddr_storage from;
    socklen_t length;
    unsigned char bytes[2048];
    unsigned i;
    for (i = 0; i < DATAGRAMS; i++) {
        ssize_t got;
        length = sizeof from;
        got = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &length);
        CHECK(got > 0);
        CHECK(sendto(fd, bytes, (size_t)got + 1, 0, (struct sockaddr *)&from, length) == got + 1);
    }
}

static void udp(const char *at, const char *to)
{
    struct udp_pcb *pcb;
    answers a = {0, 0};
    ip_addr_t host = address(to);
    int fd, before;
    pid_t pid;
    loopback_up();
    fd = kernel_bound(at, PORT, SOCK_DGRAM);
    pid = peer(echo_datagrams, fd);
    close(fd);
    start();
    before = open_fds();
    pcb = udp_new_ip_type(IP_GET_TYPE(&host));
    udp_recv(pcb, answered, &a);
    while (a.count < DATAGRAMS) {
        unsigned next = a.count;
        u16_t length = (u16_t)(1 + next * 7 % 1400);
        struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, length, PBUF_RAM);
        memset(p->payload, (int)next, length);
        SAME(udp_sendto(pcb, p, &host, PORT), ERR_OK);
        pbuf_free(p);
        LOOP_UNTIL(a.count > next);
        SAME(a.length, length + 1);
        SAME(open_fds(), before + 1);
    }
    udp_remove(pcb);
    join_peer(pid);
    stop_stack();
}

static void udp_ipv4_takes_one_socket(void) { udp("127.0.0.1", "10.0.2.2"); }
static void udp_ipv6_takes_one_socket(void) { udp("::1", "fec0::2"); }

/* ---- options ---- */

static void the_network_can_be_another(void)
{
    stream s;
    int listener;
    pid_t pid;
    struct netif *netif;
    struct herald_slirpif_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.network = "192.168.7.0/24";
    options.network6 = "fd00:7::/64";
    options.mtu = 1400;
    loopback_up();
    listener = kernel_bound("127.0.0.1", PORT, SOCK_STREAM);
    pid = peer(echo_both, listener);
    close(listener);
    start_stack();
    netif = slirpif_add_ex(base, &options);
    CHECK(netif != NULL);
    SAME(netif->mtu, 1400);
    netif_set_default(netif);
    netif_set_up(netif);
    stream_connect(&s, "192.168.7.2", PORT, BYTES);
    LOOP_UNTIL(s.received == BYTES && s.acked == BYTES);
    /* The router's advertisement has given us an address of the other family. */
    LOOP_UNTIL(ip6_addr_isvalid(netif_ip6_addr_state(netif, 1)));
    SAME(netif_ip6_addr(netif, 1)->addr[0], lwip_htonl(0xfd000007));
    stream_close(&s);
    LOOP_UNTIL(tcp_active_pcbs == NULL);
    stop_stack();
    join_peer(pid);
}

static void what_cannot_be_is_refused(void)
{
    struct herald_slirpif_options options;
    struct sockaddr_storage a;
    struct netif *netif, *other;
    int fds[2];
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    loopback_up();
    errno = 0;
    CHECK(slirpif_add((struct event_base *)&options) == NULL);
    SAME(errno, ENXIO);
    netif = start();
    options.network = "10.0.2.1/24";
    REFUSED(slirpif_add_ex(base, &options), EINVAL, "10.0.2.1/24");
    options.network = NULL;
    options.network6 = "fec0::/48";
    REFUSED(slirpif_add_ex(base, &options), EINVAL, "fec0::/48");
    options.network6 = NULL;
    options.mtu = 67;
    REFUSED(slirpif_add_ex(base, &options), EINVAL, "MTU of 67");
    REFUSED(forward(netif, 0, "127.0.0.1", 0, "10.0.2.15", 80) == 0, EINVAL, "port of 0");
    REFUSED(forward(netif, 0, "::1", PORT, "10.0.2.15", 80) == 0, EINVAL, "different families");
    REFUSED(forward(netif, 0, "::1", PORT, "::", 80) == 0, EINVAL, "has to be given");
    memset(&a, 0, sizeof a);
    a.ss_family = AF_UNIX;
    REFUSED(herald_slirpif_remove_hostfwd(netif, 0, (struct sockaddr *)&a, sizeof a) == 0, EAFNOSUPPORT,
            "neither of IPv4 nor of IPv6");
    a.ss_family = AF_INET;
    REFUSED(herald_slirpif_remove_hostfwd(netif, 0, (struct sockaddr *)&a, 4) == 0, EAFNOSUPPORT,
            "cut off");
    REFUSED(herald_slirpif_remove_hostfwd(netif, 0, NULL, 0) == 0, EINVAL, "NULL");
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
    other = fdif_add(base, fds[0], fds[0], 1);
    REFUSED(forward_no_longer(other, 0, "127.0.0.1", PORT) == 0, EINVAL, "not of slirpif_add()");
    stop_stack();
}

static void without_host_loopback(void)
{
    struct herald_slirpif_options options;
    stream s;
    struct netif *netif;
    int listener;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.no_host_loopback = true;
    loopback_up();
    listener = kernel_bound("127.0.0.1", PORT, SOCK_STREAM);
    CHECK(fcntl(listener, F_SETFL, O_NONBLOCK) == 0);
    start_stack();
    netif = slirpif_add_ex(base, &options);
    netif_set_default(netif);
    netif_set_up(netif);
    stream_connect(&s, "10.0.2.2", PORT, 1);
    /* The answer for its hardware address, and that it cannot be reached. */
    LOOP_UNTIL(counters_of(netif).rx_packets >= 2);
    CHECK(!s.connected);
    CHECK(accept(listener, NULL, NULL) == -1);
    tcp_abort(s.pcb);
    stop_stack();
}

static void restricted_lets_in_what_is_forwarded_and_nothing_out(void)
{
    struct herald_slirpif_options options;
    stream out, in;
    struct netif *netif;
    int listener, client;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.restricted = true;
    loopback_up();
    listener = kernel_bound("127.0.0.1", PORT, SOCK_STREAM);
    CHECK(fcntl(listener, F_SETFL, O_NONBLOCK) == 0);
    start_stack();
    netif = slirpif_add_ex(base, &options);
    netif_set_default(netif);
    netif_set_up(netif);
    stream_listen(&in, 80, 0);
    SAME(forward(netif, 0, "127.0.0.1", PORT + 1, "0.0.0.0", 80), 0);
    stream_connect(&out, "10.0.2.2", PORT, 1);
    client = kernel_connected("127.0.0.1", PORT + 1, SOCK_STREAM);
    LOOP_UNTIL(in.connected);
    CHECK(!out.connected);
    CHECK(accept(listener, NULL, NULL) == -1);
    if (out.pcb != NULL) tcp_abort(out.pcb);
    stream_close(&in);
    close(client), close(listener);
    LOOP_UNTIL(tcp_active_pcbs == NULL);
    stop_stack();
}

/* ---- ends ---- */

/* With connections that are being made, that are open, and forwarded ports; before and after the loop has
 * run; and the netif or the whole stack first. */
static void removal_at_any_time(void)
{
    unsigned i, count = scaled(300);
    int listener, before;
    loopback_up();
    listener = kernel_bound("127.0.0.1", PORT, SOCK_STREAM);
    base = event_base_new();
    before = open_fds();
    for (i = 0; i < count; i++) {
        struct netif *netif;
        stream s;
        unsigned turns = i % 8;
        SAME(herald_lwip_init(base), 0);
        netif = slirpif_add(base);
        CHECK(netif != NULL);
        netif_set_default(netif);
        netif_set_up(netif);
        SAME(forward(netif, i & 1, "127.0.0.1", PORT + 1, "0.0.0.0", 80), 0);
        stream_connect(&s, "10.0.2.2", PORT, 100000);
        while (turns-- > 0) event_base_loop(base, EVLOOP_NONBLOCK);
        if (i % 3 == 0) SAME(herald_netif_remove(netif), 0);
        else if (i % 3 == 1) stream_close(&s);
        if (i % 5 == 0) event_base_loop(base, EVLOOP_NONBLOCK);
        libevent_timeouts_fini();
        if (s.pcb != NULL) {
            tcp_arg(s.pcb, NULL);
            tcp_err(s.pcb, NULL);
            tcp_abort(s.pcb);
        }
        while (tcp_active_pcbs != NULL) tcp_abort(tcp_active_pcbs);
        SAME(open_fds(), before);
        if (i % 50 == 49) {
            /* Empties the listener's queue. */
            close(listener);
            listener = kernel_bound("127.0.0.1", PORT, SOCK_STREAM);
        }
    }
    event_base_free(base);
}

static void any_frame_is_survived(void)
{
    unsigned i, count = scaled(20000);
    struct netif *netif;
    loopback_up();
    netif = start();
    srand(7);
    for (i = 0; i < count; i++) {
        u16_t j, length = (u16_t)(1 + rand() % 200);
        struct pbuf *p = pbuf_alloc(PBUF_RAW, length, PBUF_RAM);
        unsigned char *bytes = (unsigned char *)p->payload;
        for (j = 0; j < length; j++) bytes[j] = (unsigned char)rand();
        if (length > 34) {
            static const u16_t types[] = {0x0800, 0x0806, 0x86dd};
            static const unsigned char protocols[] = {1, 6, 17, 58};
            u16_t type = types[rand() % 3];
            bytes[12] = (unsigned char)(type >> 8), bytes[13] = (unsigned char)type;
            bytes[14] = type == 0x0800 ? 0x45 : 0x60;
            bytes[23] = bytes[20] = protocols[rand() % 4];
        }
        netif->linkoutput(netif, p);
        pbuf_free(p);
        if (i % 64 == 0) event_base_loop(base, EVLOOP_NONBLOCK);
    }
    event_base_loop(base, EVLOOP_NONBLOCK);
    stop_stack();
}

static const test tests[] = {
    {"tcp_ipv4", tcp_ipv4},
    {"tcp_ipv6", tcp_ipv6},
    {"a_refused_connection_is_refused_at_once", a_refused_connection_is_refused_at_once},
    {"one_connection_after_the_other", one_connection_after_the_other},
    {"what_comes_at_once_waits_in_the_host", what_comes_at_once_waits_in_the_host},
    {"our_end_closes_first", our_end_closes_first},
    {"the_far_end_closes_first", the_far_end_closes_first},
    {"udp_ipv4_takes_one_socket", udp_ipv4_takes_one_socket},
    {"udp_ipv6_takes_one_socket", udp_ipv6_takes_one_socket},
    {"the_network_can_be_another", the_network_can_be_another},
    {"what_cannot_be_is_refused", what_cannot_be_is_refused},
    {"without_host_loopback", without_host_loopback},
    {"restricted_lets_in_what_is_forwarded_and_nothing_out",
     restricted_lets_in_what_is_forwarded_and_nothing_out},
    {"removal_at_any_time", removal_at_any_time},
    {"any_frame_is_survived", any_frame_is_survived},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

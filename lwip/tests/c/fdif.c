/* SPDX-License-Identifier: MIT OR Apache-2.0
 * fdif: two stacks in two processes, over a socketpair. */
#include "wire.h"

#define BYTES (2u << 20)

static int ether, family;

static const char *here(int side)
{
    static const char *const addresses[2][2] = {{"10.9.0.1", "10.9.0.2"}, {"fd00::1", "fd00::2"}};
    return addresses[family][side];
}

/* The far side: sends back as many bytes as come. */
static void far_side(int fd)
{
    stream s;
    start_stack();
    set_up(fdif_add(base, fd, fd, ether), "10.9.0.2", "fd00::2");
    stream_listen(&s, 7, BYTES);
    LOOP_UNTIL(s.received == BYTES && s.acked == BYTES && s.ended);
    stream_close(&s);
    LOOP_UNTIL(tcp_active_pcbs == NULL);
}

static void transfer(int type)
{
    int fds[2];
    stream s;
    pid_t pid;
    struct netif *netif;
    struct herald_netif_counters counters;
    CHECK(socketpair(AF_UNIX, type, 0, fds) == 0);
    pid = peer(far_side, fds[1]);
    close(fds[1]);
    start_stack();
    netif = fdif_add(base, fds[0], fds[0], ether);
    set_up(netif, "10.9.0.1", "fd00::1");
    stream_connect(&s, here(1), 7, BYTES);
    LOOP_UNTIL(s.received == BYTES && s.acked == BYTES);
    stream_close(&s);
    LOOP_UNTIL(tcp_active_pcbs == NULL);
    counters = counters_of(netif);
    CHECK(counters.rx_bytes > BYTES && counters.tx_bytes > BYTES);
    SAME(counters.rx_errors + counters.tx_errors, 0);
    join_peer(pid);
    stop_stack();
    /* The descriptors are ours: still open. */
    CHECK(fcntl(fds[0], F_GETFD) == 0);
    close(fds[0]);
}

static void ethernet_ipv4(void) { ether = 1, family = 0; transfer(SOCK_DGRAM); }
static void ethernet_ipv6(void) { ether = 1, family = 1; transfer(SOCK_SEQPACKET); }
static void ip_ipv4(void) { ether = 0, family = 0; transfer(SOCK_SEQPACKET); }
static void ip_ipv6(void) { ether = 0, family = 1; transfer(SOCK_DGRAM); }

/* ---- a peer that ends, one that does not read, and none ---- */

static void went_down(struct netif *netif, int error, const char *text, void *ctx)
{
    CHECK(netif != NULL && error == 0 && strstr(text, "closed") != NULL);
    ++*(int *)ctx;
}

static void a_peer_that_ends_is_told_of(void)
{
    int fds[2], there[2], downs = 0;
    struct netif *netif;
    start_stack();
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) == 0);
    netif = fdif_add(base, fds[0], fds[0], 1);
    SAME(herald_netif_set_down_cb(netif, went_down, &downs), 0);
    close(fds[1]);
    LOOP_UNTIL(downs == 1);
    CHECK(!netif_is_link_up(netif));
    SAME(herald_netif_remove(netif), 0);
    close(fds[0]);
    /* Pipes in packet mode, one for each direction. */
    CHECK(pipe2(fds, O_DIRECT) == 0 && pipe2(there, O_DIRECT) == 0);
    netif = fdif_add(base, fds[0], there[1], 1);
    SAME(herald_netif_set_down_cb(netif, went_down, &downs), 0);
    netif_set_up(netif);
    close(there[0]);
    close(fds[1]);
    LOOP_UNTIL(downs == 2);
    stop_stack();
    close(fds[0]), close(there[1]);
}

/* Takes all that there is, counts datagrams of UDP, and says whether one of TCP was among it. */
static bool take_all(unsigned *datagrams)
{
    unsigned char packet[2048];
    bool tcp = false;
    while (recv(wire, packet, sizeof packet, MSG_DONTWAIT) >= 20) {
        *datagrams += packet[9] == IP_PROTO_UDP;
        tcp |= packet[9] == IP_PROTO_TCP;
    }
    return tcp;
}

/* So much waits for it and no more. TCP is held back, and goes on as soon as there is room, and not when its
 * timer says so: then it would have counted a retransmission. */
static void a_peer_that_does_not_read_is_bounded(void)
{
    struct udp_pcb *udp;
    struct tcp_pcb *tcp;
    struct netif *netif;
    ip_addr_t to = address("10.9.0.2");
    unsigned sent = 0, taken = 0;
    int error = 0;
    start_stack();
    netif = wired();
    netif_set_default(netif);
    udp = udp_new();
    while (error != ERR_MEM) {
        struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, 1000, PBUF_RAM);
        error = udp_sendto(udp, p, &to, 9);
        CHECK(error == ERR_OK || error == ERR_MEM);
        pbuf_free(p);
        sent += error == ERR_OK;
        CHECK(sent < 5000);
    }
    SAME(counters_of(netif).tx_dropped, 1);
    tcp = tcp_new();
    SAME(tcp_connect(tcp, &to, 7, NULL), ERR_OK);
    /* Nor when lwIP polls, which sends as well. */
    tcp_poll(tcp, NULL, 255);
    CHECK(tcp->unsent != NULL && tcp->unacked == NULL);
    LOOP_UNTIL(take_all(&taken));
    SAME(taken, sent);
    SAME(tcp->nrtx, 0);
    tcp_abort(tcp);
    udp_remove(udp);
    stop_stack();
}

static void what_cannot_be_is_refused(void)
{
    struct herald_fdif_options options;
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
    start_stack();
    memset(&options, 0, sizeof options);
    REFUSED(fdif_add_ex(base, fds[0], fds[0], 0, &options), EINVAL, "size");
    options.size = sizeof options;
    options.mtu = 67;
    REFUSED(fdif_add_ex(base, fds[0], fds[0], 0, &options), EINVAL, "MTU of 67");
    options.mtu = 0;
    options.hwaddr[0] = 1;
    REFUSED(fdif_add_ex(base, fds[0], fds[0], 1, &options), EINVAL, "of a group");
    options.hwaddr[0] = 0;
    options.close_fds = true;
    REFUSED(fdif_add_ex(base, fds[0], 1000, 1, &options), EBADF, "descriptor 1000");
    REFUSED(fdif_add(base, -1, fds[0], 1), EBADF, "descriptor -1");
    /* Still ours, and as they were. */
    SAME(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
    stop_stack();
    close(fds[0]), close(fds[1]);
}

static const test tests[] = {
    {"ethernet_ipv4", ethernet_ipv4},
    {"ethernet_ipv6", ethernet_ipv6},
    {"ip_ipv4", ip_ipv4},
    {"ip_ipv6", ip_ipv6},
    {"a_peer_that_ends_is_told_of", a_peer_that_ends_is_told_of},
    {"a_peer_that_does_not_read_is_bounded", a_peer_that_does_not_read_is_bounded},
    {"what_cannot_be_is_refused", what_cannot_be_is_refused},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

/* SPDX-License-Identifier: MIT OR Apache-2.0
 * fdif: two stacks in two processes, over a socketpair. */
#include "lab.h"

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

static const test tests[] = {
    {"ethernet_ipv4", ethernet_ipv4},
    {"ethernet_ipv6", ethernet_ipv6},
    {"ip_ipv4", ip_ipv4},
    {"ip_ipv6", ip_ipv6},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

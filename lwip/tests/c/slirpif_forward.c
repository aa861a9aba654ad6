/* SPDX-License-Identifier: MIT OR Apache-2.0
 * slirpif: ports of the host that are lwIP's. */
#include "slirp.h"

#include <poll.h>

static const char *forwarded_at;

/* Connects when it is told to by a byte, and again when it has been forbidden. */
static void connect_in(int fd)
{
    struct sockaddr_storage a;
    socklen_t length = kernel_address(forwarded_at, PORT, &a);
    char byte;
    int in;
    SAME(read(fd, &byte, 1), 1);
    in = kernel_connected(forwarded_at, PORT, SOCK_STREAM);
    kernel_send(in, BYTES);
    CHECK(shutdown(in, SHUT_WR) == 0);
    kernel_receive_all(in, BYTES);
    close(in);
    SAME(write(fd, "", 1), 1);
    SAME(read(fd, &byte, 1), 1);
    in = socket(a.ss_family, SOCK_STREAM, 0);
    CHECK(connect(in, (struct sockaddr *)&a, length) == -1);
    SAME(errno, ECONNREFUSED);
}

static void forwarded_tcp(const char *host, const char *guest)
{
    int fds[2];
    pid_t pid;
    struct netif *netif;
    stream s;
    char byte;
    loopback_up();
    forwarded_at = host;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    pid = peer(connect_in, fds[1]);
    netif = start();
    stream_listen(&s, 80, BYTES);
    SAME(forward(netif, 0, host, PORT, guest, 80), 0);
    REFUSED(forward(netif, 0, host, PORT, guest, 80) == 0, EADDRINUSE, "port 7000");
    SAME(write(fds[0], "", 1), 1);
    LOOP_UNTIL(s.ended && s.received == BYTES && s.acked == BYTES);
    stream_close(&s);
    CHECK(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
    LOOP_UNTIL(read(fds[0], &byte, 1) == 1);
    SAME(forward_no_longer(netif, 0, host, PORT), 0);
    REFUSED(forward_no_longer(netif, 0, host, PORT) == 0, ENOENT, "is not forwarded");
    SAME(write(fds[0], "", 1), 1);
    join_peer(pid);
    stop_stack();
}

static void forwarded_tcp_ipv4(void) { forwarded_tcp("127.0.0.1", "0.0.0.0"); }
static void forwarded_tcp_ipv6(void) { forwarded_tcp("::1", "fec0::15"); }

static void echo_once(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from, u16_t port)
{
    ++*(unsigned *)arg;
    SAME(udp_sendto(pcb, p, from, port), ERR_OK);
    pbuf_free(p);
}

static void ask_once(int fd)
{
    char bytes[16];
    int in = kernel_connected("127.0.0.1", PORT, SOCK_DGRAM);
    SAME(read(fd, bytes, 1), 1);
    SAME(send(in, "question", 8, 0), 8);
    SAME(recv(in, bytes, sizeof bytes, 0), 8);
    CHECK(memcmp(bytes, "question", 8) == 0);
    SAME(write(fd, "", 1), 1);
}

static void forwarded_udp(void)
{
    int fds[2];
    pid_t pid;
    struct netif *netif;
    struct udp_pcb *pcb = NULL;
    unsigned asked = 0;
    char byte;
    loopback_up();
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    pid = peer(ask_once, fds[1]);
    netif = start();
    pcb = udp_new();
    SAME(udp_bind(pcb, IP_ANY_TYPE, 53), ERR_OK);
    udp_recv(pcb, echo_once, &asked);
    SAME(forward(netif, 1, "127.0.0.1", PORT, "10.0.2.15", 53), 0);
    SAME(write(fds[0], "", 1), 1);
    CHECK(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
    LOOP_UNTIL(read(fds[0], &byte, 1) == 1);
    SAME(asked, 1);
    SAME(forward_no_longer(netif, 1, "127.0.0.1", PORT), 0);
    udp_remove(pcb);
    join_peer(pid);
    stop_stack();
}

/* A port of one family is not the other's. */
static void both_families_of_a_port_are_forwarded(void)
{
    struct netif *netif;
    loopback_up();
    netif = start();
    SAME(forward(netif, 0, "::", PORT, "fec0::15", 80), 0);
    SAME(forward(netif, 0, "0.0.0.0", PORT, "0.0.0.0", 80), 0);
    SAME(forward(netif, 1, "::", PORT, "fec0::15", 80), 0);
    SAME(forward(netif, 1, "0.0.0.0", PORT, "0.0.0.0", 80), 0);
    SAME(forward_no_longer(netif, 0, "::", PORT), 0);
    REFUSED(forward(netif, 0, "0.0.0.0", PORT, "0.0.0.0", 80) == 0, EADDRINUSE, "port 7000");
    stop_stack();
}

/* Sends as long as it is taken, without waiting; then tells how much that was. */
static void send_all_that_is_taken(int fd)
{
    static unsigned char bytes[65536];
    size_t sent = 0, before;
    int to = kernel_connected("127.0.0.1", PORT, SOCK_STREAM), quiet = 0;
    CHECK(fcntl(to, F_SETFL, O_NONBLOCK) == 0);
    /* Until nothing has been taken for a while. */
    while (quiet < 50) {
        ssize_t length;
        before = sent;
        while ((length = send(to, bytes, sizeof bytes, MSG_NOSIGNAL)) > 0 && sent < 256u << 20) sent += (size_t)length;
        quiet = sent == before ? quiet + 1 : 0;
        poll(NULL, 0, 10);
    }
    SAME(write(fd, &sent, sizeof sent), sizeof sent);
    SAME(read(fd, bytes, 1), 1);
}

static err_t keep_without_reading(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    (void)arg, (void)pcb;
    SAME(err, ERR_OK);
    if (p != NULL) pbuf_free(p);
    return ERR_OK;
}

static err_t accept_without_reading(void *arg, struct tcp_pcb *pcb, err_t err)
{
    SAME(err, ERR_OK);
    *(struct tcp_pcb **)arg = pcb;
    tcp_recv(pcb, keep_without_reading);
    return ERR_OK;
}

/* A program that does not open its window holds the host back, and costs no more than some buffers. */
static void who_does_not_read_holds_the_host_back(void)
{
    int fds[2];
    pid_t pid;
    size_t sent;
    struct tcp_pcb *listener, *pcb = NULL;
    loopback_up();
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    start();
    listener = tcp_new();
    SAME(tcp_bind(listener, IP_ANY_TYPE, 80), ERR_OK);
    listener = tcp_listen(listener);
    tcp_arg(listener, &pcb);
    tcp_accept(listener, accept_without_reading);
    SAME(forward(netif_default, 0, "127.0.0.1", PORT, "0.0.0.0", 80), 0);
    pid = peer(send_all_that_is_taken, fds[1]);
    CHECK(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
    LOOP_UNTIL(read(fds[0], &sent, sizeof sent) == sizeof sent);
    CHECK(pcb != NULL);
    /* The kernel's buffers, and a window of lwIP's and libslirp's. */
    CHECK(sent > 65536 && sent < 32u << 20);
    SAME(write(fds[0], "", 1), 1);
    join_peer(pid);
    tcp_abort(pcb);
    SAME(tcp_close(listener), ERR_OK);
    stop_stack();
}

static const test tests[] = {
    {"forwarded_tcp_ipv4", forwarded_tcp_ipv4},
    {"forwarded_tcp_ipv6", forwarded_tcp_ipv6},
    {"forwarded_udp", forwarded_udp},
    {"both_families_of_a_port_are_forwarded", both_families_of_a_port_are_forwarded},
    {"who_does_not_read_holds_the_host_back", who_does_not_read_holds_the_host_back},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

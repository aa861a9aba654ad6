/* SPDX-License-Identifier: MIT OR Apache-2.0
 * tunif: lwIP and the kernel, which is the peer in a process of its own. */
#include "linux.h"

#define BYTES (4u << 20)

static bool ether, offload;

static const char *kernels(int v6) { return v6 ? "fd00::1" : "10.9.0.1"; }
static const char *lwips(int v6) { return v6 ? "fd00::2" : "10.9.0.2"; }

static struct netif *kernel_link(void)
{
    struct herald_tunif_options options;
    struct netif *netif;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.offload = offload;
    options.ipv4 = "10.9.0.1/24";
    options.ipv6 = "fd00::1/64";
    netif = tunif_add_ex(base, NULL, ether, &options);
    set_up(netif, "10.9.0.2", "fd00::2");
    await_address("fd00::1");
    return netif;
}

/* The kernel's programs, which start when the link is there. */
static pid_t kernel(void (*run)(void))
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid > 0) return pid;
    run();
    _exit(0);
}

static int v6;

/* The loop runs until the other process has ended, and ended well. */
static void loop_until_ended(pid_t pid)
{
    int status = -1;
    LOOP_UNTIL(waitpid(pid, &status, WNOHANG) == pid);
    SAME(status, 0);
}

static void connects_to_lwip(void)
{
    int fd = kernel_connected(lwips(v6), 7, SOCK_STREAM);
    pid_t pid = fork();
    if (pid == 0) {
        kernel_send_all(fd, BYTES);
        _exit(0);
    }
    kernel_receive_all(fd, BYTES);
    join_peer(pid);
}

static void listens_to_lwip(void)
{
    int listener = kernel_bound(kernels(v6), 7, SOCK_STREAM), fd;
    fd = accept(listener, NULL, NULL);
    CHECK(fd >= 0);
    kernel_send_all(fd, BYTES);
    kernel_receive_all(fd, BYTES);
}

/* TCP: the kernel connects, both send at once. */
static void tcp_from_the_kernel(void)
{
    stream s;
    pid_t pid;
    struct netif *netif;
    start_stack();
    netif = kernel_link();
    stream_listen(&s, 7, BYTES);
    pid = kernel(connects_to_lwip);
    LOOP_UNTIL(s.received == BYTES && s.acked == BYTES && s.ended);
    stream_close(&s);
    loop_until_ended(pid);
    SAME(counters_of(netif).rx_errors + counters_of(netif).tx_errors, 0);
    stop_stack();
}

/* TCP: lwIP connects. */
static void tcp_to_the_kernel(void)
{
    stream s;
    pid_t pid;
    bool ready = false;
    double end = now() + SOON;
    start_stack();
    kernel_link();
    pid = kernel(listens_to_lwip);
    /* Again until it listens. */
    while (!ready) {
        CHECK(now() < end);
        stream_connect(&s, kernels(v6), 7, BYTES);
        LOOP_UNTIL(s.connected || s.pcb == NULL);
        ready = s.connected;
    }
    LOOP_UNTIL(s.received == BYTES && s.acked == BYTES && s.ended);
    stream_close(&s);
    loop_until_ended(pid);
    stop_stack();
}

static void echo_datagram(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from, u16_t port)
{
    (void)arg;
    SAME(udp_sendto(pcb, p, from, port), ERR_OK);
    pbuf_free(p);
}

/* Datagrams of all sizes up to more than the MTU come back as they were. */
static void sends_datagrams(void)
{
    static unsigned char out[4000], in[4000];
    int fd = kernel_connected(lwips(v6), 9, SOCK_DGRAM);
    size_t length, i;
    for (length = 0; length <= 4000; length += 500) {
        for (i = 0; i < length; i++) out[i] = pattern(i + length);
        SAME(send(fd, out, length, 0), (long long)length);
        SAME(recv(fd, in, sizeof in, 0), (long long)length);
        CHECK(memcmp(out, in, length) == 0);
    }
}

static void udp(void)
{
    struct udp_pcb *pcb;
    start_stack();
    kernel_link();
    pcb = udp_new_ip_type(IPADDR_TYPE_ANY);
    SAME(udp_bind(pcb, IP_ANY_TYPE, 9), ERR_OK);
    udp_recv(pcb, echo_datagram, NULL);
    loop_until_ended(kernel(sends_datagrams));
    udp_remove(pcb);
    stop_stack();
}

static void pings(void)
{
    execlp("ping", "ping", v6 ? "-6" : "-4", "-q", "-c", "20", "-i", "0.01", "-s", "1400", "-W", "30",
           lwips(v6), (char *)NULL);
    _exit(1);
}

static void icmp(void)
{
    start_stack();
    kernel_link();
    loop_until_ended(kernel(pings));
    stop_stack();
}

static void everything(void)
{
    for (v6 = 0; v6 < 2; v6++) {
        icmp();
        udp();
        tcp_from_the_kernel();
        tcp_to_the_kernel();
    }
}

static void tun(void) { ether = false, offload = false; everything(); }
static void tun_with_offload(void) { ether = false, offload = true; everything(); }
static void tap(void) { no_dad(); ether = true, offload = false; everything(); }
static void tap_with_offload(void) { no_dad(); ether = true, offload = true; everything(); }

/* What the kernel has got from an interface, in packets. */
static unsigned long kernels_packets(const char *name)
{
    char line[512];
    unsigned long packets = 0;
    FILE *f = fopen("/proc/self/net/dev", "r");
    CHECK(f != NULL);
    while (fgets(line, sizeof line, f) != NULL) {
        const char *at = strstr(line, name);
        if (at != NULL) CHECK(sscanf(at + strlen(name), ": %*u %lu", &packets) == 1);
    }
    fclose(f);
    return packets;
}

/* What goes in bursts really does, in both directions: far fewer packets than segments. */
static void bursts(void)
{
    stream s;
    pid_t pid;
    struct netif *netif;
    char name[16];
    offload = true;
    for (v6 = 0; v6 < 2; v6++) {
        start_stack();
        netif = kernel_link();
        SAME(tunif_get_name(netif, name, sizeof name), 0);
        stream_listen(&s, 7, BYTES);
        pid = kernel(connects_to_lwip);
        LOOP_UNTIL(s.received == BYTES && s.acked == BYTES && s.ended);
        fprintf(stderr, "packets in: %llu, out: %lu\n", (unsigned long long)counters_of(netif).rx_packets,
                kernels_packets(name));
        CHECK(counters_of(netif).rx_packets < 2 * BYTES / 1460);
        CHECK(kernels_packets(name) < 2 * BYTES / 1460);
        stream_close(&s);
        loop_until_ended(pid);
        stop_stack();
    }
}

static void names(void)
{
    char name[16] = "";
    int fds[2];
    struct netif *netif, *plain;
    start_stack();
    netif = tunif_add(base, NULL, 0);
    CHECK(netif != NULL);
    SAME(tunif_get_name(netif, name, sizeof name), 0);
    CHECK(strncmp(name, "tun", 3) == 0 && if_nametoindex(name) != 0);
    REFUSED(tunif_get_name(netif, name, 2) == 0, ERANGE, "bytes");
    SAME(herald_netif_remove(netif), 0);
    SAME(if_nametoindex(name), 0);
    netif = tunif_add(base, "herald%d", 1);
    CHECK(netif != NULL);
    SAME(tunif_get_name(netif, name, sizeof name), 0);
    CHECK(strcmp(name, "herald0") == 0);
    /* It is somebody's already. */
    REFUSED(tunif_add(base, "herald0", 1), EBUSY, "herald0");
    REFUSED(tunif_add(base, "a-name-that-is-too-long", 0), EINVAL, "up to 15 bytes");
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
    plain = fdif_add(base, fds[0], fds[0], 0);
    REFUSED(tunif_get_name(plain, name, sizeof name) == 0, EINVAL, "not one of tunif");
    stop_stack();
}

static void options(void)
{
    struct herald_tunif_options options;
    struct netif *netif;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    start_stack();
    options.ipv4 = "10.9.0.1";
    REFUSED(tunif_add_ex(base, NULL, 0, &options), EINVAL, "must be like 10.0.0.1/24");
    options.ipv4 = "10.9.0.1/33";
    REFUSED(tunif_add_ex(base, NULL, 0, &options), EINVAL, "10.9.0.1/33");
    options.ipv4 = NULL;
    options.mtu = 67;
    REFUSED(tunif_add_ex(base, NULL, 0, &options), EINVAL, "MTU of 67");
    options.mtu = 1300;
    options.ipv4 = "10.9.0.1/16";
    netif = tunif_add_ex(base, "herald0", 0, &options);
    CHECK(netif != NULL);
    SAME(netif->mtu, 1300);
    SAME(system("ip -o link show dev herald0 | grep -q 'mtu 1300'"), 0);
    SAME(system("ip -o addr show dev herald0 | grep -q '10.9.0.1/16'"), 0);
    stop_stack();
}

static int downs, down_error;

static void went_down(struct netif *netif, int error, const char *text, void *ctx)
{
    CHECK(ctx == &downs && text[0] != '\0' && !netif_is_link_up(netif));
    downs++;
    down_error = error;
    SAME(herald_netif_remove(netif), 0);
}

/* Somebody deletes the kernel's interface. */
static void the_interface_vanishes(void)
{
    struct netif *netif;
    start_stack();
    netif = tunif_add(base, "herald0", 0);
    set_up(netif, "10.9.0.2", "fd00::2");
    SAME(herald_netif_set_down_cb(netif, went_down, &downs), 0);
    SAME(system("ip link del herald0"), 0);
    LOOP_UNTIL(downs == 1);
    CHECK(down_error != 0);
    REFUSED(herald_netif_remove(netif) == 0, ENODEV, "no longer");
    stop_stack();
}

/* An interface that is down takes nothing, and works when it is up again. */
static void the_interface_is_down_for_a_while(void)
{
    struct udp_pcb *pcb;
    struct netif *netif;
    ip_addr_t to = address("10.9.0.1");
    struct pbuf *p;
    start_stack();
    netif = kernel_link();
    SAME(herald_netif_set_down_cb(netif, went_down, &downs), 0);
    SAME(system("ip link set tun0 down"), 0);
    p = pbuf_alloc(PBUF_TRANSPORT, 10, PBUF_RAM);
    memset(p->payload, 0, p->len);
    pcb = udp_new();
    CHECK(udp_sendto(pcb, p, &to, 9) != ERR_OK);
    pbuf_free(p);
    udp_remove(pcb);
    CHECK(counters_of(netif).tx_errors > 0);
    SAME(system("ip link set tun0 up && ip -6 addr add fd00::1/64 dev tun0 nodad"), 0);
    loop_until_ended(kernel(pings));
    SAME(downs, 0);
    stop_stack();
}

static const test tests[] = {
    {"tun", tun},
    {"tun_with_offload", tun_with_offload},
    {"tap", tap},
    {"tap_with_offload", tap_with_offload},
    {"bursts", bursts},
    {"names", names},
    {"options", options},
    {"the_interface_vanishes", the_interface_vanishes},
    {"the_interface_is_down_for_a_while", the_interface_is_down_for_a_while},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

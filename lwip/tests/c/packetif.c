/* SPDX-License-Identifier: MIT OR Apache-2.0
 * packetif: lwIP as a host on a network of the kernel's, here one end of a veth pair. The other end is in a
 * network namespace of the peer's. */
#include "linux.h"

#include <sched.h>

#define BYTES (4u << 20)

static int v6;

static const char *lwips(void) { return v6 ? "fd00::2" : "10.9.0.2"; }

static void far_side(int fd)
{
    char byte;
    int tcp;
    pid_t pid;
    CHECK(unshare(CLONE_NEWNET) == 0);
    no_dad();
    CHECK(write(fd, "n", 1) == 1);
    CHECK(read(fd, &byte, 1) == 1);
    SAME(system("ip addr add 10.9.0.1/24 dev far && ip link set far up && "
                "ip -6 addr add fd00::1/64 dev far nodad"), 0);
    for (v6 = 0; v6 < 2; v6++) {
        char command[100];
        snprintf(command, sizeof command, "ping -q -c 5 -i 0.01 -s 1400 -W 30 %s", lwips());
        SAME(system(command), 0);
        tcp = kernel_connected(lwips(), 7, SOCK_STREAM);
        pid = fork();
        if (pid == 0) {
            kernel_send_all(tcp, BYTES);
            _exit(0);
        }
        kernel_receive_all(tcp, BYTES);
        join_peer(pid);
        close(tcp);
    }
}

static void a_host_on_a_network(void)
{
    int fds[2], status;
    char byte, command[100];
    pid_t pid;
    struct netif *netif;
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) == 0);
    pid = peer(far_side, fds[1]);
    CHECK(read(fds[0], &byte, 1) == 1);
    snprintf(command, sizeof command, "ip link add near type veth peer name far netns %d", (int)pid);
    SAME(system(command), 0);
    SAME(system("ip link set near up"), 0);
    start_stack();
    netif = packetif_add(base, "near");
    set_up(netif, "10.9.0.2", "fd00::2");
    SAME(tunif_get_name(netif, command, sizeof command), 0);
    CHECK(strcmp(command, "near") == 0);
    CHECK(write(fds[0], "g", 1) == 1);
    for (v6 = 0; v6 < 2; v6++) {
        stream s;
        stream_listen(&s, 7, BYTES);
        LOOP_UNTIL(s.received == BYTES && s.acked == BYTES && s.ended);
        stream_close(&s);
    }
    LOOP_UNTIL(waitpid(pid, &status, WNOHANG) == pid);
    SAME(status, 0);
    SAME(counters_of(netif).tx_errors, 0);
    /* Checksums were there, and bursts came: far fewer packets than segments. */
    CHECK(counters_of(netif).rx_packets < 4 * BYTES / 1460);
    stop_stack();
}

static void errors(void)
{
    struct herald_packetif_options options;
    struct netif *netif;
    start_stack();
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.mtu = 67;
    REFUSED(packetif_add_ex(base, "lo", &options), EINVAL, "MTU of 67");
    options.mtu = 1300;
    options.hwaddr[0] = 3;
    REFUSED(packetif_add_ex(base, "lo", &options), EINVAL, "of a group");
    options.hwaddr[0] = 2;
    netif = packetif_add_ex(base, "lo", &options);
    CHECK(netif != NULL);
    SAME(netif->mtu, 1300);
    CHECK(memcmp(netif->hwaddr, options.hwaddr, 6) == 0);
    REFUSED(packetif_add(base, "nosuch0"), ENODEV, "nosuch0");
    REFUSED(packetif_add(base, NULL), EINVAL, "interface is NULL");
    REFUSED(packetif_add(base, "a-name-that-is-too-long"), EINVAL, "up to 15 bytes");
    stop_stack();
}

static const test tests[] = {
    {"a_host_on_a_network", a_host_on_a_network},
    {"errors", errors},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

/* SPDX-License-Identifier: MIT OR Apache-2.0
 * What a peer's bytes cannot do. */
#include "wire.h"

static uint64_t errors_after(struct netif *netif, const unsigned char *packet, size_t length)
{
    uint64_t before = counters_of(netif).rx_packets;
    SAME(send(wire, packet, length, 0), (long long)length);
    LOOP_UNTIL(counters_of(netif).rx_packets == before + 1);
    return counters_of(netif).rx_errors;
}

/* lwIP's UDP-Lite asserts that the checksum covers no more than there is. */
static void a_checksum_of_more_than_there_is(void)
{
    unsigned char packet[32] = {0x45, 0, 0, 32, 0, 0, 0, 0, 64, 136, 0, 0, 10, 9, 0, 2, 10, 9, 0, 1, 0, 9, 0, 9, 0, 13};
    uint16_t sum = checksum_of(packet, 20);
    struct netif *netif;
    packet[10] = (unsigned char)(sum >> 8), packet[11] = (unsigned char)sum;
    start_stack();
    netif = wired();
    SAME(errors_after(netif, packet, sizeof packet), 1);
    send_ping(1, 10);
    LOOP_UNTIL(take_pong() == 1);
    stop_stack();
}

/* Beginnings of packets are none. */
static void less_than_a_header(void)
{
    unsigned char packet[64];
    size_t length;
    struct netif *netif;
    start_stack();
    netif = wired();
    make_ping(packet, 1, 10);
    for (length = 1; length < 20; length++) SAME(errors_after(netif, packet, length), (long long)length);
    SAME(send(wire, packet, 0, 0), 0);
    send_ping(2, 10);
    LOOP_UNTIL(take_pong() == 2);
    SAME(counters_of(netif).rx_errors, 20);
    stop_stack();
}

/* More than the MTU is taken, up to what a packet of IP can be. */
static void more_than_the_mtu(void)
{
    unsigned char packet[9028];
    size_t length;
    int size = 1 << 20;
    struct netif *netif;
    start_stack();
    netif = wired();
    CHECK(setsockopt(wire, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
    length = make_ping(packet, 3, 9000);
    SAME(errors_after(netif, packet, length), 0);
    /* The answer is cut into fragments. */
    SAME(recv(wire, packet, sizeof packet, 0), 1500);
    stop_stack();
}

static const test tests[] = {
    {"a_checksum_of_more_than_there_is", a_checksum_of_more_than_there_is},
    {"less_than_a_header", less_than_a_header},
    {"more_than_the_mtu", more_than_the_mtu},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

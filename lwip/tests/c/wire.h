/* SPDX-License-Identifier: MIT OR Apache-2.0
 * The far end of an fdif without Ethernet, by hand: pings, and what comes back. */
#ifndef WIRE_H
#define WIRE_H

#include "lab.h"

#include <poll.h>

static int wire = -1;

static inline uint16_t checksum_of(const unsigned char *bytes, size_t length)
{
    uint32_t sum = 0;
    size_t i;
    for (i = 0; i + 1 < length; i += 2) sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* A netif at 10.9.0.1 with its far end in `wire`. Multicast reports of IPv6 are not sent. */
static inline struct netif *wired(void)
{
    ip_addr_t a = address("10.9.0.1"), mask = address("255.255.255.0"), gw = address("0.0.0.0");
    int fds[2];
    struct netif *netif;
    struct herald_fdif_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.close_fds = true;
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
    netif = fdif_add_ex(base, fds[0], fds[0], 0, &options);
    CHECK(netif != NULL);
    wire = fds[1];
    netif_set_addr(netif, ip_2_ip4(&a), ip_2_ip4(&mask), ip_2_ip4(&gw));
    netif_set_up(netif);
    return netif;
}

/* An echo request to 10.9.0.1 with a number in it, and so many bytes of data (even). */
static inline size_t make_ping(unsigned char *packet, uint16_t number, size_t data)
{
    size_t length = 28 + data;
    uint16_t sum;
    static const unsigned char header[] = {0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 10, 9, 0, 2, 10, 9, 0, 1};
    memset(packet, 0, length);
    memcpy(packet, header, sizeof header);
    packet[2] = (unsigned char)(length >> 8), packet[3] = (unsigned char)length;
    sum = checksum_of(packet, 20);
    packet[10] = (unsigned char)(sum >> 8), packet[11] = (unsigned char)sum;
    packet[20] = 8;
    packet[26] = (unsigned char)(number >> 8), packet[27] = (unsigned char)number;
    sum = checksum_of(packet + 20, length - 20);
    packet[22] = (unsigned char)(sum >> 8), packet[23] = (unsigned char)sum;
    return length;
}

static inline void send_ping(uint16_t number, size_t data)
{
    unsigned char packet[2048];
    size_t length = make_ping(packet, number, data);
    SAME(send(wire, packet, length, 0), (long long)length);
}

/* Takes an answer if there is one: its number, or -1. */
static inline int take_pong(void)
{
    unsigned char packet[4096];
    for (;;) {
        ssize_t length = recv(wire, packet, sizeof packet, MSG_DONTWAIT);
        if (length < 0) return -1;
        if (length >= 28 && packet[0] == 0x45 && packet[9] == 1 && packet[20] == 0)
            return packet[26] << 8 | packet[27];
    }
}

#endif

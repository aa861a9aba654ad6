/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A slirpif, the host's side of which is the loopback of a namespace. */
#ifndef SLIRP_H
#define SLIRP_H

#include "linux.h"

#define BYTES (4u << 20)
#define PORT 7000

static inline struct netif *start(void)
{
    struct netif *netif;
    ip_addr_t a = address("fec0::15");
    start_stack();
    netif = slirpif_add(base);
    CHECK(netif != NULL);
    netif_ip6_addr_set(netif, 1, ip_2_ip6(&a));
    netif_ip6_addr_set_state(netif, 1, IP6_ADDR_PREFERRED);
    netif_set_default(netif);
    netif_set_up(netif);
    return netif;
}

static inline int forward(struct netif *netif, int is_udp, const char *host, unsigned host_port, const char *guest,
                   unsigned guest_port)
{
    struct sockaddr_storage from, to;
    socklen_t from_length = kernel_address(host, host_port, &from);
    socklen_t to_length = kernel_address(guest, guest_port, &to);
    return herald_slirpif_add_hostfwd(netif, is_udp, (struct sockaddr *)&from, from_length,
                                      (struct sockaddr *)&to, to_length);
}

static inline int forward_no_longer(struct netif *netif, int is_udp, const char *host, unsigned port)
{
    struct sockaddr_storage from;
    socklen_t length = kernel_address(host, port, &from);
    return herald_slirpif_remove_hostfwd(netif, is_udp, (struct sockaddr *)&from, length);
}

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * lwip_echo: the smallest complete program on lwIP's network. It has a network interface of the kernel's for a
 * wire, and sends back what is sent to it, by TCP over IPv4 and IPv6:
 *
 *     lwip_echo [DEVICE]        as root; DEVICE is tun0 by default
 *     nc 10.7.0.2 7             and nc fd07::2 7, from another terminal
 */
#include <stdio.h>
#include <stdlib.h>

#include <event2/buffer.h>

#include "herald_lwip.h"

/* No more than this waits for a peer that sends and does not read. */
#define LIMIT 65536

static void work(struct lwipevbuf *connection, void *ctx)
{
    (void)ctx;
    if (evbuffer_get_length(connection->output_buffer) < LIMIT) {
        evbuffer_add_buffer(connection->output_buffer, connection->input_buffer);
    }
}

static void happened(struct lwipevbuf *connection, short what, void *ctx)
{
    if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) {
        if (what & BEV_EVENT_EOF) evbuffer_add_buffer(connection->output_buffer, connection->input_buffer);
        /* What is in the output buffer still goes out. */
        lwipevbuf_free(connection);
    }
    (void)ctx;
}

static err_t accepted(void *arg, struct tcp_pcb *pcb, err_t err)
{
    (void)arg;
    struct lwipevbuf *connection = err == ERR_OK ? lwipevbuf_new(pcb) : NULL;
    if (connection == NULL) return ERR_MEM;
    lwipevbuf_setcb(connection, work, work, happened, NULL);
    return ERR_OK;
}

static void check(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "lwip_echo: %s: %s\n", what, herald_lwip_last_error());
        exit(1);
    }
}

int main(int argc, char **argv)
{
    struct event_base *base = event_base_new();
    check(base != NULL && herald_lwip_init(base) == 0, "lwIP");

    struct herald_tunif_options options = {0};
    options.size = sizeof options;
    options.offload = true;
    options.ipv4 = "10.7.0.1/24"; /* the kernel's addresses */
    options.ipv6 = "fd07::1/64";
    struct netif *netif = tunif_add_ex(base, argc > 1 ? argv[1] : "tun0", 0, &options);
    check(netif != NULL, "tunif_add_ex");

    ip4_addr_t address, mask, gateway;
    IP4_ADDR(&address, 10, 7, 0, 2); /* and ours */
    IP4_ADDR(&mask, 255, 255, 255, 0);
    IP4_ADDR(&gateway, 10, 7, 0, 1);
    netif_set_addr(netif, &address, &mask, &gateway);
    ip_addr_t six;
    check(ipaddr_aton("fd07::2", &six), "fd07::2");
    netif_ip6_addr_set(netif, 1, ip_2_ip6(&six));
    netif_ip6_addr_set_state(netif, 1, IP6_ADDR_PREFERRED);
    netif_set_default(netif);
    netif_set_up(netif);

    struct tcp_pcb *listener = tcp_new_ip_type(IPADDR_TYPE_ANY);
    check(listener != NULL && tcp_bind(listener, IP_ANY_TYPE, 7) == ERR_OK, "tcp_bind");
    listener = tcp_listen(listener);
    check(listener != NULL, "tcp_listen");
    tcp_accept(listener, accepted);

    printf("lwip_echo: 10.7.0.2 and fd07::2, port 7\n");
    fflush(stdout);
    return event_base_dispatch(base) == 0 ? 0 : 1;
}

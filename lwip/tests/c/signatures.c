/* SPDX-License-Identifier: MIT OR Apache-2.0
 * The functions of lwip-libevent, as programs for it know them: this has to compile. */
#include "herald_lwip.h"

/* A macro that checks lwIP's structs; beneath it the function has the original's name. */
#undef libevent_timeouts_init

#define IS(type, name, parameters) \
    do { \
        type(*pointer) parameters = name; \
        (void)pointer; \
    } while (0)

typedef void (*lwipevbuf_cb)(struct lwipevbuf *, void *);
typedef void (*lwipevbuf_what_cb)(struct lwipevbuf *, short, void *);
typedef void (*done_cb)(void *);

static void signatures(void)
{
    IS(void, libevent_timeouts_init, (struct event_base *));
    IS(void, sys_timer_add_internal, (struct event_base *, int, void (*)(void)));
    IS(struct netif *, fdif_add, (struct event_base *, int, int, int));
    IS(struct netif *, processif_add, (struct event_base *, const char *, int));
    IS(struct netif *, tunif_add, (struct event_base *, const char *, int));
    IS(struct netif *, udptapif_add, (struct event_base *, unsigned short, unsigned short));
    IS(struct netif *, vdeportif_add, (struct event_base *, const char *));
    IS(struct netif *, vdeswitchif_add, (struct event_base *, const char *));
    IS(struct netif *, slirpif_add, (struct event_base *));
    IS(int, pcap_dump_add, (struct netif *, const char *));
    IS(void, pcap_dump_remove, (struct netif *));
    IS(int, nettest_add, (struct event_base *, struct netif *, unsigned, float));
    IS(void, nettest_remove, (struct netif *));
    IS(int, ip_addr_to_sockaddr, (const ip_addr_t *, int, struct sockaddr *, socklen_t *));
    IS(int, sockaddr_to_ip_addr, (const struct sockaddr *, socklen_t, ip_addr_t *, int *));
    IS(void, raw_to_ip4_addr, (const void *, ip_addr_t *));
    IS(void, raw_to_ip6_addr, (const void *, ip_addr_t *));
    IS(int, pbuf_writev, (int, const struct pbuf *, struct iovec *, u16_t));
    IS(int, pbuf_readv, (int, struct pbuf *, struct pbuf **, struct iovec *, u16_t));
    IS(void, host_lookup, (struct host_data *));
    IS(void, host_abort, (struct host_data *));
    IS(void, host_clear_search, (void));
    IS(void, host_add_search, (char *));
    IS(const char *, host_get_search, (unsigned));
    IS(struct lwipevbuf *, lwipevbuf_new, (struct tcp_pcb *));
    IS(void, lwipevbuf_free, (struct lwipevbuf *));
    IS(void, lwipevbuf_setcb,
       (struct lwipevbuf *, lwipevbuf_cb, lwipevbuf_cb, lwipevbuf_what_cb, void *));
    IS(void, lwipevbuf_output, (struct lwipevbuf *));
    IS(void, lwipevbuf_set_read_max, (struct lwipevbuf *, size_t));
    IS(int, lwipevbuf_connect, (struct lwipevbuf *, const struct sockaddr *, int));
    IS(int, lwipevbuf_connect_hostname, (struct lwipevbuf *, int, const char *, int));
    IS(void, lwipevbuf_bev_join,
       (struct bufferevent *, struct lwipevbuf *, ssize_t, done_cb, void *, done_cb, void *, done_cb, void *));
}

/* What programs read and write themselves. */
static void fields(struct host_data *host, struct lwipevbuf *buffer)
{
    ip_addr_t *address = &host->ipaddr;
    struct tcp_pcb *pcb = buffer->pcb;
    struct evbuffer *buffers[2];
    err_t error = buffer->tcp_err;
    int numbers[2];
    buffers[0] = buffer->input_buffer, buffers[1] = buffer->output_buffer;
    numbers[0] = buffer->host_err, numbers[1] = buffer->port;
    host->fqdn[255] = 0;
    host->found = host->failed = NULL;
    (void)host_busy(host), (void)address, (void)pcb, (void)buffers, (void)error, (void)numbers;
}

int main(void)
{
    (void)signatures, (void)fields;
    return 0;
}

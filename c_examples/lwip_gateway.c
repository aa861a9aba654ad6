/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * lwip_gateway: offers an event socket to the hosts of a virtual network. The program needs no network of the
 * kernel's and no privileges: its stack is lwIP.
 *
 *     lwip_gateway [OPTIONS] NETIF SOCKET
 *
 *     NETIF        where the hosts are:
 *                  vdeport:DIRECTORY    a port of the VDE switch with that directory
 *                  vdeswitch:DIRECTORY  a VDE switch of our own
 *                  tun:DEVICE           the kernel, by an interface of TUN (as root)
 *                  fd:NUMBER            a descriptor that carries Ethernet frames, inherited
 *     SOCKET       the local event socket: each connection is joined to a new connection to it
 *
 *     -4 ADDRESS   our IPv4 address, and the length of its network (default 10.17.0.1/24)
 *     -6 ADDRESS   our IPv6 address (default fd17::1)
 *     -p PORT      the TCP port (default 1701)
 *     -n COUNT     so many connections at most (default 256)
 *     -w FILE      record the traffic, for tcpdump and Wireshark
 *     -d MS        delay packets by so much, in each direction
 *     -l RATE      lose packets, 0.0 to 1.0
 *
 * It ends in an orderly way with SIGTERM and SIGINT, and with status 1 if the network goes away.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/bufferevent.h>

#include "herald_lwip.h"

/* So many bytes wait in each direction for whoever does not keep up; then the sender is held back. */
#define WATERMARK 65536

/* A host's connection and the one to the event socket. */
struct connection {
    struct gateway *gateway;
    struct lwipevbuf *host;
    struct bufferevent *local;
    struct connection *next, **previous;
};

struct gateway {
    struct event_base *base;
    struct netif *netif;
    struct sockaddr_un socket;
    struct connection *connections;
    unsigned count, most;
    int status;
};

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "lwip_gateway: %s: %s\n", what, why);
    exit(1);
}

/* ---- connections ---- */

static void end_connection(void *ctx)
{
    struct connection *c = ctx;
    /* In this order, since a connection that is still joined is let go of by its lwipevbuf. */
    if (c->host != NULL) lwipevbuf_free(c->host);
    if (c->local != NULL) bufferevent_free(c->local);
    *c->previous = c->next;
    if (c->next != NULL) c->next->previous = c->previous;
    c->gateway->count--;
    free(c);
}

static err_t accepted(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct gateway *g = arg;
    if (err != ERR_OK || g->count >= g->most) return ERR_MEM; /* lwIP resets it */
    struct connection *c = calloc(1, sizeof *c);
    if (c == NULL) return ERR_MEM;
    c->host = lwipevbuf_new(pcb);
    if (c->host == NULL) {
        free(c);
        return ERR_MEM;
    }
    /* A host that has vanished is found out within two minutes. */
    ip_set_option(pcb, SOF_KEEPALIVE);
    pcb->keep_idle = 60000;
    pcb->keep_intvl = 10000;
    pcb->keep_cnt = 6;
    c->gateway = g;
    c->next = g->connections;
    c->previous = &g->connections;
    if (c->next != NULL) c->next->previous = &c->next;
    g->connections = c;
    g->count++;
    c->local = bufferevent_socket_new(g->base, -1, BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
    if (c->local == NULL) {
        end_connection(c);
        return ERR_OK;
    }
    /* Joined at once, connected soon. */
    lwipevbuf_bev_join(c->local, c->host, WATERMARK, NULL, NULL, NULL, NULL, end_connection, c);
    if (bufferevent_socket_connect(c->local, (struct sockaddr *)&g->socket, sizeof g->socket) != 0) {
        /* Nobody serves the socket. That is not an end of its stream. */
        lwipevbuf_abort(c->host);
        c->host = NULL;
        end_connection(c);
        return ERR_ABRT;
    }
    return ERR_OK;
}

/* ---- the network ---- */

static struct netif *add_netif(struct event_base *base, const char *spec)
{
    const char *value = strchr(spec, ':');
    if (value == NULL) fail(spec, "must be vdeport:, vdeswitch:, tun: or fd:, and a value");
    size_t kind = (size_t)(value++ - spec);
    struct netif *netif;
    if (strncmp(spec, "vdeport", kind) == 0) {
        netif = vdeportif_add(base, value);
    } else if (strncmp(spec, "vdeswitch", kind) == 0) {
        netif = vdeswitchif_add(base, value);
    } else if (strncmp(spec, "tun", kind) == 0) {
        netif = tunif_add(base, value, 0);
    } else if (strncmp(spec, "fd", kind) == 0) {
        netif = fdif_add(base, atoi(value), atoi(value), 1);
    } else {
        fail(spec, "must be vdeport:, vdeswitch:, tun: or fd:");
        return NULL;
    }
    if (netif == NULL) fail(spec, herald_lwip_last_error());
    return netif;
}

static void set_addresses(struct netif *netif, char *four, const char *six)
{
    char *slash = strchr(four, '/');
    int length = slash != NULL ? atoi(slash + 1) : 24;
    if (slash != NULL) *slash = '\0';
    ip4_addr_t address, mask, none = {0};
    ip_addr_t address6;
    if (!ip4addr_aton(four, &address) || length < 1 || length > 32) fail(four, "not an IPv4 address");
    if (!ipaddr_aton(six, &address6) || !IP_IS_V6(&address6)) fail(six, "not an IPv6 address");
    mask.addr = lwip_htonl(0xffffffffu << (32 - length));
    netif_set_addr(netif, &address, &mask, &none);
    netif_ip6_addr_set(netif, 1, ip_2_ip6(&address6));
    netif_ip6_addr_set_state(netif, 1, IP6_ADDR_PREFERRED);
    netif_set_default(netif);
    netif_set_up(netif);
}

static void network_down(struct netif *netif, int error, const char *text, void *ctx)
{
    struct gateway *g = ctx;
    (void)netif;
    (void)error;
    fprintf(stderr, "lwip_gateway: the network is gone: %s\n", text);
    g->status = 1;
    event_base_loopbreak(g->base);
}

static void quit(evutil_socket_t signal, short what, void *ctx)
{
    (void)signal;
    (void)what;
    event_base_loopbreak(((struct gateway *)ctx)->base);
}

/* ---- the program ---- */

int main(int argc, char **argv)
{
    char four_default[] = "10.17.0.1/24";
    char *four = four_default;
    const char *six = "fd17::1", *record = NULL;
    double delay = 0, loss = 0;
    int port = 1701, option;
    struct gateway g = {0};
    g.most = 256;
    while ((option = getopt(argc, argv, "4:6:p:n:w:d:l:")) != -1) {
        switch (option) {
        case '4': four = optarg; break;
        case '6': six = optarg; break;
        case 'p': port = atoi(optarg); break;
        case 'n': g.most = (unsigned)atoi(optarg); break;
        case 'w': record = optarg; break;
        case 'd': delay = atof(optarg); break;
        case 'l': loss = atof(optarg); break;
        default: return 2;
        }
    }
    if (argc - optind != 2) {
        fprintf(stderr, "usage: lwip_gateway [-4 ADDRESS/LENGTH] [-6 ADDRESS] [-p PORT] [-n COUNT] [-w FILE] "
                        "[-d MS] [-l RATE] NETIF SOCKET\n");
        return 2;
    }
    const char *path = argv[optind + 1];
    g.socket.sun_family = AF_UNIX;
    if (strlen(path) >= sizeof g.socket.sun_path) fail(path, "too long for a socket");
    strcpy(g.socket.sun_path, path);
    if (port < 1 || port > 65535) fail("-p", "a port is 1 to 65535");
    /* A local socket whose peer has gone is an error to the join, and not a signal. */
    signal(SIGPIPE, SIG_IGN);

    g.base = event_base_new();
    if (g.base == NULL) fail("libevent", strerror(errno));
    if (herald_lwip_init(g.base) != 0) fail("lwIP", herald_lwip_last_error());
    g.netif = add_netif(g.base, argv[optind]);
    herald_netif_set_down_cb(g.netif, network_down, &g);
    /* The capture comes first, and so sees what the wire carries: with what nettest delays, and without what
     * it drops. */
    if (record != NULL && pcap_dump_add(g.netif, record) != 0) fail(record, herald_lwip_last_error());
    if ((delay > 0 || loss > 0)
        && nettest_add(g.base, g.netif, (unsigned)(delay * 1000), (float)loss) != 0) {
        fail("nettest", herald_lwip_last_error());
    }
    set_addresses(g.netif, four, six);

    struct tcp_pcb *listener = tcp_new_ip_type(IPADDR_TYPE_ANY);
    if (listener == NULL || tcp_bind(listener, IP_ANY_TYPE, (u16_t)port) != ERR_OK) fail("lwIP", "no memory");
    listener = tcp_listen(listener);
    if (listener == NULL) fail("lwIP", "no memory");
    tcp_arg(listener, &g);
    tcp_accept(listener, accepted);

    struct event *on_term = evsignal_new(g.base, SIGTERM, quit, &g), *on_int = evsignal_new(g.base, SIGINT, quit, &g);
    event_add(on_term, NULL);
    event_add(on_int, NULL);
    printf("lwip_gateway: %s and %s, port %d, for %s\n", four, six, port, path);
    fflush(stdout);
    event_base_dispatch(g.base);

    while (g.connections != NULL) end_connection(g.connections);
    tcp_close(listener);
    event_free(on_term);
    event_free(on_int);
    libevent_timeouts_fini(); /* removes the netif, and closes the capture */
    event_base_free(g.base);
    return g.status;
}

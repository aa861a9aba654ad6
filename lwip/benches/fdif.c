/* SPDX-License-Identifier: MIT OR Apache-2.0
 * fdif over a socketpair at MTU 1500, and the predecessor's way of doing it: one packet per wake-up, copied
 * through a buffer of 64 KiB, in both directions. TCP from a stack in one process to one in another. */
#include "bench.h"

#include <lwip/etharp.h>
#include <lwip/ethip6.h>
#include <netif/ethernet.h>

static int ether;

/* ---- the predecessor's way, written from its description ---- */

static unsigned char through[65536];

static err_t copying_output(struct netif *netif, struct pbuf *p)
{
    int fd = (int)(intptr_t)netif->state;
    u16_t length = pbuf_copy_partial(p, through, p->tot_len, 0);
    return write(fd, through, length) == length ? ERR_OK : ERR_MEM;
}

static err_t copying_output4(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
    (void)to;
    return copying_output(netif, p);
}

static err_t copying_output6(struct netif *netif, struct pbuf *p, const ip6_addr_t *to)
{
    (void)to;
    return copying_output(netif, p);
}

static void copying_input(evutil_socket_t fd, short what, void *arg)
{
    struct netif *netif = (struct netif *)arg;
    ssize_t length = read(fd, through, sizeof through);
    struct pbuf *p;
    (void)what;
    if (length <= 0) return;
    /* Not PBUF_POOL: in Debian's liblwip its buffers are shorter than their pbufs say. */
    p = pbuf_alloc(PBUF_RAW, (u16_t)length, PBUF_RAM);
    CHECK(p != NULL);
    pbuf_take(p, through, (u16_t)length);
    if (netif->input(p, netif) != ERR_OK) pbuf_free(p);
}

static err_t copying_init(struct netif *netif)
{
    netif->mtu = 1500;
    netif->output = ether ? etharp_output : copying_output4;
    netif->output_ip6 = ether ? ethip6_output : copying_output6;
    netif->linkoutput = copying_output;
    netif->flags = NETIF_FLAG_LINK_UP;
    if (ether) {
        netif->flags |= NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_BROADCAST;
        netif->hwaddr_len = 6;
        netif->hwaddr[0] = 2;
        netif->hwaddr[5] = (unsigned char)getpid();
        netif->hwaddr[4] = (unsigned char)(getpid() >> 8);
    }
    return ERR_OK;
}

static struct netif *copying_add(int fd)
{
    static struct netif netif;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    netif_add(&netif, NULL, NULL, NULL, (void *)(intptr_t)fd, copying_init, ether ? ethernet_input : ip_input);
    event_add(event_new(base, fd, EV_READ | EV_PERSIST, copying_input, &netif), NULL);
    return &netif;
}

/* ---- the measurement ---- */

static bool copying;

static struct netif *link_over(int fd) { return copying ? copying_add(fd) : fdif_add(base, fd, fd, ether); }

static size_t amount;

static void receiver(int fd)
{
    stream s;
    start_stack();
    set_up(link_over(fd), "10.9.0.2", "fd00::2");
    stream_listen(&s, 7, 0);
    LOOP_UNTIL(s.received == amount && s.ended);
}

static void run(size_t bytes)
{
    int fds[2];
    pid_t pid;
    stream s;
    amount = bytes;
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
    pid = peer(receiver, fds[1]);
    start_stack();
    set_up(link_over(fds[0]), "10.9.0.1", "fd00::1");
    stream_connect(&s, "10.9.0.2", 7, bytes);
    s.ends = true;
    loop_until_ended(pid);
}

static void ours(size_t bytes) { copying = false; run(bytes); }
static void theirs(size_t bytes) { copying = true; run(bytes); }

int main(void)
{
    ether = 0;
    compare("fdif, IP, the predecessor's way", theirs, "fdif, IP", ours, 400u << 20, 1.3);
    ether = 1;
    compare("fdif, Ethernet, the predecessor's way", theirs, "fdif, Ethernet", ours, 400u << 20, 1.3);
    return 0;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * herald_lwip.h: the lwIP TCP/IP stack in a libevent loop.
 *
 * Errors: a function that returns int returns 0, or -1 with errno set; one that returns a pointer
 * returns NULL with errno set. herald_lwip_last_error() says what exactly was wrong, and what to do.
 *
 * Structs of options begin with their size, so that programs built against an older header go on
 * working:
 *
 *     struct herald_fdif_options options = { 0 }; // in C++ { }
 *     options.size = sizeof options;
 *
 * A field that is 0 or NULL has its default. Fields are only ever appended.
 *
 * Threads: lwIP is one stack per process, and belongs to the thread that called
 * libevent_timeouts_init(). A call from any other thread is refused with EPERM.
 *
 * Ownership: a struct netif that is returned here is the library's, until herald_netif_remove().
 */
#ifndef HERALD_LWIP_H
#define HERALD_LWIP_H

/* Generated from lwip/src/ by cbindgen: `make header-lwip`. Do not edit. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include "lwip/init.h"
#include "lwip/ip_addr.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/tcp.h"

/**
 * A classic pcap file, which everything reads.
 */
#define HERALD_PCAP 0

/**
 * A pcapng file: nanoseconds, the direction of each packet, the name of the netif.
 */
#define HERALD_PCAPNG 1

/**
 * A TCP connection of lwIP's with two buffers. The fields are for reading; the library owns it.
 */
typedef struct lwipevbuf {
    /**
     * lwIP's part; NULL before connecting without one and after the connection. To be read only:
     * closing it is lwipevbuf_free()'s and lwipevbuf_abort()'s.
     */
    struct tcp_pcb *pcb;
    /**
     * What went wrong, of lwIP's ERR_ codes; ERR_OK if nothing has.
     */
    err_t tcp_err;
    /**
     * What the peer has sent; to be drained by the program, which lets the peer send more.
     */
    struct evbuffer *input_buffer;
    /**
     * What is to be sent; what is added to it is sent soon, from the loop.
     */
    struct evbuffer *output_buffer;
    /**
     * Why lwipevbuf_connect_hostname() found no address: EAI_NONAME (there is none), EAI_AGAIN (no server
     * answers) or EAI_FAIL (none can say), for gai_strerror(); 0 otherwise.
     */
    int host_err;
    /**
     * The port that it connects to.
     */
    int port;
} lwipevbuf;

/**
 * There is something to read, or lwIP has taken all that there was to write.
 */
typedef void (*lwipevbuf_data_cb)(struct lwipevbuf *lwipevbuf, void *ctx);

/**
 * Something has happened: BEV_EVENT_CONNECTED; BEV_EVENT_EOF | BEV_EVENT_READING when the peer has ended
 * its side, which leaves ours open; BEV_EVENT_ERROR, with BEV_EVENT_READING if it had been connected,
 * when the connection is over: tcp_err, host_err and errno say why.
 */
typedef void (*lwipevbuf_event_cb)(struct lwipevbuf *lwipevbuf, short what, void *ctx);

/**
 * A look-up, embedded in a struct of the program's. It is zeroed at first; then the program sets
 * `fqdn`, `found` and `failed`, calls host_lookup(), and leaves it where it is until one of the two was
 * called, or host_abort().
 */
typedef struct host_data {
    /**
     * The address that was found: the first of them, of a family that lwIP has a route for if there is
     * one.
     */
    ip_addr_t ipaddr;
    /**
     * The name to look up, or a numeric address. When it was found: the name that has the address, with
     * the search domain if there was one.
     */
    char fqdn[256];
    /**
     * Called from the loop when the host was found. The host_data may be used again, or freed, from there.
     */
    void (*found)(struct host_data *host);
    /**
     * Called when it was not: there is no such host, or no server answers.
     */
    void (*failed)(struct host_data *host);
    /**
     * The library's; NULL unless a look-up is under way.
     */
    void *private_data;
} host_data;

/**
 * Something about a join is over.
 */
typedef void (*lwipevbuf_join_cb)(void *ctx);

/**
 * What went over a netif since it was added.
 */
typedef struct herald_netif_counters {
    /**
     * The size of this struct.
     */
    size_t size;
    /**
     * Packets that came in.
     */
    uint64_t rx_packets;
    /**
     * Their bytes, with the Ethernet header if there is one.
     */
    uint64_t rx_bytes;
    /**
     * Of these: stopped by a hook such as nettest, or refused by lwIP for want of memory.
     */
    uint64_t rx_dropped;
    /**
     * What came in and was no packet, or could not be read.
     */
    uint64_t rx_errors;
    /**
     * Packets that went out.
     */
    uint64_t tx_packets;
    /**
     * Their bytes.
     */
    uint64_t tx_bytes;
    /**
     * Packets that did not go out: stopped by a hook, or the peer does not keep up.
     */
    uint64_t tx_dropped;
    /**
     * Packets that the system refused to send.
     */
    uint64_t tx_errors;
} herald_netif_counters;

/**
 * Called from the loop when a netif can no longer receive and send: its link is down. `error` is an
 * errno, 0 if the peer has gone in an orderly way; `text` says more, and is valid during the call. The
 * netif may be removed from here.
 */
typedef void (*herald_netif_down_cb)(struct netif *netif, int error, const char *text, void *ctx);

/**
 * Options of fdif_add_ex().
 */
typedef struct herald_fdif_options {
    /**
     * The size of this struct.
     */
    size_t size;
    /**
     * Bytes of IP in a packet: 68 to 65521; 0 for 1500.
     */
    uint32_t mtu;
    /**
     * The hardware address of an Ethernet netif; all zero for a random one.
     */
    uint8_t hwaddr[6];
    /**
     * Whether the descriptors become the netif's, to be closed when it is removed.
     */
    bool close_fds;
} herald_fdif_options;

/**
 * Options of packetif_add_ex().
 */
typedef struct herald_packetif_options {
    /**
     * The size of this struct.
     */
    size_t size;
    /**
     * Bytes of IP in a packet: 68 to 65521; 0 for the interface's, of which that is the most.
     */
    uint32_t mtu;
    /**
     * lwIP's hardware address on the network; all zero for a random one.
     */
    uint8_t hwaddr[6];
} herald_packetif_options;

/**
 * Options of processif_add_ex().
 */
typedef struct herald_processif_options {
    /**
     * The size of this struct.
     */
    size_t size;
    /**
     * Bytes of IP in a packet: 68 to 65521; 0 for 1500.
     */
    uint32_t mtu;
    /**
     * The hardware address of an Ethernet netif; all zero for a random one.
     */
    uint8_t hwaddr[6];
    /**
     * How long the process has after SIGTERM until SIGKILL when the netif is removed, in milliseconds; 0
     * for 2000.
     */
    uint32_t grace_ms;
} herald_processif_options;

/**
 * Options of slirpif_add_ex().
 */
typedef struct herald_slirpif_options {
    /**
     * The size of this struct.
     */
    size_t size;
    /**
     * Bytes of IP in a packet: 68 to 65521; 0 for 1500.
     */
    uint32_t mtu;
    /**
     * The hardware address; all zero for a random one.
     */
    uint8_t hwaddr[6];
    /**
     * The IPv4 network; NULL for "10.0.2.0/24". The host is its number 2, the name server 3, lwIP 15.
     */
    const char *network;
    /**
     * The IPv6 network, of length 64; NULL for "fec0::/64". The host is its number 2, the name server 3.
     */
    const char *network6;
    /**
     * Nothing but what is forwarded gets in or out.
     */
    bool restricted;
    /**
     * What listens at 127.0.0.1 and ::1 of the host is not for the network.
     */
    bool no_host_loopback;
} herald_slirpif_options;

/**
 * Options of tunif_add_ex().
 */
typedef struct herald_tunif_options {
    /**
     * The size of this struct.
     */
    size_t size;
    /**
     * Bytes of IP in a packet, on both sides: 68 to 65521; 0 for 1500.
     */
    uint32_t mtu;
    /**
     * lwIP's hardware address, if the interface is one of Ethernet; all zero for a random one.
     */
    uint8_t hwaddr[6];
    /**
     * Whether TCP goes in bursts of up to 64 KiB, which neither side cuts into packets, and checksums that
     * the kernel would compute are not. Captures and nettest see the bursts that come in.
     */
    bool offload;
    /**
     * Whether the kernel's side is set up (IFF_UP). Having an address does so too.
     */
    bool up;
    /**
     * An address of the kernel's side, such as "10.0.0.1/24"; NULL for none.
     */
    const char *ipv4;
    /**
     * Likewise, such as "fd00::1/64".
     */
    const char *ipv6;
} herald_tunif_options;

/**
 * Options of udptapif_add_ex().
 */
typedef struct herald_udptapif_options {
    /**
     * The size of this struct.
     */
    size_t size;
    /**
     * Bytes of IP in a packet: 68 to 65521; 0 for 1500.
     */
    uint32_t mtu;
    /**
     * The hardware address; all zero for a random one.
     */
    uint8_t hwaddr[6];
    /**
     * The address to receive at, such as "127.0.0.1" or "::1"; NULL for all of IPv4 and IPv6.
     */
    const char *address;
    /**
     * The most clients at a time; 0 for 64. One more takes the place of the one that has been silent for
     * longest.
     */
    uint32_t max_clients;
    /**
     * Seconds after which a client that has sent nothing is forgotten; 0 for 300.
     */
    uint32_t max_age;
} herald_udptapif_options;

/**
 * Options of vdeportif_add_ex().
 */
typedef struct herald_vdeportif_options {
    /**
     * The size of this struct.
     */
    size_t size;
    /**
     * Bytes of IP in a packet: 68 to 65521; 0 for 1500.
     */
    uint32_t mtu;
    /**
     * The hardware address; all zero for a random one.
     */
    uint8_t hwaddr[6];
    /**
     * The number of the switch's port, 1 to 65535; 0 for any that is free.
     */
    uint32_t port;
    /**
     * The mode of the socket that the switch sends to, as for chmod(); 0 for that of the switch's own.
     */
    uint32_t mode;
    /**
     * What the switch shows of this port; NULL for the process's id.
     */
    const char *description;
} herald_vdeportif_options;

/**
 * Options of vdeswitchif_add_ex().
 */
typedef struct herald_vdeswitchif_options {
    /**
     * The size of this struct.
     */
    size_t size;
    /**
     * Bytes of IP in a packet: 68 to 65521; 0 for 1500.
     */
    uint32_t mtu;
    /**
     * The hardware address; all zero for a random one.
     */
    uint8_t hwaddr[6];
    /**
     * The mode of the sockets, as for chmod(): who may connect. 0 for 0600. A directory that is made gets
     * the same with search permission.
     */
    uint32_t mode;
    /**
     * The most clients at a time; 0 for 128.
     */
    uint32_t max_clients;
} herald_vdeswitchif_options;

/**
 * What a switch has done since it was added, beside what lwIP has sent and received.
 */
typedef struct herald_vdeswitchif_counters {
    /**
     * The size of this struct.
     */
    size_t size;
    /**
     * Clients that have a port now.
     */
    uint64_t clients;
    /**
     * Connections that were turned away: too many, a request that is not one, no request in 10 s.
     */
    uint64_t refused;
    /**
     * Frames from a client written to others; one that goes to several counts as often.
     */
    uint64_t forwarded;
    /**
     * Frames to a client that did not get there: it does not keep up, or has gone.
     */
    uint64_t dropped;
} herald_vdeswitchif_counters;

/**
 * Options of nettest_add_ex(), for each direction.
 */
typedef struct herald_nettest_options {
    /**
     * The size of this struct.
     */
    size_t size;
    /**
     * How long a packet takes, in microseconds.
     */
    uint32_t delay_us;
    /**
     * By how much that varies, in microseconds: evenly between delay_us - jitter_us and delay_us +
     * jitter_us. Packets keep their order.
     */
    uint32_t jitter_us;
    /**
     * How many packets are lost: 0.0 for none to 1.0 for all.
     */
    float drop_rate;
    /**
     * How many packets take no time at all, and so overtake those before them: 0.0 to 1.0.
     */
    float reorder_rate;
    /**
     * Bytes per second; 0 for no limit.
     */
    uint64_t rate;
    /**
     * How many bytes are on their way at most, in both directions together; what is too much is lost.
     * 0 for 4 MiB.
     */
    size_t limit;
    /**
     * Where the random numbers start, to have the same losses again; 0 for somewhere.
     */
    uint64_t seed;
} herald_nettest_options;

/**
 * Options of pcap_dump_add_ex().
 */
typedef struct herald_pcap_options {
    /**
     * The size of this struct.
     */
    size_t size;
    /**
     * HERALD_PCAP or HERALD_PCAPNG.
     */
    int format;
    /**
     * How many bytes of a packet are kept, at most; 0 for all.
     */
    uint32_t snaplen;
} herald_pcap_options;

/**
 * What a timer calls.
 */
typedef void (*herald_lwip_timer_cb)(void *ctx);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Starts lwIP in an event loop: lwIP is initialized, unless the program has done so, and its
 * timeouts run from the loop. The calling thread is the one that all further calls come from, and
 * the one that runs the loop. Again with the same event_base it does nothing. In C the name is a
 * macro that checks lwIP's structs as well; herald_lwip_init() is the same with a result.
 *
 * lwIP draws port numbers and ids from rand(), so that is seeded, once.
 */
void libevent_timeouts_init(struct event_base *base);

/**
 * What the macro herald_lwip_init() calls: libevent_timeouts_init() with the layout that lwIP's
 * structs have for the program. Returns 0, or -1 with errno: EPROTO if the program was compiled
 * against another version or configuration of lwIP than the library, EBUSY if lwIP runs in another
 * event_base, EPERM if it belongs to another thread.
 */
int herald_lwip_init_checked(struct event_base *base,
                             uint32_t version,
                             size_t netif_size,
                             size_t pcb_size,
                             size_t pbuf_size);

/**
 * Stops lwIP in the event loop: removes every netif of this library with all that is attached to
 * it, and every timer, and leaves nothing in the loop. TCP and UDP pcbs are the program's, and stay.
 * libevent_timeouts_init() may follow, from any thread. It comes before event_base_free(); a program
 * that ends without it does no harm, but a thread that ends without it keeps lwIP for good.
 */
void libevent_timeouts_fini(void);

/**
 * Lets lwIP come to rest: delivers what it sent to itself, and sets the timer for its next timeout.
 * The library does so after each callback of its own. To be called after calling lwIP from outside
 * of them (from main(), or from an event of the program's own) when what was called may talk to an
 * address of its own, or in tickless mode. Returns 0, or -1 with errno.
 */
int herald_lwip_kick(void);

/**
 * Sleeps longer when there is nothing to do: while no TCP connection is open, the loop wakes at most
 * once per second for lwIP, instead of ten times. The price: IGMP and MLD reports, which lwIP counts
 * in tenths of a second, come up to a second late; and a connection that the program opens outside of
 * the library's callbacks wants a herald_lwip_kick(), or its first retransmission may be late as
 * well. Off at first. Returns 0, or -1 with errno.
 */
int herald_lwip_set_tickless(bool tickless);

/**
 * What exactly went wrong in the last call of this thread that failed; "" if none has. The string
 * is valid until the next call of this library by this thread.
 */
const char *herald_lwip_last_error(void);

/**
 * Makes an lwipevbuf of a pcb: one that tcp_accept()'s callback was given, a new one, or NULL, and
 * lwipevbuf_connect() makes one. The pcb becomes the lwipevbuf's. At most one TCP window (65535 bytes)
 * is kept for reading; see lwipevbuf_set_read_max(). Returns NULL with errno; the pcb is then still the
 * program's.
 */
struct lwipevbuf *lwipevbuf_new(struct tcp_pcb *pcb);

/**
 * Frees an lwipevbuf, from within its callbacks too; they are not called any more. What is in its
 * output_buffer is still sent, and then the end; what the peer sends until then is dropped. That ends
 * when the peer has acknowledged all, or nothing for a minute. One that is not connected is closed at
 * once. With NULL it does nothing. In tcp_accept()'s callback it may be called as well.
 */
void lwipevbuf_free(struct lwipevbuf *lwipevbuf);

/**
 * Frees an lwipevbuf as lwipevbuf_free() does, but resets the connection: what was not yet sent is
 * dropped, and the peer sees an error and not an end. After calling it in tcp_accept()'s callback, that
 * has to return ERR_ABRT.
 */
void lwipevbuf_abort(struct lwipevbuf *lwipevbuf);

/**
 * Sets what is called, always from the loop; each may be NULL. `readcb`: there is more in the
 * input_buffer. `writecb`: lwIP has taken all that was in the output_buffer. `eventcb`: see
 * lwipevbuf_event_cb. All may free the lwipevbuf. Not while it is joined.
 */
void lwipevbuf_setcb(struct lwipevbuf *lwipevbuf,
                     lwipevbuf_data_cb readcb,
                     lwipevbuf_data_cb writecb,
                     lwipevbuf_event_cb eventcb,
                     void *ctx);

/**
 * Passes what is in the output_buffer to lwIP now, rather than soon from the loop.
 */
void lwipevbuf_output(struct lwipevbuf *lwipevbuf);

/**
 * Ends the sending direction, after what is in the output_buffer; the peer can still send. Nothing is
 * to be added to the output_buffer afterwards. Returns 0, or -1 with errno.
 */
int lwipevbuf_shutdown(struct lwipevbuf *lwipevbuf);

/**
 * Bounds how much is kept for reading: the peer is let send only as much as the input_buffer still has
 * room for, by the TCP window. 0 for one window, 65535 bytes, which is also what the first bytes of a
 * connection are bounded by; no less than 2920 bytes.
 */
void lwipevbuf_set_read_max(struct lwipevbuf *lwipevbuf,
                            size_t read_max);

/**
 * Connects to an IPv4 or IPv6 address. What is in the output_buffer is sent when it is connected. eventcb
 * tells the outcome. Returns 0, or -1 with errno: EALREADY or EISCONN if it has been connected before,
 * EHOSTUNREACH if no netif leads there.
 */
int lwipevbuf_connect(struct lwipevbuf *lwipevbuf,
                      const struct sockaddr *sockaddr,
                      int socklen);

/**
 * Looks up a host with host_lookup()'s servers and search domains, and connects to it. `family` is
 * AF_INET, AF_INET6 or AF_UNSPEC for both; the addresses are tried in turn until one answers, each for
 * 5 seconds if there are more. A numeric address needs no look-up. eventcb tells the outcome, with
 * host_err if the host was not found. Returns 0, or -1 with errno.
 */
int lwipevbuf_connect_hostname(struct lwipevbuf *lwipevbuf,
                               int family,
                               const char *hostname,
                               int port);

/**
 * Looks up the host `fqdn`: an IPv4 address of it, or an IPv6 address if it has no other or lwIP has no
 * way to IPv4. One of `found` and `failed` is called, never from here but from the loop.
 *
 * A name is tried with each search domain in turn, and bare: first bare if it has a dot in it, at last
 * if not. One that ends with a dot is tried bare only. Each server is asked twice, for 2 and 4 seconds;
 * an answer that is too long for UDP is asked for over TCP; answers are kept for their time to live.
 * A look-up that is under way with the same host_data is aborted first. If the look-up cannot begin
 * (for want of a server, or since the name is not one), `failed` is called, and herald_lwip_last_error()
 * after this call says why.
 */
void host_lookup(struct host_data *host);

/**
 * host_lookup() for one family: AF_INET or AF_INET6; AF_UNSPEC for both. Returns 0, or -1 with errno if
 * the look-up cannot begin; `failed` is called then as well, unless lwIP does not run (ENXIO, EPERM) or
 * host is NULL.
 */
int host_lookup_family(struct host_data *host,
                       int family);

/**
 * Ends a look-up: neither `found` nor `failed` is called. At any time, from callbacks too, and harmless
 * if none is under way.
 */
void host_abort(struct host_data *host);

/**
 * Adds a name server, to be asked after those before it; `port` 0 is 53. Returns 0, or -1 with errno:
 * ENOSPC if there are 16.
 */
int host_add_server(const ip_addr_t *server,
                    uint16_t port);

/**
 * Removes all name servers, and forgets what they have said.
 */
void host_clear_servers(void);

/**
 * Removes all search domains.
 */
void host_clear_search(void);

/**
 * Adds a search domain, such as strdup("example.com"). The string is the library's from then on, which
 * frees it with free().
 */
void host_add_search(char *malloced);

/**
 * A search domain by its place, from 0; NULL if there are no more. It is valid until
 * host_clear_search().
 */
const char *host_get_search(unsigned int index);

/**
 * Makes a bufferevent (A) and an lwipevbuf (B) into a pipe: all that comes from either goes to the other.
 * Either may still be connecting. When one has ended its side, and all before that has been passed on,
 * the other's is ended too, and the opposite direction goes on. When one fails, the other is reset.
 *
 * `watermark` bounds what is held in each direction: about so many bytes wait for the other side, then
 * TCP's window or the bufferevent's socket holds the sender back; 0 or less for 65535.
 *
 * `a_done(a_ctx)` is called when all that A sent has been passed on, with its end; `b_done(b_ctx)` likewise;
 * `all_done(all_ctx)` when the join is over and uses neither any more, to free them. Each is called once,
 * from the loop, `all_done` last, after a failure too. Each may be NULL; if all are, the join frees both
 * itself. Until `all_done` the bufferevent may not be freed. The lwipevbuf may, at any time: that ends the
 * join without a call, and then the bufferevent may be freed as well.
 *
 * A bufferevent over a socket wants SIGPIPE to be ignored. What cannot be joined (NULL, another event_base,
 * joined already) is left alone, and herald_lwip_last_error() says why.
 */
void lwipevbuf_bev_join(struct bufferevent *bev,
                        struct lwipevbuf *lwipevbuf,
                        ssize_t watermark,
                        lwipevbuf_join_cb a_done,
                        void *a_ctx,
                        lwipevbuf_join_cb b_done,
                        void *b_ctx,
                        lwipevbuf_join_cb all_done,
                        void *all_ctx);

/**
 * Takes a netif out of lwIP and frees it, with its captures, its nettest, its descriptors and its
 * process. The connections of its addresses are aborted, as by lwIP's netif_remove(). It may be called
 * at any time on the loop's thread, from callbacks of lwIP's and of the netif itself too. Returns 0, or
 * -1 with ENODEV if it is not (or no longer) a netif of this library.
 */
int herald_netif_remove(struct netif *netif);

/**
 * Reads the counters of a netif into a struct whose first field says how large it is. Returns 0, or -1
 * with errno.
 */
int herald_netif_get_counters(struct netif *netif,
                              struct herald_netif_counters *counters);

/**
 * Has a function called when the netif goes down for good; NULL for none. If it already has, it is
 * called from the loop soon. Returns 0, or -1 with errno.
 */
int herald_netif_set_down_cb(struct netif *netif, herald_netif_down_cb cb, void *ctx);

/**
 * Adds a netif over a pair of descriptors, or one passed twice: each read(2) from `fd_in` is a packet
 * received, each packet sent is a write(2) to `fd_out`. Such are datagram and seqpacket sockets, pipes
 * in packet mode and the like. `ether`: whether the packets are Ethernet frames, and not of IP. The
 * descriptors are made non-blocking, remain the program's and have to stay open until the netif is
 * removed. Returns NULL with errno.
 */
struct netif *fdif_add(struct event_base *base,
                       int fd_in,
                       int fd_out,
                       int ether);

/**
 * fdif_add() with options; NULL is all defaults.
 */
struct netif *fdif_add_ex(struct event_base *base,
                          int fd_in,
                          int fd_out,
                          int ether,
                          const struct herald_fdif_options *options);

/**
 * Adds an Ethernet netif that is a host of its own, with a hardware address of its own, on the network of
 * an interface of the kernel, through an AF_PACKET socket. lwIP and the kernel itself do not hear each
 * other there. It needs CAP_NET_RAW. Returns NULL with errno.
 */
struct netif *packetif_add(struct event_base *base,
                           const char *interface);

/**
 * packetif_add() with options; NULL is all defaults.
 */
struct netif *packetif_add_ex(struct event_base *base,
                              const char *interface,
                              const struct herald_packetif_options *options);

/**
 * Adds a netif whose peer is a process: `script`, run by /bin/sh -c in a process group of its own. Each
 * write(2) of it to its standard output is a packet received, each packet sent is a read(2) of its standard
 * input; both are one socket of packets. Standard error is the program's. `ether`: whether the packets are
 * Ethernet frames, and not of IP. When the process ends, the netif goes down. When the netif is removed,
 * the process gets SIGTERM, and SIGKILL after two seconds. Returns NULL with errno.
 */
struct netif *processif_add(struct event_base *base,
                            const char *script,
                            int ether);

/**
 * processif_add() with options; NULL is all defaults.
 */
struct netif *processif_add_ex(struct event_base *base,
                               const char *script,
                               int ether,
                               const struct herald_processif_options *options);

/**
 * Adds a netif whose network is the host's own sockets: what lwIP sends by TCP and UDP, libslirp sends on
 * from sockets of this process, without privileges. In its network 10.0.2.2 and fec0::2 are the host
 * (127.0.0.1 and ::1), 10.0.2.3 and fec0::3 its name server. The netif has the address 10.0.2.15 and the
 * gateway 10.0.2.2 already, and takes an IPv6 address of fec0::/64 by autoconfiguration; what is left to the
 * program is netif_set_default() and netif_set_up(). A connection that the other end refuses is refused at
 * once. Returns NULL with errno.
 */
struct netif *slirpif_add(struct event_base *base);

/**
 * slirpif_add() with options; NULL is all defaults.
 */
struct netif *slirpif_add_ex(struct event_base *base,
                             const struct herald_slirpif_options *options);

/**
 * Forwards a port of the host to lwIP: what connects or sends to `host` there arrives at `guest` here. `udp`:
 * UDP, and not TCP. Both are sockaddr_in or sockaddr_in6, of the same family; a host address of zero is all
 * addresses, a guest address of 0.0.0.0 is 10.0.2.15. Returns 0, or -1 with errno, such as EADDRINUSE.
 */
int herald_slirpif_add_hostfwd(struct netif *netif,
                               int udp,
                               const struct sockaddr *host,
                               socklen_t host_len,
                               const struct sockaddr *guest,
                               socklen_t guest_len);

/**
 * Ends herald_slirpif_add_hostfwd() for a port of the host; connections that came by it go on. Returns 0, or
 * -1 with errno: ENOENT if the port is not forwarded.
 */
int herald_slirpif_remove_hostfwd(struct netif *netif,
                                  int udp,
                                  const struct sockaddr *host,
                                  socklen_t host_len);

/**
 * Adds a netif whose peer is the kernel, over an interface of TUN (`ether` 0) or TAP that is made for it, or
 * exists and is nobody's. `dev` is its name, one with "%d" in it for the kernel to number, or NULL for the
 * kernel to choose; tunif_get_name() tells. It needs CAP_NET_ADMIN, or an interface that is the user's. The
 * interface vanishes with the netif, unless it was made persistent by others. Returns NULL with errno.
 */
struct netif *tunif_add(struct event_base *base,
                        const char *dev,
                        int ether);

/**
 * tunif_add() with options; NULL is all defaults.
 */
struct netif *tunif_add_ex(struct event_base *base,
                           const char *dev,
                           int ether,
                           const struct herald_tunif_options *options);

/**
 * The name of the kernel's interface behind a tunif or packetif, such as "tun0". `name` has room for
 * `size` bytes; IFNAMSIZ (16) always suffice. Returns 0, or -1 with errno.
 */
int tunif_get_name(struct netif *netif,
                   char *name,
                   size_t size);

/**
 * Adds an Ethernet netif over UDP, for clients that come to one of two ports: to `port_raw` with a frame in
 * each datagram, to `port_len` with each frame after its length (2 bytes, the most significant first; a
 * datagram may hold several). Either is 0 for none. Who has sent a frame is a client; what goes to an
 * address that a client has sent from goes to that client, and what goes to several or to nobody known
 * goes to all that have been heard of lately. A datagram that is no frame is counted, and does no more.
 *
 * There is no authentication: whoever can send to the ports is on the network. Returns NULL with errno:
 * EADDRINUSE if a port is in use.
 */
struct netif *udptapif_add(struct event_base *base,
                           unsigned short port_raw,
                           unsigned short port_len);

/**
 * udptapif_add() with options; NULL is all defaults.
 */
struct netif *udptapif_add_ex(struct event_base *base,
                              unsigned short port_raw,
                              unsigned short port_len,
                              const struct herald_udptapif_options *options);

/**
 * Adds a netif that is a port of a VDE switch: of the one whose sockets are in the directory
 * `vde_switch`, such as `"/run/vde.ctl"` (`"vde:///run/vde.ctl"` is the same); or of whatever
 * libvdeplug can connect to: `"vxvde://"`, `"tap://name"`, and with NULL or `""` its default. For these
 * `libvdeplug.so.2` is loaded; ENOSYS if there is none on the machine, and the call lasts as long as
 * that library takes. A directory needs no library, and the call does not wait for the switch, which may be
 * a vdeswitchif_add() of the same program: until the switch has answered, up to 64 frames wait. If it
 * refuses, or goes away later, the netif is down: herald_netif_set_down_cb(). Returns NULL with errno:
 * ENOENT if there is no such switch, ECONNREFUSED if it is dead.
 */
struct netif *vdeportif_add(struct event_base *base,
                            const char *vde_switch);

/**
 * vdeportif_add() with options; NULL is all defaults.
 */
struct netif *vdeportif_add_ex(struct event_base *base,
                               const char *vde_switch,
                               const struct herald_vdeportif_options *options);

/**
 * Adds a netif that is a VDE switch with lwIP at one of its ports; the others are for the clients that
 * connect to `directory`: vde_plug, virtual machines and others that use libvdeplug, a
 * vdeportif_add() of this program. The switch learns which address is where, sends what goes to several
 * or to nobody known to all, and takes frames from client to client without lwIP (which captures of the
 * netif do not see). The directory is made if there is none, and removed with the netif if it was made.
 * In it are the sockets; what a dead switch has left there is cleared away.
 *
 * Clients may send what they like: their addresses (256 of each), what waits for them (512 KiB each) and
 * their number are bounded, and a client can take neither the netif's hardware address nor have the
 * switch send to sockets that are not its user's.
 *
 * Returns NULL with errno: EADDRINUSE if a switch lives in the directory.
 */
struct netif *vdeswitchif_add(struct event_base *base,
                              const char *directory);

/**
 * vdeswitchif_add() with options; NULL is all defaults.
 */
struct netif *vdeswitchif_add_ex(struct event_base *base,
                                 const char *directory,
                                 const struct herald_vdeswitchif_options *options);

/**
 * Reads the counters of a switch into a struct whose first field says how large it is. What lwIP has sent
 * and received herald_netif_get_counters() tells. Returns 0, or -1 with errno.
 */
int herald_vdeswitchif_get_counters(struct netif *netif,
                                    struct herald_vdeswitchif_counters *counters);

/**
 * Makes a netif worse, in both directions: each packet takes `delay_us` microseconds, and `drop_rate` of
 * them (0.0 to 1.0) are lost, which the counters show as dropped. Its place is between what is attached to
 * the netif already and lwIP. If the netif has a nettest, that takes on the new settings. Returns 0, or -1
 * with errno.
 */
int nettest_add(struct event_base *base,
                struct netif *netif,
                unsigned int delay_us,
                float drop_rate);

/**
 * nettest_add() with jitter, reordering and a rate.
 */
int nettest_add_ex(struct event_base *base,
                   struct netif *netif,
                   const struct herald_nettest_options *options);

/**
 * Makes a netif good again. What is on its way arrives at once. Without a nettest it does nothing.
 */
void nettest_remove(struct netif *netif);

/**
 * Writes a packet with one writev(2): all its pieces, so that it stays one datagram. The `n` vectors
 * are room to work in; if the packet has more pieces, or there are none, the library takes room of its
 * own. Returns how many bytes were written, or -1 with errno.
 */
int pbuf_writev(int fd,
                const struct pbuf *pbuf,
                struct iovec *iovec,
                uint16_t n);

/**
 * Reads with one readv(2) into a packet, into all its pieces, and shortens it to what was read: its
 * tot_len is the result, and pieces that nothing was read into are freed. `last`, if not NULL, becomes
 * the pbuf with the last byte, NULL if there is none. The `n` vectors are room to work in, as for
 * pbuf_writev(). Returns how many bytes were read, 0 at the end, or -1 with errno; then the packet is as
 * it was.
 */
int pbuf_readv(int fd,
               struct pbuf *pbuf,
               struct pbuf **last,
               struct iovec *iovec,
               uint16_t n);

/**
 * Writes every packet that a netif receives and sends to a pcap file, which is created with mode 0600
 * or emptied. Packets are written some at a time, at the latest a second after they went by, and when
 * the capture or the netif is removed. The capture's place is between what is attached to the netif
 * already and lwIP: behind a nettest it shows what lwIP sees, before one what the wire does. Returns 0,
 * or -1 with errno; EBUSY if the netif has a capture.
 */
int pcap_dump_add(struct netif *netif,
                  const char *file);

/**
 * pcap_dump_add() with options; NULL is all defaults.
 */
int pcap_dump_add_ex(struct netif *netif,
                     const char *file,
                     const struct herald_pcap_options *options);

/**
 * Ends the capture of a netif, and closes its file. Without a capture it does nothing.
 */
void pcap_dump_remove(struct netif *netif);

/**
 * Writes what the capture of a netif has not yet written. Returns 0, or -1 with errno: ENOENT if there
 * is no capture, or what made the capture stop, such as ENOSPC.
 */
int pcap_dump_flush(struct netif *netif);

/**
 * Writes an address of lwIP's and a port (0 to 65535, in host order) as a sockaddr_in or a
 * sockaddr_in6. `len` says how much room there is, and becomes the length of the address. The zone of
 * an IPv6 address becomes its scope id, the index of a netif of lwIP's. Returns 0, or -1 with errno:
 * ENOSPC if there is too little room, `len` then says how much is needed.
 */
int ip_addr_to_sockaddr(const ip_addr_t *addr,
                        int port,
                        struct sockaddr *sockaddr,
                        socklen_t *len);

/**
 * Reads a sockaddr_in or a sockaddr_in6 as an address of lwIP's, and a port in host order if `port` is
 * not NULL. The scope id of a link-local address becomes its zone: the index of a netif of lwIP's, or
 * 0, and lwIP looks for one. An IPv4 address within IPv6 (::ffff:1.2.3.4) becomes the IPv4 address,
 * since lwIP knows no such. Returns 0, or -1 with errno: EAFNOSUPPORT for another family.
 */
int sockaddr_to_ip_addr(const struct sockaddr *sockaddr,
                        socklen_t len,
                        ip_addr_t *addr,
                        int *port);

/**
 * Makes an address of the four bytes of an IPv4 address in network order. With a NULL it does nothing.
 */
void raw_to_ip4_addr(const void *raw,
                     ip_addr_t *addr);

/**
 * Makes an address, without a zone, of the 16 bytes of an IPv6 address. With a NULL it does nothing.
 */
void raw_to_ip6_addr(const void *raw,
                     ip_addr_t *addr);

/**
 * Calls a function every `msec` milliseconds, until libevent_timeouts_fini().
 */
void sys_timer_add_internal(struct event_base *base, int msec, void (*cb)(void));

/**
 * Calls a function every `msec` milliseconds, with what is passed to it, until the timer is deleted.
 * Returns a handle for herald_lwip_timer_del(), or NULL with errno.
 */
const void *herald_lwip_timer_add(struct event_base *base,
                                  int msec,
                                  herald_lwip_timer_cb cb,
                                  void *ctx);

/**
 * Deletes a timer, from within its callback too. Returns 0, or -1 with ENOENT if it is not (or no
 * longer) one.
 */
int herald_lwip_timer_del(const void *timer);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/* Whether a look-up is under way. */
static inline int host_busy(const struct host_data *host)
{
    return host->private_data != NULL;
}

/* libevent_timeouts_init(), with the check that program and library agree on lwIP's structs. */
#define herald_lwip_init(base) \
    herald_lwip_init_checked((base), LWIP_VERSION, sizeof(struct netif), sizeof(struct tcp_pcb), \
                             sizeof(struct pbuf))
#define libevent_timeouts_init(base) ((void)herald_lwip_init(base))

#endif /* HERALD_LWIP_H */

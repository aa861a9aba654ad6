/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * herald_lwip.h: the lwIP TCP/IP stack in a libevent loop.
 *
 * Errors: a function that returns int returns 0, or -1 with errno set; one that returns a pointer
 * returns NULL with errno set. herald_lwip_last_error() says what exactly was wrong, and what to do.
 *
 * Structs of options begin with their size, so that programs built against an older header go on
 * working: `struct herald_fdif_options options = { sizeof options };`. A field that is 0 or NULL has
 * its default. Fields are only ever appended.
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
     * Bytes of IP in a packet: 68 to 65521; 0 for the interface's.
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
 * libevent_timeouts_init() may follow, from any thread.
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

/* libevent_timeouts_init(), with the check that program and library agree on lwIP's structs. */
#define herald_lwip_init(base) \
    herald_lwip_init_checked((base), LWIP_VERSION, sizeof(struct netif), sizeof(struct tcp_pcb), \
                             sizeof(struct pbuf))
#define libevent_timeouts_init(base) ((void)herald_lwip_init(base))

#endif /* HERALD_LWIP_H */

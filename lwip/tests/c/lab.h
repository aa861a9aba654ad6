/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What the C tests share. They know nothing of the library but herald_lwip.h. A program is called with
 * the name of a case and an empty directory.
 *
 * Nothing waits for a time to pass: everything waits for something to happen, and fails when it does not.
 */
#ifndef LAB_H
#define LAB_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "herald_lwip.h"

#include <lwip/priv/tcp_priv.h>
#include <lwip/tcp.h>
#include <lwip/timeouts.h>
#include <lwip/udp.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* ---- failing ---- */

#define CHECK(condition) \
    do { \
        if (!(condition)) check_failed(__FILE__, __LINE__, #condition); \
    } while (0)

#define SAME(found, expected) \
    check_same(__FILE__, __LINE__, #found " == " #expected, (long long)(found), (long long)(expected))

static inline void check_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: not true: %s; errno: %s; herald_lwip_last_error(): \"%s\"\n", file, line,
            what, strerror(errno), herald_lwip_last_error());
    fflush(stderr);
    _exit(1);
}

static inline void check_same(const char *file, int line, const char *what, long long found,
                              long long expected)
{
    if (found == expected) return;
    fprintf(stderr, "%s:%d: found %lld, expected %lld\n", file, line, found, expected);
    check_failed(file, line, what);
}

/* A call is refused with this errno, and herald_lwip_last_error() says these words. */
#define REFUSED(call, error, words) \
    do { \
        errno = 0; \
        CHECK(!(call)); \
        SAME(errno, error); \
        if (strstr(herald_lwip_last_error(), words) == NULL) check_failed(__FILE__, __LINE__, words); \
    } while (0)

/* ---- cases ---- */

typedef struct test {
    const char *name;
    void (*run)(void);
} test;

static const char *test_directory;

/* A path in the directory of this case; valid until the eighth call after this. */
static inline const char *path_of(const char *name)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];
    CHECK(snprintf(path, sizeof paths[0], "%s/%s", test_directory, name) < (int)sizeof paths[0]);
    return path;
}

/* How often something is to be repeated: less under valgrind. */
static inline unsigned scaled(unsigned count)
{
    const char *divisor = getenv("HERALD_TEST_DIVISOR");
    unsigned less = divisor != NULL ? count / (unsigned)atoi(divisor) : count;
    return less > 10 ? less : 10;
}

static inline int run_tests(int argc, char **argv, const test *tests, size_t count)
{
    size_t i;
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        for (i = 0; i < count; i++) puts(tests[i].name);
        return 0;
    }
    for (i = 0; argc == 3 && i < count; i++) {
        if (strcmp(argv[1], tests[i].name) != 0) continue;
        test_directory = argv[2];
        tests[i].run();
        return 0;
    }
    fprintf(stderr, "usage: %s list | CASE DIRECTORY\n", argv[0]);
    return 2;
}

/* ---- the loop ---- */

static struct event_base *base;

static inline double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* What does not happen within this time does not happen. */
#define SOON 60.0

/* Runs the loop until something has happened. lwIP's timer makes it turn at least once a second. */
#define LOOP_UNTIL(condition) \
    do { \
        double end_ = now() + SOON; \
        while (!(condition)) { \
            if (now() > end_) check_failed(__FILE__, __LINE__, "soon: " #condition); \
            event_base_loop(base, EVLOOP_ONCE); \
        } \
    } while (0)

static inline void start_stack(void)
{
    base = event_base_new();
    CHECK(base != NULL);
    SAME(herald_lwip_init(base), 0);
}

static inline void stop_stack(void)
{
    libevent_timeouts_fini();
    event_base_free(base);
    base = NULL;
}

/* Another process, such as the peer of a link. It has to end well, and is killed if we do not. */
static inline pid_t peer(void (*run)(int fd), int fd)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid > 0) return pid;
    run(fd);
    _exit(0);
}

static inline void join_peer(pid_t pid)
{
    int status;
    SAME(waitpid(pid, &status, 0), pid);
    SAME(status, 0);
}

/* ---- addresses ---- */

static inline ip_addr_t address(const char *text)
{
    ip_addr_t a;
    CHECK(ipaddr_aton(text, &a));
    return a;
}

/* Gives a netif an IPv4 and an IPv6 address and sets it up. */
static inline void set_up(struct netif *netif, const char *v4, const char *v6)
{
    ip_addr_t a = address(v4), mask = address("255.255.255.0"), gw = address("0.0.0.0"), b = address(v6);
    CHECK(netif != NULL);
    netif_set_addr(netif, ip_2_ip4(&a), ip_2_ip4(&mask), ip_2_ip4(&gw));
    netif_ip6_addr_set(netif, 1, ip_2_ip6(&b));
    netif_ip6_addr_set_state(netif, 1, IP6_ADDR_PREFERRED);
    netif_set_default(netif);
    netif_set_up(netif);
}

/* ---- TCP: one side sends a pattern, the other compares ---- */

/* A stream is this over and over; not a power of two, so that what is in the wrong place is wrong. */
#define PERIOD 65521u

/* The stream from a place on, PERIOD bytes of it. */
static inline const unsigned char *pattern_at(size_t at)
{
    static unsigned char bytes[2 * PERIOD];
    static bool made;
    if (!made) {
        uint64_t state = 1;
        size_t i;
        for (i = 0; i < PERIOD; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            bytes[i] = bytes[i + PERIOD] = (unsigned char)(state >> 56);
        }
        made = true;
    }
    return bytes + at % PERIOD;
}

/* The byte at a place of the stream. */
static inline unsigned char pattern(size_t at) { return *pattern_at(at); }

/* Checks bytes that came at a place of the stream. */
static inline void check_pattern(const void *bytes, size_t length, size_t at)
{
    size_t done, part;
    for (done = 0; done < length; done += part) {
        part = length - done < PERIOD ? length - done : PERIOD;
        CHECK(memcmp((const unsigned char *)bytes + done, pattern_at(at + done), part) == 0);
    }
}

typedef struct stream {
    struct tcp_pcb *pcb, *listener;
    size_t want, sent, acked, received;
    bool connected, ended; /* ended: the peer has sent its FIN */
    bool ends, shut;       /* ends: what is wanted is all, and its end is sent; shut: that has been done */
    err_t error;
} stream;

static inline void stream_fill(stream *s)
{
    while (s->sent < s->want && s->pcb != NULL) {
        size_t length = s->want - s->sent, room = tcp_sndbuf(s->pcb);
        if (length > room) length = room;
        if (length > 32768) length = 32768;
        if (length == 0) break;
        if (tcp_write(s->pcb, pattern_at(s->sent), (u16_t)length, TCP_WRITE_FLAG_COPY) != ERR_OK) break;
        s->sent += length;
    }
    if (s->pcb == NULL) return;
    if (s->ends && !s->shut && s->sent == s->want) {
        s->shut = true;
        SAME(tcp_shutdown(s->pcb, 0, 1), ERR_OK);
    }
    tcp_output(s->pcb);
}

static inline err_t stream_sent(void *arg, struct tcp_pcb *pcb, u16_t length)
{
    stream *s = (stream *)arg;
    (void)pcb;
    s->acked += length;
    stream_fill(s);
    return ERR_OK;
}

static inline err_t stream_received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    stream *s = (stream *)arg;
    struct pbuf *q;
    SAME(err, ERR_OK);
    if (p == NULL) {
        s->ended = true;
        return ERR_OK;
    }
    for (q = p; q != NULL; q = q->next) {
        check_pattern(q->payload, q->len, s->received);
        s->received += q->len;
    }
    tcp_recved(pcb, p->tot_len);
    pbuf_free(p);
    return ERR_OK;
}

static inline void stream_error(void *arg, err_t err)
{
    stream *s = (stream *)arg;
    s->pcb = NULL;
    s->error = err;
}

static inline void stream_attach(stream *s, struct tcp_pcb *pcb)
{
    s->pcb = pcb;
    /* lwIP sends no acknowledgement while Nagle's algorithm holds back data: two sides that both send
     * would wait for each other's retransmission timers. */
    tcp_nagle_disable(pcb);
    tcp_arg(pcb, s);
    tcp_sent(pcb, stream_sent);
    tcp_recv(pcb, stream_received);
    tcp_err(pcb, stream_error);
}

static inline err_t stream_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
    stream *s = (stream *)arg;
    (void)pcb;
    SAME(err, ERR_OK);
    s->connected = true;
    stream_fill(s);
    return ERR_OK;
}

static inline err_t stream_accepted(void *arg, struct tcp_pcb *pcb, err_t err)
{
    stream *s = (stream *)arg;
    SAME(err, ERR_OK);
    stream_attach(s, pcb);
    s->connected = true;
    stream_fill(s);
    return ERR_OK;
}

/* Connects, and sends `want` bytes of the pattern. */
static inline void stream_connect(stream *s, const char *to, u16_t port, size_t want)
{
    ip_addr_t a = address(to);
    memset(s, 0, sizeof *s);
    s->want = want;
    stream_attach(s, tcp_new_ip_type(IP_GET_TYPE(&a)));
    SAME(tcp_connect(s->pcb, &a, port, stream_connected), ERR_OK);
}

/* Accepts one connection, and sends `want` bytes of the pattern. */
static inline void stream_listen(stream *s, u16_t port, size_t want)
{
    struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
    memset(s, 0, sizeof *s);
    s->want = want;
    /* A connection in TIME_WAIT is no obstacle. */
    ip_set_option(pcb, SOF_REUSEADDR);
    SAME(tcp_bind(pcb, IP_ANY_TYPE, port), ERR_OK);
    s->listener = tcp_listen(pcb);
    CHECK(s->listener != NULL);
    tcp_arg(s->listener, s);
    tcp_accept(s->listener, stream_accepted);
}

/* Closes in an orderly way. The pcb is lwIP's afterwards. */
static inline void stream_close(stream *s)
{
    if (s->pcb != NULL) {
        tcp_arg(s->pcb, NULL);
        tcp_sent(s->pcb, NULL);
        tcp_recv(s->pcb, NULL);
        tcp_err(s->pcb, NULL);
        SAME(tcp_close(s->pcb), ERR_OK);
    }
    if (s->listener != NULL) SAME(tcp_close(s->listener), ERR_OK);
    s->pcb = s->listener = NULL;
}

/* ---- what this process has ---- */

static inline int open_fds(void)
{
    int fd, count = 0;
    for (fd = 0; fd < 1024; fd++) count += fcntl(fd, F_GETFD) != -1;
    return count;
}

static inline struct herald_netif_counters counters_of(struct netif *netif)
{
    struct herald_netif_counters counters;
    memset(&counters, 0, sizeof counters);
    counters.size = sizeof counters;
    SAME(herald_netif_get_counters(netif, &counters), 0);
    return counters;
}

#endif

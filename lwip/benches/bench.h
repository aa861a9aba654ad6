/* SPDX-License-Identifier: MIT OR Apache-2.0
 * What the benchmarks share. Each is a program that prints rows:
 *
 *     what                                          MB/s   ns of CPU per byte
 *
 * CPU is that of all processes that take part, user and system. What arrives is compared with what was
 * sent, within the time that is measured. */
#ifndef BENCH_H
#define BENCH_H

#include "linux.h"

#include <sys/resource.h>
#include <sys/syscall.h>

/* A stream is this over and over. */
#define PERIOD 65521u
static unsigned char stuff[2 * PERIOD];

static inline void make_stuff(void)
{
    uint64_t state = 1;
    size_t i;
    for (i = 0; i < PERIOD; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        stuff[i] = stuff[i + PERIOD] = (unsigned char)(state >> 56);
    }
}

/* Checks bytes that came at a place of the stream. At most PERIOD at once. */
static inline void check_stuff(const void *bytes, size_t length, size_t at)
{
    CHECK(length <= PERIOD && memcmp(bytes, stuff + at % PERIOD, length) == 0);
}

/* ---- lwIP's side ---- */

typedef struct flow {
    struct tcp_pcb *pcb;
    size_t want, sent, received;
    bool ended, connected;
} flow;

static inline void flow_fill(flow *f)
{
    while (f->sent < f->want) {
        size_t length = f->want - f->sent, room = tcp_sndbuf(f->pcb);
        if (length > room) length = room;
        if (length > 32768) length = 32768;
        if (length == 0) break;
        if (tcp_write(f->pcb, stuff + f->sent % PERIOD, (u16_t)length, TCP_WRITE_FLAG_COPY) != ERR_OK) break;
        f->sent += length;
    }
    if (f->sent == f->want && !f->ended) {
        f->ended = true;
        tcp_shutdown(f->pcb, 0, 1);
    }
    tcp_output(f->pcb);
}

static inline err_t flow_sent(void *arg, struct tcp_pcb *pcb, u16_t length)
{
    (void)pcb, (void)length;
    if (!((flow *)arg)->ended) flow_fill((flow *)arg);
    return ERR_OK;
}

static inline err_t flow_received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
    flow *f = (flow *)arg;
    struct pbuf *q;
    SAME(err, ERR_OK);
    if (p == NULL) {
        f->ended = true;
        return ERR_OK;
    }
    for (q = p; q != NULL; q = q->next) {
        check_stuff(q->payload, q->len, f->received);
        f->received += q->len;
    }
    tcp_recved(pcb, p->tot_len);
    pbuf_free(p);
    return ERR_OK;
}

static inline void flow_error(void *arg, err_t err)
{
    (void)arg;
    SAME(err, ERR_OK);
}

static inline err_t flow_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
    (void)pcb;
    SAME(err, ERR_OK);
    ((flow *)arg)->connected = true;
    if (((flow *)arg)->want > 0) flow_fill((flow *)arg);
    return ERR_OK;
}

static inline void flow_attach(flow *f, struct tcp_pcb *pcb)
{
    f->pcb = pcb;
    tcp_nagle_disable(pcb);
    tcp_arg(pcb, f);
    tcp_sent(pcb, flow_sent);
    tcp_recv(pcb, flow_received);
    tcp_err(pcb, flow_error);
}

static inline err_t flow_accepted(void *arg, struct tcp_pcb *pcb, err_t err)
{
    SAME(err, ERR_OK);
    flow_attach((flow *)arg, pcb);
    return flow_connected(arg, pcb, err);
}

static inline void flow_connect(flow *f, const char *to, u16_t port, size_t want)
{
    ip_addr_t a = address(to);
    memset(f, 0, sizeof *f);
    f->want = want;
    flow_attach(f, tcp_new_ip_type(IP_GET_TYPE(&a)));
    SAME(tcp_connect(f->pcb, &a, port, flow_connected), ERR_OK);
}

static inline void flow_listen(flow *f, u16_t port, size_t want)
{
    struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
    memset(f, 0, sizeof *f);
    f->want = want;
    ip_set_option(pcb, SOF_REUSEADDR);
    SAME(tcp_bind(pcb, IP_ANY_TYPE, port), ERR_OK);
    pcb = tcp_listen(pcb);
    tcp_arg(pcb, f);
    tcp_accept(pcb, flow_accepted);
}

/* ---- the kernel's side ---- */

static inline void bulk_send(int fd, size_t bytes)
{
    size_t sent = 0;
    while (sent < bytes) {
        size_t length = bytes - sent < PERIOD ? bytes - sent : PERIOD;
        ssize_t written = send(fd, stuff + sent % PERIOD, length, MSG_NOSIGNAL);
        CHECK(written > 0);
        sent += (size_t)written;
    }
    CHECK(shutdown(fd, SHUT_WR) == 0);
}

static inline void bulk_receive(int fd, size_t bytes)
{
    static unsigned char buffer[PERIOD];
    size_t received = 0;
    ssize_t length;
    while ((length = recv(fd, buffer, sizeof buffer, 0)) > 0) {
        check_stuff(buffer, (size_t)length, received);
        received += (size_t)length;
    }
    SAME(received, bytes);
}

/* ---- measuring ---- */

static inline void woken(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
}

/* Runs the loop until a child has ended, well; its end wakes the loop up. */
static inline void loop_until_ended(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0), status;
    struct event *event = event_new(base, fd, EV_READ, woken, NULL);
    CHECK(fd >= 0 && event != NULL && event_add(event, NULL) == 0);
    LOOP_UNTIL(waitpid(pid, &status, WNOHANG) == pid);
    event_free(event);
    close(fd);
    SAME(status, 0);
}

typedef struct result {
    double mb_per_s, ns_per_byte;
} result;

static inline double cpu_of(int who)
{
    struct rusage usage;
    CHECK(getrusage(who, &usage) == 0);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Runs something in processes of its own, and says how long it took and what CPU it and its children had:
 * `run` returns when `bytes` have arrived, and its children have been waited for. */
static inline result measure(void (*run)(size_t bytes), size_t bytes)
{
    double start = now(), cpu = cpu_of(RUSAGE_CHILDREN);
    result found;
    pid_t pid = fork();
    if (pid == 0) {
        run(bytes);
        _exit(0);
    }
    join_peer(pid);
    found.mb_per_s = (double)bytes / (now() - start) / 1e6;
    found.ns_per_byte = (cpu_of(RUSAGE_CHILDREN) - cpu) * 1e9 / (double)bytes;
    return found;
}

static inline void row(const char *what, result r)
{
    printf("%-44s %8.0f %8.2f\n", what, r.mb_per_s, r.ns_per_byte);
    fflush(stdout);
}

/* Measures two ways in turn, prints the best of each (others only make it slower), and their ratio. */
static inline void compare(const char *one, void (*run_one)(size_t), const char *other,
                           void (*run_other)(size_t), size_t bytes, double aim)
{
    result best[2] = {{0, 0}, {0, 0}};
    int round, which;
    for (round = 0; round < 4; round++) {
        for (which = 0; which < 2; which++) {
            result r = measure(which == 0 ? run_one : run_other, bytes);
            if (r.mb_per_s > best[which].mb_per_s) best[which] = r;
        }
    }
    row(one, best[0]);
    row(other, best[1]);
    printf("%-44s %8.2f   (aim: %.1f)\n", "  ratio", best[1].mb_per_s / best[0].mb_per_s, aim);
    fflush(stdout);
}

#endif

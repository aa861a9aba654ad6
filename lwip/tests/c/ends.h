/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The ends of TCP connections, as lwipevbufs; within one stack, by an address of its own. */
#ifndef ENDS_H
#define ENDS_H

#include "lab.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>

#define V4 "10.9.0.1"
#define V6 "fd00::1"

static struct netif *home;
static int home_fds[2];

/* A stack with a netif that nobody answers on: what is sent to its own addresses stays within. */
static inline void start_alone(void)
{
    start_stack();
    SAME(socketpair(AF_UNIX, SOCK_DGRAM, 0, home_fds), 0);
    home = fdif_add(base, home_fds[0], home_fds[0], 0);
    set_up(home, V4, V6);
}

static inline void stop_alone(void)
{
    stop_stack();
    close(home_fds[0]);
    close(home_fds[1]);
}

typedef struct end {
    struct lwipevbuf *buffer;
    size_t want, sent, received;
    bool reads, connected, ended, failed; /* reads: verifies the pattern and drains as it comes */
    err_t error;
    int error_number, host_error;
    short what;
    unsigned drained;
} end;

/* Keeps the output buffer filled, up to `want` bytes of the pattern in all. */
static inline void end_fill(end *e)
{
    unsigned char bytes[4096];
    while (e->buffer != NULL && e->sent < e->want
           && evbuffer_get_length(e->buffer->output_buffer) < 200000) {
        size_t i, length = e->want - e->sent;
        if (length > sizeof bytes) length = sizeof bytes;
        for (i = 0; i < length; i++) bytes[i] = pattern(e->sent + i);
        SAME(evbuffer_add(e->buffer->output_buffer, bytes, length), 0);
        e->sent += length;
    }
}

/* Takes what there is, and compares. */
static inline void end_take(end *e)
{
    unsigned char bytes[8192];
    int length, i;
    while ((length = evbuffer_remove(e->buffer->input_buffer, bytes, sizeof bytes)) > 0) {
        for (i = 0; i < length; i++) {
            SAME(bytes[i], pattern(e->received));
            e->received++;
        }
    }
}

static inline void end_read(struct lwipevbuf *buffer, void *ctx)
{
    end *e = (end *)ctx;
    CHECK(buffer == e->buffer);
    if (e->reads) end_take(e);
}

static inline void end_written(struct lwipevbuf *buffer, void *ctx)
{
    end *e = (end *)ctx;
    CHECK(buffer == e->buffer);
    SAME(evbuffer_get_length(buffer->output_buffer), 0);
    e->drained++;
    end_fill(e);
}

static inline void end_event(struct lwipevbuf *buffer, short what, void *ctx)
{
    end *e = (end *)ctx;
    int error = errno;
    CHECK(buffer == e->buffer);
    CHECK(!e->failed);
    e->what |= what;
    if (what & BEV_EVENT_CONNECTED) {
        CHECK(!e->connected);
        e->connected = true;
    }
    if (what & BEV_EVENT_EOF) {
        SAME(what, BEV_EVENT_EOF | BEV_EVENT_READING);
        CHECK(!e->ended);
        e->ended = true;
    }
    if (what & BEV_EVENT_ERROR) {
        e->failed = true;
        e->error = buffer->tcp_err;
        e->error_number = error;
        e->host_error = buffer->host_err;
    }
}

static inline void end_use(end *e, struct lwipevbuf *buffer)
{
    CHECK(buffer != NULL);
    e->buffer = buffer;
    lwipevbuf_setcb(buffer, end_read, end_written, end_event, e);
    end_fill(e);
}

static inline err_t end_accepted(void *arg, struct tcp_pcb *pcb, err_t err)
{
    SAME(err, ERR_OK);
    end_use((end *)arg, lwipevbuf_new(pcb));
    return ERR_OK;
}

static inline struct tcp_pcb *listen_on(u16_t port, void *arg, tcp_accept_fn accepted)
{
    struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
    /* Those of before are still in TIME_WAIT. */
    ip_set_option(pcb, SOF_REUSEADDR);
    SAME(tcp_bind(pcb, IP_ANY_TYPE, port), ERR_OK);
    pcb = tcp_listen(pcb);
    CHECK(pcb != NULL);
    tcp_arg(pcb, arg);
    tcp_accept(pcb, accepted);
    return pcb;
}

static inline int connect_to(struct lwipevbuf *buffer, const char *text, int port)
{
    struct sockaddr_storage to;
    socklen_t length = sizeof to;
    ip_addr_t a = address(text);
    SAME(ip_addr_to_sockaddr(&a, port, (struct sockaddr *)&to, &length), 0);
    return lwipevbuf_connect(buffer, (struct sockaddr *)&to, (int)length);
}

/* Two ends, connected. */
static inline void connect_ends(end *client, end *server, const char *to)
{
    struct tcp_pcb *listener = listen_on(7, server, end_accepted);
    end_use(client, lwipevbuf_new(NULL));
    SAME(connect_to(client->buffer, to, 7), 0);
    CHECK(client->buffer->pcb != NULL);
    SAME(client->buffer->port, 7);
    LOOP_UNTIL(client->connected && server->buffer != NULL);
    SAME(tcp_close(listener), ERR_OK);
}

static inline void end_free(end *e)
{
    lwipevbuf_free(e->buffer);
    e->buffer = NULL;
}

/* lwIP has no connection left but those in TIME_WAIT. */
static inline void all_closed(void)
{
    LOOP_UNTIL(tcp_active_pcbs == NULL);
}

#endif

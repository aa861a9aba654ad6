/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A name server on lwIP, for the domain test. What it says depends on the first label of a name:
 *
 *     both, six, twice     addresses; none: no such name; www.corp: one, for search domains
 *     alias, chain, far    aliases, with the address and without it
 *     loop, endlessN       aliases that go nowhere
 *     big, cut             truncated over UDP; over TCP an answer, and half of one
 *     refused, servfail    answer codes
 *     silent               nothing
 *     garbage, forged      bytes that are no answer, before the answer
 *     deaf                 nothing to the first question, then an answer
 *     short                an answer that is kept for a second
 */
#ifndef DNS_H
#define DNS_H

#include "ends.h"

struct dns_server {
    struct udp_pcb *udp;
    struct tcp_pcb *tcp;
    unsigned questions, tcp_questions;
    u16_t ports[64], ids[64]; /* of the first questions */
    char name[256];           /* the last that was asked for, as it was spelled */
};

/* A message that is being written. */
typedef struct reply {
    unsigned char bytes[4096];
    size_t length;
} reply;

static inline void put(reply *r, const void *bytes, size_t length)
{
    CHECK(r->length + length <= sizeof r->bytes);
    memcpy(r->bytes + r->length, bytes, length);
    r->length += length;
}

static inline void put16(reply *r, unsigned value)
{
    unsigned char bytes[2] = {(unsigned char)(value >> 8), (unsigned char)value};
    put(r, bytes, 2);
}

static inline void put_name(reply *r, const char *name)
{
    while (*name != '\0') {
        size_t length = strcspn(name, ".");
        unsigned char byte = (unsigned char)length;
        put(r, &byte, 1);
        put(r, name, length);
        name += length + (name[length] == '.');
    }
    put(r, "", 1);
}

enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_AAAA = 28 };

static inline void put_record(reply *r, const char *name, unsigned type, unsigned ttl, const char *value)
{
    size_t at, length;
    put_name(r, name);
    put16(r, type);
    put16(r, 1);
    put16(r, ttl >> 16);
    put16(r, ttl & 0xffff);
    at = r->length;
    put16(r, 0);
    if (type == TYPE_CNAME) {
        put_name(r, value);
    } else {
        ip_addr_t a = address(value);
        put(r, &a, type == TYPE_A ? 4 : 16);
    }
    length = r->length - at - 2;
    r->bytes[at] = (unsigned char)(length >> 8);
    r->bytes[at + 1] = (unsigned char)length;
    r->bytes[7]++; /* answers */
}

/* Begins the answer to a question; returns where its type is. */
static inline void begin_reply(reply *r, const unsigned char *question, size_t length, unsigned code)
{
    r->length = 0;
    put(r, question, length);
    r->bytes[2] = 0x81; /* an answer, with recursion desired */
    r->bytes[3] = (unsigned char)(0x80 | code);
    r->bytes[4] = r->bytes[6] = r->bytes[7] = r->bytes[8] = r->bytes[9] = r->bytes[10] = r->bytes[11] = 0;
    r->bytes[5] = 1;
}

typedef void (*answer_with)(void *ctx, const reply *r);

static inline void dns_answer(struct dns_server *s, const unsigned char *question, size_t length, bool tcp,
                              answer_with send, void *ctx)
{
    reply r;
    size_t at = 12;
    char name[256] = "", label[64];
    unsigned type, number;
    CHECK(length > 12 && question[5] == 1 && (question[2] & 0x80) == 0);
    while (question[at] != 0) {
        CHECK(question[at] < 64 && at + question[at] + 5 < length);
        strncat(name, (const char *)question + at + 1, question[at]);
        at += question[at] + 1u;
        if (question[at] != 0) strcat(name, ".");
    }
    type = (unsigned)question[at + 1] << 8 | question[at + 2];
    SAME(length, at + 5);
    strcpy(s->name, name);
    if (s->questions < COUNT_OF(s->ids)) s->ids[s->questions] = (u16_t)(question[0] << 8 | question[1]);
    s->questions++;
    s->tcp_questions += tcp;
    snprintf(label, sizeof label, "%.*s", (int)strcspn(name, "."), name);
    number = 0;
    begin_reply(&r, question, length, 0);
#define IS(text) (strcmp(label, text) == 0)
#define ADDRESS(type_, ttl, value) \
    do { \
        if (type == (type_)) put_record(&r, name, type_, ttl, value); \
    } while (0)
    if (IS("both")) {
        ADDRESS(TYPE_A, 300, V4);
        ADDRESS(TYPE_AAAA, 300, V6);
    } else if (IS("six")) {
        ADDRESS(TYPE_AAAA, 300, V6);
    } else if (IS("twice")) {
        ADDRESS(TYPE_A, 300, "10.9.1.1");
        ADDRESS(TYPE_A, 300, V4);
    } else if (IS("far") || strcmp(name, "www.corp.test") == 0) {
        ADDRESS(TYPE_A, 300, "192.0.2.80");
    } else if (IS("short")) {
        ADDRESS(TYPE_A, 1, "192.0.2.1");
    } else if (IS("alias")) {
        put_record(&r, name, TYPE_CNAME, 300, "Other.Test");
        put_record(&r, "oTHER.test", TYPE_CNAME, 300, "both.test");
        if (type == TYPE_A) put_record(&r, "both.test", TYPE_A, 300, V4);
    } else if (IS("chain")) {
        put_record(&r, name, TYPE_CNAME, 300, "far.test");
    } else if (IS("loop")) {
        put_record(&r, name, TYPE_CNAME, 300, "pool.test");
        put_record(&r, "pool.test", TYPE_CNAME, 300, name);
    } else if (sscanf(label, "endless%u", &number) == 1) {
        snprintf(label, sizeof label, "endless%u.test", number + 1);
        put_record(&r, name, TYPE_CNAME, 300, label);
    } else if (IS("big") || IS("cut")) {
        if (!tcp) r.bytes[2] |= 0x02;
        else ADDRESS(TYPE_A, 300, "192.0.2.2");
    } else if (IS("refused")) {
        r.bytes[3] |= 5;
    } else if (IS("servfail")) {
        r.bytes[3] |= 2;
    } else if (IS("silent") || (IS("deaf") && s->questions == 1)) {
        return;
    } else if (IS("deaf")) {
        ADDRESS(TYPE_A, 300, "192.0.2.3");
    } else if (IS("garbage")) {
        reply bad;
        size_t i;
        for (i = 0; i < 40; i++) {
            /* Nothing but the id is right; then answers that are cut off, or point into themselves. */
            begin_reply(&bad, question, length, 0);
            put_record(&bad, name, TYPE_A, 300, "203.0.113.66");
            if (i < 20) {
                size_t j;
                for (j = 3; j < bad.length; j++) bad.bytes[j] = (unsigned char)(rand() >> 7);
                bad.bytes[2] = 0x80;
            } else if (i < 30) {
                bad.length -= i - 19;
            } else {
                bad.bytes[12] = 0xc0;
                bad.bytes[13] = (unsigned char)(12 + (i - 30));
            }
            send(ctx, &bad);
        }
        ADDRESS(TYPE_A, 300, "192.0.2.4");
    } else if (IS("forged")) {
        reply bad;
        begin_reply(&bad, question, length, 0);
        put_record(&bad, name, TYPE_A, 300, "203.0.113.66");
        bad.bytes[1] ^= 1; /* another id */
        send(ctx, &bad);
        bad.bytes[1] ^= 1;
        bad.bytes[13] ^= 3; /* another name */
        send(ctx, &bad);
        bad.bytes[13] ^= 3;
        bad.bytes[2] &= 0x7f; /* a question */
        send(ctx, &bad);
        bad.bytes[2] |= 0x80;
        bad.bytes[length - 3] = TYPE_AAAA; /* another type */
        send(ctx, &bad);
        bad.length = 5;
        send(ctx, &bad);
        bad.length = 0;
        send(ctx, &bad);
        /* An address of somebody else's. */
        put_record(&r, "bank.test", TYPE_A, 300, "203.0.113.66");
        ADDRESS(TYPE_A, 300, "192.0.2.5");
    } else {
        r.bytes[3] |= 3;
    }
    send(ctx, &r);
}

struct udp_peer {
    struct udp_pcb *pcb;
    const ip_addr_t *to;
    u16_t port;
};

static inline void dns_send_udp(void *ctx, const reply *r)
{
    struct udp_peer *peer = (struct udp_peer *)ctx;
    struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, (u16_t)r->length, PBUF_RAM);
    CHECK(p != NULL);
    pbuf_take(p, r->bytes, (u16_t)r->length);
    SAME(udp_sendto(peer->pcb, p, peer->to, peer->port), ERR_OK);
    pbuf_free(p);
}

static inline void dns_received(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from,
                                u16_t port)
{
    struct dns_server *s = (struct dns_server *)arg;
    unsigned char bytes[600];
    u16_t length = pbuf_copy_partial(p, bytes, sizeof bytes, 0);
    struct udp_peer peer = {pcb, from, port};
    pbuf_free(p);
    if (s->questions < COUNT_OF(s->ports)) s->ports[s->questions] = port;
    dns_answer(s, bytes, length, false, dns_send_udp, &peer);
}

static inline void dns_send_tcp(void *ctx, const reply *r)
{
    struct evbuffer *to = (struct evbuffer *)ctx;
    unsigned char length[2] = {(unsigned char)(r->length >> 8), (unsigned char)r->length};
    evbuffer_add(to, length, 2);
    evbuffer_add(to, r->bytes, r->length);
}

static inline void dns_read(struct lwipevbuf *buffer, void *ctx)
{
    struct dns_server *s = (struct dns_server *)ctx;
    unsigned char bytes[600];
    ev_ssize_t length = evbuffer_copyout(buffer->input_buffer, bytes, sizeof bytes);
    struct evbuffer *whole;
    if (length < 2 || length < 2 + (bytes[0] << 8 | bytes[1])) return;
    whole = evbuffer_new();
    dns_answer(s, bytes + 2, (size_t)length - 2, true, dns_send_tcp, whole);
    length = (ev_ssize_t)evbuffer_get_length(whole);
    if (strncmp(s->name, "cut", 3) == 0) length /= 2;
    evbuffer_remove_buffer(whole, buffer->output_buffer, (size_t)length);
    evbuffer_free(whole);
    lwipevbuf_free(buffer);
}

static inline void dns_event(struct lwipevbuf *buffer, short what, void *ctx)
{
    (void)what;
    (void)ctx;
    lwipevbuf_free(buffer);
}

static inline err_t dns_accepted(void *arg, struct tcp_pcb *pcb, err_t err)
{
    struct lwipevbuf *buffer;
    SAME(err, ERR_OK);
    buffer = lwipevbuf_new(pcb);
    lwipevbuf_setcb(buffer, dns_read, NULL, dns_event, arg);
    return ERR_OK;
}

/* Starts it, and makes it the next server that is asked. */
static inline void dns_start(struct dns_server *s, const char *at, u16_t port)
{
    ip_addr_t a = address(at);
    memset(s, 0, sizeof *s);
    s->udp = udp_new_ip_type(IP_GET_TYPE(&a));
    SAME(udp_bind(s->udp, &a, port), ERR_OK);
    udp_recv(s->udp, dns_received, s);
    s->tcp = tcp_new_ip_type(IP_GET_TYPE(&a));
    SAME(tcp_bind(s->tcp, &a, port), ERR_OK);
    s->tcp = tcp_listen(s->tcp);
    tcp_arg(s->tcp, s);
    tcp_accept(s->tcp, dns_accepted);
    SAME(host_add_server(&a, port == 53 ? 0 : port), 0);
}

static inline void dns_stop(struct dns_server *s)
{
    udp_remove(s->udp);
    SAME(tcp_close(s->tcp), ERR_OK);
}

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0
 * A thousand connections of lwIP's at once, each joined to a local socket by lwipevbuf_bev_join. In one process a
 * stack whose hosts send on all of them, in the second the joins, in the third a server that sends everything
 * back, so that every byte passes a join twice. No byte is sent before all are joined. Each stream is its own,
 * and compared when it is back. */
#include "bench.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <sys/mman.h>

#define STREAMS 1000u
#define WATERMARK 16384
/* So many are connecting at a time. */
#define ABREAST 50u
/* What a connection may take at most, with libevent's and lwIP's own: a window in, a window out, and for each
 * direction the watermark and one read more on both sides of the join. */
#define MOST (2 * 65536 + 4 * (WATERMARK + 16384))

static size_t each;
/* By which the hosts hear that all are joined. */
static int go[2];

/* ---- the hosts ---- */

typedef struct host {
    struct lwipevbuf *buffer;
    size_t sent, received;
} host;

static host hosts[STREAMS];
static unsigned begun, connected, over;

static void host_begin(void);

static size_t place(const host *h, size_t at) { return (size_t)(h - hosts) * 7919 + at; }

static void host_fill(struct lwipevbuf *buffer, void *ctx)
{
    host *h = (host *)ctx;
    while (h->sent < each && evbuffer_get_length(buffer->output_buffer) < 32768) {
        size_t length = each - h->sent < 16384 ? each - h->sent : 16384;
        evbuffer_add(buffer->output_buffer, pattern_at(place(h, h->sent)), length);
        h->sent += length;
        if (h->sent == each) SAME(lwipevbuf_shutdown(buffer), 0);
    }
}

static void host_read(struct lwipevbuf *buffer, void *ctx)
{
    host *h = (host *)ctx;
    unsigned char bytes[16384];
    int length;
    while ((length = evbuffer_remove(buffer->input_buffer, bytes, sizeof bytes)) > 0) {
        check_pattern(bytes, (size_t)length, place(h, h->received));
        h->received += (size_t)length;
    }
}

static void host_event(struct lwipevbuf *buffer, short what, void *ctx)
{
    host *h = (host *)ctx;
    CHECK(!(what & BEV_EVENT_ERROR));
    if (what & BEV_EVENT_CONNECTED) {
        connected++;
        host_begin();
    }
    if (what & BEV_EVENT_EOF) {
        SAME(h->received, each);
        lwipevbuf_free(buffer);
        over++;
    }
}

static void host_begin(void)
{
    while (begun < STREAMS && begun < connected + ABREAST) {
        host *h = &hosts[begun++];
        struct sockaddr_in to;
        memset(&to, 0, sizeof to);
        to.sin_family = AF_INET;
        to.sin_port = htons(7);
        SAME(inet_pton(AF_INET, "10.9.0.1", &to.sin_addr), 1);
        h->buffer = lwipevbuf_new(NULL);
        lwipevbuf_setcb(h->buffer, host_read, host_fill, host_event, h);
        SAME(lwipevbuf_connect(h->buffer, (struct sockaddr *)&to, sizeof to), 0);
    }
}

static void hosts_send(evutil_socket_t fd, short what, void *ctx)
{
    host *h;
    char byte;
    (void)what, (void)ctx;
    SAME(read(fd, &byte, 1), 1);
    SAME(connected, STREAMS);
    for (h = hosts; h < hosts + STREAMS; h++) host_fill(h->buffer, h);
}

static void be_hosts(int fd)
{
    struct event *all_joined;
    start_stack();
    set_up(fdif_add(base, fd, fd, 0), "10.9.0.2", "fd00::2");
    all_joined = event_new(base, go[0], EV_READ, hosts_send, NULL);
    CHECK(all_joined != NULL && event_add(all_joined, NULL) == 0);
    host_begin();
    /* Nobody waits for the last acknowledgements: their sender may be gone. */
    while (over < STREAMS) event_base_loop(base, EVLOOP_ONCE);
    event_free(all_joined);
    stop_stack();
}

/* ---- the server ---- */

static int locals[STREAMS][2];
static unsigned served;

static void server_work(struct bufferevent *bev, void *ctx)
{
    struct evbuffer *out = bufferevent_get_output(bev);
    bool *ended = (bool *)ctx;
    if (evbuffer_get_length(out) < 65536) evbuffer_add_buffer(out, bufferevent_get_input(bev));
    if (*ended && evbuffer_get_length(out) == 0) {
        bufferevent_free(bev);
        served++;
    }
}

static void server_event(struct bufferevent *bev, short what, void *ctx)
{
    CHECK(what & BEV_EVENT_EOF);
    *(bool *)ctx = true;
    evbuffer_add_buffer(bufferevent_get_output(bev), bufferevent_get_input(bev));
    server_work(bev, ctx);
}

static void be_server(int fd)
{
    static bool ended[STREAMS];
    unsigned i;
    close(fd);
    base = event_base_new();
    for (i = 0; i < STREAMS; i++) {
        struct bufferevent *bev;
        close(locals[i][0]);
        bev = bufferevent_socket_new(base, locals[i][1], BEV_OPT_CLOSE_ON_FREE);
        bufferevent_setcb(bev, server_work, server_work, server_event, &ended[i]);
        bufferevent_setwatermark(bev, EV_READ, 0, 65536);
        bufferevent_enable(bev, EV_READ | EV_WRITE);
    }
    while (served < STREAMS) event_base_loop(base, EVLOOP_ONCE);
}

/* ---- the joins ---- */

static unsigned accepted_count, joined, most_joined;
/* Shared with the process that prints it. */
static struct {
    long kib;
    unsigned at_once;
} *memory;

typedef struct both {
    struct bufferevent *bev;
    struct lwipevbuf *buffer;
} both;

static void all_done(void *ctx)
{
    both *b = (both *)ctx;
    CHECK(b->buffer->tcp_err == ERR_OK);
    bufferevent_free(b->bev);
    lwipevbuf_free(b->buffer);
    free(b);
    joined--;
}

static err_t accept_one(void *arg, struct tcp_pcb *pcb, err_t err)
{
    both *b = (both *)malloc(sizeof *b);
    (void)arg;
    SAME(err, ERR_OK);
    b->buffer = lwipevbuf_new(pcb);
    b->bev = bufferevent_socket_new(base, locals[accepted_count++][0], BEV_OPT_CLOSE_ON_FREE);
    CHECK(b->buffer != NULL && b->bev != NULL);
    lwipevbuf_bev_join(b->bev, b->buffer, WATERMARK, NULL, NULL, NULL, NULL, all_done, b);
    if (++joined > most_joined) most_joined = joined;
    if (joined == STREAMS) SAME(write(go[1], "", 1), 1);
    return ERR_OK;
}

static void run(size_t bytes)
{
    int link[2];
    unsigned i;
    pid_t hosts_pid, server_pid;
    struct tcp_pcb *pcb;
    long before;
    struct rusage usage;
    struct rlimit limit = {4096, 4096};
    each = bytes / STREAMS / 2;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, link) == 0);
    CHECK(pipe(go) == 0);
    hosts_pid = peer(be_hosts, link[1]);
    close(link[1]);
    for (i = 0; i < STREAMS; i++) {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, locals[i]) == 0);
    }
    server_pid = peer(be_server, link[0]);
    for (i = 0; i < STREAMS; i++) close(locals[i][1]);
    start_stack();
    set_up(fdif_add(base, link[0], link[0], 0), "10.9.0.1", "fd00::1");
    pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
    SAME(tcp_bind(pcb, IP_ANY_TYPE, 7), ERR_OK);
    pcb = tcp_listen(pcb);
    tcp_accept(pcb, accept_one);
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    before = usage.ru_maxrss;
    while (accepted_count < STREAMS || joined > 0) event_base_loop(base, EVLOOP_ONCE);
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    memory->kib = usage.ru_maxrss - before;
    memory->at_once = most_joined;
    SAME(most_joined, STREAMS);
    CHECK(memory->kib < (long)(STREAMS * (MOST / 1024)));
    SAME(tcp_close(pcb), ERR_OK);
    join_peer(hosts_pid);
    join_peer(server_pid);
    stop_stack();
}

int main(void)
{
    memory = mmap(NULL, sizeof *memory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    signal(SIGPIPE, SIG_IGN);
    row("1000 joined connections, 1 GB in all", measure(run, 1000000000));
    printf("  joined at once: %u; memory of the joins: %.1f MB, %ld KiB each (limit: %d)\n", memory->at_once,
           (double)memory->kib * 1024 / 1e6, memory->kib / (long)STREAMS, MOST / 1024);
    return 0;
}

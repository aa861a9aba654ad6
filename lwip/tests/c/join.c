/* SPDX-License-Identifier: MIT OR Apache-2.0
 * lwipevbuf_bev_join: a kernel's stream socket on one side, an lwIP connection on the other. The test holds the
 * other ends of both. */
#include "ends.h"

#include <sys/ioctl.h>

/* ---- the far end of the bufferevent: a socket that is read and written here */

typedef struct local {
    int fd;
    size_t want, sent, received;
    bool ended;
    int error;
} local;

static void local_work(local *l)
{
    unsigned char bytes[4096];
    ssize_t length, i;
    while (l->sent < l->want) {
        size_t part = l->want - l->sent < sizeof bytes ? l->want - l->sent : sizeof bytes;
        for (i = 0; i < (ssize_t)part; i++) bytes[i] = pattern(l->sent + (size_t)i);
        length = send(l->fd, bytes, part, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (length <= 0) break;
        l->sent += (size_t)length;
    }
    while (!l->ended && (length = recv(l->fd, bytes, sizeof bytes, MSG_DONTWAIT)) >= 0) {
        if (length == 0) l->ended = true;
        for (i = 0; i < length; i++) SAME(bytes[i], pattern(l->received++));
    }
    if (!l->ended && errno != EAGAIN) {
        l->error = errno;
        l->ended = true;
    }
}

/* ---- what is joined */

typedef struct joined {
    struct bufferevent *bev;
    end near; /* joined */
    end far;  /* its peer */
    local local;
    unsigned a_done, b_done, all_done;
} joined;

static void a_is_done(void *ctx)
{
    joined *j = (joined *)ctx;
    SAME(j->a_done++ + j->all_done, 0);
}

static void b_is_done(void *ctx)
{
    joined *j = (joined *)ctx;
    SAME(j->b_done++ + j->all_done, 0);
}

static void all_is_done(void *ctx)
{
    joined *j = (joined *)ctx;
    SAME(j->a_done == 1 && j->b_done == 1, true);
    SAME(j->all_done++, 0);
    bufferevent_free(j->bev);
    end_free(&j->near);
}

static void open_socket(joined *j, int family)
{
    int fds[2];
    if (family == AF_UNIX) {
        SAME(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    } else {
        struct sockaddr_in a;
        socklen_t length = sizeof a;
        int listener = socket(AF_INET, SOCK_STREAM, 0);
        memset(&a, 0, sizeof a);
        a.sin_family = AF_INET;
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        SAME(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
        SAME(listen(listener, 1), 0);
        SAME(getsockname(listener, (struct sockaddr *)&a, &length), 0);
        fds[0] = socket(AF_INET, SOCK_STREAM, 0);
        SAME(connect(fds[0], (struct sockaddr *)&a, sizeof a), 0);
        fds[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        CHECK(fds[1] >= 0);
        close(listener);
    }
    j->local.fd = fds[0];
    j->bev = bufferevent_socket_new(base, fds[1], BEV_OPT_CLOSE_ON_FREE);
    CHECK(j->bev != NULL);
}

static void join_them(joined *j, ssize_t watermark)
{
    lwipevbuf_bev_join(j->bev, j->near.buffer, watermark, a_is_done, j, b_is_done, j, all_is_done, j);
    SAME(strcmp(herald_lwip_last_error(), ""), 0);
}

static void open_both(joined *j, int family, ssize_t watermark)
{
    memset(j, 0, sizeof *j);
    j->far.reads = true;
    open_socket(j, family);
    connect_ends(&j->far, &j->near, V4);
    join_them(j, watermark);
}

/* Turns the loop, and works at the far end of the bufferevent, until something has happened. */
#define WORK_UNTIL(condition) \
    do { \
        double end_ = now() + SOON; \
        while (!(condition)) { \
            if (now() > end_) check_failed(__FILE__, __LINE__, "soon: " #condition); \
            local_work(&j.local); \
            event_base_loop(base, EVLOOP_NONBLOCK); \
        } \
    } while (0)

static void close_both(joined *j)
{
    SAME(j->all_done, 1);
    end_free(&j->far);
    close(j->local.fd);
    all_closed();
}

static void both_directions(void)
{
    size_t bytes = scaled(2000) * 1000u;
    static const int families[] = {AF_UNIX, AF_INET};
    static const ssize_t watermarks[] = {0, -1, 1, 1000000};
    size_t i;
    joined j;
    signal(SIGPIPE, SIG_IGN);
    start_alone();
    for (i = 0; i < 2 * COUNT_OF(watermarks); i++) {
        open_both(&j, families[i % 2], watermarks[i / 2]);
        j.local.want = j.far.want = i / 2 == 2 ? 20000 : bytes;
        end_fill(&j.far);
        WORK_UNTIL(j.far.received == j.local.want && j.local.received == j.far.want);
        SAME(j.a_done + j.b_done, 0);
        shutdown(j.local.fd, SHUT_WR);
        WORK_UNTIL(j.far.ended);
        SAME(lwipevbuf_shutdown(j.far.buffer), 0);
        WORK_UNTIL(j.all_done);
        WORK_UNTIL(j.local.ended);
        SAME(j.local.error, 0);
        close_both(&j);
    }
    stop_alone();
}

static void half_close_of_the_bufferevent(void)
{
    joined j;
    start_alone();
    open_both(&j, AF_UNIX, 0);
    j.local.want = 300000;
    WORK_UNTIL(j.local.sent == 300000);
    shutdown(j.local.fd, SHUT_WR);
    WORK_UNTIL(j.far.ended && j.a_done);
    SAME(j.far.received, 300000);
    SAME(j.b_done + j.all_done, 0);
    /* The other direction goes on. */
    j.far.want = 300000;
    end_fill(&j.far);
    WORK_UNTIL(j.local.received == 300000);
    CHECK(!j.local.ended);
    SAME(lwipevbuf_shutdown(j.far.buffer), 0);
    WORK_UNTIL(j.all_done && j.local.ended);
    SAME(j.local.error, 0);
    close_both(&j);
    stop_alone();
}

static void half_close_of_the_lwipevbuf(void)
{
    joined j;
    start_alone();
    open_both(&j, AF_UNIX, 0);
    j.far.want = 300000;
    end_fill(&j.far);
    LOOP_UNTIL(j.far.sent == j.far.want || (local_work(&j.local), false));
    SAME(lwipevbuf_shutdown(j.far.buffer), 0);
    WORK_UNTIL(j.local.ended && j.b_done);
    SAME(j.local.received, 300000);
    SAME(j.a_done + j.all_done, 0);
    j.local.ended = false;
    j.local.want = 300000;
    WORK_UNTIL(j.far.received == 300000);
    CHECK(!j.far.ended);
    shutdown(j.local.fd, SHUT_WR);
    WORK_UNTIL(j.all_done && j.far.ended);
    close_both(&j);
    stop_alone();
}

static void what_is_there_before_is_passed_on(void)
{
    joined j;
    start_alone();
    memset(&j, 0, sizeof j);
    open_socket(&j, AF_UNIX);
    j.far.reads = true;
    j.far.want = 1000;
    connect_ends(&j.far, &j.near, V6);
    SAME(lwipevbuf_shutdown(j.far.buffer), 0);
    LOOP_UNTIL(evbuffer_get_length(j.near.buffer->input_buffer) == 1000 && j.near.ended);
    j.local.want = 1000;
    local_work(&j.local);
    bufferevent_enable(j.bev, EV_READ);
    LOOP_UNTIL(evbuffer_get_length(bufferevent_get_input(j.bev)) == 1000);
    join_them(&j, 0);
    WORK_UNTIL(j.local.ended && j.far.received == 1000);
    SAME(j.local.received, 1000);
    shutdown(j.local.fd, SHUT_WR);
    WORK_UNTIL(j.all_done && j.far.ended);
    close_both(&j);
    stop_alone();
}

static void a_slow_bufferevent_holds_the_peer_back(void)
{
    joined j;
    size_t most = 0;
    unsigned turns;
    start_alone();
    open_both(&j, AF_UNIX, 30000);
    j.far.want = 2000000;
    end_fill(&j.far);
    for (turns = 0; turns < 30; turns++) {
        size_t held;
        event_base_loop(base, EVLOOP_ONCE);
        held = evbuffer_get_length(bufferevent_get_output(j.bev)) + evbuffer_get_length(j.near.buffer->input_buffer);
        if (held > most) most = held;
    }
    CHECK(j.far.sent < 1000000);
    /* A window at first, the watermark, and what one round brings. */
    CHECK(most <= 65535 + 2 * 30000);
    WORK_UNTIL(j.local.received == j.far.want);
    end_free(&j.far);
    WORK_UNTIL(j.local.ended);
    close(j.local.fd);
    LOOP_UNTIL(j.all_done);
    all_closed();
    stop_alone();
}

static void a_slow_peer_holds_the_bufferevent_back(void)
{
    joined j;
    unsigned turns, stuck;
    start_alone();
    open_both(&j, AF_UNIX, 30000);
    j.far.reads = false;
    j.local.want = 2000000;
    for (turns = stuck = 0; turns < 2000 && stuck < 30; turns++) {
        size_t before = j.local.sent;
        local_work(&j.local);
        event_base_loop(base, EVLOOP_NONBLOCK);
        CHECK(evbuffer_get_length(j.near.buffer->output_buffer) <= 30000 + 16384);
        CHECK(evbuffer_get_length(bufferevent_get_input(j.bev)) <= 30000);
        stuck = before == j.local.sent ? stuck + 1 : 0;
    }
    SAME(stuck, 30);
    CHECK(j.local.sent < 1000000);
    j.far.reads = true;
    end_take(&j.far);
    WORK_UNTIL(j.far.received == j.local.want);
    shutdown(j.local.fd, SHUT_WR);
    WORK_UNTIL(j.far.ended);
    SAME(lwipevbuf_shutdown(j.far.buffer), 0);
    WORK_UNTIL(j.all_done);
    close_both(&j);
    stop_alone();
}

static void failures_are_passed_on(void)
{
    joined j;
    signal(SIGPIPE, SIG_IGN);
    start_alone();
    /* The lwIP side is reset: so is the kernel's connection. */
    open_both(&j, AF_INET, 0);
    lwipevbuf_abort(j.far.buffer);
    WORK_UNTIL(j.all_done && j.local.ended);
    SAME(j.local.error, ECONNRESET);
    close(j.local.fd);
    all_closed();

    /* The kernel's connection is reset: so is the lwIP side. */
    open_both(&j, AF_INET, 0);
    {
        struct linger linger = {1, 0};
        SAME(setsockopt(j.local.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
        close(j.local.fd);
    }
    LOOP_UNTIL(j.all_done && j.far.failed);
    SAME(j.far.error, ERR_RST);
    end_free(&j.far);
    all_closed();

    /* The netif is removed. */
    open_both(&j, AF_INET, 0);
    SAME(herald_netif_remove(home), 0);
    WORK_UNTIL(j.all_done && j.local.ended && j.far.failed);
    SAME(j.local.error, ECONNRESET);
    close_both(&j);
    stop_alone();

    /* There was no connection to begin with. */
    start_alone();
    memset(&j, 0, sizeof j);
    open_socket(&j, AF_INET);
    end_use(&j.near, lwipevbuf_new(NULL));
    SAME(connect_to(j.near.buffer, V4, 9), 0);
    LOOP_UNTIL(j.near.failed);
    join_them(&j, 0);
    WORK_UNTIL(j.all_done && j.local.ended);
    close(j.local.fd);

    /* Or it comes to nothing while they are joined. */
    memset(&j, 0, sizeof j);
    open_socket(&j, AF_INET);
    end_use(&j.near, lwipevbuf_new(NULL));
    join_them(&j, 0);
    SAME(connect_to(j.near.buffer, V4, 9), 0);
    WORK_UNTIL(j.all_done && j.local.ended);
    SAME(j.local.error, ECONNRESET);
    close(j.local.fd);
    stop_alone();
}

static void ends_it(void *ctx)
{
    joined *j = (joined *)ctx;
    end_free(&j->near);
    bufferevent_free(j->bev);
    j->bev = NULL;
}

static void ended_early(void)
{
    joined j;
    unsigned i;
    start_alone();
    for (i = 0; i < 4; i++) {
        open_both(&j, AF_UNIX, 0);
        j.local.want = j.far.want = 100000;
        end_fill(&j.far);
        while (j.local.received == 0) {
            local_work(&j.local);
            event_base_loop(base, EVLOOP_NONBLOCK);
        }
        if (i % 2) {
            lwipevbuf_abort(j.near.buffer);
        } else {
            lwipevbuf_free(j.near.buffer);
        }
        bufferevent_free(j.bev);
        LOOP_UNTIL(j.far.ended || j.far.failed);
        SAME(j.a_done + j.b_done + j.all_done, 0);
        end_free(&j.far);
        close(j.local.fd);
        all_closed();
    }
    /* From within a_done and b_done. */
    for (i = 0; i < 2; i++) {
        memset(&j, 0, sizeof j);
        open_socket(&j, AF_UNIX);
        connect_ends(&j.far, &j.near, V4);
        lwipevbuf_bev_join(j.bev, j.near.buffer, 0, i == 0 ? ends_it : NULL, &j, i == 1 ? ends_it : NULL, &j,
                           all_is_done, &j);
        if (i == 0) shutdown(j.local.fd, SHUT_WR);
        else SAME(lwipevbuf_shutdown(j.far.buffer), 0);
        LOOP_UNTIL(j.bev == NULL);
        SAME(j.all_done, 0);
        end_free(&j.far);
        close(j.local.fd);
        all_closed();
    }
    stop_alone();
}

static void frees_both_if_nobody_is_told(void)
{
    joined j;
    struct lwipevbuf *handle;
    int before;
    signal(SIGPIPE, SIG_IGN);
    start_alone();
    before = open_fds();
    memset(&j, 0, sizeof j);
    open_socket(&j, AF_UNIX);
    j.far.reads = true;
    connect_ends(&j.far, &j.near, V4);
    handle = j.near.buffer;
    lwipevbuf_bev_join(j.bev, handle, 0, NULL, NULL, NULL, NULL, NULL, NULL);
    j.local.want = j.far.want = 100000;
    end_fill(&j.far);
    WORK_UNTIL(j.far.received == j.local.want && j.local.received == j.far.want);
    shutdown(j.local.fd, SHUT_WR);
    WORK_UNTIL(j.far.ended);
    end_free(&j.far);
    WORK_UNTIL(j.local.ended);
    close(j.local.fd);
    LOOP_UNTIL(open_fds() == before);
    REFUSED(lwipevbuf_shutdown(handle) == 0, ENOENT, "no longer");
    all_closed();
    stop_alone();
}

static void pair_event(struct bufferevent *bev, short what, void *ctx)
{
    (void)bev;
    if (what & BEV_EVENT_EOF) *(bool *)ctx = true;
}

/* One without a descriptor. */
static void a_pair_of_bufferevents(void)
{
    joined j;
    struct bufferevent *pair[2];
    bool ended = false;
    start_alone();
    memset(&j, 0, sizeof j);
    SAME(bufferevent_pair_new(base, 0, pair), 0);
    j.bev = pair[0];
    j.far.reads = true;
    connect_ends(&j.far, &j.near, V4);
    join_them(&j, 0);
    bufferevent_setcb(pair[1], NULL, NULL, pair_event, &ended);
    bufferevent_enable(pair[1], EV_READ | EV_WRITE);
    {
        unsigned char bytes[1000];
        size_t i;
        for (i = 0; i < sizeof bytes; i++) bytes[i] = pattern(i);
        bufferevent_write(pair[1], bytes, sizeof bytes);
        LOOP_UNTIL(j.far.received == sizeof bytes);
        evbuffer_add(j.far.buffer->output_buffer, bytes, sizeof bytes);
    }
    SAME(lwipevbuf_shutdown(j.far.buffer), 0);
    LOOP_UNTIL(ended);
    SAME(evbuffer_get_length(bufferevent_get_input(pair[1])), 1000);
    SAME(bufferevent_flush(pair[1], EV_WRITE, BEV_FINISHED) >= 0, true);
    LOOP_UNTIL(j.all_done && j.far.ended);
    end_free(&j.far);
    bufferevent_free(pair[1]);
    all_closed();
    stop_alone();
}

static void misuse_is_refused(void)
{
    struct event_base *other = event_base_new();
    struct bufferevent *foreign;
    joined j;
    start_alone();
    memset(&j, 0, sizeof j);
    open_socket(&j, AF_UNIX);
    connect_ends(&j.far, &j.near, V4);
    foreign = bufferevent_socket_new(other, -1, 0);
#define JOINS(bev_, buffer_) \
    (errno = 0, lwipevbuf_bev_join(bev_, buffer_, 0, NULL, NULL, NULL, NULL, NULL, NULL), errno == 0)
    CHECK(!JOINS(NULL, j.near.buffer) && errno == EINVAL);
    CHECK(!JOINS(j.bev, NULL) && errno == EINVAL);
    CHECK(!JOINS(foreign, j.near.buffer) && errno == EINVAL);
    CHECK(strstr(herald_lwip_last_error(), "event_base") != NULL);
    lwipevbuf_bev_join(j.bev, j.near.buffer, 0, NULL, NULL, NULL, NULL, all_is_done, &j);
    CHECK(!JOINS(j.bev, j.near.buffer) && errno == EBUSY);
    errno = 0;
    lwipevbuf_setcb(j.near.buffer, NULL, NULL, NULL, NULL);
    SAME(errno, EBUSY);
    end_free(&j.near);
    bufferevent_free(j.bev);
    bufferevent_free(foreign);
    event_base_free(other);
    end_free(&j.far);
    close(j.local.fd);
    all_closed();
    stop_alone();
}

/* A hundred at once, each in both directions: the short form of the benchmark. */
#define STREAMS 100

static joined streams[STREAMS];

static void many_streams(void)
{
    size_t bytes = 100000, i, done = 0;
    double end = now() + SOON;
    start_alone();
    for (i = 0; i < STREAMS; i++) {
        open_both(&streams[i], AF_UNIX, 16384);
        streams[i].local.want = streams[i].far.want = bytes;
        end_fill(&streams[i].far);
    }
    while (done < STREAMS) {
        CHECK(now() < end);
        event_base_loop(base, EVLOOP_NONBLOCK);
        for (i = done = 0; i < STREAMS; i++) {
            joined *j = &streams[i];
            if (!j->local.ended) local_work(&j->local);
            if (j->local.sent == bytes && j->a_done == 0) shutdown(j->local.fd, SHUT_WR);
            if (j->far.ended && j->far.buffer != NULL && j->far.sent == bytes) {
                SAME(j->far.received, bytes);
                end_free(&j->far);
            }
            done += j->all_done && j->local.ended;
        }
    }
    for (i = 0; i < STREAMS; i++) {
        SAME(streams[i].local.received, bytes);
        SAME(streams[i].local.error, 0);
        close(streams[i].local.fd);
    }
    all_closed();
    stop_alone();
}

static const test tests[] = {
    {"both_directions", both_directions},
    {"half_close_of_the_bufferevent", half_close_of_the_bufferevent},
    {"half_close_of_the_lwipevbuf", half_close_of_the_lwipevbuf},
    {"what_is_there_before_is_passed_on", what_is_there_before_is_passed_on},
    {"a_slow_bufferevent_holds_the_peer_back", a_slow_bufferevent_holds_the_peer_back},
    {"a_slow_peer_holds_the_bufferevent_back", a_slow_peer_holds_the_bufferevent_back},
    {"failures_are_passed_on", failures_are_passed_on},
    {"ended_early", ended_early},
    {"frees_both_if_nobody_is_told", frees_both_if_nobody_is_told},
    {"a_pair_of_bufferevents", a_pair_of_bufferevents},
    {"misuse_is_refused", misuse_is_refused},
    {"many_streams", many_streams},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

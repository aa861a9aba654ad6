/* SPDX-License-Identifier: MIT OR Apache-2.0
 * vdeportif: at Debian's vde_switch, at a vdeswitchif, and at switches that misbehave. */
#include "vde.h"

#define BYTES (2u << 20)

/* ---- two stacks, in two processes, at a switch ---- */

static const char *urls[2], *server;

static void serve(int fd)
{
    struct netif *netif;
    stream s;
    start_stack();
    netif = vdeportif_add(base, urls[1]);
    CHECK(netif != NULL);
    set_up(netif, "10.9.0.2", "fd00::2");
    stream_listen(&s, 7, BYTES);
    SAME(write(fd, "", 1), 1);
    LOOP_UNTIL(s.received == BYTES && s.acked == BYTES && s.ended);
    stream_close(&s);
    LOOP_UNTIL(tcp_active_pcbs == NULL);
    stop_stack();
}

/* `between` is kept going until the end: a switch of Debian's is of another process. */
static void transfer(void)
{
    int fds[2];
    pid_t pid;
    char byte;
    stream s;
    struct netif *netif;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    pid = peer(serve, fds[1]);
    SAME(read(fds[0], &byte, 1), 1);
    start_stack();
    netif = vdeportif_add(base, urls[0]);
    set_up(netif, "10.9.0.1", "fd00::1");
    stream_connect(&s, server, 7, BYTES);
    LOOP_UNTIL(s.received == BYTES && s.acked == BYTES);
    stream_close(&s);
    LOOP_UNTIL(tcp_active_pcbs == NULL);
    CHECK(counters_of(netif).rx_bytes > BYTES && counters_of(netif).tx_bytes > BYTES);
    SAME(counters_of(netif).rx_errors + counters_of(netif).tx_errors, 0);
    join_peer(pid);
    stop_stack();
}

static const char *url_of(const char *directory)
{
    static char texts[2][300];
    static unsigned next;
    char *text = texts[next++ % 2];
    snprintf(text, sizeof texts[0], "vde://%s[]", path_of(directory));
    return text;
}

static void over_debians_switch(const char *to)
{
    process debian = start_vde_switch(path_of("switch"));
    char url[300];
    /* A directory by its path, and as libvdeplug writes it. */
    snprintf(url, sizeof url, "vde://%s", path_of("switch"));
    server = to;
    urls[0] = path_of("switch");
    urls[1] = url;
    transfer();
    end_process(&debian);
}

static void over_debians_switch_ipv4(void) { over_debians_switch("10.9.0.2"); }
static void over_debians_switch_ipv6(void) { over_debians_switch("fd00::2"); }

static void libvdeplug_and_we_meet(void)
{
    process debian = start_vde_switch(path_of("switch"));
    server = "10.9.0.2";
    urls[0] = path_of("switch");
    urls[1] = url_of("switch");
    transfer();
    end_process(&debian);
}

static void a_switch_of_the_same_program(void)
{
    struct netif *other, *port;
    uint64_t sent;
    struct pbuf *p;
    start_stack();
    other = vdeswitchif_add(base, path_of("switch"));
    port = vdeportif_add(base, path_of("switch"));
    CHECK(other != NULL && port != NULL);
    p = pbuf_alloc(PBUF_RAW, 60, PBUF_RAM);
    make_frame((unsigned char *)p->payload, 255, 1, 1);
    /* Before the answer and after it. */
    SAME(port->linkoutput(port, p), ERR_OK);
    LOOP_UNTIL(counters_of(other).rx_packets == 1);
    SAME(port->linkoutput(port, p), ERR_OK);
    LOOP_UNTIL(counters_of(other).rx_packets == 2);
    sent = counters_of(port).rx_packets;
    SAME(other->linkoutput(other, p), ERR_OK);
    LOOP_UNTIL(counters_of(port).rx_packets == sent + 1);
    pbuf_free(p);
    stop_stack();
    SAME(entries(path_of("switch")), -1);
}

/* lwIP at our switch, vde_plug between it and Debian's, lwIP at Debian's. */
static void ask_of_ours(int fd)
{
    struct netif *netif;
    stream s;
    char byte;
    start_stack();
    netif = vdeportif_add(base, path_of("debian"));
    set_up(netif, "10.9.0.3", "fd00::3");
    SAME(read(fd, &byte, 1), 1);
    stream_connect(&s, "fd00::1", 7, BYTES);
    LOOP_UNTIL(s.received == BYTES && s.acked == BYTES);
    stream_close(&s);
    LOOP_UNTIL(tcp_active_pcbs == NULL);
    stop_stack();
}

static void through_vde_plug_between_two_switches(void)
{
    const char *words[] = {"vde_plug", path_of("ours"), path_of("debian"), NULL};
    process debian = start_vde_switch(path_of("debian")), plug;
    struct netif *netif;
    struct herald_vdeswitchif_counters counters;
    stream s;
    int fds[2];
    pid_t pid;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    pid = peer(ask_of_ours, fds[1]);
    start_stack();
    netif = vdeswitchif_add(base, path_of("ours"));
    set_up(netif, "10.9.0.1", "fd00::1");
    stream_listen(&s, 7, BYTES);
    plug = start_process(words);
    counters.size = sizeof counters;
    do {
        event_base_loop(base, EVLOOP_ONCE);
        SAME(herald_vdeswitchif_get_counters(netif, &counters), 0);
    } while (counters.clients == 0);
    SAME(write(fds[0], "", 1), 1);
    LOOP_UNTIL(s.received == BYTES && s.acked == BYTES && s.ended);
    stream_close(&s);
    LOOP_UNTIL(tcp_active_pcbs == NULL);
    join_peer(pid);
    end_process(&plug);
    end_process(&debian);
    stop_stack();
}

/* ---- switches that fail ---- */

typedef struct down {
    int times, error;
    char text[200];
    bool remove;
} down;

static void went_down(struct netif *netif, int error, const char *text, void *ctx)
{
    down *d = (down *)ctx;
    d->times++;
    d->error = error;
    snprintf(d->text, sizeof d->text, "%s", text);
    CHECK(!netif_is_link_up(netif));
    if (d->remove) SAME(herald_netif_remove(netif), 0);
}

static struct netif *add_watched(const char *name, down *d)
{
    struct netif *netif = vdeportif_add(base, name);
    CHECK(netif != NULL);
    memset(d, 0, sizeof *d);
    SAME(herald_netif_set_down_cb(netif, went_down, d), 0);
    netif_set_up(netif);
    return netif;
}

static void broadcast(struct netif *netif, err_t result)
{
    struct pbuf *p = pbuf_alloc(PBUF_RAW, 60, PBUF_RAM);
    make_frame((unsigned char *)p->payload, 255, 1, 1);
    SAME(netif->linkoutput(netif, p), result);
    pbuf_free(p);
}

static void a_switch_that_ends_is_told_of(void)
{
    process debian = start_vde_switch(path_of("switch"));
    down d[2];
    struct netif *netifs[2];
    raw_client other;
    start_stack();
    netifs[0] = add_watched(path_of("switch"), &d[0]);
    netifs[1] = add_watched(path_of("switch"), &d[1]);
    d[1].remove = true;
    /* Both have a port when each has got a frame. */
    raw_join(&other, path_of("switch"));
    LOOP_UNTIL((raw_frame(&other, 255, 9, 0), counters_of(netifs[0]).rx_packets > 0)
               && counters_of(netifs[1]).rx_packets > 0);
    end_process(&debian);
    LOOP_UNTIL(d[0].times == 1 && d[1].times == 1);
    SAME(d[0].error, 0);
    CHECK(strstr(d[0].text, "closed the port") != NULL);
    raw_leave(&other);
    stop_stack();
    SAME(d[0].times, 1);
}

static void a_network_of_libvdeplug_that_ends_is_told_of(void)
{
    process debian = start_vde_switch(path_of("switch"));
    down d;
    start_stack();
    add_watched(url_of("switch"), &d);
    end_process(&debian);
    LOOP_UNTIL(d.times == 1);
    SAME(d.error, 0);
    stop_stack();
}

/* Where a switch would listen. */
static int listen_at(const char *directory)
{
    struct sockaddr_un a;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memset(&a, 0, sizeof a);
    a.sun_family = AF_UNIX;
    snprintf(a.sun_path, sizeof a.sun_path, "%s/ctl", directory);
    CHECK(mkdir(directory, 0700) == 0);
    CHECK(bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 5) == 0);
    return fd;
}

static int take_request(int listener, char *path)
{
    unsigned char bytes[300];
    int fd = accept(listener, NULL, NULL);
    CHECK(fd >= 0);
    CHECK(read(fd, bytes, sizeof bytes) > 122);
    memcpy(path, bytes + 14, 108);
    return fd;
}

static void a_switch_that_refuses_is_told_of(void)
{
    int listener = listen_at(path_of("switch")), fd;
    char path[108];
    down d;
    start_stack();
    add_watched(path_of("switch"), &d);
    fd = take_request(listener, path);
    CHECK(access(path, F_OK) == 0);
    close(fd);
    LOOP_UNTIL(d.times == 1);
    SAME(d.error, ECONNREFUSED);
    CHECK(strstr(d.text, "refused the port") != NULL);
    stop_stack();
    CHECK(access(path, F_OK) == -1);
}

static void an_answer_that_is_none_is_told_of(void)
{
    int listener = listen_at(path_of("switch")), fd;
    char path[108];
    struct sockaddr_un a;
    unsigned i;
    down d;
    start_stack();
    for (i = 0; i < 4; i++) {
        add_watched(path_of("switch"), &d);
        fd = take_request(listener, path);
        memset(&a, i == 3 ? 'x' : 0, sizeof a);
        a.sun_family = i == 0 ? AF_INET : AF_UNIX;
        if (i == 2) strcpy(a.sun_path, "/nowhere/at/all");
        SAME(write(fd, &a, 50), 50);
        SAME(write(fd, (char *)&a + 50, sizeof a - 50), sizeof a - 50);
        LOOP_UNTIL(d.times == 1);
        SAME(d.error, i == 2 ? ENOENT : EPROTO);
        close(fd);
    }
    stop_stack();
}

static void what_waits_for_the_answer_is_bounded(void)
{
    int listener = listen_at(path_of("switch"));
    unsigned i;
    struct netif *netif;
    start_stack();
    netif = vdeportif_add(base, path_of("switch"));
    for (i = 0; i < 64; i++) broadcast(netif, ERR_OK);
    for (i = 0; i < 64; i++) broadcast(netif, ERR_MEM);
    SAME(counters_of(netif).tx_dropped, 64);
    close(listener);
    stop_stack();
}

static void no_switch_is_an_error(void)
{
    struct herald_vdeportif_options options;
    char far[200];
    int fds = open_fds();
    start_stack();
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    REFUSED(vdeportif_add(base, path_of("none")), ENOENT, "no VDE switch is at");
    close(listen_at(path_of("dead")));
    REFUSED(vdeportif_add(base, path_of("dead")), ECONNREFUSED, "no VDE switch is at");
    SAME(entries(path_of("dead")), 1);
    memset(far, 'x', sizeof far - 1);
    far[sizeof far - 1] = 0;
    REFUSED(vdeportif_add(base, path_of(far)), ENAMETOOLONG, "");
    options.port = 65536;
    REFUSED(vdeportif_add_ex(base, path_of("dead"), &options), EINVAL, "port 65536");
    CHECK(vdeportif_add(base, "vde:///none/such[]") == NULL);
    CHECK(strstr(herald_lwip_last_error(), "libvdeplug cannot connect to \"vde:///none/such[]\"") != NULL);
    CHECK(vdeportif_add(base, "nosuchkind://") == NULL);
    stop_stack();
    SAME(open_fds(), fds);
}

/* ---- ends ---- */

static void nothing_is_left_behind(void)
{
    process debian = start_vde_switch(path_of("switch"));
    struct netif *netif;
    raw_client other;
    start_stack();
    netif = vdeportif_add(base, path_of("switch"));
    raw_join(&other, path_of("switch"));
    LOOP_UNTIL((raw_frame(&other, 255, 9, 0), counters_of(netif).rx_packets > 0));
    raw_leave(&other);
    stop_stack();
    {
        /* What is left are ctl, and the sockets that are the switch's; ours begin with a dot. */
        DIR *d = opendir(path_of("switch"));
        struct dirent *e;
        while ((e = readdir(d)) != NULL)
            CHECK(e->d_name[0] != '.' || strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0);
        closedir(d);
    }
    end_process(&debian);
}

/* A switch that sends what it likes. */
static void any_frame_is_survived(void)
{
    int listener = listen_at(path_of("switch")), fd, data;
    char path[108];
    static unsigned char frame[65536];
    struct sockaddr_un a;
    struct netif *netif;
    unsigned i, count = scaled(20000);
    start_stack();
    netif = vdeportif_add(base, path_of("switch"));
    set_up(netif, "10.9.0.1", "fd00::1");
    fd = take_request(listener, path);
    data = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    memset(&a, 0, sizeof a);
    a.sun_family = AF_UNIX;
    memcpy(a.sun_path, path, sizeof path);
    CHECK(connect(data, (struct sockaddr *)&a, sizeof a) == 0);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path_of("switch/1"));
    CHECK(bind(data, (struct sockaddr *)&a, sizeof a) == 0);
    SAME(write(fd, &a, sizeof a), sizeof a);
    srand(7);
    for (i = 0; i < count; i++) {
        size_t j, length = i % 1000 == 0 ? 60000 : (size_t)rand() % 200;
        for (j = 0; j < length; j++) frame[j] = (unsigned char)rand();
        if (i % 2 == 0 && length > 24) {
            memcpy(frame, netif->hwaddr, 6);
            frame[12] = i % 4 == 0 ? 8 : 0x86, frame[13] = i % 4 == 0 ? 0 : 0xdd;
            frame[14] = i % 4 == 0 ? 0x45 : 0x60;
        }
        if (send(data, frame, length, 0) == -1) CHECK(errno == EAGAIN || errno == ENOBUFS);
        event_base_loop(base, EVLOOP_NONBLOCK);
        while (recv(data, frame, sizeof frame, 0) != -1) continue;
        /* Of the control stream as well. */
        if (i % 100 == 0) CHECK(send(fd, frame, 100, MSG_NOSIGNAL | MSG_DONTWAIT) != 0);
    }
    /* Empty ones are errors. */
    CHECK(counters_of(netif).rx_errors > 0);
    {
        uint64_t received = counters_of(netif).rx_packets;
        size_t length = make_frame(frame, 255, 1, 1);
        LOOP_UNTIL(send(data, frame, length, 0) == (ssize_t)length);
        LOOP_UNTIL(counters_of(netif).rx_packets > received);
    }
    stop_stack();
    close(fd), close(data), close(listener);
}

static void removal_at_any_time(void)
{
    unsigned i, count = scaled(1000);
    int before;
    base = event_base_new();
    before = open_fds();
    for (i = 0; i < count; i++) {
        struct netif *ours, *port;
        SAME(herald_lwip_init(base), 0);
        ours = vdeswitchif_add(base, path_of("switch"));
        port = vdeportif_add(base, path_of("switch"));
        CHECK(ours != NULL && port != NULL);
        netif_set_up(ours);
        netif_set_up(port);
        if (i % 4 == 1) event_base_loop(base, EVLOOP_NONBLOCK);
        if (i % 4 == 2) {
            broadcast(port, ERR_OK);
            LOOP_UNTIL(counters_of(ours).rx_packets > 0);
        }
        if (i % 3 == 0) SAME(herald_netif_remove(ours), 0);
        if (i % 3 == 1) SAME(herald_netif_remove(port), 0);
        if (i % 5 == 0) event_base_loop(base, EVLOOP_NONBLOCK);
        libevent_timeouts_fini();
        if (entries(path_of("switch")) != -1) {
            SAME(entries(path_of("switch")), 0);
            CHECK(rmdir(path_of("switch")) == 0);
        }
        SAME(open_fds(), before);
    }
    event_base_free(base);
}

static const test tests[] = {
    {"over_debians_switch_ipv4", over_debians_switch_ipv4},
    {"over_debians_switch_ipv6", over_debians_switch_ipv6},
    {"libvdeplug_and_we_meet", libvdeplug_and_we_meet},
    {"a_switch_of_the_same_program", a_switch_of_the_same_program},
    {"through_vde_plug_between_two_switches", through_vde_plug_between_two_switches},
    {"a_switch_that_ends_is_told_of", a_switch_that_ends_is_told_of},
    {"a_network_of_libvdeplug_that_ends_is_told_of", a_network_of_libvdeplug_that_ends_is_told_of},
    {"a_switch_that_refuses_is_told_of", a_switch_that_refuses_is_told_of},
    {"an_answer_that_is_none_is_told_of", an_answer_that_is_none_is_told_of},
    {"what_waits_for_the_answer_is_bounded", what_waits_for_the_answer_is_bounded},
    {"no_switch_is_an_error", no_switch_is_an_error},
    {"nothing_is_left_behind", nothing_is_left_behind},
    {"any_frame_is_survived", any_frame_is_survived},
    {"removal_at_any_time", removal_at_any_time},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

/* SPDX-License-Identifier: MIT OR Apache-2.0
 * vdeswitchif: a switch in this process, and clients of all kinds. */
#include "vde.h"

#define BYTES (1u << 20)

/* ---- programs of VDE ---- */

static const char *server_v4, *server_v6;

static void serve(const char *url, int fd)
{
    struct netif *netif;
    stream s;
    char byte;
    SAME(read(fd, &byte, 1), 1);
    start_stack();
    netif = vdeportif_add(base, url);
    CHECK(netif != NULL);
    set_up(netif, "10.9.0.2", "fd00::2");
    stream_listen(&s, 7, BYTES);
    SAME(write(fd, "", 1), 1);
    LOOP_UNTIL(s.received == BYTES && s.acked == BYTES && s.ended);
    stream_close(&s);
    LOOP_UNTIL(tcp_active_pcbs == NULL);
    stop_stack();
}

static void ask(const char *url, int fd)
{
    struct netif *netif;
    stream s;
    char byte;
    SAME(read(fd, &byte, 1), 1);
    start_stack();
    netif = vdeportif_add(base, url);
    CHECK(netif != NULL);
    set_up(netif, "10.9.0.3", "fd00::3");
    stream_connect(&s, server_v4 != NULL ? server_v4 : server_v6, 7, BYTES);
    LOOP_UNTIL(s.received == BYTES && s.acked == BYTES);
    stream_close(&s);
    LOOP_UNTIL(tcp_active_pcbs == NULL);
    stop_stack();
    SAME(write(fd, "", 1), 1);
}

/* The suffix makes it libvdeplug's: a plain directory is ours. */
static const char *url(const char *suffix)
{
    static char text[300];
    snprintf(text, sizeof text, "vde://%s%s", path_of("switch"), suffix);
    return text;
}

static void serve_by_libvdeplug(int fd) { serve(url("[]"), fd); }
static void ask_by_libvdeplug(int fd) { ask(url("[]"), fd); }

static void clients_of_libvdeplug(void)
{
    int server[2], client[2];
    pid_t pids[2];
    char byte;
    struct netif *netif;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, server) == 0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, client) == 0);
    pids[0] = peer(serve_by_libvdeplug, server[1]);
    pids[1] = peer(ask_by_libvdeplug, client[1]);
    netif = start_switch(path_of("switch"));
    set_up(netif, "10.9.0.1", "fd00::1");
    let_go_on(server[0]);
    LOOP_UNTIL(read(server[0], &byte, 1) == 1);
    let_go_on(client[0]);
    LOOP_UNTIL(read(client[0], &byte, 1) == 1);
    /* What they have said to each other was not for us. */
    CHECK(switched(netif).forwarded > 2 * BYTES / 1500);
    CHECK(counters_of(netif).rx_bytes < BYTES);
    LOOP_UNTIL(switched(netif).clients == 0);
    SAME(switched(netif).dropped, 0);
    join_peer(pids[0]);
    join_peer(pids[1]);
    stop_stack();
}

static void clients_of_libvdeplug_talk_ipv4(void) { server_v4 = "10.9.0.2"; clients_of_libvdeplug(); }
static void clients_of_libvdeplug_talk_ipv6(void) { server_v6 = "fd00::2"; clients_of_libvdeplug(); }

static void a_client_of_libvdeplug_talks_to_us(void)
{
    int client[2];
    pid_t pid;
    char byte;
    stream s;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, client) == 0);
    server_v4 = "10.9.0.1";
    pid = peer(ask_by_libvdeplug, client[1]);
    set_up(start_switch(path_of("switch")), "10.9.0.1", "fd00::1");
    stream_listen(&s, 7, BYTES);
    let_go_on(client[0]);
    LOOP_UNTIL(s.received == BYTES && s.acked == BYTES && s.ended);
    stream_close(&s);
    LOOP_UNTIL(read(client[0], &byte, 1) == 1);
    join_peer(pid);
    stop_stack();
}

/* The next frame of make_frame() that vde_plug has; -1 if there is none yet. */
static long plug_next(process *p)
{
    struct pollfd readable = {p->out, POLLIN, 0};
    while (poll(&readable, 1, 0) == 1) {
        unsigned char head[2], frame[2048];
        size_t length, at = 0;
        long number;
        SAME(read(p->out, head, 2), 2);
        length = (size_t)(head[0] << 8 | head[1]);
        while (at < length) {
            ssize_t got = read(p->out, frame + at, length - at);
            CHECK(got > 0);
            at += (size_t)got;
        }
        if ((number = frame_number(frame, length)) >= 0) return number;
    }
    return -1;
}

static long plug_wait(process *p)
{
    long number;
    LOOP_UNTIL((number = plug_next(p)) >= 0);
    return number;
}

static void plug_frame(process *p, unsigned to, unsigned from, unsigned number)
{
    unsigned char frame[64];
    plug_send(p, frame, make_frame(frame, to, from, number));
}

/* Who has not sent yet gets what is for all; what is for one, that one gets. */
static void clients_of_vde_plug_are_switched(void)
{
    process plugs[3];
    unsigned i;
    struct netif *netif = start_switch(path_of("switch"));
    for (i = 0; i < 3; i++) plugs[i] = start_vde_plug(path_of("switch"));
    LOOP_UNTIL(switched(netif).clients == 3);
    plug_frame(&plugs[0], 255, 10, 1);
    SAME(plug_wait(&plugs[1]), 1);
    SAME(plug_wait(&plugs[2]), 1);
    /* 10 is known to be at 0. */
    plug_frame(&plugs[1], 10, 11, 2);
    SAME(plug_wait(&plugs[0]), 2);
    /* 99 is known to be nowhere. */
    plug_frame(&plugs[1], 99, 11, 3);
    SAME(plug_wait(&plugs[0]), 3);
    SAME(plug_wait(&plugs[2]), 3);
    /* From 2 to 1, then to all: that 0 gets only the latter says that it has not got the former. */
    plug_frame(&plugs[2], 11, 12, 4);
    plug_frame(&plugs[2], 255, 12, 5);
    SAME(plug_wait(&plugs[0]), 5);
    SAME(plug_wait(&plugs[1]), 4);
    SAME(plug_wait(&plugs[1]), 5);
    /* lwIP has got the three that were for all or nobody known. */
    SAME(counters_of(netif).rx_packets, 3);
    SAME(switched(netif).forwarded, 2 + 1 + 2 + 1 + 2);
    /* With a client goes what is known of it. */
    end_process(&plugs[1]);
    LOOP_UNTIL(switched(netif).clients == 2);
    plug_frame(&plugs[2], 11, 12, 6);
    SAME(plug_wait(&plugs[0]), 6);
    SAME(plug_next(&plugs[2]), -1);
    end_process(&plugs[0]);
    end_process(&plugs[2]);
    stop_stack();
}

static void lwip_frame(struct netif *netif, unsigned to, unsigned number)
{
    struct pbuf *p = pbuf_alloc(PBUF_RAW, 60, PBUF_RAM);
    SAME(make_frame((unsigned char *)p->payload, to, 1, number), 60);
    memcpy((unsigned char *)p->payload + 6, netif->hwaddr, 6);
    SAME(netif->linkoutput(netif, p), ERR_OK);
    pbuf_free(p);
}

static void awaits(raw_client *c, long number)
{
    long next;
    LOOP_UNTIL((next = raw_next(c)) != -1);
    SAME(next, number);
}

/* What lwIP sends goes to whom it is for, wherever that is by now. Each frame that is not for one of them is
 * followed by one for all, which then is the next that it gets. */
static void what_lwip_sends_goes_where_it_belongs(void)
{
    raw_client c[2];
    struct netif *netif = start_switch(path_of("switch"));
    raw_join(&c[0], path_of("switch"));
    raw_join(&c[1], path_of("switch"));
    raw_frame(&c[0], 255, 10, 1);
    awaits(&c[1], 1);
    lwip_frame(netif, 10, 2);
    lwip_frame(netif, 255, 3);
    awaits(&c[0], 2), awaits(&c[0], 3), awaits(&c[1], 3);
    /* Nobody knows where 99 is. */
    lwip_frame(netif, 99, 4);
    awaits(&c[0], 4), awaits(&c[1], 4);
    /* 10 has moved. */
    raw_frame(&c[1], 255, 10, 5);
    awaits(&c[0], 5);
    lwip_frame(netif, 10, 6);
    lwip_frame(netif, 255, 7);
    awaits(&c[1], 6), awaits(&c[1], 7), awaits(&c[0], 7);
    /* 10 and 12 are neighbours: their frames do not come back. */
    raw_frame(&c[1], 10, 12, 8);
    raw_frame(&c[1], 255, 12, 9);
    awaits(&c[0], 9);
    lwip_frame(netif, 255, 10);
    awaits(&c[1], 10), awaits(&c[0], 10);
    raw_leave(&c[0]), raw_leave(&c[1]);
    stop_stack();
}

/* ---- the directory ---- */

static void the_directory_is_left_as_it_was_found(void)
{
    raw_client c;
    struct stat entry;
    struct netif *netif = start_switch(path_of("made"));
    CHECK(stat(path_of("made/ctl"), &entry) == 0 && S_ISSOCK(entry.st_mode));
    SAME(entry.st_mode & 0777, 0600);
    CHECK(stat(path_of("made"), &entry) == 0);
    SAME(entry.st_mode & 0777, 0700);
    raw_join(&c, path_of("made"));
    raw_leave(&c);
    raw_join(&c, path_of("made"));
    CHECK(unlink(c.path) == 0);
    SAME(herald_netif_remove(netif), 0);
    SAME(entries(path_of("made")), -1);
    close(c.stream), close(c.data);
    CHECK(mkdir(path_of("there"), 0755) == 0);
    netif = vdeswitchif_add(base, path_of("there"));
    CHECK(netif != NULL);
    raw_join(&c, path_of("there"));
    CHECK(unlink(c.path) == 0);
    SAME(entries(path_of("there")), 2);
    stop_stack();
    SAME(entries(path_of("there")), 0);
    close(c.stream), close(c.data);
}

static void a_live_switch_is_left_alone(void)
{
    process debian = start_vde_switch(path_of("debian"));
    raw_client c;
    struct netif *netif = start_switch(path_of("ours"));
    REFUSED(vdeswitchif_add(base, path_of("ours")), EADDRINUSE, "ours/ctl");
    REFUSED(vdeswitchif_add(base, path_of("debian")), EADDRINUSE, "debian/ctl");
    /* Both go on. */
    raw_join(&c, path_of("ours"));
    LOOP_UNTIL(switched(netif).clients == 1);
    raw_leave(&c);
    raw_join(&c, path_of("debian"));
    raw_leave(&c);
    end_process(&debian);
    stop_stack();
}

/* The switch is taken by another process, which is killed, as are its client and Debian's switch. */
static void be_killed(int fd)
{
    start_switch(path_of("dead"));
    SAME(write(fd, "", 1), 1);
    for (;;) event_base_loop(base, EVLOOP_ONCE);
}

static void the_place_of_a_dead_switch_is_taken(void)
{
    process debian = start_vde_switch(path_of("debian")), plug;
    int fds[2], file;
    pid_t pid;
    char byte;
    raw_client c, live;
    struct netif *netif;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    pid = peer(be_killed, fds[1]);
    SAME(read(fds[0], &byte, 1), 1);
    plug = start_vde_plug(path_of("dead"));
    start_stack();
    raw_join(&c, path_of("dead"));
    raw_connect(&live, path_of("dead"));
    CHECK(kill(pid, SIGKILL) == 0);
    SAME(waitpid(pid, NULL, 0), pid);
    end_process(&plug);
    end_process(&debian);
    close(c.stream), close(c.data);
    file = open(path_of("dead/.1-2"), O_CREAT | O_WRONLY, 0600);
    CHECK(file != -1);
    close(file);
    CHECK(entries(path_of("dead")) >= 5);
    netif = vdeswitchif_add(base, path_of("dead"));
    CHECK(netif != NULL);
    /* Left are ctl, the socket that is open, and what is none. */
    SAME(entries(path_of("dead")), 3);
    CHECK(access(live.path, F_OK) == 0);
    raw_leave(&live);
    raw_join(&c, path_of("dead"));
    raw_leave(&c);
    netif = vdeswitchif_add(base, path_of("debian"));
    CHECK(netif != NULL);
    stop_stack();
}

static void what_is_in_the_way_is_named(void)
{
    char far[200];
    int file;
    struct herald_vdeswitchif_options options;
    struct herald_vdeswitchif_counters counters;
    int fds[2];
    struct netif *other;
    start_stack();
    REFUSED(vdeswitchif_add(base, NULL), EINVAL, "NULL");
    REFUSED(vdeswitchif_add(base, path_of("none/such")), ENOENT, "none/such");
    memset(far, 'x', sizeof far - 1);
    far[sizeof far - 1] = 0;
    REFUSED(vdeswitchif_add(base, path_of(far)), ENAMETOOLONG, "longer than");
    file = open(path_of("file"), O_CREAT | O_WRONLY, 0600);
    close(file);
    CHECK(vdeswitchif_add(base, path_of("file")) == NULL);
    CHECK(mkdir(path_of("d"), 0700) == 0);
    CHECK(symlink("../file", path_of("d/ctl")) == 0);
    REFUSED(vdeswitchif_add(base, path_of("d")), EEXIST, "not a socket");
    CHECK(unlink(path_of("d/ctl")) == 0);
    CHECK(rename(path_of("file"), path_of("d/ctl")) == 0);
    REFUSED(vdeswitchif_add(base, path_of("d")), EEXIST, "not a socket");
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.mtu = 10;
    REFUSED(vdeswitchif_add_ex(base, path_of("e"), &options), EINVAL, "MTU of 10");
    SAME(entries(path_of("e")), -1);
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
    other = fdif_add(base, fds[0], fds[0], 1);
    counters.size = sizeof counters;
    REFUSED(herald_vdeswitchif_get_counters(other, &counters) == 0, EINVAL, "not of vdeswitchif_add()");
    stop_stack();
}

/* ---- ends ---- */

static struct netif *to_remove;

static err_t remove_within(struct pbuf *p, struct netif *netif)
{
    CHECK(netif == to_remove);
    SAME(herald_netif_remove(netif), 0);
    to_remove = NULL;
    pbuf_free(p);
    return ERR_OK;
}

/* With clients that have connected, have asked, have a port, have sent; from outside and from within the
 * delivery of a frame. */
static void removal_at_any_time(void)
{
    unsigned i, count = scaled(1000);
    int before;
    base = event_base_new();
    before = open_fds();
    for (i = 0; i < count; i++) {
        raw_client c[3];
        unsigned j;
        SAME(herald_lwip_init(base), 0);
        to_remove = vdeswitchif_add(base, path_of("switch"));
        CHECK(to_remove != NULL);
        netif_set_up(to_remove);
        raw_connect(&c[0], path_of("switch"));
        raw_connect(&c[1], path_of("switch"));
        raw_ask(&c[1], c[1].path);
        if (i % 4 < 3) {
            raw_join(&c[2], path_of("switch"));
            raw_frame(&c[2], 255, 1, 1);
        } else {
            raw_connect(&c[2], path_of("switch"));
        }
        if (i % 4 == 0) {
            to_remove->input = remove_within;
            LOOP_UNTIL(to_remove == NULL);
        } else {
            if (i % 4 == 1) event_base_loop(base, EVLOOP_NONBLOCK);
            if (i % 2 == 0) SAME(herald_netif_remove(to_remove), 0);
        }
        if (i % 8 < 4) for (j = 0; j < 3; j++) raw_leave(&c[j]);
        libevent_timeouts_fini();
        if (i % 8 >= 4) for (j = 0; j < 3; j++) raw_leave(&c[j]);
        if (entries(path_of("switch")) != -1) {
            SAME(entries(path_of("switch")), 0);
            CHECK(rmdir(path_of("switch")) == 0);
        }
        SAME(open_fds(), before);
    }
    event_base_free(base);
}

static const test tests[] = {
    {"clients_of_libvdeplug_talk_ipv4", clients_of_libvdeplug_talk_ipv4},
    {"clients_of_libvdeplug_talk_ipv6", clients_of_libvdeplug_talk_ipv6},
    {"a_client_of_libvdeplug_talks_to_us", a_client_of_libvdeplug_talks_to_us},
    {"clients_of_vde_plug_are_switched", clients_of_vde_plug_are_switched},
    {"what_lwip_sends_goes_where_it_belongs", what_lwip_sends_goes_where_it_belongs},
    {"the_directory_is_left_as_it_was_found", the_directory_is_left_as_it_was_found},
    {"a_live_switch_is_left_alone", a_live_switch_is_left_alone},
    {"the_place_of_a_dead_switch_is_taken", the_place_of_a_dead_switch_is_taken},
    {"what_is_in_the_way_is_named", what_is_in_the_way_is_named},
    {"removal_at_any_time", removal_at_any_time},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

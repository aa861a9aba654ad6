/* SPDX-License-Identifier: MIT OR Apache-2.0
 * The core: who may call, timers, what lwIP sends to itself. */
#include "lab.h"

#include <pthread.h>
#include <sys/stat.h>

static void tick_once(void *ctx) { (void)ctx; }
static void never_called(struct host_data *host) { CHECK(host == NULL); }

/* A netif that leads nowhere, and what it sends. */
static int nowhere = -1;

static struct netif *lonely(int ether)
{
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
    nowhere = fds[1];
    return fdif_add(base, fds[0], fds[0], ether);
}

static void nothing_before_init(void)
{
    struct event_base *b = event_base_new();
    REFUSED(fdif_add(b, 0, 0, 0), ENXIO, "libevent_timeouts_init() comes first");
    REFUSED(herald_lwip_kick() == 0, ENXIO, "libevent_timeouts_init() comes first");
    libevent_timeouts_fini();
    event_base_free(b);
}

static void another_lwip_is_refused(void)
{
    struct event_base *b = event_base_new();
    REFUSED(herald_lwip_init_checked(b, LWIP_VERSION, sizeof(struct netif) - 8, sizeof(struct tcp_pcb),
                                     sizeof(struct pbuf)) == 0, EPROTO, "another lwIP");
    REFUSED(herald_lwip_init_checked(b, LWIP_VERSION + (1u << 16), sizeof(struct netif),
                                     sizeof(struct tcp_pcb), sizeof(struct pbuf)) == 0, EPROTO, "version");
    REFUSED(herald_lwip_init(NULL) == 0, EINVAL, "event_base is NULL");
    REFUSED(fdif_add(b, 0, 0, 0), ENXIO, "comes first");
    SAME(herald_lwip_init(b), 0);
    SAME(herald_lwip_init(b), 0);
    libevent_timeouts_fini();
    event_base_free(b);
}

static void another_event_base_is_refused(void)
{
    struct event_base *other = event_base_new();
    start_stack();
    REFUSED(herald_lwip_init(other) == 0, EBUSY, "libevent_timeouts_fini() first");
    REFUSED(fdif_add(other, 0, 0, 0), EINVAL, "event_base is not the one");
    stop_stack();
    SAME(herald_lwip_init(other), 0);
    libevent_timeouts_fini();
    event_base_free(other);
}

static void *from_another_thread(void *arg)
{
    struct netif *netif = (struct netif *)arg;
    REFUSED(fdif_add(base, 0, 0, 0), EPERM, "another thread");
    REFUSED(herald_netif_remove(netif) == 0, EPERM, "another thread");
    REFUSED(herald_lwip_init(base) == 0, EPERM, "another thread");
    REFUSED(nettest_add(base, netif, 0, 0) == 0, EPERM, "another thread");
    REFUSED(herald_lwip_kick() == 0, EPERM, "another thread");
    errno = 0;
    libevent_timeouts_fini();
    SAME(errno, EPERM);
    return NULL;
}

static void another_thread_is_refused(void)
{
    pthread_t thread;
    struct netif *netif;
    start_stack();
    netif = lonely(1);
    SAME(pthread_create(&thread, NULL, from_another_thread, netif), 0);
    SAME(pthread_join(thread, NULL), 0);
    SAME(herald_netif_remove(netif), 0);
    stop_stack();
}

/* After fini the stack may belong to another thread, and works there. */
static void *owner_for_a_while(void *arg)
{
    (void)arg;
    start_stack();
    SAME(herald_netif_remove(lonely(0)), 0);
    stop_stack();
    return NULL;
}

static void threads_can_take_turns(void)
{
    pthread_t thread;
    start_stack();
    stop_stack();
    SAME(pthread_create(&thread, NULL, owner_for_a_while, NULL), 0);
    SAME(pthread_join(thread, NULL), 0);
    start_stack();
    stop_stack();
}

/* ---- ends without fini, which the original does not have ---- */

static struct netif *left_over;

static void send_frame(err_t expected)
{
    struct pbuf *p = pbuf_alloc(PBUF_RAW, 60, PBUF_RAM);
    memset(p->payload, 0, 60);
    SAME(left_over->linkoutput(left_over, p), expected);
    pbuf_free(p);
}

/* With all that holds on to the loop, or has something outside of the process. */
static void leave_all(void)
{
    static struct host_data host;
    ip_addr_t nobody = address("10.9.0.2");
    start_stack();
    left_over = lonely(1);
    set_up(left_over, "10.9.0.1", "fd00::1");
    SAME(pcap_dump_add(left_over, path_of("pcap")), 0);
    send_frame(ERR_OK);
    SAME(nettest_add(base, left_over, 1000, 0), 0);
    CHECK(vdeswitchif_add(base, path_of("switch")) != NULL);
    CHECK(slirpif_add(base) != NULL);
    /* Not under valgrind, which knows no pidfd_open(). */
    CHECK(processif_add(base, "exec cat", 1) != NULL || errno == ENOSYS);
    CHECK(herald_lwip_timer_add(base, 1000, tick_once, NULL) != NULL);
    CHECK(lwipevbuf_connect_hostname(lwipevbuf_new(NULL), AF_INET, "10.9.0.2", 7) == 0);
    SAME(host_add_server(&nobody, 0), 0);
    strcpy(host.fqdn, "www.example.com");
    host.found = host.failed = never_called;
    host_lookup(&host);
    event_base_loop(base, EVLOOP_NONBLOCK);
    event_base_free(base);
}

static void nothing_is_left(void)
{
    struct stat pcap;
    CHECK(access(path_of("switch"), F_OK) == -1);
    CHECK(stat(path_of("pcap"), &pcap) == 0 && pcap.st_size > 24);
}

static void end_without_fini(int fd)
{
    (void)fd;
    leave_all();
    exit(0);
}

static void a_program_may_end_without_fini(void)
{
    join_peer(peer(end_without_fini, -1));
    nothing_is_left();
}

static void end_as_a_child(int fd)
{
    (void)fd;
    exit(0);
}

/* A child that ends flushes, removes and kills nothing of its parent's. */
static void a_child_that_ends_harms_nothing(void)
{
    struct stat pcap;
    siginfo_t ended;
    start_stack();
    left_over = lonely(1);
    netif_set_up(left_over);
    SAME(pcap_dump_add(left_over, path_of("pcap")), 0);
    send_frame(ERR_OK);
    CHECK(vdeswitchif_add(base, path_of("switch")) != NULL);
    CHECK(processif_add(base, "exec cat", 1) != NULL);
    join_peer(peer(end_as_a_child, -1));
    CHECK(access(path_of("switch/ctl"), F_OK) == 0);
    memset(&ended, 0, sizeof ended);
    SAME(waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT), 0);
    SAME(ended.si_pid, 0);
    SAME(pcap_dump_flush(left_over), 0);
    SAME(stat(path_of("pcap"), &pcap), 0);
    SAME(pcap.st_size, 24 + 16 + 60);
    stop_stack();
}

static void *end_thread_without_fini(void *arg)
{
    leave_all();
    return arg;
}

static void a_thread_that_ends_without_fini_keeps_lwip(void)
{
    pthread_t thread;
    struct netif *netif;
    unsigned count = 0;
    SAME(pthread_create(&thread, NULL, end_thread_without_fini, NULL), 0);
    SAME(pthread_join(thread, NULL), 0);
    nothing_is_left();
    base = event_base_new();
    REFUSED(herald_lwip_init(base) == 0, EPERM, "has ended without libevent_timeouts_fini()");
    REFUSED(herald_netif_remove(left_over) == 0, EPERM, "another thread");
    /* lwIP still has the netifs, which lead nowhere. */
    NETIF_FOREACH(netif) count += netif->linkoutput != NULL;
    CHECK(count >= 3);
    send_frame(ERR_IF);
    event_base_free(base);
}

static int ticks, pointless;
static const void *timer;

static void tick(void) { ticks++; }

static void tick_thrice(void *ctx)
{
    int *count = (int *)ctx;
    if (++*count == 3) {
        SAME(herald_lwip_timer_del(timer), 0);
        REFUSED(herald_lwip_timer_del(timer) == 0, ENOENT, "no such timer");
    }
}

static void timers(void)
{
    int count = 0;
    start_stack();
    sys_timer_add_internal(base, 1, tick);
    REFUSED(herald_lwip_timer_add(base, 0, tick_thrice, &count), EINVAL, "at least 1");
    REFUSED(herald_lwip_timer_add(base, 1, NULL, NULL), EINVAL, "callback is NULL");
    timer = herald_lwip_timer_add(base, 1, tick_thrice, &count);
    CHECK(timer != NULL);
    LOOP_UNTIL(ticks >= 20);
    SAME(count, 3);
    REFUSED(herald_lwip_timer_del(&pointless) == 0, ENOENT, "no such timer");
    stop_stack();
}

/* lwIP's own timers run: a sys_timeout() of the program's. */
static void timed_out(void *arg) { ++*(int *)arg; }

static void timeouts_of_lwip(void)
{
    int count = 0;
    start_stack();
    sys_timeout(1, timed_out, &count);
    sys_timeout(30, timed_out, &count);
    LOOP_UNTIL(count == 2);
    stop_stack();
}

/* lwIP as Debian builds it hands packets for itself to a thread that is not there. */
static void to_itself(const char *to, int ether)
{
    stream server, client;
    size_t bytes = 300000;
    start_stack();
    set_up(lonely(ether), "10.9.0.1", "fd00::1");
    stream_listen(&server, 7, bytes);
    stream_connect(&client, to, 7, bytes);
    SAME(herald_lwip_kick(), 0);
    LOOP_UNTIL(server.received == bytes && client.received == bytes && client.acked == bytes &&
               server.acked == bytes);
    stream_close(&client);
    SAME(herald_lwip_kick(), 0);
    LOOP_UNTIL(server.ended);
    stream_close(&server);
    SAME(herald_lwip_kick(), 0);
    LOOP_UNTIL(tcp_active_pcbs == NULL);
    stop_stack();
}

static void to_itself_by_ipv4(void) { to_itself("10.9.0.1", 1); }
static void to_itself_by_ipv6(void) { to_itself("fd00::1", 1); }
static void to_itself_by_loopback(void) { to_itself("127.0.0.1", 0); }

static int datagrams;

static void got_datagram(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from, u16_t port)
{
    (void)arg, (void)from, (void)port;
    SAME(p->tot_len, 3000);
    datagrams++;
    /* Answers itself, for ever: the loop's other events must have their turn all the same. */
    SAME(udp_sendto(pcb, p, from, 9), ERR_OK);
    pbuf_free(p);
}

static void a_storm_to_itself_leaves_the_loop_alive(void)
{
    struct udp_pcb *pcb = udp_new();
    struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, 3000, PBUF_RAM);
    ip_addr_t to = address("10.9.0.1");
    start_stack();
    set_up(lonely(0), "10.9.0.1", "fd00::1");
    memset(p->payload, 0, p->len);
    SAME(udp_bind(pcb, IP_ADDR_ANY, 9), ERR_OK);
    udp_recv(pcb, got_datagram, NULL);
    SAME(udp_sendto(pcb, p, &to, 9), ERR_OK);
    pbuf_free(p);
    sys_timer_add_internal(base, 1, tick);
    LOOP_UNTIL(ticks > 10 && datagrams > 1000);
    /* What waits for itself goes with the netif. */
    stop_stack();
    udp_remove(pcb);
}

/* Wake-ups of the loop while nothing happens. */
static int turns_in(double seconds)
{
    double end = now() + seconds;
    int turns = 0;
    while (now() < end) {
        event_base_loop(base, EVLOOP_ONCE);
        turns++;
    }
    return turns;
}

static void tickless_sleeps(void)
{
    int often, seldom;
    start_stack();
    set_up(lonely(1), "10.9.0.1", "fd00::1");
    often = turns_in(3);
    SAME(herald_lwip_set_tickless(true), 0);
    turns_in(1);
    seldom = turns_in(3);
    fprintf(stderr, "turns in 3 s: %d, tickless %d\n", often, seldom);
    /* A loaded machine makes fewer turns, never more. */
    CHECK(seldom <= 5);
    stop_stack();
}

/* Tickless, and a connection is served all the same. */
static void tickless_keeps_connections_going(void)
{
    stream server, client;
    start_stack();
    SAME(herald_lwip_set_tickless(true), 0);
    set_up(lonely(0), "10.9.0.1", "fd00::1");
    stream_listen(&server, 7, 0);
    stream_connect(&client, "10.9.0.1", 7, 1000);
    SAME(herald_lwip_kick(), 0);
    LOOP_UNTIL(server.received == 1000 && client.acked == 1000);
    stop_stack();
}

static const test tests[] = {
    {"nothing_before_init", nothing_before_init},
    {"another_lwip_is_refused", another_lwip_is_refused},
    {"another_event_base_is_refused", another_event_base_is_refused},
    {"another_thread_is_refused", another_thread_is_refused},
    {"threads_can_take_turns", threads_can_take_turns},
    {"a_program_may_end_without_fini", a_program_may_end_without_fini},
    {"a_child_that_ends_harms_nothing", a_child_that_ends_harms_nothing},
    {"a_thread_that_ends_without_fini_keeps_lwip", a_thread_that_ends_without_fini_keeps_lwip},
    {"timers", timers},
    {"timeouts_of_lwip", timeouts_of_lwip},
    {"to_itself_by_ipv4", to_itself_by_ipv4},
    {"to_itself_by_ipv6", to_itself_by_ipv6},
    {"to_itself_by_loopback", to_itself_by_loopback},
    {"a_storm_to_itself_leaves_the_loop_alive", a_storm_to_itself_leaves_the_loop_alive},
    {"tickless_sleeps", tickless_sleeps},
    {"tickless_keeps_connections_going", tickless_keeps_connections_going},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

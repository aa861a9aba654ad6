/* SPDX-License-Identifier: MIT OR Apache-2.0
 * Everything can be taken away in any order, again and again, while packets are under way, and nothing is
 * left of it. */
#include "wire.h"

#include <event2/bufferevent.h>

static unsigned random_state = 1;

static unsigned draw(unsigned below)
{
    random_state = random_state * 1103515245u + 12345u;
    return (random_state >> 16) % below;
}

static struct netif *netif;
static bool has_netif, has_capture, has_nettest;

static void remove_netif(void)
{
    SAME(herald_netif_remove(netif), has_netif ? 0 : -1);
    if (has_netif) close(wire);
    has_netif = has_capture = has_nettest = false;
}

static void add_capture(void)
{
    if (has_netif && !has_capture) {
        SAME(pcap_dump_add(netif, path_of("pcap")), 0);
        has_capture = true;
    }
}

static void remove_capture(void)
{
    pcap_dump_remove(netif);
    has_capture = false;
}

static void add_nettest(void)
{
    if (has_netif) {
        SAME(nettest_add(base, netif, draw(3) * 200, (float)draw(3) / 4), 0);
        has_nettest = true;
    }
}

static void remove_nettest(void)
{
    nettest_remove(netif);
    has_nettest = false;
}

static void ping(void)
{
    unsigned i;
    for (i = 0; has_netif && i < 8; i++) send_ping((uint16_t)i, 200);
}

static void turn(void)
{
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    while (has_netif && take_pong() >= 0) {}
}

static void (*const steps[])(void) = {remove_netif, add_capture, remove_capture, add_nettest, remove_nettest,
                                      ping,         ping,        turn,           turn,        turn};

/* Steps in any order, a thousand lives long. */
static void any_order(void)
{
    unsigned life, step, lives = scaled(1000);
    int before;
    start_stack();
    before = open_fds();
    for (life = 0; life < lives; life++) {
        netif = wired();
        has_netif = true;
        for (step = 0; step < 12; step++) steps[draw(COUNT_OF(steps))]();
        if (has_netif) remove_netif();
    }
    /* The loop's descriptor for timers comes with the first of them. */
    CHECK(open_fds() <= before + 1);
    stop_stack();
}

/* The stack itself comes and goes, with everything on it. */
static void stacks_come_and_go(void)
{
    unsigned life, lives = scaled(1000);
    int before = open_fds();
    for (life = 0; life < lives; life++) {
        start_stack();
        netif = wired();
        has_netif = true;
        sys_timer_add_internal(base, 1, turn);
        if (draw(2)) add_capture();
        add_nettest();
        if (draw(2)) add_capture();
        ping();
        turn();
        /* Some are removed, some are left. */
        if (draw(2)) remove_netif();
        else close(wire);
        has_netif = has_capture = false;
        stop_stack();
    }
    SAME(open_fds(), before);
}

/* From within what the netif itself calls. */
static unsigned removed;

static void remove_while_receiving(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from,
                                   u16_t port)
{
    (void)arg, (void)pcb, (void)from, (void)port;
    pbuf_free(p);
    if (has_netif) remove_netif();
    removed++;
}

static void udp_in(size_t count)
{
    unsigned char packet[64] = {0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 10, 9, 0, 2, 10, 9, 0, 1, 0, 9, 0, 9, 0, 12};
    uint16_t sum = checksum_of(packet, 20);
    packet[10] = (unsigned char)(sum >> 8), packet[11] = (unsigned char)sum;
    while (count-- > 0) SAME(send(wire, packet, 32, 0), 32);
}

static void within_its_own_callback(void)
{
    unsigned life, lives = scaled(1000);
    struct udp_pcb *pcb;
    start_stack();
    pcb = udp_new();
    SAME(udp_bind(pcb, IP_ADDR_ANY, 9), ERR_OK);
    udp_recv(pcb, remove_while_receiving, NULL);
    for (life = 0; life < lives; life++) {
        netif = wired();
        has_netif = true;
        if (draw(2)) add_capture();
        if (draw(2)) SAME(nettest_add(base, netif, draw(2) * 100, 0), 0);
        udp_in(5);
        LOOP_UNTIL(removed > life);
        SAME(removed, life + 1);
    }
    udp_remove(pcb);
    stop_stack();
}

/* With a connection, which is aborted, and whose error callback removes what is left. */
static unsigned aborted;

static void was_aborted(void *arg, err_t err)
{
    (void)arg;
    SAME(err, ERR_ABRT);
    aborted++;
    errno = 0;
    SAME(herald_netif_remove(netif), 0);
}

static void under_a_connection(void)
{
    unsigned life, lives = scaled(1000);
    start_stack();
    for (life = 0; life < lives; life++) {
        struct tcp_pcb *pcb;
        ip_addr_t to = address("10.9.0.2");
        netif = wired();
        netif_set_default(netif);
        has_netif = true;
        pcb = tcp_new();
        tcp_err(pcb, was_aborted);
        SAME(tcp_connect(pcb, &to, 7, NULL), ERR_OK);
        if (draw(2)) turn();
        remove_netif();
        SAME(aborted, life + 1);
    }
    stop_stack();
}

/* ---- every kind of netif, several at once, with all that can hang on them ---- */

static struct netif *add_fdif(void)
{
    struct herald_fdif_options options;
    int fds[2];
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.close_fds = true;
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) == 0);
    close(fds[1]);
    return fdif_add_ex(base, fds[0], fds[0], (int)draw(2), &options);
}

static struct netif *add_tunif(void)
{
    struct herald_tunif_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.offload = draw(2);
    options.ipv6 = "fd00::1/64";
    return tunif_add_ex(base, NULL, (int)draw(2), &options);
}

static struct netif *add_vdeportif(void)
{
    /* Of the switch of this program, if it is there; of libvdeplug else, which is refused. */
    struct netif *port = vdeportif_add(base, path_of("switch"));
    return port != NULL ? port : vdeportif_add(base, "vde:///none");
}

/* valgrind knows no pidfd_open(). */
static bool no_processes(void) { return errno == ENOSYS; }

static struct netif *add_processif(void)
{
    struct herald_processif_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.grace_ms = draw(2) ? 1 : 0;
    return processif_add_ex(base, draw(2) ? "exit" : "exec cat", (int)draw(2), &options);
}

static struct netif *add_packetif(void) { return packetif_add(base, "lo"); }
static struct netif *add_udptapif(void) { return udptapif_add(base, 7001, 7002); }
static struct netif *add_vdeswitchif(void) { return vdeswitchif_add(base, path_of("switch")); }
static struct netif *add_slirpif(void) { return slirpif_add(base); }

static struct netif *(*const kinds[])(void) = {add_fdif,     add_tunif,    add_vdeportif,   add_processif,
                                               add_packetif, add_udptapif, add_vdeswitchif, add_slirpif};

static struct netif *many[4];
static unsigned kinds_added[COUNT_OF(kinds)], connections_over;
static bool kinds_impossible[COUNT_OF(kinds)];

/* One that fails tells it, and some are removed then. */
static void many_down(struct netif *netif, int error, const char *text, void *ctx)
{
    unsigned i;
    (void)error, (void)text, (void)ctx;
    for (i = 0; i < COUNT_OF(many); i++) {
        if (many[i] != netif || draw(2)) continue;
        SAME(herald_netif_remove(netif), 0);
        many[i] = NULL;
    }
}

static void many_add(unsigned i)
{
    unsigned kind = draw(COUNT_OF(kinds));
    if (many[i] != NULL) return;
    many[i] = kinds[kind]();
    /* What there can be one of only may be there already. */
    if (many[i] == NULL) {
        kinds_impossible[kind] |= no_processes();
        CHECK(errno == EADDRINUSE || kinds[kind] == add_vdeportif || no_processes());
        return;
    }
    kinds_added[kind]++;
    set_up(many[i], "10.9.0.1", "fd00::2");
    SAME(herald_netif_set_down_cb(many[i], many_down, NULL), 0);
}

static void many_remove(unsigned i)
{
    SAME(herald_netif_remove(many[i]), many[i] != NULL ? 0 : -1);
    many[i] = NULL;
}

static void many_hook(unsigned i)
{
    if (many[i] == NULL) return;
    if (draw(2)) CHECK(pcap_dump_add(many[i], path_of("pcap")) == 0 || errno == EBUSY);
    else SAME(nettest_add(base, many[i], draw(2) * 500, 0), 0);
}

static void many_unhook(unsigned i)
{
    if (draw(2)) pcap_dump_remove(many[i]);
    else nettest_remove(many[i]);
}

static void connection_over(struct lwipevbuf *buffer, short what, void *ctx)
{
    (void)ctx;
    connections_over++;
    if (!(what & (BEV_EVENT_ERROR | BEV_EVENT_EOF))) return;
    if (draw(2)) lwipevbuf_free(buffer);
    else lwipevbuf_abort(buffer);
}

/* To another host, whose hardware address is never found, or to the netif itself. */
static void many_connect(unsigned i)
{
    static const char *const hosts[] = {"10.9.0.7", "fd00::7", "10.9.0.1", "10.0.2.2"};
    struct lwipevbuf *buffer;
    if (many[i] == NULL) return;
    buffer = lwipevbuf_new(NULL);
    lwipevbuf_setcb(buffer, NULL, NULL, connection_over, NULL);
    SAME(lwipevbuf_connect_hostname(buffer, AF_UNSPEC, hosts[draw(COUNT_OF(hosts))], 7), 0);
}

static void many_turn(unsigned i)
{
    (void)i;
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static void (*const many_steps[])(unsigned) = {many_add,    many_add,  many_remove, many_hook, many_unhook,
                                               many_connect, many_turn, many_turn,   many_turn};

static void every_kind(void)
{
    unsigned life, step, i, lives = scaled(500);
    int before = open_fds();
    for (life = 0; life < lives; life++) {
        start_stack();
        for (step = 0; step < 20; step++) many_steps[draw(COUNT_OF(many_steps))](draw(COUNT_OF(many)));
        /* Some are removed, some are left. */
        for (i = 0; i < COUNT_OF(many); i++)
            if (many[i] != NULL && draw(2)) many_remove(i);
        stop_stack();
        memset(many, 0, sizeof many);
        while (tcp_active_pcbs != NULL) tcp_abort(tcp_active_pcbs);
        SAME(waitpid(-1, NULL, WNOHANG), -1);
        SAME(errno, ECHILD);
    }
    SAME(open_fds(), before);
    for (i = 0; i < COUNT_OF(kinds) && lives > 100; i++)
        CHECK(kinds_added[i] > 0 || kinds_impossible[i]);
    CHECK(lives < 100 || connections_over > 0);
}

static const test tests[] = {
    {"any_order", any_order},
    {"stacks_come_and_go", stacks_come_and_go},
    {"within_its_own_callback", within_its_own_callback},
    {"under_a_connection", under_a_connection},
    {"every_kind", every_kind},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

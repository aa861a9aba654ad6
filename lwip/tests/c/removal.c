/* SPDX-License-Identifier: MIT OR Apache-2.0
 * Everything can be taken away in any order, again and again, while packets are under way, and nothing is
 * left of it. */
#include "wire.h"

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

static const test tests[] = {
    {"any_order", any_order},
    {"stacks_come_and_go", stacks_come_and_go},
    {"within_its_own_callback", within_its_own_callback},
    {"under_a_connection", under_a_connection},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

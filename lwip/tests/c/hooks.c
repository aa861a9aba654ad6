/* SPDX-License-Identifier: MIT OR Apache-2.0
 * Captures and nettest on a netif. What the captures hold is read by tcpdump, in hooks.rs. */
#include "wire.h"

#include <sys/stat.h>

static struct herald_nettest_options worse(void)
{
    struct herald_nettest_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    return options;
}

/* Sends pings, waits for all answers; a window keeps the socket from overflowing. */
static void ping_all(uint16_t first, unsigned count, size_t data)
{
    unsigned sent = 0, got = 0;
    while (got < count) {
        while (sent < count && sent - got < 32) send_ping((uint16_t)(first + sent++), data);
        LOOP_UNTIL(take_pong() >= 0);
        got++;
    }
}

static void one_capture(int format, const char *file, uint32_t snaplen)
{
    struct netif *netif;
    struct herald_pcap_options options = {sizeof options, format, snaplen};
    start_stack();
    netif = wired();
    SAME(pcap_dump_add_ex(netif, path_of(file), &options), 0);
    REFUSED(pcap_dump_add(netif, path_of("second")) == 0, EBUSY, "pcap_dump_remove() comes first");
    ping_all(1, 100, 500);
    pcap_dump_remove(netif);
    pcap_dump_remove(netif);
    ping_all(200, 10, 500);
    stop_stack();
}

static void pcap(void) { one_capture(HERALD_PCAP, "pcap", 0); }
static void pcapng(void) { one_capture(HERALD_PCAPNG, "pcapng", 0); }
static void snaplen(void)
{
    one_capture(HERALD_PCAP, "pcap", 30);
    one_capture(HERALD_PCAPNG, "pcapng", 30);
}

/* Who has 10.9.0.1? Tell 10.9.0.2. */
static const unsigned char question[60] = {255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 9, 8, 6,
                                           0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 9, 0, 2,
                                           0, 0, 0, 0, 0, 0, 10, 9, 0, 1};

static bool take_arp_reply(int fd)
{
    unsigned char frame[2048];
    while (recv(fd, frame, sizeof frame, MSG_DONTWAIT) > 0)
        if (frame[12] == 8 && frame[13] == 6 && frame[21] == 2) return true;
    return false;
}

/* A netif of Ethernet goes on sending, and its frames are captured as such. */
static void captures_of_ethernet(void)
{
    static const char *const files[] = {"pcap", "pcapng"};
    int fds[2], format;
    struct netif *netif;
    start_stack();
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
    netif = fdif_add(base, fds[0], fds[0], 1);
    set_up(netif, "10.9.0.1", "fd00::1");
    SAME(nettest_add(base, netif, 100, 0), 0);
    for (format = HERALD_PCAP; format <= HERALD_PCAPNG; format++) {
        struct herald_pcap_options options = {sizeof options, format, 0};
        SAME(pcap_dump_add_ex(netif, path_of(files[format]), &options), 0);
        SAME(send(fds[1], question, sizeof question, 0), sizeof question);
        LOOP_UNTIL(take_arp_reply(fds[1]));
        pcap_dump_remove(netif);
        /* Without it too. */
        SAME(send(fds[1], question, sizeof question, 0), sizeof question);
        LOOP_UNTIL(take_arp_reply(fds[1]));
    }
    stop_stack();
}

/* Not one write per packet, yet a packet is in the file after a second. */
static void capture_is_buffered(void)
{
    struct netif *netif;
    struct stat file;
    off_t header;
    start_stack();
    netif = wired();
    SAME(pcap_dump_add(netif, path_of("pcap")), 0);
    SAME(stat(path_of("pcap"), &file), 0);
    SAME(file.st_mode & 0777, 0600);
    header = file.st_size;
    SAME(header, 24);
    ping_all(1, 1, 100);
    SAME(stat(path_of("pcap"), &file), 0);
    SAME(file.st_size, header);
    LOOP_UNTIL((stat(path_of("pcap"), &file), file.st_size > header));
    SAME(file.st_size, header + 2 * (16 + 128));
    ping_all(1, 1, 100);
    SAME(pcap_dump_flush(netif), 0);
    SAME(stat(path_of("pcap"), &file), 0);
    SAME(file.st_size, header + 4 * (16 + 128));
    stop_stack();
}

static void capture_ends_with_its_netif(void)
{
    struct netif *netif;
    struct stat file;
    int before = open_fds();
    start_stack();
    netif = wired();
    SAME(pcap_dump_add(netif, path_of("pcap")), 0);
    ping_all(1, 3, 100);
    SAME(herald_netif_remove(netif), 0);
    SAME(stat(path_of("pcap"), &file), 0);
    SAME(file.st_size, 24 + 6 * (16 + 128));
    REFUSED(pcap_dump_flush(netif) == 0, ENODEV, "not (or no longer)");
    pcap_dump_remove(netif);
    close(wire);
    stop_stack();
    SAME(open_fds(), before);
}

static void capture_errors(void)
{
    struct netif *netif;
    struct herald_pcap_options options = {sizeof options, 7, 0};
    start_stack();
    netif = wired();
    REFUSED(pcap_dump_add(netif, "/nowhere/file") == 0, ENOENT, "/nowhere/file");
    REFUSED(pcap_dump_add(netif, NULL) == 0, EINVAL, "file is NULL");
    REFUSED(pcap_dump_add(NULL, "x") == 0, EINVAL, "netif is NULL");
    REFUSED(pcap_dump_add_ex(netif, path_of("x"), &options) == 0, EINVAL, "format 7");
    options.size = 3;
    REFUSED(pcap_dump_add_ex(netif, path_of("x"), &options) == 0, EINVAL, "must be its size");
    REFUSED(pcap_dump_flush(netif) == 0, ENOENT, "no capture");
    /* A full disk ends the capture, not the program. */
    REFUSED(pcap_dump_add(netif, "/dev/full") == 0, ENOSPC, "capture has stopped");
    stop_stack();
}

/* A capture into a pipe whose reader has gone. */
static void capture_into_a_broken_pipe(void)
{
    struct netif *netif;
    int reader;
    start_stack();
    netif = wired();
    SAME(mkfifo(path_of("fifo"), 0600), 0);
    reader = open(path_of("fifo"), O_RDONLY | O_NONBLOCK);
    SAME(pcap_dump_add(netif, path_of("fifo")), 0);
    close(reader);
    ping_all(1, 10, 100);
    REFUSED(pcap_dump_flush(netif) == 0, EPIPE, "capture has stopped");
    ping_all(11, 10, 100);
    stop_stack();
}

/* The round trip of a ping is two delays: never less, and sometimes hardly more, which takes a clock that
 * is finer than libevent's. */
static void delay(void)
{
    struct netif *netif;
    double taken, end = now() + SOON;
    start_stack();
    netif = wired();
    SAME(nettest_add(base, netif, 3300, 0), 0);
    do {
        double start = now();
        CHECK(start < end);
        ping_all(1, 1, 10);
        taken = now() - start;
        CHECK(taken >= 0.0066);
    } while (taken > 0.0066 + 0.0005);
    stop_stack();
}

static void drop_rate(void)
{
    struct netif *netif;
    struct herald_nettest_options options = worse();
    struct herald_netif_counters counters;
    unsigned i, count = 20000;
    static const float rates[] = {0, 0.01f, 0.25f, 0.5f, 1};
    start_stack();
    netif = wired();
    for (i = 0; i < COUNT_OF(rates); i++) {
        unsigned sent = 0;
        uint64_t seen, in, out, in_before = counters_of(netif).rx_dropped,
                       out_before = counters_of(netif).tx_dropped;
        double expected = count * (double)rates[i], spread;
        options.drop_rate = rates[i];
        options.seed = 42;
        SAME(nettest_add_ex(base, netif, &options), 0);
        seen = counters_of(netif).rx_packets + count;
        while (sent < count) {
            unsigned burst;
            for (burst = 0; burst < 32; burst++, sent++) send_ping((uint16_t)sent, 0);
            LOOP_UNTIL(counters_of(netif).rx_packets == seen - (count - sent));
            while (take_pong() >= 0) {}
        }
        counters = counters_of(netif);
        in = counters.rx_dropped - in_before;
        out = counters.tx_dropped - out_before;
        /* Six standard deviations; the answers are what came in and was not lost. */
        spread = 6 * 0.5 * 142;
        fprintf(stderr, "drop rate %.2f: %llu of %u in, %llu of %llu out\n", (double)rates[i],
                (unsigned long long)in, count, (unsigned long long)out, (unsigned long long)(count - in));
        if (rates[i] == 0 || rates[i] == 1) spread = 0;
        CHECK((double)in >= expected - spread && (double)in <= expected + spread);
        expected = (double)(count - in) * (double)rates[i];
        CHECK((double)out >= expected - spread && (double)out <= expected + spread);
    }
    nettest_remove(netif);
    ping_all(1, 10, 0);
    stop_stack();
}

/* The same seed, the same losses. */
static void seed(void)
{
    int round;
    bool answered[2][64];
    start_stack();
    memset(answered, 0, sizeof answered);
    for (round = 0; round < 2; round++) {
        struct netif *netif = wired();
        struct herald_nettest_options options = worse();
        int i, number;
        options.drop_rate = 0.3f;
        options.seed = 7;
        SAME(nettest_add_ex(base, netif, &options), 0);
        for (i = 0; i < 64; i++) send_ping((uint16_t)i, 0);
        LOOP_UNTIL(counters_of(netif).rx_packets == 64);
        while ((number = take_pong()) >= 0) answered[round][number] = true;
        SAME(herald_netif_remove(netif), 0);
        close(wire);
    }
    CHECK(memcmp(answered[0], answered[1], sizeof answered[0]) == 0);
    stop_stack();
}

/* Packets keep their order under jitter, and lose it by reordering. */
static int out_of_order(float reorder_rate, uint32_t jitter)
{
    struct netif *netif;
    struct herald_nettest_options options = worse();
    int i, number, last = -1, got = 0, inversions = 0;
    start_stack();
    netif = wired();
    options.delay_us = 5000;
    options.jitter_us = jitter;
    options.reorder_rate = reorder_rate;
    options.seed = 3;
    SAME(nettest_add_ex(base, netif, &options), 0);
    for (i = 0; i < 100; i++) send_ping((uint16_t)i, 0);
    while (got < 100) {
        LOOP_UNTIL((number = take_pong()) >= 0);
        inversions += number < last;
        last = number;
        got++;
    }
    stop_stack();
    return inversions;
}

static void jitter_keeps_the_order(void) { SAME(out_of_order(0, 5000), 0); }
static void reorder_does_not(void) { CHECK(out_of_order(0.3f, 0) > 0); }

/* The last answer of many cannot come before their bytes have passed. */
static void rate(void)
{
    struct netif *netif;
    struct herald_nettest_options options = worse();
    double taken, least, start = now();
    unsigned count = 200;
    start_stack();
    netif = wired();
    options.rate = 1000000;
    SAME(nettest_add_ex(base, netif, &options), 0);
    ping_all(0, count, 972);
    taken = now() - start;
    /* Each direction is a line of its own, and they work at once. */
    least = count * 1000 / 1e6;
    fprintf(stderr, "%u x 1000 bytes at 1 MB/s: %.3f s\n", count, taken);
    CHECK(taken >= least);
    stop_stack();
}

/* What is on its way is bounded. */
static void limit(void)
{
    struct netif *netif;
    struct herald_nettest_options options = worse();
    int i;
    start_stack();
    netif = wired();
    options.delay_us = 100u * 1000 * 1000;
    options.limit = 10000;
    SAME(nettest_add_ex(base, netif, &options), 0);
    for (i = 0; i < 50; i++) send_ping((uint16_t)i, 972);
    LOOP_UNTIL(counters_of(netif).rx_packets == 50);
    SAME(counters_of(netif).rx_dropped, 40);
    SAME(take_pong(), -1);
    /* Removing it lets them arrive at once, in order. */
    nettest_remove(netif);
    for (i = 0; i < 10; i++) {
        int number;
        LOOP_UNTIL((number = take_pong()) >= 0);
        SAME(number, i);
    }
    nettest_remove(netif);
    stop_stack();
}

static void nettest_errors(void)
{
    struct netif *netif;
    start_stack();
    netif = wired();
    REFUSED(nettest_add(base, netif, 0, 1.5f) == 0, EINVAL, "drop_rate is 1.5");
    REFUSED(nettest_add(base, netif, 0, -0.5f) == 0, EINVAL, "drop_rate");
    REFUSED(nettest_add(base, netif, 0, (float)strtod("nan", NULL)) == 0, EINVAL, "drop_rate");
    REFUSED(nettest_add(base, NULL, 0, 0) == 0, EINVAL, "netif is NULL");
    stop_stack();
    nettest_remove(netif);
    SAME(errno, ENXIO);
}

/* A capture shows what happens on its side of a nettest: the first added is nearest to the wire. */
static void captures_on_either_side(void)
{
    struct netif *netif;
    int before;
    for (before = 0; before < 2; before++) {
        start_stack();
        netif = wired();
        if (before) SAME(pcap_dump_add(netif, path_of("wire")), 0);
        SAME(nettest_add(base, netif, 0, 1), 0);
        if (!before) SAME(pcap_dump_add(netif, path_of("lwip")), 0);
        send_ping(1, 0);
        LOOP_UNTIL(counters_of(netif).rx_dropped == 1);
        /* Either may go first. */
        if (before) pcap_dump_remove(netif);
        nettest_remove(netif);
        pcap_dump_remove(netif);
        ping_all(1, 1, 0);
        stop_stack();
    }
}

static const test tests[] = {
    {"pcap", pcap},
    {"pcapng", pcapng},
    {"snaplen", snaplen},
    {"captures_of_ethernet", captures_of_ethernet},
    {"capture_is_buffered", capture_is_buffered},
    {"capture_ends_with_its_netif", capture_ends_with_its_netif},
    {"capture_errors", capture_errors},
    {"capture_into_a_broken_pipe", capture_into_a_broken_pipe},
    {"delay", delay},
    {"drop_rate", drop_rate},
    {"seed", seed},
    {"jitter_keeps_the_order", jitter_keeps_the_order},
    {"reorder_does_not", reorder_does_not},
    {"rate", rate},
    {"limit", limit},
    {"nettest_errors", nettest_errors},
    {"captures_on_either_side", captures_on_either_side},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

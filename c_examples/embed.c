/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * embed: a program of your own that publishes events.
 *
 *     embed PATH [ROUNDS [ADDRESS]]
 *
 * serves an event socket at PATH, publishes a session's life ROUNDS times (1 by default, once
 * somebody listens), and prints what became of the events. Listen with `event_client PATH`. With
 * an ADDRESS, such as udp:127.0.0.1:9000, the events go there as datagrams, too: listen with
 * `datagram_client ADDRESS`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "herald.h"

static void print_log(void *context, int32_t level, const char *message)
{
    (void)context;
    fprintf(stderr, "<%d> %s\n", level, message);
}

/* Says what went wrong, and where; the library knows the details. */
static void check(herald_error error, const char *what)
{
    if (error != HERALD_OK) {
        fprintf(stderr, "embed: %s: %s: %s\n", what, herald_error_string(error), herald_last_error());
        exit(1);
    }
}

static herald_stats read_stats(herald_hub *hub)
{
    herald_stats stats = { 0 };
    stats.size = sizeof stats;
    check(herald_hub_stats(hub, &stats), "herald_hub_stats");
    return stats;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: embed PATH [ROUNDS [ADDRESS]]\n");
        return 2;
    }
    if (herald_abi_version() != HERALD_ABI_VERSION) {
        fprintf(stderr, "embed: the library's ABI is %u, this program's is %u\n",
                herald_abi_version(), (unsigned)HERALD_ABI_VERSION);
        return 1;
    }
    long rounds = argc > 2 ? strtol(argv[2], NULL, 10) : 1;

    herald_hub_options options = { 0 };
    options.size = sizeof options;
    options.log = print_log;
    herald_hub *hub = NULL;
    check(herald_hub_open(&options, &hub), "herald_hub_open");

    herald_event_sock_options server = { 0 };
    server.size = sizeof server;
    server.path = argv[1];
    check(herald_hub_serve_event_sock(hub, &server), "herald_hub_serve_event_sock");

    uint64_t datagrams = 0;
    if (argc > 3) {
        herald_datagram_options subscriber = { 0 };
        subscriber.size = sizeof subscriber;
        subscriber.to = argv[3];
        check(herald_hub_add_datagram(hub, &subscriber), "herald_hub_add_datagram");
        datagrams = 1;
    }
    /* What nobody listens to is gone, so wait for the first client. */
    while (read_stats(hub).subscribers == datagrams) {
        struct timespec moment = { 0, 10 * 1000 * 1000 };
        nanosleep(&moment, NULL);
    }

    for (long round = 0; round < rounds; round++) {
        uint16_t session = (uint16_t)(round % 65535 + 1);
        check(herald_publish_l2tp(hub, HERALD_L2TP_SESSION_CREATED, 7, session, 0, 0), "publish");
        check(herald_publish_l2tp(hub, HERALD_L2TP_SESSION_UP, 7, session, 8, session), "publish");
        check(herald_publish_l2tp(hub, HERALD_L2TP_SESSION_DOWN, 7, session, 0, 0), "publish");
        check(herald_publish_l2tp(hub, HERALD_L2TP_SESSION_DELETED, 7, session, 0, 0), "publish");

        /* An event of our own; the event socket cannot express it, other transports can. */
        herald_param params[] = {
            herald_param_uint("round", (uint64_t)round),
            herald_param_string("note", "hello"),
            herald_param_bool("last", round + 1 == rounds),
        };
        check(herald_publish(hub, "E_EMBED_ROUND", params, sizeof params / sizeof params[0]), "publish");
    }

    herald_stats before = read_stats(hub);
    check(herald_hub_close(&hub), "herald_hub_close");
    printf("published %llu, ring full %llu, dropped %llu\n", (unsigned long long)before.published,
           (unsigned long long)before.ring_full, (unsigned long long)before.dropped);
    return 0;
}

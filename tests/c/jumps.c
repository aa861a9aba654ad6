/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The promise: a publish that siglongjmp() leaves at any instruction leaves the hub whole. The
 * event is then published or not; every other event arrives, in order, and closing works.
 */
#include "check.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>

enum { MOST = 1 << 23 };

enum { NEVER, ACCEPTED, REFUSED_FULL, ABANDONED }; /* what became of a number */
enum { FREE_RUNNING, AROUND_EACH };                /* when signals come */

static sigjmp_buf back;
static volatile sig_atomic_t may_jump;
static volatile uint32_t number, abandoned; /* volatile: they are looked at after jumps */
static unsigned char *fate;
static sigset_t no_signals;
static int signals;
static uint32_t chance = 1;

static uint32_t some(uint32_t most)
{
    chance = chance * 1664525u + 1013904223u;
    return (chance >> 8) % most + 1;
}

static void ring_in(long microseconds)
{
    struct itimerval once;
    memset(&once, 0, sizeof once);
    once.it_value.tv_usec = microseconds;
    setitimer(ITIMER_REAL, &once, NULL);
}

static void on_alarm(int signal)
{
    (void)signal;
    if (signals == FREE_RUNNING) ring_in(some(150));
    if (!may_jump) return;
    may_jump = 0;
    sigprocmask(SIG_SETMASK, &no_signals, NULL);
    siglongjmp(back, 1);
}

/* ---- the reader ---- */

typedef struct reader {
    client c;
    unsigned char *seen;
    uint32_t received, lost, last;
} reader;

static void *read_all(void *argument)
{
    reader *r = (reader *)argument;
    frame found;
    while (next_frame(&r->c, &found)) {
        uint32_t n;
        if (found.event == LOST) {
            r->lost += found.lost;
            continue;
        }
        n = number_of(&found);
        CHECK(n > r->last && n < MOST);
        r->last = n;
        r->seen[n] = 1;
        r->received++;
    }
    return NULL;
}

/* ---- the publisher ---- */

typedef herald_error publish_function(herald_hub *hub, uint32_t n);

static herald_error publish_generic(herald_hub *hub, uint32_t n)
{
    herald_param params[6];
    params[0] = herald_param_string("note", "of some length, so that packing it takes a while");
    params[1] = herald_param_uint("tunnel_id", n >> 16);
    params[2] = herald_param_uint("session_id", n & 0xffff);
    params[3] = herald_param_uint("peer_tunnel_id", (uint16_t)~(n >> 16));
    params[4] = herald_param_int("peer_session_id", (uint16_t)~n);
    params[5] = herald_param_float("rate", n / 2.0);
    return herald_publish(hub, "E_L2TP_SESSION_UP", params, COUNT_OF(params));
}

static void publish_or_be_left(herald_hub *hub, publish_function *publish)
{
    herald_error error;
    number = number + 1;
    if (sigsetjmp(back, 0) != 0) {
        fate[number] = ABANDONED;
        abandoned = abandoned + 1;
        return;
    }
    may_jump = 1;
    error = publish(hub, number);
    may_jump = 0;
    CHECK(error == HERALD_OK || error == HERALD_ERROR_RING_FULL);
    fate[number] = error == HERALD_OK ? ACCEPTED : REFUSED_FULL;
}

static void is_left(publish_function *publish, int when, size_t ring_bytes, uint32_t times)
{
    const char *path = path_of("evt");
    herald_hub_options options = hub_options();
    herald_event_sock_options server = sock_options(path);
    struct sigaction action;
    sigset_t all, before;
    pthread_t thread;
    herald_hub *hub;
    reader r;
    uint32_t n, refused = 0, accepted = 0;

    options.ring_bytes = ring_bytes;
    options.spin_us = when == AROUND_EACH ? 1 : 0;
    options.flush_ms = 3600 * 1000;
    server.queue_bytes = 1 << 30; /* only the ring refuses */
    hub = open_hub(&options);
    SAME(herald_hub_serve_event_sock(hub, &server), HERALD_OK);
    memset(&r, 0, sizeof r);
    r.c = subscribe(path, UP | LOST);
    r.seen = (unsigned char *)calloc(MOST, 1);
    fate = (unsigned char *)calloc(MOST, 1);
    CHECK(r.seen != NULL && fate != NULL);

    sigfillset(&all);
    sigemptyset(&no_signals);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    CHECK(pthread_create(&thread, NULL, read_all, &r) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);

    SAME(herald_hub_attach_thread(hub), HERALD_OK);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    number = abandoned = 0;
    signals = when;
    if (when == FREE_RUNNING) ring_in(100);
    while (abandoned < times && number < MOST - 2000) {
        if (when == AROUND_EACH) {
            uint32_t pause = some(400);
            while (pause-- > 0) sched_yield(); /* the worker falls asleep now and then */
            ring_in(some(12));
        }
        publish_or_be_left(hub, publish);
    }
    signals = AROUND_EACH;
    ring_in(0);
    action.sa_handler = SIG_IGN;
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(abandoned > 0);

    for (n = 0; n < 1000; n++) publish_or_be_left(hub, publish);
    CHECK(stats_of(hub).published > 0);
    close_hub(hub);
    CHECK(pthread_join(thread, NULL) == 0);
    close(r.c.fd);

    for (n = 1; n <= number; n++) {
        CHECK(fate[n] != NEVER);
        if (fate[n] == ACCEPTED) CHECK(r.seen[n]);
        if (fate[n] == REFUSED_FULL) CHECK(!r.seen[n]);
        accepted += fate[n] == ACCEPTED;
        refused += fate[n] == REFUSED_FULL;
    }
    CHECK(r.received >= accepted && r.received <= accepted + abandoned);
    CHECK(r.lost >= refused && r.lost <= refused + abandoned);
    CHECK(r.received + r.lost <= number);
    fprintf(stderr, "%u events: %u accepted, %u refused, %u abandoned; %u received, %u told as lost\n",
            (unsigned)number, accepted, refused, (unsigned)abandoned, r.received, r.lost);
    free(r.seen);
    free(fate);

    hub = open_hub(NULL); /* and all is well */
    serve(hub, path);
    r.c = subscribe(path, UP);
    SAME(publish_number(hub, 1), HERALD_OK);
    expect_number(&r.c, 1);
    close_hub(hub);
    expect_end(&r.c);
}

static void l2tp_events_abandoned_at_any_instruction(void)
{
    is_left(publish_number, FREE_RUNNING, 0, scaled(6000));
}

static void events_abandoned_at_any_instruction(void)
{
    is_left(publish_generic, FREE_RUNNING, 0, scaled(6000));
}

static void refusals_abandoned_at_any_instruction(void)
{
    is_left(publish_generic, FREE_RUNNING, 4096, scaled(6000));
}

static void wake_ups_abandoned_at_any_instruction(void)
{
    is_left(publish_number, AROUND_EACH, 0, scaled(2000));
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        {"l2tp_events_abandoned_at_any_instruction", l2tp_events_abandoned_at_any_instruction},
        {"events_abandoned_at_any_instruction", events_abandoned_at_any_instruction},
        {"refusals_abandoned_at_any_instruction", refusals_abandoned_at_any_instruction},
        {"wake_ups_abandoned_at_any_instruction", wake_ups_abandoned_at_any_instruction},
    };
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

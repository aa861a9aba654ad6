/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * testgovpp_host: a program that knows nothing of VPP and reports GTP errors to GoVPP and vpp_papi.
 *
 *     testgovpp_host [--socket PATH] [--api DIR] [--count N] [--size BYTES] [--rate PER_SECOND]
 *
 * It serves testgovpp.api, which is in DIR (c_examples/api by default), at PATH (/run/herald/api.sock
 * by default), and publishes an event, with BYTES of the packet that caused it (5 by default, up to
 * 255), PER_SECOND times (1 by default) while anybody has registered for it. It ends after N events (0
 * by default: never), or by SIGTERM or SIGINT. A rate of 0 is flat out.
 *
 * See examples/govpp and examples/vpp_papi for programs that listen.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "herald.h"

#define EVENT "cu_up_gtp_error_ind_event"

static volatile sig_atomic_t stopped;
static atomic_bool enabled = true;

static void stop(int signal)
{
    (void)signal;
    stopped = 1;
}

static void print_log(void *context, int32_t level, const char *message)
{
    (void)context;
    fprintf(stderr, "<%d> %s\n", level, message);
}

/* Says what went wrong, and where; the library knows the details. */
static void check(herald_error error, const char *what)
{
    if (error != HERALD_OK) {
        fprintf(stderr, "testgovpp_host: %s: %s: %s\n", what, herald_error_string(error),
                herald_last_error());
        exit(1);
    }
}

/* testgovpp_enable_disable: lets events flow, or not. Called on the library's thread. */
static void enable_disable(void *context, herald_request *request)
{
    herald_param enable;
    (void)context;
    if (herald_request_field(request, "enable_disable", &enable) == HERALD_OK)
        atomic_store(&enabled, enable.value.boolean);
    herald_request_reply(&request, 0, NULL, 0);
}

static herald_error publish(herald_vpp_api *api, uint64_t number, const void *packet, size_t size)
{
    herald_param params[] = {
        herald_param_string("type", "CU_UP_EVENT_GTP_ERROR_IND"),
        herald_param_uint("data.ue_id", number & 0xffffffff),
        herald_param_uint("data.te_id", 0xdeadbeef),
        herald_param_uint("data.rb_id", 5),
        herald_param_bytes("raw_msg_data", packet, size),
    };
    return herald_vpp_api_publish(api, EVENT, params, sizeof params / sizeof params[0]);
}

static bool anybody_listens(herald_vpp_api *api)
{
    uint32_t listeners = 0;
    check(herald_vpp_api_listeners(api, EVENT, &listeners), "herald_vpp_api_listeners");
    return listeners > 0 && atomic_load(&enabled);
}

static void doze(long microseconds)
{
    struct timespec moment = { microseconds / 1000000, microseconds % 1000000 * 1000 };
    nanosleep(&moment, NULL);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static unsigned long number_of(const char *option, const char *text, unsigned long most)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || number > most) {
        fprintf(stderr, "testgovpp_host: %s %s: it must be a number up to %lu\n", option, text, most);
        exit(2);
    }
    return number;
}

int main(int argc, char **argv)
{
    const char *socket = NULL, *directory = "c_examples/api";
    unsigned long count = 0, size = 5, rate = 1;
    for (int i = 1; i < argc; i += 2) {
        const char *option = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value && !strcmp(option, "--socket")) {
            socket = value;
        } else if (value && !strcmp(option, "--api")) {
            directory = value;
        } else if (value && !strcmp(option, "--count")) {
            count = number_of(option, value, LONG_MAX);
        } else if (value && !strcmp(option, "--size")) {
            size = number_of(option, value, 255);
        } else if (value && !strcmp(option, "--rate")) {
            rate = number_of(option, value, 1000000000);
        } else {
            fprintf(stderr, "usage: testgovpp_host [--socket PATH] [--api DIR] [--count N] "
                            "[--size BYTES] [--rate PER_SECOND]\n");
            return 2;
        }
    }
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = stop;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    herald_hub_options options = { 0 };
    options.size = sizeof options;
    options.log = print_log;
    herald_hub *hub = NULL;
    check(herald_hub_open(&options, &hub), "herald_hub_open");

    herald_handler handlers[] = { { "testgovpp_enable_disable", enable_disable, NULL } };
    herald_vpp_api_options served = { 0 };
    served.size = sizeof served;
    served.path = socket;
    served.api_directories = &directory;
    served.api_directories_count = 1;
    served.handlers = handlers;
    served.handlers_count = 1;
    herald_vpp_api *api = NULL;
    check(herald_hub_serve_vpp_api(hub, &served, &api), "herald_hub_serve_vpp_api");

    unsigned char packet[255];
    memset(packet, '0', sizeof packet);
    uint64_t published = 0, refused = 0, due = 0;
    double since = now();
    while (!stopped && (count == 0 || published + refused < count)) {
        if (!anybody_listens(api)) {
            doze(20000);
            since = now();
            due = 0;
            continue;
        }
        /* A hundred at once, or as many as are due by now. */
        uint64_t burst = rate == 0 ? 100 : (uint64_t)((now() - since) * (double)rate) + 1 - due;
        if (count != 0 && burst > count - published - refused)
            burst = count - published - refused;
        for (due += burst; burst > 0 && !stopped; burst--) {
            herald_error error = publish(api, published + refused, packet, size);
            if (error == HERALD_ERROR_RING_FULL) {
                refused++;
                doze(50);
            } else {
                check(error, "herald_vpp_api_publish");
                published++;
            }
        }
        if (rate != 0)
            doze(1000);
    }

    herald_stats stats = { 0 };
    stats.size = sizeof stats;
    check(herald_hub_stats(hub, &stats), "herald_hub_stats");
    check(herald_hub_close(&hub), "herald_hub_close");
    printf("published %llu, refused %llu, delivered %llu, dropped %llu\n", (unsigned long long)published,
           (unsigned long long)refused, (unsigned long long)stats.delivered,
           (unsigned long long)stats.dropped);
    return 0;
}

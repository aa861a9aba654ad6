/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * raise: what an event costs a SIP worker of OpenSIPS, with Herald and the stock way: build the
 * payload (for JSON with cJSON, as the core does), one sendto. One UDP subscriber, in a process of
 * its own. Both ways take turns; medians of the turns, and their quartiles.
 *
 *     raise LIBHERALD
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct { const char *s; int len; } str;
typedef struct param { int flags; union { int n; str s; } value; str name; struct param *next; } param;
typedef struct { int flags; param *first, *last; } params;
typedef struct {
    str proto;
    int (*raise)(void *, str *, void *, params *, void *);
    void *(*parse)(str);
    void *match, *free, *print;
    unsigned flags;
} transport;

/* The host's side: OpenSIPS 3.6, whose module description has 184 bytes. */
void *proto_udp_exports[23] = { "proto_udp", (void *)1, "opensips 3.6.8 (x86_64/linux)", "flags", "git", "0" };
static int level = -3;
int *log_level = &level;

static transport *udp;
int register_event_mod(transport *registered)
{
    if (registered->proto.len == 3)
        udp = registered;
    return 0;
}

enum { EVENTS = 2000, TURNS = 101 };
static param list[4];
static params event = { 0, &list[0], &list[3] };
static str name = { "E_PIKE_BLOCKED", 14 };
static struct sockaddr_in to;
static int out;

static void make_event(void)
{
    static const char *const names[] = { "ip", "method", "hits", "ua" };
    static const char *const values[] = { "192.168.2.11", "REGISTER", NULL, "friendly-scanner/1.0 (x86)" };
    for (int i = 0; i < 4; i++) {
        list[i].name = (str){ names[i], (int)strlen(names[i]) };
        list[i].flags = values[i] ? 2 : 1;
        if (values[i])
            list[i].value.s = (str){ values[i], (int)strlen(values[i]) };
        else
            list[i].value.n = 42;
        list[i].next = i < 3 ? &list[i + 1] : NULL;
    }
}

static int send_payload(const char *payload, size_t length)
{
    return sendto(out, payload, length, 0, (struct sockaddr *)&to, sizeof to) < 0 ? -1 : 0;
}

static int stock_text(void)
{
    static char buffer[65457];
    char *at = buffer;
    at = mempcpy(at, name.s, (size_t)name.len);
    *at++ = '\n';
    for (param *p = event.first; p; p = p->next) {
        at = mempcpy(at, p->name.s, (size_t)p->name.len);
        at = mempcpy(at, "::", 2);
        if (p->flags & 1) {
            at += sprintf(at, "%d", p->value.n);
        } else if (memchr(p->value.s.s, '\n', (size_t)p->value.s.len)) {
            abort(); /* there is none in this event */
        } else {
            at = mempcpy(at, p->value.s.s, (size_t)p->value.s.len);
        }
        *at++ = '\n';
    }
    *at++ = '\n';
    return send_payload(buffer, (size_t)(at - buffer));
}

static int stock_json(void)
{
    cJSON *object = cJSON_CreateObject(), *members = cJSON_CreateObject();
    cJSON_AddItemToObject(object, "jsonrpc", cJSON_CreateString("2.0"));
    cJSON_AddItemToObject(object, "method", cJSON_CreateString(name.s));
    for (param *p = event.first; p; p = p->next)
        cJSON_AddItemToObject(members, p->name.s, p->flags & 1 ? cJSON_CreateNumber(p->value.n)
                                                                : cJSON_CreateString(p->value.s.s));
    cJSON_AddItemToObject(object, "params", members);
    char *payload = cJSON_PrintUnformatted(object);
    int result = send_payload(payload, strlen(payload));
    free(payload);
    cJSON_Delete(object);
    return result;
}

static void *subscription;
static int herald(void)
{
    return udp->raise(NULL, &name, subscription, &event, NULL);
}

static double turn(int (*way)(void))
{
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < EVENTS; i++)
        if (way() != 0)
            abort();
    clock_gettime(CLOCK_MONOTONIC, &b);
    return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / EVENTS;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One format, in a process of its own: the module is initialised once. */
static void measure(const char *library, const char *format, int (*stock)(void))
{
    void *handle = dlopen(library, RTLD_NOW);
    void **exports = handle ? dlsym(handle, "exports") : NULL;
    if (!exports || !exports[18]) {
        fprintf(stderr, "raise: %s: %s\n", library, handle ? "it does not take this host" : dlerror());
        exit(1);
    }
    /* The first module parameter is the format; its third word says where it goes. */
    **(const char ***)((char *)exports[11] + 16) = format;
    int (*init)(void);
    memcpy(&init, &exports[18], sizeof init);
    if (init() != 0 || !udp)
        exit(1);

    char address[32];
    int length = sprintf(address, "127.0.0.1:%d", ntohs(to.sin_port));
    subscription = udp->parse((str){ address, length });
    double ours[TURNS], theirs[TURNS], ratios[TURNS];
    for (int i = 0; i < TURNS; i++) {
        theirs[i] = turn(stock);
        ours[i] = turn(herald);
        ratios[i] = ours[i] / theirs[i];
    }
    qsort(ours, TURNS, sizeof *ours, by_size);
    qsort(theirs, TURNS, sizeof *theirs, by_size);
    qsort(ratios, TURNS, sizeof *ratios, by_size);
    printf("| %s | %.0f (%.0f–%.0f) | %.0f (%.0f–%.0f) | %.2f |\n", format, ours[TURNS / 2], ours[TURNS / 4],
           ours[TURNS * 3 / 4], theirs[TURNS / 2], theirs[TURNS / 4], theirs[TURNS * 3 / 4], ratios[TURNS / 2]);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: raise LIBHERALD\n");
        return 2;
    }
    int in = socket(AF_INET, SOCK_DGRAM, 0);
    socklen_t size = sizeof to;
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(in, (struct sockaddr *)&to, size) < 0 || getsockname(in, (struct sockaddr *)&to, &size) < 0)
        return 1;
    pid_t reader = fork();
    if (reader == 0) {
        static char buffer[65536];
        while (recv(in, buffer, sizeof buffer, 0) >= 0)
            continue;
    }
    out = socket(AF_INET, SOCK_DGRAM, 0);
    make_event();
    printf("\n## OpenSIPS: what raise costs the SIP worker, ns per event, one UDP subscriber\n\n"
           "| format | Herald | stock way | ratio |\n| --- | --- | --- | --- |\n");
    fflush(stdout);
    int status = 0, failed = 0;
    for (int i = 0; i < 2; i++) {
        pid_t child = fork();
        if (child == 0) {
            measure(argv[1], i ? "json" : "text", i ? stock_json : stock_text);
            _exit(0);
        }
        waitpid(child, &status, 0);
        failed |= status;
    }
    kill(reader, SIGKILL);
    return failed != 0;
}

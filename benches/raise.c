/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * raise: what an event costs a SIP worker of OpenSIPS, with Herald and the stock way: build the
 * payload (for JSON with cJSON, as the core does), one sendto. One subscriber, a blocking recv in a
 * process of its own, that keeps up: as many events at a time as a unix socket holds, the next when
 * it has read them. Both ways take turns; medians of the turns, and their quartiles.
 *
 * Then four processes that raise flat out to 16 unix subscribers, of which one never reads.
 *
 *     raise LIBHERALD
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <cjson/cJSON.h>
#include <dlfcn.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct { const char *s; int len; } str;
typedef struct param { int flags; union { int n; str s; } value; str name; struct param *next; } param;
typedef struct { int flags; param *first, *last; } params;
typedef struct { unsigned flags; unsigned short port; str address; unsigned expire; long since; } sock;
typedef struct { const char *name; unsigned short flags; unsigned long (*function)(void *); } statistic;
typedef struct {
    str proto;
    int (*raise)(void *, str *, void *, params *, void *);
    sock *(*parse)(str);
    void *match, *free, *print;
    unsigned flags;
} transport;

/* The host's side: OpenSIPS 3.6, whose module description has 184 bytes. */
void *proto_udp_exports[23] = { "proto_udp", (void *)1, "opensips 3.6.8 (x86_64/linux)", "flags", "git", "0" };
static int level = -3;
int *log_level = &level;

static transport *udp, *unix_socket;
int register_event_mod(transport *registered)
{
    *(registered->proto.len == 3 ? &udp : &unix_socket) = registered;
    return 0;
}

enum { EVENTS = 2000, TURNS = 101, AT_ONCE = 8 };
static param list[4];
static params event = { 0, &list[0], &list[3] };
static str name = { "E_PIKE_BLOCKED", 14 };
static struct sockaddr *to;
static socklen_t to_size;
static int out;
/* How many events the subscriber has read. */
static long *seen;

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
    return sendto(out, payload, length, 0, to, to_size) < 0 ? -1 : 0;
}

static size_t build_text(char *buffer)
{
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
    return (size_t)(at - buffer);
}

static char buffer[65457];

static int stock_text(void)
{
    return send_payload(buffer, build_text(buffer));
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

static const transport *by;
static sock *subscription;
static int herald(void)
{
    return by->raise(NULL, &name, subscription, &event, NULL);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static long load_of(const long *number) { return __atomic_load_n(number, __ATOMIC_ACQUIRE); }

static double turn(int (*way)(void))
{
    double spent = 0;
    for (int i = 0; i < EVENTS; i += AT_ONCE) {
        long before = load_of(seen);
        double start = seconds();
        for (int n = 0; n < AT_ONCE; n++)
            if (way() != 0)
                abort();
        spent += seconds() - start;
        while (load_of(seen) < before + AT_ONCE)
            sched_yield();
    }
    return spent * 1e9 / EVENTS;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The module's description, initialised once in a process. */
static void **load(const char *library, const char *format)
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
    if (init() != 0 || !udp || !unix_socket)
        exit(1);
    return exports;
}

/* As the core subscribes: for an hour. */
static sock *subscribe(const transport *to, char *address)
{
    sock *made = to->parse((str){ address, (int)strlen(address) });
    if (!made)
        exit(1);
    made->expire = 3600;
    made->since = time(NULL);
    return made;
}

/* One format, in a process of its own. */
static void measure(const char *library, const char *format, int (*stock)(void), char *address)
{
    load(library, format);
    by = to->sa_family == AF_UNIX ? unix_socket : udp;
    subscription = subscribe(by, address);
    double ours[TURNS], theirs[TURNS], ratios[TURNS];
    for (int i = 0; i < TURNS; i++) {
        theirs[i] = turn(stock);
        ours[i] = turn(herald);
        ratios[i] = ours[i] / theirs[i];
    }
    qsort(ours, TURNS, sizeof *ours, by_size);
    qsort(theirs, TURNS, sizeof *theirs, by_size);
    qsort(ratios, TURNS, sizeof *ratios, by_size);
    printf("| %s, %s | %.0f (%.0f–%.0f) | %.0f (%.0f–%.0f) | %.2f |\n", by == udp ? "UDP" : "unix", format, ours[TURNS / 2], ours[TURNS / 4],
           ours[TURNS * 3 / 4], theirs[TURNS / 2], theirs[TURNS / 4], theirs[TURNS * 3 / 4], ratios[TURNS / 2]);
    fflush(stdout);
}

/* ---- four processes, 16 subscribers ---- */

enum { RAISERS = 4, SUBSCRIBERS = 16, READING = 15, BURST = 1000, BURSTS = 20 };
static struct { int started, done; long got; } *board;
static struct sockaddr_un at[SUBSCRIBERS];
static sock *listed[SUBSCRIBERS];

static void raise_bursts(int stock)
{
    int from = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    for (int burst = 1; burst <= BURSTS; burst++) {
        while (__atomic_load_n(&board->started, __ATOMIC_ACQUIRE) < burst)
            sched_yield();
        for (int n = 0; n < BURST; n++)
            for (int i = 0; i < SUBSCRIBERS; i++) {
                if (stock)
                    sendto(from, buffer, build_text(buffer), 0, (struct sockaddr *)&at[i], sizeof at[i]);
                else
                    unix_socket->raise(NULL, &name, listed[i], &event, NULL);
            }
        __atomic_fetch_add(&board->done, 1, __ATOMIC_RELEASE);
    }
    /* What waits stays with this process. */
    for (;;)
        pause();
}

static void read_all(const int *in)
{
    struct pollfd set[READING];
    for (int i = 0; i < READING; i++)
        set[i] = (struct pollfd){ in[i], POLLIN, 0 };
    while (poll(set, READING, -1) > 0)
        for (int i = 0; i < READING; i++)
            while (set[i].revents && recv(in[i], buffer, sizeof buffer, MSG_DONTWAIT) > 0)
                __atomic_fetch_add(&board->got, 1, __ATOMIC_RELEASE);
}

static unsigned long counted(void **exports, const char *wanted)
{
    for (const statistic *s = exports[12]; s->name; s++)
        if (strcmp(s->name, wanted) == 0)
            return s->function(NULL);
    abort();
}

static void fan_out(const char *library, const char *directory, int stock)
{
    int in[SUBSCRIBERS];
    pid_t children[RAISERS + 1];
    void **exports = load(library, "text");
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < SUBSCRIBERS; i++) {
        at[i].sun_family = AF_UNIX;
        snprintf(at[i].sun_path, sizeof at[i].sun_path, "%s/%d", directory, i);
        unlink(at[i].sun_path);
        in[i] = socket(AF_UNIX, SOCK_DGRAM, 0);
        if (bind(in[i], (struct sockaddr *)&at[i], sizeof at[i]) < 0)
            exit(1);
        listed[i] = subscribe(unix_socket, at[i].sun_path);
    }
    for (int i = 0; i <= RAISERS; i++)
        if ((children[i] = fork()) == 0) {
            i < RAISERS ? raise_bursts(stock) : read_all(in);
            _exit(1);
        }

    const long all = (long)BURSTS * RAISERS * BURST * READING;
    double busy = 0;
    for (int burst = 1; burst <= BURSTS; burst++) {
        double start = seconds(), last = start;
        long seen = load_of(&board->got), now;
        __atomic_store_n(&board->started, burst, __ATOMIC_RELEASE);
        /* Until all is here, or nothing more comes for a second after the last event was raised. */
        while ((now = load_of(&board->got)) < (long)burst * RAISERS * BURST * READING) {
            if (now != seen || __atomic_load_n(&board->done, __ATOMIC_ACQUIRE) < burst * RAISERS)
                seen = now, last = seconds();
            else if (seconds() - last > 1)
                break;
            usleep(100);
        }
        busy += last - start;
    }
    long got = load_of(&board->got);
    printf("| %s | %.0f | %.1f %% |", stock ? "stock way" : "Herald", (double)got / busy,
           100 * (double)(all - got) / (double)all);
    if (stock)
        printf(" none |\n");
    else
        printf(" sent %lu, dropped %lu, waiting %lu |\n", counted(exports, "sent") - (unsigned long)got,
               counted(exports, "dropped"),
               counted(exports, "raised") - counted(exports, "sent") - counted(exports, "dropped"));
    fflush(stdout);
    for (int i = 0; i <= RAISERS; i++)
        kill(children[i], SIGKILL);
    for (int i = 0; i < SUBSCRIBERS; i++)
        unlink(at[i].sun_path);
}

/* A child's exit status. */
static int child(void)
{
    int status;
    return wait(&status) < 0 ? -1 : status;
}

/* Both formats to a subscriber that is read until it is killed. */
static int one_subscriber(const char *library, int in, char *address)
{
    int failed = 0;
    pid_t reader = fork();
    while (reader == 0 && recv(in, buffer, sizeof buffer, 0) >= 0)
        __atomic_fetch_add(seen, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 2; i++) {
        if (fork() == 0) {
            measure(library, i ? "json" : "text", i ? stock_json : stock_text, address);
            _exit(0);
        }
        failed |= child();
    }
    kill(reader, SIGKILL);
    child();
    return failed;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: raise LIBHERALD\n");
        return 2;
    }
    char directory[] = "/tmp/raise.XXXXXX", address[64];
    if (!mkdtemp(directory))
        return 1;
    make_event();
    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    printf("\n## OpenSIPS: what raise costs the SIP worker, ns per event, one subscriber\n\n"
           "| subscriber, format | Herald | stock way | ratio |\n| --- | --- | --- | --- |\n");
    fflush(stdout);

    struct sockaddr_in port = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int in = socket(AF_INET, SOCK_DGRAM, 0);
    to = (struct sockaddr *)&port;
    to_size = sizeof port;
    if (bind(in, to, to_size) < 0 || getsockname(in, to, &to_size) < 0)
        return 1;
    out = socket(AF_INET, SOCK_DGRAM, 0);
    sprintf(address, "127.0.0.1:%d", ntohs(port.sin_port));
    int failed = one_subscriber(argv[1], in, address);

    struct sockaddr_un path = { .sun_family = AF_UNIX };
    sprintf(path.sun_path, "%s/one", directory);
    in = socket(AF_UNIX, SOCK_DGRAM, 0);
    to = (struct sockaddr *)&path;
    to_size = sizeof path;
    if (bind(in, to, to_size) < 0)
        return 1;
    out = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    failed |= one_subscriber(argv[1], in, path.sun_path);
    unlink(path.sun_path);

    printf("\n## OpenSIPS: %d processes raise flat out to %d unix subscribers, one stuck; bursts of %d events\n\n"
           "| way | deliveries/s | lost at the %d others | counted of the stuck one |\n| --- | --- | --- | --- |\n",
           RAISERS, SUBSCRIBERS, BURST, READING);
    fflush(stdout);
    for (int stock = 0; stock < 2; stock++) {
        if (fork() == 0) {
            fan_out(argv[1], directory, stock);
            _exit(0);
        }
        failed |= child();
    }
    rmdir(directory);
    return failed != 0;
}

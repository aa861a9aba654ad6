/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What the C tests share. They compile as C99 and as C++17, and know nothing of the library but
 * herald.h. A program is called with the name of a case, or "all", and an empty directory.
 *
 * Nothing waits for a time to pass: everything waits for something to happen, and whoever
 * started the program kills it when that does not happen.
 */
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "herald.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* ---- failing ---- */

#define CHECK(condition) \
    do { \
        if (!(condition)) check_failed(__FILE__, __LINE__, #condition); \
    } while (0)

/* Two numbers are the same. */
#define SAME(found, expected) \
    check_same(__FILE__, __LINE__, #found " == " #expected, (long long)(found), (long long)(expected))

/* A call is answered with this error, and herald_last_error() names the argument. */
#define REFUSED(call, error, argument) \
    do { \
        SAME(call, error); \
        check_named(__FILE__, __LINE__, #call, argument); \
    } while (0)

static inline void check_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: not true: %s; errno: %s; herald_last_error(): \"%s\"\n", file, line, what,
            strerror(errno), herald_last_error());
    fflush(stderr);
    _exit(1);
}

static inline void check_same(const char *file, int line, const char *what, long long found,
                              long long expected)
{
    if (found == expected) return;
    fprintf(stderr, "%s:%d: found %lld, expected %lld\n", file, line, found, expected);
    check_failed(file, line, what);
}

static inline void check_named(const char *file, int line, const char *call, const char *argument)
{
    if (strstr(herald_last_error(), argument) != NULL) return;
    fprintf(stderr, "%s:%d: the error does not name \"%s\"\n", file, line, argument);
    check_failed(file, line, call);
}

/* ---- cases ---- */

typedef struct test {
    const char *name;
    void (*run)(void);
} test;

static const char *test_directory;

/* A path in the directory of this case; valid until the eighth call after this. */
static inline const char *path_of(const char *name)
{
    static char paths[8][256];
    static unsigned next;
    char *path = paths[next++ % 8];
    CHECK(snprintf(path, sizeof paths[0], "%s/%s", test_directory, name) < (int)sizeof paths[0]);
    return path;
}

/* How often something is to be repeated: less under valgrind. */
static inline unsigned scaled(unsigned count)
{
    const char *divisor = getenv("HERALD_TEST_DIVISOR");
    unsigned less = divisor != NULL ? count / (unsigned)atoi(divisor) : count;
    return less > 10 ? less : 10;
}

static inline int run_tests(int argc, char **argv, const test *tests, size_t count)
{
    size_t i, ran = 0;
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        for (i = 0; i < count; i++) puts(tests[i].name);
        return 0;
    }
    if (argc < 3) {
        fprintf(stderr, "usage: %s list | all DIRECTORY | CASE... DIRECTORY\n", argv[0]);
        return 2;
    }
    for (i = 0; i < count; i++) {
        bool wanted = strcmp(argv[1], "all") == 0;
        char directory[200];
        int a;
        for (a = 1; a < argc - 1; a++) wanted = wanted || strcmp(argv[a], tests[i].name) == 0;
        if (!wanted) continue;
        snprintf(directory, sizeof directory, "%s/%s", argv[argc - 1], tests[i].name);
        CHECK(mkdir(directory, 0755) == 0);
        test_directory = directory;
        fprintf(stderr, "case %s\n", tests[i].name);
        tests[i].run();
        ran++;
    }
    return ran > 0 ? 0 : 2;
}

/* Ends a forked child well. Its copy of what its parent's threads had is lost by nature; valgrind,
 * which would say so at any exit, does not follow into another program. */
static inline void leave_child(void)
{
    execl("/bin/true", "true", (char *)NULL);
    _exit(0);
}

/* ---- hubs ---- */

static inline herald_hub *open_hub(const herald_hub_options *options)
{
    herald_hub *hub = NULL;
    SAME(herald_hub_open(options, &hub), HERALD_OK);
    CHECK(hub != NULL);
    return hub;
}

static inline void close_hub(herald_hub *hub)
{
    SAME(herald_hub_close(&hub), HERALD_OK);
    CHECK(hub == NULL);
}

static inline herald_hub_options hub_options(void)
{
    herald_hub_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    return options;
}

static inline herald_event_sock_options sock_options(const char *path)
{
    herald_event_sock_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.path = path;
    return options;
}

static inline void serve(herald_hub *hub, const char *path)
{
    herald_event_sock_options options = sock_options(path);
    SAME(herald_hub_serve_event_sock(hub, &options), HERALD_OK);
}

static inline herald_stats stats_of(herald_hub *hub)
{
    herald_stats stats;
    memset(&stats, 0, sizeof stats);
    stats.size = sizeof stats;
    SAME(herald_hub_stats(hub, &stats), HERALD_OK);
    return stats;
}

/* Publishes the event number `number` of a flood: it carries the number twice. */
static inline herald_error publish_number(herald_hub *hub, uint32_t number)
{
    return herald_publish_l2tp(hub, HERALD_L2TP_SESSION_UP, (uint16_t)(number >> 16), (uint16_t)number,
                               (uint16_t)~(number >> 16), (uint16_t)~number);
}

/* Lets others run between two looks at something that is about to change. */
static inline void look_again(void)
{
    poll(NULL, 0, 1);
}

#define WAIT_UNTIL(condition) \
    do { \
        while (!(condition)) look_again(); \
    } while (0)

/* ---- clients of the event socket; the bytes are written down from the protocol's document ---- */

#define UP 0x0004
#define DOWN 0x0008
#define LOST 0x8000

typedef struct client {
    int fd;
    size_t have, taken;
    unsigned char bytes[16384];
} client;

typedef struct frame {
    uint16_t event, length, id[4];
    uint32_t lost;
} frame;

/* What does not arrive within this time does not arrive. */
static inline void be_patient(int fd)
{
    struct timeval patience = {60, 0};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
}

static inline int try_connect(const char *path)
{
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    be_patient(fd);
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    CHECK(strlen(path) < sizeof address.sun_path);
    strcpy(address.sun_path, path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    close(fd);
    return -1;
}

/* Sends a request and waits until it has been read: what is published from then on is published
 * knowing it. */
static inline void send_request(int fd, uint16_t mask, uint16_t length)
{
    unsigned char request[5];
    int unread = 1;
    memcpy(request, &mask, 2);
    memcpy(request + 2, &length, 2);
    request[4] = 1;
    SAME(send(fd, request, sizeof request, MSG_NOSIGNAL), (int)sizeof request);
    while (unread > 0) {
        CHECK(ioctl(fd, TIOCOUTQ, &unread) == 0);
        if (unread > 0) look_again();
    }
}

static inline client subscribe(const char *path, uint16_t mask)
{
    client c;
    memset(&c, 0, sizeof c);
    c.fd = try_connect(path);
    CHECK(c.fd >= 0);
    send_request(c.fd, mask, 1);
    return c;
}

/* Takes the next frame, and checks that it is well-formed; false at the end of the stream. */
static inline bool next_frame(client *c, frame *found)
{
    memset(found, 0, sizeof *found);
    for (;;) {
        unsigned char *at = c->bytes + c->taken;
        size_t left = c->have - c->taken;
        ssize_t got;
        if (left >= 4) {
            memcpy(&found->event, at, 2);
            memcpy(&found->length, at + 2, 2);
            CHECK(found->length <= 8 && found->length % 2 == 0);
            if (left >= 4u + found->length) break;
        }
        memmove(c->bytes, at, left);
        c->have = left;
        c->taken = 0;
        got = read(c->fd, c->bytes + left, sizeof c->bytes - left);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            CHECK(got == 0 || errno == ECONNRESET);
            CHECK(left == 0 || !"a torn frame at the end of the stream");
            return false;
        }
        c->have += (size_t)got;
    }
    memcpy(found->id, c->bytes + c->taken + 4, found->length);
    if (found->event == LOST) {
        SAME(found->length, 4);
        memcpy(&found->lost, c->bytes + c->taken + 4, 4);
        CHECK(found->lost > 0);
    }
    if (found->event == UP) SAME(found->length, 8);
    c->taken += 4u + found->length;
    return true;
}

/* The number that publish_number() put into an event. */
static inline uint32_t number_of(const frame *found)
{
    SAME(found->event, UP);
    SAME(found->id[2], (uint16_t)~found->id[0]);
    SAME(found->id[3], (uint16_t)~found->id[1]);
    return (uint32_t)found->id[0] << 16 | found->id[1];
}

/* The next frame is the event of this number. */
static inline void expect_number(client *c, uint32_t number)
{
    frame found;
    CHECK(next_frame(c, &found));
    SAME(number_of(&found), number);
}

static inline void expect_end(client *c)
{
    frame found;
    CHECK(!next_frame(c, &found));
    close(c->fd);
}

/* ---- what this process has ---- */

typedef struct footprint {
    long fds, threads, rss_kb;
} footprint;

static inline footprint measure(void)
{
    footprint found = {-3, 0, 0}; /* not counting ".", ".." and the directory itself */
    char line[128];
    FILE *status = fopen("/proc/self/status", "re");
    DIR *directory = opendir("/proc/self/fd");
    CHECK(status != NULL && directory != NULL);
    found.fds--; /* nor `status` */
    while (readdir(directory) != NULL) found.fds++;
    closedir(directory);
    while (fgets(line, sizeof line, status) != NULL) {
        if (sscanf(line, "Threads: %ld", &found.threads) == 1) continue;
        if (sscanf(line, "VmRSS: %ld", &found.rss_kb) == 1) continue;
    }
    fclose(status);
    return found;
}

/* Nothing has come to stay since. A thread that was joined may still be leaving the kernel; the
 * memory of a tool that watches us says nothing. */
static inline void leaks_nothing_since(footprint before, long rss_kb)
{
    WAIT_UNTIL(measure().threads <= before.threads);
    SAME(measure().fds, before.fds);
    CHECK(getenv("HERALD_TEST_DIVISOR") != NULL || measure().rss_kb - before.rss_kb < rss_kb);
}

#endif

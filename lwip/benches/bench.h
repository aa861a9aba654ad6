/* SPDX-License-Identifier: MIT OR Apache-2.0
 * What the benchmarks share. Each is a program that prints rows:
 *
 *     what                                          MB/s   ns of CPU per byte
 *
 * CPU is that of all processes that take part, user and system. What arrives is compared with what was
 * sent, within the time that is measured. */
#ifndef BENCH_H
#define BENCH_H

#include "linux.h"

#include <sys/resource.h>
#include <sys/syscall.h>

/* ---- measuring ---- */

static inline void woken(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
}

/* Runs the loop until a child has ended, well; its end wakes the loop up. */
static inline void loop_until_ended(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0), status;
    struct event *event = event_new(base, fd, EV_READ, woken, NULL);
    CHECK(fd >= 0 && event != NULL && event_add(event, NULL) == 0);
    LOOP_UNTIL(waitpid(pid, &status, WNOHANG) == pid);
    event_free(event);
    close(fd);
    SAME(status, 0);
}

typedef struct result {
    double mb_per_s, ns_per_byte;
} result;

static inline double cpu_of(int who)
{
    struct rusage usage;
    CHECK(getrusage(who, &usage) == 0);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Runs something in processes of its own, and says how long it took and what CPU it and its children had:
 * `run` returns when `bytes` have arrived, and its children have been waited for. */
static inline result measure(void (*run)(size_t bytes), size_t bytes)
{
    double start = now(), cpu = cpu_of(RUSAGE_CHILDREN);
    result found;
    pid_t pid = fork();
    if (pid == 0) {
        run(bytes);
        _exit(0);
    }
    join_peer(pid);
    found.mb_per_s = (double)bytes / (now() - start) / 1e6;
    found.ns_per_byte = (cpu_of(RUSAGE_CHILDREN) - cpu) * 1e9 / (double)bytes;
    return found;
}

static inline void row(const char *what, result r)
{
    printf("%-44s %8.0f %8.2f\n", what, r.mb_per_s, r.ns_per_byte);
    fflush(stdout);
}

/* Measures two ways in turn, prints the best of each (others only make it slower), and their ratio. */
static inline void compare(const char *one, void (*run_one)(size_t), const char *other,
                           void (*run_other)(size_t), size_t bytes, double aim)
{
    result best[2] = {{0, 0}, {0, 0}};
    int round, which;
    for (round = 0; round < 4; round++) {
        for (which = 0; which < 2; which++) {
            result r = measure(which == 0 ? run_one : run_other, bytes);
            if (r.mb_per_s > best[which].mb_per_s) best[which] = r;
        }
    }
    row(one, best[0]);
    row(other, best[1]);
    printf("%-44s %8.2f   (aim: %.1f)\n", "  ratio", best[1].mb_per_s / best[0].mb_per_s, aim);
    fflush(stdout);
}

#endif

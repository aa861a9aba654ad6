/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * slirpif against slirp4netns: one TCP connection to a server at the host's loopback, each way, at MTU 1500,
 * every byte compared; what everybody but the server takes of the processor; and how long it takes to learn
 * that a connection is refused. The host is a network namespace; slirp4netns has another one, whose TCP is
 * the kernel's. Each figure is the median of three runs. */
#include "linux.h"

#include <sched.h>
#include <sys/resource.h>

#define BYTES (256u << 20)
#define RUNS 3
#define PORT 7000
#define CLOSED 7001

static bool up;

static void serve(int listener)
{
    int fd = accept(listener, NULL, NULL);
    char byte;
    CHECK(fd >= 0);
    if (up) {
        kernel_receive(fd, BYTES);
        kernel_send(fd, 1);
    } else {
        kernel_send(fd, BYTES);
    }
    CHECK(recv(fd, &byte, 1, 0) == 0);
}

/* ---- one measurement ---- */

typedef struct figures {
    double seconds, cpu, refused;
} figures;

static double cpu_of(int who)
{
    struct rusage u;
    CHECK(getrusage(who, &u) == 0);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec)
           + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void by_slirpif(figures *result)
{
    struct netif *netif;
    stream s;
    double start, cpu;
    start_stack();
    netif = slirpif_add(base);
    CHECK(netif != NULL);
    netif_set_default(netif);
    netif_set_up(netif);
    stream_connect(&s, "10.0.2.2", PORT, 0);
    LOOP_UNTIL(s.connected);
    start = now(), cpu = cpu_of(RUSAGE_SELF);
    s.want = up ? BYTES : 0;
    stream_fill(&s);
    LOOP_UNTIL(s.received == (up ? 1 : BYTES));
    result->seconds = now() - start, result->cpu = cpu_of(RUSAGE_SELF) - cpu;
    stream_close(&s);
    start = now();
    stream_connect(&s, "10.0.2.2", CLOSED, 0);
    LOOP_UNTIL(s.error != ERR_OK);
    result->refused = now() - start;
    SAME(s.error, ERR_RST);
    LOOP_UNTIL(tcp_active_pcbs == NULL);
    stop_stack();
}

/* In a namespace of its own, for which slirp4netns is started. */
static void by_kernel(int fd, figures *result)
{
    struct sockaddr_storage closed;
    socklen_t length = kernel_address("10.0.2.2", CLOSED, &closed);
    int tcp;
    double start, cpu;
    char byte = 0;
    CHECK(unshare(CLONE_NEWNET) == 0);
    SAME(write(fd, &byte, 1), 1);
    SAME(read(fd, &byte, 1), 1);
    tcp = kernel_connected("10.0.2.2", PORT, SOCK_STREAM);
    start = now(), cpu = cpu_of(RUSAGE_SELF);
    if (up) {
        kernel_send(tcp, BYTES);
        SAME(recv(tcp, &byte, 1, 0), 1);
    } else {
        kernel_receive(tcp, BYTES);
    }
    result->seconds = now() - start, result->cpu = cpu_of(RUSAGE_SELF) - cpu;
    close(tcp);
    tcp = socket(AF_INET, SOCK_STREAM, 0);
    start = now();
    CHECK(connect(tcp, (struct sockaddr *)&closed, length) == -1);
    result->refused = now() - start;
}

static void by_slirp4netns(figures *result)
{
    int client[2], ready[2], exit_at[2];
    pid_t client_pid, pid;
    char byte, ready_text[40], exit_text[40], pid_text[40];
    struct rusage usage;
    int status;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, client) == 0 && pipe(ready) == 0 && pipe(exit_at) == 0);
    client_pid = fork();
    CHECK(client_pid >= 0);
    if (client_pid == 0) {
        figures mine;
        close(exit_at[1]);
        by_kernel(client[1], &mine);
        SAME(write(client[1], &mine, sizeof mine), sizeof mine);
        _exit(0);
    }
    SAME(read(client[0], &byte, 1), 1);
    snprintf(ready_text, sizeof ready_text, "--ready-fd=%d", ready[1]);
    snprintf(exit_text, sizeof exit_text, "--exit-fd=%d", exit_at[0]);
    snprintf(pid_text, sizeof pid_text, "%d", client_pid);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        close(exit_at[1]);
        dup2(null, 1), dup2(null, 2);
        execlp("slirp4netns", "slirp4netns", "--configure", "--mtu=1500", ready_text, exit_text, pid_text,
               "tap0", (char *)NULL);
        _exit(127);
    }
    close(ready[1]);
    CHECK(read(ready[0], &byte, 1) == 1);
    SAME(write(client[0], &byte, 1), 1);
    SAME(read(client[0], result, sizeof *result), sizeof *result);
    SAME(waitpid(client_pid, &status, 0), client_pid);
    SAME(status, 0);
    close(exit_at[1]);
    SAME(wait4(pid, &status, 0, &usage), pid);
    result->cpu += (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
                   + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    close(client[0]), close(client[1]), close(ready[0]), close(exit_at[0]);
}

/* In a process of its own, beside a server. */
static figures measure(void (*by)(figures *))
{
    figures result;
    int fds[2], listener = kernel_bound("127.0.0.1", PORT, SOCK_STREAM);
    pid_t server = peer(serve, listener), pid;
    close(listener);
    CHECK(pipe(fds) == 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        by(&result);
        SAME(write(fds[1], &result, sizeof result), sizeof result);
        _exit(0);
    }
    close(fds[1]);
    SAME(read(fds[0], &result, sizeof result), sizeof result);
    close(fds[0]);
    join_peer(pid);
    join_peer(server);
    return result;
}

static int by_seconds(const void *a, const void *b)
{
    double difference = ((const figures *)a)->seconds - ((const figures *)b)->seconds;
    return (difference > 0) - (difference < 0);
}

static figures median(const char *name, void (*by)(figures *))
{
    figures all[RUNS];
    unsigned i;
    for (i = 0; i < RUNS; i++) all[i] = measure(by);
    qsort(all, RUNS, sizeof all[0], by_seconds);
    printf("%-44s %8.0f %8.2f\n", name, BYTES / all[RUNS / 2].seconds / 1e6,
           all[RUNS / 2].cpu * 1e9 / BYTES);
    fflush(stdout);
    return all[RUNS / 2];
}

int main(void)
{
    figures ours, theirs;
    signal(SIGPIPE, SIG_IGN);
    if (unshare(CLONE_NEWNET) != 0) {
        puts("skipped: slirpif against slirp4netns: no network namespaces here");
        return 0;
    }
    loopback_up();
    for (up = true;; up = false) {
        ours = median(up ? "slirpif, lwIP to host" : "slirpif, host to lwIP", by_slirpif);
        theirs = median(up ? "slirp4netns, guest to host" : "slirp4netns, host to guest", by_slirp4netns);
        printf("%-44s %7.1fx (aim: 2), %.1fx of the processor\n", "", theirs.seconds / ours.seconds,
               ours.cpu / theirs.cpu);
        if (!up) break;
    }
    printf("%-44s %8.2f ms (aim: below 50); slirp4netns %.2f ms\n", "refused after", ours.refused * 1e3,
           theirs.refused * 1e3);
    return 0;
}

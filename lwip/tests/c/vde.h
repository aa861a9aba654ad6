/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Debian's VDE programs, and a VDE client that does only what it is told to. */
#ifndef VDE_H
#define VDE_H

#include "lab.h"

#include <dirent.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/un.h>

/* ---- programs ---- */

typedef struct process {
    pid_t pid;
    int in, out; /* its standard input and output */
} process;

/* Ends with us: what it reads from us ends, and it is killed if we are. */
static inline process start_process(const char *const *words)
{
    process p;
    int in[2], out[2];
    CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    p.pid = fork();
    CHECK(p.pid >= 0);
    if (p.pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execvp(words[0], (char *const *)words);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    p.in = in[1];
    p.out = out[0];
    return p;
}

static inline void end_process(process *p)
{
    CHECK(kill(p->pid, SIGKILL) == 0);
    SAME(waitpid(p->pid, NULL, 0), p->pid);
    close(p->in);
    close(p->out);
}

static inline process start_vde_switch(const char *directory)
{
    const char *words[] = {"vde_switch", "--sock", directory, NULL};
    process p = start_process(words);
    struct sockaddr_un a;
    double end = now() + SOON;
    memset(&a, 0, sizeof a);
    a.sun_family = AF_UNIX;
    snprintf(a.sun_path, sizeof a.sun_path, "%s/ctl", directory);
    for (;;) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int connected = connect(fd, (struct sockaddr *)&a, sizeof a);
        close(fd);
        if (connected == 0) return p;
        CHECK(now() < end);
        CHECK(waitpid(p.pid, NULL, WNOHANG) == 0);
        poll(NULL, 0, 2);
    }
}

/* Copies frames between its standard input and output, each after its length, and a switch. */
static inline process start_vde_plug(const char *switch_directory)
{
    const char *words[] = {"vde_plug", switch_directory, NULL};
    return start_process(words);
}

static inline void plug_send(process *p, const unsigned char *frame, size_t length)
{
    unsigned char bytes[2048] = {(unsigned char)(length >> 8), (unsigned char)length};
    memcpy(bytes + 2, frame, length);
    SAME(write(p->in, bytes, length + 2), length + 2);
}

/* ---- frames ---- */

/* From the address 02:00:00:00:00:FROM to such a one, or to all if it is 255; with a number in it. */
static inline size_t make_frame(unsigned char *frame, unsigned to, unsigned from, unsigned number)
{
    memset(frame, to == 255 ? 255 : 0, 6);
    memset(frame + 6, 0, 54);
    if (to != 255) frame[0] = 2, frame[5] = (unsigned char)to;
    frame[6] = 2, frame[11] = (unsigned char)from;
    frame[12] = 0x88, frame[13] = 0xb5; /* for experiments */
    memcpy(frame + 14, &number, sizeof number);
    return 60;
}

/* The number in a frame of make_frame(), or -1: of lwIP's own frames. */
static inline long frame_number(const unsigned char *frame, size_t length)
{
    unsigned number;
    if (length < 18 || frame[12] != 0x88 || frame[13] != 0xb5) return -1;
    memcpy(&number, frame + 14, sizeof number);
    return (long)number;
}

/* ---- a client ---- */

typedef struct raw_client {
    int stream, data;
    char path[108];
} raw_client;

/* Names a datagram socket, and connects to the switch. */
static inline void raw_connect(raw_client *c, const char *directory)
{
    static unsigned next = 50000; /* others in this process begin at 0 */
    struct sockaddr_un a;
    memset(&a, 0, sizeof a);
    a.sun_family = AF_UNIX;
    c->stream = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    c->data = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(snprintf(c->path, sizeof c->path, "%s/.%d-%05u", directory, getpid(), next++) < 108);
    memcpy(a.sun_path, c->path, sizeof c->path);
    CHECK(bind(c->data, (struct sockaddr *)&a, sizeof a) == 0);
    CHECK(snprintf(a.sun_path, sizeof a.sun_path, "%s/ctl", directory) < 108);
    CHECK(connect(c->stream, (struct sockaddr *)&a, sizeof a) == 0);
    CHECK(fcntl(c->stream, F_SETFL, O_NONBLOCK) == 0);
}

/* What libvdeplug sends, with a path. */
static inline size_t raw_request(unsigned char *bytes, const char *path)
{
    const uint32_t words[3] = {0xfeedface, 3, 0};
    const uint16_t family = AF_UNIX;
    memset(bytes, 0, 122);
    memcpy(bytes, words, 12);
    memcpy(bytes + 12, &family, 2);
    memcpy(bytes + 14, path, strlen(path));
    memcpy(bytes + 122, "test", 4);
    return 126;
}

static inline void raw_ask(raw_client *c, const char *path)
{
    unsigned char bytes[256];
    size_t length = raw_request(bytes, path);
    SAME(write(c->stream, bytes, length), length);
}

/* The answer: 1 if there is a port, 0 if it is refused; -1 while there is none. */
static inline int raw_answer(raw_client *c)
{
    struct sockaddr_un a;
    ssize_t length = read(c->stream, &a, sizeof a);
    if (length == -1 && errno == EAGAIN) return -1;
    if (length <= 0) return 0;
    SAME(length, sizeof a);
    CHECK(connect(c->data, (struct sockaddr *)&a, sizeof a) == 0);
    return 1;
}

static inline void raw_join(raw_client *c, const char *directory)
{
    int answer;
    raw_connect(c, directory);
    raw_ask(c, c->path);
    LOOP_UNTIL((answer = raw_answer(c)) != -1);
    SAME(answer, 1);
}

/* The number of the next frame of make_frame(); -1 if there is none now. */
static inline long raw_next(raw_client *c)
{
    unsigned char frame[2048];
    for (;;) {
        ssize_t length = recv(c->data, frame, sizeof frame, 0);
        long number;
        if (length == -1) return -1;
        if ((number = frame_number(frame, (size_t)length)) >= 0) return number;
    }
}

static inline void raw_frame(raw_client *c, unsigned to, unsigned from, unsigned number)
{
    unsigned char frame[64];
    size_t length = make_frame(frame, to, from, number);
    SAME(send(c->data, frame, length, 0), length);
}

static inline void raw_leave(raw_client *c)
{
    close(c->stream);
    close(c->data);
    unlink(c->path);
}

/* ---- our switch ---- */

static inline struct herald_vdeswitchif_counters switched(struct netif *netif)
{
    struct herald_vdeswitchif_counters counters;
    memset(&counters, 0, sizeof counters);
    counters.size = sizeof counters;
    SAME(herald_vdeswitchif_get_counters(netif, &counters), 0);
    return counters;
}

/* A switch whose lwIP says nothing by itself. */
static inline struct netif *start_switch(const char *directory)
{
    struct netif *netif;
    start_stack();
    netif = vdeswitchif_add(base, directory);
    CHECK(netif != NULL);
    return netif;
}

/* One is told to go on by a byte, and says so when it is there, or has finished. */
static inline int let_go_on(int fd)
{
    SAME(write(fd, "", 1), 1);
    CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    return fd;
}

/* ---- files ---- */

/* Entries of a directory; -1 if there is none. */
static inline int entries(const char *directory)
{
    DIR *d = opendir(directory);
    struct dirent *e;
    int count = 0;
    if (d == NULL) return -1;
    while ((e = readdir(d)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) count++;
    closedir(d);
    return count;
}

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0
 * The examples lwip_echo and lwip_gateway, as programs of their own: $EXAMPLE. The hosts are the kernel's. */
#include "lab.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>

#define BYTES 300000u

/* ---- programs ---- */

/* Starts a program that ends with us; returns its standard output. */
static int start(pid_t *pid, char *const *words)
{
    int out[2], null;
    SAME(pipe2(out, O_CLOEXEC), 0);
    *pid = fork();
    CHECK(*pid >= 0);
    if (*pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        /* What reads commands waits for some. */
        null = open("/dev/ptmx", O_RDWR | O_NOCTTY);
        dup2(null, 0);
        dup2(out[1], 1);
        execvp(words[0], words);
        _exit(127);
    }
    close(out[1]);
    return out[0];
}

static pid_t example;

/* Starts the example; returns when it has said that it serves. */
static void start_example(char *const *arguments)
{
    char *words[20] = {getenv("EXAMPLE")};
    char line[200];
    size_t i;
    int out;
    CHECK(words[0] != NULL);
    for (i = 0; arguments[i] != NULL; i++) words[i + 1] = arguments[i];
    out = start(&example, words);
    for (i = 0; i == 0 || line[i - 1] != '\n'; i++) {
        CHECK(i < sizeof line);
        SAME(read(out, line + i, 1), 1);
    }
}

static void end_example(void)
{
    int status;
    SAME(kill(example, SIGTERM), 0);
    SAME(waitpid(example, &status, 0), example);
    SAME(status, 0);
}

static void command(const char *text)
{
    if (system(text) != 0) check_failed(__FILE__, __LINE__, text);
}

static void kernel_has(const char *device)
{
    char text[256];
    snprintf(text, sizeof text, "ip address add 10.17.0.2/24 dev %s && ip address add fd17::2/64 dev %s nodad"
             " && ip link set %s up", device, device, device);
    command(text);
}

/* ---- the local socket: sends back what comes ---- */

static void serve(int listener)
{
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        CHECK(fd >= 0);
        if (fork() == 0) {
            char bytes[4096];
            ssize_t length;
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            while ((length = read(fd, bytes, sizeof bytes)) > 0) {
                if (write(fd, bytes, (size_t)length) != length) _exit(1);
            }
            _exit(0);
        }
        close(fd);
    }
}

static pid_t server;

static void start_server(void)
{
    struct sockaddr_un a;
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    memset(&a, 0, sizeof a);
    a.sun_family = AF_UNIX;
    strcpy(a.sun_path, path_of("socket"));
    SAME(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    SAME(listen(listener, 16), 0);
    server = fork();
    CHECK(server >= 0);
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGCHLD, SIG_IGN);
        serve(listener);
    }
    close(listener);
}

/* ---- a host of the kernel's ---- */

static int connect_kernel(const char *text, unsigned port)
{
    double end = now() + SOON;
    struct sockaddr_storage a;
    struct sockaddr_in *in = (struct sockaddr_in *)&a;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a;
    socklen_t length = sizeof *in;
    memset(&a, 0, sizeof a);
    if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons((unsigned short)port);
    } else {
        SAME(inet_pton(AF_INET6, text, &in6->sin6_addr), 1);
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((unsigned short)port);
        length = sizeof *in6;
    }
    for (;;) {
        struct timeval patience = {(long)SOON, 0};
        int fd = socket(a.ss_family, SOCK_STREAM, 0);
        SAME(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
        SAME(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience), 0);
        if (connect(fd, (struct sockaddr *)&a, length) == 0) return fd;
        /* Until lwIP and the kernel have found each other. */
        CHECK(now() < end);
        close(fd);
        poll(NULL, 0, 10);
    }
}

/* Sends the pattern and the end, and reads it all back. */
static void exchange(const char *text, unsigned port)
{
    int fd = connect_kernel(text, port);
    size_t sent = 0, received = 0;
    unsigned char bytes[4096];
    ssize_t length, i;
    do {
        if (sent < BYTES) {
            size_t part = BYTES - sent < sizeof bytes ? BYTES - sent : sizeof bytes;
            for (i = 0; i < (ssize_t)part; i++) bytes[i] = pattern(sent + (size_t)i);
            SAME(send(fd, bytes, part, MSG_NOSIGNAL), part);
            sent += part;
            if (sent == BYTES) SAME(shutdown(fd, SHUT_WR), 0);
        }
        /* The echo is bounded on its way, so it is taken as it comes. */
        length = recv(fd, bytes, sizeof bytes, sent < BYTES ? MSG_DONTWAIT : 0);
        if (length < 0) SAME(errno, EAGAIN);
        for (i = 0; i < length; i++) SAME(bytes[i], pattern(received++));
    } while (length != 0);
    SAME(received, BYTES);
    close(fd);
}

/* ---- cases ---- */

static void echo(void)
{
    char *arguments[] = {(char *)"tun7", NULL};
    start_example(arguments);
    exchange("10.7.0.2", 7);
    exchange("fd07::2", 7);
    SAME(kill(example, SIGKILL), 0);
    SAME(waitpid(example, NULL, 0), example);
}

static void over_tun(void)
{
    char *arguments[] = {(char *)"tun:gw0", (char *)path_of("socket"), NULL};
    start_server();
    start_example(arguments);
    kernel_has("gw0");
    exchange("10.17.0.1", 1701);
    exchange("fd17::1", 1701);
    end_example();
}

static void over_a_bad_network(void)
{
    unsigned char head[4];
    struct stat st;
    const char *file = path_of("capture");
    char *arguments[] = {(char *)"-d", (char *)"2", (char *)"-l", (char *)"0.02", (char *)"-w", (char *)file,
                         (char *)"-p", (char *)"9", (char *)"tun:gw0", (char *)path_of("socket"), NULL};
    int fd;
    start_server();
    start_example(arguments);
    kernel_has("gw0");
    exchange("10.17.0.1", 9);
    end_example();
    /* The capture has it all, twice: to us and back. */
    fd = open(file, O_RDONLY);
    SAME(read(fd, head, 4), 4);
    CHECK(memcmp(head, "\xd4\xc3\xb2\xa1", 4) == 0 || memcmp(head, "\x4d\x3c\xb2\xa1", 4) == 0
          || memcmp(head, "\x0a\x0d\x0d\x0a", 4) == 0);
    SAME(fstat(fd, &st), 0);
    CHECK(st.st_size > 2 * (long)BYTES);
}

static void plug_in(const char *directory)
{
    pid_t pid;
    double end = now() + SOON;
    char *plug[] = {(char *)"vde_plug2tap", (char *)"-s", (char *)directory, (char *)"tap0", NULL};
    start(&pid, plug);
    while (access("/sys/class/net", F_OK) == 0 && system("ip link show tap0 >/dev/null 2>&1") != 0) {
        CHECK(now() < end);
        poll(NULL, 0, 10);
    }
    kernel_has("tap0");
}

static void at_debians_switch(void)
{
    pid_t pid;
    double end = now() + SOON;
    const char *directory = path_of("switch"), *control = path_of("switch/ctl");
    char *vde_switch[] = {(char *)"vde_switch", (char *)"-s", (char *)directory, NULL};
    char spec[300];
    char *arguments[] = {spec, (char *)path_of("socket"), NULL};
    snprintf(spec, sizeof spec, "vdeport:%s", directory);
    start(&pid, vde_switch);
    while (access(control, F_OK) != 0) {
        CHECK(now() < end);
        poll(NULL, 0, 10);
    }
    start_server();
    start_example(arguments);
    plug_in(directory);
    exchange("10.17.0.1", 1701);
    exchange("fd17::1", 1701);
    end_example();
    SAME(kill(pid, SIGKILL), 0);
}

static void as_a_switch(void)
{
    const char *directory = path_of("switch");
    char spec[300];
    char *arguments[] = {spec, (char *)path_of("socket"), NULL};
    snprintf(spec, sizeof spec, "vdeswitch:%s", directory);
    start_server();
    start_example(arguments);
    plug_in(directory);
    exchange("10.17.0.1", 1701);
    exchange("fd17::1", 1701);
    end_example();
}

static void nobody_serves_the_socket(void)
{
    char *arguments[] = {(char *)"tun:gw0", (char *)path_of("socket"), NULL};
    char byte;
    int fd;
    start_example(arguments);
    kernel_has("gw0");
    fd = connect_kernel("10.17.0.1", 1701);
    SAME(recv(fd, &byte, 1, 0), -1);
    SAME(errno, ECONNRESET);
    close(fd);
    /* When somebody does, it goes on. */
    start_server();
    exchange("10.17.0.1", 1701);
    end_example();
}

static const test tests[] = {
    {"echo", echo},
    {"over_tun", over_tun},
    {"over_a_bad_network", over_a_bad_network},
    {"at_debians_switch", at_debians_switch},
    {"as_a_switch", as_a_switch},
    {"nobody_serves_the_socket", nobody_serves_the_socket},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

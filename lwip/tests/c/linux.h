/* SPDX-License-Identifier: MIT OR Apache-2.0
 * The kernel as the peer of lwIP: its sockets, in a process of their own. The tests that use this run in a
 * network namespace that is theirs alone. */
#ifndef LINUX_H
#define LINUX_H

#include "lab.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

/* Sets up lo in the network namespace that the test runs in. */
static inline void loopback_up(void)
{
    struct ifreq request;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    memset(&request, 0, sizeof request);
    strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    CHECK(ioctl(fd, SIOCSIFFLAGS, &request) == 0);
    close(fd);
}

/* No wait for duplicates of our addresses. */
static inline void no_dad(void)
{
    static const char *const files[] = {"/proc/sys/net/ipv6/conf/all/accept_dad",
                                        "/proc/sys/net/ipv6/conf/default/accept_dad"};
    size_t i;
    for (i = 0; i < COUNT_OF(files); i++) {
        int fd = open(files[i], O_WRONLY);
        if (fd < 0) continue;
        SAME(write(fd, "0", 1), 1);
        close(fd);
    }
}

static inline socklen_t kernel_address(const char *text, uint16_t port, struct sockaddr_storage *address)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return sizeof *v4;
    }
    CHECK(inet_pton(AF_INET6, text, &v6->sin6_addr) == 1);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    return sizeof *v6;
}

static inline int kernel_socket(const char *text, int type)
{
    struct timeval patience = {60, 0};
    int fd = socket(strchr(text, ':') != NULL ? AF_INET6 : AF_INET, type, 0), one = 1;
    CHECK(fd >= 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
    return fd;
}

static inline int kernel_bound(const char *text, uint16_t port, int type)
{
    struct sockaddr_storage address;
    socklen_t length = kernel_address(text, port, &address);
    int fd = kernel_socket(text, type);
    CHECK(bind(fd, (struct sockaddr *)&address, length) == 0);
    if (type == SOCK_STREAM) CHECK(listen(fd, 8) == 0);
    return fd;
}

/* The kernel takes a moment until an IPv6 address can be used. */
static inline void await_address(const char *text)
{
    struct sockaddr_storage address;
    socklen_t length = kernel_address(text, 0, &address);
    int fd = kernel_socket(text, SOCK_DGRAM);
    LOOP_UNTIL(bind(fd, (struct sockaddr *)&address, length) == 0);
    close(fd);
}

static inline int kernel_connected(const char *text, uint16_t port, int type)
{
    struct sockaddr_storage address;
    socklen_t length = kernel_address(text, port, &address);
    int fd = kernel_socket(text, type);
    CHECK(connect(fd, (struct sockaddr *)&address, length) == 0);
    return fd;
}

/* Sends so much of the pattern. */
static inline void kernel_send(int fd, size_t bytes)
{
    size_t at = 0;
    while (at < bytes) {
        ssize_t sent = send(fd, pattern_at(at), bytes - at < PERIOD ? bytes - at : PERIOD, MSG_NOSIGNAL);
        CHECK(sent > 0);
        at += (size_t)sent;
    }
}

static inline void kernel_send_all(int fd, size_t bytes)
{
    kernel_send(fd, bytes);
    CHECK(shutdown(fd, SHUT_WR) == 0);
}

/* Takes so much of the pattern. */
static inline void kernel_receive(int fd, size_t bytes)
{
    static unsigned char buffer[256 * 1024];
    size_t at = 0;
    while (at < bytes) {
        ssize_t length = recv(fd, buffer, sizeof buffer, 0);
        CHECK(length > 0);
        check_pattern(buffer, (size_t)length, at);
        at += (size_t)length;
    }
    SAME(at, bytes);
}

/* Likewise; then the stream has to end. */
static inline void kernel_receive_all(int fd, size_t bytes)
{
    char byte;
    kernel_receive(fd, bytes);
    SAME(recv(fd, &byte, 1, 0), 0);
}

#endif

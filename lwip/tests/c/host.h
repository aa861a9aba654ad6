/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The kernel's side of tests: its loopback, and services there in another process. */
#ifndef HOST_H
#define HOST_H

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

static inline socklen_t host_address(struct sockaddr_storage *to, const char *address, unsigned port)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)to;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
    memset(to, 0, sizeof *to);
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        return sizeof *v4;
    }
    CHECK(inet_pton(AF_INET6, address, &v6->sin6_addr) == 1);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)port);
    return sizeof *v6;
}

/* A socket of the kernel's at an address of its own; listening, if it is one of TCP. */
static inline int host_socket(int type, const char *address, unsigned port)
{
    struct sockaddr_storage a;
    socklen_t length = host_address(&a, address, port);
    int one = 1, fd = socket(a.ss_family, type, 0);
    struct timeval patience = {60, 0};
    CHECK(fd >= 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    CHECK(bind(fd, (struct sockaddr *)&a, length) == 0);
    CHECK(type != SOCK_STREAM || listen(fd, 8) == 0);
    return fd;
}

static inline int host_connect(int type, const char *address, unsigned port)
{
    struct sockaddr_storage a;
    struct timeval patience = {60, 0};
    socklen_t length = host_address(&a, address, port);
    int fd = socket(a.ss_family, type, 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    CHECK(connect(fd, (struct sockaddr *)&a, length) == 0);
    return fd;
}

/* Receives so much of the pattern, and sees the end of it if there is to be one. */
static inline void host_receive(int fd, size_t bytes, bool end)
{
    static unsigned char buffer[65536];
    size_t at = 0, i;
    while (at < bytes) {
        ssize_t length = recv(fd, buffer, sizeof buffer, 0);
        CHECK(length > 0);
        for (i = 0; i < (size_t)length; i++) SAME(buffer[i], pattern(at + i));
        at += (size_t)length;
    }
    SAME(at, bytes);
    if (end) SAME(recv(fd, buffer, 1, 0), 0);
}

static inline void host_send(int fd, size_t bytes)
{
    static unsigned char buffer[65536];
    size_t at = 0, i;
    while (at < bytes) {
        size_t length = bytes - at < sizeof buffer ? bytes - at : sizeof buffer;
        ssize_t sent;
        for (i = 0; i < length; i++) buffer[i] = pattern(at + i);
        sent = send(fd, buffer, length, MSG_NOSIGNAL);
        CHECK(sent > 0);
        at += (size_t)sent;
    }
}

#endif

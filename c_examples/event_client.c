/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * event_client: subscribes to the openl2tp event socket and prints what
 * arrives, one event per line.
 *
 *     event_client [-m MASK] [-n COUNT] [-w] [[-p] PATH]
 *
 *     -m MASK   the events wanted, in hex (default 000f, the four of the
 *               original protocol)
 *     -n COUNT  leave after COUNT events (default 0: stay until the end)
 *     -w        the host may still be starting: try to connect for 5 seconds
 *     PATH      the socket (default /tmp/openl2tpd.evt)
 *
 * Ends with status 0 when the host closes the stream or COUNT is reached, and
 * with 1 and a message when anything goes wrong.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Both directions use this header; its fields are in host byte order because
 * the two ends are always on one machine. `length` counts the bytes after it. */
struct header {
    uint16_t event;
    uint16_t length;
};

/* No event that a client can ask for carries more than this. */
#define MAX_DATA 8

#define EVENTS_LOST 0x8000

/* The data of every other event is a list of 16-bit ids. */
static const struct kind {
    uint16_t event;
    const char *name;
    const char *ids[5]; /* ends with NULL */
} kinds[] = {
    {0x0001, "SESSION_CREATED", {"tunnel", "session"}},
    {0x0002, "SESSION_DELETED", {"tunnel", "session"}},
    {0x0004, "SESSION_UP", {"tunnel", "session", "peer_tunnel", "peer_session"}},
    {0x0008, "SESSION_DOWN", {"tunnel", "session"}},
    {0x0010, "SESSION_MODIFIED", {"tunnel", "session"}},
    {0x0020, "TUNNEL_CREATED", {"tunnel"}},
    {0x0040, "TUNNEL_DELETED", {"tunnel"}},
    {0x0080, "TUNNEL_UP", {"tunnel", "peer_tunnel"}},
    {0x0100, "TUNNEL_DOWN", {"tunnel"}},
    {0x0200, "TUNNEL_MODIFIED", {"tunnel"}},
};

static void fail(const char *what) {
    fprintf(stderr, "event_client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void fail_frame(const char *what, struct header header) {
    fprintf(stderr, "event_client: %s: event 0x%04x, length %u\n", what,
            (unsigned)header.event, (unsigned)header.length);
    exit(1);
}

static unsigned long number(const char *text, int base, unsigned long max) {
    char *end;

    errno = 0;
    unsigned long value = strtoul(text, &end, base);
    if (errno != 0 || end == text || *end != '\0' || *text == '-' || value > max) {
        fprintf(stderr, "event_client: not a number, or too large: %s\n", text);
        exit(1);
    }
    return value;
}

static int connect_to(const char *path, bool wait) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timespec pause = {0, 20 * 1000 * 1000};
    int tries = wait ? 5000 / 20 : 1;

    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        fail(path);
    }
    strcpy(address.sun_path, path);

    for (;;) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            fail("socket");
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
            return fd;
        /* No socket yet, or one left behind by a host that is gone. */
        if ((errno != ENOENT && errno != ECONNREFUSED) || --tries <= 0)
            fail(path);
        close(fd);
        nanosleep(&pause, NULL);
    }
}

/* A request to amend the mask has one data byte: nonzero sets the bits. */
static void subscribe(int fd, uint16_t mask) {
    const struct header header = {mask, 1};
    char request[sizeof header + 1];

    memcpy(request, &header, sizeof header);
    request[sizeof header] = 1;
    /* MSG_NOSIGNAL: a host that has no room closes the connection at once,
     * and that deserves a message rather than SIGPIPE. */
    ssize_t sent = send(fd, request, sizeof request, MSG_NOSIGNAL);
    if (sent < 0)
        fail("subscribe");
    if ((size_t)sent != sizeof request) {
        fprintf(stderr, "event_client: subscribe: only %zd bytes sent\n", sent);
        exit(1);
    }
}

/* Reads until `size` bytes are there or the stream ends: a stream may deliver
 * an event in any number of pieces. */
static size_t receive(int fd, void *data, size_t size) {
    size_t have = 0;

    while (have < size) {
        ssize_t got = read(fd, (char *)data + have, size - have);
        if (got == 0)
            break;
        if (got > 0)
            have += (size_t)got;
        else if (errno != EINTR)
            fail("read");
    }
    return have;
}

static void print_event(struct header header, const unsigned char *data) {
    if (header.event == EVENTS_LOST) {
        uint32_t lost;
        if (header.length != sizeof lost)
            fail_frame("wrong length", header);
        memcpy(&lost, data, sizeof lost);
        printf("EVENTS_LOST %" PRIu32 "\n", lost);
        return;
    }
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (kinds[k].event != header.event)
            continue;

        size_t count = 0;
        while (kinds[k].ids[count] != NULL)
            count++;
        if (header.length != count * sizeof(uint16_t))
            fail_frame("wrong length", header);

        printf("%s", kinds[k].name);
        for (size_t i = 0; i < count; i++) {
            uint16_t id;
            memcpy(&id, data + i * sizeof id, sizeof id);
            printf(" %s %u", kinds[k].ids[i], (unsigned)id);
        }
        printf("\n");
        return;
    }
    /* Newer hosts may know more events; the length lets us step over them. */
    printf("UNKNOWN 0x%04x length %u\n", (unsigned)header.event, (unsigned)header.length);
}

int main(int argc, char **argv) {
    const char *path = "/tmp/openl2tpd.evt";
    uint16_t mask = 0x000f;
    unsigned long count = 0;
    bool wait = false;
    int option;

    while ((option = getopt(argc, argv, "m:n:p:w")) != -1) {
        switch (option) {
        case 'm': mask = (uint16_t)number(optarg, 16, UINT16_MAX); break;
        case 'n': count = number(optarg, 10, ULONG_MAX); break;
        case 'p': path = optarg; break;
        case 'w': wait = true; break;
        default: return 1;
        }
    }
    if (optind < argc)
        path = argv[optind++];
    if (optind < argc) {
        fprintf(stderr, "event_client: one PATH only\n");
        return 1;
    }

    int fd = connect_to(path, wait);
    subscribe(fd, mask);

    for (unsigned long seen = 1;; seen++) {
        struct header header;
        unsigned char data[MAX_DATA];

        size_t got = receive(fd, &header, sizeof header);
        if (got == 0)
            return 0; /* the host has closed the stream between two events */
        if (got != sizeof header) {
            fprintf(stderr, "event_client: the stream ended inside a header\n");
            return 1;
        }
        if (header.length > sizeof data)
            fail_frame("too long", header);
        if (receive(fd, data, header.length) != header.length)
            fail_frame("the stream ended inside an event", header);

        print_event(header, data);
        /* Whoever reads our output through a pipe wants each event now. */
        if (fflush(stdout) != 0)
            fail("stdout");
        if (seen == count)
            return 0;
    }
}

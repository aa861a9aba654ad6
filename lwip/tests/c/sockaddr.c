/* SPDX-License-Identifier: MIT OR Apache-2.0
 * sockaddr: addresses of lwIP's as the system's, and back. */
#include "lab.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static void both_ways(void)
{
    static const char *const texts[] = {"0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "2001:db8::1",
                                        "ff0e::1:2"};
    size_t i;
    for (i = 0; i < COUNT_OF(texts); i++) {
        struct sockaddr_storage storage;
        socklen_t length = sizeof storage;
        ip_addr_t a = address(texts[i]), b;
        char text[64];
        int port = -1;
        const void *bytes;
        SAME(ip_addr_to_sockaddr(&a, 65535 - (int)i, (struct sockaddr *)&storage, &length), 0);
        if (IP_IS_V4(&a)) {
            const struct sockaddr_in *in = (const struct sockaddr_in *)&storage;
            SAME(length, sizeof *in);
            SAME(ntohs(in->sin_port), 65535 - i);
            bytes = &in->sin_addr;
        } else {
            const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&storage;
            SAME(length, sizeof *in6);
            SAME(ntohs(in6->sin6_port), 65535 - i);
            SAME(in6->sin6_scope_id, 0);
            bytes = &in6->sin6_addr;
        }
        CHECK(inet_ntop(storage.ss_family, bytes, text, sizeof text) != NULL);
        SAME(strcmp(text, texts[i]), 0);
        memset(&b, 0xff, sizeof b);
        SAME(sockaddr_to_ip_addr((struct sockaddr *)&storage, length, &b, &port), 0);
        CHECK(ip_addr_cmp(&a, &b));
        SAME(port, 65535 - i);
        SAME(sockaddr_to_ip_addr((struct sockaddr *)&storage, length, &b, NULL), 0);
    }
}

static struct sockaddr_in6 in6(const char *text, unsigned scope)
{
    struct sockaddr_in6 a;
    memset(&a, 0, sizeof a);
    a.sin6_family = AF_INET6;
    SAME(inet_pton(AF_INET6, text, &a.sin6_addr), 1);
    a.sin6_scope_id = scope;
    return a;
}

static void zones(void)
{
    static const struct {
        const char *text;
        unsigned scope, zone;
    } rows[] = {{"fe80::1", 3, 3}, {"fe80::1", 0, 0}, {"ff02::1", 255, 255}, {"ff12::1", 9, 9},
                {"2001:db8::1", 3, 0}, {"ff05::1", 3, 0}};
    size_t i;
    for (i = 0; i < COUNT_OF(rows); i++) {
        struct sockaddr_in6 from = in6(rows[i].text, rows[i].scope), to;
        socklen_t length = sizeof to;
        ip_addr_t a;
        SAME(sockaddr_to_ip_addr((struct sockaddr *)&from, sizeof from, &a, NULL), 0);
        SAME(ip6_addr_zone(ip_2_ip6(&a)), rows[i].zone);
        SAME(ip_addr_to_sockaddr(&a, 0, (struct sockaddr *)&to, &length), 0);
        SAME(to.sin6_scope_id, rows[i].zone);
    }
    {
        struct sockaddr_in6 mapped = in6("::ffff:192.0.2.7", 0);
        ip_addr_t a, v4 = address("192.0.2.7");
        SAME(sockaddr_to_ip_addr((struct sockaddr *)&mapped, sizeof mapped, &a, NULL), 0);
        CHECK(IP_IS_V4(&a) && ip_addr_cmp(&a, &v4));
    }
}

static void what_is_refused(void)
{
    struct sockaddr_in6 a = in6("fe80::1", 256);
    struct sockaddr *any = (struct sockaddr *)&a;
    socklen_t length;
    ip_addr_t ip;
    int port;
#define READS(length_) (sockaddr_to_ip_addr(any, length_, &ip, &port) == 0)
    REFUSED(READS(sizeof a), EINVAL, "scope id 256");
    a.sin6_scope_id = 1;
    REFUSED(READS(sizeof a - 1), EINVAL, "too short");
    REFUSED(READS(1), EINVAL, "too short");
    REFUSED(READS(0), EINVAL, "too short");
    a.sin6_family = AF_UNIX;
    REFUSED(READS(sizeof a), EAFNOSUPPORT, "must be AF_INET or AF_INET6");
    REFUSED(sockaddr_to_ip_addr(NULL, 16, &ip, &port) == 0, EINVAL, "NULL");
    a.sin6_family = AF_INET6;
    REFUSED(sockaddr_to_ip_addr(any, sizeof a, NULL, &port) == 0, EINVAL, "NULL");

    ip = address("fe80::1");
#define WRITES(port_) (ip_addr_to_sockaddr(&ip, port_, any, &length) == 0)
    length = sizeof a - 1;
    REFUSED(WRITES(80), ENOSPC, "sockaddr_storage");
    SAME(length, sizeof a);
    CHECK(WRITES(80));
    REFUSED(WRITES(-1), EINVAL, "port -1");
    REFUSED(WRITES(65536), EINVAL, "port 65536");
    REFUSED(ip_addr_to_sockaddr(NULL, 80, any, &length) == 0, EINVAL, "NULL");
    REFUSED(ip_addr_to_sockaddr(&ip, 80, NULL, &length) == 0, EINVAL, "NULL");
    REFUSED(ip_addr_to_sockaddr(&ip, 80, any, NULL) == 0, EINVAL, "NULL");
}

static void raw_bytes(void)
{
    /* Not aligned, as in a packet. */
    const unsigned char v4[] = {0, 192, 0, 2, 9};
    const unsigned char v6[] = {0, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7};
    ip_addr_t a, expected = address("192.0.2.9"), expected6 = address("2001:db8::7");
    memset(&a, 0xff, sizeof a);
    raw_to_ip4_addr(v4 + 1, &a);
    CHECK(IP_IS_V4(&a) && ip_addr_cmp(&a, &expected));
    memset(&a, 0xff, sizeof a);
    raw_to_ip6_addr(v6 + 1, &a);
    CHECK(IP_IS_V6(&a) && ip_addr_cmp(&a, &expected6));
    raw_to_ip4_addr(NULL, &a);
    raw_to_ip6_addr(v6 + 1, NULL);
    CHECK(ip_addr_cmp(&a, &expected6));
}

static const test tests[] = {
    {"both_ways", both_ways},
    {"zones", zones},
    {"what_is_refused", what_is_refused},
    {"raw_bytes", raw_bytes},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

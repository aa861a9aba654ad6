/* SPDX-License-Identifier: MIT OR Apache-2.0
 * pbuf_iovec: readv and writev over packets in several pieces. */
#include "lab.h"

static int fds[2];

static void open_pair(void)
{
    SAME(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
}

/* A packet in pieces of these lengths, the last of which is 0. */
static struct pbuf *chain(const u16_t *lengths)
{
    struct pbuf *p = NULL;
    for (; *lengths != 0; lengths++) {
        struct pbuf *q = pbuf_alloc(PBUF_RAW, *lengths, PBUF_RAM);
        CHECK(q != NULL);
        if (p == NULL) p = q;
        else pbuf_cat(p, q);
    }
    return p;
}

static void fill(struct pbuf *p)
{
    size_t at = 0;
    for (; p != NULL; p = p->next) {
        u16_t i;
        for (i = 0; i < p->len; i++) ((unsigned char *)p->payload)[i] = pattern(at++);
    }
}

static void all_pieces_are_written_as_one_datagram(void)
{
    static const u16_t lengths[] = {1, 1400, 7, 20, 0};
    struct iovec vectors[4];
    u16_t n;
    struct pbuf *p = chain(lengths);
    open_pair();
    fill(p);
    /* With too few vectors as with enough. */
    for (n = 0; n <= 4; n++) {
        unsigned char bytes[2000];
        size_t i;
        SAME(pbuf_writev(fds[0], p, n == 0 ? NULL : vectors, n), 1428);
        SAME(recv(fds[1], bytes, sizeof bytes, 0), 1428);
        for (i = 0; i < 1428; i++) SAME(bytes[i], pattern(i));
    }
    pbuf_free(p);
}

static void all_pieces_are_read_into(void)
{
    static const u16_t lengths[] = {100, 1, 1000, 50, 0};
    static const struct {
        u16_t length;
        u16_t pieces, last;
    } rows[] = {{1, 1, 1}, {100, 1, 100}, {101, 2, 1}, {102, 3, 1}, {1101, 3, 1000}, {1151, 4, 50}, {0, 1, 0}};
    unsigned char bytes[1151];
    struct iovec vectors[4];
    size_t row, i;
    u16_t n;
    for (i = 0; i < sizeof bytes; i++) bytes[i] = pattern(i);
    open_pair();
    for (row = 0; row < COUNT_OF(rows); row++) {
        for (n = 0; n <= 4; n += 2) {
            struct pbuf *p = chain(lengths), *q, *last = p;
            u16_t length = rows[row].length;
            if (length > 0) {
                SAME(send(fds[1], bytes, length, 0), length);
            } else if (n == 0) {
                close(fds[1]); /* the end */
            }
            SAME(pbuf_readv(fds[0], p, &last, n == 0 ? NULL : vectors, n), length);
            SAME(p->tot_len, length);
            SAME(pbuf_clen(p), rows[row].pieces);
            for (q = p; q->next != NULL; q = q->next) {}
            SAME(q->len, rows[row].last);
            CHECK(last == (length == 0 ? NULL : q));
            for (i = 0; i < length; i++) SAME(pbuf_get_at(p, (u16_t)i), pattern(i));
            pbuf_free(p);
        }
    }
}

static void errors_leave_the_packet_alone(void)
{
    static const u16_t lengths[] = {100, 50, 0};
    u16_t many[1100];
    struct pbuf *p = chain(lengths), *last = p;
    size_t i;
    open_pair();
    REFUSED(pbuf_readv(fds[0], p, &last, NULL, 0) != -1, EAGAIN, "readv of descriptor");
    SAME(p->tot_len, 150);
    CHECK(last == p);
    close(fds[1]);
    signal(SIGPIPE, SIG_IGN);
    REFUSED(pbuf_writev(fds[0], p, NULL, 0) != -1, EPIPE, "writev of descriptor");
    REFUSED(pbuf_writev(fds[0], NULL, NULL, 0) != -1, EINVAL, "NULL");
    REFUSED(pbuf_readv(fds[0], NULL, NULL, NULL, 0) != -1, EINVAL, "NULL");
    SAME(pbuf_readv(fds[0], p, NULL, NULL, 0), 0);
    pbuf_free(p);
    for (i = 0; i + 1 < COUNT_OF(many); i++) many[i] = 1;
    many[i] = 0;
    p = chain(many);
    REFUSED(pbuf_writev(fds[0], p, NULL, 0) != -1, EMSGSIZE, "pbuf_coalesce");
    pbuf_free(p);
}

static const test tests[] = {
    {"all_pieces_are_written_as_one_datagram", all_pieces_are_written_as_one_datagram},
    {"all_pieces_are_read_into", all_pieces_are_read_into},
    {"errors_leave_the_packet_alone", errors_leave_the_packet_alone},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

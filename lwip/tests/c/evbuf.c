/* SPDX-License-Identifier: MIT OR Apache-2.0
 * lwipevbuf. */
#include "ends.h"

#include <netdb.h>
#include <pthread.h>

#include "dns.h"

static void both_ways_at_once(void)
{
    static const char *const families[] = {V4, V6};
    size_t i, bytes = scaled(3000) * 1000u;
    start_alone();
    for (i = 0; i < COUNT_OF(families); i++) {
        end client = {.want = bytes, .reads = true}, server = {.want = bytes + 1, .reads = true};
        connect_ends(&client, &server, families[i]);
        LOOP_UNTIL(client.received == bytes + 1 && server.received == bytes);
        CHECK(client.drained > 0 && server.drained > 0);
        SAME(client.what, BEV_EVENT_CONNECTED);
        SAME(server.what, 0);
        end_free(&client);
        LOOP_UNTIL(server.ended);
        end_free(&server);
        all_closed();
    }
    stop_alone();
}

static void more_than_64k_drained_at_once(void)
{
    size_t rounds;
    end client = {.want = 3u << 20}, server = {.reads = false};
    start_alone();
    connect_ends(&client, &server, V4);
    lwipevbuf_set_read_max(server.buffer, 1u << 20);
    for (rounds = 0; rounds < 3; rounds++) {
        unsigned char *all;
        size_t i;
        /* Up to the last segment that fits. */
        LOOP_UNTIL(evbuffer_get_length(server.buffer->input_buffer) > (1u << 20) - 2 * TCP_MSS);
        CHECK(evbuffer_get_length(server.buffer->input_buffer) <= 1u << 20);
        i = evbuffer_get_length(server.buffer->input_buffer);
        all = evbuffer_pullup(server.buffer->input_buffer, -1);
        while (i-- > 0) SAME(all[i], pattern(server.received + i));
        server.received += evbuffer_get_length(server.buffer->input_buffer);
        evbuffer_drain(server.buffer->input_buffer, evbuffer_get_length(server.buffer->input_buffer));
        if (rounds == 1) server.reads = true;
        if (rounds == 1) break;
    }
    LOOP_UNTIL(server.received == client.want);
    end_free(&client);
    end_free(&server);
    all_closed();
    stop_alone();
}

/* ---- what is in flight, over a link that loses packets */

static netif_output_fn real_output;
static netif_output_ip6_fn real_output_ip6;
static unsigned passed, lost;

/* Lost, and sent again from lwIP's own copy. Not too often, since each may cost lwIP's timer, which doubles. */
static bool loses(void)
{
    if (++passed % 23 != 0 || lost == 4) return false;
    lost++;
    return true;
}

static err_t lossy_output(struct netif *netif, struct pbuf *p, const ip4_addr_t *to)
{
    return loses() ? (err_t)ERR_OK : real_output(netif, p, to);
}

static err_t lossy_output_ip6(struct netif *netif, struct pbuf *p, const ip6_addr_t *to)
{
    return loses() ? (err_t)ERR_OK : real_output_ip6(netif, p, to);
}

static struct netif *lossy(int fd, const char *v4, const char *v6)
{
    struct netif *netif = fdif_add(base, fd, fd, 0);
    set_up(netif, v4, v6);
    real_output = netif->output;
    real_output_ip6 = netif->output_ip6;
    netif->output = lossy_output;
    netif->output_ip6 = lossy_output_ip6;
    return netif;
}

#define LOSSY_BYTES 400000u

static void lossy_peer(int fd)
{
    end server = {.want = LOSSY_BYTES, .reads = true};
    struct tcp_pcb *listener;
    start_stack();
    lossy(fd, "10.9.0.2", "fd00::2");
    listener = listen_on(7, &server, end_accepted);
    LOOP_UNTIL(server.received == LOSSY_BYTES && server.ended);
    end_free(&server);
    SAME(tcp_close(listener), ERR_OK);
    all_closed();
}

static void nothing_is_corrupted_in_flight(void)
{
    int fds[2];
    pid_t pid;
    end client = {.want = LOSSY_BYTES, .reads = true};
    SAME(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
    pid = peer(lossy_peer, fds[1]);
    close(fds[1]);
    start_stack();
    lossy(fds[0], "10.9.0.1", "fd00::1");
    end_use(&client, lwipevbuf_new(NULL));
    SAME(connect_to(client.buffer, "fd00::2", 7), 0);
    LOOP_UNTIL(client.received == LOSSY_BYTES && client.sent == LOSSY_BYTES);
    SAME(lwipevbuf_shutdown(client.buffer), 0);
    LOOP_UNTIL(client.ended);
    end_free(&client);
    SAME(lost, 4);
    all_closed();
    join_peer(pid);
    stop_stack();
    close(fds[0]);
}

/* ---- freeing */

/* Where it is freed, or aborted. */
static enum { IN_READ, IN_WRITE, IN_CONNECTED, IN_EOF, IN_ERROR, PLACES } place;
static bool aborts;
static int freed;

static void free_now(struct lwipevbuf *buffer)
{
    freed++;
    if (aborts) lwipevbuf_abort(buffer);
    else lwipevbuf_free(buffer);
}

static void freeing_read(struct lwipevbuf *buffer, void *ctx)
{
    (void)ctx;
    if (place == IN_READ) free_now(buffer);
}

static void freeing_write(struct lwipevbuf *buffer, void *ctx)
{
    (void)ctx;
    if (place == IN_WRITE) free_now(buffer);
}

static void freeing_event(struct lwipevbuf *buffer, short what, void *ctx)
{
    (void)ctx;
    if ((place == IN_CONNECTED && what & BEV_EVENT_CONNECTED) || (place == IN_EOF && what & BEV_EVENT_EOF)
        || (place == IN_ERROR && what & BEV_EVENT_ERROR)) {
        free_now(buffer);
    }
}

static void freed_in_its_callbacks(void)
{
    int which;
    start_alone();
    for (which = 0; which < 2 * PLACES; which++) {
        end server = {.reads = true};
        struct tcp_pcb *listener = listen_on(7, &server, end_accepted);
        struct lwipevbuf *client = lwipevbuf_new(NULL);
        place = which % PLACES;
        aborts = which >= PLACES;
        freed = 0;
        server.want = place == IN_READ ? 200000 : 0;
        lwipevbuf_setcb(client, freeing_read, freeing_write, freeing_event, NULL);
        evbuffer_add(client->output_buffer, "", 0);
        SAME(connect_to(client, V6, 7), 0);
        if (place != IN_CONNECTED) {
            LOOP_UNTIL(server.buffer != NULL);
            if (place == IN_WRITE) evbuffer_add(client->output_buffer, pattern_at(0), 1);
            if (place == IN_EOF) end_free(&server);
            if (place == IN_ERROR) {
                lwipevbuf_abort(server.buffer);
                server.buffer = NULL;
            }
        }
        LOOP_UNTIL(freed == 1);
        if (server.buffer != NULL) {
            LOOP_UNTIL(server.ended || server.failed);
            CHECK(aborts == server.failed);
            end_free(&server);
        }
        SAME(tcp_close(listener), ERR_OK);
        all_closed();
        SAME(freed, 1);
    }
    stop_alone();
}

static void free_lingers(void)
{
    size_t bytes = 600000;
    end client = {.want = 0}, server = {.reads = true};
    unsigned char *all = (unsigned char *)malloc(bytes);
    size_t i;
    start_alone();
    connect_ends(&client, &server, V4);
    for (i = 0; i < bytes; i++) all[i] = pattern(i);
    evbuffer_add(client.buffer->output_buffer, all, bytes);
    free(all);
    /* Much more than lwIP takes at once. */
    end_free(&client);
    LOOP_UNTIL(server.ended);
    SAME(server.received, bytes);
    CHECK(!server.failed);
    end_free(&server);
    all_closed();
    stop_alone();
}

/* Where closing a socket would reset the connection, and lose what is on its way. */
static void free_with_unread_input_lingers(void)
{
    size_t i;
    end client = {.reads = false}, server = {.want = 100000, .reads = true};
    start_alone();
    connect_ends(&client, &server, V4);
    LOOP_UNTIL(evbuffer_get_length(client.buffer->input_buffer) > 30000);
    for (i = 0; i < 50000; i++) {
        unsigned char byte = pattern(i);
        evbuffer_add(client.buffer->output_buffer, &byte, 1);
    }
    end_free(&client);
    LOOP_UNTIL(server.ended);
    SAME(server.received, 50000);
    CHECK(!server.failed);
    end_free(&server);
    all_closed();
    stop_alone();
}

static void abort_resets(void)
{
    end client = {.want = 100000}, server = {.reads = true};
    start_alone();
    connect_ends(&client, &server, V6);
    lwipevbuf_abort(client.buffer);
    LOOP_UNTIL(server.failed);
    SAME(server.error, ERR_RST);
    SAME(server.error_number, ECONNRESET);
    SAME(server.what, BEV_EVENT_ERROR | BEV_EVENT_READING);
    CHECK(server.buffer->pcb == NULL);
    CHECK(!server.ended);
    end_free(&server);
    CHECK(tcp_active_pcbs == NULL && tcp_tw_pcbs == NULL);
    stop_alone();
}

static void read_max_holds_the_peer_back(void)
{
    static const size_t limits[] = {0, 1, 20000, 300000};
    size_t i;
    start_alone();
    for (i = 0; i < COUNT_OF(limits); i++) {
        end client = {.want = 1000000}, server = {.reads = false};
        size_t limit = limits[i] == 0 ? 65535 : limits[i] == 1 ? 2920 : limits[i];
        size_t first = limit < 65535 ? 65535 : limit, seen = 0;
        unsigned turns;
        connect_ends(&client, &server, V4);
        lwipevbuf_set_read_max(server.buffer, limits[i]);
        LOOP_UNTIL(evbuffer_get_length(server.buffer->input_buffer) > first - TCP_MSS);
        for (turns = 0; turns < 10; turns++) event_base_loop(base, EVLOOP_ONCE);
        SAME(evbuffer_get_length(server.buffer->input_buffer) <= first, true);
        /* From then on it is what was asked for. */
        while (server.received < client.want) {
            size_t length = evbuffer_get_length(server.buffer->input_buffer);
            if (server.received > 0 && length > seen) seen = length;
            end_take(&server);
            LOOP_UNTIL(evbuffer_get_length(server.buffer->input_buffer) > 0 || server.received == client.want);
        }
        CHECK(seen <= limit);
        end_free(&client);
        end_free(&server);
        all_closed();
    }
    stop_alone();
}

static void half_close(void)
{
    end client = {.want = 1000, .reads = true}, server = {.reads = true};
    start_alone();
    connect_ends(&client, &server, V4);
    SAME(lwipevbuf_shutdown(client.buffer), 0);
    LOOP_UNTIL(server.ended);
    SAME(server.received, 1000);
    /* The other direction goes on. */
    server.want = 500000;
    end_fill(&server);
    LOOP_UNTIL(client.received == 500000);
    CHECK(!client.ended && client.buffer->pcb != NULL);
    SAME(lwipevbuf_shutdown(server.buffer), 0);
    LOOP_UNTIL(client.ended);
    CHECK(!client.failed && !server.failed);
    /* lwIP may free the pcbs from now on. */
    LOOP_UNTIL(client.buffer->pcb == NULL && server.buffer->pcb == NULL);
    all_closed();
    end_free(&client);
    end_free(&server);
    stop_alone();
}

static void errors_are_told(void)
{
    end client = {.reads = true};
    start_alone();
    end_use(&client, lwipevbuf_new(NULL));
    /* Nobody listens. */
    SAME(connect_to(client.buffer, V4, 9), 0);
    LOOP_UNTIL(client.failed);
    SAME(client.what, BEV_EVENT_ERROR);
    SAME(client.error, ERR_RST);
    SAME(client.error_number, ECONNREFUSED);
    REFUSED(connect_to(client.buffer, V4, 9) == 0, EISCONN, "make a new lwipevbuf");
    end_free(&client);

    /* No way there. */
    netif_set_down(home);
    end_use(&client, lwipevbuf_new(NULL));
    REFUSED(connect_to(client.buffer, "192.0.2.1", 9) == 0, EHOSTUNREACH, "no netif");
    SAME(client.buffer->tcp_err, ERR_OK);
    netif_set_up(home);
    SAME(connect_to(client.buffer, V6, 9), 0);
    end_free(&client);
    CHECK(tcp_active_pcbs == NULL);

    /* Nobody answers: lwIP gives up. Its SYNs are hurried along here. */
    memset(&client, 0, sizeof client);
    end_use(&client, lwipevbuf_new(tcp_new_ip_type(IPADDR_TYPE_V4)));
    SAME(connect_to(client.buffer, "10.9.0.77", 9), 0);
    REFUSED(connect_to(client.buffer, V4, 9) == 0, EALREADY, "already connecting");
    client.buffer->pcb->nrtx = 6; /* TCP_SYNMAXRTX */
    LOOP_UNTIL(client.failed);
    SAME(client.error, ERR_ABRT);
    SAME(client.error_number, ECONNABORTED);
    end_free(&client);
    stop_alone();
}

/* ---- hosts */

static void hosts_by_name(void)
{
    static const struct {
        const char *name;
        int family;
        const char *peer; /* NULL: not found */
    } rows[] = {
        {V4, AF_UNSPEC, V4},         {V6, AF_INET6, V6},         {V4, AF_INET6, NULL},
        {"both.test", AF_INET, V4},  {"both.test", AF_INET6, V6}, {"both.test", AF_UNSPEC, V4},
        {"six.test", AF_UNSPEC, V6}, {"six.test", AF_INET, NULL}, {"none.test", AF_UNSPEC, NULL},
        /* The first of two addresses refuses. */
        {"twice.test", AF_INET, V4},
    };
    size_t i;
    struct netif *other;
    struct dns_server server;
    start_alone();
    other = fdif_add(base, home_fds[1], home_fds[1], 0);
    set_up(other, "10.9.1.1", "fd00:1::1");
    netif_set_default(home);
    dns_start(&server, V4, 53);
    for (i = 0; i < COUNT_OF(rows); i++) {
        end client = {.want = 10, .reads = true}, peer_end = {.reads = true};
        struct tcp_pcb *listener = listen_on(7, &peer_end, end_accepted);
        if (strcmp(rows[i].name, "twice.test") == 0) {
            /* Nobody listens at the other address. */
            ip_addr_t here = address(V4);
            SAME(tcp_close(listener), ERR_OK);
            listener = tcp_new_ip_type(IPADDR_TYPE_V4);
            SAME(tcp_bind(listener, &here, 7), ERR_OK);
            listener = tcp_listen(listener);
            tcp_arg(listener, &peer_end);
            tcp_accept(listener, end_accepted);
        }
        end_use(&client, lwipevbuf_new(NULL));
        SAME(lwipevbuf_connect_hostname(client.buffer, rows[i].family, rows[i].name, 7), 0);
        REFUSED(lwipevbuf_connect_hostname(client.buffer, AF_INET, V4, 7) == 0, EALREADY, "already");
        /* Told from the loop, whatever it is. */
        SAME(client.what, 0);
        LOOP_UNTIL(client.connected || client.failed);
        if (rows[i].peer != NULL) {
            ip_addr_t expected = address(rows[i].peer);
            CHECK(client.connected);
            CHECK(ip_addr_cmp(&client.buffer->pcb->remote_ip, &expected));
            SAME(client.buffer->host_err, 0);
            LOOP_UNTIL(peer_end.received == 10);
        } else {
            SAME(client.what, BEV_EVENT_ERROR);
            SAME(client.host_error, EAI_NONAME);
        }
        end_free(&client);
        if (peer_end.buffer != NULL) end_free(&peer_end);
        SAME(tcp_close(listener), ERR_OK);
        all_closed();
    }
    {
        /* Freed while it looks up. */
        struct lwipevbuf *buffer = lwipevbuf_new(NULL);
        SAME(lwipevbuf_connect_hostname(buffer, AF_UNSPEC, "silent.test", 7), 0);
        event_base_loop(base, EVLOOP_ONCE);
        lwipevbuf_free(buffer);
        buffer = lwipevbuf_new(NULL);
        REFUSED(lwipevbuf_connect_hostname(buffer, AF_UNIX, "a", 7) == 0, EAFNOSUPPORT, "must be AF_INET");
        REFUSED(lwipevbuf_connect_hostname(buffer, AF_INET, "a b", 7) == 0, EINVAL, "not a name");
        REFUSED(lwipevbuf_connect_hostname(buffer, AF_INET, NULL, 7) == 0, EINVAL, "NULL");
        REFUSED(lwipevbuf_connect_hostname(buffer, AF_INET, "a", 0) == 0, EINVAL, "port 0");
        host_clear_servers();
        REFUSED(lwipevbuf_connect_hostname(buffer, AF_INET, "a", 7) == 0, ENOENT, "host_add_server");
        lwipevbuf_free(buffer);
    }
    dns_stop(&server);
    stop_alone();
}

/* ---- the end of what is below */

static void netif_removed(void)
{
    end client = {.want = 1000000}, server = {.reads = false};
    start_alone();
    connect_ends(&client, &server, V4);
    SAME(herald_netif_remove(home), 0);
    LOOP_UNTIL(client.failed && server.failed);
    SAME(client.error, ERR_ABRT);
    end_free(&client);
    end_free(&server);
    stop_alone();
}

static void stack_stopped(void)
{
    end client = {.want = 1000000}, server = {.reads = false}, other = {.reads = false};
    struct tcp_pcb *listener;
    struct lwipevbuf *looking;
    start_alone();
    connect_ends(&client, &server, V4);
    listener = listen_on(8, &other, end_accepted);
    looking = lwipevbuf_new(NULL);
    SAME(lwipevbuf_connect_hostname(looking, AF_INET, V4, 8), 0);
    /* It lingers, since the peer does not read. */
    end_free(&client);
    SAME(tcp_close(listener), ERR_OK);
    stop_alone();
    /* What is not freed can still be, and a stack can follow. */
    lwipevbuf_free(server.buffer);
    lwipevbuf_free(looking);
    start_alone();
    memset(&client, 0, sizeof client);
    memset(&server, 0, sizeof server);
    client.want = 1000;
    server.reads = true;
    connect_ends(&client, &server, V6);
    LOOP_UNTIL(server.received == 1000);
    end_free(&client);
    end_free(&server);
    all_closed();
    stop_alone();
    CHECK(tcp_active_pcbs == NULL && tcp_listen_pcbs.pcbs == NULL);
}

static void *elsewhere(void *arg)
{
    struct lwipevbuf *buffer = (struct lwipevbuf *)arg;
    REFUSED(lwipevbuf_new(NULL) != NULL, EPERM, "another thread");
    REFUSED(lwipevbuf_shutdown(buffer) == 0, EPERM, "another thread");
    lwipevbuf_free(buffer);
    return NULL;
}

static void misuse_is_refused(void)
{
    struct lwipevbuf *buffer;
    struct tcp_pcb *pcb, *listener;
    struct sockaddr_in to;
    pthread_t thread;
    REFUSED(lwipevbuf_new(NULL) != NULL, ENXIO, "libevent_timeouts_init");
    start_alone();
    listener = listen_on(7, NULL, NULL);
    REFUSED(lwipevbuf_new(listener) != NULL, EINVAL, "those that it accepts");
    SAME(tcp_close(listener), ERR_OK);

    pcb = tcp_new_ip_type(IPADDR_TYPE_V4);
    buffer = lwipevbuf_new(pcb);
    CHECK(buffer != NULL && buffer->pcb == pcb);
    SAME(pthread_create(&thread, NULL, elsewhere, buffer), 0);
    SAME(pthread_join(thread, NULL), 0);
    memset(&to, 0, sizeof to);
    REFUSED(lwipevbuf_connect(buffer, NULL, 16) == 0, EINVAL, "NULL");
    REFUSED(lwipevbuf_connect(buffer, (struct sockaddr *)&to, -1) == 0, EINVAL, "-1 bytes");
    REFUSED(lwipevbuf_connect(buffer, (struct sockaddr *)&to, sizeof to) == 0, EAFNOSUPPORT, "family 0");
    to.sin_family = AF_INET;
    REFUSED(lwipevbuf_connect(buffer, (struct sockaddr *)&to, sizeof to) == 0, EINVAL, "port 0");
    /* Not connected: nothing happens. */
    lwipevbuf_output(buffer);
    SAME(lwipevbuf_shutdown(buffer), 0);
    lwipevbuf_free(buffer);
    /* A second time is harmless. */
    REFUSED(lwipevbuf_shutdown(buffer) == 0, ENOENT, "no longer");
    lwipevbuf_free(buffer);
    lwipevbuf_abort(buffer);
    lwipevbuf_free(NULL);
    lwipevbuf_abort(NULL);
    REFUSED(lwipevbuf_shutdown(NULL) == 0, EINVAL, "NULL");
    lwipevbuf_output(NULL);
    lwipevbuf_set_read_max(NULL, 1);
    lwipevbuf_setcb(NULL, NULL, NULL, NULL, NULL);
    stop_alone();
}

static void a_thousand_times(void)
{
    unsigned i, count = scaled(1000);
    start_alone();
    for (i = 0; i < count; i++) {
        end client = {.want = 3000, .reads = true}, server = {.want = 3000, .reads = true};
        connect_ends(&client, &server, i % 2 ? V4 : V6);
        if (i % 3 > 0) LOOP_UNTIL(client.received == 3000 && server.received == 3000);
        if (i % 4 < 2) end_free(&client);
        else lwipevbuf_abort(client.buffer);
        if (i % 5 > 0) LOOP_UNTIL(server.ended || server.failed);
        end_free(&server);
        all_closed();
    }
    stop_alone();
}

static const test tests[] = {
    {"both_ways_at_once", both_ways_at_once},
    {"more_than_64k_drained_at_once", more_than_64k_drained_at_once},
    {"nothing_is_corrupted_in_flight", nothing_is_corrupted_in_flight},
    {"freed_in_its_callbacks", freed_in_its_callbacks},
    {"free_lingers", free_lingers},
    {"free_with_unread_input_lingers", free_with_unread_input_lingers},
    {"abort_resets", abort_resets},
    {"read_max_holds_the_peer_back", read_max_holds_the_peer_back},
    {"half_close", half_close},
    {"errors_are_told", errors_are_told},
    {"hosts_by_name", hosts_by_name},
    {"netif_removed", netif_removed},
    {"stack_stopped", stack_stopped},
    {"misuse_is_refused", misuse_is_refused},
    {"a_thousand_times", a_thousand_times},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

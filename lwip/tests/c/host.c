/* SPDX-License-Identifier: MIT OR Apache-2.0
 * host: look-ups, with name servers of all kinds. */
#include "dns.h"

#include <pthread.h>
#include <sys/prctl.h>

typedef struct look {
    struct host_data host;
    unsigned found, failed;
} look;

static void look_found(struct host_data *host)
{
    look *l = (look *)((char *)host - offsetof(look, host));
    CHECK(!host_busy(host));
    l->found++;
}

static void look_failed(struct host_data *host)
{
    look *l = (look *)((char *)host - offsetof(look, host));
    CHECK(!host_busy(host));
    l->failed++;
}

static void look_for(look *l, const char *name)
{
    memset(l, 0, sizeof *l);
    l->host.found = look_found;
    l->host.failed = look_failed;
    CHECK(strlen(name) < sizeof l->host.fqdn);
    strcpy(l->host.fqdn, name);
}

/* Looks up a name; true if it was found. */
static bool look_up(look *l, const char *name, int family)
{
    look_for(l, name);
    SAME(host_lookup_family(&l->host, family), 0);
    /* Never at once, whatever it is. */
    CHECK(host_busy(&l->host) && l->found + l->failed == 0);
    LOOP_UNTIL(!host_busy(&l->host));
    SAME(l->found + l->failed, 1);
    return l->found == 1;
}

static void finds(const char *name, int family, const char *expected, const char *fqdn)
{
    look l;
    ip_addr_t a = address(expected);
    if (!look_up(&l, name, family)) check_failed(__FILE__, __LINE__, name);
    if (!ip_addr_cmp(&l.host.ipaddr, &a)) check_failed(__FILE__, __LINE__, name);
    if (strcmp(l.host.fqdn, fqdn) != 0) check_failed(__FILE__, __LINE__, l.host.fqdn);
}

static void misses(const char *name, int family)
{
    look l;
    if (look_up(&l, name, family)) check_failed(__FILE__, __LINE__, name);
    SAME(strcmp(l.host.fqdn, name), 0);
}

static void names_and_families(void)
{
    struct dns_server server;
    unsigned i, j;
    start_alone();
    dns_start(&server, V6, 5353);
    finds("both.test", AF_UNSPEC, V4, "both.test");
    finds("both.test", AF_INET, V4, "both.test");
    finds("both.test", AF_INET6, V6, "both.test");
    finds("Six.Test.", AF_UNSPEC, V6, "six.test");
    misses("six.test", AF_INET);
    misses("none.test", AF_UNSPEC);
    /* Numeric: no server is asked. */
    i = server.questions;
    finds("192.0.2.1", AF_UNSPEC, "192.0.2.1", "192.0.2.1");
    finds("2001:db8::1", AF_INET6, "2001:db8::1", "2001:db8::1");
    misses("192.0.2.1", AF_INET6);
    SAME(server.questions, i);
    /* Every question has an id and a port of its own, which nobody can guess. */
    for (i = 0; i < 30; i++) {
        char name[32];
        snprintf(name, sizeof name, "none%u.test", i);
        misses(name, AF_INET);
    }
    for (i = 0; i < server.questions; i++) {
        unsigned same = 0;
        CHECK(server.ports[i] >= 1024);
        for (j = 0; j < i; j++) {
            same += server.ids[i] == server.ids[j];
            CHECK(server.ids[i] != server.ids[j] || server.ports[i] != server.ports[j]);
        }
        CHECK(same < 3);
    }
    CHECK(udp_pcbs == server.udp && udp_pcbs->next == NULL);
    dns_stop(&server);
    stop_alone();
}

static void aliases(void)
{
    struct dns_server server;
    unsigned before;
    start_alone();
    dns_start(&server, V4, 53);
    finds("alias.test", AF_INET, V4, "alias.test");
    finds("alias.test", AF_INET6, V6, "alias.test");
    before = server.questions;
    finds("chain.test", AF_INET, "192.0.2.80", "chain.test");
    SAME(server.questions, before + 2);
    misses("loop.test", AF_UNSPEC);
    before = server.questions;
    misses("endless0.test", AF_INET);
    CHECK(server.questions - before <= 9);
    dns_stop(&server);
    stop_alone();
}

static void what_is_truncated_comes_over_tcp(void)
{
    struct dns_server server;
    start_alone();
    dns_start(&server, V4, 53);
    finds("big.test", AF_INET, "192.0.2.2", "big.test");
    SAME(server.tcp_questions, 1);
    misses("cut.test", AF_INET);
    SAME(server.tcp_questions, 3);
    /* No TCP there: the next server is asked. */
    SAME(tcp_close(server.tcp), ERR_OK);
    misses("big2.test", AF_INET);
    host_clear_servers();
    udp_remove(server.udp);
    all_closed();
    stop_alone();
}

static void servers_that_mean_no_good(void)
{
    struct dns_server server;
    start_alone();
    dns_start(&server, V4, 53);
    finds("garbage.test", AF_INET, "192.0.2.4", "garbage.test");
    finds("forged.test", AF_INET, "192.0.2.5", "forged.test");
    misses("refused.test", AF_INET);
    misses("servfail.test", AF_UNSPEC);
    dns_stop(&server);
    stop_alone();
}

static void servers_are_asked_in_turn(void)
{
    struct dns_server one, two, three;
    ip_addr_t nowhere = address("2001:db8:ffff::1");
    unsigned i;
    start_alone();
    dns_start(&one, V4, 53);
    dns_start(&two, V6, 5353);
    /* The first does not answer. */
    two.questions = 1;
    finds("deaf.test", AF_INET, "192.0.2.3", "deaf.test");
    SAME(one.questions, 1);
    SAME(two.questions, 2);
    /* The only one does not, at first. */
    host_clear_servers();
    dns_stop(&two);
    dns_stop(&one);
    netif_set_default(NULL);
    SAME(host_add_server(&nowhere, 0), 0);
    dns_start(&three, V4, 53);
    finds("deaf.test", AF_INET, "192.0.2.3", "deaf.test");
    CHECK(three.questions == 2);
    /* The first refuses: the second is not waited for. */
    misses("refused.test", AF_INET);
    for (i = 2; i < 16; i++) SAME(host_add_server(&nowhere, 0), 0);
    REFUSED(host_add_server(&nowhere, 0) == 0, ENOSPC, "16");
    host_clear_servers();
    dns_stop(&three);
    stop_alone();
}

static void search_domains(void)
{
    struct dns_server server;
    char *first = strdup("sub.corp.test");
    unsigned before;
    start_alone();
    dns_start(&server, V4, 53);
    CHECK(host_get_search(0) == NULL);
    misses("www", AF_INET);
    host_add_search(first);
    host_add_search(strdup(".Corp.Test"));
    SAME(strcmp(host_get_search(0), "sub.corp.test"), 0);
    SAME(strcmp(host_get_search(1), ".Corp.Test"), 0);
    CHECK(host_get_search(2) == NULL);
    before = server.questions;
    finds("www", AF_INET, "192.0.2.80", "www.corp.test");
    SAME(server.questions, before + 2);
    /* Absolute, and bare first since there is a dot. */
    misses("www.", AF_INET);
    SAME(strcmp(server.name, "www"), 0);
    finds("www.corp.test", AF_INET, "192.0.2.80", "www.corp.test");
    misses("a.test", AF_INET);
    SAME(strcmp(server.name, "a.test.corp.test"), 0);
    /* A server that cannot say ends the look-up: another name would be the wrong one. */
    misses("refused.test", AF_INET);
    SAME(strcmp(server.name, "refused.test"), 0);
    /* Bare at last. */
    misses("b", AF_INET);
    SAME(strcmp(server.name, "b"), 0);
    host_clear_search();
    CHECK(host_get_search(0) == NULL);
    before = server.questions;
    misses("b", AF_INET);
    SAME(server.questions, before + 1);
    dns_stop(&server);
    stop_alone();
}

static void answers_are_kept(void)
{
    struct dns_server server;
    double end;
    start_alone();
    dns_start(&server, V4, 53);
    finds("both.test", AF_INET, V4, "both.test");
    finds("BOTH.test.", AF_INET, V4, "both.test");
    finds("chain.test", AF_INET, "192.0.2.80", "chain.test");
    SAME(server.questions, 3);
    finds("chain.test", AF_INET, "192.0.2.80", "chain.test");
    SAME(server.questions, 3);
    finds("short.test", AF_INET, "192.0.2.1", "short.test");
    SAME(server.questions, 4);
    end = now() + 1.1;
    LOOP_UNTIL(now() > end);
    finds("short.test", AF_INET, "192.0.2.1", "short.test");
    SAME(server.questions, 5);
    host_clear_servers();
    dns_stop(&server);
    dns_start(&server, V4, 53);
    finds("both.test", AF_INET, V4, "both.test");
    SAME(server.questions, 1);
    dns_stop(&server);
    stop_alone();
}

/* ---- ending look-ups */

static look *victims[4];

static void abort_others(struct host_data *host)
{
    size_t i;
    look_found(host);
    for (i = 0; i < COUNT_OF(victims); i++) {
        if (victims[i] == NULL) continue;
        host_abort(&victims[i]->host);
        CHECK(!host_busy(&victims[i]->host));
        /* Freed at once: nothing writes to it. */
        free(victims[i]);
        victims[i] = NULL;
    }
}

static void again(struct host_data *host)
{
    look_found(host);
    host->found = look_found;
    strcpy(host->fqdn, "six.test");
    host_lookup(host);
}

static void aborted_at_any_time(void)
{
    static const char *const names[] = {"both.test", "silent.test", "big.test", V4};
    struct dns_server server;
    unsigned turns;
    size_t i;
    look l;
    start_alone();
    dns_start(&server, V4, 53);
    /* After so many turns of the loop. */
    for (turns = 0; turns < 6; turns++) {
        for (i = 0; i < COUNT_OF(names); i++) {
            look *victim = (look *)malloc(sizeof *victim);
            unsigned turn;
            look_for(victim, names[i]);
            host_lookup(&victim->host);
            CHECK(host_busy(&victim->host));
            for (turn = 0; turn < turns; turn++) event_base_loop(base, EVLOOP_NONBLOCK);
            host_abort(&victim->host);
            CHECK(!host_busy(&victim->host));
            free(victim);
            host_clear_servers();
            SAME(host_add_server(&server.udp->local_ip, 0), 0);
        }
    }
    for (turns = 0; turns < 20; turns++) event_base_loop(base, EVLOOP_NONBLOCK);
    CHECK(udp_pcbs == server.udp && udp_pcbs->next == NULL);
    all_closed();

    /* From within the callback of another. */
    for (i = 0; i < COUNT_OF(victims); i++) {
        victims[i] = (look *)malloc(sizeof *victims[i]);
        look_for(victims[i], names[i % 2 ? 1 : 2]);
        host_lookup(&victims[i]->host);
    }
    look_for(&l, V6);
    l.host.found = abort_others;
    host_lookup(&l.host);
    LOOP_UNTIL(l.found == 1);
    for (turns = 0; turns < 20; turns++) event_base_loop(base, EVLOOP_NONBLOCK);

    /* Begun anew from within its own, and over one that is under way. */
    look_for(&l, "both.test");
    l.host.found = again;
    host_lookup(&l.host);
    LOOP_UNTIL(l.found == 2);
    SAME(strcmp(l.host.fqdn, "six.test"), 0);
    look_for(&l, "silent.test");
    host_lookup(&l.host);
    event_base_loop(base, EVLOOP_NONBLOCK);
    strcpy(l.host.fqdn, "both.test");
    host_lookup(&l.host);
    LOOP_UNTIL(l.found + l.failed == 1);
    SAME(l.found, 1);
    dns_stop(&server);
    stop_alone();
}

static void ends_with_the_stack(void)
{
    struct dns_server server;
    look looks[3];
    size_t i;
    start_alone();
    dns_start(&server, V4, 53);
    look_for(&looks[0], "silent.test");
    look_for(&looks[1], "silent.big.test");
    look_for(&looks[2], V4);
    for (i = 0; i < 2; i++) host_lookup(&looks[i].host);
    event_base_loop(base, EVLOOP_NONBLOCK);
    host_lookup(&looks[2].host);
    dns_stop(&server);
    stop_alone();
    for (i = 0; i < 3; i++) {
        CHECK(!host_busy(&looks[i].host));
        SAME(looks[i].found + looks[i].failed, 0);
    }
    CHECK(udp_pcbs == NULL);
    /* Servers stay; there is no lwIP. */
    host_lookup(&looks[0].host);
    CHECK(!host_busy(&looks[0].host));
    start_alone();
    dns_start(&server, V4, 53);
    finds("both.test", AF_INET, V4, "both.test");
    dns_stop(&server);
    stop_alone();
}

static void *elsewhere(void *arg)
{
    look *l = (look *)arg;
    REFUSED(host_lookup_family(&l->host, AF_INET) == 0, EPERM, "another thread");
    host_abort(&l->host);
    return NULL;
}

static void misuse_is_refused(void)
{
    look l;
    pthread_t thread;
    ip_addr_t server = address(V4);
    look_for(&l, "a.test");
    REFUSED(host_lookup_family(&l.host, AF_INET) == 0, ENXIO, "libevent_timeouts_init");
    start_alone();
    REFUSED(host_lookup_family(NULL, AF_INET) == 0, EINVAL, "NULL");
    host_lookup(NULL);
    host_abort(NULL);
    REFUSED(host_lookup_family(&l.host, AF_INET) == 0, ENOENT, "host_add_server");
    /* It fails nevertheless, from the loop. */
    CHECK(host_busy(&l.host));
    LOOP_UNTIL(l.failed == 1);
    SAME(host_add_server(&server, 53), 0);
    SAME(pthread_create(&thread, NULL, elsewhere, &l), 0);
    SAME(pthread_join(thread, NULL), 0);
    REFUSED(host_lookup_family(&l.host, AF_UNIX) == 0, EAFNOSUPPORT, "must be AF_INET");
    LOOP_UNTIL(l.failed == 2);
    strcpy(l.host.fqdn, "a..b");
    REFUSED(host_lookup_family(&l.host, AF_INET) == 0, EINVAL, "\"a..b\" is not a name");
    memset(l.host.fqdn, 'a', sizeof l.host.fqdn);
    REFUSED(host_lookup_family(&l.host, AF_INET) == 0, EINVAL, "has no end");
    LOOP_UNTIL(l.failed == 3);
    REFUSED(host_add_server(NULL, 53) == 0, EINVAL, "NULL");
    host_add_search(NULL);
    SAME(l.found, 0);
    stop_alone();
}

/* ---- a real server */

static void debians_dnsmasq_answers(void)
{
    char *arguments[100] = {(char *)"dnsmasq", (char *)"--keep-in-foreground", (char *)"--no-resolv",
                            (char *)"--no-hosts", (char *)"--conf-file=/dev/null", (char *)"--pid-file",
                            (char *)"--log-facility=/dev/null", (char *)"--user=root", (char *)"--local=/test/",
                            (char *)"--host-record=both.test,192.0.2.9,2001:db8::9",
                            (char *)"--host-record=www.corp.test,192.0.2.10", (char *)"--cname=alias.test,both.test"};
    size_t used = 12;
    unsigned i;
    pid_t pid;
    ip_addr_t v4 = address("10.9.0.2"), v6 = address("fd00::2");
    struct herald_tunif_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.ipv4 = "10.9.0.2/24";
    options.ipv6 = "fd00::2/64";
    for (i = 0; i < 60; i++) {
        char text[64];
        snprintf(text, sizeof text, "--host-record=big.test,192.0.2.%u", i + 1);
        arguments[used++] = strdup(text);
    }
    start_stack();
    set_up(tunif_add_ex(base, "tun0", 0, &options), "10.9.0.1", "fd00::1");
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp(arguments[0], arguments);
        _exit(127);
    }
    SAME(host_add_server(&v4, 0), 0);
    host_add_search(strdup("corp.test"));
    {
        /* Until it listens. */
        look l;
        double end = now() + SOON;
        while (!look_up(&l, "both.test", AF_INET)) CHECK(now() < end);
    }
    finds("both.test", AF_INET, "192.0.2.9", "both.test");
    finds("both.test", AF_INET6, "2001:db8::9", "both.test");
    finds("alias.test", AF_UNSPEC, "192.0.2.9", "alias.test");
    finds("www", AF_UNSPEC, "192.0.2.10", "www.corp.test");
    misses("none.test", AF_UNSPEC);
    host_clear_servers();
    SAME(host_add_server(&v6, 0), 0);
    finds("both.test", AF_INET6, "2001:db8::9", "both.test");
    {
        /* Sixty addresses do not fit into 512 bytes. */
        look l;
        CHECK(look_up(&l, "big.test", AF_INET));
        SAME(ip4_addr3(ip_2_ip4(&l.host.ipaddr)), 2);
    }
    CHECK(kill(pid, SIGKILL) == 0);
    CHECK(waitpid(pid, NULL, 0) == pid);
    all_closed();
    stop_stack();
}

static const test tests[] = {
    {"names_and_families", names_and_families},
    {"aliases", aliases},
    {"what_is_truncated_comes_over_tcp", what_is_truncated_comes_over_tcp},
    {"servers_that_mean_no_good", servers_that_mean_no_good},
    {"servers_are_asked_in_turn", servers_are_asked_in_turn},
    {"search_domains", search_domains},
    {"answers_are_kept", answers_are_kept},
    {"aborted_at_any_time", aborted_at_any_time},
    {"ends_with_the_stack", ends_with_the_stack},
    {"misuse_is_refused", misuse_is_refused},
    {"debians_dnsmasq_answers", debians_dnsmasq_answers},
};

int main(int argc, char **argv)
{
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

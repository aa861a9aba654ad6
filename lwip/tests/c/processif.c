/* SPDX-License-Identifier: MIT OR Apache-2.0
 * processif: the peer is a child of this process. It is this program again, run by the shell. */
#include "lab.h"

#define BYTES (1u << 20)

static int downs;

static void went_down(struct netif *netif, int error, const char *text, void *ctx)
{
    CHECK(ctx == &downs && strstr(text, "closed") != NULL && !netif_is_link_up(netif));
    SAME(error, 0);
    downs++;
}

/* What the child is: a stack over its standard input and output. */
static int child(int ether)
{
    stream s;
    start_stack();
    set_up(fdif_add(base, 0, 1, ether), "10.9.0.2", "fd00::2");
    stream_listen(&s, 7, BYTES);
    LOOP_UNTIL(s.received == BYTES && s.acked == BYTES && s.ended);
    stream_close(&s);
    LOOP_UNTIL(tcp_active_pcbs == NULL);
    return 0;
}

static void transfer(int ether)
{
    char script[300], self[200];
    stream s;
    struct netif *netif;
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(length > 0);
    self[length] = '\0';
    snprintf(script, sizeof script, "exec %s child %d", self, ether);
    start_stack();
    netif = processif_add(base, script, ether);
    set_up(netif, "10.9.0.1", "fd00::1");
    SAME(herald_netif_set_down_cb(netif, went_down, &downs), 0);
    stream_connect(&s, ether ? "10.9.0.2" : "fd00::2", 7, BYTES);
    LOOP_UNTIL(s.received == BYTES && s.acked == BYTES);
    stream_close(&s);
    LOOP_UNTIL(downs == 1);
    SAME(herald_netif_remove(netif), 0);
    stop_stack();
    /* Nothing is left of the child. */
    SAME(waitpid(-1, NULL, 0), -1);
    SAME(errno, ECHILD);
}

static void ethernet(void) { transfer(1); }
static void ip(void) { transfer(0); }

/* A child that cannot be run, or ends, is a netif that goes down. */
static void a_child_that_ends(void)
{
    struct netif *netif;
    start_stack();
    netif = processif_add(base, "exit 3", 0);
    CHECK(netif != NULL);
    SAME(herald_netif_set_down_cb(netif, went_down, &downs), 0);
    LOOP_UNTIL(downs == 1);
    /* Who asks later is told as well. */
    SAME(herald_netif_set_down_cb(netif, went_down, &downs), 0);
    LOOP_UNTIL(downs == 2);
    stop_stack();
}

/* Removal gives the child, and its children, the time that it is given to tidy up. */
static void a_child_tidies_up(void)
{
    char script[700];
    struct netif *netif;
    snprintf(script, sizeof script, "trap 'touch %s; exit' TERM; touch %s; while :; do sleep 0.05; done",
             path_of("tidy"), path_of("ready"));
    start_stack();
    netif = processif_add(base, script, 0);
    CHECK(netif != NULL);
    LOOP_UNTIL(access(path_of("ready"), F_OK) == 0);
    SAME(herald_netif_remove(netif), 0);
    LOOP_UNTIL(access(path_of("tidy"), F_OK) == 0);
    stop_stack();
    SAME(waitpid(-1, NULL, 0), -1);
}

static void a_child_that_does_not_listen(void)
{
    char script[700];
    struct netif *netif;
    struct herald_processif_options options;
    siginfo_t info;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.grace_ms = 100;
    memset(&info, 0, sizeof info);
    snprintf(script, sizeof script, "trap '' TERM; touch %s; while :; do sleep 100; done", path_of("ready"));
    start_stack();
    netif = processif_add_ex(base, script, 0, &options);
    CHECK(netif != NULL);
    LOOP_UNTIL(access(path_of("ready"), F_OK) == 0);
    SAME(herald_netif_remove(netif), 0);
    LOOP_UNTIL(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == -1 && errno == ECHILD);
    stop_stack();
}

static void errors(void)
{
    int before = open_fds();
    start_stack();
    REFUSED(processif_add(base, NULL, 0), EINVAL, "script is NULL");
    stop_stack();
    SAME(open_fds(), before);
}

static const test tests[] = {
    {"ethernet", ethernet},
    {"ip", ip},
    {"a_child_that_ends", a_child_that_ends},
    {"a_child_tidies_up", a_child_tidies_up},
    {"a_child_that_does_not_listen", a_child_that_does_not_listen},
    {"errors", errors},
};

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "child") == 0) return child(atoi(argv[2]));
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The promise: a hub belongs to the process that opened it. A forked child can neither use nor
 * hurt its parent's, and can have its own.
 */
#include "check.h"

#include <fcntl.h>

/* A hub with a server and a client, which a child is about to inherit. */
typedef struct parent {
    const char *path;
    herald_hub *hub;
    client c;
    uint32_t number;
} parent;

static parent start(void)
{
    parent p;
    p.path = path_of("evt");
    p.hub = open_hub(NULL);
    serve(p.hub, p.path);
    p.c = subscribe(p.path, UP);
    p.number = 0;
    SAME(publish_number(p.hub, p.number), HERALD_OK);
    expect_number(&p.c, p.number++);
    return p;
}

/* The parent's hub works as before, with its old client and with a new one. */
static void works(parent *p)
{
    client fresh = subscribe(p->path, UP);
    SAME(publish_number(p->hub, p->number), HERALD_OK);
    expect_number(&p->c, p->number);
    expect_number(&fresh, p->number++);
    close(fresh.fd);
}

static void end(parent *p)
{
    close_hub(p->hub);
    expect_end(&p->c);
    CHECK(access(p->path, F_OK) != 0);
}

/* Runs `body` in a child and waits for the child's good end. */
static void in_child(void (*body)(parent *p), parent *p)
{
    int status = 0;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        body(p);
        leave_child();
    }
    CHECK(waitpid(child, &status, 0) == child);
    SAME(status, 0);
}

static void is_refused_everything(parent *p)
{
    herald_event_sock_options options = sock_options(path_of("child"));
    herald_datagram_options datagrams;
    herald_param param = herald_param_int("n", 1);
    int round;
    memset(&datagrams, 0, sizeof datagrams);
    datagrams.size = sizeof datagrams;
    datagrams.to = "udp:127.0.0.1:9";
    for (round = 0; round < 2; round++) {
        SAME(publish_number(p->hub, 1000), HERALD_ERROR_FORKED);
        SAME(herald_publish(p->hub, "E", &param, 1), HERALD_ERROR_FORKED);
        SAME(herald_hub_serve_event_sock(p->hub, &options), HERALD_ERROR_FORKED);
        CHECK(access(options.path, F_OK) != 0);
        SAME(herald_hub_add_datagram(p->hub, &datagrams), HERALD_ERROR_FORKED);
    }
}

static void a_child_is_refused(void)
{
    parent p = start();
    in_child(is_refused_everything, &p);
    works(&p);
    end(&p);
}

static herald_vpp_api *api;
static herald_vpp_event *prepared;

/* "every function that takes it or its VPP API answers HERALD_ERROR_FORKED", says the header. */
static void is_refused_the_rest(parent *p)
{
    herald_vpp_api_options options;
    herald_vpp_event *none = prepared;
    uint32_t listeners = 0;
    herald_stats stats;
    herald_subscriber_stats list[1];
    size_t count = 0;
    memset(&stats, 0, sizeof stats);
    stats.size = sizeof stats;
    SAME(herald_hub_attach_thread(p->hub), HERALD_ERROR_FORKED);
    SAME(herald_hub_stats(p->hub, &stats), HERALD_ERROR_FORKED);
    SAME(herald_hub_subscribers(p->hub, list, sizeof list[0], 1, &count), HERALD_ERROR_FORKED);
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.path = path_of("child");
    SAME(herald_hub_serve_vpp_api(p->hub, &options, NULL), HERALD_ERROR_FORKED);
    SAME(herald_vpp_api_publish(api, "herald_event", NULL, 0), HERALD_ERROR_FORKED);
    SAME(herald_vpp_api_listeners(api, "herald_event", &listeners), HERALD_ERROR_FORKED);
    SAME(herald_vpp_event_publish(prepared, NULL, 0), HERALD_ERROR_FORKED);
    SAME(herald_vpp_api_prepare(api, "herald_event", NULL, 0, &none), HERALD_ERROR_FORKED);
    CHECK(none == NULL);
}

static void a_child_is_refused_all_else(void)
{
    parent p = start();
    herald_vpp_api_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.path = path_of("api");
    SAME(herald_hub_serve_vpp_api(p.hub, &options, &api), HERALD_OK);
    SAME(herald_vpp_api_prepare(api, "herald_event", NULL, 0, &prepared), HERALD_OK);
    in_child(is_refused_the_rest, &p);
    works(&p);
    end(&p);
}

static void closes(parent *p)
{
    footprint before = measure();
    SAME(herald_hub_close(&p->hub), HERALD_OK);
    CHECK(p->hub == NULL);
    SAME(herald_hub_close(&p->hub), HERALD_OK);
    SAME(measure().fds, before.fds); /* they were closed already; nobody else's are */
}

static void a_child_that_closes_harms_nobody(void)
{
    parent p = start();
    struct stat before, after;
    CHECK(lstat(p.path, &before) == 0);
    in_child(closes, &p);
    CHECK(lstat(p.path, &after) == 0 && before.st_ino == after.st_ino);
    works(&p);
    SAME(stats_of(p.hub).published, p.number);
    end(&p);
}

enum { DESCRIPTORS = 256 };
static struct stat of_the_hub[DESCRIPTORS]; /* with inode 0 where it has none */

/* A hub with a server and a client; which descriptors are the hub's is noted. */
static parent start_and_note(void)
{
    bool others[DESCRIPTORS];
    parent p;
    int fd, count = 0;
    for (fd = 0; fd < DESCRIPTORS; fd++) others[fd] = fstat(fd, &of_the_hub[fd]) == 0;
    p = start();
    for (fd = 0; fd < DESCRIPTORS; fd++) {
        if (others[fd] || fd == p.c.fd || fstat(fd, &of_the_hub[fd]) != 0) of_the_hub[fd].st_ino = 0;
        count += of_the_hub[fd].st_ino != 0;
    }
    CHECK(count >= 4); /* what wakes the worker, its epoll, the listener, the connection */
    return p;
}

static void closes_descriptors(parent *p)
{
    struct stat found;
    int fd;
    (void)p;
    for (fd = 0; fd < DESCRIPTORS; fd++) {
        if (of_the_hub[fd].st_ino == 0 || fstat(fd, &found) != 0) continue;
        CHECK(found.st_ino != of_the_hub[fd].st_ino || found.st_dev != of_the_hub[fd].st_dev);
    }
}

static void a_child_holds_no_descriptor(void)
{
    parent p = start_and_note();
    in_child(closes_descriptors, &p);
    end(&p);
}

static void reads_what_is_in_their_place(parent *p)
{
    char byte = 1;
    int fd;
    (void)p;
    for (fd = 0; fd < DESCRIPTORS; fd++) {
        if (of_the_hub[fd].st_ino == 0) continue;
        SAME(read(fd, &byte, 1), 1);
        SAME(byte, 0);
    }
}

/* A program that closes what is not its own, and opens something there, has that in its children. */
static void a_child_keeps_what_was_opened_in_the_place_of_ours(void)
{
    parent p = start_and_note();
    int fd, zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    CHECK(zero >= 0);
    for (fd = 0; fd < DESCRIPTORS; fd++) {
        if (of_the_hub[fd].st_ino != 0) CHECK(dup2(zero, fd) == fd);
    }
    in_child(reads_what_is_in_their_place, &p);
    reads_what_is_in_their_place(&p);
    SAME(publish_number(p.hub, 1), HERALD_ERROR_FAILED);
    close_hub(p.hub);
    reads_what_is_in_their_place(&p);
}

static void lives_on_its_own(parent *p)
{
    const char *path = path_of("child");
    herald_hub *hub;
    client c;
    if (p->number % 2 == 0) SAME(herald_hub_close(&p->hub), HERALD_OK);
    hub = open_hub(NULL);
    serve(hub, path);
    c = subscribe(path, UP);
    SAME(publish_number(hub, 1), HERALD_OK);
    expect_number(&c, 1);
    close_hub(hub);
    expect_end(&c);
    CHECK(access(path, F_OK) != 0 && access(p->path, F_OK) == 0);
}

static void a_child_has_its_own_hub(void)
{
    parent p = start();
    in_child(lives_on_its_own, &p);
    works(&p);
    in_child(lives_on_its_own, &p);
    works(&p);
    end(&p);
}

/* The thread of the child's own hub may have the number of the parent's, which the child lacks. */
static void closes_after_opening(parent *p)
{
    const char *path = path_of("child");
    herald_hub *hub = open_hub(NULL);
    footprint before = measure();
    client c;
    SAME(before.threads, 2);
    serve(hub, path);
    SAME(herald_hub_close(&p->hub), HERALD_OK);
    c = subscribe(path, UP);
    SAME(publish_number(hub, 1), HERALD_OK);
    expect_number(&c, 1);
    SAME(herald_hub_close(&hub), HERALD_OK);
    expect_end(&c);
}

static void a_child_closes_its_parents_hub_after_opening_its_own(void)
{
    parent p = start();
    in_child(closes_after_opening, &p);
    works(&p);
    end(&p);
}

/* A child that outlives its parent's hub keeps neither its clients waiting nor its place taken. */
static void a_child_that_stays(void)
{
    parent p = start(), again;
    int stay[2], status;
    char byte;
    pid_t child;
    CHECK(pipe(stay) == 0);
    child = fork();
    if (child == 0) {
        close(stay[1]);
        close(p.c.fd);
        CHECK(read(stay[0], &byte, 1) == 0);
        leave_child();
    }
    end(&p);
    again = start();
    end(&again);
    close(stay[1]);
    CHECK(waitpid(child, &status, 0) == child);
    SAME(status, 0);
    close(stay[0]);
}

/* Another process than ours serves the socket. */
static void a_live_socket_is_not_stolen(void)
{
    parent p = start();
    herald_event_sock_options options = sock_options(p.path);
    int status;
    pid_t child = fork();
    if (child == 0) {
        herald_hub *hub = open_hub(NULL);
        REFUSED(herald_hub_serve_event_sock(hub, &options), HERALD_ERROR_IN_USE, p.path);
        close_hub(hub);
        leave_child();
    }
    CHECK(waitpid(child, &status, 0) == child);
    SAME(status, 0);
    works(&p);
    end(&p);
}

/* Leaves a socket at the path on which nobody listens. */
static void leave_dead_socket(const char *path)
{
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, path);
    CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    close(fd);
}

/* Processes that find the same dead socket at the same time: one replaces it, and keeps it. */
static void a_dead_socket_is_replaced_by_one_of_many(void)
{
    enum { MANY = 8 };
    const char *path = path_of("evt");
    uint32_t round, rounds = scaled(100);
    for (round = 0; round < rounds; round++) {
        int ready[2], start[2], answers[2], end[2], child, served = 0;
        herald_event_sock_options options = sock_options(path);
        unsigned char answer = 0;
        leave_dead_socket(path);
        CHECK(pipe(ready) == 0 && pipe(start) == 0 && pipe(answers) == 0 && pipe(end) == 0);
        for (child = 0; child < MANY; child++) {
            herald_hub *hub;
            if (fork() != 0) continue;
            close(start[1]);
            close(end[1]);
            hub = open_hub(NULL);
            CHECK(write(ready[1], &answer, 1) == 1);
            CHECK(read(start[0], &answer, 1) == 0);
            answer = (unsigned char)herald_hub_serve_event_sock(hub, &options);
            CHECK(write(answers[1], &answer, 1) == 1);
            CHECK(read(end[0], &answer, 1) == 0);
            close_hub(hub);
            leave_child();
        }
        for (child = 0; child < MANY; child++) CHECK(read(ready[0], &answer, 1) == 1);
        close(start[1]);
        for (child = 0; child < MANY; child++) {
            CHECK(read(answers[0], &answer, 1) == 1);
            CHECK(answer == HERALD_OK || answer == HERALD_ERROR_IN_USE);
            served += answer == HERALD_OK;
        }
        SAME(served, 1);
        close(try_connect(path));
        close(end[1]);
        for (child = 0; child < MANY; child++) CHECK(wait(NULL) > 0);
        CHECK(access(path, F_OK) != 0);
        close(ready[0]);
        close(ready[1]);
        close(start[0]);
        close(answers[0]);
        close(answers[1]);
        close(end[0]);
    }
}

static bool enough;

static void *publish_on(void *argument)
{
    parent *p = (parent *)argument;
    uint32_t number = 0;
    while (!__atomic_load_n(&enough, __ATOMIC_ACQUIRE)) {
        herald_error error = publish_number(p->hub, number++);
        CHECK(error == HERALD_OK || error == HERALD_ERROR_RING_FULL);
    }
    return NULL;
}

/* At whatever moment of the parent's other threads the fork comes. */
static void many_children_of_a_busy_parent(void)
{
    parent p = start();
    pthread_t thread;
    uint32_t round, rounds = scaled(100);
    frame found;
    close(p.c.fd);
    CHECK(pthread_create(&thread, NULL, publish_on, &p) == 0);
    for (round = 0; round < rounds; round++) {
        in_child(is_refused_everything, &p);
        in_child(closes, &p);
    }
    __atomic_store_n(&enough, true, __ATOMIC_RELEASE);
    CHECK(pthread_join(thread, NULL) == 0);
    p.c = subscribe(p.path, UP);
    close_hub(p.hub);
    while (next_frame(&p.c, &found)) number_of(&found);
    close(p.c.fd);
    CHECK(access(p.path, F_OK) != 0);
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        {"a_child_holds_no_descriptor", a_child_holds_no_descriptor},
        {"a_child_keeps_what_was_opened_in_the_place_of_ours",
         a_child_keeps_what_was_opened_in_the_place_of_ours},
        {"a_child_is_refused", a_child_is_refused},
        {"a_child_is_refused_all_else", a_child_is_refused_all_else},
        {"a_child_that_closes_harms_nobody", a_child_that_closes_harms_nobody},
        {"a_child_has_its_own_hub", a_child_has_its_own_hub},
        {"a_child_closes_its_parents_hub_after_opening_its_own",
         a_child_closes_its_parents_hub_after_opening_its_own},
        {"a_child_that_stays", a_child_that_stays},
        {"a_live_socket_is_not_stolen", a_live_socket_is_not_stolen},
        {"a_dead_socket_is_replaced_by_one_of_many", a_dead_socket_is_replaced_by_one_of_many},
        {"many_children_of_a_busy_parent", many_children_of_a_busy_parent},
    };
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

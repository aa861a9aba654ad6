/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The promise: what a publish costs the program is a copy. It allocates nothing, and makes no system
 * calls but those that wake the worker from a sleep, once.
 */
#include "check.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* ---- what is published ---- */

static herald_hub *hub;

static herald_error publish_parameters(size_t count)
{
    herald_param params[33];
    size_t i;
    for (i = 0; i < count; i++) params[i] = herald_param_string("name", "of some length");
    return herald_publish(hub, "E_COSTS", params, count);
}

static void publish_some(unsigned count)
{
    for (; count > 0; count--) {
        herald_error one = publish_number(hub, count), other = publish_parameters(count % 33);
        CHECK(one == HERALD_OK || one == HERALD_ERROR_RING_FULL);
        CHECK(other == HERALD_OK || other == HERALD_ERROR_RING_FULL);
    }
}

/* ---- a worker that is kept busy ---- */

static int hold, held;

static void keep_busy(void *context, int32_t level, const char *message)
{
    (void)context;
    (void)message;
    if (level != 4) return;
    __atomic_store_n(&held, 1, __ATOMIC_RELEASE);
    WAIT_UNTIL(!__atomic_load_n(&hold, __ATOMIC_ACQUIRE));
}

/* Opens the hub, with a client; the result is one that keeps the worker in its report of it. */
static client start(bool busy)
{
    const char *path = path_of("evt");
    static const unsigned char request[5] = {1, 0, 0, 0, 1};
    herald_hub_options options = hub_options();
    client bad;
    options.log = keep_busy;
    options.ring_bytes = 1 << 16;
    hold = busy;
    hub = open_hub(&options);
    serve(hub, path);
    bad = subscribe(path, 0);
    if (busy) {
        SAME(send(bad.fd, request, sizeof request, MSG_NOSIGNAL), (int)sizeof request);
        WAIT_UNTIL(__atomic_load_n(&held, __ATOMIC_ACQUIRE));
    }
    return bad;
}

static void end(client *bad)
{
    __atomic_store_n(&hold, 0, __ATOMIC_RELEASE);
    close_hub(hub);
    expect_end(bad);
}

/* ---- allocations ---- */

#ifdef __cplusplus
#define NOTHROW noexcept
extern "C" {
#else
#define NOTHROW
#endif
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static pthread_t counted;
static bool counting;
static unsigned long allocations;

static void count_allocation(void)
{
    if (__atomic_load_n(&counting, __ATOMIC_ACQUIRE) && pthread_equal(pthread_self(), counted)) allocations++;
}

void *malloc(size_t size) NOTHROW
{
    count_allocation();
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) NOTHROW
{
    count_allocation();
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) NOTHROW
{
    count_allocation();
    return __libc_realloc(old, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) NOTHROW
{
    count_allocation();
    *memory = __libc_memalign(alignment, size);
    return *memory != NULL ? 0 : ENOMEM;
}
#ifdef __cplusplus
}
#endif

static void nothing_is_allocated(void)
{
    int busy;
    counted = pthread_self();
    for (busy = 0; busy < 2; busy++) {
        client bad = start(busy != 0);
        SAME(herald_hub_attach_thread(hub), HERALD_OK);
        allocations = 0;
        __atomic_store_n(&counting, true, __ATOMIC_RELEASE);
        publish_some(3000); /* the ring is full by then, if nobody empties it */
        SAME(allocations, 0);
        publish_parameters(33);
        CHECK(allocations > 0); /* they are counted */
        __atomic_store_n(&counting, false, __ATOMIC_RELEASE);
        if (busy) CHECK(stats_of(hub).ring_full > 0);
        end(&bad);
    }
}

/* ---- system calls ---- */

#define LOAD_NUMBER BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ALLOW(call) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define KILL BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

static int done;

/* After this a system call of this thread that is not allowed is the end of the process. */
static void allow_only(struct sock_filter *filter, size_t length)
{
    struct sock_fprog program;
    program.len = (unsigned short)length;
    program.filter = filter;
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) perror("skipped: this kernel has no filters");
}

/* The thread cannot even end: it stays until the process does. */
static void stay(void)
{
    __atomic_store_n(&done, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&done, __ATOMIC_ACQUIRE)) continue;
}

static void *publish_without_system_calls(void *nothing)
{
    struct sock_filter none[] = {KILL};
    publish_some(1); /* which wakes the worker, for all that it knows */
    allow_only(none, COUNT_OF(none));
    publish_some(3000);
    stay();
    return nothing;
}

static void *publish_and_wake(void *nothing)
{
    struct sock_filter wake[] = {
        LOAD_NUMBER,
        ALLOW(SYS_epoll_ctl),
        ALLOW(SYS_fstat), /* the C library's fstat() is one of these */
        ALLOW(SYS_newfstatat),
        KILL,
    };
    SAME(herald_hub_attach_thread(hub), HERALD_OK);
    allow_only(wake, COUNT_OF(wake));
    publish_some(3000);
    stay();
    return nothing;
}

static void runs(void *(*publish)(void *), bool busy)
{
    client bad = start(busy);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, publish, NULL) == 0);
    WAIT_UNTIL(__atomic_load_n(&done, __ATOMIC_ACQUIRE));
    end(&bad);
}

static void no_system_call_once_the_worker_is_woken(void)
{
    runs(publish_without_system_calls, true);
}

static void only_those_that_wake_the_worker(void)
{
    runs(publish_and_wake, false);
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        {"nothing_is_allocated", nothing_is_allocated},
        {"no_system_call_once_the_worker_is_woken", no_system_call_once_the_worker_is_woken},
        {"only_those_that_wake_the_worker", only_those_that_wake_the_worker},
    };
    return run_tests(argc, argv, tests, COUNT_OF(tests));
}

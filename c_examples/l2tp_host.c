/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * l2tp_host: a stand-in for openl2tpd. It loads plugins exactly as the daemon
 * does, is as rude to them as the daemon is, and replays a script.
 *
 *     cc -std=gnu99 -rdynamic -o l2tp_host l2tp_host.c -ldl -pthread
 *     l2tp_host [-p PLUGIN]... [-s SCRIPT] [-i] [-c] [-r N] [-u N] [-z] [-a TEXT] [-v]
 *
 *     -p PLUGIN  load it; without a slash it is looked for in /usr/lib/openl2tp
 *     -s SCRIPT  commands from a file instead of standard input
 *     -i         set up inner hooks before the plugins load, for them to chain to
 *     -c         as -i, and at exit print how often each inner hook was called
 *     -r N       as -i, and the inner created hook rejects session N
 *     -u N       as -i, and the inner up hook refuses session N
 *     -z         hooks get NULL as session (else a pointer that traps if read)
 *     -a TEXT    abort() when a plugin's own thread logs a line containing TEXT
 *     -v         print the plugins' versions, and at exit the signals taken
 *
 * Commands, one per line, # begins a comment (T, S, PT, PS are ids):
 *     created T S | deleted T S | down T S | modified T S | up T S PT PS
 *     tunnel-created T | tunnel-deleted T | tunnel-down T | tunnel-modified T
 *     tunnel-up T PT
 *     flood N            N sessions: created, up, down, deleted
 *     storm N            N times: hooks without pause until a SIGHUP arrives
 *     hup | raise SIG    raise a signal inside an inner hook (of: up 1 1 1 1)
 *     fork | spawn SECS  a child that sleeps; spawn: that executes sleep
 *     forkpublish        a child that calls hooks and leaves by exit()
 *     closefds LOW HIGH  close descriptors, ours or not (the script's is spared)
 *     clean | init       call the plugins' clean-up or init
 *     reload | cycles N  clean-up, dlclose, dlopen, init; once or N times
 *     pause MS | segv | abort-thread | exit
 *
 * Each command answers with one line on standard output, "ok COMMAND ...
 * max_us M", M being the longest that any hook has taken so far. A single hook
 * also tells its result: a number, "none" when nobody has hooked, "abandoned"
 * when a signal left it.
 *
 * Exit status: 0; 1 a plugin does not load; 2 usage or a bad script; 125 a
 * plugin's thread took a signal that was meant for us; 127 a crash.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* ---- what a plugin finds in the daemon's dynamic symbol table ---- */

struct l2tp_session; /* opaque to plugins, and to us */
typedef int session_hook(const struct l2tp_session *, uint16_t, uint16_t);
typedef int up_hook(const struct l2tp_session *, uint16_t, uint16_t, uint16_t, uint16_t);
typedef int tunnel_hook(uint16_t);
typedef int tunnel_up_hook(uint16_t, uint16_t);
typedef void any_hook(void); /* any of the above, cast before the call */

/* Build with -DTUNNEL_HOOK=static for a daemon that does not offer these. */
#ifndef TUNNEL_HOOK
#define TUNNEL_HOOK
#endif

session_hook *l2tp_session_created_hook, *l2tp_session_deleted_hook;
session_hook *l2tp_session_modified_hook, *l2tp_session_down_hook;
up_hook *l2tp_session_up_hook;
TUNNEL_HOOK tunnel_hook *l2tp_tunnel_created_hook, *l2tp_tunnel_deleted_hook;
TUNNEL_HOOK tunnel_hook *l2tp_tunnel_modified_hook, *l2tp_tunnel_down_hook;
TUNNEL_HOOK tunnel_up_hook *l2tp_tunnel_up_hook;
void l2tp_log(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- state ---- */

enum event { CREATED, DELETED, MODIFIED, DOWN, UP, T_CREATED, T_DELETED, T_MODIFIED, T_DOWN, T_UP, EVENTS };

static struct plugin {
    char path[PATH_MAX];
    void *handle;
    int (*init)(void);
    void (*cleanup)(void);
} plugins[16], *plugins_end = plugins;

static bool use_inner, print_counts, verbose;
static long reject_session = -1, refuse_session = -1;
static const char *abort_on_log;
static const struct l2tp_session *session = (const struct l2tp_session *)1;

static unsigned long inner_calls[EVENTS];
static int raise_in_inner; /* a signal, once */
static long long max_ns;   /* the longest hook call */
static int script_fd = STDIN_FILENO;
static pid_t main_pid;
static pthread_t main_thread;

static sigjmp_buf main_loop;
static sigset_t no_signals; /* the main thread's mask: none blocked */
static volatile sig_atomic_t may_jump; /* in a callback, which signals leave */
static volatile sig_atomic_t hups, ticks, terminated;

/* ---- output: no stdio, whose locks and buffers a siglongjmp would break ---- */

__attribute__((format(printf, 2, 3))) static void say(int fd, const char *format, ...) {
    char line[1200];
    va_list list;
    va_start(list, format);
    int size = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    if (size < 0) return;
    if (size > (int)sizeof line - 1) size = sizeof line - 1;
    line[size++] = '\n';
    /* One line, one write: lines of concurrent threads do not mix. */
    while (write(fd, line, (size_t)size) < 0 && errno == EINTR) continue;
}

#define OK(format, ...) say(1, "ok " format " max_us %lld", __VA_ARGS__, (max_ns + 999) / 1000)
#define DIE(status, ...) (say(2, "l2tp_host: " __VA_ARGS__), exit(status))

void l2tp_log(int level, const char *format, ...) {
    static const char levels[8][8] = {"EMERG", "ALERT", "CRIT", "ERR", "WARNING", "NOTICE", "INFO", "DEBUG"};
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    text[strcspn(text, "\n")] = '\0';
    say(2, "%s %s", levels[level & 7], text);
    if (abort_on_log && !pthread_equal(pthread_self(), main_thread) && strstr(text, abort_on_log)) abort();
}

/* ---- signals ---- */

static void on_signal(int sig) {
    /* A plugin's thread that leaves a signal unblocked would run this on the
     * wrong stack. The daemon dies of it somehow; we say so. */
    if (!pthread_equal(pthread_self(), main_thread)) {
        say(2, "l2tp_host: signal %d was delivered to a foreign thread", sig);
        _exit(125);
    }
    ticks += sig == SIGALRM;
    hups += sig == SIGHUP;
    terminated |= sig == SIGINT || sig == SIGTERM;
    if (sig == SIGALRM || !may_jump) return;
    may_jump = 0;
    /* The jump leaves the mask alone: to have sigsetjmp save it would cost a
     * system call for each hook, and storms would hit little else. */
    sigprocmask(SIG_SETMASK, &no_signals, NULL);
    siglongjmp(main_loop, 1);
}

static void on_crash(int sig) {
    (void)sig;
    may_jump = 0;
    exit(127); /* with clean-up, on whatever thread this is, as the daemon does */
}

static void set_up_signals(void) {
    static const int caught[] = {SIGALRM, SIGHUP, SIGINT, SIGTERM, SIGSEGV, SIGABRT, SIGBUS};
    const struct itimerval quarter_second = {{0, 250000}, {0, 250000}};
    for (int i = 0; i < 7; i++) { /* without SA_RESTART: blocking calls get EINTR */
        struct sigaction action = {.sa_handler = i < 4 ? on_signal : on_crash};
        sigaction(caught[i], &action, NULL);
    }
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_SETMASK, &no_signals, NULL);
    setitimer(ITIMER_REAL, &quarter_second, NULL);
}

static void obey_signals(void) {
    if (!terminated) return;
    may_jump = 0;
    exit(0);
}

/* ---- inner hooks: they stand for a plugin that was loaded earlier ---- */

static int inner(enum event event, long id) {
    inner_calls[event]++;
    if (raise_in_inner != 0) {
        int sig = raise_in_inner;
        raise_in_inner = 0;
        raise(sig);
    }
    return (event == CREATED && id == reject_session) || (event == UP && id == refuse_session) ? -1 : 0;
}

#define UNUSED __attribute__((unused))
#define IDS UNUSED const struct l2tp_session *s, UNUSED uint16_t t, uint16_t id
static int inner_created(IDS) { return inner(CREATED, id); }
static int inner_deleted(IDS) { return inner(DELETED, id); }
static int inner_modified(IDS) { return inner(MODIFIED, id); }
static int inner_down(IDS) { return inner(DOWN, id); }
static int inner_up(IDS, UNUSED uint16_t pt, UNUSED uint16_t ps) { return inner(UP, id); }
static int inner_t_created(uint16_t id) { return inner(T_CREATED, id); }
static int inner_t_deleted(uint16_t id) { return inner(T_DELETED, id); }
static int inner_t_modified(uint16_t id) { return inner(T_MODIFIED, id); }
static int inner_t_down(uint16_t id) { return inner(T_DOWN, id); }
static int inner_t_up(uint16_t id, UNUSED uint16_t pt) { return inner(T_UP, id); }

/* ---- hooks ---- */

static const struct {
    const char *command;
    int ids;
    void *hook; /* the address of the hook variable */
    any_hook *inner;
} events[EVENTS] = {
    [CREATED] = {"created", 2, &l2tp_session_created_hook, (any_hook *)inner_created},
    [DELETED] = {"deleted", 2, &l2tp_session_deleted_hook, (any_hook *)inner_deleted},
    [MODIFIED] = {"modified", 2, &l2tp_session_modified_hook, (any_hook *)inner_modified},
    [DOWN] = {"down", 2, &l2tp_session_down_hook, (any_hook *)inner_down},
    [UP] = {"up", 4, &l2tp_session_up_hook, (any_hook *)inner_up},
    [T_CREATED] = {"tunnel-created", 1, &l2tp_tunnel_created_hook, (any_hook *)inner_t_created},
    [T_DELETED] = {"tunnel-deleted", 1, &l2tp_tunnel_deleted_hook, (any_hook *)inner_t_deleted},
    [T_MODIFIED] = {"tunnel-modified", 1, &l2tp_tunnel_modified_hook, (any_hook *)inner_t_modified},
    [T_DOWN] = {"tunnel-down", 1, &l2tp_tunnel_down_hook, (any_hook *)inner_t_down},
    [T_UP] = {"tunnel-up", 2, &l2tp_tunnel_up_hook, (any_hook *)inner_t_up},
};

static any_hook *hook_of(int event) {
    any_hook *hook;
    memcpy(&hook, events[event].hook, sizeof hook);
    return hook;
}

/* How many hook variables a plugin has left changed. */
static int hooks_left(void) {
    int left = 0;
    for (int e = 0; e < EVENTS; e++)
        left += hook_of(e) != (use_inner ? events[e].inner : NULL);
    return left;
}

static int call_hook(int event, any_hook *hook, const uint16_t *id) {
    if (event == UP) return ((up_hook *)hook)(session, id[0], id[1], id[2], id[3]);
    if (event == T_UP) return ((tunnel_up_hook *)hook)(id[0], id[1]);
    if (events[event].ids == 1) return ((tunnel_hook *)hook)(id[0]);
    return ((session_hook *)hook)(session, id[0], id[1]);
}

static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

#define NONE INT_MAX            /* nobody has hooked, which accepts */
#define ABANDONED (INT_MAX - 1) /* a signal left the hook */

/* This frame is the daemon's main loop as far as a hook can tell: SIGHUP,
 * SIGINT and SIGTERM come back here, from any instruction of the hook. */
static int publish(int event, const uint16_t *id) {
    any_hook *hook = hook_of(event);
    if (hook == NULL) return NONE;
    if (sigsetjmp(main_loop, 0) != 0) return obey_signals(), ABANDONED;
    long long start = now_ns();
    may_jump = 1;
    int result = call_hook(event, hook, id);
    may_jump = 0;
    long long took = now_ns() - start;
    if (took > max_ns) max_ns = took;
    obey_signals();
    return result;
}

/* ---- plugins ---- */

static void add_plugin(const char *name) {
    if (plugins_end == plugins + 16) DIE(2, "too many plugins");
    struct plugin *p = plugins_end++;
    if (strchr(name, '/') == NULL)
        snprintf(p->path, sizeof p->path, "/usr/lib/openl2tp/%s", name);
    else if (realpath(name, p->path) == NULL) /* now: later the cwd is / */
        DIE(1, "%s: %s", name, strerror(errno));
}

static void load_plugins(void) {
    for (struct plugin *p = plugins; p < plugins_end; p++) {
        p->handle = dlopen(p->path, RTLD_GLOBAL | RTLD_NOW);
        if (p->handle == NULL) DIE(1, "%s", dlerror());
        void *init = dlsym(p->handle, "openl2tp_plugin_init");
        void *cleanup = dlsym(p->handle, "openl2tp_plugin_cleanup"); /* may be missing */
        const char *version = dlsym(p->handle, "openl2tp_plugin_version"); /* an array */
        if (init == NULL || version == NULL) DIE(1, "%s: not a plugin", p->path);
        /* ISO C knows no cast from an object pointer to a function pointer. */
        memcpy(&p->init, &init, sizeof init);
        memcpy(&p->cleanup, &cleanup, sizeof cleanup);
        l2tp_log(LOG_INFO, "plugin %s, version %s", p->path, version);
        if (verbose) say(1, "version %s", version);
        p->init(); /* the daemon ignores the result */
    }
}

static void clean_plugins(bool unload) {
    for (struct plugin *p = plugins; p < plugins_end; p++) {
        if (p->handle != NULL && p->cleanup != NULL) p->cleanup();
        if (p->handle != NULL && unload) dlclose(p->handle);
        if (unload) p->handle = NULL;
    }
}

static void at_exit(void) {
    may_jump = 0; /* there is no main loop left to jump to */
    clean_plugins(true);
    if (getpid() != main_pid) return;
    for (int e = 0; print_counts && e < EVENTS; e++)
        say(1, "inner %s %lu", events[e].command, inner_calls[e]);
    if (verbose) say(1, "signals alarm %d hup %d", (int)ticks, (int)hups);
}

/* ---- commands ---- */

/* Sleeps in full although SIGALRM interrupts it four times a second. */
static void pause_ms(long ms) {
    long long until = now_ns() + ms * 1000000LL;
    const struct timespec t = {until / 1000000000, until % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        obey_signals();
}

static void do_event(int event, const char *name, const uint16_t *id) {
    int result = publish(event, id);
    char text[12];
    snprintf(text, sizeof text, "%d", result);
    OK("%s %s", name, result == NONE ? "none" : result == ABANDONED ? "abandoned" : text);
}

static void do_raise(const char *name, int sig) {
    static const uint16_t id[4] = {1, 1, 1, 1};
    if (!use_inner) DIE(2, "%s needs inner hooks: -i, -c, -r or -u", name);
    raise_in_inner = sig;
    do_event(UP, name, id);
}

static const enum event life[] = {CREATED, UP, DOWN, DELETED}; /* of a session */

static void do_flood(long count) {
    long calls = 0, abandoned = 0;
    long long start = now_ns();
    for (long n = 0; n < count; n++) {
        const uint16_t s = (uint16_t)(n % 65535 + 1), id[4] = {1, s, 2, s};
        for (int step = 0; step < 4; step++) {
            int result = publish(life[step], id);
            calls++;
            abandoned += result == ABANDONED;
            if (result < 0 && life[step] == CREATED) break; /* rejected: there is no session */
            if (result < 0 && life[step] == UP) step++; /* closed, never up: deleted comes next */
        }
    }
    OK("flood %ld hooks %ld abandoned %ld total_us %lld", count, calls, abandoned, (now_ns() - start) / 1000);
}

static long storm_round; /* asked for by the main thread; -1: enough */

static void *storm_thread(void *unused) {
    unsigned seed = (unsigned)now_ns();
    long done = 0, round;
    while ((round = __atomic_load_n(&storm_round, __ATOMIC_ACQUIRE)) >= 0) {
        if (round == done && sched_yield() == 0) continue;
        done = round;
        long long until = now_ns() + rand_r(&seed) % 50000;
        while (now_ns() < until) continue; /* a sleep is too coarse for this */
        kill(main_pid, SIGHUP); /* to the process: whoever does not block it */
    }
    return unused;
}

static void do_storm(long rounds) {
    static const uint16_t id[4] = {3, 3, 3, 3};
    long calls = 0, abandoned = 0;
    pthread_t thread;
    sigset_t all, before_all;
    storm_round = 0;
    sigfillset(&all); /* a thread inherits the mask: the signals are not for it */
    pthread_sigmask(SIG_SETMASK, &all, &before_all);
    if (pthread_create(&thread, NULL, storm_thread, NULL) != 0) DIE(2, "no thread");
    pthread_sigmask(SIG_SETMASK, &before_all, NULL);
    for (long round = 1; round <= rounds; round++) {
        sig_atomic_t before = hups;
        __atomic_store_n(&storm_round, round, __ATOMIC_RELEASE);
        while (hups == before)
            abandoned += publish(life[calls++ % 4], id) == ABANDONED;
    }
    __atomic_store_n(&storm_round, -1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    OK("storm %ld hooks %ld abandoned %ld", rounds, calls, abandoned);
}

static void do_fork(const char *name, long seconds, bool exec) {
    char text[24], c;
    int executed[2]; /* closed by exec: tells that the child's descriptors are final */
    snprintf(text, sizeof text, "%ld", seconds);
    if (pipe2(executed, O_CLOEXEC) != 0) DIE(2, "pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0) {
        /* It outlives us, and whoever reads our output waits for its end. */
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        for (int fd = 0; fd < 3; fd++) dup2(null, fd);
        if (exec) execlp("sleep", "sleep", text, (char *)NULL);
        close(executed[1]);
        sleep((unsigned)seconds);
        _exit(0);
    }
    close(executed[1]);
    while (read(executed[0], &c, 1) < 0 && errno == EINTR) continue;
    close(executed[0]);
    OK("%s pid %d", name, (int)pid);
}

static void do_forkpublish(void) {
    static const uint16_t id[4] = {9, 9, 9, 9};
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGALRM, SIG_DFL);
        alarm(10); /* if a hook or the clean-up hangs, we are told of signal 14 */
        for (int e = 0; e < EVENTS; e++)
            publish(e, id);
        exit(0); /* runs at_exit, as in the daemon's own children */
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        obey_signals();
    bool exited = WIFEXITED(status);
    OK("forkpublish %s %d", exited ? "exit" : "signal", exited ? WEXITSTATUS(status) : WTERMSIG(status));
}

static void do_closefds(long low, long high) {
    int closed = 0;
    for (long fd = low; fd <= high; fd++)
        closed += fd != script_fd && close((int)fd) == 0;
    OK("closefds closed %d", closed);
}

static int init_plugins(void) {
    int result = 0;
    for (struct plugin *p = plugins; p < plugins_end; p++)
        result = p->init();
    return result;
}

static int reload(void) {
    clean_plugins(true);
    int left = hooks_left();
    load_plugins();
    return left;
}

static void measure(long *fds, long *threads, long *rss_kb) {
    char line[128];
    pause_ms(20); /* a thread that was joined may still be leaving the kernel */
    *fds = -3;    /* not counting ".", ".." and the directory itself */
    DIR *dir = opendir("/proc/self/fd");
    while (dir != NULL && readdir(dir) != NULL) ++*fds;
    closedir(dir);
    FILE *status = fopen("/proc/self/status", "re");
    while (fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "Threads: %ld", threads) != 1) sscanf(line, "VmRSS: %ld", rss_kb);
    fclose(status);
}

static void do_cycles(long count) {
    long fds[2], threads[2], rss_kb[2];
    measure(&fds[0], &threads[0], &rss_kb[0]);
    for (long n = 0; n < count; n++) {
        reload();
        obey_signals();
    }
    measure(&fds[1], &threads[1], &rss_kb[1]);
    OK("cycles %ld fds %ld %ld threads %ld %ld rss_kb %ld %ld", count, fds[0], fds[1], threads[0], threads[1],
       rss_kb[0], rss_kb[1]);
}

static void *abort_thread(void *unused) {
    raise(SIGABRT);
    return unused;
}

static void do_abort_thread(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, abort_thread, NULL) == 0) pthread_join(thread, NULL);
}

/* ---- the script ---- */

static long number(const char *word, long max) {
    char *end;
    errno = 0;
    long value = strtol(word, &end, 10);
    if (end == word || *end != '\0' || errno != 0 || value < 0 || value > max)
        DIE(2, "bad number: %s", word);
    return value;
}

static void run(char *line) {
    long arg[5] = {0};
    int args = 0, event = 0;
    char *rest = NULL, *word;
    line[strcspn(line, "#")] = '\0';
    const char *name = strtok_r(line, " \t\r", &rest);
    if (name == NULL) return;
    while (event < EVENTS && strcmp(name, events[event].command) != 0) event++;
    while (args < 5 && (word = strtok_r(NULL, " \t\r", &rest)) != NULL)
        arg[args++] = number(word, event < EVENTS ? UINT16_MAX : INT_MAX);
    const uint16_t id[4] = {(uint16_t)arg[0], (uint16_t)arg[1], (uint16_t)arg[2], (uint16_t)arg[3]};

    if (event < EVENTS && args == events[event].ids) do_event(event, name, id);
#define ON(command, count, action) else if (strcmp(name, command) == 0 && args == (count)) action
    ON("flood", 1, do_flood(arg[0]));
    ON("storm", 1, do_storm(arg[0]));
    ON("hup", 0, do_raise(name, SIGHUP));
    ON("raise", 1, do_raise(name, (int)arg[0]));
    ON("fork", 1, do_fork(name, arg[0], false));
    ON("spawn", 1, do_fork(name, arg[0], true));
    ON("forkpublish", 0, do_forkpublish());
    ON("closefds", 2, do_closefds(arg[0], arg[1]));
    ON("clean", 0, (clean_plugins(false), OK("clean hooks_left %d", hooks_left())));
    ON("init", 0, OK("init %d", init_plugins()));
    ON("reload", 0, OK("reload hooks_left %d", reload()));
    ON("cycles", 1, do_cycles(arg[0]));
    ON("pause", 1, (pause_ms(arg[0]), OK("%s", name)));
    ON("segv", 0, raise(SIGSEGV));
    ON("abort-thread", 0, do_abort_thread());
    ON("exit", 0, exit(0));
    else DIE(2, "unknown command, or wrong number of arguments: %s", name);
}

/* Waits for input as the daemon does, in a call that signals may leave. They
 * must not leave read(): bytes it had already taken would be lost. */
static void wait_for_input(void) {
    static struct pollfd input; /* static: intact after the jump */
    input = (struct pollfd){.fd = script_fd, .events = POLLIN};
    while (input.revents == 0) {
        if (sigsetjmp(main_loop, 0) != 0) continue;
        may_jump = 1;
        obey_signals(); /* only now: a signal that comes later jumps */
        poll(&input, 1, -1);
        may_jump = 0;
    }
}

/* Byte by byte: there is no state that a signal or a child could spoil. */
static bool next_line(char *line, size_t size) {
    size_t have = 0;
    while (have < size - 1) {
        wait_for_input();
        ssize_t got = read(script_fd, &line[have], 1);
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (got <= 0 && have == 0) return false;
        if (got <= 0 || line[have] == '\n') break;
        have++;
    }
    line[have] = '\0';
    return true;
}

int main(int argc, char **argv) {
    int option;
    char line[1024];
    main_pid = getpid();
    main_thread = pthread_self();
    while ((option = getopt(argc, argv, "p:s:icr:u:za:v")) != -1) {
        switch (option) {
        case 'p': add_plugin(optarg); break;
        case 's': script_fd = open(optarg, O_RDONLY | O_CLOEXEC); break;
        case 'i': use_inner = true; break;
        case 'c': use_inner = print_counts = true; break;
        case 'r': use_inner = true, reject_session = number(optarg, UINT16_MAX); break;
        case 'u': use_inner = true, refuse_session = number(optarg, UINT16_MAX); break;
        case 'z': session = NULL; break;
        case 'a': abort_on_log = optarg; break;
        case 'v': verbose = true; break;
        default: return 2;
        }
        if (script_fd < 0) DIE(2, "%s: %s", optarg, strerror(errno));
    }
    if (optind < argc) DIE(2, "unexpected argument: %s", argv[optind]);
    if (chdir("/") != 0) DIE(2, "/: %s", strerror(errno));

    for (int e = 0; use_inner && e < EVENTS; e++)
        memcpy(events[e].hook, &events[e].inner, sizeof events[e].inner);
    set_up_signals();
    atexit(at_exit);
    load_plugins();
    while (next_line(line, sizeof line))
        run(line);
    return 0;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What a module sees of OpenSIPS: the structures, the symbols, the event
 * interface and event_virtual. For opensips_host.c only.
 */
#ifndef OPENSIPS_CORE_H
#define OPENSIPS_CORE_H
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef EXPORTS_SIZE
#define EXPORTS_SIZE 184
#define OPENSIPS_VERSION "3.4.18"
#endif
#ifndef DPRINT
#define DPRINT
#endif

/* ---- what host and module share, on x86-64 ---- */

typedef struct { char *s; int len; } str;
typedef struct {
    uint32_t flags; /* the four below, and the transport's own */
    uint16_t port;
    str address;
    uint32_t expire;
    long subscription_time;
    char src_addr[112];
    void *params;
} sock;
enum { ADDRESS = 2, EXPIRE = 0x100, PENDING = 0x200 };

typedef struct param { int flags; union { int number; str text; } value; str name; struct param *next; } param;
enum { NUMBER = 1, TEXT = 2 };
typedef struct { int flags; param *first, *last; } params;

typedef int raise_31(void *message, str *event, sock *, params *);
typedef int raise_32(void *message, str *event, sock *, params *, void *context);
typedef struct {
    str proto;
    raise_32 *raise; /* up to 3.1 a raise_31 */
    sock *(*parse)(str);
    int (*match)(sock *, sock *);
    void (*free)(sock *);
    str (*print)(sock *);
    uint32_t flags;
} transport;

struct module_param { const char *name; int type; void *pointer; }; /* 1: string, 2: int */
struct module_stat { const char *name; uint16_t flags; unsigned long (*function)(void *); }; /* flag 8 */

__extension__ _Static_assert(sizeof(sock) == 160 && sizeof(param) == 48 && sizeof(params) == 24, "x86-64");
__extension__ _Static_assert(sizeof(transport) == 64 && sizeof(struct module_param) == 24, "x86-64");
__extension__ _Static_assert(sizeof(struct module_stat) == 24, "x86-64");

/* Where the members of `exports` are that we use; all others must be 0. */
static const struct row { int first, last, size, params, stats, preinit, init, destroy, child_init; } rows[] = {
    {20400, 20405, 144, 64, 72, 0, 112, 128, 136},   {20406, 20406, 152, 72, 80, 0, 120, 136, 144},
    {20407, 20499, 160, 72, 80, 120, 128, 144, 152}, {30000, 30000, 160, 72, 80, 0, 120, 136, 144},
    {30001, 30399, 168, 72, 80, 120, 128, 144, 152}, {30400, 40199, 184, 88, 96, 136, 144, 160, 168},
};

/* In a section of its own, or else ASan may add to its size. */
unsigned char proto_udp_exports[EXPORTS_SIZE] __attribute__((aligned(8), section("proto_udp")));
static int level = 3;
int *log_level = &level, log_stderr = 1; /* the latter up to 3.3 */
int register_event_mod(const transport *);

/* ---- state ---- */

enum { PROCESSES = 65, SUBSCRIPTIONS = 8192, GROUPS = 64, MEMBERS = 16, WORDS = 256, NO_RANK = INT_MIN };

static struct {
    int lock, first, newest; /* the lock is its holder's pid, and guards the subscriptions */
    int gate, arrived, keep, pace_us, at_once;
    struct process { /* 0 is main, N + 1 child N */
        int pid, fd, rank, alive, ends, busy;
        struct outcome { long events, calls, failed, first_error, allocations; long long max_ns, total_ns; } outcome;
    } process[PROCESSES];
    struct subscription { char event[128]; int next, used; const transport *by; sock *sock; } list[SUBSCRIPTIONS];
    struct group { /* a virtual socket; its members are parsed by whoever raises first */
        sock sock;
        int used, lock, turn, members;
        char text[2][2048], *policy; /* the second text is cut into policy and members */
        struct { char *text; const transport *by; sock *sock; } member[MEMBERS];
    } groups[GROUPS];
} *shared;

static int version, processes = 1, me, status, transport_count;
static char core_version[200];
static const transport *transports[16];
static const unsigned char *exports;
static const struct row *row;
static bool core_log, in_core_log, verbose, destroyed;
static volatile sig_atomic_t terminated;

/* A line is one write. */
#define ANSWER(...) dprintf(1, __VA_ARGS__)
#define LOG(...) dprintf(2, __VA_ARGS__)
#define DIE(code, ...) (LOG("opensips_host: " __VA_ARGS__), exit(code))
#define BROKEN(...) (LOG("opensips_host: " __VA_ARGS__), _exit(125))

static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void *pointer_at(const unsigned char *base, int offset) {
    void *pointer;
    return memcpy(&pointer, base + offset, sizeof pointer), pointer;
}

/* Calls what `exports` has there, if anything. */
static int call(int offset, int rank) {
    int (*function)(int); /* all but child_init do not look at it */
    memcpy(&function, exports + offset, sizeof function);
    return offset == 0 || function == NULL ? 0 : function(rank);
}

/* ---- processes ---- */

static bool take(int *word, int from, int to) {
    return __atomic_compare_exchange_n(word, &from, to, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void reap(void) {
    for (int how, n, pid; me == 0 && (pid = waitpid(-1, &how, WNOHANG)) > 0;) {
        for (n = 1; n < processes && shared->process[n].pid != pid; n++) continue;
        if (n == processes) continue;
        shared->process[n].alive = false;
        take(&shared->lock, pid, 0); /* it may have died holding one */
        for (int g = 0; g < GROUPS; g++) take(&shared->groups[g].lock, pid, 0);
        if ((shared->process[n].ends || terminated) && (WIFSIGNALED(how) || WEXITSTATUS(how) == 0)) continue;
        LOG("opensips_host: child %d ended: %s %d\n", n - 1, WIFSIGNALED(how) ? "signal" : "exit",
            WIFSIGNALED(how) ? WTERMSIG(how) : WEXITSTATUS(how));
        status = 125;
    }
}

static void lock(int *word) {
    while (!take(word, 0, getpid())) reap(), sched_yield();
}

static void unlock(int *word) { __atomic_store_n(word, 0, __ATOMIC_SEQ_CST); }

/* Ends the children as the core does, and then the module. */
static void destroy(void) {
    for (struct process *p = shared->process + 1; p < shared->process + processes; p->ends = true, p++)
        if (p->alive) kill(p->pid, SIGTERM);
    for (struct process *p = shared->process + 1; p < shared->process + processes; p++)
        for (int ms = 0; p->alive; reap(), usleep(5000))
            if ((ms += 5) == 10000) {
                LOG("opensips_host: child %d does not end\n", (int)(p - shared->process) - 1);
                status = 125;
                kill(p->pid, SIGKILL);
            }
    if (!destroyed) call(row->destroy, 0);
    destroyed = true;
}

static void finish(void) { destroy(), exit(status); }

/* A line of the script or, in a child, of main; good until the next one. Byte by byte: a fork copies no buffer. */
static char *next_line(int fd) {
    static char *line;
    static size_t room;
    for (size_t have = 0;; have++) {
        if (have == room) line = realloc(line, room = 2 * room + 1024);
        for (struct pollfd p = {fd, POLLIN, 0}; me == 0 && poll(&p, 1, 50) <= 0;) {
            reap();
            if (terminated) finish();
        }
        ssize_t got = read(fd, &line[have], 1);
        if (got < 0 && errno == EINTR) have--;
        else if (got <= 0 && have == 0) return NULL;
        else if (got <= 0 || line[have] == '\n') return line[have] = '\0', line;
    }
}

/* ---- functions that the module calls ---- */

int register_event_mod(const transport *t) {
    if (t == NULL || t->proto.s == NULL || !t->raise || !t->parse || !t->match || !t->print || transport_count == 16)
        return LOG("ERROR invalid transport\n"), -1;
    if (t->flags == 0 || (t->flags & 0xffff) != 0) BROKEN("transport flags %x\n", t->flags);
    for (int i = 0; i < transport_count; i++) {
        const str *proto = &transports[i]->proto;
        if (transports[i]->flags & t->flags) return LOG("ERROR duplicate flag %x\n", t->flags), -1;
        if (proto->len == t->proto.len && memcmp(proto->s, t->proto.s, (size_t)proto->len) == 0)
            return LOG("ERROR duplicate transport %.*s\n", proto->len, proto->s), -1;
    }
    transports[transport_count++] = t;
    return 0;
}

static void raise_core_log(const char *text);

static void log_line(const char *level_name, char *text) {
    text[strcspn(text, "\n")] = '\0';
    LOG("%s %s\n", level_name, text);
    if (core_log && EXPORTS_SIZE >= 184) raise_core_log(text);
}

static const char levels[7][9] = {"CRITICAL", "ERROR", "GENERAL", "WARNING", "NOTICE", "INFO", "DBG"}; /* from -2 */

#if EXPORTS_SIZE < 184 /* TIME [PID] LEVEL:MODULE:FUNCTION: TEXT */
__attribute__((unused, format(printf, 1, 2))) DPRINT void dprint(const char *format, ...) {
    char text[8192], *found = NULL, *first = NULL;
    int which = 0;
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    for (int l = 0; l < 7; l++)
        if ((found = strstr(text, levels[l])) != NULL && (first == NULL || found < first)) first = found, which = l;
    if (first == NULL || (found = strstr(first, ": ")) == NULL) BROKEN("a log line without a level: %s\n", text);
    log_line(levels[which], found + 2);
}
#else
__attribute__((unused)) DPRINT void dprint(int l, int facility, const char *module, const char *function,
                                           const char *to_stderr, const char *to_syslog, const char *bare, ...) {
    const char *formats[] = {to_stderr, to_syslog, bare};
    char text[3][8192];
    va_list list;
    if (l < -2 || l > 4) BROKEN("log level %d of %s:%s to %d\n", l, module, function, facility);
    for (int i = 0; i < 3; i++) { /* of time, pid, prefix, function, ...: all; without 2; without 4 */
        va_start(list, bare);
        if (i > 0) (void)va_arg(list, const char *), (void)va_arg(list, int);
        if (i > 1) (void)va_arg(list, const char *), (void)va_arg(list, const char *);
        vsnprintf(text[i], sizeof text[i], formats[i], list);
        va_end(list);
        if (strstr(text[0], text[i]) == NULL) BROKEN("log formats that differ: %s, %s\n", text[0], text[i]);
    }
    log_line(levels[l + 2], text[2]);
}
#endif

/* ---- words ---- */

/* Cuts the line in place; quotes and escapes stay. */
static int split(char *line, char **words) {
    int count = 0;
    for (char end = ' '; end != '\0'; *line++ = '\0') {
        line += strspn(line, " \t\r");
        if (*line == '\0' || (count == 0 && *line == '#')) break;
        if (count == WORDS) DIE(2, "too many words\n");
        words[count++] = line;
        for (bool quoted = false; *line != '\0' && (quoted || strchr(" \t\r", *line) == NULL); line++) {
            quoted ^= *line == '"';
            if (*line == '\\' && line[1] != '\0') line++;
        }
        end = *line;
    }
    return count;
}

static long number(const char *word, long min, long max) {
    char *end;
    long value = strtol(word, &end, 10);
    if (end == word || *end != '\0' || value < min || value > max) DIE(2, "bad number: %s\n", word);
    return value;
}

/* Exactly these bytes and no NUL after them: ASan and valgrind see who reads on. */
static str bytes(const char *from, size_t size) { return (str){memcpy(malloc(size + !size), from, size), (int)size}; }

static str decode(const char *word, const char *end, long index) {
    static const char escapes[] = "nrt0s", values[] = "\n\r\t\0 ";
    char *buffer = malloc((size_t)(end - word) * 12 + 1), *to = buffer, hex[3] = ""; /* \i grows */
    for (const char *known; word < end; word++) {
        if (*word == '"') continue;
        if (*word != '\\' || ++word == end) *to++ = *word;
        else if ((known = strchr(escapes, *word)) != NULL) *to++ = values[known - escapes];
        else if (*word == 'i') to += sprintf(to, "%ld", index);
        else if (*word == 'p') to += sprintf(to, me == 0 ? "main" : "%d", me - 1);
        else if (*word == 'x' && end - word > 2) *to++ = (char)strtol(memcpy(hex, word + 1, 2), NULL, 16), word += 2;
        else if (*word != 'z') *to++ = *word;
    }
    str result = bytes(buffer, (size_t)(to - buffer));
    return free(buffer), result;
}

static str word_bytes(const char *word) { return decode(word, word + strlen(word), 0); }

static params *parameters(char **words, int count, long index) {
    params *list = count == 0 ? NULL : calloc(1, sizeof *list); /* NULL: as the core has it */
    if (list != NULL) list->flags = INT_MIN; /* as seen */
    for (param **to = list == NULL ? NULL : &list->first; count-- > 0 && strcmp(*words, "-") != 0; words++) {
        const char *word = *words, *end = word + strlen(word), *equals = word;
        for (; equals < end && *equals != '='; equals++) equals += *equals == '\\' && equals[1] != '\0';
        const char *value = equals < end ? equals + 1 : word;
        if (value == word && *value != '#') DIE(2, "not a parameter: %s\n", word);
        param *p = memset(malloc(sizeof *p), 0xaa, sizeof *p); /* the core leaves garbage in what it does not set */
        int size = value[0] == '@' && value[1] != 'n' ? (int)number(value + 1, 0, 1 << 30) : -1;
        p->next = NULL;
        p->name = value > word + 1 ? decode(word, equals, index) : (str){NULL, 0};
        p->flags = *value == '#' ? NUMBER : TEXT;
        if (*value == '#') p->value.number = (int)number(value + 1, INT_MIN, INT_MAX);
        else if (strcmp(value, "@null") == 0) p->value.text = (str){NULL, 0};
        else if (size < 0) p->value.text = decode(value, end, index);
        else p->value.text = (str){memset(malloc((size_t)size + !size), 'x', (size_t)size), size};
        *to = list->last = p;
        to = &p->next;
    }
    return list;
}

static void drop(params *list) {
    for (param *p, *next = list == NULL ? NULL : list->first; (p = next) != NULL; free(p)) {
        next = p->next;
        if (p->flags == TEXT) free(p->value.text.s);
        free(p->name.s);
    }
    free(list);
}

/* ---- the event interface ---- */

static bool is_shared(const void *pointer) {
    unsigned long start, end, wanted = (unsigned long)pointer;
    char line[4300], mode[5] = "";
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (!found && fgets(line, sizeof line, maps) != NULL)
        found = sscanf(line, "%lx-%lx %4s", &start, &end, mode) == 3 && wanted >= start && wanted < end;
    fclose(maps);
    return found && mode[3] == 's';
}

/* The module does not see the prefix, and the text does not outlive the call. */
static sock *parse(str text, const transport **by) {
    sock *s = NULL;
    *by = NULL;
    for (int i = 0; i < transport_count && *by == NULL; i++) {
        const str *proto = &transports[i]->proto;
        if (text.len <= proto->len || text.s[proto->len] != ':') continue;
        if (memcmp(text.s, proto->s, (size_t)proto->len) != 0) continue;
        *by = transports[i];
        s = (*by)->parse((str){text.s + proto->len + 1, text.len - proto->len - 1});
    }
    if (s != NULL && (!is_shared(s) || ((s->flags & ADDRESS) && !is_shared(s->address.s))))
        BROKEN("parsed, but not into shared memory: %.*s\n", text.len, text.s);
    memset(text.s, '!', (size_t)text.len);
    return free(text.s), s;
}

static void release(const transport *by, sock *s) {
    if (by->free != NULL) by->free(s);
}

static bool expired(const sock *s) { return (s->flags & EXPIRE) && s->subscription_time + s->expire < time(NULL); }

/* This and the next one with the lock held. `next` stays: another process may stand there. */
static void remove_at(int *from) {
    struct subscription *s = &shared->list[*from];
    *from = s->next;
    s->used = false;
    release(s->by, s->sock);
}

static int *find(const char *event, const transport *by, sock *wanted) {
    for (int *i = &shared->first; *i != 0; i = &shared->list[*i].next) {
        struct subscription *s = &shared->list[*i];
        if (event != NULL && strcmp(s->event, event) != 0) continue;
        if (s->by == by && by->match(wanted, s->sock) == 1) return i;
    }
    return NULL;
}

/* What this thread has allocated; only -DCOUNT_ALLOCATIONS counts, since sanitizers have allocators of their own. */
static __thread long allocations;
#ifdef COUNT_ALLOCATIONS
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
void *malloc(size_t size) { return allocations++, __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return allocations++, __libc_calloc(count, size); }
void *realloc(void *old, size_t size) { return allocations++, __libc_realloc(old, size); }
void *aligned_alloc(size_t alignment, size_t size) { return allocations++, __libc_memalign(alignment, size); }
int posix_memalign(void **to, size_t alignment, size_t size) {
    return (*to = aligned_alloc(alignment, size)) == NULL ? ENOMEM : 0;
}
#endif

/* How many datagrams one system call has sent at most; only -DCOUNT_SENDS counts. */
#ifdef COUNT_SENDS
int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
    int sent = (int)syscall(SYS_sendmmsg, fd, messages, count, flags), most = shared->at_once;
    while (sent > most && !__atomic_compare_exchange_n(&shared->at_once, &most, sent, false, __ATOMIC_SEQ_CST,
                                                       __ATOMIC_SEQ_CST))
        continue;
    return sent;
}
#endif

/* A system that never has a buffer for a datagram of -DNO_BUFFERS=BYTES or more. */
#ifdef NO_BUFFERS
ssize_t send(int fd, const void *data, size_t size, int flags) {
    if (size >= NO_BUFFERS) return errno = ENOBUFS, -1;
    return sendto(fd, data, size, flags, NULL, 0);
}
int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
    unsigned fit = 0;
    while (fit < count && messages[fit].msg_hdr.msg_iov->iov_len < NO_BUFFERS) fit++;
    if (fit == 0) return errno = ENOBUFS, -1;
    return (int)syscall(SYS_sendmmsg, fd, messages, fit, flags);
}
#endif

static int call_raise(const transport *by, str *event, sock *s, params *list) {
    void *taboo = (void *)1; /* message and context: real in OpenSIPS, and not the module's business */
    struct outcome *o = &shared->process[me].outcome;
    raise_31 *old;
    memcpy(&old, &by->raise, sizeof old);
    long allocated = allocations;
    long long start = now_ns();
    int result = version < 30200 ? old(taboo, event, s, list) : by->raise(taboo, event, s, list, taboo);
    long long took = now_ns() - start;
    if (took > o->max_ns) o->max_ns = took;
    o->allocations += allocations - allocated;
    return result;
}

/* As OpenSIPS 2.4 to 4.0 behave: raise is called without the lock. PENDING keeps an expired subscription in the list,
 * where it is still raised to; but only the process that has set PENDING clears it, whoever else is raising to the
 * same socket at that time, and after that a third one may free it. */
static void core_raise(str *event, params *list) {
    struct outcome *o = &shared->process[me].outcome;
    lock(&shared->lock);
    for (int *i = &shared->first; *i != 0;) {
        struct subscription *s = &shared->list[*i];
        sock *to = s->sock;
        bool wanted = strlen(s->event) == (size_t)event->len && memcmp(s->event, event->s, (size_t)event->len) == 0;
        bool gone = wanted && expired(to) && !(to->flags & PENDING) && !shared->keep;
        if (gone) remove_at(i);
        else i = &s->next;
        if (gone || !wanted) continue;
        bool mine = !(to->flags & PENDING);
        to->flags |= PENDING;
        unlock(&shared->lock);
        int result = call_raise(s->by, event, to, list);
        lock(&shared->lock);
        if (mine) to->flags &= ~(uint32_t)PENDING;
        if (result != 0 && o->failed++ == 0) o->first_error = result;
        o->calls++;
    }
    unlock(&shared->lock);
}

static void raise_core_log(const char *text) {
    if (syscall(SYS_gettid) != getpid()) BROKEN("E_CORE_LOG on a foreign thread: %s\n", text);
    if (in_core_log || shared->lock == getpid()) return;
    param message = {TEXT, {.text = bytes(text, strlen(text))}, {"message", 7}, NULL};
    in_core_log = true;
    core_raise(&(str){"E_CORE_LOG", 10}, &(params){INT_MIN, &message, &message});
    in_core_log = false;
    free(message.value.text.s);
}

/* ---- event_virtual ---- */

static sock *virtual_parse(str text) {
    struct group *g = shared->groups;
    char *rest, *word;
    while (g < shared->groups + GROUPS && !take(&g->used, 0, 1)) g++;
    if (g == shared->groups + GROUPS || text.len >= (int)sizeof g->text[0]) return NULL;
    *g = (struct group){.used = 1, .sock = {.flags = 1u << 24 | ADDRESS | EXPIRE, .address = {g->text[0], text.len}}};
    for (int i = 0; i < 2; i++) memcpy(g->text[i], text.s, (size_t)text.len);
    g->policy = strtok_r(g->text[1], " ", &rest);
    while (g->members < MEMBERS && (word = strtok_r(NULL, " ", &rest)) != NULL) g->member[g->members++].text = word;
    g->used = g->members > 0;
    return g->used ? &g->sock : NULL;
}

/* A member's subscription_time and expire stay 0, whatever its flags say, and nobody sets PENDING. */
static int virtual_raise(void *message, str *event, sock *s, params *list, void *context) {
    struct group *g = (struct group *)s;
    int result = -1, m = *g->policy == 'R' ? __atomic_fetch_add(&g->turn, 1, __ATOMIC_SEQ_CST) % g->members : 0;
    for ((void)message, (void)context; m < g->members; m++) {
        lock(&g->lock);
        if (g->member[m].sock == NULL) g->member[m].sock = parse(word_bytes(g->member[m].text), &g->member[m].by);
        unlock(&g->lock);
        result = g->member[m].sock == NULL ? -1 : call_raise(g->member[m].by, event, g->member[m].sock, list);
        if (*g->policy == 'R' || (result == 0) == (*g->policy == 'F')) break; /* PARALLEL ends at the first failure */
    }
    return result;
}

static int virtual_match(sock *a, sock *b) { return strcmp(a->address.s, b->address.s) == 0; }

static void virtual_free(sock *s) {
    struct group *g = (struct group *)s;
    for (int m = 0; m < g->members; m++) /* OpenSIPS does not look whether there is a `free` */
        if (g->member[m].sock != NULL) g->member[m].by->free(g->member[m].sock);
    g->used = 0;
}

static str virtual_print(sock *s) { return s->address; }

static const transport event_virtual = {{"virtual", 7}, virtual_raise, virtual_parse, virtual_match, virtual_free,
                                        virtual_print, 1u << 24};

#endif

/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * opensips_host: a stand-in for OpenSIPS. It shows the module the description
 * of any OpenSIPS, checks its version as that one does, runs it in a main
 * process and children, and replays a script.
 *
 *     cc -std=gnu99 -rdynamic -DEXPORTS_SIZE=160 -DOPENSIPS_VERSION='"2.4.11"' -o opensips_host opensips_host.c -ldl
 *     opensips_host [-c N] [-k N] [-m NAME=VALUE]... [-l LEVEL] [-r PROTO:ID] [-V VERSION] [-b] [-e] [-v] MODULE
 *
 *     -c N   children (default 2); -k N: how many of them call child_init (all)
 *     -m     a module parameter; digits alone are an integer, "" make a string
 *     -l     the log level (default 3)
 *     -r     a transport of this name and id (in hex) is there already
 *     -V     another version of the same size; after = the whole string
 *     -b     become a daemon between loading the module and its init
 *     -e     raise E_CORE_LOG for each log line (from 3.4)
 *     -v     tell what the module exports
 *
 * -DDPRINT=static makes a host without dprint, -DCOUNT_ALLOCATIONS one that tells
 * how often raising has allocated memory, -DCOUNT_SENDS one that tells, as a
 * statistic, how many datagrams one sendmmsg() has sent at most, -DNO_BUFFERS=BYTES
 * one whose system has no buffers for datagrams that long. Commands, one per line,
 * # begins a comment; PROC is main, all, or the number of a child (from 0):
 *     subscribe EVENT SOCKET [EXPIRE]      without EXPIRE for ever
 *     virtual EVENT EXPIRE|- POLICY SOCKET...  PARALLEL, FAILOVER or ROUND-ROBIN
 *     parse | lookup | unsubscribe SOCKET  lookup leaks if nothing matches
 *     list | expire | age SECONDS          of the subscriptions
 *     keep 0|1                             expired ones stay, and are raised to
 *     raise PROC EVENT [PARAMETER]...      - as only parameter: an empty list
 *     burst PROC COUNT EVENT [PARAMETER]...
 *     storm COUNT EVENT [PARAMETER]...     all processes at once
 *     pace US                              sleep after each event of a burst
 *     stats | ps | pause MS | fork [RANK] | kill CHILD SIGNAL | destroy | exit
 *     as PROC COMMAND                      in that process (default main)
 *     & raise|burst|storm ... | wait       in children, without waiting
 * PARAMETER: name=text, =text (unnamed), name=#int, #int, name=@N (N bytes),
 * name=@null. Words know "quotes" and \n \r \t \0 \s \" \\ \xHH, \z (nothing),
 * \i (the event's number) and \p (the process).
 *
 * A command answers "ok COMMAND ..." or "error COMMAND ..." on standard output,
 * after its list if it has one. The log is on standard error, "LEVEL text".
 * Exit status: 0; a refused version 0, from 3.4 on 1; 2 usage or a bad script;
 * 3 the exports do not fit the layout; 125 another rule is broken, or a child
 * ended unasked; 255 no module, no such parameter, or init failed.
 */
#include "opensips_core.h"

/* ---- commands ---- */

static void subscribe(const char *event, str text, long expire) {
    const transport *by;
    sock *s = parse(text, &by);
    if (s == NULL) {
        ANSWER("error subscribe %s\n", by == NULL ? "no such protocol" : "refused");
        return;
    }
    lock(&shared->lock);
    int *same = find(event, by, s), n = shared->newest;
    if (expire < 0) s->flags &= ~(uint32_t)EXPIRE;
    if (s->flags & EXPIRE) s->expire = (uint32_t)expire; /* a transport that does not set the flag knows no expiry */
    s->subscription_time = time(NULL);
    if (same != NULL) { /* refreshed; even PENDING goes, as in OpenSIPS */
        sock *old = shared->list[*same].sock;
        old->flags = s->flags;
        old->expire = s->expire;
        old->subscription_time = s->subscription_time;
        release(by, s);
    } else {
        do { /* none is used again soon */
            n = n % (SUBSCRIPTIONS - 1) + 1;
        } while (shared->list[n].used);
        shared->newest = n;
        shared->list[n] = (struct subscription){"", shared->first, true, by, s};
        snprintf(shared->list[n].event, sizeof shared->list[n].event, "%s", event);
        shared->first = n;
    }
    unlock(&shared->lock);
    ANSWER("ok subscribe %s\n", same != NULL ? "same" : "new");
}

static void subscribe_virtual(char **words, int count) {
    char text[2048] = "virtual:";
    for (int i = 3; i < count; i++) {
        size_t have = strlen(text);
        snprintf(text + have, sizeof text - have, i > 3 ? " %s" : "%s", words[i]);
    }
    subscribe(words[1], bytes(text, strlen(text)), *words[2] == '-' ? -1 : number(words[2], 0, UINT32_MAX));
}

/* parse, lookup or unsubscribe */
static void with_socket(const char *command, const char *word) {
    const transport *by;
    sock *s = parse(word_bytes(word), &by);
    if (s == NULL) {
        ANSWER("error %s %s\n", command, by == NULL ? "no such protocol" : "refused");
        return;
    }
    lock(&shared->lock);
    str text = by->print(s);
    int *found = *command == 'p' ? NULL : find(NULL, by, s);
    if (*command != 'p') ANSWER("ok %s %s\n", command, found != NULL ? "found" : "none");
    else ANSWER("ok parse %.*s:%.*s flags %x port %u address %.*s\n", by->proto.len, by->proto.s, text.len, text.s,
                s->flags, s->port, s->address.len, s->address.s);
    if (*command != 'l' || found != NULL) release(by, s);
    if (*command == 'u' && found != NULL) remove_at(found);
    unlock(&shared->lock);
}

/* list, expire or age, all of them */
static void with_all(const char *command, long seconds) {
    int count = 0;
    lock(&shared->lock);
    for (int *i = &shared->first; *i != 0;) {
        struct subscription *s = &shared->list[*i];
        str text = s->by->print(s->sock);
        long expire = s->sock->flags & EXPIRE ? (long)s->sock->expire : -1;
        if (*command == 'l')
            ANSWER("subscriber %s %.*s:%.*s expire %ld%s\n", s->event, s->by->proto.len, s->by->proto.s, text.len,
                   text.s, expire, expired(s->sock) ? " expired" : "");
        s->sock->subscription_time -= seconds;
        bool gone = *command == 'e' && expired(s->sock) && !(s->sock->flags & PENDING);
        count += *command != 'e' || gone;
        if (gone) remove_at(i);
        else i = &s->next;
    }
    unlock(&shared->lock);
    ANSWER("ok %s %d\n", command, count);
}

/* What came of it goes to `outcome`, for main to print. */
static void raising(long count, const char *event_word, char **words, int word_count, bool gated) {
    struct outcome *o = &shared->process[me].outcome;
    str event = word_bytes(event_word);
    *o = (struct outcome){.events = count};
    __atomic_fetch_add(&shared->arrived, 1, __ATOMIC_SEQ_CST);
    while (gated && !__atomic_load_n(&shared->gate, __ATOMIC_SEQ_CST)) sched_yield();
    long long start = now_ns();
    for (long n = 0; n < count; n++) {
        params *list = parameters(words, word_count, n);
        core_raise(&event, list);
        drop(list);
        if (shared->pace_us > 0) usleep((useconds_t)shared->pace_us);
    }
    o->total_ns = now_ns() - start;
    free(event.s);
}

static void stats(void) {
    int count = 0;
    const struct module_stat *s = row->stats == 0 ? NULL : pointer_at(exports, row->stats);
    for (; s != NULL && s->name != NULL; s++, count++) ANSWER("stat %s %lu\n", s->name, s->function(NULL));
    ANSWER("stat at_once %d\n", shared->at_once);
    ANSWER("ok stats %d\n", count);
}

#define IS(name, least, most) (strcmp(w[0], name) == 0 && n >= (least) && n <= (most))

/* In whichever process; false: no such command. */
static bool execute(char **w, int n) {
    if (IS("raise", 3, WORDS)) raising(1, w[2], w + 3, n - 3, strcmp(w[1], "all") == 0);
    else if (IS("burst", 4, WORDS)) raising(number(w[2], 0, INT_MAX), w[3], w + 4, n - 4, strcmp(w[1], "all") == 0);
    else if (IS("storm", 3, WORDS)) raising(number(w[1], 0, INT_MAX), w[2], w + 3, n - 3, true);
    else if (IS("subscribe", 3, 4)) subscribe(w[1], word_bytes(w[2]), n == 4 ? number(w[3], 0, UINT32_MAX) : -1);
    else if (IS("virtual", 5, WORDS)) subscribe_virtual(w, n);
    else if (IS("parse", 2, 2) || IS("lookup", 2, 2) || IS("unsubscribe", 2, 2)) with_socket(w[0], w[1]);
    else if (IS("list", 1, 1) || IS("expire", 1, 1)) with_all(w[0], 0);
    else if (IS("age", 2, 2)) with_all(w[0], number(w[1], 0, INT_MAX));
    else if (IS("stats", 1, 1)) stats();
    else return false;
    return true;
}

/* ---- main and its children ---- */

static void on_signal(int sig) {
    if (me != 0) exit(0); /* as in OpenSIPS, handlers of atexit and all */
    terminated = sig;
}

static int spawn(int rank) {
    struct process *p = &shared->process[processes];
    int pair[2];
    char ready;
    if (processes == PROCESSES || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        DIE(2, "no more children\n");
    *p = (struct process){.fd = pair[0], .rank = rank, .alive = true};
    pid_t pid = fork(); /* not into *p, which the child has too */
    if (pid < 0) DIE(2, "fork: %s\n", strerror(errno));
    if (pid == 0) {
        char *words[WORDS], *line;
        for (int n = 1; n <= processes; n++) close(shared->process[n].fd);
        dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
        me = processes;
        if (rank != NO_RANK && call(row->child_init, rank) < 0) DIE(255, "child_init failed, rank %d\n", rank);
        for (int n; write(pair[1], "", 1) == 1 && (line = next_line(pair[1])) != NULL;)
            if ((n = split(line, words)) > 0 && !execute(words, n)) DIE(2, "not for a child: %s\n", words[0]);
        exit(0);
    }
    p->pid = pid;
    close(pair[1]);
    while (read(p->fd, &ready, 1) < 0 && errno == EINTR) continue;
    return processes++;
}

static int process(const char *word) { return strcmp(word, "main") == 0 ? 0 : (int)number(word, 0, processes - 2) + 1; }

/* Waits for those of them that are busy, and prints what they have raised together. */
static void gather(const char *command, bool raised, int first, int last) {
    struct outcome sum = {0};
    bool died = false;
    for (struct process *p = shared->process + first; p <= shared->process + last; p++) {
        struct pollfd ready = {p->fd, POLLIN, 0};
        char done;
        if (!p->busy) continue;
        p->busy = false;
        if (p != shared->process) {
            while (poll(&ready, 1, 50) <= 0) reap();
            died |= read(p->fd, &done, 1) <= 0;
        }
        sum.events += p->outcome.events;
        sum.calls += p->outcome.calls;
        sum.failed += p->outcome.failed;
        sum.allocations += p->outcome.allocations;
        if (sum.first_error == 0) sum.first_error = p->outcome.first_error;
        if (sum.max_ns < p->outcome.max_ns) sum.max_ns = p->outcome.max_ns;
        if (sum.total_ns < p->outcome.total_ns) sum.total_ns = p->outcome.total_ns;
    }
    if (died) ANSWER("error %s a child died\n", command);
    else if (raised)
        ANSWER("ok %s events %ld calls %ld failed %ld first_error %ld max_us %lld total_us %lld allocations %ld\n",
               command, sum.events, sum.calls, sum.failed, sum.first_error, (sum.max_ns + 999) / 1000,
               sum.total_ns / 1000, sum.allocations);
}

static void kill_child(struct process *p, int sig) {
    bool wait = sig != SIGSTOP && sig != SIGCONT;
    p->ends |= wait;
    if (p->alive) kill(p->pid, sig);
    for (int ms = 0; wait && p->alive && ms < 5000; ms += 5, reap()) usleep(5000);
    ANSWER("ok kill %s\n", p->alive ? "alive" : "dead");
}

static void pause_ms(long ms) {
    for (long long end = now_ns() + 1000000LL * ms; now_ns() < end && !terminated; reap()) usleep(1000);
}

static void list_processes(void) {
    for (struct process *p = shared->process; p < shared->process + processes; p++) {
        char name[16] = "main";
        if (p > shared->process) sprintf(name, "%d", (int)(p - shared->process) - 1);
        ANSWER("process %s pid %d %s\n", name, p->pid, p->alive ? "alive" : "dead");
    }
    ANSWER("ok ps %d\n", processes);
}

/* What is main's alone. */
static void control_host(char **w, int n) {
    if (IS("wait", 1, 1)) gather(w[0], true, 0, processes - 1);
    else if (IS("ps", 1, 1)) list_processes();
    else if (IS("fork", 1, 2)) ANSWER("ok fork %d\n", spawn(n == 2 ? (int)number(w[1], -9, 99999) : NO_RANK) - 1);
    else if (IS("kill", 3, 3)) kill_child(&shared->process[process(w[1])], (int)number(w[2], 1, 64));
    else if (IS("exit", 1, 1)) finish();
    else {
        if (IS("pause", 2, 2)) pause_ms(number(w[1], 0, INT_MAX));
        else if (IS("keep", 2, 2)) shared->keep = (int)number(w[1], 0, 1);
        else if (IS("pace", 2, 2)) shared->pace_us = (int)number(w[1], 0, INT_MAX);
        else if (IS("destroy", 1, 1)) destroy();
        else DIE(2, "unknown command, or wrong number of words: %s\n", w[0]);
        ANSWER("ok %s\n", w[0]);
    }
}

static void run(const char *line) {
    char *copy = strdup(line), *words[WORDS], **w = words;
    int n = split(copy, words), first = 0, last = 0, sent = 0;
    bool async = n > 1 && strcmp(w[0], "&") == 0;
    if (async) w++, n--;
    if (n > 2 && strcmp(w[0], "as") == 0) first = last = process(w[1]), w += 2, n -= 2;
    if (n > 0) {
        bool storm = IS("storm", 3, WORDS), raises = storm || IS("raise", 3, WORDS) || IS("burst", 4, WORDS);
        bool all = storm || (raises && strcmp(w[1], "all") == 0);
        if (raises) first = all ? 0 : process(w[1]), last = all ? processes - 1 : first;
        shared->gate = shared->arrived = 0;
        for (struct process *p = shared->process + first; p <= shared->process + last; p++) {
            if (p == shared->process || !p->alive) continue;
            if (p->busy) DIE(2, "busy: %s\n", line);
            p->busy = true;
            dprintf(p->fd, "%s\n", line + (w[0] - copy));
            sent++;
        }
        for (int ms = 0; all && ms < 1000; ms++, usleep(1000)) /* for those that take the command */
            if (__atomic_load_n(&shared->arrived, __ATOMIC_SEQ_CST) >= sent) break;
        __atomic_store_n(&shared->gate, 1, __ATOMIC_SEQ_CST);
        if (sent == 0 && (first > 0 || async)) ANSWER("error %s no such child\n", w[0]);
        else if (async) ANSWER("ok & %s\n", w[0]);
        else if (first == 0 && !execute(w, n)) control_host(w, n);
        else {
            shared->process[0].busy = first == 0;
            gather(w[0], raises, first, last);
        }
    }
    free(copy);
}

/* ---- loading ---- */

/* The strings are to be the same; with `prefix`, as far as the shorter one goes. */
static void compare(const char *what, int offset, bool prefix) {
    const char *core = pointer_at(proto_udp_exports, offset), *module = pointer_at(exports, offset);
    const char *name = pointer_at(exports, 0);
    if (module == NULL) module = "(none)";
    size_t shorter = strlen(core) < strlen(module) ? strlen(core) : strlen(module);
    if (strncmp(core, module, prefix ? shorter : SIZE_MAX) == 0) return;
    LOG("%s module %s mismatch for %s; core: %s; module: %s\n", version >= 30400 ? "CRITICAL" : "ERROR", what,
        name == NULL ? "?" : name, core, module);
    exit(version >= 30400 ? 1 : 0);
}

static void load(const char *path) {
    void *handle = dlopen(path, RTLD_NOW);
    const ElfW(Sym) *symbol = NULL;
    Dl_info info;
    if (handle == NULL) DIE(255, "could not open module <%s>: %s\n", path, dlerror());
    if ((exports = dlsym(handle, "exports")) == NULL) DIE(255, "load_module: %s\n", dlerror());
    compare("version", 16, false);
    compare("compile flags", 24, false);
    if (version >= 30400) compare("version control system type", 32, false);
    if (version >= 30400) compare("version control system revision", 40, true);

    if (row == NULL || row->size != EXPORTS_SIZE)
        DIE(3, "the module accepts %s of %d bytes\n", core_version, EXPORTS_SIZE);
    if (!dladdr1(exports, &info, (void **)&symbol, RTLD_DL_SYMENT) || symbol == NULL || symbol->st_size < EXPORTS_SIZE)
        DIE(3, "exports has less than %d bytes\n", EXPORTS_SIZE);
    const int used[] = {row->params, row->stats, row->preinit, row->init, row->destroy, row->child_init};
    for (int offset = EXPORTS_SIZE == 184 ? 48 : 32, i; offset < row->size; offset += 8) {
        for (i = 0; i < 6 && used[i] != offset; i++) continue;
        if (i == 6 && pointer_at(exports, offset) != NULL) DIE(3, "exports has something at %d\n", offset);
    }
    if (pointer_at(exports, 0) == NULL || exports[8] != 1) DIE(3, "exports has no name, or a type that is not 1\n");

    if (verbose) ANSWER("module %s version %s\n", (char *)pointer_at(exports, 0), (char *)pointer_at(exports, 16));
    const struct module_stat *s = pointer_at(exports, row->stats);
    for (; s != NULL && s->name != NULL; s++) {
        if ((s->flags & 8) == 0) DIE(3, "statistic %s is not a function\n", s->name);
        if (verbose) ANSWER("statistic %s\n", s->name);
    }
    const struct module_param *p = pointer_at(exports, row->params);
    for (; verbose && p != NULL && p->name != NULL; p++) ANSWER("parameter %s type %d\n", p->name, p->type);
}

static void set_parameter(char *text) {
    char *value = strchr(text, '='), *end;
    if (value == NULL) DIE(2, "NAME=VALUE, not %s\n", text);
    *value++ = '\0';
    long integer = strtol(value, &end, 10);
    int type = *value != '\0' && *end == '\0' ? 2 : 1;
    const struct module_param *p = pointer_at(exports, row->params);
    while (p != NULL && p->name != NULL && (strcmp(p->name, text) != 0 || p->type != type)) p++;
    if (p == NULL || p->name == NULL) DIE(255, "parameter <%s> of type %d not found\n", text, type);
    if (*value == '"') value++, value[strcspn(value, "\"")] = '\0';
    if (type == 2) *(int *)p->pointer = (int)integer;
    else *(char **)p->pointer = value;
    if (verbose) ANSWER("modparam %s = %s\n", text, value);
}

static void describe(const char *wanted) {
    const char *texts[] = {"proto_udp", NULL, core_version, "STATS: On, SHM_MMAP, F_MALLOC", "git", "b7b7c89b2"};
    int major = 0, minor = 0, patch = 0;
    if (*wanted == '=') snprintf(core_version, sizeof core_version, "%s", wanted + 1);
    else snprintf(core_version, sizeof core_version, "opensips %s (x86_64/linux)", wanted);
    sscanf(core_version, "opensips %d.%d.%d", &major, &minor, &patch);
    version = major * 10000 + minor * 100 + patch;
    for (const struct row *r = rows; r < rows + sizeof rows / sizeof *rows; r++)
        if (version >= r->first && version <= r->last) row = r;
    memcpy(proto_udp_exports, texts, EXPORTS_SIZE >= 184 ? 48 : 32);
    proto_udp_exports[8] = 1;
}

int main(int argc, char **argv) {
    int option, children = 2, initialised = PROCESSES, settings = 0, how;
    const char *wanted = OPENSIPS_VERSION;
    static transport reserved;
    bool background = false;
    char *setting[64], *line;

    while ((option = getopt(argc, argv, "c:k:m:l:r:V:bev")) != -1) {
        switch (option) {
        case 'c': children = (int)number(optarg, 0, PROCESSES - 1); break;
        case 'k': initialised = (int)number(optarg, 0, PROCESSES); break;
        case 'm': setting[settings++ % 64] = optarg; break;
        case 'l': level = (int)number(optarg, -3, 4); break;
        case 'r':
            reserved = event_virtual;
            reserved.proto = (str){optarg, (int)strcspn(optarg, ":")};
            reserved.flags = (uint32_t)strtoul(strchr(optarg, ':') == NULL ? "" : strchr(optarg, ':') + 1, NULL, 16);
            break;
        case 'V': wanted = optarg; break;
        case 'b': background = true; break;
        case 'e': core_log = true; break;
        case 'v': verbose = true; break;
        default: return 2;
        }
    }
    if (optind != argc - 1) DIE(2, "one MODULE\n");

    describe(wanted);
    load(argv[optind]);
    for (int i = 0; i < settings; i++) set_parameter(setting[i]);
    pid_t pid = background ? fork() : 0;
    if (pid > 0) return waitpid(pid, &how, 0) == pid && WIFEXITED(how) ? WEXITSTATUS(how) : 127;

    struct sigaction action = {.sa_handler = on_signal}; /* without SA_RESTART */
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared->process[0] = (struct process){.pid = getpid(), .alive = true};
    register_event_mod(&event_virtual);
    if (reserved.proto.s != NULL) register_event_mod(&reserved);
    if (call(row->preinit, 0) != 0 || call(row->init, 0) != 0)
        DIE(255, "failed to initialize module %s\n", argv[optind]);
    for (int i = 0; i < children; i++) spawn(i < initialised ? i + 1 : NO_RANK);
    if (version <= 20407 || (version >= 30000 && version <= 30002)) call(row->child_init, 0);

    while ((line = next_line(0)) != NULL) run(line);
    finish();
}

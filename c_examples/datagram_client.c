/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * datagram_client: listens for events in datagrams, as OpenSIPS's
 * event_datagram module and Herald send them, and prints one line for each.
 *
 *     datagram_client [-n COUNT] [-d MS] [-r BYTES] [-q] udp:HOST:PORT | udp:[V6]:PORT | unix:/PATH
 *
 *     -n COUNT  leave after COUNT datagrams (default 0: stay until a signal)
 *     -d MS     be slow: sleep after each datagram
 *     -r BYTES  the size of the receive buffer
 *     -q        print no events, but at the end "received N malformed M"
 *
 * The first line is "listening on ADDRESS", with the port that was chosen if
 * PORT is 0. Then come events of either format, the text grammar or JSON-RPC,
 *
 *     E_SCRIPT str=bob int=42 text="two words\n" ="unnamed" =7
 *
 * Texts are quoted that are unnamed or empty, that hold a blank, a quote, a
 * backslash or a control character, and JSON strings that would look like a
 * number, true, false or null. What cannot be printed is escaped as in C.
 *
 * Exit status: 0, or 1 if there was an error or anything malformed; of that, a
 * line "malformed: REASON at byte N: DATA" tells.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what) {
    fprintf(stderr, "datagram_client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void usage(const char *why, const char *what) {
    fprintf(stderr, "datagram_client: %s: %s\n", why, what);
    exit(1);
}

static unsigned long number(const char *text) {
    char *rest;

    errno = 0;
    unsigned long value = strtoul(text, &rest, 10);
    if (errno != 0 || rest == text || *rest != '\0' || *text == '-' || value > INT_MAX)
        usage("not a number, or too large", text);
    return value;
}

/* ---- an event ---- */

struct text {
    char *bytes;
    size_t size;
};

enum kind { PLAIN, JSON_STRING, JSON_OTHER };

static struct event {
    struct text name;
    size_t count, room;
    struct param {
        struct text name; /* empty: unnamed */
        struct text value;
        enum kind kind;
    } *params;
} event;

static void add_param(struct text name, struct text value, enum kind kind) {
    if (event.count == event.room) {
        event.room = 2 * event.room + 16;
        event.params = realloc(event.params, event.room * sizeof *event.params);
        if (event.params == NULL) fail("memory");
    }
    event.params[event.count++] = (struct param){name, value, kind};
}

static bool equals(struct text text, const char *word) {
    return text.size == strlen(word) && memcmp(text.bytes, word, text.size) == 0;
}

/* How many bytes the UTF-8 character has that begins here; 0: there is none. */
static size_t character(const char *at, size_t left) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char c = (unsigned char)*at;
    const size_t size = c < 0x80 ? 1 : c < 0xc0 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf8 ? 4 : 0;
    uint32_t value = size < 2 ? c : c & 0x7fu >> size;

    if (size == 0 || size > left) return 0;
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
        value = value << 6 | ((unsigned char)at[i] & 0x3f);
    }
    return value < least[size] || value > 0x10ffff || value >> 11 == 0xd800 >> 11 ? 0 : size;
}

/* ---- printing ---- */

static void print_escaped(struct text text) {
    static const char letters[] = "\"\\\n\r\t", escapes[] = "\"\\nrt";

    for (size_t i = 0, size; i < text.size; i += size) {
        const unsigned char c = (unsigned char)text.bytes[i];
        const char *letter = memchr(letters, c, sizeof letters - 1);
        size = character(&text.bytes[i], text.size - i);
        if (letter != NULL)
            printf("\\%c", escapes[letter - letters]);
        else if (size == 0 || c < ' ' || c == 0x7f)
            printf("\\x%02x", c);
        else
            fwrite(&text.bytes[i], 1, size, stdout);
        if (size == 0) size = 1;
    }
}

/* Whether it can stand between blanks as it is. */
static bool is_word(struct text text) {
    for (size_t i = 0; i < text.size; i++) {
        const unsigned char c = (unsigned char)text.bytes[i];
        if (c <= ' ' || c == 0x7f || c == '"' || c == '\\') return false;
    }
    return text.size > 0;
}

static bool is_digits(struct text text) {
    size_t i = text.size > 1 && text.bytes[0] == '-';

    while (i < text.size && text.bytes[i] >= '0' && text.bytes[i] <= '9') i++;
    return text.size > 0 && i == text.size;
}

/* Whether it looks like something in JSON that is no string. */
static bool is_literal(struct text text) {
    return (text.size > 0 && memchr("-0123456789", text.bytes[0], 11) != NULL) || equals(text, "true") ||
           equals(text, "false") || equals(text, "null");
}

static void print_text(struct text text, bool bare) {
    const char *quote = bare ? "" : "\"";

    fputs(quote, stdout);
    print_escaped(text);
    fputs(quote, stdout);
}

static bool is_name(struct text text) {
    return is_word(text) && memchr(text.bytes, '=', text.size) == NULL;
}

static void print_event(void) {
    print_text(event.name, is_name(event.name));
    for (const struct param *p = event.params; p < event.params + event.count; p++) {
        bool bare = is_word(p->value);
        if (p->kind == PLAIN && p->name.size == 0) bare = is_digits(p->value);
        if (p->kind == JSON_STRING) bare = bare && p->name.size > 0 && !is_literal(p->value);
        putchar(' ');
        if (p->name.size > 0) print_text(p->name, is_name(p->name));
        putchar('=');
        print_text(p->value, bare);
    }
    putchar('\n');
}

/* ---- parsing: texts are decoded in place ---- */

static char *at, *end; /* what is not yet read of the datagram */
static const char *wrong;

static bool expected(const char *what) {
    wrong = what;
    return false;
}

static bool skip(const char *token) {
    const size_t size = strlen(token);

    if ((size_t)(end - at) < size || memcmp(at, token, size) != 0) return false;
    at += size;
    return true;
}

/* ---- the text grammar ----
 *
 *     event  = name '\n' param* '\n'
 *     param  = [name '::'] value '\n'
 *     name, value = bare | quoted
 *     quoted = '"' (any byte but '"' | '\"')* '"' '\'*
 *
 * A bare name ends at the first '::' and is not empty, a bare value at the end
 * of its line. Backslashes behind the closing quote belong to the text. */

/* After the opening quote. */
static bool quoted_text(struct text *text) {
    char *to = at;

    text->bytes = at;
    for (; at < end && *at != '"'; *to++ = *at++) {
        if (*at == '\\' && end - at > 1 && at[1] == '"') at++;
    }
    if (!skip("\"")) return expected("a closing quote");
    while (skip("\\")) *to++ = '\\';
    text->size = (size_t)(to - text->bytes);
    return true;
}

/* The rest of the line; its newline stays. */
static bool bare_text(struct text *text) {
    char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;

    if (newline == NULL) return at = end, expected("a newline");
    *text = (struct text){at, (size_t)(newline - at)};
    at = newline;
    return true;
}

static bool any_text(struct text *text) {
    return skip("\"") ? quoted_text(text) : bare_text(text);
}

static bool plain_param(void) {
    struct text name = {NULL, 0}, value;
    char *start = at;

    if (skip("\"")) {
        if (!quoted_text(&value)) return false;
        if (skip("::")) {
            name = value;
            if (!any_text(&value)) return false;
        }
    } else {
        if (!bare_text(&value)) return false;
        char *separator = memmem(value.bytes, value.size, "::", 2);
        if (separator != NULL && separator > start) {
            name = (struct text){start, (size_t)(separator - start)};
            at = separator + 2;
            if (!any_text(&value)) return false;
        }
    }
    if (!skip("\n")) return expected("a newline after the parameter");
    add_param(name, value, PLAIN);
    return true;
}

static bool plain_event(void) {
    if (!any_text(&event.name)) return false;
    if (!skip("\n")) return expected("a newline after the event's name");
    while (end - at != 1 || *at != '\n') {
        if (at == end) return expected("the empty line at the end");
        if (!plain_param()) return false;
    }
    return true;
}

/* ---- JSON-RPC ---- */

/* White space, and then this. */
static bool token(const char *word) {
    while (skip(" ") || skip("\t") || skip("\n") || skip("\r")) continue;
    return skip(word);
}

static bool hex4(uint32_t *value) {
    if (end - at < 4) return expected("four hexadecimal digits");
    *value = 0;
    for (int i = 0; i < 4; i++, at++) {
        const char *digits = "0123456789abcdef0123456789ABCDEF", *digit = memchr(digits, *at, 32);
        if (digit == NULL) return expected("four hexadecimal digits");
        *value = *value << 4 | ((digit - digits) & 15);
    }
    return true;
}

/* After the backslash. */
static bool json_escape(char **to) {
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    uint32_t value, low;

    if (!skip("u")) {
        const char *letter = at < end ? memchr(letters, *at, sizeof letters - 1) : NULL;
        if (letter == NULL) return expected("an escape");
        *(*to)++ = meanings[letter - letters];
        at++;
        return true;
    }
    if (!hex4(&value)) return false;
    if (value >> 10 == 0xd800 >> 10) {
        if (!skip("\\u")) return expected("the second half of a surrogate pair");
        if (!hex4(&low)) return false;
        if (low >> 10 != 0xdc00 >> 10) return expected("the second half of a surrogate pair");
        value = 0x10000 + ((value & 0x3ff) << 10 | (low & 0x3ff));
    } else if (value >> 10 == 0xdc00 >> 10) {
        return expected("the first half of a surrogate pair");
    }
    /* No longer than the escape was. */
    if (value < 0x80) {
        *(*to)++ = (char)value;
    } else {
        int more = value < 0x800 ? 1 : value < 0x10000 ? 2 : 3;
        *(*to)++ = (char)((0xff00u >> (more + 1) & 0xff) | value >> 6 * more);
        while (more-- > 0) *(*to)++ = (char)(0x80 | (value >> 6 * more & 0x3f));
    }
    return true;
}

static bool json_string(struct text *text) {
    if (!token("\"")) return expected("a string");
    char *to = at;
    text->bytes = at;
    while (!skip("\"")) {
        if (at == end) return expected("a closing quote");
        if (skip("\\")) {
            if (!json_escape(&to)) return false;
            continue;
        }
        size_t size = character(at, (size_t)(end - at));
        if (size == 0) return expected("UTF-8");
        if ((unsigned char)*at < ' ') return expected("an escape for a control character");
        while (size-- > 0) *to++ = *at++;
    }
    text->size = (size_t)(to - text->bytes);
    return true;
}

static size_t digits(void) {
    const char *start = at;

    while (at < end && *at >= '0' && *at <= '9') at++;
    return (size_t)(at - start);
}

static bool json_value(struct text *text, enum kind *kind) {
    if (token("\"")) {
        at--;
        *kind = JSON_STRING;
        return json_string(text);
    }
    *kind = JSON_OTHER;
    text->bytes = at;
    if (!skip("null") && !skip("true") && !skip("false")) {
        skip("-");
        if (!skip("0") && digits() == 0) return expected("a string, a number, true, false or null");
        if (skip(".") && digits() == 0) return expected("digits after the point");
        if (skip("e") || skip("E")) {
            if (!skip("+")) skip("-");
            if (digits() == 0) return expected("an exponent");
        }
    }
    text->size = (size_t)(at - text->bytes);
    return true;
}

static bool json_params(void) {
    const bool object = token("{");
    const char *close = object ? "}" : "]";

    if (!object && !token("[")) return expected("an object or an array");
    if (token(close)) return true;
    do {
        struct text name = {NULL, 0}, value;
        enum kind kind;
        if (object && !json_string(&name)) return false;
        if (object && !token(":")) return expected("a colon");
        if (!json_value(&value, &kind)) return false;
        add_param(name, value, kind);
    } while (token(","));
    return token(close) || expected(object ? "a comma or a brace" : "a comma or a bracket");
}

/* A notification: it has no id. */
static bool json_event(void) {
    bool version = false, method = false, params = false;

    token("{");
    do {
        struct text key, value;
        if (!json_string(&key)) return false;
        if (!token(":")) return expected("a colon");
        if (equals(key, "params") && !params) {
            params = true;
            if (!json_params()) return false;
            continue;
        }
        bool *seen = equals(key, "jsonrpc") ? &version : equals(key, "method") ? &method : NULL;
        if (seen == NULL || *seen)
            return expected("each of jsonrpc, method and params once, and nothing else");
        if (!json_string(&value)) return false;
        *seen = true;
        if (seen == &method)
            event.name = value;
        else if (!equals(value, "2.0"))
            return expected("version 2.0");
    } while (token(","));
    if (!token("}")) return expected("a comma or a brace");
    token("");
    return (at == end || expected("nothing more")) && ((version && method) || expected("jsonrpc and method"));
}

/* ---- sockets ---- */

static struct sockaddr_un bound; /* ours to remove */
static struct stat bound_inode;

static void remove_socket(void) {
    struct stat now;

    if (lstat(bound.sun_path, &now) == 0 && now.st_dev == bound_inode.st_dev && now.st_ino == bound_inode.st_ino)
        unlink(bound.sun_path);
}

/* A socket that we own and that nobody listens on. */
static bool is_stale(void) {
    struct stat found;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool refused = connect(fd, (struct sockaddr *)&bound, sizeof bound) != 0 && errno == ECONNREFUSED;

    close(fd);
    errno = EADDRINUSE; /* for the caller's message */
    return refused && lstat(bound.sun_path, &found) == 0 && S_ISSOCK(found.st_mode) && found.st_uid == geteuid();
}

static int listen_unix(const char *path) {
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (strlen(path) == 0 || strlen(path) >= sizeof bound.sun_path) usage("empty or too long", path);
    bound.sun_family = AF_UNIX;
    strcpy(bound.sun_path, path);
    if (bind(fd, (struct sockaddr *)&bound, sizeof bound) != 0) {
        if (errno != EADDRINUSE || !is_stale() || unlink(path) != 0 ||
            bind(fd, (struct sockaddr *)&bound, sizeof bound) != 0)
            fail(path);
    }
    if (lstat(path, &bound_inode) != 0) fail(path);
    atexit(remove_socket);
    printf("listening on unix:%s\n", path);
    return fd;
}

static int listen_udp(char *address) {
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    struct addrinfo *found;
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    char host[NI_MAXHOST], port[NI_MAXSERV], *colon = strrchr(address, ':');

    if (colon == NULL || colon == address) usage("not HOST:PORT", address);
    if (number(colon + 1) > 65535) usage("no such port", colon + 1);
    *colon = '\0';
    if (*address == '[' && colon[-1] == ']') {
        address++;
        colon[-1] = '\0';
    }
    const int error = getaddrinfo(address, colon + 1, &hints, &found);
    if (error != 0) usage(address, gai_strerror(error));
    int fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0) fail(address);
    freeaddrinfo(found);
    getsockname(fd, (struct sockaddr *)&name, &size);
    getnameinfo((struct sockaddr *)&name, size, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
    printf(name.ss_family == AF_INET6 ? "listening on udp:[%s]:%s\n" : "listening on udp:%s:%s\n", host, port);
    return fd;
}

static int listen_on(char *address) {
    if (strncmp(address, "udp:", 4) == 0) return listen_udp(address + 4);
    if (strncmp(address, "unix:", 5) != 0) usage("neither udp: nor unix:", address);
    return listen_unix(address + 5);
}

/* ---- receiving ---- */

static volatile sig_atomic_t stopped;

static void stop(int sig) {
    stopped = sig;
}

/* The size of the next datagram; -1: a signal came first. */
static ssize_t next_size(int fd, const sigset_t *mask) {
    struct pollfd input = {.fd = fd, .events = POLLIN};

    while (!stopped) {
        if (ppoll(&input, 1, NULL, mask) < 0 && errno != EINTR) fail("poll");
        ssize_t size = recv(fd, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
        if (size >= 0) return size;
        if (errno != EAGAIN && errno != EINTR) fail("receive");
    }
    return -1;
}

static bool parse(char *data, size_t size) {
    event.count = 0;
    at = data;
    end = data + size;
    return size > 0 && *data == '{' ? json_event() : plain_event();
}

int main(int argc, char **argv) {
    unsigned long count = 0, received = 0, malformed = 0, delay = 0;
    int option, buffer = 0;
    bool quiet = false;
    char *data = NULL;
    size_t room = 0;

    while ((option = getopt(argc, argv, "n:d:r:q")) != -1) {
        switch (option) {
        case 'n': count = number(optarg); break;
        case 'd': delay = number(optarg); break;
        case 'r': buffer = (int)number(optarg); break;
        case 'q': quiet = true; break;
        default: return 1;
        }
    }
    if (optind != argc - 1) usage("wanted", "one address");

    /* Signals arrive only while we wait, so none is missed and none is late. */
    sigset_t stopping, mask;
    sigemptyset(&stopping);
    sigaddset(&stopping, SIGTERM);
    sigaddset(&stopping, SIGINT);
    sigprocmask(SIG_BLOCK, &stopping, &mask);
    sigdelset(&mask, SIGTERM);
    sigdelset(&mask, SIGINT);
    signal(SIGTERM, stop);
    signal(SIGINT, stop);

    int fd = listen_on(argv[optind]);
    if (buffer > 0 && setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer) != 0)
        fail("receive buffer");
    fflush(stdout);

    for (ssize_t size; (count == 0 || received < count) && (size = next_size(fd, &mask)) >= 0;) {
        char start[200];
        if ((size_t)size >= room && (data = realloc(data, room = 2 * (size_t)size + 1)) == NULL) fail("memory");
        size = recv(fd, data, room, 0);
        if (size < 0) fail("receive");
        received++;

        size_t shown = (size_t)size < sizeof start ? (size_t)size : sizeof start;
        memcpy(start, data, shown);
        if (!parse(data, (size_t)size)) {
            malformed++;
            printf("malformed: expected %s at byte %td: ", wrong, at - data);
            print_text((struct text){start, shown}, false);
            printf("%s\n", shown < (size_t)size ? "..." : "");
        } else if (!quiet) {
            print_event();
        }
        if (fflush(stdout) != 0) fail("stdout");
        if (delay > 0 && received != count) {
            struct timespec pause = {(time_t)(delay / 1000), (long)(delay % 1000) * 1000000};
            ppoll(NULL, 0, &pause, &mask);
        }
    }
    if (quiet) printf("received %lu malformed %lu\n", received, malformed);
    free(event.params);
    free(data);
    return malformed > 0 ? 1 : 0;
}

/*
 * The API that the systems under test call: one thread, one epoll. It says yes to everything, and counts.
 *
 *     sink --port P --counters FILE --uris FILE [--limit SECONDS]
 *
 * POST         a client asks to connect: {"code": "OK"}; the ws_uri of the body is a line of --uris. One that asked for
 *              /subscribe (Ws-Path) joins the group "bench", one that asked for /user is a connection of the user "bench"
 *              On the path /centrifugo the answer is one for Centrifugo: the client gets what is published to "bench"
 * PUT          a client's message. On the path /echo it is answered with the message and Ws-Reply, on paths that end
 *              in /204 with 204 (by which Nchan is told to publish nothing), on all others with 200 and no body
 * DELETE       a client's connection is over
 * GET          200
 *
 * A POST of application/websocket-events is Pushpin's: its body has any number of events of WebSocket-over-HTTP, each
 * of which counts as what it is. The client's channel is its Connection-Id, and that is the line of --uris; but it is
 * "bench" on the path /subscribe, which is what the client asked for.
 *
 * --counters is a file that this program maps and others map to read: struct counts.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_LIMIT 65536
#define BODY_LIMIT (16 << 20)

struct counts {
    uint64_t connects, messages, disconnects, requests, malformed;
};

struct buffer {
    char *bytes;
    size_t used, room;
};

struct peer {
    int fd;
    struct buffer in, out;
    bool asked_to_continue;
};

struct request {
    char *head, *body;
    size_t head_length, body_length;
    bool is_events, expects, subscribes;
    char *id; /* Connection-Id, not terminated */
    size_t id_length;
    const char *fields; /* what the answer to a POST says beside its type */
};

static struct counts *counts;
static int poll_fd, uris_fd;

static void die(const char *what)
{
    fprintf(stderr, "sink: %s: %s\n", what, strerror(errno));
    exit(2);
}

static void append(struct buffer *b, const char *bytes, size_t length)
{
    if (b->used + length > b->room) {
        b->room = (b->used + length) * 2;
        if (!(b->bytes = realloc(b->bytes, b->room)))
            die("memory");
    }
    if (length)
        memcpy(b->bytes + b->used, bytes, length);
    b->used += length;
}

static void forget(struct buffer *b, size_t length)
{
    b->used -= length;
    memmove(b->bytes, b->bytes + length, b->used);
}

/* One line of --uris, written at once, so that readers never see half of one. */
static void tell_uri(const char *uri, size_t length)
{
    char line[2048];
    if (length + 1 > sizeof line)
        return;
    memcpy(line, uri, length);
    line[length] = '\n';
    if (write(uris_fd, line, length + 1) < 0)
        die("uris");
}

/* What web servers say of themselves and of the time; the latter makes heads differ from second to second. */
static const char *usual_fields(void)
{
    static char fields[128];
    static time_t said;
    time_t now = time(NULL);
    if (now != said) {
        said = now;
        strftime(fields, sizeof fields, "Server: sink\r\nDate: %a, %d %b %Y %H:%M:%S GMT\r\n", gmtime(&now));
    }
    return fields;
}

static void answer(struct peer *p, const char *status, const char *fields, const char *body, size_t length)
{
    char head[512];
    int n = snprintf(head, sizeof head, "HTTP/1.1 %s\r\n%s%sContent-Length: %zu\r\n\r\n", status, usual_fields(),
                     fields, length);
    append(&p->out, head, n);
    append(&p->out, body, length);
}

/* Events of WebSocket-over-HTTP: "NAME" or "NAME <hexadecimal length>\r\n<content>", each with CR LF at its end. */
static void answer_events(struct peer *p, const struct request *r, bool echo)
{
    static struct buffer out;
    const char *fields = "Content-Type: application/websocket-events\r\n";
    char *at = r->body, *end = r->body + r->body_length;
    out.used = 0;
    while (at < end) {
        char *line_end = memmem(at, end - at, "\r\n", 2);
        if (!line_end) {
            counts->malformed++;
            break;
        }
        char *blank = memchr(at, ' ', line_end - at), *next = line_end + 2;
        if (blank) {
            size_t length = strtoul(blank, NULL, 16);
            if (length + 2 > (size_t)(end - next)) {
                counts->malformed++;
                break;
            }
            next += length + 2;
        }
        if (!strncmp(at, "OPEN", 4)) {
            char control[512];
            int n = snprintf(control, sizeof control, "c:{\"type\": \"subscribe\", \"channel\": \"%.*s\"}",
                             r->subscribes ? 5 : (int)r->id_length, r->subscribes ? "bench" : r->id ? r->id : "");
            char event[640];
            n = snprintf(event, sizeof event, "OPEN\r\nTEXT %x\r\n%s\r\n", n, control);
            append(&out, event, n);
            fields = "Content-Type: application/websocket-events\r\n"
                     "Sec-WebSocket-Extensions: grip; message-prefix=\"\"\r\n";
            counts->connects++;
            tell_uri(r->id ? r->id : "", r->id_length);
        } else if (!strncmp(at, "TEXT", 4) || !strncmp(at, "BINARY", 6)) {
            counts->messages++;
            if (echo)
                append(&out, at, next - at);
        } else if (!strncmp(at, "CLOSE", 5)) {
            counts->disconnects++;
            append(&out, at, next - at);
        } else if (!strncmp(at, "DISCONNECT", 10)) {
            counts->disconnects++;
        }
        at = next;
    }
    answer(p, "200 OK", fields, out.bytes, out.used);
}

static void answer_request(struct peer *p, struct request *r)
{
    char *path = memchr(r->head, ' ', r->head_length);
    size_t path_length = path ? strcspn(++path, " ?\r\n") : 0;
    bool echo = path_length == 5 && !memcmp(path, "/echo", 5);
    r->subscribes = path_length == 10 && !memcmp(path, "/subscribe", 10);
    counts->requests++;
    if (r->is_events) {
        answer_events(p, r, echo);
    } else if (path_length == 11 && !memcmp(path, "/centrifugo", 11)) {
        static const char result[] = "{\"result\": {\"user\": \"bench\", \"channels\": [\"bench\"]}}";
        counts->connects++;
        answer(p, "200 OK", r->fields, result, sizeof result - 1);
    } else if (!strncmp(r->head, "POST ", 5)) {
        char *uri = memmem(r->body, r->body_length, "\"ws_uri\":", 9);
        counts->connects++;
        if (uri && (uri = memchr(uri + 9, '"', r->body + r->body_length - uri - 9))) {
            char *uri_end = memchr(uri + 1, '"', r->body + r->body_length - uri - 1);
            if (uri_end)
                tell_uri(uri + 1, uri_end - uri - 1);
        }
        answer(p, "200 OK", r->fields, "{\"code\": \"OK\"}", 14);
    } else if (!strncmp(r->head, "PUT ", 4)) {
        counts->messages++;
        if (echo)
            answer(p, "200 OK", "Content-Type: text/plain\r\nWs-Reply: text\r\n", r->body, r->body_length);
        else if (path_length >= 4 && !memcmp(path + path_length - 4, "/204", 4))
            append(&p->out, "HTTP/1.1 204 No Content\r\n\r\n", 27);
        else
            answer(p, "200 OK", "", "", 0);
    } else if (!strncmp(r->head, "DELETE ", 7)) {
        counts->disconnects++;
        answer(p, "200 OK", "", "", 0);
    } else {
        answer(p, "200 OK", "", "", 0);
    }
}

/* Reads the fields of a head that matter here; false if it is not one that this API understands. */
static bool read_head(struct request *r)
{
    r->fields = "Content-Type: application/json\r\n";
    char *line = memmem(r->head, r->head_length, "\r\n", 2);
    while (line && line + 4 < r->head + r->head_length) {
        line += 2;
        char *end = memmem(line, r->head + r->head_length - line, "\r\n", 2);
        if (!strncasecmp(line, "Content-Length:", 15)) {
            r->body_length = strtoul(line + 15, NULL, 10);
        } else if (!strncasecmp(line, "Content-Type:", 13)) {
            r->is_events = memmem(line, end - line, "websocket-events", 16);
        } else if (!strncasecmp(line, "Expect:", 7)) {
            r->expects = true;
        } else if (!strncasecmp(line, "Transfer-Encoding:", 18)) {
            return false;
        } else if (!strncasecmp(line, "Ws-Path: /subscribe\r\n", 21)) {
            r->fields = "Content-Type: application/json\r\nWs-Join: bench\r\n";
        } else if (!strncasecmp(line, "Ws-Path: /user\r\n", 16)) {
            r->fields = "Content-Type: application/json\r\nWs-User: bench\r\n";
        } else if (!strncasecmp(line, "Connection-Id:", 14)) {
            r->id = line + 14 + strspn(line + 14, " ");
            r->id_length = end - r->id;
        }
        line = end;
    }
    return r->body_length <= BODY_LIMIT;
}

static void drop(struct peer *p)
{
    close(p->fd);
    free(p->in.bytes);
    free(p->out.bytes);
    free(p);
}

/* Answers every complete request that has arrived; false if the connection cannot go on. */
static bool answer_all(struct peer *p)
{
    size_t done = 0;
    for (;;) {
        struct request r = {.head = p->in.bytes + done};
        char *end = memmem(r.head, p->in.used - done, "\r\n\r\n", 4);
        if (!end) {
            forget(&p->in, done);
            return p->in.used <= HEAD_LIMIT;
        }
        r.body = end + 4;
        r.head_length = r.body - r.head;
        if (!read_head(&r)) {
            counts->malformed++;
            return false;
        }
        size_t whole = r.head_length + r.body_length;
        if (p->in.used - done < whole) {
            if (r.expects && !p->asked_to_continue) {
                p->asked_to_continue = true;
                append(&p->out, "HTTP/1.1 100 Continue\r\n\r\n", 25);
            }
            forget(&p->in, done);
            return true;
        }
        p->asked_to_continue = false;
        answer_request(p, &r);
        done += whole;
    }
}

static void watch(struct peer *p, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = p};
    if (epoll_ctl(poll_fd, operation, p->fd, &event) < 0)
        die("epoll_ctl");
}

static void ready(struct peer *p, uint32_t events)
{
    static char scratch[262144];
    bool waited = p->out.used;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        ssize_t n = recv(p->fd, scratch, sizeof scratch, 0);
        if (n < 0 && errno == EAGAIN)
            n = 0;
        else if (n <= 0) {
            drop(p);
            return;
        }
        append(&p->in, scratch, n);
        if (!answer_all(p)) {
            drop(p);
            return;
        }
    }
    if (p->out.used) {
        ssize_t n = send(p->fd, p->out.bytes, p->out.used, MSG_NOSIGNAL);
        if (n > 0)
            forget(&p->out, n);
    }
    if (waited != !!p->out.used)
        watch(p, EPOLL_CTL_MOD, p->out.used ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void accept_all(int listening)
{
    int fd, one = 1;
    while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct peer *p = calloc(1, sizeof *p);
        if (!p)
            die("memory");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        p->fd = fd;
        watch(p, EPOLL_CTL_ADD, EPOLLIN);
    }
}

int main(int argc, char **argv)
{
    const char *counters_name = NULL, *uris_name = NULL;
    int port = 0, limit = 600, one = 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--port")) port = atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--counters")) counters_name = argv[i + 1];
        else if (!strcmp(argv[i], "--uris")) uris_name = argv[i + 1];
        else if (!strcmp(argv[i], "--limit")) limit = atoi(argv[i + 1]);
        else { fprintf(stderr, "sink: unknown option %s\n", argv[i]); return 2; }
    }
    if (!counters_name || !uris_name || port <= 0) {
        fprintf(stderr, "usage: sink --port P --counters FILE --uris FILE [--limit SECONDS]\n");
        return 2;
    }
    alarm(limit);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int counters_fd = open(counters_name, O_RDWR | O_CREAT, 0600);
    uris_fd = open(uris_name, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (counters_fd < 0 || uris_fd < 0 || ftruncate(counters_fd, sizeof *counts) < 0)
        die("files");
    counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, counters_fd, 0);
    if (counts == MAP_FAILED)
        die("mmap");

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (listening < 0 || bind(listening, (struct sockaddr *)&address, sizeof address) < 0 || listen(listening, 4096) < 0)
        die("listen");
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
    if (poll_fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, listening, &event) < 0)
        die("epoll");
    for (;;) {
        int n = epoll_wait(poll_fd, events, 256, -1);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                ready(events[i].data.ptr, events[i].events);
            else
                accept_all(listening);
        }
    }
}

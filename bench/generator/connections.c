/* Sockets: dialled, written to, read from; what arrives is handed on. HTTP is spoken as far as it is needed. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_LIMIT 4096
#define READ_SIZE 262144

int poll_fd, direct_fd;
struct counters total;
char first_error[256];
size_t open_count, connecting_count, failed_opens;

static char scratch[READ_SIZE];

void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(2);
}

void *allocate(void *old, size_t bytes)
{
    void *result = realloc(old, bytes ? bytes : 1);
    if (!result)
        die("memory");
    return result;
}

/* Counts an error and keeps the first one's text, made safe for JSON. */
void fault(const char *format, ...)
{
    total.errors++;
    if (first_error[0])
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(first_error, sizeof first_error, format, arguments);
    va_end(arguments);
    for (char *c = first_error; *c; c++)
        if (*c < ' ' || *c == '"' || *c == '\\' || *c > '~')
            *c = ' ';
}

static void drop(struct connection *c)
{
    if (c->state == FREE)
        return;
    if (c->role == CLIENT && !c->leaves) {
        if (c->state == OPEN || c->state == CLOSING)
            open_count--;
        else
            connecting_count--;
    }
    if (c->tls)
        tls_free(c->tls);
    close(c->fd);
    free(c->head);
    free(c->unsent);
    free(c->pending.due);
    *c = (struct connection){.role = c->role, .leaves = c->leaves, .direct = c->direct};
}

/* As send(2), through TLS where there is some. */
static ssize_t put(struct connection *c, const char *bytes, size_t length)
{
    if (c->tls)
        return c->state == CONNECTING || c->state == SECURING ? 0 : tls_send(c->tls, bytes, length);
    return send(c->fd, bytes, length, MSG_NOSIGNAL);
}

/* Sends, keeping what the socket does not take. */
void transmit(struct connection *c, const char *bytes, size_t length)
{
    if (!c->unsent_length) {
        ssize_t n = put(c, bytes, length);
        if (n < 0 && errno != EAGAIN)
            return; /* the read side meets the same error and tells */
        if (n > 0) {
            bytes += n;
            length -= n;
        }
    }
    if (length) {
        c->unsent = allocate(c->unsent, c->unsent_length + length);
        memcpy(c->unsent + c->unsent_length, bytes, length);
        c->unsent_length += length;
    }
}

static void flush(struct connection *c)
{
    if (!c->unsent_length)
        return;
    ssize_t n = put(c, c->unsent, c->unsent_length);
    if (n > 0) {
        c->unsent_length -= n;
        memmove(c->unsent, c->unsent + n, c->unsent_length);
    }
}

/* Starts to connect; everything else happens as events arrive. */
void dial(struct connection *c, enum role role, int to_port, bool tls, size_t number)
{
    int one = 1;
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    c->role = role;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + number % options.sources); /* one address has only some 28,000 ports */
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(to_port);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0)
        die("bind");
    c->state = CONNECTING;
    c->body_left = -1;
    if (tls)
        c->tls = tls_start(c->fd);
    if (role == CLIENT && !c->leaves)
        connecting_count++;
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
        fault("connect: %s", strerror(errno));
        if (role == CLIENT)
            failed_opens++;
        drop(c);
        return;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    if (epoll_ctl(c->direct ? direct_fd : poll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0)
        die("epoll_ctl");
}

/* Collects a head; returns where it ends, or NULL as long as it does not. */
static char *head_end(struct connection *c, const char *data, size_t length)
{
    if (!c->head)
        c->head = allocate(NULL, HEAD_LIMIT + 1);
    size_t n = length < HEAD_LIMIT - c->head_length ? length : HEAD_LIMIT - c->head_length;
    memcpy(c->head + c->head_length, data, n);
    c->head_length += n;
    c->head[c->head_length] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    return end ? end + 4 : NULL;
}

static void upgrade_answer(struct connection *c, char *data, size_t length)
{
    size_t before = c->head_length;
    char *end = head_end(c, data, length);
    if (!end) {
        if (c->head_length >= HEAD_LIMIT) {
            fault("the head of an answer is too long");
            drop(c);
        }
        return;
    }
    /* The key of the handshake is the one of RFC 6455 section 1.3, and so is what must answer it. */
    if (strncmp(c->head, "HTTP/1.1 101 ", 13) || !strstr(c->head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) {
        fault("handshake refused: %.60s", c->head);
        failed_opens++;
        drop(c);
        return;
    }
    size_t used = (size_t)(end - c->head) - before;
    free(c->head);
    c->head = NULL;
    c->head_length = 0;
    if (!c->leaves) {
        connecting_count--;
        open_count++;
    }
    total.opened++;
    c->state = OPEN;
    client_opened(c);
    frames(c, (unsigned char *)data + used, length - used);
}

/* The answer to a push or to the probe. */
static void http_answer(struct connection *c, const char *data, size_t length)
{
    if (c->role == PUSHER && options.mode == PUBLISH && !c->asked) {
        drop(c); /* it was idle for long: the server says so before it ends it */
        return;
    }
    if (c->body_left < 0) {
        size_t before = c->head_length;
        char *end = head_end(c, data, length);
        if (!end)
            return;
        char *field = strcasestr(c->head, "\r\nContent-Length:");
        if (!field || field >= end) {
            fault("an answer has no Content-Length: %.60s", c->head);
            drop(c);
            return;
        }
        c->body_left = strtol(field + 17, NULL, 10);
        char *close = strcasestr(c->head, "\r\nConnection: close");
        c->last = close && close < end;
        if (c->role == PROBE)
            ; /* any answer will do */
        else if (c->head[9] == '2')
            total.answered += !c->direct;
        else if (!total.refused++)
            fault("push refused: %.60s", c->head);
        size_t used = (size_t)(end - c->head) - before;
        length -= used;
    }
    c->body_left -= (long)length < c->body_left ? (long)length : c->body_left;
    if (!c->body_left) {
        c->body_left = -1;
        c->head_length = 0;
        answered(c);
        if (c->last) {
            enum role role = c->role;
            drop(c);
            if (role == PUSHER)
                renew(c);
        }
    }
}

static void lost(struct connection *c)
{
    if (c->role == PUSHER) {
        if (c->asked || options.mode != PUBLISH) /* there, some are idle for long, and the server may end them */
            fault("the server closed a pusher's connection");
    } else if (c->role == PROBE) {
        if (c->pending.count)
            fault("the server closed the probe's connection instead of an answer");
    } else if (c->state == CLOSING && c->close_received) {
        total.closed++;
    } else if (c->state != CLOSING || c->leaves) {
        fault(c->state == OPEN ? "the server dropped a client" : c->state == CLOSING
              ? "closed without a Close frame" : "the connection ended during the handshake");
        if (c->state != OPEN)
            failed_opens++;
    }
    drop(c);
}

/* Connected, and TLS done: the first request. */
static void usable(struct connection *c)
{
    c->state = c->role == CLIENT ? UPGRADING : OPEN;
    const struct upgrade *asked = c->direct ? &direct_upgrade : &upgrade;
    if (c->role == CLIENT)
        transmit(c, asked->bytes, asked->length);
    else
        answered(c);
}

static void secure(struct connection *c)
{
    ssize_t n = tls_handshake(c->tls);
    if (n > 0) {
        usable(c);
    } else if (!n) {
        fault("TLS: the handshake failed");
        if (c->role == CLIENT)
            failed_opens++;
        drop(c);
    }
}

static void connected(struct connection *c)
{
    int problem = 0;
    socklen_t length = sizeof problem;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &problem, &length);
    if (problem) {
        fault("connect: %s", strerror(problem));
        if (c->role == CLIENT)
            failed_opens++;
        drop(c);
        return;
    }
    if (c->tls)
        c->state = SECURING;
    else
        usable(c);
}

void ready(struct connection *c, uint32_t events)
{
    if (c->state == FREE)
        return;
    if (c->state == CONNECTING && events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
        connected(c);
    if (c->state == SECURING)
        secure(c);
    if (c->state <= SECURING)
        return; /* over, or not there yet */
    if (events & EPOLLOUT)
        flush(c);
    if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
        return;
    while (c->state != FREE) { /* edge-triggered: until there is nothing more */
        ssize_t n = c->tls ? tls_recv(c->tls, scratch, sizeof scratch) : recv(c->fd, scratch, sizeof scratch, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            lost(c);
            return;
        }
        if (c->role != CLIENT)
            http_answer(c, scratch, n);
        else if (c->state == UPGRADING)
            upgrade_answer(c, scratch, n);
        else
            frames(c, (unsigned char *)scratch, n);
        if (!c->tls && (size_t)n < sizeof scratch && !(events & (EPOLLRDHUP | EPOLLHUP)))
            return; /* the socket is empty: the next byte brings a new event */
    }
}

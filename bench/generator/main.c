/*
 * The load generator: one thread, one epoll, WebSocket clients and HTTP pushers over loopback.
 *
 *     load MODE --port P [--path /x] [--size BYTES] [--pushers N] [--parallel N] [--waiting N]
 *               [--status-port P] [--sources N] [--room N] [--limit SECONDS]
 *
 * MODE is idle, messages, pushes or handshakes. It obeys lines on standard input and answers with one JSON object
 * a line:
 *
 *     open N            open N more WebSocket clients            {"event": "opened", ...}
 *     requests FILE     what the pushers send, in turn: "<length>\n<bytes>" repeated
 *     run WARM SECONDS  once: the work of the mode, WARM seconds uncounted, then counted
 *                                                                {"event": "begin"}, {"event": "end", ...}
 *     quit              (or the end of the input) exit
 *
 * Clients answer pings at all times. In "messages" a client's message counts as delivered when the API has it: the
 * API's request counter (nginx's stub_status, asked on a connection of its own every 5 ms) paces the clients, so that
 * there are never more than --waiting messages for each client between client and API, and never none.
 *
 * The program ends after --limit seconds whatever happens, and with whoever started it.
 */
#include "load.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define CONNECTING_AT_ONCE 64 /* below any listen backlog that a system under test is given */
#define STATUS_INTERVAL 0.005 /* seconds */

enum mode mode;
int port, sources = 8;
char upgrade[1024];
size_t upgrade_length;

static int status_port, pushers = 16, parallel = 64, waiting = 8;
static const char *path = "/";
static size_t size = 64;

static struct connection *clients, *pusher_list, status;
static size_t client_count, client_room, next_client;
static size_t wanted; /* clients that "open" asked for in all */
static struct counters base;

static char *requests;
static struct {
    size_t offset, length;
} *request_list;
static size_t request_count, next_request;

static char *message; /* one masked frame, as every client sends it */
static size_t message_length;

static enum { RESTING, OPENING, WARMING, MEASURING } phase;
static double phase_started, warm_for, measured_for, cpu_started, next_status;
static bool status_asked, status_known;
static uint64_t status_polls, status_base;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static double cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

void client_opened(struct connection *c)
{
    static const unsigned char normal[2] = {0x03, 0xe8}; /* 1000 */
    char out[2 + FRAME_OVERHEAD];
    if (mode != HANDSHAKES)
        return;
    transmit(c, out, frame(out, 8, normal, sizeof normal));
    c->state = CLOSING;
}

void pusher_ready(struct connection *c)
{
    if (phase < WARMING || !request_count)
        return;
    size_t i = next_request++ % request_count;
    total.sent++;
    transmit(c, requests + request_list[i].offset, request_list[i].length);
}

static void ask_status(void)
{
    static const char request[] = "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n";
    status_asked = true;
    status_polls++;
    transmit(&status, request, sizeof request - 1);
}

void api_calls(unsigned long long calls)
{
    status_asked = false;
    if (!status_known) {
        status_known = true;
        status_base = calls;
        status_polls = 0;
    }
    total.delivered = calls - status_base - status_polls; /* our own questions are calls too */
}

/* Lets clients send, one message each in turn, until --waiting for each client are on their way. */
static void send_messages(void)
{
    int64_t room = (int64_t)(open_count * waiting) - (int64_t)(total.sent - total.delivered);
    size_t blocked = 0;
    while (room > 0 && blocked < client_count) {
        struct connection *c = &clients[next_client++ % client_count];
        if (c->state != OPEN || c->unsent_length) {
            blocked++;
            continue;
        }
        blocked = 0;
        transmit(c, message, message_length);
        total.sent++;
        room--;
    }
}

static void open_more(void)
{
    while (client_count < wanted && connecting_count < CONNECTING_AT_ONCE) {
        struct connection *c = &clients[client_count];
        dial(c, CLIENT, port, client_count++);
    }
}

/* In "handshakes" a place whose connection is over is taken by a new one. */
static void renew(void)
{
    static size_t number;
    for (int i = 0; i < parallel; i++)
        if (clients[i].state == FREE)
            dial(&clients[i], CLIENT, port, number++);
}

static void begin_run(double warm, double seconds)
{
    warm_for = warm;
    measured_for = seconds;
    phase = WARMING;
    phase_started = now();
    for (int i = 0; mode == PUSHES && i < pushers; i++)
        dial(&pusher_list[i], PUSHER, port, i);
    if (mode == MESSAGES)
        dial(&status, STATUS, status_port, 0);
}

static void report_end(double wall)
{
    printf("{\"event\": \"end\", \"seconds\": %.6f, \"cpu\": %.6f, \"sent\": %llu, \"answered\": %llu, "
           "\"refused\": %llu, \"received\": %llu, \"delivered\": %llu, \"opened\": %llu, \"closed\": %llu, \"pings\": %llu, "
           "\"open\": %zu, \"errors\": %llu, \"first_error\": \"%s\"}\n",
           wall, cpu() - cpu_started, (unsigned long long)(total.sent - base.sent),
           (unsigned long long)(total.answered - base.answered), (unsigned long long)(total.refused - base.refused),
           (unsigned long long)(total.received - base.received), (unsigned long long)(total.delivered - base.delivered),
           (unsigned long long)(total.opened - base.opened), (unsigned long long)(total.closed - base.closed),
           (unsigned long long)(total.pings - base.pings), open_count, (unsigned long long)total.errors, first_error);
    fflush(stdout);
}

/* What is due at this moment; returns the milliseconds until it should be asked again. */
static int tick(void)
{
    double t = now();
    if (phase == OPENING) {
        open_more();
        if (client_count == wanted && !connecting_count) {
            printf("{\"event\": \"opened\", \"open\": %zu, \"failed\": %zu, \"seconds\": %.6f, \"errors\": %llu, "
                   "\"first_error\": \"%s\"}\n",
                   open_count, failed_opens, t - phase_started, (unsigned long long)total.errors, first_error);
            fflush(stdout);
            phase = RESTING;
        }
        return 100;
    }
    if (phase == RESTING)
        return 1000;
    if (mode == HANDSHAKES)
        renew();
    if (mode == MESSAGES) {
        if (status.state == OPEN && !status_asked && t >= next_status) {
            next_status = t + STATUS_INTERVAL;
            ask_status();
        }
        if (status_known)
            send_messages();
    }
    double due = phase_started + (phase == WARMING ? warm_for : measured_for);
    if (t >= due) {
        if (phase == WARMING) {
            printf("{\"event\": \"begin\"}\n");
            fflush(stdout);
            phase = MEASURING;
            phase_started = now();
            cpu_started = cpu();
            base = total;
            return 1;
        }
        report_end(t - phase_started);
        phase = RESTING;
        return 1000;
    }
    int left = (int)((due - t) * 1000) + 1;
    int pause = mode == MESSAGES ? 5 : 100;
    return left < pause ? left : pause;
}

static void load_requests(const char *name)
{
    FILE *file = fopen(name, "rb");
    size_t used = 0, length;
    if (!file)
        die(name);
    while (fscanf(file, "%zu", &length) == 1) {
        fgetc(file); /* the line feed */
        requests = allocate(requests, used + length);
        request_list = allocate(request_list, (request_count + 1) * sizeof *request_list);
        if (fread(requests + used, 1, length, file) != length)
            die("requests cut short");
        request_list[request_count].offset = used;
        request_list[request_count++].length = length;
        used += length;
    }
    fclose(file);
}

static void command(char *line)
{
    double warm, seconds;
    size_t more;
    char name[1024];
    if (sscanf(line, "open %zu", &more) == 1) {
        if (client_count + more > client_room) {
            errno = ENOSPC;
            die("open more than --room");
        }
        wanted += more;
        failed_opens = 0;
        phase = OPENING;
        phase_started = now();
    } else if (phase == RESTING && !measured_for && sscanf(line, "run %lf %lf", &warm, &seconds) == 2) {
        begin_run(warm, seconds);
    } else if (sscanf(line, "requests %1023[^\n]", name) == 1) {
        load_requests(name);
    } else if (!strncmp(line, "quit", 4)) {
        exit(0);
    } else {
        errno = EINVAL;
        die(line);
    }
}

static void read_commands(void)
{
    static char buffer[4096];
    static size_t used;
    ssize_t n = read(0, buffer + used, sizeof buffer - used - 1);
    if (n <= 0)
        exit(0);
    used += n;
    buffer[used] = 0;
    for (char *end; (end = strchr(buffer, '\n'));) {
        *end = 0;
        command(buffer);
        used -= end + 1 - buffer;
        memmove(buffer, end + 1, used + 1);
    }
}

int main(int argc, char **argv)
{
    static const char *modes[] = {"idle", "messages", "pushes", "handshakes"};
    int limit = 600;
    size_t room = 20000;
    if (argc < 2) {
        fprintf(stderr, "usage: load MODE --port P ...\n");
        return 2;
    }
    for (mode = IDLE; mode <= HANDSHAKES && strcmp(argv[1], modes[mode]); mode++)
        ;
    for (int i = 2; i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];
        if (!strcmp(argv[i], "--port")) port = atoi(value);
        else if (!strcmp(argv[i], "--status-port")) status_port = atoi(value);
        else if (!strcmp(argv[i], "--path")) path = value;
        else if (!strcmp(argv[i], "--size")) size = strtoul(value, NULL, 10);
        else if (!strcmp(argv[i], "--pushers")) pushers = atoi(value);
        else if (!strcmp(argv[i], "--parallel")) parallel = atoi(value);
        else if (!strcmp(argv[i], "--waiting")) waiting = atoi(value);
        else if (!strcmp(argv[i], "--sources")) sources = atoi(value);
        else if (!strcmp(argv[i], "--limit")) limit = atoi(value);
        else if (!strcmp(argv[i], "--room")) room = strtoul(value, NULL, 10);
        else { fprintf(stderr, "load: unknown option %s\n", argv[i]); return 2; }
    }
    if (mode > HANDSHAKES || port <= 0 || parallel <= 0 || sources <= 0
        || (mode == HANDSHAKES && (size_t)parallel > room)) {
        fprintf(stderr, "load: bad arguments\n");
        return 2;
    }
    alarm(limit);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    client_room = room;
    clients = calloc(room, sizeof *clients);
    pusher_list = calloc(pushers, sizeof *pusher_list);
    message = allocate(NULL, size + FRAME_OVERHEAD);
    unsigned char *payload = allocate(NULL, size);
    memset(payload, 'm', size);
    message_length = frame(message, 1, payload, size);
    free(payload);
    upgrade_length = snprintf(upgrade, sizeof upgrade,
                              "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                              path, port);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
    if (!clients || !pusher_list || upgrade_length >= sizeof upgrade || poll_fd < 0
        || epoll_ctl(poll_fd, EPOLL_CTL_ADD, 0, &event) < 0)
        die("start");
    for (;;) {
        int n = epoll_wait(poll_fd, events, 256, tick());
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                ready(events[i].data.ptr, events[i].events);
            else
                read_commands();
        }
    }
}

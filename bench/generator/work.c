/* The work of each mode: who connects, who sends what and when. */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PACE 0.001            /* seconds between looks at what the API has got */
#define PROBE_INTERVAL 0.005  /* seconds */

static struct connection *clients, *leaving, *pusher_list, probe;
static size_t client_count, next_client;
static size_t wanted; /* clients that "open" asked for in all */

static char *message; /* one masked frame, as every client sends it */
static size_t message_length;

static const volatile uint64_t *api_counts; /* connects, messages, disconnects: shared with the API */
static uint64_t api_base[3];

static double rate, next_due, probe_due;

static void map_counts(void)
{
    int fd = open(options.counters, O_RDONLY);
    void *shared = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof api_base, PROT_READ, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED)
        die("counters");
    close(fd);
    api_counts = shared;
    for (int i = 0; i < 3; i++)
        api_base[i] = api_counts[i];
}

void read_counts(void)
{
    if (!api_counts)
        return;
    total.delivered = api_counts[1] - api_base[1];
    total.disconnects = api_counts[2] - api_base[2];
}

void prepare_work(void)
{
    clients = calloc(options.room, sizeof *clients);
    leaving = calloc(options.parallel, sizeof *leaving);
    pusher_list = calloc(options.pushers, sizeof *pusher_list);
    unsigned char *payload = allocate(NULL, options.size);
    message = allocate(NULL, options.size + FRAME_OVERHEAD);
    if (!clients || !leaving || !pusher_list)
        die("memory");
    memset(payload, 'm', options.size);
    message_length = frame(message, 1, payload, options.size);
    free(payload);
    if (options.counters)
        map_counts();
}

void open_clients(size_t more)
{
    if (client_count + more > options.room) {
        errno = ENOSPC;
        die("open more than --room");
    }
    wanted += more;
    failed_opens = 0;
}

/* Connects as many clients as may connect at once; true when all that are wanted are in or have failed. */
bool open_more(void)
{
    while (client_count < wanted && connecting_count < options.at_once) {
        struct connection *c = &clients[client_count];
        c->direct = client_count < options.direct;
        dial(c, CLIENT, options.port, options.tls, client_count++);
    }
    return client_count == wanted && !connecting_count;
}

static size_t active(void)
{
    return client_count < options.active ? client_count : options.active;
}

static void send_message(struct connection *c, double due)
{
    if (options.mode == ECHO)
        pending_add(&c->pending, due);
    total.sent++;
    transmit(c, message, message_length);
}

/* Lets clients send, one message each in turn, until --waiting for each client are on their way. */
static void keep_sending(void)
{
    int64_t room = (int64_t)(active() * options.waiting) - (int64_t)(total.sent - total.delivered);
    size_t blocked = 0;
    while (room > 0 && blocked < active()) {
        struct connection *c = &clients[next_client++ % active()];
        if (c->state != OPEN || c->unsent_length) {
            blocked++;
            continue;
        }
        blocked = 0;
        send_message(c, 0);
        room--;
    }
}

/* Messages at random moments, as from many people who know nothing of each other: exponential pauses. */
static void send_due(double t)
{
    while (t >= next_due) {
        struct connection *c = &clients[next_client++ % active()];
        if (c->state == OPEN)
            send_message(c, next_due);
        next_due -= log(1 - drand48()) / rate;
    }
}

static bool visit(void)
{
    static size_t number;
    for (int i = 0; i < options.parallel; i++)
        if (leaving[i].state == FREE) {
            leaving[i].leaves = true;
            dial(&leaving[i], CLIENT, options.port, options.tls, number++);
            return true;
        }
    return false;
}

/* Clients that come at a rate, and go; while there is no place left, they stay away. */
static void visit_due(double t)
{
    while (t >= next_due) {
        visit();
        next_due += 1 / rate;
    }
}

static void ask(void)
{
    char request[512];
    int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", options.probe,
                     options.push_port);
    transmit(&probe, request, n);
}

/* One question every PROBE_INTERVAL; one that must wait for the answer before is as late as that makes it. */
static void probe_when_due(double t)
{
    if (probe.state == FREE)
        dial(&probe, PROBE, options.push_port, options.push_tls, 0);
    else if (probe.state == OPEN && !probe.pending.count && t >= probe_due) {
        pending_add(&probe.pending, probe_due);
        probe_due += PROBE_INTERVAL;
        ask();
    }
}

/* rate: messages (in "echo"), handshakes ("idle") or publishes ("publish") a second; 0: as many as go, or none. */
void begin_work(double at_rate, double direct_rate)
{
    rate = at_rate;
    if (options.mode == PUBLISH) {
        begin_publish(pusher_list, at_rate, direct_rate);
        return;
    }
    next_due = probe_due = now();
    for (int i = 0; options.mode == PUSHES && i < options.pushers; i++)
        dial(&pusher_list[i], PUSHER, options.push_port, options.push_tls, i);
    for (size_t i = 0; options.mode == ECHO && !rate && i < active(); i++)
        for (int n = clients[i].pending.count; n < options.waiting && clients[i].state == OPEN; n++)
            send_message(&clients[i], next_due);
}

/* Whatever is due; returns the seconds until more may be. */
double work(double t)
{
    double pause = 0.1;
    if (options.mode == PUBLISH)
        return publish(t);
    if (options.mode == HANDSHAKES)
        while (visit())
            ;
    if (options.mode == MESSAGES) {
        read_counts();
        keep_sending();
        pause = PACE;
    }
    if (rate && options.mode == ECHO)
        send_due(t);
    if (rate && options.mode == IDLE) {
        visit_due(t);
        probe_when_due(t);
        if (!probe.pending.count)
            pause = fmin(pause, probe_due - t);
    }
    if (rate)
        pause = fmin(pause, next_due - t);
    return fmax(pause, 0);
}

/* A pusher whose connection the server does not keep. */
void renew(struct connection *c)
{
    static size_t number;
    dial(c, PUSHER, options.push_port, options.push_tls, number++);
}

void client_opened(struct connection *c)
{
    static const unsigned char normal[2] = {0x03, 0xe8}; /* 1000 */
    char out[256 + FRAME_OVERHEAD];
    if (options.greeting)
        transmit(c, out, frame(out, 1, (const unsigned char *)options.greeting, strnlen(options.greeting, 256)));
    if (!c->leaves)
        return;
    transmit(c, out, frame(out, 8, normal, sizeof normal));
    c->state = CLOSING;
}

void client_received(struct connection *c)
{
    double due;
    if (options.mode == PUBLISH)
        return; /* counted by the numbers in it */
    total.received++;
    if (!pending_take(&c->pending, &due))
        return;
    if (phase == MEASURING)
        latency_record(now() - due);
    if (!rate && phase >= WARMING && c->state == OPEN)
        send_message(c, now());
}

/* A pusher or the probe is connected, or got the answer to its last request. */
void answered(struct connection *c)
{
    double due;
    if (c->role == PROBE) {
        if (pending_take(&c->pending, &due) && phase == MEASURING)
            latency_record(now() - due);
        return;
    }
    if (options.mode == PUBLISH) {
        publisher_answered(c);
        return;
    }
    if (phase < WARMING || !requests.count || c->last)
        return;
    total.sent++;
    send_next(c, &requests);
}

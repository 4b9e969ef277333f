/*
 * Publishes to a group, and direct pushes between them. Each message has a number: so it is known when each was due, and
 * whether all subscribers get the same ones in one order, none of them left out.
 */
#include "load.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define REMEMBERED 65536 /* numbers of which something is known, the last ones */
#define DIRECT_PUSHERS 64

static struct {
    double due;
    bool direct;
} numbers[REMEMBERED];
static uint64_t order[REMEMBERED], order_length; /* numbers of publishes as they came to whoever had most of them */

static struct connection *publishers, direct_pushers[DIRECT_PUSHERS];
static double rate, next_due, direct_rate, next_direct;

static void send_one(struct connection *c, double due)
{
    uint64_t number = send_next(c, c->direct ? &direct_requests : &requests);
    numbers[number % REMEMBERED].due = due;
    numbers[number % REMEMBERED].direct = c->direct;
    total.sent += !c->direct;
    c->asked = true;
}

static void ready_to_ask(struct connection *c)
{
    if (c->state == FREE)
        dial(c, PUSHER, options.push_port, options.push_tls, 0);
    else if (c->state == OPEN && !c->asked)
        publisher_answered(c);
}

/* at_rate: publishes a second; 0: as many as go. at_direct_rate: direct pushes a second. */
void begin_publish(struct connection *pushers, double at_rate, double at_direct_rate)
{
    publishers = pushers;
    rate = at_rate;
    direct_rate = at_direct_rate;
    next_due = next_direct = now();
    for (int i = 0; requests.count && i < options.pushers; i++)
        ready_to_ask(&publishers[i]);
    for (int i = 0; direct_rate && i < DIRECT_PUSHERS; i++) {
        direct_pushers[i].direct = true;
        ready_to_ask(&direct_pushers[i]);
    }
}

/* A pusher is connected, or got its answer. */
void publisher_answered(struct connection *c)
{
    c->asked = false;
}

/*
 * As many publishes as there are publishers are on their way at all times. One is until it has arrived: some systems answer
 * long before, and would be given more and more, which they may well send in one piece.
 */
static void keep_publishing(double t)
{
    size_t members = open_count > options.direct ? open_count - options.direct : 1;
    int64_t room = options.pushers - (int64_t)(total.sent - total.received / members);
    for (int i = 0; room > 0 && i < options.pushers; i++)
        if (publishers[i].state == OPEN && !publishers[i].asked && !publishers[i].last) {
            send_one(&publishers[i], t);
            room--;
        }
}

/*
 * Requests at random moments, as from many who know nothing of each other: exponential pauses. Returns the seconds until
 * the next; while all who could send it wait for an answer, nothing is due but that.
 */
static double send_due(double t, double at_rate, double *due, struct connection *pushers, int count)
{
    static unsigned turn; /* each has its own, so that none is idle for long */
    for (int i = 0; t >= *due && i < count; i++) {
        struct connection *c = &pushers[turn++ % count];
        if (c->state == OPEN && !c->asked && !c->last) {
            send_one(c, *due);
            *due -= log(1 - drand48()) / at_rate;
        }
    }
    return t >= *due ? 0.1 : *due - t;
}

double publish(double t)
{
    double pause = 0.1;
    if (!rate && requests.count)
        keep_publishing(t);
    if (rate && requests.count)
        pause = fmin(pause, send_due(t, rate, &next_due, publishers, options.pushers));
    if (direct_rate && direct_requests.count)
        pause = fmin(pause, send_due(t, direct_rate, &next_direct, direct_pushers, DIRECT_PUSHERS));
    return pause;
}

static void arrived(struct connection *c, uint64_t number)
{
    bool direct = numbers[number % REMEMBERED].direct;
    if (phase == MEASURING && direct == !!direct_rate)
        latency_record(now() - numbers[number % REMEMBERED].due);
    if (direct)
        return;
    total.received++;
    if (c->arrived == order_length)
        order[order_length++ % REMEMBERED] = number;
    else if (order[c->arrived % REMEMBERED] != number)
        fault("message %llu where others got %llu", (unsigned long long)number,
              (unsigned long long)order[c->arrived % REMEMBERED]);
    c->arrived++;
}

/*
 * A part of a payload. The first sixteen digits of a line are a number; most systems have one line in a message, but some
 * collect what they have for a client. Lines without a number are what a system itself has to say.
 */
void publish_payload(struct connection *c, const unsigned char *data, size_t length)
{
    const unsigned char *end = data + length;
    while (data < end) {
        if (c->digits == NUMBER_DIGITS) { /* the rest of the line */
            data = memchr(data, '\n', end - data);
            if (!data++)
                return;
            c->digits = 0;
            continue;
        }
        unsigned digit = *data++ - '0';
        c->number = c->digits && digit < 10 ? c->number * 10 + digit : digit;
        c->digits = digit < 10 ? c->digits + 1 : 0;
        if (c->digits == NUMBER_DIGITS)
            arrived(c, c->number);
    }
}

/* Latencies: when each message of a client was due, and a histogram of how long the answers took. */
#include "load.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* 1 % wide steps from 1 µs: 2400 of them reach beyond 6 hours. */
#define STEPS 2400
#define FIRST 1e-6
#define WIDTH 1.01

static uint64_t steps[STEPS], recorded;
static double longest;

void latency_reset(void)
{
    memset(steps, 0, sizeof steps);
    recorded = 0;
    longest = 0;
}

void latency_record(double seconds)
{
    int step = seconds > FIRST ? (int)(log(seconds / FIRST) / log(WIDTH)) + 1 : 0;
    steps[step < STEPS ? step : STEPS - 1]++;
    recorded++;
    if (seconds > longest)
        longest = seconds;
}

/* The latency that a share of all did not exceed, in seconds. */
static double quantile(double share)
{
    uint64_t below = 0;
    for (int i = 0; i < STEPS; i++) {
        below += steps[i];
        if (recorded && (double)below >= share * (double)recorded)
            return fmin(FIRST * pow(WIDTH, i), longest);
    }
    return longest;
}

void latency_print(void)
{
    printf("\"latencies\": %llu, \"p50\": %.6f, \"p99\": %.6f, \"p999\": %.6f, \"longest\": %.6f",
           (unsigned long long)recorded, quantile(0.5), quantile(0.99), quantile(0.999), longest);
}

/* Answers come in the order of the messages: the time of the oldest message is the one that the next answer ends. */
void pending_add(struct pending *p, double due)
{
    if (p->count == p->room) {
        size_t room = p->room ? p->room * 2 : 16;
        double *grown = allocate(NULL, room * sizeof *grown);
        for (size_t i = 0; i < p->count; i++)
            grown[i] = p->due[(p->first + i) % p->room];
        free(p->due);
        p->due = grown;
        p->first = 0;
        p->room = room;
    }
    p->due[(p->first + p->count++) % p->room] = due;
}

bool pending_take(struct pending *p, double *due)
{
    if (!p->count)
        return false;
    *due = p->due[p->first];
    p->first = (p->first + 1) % p->room;
    p->count--;
    return true;
}

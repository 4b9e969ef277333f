/*
 * The load generator: one thread, one epoll, WebSocket clients and HTTP pushers over loopback.
 *
 *     load MODE --port P [--path /x] [--origin O] [--tls 1] [--push-port P] [--push-tls 1] [--size BYTES] [--pushers N]
 *               [--parallel N] [--waiting N] [--active N] [--probe /x] [--counters FILE] [--sources N] [--room N]
 *               [--at-once N] [--direct N] [--direct-path /x] [--greeting TEXT] [--limit SECONDS]
 *
 * MODE is idle, messages, pushes, handshakes, echo or publish. It obeys lines on standard input and answers with one JSON object
 * a line:
 *
 *     open N                   open N more WebSocket clients, --at-once at a time
 *                                                                     {"event": "opened", ...}
 *     requests FILE            what the pushers send, in turn: "<length> <place>\n<bytes>" repeated; at the place,
 *                              unless it is -1, go 16 digits that no two requests have in common
 *     direct FILE              the same for direct pushes in "publish"
 *     run WARM SECONDS RATE [DIRECT]
 *                              the work of the mode, WARM seconds uncounted, then counted
 *                                                                     {"event": "begin"}, {"event": "end", ...}
 *     quit                     (or the end of the input) exit
 *
 * Clients answer pings at all times. The work:
 *
 * messages    The first --active clients send. A message counts as delivered when the API has it: the API's counters,
 *             a file that both map, pace the clients, so that there are never more than --waiting messages for each
 *             client between client and API, and never none.
 * echo        The API answers each message with a message. RATE 0: --waiting messages of each client are on their way
 *             at all times. Otherwise RATE messages a second are sent at random moments, whatever is still on its way,
 *             and latency counts from the moment at which a message was due.
 * pushes      Each pusher sends the next request when it has the answer to the one before.
 * publish     The pushers publish to a group that every client is in but the first --direct ones: RATE 0: as many
 *             publishes as there are pushers are on their way at all times, each until it has its answer and has arrived
 *             at all; otherwise RATE a second at random moments, by whoever has his answer. What they send has a number; it counts when it arrived. DIRECT pushes a second go to the first
 *             --direct clients meanwhile. Latency is that of direct pushes if there are any, otherwise that of each
 *             delivery, and counts from the moment at which a request was due.
 * handshakes  --parallel clients at a time come and go.
 * idle        Nothing; or RATE clients a second come and go, while a request for --probe every 5 ms tells how late the
 *             system answers.
 *
 * The program ends after --limit seconds whatever happens, and with whoever started it.
 */
#include "load.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define DIRECT_EVERY 16 /* events of others between two looks at those of direct pushes */

struct options options = {.sources = 8, .pushers = 16, .parallel = 64, .waiting = 8, .limit = 600, .path = "/",
                          .direct_path = "/", .probe = "/", .size = 64, .active = SIZE_MAX, .room = 20000, .at_once = 64};
struct upgrade upgrade, direct_upgrade;
enum phase phase;

static struct counters base;
static double phase_started, warm_for, measured_for, cpu_started;

static double clock_seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

double now(void)
{
    return clock_seconds(CLOCK_MONOTONIC);
}

static void enter(enum phase next)
{
    phase = next;
    phase_started = now();
}

static void report_opened(void)
{
    printf("{\"event\": \"opened\", \"open\": %zu, \"failed\": %zu, \"seconds\": %.6f, \"errors\": %llu, "
           "\"first_error\": \"%s\"}\n",
           open_count, failed_opens, now() - phase_started, (unsigned long long)total.errors, first_error);
    fflush(stdout);
}

static void report_begin(void)
{
    latency_reset();
    cpu_started = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
    read_counts();
    base = total;
    printf("{\"event\": \"begin\"}\n");
    fflush(stdout);
}

static void report_count(const char *name, uint64_t count)
{
    printf("\"%s\": %llu, ", name, (unsigned long long)count);
}

static void report_end(double wall)
{
    read_counts();
    printf("{\"event\": \"end\", \"seconds\": %.6f, \"cpu\": %.6f, ", wall,
           clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_started);
    report_count("sent", total.sent - base.sent);
    report_count("answered", total.answered - base.answered);
    report_count("refused", total.refused - base.refused);
    report_count("received", total.received - base.received);
    report_count("delivered", total.delivered - base.delivered);
    report_count("disconnects", total.disconnects - base.disconnects);
    report_count("opened", total.opened - base.opened);
    report_count("closed", total.closed - base.closed);
    report_count("pings", total.pings - base.pings);
    report_count("open", open_count);
    report_count("errors", total.errors);
    latency_print();
    printf(", \"first_error\": \"%s\"}\n", first_error);
    fflush(stdout);
}

/* What is due at this moment; returns the seconds until it should be asked again. */
static double tick(void)
{
    if (phase == RESTING)
        return 1;
    if (phase == OPENING) {
        if (open_more()) {
            report_opened();
            enter(RESTING);
        }
        return 0.1;
    }
    double t = now(), due = phase_started + (phase == WARMING ? warm_for : measured_for);
    if (t >= due && phase == WARMING) {
        enter(MEASURING);
        report_begin();
        return 0;
    }
    if (t >= due) {
        report_end(t - phase_started);
        enter(RESTING);
        return 1;
    }
    double pause = work(t);
    return pause < due - t ? pause : due - t;
}

static void command(char *line)
{
    double rate, direct = 0;
    size_t more;
    char name[1024];
    if (phase == RESTING && sscanf(line, "open %zu", &more) == 1) {
        open_clients(more);
        enter(OPENING);
    } else if (phase == RESTING && sscanf(line, "run %lf %lf %lf %lf", &warm_for, &measured_for, &rate, &direct) >= 3) {
        enter(WARMING);
        begin_work(rate, direct);
    } else if (sscanf(line, "requests %1023[^\n]", name) == 1) {
        load_requests(&requests, name);
    } else if (sscanf(line, "direct %1023[^\n]", name) == 1) {
        load_requests(&direct_requests, name);
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

static bool set_option(const char *name, char *value)
{
    if (!strcmp(name, "--port")) options.port = atoi(value);
    else if (!strcmp(name, "--push-port")) options.push_port = atoi(value);
    else if (!strcmp(name, "--tls")) options.tls = atoi(value);
    else if (!strcmp(name, "--push-tls")) options.push_tls = atoi(value);
    else if (!strcmp(name, "--path")) options.path = value;
    else if (!strcmp(name, "--origin")) options.origin = value;
    else if (!strcmp(name, "--greeting")) options.greeting = value;
    else if (!strcmp(name, "--probe")) options.probe = value;
    else if (!strcmp(name, "--counters")) options.counters = value;
    else if (!strcmp(name, "--size")) options.size = strtoul(value, NULL, 10);
    else if (!strcmp(name, "--pushers")) options.pushers = atoi(value);
    else if (!strcmp(name, "--parallel")) options.parallel = atoi(value);
    else if (!strcmp(name, "--waiting")) options.waiting = atoi(value);
    else if (!strcmp(name, "--active")) options.active = strtoul(value, NULL, 10);
    else if (!strcmp(name, "--sources")) options.sources = atoi(value);
    else if (!strcmp(name, "--limit")) options.limit = atoi(value);
    else if (!strcmp(name, "--at-once")) options.at_once = strtoul(value, NULL, 10);
    else if (!strcmp(name, "--direct")) options.direct = strtoul(value, NULL, 10);
    else if (!strcmp(name, "--direct-path")) options.direct_path = value;
    else if (!strcmp(name, "--room")) options.room = strtoul(value, NULL, 10);
    else return false;
    return true;
}

static bool read_options(int argc, char **argv)
{
    static const char *modes[] = {"idle", "messages", "pushes", "handshakes", "echo", "publish"};
    const size_t count = sizeof modes / sizeof *modes;
    size_t mode = 0;
    while (argc > 1 && mode < count && strcmp(argv[1], modes[mode]))
        mode++;
    options.mode = mode;
    for (int i = 2; i < argc; i += 2)
        if (i + 1 == argc || !set_option(argv[i], argv[i + 1]))
            return false;
    if (!options.push_port)
        options.push_port = options.port;
    return argc > 1 && mode < count && options.port > 0 && options.sources > 0
           && (options.mode != MESSAGES || options.counters);
}

/* Waits for events, to the microsecond: epoll_wait(2) alone knows only milliseconds. */
static int wait_for_events(struct epoll_event *events, int most, double seconds)
{
    int n = epoll_wait(poll_fd, events, most, 0);
    if (n || seconds <= 0)
        return n;
    struct timespec pause = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (time_t)seconds) * 1e9)};
    struct pollfd all = {.fd = poll_fd, .events = POLLIN};
    return ppoll(&all, 1, &pause, NULL) > 0 ? epoll_wait(poll_fd, events, most, 0) : 0;
}

/* What comes of direct pushes does not wait behind thousands of others: it is the system that is measured, not we. */
static void look_at_direct(void)
{
    struct epoll_event events[64];
    int n = epoll_wait(direct_fd, events, 64, 0);
    for (int i = 0; i < n; i++)
        ready(events[i].data.ptr, events[i].events);
}

static void make_upgrade(struct upgrade *u, const char *path)
{
    u->length = snprintf(u->bytes, sizeof u->bytes,
                         "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s%s\r\n",
                         path, options.port, options.origin ? "Origin: " : "", options.origin ? options.origin : "",
                         options.origin ? "\r\n" : "");
    if (u->length >= sizeof u->bytes) {
        errno = E2BIG;
        die("a handshake");
    }
}

int main(int argc, char **argv)
{
    if (!read_options(argc, argv)) {
        fprintf(stderr, "load: bad arguments; usage: load MODE --port P ...\n");
        return 2;
    }
    alarm(options.limit);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    make_upgrade(&upgrade, options.path);
    make_upgrade(&direct_upgrade, options.direct_path);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    direct_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event commands = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
    struct epoll_event direct = {.events = EPOLLIN, .data.ptr = &direct_fd};
    if (poll_fd < 0 || direct_fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, 0, &commands) < 0
        || epoll_ctl(poll_fd, EPOLL_CTL_ADD, direct_fd, &direct) < 0)
        die("start");
    prepare_work();
    for (;;) {
        int n = wait_for_events(events, 256, tick());
        for (int i = 0; i < n; i++) {
            if (options.direct && i % DIRECT_EVERY == 0)
                look_at_direct();
            if (events[i].data.ptr == &direct_fd)
                ; /* just looked at, or soon */
            else if (events[i].data.ptr)
                ready(events[i].data.ptr, events[i].events);
            else
                read_commands();
        }
    }
}

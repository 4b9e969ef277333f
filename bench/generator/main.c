/*
 * The load generator: one thread, one epoll, WebSocket clients and HTTP pushers over loopback.
 *
 *     load MODE --port P [--path /x] [--origin O] [--tls 1] [--push-port P] [--push-tls 1] [--size BYTES] [--pushers N]
 *               [--parallel N] [--waiting N] [--active N] [--probe /x] [--counters FILE] [--sources N] [--room N]
 *               [--at-once N] [--limit SECONDS]
 *
 * MODE is idle, messages, pushes, handshakes or echo. It obeys lines on standard input and answers with one JSON object
 * a line:
 *
 *     open N                   open N more WebSocket clients, --at-once at a time
 *                                                                     {"event": "opened", ...}
 *     requests FILE            what the pushers send, in turn: "<length> <place>\n<bytes>" repeated; at the place,
 *                              unless it is -1, go 16 digits that no two requests have in common
 *     run WARM SECONDS RATE    the work of the mode, WARM seconds uncounted, then counted
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

struct options options = {.sources = 8, .pushers = 16, .parallel = 64, .waiting = 8, .limit = 600, .path = "/",
                          .probe = "/", .size = 64, .active = SIZE_MAX, .room = 20000, .at_once = 64};
char upgrade[1024];
size_t upgrade_length;
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
    double rate;
    size_t more;
    char name[1024];
    if (phase == RESTING && sscanf(line, "open %zu", &more) == 1) {
        open_clients(more);
        enter(OPENING);
    } else if (phase == RESTING && sscanf(line, "run %lf %lf %lf", &warm_for, &measured_for, &rate) == 3) {
        enter(WARMING);
        begin_work(rate);
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

static bool set_option(const char *name, char *value)
{
    if (!strcmp(name, "--port")) options.port = atoi(value);
    else if (!strcmp(name, "--push-port")) options.push_port = atoi(value);
    else if (!strcmp(name, "--tls")) options.tls = atoi(value);
    else if (!strcmp(name, "--push-tls")) options.push_tls = atoi(value);
    else if (!strcmp(name, "--path")) options.path = value;
    else if (!strcmp(name, "--origin")) options.origin = value;
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
    else if (!strcmp(name, "--room")) options.room = strtoul(value, NULL, 10);
    else return false;
    return true;
}

static bool read_options(int argc, char **argv)
{
    static const char *modes[] = {"idle", "messages", "pushes", "handshakes", "echo"};
    size_t mode = 0;
    while (argc > 1 && mode < 5 && strcmp(argv[1], modes[mode]))
        mode++;
    options.mode = mode;
    for (int i = 2; i < argc; i += 2)
        if (i + 1 == argc || !set_option(argv[i], argv[i + 1]))
            return false;
    if (!options.push_port)
        options.push_port = options.port;
    return argc > 1 && mode < 5 && options.port > 0 && options.sources > 0
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

int main(int argc, char **argv)
{
    if (!read_options(argc, argv)) {
        fprintf(stderr, "load: bad arguments; usage: load MODE --port P ...\n");
        return 2;
    }
    alarm(options.limit);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    upgrade_length = snprintf(upgrade, sizeof upgrade,
                              "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                              "%s%s%s\r\n",
                              options.path, options.port, options.origin ? "Origin: " : "",
                              options.origin ? options.origin : "", options.origin ? "\r\n" : "");
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
    if (upgrade_length >= sizeof upgrade || poll_fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, 0, &event) < 0)
        die("start");
    prepare_work();
    for (;;) {
        int n = wait_for_events(events, 256, tick());
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                ready(events[i].data.ptr, events[i].events);
            else
                read_commands();
        }
    }
}

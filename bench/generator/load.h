/*
 * What the parts of the load generator share: main.c has the command line and the phases of a run, work.c what is done
 * in them, publish.c what is done to groups, requests.c what pushers send, connections.c the sockets, tls.c TLS, frames.c
 * the frames of RFC 6455, latency.c the latencies.
 */
#ifndef LOAD_H
#define LOAD_H

#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>

#define FRAME_OVERHEAD 14 /* bytes: the longest head of a masked frame */
#define NUMBER_DIGITS 16  /* of the number that makes a request, or a message, one of its kind */

enum mode { IDLE, MESSAGES, PUSHES, HANDSHAKES, ECHO, PUBLISH };
enum role { CLIENT, PUSHER, PROBE };
enum state { FREE, CONNECTING, SECURING, UPGRADING, OPEN, CLOSING };
enum phase { RESTING, OPENING, WARMING, MEASURING };

/* When the messages were due that have no answer yet, a ring. */
struct pending {
    double *due;
    size_t first, count, room;
};

struct connection {
    int fd;
    void *tls; /* NULL: none */
    enum role role;
    enum state state;
    bool leaves; /* a client that closes as soon as it is in */
    bool last;   /* the server said that it answers nothing more on this connection */
    bool direct; /* a client that gets direct pushes in "publish", or a pusher of such: looked at before others */
    bool asked;  /* a pusher whose last request has no answer yet; kept in "publish" only */
    uint64_t arrived; /* publishes that came to a client */
    uint64_t number;  /* of the message that arrives, in "publish", as far as its digits are there */
    unsigned digits;
    /* An HTTP head while it arrives. */
    char *head;
    size_t head_length;
    long body_left; /* of an answer to a pusher or probe; -1: still in the head */
    /* A WebSocket frame while it arrives. */
    unsigned char frame_head[10];
    unsigned frame_head_length;
    uint64_t payload_left;
    bool in_payload;
    unsigned char control[125];
    unsigned control_length;
    bool close_received;
    /* What the socket did not take yet. */
    char *unsent;
    size_t unsent_length;
    struct pending pending;
};

struct counters {
    uint64_t sent;      /* messages by clients, or pushes by pushers */
    uint64_t answered;  /* pushes answered with 2xx */
    uint64_t refused;   /* pushes answered otherwise */
    uint64_t received;  /* messages at the clients; in "publish" those that were published */
    uint64_t delivered; /* messages at the API */
    uint64_t disconnects;  /* connections that the API was told to be over */
    uint64_t opened;    /* handshakes finished */
    uint64_t closed;    /* closing handshakes finished, the server having closed TCP */
    uint64_t pings;
    uint64_t errors;
};

/* The command line, and what follows from it. */
struct options {
    enum mode mode;
    int port, push_port, sources, pushers, parallel, waiting, limit;
    bool tls, push_tls;
    const char *path, *direct_path, *origin, *greeting, *probe, *counters;
    size_t size, active, room, at_once, direct;
};
extern struct options options;

/* The handshake that every client sends, or those that get direct pushes. */
struct upgrade {
    char bytes[1024];
    size_t length;
};
extern struct upgrade upgrade, direct_upgrade;

/* What has happened. */
extern struct counters total;
extern char first_error[256];
extern size_t open_count, connecting_count, failed_opens;
extern enum phase phase;

/* main.c */
double now(void);

/* connections.c */
extern int poll_fd, direct_fd; /* what is in the second is looked at more often */
void die(const char *what);
void *allocate(void *old, size_t bytes);
void fault(const char *format, ...) __attribute__((format(printf, 1, 2)));
void dial(struct connection *c, enum role role, int to_port, bool tls, size_t number);
void transmit(struct connection *c, const char *bytes, size_t length);
void ready(struct connection *c, uint32_t events);

/* tls.c */
void *tls_start(int fd);
ssize_t tls_handshake(void *tls);
ssize_t tls_send(void *tls, const void *bytes, size_t length);
ssize_t tls_recv(void *tls, void *bytes, size_t length);
void tls_free(void *tls);

/* frames.c */
size_t frame(char *out, int opcode, const unsigned char *payload, size_t length);
void frames(struct connection *c, const unsigned char *data, size_t length);

/* latency.c */
void latency_reset(void);
void latency_record(double seconds);
void latency_print(void);
void pending_add(struct pending *p, double due);
bool pending_take(struct pending *p, double *due);

/* requests.c */
struct requests {
    char *bytes;
    struct request *list;
    size_t count, next;
};
extern struct requests requests, direct_requests;
void load_requests(struct requests *r, const char *name);
uint64_t send_next(struct connection *c, struct requests *r);

/* publish.c */
void begin_publish(struct connection *pushers, double rate, double direct_rate);
double publish(double t);
void publisher_answered(struct connection *c);
void publish_payload(struct connection *c, const unsigned char *data, size_t length);

/* work.c: what is done in a run, and what follows from something that happened on a connection */
void prepare_work(void);
void open_clients(size_t more);
bool open_more(void);
void begin_work(double rate, double direct_rate);
double work(double t);
void read_counts(void);
void client_opened(struct connection *c);
void client_received(struct connection *c);
void answered(struct connection *c);
void renew(struct connection *c);

#endif

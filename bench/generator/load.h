/*
 * What the parts of the load generator share: main.c has the work, connections.c the sockets, frames.c the frames of
 * RFC 6455.
 */
#ifndef LOAD_H
#define LOAD_H

#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_OVERHEAD 14 /* bytes: the longest head of a masked frame */

enum mode { IDLE, MESSAGES, PUSHES, HANDSHAKES };
enum role { CLIENT, PUSHER, STATUS };
enum state { FREE, CONNECTING, UPGRADING, OPEN, CLOSING };

struct connection {
    int fd;
    enum role role;
    enum state state;
    /* An HTTP head (or the whole status page) while it arrives. */
    char *head;
    size_t head_length;
    long body_left; /* of an answer to a pusher; -1: still in the head */
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
};

struct counters {
    uint64_t sent;      /* messages by clients, or pushes by pushers */
    uint64_t answered;  /* pushes answered with 2xx */
    uint64_t refused;   /* pushes answered otherwise */
    uint64_t received;  /* messages at the clients */
    uint64_t delivered; /* calls at the API */
    uint64_t opened;    /* handshakes finished */
    uint64_t closed;    /* closing handshakes finished, the server having closed TCP */
    uint64_t pings;
    uint64_t errors;
};

/* The command line, and what follows from it. */
extern enum mode mode;
extern int port, sources;
extern char upgrade[1024]; /* the handshake that every client sends */
extern size_t upgrade_length;

/* What has happened. */
extern struct counters total;
extern char first_error[256];
extern size_t open_count, connecting_count, failed_opens;

/* connections.c */
extern int poll_fd;
void die(const char *what);
void *allocate(void *old, size_t bytes);
void fault(const char *format, ...) __attribute__((format(printf, 1, 2)));
void dial(struct connection *c, enum role role, int to_port, size_t number);
void transmit(struct connection *c, const char *bytes, size_t length);
void ready(struct connection *c, uint32_t events);

/* frames.c */
size_t frame(char *out, int opcode, const unsigned char *payload, size_t length);
void frames(struct connection *c, const unsigned char *data, size_t length);

/* main.c: what follows from something that happened on a connection */
void client_opened(struct connection *c);
void pusher_ready(struct connection *c);
void api_calls(unsigned long long calls);

#endif

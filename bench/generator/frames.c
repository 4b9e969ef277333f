/* WebSocket frames, RFC 6455 section 5.2: made as a client masks them, taken apart as a server sends them. */
#include "load.h"

#include <string.h>

/* One frame with a fixed mask: what it hides does not matter here, that it is masked does. */
size_t frame(char *out, int opcode, const unsigned char *payload, size_t length)
{
    static const unsigned char mask[4] = {0x5a, 0xa5, 0x3c, 0xc3};
    size_t n = 0;
    out[n++] = (char)(0x80 | opcode);
    if (length < 126) {
        out[n++] = (char)(0x80 | length);
    } else if (length < 65536) {
        out[n++] = (char)(0x80 | 126);
        out[n++] = (char)(length >> 8);
        out[n++] = (char)length;
    } else {
        out[n++] = (char)(0x80 | 127);
        for (int shift = 56; shift >= 0; shift -= 8)
            out[n++] = (char)((uint64_t)length >> shift);
    }
    memcpy(out + n, mask, 4);
    n += 4;
    for (size_t i = 0; i < length; i++)
        out[n++] = (char)(payload[i] ^ mask[i & 3]);
    return n;
}

static void control_frame(struct connection *c, int opcode)
{
    char out[256];
    if (opcode == 9) {
        total.pings++;
        transmit(c, out, frame(out, 10, c->control, c->control_length));
    } else if (opcode == 8) {
        if (c->state == OPEN) {
            fault("closed by the server with %d",
                  c->control_length >= 2 ? c->control[0] << 8 | c->control[1] : 1005);
            transmit(c, out, frame(out, 8, c->control, c->control_length));
        }
        c->state = CLOSING;
        c->close_received = true;
    }
}

/* Frames from the server; messages are only counted. */
void frames(struct connection *c, const unsigned char *data, size_t length)
{
    while (length) {
        int opcode = c->frame_head[0] & 15;
        if (!c->in_payload) {
            c->frame_head[c->frame_head_length++] = *data++;
            length--;
            unsigned need = 2;
            if (c->frame_head_length >= 2)
                need += (c->frame_head[1] & 127) == 126 ? 2 : (c->frame_head[1] & 127) == 127 ? 8 : 0;
            if (c->frame_head_length < 2 || c->frame_head_length < need)
                continue;
            opcode = c->frame_head[0] & 15;
            c->payload_left = c->frame_head[1] & 127;
            if (need > 2) {
                c->payload_left = 0;
                for (unsigned i = 2; i < need; i++)
                    c->payload_left = c->payload_left << 8 | c->frame_head[i];
            }
            c->in_payload = true;
            c->control_length = 0;
            c->digits = 0;
        }
        size_t n = length < c->payload_left ? length : c->payload_left;
        if (opcode >= 8 && c->control_length + n <= sizeof c->control) {
            memcpy(c->control + c->control_length, data, n);
            c->control_length += n;
        }
        if (opcode < 8 && options.mode == PUBLISH)
            publish_payload(c, data, n);
        data += n;
        length -= n;
        c->payload_left -= n;
        if (c->payload_left)
            continue;
        c->in_payload = false;
        c->frame_head_length = 0;
        if (opcode >= 8)
            control_frame(c, opcode);
        else if (c->frame_head[0] & 0x80) {
            client_received(c);
        }
    }
}

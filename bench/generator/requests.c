/* What pushers send: whole HTTP requests from a file, in turn, numbered where they have a place for it. */
#include "load.h"

#include <stdio.h>

struct request {
    size_t offset, length;
    long number_at; /* -1: nowhere */
};
struct requests requests, direct_requests;

void load_requests(struct requests *r, const char *name)
{
    FILE *file = fopen(name, "rb");
    size_t used = 0, length;
    long number_at;
    if (!file)
        die(name);
    r->count = r->next = 0;
    while (fscanf(file, "%zu %ld", &length, &number_at) == 2) {
        fgetc(file); /* the line feed */
        r->bytes = allocate(r->bytes, used + length);
        r->list = allocate(r->list, (r->count + 1) * sizeof *r->list);
        if (fread(r->bytes + used, 1, length, file) != length)
            die("requests cut short");
        if (number_at >= 0 && number_at + NUMBER_DIGITS > (long)length)
            die("requests without room for their number");
        r->list[r->count++] = (struct request){.offset = used, .length = length, .number_at = number_at};
        used += length;
    }
    fclose(file);
}

/* Sends the next one, made one of its kind; returns its number. transmit() copies what it cannot send at once. */
uint64_t send_next(struct connection *c, struct requests *r)
{
    static uint64_t last;
    struct request *next = &r->list[r->next++ % r->count];
    char *bytes = r->bytes + next->offset;
    uint64_t number = ++last;
    if (next->number_at >= 0)
        for (int i = NUMBER_DIGITS - 1; i >= 0; i--, number /= 10)
            bytes[next->number_at + i] = (char)('0' + number % 10);
    transmit(c, bytes, next->length);
    return last;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>
#include "tools/media/mix.h"
#include "tools/say.h"

struct mix_entry {
    mix_entry *after;
    tsr_media_packet packet;
    uint8_t data[];
};

static double time_of(const mix *m, int stream)
{
    return m->stream[stream].unit *
           (double)m->stream[stream].first->packet.pts;
}

/* The stream of the earliest packet that waits; of equal ones the first stream's.
 * -1: none waits. */
static int earliest(const mix *m)
{
    int best = -1;
    for (int i = 0; i < m->streams; i++)
        if (m->stream[i].first &&
            (best < 0 || time_of(m, i) < time_of(m, best)))
            best = i;
    return best;
}

/* Whether no stream can still bring a packet that belongs before it. */
static int may_go(const mix *m, int stream)
{
    const double time = time_of(m, stream);
    for (int i = 0; i < m->streams; i++) {
        const struct mix_stream *s = &m->stream[i];
        if (i != stream && !s->first && !s->ended &&
            (s->next < time || (!(s->next > time) && i < stream)))
            return 0;
    }
    return 1;
}

static mix_entry *take(mix *m, int stream)
{
    struct mix_stream *s = &m->stream[stream];
    mix_entry *e = s->first;
    s->first = e->after;
    m->bytes -= e->packet.bytes;
    return e;
}

static int pass(mix *m)
{
    int rc = RC_OK, i;
    while (!rc && (i = earliest(m)) >= 0 &&
           (m->bytes > MIX_BYTES || may_go(m, i))) {
        mix_entry *e = take(m, i);
        rc = packets_out_packet(m->out, &e->packet);
        free(e);
    }
    return rc;
}

void mix_stream(mix *m, const tsr_media_stream *stream)
{
    m->stream[m->streams++] = (struct mix_stream){
        .unit = (double)stream->time_num / stream->time_den, .next = -1e300
    };
}

int mix_put(mix *m, const tsr_media_packet *packet, int64_t next)
{
    struct mix_stream *s = &m->stream[packet->stream];
    mix_entry *e = malloc(sizeof *e + packet->bytes);

    if (!e)
        return say_error(RC_MACHINE, NULL, "out of memory");
    e->after = NULL;
    e->packet = *packet;
    e->packet.data = e->data;
    memcpy(e->data, packet->data, packet->bytes);
    if (s->first)
        s->last->after = e;
    else
        s->first = e;
    s->last = e;
    s->next = s->unit * (double)next;
    m->bytes += packet->bytes;
    return pass(m);
}

int mix_end(mix *m, int stream)
{
    m->stream[stream].ended = 1;
    return pass(m);
}

void mix_close(mix *m)
{
    for (int i = 0; i < m->streams; i++)
        while (m->stream[i].first)
            free(take(m, i));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Encoders of sound: samples in, packets out. */
#include <float.h>
#include <math.h>
#include <string.h>
#include "codecs/audio/audio.h"
#include "lib/bytes.h"

enum { BATCH_DEVICE = 1 << 12 };    /* frames that are taken at once */

/* ---- samples in ---- */

/* Moves what waits to the front, where that costs no more than it took to get
 * there. */
static void compact(tsri_audio_pending *p, size_t books)
{
    if (2 * p->first >= p->end && p->first) {
        memmove(p->codes, p->codes + p->first * books,
                (p->end - p->first) * books * sizeof *p->codes);
        p->end -= p->first;
        p->first = 0;
    }
    if (2 * p->first_segment >= p->end_segment && p->first_segment) {
        memmove(p->segment, p->segment + p->first_segment,
                (p->end_segment - p->first_segment) * sizeof *p->segment);
        p->end_segment -= p->first_segment;
        p->first_segment = 0;
    }
}

/* Takes all codes that the nets of a group have ready. */
static tsr_error drain(tsr_audio_encoder *e, tsri_audio_pending *p)
{
    const size_t books = (size_t)e->head.books;
    const int batch = e->m.ctx->gpu ? BATCH_DEVICE : TSRI_AUDIO_BATCH;
    const int room = tsri_max(batch, e->head.segment_frames);
    const bool segmented = e->head.segment_frames;
    tsri_audio_segment segment = { 0 };
    int frames;

    for (compact(p, books);; p->end += (size_t)frames) {
        TSR_TRY(tsri_grow(e->m.ctx, &p->codes, &p->room, p->end, (size_t)room,
                          books * sizeof *p->codes));
        if (segmented)
            TSR_TRY(tsri_grow(e->m.ctx, &p->segment, &p->segment_room,
                              p->end_segment, 1, sizeof segment));
        TSR_TRY(e->m.codec->enc_take(p->enc, p->codes + p->end * books, room,
                                     &frames, segment.side));
        if (!frames)
            return TSR_OK;
        segment.frames = frames;
        if (segmented)
            p->segment[p->end_segment++] = segment;
    }
}

static float finite(float v)
{
    return fabsf(v) <= FLT_MAX ? v : 0;
}

/* A fixed number at a time, which compilers turn into vectors. */
static void copy_finite(float *restrict to, const float *restrict x, size_t n)
{
    enum { BLOCK = 16 };
    size_t i = 0;

    for (; i + BLOCK <= n; i += BLOCK)
        for (size_t k = i; k < i + BLOCK; k++)
            to[k] = finite(x[k]);
    for (; i < n; i++)
        to[i] = finite(x[i]);
}

/* n samples of group g of x, NULL: zeros, to the piece. */
static void fill_piece(tsr_audio_encoder *e, const float *x, size_t n, size_t g)
{
    const size_t channels = (size_t)e->head.channels;
    const size_t own = (size_t)e->head.group_channels;
    float *to = e->piece;

    if (!x)
        memset(to, 0, n * own * sizeof *to);
    else if (own == channels)
        copy_finite(to, x, n * own);
    else
        for (size_t t = 0; t < n; t++)
            for (size_t c = 0; c < own; c++)
                *to++ = finite(x[t * channels + g * own + c]);
}

/* n samples to all groups; x NULL: zeros. */
static tsr_error push_piece(tsr_audio_encoder *e, const float *x, size_t n,
                            bool end)
{
    const size_t groups = (size_t)tsri_audio_groups(&e->head);

    for (size_t g = 0; g < groups; g++) {
        fill_piece(e, x, n, g);
        TSR_TRY(e->m.codec->enc_push(e->group[g].enc, e->piece, n, end));
        TSR_TRY(drain(e, &e->group[g]));
    }
    return TSR_OK;
}

tsr_error tsr_audio_encoder_push(tsr_audio_encoder *e, const float *samples,
                                 size_t n)
{
    if (e->failed)
        return e->failed;
    if (e->finished || e->coded)
        return tsri_fail(e->m.ctx, TSR_E_ARG, "samples after %s",
                         e->finished ? "the end" : "codes");
    while (n && !e->failed) {
        const size_t now = n < e->piece_samples ? n : e->piece_samples;
        e->failed = push_piece(e, samples, now, false);
        samples += now * (size_t)e->head.channels;
        e->pushed += now;
        n -= now;
    }
    return e->failed;
}

static tsr_error append_codes(tsr_audio_encoder *e, const uint16_t *codes,
                              size_t frames)
{
    const size_t groups = (size_t)tsri_audio_groups(&e->head);
    const size_t books = (size_t)e->head.books;

    for (size_t g = 0; g < groups; g++) {
        tsri_audio_pending *p = &e->group[g];
        compact(p, books);
        TSR_TRY(tsri_grow(e->m.ctx, &p->codes, &p->room, p->end, frames,
                          books * sizeof *p->codes));
        for (size_t t = 0; t < frames; t++)
            memcpy(p->codes + (p->end + t) * books,
                   codes + (t * groups + g) * books, books * sizeof *codes);
        p->end += frames;
    }
    e->coded = true;
    e->pushed += frames * (uint64_t)e->head.hop;
    return TSR_OK;
}

tsr_error tsr_audio_encoder_push_codes(tsr_audio_encoder *e,
                                       const uint16_t *codes, size_t frames)
{
    const size_t width = (size_t)tsri_audio_groups(&e->head) *
                         (size_t)e->head.books;

    if (e->failed)
        return e->failed;
    if (e->head.segment_frames)
        return tsri_fail(e->m.ctx, TSR_E_UNSUPPORTED, "codes of segments mean "
                         "nothing without their packets");
    if (e->finished || (e->pushed && !e->coded))
        return tsri_fail(e->m.ctx, TSR_E_ARG, "codes after %s",
                         e->finished ? "the end" : "samples");
    TSR_TRY(tsri_codes_check(e->m.ctx, codes,
                             frames * width / (size_t)e->head.books, e->head.books,
                             e->head.codewords, e->head.shorter));
    if (frames)
        e->failed = append_codes(e, codes, frames);
    return e->failed;
}

tsr_error tsri_audio_encoder_give(tsr_audio_encoder *e, const uint16_t *codes,
                                  int frames, uint64_t samples,
                                  const uint8_t *side)
{
    tsri_audio_segment segment = { .frames = frames };
    tsri_audio_pending *p = e->group;
    const uint64_t before = e->pushed;

    TSR_TRY(append_codes(e, codes, (size_t)frames));
    e->pushed = before + samples;
    if (!e->head.segment_frames)
        return TSR_OK;
    TSR_TRY(tsri_grow(e->m.ctx, &p->segment, &p->segment_room, p->end_segment, 1,
                      sizeof segment));
    memcpy(segment.side, side, (size_t)e->head.side);
    p->segment[p->end_segment++] = segment;
    return TSR_OK;
}

tsr_error tsr_audio_encoder_finish(tsr_audio_encoder *e)
{
    const size_t hop = (size_t)e->head.hop;
    size_t zeros = 0;

    if (e->failed)
        return e->failed;
    if (e->finished)
        return tsri_fail(e->m.ctx, TSR_E_ARG, "the sound has ended already");
    e->finished = true;
    if (e->m.shape.drops_tail)
        zeros = (size_t)((hop - e->pushed % hop) % hop);
    if (e->pushed && !e->coded)
        e->failed = push_piece(e, NULL, zeros, true);
    return e->failed;
}

/* ---- packets out ---- */

/* Frames or segments that all groups have. */
static size_t ready(const tsr_audio_encoder *e)
{
    size_t least = SIZE_MAX;

    for (int g = 0; g < tsri_audio_groups(&e->head); g++) {
        const tsri_audio_pending *p = &e->group[g];
        const size_t n = e->head.segment_frames
                             ? p->end_segment - p->first_segment
                             : p->end - p->first;
        least = n < least ? n : least;
    }
    return least;
}

/* What the next packet holds; units 0: none yet. */
static tsr_error plan(const tsr_audio_encoder *e, tsri_audio_packet *packet)
{
    const size_t full = (size_t)tsri_audio_packet_units(&e->head);
    const uint64_t left = e->pushed - e->pulled;
    const size_t have = ready(e);

    *packet = (tsri_audio_packet){ .number = e->number, .books = e->head.books };
    if (e->finished && !left)
        return TSR_E_EOF;
    if (have < full && !e->finished)
        return TSR_OK;
    packet->units = (int)(have < full ? have : full);
    packet->samples = tsri_audio_span(&e->head, (uint64_t)packet->units);
    if (packet->samples > left)
        packet->samples = left;
    packet->frames = packet->units;
    if (!packet->units || (packet->samples < left && have < full))
        return tsri_fail(e->m.ctx, TSR_E_INTERNAL, "frames are missing");
    if (e->number > UINT32_MAX)
        return tsri_fail(e->m.ctx, TSR_E_LIMIT, "too many packets for a stream");
    return TSR_OK;
}

/* The frames of a group's part of the packet, and its side bytes. */
static void take_segments(tsr_audio_encoder *e, tsri_audio_packet *packet, int g)
{
    const size_t bytes = (size_t)e->head.side, n = (size_t)packet->units;
    const tsri_audio_segment *s = e->group[g].segment +
                                  e->group[g].first_segment;

    packet->frames = 0;
    for (size_t i = 0; i < n; i++) {
        packet->frames += s[i].frames;
        memcpy(e->side + ((size_t)g * n + i) * bytes, s[i].side, bytes);
    }
    packet->last_frames = s[n - 1].frames;
    packet->side = e->side;
}

/* Codes the segments of all groups into e->body; *used: bytes. */
static tsr_error put_body(tsr_audio_encoder *e, const tsri_audio_packet *packet,
                          size_t *used)
{
    const tsri_codes_form form = { e->head.entropy, e->head.layers, packet->books,
                                   packet->frames, packet->crc };
    const int segments = e->head.layers ? packet->books : 1;
    const uint8_t *data;

    *used = 0;
    for (int g = 0; g < tsri_audio_groups(&e->head); g++) {
        const tsri_audio_pending *p = &e->group[g];
        size_t *lengths = e->lengths + g * segments, all = 0;
        TSR_TRY(tsri_codes_put(e->m.coder, &form,
                               p->codes + p->first * (size_t)packet->books, &data,
                               lengths));
        for (int i = 0; i < segments; i++)
            all += lengths[i];
        TSR_TRY(tsri_grow(e->m.ctx, &e->body, &e->body_room, *used, all, 1));
        if (all)
            memcpy(e->body + *used, data, all);
        *used += all;
    }
    return TSR_OK;
}

static tsr_error put_packet(tsr_audio_encoder *e, tsri_audio_packet *packet,
                            size_t *bytes)
{
    const int groups = tsri_audio_groups(&e->head);
    size_t room, n, body;

    for (int g = 0; e->head.segment_frames && g < groups; g++)
        take_segments(e, packet, g);
    if (!tsri_audio_packet_room(&e->head, &room))
        return TSR_E_NOMEM;
    TSR_TRY(tsri_grow(e->m.ctx, &e->packet, &e->packet_room, 0, room, 1));
    n = tsri_audio_packet_put(&e->head, packet, e->packet);
    TSR_TRY(put_body(e, packet, &body));
    for (int i = 0; i < tsri_audio_segments(&e->head, packet->books) - 1; i++)
        n += tsri_put_varint(e->packet + n, e->lengths[i]);
    TSR_TRY(tsri_grow(e->m.ctx, &e->packet, &e->packet_room, n, body, 1));
    if (body)
        memcpy(e->packet + n, e->body, body);
    *bytes = n + body;
    return TSR_OK;
}

static void drop(tsr_audio_encoder *e, const tsri_audio_packet *packet)
{
    for (int g = 0; g < tsri_audio_groups(&e->head); g++) {
        e->group[g].first += (size_t)packet->frames;
        if (e->head.segment_frames)
            e->group[g].first_segment += (size_t)packet->units;
    }
    e->pulled += packet->samples;
    e->number++;
}

tsr_error tsr_audio_encoder_pull(tsr_audio_encoder *e, tsr_audio_packet *packet)
{
    tsri_audio_packet p;
    size_t bytes;

    *packet = (tsr_audio_packet){ 0 };
    if (e->failed)
        return e->failed;
    if (e->use == TSRI_AUDIO_CODES)
        return tsri_fail(e->m.ctx, TSR_E_ARG, "this encoder gives codes");
    TSR_TRY(plan(e, &p));
    if (!p.units)
        return TSR_OK;
    const tsr_error error = put_packet(e, &p, &bytes);
    if (error)
        return error == TSR_E_NOMEM ? tsri_nomem(e->m.ctx) : error;
    e->use = TSRI_AUDIO_PACKETS;
    *packet = (tsr_audio_packet){ .data = e->packet, .bytes = bytes,
                                  .number = p.number, .pts = e->pulled,
                                  .samples = (uint32_t)p.samples,
                                  .frames = p.frames };
    drop(e, &p);
    return TSR_OK;
}

tsr_error tsr_audio_encoder_pull_codes(tsr_audio_encoder *e, uint16_t *codes,
                                       size_t room, size_t *frames)
{
    const size_t groups = (size_t)tsri_audio_groups(&e->head);
    const size_t books = (size_t)e->head.books;

    *frames = 0;
    if (e->failed)
        return e->failed;
    if (e->head.segment_frames)
        return tsri_fail(e->m.ctx, TSR_E_UNSUPPORTED, "codes of segments mean "
                         "nothing without their packets");
    if (e->use == TSRI_AUDIO_PACKETS)
        return tsri_fail(e->m.ctx, TSR_E_ARG, "this encoder gives packets");
    e->use = TSRI_AUDIO_CODES;
    const size_t have = ready(e), n = have < room ? have : room;
    for (size_t g = 0; g < groups; g++) {
        tsri_audio_pending *p = &e->group[g];
        for (size_t t = 0; t < n; t++)
            memcpy(codes + (t * groups + g) * books,
                   p->codes + (p->first + t) * books, books * sizeof *codes);
        p->first += n;
    }
    *frames = n;
    return e->finished && !have ? TSR_E_EOF : TSR_OK;
}

/* A sample at the beginning of a packet waits for its end, for what the encoder
 * looks at beyond it and for the frames that the decoder does. */
void tsr_audio_encoder_latency(const tsr_audio_encoder *e, uint64_t *running,
                               uint64_t *start)
{
    const tsri_audio_shape *s = &e->m.shape;
    const uint64_t units = (uint64_t)tsri_audio_packet_units(&e->head);
    uint64_t first, beyond;

    e->m.codec->enc_latency(e->group[0].enc, &first, &beyond);
    *running = s->segmented
        ? tsri_audio_span(&e->head, units - 1) + (uint64_t)s->segment_samples
        : tsri_audio_span(&e->head, units + (uint64_t)s->decoder_delay);
    *running = beyond > UINT64_MAX - *running ? UINT64_MAX : *running + beyond;
    *start = first > *running ? first : *running;
}

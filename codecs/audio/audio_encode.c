/* SPDX-License-Identifier: BSD-2-Clause */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "codecs/audio/audio.h"
#include "codecs/audio/search.h"
#include "lib/bytes.h"

enum { PACKET_SECONDS = 5, WINDOW_SECONDS = 10, BEAM = 8,
       BATCH_DEVICE = 1 << 12 };    /* frames that are taken at once */

/* ---- settings ---- */

static tsr_error take_settings(tsr_context *ctx, tsr_audio_settings *own,
                               const tsr_audio_settings *theirs)
{
    tsri_audio_settings_take(own, theirs);
    if (own->channels < 0 || own->channels > TSR_AUDIO_MAX_CHANNELS)
        return tsri_fail(ctx, TSR_E_ARG, "channels must be 0..%d",
                         TSR_AUDIO_MAX_CHANNELS);
    if (own->packet_frames < 0 || own->packet_frames > TSR_AUDIO_MAX_FRAMES)
        return tsri_fail(ctx, TSR_E_ARG, "frames of a packet must be 0..%d",
                         TSR_AUDIO_MAX_FRAMES);
    if (!(own->bitrate >= 0) || !isfinite(own->bitrate) || isnan(own->window))
        return tsri_fail(ctx, TSR_E_ARG, "a bit rate or a window is no number");
    if (own->search > TSRI_SEARCH_BEAM_MAX)
        return tsri_fail(ctx, TSR_E_ARG, "search must be at most %d",
                         TSRI_SEARCH_BEAM_MAX);
    if (own->seed > INT32_MAX)
        return tsri_fail(ctx, TSR_E_ARG, "seed must be below 2^31");
    if (own->window < 0)
        own->window = own->live ? 1 : WINDOW_SECONDS;
    return TSR_OK;
}

/* As many books as fit the bit rate. */
static int choose_books(const tsri_audio_shape *shape,
                        const tsr_audio_settings *s)
{
    const double frame = s->bitrate * shape->hop / shape->rate + 1e-9;
    int books = 1;

    if (s->books)
        return s->books;
    if (!(s->bitrate > 0))
        return tsri_clamp(shape->default_books, 1, shape->books);
    while (books < shape->books &&
           tsri_audio_frame_bits(shape->codewords, shape->shorter, books + 1) <=
               frame)
        books++;
    return books;
}

static int choose_frames(const tsri_audio_shape *shape,
                         const tsr_audio_settings *s)
{
    const int unit = shape->segmented ? shape->segment_frames
                                      : tsri_max(shape->column, 1);
    const int span = shape->segmented ? shape->segment_step : unit * shape->hop;
    const int most = TSR_AUDIO_MAX_FRAMES / unit;
    int units = s->live ? 1 : (PACKET_SECONDS * shape->rate + span / 2) / span;

    if (s->packet_frames)
        units = tsri_ceil_div(s->packet_frames, unit);
    return tsri_clamp(units, 1, most) * unit;
}

static tsr_error choose_entropy(tsr_audio_encoder *e,
                                const tsr_audio_settings *s)
{
    const tsr_audio_entropy want = (tsr_audio_entropy)s->entropy;

    if (s->entropy < TSR_AUDIO_ENTROPY_AUTO || s->entropy > TSR_AUDIO_ENTROPY_LM)
        return tsri_fail(e->m.ctx, TSR_E_ARG, "unknown entropy coding %d",
                         s->entropy);
    e->head.entropy = want ? want
                           : tsri_codes_auto(e->m.codes, e->head.packet_frames);
    if (!tsri_codes_has(e->m.codes, e->head.entropy))
        return tsri_fail(e->m.ctx, TSR_E_ARG,
                         "the model has no tables for this entropy coding");
    if (s->droppable && e->head.entropy == TSR_AUDIO_ENTROPY_LM)
        return tsri_fail(e->m.ctx, TSR_E_ARG,
                         "the language model does not code separate layers");
    return TSR_OK;
}

static tsr_error fill_head(tsr_audio_encoder *e, const tsr_audio_settings *s)
{
    const tsri_audio_shape *shape = &e->m.shape;
    const int channels = s->channels ? s->channels : shape->channels;

    if (channels % shape->channels)
        return tsri_fail(e->m.ctx, TSR_E_ARG, "%d channels: the model codes "
                         "multiples of %d", channels, shape->channels);
    if (s->books < 0 || s->books > shape->books)
        return tsri_fail(e->m.ctx, TSR_E_ARG, "the model has %d books",
                         shape->books);
    e->head = (tsri_audio_head){
        .codec_number = e->m.codec->number, .channels = channels,
        .group_channels = shape->channels, .books = choose_books(shape, s),
        .live = s->live, .layers = s->droppable, .hop = shape->hop,
        .rate = shape->rate, .codewords = shape->codewords,
        .shorter = { shape->shorter[0], shape->shorter[1] },
        .packet_frames = choose_frames(shape, s) };
    if (shape->seeded)
        e->head.seed = s->seed;
    if (shape->segmented) {
        e->head.segment_frames = shape->segment_frames;
        e->head.segment_step = shape->segment_step;
        e->head.side = shape->side;
    }
    memcpy(e->head.hash, tsr_model_hash(e->m.model), TSR_MODEL_HASH_BYTES);
    snprintf(e->head.model_name, sizeof e->head.model_name, "%s",
             tsr_model_name(e->m.model));
    return choose_entropy(e, s);
}

/* The beam of models made for it.  It chooses for all books together, so where the
 * finer ones may be cut off it is not the default. */
static int choose_beam(const tsr_audio_encoder *e, const tsr_audio_settings *s)
{
    if (s->search >= 0)
        return s->search;
    return tsri_codes_has(e->m.codes, TSR_AUDIO_ENTROPY_CONTEXT) &&
           !s->droppable ? BEAM : 0;
}

/* ---- opening ---- */

static tsr_error make_memory(tsr_audio_encoder *e)
{
    const tsri_audio_head *h = &e->head;
    const size_t groups = (size_t)tsri_audio_groups(h);

    e->piece_samples = (size_t)TSRI_AUDIO_BATCH * (size_t)h->hop;
    e->group = tsri_calloc(e->m.ctx, groups, sizeof *e->group);
    e->piece = tsri_alloc(e->m.ctx, e->piece_samples,
                          (size_t)h->group_channels * sizeof *e->piece);
    e->lengths = tsri_alloc(e->m.ctx, groups * (size_t)h->books,
                            sizeof *e->lengths);
    e->side = tsri_alloc(e->m.ctx, groups * (size_t)h->side,
                         (size_t)tsri_audio_packet_units(h));
    return e->group && e->piece && e->lengths && e->side ? TSR_OK
                                                         : tsri_nomem(e->m.ctx);
}

static tsr_error open_all(tsr_audio_encoder *e, tsr_context *ctx,
                          tsr_model *model, const tsr_audio_settings *s)
{
    TSR_TRY(tsri_audio_model_open(&e->m, ctx, model));
    TSR_TRY(fill_head(e, s));
    tsri_audio_head_put(&e->head, e->extradata);
    e->extradata_bytes = TSRI_AUDIO_HEAD_BYTES +
        tsri_modl_put(e->head.hash, e->head.model_name,
                      e->extradata + TSRI_AUDIO_HEAD_BYTES);
    e->options = (tsri_audio_options){ .books = e->head.books,
                                       .zero_start = s->live, .lazy = !s->live,
                                       .window = s->window,
                                       .beam = choose_beam(e, s),
                                       .codes = e->m.codes };
    TSR_TRY(tsri_codes_coder_open(&e->m.coder, e->m.codes, ctx));
    TSR_TRY(make_memory(e));
    for (int g = 0; g < tsri_audio_groups(&e->head); g++)
        TSR_TRY(e->m.codec->enc_open(&e->group[g].enc, e->m.self, &e->options));
    return TSR_OK;
}

tsr_error tsr_audio_encoder_open(tsr_audio_encoder **out, tsr_context *context,
                                 tsr_model *model,
                                 const tsr_audio_settings *settings)
{
    tsr_audio_settings own;
    tsr_audio_encoder *e;
    tsr_error error;

    *out = NULL;
    TSR_TRY(take_settings(context, &own, settings));
    e = tsri_calloc(context, 1, sizeof *e);
    if (!e)
        return tsri_nomem(context);
    error = open_all(e, context, model, &own);
    if (error)
        tsr_audio_encoder_close(&e);
    *out = e;
    return error;
}

void tsr_audio_encoder_close(tsr_audio_encoder **encoder)
{
    tsr_audio_encoder *e = encoder ? *encoder : NULL;
    if (!e)
        return;
    tsr_context *ctx = e->m.ctx;
    for (int g = 0; e->group && g < tsri_audio_groups(&e->head); g++) {
        if (e->group[g].enc)
            e->m.codec->enc_close(&e->group[g].enc);
        tsri_free(ctx, e->group[g].codes);
        tsri_free(ctx, e->group[g].segment);
    }
    tsri_free(ctx, e->group);
    tsri_free(ctx, e->piece);
    tsri_free(ctx, e->lengths);
    tsri_free(ctx, e->side);
    tsri_free(ctx, e->packet);
    tsri_free(ctx, e->body);
    tsri_audio_model_close(&e->m);
    tsri_free(ctx, e);
    *encoder = NULL;
}

void tsr_audio_encoder_extradata(const tsr_audio_encoder *encoder,
                                 const uint8_t **data, size_t *bytes)
{
    *data = encoder->extradata;
    *bytes = encoder->extradata_bytes;
}

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

/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets to codes.  What becomes of the codes is in audio_play.c. */
#include <string.h>
#include "codecs/audio/audio.h"

enum { CONCEAL_SECONDS = 10 };

/* ---- opening ---- */

static bool head_fits(const tsri_audio_head *h, const tsri_audio_shape *s)
{
    const bool segments = s->segmented
        ? h->segment_frames == s->segment_frames &&
              h->segment_step == s->segment_step && h->side == s->side
        : !h->segment_frames && (s->seeded || !h->seed);
    return segments && h->group_channels == s->channels && h->hop == s->hop &&
           h->rate == s->rate && h->codewords == s->codewords &&
           !memcmp(h->shorter, s->shorter, sizeof h->shorter) &&
           h->books <= s->books;
}

static tsr_error open_model(tsr_audio_decoder *d, tsr_context *ctx,
                            tsr_model *given)
{
    const tsri_audio_codec *codec =
        tsri_audio_codec_by_number(d->head.codec_number);
    tsr_model *model = NULL;

    if (!codec)
        return tsri_fail(ctx, TSR_E_UNSUPPORTED,
                         "audio codec number %d is not in this build",
                         d->head.codec_number);
    tsr_model *kept = given ? NULL : tsri_audio_model_kept(ctx, d->head.hash);
    tsr_error error = tsri_modl_find(ctx, kept ? kept : given, d->head.hash,
                                     TSR_MODEL_HASH_BYTES, d->head.model_name,
                                     &model);
    tsr_model_unref(&kept);
    TSR_TRY(error);
    error = tsri_audio_model_open(&d->m, ctx, model);
    tsr_model_unref(&model); /* d->m has its own */
    TSR_TRY(error);
    if (d->m.codec != codec)
        return tsri_fail(ctx, TSR_E_MODEL, "model '%s' is not of codec '%s'",
                         tsr_model_name(d->m.model), codec->id);
    if (!head_fits(&d->head, &d->m.shape) ||
        !tsri_codes_has(d->m.codes, d->head.entropy))
        return tsri_fail(ctx, TSR_E_CORRUPT, "HEAD does not fit its model");
    return TSR_OK;
}

/* Codes of one packet: what a head can make us take at once. */
static tsr_error check_memory(const tsr_audio_decoder *d)
{
    const tsri_audio_head *h = &d->head;
    const uint64_t codes = (uint64_t)h->packet_frames * (uint64_t)h->books *
                           (uint64_t)tsri_audio_groups(h);

    if (codes * sizeof *d->keep > d->m.ctx->max_memory)
        return tsri_fail(d->m.ctx, TSR_E_LIMIT,
                         "packets of %d frames are over the memory limit",
                         h->packet_frames);
    return TSR_OK;
}

static tsr_error make_memory(tsr_audio_decoder *d)
{
    const tsri_audio_head *h = &d->head;
    const size_t groups = (size_t)tsri_audio_groups(h);
    const size_t frame = (size_t)h->books * sizeof *d->keep;
    const size_t kept = (size_t)tsri_max(1, h->segment_frames);
    tsr_context *ctx = d->m.ctx;

    TSR_TRY(check_memory(d));
    d->dec = tsri_calloc(ctx, groups, sizeof *d->dec);
    d->keep = tsri_alloc(ctx, groups * kept, frame);
    d->keep_side = tsri_alloc(ctx, groups, (size_t)h->side);
    d->batch = tsri_alloc(ctx, TSRI_AUDIO_BATCH, frame);
    d->lengths = tsri_alloc(ctx, groups * (size_t)h->books, sizeof *d->lengths);
    d->piece = tsri_alloc(ctx, (size_t)TSRI_AUDIO_BATCH * (size_t)h->hop,
                          (size_t)h->group_channels * sizeof *d->piece);
    return d->dec && d->keep && d->keep_side && d->batch && d->lengths &&
           d->piece ? TSR_OK : tsri_nomem(ctx);
}

static tsr_error open_all(tsr_audio_decoder *d, tsr_context *ctx,
                          tsr_model *model, const uint8_t *data, size_t bytes,
                          bool live)
{
    TSR_TRY(tsri_audio_extradata_get(ctx, &d->head, data, bytes));
    memcpy(d->extradata, data, bytes);
    d->extradata_bytes = bytes;
    TSR_TRY(open_model(d, ctx, model));
    TSR_TRY(tsri_codes_coder_open(&d->m.coder, d->m.codes, ctx));
    TSR_TRY(make_memory(d));
    d->patience = CONCEAL_SECONDS;
    d->level = tsri_audio_full_level(&d->head);
    d->options = (tsri_audio_options){ .books = d->head.books,
                                       .zero_start = d->head.live, .lazy = !live,
                                       .seed = d->head.seed };
    for (int g = 0; g < tsri_audio_groups(&d->head); g++)
        TSR_TRY(d->m.codec->dec_open(&d->dec[g], d->m.self, &d->options));
    return TSR_OK;
}

tsr_error tsr_audio_decoder_open(tsr_audio_decoder **out, tsr_context *context,
                                 tsr_model *model, const void *extradata,
                                 size_t bytes, int live)
{
    tsr_audio_decoder *d = tsri_calloc(context, 1, sizeof *d);
    tsr_error error;

    *out = NULL;
    if (!d)
        return tsri_nomem(context);
    d->m.ctx = context;
    error = open_all(d, context, model, extradata, bytes, live);
    if (error)
        tsr_audio_decoder_close(&d);
    *out = d;
    return error;
}

void tsr_audio_decoder_close(tsr_audio_decoder **decoder)
{
    tsr_audio_decoder *d = decoder ? *decoder : NULL;
    if (!d)
        return;
    tsr_context *ctx = d->m.ctx;
    tsri_audio_drop_items(d);
    for (int g = 0; d->dec && g < tsri_audio_groups(&d->head); g++)
        if (d->dec[g])
            d->m.codec->dec_close(&d->dec[g]);
    tsri_free(ctx, d->dec);
    tsri_free(ctx, d->runs);
    tsri_free(ctx, d->keep);
    tsri_free(ctx, d->keep_side);
    tsri_free(ctx, d->batch);
    tsri_free(ctx, d->lengths);
    tsri_free(ctx, d->piece);
    tsri_audio_model_close(&d->m);
    tsri_free(ctx, d);
    *decoder = NULL;
}

int tsr_audio_decoder_rate(const tsr_audio_decoder *decoder)
{
    return decoder->head.rate;
}

int tsr_audio_decoder_channels(const tsr_audio_decoder *decoder)
{
    return decoder->head.channels;
}

uint64_t tsr_audio_decoder_concealed(const tsr_audio_decoder *decoder)
{
    return decoder->concealed;
}

/* ---- packets ---- */

void tsri_audio_decoder_begin(tsr_audio_decoder *d, uint64_t number,
                              int seconds)
{
    d->next = number;
    d->patience = seconds;
}

tsr_error tsr_audio_decoder_start(tsr_audio_decoder *d, uint64_t number)
{
    const bool unused = !d->fed && !d->first && !d->concealed && !d->ended;

    if (d->failed)
        return d->failed;
    if (!unused || d->finished || number > UINT32_MAX)
        return tsri_fail(d->m.ctx, TSR_E_ARG, "sound cannot start with packet "
                         "%llu now", (unsigned long long)number);
    tsri_audio_decoder_begin(d, number, d->patience);
    return TSR_OK;
}

static bool sides_good(const tsr_audio_decoder *d, const tsri_audio_packet *p)
{
    const size_t n = (size_t)tsri_audio_groups(&d->head) * (size_t)p->units;

    for (size_t i = 0; d->head.side && d->m.codec->side_good && i < n; i++)
        if (!d->m.codec->side_good(p->side + i * (size_t)d->head.side))
            return false;
    return true;
}

/* The codes of a packet; *item is NULL on failure. */
static tsr_error get_codes(tsr_audio_decoder *d, const tsri_audio_packet *p,
                           tsri_audio_item **out)
{
    const int groups = tsri_audio_groups(&d->head);
    const int segments = d->head.layers ? p->books : 1;
    const size_t matrix = (size_t)p->frames * (size_t)p->books;
    const tsri_codes_form form = { d->head.entropy, d->head.layers, p->books,
                                   p->frames, p->crc };
    const size_t *lengths = d->lengths;
    tsr_error error = TSR_OK;
    const uint8_t *data;

    *out = NULL;
    if (!sides_good(d, p))
        return TSR_E_CORRUPT;
    TSR_TRY(tsri_audio_lengths_get(p, d->lengths, groups * segments, &data));
    tsri_audio_item *item = tsri_audio_item_new(d, (uint64_t)p->units,
                                                (size_t)p->frames, p->books);
    if (!item)
        return TSR_E_NOMEM;
    item->last_frames = p->last_frames;
    if (d->head.side)
        memcpy(item->side, p->side, (size_t)groups * (size_t)p->units *
                                        (size_t)d->head.side);
    for (int g = 0; g < groups && !error; g++, lengths += segments) {
        error = tsri_codes_get(d->m.coder, &form, data, lengths,
                               item->codes + (size_t)g * matrix);
        for (int i = 0; i < segments; i++)
            data += lengths[i];
    }
    if (error)
        tsri_free(d->m.ctx, item);
    else
        *out = item;
    return error;
}

/* Lost packets, as long as that makes sense. */
static tsr_error conceal(tsr_audio_decoder *d, uint64_t packets)
{
    const uint64_t most = ((uint64_t)d->head.rate * (uint64_t)d->patience - 1) /
                          tsri_audio_span(&d->head, 1) + 1;
    const uint64_t units = (uint64_t)tsri_audio_packet_units(&d->head) *
                           (packets < most ? packets : most);
    const tsr_error error = tsri_audio_conceal(d, units < most ? units : most);

    if (!error)
        d->next += packets;
    return error;
}

static tsr_error accept(tsr_audio_decoder *d, const tsri_audio_packet *p,
                        tsri_audio_item *item)
{
    if (p->number > d->next) {
        const tsr_error error = conceal(d, p->number - d->next);
        if (error) {
            tsri_free(d->m.ctx, item);
            return error;
        }
    }
    TSR_TRY(tsri_audio_queue(d, item, p->samples));
    d->next = p->number + 1;
    d->ended = p->last;
    return TSR_OK;
}

tsr_error tsr_audio_decoder_push(tsr_audio_decoder *d, const void *packet,
                                 size_t bytes)
{
    tsri_audio_item *item = NULL;
    tsri_audio_packet p;
    tsr_error error;

    if (d->failed || d->finished)
        return d->failed ? d->failed
                         : tsri_fail(d->m.ctx, TSR_E_ARG, "a packet after the end");
    error = tsri_audio_packet_get(&d->head, &p, packet, bytes);
    if (p.number < d->next)
        return TSR_OK;
    if (d->ended)
        return tsri_fail(d->m.ctx, TSR_E_CORRUPT,
                         "a packet beyond the end of the sound");
    if (!error)
        error = get_codes(d, &p, &item);
    if (error == TSR_E_CORRUPT) {
        error = conceal(d, 1);
        if (!error)
            return tsri_fail(d->m.ctx, TSR_E_CORRUPT, "packet %llu is damaged",
                             (unsigned long long)d->next - 1);
    }
    if (!error)
        error = accept(d, &p, item);
    return error == TSR_E_NOMEM ? tsri_nomem(d->m.ctx) : error;
}

tsr_error tsr_audio_decoder_lost(tsr_audio_decoder *d)
{
    if (d->failed || d->finished)
        return d->failed ? d->failed
                         : tsri_fail(d->m.ctx, TSR_E_ARG, "a packet after the end");
    return d->ended ? TSR_OK : conceal(d, 1);
}

tsr_error tsr_audio_decoder_push_codes(tsr_audio_decoder *d,
                                       const uint16_t *codes, size_t frames)
{
    const size_t groups = (size_t)tsri_audio_groups(&d->head);
    const size_t books = (size_t)d->head.books;
    tsri_audio_item *item;

    if (d->failed || d->finished)
        return d->failed ? d->failed
                         : tsri_fail(d->m.ctx, TSR_E_ARG, "codes after the end");
    if (d->head.segment_frames)
        return tsri_fail(d->m.ctx, TSR_E_UNSUPPORTED, "codes of segments mean "
                         "nothing without their packets");
    if (!frames)
        return TSR_OK;
    item = tsri_audio_item_new(d, frames, frames, d->head.books);
    if (!item)
        return tsri_nomem(d->m.ctx);
    const tsr_error error = tsri_codes_check(d->m.ctx, codes, frames * groups,
                                             d->head.books, d->head.codewords,
                                             d->head.shorter);
    if (error) {
        tsri_free(d->m.ctx, item);
        return error;
    }
    for (size_t t = 0; t < frames; t++)
        for (size_t g = 0; g < groups; g++)
            memcpy(item->codes + (g * frames + t) * books,
                   codes + (t * groups + g) * books, books * sizeof *codes);
    return tsri_audio_queue(d, item, tsri_audio_span(&d->head, frames));
}

tsr_error tsr_audio_decoder_codes(tsr_audio_decoder *d, const void *packet,
                                  size_t bytes, uint16_t *codes, size_t room,
                                  size_t *frames)
{
    const size_t groups = (size_t)tsri_audio_groups(&d->head);
    const size_t books = (size_t)d->head.books;
    tsri_audio_item *item = NULL;
    tsri_audio_packet p;
    tsr_error error = tsri_audio_packet_get(&d->head, &p, packet, bytes);

    *frames = error ? 0 : (size_t)p.frames;
    if (!error && room < *frames * groups * books)
        return TSR_E_LIMIT;
    if (!error)
        error = get_codes(d, &p, &item);
    if (error)
        return tsri_fail(d->m.ctx, error, "the packet is damaged");
    memset(codes, 0xff, *frames * groups * books * sizeof *codes);
    for (size_t t = 0; t < *frames; t++)
        for (size_t g = 0; g < groups; g++)
            memcpy(codes + (t * groups + g) * books,
                   item->codes + (g * *frames + t) * (size_t)p.books,
                   (size_t)p.books * sizeof *codes);
    tsri_free(d->m.ctx, item);
    return TSR_OK;
}

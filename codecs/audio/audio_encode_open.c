/* SPDX-License-Identifier: BSD-2-Clause */
/* Encoders of sound: what settings mean, opening and closing. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "codecs/audio/audio.h"
#include "codecs/audio/search.h"

enum { PACKET_SECONDS = 5, WINDOW_SECONDS = 10, BEAM = 8 };

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

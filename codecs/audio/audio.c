/* SPDX-License-Identifier: BSD-2-Clause */
/* What the two ends share: settings, and a model that is opened. */
#include <stdio.h>
#include <string.h>
#include "codecs/audio/audio.h"

enum { KEPT_MAX = 4 };          /* of a context */

void tsr_audio_settings_init(tsr_audio_settings *settings)
{
    *settings = (tsr_audio_settings){ .size = sizeof *settings, .window = -1,
                                       .search = -1 };
}

void tsri_audio_settings_take(tsr_audio_settings *own,
                              const tsr_audio_settings *theirs)
{
    tsr_audio_settings_init(own);
    if (theirs)
        memcpy(own, theirs,
               theirs->size < sizeof *own ? theirs->size : sizeof *own);
    own->size = sizeof *own;
}

/* What the rest relies on; a codec that breaks it is a fault of ours. */
static bool sound_shape(const tsri_audio_shape *s)
{
    const bool segments = s->segmented
        ? s->segment_frames >= 1 && s->segment_step >= 1 &&
              s->segment_frames <= UINT16_MAX && s->side >= 0 &&
              s->side <= TSRI_AUDIO_SIDE_MAX &&
              (int64_t)s->segment_step <= (int64_t)s->segment_frames * s->hop
        : !s->side;
    return segments && s->rate >= 1 && s->rate <= TSR_AUDIO_MAX_RATE &&
           (s->channels == 1 || s->channels == 2) && s->hop >= 1 &&
           s->hop <= UINT16_MAX && s->books >= 1 &&
           s->books <= TSR_AUDIO_MAX_BOOKS && s->codewords >= 2 &&
           s->codewords <= 1 << 16 &&
           tsri_codes_shorter_fit(s->codewords, s->shorter);
}

/* ---- between calls: on a device, opening costs more than seconds of sound ---- */

typedef struct parked {
    tsri_keep kept;
    tsri_audio_model m;
} parked;

static void close_parts(tsri_audio_model *m)
{
    tsri_codes_close(&m->codes);
    if (m->self)
        m->codec->close(&m->self);
    tsr_model_unref(&m->model);
}

static void close_parked(tsri_keep *kept)
{
    parked *p = (parked *)kept;

    close_parts(&p->m);
    tsri_free(p->m.ctx, p);
}

/* The same model, opened before: taken out. */
static bool take_kept(tsri_audio_model *m, const tsr_model *model)
{
    for (tsri_keep **at = &m->ctx->kept; *at; at = &(*at)->next) {
        parked *p = (parked *)*at;
        if (p->kept.close != close_parked ||
            memcmp(tsr_model_hash(p->m.model), tsr_model_hash(model),
                   TSR_MODEL_HASH_BYTES))
            continue;
        *at = p->kept.next;
        *m = p->m;
        tsri_free(m->ctx, p);
        return true;
    }
    return false;
}

tsr_model *tsri_audio_model_kept(const tsr_context *ctx, const uint8_t *hash)
{
    for (tsri_keep *at = ctx->kept; at; at = at->next) {
        const parked *p = (const parked *)at;
        if (at->close == close_parked &&
            !memcmp(tsr_model_hash(p->m.model), hash, TSR_MODEL_HASH_BYTES))
            return tsr_model_ref(p->m.model);
    }
    return NULL;
}

/* Drops the eldest of too many. */
static void make_room(tsr_context *ctx)
{
    tsri_keep **last = NULL;
    int n = 0;

    for (tsri_keep **at = &ctx->kept; *at; at = &(*at)->next)
        if ((*at)->close == close_parked) {
            last = at;
            n++;
        }
    if (n < KEPT_MAX)
        return;
    tsri_keep *gone = *last;
    *last = gone->next;
    close_parked(gone);
}

/* Keeps an opened model, if its context does that. */
static bool keep(tsri_audio_model *m)
{
    parked *p = m->ctx && m->ctx->keeps && m->codes ?
                tsri_alloc(m->ctx, 1, sizeof *p) : NULL;
    if (!p)
        return false;
    make_room(m->ctx);
    *p = (parked){ { m->ctx->kept, close_parked }, *m };
    m->ctx->kept = &p->kept;
    return true;
}

tsr_error tsri_audio_model_open(tsri_audio_model *m, tsr_context *ctx,
                                tsr_model *model)
{
    *m = (tsri_audio_model){ .ctx = ctx };
    if (take_kept(m, model))
        return TSR_OK;
    m->codec = tsri_audio_codec_by_id(tsr_model_codec(model));
    if (!m->codec)
        return tsri_fail(ctx, TSR_E_MODEL, "%s: not a model of an audio codec",
                         tsr_model_path(model));
    m->model = tsr_model_ref(model);
    TSR_TRY(m->codec->open(&m->self, ctx, model));
    m->shape = *m->codec->shape(m->self);
    if (!sound_shape(&m->shape))
        return tsri_fail(ctx, TSR_E_SHAPE, "%s: its numbers are outside the "
                         "limits of audio streams", tsr_model_path(model));
    TSR_TRY(tsri_codes_open(&m->codes, ctx, model, m->shape.books,
                            m->shape.codewords));
    tsri_codes_shorten(m->codes, m->shape.shorter);
    return TSR_OK;
}

void tsri_audio_model_close(tsri_audio_model *m)
{
    tsri_codes_coder_close(&m->coder);
    if (!keep(m))
        close_parts(m);
}

tsr_error tsr_audio_model_describe(tsr_context *context, tsr_model *model,
                                   tsr_audio_model_info *info)
{
    tsri_audio_model m;
    const tsr_error error = tsri_audio_model_open(&m, context, model);
    const tsri_audio_shape *s = &m.shape;

    *info = (tsr_audio_model_info){ 0 };
    if (!error) {
        *info = (tsr_audio_model_info){
            .rate = s->rate, .channels = s->channels, .hop = s->hop,
            .books = s->books, .codewords = s->codewords,
            .first_codewords = tsri_codes_words(s->codewords, s->shorter, 0),
            .other_codewords = tsri_codes_words(s->codewords, s->shorter, 1),
            .semantic_books = m.codec->semantic_books,
            .side_bits = 8 * s->side,
            .segment = s->segmented ? s->segment_samples : 0, .whole = s->whole,
            .macs_encode = s->macs_encode, .macs_decode = s->macs_decode };
        snprintf(info->codec, sizeof info->codec, "%s", m.codec->id);
    }
    tsri_audio_model_close(&m);
    return error;
}

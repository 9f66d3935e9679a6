/* SPDX-License-Identifier: BSD-2-Clause */
/* EnCodec's files from and to .tess. */
#include <stdio.h>
#include <string.h>
#include <tessera/ecdc.h>
#include <tessera/stream.h>
#include "codecs/audio/audio.h"
#include "codecs/audio/ecdc.h"
#include "lib/bytes.h"
#include "lib/source.h"

enum { FILE_MAX = 256 << 20 };
static const char codec_id[] = "encodec";

/* The rest of a file. */
typedef struct span {
    const uint8_t *data;
    size_t bytes;
} span;

static void describe(const tsri_audio_shape *s, tsri_ecdc_model *m)
{
    *m = (tsri_ecdc_model){ .hop = s->hop, .codewords = s->codewords,
                            .scaled = s->side == 4 };
    if (s->segmented) {
        m->segment = s->segment_samples;
        m->step = s->segment_step;
    }
}

/* What the published program calls the model of such a rate. */
static void name_of(const tsri_audio_shape *s, char name[64])
{
    snprintf(name, 64, "encodec_%dkhz", s->rate / 1000);
}

static tsr_error need_encodec(tsr_context *ctx, const tsr_model *model)
{
    return !strcmp(tsr_model_codec(model), codec_id)
        ? TSR_OK
        : tsri_fail(ctx, TSR_E_MODEL, "%s is not a model of codec encodec",
                    tsr_model_name(model));
}

/* ---- .ecdc to .tess ---- */

static tsr_error check_head(tsr_audio_encoder *e, const tsri_ecdc_head *h)
{
    char name[64];

    name_of(&e->m.shape, name);
    if (strcmp(name, h->model))
        return tsri_fail(e->m.ctx, TSR_E_MODEL, "the .ecdc file was made with "
                         "%s, which %s is not", h->model,
                         tsr_model_name(e->m.model));
    return TSR_OK;
}

/* Segment i, of which *data is the first byte, becomes the encoder's. */
static tsr_error read_segment(tsr_audio_encoder *e, const tsri_ecdc_head *h,
                              const tsri_ecdc_model *m, uint64_t i,
                              span *data)
{
    const int frames = tsri_ecdc_frames(m, h->samples, i);
    const bool last = i + 1 == tsri_ecdc_segments(m, h->samples);
    const uint64_t left = h->samples - i * (uint64_t)m->step;
    uint8_t side[4];
    uint32_t bits;
    size_t used = 0;
    float scale;

    if (!frames || tsri_ecdc_raw_bytes(m, h->books, frames) > data->bytes)
        return tsri_fail(e->m.ctx, TSR_E_TRUNCATED, "the .ecdc file is cut off");
    uint16_t *codes = tsri_alloc(e->m.ctx, (size_t)frames * (size_t)h->books,
                                 sizeof *codes);
    if (!codes)
        return tsri_nomem(e->m.ctx);
    tsr_error error = tsri_ecdc_get_raw(e->m.ctx, m, h->books, frames, data->data,
                                        data->bytes, &scale, codes, &used);
    memcpy(&bits, &scale, sizeof bits);
    tsri_put32(side, bits);
    if (!error && m->scaled && !e->m.codec->side_good(side))
        error = TSR_E_CORRUPT;
    if (error == TSR_E_CORRUPT)
        error = tsri_fail(e->m.ctx, error, "the .ecdc file is damaged");
    if (!error)
        error = tsri_audio_encoder_give(e, codes, frames,
                                        last ? left : (uint64_t)m->step, side);
    tsri_free(e->m.ctx, codes);
    *data = (span){ data->data + used, data->bytes - used };
    return error;
}

static tsr_error read_segments(tsr_audio_encoder *e, const tsri_ecdc_head *h,
                               span data)
{
    tsri_ecdc_model m;

    describe(&e->m.shape, &m);
    const uint64_t n = tsri_ecdc_segments(&m, h->samples);
    for (uint64_t i = 0; i < n; i++)
        TSR_TRY(read_segment(e, h, &m, i, &data));
    return data.bytes ? tsri_fail(e->m.ctx, TSR_E_CORRUPT, "%zu bytes behind the "
                                  "sound of the .ecdc file", data.bytes)
                      : TSR_OK;
}

static tsr_error read_head(tsr_context *ctx, tsri_ecdc_head *h, span *data)
{
    size_t used;

    TSR_TRY(tsri_ecdc_get_head(ctx, h, data->data, data->bytes, &used));
    *data = (span){ data->data + used, data->bytes - used };
    return h->lm ? tsri_fail(ctx, TSR_E_UNSUPPORTED, "coded with a language model "
                             "in floating point, whose probabilities are only "
                             "those of the machine that wrote the file")
                 : TSR_OK;
}

static tsr_error convert(tsr_context *ctx, tsr_model *model, span data,
                         const tsr_sink *sink)
{
    tsr_audio_settings settings;
    tsr_audio_encoder *e = NULL;
    tsri_ecdc_head h;

    TSR_TRY(read_head(ctx, &h, &data));
    tsr_audio_settings_init(&settings);
    settings.books = h.books;
    tsr_error error = tsr_audio_encoder_open(&e, ctx, model, &settings);
    if (error == TSR_E_ARG)
        error = tsri_fail(ctx, TSR_E_MODEL, "the .ecdc file has %d books",
                          h.books);
    if (!error)
        error = check_head(e, &h);
    if (!error)
        error = read_segments(e, &h, data);
    if (!error)
        error = tsri_audio_write(ctx, e, sink);
    tsr_audio_encoder_close(&e);
    return error;
}

tsr_error tsr_ecdc_read(tsr_context *ctx, tsr_model *model,
                        const tsr_source *source, const tsr_sink *sink)
{
    uint8_t *data;
    size_t size;

    TSR_TRY(need_encodec(ctx, model));
    tsr_error error = tsri_read_all(ctx, source, FILE_MAX, &data, &size);
    if (!error)
        error = convert(ctx, model, (span){ data, size }, sink);
    tsri_free(ctx, data);
    return error;
}

/* ---- .tess to .ecdc ---- */

/* Sound as its packets come. */
typedef struct sound {
    tsr_context *ctx;
    tsr_model *model;       /* NULL: by the hash */
    tsr_audio_decoder *decoder;
    uint8_t extradata[TSRI_AUDIO_EXTRADATA_MAX];
    size_t extradata_bytes;
    uint16_t *codes;        /* [frames][books] */
    size_t frames, room;
    float *scale;           /* of each segment */
    size_t segments, scales_room;
    uint64_t packets, samples;
    bool ended;
} sound;

static tsr_error take_extradata(sound *s, const tsr_chunk *chunk, size_t from)
{
    if (s->extradata_bytes != from)
        return TSR_OK; /* a copy: the first counts */
    if (chunk->bytes > sizeof s->extradata - from)
        return tsri_fail(s->ctx, TSR_E_CORRUPT, "its header is damaged");
    memcpy(s->extradata + from, chunk->data, chunk->bytes);
    s->extradata_bytes = from + chunk->bytes;
    return TSR_OK;
}

static tsr_error open_decoder(sound *s)
{
    TSR_TRY(tsr_audio_decoder_open(&s->decoder, s->ctx, s->model, s->extradata,
                                   s->extradata_bytes, 0));
    if (strcmp(s->decoder->m.codec->id, codec_id))
        return tsri_fail(s->ctx, TSR_E_UNSUPPORTED, "sound of codec %s is no "
                         ".ecdc", s->decoder->m.codec->id);
    if (tsri_audio_groups(&s->decoder->head) > 1)
        return tsri_fail(s->ctx, TSR_E_UNSUPPORTED, "%d channels: an .ecdc file "
                         "of this model has %d", s->decoder->head.channels,
                         s->decoder->head.group_channels);
    return TSR_OK;
}

static tsr_error take_codes(sound *s, const tsr_chunk *chunk, int frames)
{
    const size_t books = (size_t)s->decoder->head.books;
    size_t got;

    TSR_TRY(tsri_grow(s->ctx, &s->codes, &s->room, s->frames, (size_t)frames,
                      books * sizeof *s->codes));
    TSR_TRY(tsr_audio_decoder_codes(s->decoder, chunk->data, chunk->bytes,
                                    s->codes + s->frames * books,
                                    (size_t)frames * books, &got));
    s->frames += got;
    return TSR_OK;
}

static tsr_error take_packet(sound *s, const tsr_chunk *chunk)
{
    tsri_audio_packet p;

    if (!s->decoder)
        TSR_TRY(open_decoder(s));
    const tsri_audio_head *h = &s->decoder->head;
    if (tsri_audio_packet_get(h, &p, chunk->data, chunk->bytes) ||
        p.number != s->packets || s->ended)
        return tsri_fail(s->ctx, TSR_E_CORRUPT, "packet %llu is damaged or out "
                         "of order", (unsigned long long)s->packets);
    if (p.books < h->books)
        return tsri_fail(s->ctx, TSR_E_UNSUPPORTED, "books were cut off from "
                         "packet %llu", (unsigned long long)s->packets);
    TSR_TRY(take_codes(s, chunk, p.frames));
    TSR_TRY(tsri_grow(s->ctx, &s->scale, &s->scales_room, s->segments,
                      (size_t)p.units, sizeof *s->scale));
    for (int i = 0; h->side == 4 && i < p.units; i++)
        s->scale[s->segments++] = tsri_getf32(p.side + 4 * i);
    s->samples += p.samples;
    s->ended = p.last;
    s->packets++;
    return TSR_OK;
}

static tsr_error take_chunk(sound *s, const tsr_chunk *chunk)
{
    switch (chunk->stream ? TSR_FOURCC('I', 'N', 'D', 'X') : chunk->type) {
    case TSR_FOURCC('H', 'E', 'A', 'D'):
        return take_extradata(s, chunk, 0);
    case TSR_FOURCC('M', 'O', 'D', 'L'):
        return take_extradata(s, chunk, TSRI_AUDIO_HEAD_BYTES);
    case TSR_FOURCC('D', 'A', 'T', 'A'):
        return take_packet(s, chunk);
    }
    return TSR_OK;
}

static tsr_error read_sound(sound *s, const tsr_source *source)
{
    tsr_stream_reader *reader;
    tsr_chunk chunk;

    TSR_TRY(tsr_stream_reader_open(&reader, s->ctx, source));
    tsr_error error = tsr_stream_reader_kind(reader) == TSR_KIND_AUDIO
        ? TSR_OK
        : tsri_fail(s->ctx, TSR_E_UNSUPPORTED, "the stream is not sound");
    while (!error && !(error = tsr_stream_reader_next(reader, &chunk)))
        error = take_chunk(s, &chunk);
    const tsr_stream_damage damage = tsr_stream_reader_damage(reader);
    tsr_stream_reader_close(&reader);
    if (error != TSR_E_EOF)
        return error;
    if (damage.truncated || damage.lost_chunks || damage.skipped_bytes)
        return tsri_fail(s->ctx, damage.truncated ? TSR_E_TRUNCATED
                                                  : TSR_E_CHECKSUM,
                         "the sound is cut or damaged");
    return s->samples ? TSR_OK : tsri_fail(s->ctx, TSR_E_UNSUPPORTED, "the stream "
                                           "holds no sound, of which there is "
                                           "no .ecdc");
}

/* The geometry of the file is not said in it: does it follow? */
static tsr_error check_frames(const sound *s, const tsri_ecdc_model *m)
{
    const uint64_t n = tsri_ecdc_segments(m, s->samples);
    uint64_t frames = 0;

    for (uint64_t i = 0; i < n && frames <= s->frames; i++)
        frames += (uint64_t)tsri_ecdc_frames(m, s->samples, i);
    if (frames != s->frames || (m->scaled && n != s->segments))
        return tsri_fail(s->ctx, TSR_E_UNSUPPORTED, "%zu frames for %llu samples: "
                         "in .ecdc that would be others", s->frames,
                         (unsigned long long)s->samples);
    return TSR_OK;
}

static tsr_error write_segment(const sound *s, const tsri_ecdc_model *m,
                               uint64_t i, const uint16_t *codes,
                               const tsr_sink *sink)
{
    const int books = s->decoder->head.books;
    const int frames = tsri_ecdc_frames(m, s->samples, i);
    const size_t bytes = tsri_ecdc_raw_bytes(m, books, frames);
    uint8_t *out = tsri_alloc(s->ctx, bytes, 1);

    if (!out)
        return tsri_nomem(s->ctx);
    tsr_error error = tsri_ecdc_put_raw(s->ctx, m, books, frames,
                                        m->scaled ? s->scale[i] : 1, codes, out);
    if (!error)
        error = sink->write(sink->cookie, out, bytes);
    tsri_free(s->ctx, out);
    return error;
}

static tsr_error write_file(const sound *s, const tsr_sink *sink)
{
    tsri_ecdc_head h = { .samples = s->samples,
                         .books = s->decoder->head.books };
    uint8_t head[TSRI_ECDC_HEAD_MAX];
    const uint16_t *codes = s->codes;
    tsri_ecdc_model m;
    size_t used;

    describe(&s->decoder->m.shape, &m);
    TSR_TRY(check_frames(s, &m));
    name_of(&s->decoder->m.shape, h.model);
    TSR_TRY(tsri_ecdc_put_head(&h, head, &used));
    TSR_TRY(sink->write(sink->cookie, head, used));
    for (uint64_t i = 0; i < tsri_ecdc_segments(&m, s->samples); i++) {
        TSR_TRY(write_segment(s, &m, i, codes, sink));
        codes += (size_t)tsri_ecdc_frames(&m, s->samples, i) * (size_t)h.books;
    }
    return TSR_OK;
}

tsr_error tsr_ecdc_write(tsr_context *ctx, tsr_model *model,
                         const tsr_source *source, const tsr_sink *sink)
{
    sound s = { .ctx = ctx, .model = model };

    tsr_error error = model ? need_encodec(ctx, model) : TSR_OK;
    if (!error)
        error = read_sound(&s, source);
    if (!error)
        error = write_file(&s, sink);
    tsr_audio_decoder_close(&s.decoder);
    tsri_free(ctx, s.codes);
    tsri_free(ctx, s.scale);
    return error;
}

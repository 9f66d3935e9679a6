/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "codecs/image/image.h"
#include "lib/bytes.h"

typedef struct encoding {
    tsr_context *ctx;
    const tsri_image_codec *codec;
    void *self;
    tsri_image_head head;
    const tsr_image *image;
    const tsr_image_settings *settings;
    tsr_sink sink;
    tsr_stream_writer *writer;  /* NULL: compact */
    uint8_t *payload;           /* of the DATA chunk being made */
    size_t room;
} encoding;

static tsr_error emit_compact(void *cookie, int unit, const tsri_span *layers,
                              int n)
{
    encoding *e = cookie;
    uint8_t lengths[TSRI_IMAGE_HEAD_MAX];

    (void)unit;
    TSR_TRY(e->sink.write(e->sink.cookie, lengths,
                          tsri_layers_put(layers, n, lengths)));
    for (int i = 0; i < n; i++)
        if (layers[i].bytes)
            TSR_TRY(e->sink.write(e->sink.cookie, layers[i].data, layers[i].bytes));
    return TSR_OK;
}

static tsr_error want_room(encoding *e, size_t bytes)
{
    if (bytes <= e->room)
        return TSR_OK;
    tsri_free(e->ctx, e->payload);
    e->room = 0;
    e->payload = tsri_alloc(e->ctx, bytes, 1);
    if (!e->payload)
        return tsri_nomem(e->ctx);
    e->room = bytes;
    return TSR_OK;
}

static tsr_error emit_chunk(void *cookie, int unit, const tsri_span *layers, int n)
{
    encoding *e = cookie;
    size_t bytes = TSRI_IMAGE_HEAD_MAX, at;

    for (int i = 0; i < n; i++)
        if (!tsri_add(bytes, layers[i].bytes, &bytes))
            return tsri_nomem(e->ctx);
    TSR_TRY(want_room(e, bytes));
    at = tsri_put_varint(e->payload, (uint64_t)unit);
    at += tsri_layers_put(layers, n, e->payload + at);
    for (int i = 0; i < n; at += layers[i++].bytes)
        if (layers[i].bytes)
            memcpy(e->payload + at, layers[i].data, layers[i].bytes);
    return tsr_stream_writer_chunk(e->writer, TSR_FOURCC('D', 'A', 'T', 'A'), 0,
                                   (uint64_t)unit, e->payload, at);
}

static tsr_error emit_alpha(void *cookie, int first_row, const uint8_t *data,
                            size_t size)
{
    encoding *e = cookie;
    return tsr_stream_writer_chunk(e->writer, TSR_FOURCC('A', 'L', 'P', 'H'), 0,
                                   (uint64_t)first_row, data, size);
}

static tsr_error begin(encoding *e)
{
    return e->codec->begin(e->self, e->head.width, e->head.height, e->head.params,
                           e->head.crc, &e->head.units);
}

static tsr_error write_compact(encoding *e)
{
    uint8_t out[TSRI_IMAGE_HEAD_MAX];
    const size_t n = tsri_compact_put(&e->head, out);

    TSR_TRY(e->sink.write(e->sink.cookie, out, n));
    TSR_TRY(begin(e)); /* once more: now with the header's CRC */
    return e->codec->encode(e->self, e->image, emit_compact, e,
                            &e->settings->progress);
}

static tsr_error write_chunks(encoding *e)
{
    uint8_t out[TSRI_IMAGE_HEAD_MAX];

    TSR_TRY(tsr_stream_writer_open(&e->writer, e->ctx, &e->sink, TSR_KIND_IMAGE));
    TSR_TRY(tsr_stream_writer_chunk(e->writer, TSR_FOURCC('H', 'E', 'A', 'D'), 0, 0,
                                    out, tsri_head_put(&e->head, out)));
    TSR_TRY(tsr_stream_writer_chunk(e->writer, TSR_FOURCC('M', 'O', 'D', 'L'), 0, 0,
                                    out, tsri_modl_put(e->head.hash,
                                                       e->head.model_name, out)));
    TSR_TRY(e->codec->encode(e->self, e->image, emit_chunk, e,
                             &e->settings->progress));
    if (tsri_has_alpha(e->head.channels))
        TSR_TRY(tsri_alpha_encode(e->ctx, e->image, emit_alpha, e));
    return tsr_stream_writer_finish(e->writer);
}

static tsr_error write_stream(encoding *e)
{
    tsri_image_head *head = &e->head;

    TSR_TRY(e->codec->choose(e->self, head->width, head->height,
                             e->settings->quality, e->settings->interleave,
                             head->params));
    TSR_TRY(begin(e));
    head->compact = head->units == 1 && !e->settings->container &&
                    head->bits == 8 && (head->channels == 1 || head->channels == 3);
    return head->compact ? write_compact(e) : write_chunks(e);
}

static void fill_head(encoding *e, const tsr_model *model)
{
    const tsr_image *image = e->image;

    tsri_head_init(&e->head, e->codec, model);
    e->head.width = image->width;
    e->head.height = image->height;
    e->head.bits = image->bits;
    e->head.channels = tsri_coded_channels(image->channels,
                                           e->settings->lossless_alpha);
}

tsr_error tsri_image_settings_take(tsr_context *ctx, tsr_image_settings *own,
                                   const tsr_image_settings *theirs)
{
    tsr_image_settings_init(own);
    if (theirs)
        memcpy(own, theirs,
               theirs->size < sizeof *own ? theirs->size : sizeof *own);
    if (!(own->quality >= 0 && own->quality <= 100))
        return tsri_fail(ctx, TSR_E_ARG, "quality must be 0..100");
    if (own->interleave != 1 && own->interleave != 2 && own->interleave != 4 &&
        own->interleave != 8)
        return tsri_fail(ctx, TSR_E_ARG, "interleave must be 1, 2, 4 or 8");
    return TSR_OK;
}

tsr_error tsri_image_write(tsr_context *ctx, const tsri_image_codec *codec,
                           void *self, const tsr_model *model,
                           const tsr_image_settings *settings,
                           const tsr_image *image, const tsr_sink *sink)
{
    encoding e = { .ctx = ctx, .codec = codec, .self = self, .image = image,
                   .settings = settings, .sink = *sink };

    fill_head(&e, model);
    const tsr_error error = write_stream(&e);
    tsr_stream_writer_close(&e.writer);
    tsri_free(ctx, e.payload);
    return error;
}

tsr_error tsr_image_encode(tsr_context *ctx, tsr_model *model,
                           const tsr_image_settings *settings,
                           const tsr_image *image, const tsr_sink *sink)
{
    const tsri_image_codec *codec;
    tsr_image_settings own;
    void *self;
    tsr_error error;

    TSR_TRY(tsri_image_settings_take(ctx, &own, settings));
    TSR_TRY(tsri_image_check(ctx, image));
    TSR_TRY(tsri_image_codec_of(ctx, model, &codec));
    error = tsri_coder_open(&self, ctx, codec, model);
    if (!error && codec->analyse)
        error = codec->analyse(self, image, &own.progress);
    if (!error)
        error = tsri_image_write(ctx, codec, self, model, &own, image, sink);
    tsri_coder_close(&self, ctx, codec, model, !error);
    return error;
}

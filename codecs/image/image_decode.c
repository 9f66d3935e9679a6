/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>
#include "codecs/image/image.h"
#include "lib/bytes.h"
#include "lib/cuda/device.h"

typedef struct decoding {
    tsr_context *ctx;
    tsr_model *given;           /* the caller's, or NULL */
    tsri_image_head head;
    bool have_head, have_model_hash;
    tsri_image_parts parts;
    bool started;               /* parts are open */
    tsr_image *image;
    tsr_image_info *info;       /* not NULL: only look */
} decoding;

/* A source with a few bytes put back in front. */
typedef struct pushback {
    tsr_source source;
    uint8_t held[2];
    size_t count, at;
    uint64_t total;
} pushback;

static tsr_error read_pushback(void *cookie, void *data, size_t size, size_t *got)
{
    pushback *p = cookie;
    size_t more = 0;

    *got = 0;
    while (size && p->at < p->count) {
        ((uint8_t *)data)[(*got)++] = p->held[p->at++];
        size--;
    }
    if (size)
        TSR_TRY(p->source.read(p->source.cookie, (uint8_t *)data + *got, size,
                               &more));
    *got += more;
    p->total += *got;
    return TSR_OK;
}

/* Is the caller's device memory for this picture? */
static tsr_error check_target(const decoding *d)
{
    const tsri_image_head *h = &d->head;
    const tsr_image *image = d->image;

    if (!d->ctx->gpu || !tsri_cuda_has_pixels(d->ctx->gpu))
        return TSR_OK;
    if (tsri_has_alpha(h->channels))
        return tsri_fail(d->ctx, TSR_E_UNSUPPORTED, "the stream has alpha, which"
                         " is not decoded in device memory");
    if (image->width == h->width && image->height == h->height &&
        image->channels == h->channels && image->bits == h->bits)
        return TSR_OK;
    return tsri_fail(d->ctx, TSR_E_ARG, "memory for %dx%dx%d of %d bits, the"
                     " stream has %dx%dx%d of %d", image->width, image->height,
                     image->channels, image->bits, h->width, h->height,
                     h->channels, h->bits);
}

/* Everything that must be known before the first token. */
static tsr_error start(decoding *d)
{
    tsri_image_head *h = &d->head;

    d->started = true;
    TSR_TRY(check_target(d));
    TSR_TRY(tsri_parts_open(&d->parts, d->ctx, d->given, h));
    TSR_TRY(tsri_parts_begin(&d->parts, h->width, h->height, h->params, h->crc));
    if (d->parts.units != h->units)
        return tsri_fail(d->ctx, TSR_E_CORRUPT,
                         "the stream has %d units, its size asks for %d", h->units,
                         d->parts.units);
    return TSR_OK;
}

static void count_unit(decoding *d, const tsri_span *layers)
{
    for (int i = 0; i < d->head.layers; i++) {
        d->info->layer_bytes[i] += layers[i].bytes;
        d->info->token_bytes += layers[i].bytes;
    }
    d->parts.found++;
}

/* A unit's layers; damage in it is noted, not returned.  Of a unit that comes
 * twice the first sound one counts. */
static tsr_error take_unit(decoding *d, int unit, const uint8_t *data, size_t size)
{
    tsri_span layers[TSRI_IMAGE_LAYERS_MAX];
    const tsr_error error = tsri_layers_get(data, size, layers, d->head.layers);

    if (d->parts.seen && d->parts.seen[unit])
        return TSR_OK;
    if (error)
        tsri_parts_note(&d->parts, error);
    else if (d->info)
        count_unit(d, layers);
    else
        return tsri_parts_unit(&d->parts, unit, layers);
    return TSR_OK;
}

static tsr_error take_data(decoding *d, const tsr_chunk *chunk)
{
    uint64_t unit;
    const size_t used = tsri_get_varint(chunk->data, chunk->bytes, &unit);

    if (!d->have_head || !d->have_model_hash)
        return tsri_fail(d->ctx, TSR_E_CORRUPT, "its header (HEAD or MODL) is missing or damaged");
    if (!d->started && !d->info)
        TSR_TRY(start(d));
    if (!used || unit >= (uint64_t)d->head.units) {
        tsri_parts_note(&d->parts, TSR_E_CORRUPT);
        return TSR_OK;
    }
    return take_unit(d, (int)unit, chunk->data + used, chunk->bytes - used);
}

tsr_error tsri_image_make(tsr_context *ctx, const tsri_image_head *head,
                          tsr_image *image)
{
    *image = (tsr_image){ .width = head->width, .height = head->height,
                          .channels = head->channels, .bits = head->bits };
    TSR_TRY(tsr_image_alloc(ctx, image));
    if (tsri_has_alpha(head->channels))
        tsri_alpha_opaque(image);
    return TSR_OK;
}

static tsr_error make_image(decoding *d)
{
    return d->image->data ? TSR_OK : tsri_image_make(d->ctx, &d->head, d->image);
}

static tsr_error take_alpha(decoding *d, const tsr_chunk *chunk)
{
    if (d->info) {
        d->info->alpha_bytes += chunk->bytes;
        return TSR_OK;
    }
    if (!d->parts.found || !tsri_has_alpha(d->head.channels)) {
        tsri_parts_note(&d->parts, TSR_E_CORRUPT);
        return TSR_OK;
    }
    TSR_TRY(make_image(d));
    return tsri_parts_alpha(&d->parts, d->image, chunk->data, chunk->bytes);
}

static tsr_error take_chunk(decoding *d, const tsr_chunk *chunk)
{
    switch (chunk->type) {
    case TSR_FOURCC('H', 'E', 'A', 'D'):
        if (d->have_head)
            return TSR_OK; /* a second stream's, or a copy: the first counts */
        d->have_head = true;
        return tsri_head_get(d->ctx, &d->head, chunk->data, chunk->bytes);
    case TSR_FOURCC('M', 'O', 'D', 'L'):
        if (d->have_model_hash)
            return TSR_OK;
        d->have_model_hash = true;
        TSR_TRY(tsri_modl_get(d->ctx, chunk->data, chunk->bytes, d->head.hash,
                              d->head.model_name));
        d->head.hash_bytes = TSR_MODEL_HASH_BYTES;
        return TSR_OK;
    case TSR_FOURCC('D', 'A', 'T', 'A'):
        return take_data(d, chunk);
    case TSR_FOURCC('A', 'L', 'P', 'H'):
        return take_alpha(d, chunk);
    case TSR_FOURCC('I', 'N', 'D', 'X'):
        return TSR_OK;
    }
    if (chunk->type & 0x20) /* lower-case first letter */
        return TSR_OK;
    return tsri_fail(d->ctx, TSR_E_UNSUPPORTED, "unknown critical chunk");
}

static tsr_error read_chunks(decoding *d, const tsr_source *source)
{
    tsr_stream_reader *reader;
    tsr_stream_damage damage;
    tsr_chunk chunk;
    tsr_error error = tsr_stream_reader_open(&reader, d->ctx, source);

    if (error)
        return error;
    if (tsr_stream_reader_kind(reader) != TSR_KIND_IMAGE)
        error = tsri_fail(d->ctx, TSR_E_UNSUPPORTED, "the stream is not a picture");
    while (!error && !(error = tsr_stream_reader_next(reader, &chunk)))
        error = chunk.stream ? TSR_OK : take_chunk(d, &chunk);
    damage = tsr_stream_reader_damage(reader);
    tsr_stream_reader_close(&reader);
    if (error != TSR_E_EOF)
        return error;
    if (damage.lost_chunks || damage.skipped_bytes)
        tsri_parts_note(&d->parts, TSR_E_CHECKSUM);
    if (damage.truncated)
        tsri_parts_note(&d->parts, TSR_E_TRUNCATED);
    if (!d->have_head || !d->have_model_hash)
        return tsri_fail(d->ctx, d->parts.damage ? d->parts.damage : TSR_E_CORRUPT,
                         "the stream has no header left");
    return TSR_OK;
}

/* Fills data[*size..room) as far as the source goes. */
static tsr_error fill(const tsr_source *source, uint8_t *data, size_t room,
                      size_t *size)
{
    size_t got = 1;
    while (got && *size < room) {
        TSR_TRY(source->read(source->cookie, data + *size, room - *size, &got));
        *size += got;
    }
    return TSR_OK;
}

/* All that is left of a source, at most TSRI_COMPACT_MAX bytes. */
static tsr_error read_all(tsr_context *ctx, const tsr_source *source,
                          uint8_t **data, size_t *size)
{
    size_t room = 1 << 14;

    *size = 0;
    *data = tsri_alloc(ctx, room, 1);
    while (*data) {
        TSR_TRY(fill(source, *data, room, size));
        if (*size < room)
            return TSR_OK;
        if (room >= TSRI_COMPACT_MAX)
            return tsri_fail(ctx, TSR_E_LIMIT, "a compact stream over 64 MiB");
        uint8_t *bigger = tsri_alloc(ctx, room *= 2, 1);
        if (bigger)
            memcpy(bigger, *data, *size);
        tsri_free(ctx, *data);
        *data = bigger;
    }
    return tsri_nomem(ctx);
}

static tsr_error read_compact(decoding *d, const tsr_source *source)
{
    uint8_t *data = NULL;
    size_t size, used;
    tsr_error error = read_all(d->ctx, source, &data, &size);

    if (!error)
        error = tsri_compact_get(d->ctx, &d->head, data, size, &used);
    d->have_head = d->have_model_hash = !error;
    if (!error && !d->info)
        error = start(d);
    if (!error)
        error = take_unit(d, 0, data + used, size - used);
    tsri_free(d->ctx, data);
    return error;
}

static tsr_error read_stream(decoding *d, const tsr_source *source, uint64_t *total)
{
    pushback p = { .source = *source };
    const tsr_source front = { &p, read_pushback };
    tsr_error error = fill(source, p.held, sizeof p.held, &p.count);

    if (!error && !p.count)
        error = tsri_fail(d->ctx, TSR_E_FORMAT, "empty, not a .tess stream");
    if (!error)
        error = tsri_compact_starts(p.held, p.count) ? read_compact(d, &front)
                                                     : read_chunks(d, &front);
    *total = p.total;
    return error;
}

/* A stream without any sound unit is no picture. */
static tsr_error read_picture(decoding *d, const tsr_source *source)
{
    tsri_image_parts *p = &d->parts;
    uint64_t total;

    TSR_TRY(read_stream(d, source, &total));
    if (p->found)
        return TSR_OK;
    tsri_parts_note(p, TSR_E_CORRUPT);
    return tsri_fail(d->ctx, p->damage, "no part of the picture is left: %s",
                     tsr_error_string(p->damage));
}

tsr_error tsr_image_decode(tsr_context *ctx, tsr_model *model,
                           const tsr_progress *progress, const tsr_source *source,
                           tsr_image *image)
{
    decoding d = { .ctx = ctx, .given = model, .image = image,
                   .parts = { .ctx = ctx } };
    tsr_error error;

    *image = (tsr_image){ 0 };
    error = read_picture(&d, source);
    if (!error)
        error = make_image(&d);
    if (!error)
        error = tsri_parts_pixels(&d.parts, image, progress);
    if (error)
        tsr_image_free(ctx, image);
    tsri_parts_close(&d.parts, !error);
    return error ? error : d.parts.damage;
}

tsr_error tsri_image_decode_into(tsr_context *ctx, tsr_model *model,
                                 const tsr_source *source, tsr_image *image)
{
    decoding d = { .ctx = ctx, .given = model, .image = image,
                   .parts = { .ctx = ctx } };

    /* Tokens are waited for, but not what is on the caller's stream. */
    tsri_cuda_aside(ctx->gpu, true);
    tsr_error error = read_picture(&d, source);
    tsri_cuda_aside(ctx->gpu, false);
    if (!error)
        error = tsri_parts_pixels(&d.parts, image, NULL);
    tsri_parts_close(&d.parts, !error);
    return error ? error : d.parts.damage;
}

tsr_error tsri_image_read_open(tsri_image_read *read, tsr_context *ctx,
                               tsr_model *model, const tsr_source *source)
{
    decoding d = { .ctx = ctx, .given = model, .image = &read->image,
                   .parts = { .ctx = ctx } };

    read->image = (tsr_image){ 0 };
    tsr_error error = read_picture(&d, source);
    if (!error && tsri_has_alpha(d.head.channels))
        error = make_image(&d);
    if (!error && d.parts.found < d.parts.units)
        tsri_parts_note(&d.parts, TSR_E_CORRUPT);
    read->head = d.head;
    read->parts = d.parts;
    return error;
}

void tsri_image_read_close(tsri_image_read *read)
{
    tsr_image_free(read->parts.ctx, &read->image);
    tsri_parts_close(&read->parts, false);
}

static void fill_info(const decoding *d, uint64_t total)
{
    tsr_image_info *i = d->info;
    const tsri_image_head *h = &d->head;

    i->width = h->width;
    i->height = h->height;
    i->channels = h->channels;
    i->bits = h->bits;
    i->compact = h->compact;
    i->units = h->units;
    i->units_found = d->parts.found;
    i->model_hash_bytes = (int)h->hash_bytes;
    memcpy(i->model_hash, h->hash, h->hash_bytes);
    i->quality = i->token_level = -1;
    if (h->codec) {
        snprintf(i->codec, sizeof i->codec, "%s", h->codec->id);
        if (h->codec->quality)
            i->quality = h->codec->quality(h->params);
        if (h->codec->describe)
            h->codec->describe(h->params, i);
        for (int k = 0; k < h->layers; k++)
            i->layer_name[k] = h->codec->layer_name[k];
    }
    i->file_bytes = total;
    i->header_bytes = total - i->token_bytes - i->alpha_bytes;
    i->damaged = d->parts.damage || d->parts.found != h->units;
}

tsr_error tsr_image_probe(tsr_context *ctx, const tsr_source *source,
                          tsr_image_info *info)
{
    decoding d = { .ctx = ctx, .info = info };
    uint64_t total;

    *info = (tsr_image_info){ 0 };
    TSR_TRY(read_stream(&d, source, &total));
    fill_info(&d, total);
    return TSR_OK;
}

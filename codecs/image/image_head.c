/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>
#include "codecs/image/image.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"

enum {
    MAGIC0 = 0xC7, MAGIC1 = 0x54,
    COMPACT_HASH = 4,
    HEAD_FIXED = TSRI_GEOMETRY_BYTES + 4, /* of HEAD, before the parameters */
    COMPACT_RESERVED = 1, COMPACT_GREY = 2, COMPACT_CODEC_SHIFT = 2
};

bool tsri_compact_starts(const uint8_t *data, size_t size)
{
    return size >= 2 && data[0] == MAGIC0 && data[1] == MAGIC1;
}

size_t tsri_compact_put(tsri_image_head *head, uint8_t *out)
{
    size_t n = 0;
    out[n++] = MAGIC0;
    out[n++] = MAGIC1;
    out[n++] = (uint8_t)(head->codec->number << COMPACT_CODEC_SHIFT |
                         (head->channels == 1 ? COMPACT_GREY : 0));
    memcpy(out + n, head->hash, COMPACT_HASH);
    n += COMPACT_HASH;
    n += tsri_put_varint(out + n, (uint64_t)head->width - 1);
    n += tsri_put_varint(out + n, (uint64_t)head->height - 1);
    memcpy(out + n, head->params, head->params_bytes);
    n += head->params_bytes;
    head->crc = tsri_crc32c(0, out, n);
    return n;
}

/* A side of the picture, stored less one. */
static size_t get_side(const uint8_t *data, size_t size, int *side)
{
    uint64_t v;
    const size_t n = tsri_get_varint(data, size, &v);
    if (!n || v >= INT32_MAX)
        return 0;
    *side = (int)v + 1;
    return n;
}

static tsr_error known_codec(tsr_context *ctx, tsri_image_head *head)
{
    head->codec = tsri_image_codec_by_number(head->codec_number);
    if (head->codec)
        return TSR_OK;
    return tsri_fail(ctx, TSR_E_UNSUPPORTED,
                     "image codec number %d is not in this build",
                     head->codec_number);
}

tsr_error tsri_compact_get(tsr_context *ctx, tsri_image_head *head,
                           const uint8_t *data, size_t size, size_t *used)
{
    size_t at = 3 + COMPACT_HASH, n;

    *head = (tsri_image_head){ .compact = true, .bits = 8, .units = 1,
                               .hash_bytes = COMPACT_HASH };
    if (size < at)
        return tsri_fail(ctx, TSR_E_TRUNCATED, "the stream ends in its header");
    if (data[2] & COMPACT_RESERVED)
        return tsri_fail(ctx, TSR_E_VERSION, "a compact stream of a newer version");
    head->channels = data[2] & COMPACT_GREY ? 1 : 3;
    head->codec_number = data[2] >> COMPACT_CODEC_SHIFT;
    memcpy(head->hash, data + 3, COMPACT_HASH);
    TSR_TRY(known_codec(ctx, head));
    for (int i = 0; i < 2; i++, at += n) {
        n = get_side(data + at, size - at, i ? &head->height : &head->width);
        if (!n)
            return tsri_fail(ctx, size - at < 5 ? TSR_E_TRUNCATED : TSR_E_CORRUPT,
                             "the stream has no valid picture size");
    }
    head->params_bytes = head->codec->params;
    head->layers = head->codec->layers;
    if (size - at < head->params_bytes)
        return tsri_fail(ctx, TSR_E_TRUNCATED, "the stream ends in its header");
    memcpy(head->params, data + at, head->params_bytes);
    *used = at + head->params_bytes;
    head->crc = tsri_crc32c(0, data, *used);
    return TSR_OK;
}

void tsri_head_init(tsri_image_head *head, const tsri_image_codec *codec,
                    const tsr_model *model)
{
    *head = (tsri_image_head){
        .codec = codec, .codec_number = codec->number, .layers = codec->layers,
        .params_bytes = codec->params, .hash_bytes = TSR_MODEL_HASH_BYTES };
    memcpy(head->hash, tsr_model_hash(model), TSR_MODEL_HASH_BYTES);
    snprintf(head->model_name, sizeof head->model_name, "%s",
             tsr_model_name(model));
}

void tsri_geometry_put(const tsri_image_head *head, uint8_t *out)
{
    out[0] = (uint8_t)head->codec_number;
    out[1] = (uint8_t)head->channels;
    out[2] = (uint8_t)head->bits;
    out[3] = (uint8_t)head->layers;
    tsri_put32(out + 4, (uint32_t)head->width);
    tsri_put32(out + 8, (uint32_t)head->height);
}

/* A number of a head that counts pixels or units. */
static tsr_error get_count(tsr_context *ctx, const uint8_t *data, int *count)
{
    const uint32_t n = tsri_get32(data);

    if (n < 1 || n > INT32_MAX)
        return tsri_fail(ctx, TSR_E_CORRUPT, "HEAD has an impossible size");
    *count = (int)n;
    return TSR_OK;
}

tsr_error tsri_geometry_get(tsr_context *ctx, tsri_image_head *head,
                            const uint8_t *data)
{
    head->codec_number = data[0];
    head->channels = data[1];
    head->bits = data[2];
    head->layers = data[3];
    if (head->channels < 1 || head->channels > 4 ||
        (head->bits != 8 && head->bits != 16) || head->layers < 1 ||
        head->layers > TSRI_IMAGE_LAYERS_MAX)
        return tsri_fail(ctx, TSR_E_CORRUPT, "HEAD has an impossible value");
    TSR_TRY(get_count(ctx, data + 4, &head->width));
    TSR_TRY(get_count(ctx, data + 8, &head->height));
    head->codec = tsri_image_codec_by_number(head->codec_number);
    if (head->codec && head->codec->layers != head->layers)
        return tsri_fail(ctx, TSR_E_CORRUPT, "HEAD does not fit its codec");
    return TSR_OK;
}

size_t tsri_head_put(const tsri_image_head *head, uint8_t *out)
{
    tsri_geometry_put(head, out);
    tsri_put32(out + TSRI_GEOMETRY_BYTES, (uint32_t)head->units);
    memcpy(out + HEAD_FIXED, head->params, head->params_bytes);
    return HEAD_FIXED + head->params_bytes;
}

tsr_error tsri_head_get(tsr_context *ctx, tsri_image_head *head,
                        const uint8_t *data, size_t size)
{
    if (size < HEAD_FIXED || size > HEAD_FIXED + TSRI_IMAGE_PARAMS_MAX)
        return tsri_fail(ctx, TSR_E_CORRUPT, "HEAD has a wrong length");
    TSR_TRY(tsri_geometry_get(ctx, head, data));
    TSR_TRY(get_count(ctx, data + TSRI_GEOMETRY_BYTES, &head->units));
    head->params_bytes = size - HEAD_FIXED;
    memcpy(head->params, data + HEAD_FIXED, head->params_bytes);
    if (head->codec && head->codec->params != head->params_bytes)
        return tsri_fail(ctx, TSR_E_CORRUPT, "HEAD does not fit its codec");
    return TSR_OK;
}

size_t tsri_layers_put(const tsri_span *layers, int n, uint8_t *out)
{
    size_t used = 0;
    for (int i = 0; i < n - 1; i++)
        used += tsri_put_varint(out + used, layers[i].bytes);
    return used;
}

tsr_error tsri_layers_get(const uint8_t *data, size_t size, tsri_span *layers,
                          int n)
{
    uint64_t bytes;
    size_t at = 0, used;

    for (int i = 0; i < n - 1; i++, at += used) {
        used = tsri_get_varint(data + at, size - at, &bytes);
        if (!used || bytes > size)
            return TSR_E_CORRUPT;
        layers[i].bytes = (size_t)bytes;
    }
    for (int i = 0; i < n; at += layers[i++].bytes) {
        layers[i].data = data + at;
        if (i == n - 1)
            layers[i].bytes = size - at;
        else if (layers[i].bytes > size - at)
            return TSR_E_CORRUPT;
    }
    return TSR_OK;
}

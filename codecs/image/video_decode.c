/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "codecs/image/video.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"

enum { CHECK = 4 };

struct tsr_video_decoder {
    tsr_context *ctx;
    tsri_video_head head;
    tsri_image_parts parts;
    tsr_image image;            /* the frame last decoded */
};

/* A cursor over a packet's lengths, or over what they are the lengths of. */
typedef struct cursor {
    const uint8_t *data;
    size_t size, at;
} cursor;

/* False at the end, or where there is no number. */
static bool take_number(cursor *c, uint64_t *v)
{
    const size_t n = tsri_get_varint(c->data + c->at, c->size - c->at, v);
    c->at += n;
    return n;
}

/* The next part; one that the packet ends in is cut, so it is left out. */
static bool take_part(cursor *c, uint64_t bytes, tsri_span *part)
{
    const bool whole = bytes <= c->size - c->at;

    *part = (tsri_span){ c->data + c->at, whole ? (size_t)bytes : 0 };
    c->at += whole ? (size_t)bytes : c->size - c->at;
    return whole;
}

/* A packet's parts.  Its lengths stand in two places, since what they measure
 * comes after all of them. */
typedef struct parts {
    cursor units, bands, body;
    uint64_t band_count;
} parts;

/* The parameters: they begin the frame. */
static tsr_error take_params(tsr_video_decoder *d, cursor *c)
{
    const tsri_image_head *h = &d->head.image;
    uint64_t bytes;

    if (!take_number(c, &bytes) || bytes != h->codec->params ||
        bytes > c->size - c->at)
        return TSR_E_CORRUPT;
    c->at += (size_t)bytes;
    return tsri_parts_begin(&d->parts, h->width, h->height,
                            c->data + c->at - bytes, 0);
}

/* Goes past `n` lengths. */
static bool pass_numbers(cursor *c, uint64_t n)
{
    uint64_t v;

    for (uint64_t i = 0; i < n; i++)
        if (!take_number(c, &v))
            return false;
    return true;
}

static bool find_parts(const tsr_video_decoder *d, const cursor *c, parts *p)
{
    const uint64_t lengths = (uint64_t)d->parts.units *
                             (uint64_t)d->head.image.layers;

    p->units = p->bands = *c;
    if (!pass_numbers(&p->bands, lengths) ||
        !take_number(&p->bands, &p->band_count))
        return false;
    p->body = p->bands;
    return pass_numbers(&p->body, p->band_count);
}

/* A unit of which a layer is cut is not used. */
static tsr_error take_unit(tsr_video_decoder *d, int unit, parts *p)
{
    tsri_span layers[TSRI_IMAGE_LAYERS_MAX];
    bool whole = true;
    uint64_t bytes = 0;

    for (int i = 0; i < d->head.image.layers; i++) {
        take_number(&p->units, &bytes);
        whole = take_part(&p->body, bytes, &layers[i]) && whole;
    }
    if (whole)
        return tsri_parts_unit(&d->parts, unit, layers);
    tsri_parts_note(&d->parts, TSR_E_CORRUPT);
    return TSR_OK;
}

static tsr_error take_bands(tsr_video_decoder *d, parts *p)
{
    tsri_span band;
    uint64_t bytes = 0;

    if (!tsri_has_alpha(d->head.image.channels)) {
        if (p->band_count)
            tsri_parts_note(&d->parts, TSR_E_CORRUPT);
        return TSR_OK;
    }
    tsri_alpha_opaque(&d->image);
    for (uint64_t i = 0; i < p->band_count; i++) {
        take_number(&p->bands, &bytes);
        if (take_part(&p->body, bytes, &band))
            TSR_TRY(tsri_parts_alpha(&d->parts, &d->image, band.data, band.bytes));
        else
            tsri_parts_note(&d->parts, TSR_E_CORRUPT);
    }
    return TSR_OK;
}

static tsr_error take_packet(tsr_video_decoder *d, const uint8_t *data,
                             size_t size)
{
    cursor c = { data, size < CHECK ? 0 : size - CHECK, 0 };
    parts p;

    if (size < CHECK || tsri_get32(data + c.size) != tsri_crc32c(0, data, c.size))
        tsri_parts_note(&d->parts, TSR_E_CORRUPT);
    TSR_TRY(take_params(d, &c));
    if (!find_parts(d, &c, &p))
        return TSR_E_CORRUPT;
    for (int unit = 0; unit < d->parts.units; unit++)
        TSR_TRY(take_unit(d, unit, &p));
    if (!d->parts.found)
        return TSR_E_CORRUPT;
    TSR_TRY(take_bands(d, &p));
    if (p.body.at != p.body.size)
        tsri_parts_note(&d->parts, TSR_E_CORRUPT);
    return tsri_parts_pixels(&d->parts, &d->image, NULL);
}

tsr_error tsr_video_decoder_decode(tsr_video_decoder *d, const void *packet,
                                   size_t bytes, tsr_image *image)
{
    *image = (tsr_image){ 0 };
    d->parts.damage = TSR_OK;
    const tsr_error error = take_packet(d, packet, bytes);
    if (error == TSR_E_CORRUPT)
        return tsri_fail(d->ctx, error, "nothing is left of a frame");
    if (!error)
        *image = d->image;
    return error ? error : d->parts.damage;
}

/* ---- opening ---- */

/* Whether the codec can do that size at all: by parameters of its own. */
static tsr_error try_size(tsr_video_decoder *d)
{
    const tsri_image_head *h = &d->head.image;
    uint8_t params[TSRI_IMAGE_PARAMS_MAX];

    TSR_TRY(h->codec->choose(d->parts.self, h->width, h->height, 50, 1, params));
    return tsri_parts_begin(&d->parts, h->width, h->height, params, 0);
}

static tsr_error open_all(tsr_video_decoder *d, tsr_model *model,
                          const uint8_t *extradata, size_t bytes)
{
    const tsri_image_head *h = &d->head.image;

    TSR_TRY(tsri_video_extradata_get(d->ctx, &d->head, extradata, bytes));
    TSR_TRY(tsri_parts_open(&d->parts, d->ctx, model, h));
    TSR_TRY(try_size(d));
    d->image = (tsr_image){ .width = h->width, .height = h->height,
                            .channels = h->channels, .bits = h->bits };
    return tsr_image_alloc(d->ctx, &d->image);
}

tsr_error tsr_video_decoder_open(tsr_video_decoder **out, tsr_context *context,
                                 tsr_model *model, const void *extradata,
                                 size_t bytes)
{
    tsr_video_decoder *d = tsri_calloc(context, 1, sizeof *d);

    *out = NULL;
    if (!d)
        return tsri_nomem(context);
    d->ctx = d->parts.ctx = context;
    const tsr_error error = open_all(d, model, extradata, bytes);
    if (error)
        tsr_video_decoder_close(&d);
    *out = d;
    return error;
}

void tsr_video_decoder_close(tsr_video_decoder **decoder)
{
    tsr_video_decoder *d = decoder ? *decoder : NULL;
    if (!d)
        return;
    tsri_parts_close(&d->parts, true);
    tsr_image_free(d->ctx, &d->image);
    tsri_free(d->ctx, d);
    *decoder = NULL;
}

const tsr_video_info *tsr_video_decoder_info(const tsr_video_decoder *decoder)
{
    return &decoder->head.info;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "codecs/image/video.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"

/* Bytes that grow. */
typedef struct buffer {
    uint8_t *data;
    size_t bytes, room;
} buffer;

struct tsr_video_encoder {
    tsr_context *ctx;
    tsr_model *model;           /* one reference */
    void *self;                 /* of head.image.codec */
    tsri_video_head head;
    int channels;               /* of the pictures; the head's may be without
                                   alpha */
    double quality;
    uint8_t extradata[TSR_VIDEO_EXTRADATA_MAX];
    size_t extradata_bytes;
    buffer packet;              /* in the end all of it */
    buffer body;                /* layers; then alpha */
    buffer bands;               /* lengths of the bands of alpha */
    uint64_t band_count;
};

/* Room for `bytes` more at the end of a buffer; NULL: no memory. */
static uint8_t *room_for(tsr_video_encoder *e, buffer *b, size_t bytes)
{
    if (tsri_grow(e->ctx, &b->data, &b->room, b->bytes, bytes, 1))
        return NULL;
    return b->data + b->bytes;
}

static tsr_error append(tsr_video_encoder *e, buffer *b, const void *data,
                        size_t bytes)
{
    uint8_t *to;

    if (!bytes)
        return TSR_OK;
    to = room_for(e, b, bytes);
    if (!to)
        return tsri_nomem(e->ctx);
    memcpy(to, data, bytes);
    b->bytes += bytes;
    return TSR_OK;
}

static tsr_error append_number(tsr_video_encoder *e, buffer *b, uint64_t v)
{
    uint8_t *to = room_for(e, b, TSRI_VARINT_MAX);

    if (!to)
        return tsri_nomem(e->ctx);
    b->bytes += tsri_put_varint(to, v);
    return TSR_OK;
}

static tsr_error emit_unit(void *cookie, int unit, const tsri_span *layers, int n)
{
    tsr_video_encoder *e = cookie;

    (void)unit;
    for (int i = 0; i < n; i++) {
        TSR_TRY(append_number(e, &e->packet, layers[i].bytes));
        TSR_TRY(append(e, &e->body, layers[i].data, layers[i].bytes));
    }
    return TSR_OK;
}

static tsr_error emit_band(void *cookie, int first_row, const uint8_t *data,
                           size_t size)
{
    tsr_video_encoder *e = cookie;

    (void)first_row;
    e->band_count++;
    TSR_TRY(append_number(e, &e->bands, size));
    return append(e, &e->body, data, size);
}

/* The parameters, and the codec ready for a frame with them. */
static tsr_error begin(tsr_video_encoder *e, double quality)
{
    tsri_image_head *h = &e->head.image;

    TSR_TRY(h->codec->choose(e->self, h->width, h->height, quality, 1,
                             h->params));
    return h->codec->begin(e->self, h->width, h->height, h->params, 0, &h->units);
}

static tsr_error make_packet(tsr_video_encoder *e, const tsr_image *image)
{
    const tsri_image_head *h = &e->head.image;
    uint8_t check[4];

    e->packet.bytes = e->body.bytes = e->bands.bytes = 0;
    e->band_count = 0;
    TSR_TRY(append_number(e, &e->packet, h->params_bytes));
    TSR_TRY(append(e, &e->packet, h->params, h->params_bytes));
    TSR_TRY(h->codec->encode(e->self, image, emit_unit, e, NULL));
    if (tsri_has_alpha(h->channels))
        TSR_TRY(tsri_alpha_encode(e->ctx, image, emit_band, e));
    TSR_TRY(append_number(e, &e->packet, e->band_count));
    TSR_TRY(append(e, &e->packet, e->bands.data, e->bands.bytes));
    TSR_TRY(append(e, &e->packet, e->body.data, e->body.bytes));
    tsri_put32(check, tsri_crc32c(0, e->packet.data, e->packet.bytes));
    return append(e, &e->packet, check, sizeof check);
}

static tsr_error check_frame(const tsr_video_encoder *e, const tsr_image *image,
                             double quality)
{
    const tsri_image_head *h = &e->head.image;

    if (!(quality <= 100))
        return tsri_fail(e->ctx, TSR_E_ARG, "quality must be 0..100");
    TSR_TRY(tsri_image_check(e->ctx, image));
    if (image->width != h->width || image->height != h->height ||
        image->channels != e->channels || image->bits != h->bits)
        return tsri_fail(e->ctx, TSR_E_ARG, "a frame of %dx%d, %d channels of %d "
                         "bits in a stream of %dx%d, %d of %d", image->width,
                         image->height, image->channels, image->bits, h->width,
                         h->height, e->channels, h->bits);
    return TSR_OK;
}

tsr_error tsr_video_encoder_encode(tsr_video_encoder *e, const tsr_image *image,
                                   double quality, const uint8_t **data,
                                   size_t *bytes)
{
    *data = NULL;
    *bytes = 0;
    TSR_TRY(check_frame(e, image, quality));
    if (e->head.image.codec->analyse)
        TSR_TRY(e->head.image.codec->analyse(e->self, image, NULL));
    TSR_TRY(begin(e, quality < 0 ? e->quality : quality));
    TSR_TRY(make_packet(e, image));
    *data = e->packet.data;
    *bytes = e->packet.bytes;
    return TSR_OK;
}

/* ---- opening ---- */

/* The caller's struct may be older and shorter than ours. */
static tsr_error take_settings(tsr_context *ctx, tsr_video_settings *own,
                               const tsr_video_settings *theirs)
{
    tsr_video_settings_init(own);
    memcpy(own, theirs, theirs->size < sizeof *own ? theirs->size : sizeof *own);
    if (!(own->quality >= 0 && own->quality <= 100))
        return tsri_fail(ctx, TSR_E_ARG, "quality must be 0..100");
    if (!tsri_video_info_possible(&own->info))
        return tsri_fail(ctx, TSR_E_ARG, "rate or aspect ratio has only one part, "
                         "or the range is neither limited nor full");
    return tsri_geometry_check(ctx, own->info.width, own->info.height,
                               own->info.channels, own->info.bits);
}

static void fill_head(tsr_video_encoder *e, const tsri_image_codec *codec,
                      const tsr_video_settings *settings)
{
    tsri_image_head *h = &e->head.image;

    tsri_head_init(h, codec, e->model);
    e->head.info = settings->info;
    e->channels = settings->info.channels;
    e->quality = settings->quality;
    h->width = settings->info.width;
    h->height = settings->info.height;
    h->bits = settings->info.bits;
    h->channels = tsri_coded_channels(e->channels, settings->lossless_alpha);
    e->extradata_bytes = tsri_video_extradata_put(&e->head, e->extradata);
}

static tsr_error open_all(tsr_video_encoder *e, const tsr_video_settings *theirs)
{
    const tsri_image_codec *codec;
    tsr_video_settings own;

    TSR_TRY(take_settings(e->ctx, &own, theirs));
    TSR_TRY(tsri_image_codec_of(e->ctx, e->model, &codec));
    fill_head(e, codec, &own);
    TSR_TRY(codec->open(&e->self, e->ctx, e->model));
    return begin(e, e->quality); /* whether the codec can do that size */
}

tsr_error tsr_video_encoder_open(tsr_video_encoder **out, tsr_context *context,
                                 tsr_model *model,
                                 const tsr_video_settings *settings)
{
    tsr_video_encoder *e = tsri_calloc(context, 1, sizeof *e);

    *out = NULL;
    if (!e)
        return tsri_nomem(context);
    e->ctx = context;
    e->model = tsr_model_ref(model);
    const tsr_error error = open_all(e, settings);
    if (error)
        tsr_video_encoder_close(&e);
    *out = e;
    return error;
}

void tsr_video_encoder_close(tsr_video_encoder **encoder)
{
    tsr_video_encoder *e = encoder ? *encoder : NULL;
    if (!e)
        return;
    if (e->self)
        e->head.image.codec->close(&e->self);
    tsri_free(e->ctx, e->packet.data);
    tsri_free(e->ctx, e->body.data);
    tsri_free(e->ctx, e->bands.data);
    tsr_model_unref(&e->model);
    tsri_free(e->ctx, e);
    *encoder = NULL;
}

void tsr_video_encoder_extradata(const tsr_video_encoder *encoder,
                                 const uint8_t **data, size_t *bytes)
{
    *data = encoder->extradata;
    *bytes = encoder->extradata_bytes;
}

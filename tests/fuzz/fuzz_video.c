/* SPDX-License-Identifier: BSD-2-Clause */
/* Extradata and packets of video, with a toy codec. */
#include "tests/fuzz/fuzz_model.h"
#include "tests/image_toy.h"
#include "codecs/image/video.h"

enum { SIDE_MAX = 24 };

static tsr_model *toy_file(void)
{
    static tsr_model *model;

    if (!model)
        model = fuzz_toy_model("toy");
    return model;
}

/* What is read can be written again; names are made printable. */
static void try_extradata(fuzz_input *in)
{
    uint8_t *data = fuzz_copy(in), again[TSR_VIDEO_EXTRADATA_MAX];
    tsri_video_head head;
    tsr_video_info info;
    tsr_video_decoder *d;

    const tsr_error error = tsri_video_extradata_get(fuzz_context(true), &head, data,
                                                     in->size);
    FUZZ_CHECK(tsr_video_describe(fuzz_context(true), data, in->size, &info) == error);
    FUZZ_CHECK(!error || error == TSR_E_CORRUPT);
    if (!error) {
        FUZZ_CHECK(tsri_video_extradata_put(&head, again) == in->size);
        FUZZ_CHECK(!memcmp(again, data, TSRI_VIDEO_HEAD_BYTES + 32));
        FUZZ_CHECK(info.width >= 1 && info.height >= 1 && info.channels >= 1 &&
                   info.channels <= 4 && (info.bits == 8 || info.bits == 16));
    }
    if (!tsr_video_decoder_open(&d, fuzz_context(true), toy_file(), data, in->size))
        FUZZ_CHECK(!error);
    tsr_video_decoder_close(&d);
    free(data);
}

static tsr_video_settings settings(fuzz_input *in)
{
    tsr_video_settings s;

    tsr_video_settings_init(&s);
    s.info.width = 1 + (int)fuzz_below(in, SIDE_MAX);
    s.info.height = 1 + (int)fuzz_below(in, SIDE_MAX);
    s.info.channels = 1 + (int)fuzz_below(in, 4);
    s.info.bits = fuzz_below(in, 2) ? 16 : 8;
    s.lossless_alpha = (int)fuzz_below(in, 4) > 0;
    return s;
}

typedef struct ends {
    tsr_video_encoder *e;
    tsr_video_decoder *d;
} ends;

static ends open_ends(const tsr_video_settings *s)
{
    const uint8_t *data;
    size_t bytes;
    ends x;

    FUZZ_CHECK(!tsr_video_encoder_open(&x.e, fuzz_context(true), toy_file(), s));
    tsr_video_encoder_extradata(x.e, &data, &bytes);
    FUZZ_CHECK(!tsr_video_decoder_open(&x.d, fuzz_context(true), toy_file(), data,
                                       bytes));
    return x;
}

static void close_ends(ends *x)
{
    tsr_video_encoder_close(&x->e);
    tsr_video_decoder_close(&x->d);
}

/* The packet in `in` as it is, and with the check made right. */
static void try_packet(const ends *x, const fuzz_input *in)
{
    const tsr_video_info *info = tsr_video_decoder_info(x->d);
    uint8_t *copy = fuzz_copy(in);
    tsr_image image;

    for (int sealed = 0; sealed < 2; sealed++) {
        if (sealed && in->size >= 4)
            tsri_put32(copy + in->size - 4, tsri_crc32c(0, copy, in->size - 4));
        const tsr_error error = tsr_video_decoder_decode(x->d, copy, in->size, &image);
        FUZZ_CHECK(!error || error == TSR_E_CORRUPT);
        FUZZ_CHECK(error || image.data);
        FUZZ_CHECK(!image.data || (image.width == info->width &&
                                   image.height == info->height));
    }
    free(copy);
}

/* Any bytes as a packet. */
static void try_bytes(fuzz_input *in)
{
    const tsr_video_settings s = settings(in);
    ends x = open_ends(&s);

    try_packet(&x, in);
    close_ends(&x);
}

/* A picture there and back, then its packet changed here and there. */
static void try_picture(fuzz_input *in)
{
    const tsr_video_settings s = settings(in);
    tsr_image im = { .width = s.info.width, .height = s.info.height,
                     .channels = s.info.channels, .bits = s.info.bits }, out;
    const double quality = (double)fuzz_below(in, 102) - 1;
    ends x = open_ends(&s);
    const uint8_t *data;
    size_t bytes;

    FUZZ_CHECK(!tsr_image_alloc(fuzz_context(true), &im));
    for (size_t i = 0; i < (size_t)im.height * im.stride; i++)
        ((uint8_t *)im.data)[i] = (uint8_t)fuzz_at(in, i);
    FUZZ_CHECK(!tsr_video_encoder_encode(x.e, &im, quality, &data, &bytes));
    FUZZ_CHECK(!tsr_video_decoder_decode(x.d, data, bytes, &out));
    if ((quality < 0 || quality >= 50) && im.bits == 8 && im.channels == 3)
        for (int y = 0; y < im.height; y++)
            FUZZ_CHECK(!memcmp((uint8_t *)im.data + (size_t)y * im.stride,
                               (uint8_t *)out.data + (size_t)y * out.stride,
                               (size_t)im.width * 3));
    fuzz_input packet = { data, bytes };
    uint8_t *changed = fuzz_copy(&packet);
    packet.data = changed;
    for (int i = 0; in->size && i < 6; i++)
        changed[fuzz_u16(in) % bytes] = (uint8_t)fuzz_u8(in);
    if (fuzz_u8(in) % 4 == 1)
        packet.size = fuzz_u16(in) % (bytes + 1);
    try_packet(&x, &packet);
    free(changed);
    tsr_image_free(fuzz_context(true), &im);
    close_ends(&x);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    const uint32_t mode = fuzz_u8(&in) % 3;

    if (mode == 0)
        try_extradata(&in);
    else if (mode == 1)
        try_bytes(&in);
    else
        try_picture(&in);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Files of pictures, with a toy codec: any bytes, in the container and in the
 * compact form, and pictures whose payloads were changed, with checksums made
 * right. */
#include "tests/fuzz/fuzz_model.h"
#include "tests/image_toy.h"
#include <tessera/image.h>
#include <tessera/stream.h>

enum { SIDE_MAX = 40, ROOM = 1 << 16, CHUNK_HEAD = 24 };

typedef struct file {
    uint8_t data[ROOM];
    size_t size, at;
} file;

static tsr_error put(void *cookie, const void *data, size_t size)
{
    file *f = cookie;

    if (size > sizeof f->data - f->size)
        return TSR_E_IO;
    memcpy(f->data + f->size, data, size);
    f->size += size;
    return TSR_OK;
}

static tsr_error give(void *cookie, void *data, size_t size, size_t *got)
{
    file *f = cookie;

    *got = f->size - f->at < size ? f->size - f->at : size;
    memcpy(data, f->data + f->at, *got);
    f->at += *got;
    return TSR_OK;
}

static tsr_model *toy_file(void)
{
    static tsr_model *model;

    if (!model)
        model = fuzz_toy_model("toy");
    return model;
}

static uint32_t sum_of(const tsr_image *im)
{
    uint32_t sum = 0;

    for (int y = 0; y < im->height; y++)
        sum = tsri_crc32c(sum, (const uint8_t *)im->data + (size_t)y * im->stride,
                          (size_t)(im->width * im->channels * im->bits / 8));
    return sum;
}

/* Probing and decoding tell the same. */
static tsr_error read_picture(file *f, uint32_t *sum)
{
    const tsr_source source = { f, give };
    tsr_context *ctx = fuzz_context(true);
    tsr_image_info info;
    tsr_image im;

    f->at = 0;
    const tsr_error seen = tsr_image_probe(ctx, &source, &info);
    f->at = 0;
    const tsr_error error = tsr_image_decode(ctx, toy_file(), NULL, &source, &im);
    FUZZ_CHECK(error != TSR_E_NOMEM && error != TSR_E_INTERNAL);
    FUZZ_CHECK(error || (!seen && im.data));
    if (im.data) {
        FUZZ_CHECK(!seen && im.width == info.width && im.height == info.height);
        FUZZ_CHECK(im.channels == info.channels && im.bits == info.bits);
        *sum = sum_of(&im);
    }
    tsr_image_free(ctx, &im);
    return error;
}

/* ---- pictures of ours ---- */

static void encode(file *f, fuzz_input *in, uint32_t *sum)
{
    tsr_image im = { .width = 1 + (int)fuzz_below(in, SIDE_MAX),
                     .height = 1 + (int)fuzz_below(in, SIDE_MAX),
                     .channels = 1 + (int)fuzz_below(in, 4),
                     .bits = fuzz_below(in, 2) ? 16 : 8 };
    const tsr_sink sink = { f, put };
    tsr_image_settings s;

    tsr_image_settings_init(&s);
    s.quality = fuzz_u8(in) % 101;
    s.container = fuzz_u8(in) % 4 > 0;
    s.lossless_alpha = fuzz_u8(in) % 4 > 0;
    FUZZ_CHECK(!tsr_image_alloc(fuzz_context(true), &im));
    for (size_t i = 0; i < (size_t)im.height * im.stride; i++)
        ((uint8_t *)im.data)[i] = (uint8_t)fuzz_at(in, i);
    FUZZ_CHECK(!tsr_image_encode(fuzz_context(true), toy_file(), &s, &im, &sink));
    *sum = sum_of(&im);
    const bool exact = im.bits == 8 && s.quality >= 50 &&
        (im.channels == 3 || (im.channels == 4 && s.lossless_alpha));
    tsr_image_free(fuzz_context(true), &im);
    uint32_t back = 0;
    FUZZ_CHECK(!read_picture(f, &back));
    FUZZ_CHECK(!exact || back == *sum);
}

/* The place of chunk i of the container, or 0. */
static size_t chunk_at(const file *f, uint32_t i)
{
    size_t at = 16;

    for (; at + CHUNK_HEAD + 4 < f->size &&
         tsri_get32(f->data + at) == TSR_FOURCC('T', 'S', 'R', 'K'); i--) {
        const size_t n = tsri_get32(f->data + at + 8);
        if (!i)
            return n && at + CHUNK_HEAD + n + 4 <= f->size ? at : 0;
        at += (CHUNK_HEAD + n + 4 + 7) / 8 * 8;
    }
    return 0;
}

/* Payloads are changed here and there. */
static void change(file *f, fuzz_input *in)
{
    for (int i = 0; i < 6 && in->size; i++) {
        const size_t at = chunk_at(f, fuzz_u8(in) % 8);
        if (!at) {      /* the compact form, or no such chunk */
            f->data[fuzz_u16(in) % f->size] ^= (uint8_t)fuzz_u8(in);
            continue;
        }
        const size_t n = tsri_get32(f->data + at + 8);
        uint8_t *payload = f->data + at + CHUNK_HEAD;
        payload[fuzz_u16(in) % n] = (uint8_t)fuzz_u8(in);
        tsri_put32(payload + n, tsri_crc32c(0, payload, n));
    }
}

void fuzz_target(const uint8_t *data, size_t size)
{
    static file f;
    fuzz_input in = { data, size };
    uint32_t sum = 0;

    f.size = 0;
    if (fuzz_u8(&in) % 2) {
        encode(&f, &in, &sum);
        change(&f, &in);
    } else if (put(&f, in.data, in.size)) {
        return;
    }
    (void)!read_picture(&f, &sum);
}

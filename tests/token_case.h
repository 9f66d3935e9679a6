/* SPDX-License-Identifier: BSD-2-Clause */
/* A small token model in a file, pictures for it, streams in memory. */
#ifndef TSR_TESTS_TOKEN_CASE_H
#define TSR_TESTS_TOKEN_CASE_H
#include <unistd.h>
#include <tessera/tokens.h>
#include "tests/memory.h"
#include "tests/token_model.h"

/** The last message of the library. */
static char token_message[1024];

static void token_remember(void *cookie, tsr_log_level level, const char *text)
{
    (void)cookie;
    if (level <= TSR_LOG_ERROR)
        snprintf(token_message, sizeof token_message, "%s", text);
}

/** max_memory 0: the default.  NULL: no such backend. */
static inline tsr_context *case_context(const char *backend, int threads,
                                         uint64_t max_memory)
{
    tsr_context_settings s;
    tsr_context *ctx = NULL;

    tsr_context_settings_init(&s);
    s.backend = backend;
    s.threads = threads;
    s.logger.log = token_remember;
    if (max_memory)
        s.max_memory = max_memory;
    const tsr_error error = tsr_context_open(&ctx, &s);
    assert_true(error == TSR_OK || error == TSR_E_UNSUPPORTED);
    return ctx;
}

/** A model of the list's tensors but number `skip`; the list stays. */
static inline tsr_model *token_open_list(tsr_context *ctx, check_tensors *list,
                                         size_t skip, const char *meta)
{
    char path[64];
    tsr_model *model;

    snprintf(path, sizeof path, "./token_case_%ld.safetensors",
             (long)getpid());
    check_tensors_write(list, skip, meta, path);
    assert_int_equal(tsr_model_open(&model, ctx, path), TSR_OK);
    assert_int_equal(remove(path), 0); /* it stays mapped */
    return model;
}

static inline tsr_model *token_open(tsr_context *ctx, const token_sizes *sizes,
                                    int simvq)
{
    check_tensors list = token_model(sizes, simvq, 5);
    tsr_model *model = token_open_list(ctx, &list, SIZE_MAX,
                                       simvq ? TOKEN_META_SIMVQ : TOKEN_META);
    check_tensors_free(&list);
    return model;
}

/** A smooth picture with some noise; free() its data. */
static inline tsr_image token_picture(int width, int height, int channels,
                                      int bits)
{
    const size_t sample = (size_t)bits / 8;
    tsr_image image = { width, height, channels, bits,
                        (size_t)width * (size_t)channels * sample + 2, NULL };
    check_rng rng = { (uint64_t)width * 65536 + (uint64_t)height };
    uint8_t *p = malloc(image.stride * (size_t)height);

    assert_non_null(p);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < channels; c++) {
                const int v = (int)(128 + 90 * sin(x * 0.05 * (c + 1) +
                                                   y * 0.03)) +
                              (int)check_below(&rng, 30);
                uint8_t *to = p + (size_t)y * image.stride +
                              (size_t)(x * channels + c) * sample;
                const uint16_t wide = (uint16_t)(v * 257);
                if (bits == 8)
                    *to = (uint8_t)v;
                else
                    memcpy(to, &wide, sizeof wide);
            }
    image.data = p;
    return image;
}

static inline tsr_sink token_sink(mem_file *file)
{
    return (tsr_sink){ file, mem_write };
}

static inline tsr_source token_source(mem_file *file)
{
    file->at = 0;
    return (tsr_source){ file, mem_read };
}

static inline tsr_image_settings token_settings(double quality, int interleave,
                                                int container)
{
    tsr_image_settings s;
    tsr_image_settings_init(&s);
    s.quality = quality;
    s.interleave = interleave;
    s.container = container;
    return s;
}

/** The stream of a picture; free() its data. */
static inline mem_file token_encode(tsr_context *ctx, tsr_model *model,
                                    const tsr_image_settings *s,
                                    const tsr_image *image)
{
    mem_file file = { .data = NULL };
    const tsr_sink sink = token_sink(&file);
    if (tsr_image_encode(ctx, model, s, image, &sink))
        fail_msg("%s", token_message);
    return file;
}

static inline tsr_image token_decode(tsr_context *ctx, tsr_model *model,
                                     mem_file *file, tsr_error want)
{
    const tsr_source source = token_source(file);
    tsr_image image;
    assert_int_equal(tsr_image_decode(ctx, model, NULL, &source, &image), want);
    return image;
}

/** Same geometry and same samples. */
static inline void token_same(const tsr_image *a, const tsr_image *b)
{
    assert_true(a->width == b->width && a->height == b->height &&
                a->channels == b->channels && a->bits == b->bits);
    const size_t row = (size_t)a->width * (size_t)a->channels *
                       (size_t)a->bits / 8;
    for (int y = 0; y < a->height; y++)
        assert_memory_equal((uint8_t *)a->data + (size_t)y * a->stride,
                            (uint8_t *)b->data + (size_t)y * b->stride, row);
}

static inline void token_same_file(const mem_file *a, const mem_file *b)
{
    assert_int_equal(a->size, b->size);
    assert_memory_equal(a->data, b->data, a->size);
}
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Models and pictures for which streams are made on a GPU and read without one,
 * and the tokens of a stream, of whatever codec. */
#ifndef TSR_TESTS_GPU_STREAMS_H
#define TSR_TESTS_GPU_STREAMS_H
#include "codecs/image/hyper.h"
#include "codecs/image/image.h"
#include "codecs/image/mcquic.h"
#include "codecs/image/token.h"
#include "lib/crc32c.h"
#include "tests/hyper_gen.h"
#include "tests/mcquic_model.h"
#include "tests/token_case.h"

static const char *const gpu_models[] = { "photo", "mosaic", "hyper", "mcquic",
                                          "vqgan", "simvq" };
enum { GPU_MODELS = 6, GPU_SHIPPED = 2 };

static inline tsr_model *gpu_model_file(tsr_context *ctx, const char *path)
{
    tsr_model *model;
    if (tsr_model_open(&model, ctx, path))
        fail_msg("%s", path);
    return model;
}

/** The model of this name: of the tree, or a toy of the codec. */
static inline tsr_model *gpu_model(tsr_context *ctx, const char *name)
{
    const token_sizes sizes = TOKEN_SIZES;
    const mcquic_sizes mcquic = { 16, 2, 3, { 64, 32, 16 } };
    char path[64];

    if (!strcmp(name, "vqgan") || !strcmp(name, "simvq"))
        return token_open(ctx, &sizes, *name == 's');
    if (!strcmp(name, "mcquic")) {
        check_tensors list = mcquic_model(&mcquic, 3);
        tsr_model *model = token_open_list(ctx, &list, SIZE_MAX,
                                           "\"tessera.codec\":\"mcquic\"");
        check_tensors_free(&list);
        return model;
    }
    if (!strcmp(name, "hyper")) {
        snprintf(path, sizeof path, "./gpu_hyper_%ld.safetensors",
                 (long)getpid());
        hyper_gen(path, 7);
        tsr_model *model = gpu_model_file(ctx, path);
        assert_int_equal(remove(path), 0);
        return model;
    }
    snprintf(path, sizeof path, "models/%s.safetensors", name);
    return gpu_model_file(ctx, check_path(path));
}

/** Tokens of a picture, in the order in which they lie. */
typedef struct gpu_tokens {
    int32_t *id;
    size_t n;
} gpu_tokens;

static inline void gpu_add(gpu_tokens *t, const void *from, size_t n, bool wide)
{
    t->id = realloc(t->id, (t->n + n + 1) * sizeof *t->id);
    assert_non_null(t->id);
    for (size_t i = 0; i < n; i++)
        t->id[t->n++] = wide ? ((const int32_t *)from)[i]
                             : ((const int16_t *)from)[i];
}

static inline gpu_tokens gpu_take(const tsri_image_codec *codec, void *self,
                                  int units)
{
    const tsri_token_codec *token = tsri_token_of(codec, self);
    gpu_tokens t = { NULL, 0 };

    if (token) {
        gpu_add(&t, token->grid.id, (size_t)token->grid.height *
                                        (size_t)token->grid.width, true);
    } else if (!strcmp(codec->id, "mcquic")) {
        const tsri_mcquic *m = self;
        for (int i = 0; i < m->shape.levels; i++)
            gpu_add(&t, m->level[i].codes.data, m->level[i].codes.plane *
                                                    (size_t)m->shape.m, true);
    } else {
        for (int i = 0; i < units; i++) {
            size_t n;
            const int16_t *unit = tsri_hyper_tokens(self, i, &n);
            gpu_add(&t, unit, n, false);
        }
    }
    return t;
}

/** The tokens of a stream, which must be whole; free() them. */
static inline gpu_tokens gpu_read(tsr_context *ctx, tsr_model *model,
                                  mem_file *file)
{
    const tsr_source source = token_source(file);
    tsri_image_read r;

    if (tsri_image_read_open(&r, ctx, model, &source) || r.parts.damage)
        fail_msg("%s", token_message);
    const gpu_tokens t = gpu_take(r.parts.codec, r.parts.self, r.parts.units);
    tsri_image_read_close(&r);
    return t;
}

/** Their check value, the same on every machine. */
static inline uint32_t gpu_crc(const gpu_tokens *t)
{
    uint32_t crc = 0;
    for (size_t i = 0; i < t->n; i++) {
        uint8_t number[4];
        tsri_put32(number, (uint32_t)t->id[i]);
        crc = tsri_crc32c(crc, number, sizeof number);
    }
    return crc;
}
#endif

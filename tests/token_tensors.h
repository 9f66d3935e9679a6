/* SPDX-License-Identifier: BSD-2-Clause */
/* What models of the token codecs may hold besides their nets and codewords:
 * orders, frequencies, nested levels and contexts, at random. */
#ifndef TSR_TESTS_TOKEN_TENSORS_H
#define TSR_TESTS_TOKEN_TENSORS_H
#include <unistd.h>
#include "tests/check.h"
#include "tests/tensors.h"
#include "codecs/image/token_book.h"

typedef struct token_plan {
    int codes, dim;
    int levels, size[TSRI_TOKEN_LEVELS];    /* size[0] is not used */
    bool order, frequency, context;
    uint32_t sum;               /* of the frequencies; 0: 2^20 */
    uint64_t seed;
} token_plan;

static inline int32_t *token_ints(check_tensors *list, const char *name, int n)
{
    const uint64_t dims[] = { (uint64_t)n };
    return check_tensors_add(list, name, "I32", 4, 1, dims);
}

static inline void token_order(check_tensors *list, const token_plan *p,
                               check_rng *rng)
{
    int32_t *place = token_ints(list, "tessera.order", p->codes);

    for (int i = 0; i < p->codes; i++) {
        const int j = (int)check_below(rng, (uint32_t)i + 1);
        place[i] = place[j];
        place[j] = i;
    }
}

/* Few are frequent, most are not. */
static inline void token_frequency(check_tensors *list, const token_plan *p,
                                   check_rng *rng)
{
    int32_t *weight = token_ints(list, "tessera.frequency", p->codes);
    uint32_t left = (p->sum ? p->sum : 1u << TSRI_TOKEN_BITS) -
                    (uint32_t)p->codes;

    for (int i = 0; i < p->codes; i++) {
        const uint32_t share = check_below(rng, 8) ? left / (uint32_t)p->codes
                                                   : left / 16;
        const uint32_t more = check_below(rng, share + 1);
        weight[i] = (int32_t)(1 + more);
        left -= more;
    }
    weight[check_below(rng, (uint32_t)p->codes)] += (int32_t)left;
}

/* Some of the starts of the level before, the first among them. */
static inline void token_level(check_tensors *list, const token_plan *p,
                               check_rng *rng, int j, int32_t *start, int n)
{
    char name[CHECK_NAME];
    const uint64_t dims[] = { (uint64_t)p->size[j], (uint64_t)p->dim };
    int want = p->size[j] - 1, kept = 1;

    for (int i = 1; i < n; i++)
        if (check_below(rng, (uint32_t)(n - i)) < (uint32_t)want) {
            start[kept++] = start[i];
            want--;
        }
    assert_int_equal(kept, p->size[j]);
    check_name(name, "tessera.level.%d.start", j);
    memcpy(token_ints(list, name, kept), start, (size_t)kept * sizeof *start);
    check_name(name, "tessera.level.%d.codewords", j);
    float *words = check_tensors_add(list, name, "F32", 4, 2, dims);
    for (int i = 0; i < kept * p->dim; i++)
        words[i] = check_float(rng);
}

static inline void token_context(check_tensors *list, int classes, check_rng *rng)
{
    const uint64_t n = (uint64_t)classes, dims[] = { 4, n + 1, n };
    int16_t *bias = check_tensors_add(list, "tessera.context.bias", "I16", 2, 1,
                                      dims + 2);
    int8_t *weight = check_tensors_add(list, "tessera.context.weight", "I8", 1, 3,
                                       dims);

    for (int i = 0; i < classes; i++)
        bias[i] = (int16_t)(check_below(rng, 301) - 150);
    for (uint64_t i = 0; i < 4 * (n + 1) * n; i++)
        weight[i] = (int8_t)check_u32(rng);
}

/** Appends the tensors of the plan. */
static inline void token_tensors(check_tensors *list, const token_plan *p)
{
    check_rng rng = { p->seed + 1 };
    int32_t *start = malloc((size_t)p->codes * sizeof *start);

    assert_non_null(start);
    for (int i = 0; i < p->codes; i++)
        start[i] = i;
    if (p->order)
        token_order(list, p, &rng);
    if (p->frequency)
        token_frequency(list, p, &rng);
    for (int j = 1; j < p->levels; j++)
        token_level(list, p, &rng, j, start, j > 1 ? p->size[j - 1] : p->codes);
    if (p->context)
        token_context(list, p->size[p->levels - 1], &rng);
    free(start);
}

/** Opens the tensors as a model, the file of which is gone then. */
static inline tsr_model *token_model(tsr_context *ctx, check_tensors *list)
{
    tsr_model *model;
    char path[64];

    snprintf(path, sizeof path, "./token_%ld.safetensors", (long)getpid());
    check_tensors_write(list, SIZE_MAX, NULL, path);
    const tsr_error error = tsr_model_open(&model, ctx, path);
    assert_int_equal(remove(path), 0); /* it stays mapped */
    assert_int_equal(error, TSR_OK);
    return model;
}

/** A book of a plan, and its codewords: tessera.codebook of the list. */
typedef struct token_case {
    tsr_context *ctx;
    check_tensors list;
    float *words;
    tsri_token_book *book;
} token_case;

static inline void token_case_open(token_case *c, tsr_context *ctx,
                                   const token_plan *p)
{
    const uint64_t dims[] = { (uint64_t)p->codes, (uint64_t)p->dim };
    check_rng rng = { p->seed + 2 };

    *c = (token_case){ .ctx = ctx };
    c->words = check_tensors_add(&c->list, "tessera.codebook", "F32", 4, 2, dims);
    for (int i = 0; i < p->codes * p->dim; i++)
        c->words[i] = check_float(&rng);
    token_tensors(&c->list, p);
    tsr_model *model = token_model(ctx, &c->list);
    assert_int_equal(tsri_token_book_open(&c->book, ctx, model, p->codes, p->dim,
                                          c->words), TSR_OK);
    tsr_model_unref(&model);
}

static inline void token_case_close(token_case *c)
{
    tsri_token_book_close(&c->book, c->ctx);
    check_tensors_free(&c->list);
}
#endif

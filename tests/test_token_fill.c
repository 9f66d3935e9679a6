/* SPDX-License-Identifier: BSD-2-Clause */
/* Lost tokens filled in: from their neighbours, and by the trained net. */
#include <math.h>
#include "tests/check.h"
#include "tests/poor.h"
#include "tests/token_tensors.h"
#include "codecs/image/token_fill.h"
#include "lib/weights.h"

enum { LOST = 7 };              /* any value but 0 */

/* A grid with its words and the vectors that come out. */
typedef struct field {
    tsri_near_grid grid;
    int32_t *id;
    uint8_t *lost;
    float *words;
    tsri_fmap z;
} field;

static void *room(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    assert_non_null(p);
    return p;
}

/* All known; the ids are random. */
static field field_new(check_rng *rng, int height, int width, int codes, int dim)
{
    const size_t n = (size_t)height * (size_t)width;
    field f = { .id = room(n, sizeof *f.id), .lost = room(n, 1),
                .words = room((size_t)(codes * dim), sizeof *f.words) };

    for (int i = 0; i < codes * dim; i++)
        f.words[i] = check_float(rng);
    for (size_t i = 0; i < n; i++)
        f.id[i] = (int32_t)check_below(rng, (uint32_t)codes);
    f.z = (tsri_fmap){ room(n * (size_t)dim, sizeof(float)), dim, height, width,
                       n, (size_t)width };
    f.grid = (tsri_near_grid){ f.id, f.lost, height, width, f.words, dim,
                               f.words + dim * (codes - 1) };
    return f;
}

static void field_free(field *f)
{
    free(f->id);
    free(f->lost);
    free(f->words);
    free(f->z.data);
}

/* What every test starts from: known vectors stand, holes are NaN and their
 * ids must not be used. */
static void prepare(field *f)
{
    for (size_t i = 0; i < f->z.plane; i++)
        for (int c = 0; c < f->grid.dim; c++)
            f->z.data[(size_t)c * f->z.plane + i] = f->lost[i] ? NAN :
                f->words[f->id[i] * f->grid.dim + c];
    for (size_t i = 0; i < f->z.plane; i++)
        f->id[i] = f->lost[i] ? INT32_MAX : f->id[i];
}

static float value(const field *f, int y, int x, int c)
{
    return f->z.data[(size_t)c * f->z.plane + (size_t)y * f->z.row + (size_t)x];
}

static void lose_random(field *f, check_rng *rng, uint32_t percent)
{
    for (size_t i = 0; i < f->z.plane; i++)
        f->lost[i] = check_below(rng, 100) < percent ? LOST : 0;
}

static void lose_rect(field *f, int y0, int x0, int y1, int x1)
{
    for (int y = y0; y < y1; y++)
        memset(f->lost + y * f->grid.width + x0, LOST, (size_t)(x1 - x0));
}

static void fill_near(tsr_context *ctx, field *f)
{
    prepare(f);
    assert_int_equal(tsri_near_fill(ctx, &f->grid, &f->z), TSR_OK);
}

static void all_are(const field *f, const float *word)
{
    for (int y = 0; y < f->grid.height; y++)
        for (int x = 0; x < f->grid.width; x++)
            for (int c = 0; c < f->grid.dim; c++)
                if (value(f, y, x, c) != word[c])
                    fail_msg("(%d, %d): %g, not %g", y, x,
                             (double)value(f, y, x, c), (double)word[c]);
}

static const int sizes[][2] = { { 1, 1 }, { 1, 2 }, { 3, 1 }, { 5, 4 },
                                { 16, 16 }, { 1, 40 }, { 33, 61 }, { 130, 7 } };
enum { SIZES = sizeof sizes / sizeof *sizes };

/* A field of one code comes back exactly, however it is torn. */
static void test_constant(void **state)
{
    tsr_context *ctx = check_context("c", 2);
    check_rng rng = { 1 };

    (void)state;
    for (int i = 0; i < SIZES; i++)
        for (uint32_t percent = 5; percent < 100; percent += 31) {
            field f = field_new(&rng, sizes[i][0], sizes[i][1], 9, 5);
            for (size_t k = 0; k < f.z.plane; k++)
                f.id[k] = 4;
            lose_random(&f, &rng, percent);
            f.lost[check_below(&rng, (uint32_t)f.z.plane)] = 0;
            fill_near(ctx, &f);
            all_are(&f, f.words + 4 * 5);
            field_free(&f);
        }
    tsr_context_close(&ctx);
}

/* Nothing known: the common code, everywhere. */
static void test_all_lost(void **state)
{
    tsr_context *ctx = check_context("c", 2);
    check_rng rng = { 2 };

    (void)state;
    for (int i = 0; i < SIZES; i++) {
        field f = field_new(&rng, sizes[i][0], sizes[i][1], 6, 4);
        memset(f.lost, LOST, f.z.plane);
        fill_near(ctx, &f);
        all_are(&f, f.grid.common);
        field_free(&f);
    }
    tsr_context_close(&ctx);
}

/* Codes that are points of a plane: (y, x) has vector (y, x, y + x) / 64. */
static field slope(check_rng *rng, int height, int width)
{
    field f = field_new(rng, height, width, height * width, 3);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const int at = y * width + x;
            f.id[at] = at;
            f.words[3 * at] = (float)y / 64;
            f.words[3 * at + 1] = (float)x / 64;
            f.words[3 * at + 2] = (float)(y + x) / 64;
        }
    return f;
}

static double slope_error(const field *f, int y, int x)
{
    return fmax(fabs((double)value(f, y, x, 0) - y / 64.0),
                fabs((double)value(f, y, x, 1) - x / 64.0));
}

/* Holes in a smooth field get what is at most a few tokens away. */
static void test_smooth(void **state)
{
    tsr_context *ctx = check_context("c", 2);
    check_rng rng = { 3 };

    (void)state;
    for (int n = 2; n <= 4; n *= 2) {       /* lattices */
        field f = slope(&rng, 30, 41);
        for (int y = 1; y < 30; y += n)
            for (int x = 1; x < 41; x += n)
                f.lost[y * 41 + x] = LOST;
        fill_near(ctx, &f);
        for (int y = 0; y < 30; y++)
            for (int x = 0; x < 41; x++)
                assert_true(slope_error(&f, y, x) <=
                            (f.lost[y * 41 + x] ? 1.01 / 64 : 0));
        field_free(&f);
    }
    field f = slope(&rng, 64, 64);          /* a region */
    lose_rect(&f, 20, 24, 44, 40);
    fill_near(ctx, &f);
    for (int y = 0; y < 64; y++)
        for (int x = 0; x < 64; x++)
            assert_true(slope_error(&f, y, x) <= 5.0 / 64);
    field_free(&f);
    tsr_context_close(&ctx);
}

/* Corners have only one side. */
static void test_corners(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng rng = { 4 };
    field f = slope(&rng, 20, 20);

    (void)state;
    lose_rect(&f, 0, 0, 3, 3);
    lose_rect(&f, 0, 19, 1, 20);
    lose_rect(&f, 15, 0, 20, 5);
    lose_rect(&f, 10, 10, 20, 20);
    fill_near(ctx, &f);
    assert_true(slope_error(&f, 0, 0) <= 4.0 / 64);
    assert_true(slope_error(&f, 0, 19) <= 1.01 / 64);
    assert_true(slope_error(&f, 19, 0) <= 8.0 / 64);
    assert_true(slope_error(&f, 19, 19) <= 14.0 / 64);
    field_free(&f);
    tsr_context_close(&ctx);
}

/* Nearer neighbours count more: those at the sides twice as much as those at the
 * corners. */
static void test_mean(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng rng = { 5 };
    field f = field_new(&rng, 3, 3, 2, 4);

    (void)state;
    memset(f.id, 0, 9 * sizeof *f.id);
    f.id[1] = 1;
    f.lost[4] = LOST;
    fill_near(ctx, &f);
    for (int c = 0; c < 4; c++)
        assert_true(fabsf(value(&f, 1, 1, c) - (5 * f.words[c] +
                                                f.words[4 + c]) / 6) < 1e-6f);
    field_free(&f);
    tsr_context_close(&ctx);
}

static void *kept(const field *f)
{
    const size_t bytes = f->z.plane * (size_t)f->grid.dim * sizeof(float);
    return memcpy(room(1, bytes), f->z.data, bytes);
}

/* Any mask: known vectors stand, holes are finite, threads do not matter. */
static void test_random(void **state)
{
    tsr_context *one = check_context("c", 1), *three = check_context("c", 3);
    check_rng rng = { 6 };

    (void)state;
    for (int i = 0; i < 40; i++) {
        const int h = 1 + (int)check_below(&rng, 70);
        const int w = 1 + (int)check_below(&rng, 70);
        const int dim = 1 + (int)check_below(&rng, 20);
        field f = field_new(&rng, h, w, 50, dim);
        lose_random(&f, &rng, 1 + check_below(&rng, 100));
        if (i % 2)
            lose_rect(&f, h / 3, w / 4, h - h / 3, w);
        fill_near(one, &f);
        float *first = kept(&f);
        for (size_t k = 0; k < f.z.plane; k++)
            for (int c = 0; c < dim; c++) {
                const float v = f.z.data[(size_t)c * f.z.plane + k];
                assert_true(fabsf(v) <= 1);
                if (!f.lost[k])
                    assert_true(v == f.words[f.id[k] * dim + c]);
            }
        fill_near(three, &f);
        assert_memory_equal(first, f.z.data, f.z.plane * (size_t)dim * 4);
        free(first);
        field_free(&f);
    }
    tsr_context_close(&one);
    tsr_context_close(&three);
}

static void test_nomem(void **state)
{
    tsr_context *ctx = poor_context("c", 1);
    check_rng rng = { 7 };
    field f = slope(&rng, 40, 40);
    tsr_error error = TSR_E_NOMEM;
    const int held = poor_held;
    int n;

    (void)state;
    lose_rect(&f, 5, 5, 30, 30);
    prepare(&f);
    for (n = 0; error; n++) {
        poor_left = n;
        error = tsri_near_fill(ctx, &f.grid, &f.z);
        assert_true(!error || error == TSR_E_NOMEM);
        assert_int_equal(poor_held, held);
    }
    assert_true(n > 1);
    poor_left = POOR_MANY;
    field_free(&f);
    tsr_context_close(&ctx);
}

/* ---- whole models ---- */

/* A book with a level of `choices` codes, and a net that chooses among them. */
typedef struct filler {
    token_plan plan;
    token_case book;
    int width, heads, hidden, blocks, side, choices;
} filler;

static void add_part(filler *f, check_rng *rng, float scale, float add,
                     const char *name, int rank, int a, int b, int c)
{
    const uint64_t dims[] = { (uint64_t)a, (uint64_t)b, (uint64_t)c };
    char full[CHECK_NAME];
    check_name(full, "tessera.fill.%s", name);
    float *to = check_tensors_add(&f->book.list, full, "F32", 4, rank, dims);
    for (size_t i = 0; i < check_dims(rank, dims); i++)
        to[i] = check_float(rng) * scale + add;
}

static void add_layer(filler *f, check_rng *rng, const char *name, int out, int in)
{
    char part[CHECK_NAME];
    check_name(part, "%s.weight", name);
    add_part(f, rng, 2 / sqrtf((float)in), 0, part, 2, out, in, 0);
    check_name(part, "%s.bias", name);
    add_part(f, rng, 0.2f, 0, part, 1, out, 0, 0);
}

static void add_norm(filler *f, check_rng *rng, const char *name)
{
    char part[CHECK_NAME];
    check_name(part, "%s.weight", name);
    add_part(f, rng, 0.3f, 1, part, 1, f->width, 0, 0);
    check_name(part, "%s.bias", name);
    add_part(f, rng, 0.3f, 0, part, 1, f->width, 0, 0);
}

static void add_block(filler *f, check_rng *rng, int i)
{
    const int span = 2 * f->side - 1;
    char name[CHECK_NAME];

    check_name(name, "block.%d.norm1", i);
    add_norm(f, rng, name);
    check_name(name, "block.%d.norm2", i);
    add_norm(f, rng, name);
    check_name(name, "block.%d.near", i);
    add_part(f, rng, 2, 0, name, 3, f->heads, span, span);
    check_name(name, "block.%d.qkv", i);
    add_layer(f, rng, name, 3 * f->width, f->width);
    check_name(name, "block.%d.out", i);
    add_layer(f, rng, name, f->width, f->width);
    check_name(name, "block.%d.up", i);
    add_layer(f, rng, name, f->hidden, f->width);
    check_name(name, "block.%d.down", i);
    add_layer(f, rng, name, f->width, f->hidden);
}

/* Codes of 5 numbers; windows of 8 x 8. */
static filler *filler_new(tsr_context *ctx)
{
    filler *f = room(1, sizeof *f);
    check_rng rng = { 9 };

    *f = (filler){ .plan = { .codes = 64, .dim = 5, .levels = 3,
                             .size = { 0, 30, 12 }, .order = true,
                             .frequency = true, .seed = 4 },
                   .width = 32, .heads = 2, .hidden = 40, .blocks = 2,
                   .side = 8, .choices = 30 };
    token_case_open(&f->book, ctx, &f->plan);
    add_layer(f, &rng, "in", f->width, f->plan.dim);
    add_part(f, &rng, 1, 0, "mask", 1, f->width, 0, 0);
    for (int i = 0; i < f->blocks; i++)
        add_block(f, &rng, i);
    add_norm(f, &rng, "norm");
    add_layer(f, &rng, "head", f->choices, f->width);
    return f;
}

static void filler_free(filler *f)
{
    token_case_close(&f->book);
    free(f);
}

static tsr_error filler_open(tsri_token_fill **fill, tsr_context *ctx, filler *f)
{
    tsr_model *model = token_model(f->book.ctx, &f->book.list);
    const tsr_error error = tsri_token_fill_open(fill, ctx, model, f->book.book);
    tsr_model_unref(&model);
    return error;
}

/* Fills a grid of the book's level `level`; z is NaN before. */
static void fill_grid(const tsri_token_fill *fill, const token_case *c, int level,
                      field *f)
{
    const tsri_token_grid g = { f->id, f->lost, f->grid.height, f->grid.width };

    for (size_t i = 0; i < f->z.plane * (size_t)f->grid.dim; i++)
        f->z.data[i] = NAN;
    assert_int_equal(tsri_token_fill_run(fill, c->book, level, &g, &f->z), TSR_OK);
}

/* A grid of random codes of a level, some of them lost. */
static field grid_new(check_rng *rng, const token_case *c, int level, int height,
                      int width, uint32_t percent)
{
    const int codes = tsri_token_book_size(c->book, level);
    field f = field_new(rng, height, width, codes, tsri_token_book_dim(c->book));

    memcpy(f.words, tsri_token_book_words(c->book, level),
           (size_t)(codes * f.grid.dim) * sizeof *f.words);
    f.grid.common = f.words + tsri_token_book_common(c->book, level) * f.grid.dim;
    lose_random(&f, rng, percent);
    for (size_t i = 0; i < f.z.plane; i++)
        f.id[i] = f.lost[i] ? -1 : f.id[i];
    return f;
}

/* Is a vector among those that means of the words can be? */
static bool is_mean(const field *f, size_t at, const float *words, int count)
{
    for (int c = 0; c < f->grid.dim; c++) {
        const float v = f->z.data[(size_t)c * f->z.plane + at];
        float low = words[c], high = words[c];
        for (int i = 1; i < count; i++) {
            low = fminf(low, words[i * f->grid.dim + c]);
            high = fmaxf(high, words[i * f->grid.dim + c]);
        }
        if (!(v >= low - 1e-6f && v <= high + 1e-6f))
            return false;
    }
    return true;
}

/* A model without a net does what the neighbours say. */
static void test_untrained(void **state)
{
    const token_plan plan = { .codes = 40, .dim = 6, .levels = 2,
                              .size = { 0, 11 }, .frequency = true };
    tsr_context *ctx = check_context("c", 2);
    check_rng rng = { 10 };
    tsri_token_fill *fill;
    token_case c;

    (void)state;
    token_case_open(&c, ctx, &plan);
    tsr_model *model = token_model(ctx, &c.list);
    assert_int_equal(tsri_token_fill_open(&fill, ctx, model, c.book), TSR_OK);
    assert_false(tsri_token_fill_trained(fill));
    for (int level = 0; level < 2; level++)
        for (uint32_t percent = 0; percent <= 100; percent += 50) {
            field f = grid_new(&rng, &c, level, 23, 31, percent);
            fill_grid(fill, &c, level, &f);
            float *first = kept(&f);
            for (size_t i = 0; i < f.z.plane; i++)
                if (!f.lost[i])
                    assert_true(f.z.data[i] == f.words[f.id[i] * 6]);
            fill_near(ctx, &f);
            assert_memory_equal(first, f.z.data, f.z.plane * 6 * sizeof *first);
            free(first);
            field_free(&f);
        }
    tsri_token_fill_close(&fill, ctx);
    tsri_token_fill_close(&fill, ctx);
    tsri_token_fill_close(NULL, ctx);
    tsr_model_unref(&model);
    token_case_close(&c);
    tsr_context_close(&ctx);
}

/* Holes get means of codes of the net's level unless all around is lost; known
 * tokens stand; threads do not matter. */
static void test_net(void **state)
{
    tsr_context *one = check_context("c", 1), *three = check_context("c", 3);
    check_rng rng = { 11 };
    tsri_token_fill *fill[2];

    (void)state;
    filler *net = filler_new(one);
    assert_int_equal(filler_open(fill, one, net), TSR_OK);
    assert_int_equal(filler_open(fill + 1, three, net), TSR_OK);
    assert_true(tsri_token_fill_trained(fill[0]));
    for (int i = 0; i < 24; i++) {
        const int h = i < 8 ? sizes[i][0] : 1 + (int)check_below(&rng, 40);
        const int w = i < 8 ? sizes[i][1] : 1 + (int)check_below(&rng, 40);
        field f = grid_new(&rng, &net->book, i % 3, h, w, 3 + 4 * (uint32_t)i);
        bool known = false;
        for (size_t k = 0; k < f.z.plane; k++)
            known = known || !f.lost[k];
        fill_grid(fill[0], &net->book, i % 3, &f);
        float *first = kept(&f);
        for (size_t k = 0; k < f.z.plane; k++) {
            if (!f.lost[k])
                assert_true(f.z.data[k] == f.words[f.id[k] * 5]);
            else if (i < 20 && known && (h <= 8 || w <= 8 || i < 12))
                assert_true(is_mean(&f, k, tsri_token_book_words(
                                        net->book.book, 1), 30));
            assert_true(isfinite(f.z.data[k]));
        }
        fill_grid(fill[1], &net->book, i % 3, &f);
        assert_memory_equal(first, f.z.data, f.z.plane * 5 * sizeof *first);
        free(first);
        field_free(&f);
    }
    tsri_token_fill_close(fill, one);
    tsri_token_fill_close(fill + 1, three);
    filler_free(net);
    tsr_context_close(&one);
    tsr_context_close(&three);
}

/* Against training/fill.py: the same holes get the same vectors. */
static void test_golden(void **state)
{
    tsr_context *ctx = check_context("c", 2);
    check_npy ids = check_npy_read("tests/vectors/fill/ids.npy");
    check_npy want = check_npy_read("tests/vectors/fill/z.npy");
    check_rng rng = { 12 };
    tsri_token_fill *fill;
    token_case c = { .ctx = ctx };
    tsr_model *model;

    (void)state;
    assert_int_equal(tsr_model_open(&model, ctx, check_path(
        "tests/vectors/fill/model.safetensors")), TSR_OK);
    assert_int_equal(tsri_tensor_floats(ctx, tsr_model_tensor(
        model, "tessera.codebook"), &c.words), TSR_OK);
    assert_int_equal(tsri_token_book_open(&c.book, ctx, model, 60, 4, c.words),
                     TSR_OK);
    assert_int_equal(tsri_token_fill_open(&fill, ctx, model, c.book), TSR_OK);
    const int h = (int)ids.shape[0], w = (int)ids.shape[1];
    assert_int_equal(want.count, h * w * 4);
    field f = field_new(&rng, h, w, 60, 4);
    for (size_t i = 0; i < f.z.plane; i++) {
        f.id[i] = (int32_t)((float *)ids.data)[i];
        f.lost[i] = f.id[i] < 0;
    }
    fill_grid(fill, &c, 0, &f);
    for (size_t i = 0; i < f.z.plane; i++)
        for (size_t k = 0; k < 4; k++)
            assert_true(fabsf(f.z.data[k * f.z.plane + i] -
                              ((float *)want.data)[i * 4 + k]) <= 1e-5f);
    field_free(&f);
    free(ids.data);
    free(want.data);
    tsri_token_fill_close(&fill, ctx);
    tsri_token_book_close(&c.book, ctx);
    tsri_free(ctx, c.words);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

/* ---- bad models ---- */

static check_tensor *part(filler *f, const char *name)
{
    char full[CHECK_NAME];
    check_tensor *t = check_tensors_find(&f->book.list, check_name(
        full, "tessera.fill.%s", name));
    assert_non_null(t);
    return t;
}

/* Bad in one way each. */
static void spoil(filler *f, const char *name, int how)
{
    check_tensor *t = part(f, name);
    char renamed[] = "not.here";

    switch (how) {
    case 0: memcpy(t->name, renamed, sizeof renamed); break;
    case 1: ((float *)t->data)[check_dims(t->rank, t->dims) / 2] = NAN; break;
    case 2: ((float *)t->data)[0] = INFINITY; break;
    case 3: memcpy(t->dtype, "I32", 4); break;
    case 4: t->dims[t->rank - 1]--; t->bytes = check_dims(t->rank, t->dims) * 4; break;
    case 5: t->dims[0]--; t->bytes = check_dims(t->rank, t->dims) * 4; break;
    }
}

static void test_hostile(void **state)
{
    static const char *const names[] = {
        "in.weight", "in.bias", "mask", "block.0.near", "block.1.near",
        "block.0.qkv.weight", "block.1.qkv.bias", "block.0.norm1.weight",
        "block.1.norm2.bias", "block.0.up.weight", "block.1.down.weight",
        "block.0.down.bias", "block.1.out.weight", "norm.weight", "norm.bias",
        "head.weight", "head.bias",
    };
    tsr_context *good = check_context("c", 1), *ctx = poor_context("c", 1);
    const int held = poor_held;
    tsri_token_fill *fill;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int how = 0; how < 6; how++) {
            /* without the first the model has no net, without the near of a
             * block there are fewer */
            if (how == 0 && (i == 0 || i == 4))
                continue;
            filler *f = filler_new(good);
            spoil(f, names[i], how);
            assert_int_equal(filler_open(&fill, ctx, f), TSR_E_SHAPE);
            assert_null(fill);
            assert_int_equal(poor_held, held);
            filler_free(f);
        }
    tsr_context_close(&ctx);
    tsr_context_close(&good);
}

/* Weights so large that all logits are NaN: what the neighbours say stands. */
static void test_overflow(void **state)
{
    tsr_context *ctx = check_context("c", 1);
    check_rng rng = { 13 };
    tsri_token_fill *fill;

    (void)state;
    filler *net = filler_new(ctx);
    check_tensor *t = part(net, "block.0.up.weight");
    for (size_t i = 0; i < t->bytes / 4; i++)
        ((float *)t->data)[i] = i % 2 ? 3e38f : -3e38f;
    assert_int_equal(filler_open(&fill, ctx, net), TSR_OK);
    field f = grid_new(&rng, &net->book, 0, 20, 20, 20);
    fill_grid(fill, &net->book, 0, &f);
    float *first = kept(&f);
    fill_near(ctx, &f);
    assert_memory_equal(first, f.z.data, f.z.plane * 5 * sizeof *first);
    free(first);
    field_free(&f);
    tsri_token_fill_close(&fill, ctx);
    filler_free(net);
    tsr_context_close(&ctx);
}

static void test_net_nomem(void **state)
{
    tsr_context *good = check_context("c", 1), *ctx = poor_context("c", 1);
    tsr_error error = TSR_E_NOMEM;
    tsri_token_fill *fill = NULL;
    check_rng rng = { 14 };
    const int held = poor_held;

    (void)state;
    filler *net = filler_new(good);
    for (int n = 0; error; n++) {
        poor_left = n;
        error = filler_open(&fill, ctx, net);
        assert_true(!error || (error == TSR_E_NOMEM && poor_held == held && !fill));
    }
    field f = grid_new(&rng, &net->book, 0, 40, 40, 20);
    lose_rect(&f, 0, 0, 30, 30);
    const tsri_token_grid g = { f.id, f.lost, 40, 40 };
    const int open = poor_held;
    int n = 0;
    for (error = TSR_E_NOMEM; error; n++) {
        poor_left = n;
        error = tsri_token_fill_run(fill, net->book.book, 0, &g, &f.z);
        assert_true(!error || error == TSR_E_NOMEM);
        assert_int_equal(poor_held, open);
    }
    assert_true(n > 3);
    poor_left = POOR_MANY;
    field_free(&f);
    tsri_token_fill_close(&fill, ctx);
    assert_int_equal(poor_held, held);
    filler_free(net);
    tsr_context_close(&ctx);
    tsr_context_close(&good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant), cmocka_unit_test(test_all_lost),
        cmocka_unit_test(test_smooth), cmocka_unit_test(test_corners),
        cmocka_unit_test(test_mean), cmocka_unit_test(test_random),
        cmocka_unit_test(test_nomem), cmocka_unit_test(test_untrained),
        cmocka_unit_test(test_net), cmocka_unit_test(test_golden),
        cmocka_unit_test(test_hostile), cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_net_nomem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

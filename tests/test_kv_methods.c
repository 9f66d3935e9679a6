/* SPDX-License-Identifier: BSD-2-Clause */
/* The published KV methods: their quantisers by hand-made examples, what comes
 * back from their units and how near, and bytes that nobody wrote. */
#include "tests/kv_tile.h"
#include "tests/tensors.h"

/* ---- a tile at work ---- */

enum { MOST_UNIT = 1 << 20 };

/* Memory of exactly the sizes asked for, so that a checker sees the ends. */
typedef struct job {
    const tsri_kv_method *m;
    tsri_kv_tile tile;
    uint8_t params[40];
    void *scratch;
    uint8_t *unit;
    size_t size, room;
} job;

static tsr_context *ctx;
static tsr_model *books;    /* a profile with tables and codebooks */

static bool set_params(job *j, const char *text)
{
    const tsr_kv_settings set = { .method = text, .profile = books };

    j->m = tsri_kv_method_name(text);
    assert_non_null(j->m);
    j->tile.params = j->params;
    return j->m->settings(ctx, &set, j->params) == TSR_OK;
}

static void start(job *j, const char *text, const tsri_kv_tile *tile)
{
    *j = (job){ .tile = *tile };
    j->tile.profile = books;
    assert_true(set_params(j, text));
    /* As of a tile of which only the size is known. */
    tsri_kv_tile any = j->tile;
    any.first = any.total = 0;
    any.boost = NULL;
    const size_t n = j->m->scratch(&any);
    assert_int_equal(j->m->scratch(&j->tile), n);
    j->scratch = aligned_alloc(64, (n + 63) / 64 * 64);
    j->room = j->m->bound(&any);
    j->unit = malloc(j->room);
    assert_true(j->scratch && j->unit);
}

static void stop(job *j)
{
    free(j->scratch);
    free(j->unit);
}

static size_t value_bytes(const job *j)
{
    return j->m->raw ? tsri_kv_dtype_bytes(j->tile.dtype) : sizeof(float);
}

static void encode(job *j, unsigned cpu, const void *x)
{
    const size_t bytes = tsri_kv_values(&j->tile) * value_bytes(j);
    void *copy = malloc(bytes);

    memcpy(copy, x, bytes);
    j->size = j->m->encode(&j->tile, cpu, copy, j->unit, j->scratch);
    assert_in_range(j->size, 1, j->room);
    free(copy);
}

/* The unit in a block of its own size. */
static tsr_error decode(const job *j, unsigned cpu, size_t size, void *x)
{
    uint8_t *exact = malloc(size ? size : 1);

    memcpy(exact, j->unit, size);
    const tsr_error error = j->m->decode(&j->tile, cpu, exact, size, x,
                                         j->scratch);
    free(exact);
    return error;
}

/* Of all methods that take floats: how, and how near they come by their
 * definition: half a step of the coarsest, and what rounding adds. */
static const struct lossy { const char *text; double error; } lossy[] = {
    { "fp8", 1. / 16 }, { "fp8:exponent=5,plain=1", 1. / 8 },
    { "cachegen", 1.001 / 14 }, { "cachegen:level=1", 1.001 / 10 },
    { "cachegen:bins=256,plain=1", 1.001 / 254 },
    { "kivi", 1.002 / 3 }, { "kivi:bits=4,residual=32", 1.002 / 15 },
    { "kivi:bits=4,group=40,residual=0,plain=1", 1.002 / 15 },
    { "zipcache", 1.01 / 15 }, { "zipcache:salient=2,plain=1", 1.01 / 3 },
    { "mikv", 1.3 / 255 }, { "mikv:salient=1", 1.01 },
    /* These have no such bound: tests of their own say more. */
    { "kvquant:first=0", 0.25 }, { "kvquant:bits=3,outliers=10", 0.4 },
    { "kvquant:bits=2,outliers=0,plain=1", 0.5 },
    { "gear", 0.4 }, { "gear:bits=4,sparse=20", 0.1 },
    { "gear:rank=0,sparse=0,group=5", 1.002 / 3 },
    { "turboquant", 0.3 }, { "turboquant:keys=2,values=3,plain=1", 0.8 }
};
enum { LOSSY = sizeof lossy / sizeof *lossy };

static const struct shape { int heads, dim, tokens; } shapes[] = {
    { 2, 64, 200 }, { 1, 64, 1 }, { 3, 16, 37 }, { 1, 128, 288 }, { 2, 8, 513 }
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void test_near(void **state)
{
    check_rng r = { 1 };
    (void)state;

    for (int i = 0; i < LOSSY * SHAPES * 2; i++) {
        const struct shape *s = &shapes[i / 2 % SHAPES];
        tsri_kv_tile tile = kv_tile(s->heads, s->dim, s->tokens);
        job j;
        tile.plane = i % 2;
        start(&j, lossy[i / 2 / SHAPES].text, &tile);
        const size_t n = tsri_kv_values(&tile);
        float *x = kv_draw(&r, &tile), *y = malloc(n * sizeof *y);
        encode(&j, ctx->cpu, x);
        assert_int_equal(decode(&j, ctx->cpu, j.size, y), TSR_OK);
        const double error = kv_worst(x, y, n);
        if (error > lossy[i / 2 / SHAPES].error)
            fail_msg("%s: %d x %d, %d tokens: %g", lossy[i / 2 / SHAPES].text,
                     s->heads, s->dim, s->tokens, error);
        free(x);
        free(y);
        stop(&j);
    }
}

/* The same bytes and values without vector instructions. */
static void test_plain(void **state)
{
    check_rng r = { 2 };
    const tsri_kv_tile tile = kv_tile(2, 64, 160);
    const size_t n = tsri_kv_values(&tile);
    float *x = kv_draw(&r, &tile), *y = malloc(n * sizeof *y);
    float *z = malloc(n * sizeof *z);
    (void)state;

    for (int i = 0; i < LOSSY; i++) {
        job a, b;
        start(&a, lossy[i].text, &tile);
        start(&b, lossy[i].text, &tile);
        encode(&a, ctx->cpu, x);
        encode(&b, 0, x);
        assert_int_equal(a.size, b.size);
        assert_memory_equal(a.unit, b.unit, a.size);
        assert_int_equal(decode(&a, ctx->cpu, a.size, y), TSR_OK);
        assert_int_equal(decode(&a, 0, a.size, z), TSR_OK);
        assert_memory_equal(y, z, n * sizeof *y);
        stop(&a);
        stop(&b);
    }
    free(x);
    free(y);
    free(z);
}

static void test_zeros(void **state)
{
    const tsri_kv_tile tile = kv_tile(2, 32, 130);
    const size_t n = tsri_kv_values(&tile);
    float *x = calloc(n, sizeof *x), *y = malloc(n * sizeof *y);
    (void)state;

    for (int i = 0; i < LOSSY; i++) {
        job j;
        start(&j, lossy[i].text, &tile);
        encode(&j, ctx->cpu, x);
        memset(y, 0xff, n * sizeof *y);
        assert_int_equal(decode(&j, ctx->cpu, j.size, y), TSR_OK);
        for (size_t k = 0; k < n; k++)
            assert_true(y[k] == 0);
        stop(&j);
    }
    free(x);
    free(y);
}

/* Every changed byte is refused or gives other values, nothing worse. */
static void mutate(job *j, check_rng *r, void *y)
{
    const size_t size = j->size;
    uint8_t *good = malloc(size);

    memcpy(good, j->unit, size);
    for (int i = 0; i < 60; i++) {
        const uint32_t changes = 1 + check_below(r, 4);
        for (uint32_t k = 0; k < changes; k++) {
            const uint32_t span = check_below(r, 3) ? (uint32_t)size : 64;
            const size_t at = check_below(r, span);
            if (at < size)
                j->unit[at] = check_below(r, 2) ? (uint8_t)check_u32(r)
                                                : (uint8_t)(j->unit[at] ^ 1u <<
                                                            check_below(r, 8));
        }
        (void)!decode(j, ctx->cpu, size, y);
        memcpy(j->unit, good, size);
        assert_int_not_equal(decode(j, ctx->cpu,
                                    check_below(r, (uint32_t)size), y), TSR_OK);
    }
    free(good);
}

static void test_hostile(void **state)
{
    check_rng r = { 3 };
    (void)state;

    for (int i = 0; i < LOSSY * SHAPES; i++) {
        const struct shape *s = &shapes[i % SHAPES];
        tsri_kv_tile tile = kv_tile(s->heads, s->dim, s->tokens);
        tile.plane = i & 1;
        job j;
        start(&j, lossy[i / SHAPES].text, &tile);
        float *x = kv_draw(&r, &tile);
        encode(&j, ctx->cpu, x);
        mutate(&j, &r, x);
        free(x);
        stop(&j);
    }
}

/* ---- names and options ---- */

static void test_registry(void **state)
{
    (void)state;

    for (int i = 0; tsri_kv_method_index(i); i++) {
        const tsri_kv_method *m = tsri_kv_method_index(i);
        const tsr_kv_shape shape = { 12, 2, { 2, 2 }, { 64, 64 } };
        uint8_t params[40];
        char text[40];
        assert_ptr_equal(tsri_kv_method_number(m->number), m);
        assert_ptr_equal(tsri_kv_method_name(m->name), m);
        assert_in_range(m->number, 1, 255);
        assert_in_range(strlen(m->name), 1, 15);
        assert_true(m->tile >= 32 && m->tile <= 4096 && m->tile % 32 == 0);
        snprintf(text, sizeof text, "%s:", m->name);
        assert_ptr_equal(tsri_kv_method_name(text), m);
        text[strlen(m->name)] = 0;
        const tsr_kv_settings set = { .method = text, .profile = books };
        assert_int_equal(m->settings(ctx, &set, params), TSR_OK);
        assert_int_equal(m->check(params, &shape), TSR_OK);
        /* The first option of each is small, none has the last. */
        for (int k = 1; k < 40; k += 38) {
            params[k] ^= 0xff;
            assert_int_equal(m->check(params, &shape), TSR_E_CORRUPT);
            params[k] ^= 0xff;
        }
    }
    assert_null(tsri_kv_method_index(-1));
    assert_null(tsri_kv_method_name("rows"));
    assert_null(tsri_kv_method_name("fp"));
    assert_null(tsri_kv_method_name(""));
    assert_null(tsri_kv_method_number(0));
}

static void test_options(void **state)
{
    static const char *const bad[] = {
        "fp8:", "fp8:exponent", "fp8:exponent=", "fp8:exponent=3",
        "fp8:exponent=4,", "fp8:exponent=4x", "fp8:exponents=4", "fp8:=4",
        "fp8:exponent=nan", "cachegen:bins=2", "cachegen:bins=9",
        "cachegen:level=5", "cachegen:bins=1000000000000000", "lossless:a=1",
        "kivi:bits=3", "gear:sparse=20.5", "gear:group=-1", "vq"
    };
    tsr_context *quiet;
    job j;
    (void)state;

    assert_int_equal(tsr_context_open(&quiet, NULL), TSR_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const tsr_kv_settings set = {
            .method = bad[i], .shape = { 1, 1, { 1, 0 }, { 8, 0 } }
        };
        const tsri_kv_method *m = tsri_kv_method_name(bad[i]);
        assert_int_equal(m->settings(quiet, &set, j.params),
                         strcmp(bad[i], "vq") ? TSR_E_ARG : TSR_E_MODEL);
    }
    tsr_context_close(&quiet);
    assert_true(set_params(&j, "cachegen:bins=12,level=3"));
    assert_int_equal(tsri_kv_option_at(j.params, 0), 3);
    assert_int_equal(tsri_kv_option_at(j.params, 1), 12);
}

/* ---- groups: KIVI, ZipCache, GEAR ---- */

/* Codes a tile and gets it back. */
static void there_and_back(const char *text, const tsri_kv_tile *tile,
                           const float *x, float *y)
{
    job j;

    start(&j, text, tile);
    encode(&j, ctx->cpu, x);
    memset(y, 0xff, tsri_kv_values(tile) * sizeof *y);
    assert_int_equal(decode(&j, ctx->cpu, j.size, y), TSR_OK);
    stop(&j);
}

static void test_kivi_quantiser(void **state)
{
    /* Scale 1, base 0; 1.5 and 2.5 go to the even 2. */
    static const float row[8] = { 0, 1, 2, 3, 0.4f, 1.5f, 2.5f, 2.6f };
    static const float want[8] = { 0, 1, 2, 3, 0, 2, 2, 3 };
    tsri_kv_tile tile = kv_tile(1, 16, 1);
    float x[16], y[16];
    (void)state;

    tile.plane = 1;
    for (int i = 0; i < 16; i++)
        x[i] = i < 8 ? row[i] : 5;
    there_and_back("kivi:group=8,residual=0", &tile, x, y);
    for (int i = 0; i < 16; i++)
        assert_true(y[i] == (i < 8 ? want[i] : 5));
    /* The same down two channels of keys. */
    tile = kv_tile(1, 2, 8);
    for (int i = 0; i < 16; i++)
        x[i] = i % 2 ? 5 : row[i / 2];
    there_and_back("kivi:group=8,residual=0", &tile, x, y);
    for (int i = 0; i < 16; i++)
        assert_true(y[i] == (i % 2 ? 5 : want[i / 2]));
}

static void test_kivi_residual(void **state)
{
    check_rng r = { 10 };
    (void)state;

    /* Of 300 tokens, 44 keys wait for 128 to be there; 128 values are kept. */
    for (int plane = 0; plane < 2; plane++)
        for (int first = 0; first < 300; first += 100) {
            tsri_kv_tile tile = kv_tile(1, 8, 100);
            tile.plane = plane;
            tile.first = (uint64_t)first;
            tile.total = 300;
            float *x = kv_draw(&r, &tile), *y = malloc(800 * sizeof *y);
            there_and_back("kivi", &tile, x, y);
            for (int t = 0; t < 100; t++)
                assert_int_equal(!memcmp(x + 8 * t, y + 8 * t, 8 * sizeof *y),
                                 first + t >= (plane ? 172 : 256));
            free(x);
            free(y);
        }
}

static void test_zipcache(void **state)
{
    /* Channels over 4 and 1: {1, 1} and {-4, 0.5}, exact with one bit. */
    static const float x[4] = { 4, 1, -16, 0.5f };
    static const uint8_t boost[8] = { 0, 1, 0, 0, 3, 0, 0, 7 };
    tsri_kv_tile tile = kv_tile(1, 2, 2);
    check_rng r = { 11 };
    float y[4];
    (void)state;

    tile.plane = 1;
    there_and_back("zipcache:salient=1", &tile, x, y);
    assert_memory_equal(x, y, sizeof x);
    tile = kv_tile(2, 32, 8);
    tile.boost = boost;
    for (int i = 0; i < 4; i++) {
        tile.plane = i & 1;
        float *a = kv_draw(&r, &tile), *b = malloc(512 * sizeof *b);
        double error[2] = { 0, 0 };
        there_and_back(i < 2 ? "zipcache:salient=8,others=1"
                             : "mikv:others=1", &tile, a, b);
        for (int t = 0; t < 8; t++) {
            const double e = kv_worst(a + 64 * t, b + 64 * t, 64);
            error[boost[t] > 0] = fmax(error[boost[t] > 0], e);
        }
        assert_true(error[1] < 0.02 && error[0] > 0.1);
        free(a);
        free(b);
    }
}

static void test_gear(void **state)
{
    tsri_kv_tile tile = kv_tile(2, 16, 96);
    const size_t n = tsri_kv_values(&tile);
    check_rng r = { 12 };
    float *y = malloc(n * sizeof *y);
    (void)state;

    for (tile.plane = 0; tile.plane < 2; tile.plane++) {
        float *x = kv_draw(&r, &tile);
        double before = 1;
        char text[40];
        for (int rank = 0; rank <= 16; rank += 4) {
            snprintf(text, sizeof text, "gear:sparse=0,rank=%d", rank);
            there_and_back(text, &tile, x, y);
            double error = 0;
            for (size_t i = 0; i < n; i++)
                error += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
            assert_true(rank == 0 || error < before);
            before = error;
        }
        assert_true(kv_worst(x, y, n) < 0.002);    /* all 16 directions */
        for (size_t i = 0; i < n; i += 16)      /* one of each 16, and not */
            x[i] = 1000;                        /* seen by the others */
        there_and_back("gear:bits=4,rank=0,sparse=13", &tile, x, y);
        for (size_t i = 0; tile.plane && i < n; i++)
            assert_true(i % 16 ? fabsf(x[i] - y[i]) < 5 : y[i] == 1000);
        free(x);
    }
    free(y);
}

static void test_sparse(void **state)
{
    check_rng r = { 13 };
    float x[200], work[100];
    uint8_t mask[200];
    (void)state;

    for (int round = 0; round < 300; round++) {
        const size_t n = 1 + check_below(&r, 100);
        const size_t few = check_below(&r, (uint32_t)n / 2 + 1);
        size_t marked = 0;
        for (size_t i = 0; i < 2 * n; i++)
            x[i] = (float)(int)check_below(&r, round % 3 ? 1000 : 5);
        memset(mask, 0, sizeof mask);
        tsri_kv_sparse_mark(x, n, 2, few, mask, work);
        for (size_t i = 0; i < n; i++) {
            size_t below = 0, above = 0;
            for (size_t k = 0; k < n; k++) {
                below += x[2 * k] < x[2 * i];
                above += x[2 * k] > x[2 * i];
            }
            marked += mask[2 * i];
            assert_int_equal(mask[2 * i + 1], 0);
            if (below + 1 + above == n) /* no other is equal */
                assert_int_equal(mask[2 * i], below < few || above < few);
            else if (mask[2 * i])
                assert_true(below < few || above < few);
        }
        assert_int_equal(marked, 2 * few);
    }
}

/* ---- KVQuant, TurboQuant, codebooks ---- */

static void test_kvquant(void **state)
{
    tsri_kv_tile tile = kv_tile(1, 64, 5);
    float x[320], y[320];
    (void)state;

    /* Values of four levels come back, the one that is far out too; in layer
     * 3, values are the profile's levels times 2. */
    for (int plane = 0; plane < 2; plane++)
        for (int layer = 3; layer < 5; layer++) {
            static const float level[4] = { -2, -0.5f, 0.5f, 2 };
            tile.plane = plane;
            tile.layer = layer;
            for (int i = 0; i < 320; i++)
                x[i] = level[(i + i / 64) % 4];
            there_and_back("kvquant:bits=2,outliers=0,first=0", &tile, x, y);
            if (plane)
                assert_memory_equal(x, y, sizeof x);
            x[70] = 100;
            x[71] = -90;
            there_and_back("kvquant:bits=2,outliers=4,first=0", &tile, x, y);
            if (plane)
                assert_memory_equal(x, y, sizeof x);
        }
    /* The first tokens are as they are. */
    tile.first = 2;
    x[0] = 1.2345678f;
    tile.dtype = TSR_KV_F32;
    there_and_back("kvquant:first=3", &tile, x, y);
    assert_memory_equal(x, y, 64 * sizeof *x);
    tile.first = 3;
    there_and_back("kvquant:first=3,bits=2", &tile, x, y);
    assert_memory_not_equal(x, y, 64 * sizeof *x);
}

/* Max's mean squared errors of a Gaussian. */
static void test_turboquant(void **state)
{
    static const double want[] = { 0.1175, 0.03454, 0.009497 };
    const tsri_kv_tile tile = kv_tile(2, 128, 256);
    const size_t n = tsri_kv_values(&tile);
    check_rng r = { 14 };
    float *x = kv_draw(&r, &tile), *y = malloc(n * sizeof *y);
    (void)state;

    for (int bits = 2; bits <= 4; bits++) {
        double error = 0, energy = 0;
        char text[40];
        snprintf(text, sizeof text, "turboquant:keys=%d", bits);
        there_and_back(text, &tile, x, y);
        for (size_t i = 0; i < n; i++) {
            const double e = (double)x[i] - (double)y[i];
            error += e * e;
            energy += (double)x[i] * (double)x[i];
        }
        assert_true(fabs(error / energy / want[bits - 2] - 1) < 0.05);
    }
    free(x);
    free(y);
}

static void test_turboquant_dim(void **state)
{
    tsr_kv_settings set = { .method = "turboquant",
                            .shape = { 1, 2, { 2, 2 }, { 48, 48 } } };
    uint8_t params[40];
    tsr_context *quiet;
    (void)state;

    assert_int_equal(tsr_context_open(&quiet, NULL), TSR_OK);
    assert_int_equal(tsri_kv_turboquant.settings(quiet, &set, params),
                     TSR_E_ARG);
    set.shape.dim[0] = 64;
    assert_int_equal(tsri_kv_turboquant.settings(quiet, &set, params), TSR_OK);
    set.shape.dim[0] = 48;
    assert_int_equal(tsri_kv_turboquant.check(params, &set.shape),
                     TSR_E_CORRUPT);
    tsr_context_close(&quiet);
}

/* Sums of a word of each stage are found again, and what is near. */
static void test_vq(void **state)
{
    static const struct {
        int layer, plane;
        const char *name, *method;
        size_t size;            /* 0: any */
    } of[] = {
        { 3, 0, "vq.3.0", "vq", 0 },
        { 3, 0, "vq.3.0", "vq:plain=1", 1 + 50 * 16 * 5 / 8 },
        { 3, 1, "vq.3.1", "vq", 0 }, { 4, 0, "vq.4.0", "vq", 0 }
    };
    tsri_kv_tile tile = kv_tile(2, 64, 50);
    const size_t n = tsri_kv_values(&tile);
    check_rng r = { 15 };
    float *x = malloc(n * sizeof *x), *y = malloc(n * sizeof *y);
    (void)state;

    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        const tsr_tensor *t = tsr_model_tensor(books, of[i].name);
        const uint64_t *dims = t->dims + t->rank - 3;
        const size_t d = (size_t)dims[2], k = (size_t)dims[1];
        job j;
        tile.layer = of[i].layer;
        tile.plane = of[i].plane;
        for (size_t v = 0; v < n / d; v++) {
            const size_t word = (v % (size_t)dims[0] * k +
                                 check_below(&r, (uint32_t)k)) * d;
            for (size_t c = 0; c < d; c++)
                x[v * d + c] = tsri_getf32((const uint8_t *)t->data +
                                           4 * (word + c));
        }
        start(&j, of[i].method, &tile);
        encode(&j, ctx->cpu, x);
        assert_true(!of[i].size || j.size == of[i].size);
        assert_int_equal(decode(&j, ctx->cpu, j.size, y), TSR_OK);
        if (t->rank == 3)
            assert_memory_equal(x, y, n * sizeof *x);
        else
            assert_true(kv_worst(x, y, n) < 1);
        mutate(&j, &r, y);
        stop(&j);
    }
    free(x);
    free(y);
}

static void test_vq_missing(void **state)
{
    tsri_kv_tile tile = kv_tile(2, 64, 4);
    float x[512] = { 0 };
    uint8_t byte = 0;
    (void)state;

    tile.params = (const uint8_t[40]){ 0 };
    for (tile.layer = 5; tile.layer < 7; tile.layer++) {
        tile.profile = books;
        assert_int_equal(tsri_kv_vq.bound(&tile), 0);
        assert_int_equal(tsri_kv_vq.encode(&tile, 0, x, &byte, NULL), 0);
        assert_int_equal(tsri_kv_vq.decode(&tile, 0, &byte, 1, x, NULL),
                         TSR_E_CORRUPT);
        tile.profile = NULL;
        assert_int_equal(tsri_kv_vq.encode(&tile, 0, x, &byte, NULL), 0);
    }
}

/* ---- what keeps all bits ---- */

static void test_fp8(void **state)
{
    check_rng r = { 6 };
    const tsri_kv_tile tile = kv_tile(2, 16, 70);
    const size_t n = tsri_kv_values(&tile);
    float *x = kv_draw(&r, &tile), *y = malloc(n * sizeof *y);
    uint8_t *f8 = malloc(n);
    (void)state;

    for (int i = 0; i < 4; i++) {
        job j;
        start(&j, i == 0 ? "fp8" : i == 1 ? "fp8:plain=1"
                : i == 2 ? "fp8:exponent=5" : "fp8:exponent=5,plain=1", &tile);
        const tsr_kv_dtype type = i < 2 ? TSR_KV_E4M3 : TSR_KV_E5M2;
        float want;
        encode(&j, ctx->cpu, x);
        assert_int_equal(decode(&j, ctx->cpu, j.size, y), TSR_OK);
        tsri_kv_to_dtype(type, 0, x, n, f8);
        for (size_t k = 0; k < n; k++) {
            tsri_kv_from_dtype(type, 0, f8 + k, 1, &want);
            assert_true(y[k] == want);
        }
        if (i & 1)
            assert_int_equal(j.size, n + 1);
        stop(&j);
    }
    free(x);
    free(y);
    free(f8);
}

/* Cache-like values, zeros, the least and the largest, and any bits at all. */
static void lossless(check_rng *r, tsr_kv_dtype dtype, const struct shape *s,
                     int kind)
{
    tsri_kv_tile tile = kv_tile(s->heads, s->dim, s->tokens);
    tile.dtype = dtype;
    const size_t n = tsri_kv_values(&tile);
    const size_t bytes = n * tsri_kv_dtype_bytes(dtype);
    float *x = kv_draw(r, &tile);
    uint8_t *in = malloc(bytes), *back = malloc(bytes);
    job j;

    for (size_t i = 0; kind == 1 && i < n; i++)
        x[i] = check_below(r, 3) ? 0 : -x[i];
    for (size_t i = 0; kind == 2 && i < n; i++)
        x[i] = ldexpf(check_float(r), (int)check_below(r, 60) - 40);
    tsri_kv_to_dtype(dtype, 0, x, n, in);
    for (size_t i = 0; kind == 3 && i < bytes; i++)
        in[i] = (uint8_t)check_u32(r);
    start(&j, "lossless", &tile);
    encode(&j, ctx->cpu, in);
    assert_int_equal(decode(&j, ctx->cpu, j.size, back), TSR_OK);
    assert_memory_equal(in, back, bytes);
    assert_in_range(j.size, 1, bytes + 1);
    if (kind == 0 && n > 20000)
        assert_in_range(j.size, 1, bytes - bytes / 24);
    mutate(&j, r, back);
    stop(&j);
    free(x);
    free(in);
    free(back);
}

static void test_lossless(void **state)
{
    check_rng r = { 7 };
    (void)state;

    for (int dtype = TSR_KV_F16; dtype <= TSR_KV_E5M2; dtype++)
        for (int i = 0; i < SHAPES; i++)
            for (int kind = 0; kind < 4; kind++)
                lossless(&r, (tsr_kv_dtype)dtype, &shapes[i], kind);
}

/* Layer 3: codebooks of keys in one stage, of values in two; levels of values
 * in 2 bits.  Layer 4: more than 256 words; layer 5: of another width. */
static void make_books(check_tensors *list)
{
    static const struct { const char *name; int rank; uint64_t dims[4]; } of[] = {
        { "kvquant.lut.3.1", 1, { 4 } },
        { "vq.3.0", 3, { 16, 32, 8 } }, { "vq.3.1", 4, { 2, 64, 20, 2 } },
        { "vq.4.0", 3, { 32, 300, 4 } }, { "vq.5.0", 3, { 16, 32, 4 } }
    };
    static const float levels[4] = { -1, -0.25f, 0.25f, 1 };
    check_rng r = { 9 };

    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        float *to = check_tensors_add(list, of[i].name, "F32", 4, of[i].rank,
                                      of[i].dims);
        for (size_t k = 0; k < check_dims(of[i].rank, of[i].dims); k++)
            to[k] = i ? 2 * check_float(&r) : levels[k];
    }
}

/* ---- whole objects ---- */

/* All methods through the public calls, read by a decoder that knows the object
 * alone; options are not the defaults. */
static void test_objects(void **state)
{
    static const struct { const char *text; double error; } of[] = {
        { "cachegen:bins=128", 0.01 }, { "kivi:bits=4,group=8", 0.07 },
        { "kvquant:bits=3", 0.4 }, { "gear:bits=4,rank=8", 0.2 },
        { "zipcache:salient=8", 0.01 }, { "mikv:others=8", 0.01 },
        { "turboquant:keys=3,values=4", 0.4 }, { "fp8:exponent=5", 0.13 },
        { "lossless", 0 }
    };
    enum { LAYERS = 2, HEADS = 2, DIM = 32, TOKENS = 200 };
    const tsri_kv_tile all = kv_tile(HEADS, DIM, 2 * LAYERS * TOKENS);
    const size_t n = tsri_kv_values(&all), plane = n / 4;
    check_rng r = { 16 };
    float *x = kv_draw(&r, &all), *y = malloc(n * sizeof *y);
    void *bases[2][4];
    (void)state;

    for (size_t i = 0; i < 4; i++) {
        bases[0][i] = x + i * plane;
        bases[1][i] = y + i * plane;
    }
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        tsr_kv_settings set;
        tsr_kv_view view = { .dtype = TSR_KV_F32, .base = bases[0],
                             .token_stride = HEADS * DIM * 4,
                             .head_stride = DIM * 4, .tokens = TOKENS };
        tsr_kv_call call = { .pos0 = 7 };
        tsr_kv_info info;
        size_t room, size;
        tsr_kv *kv;
        tsr_kv_settings_init(&set);
        set.shape = (tsr_kv_shape){ LAYERS, 2, { HEADS, HEADS }, { DIM, DIM } };
        set.rope = (tsr_kv_rope){ 1, 0, DIM, 10000, 0, 1, 1, 1, 0 };
        set.method = of[i].text;
        assert_int_equal(tsr_kv_open(&kv, ctx, &set), TSR_OK);
        assert_int_equal(tsr_kv_encode_bound(kv, TOKENS, &room), TSR_OK);
        assert_int_equal(tsr_kv_scratch_size(kv, TOKENS, &call.scratch_size),
                         TSR_OK);
        uint8_t *out = malloc(room);
        call.scratch = aligned_alloc(64, (call.scratch_size + 63) / 64 * 64);
        assert_int_equal(tsr_kv_encode(kv, &view, &call, out, room, &size),
                         TSR_OK);
        tsr_kv_close(&kv);
        free(call.scratch);
        assert_int_equal(tsr_kv_probe(ctx, out, size, &info), TSR_OK);
        assert_int_equal(tsr_kv_open_for(&kv, ctx, &info, NULL), TSR_OK);
        assert_int_equal(tsr_kv_scratch_size(kv, TOKENS, &call.scratch_size),
                         TSR_OK);
        call.scratch = aligned_alloc(64, (call.scratch_size + 63) / 64 * 64);
        view.base = bases[1];
        assert_int_equal(tsr_kv_decode(kv, out, size, NULL, &view, &call),
                         TSR_OK);
        const double error = kv_worst(x, y, n);
        if (error > of[i].error)
            fail_msg("%s: %g", of[i].text, error);
        tsr_kv_close(&kv);
        free(call.scratch);
        free(out);
    }
    free(x);
    free(y);
}

static int open_all(void **state)
{
    static const char path[] = "./test_kv_methods.safetensors";
    check_tensors list = { NULL, 0 };
    (void)state;

    ctx = check_context("c", 1);
    make_books(&list);
    qsort(list.tensor, list.count, sizeof *list.tensor, check_by_name);
    check_tensors_write(&list, SIZE_MAX, "", path);
    check_tensors_free(&list);
    assert_int_equal(tsr_model_open(&books, ctx, path), TSR_OK);
    remove(path);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    tsr_model_unref(&books);
    tsr_context_close(&ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registry),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_near),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_kivi_quantiser),
        cmocka_unit_test(test_kivi_residual),
        cmocka_unit_test(test_zipcache),
        cmocka_unit_test(test_gear),
        cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_kvquant),
        cmocka_unit_test(test_turboquant),
        cmocka_unit_test(test_turboquant_dim),
        cmocka_unit_test(test_vq),
        cmocka_unit_test(test_vq_missing),
        cmocka_unit_test(test_fp8),
        cmocka_unit_test(test_lossless),
        cmocka_unit_test(test_objects)
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}

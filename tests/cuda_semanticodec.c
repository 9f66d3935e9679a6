/* SPDX-License-Identifier: BSD-2-Clause */
/* SemantiCodec's decoder on a GPU against the processor's; skipped where there is
 * none.
 *   cuda_semanticodec        all checks, of the small net of the test vector
 *   cuda_semanticodec NAME   the test of that name
 *   cuda_semanticodec bench  of the published sizes: how long windows take, how far
 *                            a few steps are from the processor's
 *   cuda_semanticodec steps  how long each step of their UNet takes */
#include <time.h>
#include "tests/audio_model.h"
#include "tests/cuda_semanticodec_steps.h"
#include "tests/semanticodec_big.h"
#include "tests/vector.h"
#include "codecs/audio/noise.h"
#include "codecs/audio/semanticodec_decode.h"

enum { BOOKS = 2, POSITIONS = 64, HOP = 320, STEPS = 4, GUIDANCE = 512, SEED = 5 };

static const tsri_audio_codec *const codec = &tsri_audio_codec_semanticodec;
static const char vector[] = "semanticodec_decoder",
                  file[] = "./cuda_semanticodec.safetensors";

/* What is left of a sound, its latent and its bands is to be so many dB less than
 * they are. */
static const struct format {
    const char *name;
    int precision;
    double latent, bands, sound;
} formats[] = {
    { "fp32", TSR_PRECISION_F32, 100, 95, 90 },
    { "fp16", TSR_PRECISION_F16, 45, 40, 35 },
    { "bf16", TSR_PRECISION_BF16, 27, 23, 20 },
    { "auto", TSR_PRECISION_AUTO, 45, 40, 35 },
};
enum { FORMATS = sizeof formats / sizeof *formats };

static tsr_context *host;
static check_tensors weights;

static tsr_context *context(const char *device, int precision)
{
    tsr_context_settings s;
    tsr_context *ctx;

    tsr_context_settings_init(&s);
    s.device = device;
    s.precision = precision;
    s.threads = 12;
    s.logger.log = check_log;
    return tsr_context_open(&ctx, &s) ? NULL : ctx;
}

static double now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* How much less y differs from x than x is, in dB. */
static double apart(const float *x, const float *y, size_t n)
{
    double all = 0, rest = 1e-300;

    for (size_t i = 0; i < n; i++) {
        all += (double)x[i] * (double)x[i];
        rest += pow((double)x[i] - (double)y[i], 2);
    }
    return 10 * log10(all / rest);
}

/* ---- the vector's net ---- */

typedef struct bench {
    tsr_context *ctx;
    tsr_model *model;
    void *self;
    check_npy tokens;
    uint16_t codes[256][BOOKS];
    int frames;
} bench;

static void bench_open(bench *h, tsr_context *ctx)
{
    *h = (bench){ .ctx = ctx, .tokens = vector_array(vector, "tokens") };
    h->model = audio_model(ctx, &weights, SIZE_MAX, "semanticodec", file);
    h->frames = (int)h->tokens.shape[0];
    assert_in_range(h->frames, POSITIONS + 1, 256);
    for (int i = 0; i < h->frames * BOOKS; i++)
        h->codes[i / BOOKS][i % BOOKS] =
            (uint16_t)((int32_t *)h->tokens.data)[i];
    assert_int_equal(codec->open(&h->self, ctx, h->model), TSR_OK);
}

static void bench_close(bench *h)
{
    codec->close(&h->self);
    tsr_model_unref(&h->model);
    free(h->tokens.data);
}

/* A window's latent, bands and sound, at every window anew. */
typedef struct result {
    float *z, *bands, *x;
    size_t latents, mels;
} result;

static float *kept(const float *x, size_t n)
{
    float *copy = malloc(n * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, x, n * sizeof *x);
    return copy;
}

static result draw(tsr_context *ctx, uint64_t window)
{
    tsri_semanticodec_nets nets;
    result r = { .x = malloc(POSITIONS * HOP * sizeof *r.x) };
    bench h;

    assert_non_null(r.x);
    bench_open(&h, ctx);
    assert_int_equal(tsri_semanticodec_nets_open(&nets, h.self), TSR_OK);
    assert_int_equal(!nets.diffusion.device, ctx == host);
    assert_int_equal(tsri_semanticodec_draw(&nets, h.codes[0], POSITIONS, SEED,
                                            window, r.x), TSR_OK);
    const size_t rows = (size_t)nets.diffusion.rows;
    r.latents = rows * (size_t)nets.latent.wide * (size_t)nets.latent.channels;
    r.mels = rows * (size_t)nets.latent.times * (size_t)nets.latent.mel;
    r.z = kept(nets.z, r.latents);
    r.bands = kept(nets.bands, r.mels);
    tsri_semanticodec_nets_close(&nets);
    bench_close(&h);
    return r;
}

static void drop(result *r)
{
    free(r->z);
    free(r->bands);
    free(r->x);
}

static void test_nets(void **state)
{
    bool good = true;

    (void)state;
    for (uint64_t window = 0; window < 2; window++) {
        result a = draw(host, window);
        for (int i = 0; i < FORMATS; i++) {
            const struct format *f = &formats[i];
            tsr_context *ctx = context("cuda", f->precision);
            result b = draw(ctx, window);
            const double latent = apart(a.z, b.z, a.latents),
                         bands = apart(a.bands, b.bands, a.mels),
                         sound = apart(a.x, b.x, POSITIONS * HOP);
            print_message("%s: latent %.1f dB, bands %.1f, sound %.1f\n", f->name,
                          latent, bands, sound);
            good = good && latent >= f->latent && bands >= f->bands &&
                   sound >= f->sound;
            drop(&b);
            tsr_context_close(&ctx);
        }
        drop(&a);
    }
    assert_true(good);
}

/* Samples of all tokens, in pushes of `step`. */
static float *decode(bench *h, int step)
{
    const tsri_audio_options options = { .books = BOOKS, .seed = SEED };
    float *x = malloc((size_t)h->frames * HOP * sizeof *x);
    size_t n = 0, got;
    void *dec;

    assert_non_null(x);
    assert_int_equal(codec->dec_open(&dec, h->self, &options), TSR_OK);
    for (int f = 0; f < h->frames; f += step) {
        const int some = tsri_min(step, h->frames - f);
        assert_int_equal(codec->dec_push(dec, h->codes[f], some, BOOKS, NULL,
                                         f + some == h->frames), TSR_OK);
        assert_int_equal(codec->dec_take(dec, x + n,
                                         (size_t)h->frames * HOP - n, &got),
                         TSR_OK);
        n += got;
    }
    assert_int_equal(n, (size_t)h->frames * HOP);
    codec->dec_close(&dec);
    return x;
}

/* Several windows, of which later ones replay what the first recorded: the same
 * sound each time, bit for bit, and near the processor's. */
static void test_windows(void **state)
{
    bench a, b;

    (void)state;
    bench_open(&a, host);
    float *want = decode(&a, a.frames);
    for (int i = 0; i < FORMATS; i++) {
        const struct format *f = &formats[i];
        tsr_context *ctx = context("cuda", f->precision);
        bench_open(&b, ctx);
        float *x = decode(&b, b.frames), *y = decode(&b, 37);
        const size_t n = (size_t)b.frames * HOP;
        const double off = apart(want, x, n);
        print_message("%s: %.1f dB\n", f->name, off);
        assert_memory_equal(x, y, n * sizeof *x);
        assert_true(off >= f->sound);
        free(x);
        free(y);
        bench_close(&b);
        tsr_context_close(&ctx);
    }
    free(want);
    bench_close(&a);
}

/* ---- published sizes ---- */

typedef struct large {
    tsri_diffusion diffusion;
    tsri_latent latent;
    float *context, *z, *bands, *x;
} large;

static void large_open(large *l, tsr_context *ctx, int steps)
{
    const size_t context_floats = BIG_POSITIONS * BIG_CONTEXT;
    tsr_model *model;

    assert_int_equal(tsr_model_open(&model, ctx, file), TSR_OK);
    l->context = calloc(context_floats, sizeof *l->context);
    l->z = calloc(8 * BIG_ROWS * BIG_COLUMNS, sizeof *l->z);
    l->bands = calloc(BIG_FRAMES * 64, sizeof *l->bands);
    l->x = calloc(BIG_SAMPLES, sizeof *l->x);
    assert_true(l->context && l->z && l->bands && l->x);
    assert_int_equal(tsri_diffusion_open(&l->diffusion, ctx, model, BIG_ROWS,
                                         BIG_COLUMNS, BIG_POSITIONS, BIG_CONTEXT,
                                         l->context, steps, 2), TSR_OK);
    assert_int_equal(tsri_latent_open(&l->latent, ctx, model), TSR_OK);
    tsri_noise(1, 0, 0, context_floats, l->context);
    tsr_model_unref(&model);
}

static void large_close(large *l)
{
    tsri_diffusion_close(&l->diffusion);
    tsri_latent_close(&l->latent);
    free(l->context);
    free(l->z);
    free(l->bands);
    free(l->x);
}

static void large_run(large *l, uint64_t window, double took[3])
{
    const double start = now();

    assert_int_equal(tsri_diffusion_run(&l->diffusion, l->context, SEED, window,
                                        l->z), TSR_OK);
    const double drawn = now();
    assert_int_equal(tsri_latent_bands(&l->latent, l->z, BIG_ROWS, l->bands),
                     TSR_OK);
    const double banded = now();
    assert_int_equal(tsri_latent_sound(&l->latent, l->bands, BIG_FRAMES, l->x,
                                       BIG_SAMPLES), TSR_OK);
    took[0] = drawn - start;
    took[1] = banded - drawn;
    took[2] = now() - banded;
}

static void bench_format(const struct format *f, int steps, const large *want)
{
    enum { WINDOWS = 4 };
    tsr_context *ctx = context("cuda", f->precision);
    const double start = now();
    double took[3];
    large l;

    large_open(&l, ctx, steps);
    print_message("%s, %d steps: opened in %.2f s\n", f->name, steps,
                  now() - start);
    for (int i = 0; i < (want ? 1 : WINDOWS); i++) {
        large_run(&l, want ? 0 : (uint64_t)i, took);
        const double all = took[0] + took[1] + took[2];
        print_message("  window %d: steps %.1f ms, bands %.1f, sound %.1f; "
                      "%.4f of real time\n", i, 1e3 * took[0], 1e3 * took[1],
                      1e3 * took[2], all * 16000 / BIG_SAMPLES);
    }
    if (want)
        print_message("  latent %.1f dB, bands %.1f, sound %.1f\n",
                      apart(want->z, l.z, 8 * BIG_ROWS * BIG_COLUMNS),
                      apart(want->bands, l.bands, BIG_FRAMES * 64),
                      apart(want->x, l.x, BIG_SAMPLES));
    large_close(&l);
    tsr_context_close(&ctx);
}

/* Every step of the UNet alone. */
static int run_steps(void)
{
    static const int precisions[] = { TSR_PRECISION_F32, TSR_PRECISION_F16 };
    float *z = calloc(8 * BIG_ROWS * BIG_COLUMNS, sizeof *z);
    float *none = calloc(BIG_POSITIONS * BIG_CONTEXT, sizeof *none);

    assert_true(z && none);
    big_write(file);
    for (int i = 0; i < 2; i++) {
        tsr_context *ctx = context("cuda", precisions[i]);
        tsri_diffusion d;
        tsr_model *model;
        print_message("%s\n", formats[i].name);
        ctx->seq = timed_device(precisions[i]);
        assert_int_equal(tsr_model_open(&model, ctx, file), TSR_OK);
        assert_int_equal(tsri_diffusion_open(&d, ctx, model, BIG_ROWS, BIG_COLUMNS,
                                             BIG_POSITIONS, BIG_CONTEXT, none, 1,
                                             2), TSR_OK);
        assert_int_equal(tsri_diffusion_run(&d, none, SEED, 0, z), TSR_OK);
        tsri_diffusion_close(&d);
        tsr_model_unref(&model);
        tsr_context_close(&ctx);
    }
    free(z);
    free(none);
    return remove(file);
}

static int run_bench(void)
{
    enum { FEW_STEPS = 2, STEPS_PUBLISHED = 50 };
    double took[3];
    large l;

    big_write(file);
    for (int i = 0; i < FORMATS - 1; i++)
        bench_format(&formats[i], STEPS_PUBLISHED, NULL);
    large_open(&l, host, FEW_STEPS);
    large_run(&l, 0, took);
    print_message("processor, %d steps: steps %.1f ms, bands %.1f, sound %.1f\n",
                  FEW_STEPS, 1e3 * took[0], 1e3 * took[1], 1e3 * took[2]);
    for (int i = 0; i < FORMATS - 1; i++)
        bench_format(&formats[i], FEW_STEPS, &l);
    large_close(&l);
    return remove(file);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nets), cmocka_unit_test(test_windows),
    };
    const int sampler[] = { STEPS, GUIDANCE };
    int failed;
    tsr_context *ctx = context("cuda", TSR_PRECISION_AUTO);

    if (!ctx) {
        printf("1..0 # SKIP no CUDA device\n");
        return 0;
    }
    tsr_context_close(&ctx);
    host = context("cpu", TSR_PRECISION_AUTO);
    if (argc > 1 && !strcmp(argv[1], "bench")) {
        failed = run_bench();
    } else if (argc > 1 && !strcmp(argv[1], "steps")) {
        failed = run_steps();
    } else {
        weights = vector_weights(host, vector, NULL);
        audio_ints(&weights, "tessera.semanticodec.sampler", 1,
                   (uint64_t[]){ 2 }, sampler);
        qsort(weights.tensor, weights.count, sizeof *weights.tensor,
              check_by_name);
        if (argc > 1)
            cmocka_set_test_filter(argv[1]);
        failed = cmocka_run_group_tests(tests, NULL, NULL);
        check_tensors_free(&weights);
    }
    tsr_context_close(&host);
    return failed != 0;
}

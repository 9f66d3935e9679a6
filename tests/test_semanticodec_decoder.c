/* SPDX-License-Identifier: BSD-2-Clause */
/* SemantiCodec's decoder against the published one: noise, the UNet, the sampler,
 * mel bands, the vocoder, whole sounds; streams, states, what is refused. */
#include <limits.h>
#include "tests/audio_model.h"
#include "tests/memory.h"
#include "tests/plane_device_plain.h"
#include "tests/vector.h"
#include <tessera/import.h>
#include "codecs/audio/audio.h"
#include "codecs/audio/noise.h"
#include "codecs/audio/semanticodec_decode.h"

static const tsri_audio_codec *const codec = &tsri_audio_codec_semanticodec;
static const char vector[] = "semanticodec_decoder",
                  file[] = "./test_semanticodec_decoder.safetensors";
static char message[256];

enum { BOOKS = 2, POSITIONS = 64, HOP = 320, STEPS = 4, GUIDANCE = 512, SEED = 5,
       TIME = 601 };

typedef struct bench {
    vector_bench b;
    check_tensors list;
    check_npy tokens;
    uint16_t codes[256][BOOKS];
    int frames;
    void *self;
} bench;

static void bench_open_on(bench *h, unsigned cpu, int threads,
                          const tsri_seq_ops *device)
{
    const int sampler[] = { STEPS, GUIDANCE };

    *h = (bench){ .b = { .name = vector, .meta = vector_text(vector, "meta.json"),
                         .ctx = audio_context(message, cpu, threads) } };
    h->b.ctx->seq = device;
    h->list = vector_weights(h->b.ctx, vector, NULL);
    audio_ints(&h->list, "tessera.semanticodec.sampler", 1, (uint64_t[]){ 2 },
               sampler);
    qsort(h->list.tensor, h->list.count, sizeof *h->list.tensor, check_by_name);
    h->b.model = audio_model(h->b.ctx, &h->list, SIZE_MAX, "semanticodec", file);
    h->tokens = vector_array(vector, "tokens");
    h->frames = (int)h->tokens.shape[0];
    assert_in_range(h->frames, POSITIONS + 1, 256);
    for (int i = 0; i < h->frames * BOOKS; i++)
        h->codes[i / BOOKS][i % BOOKS] =
            (uint16_t)((int32_t *)h->tokens.data)[i];
    assert_int_equal(codec->open(&h->self, h->b.ctx, h->b.model), TSR_OK);
}

static void bench_open(bench *h, unsigned cpu, int threads)
{
    bench_open_on(h, cpu, threads, NULL);
}

static void bench_close(bench *h)
{
    codec->close(&h->self);
    check_tensors_free(&h->list);
    free(h->tokens.data);
    vector_close(&h->b);
}

/* Every `step`th value against what is stored. */
static void compare(bench *h, const float *x, size_t n, size_t width, size_t step,
                    const char *name)
{
    check_npy want = vector_array(vector, "%s", name);
    const double allowed = vector_tolerance(h->b.meta, name, &want);
    double worst = 0;

    assert_int_equal((n / width + step - 1) / step * width, want.count);
    for (size_t i = 0; i < want.count; i++)
        worst = fmax(worst, fabs((double)x[i / width * step * width + i % width] -
                                 (double)((float *)want.data)[i]));
    if (!(worst <= allowed))
        fail_msg("%s: off by %g, allowed %g", name, worst, allowed);
    free(want.data);
}

/* ---- noise ---- */

/* The known answers of Random123, and Python's quantiles of the same bits. */
static void test_noise(void **state)
{
    const uint32_t ones[] = { ~0u, ~0u, ~0u, ~0u }, zeros[4] = { 0 };
    const uint32_t pi[] = { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
                   key[] = { 0xa4093822, 0x299f31d0 };
    uint32_t v[4];
    float x[64];
    check_npy want = vector_array(vector, "noise");

    (void)state;
    tsri_philox(zeros, zeros, v);
    assert_memory_equal(v, ((uint32_t[]){ 0x6627e8d5, 0xe169c58d, 0xbc57ac4c,
                                          0x9b00dbd8 }), sizeof v);
    tsri_philox(ones, ones, v);
    assert_memory_equal(v, ((uint32_t[]){ 0x408f276d, 0x41c83b0e, 0xa20bc7c6,
                                          0x6d5451fd }), sizeof v);
    tsri_philox(pi, key, v);
    assert_memory_equal(v, ((uint32_t[]){ 0xd16cfe09, 0x94fdcceb, 0x5001e420,
                                          0x24126ea1 }), sizeof v);
    tsri_noise(SEED, 0, 0, 64, x);
    assert_memory_equal(x, want.data, sizeof x);
    tsri_noise(0x7fffffff, 0x123456789, 3, 64, x);
    assert_memory_equal(x, (float *)want.data + 64, sizeof x);
    free(want.data);
}

/* Moments of a million, and no value beyond what 32 bits can give. */
static void test_normal(void **state)
{
    enum { N = 1 << 20 };
    float *x = malloc(N * sizeof *x);
    double sum[5] = { 0 };

    (void)state;
    assert_non_null(x);
    tsri_noise(9, 1, 2, N, x);
    for (int i = 0; i < N; i++) {
        double power = 1;
        assert_true(fabsf(x[i]) < 6.4f);
        for (int k = 0; k < 5; k++, power *= (double)x[i])
            sum[k] += power / N;
    }
    assert_true(fabs(sum[1]) < 0.005 && fabs(sum[2] - 1) < 0.01 &&
                fabs(sum[3]) < 0.02 && fabs(sum[4] - 3) < 0.06);
    free(x);
}

/* ---- the nets, one after another ---- */

static void check_unet(bench *h, tsri_semanticodec_nets *nets)
{
    tsri_diffusion *d = &nets->diffusion;
    const int channels = tsri_unet_channels(d->unet);
    const size_t cells = (size_t)(d->rows * d->wide);
    const size_t n = cells * (size_t)channels;
    tsri_unet_condition *condition;
    float *x = malloc(2 * n * sizeof *x), *y = x + n;

    assert_non_null(x);
    tsri_noise(SEED, 0, 0, n, y);
    for (size_t i = 0; i < n; i++)
        x[i] = y[i % (size_t)channels * cells + i / (size_t)channels];
    assert_int_equal(tsri_unet_condition_open(&condition, d->unet,
                                              nets->condition), TSR_OK);
    assert_int_equal(tsri_unet_run(d->unet, x, TIME, condition, x), TSR_OK);
    tsri_unet_condition_close(&condition, d->unet);
    for (size_t i = 0; i < n; i++)
        y[i % (size_t)channels * cells + i / (size_t)channels] = x[i];
    compare(h, y, n, cells, 1, "unet");
    free(x);
}

static void check_variant(unsigned cpu, int threads)
{
    tsri_semanticodec_nets nets;
    float *x = malloc(POSITIONS * HOP * sizeof *x);
    bench h;

    assert_non_null(x);
    bench_open(&h, cpu, threads);
    assert_int_equal(tsri_semanticodec_nets_open(&nets, h.self), TSR_OK);
    assert_int_equal(tsri_semanticodec_draw(&nets, h.codes[0], POSITIONS, SEED, 0,
                                            x), TSR_OK);
    compare(&h, x, POSITIONS * HOP, 1, 16, "wave");
    check_npy latent = vector_array(vector, "latent");
    for (size_t i = 0; i < latent.count; i++)
        nets.z[i] *= nets.scale;
    compare(&h, nets.z, latent.count, 1, 1, "latent");
    compare(&h, nets.bands, (size_t)(nets.diffusion.rows * nets.latent.times *
                                     nets.latent.mel), (size_t)nets.latent.mel, 8,
            "mel");
    check_unet(&h, &nets);
    free(latent.data);
    free(x);
    tsri_semanticodec_nets_close(&nets);
    bench_close(&h);
}

static void test_nets(void **state)
{
    (void)state;
    check_variant(0, 1);
    check_variant(UINT_MAX, 2);
}

/* On a plain device: what is stored, too, and faults of the device come out. */
static void test_device(void **state)
{
    const tsri_audio_options options = { .books = BOOKS, .seed = SEED };
    tsri_seq_ops ops = plain_seq_ops;
    float *x = malloc(POSITIONS * HOP * sizeof *x);
    tsri_semanticodec_nets nets;
    tsr_error error = TSR_E_BACKEND;
    int faults = 0;
    void *dec;
    bench h;

    (void)state;
    assert_non_null(x);
    ops.plane = &plain_plane_ops;
    bench_open_on(&h, UINT_MAX, 2, &ops);
    assert_int_equal(tsri_semanticodec_nets_open(&nets, h.self), TSR_OK);
    assert_non_null(nets.diffusion.device);
    for (int i = 0; i < 2; i++)
        assert_int_equal(tsri_semanticodec_draw(&nets, h.codes[0], POSITIONS, SEED,
                                                0, x), TSR_OK);
    compare(&h, x, POSITIONS * HOP, 1, 16, "wave");
    tsri_semanticodec_nets_close(&nets);
    for (int steps = 0; error; steps += 1 + steps / 3) {
        plain_seq_steps = steps;
        assert_int_equal(codec->dec_open(&dec, h.self, &options), TSR_OK);
        error = codec->dec_push(dec, h.codes[0], 8, BOOKS, NULL, true);
        assert_true(!error || error == TSR_E_BACKEND);
        faults += error != TSR_OK;
        codec->dec_close(&dec);
    }
    plain_seq_steps = 1 << 30;
    assert_true(faults > 10);
    free(x);
    bench_close(&h);
}

/* What information says that decoding costs is what the nets say; and only an
 * encoder opens what encoders need. */
static void test_costs(void **state)
{
    const tsri_audio_options options = { .books = BOOKS, .seed = SEED };
    tsri_semanticodec_nets nets;
    bench h;
    void *dec, *enc, *self;
    int tried = 0;

    (void)state;
    bench_open(&h, UINT_MAX, 2);
    const tsri_semanticodec *c = h.self;
    assert_int_equal(tsri_semanticodec_nets_open(&nets, c), TSR_OK);
    const int rows = nets.diffusion.rows, frames = c->vit.frames;
    const tsri_rect all = { 0, 0, frames, nets.latent.mel };
    const double sum = 2 * STEPS * tsri_unet_macs(nets.diffusion.unet) +
        tsri_unet_condition_macs(nets.diffusion.unet) +
        tsri_net_macs(nets.latent.bands, rows, nets.latent.wide, all) +
        frames * nets.latent.macs;
    const double drawn = (double)((POSITIONS - POSITIONS / 16) * HOP) / 16000;
    const double says = codec->shape(c)->macs_decode * drawn;
    if (!(fabs(says / sum - 1) < 0.001))
        fail_msg("%g, not %g", says, sum);
    tsri_semanticodec_nets_close(&nets);
    for (size_t i = 0; i < h.list.count; i++) {
        if (strcmp(h.list.tensor[i].name, "encoder.weight_ih_l0"))
            continue;
        tsr_model *model = audio_model(h.b.ctx, &h.list, i, "semanticodec", file);
        assert_int_equal(codec->open(&self, h.b.ctx, model), TSR_OK);
        assert_int_equal(codec->dec_open(&dec, self, &options), TSR_OK);
        assert_int_equal(codec->dec_push(dec, h.codes[0], 4, BOOKS, NULL, true),
                         TSR_OK);
        assert_false(((const tsri_semanticodec *)self)->front->opened);
        assert_int_equal(codec->enc_open(&enc, self, &options), TSR_E_SHAPE);
        codec->dec_close(&dec);
        codec->close(&self);
        tsr_model_unref(&model);
        tried++;
    }
    assert_int_equal(tried, 1);
    bench_close(&h);
}

/* Names with numbers that no codec has: what decoding costs is asked for on opening, of
 * any file, and is to be a number, at once. */
static void test_names(void **state)
{
    static const char *const names[] = {
        "model.diffusion_model.input_blocks.2147483646.0.op.weight",
        "model.diffusion_model.input_blocks.65535.0.op.weight",
        "model.diffusion_model.output_blocks.-7.2.conv.weight",
        "model.diffusion_model.output_blocks.99999999999999999999.2.conv.weight",
        "first_stage_model.decoder.up.-2147483648.upsample.conv.weight",
        "first_stage_model.decoder.up.40.upsample.conv.weight",
        "first_stage_model.vocoder.ups.1000000.weight_v",
        "first_stage_model.vocoder.resblocks.4294967295.convs1.0.weight_v",
        "first_stage_model.vocoder.resblocks.65535.convs1.0.weight_v" };
    bench h;

    (void)state;
    bench_open(&h, UINT_MAX, 1);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        void *self = NULL;
        memset(check_tensors_add(&h.list, names[i], "F32", 4, 3,
                                 (uint64_t[]){ 3, 2, 1 }),
               0, 3 * 2 * sizeof(float));
        tsr_model *model = audio_model(h.b.ctx, &h.list, SIZE_MAX, "semanticodec", file);
        if (!codec->open(&self, h.b.ctx, model)) {
            const double macs = codec->shape(self)->macs_decode;
            assert_true(macs >= 0 && macs < 1e18);
            codec->close(&self);
        }
        tsr_model_unref(&model);
        free(h.list.tensor[--h.list.count].data);
    }
    bench_close(&h);
}

/* ---- streams ---- */

/* Samples of the first `frames` tokens, in pushes of `step`; with states saved
 * and loaded between them. */
static float *decode(bench *h, int frames, int step, bool states)
{
    const tsri_audio_options options = { .books = BOOKS, .seed = SEED };
    float *x = malloc((size_t)frames * HOP * sizeof *x + 1);
    size_t n = 0, got;
    void *dec;

    assert_non_null(x);
    assert_int_equal(codec->dec_open(&dec, h->self, &options), TSR_OK);
    for (int f = 0; f < frames; f += step) {
        const int now = tsri_min(step, frames - f);
        assert_int_equal(codec->dec_push(dec, h->codes[f], now, BOOKS, NULL,
                                         f + now == frames), TSR_OK);
        if (states) {
            const size_t bytes = codec->dec_state_bytes(dec);
            uint8_t *save = malloc(bytes);
            assert_non_null(save);
            codec->dec_state_save(dec, save);
            codec->dec_close(&dec);
            assert_int_equal(codec->dec_open(&dec, h->self, &options), TSR_OK);
            assert_int_equal(codec->dec_state_load(dec, save, bytes - 1),
                             TSR_E_CORRUPT);
            assert_int_equal(codec->dec_state_load(dec, save, bytes), TSR_OK);
            free(save);
        }
        assert_int_equal(codec->dec_take(dec, x + n, (size_t)frames * HOP - n,
                                         &got), TSR_OK);
        n += got;
    }
    assert_int_equal(n, (size_t)frames * HOP);
    codec->dec_close(&dec);
    return x;
}

static void test_sound(void **state)
{
    bench h;

    (void)state;
    bench_open(&h, UINT_MAX, 2);
    float *x = decode(&h, h.frames, h.frames, false);
    compare(&h, x, (size_t)h.frames * HOP, 1, 16, "sound");
    float *y = decode(&h, h.frames, 37, true);
    assert_memory_equal(x, y, (size_t)h.frames * HOP * sizeof *x);
    free(y);
    y = decode(&h, POSITIONS, 64, false); /* one window, to its end */
    assert_memory_equal(x, y, (POSITIONS - 4) * HOP * sizeof *x);
    free(y);
    free(x);
    bench_close(&h);
}

/* A file says its seed, and is decoded alike each time. */
static void file_of(bench *h, uint32_t seed, mem_file *out)
{
    const tsr_sink sink = { out, mem_write };
    tsr_audio_settings s;
    tsr_audio_encoder *e;

    tsr_audio_settings_init(&s);
    s.seed = seed;
    assert_int_equal(tsr_audio_encoder_open(&e, h->b.ctx, h->b.model, &s), TSR_OK);
    assert_int_equal(tsr_audio_encoder_push_codes(e, h->codes[0],
                                                  (size_t)h->frames), TSR_OK);
    assert_int_equal(tsri_audio_write(h->b.ctx, e, &sink), TSR_OK);
    tsr_audio_encoder_close(&e);
}

typedef struct samples { float x[256 * HOP]; size_t n; } samples;

static tsr_error begin(void *cookie, int rate, int channels)
{
    (void)cookie;
    assert_int_equal(rate, 16000);
    assert_int_equal(channels, 1);
    return TSR_OK;
}

static tsr_error take(void *cookie, const float *x, size_t n)
{
    samples *s = cookie;

    assert_true(s->n + n <= sizeof s->x / sizeof *s->x);
    memcpy(s->x + s->n, x, n * sizeof *x);
    s->n += n;
    return TSR_OK;
}

static void test_files(void **state)
{
    static samples s;
    const tsr_audio_sink sink = { &s, begin, take };
    bench h;

    (void)state;
    bench_open(&h, UINT_MAX, 2);
    for (int pass = 0; pass < 2; pass++) {
        mem_file out = { 0 };
        const tsr_source source = { &out, mem_read };
        s.n = 0;
        file_of(&h, pass ? 1u << 30 : SEED, &out);
        assert_int_equal(tsr_audio_decode(h.b.ctx, h.b.model, NULL, &source, 0,
                                          UINT64_MAX, &sink), TSR_OK);
        assert_int_equal(s.n, h.frames * HOP);
        if (!pass)
            compare(&h, s.x, s.n, 1, 16, "sound");
        float *x = decode(&h, h.frames, h.frames, false);
        assert_int_equal(!memcmp(x, s.x, s.n * sizeof *x), !pass);
        free(x);
        free(out.data);
    }
    tsr_audio_settings wrong;
    tsr_audio_encoder *e;
    tsr_audio_settings_init(&wrong);
    wrong.seed = 1u << 31;
    assert_int_equal(tsr_audio_encoder_open(&e, h.b.ctx, h.b.model, &wrong),
                     TSR_E_ARG);
    bench_close(&h);
}

/* ---- what is refused ---- */

static void test_one_book(void **state)
{
    const tsri_audio_options options = { .books = 1 };
    const uint16_t codes[] = { 0 };
    bench h;
    void *dec;

    (void)state;
    bench_open(&h, UINT_MAX, 1);
    assert_int_equal(codec->dec_open(&dec, h.self, &options), TSR_OK);
    assert_int_equal(codec->dec_push(dec, codes, 1, 1, NULL, false),
                     TSR_E_UNSUPPORTED);
    codec->dec_close(&dec);
    bench_close(&h);
}

/* Without one tensor, all tokens can be read and nothing decoded. */
static void test_missing(void **state)
{
    const tsri_audio_options options = { .books = BOOKS };
    bench h;

    (void)state;
    bench_open(&h, UINT_MAX, 1);
    for (size_t i = 0; i < h.list.count; i++) {
        const char *name = h.list.tensor[i].name;
        if (strncmp(name, "model.", 6) && strncmp(name, "first_", 6) &&
            strncmp(name, "tessera.", 8) && strncmp(name, "scale_", 6))
            continue;
        if (!strncmp(name, "model.", 6) && i % 7) /* it has hundreds */
            continue;
        tsr_model *model = audio_model(h.b.ctx, &h.list, i, "semanticodec", file);
        void *self, *dec;
        assert_int_equal(codec->open(&self, h.b.ctx, model), TSR_OK);
        assert_int_equal(codec->dec_open(&dec, self, &options), TSR_OK);
        assert_int_equal(codec->dec_push(dec, h.codes[0], 1, BOOKS, NULL, false),
                         strncmp(name, "tessera.", 8) ? TSR_E_SHAPE
                                                      : TSR_E_UNSUPPORTED);
        codec->dec_close(&dec);
        codec->close(&self);
        tsr_model_unref(&model);
    }
    bench_close(&h);
}

/* Memory that runs out while nets are opened or run: a fault, nothing leaks, and
 * the same sound once there is enough.  Of thousands of allocations, some. */
static void test_no_memory(void **state)
{
    const tsri_audio_options options = { .books = BOOKS, .seed = SEED };
    float x[8 * HOP], y[8 * HOP];
    tsr_context *poor = poor_context("c", 1);
    tsr_error error = TSR_E_NOMEM;
    int faults = 0;
    size_t n;
    bench h;

    (void)state;
    bench_open(&h, 0, 1);
    tsr_model *model = audio_model(poor, &h.list, SIZE_MAX, "semanticodec", file);
    void *self, *dec, *rich;
    assert_int_equal(codec->dec_open(&rich, h.self, &options), TSR_OK);
    assert_int_equal(codec->dec_push(rich, h.codes[0], 8, BOOKS, NULL, true),
                     TSR_OK);
    assert_int_equal(codec->dec_take(rich, x, 8 * HOP, &n), TSR_OK);
    codec->dec_close(&rich);
    assert_int_equal(codec->open(&self, poor, model), TSR_OK);
    for (int left = 0; error; left += 1 + left / 6) {
        const int held = poor_held;
        poor_left = left;
        error = codec->dec_open(&dec, self, &options);
        if (!error) {
            error = codec->dec_push(dec, h.codes[0], 8, BOOKS, NULL, true);
            if (!error)
                error = codec->dec_take(dec, y, 8 * HOP, &n);
            codec->dec_close(&dec);
        }
        assert_true(!error || error == TSR_E_NOMEM);
        assert_int_equal(poor_held, held);
        faults += error != TSR_OK;
    }
    assert_true(faults > 20);
    assert_int_equal(n, 8 * HOP);
    for (size_t i = 0; i < n; i++)
        assert_true(fabsf(x[i] - y[i]) < 1e-3f); /* other kernels */
    poor_left = POOR_MANY;
    codec->close(&self);
    tsr_model_unref(&model);
    tsr_context_close(&poor);
    bench_close(&h);
}

/* Steps and guidance that are not possible. */
static void test_sampler(void **state)
{
    static const int cases[][2] = {
        { 0, 512 }, { -1, 512 }, { 3, 512 }, { 1001, 512 }, { INT_MIN, 512 },
        { 4, -1 }, { 4, INT_MAX }, { 4, 64 * 256 + 1 },
    };
    const tsri_audio_options options = { .books = BOOKS };
    bench h;

    (void)state;
    bench_open(&h, UINT_MAX, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t *v = (int32_t *)check_tensors_find(
            &h.list, "tessera.semanticodec.sampler")->data;
        v[0] = cases[i][0];
        v[1] = cases[i][1];
        tsr_model *model = audio_model(h.b.ctx, &h.list, SIZE_MAX, "semanticodec",
                                       file);
        void *self, *dec;
        assert_int_equal(codec->open(&self, h.b.ctx, model), TSR_OK);
        assert_int_equal(codec->dec_open(&dec, self, &options), TSR_OK);
        assert_int_equal(codec->dec_push(dec, h.codes[0], 1, BOOKS, NULL, false),
                         TSR_E_SHAPE);
        codec->dec_close(&dec);
        codec->close(&self);
        tsr_model_unref(&model);
    }
    bench_close(&h);
}

/* ---- import: what the published files hold ---- */

/* A third of the tensors: 0 the encoder's, 1 the decoder's, 2 the centroids. */
static int third(const char *name)
{
    if (!strcmp(name, "semantic.centroids"))
        return 2;
    return !strncmp(name, "model.", 6) || !strncmp(name, "first_", 6) ||
           !strncmp(name, "scale_", 6);
}

static const char *const parts[] = { "./test_semanticodec_encoder.safetensors",
                                     "./test_semanticodec_dec.safetensors",
                                     "./test_semanticodec_words.safetensors" };

/* Files like those published: what training left is there, and a scalar. */
static void write_parts(const bench *h)
{
    static const char *const left[] = {
        "model_ema.decay", "betas", "first_stage_model.encoder.conv_in.bias",
        "first_stage_model.quant_conv.bias", "sqrt_alphas_cumprod" };

    for (int p = 0; p < 3; p++) {
        check_tensors list = { 0 };
        for (size_t i = 0; i < h->list.count; i++) {
            const check_tensor *t = &h->list.tensor[i];
            if (third(t->name) != p || !strncmp(t->name, "tessera.", 8))
                continue;
            const bool scalar = !strcmp(t->name, "scale_factor");
            memcpy(check_tensors_add(&list, p == 2 ? "(root)" : t->name, "F32", 4,
                                     scalar ? 0 : t->rank, t->dims), t->data,
                   t->bytes);
        }
        for (size_t i = 0; p == 1 && i < sizeof left / sizeof *left; i++)
            *(float *)check_tensors_add(&list, left[i], "F32", 4, 1,
                                        (uint64_t[]){ 1 }) = 1;
        check_tensors_write(&list, SIZE_MAX, NULL, parts[p]);
        check_tensors_free(&list);
    }
}

static void test_import(void **state)
{
    mem_file out = { 0 };
    const tsr_sink sink = { &out, mem_write };
    tsr_import *import;
    tsr_model *model;
    bench h;

    (void)state;
    bench_open(&h, UINT_MAX, 1);
    write_parts(&h);
    assert_int_equal(tsr_import_open(&import, h.b.ctx, parts + 1, 1, NULL),
                     TSR_E_ARG);
    assert_int_equal(tsr_import_open(&import, h.b.ctx, parts, 3, NULL), TSR_OK);
    assert_null(strstr(message, "unknown"));
    assert_int_equal(tsr_import_write(import, NULL, &sink), TSR_OK);
    tsr_import_close(&import);
    for (int p = 0; p < 3; p++)
        assert_int_equal(remove(parts[p]), 0);
    FILE *f = fopen(file, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(out.data, 1, out.size, f), out.size);
    assert_int_equal(fclose(f), 0);
    free(out.data);
    assert_int_equal(tsr_model_open(&model, h.b.ctx, file), TSR_OK);
    assert_int_equal(remove(file), 0);
    assert_string_equal(tsr_model_codec(model), "semanticodec");
    assert_int_equal(tsr_model_tensor_count(model), h.list.count);
    for (size_t i = 0; i < h.list.count; i++) {
        const check_tensor *t = &h.list.tensor[i];
        const tsr_tensor *got = tsr_model_tensor(model, t->name);
        assert_non_null(got);
        assert_int_equal(got->bytes, t->bytes);
        if (strncmp(t->name, "tessera.", 8))
            assert_memory_equal(got->data, t->data, t->bytes);
        else
            assert_memory_equal(got->data, ((int32_t[]){ 50, 512 }), t->bytes);
    }
    tsr_model_unref(&model);
    bench_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_noise), cmocka_unit_test(test_normal),
        cmocka_unit_test(test_nets), cmocka_unit_test(test_device),
        cmocka_unit_test(test_costs), cmocka_unit_test(test_names),
        cmocka_unit_test(test_sound),
        cmocka_unit_test(test_files), cmocka_unit_test(test_one_book),
        cmocka_unit_test(test_missing), cmocka_unit_test(test_sampler),
        cmocka_unit_test(test_import), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

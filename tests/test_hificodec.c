/* SPDX-License-Identifier: BSD-2-Clause */
/* HiFi-Codec: the published implementation's vectors, windows, and what streams
 * promise. */
#include <limits.h>
#include "tests/audio_model.h"
#include "tests/import_tensors.h"
#include "tests/vector.h"
#include "codecs/audio/flow.h"
#include "codecs/audio/hificodec.h"

static const tsri_audio_codec *const codec = &tsri_audio_codec_hificodec;
static const char file[] = "./test_hificodec.safetensors";
static char message[256];

static const unsigned variants[] = { 0, UINT_MAX };
enum { VARIANTS = 2, BOOKS = 4 };

/* ---- vectors ---- */

typedef struct vector {
    const char *name;
    int form[8];
    int rates[4];
    int dilations[2][2];    /* 0: as published */
    int codewords;
    int lengths[2];
    int compared;           /* arrays, of one variant */
} vector;

static const vector vectors[] = {
    { "hificodec_b8_r1_16k320", { 16000, 1, 320, 0, 0, 1, 0, 0 },
      { 8, 5, 4, 2 }, { { 0 } }, 256, { 8000, 6519 }, 22 },
    { "hificodec_b8_r2_24k240", { 24000, 1, 240, 0, 0, 1, 0, 0 },
      { 8, 5, 3, 2 }, { { 1, 3 }, { 1, 2 } }, 64, { 4900, 240 }, 22 },
};

typedef struct bench {
    const vector *v;
    vector_bench b;
    void *self;
    const tsri_audio_shape *shape;
    tsri_hificodec_sizes sizes;
} bench;

/* As the codec reads it: with its form, or imported, which finds that. */
static tsr_model *vector_model(tsr_context *ctx, const vector *v, bool imported)
{
    const uint64_t stages[] = { 4 }, two[] = { 2, 2 };
    check_tensors list = vector_weights(ctx, v->name, NULL);
    tsr_model *model;

    if (imported) {
        model = import_tensors(ctx, &list, NULL, v->form[0], file);
        if (v->dilations[0][0]) /* which no tensor tells */
            model = audio_retold(ctx, model, "tessera.hificodec.dilations", 2,
                                 two, v->dilations[0], file);
    } else {
        audio_form(&list, v->form);
        audio_ints(&list, "tessera.hificodec.rates", 1, stages, v->rates);
        if (v->dilations[0][0])
            audio_ints(&list, "tessera.hificodec.dilations", 2, two,
                       v->dilations[0]);
        qsort(list.tensor, list.count, sizeof *list.tensor, check_by_name);
        model = audio_model(ctx, &list, SIZE_MAX, "hificodec", file);
    }
    check_tensors_free(&list);
    return model;
}

static void bench_open(bench *h, const vector *v, unsigned cpu,
                       bool imported)
{
    *h = (bench){ .v = v };
    h->b = (vector_bench){ .name = v->name,
                           .ctx = audio_context(message, cpu, 1) };
    h->b.meta = vector_text(v->name, "meta.json");
    h->b.model = vector_model(h->b.ctx, v, imported);
    assert_int_equal(codec->open(&h->self, h->b.ctx, h->b.model), TSR_OK);
    h->shape = codec->shape(h->self);
    assert_int_equal(tsri_hificodec_sizes_read(h->b.ctx, h->b.model, v->form[2],
                                               &h->sizes), TSR_OK);
}

static void bench_close(bench *h)
{
    codec->close(&h->self);
    assert_null(h->self);
    vector_close(&h->b);
}

/* Every stored layer of a net. */
static void check_layers(bench *h, const float *x, size_t n, int length,
                         bool encoder)
{
    static const char *const names[] = {
        "encoder.conv_pre", "encoder.ups.0", "encoder.resblocks.0",
        "encoder.normalize.2", "encoder.ups.1", "encoder.ups.2",
        "encoder.ups.3", "generator.conv_pre", "generator.ups.0",
        "generator.resblocks.0", "generator.ups.1", "generator.ups.2",
        "generator.ups.3", "generator.conv_post",
    };
    const tsr_rvq_shape *q = &((const tsri_flow *)h->self)->quantiser.shape;
    char array[CHECK_NAME];
    tsri_seq *seq;
    size_t out;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        check_name(array, "L%d_act.%s", length, names[i]);
        if ((*names[i] == 'e') != encoder || !vector_has(h->v->name, array))
            continue;
        const tsr_error e =
            encoder ? tsri_hificodec_encoder(&seq, h->b.ctx, h->b.model,
                                             &h->sizes, names[i], NULL)
                    : tsri_hificodec_decoder(&seq, h->b.ctx, h->b.model,
                                             &h->sizes, q->groups * q->dim,
                                             names[i]);
        assert_int_equal(e, TSR_OK);
        float *y = vector_run(&h->b, seq, x, n, &out);
        vector_compare(&h->b, y, out, array);
        free(y);
        tsri_seq_free(&seq);
    }
}

/* codes: [frames][4] of the vector, all of which are safe. */
static void compare_codes(bench *h, const audio_codes *codes, const char *name)
{
    check_npy want = vector_array(h->v->name, "%s", name);
    check_npy margin = vector_array(h->v->name, "%s_margin", name);

    assert_int_equal(codes->frames, want.shape[0]);
    assert_int_equal(BOOKS, want.shape[1]);
    for (size_t i = 0; i < want.count; i++) {
        assert_true(((float *)margin.data)[i] > 1e-3f);
        assert_int_equal(codes->codes[i], ((int32_t *)want.data)[i]);
    }
    h->b.compared++;
    free(want.data);
    free(margin.data);
}

static void check_length(bench *h, int length)
{
    const tsri_flow *flow = h->self;
    const tsri_audio_options options = { .books = BOOKS };
    check_npy input = vector_array(h->v->name, "L%d_input", length);
    char name[CHECK_NAME];
    size_t frames;

    float *z = vector_run(&h->b, flow->enc, input.data, input.count, &frames);
    vector_compare(&h->b, z, frames, check_name(name, "L%d_latent", length));
    check_layers(h, input.data, input.count, length, true);
    audio_codes codes = audio_encode(codec, h->self, &options, input.data,
                                     input.count, NULL);
    compare_codes(h, &codes, check_name(name, "L%d_codes", length));
    assert_int_equal(tsri_quantiser_lookup(&flow->quantiser, codes.codes,
                                           codes.frames, BOOKS, z), TSR_OK);
    vector_compare(&h->b, z, frames, check_name(name, "L%d_zq", length));
    check_npy zq = vector_array(h->v->name, "%s", name);
    float *stored = vector_rows(&zq);
    check_layers(h, stored, frames, length, false);
    audio_sound y = audio_decode(codec, h->self, &options, &codes, NULL);
    vector_compare(&h->b, y.x, y.n, check_name(name, "L%d_recon", length));
    free(y.x);
    free(codes.codes);
    free(stored);
    free(zq.data);
    free(z);
    free(input.data);
}

static void check_vector(const vector *v, unsigned cpu, bool imported)
{
    bench h;

    bench_open(&h, v, cpu, imported);
    assert_int_equal(h.shape->rate, v->form[0]);
    assert_int_equal(h.shape->channels, 1);
    assert_int_equal(h.shape->hop, v->form[2]);
    assert_int_equal(h.shape->books, BOOKS);
    assert_int_equal(h.shape->default_books, BOOKS);
    assert_int_equal(h.shape->codewords, v->codewords);
    assert_true(h.shape->whole);
    for (int n = 0; n < 2; n++)
        check_length(&h, v->lengths[n]);
    assert_int_equal(h.b.compared, v->compared);
    bench_close(&h);
}

static void test_vectors(void **state)
{
    (void)state;
    for (int i = 0; i < VARIANTS; i++)
        for (size_t k = 0; k < sizeof vectors / sizeof *vectors; k++)
            check_vector(&vectors[k], variants[i], false);
}

static void test_imported(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof vectors / sizeof *vectors; k++)
        check_vector(&vectors[k], UINT_MAX, true);
}

/* The published sizes look this far: 22712 samples are 71 frames, and a decoder
 * waits for 14. */
static void test_reach(void **state)
{
    bench h;
    tsri_seq *seq;
    uint64_t reach;
    (void)state;
    bench_open(&h, &vectors[0], UINT_MAX, false);
    assert_int_equal(tsri_hificodec_encoder(&seq, h.b.ctx, h.b.model, &h.sizes,
                                            NULL, &reach), TSR_OK);
    assert_int_equal(reach, 22712);
    assert_int_equal(((const tsri_flow *)h.self)->context, 71);
    assert_int_equal(h.shape->decoder_delay, 14);
    tsri_seq_free(&seq);
    bench_close(&h);
}

/* ---- streams ---- */

static const hificodec_sizes tiny[] = {
    { .rate = 16000, .base = 8, .initial = 8, .up = { 4, 3 }, .taps = { 8, 5 },
      .ups = 2, .kernel = { 3, 5 }, .kernels = 2, .steps = 2, .pairs = true,
      .dim = 3, .codewords = 40 },
    { .rate = 24000, .base = 16, .initial = 16, .up = { 3, 2, 2 },
      .taps = { 7, 4, 4 }, .ups = 3, .kernel = { 3 }, .kernels = 1, .steps = 1,
      .dim = 4, .codewords = 7 },
};
enum { TINY = sizeof tiny / sizeof *tiny };

static void *open_tiny(tsr_context *ctx, const hificodec_sizes *s)
{
    check_tensors list = hificodec_model(s, 7);
    tsr_model *model = audio_model(ctx, &list, SIZE_MAX, "hificodec", file);
    void *self;

    assert_int_equal(codec->open(&self, ctx, model), TSR_OK);
    tsr_model_unref(&model);
    check_tensors_free(&list);
    return self;
}

static void test_pieces(void **state)
{
    static const size_t lengths[] = { 1, 11, 12, 13, 240, 1313, 4000 };
    (void)state;
    for (int v = 0; v < VARIANTS; v++)
        for (int i = 0; i < TINY; i++) {
            tsr_context *ctx = audio_context(message, variants[v], 1 + v);
            void *self = open_tiny(ctx, &tiny[i]);
            for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
                audio_check_pieces(codec, self, lengths[k], 0, 50 + k);
                audio_check_pieces(codec, self, lengths[k], 0.011, 90 + k);
            }
            codec->close(&self);
            tsr_context_close(&ctx);
        }
}

/* The definition: each window, with its context, as a sound of its own. */
static void check_windows(void *self, const float *x, size_t n, int window)
{
    const tsri_flow *flow = self;
    const size_t hop = (size_t)flow->shape.hop, c = (size_t)flow->context;
    const size_t w = (size_t)window, frames = n / hop;
    tsri_audio_options options = { .books = BOOKS };
    options.window = (double)(w * hop) / flow->shape.rate;
    audio_codes all = audio_encode(codec, self, &options, x, n, NULL);

    options.window = 0;
    assert_int_equal(all.frames, frames);
    for (size_t first = 0; first < frames; first += w) {
        const size_t from = first > c ? first - c : 0;
        const size_t end = (first + w + c) * hop;
        const size_t count = end < n ? end - from * hop : n - from * hop;
        const size_t keep = first + w < frames ? w : frames - first;
        audio_codes one = audio_encode(codec, self, &options, x + from * hop,
                                       count, NULL);
        assert_true((size_t)one.frames >= first - from + keep);
        assert_memory_equal(all.codes + first * BOOKS,
                            one.codes + (first - from) * BOOKS,
                            keep * BOOKS * 2);
        free(one.codes);
    }
    free(all.codes);
}

static void test_windows(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    (void)state;
    for (int i = 0; i < TINY; i++) {
        void *self = open_tiny(ctx, &tiny[i]);
        float *x = audio_signal(2000, 1, 8);
        check_windows(self, x, 1999, 1);
        check_windows(self, x, 2000, 9);
        check_windows(self, x, 1991, 50);
        check_windows(self, x, 240, 20);
        check_windows(self, x, 100, 20);
        /* What fits a window is coded as published. */
        check_windows(self, x, 1999, 1000);
        free(x);
        codec->close(&self);
    }
    tsr_context_close(&ctx);
}

/* Fewer books are the first of all; fewer than groups are refused when
 * encoding, and decoded with zeros for the rest. */
static void test_books(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    void *self = open_tiny(ctx, &tiny[0]), *stream;
    const tsri_flow *flow = self;
    const int dim = flow->quantiser.shape.dim;
    float *x = audio_signal(900, 1, 3), z[4][2][3];
    tsri_audio_options options = { .books = BOOKS };
    (void)state;

    audio_codes all = audio_encode(codec, self, &options, x, 900, NULL);
    assert_int_equal(all.frames, 75);
    for (options.books = 2; options.books < BOOKS; options.books++) {
        audio_codes c = audio_encode(codec, self, &options, x, 900, NULL);
        for (int t = 0; t < c.frames; t++)
            assert_memory_equal(c.codes + t * c.books, all.codes + t * BOOKS,
                                (size_t)c.books * 2);
        free(c.codes);
    }
    for (int books = 1; books <= BOOKS; books++)
        assert_int_equal(tsri_quantiser_lookup(&flow->quantiser, all.codes, 1,
                                               books, z[books - 1][0]), TSR_OK);
    for (int d = 0; d < dim; d++) {
        assert_true(z[0][1][d] == 0 && z[0][0][d] == z[1][0][d]);
        assert_true(z[2][0][d] == z[3][0][d] && z[2][1][d] == z[1][1][d]);
    }
    options.books = 1;
    assert_int_equal(codec->enc_open(&stream, self, &options), TSR_E_ARG);
    options.books = 5;
    assert_int_equal(codec->enc_open(&stream, self, &options), TSR_E_ARG);
    free(all.codes);
    free(x);
    codec->close(&self);
    tsr_context_close(&ctx);
}

static void test_latency(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    (void)state;
    for (int i = 0; i < TINY; i++) {
        void *self = open_tiny(ctx, &tiny[i]), *enc;
        const int hop = codec->shape(self)->hop;
        tsri_audio_options options = { .books = BOOKS };
        uint64_t start, running;
        uint16_t codes[400 * BOOKS];
        float *x = audio_signal(4000, 1, 3);
        int frames;

        assert_int_equal(codec->enc_open(&enc, self, &options), TSR_OK);
        codec->enc_latency(enc, &start, &running);
        assert_true(start == UINT64_MAX && running == UINT64_MAX);
        codec->enc_close(&enc);
        options.window = 10.0 * hop / codec->shape(self)->rate;
        assert_int_equal(codec->enc_open(&enc, self, &options), TSR_OK);
        codec->enc_latency(enc, &start, &running);
        assert_int_equal(codec->enc_push(enc, x, start - 1, false), TSR_OK);
        assert_int_equal(codec->enc_take(enc, codes, 400, &frames, NULL),
                         TSR_OK);
        assert_int_equal(frames, 0);
        assert_int_equal(codec->enc_push(enc, x, 1, false), TSR_OK);
        assert_int_equal(codec->enc_take(enc, codes, 400, &frames, NULL),
                         TSR_OK);
        assert_int_equal(frames, 10);
        /* The first frame of a window waits longest. */
        assert_int_equal(running, start - (uint64_t)hop);
        codec->enc_close(&enc);
        free(x);
        codec->close(&self);
    }
    tsr_context_close(&ctx);
}

static void test_no_sound(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    void *self = open_tiny(ctx, &tiny[0]);
    (void)state;
    for (int i = 0; i < 4; i++) {
        const tsri_audio_options options = { .books = BOOKS,
                                             .window = i & 1 ? 0.01 : 0 };
        const float one = 0.5f;
        audio_codes none = audio_encode(codec, self, &options, &one,
                                        (size_t)i / 2, NULL);
        assert_int_equal(none.frames, 0);
        audio_sound s = audio_decode(codec, self, &options, &none, NULL);
        assert_int_equal(s.n, 0);
        free(s.x);
        free(none.codes);
    }
    codec->close(&self);
    tsr_context_close(&ctx);
}

/* A whole sound needs memory for all of it, windows do not. */
static void test_limit(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    void *self = open_tiny(ctx, &tiny[0]), *enc;
    tsri_audio_options options = { .books = BOOKS };
    float *x = audio_signal(40000, 1, 4);
    (void)state;

    ctx->max_memory = 1 << 20;
    assert_int_equal(codec->enc_open(&enc, self, &options), TSR_OK);
    assert_int_equal(codec->enc_push(enc, x, 40000, true), TSR_E_LIMIT);
    codec->enc_close(&enc);
    options.window = 0.01;
    audio_codes c = audio_encode(codec, self, &options, x, 40000, NULL);
    assert_int_equal(c.frames, 40000 / codec->shape(self)->hop);
    free(c.codes);
    free(x);
    codec->close(&self);
    tsr_context_close(&ctx);
}

static void test_damaged_state(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    (void)state;
    for (int i = 0; i < 2 * TINY; i++) {
        void *self = open_tiny(ctx, &tiny[i / 2]);
        audio_check_states(codec, self, i & 1 ? 0.004 : 0, 9 + (uint64_t)i);
        codec->close(&self);
    }
    tsr_context_close(&ctx);
}

/* ---- bad models ---- */

static tsr_error open_list(tsr_context *ctx, check_tensors *list, size_t skip)
{
    return audio_try_model(codec, ctx, list, skip, file);
}

static void test_missing(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    (void)state;
    for (int i = 0; i < TINY; i++) {
        check_tensors list = hificodec_model(&tiny[i], 7);
        for (size_t k = 0; k < list.count; k++) {
            const char *name = list.tensor[k].name;
            *message = 0;
            assert_int_equal(open_list(ctx, &list, k), TSR_E_SHAPE);
            if (!strstr(message, name))
                fail_msg("without %s: %s", name, message);
        }
        check_tensors_free(&list);
    }
    tsr_context_close(&ctx);
}

static void test_wrong_shape(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    check_tensors list = hificodec_model(&tiny[0], 7);
    (void)state;
    for (size_t k = 0; k < list.count; k++) {
        check_tensor *t = &list.tensor[k];
        const check_tensor was = *t;
        for (int d = 0; d < t->rank; d++) {
            t->dims[d]++;
            t->bytes = check_dims(t->rank, t->dims) * 4;
            t->data = calloc(1, t->bytes);
            if (open_list(ctx, &list, SIZE_MAX) != TSR_E_SHAPE)
                fail_msg("%s side %d", t->name, d);
            free(t->data);
            *t = was;
        }
    }
    check_tensors_free(&list);
    tsr_context_close(&ctx);
}

/* Integers that do not fit: form, rates, dilations. */
static void test_absurd_numbers(void **state)
{
    static const struct { const char *name; int at, value; } bad[] = {
        { "tessera.audio", 0, 0 }, { "tessera.audio", 1, 2 },
        { "tessera.audio", 2, 0 }, { "tessera.audio", 2, 24 },
        { "tessera.audio", 3, 1 }, { "tessera.audio", 4, 1 },
        { "tessera.audio", 5, 0 }, { "tessera.audio", 6, 12 },
        { "tessera.hificodec.rates", 0, 0 },
        { "tessera.hificodec.rates", 0, -4 },
        { "tessera.hificodec.rates", 0, INT_MAX },
        { "tessera.hificodec.rates", 1, 4 },
        { "tessera.hificodec.dilations", 0, 0 },
        { "tessera.hificodec.dilations", 3, 257 },
    };
    static const int dilations[] = { 1, 3, 1, 3 };
    const uint64_t two[] = { 2, 2 };
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        check_tensors list = hificodec_model(&tiny[0], 7);
        audio_ints(&list, "tessera.hificodec.dilations", 2, two, dilations);
        qsort(list.tensor, list.count, sizeof *list.tensor, check_by_name);
        assert_int_equal(open_list(ctx, &list, SIZE_MAX), TSR_OK);
        int32_t *values = check_tensors_find(&list, bad[i].name)->data;
        values[bad[i].at] = bad[i].value;
        *message = 0;
        assert_int_equal(open_list(ctx, &list, SIZE_MAX), TSR_E_SHAPE);
        if (!strstr(message, "tessera."))
            fail_msg("%s %d = %d: %s", bad[i].name, bad[i].at, bad[i].value,
                     message);
        check_tensors_free(&list);
    }
    tsr_context_close(&ctx);
}

static void test_no_memory(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * TINY; i++) {
        check_tensors list = hificodec_model(&tiny[i / 2], 7);
        audio_check_memory(codec, &list, i & 1 ? 0.004 : 0, file);
        check_tensors_free(&list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_imported),
        cmocka_unit_test(test_reach),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_books),
        cmocka_unit_test(test_latency),
        cmocka_unit_test(test_no_sound),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_damaged_state),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_wrong_shape),
        cmocka_unit_test(test_absurd_numbers),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Codec semantic against PyTorch (training/semantic/vectors.py), and what its streams
 * promise. */
#include <limits.h>
#include "tests/audio_model.h"
#include "tests/vector.h"
#include "codecs/audio/encodec.h"
#include "codecs/audio/flow.h"

enum { BOOKS = 4, DIM = 16, SEMANTIC = 6 };

static const tsri_audio_codec *const codec = &tsri_audio_codec_semantic;
static const char vector[] = "semantic";
static const char file[] = "./test_semantic.safetensors";
static const unsigned variants[] = { 0, UINT_MAX };
static char message[256];

typedef struct bench {
    tsr_context *ctx;
    tsr_model *model;
    void *self;
    check_npy x;
} bench;

static bench bench_open(unsigned cpu)
{
    bench b = { .ctx = audio_context(message, cpu, 1) };

    assert_int_equal(tsr_model_open(&b.model, b.ctx, check_path(
                         vector_file(vector, "model.safetensors"))), TSR_OK);
    assert_int_equal(codec->open(&b.self, b.ctx, b.model), TSR_OK);
    b.x = vector_array(vector, "input");
    return b;
}

static void bench_close(bench *b)
{
    codec->close(&b->self);
    assert_null(b->self);
    tsr_model_unref(&b->model);
    tsr_context_close(&b->ctx);
    free(b->x.data);
}

static void check_near(const float *got, const check_npy *want, double bound)
{
    for (size_t i = 0; i < want->count; i++) {
        const double d = fabs((double)got[i] -
                              (double)((float *)want->data)[i]);
        assert_true(d <= bound);    /* and no NaN */
    }
}

static tsri_audio_options options(int books)
{
    return (tsri_audio_options){ .books = books };
}

/* ---- against PyTorch ---- */

static void test_latent(void **state)
{
    check_npy want = vector_array(vector, "latent");
    float *y = malloc((want.count + DIM) * sizeof *y);
    (void)state;

    for (int v = 0; v < 2; v++) {
        bench b = bench_open(variants[v]);
        tsri_seq_stream *stream;
        const tsri_flow *flow = b.self;
        assert_int_equal(tsri_seq_open(&stream, flow->enc, b.ctx, false), TSR_OK);
        assert_int_equal(tsri_seq_push(stream, b.x.data, b.x.count, false, true),
                         TSR_OK);
        assert_int_equal(tsri_seq_take(stream, y, want.count / DIM + 1),
                         want.count / DIM);
        check_near(y, &want, 1e-5);
        tsri_seq_close(&stream);
        bench_close(&b);
    }
    free(y);
    free(want.data);
}

static void test_codes(void **state)
{
    check_npy want = vector_array(vector, "codes");
    const tsri_audio_options all = options(BOOKS);
    (void)state;

    for (int v = 0; v < 2; v++) {
        bench b = bench_open(variants[v]);
        audio_codes got = audio_encode(codec, b.self, &all, b.x.data, b.x.count,
                                       NULL);
        assert_int_equal(got.frames, want.shape[0]);
        assert_memory_equal(got.codes, want.data, want.count * 2);
        free(got.codes);
        bench_close(&b);
    }
    free(want.data);
}

static void check_samples(bench *b, int books)
{
    check_npy codes = vector_array(vector, "codes");
    check_npy want = vector_array(vector, "recon_%d", books);
    const tsri_audio_options own = options(BOOKS);
    audio_codes some = { .frames = (int)codes.shape[0], .books = books };

    some.codes = malloc(codes.count * sizeof *some.codes);
    for (int i = 0; i < some.frames * books; i++)
        some.codes[i] = ((uint16_t *)codes.data)[i / books * BOOKS + i % books];
    audio_sound got = audio_decode(codec, b->self, &own, &some, NULL);
    assert_int_equal(got.n, want.count);
    check_near(got.x, &want, 1e-5);
    free(got.x);
    free(some.codes);
    free(codes.data);
    free(want.data);
}

static void test_samples(void **state)
{
    (void)state;
    for (int v = 0; v < 2; v++) {
        bench b = bench_open(variants[v]);
        check_samples(&b, 1);
        check_samples(&b, 2);
        check_samples(&b, 4);
        bench_close(&b);
    }
}

/* ---- what streams promise ---- */

static void test_pieces(void **state)
{
    bench b = bench_open(UINT_MAX);
    (void)state;

    audio_check_pieces(codec, b.self, 0, 0, 1);
    audio_check_pieces(codec, b.self, 1, 0, 2);
    audio_check_pieces(codec, b.self, 640, 0, 3);
    audio_check_pieces(codec, b.self, 7001, 0, 4);
    bench_close(&b);
}

static void test_states(void **state)
{
    bench b = bench_open(UINT_MAX);
    (void)state;

    audio_check_states(codec, b.self, 0, 7);
    bench_close(&b);
}

/* Codes of book 0 are the same whatever comes behind them, and however codes
 * are searched for. */
static void test_meaning_stays(void **state)
{
    bench b = bench_open(UINT_MAX);
    const tsri_audio_options all = options(BOOKS);
    (void)state;

    audio_codes whole = audio_encode(codec, b.self, &all, b.x.data, b.x.count,
                                     NULL);
    for (int books = 1; books <= BOOKS; books++) {
        tsri_audio_options own = options(books);
        own.beam = 8;
        audio_codes c = audio_encode(codec, b.self, &own, b.x.data, b.x.count,
                                     NULL);
        assert_int_equal(c.frames, whole.frames);
        for (int i = 0; i < c.frames * books; i++)
            assert_int_equal(c.codes[i], whole.codes[i / books * BOOKS +
                                                     i % books]);
        free(c.codes);
    }
    free(whole.codes);
    bench_close(&b);
}

/* Rows of the file, and zeros in the dimensions of the other books. */
static void test_words(void **state)
{
    bench b = bench_open(UINT_MAX);
    const tsr_tensor *t = tsr_model_tensor(b.model, "quantizer.semantic.embed");
    const tsri_audio_shape *shape = codec->shape(b.self);
    int dim;
    (void)state;

    assert_int_equal(codec->words(b.self, NULL, &dim), TSR_OK);
    assert_int_equal(dim, DIM);
    float *z = malloc((size_t)(shape->codewords * dim) * sizeof *z);
    assert_int_equal(codec->words(b.self, z, &dim), TSR_OK);
    assert_int_equal(t->dims[1], SEMANTIC);
    for (int i = 0; i < shape->codewords; i++) {
        int some = 0;
        for (int d = 0; d < SEMANTIC; d++)
            some += z[i * DIM + d] != 0;
        assert_true(some > 0);
        for (int d = SEMANTIC; d < DIM; d++)
            assert_true(z[i * DIM + d] == 0);
    }
    free(z);
    bench_close(&b);
}

static void test_told(void **state)
{
    bench b = bench_open(UINT_MAX);
    tsr_audio_model_info about;
    tsr_audio_info info;
    tsr_audio_encoder *e;
    const uint8_t *extra;
    size_t bytes;
    (void)state;

    assert_int_equal(tsr_audio_model_describe(b.ctx, b.model, &about), TSR_OK);
    assert_int_equal(about.semantic_books, 1);
    assert_int_equal(about.books, BOOKS);
    assert_int_equal(about.hop, 640);
    assert_int_equal(tsr_audio_encoder_open(&e, b.ctx, b.model, NULL), TSR_OK);
    tsr_audio_encoder_extradata(e, &extra, &bytes);
    assert_int_equal(tsr_audio_describe(b.ctx, extra, bytes, &info), TSR_OK);
    assert_string_equal(info.codec, "semantic");
    assert_int_equal(info.semantic_books, 1);
    tsr_audio_encoder_close(&e);
    bench_close(&b);
}

/* ---- models that are refused ---- */

static check_tensors copy_tensors(const tsr_model *model)
{
    check_tensors list = { NULL, 0 };

    for (size_t i = 0; i < tsr_model_tensor_count(model); i++) {
        const tsr_tensor *t = tsr_model_tensor_at(model, i);
        memcpy(check_tensors_add(&list, t->name, tsr_dtype_name(t->dtype),
                                 tsr_dtype_bytes(t->dtype), t->rank, t->dims),
               t->data, t->bytes);
    }
    qsort(list.tensor, list.count, sizeof *list.tensor, check_by_name);
    return list;
}

static void refuse(tsr_context *ctx, check_tensors *list, size_t skip)
{
    tsr_model *model = audio_model(ctx, list, skip, "semantic", file);
    void *self;

    assert_int_equal(codec->open(&self, ctx, model), TSR_E_SHAPE);
    assert_null(self);
    tsr_model_unref(&model);
}

/* Without any one of its tensors but the last book, and with numbers in
 * tessera.audio that do not fit. */
static void test_refused(void **state)
{
    bench b = bench_open(UINT_MAX);
    check_tensors list = copy_tensors(b.model);
    static const int bad[][8] = {
        { 16000, 2, 640, 0, 0, 1, 0, 0 }, { 16000, 1, 320, 0, 0, 1, 0, 0 },
        { 16000, 1, 640, 0, 1, 1, 0, 0 }, { 16000, 1, 640, 0, 0, 1, 6400, 6400 },
    };
    (void)state;

    for (size_t i = 0; i < list.count; i++)
        if (strcmp(list.tensor[i].name, "quantizer.acoustic.layers.2.embed"))
            refuse(b.ctx, &list, i);
    check_tensor *form = check_tensors_find(&list, "tessera.audio");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memcpy(form->data, bad[i], sizeof bad[i]);
        refuse(b.ctx, &list, SIZE_MAX);
    }
    check_tensors_free(&list);
    bench_close(&b);
}

/* A book of another width than the others. */
static void test_uneven(void **state)
{
    bench b = bench_open(UINT_MAX);
    check_tensors list = copy_tensors(b.model);
    check_tensor *book = check_tensors_find(&list,
                                            "quantizer.semantic.embed");
    (void)state;

    book->dims[0] /= 2;
    book->dims[1] *= 2;
    refuse(b.ctx, &list, SIZE_MAX);
    check_tensors_free(&list);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_latent),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_meaning_stays),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_told),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_uneven),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

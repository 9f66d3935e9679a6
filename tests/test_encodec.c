/* SPDX-License-Identifier: BSD-2-Clause */
/* EnCodec: the published implementation's vectors, and what streams promise. */
#include <limits.h>
#include "tests/audio_model.h"
#include "tests/import_tensors.h"
#include "tests/vector.h"
#include "codecs/audio/encodec.h"
#include "codecs/audio/flow.h"

static const tsri_audio_codec *const codec = &tsri_audio_codec_encodec;
static const char file[] = "./test_encodec.safetensors";
static char message[256];

/* Plain C, and the fastest kernels. */
static const unsigned variants[] = { 0, UINT_MAX };
enum { VARIANTS = 2 };

/* ---- vectors ---- */

typedef struct vector {
    const char *name;
    int form[8];
    int lengths[4];
    int compared;           /* arrays, of one variant */
    const char *arch;       /* of import; NULL: it tells */
} vector;

static const vector vectors[] = {
    { "ac_encodec_f4_d32_16k", { 16000, 1, 320, 0, 0, 0, 0, 0 },
      { 6401, 320 }, 8, "academicodec" },
    { "encodec_24k_f4_d32", { 24000, 1, 320, 1, 0, 0, 0, 0 },
      { 6417, 320, 7, 3 }, 36, NULL },
    { "encodec_48k_f4_d16", { 48000, 2, 320, 0, 1, 0, 4800, 4752 },
      { 10000, 4752 }, 38, NULL },
};

typedef struct bench {
    const vector *v;
    vector_bench b;
    tsri_audio_form form;
    void *self;
    const tsri_audio_shape *shape;
} bench;

/* The vector's segments are shorter than those of the published model, which
 * import takes for granted: nothing in the tensors says how long they are. */
static tsr_model *with_segments(tsr_context *ctx, tsr_model *model,
                                const vector *v)
{
    const uint64_t dims[] = { 8 };
    const tsr_tensor *t = tsr_model_tensor(model, "tessera.audio");
    const int published[2] = { 48000, 47520 };

    assert_non_null(t);
    assert_memory_equal(t->data, v->form, 6 * sizeof *v->form);
    assert_memory_equal((const int *)t->data + 6, published, sizeof published);
    return audio_retold(ctx, model, "tessera.audio", 1, dims, v->form, file);
}

/* As the codec reads it: with its form, or imported, which finds that. */
static tsr_model *vector_model(tsr_context *ctx, const vector *v, bool imported)
{
    check_tensors list = vector_weights(ctx, v->name, NULL);
    tsr_model *model;

    if (imported) {
        model = import_tensors(ctx, &list, v->arch, 0, file);
        if (v->form[6])
            model = with_segments(ctx, model, v);
    } else {
        audio_form(&list, v->form);
        qsort(list.tensor, list.count, sizeof *list.tensor, check_by_name);
        model = audio_model(ctx, &list, SIZE_MAX, "encodec", file);
    }
    check_tensors_free(&list);
    return model;
}

static void bench_open(bench *b, const vector *v, unsigned cpu,
                       bool imported)
{
    *b = (bench){ .v = v };
    b->b = (vector_bench){ .name = v->name,
                           .ctx = audio_context(message, cpu, 1) };
    b->b.meta = vector_text(v->name, "meta.json");
    b->b.model = vector_model(b->b.ctx, v, imported);
    assert_int_equal(tsri_audio_form_read(b->b.ctx, b->b.model, &b->form), TSR_OK);
    assert_int_equal(codec->open(&b->self, b->b.ctx, b->b.model), TSR_OK);
    b->shape = codec->shape(b->self);
}

static void bench_close(bench *b)
{
    codec->close(&b->self);
    assert_null(b->self);
    vector_close(&b->b);
}

/* Every stored layer. */
static void check_layers(bench *b, const char *part, const float *x, size_t n,
                         int length)
{
    const bool encoder = !strcmp(part, "enc");

    for (int layer = 0; layer < 16; layer++) {
        char name[CHECK_NAME];
        snprintf(name, sizeof name, "L%d_%s%02d", length, part, layer);
        if (!vector_has(b->v->name, name))
            continue;
        tsri_seq *seq;
        size_t out;
        assert_int_equal((encoder ? tsri_encodec_encoder
                                  : tsri_encodec_decoder)(
                             &seq, b->b.ctx, b->b.model, &b->form, layer + 1),
                         TSR_OK);
        float *y = vector_run(&b->b, seq, x, n, &out);
        vector_compare(&b->b, y, out, name);
        free(y);
        tsri_seq_free(&seq);
    }
}

/* codes: [books][frames] of the vector, all of which are safe. */
static void compare_codes(bench *b, const uint16_t *codes, int frames,
                          const char *name)
{
    check_npy want = vector_array(b->v->name, "%s", name);
    check_npy margin = vector_array(b->v->name, "%s_margin", name);
    const int books = (int)want.shape[0];

    assert_int_equal(frames, want.shape[1]);
    assert_int_equal(books, b->shape->books);
    for (int q = 0; q < books; q++)
        for (int t = 0; t < frames; t++) {
            const int at = q * frames + t;
            assert_true(((float *)margin.data)[at] > 1e-4f);
            assert_int_equal(codes[t * books + q], ((int32_t *)want.data)[at]);
        }
    b->b.compared++;
    free(want.data);
    free(margin.data);
}

/* The stored codes in stream order. */
static void stored_codes(const bench *b, const char *name, audio_codes *to)
{
    check_npy a = vector_array(b->v->name, "%s", name);
    const int books = (int)a.shape[0], n = (int)a.shape[1];

    to->books = books;
    to->codes = realloc(to->codes, (size_t)(to->frames + n) * (size_t)books * 2);
    for (int t = 0; t < n; t++)
        for (int q = 0; q < books; q++)
            to->codes[(to->frames + t) * books + q] =
                (uint16_t)((int32_t *)a.data)[q * n + t];
    to->frames += n;
    to->segment[to->segments] = n;
    free(a.data);
}

static void check_zq(bench *b, const uint16_t *codes, int frames, int books,
                     const char *name)
{
    const tsri_flow *flow = b->self;
    float *z = malloc((size_t)frames * (size_t)flow->quantiser.shape.dim *
                      sizeof *z);
    assert_int_equal(tsri_quantiser_lookup(&flow->quantiser, codes, frames,
                                           books, z), TSR_OK);
    vector_compare(&b->b, z, (size_t)frames, name);
    free(z);
}

static void check_latent(bench *b, const float *x, size_t n, const char *name)
{
    size_t out;
    float *z = vector_run(&b->b, ((const tsri_flow *)b->self)->enc, x, n, &out);
    vector_compare(&b->b, z, out, name);
    free(z);
}

/* A sound that is coded in one piece. */
static void check_plain(bench *b, int length, const float *x)
{
    const tsri_audio_options all = { .books = b->shape->books };
    audio_codes stored = { 0 };
    char name[CHECK_NAME];

    check_latent(b, x, (size_t)length, check_name(name, "L%d_latent", length));
    check_layers(b, "enc", x, (size_t)length, length);
    audio_codes codes = audio_encode(codec, b->self, &all, x, (size_t)length,
                                     NULL);
    compare_codes(b, codes.codes, codes.frames,
                  check_name(name, "L%d_codes", length));
    stored_codes(b, name, &stored);
    check_zq(b, stored.codes, stored.frames, stored.books,
             check_name(name, "L%d_zq", length));
    check_npy zq = vector_array(b->v->name, "%s", name);
    float *z = vector_rows(&zq);
    check_layers(b, "dec", z, (size_t)stored.frames, length);
    audio_sound y = audio_decode(codec, b->self, &all, &stored, NULL);
    vector_compare(&b->b, y.x, y.n, check_name(name, "L%d_recon", length));
    free(y.x);
    free(z);
    free(zq.data);
    free(codes.codes);
    free(stored.codes);
}

/* Codes and loudness of each segment of a sound. */
static void check_encoded(bench *b, int length, const audio_codes *codes,
                          audio_codes *stored)
{
    char name[CHECK_NAME];
    int at = 0;

    for (int i = 0; i < codes->segments; at += codes->segment[i++]) {
        compare_codes(b, codes->codes + at * codes->books, codes->segment[i],
                      check_name(name, "L%d_seg%d_codes", length, i));
        stored_codes(b, name, stored);
        check_zq(b, stored->codes + at * stored->books, codes->segment[i],
                 stored->books, check_name(name, "L%d_seg%d_zq", length, i));
        float scale;
        assert_true(tsri_segments_scale(codes->side[i], &scale));
        vector_compare(&b->b, &scale, 1, check_name(name, "L%d_seg%d_scale", length, i));
        memcpy(stored->side[i], codes->side[i], TSRI_AUDIO_SIDE_MAX);
        stored->segments++;
    }
    check_name(name, "L%d_seg%d_codes", length, codes->segments);
    assert_false(vector_has(b->v->name, name));
}

static void check_segmented(bench *b, int length, const float *x)
{
    const tsri_audio_options all = { .books = b->shape->books };
    audio_codes stored = { 0 };
    char name[CHECK_NAME];

    audio_codes codes = audio_encode(codec, b->self, &all, x, (size_t)length,
                                     NULL);
    check_encoded(b, length, &codes, &stored);
    for (int i = 0; i < codes.segments; i++) {
        const size_t from = (size_t)i * (size_t)b->form.step;
        const size_t left = (size_t)length - from;
        const size_t n = left < (size_t)b->form.segment
                             ? left : (size_t)b->form.segment;
        float scale, *piece = malloc(n * 2 * sizeof *piece);
        tsri_segments_scale(codes.side[i], &scale);
        for (size_t k = 0; k < 2 * n; k++)
            piece[k] = x[2 * from + k] / scale;
        check_latent(b, piece, n, check_name(name, "L%d_seg%d_latent", length,
                                             i));
        if (i == 0)
            check_layers(b, "enc", piece, n, length);
        free(piece);
    }
    check_npy zq = vector_array(b->v->name, "L%d_seg0_zq", length);
    float *z = vector_rows(&zq);
    check_layers(b, "dec", z, (size_t)stored.segment[0], length);
    audio_sound y = audio_decode(codec, b->self, &all, &stored, NULL);
    vector_compare(&b->b, y.x, y.n, check_name(name, "L%d_recon", length));
    free(y.x);
    free(z);
    free(zq.data);
    free(codes.codes);
    free(stored.codes);
}

static void check_vector(const vector *v, unsigned cpu, bool imported)
{
    bench b;

    bench_open(&b, v, cpu, imported);
    assert_int_equal(b.shape->rate, v->form[0]);
    assert_int_equal(b.shape->channels, v->form[1]);
    assert_int_equal(b.shape->hop, 320);
    assert_int_equal(b.shape->codewords, 1024);
    assert_int_equal(b.shape->segmented, v->form[6] > 0);
    for (int i = 0; i < 4 && v->lengths[i]; i++) {
        check_npy input = vector_array(v->name, "L%d_input", v->lengths[i]);
        float *x = vector_rows(&input);
        (b.shape->segmented ? check_segmented : check_plain)(
            &b, v->lengths[i], x);
        free(x);
        free(input.data);
    }
    assert_int_equal(b.b.compared, v->compared);
    bench_close(&b);
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

/* ---- streams ---- */

static const encodec_sizes tiny[] = {
    { .rate = 24000, .channels = 1, .filters = 3, .decoder_filters = 2,
      .ratio = { 5, 4, 2 }, .ratios = 3, .residuals = 1, .lstms = 2, .dim = 6,
      .books = 5, .codewords = 33, .causal = true },
    { .rate = 16000, .channels = 2, .filters = 2, .decoder_filters = 3,
      .ratio = { 3, 2 }, .ratios = 2, .residuals = 2, .lstms = 1, .dim = 4,
      .books = 2, .codewords = 300, .folded = true },
    { .rate = 24000, .channels = 1, .filters = 2, .decoder_filters = 4,
      .ratio = { 4, 3 }, .ratios = 2, .residuals = 1, .dim = 5, .books = 6,
      .codewords = 16, .causal = true, .zero = true },
    { .rate = 48000, .channels = 2, .filters = 2, .decoder_filters = 2,
      .ratio = { 3, 2 }, .ratios = 2, .residuals = 1, .lstms = 1, .dim = 4,
      .books = 3, .codewords = 64, .norm = true, .segment = 500, .step = 495 },
};
enum { TINY = sizeof tiny / sizeof *tiny };

static void *open_tiny(tsr_context *ctx, const encodec_sizes *s)
{
    check_tensors list = encodec_model(s, 7);
    tsr_model *model = audio_model(ctx, &list, SIZE_MAX, "encodec",
                                   file);
    void *self;

    assert_int_equal(codec->open(&self, ctx, model), TSR_OK);
    tsr_model_unref(&model); /* the codec has its own reference */
    check_tensors_free(&list);
    return self;
}

static void test_pieces(void **state)
{
    static const size_t lengths[] = { 1, 2, 5, 39, 40, 41, 499, 500, 506, 1313,
                                      4000 };
    (void)state;
    for (int v = 0; v < VARIANTS; v++)
        for (int i = 0; i < TINY; i++) {
            tsr_context *ctx = audio_context(message, variants[v], 1 + v);
            void *self = open_tiny(ctx, &tiny[i]);
            for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++)
                audio_check_pieces(codec, self, lengths[k], 0, 100 + k);
            codec->close(&self);
            tsr_context_close(&ctx);
        }
}

/* Fewer books: the same first codes. */
static void test_books(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    (void)state;
    for (int i = 0; i < TINY; i++) {
        void *self = open_tiny(ctx, &tiny[i]);
        const tsri_audio_shape *shape = codec->shape(self);
        float *x = audio_signal(900, shape->channels, 3);
        tsri_audio_options options = { .books = shape->books };
        void *stream;
        audio_codes all = audio_encode(codec, self, &options, x, 900, NULL);
        for (options.books = 1; options.books < shape->books; options.books++) {
            audio_codes c = audio_encode(codec, self, &options, x, 900, NULL);
            assert_int_equal(c.frames, all.frames);
            for (int t = 0; t < c.frames; t++)
                assert_memory_equal(c.codes + t * c.books,
                                    all.codes + t * all.books,
                                    (size_t)c.books * 2);
            audio_sound s = audio_decode(codec, self, &options, &c, NULL);
            free(s.x);
            free(c.codes);
        }
        options.books = 0;
        assert_int_equal(codec->enc_open(&stream, self, &options), TSR_E_ARG);
        assert_null(stream);
        options.books = shape->books + 1;
        assert_int_equal(codec->enc_open(&stream, self, &options), TSR_E_ARG);
        free(all.codes);
        free(x);
        codec->close(&self);
    }
    tsr_context_close(&ctx);
}

static void test_no_sound(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    (void)state;
    for (int i = 0; i < TINY; i++) {
        void *self = open_tiny(ctx, &tiny[i]);
        const tsri_audio_options options = { .books = 1 };
        audio_codes none = audio_encode(codec, self, &options, NULL, 0, NULL);
        assert_int_equal(none.frames, 0);
        audio_sound s = audio_decode(codec, self, &options, &none, NULL);
        assert_int_equal(s.n, 0);
        free(s.x);
        free(none.codes);
        codec->close(&self);
    }
    tsr_context_close(&ctx);
}

/* What is said of latency is so: the first frame comes with that sample, and
 * not before. */
static void test_latency(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    (void)state;
    for (int i = 0; i < 2 * TINY; i++) {
        void *self = open_tiny(ctx, &tiny[i / 2]), *enc;
        const tsri_audio_shape *shape = codec->shape(self);
        const tsri_audio_options options = { .books = 1, .zero_start = i & 1 };
        float *x = audio_signal(4000, shape->channels, 3);
        uint16_t codes[1000];
        uint8_t side[TSRI_AUDIO_SIDE_MAX];
        uint64_t start, running, first = 0;
        int frames, all = 0;

        assert_int_equal(codec->enc_open(&enc, self, &options), TSR_OK);
        codec->enc_latency(enc, &start, &running);
        for (size_t t = 0; t < 4000; t++) {
            assert_int_equal(codec->enc_push(enc, x + t * (size_t)
                                             shape->channels, 1, false), 0);
            assert_int_equal(codec->enc_take(enc, codes, 1000, &frames, side),
                             TSR_OK);
            if (frames && !first)
                first = t + 1;
            all += frames;
            if (t > 1000 && frames && !shape->segmented)
                assert_int_equal(t + 1, (uint64_t)all * (uint64_t)shape->hop +
                                            running);
        }
        assert_int_equal(first, start);
        if (shape->segmented)
            assert_int_equal(running, 0);
        codec->enc_close(&enc);
        free(x);
        codec->close(&self);
    }
    tsr_context_close(&ctx);
}

/* EnCodec 24 kHz as published: 7 frames to start, then none; causal decoding
 * waits for nothing. */
static void test_published_latency(void **state)
{
    bench b;
    void *enc;
    uint64_t start, running;
    (void)state;
    bench_open(&b, &vectors[1], UINT_MAX, false);
    assert_int_equal(b.shape->default_books, 4);
    assert_int_equal(b.shape->decoder_delay, 0);
    for (int zero = 0; zero < 2; zero++) {
        const tsri_audio_options options = { .books = 1, .zero_start = zero };
        assert_int_equal(codec->enc_open(&enc, b.self, &options), TSR_OK);
        codec->enc_latency(enc, &start, &running);
        assert_int_equal(start, zero ? 320 : 7 * 320);
        assert_int_equal(running, 0);
        codec->enc_close(&enc);
    }
    bench_close(&b);
}

/* ---- hostile bytes ---- */

static void test_damaged_state(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    (void)state;
    for (int i = 0; i < TINY; i++) {
        void *self = open_tiny(ctx, &tiny[i]);
        audio_check_states(codec, self, 0, 9 + (uint64_t)i);
        codec->close(&self);
    }
    tsr_context_close(&ctx);
}

/* A state of another stream. */
static void test_foreign_state(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    void *self[TINY];
    (void)state;
    for (int i = 0; i < TINY; i++)
        self[i] = open_tiny(ctx, &tiny[i]);
    for (int i = 0; i < TINY; i++)
        for (int k = 0; k < TINY; k++) {
            const tsri_audio_options options = { .books = 1 };
            void *a, *b;
            assert_int_equal(codec->enc_open(&a, self[i], &options), TSR_OK);
            assert_int_equal(codec->enc_open(&b, self[k], &options), TSR_OK);
            const size_t n = codec->enc_state_bytes(a);
            uint8_t *bytes = malloc(n);
            codec->enc_state_save(a, bytes);
            assert_int_equal(codec->enc_state_load(b, bytes, n),
                             i == k ? TSR_OK : TSR_E_CORRUPT);
            free(bytes);
            codec->enc_close(&a);
            codec->enc_close(&b);
        }
    for (int i = 0; i < TINY; i++)
        codec->close(&self[i]);
    tsr_context_close(&ctx);
}

/* The loudness of a segment comes from outside. */
static void test_bad_scale(void **state)
{
    static const float bad[] = { 0, -1, NAN, INFINITY, -INFINITY, 1.1e6f };
    static const float good[] = { 1e-8f, 1, 1e6f };
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    void *self = open_tiny(ctx, &tiny[3]), *dec;
    const tsri_audio_options options = { .books = 1 };
    const uint16_t codes[1000] = { 0 };
    uint8_t side[4];
    (void)state;

    assert_int_equal(codec->dec_open(&dec, self, &options), TSR_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memcpy(side, &bad[i], 4);
        assert_int_equal(codec->dec_push(dec, codes, 5, 1, side, false),
                         TSR_E_CORRUPT);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        memcpy(side, &good[i], 4);
        assert_int_equal(codec->dec_push(dec, codes, 5, 1, side, false),
                         TSR_OK);
    }
    assert_int_equal(codec->dec_push(dec, codes, 1000, 1, side, false),
                     TSR_E_CORRUPT);
    codec->dec_close(&dec);
    codec->close(&self);
    tsr_context_close(&ctx);
}

/* Very loud sound is coded with the greatest loudness there is. */
static void test_loud(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    void *self = open_tiny(ctx, &tiny[3]);
    const tsri_audio_options options = { .books = 1 };
    float x[600], scale;
    (void)state;

    for (int i = 0; i < 600; i++)
        x[i] = i % 4 < 2 ? 3e38f : -3e38f;
    audio_codes c = audio_encode(codec, self, &options, x, 300, NULL);
    assert_int_equal(c.segments, 1);
    assert_true(tsri_segments_scale(c.side[0], &scale));
    assert_true(scale == 1e6f);
    free(c.codes);
    codec->close(&self);
    tsr_context_close(&ctx);
}

/* ---- bad models ---- */

static tsr_error open_list(tsr_context *ctx, check_tensors *list, size_t skip)
{
    return audio_try_model(codec, ctx, list, skip, file);
}

/* Without any one tensor: refused, and it is named.  The last LSTM layer and
 * the last book may be absent as a whole, but not in part. */
static void test_missing(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    (void)state;
    for (int i = 0; i < TINY; i++) {
        check_tensors list = encodec_model(&tiny[i], 7);
        char last[CHECK_NAME];
        check_name(last, "quantizer.vq.layers.%d._codebook.embed",
                   tiny[i].books - 1);
        for (size_t k = 0; k < list.count; k++) {
            *message = 0;
            const char *name = list.tensor[k].name;
            const tsr_error e = open_list(ctx, &list, k);
            if (!strcmp(name, last)) {
                assert_int_equal(e, TSR_OK);
                continue;
            }
            assert_int_equal(e, TSR_E_SHAPE);
            if (!strstr(message, name))
                fail_msg("without %s: %s", name, message);
        }
        check_tensors_free(&list);
    }
    tsr_context_close(&ctx);
}

/* With one side of one tensor changed. */
static void test_wrong_shape(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    check_tensors list = encodec_model(&tiny[0], 7);
    (void)state;
    for (size_t k = 0; k < list.count; k++) {
        check_tensor *t = &list.tensor[k];
        const check_tensor was = *t;
        for (int d = 0; d < t->rank; d++) {
            t->dims[d]++;
            t->bytes = check_dims(t->rank, t->dims) * 4;
            t->data = calloc(1, t->bytes);
            const tsr_error e = open_list(ctx, &list, SIZE_MAX);
            /* A kernel that keeps the length may have any size. */
            const bool kernel = d == 2 && strstr(t->name, "weight_v");
            if (!(e == TSR_E_SHAPE || (kernel && e == TSR_OK)))
                fail_msg("%s side %d: %d", t->name, d, e);
            free(t->data);
            *t = was;
        }
    }
    check_tensors_free(&list);
    tsr_context_close(&ctx);
}

/* Values of tessera.audio that do not fit. */
static void test_absurd_form(void **state)
{
    static const struct { int at, value; } bad[] = {
        { 0, 0 }, { 0, -1 }, { 0, 384001 }, { 1, 0 }, { 1, 2 }, { 1, 3 },
        { 2, 0 }, { 2, 39 }, { 2, 80 }, { 2, 4097 }, { 2, 65536 }, { 2, INT_MIN }, { 3, 2 },
        { 4, 1 }, { 4, -1 }, { 5, 2 }, { 6, -1 }, { 6, INT_MAX }, { 6, 100 },
        { 7, 1 }, { 7, INT_MAX },
    };
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        check_tensors list = encodec_model(&tiny[0], 7);
        int32_t *form = check_tensors_find(&list, "tessera.audio")->data;
        form[bad[i].at] = bad[i].value;
        *message = 0;
        assert_int_equal(open_list(ctx, &list, SIZE_MAX), TSR_E_SHAPE);
        /* Channels are told by the first convolution. */
        if (!strstr(message, bad[i].at == 1 && bad[i].value == 2
                                 ? "encoder.model.0.conv" : "tessera.audio"))
            fail_msg("value %d = %d: %s", bad[i].at, bad[i].value, message);
        check_tensors_free(&list);
    }
    tsr_context_close(&ctx);
}

/* A number that is not finite, integers instead of floats. */
static void test_bad_values(void **state)
{
    static const char *const names[] = {
        "encoder.model.0.conv.conv.weight_v", "decoder.model.1.lstm.bias_hh_l1",
        "quantizer.vq.layers.2._codebook.embed",
    };
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    (void)state;
    for (int i = 0; i < 3; i++) {
        check_tensors list = encodec_model(&tiny[0], 7);
        check_tensor *t = check_tensors_find(&list, names[i]);
        const float was = *(float *)t->data;
        *(float *)t->data = i ? NAN : INFINITY;
        assert_int_equal(open_list(ctx, &list, SIZE_MAX), TSR_E_SHAPE);
        assert_non_null(strstr(message, names[i]));
        *(float *)t->data = was;
        assert_int_equal(open_list(ctx, &list, SIZE_MAX), TSR_OK);
        memcpy(t->dtype, "I32", 4);
        assert_int_equal(open_list(ctx, &list, SIZE_MAX), TSR_E_SHAPE);
        check_tensors_free(&list);
    }
    tsr_context_close(&ctx);
}

/* More taps than a layer may have. */
static void test_too_large(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);
    encodec_sizes s = tiny[2];
    (void)state;
    s.ratio[0] = 2500;
    s.ratios = 1;
    check_tensors list = encodec_model(&s, 7);
    assert_int_equal(open_list(ctx, &list, SIZE_MAX), TSR_E_SHAPE);
    check_tensors_free(&list);
    tsr_context_close(&ctx);
}

static void test_no_memory(void **state)
{
    (void)state;
    for (int i = 0; i < TINY; i++) {
        check_tensors list = encodec_model(&tiny[i], 7);
        audio_check_memory(codec, &list, 0, file);
        check_tensors_free(&list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_imported),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_books),
        cmocka_unit_test(test_no_sound),
        cmocka_unit_test(test_latency),
        cmocka_unit_test(test_published_latency),
        cmocka_unit_test(test_damaged_state),
        cmocka_unit_test(test_foreign_state),
        cmocka_unit_test(test_bad_scale),
        cmocka_unit_test(test_loud),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_wrong_shape),
        cmocka_unit_test(test_absurd_form),
        cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

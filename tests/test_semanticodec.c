/* SPDX-License-Identifier: BSD-2-Clause */
/* SemantiCodec's encoder against the published one: features, what the acoustic
 * branch gives, tokens; streams, states, import. */
#include <limits.h>
#include "tests/audio_model.h"
#include "tests/memory.h"
#include "tests/vector.h"
#include <tessera/import.h>
#include <tessera/stream.h>
#include "codecs/audio/audio.h"
#include "codecs/audio/semanticodec.h"
#include "lib/bytes.h"

static const tsri_audio_codec *const codec = &tsri_audio_codec_semanticodec;
static const char file[] = "./test_semanticodec.safetensors",
                  npy[] = "./test_semanticodec.npy";
static char message[256];

enum { BOOKS = 2, EVERY = 16 };

static const struct { const char *name; int hop; } vectors[] = {
    { "semanticodec_k1", 320 }, { "semanticodec_k2", 640 },
    { "semanticodec_k4", 1280 },
};

typedef struct bench {
    vector_bench b;
    check_npy tokens, margin;
    float *x;
    size_t n;
    void *self;
} bench;

/* Two samples in a number, the lower one first; free() them. */
static float *sound(size_t *n)
{
    check_npy input = vector_array(vectors[0].name, "input");
    float *x = malloc(2 * input.count * sizeof *x);

    assert_non_null(x);
    for (size_t i = 0; i < input.count; i++) {
        const uint32_t two = (uint32_t)((int32_t *)input.data)[i];
        x[2 * i] = (float)(int16_t)(two & 0xffff) / 32768;
        x[2 * i + 1] = (float)(int16_t)(two >> 16) / 32768;
    }
    *n = 2 * input.count;
    free(input.data);
    return x;
}

static void bench_open(bench *h, const char *name, unsigned cpu, int threads)
{
    *h = (bench){ .b = { .name = name,
                         .ctx = audio_context(message, cpu, threads) } };
    check_tensors list = vector_weights(h->b.ctx, name, NULL);
    qsort(list.tensor, list.count, sizeof *list.tensor, check_by_name);
    h->b.model = audio_model(h->b.ctx, &list, SIZE_MAX, "semanticodec", file);
    check_tensors_free(&list);
    h->tokens = vector_array(name, "tokens");
    h->margin = vector_array(name, "margin");
    h->x = sound(&h->n);
    assert_int_equal(codec->open(&h->self, h->b.ctx, h->b.model), TSR_OK);
}

static void bench_close(bench *h)
{
    codec->close(&h->self);
    free(h->tokens.data);
    free(h->margin.data);
    free(h->x);
    vector_close(&h->b);
}

/* Every 16th row, within 1e-4 of their root mean square. */
static void compare(const bench *h, const float *x, int width, const char *name,
                    int rows)
{
    check_npy want = vector_array(h->b.name, "%s", name);
    double worst = 0, power = 0;

    assert_int_equal(want.shape[1], width);
    assert_in_range(rows, 0, want.shape[0]);
    for (int i = 0; i < rows * width; i++) {
        const double v = (double)((float *)want.data)[i];
        const double got = (double)x[i / width * EVERY * width + i % width];
        worst = fmax(worst, fabs(got - v));
        power += v * v;
    }
    const double allowed = 1e-4 * sqrt(power / (rows * width));
    if (!(worst <= allowed))
        fail_msg("%s %s: off by %g, allowed %g", h->b.name, name, worst,
                 allowed);
    free(want.data);
}

static void check_window(bench *h)
{
    const tsri_semanticodec *c = h->self;
    tsri_semanticodec_work work;

    assert_true(h->n >= c->window + c->beyond);
    assert_int_equal(tsri_semanticodec_front_open(c), TSR_OK);
    assert_int_equal(tsri_semanticodec_work_open(&work, c), TSR_OK);
    assert_int_equal(tsri_semanticodec_window(c, h->x, false, &work), TSR_OK);
    compare(h, work.patch, c->vit.width, "features",
            c->vit.patches / EVERY);
    compare(h, work.latent, c->dim, "latent", c->positions / EVERY);
    tsri_semanticodec_work_close(&work, c);
}

/* Equal but for acoustic tokens that were a near tie. */
static void check_tokens(bench *h, const uint16_t *codes, int frames)
{
    assert_int_equal(frames, h->tokens.shape[0]);
    for (int i = 0; i < frames * BOOKS; i++)
        if (codes[i] != ((int32_t *)h->tokens.data)[i] &&
            (i % BOOKS == 0 || ((float *)h->margin.data)[i / BOOKS] > 1e-5f))
            fail_msg("%s: token %d is %d, not %d", h->b.name, i, codes[i],
                     ((int32_t *)h->tokens.data)[i]);
}

/* Codes are no longer than their books ask for. */
static void check_sizes(const tsri_semanticodec *c)
{
    const uint64_t words[] = {
        tsr_model_tensor(c->model, "semantic.centroids")->dims[0],
        tsr_model_tensor(c->model, "quantizer._codebook.embed")->dims[1] };

    for (int k = 0; k < 2; k++) {
        const int n = tsri_codes_words(c->shape.codewords, c->shape.shorter, k);
        assert_in_range(words[k], (n + 1) / 2, n);
    }
}

static void test_vectors(void **state)
{
    const tsri_audio_options options = { .books = BOOKS };
    check_rng rng = { 4 };

    (void)state;
    for (size_t i = 0; i < 3; i++)
        for (int variant = 0; variant < 2; variant++) {
            bench h;
            bench_open(&h, vectors[i].name, variant ? UINT_MAX : 0,
                       1 + variant);
            assert_int_equal(codec->shape(h.self)->hop, vectors[i].hop);
            assert_int_equal(codec->shape(h.self)->books, BOOKS);
            check_sizes(h.self);
            check_window(&h);
            audio_codes codes = audio_encode(codec, h.self, &options, h.x,
                                             h.n,
                                             variant ? &rng : NULL);
            check_tokens(&h, codes.codes, codes.frames);
            free(codes.codes);
            bench_close(&h);
        }
}

/* Packets hold whole columns of patches. */
static void test_columns(void **state)
{
    static const struct { int asked, frames[3]; } cases[] = {
        { 0, { 248, 124, 64 } }, { 1, { 8, 4, 4 } }, { 17, { 24, 20, 20 } },
    };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        bench h;
        bench_open(&h, vectors[i].name, UINT_MAX, 1);
        for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
            tsr_audio_settings s;
            tsr_audio_encoder *e;
            const uint8_t *head;
            size_t bytes;
            tsr_audio_settings_init(&s);
            s.packet_frames = cases[k].asked;
            assert_int_equal(tsr_audio_encoder_open(&e, h.b.ctx, h.b.model, &s),
                             TSR_OK);
            tsr_audio_encoder_extradata(e, &head, &bytes);
            assert_int_equal(tsri_get32(head + 12), cases[k].frames[i]);
            tsr_audio_encoder_close(&e);
        }
        bench_close(&h);
    }
}

/* ---- the rates of the published variants ---- */

/* A stream of one packet with tokens as large as they get. */
static void write_variant(tsr_context *ctx, const tsri_audio_head *head,
                          mem_file *out)
{
    const tsr_sink sink = { out, mem_write };
    tsri_audio_packet p = { .samples = (uint64_t)(head->hop *
                                                  head->packet_frames),
                            .books = BOOKS, .units = head->packet_frames };
    uint8_t h[TSRI_AUDIO_HEAD_BYTES], modl[32] = { 0 }, data[4096];
    uint16_t codes[2048];
    const uint8_t *body;
    tsr_stream_writer *w;
    tsri_codes *c;
    tsri_codes_coder *coder;
    size_t bytes;

    for (int i = 0; i < head->packet_frames * BOOKS; i++)
        codes[i] = (uint16_t)(tsri_codes_words(head->codewords, head->shorter,
                                               i % BOOKS) - 1);
    tsri_audio_head_put(head, h);
    const size_t n = tsri_audio_packet_put(head, &p, data);
    const tsri_codes_form form = { TSR_AUDIO_ENTROPY_FIXED, false, BOOKS,
                                   head->packet_frames, p.crc };
    check_tensors list = { 0 };
    audio_ints(&list, "other", 1, (uint64_t[]){ 1 }, (int[]){ 1 });
    tsr_model *bare = audio_model(ctx, &list, SIZE_MAX, "x", file);
    check_tensors_free(&list);
    assert_int_equal(tsri_codes_open(&c, ctx, bare, BOOKS, head->codewords),
                     TSR_OK);
    tsr_model_unref(&bare);
    tsri_codes_shorten(c, head->shorter);
    assert_int_equal(tsri_codes_coder_open(&coder, c, ctx), TSR_OK);
    assert_int_equal(tsri_codes_put(coder, &form, codes, &body, &bytes), TSR_OK);
    assert_true(n + bytes <= sizeof data);
    memcpy(data + n, body, bytes);
    assert_int_equal(tsr_stream_writer_open(&w, ctx, &sink, TSR_KIND_AUDIO),
                     TSR_OK);
    assert_int_equal(tsr_stream_writer_chunk(w, TSR_FOURCC('H', 'E', 'A', 'D'), 0,
                                             0, h, sizeof h), TSR_OK);
    assert_int_equal(tsr_stream_writer_chunk(w, TSR_FOURCC('M', 'O', 'D', 'L'), 0,
                                             0, modl, sizeof modl), TSR_OK);
    assert_int_equal(tsr_stream_writer_chunk(w, TSR_FOURCC('D', 'A', 'T', 'A'), 0,
                                             0, data, n + bytes), TSR_OK);
    assert_int_equal(tsr_stream_writer_finish(w), TSR_OK);
    tsr_stream_writer_close(&w);
    tsri_codes_coder_close(&coder);
    tsri_codes_close(&c);
}

/* Tokens a second, semantic codewords, bits a second: README of the release. */
static const struct { int tokens, words; double rate; } published[] = {
    { 100, 4096, 1250 }, { 100, 8192, 1300 }, { 100, 16384, 1350 },
    { 100, 32768, 1400 }, { 50, 4096, 625 }, { 50, 8192, 650 },
    { 50, 16384, 675 }, { 50, 32768, 700 }, { 25, 4096, 312.5 },
    { 25, 8192, 325 }, { 25, 16384, 337.5 }, { 25, 32768, 350 },
};

/* What a file says they are, and what its packets take: their first bytes and the
 * check aside, to the byte. */
static void test_rates(void **state)
{
    tsr_context *ctx = audio_context(message, UINT_MAX, 1);

    (void)state;
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        const int words = published[i].words, acoustic = 8192;
        const int most = tsri_max(words, acoustic);
        tsri_audio_head head = { .codec_number = 11, .channels = 1,
            .group_channels = 1, .books = BOOKS,
            .entropy = TSR_AUDIO_ENTROPY_FIXED,
            .hop = 32000 / published[i].tokens, .rate = 16000,
            .codewords = most, .packet_frames = 400 };
        mem_file out = { 0 };
        tsr_audio_info info;
        while (most >> head.shorter[0] > words)
            head.shorter[0]++;
        while (most >> head.shorter[1] > acoustic)
            head.shorter[1]++;
        write_variant(ctx, &head, &out);
        const tsr_source source = { &out, mem_read };
        assert_int_equal(tsr_audio_probe(ctx, &source, &info), TSR_OK);
        const double seconds = (double)info.samples / info.rate;
        assert_int_equal(info.damaged, 0);
        assert_int_equal(info.first_codewords, words);
        assert_int_equal(info.other_codewords, acoustic);
        assert_true((double)info.fixed_bits / seconds == published[i].rate);
        assert_int_equal(8 * (info.token_bytes - 3), info.fixed_bits);
        free(out.data);
    }
    tsr_context_close(&ctx);
}

/* Tokens of sounds that end where windows and patches do. */
static void test_ends(void **state)
{
    static const struct { size_t samples; int frames; } cases[] = {
        { 1, 8 }, { 2559, 8 }, { 2561, 16 }, { 163839, 512 }, { 163841, 520 },
    };
    const tsri_audio_options options = { .books = BOOKS };
    bench h;

    (void)state;
    bench_open(&h, vectors[0].name, UINT_MAX, 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        audio_codes codes = audio_encode(codec, h.self, &options, h.x,
                                         cases[i].samples, NULL);
        assert_int_equal(codes.frames, cases[i].frames);
        free(codes.codes);
    }
    bench_close(&h);
}

static void test_no_decoder(void **state)
{
    const tsri_audio_options options = { .books = BOOKS };
    const uint16_t codes[BOOKS] = { 0 };
    bench h;
    void *dec;

    (void)state;
    bench_open(&h, vectors[2].name, UINT_MAX, 1);
    assert_int_equal(codec->dec_open(&dec, h.self, &options), TSR_OK);
    assert_int_equal(codec->dec_push(dec, codes, 1, BOOKS, NULL, false),
                     TSR_E_UNSUPPORTED);
    assert_non_null(strstr(message, "decoder"));
    codec->dec_close(&dec);
    bench_close(&h);
}

/* ---- import: a checkpoint and an array without a name ---- */

static void write_npy(const check_tensor *t)
{
    char head[128];
    FILE *f = fopen(npy, "wb");

    assert_non_null(f);
    memset(head, ' ', sizeof head);
    memcpy(head, "\x93NUMPY\x01\x00\x76\x00", 10);
    const int n = snprintf(head + 10, 117, "{'descr': '<f4', 'fortran_order': "
                           "False, 'shape': (%d, %d), }", (int)t->dims[0],
                           (int)t->dims[1]);
    assert_true(n < 117);
    head[10 + n] = ' ';
    head[127] = '\n';
    assert_int_equal(fwrite(head, 1, sizeof head, f), sizeof head);
    assert_int_equal(fwrite(t->data, 1, t->bytes, f), t->bytes);
    assert_int_equal(fclose(f), 0);
}

static void test_import(void **state)
{
    const char *const files[] = { file, npy };
    const tsri_audio_options options = { .books = BOOKS };
    bench h;
    mem_file out = { 0 };
    const tsr_sink sink = { &out, mem_write };
    tsr_import *import;
    tsr_model *model;
    void *self;

    (void)state;
    bench_open(&h, vectors[2].name, UINT_MAX, 2);
    check_tensors list = vector_weights(h.b.ctx, h.b.name, NULL);
    const size_t at = (size_t)(check_tensors_find(&list, "semantic.centroids") -
                               list.tensor);
    write_npy(&list.tensor[at]);
    check_tensors_write(&list, at, NULL, file);
    assert_int_equal(tsr_import_open(&import, h.b.ctx, files, 1, NULL),
                     TSR_E_ARG);
    assert_non_null(strstr(message, ".npy"));
    assert_int_equal(tsr_import_open(&import, h.b.ctx, files, 2, NULL), TSR_OK);
    assert_int_equal(tsr_import_write(import, NULL, &sink), TSR_OK);
    tsr_import_close(&import);
    assert_int_equal(remove(npy), 0);
    FILE *f = fopen(file, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(out.data, 1, out.size, f), out.size);
    assert_int_equal(fclose(f), 0);
    free(out.data);
    assert_int_equal(tsr_model_open(&model, h.b.ctx, file), TSR_OK);
    assert_int_equal(remove(file), 0);
    assert_string_equal(tsr_model_codec(model), "semanticodec");
    assert_int_equal(codec->open(&self, h.b.ctx, model), TSR_OK);
    audio_codes codes = audio_encode(codec, self, &options, h.x, h.n,
                                     NULL);
    check_tokens(&h, codes.codes, codes.frames);
    free(codes.codes);
    codec->close(&self);
    tsr_model_unref(&model);
    check_tensors_free(&list);
    bench_close(&h);
}

/* Each tensor is needed by the model or its encoders; the layers of a kind are
 * counted. */
static void test_missing(void **state)
{
    const tsri_audio_options options = { .books = BOOKS };
    void *enc;
    bench h;
    void *self;
    int opened = 0;

    (void)state;
    bench_open(&h, vectors[2].name, UINT_MAX, 1);
    check_tensors list = vector_weights(h.b.ctx, h.b.name, NULL);
    qsort(list.tensor, list.count, sizeof *list.tensor, check_by_name);
    for (size_t i = 0; i < list.count; i++) {
        tsr_model *model = audio_model(h.b.ctx, &list, i, "semanticodec", file);
        tsr_error error = codec->open(&self, h.b.ctx, model);
        if (!error) {
            error = codec->enc_open(&enc, self, &options);
            codec->enc_close(&enc);
        }
        assert_true(error == TSR_E_SHAPE || error == TSR_OK);
        opened += !error;
        codec->close(&self);
        tsr_model_unref(&model);
    }
    assert_int_equal(opened, 0);
    check_tensors_free(&list);
    bench_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors), cmocka_unit_test(test_columns),
        cmocka_unit_test(test_rates), cmocka_unit_test(test_ends),
        cmocka_unit_test(test_no_decoder), cmocka_unit_test(test_import),
        cmocka_unit_test(test_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Token pictures of odd sizes, in little memory, damaged: clear errors, no
 * crash. */
#include <stdatomic.h>
#include <tessera/stream.h>
#include "lib/bytes.h"
#include "tests/poor.h"
#include "tests/token_case.h"

static const uint64_t MIB = 1 << 20;

/* ---- tokens ---- */

static void refuse_tokens(tsr_context *ctx, tsr_model *model,
                          const tsr_tokens *tokens, const char *words)
{
    mem_file file = { .data = NULL };
    const tsr_sink sink = token_sink(&file);
    tsr_image out = { .data = NULL };

    assert_int_equal(tsr_tokens_write(ctx, model, NULL, tokens, 0, 0, &sink),
                     TSR_E_ARG);
    assert_non_null(strstr(token_message, words));
    assert_int_equal(tsr_tokens_to_image(ctx, model, NULL, tokens, &out),
                     TSR_E_ARG);
    assert_non_null(strstr(token_message, words));
    assert_null(out.data);
    assert_int_equal(file.size, 0);
}

static void test_ids(void **state)
{
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    tsr_model *model = token_open(ctx, &s, 0);
    int32_t ids[6] = { 0, 1, 299, 3, 4, 5 };
    const tsr_tokens good = { 2, 3, 0, 300, 8, ids };
    tsr_tokens t = good;
    mem_file file = { .data = NULL };
    const tsr_sink sink = token_sink(&file);
    (void)state;
    ids[4] = 300;
    refuse_tokens(ctx, model, &t, "token 300 at row 1, column 1");
    ids[4] = -2;
    refuse_tokens(ctx, model, &t, "token -2 at row 1, column 1");
    ids[4] = INT32_MIN;
    refuse_tokens(ctx, model, &t, "at row 1, column 1");
    ids[4] = -1; /* lost: not to be written */
    assert_int_equal(tsr_tokens_write(ctx, model, NULL, &t, 0, 0, &sink),
                     TSR_E_ARG);
    ids[4] = 4;
    t.level = 5;
    refuse_tokens(ctx, model, &t, "level 5");
    t.level = -1;
    refuse_tokens(ctx, model, &t, "level -1");
    t = good;
    t.codes = 301;
    refuse_tokens(ctx, model, &t, "301 codes");
    t = good;
    t.factor = 16;
    refuse_tokens(ctx, model, &t, "factor 16");
    t = good;
    t.id = NULL;
    refuse_tokens(ctx, model, &t, "without tokens");
    t = good;
    t.width = 0;
    refuse_tokens(ctx, model, &t, "without tokens");
    /* Sizes that the grid is not of. */
    const int sizes[][2] = { { 25, 16 }, { 16, 16 }, { 24, 17 }, { 24, 8 },
                             { 24, 0 }, { -1, 16 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        assert_int_equal(tsr_tokens_write(ctx, model, NULL, &good, sizes[i][0],
                                          sizes[i][1], &sink), TSR_E_ARG);
    assert_int_equal(file.size, 0);
    assert_int_equal(tsr_tokens_write(ctx, model, NULL, &good, 17, 9, &sink),
                     TSR_OK);
    free(file.data);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

static void test_settings(void **state)
{
    static const int bad[] = { 0, 3, 5, 16, -1 };
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 0);
    tsr_model *model = token_open(ctx, &s, 0);
    tsr_image image = token_picture(9, 9, 3, 8);
    tsr_tokens tokens;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const tsr_image_settings set = token_settings(50, bad[i], 0);
        assert_int_equal(tsr_tokens_from_image(ctx, model, &set, &image,
                                               &tokens), TSR_E_ARG);
        assert_null(tokens.id);
    }
    const tsr_image_settings set = token_settings(NAN, 1, 0);
    assert_int_equal(tsr_tokens_from_image(ctx, model, &set, &image, &tokens),
                     TSR_E_ARG);
    free(image.data);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

/* ---- damage ---- */

/* A picture's stream, and who can decode it. */
typedef struct scene {
    tsr_context *ctx;
    tsr_model *model;
    mem_file file;
} scene;

static scene scene_open(int width, int height, int interleave, int container)
{
    token_sizes s = TOKEN_SIZES;
    scene c = { .ctx = case_context("c", 1, 0) };
    tsr_image image = token_picture(width, height, 3, 8);
    const tsr_image_settings set = token_settings(100, interleave, container);

    c.model = token_open(c.ctx, &s, 0);
    c.file = token_encode(c.ctx, c.model, &set, &image);
    free(image.data);
    return c;
}

static void scene_close(scene *c)
{
    free(c->file.data);
    tsr_model_unref(&c->model);
    tsr_context_close(&c->ctx);
}

/* What a damaged stream gives is no crash, and never TSR_OK. */
static void refuse_stream(tsr_context *ctx, tsr_model *model, mem_file *file,
                          const char *what, size_t at)
{
    tsr_source source = token_source(file);
    mem_file out = { .data = NULL };
    const tsr_sink sink = token_sink(&out);
    tsr_image image;
    tsr_tokens tokens;

    if (!tsr_image_decode(ctx, model, NULL, &source, &image))
        fail_msg("%s at %zu is not noticed", what, at);
    tsr_image_free(ctx, &image);
    source = token_source(file);
    assert_true(tsr_tokens_read(ctx, model, &source, &tokens, NULL, NULL) != 0);
    tsr_tokens_free(ctx, &tokens);
    source = token_source(file);
    assert_true(tsr_image_transcode(ctx, model, NULL, &source, &sink) != 0);
    assert_int_equal(out.size, 0);
}

static void same_pixels(const tsr_image *a, const tsr_image *b)
{
    assert_true(a->width == b->width && a->height == b->height &&
                a->channels == b->channels && a->bits == 8);
    for (int y = 0; y < a->height; y++)
        assert_memory_equal((uint8_t *)a->data + (size_t)y * a->stride,
                            (uint8_t *)b->data + (size_t)y * b->stride,
                            (size_t)a->width * (size_t)a->channels);
}

static void damage_all(int container)
{
    scene s = scene_open(50, 41, 1, container);
    tsr_image good = token_decode(s.ctx, s.model, &s.file, TSR_OK);

    for (size_t i = 0; i < s.file.size; i++) {
        s.file.data[i] ^= (uint8_t)(1 << i % 8);
        /* The index is of no use to who reads it all: damage in it may go
         * without a word, as long as the picture is whole. */
        if (!container)
            refuse_stream(s.ctx, s.model, &s.file, "a bit", i);
        else {
            const tsr_source source = token_source(&s.file);
            tsr_image out;
            if (!tsr_image_decode(s.ctx, s.model, NULL, &source, &out))
                same_pixels(&out, &good);
            tsr_image_free(s.ctx, &out);
        }
        s.file.data[i] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t n = 0; n < s.file.size - 1 && !container; n++) {
        mem_file part = { s.file.data, n, s.file.room, 0, 0, 0, 0 };
        refuse_stream(s.ctx, s.model, &part, "an end", n);
    }
    tsr_image_free(s.ctx, &good);
    scene_close(&s);
}

static void test_damage_compact(void **state)
{
    (void)state;
    damage_all(0);
}

static void test_damage_container(void **state)
{
    (void)state;
    damage_all(1);
}

/* What of a stream is changed on the way. */
typedef struct change {
    int head_at, head_value;    /* a byte of HEAD; -1: none */
    int drop;                   /* a unit; -1: none */
    int spoil;                  /* a unit; -1: none */
} change;

static tsr_error copy_chunk(tsr_stream_writer *writer, const tsr_chunk *chunk,
                            const change *c)
{
    uint8_t *data = malloc(chunk->bytes + 1);
    const bool tokens = chunk->type == TSR_FOURCC('D', 'A', 'T', 'A');
    tsr_error error = TSR_OK;

    assert_non_null(data);
    memcpy(data, chunk->data, chunk->bytes);
    if (chunk->type == TSR_FOURCC('H', 'E', 'A', 'D') && c->head_at >= 0)
        data[c->head_at] = (uint8_t)c->head_value;
    if (tokens && data[0] == c->spoil)
        data[chunk->bytes - 1] ^= 1;
    if (!tokens || data[0] != c->drop)
        error = tsr_stream_writer_chunk(writer, chunk->type, 0, data[0],
                                        data, chunk->bytes);
    free(data);
    return error;
}

/* The same stream, changed, but with sound chunks. */
static mem_file changed(tsr_context *ctx, mem_file *file, const change *c)
{
    const tsr_source source = token_source(file);
    mem_file out = { .data = NULL };
    const tsr_sink sink = token_sink(&out);
    tsr_stream_reader *reader;
    tsr_stream_writer *writer;
    tsr_chunk chunk;

    assert_int_equal(tsr_stream_reader_open(&reader, ctx, &source), TSR_OK);
    assert_int_equal(tsr_stream_writer_open(&writer, ctx, &sink,
                                            TSR_KIND_IMAGE), TSR_OK);
    while (!tsr_stream_reader_next(reader, &chunk))
        if (chunk.type != TSR_FOURCC('I', 'N', 'D', 'X'))
            assert_int_equal(copy_chunk(writer, &chunk, c), TSR_OK);
    assert_int_equal(tsr_stream_writer_finish(writer), TSR_OK);
    tsr_stream_reader_close(&reader);
    tsr_stream_writer_close(&writer);
    return out;
}

/* Chunks that are sound, of a picture that they do not fit. */
static void test_wrong_head(void **state)
{
    /* HEAD: codec, channels, bits, layers, width (4), height (4), units (4),
     * the parameter byte. */
    static const int wrong[][2] = {
        { 4, 70 }, { 4, 10 }, { 8, 60 }, { 8, 7 }, { 6, 1 }, { 10, 1 },
        { 7, 0x7f }, { 12, 2 }, { 12, 0 }, { 15, 0x7f }, { 0, 2 }, { 0, 4 },
        { 0, 60 }, { 3, 2 }, { 16, 5 }, { 16, 7 }, { 16, 1 }, { 16, 4 },
        { 16, 0x20 }, { 16, 0x40 }, { 16, 0x80 }, { 16, 0x08 }, { 16, 0x18 },
    };
    scene s = scene_open(50, 41, 1, 1);
    const change none = { -1, 0, -1, -1 };
    (void)state;
    mem_file same = changed(s.ctx, &s.file, &none);
    tsr_image out = token_decode(s.ctx, s.model, &same, TSR_OK);
    tsr_image_free(s.ctx, &out);
    free(same.data);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const change c = { wrong[i][0], wrong[i][1], -1, -1 };
        mem_file bad = changed(s.ctx, &s.file, &c);
        refuse_stream(s.ctx, s.model, &bad, "HEAD", (size_t)wrong[i][0]);
        free(bad.data);
    }
    scene_close(&s);
}

/* One unit of 16 is gone, or spoilt: the picture comes with the damage, and
 * just its tokens are lost. */
static void test_lost_unit(void **state)
{
    scene s = scene_open(80, 65, 4, 1);
    tsr_tokens whole, holes;
    (void)state;
    tsr_source source = token_source(&s.file);
    assert_int_equal(tsr_tokens_read(s.ctx, s.model, &source, &whole, NULL,
                                     NULL), TSR_OK);
    for (int spoil = 0; spoil < 2; spoil++) {
        const change c = { -1, 0, spoil ? -1 : 6, spoil ? 6 : -1 };
        mem_file bad = changed(s.ctx, &s.file, &c);
        tsr_image out = token_decode(s.ctx, s.model, &bad, TSR_E_CORRUPT);
        assert_non_null(out.data);
        tsr_image_free(s.ctx, &out);
        source = token_source(&bad);
        assert_int_equal(tsr_tokens_read(s.ctx, s.model, &source, &holes, NULL,
                                         NULL), TSR_E_CORRUPT);
        for (int i = 0; i < whole.height * whole.width; i++) {
            const int y = i / whole.width, x = i % whole.width;
            const bool lost = y % 4 == 1 && x % 4 == 2;
            assert_int_equal(holes.id[i], lost ? -1 : whole.id[i]);
        }
        tsr_tokens_free(s.ctx, &holes);
        free(bad.data);
    }
    tsr_tokens_free(s.ctx, &whole);
    scene_close(&s);
}

/* Nothing is left: that is no picture. */
static void test_nothing_left(void **state)
{
    scene s = scene_open(50, 41, 1, 1);
    const change c = { -1, 0, 0, -1 };
    mem_file bad = changed(s.ctx, &s.file, &c);
    (void)state;
    tsr_image out = token_decode(s.ctx, s.model, &bad, TSR_E_CORRUPT);
    assert_null(out.data);
    free(bad.data);
    scene_close(&s);
}

/* ---- memory ---- */

/* An allocator that knows how much there is at most. */
static size_t live, peak;

static void *counted(void *cookie, size_t size, size_t align)
{
    (void)cookie;
    uint8_t *p = aligned_alloc(align < 64 ? 64 : align, (size + 191) / 64 * 64);
    assert_true(p && align <= 64);
    memcpy(p, &size, sizeof size);
    live += size;
    peak = live > peak ? live : peak;
    return p + 64;
}

static void uncounted(void *cookie, void *memory)
{
    size_t size;
    (void)cookie;
    if (!memory)
        return;
    memcpy(&size, (uint8_t *)memory - 64, sizeof size);
    live -= size;
    free((uint8_t *)memory - 64);
}

static tsr_context *counting_context(uint64_t max_memory)
{
    tsr_context_settings s;
    tsr_context *ctx;

    tsr_context_settings_init(&s);
    s.backend = "c";
    s.threads = 1;
    s.allocator = (tsr_allocator){ NULL, counted, uncounted };
    s.logger.log = token_remember;
    s.max_memory = max_memory;
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    return ctx;
}

/* 30000 x 200 pixels, there and back, in 4 MiB besides the picture. */
static void test_long_picture(void **state)
{
    const token_sizes s = { .resolutions = 2, .channels = { 4, 8 }, .patch = 8,
                            .dim = 4, .codes = 300, .attention = 1,
                            .levels = 1 };
    tsr_context *ctx = counting_context(4 * MIB);
    tsr_model *model = token_open(ctx, &s, 0);
    tsr_image image = token_picture(30000, 200, 3, 8);
    const tsr_image_settings set = token_settings(100, 1, 0);
    (void)state;
    peak = live;
    const size_t before = live;
    mem_file file = token_encode(ctx, model, &set, &image);
    if (peak - before > 5 * MIB)
        fail_msg("%zu bytes", peak - before);
    tsr_image out = token_decode(ctx, model, &file, TSR_OK);
    const size_t pixels = (size_t)30000 * 200 * 3;
    if (peak - before > pixels + 5 * MIB)
        fail_msg("%zu bytes", peak - before);
    assert_true(out.width == 30000 && out.height == 200);
    tsr_image_free(ctx, &out);
    free(file.data);
    free(image.data);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    assert_int_equal(live, 0);
}

/* Sizes that do not fit are refused before they are allocated. */
static void test_limits(void **state)
{
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = counting_context(100000);
    tsr_model *model = token_open(ctx, &s, 0);
    tsr_image image = token_picture(1, 1, 3, 8), out = { .data = NULL };
    mem_file file = token_encode(ctx, model, NULL, &image);
    (void)state;
    /* The compact head ends in width - 1 and height - 1 and the parameter:
     * make it 2^27 pixels wide. */
    mem_file wide = { .data = NULL };
    const uint8_t width[] = { 0xff, 0xff, 0xff, 0x3f };
    assert_int_equal(mem_write(&wide, file.data, 7), TSR_OK);
    assert_int_equal(mem_write(&wide, width, sizeof width), TSR_OK);
    assert_int_equal(mem_write(&wide, file.data + 8, file.size - 8), TSR_OK);
    peak = live;
    const size_t before = live;
    out = token_decode(ctx, model, &wide, TSR_E_LIMIT);
    assert_null(out.data);
    assert_true(peak - before < 2 * MIB);
    free(wide.data);
    free(file.data);
    free(image.data);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

/* ---- no memory ---- */

typedef struct job {
    tsr_context *ctx;
    tsr_model *model;
    tsr_image image;
    mem_file file;
    tsr_tokens tokens;
} job;

static tsr_error do_encode(job *j)
{
    const tsr_image_settings set = token_settings(30, 2, 0);
    const tsr_sink sink = token_sink(&j->file);
    j->file.size = 0;
    return tsr_image_encode(j->ctx, j->model, &set, &j->image, &sink);
}

static tsr_error do_decode(job *j)
{
    const tsr_source source = token_source(&j->file);
    tsr_image out;
    const tsr_error error = tsr_image_decode(j->ctx, j->model, NULL, &source,
                                             &out);
    tsr_image_free(j->ctx, &out);
    return error;
}

static tsr_error do_read(job *j)
{
    const tsr_source source = token_source(&j->file);
    tsr_tokens tokens;
    const tsr_error error = tsr_tokens_read(j->ctx, j->model, &source, &tokens,
                                            NULL, NULL);
    tsr_tokens_free(j->ctx, &tokens);
    return error;
}

static tsr_error do_transcode(job *j)
{
    const tsr_source source = token_source(&j->file);
    mem_file out = { .data = NULL };
    const tsr_sink sink = token_sink(&out);
    const tsr_error error = tsr_image_transcode(j->ctx, j->model, NULL,
                                                &source, &sink);
    free(out.data);
    return error;
}

static tsr_error do_from_image(job *j)
{
    tsr_tokens tokens;
    const tsr_error error = tsr_tokens_from_image(j->ctx, j->model, NULL,
                                                  &j->image, &tokens);
    tsr_tokens_free(j->ctx, &tokens);
    return error;
}

static tsr_error do_to_image(job *j)
{
    tsr_image out = { .data = NULL };
    const tsr_error error = tsr_tokens_to_image(j->ctx, j->model, NULL,
                                                &j->tokens, &out);
    tsr_image_free(j->ctx, &out);
    return error;
}

static tsr_error do_write(job *j)
{
    mem_file out = { .data = NULL };
    const tsr_sink sink = token_sink(&out);
    tsr_tokens tokens = j->tokens;
    int32_t ids[64];

    for (int i = 0; i < tokens.height * tokens.width; i++)
        ids[i] = tokens.id[i] < 0 ? 0 : tokens.id[i];
    tokens.id = ids;
    const tsr_error error = tsr_tokens_write(j->ctx, j->model, NULL, &tokens,
                                             0, 0, &sink);
    free(out.data);
    return error;
}

static tsr_error do_describe(job *j)
{
    tsr_tokens_model info;
    return tsr_tokens_describe(j->ctx, j->model, &info);
}

/* Every allocation fails once, all of the first hundred, then ever fewer. */
static void starve(job *j, tsr_error (*work)(job *))
{
    const int before = poor_held;
    for (int n = 0;; n += 1 + n / 100) {
        poor_left = n;
        const tsr_error error = work(j);
        assert_int_equal(poor_held, before);
        if (!error) {
            assert_true(n > 5);
            return;
        }
        assert_int_equal(error, TSR_E_NOMEM);
    }
}

static void test_no_memory(void **state)
{
    token_sizes s = TOKEN_SIZES;
    job j = { .ctx = poor_context("c", 2),
              .image = token_picture(30, 20, 4, 8) };
    (void)state;
    j.model = token_open(j.ctx, &s, 0);
    assert_int_equal(tsr_tokens_from_image(j.ctx, j.model, NULL, &j.image,
                                           &j.tokens), TSR_OK);
    j.tokens.id[2] = -1;
    starve(&j, do_encode);
    starve(&j, do_decode);
    starve(&j, do_read);
    starve(&j, do_transcode);
    starve(&j, do_from_image);
    starve(&j, do_to_image);
    starve(&j, do_write);
    starve(&j, do_describe);
    poor_left = POOR_MANY;
    tsr_tokens_free(j.ctx, &j.tokens);
    free(j.file.data);
    free(j.image.data);
    tsr_model_unref(&j.model);
    tsr_context_close(&j.ctx);
    assert_int_equal(poor_held, 0);
}

/* ---- progress ---- */

typedef struct count {
    int calls, stop_at;
    double last;
} count;

static int called(void *cookie, double done)
{
    count *c = cookie;
    assert_true(done >= c->last && done <= 1);
    c->last = done;
    return ++c->calls == c->stop_at;
}

static void test_progress(void **state)
{
    token_sizes s = TOKEN_SIZES;
    tsr_context *ctx = case_context("c", 1, 300000);
    tsr_model *model = token_open(ctx, &s, 0);
    tsr_image image = token_picture(100, 90, 3, 8), out;
    tsr_image_settings set = token_settings(100, 1, 0);
    mem_file file = { .data = NULL };
    const tsr_sink sink = token_sink(&file);
    (void)state;
    for (int stop = 0; stop < 2; stop++) {
        count c = { .stop_at = stop };
        set.progress = (tsr_progress){ .cookie = &c, .report = called };
        file.size = 0;
        assert_int_equal(tsr_image_encode(ctx, model, &set, &image, &sink),
                         stop ? TSR_E_CANCELED : TSR_OK);
        assert_true(c.calls > 0 && (stop || c.last == 1));
    }
    file.size = 0;
    assert_int_equal(tsr_image_encode(ctx, model, NULL, &image, &sink), TSR_OK);
    for (int stop = 0; stop < 2; stop++) {
        count c = { .stop_at = stop };
        const tsr_progress progress = { .cookie = &c, .report = called };
        const tsr_source source = token_source(&file);
        assert_int_equal(tsr_image_decode(ctx, model, &progress, &source, &out),
                         stop ? TSR_E_CANCELED : TSR_OK);
        assert_true(c.calls > 0 && (stop || c.last == 1));
        tsr_image_free(ctx, &out);
    }
    free(file.data);
    free(image.data);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_damage_compact),
        cmocka_unit_test(test_damage_container),
        cmocka_unit_test(test_wrong_head),
        cmocka_unit_test(test_lost_unit),
        cmocka_unit_test(test_nothing_left),
        cmocka_unit_test(test_long_picture),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_progress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

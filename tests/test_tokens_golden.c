/* SPDX-License-Identifier: BSD-2-Clause */
/* Streams of tokens that must stay readable for ever, and be written the same:
 * tests/golden/tokens.  `test_tokens_golden write FOLDER` makes them. */
#include "tests/token_case.h"

/* A stream; kind: 0 random ids, 1 ids that the context of the model expects. */
typedef struct golden_stream {
    const char *name;
    int width, height;          /* pixels, 8 a token */
    double quality;
    int interleave, container, kind;
    int cut;                    /* this DATA chunk is spoilt; 0: none */
} golden_stream;

static const golden_stream streams[] = {
    { "compact", 128, 128, 100, 1, 0, 0, 0 },
    { "compact-context", 120, 97, 100, 1, 0, 1, 0 },
    { "compact-one", 1, 1, 100, 1, 0, 0, 0 },
    { "middle", 61, 33, 50, 1, 0, 1, 0 },
    { "coarse", 200, 40, 0, 1, 0, 1, 0 },
    { "interleaved", 77, 90, 100, 4, 1, 1, 0 },
    { "regions", 1040, 16, 0, 2, 1, 0, 0 },
    { "damaged", 88, 88, 50, 2, 1, 0, 2 },
};
enum { STREAMS = sizeof streams / sizeof *streams, CODES = 60, CLASSES = 6 };

static char path[8192];

static const char *file_of(const char *folder, const char *name, const char *end)
{
    snprintf(path, sizeof path, "%s/%s%s", folder, name, end);
    return path;
}

static mem_file read_file(const char *name)
{
    mem_file file = { .data = malloc(1 << 20) };
    FILE *f = fopen(name, "rb");

    assert_true(f && file.data);
    file.size = fread(file.data, 1, 1 << 20, f);
    fclose(f);
    return file;
}

/* ---- reading and writing again ---- */

static void check_ids(const tsr_tokens *t, int width, int height,
                      const char *folder, const char *name)
{
    FILE *f = fopen(file_of(folder, name, ".ids"), "r");
    int w, h, level, id;

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d %d %d", &w, &h, &level), 3);
    assert_true(w == width && h == height && level == t->level);
    for (int i = 0; i < t->height * t->width; i++) {
        assert_int_equal(fscanf(f, "%d", &id), 1);
        assert_int_equal(t->id[i], id);
    }
    assert_int_equal(fscanf(f, "%d", &id), EOF);
    fclose(f);
}

static void check_golden(tsr_context *ctx, tsr_model *model,
                         const golden_stream *g, const char *folder)
{
    const tsr_image_settings s = token_settings(g->quality, g->interleave,
                                                g->container);
    mem_file file = read_file(file_of(folder, g->name, ".tess")), again = { 0 };
    const tsr_source source = token_source(&file);
    const tsr_sink sink = token_sink(&again);
    tsr_tokens t;
    int width, height;
    const tsr_error error = tsr_tokens_read(ctx, model, &source, &t, &width,
                                            &height);

    assert_int_equal(!error, !g->cut);
    assert_non_null(t.id);
    assert_true(width == g->width && height == g->height);
    check_ids(&t, width, height, folder, g->name);
    if (!error) {
        assert_int_equal(tsr_tokens_write(ctx, model, &s, &t, width, height,
                                          &sink), TSR_OK);
        token_same_file(&file, &again);
    }
    tsr_tokens_free(ctx, &t);
    free(file.data);
    free(again.data);
}

static void test_streams(void **state)
{
    tsr_context *ctx = case_context("c", 1, 0);
    char folder[4096];
    tsr_model *model;
    (void)state;

    snprintf(folder, sizeof folder, "%s", check_path("tests/golden/tokens"));
    assert_int_equal(tsr_model_open(&model, ctx,
                                    file_of(folder, "model", ".safetensors")),
                     TSR_OK);
    for (int i = 0; i < STREAMS; i++)
        check_golden(ctx, model, &streams[i], folder);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
}

/* ---- making them ---- */

static tsr_model *make_model(tsr_context *ctx, const char *folder)
{
    const token_sizes sizes = { .resolutions = 2, .channels = { 2, 2 },
                                .patch = 4, .dim = 2, .codes = CODES, .levels = 3,
                                .clusters = { CODES, 20, CLASSES }, .context = 1 };
    check_tensors list = token_model(&sizes, 0, 3);
    tsr_model *model;

    check_tensors_write(&list, SIZE_MAX, TOKEN_META,
                        file_of(folder, "model", ".safetensors"));
    assert_int_equal(tsr_model_open(&model, ctx, path), TSR_OK);
    check_tensors_free(&list);
    return model;
}

/* A class as the model expects it at (y, x), mostly. */
static int expected(const tsr_model *model, const int *class, int width, int y,
                    int x, check_rng *rng)
{
    static const int dy[] = { 0, -1, -1, -1 }, dx[] = { -1, 0, 1, -1 };
    const int8_t *w = tsr_model_tensor(model, "tessera.context.weight")->data;
    const uint8_t *bias = tsr_model_tensor(model, "tessera.context.bias")->data;
    int best = 0, score[CLASSES];

    for (int k = 0; k < CLASSES; k++) {
        score[k] = (int16_t)tsri_get16(bias + 2 * k);
        for (int i = 0; i < 4; i++) {
            const int v = y + dy[i], u = x + dx[i];
            const int at = v < 0 || u < 0 || u >= width ? CLASSES
                                                        : class[v * width + u];
            score[k] += w[(i * (CLASSES + 1) + at) * CLASSES + k];
        }
        best = score[k] > score[best] ? k : best;
    }
    return check_below(rng, 4) ? best : (int)check_below(rng, CLASSES);
}

/* Ids of level 0 are brought to the level by the library. */
static void fill(const tsr_model *model, const golden_stream *g, tsr_tokens *t)
{
    const uint8_t *order = tsr_model_tensor(model, "tessera.order")->data;
    const uint8_t *start = tsr_model_tensor(model, "tessera.level.2.start")->data;
    check_rng rng = { (uint64_t)g->width };
    int *class = calloc((size_t)t->height * (size_t)t->width, sizeof *class);

    assert_non_null(class);
    for (int i = 0; i < t->height * t->width; i++) {
        class[i] = g->kind ? expected(model, class, t->width, i / t->width,
                                      i % t->width, &rng)
                           : (int)check_below(&rng, CLASSES);
        const int from = (int)tsri_get32(start + 4 * class[i]);
        const int to = class[i] < CLASSES - 1
                       ? (int)tsri_get32(start + 4 * class[i] + 4) : CODES;
        const int place = from + (int)check_below(&rng, (uint32_t)(to - from));
        for (int id = 0; id < CODES; id++)
            t->id[i] = (int)tsri_get32(order + 4 * id) == place ? id : t->id[i];
    }
    free(class);
}

/* Changes a byte of the payload of a DATA chunk. */
static void spoil(mem_file *file, int chunk)
{
    for (size_t at = 16; at + 32 < file->size; at++)
        if (!memcmp(file->data + at, "TSRKDATA", 8) && !--chunk) {
            file->data[at + 26] ^= 1;
            return;
        }
    fail();
}

static void write_ids(const tsr_tokens *t, int width, int height,
                      const char *folder, const char *name)
{
    FILE *f = fopen(file_of(folder, name, ".ids"), "w");

    assert_non_null(f);
    fprintf(f, "%d %d %d\n", width, height, t->level);
    for (int i = 0; i < t->height * t->width; i++)
        fprintf(f, "%d%c", (int)t->id[i], (i + 1) % t->width ? ' ' : '\n');
    assert_int_equal(fclose(f), 0);
}

static void make_stream(tsr_context *ctx, tsr_model *model,
                        const golden_stream *g, const char *folder)
{
    const tsr_image_settings finest = token_settings(100, 1, 0);
    const tsr_image_settings s = token_settings(g->quality, g->interleave,
                                                g->container);
    const int h = (g->height + 7) / 8, w = (g->width + 7) / 8;
    int32_t *id = calloc((size_t)h * (size_t)w, sizeof *id);
    tsr_tokens t = { h, w, 0, CODES, 8, id };
    mem_file fine = { 0 }, file = { 0 };
    const tsr_sink to_fine = token_sink(&fine), sink = token_sink(&file);

    assert_non_null(id);
    fill(model, g, &t);
    assert_int_equal(tsr_tokens_write(ctx, model, &finest, &t, g->width,
                                      g->height, &to_fine), TSR_OK);
    const tsr_source source = token_source(&fine);
    assert_int_equal(tsr_image_transcode(ctx, model, &s, &source, &sink), TSR_OK);
    if (g->cut)
        spoil(&file, g->cut);
    FILE *f = fopen(file_of(folder, g->name, ".tess"), "wb");
    assert_non_null(f);
    fwrite(file.data, 1, file.size, f);
    assert_int_equal(fclose(f), 0);
    const tsr_source made = token_source(&file);
    assert_int_equal(!tsr_tokens_read(ctx, model, &made, &t, NULL, NULL), !g->cut);
    write_ids(&t, g->width, g->height, folder, g->name);
    tsr_tokens_free(ctx, &t);
    free(id);
    free(fine.data);
    free(file.data);
}

static int make(const char *folder)
{
    tsr_context *ctx = case_context("c", 1, 0);
    tsr_model *model = make_model(ctx, folder);

    for (int i = 0; i < STREAMS; i++)
        make_stream(ctx, model, &streams[i], folder);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_streams) };

    if (argc == 3 && !strcmp(argv[1], "write"))
        return make(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"
/* The frei0r plugin as hosts load it: what comes out is what the codec gives, and
 * whatever a host does with the interface, frames go on. */
#include "tests/hyper_gen.h"
#include "tests/memory.h"
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <unistd.h>
#include <tessera/video.h>

/* The interface as a host sees it. */
typedef struct info {
    const char *name, *author;
    int kind, color, frei0r_major, major, minor, params;
    const char *explanation;
} info;
typedef struct param {
    const char *name;
    int type;
    const char *explanation;
} param;
static struct plugin {
    int (*init)(void);
    void (*deinit)(void);
    void (*get_plugin_info)(info *);
    void (*get_param_info)(param *, int);
    void *(*construct)(unsigned, unsigned);
    void (*destruct)(void *);
    void (*set)(void *, void *, int);
    void (*get)(void *, void *, int);
    void (*update)(void *, double, const uint32_t *, uint32_t *);
} f0r;
enum { MODEL, QUALITY, SIDEFILE, PITCH, RATE, PARAMS };

static const char model_path[] = "./test_frei0r.safetensors";
static const char other_path[] = "./test_frei0r_2.safetensors";
static tsr_context *ctx;
static tsr_model *model, *other;

/* ---- a host ---- */

static void *load(void)
{
    const char *build = getenv("TSR_BUILDDIR");
    char path[4096];
    void *so;

    snprintf(path, sizeof path, "%s/frei0r-1/tessera.so", build ? build : ".");
    so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!so)
        return NULL;
    *(void **)&f0r.init = dlsym(so, "f0r_init");
    *(void **)&f0r.deinit = dlsym(so, "f0r_deinit");
    *(void **)&f0r.get_plugin_info = dlsym(so, "f0r_get_plugin_info");
    *(void **)&f0r.get_param_info = dlsym(so, "f0r_get_param_info");
    *(void **)&f0r.construct = dlsym(so, "f0r_construct");
    *(void **)&f0r.destruct = dlsym(so, "f0r_destruct");
    *(void **)&f0r.set = dlsym(so, "f0r_set_param_value");
    *(void **)&f0r.get = dlsym(so, "f0r_get_param_value");
    *(void **)&f0r.update = dlsym(so, "f0r_update");
    return so;
}

static void set_text(void *instance, int index, const char *text)
{
    char *value = (char *)(uintptr_t)text;
    f0r.set(instance, &value, index);
}

static void set_number(void *instance, int index, double value)
{
    f0r.set(instance, &value, index);
}

static const char *get_text(void *instance, int index)
{
    char *value = NULL;
    f0r.get(instance, &value, index);
    return value;
}

static double get_number(void *instance, int index)
{
    double value = -1;
    f0r.get(instance, &value, index);
    return value;
}

/* Frames as hosts hold them: no byte behind the last row. */
typedef struct frame {
    unsigned width, height;
    size_t pitch;
    uint8_t *in, *out;
} frame;

static frame frame_of(check_rng *rng, unsigned width, unsigned height, size_t pad)
{
    frame f = { width, height, (4 * width + pad - 1) / pad * pad, NULL, NULL };
    const size_t bytes = f.pitch * height;

    f.in = malloc(bytes);
    f.out = malloc(bytes);
    assert_non_null(f.in);
    assert_non_null(f.out);
    for (size_t i = 0; i < bytes; i++)
        f.in[i] = (uint8_t)check_u32(rng);
    memset(f.out, 0x5a, bytes);
    return f;
}

static void free_frame(frame *f)
{
    free(f->in);
    free(f->out);
}

static void update(void *instance, const frame *f)
{
    f0r.update(instance, 0, (const uint32_t *)(const void *)f->in,
               (uint32_t *)(void *)f->out);
}

static int unchanged(const frame *f)
{
    for (size_t y = 0; y < f->height; y++)
        if (memcmp(f->in + y * f->pitch, f->out + y * f->pitch, 4 * f->width))
            return 0;
    return 1;
}

/* What a file of the picture gives, coded and decoded. */
static tsr_image reference(const frame *f, tsr_model *by, double quality)
{
    mem_file m = { 0 };
    const tsr_sink sink = { &m, mem_write };
    const tsr_source source = { &m, mem_read };
    tsr_image im = { .width = (int)f->width, .height = (int)f->height,
                     .channels = 3, .bits = 8 }, back;
    tsr_image_settings s;

    tsr_image_settings_init(&s);
    s.quality = quality;
    assert_int_equal(tsr_image_alloc(ctx, &im), TSR_OK);
    for (size_t y = 0; y < f->height; y++)
        for (size_t x = 0; x < f->width; x++)
            memcpy((uint8_t *)im.data + y * im.stride + 3 * x,
                   f->in + y * f->pitch + 4 * x, 3);
    assert_int_equal(tsr_image_encode(ctx, by, &s, &im, &sink), TSR_OK);
    assert_int_equal(tsr_image_decode(ctx, by, NULL, &source, &back), TSR_OK);
    tsr_image_free(ctx, &im);
    free(m.data);
    return back;
}

/* Colours are the reference's, alpha is the input's, padding is untouched. */
static void assert_coded(const frame *f, tsr_model *by, double quality)
{
    tsr_image want = reference(f, by, quality);

    for (size_t y = 0; y < f->height; y++) {
        const uint8_t *row = f->out + y * f->pitch;
        const uint8_t *from = (uint8_t *)want.data + y * want.stride;
        for (size_t x = 0; x < f->width; x++) {
            assert_memory_equal(row + 4 * x, from + 3 * x, 3);
            assert_int_equal(row[4 * x + 3], f->in[y * f->pitch + 4 * x + 3]);
        }
        for (size_t i = 4 * f->width; i < f->pitch; i++)
            assert_int_equal(row[i], 0x5a);
    }
    tsr_image_free(ctx, &want);
}

/* ---- what is said on standard error ---- */

static const char said_path[] = "test_frei0r.err";
static char said[4096];
static int saved = -1;

static void listen(void)
{
    fflush(stderr);
    saved = dup(2);
    assert_non_null(freopen(said_path, "w", stderr));
}

/* Lines since listen(); their text is in `said`. */
static int heard(void)
{
    FILE *file;
    size_t n;
    int lines = 0;

    fflush(stderr);
    assert_int_equal(dup2(saved, fileno(stderr)), fileno(stderr));
    close(saved);
    file = fopen(said_path, "r");
    assert_non_null(file);
    n = fread(said, 1, sizeof said - 1, file);
    fclose(file);
    remove(said_path);
    said[n] = 0;
    for (size_t i = 0; i < n; i++)
        lines += said[i] == '\n';
    return lines;
}

/* ---- side files ---- */

static mem_file slurp(const char *path)
{
    mem_file m = { 0 };
    FILE *file = fopen(path, "rb");
    uint8_t block[4096];
    size_t n;

    assert_non_null(file);
    while ((n = fread(block, 1, sizeof block, file)) > 0)
        assert_int_equal(mem_write(&m, block, n), TSR_OK);
    fclose(file);
    return m;
}

/* Reads the file and removes it: `n` frames, each at its number; the last one
 * decodes to the colours of `last`. */
static void assert_side(const char *path, int n, tsr_model *by, const frame *last,
                        uint32_t num, uint32_t den)
{
    mem_file m = slurp(path);
    const tsr_source source = { &m, mem_read };
    tsr_media_reader *r;
    const tsr_media_stream *stream;
    tsr_media_packet packet;
    tsr_video_decoder *d;
    tsr_image im = { .data = NULL };

    assert_int_equal(tsr_media_reader_open(&r, ctx, &source, NULL), TSR_OK);
    assert_int_equal(tsr_media_reader_kind(r), TSR_KIND_MEDIA);
    assert_int_equal(tsr_media_reader_streams(r), 1);
    stream = tsr_media_reader_stream(r, 0);
    assert_int_equal(stream->type, TSR_MEDIA_VIDEO);
    assert_int_equal(stream->time_num, num);
    assert_int_equal(stream->time_den, den);
    assert_int_equal(tsr_video_decoder_open(&d, ctx, by, stream->extradata,
                                            stream->extradata_bytes), TSR_OK);
    for (int i = 0; i < n; i++) {
        assert_int_equal(tsr_media_reader_next(r, &packet), TSR_OK);
        assert_int_equal(packet.pts, i);
        assert_int_equal(packet.duration, 1);
        assert_int_equal(tsr_video_decoder_decode(d, packet.data, packet.bytes,
                                                  &im), TSR_OK);
    }
    assert_int_equal(tsr_media_reader_next(r, &packet), TSR_E_EOF);
    assert_int_equal(tsr_media_reader_damage(r).truncated, 0);
    for (size_t y = 0; y < last->height; y++)
        for (size_t x = 0; x < last->width; x++)
            assert_memory_equal((uint8_t *)im.data + y * im.stride + 3 * x,
                                last->out + y * last->pitch + 4 * x, 3);
    tsr_video_decoder_close(&d);
    tsr_media_reader_close(&r);
    free(m.data);
    assert_int_equal(remove(path), 0);
}

static int exists(const char *path)
{
    return !access(path, F_OK);
}

/* ---- tests ---- */

static void test_interface(void **state)
{
    static const int types[PARAMS] = { 4, 1, 4, 1, 4 };
    static const char *const names[PARAMS] = { "model", "quality", "sidefile",
                                               "pitch", "rate" };
    info i;
    param p = { "as it was", 77, NULL };

    (void)state;
    assert_int_equal(f0r.init(), 1);
    f0r.get_plugin_info(&i);
    assert_string_equal(i.name, "Tessera");
    assert_int_equal(i.kind, 0);
    assert_int_equal(i.color, 1);
    assert_int_equal(i.frei0r_major, 1);
    assert_int_equal(i.params, PARAMS);
    f0r.get_param_info(&p, -1);
    f0r.get_param_info(&p, PARAMS);
    assert_int_equal(p.type, 77);
    for (int k = 0; k < PARAMS; k++) {
        f0r.get_param_info(&p, k);
        assert_string_equal(p.name, names[k]);
        assert_int_equal(p.type, types[k]);
        assert_non_null(p.explanation);
    }
    f0r.deinit();
}

static void test_parameters(void **state)
{
    void *a = f0r.construct(640, 480), *b = f0r.construct(640, 480);
    char untouched = 'x';

    (void)state;
    /* Two that are only looked at, as GStreamer does. */
    assert_non_null(a);
    assert_non_null(b);
    assert_string_equal(get_text(a, MODEL), "photo");
    assert_string_equal(get_text(a, SIDEFILE), "");
    assert_string_equal(get_text(a, RATE), "");
    assert_true(get_number(a, QUALITY) == 0.5);
    assert_true(get_number(a, PITCH) == 0);
    f0r.get(a, &untouched, PARAMS);
    f0r.get(a, &untouched, -1);
    f0r.get(a, NULL, MODEL);
    f0r.set(a, &untouched, PARAMS);
    f0r.set(a, NULL, MODEL);
    assert_int_equal(untouched, 'x');
    set_text(a, MODEL, NULL);
    assert_string_equal(get_text(a, MODEL), "");
    set_text(a, SIDEFILE, "a|b:c");
    assert_string_equal(get_text(a, SIDEFILE), "a|b:c");
    assert_string_equal(get_text(b, SIDEFILE), "");
    listen();
    set_number(a, QUALITY, 0.25);
    set_number(a, QUALITY, NAN);
    set_number(a, QUALITY, -1);
    set_number(a, QUALITY, 101);
    set_number(a, PITCH, 1e300);
    set_number(a, PITCH, -INFINITY);
    assert_int_equal(heard(), 1);
    assert_true(get_number(a, QUALITY) == 0.25);
    assert_true(get_number(a, PITCH) == 0);
    f0r.destruct(a);
    f0r.destruct(b);
    f0r.destruct(NULL);
}

static void test_sizes(void **state)
{
    static const unsigned sizes[][2] = { { 1, 1 }, { 3, 50 }, { 64, 48 },
                                         { 130, 100 } };
    static const size_t pads[] = { 4, 16, 64, 100 };
    check_rng rng = { 1 };

    (void)state;
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < 4; i++) {
            frame f = frame_of(&rng, sizes[k][0], sizes[k][1], pads[i]);
            void *v = f0r.construct(f.width, f.height);
            set_text(v, MODEL, model_path);
            if (i)
                set_number(v, PITCH, (double)pads[i]);
            update(v, &f);
            assert_coded(&f, model, 50);
            f0r.destruct(v);
            free_frame(&f);
        }
}

/* Both scales of quality; a change between frames; in and out the same. */
static void test_quality(void **state)
{
    static const double values[][2] = { { 0, 0 }, { 0.8, 80 }, { 1, 100 },
                                        { 30, 30 }, { 100, 100 } };
    check_rng rng = { 2 };
    frame f = frame_of(&rng, 40, 30, 4);
    void *v = f0r.construct(40, 30);

    (void)state;
    set_text(v, MODEL, model_path);
    for (int i = 0; i < 5; i++) {
        set_number(v, QUALITY, values[i][0]);
        update(v, &f);
        assert_coded(&f, model, values[i][1]);
    }
    memcpy(f.out, f.in, f.pitch * 30);
    f0r.update(v, 0, (uint32_t *)(void *)f.out, (uint32_t *)(void *)f.out);
    assert_coded(&f, model, 100);
    f0r.destruct(v);
    free_frame(&f);
}

static void test_side(void **state)
{
    check_rng rng = { 3 };
    frame f = frame_of(&rng, 20, 10, 4);
    void *v = f0r.construct(20, 10);

    (void)state;
    set_text(v, SIDEFILE, "test_frei0r.side.tess");
    set_text(v, MODEL, model_path);
    assert_false(exists("test_frei0r.side.tess"));
    for (int i = 0; i < 3; i++) {
        f.in[i]++;
        set_number(v, QUALITY, 0.1 + 0.4 * i);
        update(v, &f);
    }
    /* Another model is another stream, a host that comes back with another size
     * another instance: neither writes over what is there. */
    set_text(v, MODEL, other_path);
    assert_side("test_frei0r.side.tess", 3, model, &f, 1, 25);
    close(creat("test_frei0r.side.tess", 0600));
    update(v, &f);
    assert_coded(&f, other, 90);
    set_text(v, SIDEFILE, "test_frei0r.side");
    update(v, &f);
    f0r.destruct(v);
    assert_side("test_frei0r.side.1.tess", 1, other, &f, 1, 25);
    assert_side("test_frei0r.side", 1, other, &f, 1, 25);
    free_frame(&f);

    f = frame_of(&rng, 7, 9, 4);
    v = f0r.construct(7, 9);
    set_text(v, MODEL, model_path);
    set_text(v, SIDEFILE, "test_frei0r.side.tess");
    update(v, &f);
    set_text(v, SIDEFILE, "");
    update(v, &f);
    f0r.destruct(v);
    assert_side("test_frei0r.side.1.tess", 1, model, &f, 1, 25);
    assert_int_equal(remove("test_frei0r.side.tess"), 0);
    free_frame(&f);
}

static void test_rate(void **state)
{
    static const struct { const char *text; uint32_t num, den; } rates[] = {
        { "50", 1, 50 }, { "30000/1001", 1001, 30000 }, { "29.97", 1000, 29970 },
        { "", 1, 25 }, { "fast", 1, 25 }, { "25x", 1, 25 }, { "0", 1, 25 },
        { "-1", 1, 25 }, { "nan", 1, 25 }, { "1/0", 1, 25 }, { "1e30", 1, 25 },
        { "0.0001", 1, 25 },
    };
    const char *const path = "test_frei0r.rate.tess";
    check_rng rng = { 4 };
    frame f = frame_of(&rng, 5, 5, 4);
    void *v = f0r.construct(5, 5);

    (void)state;
    listen();
    set_text(v, MODEL, model_path);
    set_text(v, SIDEFILE, path);
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        set_text(v, RATE, rates[i].text);
        update(v, &f);
        set_text(v, RATE, "1");
        assert_side(path, 1, model, &f, rates[i].num, rates[i].den);
    }
    f0r.destruct(v);
    assert_int_equal(heard(), 1);
    assert_non_null(strstr(said, "'fast'"));
    free_frame(&f);
}

/* The model fails to open: said once, whoever asks how often. */
static void test_no_model(void **state)
{
    check_rng rng = { 5 };
    frame f = frame_of(&rng, 33, 5, 64);
    void *v = f0r.construct(33, 5), *w = f0r.construct(33, 5);

    (void)state;
    listen();
    set_number(v, PITCH, 64);
    set_number(w, PITCH, 64);
    set_text(v, MODEL, "test_frei0r_no_such");
    set_text(w, MODEL, "test_frei0r_no_such");
    for (int i = 0; i < 5; i++) {
        update(v, &f);
        assert_true(unchanged(&f));
        update(w, &f);
        assert_true(unchanged(&f));
    }
    assert_int_equal(heard(), 1);
    assert_non_null(strstr(said, "tessera: test_frei0r_no_such: no model"));
    /* Nothing is given up for ever. */
    set_text(v, MODEL, model_path);
    update(v, &f);
    assert_coded(&f, model, 50);
    f0r.destruct(v);
    f0r.destruct(w);
    f0r.update(NULL, 0, (uint32_t *)(void *)f.in, (uint32_t *)(void *)f.out);
    free_frame(&f);
}

static void test_bad_sizes(void **state)
{
    uint32_t pixel = 0x01020304;
    void *v;

    (void)state;
    assert_null(f0r.construct(0, 10));
    assert_null(f0r.construct(10, 0));
    assert_null(f0r.construct(UINT_MAX, 1));
    assert_null(f0r.construct(1u << 31, 1u << 31));
    /* Over the codec's limit: nothing is touched in place. */
    v = f0r.construct(60000, 60000);
    assert_non_null(v);
    set_text(v, MODEL, model_path);
    listen();
    f0r.update(v, 0, &pixel, &pixel);
    f0r.update(v, 1, &pixel, &pixel);
    assert_int_equal(heard(), 1);
    assert_non_null(strstr(said, "60000x60000"));
    assert_int_equal(pixel, 0x01020304);
    f0r.destruct(v);
}

/* Frames go on when the side file does not. */
static void test_bad_side(void **state)
{
    static const char *const paths[] = { "test_frei0r.none/a.tess", "/dev/full" };
    check_rng rng = { 6 };
    frame f = frame_of(&rng, 12, 12, 4);

    (void)state;
    for (int k = 0; k < 2; k++) {
        void *v = f0r.construct(12, 12);
        set_text(v, MODEL, model_path);
        set_text(v, SIDEFILE, paths[k]);
        listen();
        for (int i = 0; i < 40; i++)
            update(v, &f);
        f0r.destruct(v);
        assert_int_equal(heard(), 1);
        assert_non_null(strstr(said, paths[k]));
        assert_coded(&f, model, 50);
    }
    free_frame(&f);
}

typedef struct job {
    frame f;
    void *instance;
    const char *side;
} job;

static void *run_job(void *cookie)
{
    job *j = cookie;
    for (int i = 0; i < 6; i++) {
        j->instance = f0r.construct(j->f.width, j->f.height);
        set_text(j->instance, MODEL, model_path);
        if (i == 5)
            set_text(j->instance, SIDEFILE, j->side);
        update(j->instance, &j->f);
        update(j->instance, &j->f);
        f0r.destruct(j->instance);
    }
    return NULL;
}

static void test_threads(void **state)
{
    check_rng rng = { 7 };
    job jobs[4];
    pthread_t threads[4];
    char names[4][32];

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        snprintf(names[i], sizeof names[i], "test_frei0r.t%u.tess", i);
        jobs[i] = (job){ frame_of(&rng, 20 + 9 * i, 30, 4), NULL, names[i] };
        assert_int_equal(pthread_create(&threads[i], NULL, run_job, &jobs[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_coded(&jobs[i].f, model, 50);
        assert_side(names[i], 2, model, &jobs[i].f, 1, 25);
        free_frame(&jobs[i].f);
    }
}

/* The number of threads changes nothing; a number that is none is said. */
static void test_thread_count(void **state)
{
    static const char *const counts[] = { "1", "3", "0", "many", "-2" };
    check_rng rng = { 8 };
    frame f = frame_of(&rng, 50, 20, 4);

    (void)state;
    listen();
    for (int i = 0; i < 5; i++) {
        void *v = f0r.construct(50, 20);
        setenv("TESSERA_THREADS", counts[i], 1);
        set_text(v, MODEL, model_path);
        update(v, &f);
        f0r.destruct(v);
        assert_coded(&f, model, 50);
    }
    assert_int_equal(heard(), 1);
    assert_non_null(strstr(said, "TESSERA_THREADS: 'many'"));
    setenv("TESSERA_THREADS", "2", 1);
    free_frame(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interface), cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_sizes), cmocka_unit_test(test_quality),
        cmocka_unit_test(test_side), cmocka_unit_test(test_rate),
        cmocka_unit_test(test_no_model), cmocka_unit_test(test_bad_sizes),
        cmocka_unit_test(test_bad_side), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_thread_count),
    };
    void *so = load();
    int failed;

    if (!so) {
        fprintf(stderr, "%s\n", dlerror());
        return 99;
    }
    setenv("TESSERA_THREADS", "2", 1);
    hyper_gen(model_path, 1);
    hyper_gen(other_path, 2);
    ctx = check_context("auto", 1);
    if (tsr_model_open(&model, ctx, model_path) ||
        tsr_model_open(&other, ctx, other_path))
        return 99;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    tsr_model_unref(&model);
    tsr_model_unref(&other);
    tsr_context_close(&ctx);
    remove(model_path);
    remove(other_path);
    dlclose(so);
    return failed;
}

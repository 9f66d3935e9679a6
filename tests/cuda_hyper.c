/* SPDX-License-Identifier: BSD-2-Clause */
/* The entropy model of "hyper" on a CUDA device against the CPU: the same bytes,
 * the same values, the same verdicts on damage.
 *
 *   cuda_hyper               the test; skipped where there is no device
 *   cuda_hyper small         few sizes, for checkers that slow a program down
 *   cuda_hyper smallest      two sizes, for those that slow it down very much
 *   cuda_hyper bench [LANES] milliseconds a unit of the shipped model, on this
 *                            CPU and on the device, alone and in threads */
#include "config.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "tests/check.h"
#include "tests/hyper_gen.h"
#include "codecs/image/cuda/hyper_gpu.h"

enum { LANES_MAX = 32, DAMAGES = 60, CRC = 7 };

static const char tiny_path[] = "cuda_hyper.safetensors";
static int tests, failures;

static void must(tsr_error error, const char *what)
{
    if (!error)
        return;
    printf("Bail out! %s: %s\n", what, tsr_error_string(error));
    exit(1);
}

static void report(bool good, const char *what, int height, int width)
{
    tests++;
    failures += !good;
    if (!good)
        printf("# %d: %s, %d x %d\n", tests, what, height, width);
}

/* A model on both sides. */
typedef struct sides {
    tsr_context *ctx;
    tsri_cuda *cuda;
    tsr_model *model;
    tsri_hyper_model m;
    tsri_hyper_gpu *gpu;
    tsri_hyper_work *work;
    tsri_rans_enc *enc[2];
} sides;

/* Packed as lib/nn/iconv.h says: few weights of any size for every output. */
static void scramble_layer(tsri_iconv *l, check_rng *rng)
{
    const int taps = l->taps * l->taps;
    memset(l->weight, 0, (size_t)l->padded * (size_t)(taps * l->in) * 2);
    for (int o = 0; o < l->out; o++) {
        for (int i = 0; i < 16; i++) {
            const int tap = (int)check_below(rng, (uint32_t)taps);
            const int c = (int)check_below(rng, (uint32_t)l->in);
            const int kind = (int)check_below(rng, 4);
            const int at = (((o / 16 * taps + tap) * (l->in / 2) + c / 2) * 16 +
                            o % 16) * 2 + c % 2;
            l->weight[at] = kind == 0 ? INT16_MIN : kind == 1 ? INT16_MAX
                            : (int16_t)(check_u32(rng) >> (kind == 2 ? 0 : 22));
        }
        l->bias[o] = (int32_t)check_u32(rng) >> 6;
    }
    l->shift = 10 + (int)check_below(rng, 8);
}

static void scramble(tsri_hyper_model *m, check_rng *rng)
{
    for (int i = 0; i < 3; i++)
        scramble_layer(&m->hs[i], rng);
    for (int g = 0; g < m->groups; g++) {
        for (int i = 0; i < 3; i++)
            scramble_layer(&m->group[g].layer[i], rng);
        m->group[g].constant = false;
    }
}

static sides open_sides(tsr_context *ctx, tsri_cuda *cuda, const char *path,
                        check_rng *wild)
{
    sides s = { .ctx = ctx, .cuda = cuda };
    must(tsr_model_open(&s.model, ctx, path), path);
    must(tsri_hyper_model_open(&s.m, ctx, s.model), "model");
    if (wild)
        scramble(&s.m, wild);
    must(tsri_hyper_work_open(&s.work, ctx, &s.m, 128, 128), "work");
    for (int i = 0; i < 2; i++)
        must(tsri_rans_enc_open(&s.enc[i], ctx), "encoder");
    return s;
}

/* After open_sides(), when s stays where it is. */
static void open_gpu(sides *s)
{
    must(tsri_hyper_gpu_open(&s->gpu, s->cuda, &s->m), "device");
}

static void close_sides(sides *s)
{
    tsri_hyper_gpu_close(&s->gpu);
    for (int i = 0; i < 2; i++)
        tsri_rans_enc_close(&s->enc[i]);
    tsri_hyper_work_close(&s->work);
    tsri_hyper_model_close(&s->m, s->ctx);
    tsr_model_unref(&s->model);
}

typedef struct unit {
    int height, width;
    size_t z_count, y_count;
    int8_t *z, *z_got;
    float *y;
    int16_t *fixed[2];
} unit;

static void *memory(size_t count, size_t size)
{
    void *p = malloc(count * size);
    if (!p)
        must(TSR_E_NOMEM, "memory");
    return p;
}

static unit make_unit(const tsri_hyper_model *m, check_rng *rng, int height,
                      int width, float scale, int z_range)
{
    unit u = { .height = height, .width = width };
    u.z_count = (size_t)m->hyper_latents * (size_t)tsri_hyper_z_side(height) *
                (size_t)tsri_hyper_z_side(width);
    u.y_count = (size_t)m->latents * (size_t)height * (size_t)width;
    u.z = memory(u.z_count, 1);
    u.z_got = memory(u.z_count, 1);
    u.y = memory(u.y_count, sizeof *u.y);
    for (int i = 0; i < 2; i++)
        u.fixed[i] = memory(u.y_count, sizeof *u.fixed[i]);
    for (size_t i = 0; i < u.z_count; i++)
        u.z[i] = (int8_t)((int)check_below(rng, 2 * (uint32_t)z_range + 1) - z_range);
    for (size_t i = 0; i < u.y_count; i++) {
        const float x = check_float(rng);
        u.y[i] = scale * x * x * x;
        if (check_below(rng, 97) == 0) /* halves: rounding to even */
            u.y[i] = (float)((int)check_below(rng, 64) - 32) / 2;
    }
    return u;
}

static void free_unit(unit *u)
{
    free(u->z);
    free(u->z_got);
    free(u->y);
    free(u->fixed[0]);
    free(u->fixed[1]);
}

/* A damaged segment: the same verdict and, where it is sound, the same values. */
static void damage(sides *s, unit *u, uint8_t *data, size_t size, check_rng *rng)
{
    for (int i = 0; i < DAMAGES && size; i++) {
        const size_t at = check_below(rng, (uint32_t)size);
        const size_t length = i % 4 ? size : at;
        const uint8_t kept = data[at];
        data[at] ^= (uint8_t)(1u << i % 8);
        const tsr_error want = tsri_hyper_get(s->work, &s->m, u->height, u->width,
                                              data, length, CRC, u->z_got,
                                              u->fixed[0]);
        const tsr_error got = tsri_hyper_gpu_get(s->gpu, u->height, u->width, data,
                                                 length, CRC, u->z_got, u->fixed[1]);
        report(want == got, "damage", u->height, u->width);
        data[at] = kept;
    }
}

/* A unit is queued the first time, recorded the second time, then played. */
enum { TIMES = 3 };

static void put_again(sides *s, unit *u, const uint8_t *want, size_t want_size)
{
    const uint8_t *got;
    size_t got_size;

    for (int i = 0; i < TIMES; i++) {
        memset(u->fixed[1], 0x5a, u->y_count * sizeof(int16_t));
        must(tsri_hyper_gpu_put(s->gpu, s->enc[1], u->height, u->width, u->z, u->y,
                                u->fixed[1], CRC, &got, &got_size), "put");
        report(!memcmp(u->fixed[0], u->fixed[1], u->y_count * sizeof(int16_t)),
               "values of the encoder", u->height, u->width);
        report(want_size == got_size && !memcmp(want, got, want_size), "bytes",
               u->height, u->width);
    }
}

static void get_again(sides *s, unit *u, const uint8_t *data, size_t size)
{
    for (int i = 0; i < TIMES; i++) {
        memset(u->fixed[1], 0x5a, u->y_count * sizeof(int16_t));
        memset(u->z_got, 0x5a, u->z_count);
        report(!tsri_hyper_gpu_get(s->gpu, u->height, u->width, data, size, CRC,
                                   u->z_got, u->fixed[1]), "get", u->height, u->width);
        report(!memcmp(u->fixed[0], u->fixed[1], u->y_count * sizeof(int16_t)) &&
               !memcmp(u->z, u->z_got, u->z_count), "values of the decoder",
               u->height, u->width);
    }
}

/* y and z as nets on the device leave them: floats, channel last, z not rounded. */
static void put_maps(sides *s, const unit *u, const uint8_t *want, size_t want_size)
{
    const size_t area = (size_t)u->height * (size_t)u->width;
    const size_t plane = u->z_count / (size_t)s->m.hyper_latents;
    float *y = memory(u->y_count, sizeof *y), *z = memory(u->z_count, sizeof *z);
    float *at_y, *at_z;
    const uint8_t *got;
    size_t got_size;

    for (size_t i = 0; i < u->y_count; i++)
        y[i % area * (size_t)s->m.latents + i / area] = u->y[i];
    for (size_t i = 0; i < u->z_count; i++) {
        const float sign = i % 2 ? 0.4f : -0.4f;
        z[i % plane * (size_t)s->m.hyper_latents + i / plane] =
            u->z[i] == 15 ? 15.5f + (float)(i % 3) * 1e9f :
            u->z[i] == -15 ? -15 - (float)(i % 3) * 1e9f :
            u->z[i] == 0 && i % 5 == 0 ? NAN : (float)u->z[i] + sign;
    }
    for (int i = 0; i < TIMES; i++) {
        must(tsri_hyper_gpu_maps(s->gpu, u->height, u->width, &at_y, &at_z), "maps");
        must(tsri_cuda_upload(s->cuda, at_y, y, u->y_count * sizeof *y), "y");
        must(tsri_cuda_upload(s->cuda, at_z, z, u->z_count * sizeof *z), "z");
        must(tsri_hyper_gpu_put_maps(s->gpu, s->enc[1], u->height, u->width, CRC, &got,
                                     &got_size), "put maps");
        report(want_size == got_size && !memcmp(want, got, want_size),
               "bytes of maps", u->height, u->width);
    }
    free(y);
    free(z);
}

static void compare(sides *s, unit *u, bool with_damage, check_rng *rng)
{
    const uint8_t *want;
    size_t want_size;

    must(tsri_hyper_put(s->work, &s->m, s->enc[0], u->height, u->width, u->z, u->y,
                        u->fixed[0], CRC, &want, &want_size), "put on the CPU");
    put_again(s, u, want, want_size);
    put_maps(s, u, want, want_size);
    get_again(s, u, want, want_size);
    report(tsri_hyper_gpu_get(s->gpu, u->height, u->width, want, want_size, CRC + 1,
                              u->z_got, u->fixed[1]) == TSR_E_CORRUPT,
           "another header", u->height, u->width);
    if (with_damage) {
        uint8_t *copy = memory(want_size + 1, 1);
        memcpy(copy, want, want_size);
        damage(s, u, copy, want_size, rng);
        free(copy);
    }
}

typedef struct sizes { int height, width; } sizes;

static void compare_sizes(sides *s, const sizes *sz, int n, check_rng *rng)
{
    static const float scales[] = { 4, 300, 0.5f, 40 };
    for (int i = 0; i < n; i++) {
        const int area = sz[i].height * sz[i].width;
        unit u = make_unit(&s->m, rng, sz[i].height, sz[i].width, scales[i % 4],
                           15 - i % 3 * 7);
        if (i % 3 == 0) {
            u.y[0] = NAN;
            u.y[u.y_count / 2] = -INFINITY;
            u.y[u.y_count - 1] = INFINITY;
        }
        compare(s, &u, area > 1 && area <= 64 && i % 2, rng);
        free_unit(&u);
    }
}

/* Tiny models, as trained and wild; sizes go up and down, so that memory is dirty. */
static void test_tiny(tsr_context *ctx, tsri_cuda *cuda, int models)
{
    static const sizes some[] = { { 7, 3 }, { 1, 1 }, { 33, 20 }, { 1, 5 }, { 5, 1 },
                                  { 16, 16 }, { 2, 128 }, { 1, 2 }, { 8, 8 },
                                  { 11, 13 } };
    check_rng rng = { 11 };
    for (int i = 0; i < models; i++) {
        hyper_gen(tiny_path, 21 + (uint64_t)i);
        sides s = open_sides(ctx, cuda, tiny_path, i % 2 ? &rng : NULL);
        open_gpu(&s);
        compare_sizes(&s, some, sizeof some / sizeof *some, &rng);
        close_sides(&s);
        remove(tiny_path);
    }
}

/* Every kernel, with edges and, in the second model, all kinds of weights. */
static void test_smallest(tsr_context *ctx, tsri_cuda *cuda)
{
    check_rng rng = { 17 };
    hyper_gen(tiny_path, 21);
    for (int wild = 0; wild < 2; wild++) {
        sides s = open_sides(ctx, cuda, tiny_path, wild ? &rng : NULL);
        open_gpu(&s);
        compare_sizes(&s, (const sizes[]){ { 9, 7 }, { 1, 1 } }, 2, &rng);
        close_sides(&s);
    }
    remove(tiny_path);
}

static bool there(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f)
        fclose(f);
    return f;
}

/* The shipped model's sizes: as trained, and with wild weights. */
static void test_shipped(tsr_context *ctx, tsri_cuda *cuda, bool small)
{
    static const sizes few[] = { { 5, 7 }, { 1, 1 }, { 9, 8 } };
    static const sizes many[] = { { 5, 7 }, { 1, 1 }, { 32, 48 }, { 6, 6 }, { 17, 31 },
                                  { 1, 128 }, { 128, 1 }, { 24, 33 } };
    const char *path = check_path("models/photo.safetensors");
    check_rng rng = { 13 };

    for (int wild = 0; wild < 2 && there(path); wild++) {
        sides s = open_sides(ctx, cuda, path, wild ? &rng : NULL);
        open_gpu(&s);
        if (small)
            compare_sizes(&s, few, 3, &rng);
        else
            compare_sizes(&s, many, sizeof many / sizeof *many, &rng);
        if (!small) {
            unit u = make_unit(&s.m, &rng, 128, 128, 4, 3);
            compare(&s, &u, false, &rng);
            free_unit(&u);
        }
        close_sides(&s);
    }
}

/* ---- times ---- */

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct timing { double put, get, device_put, device_get; } timing;

static void time_once(sides *s, unit *u, bool gpu, const uint8_t *data, size_t size,
                      double *put, double *get)
{
    const uint8_t *out;
    size_t out_size;
    const double start = now_ms();
    must(gpu ? tsri_hyper_gpu_put(s->gpu, s->enc[1], u->height, u->width, u->z, u->y,
                                  NULL, CRC, &out, &out_size)
             : tsri_hyper_put(s->work, &s->m, s->enc[1], u->height, u->width, u->z,
                              u->y, u->fixed[1], CRC, &out, &out_size), "put");
    const double middle = now_ms();
    must(gpu ? tsri_hyper_gpu_get(s->gpu, u->height, u->width, data, size, CRC,
                                  u->z_got, NULL)
             : tsri_hyper_get(s->work, &s->m, u->height, u->width, data, size, CRC,
                              u->z_got, u->fixed[1]), "get");
    if (gpu)
        must(tsri_cuda_sync(s->cuda), "sync");
    *put = middle - start;
    *get = now_ms() - middle;
}

static void time_unit(sides *s, int height, int width, float scale)
{
    check_rng rng = { 3 };
    unit u = make_unit(&s->m, &rng, height, width, scale, 2);
    const uint8_t *data;
    size_t size;
    double put[2][41], get[2][41];

    must(tsri_hyper_put(s->work, &s->m, s->enc[0], height, width, u.z, u.y, u.fixed[0],
                        CRC, &data, &size), "put");
    for (int gpu = 0; gpu < 2; gpu++) {
        const int runs = gpu ? 41 : 3;
        for (int i = 0; i < runs; i++)
            time_once(s, &u, gpu, data, size, &put[gpu][i], &get[gpu][i]);
        qsort(put[gpu], (size_t)runs, sizeof(double), ascending);
        qsort(get[gpu], (size_t)runs, sizeof(double), ascending);
    }
    printf("%4d x %4d pixels, %7zu bytes: CPU put %8.2f get %8.2f ms; device put "
           "%6.3f (best %6.3f) get %6.3f (best %6.3f) ms\n", width * 16, height * 16,
           size, put[0][1], get[0][1], put[1][20], put[1][0], get[1][20], get[1][0]);
    free_unit(&u);
}

typedef struct lane {
    pthread_t thread;
    int units;
    double put, get;
} lane;

static pthread_barrier_t together;

static void *run_lane(void *cookie)
{
    lane *l = cookie;
    tsr_context *ctx = check_context("auto", 1);
    tsri_cuda *cuda;
    check_rng rng = { 3 };
    double put, get;

    must(tsri_cuda_open(&cuda, ctx, 0), "device");
    sides s = open_sides(ctx, cuda, check_path("models/photo.safetensors"), NULL);
    open_gpu(&s);
    unit u = make_unit(&s.m, &rng, 32, 48, 3, 2);
    const uint8_t *data;
    size_t size;
    must(tsri_hyper_put(s.work, &s.m, s.enc[0], 32, 48, u.z, u.y, u.fixed[0], CRC,
                        &data, &size), "put");
    time_once(&s, &u, true, data, size, &put, &get);
    pthread_barrier_wait(&together);
    const double start = now_ms();
    for (int i = 0; i < l->units; i++)
        time_once(&s, &u, true, data, size, &put, &get);
    l->put = now_ms() - start;
    pthread_barrier_wait(&together);
    free_unit(&u);
    close_sides(&s);
    tsri_cuda_close(&cuda);
    tsr_context_close(&ctx);
    return NULL;
}

static void time_lanes(int lanes)
{
    lane l[LANES_MAX] = { 0 };
    double worst = 0;

    pthread_barrier_init(&together, NULL, (unsigned)lanes);
    for (int i = 0; i < lanes; i++) {
        l[i].units = 40;
        pthread_create(&l[i].thread, NULL, run_lane, &l[i]);
    }
    for (int i = 0; i < lanes; i++)
        pthread_join(l[i].thread, NULL);
    for (int i = 0; i < lanes; i++)
        worst = l[i].put > worst ? l[i].put : worst;
    pthread_barrier_destroy(&together);
    printf("%2d lanes of 768 x 512: %7.3f ms a picture there and back\n", lanes,
           worst / (40.0 * lanes));
}

static void bench(tsr_context *ctx, tsri_cuda *cuda, int lanes)
{
    sides s = open_sides(ctx, cuda, check_path("models/photo.safetensors"), NULL);
    open_gpu(&s);
    printf("%s\n", tsri_cuda_name(cuda));
    time_unit(&s, 32, 48, 0.5f);
    time_unit(&s, 32, 48, 3);
    time_unit(&s, 32, 48, 8);
    time_unit(&s, 16, 16, 3);
    time_unit(&s, 128, 128, 3);
    close_sides(&s);
    for (int n = 1; n <= lanes; n *= 2)
        time_lanes(n);
}

static void verdict(void)
{
    printf("%sok 1 - %d of %d\n1..1\n", failures ? "not " : "", tests - failures,
           tests);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    tsr_context_settings settings;
    tsr_context *ctx;
    tsri_cuda *cuda;

    tsr_context_settings_init(&settings);
    settings.threads = 1;
    settings.logger.log = NULL;
    must(tsr_context_open(&ctx, &settings), "context");
    if (tsri_cuda_open(&cuda, ctx, 0)) {
        tsr_context_close(&ctx);
        printf("1..0 # SKIP no CUDA device\n");
        return 0;
    }
    if (!strcmp(mode, "bench")) {
        const int lanes = argc > 2 ? atoi(argv[2]) : 16;
        bench(ctx, cuda, lanes < LANES_MAX ? lanes : LANES_MAX);
    } else if (!strcmp(mode, "smallest")) {
        test_smallest(ctx, cuda);
        verdict();
    } else {
        test_tiny(ctx, cuda, strcmp(mode, "small") ? 6 : 2);
        test_shipped(ctx, cuda, !strcmp(mode, "small"));
        verdict();
    }
    tsri_cuda_close(&cuda);
    tsr_context_close(&ctx);
    return failures ? 1 : 0;
}

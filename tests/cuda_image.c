/* SPDX-License-Identifier: BSD-2-Clause */
/* Pictures on a GPU against those of the CPU: streams of one decode on the other
 * to the same tokens, samples within a bound, tokens of both encoders the same
 * but at near ties.  Skipped where there is no device.
 *
 *   cuda_image             all
 *   cuda_image quick       small pictures in fp32 and fp16 alone
 *   cuda_image one MODEL   one small picture in fp32 and fp16, and its batches
 *   cuda_image batches     batches of large pictures alone, wide networks among them
 *   cuda_image memory      device memory alone
 *   cuda_image golden DIR  writes small streams made on the device, and their
 *                          list, for tests/golden/gpu
 * With a device's name as the last argument ("cpu") it runs there. */
#include "config.h"
#include <math.h>
#include <time.h>
#include "tests/cuda_image.h"

const char *const precision_name[] = { "auto", "fp32", "fp16", "bf16" };

/* Greatest difference of 8-bit samples between GPU and CPU of the same tokens, by
 * model and precision; docs/gpu.md has them. */
static const int sample_bound[GPU_MODELS][4] = {
    { 8, 1, 8, 32 }, { 8, 1, 8, 32 }, { 8, 1, 8, 32 },
    { 8, 1, 8, 32 }, { 8, 1, 8, 32 }, { 8, 1, 8, 32 },
};

/* Tokens of a GPU's encoder in fp32 may differ from the CPU's only so near to a
 * border. */
static const double tie_bound = 1e-3, hyper_tie_bound = 1e-2;

static int failures, number;

void verdict(bool good, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    printf("%sok %d - ", good ? "" : "not ", ++number);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    failures += !good;
}

/* Says how long a part took since the last one: most of it is the search for
 * kernels, for every size of picture. */
static void took(const char *model, const char *part)
{
    static double last;
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    const double now = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    if (part)
        printf("# %s %s: %.1f s\n", model, part, now - last);
    last = now;
}

tsr_context *cuda_image_context(const char *device, int precision, int threads)
{
    tsr_context_settings s;
    tsr_context *ctx = NULL;

    tsr_context_settings_init(&s);
    s.device = device;
    s.precision = precision;
    s.threads = threads;
    s.logger.log = token_remember;
    return tsr_context_open(&ctx, &s) ? NULL : ctx;
}

/* One model on both sides. */
typedef struct side {
    tsr_context *ctx;
    tsr_model *model;
} side;

static side side_open(const char *device, int precision, const char *model)
{
    const int threads = strcmp(device, "cpu") ? 2 : 8; /* which takes the longest */
    side s = { cuda_image_context(device, precision, threads), NULL };
    if (!s.ctx)
        fail_msg("%s", token_message);
    s.model = gpu_model(s.ctx, model);
    return s;
}

static void side_close(side *s)
{
    tsr_model_unref(&s->model);
    tsr_context_close(&s->ctx);
}

/* ---- comparisons ---- */

static bool same_tokens(side *a, side *b, mem_file *file, gpu_tokens *tokens)
{
    const gpu_tokens other = gpu_read(b->ctx, b->model, file);

    *tokens = gpu_read(a->ctx, a->model, file);
    const bool same = tokens->n == other.n &&
        !memcmp(tokens->id, other.id, other.n * sizeof *other.id);
    free(other.id);
    return same;
}

static double sample_at(const tsr_image *m, int y, int i)
{
    const uint8_t *row = (const uint8_t *)m->data + (size_t)y * m->stride;
    return m->bits == 8 ? row[i] : ((const uint16_t *)(const void *)row)[i] /
                                       257.0;
}

/* The greatest and mean difference of the pictures of one stream. */
static double sample_difference(side *cpu, side *gpu, mem_file *file,
                                double *mean)
{
    tsr_image a = token_decode(cpu->ctx, cpu->model, file, TSR_OK);
    tsr_image b = token_decode(gpu->ctx, gpu->model, file, TSR_OK);
    const int row = a.width * a.channels;
    double worst = 0, sum = 0;

    for (int y = 0; y < a.height; y++)
        for (int i = 0; i < row; i++) {
            const double d = fabs(sample_at(&a, y, i) - sample_at(&b, y, i));
            worst = d > worst ? d : worst;
            sum += d;
        }
    *mean = sum / row / a.height;
    tsr_image_free(cpu->ctx, &a);
    tsr_image_free(gpu->ctx, &b);
    return worst;
}

/* A picture both ways with a model in one precision. */
static void check_picture(side *cpu, side *gpu, int model, int precision,
                          const tsr_image *image)
{
    const tsr_image_settings s = token_settings(100, 1, 0);
    mem_file from_cpu = token_encode(cpu->ctx, cpu->model, &s, image);
    mem_file from_gpu = token_encode(gpu->ctx, gpu->model, &s, image);
    gpu_tokens a, b;
    char what[100];
    double mean;

    snprintf(what, sizeof what, "%s %s %dx%dx%d of %d bits", gpu_models[model],
             precision_name[precision], image->width, image->height,
             image->channels, image->bits);
    verdict(same_tokens(cpu, gpu, &from_cpu, &a), "%s: the CPU's stream", what);
    verdict(same_tokens(cpu, gpu, &from_gpu, &b), "%s: the GPU's stream", what);
    const double worst = sample_difference(cpu, gpu, &from_cpu, &mean);
    verdict(worst <= sample_bound[model][precision],
            "%s: samples differ by up to %.2f, %.4f in the mean", what, worst,
            mean);
    const size_t n = cuda_image_different(&a, &b);
    const ties t = cuda_image_ties(cpu->ctx, gpu->ctx, cpu->model,
                                   image, &a, &b);
    const double bound = strcmp(tsr_model_codec(cpu->model), "hyper")
        ? tie_bound : hyper_tie_bound;
    const bool exact = precision == TSR_PRECISION_AUTO ||
                       precision == TSR_PRECISION_F32;
    verdict(!exact || (t.worst <= bound && n <= a.n / 20 + 2), "%s: %zu of %zu "
            "tokens differ; %zu looked at, ties within %.2e", what, n, a.n,
            t.count, t.worst);
    free(a.id);
    free(b.id);
    free(from_cpu.data);
    free(from_gpu.data);
}

static const struct { int width, height, channels, bits; } pictures[] = {
    { 64, 48, 3, 8 }, { 33, 1, 1, 8 }, { 130, 75, 4, 16 }, { 512, 384, 3, 8 },
    { 2100, 40, 3, 8 },
};
/* Of them by precision: `auto` has the encoder of fp32 and the decoder of fp16. */
static const int pictures_of[4] = { 2, 5, 5, 2 };

static void check_model(const char *device, int model, int precision, int count)
{
    side cpu = side_open("cpu", TSR_PRECISION_AUTO, gpu_models[model]);
    side gpu = side_open(device, precision, gpu_models[model]);

    for (int i = 0; i < count; i++) {
        tsr_image image = token_picture(pictures[i].width, pictures[i].height,
                                        pictures[i].channels, pictures[i].bits);
        check_picture(&cpu, &gpu, model, precision, &image);
        free(image.data);
    }
    side_close(&cpu);
    side_close(&gpu);
}

/* A picture that does not fit the memory limit in one piece. */
static void check_tiles(const char *device, int model)
{
    side whole = side_open(device, TSR_PRECISION_F32, gpu_models[model]);
    side cpu = side_open("cpu", TSR_PRECISION_AUTO, gpu_models[model]);
    tsr_image image = token_picture(700, 500, 3, 8);
    mem_file file = token_encode(whole.ctx, whole.model, NULL, &image);
    double mean;

    whole.ctx->max_memory = 24 << 20;
    const double worst = sample_difference(&cpu, &whole, &file, &mean);
    verdict(worst <= 1, "%s in tiles: samples differ by up to %.2f, %.4f in the "
            "mean", gpu_models[model], worst, mean);
    free(file.data);
    free(image.data);
    side_close(&whole);
    side_close(&cpu);
}

/* ---- golden streams ---- */

static void write_golden(const char *device, const char *folder)
{
    static const int size[][2] = { { 64, 48 }, { 50, 37 } };
    char path[4096], name[64];
    side gpu;

    snprintf(path, sizeof path, "%s/list", folder);
    FILE *list = fopen(path, "w");
    if (!list)
        fail_msg("%s", path);
    for (int model = 0; model < GPU_MODELS; model++)
        for (int i = 0; i < 4; i++) {
            const int precision = i < 2 ? TSR_PRECISION_AUTO : TSR_PRECISION_F16;
            const tsr_image_settings s = token_settings(i % 2 ? 40 : 100, 1,
                                                        i == 3);
            if (i % 2 == 0)
                gpu = side_open(device, precision, gpu_models[model]);
            tsr_image image = token_picture(size[i % 2][0], size[i % 2][1],
                                            3 - 2 * (i == 1), 8);
            mem_file file = token_encode(gpu.ctx, gpu.model, &s, &image);
            gpu_tokens t = gpu_read(gpu.ctx, gpu.model, &file);
            snprintf(name, sizeof name, "%s-%d.tess", gpu_models[model], i);
            snprintf(path, sizeof path, "%s/%s", folder, name);
            FILE *out = fopen(path, "wb");
            if (!out || fwrite(file.data, 1, file.size, out) != file.size ||
                fclose(out))
                fail_msg("%s", path);
            fprintf(list, "%s %d %d %08x\n", name, image.width, image.height,
                    (unsigned)gpu_crc(&t));
            fflush(list);
            free(t.id);
            free(file.data);
            free(image.data);
            if (i % 2)
                side_close(&gpu);
        }
    assert_int_equal(fclose(list), 0);
}

/* One model's small picture, or all of them. */
static void check_all(const char *device, const char *only, bool quick)
{
    for (int model = 0; model < GPU_MODELS; model++) {
        if (only && strcmp(only, gpu_models[model]))
            continue;
        for (int p = 0; p < 4; p++)
            if (!(quick || only) || p == TSR_PRECISION_F32 ||
                p == TSR_PRECISION_F16) {
                check_model(device, model, p, quick || only ? 1 : pictures_of[p]);
                took(gpu_models[model], precision_name[p]);
            }
        cuda_image_batches(device, gpu_models[model]);
        if (!only && !quick)
            check_tiles(device, model);
        took(gpu_models[model], "batch and tiles");
    }
}

int main(int argc, char **argv)
{
    const bool golden = argc > 2 && !strcmp(argv[1], "golden");
    const bool quick = argc > 1 && !strcmp(argv[1], "quick");
    const bool memory = argc > 1 && !strcmp(argv[1], "memory");
    const bool batches = argc > 1 && !strcmp(argv[1], "batches");
    const char *only = argc > 2 && !strcmp(argv[1], "one") ? argv[2] : NULL;
    const int used = golden || only ? 3 : quick || memory || batches ? 2 : 1;
    const char *device = argc > used ? argv[used] : "cuda";
    tsr_context *ctx = cuda_image_context(device, TSR_PRECISION_AUTO, 1);

    if (!ctx) {
        printf("1..0 # SKIP no CUDA device: %s\n", token_message);
        return 0;
    }
    printf("# %s\n", tsr_context_device(ctx));
    tsr_context_close(&ctx);
    setvbuf(stdout, NULL, _IOLBF, 0);
    took(NULL, NULL);
    if (golden) {
        write_golden(device, argv[2]);
        return 0;
    }
    if (!memory && !batches)
        check_all(device, only, quick);
    if (!only && !batches)
        cuda_image_memory(device);
    took("all models", "in device memory");
    if (!only && !quick && !memory)
        cuda_image_wide(device);
    took("wide models", "batches");
    printf("1..%d\n", number);
    return failures > 0;
}

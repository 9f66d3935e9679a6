/* SPDX-License-Identifier: BSD-2-Clause */
/* Bits, error and speed of the published methods on a real cache: a safetensors
 * file with tensors layers.{i}.key and layers.{i}.value, F16 [heads, T, D].
 *
 *     tests/kv_methods_speed FILE ROPE_THETA METHOD...
 *
 * A method is as in tsr_kv_settings; all tokens are cut into tiles of the
 * method's wish.  Keys of methods that want it are turned back first. */
#include "config.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <tessera/model.h>
#include "codecs/kv/method_list.h"
#include "lib/weights.h"

enum { MAX_LAYERS = 64 };

typedef struct cache {
    int layers, heads, tokens, dim;
    double theta;
    const uint16_t *plane[MAX_LAYERS][2];
} cache;

typedef struct sums {
    double bits[2], error[2], energy[2], encode, decode;
    size_t values[2];
} sums;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void load(const tsr_model *model, cache *c)
{
    static const char *const names[] = { "key", "value" };
    char name[64];

    for (c->layers = 0; c->layers < MAX_LAYERS; c->layers++)
        for (int p = 0; p < 2; p++) {
            snprintf(name, sizeof name, "layers.%d.%s", c->layers, names[p]);
            const tsr_tensor *t = tsr_model_tensor(model, name);
            if (!t || t->rank != 3 || t->dtype != TSR_F16)
                return;
            c->heads = (int)t->dims[0];
            c->tokens = (int)t->dims[1];
            c->dim = (int)t->dims[2];
            c->plane[c->layers][p] = t->data;
        }
}

static void turn_back(const cache *c, float *x, int first, int n)
{
    const int half = c->dim / 2;

    for (int t = 0; t < n; t++)
        for (int h = 0; h < c->heads; h++, x += c->dim)
            for (int i = 0; i < half; i++) {
                const double a = (first + t) *
                                 pow(c->theta, -2.0 * i / c->dim);
                const float u = x[i], v = x[i + half];
                x[i] = (float)(u * cos(a) + v * sin(a));
                x[i + half] = (float)(v * cos(a) - u * sin(a));
            }
}

/* One tile as the method wants it. */
static void gather(const cache *c, const tsri_kv_method *m,
                   const tsri_kv_tile *tile, void *x)
{
    const uint16_t *from = c->plane[tile->layer][tile->plane];
    uint16_t *raw = x;
    float *to = x;

    for (int t = 0; t < tile->tokens; t++)
        for (int h = 0; h < c->heads; h++)
            for (int d = 0; d < c->dim; d++) {
                const size_t row = (size_t)h * (size_t)c->tokens +
                                   (size_t)tile->first + (size_t)t;
                const uint16_t v = from[row * (size_t)c->dim + (size_t)d];
                if (m->raw)
                    *raw++ = v;
                else
                    *to++ = tsri_half_to_float(v);
            }
    if (m->pre_rope && tile->plane == 0 && c->theta > 0)
        turn_back(c, x, (int)tile->first, tile->tokens);
}

static float number(const void *x, size_t i, bool raw)
{
    return raw ? tsri_half_to_float(((const uint16_t *)x)[i])
               : ((const float *)x)[i];
}

static void run_tile(const cache *c, const tsri_kv_method *m,
                     const tsri_kv_tile *tile, unsigned cpu, sums *s)
{
    const size_t n = tsri_kv_values(tile);
    void *x = malloc(4 * n), *work = malloc(4 * n);
    uint8_t *out = malloc(m->bound(tile));
    void *scratch = aligned_alloc(64, (m->scratch(tile) + 63) / 64 * 64);

    gather(c, m, tile, x);
    memcpy(work, x, 4 * n);
    double begin = now();
    const size_t size = m->encode(tile, cpu, work, out, scratch);
    s->encode += now() - begin;
    begin = now();
    if (m->decode(tile, cpu, out, size, work, scratch))
        abort();
    s->decode += now() - begin;
    s->bits[tile->plane] += 8.0 * (double)size;
    s->values[tile->plane] += n;
    for (size_t i = 0; i < n; i++) {
        const double v = number(x, i, m->raw);
        const double e = v - number(work, i, m->raw);
        s->error[tile->plane] += e * e;
        s->energy[tile->plane] += v * v;
    }
    free(x);
    free(work);
    free(out);
    free(scratch);
}

static void run(const cache *c, tsr_context *ctx, unsigned cpu,
                const char *text, tsr_model *profile)
{
    const tsri_kv_method *m = tsri_kv_method_name(text);
    const tsr_kv_settings set = { .method = text, .profile = profile };
    uint8_t params[40];
    sums s = { 0 };

    if (!m || m->settings(ctx, &set, params)) {
        printf("%-36s no such method\n", text);
        return;
    }
    for (int l = 0; l < c->layers; l++)
        for (int p = 0; p < 2; p++)
            for (int t = 0; t < c->tokens; t += m->tile) {
                const tsri_kv_tile tile = {
                    .layer = l, .plane = p, .layers = c->layers,
                    .heads = c->heads, .dim = c->dim,
                    .tokens = tsri_min(m->tile, c->tokens - t),
                    .first = (uint64_t)t, .total = (uint64_t)c->tokens,
                    .dtype = TSR_KV_F16, .params = params, .profile = profile
                };
                run_tile(c, m, &tile, cpu, &s);
            }
    const double n = (double)(s.values[0] + s.values[1]);
    printf("%-36s %6.3f (%6.3f %6.3f) bits  error %.5f %.5f  "
           "%5.0f %5.0f MB/s\n", text, (s.bits[0] + s.bits[1]) / n,
           s.bits[0] / (double)s.values[0], s.bits[1] / (double)s.values[1],
           sqrt(s.error[0] / s.energy[0]), sqrt(s.error[1] / s.energy[1]),
           2e-6 * n / s.encode, 2e-6 * n / s.decode);
}

static void print(void *cookie, tsr_log_level level, const char *text)
{
    (void)cookie;
    (void)level;
    fprintf(stderr, "%s\n", text);
}

int main(int argc, char **argv)
{
    tsr_context_settings set;
    tsr_context *ctx;
    tsr_model *model;
    cache c = { 0 };

    tsr_context_settings_init(&set);
    set.logger.log = print;
    if (argc < 4 || tsr_context_open(&ctx, &set) ||
        tsr_model_open(&model, ctx, argv[1]))
        return 1;
    c.theta = atof(argv[2]);
    load(model, &c);
    for (int i = 3; i < argc; i++)
        run(&c, ctx, ctx->cpu, argv[i], model);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    return 0;
}

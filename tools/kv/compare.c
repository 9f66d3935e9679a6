/* SPDX-License-Identifier: BSD-2-Clause */
/* compare: how far two caches are apart. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/engine.h"
#include "tools/json.h"
#include "tools/kv/error.h"
#include "tools/kv/verbs.h"
#include "tools/say.h"

int kv_error(const cache *a, const cache *b, int layer, int plane, kv_errors *e)
{
    const int dim = a->shape.dim[plane];
    float *x = malloc(2 * (size_t)dim * sizeof *x), *y = x + dim;

    if (!x)
        return say_error(RC_MACHINE, NULL, "out of memory");
    for (size_t t = 0; t < a->view.tokens; t++)
        for (int h = 0; h < a->shape.heads[plane]; h++) {
            cache_row(a, layer, plane, h, t, x);
            cache_row(b, layer, plane, h, t, y);
            for (int d = 0; d < dim; d++) {
                const double gap = fabs((double)x[d] - y[d]);
                e->signal += (double)x[d] * x[d];
                e->noise += gap * gap;
                e->most = gap > e->most || isnan(gap) ? gap : e->most;
                e->differ += memcmp(&x[d], &y[d], sizeof x[d]) != 0;
            }
        }
    e->count += (double)a->view.tokens * a->shape.heads[plane] * dim;
    free(x);
    return RC_OK;
}

double kv_relative(const kv_errors *e)
{
    return e->signal > 0 ? sqrt(e->noise / e->signal) : sqrt(e->noise);
}

static void print_row(const char *name, int layer, const kv_errors *e)
{
    char label[32];
    if (layer < 0)
        snprintf(label, sizeof label, "all %s", name);
    else
        snprintf(label, sizeof label, "%d %s", layer, name);
    printf("%-12s %10.6f  %10.6f  %10.4f  %8.2f\n", label, kv_relative(e),
           e->count > 0 ? sqrt(e->noise / e->count) : 0, e->most,
           e->noise > 0 ? 10 * log10(e->signal / e->noise) : INFINITY);
}

static int print_text(const cache *a, const cache *b)
{
    static const char *const names[2][2] = { { "latent", "" },
                                             { "keys", "values" } };
    kv_errors all[2] = { { 0 } };
    int rc = RC_OK;

    printf("layer          relative         rms     largest        dB\n");
    for (int l = 0; !rc && l < a->shape.layers; l++)
        for (int p = 0; !rc && p < a->shape.planes; p++) {
            kv_errors e = { 0 };
            rc = kv_error(a, b, l, p, &e);
            print_row(names[a->shape.planes - 1][p], l, &e);
            kv_errors_add(&all[p], &e);
        }
    for (int p = 0; !rc && p < a->shape.planes; p++)
        print_row(names[a->shape.planes - 1][p], -1, &all[p]);
    if (!rc && all[0].differ + all[1].differ == 0)
        printf("identical\n");
    return rc;
}

static int print_json(const cache *a, const cache *b)
{
    kv_errors all[2] = { { 0 } };
    int rc = RC_OK;

    printf("{\"layers\": [");
    for (int l = 0; !rc && l < a->shape.layers; l++) {
        printf("%s[", l ? ", " : "");
        for (int p = 0; !rc && p < a->shape.planes; p++) {
            kv_errors e = { 0 };
            rc = kv_error(a, b, l, p, &e);
            printf("%s", p ? ", " : "");
            json_number(kv_relative(&e), 8);
            kv_errors_add(&all[p], &e);
        }
        printf("]");
    }
    printf("], \"relative\": [");
    for (int p = 0; p < a->shape.planes; p++) {
        printf("%s", p ? ", " : "");
        json_number(kv_relative(&all[p]), 8);
    }
    printf("], \"identical\": %s}\n",
           all[0].differ + all[1].differ == 0 ? "true" : "false");
    return rc;
}

static int compare(const args *a, const cache *x, const cache *y)
{
    if (memcmp(&x->shape, &y->shape, sizeof x->shape) ||
        x->view.tokens != y->view.tokens)
        return say_error(RC_USAGE, y->name, "is a cache of another shape than"
                         " %s", x->name);
    return a->json ? print_json(x, y) : print_text(x, y);
}

int kv_compare(args *a)
{
    tsr_context *ctx;
    cache x = { 0 }, y = { 0 };
    int rc;

    if (a->files != 2)
        return say_error(RC_USAGE, NULL, "compare wants two caches");
    rc = engine_open(&ctx, a);
    if (!rc)
        rc = cache_open(&x, ctx, a, a->file[0]);
    if (!rc)
        rc = cache_open(&y, ctx, a, a->file[1]);
    if (!rc)
        rc = compare(a, &x, &y);
    cache_close(&x);
    cache_close(&y);
    tsr_context_close(&ctx);
    return rc;
}

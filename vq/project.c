/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/pool.h"
#include "vq/project.h"
#include "vq/rows.h"

enum { BLOCK = 64 };

typedef struct projection {
    const float *table, *weight, *bias;
    int k, e, d;
    float *out;
} projection;

static void project_row(const projection *p, const float *row, float *out)
{
    const float *w = p->weight;
    for (int c = 0; c < p->d; c++, w += p->e) {
        double sum = 0;
        for (int j = 0; j < p->e; j++)
            sum += (double)row[j] * (double)w[j];
        out[c] = (float)(p->bias ? sum + (double)p->bias[c] : sum);
    }
}

static tsr_error project_block(void *cookie, int block, int worker)
{
    const projection *p = cookie;
    const int end = tsri_min(p->k, (block + 1) * BLOCK);
    (void)worker;
    for (int i = block * BLOCK; i < end; i++)
        project_row(p, p->table + (size_t)i * (size_t)p->e,
                    p->out + (size_t)i * (size_t)p->d);
    return TSR_OK;
}

tsr_error tsri_project(tsr_context *ctx, const float *table,
                       const float *weight, const float *bias, int k, int e,
                       int d, float *out)
{
    projection p = { table, weight, bias, k, e, d, out };
    TSR_TRY(tsri_rows_check(ctx, 0, d, k));
    TSR_TRY(tsri_rows_check(ctx, 0, e, k));
    return tsri_pool_for(ctx->pool, tsri_ceil_div(k, BLOCK), project_block, &p);
}

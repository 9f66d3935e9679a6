/* SPDX-License-Identifier: BSD-2-Clause */
#include "vq/cuda/rvq_cuda.h"
#include "lib/cuda/device_cuda.h"
#include "vq/cuda/nearest_cuda.h"
#include "vq/cuda/rvq_kernels.h"

enum { TURN = 1 << 14 };        /* vectors of a search */

struct tsri_rvq_cuda {
    const tsr_rvq *q;
    tsri_cuda *gpu;
    uint8_t *books;             /* [stages][groups], prepared, `each` bytes */
    size_t each;
    float *words;               /* as q's */
    size_t room;                /* vectors that there is memory for */
    float *x, *left;            /* [room][groups * dim] */
    int32_t *codes, *found;     /* [groups][stages][room]; found: the host's */
    void *work;
};

static size_t words_of(const tsr_rvq *q)
{
    return (size_t)q->s.k * (size_t)q->s.dim;
}

static tsr_error open_books(tsri_rvq_cuda *r)
{
    const tsr_rvq *q = r->q;
    const int books = q->s.groups * q->s.stages;
    const size_t each = words_of(q);

    r->each = (tsri_nearest_cuda_book_size(q->s.k, q->s.dim) + 255) / 256 * 256;
    TSR_TRY(tsri_cuda_alloc(r->gpu, &r->words, (size_t)books * each,
                            sizeof *r->words));
    TSR_TRY(tsri_cuda_upload(r->gpu, r->words, q->words,
                             (size_t)books * each * sizeof *r->words));
    TSR_TRY(tsri_cuda_alloc(r->gpu, &r->books, (size_t)books, r->each));
    for (int i = 0; i < books; i++)
        TSR_TRY(tsri_nearest_cuda_prepare(r->gpu,
                                          r->books + (size_t)i * r->each,
                                          r->words + (size_t)i * each, q->s.k,
                                          q->s.dim));
    return tsri_cuda_sync(r->gpu);
}

static void drop_work(tsri_rvq_cuda *r)
{
    tsri_cuda_free(r->gpu, r->x);
    tsri_cuda_free(r->gpu, r->left);
    tsri_cuda_free(r->gpu, r->codes);
    tsri_cuda_free(r->gpu, r->work);
    tsri_free(r->q->ctx, r->found);
    r->x = r->left = NULL;
    r->codes = r->found = NULL;
    r->work = NULL;
    r->room = 0;
}

/* Memory for n vectors, if it is more than there is. */
static tsr_error make_work(tsri_rvq_cuda *r, size_t n)
{
    const tsr_rvq_shape *s = &r->q->s;
    const size_t width = (size_t)s->groups * (size_t)s->dim;
    const size_t codes = (size_t)s->groups * (size_t)s->stages;

    if (n <= r->room)
        return TSR_OK;
    drop_work(r);
    TSR_TRY(tsri_cuda_alloc(r->gpu, &r->x, n * width, sizeof *r->x));
    TSR_TRY(tsri_cuda_alloc(r->gpu, &r->left, n * width, sizeof *r->left));
    TSR_TRY(tsri_cuda_alloc(r->gpu, &r->codes, n * codes, sizeof *r->codes));
    TSR_TRY(tsri_cuda_alloc(r->gpu, &r->work,
                            tsri_nearest_cuda_work_size(n, s->k, s->dim), 1));
    r->found = tsri_alloc(r->q->ctx, n * codes, sizeof *r->found);
    if (!r->found)
        return tsri_nomem(r->q->ctx);
    r->room = n;
    return TSR_OK;
}

tsr_error tsri_rvq_cuda_open(tsri_rvq_cuda **out, const tsr_rvq *q,
                             tsri_cuda *gpu)
{
    tsri_rvq_cuda *r = tsri_calloc(q->ctx, 1, sizeof *r);

    *out = r;
    if (!r)
        return tsri_nomem(q->ctx);
    r->q = q;
    r->gpu = gpu;
    const tsr_error error = open_books(r);
    if (error)
        tsri_rvq_cuda_close(out);
    return error;
}

void tsri_rvq_cuda_close(tsri_rvq_cuda **out)
{
    tsri_rvq_cuda *r = *out;

    if (!r)
        return;
    drop_work(r);
    tsri_cuda_free(r->gpu, r->books);
    tsri_cuda_free(r->gpu, r->words);
    tsri_free(r->q->ctx, r);
    *out = NULL;
}

/* All stages of a group. */
static tsr_error search(tsri_rvq_cuda *r, int group, size_t n, int stages)
{
    const tsr_rvq_shape *s = &r->q->s;
    float *x = r->left + (size_t)group * n * (size_t)s->dim;
    int32_t *codes = r->codes + (size_t)group * (size_t)stages * n;

    for (int i = 0; i < stages; i++, codes += n) {
        const size_t book = (size_t)(i * s->groups + group);
        TSR_TRY(tsri_nearest_cuda_search(r->gpu, codes,
                                         r->books + book * r->each, s->k,
                                         s->dim, x, n, r->work,
                                         TSRI_NEAREST_AUTO));
        TSR_TRY(tsri_cuda_check(r->gpu, tsri_launch_rvq_subtract(
            x, r->words + book * words_of(r->q), codes, n, s->dim,
            tsri_cuda_stream(r->gpu)), "search"));
    }
    return TSR_OK;
}

static tsr_error turn(tsri_rvq_cuda *r, const float *x, size_t n, int stages,
                      int32_t *codes)
{
    const tsr_rvq_shape *s = &r->q->s;
    const size_t width = (size_t)s->groups * (size_t)s->dim;
    const size_t columns = (size_t)(s->groups * stages);

    TSR_TRY(make_work(r, n));
    TSR_TRY(tsri_cuda_upload(r->gpu, r->x, x, n * width * sizeof *x));
    TSR_TRY(tsri_cuda_check(r->gpu, tsri_launch_rvq_spread(
        r->left, r->x, n, s->groups, s->dim, tsri_cuda_stream(r->gpu)),
        "search"));
    for (int g = 0; g < s->groups; g++)
        TSR_TRY(search(r, g, n, stages));
    TSR_TRY(tsri_cuda_download(r->gpu, r->found, r->codes,
                               n * columns * sizeof *codes));
    TSR_TRY(tsri_cuda_sync(r->gpu));
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < columns; c++)
            codes[i * columns + c] = r->found[c * n + i];
    return TSR_OK;
}

tsr_error tsri_rvq_cuda_encode(tsri_rvq_cuda *r, const float *x, size_t n,
                               int stages, int32_t *codes)
{
    const size_t width = (size_t)r->q->s.groups * (size_t)r->q->s.dim;
    const size_t columns = (size_t)(r->q->s.groups * stages);

    for (size_t i = 0; i < n; i += TURN)
        TSR_TRY(turn(r, x + i * width, n - i < TURN ? n - i : TURN, stages,
                     codes + i * columns));
    return TSR_OK;
}

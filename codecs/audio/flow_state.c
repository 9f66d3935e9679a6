/* SPDX-License-Identifier: BSD-2-Clause */
/* What the nets' streams keep: samples that wait, states as bytes. */
#include <math.h>
#include <string.h>
#include "codecs/audio/flow.h"
#include "lib/bytes.h"

/* ---- samples that wait ---- */

tsr_error tsri_fifo_put(tsri_fifo *fifo, tsr_context *ctx, const float *x,
                        size_t n)
{
    if (fifo->head > fifo->used) { /* cheap: less is moved than was dropped */
        memcpy(fifo->data, fifo->data + fifo->head, fifo->used * sizeof *x);
        fifo->head = 0;
    }
    TSR_TRY(tsri_grow(ctx, &fifo->data, &fifo->room, fifo->head + fifo->used, n,
                      sizeof *x));
    if (n)
        memcpy(fifo->data + fifo->head + fifo->used, x, n * sizeof *x);
    fifo->used += n;
    return TSR_OK;
}

/* ---- states as bytes ---- */

void tsri_save64(tsri_saver *s, uint64_t v)
{
    tsri_put64(s->at, v);
    s->at += 8;
}

void tsri_save_floats(tsri_saver *s, const float *x, size_t n)
{
    if (n)
        memcpy(s->at, x, n * sizeof *x);
    s->at += n * sizeof *x;
}

uint64_t tsri_restore64(tsri_restorer *r, uint64_t limit)
{
    uint64_t v = 0;

    r->good = r->good && r->end - r->at >= 8;
    if (r->good) {
        v = tsri_get64(r->at);
        r->at += 8;
        r->good = v <= limit;
    }
    return r->good ? v : 0;
}

size_t tsri_restore_left(const tsri_restorer *r)
{
    return (size_t)(r->end - r->at) / sizeof(float);
}

bool tsri_restore_floats(tsri_restorer *r, float *x, size_t n)
{
    r->good = r->good && tsri_restore_left(r) >= n;
    if (!r->good)
        return false;
    if (n)
        memcpy(x, r->at, n * sizeof *x);
    r->at += n * sizeof *x;
    for (size_t i = 0; i < n; i++)
        r->good = r->good && isfinite(x[i]);
    return r->good;
}

void tsri_flow_head_save(uint8_t *state, uint32_t magic, bool blocks, int books)
{
    tsri_put32(state, magic);
    tsri_put32(state + 4, blocks);
    tsri_put32(state + 8, (uint32_t)books);
    tsri_put32(state + 12, 0);
}

tsr_error tsri_flow_head_load(const tsri_flow *flow, const uint8_t *state,
                              size_t bytes, uint32_t magic, bool blocks,
                              int books)
{
    uint8_t want[TSRI_FLOW_HEAD];

    tsri_flow_head_save(want, magic, blocks, books);
    if (bytes >= TSRI_FLOW_HEAD && !memcmp(state, want, TSRI_FLOW_HEAD))
        return TSR_OK;
    return tsri_fail(flow->ctx, TSR_E_CORRUPT,
                     "the state is of another stream");
}

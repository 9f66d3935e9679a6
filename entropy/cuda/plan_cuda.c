/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/cuda/plan_cuda.h"
#include <string.h>
#include "entropy/bank_impl.h"
#include "entropy/cuda/plan_kernels.h"
#include "entropy/plan_impl.h"
#include "lib/cuda/device_cuda.h"

enum {
    ALIGN = 256,
    HEAD = 1 + 4 * TSRI_RANS_MAX_LANES,
    MOST_SYMBOLS = 1 << 29  /* of a block: bytes are counted in 31 bits */
};

struct tsri_plan_cuda {
    tsri_cuda *gpu;
    const tsri_plan *plan;
    tsri_gpu_plan device;
    void *memory[8];    /* what `device` points to */
    int used;
};

/* ---- a bank as the device has it ---- */

typedef struct arrays {
    uint32_t *slot;
    uint16_t *start;
    tsri_gpu_code *code;
} arrays;

static uint32_t freq_of(const tsri_bank *bank, uint32_t symbol)
{
    return (uint32_t)bank->range[symbol] >> 16;
}

static void set_code(tsri_gpu_code *code, const tsri_bank *bank, int table)
{
    const uint32_t first = bank->first[table];
    const uint32_t size = bank->first[table + 1] - first;

    memset(code, 0, sizeof *code);
    for (uint32_t i = 0; i < 256; i++) {
        const uint32_t f = i < size ? freq_of(bank, first + i) : 0;
        code->limit[i] = TSRI_GPU_BAD;
        if (!f)
            continue;
        const tsri_rans_sym *s = &bank->sym[first + i];
        code->cost[i] = bank->cost[first + i];
        code->mul[i] = s->mul;
        code->limit[i] = f << (32 - bank->bits) | (uint32_t)s->inc << 5 | s->shift;
        code->add[i] = (uint32_t)s->bias << 16 | s->cmpl;
    }
}

/* Slots of a table of two symbols and more, whose frequencies have 12 bits. */
static void set_slots(uint32_t *slot, const tsri_bank *bank, int table)
{
    const uint32_t first = bank->first[table], end = bank->first[table + 1];

    for (uint32_t i = first; i < end && end - first > 1; i++)
        for (uint32_t k = 0; k < freq_of(bank, i); k++)
            *slot++ = freq_of(bank, i) << 20 | k << 8 | (i - first);
}

static void set_tables(arrays *a, const tsri_bank *bank)
{
    for (int t = 0; t < bank->tables; t++) {
        uint16_t *start = a->start + bank->first[t] + t;
        for (uint32_t i = bank->first[t]; i < bank->first[t + 1]; i++)
            *start++ = (uint16_t)bank->range[i];
        *start = (uint16_t)(1u << bank->bits);
        set_code(&a->code[t], bank, t);
        if (a->slot)
            set_slots(a->slot + ((size_t)t << bank->bits), bank, t);
    }
}

static bool allocate(arrays *a, tsr_context *ctx, const tsri_bank *bank)
{
    const size_t tables = (size_t)bank->tables;
    const bool slotted = bank->bits <= TSRI_SLOT_BITS;

    a->slot = slotted ? tsri_calloc(ctx, tables << bank->bits, sizeof *a->slot) : NULL;
    a->start = tsri_alloc(ctx, bank->first[tables] + tables, sizeof *a->start);
    a->code = tsri_alloc(ctx, tables, sizeof *a->code);
    return (!slotted || a->slot) && a->start && a->code;
}

static void release(arrays *a, tsr_context *ctx)
{
    tsri_free(ctx, a->slot);
    tsri_free(ctx, a->start);
    tsri_free(ctx, a->code);
}

/* ---- plans ---- */

/* Copies an array to the device; its address there. */
static tsr_error put(tsri_plan_cuda *plan, const void *from, size_t count,
                     size_t size, void *device)
{
    void **to = &plan->memory[plan->used];

    TSR_TRY(tsri_cuda_alloc(plan->gpu, to, count, size));
    plan->used++;
    memcpy(device, to, sizeof *to);
    return tsri_cuda_upload(plan->gpu, *to, from, count * size);
}

static tsr_error upload(tsri_plan_cuda *plan, const arrays *a)
{
    const tsri_plan *p = plan->plan;
    const tsri_bank *bank = p->bank;
    tsri_gpu_plan *d = &plan->device;
    const size_t tables = (size_t)bank->tables, n = (size_t)p->channels;

    if (a->slot)
        TSR_TRY(put(plan, a->slot, tables << bank->bits, sizeof *a->slot, &d->slot));
    TSR_TRY(put(plan, a->start, bank->first[tables] + tables, sizeof *a->start,
                &d->start));
    TSR_TRY(put(plan, bank->first, tables + 1, sizeof *bank->first, &d->first));
    TSR_TRY(put(plan, a->code, tables, sizeof *a->code, &d->code));
    TSR_TRY(put(plan, p->channel, n, sizeof *p->channel, &d->channel));
    TSR_TRY(put(plan, p->offset, n, sizeof *p->offset, &d->offset));
    TSR_TRY(put(plan, p->first_run, (size_t)p->groups + 1, sizeof *p->first_run,
                &d->first_run));
    TSR_TRY(put(plan, p->runs, (size_t)p->first_run[p->groups], sizeof *p->runs,
                &d->runs));
    return tsri_cuda_sync(plan->gpu);
}

tsr_error tsri_plan_cuda_open(tsri_plan_cuda **out, tsri_cuda *gpu,
                              const tsri_plan *plan)
{
    tsr_context *ctx = gpu->ctx;
    arrays a = { 0 };
    tsr_error error;

    *out = NULL;
    if ((int64_t)plan->group * plan->tile > MOST_SYMBOLS)
        return tsri_fail(ctx, TSR_E_UNSUPPORTED, "blocks of %d channels and %d "
                         "tokens are too large for CUDA", plan->group, plan->tile);
    *out = tsri_calloc(ctx, 1, sizeof **out);
    if (!*out)
        return tsri_nomem(ctx);
    (*out)->gpu = gpu;
    (*out)->plan = plan;
    (*out)->device = (tsri_gpu_plan){
        .bits = plan->bank->bits, .channels = plan->channels,
        .groups = plan->groups, .tile = plan->tile, .lanes = plan->lanes
    };
    if (allocate(&a, ctx, plan->bank)) {
        set_tables(&a, plan->bank);
        error = upload(*out, &a);
    } else {
        error = tsri_nomem(ctx);
    }
    release(&a, ctx);
    if (error)
        tsri_plan_cuda_close(out);
    return error;
}

void tsri_plan_cuda_close(tsri_plan_cuda **out)
{
    tsri_plan_cuda *plan = *out;
    if (!plan)
        return;
    for (int i = 0; i < plan->used; i++)
        tsri_cuda_free(plan->gpu, plan->memory[i]);
    tsri_free(plan->gpu->ctx, plan);
    *out = NULL;
}

/* ---- scratch memory ---- */

/* Where things are in the scratch memory. */
typedef struct layout {
    size_t offsets, slots, planar, size;    /* bytes from its begin */
    size_t slot;                            /* bytes of one */
} layout;

static bool add_part(size_t *at, size_t *size, size_t count, size_t each)
{
    size_t bytes;

    *at = *size;
    return tsri_mul(count, each, &bytes) && tsri_add(bytes, ALIGN - 1, &bytes) &&
           tsri_add(*size, bytes / ALIGN * ALIGN, size);
}

static bool lay_out(layout *l, const tsri_plan_cuda *plan,
                    tsri_plan_cuda_work work, size_t tokens, bool planar)
{
    const tsri_plan *p = plan->plan;
    const size_t blocks = tsri_plan_blocks(p, tokens);
    const size_t tile = tokens < (size_t)p->tile ? tokens : (size_t)p->tile;

    *l = (layout){ .slot = (2 * tile * (size_t)p->group + HEAD + 15) / 16 * 16 };
    return (blocks || !tokens) &&
           add_part(&l->offsets, &l->size, blocks + 1, sizeof(uint64_t)) &&
           (work == TSRI_PLAN_CUDA_DECODE ||
            add_part(&l->slots, &l->size, blocks + 1, l->slot)) &&
           (planar || add_part(&l->planar, &l->size, tokens, (size_t)p->channels));
}

size_t tsri_plan_cuda_scratch(const tsri_plan_cuda *plan,
                              tsri_plan_cuda_work work, size_t tokens, bool planar)
{
    layout l;
    return lay_out(&l, plan, work, tokens, planar) ? l.size : 0;
}

/* ---- coding ---- */

static bool is_planar(const tsri_bytes2d *m)
{
    return m->token_step == 1 && m->channel_step > 0;
}

/* The matrix as the kernels want it: the caller's, or one in scratch. */
static tsri_gpu_matrix choose_matrix(const tsri_bytes2d *m, uint32_t crc,
                                     uint8_t *planar)
{
    return is_planar(m)
        ? (tsri_gpu_matrix){ m->data, m->tokens, (size_t)m->channel_step, crc }
        : (tsri_gpu_matrix){ planar, m->tokens, m->tokens, crc };
}

/* Between the caller's matrix and one in scratch. */
static tsr_error transpose(const tsri_plan_cuda *plan, const tsri_bytes2d *m,
                           const tsri_gpu_matrix *planar, bool back)
{
    const tsri_gpu_plane outer = { m->data, m->channel_step, m->token_step };
    const tsri_gpu_plane inner = { planar->data, (ptrdiff_t)planar->pitch, 1 };

    return tsri_cuda_check(plan->gpu,
        tsri_launch_transpose(back ? &outer : &inner, back ? &inner : &outer,
                              (size_t)plan->device.channels, m->tokens, back,
                              plan->gpu->stream), "transpose");
}

/* Launches the kernels of an encoder and a decoder. */
static tsr_error encode(const tsri_plan_cuda *plan, const tsri_gpu_matrix *m,
                        const tsri_plan_cuda_stream *out, uint8_t *scratch,
                        const layout *l)
{
    const size_t blocks = tsri_plan_blocks(plan->plan, m->tokens);
    uint64_t *offsets = (uint64_t *)(scratch + l->offsets);
    uint8_t *slots = scratch + l->slots;
    tsri_cuda *gpu = plan->gpu;

    TSR_TRY(tsri_cuda_check(gpu, tsri_launch_encode(&plan->device, m, slots,
            l->slot, out->sizes, out->status, gpu->stream), "encode"));
    TSR_TRY(tsri_cuda_check(gpu, tsri_launch_offsets(offsets, out->sizes, blocks,
                                                     gpu->stream), "offsets"));
    return tsri_cuda_check(gpu, tsri_launch_gather(out->data, out->size, offsets,
            slots, l->slot, blocks, out->status, gpu->stream), "gather");
}

static tsr_error decode(const tsri_plan_cuda *plan, const tsri_gpu_matrix *m,
                        const tsri_plan_cuda_stream *in, uint8_t *scratch,
                        const layout *l)
{
    const size_t blocks = tsri_plan_blocks(plan->plan, m->tokens);
    uint64_t *offsets = (uint64_t *)(scratch + l->offsets);
    tsri_cuda *gpu = plan->gpu;

    TSR_TRY(tsri_cuda_check(gpu, tsri_launch_offsets(offsets, in->sizes, blocks,
                                                     gpu->stream), "offsets"));
    return tsri_cuda_check(gpu, tsri_launch_decode(&plan->device, in->data,
            in->size, offsets, m, in->status, gpu->stream), "decode");
}

tsr_error tsri_plan_cuda_encode(const tsri_plan_cuda *plan,
                                const tsri_bytes2d *in, uint32_t crc,
                                const tsri_plan_cuda_stream *out,
                                uint64_t *total, void *scratch)
{
    layout l;

    if (!lay_out(&l, plan, TSRI_PLAN_CUDA_ENCODE, in->tokens, is_planar(in)))
        return tsri_fail(plan->gpu->ctx, TSR_E_ARG, "plan: too many tokens");
    const tsri_gpu_matrix m = choose_matrix(in, crc, (uint8_t *)scratch + l.planar);

    if (!in->tokens)
        return tsri_cuda_fill(plan->gpu, total, 0, sizeof *total);
    TSR_TRY(tsri_cuda_use(plan->gpu));
    if (!is_planar(in))
        TSR_TRY(transpose(plan, in, &m, false));
    TSR_TRY(encode(plan, &m, out, scratch, &l));
    return tsri_cuda_copy(plan->gpu, total,
                          (uint64_t *)((uint8_t *)scratch + l.offsets) +
                          tsri_plan_blocks(plan->plan, in->tokens), sizeof *total);
}

tsr_error tsri_plan_cuda_decode(const tsri_plan_cuda *plan,
                                const tsri_plan_cuda_stream *in, uint32_t crc,
                                const tsri_bytes2d *out, void *scratch)
{
    layout l;

    if (!lay_out(&l, plan, TSRI_PLAN_CUDA_DECODE, out->tokens, is_planar(out)))
        return tsri_fail(plan->gpu->ctx, TSR_E_ARG, "plan: too many tokens");
    const tsri_gpu_matrix m = choose_matrix(out, crc, (uint8_t *)scratch + l.planar);

    if (!out->tokens)
        return TSR_OK;
    TSR_TRY(tsri_cuda_use(plan->gpu));
    TSR_TRY(decode(plan, &m, in, scratch, &l));
    return is_planar(out) ? TSR_OK : transpose(plan, out, &m, true);
}

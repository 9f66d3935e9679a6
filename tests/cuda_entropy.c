/* SPDX-License-Identifier: BSD-2-Clause */
/* The entropy coder on a CUDA device against the one on the CPU: the same bytes,
 * the same symbols, the same verdict on every damaged block.  Skipped where
 * there is no device.  `cuda_entropy bench` prints speeds instead, and needs
 * 10 GiB of device memory; `bench 1` only the first. */
#include "config.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "entropy/bank_impl.h"
#include "entropy/cuda/plan_cuda.h"
#include "entropy/freq.h"

/* ---- failures, numbers ---- */

static int test_number;

static void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    printf("Bail out! ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
    exit(1);
}

static void must(tsr_error error, const char *what)
{
    if (error)
        die("%s: %s", what, tsr_error_string(error));
}

static void verdict(bool good, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    printf("%sok %d - ", good ? "" : "not ", ++test_number);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

static uint64_t rng = 88172645463325252u;
static uint32_t below(uint32_t n)
{
    rng ^= rng >> 12;
    rng ^= rng << 25;
    rng ^= rng >> 27;
    return (uint32_t)((uint64_t)((rng * 2685821657736338717u) >> 32) * n >> 32);
}

static void *room(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p)
        die("out of memory");
    return p;
}

/* ---- a problem: a bank, a shape, values, and the CPU's blocks ---- */

typedef struct problem {
    tsr_context *ctx;
    tsri_cuda *gpu;
    tsri_bank *bank;
    tsri_plan_shape shape;
    tsri_plan *plan;
    size_t tokens, blocks;
    uint32_t crc;
    int lanes;                  /* 0: by size */
    uint8_t *cls, *offset;
    uint16_t *freq, *sizes;     /* of the bank's tables */
    uint8_t *value;             /* [channel][token] */
    uint8_t *data;              /* the blocks, made on the CPU */
    uint32_t *size;
    size_t total;
} problem;

static void fill_table(uint16_t *freq, int n, int bits, int kind)
{
    uint64_t count[256];

    for (int i = 0; i < n; i++) {
        const double z = (i - n / 2) / (0.3 + n * (kind & 7) / 24.0);
        count[i] = kind & 8 ? 1 + below(1000) : (uint64_t)(1e9 * exp(-z * z / 2));
    }
    must(tsri_freq_normalise(count, n, bits, freq), "frequencies");
}

/* `tables` tables of up to `most` symbols; every fifth has one, every seventh
 * two, if `odd`. */
static void make_bank(problem *p, int bits, int tables, int most, bool odd)
{
    size_t at = 0;

    p->freq = room((size_t)tables * 256 * sizeof *p->freq);
    p->sizes = room((size_t)tables * sizeof *p->sizes);
    for (int t = 0; t < tables; t++) {
        const int n = odd && t % 5 == 4 ? 1 : odd && t % 7 == 6 ? 2 : most;
        p->sizes[t] = (uint16_t)n;
        fill_table(p->freq + at, n, bits, t);
        at += (size_t)n;
    }
    must(tsri_bank_open(&p->bank, p->ctx, bits, p->freq, p->sizes, tables), "bank");
}

/* Values as their tables expect them. */
static void draw_values(problem *p)
{
    const int bits = p->bank->bits;
    const size_t n = p->tokens;
    uint8_t *symbol = room((size_t)1 << bits);

    p->value = room((size_t)p->shape.channels * n);
    for (int c = 0; c < p->shape.channels; c++) {
        const uint32_t first = p->bank->first[p->cls[c]];
        const uint32_t size = p->bank->first[p->cls[c] + 1] - first;
        uint8_t *at = symbol;
        for (uint32_t s = 0; s < size; s++)
            for (uint32_t k = (uint32_t)p->bank->range[first + s] >> 16; k; k--)
                *at++ = (uint8_t)s;
        for (size_t t = 0; t < n; t++)
            p->value[(size_t)c * n + t] =
                (uint8_t)(symbol[below(1u << bits)] + p->offset[c]);
    }
    free(symbol);
}

static void make_problem(problem *p, int channels, int group, int tile,
                         size_t tokens, bool offsets)
{
    p->cls = room((size_t)channels);
    p->offset = room((size_t)channels);
    for (int c = 0; c < channels; c++) {
        p->cls[c] = (uint8_t)below((uint32_t)p->bank->tables);
        p->offset[c] = (uint8_t)(offsets ? below(256) : 0);
    }
    p->shape = (tsri_plan_shape){ channels, group, tile, p->cls,
                                  offsets ? p->offset : NULL, p->lanes };
    must(tsri_plan_open(&p->plan, p->ctx, p->bank, &p->shape), "plan");
    p->tokens = tokens;
    p->crc = below(UINT32_MAX);
    p->blocks = tsri_plan_blocks(p->plan, tokens);
    draw_values(p);
}

static void free_problem(problem *p)
{
    tsri_plan_close(&p->plan, p->ctx);
    tsri_bank_close(&p->bank, p->ctx);
    free(p->cls);
    free(p->offset);
    free(p->freq);
    free(p->sizes);
    free(p->value);
    free(p->data);
    free(p->size);
}

/* Channels in coding order. */
static int *coding_order(const problem *p)
{
    int *order = room((size_t)p->shape.channels * sizeof *order), n = 0;

    for (int k = 0; k < p->bank->tables; k++)
        for (int c = 0; c < p->shape.channels; c++)
            if (p->cls[c] == k)
                order[n++] = c;
    return order;
}

/* Where block b lies: tokens from *t0 and channels order[*c0...]. */
typedef struct extent {
    size_t t0, t1;
    int c0, c1;
} extent;

static extent find_block(const problem *p, size_t b)
{
    const int groups = tsri_ceil_div(p->shape.channels, p->shape.group);
    const size_t tile = b / (size_t)groups, g = b % (size_t)groups;
    extent e = { tile * (size_t)p->shape.tile, 0, (int)g * p->shape.group, 0 };

    e.t1 = e.t0 + (size_t)p->shape.tile;
    e.t1 = e.t1 < p->tokens ? e.t1 : p->tokens;
    e.c1 = tsri_min(e.c0 + p->shape.group, p->shape.channels);
    return e;
}

/* One block by the coder of one segment; a run is put whole. */
static void code_block(const problem *p, const int *order, size_t b,
                       tsri_rans_enc *enc, const uint8_t **data, size_t *size)
{
    const extent e = find_block(p, b);
    const size_t n = e.t1 - e.t0;
    uint16_t *run = room((size_t)(e.c1 - e.c0) * n * sizeof *run);

    for (int i = e.c0; i < e.c1;) {
        const int table = p->cls[order[i]];
        size_t at = 0;
        for (; i < e.c1 && p->cls[order[i]] == table; i++)
            for (size_t t = e.t0; t < e.t1; t++)
                run[at++] = (uint8_t)(p->value[(size_t)order[i] * p->tokens + t] -
                                      p->offset[order[i]]);
        must(tsri_rans_put(enc, p->bank, NULL, table, run, at), "put");
    }
    must(tsri_rans_finish(enc, p->crc + (uint32_t)b, p->lanes, data, size), "finish");
    free(run);
}

static void code_on_cpu(problem *p, size_t blocks)
{
    int *order = coding_order(p);
    tsri_rans_enc *enc;
    size_t have = 0;

    p->size = room(p->blocks * sizeof *p->size);
    p->data = NULL;
    p->total = 0;
    must(tsri_rans_enc_open(&enc, p->ctx), "encoder");
    for (size_t b = 0; b < blocks; b++) {
        const uint8_t *data;
        size_t size;
        code_block(p, order, b, enc, &data, &size);
        if (p->total + size > have) {
            have = 2 * (p->total + size);
            p->data = realloc(p->data, have);
            if (!p->data)
                die("out of memory");
        }
        if (size)
            memcpy(p->data + p->total, data, size);
        p->size[b] = (uint32_t)size;
        p->total += size;
    }
    tsri_rans_enc_close(&enc);
    free(order);
}

/* Is the block what tsri_rans_get() takes?  Its values then go to `value`. */
static bool decode_on_cpu(const problem *p, const int *order, size_t b,
                          const uint8_t *data, size_t size, uint8_t *value)
{
    const extent e = find_block(p, b);
    const size_t n = e.t1 - e.t0;
    uint16_t *run = room((size_t)(e.c1 - e.c0) * n * sizeof *run);
    tsri_rans_dec dec;
    bool good = !tsri_rans_dec_open(&dec, p->ctx, data, size, p->crc + (uint32_t)b);

    for (int i = e.c0; good && i < e.c1;) {
        const int table = p->cls[order[i]], first = i;
        while (i < e.c1 && p->cls[order[i]] == table)
            i++;
        good = !tsri_rans_get(&dec, p->bank, NULL, table, run,
                              (size_t)(i - first) * n);
        for (size_t k = 0; good && k < (size_t)(i - first) * n; k++) {
            const int c = order[first + (int)(k / n)];
            value[(size_t)c * p->tokens + e.t0 + k % n] =
                (uint8_t)(run[k] + p->offset[c]);
        }
    }
    good = good && !tsri_rans_dec_end(&dec);
    free(run);
    return good;
}

/* ---- the device ---- */

typedef struct device {
    tsri_plan_cuda *plan;
    uint8_t *value, *data;
    uint32_t *size;
    int32_t *status;
    uint64_t *total;
    void *scratch;
    tsri_bytes2d matrix;
    size_t values, room;        /* bytes of value and data */
} device;

/* How a matrix lies in memory. */
typedef enum placing { PLANAR, INTERLEAVED, BACKWARD } placing;
static const char *const order_name[] = { "planar", "interleaved", "backward" };

static void open_device(device *d, const problem *p, placing how)
{
    const size_t c = (size_t)p->shape.channels, n = p->tokens;

    must(tsri_plan_cuda_open(&d->plan, p->gpu, p->plan), "plan on the device");
    d->values = (how == PLANAR ? n + 3 : n) * c;
    d->room = tsri_plan_bound(p->plan, n);
    size_t scratch = tsri_plan_cuda_scratch(d->plan, TSRI_PLAN_CUDA_ENCODE, n,
                                            how == PLANAR);
    must(tsri_cuda_alloc(p->gpu, &d->value, d->values, 1), "alloc");
    must(tsri_cuda_alloc(p->gpu, &d->data, (d->room + 3) / 4, 4), "alloc");
    must(tsri_cuda_alloc(p->gpu, &d->size, p->blocks, sizeof *d->size), "alloc");
    must(tsri_cuda_alloc(p->gpu, &d->status, p->blocks, sizeof *d->status), "alloc");
    must(tsri_cuda_alloc(p->gpu, &d->total, 1, sizeof *d->total), "alloc");
    must(tsri_cuda_alloc(p->gpu, &d->scratch, scratch, 1), "alloc");
    d->matrix = how == PLANAR ? (tsri_bytes2d){ d->value, n, 1, (ptrdiff_t)n + 3 } :
        how == INTERLEAVED ? (tsri_bytes2d){ d->value, n, (ptrdiff_t)c, 1 } :
        (tsri_bytes2d){ d->value + n * c - 1, n, -(ptrdiff_t)c, -1 };
}

static void close_device(device *d, const problem *p)
{
    tsri_cuda_free(p->gpu, d->value);
    tsri_cuda_free(p->gpu, d->data);
    tsri_cuda_free(p->gpu, d->size);
    tsri_cuda_free(p->gpu, d->status);
    tsri_cuda_free(p->gpu, d->total);
    tsri_cuda_free(p->gpu, d->scratch);
    tsri_plan_cuda_close(&d->plan);
}

/* Values of the problem, as the device's matrix has them, and back. */
static void pack_values(const device *d, const problem *p, uint8_t *packed,
                        uint8_t *value, bool back)
{
    for (size_t c = 0; c < (size_t)p->shape.channels; c++)
        for (size_t t = 0; t < p->tokens; t++) {
            uint8_t *a = packed + (d->matrix.data - d->value) +
                         (ptrdiff_t)t * d->matrix.token_step +
                         (ptrdiff_t)c * d->matrix.channel_step;
            uint8_t *b = value + c * p->tokens + t;
            if (back)
                *b = *a;
            else
                *a = *b;
        }
}

static void upload_values(const device *d, const problem *p, uint8_t *value)
{
    uint8_t *packed = room(d->values);

    memset(packed, 0, d->values);
    pack_values(d, p, packed, value, false);
    must(tsri_cuda_upload(p->gpu, d->value, packed, d->values), "upload");
    must(tsri_cuda_sync(p->gpu), "sync");
    free(packed);
}

typedef struct coded {
    uint8_t *data;
    uint32_t *size;
    int32_t *status;
    uint64_t total;
} coded;

static coded encode_on_gpu(const device *d, const problem *p, size_t most)
{
    const tsri_plan_cuda_stream out = { d->data, most, d->size, d->status };
    coded c = { room(d->room), room(p->blocks * 4), room(p->blocks * 4), 0 };

    must(tsri_cuda_fill(p->gpu, d->data, 0xA5, d->room), "fill");
    must(tsri_cuda_fill(p->gpu, d->size, 0xA5, p->blocks * 4), "fill");
    must(tsri_cuda_fill(p->gpu, d->status, 0xA5, p->blocks * 4), "fill");
    must(tsri_plan_cuda_encode(d->plan, &d->matrix, p->crc, &out, d->total,
                               d->scratch), "encode");
    must(tsri_cuda_download(p->gpu, c.data, d->data, d->room), "download");
    must(tsri_cuda_download(p->gpu, c.size, d->size, p->blocks * 4), "download");
    must(tsri_cuda_download(p->gpu, c.status, d->status, p->blocks * 4), "download");
    must(tsri_cuda_download(p->gpu, &c.total, d->total, sizeof c.total), "download");
    must(tsri_cuda_sync(p->gpu), "sync");
    return c;
}

static void free_coded(coded *c)
{
    free(c->data);
    free(c->size);
    free(c->status);
}

/* Decodes blocks of the host into `value` and `status`. */
static void decode_on_gpu(const device *d, const problem *p, const uint8_t *data,
                          size_t total, const uint32_t *size, uint8_t poison,
                          uint8_t *value, int32_t *status)
{
    const tsri_plan_cuda_stream in = { d->data, total, d->size, d->status };
    uint8_t *packed = room(d->values);

    must(tsri_cuda_upload(p->gpu, d->data, data, total), "upload");
    must(tsri_cuda_upload(p->gpu, d->size, size, p->blocks * 4), "upload");
    must(tsri_cuda_fill(p->gpu, d->value, poison, d->values), "fill");
    must(tsri_cuda_fill(p->gpu, d->status, poison, p->blocks * 4), "fill");
    must(tsri_plan_cuda_decode(d->plan, &in, p->crc, &d->matrix, d->scratch),
         "decode");
    must(tsri_cuda_download(p->gpu, packed, d->value, d->values), "download");
    must(tsri_cuda_download(p->gpu, status, d->status, p->blocks * 4), "download");
    must(tsri_cuda_sync(p->gpu), "sync");
    pack_values(d, p, packed, value, true);
    free(packed);
}

/* ---- what is tested ---- */

static bool all_are(const int32_t *status, size_t n, int32_t what)
{
    for (size_t i = 0; i < n; i++)
        if (status[i] != what)
            return false;
    return true;
}

static bool same_bytes(const device *d, const problem *p)
{
    coded c = encode_on_gpu(d, p, d->room);
    const bool same = c.total == p->total &&
        all_are(c.status, p->blocks, TSR_OK) &&
        !memcmp(c.size, p->size, p->blocks * sizeof *c.size) &&
        (!p->total || !memcmp(c.data, p->data, p->total));

    free_coded(&c);
    return same;
}

static bool same_values(const device *d, const problem *p, uint8_t poison)
{
    const size_t n = (size_t)p->shape.channels * p->tokens;
    uint8_t *value = room(n);
    int32_t *status = room(p->blocks * sizeof *status);

    decode_on_gpu(d, p, p->data, p->total, p->size, poison, value, status);
    const bool same = all_are(status, p->blocks, TSR_OK) &&
                      !memcmp(value, p->value, n);
    free(status);
    free(value);
    return same;
}

/* Damages some blocks in some way; the sizes keep their sum. */
static void damage(const problem *p, uint8_t *data, uint32_t *size)
{
    const size_t b = below((uint32_t)p->blocks);
    size_t at = 0;

    for (size_t i = 0; i < b; i++)
        at += size[i];
    switch (below(5)) {
    case 0:     /* a bit */
        if (size[b])
            data[at + below(size[b])] ^= (uint8_t)(1u << below(8));
        break;
    case 1:     /* the head */
        if (size[b])
            data[at] = (uint8_t)below(256);
        break;
    case 2:     /* noise */
        for (size_t i = below(size[b] + 1); i < size[b]; i++)
            data[at + i] = (uint8_t)below(256);
        break;
    case 3:     /* zeros: states below 2^16 */
        memset(data + at, 0, size[b]);
        break;
    default:    /* bytes that move to a neighbour */
        if (b + 1 < p->blocks) {
            const uint32_t some = below(size[b] + 1);
            size[b] -= some;
            size[b + 1] += some;
        }
    }
}

static bool same_verdicts(const device *d, const problem *p)
{
    const size_t n = (size_t)p->shape.channels * p->tokens;
    uint8_t *data = room(p->total), *value = room(n), *want = room(n);
    uint32_t *size = room(p->blocks * sizeof *size);
    int32_t *status = room(p->blocks * sizeof *status);
    int *order = coding_order(p);
    bool same = true;

    for (int trial = 0; trial < 12 && same && p->total; trial++) {
        memcpy(data, p->data, p->total);
        memcpy(size, p->size, p->blocks * sizeof *size);
        for (int i = 0; i <= trial; i++)
            damage(p, data, size);
        decode_on_gpu(d, p, data, p->total, size, 0x5A, value, status);
        memcpy(want, value, n);
        for (size_t b = 0, at = 0; b < p->blocks; at += size[b++]) {
            const bool good = decode_on_cpu(p, order, b, data + at, size[b], want);
            same &= status[b] == (good ? TSR_OK : TSR_E_CORRUPT);
        }
        for (size_t b = 0; b < p->blocks; b++) {
            const extent e = find_block(p, b);
            for (int i = e.c0; status[b] == TSR_OK && i < e.c1; i++)
                same &= !memcmp(want + (size_t)order[i] * p->tokens + e.t0,
                                value + (size_t)order[i] * p->tokens + e.t0,
                                e.t1 - e.t0);
        }
    }
    size[0]++;  /* the sum is wrong: nothing is to be believed */
    decode_on_gpu(d, p, p->data, p->total, size, 0x5A, value, status);
    same &= all_are(status, p->blocks, TSR_E_CORRUPT);
    free(order);
    free(status);
    free(size);
    free(want);
    free(value);
    free(data);
    return same;
}

/* A value that no table has makes its block, and no other, an error. */
static bool refuses_values(const device *d, const problem *p)
{
    const size_t n = (size_t)p->shape.channels * p->tokens, at = below((uint32_t)n);
    const int c = (int)(at / p->tokens);
    const uint32_t size = p->bank->first[p->cls[c] + 1] - p->bank->first[p->cls[c]];
    uint8_t *value = room(n);
    bool same = true;

    if (size < 256) {
        memcpy(value, p->value, n);
        value[at] = (uint8_t)(p->offset[c] + size + below(256 - size));
        upload_values(d, p, value);
        coded got = encode_on_gpu(d, p, d->room);
        int *order = coding_order(p);
        for (size_t b = 0; b < p->blocks; b++) {
            const extent e = find_block(p, b);
            bool mine = false;
            for (int i = e.c0; i < e.c1; i++)
                mine |= order[i] == c && at % p->tokens >= e.t0 &&
                        at % p->tokens < e.t1;
            same &= got.status[b] == (mine ? TSR_E_ARG : TSR_OK) &&
                    got.size[b] == (mine ? 0 : p->size[b]);
        }
        free(order);
        free_coded(&got);
        upload_values(d, p, p->value);
    }
    free(value);
    return same;
}

/* Blocks that do not fit are named, and nothing is written beyond the room. */
static bool keeps_to_room(const device *d, const problem *p)
{
    const size_t most = p->total ? below((uint32_t)p->total) : 0;
    coded c = encode_on_gpu(d, p, most);
    bool same = c.total == p->total;
    uint64_t end = 0;

    for (size_t b = 0; b < p->blocks; b++) {
        end += p->size[b];
        same &= c.status[b] == (end > most ? TSR_E_LIMIT : TSR_OK);
    }
    for (size_t i = most; i < d->room; i++)
        same &= c.data[i] == 0xA5;
    free_coded(&c);
    return same;
}

typedef struct test_case {
    int channels, group, tile;
    size_t tokens;
    int bits, tables, most;     /* of the bank */
    bool odd, offsets;
    placing how;
    int lanes;
} test_case;

static const test_case cases[] = {
    { 1, 1, 1, 1, 12, 1, 32, false, false, PLANAR, 0 },
    { 7, 3, 31, 31, 12, 3, 16, false, true, INTERLEAVED, 0 },
    { 100, 100, 33, 33, 12, 9, 32, true, true, PLANAR, 0 },
    { 100, 16, 64, 1000, 12, 9, 32, true, true, PLANAR, 0 },
    { 7, 7, 1000, 1000, 11, 1, 256, false, true, BACKWARD, 0 },
    { 100, 40, 512, 1000, 12, 20, 256, true, false, INTERLEAVED, 0 },
    { 64, 64, 1024, 3000, 12, 2, 32, false, false, PLANAR, 0 },
    { 64, 64, 1000, 3000, 12, 2, 32, false, true, PLANAR, 0 },
    { 100, 10, 96, 5000, 8, 20, 16, true, true, PLANAR, 0 },
    { 100, 100, 256, 1000, 15, 6, 256, true, true, PLANAR, 0 },
    { 20, 20, 4096, 9000, 12, 1, 256, false, true, INTERLEAVED, 0 },
    { 33, 32, 128, 12800, 4, 4, 16, true, true, PLANAR, 0 },
    { 5, 5, 64, 640, 1, 2, 2, true, false, PLANAR, 0 },
    { 100, 25, 160, 1280, 12, 3, 1, false, true, PLANAR, 0 },
    { 100, 100, 65536, 6400, 14, 8, 200, true, true, BACKWARD, 0 },
    { 256, 32, 1024, 9216, 10, 40, 32, true, true, PLANAR, 0 },
    { 300, 100, 128, 260, 12, 60, 40, true, true, INTERLEAVED, 0 },
    { 100, 30, 1000, 1000, 12, 9, 32, true, true, PLANAR, 32 },
    { 100, 10, 96, 3000, 12, 20, 256, true, true, PLANAR, 32 },
    { 64, 16, 256, 2048, 12, 5, 16, false, true, INTERLEAVED, 32 },
    { 64, 64, 256, 1000, 12, 5, 32, true, true, PLANAR, 4 },
    { 9, 9, 640, 640, 12, 5, 32, true, true, PLANAR, 1 },
    { 40, 40, 1024, 3072, 9, 6, 256, false, true, PLANAR, 32 },
};

static void run_case(tsr_context *ctx, tsri_cuda *gpu, const test_case *t)
{
    problem p = { .ctx = ctx, .gpu = gpu, .lanes = t->lanes };
    device d;
    int lanes[4] = { 0 };

    make_bank(&p, t->bits, t->tables, t->most, t->odd);
    make_problem(&p, t->channels, t->group, t->tile, t->tokens, t->offsets);
    code_on_cpu(&p, p.blocks);
    for (size_t b = 0, at = 0; b < p.blocks; at += p.size[b++])
        lanes[p.size[b] ? p.data[at] & 3 : 0]++;
    printf("# %d x %zu, blocks of %d x %d, p %d, %s; 1, 4, 8, 32 lanes: "
           "%d %d %d %d\n", t->channels, t->tokens, t->group, t->tile, t->bits,
           order_name[t->how], lanes[0], lanes[1], lanes[2], lanes[3]);
    open_device(&d, &p, t->how);
    upload_values(&d, &p, p.value);
    verdict(same_bytes(&d, &p), "bytes");
    verdict(same_values(&d, &p, 0xA5) && same_values(&d, &p, 0x5A), "values");
    verdict(same_verdicts(&d, &p), "damage");
    upload_values(&d, &p, p.value);
    verdict(refuses_values(&d, &p), "wrong values");
    verdict(keeps_to_room(&d, &p), "room");
    close_device(&d, &p);
    free_problem(&p);
}

static int check_all(tsr_context *ctx, tsri_cuda *gpu)
{
    const size_t n = sizeof cases / sizeof *cases;

    printf("1..%zu\n", 5 * n);
    for (size_t i = 0; i < n; i++)
        run_case(ctx, gpu, &cases[i]);
    return 0;
}

/* ---- speed ---- */

enum { PASSES = 21, COPIES = 16 };

typedef struct stopwatch {
    tsri_cuda *gpu;
    tsri_cuda_mark *begin, *end;
    float ms[PASSES];
} stopwatch;

static int compare(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static double gbs(stopwatch *w, double bytes)
{
    qsort(w->ms, PASSES, sizeof *w->ms, compare);
    return bytes / w->ms[PASSES / 2] * 1e-6;
}

static void start(stopwatch *w)
{
    must(tsri_cuda_mark_set(w->gpu, w->begin), "mark");
}

static void stop(stopwatch *w, int pass)
{
    must(tsri_cuda_mark_set(w->gpu, w->end), "mark");
    must(tsri_cuda_mark_between(w->gpu, w->begin, w->end, &w->ms[pass]), "time");
}

/* The problem's values, COPIES times along the tokens of each channel. */
static void spread_values(const device *d, const problem *p, const uint8_t *value)
{
    const size_t n = p->tokens / COPIES;

    must(tsri_cuda_upload(p->gpu, d->scratch, value,
                          (size_t)p->shape.channels * n), "upload");
    for (size_t c = 0; c < (size_t)p->shape.channels; c++)
        for (size_t k = 0; k < COPIES; k++)
            must(tsri_cuda_copy(p->gpu, d->value + c * p->tokens + k * n,
                                (uint8_t *)d->scratch + c * n, n), "copy");
    must(tsri_cuda_sync(p->gpu), "sync");
}

static double time_copy(const device *d, const problem *p, stopwatch *w)
{
    for (int i = 0; i < PASSES; i++) {
        start(w);
        must(tsri_cuda_copy(p->gpu, d->scratch, d->value, d->values), "copy");
        stop(w, i);
    }
    return gbs(w, (double)d->values);
}

/* All values back? */
static bool check_values(const device *d, const problem *p, const uint8_t *value)
{
    const size_t n = p->tokens / COPIES;
    uint8_t *got = room(d->values);
    bool same = true;

    must(tsri_cuda_download(p->gpu, got, d->value, d->values), "download");
    must(tsri_cuda_sync(p->gpu), "sync");
    for (size_t c = 0; c < (size_t)p->shape.channels; c++)
        for (size_t k = 0; k < COPIES; k++)
            same &= !memcmp(got + c * p->tokens + k * n, value + c * n, n);
    free(got);
    return same;
}

/* Bell curves from narrow to wide, as the channels of a cache have them. */
static void make_bells(problem *p, int bits, int tables, int most, double narrow,
                       double wide)
{
    uint64_t count[256];
    size_t at = 0;

    p->freq = room((size_t)tables * 256 * sizeof *p->freq);
    p->sizes = room((size_t)tables * sizeof *p->sizes);
    for (int t = 0; t < tables; t++, at += (size_t)most) {
        const double sigma = narrow * pow(wide / narrow, tables > 1 ? t / (tables - 1.0) : 0);
        for (int i = 0; i < most; i++) {
            const double z = (i - most / 2) / sigma;
            count[i] = (uint64_t)(1e9 * exp(-z * z / 2));
        }
        p->sizes[t] = (uint16_t)most;
        must(tsri_freq_normalise(count, most, bits, p->freq + at), "frequencies");
    }
    must(tsri_bank_open(&p->bank, p->ctx, bits, p->freq, p->sizes, tables), "bank");
}

typedef struct speed_case {
    const char *name;
    int bits, tables, most;     /* of the bank */
    double narrow, wide;
    int group, tile;
} speed_case;

static const speed_case speed_cases[] = {
    { "32 symbols, 8 tables", 12, 8, 32, 0.6, 5, 64, 1024 },
    { "32 symbols, 8 tables", 12, 8, 32, 0.6, 5, 64, 2048 },
    { "32 symbols, 64 tables", 12, 64, 32, 0.6, 5, 64, 1024 },
    { "the same, p = 10", 10, 64, 32, 0.6, 5, 64, 1024 },
    { "16 symbols, 8 tables", 12, 8, 16, 0.6, 2, 64, 1024 },
    { "256 symbols, 8 tables", 12, 8, 256, 5, 12, 64, 1024 },
    { "256 symbols, 1 table", 12, 1, 256, 7.7, 7.7, 64, 1024 },
};

/* The median of many runs, after two that are not counted. */
static double time_encode(const device *d, const problem *p, stopwatch *w,
                          const tsri_plan_cuda_stream *s)
{
    for (int i = -2; i < PASSES; i++) {
        start(w);
        must(tsri_plan_cuda_encode(d->plan, &d->matrix, p->crc, s, d->total,
                                   d->scratch), "encode");
        stop(w, i < 0 ? 0 : i);
    }
    return gbs(w, (double)d->values);
}

static double time_decode(const device *d, const problem *p, stopwatch *w,
                          const tsri_plan_cuda_stream *s)
{
    must(tsri_cuda_fill(p->gpu, d->value, 0xA5, d->values), "fill");
    for (int i = -2; i < PASSES; i++) {
        start(w);
        must(tsri_plan_cuda_decode(d->plan, s, p->crc, &d->matrix, d->scratch),
             "decode");
        stop(w, i < 0 ? 0 : i);
    }
    return gbs(w, (double)d->values);
}

static void time_case(tsr_context *ctx, tsri_cuda *gpu, const speed_case *t)
{
    enum { CHANNELS = 1024 };
    problem p = { .ctx = ctx, .gpu = gpu, .lanes = 32 };
    stopwatch w = { .gpu = gpu };
    uint64_t total;
    device d;

    make_bells(&p, t->bits, t->tables, t->most, t->narrow, t->wide);
    make_problem(&p, CHANNELS, t->group, t->tile, (1 << 30) / CHANNELS / COPIES, true);
    p.tokens *= COPIES;
    p.blocks *= COPIES;
    open_device(&d, &p, INTERLEAVED);
    spread_values(&d, &p, p.value);
    must(tsri_cuda_mark_open(gpu, &w.begin), "mark");
    must(tsri_cuda_mark_open(gpu, &w.end), "mark");
    const double copy = time_copy(&d, &p, &w);
    d.matrix = (tsri_bytes2d){ d.value, p.tokens, 1, (ptrdiff_t)p.tokens };
    tsri_plan_cuda_stream s = { d.data, d.room, d.size, d.status };
    const double enc = time_encode(&d, &p, &w, &s);
    must(tsri_cuda_download(gpu, &total, d.total, sizeof total), "download");
    must(tsri_cuda_sync(gpu), "sync");
    s.size = total;
    const double dec = time_decode(&d, &p, &w, &s);
    const bool same = check_values(&d, &p, p.value);
    d.matrix = (tsri_bytes2d){ d.value, p.tokens, CHANNELS, 1 };
    const double dec2 = time_decode(&d, &p, &w, &s);
    s.size = d.room;
    const double enc2 = time_encode(&d, &p, &w, &s);
    printf("%-22s %4d x %-5d %5.3f %7.0f %7.0f %7.0f %7.0f %7.0f  %s\n", t->name,
           t->group, t->tile, 8.0 * (double)total / (double)d.values, enc, dec,
           enc2, dec2, copy, same ? "same" : "DIFFERENT");
    tsri_cuda_mark_close(gpu, &w.begin);
    tsri_cuda_mark_close(gpu, &w.end);
    close_device(&d, &p);
    free_problem(&p);
}

/* The first n cases. */
static int bench(tsr_context *ctx, tsri_cuda *gpu, size_t n)
{
    printf("%s: GB/s of symbols, 1 GiB of 1024 channels, 32 lanes, median of %d\n"
           "%-22s %12s %5s %15s %15s %7s\n%-41s %7s %7s %7s %7s\n",
           tsri_cuda_name(gpu), PASSES, "", "block", "bit", "planar",
           "interleaved", "copy", "", "enc", "dec", "enc", "dec");
    for (size_t i = 0; i < n && i < sizeof speed_cases / sizeof *speed_cases; i++)
        time_case(ctx, gpu, &speed_cases[i]);
    return 0;
}

int main(int argc, char **argv)
{
    tsr_context *ctx;
    tsri_cuda *gpu;

    setvbuf(stdout, NULL, _IOLBF, 0);
    must(tsr_context_open(&ctx, NULL), "context");
    const tsr_error error = tsri_cuda_open(&gpu, ctx, 0);
    if (error) {
        printf("1..0 # SKIP no CUDA device: %s\n", tsr_error_string(error));
        tsr_context_close(&ctx);
        return 0;
    }
    const int result = argc > 1 && !strcmp(argv[1], "bench") ? bench(ctx, gpu, argc > 2 ? (size_t)atoi(argv[2]) : 99)
                                                             : check_all(ctx, gpu);
    tsri_cuda_close(&gpu);
    tsr_context_close(&ctx);
    return result;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The front of an object: header, sections, directory. */
#include <math.h>
#include <string.h>
#include "codecs/kv/kv_internal.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"

static const uint8_t magic[4] = { 0x89, 'T', 'K', 'V' };

enum { FLAGS = 15, CRC = 4, ROPE = 64, PARAMS = 112 };

static double get_f64(const uint8_t *p)
{
    const uint64_t bits = tsri_get64(p);
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void put_f64(uint8_t *p, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    tsri_put64(p, bits);
}

static void put_f32(uint8_t *p, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    tsri_put32(p, bits);
}

bool tsri_kv_same_shape(const tsr_kv_shape *a, const tsr_kv_shape *b)
{
    bool same = a->layers == b->layers && a->planes == b->planes;
    for (int p = 0; same && p < a->planes; p++)
        same = a->heads[p] == b->heads[p] && a->dim[p] == b->dim[p];
    return same;
}

bool tsri_kv_same_rope(const tsr_kv_rope *a, const tsr_kv_rope *b)
{
    return a->layout == b->layout && a->offset == b->offset &&
        a->dims == b->dims && a->theta == b->theta &&
        a->scaling == b->scaling && a->factor == b->factor &&
        a->low_factor == b->low_factor && a->high_factor == b->high_factor &&
        a->original == b->original;
}

bool tsri_kv_shape_fits(const tsr_kv_shape *shape)
{
    if (shape->layers < 1 || shape->layers > 1024 || shape->planes < 1 ||
        shape->planes > 2)
        return false;
    for (int p = 0; p < shape->planes; p++)
        if (shape->heads[p] < 1 || shape->heads[p] > 1024 ||
            shape->dim[p] < 1 || shape->dim[p] > 2048 ||
            tsri_kv_channels(shape, p) > TSRI_KV_MAX_CHANNELS)
            return false;
    return true;
}

/* ---- rotation ---- */

tsr_kv_rope tsri_kv_rope_tidy(const tsr_kv_rope *rope)
{
    tsr_kv_rope r = { .layout = rope->layout };

    if (!r.layout)
        return r;
    r.offset = rope->offset;
    r.dims = rope->dims;
    r.theta = rope->theta;
    r.scaling = rope->scaling;
    if (r.scaling)
        r.factor = rope->factor;
    if (r.scaling == 2) {
        r.low_factor = rope->low_factor;
        r.high_factor = rope->high_factor;
        r.original = rope->original;
    }
    return r;
}

bool tsri_kv_rope_fits(const tsr_kv_rope *rope, int dim)
{
    const tsr_kv_rope tidy = tsri_kv_rope_tidy(rope);
    return tsri_kv_same_rope(&tidy, rope) && tsri_rope_fits(rope, dim);
}

static void get_rope(const uint8_t *p, tsr_kv_rope *rope)
{
    *rope = (tsr_kv_rope){
        .layout = p[0], .scaling = p[1], .offset = tsri_get16(p + 2),
        .dims = tsri_get16(p + 4), .theta = get_f64(p + 8),
        .factor = get_f64(p + 16), .low_factor = get_f64(p + 24),
        .high_factor = get_f64(p + 32), .original = (int)tsri_get32(p + 40) };
}

static void put_rope(uint8_t *p, const tsr_kv_rope *rope)
{
    p[0] = (uint8_t)rope->layout;
    p[1] = (uint8_t)rope->scaling;
    tsri_put16(p + 2, (uint16_t)rope->offset);
    tsri_put16(p + 4, (uint16_t)rope->dims);
    put_f64(p + 8, rope->theta);
    put_f64(p + 16, rope->factor);
    put_f64(p + 24, rope->low_factor);
    put_f64(p + 32, rope->high_factor);
    tsri_put32(p + 40, (uint32_t)rope->original);
}

/* ---- header ---- */

static void get_fields(const uint8_t *p, tsri_kv_head *h)
{
    *h = (tsri_kv_head){
        .method = p[5], .flags = p[6], .dtype = p[7], .levels = p[11],
        .class_shift = (int8_t)p[40], .live_shift = (int8_t)p[43],
        .sinks = p[41], .id_bits = p[42],
        .shape = { .layers = tsri_get16(p + 8), .planes = p[10],
                   .heads = { tsri_get16(p + 12), tsri_get16(p + 14) },
                   .dim = { tsri_get16(p + 16), tsri_get16(p + 18) } },
        .tokens = tsri_get32(p + 20), .pos0 = tsri_get32(p + 24),
        .tile = tsri_get16(p + 28), .span = tsri_get16(p + 30),
        .step = { tsri_getf32(p + 32), tsri_getf32(p + 36) },
        .groups = tsri_get32(p + 44), .size = tsri_get64(p + 56),
        .section_bytes = tsri_get32(p + 152) };
    memcpy(h->profile, p + 48, sizeof h->profile);
    memcpy(h->params, p + PARAMS, sizeof h->params);
    get_rope(p + ROPE, &h->rope);
}

void tsri_kv_head_write(const tsri_kv_head *h, uint8_t p[TSRI_KV_HEADER])
{
    memset(p, 0, TSRI_KV_HEADER);
    memcpy(p, magic, sizeof magic);
    p[4] = 1;
    p[5] = h->method;
    p[6] = h->flags;
    p[7] = h->dtype;
    tsri_put16(p + 8, (uint16_t)h->shape.layers);
    p[10] = (uint8_t)h->shape.planes;
    p[11] = h->levels;
    for (int i = 0; i < h->shape.planes; i++) {
        tsri_put16(p + 12 + 2 * i, (uint16_t)h->shape.heads[i]);
        tsri_put16(p + 16 + 2 * i, (uint16_t)h->shape.dim[i]);
    }
    tsri_put32(p + 20, h->tokens);
    tsri_put32(p + 24, h->pos0);
    tsri_put16(p + 28, (uint16_t)h->tile);
    tsri_put16(p + 30, (uint16_t)h->span);
    put_f32(p + 32, h->step[0]);
    put_f32(p + 36, h->step[1]);
    p[40] = (uint8_t)h->class_shift;
    p[41] = h->sinks;
    p[42] = h->id_bits;
    p[43] = (uint8_t)h->live_shift;
    tsri_put32(p + 44, h->groups);
    memcpy(p + 48, h->profile, sizeof h->profile);
    tsri_put64(p + 56, h->size);
    put_rope(p + ROPE, &h->rope);
    memcpy(p + PARAMS, h->params, sizeof h->params);
    tsri_put32(p + 152, h->section_bytes);
}

static bool zeros(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

/* Bytes that mean nothing in this version. */
static bool spare_is_zero(const uint8_t *p)
{
    return zeros(p + ROPE + 6, 2) && zeros(p + ROPE + 44, 4) &&
        zeros(p + 156, 4) &&
        (p[10] == 2 || (zeros(p + 14, 2) && zeros(p + 18, 2)));
}

bool tsri_kv_step_fits(float step)
{
    return step > 1e-30f && step < 1e30f;
}

static bool field_fits(float step)
{
    uint32_t bits;
    memcpy(&bits, &step, sizeof bits);
    return tsri_kv_step_fits(step) && !(bits & 0xff);
}

/* Planes, or whole layers joined evenly. */
static bool groups_fit(const tsri_kv_head *h, bool joined)
{
    const uint32_t layers = (uint32_t)h->shape.layers;
    if (h->groups == layers * (uint32_t)h->shape.planes)
        return true;
    return joined && h->groups && h->groups <= layers &&
        layers % h->groups == 0;
}

static bool size_fits(int v)
{
    return v >= 32 && v <= 4096 && v % 32 == 0;
}

static bool tokens_fit(const tsri_kv_head *h)
{
    const bool ids = h->flags & TSRI_KV_TOKENS;
    return h->tokens <= TSRI_KV_MAX_TOKENS && h->pos0 <= (uint32_t)1 << 31 &&
        h->sinks <= TSRI_KV_MAX_SINKS && h->sinks <= h->tokens &&
        (ids ? h->id_bits >= 1 && h->id_bits <= 31 : !h->id_bits) &&
        tsri_kv_sections(h) == h->section_bytes;
}

static bool rows_fit(const tsri_kv_head *h)
{
    const bool profile = !zeros(h->profile, sizeof h->profile);
    return h->levels >= 1 && h->levels <= TSRI_KV_LEVELS &&
        field_fits(h->step[0]) && field_fits(h->step[1]) &&
        (!profile || h->step[0] == h->step[1]) &&
        zeros(h->params, sizeof h->params) && groups_fit(h, profile) &&
        (profile || (!h->class_shift && !h->live_shift &&
                     !(h->flags & (TSRI_KV_NEEDS_TOKENS | TSRI_KV_CHAINED))));
}

static bool method_fits(const tsri_kv_head *h)
{
    return h->levels == 1 && h->step[0] == 0 && h->step[1] == 0 &&
        !h->sinks && !h->class_shift && !h->live_shift &&
        groups_fit(h, false) &&
        !(h->flags & (TSRI_KV_NEEDS_TOKENS | TSRI_KV_CHAINED));
}

static bool fields_fit(const tsri_kv_head *h)
{
    return h->flags <= FLAGS &&
        tsri_kv_dtype_bytes((tsr_kv_dtype)h->dtype) &&
        tsri_kv_shape_fits(&h->shape) && size_fits(h->tile) &&
        size_fits(h->span) && tokens_fit(h) &&
        tsri_kv_rope_fits(&h->rope, h->shape.dim[0]) &&
        (h->method ? method_fits(h) : rows_fit(h));
}

uint64_t tsri_kv_sections(const tsri_kv_head *h)
{
    uint64_t bytes = 0;
    if (h->flags & TSRI_KV_TOKENS)
        bytes += ((uint64_t)h->tokens * h->id_bits + 7) / 8;
    if (h->flags & TSRI_KV_BOOSTS)
        bytes += ((uint64_t)h->tokens + 1) / 2;
    return bytes;
}

void tsri_kv_head_derive(tsri_kv_head *h)
{
    h->tiles = tsri_ceil_div((int)h->tokens, h->tile);
    h->front_bytes = tsri_kv_unit_entry(h, h->groups, 0, 0) + CRC;
}

tsr_error tsri_kv_head_read(tsr_context *ctx, const uint8_t *p, size_t size,
                            tsri_kv_head *h)
{
    const tsri_kv_method *method;

    if (size < sizeof magic || memcmp(p, magic, sizeof magic))
        return tsri_fail(ctx, TSR_E_FORMAT, "not a KV object");
    if (size < TSRI_KV_HEADER)
        return tsri_fail(ctx, TSR_E_TRUNCATED, "KV object: header is cut");
    if (p[4] != 1)
        return tsri_fail(ctx, p[4] ? TSR_E_VERSION : TSR_E_CORRUPT,
                         "KV object: version %d", p[4]);
    get_fields(p, h);
    if (!spare_is_zero(p) || !fields_fit(h))
        return tsri_fail(ctx, TSR_E_CORRUPT, "KV object: a field of the header "
                         "is out of its limits");
    method = h->method ? tsri_kv_method_number(h->method) : NULL;
    if (h->method && !method)
        return tsri_fail(ctx, TSR_E_UNSUPPORTED, "KV object: method %d is not "
                         "in this build", h->method);
    if (method && method->check(h->params, &h->shape))
        return tsri_fail(ctx, TSR_E_CORRUPT, "KV object: parameters of method "
                         "%s", method->name);
    tsri_kv_head_derive(h);
    return TSR_OK;
}

/* ---- front ---- */

void tsri_kv_front_seal(const tsri_kv_head *h, uint8_t *front)
{
    const size_t end = (size_t)h->front_bytes - CRC;
    tsri_put32(front + end, tsri_crc32c(0, front, end));
}

/* What the directory says the object's size is: at most 2^29 sizes of 32 bits
 * fit easily. */
static uint64_t directory_size(const tsri_kv_head *h, const uint8_t *p)
{
    const size_t end = (size_t)h->front_bytes - CRC;
    uint64_t size = h->front_bytes;

    for (size_t at = tsri_kv_head_entry(h, 0); at < end; at += 8)
        size += tsri_get32(p + at);
    return size;
}

static bool sections_end_in_zeros(const tsri_kv_head *h, const uint8_t *p)
{
    const uint64_t bits = (uint64_t)h->tokens * h->id_bits;

    p += bits / 8;
    if (bits % 8 && *p++ >> bits % 8)
        return false;
    return !(h->flags & TSRI_KV_BOOSTS) || h->tokens % 2 == 0 ||
        !(p[h->tokens / 2] >> 4);
}

tsr_error tsri_kv_front_read(tsr_context *ctx, const uint8_t *p, size_t size,
                             tsri_kv_head *h)
{
    size_t end;

    TSR_TRY(tsri_kv_head_read(ctx, p, size, h));
    if (size < h->front_bytes)
        return tsri_fail(ctx, TSR_E_TRUNCATED, "KV object: front is cut");
    end = (size_t)h->front_bytes - CRC;
    if (tsri_crc32c(0, p, end) != tsri_get32(p + end))
        return tsri_fail(ctx, TSR_E_CHECKSUM, "KV object: front is damaged");
    if (!sections_end_in_zeros(h, p + TSRI_KV_HEADER))
        return tsri_fail(ctx, TSR_E_CORRUPT, "KV object: bits behind its token "
                         "ids or boosts");
    if (directory_size(h, p) != h->size)
        return tsri_fail(ctx, TSR_E_CORRUPT, "KV object: its directory does not "
                         "have its size");
    return TSR_OK;
}

/* ---- token ids ---- */

void tsri_kv_ids_put(const int32_t *ids, size_t n, int bits, uint8_t *out)
{
    uint64_t pending = 0;
    int have = 0;

    for (size_t i = 0; i < n; i++) {
        pending |= (uint64_t)(uint32_t)ids[i] << have;
        for (have += bits; have >= 8; have -= 8, pending >>= 8)
            *out++ = (uint8_t)pending;
    }
    if (have)
        *out = (uint8_t)pending;
}

void tsri_kv_ids_get(const uint8_t *in, size_t n, int bits, int32_t *ids)
{
    uint64_t pending = 0;
    int have = 0;

    for (size_t i = 0; i < n; i++) {
        for (; have < bits; have += 8)
            pending |= (uint64_t)*in++ << have;
        ids[i] = (int32_t)(pending & (((uint64_t)1 << bits) - 1));
        pending >>= bits;
        have -= bits;
    }
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Damaged KV objects: every cut, every flipped bit, with checksums as they were
 * and made to fit.  Whatever comes of it, nothing but the view is written. */
#ifndef TSR_TESTS_KV_ATTACK_H
#define TSR_TESTS_KV_ATTACK_H
#include "tests/kv_case.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"

/** What is fixed up where a byte of the front, a head or a unit was changed:
 *  the CRCs over it. */
typedef struct kv_parts {
    size_t front, groups, units, dir;   /* dir: where the directory begins */
} kv_parts;

static inline kv_parts kv_parts_of(const uint8_t *p)
{
    const size_t tokens = tsri_get32(p + 20), tile = tsri_get16(p + 28);
    kv_parts parts = { .groups = tsri_get32(p + 44),
                       .dir = 160 + tsri_get32(p + 152) };

    parts.units = parts.groups * ((tokens + tile - 1) / tile) * p[11];
    parts.front = parts.dir + 8 * (parts.groups + parts.units) + 4;
    return parts;
}

static inline void kv_fix_front(uint8_t *p, const kv_parts *parts)
{
    tsri_put32(p + parts->front - 4, tsri_crc32c(0, p, parts->front - 4));
}

/** Makes the checksums fit what is there, sizes as they are. */
static inline void kv_fix(uint8_t *p, const kv_parts *parts)
{
    size_t at = parts->front;

    for (size_t i = 0; i < parts->groups + parts->units; i++) {
        uint8_t *entry = p + parts->dir + 8 * i;
        tsri_put32(entry + 4, tsri_crc32c(0, p + at, tsri_get32(entry)));
        at += tsri_get32(entry);
    }
    kv_fix_front(p, parts);
}

/** Every function that reads objects, on size bytes in memory of that size.
 *  Returns what decoding said. */
static inline tsr_error kv_try(kv_coder *k, tsr_context *ctx,
                               const uint8_t *data, size_t size,
                               const kv_cache *out)
{
    uint8_t *copy = malloc(size ? size : 1), *small = malloc(size ? size : 1);
    tsr_kv_info info;
    uint64_t bytes;
    size_t reduced;

    memcpy(copy, data, size);
    const tsr_error probe = tsr_kv_probe(ctx, copy, size, &info);
    if (tsr_kv_probe_layer(ctx, copy, size, 0, -1, &bytes) == TSR_OK)
        assert_int_equal(probe, TSR_OK);
    const tsr_error error = tsr_kv_decode(k->kv, copy, size, NULL, &out->view,
                                          &k->call);
    if (!error)
        assert_int_equal(probe, TSR_OK);
    if (tsr_kv_reduce(ctx, copy, size, 1, small, size, &reduced) == TSR_OK)
        assert_true(reduced <= size);
    free(copy);
    free(small);
    return error;
}

static inline void kv_attack_cuts(kv_coder *k, tsr_context *ctx,
                                  const kv_cache *out)
{
    for (size_t size = 0; size < k->size; size++)
        assert_int_not_equal(kv_try(k, ctx, k->object, size, out), TSR_OK);
    kv_check_guards(out);
}

static inline void kv_attack_bits(kv_coder *k, tsr_context *ctx,
                                  const kv_cache *out)
{
    for (size_t i = 0; i < 8 * k->size; i++) {
        k->object[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_not_equal(kv_try(k, ctx, k->object, k->size, out), TSR_OK);
        k->object[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    kv_check_guards(out);
}

/** Checksums fit: what decoding says is open, but it must say it. */
static inline void kv_attack_inside(kv_coder *k, tsr_context *ctx,
                                    const kv_cache *out)
{
    const kv_parts parts = kv_parts_of(k->object);
    uint8_t *bad = malloc(k->size);
    size_t accepted = 0;

    for (size_t i = 0; i < 8 * k->size; i++) {
        memcpy(bad, k->object, k->size);
        bad[i / 8] ^= (uint8_t)(1 << i % 8);
        if (i / 8 >= parts.front)
            kv_fix(bad, &parts);
        else if (i / 8 < parts.front - 4)
            kv_fix_front(bad, &parts);
        accepted += kv_try(k, ctx, bad, k->size, out) == TSR_OK;
    }
    /* Positions, ids, centres and sinks may be anything; coded values not. */
    assert_true(accepted < 4 * k->size);
    kv_check_guards(out);
    free(bad);
}

/** Fields of the header and directory at their extremes. */
static inline void kv_attack_fields(kv_coder *k, tsr_context *ctx,
                                    const kv_cache *out)
{
    static const uint8_t values[] = { 0, 1, 0x7f, 0x80, 0xff };
    const kv_parts parts = kv_parts_of(k->object);
    uint8_t *bad = malloc(k->size);

    for (size_t at = 4; at < parts.front - 4; at++)
        for (size_t n = 1; n <= 8 && at + n < parts.front - 3; n *= 2)
            for (size_t v = 0; v < sizeof values; v++) {
                memcpy(bad, k->object, k->size);
                memset(bad + at, values[v], n);
                kv_fix_front(bad, &parts);
                (void)kv_try(k, ctx, bad, k->size, out);
            }
    kv_check_guards(out);
    free(bad);
}
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* What an object says of itself, where its parts are, and the same object with
 * fewer levels.  No profile is needed. */
#include <stdio.h>
#include <string.h>
#include "codecs/kv/kv_internal.h"
#include "lib/bytes.h"

/* ---- info ---- */

static uint64_t heads_bytes(const tsri_kv_head *head, const uint8_t *p)
{
    uint64_t sum = 0;
    for (size_t g = 0; g < head->groups; g++)
        sum += tsri_get32(p + tsri_kv_head_entry(head, g));
    return sum;
}

static void count_levels(const tsri_kv_head *head, const uint8_t *p,
                         uint64_t bytes[TSRI_KV_LEVELS])
{
    const size_t units = (size_t)head->groups * (size_t)head->tiles;
    const uint8_t *entry = p + tsri_kv_unit_entry(head, 0, 0, 0);

    for (size_t u = 0; u < units; u++)
        for (int level = 0; level < head->levels; level++, entry += 8)
            bytes[level] += tsri_get32(entry);
}

void tsri_kv_fill_info(const tsri_kv_head *head, const uint8_t *p,
                       tsr_kv_info *info)
{
    static const float third[TSRI_KV_LEVELS] = { 1, 3, 9 };
    const char *method =
        head->method ? tsri_kv_method_number(head->method)->name : "rows";

    *info = (tsr_kv_info){
        .shape = head->shape, .rope = head->rope,
        .dtype = (tsr_kv_dtype)head->dtype, .tokens = head->tokens,
        .pos0 = head->pos0, .levels = head->levels, .tile = head->tile,
        .sinks = head->sinks, .token_ids = (head->flags & TSRI_KV_TOKENS) != 0,
        .bytes = head->size, .span = head->span,
        .live_shift = head->live_shift };
    snprintf(info->method, sizeof info->method, "%s", method);
    for (int i = 0; i < 2; i++)
        info->step[i] = head->step[i] / third[head->levels - 1];
    memcpy(info->profile, head->profile, sizeof info->profile);
    memcpy(info->params, head->params, sizeof info->params);
    info->head_bytes = head->front_bytes - head->section_bytes;
    info->side_bytes = head->section_bytes + heads_bytes(head, p);
    count_levels(head, p, info->level_bytes);
}

tsr_error tsr_kv_probe(tsr_context *ctx, const uint8_t *in, size_t size,
                       tsr_kv_info *info)
{
    tsri_kv_head head;

    *info = (tsr_kv_info){ .levels = 0 };
    TSR_TRY(tsri_kv_front_read(ctx, in, size, &head));
    tsri_kv_fill_info(&head, in, info);
    return TSR_OK;
}

/* ---- layers ---- */

/* Head and units of a group. */
static uint64_t group_bytes(const tsri_kv_head *head, const uint8_t *p, size_t g)
{
    const size_t entries = (size_t)head->tiles * head->levels;
    const uint8_t *entry = p + tsri_kv_unit_entry(head, g, 0, 0);
    uint64_t sum = tsri_get32(p + tsri_kv_head_entry(head, g));

    for (size_t i = 0; i < entries; i++, entry += 8)
        sum += tsri_get32(entry);
    return sum;
}

tsr_error tsr_kv_probe_layer(tsr_context *ctx, const uint8_t *in, size_t size,
                             int layer, int plane, uint64_t *bytes)
{
    tsri_kv_head head;
    uint32_t layers, planes, joined;

    *bytes = 0;
    TSR_TRY(tsri_kv_front_read(ctx, in, size, &head));
    layers = (uint32_t)head.shape.layers;
    planes = head.groups / layers;  /* that are groups; 0: layers are joined */
    joined = planes ? 1 : layers / head.groups;
    if (layer < 0 || layer >= (int)layers || plane < -1 ||
        plane >= (int)(planes ? planes : 1) ||
        (plane >= 0 && (int)planes < head.shape.planes))
        return tsri_fail(ctx, TSR_E_ARG, "layer %d, plane %d: the KV object does "
                         "not code such a plane by itself", layer, plane);
    if (!planes) { /* the first of the joined layers get what is left over */
        const uint64_t sum = group_bytes(&head, in, (uint32_t)layer / joined);
        *bytes = sum / joined + ((uint32_t)layer % joined < sum % joined);
        return TSR_OK;
    }
    for (uint32_t p = 0; p < planes; p++)
        if (plane < 0 || p == (uint32_t)plane)
            *bytes += group_bytes(&head, in, (uint32_t)layer * planes + p);
    return TSR_OK;
}

/* ---- ranges ---- */

/* Neighbouring ranges are collected before they are told. */
typedef struct ranges {
    tsr_error (*visit)(void *cookie, uint64_t offset, uint64_t bytes);
    void *cookie;
    uint64_t at, bytes;
} ranges;

static tsr_error tell(ranges *r)
{
    const uint64_t bytes = r->bytes;
    r->bytes = 0;
    return bytes ? r->visit(r->cookie, r->at, bytes) : TSR_OK;
}

static tsr_error add_range(ranges *r, uint64_t at, uint64_t bytes)
{
    if (!bytes)
        return TSR_OK;
    if (at != r->at + r->bytes || !r->bytes) {
        TSR_TRY(tell(r));
        r->at = at;
    }
    r->bytes += bytes;
    return TSR_OK;
}

/* A part in groups, tiles, levels; ends are behind the last. */
typedef struct box {
    size_t group, group_end, tile, tile_end;
    int levels;
    bool chained;
} box;

static bool part_fits(const tsri_kv_head *head, const tsr_kv_part *p)
{
    const int layers = head->shape.layers;
    return p->first_layer >= 0 && p->first_layer <= layers && p->layers >= 0 &&
        p->layers <= layers - p->first_layer &&
        p->first_token <= head->tokens &&
        p->tokens <= head->tokens - p->first_token && p->level >= 0 &&
        p->level <= head->levels;
}

void tsri_kv_groups(const tsri_kv_head *head, int first_layer, int n,
                    size_t *group, size_t *group_end)
{
    const size_t layers = (size_t)head->shape.layers, groups = head->groups;
    const size_t first = (size_t)first_layer;
    const size_t end = n ? first + (size_t)n : layers;

    *group = groups >= layers ? first * (groups / layers)
                              : first / (layers / groups);
    *group_end = groups >= layers ? end * (groups / layers)
        : (end + layers / groups - 1) / (layers / groups);
}

static box box_of(const tsri_kv_head *head, const tsr_kv_part *p)
{
    const size_t last_token = p->tokens ? p->first_token + p->tokens
                                        : head->tokens;
    const size_t tile = (size_t)head->tile;
    box b = {
        .tile = p->first_token / tile,
        .tile_end = (last_token + tile - 1) / tile,
        .levels = p->level ? p->level : head->levels,
        .chained = head->flags & TSRI_KV_CHAINED };

    tsri_kv_groups(head, p->first_layer, p->layers, &b.group, &b.group_end);
    return b;
}

/* Levels of a tile that a part reads. */
static int levels_read(const box *b, size_t group, size_t tile)
{
    if (group < b->group || group >= b->group_end || tile >= b->tile_end)
        return 0;
    return tile >= b->tile ? b->levels : b->chained;
}

static tsr_error walk(const tsri_kv_head *head, const uint8_t *p, const box *b,
                      ranges *r)
{
    const uint8_t *entry = p + tsri_kv_head_entry(head, 0);
    uint64_t at = head->front_bytes;

    TSR_TRY(add_range(r, 0, at));
    for (size_t g = 0; g < head->groups; g++, entry += 8) {
        if (g >= b->group && g < b->group_end)
            TSR_TRY(add_range(r, at, tsri_get32(entry)));
        at += tsri_get32(entry);
    }
    for (size_t g = 0; g < head->groups; g++)
        for (size_t t = 0; t < (size_t)head->tiles; t++)
            for (int level = 0; level < head->levels; level++, entry += 8) {
                if (level < levels_read(b, g, t))
                    TSR_TRY(add_range(r, at, tsri_get32(entry)));
                at += tsri_get32(entry);
            }
    return tell(r);
}

tsr_error tsr_kv_ranges(tsr_context *ctx, const uint8_t *front, size_t size,
                        const tsr_kv_part *part,
                        tsr_error (*visit)(void *cookie, uint64_t offset,
                                           uint64_t bytes),
                        void *cookie)
{
    const tsr_kv_part all = { 0 };
    ranges r = { .visit = visit, .cookie = cookie };
    tsri_kv_head head;
    box b;

    TSR_TRY(tsri_kv_front_read(ctx, front, size, &head));
    if (!part_fits(&head, part ? part : &all))
        return tsri_fail(ctx, TSR_E_ARG, "the part wanted is not in the KV "
                         "object");
    b = box_of(&head, part ? part : &all);
    return walk(&head, front, &b, &r);
}

/* ---- fewer levels ---- */

static uint64_t reduced_size(const tsri_kv_head *from, const uint8_t *p,
                             const tsri_kv_head *to)
{
    uint64_t level[TSRI_KV_LEVELS] = { 0 };
    uint64_t size = to->front_bytes + heads_bytes(from, p);

    count_levels(from, p, level);
    for (int i = 0; i < to->levels; i++)
        size += level[i];
    return size;
}

/* The front of the reduced object, written to `out`; `old` is a copy of that
 * which it comes from, since out may be the place it stood at. */
static void reduce_front(const tsri_kv_head *from, const uint8_t *old,
                         const tsri_kv_head *to, uint8_t *out)
{
    const size_t kept = tsri_kv_unit_entry(from, 0, 0, 0) - TSRI_KV_HEADER;
    const size_t units = (size_t)from->groups * (size_t)from->tiles;
    uint8_t *entry = out + tsri_kv_unit_entry(to, 0, 0, 0);

    memcpy(out + TSRI_KV_HEADER, old + TSRI_KV_HEADER, kept);
    for (size_t u = 0; u < units; u++)
        for (int level = 0; level < to->levels; level++, entry += 8)
            memcpy(entry, old + tsri_kv_unit_entry(from, 0, u, level), 8);
    tsri_kv_head_write(to, out);
    tsri_kv_front_seal(to, out);
}

/* Heads and units, moved to the front; every byte moves to where it was or
 * before it. */
static void reduce_units(const tsri_kv_head *from, const uint8_t *old,
                         const tsri_kv_head *to, const uint8_t *in, uint8_t *out)
{
    const size_t units = (size_t)from->groups * (size_t)from->tiles;
    const size_t heads = (size_t)heads_bytes(from, old);
    const uint8_t *entry = old + tsri_kv_unit_entry(from, 0, 0, 0);

    in += from->front_bytes;
    out += to->front_bytes;
    memmove(out, in, heads);
    in += heads;
    out += heads;
    for (size_t u = 0; u < units; u++)
        for (int level = 0; level < from->levels; level++, entry += 8) {
            const size_t size = tsri_get32(entry);
            if (level < to->levels) {
                memmove(out, in, size);
                out += size;
            }
            in += size;
        }
}

tsr_error tsr_kv_reduce(tsr_context *ctx, const uint8_t *in, size_t size,
                        int levels, uint8_t *out, size_t room, size_t *out_size)
{
    tsri_kv_head from, to;
    uint64_t need;
    uint8_t *old;

    *out_size = 0;
    TSR_TRY(tsri_kv_front_read(ctx, in, size, &from));
    if (from.size > size)
        return tsri_fail(ctx, TSR_E_TRUNCATED, "KV object: it is cut");
    if (levels < 1 || levels > from.levels)
        return tsri_fail(ctx, TSR_E_ARG, "%d levels of a KV object that has %d",
                         levels, from.levels);
    to = from;
    to.levels = (uint8_t)levels;
    tsri_kv_head_derive(&to);
    need = reduced_size(&from, in, &to);
    if (need > room)
        return tsri_fail(ctx, TSR_E_LIMIT, "room of %zu bytes is too small for "
                         "the KV object", room);
    old = tsri_alloc(ctx, (size_t)from.front_bytes, 1);
    if (!old)
        return tsri_nomem(ctx);
    memcpy(old, in, (size_t)from.front_bytes);
    to.size = need;
    reduce_units(&from, old, &to, in, out);
    reduce_front(&from, old, &to, out);
    tsri_free(ctx, old);
    *out_size = (size_t)need;
    return TSR_OK;
}

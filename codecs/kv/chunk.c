/* SPDX-License-Identifier: BSD-2-Clause */
/* Chunks as stores keep them: docs/kv-store.md section 2. */
#include <string.h>
#include <tessera/kv_chunk.h>
#include "codecs/kv/kv_internal.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"
#include "lib/sha256.h"

static const uint8_t magic[4] = { 0x89, 'T', 'K', 'S' };

enum {
    HEAD = TSR_KV_CHUNK_HEAD,
    NAME = 16, DIGEST = 48, CRC = 124,
    LEAST = TSRI_KV_HEADER + 4      /* bytes of an object */
};
/* Of an object: so no sum of sizes overflows. */
static const uint64_t most = (uint64_t)1 << 48;

/* ---- head ---- */

static void head_write(const tsr_kv_chunk *c, uint8_t *p)
{
    memset(p, 0, HEAD);
    memcpy(p, magic, sizeof magic);
    p[4] = 1;
    p[5] = (uint8_t)c->levels;
    tsri_put16(p + 6, (uint16_t)c->layers);
    tsri_put32(p + 8, (uint32_t)c->tokens);
    tsri_put32(p + 12, (uint32_t)c->pos0);
    memcpy(p + NAME, c->name, sizeof c->name);
    memcpy(p + DIGEST, c->digest, sizeof c->digest);
    tsri_put64(p + 80, c->object_bytes);
    tsri_put64(p + 88, c->front_bytes);
    for (int k = 0; k < TSRI_KV_LEVELS; k++)
        tsri_put64(p + 96 + 8 * k, c->level_end[k]);
    tsri_put32(p + CRC, tsri_crc32c(0, p, CRC));
}

static void head_get(const uint8_t *p, tsr_kv_chunk *c)
{
    *c = (tsr_kv_chunk){
        .levels = p[5], .layers = tsri_get16(p + 6),
        .tokens = tsri_get32(p + 8), .pos0 = tsri_get32(p + 12),
        .object_bytes = tsri_get64(p + 80),
        .front_bytes = tsri_get64(p + 88) };
    memcpy(c->name, p + NAME, sizeof c->name);
    memcpy(c->digest, p + DIGEST, sizeof c->digest);
    for (int k = 0; k < TSRI_KV_LEVELS; k++)
        c->level_end[k] = tsri_get64(p + 96 + 8 * k);
    c->bytes = c->object_bytes + HEAD;
}

static bool ends_fit(const tsr_kv_chunk *c)
{
    uint64_t from = c->front_bytes;

    for (int k = 0; k < TSRI_KV_LEVELS; k++) {
        if (c->level_end[k] < from ||
            (k >= c->levels - 1 && c->level_end[k] != c->bytes))
            return false;
        from = c->level_end[k];
    }
    return true;
}

static bool head_fits(const tsr_kv_chunk *c)
{
    return c->levels >= 1 && c->levels <= TSRI_KV_LEVELS && c->layers >= 1 &&
        c->layers <= 1024 && c->tokens <= TSRI_KV_MAX_TOKENS &&
        c->pos0 <= (uint64_t)1 << 31 && c->object_bytes <= most &&
        c->front_bytes >= HEAD + LEAST && ends_fit(c);
}

tsr_error tsr_kv_chunk_probe(tsr_context *ctx, const uint8_t *in, size_t size,
                             tsr_kv_chunk *chunk)
{
    *chunk = (tsr_kv_chunk){ .levels = 0 };
    if (size < sizeof magic || memcmp(in, magic, sizeof magic))
        return tsri_fail(ctx, TSR_E_FORMAT, "not a stored KV chunk");
    if (size < HEAD)
        return tsri_fail(ctx, TSR_E_TRUNCATED, "stored KV chunk: head is cut");
    if (in[4] != 1)
        return tsri_fail(ctx, in[4] ? TSR_E_VERSION : TSR_E_CORRUPT,
                         "stored KV chunk: version %d", in[4]);
    if (tsri_crc32c(0, in, CRC) != tsri_get32(in + CRC))
        return tsri_fail(ctx, TSR_E_CHECKSUM, "stored KV chunk: head is "
                         "damaged");
    head_get(in, chunk);
    if (!head_fits(chunk) || tsri_get32(in + 120)) {
        *chunk = (tsr_kv_chunk){ .levels = 0 };
        return tsri_fail(ctx, TSR_E_CORRUPT, "stored KV chunk: a field of the "
                         "head is out of its limits");
    }
    return TSR_OK;
}

/* ---- what the object says ---- */

/* Sizes and ends as they follow from the front of an object. */
static void chunk_of(const tsri_kv_head *head, const uint8_t *front,
                     tsr_kv_chunk *c)
{
    tsr_kv_info info;
    uint64_t at;

    tsri_kv_fill_info(head, front, &info);
    at = HEAD + info.head_bytes + info.side_bytes;
    c->tokens = info.tokens;
    c->pos0 = info.pos0;
    c->layers = info.shape.layers;
    c->levels = info.levels;
    c->object_bytes = info.bytes;
    c->bytes = HEAD + info.bytes;
    c->front_bytes = at;
    for (int k = 0; k < TSRI_KV_LEVELS; k++)
        c->level_end[k] = at += info.level_bytes[k];
}

static bool agree(const tsr_kv_chunk *a, const tsr_kv_chunk *b)
{
    return a->tokens == b->tokens && a->pos0 == b->pos0 &&
        a->layers == b->layers && a->levels == b->levels &&
        a->object_bytes == b->object_bytes &&
        a->front_bytes == b->front_bytes &&
        !memcmp(a->level_end, b->level_end, sizeof a->level_end);
}

/* Head and front of a stored chunk of which front_bytes are there at least. */
static tsr_error chunk_read(tsr_context *ctx, const uint8_t *in, size_t size,
                            tsr_kv_chunk *chunk, tsri_kv_head *head)
{
    tsr_kv_chunk object = { .levels = 0 };

    TSR_TRY(tsr_kv_chunk_probe(ctx, in, size, chunk));
    if (size < chunk->front_bytes)
        return tsri_fail(ctx, TSR_E_TRUNCATED, "stored KV chunk: front is cut");
    TSR_TRY(tsri_kv_front_read(ctx, in + HEAD, size - HEAD, head));
    chunk_of(head, in + HEAD, &object);
    if (!agree(chunk, &object))
        return tsri_fail(ctx, TSR_E_CORRUPT, "stored KV chunk: its head is not "
                         "that of its object");
    return TSR_OK;
}

/* ---- units ---- */

/* One level of a unit: where it is in the stored chunk and in the object. */
typedef struct piece {
    size_t group;
    int level;
    uint64_t stored, object;
    const uint8_t *entry;       /* of the directory */
    uint32_t bytes;
} piece;

/* Calls visit for all pieces as they are stored, until it says false. */
static void each_piece(const tsri_kv_head *head, const uint8_t *front,
                       const tsr_kv_chunk *chunk,
                       bool (*visit)(void *cookie, const piece *p),
                       void *cookie)
{
    const size_t first = tsri_kv_unit_entry(head, 0, 0, 0);
    const size_t units = (size_t)head->groups * (size_t)head->tiles;
    piece p = { .stored = chunk->front_bytes };

    for (p.level = 0; p.level < head->levels; p.level++) {
        p.entry = front + first;
        p.object = chunk->front_bytes - HEAD;
        for (size_t u = 0; u < units; u++)
            for (int k = 0; k < head->levels; k++, p.entry += 8) {
                p.bytes = tsri_get32(p.entry);
                if (k == p.level) {
                    p.group = u / (size_t)head->tiles;
                    if (!visit(cookie, &p))
                        return;
                    p.stored += p.bytes;
                }
                p.object += p.bytes;
            }
    }
}

/* ---- wrap ---- */

typedef struct wrapping {
    const uint8_t *object;
    uint8_t *out;
    bool damaged;
} wrapping;

static bool sound(const uint8_t *data, const uint8_t *entry)
{
    return tsri_crc32c(0, data, tsri_get32(entry)) == tsri_get32(entry + 4);
}

static bool wrap_piece(void *cookie, const piece *p)
{
    wrapping *w = cookie;

    w->damaged = !sound(w->object + p->object, p->entry);
    if (!w->damaged)
        memcpy(w->out + p->stored, w->object + p->object, p->bytes);
    return !w->damaged;
}

static bool heads_sound(const tsri_kv_head *head, const uint8_t *object)
{
    const uint8_t *at = object + head->front_bytes;
    const uint8_t *entry = object + tsri_kv_head_entry(head, 0);

    for (size_t g = 0; g < head->groups; g++, entry += 8) {
        if (!sound(at, entry))
            return false;
        at += tsri_get32(entry);
    }
    return true;
}

static void digest_of(const uint8_t *in, const tsr_kv_chunk *chunk,
                      uint8_t digest[32])
{
    tsri_sha256 s;

    tsri_sha256_start(&s);
    tsri_sha256_add(&s, in + HEAD, (size_t)chunk->object_bytes);
    tsri_sha256_end(&s, digest);
}

tsr_error tsr_kv_chunk_wrap(tsr_context *ctx,
                            const uint8_t name[TSR_KV_NAME_BYTES],
                            const uint8_t *object, size_t size, uint8_t *out,
                            size_t room, size_t *bytes)
{
    wrapping w = { .object = object, .out = out };
    tsr_kv_chunk chunk;
    tsri_kv_head head;

    *bytes = 0;
    TSR_TRY(tsri_kv_front_read(ctx, object, size, &head));
    if (head.size > size)
        return tsri_fail(ctx, TSR_E_TRUNCATED, "KV object: it is cut");
    chunk_of(&head, object, &chunk);
    if (chunk.bytes > room || chunk.object_bytes > most)
        return tsri_fail(ctx, TSR_E_LIMIT, "room of %zu bytes is too small for "
                         "the stored KV chunk", room);
    memcpy(out + HEAD, object, (size_t)chunk.front_bytes - HEAD);
    w.damaged = !heads_sound(&head, object);
    if (!w.damaged)
        each_piece(&head, object, &chunk, wrap_piece, &w);
    if (w.damaged)
        return tsri_fail(ctx, TSR_E_CHECKSUM, "KV object: it is damaged");
    memcpy(chunk.name, name, sizeof chunk.name);
    digest_of(out, &chunk, chunk.digest);
    head_write(&chunk, out);
    *bytes = (size_t)chunk.bytes;
    return TSR_OK;
}

tsr_error tsr_kv_chunk_check(tsr_context *ctx, const uint8_t *in, size_t size,
                             const uint8_t *name, tsr_kv_chunk *chunk)
{
    uint8_t digest[32];
    tsri_kv_head head;

    TSR_TRY(chunk_read(ctx, in, size, chunk, &head));
    if (size < chunk->bytes)
        return tsri_fail(ctx, TSR_E_TRUNCATED, "stored KV chunk: it is cut");
    if (size > chunk->bytes)
        return tsri_fail(ctx, TSR_E_CORRUPT, "stored KV chunk: %zu bytes behind "
                         "its end", (size_t)(size - chunk->bytes));
    digest_of(in, chunk, digest);
    if (memcmp(digest, chunk->digest, sizeof digest))
        return tsri_fail(ctx, TSR_E_CHECKSUM, "stored KV chunk: it is damaged");
    if (name && memcmp(name, chunk->name, sizeof chunk->name))
        return tsri_fail(ctx, TSR_E_MODEL, "stored KV chunk: it has another "
                         "name");
    return TSR_OK;
}

/* ---- ranges ---- */

typedef struct wanted {
    size_t group, group_end;
    int level;
    uint64_t *begin, *end;
} wanted;

static bool find_piece(void *cookie, const piece *p)
{
    const wanted *w = cookie;

    if (p->level > w->level ||
        (p->level == w->level && p->group >= w->group_end))
        return false;
    *w->end = p->stored + p->bytes;
    if (p->level < w->level || p->group < w->group)
        *w->begin = *w->end;
    return true;
}

tsr_error tsr_kv_chunk_range(tsr_context *ctx, const uint8_t *in, size_t size,
                             int level, int first_layer, int layers,
                             uint64_t *begin, uint64_t *end)
{
    wanted w = { .level = level, .begin = begin, .end = end };
    tsr_kv_chunk chunk;
    tsri_kv_head head;

    *begin = *end = 0;
    TSR_TRY(chunk_read(ctx, in, size, &chunk, &head));
    if (level < 0 || level >= chunk.levels || first_layer < 0 ||
        first_layer > chunk.layers || layers < 0 ||
        layers > chunk.layers - first_layer)
        return tsri_fail(ctx, TSR_E_ARG, "level %d, layers %d + %d are not in "
                         "the KV chunk", level, first_layer, layers);
    tsri_kv_groups(&head, first_layer, layers, &w.group, &w.group_end);
    *begin = *end = chunk.front_bytes;
    each_piece(&head, in + HEAD, &chunk, find_piece, &w);
    return TSR_OK;
}

/* ---- place ---- */

typedef struct placing {
    const uint8_t *chunk;
    uint8_t *object;
    uint64_t begin, end;
    bool damaged;
} placing;

/* What of stored[at..at + bytes) is in the range; its place is object[to..]. */
static void place(const placing *p, uint64_t at, uint64_t bytes, uint64_t to)
{
    const uint64_t begin = at > p->begin ? at : p->begin;
    const uint64_t end = at + bytes < p->end ? at + bytes : p->end;

    if (begin < end)
        memcpy(p->object + to + (begin - at), p->chunk + begin,
               (size_t)(end - begin));
}

static bool place_piece(void *cookie, const piece *p)
{
    placing *range = cookie;
    const uint64_t end = p->stored + p->bytes;

    range->damaged = p->stored >= range->begin && end <= range->end &&
        !sound(range->chunk + p->stored, p->entry);
    if (range->damaged)
        return false;
    place(range, p->stored, p->bytes, p->object);
    return end <= range->end;   /* what is empty at the end, too */
}

tsr_error tsr_kv_chunk_place(tsr_context *ctx, const uint8_t *chunk, size_t size,
                             uint64_t begin, uint64_t end, uint8_t *object,
                             size_t room)
{
    placing range = { chunk, object, begin, end, false };
    tsr_kv_chunk what;
    tsri_kv_head head;

    TSR_TRY(chunk_read(ctx, chunk, size, &what, &head));
    if (begin > end || end > size || end > what.bytes)
        return tsri_fail(ctx, TSR_E_ARG, "a range that is not in the KV chunk");
    if (room < what.object_bytes)
        return tsri_fail(ctx, TSR_E_LIMIT, "room of %zu bytes is too small for "
                         "the KV object", room);
    range.damaged = begin <= HEAD && end >= what.front_bytes &&
        !heads_sound(&head, chunk + HEAD);
    place(&range, HEAD, what.front_bytes - HEAD, 0);
    if (end >= what.front_bytes && !range.damaged)
        each_piece(&head, chunk + HEAD, &what, place_piece, &range);
    return range.damaged ? tsri_fail(ctx, TSR_E_CHECKSUM, "stored KV chunk: a "
                                     "part is damaged") : TSR_OK;
}

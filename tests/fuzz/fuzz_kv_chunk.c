/* SPDX-License-Identifier: BSD-2-Clause */
/* Chunks as stores keep them: any bytes, their checksums made to fit, and
 * objects that are wrapped. */
#include "tests/fuzz/fuzz.h"
#include <tessera/kv_chunk.h>
#include "lib/bytes.h"
#include "lib/crc32c.h"
#include "lib/sha256.h"

enum { HEAD = TSR_KV_CHUNK_HEAD, OBJECT = 160 };

static const uint8_t name[TSR_KV_NAME_BYTES];

/* Makes the front's CRC, the digest and the head's CRC fit. */
static void fix(uint8_t *p, size_t size)
{
    uint64_t tiles, entries, end;
    tsri_sha256 s;

    if (size < HEAD + OBJECT)
        return;
    uint8_t *object = p + HEAD;
    tiles = tsri_get16(object + 28);
    tiles = tiles ? (tsri_get32(object + 20) + tiles - 1) / tiles : 0;
    entries = tsri_get32(object + 44) * (1 + tiles * object[11]);
    end = (uint64_t)OBJECT + tsri_get32(object + 152) + 8 * entries;
    if (tiles <= size && end + 4 <= size - HEAD)
        tsri_put32(object + end, tsri_crc32c(0, object, (size_t)end));
    tsri_sha256_start(&s);
    tsri_sha256_add(&s, object, size - HEAD);
    tsri_sha256_end(&s, p + 48);
    tsri_put32(p + 124, tsri_crc32c(0, p, 124));
}

/* Ranges of the levels follow each other; placing leaves no byte out. */
static void use(const uint8_t *data, size_t size, const tsr_kv_chunk *chunk)
{
    uint8_t *object = malloc((size_t)chunk->object_bytes);
    uint64_t begin, end, at = chunk->front_bytes;

    FUZZ_CHECK(object);
    for (int k = 0; k < chunk->levels; k++) {
        FUZZ_CHECK(!tsr_kv_chunk_range(fuzz_context(false), data, size, k, 0, 0,
                                       &begin, &end));
        FUZZ_CHECK(begin == at && end == chunk->level_end[k]);
        at = end;
    }
    FUZZ_CHECK(at == size);
    const tsr_error error = tsr_kv_chunk_place(fuzz_context(false), data, size,
                                               0, size, object,
                                               (size_t)chunk->object_bytes);
    FUZZ_CHECK(!error || error == TSR_E_CHECKSUM);
    if (!error) {
        uint8_t *again = malloc(size);
        size_t bytes;
        FUZZ_CHECK(again);
        FUZZ_CHECK(!tsr_kv_chunk_wrap(fuzz_context(false), chunk->name, object,
                                      (size_t)chunk->object_bytes, again, size,
                                      &bytes));
        FUZZ_CHECK(bytes == size && !memcmp(again, data, size));
        free(again);
    }
    free(object);
}

static void stored(const uint8_t *data, size_t size)
{
    tsr_kv_chunk chunk, probed;
    uint64_t begin, end;

    if (!tsr_kv_chunk_check(fuzz_context(false), data, size, NULL, &chunk)) {
        FUZZ_CHECK(!tsr_kv_chunk_probe(fuzz_context(false), data, HEAD,
                                       &probed));
        FUZZ_CHECK(!memcmp(&chunk, &probed, sizeof chunk));
        use(data, size, &chunk);
        return;
    }
    /* What is not all there has ranges, too. */
    if (!tsr_kv_chunk_range(fuzz_context(false), data, size, 0, 0, 0, &begin,
                            &end))
        FUZZ_CHECK(begin <= end);
}

static void wrapped(const uint8_t *data, size_t size)
{
    uint8_t *out = malloc(size + HEAD);
    size_t bytes;

    FUZZ_CHECK(out);
    if (!tsr_kv_chunk_wrap(fuzz_context(false), name, data, size, out,
                           size + HEAD, &bytes))
        stored(out, bytes);
    free(out);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    const bool object = fuzz_u8(&in) % 4 == 3;
    uint8_t *copy = fuzz_copy(&in);

    if (object) {
        wrapped(copy, in.size);
    } else {
        fix(copy, in.size);
        stored(copy, in.size);
    }
    free(copy);
}

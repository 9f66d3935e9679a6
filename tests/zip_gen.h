/* SPDX-License-Identifier: BSD-2-Clause */
/* Writes zip archives for tests, good ones and broken ones. */
#ifndef TSR_TESTS_ZIP_GEN_H
#define TSR_TESTS_ZIP_GEN_H
#include <stdbool.h>
#include <zlib.h>
#include "tests/check.h"
#include "lib/bytes.h"

enum {
    ZIP_DEFLATE = 1, ZIP_64 = 2,
    /* Faults: */
    ZIP_OVERLAP = 4,        /* for zip_gen_swallow() */
    ZIP_OTHER_NAME = 8,     /* local headers have other names */
    ZIP_BAD_COUNT = 16, ZIP_ENCRYPTED = 32, ZIP_METHOD = 64,
    ZIP_LIE = 128           /* sizes are one less than they are */
};

typedef struct zip_gen {
    uint8_t *data, *directory;
    size_t size, directory_size;
    size_t last, before;    /* entries of the directory */
    int count;
} zip_gen;

static inline uint8_t *zip_gen_room(uint8_t **to, size_t *size, size_t more)
{
    *to = realloc(*to, *size + more);
    assert_non_null(*to);
    memset(*to + *size, 0, more);
    *size += more;
    return *to + *size - more;
}

/* Raw deflate, as zips have it. */
static inline size_t zip_gen_deflate(const void *data, size_t size, uint8_t *out,
                                     size_t room)
{
    z_stream z = { 0 };
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 8,
                                  Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)data;
    z.avail_in = (uInt)size;
    z.next_out = out;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

static inline void zip_gen_add(zip_gen *zip, const char *name, const void *data,
                               size_t size, int flags)
{
    const size_t room = size + size / 100 + 64, length = strlen(name);
    const uint32_t crc = (uint32_t)crc32(0, data, (uInt)size);
    const size_t wide = flags & ZIP_64 ? 28 : 0;
    const size_t at = zip->size;
    uint8_t *packed = malloc(room), *p;
    size_t bytes = size;

    assert_non_null(packed);
    if (flags & ZIP_DEFLATE)
        bytes = zip_gen_deflate(data, size, packed, room);
    else if (size)
        memcpy(packed, data, size);
    p = zip_gen_room(&zip->data, &zip->size, 30 + length + bytes);
    tsri_put32(p, 0x04034b50);
    tsri_put16(p + 26, (uint16_t)length);
    memcpy(p + 30, name, length);
    p[30] ^= flags & ZIP_OTHER_NAME ? 1 : 0;
    memcpy(p + 30 + length, packed, bytes);
    free(packed);

    zip->before = zip->last;
    zip->last = zip->directory_size;
    p = zip_gen_room(&zip->directory, &zip->directory_size, 46 + length + wide);
    tsri_put32(p, 0x02014b50);
    tsri_put16(p + 8, flags & ZIP_ENCRYPTED ? 1 : 0);
    tsri_put16(p + 10, flags & ZIP_METHOD ? 12 : flags & ZIP_DEFLATE ? 8 : 0);
    tsri_put32(p + 16, crc);
    tsri_put32(p + 20, wide ? UINT32_MAX : (uint32_t)bytes);
    size -= flags & ZIP_LIE ? 1 : 0;
    tsri_put32(p + 24, wide ? UINT32_MAX : (uint32_t)size);
    tsri_put16(p + 28, (uint16_t)length);
    tsri_put16(p + 30, (uint16_t)wide);
    tsri_put32(p + 42, wide ? UINT32_MAX : (uint32_t)at);
    memcpy(p + 46, name, length);
    if (wide) {
        p += 46 + length;
        tsri_put16(p, 1);
        tsri_put16(p + 2, 24);
        tsri_put64(p + 4, size);
        tsri_put64(p + 12, bytes);
        tsri_put64(p + 20, at);
    }
    zip->count++;
}

/** Makes the last member a part of the data of the one before. */
static inline void zip_gen_swallow(zip_gen *zip)
{
    uint8_t *p = zip->directory + zip->before;
    const uint32_t more = (uint32_t)zip->size -
                          tsri_get32(zip->directory + zip->last + 42);
    tsri_put32(p + 20, tsri_get32(p + 20) + more);
    tsri_put32(p + 24, tsri_get32(p + 24) + more);
}

static inline void zip_gen_end(zip_gen *zip, int flags)
{
    const size_t start = zip->size;
    const bool wide = flags & ZIP_64;
    uint8_t *p = zip_gen_room(&zip->data, &zip->size, zip->directory_size);

    if (zip->directory_size)
        memcpy(p, zip->directory, zip->directory_size);
    if (wide) {
        const size_t end = zip->size;
        p = zip_gen_room(&zip->data, &zip->size, 56 + 20);
        tsri_put32(p, 0x06064b50);
        tsri_put64(p + 4, 44);
        tsri_put64(p + 24, (uint64_t)zip->count);
        tsri_put64(p + 32, (uint64_t)zip->count);
        tsri_put64(p + 40, zip->directory_size);
        tsri_put64(p + 48, start);
        tsri_put32(p + 56, 0x07064b50);
        tsri_put64(p + 64, end);
    }
    p = zip_gen_room(&zip->data, &zip->size, 22);
    tsri_put32(p, 0x06054b50);
    tsri_put16(p + 10, wide ? 0xffff : (uint16_t)(zip->count +
                                (flags & ZIP_BAD_COUNT ? 1000 : 0)));
    tsri_put32(p + 12, wide ? UINT32_MAX : (uint32_t)zip->directory_size);
    tsri_put32(p + 16, wide ? UINT32_MAX : (uint32_t)start);
}

static inline void zip_gen_free(zip_gen *zip)
{
    free(zip->data);
    free(zip->directory);
    *zip = (zip_gen){ 0 };
}
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "lib/bytes.h"
#include "lib/zip.h"

enum {
    LOCAL_BYTES = 30, ENTRY_BYTES = 46, END_BYTES = 22, LOCATOR_BYTES = 20,
    END64_BYTES = 56, COMMENT_MAX = 65535, MEMBERS_MAX = 1 << 20,
    NAME_BYTES_MAX = 1000, BOMB_RATIO = 100, BOMB_BYTES = 16 << 20,
    BOMB_RATIO_ALL = 20
};
#define LOCAL_MAGIC 0x04034b50u
#define ENTRY_MAGIC 0x02014b50u
#define END_MAGIC 0x06054b50u
#define LOCATOR_MAGIC 0x07064b50u
#define END64_MAGIC 0x06064b50u
#define ELSEWHERE 0xffffffffu   /* the number is in a zip64 field */

struct tsri_zip {
    tsr_context *ctx;
    const uint8_t *file;
    uint64_t size;
    const char *what;
    uint64_t directory, directory_end, count;
    tsri_zip_member *member;    /* sorted by name */
    char *names;
    uint8_t *inflated;          /* of this member, or of none */
    const tsri_zip_member *whose;
};

static tsr_error corrupt(const tsri_zip *zip, const char *why)
{
    return tsri_fail(zip->ctx, TSR_E_CORRUPT, "%s: broken zip: %s", zip->what,
                     why);
}

/* ---- the directory ---- */

/* The end record lies before a comment of at most 64 KiB, which ends the file. */
static tsr_error find_end(const tsri_zip *zip, uint64_t *end)
{
    if (zip->size >= 4 && tsri_get32(zip->file) != LOCAL_MAGIC &&
        tsri_get32(zip->file) != END_MAGIC)
        return tsri_fail(zip->ctx, TSR_E_FORMAT, "%s: not a zip file",
                         zip->what);
    for (uint64_t back = END_BYTES;
         back <= zip->size && back <= END_BYTES + COMMENT_MAX; back++) {
        const uint8_t *p = zip->file + zip->size - back;
        if (tsri_get32(p) == END_MAGIC && tsri_get16(p + 20) == back - END_BYTES) {
            *end = zip->size - back;
            return TSR_OK;
        }
    }
    return tsri_fail(zip->ctx, TSR_E_TRUNCATED, "%s: cut, the zip's directory "
                     "is missing", zip->what);
}

static tsr_error read_end64(tsri_zip *zip, uint64_t end)
{
    const uint8_t *p;
    uint64_t at;

    if (end < LOCATOR_BYTES + END64_BYTES ||
        tsri_get32(zip->file + end - LOCATOR_BYTES) != LOCATOR_MAGIC)
        return corrupt(zip, "no zip64 locator");
    at = tsri_get64(zip->file + end - LOCATOR_BYTES + 8);
    if (at > end - LOCATOR_BYTES - END64_BYTES ||
        tsri_get32(zip->file + at) != END64_MAGIC)
        return corrupt(zip, "no zip64 end record");
    p = zip->file + at;
    zip->count = tsri_get64(p + 32);
    zip->directory_end = tsri_get64(p + 40);
    zip->directory = tsri_get64(p + 48);
    return TSR_OK;
}

static tsr_error read_end(tsri_zip *zip)
{
    const uint8_t *p;
    uint64_t end = 0;

    TSR_TRY(find_end(zip, &end));
    p = zip->file + end;
    zip->count = tsri_get16(p + 10);
    zip->directory_end = tsri_get32(p + 12); /* its size, so far */
    zip->directory = tsri_get32(p + 16);
    if (tsri_get16(p + 4) || tsri_get16(p + 6))
        return corrupt(zip, "it is one of several disks");
    if (zip->count == 0xffff || zip->directory_end == ELSEWHERE ||
        zip->directory == ELSEWHERE)
        TSR_TRY(read_end64(zip, end));
    if (zip->directory > end || zip->directory_end > end - zip->directory)
        return corrupt(zip, "the directory does not lie in the file");
    if (zip->count > zip->directory_end / ENTRY_BYTES ||
        zip->count > MEMBERS_MAX)
        return corrupt(zip, "more members than the directory has room for");
    zip->directory_end += zip->directory;
    return TSR_OK;
}

/* Numbers of an entry that do not fit 32 bits, in this order. */
static bool read_extra64(const uint8_t *p, size_t size, tsri_zip_member *m)
{
    uint64_t *const wanted[] = { &m->bytes, &m->packed, &m->at };

    while (size >= 4) {
        const size_t length = tsri_get16(p + 2);
        if (length > size - 4)
            return false;
        if (tsri_get16(p) == 1) {
            size_t used = 0;
            for (int i = 0; i < 3; i++)
                if (*wanted[i] == ELSEWHERE) {
                    if (used + 8 > length)
                        return false;
                    *wanted[i] = tsri_get64(p + 4 + used);
                    used += 8;
                }
            return true;
        }
        p += 4 + length;
        size -= 4 + length;
    }
    return m->bytes != ELSEWHERE && m->packed != ELSEWHERE &&
           m->at != ELSEWHERE;
}

/* Compares the local header, and finds the data behind it. */
static tsr_error read_local(const tsri_zip *zip, tsri_zip_member *m)
{
    const size_t length = strlen(m->name);
    const uint64_t room = m->at < zip->directory ? zip->directory - m->at : 0;
    const uint8_t *p = zip->file + (room ? m->at : 0);

    if (room < LOCAL_BYTES + length || tsri_get32(p) != LOCAL_MAGIC || tsri_get16(p + 26) != length ||
        memcmp(p + LOCAL_BYTES, m->name, length))
        return corrupt(zip, "a member is not where the directory says");
    m->data = m->at + LOCAL_BYTES + length + tsri_get16(p + 28);
    if (m->data > zip->directory || m->packed > zip->directory - m->data)
        return corrupt(zip, "a member reaches beyond the directory");
    if (!m->deflated && m->packed != m->bytes)
        return corrupt(zip, "a stored member of two sizes");
    if (m->deflated && m->bytes > BOMB_BYTES &&
        m->bytes / BOMB_RATIO > m->packed)
        return tsri_fail(zip->ctx, TSR_E_CORRUPT, "%s: '%s' grows more than %d "
                         "times: a zip bomb", zip->what, m->name, BOMB_RATIO);
    return TSR_OK;
}

/* One entry at *at; *name: where its name is kept. */
static tsr_error read_entry(tsri_zip *zip, uint64_t *at, char **name,
                            tsri_zip_member *m)
{
    const uint8_t *p = zip->file + *at;
    const uint64_t left = zip->directory_end - *at;

    if (left < ENTRY_BYTES || tsri_get32(p) != ENTRY_MAGIC)
        return corrupt(zip, "a bad directory entry");
    const size_t length = tsri_get16(p + 28), extra = tsri_get16(p + 30);
    const size_t whole = ENTRY_BYTES + length + extra + tsri_get16(p + 32);
    const int method = tsri_get16(p + 10);
    if (left < whole || length > NAME_BYTES_MAX ||
        memchr(p + ENTRY_BYTES, 0, length))
        return corrupt(zip, "a bad name");
    memcpy(*name, p + ENTRY_BYTES, length);
    (*name)[length] = 0;
    *m = (tsri_zip_member){
        .name = *name, .crc = tsri_get32(p + 16), .packed = tsri_get32(p + 20),
        .bytes = tsri_get32(p + 24), .at = tsri_get32(p + 42),
        .deflated = method == 8
    };
    *name += length + 1;
    *at += whole;
    if (tsri_get16(p + 8) & 1)
        return tsri_fail(zip->ctx, TSR_E_UNSUPPORTED, "%s: '%s' is encrypted",
                         zip->what, m->name);
    if (method != 0 && method != 8)
        return tsri_fail(zip->ctx, TSR_E_UNSUPPORTED, "%s: '%s' is compressed "
                         "by method %d", zip->what, m->name, method);
    if (!read_extra64(p + ENTRY_BYTES + length, extra, m))
        return corrupt(zip, "a bad zip64 field");
    return read_local(zip, m);
}

static int by_place(const void *a, const void *b)
{
    const tsri_zip_member *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const tsri_zip_member *)a)->name,
                  ((const tsri_zip_member *)b)->name);
}

/* No two members may share a byte (bombs are made so) or a name. */
static tsr_error check_members(tsri_zip *zip)
{
    tsri_zip_member *m = zip->member;
    uint64_t sum = 0;

    for (size_t i = 0; i < zip->count; i++)
        sum += m[i].bytes; /* below 2^64: a hundred times what is packed */
    if (sum > 2 * BOMB_BYTES && sum / BOMB_RATIO_ALL > zip->size)
        return tsri_fail(zip->ctx, TSR_E_CORRUPT, "%s: its members grow more "
                         "than %d times: a zip bomb", zip->what,
                         BOMB_RATIO_ALL);
    qsort(m, zip->count, sizeof *m, by_place);
    for (size_t i = 1; i < zip->count; i++)
        if (m[i].at < m[i - 1].data + m[i - 1].packed)
            return corrupt(zip, "members overlap");
    qsort(m, zip->count, sizeof *m, by_name);
    for (size_t i = 1; i < zip->count; i++)
        if (!strcmp(m[i - 1].name, m[i].name))
            return tsri_fail(zip->ctx, TSR_E_CORRUPT, "%s: two members '%s'",
                             zip->what, m[i].name);
    return TSR_OK;
}

static tsr_error read_directory(tsri_zip *zip)
{
    uint64_t at;
    char *name;

    TSR_TRY(read_end(zip));
    zip->member = tsri_alloc(zip->ctx, zip->count, sizeof *zip->member);
    /* An entry is longer than its name with a 0. */
    zip->names = tsri_alloc(zip->ctx, zip->directory_end - zip->directory, 1);
    if (!zip->member || !zip->names)
        return tsri_nomem(zip->ctx);
    at = zip->directory;
    name = zip->names;
    for (size_t i = 0; i < zip->count; i++)
        TSR_TRY(read_entry(zip, &at, &name, &zip->member[i]));
    return check_members(zip);
}

tsr_error tsri_zip_open(tsri_zip **out, tsr_context *ctx, const uint8_t *file,
                        size_t size, const char *what)
{
    tsri_zip *zip = tsri_calloc(ctx, 1, sizeof *zip);

    *out = zip;
    if (!zip)
        return tsri_nomem(ctx);
    zip->ctx = ctx;
    zip->file = file;
    zip->size = size;
    zip->what = what;
    const tsr_error error = read_directory(zip);
    if (error)
        tsri_zip_close(out);
    return error;
}

void tsri_zip_close(tsri_zip **out)
{
    tsri_zip *zip = out ? *out : NULL;
    if (!zip)
        return;
    tsri_free(zip->ctx, zip->member);
    tsri_free(zip->ctx, zip->names);
    tsri_free(zip->ctx, zip->inflated);
    tsri_free(zip->ctx, zip);
    *out = NULL;
}

size_t tsri_zip_count(const tsri_zip *zip)
{
    return zip->count;
}

const tsri_zip_member *tsri_zip_at(const tsri_zip *zip, size_t i)
{
    return &zip->member[i];
}

const tsri_zip_member *tsri_zip_find(const tsri_zip *zip, const char *name)
{
    const tsri_zip_member key = { .name = name };
    return zip->count ? bsearch(&key, zip->member, zip->count, sizeof key,
                                by_name)
                      : NULL;
}

/* ---- contents ---- */

static voidpf zlib_alloc(voidpf ctx, uInt items, uInt size)
{
    return tsri_alloc(ctx, items, size);
}

static void zlib_free(voidpf ctx, voidpf memory)
{
    tsri_free(ctx, memory);
}

/* zlib counts in unsigned int: in pieces. */
static uInt piece(uint64_t left)
{
    return left > 1u << 30 ? 1u << 30 : (uInt)left;
}

static tsr_error run_inflate(const tsri_zip *zip, const tsri_zip_member *m,
                             uint8_t *out)
{
    uint64_t in_left = m->packed, out_left = m->bytes;
    z_stream z = { .zalloc = zlib_alloc, .zfree = zlib_free,
                   .opaque = zip->ctx };
    int state = Z_OK;

    if (inflateInit2(&z, -MAX_WBITS) != Z_OK)
        return tsri_nomem(zip->ctx);
    z.next_in = (Bytef *)(uintptr_t)(zip->file + m->data);
    z.next_out = out;
    while (state == Z_OK) {
        const uInt in = piece(in_left), room = piece(out_left);
        z.avail_in = in;
        z.avail_out = room;
        state = inflate(&z, Z_NO_FLUSH);
        in_left -= in - z.avail_in;
        out_left -= room - z.avail_out;
    }
    inflateEnd(&z);
    if (state == Z_MEM_ERROR)
        return tsri_nomem(zip->ctx);
    return state == Z_STREAM_END && !in_left && !out_left
               ? TSR_OK : corrupt(zip, "a deflated member does not end where "
                                       "it should");
}

static tsr_error inflate_member(tsri_zip *zip, const tsri_zip_member *m)
{
    if (zip->whose == m)
        return TSR_OK;
    tsri_free(zip->ctx, zip->inflated);
    zip->whose = NULL;
    zip->inflated = tsri_alloc(zip->ctx, m->bytes, 1);
    if (!zip->inflated)
        return tsri_nomem(zip->ctx);
    TSR_TRY(run_inflate(zip, m, zip->inflated));
    zip->whose = m;
    return TSR_OK;
}

static uint32_t crc_of(const uint8_t *data, uint64_t size)
{
    uLong crc = crc32(0, NULL, 0);
    for (uInt n; size; size -= n, data += n) {
        n = piece(size);
        crc = crc32(crc, data, n);
    }
    return (uint32_t)crc;
}

tsr_error tsri_zip_read(tsri_zip *zip, const tsri_zip_member *member,
                        const uint8_t **data)
{
    tsri_zip_member *m = zip->member + (member - zip->member);

    *data = NULL;
    if (m->deflated)
        TSR_TRY(inflate_member(zip, m));
    const uint8_t *at = m->deflated ? zip->inflated : zip->file + m->data;
    if (!m->checked && crc_of(at, m->bytes) != m->crc)
        return tsri_fail(zip->ctx, TSR_E_CHECKSUM, "%s: damaged, the CRC of "
                         "'%s' does not match", zip->what, m->name);
    m->checked = true;
    *data = at;
    return TSR_OK;
}

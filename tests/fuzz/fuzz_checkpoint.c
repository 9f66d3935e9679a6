/* SPDX-License-Identifier: BSD-2-Clause */
/* Checkpoints of anybody's making: a pickle, put into an archive with storages
 * where the first byte says so, a pickle of its own, or a whole file.  Tensors that
 * are found can be read, or are damaged. */
#include "tests/fuzz/fuzz.h"
#include "lib/bytes.h"
#include "lib/checkpoint.h"

enum { LOCAL = 30, ENTRY = 46, END = 22, NAMES = 16, STORAGE = 64 };

/* A stored member without CRC: that of contents "" is 0, so only its directory
 * entry would need one; readers compare, hence zlib's polynomial here. */
static uint32_t crc_of(const uint8_t *data, size_t size)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static size_t add_member(uint8_t *file, size_t at, uint8_t *entry,
                         const char *name, const uint8_t *data, size_t size)
{
    const size_t length = strlen(name);

    memset(file + at, 0, LOCAL);
    tsri_put32(file + at, 0x04034b50);
    tsri_put16(file + at + 26, (uint16_t)length);
    memcpy(file + at + LOCAL, name, length);
    if (size)
        memcpy(file + at + LOCAL + length, data, size);
    memset(entry, 0, ENTRY);
    tsri_put32(entry, 0x02014b50);
    tsri_put32(entry + 16, crc_of(data, size));
    tsri_put32(entry + 20, (uint32_t)size);
    tsri_put32(entry + 24, (uint32_t)size);
    tsri_put16(entry + 28, (uint16_t)length);
    tsri_put32(entry + 42, (uint32_t)at);
    memcpy(entry + ENTRY, name, length);
    return at + LOCAL + length + size;
}

/* The input as the pickle of an archive with a storage "0". */
static uint8_t *wrap(const fuzz_input *in, size_t *size)
{
    static const uint8_t storage[STORAGE] = { 1, 2, 3 };
    uint8_t *file = malloc(in->size + STORAGE + 512), one[128], two[128];
    const size_t first = ENTRY + strlen("a/data.pkl");
    const size_t second = ENTRY + strlen("a/data/0");

    FUZZ_CHECK(file);
    size_t at = add_member(file, 0, one, "a/data.pkl", in->data, in->size);
    at = add_member(file, at, two, "a/data/0", storage, STORAGE);
    const size_t directory = at;
    memcpy(file + at, one, first);
    memcpy(file + at + first, two, second);
    at += first + second;
    memset(file + at, 0, END);
    tsri_put32(file + at, 0x06054b50);
    tsri_put16(file + at + 10, 2);
    tsri_put32(file + at + 12, (uint32_t)(first + second));
    tsri_put32(file + at + 16, (uint32_t)directory);
    *size = at + END;
    return file;
}

static void read_all(tsri_checkpoint *cp)
{
    uint32_t sum = 0;
    char text[64];

    for (size_t i = 0; i < tsri_checkpoint_count(cp); i++) {
        const tsr_tensor *t = tsri_checkpoint_at(cp, i);
        const void *data;
        FUZZ_CHECK(tsri_checkpoint_find(cp, t->name) == i);
        FUZZ_CHECK(t->bytes <= 32u << 20);
        const tsr_error error = tsri_checkpoint_data(cp, i, &data);
        FUZZ_CHECK(!error || error == TSR_E_CHECKSUM ||
                   error == TSR_E_CORRUPT);
        for (size_t k = 0; !error && k < t->bytes; k++)
            sum += ((const uint8_t *)data)[k];
    }
    for (size_t i = 0; i < tsri_checkpoint_values(cp); i++)
        tsri_checkpoint_text(cp, tsri_checkpoint_value_at(cp, i), text,
                             sizeof text);
    FUZZ_CHECK(sum + 1 || !sum); /* so that the sum is needed */
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    const int mode = fuzz_u8(&in) & 3;
    const bool pickle = mode & 1;
    size_t bytes = in.size;
    uint8_t *file = pickle ? wrap(&in, &bytes) : fuzz_copy(&in);
    uint8_t digest[32];
    tsri_checkpoint *cp;

    const tsr_error error =
        (mode == 2 ? tsri_checkpoint_open_pickle : tsri_checkpoint_open_memory)(
            &cp, fuzz_context(false), file, bytes, "input");
    FUZZ_CHECK(!cp == !!error);
    if (!error) {
        tsri_checkpoint_digest(cp, digest);
        read_all(cp);
    }
    tsri_checkpoint_close(&cp);
    free(file);
}

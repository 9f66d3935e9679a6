/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads a .npy file (version 1, little-endian, C order) of a test vector.  A
 * file that cannot be read fails the test. */
#ifndef TSR_TESTS_NPY_H
#define TSR_TESTS_NPY_H
#include "tests/check.h"

typedef struct check_npy {
    char type[8];    /**< "f4", "f8", "i4", "i8", "i2", "u1", "u2", ... */
    int rank;        /**< 0..8 */
    size_t shape[8];
    size_t count;    /**< elements */
    void *data;      /**< free() it */
} check_npy;

/** Bytes of a file of the source tree; free() them. */
static inline uint8_t *check_file(const char *name, size_t *size)
{
    FILE *file = fopen(check_path(name), "rb");
    uint8_t *bytes = NULL;
    size_t room = 0, n = 0, got;

    if (!file)
        fail_msg("cannot open %s", name);
    do {
        room = room ? 2 * room : 4096;
        bytes = realloc(bytes, room);
        assert_non_null(bytes);
        got = fread(bytes + n, 1, room - n, file);
        n += got;
    } while (n == room);
    fclose(file);
    *size = n;
    return bytes;
}

static inline check_npy check_npy_read(const char *name)
{
    check_npy a = { .count = 1 };
    size_t size, head;
    uint8_t *bytes = check_file(name, &size);
    char text[4096], *p;

    assert_true(size > 10 && !memcmp(bytes, "\x93NUMPY\x01", 7));
    head = bytes[8] | (size_t)bytes[9] << 8;
    assert_true(head < sizeof text && head + 10 <= size);
    memcpy(text, bytes + 10, head);
    text[head] = 0;
    assert_non_null(strstr(text, "'fortran_order': False"));
    p = strstr(text, "'descr': '");
    assert_non_null(p);
    assert_true(p[10] == '<' || p[10] == '|');
    assert_int_equal(sscanf(p + 11, "%7[a-z0-9]", a.type), 1);
    p = strstr(text, "'shape': (");
    assert_non_null(p);
    for (p += 10; *p && *p != ')' && a.rank < 8;)
        if (*p >= '0' && *p <= '9')
            a.count *= a.shape[a.rank++] = strtoul(p, &p, 10);
        else
            p++;
    assert_int_equal(size - 10 - head, a.count * (size_t)(a.type[1] - '0'));
    memmove(bytes, bytes + 10 + head, size - 10 - head);
    a.data = bytes;
    return a;
}

/** Data of an array that must have this type ("f4"). */
static inline void *check_npy_as(const check_npy *a, const char *type)
{
    assert_string_equal(a->type, type);
    return a->data;
}
#endif

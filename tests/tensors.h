/* SPDX-License-Identifier: BSD-2-Clause */
/* Model files made by tests: a list of tensors, changed at will, written as
 * safetensors; and the weights of test vectors whose weights are generated. */
#ifndef TSR_TESTS_TENSORS_H
#define TSR_TESTS_TENSORS_H
#include <inttypes.h>
#include <stdbool.h>
#include "tests/npy.h"
#include "lib/bytes.h"
#include "lib/sha256.h"

enum { CHECK_NAME = 128 };

typedef struct check_tensor {
    char name[CHECK_NAME];
    char dtype[8];              /**< "F32", "F16", "U32", ... */
    int rank;
    uint64_t dims[8];
    size_t bytes;
    void *data;                 /**< owned by the list */
} check_tensor;

typedef struct check_tensors {
    check_tensor *tensor;
    size_t count;
} check_tensors;

/** sprintf() for names of tensors. */
__attribute__((format(printf, 2, 3)))
static inline char *check_name(char name[CHECK_NAME], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(name, CHECK_NAME, format, args);
    va_end(args);
    assert_in_range(n, 1, CHECK_NAME - 1);
    return name;
}

static inline size_t check_dims(int rank, const uint64_t *dims)
{
    size_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= (size_t)dims[i];
    return n;
}

/** Appends a tensor; its data, not yet set, are count * size bytes. */
static inline void *check_tensors_add(check_tensors *list, const char *name,
                                      const char *dtype, size_t size, int rank,
                                      const uint64_t *dims)
{
    list->tensor = realloc(list->tensor,
                           (list->count + 1) * sizeof *list->tensor);
    assert_non_null(list->tensor);
    check_tensor *t = &list->tensor[list->count++];
    *t = (check_tensor){ .rank = rank };
    check_name(t->name, "%s", name);
    memcpy(t->dtype, dtype, strlen(dtype) + 1);
    memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
    t->bytes = check_dims(rank, dims) * size;
    t->data = malloc(t->bytes ? t->bytes : 1);
    assert_non_null(t->data);
    return t->data;
}

static inline check_tensor *check_tensors_find(const check_tensors *list,
                                               const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (!strcmp(list->tensor[i].name, name))
            return &list->tensor[i];
    return NULL;
}

static inline void check_tensors_free(check_tensors *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->tensor[i].data);
    free(list->tensor);
    *list = (check_tensors){ NULL, 0 };
}

static inline int check_by_name(const void *a, const void *b)
{
    return strcmp(((const check_tensor *)a)->name,
                  ((const check_tensor *)b)->name);
}

/** Writes all tensors but number `skip` (SIZE_MAX: none), sorted by name.
 *  meta: members of __metadata__ as JSON text, or NULL. */
static inline void check_tensors_write(check_tensors *list, size_t skip,
                                       const char *meta, const char *path)
{
    char *head = malloc(256 * (list->count + 2) + (meta ? strlen(meta) : 0));
    size_t at = 0, offset = 0;
    uint8_t length[8];
    FILE *f = fopen(path, "wb");

    assert_true(head && f);
    at += (size_t)sprintf(head, "{\"__metadata__\":{%s}", meta ? meta : "");
    for (size_t i = 0; i < list->count; i++) {
        const check_tensor *t = &list->tensor[i];
        if (i == skip)
            continue;
        at += (size_t)sprintf(head + at, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[",
                              t->name, t->dtype);
        for (int d = 0; d < t->rank; d++)
            at += (size_t)sprintf(head + at, "%s%" PRIu64, d ? "," : "",
                                  t->dims[d]);
        at += (size_t)sprintf(head + at, "],\"data_offsets\":[%zu,%zu]}",
                              offset, offset + t->bytes);
        offset += t->bytes;
    }
    at += (size_t)sprintf(head + at, "}");
    tsri_put64(length, at);
    fwrite(length, 1, 8, f);
    fwrite(head, 1, at, f);
    for (size_t i = 0; i < list->count; i++)
        if (i != skip)
            fwrite(list->tensor[i].data, 1, list->tensor[i].bytes, f);
    assert_int_equal(fclose(f), 0);
    free(head);
}

/* ---- generated weights: the rules of the test vectors ---- */

static inline uint64_t check_mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
}

/** Where the stream of tensor `name` starts: the seed xor the name's FNV-1a
 *  hash; element i is check_mix(start + (i + 1) * golden ratio). */
static inline uint64_t check_stream(uint64_t seed, const char *name)
{
    uint64_t h = 0xCBF29CE484222325;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 0x100000001B3;
    return seed ^ h;
}

/** The number after "key": in a line of JSON; `none` without it. */
static inline double check_field(const char *line, const char *key, double none)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(line, quoted);
    return at ? strtod(at + strlen(quoted), NULL) : none;
}

/** The same of a list: its number i; every one, where it is no list. */
static inline double check_item(const char *line, const char *key, size_t i,
                                double none)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":[", key);
    const char *at = strstr(line, quoted);
    if (!at)
        return check_field(line, key, none);
    for (at += strlen(quoted); i > 0; i--)
        at = strchr(at, ',') + 1;
    return strtod(at, NULL);
}

/** The string after "key":" in a line of JSON; must be there. */
static inline void check_text(const char *line, const char *key, char *out,
                              size_t size)
{
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":\"", key);
    const char *at = strstr(line, quoted);
    assert_non_null(at);
    at += strlen(quoted);
    snprintf(out, size, "%.*s", (int)strcspn(at, "\""), at);
}

/** A rule: value = f(random) * scale + add, or a constant. */
typedef struct check_rule {
    char kind[16];
    double scale, add, diagonal;
} check_rule;

static inline check_rule check_rule_read(const char *line)
{
    check_rule rule;
    check_text(line, "rule", rule.kind, sizeof rule.kind);
    const bool uniform = !strcmp(rule.kind, "uniform");
    const double lo = check_field(line, "lo", 0);
    rule.scale = uniform ? check_field(line, "hi", 0) - lo
                         : check_field(line, "scale", 1);
    rule.add = uniform ? lo : check_field(line, "loc", 0);
    if (!strcmp(rule.kind, "pow6"))
        rule.add = check_field(line, "add", 0);
    if (!strcmp(rule.kind, "const"))
        rule.add = check_field(line, "value", 0);
    rule.diagonal = check_field(line, "diag", 0);
    return rule;
}

static inline float check_value(const check_rule *rule, uint64_t r,
                                bool diagonal)
{
    const double u = (double)(r >> 11) * 0x1p-53;
    const int64_t s = (int64_t)((r & 0xffff) + (r >> 16 & 0xffff) +
                                (r >> 32 & 0xffff) + (r >> 48)) - 131070;
    switch (*rule->kind) {
    case 'c': return (float)rule->add;
    case 'n': return (float)((double)s / 37837.0 * rule->scale + rule->add);
    case 'p': return (float)(u * u * u * u * u * u + rule->add);
    default:
        return (float)(u * rule->scale + rule->add +
                       (diagonal ? rule->diagonal : 0));
    }
}

/** The tensor of one line of a weights_spec.json; stored ones are zero. */
static inline void check_generate(check_tensors *list, uint64_t seed,
                                  const char *line)
{
    const check_rule rule = check_rule_read(line);
    char name[CHECK_NAME], of[CHECK_NAME];
    uint64_t dims[8];
    int rank = 0;

    check_text(line, "key", name, sizeof name);
    const char *at = strstr(line, "\"shape\":");
    assert_non_null(at);
    for (at += at[9] == ']' ? 9 : 8; *at != ']'; rank++)
        dims[rank] = strtoull(at + 1, (char **)&at, 10);
    const bool whole = strstr(line, "\"dtype\":\"I32\"") != NULL;
    float *to = check_tensors_add(list, name, whole ? "I32" : "F32", 4, rank,
                                  dims);
    const size_t n = check_dims(rank, dims);
    const size_t columns = rank == 2 ? (size_t)dims[1] : SIZE_MAX;
    memset(to, 0, n * sizeof *to);
    if (!strcmp(rule.kind, "stored"))
        return;
    if (whole) {
        const int32_t value = (int32_t)rule.add; /* one, a constant */
        memcpy(to, &value, sizeof value);
        return;
    }
    if (!strcmp(rule.kind, "alias")) {
        check_text(line, "of", of, sizeof of);
        memcpy(to, check_tensors_find(list, of)->data, n * sizeof *to);
        return;
    }
    uint64_t r = check_stream(seed, name);
    check_rule each = rule;
    /* Lists run along the first axis. */
    const bool lists = strstr(line, "\"scale\":[") || strstr(line, "\"loc\":[");
    for (size_t i = 0; i < n; i++) {
        if (lists && i % (n / (size_t)dims[0]) == 0) {
            each.scale = check_item(line, "scale", i / (n / (size_t)dims[0]), 1);
            each.add = check_item(line, "loc", i / (n / (size_t)dims[0]), 0);
        }
        r += 0x9E3779B97F4A7C15;
        to[i] = check_value(&each, check_mix(r),
                            rank == 2 && i / columns == i % columns);
    }
}

/** SHA-256 over names, a 0 byte and data, in order of names. */
static inline void check_digest(check_tensors *list, char hex[65])
{
    uint8_t digest[32];
    tsri_sha256 s;

    qsort(list->tensor, list->count, sizeof *list->tensor, check_by_name);
    tsri_sha256_start(&s);
    for (size_t i = 0; i < list->count; i++) {
        const check_tensor *t = &list->tensor[i];
        tsri_sha256_add(&s, t->name, strlen(t->name) + 1);
        tsri_sha256_add(&s, t->data, t->bytes);
    }
    tsri_sha256_end(&s, digest);
    for (int i = 0; i < 32; i++)
        sprintf(hex + 2 * i, "%02x", digest[i]);
}
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* .npy: "\x93NUMPY", a version, the length of a header, the header (a Python
 * dictionary literal of descr, fortran_order and shape), the elements.  .npz: a
 * zip of such files. */
#include <stdio.h>
#include <string.h>
#include "lib/bytes.h"
#include "lib/checkpoint_impl.h"

enum { MAGIC_BYTES = 6, HEAD_MAX = 1 << 16 };

/* A cursor over the header. */
typedef struct text {
    const char *at, *end;
} text;

static void skip_space(text *t)
{
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\n'))
        t->at++;
}

static bool take(text *t, char c)
{
    skip_space(t);
    if (t->at == t->end || *t->at != c)
        return false;
    t->at++;
    return true;
}

static bool take_word(text *t, const char *word)
{
    const size_t n = strlen(word);
    skip_space(t);
    if ((size_t)(t->end - t->at) < n || memcmp(t->at, word, n))
        return false;
    t->at += n;
    return true;
}

/* A string in quotes, of less than `size` bytes, without escapes. */
static bool take_string(text *t, char *out, size_t size)
{
    size_t n = 0;
    skip_space(t);
    const char quote = t->at < t->end ? *t->at : 0;

    if (quote != '\'' && quote != '"')
        return false;
    for (t->at++; t->at < t->end && *t->at != quote && n + 1 < size; n++)
        out[n] = *t->at++;
    out[n] = 0;
    return t->at < t->end && *t->at++ == quote;
}

static bool take_number(text *t, uint64_t *out)
{
    skip_space(t);
    const char *start = t->at;

    for (*out = 0; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++)
        if (__builtin_mul_overflow(*out, (uint64_t)10, out) ||
            __builtin_add_overflow(*out, (uint64_t)(*t->at - '0'), out))
            return false;
    return t->at > start;
}

static bool take_shape(text *t, tsri_tensor_spec *spec)
{
    if (!take(t, '('))
        return false;
    for (spec->rank = 0; !take(t, ')'); spec->rank++) {
        if (spec->rank == TSR_TENSOR_MAX_DIMS ||
            !take_number(t, &spec->dims[spec->rank]))
            return false;
        if (!take(t, ','))
            return spec->rank++, take(t, ')');
    }
    return true;
}

/* "<f4" and so on; big-endian ones and others are 0. */
static tsr_dtype find_type(const char *descr)
{
    static const struct { char name[4]; tsr_dtype dtype; } types[] = {
        { "<f4", TSR_F32 }, { "<f2", TSR_F16 }, { "<f8", TSR_F64 },
        { "|i1", TSR_I8 }, { "<i2", TSR_I16 }, { "<i4", TSR_I32 },
        { "<i8", TSR_I64 }, { "|u1", TSR_U8 }, { "<u2", TSR_U16 },
        { "<u4", TSR_U32 }, { "<u8", TSR_U64 }, { "|b1", TSR_BOOL },
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strncmp(descr, types[i].name, 4))
            return types[i].dtype;
    return 0;
}

static bool read_head(text *t, tsri_tensor_spec *spec, char *descr, size_t size)
{
    char key[16];
    bool fortran = false;
    int seen = 0;

    if (!take(t, '{'))
        return false;
    while (!take(t, '}')) {
        if (!take_string(t, key, sizeof key) || !take(t, ':'))
            return false;
        if (!strcmp(key, "descr") && take_string(t, descr, size))
            seen |= 1;
        else if (!strcmp(key, "shape") && take_shape(t, spec))
            seen |= 2;
        else if (!strcmp(key, "fortran_order") &&
                 ((fortran = take_word(t, "True")) || take_word(t, "False")))
            seen |= 4;
        else
            return false;
        take(t, ',');
    }
    tsri_spec_order(spec, fortran);
    return seen == 7;
}

/* A .npy file of `size` bytes; spec->name and what storage is in are set. */
static tsr_error read_array(tsri_checkpoint *cp, tsri_tensor_spec *spec,
                            const uint8_t *file, uint64_t size)
{
    const size_t number = size > MAGIC_BYTES && file[MAGIC_BYTES] > 1 ? 4 : 2;
    const uint64_t before = MAGIC_BYTES + 2 + number;
    char descr[16];

    if (size < before || memcmp(file, "\x93NUMPY", MAGIC_BYTES))
        return tsri_fail(cp->ctx, TSR_E_FORMAT, "%s: '%s' is no .npy array",
                         cp->path, spec->name);
    const uint64_t head = number == 2 ? tsri_get16(file + MAGIC_BYTES + 2)
                                      : tsri_get32(file + MAGIC_BYTES + 2);
    if (head > HEAD_MAX || head > size - before)
        return tsri_fail(cp->ctx, TSR_E_TRUNCATED, "%s: '%s' is cut in its "
                         "header", cp->path, spec->name);
    text t = { (const char *)file + before, (const char *)file + before + head };
    if (!read_head(&t, spec, descr, sizeof descr))
        return tsri_fail(cp->ctx, TSR_E_CORRUPT, "%s: the header of '%s' is "
                         "not understood", cp->path, spec->name);
    spec->dtype = find_type(descr);
    if (!spec->dtype)
        return tsri_fail(cp->ctx, TSR_E_UNSUPPORTED, "%s: '%s' has numbers of "
                         "type '%s'", cp->path, spec->name, descr);
    spec->storage.at = before + head;
    spec->storage.count = (size - before - head) / tsr_dtype_bytes(spec->dtype);
    return tsri_checkpoint_add(cp, spec);
}

tsr_error tsri_checkpoint_npy(tsri_checkpoint *cp)
{
    tsri_tensor_spec spec = { .name = "(root)", .storage.memory = cp->file };

    cp->kind = "npy";
    return read_array(cp, &spec, cp->file, cp->size);
}

tsr_error tsri_checkpoint_npz(tsri_checkpoint *cp)
{
    cp->kind = "npz";
    for (size_t i = 0; i < tsri_zip_count(cp->zip); i++) {
        const tsri_zip_member *member = tsri_zip_at(cp->zip, i);
        const size_t n = strlen(member->name);
        char name[TSRI_CHECKPOINT_NAME];
        const uint8_t *file;

        if (n < 5 || strcmp(member->name + n - 4, ".npy"))
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(n - 4), member->name);
        tsri_tensor_spec spec = { .name = name, .storage.member = member };
        TSR_TRY(tsri_zip_read(cp->zip, member, &file));
        TSR_TRY(read_array(cp, &spec, file, member->bytes));
    }
    return TSR_OK;
}

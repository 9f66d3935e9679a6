/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/vq.h>
#include "tools/io/array.h"
#include "tools/say.h"

enum { HEAD_MAX = 65535, STEP = 1 << 20 };

/* Elements; far beyond what fits, and no product of it overflows. */
static const uint64_t max_count = (uint64_t)1 << 40;

static const struct { const char *descr; tsr_dtype dtype; } types[] = {
    { "<f4", TSR_F32 }, { "<f8", TSR_F64 }, { "<f2", TSR_F16 },
    { "|u1", TSR_U8 }, { "|i1", TSR_I8 }, { "<u2", TSR_U16 },
    { "<i2", TSR_I16 }, { "<u4", TSR_U32 }, { "<i4", TSR_I32 },
    { "<u8", TSR_U64 }, { "<i8", TSR_I64 },
};

static int damaged(const array *a, const char *what)
{
    return a->in.fault ? input_failed(&a->in)
                       : say_error(RC_INPUT, a->in.name, "%s", what);
}

/* The shape behind `text`: "(12, 3), ...". */
static int read_shape(array *a, const char *text)
{
    a->count = 1;
    while (*text && *text != ')') {
        char *end;
        if (*text == ' ' || *text == ',' || *text == '(') {
            text++;
            continue;
        }
        if (*text < '0' || *text > '9' || a->rank == TSR_TENSOR_MAX_DIMS)
            return damaged(a, "the .npy header has no valid shape");
        a->dims[a->rank] = strtoull(text, &end, 10);
        if (a->dims[a->rank] > max_count / (a->count ? a->count : 1))
            return damaged(a, "is too large");
        a->count *= a->dims[a->rank++];
        text = end;
    }
    return *text ? RC_OK : damaged(a, "the .npy header has no valid shape");
}

static int read_header(array *a, const char *head)
{
    const char *descr = strstr(head, "'descr':");
    const char *shape = strstr(head, "'shape':");

    if (!descr || !shape || !strstr(head, "'fortran_order':"))
        return damaged(a, "the .npy header is damaged");
    if (strstr(head, "'fortran_order': True"))
        return say_error(RC_INPUT, a->in.name, "is in Fortran order; C order"
                         " is read");
    descr += strlen("'descr':");
    descr += strspn(descr, " '");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strncmp(descr, types[i].descr, 3) && descr[3] == '\'')
            a->dtype = types[i].dtype;
    if (!a->dtype)
        return say_error(RC_INPUT, a->in.name, "numbers of type %.*s are not"
                         " read", (int)strcspn(descr, "'},"), descr);
    return read_shape(a, shape + strlen("'shape':"));
}

/* Memory grows with what is there, not with what the header says. */
static int read_data(array *a)
{
    const uint64_t want = a->count * tsr_dtype_bytes(a->dtype);
    uint64_t room = 0, got = 0;

    while (got < want || !a->bytes) {
        room = room ? 2 * room : STEP;
        if (room > want)
            room = want ? want : 1;
        uint8_t *more = realloc(a->bytes, room);
        if (!more)
            return say_error(RC_MACHINE, a->in.name, "out of memory");
        a->bytes = more;
        const size_t n = want ? input_read(&a->in, more + got, room - got) : 0;
        got += n;
        if (got < room && want)
            return damaged(a, "is cut short");
    }
    a->data = a->bytes;
    return RC_OK;
}

static int read_npy(array *a)
{
    uint8_t start[12];
    char head[HEAD_MAX + 1];
    size_t size;
    int rc;

    if (input_read(&a->in, start, 10) != 10)
        return damaged(a, "is cut short");
    size = start[8] | (size_t)start[9] << 8;
    if (start[6] != 1) {
        if (start[6] > 3 || input_read(&a->in, start + 10, 2) != 2)
            return damaged(a, "is a .npy file of an unknown version");
        size |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
    }
    if (size > HEAD_MAX || input_read(&a->in, head, size) != size)
        return damaged(a, "the .npy header is damaged");
    head[size] = 0;
    rc = read_header(a, head);
    return rc ? rc : read_data(a);
}

static int read_tensor(array *a, tsr_context *ctx, const char *path,
                       const char *name)
{
    const tsr_tensor *t;
    const tsr_error error = tsr_model_open(&a->model, ctx, path);

    if (error)
        return say_failure(path, error);
    t = tsr_model_tensor(a->model, name);
    if (!t)
        return say_error(RC_INPUT, path, "no tensor '%s'", name);
    a->data = t->data;
    a->dtype = t->dtype;
    a->rank = t->rank;
    memcpy(a->dims, t->dims, sizeof a->dims);
    a->count = t->bytes / tsr_dtype_bytes(t->dtype);
    return RC_OK;
}

static int ends_in(const char *path, const char *end)
{
    const size_t n = strlen(path), m = strlen(end);
    return n >= m && !strcmp(path + n - m, end);
}

static int take(array *a)
{
    if (a->in.head_size < 6 || memcmp(a->in.head, "\x93NUMPY", 6))
        return say_error(RC_INPUT, a->in.name, "is neither .npy nor"
                         " .safetensors");
    return read_npy(a);
}

int array_take(array *a, input *in)
{
    *a = (array){ .in = *in };
    in->file = NULL;
    return take(a);
}

int array_open(array *a, tsr_context *ctx, const char *path,
               const char *tensor)
{
    int rc;

    *a = (array){ .rank = 0 };
    rc = input_open(&a->in, path);
    if (rc)
        return rc;
    if (ends_in(path, ".safetensors"))
        return tensor ? read_tensor(a, ctx, path, tensor)
                      : say_error(RC_USAGE, path, "-tensor NAME says which"
                                  " one");
    return take(a);
}

void array_close(array *a)
{
    input_close(&a->in);
    tsr_model_unref(&a->model);
    free(a->bytes);
    a->bytes = NULL;
}

static uint64_t bits_at(const uint8_t *p, size_t bytes)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < bytes; i++)
        bits |= (uint64_t)p[i] << 8 * i;
    return bits;
}

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float from_half(uint32_t half)
{
    const uint32_t exponent = half >> 10 & 31, mantissa = half & 1023;
    const float size = exponent == 31 ? (mantissa ? NAN : INFINITY)
        : exponent ? ldexpf((float)(mantissa | 1024), (int)exponent - 25)
                   : ldexpf((float)mantissa, -24);
    return half >> 15 ? -size : size;
}

static float float_at(const uint8_t *p, tsr_dtype dtype)
{
    const uint64_t bits = bits_at(p, tsr_dtype_bytes(dtype));
    double wide;

    switch (dtype) {
    case TSR_F32: return from_bits((uint32_t)bits);
    case TSR_F16: return from_half((uint32_t)bits);
    case TSR_BF16: return from_bits((uint32_t)bits << 16);
    default:
        memcpy(&wide, &bits, sizeof wide);
        return (float)wide;
    }
}

int array_floats(const array *a, float **out, size_t *rows, int *dim)
{
    const size_t step = tsr_dtype_bytes(a->dtype);

    *out = NULL;
    if (a->dtype > TSR_F64)
        return say_error(RC_INPUT, a->in.name, "holds %s, not floats",
                         tsr_dtype_name(a->dtype));
    if (a->rank < 2 || a->count == 0 ||
        a->dims[a->rank - 1] > TSR_VQ_MAX_DIM)
        return say_error(RC_INPUT, a->in.name, "vectors are rows of an array of"
                         " two dimensions, of 1 to %d numbers", TSR_VQ_MAX_DIM);
    *dim = (int)a->dims[a->rank - 1];
    *rows = (size_t)(a->count / (uint64_t)*dim);
    *out = malloc(a->count * sizeof **out);
    if (!*out)
        return say_error(RC_MACHINE, a->in.name, "out of memory");
    for (uint64_t i = 0; i < a->count; i++)
        (*out)[i] = float_at(a->data + i * step, a->dtype);
    return RC_OK;
}

/* Type by type: the whole number at p; what is beyond 63 bits is below 0. */
static int64_t whole_at(const uint8_t *p, tsr_dtype dtype)
{
    const size_t bytes = tsr_dtype_bytes(dtype);
    const int is_signed = dtype == TSR_I8 || dtype == TSR_I16 ||
                          dtype == TSR_I32;
    const uint64_t bits = bits_at(p, bytes);
    const uint64_t sign = (uint64_t)1 << (8 * bytes - 1);
    return is_signed && bits & sign ? (int64_t)bits - 2 * (int64_t)sign
                                    : (int64_t)bits;
}

int array_codes(const array *a, int32_t least, int32_t **out, size_t *n)
{
    const size_t step = tsr_dtype_bytes(a->dtype);

    *out = NULL;
    if (a->dtype < TSR_U8 || a->dtype > TSR_I64)
        return say_error(RC_INPUT, a->in.name, "holds %s, not indices",
                         tsr_dtype_name(a->dtype));
    *out = malloc(a->count ? a->count * sizeof **out : 1);
    if (!*out)
        return say_error(RC_MACHINE, a->in.name, "out of memory");
    *n = (size_t)a->count;
    for (uint64_t i = 0; i < a->count; i++) {
        const int64_t whole = whole_at(a->data + i * step, a->dtype);
        if (whole < least || whole > INT32_MAX ||
            (whole < 0 && a->dtype == TSR_U64))
            return say_error(RC_INPUT, a->in.name, "number %llu is no index",
                             (unsigned long long)i);
        (*out)[i] = (int32_t)whole;
    }
    return RC_OK;
}

void array_write_head(output *out, const char *descr, const uint64_t *dims,
                      int rank)
{
    char head[128], shape[80];
    int n = 0;

    for (int i = 0; i < rank; i++)
        n += snprintf(shape + n, sizeof shape - (size_t)n, "%s%llu",
                      i ? ", " : "", (unsigned long long)dims[i]);
    if (rank == 1)
        snprintf(shape + n, sizeof shape - (size_t)n, ",");
    memset(head, ' ', sizeof head);
    memcpy(head, "\x93NUMPY\x01\0\x76", 10);
    head[10 + snprintf(head + 10, sizeof head - 10, "{'descr': '%s',"
                       " 'fortran_order': False, 'shape': (%s), }", descr,
                       shape)] = ' ';
    head[sizeof head - 1] = '\n';
    output_write(out, head, sizeof head);
}

void array_write_codes(output *out, int bytes, const int32_t *codes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t)codes[i];
        const uint8_t all[4] = { (uint8_t)bits, (uint8_t)(bits >> 8),
                                 (uint8_t)(bits >> 16), (uint8_t)(bits >> 24) };
        if (output_write(out, all, (size_t)bytes))
            return;
    }
}

void array_write(output *out, const char *descr, size_t rows, int cols,
                 const void *data)
{
    const uint64_t dims[] = { rows, (uint64_t)cols };
    const size_t count = rows * (size_t)(cols ? cols : 1);
    const uint8_t *from = data;

    array_write_head(out, descr, dims, cols ? 2 : 1);
    for (size_t i = 0; i < count; i++, from += 4) {
        uint32_t bits;
        memcpy(&bits, from, sizeof bits);
        const uint8_t bytes[4] = { (uint8_t)bits, (uint8_t)(bits >> 8),
                                   (uint8_t)(bits >> 16),
                                   (uint8_t)(bits >> 24) };
        if (output_write(out, bytes, sizeof bytes))
            return;
    }
}

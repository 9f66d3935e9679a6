/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/kv/cache.h"
#include "tools/kv/layout.h"
#include "tools/say.h"

static const struct {
    tsr_kv_dtype kv;
    tsr_dtype tensor;
    const char *name, *safetensors, *npy;
} types[] = {
    { TSR_KV_F16, TSR_F16, "f16", "F16", "<f2" },
    { TSR_KV_BF16, TSR_BF16, "bf16", "BF16", "<u2" },
    { TSR_KV_F32, TSR_F32, "f32", "F32", "<f4" },
    { TSR_KV_E4M3, TSR_U8, "e4m3", "U8", "|u1" },
    { TSR_KV_E5M2, TSR_U8, "e5m2", "U8", "|u1" },
};
enum { TYPES = sizeof types / sizeof *types };

static int find_type(tsr_kv_dtype dtype)
{
    for (int i = 0; i < TYPES; i++)
        if (types[i].kv == dtype)
            return i;
    return 0;
}

const char *cache_dtype_name(tsr_kv_dtype dtype)
{
    return types[find_type(dtype)].name;
}

size_t cache_element(tsr_kv_dtype dtype)
{
    return tsr_dtype_bytes(types[find_type(dtype)].tensor);
}

uint64_t cache_bytes(const cache *c)
{
    uint64_t channels = 0;
    for (int p = 0; p < c->shape.planes; p++)
        channels += (uint64_t)c->shape.heads[p] * (uint64_t)c->shape.dim[p];
    return channels * (uint64_t)c->shape.layers * c->view.tokens *
        cache_element(c->view.dtype);
}

static int no_memory(const cache *c)
{
    return say_error(RC_MACHINE, c->name, "out of memory");
}

/* The kind of number: what -dtype says, else what the file does. */
static int choose_type(cache *c, const args *a, tsr_dtype found)
{
    for (int i = 0; i < TYPES; i++)
        if (a->dtype ? !strcmp(a->dtype, types[i].name)
                     : types[i].tensor == found) {
            c->view.dtype = types[i].kv;
            if (!found || tsr_dtype_bytes(found) ==
                              tsr_dtype_bytes(types[i].tensor))
                return RC_OK;
            return say_error(RC_INPUT, c->name, "its elements have %zu bytes;"
                             " -dtype %s has %zu", tsr_dtype_bytes(found),
                             types[i].name, tsr_dtype_bytes(types[i].tensor));
        }
    return a->dtype ? say_error(RC_USAGE, NULL, "-dtype %s: use f16, bf16, f32,"
                                " e4m3 or e5m2", a->dtype)
                    : say_error(RC_INPUT, c->name, "elements of type %s are no"
                                " cache; -dtype says what they are",
                                tsr_dtype_name(found));
}

static int make_base(cache *c)
{
    const size_t n = (size_t)c->shape.layers * (size_t)c->shape.planes;
    c->base = calloc(n, sizeof *c->base);
    c->view.base = c->base;
    return c->base ? RC_OK : no_memory(c);
}

/* Points the view into an array of layout y. */
static int point(cache *c, const layout *y, const uint8_t *data)
{
    const size_t e = cache_element(c->view.dtype);
    const int joined = !layout_step(y, 'D');
    const int rc = make_base(c);

    if (rc)
        return rc;
    for (int l = 0; l < c->shape.layers; l++)
        for (int p = 0; p < c->shape.planes; p++)
            c->base[l * c->shape.planes + p] = (void *)(uintptr_t)(data + e *
                ((size_t)l * layout_step(y, 'L') +
                 (size_t)p * layout_step(y, '2')));
    c->view.token_stride = (ptrdiff_t)(e * layout_step(y, 'T'));
    c->view.head_stride = (ptrdiff_t)(e * (joined ? (size_t)c->shape.dim[0]
                                                  : layout_step(y, 'H')));
    return RC_OK;
}

/* Elements must be aligned; safetensors files need not be. */
static int align(cache *c, const uint8_t **data, size_t bytes)
{
    if ((uintptr_t)*data % cache_element(c->view.dtype) == 0)
        return RC_OK;
    c->own = malloc(bytes ? bytes : 1);
    if (!c->own)
        return no_memory(c);
    memcpy(c->own, *data, bytes);
    *data = c->own;
    return RC_OK;
}

static int from_array(cache *c, const args *a, layout *y, const uint8_t *data,
                      uint64_t count)
{
    uint64_t tokens;
    if (!layout_shape(y, a->heads ? a->heads : 1, &c->shape, &tokens))
        return say_error(RC_INPUT, c->name, "its dimensions are no cache in the"
                         " layout %s", a->layout);
    const int rc = align(c, &data, count * cache_element(c->view.dtype));
    c->view.tokens = tokens;
    return rc ? rc : point(c, y, data);
}

/* One array of all layers: -layout names its dimensions. */
static int open_array(cache *c, const args *a)
{
    layout y;
    int rc;

    if (!a->layout)
        return say_error(RC_USAGE, c->name, "-layout says what its dimensions"
                         " are, as in -layout 2LTHD");
    if (!layout_parse(&y, a->layout))
        return say_error(RC_USAGE, NULL, "-layout %s: letters of 2LTHDC, each"
                         " once, D or C last", a->layout);
    if (c->file.rank != y.rank)
        return say_error(RC_INPUT, c->name, "has %d dimensions, -layout %s has"
                         " %d", c->file.rank, a->layout, y.rank);
    memcpy(y.dims, c->file.dims, sizeof y.dims);
    rc = choose_type(c, a, c->file.dtype);
    return rc ? rc : from_array(c, a, &y, c->file.data, c->file.count);
}

/* Dims as 32x2x8: NULL behind the end where they are none. */
static int parse_dims(const char *text, layout *y)
{
    int n = 0;
    while (n < LAYOUT_MAX && *text >= '0' && *text <= '9') {
        char *end;
        y->dims[n++] = strtoull(text, &end, 10);
        text = end + (*end == 'x');
    }
    return !*text && n == y->rank;
}

static int read_all(cache *c, uint64_t bytes)
{
    c->own = malloc(bytes ? bytes : 1);
    if (!c->own)
        return no_memory(c);
    if (input_read(&c->file.in, c->own, bytes) != bytes)
        return c->file.in.fault ? input_failed(&c->file.in)
            : say_error(RC_INPUT, c->name, "is shorter than -dims says");
    return RC_OK;
}

/* A bare dump: -layout, -dims and -dtype say all. */
static int open_raw(cache *c, const args *a)
{
    layout y;
    uint64_t tokens, count = 1;
    int rc;

    if (!a->layout || !a->dims || !a->dtype)
        return say_error(RC_USAGE, c->name, "%s; a bare dump wants -layout,"
                         " -dims and -dtype, as in -layout 2LTHD -dims"
                         " 2x32x256x8x128 -dtype bf16", strcmp(c->name, "-")
                         ? "is named neither .safetensors nor .npy"
                         : "through a pipe only bare numbers can come, other"
                           " caches want a file");
    if (!layout_parse(&y, a->layout) || !parse_dims(a->dims, &y))
        return say_error(RC_USAGE, NULL, "-layout %s -dims %s: no dimensions of"
                         " a cache", a->layout, a->dims);
    if (!layout_shape(&y, a->heads ? a->heads : 1, &c->shape, &tokens))
        return say_error(RC_USAGE, NULL, "-dims %s is beyond what a cache can"
                         " be", a->dims);
    for (int i = 0; i < y.rank; i++)
        count *= y.dims[i];
    rc = choose_type(c, a, 0);
    if (!rc)
        rc = input_open(&c->file.in, c->name);
    if (!rc)
        rc = read_all(c, count * cache_element(c->view.dtype));
    c->view.tokens = tokens;
    return rc ? rc : point(c, &y, c->own);
}

/* Tensor layers.N.what as [heads][tokens][dim]; a first dim of 1 (the batch) is
 * left out.  NULL where it is not there. */
static const tsr_tensor *find_tensor(const cache *c, int l, const char *what,
                                     uint64_t dims[3])
{
    char name[64];
    snprintf(name, sizeof name, "layers.%d.%s", l, what);
    const tsr_tensor *t = tsr_model_tensor(c->file.model, name);
    if (!t || t->rank < 2 || t->rank > 4 || (t->rank == 4 && t->dims[0] != 1))
        return NULL;
    const int skip = t->rank == 4;
    dims[0] = t->rank == 2 ? 1 : t->dims[skip];
    dims[1] = t->dims[t->rank - 2];
    dims[2] = t->dims[t->rank - 1];
    return t;
}

static const char *const names[2][2] = {
    { "latent", NULL }, { "key", "value" }
};

/* All tensors must be like the first, and lie where elements are aligned. */
static int point_tensors(cache *c, const uint64_t first[3], tsr_dtype dtype)
{
    const int planes = c->shape.planes;
    int rc = make_base(c);

    for (int i = 0; !rc && i < c->shape.layers * planes; i++) {
        uint64_t dims[3];
        const char *what = names[planes - 1][i % planes];
        const tsr_tensor *t = find_tensor(c, i / planes, what, dims);
        if (!t || t->dtype != dtype || memcmp(dims, first, sizeof dims))
            rc = say_error(RC_INPUT, c->name, "tensor layers.%d.%s is missing or"
                           " unlike the others", i / planes, what);
        else if ((uintptr_t)t->data % cache_element(c->view.dtype))
            rc = say_error(RC_INPUT, c->name, "tensor layers.%d.%s is not"
                           " aligned", i / planes, what);
        else
            c->base[i] = (void *)(uintptr_t)t->data;
    }
    return rc;
}

static int read_ids(cache *c)
{
    const tsr_tensor *t = tsr_model_tensor(c->file.model, "token_ids");
    const size_t n = c->view.tokens;

    if (!t)
        return RC_OK;
    if ((t->dtype != TSR_I32 && t->dtype != TSR_I64 && t->dtype != TSR_U32) ||
        t->bytes != n * tsr_dtype_bytes(t->dtype))
        return say_error(RC_INPUT, c->name, "token_ids are not one whole number"
                         " a token");
    c->ids = malloc((n ? n : 1) * sizeof *c->ids);
    if (!c->ids)
        return no_memory(c);
    for (size_t i = 0; i < n; i++) {
        int64_t id = 0;
        memcpy(&id, (const uint8_t *)t->data + i * tsr_dtype_bytes(t->dtype),
               tsr_dtype_bytes(t->dtype));
        if (id < 0 || id > INT32_MAX)
            return say_error(RC_INPUT, c->name, "token id %lld",
                             (long long)id);
        c->ids[i] = (int32_t)id;
    }
    return RC_OK;
}

static int open_layers(cache *c, const args *a)
{
    uint64_t dims[3], other[3];
    const tsr_tensor *t = find_tensor(c, 0, "key", dims);
    const int planes = t ? 2 : 1;
    int rc;

    t = t ? t : find_tensor(c, 0, "latent", dims);
    if (!t)
        return say_error(RC_INPUT, c->name, "has neither layers.0.key nor"
                         " layers.0.latent; -tensor names an array of all"
                         " layers");
    layout y = { 3, "HTD", { dims[0], dims[1], dims[2] } };
    uint64_t tokens;
    if (!layout_shape(&y, 1, &c->shape, &tokens))
        return say_error(RC_INPUT, c->name, "layers.0 has dimensions that no"
                         " cache has");
    c->shape.planes = planes;
    c->shape.heads[1] = planes == 2 ? c->shape.heads[0] : 0;
    c->shape.dim[1] = planes == 2 ? c->shape.dim[0] : 0;
    while (c->shape.layers < 1024 &&
           find_tensor(c, c->shape.layers, names[planes - 1][0], other))
        c->shape.layers++;
    rc = choose_type(c, a, t->dtype);
    c->view.tokens = tokens;
    const size_t e = cache_element(c->view.dtype);
    c->view.token_stride = (ptrdiff_t)(e * dims[2]);
    c->view.head_stride = (ptrdiff_t)(e * dims[2] * dims[1]);
    if (!rc)
        rc = point_tensors(c, dims, t->dtype);
    return rc ? rc : read_ids(c);
}

static int read_number(const char **text, double *value)
{
    char *end;
    *value = strtod(*text, &end);
    if (end == *text || !isfinite(*value))
        return 0;
    *text = end;
    return 1;
}

static int rope_field(const char **text, tsr_kv_rope *rope)
{
    static const char *const keys[] = { "layout", "offset", "dims", "theta",
                                        "factor", "low", "high", "original" };
    double value;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const size_t n = strlen(keys[i]);
        if (strncmp(*text, keys[i], n) || (*text)[n] != '=')
            continue;
        *text += n + 1;
        if (!read_number(text, &value) || fabs(value) > 1e12)
            return 0;
        switch (i) {
        case 0: rope->layout = (int)value; break;
        case 1: rope->offset = (int)value; break;
        case 2: rope->dims = (int)value; break;
        case 3: rope->theta = value; break;
        case 4: rope->factor = value; break;
        case 5: rope->low_factor = value; break;
        case 6: rope->high_factor = value; break;
        default: rope->original = (int)value; break;
        }
        return 1;
    }
    return 0;
}

int cache_rope(const char *text, int dim, tsr_kv_rope *rope)
{
    const char *at = text;

    memset(rope, 0, sizeof *rope);
    if (!strcmp(text, "none"))
        return RC_OK;
    rope->layout = 1;
    rope->dims = dim;
    rope->theta = 10000;
    if (!read_number(&at, &rope->theta))
        do
            if (!rope_field(&at, rope))
                break;
        while (*at == ',' && at++);
    if (*at)
        return say_error(RC_USAGE, NULL, "-rope %s: none, a theta, or KEY=NUMBER"
                         ",... of layout, offset, dims, theta, factor, low,"
                         " high, original", text);
    if (rope->factor != 0)
        rope->scaling = rope->original ? 2 : 1;
    return RC_OK;
}

/* What the options do not say the file's metadata may. */
static int find_rope(cache *c, const args *a)
{
    const char *theta = c->file.model
        ? tsr_model_meta(c->file.model, "rope_theta") : NULL;
    const char *pos = c->file.model
        ? tsr_model_meta(c->file.model, "pos0") : NULL;

    if (pos)
        c->pos0 = strtoull(pos, NULL, 10);
    if (a->pos0 > 0)
        c->pos0 = (uint64_t)a->pos0;
    return cache_rope(a->rope ? a->rope : theta ? theta : "none",
                      c->shape.dim[0], &c->rope);
}

static int ends(const char *text, const char *with)
{
    const size_t n = strlen(text), m = strlen(with);
    return n >= m && !strcmp(text + n - m, with);
}

int cache_open(cache *c, tsr_context *ctx, const args *a, const char *path)
{
    const int tensors = ends(path, ".safetensors");
    int rc;

    memset(c, 0, sizeof *c);
    c->name = path;
    if (tensors && !a->tensor) {
        const tsr_error error = tsr_model_open(&c->file.model, ctx, path);
        const int absent = error == TSR_E_IO || error == TSR_E_MODEL;
        rc = error ? say_failure_as(absent ? RC_USAGE : RC_INPUT, path, error)
                   : open_layers(c, a);
    } else if (tensors || ends(path, ".npy")) {
        rc = array_open(&c->file, ctx, path, a->tensor);
        rc = rc ? rc : open_array(c, a);
    } else {
        rc = open_raw(c, a);
    }
    return rc ? rc : find_rope(c, a);
}

int cache_make(cache *c, const args *a, const tsr_kv_shape *shape,
               tsr_kv_dtype dtype, size_t tokens)
{
    const char *letters = ends(c->name, ".safetensors") ? NULL : a->layout;
    layout y;

    if (!letters)
        letters = shape->planes == 2 ? "L2HTD" : "LHTD";
    if (!layout_parse(&y, letters) || !layout_fit(&y, shape, tokens))
        return say_error(RC_USAGE, NULL, "-layout %s cannot hold this cache",
                         letters);
    c->shape = *shape;
    c->view.dtype = dtype;
    c->view.tokens = tokens;
    c->own = calloc(cache_bytes(c) + 1, 1);
    return c->own ? point(c, &y, c->own) : no_memory(c);
}

static void write_tensors(const cache *c, output *out)
{
    const int t = find_type(c->view.dtype), n = c->shape.layers * c->shape.planes;
    const uint64_t each = n ? cache_bytes(c) / (uint64_t)n : 0;
    const size_t room = 256 * (size_t)n + 512;
    char *head = malloc(room);
    size_t at = 0;

    if (!head) {
        out->fault = 12;
        return;
    }
    at += (size_t)snprintf(head, room, "{\"__metadata__\":{\"pos0\":\"%llu\"",
                           (unsigned long long)c->pos0);
    if (c->rope.layout)
        at += (size_t)snprintf(head + at, room - at, ",\"rope_theta\":\"%.17g\"",
                               c->rope.theta);
    at += (size_t)snprintf(head + at, room - at, "}");
    for (int i = 0; i < n; i++)
        at += (size_t)snprintf(head + at, room - at, ",\"layers.%d.%s\":{"
            "\"dtype\":\"%s\",\"shape\":[%d,%zu,%d],\"data_offsets\":[%llu,"
            "%llu]}", i / c->shape.planes,
            names[c->shape.planes - 1][i % c->shape.planes],
            types[t].safetensors, c->shape.heads[0], c->view.tokens,
            c->shape.dim[0], (unsigned long long)(each * (uint64_t)i),
            (unsigned long long)(each * (uint64_t)(i + 1)));
    if (c->ids)
        at += (size_t)snprintf(head + at, room - at, ",\"token_ids\":{\"dtype\":"
            "\"I32\",\"shape\":[%zu],\"data_offsets\":[%llu,%llu]}",
            c->view.tokens, (unsigned long long)cache_bytes(c),
            (unsigned long long)(cache_bytes(c) + 4 * c->view.tokens));
    at += (size_t)snprintf(head + at, room - at, "}");
    while (at % 8)
        head[at++] = ' ';
    const uint64_t size = at;
    output_write(out, &size, sizeof size);
    output_write(out, head, at);
    output_write(out, c->own, cache_bytes(c));
    if (c->ids)
        output_write(out, c->ids, 4 * c->view.tokens);
    free(head);
}

static void write_npy(const cache *c, const args *a, output *out)
{
    const char *letters = a->layout ? a->layout
        : c->shape.planes == 2 ? "L2HTD" : "LHTD";
    char head[256] = "\x93NUMPY\x01";
    size_t at = 10;
    layout y;

    layout_parse(&y, letters);
    layout_fit(&y, &c->shape, c->view.tokens);
    at += (size_t)snprintf(head + at, sizeof head - at,
                           "{'descr': '%s', 'fortran_order': False, 'shape': (",
                           types[find_type(c->view.dtype)].npy);
    for (int i = 0; i < y.rank; i++)
        at += (size_t)snprintf(head + at, sizeof head - at, "%llu,",
                               (unsigned long long)y.dims[i]);
    at += (size_t)snprintf(head + at, sizeof head - at, "), }");
    while (at % 64 != 63)
        head[at++] = ' ';
    head[at++] = '\n';
    head[8] = (char)((at - 10) & 255);
    head[9] = (char)((at - 10) >> 8);
    output_write(out, head, at);
    output_write(out, c->own, cache_bytes(c));
}

int cache_write(const cache *c, const args *a, output *out)
{
    if (ends(c->name, ".safetensors"))
        write_tensors(c, out);
    else if (ends(c->name, ".npy"))
        write_npy(c, a, out);
    else
        output_write(out, c->own, cache_bytes(c));
    return RC_OK;
}

void cache_close(cache *c)
{
    array_close(&c->file);
    free(c->base);
    free(c->own);
    free(c->ids);
    memset(c, 0, sizeof *c);
}

/* The 16-bit and 8-bit floats, for comparisons. */
static float small_float(unsigned bits, int exponent, int fraction, int finite)
{
    const int bias = (1 << (exponent - 1)) - 1;
    const unsigned e = bits >> fraction & ((1u << exponent) - 1);
    const unsigned f = bits & ((1u << fraction) - 1);
    const float sign = bits >> (exponent + fraction) & 1 ? -1.0f : 1.0f;

    if (e == (1u << exponent) - 1 && (!finite || f == (1u << fraction) - 1))
        return f ? NAN : sign * INFINITY;
    if (!e)
        return sign * ldexpf((float)f, 1 - bias - fraction);
    return sign * ldexpf((float)(f | 1u << fraction), (int)e - bias - fraction);
}

static float element(tsr_kv_dtype dtype, const uint8_t *p)
{
    uint32_t u = 0;
    float f;
    memcpy(&u, p, cache_element(dtype));
    switch (dtype) {
    case TSR_KV_F16: return small_float(u, 5, 10, 0);
    case TSR_KV_E4M3: return small_float(u, 4, 3, 1);
    case TSR_KV_E5M2: return small_float(u, 5, 2, 0);
    case TSR_KV_BF16: u <<= 16; break;
    case TSR_KV_F32: break;
    }
    memcpy(&f, &u, sizeof f);
    return f;
}

void cache_row(const cache *c, int l, int p, int h, size_t t, float *out)
{
    const uint8_t *row = (const uint8_t *)c->base[l * c->shape.planes + p] +
        (ptrdiff_t)t * c->view.token_stride + h * c->view.head_stride;
    const size_t e = cache_element(c->view.dtype);
    for (int d = 0; d < c->shape.dim[p]; d++)
        out[d] = element(c->view.dtype, row + (size_t)d * e);
}

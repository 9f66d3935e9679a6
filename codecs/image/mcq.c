/* SPDX-License-Identifier: BSD-2-Clause */
/* McQuic's container: one MessagePack map {fileHeader: {version, qp, codeSize:
 * {m, heights, widths, k}, imageSize: {height, width, channel}}, contents: [a
 * string of codes for each level, the finest first]}.  The order of keys in maps
 * is anybody's. */
#include <string.h>
#include <tessera/mcq.h>
#include "codecs/image/image.h"
#include "codecs/image/mcquic.h"
#include "entropy/rans64.h"
#include "lib/source.h"

enum { FILE_MAX = 64 << 20, DEPTH_MAX = 16, NAME_BYTES = 256 };
static const char own_version[] = "0.1.40";

typedef struct mcq_head {
    char version[32];
    uint64_t width, height, channel, m;
    uint64_t heights[TSRI_MCQUIC_LEVELS], widths[TSRI_MCQUIC_LEVELS],
        k[TSRI_MCQUIC_LEVELS];
    int n_heights, n_widths, n_k, n_contents;
    tsri_span contents[TSRI_MCQUIC_LEVELS];
} mcq_head;

/* ---- MessagePack, read ---- */

/* After a fault `bad` is set, and every call fails. */
typedef struct cursor {
    const uint8_t *at, *end;
    bool bad;
} cursor;

static bool fault(cursor *c)
{
    c->bad = true;
    return false;
}

/* A big-endian number of n bytes. */
static bool number(cursor *c, size_t n, uint64_t *out)
{
    if (c->bad || (size_t)(c->end - c->at) < n)
        return fault(c);
    for (*out = 0; n; n--)
        *out = *out << 8 | *c->at++;
    return true;
}

static bool span(cursor *c, uint64_t n, tsri_span *out)
{
    if (c->bad || n > (uint64_t)(c->end - c->at))
        return fault(c);
    *out = (tsri_span){ c->at, (size_t)n };
    c->at += n;
    return true;
}

/* The first byte of a value, and the number that goes with it: a length, or the
 * value itself.  kind: 'm'ap, 'a'rray, 's'tring, 'b'inary, 'u'nsigned, or 'x' for
 * the rest, `size` bytes of it. */
static bool head_of(cursor *c, char *kind, uint64_t *size)
{
    static const char kinds[] = "xxxxbbbxxxxxuuuuxxxxxxxxxsssaamm";
    static const uint8_t bytes[] = { 0, 0, 0, 0, 1, 2, 4, 0, 0, 0, 4, 8, 1, 2, 4,
                                     8, 1, 2, 4, 8, 2, 3, 5, 9, 17, 1, 2, 4, 2,
                                     4, 2, 4 };
    uint64_t b;

    if (!number(c, 1, &b))
        return false;
    *size = b & (b < 0x80 ? 0x7f : b < 0xa0 ? 0x0f : 0x1f);
    *kind = b < 0x80 ? 'u' : b < 0x90 ? 'm' : b < 0xa0 ? 'a' : b < 0xc0 ? 's'
          : b >= 0xe0 ? 'x' : kinds[b - 0xc0];
    if (b >= 0xe0)
        *size = 0; /* a small negative number */
    if (b < 0xc0 || b >= 0xe0)
        return true;
    if (*kind == 'x') {
        *size = bytes[b - 0xc0];
        return b == 0xc1 || (b >= 0xc7 && b <= 0xc9) ? fault(c) : true;
    }
    return number(c, bytes[b - 0xc0], size);
}

static bool take(cursor *c, char wanted, uint64_t *size)
{
    char kind = 0;
    return head_of(c, &kind, size) && (kind == wanted || fault(c));
}

static bool take_text(cursor *c, char *out, size_t room)
{
    uint64_t size = 0;
    tsri_span text = { NULL, 0 };

    if (!take(c, 's', &size) || !span(c, size, &text) || size >= room)
        return fault(c);
    memcpy(out, text.data, text.bytes);
    out[text.bytes] = 0;
    return true;
}

static bool skip(cursor *c, int depth)
{
    tsri_span rest;
    uint64_t size = 0;
    char kind = 0;

    if (depth > DEPTH_MAX || !head_of(c, &kind, &size))
        return fault(c);
    if (kind == 's' || kind == 'b' || kind == 'x')
        return span(c, size, &rest);
    if (kind == 'u')
        return true;
    for (uint64_t i = 0; i < size; i++)
        if ((kind == 'm' && !skip(c, depth + 1)) || !skip(c, depth + 1))
            return false;
    return true;
}

static bool take_numbers(cursor *c, uint64_t *out, int *n)
{
    uint64_t count = 0;

    if (!take(c, 'a', &count) || count > TSRI_MCQUIC_LEVELS)
        return fault(c);
    for (*n = 0; (uint64_t)*n < count; ++*n)
        if (!take(c, 'u', &out[*n]))
            return false;
    return true;
}

static bool take_contents(cursor *c, mcq_head *h)
{
    uint64_t count = 0, size = 0;

    if (!take(c, 'a', &count) || count > TSRI_MCQUIC_LEVELS)
        return fault(c);
    for (h->n_contents = 0; (uint64_t)h->n_contents < count; h->n_contents++)
        if (!take(c, 'b', &size) || !span(c, size, &h->contents[h->n_contents]))
            return false;
    return true;
}

static bool take_map(cursor *c, mcq_head *h, int depth);

/* Keys have one place each, and no name is in two maps. */
static bool take_member(cursor *c, mcq_head *h, const char *key, int depth)
{
    if (!strcmp(key, "fileHeader") || !strcmp(key, "codeSize") ||
        !strcmp(key, "imageSize"))
        return take_map(c, h, depth + 1);
    if (!strcmp(key, "contents"))
        return take_contents(c, h);
    if (!strcmp(key, "version"))
        return take_text(c, h->version, sizeof h->version);
    if (!strcmp(key, "heights"))
        return take_numbers(c, h->heights, &h->n_heights);
    if (!strcmp(key, "widths"))
        return take_numbers(c, h->widths, &h->n_widths);
    if (!strcmp(key, "k"))
        return take_numbers(c, h->k, &h->n_k);
    uint64_t *const to = !strcmp(key, "m")         ? &h->m
                         : !strcmp(key, "height")  ? &h->height
                         : !strcmp(key, "width")   ? &h->width
                         : !strcmp(key, "channel") ? &h->channel
                                                   : NULL;
    return to ? take(c, 'u', to) : skip(c, depth);
}

static bool take_map(cursor *c, mcq_head *h, int depth)
{
    char key[32];
    uint64_t count = 0;

    if (depth > 3 || !take(c, 'm', &count))
        return fault(c);
    for (uint64_t i = 0; i < count; i++)
        if (!take_text(c, key, sizeof key) || !take_member(c, h, key, depth))
            return fault(c);
    return true;
}

/* ---- .mcq to .tess ---- */

static tsr_error parse(tsr_context *ctx, const uint8_t *data, size_t size,
                       mcq_head *h)
{
    cursor c = { data, data + size, false };

    *h = (mcq_head){ .m = 0 };
    if (size < 1 || (data[0] & 0xf0) != 0x80)
        return tsri_fail(ctx, TSR_E_FORMAT, "not a .mcq file");
    if (!take_map(&c, h, 0))
        return tsri_fail(ctx, TSR_E_CORRUPT, "the .mcq file is broken or cut");
    if (c.at != c.end || !*h->version || !h->width || !h->height || !h->m ||
        h->channel != 3)
        return tsri_fail(ctx, TSR_E_CORRUPT, "the .mcq file's header is "
                         "incomplete");
    if (strncmp(h->version, "0.", 2))
        return tsri_fail(ctx, TSR_E_VERSION, "a .mcq file of version %s",
                         h->version);
    return TSR_OK;
}

/* Are the sizes those of the model and the picture begun? */
static tsr_error check_sizes(const tsri_mcquic *self, const mcq_head *h)
{
    const tsri_mcquic_shape *s = &self->shape;
    bool model = h->m == (uint64_t)s->m && h->n_k == s->levels;
    bool picture = h->n_heights == s->levels && h->n_widths == s->levels &&
                   h->n_contents == s->levels;

    for (int l = 0; l < s->levels && model && picture; l++) {
        const tsri_codes *c = &self->level[l].codes;
        model = h->k[l] == (uint64_t)s->k[l];
        picture = h->heights[l] == (uint64_t)c->height &&
                  h->widths[l] == (uint64_t)c->width;
    }
    if (!model)
        return tsri_fail(self->ctx, TSR_E_MODEL, "the .mcq file is of a model of "
                         "other sizes");
    return picture ? TSR_OK : tsri_fail(self->ctx, TSR_E_CORRUPT, "the .mcq "
                                        "file's code sizes do not fit its "
                                        "picture");
}

/* The tables and alphabets of a level, as the coder wants them. */
typedef struct tables {
    const uint32_t **cdf;
    int *sizes;
} tables;

static tsr_error tables_of(const tsri_mcquic *self, int level, tables *t)
{
    const size_t m = (size_t)self->shape.m, k = (size_t)self->shape.k[level];

    t->cdf = tsri_alloc(self->ctx, m, sizeof *t->cdf);
    t->sizes = tsri_alloc(self->ctx, m, sizeof *t->sizes);
    for (size_t g = 0; t->cdf && t->sizes && g < m; g++) {
        t->cdf[g] = self->level[level].cdf + g * (k + 1);
        t->sizes[g] = (int)k;
    }
    return t->cdf && t->sizes ? TSR_OK : tsri_nomem(self->ctx);
}

static void tables_free(const tsri_mcquic *self, tables *t)
{
    tsri_free(self->ctx, t->cdf);
    tsri_free(self->ctx, t->sizes);
}

static tsr_error read_level(tsri_mcquic *self, const mcq_head *h, int level)
{
    tsri_codes *c = &self->level[level].codes;
    tables t;

    tsr_error error = tables_of(self, level, &t);
    if (!error) {
        error = tsri_rans64_decode(t.cdf, t.sizes, self->shape.m,
                                   h->contents[level].data,
                                   h->contents[level].bytes,
                                   (uint32_t *)c->data, c->plane);
        if (error)
            error = tsri_fail(self->ctx, error, "the codes of level %d are "
                              "damaged, or of another model", level);
    }
    tables_free(self, &t);
    return error;
}

static tsr_error read_codes(tsri_mcquic *self, const mcq_head *h)
{
    int units;

    if (h->width > INT32_MAX || h->height > INT32_MAX)
        return tsri_fail(self->ctx, TSR_E_LIMIT, "a picture that is too large");
    TSR_TRY(tsri_geometry_check(self->ctx, (int)h->width, (int)h->height, 3, 8));
    TSR_TRY(tsri_image_codec_mcquic.begin(self, (int)h->width, (int)h->height,
                                          NULL, 0, &units));
    TSR_TRY(check_sizes(self, h));
    for (int l = 0; l < self->shape.levels; l++)
        TSR_TRY(read_level(self, h, l));
    self->given = true;
    return TSR_OK;
}

static tsr_error convert(tsr_context *ctx, tsr_model *model, const mcq_head *h,
                         const tsr_sink *sink)
{
    const tsri_image_codec *codec = &tsri_image_codec_mcquic;
    const tsr_image image = { .width = (int)h->width, .height = (int)h->height,
                              .channels = 3, .bits = 8 };
    tsr_image_settings settings;
    void *self;

    TSR_TRY(tsri_image_settings_take(ctx, &settings, NULL));
    tsr_error error = codec->open(&self, ctx, model);
    if (!error)
        error = read_codes(self, h);
    if (!error)
        error = tsri_image_write(ctx, codec, self, model, &settings, &image,
                                 sink);
    if (self)
        codec->close(&self);
    return error;
}

tsr_error tsr_mcq_read(tsr_context *ctx, tsr_model *model,
                       const tsr_source *source, const tsr_sink *sink)
{
    uint8_t *data;
    size_t size;
    mcq_head h;

    if (strcmp(tsr_model_codec(model), tsri_image_codec_mcquic.id))
        return tsri_fail(ctx, TSR_E_MODEL, "%s is not a model of codec mcquic",
                         tsr_model_name(model));
    tsr_error error = tsri_read_all(ctx, source, FILE_MAX, &data, &size);
    if (!error)
        error = parse(ctx, data, size, &h);
    if (!error)
        error = convert(ctx, model, &h, sink);
    tsri_free(ctx, data);
    return error;
}

/* ---- .tess to .mcq ---- */

typedef struct writer {
    const tsr_sink *sink;
    tsr_error error;
} writer;

static void put(writer *w, const void *data, size_t size)
{
    if (!w->error && size)
        w->error = w->sink->write(w->sink->cookie, data, size);
}

/* A first byte and a number of n bytes behind it. */
static void put_head(writer *w, unsigned first, uint64_t value, int n)
{
    uint8_t bytes[9] = { (uint8_t)first };

    for (int i = n; i > 0; i--, value >>= 8)
        bytes[i] = (uint8_t)value;
    put(w, bytes, (size_t)n + 1);
}

/* In the shortest form, as everybody writes them. */
static void put_number(writer *w, uint64_t v)
{
    if (v < 0x80)
        put_head(w, (unsigned)v, 0, 0);
    else
        put_head(w, v < 1 << 8 ? 0xcc : v < 1 << 16 ? 0xcd : 0xce, v,
                 v < 1 << 8 ? 1 : v < 1 << 16 ? 2 : 4);
}

static void put_text(writer *w, const char *text)
{
    const size_t n = strlen(text);

    if (n < 32)
        put_head(w, 0xa0 | (unsigned)n, 0, 0);
    else
        put_head(w, n < 256 ? 0xd9 : 0xda, n, n < 256 ? 1 : 2);
    put(w, text, n);
}

static void put_field(writer *w, const char *key, uint64_t value)
{
    put_text(w, key);
    put_number(w, value);
}

/* The heights, widths or alphabets of all levels. */
static void put_levels(writer *w, const tsri_mcquic *self, const char *key)
{
    put_text(w, key);
    put_head(w, 0x90 | (unsigned)self->shape.levels, 0, 0);
    for (int l = 0; l < self->shape.levels; l++) {
        const tsri_codes *c = &self->level[l].codes;
        put_number(w, *key == 'k'   ? (uint64_t)self->shape.k[l]
                      : *key == 'h' ? (uint64_t)c->height
                                    : (uint64_t)c->width);
    }
}

static void put_header(writer *w, const tsri_mcquic *self, const char *name)
{
    put_head(w, 0x82, 0, 0);
    put_text(w, "fileHeader");
    put_head(w, 0x84, 0, 0);
    put_text(w, "codeSize");
    put_head(w, 0x84, 0, 0);
    put_levels(w, self, "heights");
    put_levels(w, self, "k");
    put_field(w, "m", (uint64_t)self->shape.m);
    put_levels(w, self, "widths");
    put_text(w, "version");
    put_text(w, own_version);
    put_text(w, "imageSize");
    put_head(w, 0x83, 0, 0);
    put_field(w, "width", (uint64_t)self->width);
    put_field(w, "height", (uint64_t)self->height);
    put_field(w, "channel", 3);
    put_text(w, "qp");
    put_text(w, name);
    put_text(w, "contents");
    put_head(w, 0x90 | (unsigned)self->shape.levels, 0, 0);
}

static void put_level(writer *w, tsri_mcquic *self, int level)
{
    const tsri_codes *c = &self->level[level].codes;
    uint8_t *bytes = NULL;
    size_t size = 0;
    tables t;

    w->error = tables_of(self, level, &t);
    if (!w->error)
        w->error = tsri_rans64_encode(self->ctx, t.cdf, t.sizes, self->shape.m,
                                      (const uint32_t *)c->data, c->plane,
                                      &bytes, &size);
    tables_free(self, &t);
    put_head(w, size < 1 << 8 ? 0xc4 : size < 1 << 16 ? 0xc5 : 0xc6, size,
             size < 1 << 8 ? 1 : size < 1 << 16 ? 2 : 4);
    put(w, bytes, size);
    tsri_free(self->ctx, bytes);
}

static tsr_error write_codes(tsr_context *ctx, const tsri_image_read *r,
                             const tsr_sink *sink)
{
    const tsri_image_head *h = &r->head;
    writer w = { sink, TSR_OK };

    if (h->codec != &tsri_image_codec_mcquic)
        return tsri_fail(ctx, TSR_E_UNSUPPORTED, "a picture of codec %s is no "
                         ".mcq file", h->codec->id);
    if (r->parts.damage)
        return tsri_fail(ctx, r->parts.damage, "the stream is damaged: %s",
                         tsr_error_string(r->parts.damage));
    if (tsri_has_alpha(h->channels))
        return tsri_fail(ctx, TSR_E_UNSUPPORTED, ".mcq files have no alpha");
    put_header(&w, r->parts.self, tsr_model_name(r->parts.model));
    tsri_mcquic *self = r->parts.self;
    for (int l = 0; l < self->shape.levels && !w.error; l++)
        put_level(&w, self, l);
    return w.error;
}

tsr_error tsr_mcq_write(tsr_context *ctx, tsr_model *model,
                        const tsr_source *source, const tsr_sink *sink)
{
    tsri_image_read r;

    tsr_error error = tsri_image_read_open(&r, ctx, model, source);
    if (!error)
        error = write_codes(ctx, &r, sink);
    tsri_image_read_close(&r);
    return error;
}

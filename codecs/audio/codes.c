/* SPDX-License-Identifier: BSD-2-Clause */
#include "codecs/audio/codes_inside.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"

enum {
    CODED = 1,              /* first byte of a segment: this, 7 bits of check */
    SHORT = 64,             /* longer segments have 16 bits of check more */
    LM_FRAMES = 64          /* a byte may cost a decoder no more of them */
};

struct tsri_codes_coder {
    const tsri_codes *codes;
    tsr_context *ctx;
    tsri_codes_adapt *adapt;
    tsri_lm_state *lm;
    int16_t *logs;          /* [codewords], with `before`: of contexts */
    uint64_t *before;
    uint16_t *column;       /* the codes of a layer */
    uint8_t *out;
    size_t column_room, out_room;
};

tsr_error tsri_codes_coder_open(tsri_codes_coder **out, const tsri_codes *codes,
                                tsr_context *ctx)
{
    tsri_codes_coder *c = tsri_calloc(ctx, 1, sizeof *c);

    *out = c;
    if (!c)
        return TSR_E_NOMEM;
    c->codes = codes;
    c->ctx = ctx;
    return TSR_OK;
}

void tsri_codes_coder_close(tsri_codes_coder **out)
{
    tsri_codes_coder *c = *out;

    if (!c)
        return;
    tsri_codes_adapt_close(&c->adapt, c->ctx);
    tsri_lm_state_close(&c->lm, c->ctx);
    tsri_free(c->ctx, c->logs);
    tsri_free(c->ctx, c->before);
    tsri_free(c->ctx, c->column);
    tsri_free(c->ctx, c->out);
    tsri_free(c->ctx, c);
    *out = NULL;
}

static bool sound_form(const tsri_codes_coder *c, const tsri_codes_form *form)
{
    return form->books >= 1 && form->books <= c->codes->books &&
           form->frames >= 1 && form->frames <= TSR_AUDIO_MAX_FRAMES &&
           tsri_codes_has(c->codes, form->entropy) &&
           !(form->layers && form->entropy == TSR_AUDIO_ENTROPY_LM);
}

/* Memory for contexts and for learning, once. */
static tsr_error prepare_learning(tsri_codes_coder *c)
{
    const size_t n = (size_t)c->codes->codewords;
    const int words[] = { (int)n >> c->codes->shorter[0],
                          (int)n >> c->codes->shorter[1] };

    if (!c->adapt)
        TSR_TRY(tsri_codes_adapt_open(&c->adapt, c->ctx, c->codes->books,
                                      words));
    if (!c->logs)
        c->logs = tsri_alloc(c->ctx, n, sizeof *c->logs);
    if (!c->before)
        c->before = tsri_alloc(c->ctx, tsri_codes_blocks((int)n),
                               sizeof *c->before);
    return c->logs && c->before ? TSR_OK : TSR_E_NOMEM;
}

/* Is something learnt within a segment? */
static bool learns(const tsri_codes_form *form)
{
    return form->entropy == TSR_AUDIO_ENTROPY_CONTEXT ||
           form->entropy == TSR_AUDIO_ENTROPY_ADAPTIVE;
}

static tsr_error prepare(tsri_codes_coder *c, const tsri_codes_form *form)
{
    if (!sound_form(c, form))
        return TSR_E_ARG;
    if (form->layers)
        TSR_TRY(tsri_grow(c->ctx, &c->column, &c->column_room, 0,
                          (size_t)form->frames, sizeof *c->column));
    if (learns(form))
        return prepare_learning(c);
    if (form->entropy == TSR_AUDIO_ENTROPY_LM && !c->lm)
        return tsri_lm_state_open(&c->lm, c->ctx, c->codes->lm);
    return TSR_OK;
}

/* What a segment holds: of `books` books from `first` on. */
typedef struct part {
    const tsri_codes_form *form;
    tsri_codes_view view;
    int first, books;
    size_t n;               /* codes */
    size_t packed;          /* bytes of so many codes of fixed width */
} part;

static part get_part(const tsri_codes_coder *c, const tsri_codes_form *form,
                     uint16_t *codes, int layer)
{
    part p = { .form = form, .view = { codes, form->books }, .first = layer,
               .books = form->layers ? 1 : form->books };

    p.n = (size_t)form->frames * (size_t)p.books;
    for (int k = layer; k < layer + p.books; k++)
        p.packed += (size_t)c->codes->bits[k > 0];
    p.packed = (p.packed * (size_t)form->frames + 7) / 8; /* < 2^23 */
    return p;
}

/* The codes of a part one after another; a layer's are copied. */
static const uint16_t *gather(tsri_codes_coder *c, const part *p)
{
    if (!p->form->layers)
        return p->view.codes;
    for (int f = 0; f < p->form->frames; f++)
        c->column[f] = *tsri_codes_at(&p->view, f, p->first);
    return c->column;
}

static void scatter(const tsri_codes_coder *c, const part *p)
{
    for (int f = 0; f < p->form->frames && p->form->layers; f++)
        *tsri_codes_at(&p->view, f, p->first) = c->column[f];
}

static uint32_t check_of(const uint16_t *codes, size_t n, uint32_t crc)
{
    uint8_t bytes[512];

    for (size_t i = 0; i < n;) {
        size_t used = 0;
        for (; i < n && used < sizeof bytes; i++, used += 2)
            tsri_put16(bytes + used, codes[i]);
        crc = tsri_crc32c(crc, bytes, used);
    }
    return crc;
}

/* The slots of code (f, k), in order of frames and books; false: equal ones. */
static bool table_of(tsri_codes_coder *c, const part *p, int f, int k,
                     tsri_codes_table *table)
{
    *table = (tsri_codes_table){ .n = c->codes->codewords };
    switch (p->form->entropy) {
    case TSR_AUDIO_ENTROPY_STATIC:
        table->start = tsri_codes_static(&c->codes->tables, k);
        return true;
    case TSR_AUDIO_ENTROPY_CONTEXT:
        tsri_codes_context(&c->codes->tables, &p->view, f, k, c->logs, c->before,
                           table);
        return true;
    case TSR_AUDIO_ENTROPY_LM:
        if (!k)
            tsri_lm_frame(c->lm, &p->view, f);
        table->start = tsri_lm_starts(c->lm, &p->view, f, k);
        return true;
    default:
        return false;
    }
}

static void code_one(tsri_codes_coder *c, const part *p, tsri_codes_pen *pen,
                     int f, int k)
{
    tsri_codes_table table;
    const bool given = table_of(c, p, f, k, &table);

    /* The contexts of finer books have nothing to learn: it costs bits there. */
    if (learns(p->form) && (!given || !k))
        tsri_codes_adaptive(c->adapt, pen, &p->view, f, k,
                            given ? &table : NULL);
    else
        tsri_codes_symbol(pen, &table, tsri_codes_at(&p->view, f, k));
}

static void code_all(tsri_codes_coder *c, const part *p, tsri_codes_pen *pen)
{
    if (learns(p->form))
        tsri_codes_adapt_reset(c->adapt, p->first, p->books);
    if (p->form->entropy == TSR_AUDIO_ENTROPY_LM)
        tsri_lm_reset(c->lm);
    for (int f = 0; f < p->form->frames; f++)
        for (int k = p->first; k < p->first + p->books; k++)
            code_one(c, p, pen, f, k);
}

static size_t head_bytes(size_t body)
{
    return body < SHORT ? 1 : 3;
}

static uint32_t get_head(const uint8_t *data, size_t head)
{
    return data[0] >> 1 | (head > 1 ? (uint32_t)tsri_get16(data + 1) << 7 : 0);
}

static void put_head(uint8_t *out, size_t head, bool coded, uint32_t check)
{
    out[0] = (uint8_t)(check << 1 | (coded ? CODED : 0));
    if (head > 1)
        tsri_put16(out + 1, (uint16_t)(check >> 7));
}

/* ---- fixed widths ---- */

/* All codes of one width: what is fast.  Else bit by bit, low bits first. */
static bool uniform(const tsri_codes_coder *c, const part *p)
{
    return p->first + p->books == 1 ? !c->codes->shorter[0]
         : p->first ? !c->codes->shorter[1] : !tsri_codes_mixed(c->codes);
}

static int width_at(const tsri_codes_coder *c, const part *p, size_t i)
{
    return c->codes->bits[p->first + (int)(i % (size_t)p->books) > 0];
}

static tsr_error pack(const tsri_codes_coder *c, const part *p,
                      const uint16_t *codes, uint8_t *body)
{
    uint64_t bits = 0;
    int held = 0;

    if (uniform(c, p))
        return tsri_pack16(&c->codes->packing, c->ctx, codes, p->n, body);
    for (size_t i = 0; i < p->n; i++) {
        bits |= (uint64_t)codes[i] << held;
        for (held += width_at(c, p, i); held >= 8; held -= 8, bits >>= 8)
            *body++ = (uint8_t)bits;
    }
    if (held)
        *body = (uint8_t)bits;
    return TSR_OK;
}

static tsr_error unpack(const tsri_codes_coder *c, const part *p,
                        const uint8_t *data, size_t size, uint16_t *codes)
{
    uint64_t bits = 0;
    int held = 0;

    if (uniform(c, p))
        return tsri_unpack16(&c->codes->packing, c->ctx, data, size, codes, p->n);
    if (size != p->packed)
        return TSR_E_CORRUPT;
    for (size_t i = 0; i < p->n; i++) {
        const int width = width_at(c, p, i);
        for (; held < width; held += 8)
            bits |= (uint64_t)*data++ << held;
        codes[i] = (uint16_t)(bits & ((1u << width) - 1));
        bits >>= width;
        held -= width;
    }
    return bits ? TSR_E_CORRUPT : TSR_OK;
}

static bool too_dense(const part *p, size_t size)
{
    return p->form->entropy == TSR_AUDIO_ENTROPY_LM &&
           (size_t)p->form->frames > LM_FRAMES * size;
}

/* Fewer bytes than those of fixed width? */
static bool put_coded(tsri_codes_coder *c, const part *p, uint8_t *body,
                      size_t *size)
{
    tsri_codes_pen pen = { .reads = false };

    if (p->form->entropy == TSR_AUDIO_ENTROPY_FIXED)
        return false;
    tsri_range_enc_open(&pen.enc, body, p->packed - 1);
    code_all(c, p, &pen);
    return !tsri_range_finish(&pen.enc, size) && !too_dense(p, *size);
}

static tsr_error put_part(tsri_codes_coder *c, const part *p, uint8_t *out,
                          size_t *bytes)
{
    const uint16_t *codes = gather(c, p);
    const uint32_t check = check_of(codes, p->n, p->form->crc);
    uint8_t *body = out + 3;
    size_t size = p->packed, head;
    const bool coded = put_coded(c, p, body, &size);

    if (!coded) {
        size = p->packed;
        TSR_TRY(pack(c, p, codes, body));
    }
    head = head_bytes(size);
    memmove(out + head, body, size);
    put_head(out, head, coded, check);
    *bytes = head + size;
    return TSR_OK;
}

tsr_error tsri_codes_put(tsri_codes_coder *c, const tsri_codes_form *form,
                         const uint16_t *codes, const uint8_t **data,
                         size_t *bytes)
{
    /* Only a decoder writes to its view. */
    uint16_t *const view = (uint16_t *)(uintptr_t)codes;
    const int segments = form->layers ? form->books : 1;
    size_t used = 0;

    TSR_TRY(prepare(c, form));
    if (!tsri_codes_fit(codes, (size_t)form->frames, form->books,
                        c->codes->codewords, c->codes->shorter))
        return TSR_E_ARG;
    for (int i = 0; i < segments; i++) {
        const part p = get_part(c, form, view, i);
        TSR_TRY(tsri_grow(c->ctx, &c->out, &c->out_room, used, p.packed + 3, 1));
        TSR_TRY(put_part(c, &p, c->out + used, &bytes[i]));
        used += bytes[i];
    }
    *data = c->out;
    return TSR_OK;
}

static tsr_error get_coded(tsri_codes_coder *c, const part *p,
                           const uint8_t *data, size_t size)
{
    tsri_codes_pen pen = { .reads = true };

    if (p->form->entropy == TSR_AUDIO_ENTROPY_FIXED || size >= p->packed ||
        too_dense(p, size))
        return TSR_E_CORRUPT;
    tsri_range_dec_open(&pen.dec, data, size);
    code_all(c, p, &pen);
    return tsri_range_dec_end(&pen.dec);
}

static tsr_error get_packed(tsri_codes_coder *c, const part *p,
                            const uint8_t *data, size_t size)
{
    uint16_t *to = p->form->layers ? c->column : p->view.codes;

    TSR_TRY(unpack(c, p, data, size, to));
    scatter(c, p);
    return TSR_OK;
}

static tsr_error get_part_of(tsri_codes_coder *c, const part *p,
                             const uint8_t *data, size_t size)
{
    const size_t head = size <= SHORT ? 1 : 3;
    uint32_t check;

    if (size < head || head_bytes(size - head) != head)
        return TSR_E_CORRUPT;
    TSR_TRY((data[0] & CODED ? get_coded : get_packed)(c, p, data + head,
                                                      size - head));
    check = check_of(gather(c, p), p->n, p->form->crc);
    check &= head > 1 ? 0x7fffff : 0x7f;
    return check == get_head(data, head) ? TSR_OK : TSR_E_CORRUPT;
}

tsr_error tsri_codes_get(tsri_codes_coder *c, const tsri_codes_form *form,
                         const uint8_t *data, const size_t *bytes,
                         uint16_t *codes)
{
    const int segments = form->layers ? form->books : 1;

    TSR_TRY(prepare(c, form));
    for (int i = 0; i < segments; data += bytes[i++]) {
        const part p = get_part(c, form, codes, i);
        TSR_TRY(get_part_of(c, &p, data, bytes[i]));
    }
    return tsri_codes_fit(codes, (size_t)form->frames, form->books,
                          c->codes->codewords, c->codes->shorter)
               ? TSR_OK : TSR_E_CORRUPT;
}

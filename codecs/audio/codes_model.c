/* SPDX-License-Identifier: BSD-2-Clause */
/* What a model has for coding codes, and which codes are its own. */
#include "codecs/audio/codes_inside.h"

enum { ADAPTIVE_FRAMES = 64 };  /* it has learnt something by then */

tsr_error tsri_codes_open(tsri_codes **out, tsr_context *ctx,
                          const tsr_model *model, int books, int codewords)
{
    tsri_codes *c = tsri_calloc(ctx, 1, sizeof *c);
    tsr_error error;

    *out = c;
    if (!c)
        return tsri_nomem(ctx);
    *c = (tsri_codes){ .ctx = ctx, .books = books, .codewords = codewords };
    error = tsri_packing_fixed(&c->packing, (size_t)codewords);
    tsri_codes_shorten(c, c->shorter);
    if (!error)
        error = tsri_codes_tables_open(&c->tables, ctx, model, books, codewords);
    if (!error)
        error = tsri_codes_lm_open(&c->lm, ctx, model, books, codewords);
    if (error)
        tsri_codes_close(out);
    return error;
}

/* Bits that tell n codewords apart. */
static int width_of(int n)
{
    return n > 1 ? 32 - __builtin_clz((unsigned)n - 1) : 0;
}

void tsri_codes_shorten(tsri_codes *c, const int shorter[2])
{
    for (int i = 0; i < 2; i++) {
        c->shorter[i] = shorter[i];
        c->bits[i] = width_of(c->codewords >> shorter[i]);
    }
}

bool tsri_codes_shorter_fit(int codewords, const int shorter[2])
{
    for (int i = 0; i < 2; i++)
        if (shorter[i] < 0 || shorter[i] > TSRI_CODES_SHORTER ||
            codewords >> shorter[i] < 2)
            return false;
    return !shorter[0] || !shorter[1];
}

/* The first code that is none of its book's; all of them: there is none. */
static size_t first_alien(const uint16_t *codes, size_t n, int books,
                          int codewords, const int shorter[2])
{
    const int most[] = { tsri_codes_words(codewords, shorter, 0),
                         tsri_codes_words(codewords, shorter, 1) };
    size_t at = 0;

    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < books; k++, at++)
            if (codes[at] >= most[k > 0])
                return at;
    return at;
}

bool tsri_codes_fit(const uint16_t *codes, size_t n, int books, int codewords,
                    const int shorter[2])
{
    return first_alien(codes, n, books, codewords, shorter) == n * (size_t)books;
}

tsr_error tsri_codes_check(tsr_context *ctx, const uint16_t *codes, size_t n,
                           int books, int codewords, const int shorter[2])
{
    const size_t at = first_alien(codes, n, books, codewords, shorter);
    const int book = (int)(at % (size_t)books);

    return at == n * (size_t)books
               ? TSR_OK
               : tsri_fail(ctx, TSR_E_ARG, "code %d: book %d has %d codewords",
                           codes[at], book + 1,
                           tsri_codes_words(codewords, shorter, book));
}

void tsri_codes_close(tsri_codes **out)
{
    tsri_codes *c = *out;

    if (!c)
        return;
    tsri_codes_tables_close(&c->tables, c->ctx);
    tsri_codes_lm_close(&c->lm, c->ctx);
    tsri_free(c->ctx, c);
    *out = NULL;
}

const tsri_codes_tables *tsri_codes_contexts(const tsri_codes *c)
{
    return c->tables.rows ? &c->tables : NULL;
}

bool tsri_codes_has(const tsri_codes *c, tsr_audio_entropy entropy)
{
    switch (entropy) {
    case TSR_AUDIO_ENTROPY_FIXED:
    case TSR_AUDIO_ENTROPY_ADAPTIVE: return true;
    case TSR_AUDIO_ENTROPY_STATIC: return c->tables.statics && !tsri_codes_mixed(c);
    case TSR_AUDIO_ENTROPY_CONTEXT: return c->tables.rows && !tsri_codes_mixed(c);
    case TSR_AUDIO_ENTROPY_LM: return c->lm && !tsri_codes_mixed(c);
    default: return false;
    }
}

tsr_audio_entropy tsri_codes_auto(const tsri_codes *c, int packet_frames)
{
    if (tsri_codes_has(c, TSR_AUDIO_ENTROPY_CONTEXT))
        return TSR_AUDIO_ENTROPY_CONTEXT;
    if (tsri_codes_has(c, TSR_AUDIO_ENTROPY_STATIC))
        return TSR_AUDIO_ENTROPY_STATIC;
    return packet_frames >= ADAPTIVE_FRAMES ? TSR_AUDIO_ENTROPY_ADAPTIVE
                                            : TSR_AUDIO_ENTROPY_FIXED;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <math.h>
#include <string.h>
#include "entropy/ecdc.h"

enum { TOP_MAX = 61 };
static const uint64_t whole = (uint64_t)1 << TSRI_ECDC_BITS;

tsr_error tsri_ecdc_table(const float *p, int n, uint32_t *cdf)
{
    const float unit = 1e-8f, span = (float)(whole - 2 * (uint64_t)n);
    uint64_t sum = 0;

    for (int i = 0; i < n; i++) {
        const float rounded = floorf(p[i] / unit) * unit;
        const float part = floorf(span * rounded);
        if (!(part >= 0 && part <= TSRI_ECDC_MAX_SUM))
            return TSR_E_ARG;
        sum += (uint64_t)part + 2;
        if (sum > TSRI_ECDC_MAX_SUM)
            return TSR_E_ARG;
        cdf[i] = (uint32_t)sum;
    }
    return TSR_OK;
}

/* The part of low..high that a symbol has; false: none, or one that a table with
 * too large a sum puts above all numbers of top + 1 bits. */
static bool narrow(uint64_t low, uint64_t high, int top, const uint32_t *cdf,
                   int symbol, uint64_t *first, uint64_t *last)
{
    const uint64_t delta = high - low + 1;
    const uint64_t from = symbol ? cdf[symbol - 1] : 0, to = cdf[symbol];

    if (from >= to || to > TSRI_ECDC_MAX_SUM)
        return false;
    *first = low + ((from * delta + whole - 1) >> TSRI_ECDC_BITS);
    *last = low + ((to - 1) * delta >> TSRI_ECDC_BITS);
    return *first <= *last && !(*last >> (top + 1));
}

/* ---- encoder ---- */

void tsri_ecdc_enc_open(tsri_ecdc_enc *enc, uint8_t *out, size_t room)
{
    *enc = (tsri_ecdc_enc){ .top = -1, .out = out, .room = room };
    memset(out, 0, room);
}

static bool put_bit(tsri_ecdc_enc *enc, uint64_t bit)
{
    if (enc->bits / 8 == enc->room)
        return false;
    enc->out[enc->bits / 8] |= (uint8_t)(bit << enc->bits % 8);
    enc->bits++;
    return true;
}

tsr_error tsri_ecdc_put(tsri_ecdc_enc *enc, const uint32_t *cdf, int symbol)
{
    for (; enc->high - enc->low + 1 < whole; enc->top++) {
        if (enc->top == TOP_MAX)
            return TSR_E_LIMIT;
        enc->low *= 2;
        enc->high = 2 * enc->high + 1;
    }
    if (!narrow(enc->low, enc->high, enc->top, cdf, symbol, &enc->low, &enc->high))
        return TSR_E_ARG;
    for (; enc->top >= 0 && enc->low >> enc->top == enc->high >> enc->top;
         enc->top--) {
        const uint64_t bit = enc->low >> enc->top;
        if (!put_bit(enc, bit))
            return TSR_E_LIMIT;
        enc->low -= bit << enc->top;
        enc->high -= bit << enc->top;
    }
    return TSR_OK;
}

tsr_error tsri_ecdc_finish(tsri_ecdc_enc *enc, size_t *size)
{
    for (; enc->top >= 0; enc->top--)
        if (!put_bit(enc, enc->low >> enc->top & 1))
            return TSR_E_LIMIT;
    *size = (enc->bits + 7) / 8;
    return TSR_OK;
}

/* ---- decoder ---- */

void tsri_ecdc_dec_open(tsri_ecdc_dec *dec, const uint8_t *data, size_t size)
{
    *dec = (tsri_ecdc_dec){ .top = -1, .data = data, .size = size };
}

static tsr_error fill(tsri_ecdc_dec *dec)
{
    for (; dec->high - dec->low + 1 < whole; dec->top++, dec->bits++) {
        if (dec->top == TOP_MAX)
            return TSR_E_CORRUPT;
        if (dec->bits / 8 == dec->size)
            return TSR_E_TRUNCATED;
        dec->low *= 2;
        dec->high = 2 * dec->high + 1;
        dec->code = 2 * dec->code +
                    (dec->data[dec->bits / 8] >> dec->bits % 8 & 1);
    }
    return TSR_OK;
}

/* The published binary search: of the symbols from least to most. */
static tsr_error search(const tsri_ecdc_dec *dec, const uint32_t *cdf, int least,
                        int most, int *symbol, uint64_t *first, uint64_t *last)
{
    while (least <= most) {
        const int middle = least + (most - least) / 2;
        if (!narrow(dec->low, dec->high, dec->top, cdf, middle, first,
                    last))
            return TSR_E_CORRUPT;
        if (dec->code < *first) {
            most = middle - 1;
        } else if (dec->code > *last) {
            least = middle + 1;
        } else {
            *symbol = middle;
            return TSR_OK;
        }
    }
    return TSR_E_CORRUPT;
}

tsr_error tsri_ecdc_get(tsri_ecdc_dec *dec, const uint32_t *cdf, int n,
                        int *symbol)
{
    uint64_t first, last;

    TSR_TRY(fill(dec));
    TSR_TRY(search(dec, cdf, 0, n - 1, symbol, &first, &last));
    dec->low = first;
    dec->high = last;
    for (; dec->top >= 0 && dec->low >> dec->top == dec->high >> dec->top;
         dec->top--) {
        const uint64_t bit = dec->low >> dec->top << dec->top;
        dec->low -= bit;
        dec->high -= bit;
        dec->code -= bit;
    }
    return TSR_OK;
}

size_t tsri_ecdc_used(const tsri_ecdc_dec *dec)
{
    return (dec->bits + 7) / 8;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include "codecs/kv/method_parts.h"
#include "entropy/range.h"

/* The value that `rank` of n values are below or equal to, but for order
 * (Hoare, "Algorithm 65: Find", CACM 4(7), 1961). */
static float select(float *x, size_t n, size_t rank)
{
    size_t low = 0, high = n - 1;

    while (low < high) {
        const float pivot = x[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;;) {
            while (x[i] < pivot)
                i++;
            while (x[j] > pivot)
                j--;
            if (i >= j)
                break;
            const float v = x[i];
            x[i++] = x[j];
            x[j--] = v;
        }
        /* low..j are at most the pivot, those behind at least. */
        if (rank <= j)
            high = j;
        else
            low = j + 1;
    }
    return x[rank];
}

/* Marks `few` values beyond `edge`, then of those on it; sign -1: below. */
static void mark(const float *x, size_t n, size_t step, size_t few, float edge,
                 float sign, uint8_t *mask)
{
    for (size_t i = 0; few && i < n; i++)
        if ((x[i * step] - edge) * sign > 0) {
            mask[i * step] = 1;
            few--;
        }
    for (size_t i = 0; few && i < n; i++)
        if (x[i * step] == edge && !mask[i * step]) {
            mask[i * step] = 1;
            few--;
        }
}

void tsri_kv_sparse_mark(const float *x, size_t n, size_t step, size_t few,
                         uint8_t *mask, float *work)
{
    if (!few)
        return;
    for (size_t i = 0; i < n; i++)
        work[i] = x[i * step];
    const float low = select(work, n, few - 1);
    const float high = select(work, n, n - few);
    mark(x, n, step, few, low, -1, mask);
    mark(x, n, step, few, high, 1, mask);
}

/* At most 2 bytes a decision, and the values. */
size_t tsri_kv_sparse_bound(size_t n)
{
    return 4 + 2 * n + 16 + 2 * n;
}

size_t tsri_kv_sparse_put(const float *x, const uint8_t *mask, size_t n,
                          uint8_t *out)
{
    tsri_range_bit model = { 0 };
    tsri_range_enc enc;
    size_t size;

    tsri_range_enc_open(&enc, out + 4, 2 * n + 16);
    for (size_t i = 0; i < n; i++)
        tsri_range_put_bit(&enc, &model, mask[i]);
    if (tsri_range_finish(&enc, &size))
        return 0;
    tsri_put32(out, (uint32_t)size);
    size += 4;
    for (size_t i = 0; i < n; i++)
        if (mask[i]) {
            const uint16_t half = tsri_kv_half(x[i]);
            if (!tsri_kv_half_finite(half))
                return 0;
            tsri_put16(out + size, half);
            size += 2;
        }
    return size;
}

bool tsri_kv_halves_finite(const uint8_t *halves, size_t n)
{
    bool finite = true;

    for (size_t i = 0; i < n; i++)
        finite &= tsri_kv_half_finite(tsri_get16(halves + 2 * i));
    return finite;
}

tsr_error tsri_kv_sparse_get(tsri_kv_reader *in, uint8_t *mask, size_t n,
                             const uint8_t **values)
{
    const uint8_t *size = tsri_kv_take(in, 4), *data;
    tsri_range_bit model = { 0 };
    tsri_range_dec dec;
    size_t count = 0;

    data = size ? tsri_kv_take(in, tsri_get32(size)) : NULL;
    if (!data)
        return TSR_E_CORRUPT;
    tsri_range_dec_open(&dec, data, tsri_get32(size));
    for (size_t i = 0; i < n; i++)
        count += mask[i] = (uint8_t)tsri_range_get_bit(&dec, &model);
    *values = tsri_kv_take(in, 2 * count);
    return *values && !tsri_range_dec_end(&dec) &&
           tsri_kv_halves_finite(*values, count) ? TSR_OK : TSR_E_CORRUPT;
}

void tsri_kv_sparse_set(const uint8_t *values, const uint8_t *mask, size_t n,
                        float *x)
{
    for (size_t i = 0; i < n; i++)
        if (mask[i]) {
            x[i] = tsri_half_to_float(tsri_get16(values));
            values += 2;
        }
}

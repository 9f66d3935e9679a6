/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables of contexts: sums of logarithms, and of what they stand for. */
#include <string.h>
#include "codecs/audio/codes_impl.h"

/* Loops over a fixed number of codewords, which compilers turn into vectors; the
 * last ones of a table are single. */
enum { BLOCK = TSRI_CODES_BLOCK };

static void add_row(int16_t *restrict logs, const uint8_t *restrict row, int n)
{
    int s = 0;

    for (; s + BLOCK <= n; s += BLOCK)
        for (int i = 0; i < BLOCK; i++)
            logs[s + i] = (int16_t)(logs[s + i] + row[s + i]);
    for (; s < n; s++)
        logs[s] = (int16_t)(logs[s] + row[s]);
}

static void set_row(int16_t *restrict logs, const uint8_t *restrict row, int n)
{
    int s = 0;

    for (; s + BLOCK <= n; s += BLOCK)
        for (int i = 0; i < BLOCK; i++)
            logs[s + i] = row[s + i];
    for (; s < n; s++)
        logs[s] = row[s];
}

static int largest(const int16_t *logs, int n)
{
    int16_t most[BLOCK] = { 0 };
    int s = 0, all = 0;

    for (; s + BLOCK <= n; s += BLOCK)
        for (int i = 0; i < BLOCK; i++)
            most[i] = logs[s + i] > most[i] ? logs[s + i] : most[i];
    for (int i = 0; i < BLOCK; i++)
        all = tsri_max(all, most[i]);
    for (; s < n; s++)
        all = tsri_max(all, logs[s]);
    return all;
}

static int16_t lowered(int16_t log, int less)
{
    const int16_t v = (int16_t)(log - less);
    return v > 0 ? v : 0;
}

static void lower(int16_t *logs, int n, int less)
{
    int s = 0;

    for (; s + BLOCK <= n; s += BLOCK)
        for (int i = 0; i < BLOCK; i++)
            logs[s + i] = lowered(logs[s + i], less);
    for (; s < n; s++)
        logs[s] = lowered(logs[s], less);
}

static void add_plain(const uint8_t *const *rows, int count, int n, int16_t *logs)
{
    set_row(logs, rows[0], n);
    for (int r = 1; r < count; r++)
        add_row(logs, rows[r], n);
    lower(logs, n, largest(logs, n) - UINT8_MAX);
}

/* Of n <= BLOCK codewords; weights are below 2^24. */
static uint32_t sum_block(const uint32_t *weight, const int16_t *logs, int n)
{
    uint32_t a = 0, b = 0;
    int s = 0;

    for (; s + 2 <= n; s += 2) {
        a += weight[logs[s]];
        b += weight[logs[s + 1]];
    }
    return s < n ? a + b + weight[logs[s]] : a + b;
}

static uint64_t sum_plain(const uint32_t *weight, const int16_t *logs, int n,
                          uint64_t *before)
{
    uint64_t sum = 0;

    for (int s = 0; s < n; s += BLOCK) {
        if (before)
            before[s / BLOCK] = sum;
        sum += sum_block(weight, logs + s, tsri_min(n - s, BLOCK));
    }
    return sum;
}

const tsri_logs_kernels *tsri_logs_kernels_plain(void)
{
    static const tsri_logs_kernels kernels = { add_plain, sum_plain };

    return &kernels;
}

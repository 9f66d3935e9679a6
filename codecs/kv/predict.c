/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "codecs/kv/chain.h"
#include "codecs/kv/move.h"
#include "codecs/kv/profile.h"

enum { TOKENS = 64, VALUES = 128 };     /* of a block: 32 KiB */

/* Values k .. k + n - 1 of the embedding of an id; zeros for one outside of
 * the vocabulary. */
static void embed(const tsri_kv_profile *profile, unsigned cpu, int32_t id,
                  int k, int n, float *out)
{
    const uint8_t *row;

    if (id < 0 || id >= profile->vocabulary) {
        memset(out, 0, (size_t)n * sizeof *out);
        return;
    }
    row = profile->embedding +
          2 * ((size_t)id * (size_t)profile->hidden + (size_t)k);
    (void)tsri_kv_from_dtype(TSR_KV_F16, cpu, row, (size_t)n, out);
}

/* Adds what the tokens `back` before say: rows of the matrix from `w` on. */
static void add(const tsri_kv_profile *profile, unsigned cpu, const float *w,
                size_t w_pitch, const int32_t *ids, size_t first, int n,
                size_t back, int live, float *out, size_t pitch)
{
    float a[TOKENS * VALUES];

    for (int k = 0; k < profile->hidden; k += VALUES) {
        const int some = tsri_min(VALUES, profile->hidden - k);
        for (int t = 0; t < n; t++) {
            const size_t at = first + (size_t)t;
            embed(profile, cpu, at < back ? -1 : ids[at - back], k, some,
                  a + t * VALUES);
        }
        tsri_kv_chain(cpu, a, VALUES, n, some, w + (size_t)k * w_pitch, w_pitch,
                      live, out, pitch);
    }
}

void tsri_kv_predict(const tsri_kv_profile *profile, const tsri_kv_group *group,
                     unsigned cpu, const int32_t *ids, size_t first, int n,
                     int live, float *out, size_t pitch)
{
    const size_t r = (size_t)group->r, hidden = (size_t)profile->hidden;
    const float *constant =
        group->predict + (size_t)profile->predictors * hidden * r;

    for (int t = 0; t < n; t++)
        memcpy(out + (size_t)t * pitch, constant, (size_t)live * sizeof *out);
    for (int t = 0; t < n; t += TOKENS)
        for (size_t j = 0; j < (size_t)profile->predictors; j++)
            add(profile, cpu, group->predict + j * hidden * r, r, ids,
                first + (size_t)t, tsri_min(TOKENS, n - t), j, live,
                out + (size_t)t * pitch, pitch);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Texts repeat their words: what an id says is worked out once for all tokens
 * of a block that have it, some outputs at a time. */
#include <string.h>
#include "codecs/kv/chain.h"
#include "codecs/kv/move.h"
#include "codecs/kv/profile.h"

enum {
    TOKENS = 256,               /* of a block */
    OUTS = 48,                  /* at a time: two panels of the AVX2 kernel */
    ROWS = 64, VALUES = 128,    /* of embeddings at a time: 32 KiB */
    SLOTS = 2 * TOKENS
};

/* The different ids of a block. */
typedef struct words {
    int count;
    int32_t id[TOKENS];
    int16_t of_token[TOKENS];   /* which of them */
} words;

/* The word of an id, new or known. */
static int16_t word_of(words *w, int16_t slot[SLOTS], int32_t id)
{
    uint32_t at = (uint32_t)id * 0x9e3779b1u / (UINT32_MAX / SLOTS + 1);

    while (slot[at] >= 0 && w->id[slot[at]] != id)
        at = (at + 1) % SLOTS;
    if (slot[at] < 0) {
        slot[at] = (int16_t)w->count;
        w->id[w->count++] = id;
    }
    return slot[at];
}

/* The words `back` before n tokens; -1 before the text. */
static void find_words(words *w, const int32_t *ids, size_t first, int n,
                       size_t back)
{
    int16_t slot[SLOTS];

    memset(slot, -1, sizeof slot);
    w->count = 0;
    for (int t = 0; t < n; t++) {
        const size_t at = first + (size_t)t;
        w->of_token[t] = word_of(w, slot, at < back ? -1 : ids[at - back]);
    }
}

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

/* part[word][OUTS]: embeddings times `outs` columns of a matrix of n. */
static void say(const tsri_kv_profile *profile, unsigned cpu, const words *w,
                const float *matrix, size_t n, int outs, float *part)
{
    float e[ROWS * VALUES];

    memset(part, 0, (size_t)w->count * OUTS * sizeof *part);
    for (int i = 0; i < w->count; i += ROWS)
        for (int k = 0; k < profile->hidden; k += VALUES) {
            const int rows = tsri_min(ROWS, w->count - i);
            const int values = tsri_min(VALUES, profile->hidden - k);
            for (int row = 0; row < rows; row++)
                embed(profile, cpu, w->id[i + row], k, values, e + row * VALUES);
            tsri_kv_chain(cpu, e, VALUES, rows, values, matrix + (size_t)k * n,
                          n, outs, part + i * OUTS, OUTS);
        }
}

/* Takes one row of what is said off or puts it on. */
static void apply(unsigned cpu, bool off, const float *said, int n, float *x)
{
    if (off)
        tsri_kv_centre(cpu, said, NULL, n, x);
    else
        tsri_kv_uncentre(cpu, said, NULL, n, x);
}

/* What the words of tokens <= TOKENS tokens say. */
static void apply_words(const tsri_kv_profile *profile, unsigned cpu,
                        const words *w, const float *matrix, int n, int tokens,
                        bool off, float *x, size_t pitch)
{
    float part[TOKENS * OUTS];

    for (int o = 0; o < n; o += OUTS) {
        const int outs = tsri_min(OUTS, n - o);
        say(profile, cpu, w, matrix + o, (size_t)n, outs, part);
        for (int t = 0; t < tokens; t++)
            apply(cpu, off, part + w->of_token[t] * OUTS, outs,
                  x + (size_t)t * pitch + o);
    }
}

void tsri_kv_predict(const tsri_kv_profile *profile, const tsri_kv_group *group,
                     unsigned cpu, const int32_t *ids, size_t first, int tokens,
                     bool off, float *x, size_t pitch)
{
    const size_t matrix = (size_t)profile->hidden * (size_t)group->n;
    const size_t predictors = (size_t)profile->predictors;
    words w;

    for (int t = 0; t < tokens; t++)
        apply(cpu, off, group->predict + predictors * matrix, group->n,
              x + (size_t)t * pitch);
    for (int t = 0; t < tokens; t += TOKENS)
        for (size_t j = 0; j < predictors; j++) {
            const int some = tsri_min(TOKENS, tokens - t);
            find_words(&w, ids, first + (size_t)t, some, j);
            apply_words(profile, cpu, &w, group->predict + j * matrix, group->n,
                        some, off, x + (size_t)t * pitch, pitch);
        }
}

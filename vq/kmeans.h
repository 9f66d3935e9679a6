/* SPDX-License-Identifier: BSD-2-Clause */
/* The state of one run of k-means, shared by its files. */
#ifndef TSR_VQ_KMEANS_H
#define TSR_VQ_KMEANS_H
#include "vq/rows.h"

/** SplitMix64 (Steele, Lea & Flood, OOPSLA 2014): the same numbers on every
 *  machine. */
typedef struct tsri_random { uint64_t state; } tsri_random;

static inline uint64_t tsri_random_u64(tsri_random *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/** Uniform in 0..n-1, n < 2^32. */
static inline size_t tsri_random_below(tsri_random *r, size_t n)
{
    return (size_t)((tsri_random_u64(r) >> 32) * n >> 32);
}

typedef struct tsri_kmeans {
    tsr_context *ctx;
    tsr_kmeans_settings set;
    tsri_random random;
    const float *x;             /* [n][dim] */
    size_t n;
    int dim, k;
    float *words;               /* [k][dim]; the caller's */
    float *next;                /* [k][dim]: the means of their vectors */
    int32_t *codes;             /* [n] */
    int32_t *order;             /* [n]: vectors by code, then by number */
    float *dist;                /* [n]: weighted squared distances */
    size_t *first;              /* [k + 1]: where a code begins in `order` */
    double *weight, *error;     /* [k]: of each codeword's vectors */
    double *sum;                /* [threads][dim] */
    int repaired;
} tsri_kmeans;

static inline float tsri_kmeans_weight(const tsri_kmeans *km, size_t i)
{
    return km->set.weights ? km->set.weights[i] : 1;
}

/** Fills km->words as km->set.start says; changes dist and codes. */
tsr_error tsri_kmeans_seed(tsri_kmeans *km);
#endif

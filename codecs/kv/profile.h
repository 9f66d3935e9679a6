/* SPDX-License-Identifier: BSD-2-Clause */
/* A profile: what is known of a model's caches beforehand, and how they are
 * transformed.  A safetensors file with metadata tessera.codec = "kv-profile";
 * docs/kv-format.md section 5 lists its tensors. */
#ifndef TSR_CODECS_KV_PROFILE_H
#define TSR_CODECS_KV_PROFILE_H
#include "codecs/kv/kv.h"

enum {
    TSRI_KV_MATCHES = 8,            /* classes of matches */
    TSRI_KV_MAX_VALUES = 1 << 16,   /* of a token in a group */
    TSRI_KV_MAX_PREDICTORS = 4
};

/** How a group of planes becomes coefficients; arrays are the profile's. */
typedef struct tsri_kv_group {
    int first_layer, layers;
    int plane;              /* -1: all planes of these layers, in order layer,
                               plane */
    int n, r;               /* values of a token; coefficients, r <= n */
    const float *mean;      /* n, or NULL: 0 */
    const float *scale;     /* n: z = (x - mean) * scale, or NULL: 1 */
    const float *unscale;   /* 1 / scale, rounded, or NULL */
    const float *forward;   /* n x r (a file has r x n), or NULL: z = x */
    const float *inverse;   /* r x n: x = sum of z[i] * inverse[i] */
    const uint8_t *cls;     /* matches x r, < TSRI_ROWS_CLASSES; NULL: none is
                               known (no profile) */
    const int8_t *rho;      /* matches x r, in 1/64, or NULL: 0 */
    const float *predict;   /* (predictors * hidden + 1) x n, or NULL; its last
                               row is the constant */
} tsri_kv_group;

typedef enum tsri_kv_reference {
    TSRI_KV_REF_NONE,
    TSRI_KV_REF_PREVIOUS,   /* the token before */
    TSRI_KV_REF_ANCHOR,     /* the last token with number % anchor == 0 */
    TSRI_KV_REF_MATCH       /* the end of the last longest matching run of token
                               ids; codecs/kv/match.h */
} tsri_kv_reference;

typedef struct tsri_kv_profile {
    tsr_kv_shape shape;
    tsr_kv_rope rope;
    bool hadamard;          /* every head is turned by Walsh and Hadamard's
                               matrix before its group is transformed */
    float step;             /* what a multiple of 1 is; 1 without a profile */
    int bias;               /* class bytes are those at step 2^(-bias / 4) */
    int dead;               /* classes below it are not coded */
    int groups;
    tsri_kv_group *group;
    int matches;            /* rows of cls and rho: 1, or 8 */
    tsri_kv_reference reference;
    int anchor;
    int predictors;         /* token ids that predict: 0, 1 (its own), 2 (and
                               the one before) ... 4 */
    int vocabulary, hidden;
    const uint8_t *embedding;   /* f16, little-endian, vocabulary x hidden; in
                                   the model's file, at any address */
    tsri_rows *rows;        /* the tables, opened with the profile */
    tsr_model *model;       /* a reference, or NULL */
    uint8_t hash[8];        /* zeros: none */
} tsri_kv_profile;

/**
 * Reads a profile for caches of `shape`.
 *
 * model  one more reference is taken.  NULL: the profile that is none: each
 *        plane a group, no transform, cls NULL
 * rope   of the profile that is none; a file has its own
 *
 * All is checked before memory is taken for it.  Memory: 4 bytes for each
 * number of the means, scales and matrices (a file mostly has 2); the embedding
 * stays in the file.
 *
 * Returns TSR_OK; TSR_E_MODEL no profile, or of another shape; TSR_E_CORRUPT a
 * tensor is missing or wrong; TSR_E_NOMEM.  Logs.
 */
tsr_error tsri_kv_profile_open(tsri_kv_profile **profile, tsr_context *ctx,
                               tsr_model *model, const tsr_kv_shape *shape,
                               const tsr_kv_rope *rope);
void tsri_kv_profile_close(tsri_kv_profile **profile, tsr_context *ctx);

/** What is added to class bytes where the step of level 0 is `multiple` times
 *  the profile's; multiple > 0. */
int8_t tsri_kv_class_shift(const tsri_kv_profile *profile, float multiple);

/** Coefficients that are coded at this class shift, 0..r: up to the last whose
 *  class of row 0 is not dead.  Without classes: all. */
int tsri_kv_group_live(const tsri_kv_profile *profile, const tsri_kv_group *group,
                       int class_shift);

/**
 * x -> z for some tokens: mean, Hadamard, scale, matrix.
 *
 * x      tokens x n, changed; rotation is off already
 * live   the first coefficients that are wanted, <= r
 * z      out, tokens x live, pitch z_pitch
 *
 * Every z is a chain of fused multiply-adds in rising order of the values, from
 * 0, so that all machines get the same: 2 n live operations a token.
 */
void tsri_kv_forward(const tsri_kv_profile *profile, const tsri_kv_group *group,
                     unsigned cpu, float *x, size_t x_pitch, int tokens,
                     int live, float *z, size_t z_pitch);
void tsri_kv_inverse(const tsri_kv_profile *profile, const tsri_kv_group *group,
                     unsigned cpu, const float *z, size_t z_pitch, int tokens,
                     int live, float *x, size_t x_pitch);

/**
 * Takes what token ids say of the values off x[t][0..n), or puts it on.
 *
 * ids    of at least the first first + tokens tokens of the object; x holds
 *        tokens first .. first + tokens - 1.  Ids outside of the vocabulary say
 *        nothing
 *
 * group->predict is not NULL.  2 predictors hidden n operations for each
 * different id of 256 tokens (so many at a time are best); 100 KB of stack.
 */
void tsri_kv_predict(const tsri_kv_profile *profile, const tsri_kv_group *group,
                     unsigned cpu, const int32_t *ids, size_t first, int tokens,
                     bool off, float *x, size_t pitch);
#endif

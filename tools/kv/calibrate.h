/* SPDX-License-Identifier: BSD-2-Clause */
/* What is learnt from calibration caches about one group of planes; the
 * mathematics of docs/kv-format.md, section 5, from the encoder's side. */
#ifndef TOOLS_KV_CALIBRATE_H
#define TOOLS_KV_CALIBRATE_H
#include "tools/kv/cache.h"

enum {
    CAL_MATCHES = 8,
    CAL_CLASS_ONE = 14,     /**< class of a mean magnitude of one step; there
                                 are four classes an octave */
    CAL_BIAS = 16,          /**< bytes are the classes at a sixteenth of the
                                 step: finer steps have some, too */
    CAL_CLASSES = 64,
    CAL_DEAD = 4            /**< below it coefficients are not coded */
};

typedef enum cal_metric { CAL_NONE, CAL_QUERY, CAL_FISHER } cal_metric;

/** What all groups share. */
typedef struct calibration {
    tsr_context *ctx;
    cache *in;              /**< count caches of one shape */
    int count;
    tsr_model *stats;       /**< or NULL */
    cal_metric metric;
    int sinks;              /**< first tokens of each cache that are left out */
    size_t rows;            /**< tokens that are not */
    int predictors, hidden, vocabulary;
    const uint8_t *embedding;   /**< halves, at any alignment */
    double *gram;           /**< of the features of prediction */
    int reference;          /**< kv.reference: 0 none, 1 the token before, 2 the
                                 anchor before, 3 matching ids */
    int anchor;
    int hadamard;           /**< 1: planes' heads are turned */
    int32_t **ref;          /**< of each cache */
    uint8_t **cls;
    double step;            /**< what a coefficient of 1 means */
} calibration;

/** A group's tensors; free with cal_group_free(). */
typedef struct cal_group {
    int first_layer, layers;
    int n, r;
    float *mean;            /**< n */
    float *forward;         /**< r x n */
    float *inverse;         /**< r x n */
    float *predict;         /**< features x n, or NULL */
    uint8_t *cls;           /**< cal_matches() rows of r */
    int8_t *rho;            /**< as many, or NULL */
    double magnitude;       /**< mean of |z|, for messages */
} cal_group;

/** Prepares: features' sums, matches.  Returns an exit status. */
int cal_open(calibration *c);
void cal_close(calibration *c);

/** Rows of classes and gains: CAL_MATCHES with references, else 1. */
int cal_matches(const calibration *c);

/** Features of a token: hidden * predictors + 1, the last is 1. */
int cal_features(const calibration *c);

/** Learns one group.  keep: coefficients whose mean magnitude is below this
 *  many steps are left out. */
int cal_group_learn(const calibration *c, int first_layer, int layers,
                    double keep, cal_group *g);
void cal_group_free(cal_group *g);

/** What a profile without a transform knows of a plane. */
typedef struct cal_plane {
    size_t n;               /**< channels */
    float *mean;            /**< n */
    double *magnitude;      /**< n: mean distance from the mean, of what is
                                 coded: turned with `hadamard` */
    double variance;        /**< about the channels' means, mean of them */
} cal_plane;

/** Learns one; free with cal_plane_free() in any case. */
int cal_plane_learn(const calibration *c, int layer, int plane, cal_plane *p);
void cal_plane_free(cal_plane *p);

/** The class byte of a mean magnitude in steps. */
uint8_t cal_class(double magnitude);

/** The metric of errors in the values of a group, n x n, symmetric; NULL where
 *  there is none (metric none).  Returns an exit status. */
int cal_metric_open(const calibration *c, int first_layer, int layers, int n,
                    double **metric);

/** References and classes of z[rows][r] (in steps): fills cls and rho. */
int cal_references(const calibration *c, const float *z, cal_group *g);
#endif

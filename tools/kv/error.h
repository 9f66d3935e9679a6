/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TOOLS_KV_ERROR_H
#define TOOLS_KV_ERROR_H
#include "tools/kv/cache.h"

/** What lies between two caches. */
typedef struct kv_errors {
    double signal, noise;   /**< sums of squares of the first, of the gaps */
    double most;            /**< largest gap */
    double count, differ;   /**< values, and those that are not equal */
} kv_errors;

/** Adds a plane of a layer; the caches have one shape.  An exit status. */
int kv_error(const cache *a, const cache *b, int layer, int plane,
             kv_errors *e);

/** Root of noise over signal. */
double kv_relative(const kv_errors *e);

static inline void kv_errors_add(kv_errors *sum, const kv_errors *e)
{
    sum->signal += e->signal;
    sum->noise += e->noise;
    sum->most = e->most > sum->most ? e->most : sum->most;
    sum->count += e->count;
    sum->differ += e->differ;
}
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* KV caches on the host and on a CUDA device, for the tests and the benchmark of
 * the device's coder. */
#ifndef TSR_TESTS_CUDA_KV_H
#define TSR_TESTS_CUDA_KV_H
#include <stdbool.h>
#include <tessera/kv_cuda.h>
#include "lib/cuda/device.h"

typedef enum placing { THD, HTD, NHD, HND } placing;

/** What a profile has.  (Matches are made of token ids: where there are none it is
 *  used without.) */
enum {
    PLAIN = 1, SCALES = 2, HADAMARD = 4, MATRICES = 8,
    MATCHES = 16, PREVIOUS = 32, ANCHOR = 64,   /* references */
    GAINS = 128,            /* what is taken over from them */
    WORDS = 256,            /* predictions from token ids */
    TABLES = 512            /* of a published method, and nothing else */
};

/** Token ids: kept in objects, or given to who decodes them. */
enum { NO_IDS, KEPT_IDS, GIVEN_IDS };

typedef struct test_case {
    tsr_kv_shape shape;
    int layout, offset, dims;   /* of the rotation */
    tsr_kv_dtype dtype;
    placing how;
    int objects, tokens, tile, sinks, recent, boost;
    uint64_t pos0;
    double step;
    int levels;
    int profile;                /* 0: none */
    int joined;                 /* layers of a group; 0: planes are groups */
    int columns;                /* of a matrix, in percent; 0: all */
    int bias, dead, live;       /* live: coefficients that are, in percent */
    int span;                   /* 0: the coder's own */
    int ids;
    const char *method;         /* a published one; NULL: rows */
    bool boosts;                /* some tokens are given some */
    int entries, bits;          /* TABLES: of vq's codebooks, or kvquant's */
} test_case;

enum {
    BLOCK = 16,                 /* tokens of a block */
    VOCABULARY = 50
};

#define SHAPE(l, p, h, d) { l, p, { h, h }, { d, d } }

/** Tokens of an object that are wanted; n 0: all from the first on. */
typedef struct token_range {
    size_t first, n;
} token_range;

typedef struct problem {
    const test_case *t;
    tsr_context *ctx;
    tsri_cuda *gpu;
    tsr_model *profile;
    tsr_kv *kv;
    tsr_kv_cuda *coder;
    float **mean, **spread;     /* of the planes' channels */
    int planes, channels[2], blocks;
    size_t element, all;        /* bytes; tokens of all objects */
    uint8_t **cache;            /* planes: [token][channel] */
    int32_t *block;             /* of the cache */
    int32_t *ids;               /* of all tokens, or NULL */
    uint8_t *boost;             /* alike */
    uint8_t **object;           /* made on the CPU */
    size_t *size, bound;
    /* on the device: */
    size_t plane_bytes[2];
    uint8_t *pool;              /* all planes */
    void **base;
    int32_t *device_block, *device_ids;
    uint8_t *device_boost;
    uint8_t *data;              /* bound each */
    uint64_t *bytes;
    int32_t *status;
    void *scratch;
    size_t scratch_size;
    tsr_kv_cuda_item *item;
    token_range *range;         /* decoding, of each object */
} problem;

/** What became of the objects. */
typedef struct outcome {
    uint8_t *data;
    uint64_t *bytes;
    int32_t *status;
} outcome;

/** A plane on the device, left out or not. */
static inline uint8_t *plane_of(const problem *p, int plane)
{
    return p->pool + (size_t)plane * p->plane_bytes[0];
}

/** Whether token t of all objects is to be decoded. */
static inline bool in_range(const problem *p, size_t t)
{
    const token_range *r = &p->range[t / (size_t)p->t->tokens];
    const size_t at = t % (size_t)p->t->tokens;

    return at >= r->first && (!r->n || at - r->first < r->n);
}

/** Ends the program. */
void die(const char *format, ...);
void must(tsr_error error, const char *what);
/** Numbers drawn after it are the same after each call with that seed. */
void restart(uint64_t seed);
uint32_t below(uint32_t n);
float normal(void);
void *room(size_t size);
tsr_kv_view device_view(const problem *p);
tsr_kv_view host_view(const problem *p, uint8_t *const *cache, void **base,
                      int object);
tsr_kv_call host_call(const problem *p, int object, bool encoding);
tsr_model *make_profile(const problem *p, float step);
void choose_spreads(problem *p, float spread, int wide, float factor);
void open_coder(problem *p);
void make_cache(problem *p);
void make_text(problem *p);
void give_ids(const problem *p, bool given);
void encode_on_cpu(problem *p);
void open_device(problem *p);
void close_problem(problem *p);
size_t place(const problem *p, int plane, size_t t, int channel);
void spread(const problem *p, uint8_t *const *cache, int plane, uint8_t poison,
            uint8_t *out);
void upload_cache(const problem *p, uint8_t *const *cache);
outcome get_outcome(const problem *p);
void free_outcome(outcome *o);
outcome encode_on_gpu(const problem *p);
void decode_on_gpu(const problem *p, uint8_t *const *object, const size_t *size,
                   int level, uint8_t poison, int32_t *status);
uint8_t **make_planes(const problem *p);
void free_planes(const problem *p, uint8_t **cache);

/** Prints speeds, of all or those of one name. */
int bench(tsr_context *ctx, tsri_cuda *gpu, const char *only);
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernels of the KV codec offer to C: launchers on device pointers,
 * nothing that waits.  docs/kv-format.md is the format. */
#ifndef TSR_CODECS_KV_CUDA_KV_KERNELS_H
#define TSR_CODECS_KV_CUDA_KV_KERNELS_H
#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TSRI_KV_GPU_HEADER = 160,
    TSRI_KV_GPU_ARGUMENTS = 3584,   /* bytes that one launch carries over */
    TSRI_KV_GPU_CRC = 256,          /* threads of a block that makes a CRC */
    TSRI_KV_GPU_LEVELS = 3,
    TSRI_KV_GPU_REFINES = 26        /* classes whose tables of refinements may
                                       differ; those above have the last's */
};

/** Constants of CRC-32C, see crc.cuh; x^n modulo its polynomial. */
typedef struct tsri_kv_gpu_crc {
    uint32_t step[4][256];  /**< byte k of a word, times x^(32 * threads) */
    uint32_t thread[TSRI_KV_GPU_CRC];   /**< x^(32 * (threads - i)) */
} tsri_kv_gpu_crc;

/** What an encoder needs of a symbol of frequency f, two words: mul; and f << 20
 *  | bias << 6 | inc << 5 | shift, as in entropy/bank_impl.h. */
typedef struct tsri_kv_gpu_code {
    uint32_t mul, rest;
} tsri_kv_gpu_code;

enum { TSRI_KV_GPU_STRIDE = 37 };   /* entries of a table: symbols that are
                                       frequent in two tables should not be in
                                       the same bank of shared memory */

/** Tables of rows.  Classes whose frequencies are equal share one. */
typedef struct tsri_kv_gpu_tables {
    int tables;
    const uint8_t *slot;    /**< tables x 4096: a slot's symbol */
    const uint32_t *entry;  /**< tables x STRIDE: (f - 4096) << 16 | start */
    const tsri_kv_gpu_code *code;   /**< tables x STRIDE */
    const uint8_t *table;   /**< of each of 64 classes */
    const uint8_t *low;     /**< of each of 64 classes: raw low bits */
    const uint8_t *reach;   /**< of each of 64 classes: greater magnitudes are
                                 escapes */
    const uint32_t *border; /**< 64: least mean magnitude of each class, in
                                 2^-16 */
    const tsri_kv_gpu_code *refine_code;    /**< REFINES x kinds of q0 x 3
                                                 symbols */
    const uint32_t *refine_bound;   /**< REFINES x kinds: where symbols 1 and 2
                                         begin, the latter << 16 */
} tsri_kv_gpu_tables;

enum { TSRI_KV_GPU_TAILS = 193 };

/** What shapes of tables are made of, as in entropy/shapes_table.h. */
typedef struct tsri_kv_gpu_shapes {
    uint32_t gauss[TSRI_KV_GPU_TAILS], inverse[8], decay[72];
} tsri_kv_gpu_shapes;

enum { TSRI_KV_GPU_DIGITS = 8 };

/** Codebooks of a plane: [stages][groups][entries][dims]; and how indices of more
 *  than 256 entries are packed: `digits` in a number of `bits`, rest_bits[n] where
 *  there are only n. */
typedef struct tsri_kv_gpu_books {
    const float *at, *norm;     /**< norm: sums of squares of the entries */
    int stages, groups, entries, dims;
    int digits, bits, rest_bits[TSRI_KV_GPU_DIGITS];
} tsri_kv_gpu_books;

/** A group, whose coefficients are coded together: a plane, or by a profile
 *  several, perhaps transformed.  Pointers are of the device. */
typedef struct tsri_kv_gpu_group {
    int first_plane, planes;    /**< of layers * planes */
    int values;             /**< of a token */
    int coefs;              /**< that are coded */
    int columns;            /**< coefficients that the profile has */
    int pitch;              /**< of a token's row in job.values */
    int segments;           /**< of a tile */
    int segment;            /**< segments, pitches, values of the groups before */
    size_t pitch_before, values_before;
    const float *mean, *scale, *unscale;    /**< [values], or NULL */
    const float *forward;   /**< [values][columns], or NULL: the identity */
    const float *inverse;   /**< [coefs][values] */
    const uint8_t *cls;     /**< [class_rows][columns], or NULL: objects have
                                 them */
    const int8_t *rho;      /**< [class_rows][columns], or NULL: 0 */
    const float *words;     /**< [predictors * hidden + 1][values], or NULL */
} tsri_kv_gpu_group;

/** Where the values of a plane are in its group's. */
typedef struct tsri_kv_gpu_plane {
    int group, offset;
} tsri_kv_gpu_plane;

/** An object of a call. */
typedef struct tsri_kv_gpu_item {
    const int32_t *blocks;
    uint64_t first;         /**< its token 0 is this one of the view */
    uint8_t *data;
    uint64_t size;          /**< room, or bytes readable */
    uint64_t *bytes;
    int32_t *status;
    uint32_t pos0, sinks;   /**< encoder */
    int32_t level;          /**< decoder: levels wanted; 0: all */
    uint32_t from, to;      /**< tokens wanted, without the last; encoder: all */
    const int32_t *ids;     /**< of its tokens, or NULL */
    const uint8_t *boost;   /**< encoder: alike */
} tsri_kv_gpu_item;

/** What is known of an object while a call runs. */
typedef struct tsri_kv_gpu_object {
    uint64_t heads, units;  /**< where the first of each begins */
    uint64_t size;
    float step[2];          /**< of the planes, level 0 */
    uint32_t pos0, sinks;
    uint32_t boosts;        /**< where they are, or 0: there are none */
    uint32_t sections;      /**< bytes of the front sections */
    int32_t flags, id_bits, dtype;
    const int32_t *ids;     /**< that its values lean on, or NULL */
    int32_t levels, used;   /**< it has; that are decoded */
    int32_t class_shift;
    int32_t good;           /**< is anything to be done? */
} tsri_kv_gpu_object;

/** A call: what its objects share. */
typedef struct tsri_kv_gpu_job {
    /* the coder */
    int layers, planes, groups, levels;
    int profiled;
    int method, param[4];           /* published methods; 0: rows */
    const tsri_kv_gpu_shapes *shapes;
    const tsri_kv_gpu_books *books; /* vq: of each plane */
    int indices;                    /* vq: of a token in all stages, at most */
    const float *level;             /* kvquant: of the profile, [planes][16] */
    const uint8_t *has_level;       /* of each plane, or NULL: no profile */
    int reference, anchor;          /* of the profile: tsri_kv_reference */
    int class_rows;                 /* of class bytes and gains: 1, or 8 */
    int predictors, vocabulary, hidden;
    const uint16_t *embedding;      /* [vocabulary][hidden], halves */
    int store_ids;                  /* encoder: those that are given */
    int refers, predicts;           /* may be done in this call */
    int hadamard, transforms;       /* heads are turned; there are matrices */
    int class_shift, dead;          /* encoder; of the profile */
    float profile_step;             /* 1 without one */
    float turn[2];                  /* 1 / sqrt(dim) */
    const tsri_kv_gpu_group *group;
    const tsri_kv_gpu_plane *plane; /* layers * planes */
    const uint16_t *segment_group;  /* of all segments of a tile, their groups */
    int all_segments;               /* of all groups, in a tile */
    int most_coefs, most_values;    /* of a group */
    size_t all_pitch, all_values;   /* of all groups, a token */
    int dim[2], heads[2], channels[2];
    int segments[2];                /* of a unit of a plane, no profile */
    int layer_segments, layer_channels; /* of all planes of a layer */
    int span, tile;
    int strips, head_strips;        /* of a segment, 4 or 8, all of whole heads
                                       of 2 or 4; strips 0: any other segment,
                                       head_strips 0: any other shape */
    int sms, shared;                /* multiprocessors; bytes of shared memory that a
                                       thread block can have */
    int layout, offset, pairs;      /* of the rotation; layout 0: none */
    const float2 *low, *high;       /* [256][pairs], [positions / 256][pairs] */
    uint64_t positions;
    const uint8_t *header;          /* as expected, or to be written */
    const tsri_kv_gpu_crc *crc;
    tsri_kv_gpu_tables tables;
    /* the call */
    int objects, tokens, tiles;
    uint32_t sections;              /* encoder: bytes of recent boosts */
    int boosted;                    /* encoder: boosts are given */
    int recent, recent_boost;       /* encoder */
    float step[2], quarter[2];      /* encoder: of level 0, 4 / that */
    float inverse[2];               /* encoder: 1 / step of the last level */
    const tsri_kv_gpu_item *items;
    uint8_t *const *base;           /* layers * planes */
    int dtype, block_tokens;
    ptrdiff_t token_stride, head_stride, block_stride;
    /* scratch */
    tsri_kv_gpu_object *object;     /* [objects] */
    float2 *angles;                 /* [objects][tokens][pairs] */
    int16_t *values;                /* strips 0: [groups][objects][tokens]
                                       [pitch of the group] */
    float *x;                       /* the same where there are matrices:
                                       [values of the group] */
    int32_t *ids;                   /* decoder: [objects][tokens] that objects
                                       have; where they may be of use */
    int32_t *ref;                   /* where there may be references: earlier
                                       tokens or -1, [objects][tokens] */
    uint8_t *match;                 /* rows of class bytes, alike */
    int32_t *rank, *salient;        /* methods of classes: of tokens among
                                       theirs, [objects][tokens]; how many,
                                       [objects][tiles] */
    void *units;                    /* methods: where parts are, of [objects]
                                       [planes][tiles] */
    uint8_t *unit_room;             /* of each unit_bytes */
    size_t unit_bytes;
    int coded;                      /* encoder: units are made packed, in `plain`,
                                       then coded, in `recode`; of each so many
                                       bytes */
    uint8_t *plain, *recode;
    size_t plain_bytes, recode_bytes;
    tsri_kv_gpu_item *aside;        /* [objects], items whose data is `plain` */
    uint64_t *aside_at;             /* where units are in it, like unit_at */
    int32_t *fixed;                 /* reconstructions, like values */
    float *z;                       /* coefficients, like values: what is
                                       quantised, or decoded */
    float *said;                    /* by token ids: [predictors], each like x */
    uint64_t *unit_at;              /* [objects]([groups][tiles][levels] and
                                       one) */
    uint32_t *sample;               /* encoder where boosts are given: tokens that
                                       centres are of, [objects][32] */
    int16_t *centre;                /* encoder without profile: [objects]
                                       [layers][layer_channels] */
    uint8_t *cls;
    unsigned long long *sum;
    uint32_t *packed;               /* encoder: values of a segment, of 16 bits
                                       where wide[segment], else bytes:
                                       [segments][rows][32 lanes][strips] */
    uint8_t *wide;
    uint32_t *segment_size;         /* encoder: [segments][levels]; of methods,
                                       of each unit */
    uint8_t *slots;                 /* [segments] of slot_all bytes */
    size_t slot, slot_more;         /* bytes of level 0, of each other level */
    size_t slot_all;
} tsri_kv_gpu_job;

#ifdef __cplusplus
extern "C" {
#endif

/** Carries n bytes from the host to the device, in order with the stream and
 *  done with `from` on return. */
cudaError_t tsri_kv_gpu_carry(void *to, const void *from, size_t n,
                              cudaStream_t stream);

/** Decoder: fronts are checked and CRCs; angles, offsets; then the values:
 *  sinks, and rows, in one go where job->strips says so, else segments to
 *  values, those through matrices, and either to the cache. */
cudaError_t tsri_kv_gpu_read(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_sinks(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_decode(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_get_segments(const tsri_kv_gpu_job *job,
                                     cudaStream_t stream);
/** References and their classes, before segments; decoded values with what they
 *  take over from them. */
cudaError_t tsri_kv_gpu_refer(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_carry_back(const tsri_kv_gpu_job *job,
                                   cudaStream_t stream);
/** What token ids say of all values. */
cudaError_t tsri_kv_gpu_words(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_inverse(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_store(const tsri_kv_gpu_job *job, cudaStream_t stream);
/** Published methods: tokens of classes counted; parts of units found, and decoded
 *  where they are entropy-coded; units to the cache. */
cudaError_t tsri_kv_gpu_rank(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_parts(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_method(const tsri_kv_gpu_job *job, cudaStream_t stream);
/** Published methods encoded, packed: tokens of classes counted; bytes of units, and
 *  once these are placed the units. */
cudaError_t tsri_kv_gpu_rank_given(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_size_method(const tsri_kv_gpu_job *job,
                                    cudaStream_t stream);
cudaError_t tsri_kv_gpu_put_units(const tsri_kv_gpu_job *job, cudaStream_t stream);
/** The same of methods that are no matter of a shape and groups.  kvquant, gear: what
 *  is far out is marked, which is of no use to others; once all before them is done the
 *  marks are coded, and the units' bytes known. */
cudaError_t tsri_kv_gpu_size_kvquant(const tsri_kv_gpu_job *job,
                                     cudaStream_t stream);
cudaError_t tsri_kv_gpu_put_kvquant(const tsri_kv_gpu_job *job,
                                    cudaStream_t stream);
cudaError_t tsri_kv_gpu_size_gear(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_put_gear(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_mark(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_code_marks(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_size_vq(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_put_vq(const tsri_kv_gpu_job *job, cudaStream_t stream);
/** Bytes of job.unit_room a unit needs; of an entry of job.units. */
size_t tsri_kv_gpu_unit_bytes(const tsri_kv_gpu_job *job);
/** The same of an encoder: of kvquant and gear, of vq. */
size_t tsri_kv_gpu_far_bytes(const tsri_kv_gpu_job *job);
size_t tsri_kv_gpu_vq_bytes(const tsri_kv_gpu_job *job);
/** Published methods encoded, entropy-coded: a job's `aside` is set; a job with items
 *  and unit_at of that kind makes packed units; these are coded, which sets their
 *  bytes, and, once they are placed, moved. */
cudaError_t tsri_kv_gpu_set_aside(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_recode(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_place_recoded(const tsri_kv_gpu_job *job, cudaStream_t stream);
/** Bytes of job.recode a unit needs; job.plain_bytes is set. */
size_t tsri_kv_gpu_recode_bytes(const tsri_kv_gpu_job *job);
size_t tsri_kv_gpu_unit_size(void);

/** Encoder: what objects are before it is known what is in them; centres (not
 *  with a profile); classes and segments into slots, in one go or by way of
 *  values as above; objects. */
cudaError_t tsri_kv_gpu_begin(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_centres(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_encode(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_load(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_forward(const tsri_kv_gpu_job *job, cudaStream_t stream);
/** Quantises coefficients that refer to earlier tokens. */
cudaError_t tsri_kv_gpu_carry_on(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_classes(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_put_segments(const tsri_kv_gpu_job *job,
                                     cudaStream_t stream);
/** Where units go, and do they fit; what is there of them: segments, checksums,
 *  fronts. */
cudaError_t tsri_kv_gpu_arrange(const tsri_kv_gpu_job *job, cudaStream_t stream);
cudaError_t tsri_kv_gpu_write(const tsri_kv_gpu_job *job, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif

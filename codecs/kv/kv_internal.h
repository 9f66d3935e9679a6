/* SPDX-License-Identifier: BSD-2-Clause */
/* The inside of the KV codec: a coder, its scratch memory, and what encoding
 * and decoding share. */
#ifndef TSR_CODECS_KV_KV_INTERNAL_H
#define TSR_CODECS_KV_KV_INTERNAL_H
#include "codecs/kv/kv.h"
#include "codecs/kv/match.h"
#include "codecs/kv/method.h"
#include "codecs/kv/move.h"
#include "codecs/kv/profile.h"
#include "codecs/kv/rope.h"

enum {
    TSRI_KV_BLOCK = 32,     /* tokens that are floats at a time; the 32 tokens
                               of centres fit, too */
    TSRI_KV_TURNED = 256,   /* the same where a profile transforms them: the
                               more, the more often a word's prediction serves */
    TSRI_KV_SPAN = 128,     /* coefficients of a segment, as encoded: a head of
                               most models, which a warp takes */
    TSRI_KV_SPAN_PROFILE = 512,     /* few bits a value: fewer states */
    TSRI_KV_TILE = 256,     /* tokens of a unit by default */
    TSRI_KV_LEVELS = 3,
    TSRI_KV_SETS = 64,      /* of class bytes: match classes x boosts */
    TSRI_KV_BOUNDED = 1 << 23   /* of fixed-point references */
};

struct tsr_kv {
    tsr_context *ctx;
    tsr_kv_settings settings;
    tsr_kv_rope rope_what;          /* of the settings or the profile */
    const tsri_kv_method *method;   /* NULL: rows */
    uint8_t params[40];             /* of the method */
    tsr_model *model;               /* a reference, or NULL */
    tsri_kv_profile *profile;       /* never NULL; of planes where model is NULL
                                       or a method's */
    bool profiled;                  /* rows by a profile */
    tsri_rope *rope;
    int span;
    int live_shift;                 /* at least, of objects to be decoded */
    float step[2];                  /* of level 0; 0: to be chosen */
};

/** Channels of a plane. */
static inline int tsri_kv_channels(const tsr_kv_shape *shape, int plane)
{
    return shape->heads[plane] * shape->dim[plane];
}

/* ---- the object (kv_head.c) ---- */

/** Header, CRC and directory of an object of which p[0..size) is there, and at
 *  least the front must be: TSR_OK or what is wrong, logged. */
tsr_error tsri_kv_front_read(tsr_context *ctx, const uint8_t *p, size_t size,
                             tsri_kv_head *head);

/** Sets what follows from the rest: tiles, front_bytes. */
void tsri_kv_head_derive(tsri_kv_head *head);

/** Bytes of the front sections that flags, id_bits and tokens ask for. */
uint64_t tsri_kv_sections(const tsri_kv_head *head);

/** Is within the limits of a step. */
bool tsri_kv_step_fits(float step);

/** Writes the CRC at the end of a front. */
void tsri_kv_front_seal(const tsri_kv_head *head, uint8_t *front);

/** Where the directory's entry of a group's head, of a unit's level begins. */
static inline size_t tsri_kv_head_entry(const tsri_kv_head *head, size_t group)
{
    return (size_t)TSRI_KV_HEADER + head->section_bytes + 8 * group;
}
static inline size_t tsri_kv_unit_entry(const tsri_kv_head *head, size_t group,
                                        size_t tile, int level)
{
    const size_t unit = group * (size_t)head->tiles + tile;
    return tsri_kv_head_entry(head, head->groups) +
        8 * (unit * head->levels + (size_t)level);
}

/** What an object says of itself; `front` is checked. */
void tsri_kv_fill_info(const tsri_kv_head *head, const uint8_t *front,
                       tsr_kv_info *info);

/** Groups group .. group_end - 1 have the `n` layers (0: all) from first_layer
 *  on, which are there. */
void tsri_kv_groups(const tsri_kv_head *head, int first_layer, int n,
                    size_t *group, size_t *group_end);

bool tsri_kv_same_shape(const tsr_kv_shape *a, const tsr_kv_shape *b);
bool tsri_kv_same_rope(const tsr_kv_rope *a, const tsr_kv_rope *b);

/** Within the limits of tessera/kv.h?  Unused fields must be 0. */
bool tsri_kv_shape_fits(const tsr_kv_shape *shape);
bool tsri_kv_rope_fits(const tsr_kv_rope *rope, int dim);
/** The same, with what its kind does not read set to 0. */
tsr_kv_rope tsri_kv_rope_tidy(const tsr_kv_rope *rope);

void tsri_kv_ids_put(const int32_t *ids, size_t n, int bits, uint8_t *out);
void tsri_kv_ids_get(const uint8_t *in, size_t n, int bits, int32_t *ids);

/* ---- planes of a group ---- */

/** One of the planes that a group joins. */
typedef struct tsri_kv_plane {
    int layer, plane, offset;   /* of its first value in the group's */
    int heads, dim;
} tsri_kv_plane;

int tsri_kv_planes(const tsr_kv *kv, int group);
tsri_kv_plane tsri_kv_plane_at(const tsr_kv *kv, int group, int i);

/** Bytes of the head of a group. */
size_t tsri_kv_head_bytes(const tsr_kv *kv, const tsri_kv_head *head,
                          int group);

/** Coefficients of a group that an object codes. */
int tsri_kv_live(const tsr_kv *kv, const tsri_kv_head *head, int group);

/* ---- scratch (kv_scratch.c) ---- */

/** What one worker has. */
typedef struct tsri_kv_worker {
    int16_t *q;             /* [row][pitch] */
    int8_t *r[2];           /* refinements of levels 1 and 2, alike */
    tsri_rows_strip *strips;    /* [set][R / 32] */
    void *rows;             /* of entropy/rows.h */
    float *x, *z, *m;       /* [BLOCK][n], coefficients, their centres */
    int32_t *fixed;         /* [token][R], references */
    float *angles, *high;   /* of a position, of a block of 256 */
    uint64_t *sum;          /* of magnitudes, [R] */
    uint32_t *part;
    int16_t *centre;
    uint8_t *cls, *set;     /* of coefficients, read and of one set */
    uint8_t *which;         /* of the tile's rows: a set in strips */
    uint8_t *stage;         /* the group's units, encoding */
    void *method;
    int8_t slot[TSRI_KV_SETS];  /* of a set in strips; -1: not prepared */
    int slots, level;           /* of which level they are */
} tsri_kv_worker;

/** One call of encode or decode. */
typedef struct tsri_kv_work {
    const tsr_kv *kv;
    const tsri_kv_head *head;
    const tsr_kv_view *view;
    const int32_t *ids;     /* that predict and match; or NULL */
    const uint8_t *boost;   /* of each token, or NULL */
    size_t sample[TSRI_KV_BLOCK];   /* encoding: tokens that centres are of */
    int32_t *ref;           /* of each token; NULL: no references */
    uint8_t *match;
    tsri_kv_worker *worker;
    size_t pitch;           /* of q and r: coefficients of the largest group,
                               rounded up to 32 */
    /* Room for what the pointers above point to, where the caller has none: */
    int32_t *ids_room;
    uint8_t *boost_room;
    void *match_scratch;
    uint64_t *head_at;      /* offsets of heads */
    uint64_t *unit_at;      /* decoding: of units, [group][tile] */
    double *energy;                 /* encoding: of each plane */
    float step[2][TSRI_KV_LEVELS];  /* of planes and levels, boost 0 */
    float inverse[2];               /* 1 / step of the last level */
    float unit;                     /* of fixed point: plane 0, level 0 */
} tsri_kv_work;

/** Lays a call's memory out in scratch (NULL: only counts).  Returns false when
 *  a size overflows. */
bool tsri_kv_lay_out(tsri_kv_work *work, const tsr_kv *kv,
                     const tsri_kv_head *head, bool encoding, void *scratch,
                     size_t *bytes);

/** The same for a caller's scratch: TSR_E_ARG when it is too small. */
tsr_error tsri_kv_prepare(tsri_kv_work *work, const tsr_kv *kv,
                          const tsri_kv_head *head, bool encoding,
                          const tsr_kv_call *call);

/** What a method is told of a tile; boost is the caller's to set. */
tsri_kv_tile tsri_kv_method_tile(const tsr_kv *kv, const tsri_kv_head *head,
                                 int group, size_t tile);

/** Most bytes of all units of a group; SIZE_MAX: they do not fit. */
size_t tsri_kv_units_bound(const tsr_kv *kv, const tsri_kv_head *head,
                           int group);

/* ---- tokens, tiles, sinks (kv_units.c) ---- */

/** Fills steps, and where the profile wants them, references. */
void tsri_kv_work_start(tsri_kv_work *work);

/** Rows first .. first + n - 1 are those of a tile that are no sinks. */
typedef struct tsri_kv_rows {
    size_t first;
    int n;
} tsri_kv_rows;
tsri_kv_rows tsri_kv_tile_rows(const tsri_kv_head *head, size_t tile);

/** Boost of a token. */
static inline int tsri_kv_boost(const tsri_kv_work *work, size_t token)
{
    return work->boost ? work->boost[token] : 0;
}

/** Turns n tokens of a plane, x[n][pitch], by their positions, or back. */
void tsri_kv_turn(const tsri_kv_work *work, tsri_kv_worker *worker,
                  const tsri_kv_plane *plane, size_t first, size_t n, float *x,
                  size_t pitch, bool back);

/** Forgets the strips of the group before. */
void tsri_kv_strips_reset(tsri_kv_worker *worker);

/**
 * Prepares the strips that rows need at a level and says in
 * worker->which[0..n) which.
 *
 * cls  class of each coefficient, without a profile
 */
void tsri_kv_strips(const tsri_kv_work *work, tsri_kv_worker *worker, int group,
                    int coefs, const uint8_t *cls, int level, tsri_kv_rows rows);

/** The matrix of a segment: rows of worker->q from row `at` on. */
typedef struct tsri_kv_segment {
    tsri_rows_matrix m;
    const tsri_rows_strip *sets[TSRI_KV_SETS];
    const int8_t *r[2];     /* refinements of levels 1 and 2 */
    uint32_t seed;          /* of level 0; + 64 for each further level */
} tsri_kv_segment;
void tsri_kv_segment_at(const tsri_kv_work *work, tsri_kv_worker *worker,
                        int group, size_t tile, int segment, int coefs,
                        size_t at, int rows, tsri_kv_segment *s);

/** A row's centres, m[0..coefs): what its reference says, or 0. */
void tsri_kv_carry_in(const tsri_kv_work *work, const tsri_kv_worker *worker,
                      const tsri_kv_group *group, int coefs, size_t token,
                      float *m);

/** Sets worker->fixed of a row from its values of level 0, row `at` of q. */
void tsri_kv_carry_on(const tsri_kv_work *work, const tsri_kv_worker *worker,
                      const tsri_kv_group *group, int coefs, size_t token,
                      size_t at);

/** One head of a sink: exponent and dim bytes, from and to floats. */
void tsri_kv_sink_put(const float *x, int dim, uint8_t *out);
void tsri_kv_sink_get(const uint8_t *in, int dim, float *x);

/* ---- encoding a group (kv_encode_rows.c, kv_encode_group.c) ---- */

/** Codes group g into worker->stage; its head to `head`, the directory's
 *  entries of the units to `entries`.  Returns an error, not logged. */
typedef tsr_error tsri_kv_encode_fn(const tsri_kv_work *work,
                                    tsri_kv_worker *worker, int g,
                                    uint8_t *head, uint8_t *entries,
                                    size_t *size);
tsri_kv_encode_fn tsri_kv_encode_plane, tsri_kv_encode_group,
    tsri_kv_encode_method;

/** Codes a tile whose rows are in worker->q from row `at` on; appends to
 *  stage[*size]. */
void tsri_kv_put_unit(const tsri_kv_work *work, tsri_kv_worker *worker, int g,
                      size_t tile, int coefs, size_t at, tsri_kv_rows rows,
                      uint8_t *entries, size_t *size);

/** Turns n finest values of q from `at` on into those of level 0, and puts the
 *  refinements into r. */
void tsri_kv_coarsen_all(const tsri_kv_work *work, tsri_kv_worker *worker,
                         size_t at, size_t n);

/** Sinks of a group. */
tsr_error tsri_kv_put_sinks(const tsri_kv_work *work, tsri_kv_worker *worker,
                            int g, uint8_t *head);

/** Step of the object from its energies, where it is to be chosen (kv_step.c):
 *  of level 0, into head and kv. */
tsr_error tsri_kv_choose_step(tsr_kv *kv, const tsri_kv_work *work);
float tsri_kv_round_step(double step);

/** Class and live shift of an object of `levels` levels that a profile codes. */
void tsri_kv_set_shifts(const tsr_kv *kv, tsri_kv_head *head, int levels);
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the one-dimensional runner share.
 *
 * Every node writes a track: its samples, time-major, in one piece of memory
 * that begins at number `base`.  Readers have no copy of their own; what none
 * of them needs any more makes room for new samples.  Numbers below 0 and, at
 * the end, behind the last sample are padding, which each reader writes there
 * itself before it reads. */
#ifndef TSR_LIB_NN_SEQ_INTERNAL_H
#define TSR_LIB_NN_SEQ_INTERNAL_H
#include "lib/nn/seq.h"
#include "lib/nn/seq_device.h"

enum {
    TSRI_SEQ_BATCH = 32,    /**< rows that a lazy node waits for */
    TSRI_SEQ_NODES = 1024   /**< of a net, at most */
};

typedef enum tsri_seq_kind {
    TSRI_SEQ_INPUT, TSRI_SEQ_CONV, TSRI_SEQ_ACT, TSRI_SEQ_ADD, TSRI_SEQ_SCALE,
    TSRI_SEQ_LSTM, TSRI_SEQ_NORM, TSRI_SEQ_CROP
} tsri_seq_kind;

/** A node works in rows: row q reads in[0] from number q * stride - left on,
 *  `reach` samples, and makes the numbers q * fold - trim and the next
 *  fold - 1.  All but convolutions have stride = reach = fold = 1.  What a crop
 *  drops are a negative `left` and `right`. */
typedef struct tsri_seq_node {
    tsri_seq_kind kind;
    int in[2], inputs;      /**< CONV: in[1] is added to the result */
    int channels;
    int up, down;           /**< samples per input sample of the net */
    bool live;              /**< the output depends on it */
    int users, first_user;  /**< in the net's list of users */
    int last_user;
    int block;              /**< rows that are made at once */
    int front;              /**< numbers below 0 that are written */
    int stride, reach, fold, trim, left, right;
    int extra;              /**< outputs beyond a whole number of folds */
    int tail;               /**< last samples kept for reflection at the end */
    bool complete, reflect; /**< transposed convolutions are complete */
    float scale;
    tsri_conv1d conv;
    tsri_lstm lstm;
    tsri_curve curve;       /**< applied last */
    float slope;
    float *alpha;           /**< of the curve: [channels], owned, or NULL */
    int groups;
    float eps;
    float *weight, *bias;   /**< of NORM: [channels], owned */
    struct {
        void *weights;      /**< of conv, or of lstm's input */
        void *recurrent;    /**< of lstm */
        float *alpha, *norm; /**< norm: [2][channels] weight, bias */
    } on_device;            /**< what the net's device has of them */
} tsri_seq_node;

struct tsri_seq {
    tsr_context *ctx;
    tsri_seq_node *node;
    int nodes;
    size_t room;
    int output;             /**< -1 until finish */
    tsr_error error;
    int *user;              /**< the live readers of the nodes, node by node */
    uint32_t print;         /**< of the structure, for saved states */
    bool decoder;
    const tsri_seq_ops *ops; /**< NULL: on the host */
    tsri_seq_dev *dev;
    size_t element;         /**< bytes of a number of its device */
};

typedef struct tsri_seq_track {
    void *data;             /**< floats, or a device's numbers */
    size_t room;            /**< samples */
    int64_t base;           /**< number of the first */
    int64_t made;           /**< numbers 0..made - 1 have been written */
    bool ended;             /**< there will be no more */
    float *state;           /**< LSTM: [2][hidden] */
    double *sum;            /**< NORM: [channels] */
    float *shift;           /**< NORM: [2][channels]: mean, factor */
} tsri_seq_track;

struct tsri_seq_stream {
    const tsri_seq *seq;
    tsr_context *ctx;
    const tsri_seq_kernels *kernels;
    tsri_seq_track *track;  /**< [nodes] */
    float *gates;           /**< [TSRI_SEQ_BATCH][4 hidden] of the widest LSTM */
    int64_t taken;
    uint64_t bytes;         /**< of all tracks */
    bool zero_start, broken;
    const tsri_seq_ops *ops; /**< NULL: on the host */
    tsri_seq_dev *dev;
    size_t element;         /**< bytes of a track's number */
    /* On a device: samples that wait to be pushed, outputs that came back and
     * have not been taken; host memory, floats. */
    struct tsri_seq_room {
        void *data;
        size_t bytes;
        bool host;
    } in, out;
    struct tsri_seq_room planes, gates_of[2]; /**< scratch on it: floats */
    size_t waiting;         /**< samples in `in` */
    int64_t fetched;        /**< outputs 0..fetched - 1 have come back */
    int64_t out_first;      /**< number of the first in `out` */
    size_t portion;         /**< samples that are pushed at once */
};

/** Outputs of node n after its inputs have given in0 and in1 samples: when they
 *  have ended, and while they go on. */
uint64_t tsri_seq_length(const tsri_seq_node *n, uint64_t in0, uint64_t in1);
uint64_t tsri_seq_known(const tsri_seq_node *n, uint64_t in0, uint64_t in1,
                        bool zero_start);
/** Samples that a convolution over a signal of `length` > 0 really pads
 *  behind. */
uint64_t tsri_seq_padding(const tsri_seq_node *n, uint64_t length);

/** The row that makes number `made`. */
static inline int64_t tsri_seq_row(const tsri_seq_node *n, int64_t made)
{
    return (made + n->trim) / n->fold;
}

/** The lowest number that node i's readers and the taker still need; it may be
 *  below 0. */
int64_t tsri_seq_keeps(const tsri_seq_stream *s, int i);
/** Makes room for numbers from..to - 1 of node i, from <= made, keeping what is
 *  needed.  Moves its samples.  TSR_OK, TSR_E_LIMIT, TSR_E_NOMEM. */
tsr_error tsri_seq_reserve(tsri_seq_stream *s, int i, int64_t from, int64_t to);
/** Moves the samples of node i from number `low` on to new memory for `room`
 *  samples.  Returns as tsri_seq_reserve(). */
tsr_error tsri_seq_move(tsri_seq_stream *s, int i, int64_t low, size_t room);
/** Where number `number` of node i is. */
void *tsri_seq_at(const tsri_seq_stream *s, int i, int64_t number);
/** Outputs that node i has when all that can be known is known. */
int64_t tsri_seq_limit(const tsri_seq_stream *s, int i);
/** Makes at most a block of outputs of node i, towards number `limit`. */
tsr_error tsri_seq_step(tsri_seq_stream *s, int i, int64_t limit);
/** Pushes samples through the tracks: as tsri_seq_push(), of good streams. */
tsr_error tsri_seq_run(tsri_seq_stream *s, const float *x, size_t n, bool lazy,
                       bool end);

/* ---- on a device: seq_device.c, seq_device_steps.c ---- */

/** Puts a finished net's weights on the device of its context, if there is one;
 *  drop() cleans up, also after an error. */
tsr_error tsri_seq_device_pack(tsri_seq *seq);
void tsri_seq_device_drop(tsri_seq *seq);
/** The parts of open(), close(), reset(), push() and take() of a stream. */
tsr_error tsri_seq_device_open(tsri_seq_stream *s);
void tsri_seq_device_close(tsri_seq_stream *s);
tsr_error tsri_seq_device_reset(tsri_seq_stream *s);
tsr_error tsri_seq_device_push(tsri_seq_stream *s, const float *x, size_t n,
                               bool lazy, bool end);
size_t tsri_seq_device_take(tsri_seq_stream *s, float *y, size_t n);
/** Makes room for count * size bytes, of which the first `used` are kept. */
tsr_error tsri_seq_device_need(tsri_seq_stream *s, struct tsri_seq_room *r,
                               size_t count, size_t size, size_t used);
/** n floats of the host to the device's numbers, and back; does not wait. */
tsr_error tsri_seq_device_enter(tsri_seq_stream *s, void *to, const float *x,
                                size_t n);
tsr_error tsri_seq_device_leave(tsri_seq_stream *s, float *y, const void *from,
                                size_t n);
/** Room for n more outputs behind those that wait to be taken. */
tsr_error tsri_seq_device_out(tsri_seq_stream *s, size_t n, float **at);
/** Rows of a node that can be made at once. */
int tsri_seq_device_block(const tsri_seq_node *n);
/** Makes `rows` rows of node i from row `first` on, numbers `from`.. */
tsr_error tsri_seq_device_step(tsri_seq_stream *s, int i, int64_t first,
                               int64_t from, int rows);
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* One block of one node of a one-dimensional net on a device. */
#include "lib/nn/seq_internal.h"

enum {
    PART = 96,              /* rows that an LSTM is ahead of one that reads it */
    TOO_MANY = 1 << 30      /* numbers of a block */
};

static tsri_seq_dev_curve curve_of(const tsri_seq_node *n)
{
    return (tsri_seq_dev_curve){ n->curve, n->slope, n->on_device.alpha,
                                 n->channels };
}

/* One block of node i: rows first.., numbers from.. */
typedef struct block {
    tsri_seq_stream *s;
    const tsri_seq_node *n;
    tsri_seq_track *t;
    int64_t first;
    int rows;
    const void *add;
    void *y;
} block;

/* The track of a convolution's input as it lies: numbers below 0 are none. */
static tsr_error conv(const block *b, const tsri_conv1d *layer)
{
    const tsri_seq_node *n = b->n;
    const tsri_seq_track *in = &b->s->track[n->in[0]];
    const int64_t origin = in->base < 0 ? 0 : in->base;
    const int64_t first = b->first * n->stride - n->left;
    int64_t top = in->made - 1;

    if (first + (int64_t)(b->rows - 1) * n->stride + n->reach > in->made &&
        n->reflect) {
        const int64_t behind = (int64_t)tsri_seq_padding(n, (uint64_t)in->made);
        const int64_t most = behind > n->left ? behind : n->left;
        top = most > top ? most : top;
    }
    const tsri_seq_dev_conv c = {
        .conv = layer, .weights = n->on_device.weights,
        .x = tsri_seq_at(b->s, n->in[0], origin),
        .first = (int)(first - origin), .made = (int)(in->made - origin),
        .top = (int)(top - origin), .reflect_back = n->reflect,
        .reflect_front = n->reflect && !b->s->zero_start, .rows = b->rows,
        .add = b->add, .y = b->y, .wide = n->kind == TSRI_SEQ_LSTM,
        .curve = curve_of(n)
    };
    return b->s->ops->conv(b->s->dev, &c);
}

/* Room for the gates of b's rows: of layer 0, or of layer 1, which reads it. */
static tsr_error need_gates(const block *b, int layer)
{
    return tsri_seq_device_need(b->s, &b->s->gates_of[layer], 4 *
                                (size_t)b->n->channels * (size_t)b->rows,
                                sizeof(float), 0);
}

/* What the input gives to the gates of b's rows. */
static tsr_error gates(const block *b, int layer)
{
    block wide = *b;

    wide.y = b->s->gates_of[layer].data;
    return conv(&wide, &b->n->lstm.input);
}

/* Rows k.. of b. */
static block part_of(const block *b, int k)
{
    block part = *b;

    part.first += k;
    part.rows = tsri_min(b->rows - k, PART);
    part.y = tsri_seq_at(b->s, (int)(b->t - b->s->track), part.first);
    return part;
}

/* The rest, of rows k.. of the gates. */
static tsr_error recur(const block *b, int layer, int k)
{
    const tsri_lstm *l = &b->n->lstm;
    const float *wide = b->s->gates_of[layer].data;
    const tsri_seq_dev_lstm op = {
        l, b->n->on_device.recurrent, wide + 4 * (size_t)l->hidden * (size_t)k,
        b->rows, b->t->state, b->y, curve_of(b->n)
    };
    return b->s->ops->lstm(b->s->dev, &op);
}

/* An LSTM that reads node i, has made as much and can make as much more; 0:
 * there is none. */
static int follower(const tsri_seq_stream *s, int i, int rows)
{
    const tsri_seq *seq = s->seq;
    const tsri_seq_node *n = &seq->node[i];
    int found = 0;

    for (int u = n->first_user; u < n->first_user + n->users && !found; u++) {
        const int j = seq->user[u] / 2;
        if (seq->node[j].kind == TSRI_SEQ_LSTM &&
            s->track[j].made == s->track[i].made &&
            rows <= tsri_seq_device_block(&seq->node[j]))
            found = j;
    }
    return found;
}

/* Part k of the second layer, which the first has made. */
static tsr_error second_layer(const block *b)
{
    const tsri_seq_ops *ops = b->s->ops;

    TSR_TRY(ops->aside(b->s->dev));
    tsr_error error = gates(b, 1);
    if (!error)
        error = recur(b, 1, 0);
    ops->back(b->s->dev);
    return error;
}

/* All steps of b, whose gates are there, and of the layer that reads it, which
 * begins when there is a part: each step waits for the one before. */
static tsr_error all_steps(const block *b, const block *over)
{
    tsr_error error = TSR_OK;

    for (int k = 0; k < b->rows && !error; k += PART) {
        const block one = part_of(b, k);
        error = recur(&one, 0, k);
        b->t->made = one.first + one.rows;
        if (!error) {
            const block two = part_of(over, k);
            error = second_layer(&two);
        }
    }
    return error;
}

static tsr_error both_layers(const block *b, int next)
{
    tsri_seq_stream *s = b->s;
    const int64_t end = b->first + b->rows;

    TSR_TRY(tsri_seq_reserve(s, next, b->first, end));
    const block over = { s, &s->seq->node[next], &s->track[next], b->first,
                         b->rows, NULL, NULL };
    const block first_part = part_of(&over, 0);
    TSR_TRY(need_gates(b, 0));
    TSR_TRY(need_gates(&first_part, 1));
    TSR_TRY(gates(b, 0));
    TSR_TRY(s->ops->aside(s->dev));
    const tsr_error error = all_steps(b, &over);
    s->ops->back(s->dev);
    const tsr_error joined = s->ops->join(s->dev);
    over.t->made = end;
    return error ? error : joined;
}

static tsr_error lstm(const block *b)
{
    const int next = follower(b->s, (int)(b->t - b->s->track), b->rows);

    if (next && b->rows > PART)
        return both_layers(b, next);
    TSR_TRY(need_gates(b, 0));
    TSR_TRY(gates(b, 0));
    return recur(b, 0, 0);
}

static tsr_error measure(const block *b)
{
    const tsri_seq_node *n = b->n;
    const tsri_seq_track *in = &b->s->track[n->in[0]];
    const tsri_seq_dev_measure m = {
        .x = tsri_seq_at(b->s, n->in[0], 0), .length = (size_t)in->made,
        .channels = n->channels, .groups = n->groups, .eps = n->eps,
        .weight = n->on_device.norm, .shift = b->t->shift
    };
    return b->s->ops->measure(b->s->dev, &m);
}

static tsr_error each_row(const block *b)
{
    const tsri_seq_node *n = b->n;
    const bool norm = n->kind == TSRI_SEQ_NORM;
    const tsri_seq_dev_rows r = {
        .x = tsri_seq_at(b->s, n->in[0], b->first - n->left), .add = b->add,
        .y = b->y, .rows = (size_t)b->rows, .channels = n->channels,
        .scale = n->scale, .shift = norm ? b->t->shift : NULL,
        .bias = norm ? n->on_device.norm + n->channels : NULL,
        .curve = curve_of(n)
    };
    if (norm && !b->t->made)
        TSR_TRY(measure(b));
    return b->s->ops->rows(b->s->dev, &r);
}

int tsri_seq_device_block(const tsri_seq_node *n)
{
    const int64_t out = (int64_t)n->channels * n->fold;
    return (int)(TOO_MANY / (n->kind == TSRI_SEQ_LSTM ? 4 * out : out));
}

tsr_error tsri_seq_device_step(tsri_seq_stream *s, int i, int64_t first,
                               int64_t from, int rows)
{
    const tsri_seq_node *n = &s->seq->node[i];
    const block b = { s, n, &s->track[i], first, rows,
                      n->inputs == 2 ? tsri_seq_at(s, n->in[1], from) : NULL,
                      tsri_seq_at(s, i, from) };

    return n->kind == TSRI_SEQ_CONV ? conv(&b, &n->conv) :
           n->kind == TSRI_SEQ_LSTM ? lstm(&b) : each_row(&b);
}

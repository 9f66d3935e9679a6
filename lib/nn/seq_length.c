/* SPDX-License-Identifier: BSD-2-Clause */
/* How many samples come of how many, node by node.  Counts that do not fit
 * 64 bits stay at UINT64_MAX. */
#include "lib/nn/seq_internal.h"

static uint64_t plus(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t times(uint64_t a, uint64_t b)
{
    uint64_t product;
    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

static uint64_t min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t conv_length(const tsri_seq_node *n, uint64_t in)
{
    const uint64_t stride = (uint64_t)n->stride, reach = (uint64_t)n->reach;
    const uint64_t padded = plus(in, (uint64_t)n->left + (uint64_t)n->right);

    if (!in)
        return 0;
    if (n->complete)
        return plus(times(in / stride + (in % stride != 0), (uint64_t)n->fold),
                    (uint64_t)n->extra);
    return padded < reach ? 0 : (padded - reach) / stride + 1;
}

/* Inputs without which not even padding in front can be written. */
static uint64_t conv_start(const tsri_seq_node *n, bool zero_start)
{
    return n->reflect && !zero_start ? (uint64_t)n->left + 1 : 1;
}

static uint64_t conv_known(const tsri_seq_node *n, uint64_t in, bool zero_start)
{
    const uint64_t padded = plus(in, (uint64_t)n->left);
    const uint64_t reach = (uint64_t)n->reach, trim = (uint64_t)n->trim;
    uint64_t rows;

    if (in < conv_start(n, zero_start) || padded < reach)
        return 0;
    rows = (padded - reach) / (uint64_t)n->stride + 1;
    rows = times(rows, (uint64_t)n->fold);
    return rows > trim ? rows - trim : 0;
}

/* What a crop drops at both ends. */
static uint64_t dropped(const tsri_seq_node *n)
{
    return (uint64_t)-(int64_t)n->left + (uint64_t)-(int64_t)n->right;
}

static uint64_t crop_length(const tsri_seq_node *n, uint64_t in)
{
    return in == UINT64_MAX ? in : in > dropped(n) ? in - dropped(n) : 0;
}

uint64_t tsri_seq_length(const tsri_seq_node *n, uint64_t in0, uint64_t in1)
{
    const uint64_t own = n->kind == TSRI_SEQ_CONV ? conv_length(n, in0) :
                         n->kind == TSRI_SEQ_CROP ? crop_length(n, in0) : in0;
    return n->inputs == 2 ? min64(own, in1) : own;
}

uint64_t tsri_seq_known(const tsri_seq_node *n, uint64_t in0, uint64_t in1,
                        bool zero_start)
{
    const uint64_t own = n->kind == TSRI_SEQ_CONV ?
                             conv_known(n, in0, zero_start) :
                         n->kind == TSRI_SEQ_CROP ? crop_length(n, in0) :
                         n->kind == TSRI_SEQ_NORM ? 0 : in0;
    return n->inputs == 2 ? min64(own, in1) : own;
}

uint64_t tsri_seq_padding(const tsri_seq_node *n, uint64_t length)
{
    if (!n->complete)
        return (uint64_t)n->right;
    return (conv_length(n, length) - 1) * (uint64_t)n->stride +
           (uint64_t)n->reach - (uint64_t)n->left - length;
}

uint64_t tsri_seq_out_length(const tsri_seq *seq, uint64_t n)
{
    /* Nets have tens of nodes: walking down from the output again for either
     * input of a node would take exponential time, so lengths are kept. */
    uint64_t length[TSRI_SEQ_NODES];

    length[0] = n;
    for (int i = 1; i <= seq->output; i++) {
        const tsri_seq_node *k = &seq->node[i];
        length[i] = !k->live ? 0 :
                    tsri_seq_length(k, length[k->in[0]], length[k->in[1]]);
    }
    return length[seq->output];
}

/* Samples of its input k that node n needs for its first m. */
static uint64_t needs(const tsri_seq_node *n, int k, uint64_t m, bool zero_start)
{
    const uint64_t fold = (uint64_t)n->fold;
    const uint64_t made = plus(m, (uint64_t)n->trim);
    const uint64_t row = made / fold + (made % fold != 0) - 1;
    uint64_t last;

    if (!m || n->kind == TSRI_SEQ_NORM)
        return m ? UINT64_MAX : 0;
    if (n->kind == TSRI_SEQ_CROP)
        return plus(m, dropped(n));
    if (n->kind != TSRI_SEQ_CONV || k || m == UINT64_MAX)
        return m;
    last = plus(times(row, (uint64_t)n->stride), (uint64_t)n->reach);
    last = last == UINT64_MAX ? last :
           last < (uint64_t)n->left ? 0 : last - (uint64_t)n->left;
    return max64(last, conv_start(n, zero_start));
}

uint64_t tsri_seq_needs(const tsri_seq *seq, uint64_t m, bool zero_start)
{
    uint64_t need[TSRI_SEQ_NODES] = { 0 };

    need[seq->output] = m;
    for (int i = seq->output; i > 0; i--) {
        const tsri_seq_node *n = &seq->node[i];
        for (int k = 0; k < n->inputs && n->live; k++)
            need[n->in[k]] = max64(need[n->in[k]],
                                   needs(n, k, need[i], zero_start));
    }
    return need[0];
}

static double row_macs(const tsri_seq_node *n)
{
    if (n->kind == TSRI_SEQ_CONV)
        return (double)n->conv.in * n->conv.out * n->conv.taps;
    if (n->kind == TSRI_SEQ_LSTM)
        return 4.0 * n->lstm.hidden * ((double)n->lstm.in + n->lstm.hidden);
    return 0;
}

double tsri_seq_macs(const tsri_seq *seq)
{
    double sum = 0;

    for (int i = 1; i <= seq->output; i++) {
        const tsri_seq_node *n = &seq->node[i];
        if (n->live)
            sum += row_macs(n) * n->up / n->down / n->fold;
    }
    return sum;
}

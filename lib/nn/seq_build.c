/* SPDX-License-Identifier: BSD-2-Clause */
/* Declares one-dimensional nets: checks, packing, and what is done in one go. */
#include <string.h>
#include "lib/crc32c.h"
#include "lib/nn/seq_internal.h"

enum {
    MAX_CHANNELS = 1 << 16, MAX_FOLDED = 1 << 20, MAX_TAPS = 1 << 12,
    MAX_STRIDE = 1 << 12, MAX_REACH = 1 << 24, MAX_PAD = 1 << 20,
    MAX_SCALE = 1 << 12,
    BLOCK_BYTES = 512 << 10,    /* of a node's rows: about the L2 cache; smaller
                                   ones leave threads too little work */
    MAX_BLOCK = 4096
};

static int fault(tsri_seq *seq, const char *what)
{
    if (!seq->error)
        seq->error = tsri_fail(seq->ctx, TSR_E_ARG, "net node %d: %s",
                               seq->nodes, what);
    return -1;
}

static int gcd(int a, int b)
{
    return b ? gcd(b, a % b) : a;
}

/* Whether n's rate, that of `from` times up / down, is in range: the limit keeps
 * every product far from overflow. */
static bool set_rate(tsri_seq_node *n, const tsri_seq_node *from, int up,
                     int down)
{
    const int64_t a = (int64_t)from->up * up, b = (int64_t)from->down * down;
    const int g = gcd(from->up, down), h = gcd(up, from->down);

    if (a / g / h > MAX_SCALE || b / g / h > MAX_SCALE)
        return false;
    n->up = (int)(a / g / h);
    n->down = (int)(b / g / h);
    return true;
}

/* Appends a copy of `n`, whose inputs and rate are filled in. */
static int append(tsri_seq *seq, const tsri_seq_node *n)
{
    if (seq->error)
        return -1;
    if (seq->output >= 0)
        return fault(seq, "the net is finished");
    if (seq->nodes == TSRI_SEQ_NODES)
        return fault(seq, "too many nodes");
    if (n->channels < 1 || n->channels > MAX_CHANNELS)
        return fault(seq, "bad number of channels");
    seq->error = tsri_grow(seq->ctx, &seq->node, &seq->room, (size_t)seq->nodes,
                           1, sizeof *seq->node);
    if (seq->error) {
        tsri_nomem(seq->ctx);
        return -1;
    }
    seq->node[seq->nodes] = *n;
    return seq->nodes++;
}

/* NULL, with the fault noted, where there is no node x. */
static const tsri_seq_node *input(tsri_seq *seq, int x)
{
    if (seq->error)
        return NULL;
    if (x >= 0 && x < seq->nodes)
        return &seq->node[x];
    fault(seq, "reads a node that does not exist");
    return NULL;
}

/* A node of `channels` that reads x row by row. */
static tsri_seq_node plain_node(tsri_seq_kind kind, int x, int channels)
{
    return (tsri_seq_node){ .kind = kind, .in = { x }, .inputs = 1,
                            .channels = channels, .up = 1, .down = 1,
                            .stride = 1, .reach = 1, .fold = 1, .scale = 1 };
}

tsr_error tsri_seq_new(tsri_seq **out, tsr_context *ctx, int channels)
{
    tsri_seq *seq = tsri_calloc(ctx, 1, sizeof *seq);
    tsri_seq_node n = plain_node(TSRI_SEQ_INPUT, 0, channels);
    tsr_error error;

    *out = seq;
    if (!seq)
        return tsri_nomem(ctx);
    seq->ctx = ctx;
    seq->output = -1;
    n.inputs = 0;
    append(seq, &n);
    error = seq->error;
    if (error)
        tsri_seq_free(out);
    return error;
}

static void free_node(tsr_context *ctx, tsri_seq_node *n)
{
    tsri_conv1d_close(&n->conv, ctx);
    tsri_lstm_close(&n->lstm, ctx);
    tsri_free(ctx, n->alpha);
    tsri_free(ctx, n->weight);
    tsri_free(ctx, n->bias);
}

void tsri_seq_free(tsri_seq **out)
{
    tsri_seq *seq = out ? *out : NULL;
    if (!seq)
        return;
    tsri_seq_device_drop(seq);
    for (int i = 0; i < seq->nodes; i++)
        free_node(seq->ctx, &seq->node[i]);
    tsri_free(seq->ctx, seq->user);
    tsri_free(seq->ctx, seq->node);
    tsri_free(seq->ctx, seq);
    *out = NULL;
}

/* Keeps an error of packing the last node: -1; else its number. */
static int packed(tsri_seq *seq, tsr_error error)
{
    seq->error = error;
    return error ? -1 : seq->nodes - 1;
}

static const char *conv_fault(const tsri_seq_conv *c)
{
    if (c->taps < 1 || c->taps > MAX_TAPS || c->stride < 1 ||
        c->stride > MAX_STRIDE || c->dilation < 1 ||
        (int64_t)(c->taps - 1) * c->dilation >= MAX_REACH)
        return "bad taps, stride or dilation";
    if (c->left < 0 || c->left > MAX_PAD || c->right < 0 || c->right > MAX_PAD)
        return "bad padding";
    if (c->complete && c->left > (c->taps - 1) * c->dilation + 1 - c->stride)
        return "more padding in front than a complete convolution has room for";
    if (c->out < 1 || c->out > MAX_CHANNELS)
        return "bad number of channels";
    return c->weight ? NULL : "no weights";
}

/* Samples that reflection at the end may look back to, itself included: as many
 * as the longest padding is long, and one. */
static int tail_of(const tsri_seq_node *n)
{
    const int right = n->complete ? n->reach - n->left - 1 : n->right;
    return n->reflect && right ? tsri_max(n->left, right) + 1 : 0;
}

int tsri_seq_conv1d(tsri_seq *seq, int x, const tsri_seq_conv *conv)
{
    const tsri_seq_node *from = input(seq, x);
    tsri_seq_node n;
    const char *what;

    if (!from)
        return -1;
    what = conv->in != from->channels ?
           "the input has another number of channels" : conv_fault(conv);
    if (what)
        return fault(seq, what);
    n = plain_node(TSRI_SEQ_CONV, x, conv->out);
    n.stride = conv->stride;
    n.reach = (conv->taps - 1) * conv->dilation + 1;
    n.left = conv->left;
    n.right = conv->right;
    n.complete = conv->complete;
    n.reflect = conv->pad == TSRI_SEQ_REFLECT;
    n.tail = tail_of(&n);
    if (!set_rate(&n, from, 1, conv->stride))
        return fault(seq, "rate out of range");
    if (append(seq, &n) < 0)
        return -1;
    return packed(seq, tsri_conv1d_open(&seq->node[seq->nodes - 1].conv,
                                        seq->ctx, conv->in, conv->out,
                                        conv->taps, conv->stride,
                                        conv->dilation, conv->weight,
                                        conv->bias));
}

/* The taps of a transposed convolution as those of one that makes all `stride`
 * samples of a row: sample r of row q reads input q - d through tap
 * r + d stride. */
static void fold_taps(const tsri_seq_convtr *c, int taps, float *w)
{
    for (int r = 0; r < c->stride; r++)
        for (int o = 0; o < c->out; o++)
            for (int i = 0; i < c->in; i++)
                for (int d = taps - 1; d >= 0; d--) {
                    const int tap = r + d * c->stride;
                    const size_t at = (size_t)i * (size_t)c->out + (size_t)o;
                    *w++ = tap >= c->taps ? 0 :
                           c->weight[at * (size_t)c->taps + (size_t)tap];
                }
}

static tsr_error pack_folded(tsri_seq *seq, const tsri_seq_convtr *c, int taps)
{
    const int out = c->stride * c->out;
    float *w = tsri_alloc(seq->ctx, (size_t)out * (size_t)c->in,
                          (size_t)taps * sizeof *w);
    float *bias = tsri_calloc(seq->ctx, (size_t)out, sizeof *bias);
    tsr_error error = TSR_E_NOMEM;

    if (w && bias) {
        fold_taps(c, taps, w);
        for (int i = 0; i < out && c->bias; i++)
            bias[i] = c->bias[i % c->out];
        error = tsri_conv1d_open(&seq->node[seq->nodes - 1].conv, seq->ctx,
                                 c->in, out, taps, 1, 1, w, bias);
    } else
        tsri_nomem(seq->ctx);
    tsri_free(seq->ctx, bias);
    tsri_free(seq->ctx, w);
    return error;
}

static const char *convtr_fault(const tsri_seq_convtr *c)
{
    if (c->stride < 1 || c->stride > MAX_STRIDE || c->taps < c->stride ||
        c->taps > MAX_TAPS)
        return "bad taps or stride";
    if (c->trim < 0 || c->trim > (c->full ? 0 : c->taps - c->stride))
        return "bad trim";
    if (c->out < 1 || c->out > MAX_FOLDED / c->stride)
        return "bad number of channels";
    return c->weight ? NULL : "no weights";
}

int tsri_seq_convtr1d(tsri_seq *seq, int x, const tsri_seq_convtr *conv)
{
    const tsri_seq_node *from = input(seq, x);
    tsri_seq_node n;
    const char *what;

    if (!from)
        return -1;
    what = conv->in != from->channels ?
           "the input has another number of channels" : convtr_fault(conv);
    if (what)
        return fault(seq, what);
    n = plain_node(TSRI_SEQ_CONV, x, conv->out);
    n.reach = tsri_ceil_div(conv->taps, conv->stride);
    n.left = n.right = n.reach - 1;
    n.complete = true;
    n.fold = conv->stride;
    n.trim = conv->trim;
    n.extra = conv->full ? conv->taps - conv->stride : 0;
    if (!set_rate(&n, from, conv->stride, 1))
        return fault(seq, "rate out of range");
    return append(seq, &n) < 0 ? -1 :
           packed(seq, pack_folded(seq, conv, n.reach));
}

void tsri_seq_decodes(tsri_seq *seq)
{
    seq->decoder = true;
}

/* A copy of n floats in *to; NULL stays NULL. */
static tsr_error copy(tsri_seq *seq, float **to, const float *from, int n)
{
    if (!from)
        return TSR_OK;
    *to = tsri_alloc(seq->ctx, (size_t)n, sizeof **to);
    if (!*to)
        return tsri_nomem(seq->ctx);
    memcpy(*to, from, (size_t)n * sizeof **to);
    return TSR_OK;
}

/* Appends n, which has the rate of x. */
static int append_alike(tsri_seq *seq, tsri_seq_node *n, const tsri_seq_node *x)
{
    n->up = x->up;
    n->down = x->down;
    return append(seq, n);
}

int tsri_seq_act(tsri_seq *seq, int x, tsri_curve curve, float slope,
                 const float *alpha)
{
    const tsri_seq_node *from = input(seq, x);
    tsri_seq_node n;

    if (!from)
        return -1;
    if (curve > TSRI_CURVE_TANH || (curve == TSRI_CURVE_SNAKE && !alpha))
        return fault(seq, "bad activation");
    n = plain_node(TSRI_SEQ_ACT, x, from->channels);
    n.curve = curve;
    n.slope = slope;
    if (append_alike(seq, &n, from) < 0)
        return -1;
    return packed(seq, copy(seq, &seq->node[seq->nodes - 1].alpha, alpha,
                            n.channels));
}

int tsri_seq_add(tsri_seq *seq, int a, int b, float scale)
{
    const tsri_seq_node *x = input(seq, a), *y = input(seq, b);
    tsri_seq_node n;

    if (!x || !y)
        return -1;
    if (x->channels != y->channels || x->up != y->up || x->down != y->down)
        return fault(seq, "adds signals of different channels or rate");
    n = plain_node(TSRI_SEQ_ADD, a, x->channels);
    n.in[1] = b;
    n.inputs = 2;
    n.scale = scale;
    return append_alike(seq, &n, x);
}

int tsri_seq_scale(tsri_seq *seq, int x, float scale)
{
    const tsri_seq_node *from = input(seq, x);
    tsri_seq_node n;

    if (!from)
        return -1;
    n = plain_node(TSRI_SEQ_SCALE, x, from->channels);
    n.scale = scale;
    return append_alike(seq, &n, from);
}

int tsri_seq_crop(tsri_seq *seq, int x, int front, int back)
{
    const tsri_seq_node *from = input(seq, x);
    tsri_seq_node n;

    if (!from)
        return -1;
    if (front < 0 || front > MAX_PAD || back < 0 || back > MAX_PAD)
        return fault(seq, "bad crop");
    n = plain_node(TSRI_SEQ_CROP, x, from->channels);
    n.left = -front;
    n.right = -back;
    return append_alike(seq, &n, from);
}

int tsri_seq_lstm(tsri_seq *seq, int x, int hidden, const float *weight_ih,
                  const float *weight_hh, const float *bias_ih,
                  const float *bias_hh)
{
    const tsri_seq_node *from = input(seq, x);
    tsri_seq_node n;

    if (!from)
        return -1;
    if (!weight_ih || !weight_hh || !bias_ih || !bias_hh)
        return fault(seq, "no weights");
    n = plain_node(TSRI_SEQ_LSTM, x, hidden);
    if (append_alike(seq, &n, from) < 0)
        return -1;
    return packed(seq, tsri_lstm_open(&seq->node[seq->nodes - 1].lstm, seq->ctx,
                                      seq->node[x].channels, hidden, weight_ih,
                                      weight_hh, bias_ih, bias_hh));
}

int tsri_seq_group_norm(tsri_seq *seq, int x, int groups, float eps,
                        const float *weight, const float *bias)
{
    const tsri_seq_node *from = input(seq, x);
    tsri_seq_node n, *own;
    tsr_error error;

    if (!from)
        return -1;
    if (groups < 1 || from->channels % groups || !weight || !bias)
        return fault(seq, "bad groups or no weights");
    n = plain_node(TSRI_SEQ_NORM, x, from->channels);
    n.groups = groups;
    n.eps = eps;
    if (append_alike(seq, &n, from) < 0)
        return -1;
    own = &seq->node[seq->nodes - 1];
    error = copy(seq, &own->weight, weight, n.channels);
    return packed(seq, error ? error :
                       copy(seq, &own->bias, bias, n.channels));
}

/* users: live readers; the output has one more, outside. */
static void count_users(tsri_seq *seq)
{
    for (int i = 0; i < seq->nodes; i++) {
        seq->node[i].users = i == seq->output;
        seq->node[i].live = i == seq->output;
    }
    for (int i = seq->output; i >= 0; i--)
        for (int k = 0; seq->node[i].live && k < seq->node[i].inputs; k++) {
            seq->node[seq->node[i].in[k]].users++;
            seq->node[seq->node[i].in[k]].live = true;
        }
}

/* The curve of node i is applied by its input where nobody else reads that:
 * then i's readers read the input. */
static void fuse_curve(tsri_seq *seq, int i)
{
    tsri_seq_node *n = &seq->node[i], *from = &seq->node[n->in[0]];

    if (!n->live || n->kind != TSRI_SEQ_ACT || from->users != 1 ||
        from->kind == TSRI_SEQ_INPUT || from->curve != TSRI_CURVE_NONE)
        return;
    from->curve = n->curve;
    from->slope = n->slope;
    from->alpha = n->alpha;
    from->users = n->users;
    n->alpha = NULL;
    n->live = false;
    for (int j = i + 1; j < seq->nodes; j++)
        for (int k = 0; k < seq->node[j].inputs; k++)
            if (seq->node[j].in[k] == i)
                seq->node[j].in[k] = n->in[0];
    if (seq->output == i)
        seq->output = n->in[0];
}

static bool can_take_sum(const tsri_seq_node *n)
{
    return n->kind == TSRI_SEQ_CONV && n->inputs == 1 && n->users == 1 &&
           n->fold == 1 && !n->trim && n->curve == TSRI_CURVE_NONE;
}

/* Sum i becomes a convolution that adds the other input to its result, if one
 * of its inputs is a convolution that nobody else reads. */
static void fuse_sum(tsri_seq *seq, int i)
{
    tsri_seq_node *n = &seq->node[i], *from;
    int k = 1;

    if (!n->live || n->kind != TSRI_SEQ_ADD || n->scale != 1)
        return;
    if (!can_take_sum(&seq->node[n->in[1]]))
        k = 0;
    from = &seq->node[n->in[k]];
    if (!can_take_sum(from))
        return;
    from->live = false;
    from->in[1] = n->in[!k];
    from->inputs = 2;
    from->users = n->users;
    from->curve = n->curve;
    from->slope = n->slope;
    from->alpha = n->alpha;
    *n = *from;
    n->live = true;
    *from = plain_node(TSRI_SEQ_ACT, 0, n->channels);
}

/* The list of readers, and what follows from them. */
static tsr_error list_users(tsri_seq *seq)
{
    int at = 0;

    seq->user = tsri_alloc(seq->ctx, (size_t)seq->nodes, 2 * sizeof *seq->user);
    if (!seq->user)
        return tsri_nomem(seq->ctx);
    for (int x = 0; x < seq->nodes; x++) {
        tsri_seq_node *from = &seq->node[x];
        from->first_user = at;
        from->last_user = x;
        from->front = from->fold - 1;
        for (int i = x + 1; i < seq->nodes; i++) {
            const tsri_seq_node *n = &seq->node[i];
            for (int k = 0; n->live && k < n->inputs; k++)
                if (n->in[k] == x) {
                    seq->user[at++] = 2 * i + k;
                    from->last_user = i;
                    from->front = tsri_max(from->front, n->left);
                }
        }
        from->users = at - from->first_user;
    }
    return TSR_OK;
}

static int block_of(const tsri_seq *seq, const tsri_seq_node *n)
{
    const int64_t from = n->inputs ? seq->node[n->in[0]].channels : 1;
    const int64_t in = from * n->stride, out = (int64_t)n->channels * n->fold;
    const int64_t rows = BLOCK_BYTES / (4 * (in > out ? in : out));

    return n->kind == TSRI_SEQ_LSTM ? TSRI_SEQ_BATCH :
           tsri_clamp((int)rows, TSRI_SEQ_BATCH, MAX_BLOCK);
}

/* States fit nets of the same structure only. */
static uint32_t print_of(const tsri_seq *seq)
{
    uint32_t crc = 0;

    for (int i = 0; i < seq->nodes; i++) {
        const tsri_seq_node *n = &seq->node[i];
        const int shape[] = { n->live, (int)n->kind, n->in[0], n->in[1],
                              n->inputs, n->channels, n->stride, n->reach,
                              n->fold, n->trim, n->left, n->right, n->extra,
                              n->complete,
                              n->reflect, (int)n->curve, i == seq->output };
        crc = tsri_crc32c(crc, shape, sizeof shape);
    }
    return crc;
}

tsr_error tsri_seq_finish(tsri_seq *seq, int output)
{
    input(seq, output);
    if (!seq->error && seq->output >= 0)
        fault(seq, "the net is finished");
    if (seq->error)
        return seq->error;
    seq->output = output;
    count_users(seq);
    for (int i = 0; i < seq->nodes; i++) {
        fuse_curve(seq, i);
        fuse_sum(seq, i);
    }
    seq->error = list_users(seq);
    for (int i = 0; i < seq->nodes; i++)
        seq->node[i].block = block_of(seq, &seq->node[i]);
    seq->print = print_of(seq);
    if (!seq->error)
        seq->error = tsri_seq_device_pack(seq);
    return seq->error;
}

int tsri_seq_in_channels(const tsri_seq *seq)
{
    return seq->node[0].channels;
}

int tsri_seq_out_channels(const tsri_seq *seq)
{
    return seq->node[seq->output].channels;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Nets of tests/nn_twin.h that the graph runner is tested with, on every backend:
 * single layers, blocks of the published codecs, wide layers; and their input
 * and output. */
#ifndef TSR_TESTS_NN_GRAPHS_H
#define TSR_TESTS_NN_GRAPHS_H
#include "tests/nn_twin.h"

typedef struct picture { int channels, h, w; float *data; int calls; } picture;

static picture picture_new(int channels, int h, int w)
{
    picture p = { channels, h, w, NULL, 0 };
    p.data = calloc((size_t)channels * (size_t)h * (size_t)w, sizeof(float));
    assert_non_null(p.data);
    return p;
}

static picture random_picture(check_rng *rng, int channels, int h, int w)
{
    picture p = picture_new(channels, h, w);
    for (int i = 0; i < channels * h * w; i++)
        p.data[i] = 2 * check_float(rng);
    return p;
}

/* Copies a rectangle from or to its place in the whole picture. */
static void copy(picture *p, tsri_rect r, const tsri_fmap *m, bool in)
{
    assert_int_equal(m->channels, p->channels);
    assert_int_equal(m->height, r.y1 - r.y0);
    assert_int_equal(m->width, r.x1 - r.x0);
    assert_true(r.y0 >= 0 && r.x0 >= 0 && r.y1 <= p->h && r.x1 <= p->w);
    for (int c = 0; c < p->channels; c++)
        for (int y = r.y0; y < r.y1; y++) {
            float *a = p->data + ((size_t)c * (size_t)p->h + (size_t)y) *
                       (size_t)p->w + (size_t)r.x0;
            float *b = m->data + (size_t)c * m->plane +
                       (size_t)(y - r.y0) * m->row;
            memcpy(in ? b : a, in ? a : b, (size_t)m->width * sizeof *a);
        }
    p->calls++;
}

static tsr_error source(void *cookie, tsri_rect r, tsri_fmap *dst)
{
    copy(cookie, r, dst, true);
    return TSR_OK;
}

static tsr_error sink(void *cookie, tsri_rect r, const tsri_fmap *src)
{
    copy(cookie, r, src, false);
    return TSR_OK;
}

static tsri_fmap map_of(const picture *p)
{
    const size_t row = (size_t)p->w;
    return (tsri_fmap){ p->data, p->channels, p->h, p->w, row * (size_t)p->h,
                        row };
}

static picture run_whole(const twin *t, picture *in)
{
    int h, w;
    tsri_net_out_size(t->net, in->h, in->w, &h, &w);
    picture out = picture_new(tsri_net_out_channels(t->net), h, w);
    tsri_fmap map = map_of(&out);
    in->calls = 0;
    assert_int_equal(tsri_net_run(t->net, in->h, in->w,
                                  (tsri_rect){ 0, 0, h, w }, source, in, &map),
                     TSR_OK);
    assert_int_equal(in->calls, 1);
    return out;
}

static void compare(const picture *got, const plane *want)
{
    assert_int_equal(got->channels, want->channels);
    assert_int_equal(got->h, want->h);
    assert_int_equal(got->w, want->w);
    for (size_t i = 0; i < at(want, want->channels, 0, 0); i++) {
        const double off = fabs(got->data[i] - want->v[i]);
        if (!(off <= want->e[i]))
            fail_msg("sample %zu of %d x %d x %d: %.9g, not %.9g +- %.2g", i,
                     want->channels, want->h, want->w, got->data[i],
                     want->v[i], want->e[i]);
    }
}

static inline void check_size(twin *t, int h, int w)
{
    picture in = random_picture(&t->rng, t->node[0].channels, h, w);
    plane want = eval(t, in.data, h, w);
    picture got = run_whole(t, &in);
    compare(&got, &want);
    free(want.v);
    free(want.e);
    free(got.data);
    free(in.data);
}

/* Each other layer by itself, reading and writing the outside. */
static int single(twin *t, int kind)
{
    switch (kind) {
    case 0: return act(t, 0, TSRI_ACT_SILU);
    case 1: return act(t, 0, TSRI_ACT_RELU);
    case 2: return gdn(t, 0, false);
    case 3: return gdn(t, 0, true);
    case 4: return shuffle(t, 0, 2);
    case 5: return unshuffle(t, 0, 2);
    case 6: return add(t, 0, 0);
    case 7: return gate(t, 0, 0, 0);
    case 8: return unshuffle(t, 0, 4);
    case 9: return shuffle(t, unshuffle(t, 0, 4), 2);
    case 10: return add(t, 0, act(t, 0, TSRI_ACT_RELU));
    default: return act(t, 0, TSRI_ACT_NONE);
    }
}

/* Blocks of the published codecs. */

static int rb(twin *t, int x, tsri_pad pad)
{
    const int c = t->node[x].channels;
    int y = conv(t, act(t, x, TSRI_ACT_SILU), c, 3, 1, pad);
    y = conv(t, act(t, y, TSRI_ACT_SILU), c, 3, 1, pad);
    return add(t, x, y);
}

static int rb_down(twin *t, int x)
{
    const int c = t->node[x].channels;
    int y = conv(t, act(t, x, TSRI_ACT_SILU), c, 3, 2, TSRI_PAD_REFLECT);
    y = conv(t, gdn(t, y, false), c, 3, 1, TSRI_PAD_REFLECT);
    return add(t, y, conv(t, x, c, 3, 2, TSRI_PAD_REFLECT));
}

static int rb_up(twin *t, int x)
{
    const int c = t->node[x].channels;
    int y = conv(t, act(t, x, TSRI_ACT_SILU), 4 * c, 3, 1, TSRI_PAD_REFLECT);
    y = gdn(t, shuffle(t, y, 2), true);
    y = conv(t, y, c, 3, 1, TSRI_PAD_REFLECT);
    x = conv(t, x, 4 * c, 3, 1, TSRI_PAD_REFLECT);
    return add(t, shuffle(t, x, 2), y);
}

static int attention(twin *t, int x)
{
    const int main = rb(t, x, TSRI_PAD_REFLECT);
    const int side = rb(t, x, TSRI_PAD_REFLECT);
    return gate(t, x, main, conv(t, side, t->node[x].channels, 1, 1,
                                 TSRI_PAD_ZERO));
}

/* Pixels to a latent like that of the default codec, small. */
static int down(twin *t, int x)
{
    x = conv(t, unshuffle(t, x, 4), 24, 3, 1, TSRI_PAD_ZERO);
    x = add(t, x, conv(t, act(t, conv(t, x, 24, 3, 1, TSRI_PAD_ZERO),
                              TSRI_ACT_SILU), 24, 3, 1, TSRI_PAD_ZERO));
    x = conv(t, x, 40, 3, 2, TSRI_PAD_ZERO);
    return conv(t, rb(t, x, TSRI_PAD_ZERO), 20, 3, 1, TSRI_PAD_ZERO);
}

static int up(twin *t, int x)
{
    x = conv(t, x, 40, 3, 1, TSRI_PAD_ZERO);
    x = shuffle(t, conv(t, x, 96, 1, 1, TSRI_PAD_ZERO), 2);
    x = rb(t, x, TSRI_PAD_ZERO);
    return shuffle(t, conv(t, x, 48, 3, 1, TSRI_PAD_ZERO), 4);
}

enum { GRAPHS = 10 };

static int graph(twin *t, int kind)
{
    switch (kind) {
    case 0: return rb(t, 0, TSRI_PAD_REFLECT);
    case 1: return rb_down(t, 0);
    case 2: return rb_up(t, 0);
    case 3: return attention(t, 0);
    case 4: return down(t, 0);
    case 5: return up(t, 0);
    case 6: return rb_up(t, attention(t, rb_down(t, 0)));
    case 7: return shuffle(t, rb_up(t, rb(t, 0, TSRI_PAD_ZERO)), 2);
    case 9: return shuffle(t, conv(t, 0, 64, 3, 1, TSRI_PAD_ZERO), 2);
    default: return conv(t, rb_down(t, conv(t, 0, 16, 3, 2, TSRI_PAD_REFLECT)),
                         9, 1, 2, TSRI_PAD_ZERO);
    }
}

static const int graph_channels[GRAPHS] = { 16, 24, 8, 20, 3, 20, 8, 12, 3, 8 };

static inline void graph_open(twin *t, tsr_context *ctx, int kind)
{
    twin_open(t, ctx, graph_channels[kind], 77 + (uint64_t)kind);
    graph(t, kind);
    finish(t);
}

/* Wide layers, where blocking in a library would begin to matter. */
static int wide(twin *t, int x, int channels)
{
    x = gdn(t, conv(t, x, channels, 3, 1, TSRI_PAD_ZERO), false);
    x = rb(t, x, TSRI_PAD_REFLECT);
    x = conv(t, conv(t, x, channels + 64, 3, 2, TSRI_PAD_ZERO), channels, 1, 1,
             TSRI_PAD_ZERO);
    return conv(t, act(t, x, TSRI_ACT_RELU), 2 * channels, 1, 2,
                TSRI_PAD_ZERO);
}
#endif

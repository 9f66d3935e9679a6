/* SPDX-License-Identifier: BSD-2-Clause */
/* Sizes of planes, memory and work of a UNet. */
#include "codecs/audio/unet_impl.h"

typedef tsri_unet_flow flow;
typedef tsri_unet_sizes sizes;

static size_t floats(const flow *f)
{
    return tsri_unet_floats(f);
}

static void most(size_t *a, size_t b)
{
    *a = b > *a ? b : *a;
}

static void size_conv(sizes *s, const tsri_plane_conv *c, flow *f)
{
    s->read = tsri_max(s->read, f->channels);
    tsri_plane_conv_size(c, &f->height, &f->width);
    most(&s->gathered, (size_t)c->layer.taps * floats(f));
    f->channels = c->layer.out;
    s->macs += (double)floats(f) * c->layer.in * c->layer.taps;
}

static void size_residual(sizes *s, const tsri_unet_residual *r, flow *f)
{
    most(&s->work[0], floats(f));
    if (r->changes)
        s->macs += (double)floats(f) * r->skip.layer.out;
    size_conv(s, &r->conv1, f);
    most(&s->work[1], floats(f));
    size_conv(s, &r->conv2, f);
    most(&s->work[2], floats(f));
}

/* Keys and values of a condition are made once for many runs and not counted. */
static void size_former(sizes *s, const tsri_unet *u, const tsri_unet_former *f,
                        const flow *at)
{
    const int n = at->height * at->width, c = at->channels;
    const bool own = f->condition < 0;
    const double each = (double)n * c;

    most(&s->work[0], floats(at));
    most(&s->work[1], 8 * floats(at));
    most(&s->work[2], 4 * floats(at));
    most(&s->work[3], floats(at));
    s->keys = tsri_max(s->keys, n);
    s->macs += each * (2.0 * c + (own ? 8.0 : 6.0) * c + 12.0 * c);
    s->macs += each * 2 * (n + (own ? n : u->positions));
    if (!own)
        s->condition_macs += 2.0 * u->positions * u->context * c;
}

static void size_block(sizes *s, const tsri_unet *u, const tsri_unet_block *b,
                       flow *f)
{
    for (int i = 0; i < b->parts; i++) {
        const tsri_unet_part *p = &b->part[i];
        if (p->kind == TSRI_UNET_CONV)
            size_conv(s, &p->conv, f);
        else if (p->kind == TSRI_UNET_RESIDUAL)
            size_residual(s, p->residual, f);
        else
            size_former(s, u, p->former, f);
        most(&s->plane, floats(f));
        s->wide = tsri_max(s->wide, f->channels);
    }
}

/* Both halves meet at planes of the same size, or the net is none. */
bool tsri_unet_size(const tsri_unet *u, sizes *s, flow *kept)
{
    flow f = { u->height, u->width, u->channels };

    *s = (sizes){ .plane = floats(&f), .keys = u->positions,
                  .wide = 4 * u->first };
    for (int i = 0; i < u->ins; i++) {
        size_block(s, u, &u->in[i], &f);
        kept[i] = f;
    }
    size_block(s, u, &u->middle, &f);
    for (int i = 0; i < u->outs; i++) {
        const flow *k = &kept[u->ins - 1 - i];
        if (k->height != f.height || k->width != f.width)
            return false;
        f.channels += k->channels;
        most(&s->plane, floats(&f));
        size_block(s, u, &u->out[i], &f);
    }
    most(&s->work[0], floats(&f));
    size_conv(s, &u->end, &f);
    return f.height == u->height && f.width == u->width;
}

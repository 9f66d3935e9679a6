/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "codecs/image/mcquic.h"

enum { STEP = 8 };              /* sides of tiles are multiples of this */

tsr_error tsri_map_new(tsr_context *ctx, int channels, int height, int width,
                       tsri_fmap *map)
{
    size_t plane, count;

    *map = (tsri_fmap){ NULL, channels, height, width, 0, (size_t)width };
    if (!tsri_mul((size_t)height, (size_t)width, &plane) ||
        !tsri_mul(plane, (size_t)channels, &count))
        return tsri_nomem(ctx);
    map->plane = plane;
    map->data = tsri_alloc(ctx, count, sizeof *map->data);
    return map->data ? TSR_OK : tsri_nomem(ctx);
}

uint64_t tsri_map_bytes(int channels, int height, int width)
{
    return (uint64_t)channels * sizeof(float) * (uint64_t)height *
           (uint64_t)width;
}

tsri_fmap tsri_map_view(const tsri_fmap *map, tsri_rect r)
{
    tsri_fmap view = *map;
    view.data += (size_t)r.y0 * map->row + (size_t)r.x0;
    view.height = r.y1 - r.y0;
    view.width = r.x1 - r.x0;
    return view;
}

void tsri_map_copy(const tsri_fmap *src, tsri_fmap *dst)
{
    for (int c = 0; c < src->channels; c++)
        for (int y = 0; y < src->height; y++)
            memcpy(dst->data + (size_t)c * dst->plane + (size_t)y * dst->row,
                   src->data + (size_t)c * src->plane + (size_t)y * src->row,
                   (size_t)src->width * sizeof *dst->data);
}

tsr_error tsri_map_source(void *map, tsri_rect r, tsri_fmap *dst)
{
    const tsri_fmap part = tsri_map_view(map, r);
    tsri_map_copy(&part, dst);
    return TSR_OK;
}

/* ---- tiles ---- */

/* Bytes for a tile of these sides that has neighbours on all sides as far as
 * the plane allows: the worst there is. */
static uint64_t tile_bytes(const tsri_net *net, int height, int width,
                           int tile_h, int tile_w)
{
    tsri_rect r;
    int h, w;

    tsri_net_out_size(net, height, width, &h, &w);
    r.y0 = (h - tile_h) / 2;
    r.x0 = (w - tile_w) / 2;
    r.y1 = r.y0 + tile_h;
    r.x1 = r.x0 + tile_w;
    return tsri_net_memory(net, height, width, r) +
           tsri_map_bytes(tsri_net_out_channels(net), tile_h, tile_w);
}

/* About three quarters of a side > STEP. */
static int less(int side)
{
    return tsri_max((side - side / 4 - 1) / STEP * STEP, STEP);
}

/* A large tile that fits, by shortening the longer side. */
static void choose_tile(const tsri_net *net, int height, int width,
                        uint64_t budget, int *tile_h, int *tile_w)
{
    while (tile_bytes(net, height, width, *tile_h, *tile_w) > budget) {
        if (*tile_h > STEP && *tile_h >= *tile_w)
            *tile_h = less(*tile_h);
        else if (*tile_w > STEP)
            *tile_w = less(*tile_w);
        else
            break;
    }
}

static tsr_error one_tile(const tsri_net *net, int height, int width,
                          tsri_rect r, float *data, tsri_net_source source,
                          void *source_cookie, tsri_mcquic_sink sink,
                          void *sink_cookie)
{
    const size_t w = (size_t)(r.x1 - r.x0), h = (size_t)(r.y1 - r.y0);
    tsri_fmap tile = { data, tsri_net_out_channels(net), r.y1 - r.y0,
                       r.x1 - r.x0, w * h, w };

    TSR_TRY(tsri_net_run(net, height, width, r, source, source_cookie, &tile));
    return sink(sink_cookie, r, &tile);
}

tsr_error tsri_mcquic_tiles(tsr_context *ctx, const tsri_net *net, int height,
                            int width, tsri_rect out, uint64_t budget,
                            tsri_net_source source, void *source_cookie,
                            tsri_mcquic_sink sink, void *sink_cookie)
{
    int tile_h = out.y1 - out.y0, tile_w = out.x1 - out.x0;
    tsr_error error = TSR_OK;
    tsri_fmap space;

    choose_tile(net, height, width, budget, &tile_h, &tile_w);
    TSR_TRY(tsri_map_new(ctx, tsri_net_out_channels(net), tile_h, tile_w,
                         &space));
    for (int y = out.y0; !error && y < out.y1; y += tile_h)
        for (int x = out.x0; !error && x < out.x1; x += tile_w) {
            const tsri_rect r = { y, x, tsri_min(y + tile_h, out.y1),
                                  tsri_min(x + tile_w, out.x1) };
            error = one_tile(net, height, width, r, space.data, source,
                             source_cookie, sink, sink_cookie);
        }
    tsri_free(ctx, space.data);
    return error;
}

/* ---- two nets in a row ---- */

/* Rows y0..y1-1 of the plane between the nets, `map` has room for more. */
typedef struct window {
    tsri_fmap map;
    int y0, y1;
} window;

static tsr_error window_source(void *cookie, tsri_rect r, tsri_fmap *dst)
{
    const window *w = cookie;
    r.y0 -= w->y0;
    r.y1 -= w->y0;
    const tsri_fmap part = tsri_map_view(&w->map, r);
    tsri_map_copy(&part, dst);
    return TSR_OK;
}

static tsr_error window_sink(void *cookie, tsri_rect r, tsri_fmap *tile)
{
    const window *w = cookie;
    r.y0 -= w->y0;
    r.y1 -= w->y0;
    tsri_fmap part = tsri_map_view(&w->map, r);
    tsri_map_copy(tile, &part);
    return TSR_OK;
}

/* Moves the window down to begin at row y0; what it has from there on stays. */
static void window_slide(window *w, int y0)
{
    const int keep = tsri_max(w->y1 - y0, 0);
    if (keep > 0)
        for (int c = 0; c < w->map.channels; c++) {
            float *plane = w->map.data + (size_t)c * w->map.plane;
            memmove(plane, plane + (size_t)(y0 - w->y0) * w->map.row,
                    (size_t)keep * w->map.row * sizeof *plane);
        }
    w->y0 = y0;
    w->y1 = y0 + keep;
}

typedef struct plan {
    int mid_h, mid_w, out_h, out_w;
    int rows;                   /* of output, per band */
    int window_rows;            /* of the plane between, at most */
} plan;

static tsri_rect band_at(const plan *p, int y)
{
    return (tsri_rect){ y, 0, tsri_min(y + p->rows, p->out_h), p->out_w };
}

/* Bands as high as `bytes` of window allow. */
static void choose_band(const tsri_net *second, plan *p, uint64_t bytes)
{
    for (p->rows = p->out_h;; p->rows = less(p->rows)) {
        p->window_rows = 0;
        for (int y = 0; y < p->out_h; y += p->rows) {
            const tsri_rect in = tsri_net_in_rect(second, p->mid_h, p->mid_w,
                                                  band_at(p, y));
            p->window_rows = tsri_max(p->window_rows, in.y1 - in.y0);
        }
        if (p->rows <= STEP ||
            tsri_map_bytes(tsri_net_in_channels(second), p->window_rows,
                           p->mid_w) <= bytes)
            return;
    }
}

tsr_error tsri_mcquic_chain(tsr_context *ctx, const tsri_net *first,
                            const tsri_net *second, int height, int width,
                            uint64_t budget, tsri_net_source source,
                            void *source_cookie, tsri_mcquic_sink sink,
                            void *sink_cookie)
{
    tsr_error error = TSR_OK;
    window w = { .y0 = 0 };
    plan p;

    tsri_net_out_size(first, height, width, &p.mid_h, &p.mid_w);
    tsri_net_out_size(second, p.mid_h, p.mid_w, &p.out_h, &p.out_w);
    choose_band(second, &p, budget / 2);
    TSR_TRY(tsri_map_new(ctx, tsri_net_in_channels(second), p.window_rows,
                         p.mid_w, &w.map));
    const uint64_t taken = tsri_map_bytes(w.map.channels, p.window_rows,
                                          p.mid_w);
    const uint64_t left = budget > taken ? budget - taken : 0;
    for (int y = 0; !error && y < p.out_h; y += p.rows) {
        const tsri_rect band = band_at(&p, y);
        const tsri_rect in = tsri_net_in_rect(second, p.mid_h, p.mid_w, band);
        window_slide(&w, in.y0);
        const tsri_rect new_rows = { w.y1, 0, in.y1, p.mid_w };
        w.y1 = in.y1;
        if (new_rows.y0 < new_rows.y1)
            error = tsri_mcquic_tiles(ctx, first, height, width, new_rows, left,
                                      source, source_cookie, window_sink, &w);
        if (!error)
            error = tsri_mcquic_tiles(ctx, second, p.mid_h, p.mid_w, band, left,
                                      window_source, &w, sink, sink_cookie);
    }
    tsri_free(ctx, w.map.data);
    return error;
}

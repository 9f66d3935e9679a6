/* SPDX-License-Identifier: BSD-2-Clause */
/* The policies of <tessera/kv_control.h>, one function each. */
#include "net/control_impl.h"
#include <math.h>

/* Chunks are recomputed unless the floors come in that many times the time that
 * they are expected to take: a link may sag, and the later that is seen the fewer
 * chunks there is time for.  (Spreads of the bandwidth seen so far foretell
 * nothing of it: in bench/kv-stream they changed nothing.) */
static const double SLACK = 1.5;
/* While floors are under way, finer levels must fit in so many times: both use
 * one link. */
static const double SPARE = 2.0;
/* Part of the deadline. */
static const double PATIENCE = 0.125;
/* Part of a level that is worth a request. */
enum { LEAST_SHARE = 8 };

static const tsr_kv_step done = { .action = TSR_KV_DONE };

static tsr_kv_step wait_until(double until)
{
    return (tsr_kv_step){ .action = TSR_KV_WAIT, .until = until };
}

static int busy(const tsr_kv_control *c)
{
    return c->link.busy > 0 || c->remaking >= 0;
}

/* The chunk that has to be recomputed next, if all before it are there. */
static int ready_to_remake(const tsr_kv_control *c)
{
    return c->remaking < 0 && c->front < c->set.chunks &&
        c->part[c->front].fate == TSRI_REMAKE;
}

/* The first chunk in order of tokens whose floor is to be fetched, or -1. */
static int next_up(tsr_kv_control *c)
{
    while (c->up < c->set.chunks && !tsri_part_due(c, c->up))
        c->up++;
    return c->up < c->set.chunks ? c->up : -1;
}

/* The last one.  Before a chunk that has to be recomputed nothing may be
 * missing, so those before it come first. */
static int next_down(tsr_kv_control *c)
{
    if (c->remakes) {
        int gap = c->front;
        while (c->part[gap].fate != TSRI_REMAKE)
            gap++;
        while (--gap >= c->front)
            if (tsri_part_due(c, gap))
                return gap;
    }
    while (c->down >= 0 && !tsri_part_due(c, c->down))
        c->down--;
    return c->down;
}

/* ---- uniform: everything in order with one quality ---- */

static tsr_kv_step in_order(tsr_kv_control *c, double now, int room, int levels)
{
    if (ready_to_remake(c))
        return tsri_give_recompute(c, now, c->front);
    const int chunk = next_up(c);
    if (chunk >= 0 && !room)
        return wait_until(HUGE_VAL);
    if (chunk >= 0)
        return tsri_give_fetch(c, now, chunk, 0, levels - 1, c->set.layers);
    return busy(c) ? wait_until(HUGE_VAL) : done;
}

static tsr_kv_step next_uniform(tsr_kv_control *c, double now, int room)
{
    return in_order(c, now, room, c->set.ceiling);
}

/* ---- cachegen, remaining: one quality for each chunk, in order ---- */

/* Levels of a chunk that the last request's bandwidth brings in `seconds`, with
 * as many more like it as `chunks` says; 0: none.  The first request is of medium
 * quality. */
static int levels_in(const tsr_kv_control *c, int chunk, int chunks,
                     double seconds)
{
    const tsri_link *link = &c->link;
    double each = link->prior > 0 ? 1 / link->prior : 0;
    if (link->samples)
        each = link->seconds[0] / (link->bytes[0] * link->shared[0]);
    if (!(each > 0) || !c->known)
        return (c->set.floor + c->set.ceiling) / 2;
    int levels = c->set.ceiling;
    while (levels >= c->set.floor && seconds <= each * chunks *
           (double)tsri_part_bytes(c, chunk, 0, levels - 1))
        levels--;
    return levels >= c->set.floor ? levels : 0;
}

/* What does not fit is recomputed; where it cannot be, it gets the floor. */
static tsr_kv_step in_parts(tsr_kv_control *c, double now, int room, int share)
{
    if (!(c->set.deadline > 0))
        return next_uniform(c, now, room);
    for (int chunk; room && (chunk = next_up(c)) >= 0;) {
        const int levels = share
            ? levels_in(c, chunk, 1, c->set.deadline / c->set.chunks)
            : levels_in(c, chunk, c->set.chunks - chunk, c->set.deadline - now);
        if (levels || !c->recompute)
            return in_order(c, now, room, levels ? levels : c->set.floor);
        tsri_part_fate(c, chunk, TSRI_REMAKE);
        if (ready_to_remake(c))
            return tsri_give_recompute(c, now, c->front);
    }
    return in_order(c, now, room, c->set.floor);
}

static tsr_kv_step next_cachegen(tsr_kv_control *c, double now, int room)
{
    return in_parts(c, now, room, 1);
}

static tsr_kv_step next_remaining(tsr_kv_control *c, double now, int room)
{
    return in_parts(c, now, room, 0);
}

/* ---- deadline: floors first, then what takes most off the loss ---- */

/* Whether the first chunk that is not there could be recomputed instead of
 * fetched.  One that is being fetched only when there is no other. */
static int can_remake(const tsr_kv_control *c, int nothing_due)
{
    return c->recompute && c->remaking < 0 && c->front < c->set.chunks &&
        (nothing_due || !c->part[c->front].busy);
}

/* When a link that has brought nothing yet, so that nothing can be planned, is
 * taken for one that brings nothing. */
static double patience(const tsr_kv_control *c)
{
    return c->known || c->oldest < 0 ? HUGE_VAL
        : c->part[c->oldest].given + c->set.deadline * PATIENCE;
}

/* Whether it should: fetching all that remains takes too long, and longer than
 * that. */
static int too_slow(const tsr_kv_control *c, double now, int nothing_due)
{
    if (!can_remake(c, nothing_due))
        return 0;
    if (now >= patience(c))
        return 1;
    const double time = tsri_floor_time(c, now);
    return now + SLACK * time > c->set.deadline && c->recompute[c->front] < time;
}

static int can_be_finer(const tsr_kv_control *c, int chunk, int level)
{
    const tsri_part *p = &c->part[chunk];
    return p->fate == TSRI_OPEN && !p->busy && !p->ended && p->known &&
        p->got[level - 1] == c->set.layers && p->got[level] < c->set.layers;
}

static int next_finer(tsr_kv_control *c, int level)
{
    int *at = &c->finer[level];
    while (*at >= 0 && !can_be_finer(c, *at, level))
        --*at;
    return *at;
}

/* As many layers of a level as there is time for; 0: too few. */
static int layers_in_time(const tsr_kv_control *c, double now, int chunk,
                          int level)
{
    const int left = c->set.layers - c->part[chunk].got[level];
    const int least = (c->set.layers + LEAST_SHARE - 1) / LEAST_SHARE;
    const double each = (double)c->part[chunk].bytes[level] / c->set.layers;
    const double spare = c->front < c->set.chunks ? SPARE : 1;
    for (int layers = left; layers > 0; layers -= least) {
        const double time = tsri_more_time(c, now, (uint64_t)(each * layers),
                                           level);
        if (now + spare * time <= c->set.deadline)
            return layers;
    }
    return 0;
}

/* What a byte of a level takes off the loss. */
static double gain(const tsr_kv_control *c, int chunk, int level)
{
    return (c->set.loss[level] - c->set.loss[level + 1]) /
        fmax((double)c->part[chunk].bytes[level], 1);
}

/* What brings most of what there is time for; action 0: nothing.  The latest
 * chunk, which what follows looks at most, gets all its levels before others get
 * any. */
static tsr_kv_step refine(tsr_kv_control *c, double now)
{
    const int latest = c->set.chunks - 1;
    int best = -1, level = 0, layers = 0;
    for (int k = c->set.floor; k < c->set.ceiling; k++) {
        const int is_latest = can_be_finer(c, latest, k);
        const int chunk = is_latest ? latest : next_finer(c, k);
        if (chunk < 0 || (best >= 0 && !is_latest &&
                          gain(c, chunk, k) <= gain(c, best, level)))
            continue;
        const int fit = layers_in_time(c, now, chunk, k);
        if (!fit)
            continue;
        best = chunk;
        level = k;
        layers = fit;
        if (is_latest)
            break;
    }
    if (best >= 0)
        return tsri_give_fetch(c, now, best, level, level, layers);
    return (tsr_kv_step){ .chunk = -1 };
}

/* Nothing can begin: until something ends, the deadline comes, or the link is
 * seen to have stalled. */
static tsr_kv_step pause(const tsr_kv_control *c, double now, int nothing_due)
{
    double until = now < c->set.deadline ? c->set.deadline : HUGE_VAL;
    if (can_remake(c, nothing_due)) {
        /* A little later, so that rounding does not make it ask again. */
        const double stall = fmin(patience(c), 0.001 +
            tsri_stall_time(c, SLACK, c->recompute[c->front]));
        until = stall > now ? fmin(until, stall) : until;
    }
    return wait_until(until);
}

static tsr_kv_step next_deadline(tsr_kv_control *c, double now, int room)
{
    if (!(c->set.deadline > 0))
        return next_uniform(c, now, room);
    const int chunk = c->recompute ? next_down(c) : next_up(c);
    if (ready_to_remake(c) || too_slow(c, now, chunk < 0))
        return tsri_give_recompute(c, now, c->front);
    if (chunk >= 0 && room)
        return tsri_give_fetch(c, now, chunk, 0, c->set.floor - 1,
                               c->set.layers);
    if (chunk < 0 && room && now < c->set.deadline) {
        const tsr_kv_step step = refine(c, now);
        if (step.action == TSR_KV_FETCH)
            return step;
    }
    const int there = c->front >= c->set.chunks;
    if (there && (now >= c->set.deadline || !busy(c)))
        return done;
    return pause(c, now, chunk < 0);
}

static const tsri_policy policies[] = {
    { "deadline", next_deadline },
    { "uniform", next_uniform },
    { "cachegen", next_cachegen },
    { "remaining", next_remaining }
};

const tsri_policy *tsri_policy_at(int i)
{
    return i >= 0 && i < (int)(sizeof policies / sizeof *policies)
        ? &policies[i] : NULL;
}

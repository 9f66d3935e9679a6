/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "codecs/lanes.h"

enum { LINES = 64 };            /* of a lane, kept for the caller's logger */

typedef struct line {
    tsr_log_level level;
    char text[240];
} line;

/* Beside the caller's own lane. */
typedef struct lane {
    tsr_context *ctx;
    line line[LINES];
    int lines, lost;
} lane;

/* What a context keeps. */
typedef struct lanes {
    tsri_keep kept;
    tsr_context *parent;
    int count;
    lane *lane[TSRI_LANES - 1];
} lanes;

typedef struct job {
    size_t n;
    tsri_lane_work work;
    void *cookie;
    const tsr_progress *progress;
    tsr_error *errors;          /* [n] */
    atomic_size_t next, done;
    atomic_int stop;
} job;

/* A lane's thread. */
typedef struct part {
    tsri_lane_run run;
    void *cookie;
    tsr_context *ctx;
    int lane;
    pthread_t thread;
} part;

/* ---- contexts ---- */

static void remember(void *cookie, tsr_log_level level, const char *message)
{
    lane *l = cookie;

    if (l->lines == LINES) {
        l->lost++;
        return;
    }
    l->line[l->lines].level = level;
    snprintf(l->line[l->lines++].text, sizeof l->line->text, "%s", message);
}

static void repeat(tsr_context *ctx, lane *l)
{
    for (int i = 0; i < l->lines; i++)
        tsri_log(ctx, l->line[i].level, "%s", l->line[i].text);
    if (l->lost)
        tsri_log(ctx, TSR_LOG_WARNING, "%d more messages", l->lost);
    l->lines = l->lost = 0;
}

static void close_lanes(tsri_keep *kept)
{
    lanes *all = (lanes *)kept;
    tsr_context *const parent = all->parent;

    for (int i = 0; i < all->count; i++) {
        tsr_context_close(&all->lane[i]->ctx);
        tsri_free(parent, all->lane[i]);
    }
    tsri_free(parent, all);
}

/* One more lane; false where there is no context for it, which is no fault. */
static bool add_lane(lanes *all, int threads)
{
    tsr_context *const parent = all->parent;
    lane *l = tsri_calloc(parent, 1, sizeof *l);
    const tsr_logger logger = { l, remember };

    if (!l)
        return false;
    if (tsri_context_twin(&l->ctx, parent, threads, logger)) {
        tsri_free(parent, l);
        return false;
    }
    l->ctx->keeps = true;
    l->lines = l->lost = 0;
    all->lane[all->count++] = l;
    return true;
}

/* The context's lanes, up to `count` of them; NULL: there can be none. */
static lanes *find_lanes(tsr_context *ctx, int count)
{
    lanes *all = NULL;

    for (tsri_keep *k = ctx->kept; k && !all; k = k->next)
        if (k->close == close_lanes)
            all = (lanes *)k;
    if (!all) {
        all = tsri_calloc(ctx, 1, sizeof *all);
        if (!all)
            return NULL;
        all->parent = ctx;
        all->kept.close = close_lanes;
        all->kept.next = ctx->kept;
        ctx->kept = &all->kept;
    }
    while (all->count < count &&
           add_lane(all, tsri_max(ctx->threads / (count + 1), 1)))
        ;
    return all;
}

int tsri_lanes_alone(const tsr_context *ctx, size_t n)
{
    const int most = tsri_min(ctx->threads, TSRI_LANES);

    return n < (size_t)most ? tsri_max((int)n, 1) : most;
}

int tsri_lanes(const tsr_context *ctx, size_t n)
{
    return ctx->keeps ? tsri_lanes_alone(ctx, n) : 1;
}

/* ---- work ---- */

static void *run_part(void *cookie)
{
    const part *p = cookie;

    p->run(p->cookie, p->ctx, p->lane);
    return NULL;
}

/* In `count` lanes beside the caller's, whose contexts know of each other. */
static void run_lanes(tsr_context *ctx, lanes *all, int count, tsri_lane_run run,
                      void *cookie)
{
    part p[TSRI_LANES - 1];
    const int before = ctx->beside;
    int started = 0;

    ctx->beside = count + 1;
    for (int i = 0; i < count; i++)
        all->lane[i]->ctx->beside = count + 1;
    for (; started < count; started++) {
        p[started] = (part){ .run = run, .cookie = cookie, .lane = started + 1,
                             .ctx = all->lane[started]->ctx };
        if (pthread_create(&p[started].thread, NULL, run_part, &p[started]))
            break;
    }
    run(cookie, ctx, 0);
    for (int i = 0; i < started; i++) {
        pthread_join(p[i].thread, NULL);
        repeat(ctx, all->lane[i]);
    }
    ctx->beside = before;
}

void tsri_lanes_all(tsr_context *ctx, int count, tsri_lane_run run, void *cookie)
{
    const int more = tsri_min(count, TSRI_LANES) - 1;
    const bool keeps = ctx->keeps;

    ctx->keeps = true;
    lanes *all = more > 0 ? find_lanes(ctx, more) : NULL;
    run_lanes(ctx, all, all ? tsri_min(all->count, more) : 0, run, cookie);
    ctx->keeps = keeps;
    if (!keeps)
        tsri_context_forget(ctx);
}

/* ---- pieces ---- */

/* Who asks whether to stop. */
typedef struct asker {
    job *j;
    bool caller;
} asker;

static int report(void *cookie, double done)
{
    asker *p = cookie;
    job *j = p->j;

    if (p->caller && j->progress && j->progress->report &&
        j->progress->report(j->progress->cookie,
                            ((double)atomic_load(&j->done) + done) /
                                (double)j->n))
        atomic_store(&j->stop, 1);
    return atomic_load(&j->stop);
}

static void run_pieces(void *cookie, tsr_context *ctx, int number)
{
    job *j = cookie;
    asker own = { j, number == 0 };
    const tsr_progress to = { &own, report };
    size_t i;

    while (!atomic_load(&j->stop) &&
           (i = atomic_fetch_add(&j->next, 1)) < j->n) {
        j->errors[i] = j->work(j->cookie, ctx, i, &to);
        atomic_fetch_add(&j->done, 1);
    }
}

static tsr_error first_error(const job *j)
{
    for (size_t i = 0; i < j->n; i++)
        if (j->errors[i])
            return j->errors[i];
    return TSR_OK;
}

tsr_error tsri_lanes_run(tsr_context *ctx, int count, size_t n,
                         tsri_lane_work work, void *cookie,
                         const tsr_progress *progress, tsr_error *errors)
{
    tsr_error *own = errors ? errors : tsri_alloc(ctx, n, sizeof *own);
    job j = { .n = n, .work = work, .cookie = cookie, .progress = progress,
              .errors = own };

    if (!own)
        return tsri_nomem(ctx);
    for (size_t i = 0; i < n; i++)
        own[i] = TSR_E_CANCELED;
    tsri_lanes_all(ctx, count, run_pieces, &j);
    const tsr_error error = first_error(&j);
    if (!errors)
        tsri_free(ctx, own);
    return error;
}

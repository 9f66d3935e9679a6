/* SPDX-License-Identifier: BSD-2-Clause */
#include "config.h"
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include "codecs/groups.h"

/* Finishing waits no longer than until there is so much of it. */
enum { BACKLOG = 4 * TSRI_GROUP };

/* Pieces in the order in which they came; -1 ends it. */
typedef struct queue {
    ptrdiff_t first, last;
    size_t count;
} queue;

typedef struct job {
    const tsri_groups_work *work;
    void *cookie;
    const tsr_progress *progress;
    size_t n;
    tsr_error *errors;          /* [n] */
    atomic_int stop;
    pthread_mutex_t lock;
    pthread_cond_t change;
    /* Under the lock. */
    size_t begun, becoming;     /* pieces given to before(), and not back */
    size_t left;                /* pieces that are not done with */
    queue *alike;               /* [n], by key; of these there are */
    size_t keys;
    queue done;                 /* by the device, to be finished */
    ptrdiff_t *next;            /* [n], in the queue that a piece is in */
} job;

typedef enum step { BEFORE, TOGETHER, AFTER } step;

/* What a lane does next; n = 0: nothing more. */
typedef struct task {
    step what;
    size_t piece[TSRI_GROUP];
    int n;
} task;

/* ---- queues ---- */

static void put(job *j, queue *q, size_t i)
{
    j->next[i] = -1;
    if (q->count++)
        j->next[q->last] = (ptrdiff_t)i;
    else
        q->first = (ptrdiff_t)i;
    q->last = (ptrdiff_t)i;
}

static task take(job *j, queue *q, step what, int n)
{
    task t = { .what = what, .n = n };

    for (int k = 0; k < n; k++, q->count--) {
        t.piece[k] = (size_t)q->first;
        q->first = j->next[q->first];
    }
    return t;
}

/* ---- what is next ---- */

/* n alike pieces or, for 1, one that is left over from pairs. */
static task find_alike(job *j, int n)
{
    for (size_t key = 0; key < j->keys; key++)
        if (j->alike[key].count >= (size_t)n &&
            (n > 1 || j->alike[key].count % 2))
            return take(j, &j->alike[key], TOGETHER, n);
    return (task){ .n = 0 };
}

/* The largest group that `lane` may do; `last`: no more pieces will come. */
static task find_group(job *j, int lane, bool last)
{
    task t = { .n = 0 };

    if (lane < TSRI_GROUP_LANES)
        t = find_alike(j, TSRI_GROUP);
    for (int n = TSRI_GROUP / 2; n > 0 && last && !t.n; n /= 2)
        if (n == 1 || lane < TSRI_GROUP_LANES)
            t = find_alike(j, n);
    return t;
}

/* Lanes that do groups see to it that the device has work. */
static task find_task(job *j, int lane)
{
    const bool last = j->begun == j->n && !j->becoming;
    task t = { .n = 0 };

    if (j->done.count < BACKLOG)
        t = find_group(j, lane, last);
    if (!t.n && j->done.count)
        t = take(j, &j->done, AFTER, 1);
    if (!t.n && j->begun < j->n) {
        t = (task){ .what = BEFORE, .piece = { j->begun++ }, .n = 1 };
        j->becoming++;
    }
    return t;
}

/* Waits until there is something to do, or nothing will be. */
static task next_task(job *j, int lane)
{
    task t = { .n = 0 };

    pthread_mutex_lock(&j->lock);
    while (j->left && !atomic_load(&j->stop)) {
        t = find_task(j, lane);
        if (t.n)
            break;
        pthread_cond_wait(&j->change, &j->lock);
    }
    pthread_mutex_unlock(&j->lock);
    return t;
}

/* ---- doing it ---- */

static int ask_stop(void *cookie, double done)
{
    (void)done;
    return atomic_load(&((job *)cookie)->stop);
}

static void do_task(job *j, tsr_context *ctx, const task *t, tsr_error *errors,
                    int *key)
{
    const tsr_progress progress = { j, ask_stop };

    if (t->what == BEFORE)
        errors[0] = j->work->before(j->cookie, ctx, t->piece[0], &progress, key);
    else if (t->what == TOGETHER)
        j->work->together(j->cookie, ctx, t->piece, t->n, errors);
    else
        errors[0] = j->work->after(j->cookie, ctx, t->piece[0], &progress);
}

static void end_task(job *j, const task *t, const tsr_error *errors, int key)
{
    pthread_mutex_lock(&j->lock);
    j->becoming -= t->what == BEFORE;
    for (int k = 0; k < t->n; k++) {
        const size_t i = t->piece[k];
        if (!errors[k] && t->what == BEFORE && key >= 0) {
            put(j, &j->alike[key], i);
            if ((size_t)key >= j->keys)
                j->keys = (size_t)key + 1;
        } else if (!errors[k] && t->what == TOGETHER && j->work->after) {
            put(j, &j->done, i);
        } else {
            j->errors[i] = errors[k];
            j->left--;
        }
    }
    pthread_cond_broadcast(&j->change);
    pthread_mutex_unlock(&j->lock);
}

/* On the calling thread. */
static void tell(job *j)
{
    const tsr_progress *p = j->progress;

    pthread_mutex_lock(&j->lock);
    const double done = (double)(j->n - j->left) / (double)j->n;
    pthread_mutex_unlock(&j->lock);
    if (!p || !p->report || !p->report(p->cookie, done))
        return;
    pthread_mutex_lock(&j->lock);
    atomic_store(&j->stop, 1);
    pthread_cond_broadcast(&j->change);
    pthread_mutex_unlock(&j->lock);
}

static void run_lane(void *cookie, tsr_context *ctx, int lane)
{
    job *j = cookie;

    for (task t = next_task(j, lane); t.n; t = next_task(j, lane)) {
        tsr_error errors[TSRI_GROUP] = { TSR_OK };
        int key = -1;
        do_task(j, ctx, &t, errors, &key);
        end_task(j, &t, errors, key);
        if (lane == 0)
            tell(j);
    }
}

static tsr_error run(tsr_context *ctx, int lanes, job *j)
{
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->change, NULL);
    for (size_t i = 0; i < j->n; i++)
        j->errors[i] = TSR_E_CANCELED;
    tsri_lanes_all(ctx, lanes, run_lane, j);
    if (!atomic_load(&j->stop) && j->n)
        tell(j);
    pthread_cond_destroy(&j->change);
    pthread_mutex_destroy(&j->lock);
    for (size_t i = 0; i < j->n; i++)
        if (j->errors[i])
            return j->errors[i];
    return TSR_OK;
}

tsr_error tsri_groups_run(tsr_context *ctx, int lanes, size_t n,
                          const tsri_groups_work *work, void *cookie,
                          const tsr_progress *progress, tsr_error *errors)
{
    job j = { .work = work, .cookie = cookie, .progress = progress, .n = n,
              .left = n, .alike = tsri_calloc(ctx, n, sizeof *j.alike),
              .next = tsri_alloc(ctx, n, sizeof *j.next),
              .errors = errors ? errors : tsri_alloc(ctx, n, sizeof *j.errors) };

    const tsr_error error = j.alike && j.next && j.errors ? run(ctx, lanes, &j)
                                                          : tsri_nomem(ctx);
    tsri_free(ctx, j.alike);
    tsri_free(ctx, j.next);
    if (!errors)
        tsri_free(ctx, j.errors);
    return error;
}

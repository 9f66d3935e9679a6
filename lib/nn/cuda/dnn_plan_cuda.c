/* SPDX-License-Identifier: BSD-2-Clause */
#include "lib/nn/cuda/dnn_inside.h"
#include <pthread.h>
#include <string.h>
#include <time.h>

enum { LISTED = 16, RUNS = 3, NOTES = 16, CHOICES = 1024 };

/* Of a context, for compiling and trying kernels; then the first that is there is
 * taken. */
static const double search_seconds = 3;

/* ---- engines ---- */

/* Notes of a configuration's engine; returns how many, -1 where it has none. */
static int64_t notes_of(tsri_dnn *d, descriptor config,
                        cudnnBackendAttributeName_t name,
                        cudnnBackendAttributeType_t type, void *note)
{
    maker m = { d, CUDNN_STATUS_SUCCESS };
    descriptor engine = create(&m, CUDNN_BACKEND_ENGINE_DESCRIPTOR);

    get(&m, config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
        &engine);
    const int64_t n = get(&m, engine, name, type, NOTES, note);
    destroy(d, &engine);
    return m.status != CUDNN_STATUS_SUCCESS ? -1 : n < NOTES ? n : NOTES;
}

/* The same bits every time; floats stay floats: no engine that rounds its inputs
 * for tensor cores. */
static bool fit(tsri_dnn *d, descriptor config, int type)
{
    cudnnBackendNumericalNote_t note[NOTES];
    const int64_t n = notes_of(d, config, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                               CUDNN_TYPE_NUMERICAL_NOTE, note);
    bool good = n >= 0;

    for (int64_t i = 0; good && i < n; i++)
        good = note[i] != CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC &&
               note[i] != CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION &&
               (type != NNK_F32 ||
                (note[i] != CUDNN_NUMERICAL_NOTE_TENSOR_CORE &&
                 note[i] != CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS));
    return good;
}

/* Whether its kernel is there, and not to be compiled first. */
static bool ready(tsri_dnn *d, descriptor config)
{
    cudnnBackendBehaviorNote_t note[NOTES];
    const int64_t n = notes_of(d, config, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE,
                               CUDNN_TYPE_BEHAVIOR_NOTE, note);
    bool good = n >= 0;

    for (int64_t i = 0; good && i < n; i++)
        good = note[i] != CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
    return good;
}

/* Configurations that the heuristics name, best first; returns how many. */
static int64_t configs_of(maker *m, const graph *g, cudnnBackendHeurMode_t mode,
                          descriptor *config)
{
    descriptor heuristic = create(m, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    set(m, heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
        CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &g->ops);
    set(m, heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    finish(m, heuristic);
    for (int i = 0; i < LISTED; i++)
        config[i] = create(m, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    const int64_t n = get(m, heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                          CUDNN_TYPE_BACKEND_DESCRIPTOR, LISTED, config);
    destroy(m->d, &heuristic);
    return n < LISTED ? n : LISTED;
}

/* The graph of a form and its configurations. */
typedef struct list {
    graph g;
    descriptor config[LISTED];
    int64_t count;
} list;

static void open_list(list *l, tsri_dnn *d, const tsri_dnn_shape *s, bool fused,
                      cudnnBackendHeurMode_t mode)
{
    maker m = { d, CUDNN_STATUS_SUCCESS };

    *l = (list){ .count = 0 };
    tsri_dnn_make_graph(&m, &l->g, s, fused);
    l->count = configs_of(&m, &l->g, mode, l->config);
}

static void close_list(list *l, tsri_dnn *d)
{
    for (int i = 0; i < LISTED; i++)
        destroy(d, &l->config[i]);
    tsri_dnn_free_graph(d, &l->g);
}

/* ---- plans ---- */

static bool works(const plan *p)
{
    return p->plan || p->way.own || p->way.singly;
}

/* ---- choosing ---- */

/* Milliseconds of a run, the least of some. */
static tsr_error measure(tsri_dnn *d, const plan *p, const operands *o,
                         float *least)
{
    tsri_cuda_mark *from = NULL, *to = NULL;
    tsr_error error = tsri_dnn_run(d, p, o);

    *least = 0;
    if (!error)
        error = tsri_cuda_mark_open(d->gpu, &from);
    if (!error)
        error = tsri_cuda_mark_open(d->gpu, &to);
    for (int i = 0; !error && i < RUNS; i++) {
        float ms;
        error = tsri_cuda_mark_set(d->gpu, from);
        error = error ? error : tsri_dnn_run(d, p, o);
        error = error ? error : tsri_cuda_mark_set(d->gpu, to);
        error = error ? error : tsri_cuda_mark_between(d->gpu, from, to, &ms);
        if (!error && (i == 0 || ms < *least))
            *least = ms;
    }
    if (from)
        tsri_cuda_mark_close(d->gpu, &from);
    if (to)
        tsri_cuda_mark_close(d->gpu, &to);
    return error;
}

/* Keeps a plan if it runs and is faster than what there is; whether it runs. */
static bool try_plan(tsri_dnn *d, const operands *o, plan *one, plan *p)
{
    float ms;

    if (measure(d, one, o, &ms)) {
        destroy(d, &one->plan);
        return false;
    }
    if (works(p) && ms >= p->ms) {
        destroy(d, &one->plan);
        return true;
    }
    destroy(d, &p->plan);
    p->plan = one->plan;
    p->way = one->way;
    p->workspace = one->workspace;
    p->ms = ms;
    return true;
}

/* A form of the graph, and how many of its engines are tried. */
typedef struct form {
    bool fused, compiled;       /* compiled: engines that compile a kernel, too */
    cudnnBackendHeurMode_t mode;
    int most;
} form;

/* The fastest plan of a form that runs, if it is faster than p. */
static void best_of(tsri_dnn *d, const operands *o, form f, plan *p)
{
    int ran = 0;
    list l;

    open_list(&l, d, &p->shape, f.fused, f.mode);
    for (int64_t i = 0; i < l.count && ran < f.most; i++) {
        plan one = { .shape = p->shape,
                     .way = { .fused = f.fused, .mode = f.mode, .listed = i } };
        tsri_dnn_read_engine(d, l.config[i], &one.way.engine);
        if (fit(d, l.config[i], p->shape.type) &&
            (f.compiled || ready(d, l.config[i])) &&
            tsri_dnn_make_plan(d, l.config[i], &one))
            ran += try_plan(d, o, &one, p);
    }
    close_list(&l, d);
}

static double seconds(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A fused kernel is compiled, which takes some tenths of a second: that is done
 * until the context's time for it is spent.  What is there already is tried in
 * milliseconds. */
static void search(tsri_dnn *d, const operands *o, plan *p)
{
    const double start = seconds();
    const bool rich = d->spent < search_seconds, f32 = p->shape.type == NNK_F32;
    const form forms[] = {
        { true, true, CUDNN_HEUR_MODE_A, rich ? f32 ? 4 : 1 : 0 },
        { false, false, CUDNN_HEUR_MODE_A, rich ? 3 : 1 },
        { false, false, CUDNN_HEUR_MODE_FALLBACK, f32 && rich ? 3 : 0 }
    };
    const form last[] = {
        { false, true, CUDNN_HEUR_MODE_FALLBACK, 1 },
        { true, true, CUDNN_HEUR_MODE_A, 1 },
        { false, true, CUDNN_HEUR_MODE_A, 1 }
    };
    const tsr_logger logger = d->ctx->logger;
    plan own = { .shape = p->shape, .way = { .own = true } };

    d->ctx->logger = (tsr_logger){ NULL, NULL };  /* that one fails is no error */
    if (tsri_dnn_has_own(&p->shape))
        try_plan(d, o, &own, p);
    for (int i = 0; i < 3; i++)
        if (forms[i].most)
            best_of(d, o, forms[i], p);
    for (int i = 0; i < 3 && !works(p); i++)
        best_of(d, o, last[i], p);
    d->ctx->logger = logger;
    d->spent += seconds() - start;
    d->chosen++;
}

/* ---- what the process has chosen ---- */

/* Kernels differ in how they round, so what one context has chosen for a device,
 * the others there take: then all of them find the same tokens, and only the first
 * has to search.  Plans themselves are of one thread: each context makes its own.
 * Memory is the process's, and of the last CHOICES shapes. */
typedef struct choice {
    tsri_dnn_shape shape;
    int device;
    way way;
} choice;

static struct {
    pthread_mutex_t lock;
    choice choice[CHOICES];
    size_t count;
} chosen = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool find(const tsri_dnn *d, const tsri_dnn_shape *s, way *found)
{
    const size_t n = chosen.count < CHOICES ? chosen.count : CHOICES;

    for (size_t i = 0; i < n; i++) {
        const choice *c = &chosen.choice[i];
        if (c->device == d->gpu->index && !memcmp(&c->shape, s, sizeof *s)) {
            *found = c->way;
            return true;
        }
    }
    return false;
}

static void keep(const tsri_dnn *d, const plan *p)
{
    chosen.choice[chosen.count++ % CHOICES] = (choice){
        .shape = p->shape, .device = d->gpu->index, .way = p->way };
}

/* A plan of this context as another one has chosen it.  This counts on cuDNN's
 * heuristics to name the same engines in the same order for the same graph. */
static void follow_listed(tsri_dnn *d, plan *p)
{
    list l;

    open_list(&l, d, &p->shape, p->way.fused, p->way.mode);
    if (p->way.listed < l.count)
        tsri_dnn_make_plan(d, l.config[p->way.listed], p);
    close_list(&l, d);
}

/* Several items for which this context cannot make the plan are done one by one, which
 * gives the same bits. */
static bool follow(tsri_dnn *d, plan *p)
{
    if (works(p))
        return true;
    if (p->shape.items == 1)
        follow_listed(d, p);
    if (!p->plan)
        tsri_dnn_follow_engine(d, p);
    p->way.singly = !p->plan && p->shape.items > 1;
    return works(p);
}

static void tell(tsri_dnn *d, const plan *p)
{
    const tsri_dnn_shape *s = &p->shape;

    tsri_log(d->ctx, TSR_LOG_DEBUG, "convolution %d x %dx%d %d-%d k%d s%d%s: %s,"
             " %.4f ms, %.0f MiB", (int)s->items, s->rows, s->cols, s->in, s->out,
             s->kernel, s->stride, s->type == NNK_F32 ? " float" : "",
             p->way.singly ? "one by one" : p->way.own ? "own" :
             p->way.fused ? "cuDNN, fused" : "cuDNN", (double)p->ms,
             (double)p->workspace / (1 << 20));
}

/* Whether the process knew; `one`: the plan for one of several items. */
static bool choose(tsri_dnn *d, const plan *one, const operands *o, plan *p)
{
    pthread_mutex_lock(&chosen.lock);
    const bool known = find(d, &p->shape, &p->way);
    if (!known && one)
        tsri_dnn_spread(d, one, o, p);
    else if (!known)
        search(d, o, p);
    if (!known && works(p))
        keep(d, p);
    pthread_mutex_unlock(&chosen.lock);
    if (!known && works(p))
        tell(d, p);
    return known;
}

tsr_error tsri_dnn_plan(plan **out, tsri_dnn *d, const tsri_dnn_shape *s,
                        const operands *o)
{
    const plan *one = NULL;
    plan *p;

    *out = NULL;
    if (s->items > 1) {
        tsri_dnn_shape single = *s;
        single.items = 1;
        TSR_TRY(tsri_dnn_find(&one, d, &single, o));
    }
    p = tsri_calloc(d->ctx, 1, sizeof *p);
    if (!p)
        return tsri_nomem(d->ctx);
    p->shape = *s;
    if (choose(d, one, o, p) && !follow(d, p)) {
        p->way = (way){ .own = false };
        search(d, o, p);
    }
    if (works(p)) {
        *out = p;
        return TSR_OK;
    }
    tsri_free(d->ctx, p);
    return tsri_fail(d->ctx, TSR_E_BACKEND, "cuDNN has no engine for a"
                     " convolution of %d x %d, %d to %d channels, kernel %d"
                     " stride %d", s->height, s->width, s->in, s->out,
                     s->kernel, s->stride);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* What policies of <tessera/kv_control.h> make of links whose bandwidth changes:
 * a simulator.  Prints a line of comma-separated values for each kind of traces,
 * way of recomputing, deadline, codec and policy, over 100 traces.
 *
 * bench/kv_stream [-seed N] [-traces N] [-rtt SECONDS] [-connections N]
 *
 * A request waits one round trip; then those under way share the link equally.
 * What was fetched is decoded in the order in which it came, one at a time, a
 * chunk from its first level on each time; recomputing goes on beside both, a
 * chunk when all before it are decoded. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/kv_control.h>

enum {
    TOKENS = 8192, LAYERS = 32, VALUES = 2 * LAYERS * 8 * 128, /* Llama 3 8B */
    PIECES = 600, MAX_CHUNKS = TOKENS / 256, MAX_CONNECTIONS = 64
};
static const double PIECE = 0.1;            /* seconds of a trace */
static const double TICK = 0.05;            /* between reports of progress */
static const double REMAKE = 0.2 / 1000;    /* seconds to recompute a token */

/* ---- codecs: bits a value of levels 0..k, KL of it ---- */

typedef struct codec {
    const char *name;
    int tokens, levels;         /* of a chunk */
    double bits[3], kl[4];      /* kl[k] with k levels */
    double decode;              /* bytes of 16-bit values a second */
} codec;

enum { OWN, OWN_1024, PROFILE, PROFILE_1024, CACHEGEN, RAW, CODECS };
/* As measured with objects of 256 tokens on caches of a small model: -levels 3,
 * -step 0.25 -value_ratio 1.8, and -step 0.5 with a profile.  Decoding: 16 cores
 * of bench/results/kv-speed. */
#define OWN_LEVELS 3, { 0.784, 2.202, 3.746 }, \
    { 0.0971, 0.02402, 0.00145, 0.00015 }, 16 * 0.5e9
#define PROFILE_LEVELS 3, { 0.192, 0.560, 1.231 }, \
    { 0.0971, 0.01296, 0.00239, 0.00035 }, 16 * 0.47e9
static const codec codecs[CODECS] = {
    { "tessera", 256, OWN_LEVELS }, { "tessera", 1024, OWN_LEVELS },
    { "tessera profile", 256, PROFILE_LEVELS },
    { "tessera profile", 1024, PROFILE_LEVELS },
    /* 8, 12 and 16 bins, with tables for 1024 tokens. */
    { "CacheGen", 1024, 3, { 2.003, 2.713, 3.224 },
      { 0.0971, 0.00715, 0.00224, 0.00115 }, 4.9e9 },
    { "raw", 256, 1, { 16 }, { 0.0971, 0 }, 40e9 }
};

/* ---- random numbers and traces ---- */

static uint64_t rng;

/* In 0..1. */
static double draw(void)
{
    rng ^= rng >> 12;
    rng ^= rng << 25;
    rng ^= rng >> 27;
    return (double)(rng * 2685821657736338717u >> 11) / 9007199254740992.0;
}

static double between(double low, double high)
{
    return low + draw() * (high - low);
}

/* Gbit/s, each PIECE seconds long. */
typedef void (*trace_fn)(double rate[PIECES]);

/* CacheGen's law: nothing is like the piece before. */
static void uniform(double rate[PIECES])
{
    for (int i = 0; i < PIECES; i++)
        rate[i] = between(0.1, 10);
}

static void uniform_slow(double rate[PIECES])
{
    for (int i = 0; i < PIECES; i++)
        rate[i] = between(0.01, 1);
}

/* States that stay for a second on the average, and noise. */
static void markov(double rate[PIECES])
{
    static const double of[] = { 0.05, 0.2, 0.8, 3.2 };
    int state = (int)between(0, 4);
    for (int i = 0; i < PIECES; i++) {
        if (draw() < 0.1)
            state = state == 0 ? 1 : state == 3 ? 2 : state + (draw() < 0.5 ? 1 : -1);
        rate[i] = of[state] * between(0.8, 1.2);
    }
}

/* Good, then a twentieth of it, at some time of the first second. */
static void sag(double rate[PIECES])
{
    const double good = between(0.5, 5);
    const int at = (int)between(1, 10);
    for (int i = 0; i < PIECES; i++)
        rate[i] = good * between(0.9, 1.1) * (i < at ? 1 : 0.05);
}

/* One second in three nothing at all. */
static void outages(double rate[PIECES])
{
    const double good = between(0.5, 4);
    int left = -(int)between(0, 10);
    for (int i = 0; i < PIECES; i++, left--) {
        rate[i] = left > 0 ? 0 : good * between(0.9, 1.1);
        if (left <= 0 && draw() < 0.07)
            left = (int)between(2, 9);
    }
}

static const struct { const char *name; trace_fn make; } families[] = {
    { "uniform 0.1..10", uniform }, { "uniform 0.01..1", uniform_slow },
    { "markov", markov }, { "sag", sag }, { "outages", outages }
};
enum { FAMILIES = sizeof families / sizeof *families };

static double rate_at(const double *trace, double t)
{
    return trace[(int)(t / PIECE + 1e-6) % PIECES] * 1e9 / 8;
}

static double piece_end(double t)
{
    return (floor(t / PIECE + 1e-6) + 1) * PIECE;
}

/* ---- one transfer ---- */

typedef struct plan {
    const codec *codec;
    const char *policy;
    int ceiling, connections;
    double deadline, rtt;
    int remake;                 /* chunks can be recomputed */
} plan;

typedef struct request {
    tsr_kv_step step;
    double begin, data;         /* the first byte comes at `data` */
    double bytes, left;
} request;

/* Something decoded, or recomputed. */
typedef struct made {
    tsr_kv_step step;
    double end, seconds;
    int told;
} made;

typedef struct outcome {
    double usable, end, kl, gpu, bytes;
    int late;
} outcome;

enum { MAX_MADE = MAX_CHUNKS * 40 };

typedef struct run {
    const plan *plan;
    const double *trace;
    tsr_kv_control *control;
    int chunks, done;
    uint64_t size[MAX_CHUNKS][3];
    request busy[MAX_CONNECTIONS];
    int busy_count;
    made decoded[MAX_MADE];
    int decoded_count, told;    /* those before `told` were reported */
    double decoder_free;
    made making;                /* action 0: nothing is recomputed */
    double there[MAX_CHUNKS];   /* when it was usable first */
    double now, until, tick;    /* progress is reported at `tick` */
    outcome out;
} run;

/* Chunks differ in size as texts do: by 3.3 % with a profile, as measured. */
static void set_sizes(run *r, uint64_t seed)
{
    const codec *c = r->plan->codec;
    const double values = (double)c->tokens * VALUES;
    rng = seed * 0x9E3779B97F4A7C15u + 1;
    for (int i = 0; i < r->chunks; i++) {
        const double factor = c->levels == 1 ? 1 : between(0.94, 1.06);
        double before = 0;
        for (int k = 0; k < c->levels; k++) {
            const double bytes = c->bits[k] * values / 8 * factor;
            r->size[i][k] = (uint64_t)(bytes - before);
            before = bytes;
        }
    }
}

static void open_control(run *r)
{
    const plan *p = r->plan;
    tsr_kv_control_settings s;
    double remake[MAX_CHUNKS];
    tsr_kv_control_settings_init(&s);
    s.policy = p->policy;
    s.chunks = r->chunks;
    s.layers = LAYERS;
    s.levels = p->codec->levels;
    s.ceiling = p->ceiling;
    s.deadline = p->deadline;
    memcpy(s.loss, p->codec->kl, sizeof s.loss);
    for (int i = 0; i < r->chunks; i++)
        remake[i] = REMAKE * p->codec->tokens;
    if (p->remake)
        s.recompute = remake;
    if (tsr_kv_control_open(&r->control, &s)) {
        fprintf(stderr, "kv_stream: %s: no such policy\n", p->policy);
        exit(1);
    }
}

static void begin_fetch(run *r, tsr_kv_step step)
{
    request *q = &r->busy[r->busy_count++];
    *q = (request){ .step = step, .begin = r->now,
                    .data = r->now + r->plan->rtt };
    for (int k = step.first_level; k <= step.last_level; k++)
        q->bytes += (double)r->size[step.chunk][k] * step.layers / LAYERS;
    q->left = q->bytes;
}

static void begin_recompute(run *r, tsr_kv_step step)
{
    double start = r->now;
    for (int i = 0; i < step.chunk; i++)
        start = fmax(start, r->there[i]);
    for (int i = 0; i < r->busy_count; i++)
        if (r->busy[i].step.chunk == step.chunk) {
            r->busy[i] = r->busy[--r->busy_count];
            break;
        }
    const double seconds = REMAKE * r->plan->codec->tokens;
    r->making = (made){ step, start + seconds, seconds, 0 };
    r->out.gpu += seconds;
}

static void ask(run *r)
{
    for (;;) {
        const tsr_kv_step s = tsr_kv_control_next(
            r->control, r->now, r->busy_count < r->plan->connections);
        if (s.action == TSR_KV_FETCH) {
            begin_fetch(r, s);
        } else if (s.action == TSR_KV_RECOMPUTE) {
            begin_recompute(r, s);
        } else {
            r->done = s.action == TSR_KV_DONE;
            r->until = s.action == TSR_KV_WAIT ? s.until : HUGE_VAL;
            return;
        }
    }
}

static int flowing(const run *r)
{
    int n = 0;
    for (int i = 0; i < r->busy_count; i++)
        n += r->busy[i].data <= r->now;
    return n;
}

/* When something happens next. */
static double next_time(const run *r)
{
    const int n = flowing(r);
    const double share = n ? rate_at(r->trace, r->now) / n : 0;
    double t = fmin(fmin(r->until, r->tick), piece_end(r->now));
    for (int i = 0; i < r->busy_count; i++) {
        const request *q = &r->busy[i];
        if (q->data > r->now)
            t = fmin(t, q->data);
        else if (share > 0)
            t = fmin(t, r->now + q->left / share);
    }
    if (r->making.step.action)
        t = fmin(t, r->making.end);
    if (r->told < r->decoded_count)
        t = fmin(t, r->decoded[r->told].end);
    return fmax(t, r->now);
}

static void flow(run *r, double t)
{
    const int n = flowing(r);
    const double share = n ? rate_at(r->trace, r->now) / n : 0;
    for (int i = 0; i < r->busy_count; i++)
        if (r->busy[i].data <= r->now) {
            r->busy[i].left -= share * (t - r->now);
            r->out.bytes += share * (t - r->now);
        }
    r->now = t;
    r->tick = t >= r->tick ? t + TICK : r->tick;
}

static void end_fetch(run *r, int i)
{
    const request q = r->busy[i];
    r->busy[i] = r->busy[--r->busy_count];
    uint64_t bytes = 0;
    for (int k = q.step.first_level; k <= q.step.last_level; k++)
        bytes += r->size[q.step.chunk][k] * (uint64_t)q.step.layers / LAYERS;
    tsr_kv_control_fetched(r->control, q.step.id, q.begin, r->now, bytes);
    const codec *c = r->plan->codec;
    const double seconds = 2.0 * c->tokens * VALUES * q.step.layers / LAYERS /
        c->decode;
    r->decoder_free = fmax(r->decoder_free, r->now) + seconds;
    if (r->decoded_count == MAX_MADE)
        abort();
    r->decoded[r->decoded_count++] = (made){ q.step, r->decoder_free, seconds, 0 };
    if (!q.step.first_level)
        r->there[q.step.chunk] = r->decoder_free;
}

/* The head comes first and says how long all levels are. */
static void tell_progress(run *r, const request *q)
{
    tsr_kv_control_sizes(r->control, q->step.chunk, r->size[q->step.chunk]);
    tsr_kv_control_progress(r->control, q->step.id, r->now,
                            (uint64_t)(q->bytes - q->left));
}

/* What has ended by now. */
static void report(run *r)
{
    for (int i = r->busy_count - 1; i >= 0; i--)
        if (r->busy[i].data <= r->now) {
            tell_progress(r, &r->busy[i]);
            if (r->busy[i].left < 1)
                end_fetch(r, i);
        }
    if (r->making.step.action && r->making.end <= r->now) {
        r->there[r->making.step.chunk] = r->making.end;
        r->making.step.action = 0;
        tsr_kv_control_recomputed(r->control, r->making.step.id, r->now);
    }
    while (r->told < r->decoded_count && r->decoded[r->told].end <= r->now) {
        const made *m = &r->decoded[r->told++];
        tsr_kv_control_decoded(r->control, m->step.id, m->seconds);
    }
}

/* Mean KL of what was decoded by then; of a level that came in part, in
 * proportion to the layers. */
static double loss_at(const run *r, double t)
{
    const double *kl = r->plan->codec->kl;
    double sum = 0;
    for (int i = 0; i < r->decoded_count; i++) {
        const made *m = &r->decoded[i];
        if (m->end <= t || !m->step.first_level)
            sum += (kl[m->step.last_level + 1] -
                    (m->step.first_level ? kl[m->step.first_level] : 0)) *
                m->step.layers / LAYERS;
    }
    return sum / r->chunks;
}

static void conclude(run *r)
{
    outcome *o = &r->out;
    for (int i = 0; i < r->chunks; i++)
        o->usable = fmax(o->usable, r->there[i]);
    /* Finer levels that come after the deadline are not used; if all came
     * before, that is the end. */
    const int strict = !strcmp(r->plan->policy, "deadline");
    double limit = strict ? fmax(o->usable, r->plan->deadline) : HUGE_VAL;
    o->end = o->usable;
    for (int i = 0; i < r->decoded_count; i++)
        if (r->decoded[i].end <= limit)
            o->end = fmax(o->end, r->decoded[i].end);
    o->kl = loss_at(r, limit);
    o->late = (strict ? o->usable : o->end) > r->plan->deadline * (1 + 1e-9);
}

static outcome simulate(const plan *p, const double *trace, uint64_t seed)
{
    static run r;
    memset(&r, 0, sizeof r);
    r.plan = p;
    r.trace = trace;
    r.chunks = TOKENS / p->codec->tokens;
    set_sizes(&r, seed);
    open_control(&r);
    while (ask(&r), !r.done) {
        const double t = next_time(&r);
        flow(&r, t);
        report(&r);
        if (t > 1000) {
            fprintf(stderr, "kv_stream: no end\n");
            exit(1);
        }
    }
    conclude(&r);
    tsr_kv_control_close(&r.control);
    return r.out;
}

/* ---- who knows the future, and CacheGen's own script ---- */

/* Bytes that the link brings from `from` to `to`. */
static double brings(const double *trace, double from, double to)
{
    double sum = 0;
    for (double t = from; t < to;) {
        const double end = fmin(piece_end(t), to);
        sum += rate_at(trace, t) * (end - t);
        t = end;
    }
    return sum;
}

/* When `bytes` have come that begin at `from`. */
static double comes(const double *trace, double from, double bytes)
{
    double t = from;
    for (int i = 0; i < 100000; i++) {
        const double rate = rate_at(trace, t), end = piece_end(t);
        if (rate * (end - t) >= bytes)
            return t + bytes / rate;
        bytes -= rate * (end - t);
        t = end;
    }
    return t;
}

/* The fewest chunks to recompute so that the others come by `end`; -1: none are
 * enough.  `left`: the bytes of those. */
static int fewest_remade(const run *r, double end, double tail, double *left)
{
    const plan *p = r->plan;
    const double each = REMAKE * p->codec->tokens;
    const double limit = brings(r->trace, p->rtt, end - tail);
    int remade = 0;
    *left = 0;
    for (int i = 0; i < r->chunks; i++)
        *left += (double)r->size[i][0];
    while (p->remake && remade < r->chunks && *left > limit &&
           (remade + 1) * each <= end)
        *left -= (double)r->size[remade++][0];
    return *left <= limit ? remade : -1;
}

/* What finer levels make of the time after the floors: from what brings most to
 * what brings least a byte. */
static void refine(const run *r, int remade, double bytes, outcome *o)
{
    const codec *c = r->plan->codec;
    double kl = (r->chunks - remade) * c->kl[1];
    for (int k = 1; k < c->levels; k++)
        for (int i = remade; i < r->chunks; i++) {
            const double part = fmin(1, bytes / (double)r->size[i][k]);
            bytes -= part * (double)r->size[i][k];
            o->bytes += part * (double)r->size[i][k];
            kl -= part * (c->kl[k] - c->kl[k + 1]);
        }
    o->kl = kl / r->chunks;
}

/* No policy can do better that recomputes only what it must: no waiting but the
 * first round trip, the link full until the last chunk has to be decoded, any
 * part of a level. */
static outcome oracle(const plan *p, const double *trace, uint64_t seed)
{
    static run r;
    memset(&r, 0, sizeof r);
    r.plan = p;
    r.trace = trace;
    r.chunks = TOKENS / p->codec->tokens;
    set_sizes(&r, seed);
    const double tail = 2.0 * p->codec->tokens * VALUES / p->codec->decode;
    /* By the deadline, or as soon after it as can be. */
    double end = p->deadline, left;
    int remade;
    while ((remade = fewest_remade(&r, end, tail, &left)) < 0)
        end += 0.001;
    outcome o = { .gpu = remade * REMAKE * p->codec->tokens, .bytes = left };
    o.late = end > p->deadline * (1 + 1e-9);
    o.usable = fmax(comes(trace, p->rtt, left) + tail, o.gpu);
    refine(&r, remade, o.late ? 0 : brings(trace, p->rtt, end - tail) - left, &o);
    o.end = fmax(comes(trace, p->rtt, o.bytes) + tail, o.gpu);
    return o;
}

/* As its script counts: how long each chunk takes is known before, a chunk after
 * the other, nothing waits for a round trip or for decoding. */
static outcome cachegen_script(const plan *p, const double *trace, uint64_t seed)
{
    static run r;
    memset(&r, 0, sizeof r);
    r.plan = p;
    const int n = r.chunks = TOKENS / p->codec->tokens;
    set_sizes(&r, seed);
    outcome o = { .usable = 0 };
    for (int i = 0; i < n; i++) {
        double bytes = 0, took = 0;
        int level = 0;
        for (int k = 0; k < p->codec->levels; k++) {
            bytes += (double)r.size[i][k];
            const double time = comes(trace, o.usable, bytes) - o.usable;
            if (time < p->deadline / n || (!p->remake && !k)) {
                level = k + 1;
                took = time;
            }
        }
        o.usable += level ? took : REMAKE * p->codec->tokens;
        o.gpu += level ? 0 : REMAKE * p->codec->tokens;
        o.kl += level ? p->codec->kl[level] / n : 0;
    }
    o.end = o.usable;
    o.late = o.usable > p->deadline;
    return o;
}

/* ---- all of them ---- */

typedef outcome (*player)(const plan *p, const double *trace, uint64_t seed);

static const struct row {
    const char *name;
    int codec;
    player play;
    const char *policy;
    int ceiling, connections;   /* 0: as asked for */
} rows[] = {
    { "deadline", PROFILE, simulate, "deadline", 0, 0 },
    { "clairvoyant", PROFILE, oracle, "deadline", 0, 0 },
    { "CacheGen's", PROFILE_1024, simulate, "cachegen", 0, 1 },
    { "remaining", PROFILE_1024, simulate, "remaining", 0, 1 },
    { "uniform 1", PROFILE, simulate, "uniform", 1, 0 },
    { "uniform 2", PROFILE, simulate, "uniform", 2, 0 },
    { "uniform 3", PROFILE, simulate, "uniform", 3, 0 },
    { "deadline", OWN, simulate, "deadline", 0, 0 },
    { "clairvoyant", OWN, oracle, "deadline", 0, 0 },
    { "CacheGen's", OWN_1024, simulate, "cachegen", 0, 1 },
    { "remaining", OWN_1024, simulate, "remaining", 0, 1 },
    { "uniform 1", OWN, simulate, "uniform", 1, 0 },
    { "uniform 2", OWN, simulate, "uniform", 2, 0 },
    { "uniform 3", OWN, simulate, "uniform", 3, 0 },
    { "CacheGen's", CACHEGEN, simulate, "cachegen", 0, 1 },
    { "CacheGen's script", CACHEGEN, cachegen_script, "cachegen", 0, 1 },
    { "remaining", CACHEGEN, simulate, "remaining", 0, 1 },
    { "uniform 1", CACHEGEN, simulate, "uniform", 1, 0 },
    { "uniform 2", CACHEGEN, simulate, "uniform", 2, 0 },
    { "uniform 3", CACHEGEN, simulate, "uniform", 3, 0 },
    { "uniform", RAW, simulate, "uniform", 1, 0 }
};
enum { ROWS = sizeof rows / sizeof *rows };

typedef struct choices {
    uint64_t seed;
    int traces, connections;
    double rtt;
} choices;

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void play_row(const struct row *row, const choices *c, int family,
                     double deadline, int remake)
{
    const plan p = {
        &codecs[row->codec], row->policy, row->ceiling,
        row->connections ? row->connections : c->connections, deadline, c->rtt,
        remake
    };
    outcome sum = { 0 };
    double *ends = calloc((size_t)c->traces, sizeof *ends);
    if (!ends)
        exit(1);
    for (int t = 0; t < c->traces; t++) {
        double trace[PIECES];
        rng = c->seed * 1000003 + (uint64_t)t * 8191 + (uint64_t)family + 1;
        for (int i = 0; i < 8; i++)
            draw();
        families[family].make(trace);
        const outcome o = row->play(&p, trace, (uint64_t)t);
        sum.late += o.late;
        sum.usable += o.usable;
        sum.end += ends[t] = o.end;
        sum.kl += o.kl;
        sum.gpu += o.gpu;
        sum.bytes += o.bytes;
    }
    qsort(ends, (size_t)c->traces, sizeof *ends, by_size);
    const double n = c->traces;
    printf("%s,%s,%g,%s,%s,%g,%.4f,%.4f,%.4f,%.6f,%.4f,%.2f\n",
           families[family].name, remake ? "yes" : "no", deadline,
           p.codec->name, row->name, 100 * sum.late / n, sum.end / n,
           ends[(int)(0.95 * (n - 1))], sum.usable / n, sum.kl / n, sum.gpu / n,
           sum.bytes / n * 1e-6);
    free(ends);
}

static choices choose(int argc, char **argv)
{
    choices c = { .seed = 1, .traces = 100, .connections = 4, .rtt = 0.01 };
    for (int i = 1; i + 1 < argc; i += 2) {
        const double value = strtod(argv[i + 1], NULL);
        if (!strcmp(argv[i], "-seed"))
            c.seed = (uint64_t)value;
        else if (!strcmp(argv[i], "-traces") && value >= 1)
            c.traces = (int)value;
        else if (!strcmp(argv[i], "-connections") && value >= 1 &&
                 value <= MAX_CONNECTIONS)
            c.connections = (int)value;
        else if (!strcmp(argv[i], "-rtt") && value >= 0)
            c.rtt = value;
        else
            exit(2);
    }
    return c;
}

int main(int argc, char **argv)
{
    static const double deadlines[] = { 0.5, 1, 2, 4 };
    const choices c = choose(argc, argv);
    puts("traces,recompute,deadline,codec,policy,late_percent,end_mean,end_95,"
         "usable_mean,kl,gpu_seconds,megabytes");
    for (int f = 0; f < FAMILIES; f++)
        for (int remake = 1; remake >= 0; remake--)
            for (int d = 0; d < 4; d++)
                for (int i = 0; i < ROWS; i++)
                    play_row(&rows[i], &c, f, deadlines[d], remake);
    return 0;
}

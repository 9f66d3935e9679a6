/* SPDX-License-Identifier: BSD-2-Clause */
#include "net/control_impl.h"
#include "net/settings.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CHUNKS = 1 << 20, MAX_LAYERS = 1024 };

void tsr_kv_control_settings_init(tsr_kv_control_settings *s)
{
    *s = (tsr_kv_control_settings){
        .size = sizeof *s, .policy = "deadline", .levels = 1, .floor = 1,
        .loss = { 0.1, 0.013, 0.0024, 0.00035 }
    };
}

const char *tsr_kv_policy_at(int i)
{
    return tsri_policy_at(i) ? tsri_policy_at(i)->name : NULL;
}

static const tsri_policy *policy_named(const char *name)
{
    for (int i = 0; tsri_policy_at(i); i++)
        if (!strcmp(tsri_policy_at(i)->name, name))
            return tsri_policy_at(i);
    return NULL;
}

static int settings_good(const tsr_kv_control_settings *s)
{
    if (!s->policy || s->chunks < 1 ||
        s->chunks > MAX_CHUNKS || s->layers < 1 || s->layers > MAX_LAYERS ||
        s->levels < 1 || s->levels > TSRI_LEVELS)
        return 0;
    if (s->floor < 1 || s->floor > s->levels || s->ceiling < 0 ||
        s->ceiling > s->levels || (s->ceiling && s->ceiling < s->floor))
        return 0;
    for (int i = 0; i <= s->levels; i++)
        if (!isfinite(s->loss[i]))
            return 0;
    for (int i = 0; s->recompute && i < s->chunks; i++)
        if (!isfinite(s->recompute[i]) || s->recompute[i] < 0)
            return 0;
    return isfinite(s->deadline) && s->deadline >= 0 &&
        isfinite(s->bandwidth) && s->bandwidth >= 0;
}

static void begin(tsr_kv_control *c)
{
    const int n = c->set.chunks;
    if (!c->set.ceiling)
        c->set.ceiling = c->set.levels;
    c->link.prior = c->set.bandwidth;
    c->oldest = c->newest = c->remaking = -1;
    c->down = n - 1;
    c->due_unknown = n;
    for (int k = 0; k < TSRI_LEVELS; k++)
        c->finer[k] = n - 1;
}

tsr_error tsr_kv_control_open(tsr_kv_control **control,
                              const tsr_kv_control_settings *settings)
{
    if (!control)
        return TSR_E_ARG;
    *control = NULL;
    if (!settings)
        return TSR_E_ARG;
    tsr_kv_control_settings own;
    tsr_kv_control_settings_init(&own);
    if (!tsri_settings_take(&own, sizeof own, settings,
                            offsetof(tsr_kv_control_settings, loss)) ||
        !settings_good(&own))
        return TSR_E_ARG;
    const tsri_policy *policy = policy_named(own.policy);
    if (!policy)
        return TSR_E_UNSUPPORTED;
    tsr_kv_control *c = calloc(1, sizeof *c);
    const size_t n = (size_t)own.chunks;
    if (c) {
        c->set = own;
        c->policy = policy;
        c->part = calloc(n, sizeof *c->part);
        c->recompute = own.recompute ? calloc(n, sizeof(double)) : NULL;
    }
    if (!c || !c->part || (own.recompute && !c->recompute)) {
        tsr_kv_control_close(&c);
        return TSR_E_NOMEM;
    }
    if (c->recompute)
        memcpy(c->recompute, own.recompute, n * sizeof(double));
    begin(c);
    *control = c;
    return TSR_OK;
}

void tsr_kv_control_close(tsr_kv_control **control)
{
    if (!control || !*control)
        return;
    free((*control)->part);
    free((*control)->recompute);
    free(*control);
    *control = NULL;
}

/* ---- chunks ---- */

static uint64_t guess(const tsr_kv_control *c, int level)
{
    return c->known ? c->known_sum[level] / (uint64_t)c->known : 0;
}

uint64_t tsri_part_bytes(const tsr_kv_control *c, int chunk, int first, int last)
{
    const tsri_part *p = &c->part[chunk];
    uint64_t sum = 0;
    for (int k = first; k <= last; k++)
        sum += p->known ? p->bytes[k] : guess(c, k);
    return sum;
}

int tsri_part_has_floor(const tsr_kv_control *c, int chunk)
{
    return c->part[chunk].got[c->set.floor - 1] == c->set.layers;
}

int tsri_part_due(const tsr_kv_control *c, int chunk)
{
    const tsri_part *p = &c->part[chunk];
    return p->fate == TSRI_OPEN && !p->busy && !tsri_part_has_floor(c, chunk);
}

/* Takes a chunk out of the sums of what is due before it changes (-1), and puts
 * it in again afterwards (+1). */
static void weigh(tsr_kv_control *c, int chunk, int sign)
{
    if (!tsri_part_due(c, chunk))
        return;
    if (!c->part[chunk].known) {
        c->due_unknown += sign;
        return;
    }
    const uint64_t bytes = tsri_part_bytes(c, chunk, 0, c->set.floor - 1);
    c->due_known = sign > 0 ? c->due_known + bytes : c->due_known - bytes;
}

static int is_there(const tsr_kv_control *c, int chunk)
{
    const int fate = c->part[chunk].fate;
    return fate == TSRI_REMADE || fate == TSRI_LOST ||
        (fate == TSRI_OPEN && tsri_part_has_floor(c, chunk));
}

/* After a chunk changed: cursors that have passed it go back to it. */
static void look_again(tsr_kv_control *c, int chunk)
{
    if (tsri_part_due(c, chunk)) {
        c->down = chunk > c->down ? chunk : c->down;
        c->up = chunk < c->up ? chunk : c->up;
    }
    /* The one level that can be next. */
    int k = 0;
    while (k < c->set.levels && c->part[chunk].got[k] == c->set.layers)
        k++;
    if (k < c->set.levels && chunk > c->finer[k])
        c->finer[k] = chunk;
    while (c->front < c->set.chunks && is_there(c, c->front))
        c->front++;
}

void tsri_part_fate(tsr_kv_control *c, int chunk, tsri_fate fate)
{
    tsri_part *p = &c->part[chunk];
    weigh(c, chunk, -1);
    c->remakes += (fate == TSRI_REMAKE) - (p->fate == TSRI_REMAKE);
    c->remade += fate == TSRI_REMADE;
    c->lost += fate == TSRI_LOST;
    p->fate = (uint8_t)fate;
    weigh(c, chunk, 1);
    look_again(c, chunk);
}

/* ---- requests ---- */

/* Names a request: at most one is under way for a chunk. */
static int id_of(int chunk, int last_level)
{
    return chunk * 4 + last_level;
}

enum { RECOMPUTING = 3 };

tsr_kv_step tsri_give_fetch(tsr_kv_control *c, double now, int chunk, int first,
                            int last, int layers)
{
    tsri_part *p = &c->part[chunk];
    weigh(c, chunk, -1);
    tsri_link_busy(&c->link, now, 1);
    p->busy = 1;
    p->first_level = (uint8_t)first;
    p->last_level = (uint8_t)last;
    p->layers = (uint16_t)layers;
    p->given = now;
    p->area = c->link.area;
    p->asked = (uint64_t)((double)tsri_part_bytes(c, chunk, first, last) *
                          layers / c->set.layers);
    p->came = 0;
    p->received = c->received;
    p->older = c->newest;
    p->newer = -1;
    if (c->newest >= 0)
        c->part[c->newest].newer = chunk;
    else
        c->oldest = chunk;
    c->newest = chunk;
    c->under_way += p->asked;
    return (tsr_kv_step){
        .action = TSR_KV_FETCH, .id = id_of(chunk, last), .chunk = chunk,
        .first_level = first, .last_level = last, .first_layer = p->got[first],
        .layers = layers, .bytes = p->asked
    };
}

/* The chunk of a request under way, or -1. */
static int chunk_of(const tsr_kv_control *c, int id)
{
    const int chunk = id >= 0 ? id / 4 : c->set.chunks;
    return chunk < c->set.chunks && c->part[chunk].busy &&
        id_of(chunk, c->part[chunk].last_level) == id ? chunk : -1;
}

static uint64_t to_come(const tsri_part *p)
{
    return p->asked > p->came ? p->asked - p->came : 0;
}

/* Counts what a request has brought. */
static void bring(tsr_kv_control *c, int chunk, uint64_t bytes)
{
    tsri_part *p = &c->part[chunk];
    if (bytes <= p->came)
        return;
    c->under_way -= to_come(p);
    c->received += bytes - p->came;
    p->came = bytes;
    c->under_way += to_come(p);
}

/* Returns the chunk of a request that is under way no longer, or -1. */
static int take_back(tsr_kv_control *c, int id)
{
    const int chunk = chunk_of(c, id);
    if (chunk < 0)
        return -1;
    tsri_part *p = &c->part[chunk];
    if (p->older >= 0)
        c->part[p->older].newer = p->newer;
    else
        c->oldest = p->newer;
    if (p->newer >= 0)
        c->part[p->newer].older = p->older;
    else
        c->newest = p->older;
    c->under_way -= to_come(p);
    p->busy = 0;
    return chunk;
}

tsr_kv_step tsri_give_recompute(tsr_kv_control *c, double now, int chunk)
{
    if (c->part[chunk].busy) {
        take_back(c, id_of(chunk, c->part[chunk].last_level));
        tsri_link_busy(&c->link, now, -1);
        weigh(c, chunk, 1);
    }
    c->remaking = chunk;
    tsri_part_fate(c, chunk, TSRI_REMAKING);
    return (tsr_kv_step){
        .action = TSR_KV_RECOMPUTE, .id = id_of(chunk, RECOMPUTING),
        .chunk = chunk, .layers = c->set.layers
    };
}

/* ---- reports ---- */

void tsr_kv_control_sizes(tsr_kv_control *c, int chunk,
                          const uint64_t *level_bytes)
{
    if (chunk < 0 || chunk >= c->set.chunks || c->part[chunk].known)
        return;
    tsri_part *p = &c->part[chunk];
    weigh(c, chunk, -1);
    for (int k = 0; k < c->set.levels; k++) {
        /* Sums of 2^20 chunks must not wrap. */
        p->bytes[k] = level_bytes[k] >> 40 ? UINT64_C(1) << 40 : level_bytes[k];
        c->known_sum[k] += p->bytes[k];
    }
    p->known = 1;
    c->known++;
    if (p->busy) {
        c->under_way -= to_come(p);
        p->asked = (uint64_t)((double)tsri_part_bytes(c, chunk, p->first_level,
                                                      p->last_level) *
                              p->layers / c->set.layers);
        c->under_way += to_come(p);
    }
    weigh(c, chunk, 1);
    look_again(c, chunk);
}

void tsr_kv_control_progress(tsr_kv_control *c, int id, double now,
                             uint64_t bytes)
{
    const int chunk = chunk_of(c, id);
    if (chunk < 0)
        return;
    tsri_link_busy(&c->link, now, 0);
    c->watched = 1;
    bring(c, chunk, bytes);
}

void tsr_kv_control_fetched(tsr_kv_control *c, int id, double begin, double end,
                            uint64_t bytes)
{
    const int chunk = chunk_of(c, id);
    if (chunk < 0)
        return;
    bring(c, chunk, bytes);
    take_back(c, id);
    tsri_part *p = &c->part[chunk];
    tsri_link_busy(&c->link, end, 0);
    tsri_link_sample(&c->link, p->given, p->area, begin, end, bytes);
    tsri_link_busy(&c->link, end, -1);
    for (int k = p->first_level; k <= p->last_level; k++)
        p->got[k] = (uint16_t)(p->got[k] + p->layers);
    c->undecoded++;
    look_again(c, chunk);
}

/* The chunk whose last level fetched this was, or -1. */
static int fetched_chunk(const tsr_kv_control *c, int id)
{
    const int chunk = id >= 0 ? id / 4 : c->set.chunks, level = id & 3;
    return chunk < c->set.chunks && level < TSRI_LEVELS &&
        c->part[chunk].fate == TSRI_OPEN && c->part[chunk].got[level]
        ? chunk : -1;
}

/* What came of it was of no use: all of it is as if it had not come. */
static void undo(tsr_kv_control *c, int chunk, double now)
{
    tsri_part *p = &c->part[chunk];
    if (p->busy) {
        take_back(c, id_of(chunk, p->last_level));
        tsri_link_busy(&c->link, now, -1);
    } else {
        weigh(c, chunk, -1);
    }
    memset(p->got, 0, sizeof p->got);
    c->undecoded -= c->undecoded > 0;
    c->front = chunk < c->front ? chunk : c->front;
}

void tsr_kv_control_failed(tsr_kv_control *c, int id, double now, int missing)
{
    int chunk = take_back(c, id);
    if (chunk >= 0) {
        tsri_link_busy(&c->link, now, -1);
    } else {
        chunk = fetched_chunk(c, id);
        if (chunk < 0)
            return;
        undo(c, chunk, now);
    }
    c->done = 0;
    weigh(c, chunk, 1);
    if (missing && tsri_part_has_floor(c, chunk))
        c->part[chunk].ended = 1;
    else if (missing)
        tsri_part_fate(c, chunk, c->recompute ? TSRI_REMAKE : TSRI_LOST);
    look_again(c, chunk);
}

void tsr_kv_control_decoded(tsr_kv_control *c, int id, double seconds)
{
    const int level = id >= 0 ? id % 4 : RECOMPUTING;
    if (level == RECOMPUTING || !(seconds >= 0))
        return;
    double *mean = &c->decode[level];
    *mean = *mean > 0 ? 0.7 * *mean + 0.3 * seconds : seconds;
    c->undecoded -= c->undecoded > 0;
}

void tsr_kv_control_recomputed(tsr_kv_control *c, int id, double now)
{
    (void)now;
    if (id < 0 || id % 4 != RECOMPUTING || id / 4 != c->remaking)
        return;
    c->remaking = -1;
    tsri_part_fate(c, id / 4, TSRI_REMADE);
}

/* ---- how long things take ---- */

/* Progress says nothing before that many seconds. */
static const double SOON = 0.05;

/* Seconds a byte: as the requests that ended say, or worse if the time since the
 * oldest one under way began says so.  Who does not report progress may have
 * brought all of those under way. */
static double pace(const tsr_kv_control *c, double now, double *latency)
{
    double p = tsri_link_pace(&c->link, latency);
    if (c->oldest < 0)
        return p;
    const tsri_part *oldest = &c->part[c->oldest];
    const double age = now - oldest->given - *latency;
    const uint64_t bytes = c->received - oldest->received +
        (c->watched && age > SOON ? 0 : c->under_way);
    return bytes ? fmax(p, age / (double)bytes) : p;
}

/* Decoding goes on beside the transfer, one fetch after the other. */
static double with_decoding(const tsr_kv_control *c, double transfer, int fetches,
                            int level)
{
    double each = c->decode[level];
    for (int k = 0; k < TSRI_LEVELS && !(each > 0); k++)
        each = c->decode[k];
    /* Who never reports it does not decode. */
    if (!(each > 0))
        return transfer;
    return fmax(transfer, (c->undecoded + fetches - 1) * each) + each;
}

/* Bytes to come until all floors are there. */
static uint64_t floor_bytes(const tsr_kv_control *c)
{
    uint64_t bytes = c->due_known + c->under_way;
    for (int k = 0; k < c->set.floor; k++)
        bytes += (uint64_t)c->due_unknown * guess(c, k);
    return bytes;
}

double tsri_stall_time(const tsr_kv_control *c, double slack, double least)
{
    if (c->oldest < 0 || !c->under_way)
        return HUGE_VAL;
    double latency;
    tsri_link_pace(&c->link, &latency);
    /* t + slack (t - begin) ratio = deadline, as pace() says. */
    const tsri_part *oldest = &c->part[c->oldest];
    const double begin = oldest->given + latency;
    const double ratio = (double)floor_bytes(c) /
        (double)(c->received - oldest->received + c->under_way);
    return fmax((c->set.deadline + slack * begin * ratio) / (1 + slack * ratio),
                begin + least / ratio);
}

double tsri_floor_time(const tsr_kv_control *c, double now)
{
    double latency;
    const double p = pace(c, now, &latency);
    const uint64_t bytes = floor_bytes(c);
    if (!bytes)
        return 0;
    return with_decoding(c, latency + p * (double)bytes, c->due_unknown + 1,
                         c->set.floor - 1);
}

double tsri_more_time(const tsr_kv_control *c, double now, uint64_t bytes,
                      int level)
{
    double latency;
    const double p = pace(c, now, &latency);
    return with_decoding(c, latency + p * (double)(c->under_way + bytes),
                         c->link.busy + 1, level);
}

/* ---- questions ---- */

tsr_kv_step tsr_kv_control_next(tsr_kv_control *c, double now, int room)
{
    if (!c->done) {
        const tsr_kv_step step = c->policy->next(c, now, room);
        c->done = step.action == TSR_KV_DONE;
        return step;
    }
    return (tsr_kv_step){ .action = TSR_KV_DONE };
}

int tsr_kv_control_levels(const tsr_kv_control *c, int chunk, int layer)
{
    if (chunk < 0 || chunk >= c->set.chunks || layer < 0 ||
        layer >= c->set.layers || c->part[chunk].fate != TSRI_OPEN)
        return -1;
    int levels = 0;
    while (levels < c->set.levels && c->part[chunk].got[levels] > layer)
        levels++;
    return levels;
}

void tsr_kv_control_state_get(const tsr_kv_control *c,
                              tsr_kv_control_state *state)
{
    double latency, layers = 0;
    const double p = tsri_link_pace(&c->link, &latency);
    int open = 0;
    for (int i = 0; i < c->set.chunks; i++) {
        const tsri_part *part = &c->part[i];
        open += part->fate == TSRI_OPEN;
        for (int k = 0; part->fate == TSRI_OPEN && k < TSRI_LEVELS; k++)
            layers += part->got[k];
    }
    *state = (tsr_kv_control_state){
        .bandwidth = p > 0 ? 1 / p : 0,
        .expected_end = c->link.time + tsri_floor_time(c, c->link.time),
        .bytes = c->received, .recomputed = c->remade, .lost = c->lost,
        .mean_levels = open ? layers / ((double)open * c->set.layers) : 0
    };
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Encoding an object: its header, its groups on the context's threads, and what
 * they made put one behind the other. */
#include <pthread.h>
#include <string.h>
#include "codecs/kv/kv_internal.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"
#include "lib/pool.h"

/* Groups are handed out in order and are appended in order: whoever is done
 * early waits for its turn, and the lowest group at work never does. */
typedef struct encoding {
    tsri_kv_work *work;
    tsri_kv_encode_fn *encode;
    uint8_t *out;
    size_t room, used;
    pthread_mutex_t lock;
    pthread_cond_t next;
    int turn;
    tsr_error error;
} encoding;

/* ---- header ---- */

static bool any_boost(const tsr_kv *kv, const tsr_kv_call *call, size_t tokens)
{
    if (kv->settings.recent && kv->settings.recent_boost)
        return tokens > 0;
    for (size_t i = 0; call->boost && i < tokens; i++)
        if (call->boost[i])
            return true;
    return false;
}

static tsr_error check_call(tsr_kv *kv, const tsr_kv_call *call, size_t tokens)
{
    if (!call || call->pos0 > (uint64_t)1 << 31)
        return tsri_fail(kv->ctx, TSR_E_ARG, "a position over 2^31, or no call");
    for (size_t i = 0; call->boost && i < tokens; i++)
        if (call->boost[i] > TSRI_KV_MAX_BOOST)
            return tsri_fail(kv->ctx, TSR_E_ARG, "token %zu has boost %d", i,
                             call->boost[i]);
    for (size_t i = 0; call->token_ids && i < tokens; i++)
        if (call->token_ids[i] < 0)
            return tsri_fail(kv->ctx, TSR_E_ARG, "token %zu has id %d", i,
                             (int)call->token_ids[i]);
    return TSR_OK;
}

static uint8_t id_bits(const int32_t *ids, size_t n)
{
    uint32_t all = 1;
    uint8_t bits = 0;

    for (size_t i = 0; i < n; i++)
        all |= (uint32_t)ids[i];
    for (; all; all >>= 1)
        bits++;
    return bits;
}

static uint8_t flags_of(const tsr_kv *kv, const tsr_kv_call *call, size_t tokens)
{
    const tsri_kv_profile *profile = kv->profile;
    const bool matches = profile->reference == TSRI_KV_REF_MATCH;
    const bool ids = call->token_ids && tokens;
    uint8_t flags = 0;

    if (ids && kv->settings.store_tokens)
        flags |= TSRI_KV_TOKENS;
    if (any_boost(kv, call, tokens))
        flags |= TSRI_KV_BOOSTS;
    if (!kv->profiled)
        return flags;
    if (ids && (profile->predictors || matches))
        flags |= TSRI_KV_NEEDS_TOKENS;
    if (profile->reference != TSRI_KV_REF_NONE && (ids || !matches))
        flags |= TSRI_KV_CHAINED;
    return flags;
}

static int sinks_of(const tsr_kv *kv, uint64_t pos0, size_t tokens)
{
    const uint64_t sinks = (uint64_t)kv->settings.sinks;
    const uint64_t here = pos0 < sinks ? sinks - pos0 : 0;
    return (int)(here < tokens ? here : tokens);
}

static void fill_head(const tsr_kv *kv, const tsr_kv_view *view,
                      const tsr_kv_call *call, tsri_kv_head *head)
{
    const tsr_kv_settings *s = &kv->settings;

    *head = (tsri_kv_head){
        .method = kv->method ? kv->method->number : 0,
        .flags = flags_of(kv, call, view->tokens), .dtype = (uint8_t)view->dtype,
        .levels = (uint8_t)s->levels,
        .sinks = (uint8_t)sinks_of(kv, call->pos0, view->tokens),
        .shape = s->shape, .rope = kv->rope_what,
        .tokens = (uint32_t)view->tokens, .pos0 = (uint32_t)call->pos0,
        .groups = (uint32_t)kv->profile->groups, .tile = s->tile,
        .span = kv->span, .step = { kv->step[0], kv->step[1] } };
    if (kv->profiled)
        tsri_kv_set_shifts(kv, head, head->levels);
    if (kv->model)
        memcpy(head->profile, tsr_model_hash(kv->model), sizeof head->profile);
    if (head->flags & TSRI_KV_TOKENS)
        head->id_bits = id_bits(call->token_ids, view->tokens);
    memcpy(head->params, kv->params, sizeof head->params);
    head->section_bytes = (uint32_t)tsri_kv_sections(head);
    tsri_kv_head_derive(head);
}

/* ---- front ---- */

static void fill_boosts(tsri_kv_work *work, const tsr_kv_call *call)
{
    const tsr_kv_settings *s = &work->kv->settings;
    const size_t tokens = work->head->tokens;
    const size_t recent = (size_t)s->recent < tokens ? (size_t)s->recent : tokens;

    if (!(work->head->flags & TSRI_KV_BOOSTS))
        return;
    work->boost = work->boost_room;
    for (size_t i = 0; i < tokens; i++) {
        uint8_t b = call->boost ? call->boost[i] : 0;
        if (i >= tokens - recent && b < s->recent_boost)
            b = (uint8_t)s->recent_boost;
        work->boost_room[i] = b;
    }
}

/* Tokens for centres.  Boosted ones have finer steps, so that decoding may move
 * their median away from where it was; the others' stays, and with it what the
 * same cache is coded as once more. */
static void choose_sample(tsri_kv_work *work)
{
    const tsri_kv_head *head = work->head;
    size_t n = 0, seen = 0, i = 0;
    bool all;

    for (size_t t = head->sinks; t < head->tokens; t++)
        n += !tsri_kv_boost(work, t);
    all = !n;
    n = all ? head->tokens - head->sinks : n;
    for (size_t t = head->sinks; t < head->tokens; t++)
        if (all || !tsri_kv_boost(work, t))
            for (seen++; i < TSRI_KV_BLOCK &&
                 i * n / TSRI_KV_BLOCK < seen; i++)
                work->sample[i] = t;
}

static void put_sections(const tsri_kv_work *work, const tsr_kv_call *call,
                         uint8_t *out)
{
    const tsri_kv_head *head = work->head;
    const size_t n = head->tokens;

    if (head->flags & TSRI_KV_TOKENS) {
        tsri_kv_ids_put(call->token_ids, n, head->id_bits, out);
        out += ((uint64_t)n * head->id_bits + 7) / 8;
    }
    if (head->flags & TSRI_KV_BOOSTS)
        for (size_t i = 0; i < n; i += 2)
            out[i / 2] = (uint8_t)(work->boost[i] |
                                   (i + 1 < n ? work->boost[i + 1] << 4 : 0));
}

static void finish_front(encoding *e, tsri_kv_head *head,
                         const tsr_kv_call *call)
{
    head->size = e->used;
    tsri_kv_head_write(head, e->out);
    put_sections(e->work, call, e->out + TSRI_KV_HEADER);
    tsri_kv_front_seal(head, e->out);
}

/* ---- groups ---- */

static tsr_error append(encoding *e, int g, const uint8_t *data, size_t size,
                        tsr_error error)
{
    size_t at;

    pthread_mutex_lock(&e->lock);
    if (!e->error)
        e->error = error;
    while (!e->error && e->turn != g)
        pthread_cond_wait(&e->next, &e->lock);
    if (!e->error && size > e->room - e->used)
        e->error = TSR_E_LIMIT;
    error = e->error;
    at = e->used;
    if (!error) {
        e->used += size;
        e->turn++;
    }
    pthread_cond_broadcast(&e->next);
    pthread_mutex_unlock(&e->lock);
    if (!error)
        memcpy(e->out + at, data, size);
    return error;
}

static tsr_error encode_group(void *cookie, int g, int index)
{
    encoding *e = cookie;
    const tsri_kv_work *work = e->work;
    const tsri_kv_head *head = work->head;
    const size_t bytes = tsri_kv_head_bytes(work->kv, head, g);
    tsri_kv_worker *worker = &work->worker[index];
    uint8_t *out = e->out + work->head_at[g];
    uint8_t *entry = e->out + tsri_kv_head_entry(head, (size_t)g);
    size_t size = 0;
    const tsr_error error =
        e->encode(work, worker, g, out,
                  e->out + tsri_kv_unit_entry(head, (size_t)g, 0, 0), &size);

    tsri_put32(entry, (uint32_t)bytes);
    tsri_put32(entry + 4, error ? 0 : tsri_crc32c(0, out, bytes));
    return append(e, g, worker->stage, size, error);
}

static tsr_error encode_groups(encoding *e)
{
    const tsr_kv *kv = e->work->kv;
    tsr_error error;

    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->next, NULL);
    error = tsri_pool_for(kv->ctx->pool, kv->profile->groups, encode_group, e);
    pthread_cond_destroy(&e->next);
    pthread_mutex_destroy(&e->lock);
    return error;
}

/* Heads have sizes known beforehand: units begin behind them. */
static tsr_error place_heads(encoding *e)
{
    const tsri_kv_work *work = e->work;
    uint64_t at = work->head->front_bytes;

    for (uint32_t g = 0; g < work->head->groups; g++) {
        work->head_at[g] = at;
        at += tsri_kv_head_bytes(work->kv, work->head, (int)g);
    }
    if (at > e->room)
        return TSR_E_LIMIT;
    e->used = (size_t)at;
    return TSR_OK;
}

static tsr_error explain(tsr_context *ctx, tsr_error error, size_t room)
{
    if (error == TSR_E_LIMIT)
        return tsri_fail(ctx, error, "room of %zu bytes is too small for the KV "
                         "object", room);
    if (error == TSR_E_ARG)
        return tsri_fail(ctx, error, "the cache has a value that is not finite, "
                         "or that is too far off for the method or step");
    return error;
}

static tsr_error begin(tsr_kv *kv, tsri_kv_work *work, tsri_kv_head *head,
                       const tsr_kv_view *view, const tsr_kv_call *call)
{
    TSR_TRY(tsri_kv_view_check(kv->ctx, view, &kv->settings.shape, false));
    TSR_TRY(check_call(kv, call, view->tokens));
    fill_head(kv, view, call, head);
    TSR_TRY(tsri_kv_prepare(work, kv, head, true, call));
    work->view = view;
    work->ids = head->flags & TSRI_KV_NEEDS_TOKENS ? call->token_ids : NULL;
    fill_boosts(work, call);
    choose_sample(work);
    if (!kv->method && (kv->step[0] == 0 || kv->step[1] == 0)) {
        TSR_TRY(explain(kv->ctx, tsri_kv_choose_step(kv, work), 0));
        memcpy(head->step, kv->step, sizeof head->step);
    }
    tsri_kv_work_start(work);
    return TSR_OK;
}

tsr_error tsr_kv_encode(tsr_kv *kv, const tsr_kv_view *view,
                        const tsr_kv_call *call, uint8_t *out, size_t room,
                        size_t *size)
{
    tsri_kv_head head;
    tsri_kv_work work;
    encoding e = { .work = &work, .out = out, .room = room,
                   .encode = kv->method ? tsri_kv_encode_method
                       : kv->profiled ? tsri_kv_encode_group
                                      : tsri_kv_encode_plane };
    tsr_error error;

    *size = 0;
    TSR_TRY(begin(kv, &work, &head, view, call));
    error = place_heads(&e);
    if (!error)
        error = encode_groups(&e);
    if (error)
        return explain(kv->ctx, error, room);
    finish_front(&e, &head, call);
    *size = e.used;
    return TSR_OK;
}

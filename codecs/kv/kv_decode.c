/* SPDX-License-Identifier: BSD-2-Clause */
/* Decoding an object: what of it is wanted, and its units on the context's
 * threads. */
#include <string.h>
#include "codecs/kv/kv_decode.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"
#include "lib/pool.h"

/* ---- does it fit the coder? ---- */

static tsr_error check_coder(const tsr_kv *kv, const tsri_kv_head *head)
{
    static const uint8_t none[sizeof head->profile];
    const uint8_t *hash = kv->model ? tsr_model_hash(kv->model) : none;

    if (!tsri_kv_same_shape(&kv->settings.shape, &head->shape))
        return tsri_fail(kv->ctx, TSR_E_MODEL, "KV object of another shape than "
                         "the coder's");
    if (head->method != (kv->method ? kv->method->number : 0))
        return tsri_fail(kv->ctx, TSR_E_MODEL, "KV object of another method than "
                         "the coder's");
    if (memcmp(hash, head->profile, sizeof none))
        return tsri_fail(kv->ctx, TSR_E_MODEL, "KV object of another profile "
                         "than the coder's");
    if (!tsri_kv_same_rope(&kv->rope_what, &head->rope))
        return tsri_fail(kv->ctx, TSR_E_MODEL, "KV object of another rotation "
                         "than the coder's");
    return TSR_OK;
}

/* Flags and groups that this profile does not lead to. */
static tsr_error check_profile(const tsr_kv *kv, const tsri_kv_head *head)
{
    const tsri_kv_profile *profile = kv->profile;
    const bool ids = head->flags & TSRI_KV_NEEDS_TOKENS;
    const bool chain = head->flags & TSRI_KV_CHAINED;
    const bool matches = profile->reference == TSRI_KV_REF_MATCH;

    if (head->groups != (uint32_t)profile->groups ||
        (kv->profiled &&
         !tsri_kv_step_fits(head->step[0] * profile->step)) ||
        (chain && profile->reference == TSRI_KV_REF_NONE) ||
        (chain && matches && !ids))
        return tsri_fail(kv->ctx, TSR_E_CORRUPT, "KV object does not fit its "
                         "profile");
    return TSR_OK;
}

/* ---- what is wanted ---- */

/* first .. first + n - 1 of `all`; n 0: what there is. */
static bool range_fits(size_t first, size_t *n, size_t all)
{
    if (first > all)
        return false;
    if (!*n)
        *n = all - first;
    return *n <= all - first;
}

static tsr_error take_part(tsri_kv_decoding *d, const tsr_kv_part *part)
{
    const tsri_kv_head *head = d->work.head;
    const tsr_kv_part all = { 0 };
    const tsr_kv_part *p = part ? part : &all;
    size_t layers = (size_t)p->layers, tokens = p->tokens;

    if (p->first_layer < 0 || p->layers < 0 || p->level < 0 ||
        p->level > head->levels ||
        !range_fits((size_t)p->first_layer, &layers,
                    (size_t)head->shape.layers) ||
        !range_fits(p->first_token, &tokens, head->tokens))
        return tsri_fail(d->work.kv->ctx, TSR_E_ARG, "the part wanted is not in "
                         "the KV object");
    d->first_layer = p->first_layer;
    d->layers = (int)layers;
    d->first_token = p->first_token;
    d->tokens = tokens;
    d->levels = p->level ? p->level : head->levels;
    return TSR_OK;
}

/* ---- sections, offsets ---- */

static tsr_error get_boosts(tsri_kv_decoding *d, const uint8_t *p)
{
    tsri_kv_work *work = &d->work;
    const size_t n = work->head->tokens;

    if (!(work->head->flags & TSRI_KV_BOOSTS))
        return TSR_OK;
    for (size_t i = 0; i < n; i++) {
        work->boost_room[i] = p[i / 2] >> (i % 2 * 4) & 15;
        if (work->boost_room[i] > TSRI_KV_MAX_BOOST)
            return tsri_fail(work->kv->ctx, TSR_E_CORRUPT, "KV object: boost of "
                             "token %zu", i);
    }
    work->boost = work->boost_room;
    return TSR_OK;
}

static tsr_error get_sections(tsri_kv_decoding *d, const tsr_kv_call *call)
{
    tsri_kv_work *work = &d->work;
    const tsri_kv_head *head = work->head;
    const uint8_t *p = d->in + TSRI_KV_HEADER;
    const bool needed = head->flags & TSRI_KV_NEEDS_TOKENS;

    if (needed && head->flags & TSRI_KV_TOKENS) {
        tsri_kv_ids_get(p, head->tokens, head->id_bits, work->ids_room);
        work->ids = work->ids_room;
    } else if (needed) {
        work->ids = call->token_ids;
        if (!work->ids)
            return tsri_fail(work->kv->ctx, TSR_E_ARG, "the KV object needs its "
                             "token ids");
    }
    if (head->flags & TSRI_KV_TOKENS)
        p += ((size_t)head->tokens * head->id_bits + 7) / 8;
    return get_boosts(d, p);
}

static void find_units(tsri_kv_decoding *d)
{
    const tsri_kv_head *head = d->work.head;
    const uint8_t *entry = d->in + tsri_kv_head_entry(head, 0);
    const size_t units = (size_t)head->groups * (size_t)head->tiles;
    uint64_t at = head->front_bytes;

    for (size_t g = 0; g < head->groups; g++, entry += 8) {
        d->work.head_at[g] = at;
        at += tsri_get32(entry);
    }
    for (size_t u = 0; u < units; u++) {
        d->work.unit_at[u] = at;
        for (int level = 0; level < head->levels; level++, entry += 8)
            at += tsri_get32(entry);
    }
}

/* ---- jobs ---- */

static bool wanted(const tsri_kv_decoding *d, int g)
{
    for (int i = 0; i < tsri_kv_planes(d->work.kv, g); i++)
        if (tsri_kv_plane_wanted(d, g, i))
            return true;
    return false;
}

/* A tile of a group; where tiles lean on those before, all of a group's. */
static tsr_error decode_job(void *cookie, int i, int index)
{
    const tsri_kv_decoding *d = cookie;
    tsri_kv_worker *worker = &d->work.worker[index];
    const int g = d->first_group + i / d->jobs;
    const size_t tile = (size_t)d->first_tile + (size_t)(i % d->jobs);

    if (!wanted(d, g))
        return TSR_OK;
    if (d->work.kv->method)
        return tsri_kv_decode_method(d, worker, g, tile);
    return tsri_kv_decode_group(d, worker, g, d->work.ref ? 0 : tile,
                                d->work.ref ? (size_t)d->last_tile : tile);
}

static tsr_error run(tsri_kv_decoding *d)
{
    const tsri_kv_head *head = d->work.head;
    const int groups = (int)head->groups, layers = head->shape.layers;
    const int end = d->first_layer + d->layers;
    int last_group;

    if (!d->tokens)
        return TSR_OK;
    d->first_group = groups >= layers ? d->first_layer * (groups / layers)
                                      : d->first_layer / (layers / groups);
    last_group = groups >= layers ? end * (groups / layers) - 1
                                  : (end - 1) / (layers / groups);
    d->first_tile = (int)(d->first_token / (size_t)head->tile);
    d->last_tile = (int)((d->first_token + d->tokens - 1) / (size_t)head->tile);
    d->jobs = d->work.ref ? 1 : d->last_tile - d->first_tile + 1;
    return tsri_pool_for(d->work.kv->ctx->pool,
                         (last_group - d->first_group + 1) * d->jobs, decode_job,
                         d);
}

static tsr_error explain(tsr_context *ctx, tsr_error error)
{
    return error == TSR_OK ? TSR_OK : tsri_fail(ctx, error, "KV object: %s",
        error == TSR_E_TRUNCATED ? "a unit is cut"
        : error == TSR_E_CHECKSUM ? "a unit is damaged"
        : "a unit is not what an encoder writes");
}

static tsr_error begin(tsri_kv_decoding *d, const tsr_kv *kv, tsri_kv_head *head,
                       const tsr_kv_part *part, const tsr_kv_view *view,
                       const tsr_kv_call *call)
{
    TSR_TRY(tsri_kv_front_read(kv->ctx, d->in, d->size, head));
    TSR_TRY(check_coder(kv, head));
    TSR_TRY(check_profile(kv, head));
    TSR_TRY(tsri_kv_view_check(kv->ctx, view, &head->shape, true));
    if (view->tokens < head->tokens || !call)
        return tsri_fail(kv->ctx, TSR_E_ARG, "a KV object of %u tokens, room for "
                         "%zu", (unsigned)head->tokens, view->tokens);
    if (kv->method && kv->method->raw && view->dtype != head->dtype)
        return tsri_fail(kv->ctx, TSR_E_ARG, "KV objects of method %s decode to "
                         "their own number format", kv->method->name);
    TSR_TRY(tsri_kv_prepare(&d->work, kv, head, false, call));
    d->work.view = view;
    TSR_TRY(take_part(d, part));
    TSR_TRY(get_sections(d, call));
    find_units(d);
    tsri_kv_work_start(&d->work);
    return TSR_OK;
}

tsr_error tsr_kv_decode(tsr_kv *kv, const uint8_t *in, size_t size,
                        const tsr_kv_part *part, const tsr_kv_view *view,
                        const tsr_kv_call *call)
{
    tsri_kv_head head;
    tsri_kv_decoding d = { .in = in, .size = size };

    TSR_TRY(begin(&d, kv, &head, part, view, call));
    return explain(kv->ctx, run(&d));
}

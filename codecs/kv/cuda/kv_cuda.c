/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls: scratch memory laid out, arguments brought there, kernels queued. */
#include <string.h>
#include "codecs/kv/cuda/kv_device.h"
#include "entropy/rows_impl.h"

enum {
    ALIGN = 256,
    SEGMENT_HEAD = 1 + 4 * TSRI_ROWS_LANES
};

/* ---- scratch ---- */

typedef struct room {
    size_t at;
    bool fits;
} room;

/* Offset of an array. */
static size_t take(room *r, size_t count, size_t size)
{
    const size_t at = r->at;
    size_t bytes;

    r->fits = r->fits && tsri_mul(count, size, &bytes) &&
        tsri_add(bytes, ALIGN - 1, &bytes) &&
        tsri_add(at, bytes / ALIGN * ALIGN, &r->at);
    return at;
}

static size_t round_up(size_t v)
{
    return (v + 15) / 16 * 16;
}

/* Bytes of slots: of level 0, and of refinements, which have at most a word of two
 * bytes each. */
static void set_slots(tsri_kv_gpu_job *j)
{
    const size_t rows = (size_t)tsri_min(j->tile, j->tokens);
    const size_t coefs = (size_t)tsri_min(j->span, j->most_coefs);

    j->slot = round_up(tsri_rows_bound((int)rows, (int)coefs));
    j->slot_more = round_up(SEGMENT_HEAD + 2 * rows * coefs);
    j->slot_all = j->slot + (size_t)(j->levels - 1) * j->slot_more;
}

/* What an encoder has besides. */
static void lay_out_encoder(tsri_kv_gpu_job *j, uint8_t *scratch, room *r,
                            size_t segments)
{
    const size_t channels = (size_t)j->objects * j->all_values;

    if (j->boosted)
        j->sample = (void *)(scratch + take(r, (size_t)j->objects * 32,
                                            sizeof *j->sample));
    if (j->method) {
        j->segment_size = (void *)(scratch + take(
            r, (size_t)j->objects * (size_t)j->tiles,
            (size_t)j->groups * sizeof *j->segment_size));
        return;
    }
    set_slots(j);
    if (!j->profiled) {
        j->centre = (void *)(scratch + take(r, channels, sizeof *j->centre));
        j->cls = scratch + take(r, channels, 1);
    }
    if (!j->profiled && (!j->strips || j->tiles > 1))
        j->sum = (void *)(scratch + take(r, channels, sizeof *j->sum));
    if (j->strips) {
        j->packed = (void *)(scratch + take(
            r, segments * (size_t)j->span,
            2 * (size_t)tsri_min(j->tile, j->tokens)));
        j->wide = scratch + take(r, segments, 1);
    }
    j->segment_size = (void *)(scratch + take(r, segments * (size_t)j->levels,
                                              sizeof *j->segment_size));
    j->slots = scratch + take(r, segments + 1, j->slot_all);
}

/* What references and token ids need; coefs: of all objects' tokens. */
static void lay_out_text(tsri_kv_gpu_job *j, uint8_t *scratch, room *r,
                         bool encoding)
{
    const size_t rows = (size_t)j->objects * (size_t)j->tokens;
    const bool ids = j->predicts ||
        (j->refers && j->reference == TSRI_KV_REF_MATCH);
    size_t coefs = 0, values = 0;

    r->fits = r->fits && tsri_mul(rows, j->all_pitch, &coefs) &&
        tsri_mul(rows, j->all_values, &values);
    if (ids && !encoding)
        j->ids = (void *)(scratch + take(r, rows, sizeof *j->ids));
    if (j->refers) {
        j->ref = (void *)(scratch + take(r, rows, sizeof *j->ref));
        j->match = scratch + take(r, rows, 1);
        j->fixed = (void *)(scratch + take(r, coefs, sizeof *j->fixed));
        j->z = (void *)(scratch + take(r, coefs, sizeof *j->z));
    }
    if (j->predicts)
        j->said = (void *)(scratch + take(r, values, (size_t)j->predictors *
                                          sizeof *j->said));
}

enum { KVQUANT = 3, GEAR = 4, ZIPCACHE = 5, MIKV = 6, VQ = 10 };

static bool is_classed(const tsri_kv_gpu_job *j)
{
    return j->method == ZIPCACHE || j->method == MIKV;
}

/* Bytes of scratch of a unit. */
static size_t unit_bytes(const tsri_kv_gpu_job *j, bool encoding)
{
    if (encoding && (j->method == KVQUANT || j->method == GEAR))
        return tsri_kv_gpu_far_bytes(j);
    return encoding && j->method == VQ ? tsri_kv_gpu_vq_bytes(j)
                                       : tsri_kv_gpu_unit_bytes(j);
}

/* What published methods need. */
static void lay_out_units(tsri_kv_gpu_job *j, uint8_t *scratch, room *r, bool encoding)
{
    const size_t tiles = (size_t)j->objects * (size_t)j->tiles;
    const size_t units = tiles * (size_t)j->groups;

    if (is_classed(j)) {
        j->rank = (void *)(scratch + take(r, (size_t)j->objects,
                                          (size_t)j->tokens * sizeof *j->rank));
        j->salient = (void *)(scratch + take(r, tiles, sizeof *j->salient));
    }
    j->unit_bytes = unit_bytes(j, encoding);
    j->units = scratch + take(r, units, tsri_kv_gpu_unit_size());
    j->unit_room = scratch + take(r, units, j->unit_bytes);
    if (!encoding || !j->coded)
        return;
    j->recode_bytes = tsri_kv_gpu_recode_bytes(j);
    j->plain = scratch + take(r, units, j->plain_bytes);
    j->recode = scratch + take(r, units, j->recode_bytes);
    j->aside = (void *)(scratch + take(r, (size_t)j->objects, sizeof *j->aside));
    j->aside_at = (void *)(scratch + take(r, units + (size_t)j->objects,
                                          sizeof *j->aside_at));
}

/* Lays the call out in scratch; a NULL scratch only counts.  Returns the bytes,
 * 0 where they are too many. */
static size_t lay_out(tsri_kv_gpu_job *j, uint8_t *scratch, bool encoding)
{
    const size_t n = (size_t)j->objects, tokens = (size_t)j->tokens;
    const size_t tiles = (size_t)j->tiles, groups = (size_t)j->groups;
    const size_t planes = (size_t)(j->layers * j->planes);
    const size_t segments = n * (size_t)j->all_segments;
    room r = { 0, true };
    size_t all;

    if (!tsri_mul(segments, tiles * (size_t)j->span, &all) ||
        !tsri_mul(n * j->all_values, tokens, &all))
        return 0;
    j->header = scratch + take(&r, 1, TSRI_KV_GPU_HEADER +
                               planes * sizeof *j->base + n * sizeof *j->items);
    j->base = (void *)(j->header + TSRI_KV_GPU_HEADER);
    j->items = (void *)(j->base + planes);
    j->object = (void *)(scratch + take(&r, n, sizeof *j->object));
    j->angles = (void *)(scratch + take(&r, n * tokens, (size_t)j->pairs *
                                        sizeof *j->angles));
    j->unit_at = (void *)(scratch + take(
        &r, n * (groups * tiles * (size_t)j->levels + 1), sizeof *j->unit_at));
    if (!j->strips && !j->method)
        j->values = (void *)(scratch + take(&r, n * j->all_pitch,
                                            tokens * sizeof *j->values));
    if (j->transforms)
        j->x = (void *)(scratch + take(&r, n * j->all_values,
                                       tokens * sizeof *j->x));
    lay_out_text(j, scratch, &r, encoding);
    if (j->method)
        lay_out_units(j, scratch, &r, encoding);
    if (encoding)
        lay_out_encoder(j, scratch, &r, segments * tiles);
    return r.fits ? r.at : 0;
}

static void set_tokens(tsri_kv_gpu_job *j, size_t tokens, size_t items)
{
    j->objects = (int)items;
    j->tokens = (int)tokens;
    j->tiles = tsri_ceil_div(j->tokens, j->tile);
}

static bool counts_fit(size_t tokens, size_t items)
{
    return tokens <= TSRI_KV_MAX_TOKENS && items <= 1 << 20;
}

static void set_plain(const tsr_kv_cuda *g, tsri_kv_gpu_job *j, int dtype)
{
    if (j->coded)
        j->plain_bytes = tsri_kv_gpu_plain_bytes(g->kv, j->tile, j->tokens, dtype);
}

/* Sets whether lanes can have whole heads of 64 or 128 dims of 2 bytes in
 * registers; and whether segments are such heads: without profile, one level, no
 * boosts but of recent tokens. */
static void set_strips(const tsr_kv_cuda *g, tsri_kv_gpu_job *j, int dtype_bytes)
{
    const tsr_kv_rope *rope = &g->kv->rope_what;
    const int dim = j->dim[0];
    bool heads = !j->method && dtype_bytes == 2 && (dim == 64 || dim == 128) &&
        (!rope->layout || (rope->layout == 1 && rope->dims == dim));
    bool whole = (j->span == 128 || j->span == 256) && !j->profiled &&
        j->levels == 1 && !j->boosted;

    for (int p = 0; p < j->planes; p++) {
        heads = heads && j->dim[p] == dim;
        whole = whole && j->channels[p] % j->span == 0;
    }
    j->strips = heads && whole ? j->span / TSRI_ROWS_LANES : 0;
    j->head_strips = heads ? dim / TSRI_ROWS_LANES : 0;
}

tsr_error tsr_kv_cuda_scratch_size(const tsr_kv_cuda *g, size_t tokens,
                                   size_t items, size_t *bytes)
{
    size_t most = 0;

    *bytes = 0;
    for (int i = 0; i < 6; i++) {   /* decoder, encoder; 2 and 4 bytes; boosts */
        tsri_kv_gpu_job j = i % 2 ? g->encoder : g->decoder;
        size_t size = 0;
        j.boosted = i > 3;
        if (counts_fit(tokens, items)) {
            set_tokens(&j, tokens, items);
            set_strips(g, &j, i < 2 ? 2 : 4);
            set_plain(g, &j, TSR_KV_F32);
            size = lay_out(&j, NULL, i % 2);
        }
        if (!size)
            return tsri_fail(g->kv->ctx, TSR_E_LIMIT, "KV on CUDA: %zu objects "
                             "of %zu tokens are too many", items, tokens);
        most = size > most ? size : most;
    }
    *bytes = most;
    return TSR_OK;
}

/* ---- calls ---- */

static bool is_multiple(ptrdiff_t v, size_t of)
{
    return v % (ptrdiff_t)of == 0;
}

static bool view_fits(const tsr_kv_cuda *g, const tsr_kv_view *v, bool writing)
{
    const size_t size = tsri_kv_dtype_bytes(v->dtype);
    bool good = size && v->base && is_multiple(v->token_stride, size) &&
        is_multiple(v->head_stride, size) &&
        (!v->blocks || (v->block_tokens > 0 && is_multiple(v->block_stride, size)));

    for (int i = 0; good && i < g->encoder.layers * g->encoder.planes; i++)
        good = (v->base[i] || writing) && (uintptr_t)v->base[i] % size == 0;
    return good;
}

static bool same_view(const tsr_kv_view *a, const tsr_kv_view *b)
{
    return a->dtype == b->dtype && a->base == b->base &&
        a->token_stride == b->token_stride && a->head_stride == b->head_stride &&
        !a->blocks == !b->blocks &&
        (!a->blocks || (a->block_tokens == b->block_tokens &&
                        a->block_stride == b->block_stride));
}

static tsr_error check(const tsr_kv_cuda *g, const tsr_kv_cuda_item *items,
                       size_t n, size_t tokens, bool writing)
{
    bool good = counts_fit(tokens, n) && view_fits(g, &items->view, writing);

    for (size_t i = 0; good && i < n; i++) {
        const tsr_kv_cuda_item *item = &items[i];
        good = same_view(&item->view, &items->view) &&
            item->view.tokens >= tokens &&
            item->first_token <= item->view.tokens - tokens &&
            item->part_first <= tokens &&
            item->part_tokens <= tokens - item->part_first &&
            item->pos0 <= (uint64_t)1 << 31 && (uintptr_t)item->data % 16 == 0 &&
            item->status && item->level >= 0 &&
            item->level <= TSRI_KV_LEVELS && (writing || item->bytes);
    }
    return good ? TSR_OK : tsri_fail(g->kv->ctx, TSR_E_ARG, "KV on CUDA: views "
                                     "that do not fit, or not each other");
}

/* The header that all objects of the call have. */
static void write_header(const tsr_kv_cuda *g, const tsri_kv_gpu_job *j,
                         int8_t live_shift, uint8_t header[TSRI_KV_HEADER])
{
    const tsr_kv *kv = g->kv;
    tsri_kv_head head = {
        .method = kv->method ? kv->method->number : 0,
        .flags = j->sections ? TSRI_KV_BOOSTS : 0, .dtype = (uint8_t)j->dtype,
        .levels = (uint8_t)j->levels, .shape = kv->settings.shape,
        .rope = kv->rope_what, .tokens = (uint32_t)j->tokens,
        .groups = (uint32_t)j->groups, .tile = j->tile, .span = j->span,
        .class_shift = (int8_t)j->class_shift, .live_shift = live_shift,
        .section_bytes = j->sections, .step = { kv->step[0], kv->step[1] } };

    memcpy(head.params, kv->params, sizeof head.params);
    if (kv->model)
        memcpy(head.profile, tsr_model_hash(kv->model), sizeof head.profile);
    tsri_kv_head_write(&head, header);
}

/* Steps of the encoder, as the CPU has them. */
static void set_steps(const tsr_kv_cuda *g, tsri_kv_gpu_job *j)
{
    static const float third[TSRI_KV_LEVELS] = { 1, 3, 9 };

    for (int p = 0; p < 2; p++) {
        j->step[p] = g->kv->step[p] * j->profile_step;
        j->inverse[p] = 1 / (j->step[p] / third[j->levels - 1]);
        j->quarter[p] = 4 / j->step[p];
    }
}

static void fill_call(const tsr_kv_cuda *g, tsri_kv_gpu_job *j,
                      const tsr_kv_cuda_item *items)
{
    const tsr_kv_settings *s = &g->kv->settings;
    const tsr_kv_view *v = &items->view;

    set_strips(g, j, (int)tsri_kv_dtype_bytes(v->dtype));
    j->dtype = (int)v->dtype;
    j->block_tokens = v->block_tokens;
    j->token_stride = v->token_stride;
    j->head_stride = v->head_stride;
    j->block_stride = v->block_stride;
    j->recent = tsri_min(s->recent, j->tokens);
    if (!j->recent || !j->recent_boost)
        j->recent = j->recent_boost = 0;
    j->sections = j->recent ? ((uint32_t)j->tokens + 1) / 2 : 0;
    set_steps(g, j);
}

static uint32_t sinks_of(const tsr_kv_cuda *g, uint64_t pos0, size_t tokens)
{
    const uint64_t sinks = (uint64_t)g->kv->settings.sinks;
    const uint64_t here = pos0 < sinks ? sinks - pos0 : 0;
    return (uint32_t)(here < tokens ? here : tokens);
}

/* What of the call the host has goes to the beginning of scratch: header, planes,
 * items. */
enum { PART = TSRI_KV_GPU_ARGUMENTS / 64 * 64 };

typedef struct parcel {
    _Alignas(16) uint8_t part[PART];
    size_t used;
    uint8_t *to;
    cudaStream_t stream;
    cudaError_t error;
} parcel;

static void send(parcel *p)
{
    if (!p->error && p->used)
        p->error = tsri_kv_gpu_carry(p->to, p->part, p->used, p->stream);
    p->to += p->used;
    p->used = 0;
}

static void pack(parcel *p, const void *from, size_t size)
{
    for (size_t done = 0; done < size; ) {
        const size_t rest = sizeof p->part - p->used;
        const size_t n = size - done < rest ? size - done : rest;
        memcpy(p->part + p->used, (const uint8_t *)from + done, n);
        p->used += n;
        done += n;
        if (p->used == sizeof p->part)
            send(p);
    }
}

static tsr_error carry(const tsr_kv_cuda *g, const tsri_kv_gpu_job *j,
                       const tsr_kv_cuda_item *items, bool encoding,
                       cudaStream_t stream)
{
    parcel p = { .to = (uint8_t *)j->header, .stream = stream };
    uint8_t header[TSRI_KV_HEADER];

    write_header(g, j, g->live_shift[!encoding], header);
    pack(&p, header, sizeof header);
    pack(&p, items->view.base, (size_t)(j->layers * j->planes) * sizeof *j->base);
    for (int i = 0; i < j->objects; i++) {
        const size_t from = encoding ? 0 : items[i].part_first;
        const size_t n = encoding ? 0 : items[i].part_tokens;
        const tsri_kv_gpu_item item = {
            items[i].view.blocks, items[i].first_token, items[i].data,
            items[i].size, items[i].bytes, items[i].status,
            (uint32_t)items[i].pos0,
            sinks_of(g, items[i].pos0, (size_t)j->tokens), items[i].level,
            (uint32_t)from, n ? (uint32_t)(from + n) : (uint32_t)j->tokens,
            items[i].token_ids, encoding ? items[i].boost : NULL };
        pack(&p, &item, sizeof item);
    }
    send(&p);
    return tsri_cuda_check(g->gpu, p.error, "arguments");
}

/* Leaves out what an encoder does with token ids and boosts where no item has
 * them. */
static void use_text(tsri_kv_gpu_job *j, const tsr_kv_cuda_item *items, size_t n)
{
    bool any = false;

    for (size_t i = 0; i < n; i++) {
        any |= items[i].token_ids != NULL;
        j->boosted |= items[i].boost != NULL;
    }
    j->predicts = j->predicts && any;
    j->refers = j->refers && (any || j->reference != TSRI_KV_REF_MATCH);
}

static tsr_error start(tsr_kv_cuda *g, tsri_kv_gpu_job *j,
                       const tsr_kv_cuda_item *items, size_t n, size_t tokens,
                       void *scratch, size_t scratch_size, bool encoding,
                       cudaStream_t stream)
{
    size_t need;

    *j = encoding ? g->encoder : g->decoder;
    TSR_TRY(check(g, items, n, tokens, !encoding));
    set_tokens(j, tokens, n);
    if (encoding)
        use_text(j, items, n);
    fill_call(g, j, items);
    set_plain(g, j, j->dtype);
    need = lay_out(j, scratch, encoding);
    if (!need || need > scratch_size || (uintptr_t)scratch % ALIGN)
        return tsri_fail(g->kv->ctx, TSR_E_ARG, "KV on CUDA: %zu bytes of "
                         "scratch, %zu are needed", scratch_size, need);
    TSR_TRY(tsri_cuda_use(g->gpu));
    return carry(g, j, items, encoding, stream);
}

/* Queues the kernels of a call one after another. */
typedef cudaError_t launcher(const tsri_kv_gpu_job *, cudaStream_t);

static tsr_error queue(const tsr_kv_cuda *g, const tsri_kv_gpu_job *j,
                       launcher *kernel, cudaStream_t stream, const char *what)
{
    return tsri_cuda_check(g->gpu, kernel(j, stream), what);
}

static tsr_error encode_rows(const tsr_kv_cuda *g, const tsri_kv_gpu_job *j,
                             cudaStream_t stream)
{
    if (!j->tokens)
        return TSR_OK;
    if (!j->profiled)
        TSR_TRY(queue(g, j, tsri_kv_gpu_centres, stream, "centres"));
    if (j->strips)
        return queue(g, j, tsri_kv_gpu_encode, stream, "encode");
    if (j->refers)
        TSR_TRY(queue(g, j, tsri_kv_gpu_refer, stream, "references"));
    if (j->predicts)
        TSR_TRY(queue(g, j, tsri_kv_gpu_words, stream, "words"));
    TSR_TRY(queue(g, j, tsri_kv_gpu_load, stream, "load"));
    if (!j->profiled)
        TSR_TRY(queue(g, j, tsri_kv_gpu_classes, stream, "classes"));
    if (j->transforms)
        TSR_TRY(queue(g, j, tsri_kv_gpu_forward, stream, "forward"));
    if (j->refers)
        TSR_TRY(queue(g, j, tsri_kv_gpu_carry_on, stream, "carry"));
    return queue(g, j, tsri_kv_gpu_put_segments, stream, "segments");
}

static tsr_error decode_rows(const tsr_kv_cuda *g, const tsri_kv_gpu_job *j,
                             cudaStream_t stream)
{
    if (!j->tokens)
        return TSR_OK;
    if (j->method) {
        TSR_TRY(queue(g, j, tsri_kv_gpu_rank, stream, "classes of tokens"));
        TSR_TRY(queue(g, j, tsri_kv_gpu_parts, stream, "parts"));
        return queue(g, j, tsri_kv_gpu_method, stream, "method");
    }
    TSR_TRY(queue(g, j, tsri_kv_gpu_sinks, stream, "sinks"));
    if (j->strips)
        return queue(g, j, tsri_kv_gpu_decode, stream, "decode");
    if (j->refers || j->predicts)
        TSR_TRY(queue(g, j, tsri_kv_gpu_refer, stream, "references"));
    TSR_TRY(queue(g, j, tsri_kv_gpu_get_segments, stream, "segments"));
    if (j->refers)
        TSR_TRY(queue(g, j, tsri_kv_gpu_carry_back, stream, "carry"));
    if (j->predicts)
        TSR_TRY(queue(g, j, tsri_kv_gpu_words, stream, "words"));
    if (j->transforms)
        TSR_TRY(queue(g, j, tsri_kv_gpu_inverse, stream, "inverse"));
    return queue(g, j, tsri_kv_gpu_store, stream, "store");
}

/* What makes units of a method: their bytes, and once these are placed they. */
static launcher *sizes_of(int method)
{
    return method == KVQUANT ? tsri_kv_gpu_size_kvquant :
           method == GEAR ? tsri_kv_gpu_size_gear :
           method == VQ ? tsri_kv_gpu_size_vq : tsri_kv_gpu_size_method;
}
static launcher *units_of(int method)
{
    return method == KVQUANT ? tsri_kv_gpu_put_kvquant :
           method == GEAR ? tsri_kv_gpu_put_gear :
           method == VQ ? tsri_kv_gpu_put_vq : tsri_kv_gpu_put_units;
}

/* Units packed, aside, then coded. */
static tsr_error code_units(const tsr_kv_cuda *g, const tsri_kv_gpu_job *j,
                            cudaStream_t stream)
{
    tsri_kv_gpu_job packed = *j;

    packed.items = j->aside;
    packed.unit_at = j->aside_at;
    TSR_TRY(queue(g, j, tsri_kv_gpu_set_aside, stream, "places of units"));
    TSR_TRY(queue(g, &packed, units_of(j->method), stream, "method"));
    return queue(g, j, tsri_kv_gpu_recode, stream, "codes");
}

static tsr_error encode_method(const tsr_kv_cuda *g, const tsri_kv_gpu_job *j,
                               cudaStream_t stream)
{
    if (j->tokens) {
        TSR_TRY(queue(g, j, tsri_kv_gpu_rank_given, stream, "classes of tokens"));
        TSR_TRY(queue(g, j, sizes_of(j->method), stream, "sizes"));
        if (j->coded)
            TSR_TRY(code_units(g, j, stream));
    }
    TSR_TRY(queue(g, j, tsri_kv_gpu_arrange, stream, "places"));
    if (!j->tokens)
        return TSR_OK;
    return j->coded ? queue(g, j, tsri_kv_gpu_place_recoded, stream, "units")
                    : queue(g, j, units_of(j->method), stream, "method");
}

static tsr_error has_step(const tsr_kv_cuda *g)
{
    const tsr_kv *kv = g->kv;

    return kv->method || (kv->step[0] != 0 && kv->step[1] != 0) ? TSR_OK
        : tsri_fail(kv->ctx, TSR_E_ARG, "KV on CUDA: no step is set");
}

tsr_error tsr_kv_cuda_encode(tsr_kv_cuda *g, const tsr_kv_cuda_item *items,
                             size_t n, size_t tokens, void *scratch,
                             size_t scratch_size, void *stream)
{
    tsri_kv_gpu_job j;

    if (!n)
        return TSR_OK;
    TSR_TRY(has_step(g));
    TSR_TRY(start(g, &j, items, n, tokens, scratch, scratch_size, true, stream));
    TSR_TRY(queue(g, &j, tsri_kv_gpu_begin, stream, "begin"));
    if (j.method) {
        TSR_TRY(encode_method(g, &j, stream));
    } else {
        TSR_TRY(encode_rows(g, &j, stream));
        TSR_TRY(queue(g, &j, tsri_kv_gpu_arrange, stream, "places"));
    }
    return queue(g, &j, tsri_kv_gpu_write, stream, "write");
}

tsr_error tsr_kv_cuda_decode(tsr_kv_cuda *g, const tsr_kv_cuda_item *items,
                             size_t n, size_t tokens, void *scratch,
                             size_t scratch_size, void *stream)
{
    tsri_kv_gpu_job j;

    if (!n)
        return TSR_OK;
    TSR_TRY(start(g, &j, items, n, tokens, scratch, scratch_size, false, stream));
    TSR_TRY(queue(g, &j, tsri_kv_gpu_read, stream, "read"));
    return decode_rows(g, &j, stream);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Encoders and decoders as bytes: four letters, a check value of what the state
 * belongs to, the numbers, the codes that wait, the states of the nets, and
 * CRC-32C of all that. */
#include <string.h>
#include "codecs/audio/audio.h"
#include "lib/bytes.h"
#include "lib/crc32c.h"

static const char ENCODER[5] = "TAE1", DECODER[5] = "TAD1";

/* Writes, or with to = NULL only counts. */
typedef struct saver {
    uint8_t *to;
    size_t n;
} saver;

static void save(saver *s, const void *data, size_t bytes)
{
    if (s->to && bytes)
        memcpy(s->to + s->n, data, bytes);
    s->n += bytes;
}

static void save64(saver *s, uint64_t v)
{
    uint8_t bytes[8];
    tsri_put64(bytes, v);
    save(s, bytes, sizeof bytes);
}

/* Reads; `ok` turns false once and for all. */
typedef struct loader {
    const uint8_t *from;
    size_t size;
    bool ok;
} loader;

/* The next bytes, or NULL. */
static const uint8_t *load(loader *l, size_t bytes)
{
    const uint8_t *p = l->from;

    l->ok = l->ok && bytes <= l->size;
    if (!l->ok)
        return NULL;
    l->from += bytes;
    l->size -= bytes;
    return p;
}

static uint64_t load64(loader *l, uint64_t low, uint64_t high)
{
    const uint8_t *p = load(l, 8);
    const uint64_t v = p ? tsri_get64(p) : low;

    l->ok = l->ok && v >= low && v <= high;
    return l->ok ? v : low;
}

/* n codes, each below `words`, from memory that has room for them. */
static void load_codes(loader *l, uint16_t *codes, size_t frames, int books,
                       const tsri_audio_head *head)
{
    const size_t bytes = frames * (size_t)books * sizeof *codes;
    const uint8_t *p = load(l, bytes);

    if (p && bytes)
        memcpy(codes, p, bytes);
    l->ok = l->ok && (!p || tsri_codes_fit(codes, frames, books, head->codewords,
                                           head->shorter));
}

/* What a state belongs to: model, head and settings. */
static uint32_t identity(const uint8_t *extradata, size_t bytes,
                         const tsri_audio_options *o)
{
    const uint8_t flags[3] = { o->zero_start, o->lazy, (uint8_t)o->beam };
    const uint32_t crc = tsri_crc32c(tsri_crc32c(0, extradata, bytes), flags, 3);
    return tsri_crc32c(crc, &o->window, sizeof o->window);
}

static void save_front(saver *s, const char *letters, uint32_t who)
{
    save(s, letters, 4);
    save64(s, who);
}

static void save_end(saver *s)
{
    uint8_t crc[4];
    if (s->to)
        tsri_put32(crc, tsri_crc32c(0, s->to, s->n));
    save(s, crc, sizeof crc);
}

static loader load_front(const uint8_t *state, size_t bytes, const char *letters,
                         uint32_t who)
{
    loader l = { state, bytes, bytes >= 16 };
    const uint8_t *p;

    if (!l.ok)
        return l;
    l.size -= 4;
    l.ok = tsri_crc32c(0, state, l.size) == tsri_get32(state + l.size);
    p = load(&l, 4);
    l.ok = p && !memcmp(p, letters, 4);
    load64(&l, who, who);
    return l;
}

/* The state of one group's nets, behind its length. */
typedef size_t (*net_bytes)(const void *net);
typedef void (*net_save)(const void *net, uint8_t *state);
typedef tsr_error (*net_load)(void *net, const uint8_t *state, size_t bytes);

static void save_net(saver *s, const void *net, net_bytes bytes, net_save put)
{
    const size_t n = bytes(net);

    save64(s, n);
    if (s->to)
        put(net, s->to + s->n);
    s->n += n;
}

static tsr_error load_net(loader *l, void *net, net_load get)
{
    const uint64_t n = load64(l, 0, l->size);
    const uint8_t *p = load(l, (size_t)n);
    return p ? get(net, p, (size_t)n) : TSR_E_CORRUPT;
}

static tsr_error fail(tsr_context *ctx, tsr_error error)
{
    return error == TSR_E_NOMEM
        ? tsri_nomem(ctx)
        : tsri_fail(ctx, error, "not a state of such a coder");
}

/* ---- encoder ---- */

static void save_pending(saver *s, const tsri_audio_pending *p, size_t books)
{
    const size_t frames = p->end - p->first;
    const size_t segments = p->end_segment - p->first_segment;

    save64(s, frames);
    if (frames)
        save(s, p->codes + p->first * books, frames * books * sizeof *p->codes);
    save64(s, segments);
    for (size_t i = 0; i < segments; i++) {
        const tsri_audio_segment *segment = &p->segment[p->first_segment + i];
        save64(s, (uint64_t)segment->frames);
        save(s, segment->side, sizeof segment->side);
    }
}

static tsr_error load_pending(loader *l, const tsr_audio_encoder *e,
                              tsri_audio_pending *p)
{
    const size_t books = (size_t)e->head.books;
    const size_t frame = books * sizeof *p->codes;
    const size_t frames = (size_t)load64(l, 0, l->size / frame);
    size_t sum = 0;

    p->first = p->end = p->first_segment = p->end_segment = 0;
    TSR_TRY(tsri_grow(e->m.ctx, &p->codes, &p->room, 0, frames, frame));
    load_codes(l, p->codes, frames, e->head.books, &e->head);
    const size_t segments = (size_t)load64(l, 0, l->size / 12);
    TSR_TRY(tsri_grow(e->m.ctx, &p->segment, &p->segment_room, 0, segments,
                      sizeof *p->segment));
    for (size_t i = 0; i < segments && l->ok; i++) {
        p->segment[i].frames = (int)load64(l, 1, (uint64_t)e->head.segment_frames);
        const uint8_t *side = load(l, sizeof p->segment[i].side);
        if (side)
            memcpy(p->segment[i].side, side, sizeof p->segment[i].side);
        sum += (size_t)p->segment[i].frames;
    }
    if (!l->ok || (e->head.segment_frames ? sum != frames : segments))
        return TSR_E_CORRUPT;
    p->end = frames;
    p->end_segment = segments;
    return TSR_OK;
}

static size_t save_encoder(const tsr_audio_encoder *e, uint8_t *state)
{
    saver s = { state, 0 };
    const uint8_t flags[3] = { (uint8_t)e->use, e->finished, e->coded };
    const tsri_audio_codec *codec = e->m.codec;

    save_front(&s, ENCODER,
               identity(e->extradata, e->extradata_bytes, &e->options));
    save64(&s, e->pushed);
    save64(&s, e->pulled);
    save64(&s, e->number);
    save(&s, flags, sizeof flags);
    for (int g = 0; g < tsri_audio_groups(&e->head); g++) {
        save_pending(&s, &e->group[g], (size_t)e->head.books);
        save_net(&s, e->group[g].enc, codec->enc_state_bytes,
                 codec->enc_state_save);
    }
    save_end(&s);
    return s.n;
}

static tsr_error load_encoder(tsr_audio_encoder *e, loader *l)
{
    e->pushed = load64(l, 0, UINT64_MAX);
    e->pulled = load64(l, 0, e->pushed);
    e->number = load64(l, 0, (uint64_t)UINT32_MAX + 1);
    const uint8_t *flags = load(l, 3);
    if (!flags || flags[0] > TSRI_AUDIO_CODES || flags[1] > 1 || flags[2] > 1)
        return TSR_E_CORRUPT;
    e->use = flags[0];
    e->finished = flags[1];
    e->coded = flags[2];
    for (int g = 0; g < tsri_audio_groups(&e->head); g++) {
        TSR_TRY(load_pending(l, e, &e->group[g]));
        TSR_TRY(load_net(l, e->group[g].enc, e->m.codec->enc_state_load));
    }
    return l->ok && !l->size ? TSR_OK : TSR_E_CORRUPT;
}

size_t tsr_audio_encoder_state_bytes(const tsr_audio_encoder *encoder)
{
    return save_encoder(encoder, NULL);
}

void tsr_audio_encoder_state_save(const tsr_audio_encoder *encoder, uint8_t *state)
{
    save_encoder(encoder, state);
}

tsr_error tsr_audio_encoder_state_load(tsr_audio_encoder *e, const uint8_t *state,
                                       size_t bytes)
{
    loader l = load_front(state, bytes, ENCODER,
                          identity(e->extradata, e->extradata_bytes, &e->options));

    e->failed = l.ok ? load_encoder(e, &l) : TSR_E_CORRUPT;
    return e->failed ? fail(e->m.ctx, e->failed) : TSR_OK;
}

/* ---- decoder ---- */

static void save_item(saver *s, const tsr_audio_decoder *d,
                      const tsri_audio_item *item)
{
    const size_t groups = (size_t)tsri_audio_groups(&d->head);

    save64(s, item->units);
    save64(s, item->at);
    save64(s, item->frames);
    if (item->lost)
        return;
    save64(s, (uint64_t)item->books);
    save64(s, (uint64_t)item->last_frames);
    save(s, item->codes, groups * item->frames * (size_t)item->books *
                             sizeof *item->codes);
    save(s, item->side,
         groups * (size_t)item->units * (size_t)d->head.side);
}

/* Can segments with `frames` together, `last` of them in the last one, be those
 * of a packet? */
static bool segments_good(const tsri_audio_head *head, uint64_t units,
                          uint64_t frames, uint64_t last)
{
    const uint64_t full = (uint64_t)head->segment_frames;

    if (units == 1)
        return frames == last;
    if (frames < last + (units - 2) * full)
        return false;
    const uint64_t before = frames - last - (units - 2) * full;
    return before <= full && before >= last &&
           before >= tsri_audio_step_frames(head);
}

static tsr_error load_sound(loader *l, const tsr_audio_decoder *d,
                            uint64_t units, uint64_t frames,
                            tsri_audio_item **out)
{
    const size_t groups = (size_t)tsri_audio_groups(&d->head);
    const uint64_t segment = (uint64_t)d->head.segment_frames;
    const int books = (int)load64(l, 1, (uint64_t)d->head.books);
    const uint64_t last = load64(l, segment ? 1 : 0, segment);

    if (!l->ok || frames * groups * (uint64_t)books > l->size / 2 ||
        !(segment ? segments_good(&d->head, units, frames, last)
                  : frames == units))
        return TSR_E_CORRUPT;
    tsri_audio_item *item = *out = tsri_audio_item_new(d, units, (size_t)frames,
                                                       books);
    if (!item)
        return TSR_E_NOMEM;
    item->last_frames = (int)last;
    load_codes(l, item->codes, groups * item->frames, books, &d->head);
    const size_t sides = groups * (size_t)units * (size_t)d->head.side;
    const uint8_t *side = load(l, sides);
    if (side && sides)
        memcpy(item->side, side, sides);
    return l->ok ? TSR_OK : TSR_E_CORRUPT;
}

/* Appends the next item; it is the decoder's, also after a fault. */
static tsr_error load_item(loader *l, tsr_audio_decoder *d)
{
    const uint64_t units = load64(l, 1, UINT32_MAX);
    const uint64_t at = load64(l, 0, units - 1);
    const uint64_t frames = load64(l, 0, UINT32_MAX);
    tsri_audio_item *item = NULL;
    tsr_error error = TSR_OK;

    if (!l->ok)
        return TSR_E_CORRUPT;
    if (frames)
        error = load_sound(l, d, units, frames, &item);
    else if (!(item = tsri_audio_item_new(d, units, 0, 0)))
        error = TSR_E_NOMEM;
    if (!item)
        return error;
    item->at = at;
    if (d->last)
        d->last->next = item;
    else
        d->first = item;
    d->last = item;
    return error;
}

static void save_numbers(saver *s, const tsr_audio_decoder *d)
{
    const uint8_t flags[4] = { d->fed, d->ended, d->finished, d->drained };
    const size_t groups = (size_t)tsri_audio_groups(&d->head);

    save64(s, d->next);
    save64(s, d->concealed);
    save64(s, d->level);
    save64(s, d->silence);
    save(s, flags, sizeof flags);
    save64(s, (uint64_t)d->keep_books);
    save64(s, (uint64_t)d->keep_frames);
    save(s, d->keep, groups * (size_t)d->keep_frames * (size_t)d->keep_books *
                         sizeof *d->keep);
    if (d->keep_frames)
        save(s, d->keep_side, groups * (size_t)d->head.side);
}

static tsr_error load_numbers(loader *l, tsr_audio_decoder *d)
{
    const size_t groups = (size_t)tsri_audio_groups(&d->head);
    const int most = tsri_max(1, d->head.segment_frames);

    d->next = load64(l, 0, UINT64_MAX);
    d->concealed = load64(l, 0, UINT64_MAX);
    d->level = load64(l, 0, tsri_audio_full_level(&d->head));
    d->silence = load64(l, 0, UINT64_MAX);
    const uint8_t *flags = load(l, 4);
    for (int i = 0; flags && i < 4; i++)
        l->ok = l->ok && flags[i] <= 1;
    if (!l->ok)
        return TSR_E_CORRUPT;
    d->fed = flags[0];
    d->ended = flags[1];
    d->finished = flags[2];
    d->drained = flags[3];
    d->keep_books = (int)load64(l, 0, (uint64_t)d->head.books);
    d->keep_frames = (int)load64(l, 0, (uint64_t)most);
    if (!d->keep_books != !d->keep_frames)
        return TSR_E_CORRUPT;
    load_codes(l, d->keep, groups * (size_t)d->keep_frames, d->keep_books,
               &d->head);
    const size_t sides = d->keep_frames ? groups * (size_t)d->head.side : 0;
    const uint8_t *side = load(l, sides);
    if (side && sides)
        memcpy(d->keep_side, side, sides);
    return l->ok ? TSR_OK : TSR_E_CORRUPT;
}

static void save_runs(saver *s, const tsr_audio_decoder *d)
{
    save64(s, d->runs_end - d->run);
    for (size_t i = d->run; i < d->runs_end; i++) {
        const uint8_t lost = d->runs[i].lost;
        save64(s, d->runs[i].samples);
        save(s, &lost, 1);
    }
}

static tsr_error load_runs(loader *l, tsr_audio_decoder *d)
{
    const size_t n = (size_t)load64(l, 0, l->size / 9);

    d->run = d->runs_end = 0;
    TSR_TRY(tsri_grow(d->m.ctx, &d->runs, &d->runs_room, 0, n, sizeof *d->runs));
    for (size_t i = 0; i < n && l->ok; i++) {
        const uint64_t samples = load64(l, 1, UINT64_MAX);
        const uint8_t *lost = load(l, 1);
        l->ok = lost && *lost <= 1;
        d->runs[i] = (tsri_audio_run){ samples, lost && *lost };
    }
    d->runs_end = l->ok ? n : 0;
    return l->ok ? TSR_OK : TSR_E_CORRUPT;
}

static size_t save_decoder(const tsr_audio_decoder *d, uint8_t *state)
{
    saver s = { state, 0 };
    uint64_t items = 0;

    save_front(&s, DECODER,
               identity(d->extradata, d->extradata_bytes, &d->options));
    save_numbers(&s, d);
    save_runs(&s, d);
    for (const tsri_audio_item *item = d->first; item; item = item->next)
        items++;
    save64(&s, items);
    for (const tsri_audio_item *item = d->first; item; item = item->next)
        save_item(&s, d, item);
    for (int g = 0; g < tsri_audio_groups(&d->head); g++)
        save_net(&s, d->dec[g], d->m.codec->dec_state_bytes,
                 d->m.codec->dec_state_save);
    save_end(&s);
    return s.n;
}

static tsr_error load_decoder(tsr_audio_decoder *d, loader *l)
{
    TSR_TRY(load_numbers(l, d));
    TSR_TRY(load_runs(l, d));
    for (uint64_t n = load64(l, 0, l->size); n; n--)
        TSR_TRY(load_item(l, d));
    for (int g = 0; g < tsri_audio_groups(&d->head); g++)
        TSR_TRY(load_net(l, d->dec[g], d->m.codec->dec_state_load));
    return l->ok && !l->size ? TSR_OK : TSR_E_CORRUPT;
}

size_t tsr_audio_decoder_state_bytes(const tsr_audio_decoder *decoder)
{
    return save_decoder(decoder, NULL);
}

void tsr_audio_decoder_state_save(const tsr_audio_decoder *decoder, uint8_t *state)
{
    save_decoder(decoder, state);
}

tsr_error tsr_audio_decoder_state_load(tsr_audio_decoder *d, const uint8_t *state,
                                       size_t bytes)
{
    loader l = load_front(state, bytes, DECODER,
                          identity(d->extradata, d->extradata_bytes, &d->options));

    tsri_audio_drop_items(d);
    d->failed = l.ok ? load_decoder(d, &l) : TSR_E_CORRUPT;
    return d->failed ? fail(d->m.ctx, d->failed) : TSR_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Sound as .tess streams. */
#include <string.h>
#include <tessera/stream.h>
#include "codecs/audio/audio.h"

enum {
    PIECE = 4096,           /* samples that are read or written at once */
    WARM_UP_SECONDS = 2,    /* of nets before the first sample wanted */
    LONGEST_GAP = 3600      /* seconds of lost sound that are filled */
};

static tsr_error report(const tsr_progress *progress, uint64_t done, uint64_t all)
{
    const double part = !all ? 0 : done < all ? (double)done / (double)all : 1;

    if (!progress || !progress->report)
        return TSR_OK;
    return progress->report(progress->cookie, part) ? TSR_E_CANCELED : TSR_OK;
}

/* ---- encoding ---- */

static tsr_error write_head(tsr_stream_writer *writer,
                            const tsr_audio_encoder *encoder)
{
    const uint8_t *data;
    size_t bytes;

    tsr_audio_encoder_extradata(encoder, &data, &bytes);
    TSR_TRY(tsr_stream_writer_chunk(writer, TSR_FOURCC('H', 'E', 'A', 'D'), 0, 0,
                                    data, TSRI_AUDIO_HEAD_BYTES));
    return tsr_stream_writer_chunk(writer, TSR_FOURCC('M', 'O', 'D', 'L'), 0, 0,
                                   data + TSRI_AUDIO_HEAD_BYTES,
                                   bytes - TSRI_AUDIO_HEAD_BYTES);
}

static tsr_error write_packets(tsr_stream_writer *writer,
                               tsr_audio_encoder *encoder)
{
    tsr_audio_packet packet;
    tsr_error error;

    while (!(error = tsr_audio_encoder_pull(encoder, &packet)) && packet.data)
        TSR_TRY(tsr_stream_writer_chunk(writer, TSR_FOURCC('D', 'A', 'T', 'A'), 0,
                                        packet.pts, packet.data, packet.bytes));
    return error == TSR_E_EOF ? TSR_OK : error;
}

tsr_error tsri_audio_write(tsr_context *ctx, tsr_audio_encoder *encoder,
                           const tsr_sink *sink)
{
    tsr_stream_writer *writer;

    TSR_TRY(tsr_audio_encoder_finish(encoder));
    TSR_TRY(tsr_stream_writer_open(&writer, ctx, sink, TSR_KIND_AUDIO));
    tsr_error error = write_head(writer, encoder);
    if (!error)
        error = write_packets(writer, encoder);
    if (!error)
        error = tsr_stream_writer_finish(writer);
    tsr_stream_writer_close(&writer);
    return error;
}

static tsr_error encode_all(tsr_audio_encoder *encoder, tsr_stream_writer *writer,
                            const tsr_audio_source *source,
                            const tsr_progress *progress, float *piece)
{
    uint64_t done = 0;
    size_t got;

    TSR_TRY(write_head(writer, encoder));
    for (;;) {
        TSR_TRY(source->read(source->cookie, piece, PIECE, &got));
        if (!got)
            break;
        TSR_TRY(tsr_audio_encoder_push(encoder, piece, got));
        TSR_TRY(write_packets(writer, encoder));
        done += got;
        TSR_TRY(report(progress, done, source->length));
    }
    TSR_TRY(tsr_audio_encoder_finish(encoder));
    TSR_TRY(write_packets(writer, encoder));
    return tsr_stream_writer_finish(writer);
}

tsr_error tsr_audio_encode(tsr_context *context, tsr_model *model,
                           const tsr_audio_settings *settings,
                           const tsr_audio_source *samples, const tsr_sink *sink)
{
    const size_t known = offsetof(tsr_audio_settings, progress) +
                         sizeof settings->progress;
    const tsr_progress *progress =
        settings && settings->size >= known ? &settings->progress : NULL;
    tsr_audio_encoder *encoder;
    tsr_stream_writer *writer;
    float *piece;
    tsr_error error;

    TSR_TRY(tsr_audio_encoder_open(&encoder, context, model, settings));
    piece = tsri_alloc(context, PIECE,
                       (size_t)encoder->head.channels * sizeof *piece);
    error = piece ? tsr_stream_writer_open(&writer, context, sink, TSR_KIND_AUDIO)
                  : tsri_nomem(context);
    if (!error) {
        error = encode_all(encoder, writer, samples, progress, piece);
        tsr_stream_writer_close(&writer);
    }
    tsri_free(context, piece);
    tsr_audio_encoder_close(&encoder);
    return error;
}

/* ---- reading ---- */

/* A stream of sound being read, to decode it or (info) to look at it. */
typedef struct reading {
    tsr_context *ctx;
    tsri_audio_head head;
    uint8_t extradata[TSRI_AUDIO_EXTRADATA_MAX];
    size_t extradata_bytes;
    bool have_head, have_model;
    tsr_error damage;           /* the first fault that did not stop us */
    /* Decoding. */
    tsr_model *model;
    tsr_audio_decoder *decoder;
    const tsr_progress *progress;
    const tsr_audio_sink *sink;
    float *piece;
    uint64_t start, length;     /* samples still to leave out, to write */
    uint64_t all;
    bool begun;                 /* a packet was used */
    bool gap;                   /* packets are missing */
    /* Looking. */
    tsr_audio_info *info;
    uint64_t next;              /* number of the next packet */
    size_t *lengths;
} reading;

static void note(reading *r, tsr_error error)
{
    if (!r->damage)
        r->damage = error;
}

static tsr_error take_head(reading *r, const tsr_chunk *chunk)
{
    if (r->have_head)
        return TSR_OK; /* a copy: the first counts */
    TSR_TRY(tsri_audio_head_get(r->ctx, &r->head, chunk->data, chunk->bytes));
    memcpy(r->extradata, chunk->data, TSRI_AUDIO_HEAD_BYTES);
    r->have_head = true;
    return TSR_OK;
}

static tsr_error take_model(reading *r, const tsr_chunk *chunk)
{
    if (r->have_model)
        return TSR_OK;
    TSR_TRY(tsri_modl_get(r->ctx, chunk->data, chunk->bytes, r->head.hash,
                          r->head.model_name));
    memcpy(r->extradata + TSRI_AUDIO_HEAD_BYTES, chunk->data, chunk->bytes);
    r->extradata_bytes = TSRI_AUDIO_HEAD_BYTES + chunk->bytes;
    r->have_model = true;
    return TSR_OK;
}

static tsr_error need_head(const reading *r)
{
    return r->have_head && r->have_model
        ? TSR_OK
        : tsri_fail(r->ctx, r->damage ? r->damage : TSR_E_CORRUPT,
                    "its header (HEAD or MODL) is missing or damaged");
}

/* ---- decoding ---- */

static tsr_error start_decoder(reading *r)
{
    TSR_TRY(need_head(r));
    TSR_TRY(tsr_audio_decoder_open(&r->decoder, r->ctx, r->model, r->extradata,
                                   r->extradata_bytes, r->head.live));
    r->piece = tsri_alloc(r->ctx, PIECE,
                          (size_t)r->head.channels * sizeof *r->piece);
    if (!r->piece)
        return tsri_nomem(r->ctx);
    return r->sink->begin(r->sink->cookie, r->head.rate, r->head.channels);
}

/* Writes what can be pulled, within start and length. */
static tsr_error write_samples(reading *r)
{
    const size_t channels = (size_t)r->head.channels;
    size_t n = 1;

    while (r->length) {
        const tsr_error error =
            tsr_audio_decoder_pull(r->decoder, r->piece, PIECE, &n);
        if (error || !n)
            return error == TSR_E_EOF ? TSR_OK : error;
        size_t skip = r->start < n ? (size_t)r->start : n;
        r->start -= skip;
        n -= skip;
        n = n < r->length ? n : (size_t)r->length;
        if (n)
            TSR_TRY(r->sink->write(r->sink->cookie, r->piece + skip * channels, n));
        r->length -= n;
        TSR_TRY(report(r->progress, r->all - r->length,
                       r->all == UINT64_MAX ? 0 : r->all));
    }
    return TSR_OK;
}

/* Is everything of this packet far before the first sample that is wanted?  If
 * it is not, the first such packet is where decoding begins. */
static bool skips(reading *r, uint64_t number)
{
    const uint64_t span = tsri_audio_packet_span(&r->head);
    const uint64_t warm = (uint64_t)r->head.rate * WARM_UP_SECONDS;
    const uint64_t from = r->start > warm ? r->start - warm : 0;

    if (r->begun)
        return false;
    if ((number + 1) * span <= from)
        return true;
    const uint64_t first = from / span; /* the packet that should be the first */
    tsri_audio_decoder_begin(r->decoder, first, LONGEST_GAP);
    r->start -= first * span;
    r->begun = true;
    return false;
}

static tsr_error decode_packet(reading *r, const tsr_chunk *chunk)
{
    tsri_audio_packet p;
    tsr_error error = tsri_audio_packet_get(&r->head, &p, chunk->data,
                                            chunk->bytes);

    if (!r->decoder)
        TSR_TRY(start_decoder(r));
    if (!error && skips(r, p.number))
        return TSR_OK;
    if (error && !r->begun) {
        note(r, error);
        return TSR_OK; /* where it belongs is not known */
    }
    r->gap = r->gap || (!error && p.number > r->decoder->next);
    error = tsr_audio_decoder_push(r->decoder, chunk->data, chunk->bytes);
    if (error == TSR_E_CORRUPT) {
        note(r, error);
        error = TSR_OK;
    }
    TSR_TRY(error);
    return write_samples(r);
}

static tsr_error finish_decoding(reading *r)
{
    TSR_TRY(need_head(r));
    if (!r->decoder)
        TSR_TRY(start_decoder(r));
    TSR_TRY(tsr_audio_decoder_finish(r->decoder));
    TSR_TRY(write_samples(r));
    if (r->damage)
        tsri_log(r->ctx, TSR_LOG_WARNING, "%s: %llu frames concealed",
                 tsr_error_string(r->damage),
                 (unsigned long long)tsr_audio_decoder_concealed(r->decoder));
    return TSR_OK;
}

/* ---- looking ---- */

static tsr_error count_packet(reading *r, const tsr_chunk *chunk)
{
    const tsri_audio_head *h = &r->head;
    tsr_audio_info *info = r->info;
    tsri_audio_packet p;
    const uint8_t *data;

    TSR_TRY(need_head(r));
    if (!r->lengths)
        r->lengths = tsri_alloc(r->ctx, (size_t)TSR_AUDIO_MAX_CHANNELS *
                                TSR_AUDIO_MAX_BOOKS, sizeof *r->lengths);
    if (!r->lengths)
        return tsri_nomem(r->ctx);
    tsr_error error = tsri_audio_packet_get(h, &p, chunk->data, chunk->bytes);
    const int n = error ? 0 : tsri_audio_segments(h, p.books);
    if (!error)
        error = tsri_audio_lengths_get(&p, r->lengths, n, &data);
    if (error) {
        note(r, error);
        return TSR_OK;
    }
    r->gap = r->gap || p.number != r->next;
    r->next = p.number + 1;
    info->packets++;
    info->frames += (uint64_t)p.frames;
    info->samples = p.number * tsri_audio_packet_span(h) + p.samples;
    info->fixed_bits +=
        (uint64_t)(tsri_audio_frame_bits(h->codewords, h->shorter, p.books) *
                   p.frames * tsri_audio_groups(h) + 0.5);
    for (int i = 0; i < n; i++) {
        info->token_bytes += r->lengths[i];
        if (h->layers)
            info->book_bytes[i % p.books] += r->lengths[i];
    }
    return TSR_OK;
}

static void fill_info(const reading *r, uint64_t total)
{
    tsr_audio_info *i = r->info;

    tsri_audio_head_info(&r->head, i);
    i->file_bytes = total;
    i->header_bytes = total - i->token_bytes;
    i->damaged = r->damage != TSR_OK;
}

/* ---- both ---- */

static tsr_error take_chunk(reading *r, const tsr_chunk *chunk)
{
    switch (chunk->type) {
    case TSR_FOURCC('H', 'E', 'A', 'D'):
        return take_head(r, chunk);
    case TSR_FOURCC('M', 'O', 'D', 'L'):
        return take_model(r, chunk);
    case TSR_FOURCC('D', 'A', 'T', 'A'):
        return r->info ? count_packet(r, chunk) : decode_packet(r, chunk);
    case TSR_FOURCC('I', 'N', 'D', 'X'):
        return TSR_OK;
    }
    if (chunk->type & 0x20) /* lower-case first letter */
        return TSR_OK;
    return tsri_fail(r->ctx, TSR_E_UNSUPPORTED, "unknown critical chunk");
}

static tsr_error read_chunks(reading *r, const tsr_source *source)
{
    tsr_stream_reader *reader;
    tsr_stream_damage damage;
    tsr_chunk chunk;
    tsr_error error = tsr_stream_reader_open(&reader, r->ctx, source);

    if (error)
        return error;
    if (tsr_stream_reader_kind(reader) != TSR_KIND_AUDIO)
        error = tsri_fail(r->ctx, TSR_E_UNSUPPORTED, "the stream is not sound");
    while (!error && (r->info || r->length || !r->have_head || !r->have_model) &&
           !(error = tsr_stream_reader_next(reader, &chunk)))
        error = chunk.stream ? TSR_OK : take_chunk(r, &chunk);
    damage = tsr_stream_reader_damage(reader);
    tsr_stream_reader_close(&reader);
    if (error && error != TSR_E_EOF)
        return error;
    if (damage.truncated) /* its last chunk is damaged too, if it is cut */
        note(r, TSR_E_TRUNCATED);
    if (damage.lost_chunks || damage.skipped_bytes)
        note(r, TSR_E_CHECKSUM);
    if (r->gap)
        note(r, TSR_E_CORRUPT);
    return TSR_OK;
}

tsr_error tsr_audio_decode(tsr_context *context, tsr_model *model,
                           const tsr_progress *progress, const tsr_source *source,
                           uint64_t start, uint64_t length,
                           const tsr_audio_sink *sink)
{
    reading r = { .ctx = context, .model = model, .progress = progress,
                  .sink = sink, .start = start, .length = length,
                  .all = length };
    tsr_error error = read_chunks(&r, source);

    if (!error)
        error = finish_decoding(&r);
    tsr_audio_decoder_close(&r.decoder);
    tsri_free(context, r.piece);
    return error ? error : r.damage;
}

/* A source that counts. */
typedef struct counter {
    tsr_source source;
    uint64_t total;
} counter;

static tsr_error read_counted(void *cookie, void *data, size_t size, size_t *got)
{
    counter *c = cookie;
    TSR_TRY(c->source.read(c->source.cookie, data, size, got));
    c->total += *got;
    return TSR_OK;
}

tsr_error tsr_audio_probe(tsr_context *context, const tsr_source *source,
                          tsr_audio_info *info)
{
    counter c = { .source = *source };
    const tsr_source counted = { &c, read_counted };
    reading r = { .ctx = context, .info = info };
    tsr_error error;

    *info = (tsr_audio_info){ 0 };
    error = read_chunks(&r, &counted);
    if (!error)
        error = need_head(&r);
    if (!error)
        fill_info(&r, c.total);
    tsri_free(context, r.lengths);
    return error;
}

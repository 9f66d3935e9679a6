/* SPDX-License-Identifier: BSD-2-Clause */
/* Codes of sound: arrays [groups][frames][books]. */
#include <stdlib.h>
#include <string.h>
#include <tessera/stream.h>
#include "tools/engine.h"
#include "tools/io/array.h"
#include "tools/say.h"
#include "tools/sound/sink.h"
#include "tools/sound/sound.h"
#include "tools/sound/source.h"
#include "tools/tokens.h"

enum { BATCH = 512, PIECE = 4096, HEAD_BYTES = 256 };

/* Codes of all frames so far, [frames][groups][books]. */
typedef struct tokens {
    tsr_context *ctx;
    const char *name;       /* of the input */
    uint16_t *data;
    size_t frames, room;
    int groups, books;
    int from, until;        /* books that are written; until 0: all */
} tokens;

static size_t width(const tokens *t)
{
    return (size_t)t->groups * (size_t)t->books;
}

/* Room for so many more frames. */
static int grow(tokens *t, size_t frames)
{
    uint16_t *more;
    size_t room = t->room ? t->room : BATCH;

    while (room < t->frames + frames)
        room *= 2;
    if (room == t->room)
        return RC_OK;
    more = realloc(t->data, room * width(t) * sizeof *more);
    if (!more)
        return say_error(RC_MACHINE, t->name, "out of memory");
    t->data = more;
    t->room = room;
    return RC_OK;
}

/* ---- codes to an array ---- */

/* [groups][frames][books], and without the first of them if it is 1. */
static int write_array(const tokens *t, const args *a, output *out)
{
    const size_t books = (size_t)t->books, groups = (size_t)t->groups;
    const size_t from = (size_t)t->from;
    const size_t part = (t->until ? (size_t)t->until : books) - from;
    const uint64_t dims[] = { (uint64_t)t->groups, t->frames, part };
    const int bytes = tokens_width(a, 2);
    int32_t row[TSR_AUDIO_MAX_BOOKS];

    array_write_head(out, tokens_type(bytes), dims + (groups == 1),
                     groups == 1 ? 2 : 3);
    for (size_t g = 0; g < groups; g++) {
        for (size_t f = 0; f < t->frames; f++) {
            for (size_t b = 0; b < part; b++)
                row[b] = t->data[(f * groups + g) * books + from + b];
            array_write_codes(out, bytes, row, part);
        }
    }
    return out->fault ? RC_USAGE : RC_OK;
}

/* -part: which books are meant, of a sound whose extradata is this. */
static int choose(tokens *t, const args *a, const uint8_t *extra, size_t bytes)
{
    const int acoustic = a->part && !strcmp(a->part, "acoustic");
    tsr_audio_info info;

    if (!a->part)
        return RC_OK;
    if (!acoustic && strcmp(a->part, "semantic"))
        return say_error(RC_USAGE, NULL, "-part %s: semantic or acoustic",
                         a->part);
    if (tsr_audio_describe(t->ctx, extra, bytes, &info))
        return say_failure(t->name, TSR_E_CORRUPT);
    t->from = acoustic ? info.semantic_books : 0;
    t->until = acoustic ? info.books : info.semantic_books;
    if (!info.semantic_books || t->from == t->until)
        return say_error(RC_USAGE, t->name, "has no %s codes", a->part);
    say_info("%s: %s codes, %d x %.6g a second", t->name, a->part,
             t->until - t->from, (double)info.rate / info.hop);
    return RC_OK;
}

static int finish(tokens *t, const tokens_job *j, int rc)
{
    if (!rc)
        rc = write_array(t, j->a, j->out);
    if (!rc)
        say_info("%s: %zu frames of %d x %d codes", j->out->name, t->frames,
                 t->groups, t->books);
    free(t->data);
    return rc;
}

/* ---- sound to codes ---- */

static int pull_codes(tokens *t, tsr_audio_encoder *encoder)
{
    tsr_error error;
    size_t n;
    do {
        const int rc = grow(t, BATCH);
        if (rc)
            return rc;
        error = tsr_audio_encoder_pull_codes(encoder, t->data + t->frames *
                                             width(t), BATCH, &n);
        t->frames += n;
    } while (!error && n);
    return error && error != TSR_E_EOF ? say_failure(t->name, error) : RC_OK;
}

static int pull_all(tokens *t, tsr_audio_encoder *encoder, sound_source *s,
                    float *piece)
{
    size_t n;
    int rc = RC_OK;
    while (!rc && (n = sound_source_read(s, piece, PIECE))) {
        const tsr_error error = tsr_audio_encoder_push(encoder, piece, n);
        rc = error ? say_failure(t->name, error) : pull_codes(t, encoder);
    }
    if (!rc)
        rc = s->rc;
    if (!rc) {
        const tsr_error error = tsr_audio_encoder_finish(encoder);
        rc = error ? say_failure(t->name, error) : pull_codes(t, encoder);
    }
    return rc;
}

/* The encoder's number of books: HEAD's third byte. */
static int books_of(const tsr_audio_encoder *encoder)
{
    const uint8_t *data;
    size_t bytes;
    tsr_audio_encoder_extradata(encoder, &data, &bytes);
    return data[2];
}

static int from_source(tokens *t, tsr_model *model, const args *a,
                       const tsr_audio_model_info *info, sound_source *s)
{
    tsr_audio_settings settings;
    tsr_audio_encoder *encoder;
    const uint8_t *extra;
    size_t bytes;
    tsr_error error;
    float *piece;
    int rc = sound_settings(&settings, a, info, s->form.channels);

    if (rc)
        return rc;
    error = tsr_audio_encoder_open(&encoder, t->ctx, model, &settings);
    if (error)
        return say_failure(tsr_model_path(model), error);
    t->groups = s->form.channels / info->channels;
    t->books = books_of(encoder);
    tsr_audio_encoder_extradata(encoder, &extra, &bytes);
    rc = choose(t, a, extra, bytes);
    if (rc) {
        tsr_audio_encoder_close(&encoder);
        return rc;
    }
    piece = malloc(sizeof *piece * PIECE * (size_t)s->form.channels);
    rc = piece ? pull_all(t, encoder, s, piece)
               : say_error(RC_MACHINE, t->name, "out of memory");
    free(piece);
    tsr_audio_encoder_close(&encoder);
    return rc;
}

static int take(tokens *t, tokens_job *j)
{
    tsr_audio_model_info info;
    sound_source s;
    int rc = sound_describe(j->ctx, j->model, &info);

    if (!rc)
        rc = sound_source_open(&s, j->media, info.rate, info.channels);
    if (!rc)
        rc = from_source(t, j->model, j->a, &info, &s);
    if (!rc)
        j->damaged = media_in_finish(j->media) != RC_OK;
    return rc;
}

int tokens_sound_take(tokens_job *j)
{
    tokens t = { .ctx = j->ctx, .name = j->in->name };
    const int rc = take(&t, j);
    return finish(&t, j, rc);
}

/* ---- a stream to codes ---- */

/* A stream being read: its head, and the decoder that it opens. */
typedef struct reading {
    uint8_t extra[HEAD_BYTES];
    size_t head, all;           /* bytes of HEAD, of both */
    tsr_model *model;
    tsr_audio_decoder *decoder;
    int damaged;
} reading;

static int take_head(reading *r, const tokens *t, const tsr_chunk *chunk)
{
    const int model = chunk->type == TSR_FOURCC('M', 'O', 'D', 'L');
    if (model ? r->all > r->head || !r->head : r->head > 0)
        return RC_OK;
    if (chunk->bytes > sizeof r->extra - r->head)
        return say_error(RC_INPUT, t->name, "its header is damaged");
    memcpy(r->extra + r->head, chunk->data, chunk->bytes);
    r->all = r->head + chunk->bytes;
    if (!model)
        r->head = r->all;
    return RC_OK;
}

static int open_decoder(reading *r, tokens *t)
{
    const tsr_error error = r->head && r->all > r->head
        ? tsr_audio_decoder_open(&r->decoder, t->ctx, r->model, r->extra, r->all,
                                 0)
        : TSR_E_CORRUPT;
    if (error)
        return say_failure(t->name, error);
    /* HEAD, docs/audio-format.md: frames of a segment, channels, books, channels
     * of a group. */
    if (r->extra[24] || r->extra[25])
        return say_error(RC_USAGE, t->name, "codes of segments mean nothing"
                         " without their packets");
    t->groups = r->extra[1] / r->extra[5];
    t->books = r->extra[2];
    return RC_OK;
}

static int take_packet(reading *r, tokens *t, const tsr_chunk *chunk)
{
    size_t n = 0;
    tsr_error error;
    int rc = r->decoder ? RC_OK : open_decoder(r, t);

    if (rc)
        return rc;
    do {
        rc = grow(t, n > BATCH ? n : BATCH);
        if (rc)
            return rc;
        error = tsr_audio_decoder_codes(r->decoder, chunk->data, chunk->bytes,
                                        t->data + t->frames * width(t),
                                        (t->room - t->frames) * width(t), &n);
    } while (error == TSR_E_LIMIT);
    if (error == TSR_E_CORRUPT)
        r->damaged = 1;
    else if (error)
        return say_failure(t->name, error);
    else
        t->frames += n;
    return RC_OK;
}

static int read_stream(reading *r, tokens *t, tsr_stream_reader *reader)
{
    tsr_chunk chunk;
    tsr_error error = TSR_OK;
    tsr_stream_damage damage;
    int rc = RC_OK;

    while (!rc && !(error = tsr_stream_reader_next(reader, &chunk))) {
        if (chunk.stream)
            continue;
        if (chunk.type == TSR_FOURCC('D', 'A', 'T', 'A'))
            rc = take_packet(r, t, &chunk);
        else if (chunk.type == TSR_FOURCC('H', 'E', 'A', 'D') ||
                 chunk.type == TSR_FOURCC('M', 'O', 'D', 'L'))
            rc = take_head(r, t, &chunk);
    }
    damage = tsr_stream_reader_damage(reader);
    r->damaged |= damage.lost_chunks || damage.skipped_bytes ||
                  damage.truncated;
    if (!rc && error != TSR_E_EOF)
        rc = say_failure(t->name, error);
    return rc || r->decoder ? rc : open_decoder(r, t);
}

/* What is there comes without gaps. */
static int read_all(tokens *t, tokens_job *j)
{
    const tsr_source source = input_source(j->in);
    tsr_stream_reader *reader = NULL;
    reading r = { .model = j->a->model ? j->model : NULL };
    const tsr_error error = tsr_stream_reader_open(&reader, j->ctx, &source);
    int rc = error ? say_failure(t->name, error) : read_stream(&r, t, reader);

    if (!rc)
        rc = choose(t, j->a, r.extra, r.all);
    if (rc && j->in->fault)
        rc = input_failed(j->in);
    j->damaged = r.damaged;
    tsr_stream_reader_close(&reader);
    tsr_audio_decoder_close(&r.decoder);
    return rc;
}

int tokens_sound_read(tokens_job *j)
{
    tokens t = { .ctx = j->ctx, .name = j->in->name };
    const int rc = read_all(&t, j);
    return finish(&t, j, rc);
}

/* ---- codes for whoever wants them ---- */

int tokens_sound_codes(tokens_job *j, tokens_codes *codes)
{
    tokens t = { .ctx = j->ctx, .name = j->in->name };
    const int rc = j->media ? take(&t, j) : read_all(&t, j);

    *codes = (tokens_codes){ t.data, t.frames, t.groups, t.books };
    return rc;
}

/* ---- an array to codes ---- */

static int read_array(tokens *t, input *in)
{
    array file;
    int32_t *codes = NULL;
    size_t n = 0, frames = 0, books = 0, groups = 1;
    int rc = array_take(&file, in);

    if (!rc)
        rc = array_codes(&file, 0, &codes, &n);
    if (!rc) {
        groups = file.rank == 3 ? (size_t)file.dims[0] : 1;
        frames = file.rank >= 2 ? (size_t)file.dims[file.rank - 2] : 0;
        books = file.rank >= 2 ? (size_t)file.dims[file.rank - 1] : 0;
        if (file.rank < 2 || file.rank > 3 || !n || books >
            TSR_AUDIO_MAX_BOOKS || groups > TSR_AUDIO_MAX_CHANNELS)
            rc = say_error(RC_INPUT, file.in.name, "codes of sound are an array"
                           " of [frames][books] or [groups][frames][books];"
                           " those of a picture want -m MODEL");
    }
    t->groups = (int)groups;
    t->books = (int)books;
    if (!rc)
        rc = grow(t, frames);
    for (size_t i = 0; !rc && i < n; i++) {
        const size_t g = i / (frames * books), f = i / books % frames;
        if (codes[i] > UINT16_MAX)
            rc = say_error(RC_INPUT, file.in.name, "number %zu is no code", i);
        else
            t->data[(f * groups + g) * books + i % books] = (uint16_t)codes[i];
    }
    t->frames = frames;
    free(codes);
    array_close(&file);
    return rc;
}

/* ---- codes to sound, and to a stream ---- */

static int play(tokens *t, tsr_audio_decoder *decoder,
                sound_sink *sink)
{
    const tsr_audio_sink hook = sound_sink_hook(sink);
    const int channels = tsr_audio_decoder_channels(decoder);
    float *piece = malloc(sizeof *piece * PIECE * (size_t)channels);
    tsr_error error = piece ? hook.begin(hook.cookie,
                                         tsr_audio_decoder_rate(decoder),
                                         channels) : TSR_E_NOMEM;
    size_t n, part;

    for (size_t at = 0; !error && at < t->frames; at += part) {
        part = t->frames - at < BATCH ? t->frames - at : BATCH;
        error = tsr_audio_decoder_push_codes(decoder, t->data + at * width(t),
                                             part);
        if (!error && at + part == t->frames)
            error = tsr_audio_decoder_finish(decoder);
        while (!error &&
               !(error = tsr_audio_decoder_pull(decoder, piece, PIECE, &n)) && n)
            error = hook.write(hook.cookie, piece, n);
    }
    free(piece);
    if (error == TSR_E_EOF || !error)
        return sound_sink_finish(sink);
    return sink->failed ? sink->failed
        : sink->wav.out->fault ? RC_USAGE : say_failure(t->name, error);
}

static int to_wav(tokens *t, const tokens_job *j, tsr_audio_encoder *encoder)
{
    const uint8_t *data;
    size_t bytes;
    tsr_audio_decoder *decoder;
    sound_sink sink;
    tsr_error error;
    int rc = sound_sink_open(&sink, j->a, j->out, t->name);

    if (!rc) {
        tsr_audio_encoder_extradata(encoder, &data, &bytes);
        error = tsr_audio_decoder_open(&decoder, t->ctx, j->model, data, bytes,
                                       0);
        rc = error ? say_failure(t->name, error) : play(t, decoder, &sink);
        tsr_audio_decoder_close(&decoder);
    }
    sound_sink_close(&sink);
    return rc;
}

static tsr_error write_packets(tsr_audio_encoder *encoder,
                               tsr_stream_writer *writer)
{
    tsr_audio_packet packet;
    tsr_error error;
    while (!(error = tsr_audio_encoder_pull(encoder, &packet)) && packet.data &&
           !(error = tsr_stream_writer_chunk(writer, TSR_FOURCC('D', 'A', 'T',
                                             'A'), 0, packet.pts, packet.data,
                                             packet.bytes)))
        ;
    return error == TSR_E_EOF ? TSR_OK : error;
}

/* HEAD is all of the extradata in front of the hash and the name. */
static tsr_error write_head(tsr_audio_encoder *encoder, tsr_model *model,
                            tsr_stream_writer *writer)
{
    const size_t name = strlen(tsr_model_name(model));
    const uint8_t *data;
    size_t bytes, head;
    tsr_error error;

    tsr_audio_encoder_extradata(encoder, &data, &bytes);
    head = bytes - TSR_MODEL_HASH_BYTES - (name < 63 ? name : 63);
    error = tsr_stream_writer_chunk(writer, TSR_FOURCC('H', 'E', 'A', 'D'), 0, 0,
                                    data, head);
    return error ? error
        : tsr_stream_writer_chunk(writer, TSR_FOURCC('M', 'O', 'D', 'L'), 0, 0,
                                  data + head, bytes - head);
}

static int to_stream(tokens *t, const tokens_job *j,
                     tsr_audio_encoder *encoder)
{
    const tsr_sink sink = output_sink(j->out);
    tsr_stream_writer *writer;
    tsr_error error = tsr_stream_writer_open(&writer, t->ctx, &sink,
                                             TSR_KIND_AUDIO);
    if (!error)
        error = write_head(encoder, j->model, writer);
    if (!error)
        error = tsr_audio_encoder_push_codes(encoder, t->data, t->frames);
    if (!error)
        error = tsr_audio_encoder_finish(encoder);
    if (!error)
        error = write_packets(encoder, writer);
    if (!error)
        error = tsr_stream_writer_finish(writer);
    tsr_stream_writer_close(&writer);
    return j->out->fault ? RC_USAGE
        : error ? say_failure(t->name, error) : RC_OK;
}

/* The form of the codes is what -ac and -books would say. */
static int open_encoder(tokens *t, const args *a, tsr_model *model,
                        tsr_audio_encoder **encoder)
{
    tsr_audio_model_info info;
    tsr_audio_settings settings;
    args own = *a;
    tsr_error error;
    int rc = sound_describe(t->ctx, model, &info);

    if (rc)
        return rc;
    if (t->books > info.books)
        return say_error(RC_INPUT, t->name, "has codes of %d books, the model"
                         " has %d; those of a picture want -m MODEL", t->books,
                         info.books);
    own.books = t->books;
    rc = sound_settings(&settings, &own, &info, t->groups * info.channels);
    if (rc)
        return rc;
    error = tsr_audio_encoder_open(encoder, t->ctx, model, &settings);
    return error ? say_failure(tsr_model_path(model), error) : RC_OK;
}

/* Reads the array, then makes of it what `make` makes. */
static int from_array(tokens_job *j,
                      int (*make)(tokens *t, const tokens_job *j,
                                  tsr_audio_encoder *encoder))
{
    tokens t = { .ctx = j->ctx, .name = j->in->name };
    tsr_audio_encoder *encoder = NULL;
    int rc = read_array(&t, j->in);

    if (!rc)
        rc = open_encoder(&t, j->a, j->model, &encoder);
    if (!rc)
        rc = make(&t, j, encoder);
    tsr_audio_encoder_close(&encoder);
    free(t.data);
    return rc;
}

int tokens_sound_write(tokens_job *j)
{
    return from_array(j, to_stream);
}

int tokens_sound_play(tokens_job *j)
{
    return from_array(j, to_wav);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Codes of sound as arrays, for models that work on them. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <tessera/stream.h>
#include "tools/commands.h"
#include "tools/engine.h"
#include "tools/io/array.h"
#include "tools/io/picture.h"
#include "tools/io/wav.h"
#include "tools/say.h"
#include "tools/sound/sink.h"
#include "tools/sound/sound.h"
#include "tools/sound/source.h"

enum { BATCH = 512, PIECE = 4096, HEAD_BYTES = 256 };

static const opt tokens_options[] = {
    { "-i --input", "FILE", "sound (.wav, .tess) or its codes (.npy); - is stdin",
      OPT_TEXT, offsetof(args, in), 0, 0 },
    { "-f --format", "FMT", "npy; from codes wav or tess; default: by the"
      " extension", OPT_TEXT, offsetof(args, format), 0, 0 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

/* Codes of all frames so far, [frames][groups][books]. */
typedef struct tokens {
    tsr_context *ctx;
    const char *name;       /* of the input */
    uint16_t *data;
    size_t frames, room;
    int groups, books;
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
    piece = malloc(sizeof *piece * PIECE * (size_t)s->form.channels);
    rc = piece ? pull_all(t, encoder, s, piece)
               : say_error(RC_MACHINE, t->name, "out of memory");
    free(piece);
    tsr_audio_encoder_close(&encoder);
    return rc;
}

/* *damaged: parts are missing. */
static int from_media(tokens *t, tsr_model *model, const args *a, media_in *m,
                      int *damaged)
{
    tsr_audio_model_info info;
    sound_source s;
    int rc = sound_describe(t->ctx, model, &info);

    if (!rc)
        rc = sound_source_open(&s, m, info.rate, info.channels);
    if (!rc)
        rc = from_source(t, model, a, &info, &s);
    if (!rc)
        *damaged = media_in_finish(m) != RC_OK;
    return rc;
}

static int from_sound(tokens *t, const args *a, input *in, int *damaged)
{
    const media_in_want want = { .audio = 1 };
    media_in *m = NULL;
    tsr_model *model;
    int rc = engine_model(&model, t->ctx, a, TSR_KIND_AUDIO);

    if (!rc)
        rc = media_in_open(&m, t->ctx, a, in, &want);
    if (!rc)
        rc = from_media(t, model, a, m, damaged);
    media_in_close(&m);
    tsr_model_unref(&model);
    return rc;
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
    /* HEAD, docs/audio-format.md: the step of segments, channels, books,
     * channels of a group. */
    if (memcmp(r->extra + 20, "\0\0\0", 4))
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

/* *damaged: parts are missing; what is there comes without gaps. */
static int from_stream(tokens *t, const args *a, input *in, int *damaged)
{
    const tsr_source source = input_source(in);
    tsr_stream_reader *reader = NULL;
    reading r = { .head = 0 };
    int rc = a->model ? engine_open_model(&r.model, t->ctx, a->model) : RC_OK;

    if (!rc) {
        const tsr_error error = tsr_stream_reader_open(&reader, t->ctx, &source);
        rc = error ? say_failure(t->name, error) : read_stream(&r, t, reader);
        if (rc && in->fault)
            rc = input_failed(in);
    }
    *damaged = r.damaged;
    tsr_stream_reader_close(&reader);
    tsr_audio_decoder_close(&r.decoder);
    tsr_model_unref(&r.model);
    return rc;
}

/* ---- codes to an array ---- */

/* [groups][frames][books], and without the first of them if it is 1. */
static int write_array(const tokens *t, output *out)
{
    const uint64_t dims[] = { (uint64_t)t->groups, t->frames,
                              (uint64_t)t->books };
    const size_t books = (size_t)t->books, groups = (size_t)t->groups;

    array_write_head(out, "<u2", dims + (groups == 1), groups == 1 ? 2 : 3);
    for (size_t g = 0; g < groups; g++)
        for (size_t f = 0; f < t->frames; f++)
            array_write_codes(out, t->data + (f * groups + g) * books, books);
    return out->fault ? RC_USAGE : RC_OK;
}

static int to_array(tokens *t, const args *a, input *in, output *out)
{
    int damaged = 0;
    int rc = input_is_tess(in, TSR_KIND_AUDIO)
        ? from_stream(t, a, in, &damaged) : from_sound(t, a, in, &damaged);

    if (!rc)
        rc = write_array(t, out);
    if (!rc)
        say_info("%s: %zu frames of %d x %d codes", out->name, t->frames,
                 t->groups, t->books);
    if (!rc && damaged)
        return say_error(RC_INPUT, t->name, "is damaged; the codes that could"
                         " be read are in %s", out->name);
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
        rc = array_codes(&file, &codes, &n);
    if (!rc) {
        groups = file.rank == 3 ? (size_t)file.dims[0] : 1;
        frames = file.rank >= 2 ? (size_t)file.dims[file.rank - 2] : 0;
        books = file.rank >= 2 ? (size_t)file.dims[file.rank - 1] : 0;
        if (file.rank < 2 || file.rank > 3 || !n || books >
            TSR_AUDIO_MAX_BOOKS || groups > TSR_AUDIO_MAX_CHANNELS)
            rc = say_error(RC_INPUT, file.in.name, "codes are an array of"
                           " [frames][books] or [groups][frames][books]");
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

static int to_wav(tokens *t, const args *a, tsr_model *model,
                  tsr_audio_encoder *encoder, output *out)
{
    const uint8_t *data;
    size_t bytes;
    tsr_audio_decoder *decoder;
    sound_sink sink;
    tsr_error error;
    int rc = sound_sink_open(&sink, a, out, t->name);

    if (!rc) {
        tsr_audio_encoder_extradata(encoder, &data, &bytes);
        error = tsr_audio_decoder_open(&decoder, t->ctx, model, data, bytes, 0);
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

static int to_stream(tokens *t, tsr_model *model, tsr_audio_encoder *encoder,
                     output *out)
{
    const tsr_sink sink = output_sink(out);
    tsr_stream_writer *writer;
    tsr_error error = tsr_stream_writer_open(&writer, t->ctx, &sink,
                                             TSR_KIND_AUDIO);
    if (!error)
        error = write_head(encoder, model, writer);
    if (!error)
        error = tsr_audio_encoder_push_codes(encoder, t->data, t->frames);
    if (!error)
        error = tsr_audio_encoder_finish(encoder);
    if (!error)
        error = write_packets(encoder, writer);
    if (!error)
        error = tsr_stream_writer_finish(writer);
    tsr_stream_writer_close(&writer);
    return out->fault ? RC_USAGE : error ? say_failure(t->name, error) : RC_OK;
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
                         " has %d", t->books, info.books);
    own.books = t->books;
    rc = sound_settings(&settings, &own, &info, t->groups * info.channels);
    if (rc)
        return rc;
    error = tsr_audio_encoder_open(encoder, t->ctx, model, &settings);
    return error ? say_failure(tsr_model_path(model), error) : RC_OK;
}

static int from_array(tokens *t, const args *a, input *in, output *out,
                      int wav)
{
    tsr_model *model = NULL;
    tsr_audio_encoder *encoder = NULL;
    int rc = read_array(t, in);

    if (!rc)
        rc = engine_model(&model, t->ctx, a, TSR_KIND_AUDIO);
    if (!rc)
        rc = open_encoder(t, a, model, &encoder);
    if (!rc)
        rc = wav ? to_wav(t, a, model, encoder, out)
                 : to_stream(t, model, encoder, out);
    tsr_audio_encoder_close(&encoder);
    tsr_model_unref(&model);
    return rc;
}

/* ---- the command ---- */

typedef enum form { FORM_NONE, FORM_NPY, FORM_WAV, FORM_TESS } form;

static form form_named(const char *name)
{
    return !strcasecmp(name, "npy") ? FORM_NPY : !strcasecmp(name, "wav")
        ? FORM_WAV : !strcasecmp(name, "tess") ? FORM_TESS : FORM_NONE;
}

/* What to write; FORM_NONE: has said why not. */
static form output_form(const args *a, int codes)
{
    const char *dot = strrchr(a->out, '.');
    form f = codes ? FORM_WAV : FORM_NPY;

    if (a->format)
        f = form_named(a->format);
    else if (!args_is_pipe(a->out))
        f = dot ? form_named(dot + 1) : FORM_NONE;
    if (f && codes == (f != FORM_NPY))
        return f;
    say_error(RC_USAGE, a->out, "%s", codes
              ? "codes become .wav or .tess; -f says it where the name does not"
              : "codes are written as .npy; -f npy says it where the name does"
                " not");
    return FORM_NONE;
}

static int kind_of(const input *in, int *codes)
{
    *codes = in->head_size >= 6 && !memcmp(in->head, "\x93NUMPY", 6);
    if (*codes || wav_is(in) || input_is_tess(in, TSR_KIND_AUDIO) ||
        (in->head_size && memcmp(in->head, "\x89TSR", 4) && !picture_is(in)))
        return RC_OK;
    return say_error(RC_INPUT, in->name, "%s", in->head_size
                     ? "is neither sound nor .npy" : "the file is empty");
}

static int convert(const args *a, input *in, int codes)
{
    const form f = output_form(a, codes);
    tokens t = { .name = in->name };
    output out;
    int rc, rc_close;

    if (!f || (f == FORM_WAV && !sound_sample_type(a)))
        return RC_USAGE;
    rc = engine_open(&t.ctx, a);
    if (rc)
        return rc;
    rc = output_open(&out, a, in, a->out);
    if (!rc) {
        rc = codes ? from_array(&t, a, in, &out, f == FORM_WAV)
                   : to_array(&t, a, in, &out);
        rc_close = output_close(&out, !rc || (rc == RC_INPUT && out.bytes));
        rc = rc_close ? rc_close : rc;
    }
    free(t.data);
    tsr_context_close(&t.ctx);
    return rc;
}

static int run(args *a)
{
    char made[NAME_SIZE];
    input in = { 0 };
    int codes = 0, rc = command_files(a);

    if (!rc)
        rc = input_open(&in, a->in);
    if (!rc)
        rc = kind_of(&in, &codes);
    if (!rc)
        rc = command_output(a, NULL, codes ? ".wav" : ".npy", made);
    if (!rc)
        rc = convert(a, &in, codes);
    input_close(&in);
    return rc;
}

const command command_tokens = {
    .name = "tokens",
    .summary = "the codes of a sound as an array, and back",
    .synopsis = "[options] [-i] IN [[-o] OUT]",
    .takes = "wav tess npy",
    .usage =
        "  tessera tokens speech.wav                 writes speech.npy\n"
        "  tessera tokens -books 4 -i speech.wav codes.npy\n"
        "  tessera tokens speech.tess codes.npy\n"
        "  tessera tokens codes.npy speech.wav\n"
        "  tessera tokens -entropy context codes.npy speech.tess\n",
    .notes =
        "Arrays are uint16 [frames][books], of several channels coded alone\n"
        "[groups][frames][books], the coarsest book first; a code missing in a stream\n"
        "is 65535. The model is \"sound\" if none is named; of a stream it is found by\n"
        "its hash. Not for models with segments (EnCodec 48 kHz): their codes mean\n"
        "nothing without the scales beside them.\n",
    .tables = { tokens_options, sound_encode_options, sound_write_options,
                sound_cut_options, args_output_options, args_engine_options,
                args_common_options },
    .run = run
};

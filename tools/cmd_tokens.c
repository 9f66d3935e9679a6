/* SPDX-License-Identifier: BSD-2-Clause */
/* Codes of pictures and sound as arrays, for models that work on them. */
#include <stddef.h>
#include <string.h>
#include <strings.h>
#include <tessera/stream.h>
#include "tools/engine.h"
#include "tools/io/wav.h"
#include "tools/pictures.h"
#include "tools/say.h"
#include "tools/sound/sound.h"
#include "tools/tokens.h"

static const opt tokens_options[] = {
    { "-f --format", "FMT", "npy; from codes tess, wav, png, pnm, ppm, pgm or pam;"
      " default: by the extension", OPT_TEXT, offsetof(args, format), 0, 0 },
    { "-dtype", "uint16|int32", "numbers of the array; default: int32 of"
      " pictures, uint16 of sound", OPT_TEXT, offsetof(args, dtype), 0, 0 },
    { "-q -q:v --quality", "N", "pictures: of which codebook: 0, the smallest, to"
      " 100, the default, the whole one", OPT_NUMBER,
      offsetof(args, quality), 0, 100 },
    { "-s", "WxH", "pictures: scale to this size; of codes: the size that the"
      " picture has", OPT_TEXT, offsetof(args, size), 0, 0 },
    { "-part", "semantic|acoustic", "sound: only these books, of models that have"
      " both", OPT_TEXT, offsetof(args, part), 0, 0 },
    { "--find", "EXAMPLE", "print where something like this sound occurs in the"
      " files", OPT_TEXT, offsetof(args, find), 0, 0 },
    { "-threshold", "X", "--find: lowest score, 0 to 1; default 0.4", OPT_NUMBER,
      offsetof(args, threshold), 0, 1 },
    { NULL, NULL, NULL, OPT_FLAG, 0, 0, 0 }
};

int tokens_width(const args *a, int usual)
{
    if (!a->dtype)
        return usual;
    if (!strcmp(a->dtype, "uint16") || !strcmp(a->dtype, "int32"))
        return *a->dtype == 'u' ? 2 : 4;
    say_error(RC_USAGE, NULL, "-dtype %s: uint16 or int32", a->dtype);
    return 0;
}

const char *tokens_type(int bytes)
{
    return bytes == 2 ? "<u2" : "<i4";
}

/* ---- what to write ---- */

typedef enum form { FORM_NONE, FORM_NPY, FORM_WAV, FORM_TESS,
                    FORM_PICTURE } form;

static form form_named(const char *name)
{
    char ending[32];
    snprintf(ending, sizeof ending, ".%s", name);
    return !strcasecmp(name, "npy") ? FORM_NPY : !strcasecmp(name, "wav")
        ? FORM_WAV : !strcasecmp(name, "tess") ? FORM_TESS
        : picture_named(ending) ? FORM_PICTURE : FORM_NONE;
}

/* What the command line asks for, by -f or the name of the output; FORM_NONE:
 * neither says anything known. */
static form form_asked(const tokens_job *j, form usual)
{
    const char *name = batch_named(&j->batch);
    const char *dot = name ? strrchr(name, '.') : NULL;
    if (j->a->format)
        return form_named(j->a->format);
    if (!name || args_is_pipe(name))
        return usual;
    return dot ? form_named(dot + 1) : FORM_NONE;
}

/* ---- one file ---- */

/* Options that would do nothing are a mistake. */
static int check_options(const tokens_job *j, int kind)
{
    const args *a = j->a;
    if (kind == TSR_KIND_AUDIO && (a->quality >= 0 || a->size || a->interleave ||
                                   a->container))
        return say_error(RC_USAGE, j->in->name, "is sound, and an option for"
                         " pictures was given");
    if (kind == TSR_KIND_IMAGE && (a->bitrate > 0 || a->books || a->channels ||
                                   a->entropy || a->packet > 0 || a->live ||
                                   a->droppable || a->window >= 0 || a->rate ||
                                   a->search >= 0 || a->sample_format ||
                                   a->part))
        return say_error(RC_USAGE, j->in->name, "is a picture, and an option for"
                         " sound was given");
    return RC_OK;
}

/* The model of a kind, unless it is open already.  That it is not there, or not
 * for this, would be so for the other files, too. */
static int open_model(tokens_job *j, int kind)
{
    args own = *j->a;
    tsr_tokens_model about;
    int rc;

    if (j->model && j->kind == kind)
        return RC_OK;
    tsr_model_unref(&j->model);
    if (kind == TSR_KIND_IMAGE && !own.model && !own.codec)
        own.model = "mosaic";
    rc = engine_model(&j->model, j->ctx, &own, kind);
    if (!rc && kind == TSR_KIND_IMAGE &&
        !pictures_tokens(j->ctx, j->model, &about))
        rc = say_error(RC_MODEL, tsr_model_path(j->model), "is a model of codec"
                       " '%s', which has no codes in one grid",
                       tsr_model_codec(j->model));
    j->batch.stop = rc != RC_OK;
    j->kind = kind;
    return rc;
}

/* Opens the output and does the work; what a damaged input still gave is
 * kept. */
static int with_output(tokens_job *j, const char *ending,
                       int (*work)(tokens_job *j))
{
    output out;
    const char *name;
    int rc = batch_output(&j->batch, ending, j->in, &out);

    if (rc)
        return rc;
    name = out.name;
    j->out = &out;
    rc = work(j);
    rc = batch_finish(&j->batch, &out, rc, !rc);
    if (!rc && j->damaged)
        return say_error(RC_INPUT, j->in->name, "is damaged; the codes that"
                         " could be read are in %s", name);
    return rc;
}

static int to_array(tokens_job *j, int kind, int (*work)(tokens_job *j))
{
    const int rc = check_options(j, kind);
    if (rc || !tokens_width(j->a, 2))
        return rc ? rc : RC_USAGE;
    return with_output(j, ".npy", work);
}

static int check_npy(const tokens_job *j)
{
    if (form_asked(j, FORM_NPY) == FORM_NPY)
        return RC_OK;
    return say_error(RC_USAGE, batch_named(&j->batch), "codes are written as"
                     " .npy; -f npy says it where the name does not");
}

/* A picture or a sound; of a film only the sound, which then is read alone. */
static int open_media(tokens_job *j, int *kind)
{
    media_in_want want = { .video = 1, .audio = 1 };
    const media_in_info *about;
    int rc = media_in_open(&j->media, j->ctx, j->a, j->in, &want);

    if (rc)
        return rc;
    about = media_in_about(j->media);
    *kind = about->still && !about->audio ? TSR_KIND_IMAGE : TSR_KIND_AUDIO;
    if (!about->audio && !about->still)
        return say_error(RC_INPUT, j->in->name, "is a video without sound; codes"
                         " are those of pictures and sound");
    if (!about->video || !about->audio || !input_seekable(j->in))
        return RC_OK;
    media_in_close(&j->media);
    want.video = 0;
    rc = input_rewind(j->in);
    return rc ? rc : media_in_open(&j->media, j->ctx, j->a, j->in, &want);
}

static int from_media(tokens_job *j)
{
    int kind, rc = check_npy(j);

    if (!rc)
        rc = open_media(j, &kind);
    if (!rc)
        rc = open_model(j, kind);
    if (!rc)
        rc = to_array(j, kind, kind == TSR_KIND_IMAGE ? tokens_picture_take
                                                      : tokens_sound_take);
    media_in_close(&j->media);
    return rc;
}

static int from_picture_stream(tokens_job *j)
{
    tsr_image_info info;
    int rc = check_npy(j);

    if (!rc)
        rc = pictures_probe(j->ctx, j->a, j->in, &info, &j->model);
    if (!rc && info.token_level < 0)
        rc = say_error(RC_INPUT, j->in->name, "is of codec %s, which has no"
                       " codes in one grid", info.codec);
    j->kind = TSR_KIND_IMAGE;
    return rc ? rc : to_array(j, TSR_KIND_IMAGE, tokens_picture_read);
}

static int from_sound_stream(tokens_job *j)
{
    int rc = check_npy(j);
    if (!rc && j->a->model)
        rc = open_model(j, TSR_KIND_AUDIO);
    return rc ? rc : to_array(j, TSR_KIND_AUDIO, tokens_sound_read);
}

/* Codes of which only the command line tells what they are of. */
static int array_kind(const tokens_job *j)
{
    const form f = form_asked(j, FORM_NONE);
    const int kind = j->a->model ? engine_kind(j->ctx, j->a->model) : -1;
    return kind >= 0 ? kind
        : f == FORM_PICTURE ? TSR_KIND_IMAGE : TSR_KIND_AUDIO;
}

static int from_array(tokens_job *j)
{
    const int kind = array_kind(j), picture = kind == TSR_KIND_IMAGE;
    const form f = form_asked(j, picture ? FORM_PICTURE : FORM_WAV);
    char ending[32];
    int rc = check_options(j, kind);

    if (rc)
        return rc;
    if (f != FORM_TESS && f != (picture ? FORM_PICTURE : FORM_WAV))
        return say_error(RC_USAGE, batch_named(&j->batch), "%s", picture
                         ? "codes of a picture become .png (.pnm .ppm .pgm .pam)"
                           " or .tess; -f says it where the name does not"
                         : "codes of sound become .wav or .tess; -f says it"
                           " where the name does not");
    if (f == FORM_WAV && !sound_sample_type(j->a))
        return RC_USAGE;
    if (f == FORM_PICTURE)
        j->format = picture_writer(j->a->format, batch_named(&j->batch)
                                   ? batch_named(&j->batch) : "-");
    rc = open_model(j, kind);
    if (rc)
        return rc;
    snprintf(ending, sizeof ending, ".%s", j->a->format ? j->a->format
             : picture ? "png" : "wav");
    return with_output(j, ending, picture
                       ? f == FORM_TESS ? tokens_picture_write
                                        : tokens_picture_show
                       : f == FORM_TESS ? tokens_sound_write
                                        : tokens_sound_play);
}

static int from_any(tokens_job *j)
{
    const input *in = j->in;
    if (!in->head_size)
        return say_error(RC_INPUT, in->name, "the file is empty");
    if (in->head_size >= 6 && !memcmp(in->head, "\x93NUMPY", 6))
        return from_array(j);
    if (input_is_tess(in, TSR_KIND_AUDIO))
        return from_sound_stream(j);
    if (input_is_tess(in, TSR_KIND_IMAGE) || !memcmp(in->head, "\xc7T", 2))
        return from_picture_stream(j);
    if (!memcmp(in->head, "\x89TSR", 4) && in->head_size < 16)
        return say_error(RC_INPUT, in->name, "the file header is cut");
    if (!memcmp(in->head, "\x89TSR", 4))
        return say_error(RC_INPUT, in->name, "is a .tess file of several streams"
                         "; 'tessera remux -map 0:a' takes out its sound");
    return from_media(j);
}

static int one_file(void *cookie, args *a)
{
    tokens_job *j = cookie;
    input in;
    int rc = input_open(&in, a->in);

    j->a = a;
    j->in = &in;
    j->damaged = 0;
    if (!rc)
        rc = from_any(j);
    input_close(&in);
    return rc;
}

static int run(args *a)
{
    tokens_job j = { .ctx = NULL };
    int rc;

    if (a->find)
        return tokens_find(a);
    rc = batch_open(&j.batch, a);
    if (!rc)
        rc = engine_open(&j.ctx, a);
    if (!rc)
        rc = batch_run(&j.batch, one_file, &j);
    batch_close(&j.batch);
    tsr_model_unref(&j.model);
    tsr_context_close(&j.ctx);
    return rc;
}

const command command_tokens = {
    .name = "tokens",
    .summary = "the codes of pictures and sound as arrays, and back",
    .synopsis = "[options] [-i] IN ... [[-o] OUT]",
    .takes = "png ppm pgm jpg wav tess npy",
    .usage =
        "  tessera tokens photo.png                  writes photo.npy\n"
        "  tessera tokens -q 40 -i photo.png codes.npy\n"
        "  tessera tokens -o codes/ *.jpg            a folder of arrays\n"
        "  tessera tokens -s 768x512 codes.npy photo.png\n"
        "  tessera tokens photo.tess codes.npy       runs no networks\n"
        "  tessera tokens -m mosaic codes.npy photo.tess\n"
        "  tessera tokens -books 4 -i speech.wav codes.npy\n"
        "  tessera tokens codes.npy speech.wav\n"
        "  tessera tokens -entropy context codes.npy speech.tess\n"
        "  tessera tokens -m semantic -part semantic speech.wav said.npy\n"
        "  tessera tokens --find word.wav recordings/*.tess\n",
    .notes =
        "Pictures: int32 [height][width], one code for each 16 x 16 (or 8 x 8) pixels;\n"
        "at the right and bottom the picture is continued by reflection; alpha is left\n"
        "out; a code missing in a damaged stream is -1. The model is \"mosaic\" if none\n"
        "is named. Codes do not say of what picture they are: going back, -m and -q\n"
        "must be as they were, and -s is the picture's size, else it is that of all\n"
        "codes.\n"
        "\n"
        "Sound: uint16 [frames][books], of several channels coded alone\n"
        "[groups][frames][books], the coarsest book first; a code missing in a stream\n"
        "is 65535. The model is \"sound\" if none is named. Not for models with\n"
        "segments (EnCodec 48 kHz): their codes mean nothing without the scales beside\n"
        "them.\n"
        "\n"
        "--find looks for an example (sound, or a stream) in streams and in sound, by the\n"
        "codes of the first book alone, without decoding: a line a place, of the file,\n"
        "where it begins and ends in seconds, and the score, 1 for the same codes. The\n"
        "model is \"semantic\" if none is named, whose first book tells what is said;\n"
        "streams must be of the same model. Damaged parts are left out, which moves\n"
        "what comes after them.\n"
        "\n"
        "The model of a stream is found by its hash. Arrays of any type of whole\n"
        "numbers are read; codes that become .tess are those of sound, unless -m names\n"
        "a model of pictures.\n"
        "\n"
        "Many inputs go into a folder. One that fails does not stop the others, and the\n"
        "exit status is the highest of all; -n leaves out those that are there.\n",
    .tables = { batch_options, tokens_options, pictures_options,
                sound_encode_options, sound_write_options, sound_cut_options,
                args_output_options, args_engine_options, args_common_options },
    .run = run
};

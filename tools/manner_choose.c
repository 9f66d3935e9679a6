/* SPDX-License-Identifier: BSD-2-Clause */
/* Which command a line in ffmpeg's manner means, by what the input is and what
 * the output is called. */
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <tessera/audio.h>
#include <tessera/image.h>
#include <tessera/stream.h>
#include <tessera/video.h>
#include "tools/commands.h"
#include "tools/help.h"
#include "tools/input.h"
#include "tools/manner_impl.h"
#include "tools/media/packets.h"
#include "tools/say.h"

/* What the input is. */
typedef enum origin { FOREIGN, PICTURE, SOUND, FRAMES, UNKNOWN } origin;

static int look(const line *l, origin *what)
{
    input in;
    int rc;

    *what = UNKNOWN;
    if (args_is_pipe(l->in))
        return RC_OK;
    rc = input_open(&in, l->in);
    if (rc)
        return rc;
    *what = input_is_tess(&in, TSR_KIND_IMAGE) ||
            (in.head_size > 1 && !memcmp(in.head, "\xc7T", 2)) ? PICTURE
        : input_is_tess(&in, TSR_KIND_AUDIO) ? SOUND
        : packets_in_ours(&in) ? FRAMES : FOREIGN;
    input_close(&in);
    return RC_OK;
}

static int is_ours(const char *codec)
{
    const char *id;
    if (!strcmp(codec, "tessera") || !strcmp(codec, "libtessera"))
        return 1;
    for (int i = 0; (id = tsr_image_codec_at(i)); i++)
        if (!strcmp(id, codec))
            return 1;
    for (int i = 0; (id = tsr_audio_codec_at(i)); i++)
        if (!strcmp(id, codec))
            return 1;
    return 0;
}

static int is_copy(const char *codec)
{
    return codec && !strcmp(codec, "copy");
}

/* A codec that somebody else has to run, NULL: none is named. */
static const char *alien(const line *l)
{
    for (int i = VIDEO; i <= AUDIO; i++)
        if (l->codec[i] && !l->none[i] && !is_ours(l->codec[i]))
            return l->codec[i];
    return NULL;
}

/* The words of a command's line. */
static int add_all(words *to, const words *from)
{
    int rc = RC_OK;
    for (int i = 0; i < from->n && !rc; i++)
        rc = words_add(to, from->word[i]);
    return rc;
}

static int add_two(words *to, const char *option, const char *value)
{
    const int rc = words_add(to, option);
    return rc ? rc : words_add(to, value);
}

static int add_streams(words *to, const line *l)
{
    static const char *const none[] = { "-vn", "-an" };
    int rc = RC_OK;
    for (int i = VIDEO; i <= AUDIO && !rc; i++)
        if (l->none[i])
            rc = words_add(to, none[i]);
    return rc;
}

/* Codecs, but for "tessera", which is whatever the model is of, and "copy". */
static int add_codecs(words *to, const line *l)
{
    static const char *const names[] = { "-c:v", "-c:a" };
    int rc = RC_OK;
    for (int i = VIDEO; i <= AUDIO && !rc; i++)
        if (l->codec[i] && !l->none[i] && !is_copy(l->codec[i]) &&
            strcmp(l->codec[i], "tessera") &&
            strcmp(l->codec[i], "libtessera"))
            rc = add_two(to, names[i], l->codec[i]);
    return rc;
}

static int add_times(words *to, const line *l)
{
    const int rc = *l->start ? add_two(to, "-ss", l->start) : RC_OK;
    return rc || !*l->end ? rc : add_two(to, "-to", l->end);
}

static int run_words(const command *cmd, words *w)
{
    args a;
    const int rc = args_parse(&a, cmd, w->n, w->word);
    if (rc || !a.help)
        return rc ? rc : cmd->run(&a);
    help_command(cmd);
    return RC_OK;
}

/* Everything that the line says, to one command. */
static int run_command(const command *cmd, const line *l)
{
    words w = { .n = 0 };
    int rc = RC_OK;

    if (cmd != &command_encode && l->raw)
        return say_error(RC_USAGE, l->in, "%s in front of -i is for raw video,"
                         " and this is coded", l->raw);
    if (cmd == &command_encode && l->in_format)
        rc = add_two(&w, "-f", l->in_format);
    rc = rc ? rc : add_all(&w, &l->words[BEFORE]);
    rc = rc ? rc : add_times(&w, l);
    rc = rc ? rc : add_two(&w, "-i", l->in);
    rc = rc ? rc : add_codecs(&w, l);
    rc = rc ? rc : add_streams(&w, l);
    rc = rc ? rc : add_all(&w, &l->words[AFTER]);
    rc = rc ? rc : add_two(&w, "-o", l->out);
    return rc ? rc : run_words(cmd, &w);
}

/* ---- from Tessera to Tessera ---- */

/* What the decoder of a pair and what both are told, wherever it stands. */
static const command shared = { .tables = { args_engine_options,
                                            args_common_options } };
static const command everywhere = { .tables = { args_output_options,
                                                args_engine_options,
                                                args_common_options } };

/* The options of `from` that are in the tables of `which`; a model only if it is
 * this side's own. */
static int add_some(words *to, const words *from, const command *which,
                    int own)
{
    int rc = RC_OK;
    for (int i = 0; i < from->n && !rc; i++) {
        const char *word = from->word[i] + 1 + (from->word[i][1] == '-');
        const opt *o = args_find(which, word);
        const opt *any = o ? o : args_find(&command_encode, word);
        const int two = any && any->value;
        if (o && (own || o->offset != offsetof(args, model)))
            rc = two ? add_two(to, from->word[i], from->word[i + 1])
                     : words_add(to, from->word[i]);
        i += two;
    }
    return rc;
}

/* Raw pixels that hold what the frames are. */
static const char *form_of(tsr_context *ctx, const packets_in *p)
{
    static const char *const forms[2][4] = {
        { "gray", "rgba", "rgb24", "rgba" },
        { "gray16le", "rgba64le", "rgb48le", "rgba64le" }
    };
    for (int i = 0; i < packets_in_streams(p); i++) {
        const tsr_media_stream *s = packets_in_stream(p, i);
        tsr_video_info v;
        if (s->type == TSR_MEDIA_VIDEO &&
            !tsr_video_describe(ctx, s->extradata, s->extradata_bytes,
                                &v))
            return forms[v.bits == 16][v.channels - 1];
    }
    return forms[0][2];
}

/* Where the input has no frames, or is damaged, nothing depends on it. */
static const char *frames_form(const line *l)
{
    const char *form = "rgb24";
    tsr_context *ctx = NULL;
    packets_in *p = NULL;
    input in;

    if (input_open(&in, l->in))
        return form;
    if (!tsr_context_open(&ctx, NULL) && !packets_in_open(&p, ctx, &in))
        form = form_of(ctx, p);
    packets_in_close(&p);
    tsr_context_close(&ctx);
    input_close(&in);
    return form;
}

/* The child's part: decodes to standard output, without loss. */
static int decode_to_pipe(const line *l, origin what)
{
    const char *const forms[][9] = {
        [PICTURE] = { "-f", "pam" },
        [SOUND] = { "-f", "wav", "-sample_fmt", "flt" },
        [FRAMES] = { "-f", "nut", "-c:v", "rawvideo", "-c:a", "pcm_f32le",
                     "-pix_fmt", what == FRAMES ? frames_form(l) : NULL },
    };
    words w = { .n = 0 };
    int rc = add_some(&w, &l->words[BEFORE], &shared, 1);

    rc = rc ? rc : add_some(&w, &l->words[AFTER], &shared, 0);
    rc = rc ? rc : words_add(&w, "-nostats");
    rc = rc ? rc : add_two(&w, "-i", l->in);
    rc = rc ? rc : add_streams(&w, l);
    for (int i = 0; forms[what][i] && !rc; i++)
        rc = words_add(&w, forms[what][i]);
    rc = rc ? rc : add_times(&w, l);
    rc = rc ? rc : words_add(&w, "-");
    return rc ? rc : run_words(&command_decode, &w);
}

static int encode_from_pipe(const line *l)
{
    words w = { .n = 0 };
    int rc = add_some(&w, &l->words[BEFORE], &everywhere, 0);

    rc = rc ? rc : add_two(&w, "-i", "-");
    rc = rc ? rc : add_codecs(&w, l);
    rc = rc ? rc : add_all(&w, &l->words[AFTER]);
    rc = rc ? rc : add_two(&w, "-o", l->out);
    return rc ? rc : run_words(&command_encode, &w);
}

/* Whether the writer of a pipe ended without a word: it has said why. */
static int is_silent(int end)
{
    struct pollfd wait = { .fd = end, .events = POLLIN };
    int n = 0;
    return poll(&wait, 1, -1) > 0 && !ioctl(end, FIONREAD, &n) && !n;
}

/* Two processes with a pipe between them, as a shell would start them. */
static int transcode(const line *l, origin what)
{
    int ends[2], status = 0, rc;
    pid_t child;

    if (pipe(ends) || (child = fork()) < 0)
        return say_error(RC_MACHINE, NULL, "no pipe or no process more");
    if (!child) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        rc = decode_to_pipe(l, what);
        say_rest();
        exit(fflush(stdout) && !rc ? RC_USAGE : rc);
    }
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    close(ends[1]);
    rc = is_silent(STDIN_FILENO) ? RC_OK : encode_from_pipe(l);
    /* What failed here is no fault of the decoder's, whose pipe breaks. */
    if (rc)
        kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return rc ? rc : WIFEXITED(status) ? WEXITSTATUS(status) : RC_SIGNAL;
}

/* ---- the choice ---- */

static int copy(const line *l, origin what)
{
    for (int i = VIDEO; i <= AUDIO; i++) {
        if (l->none[i] || is_copy(l->codec[i]))
            continue;
        if (!l->codec[i] && what == SOUND)
            continue;
        return say_error(RC_USAGE, l->in, "one stream copied, another coded:"
                         " code it first, then 'ffmpeg -i A -i B -map 0:v -map"
                         " 1:a -c copy OUT.mov' puts them together");
    }
    if (what == FOREIGN)
        return say_error(RC_USAGE, l->in, "holds nothing of Tessera's; 'ffmpeg"
                         " -i %s -c copy %s' copies it", l->in, l->out);
    if (what == PICTURE)
        return say_error(RC_USAGE, l->in, "is one picture, not a stream; cp"
                         " copies it");
    return run_command(&command_remux, l);
}

static int from_ours(const line *l, origin what, const char *to)
{
    if (!to && l->codec[VIDEO] && !alien(l))
        return say_error(RC_USAGE, l->out, "codec %s goes into .tess, .mov and"
                         " .nut", l->codec[VIDEO]);
    if (!to || alien(l))
        return run_command(&command_decode, l);
    if (strcmp(to, "tess") && !l->codec[VIDEO] && !l->codec[AUDIO])
        return say_error(RC_USAGE, l->out, "-c copy keeps the packets as they"
                         " are, -c tessera codes them anew, 'tessera decode %s"
                         " %s' decodes them", l->in, l->out);
    return transcode(l, what);
}

static int from_foreign(const line *l, const char *to)
{
    if (!to)
        return say_error(RC_USAGE, NULL, "neither %s nor %s is Tessera's:"
                         " 'ffmpeg -i %s %s'", l->in, l->out, l->in, l->out);
    if (alien(l))
        return say_error(RC_USAGE, NULL, "codec %s is ffmpeg's: 'ffmpeg -i %s"
                         " -c %s %s'; here it is -c copy or -c tessera",
                         alien(l), l->in, alien(l), l->out);
    return run_command(&command_encode, l);
}

int manner_choose(line *l)
{
    const args named = { .format = l->out_format };
    const int piped = args_is_pipe(l->out) && !l->out_format;
    const char *to = piped ? NULL : packets_format(&named, l->out);
    origin what;
    const int rc = look(l, &what);

    if (rc)
        return rc;
    if (is_copy(l->codec[VIDEO]) || is_copy(l->codec[AUDIO]))
        return copy(l, what);
    /* Of a pipe only the output tells what it must be. */
    if (what == UNKNOWN)
        what = !to && !piped ? FRAMES
            : l->in_format && !strcmp(l->in_format, "tess") ? FRAMES : FOREIGN;
    if (what == FOREIGN)
        return from_foreign(l, piped ? "tess" : to);
    if (to && args_is_pipe(l->in))
        return say_error(RC_USAGE, NULL, "a pipe cannot be coded anew: 'tessera"
                         " decode' it into 'tessera encode'");
    return from_ours(l, what, to);
}

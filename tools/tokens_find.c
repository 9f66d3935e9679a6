/* SPDX-License-Identifier: BSD-2-Clause */
/* Where something like an example is said, by codes alone. */
#include <stdio.h>
#include <stdlib.h>
#include <tessera/find.h>
#include <tessera/stream.h>
#include "tools/engine.h"
#include "tools/say.h"
#include "tools/sound/sound.h"
#include "tools/tokens.h"

typedef struct search {
    tokens_job j;
    args a;                 /* one book, and the model's name */
    double step;            /* seconds of a code */
    float threshold;
    tsr_finder *finder;
} search;

static int media_codes(tokens_job *j, tokens_codes *codes)
{
    const media_in_want want = { .audio = 1 };
    int rc = media_in_open(&j->media, j->ctx, j->a, j->in, &want);

    if (!rc && !media_in_about(j->media)->audio)
        rc = say_error(RC_INPUT, j->in->name, "has no sound");
    if (!rc)
        rc = tokens_sound_codes(j, codes);
    media_in_close(&j->media);
    return rc;
}

/* The codes of a file, encoded if it is no stream. */
static int file_codes(search *s, const char *name, tokens_codes *codes)
{
    input in;
    int rc = input_open(&in, name);

    *codes = (tokens_codes){ 0 };
    s->j.in = &in;
    s->j.media = NULL;
    s->j.damaged = 0;
    if (!rc && !in.head_size)
        rc = say_error(RC_INPUT, in.name, "the file is empty");
    if (!rc)
        rc = input_is_tess(&in, TSR_KIND_AUDIO)
            ? tokens_sound_codes(&s->j, codes) : media_codes(&s->j, codes);
    if (!rc && s->j.damaged)
        rc = say_error(RC_INPUT, in.name, "is damaged; what could be read was"
                       " used");
    input_close(&in);
    return rc;
}

/* ---- the example ---- */

static int open_finder(search *s, const char *name)
{
    tokens_codes c;
    uint16_t *first;
    tsr_error error;
    int rc = file_codes(s, name, &c);

    if (rc) {
        free(c.codes);
        return rc;
    }
    first = malloc((c.frames ? c.frames : 1) * sizeof *first);
    for (size_t f = 0; first && f < c.frames; f++)
        first[f] = c.codes[f * (size_t)(c.groups * c.books)];
    if (!first)
        rc = say_error(RC_MACHINE, NULL, "out of memory");
    else if (c.frames < 2 || c.frames > TSR_FIND_MAX_EXAMPLE)
        rc = say_error(RC_INPUT, name, "is %zu codes long; an example has 2 to"
                       " %d", c.frames, TSR_FIND_MAX_EXAMPLE);
    else if ((error = tsr_finder_open(&s->finder, s->j.ctx, s->j.model, first,
                                      c.frames)))
        rc = say_failure(name, error);
    free(first);
    free(c.codes);
    return rc;
}

/* ---- the files ---- */

static void print(const search *s, const char *name, const tsr_found *found)
{
    printf("%s\t%.2f\t%.2f\t%.3f\n", name, (double)found->first * s->step,
           (double)(found->last + 1) * s->step, (double)found->score);
}

static int search_file(search *s, const char *name)
{
    tokens_codes c;
    tsr_found found;
    const int rc = file_codes(s, name, &c);
    const size_t width = (size_t)(c.groups * c.books);

    for (int g = 0; g < c.groups; g++) {
        const uint16_t *code = c.codes + (size_t)g * (size_t)c.books;
        tsr_finder_reset(s->finder);
        for (size_t f = 0; f < c.frames; f++)
            if (tsr_finder_push(s->finder, code[f * width], s->threshold,
                                &found))
                print(s, name, &found);
        if (tsr_finder_finish(s->finder, &found))
            print(s, name, &found);
    }
    free(c.codes);
    return rc;
}

static int search_files(search *s, const args *a)
{
    int worst = RC_OK;

    for (int i = 0; i < a->inputs.n + a->files; i++) {
        const char *name = i < a->inputs.n ? a->inputs.item[i]
                                           : a->file[i - a->inputs.n];
        const int rc = search_file(s, name);
        worst = rc > worst ? rc : worst;
    }
    if (fflush(stdout) && !worst)
        worst = say_error(RC_USAGE, NULL, "standard output cannot be written");
    return worst;
}

static int open_search(search *s, const args *a)
{
    tsr_audio_model_info info;
    int rc;

    s->a = *a;
    s->j.a = &s->a;
    s->a.part = NULL;
    s->a.books = 1;
    if (!a->model && !a->codec && !a->codec_a)
        s->a.model = "semantic";
    s->threshold = a->threshold > 0 ? (float)a->threshold : 0.4f;
    rc = engine_open(&s->j.ctx, a);
    if (!rc)
        rc = engine_model(&s->j.model, s->j.ctx, &s->a, TSR_KIND_AUDIO);
    if (!rc)
        rc = sound_describe(s->j.ctx, s->j.model, &info);
    if (rc)
        return rc;
    s->a.model = tsr_model_path(s->j.model);
    s->step = (double)info.hop / info.rate;
    return RC_OK;
}

int tokens_find(args *a)
{
    search s = { .finder = NULL };
    int rc = RC_OK;

    if (a->out || a->part)
        rc = say_error(RC_USAGE, NULL, "--find prints places; -o and -part are for"
                       " codes");
    else if (!(a->inputs.n + a->files))
        rc = say_error(RC_USAGE, NULL, "no file to look into");
    if (!rc)
        rc = open_search(&s, a);
    if (!rc)
        rc = open_finder(&s, a->find);
    if (!rc)
        rc = search_files(&s, a);
    tsr_finder_close(&s.finder);
    tsr_model_unref(&s.j.model);
    tsr_context_close(&s.j.ctx);
    return rc;
}

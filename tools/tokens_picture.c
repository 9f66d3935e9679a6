/* SPDX-License-Identifier: BSD-2-Clause */
/* Codes of pictures: arrays [height][width]. */
#include <stdlib.h>
#include "tools/io/array.h"
#include "tools/media/reader.h"
#include "tools/pictures.h"
#include "tools/say.h"
#include "tools/tokens.h"

enum { TOKEN_LOST = -1 };

/* All codes of the codebook, not as few as encode takes. */
static const double usual_quality = 100;

/* ---- to an array ---- */

static int check_width(const tsr_tokens *t, int bytes)
{
    if (bytes == 4 || t->codes <= 65536)
        return RC_OK;
    return say_error(RC_USAGE, NULL, "-dtype uint16 holds 65536 codes, and there"
                     " are %d", t->codes);
}

static int write_array(const tsr_tokens *t, const tokens_job *j)
{
    const uint64_t dims[] = { (uint64_t)t->height, (uint64_t)t->width };
    const int bytes = tokens_width(j->a, 4);
    const int rc = check_width(t, bytes);

    if (rc)
        return rc;
    array_write_head(j->out, tokens_type(bytes), dims, 2);
    array_write_codes(j->out, bytes, t->id,
                      (size_t)t->height * (size_t)t->width);
    if (j->out->fault)
        return RC_USAGE;
    say_info("%s: %d x %d codes of %d", j->out->name, t->width, t->height,
             t->codes);
    return RC_OK;
}

int tokens_picture_take(tokens_job *j)
{
    tsr_image_settings s;
    media_in_item item;
    tsr_tokens t = { .id = NULL };
    tsr_error error;
    int end, rc = pictures_settings(&s, j->ctx, j->a, j->model, usual_quality);

    s.progress = progress_hook(&j->batch.progress);
    if (!rc)
        rc = media_in_next(j->media, &item, &end);
    if (rc)
        return rc;
    error = tsr_tokens_from_image(j->ctx, j->model, &s, &item.image, &t);
    rc = error ? say_failure(say_rc(error) == RC_MODEL
                             ? tsr_model_path(j->model) : j->in->name, error)
               : write_array(&t, j);
    tsr_tokens_free(j->ctx, &t);
    if (!rc)
        j->damaged = media_in_finish(j->media) != RC_OK;
    return rc;
}

int tokens_picture_read(tokens_job *j)
{
    const tsr_source source = input_source(j->in);
    tsr_tokens t = { .id = NULL };
    int width, height, rc;
    const tsr_error error = tsr_tokens_read(j->ctx, j->model, &source, &t,
                                            &width, &height);

    if (t.id)
        rc = write_array(&t, j);
    else
        rc = j->in->fault ? input_failed(j->in)
                          : say_failure(j->in->name, error);
    if (t.id && error) {
        say_take_detail();
        j->damaged = 1;
    }
    tsr_tokens_free(j->ctx, &t);
    return rc;
}

/* ---- and back ---- */

/* Codes of an array, for a model. */
typedef struct codes {
    tsr_tokens_model model;
    tsr_tokens t;           /* its ids are ours */
    int width, height;      /* of the picture */
} codes;

/* The library says it of a level, and knows no -q. */
static int check_codes(const codes *c, const input *in)
{
    const size_t n = (size_t)c->t.width * (size_t)c->t.height;
    for (size_t i = 0; i < n; i++)
        if (c->t.id[i] >= c->t.codes)
            return say_error(RC_INPUT, in->name, "code %d at [%zu][%zu]: -q means"
                             " a level of %d codes; give the -q that made them",
                             (int)c->t.id[i], i / (size_t)c->t.width,
                             i % (size_t)c->t.width, c->t.codes);
    return RC_OK;
}

/* -s, or all that the codes are about. */
static int take_size(codes *c, const args *a, const input *in)
{
    const int w = c->t.width * c->t.factor, h = c->t.height * c->t.factor;
    c->width = w;
    c->height = h;
    if (!a->size)
        return RC_OK;
    if (media_size(a->size, &c->width, &c->height))
        return RC_USAGE;
    if (c->width <= w && c->width > w - c->t.factor && c->height <= h &&
        c->height > h - c->t.factor)
        return RC_OK;
    return say_error(RC_USAGE, in->name, "-s %s: %d x %d codes are for pictures"
                     " of %dx%d to %dx%d", a->size, c->t.width, c->t.height,
                     w - c->t.factor + 1, h - c->t.factor + 1, w, h);
}

static int take_array(codes *c, const args *a, const array *file)
{
    const uint64_t most = (uint64_t)(INT32_MAX / c->model.factor);
    size_t n;

    if (file->rank != 2 || !file->count || file->dims[0] > most ||
        file->dims[1] > most)
        return say_error(RC_INPUT, file->in.name, "codes of a picture are an"
                         " array of [height][width]");
    c->t.height = (int)file->dims[0];
    c->t.width = (int)file->dims[1];
    c->t.factor = c->model.factor;
    c->t.level = tsr_tokens_level(&c->model, a->quality < 0 ? usual_quality
                                                            : a->quality);
    c->t.codes = c->model.codes[c->t.level];
    return array_codes(file, TOKEN_LOST, &c->t.id, &n);
}

static int open_codes(codes *c, const tokens_job *j)
{
    array file;
    const tsr_error error = tsr_tokens_describe(j->ctx, j->model, &c->model);
    int rc;

    if (error)
        return say_failure(tsr_model_path(j->model), error);
    rc = array_take(&file, j->in);
    if (!rc)
        rc = take_array(c, j->a, &file);
    if (!rc)
        rc = check_codes(c, &file.in);
    if (!rc)
        rc = take_size(c, j->a, &file.in);
    array_close(&file);
    return rc;
}

static int write_stream(const tokens_job *j, const codes *c)
{
    const tsr_sink sink = output_sink(j->out);
    tsr_image_settings s;
    tsr_error error;
    const int rc = pictures_settings(&s, j->ctx, j->a, j->model,
                                     usual_quality);

    if (rc)
        return rc;
    error = tsr_tokens_write(j->ctx, j->model, &s, &c->t, c->width, c->height,
                             &sink);
    if (j->out->fault)
        return RC_USAGE;
    /* A lost code, which no stream can hold. */
    if (error == TSR_E_ARG)
        return say_failure_as(RC_INPUT, j->in->name, error);
    return error ? say_failure(j->in->name, error) : RC_OK;
}

int tokens_picture_write(tokens_job *j)
{
    codes c = { .width = 0 };
    int rc = open_codes(&c, j);
    if (!rc)
        rc = write_stream(j, &c);
    free(c.t.id);
    return rc;
}

static int write_picture(tokens_job *j, const codes *c)
{
    const tsr_progress hook = progress_hook(&j->batch.progress);
    tsr_image image = { .width = c->width, .height = c->height };
    const tsr_error error = tsr_tokens_to_image(j->ctx, j->model, &hook, &c->t,
                                                &image);
    const int rc = error ? say_failure(j->in->name, error)
                         : picture_write(j->format, j->out, &image);
    tsr_image_free(j->ctx, &image);
    return rc;
}

int tokens_picture_show(tokens_job *j)
{
    codes c = { .width = 0 };
    int rc = open_codes(&c, j);
    if (!rc)
        rc = write_picture(j, &c);
    free(c.t.id);
    return rc;
}

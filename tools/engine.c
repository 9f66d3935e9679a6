/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include <tessera/audio.h>
#include <tessera/image.h>
#include <tessera/stream.h>
#include "tools/engine.h"
#include "tools/say.h"

static int set_cpu(const char *set)
{
    static const struct { const char *name; unsigned flags; } sets[] = {
        { "0", 0 },
        { "avx2", TSR_CPU_AVX2 },
        { "avx512", TSR_CPU_AVX2 | TSR_CPU_AVX512 },
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        if (!strcmp(set, sets[i].name)) {
            tsr_cpu_set_mask(sets[i].flags);
            return RC_OK;
        }
    }
    return say_error(RC_USAGE, NULL, "unknown -cpuflags '%s' (0, avx2, avx512)",
                     set);
}

static int set_precision(tsr_context_settings *s, const args *a)
{
    static const struct { const char *name; int precision; } all[] = {
        { "auto", TSR_PRECISION_AUTO }, { "fp32", TSR_PRECISION_F32 },
        { "fp16", TSR_PRECISION_F16 }, { "bf16", TSR_PRECISION_BF16 },
    };

    if (!a->device || !strcmp(a->device, "cpu"))
        return say_error(RC_USAGE, NULL, "-precision is for -device cuda or"
                         " auto; the CPU computes in fp32");
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!strcmp(a->precision, all[i].name)) {
            s->precision = all[i].precision;
            return RC_OK;
        }
    return say_error(RC_USAGE, NULL, "unknown -precision '%s' (auto, fp32, fp16,"
                     " bf16)", a->precision);
}

int engine_open(tsr_context **ctx, const args *a)
{
    tsr_context_settings s;
    tsr_error error;

    *ctx = NULL;
    if (a->cpuflags && set_cpu(a->cpuflags))
        return RC_USAGE;
    tsr_context_settings_init(&s);
    s.threads = a->threads;
    s.max_pixels = (uint64_t)a->max_pixels;
    if (a->max_memory > 0)
        s.max_memory = (uint64_t)a->max_memory;
    s.logger = say_logger();
    if (a->backend)
        s.backend = a->backend;
    s.device = a->device;
    if (a->precision && set_precision(&s, a))
        return RC_USAGE;
    error = tsr_context_open(ctx, &s);
    return error ? say_failure(NULL, error) : RC_OK;
}

int engine_open_model(tsr_model **model, tsr_context *ctx, const char *name)
{
    const tsr_error error = tsr_model_open(model, ctx, name);
    return error ? say_failure_as(error == TSR_E_NOMEM ? RC_MACHINE : RC_MODEL,
                                  NULL, error)
                 : RC_OK;
}

/* The search for a model of one codec. */
typedef struct search {
    tsr_context *ctx;
    const char *codec;
    tsr_model *found;
} search;

static int try_model(void *cookie, const char *path)
{
    search *s = cookie;
    if (tsr_model_open(&s->found, s->ctx, path))
        return 0;
    if (strcmp(tsr_model_codec(s->found), s->codec))
        tsr_model_unref(&s->found);
    return s->found != NULL;
}

static int known_codec(const char *name, int kind)
{
    const char *id;
    for (int i = 0; (id = kind == TSR_KIND_AUDIO ? tsr_audio_codec_at(i)
                                                 : tsr_image_codec_at(i)); i++)
        if (!strcmp(id, name))
            return 1;
    return 0;
}

int engine_kind(tsr_context *ctx, const char *name)
{
    tsr_model *model;
    int kind = -1;
    if (!tsr_model_open(&model, ctx, name)) {
        const char *codec = tsr_model_codec(model);
        kind = known_codec(codec, TSR_KIND_AUDIO) ? TSR_KIND_AUDIO
            : known_codec(codec, TSR_KIND_IMAGE) ? TSR_KIND_IMAGE : -1;
        tsr_model_unref(&model);
    }
    say_take_detail();
    return kind;
}

static int of_codec(tsr_model **model, tsr_context *ctx, const char *codec)
{
    search s = { ctx, codec, NULL };
    tsr_model_files(try_model, &s);
    say_take_detail();
    *model = s.found;
    return s.found ? RC_OK : say_error(RC_MODEL, NULL, "no model of codec '%s'"
                                       " was found; see 'tessera models'",
                                       codec);
}

int engine_model(tsr_model **model, tsr_context *ctx, const args *a, int kind)
{
    const int sound = kind == TSR_KIND_AUDIO;
    int rc;

    *model = NULL;
    if (a->codec && !known_codec(a->codec, kind))
        return say_error(RC_USAGE, NULL, "unknown codec '%s' for %s", a->codec,
                         sound ? "sound" : "pictures");
    if (a->codec && !a->model)
        return of_codec(model, ctx, a->codec);
    rc = engine_open_model(model, ctx, a->model ? a->model
                                                : sound ? "sound" : "photo");
    if (!rc && !a->codec && *tsr_model_codec(*model) &&
        !known_codec(tsr_model_codec(*model), kind))
        rc = say_error(RC_MODEL, tsr_model_path(*model), "is a model of codec"
                       " '%s', which is not for %s", tsr_model_codec(*model),
                       sound ? "sound" : "pictures");
    if (!rc && a->codec && strcmp(a->codec, tsr_model_codec(*model)))
        rc = say_error(RC_MODEL, tsr_model_path(*model),
                       "is a model of codec '%s', not '%s'",
                       tsr_model_codec(*model), a->codec);
    if (rc)
        tsr_model_unref(model);
    return rc;
}

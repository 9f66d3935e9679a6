/* SPDX-License-Identifier: BSD-2-Clause */
/* A frei0r filter: every frame through a codec and back, its packets into a
 * side file.  docs/ffmpeg.md is for those who use it. */
#include <dlfcn.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/video.h>
#include "tools/ffmpeg/plug.h"

/* ---- the binary interface of frei0r 1.2, as far as a filter has it ---- */

enum { KIND_FILTER = 0, COLOR_RGBA8888 = 1, FREI0R_MAJOR = 1 };
enum { PARAM_DOUBLE = 1, PARAM_STRING = 4 };

typedef struct plugin_info {
    const char *name, *author;
    int kind, color, frei0r_major, major, minor, params;
    const char *explanation;
} plugin_info;

typedef struct param_info {
    const char *name;
    int type;
    const char *explanation;
} param_info;

PLUG_EXPORT int f0r_init(void);
PLUG_EXPORT void f0r_deinit(void);
PLUG_EXPORT void f0r_get_plugin_info(plugin_info *info);
PLUG_EXPORT void f0r_get_param_info(param_info *info, int index);
PLUG_EXPORT void *f0r_construct(unsigned width, unsigned height);
PLUG_EXPORT void f0r_destruct(void *instance);
PLUG_EXPORT void f0r_set_param_value(void *instance, void *value, int index);
PLUG_EXPORT void f0r_get_param_value(void *instance, void *value, int index);
PLUG_EXPORT void f0r_update(void *instance, double time, const uint32_t *in,
                            uint32_t *out);

/* Hosts give values by position: never change the order, only append. */
enum { MODEL, QUALITY, SIDEFILE, PITCH, RATE, PARAMS };

static const param_info params[PARAMS] = {
    [MODEL] = { "model", PARAM_STRING,
                "name or path of a model for pictures; default photo" },
    [QUALITY] = { "quality", PARAM_DOUBLE,
                  "0 (smallest) to 1 (best), or above 1 to 100; default 0.5" },
    [SIDEFILE] = { "sidefile", PARAM_STRING,
                   "a .tess file to write the coded frames to; default none" },
    [PITCH] = { "pitch", PARAM_DOUBLE,
                "rows are padded to this many bytes; default 0: as the host is"
                " known to do" },
    [RATE] = { "rate", PARAM_STRING,
               "frames a second in the side file, as 25 or 30000/1001; default"
               " 25" },
};

enum { BYTES = 4, RGB = 3, MAX_PITCH = 4096, MAX_RATE_PART = 1000000 };
static const char default_model[] = "photo";

typedef struct instance {
    int width, height;
    /* As the host set them; strings are never NULL. */
    char *model_name, *side_path, *rate_text;
    double quality, pitch;
    size_t host_pitch;      /* what rows are padded to unless `pitch` says */
    /* Opened at the first frame: hosts make instances only to look at them, and
     * set parameters one by one. */
    int ready, failed, said;
    tsr_model *model;
    tsr_video_encoder *encoder;
    tsr_video_decoder *decoder;
    uint8_t *pixels;        /* height rows of width RGB */
    plug_side *side;
    int side_failed;
    int64_t frames;         /* in the side file */
} instance;

/* ---- rows ---- */

/*
 * The interface says rows of 4 * width bytes.  FFmpeg 5 (libavfilter 8) pads them
 * to 64 bytes and has no way to tell; later ones do as they should.  Reading
 * padded rows as plain ones gives a skewed picture; reading plain rows as padded
 * ones leaves the host's memory.  So rows are plain unless it is certain that
 * they are not: when the code that made this instance lies in libavfilter.so.8.
 * That this library is loaded somewhere would say nothing: hosts with plain rows
 * load it, too.
 */
static size_t pitch_of_caller(const void *code)
{
    enum { PADDED = 64 };
    static const char name[] = "libavfilter.so.8";
    const size_t n = sizeof name - 1;
    Dl_info info;
    const char *at;

    if (!dladdr(code, &info) || !info.dli_fname)
        return BYTES;
    at = strrchr(info.dli_fname, '/');
    at = at ? at + 1 : info.dli_fname;
    return !strncmp(at, name, n) && (!at[n] || at[n] == '.') ? PADDED : BYTES;
}

static size_t row_bytes(const instance *s)
{
    const size_t row = (size_t)s->width * BYTES;
    const size_t pad = s->pitch >= 1 ? (size_t)s->pitch : s->host_pitch;
    return (row + pad - 1) / pad * pad;
}

static void copy_through(const instance *s, const uint8_t *in, uint8_t *out)
{
    const size_t pitch = row_bytes(s);
    if (in == out)
        return;
    for (size_t y = 0; y < (size_t)s->height; y++)
        memcpy(out + y * pitch, in + y * pitch, (size_t)s->width * BYTES);
}

static void take_pixels(instance *s, const uint8_t *in)
{
    const size_t pitch = row_bytes(s), width = (size_t)s->width;
    for (size_t y = 0; y < (size_t)s->height; y++) {
        const uint8_t *from = in + y * pitch;
        uint8_t *to = s->pixels + y * width * RGB;
        for (size_t x = 0; x < width; x++)
            memcpy(to + x * RGB, from + x * BYTES, RGB);
    }
}

/* Alpha goes past the codec: a filter has to keep it, and nearly always it is 255
 * all over. */
static void give_pixels(const instance *s, const tsr_image *image,
                        const uint8_t *in, uint8_t *out)
{
    const size_t pitch = row_bytes(s), width = (size_t)s->width;
    for (size_t y = 0; y < (size_t)s->height; y++) {
        const uint8_t *from = (const uint8_t *)image->data + y * image->stride;
        const uint8_t *alpha = in + y * pitch;
        uint8_t *to = out + y * pitch;
        for (size_t x = 0; x < width; x++) {
            to[x * BYTES + RGB] = alpha[x * BYTES + RGB];
            memcpy(to + x * BYTES, from + x * RGB, RGB);
        }
    }
}

/* ---- the codec ---- */

static void close_codec(instance *s)
{
    plug_side_close(&s->side);
    plug_lock();
    tsr_video_decoder_close(&s->decoder);
    tsr_video_encoder_close(&s->encoder);
    plug_unlock();
    plug_model_unref(&s->model);
    free(s->pixels);
    s->pixels = NULL;
    s->ready = 0;
}

/* "25", "29.97" or "30000/1001"; 0: none of these. */
static int read_rate(const char *text, uint32_t *num, uint32_t *den)
{
    enum { THOUSANDTHS = 1000 };
    char *end;
    const double n = strtod(text, &end);
    double d = 1;

    if (end == text)
        return 0;
    if (*end == '/')
        d = strtod(end + 1, &end);
    if (*end || !(n > 0 && n <= MAX_RATE_PART && d >= 1 && d <= MAX_RATE_PART))
        return 0;
    if (n == floor(n) && d == floor(d)) {
        *num = (uint32_t)n;
        *den = (uint32_t)d;
    } else {
        *num = (uint32_t)lround(n / d * THOUSANDTHS);
        *den = THOUSANDTHS;
    }
    return *num > 0;
}

static void frame_rate(const instance *s, uint32_t *num, uint32_t *den)
{
    static int said;
    *num = *den = 0;
    if (!*s->rate_text || read_rate(s->rate_text, num, den))
        return;
    *num = *den = 0;
    plug_say_once(&said, "frei0r: rate '%s' is not a number, as 25 or"
                  " 30000/1001", s->rate_text);
}

static tsr_error open_codec(instance *s)
{
    tsr_video_settings settings;
    const uint8_t *extradata;
    size_t bytes;
    tsr_error error;

    tsr_video_settings_init(&settings);
    settings.info.width = s->width;
    settings.info.height = s->height;
    settings.info.channels = RGB;
    settings.info.bits = CHAR_BIT;
    frame_rate(s, &settings.info.rate_num, &settings.info.rate_den);
    error = tsr_video_encoder_open(&s->encoder, plug_context(), s->model,
                                   &settings);
    if (error)
        return error;
    tsr_video_encoder_extradata(s->encoder, &extradata, &bytes);
    return tsr_video_decoder_open(&s->decoder, plug_context(), s->model,
                                  extradata, bytes);
}

/* Opens model and codec; what fails is not tried again until a parameter
 * changes. */
static int make_ready(instance *s)
{
    tsr_error error;

    if (s->ready || s->failed)
        return s->ready;
    s->failed = 1;
    s->model = plug_model(*s->model_name ? s->model_name : default_model);
    if (!s->model)
        return 0;
    plug_lock();
    error = open_codec(s);
    if (!error)
        s->pixels = malloc((size_t)s->width * (size_t)s->height * RGB);
    if (!error && !s->pixels)
        error = TSR_E_NOMEM;
    if (error)
        plug_say_once(&s->said, "frei0r: %dx%d: %s; frames go through as they"
                      " are", s->width, s->height, plug_reason(error));
    plug_unlock();
    if (error) {
        close_codec(s);
        return 0;
    }
    s->failed = 0;
    return s->ready = 1;
}

/* Frames carry no number, and hosts do not agree on the unit of time: frames are
 * counted, at the rate that the user says. */
static void open_side(instance *s)
{
    enum { USUAL_RATE = 25 };
    uint32_t num, den;
    tsr_media_stream stream = { .type = TSR_MEDIA_VIDEO };

    if (s->side || s->side_failed || !*s->side_path)
        return;
    frame_rate(s, &num, &den);
    stream.time_num = num ? den : 1;
    stream.time_den = num ? num : USUAL_RATE;
    tsr_video_encoder_extradata(s->encoder, &stream.extradata,
                                &stream.extradata_bytes);
    s->side = plug_side_open(s->side_path, TSR_KIND_MEDIA, &stream);
    s->side_failed = !s->side;
    s->frames = 0;
}

/* 0 (smallest) .. 100 (best) of what hosts give: the interface has 0..1. */
static double scaled_quality(double quality)
{
    return fmin(quality <= 1 ? quality * 100 : quality, 100);
}

/* One frame there and back, into *image; its packet to the side file. */
static tsr_error round_trip(instance *s, tsr_image *image)
{
    const tsr_image frame = { .width = s->width, .height = s->height,
                              .channels = RGB, .bits = CHAR_BIT,
                              .stride = (size_t)s->width * RGB,
                              .data = s->pixels };
    const uint8_t *packet;
    size_t bytes;
    tsr_error error;

    plug_lock();
    error = tsr_video_encoder_encode(s->encoder, &frame,
                                     scaled_quality(s->quality), &packet, &bytes);
    if (!error)
        error = tsr_video_decoder_decode(s->decoder, packet, bytes, image);
    if (error)
        plug_say_once(&s->said, "frei0r: %s; a frame goes through as it is",
                      plug_reason(error));
    plug_unlock();
    if (!error && s->side)
        plug_side_packet(s->side, s->frames, 1, packet, bytes);
    s->frames++;
    return error;
}

void f0r_update(void *instance_, double time, const uint32_t *in, uint32_t *out)
{
    instance *s = instance_;
    const uint8_t *from = (const uint8_t *)in;
    tsr_image image = { .data = NULL };

    (void)time;
    if (!s || !in || !out)
        return;
    if (make_ready(s)) {
        open_side(s);
        take_pixels(s, from);
        if (!round_trip(s, &image)) {
            give_pixels(s, &image, from, (uint8_t *)out);
            return;
        }
    }
    copy_through(s, from, (uint8_t *)out);
}

/* ---- life and parameters ---- */

int f0r_init(void)
{
    return 1;
}

void f0r_deinit(void)
{
}

void f0r_get_plugin_info(plugin_info *info)
{
    *info = (plugin_info){
        .name = "Tessera", .author = "The Tessera authors",
        .kind = KIND_FILTER, .color = COLOR_RGBA8888,
        .frei0r_major = FREI0R_MAJOR, .major = 1, .minor = 0, .params = PARAMS,
        .explanation = "What a neural codec makes of every frame; the coded"
                       " frames can go to a file"
    };
}

void f0r_get_param_info(param_info *info, int index)
{
    if (index >= 0 && index < PARAMS)
        *info = params[index];
}

void f0r_destruct(void *instance_)
{
    instance *s = instance_;
    if (!s)
        return;
    close_codec(s);
    free(s->model_name);
    free(s->side_path);
    free(s->rate_text);
    free(s);
}

void *f0r_construct(unsigned width, unsigned height)
{
    instance *s;

    if (!width || !height || width > INT_MAX / BYTES ||
        height > SIZE_MAX / ((size_t)width * BYTES + MAX_PITCH))
        return NULL;
    s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->width = (int)width;
    s->height = (int)height;
    s->quality = 0.5;
    s->host_pitch = pitch_of_caller(__builtin_return_address(0));
    s->model_name = strdup(default_model);
    s->side_path = strdup("");
    s->rate_text = strdup("");
    if (!s->model_name || !s->side_path || !s->rate_text) {
        f0r_destruct(s);
        return NULL;
    }
    return s;
}

/* Takes the text; 1: it is another one now. */
static int set_text(char **to, void *value)
{
    const char *text = *(char **)value;
    char *copy;

    if (!text)
        text = "";
    if (!strcmp(*to, text) || !(copy = strdup(text)))
        return 0;
    free(*to);
    *to = copy;
    return 1;
}

static void set_number(double *to, double value, double most)
{
    static int said;
    if (value >= 0 && value <= most)
        *to = value;
    else
        plug_say_once(&said, "frei0r: %g is not 0..%g; it stays %g", value,
                      most, *to);
}

void f0r_set_param_value(void *instance_, void *value, int index)
{
    instance *s = instance_;

    if (!s || !value)
        return;
    if ((index == MODEL && set_text(&s->model_name, value)) ||
        (index == RATE && set_text(&s->rate_text, value))) {
        close_codec(s);
        s->failed = s->said = s->side_failed = 0;
    } else if (index == SIDEFILE && set_text(&s->side_path, value)) {
        plug_side_close(&s->side);
        s->side_failed = 0;
    } else if (index == QUALITY) {
        set_number(&s->quality, *(double *)value, 100);
    } else if (index == PITCH) {
        set_number(&s->pitch, floor(*(double *)value), MAX_PITCH);
    }
}

/* Strings stay the plugin's. */
void f0r_get_param_value(void *instance_, void *value, int index)
{
    instance *s = instance_;

    if (!s || !value)
        return;
    switch (index) {
    case MODEL: *(char **)value = s->model_name; break;
    case QUALITY: *(double *)value = s->quality; break;
    case SIDEFILE: *(char **)value = s->side_path; break;
    case PITCH: *(double *)value = s->pitch; break;
    case RATE: *(char **)value = s->rate_text; break;
    default: break;
    }
}

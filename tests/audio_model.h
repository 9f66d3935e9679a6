/* SPDX-License-Identifier: BSD-2-Clause */
/* Small audio models with random weights, and a harness that sends sound
 * through an audio codec's table of functions, for tests. */
#ifndef TSR_TESTS_AUDIO_MODEL_H
#define TSR_TESTS_AUDIO_MODEL_H
#include <math.h>
#include "tests/poor.h"
#include "tests/tensors.h"
#include <tessera/model.h>
#include "codecs/audio/audio_codec.h"

/* ---- tensors ---- */

__attribute__((format(printf, 6, 7)))
static inline void audio_floats(check_tensors *list, check_rng *rng,
                                float scale, float add, const int sides[3],
                                const char *name, ...)
{
    const uint64_t dims[] = { (uint64_t)sides[0], (uint64_t)sides[1],
                              (uint64_t)sides[2] };
    const int rank = sides[2] ? 3 : sides[1] ? 2 : 1;
    char full[CHECK_NAME];
    va_list args;
    va_start(args, name);
    vsnprintf(full, sizeof full, name, args);
    va_end(args);
    float *to = check_tensors_add(list, full, "F32", 4, rank, dims);
    for (size_t i = 0; i < check_dims(rank, dims); i++)
        to[i] = check_float(rng) * scale + add;
}

static inline void audio_ints(check_tensors *list, const char *name, int rank,
                              const uint64_t *dims, const int *values)
{
    int32_t *to = check_tensors_add(list, name, "I32", 4, rank, dims);
    for (size_t i = 0; i < check_dims(rank, dims); i++)
        to[i] = values[i];
}

/** tessera.audio: rate, channels, hop, causal, norm, pad, segment, step. */
static inline void audio_form(check_tensors *list, const int values[8])
{
    const uint64_t dims[] = { 8 };
    audio_ints(list, "tessera.audio", 1, dims, values);
}

/** A convolution NAME: bias, and weight or weight_g and weight_v.  sides: those
 *  of the weight; out: of the bias. */
static inline void audio_conv(check_tensors *list, check_rng *rng, bool folded,
                              const int sides[3], int out, const char *name)
{
    const int one[] = { sides[0], 1, 1 }, bias[] = { out, 0, 0 };
    const float scale = 1.7f / sqrtf((float)(sides[1] * sides[2]));

    audio_floats(list, rng, 0.1f, 0, bias, "%s.bias", name);
    if (folded) {
        audio_floats(list, rng, scale, 0, sides, "%s.weight", name);
        return;
    }
    audio_floats(list, rng, 0.3f, 1, one, "%s.weight_g", name);
    audio_floats(list, rng, scale, 0, sides, "%s.weight_v", name);
}

/* ---- EnCodec ---- */

typedef struct encodec_sizes {
    int rate, channels;
    int filters, decoder_filters;
    int ratio[4], ratios;   /* of the decoder, in its order */
    int residuals, lstms;
    int dim, books, codewords;
    bool causal, norm, zero, folded;
    int segment, step;
} encodec_sizes;

/* Layer NAME.{conv,norm} or NAME.{convtr,norm}. */
static inline void encodec_conv(check_tensors *list, check_rng *rng,
                                const encodec_sizes *s, int in, int out,
                                int taps, bool transposed, const char *name)
{
    const int sides[] = { transposed ? in : out, transposed ? out : in, taps };
    const int one[] = { out, 0, 0 };
    char full[CHECK_NAME];

    check_name(full, "%s.%s.%s", name, transposed ? "convtr" : "conv",
               transposed ? "convtr" : "conv");
    audio_conv(list, rng, s->folded || s->norm, sides, out, full);
    if (!s->norm)
        return;
    audio_floats(list, rng, 0.2f, 1, one, "%s.%s.norm.weight", name,
                 transposed ? "convtr" : "conv");
    audio_floats(list, rng, 0.2f, 0, one, "%s.%s.norm.bias", name,
                 transposed ? "convtr" : "conv");
}

static inline int encodec_residuals(check_tensors *list, check_rng *rng,
                                    const encodec_sizes *s, const char *part,
                                    int layer, int c)
{
    char name[CHECK_NAME];
    const int half = c > 1 ? c / 2 : 1;

    for (int i = 0; i < s->residuals; i++, layer++) {
        check_name(name, "%s.model.%d.block.1", part, layer);
        encodec_conv(list, rng, s, c, half, 3, false, name);
        check_name(name, "%s.model.%d.block.3", part, layer);
        encodec_conv(list, rng, s, half, c, 1, false, name);
        check_name(name, "%s.model.%d.shortcut", part, layer);
        encodec_conv(list, rng, s, c, c, 1, false, name);
    }
    return layer;
}

static inline int encodec_lstm(check_tensors *list, check_rng *rng,
                               const encodec_sizes *s, const char *part,
                               int layer, int c)
{
    const int square[] = { 4 * c, c, 0 }, line[] = { 4 * c, 0, 0 };

    for (int l = 0; l < s->lstms; l++) {
        audio_floats(list, rng, 0.4f, 0, square,
                     "%s.model.%d.lstm.weight_ih_l%d", part, layer, l);
        audio_floats(list, rng, 0.4f, 0, square,
                     "%s.model.%d.lstm.weight_hh_l%d", part, layer, l);
        audio_floats(list, rng, 0.2f, 0, line, "%s.model.%d.lstm.bias_ih_l%d",
                     part, layer, l);
        audio_floats(list, rng, 0.2f, 0, line, "%s.model.%d.lstm.bias_hh_l%d",
                     part, layer, l);
    }
    return layer + (s->lstms > 0);
}

static inline void encodec_encoder(check_tensors *list, check_rng *rng,
                                   const encodec_sizes *s)
{
    char name[CHECK_NAME];
    int c = s->filters, layer = 1;

    encodec_conv(list, rng, s, s->channels, c, 7, false, "encoder.model.0");
    for (int i = s->ratios - 1; i >= 0; i--, c *= 2) {
        layer = encodec_residuals(list, rng, s, "encoder", layer, c);
        check_name(name, "encoder.model.%d", layer + 1);
        encodec_conv(list, rng, s, c, 2 * c, 2 * s->ratio[i], false, name);
        layer += 2;
    }
    layer = encodec_lstm(list, rng, s, "encoder", layer, c);
    check_name(name, "encoder.model.%d", layer + 1);
    encodec_conv(list, rng, s, c, s->dim, 7, false, name);
}

static inline void encodec_decoder(check_tensors *list, check_rng *rng,
                                   const encodec_sizes *s)
{
    char name[CHECK_NAME];
    int c = s->decoder_filters << s->ratios;

    encodec_conv(list, rng, s, s->dim, c, 7, false, "decoder.model.0");
    int layer = encodec_lstm(list, rng, s, "decoder", 1, c);
    for (int i = 0; i < s->ratios; i++, c /= 2) {
        check_name(name, "decoder.model.%d", layer + 1);
        encodec_conv(list, rng, s, c, c / 2, 2 * s->ratio[i], true, name);
        layer = encodec_residuals(list, rng, s, "decoder", layer + 2, c / 2);
    }
    check_name(name, "decoder.model.%d", layer + 1);
    encodec_conv(list, rng, s, c, s->channels, 7, false, name);
}

/** All tensors that the codec wants, sorted by name. */
static inline check_tensors encodec_model(const encodec_sizes *s, uint64_t seed)
{
    check_tensors list = { NULL, 0 };
    check_rng rng = { seed };
    const int book[] = { s->codewords, s->dim, 0 };
    int hop = 1;

    for (int i = 0; i < s->ratios; i++)
        hop *= s->ratio[i];
    const int form[] = { s->rate, s->channels, hop, s->causal, s->norm, s->zero,
                         s->segment, s->step };
    audio_form(&list, form);
    encodec_encoder(&list, &rng, s);
    encodec_decoder(&list, &rng, s);
    for (int q = 0; q < s->books; q++)
        audio_floats(&list, &rng, 0.8f / (float)(q + 1), 0, book,
                     "quantizer.vq.layers.%d._codebook.embed", q);
    qsort(list.tensor, list.count, sizeof *list.tensor, check_by_name);
    return list;
}

/* ---- HiFi-Codec ---- */

typedef struct hificodec_sizes {
    int rate, base, initial; /* channels of the first layers */
    int up[4], taps[4], ups;
    int kernel[3], kernels, steps;
    bool pairs;
    int dim, codewords;     /* dim: of a group, of two */
} hificodec_sizes;

static inline void hificodec_blocks(check_tensors *list, check_rng *rng,
                                    const hificodec_sizes *s, const char *part,
                                    int stage, int c, bool backward)
{
    char name[CHECK_NAME];

    for (int j = 0; j < s->kernels; j++) {
        const int k = s->kernel[backward ? s->kernels - 1 - j : j];
        const int sides[] = { c, c, k };
        for (int i = 0; i < s->steps; i++)
            for (int p = 0; p <= s->pairs; p++) {
                check_name(name, "%s.resblocks.%d.convs%s.%d", part,
                           stage * s->kernels + j,
                           !s->pairs ? "" : p ? "2" : "1", i);
                audio_conv(list, rng, false, sides, c, name);
            }
    }
}

static inline void hificodec_encoder(check_tensors *list, check_rng *rng,
                                     const hificodec_sizes *s)
{
    const int first[] = { s->base, 1, 7 };
    int c = s->base;
    char name[CHECK_NAME];

    audio_conv(list, rng, false, first, c, "encoder.conv_pre");
    for (int i = 0; i < s->ups; i++) {
        const int sides[] = { 2 * c, c, s->taps[s->ups - 1 - i] };
        c *= 2;
        const int one[] = { c, 0, 0 };
        check_name(name, "encoder.ups.%d", i);
        audio_conv(list, rng, false, sides, c, name);
        hificodec_blocks(list, rng, s, "encoder", i, c, true);
        for (int j = 0; j < s->kernels; j++) {
            audio_floats(list, rng, 0.2f, 1, one, "encoder.normalize.%d.weight",
                         i * s->kernels + j);
            audio_floats(list, rng, 0.2f, 0, one, "encoder.normalize.%d.bias",
                         i * s->kernels + j);
        }
    }
    const int last[] = { 2 * s->dim, c, 3 };
    audio_conv(list, rng, true, last, 2 * s->dim, "encoder.conv_post");
}

static inline void hificodec_decoder(check_tensors *list, check_rng *rng,
                                     const hificodec_sizes *s)
{
    const int first[] = { s->initial, 2 * s->dim, 7 };
    int c = s->initial;
    char name[CHECK_NAME];

    audio_conv(list, rng, false, first, c, "generator.conv_pre");
    for (int i = 0; i < s->ups; i++) {
        const int sides[] = { c, c / 2, s->taps[i] };
        c /= 2;
        check_name(name, "generator.ups.%d", i);
        audio_conv(list, rng, false, sides, c, name);
        hificodec_blocks(list, rng, s, "generator", i, c, false);
    }
    const int last[] = { 1, c, 7 };
    audio_conv(list, rng, false, last, 1, "generator.conv_post");
}

static inline check_tensors hificodec_model(const hificodec_sizes *s,
                                            uint64_t seed)
{
    check_tensors list = { NULL, 0 };
    check_rng rng = { seed };
    const int book[] = { s->codewords, s->dim, 0 };
    const uint64_t ups[] = { (uint64_t)s->ups };
    int hop = 1;

    for (int i = 0; i < s->ups; i++)
        hop *= s->up[i];
    const int form[] = { s->rate, 1, hop, 0, 0, 1, 0, 0 };
    audio_form(&list, form);
    audio_ints(&list, "tessera.hificodec.rates", 1, ups, s->up);
    hificodec_encoder(&list, &rng, s);
    hificodec_decoder(&list, &rng, s);
    for (int g = 0; g < 2; g++) {
        audio_floats(&list, &rng, 1, 0, book,
                     "quantizer.quantizer_modules.%d.embedding.weight", g);
        audio_floats(&list, &rng, 0.5f, 0, book,
                     "quantizer.quantizer_modules2.%d.embedding.weight", g);
    }
    qsort(list.tensor, list.count, sizeof *list.tensor, check_by_name);
    return list;
}

/* ---- models and contexts ---- */

/** Writes a model of the codec and opens it; its file does not stay. */
static inline tsr_model *audio_model(tsr_context *ctx, check_tensors *list,
                                     size_t skip, const char *codec,
                                     const char *path)
{
    char meta[64];
    tsr_model *model;

    snprintf(meta, sizeof meta, "\"tessera.codec\":\"%s\"", codec);
    check_tensors_write(list, skip, meta, path);
    assert_int_equal(tsr_model_open(&model, ctx, path), TSR_OK);
    assert_int_equal(remove(path), 0); /* it stays mapped */
    return model;
}

/** The model once more, with numbers that no tensor told its importer.  Drops
 *  `model`. */
static inline tsr_model *audio_retold(tsr_context *ctx, tsr_model *model,
                                      const char *name, int rank,
                                      const uint64_t *dims, const int *values,
                                      const char *path)
{
    char codec[32];
    check_tensors list = { 0 };

    snprintf(codec, sizeof codec, "%s", tsr_model_codec(model));
    for (size_t i = 0; i < tsr_model_tensor_count(model); i++) {
        const tsr_tensor *t = tsr_model_tensor_at(model, i);
        if (strcmp(t->name, name))
            memcpy(check_tensors_add(&list, t->name, tsr_dtype_name(t->dtype),
                                     tsr_dtype_bytes(t->dtype), t->rank,
                                     t->dims), t->data, t->bytes);
    }
    audio_ints(&list, name, rank, dims, values);
    qsort(list.tensor, list.count, sizeof *list.tensor, check_by_name);
    tsr_model_unref(&model);
    model = audio_model(ctx, &list, SIZE_MAX, codec, path);
    check_tensors_free(&list);
    return model;
}

/** Keeps the last message: cookie is char[256]. */
static inline void audio_keep(void *cookie, tsr_log_level level,
                              const char *text)
{
    if (level <= TSR_LOG_WARNING)
        snprintf(cookie, 256, "%s", text);
}

/** A context that keeps its last message; cpu: the features kernels may use. */
static inline tsr_context *audio_context(char message[256], unsigned cpu,
                                         int threads)
{
    tsr_context_settings s;
    tsr_context *ctx;

    tsr_context_settings_init(&s);
    s.threads = threads;
    s.logger.log = audio_keep;
    s.logger.cookie = message;
    assert_int_equal(tsr_context_open(&ctx, &s), TSR_OK);
    ctx->cpu &= cpu;
    return ctx;
}

/* ---- sound through a codec ---- */

/** Codes of a sound, or samples of codes; segments where there are any. */
typedef struct audio_codes {
    uint16_t *codes;        /* [frames][books] */
    int frames, books, segments;
    int segment[64];        /* frames of each */
    uint8_t side[64][TSRI_AUDIO_SIDE_MAX];
} audio_codes;

/* All that is ready; room: how many are asked for at once. */
static inline void audio_take_codes(const tsri_audio_codec *codec, void *enc,
                                    const tsri_audio_shape *shape, int room,
                                    audio_codes *out)
{
    const size_t most = (size_t)(room > shape->segment_frames
                                     ? room : shape->segment_frames);
    int n;

    do {
        out->codes = realloc(out->codes, ((size_t)out->frames + most) *
                                         (size_t)out->books * 2);
        assert_non_null(out->codes);
        assert_int_equal(codec->enc_take(
            enc, out->codes + (size_t)out->frames * (size_t)out->books,
            (int)most, &n, out->side[out->segments]), TSR_OK);
        out->frames += n;
        if (n && shape->segmented) {
            out->segment[out->segments++] = n;
            assert_true(out->segments < 64);
        }
    } while (n);
}

/** A stream that is cut into random pieces, and now and then saved and restored
 *  into a new one.  rng: NULL for one piece. */
static inline audio_codes audio_encode(const tsri_audio_codec *codec,
                                       const void *self,
                                       const tsri_audio_options *options,
                                       const float *x, size_t n, check_rng *rng)
{
    const tsri_audio_shape *shape = codec->shape(self);
    audio_codes out = { .books = options->books };
    void *enc;
    size_t done = 0;

    assert_int_equal(codec->enc_open(&enc, self, options), TSR_OK);
    do {
        const size_t left = n - done;
        size_t piece = left;
        if (rng && left)
            piece = check_below(rng, 4) ? check_below(rng, 700)
                                        : check_below(rng, (uint32_t)left + 1);
        piece = piece < left ? piece : left;
        const bool end = done + piece == n && (!rng || check_below(rng, 2));
        assert_int_equal(codec->enc_push(enc, x + done * (size_t)shape->channels,
                                         piece, end), TSR_OK);
        done += piece;
        if (rng && check_below(rng, 4) == 0) {
            const size_t bytes = codec->enc_state_bytes(enc);
            uint8_t *state = malloc(bytes);
            codec->enc_state_save(enc, state);
            codec->enc_close(&enc);
            assert_int_equal(codec->enc_open(&enc, self, options), TSR_OK);
            assert_int_equal(codec->enc_state_load(enc, state, bytes), TSR_OK);
            free(state);
        }
        if (!rng || end || check_below(rng, 2))
            audio_take_codes(codec, enc, shape, rng ? 1 + (int)check_below(
                                 rng, 9) : 100, &out);
        if (end)
            break;
    } while (true);
    codec->enc_close(&enc);
    assert_null(enc);
    return out;
}

typedef struct audio_sound { float *x; size_t n; } audio_sound;

static inline void audio_take_samples(const tsri_audio_codec *codec, void *dec,
                                      int channels, size_t room,
                                      audio_sound *out)
{
    size_t n;

    do {
        out->x = realloc(out->x, (out->n + room) * (size_t)channels *
                                 sizeof(float));
        assert_non_null(out->x);
        assert_int_equal(codec->dec_take(dec, out->x + out->n *
                                                       (size_t)channels,
                                         room, &n), TSR_OK);
        out->n += n;
    } while (n);
}

/** The same the other way; `books` of those of each frame are given. */
static inline audio_sound audio_decode(const tsri_audio_codec *codec,
                                       const void *self,
                                       const tsri_audio_options *options,
                                       const audio_codes *in, check_rng *rng)
{
    const tsri_audio_shape *shape = codec->shape(self);
    audio_sound out = { NULL, 0 };
    void *dec;
    int done = 0, segment = 0;

    assert_int_equal(codec->dec_open(&dec, self, options), TSR_OK);
    do {
        const int left = in->frames - done;
        int piece = shape->segmented ? left ? in->segment[segment] : 0
                    : rng && left ? (int)check_below(rng, 12) : left;
        piece = piece < left ? piece : left;
        const bool end = done + piece == in->frames &&
                         (!rng || check_below(rng, 2));
        assert_int_equal(codec->dec_push(dec, in->codes + (size_t)done *
                                                          (size_t)in->books,
                                         piece, in->books, in->side[segment],
                                         end), TSR_OK);
        done += piece;
        segment += piece > 0 && shape->segmented;
        if (rng && check_below(rng, 4) == 0) {
            const size_t bytes = codec->dec_state_bytes(dec);
            uint8_t *state = malloc(bytes);
            codec->dec_state_save(dec, state);
            codec->dec_close(&dec);
            assert_int_equal(codec->dec_open(&dec, self, options), TSR_OK);
            assert_int_equal(codec->dec_state_load(dec, state, bytes), TSR_OK);
            free(state);
        }
        if (!rng || end || check_below(rng, 2))
            audio_take_samples(codec, dec, shape->channels,
                               rng ? 1 + check_below(rng, 3000) : 4096, &out);
        if (end)
            break;
    } while (true);
    codec->dec_close(&dec);
    assert_null(dec);
    return out;
}

/** n samples: a chirp, noise, a silence. */
static inline float *audio_signal(size_t n, int channels, uint64_t seed)
{
    float *x = malloc((n * (size_t)channels + 1) * sizeof *x);
    check_rng rng = { seed };

    assert_non_null(x);
    for (size_t t = 0; t < n; t++)
        for (int c = 0; c < channels; c++) {
            const double at = (double)t / 3000;
            const bool quiet = t % 5000 > 4000;
            x[t * (size_t)channels + (size_t)c] = quiet ? 0 :
                (float)(0.4 * sin(60 * at * (at + 1 + c))) +
                0.2f * check_float(&rng);
        }
    return x;
}

static inline void audio_same_codes(const audio_codes *a, const audio_codes *b)
{
    assert_int_equal(a->frames, b->frames);
    assert_int_equal(a->segments, b->segments);
    if (a->frames)
        assert_memory_equal(a->codes, b->codes,
                            (size_t)a->frames * (size_t)a->books * 2);
    for (int i = 0; i < a->segments; i++) {
        assert_int_equal(a->segment[i], b->segment[i]);
        assert_memory_equal(a->side[i], b->side[i], TSRI_AUDIO_SIDE_MAX);
    }
}

/** One piece against many, with all options. */
static inline void audio_check_pieces(const tsri_audio_codec *codec, void *self,
                                      size_t n, double window, uint64_t seed)
{
    const tsri_audio_shape *shape = codec->shape(self);
    float *x = audio_signal(n, shape->channels, seed);
    check_rng rng = { seed };

    for (int zero = 0; zero < 2; zero++) {
        const tsri_audio_options whole = { .books = shape->books, .lazy = true,
                                           .zero_start = zero,
                                           .window = window };
        audio_codes codes = audio_encode(codec, self, &whole, x, n, NULL);
        audio_sound sound = audio_decode(codec, self, &whole, &codes, NULL);
        assert_true(sound.n + (size_t)shape->hop > n);
        for (int i = 0; i < 6; i++) {
            tsri_audio_options options = whole;
            options.lazy = i & 1;
            audio_codes c = audio_encode(codec, self, &options, x, n, &rng);
            audio_same_codes(&codes, &c);
            audio_sound s = audio_decode(codec, self, &options, &codes, &rng);
            assert_int_equal(s.n, sound.n);
            if (s.n)
                assert_memory_equal(s.x, sound.x, s.n * sizeof *s.x *
                                                  (size_t)shape->channels);
            free(c.codes);
            free(s.x);
        }
        free(codes.codes);
        free(sound.x);
    }
    free(x);
}

/* Cuts a state or changes some of its bytes, mostly the first. */
static inline void audio_damage(check_rng *rng, int how, uint8_t *state,
                                size_t *bytes)
{
    if (how % 3 == 0) {
        *bytes = check_below(rng, (uint32_t)*bytes);
        return;
    }
    const size_t top = how % 2 && *bytes > 200 ? 200 : *bytes;
    for (int j = 0; j < 1 + how % 4; j++)
        state[check_below(rng, (uint32_t)top)] ^=
            (uint8_t)(1 + check_below(rng, 255));
}

/* A damaged state is refused, or what follows is harmless: 1 if refused. */
static inline int audio_bad_encoder(const tsri_audio_codec *codec, void *enc,
                                    const tsri_audio_shape *shape,
                                    const float *x, int books, check_rng *rng,
                                    int how)
{
    size_t bytes = codec->enc_state_bytes(enc);
    uint8_t *state = malloc(bytes);
    audio_codes out = { .books = books };

    codec->enc_state_save(enc, state);
    audio_damage(rng, how, state, &bytes);
    const tsr_error e = codec->enc_state_load(enc, state, bytes);
    free(state);
    assert_true(e == TSR_OK || e == TSR_E_CORRUPT);
    if (e)
        return 1;
    if (codec->enc_push(enc, x, 300, true) == TSR_OK)
        audio_take_codes(codec, enc, shape, 100, &out);
    free(out.codes);
    return 0;
}

static inline int audio_bad_decoder(const tsri_audio_codec *codec, void *dec,
                                    const tsri_audio_shape *shape,
                                    const audio_codes *codes, int frames,
                                    check_rng *rng, int how)
{
    size_t bytes = codec->dec_state_bytes(dec);
    uint8_t *state = malloc(bytes);
    audio_sound out = { NULL, 0 };

    codec->dec_state_save(dec, state);
    audio_damage(rng, how, state, &bytes);
    const tsr_error e = codec->dec_state_load(dec, state, bytes);
    free(state);
    assert_true(e == TSR_OK || e == TSR_E_CORRUPT);
    if (e)
        return 1;
    if (codec->dec_push(dec, codes->codes, frames, codes->books, codes->side[0],
                        true) == TSR_OK)
        audio_take_samples(codec, dec, shape->channels, 4096, &out);
    free(out.x);
    return 0;
}

/** Damaged states of both directions. */
static inline void audio_check_states(const tsri_audio_codec *codec, void *self,
                                      double window, uint64_t seed)
{
    const tsri_audio_shape *shape = codec->shape(self);
    const tsri_audio_options options = { .books = shape->books,
                                         .window = window };
    float *x = audio_signal(1200, shape->channels, 5);
    audio_codes codes = audio_encode(codec, self, &options, x, 1200, NULL);
    const int frames = shape->segmented ? codes.segment[0]
                                        : tsri_min(codes.frames, 9);
    check_rng rng = { seed };
    void *enc, *dec;
    int refused = 0;

    for (int i = 0; i < 150; i++) {
        assert_int_equal(codec->enc_open(&enc, self, &options), TSR_OK);
        assert_int_equal(codec->dec_open(&dec, self, &options), TSR_OK);
        assert_int_equal(codec->enc_push(enc, x, 700, false), TSR_OK);
        assert_int_equal(codec->dec_push(dec, codes.codes, frames, codes.books,
                                         codes.side[0], false), TSR_OK);
        refused += audio_bad_encoder(codec, enc, shape, x, codes.books, &rng,
                                     i);
        refused += audio_bad_decoder(codec, dec, shape, &codes, frames, &rng,
                                     i);
        codec->enc_close(&enc);
        codec->dec_close(&dec);
    }
    assert_true(refused > 100);
    free(codes.codes);
    free(x);
}

/** What opening a model without tensor `skip` returns. */
static inline tsr_error audio_try_model(const tsri_audio_codec *codec,
                                        tsr_context *ctx, check_tensors *list,
                                        size_t skip, const char *path)
{
    tsr_model *model = audio_model(ctx, list, skip, codec->id, path);
    void *self;
    const tsr_error e = codec->open(&self, ctx, model);

    assert_true((e == TSR_OK) == (self != NULL));
    codec->close(&self);
    tsr_model_unref(&model);
    return e;
}

/* Both directions, as far as memory lasts.  Everything is closed again. */
static inline tsr_error audio_both_ways(const tsri_audio_codec *codec,
                                        tsr_context *ctx, tsr_model *model,
                                        const float *x, size_t n, double window)
{
    void *self, *enc = NULL, *dec = NULL;
    uint16_t codes[8000];
    uint8_t side[TSRI_AUDIO_SIDE_MAX];
    int frames = 0;
    size_t got;

    tsr_error e = codec->open(&self, ctx, model);
    if (e)
        return e;
    const tsri_audio_options options = { .books = codec->shape(self)->books,
                                         .window = window };
    e = codec->enc_open(&enc, self, &options);
    if (!e)
        e = codec->dec_open(&dec, self, &options);
    if (!e)
        e = codec->enc_push(enc, x, n, true);
    if (!e)
        e = codec->enc_take(enc, codes, 1000, &frames, side);
    if (!e)
        e = codec->dec_push(dec, codes, frames, options.books, side, true);
    if (!e)
        e = codec->dec_take(dec, (float[200]){ 0 }, 100, &got);
    codec->enc_close(&enc);
    codec->dec_close(&dec);
    codec->close(&self);
    return e;
}

/** Fails every allocation in turn: no crash, nothing left behind. */
static inline void audio_check_memory(const tsri_audio_codec *codec,
                                      check_tensors *list, double window,
                                      const char *path)
{
    tsr_context *ctx = poor_context("c", 1);
    tsr_model *model = audio_model(ctx, list, SIZE_MAX, codec->id, path);
    const int held = poor_held;
    float *x = audio_signal(900, 2, 3);
    tsr_error e = TSR_E_NOMEM;

    for (int left = 0; e; left++) {
        poor_left = left;
        e = audio_both_ways(codec, ctx, model, x, 450, window);
        assert_true(e == TSR_OK || e == TSR_E_NOMEM);
        assert_int_equal(poor_held, held);
        assert_true(left < 5000);
    }
    poor_left = POOR_MANY;
    free(x);
    tsr_model_unref(&model);
    tsr_context_close(&ctx);
    assert_int_equal(poor_held, 0);
}
#endif

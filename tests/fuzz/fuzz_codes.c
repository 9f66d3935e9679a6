/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets of codes: any bytes are refused or give codes that are coded alike
 * again by plain and vector code, and what was coded comes back. */
#include <stdarg.h>
#include "tests/fuzz/fuzz_model.h"
#include "codecs/audio/codes.h"
#include "lib/bytes.h"

enum { BOOKS = 3, CODEWORDS = 20, DIM = 4, FRAMES = 100 };

/* ---- a small model with everything, written once ---- */

typedef struct writer {
    char head[8192];
    uint8_t data[1 << 16];
    size_t used, bytes;
    uint32_t seed;
} writer;

/* `count` numbers below `limit`. */
__attribute__((format(printf, 6, 7)))
static void tensor(writer *w, const char *type, int count, const char *dims,
                   uint32_t limit, const char *format, ...)
{
    const int width = type[1] == '8' ? 1 : type[1] == '1' ? 2 : 4;
    const size_t from = w->bytes;
    char name[64];
    va_list args;

    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    for (int i = 0; i < count; i++, w->bytes += (size_t)width) {
        uint8_t four[4];
        w->seed = w->seed * 1664525 + 1013904223;
        tsri_put32(four, limit < 2 ? limit : (w->seed >> 8) % limit);
        memcpy(w->data + w->bytes, four, (size_t)width);
    }
    w->used += (size_t)snprintf(w->head + w->used, sizeof w->head - w->used,
        "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
        w->used ? "," : "{", name, type, dims, from, w->bytes);
}

static void linear(writer *w, const char *name, int i, int in, int out)
{
    char dims[32];

    snprintf(dims, sizeof dims, "%d,%d", out, in);
    tensor(w, "I8", out * in, dims, 250, "codes.lm.%s%d.weight", name, i);
    snprintf(dims, sizeof dims, "%d", out);
    tensor(w, "I32", out, dims, 100000, "codes.lm.%s%d.bias", name, i);
    tensor(w, "I32", 1, "1", 20, "codes.lm.%s%d.shift", name, i);
    w->data[w->bytes - 4] |= 1;
}

static void norm(writer *w, const char *name)
{
    tensor(w, "I16", DIM, "4", 30000, "codes.lm.%s.gain", name);
    tensor(w, "I32", DIM, "4", 1 << 24, "codes.lm.%s.bias", name);
    tensor(w, "I32", 1, "1", 1, "codes.lm.%s.shift", name);
    w->data[w->bytes - 4] = 14;
}

/* The name of a layer's part ends in its number, so "0.query" needs its own. */
static void part(writer *w, const char *name, int in, int out)
{
    char text[32];

    snprintf(text, sizeof text, "0.%s", name);
    tensor(w, "I8", in * out, in < out ? "16,4" : in > out ? "4,16" : "4,4", 250,
           "codes.lm.%s.weight", text);
    tensor(w, "I32", out, out == DIM ? "4" : "16", 100000, "codes.lm.%s.bias", text);
    tensor(w, "I32", 1, "1", 1, "codes.lm.%s.shift", text);
    w->data[w->bytes - 4] = 7;
}

static void lm(writer *w)
{
    tensor(w, "I16", BOOKS * (CODEWORDS + 1) * DIM, "3,21,4", 60000, "codes.lm.emb");
    tensor(w, "I32", 3, "3", 1, "codes.lm.shape");
    w->data[w->bytes - 4] = 5;
    norm(w, "in");
    part(w, "query", DIM, DIM);
    part(w, "key", DIM, DIM);
    part(w, "value", DIM, DIM);
    part(w, "out", DIM, DIM);
    part(w, "up", DIM, 4 * DIM);
    part(w, "down", 4 * DIM, DIM);
    norm(w, "0.norm1");
    norm(w, "0.norm2");
    tensor(w, "I32", 1, "1", 9, "codes.lm.0.score.shift");
    for (int k = 0; k < BOOKS; k++)
        linear(w, "logits.", k, DIM, CODEWORDS);
    tensor(w, "I16", BOOKS * CODEWORDS * DIM, "3,20,4", 60000, "codes.lm.coarser");
    tensor(w, "I32", 1, "1", 3, "codes.lm.coarser.shift");
    tensor(w, "I32", DIM / 2, "2", 1u << 30, "codes.lm.phase");
    tensor(w, "I16", 4096, "4096", 65000, "codes.lm.sine");
    tensor(w, "I16", 1025, "1025", 65000, "codes.lm.gelu");
    tensor(w, "U16", 256, "256", 65000, "codes.lm.exp2");
    w->data[w->bytes - 511] = 0xff;
}

static tsr_model *open_model(const writer *w)
{
    const size_t size = 8 + w->used + 1 + w->bytes;
    uint8_t *file = malloc(size);
    tsr_model *model;

    FUZZ_CHECK(file);
    tsri_put64(file, w->used + 1);
    memcpy(file + 8, w->head, w->used);
    file[8 + w->used] = '}';
    memcpy(file + 8 + w->used + 1, w->data, w->bytes);
    FUZZ_CHECK(!fuzz_open_bytes(&model, file, size));
    free(file);
    return model;
}

static tsr_model *make_model(void)
{
    static const uint8_t relations[BOOKS * 4] = { 1, 0, 255, 0, 0, 0, 2, 1,
                                                  0, 1, 1, 0 };
    static writer w;

    w = (writer){ .seed = 1 };
    tensor(&w, "U8", BOOKS * CODEWORDS, "3,20", 256, "codes.static");
    tensor(&w, "U8", 4 * CODEWORDS, "4,20", 256, "codes.context.rows");
    tensor(&w, "U8", BOOKS * 2 * (CODEWORDS + 1), "3,2,21", 2,
           "codes.context.class");
    tensor(&w, "U8", BOOKS * 4, "3,2,2", 1, "codes.context.relation");
    memcpy(w.data + w.bytes - BOOKS * 4, relations, sizeof relations);
    tensor(&w, "I32", BOOKS * 2, "3,2", 3, "codes.context.base");
    lm(&w);
    return open_model(&w);
}

/* Books of one size, or book 0 of half. */
static const int sizes[2][2] = { { 0, 0 }, { 1, 0 } };
static bool halved;

static tsri_codes_coder *coder(bool plain)
{
    static tsri_codes_coder *all[2][2];
    static tsri_codes *both[2];
    tsri_codes_coder **coders = all[halved];
    tsr_model *model;

    if (coders[plain])
        return coders[plain];
    if (!both[halved]) {
        model = make_model();
        FUZZ_CHECK(!tsri_codes_open(&both[halved], fuzz_context(plain), model,
                                    BOOKS, CODEWORDS));
        tsri_codes_shorten(both[halved], sizes[halved]);
        tsr_model_unref(&model);
    }
    FUZZ_CHECK(!tsri_codes_coder_open(&coders[plain], both[halved],
                                      fuzz_context(plain)));
    return coders[plain];
}

/* ---- both ways ---- */

static size_t total(const tsri_codes_form *form, const size_t *bytes)
{
    size_t n = 0;

    for (int i = 0; i < (form->layers ? form->books : 1); i++)
        n += bytes[i];
    return n;
}

/* Codes go to bytes and back, in two ways. */
static void round_trip(const tsri_codes_form *form, const uint16_t *codes)
{
    const size_t n = 2 * (size_t)(form->frames * form->books);
    uint16_t back[FRAMES * BOOKS];
    const uint8_t *data[2];
    size_t bytes[2][BOOKS];

    for (int plain = 0; plain < 2; plain++)
        FUZZ_CHECK(!tsri_codes_put(coder(plain), form, codes, &data[plain],
                                   bytes[plain]));
    FUZZ_CHECK(total(form, bytes[0]) == total(form, bytes[1]));
    FUZZ_CHECK(!memcmp(data[0], data[1], total(form, bytes[0])));
    for (int plain = 0; plain < 2; plain++) {
        memset(back, 0xff, sizeof back);
        FUZZ_CHECK(!tsri_codes_get(coder(plain), form, data[!plain], bytes[0],
                                   back));
        FUZZ_CHECK(!memcmp(back, codes, n));
    }
}

static void any_bytes(const tsri_codes_form *form, fuzz_input *in)
{
    static uint16_t codes[2][FRAMES * BOOKS];
    size_t bytes[BOOKS] = { 0 };
    tsr_error error[2];

    for (int k = 0; k < form->books - 1 && form->layers; k++)
        bytes[k] = fuzz_u8(in);
    const size_t used = total(form, bytes);
    if (used > in->size)
        return;
    bytes[form->layers ? form->books - 1 : 0] += in->size - used;
    uint8_t *copy = fuzz_copy(in);
    for (int plain = 0; plain < 2; plain++)
        error[plain] = tsri_codes_get(coder(plain), form, copy, bytes,
                                      codes[plain]);
    free(copy);
    FUZZ_CHECK(error[0] == error[1]);
    FUZZ_CHECK(!error[0] || error[0] == TSR_E_CORRUPT);
    if (error[0])
        return;
    FUZZ_CHECK(tsri_codes_fit(codes[0], (size_t)form->frames, form->books,
                              CODEWORDS, sizes[halved]));
    FUZZ_CHECK(!memcmp(codes[0], codes[1], 2 * (size_t)(form->frames *
                                                       form->books)));
    round_trip(form, codes[0]);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    uint16_t codes[FRAMES * BOOKS];
    tsri_codes_form form = { 0 };
    const uint32_t how = fuzz_u8(&in);

    halved = how & 32;
    form.entropy = (tsr_audio_entropy)(1 + how % 5);
    if (halved) /* what has tables refuses it */
        form.entropy = how & 1 ? TSR_AUDIO_ENTROPY_FIXED
                               : TSR_AUDIO_ENTROPY_ADAPTIVE;
    form.layers = how & 64 && form.entropy != TSR_AUDIO_ENTROPY_LM;
    form.books = 1 + (int)fuzz_below(&in, BOOKS);
    form.frames = 1 + (int)fuzz_below(&in, FRAMES);
    form.crc = fuzz_u8(&in);
    for (int i = 0; i < form.frames * form.books; i++)
        codes[i] = (uint16_t)(fuzz_at(&in, (size_t)i) %
                              (uint32_t)tsri_codes_words(CODEWORDS, sizes[halved],
                                                         i % form.books));
    if (how & 128)
        round_trip(&form, codes);
    else
        any_bytes(&form, &in);
}

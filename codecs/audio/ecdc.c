/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "codecs/audio/ecdc.h"
#include "entropy/ecdc.h"
#include "entropy/packing.h"
#include "lib/json.h"

enum { FRONT = 9, JSON_MAX = 4096 };    /* magic, version, length */
static const uint64_t samples_max = (uint64_t)1 << 48;

static uint32_t get_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_be32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* ---- header ---- */

static bool get_bool(tsri_json *j, bool *out)
{
    while (j->at < j->end && *j->at == ' ')
        j->at++;
    const char *from = j->at;
    if (!tsri_json_skip(j))
        return false;
    *out = j->at - from == 4 && !memcmp(from, "true", 4);
    return *out || (j->at - from == 5 && !memcmp(from, "false", 5));
}

enum { MODEL = 1, SAMPLES = 2, BOOKS = 4, LM = 8, EVERYTHING = 15 };

/* One member; the bit of what it was, 0: something else, -1: a fault. */
static int get_member(tsri_json *j, const char *key, tsri_ecdc_head *head)
{
    uint64_t books = 0;
    bool ok;

    if (!strcmp(key, "m"))
        return tsri_json_string(j, head->model, sizeof head->model) ? MODEL : -1;
    if (!strcmp(key, "al")) {
        ok = tsri_json_u64(j, &head->samples) && head->samples &&
             head->samples <= samples_max;
        return ok ? SAMPLES : -1;
    }
    if (!strcmp(key, "nc")) {
        ok = tsri_json_u64(j, &books) && books && books <= TSR_AUDIO_MAX_BOOKS;
        head->books = (int)books;
        return ok ? BOOKS : -1;
    }
    if (!strcmp(key, "lm"))
        return get_bool(j, &head->lm) ? LM : -1;
    return tsri_json_skip(j) ? 0 : -1;
}

static bool get_json(tsri_json *j, tsri_ecdc_head *head)
{
    bool first = true;
    char key[16];
    int seen = 0;

    while (tsri_json_member(j, &first, key, sizeof key)) {
        const int what = get_member(j, key, head);
        if (what < 0 || seen & what)
            return false;
        seen |= what;
    }
    return !j->bad && j->at == j->end && seen == EVERYTHING;
}

tsr_error tsri_ecdc_get_head(tsr_context *ctx, tsri_ecdc_head *head,
                             const uint8_t *data, size_t size, size_t *used)
{
    tsri_json j;
    size_t length;

    *head = (tsri_ecdc_head){ .books = 0 };
    if (memcmp(data, "ECDC", size < 4 ? size : 4))
        return tsri_fail(ctx, TSR_E_FORMAT, "not an .ecdc file");
    if (size < FRONT)
        return tsri_fail(ctx, TSR_E_TRUNCATED, ".ecdc: no header");
    if (data[4])
        return tsri_fail(ctx, TSR_E_VERSION, ".ecdc of version %d", data[4]);
    length = get_be32(data + 5);
    if (length > JSON_MAX)
        return tsri_fail(ctx, TSR_E_CORRUPT, ".ecdc: a header of %zu bytes", length);
    if (length > size - FRONT)
        return tsri_fail(ctx, TSR_E_TRUNCATED, ".ecdc: the header is cut off");
    j = (tsri_json){ .at = (const char *)data + FRONT };
    j.end = j.at + length;
    if (!get_json(&j, head))
        return tsri_fail(ctx, TSR_E_CORRUPT, ".ecdc: a header that cannot be");
    *used = FRONT + length;
    return TSR_OK;
}

tsr_error tsri_ecdc_put_head(const tsri_ecdc_head *head, uint8_t *out,
                             size_t *used)
{
    char text[TSRI_ECDC_HEAD_MAX - FRONT];
    int n;

    if (strspn(head->model, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
               "0123456789_") != strlen(head->model))
        return TSR_E_ARG;
    n = snprintf(text, sizeof text, "{\"m\": \"%s\", \"al\": %" PRIu64
                 ", \"nc\": %d, \"lm\": %s}", head->model, head->samples,
                 head->books, head->lm ? "true" : "false");
    memcpy(out, "ECDC", 5);
    put_be32(out + 5, (uint32_t)n);
    memcpy(out + FRONT, text, (size_t)n);
    *used = FRONT + (size_t)n;
    return TSR_OK;
}

/* ---- segments ---- */

uint64_t tsri_ecdc_segments(const tsri_ecdc_model *m, uint64_t samples)
{
    const uint64_t step = m->segment ? (uint64_t)m->step : samples;

    return samples / step + !!(samples % step);
}

int tsri_ecdc_frames(const tsri_ecdc_model *m, uint64_t samples, uint64_t i)
{
    const uint64_t hop = (uint64_t)m->hop;
    uint64_t n = samples, frames;

    if (i >= tsri_ecdc_segments(m, samples))
        return 0;
    if (m->segment) {
        n -= i * (uint64_t)m->step;
        n = n < (uint64_t)m->segment ? n : (uint64_t)m->segment;
    }
    frames = n / hop + !!(n % hop);
    return frames <= INT32_MAX ? (int)frames : 0;
}

static size_t scale_bytes(const tsri_ecdc_model *m)
{
    return m->scaled ? 4 : 0;
}

static tsr_error get_scale(const tsri_ecdc_model *m, const uint8_t *data,
                           size_t size, float *scale)
{
    *scale = 1;
    if (size < scale_bytes(m))
        return TSR_E_TRUNCATED;
    if (m->scaled) {
        const uint32_t bits = get_be32(data);
        memcpy(scale, &bits, 4);
    }
    return isfinite(*scale) && *scale > 0 ? TSR_OK : TSR_E_CORRUPT;
}

static void put_scale(const tsri_ecdc_model *m, float scale, uint8_t *out)
{
    uint32_t bits;

    memcpy(&bits, &scale, 4);
    if (m->scaled)
        put_be32(out, bits);
}

/* Codes of fixed width, at most 2^37 of them. */
static size_t packed(const tsri_ecdc_model *m, int books, int frames,
                     tsri_packing *packing)
{
    size_t bytes = 0;

    if (tsri_packing_fixed(packing, (size_t)m->codewords) ||
        !tsri_packing_size(packing, (size_t)books * (size_t)frames, &bytes))
        return 0;
    return bytes;
}

size_t tsri_ecdc_raw_bytes(const tsri_ecdc_model *m, int books, int frames)
{
    tsri_packing packing;

    return scale_bytes(m) + packed(m, books, frames, &packing);
}

tsr_error tsri_ecdc_get_raw(tsr_context *ctx, const tsri_ecdc_model *m,
                            int books, int frames, const uint8_t *data,
                            size_t size, float *scale, uint16_t *codes,
                            size_t *used)
{
    const size_t front = scale_bytes(m);
    tsri_packing packing;
    const size_t body = packed(m, books, frames, &packing);

    TSR_TRY(get_scale(m, data, size, scale));
    if (body > size - front)
        return TSR_E_TRUNCATED;
    *used = front + body;
    return tsri_unpack16(&packing, ctx, data + front, body, codes,
                         (size_t)books * (size_t)frames);
}

tsr_error tsri_ecdc_put_raw(tsr_context *ctx, const tsri_ecdc_model *m,
                            int books, int frames, float scale,
                            const uint16_t *codes, uint8_t *out)
{
    tsri_packing packing;

    packed(m, books, frames, &packing);
    put_scale(m, scale, out);
    return tsri_pack16(&packing, ctx, codes, (size_t)books * (size_t)frames,
                       out + scale_bytes(m));
}

tsr_error tsri_ecdc_get_lm(const tsri_ecdc_model *m, int books, int frames,
                           const tsri_ecdc_tables *tables, const uint8_t *data,
                           size_t size, float *scale, uint16_t *codes,
                           size_t *used)
{
    const size_t front = scale_bytes(m);
    const uint32_t *cdf;
    tsri_ecdc_dec dec;
    int symbol;

    TSR_TRY(get_scale(m, data, size, scale));
    tsri_ecdc_dec_open(&dec, data + front, size - front);
    for (int f = 0; f < frames; f++) {
        uint16_t *to = codes + (size_t)f * (size_t)books;
        TSR_TRY(tables->frame(tables->cookie, f, codes, &cdf));
        for (int k = 0; k < books; k++, cdf += m->codewords) {
            TSR_TRY(tsri_ecdc_get(&dec, cdf, m->codewords, &symbol));
            to[k] = (uint16_t)symbol;
        }
    }
    *used = front + tsri_ecdc_used(&dec);
    return TSR_OK;
}

tsr_error tsri_ecdc_put_lm(const tsri_ecdc_model *m, int books, int frames,
                           const tsri_ecdc_tables *tables, float scale,
                           const uint16_t *codes, uint8_t *out, size_t room,
                           size_t *used)
{
    const size_t front = scale_bytes(m);
    const uint32_t *cdf;
    tsri_ecdc_enc enc;

    if (room < front)
        return TSR_E_LIMIT;
    put_scale(m, scale, out);
    tsri_ecdc_enc_open(&enc, out + front, room - front);
    for (int f = 0; f < frames; f++) {
        const uint16_t *from = codes + (size_t)f * (size_t)books;
        TSR_TRY(tables->frame(tables->cookie, f, codes, &cdf));
        for (int k = 0; k < books; k++, cdf += m->codewords) {
            if (from[k] >= m->codewords)
                return TSR_E_ARG;
            TSR_TRY(tsri_ecdc_put(&enc, cdf, from[k]));
        }
    }
    TSR_TRY(tsri_ecdc_finish(&enc, used));
    *used += front;
    return TSR_OK;
}

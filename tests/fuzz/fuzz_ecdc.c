/* SPDX-License-Identifier: BSD-2-Clause */
/* .ecdc files of anybody's making: headers that are read can be written again,
 * segments stay within their bytes, and what was read gives the same bytes. */
#include "tests/fuzz/fuzz.h"
#include "codecs/audio/ecdc.h"

enum { CODEWORDS = 64, BOOKS = 8, FRAMES = 64 };

/* Tables that differ from frame to frame. */
static tsr_error get_frame(void *cookie, int f, const uint16_t *codes,
                           const uint32_t **cdf)
{
    static uint32_t tables[BOOKS * CODEWORDS];

    (void)cookie;
    for (int k = 0; k < BOOKS; k++) {
        uint32_t sum = 0;
        for (uint32_t i = 0; i < CODEWORDS; i++)
            tables[(uint32_t)k * CODEWORDS + i] = sum += 2 +
                (i * 7 + (f ? codes[f - 1] : 3u)) % 64 * 4000;
    }
    *cdf = tables;
    return TSR_OK;
}

static void segment(const tsri_ecdc_model *model, const tsri_ecdc_head *head,
                    int frames, const fuzz_input *in)
{
    const tsri_ecdc_tables tables = { NULL, get_frame };
    uint16_t codes[FRAMES * BOOKS];
    uint8_t *copy = fuzz_copy(in), *out = malloc(in->size + 1);
    float scale;
    size_t used, wrote;
    tsr_error error;

    FUZZ_CHECK(out);
    if (head->lm)
        error = tsri_ecdc_get_lm(model, head->books, frames, &tables, copy,
                                 in->size, &scale, codes, &used);
    else
        error = tsri_ecdc_get_raw(fuzz_context(false), model, head->books, frames,
                                  copy, in->size, &scale, codes, &used);
    FUZZ_CHECK(error == TSR_OK || error == TSR_E_TRUNCATED ||
               error == TSR_E_CORRUPT);
    if (!error) {
        FUZZ_CHECK(used <= in->size);
        for (int i = 0; i < frames * head->books; i++)
            FUZZ_CHECK(codes[i] < CODEWORDS);
        if (head->lm) {     /* other bits may stand for the same codes */
            FUZZ_CHECK(!tsri_ecdc_put_lm(model, head->books, frames, &tables,
                                         scale, codes, out, used, &wrote));
            FUZZ_CHECK(wrote == used);
        } else {
            FUZZ_CHECK(!tsri_ecdc_put_raw(fuzz_context(false), model, head->books,
                                          frames, scale, codes, out));
            FUZZ_CHECK(!memcmp(out, copy, used));
        }
    }
    free(out);
    free(copy);
}

void fuzz_target(const uint8_t *data, size_t size)
{
    fuzz_input in = { data, size };
    const uint32_t how = fuzz_u8(&in);
    const tsri_ecdc_model model = { 1 + (int)(how % 7), CODEWORDS,
                                    how & 16 ? 40 : 0, 33, how & 32 };
    tsri_ecdc_head head = { .samples = 60, .books = 1 + (int)(how % BOOKS),
                            .lm = how & 64 };
    size_t used = 0;

    if (how & 128) {
        uint8_t *copy = fuzz_copy(&in), again[TSRI_ECDC_HEAD_MAX];
        const tsr_error error = tsri_ecdc_get_head(fuzz_context(false), &head, copy,
                                                   in.size, &used);
        free(copy);
        if (error)
            return;
        FUZZ_CHECK(used <= in.size && head.samples && head.books);
        if (!tsri_ecdc_put_head(&head, again, &used)) {
            tsri_ecdc_head same;
            FUZZ_CHECK(!tsri_ecdc_get_head(fuzz_context(false), &same, again, used,
                                           &used));
            FUZZ_CHECK(!memcmp(&same, &head, sizeof same));
        }
    }
    const int frames = tsri_ecdc_frames(&model, head.samples, 0);
    if (head.books <= BOOKS && frames && frames <= FRAMES)
        segment(&model, &head, frames, &in);
}

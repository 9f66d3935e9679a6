/* SPDX-License-Identifier: BSD-2-Clause */
/* EnCodec's own file format, .ecdc: a header, then for each segment of the sound
 * its scale, where the model has one, and its codes, packed or, with the
 * language model, by the arithmetic coder of entropy/ecdc.h.  Nothing tells the
 * length of a segment; it follows from the codes. */
#ifndef TSR_CODECS_AUDIO_ECDC_H
#define TSR_CODECS_AUDIO_ECDC_H
#include <tessera/audio.h>
#include "lib/core.h"

/** The header.  samples: of each channel, 1..2^48. */
typedef struct tsri_ecdc_head {
    char model[64];
    uint64_t samples;
    int books;          /* 1..TSR_AUDIO_MAX_BOOKS */
    bool lm;
} tsri_ecdc_head;

/** What the model named says of the rest. */
typedef struct tsri_ecdc_model {
    int hop, codewords;
    int segment, step;  /* samples; segment 0: the sound is one segment */
    bool scaled;
} tsri_ecdc_model;

/**
 * Reads a header.
 *
 * used  out: its bytes
 *
 * Returns TSR_OK; TSR_E_FORMAT another file; TSR_E_VERSION; TSR_E_TRUNCATED;
 * TSR_E_CORRUPT what it says cannot be.  Logs why.
 */
tsr_error tsri_ecdc_get_head(tsr_context *ctx, tsri_ecdc_head *head,
                             const uint8_t *data, size_t size, size_t *used);

enum { TSRI_ECDC_HEAD_MAX = 160 };
/** Writes it as published; `out` has room for TSRI_ECDC_HEAD_MAX bytes.  The
 *  name: letters, digits and '_'.  Returns TSR_OK; TSR_E_ARG. */
tsr_error tsri_ecdc_put_head(const tsri_ecdc_head *head, uint8_t *out,
                             size_t *used);

/** Segments of a sound; and frames of segment i, 0 if there is none or it has
 *  more than 2^31 - 1. */
uint64_t tsri_ecdc_segments(const tsri_ecdc_model *model, uint64_t samples);
int tsri_ecdc_frames(const tsri_ecdc_model *model, uint64_t samples, uint64_t i);

/** Bytes of a segment without language model. */
size_t tsri_ecdc_raw_bytes(const tsri_ecdc_model *model, int books, int frames);

/**
 * Reads a segment without language model.
 *
 * size   of the rest of the file
 * scale  out: 1 where the model has none
 * codes  out, [frames][books]
 * used   out
 *
 * Returns TSR_OK; TSR_E_TRUNCATED; TSR_E_CORRUPT a scale that is none, a code
 * above the model's, bits behind the last code.
 */
tsr_error tsri_ecdc_get_raw(tsr_context *ctx, const tsri_ecdc_model *model,
                            int books, int frames, const uint8_t *data,
                            size_t size, float *scale, uint16_t *codes,
                            size_t *used);
/** Writes one: tsri_ecdc_raw_bytes().  Returns TSR_OK; TSR_E_ARG. */
tsr_error tsri_ecdc_put_raw(tsr_context *ctx, const tsri_ecdc_model *model,
                            int books, int frames, float scale,
                            const uint16_t *codes, uint8_t *out);

/** Where tables come from: those of frame f, [books][codewords] sums, given the
 *  codes of the frames before it. */
typedef struct tsri_ecdc_tables {
    void *cookie;
    tsr_error (*frame)(void *cookie, int f, const uint16_t *codes,
                       const uint32_t **cdf);
} tsri_ecdc_tables;

/** The same with tables; what these return is passed on.  A segment of n codes
 *  takes at most 3 n + 12 bytes. */
tsr_error tsri_ecdc_get_lm(const tsri_ecdc_model *model, int books, int frames,
                           const tsri_ecdc_tables *tables, const uint8_t *data,
                           size_t size, float *scale, uint16_t *codes,
                           size_t *used);
tsr_error tsri_ecdc_put_lm(const tsri_ecdc_model *model, int books, int frames,
                           const tsri_ecdc_tables *tables, float scale,
                           const uint16_t *codes, uint8_t *out, size_t room,
                           size_t *used);
#endif

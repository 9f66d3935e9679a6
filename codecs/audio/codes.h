/* SPDX-License-Identifier: BSD-2-Clause */
/* Entropy coding of the codes of one packet.  docs/audio-format.md section 3
 * is the format.  Everything here is integer.
 *
 * Segments are range-coded rather than rANS: those of live packets have some ten
 * bytes, where lanes and their states would be a third.  A segment that comes
 * out longer than codes of fixed width is written as these, so no form costs
 * more than FIXED.  The least segment has one byte more than its codes.
 *
 * Time, one core of a Zen 3, a code of 1024: FIXED 2 ns, STATIC 30 ns, ADAPTIVE
 * 150 ns, CONTEXT 6 us, whose table is made for each code; LM with EnCodec's
 * network 0.1 ms. */
#ifndef TSR_CODECS_AUDIO_CODES_H
#define TSR_CODECS_AUDIO_CODES_H
#include <tessera/audio.h>
#include "lib/core.h"

/** The tables and the language model of a model; constant after open. */
typedef struct tsri_codes tsri_codes;

/** Most bits by which a book's codes are shorter than those of the largest. */
enum { TSRI_CODES_SHORTER = 15 };

/** Books may differ in size: codewords >> shorter[0] in book 0, codewords >>
 *  shorter[1] in the others.  Codewords of book k. */
static inline int tsri_codes_words(int codewords, const int shorter[2], int k)
{
    return codewords >> shorter[k > 0];
}
/** Each 0..TSRI_CODES_SHORTER, one of them 0, and at least two codewords left? */
bool tsri_codes_shorter_fit(int codewords, const int shorter[2]);
/** Are codes[n][books] those of their books? */
bool tsri_codes_fit(const uint16_t *codes, size_t n, int books, int codewords,
                    const int shorter[2]);
/** The same, and says which one is not: TSR_OK; TSR_E_ARG. */
tsr_error tsri_codes_check(tsr_context *ctx, const uint16_t *codes, size_t n,
                           int books, int codewords, const int shorter[2]);

/**
 * Reads what the model has: the tensors codes.* of docs/audio-format.md; none is
 * needed.
 *
 * books, codewords  of the codec
 *
 * Returns TSR_OK; TSR_E_SHAPE; TSR_E_CORRUPT tables that are not sound;
 * TSR_E_NOMEM.
 */
tsr_error tsri_codes_open(tsri_codes **codes, tsr_context *ctx,
                          const tsr_model *model, int books, int codewords);
/** Says that books differ in size; before any coder is opened.  Only FIXED and
 *  ADAPTIVE code such books. */
void tsri_codes_shorten(tsri_codes *codes, const int shorter[2]);
void tsri_codes_close(tsri_codes **codes);
/** Does this model have what `entropy` (not AUTO) needs? */
bool tsri_codes_has(const tsri_codes *codes, tsr_audio_entropy entropy);
/** What AUTO stands for: the best of those that cost next to nothing beside the
 *  nets: CONTEXT, STATIC, ADAPTIVE for packets of 64 frames and more, FIXED. */
tsr_audio_entropy tsri_codes_auto(const tsri_codes *codes, int packet_frames);

/** Working memory of one coder. */
typedef struct tsri_codes_coder tsri_codes_coder;
tsr_error tsri_codes_coder_open(tsri_codes_coder **coder, const tsri_codes *codes,
                                tsr_context *ctx);
void tsri_codes_coder_close(tsri_codes_coder **coder);

typedef struct tsri_codes_form {
    tsr_audio_entropy entropy;  /* not AUTO */
    bool layers;                /* a segment for each book; not with LM */
    int books;                  /* 1..TSR_AUDIO_MAX_BOOKS */
    int frames;                 /* 1..TSR_AUDIO_MAX_FRAMES */
    uint32_t crc;               /* of what else the segments' checks protect */
} tsri_codes_form;

/**
 * Codes a packet.
 *
 * codes   [frames][books], each below the codewords of its book
 * data    out: the segments one after the other, the coder's until its next call
 * bytes   out: of each segment, at least 1; [books] with layers, else [1]
 *
 * Returns TSR_OK; TSR_E_ARG a number outside its limits, an entropy coding that
 * the model does not have; TSR_E_NOMEM.  Logs nothing, as get.
 */
tsr_error tsri_codes_put(tsri_codes_coder *coder, const tsri_codes_form *form,
                         const uint16_t *codes, const uint8_t **data,
                         size_t *bytes);
/**
 * Decodes it.  With layers, form->books may be less than were coded: the first
 * ones, whose segments are given.
 *
 * bytes  of each segment
 * codes  out, [frames][books]
 *
 * Returns TSR_OK; TSR_E_CORRUPT the bytes are not exactly these segments;
 * TSR_E_ARG an entropy coding that the model does not have; TSR_E_NOMEM.
 */
tsr_error tsri_codes_get(tsri_codes_coder *coder, const tsri_codes_form *form,
                         const uint8_t *data, const size_t *bytes,
                         uint16_t *codes);
#endif

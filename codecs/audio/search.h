/* SPDX-License-Identifier: BSD-2-Clause */
/* Which codes a frame gets.
 *
 * Beam 0: each book's codeword nearest to what the coarser ones leave, as
 * published (tsri_quantiser_search()).
 *
 * Beam 1..16: of all sequences of codes that a beam search meets, the one with the
 * least
 *
 *     J = |z - sum of codewords|^2 + lambda * bits
 *
 * book by book in the order of the stream, the `beam` best beginnings being
 * kept from book to book.  bits are those of the context tables of the model
 * (docs/audio-format.md 3.3), given the codes that were chosen for the frames before,
 * whether or not a packet begins between them, and whatever entropy coding the
 * stream uses: so codes depend on neither.  What book 0 learns beside its table is
 * left out.  lambda is 1/50 of the mean of |c|^2 over the codewords of the last
 * book used: half of what another book would gain for its bits.  Without
 * tables it is 0.
 *
 * The beginning that takes the best codeword of each book is always kept, so J is
 * never above that of the greedy choice but for rounding: without tables the
 * error is never above that of beam 0.
 *
 * J is the same on every processor.  |z|^2 in float from channel 0 up; error of
 * a beginning: its parent's plus the score of tsri_scores_plain(); bits: integers,
 * 1/256 each, the logarithm of the sum of weights within 1/128.  With o = error +
 * lambda * bits of the parent and of the sum of weights, J of a codeword is
 * (o + score) - lambda / 16 * v, each step rounded to float.  Of equals the beginning
 * that ranked higher wins, then the lower codeword.  A J that is no number
 * counts as infinite; codes are in range all the same.
 *
 * Cost of a frame: books * beam * k * dim multiply-adds (dim: of a group), which the
 * nearest search does in a quarter of the time each, and books * beam * k
 * times some ten operations on the tables.  One thread, one frame after another.
 *
 * Source: beam as tsr_rvq_encode(); lambda: Chou, Lookabaugh & Gray,
 * "Entropy-constrained vector quantization", IEEE Trans. ASSP 37(1), 1989. */
#ifndef TSR_CODECS_AUDIO_SEARCH_H
#define TSR_CODECS_AUDIO_SEARCH_H
#include "codecs/audio/codes.h"
#include "codecs/audio/quantiser.h"

enum { TSRI_SEARCH_BEAM_MAX = 16 };

typedef struct tsri_search tsri_search;

/**
 * q      must live until close
 * codes  the model's, must live until close; NULL: no tables.  Of q's books
 * books  groups..books of q
 * beam   0..TSRI_SEARCH_BEAM_MAX
 *
 * Returns TSR_OK; TSR_E_NOMEM.  Memory: beam (rounded up to 4) * k floats.
 */
tsr_error tsri_search_open(tsri_search **search, const tsri_quantiser *q,
                           const tsri_codes *codes, int books, int beam);
void tsri_search_close(tsri_search **search);

/** Codes of the next n frames.  z: [n][groups * dim]; codes: out, [n][books]. */
tsr_error tsri_search_frames(tsri_search *search, const float *z, int n,
                             uint16_t *codes);

/** What it remembers of the frames before, as bytes; load returns false if it
 *  cannot be that. */
size_t tsri_search_state_bytes(const tsri_search *search);
void tsri_search_state_save(const tsri_search *search, uint8_t *state);
bool tsri_search_state_load(tsri_search *search, const uint8_t *state);
#endif

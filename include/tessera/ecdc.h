/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_ECDC_H
#define TSR_ECDC_H
#include <tessera/context.h>
#include <tessera/error.h>
#include <tessera/io.h>
#include <tessera/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The files of EnCodec's own program (.ecdc) from and to .tess sound of codec
 * "encodec": the same codes in another container.  No nets are run.  Files that
 * were made with its language model (--lm) are refused: their probabilities are
 * sums of floats, which come out otherwise on another machine. */

/**
 * Makes .tess sound of an .ecdc file.  Memory: about 6 times the file.
 *
 * model   of codec encodec, the one the file was made with: the file names it
 *         only by its rate, as "encodec_24khz", which is compared
 *
 * Returns TSR_OK; TSR_E_FORMAT no .ecdc; TSR_E_TRUNCATED; TSR_E_CORRUPT;
 * TSR_E_VERSION; TSR_E_UNSUPPORTED with a language model, or a segment but the
 * last one that is not full; TSR_E_MODEL not a model of that codec, or another
 * one; TSR_E_LIMIT a file over 256 MiB; what source and sink returned;
 * TSR_E_NOMEM.
 */
TSR_API TSR_CHECKED tsr_error tsr_ecdc_read(tsr_context *context,
                                            tsr_model *model,
                                            const tsr_source *source,
                                            const tsr_sink *sink);

/**
 * Makes an .ecdc file, without language model, of .tess sound of codec encodec.
 * Memory: all codes of the sound, 2 bytes each.
 *
 * model   or NULL to find it by the hash in the stream
 *
 * Returns TSR_OK; TSR_E_UNSUPPORTED sound of another codec, of more channels than
 * the model codes together, with books that were cut off, or without samples;
 * otherwise as tsr_audio_decode(), and damage is an error: then nothing is
 * written.
 */
TSR_API TSR_CHECKED tsr_error tsr_ecdc_write(tsr_context *context,
                                             tsr_model *model,
                                             const tsr_source *source,
                                             const tsr_sink *sink);

#ifdef __cplusplus
}
#endif
#endif

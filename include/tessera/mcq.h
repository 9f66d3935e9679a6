/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_MCQ_H
#define TSR_MCQ_H
#include <tessera/context.h>
#include <tessera/error.h>
#include <tessera/io.h>
#include <tessera/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The files of McQuic's own program (.mcq) from and to .tess pictures of codec
 * "mcquic": the same codes in another container.  No nets are run. */

/**
 * Makes a .tess picture of a .mcq file.
 *
 * model   of codec mcquic, the one the file was made with: the file names it
 *         only by its sizes, which are compared
 *
 * Returns TSR_OK; TSR_E_FORMAT no .mcq; TSR_E_CORRUPT broken or cut, or codes
 * that do not end where they should, as with another model; TSR_E_VERSION;
 * TSR_E_MODEL not a model of that codec, or of other sizes; TSR_E_LIMIT; what
 * source and sink returned; TSR_E_NOMEM.
 */
TSR_API TSR_CHECKED tsr_error tsr_mcq_read(tsr_context *context,
                                           tsr_model *model,
                                           const tsr_source *source,
                                           const tsr_sink *sink);

/**
 * Makes a .mcq file of a .tess picture of codec mcquic.
 *
 * model   or NULL to find it by the hash in the stream.  Its name stands in the
 *         file, and McQuic's program looks for the model by that: the published
 *         one is "qp_2_msssim"
 *
 * Returns TSR_OK; TSR_E_UNSUPPORTED a picture of another codec, or with alpha;
 * otherwise as tsr_image_decode(), and damage is an error.
 */
TSR_API TSR_CHECKED tsr_error tsr_mcq_write(tsr_context *context,
                                            tsr_model *model,
                                            const tsr_source *source,
                                            const tsr_sink *sink);

#ifdef __cplusplus
}
#endif
#endif

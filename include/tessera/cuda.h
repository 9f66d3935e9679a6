/* SPDX-License-Identifier: BSD-2-Clause */
/* Pictures in device memory, for programs that have CUDA themselves.  A context
 * that was opened with a device is asked for throughout; others, and builds
 * without CUDA, give TSR_E_UNSUPPORTED. */
#ifndef TSR_CUDA_H
#define TSR_CUDA_H
#include <tessera/image.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Queues the context's work on the caller's stream from now on, after waiting
 * for what it had queued before.
 *
 * stream  a cudaStream_t of the context's device, which must live until another
 *         one is set or the context is closed; NULL: the context's own again
 *
 * Returns TSR_OK; TSR_E_UNSUPPORTED; TSR_E_BACKEND.
 */
TSR_API TSR_CHECKED tsr_error tsr_cuda_use_stream(tsr_context *context,
                                                  void *stream);

/**
 * As tsr_image_encode(), of pixels in device memory.  They are read in the order
 * of the stream's work.  The call waits for their tokens, which are coded on the
 * CPU, and so for the work that was queued on the stream before, but for no
 * other stream.
 *
 * image  data and stride are of device memory; alpha is not coded: settings must
 *        say lossless_alpha 0 where there is one
 *
 * Returns as there; TSR_E_UNSUPPORTED; TSR_E_LIMIT a picture that does not fit
 * max_memory in one piece.
 */
TSR_API TSR_CHECKED tsr_error
tsr_cuda_image_encode(tsr_context *context, tsr_model *model,
                      const tsr_image_settings *settings,
                      const tsr_image *image, const tsr_sink *sink);

/**
 * As tsr_image_decode(), into device memory of the caller.  Tokens are read on
 * the CPU; the rest is queued on the stream, and the call does not wait for it:
 * the pixels are there when the stream has come so far.  (The first call for a
 * model, or for a size, makes things ready, and waits.)  A fault of the device
 * shows at a later call.
 *
 * model   or NULL to find it by the hash in the stream
 * image   in: the geometry that tsr_image_probe() tells, and where the pixels go
 *
 * Returns as tsr_image_decode(), where pixels are queued for TSR_OK, and for
 * damage in codecs whose missing parts need no work on the CPU; TSR_E_ARG another
 * geometry than the stream's; TSR_E_UNSUPPORTED, also of streams with alpha;
 * TSR_E_LIMIT what cannot be done in device memory in one piece.
 */
TSR_API TSR_CHECKED tsr_error
tsr_cuda_image_decode(tsr_context *context, tsr_model *model,
                      const tsr_source *source, const tsr_image *image);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_ERROR_H
#define TSR_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TSR_API __attribute__((visibility("default")))
#define TSR_CHECKED __attribute__((warn_unused_result))
#else
#define TSR_API
#define TSR_CHECKED
#endif

/**
 * What every function that can fail returns.  The values are fixed for ever;
 * new ones may be added.  The sentence that explains one failure goes to the
 * context's logger (see tsr_logger), never to stderr.
 */
typedef enum tsr_error {
    TSR_OK = 0,
    TSR_E_ARG = -1,          /**< the caller broke a documented limit */
    TSR_E_NOMEM = -2,        /**< an allocation failed */
    TSR_E_EOF = -3,          /**< nothing more to read; not a fault */
    TSR_E_LIMIT = -4,        /**< over a limit: of the settings, of the room
                                  given, of a store or a disk */
    TSR_E_CORRUPT = -20,     /**< input that no encoder writes */
    TSR_E_UNSUPPORTED = -21, /**< valid input that this build cannot handle */
    TSR_E_VERSION = -22,     /**< written by a newer major version */
    TSR_E_CHECKSUM = -23,    /**< damaged: a checksum does not match */
    TSR_E_TRUNCATED = -24,   /**< input ends too early */
    TSR_E_FORMAT = -25,      /**< not a file of the expected kind */
    TSR_E_MODEL = -30,       /**< model missing, or not the one of the stream */
    TSR_E_SHAPE = -31,       /**< a tensor has another type or other dims */
    TSR_E_IO = -40,          /**< reading or writing failed */
    TSR_E_MISSING = -41,     /**< no such object in a store */
    TSR_E_DENIED = -42,      /**< a store wants other credentials, or
                                  forbids it */
    TSR_E_BACKEND = -50,     /**< a compute library failed */
    TSR_E_CANCELED = -60,    /**< the caller's progress callback said stop */
    TSR_E_INTERNAL = -90     /**< a fault of this library */
} tsr_error;

/** A short lower-case phrase for `error`; never NULL, static. */
TSR_API const char *tsr_error_string(tsr_error error);

#ifdef __cplusplus
}
#endif
#endif

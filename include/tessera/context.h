/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_CONTEXT_H
#define TSR_CONTEXT_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tsr_log_level {
    TSR_LOG_ERROR = 0,   /**< why a call failed; one line, no newline */
    TSR_LOG_WARNING = 1, /**< something was lost or replaced */
    TSR_LOG_INFO = 2,
    TSR_LOG_DEBUG = 3
} tsr_log_level;

/**
 * Where messages go.  `log` may be NULL (silence).  It is called on the thread
 * that made the library call, never from a worker; `message` is valid during
 * the call only.
 */
typedef struct tsr_logger {
    void *cookie;
    void (*log)(void *cookie, tsr_log_level level, const char *message);
} tsr_logger;

/**
 * Where heap memory comes from.  `alloc` returns `size` bytes aligned to
 * `align` (a power of two, >= sizeof(void *)) or NULL; `size` is never 0.
 * Both are called from any thread at the same time.  Default (both NULL):
 * aligned_alloc and free.  The compute libraries' own scratch is outside.
 */
typedef struct tsr_allocator {
    void *cookie;
    void *(*alloc)(void *cookie, size_t size, size_t align);
    void (*free)(void *cookie, void *memory);
} tsr_allocator;

/** Numbers that networks compute with on a GPU; sums are floats in any case. */
typedef enum tsr_precision {
    TSR_PRECISION_AUTO = 0, /**< encoders F32, decoders F16 */
    TSR_PRECISION_F32 = 1,
    TSR_PRECISION_F16 = 2,
    TSR_PRECISION_BF16 = 3
} tsr_precision;

/** Set with tsr_context_settings_init(), then change what you need. */
typedef struct tsr_context_settings {
    size_t size;             /**< sizeof(tsr_context_settings); for growth */
    int threads;             /**< worker threads, 1..256; 0 = all processors.
                                  Default 1.  Results do not depend on it */
    const char *backend;     /**< "auto" (default), "c" or "onednn"; borrowed
                                  for the call of tsr_context_open() */
    tsr_logger logger;       /**< default: silence */
    tsr_allocator allocator; /**< default: the C library's heap */
    uint64_t max_pixels;     /**< larger pictures are refused before memory is
                                  taken for them; default 2^31 - 1 */
    uint64_t max_memory;     /**< bytes that one encode or decode may plan for
                                  network activations; default 1 GiB */
    const char *device;      /**< where networks run: "cpu" (default, as NULL);
                                  "cuda", "cuda:1": the first, second GPU; "auto":
                                  the first GPU if it can be used, else the CPU,
                                  and the logger is told why.  Borrowed for the
                                  call */
    int precision;           /**< enum tsr_precision; on the CPU always F32 */
} tsr_context_settings;

TSR_API void tsr_context_settings_init(tsr_context_settings *settings);

/**
 * What every other object is made from: memory, log, threads, backend, limits.
 * One context: one thread at a time.  Different contexts: any threads.
 */
typedef struct tsr_context tsr_context;

/**
 * Opens a context.
 *
 * context   out; NULL on failure
 * settings  copied; NULL = the defaults
 *
 * Returns TSR_OK; TSR_E_ARG a setting outside its limits or an unknown
 * backend; TSR_E_UNSUPPORTED a backend this build does not have, or a GPU that
 * cannot be used; TSR_E_BACKEND a GPU that fails; TSR_E_NOMEM.
 */
TSR_API TSR_CHECKED tsr_error
tsr_context_open(tsr_context **context, const tsr_context_settings *settings);

/** Closes it and sets *context to NULL; NULL and a pointer to NULL are allowed, as
 *  for every function of the library that closes.  Objects made from the context
 *  must be closed first. */
TSR_API void tsr_context_close(tsr_context **context);

/** "c" or "onednn": the backend in use.  Static string. */
TSR_API const char *tsr_context_backend(const tsr_context *context);

/** "cpu", or "cuda:0" and the device's name.  The context's. */
TSR_API const char *tsr_context_device(const tsr_context *context);

/** Called now and then with the part done, 0..1; non-zero stops the work
 *  (TSR_E_CANCELED).  NULL: not called. */
typedef struct tsr_progress {
    void *cookie;
    int (*report)(void *cookie, double done);
} tsr_progress;

/** Worker threads in use, >= 1. */
TSR_API int tsr_context_threads(const tsr_context *context);

/** CPU features that kernels are chosen by. */
enum { TSR_CPU_AVX2 = 1, TSR_CPU_AVX512 = 2 };

/**
 * The features of this processor that the library may use: what was found,
 * less what tsr_cpu_set_mask() took away.
 */
TSR_API unsigned tsr_cpu_flags(void);

/** Allows only the features in `mask` (0 = plain C) to contexts opened from
 *  now on, in the whole process.  For tests and for chasing faults. */
TSR_API void tsr_cpu_set_mask(unsigned mask);

/** The version of the library at run time, "major.minor.patch". */
TSR_API const char *tsr_version(void);

#ifdef __cplusplus
}
#endif
#endif

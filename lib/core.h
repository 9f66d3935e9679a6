/* SPDX-License-Identifier: BSD-2-Clause */
/* What every part of the library stands on: memory, messages, arithmetic that
 * cannot overflow, and the context that carries them. */
#ifndef TSR_LIB_CORE_H
#define TSR_LIB_CORE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tessera/context.h>
#include <tessera/error.h>

typedef struct tsri_pool tsri_pool;
typedef struct tsri_nn_backend tsri_nn_backend;
typedef struct tsri_seq_ops tsri_seq_ops;

/** What a context keeps from call to call, at the head of the keeper's struct. */
typedef struct tsri_keep tsri_keep;
struct tsri_keep {
    tsri_keep *next;
    void (*close)(tsri_keep *kept);     /* frees it */
};
typedef struct tsri_cuda tsri_cuda;
typedef struct tsri_dnn tsri_dnn;

enum { TSRI_DEVICE_NAME = 320 };

struct tsr_context {
    tsr_logger logger;
    tsr_allocator allocator;
    tsri_pool *pool;
    const tsri_nn_backend *nn;  /* never NULL */
    const tsri_seq_ops *seq;    /* device of one-dimensional nets; NULL: none */
    int threads;
    unsigned cpu;               /* TSR_CPU_* that kernels may use */
    uint64_t max_pixels, max_memory;
    bool keeps;                 /* codecs stay open between calls: on a device */
    int beside;                 /* contexts that work at the same time, this one
                                   among them, as far as the library knows; 1 or more */
    tsri_keep *kept;            /* closed with the context, the latest first */
    tsri_cuda *gpu;             /* networks run there; NULL: on the host */
    tsri_dnn *dnn;              /* with gpu */
    int precision;              /* enum tsr_precision */
    int device_index;           /* of gpu */
    char device[TSRI_DEVICE_NAME];
};

/** Opens a context with the settings of another, but for these. */
tsr_error tsri_context_twin(tsr_context **twin, const tsr_context *ctx,
                            int threads, tsr_logger logger);

/** Closes what is kept. */
void tsri_context_forget(tsr_context *ctx);

/** `count` * `size` bytes, 64-byte aligned, not cleared; NULL when the product
 *  overflows or memory is out.  A product of 0 gives a valid pointer.  Free
 *  with tsri_free(). */
void *tsri_alloc(tsr_context *ctx, size_t count, size_t size);

/** The same, cleared. */
void *tsri_calloc(tsr_context *ctx, size_t count, size_t size);

/** Makes room for `more` elements of `size` bytes behind the first `used` of an
 *  array, which are kept: *array is its pointer, *room the elements it has room
 *  for.  Grows by half.  TSR_OK; TSR_E_NOMEM, and nothing has changed. */
tsr_error tsri_grow(tsr_context *ctx, void *array, size_t *room, size_t used,
                    size_t more, size_t size);

/** NULL is allowed. */
void tsri_free(tsr_context *ctx, void *memory);

/** Sends a formatted line (at most 1023 bytes) to the logger. */
__attribute__((format(printf, 3, 4)))
void tsri_log(tsr_context *ctx, tsr_log_level level, const char *format, ...);

/** Logs an error and returns `error`: return tsri_fail(ctx, TSR_E_X, "..."). */
__attribute__((format(printf, 3, 4)))
tsr_error tsri_fail(tsr_context *ctx, tsr_error error, const char *format, ...);

/** tsri_fail() for memory that is out. */
tsr_error tsri_nomem(tsr_context *ctx);

/** Passes an error on. */
#define TSR_TRY(expression)                  \
    do {                                     \
        const tsr_error try_ = (expression); \
        if (try_ != TSR_OK)                  \
            return try_;                     \
    } while (0)

/** *out = a * b, a + b; false when it does not fit. */
static inline bool tsri_mul(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool tsri_add(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline int tsri_min(int a, int b) { return a < b ? a : b; }
static inline int tsri_max(int a, int b) { return a > b ? a : b; }
static inline int tsri_clamp(int v, int lo, int hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}
/** ceil(a / b) for a >= 0, b > 0, without overflow. */
static inline int tsri_ceil_div(int a, int b) { return a / b + (a % b != 0); }

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Entropy coding of arrays of symbols: codebook indices, quantised features.
 *
 *     size_t room = tsr_symbols_bound(n, 2), size;
 *     uint8_t *data = malloc(room);
 *     error = tsr_symbols_encode(context, NULL, indices, 2, n,
 *                                data, room, &size);
 *     ...
 *     error = tsr_symbols_decode(context, data, size, indices, 2, n);
 *
 * A stream says itself how long it is and how many symbols it holds, and finds
 * out when it is damaged.  docs/entropy.md is the format. */
#ifndef TSR_ENTROPY_H
#define TSR_ENTROPY_H
#include <stddef.h>
#include <stdint.h>
#include <tessera/context.h>
#include <tessera/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Most symbols of one array. */
#define TSR_SYMBOLS_MAX ((uint64_t)1 << 40)

/** Set with tsr_symbols_settings_init(). */
typedef struct tsr_symbols_settings {
    size_t size;
    uint64_t alphabet;  /**< every symbol must be below it, 1..2^32; 0
                             (default): no such check */
    int fast;           /**< 1: up to 1 % larger where that makes decoding
                             faster; default 0 */
} tsr_symbols_settings;

TSR_API void tsr_symbols_settings_init(tsr_symbols_settings *settings);

/** Most bytes that n symbols of `width` bytes can take; 0: more than a size_t
 *  or the limits above allow. */
TSR_API size_t tsr_symbols_bound(size_t n, int width);

/**
 * Codes an array.
 *
 * settings  NULL = the defaults
 * sym       n unsigned integers of `width` bytes in the machine's byte order,
 *           aligned as such; borrowed.  NULL is allowed for n = 0
 * width     1, 2 or 4
 * n         0..TSR_SYMBOLS_MAX
 * out       room for `room` bytes; tsr_symbols_bound() is always enough.  On
 *           failure its content is undefined
 * size      out: bytes written
 *
 * The bytes depend on the symbols and settings alone, not on width, threads
 * or processor.  Symbols near 0 are cheapest for alphabets above 256, so a
 * codebook should be in order of falling frequency (tsr_codes_rank()).
 *
 * Returns TSR_OK; TSR_E_ARG a number outside its limits, or a symbol outside the
 * alphabet; TSR_E_LIMIT not enough room; TSR_E_NOMEM.
 * Memory: about 4 MiB a thread.
 * Source: Duda, "Asymmetric numeral systems", arXiv:1311.2540.
 */
TSR_API TSR_CHECKED tsr_error
tsr_symbols_encode(tsr_context *context, const tsr_symbols_settings *settings,
                   const void *sym, int width, size_t n, uint8_t *out,
                   size_t room, size_t *size);

/** What a stream says of itself; unchecked until it is decoded. */
typedef struct tsr_symbols_info {
    uint64_t count;     /**< symbols, 0..TSR_SYMBOLS_MAX */
    uint64_t alphabet;  /**< every symbol is below it, 1..2^32 */
    uint64_t bytes;     /**< of the stream; maybe more than are there */
    uint64_t chunks;    /**< parts that decode alone, each on one thread */
    int width;          /**< least width for tsr_symbols_decode() */
} tsr_symbols_info;

/**
 * Reads the head of the stream that data begins with.
 *
 * size  bytes that are there: the head must be whole, the rest need not be
 *
 * Allocates nothing.  Returns TSR_OK; TSR_E_TRUNCATED the head is cut;
 * TSR_E_CORRUPT; TSR_E_VERSION.
 */
TSR_API TSR_CHECKED tsr_error
tsr_symbols_probe(const void *data, size_t size, tsr_symbols_info *info);

/**
 * Decodes the stream that data begins with.
 *
 * size   bytes that are there; those behind the stream are not looked at
 * sym    out: n integers of `width` bytes, aligned as such; on failure
 *        undefined
 * width  1, 2 or 4, not less than the `width` of tsr_symbols_probe(); it need
 *        not be that of the encoder
 * n      the stream's number of symbols
 *
 * Returns TSR_OK; TSR_E_ARG n or width is not the stream's, or no width;
 * TSR_E_TRUNCATED; TSR_E_CORRUPT; TSR_E_CHECKSUM; TSR_E_VERSION; TSR_E_NOMEM.
 * Damage passes with a chance of 2^-16 or less.
 * Memory: does not grow with n, 12 MiB a thread at most.
 */
TSR_API TSR_CHECKED tsr_error
tsr_symbols_decode(tsr_context *context, const void *data, size_t size,
                   void *sym, int width, size_t n);

#ifdef __cplusplus
}
#endif
#endif

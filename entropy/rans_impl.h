/* SPDX-License-Identifier: BSD-2-Clause */
/* What encoders and decoders of rANS segments share (docs/entropy.md). */
#ifndef TSR_ENTROPY_RANS_IMPL_H
#define TSR_ENTROPY_RANS_IMPL_H
#include "entropy/bank_impl.h"
#include "lib/bytes.h"

enum {
    TSRI_RANS_LOW = 1 << 16,    /**< states are in [2^16, 2^32) */
    TSRI_RANS_HAS_RAW = 1 << 2, /**< first byte: lane code, this, zeros */
    TSRI_RANS_LANE_CODES = 4,
    TSRI_RANS_HEAD_MAX = 1 + TSRI_VARINT_MAX + 4 * TSRI_RANS_MAX_LANES
};

/** Lanes of a lane code 0..3. */
static inline int tsri_rans_lanes(int code)
{
    static const int count[TSRI_RANS_LANE_CODES] = { 1, 4, 8, 32 };
    return count[code];
}

/** The code of a number of lanes, 0 for 0; TSRI_RANS_LANE_CODES: there is none. */
static inline int tsri_rans_lane_code(int lanes)
{
    int code = 0;

    while (lanes && code < TSRI_RANS_LANE_CODES && tsri_rans_lanes(code) != lanes)
        code++;
    return code;
}

/** The largest of n numbers; 0 of none. */
static inline int tsri_rans_largest(bool avx2, const uint16_t *v, size_t n)
{
    int most = 0;

    if (avx2)
        return tsri_rans_most_avx2(v, n);
    for (size_t i = 0; i < n; i++)
        most = tsri_max(most, v[i]);
    return most;
}

/** The same of bytes. */
static inline int tsri_rans_largest8(bool avx2, const uint8_t *v, size_t n)
{
    int most = 0;

    if (avx2)
        return tsri_rans_most8_avx2(v, n);
    for (size_t i = 0; i < n; i++)
        most = tsri_max(most, v[i]);
    return most;
}

/** What n symbols 0 do to the sums of their lanes. */
void tsri_rans_skip(uint16_t *sum, int lanes, size_t n);

#endif

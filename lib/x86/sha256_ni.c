/* SPDX-License-Identifier: BSD-2-Clause */
/* The processor's SHA instructions work on the state as two vectors, ABEF and
 * CDGH, two rounds an instruction, and keep the message schedule in four
 * vectors of four words. */
#include <cpuid.h>
#include <immintrin.h>
#include "lib/sha256.h"

/* Four rounds with schedule words w; the state vectors change places twice. */
static inline void rounds4(__m128i *abef, __m128i *cdgh, __m128i w, int i)
{
    const __m128i k =
        _mm_loadu_si128((const __m128i *)(const void *)(tsri_sha256_k + i));
    const __m128i x = _mm_add_epi32(w, k);
    *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, x);
    *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(x, 0x0E));
}

/* The next four schedule words from the last sixteen. */
static inline __m128i extend(__m128i w0, __m128i w1, __m128i w2, __m128i w3)
{
    const __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1),
                                      _mm_alignr_epi8(w3, w2, 4));
    return _mm_sha256msg2_epu32(sum, w3);
}

static void block(__m128i *abef, __m128i *cdgh, const uint8_t *data)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    const __m128i a = *abef, c = *cdgh;
    __m128i w[4];

    for (int i = 0; i < 4; i++) {
        w[i] = _mm_shuffle_epi8(
            _mm_loadu_si128((const __m128i *)(const void *)(data + 16 * i)), swap);
        rounds4(abef, cdgh, w[i], 4 * i);
    }
    for (int i = 16; i < 64; i += 4) {
        const __m128i next = extend(w[0], w[1], w[2], w[3]);
        w[0] = w[1];
        w[1] = w[2];
        w[2] = w[3];
        w[3] = next;
        rounds4(abef, cdgh, next, i);
    }
    *abef = _mm_add_epi32(*abef, a);
    *cdgh = _mm_add_epi32(*cdgh, c);
}

static void sha256_ni(uint32_t state[8], const uint8_t *data, size_t blocks)
{
    __m128i *at = (__m128i *)(void *)state;
    const __m128i dcba = _mm_shuffle_epi32(_mm_loadu_si128(at), 0xB1);
    const __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128(at + 1), 0x1B);
    __m128i abef = _mm_alignr_epi8(dcba, hgfe, 8);
    __m128i cdgh = _mm_blend_epi16(hgfe, dcba, 0xF0);

    for (; blocks; blocks--, data += 64)
        block(&abef, &cdgh, data);
    const __m128i feba = _mm_shuffle_epi32(abef, 0x1B);
    const __m128i dchg = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128(at, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128(at + 1, _mm_alignr_epi8(dchg, feba, 8));
}

tsri_sha256_fn tsri_sha256_hardware(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1 ? sha256_ni : 0;
}

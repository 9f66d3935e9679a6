/* SPDX-License-Identifier: BSD-2-Clause */
/* The range coder's encoder, entropy/range.c. */
#ifndef TSR_CODECS_KV_CUDA_RANGE_PUT_CUH
#define TSR_CODECS_KV_CUDA_RANGE_PUT_CUH
#include "codecs/kv/cuda/coded.cuh"

/* A thread's, or a warp's that has the same in all lanes, of which one writes. */
struct range_out {
    uint64_t low;
    uint32_t range;
    uint8_t *out, *at;
    bool writes;

    __device__ range_out(uint8_t *to, bool writes_)
        : low(0), range(UINT32_MAX), out(to), at(to), writes(writes_) {}
    __device__ void carry()
    {
        uint8_t *p = at;

        if (low >> 32 && writes)
            while (p > out && ++*--p == 0)
                ;
        low &= UINT32_MAX;
    }
    __device__ void narrow(uint32_t below, uint32_t size)
    {
        low += below;
        range = size;
        while (range < 1u << 24) {
            carry();
            if (writes)
                *at = (uint8_t)(low >> 24);
            at++;
            low = low << 8 & UINT32_MAX;
            range <<= 8;
        }
    }
    /* Its bytes, known to the thread that writes. */
    __device__ uint32_t finish()
    {
        carry();
        const uint32_t rest = 0 - (uint32_t)low;
        low += rest < range ? rest : rest & 0xffffff;
        carry();
        if (!writes)
            return 0;
        if (low)
            *at++ = (uint8_t)(low >> 24);
        while (at > out && !at[-1])
            at--;
        return (uint32_t)(at - out);
    }
};
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Instructions that CUDA has no functions for. */
#ifndef TSR_LIB_NN_CUDA_SEQ_PTX_CUH
#define TSR_LIB_NN_CUDA_SEQ_PTX_CUH
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

namespace {

/* Four matrices of 8 x 8 numbers of 16 bits from shared memory: lane 8 i + r
 * gives the address of row r of matrix i. */
__device__ inline void load_matrices(uint32_t out[4], const void *row)
{
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(at));
}

/* c += a b: a 16 x 16, b 16 x 8. */
__device__ inline void multiply(float c[4], const uint32_t a[4],
                                const uint32_t b[2], __half)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]),
                   "r"(b[1]));
}
__device__ inline void multiply(float c[4], const uint32_t a[4],
                                const uint32_t b[2], __nv_bfloat16)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]),
                   "r"(b[1]));
}

/* ---- clusters of blocks; without them a block is alone ---- */

__device__ inline unsigned cluster_rank()
{
    unsigned rank = 0;
#if __CUDA_ARCH__ >= 900
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
    return rank;
}

/* All threads of all blocks: what they wrote before they arrived is seen after
 * the others have waited. */
__device__ inline void cluster_arrive()
{
#if __CUDA_ARCH__ >= 900
    __syncwarp();
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
__device__ inline void cluster_wait()
{
#if __CUDA_ARCH__ >= 900
    __syncwarp();
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
    __syncthreads();
#endif
}
__device__ inline void cluster_sync()
{
    cluster_arrive();
    cluster_wait();
}

/* *p = v in the shared memory of block `rank`. */
__device__ inline void cluster_store(float *p, unsigned rank, float v)
{
#if __CUDA_ARCH__ >= 900
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(p);
    uint32_t there;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
                 : "=r"(there) : "r"(at), "r"(rank));
    asm volatile("st.shared::cluster.f32 [%0], %1;"
                 :: "r"(there), "f"(v) : "memory");
#else
    *p = v;
    (void)rank;
#endif
}

}
#endif

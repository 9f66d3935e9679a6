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

/* ---- copies from memory to shared memory, 16 bytes at a time, done beside what
 * follows; zeros where `real` is false.  `from` is a valid address in any case. ---- */

__device__ inline void fetch_16(void *to, const void *from, bool real)
{
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :: "r"(at), "l"(from), "r"(real ? 16 : 0) : "memory");
}

/* What has been fetched since the last call is a group. */
__device__ inline void fetch_close()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until all of the thread's groups but the last LEFT are there. */
template <int LEFT> __device__ inline void fetch_wait()
{
    asm volatile("cp.async.wait_group %0;" :: "n"(LEFT) : "memory");
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

/* ---- boxes: shared memory that other blocks fill, and that counts the bytes.
 * Unlike the barrier of a cluster they do not wait for writes to memory.
 * Without clusters a block is alone, and its threads wait for each other. ---- */

typedef unsigned long long box;

/* By one thread; a cluster_sync() of all before anybody sends. */
__device__ inline void box_open(box *b)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;"
                 :: "r"((uint32_t)__cvta_generic_to_shared(b)) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#else
    (void)b;
#endif
}

/* By one thread, once for each filling, after the one before was waited for. */
__device__ inline void box_expect(box *b, unsigned bytes)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
                 :: "r"((uint32_t)__cvta_generic_to_shared(b)), "r"(bytes)
                 : "memory");
#else
    (void)b, (void)bytes;
#endif
}

/* p[0..1] = v, w in the shared memory of block `rank`; counts 8 bytes in its
 * box.  p: at a multiple of 8 bytes. */
__device__ inline void box_send(float *p, box *b, unsigned rank, float v, float w)
{
#if __CUDA_ARCH__ >= 900
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(p);
    const uint32_t counter = (uint32_t)__cvta_generic_to_shared(b);
    uint32_t there, their_counter;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
                 : "=r"(there) : "r"(at), "r"(rank));
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
                 : "=r"(their_counter) : "r"(counter), "r"(rank));
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 "
                 "[%0], {%1, %2}, [%3];"
                 :: "r"(there), "f"(v), "f"(w), "r"(their_counter) : "memory");
#else
    p[0] = v;
    p[1] = w;
    (void)b, (void)rank;
#endif
}

/* Until filling number `count`, from 0, is complete. */
__device__ inline void box_wait(box *b, unsigned count)
{
#if __CUDA_ARCH__ >= 900
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(b);
    uint32_t done = 0;
    while (!done)
        asm volatile("{\n\t.reg .pred p;\n\t"
                     "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 "
                     "p, [%1], %2;\n\t"
                     "selp.u32 %0, 1, 0, p;\n\t}"
                     : "=r"(done) : "r"(at), "r"(count & 1) : "memory");
#else
    __syncthreads();
    (void)b, (void)count;
#endif
}

}
#endif

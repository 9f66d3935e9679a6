/* SPDX-License-Identifier: BSD-2-Clause */
/* Units of published methods made from the cache, in their packed forms: how long
 * their parts are follows from the shape, so that all of them are written where
 * they belong.  Numbers come first, then codes, for which they are read again. */
#include "codecs/kv/cuda/method.cuh"

enum { THREADS = 256, WARPS = THREADS / WARP };
enum { PACKED = 0, SLICE = 4096 };  /* SLICE: values of a thread block, about */

/* A unit that is being made. */
struct making {
    unit u;
    uint8_t *to;            /* NULL: it is not made */
    bool good;

    __device__ making(const job &j, size_t n) : u(), to(NULL), good(true)
    {
        find_unit(j, n, u);
        if (j.object[u.object].good)
            to = j.items[u.object].data +
                j.unit_at[u.object * ((size_t)j.groups * j.tiles + 1) +
                          (size_t)u.number * j.tiles + u.tile];
    }
    __device__ float value(const job &j, int t, int c)
    {
        const uint8_t *at = find_token(j, j.items[u.object], u.number, u.first + t) +
            c / u.dim * j.head_stride + c % u.dim * element_bytes(j.dtype);
        const float v = load_element(j.dtype, at);

        good &= is_finite(v);
        return v;
    }
    __device__ void finish(const job &j) const
    {
        if (!good)
            refuse(j, u.object);
    }
};

/* cachegen: of a token's scale; of a code. */
static __device__ int scale_bytes(const job &j)
{
    return element_bytes(j.dtype);
}
static __device__ int code_bits(const job &j, const unit &u)
{
    return 32 - __clz(2 * (bins_of(j, u.layer, u.plane) / 2 - 1));
}

/* ---- sizes ---- */

static __device__ uint32_t unit_bytes(const job &j, const unit &u)
{
    const uint32_t n = u.tokens * u.channels;

    return j.method == FP8 ? 1 + n
        : u.tokens * scale_bytes(j) + 1 + (n * code_bits(j, u) + 7) / 8;
}

static __global__ __launch_bounds__(THREADS) void size_units(job j, size_t units)
{
    const size_t n = (size_t)blockIdx.x * THREADS + threadIdx.x;
    unit u = {};

    if (n >= units)
        return;
    find_unit(j, n, u);
    j.segment_size[n] = j.object[u.object].good ? unit_bytes(j, u) : 0;
}

/* ---- fp8 ---- */

static __device__ void put_elements(const job &j, making &m, int part, int parts)
{
    const int type = j.param[0] == 4 ? TSR_KV_E4M3 : TSR_KV_E5M2;
    const uint32_t n = m.u.tokens * m.u.channels;

    if (!part && !threadIdx.x)
        m.to[0] = AS_IT_IS;
    for (uint32_t i = part * THREADS + threadIdx.x; i < n; i += parts * THREADS)
        store_element(type, m.to + 1 + i, m.value(j, (int)(i / m.u.channels),
                                                  (int)(i % m.u.channels)));
}

/* ---- cachegen ---- */

/* The largest magnitude of a token, which its own type has; a warp has a token. */
static __global__ __launch_bounds__(THREADS) void put_scales(job j, int parts)
{
    making m(j, blockIdx.x / parts);
    const int lane = (int)(threadIdx.x % WARP), bytes = scale_bytes(j);

    if (!m.to)
        return;
    for (int t = (int)(blockIdx.x % parts) * WARPS + (int)(threadIdx.x / WARP);
         t < m.u.tokens; t += parts * WARPS) {
        uint32_t v = 0;
        float most = 0;
        for (int c = lane; c < m.u.channels; c += WARP)
            most = fmaxf(most, fabsf(m.value(j, t, c)));
        for (unsigned by = WARP / 2; by; by /= 2)
            most = fmaxf(most, __shfl_xor_sync(ALL, most, by));
        store_element(j.dtype, (uint8_t *)&v, most);
        if (lane < bytes)
            m.to[t * bytes + lane] = (uint8_t)(v >> 8 * lane);
    }
    m.finish(j);
}

static __device__ uint32_t code_of(const job &j, making &m, int t, int c)
{
    const float middle = (float)(bins_of(j, m.u.layer, m.u.plane) / 2 - 1);
    const float s = value_at(j.dtype, m.to + t * scale_bytes(j));
    const float factor = s > 1e-30f ? __fdiv_rn(middle, s) : 0;

    return (uint32_t)__float2int_rn(
        __fadd_rn(__fmul_rn(m.value(j, t, c), factor), middle));
}

/* Eight codes are whole bytes: a thread has so many. */
static __device__ void put_codes(const job &j, making &m, int part, int parts)
{
    const uint32_t n = m.u.tokens * m.u.channels, bits = code_bits(j, m.u);
    uint8_t *form = m.to + m.u.tokens * scale_bytes(j);

    if (!part && !threadIdx.x)
        *form = PACKED;
    for (uint32_t first = 8 * (part * THREADS + threadIdx.x); first < n;
         first += 8 * parts * THREADS) {
        uint8_t *to = form + 1 + (size_t)(first / 8) * bits;
        const uint32_t count = min(n - first, 8u);
        uint64_t word = 0;
        for (uint32_t i = 0; i < count; i++)
            word |= (uint64_t)code_of(j, m, (int)((first + i) / m.u.channels),
                                      (int)((first + i) % m.u.channels)) << i * bits;
        for (uint32_t i = 0; 8 * i < count * bits; i++)
            to[i] = (uint8_t)(word >> 8 * i);
    }
}

static __global__ __launch_bounds__(THREADS) void put_values(job j, int parts)
{
    making m(j, blockIdx.x / parts);
    const int part = (int)(blockIdx.x % parts);

    if (!m.to)
        return;
    if (j.method == FP8)
        put_elements(j, m, part, parts);
    else
        put_codes(j, m, part, parts);
    m.finish(j);
}

/* ---- launch ---- */

static size_t count_units(const job *j)
{
    return (size_t)j->objects * j->groups * j->tiles;
}

extern "C" cudaError_t tsri_kv_gpu_size_method(const job *j, cudaStream_t stream)
{
    const size_t units = count_units(j), blocks = (units + THREADS - 1) / THREADS;

    if (blocks > INT32_MAX)
        return cudaErrorInvalidValue;
    size_units<<<(unsigned)blocks, THREADS, 0, stream>>>(*j, units);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_put_units(const job *j, cudaStream_t stream)
{
    const size_t units = count_units(j);
    const int most = j->channels[0] > j->channels[1] ? j->channels[0]
                                                      : j->channels[1];
    const int tokens = j->tile < j->tokens ? j->tile : j->tokens;
    const int parts = (int)(((size_t)tokens * most + SLICE - 1) / SLICE);

    if (units * parts > INT32_MAX)
        return cudaErrorInvalidValue;
    if (j->method == CACHEGEN)
        put_scales<<<(unsigned)(units * parts), THREADS, 0, stream>>>(*j, parts);
    put_values<<<(unsigned)(units * parts), THREADS, 0, stream>>>(*j, parts);
    return cudaGetLastError();
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Units of published methods, which have been made in their packed forms, to the
 * entropy-coded ones: what the CPU writes at once follows from the packed unit alone.  A
 * thread block has a unit and goes through its parts, matrices of codes and of floats;
 * each is written the shorter way.  Functions that several parts need are not inlined:
 * the assembler would take minutes. */
#include "codecs/kv/cuda/codes_put.cuh"

enum {
    SYMBOL_BITS = 5         /* of exponent and fraction, as method_lossless.c has it */
};

/* ---- parts ---- */

/* Codes of the packed unit, 2^bits at most. */
static __device__ __noinline__ void recode_codes(recoding &r, uint32_t rows,
                                                 uint32_t columns, int bits)
{
    const size_t n = (size_t)rows * columns;
    const uint8_t *packed = r.from + 1;

    for (size_t i = threadIdx.x; i < n; i += THREADS)
        r.code()[i] = (uint8_t)bits_at(packed, i * bits, bits);
    r.from += 1 + (n * bits + 7) / 8;
    put_codes(r, rows, columns, bits, packed);
}

/* How elements are split into codes and bits. */
struct split {
    int2 l;                 /* bits of exponent and fraction */
    int bytes, least, octaves, top;
};

/* False: exponents do not fit a code. */
static __device__ bool find_split(recoding &r, int dtype, const uint8_t *x, size_t n,
                                  split &s)
{
    workplace &w = *r.w;
    int least = INT32_MAX, most = 0;

    s.l = layout_of(dtype);
    s.bytes = element_bytes(dtype);
    __syncthreads();
    if (!threadIdx.x) {
        w.least = INT32_MAX;
        w.most = 0;
    }
    __syncthreads();
    for (size_t i = threadIdx.x; i < n; i += THREADS) {
        const int e = (int)(element_at(dtype, x + i * s.bytes) >> s.l.y &
                            ((1u << s.l.x) - 1));
        least = e ? min(least, e) : least;
        most = max(most, e);
    }
    atomicMin(&w.least, least);
    atomicMax(&w.most, most);
    __syncthreads();
    s.least = w.most ? w.least : 1;
    s.octaves = 0;
    while (w.most - s.least + 1 >= 1 << s.octaves)
        s.octaves++;
    s.top = min(max(SYMBOL_BITS - s.octaves, 0), s.l.y);
    return s.octaves <= MOST_OCTAVES;
}

/* Codes of eight elements, and the bits below them, which are whole bytes. */
static __device__ void split_eight(const split &s, int dtype, const uint8_t *x, int n,
                                   uint8_t *code, uint8_t *to)
{
    const int rest = s.l.y - s.top;
    uint64_t bits = 0;
    int have = 0;

    for (int i = 0; i < n; i++) {
        const uint32_t v = element_at(dtype, x + i * s.bytes);
        const int e = (int)(v >> s.l.y & ((1u << s.l.x) - 1));
        const int place = e ? e - s.least + 1 : 0;
        const int size = place << s.top | (int)(v >> rest & ((1u << s.top) - 1));
        code[i] = (uint8_t)(v >> (s.l.x + s.l.y) ? 127 - size : 128 + size);
        bits |= (uint64_t)(v & ((1u << rest) - 1)) << have;
        for (have += rest; have >= 8; have -= 8, bits >>= 8)
            *to++ = (uint8_t)bits;
    }
    if (have)
        *to = (uint8_t)bits;
}

/* Elements of the packed unit, which are as they are there. */
static __device__ __noinline__ void recode_elements(recoding &r, int dtype,
                                                    uint32_t rows, uint32_t columns)
{
    const size_t n = (size_t)rows * columns;
    const size_t as_it_is = 1 + n * element_bytes(dtype);
    const uint8_t *x = r.from + 1;
    const uint32_t size = r.size;
    split s;

    if (find_split(r, dtype, x, n, s)) {
        const int rest = s.l.y - s.top;
        for (size_t i = 8 * (size_t)threadIdx.x; i < n; i += 8 * THREADS)
            split_eight(s, dtype, x + i * s.bytes, (int)min(n - i, (size_t)8),
                        r.code() + i, r.out() + 2 + i / 8 * rest);
        r.put_number((uint32_t)(s.octaves | s.least << 8), 2);
        r.size += (uint32_t)((n * rest + 7) / 8);
        put_codes(r, rows, columns, 8, r.code());
    }
    if (r.size > size && r.size - size < as_it_is) {
        r.from += as_it_is;
        return;
    }
    r.size = size;
    __syncthreads();
    r.copy(as_it_is);
    __syncthreads();
}

static __device__ void recode_grid(recoding &r, const grid &g)
{
    if (!g.tokens)
        return;
    recode_elements(r, TSR_KV_F16, g.rows(), 2 * g.row());
    recode_codes(r, g.tokens, g.channels, g.bits);
}

static __device__ int code_bits(int alphabet)
{
    return 32 - __clz(alphabet - 1);
}

/* ---- methods: their parts in order ---- */

static __device__ void recode_both(const job &j, const unit &u, recoding &r)
{
    const int salient = j.salient[(size_t)u.object * j.tiles + u.tile];

    if (is_separable(j, u.plane))
        recode_elements(r, TSR_KV_F16, 1, u.channels);
    for (int k = 0; k < 2; k++)
        recode_grid(r, grid_of(j, u.plane, k ? u.tokens - salient : salient, u.tokens, k));
}

/* kvquant and gear, whose lists are coded already. */
static __device__ void recode_far(const job &j, size_t number, recoding &r)
{
    const far f(j, number);
    const int own = f.head().levels;

    r.copy(f.raw_bytes(j));
    if (!f.n)
        return;
    r.copy(list_bytes(f));
    if (j.method == GEAR) {
        r.copy(2 * (size_t)j.heads[f.u.plane] * gear_rank(j, f.u.plane, f.u.tokens) *
               (f.u.tokens + f.u.dim));
        recode_grid(r, grid_of(j, f.u.plane, f.u.tokens, f.u.tokens, 0));
        return;
    }
    r.copy(1 + (own ? 1 + 4 * own : 0));
    recode_elements(r, TSR_KV_F16, f.u.plane ? f.rows : 1,
                    f.u.plane ? 2 : 2 * f.u.channels);
    recode_codes(r, f.rows, f.u.channels, j.param[0]);
}

static __device__ void recode_parts(const job &j, size_t number, const unit &u,
                                    recoding &r)
{
    const int bytes = element_bytes(j.dtype);
    grid g = grid_of(j, u.plane, u.tokens, u.tokens, 0);

    switch (j.method) {
    case LOSSLESS:
        recode_elements(r, j.dtype, u.tokens, u.channels);
        break;
    case FP8:
        recode_elements(r, j.param[0] == 4 ? TSR_KV_E4M3 : TSR_KV_E5M2, u.tokens,
                        u.channels);
        break;
    case CACHEGEN:
        r.copy((size_t)u.tokens * bytes);
        recode_codes(r, u.tokens, u.channels,
                     code_bits(2 * (bins_of(j, u.layer, u.plane) / 2 - 1) + 1));
        break;
    case KIVI:
        g = grid_of(j, u.plane, kivi_tokens(j, u), u.tokens, 0);
        r.copy((size_t)(u.tokens - g.tokens) * u.channels * bytes);
        recode_grid(r, g);
        break;
    case TURBOQUANT:
        if (u.plane) {
            recode_grid(r, g);
            break;
        }
        recode_elements(r, TSR_KV_F16, u.tokens, u.channels / u.dim);
        recode_codes(r, u.tokens, u.channels, j.param[0]);
        break;
    case KVQUANT:
    case GEAR:
        recode_far(j, number, r);
        break;
    case VQ:
        for (int s = 0; s < j.books[u.number].stages; s++)
            recode_codes(r, u.tokens, j.books[u.number].groups,
                         code_bits(j.books[u.number].entries));
        break;
    default:
        recode_both(j, u, r);
    }
}

static __device__ bool is_good(const job &j, int object)
{
    return j.object[object].good && !*j.items[object].status;
}

static __global__ __launch_bounds__(THREADS) void recode(job j)
{
    __shared__ workplace w;
    const size_t n = blockIdx.x;
    recoding r = { &w, j.shapes, j.plain + n * j.plain_bytes,
                   j.recode + n * j.recode_bytes, room_of_job(j), 0 };
    unit u = {};

    find_unit(j, n, u);
    if (!is_good(j, u.object))
        return;
    recode_parts(j, n, u, r);
    if (!threadIdx.x)
        j.segment_size[n] = r.size;
}

/* Where packed units go: as if they were in objects. */
static __global__ __launch_bounds__(THREADS) void set_aside(job j, size_t units)
{
    const size_t n = (size_t)blockIdx.x * THREADS + threadIdx.x;
    const size_t each = (size_t)j.groups * j.tiles, i = n / each;

    if (n >= units)
        return;
    j.aside_at[i * (each + 1) + n % each] = n * j.plain_bytes;
    if (n % each == 0) {
        j.aside[i] = j.items[i];
        j.aside[i].data = j.plain;
    }
}

/* Recoded units to objects, where these have room for them. */
static __global__ __launch_bounds__(THREADS) void place_units(job j)
{
    const size_t n = blockIdx.x, each = (size_t)j.groups * j.tiles, i = n / each;
    const uint64_t *at = j.unit_at + i * (each + 1) + n % each;

    if (j.object[i].good)
        move(j.items[i].data + at[0], j.recode + n * j.recode_bytes + room_of_job(j).out,
             (uint32_t)(at[1] - at[0]), threadIdx.x, THREADS);
}

/* ---- launch ---- */

extern "C" size_t tsri_kv_gpu_recode_bytes(const job *j)
{
    return room_of_job(*j).all;
}

extern "C" cudaError_t tsri_kv_gpu_set_aside(const job *j, cudaStream_t stream)
{
    const size_t units = count_units(j), blocks = (units + THREADS - 1) / THREADS;

    if (units > INT32_MAX)
        return cudaErrorInvalidValue;
    set_aside<<<(unsigned)blocks, THREADS, 0, stream>>>(*j, units);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_recode(const job *j, cudaStream_t stream)
{
    recode<<<(unsigned)count_units(j), THREADS, 0, stream>>>(*j);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_place_recoded(const job *j, cudaStream_t stream)
{
    place_units<<<(unsigned)count_units(j), THREADS, 0, stream>>>(*j);
    return cudaGetLastError();
}

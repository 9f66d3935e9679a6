/* SPDX-License-Identifier: BSD-2-Clause */
/* Segments to objects: sizes, places, heads, units, checksums, fronts. */
#include "codecs/kv/cuda/crc.cuh"
#include "codecs/kv/cuda/kv.cuh"

enum {
    THREADS = TSRI_KV_GPU_CRC, WARPS = THREADS / WARP,
    AT_FLAGS = 6, AT_POS0 = 24, AT_SINKS = 41, AT_ID_BITS = 42, AT_SIZE = 56,
    AT_SECTIONS = 152
};

static __device__ void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

/* Where the directory has a part: the groups' heads, then all units. */
static __device__ uint8_t *find_entry(const job &j, int object, size_t n)
{
    return j.items[object].data + TSRI_KV_GPU_HEADER +
        j.object[object].sections + 8 * n;
}

/* A level of a tile of a group, and the first of its segments. */
struct unit {
    int tile, level, segments;
    size_t number;

    __device__ uint32_t size(const job &j, int segment) const
    {
        return j.segment_size[(number + segment) * j.levels + level];
    }
    /* The end of a segment's slot. */
    __device__ const uint8_t *end(const job &j, int segment) const
    {
        return j.slots + (number + segment) * j.slot_all + j.slot +
            level * j.slot_more;
    }
};

/* The n-th unit of an object; without rows it has no segments, and methods have
 * none. */
static __device__ unit find_unit(const job &j, int object, size_t n)
{
    unit u;
    uint32_t row;

    u.level = (int)(n % j.levels);
    n /= j.levels;
    u.tile = (int)(n % j.tiles);
    const tsri_kv_gpu_group &g = j.group[n / j.tiles];
    u.segments = !j.method && tile_rows(j, j.object[object].sinks, u.tile, &row)
        ? g.segments : 0;
    u.number = ((size_t)object * j.all_segments + g.segment) * j.tiles +
        (size_t)u.tile * g.segments;
    return u;
}

/* ---- places ---- */

static __device__ uint64_t unit_bytes(const job &j, int object, size_t n)
{
    const unit u = find_unit(j, object, n);
    uint64_t bytes = 4ull * u.segments;

    if (j.method)
        return j.segment_size[(size_t)object * j.groups * j.tiles + n];
    for (int i = 0; i < u.segments; i++)
        bytes += u.size(j, i);
    return bytes;
}

/* Sum of the values of the threads before this one; *all: of all. */
static __device__ uint64_t sum_before(uint64_t value, uint64_t *all)
{
    __shared__ uint64_t warp_sum[WARPS];
    const unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    uint64_t sum = value, before = 0;

    for (unsigned by = 1; by < WARP; by *= 2) {
        const uint64_t other = __shfl_up_sync(ALL, sum, by);
        sum += lane >= by ? other : 0;
    }
    if (lane == WARP - 1)
        warp_sum[warp] = sum;
    __syncthreads();
    *all = 0;
    for (unsigned i = 0; i < WARPS; i++) {
        before += i < warp ? warp_sum[i] : 0;
        *all += warp_sum[i];
    }
    __syncthreads();
    return before + sum - value;
}

/* A thread block has an object: where its units begin, and does it fit? */
static __global__ __launch_bounds__(THREADS) void arrange(job j)
{
    const int i = blockIdx.x;
    const size_t units = (size_t)j.groups * j.tiles * j.levels;
    uint64_t *at = j.unit_at + i * (units + 1), end = j.object[i].units, all;

    if (!j.object[i].good || *j.items[i].status) {
        j.object[i].good = 0;
        return;
    }
    for (size_t first = 0; first < units; first += THREADS) {
        const size_t n = first + threadIdx.x;
        const uint64_t size = n < units ? unit_bytes(j, i, n) : 0;
        const uint64_t before = sum_before(size, &all);
        if (n < units)
            at[n] = end + before;
        end += all;
    }
    __syncthreads();
    if (threadIdx.x)
        return;
    at[units] = j.object[i].size = end;
    if (end > j.items[i].size) {
        *j.items[i].status = TSR_E_LIMIT;
        j.object[i].good = 0;
    }
}

/* ---- heads ---- */

/* The least e with most < 127.5 * 2^e, -126 at least. */
static __device__ int sink_exponent(float most)
{
    int e;

    if (!(most > 0))
        return -126;
    frexpf(most, &e);
    e = max(e - 7, -126);
    return most < ldexpf(127.5f, e) ? e : e + 1;
}

/* A warp codes a head of a sink; false where a value is not finite. */
static __device__ bool put_sink(const job &j, const place &p, uint32_t t, int head,
                                uint8_t *out)
{
    const int dim = j.dim[p.plane], lane = threadIdx.x % WARP;
    bool finite = true;
    float most = 0;

    for (int d = lane; d < dim; d += WARP)
        most = fmaxf(most, fabsf(load_value(j, j.items[p.object], p, t,
                                            head * dim + d, finite)));
    for (int by = WARP / 2; by; by /= 2)
        most = fmaxf(most, __shfl_xor_sync(ALL, most, by));
    const int e = sink_exponent(most);
    const float scale = ldexpf(1, -e);
    if (!lane)
        out[0] = (uint8_t)e;
    for (int d = lane; d < dim; d += WARP) {
        const float v = load_value(j, j.items[p.object], p, t, head * dim + d,
                                   finite);
        const int q = __float2int_rn(__fmul_rn(v, scale));
        out[1 + d] = (uint8_t)max(min(q, 127), -127);
    }
    return finite;
}

/* A thread block writes a plane's part of a head. */
static __device__ void put_plane(const job &j, const place &p, uint8_t *out)
{
    const object &o = j.object[p.object];
    const int heads = j.heads[p.plane], channels = j.channels[p.plane];
    const bool tables = has_rows(j, o) && !j.profiled && !j.method;

    for (uint32_t n = threadIdx.x / WARP; n < o.sinks * heads; n += WARPS)
        if (!put_sink(j, p, n / heads, n % heads, out + n * (1 + j.dim[p.plane])))
            atomicCAS(j.items[p.object].status, TSR_OK, TSR_E_ARG);
    uint8_t *cls = out + sink_bytes(j, o, p.plane);
    for (int c = threadIdx.x; tables && c < channels; c += THREADS) {
        const size_t at = p.coefficient(j) + c;
        cls[c] = j.cls[at];
        cls[channels + 2 * c] = (uint8_t)j.centre[at];
        cls[channels + 2 * c + 1] = (uint8_t)((uint16_t)j.centre[at] >> 8);
    }
}

/* A thread block writes the head of a group. */
static __global__ __launch_bounds__(THREADS) void put_heads(job j)
{
    const int i = blockIdx.x / j.groups, g = blockIdx.x % j.groups;
    const int first = j.group[g].first_plane, end = first + j.group[g].planes;
    const object &o = j.object[i];
    uint8_t *data = j.items[i].data;
    uint32_t bytes;
    place p = {};

    if (!o.good)
        return;
    p.object = i;
    for (int n = first; n < end; n++) {
        p.layer = n / j.planes;
        p.plane = n % j.planes;
        put_plane(j, p, data + plane_at(j, o, n));
    }
    __syncthreads();
    const uint64_t at = find_head(j, o, g, &bytes);
    const uint32_t crc = crc_block(j.crc, data + at, bytes);
    if (!threadIdx.x) {
        put32(find_entry(j, i, g), bytes);
        put32(find_entry(j, i, g) + 4, crc);
    }
}

/* ---- units ---- */

/* A thread block has a unit; those of methods are where they belong. */
static __global__ __launch_bounds__(THREADS) void put_units(job j)
{
    const size_t units = (size_t)j.groups * j.tiles * j.levels;
    const int i = (int)(blockIdx.x / units);
    const size_t n = blockIdx.x % units;
    const uint64_t *at = j.unit_at + i * (units + 1) + n;

    if (!j.object[i].good)
        return;
    const unit u = find_unit(j, i, n);
    const uint32_t size = (uint32_t)(at[1] - at[0]);
    uint8_t *to = j.items[i].data + at[0];
    uint32_t offset = 4 * u.segments;
    for (int s = 0; s < u.segments; s++) {
        const uint32_t bytes = u.size(j, s);
        if (s % WARPS == threadIdx.x / WARP) {
            if (threadIdx.x % WARP == 0)
                put32(to + 4 * s, bytes);
            move(to + offset, u.end(j, s) - bytes, bytes, threadIdx.x % WARP,
                 WARP);
        }
        offset += bytes;
    }
    __syncthreads();
    const uint32_t crc = crc_block(j.crc, to, size);
    if (!threadIdx.x) {
        put32(find_entry(j, i, j.groups + n), size);
        put32(find_entry(j, i, j.groups + n) + 4, crc);
    }
}

/* ---- fronts ---- */

/* By a thread block: token ids, id_bits each. */
static __device__ void put_ids(const job &j, const object &o, const int32_t *ids,
                               uint8_t *out)
{
    const uint64_t all = (uint64_t)j.tokens * o.id_bits;

    for (uint32_t i = threadIdx.x; i < (all + 7) / 8; i += THREADS) {
        uint32_t byte = 0;
        for (int b = 0; b < 8; b++) {
            const uint64_t bit = 8ull * i + b;
            if (bit < all)
                byte |= ((uint32_t)ids[bit / o.id_bits] >> bit % o.id_bits & 1) << b;
        }
        out[i] = (uint8_t)byte;
    }
}

/* A thread block finishes an object. */
static __global__ __launch_bounds__(THREADS) void put_front(job j)
{
    const tsri_kv_gpu_item &item = j.items[blockIdx.x];
    const object &o = j.object[blockIdx.x];
    uint8_t *p = item.data;

    if (!o.good || *item.status)
        return;
    for (int i = threadIdx.x; i < TSRI_KV_GPU_HEADER; i += THREADS)
        p[i] = j.header[i];
    for (uint32_t t = 2 * threadIdx.x; o.boosts && t < (uint32_t)j.tokens;
         t += 2 * THREADS)
        p[o.boosts + t / 2] = (uint8_t)(
            boost_at(j, blockIdx.x, t) |
            (t + 1 < (uint32_t)j.tokens ? boost_at(j, blockIdx.x, t + 1) << 4 : 0));
    if (o.flags & HAS_IDS)
        put_ids(j, o, item.ids, p + TSRI_KV_GPU_HEADER);
    __syncthreads();
    if (!threadIdx.x) {
        p[AT_FLAGS] = (uint8_t)o.flags;
        p[AT_ID_BITS] = (uint8_t)o.id_bits;
        put32(p + AT_SECTIONS, o.sections);
        put32(p + AT_POS0, o.pos0);
        p[AT_SINKS] = (uint8_t)o.sinks;
        put32(p + AT_SIZE, (uint32_t)o.size);
        put32(p + AT_SIZE + 4, (uint32_t)(o.size >> 32));
    }
    __syncthreads();
    const uint32_t crc = crc_block(j.crc, p, (uint32_t)o.heads - 4);
    if (!threadIdx.x) {
        put32(p + o.heads - 4, crc);
        *item.bytes = o.size;
    }
}

extern "C" cudaError_t tsri_kv_gpu_arrange(const job *j, cudaStream_t stream)
{
    arrange<<<(unsigned)j->objects, THREADS, 0, stream>>>(*j);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_write(const job *j, cudaStream_t stream)
{
    const size_t units = (size_t)j->objects * j->groups * j->tiles * j->levels;

    if (units > INT32_MAX)
        return cudaErrorInvalidValue;
    put_heads<<<(unsigned)(j->objects * j->groups), THREADS, 0, stream>>>(*j);
    if (units)
        put_units<<<(unsigned)units, THREADS, 0, stream>>>(*j);
    put_front<<<(unsigned)j->objects, THREADS, 0, stream>>>(*j);
    return cudaGetLastError();
}

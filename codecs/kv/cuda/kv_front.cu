/* SPDX-License-Identifier: BSD-2-Clause */
/* What comes before segments: arguments from the host, angles, fronts that are
 * checked. */
#include "codecs/kv/cuda/crc.cuh"
#include "codecs/kv/cuda/kv.cuh"

enum { THREADS = TSRI_KV_GPU_CRC };

/* Fields of the header. */
enum {
    AT_VERSION = 4, AT_FLAGS = 6, AT_DTYPE = 7, AT_LEVELS = 11, AT_POS0 = 24,
    AT_STEP = 32, AT_CLASS_SHIFT = 40, AT_SINKS = 41, AT_ID_BITS = 42,
    AT_LIVE_SHIFT = 43, AT_SIZE = 56, AT_SECTIONS = 152,
    MOST_SINKS = 64, MOST_BOOST = 7
};

static __device__ uint32_t get32(const uint8_t *p)
{
    return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

/* ---- arguments ---- */

struct arguments {
    uint4 part[TSRI_KV_GPU_ARGUMENTS / sizeof(uint4)];
};

static __global__ void carry(uint4 *to, arguments a, uint32_t n)
{
    if (threadIdx.x < n)
        to[threadIdx.x] = a.part[threadIdx.x];
}

extern "C" cudaError_t tsri_kv_gpu_carry(void *to, const void *from, size_t n,
                                         cudaStream_t stream)
{
    arguments a = {};

    while (n) {
        const size_t bytes = n < sizeof a ? n : sizeof a;
        memcpy(a.part, from, bytes);
        carry<<<1, THREADS, 0, stream>>>((uint4 *)to, a,
                                         (uint32_t)((bytes + 15) / 16));
        from = (const uint8_t *)from + bytes;
        to = (uint8_t *)to + bytes;
        n -= bytes;
    }
    return cudaGetLastError();
}

/* ---- angles ---- */

static __global__ __launch_bounds__(THREADS) void angles(job j)
{
    const size_t n = (size_t)j.objects * j.tokens * j.pairs;

    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < n;
         i += (size_t)gridDim.x * THREADS) {
        const size_t row = i / j.pairs;
        const object &o = j.object[row / j.tokens];
        if (o.good)
            j.angles[i] = angle_of(j, o.pos0 + row % j.tokens, (int)(i % j.pairs));
    }
}

static cudaError_t launch_angles(const job *j, cudaStream_t stream)
{
    const size_t n = (size_t)j->objects * j->tokens * j->pairs;
    const size_t grid = (n + THREADS - 1) / THREADS;

    if (n)
        angles<<<(unsigned)(grid < 4096 ? grid : 4096), THREADS, 0, stream>>>(*j);
    return cudaGetLastError();
}

/* Are the positions in the tables? */
static __device__ bool has_angles(const job &j, uint64_t pos0)
{
    return !j.layout || pos0 + j.tokens <= j.positions;
}

/* ---- encoder ---- */

static __global__ __launch_bounds__(THREADS) void clear_sums(job j)
{
    const size_t channels = (size_t)j.objects * j.layers * j.layer_channels;
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;

    if (i < channels)
        j.sum[i] = 0;
}

/* What an object with token ids or without leans on. */
static __device__ int flags_of(const job &j, bool ids, bool boosts)
{
    const bool matches = j.reference == REFERS_TO_MATCH;
    int flags = boosts ? HAS_BOOSTS : 0;

    if (ids && j.store_ids)
        flags |= HAS_IDS;
    if (ids && (j.predictors || matches))
        flags |= NEEDS_IDS;
    if (j.reference && (ids || !matches))
        flags |= CHAINED;
    return flags;
}

/* By a thread block: bits that the largest id has; 0 where one is negative. */
static __device__ int count_bits(const int32_t *ids, int n)
{
    __shared__ uint32_t all;
    uint32_t own = 1;

    if (!threadIdx.x)
        all = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += THREADS)
        own |= (uint32_t)ids[i];
    atomicOr(&all, own);
    __syncthreads();
    return all >> 31 ? 0 : 32 - __clz(all);
}

/* By a thread block: all bits of the boosts given. */
static __device__ uint32_t join_boosts(const uint8_t *boost, int n)
{
    __shared__ uint32_t all;
    uint32_t own = 0;

    if (!threadIdx.x)
        all = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += THREADS)
        own |= boost[i];
    atomicOr(&all, own);
    __syncthreads();
    return all;
}

/* Tokens for centres, by a warp: of n rows without boost those numbered
 * i * n / 32; of all where every row has one. */
static __device__ void choose_samples(const job &j, int object, uint32_t sinks)
{
    const uint32_t lane = threadIdx.x, rows = j.tokens - sinks;
    uint32_t n = 0, seen = 0, found = 0;

    for (uint32_t t = sinks; t < (uint32_t)j.tokens; t += WARP)
        n += __popc(__ballot_sync(ALL, t + lane < (uint32_t)j.tokens &&
                                  !boost_at(j, object, t + lane)));
    const bool all = !n;
    const uint32_t wanted = (uint32_t)((uint64_t)lane * (all ? rows : n) / WARP);
    for (uint32_t t = sinks; t < (uint32_t)j.tokens; t += WARP) {
        uint32_t mask = __ballot_sync(ALL, t + lane < (uint32_t)j.tokens &&
                                      (all || !boost_at(j, object, t + lane)));
        const uint32_t here = __popc(mask);
        if (wanted >= seen && wanted < seen + here) {
            for (uint32_t k = seen; k < wanted; k++)
                mask &= mask - 1;
            found = t + __ffs(mask) - 1;
        }
        seen += here;
    }
    j.sample[object * WARP + lane] = found;
}

/* A thread block has an object. */
static __global__ __launch_bounds__(THREADS) void begin(job j)
{
    const tsri_kv_gpu_item &item = j.items[blockIdx.x];
    const bool ids = item.ids && j.tokens;
    const int bits = ids ? count_bits(item.ids, j.tokens) : 0;
    const uint32_t given = item.boost ? join_boosts(item.boost, j.tokens) : 0;
    const bool boosts = j.sections || given;
    object o = {};

    if (j.sample && threadIdx.x < WARP && item.sinks < (uint32_t)j.tokens)
        choose_samples(j, blockIdx.x, item.sinks);
    if (threadIdx.x)
        return;
    o.step[0] = j.step[0];
    o.step[1] = j.step[1];
    o.pos0 = item.pos0;
    o.sinks = item.sinks;
    o.levels = o.used = j.levels;
    o.class_shift = j.class_shift;
    o.flags = flags_of(j, ids, boosts);
    o.ids = o.flags & NEEDS_IDS ? item.ids : NULL;
    o.id_bits = o.flags & HAS_IDS ? bits : 0;
    const uint32_t id_bytes = (uint32_t)(((uint64_t)j.tokens * o.id_bits + 7) / 8);
    o.sections = id_bytes + (boosts ? (j.tokens + 1u) / 2 : 0);
    o.boosts = boosts ? TSRI_KV_GPU_HEADER + id_bytes : 0;
    o.heads = front_bytes(j, o.sections, j.levels);
    o.units = head_at(j, o, o.heads, j.layers, 0);
    const int32_t error = (ids && !bits) || given > MOST_BOOST ? TSR_E_ARG :
                          !has_angles(j, o.pos0) ? TSR_E_UNSUPPORTED :
                          o.units > item.size ? TSR_E_LIMIT : TSR_OK;
    o.good = !error;
    j.object[blockIdx.x] = o;
    *item.status = error;
    *item.bytes = 0;
}

extern "C" cudaError_t tsri_kv_gpu_begin(const job *j, cudaStream_t stream)
{
    const size_t n = (size_t)j->objects * j->layers * j->layer_channels;

    if (j->sum)
        clear_sums<<<(unsigned)((n + THREADS - 1) / THREADS), THREADS, 0,
                     stream>>>(*j);
    begin<<<(unsigned)j->objects, THREADS, 0, stream>>>(*j);
    return launch_angles(j, stream);
}

/* ---- decoder: the front ---- */

/* Bytes of the header that another object of the same coder may have else. */
static __device__ bool may_differ(const job &j, int i)
{
    return i == AT_FLAGS || i == AT_DTYPE || i == AT_LEVELS ||
        i / 4 == AT_POS0 / 4 || i / 8 == AT_STEP / 8 || i == AT_SINKS ||
        i == AT_ID_BITS || i / 8 == AT_SIZE / 8 || i / 4 == AT_SECTIONS / 4 ||
        (j.profiled && (i == AT_CLASS_SHIFT || i == AT_LIVE_SHIFT));
}

static __device__ bool step_fits(uint32_t bits)
{
    const float step = __uint_as_float(bits);
    return step > 1e-30f && step < 1e30f && !(bits & 0xff);
}

/* Are the others the coder's? */
static __device__ bool same_header(const job &j, const tsri_kv_gpu_item &item)
{
    const int i = threadIdx.x;
    const bool compared = i < TSRI_KV_GPU_HEADER && !may_differ(j, i) &&
                          (uint64_t)i < item.size;

    return __syncthreads_and(!compared || item.data[i] == j.header[i]);
}

/* Steps that one another's product has the limits of. */
static __device__ bool steps_fit(const job &j, const uint8_t *p)
{
    const uint32_t a = get32(p + AT_STEP), b = get32(p + AT_STEP + 4);
    const float both = __fmul_rn(__uint_as_float(a), j.profile_step);

    if (j.method)
        return !((a | b) << 1);

    return step_fits(a) && step_fits(b) &&
        (!j.profiled || (a == b && both > 1e-30f && both < 1e30f));
}

/* What an object needs of its text. */
static __device__ int32_t read_flags(const job &j, const tsri_kv_gpu_item &item,
                                     uint32_t flags)
{
    if (flags & ~15u || (!j.profiled && flags & (NEEDS_IDS | CHAINED)) ||
        (flags & CHAINED && (!j.reference || (j.reference == REFERS_TO_MATCH &&
                                              !(flags & NEEDS_IDS)))))
        return TSR_E_CORRUPT;
    return flags & NEEDS_IDS && !(flags & HAS_IDS) && !item.ids ? TSR_E_ARG
                                                                : TSR_OK;
}

/* Do the bits behind the ids and boosts say nothing? */
static __device__ bool sections_end(const job &j, const object &o,
                                    const uint8_t *p, uint32_t ids)
{
    const uint32_t bits = (uint32_t)((uint64_t)j.tokens * p[AT_ID_BITS] % 8);

    return !(bits && p[TSRI_KV_GPU_HEADER + ids - 1] >> bits) &&
        !(o.boosts && j.tokens % 2 && p[o.boosts + j.tokens / 2] >> 4);
}

/* By one thread: the header's fields into o. */
static __device__ int32_t read_header(const job &j, const tsri_kv_gpu_item &item,
                                      bool same, object &o)
{
    const uint8_t *p = item.data;

    o = {};
    for (int i = 0; i < AT_VERSION; i++)
        if (item.size < AT_VERSION || p[i] != j.header[i])
            return TSR_E_FORMAT;
    if (item.size < TSRI_KV_GPU_HEADER)
        return TSR_E_TRUNCATED;
    if (p[AT_VERSION] != 1)
        return p[AT_VERSION] ? TSR_E_VERSION : TSR_E_CORRUPT;
    if (!same || p[AT_LEVELS] > j.levels)
        return TSR_E_MODEL;
    const uint32_t flags = p[AT_FLAGS], sections = get32(p + AT_SECTIONS);
    const uint32_t ids =
        flags & HAS_IDS ? (uint32_t)(((uint64_t)j.tokens * p[AT_ID_BITS] + 7) / 8)
                        : 0;
    const uint32_t boosts = flags & HAS_BOOSTS ? (j.tokens + 1u) / 2 : 0;
    for (int i = 0; i < 2; i++)
        o.step[i] = __fmul_rn(__uint_as_float(get32(p + AT_STEP + 4 * i)),
                              j.profile_step);
    o.pos0 = get32(p + AT_POS0);
    o.sinks = p[AT_SINKS];
    o.levels = p[AT_LEVELS];
    o.used = item.level ? item.level : o.levels;
    o.class_shift = (int8_t)p[AT_CLASS_SHIFT];
    o.size = get32(p + AT_SIZE) | (uint64_t)get32(p + AT_SIZE + 4) << 32;
    o.flags = (int32_t)flags;
    o.id_bits = p[AT_ID_BITS];
    o.dtype = p[AT_DTYPE];
    o.ids = !(flags & NEEDS_IDS) ? NULL : !(flags & HAS_IDS) ? item.ids :
            j.ids ? j.ids + (size_t)blockIdx.x * j.tokens : NULL;
    o.boosts = boosts ? TSRI_KV_GPU_HEADER + ids : 0;
    o.sections = sections;
    o.heads = front_bytes(j, sections, o.levels);
    if (p[AT_DTYPE] < 1 || p[AT_DTYPE] > 5 || !o.levels ||
        o.pos0 > 1u << 31 || o.sinks > (j.method ? 0 : MOST_SINKS) ||
        o.sinks > (uint32_t)j.tokens || sections != ids + boosts ||
        (flags & HAS_IDS ? p[AT_ID_BITS] < 1 || p[AT_ID_BITS] > 31
                         : p[AT_ID_BITS]) || !steps_fit(j, p))
        return TSR_E_CORRUPT;
    const int32_t error = read_flags(j, item, flags);
    if (error)
        return error;
    if (item.size < o.heads)
        return TSR_E_TRUNCATED;
    if (!sections_end(j, o, p, ids))
        return TSR_E_CORRUPT;
    if (o.used < 0 || o.used > o.levels)
        return TSR_E_ARG;
    o.units = head_at(j, o, o.heads, j.layers, 0);
    return has_angles(j, o.pos0) ? TSR_OK : TSR_E_UNSUPPORTED;
}

/* Sum of the values of the threads before this one; *all: of all. */
static __device__ uint64_t sum_before(uint64_t value, uint64_t *all)
{
    __shared__ uint64_t warp_sum[THREADS / WARP];
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
    for (unsigned i = 0; i < THREADS / WARP; i++) {
        before += i < warp ? warp_sum[i] : 0;
        *all += warp_sum[i];
    }
    __syncthreads();
    return before + sum - value;
}

/* Does this live shift leave as many coefficients of every group? */
static __device__ bool same_live(const job &j, const uint8_t *p)
{
    const int shift = (int8_t)p[AT_LIVE_SHIFT];
    bool same = true;

    if (p[AT_LIVE_SHIFT] == j.header[AT_LIVE_SHIFT])
        return true;
    for (int g = 0; g < j.groups; g++) {
        const tsri_kv_gpu_group &group = j.group[g];
        for (int c = group.coefs + (int)threadIdx.x - 1; c < group.columns;
             c += THREADS)
            if (c >= 0)
                same &= (group.cls[c] + shift >= j.dead) == (c < group.coefs);
    }
    return __syncthreads_and(same);
}

/* Are all heads as long as they must be, all boosts in their limits? */
static __device__ bool parts_fit(const job &j, const object &o, const uint8_t *p,
                                 const uint8_t *directory)
{
    bool good = true;
    uint32_t bytes;

    for (int g = threadIdx.x; g < j.groups; g += THREADS) {
        find_head(j, o, g, &bytes);
        good &= get32(directory + 8 * g) == bytes;
    }
    for (int i = threadIdx.x; o.boosts && i < (j.tokens + 1) / 2; i += THREADS)
        good &= !(p[o.boosts + i] & 0x88);
    return __syncthreads_and(good);
}

/* Where units begin; false where their sizes do not add up to the object's. */
static __device__ bool find_units(const job &j, const object &o,
                                  const uint8_t *sizes)
{
    const size_t units = (size_t)j.groups * j.tiles * o.levels;
    const size_t room = (size_t)j.groups * j.tiles * j.levels + 1;
    uint64_t *at = j.unit_at + blockIdx.x * room, end = o.units, all;

    for (size_t first = 0; first < units; first += THREADS) {
        const size_t i = first + threadIdx.x;
        const uint32_t size = i < units ? get32(sizes + 8 * i) : 0;
        const uint64_t before = sum_before(size, &all);
        if (i < units)
            at[i] = end + before;
        end += all;
    }
    if (!threadIdx.x)
        at[units] = end;
    return end == o.size;
}

/* A thread block looks at the front of an object. */
static __global__ __launch_bounds__(THREADS) void read_front(job j)
{
    __shared__ object o;
    __shared__ int32_t error;
    const tsri_kv_gpu_item &item = j.items[blockIdx.x];
    const bool same = same_header(j, item);

    if (!threadIdx.x)
        error = read_header(j, item, same, o);
    __syncthreads();
    if (!error) {
        const uint8_t *end = item.data + o.heads - 4;
        const uint8_t *sizes = end - 8ull * j.groups * j.tiles * o.levels;
        const uint8_t *directory = sizes - 8 * j.groups;
        const uint32_t crc = crc_block(j.crc, item.data, (uint32_t)o.heads - 4);
        const bool live = same_live(j, item.data);
        const bool fit = parts_fit(j, o, item.data, directory);
        const bool sum = find_units(j, o, sizes);
        if (!threadIdx.x)
            error = crc != get32(end) ? TSR_E_CHECKSUM :
                    !live ? TSR_E_MODEL : !fit || !sum ? TSR_E_CORRUPT :
                    o.size > item.size ? TSR_E_TRUNCATED : TSR_OK;
    }
    if (!threadIdx.x) {
        o.good = !error;
        j.object[blockIdx.x] = o;
        *item.status = error;
    }
}

/* ---- decoder: checksums ---- */

/* A thread block has a head or a unit; those that are not decoded may be damaged. */
static __global__ __launch_bounds__(THREADS) void check(job j)
{
    const size_t units = (size_t)j.groups * j.tiles * j.levels;
    const size_t each = units + j.groups;
    const size_t i = blockIdx.x / each, n = blockIdx.x % each;
    const object &o = j.object[i];
    const uint8_t *data = j.items[i].data;
    uint64_t from, size;
    uint32_t bytes;

    if (!o.good)
        return;
    const size_t has = j.groups + (size_t)j.groups * j.tiles * o.levels;
    if (n < (size_t)j.groups) {
        if (!is_wanted(j, (int)n))
            return;
        from = find_head(j, o, (int)n, &bytes);
        size = bytes;
    } else {
        const size_t unit = n - j.groups;
        const int tile = (int)(unit / o.levels % j.tiles);
        const uint64_t *at = j.unit_at + i * (units + 1) + unit;
        if (n >= has || (int)(unit % o.levels) >= levels_of(j, (int)i, tile) ||
            !is_wanted(j, (int)(unit / o.levels / j.tiles)))
            return;
        from = at[0];
        size = at[1] - from;
    }
    const uint32_t crc = crc_block(j.crc, data + from, (uint32_t)size);
    if (!threadIdx.x && crc != get32(data + o.heads - 4 - 8 * has + 8 * n + 4))
        atomicCAS(j.items[i].status, TSR_OK, TSR_E_CHECKSUM);
}

extern "C" cudaError_t tsri_kv_gpu_read(const job *j, cudaStream_t stream)
{
    const size_t parts = (size_t)j->objects * j->groups *
                         ((size_t)j->tiles * j->levels + 1);

    if (parts > INT32_MAX)
        return cudaErrorInvalidValue;
    read_front<<<(unsigned)j->objects, THREADS, 0, stream>>>(*j);
    check<<<(unsigned)parts, THREADS, 0, stream>>>(*j);
    return launch_angles(j, stream);
}

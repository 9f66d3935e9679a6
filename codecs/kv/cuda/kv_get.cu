/* SPDX-License-Identifier: BSD-2-Clause */
/* Segments to values in scratch: any group; a warp decodes the levels of a segment
 * one after another, and each refines what the one before it left.  Objects that
 * are good so far are decoded whatever their bytes are; a segment that is none
 * spoils its object. */
#include "codecs/kv/cuda/rows.cuh"

enum {
    BLOCK = 4,              /* strips of which the words are brought at a time */
    BLOCK_COEFS = BLOCK * WARP,
    KNOWN = 32,             /* strips of which it is known in registers whether
                               they have raw bits */
    KINDS = 3,              /* of refinements */
    REFINES = TSRI_KV_GPU_REFINES * KINDS,
    WORD_BYTES = BLOCK * 4 + BLOCK  /* of a lane's block of strips */
};

/* A coefficient's word: of level 0, the place of its table's slots, and of its
 * entries in the low 12 bits; of the others, the address of its class's bounds. */
enum : uint32_t { ENTRIES = SLOTS - 1 };

static __host__ __device__ int blocks_of(int coefs)
{
    return (coefs + BLOCK_COEFS - 1) / BLOCK_COEFS;
}

static __host__ __device__ uint32_t round_up(uint32_t v, uint32_t to)
{
    return (v + to - 1) / to * to;
}

/* Slots, then rings of words, entries, bounds, and the coefficients' words and raw
 * bits of each warp. */
struct memory {
    uint32_t slots, ring, entries, bounds, words, low, end;     /* addresses */

    __host__ __device__ memory(uint32_t begin, int tables, int span, int warps,
                               int warp)
    {
        const uint32_t each = (uint32_t)blocks_of(span) * WARP;

        slots = round_up(begin, SLOTS);
        ring = slots + (uint32_t)tables * SLOTS;
        entries = ring + (uint32_t)warps * RING;
        ring += (uint32_t)warp * RING;
        bounds = entries + (uint32_t)tables * STRIDE * 4;
        words = round_up(bounds + REFINES * 4, 16);
        low = words + (uint32_t)warps * each * BLOCK * 4;
        end = low + (uint32_t)warps * each * BLOCK;
        words += (uint32_t)warp * each * BLOCK * 4;
        low += (uint32_t)warp * each * BLOCK;
    }
};

static __device__ uint4 load_shared128(uint32_t at)
{
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "r"(at)
                 : "memory");
    return v;
}

static __device__ uint32_t word_of(const uint4 &v, int s)
{
    return s == 0 ? v.x : s == 1 ? v.y : s == 2 ? v.z : v.w;
}

/* A segment, and how the coefficients of a level are coded. */
struct target {
    spot p;
    memory m;
    int level, now;         /* and of which set, kv.cuh */
    uint32_t any_low;       /* a bit for each of the first KNOWN strips */

    __device__ int class_at(const job &j, int c, bool &good) const
    {
        const tsri_kv_gpu_group &g = j.group[p.group];
        const object &o = j.object[p.object];
        int cls;
        float m;

        if (g.cls)
            return p.class_at(j, now, c) + o.class_shift;
        const place at = { p.object, g.first_plane / j.planes,
                           g.first_plane % j.planes };
        good &= read_channel(j, at, c, &cls, &m);
        return cls;
    }
    /* False where a class is none. */
    __device__ bool set(const job &j, int wanted_level, int wanted)
    {
        const int lane = threadIdx.x % WARP;
        const int boost = wanted & ((1 << BOOST_BITS) - 1);
        bool good = true;

        level = wanted_level;
        now = wanted;
        any_low = 0;
        __syncwarp();
        for (int b = 0; b < blocks_of(p.coefs); b++) {
            const uint32_t at = b * WARP + lane;
            uint32_t bits = 0;
#pragma unroll
            for (int s = 0; s < BLOCK; s++) {
                const int c = b * BLOCK_COEFS + s * WARP + lane;
                const int cls = c < p.coefs
                    ? level_class(class_at(j, p.first + c, good), boost, level) : 0;
                const coding k = c < p.coefs ? coding_of(j.tables, cls)
                                             : coding{ 0, 0, 0 };
                store_shared32(m.words + 16 * at + 4 * s, level
                    ? m.bounds + min(cls, TSRI_KV_GPU_REFINES - 1) * KINDS * 4
                    : (m.slots + k.table * SLOTS) | (uint32_t)(k.table * STRIDE * 4));
                bits |= (uint32_t)(k.low | k.reach << 4) << 8 * s;
                if (__any_sync(ALL, k.low) && b * BLOCK + s < KNOWN)
                    any_low |= 1u << (b * BLOCK + s);
            }
            store_shared32(m.low + 4 * at, bits);
        }
        __syncwarp();
        return good;
    }
    __device__ uint4 words(int b) const
    {
        return load_shared128(m.words + 16 * (b * WARP + threadIdx.x % WARP));
    }
    __device__ coding coding_at(int b, int s) const
    {
        const uint32_t v =
            load_shared32(m.low + 4 * (b * WARP + threadIdx.x % WARP)) >> 8 * s;
        return { 0, (int)(v & 15), (int)(v >> 4 & 15) };
    }
    /* Are there raw bits in this strip? */
    __device__ bool has_low(int b, int s) const
    {
        return b < KNOWN / BLOCK ? any_low >> (b * BLOCK + s) & 1
                                 : __any_sync(ALL, coding_at(b, s).low);
    }
};

/* ---- level 0 ---- */

/* The values of a block of whole strips without raw bits, if there are no escapes;
 * returns false where there are some, and then nothing was taken. */
static __device__ bool take_symbols(decoder &d, const target &to, int b,
                                    uint32_t before, int q[BLOCK])
{
    const uint32_t x = d.x, sum = d.sum, pos = d.pos;
    const uint4 words = to.words(b);
    uint32_t most = 0;

#pragma unroll
    for (int s = 0; s < BLOCK; s++) {
        const uint32_t w = word_of(words, s);
        const uint32_t y = d.take<true>(w & ~ENTRIES, to.m.entries + (w & ENTRIES),
                                        before, true);
        most = max(most, y);
        q[s] = level_of(y);
    }
    if (!__any_sync(ALL, most >= ESCAPE_SYMBOL))
        return true;
    d.x = x;
    d.sum = sum;
    d.pos = pos;
    return false;
}

/* The same with raw bits. */
static __device__ bool take_plain(decoder &d, const target &to, int b,
                                  uint32_t before, int q[BLOCK])
{
    const uint32_t x = d.x, sum = d.sum, pos = d.pos;
    const uint4 words = to.words(b);
    const uint32_t low = b < KNOWN / BLOCK ? to.any_low >> b * BLOCK & 15 : 15;
    uint32_t most = 0;

#pragma unroll
    for (int s = 0; s < BLOCK; s++) {
        const uint32_t w = word_of(words, s);
        const uint32_t y = d.take<true>(w & ~ENTRIES, to.m.entries + (w & ENTRIES),
                                        before, true);
        most = max(most, y);
        q[s] = level_of(y);
        if (low >> s & 1 && to.has_low(b, s)) {
            const int bits = to.coding_at(b, s).low;
            const int tail = (int)d.take_uniform(bits, before, true);
            q[s] = value_of(q[s], tail, bits);
        }
    }
    if (!__any_sync(ALL, most >= ESCAPE_SYMBOL))
        return true;
    d.x = x;
    d.sum = sum;
    d.pos = pos;
    return false;
}

/* The same with everything there may be. */
static __device__ __noinline__ void take_values(decoder &d, const target &to, int b,
                                   uint32_t before, int q[BLOCK])
{
    const uint4 words = to.words(b);
    const int c = b * BLOCK_COEFS + (int)threadIdx.x % WARP;

#pragma unroll
    for (int s = 0; s < BLOCK; s++) {
        const bool active = c + s * WARP < to.p.coefs;
        const uint32_t w = word_of(words, s);
        if (b * BLOCK_COEFS + s * WARP >= to.p.coefs)
            break;
        const uint32_t y = d.take<false>(w & ~ENTRIES, to.m.entries + (w & ENTRIES),
                                         before, active);
        q[s] = d.take_rest(y, to.coding_at(b, s), to.has_low(b, s), before, active);
    }
    d.fill();
}

static __device__ void store_values(int16_t *row, int first, int coefs, bool whole,
                                    const int q[BLOCK])
{
#pragma unroll
    for (int s = 0; s < BLOCK; s++)
        if (whole || first + s * WARP < coefs)
            row[first + s * WARP] = (int16_t)q[s];
}

static __device__ void get_values(const job &j, target &to, decoder &d)
{
    const uint8_t *data = j.items[to.p.object].data;
    const uint32_t boosts = j.object[to.p.object].boosts, before = lanes_before();
    const int blocks = blocks_of(to.p.coefs), lane = threadIdx.x % WARP;
    const size_t pitch = j.group[to.p.group].pitch;
    int16_t *row = to.p.values(j, to.p.row);

    d.bad |= !to.set(j, 0, 0);
#pragma unroll 1
    for (uint32_t t = to.p.row; t < to.p.row + to.p.rows; t++, row += pitch) {
        const int set = set_of(j, to.p.object, t, boosts
            ? data[boosts + t / 2] >> t % 2 * 4 & 7 : 0);
        if (set != to.now)
            to.set(j, 0, set);
#pragma unroll 1
        for (int b = 0; b < blocks; b++) {
            const bool whole = (b + 1) * BLOCK_COEFS <= to.p.coefs;
            const bool known = b < KNOWN / BLOCK;
            bool done = false;
            int q[BLOCK];
            d.fill();
            if (whole && known && !(to.any_low >> b * BLOCK & 15))
                done = take_symbols(d, to, b, before, q);
            else if (whole)
                done = take_plain(d, to, b, before, q);
            if (!done) {        /* copies, so that d and to have no address */
                decoder own = d;
                const target here = to;
                int slow[BLOCK];
                take_values(own, here, b, before, slow);
                d = own;
#pragma unroll
                for (int s = 0; s < BLOCK; s++)
                    q[s] = slow[s];
            }
            store_values(row, b * BLOCK_COEFS + lane, to.p.coefs, whole, q);
        }
    }
}

/* ---- refinements ---- */

/* A value's refinement: 3 * q0 + r. */
template <bool WHOLE>
static __device__ int take_refinement(decoder &d, uint32_t bounds, int q0,
                                      uint32_t before, bool active)
{
    const uint32_t both = load_shared32(bounds + 4 * min(abs(q0), KINDS - 1));
    const uint32_t first = both & 0xffff, second = both >> 16;
    const uint32_t slot = d.x & (SLOTS - 1);
    const int s = (slot >= first) + (slot >= second);
    const uint32_t start = s == 0 ? 0 : s == 1 ? first : second;
    const uint32_t end = s == 0 ? first : s == 1 ? second : (uint32_t)SLOTS;

    if (WHOLE || active) {
        d.x = (end - start) * (d.x >> BITS) + slot - start;
        d.sum = d.sum * FACTOR + s;
    }
    d.take_words(before);
    return 3 * q0 + (q0 < 0 ? 1 - s : s - 1);
}

/* Values of a block that are there already. */
static __device__ void load_values(const int16_t *row, int first, int coefs,
                                   bool whole, int q[BLOCK])
{
#pragma unroll
    for (int s = 0; s < BLOCK; s++)
        q[s] = whole || first + s * WARP < coefs ? row[first + s * WARP] : 0;
}

static __device__ void get_refinements(const job &j, target &to, decoder &d,
                                       int level)
{
    const uint8_t *data = j.items[to.p.object].data;
    const uint32_t boosts = j.object[to.p.object].boosts, before = lanes_before();
    const int blocks = blocks_of(to.p.coefs), lane = threadIdx.x % WARP;
    const bool all = to.p.coefs % BLOCK_COEFS == 0;
    const size_t pitch = j.group[to.p.group].pitch;
    const uint32_t tokens = blocks < 4 ? 4 : 1;     /* that are brought ahead */
    int16_t *row = to.p.values(j, to.p.row);
    int ahead[BLOCK];       /* values of the block to come */

    load_values(row, lane, to.p.coefs, all, ahead);
    to.set(j, level, 0);
#pragma unroll 1
    for (uint32_t i = 0; i < to.p.rows; i++, row += pitch) {
        const uint32_t t = to.p.row + i;
        const int set = set_of(j, to.p.object, t, boosts
            ? data[boosts + t / 2] >> t % 2 * 4 & 7 : 0);
        if (set != to.now)
            to.set(j, level, set);
#pragma unroll 1
        for (int b = 0; b < blocks; b++) {
            const int first = b * BLOCK_COEFS + lane;
            const bool last = b + 1 == blocks;
            const bool whole = all || (b + 1) * BLOCK_COEFS <= to.p.coefs;
            const uint4 words = to.words(b);
            int q[BLOCK];
            bool good = true;
#pragma unroll
            for (int s = 0; s < BLOCK; s++)
                q[s] = ahead[s];
            if (i + tokens < to.p.rows)
                bring(row + tokens * pitch + b * BLOCK_COEFS + 4 * lane);
            if (!last || i + 1 < to.p.rows)
                load_values(last ? row + pitch : row,
                            last ? lane : first + BLOCK_COEFS, to.p.coefs, all,
                            ahead);
            d.fill();
#pragma unroll
            for (int s = 0; s < BLOCK; s++) {
                const uint32_t w = word_of(words, s);
                if (whole)
                    q[s] = take_refinement<true>(d, w, q[s], before, true);
                else if (b * BLOCK_COEFS + s * WARP < to.p.coefs)
                    q[s] = take_refinement<false>(d, w, q[s], before,
                                                  first + s * WARP < to.p.coefs);
                good &= abs(q[s]) <= MOST_VALUE;
            }
            d.bad |= !good;
            store_values(row, first, to.p.coefs, whole, q);
        }
    }
}

/* ---- launch ---- */

/* A warp has a segment: all its levels. */
static __device__ void get_segment(const job &j, target &to)
{
    const object &o = j.object[to.p.object];
    const int segments = j.group[to.p.group].segments;

    const int levels = levels_of(j, to.p.object, to.p.tile);

    for (int level = 0; level < levels; level++) {
        const uint8_t *data;
        uint32_t size;
        decoder d;
        if (!find_part(j, to.p.object, to.p.unit(j, o.levels, level), to.p.segment,
                       segments, &data, &size)) {
            spoil(j, to.p.object, TSR_E_CORRUPT);
            return;
        }
        d.ring = to.m.ring;
        d.open(data, size, to.p.seed(j, level));
        if (level)
            get_refinements(j, to, d, level);
        else
            get_values(j, to, d);
        if (!d.close(to.p.seed(j, level))) {
            if (threadIdx.x % WARP == 0)
                spoil(j, to.p.object, TSR_E_CORRUPT);
            return;
        }
    }
}

/* Thread blocks have segments that are neighbours. */
template <int WARPS>
static __global__ __launch_bounds__(WARPS * WARP, 1)
void get_levels(job j, size_t segments)
{
    extern __shared__ uint8_t shared[];
    const int warps = blockDim.x / WARP, warp = threadIdx.x / WARP;
    target to = { {}, memory((uint32_t)__cvta_generic_to_shared(shared),
                             j.tables.tables, j.span, warps, warp), 0, 0, 0 };
    const uint32_t slots = (uint32_t)j.tables.tables * SLOTS / 4;
    const uint32_t entries = (uint32_t)j.tables.tables * STRIDE;
    const size_t end = segments * (blockIdx.x + 1) / gridDim.x;

    for (uint32_t i = threadIdx.x; i < slots; i += blockDim.x)
        store_shared32(to.m.slots + 4 * i,
                       __ldg((const uint32_t *)j.tables.slot + i));
    for (uint32_t i = threadIdx.x; i < entries; i += blockDim.x)
        store_shared32(to.m.entries + 4 * i, __ldg(j.tables.entry + i));
    for (uint32_t i = threadIdx.x; i < REFINES; i += blockDim.x)
        store_shared32(to.m.bounds + 4 * i, __ldg(j.tables.refine_bound + i));
    __syncthreads();
    for (size_t n = segments * blockIdx.x / gridDim.x + warp; n < end; n += warps) {
        to.p = find_spot(j, n);
        if (j.object[to.p.object].good && to.p.rows && is_wanted(j, to.p.group))
            get_segment(j, to);
    }
}

/* With up to WARPS warps: the fewer, the more registers each has. */
template <int WARPS>
static cudaError_t launch(const job *j, size_t segments, cudaStream_t stream)
{
    const size_t each = (segments + j->sms - 1) / j->sms;
    int warps = each < WARPS ? (int)each : WARPS;
    uint32_t bytes;

    /* The end of memory that begins at address 1. */
    while ((bytes = memory(1, j->tables.tables, j->span, warps, 0).end) >
           (uint32_t)j->shared && warps > 1)
        warps--;
    const cudaError_t error = cudaFuncSetAttribute(
        (const void *)get_levels<WARPS>,
        cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
    if (error)
        return error;
    const size_t grid = (segments + warps - 1) / warps;
    get_levels<WARPS><<<(unsigned)(grid < (size_t)j->sms ? grid : j->sms),
                        (unsigned)(warps * WARP), bytes, stream>>>(*j, segments);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_get_segments(const job *j, cudaStream_t stream)
{
    const size_t segments = count_segments(*j);

    if (!segments)
        return cudaSuccess;
    return segments <= 16 * (size_t)j->sms ? launch<16>(j, segments, stream)
                                           : launch<32>(j, segments, stream);
}

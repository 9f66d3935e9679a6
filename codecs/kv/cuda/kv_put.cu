/* SPDX-License-Identifier: BSD-2-Clause */
/* Values in scratch to segments: any group, any level.  Values are those of the
 * last level; what a level codes follows from them alone, so that each level of a
 * segment is a warp of its own. */
#include "codecs/kv/cuda/rows.cuh"

enum {
    MOST_WARPS = 8,
    BLOCK = 4,              /* strips whose values are loaded ahead of time */
    BLOCK_COEFS = BLOCK * WARP,
    KNOWN = 32,             /* strips of which it is known in registers whether
                               they have raw bits */
    KINDS = 3, SYMBOLS = 3, /* of refinements */
    REFINES = TSRI_KV_GPU_REFINES * KINDS * SYMBOLS,
    LEAST_SHARED = 48 * 1024    /* what every launch may have */
};

/* How the coefficient of a lane and strip is coded, in a word: of level 0 the
 * place of its table, and from which magnitude on there may be escapes; of the
 * others, the place of its class's records. */
static __device__ uint32_t pack_coding(const coding &k)
{
    return (uint32_t)(k.table * STRIDE) << 16 | (uint32_t)first_escape(k);
}

static __device__ int limit_of(uint32_t packed)
{
    return (int)(packed & 0xffff);
}

/* What a thread block has in shared memory. */
struct memory {
    const uint2 *code;      /* of level 0 */
    const uint2 *refine;
    uint4 *packed;          /* of a warp: [blocks][WARP] x BLOCK strips */
    uint8_t *low;           /* of a warp: raw bits, [blocks][WARP][BLOCK] */
};

static __host__ __device__ int blocks_of(int coefs)
{
    return (coefs + BLOCK_COEFS - 1) / BLOCK_COEFS;
}

static __host__ __device__ size_t warp_bytes(int span)
{
    return (size_t)blocks_of(span) * WARP * (sizeof(uint4) + BLOCK);
}

/* A segment's level, and how its coefficients are coded. */
struct source {
    spot p;
    int level, down;        /* times that values are made coarser */
    memory m;
    uint32_t any_low;       /* a bit for each of the first strips */
    int now;                /* the set that m is of, kv.cuh */

    __device__ int set_at(const job &j, uint32_t t) const
    {
        return set_of(j, p.object, t, boost_at(j, p.object, t));
    }
    __device__ int class_at(const job &j, int c) const
    {
        const tsri_kv_gpu_group &g = j.group[p.group];
        return g.cls ? p.class_at(j, now, c) + j.class_shift
                     : j.cls[p.object * j.all_values + g.values_before + c];
    }
    __device__ void set(const job &j, int wanted)
    {
        const int lane = threadIdx.x % WARP;
        const int boost = wanted & ((1 << BOOST_BITS) - 1);

        now = wanted;
        any_low = 0;
        __syncwarp();
        for (int b = 0; b < blocks_of(p.coefs); b++) {
            uint32_t word[BLOCK], bits = 0;
#pragma unroll
            for (int s = 0; s < BLOCK; s++) {
                const int c = b * BLOCK_COEFS + s * WARP + lane;
                const int cls = c < p.coefs
                    ? level_class(class_at(j, p.first + c), boost, level) : 0;
                const coding k = c < p.coefs ? coding_of(j.tables, cls)
                                             : coding{ 0, 0, 14 };
                word[s] = level ? min(cls, TSRI_KV_GPU_REFINES - 1) * KINDS * SYMBOLS
                                : pack_coding(k);
                bits |= (uint32_t)k.low << 8 * s;
                if (__any_sync(ALL, k.low) && b * BLOCK + s < KNOWN)
                    any_low |= 1u << (b * BLOCK + s);
            }
            m.packed[b * WARP + lane] = make_uint4(word[0], word[1], word[2],
                                                   word[3]);
            ((uint32_t *)m.low)[b * WARP + lane] = bits;
        }
        __syncwarp();
    }
    /* Are there raw bits in this strip? */
    __device__ bool has_low(int b, int s) const
    {
        return b < KNOWN / BLOCK ? any_low >> (b * BLOCK + s) & 1
            : __any_sync(ALL, low_of(b, s));
    }
    __device__ int low_of(int b, int s) const
    {
        return m.low[(b * WARP + threadIdx.x % WARP) * BLOCK + s];
    }
    __device__ coding coding_at(int b, int s, uint32_t packed) const
    {
        const int low = low_of(b, s), limit = limit_of(packed);
        return { 0, low, low ? (limit - (1 << low >> 1)) >> low : limit - 1 };
    }
};

/* The values of a segment, a block of strips of a token after another, forward or
 * back; loaded one block ahead, and brought to the cache some tokens ahead. */
struct walk {
    const int16_t *at;
    ptrdiff_t step, turn;   /* from block to block, from token to token */
    ptrdiff_t ahead;        /* what is brought */
    int b, blocks, coefs;
    bool back;
    uint32_t left, spare;   /* blocks not yet loaded; not to be brought */
    int next[BLOCK];

    __device__ walk(const job &j, const spot &p, bool backward)
        : blocks(blocks_of(p.coefs)), coefs(p.coefs), back(backward)
    {
        const int tokens = blocks < 4 ? 4 : 1;
        const ptrdiff_t pitch = j.group[p.group].pitch;
        const int last = (blocks - 1) * BLOCK_COEFS;

        b = back ? blocks - 1 : 0;
        at = p.values(j, back ? p.row + p.rows - 1 : p.row) + threadIdx.x % WARP +
             b * BLOCK_COEFS;
        step = back ? -(ptrdiff_t)BLOCK_COEFS : (ptrdiff_t)BLOCK_COEFS;
        turn = back ? last - pitch : pitch - last;
        ahead = tokens * (back ? -pitch : pitch) + 3 * (threadIdx.x % WARP);
        left = p.rows * blocks;
        spare = tokens * blocks;
        load();
    }
    __device__ void load()
    {
        if (!left)
            return;
        if (coefs % BLOCK_COEFS == 0) {
#pragma unroll
            for (int s = 0; s < BLOCK; s++)
                next[s] = __ldg(at + s * WARP);
        } else {
            const int c = b * BLOCK_COEFS + (int)threadIdx.x % WARP;
#pragma unroll
            for (int s = 0; s < BLOCK; s++)
                next[s] = c + s * WARP < coefs ? __ldg(at + s * WARP) : 0;
        }
        if (left > spare)
            bring(at + ahead);
        left--;
        b += back ? -1 : 1;
        at += step;
        if (b < 0 || b == blocks) {
            b = back ? blocks - 1 : 0;
            at += turn - step;
        }
    }
    /* The next block, made coarser. */
    template <int DOWN>
    __device__ void take(int q[BLOCK])
    {
#pragma unroll
        for (int s = 0; s < BLOCK; s++)
            q[s] = coarsen(next[s], DOWN);
        load();
    }
};

static __device__ uint32_t word_of(const uint4 &v, int s)
{
    return s == 0 ? v.x : s == 1 ? v.y : s == 2 ? v.z : v.w;
}

/* ---- level 0 ---- */

/* Has any lane an escape?  Magnitudes are less than 2^15, limits too. */
static __device__ bool has_escapes(const int q[BLOCK], const uint4 &packed)
{
    bool over = false;

#pragma unroll
    for (int s = 0; s < BLOCK; s++)
        over |= abs(q[s]) >= limit_of(word_of(packed, s));
    return __any_sync(ALL, over);
}

/* Is a block one of whole strips without escapes? */
static __device__ bool is_plain(const source &from, int b, const int q[BLOCK],
                                 const uint4 &packed)
{
    return b < KNOWN / BLOCK && (b + 1) * BLOCK_COEFS <= from.p.coefs &&
        !has_escapes(q, packed);
}

/* The same with raw bits: first symbol and raw bits of a value. */
static __device__ uint32_t divide(const source &from, int b, int s, int q,
                                  uint32_t *tail)
{
    const int bits = from.low_of(b, s), shifted = q + (1 << bits >> 1);

    *tail = (uint32_t)(shifted & ((1 << bits) - 1));
    return symbol_of(shifted >> bits);
}

/* A lane's sum with a block of strips that is not plain. */
static __device__ __noinline__ uint32_t add_values(const source &from, int b,
                                                   int4 values, uint32_t sum)
{
    const int q[BLOCK] = { values.x, values.y, values.z, values.w };
    const uint4 packed = from.m.packed[b * WARP + threadIdx.x % WARP];
    const int c = b * BLOCK_COEFS + (int)threadIdx.x % WARP;
    const bool whole = (b + 1) * BLOCK_COEFS <= from.p.coefs;
    const bool plain = !has_escapes(q, packed) && whole;

#pragma unroll
    for (int s = 0; s < BLOCK; s++) {
        const bool low = from.has_low(b, s);
        if (plain && !low) {
            sum = sum * FACTOR + symbol_of(q[s]);
        } else if (plain) {
            const int bits = from.low_of(b, s);
            const int shifted = q[s] + (1 << bits >> 1);
            sum = (sum * FACTOR + symbol_of(shifted >> bits)) * FACTOR +
                  (uint32_t)(shifted & ((1 << bits) - 1));
        } else if (whole || b * BLOCK_COEFS + s * WARP < from.p.coefs) {
            const coding k = from.coding_at(b, s, word_of(packed, s));
            sum = add_symbols(sum, symbols(q[s], k), low,
                              c + s * WARP < from.p.coefs);
        }
    }
    return sum;
}

/* The words of such a block, last strip first. */
static __device__ __noinline__ void put_values(const source &from, int b,
                                               int4 values, writer &w,
                                               uint32_t before)
{
    const int q[BLOCK] = { values.x, values.y, values.z, values.w };
    const uint4 packed = from.m.packed[b * WARP + threadIdx.x % WARP];
    const int c = b * BLOCK_COEFS + (int)threadIdx.x % WARP;
    const bool whole = (b + 1) * BLOCK_COEFS <= from.p.coefs;
    const bool plain = !has_escapes(q, packed) && whole;

#pragma unroll
    for (int s = BLOCK; s-- > 0;) {
        const bool low = from.has_low(b, s);
        const uint32_t table = word_of(packed, s) >> 16;
        if (plain && !low) {
            w.put<true>(from.m.code[table + symbol_of(q[s])], before, true);
        } else if (plain) {
            const int bits = from.low_of(b, s);
            const int shifted = q[s] + (1 << bits >> 1);
            w.put_uniform(shifted & ((1 << bits) - 1), bits, before, true);
            w.put<true>(from.m.code[table + symbol_of(shifted >> bits)], before,
                        true);
        } else if (whole || b * BLOCK_COEFS + s * WARP < from.p.coefs) {
            const coding k = from.coding_at(b, s, word_of(packed, s));
            const symbols y(q[s], k);
            put_symbols(w, y, from.m.code[table + y.first], k.low, low, before,
                        c + s * WARP < from.p.coefs);
        }
    }
}

template <int DOWN>
static __device__ void code_values(const job &j, source &from, writer &w)
{
    const int blocks = blocks_of(from.p.coefs);
    const uint32_t before = lanes_before(), seed = from.p.seed(j, 0);
    const uint4 *packed = from.m.packed + threadIdx.x % WARP;
    uint32_t sum = 0;
    int q[BLOCK];

    walk ahead(j, from.p, false);
#pragma unroll 1
    for (uint32_t i = 0; i < from.p.rows; i++) {
        const int set = from.set_at(j, from.p.row + i);
        if (set != from.now)
            from.set(j, set);
#pragma unroll 1
        for (int b = 0; b < blocks; b++) {
            ahead.take<DOWN>(q);
            if (is_plain(from, b, q, packed[b * WARP])) {
                const uint32_t low = from.any_low >> b * BLOCK;
#pragma unroll
                for (int s = 0; s < BLOCK; s++) {
                    uint32_t tail;
                    if (low >> s & 1)
                        sum = (sum * FACTOR + divide(from, b, s, q[s], &tail)) *
                            FACTOR + tail;
                    else
                        sum = sum * FACTOR + symbol_of(q[s]);
                }
            } else {        /* copies, so that they have no address */
                const source own = from;
                const int4 v = make_int4(q[0], q[1], q[2], q[3]);
                sum = add_values(own, b, v, sum);
            }
        }
    }
    w.x = LOW_STATE | ((seed ^ sum * FACTOR) & 0xffff);
    walk back(j, from.p, true);
#pragma unroll 1
    for (uint32_t i = from.p.rows; i-- > 0;) {
        const int set = from.set_at(j, from.p.row + i);
        if (set != from.now)
            from.set(j, set);
#pragma unroll 1
        for (int b = blocks; b-- > 0;) {
            const uint4 words = packed[b * WARP];
            back.take<DOWN>(q);
            if (is_plain(from, b, q, words)) {
                const uint32_t low = from.any_low >> b * BLOCK;
                uint32_t tail[BLOCK];
                uint2 code[BLOCK];
#pragma unroll
                for (int s = 0; s < BLOCK; s++)
                    code[s] = from.m.code[(word_of(words, s) >> 16) +
                        (low >> s & 1 ? divide(from, b, s, q[s], &tail[s])
                                      : symbol_of(q[s]))];
#pragma unroll
                for (int s = BLOCK; s-- > 0;) {
                    if (low >> s & 1)
                        w.put_uniform(tail[s], from.low_of(b, s), before, true);
                    w.put<true>(code[s], before, true);
                }
            } else {
                const source own = from;
                const int4 v = make_int4(q[0], q[1], q[2], q[3]);
                writer there = w;
                put_values(own, b, v, there, before);
                w.first = there.first;
                w.x = there.x;
            }
        }
    }
}

/* ---- refinements ---- */

/* Kind and symbol of a value: KINDS * kind + symbol, whose record it is, too. */
static __device__ int refine_symbol(int fine)
{
    const int coarse = coarsen(fine, 1), r = fine - 3 * coarse;
    return min(abs(coarse), KINDS - 1) * SYMBOLS + (coarse < 0 ? -r : r) + 1;
}

static __device__ uint32_t add_refinements(const source &from, int b,
                                           const int q[BLOCK], uint32_t sum)
{
    const int c = b * BLOCK_COEFS + (int)threadIdx.x % WARP;

#pragma unroll
    for (int s = 0; s < BLOCK; s++)
        if (c + s * WARP < from.p.coefs)
            sum = sum * FACTOR + (uint32_t)refine_symbol(q[s]) % SYMBOLS;
    return sum;
}

static __device__ void put_refinements(const source &from, int b,
                                       const int q[BLOCK], writer &w,
                                       uint32_t before)
{
    const uint4 packed = from.m.packed[b * WARP + threadIdx.x % WARP];
    const int c = b * BLOCK_COEFS + (int)threadIdx.x % WARP;
    const bool whole = (b + 1) * BLOCK_COEFS <= from.p.coefs;
    uint2 code[BLOCK];

#pragma unroll
    for (int s = 0; s < BLOCK; s++)
        code[s] = from.m.refine[word_of(packed, s) + refine_symbol(q[s])];
    if (whole) {
#pragma unroll
        for (int s = BLOCK; s-- > 0;)
            w.put<true>(code[s], before, true);
        return;
    }
#pragma unroll
    for (int s = BLOCK; s-- > 0;)
        if (b * BLOCK_COEFS + s * WARP < from.p.coefs)
            w.put<false>(code[s], before, c + s * WARP < from.p.coefs);
}

template <int DOWN>
static __device__ void code_refinements(const job &j, source &from, writer &w)
{
    const int blocks = blocks_of(from.p.coefs);
    const uint32_t before = lanes_before(), seed = from.p.seed(j, from.level);
    uint32_t sum = 0;
    int q[BLOCK];

    walk ahead(j, from.p, false);
#pragma unroll 1
    for (uint32_t i = 0; i < from.p.rows; i++)
#pragma unroll 1
        for (int b = 0; b < blocks; b++) {
            ahead.take<DOWN>(q);
            sum = add_refinements(from, b, q, sum);
        }
    w.x = LOW_STATE | ((seed ^ sum * FACTOR) & 0xffff);
    walk back(j, from.p, true);
#pragma unroll 1
    for (uint32_t i = from.p.rows; i-- > 0;) {
        const int set = from.set_at(j, from.p.row + i);
        if (set != from.now)
            from.set(j, set);
#pragma unroll 1
        for (int b = blocks; b-- > 0;) {
            back.take<DOWN>(q);
            put_refinements(from, b, q, w, before);
        }
    }
}

/* ---- launch ---- */

static __host__ __device__ size_t table_bytes(int tables)
{
    return (size_t)(tables * STRIDE + REFINES) * sizeof(uint2) + 8;
}

/* A warp has a level of a segment: those of level 0 first, which take longest. */
static __global__ __launch_bounds__(MOST_WARPS * WARP, 3)
void code_levels(job j, size_t segments)
{
    extern __shared__ __align__(16) uint2 records[];
    const int warps = blockDim.x / WARP, warp = threadIdx.x / WARP;
    const int codes = j.tables.tables * STRIDE;
    const size_t n = (size_t)blockIdx.x * warps + warp;
    source from;

    for (int i = threadIdx.x; i < codes; i += blockDim.x)
        records[i] = __ldg((const uint2 *)j.tables.code + i);
    for (int i = threadIdx.x; i < REFINES; i += blockDim.x)
        records[codes + i] = __ldg((const uint2 *)j.tables.refine_code + i);
    __syncthreads();
    if (n >= segments * j.levels)
        return;
    from.p = find_spot(j, n % segments);
    from.level = (int)(n / segments);
    from.down = j.levels - 1 - from.level;
    if (!j.object[from.p.object].good || *j.items[from.p.object].status ||
        !from.p.rows)
        return;
    uint8_t *own = (uint8_t *)records + (table_bytes(j.tables.tables) + 15) / 16 * 16
        + warp * warp_bytes(j.span);
    from.m.code = records;
    from.m.refine = records + codes;
    from.m.packed = (uint4 *)own;
    from.m.low = own + (size_t)blocks_of(j.span) * WARP * sizeof(uint4);
    from.set(j, from.set_at(j, from.p.row));
    const size_t number = from.p.number(j);
    const size_t slot = from.level ? j.slot_more : j.slot;
    uint8_t *to = j.slots + number * j.slot_all +
        (from.level ? j.slot + (from.level - 1) * j.slot_more : 0);
    writer w = { (uint16_t *)to, (uint32_t)(slot / 2), 0 };
    if (from.level)
        from.down ? code_refinements<1>(j, from, w)
                  : code_refinements<0>(j, from, w);
    else
        from.down > 1 ? code_values<2>(j, from, w) :
        from.down ? code_values<1>(j, from, w) : code_values<0>(j, from, w);
    const uint32_t size = finish(w, slot);
    if (threadIdx.x % WARP == 0)
        j.segment_size[number * j.levels + from.level] = size;
}

extern "C" cudaError_t tsri_kv_gpu_put_segments(const job *j, cudaStream_t stream)
{
    const size_t segments = count_segments(*j);
    const size_t tables = (table_bytes(j->tables.tables) + 15) / 16 * 16;
    const size_t each = warp_bytes(j->span), room = 3 * (size_t)LEAST_SHARED;
    const size_t fit = (room - tables) / each;
    const size_t warps = fit < MOST_WARPS ? fit : MOST_WARPS;
    const size_t bytes = tables + warps * each;
    const size_t grid = (segments * j->levels + warps - 1) / warps;

    if (grid > INT32_MAX)
        return cudaErrorInvalidValue;
    if (!segments)
        return cudaSuccess;
    const cudaError_t error = cudaFuncSetAttribute(
        (const void *)code_levels, cudaFuncAttributeMaxDynamicSharedMemorySize,
        (int)bytes);
    if (error)
        return error;
    code_levels<<<(unsigned)grid, (unsigned)(warps * WARP), bytes, stream>>>(
        *j, segments);
    return cudaGetLastError();
}

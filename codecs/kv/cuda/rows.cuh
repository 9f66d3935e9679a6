/* SPDX-License-Identifier: BSD-2-Clause */
/* Segments of rows (docs/entropy.md, "Rows"), a warp each: lane = coefficient of
 * a strip. */
#ifndef TSR_CODECS_KV_CUDA_ROWS_CUH
#define TSR_CODECS_KV_CUDA_ROWS_CUH
#include "codecs/kv/cuda/kv.cuh"

enum {
    LOW_STATE = 1 << 16,    /* states are in [2^16, 2^32) */
    BITS = 12,              /* of the tables */
    SLOTS = 1 << BITS,
    STRIDE = TSRI_KV_GPU_STRIDE,
    ESCAPE_LEVEL = 15,
    ESCAPE_SYMBOL = 29,     /* and the one above */
    BOOST_CLASSES = 4,
    ESCAPE_BITS = 3,        /* of a run */
    ESCAPE_RUNS = 5,        /* at most */
    MOST_CLASS = 63,
    SEGMENT_HEAD = 1 + 4 * WARP
};
enum : uint32_t { FACTOR = 0x9E35 };    /* of the sums of lanes; a lane has its
                                           sum before it is multiplied */

/* Lanes before this one, as a mask. */
static __device__ uint32_t lanes_before()
{
    return (1u << threadIdx.x % WARP) - 1;
}

static __device__ int class_of(int cls, int boost)
{
    return min(cls + BOOST_CLASSES * boost, (int)MOST_CLASS);
}

/* The same of any level; the class may be shifted out of its limits. */
static __device__ int level_class(int cls, int boost, int level)
{
    const int more = level ? level == 1 ? 6 : 13 : 0;
    return max(min(cls + BOOST_CLASSES * boost + more, (int)MOST_CLASS), 0);
}

/* How a coefficient is coded. */
struct coding {
    int table, low, reach;
};

static __device__ coding coding_of(const tsri_kv_gpu_tables &tables, int cls)
{
    return { tables.table[cls], tables.low[cls], tables.reach[cls] };
}

/* Value of a symbol that is no escape. */
static __device__ int level_of(uint32_t symbol)
{
    return (int)(symbol >> 1) ^ -(int)(symbol & 1);
}

/* The symbol of a value that is no escape. */
static __device__ uint32_t symbol_of(int value)
{
    return (uint32_t)(value << 1 ^ value >> 31);
}

/* The value of one with raw bits. */
static __device__ int value_of(int hi, int tail, int low)
{
    return (hi << low) + tail - (1 << low >> 1);
}

/* ---- segments of objects ---- */

static __device__ void spoil(const job &j, int object, int32_t error)
{
    atomicCAS(j.items[object].status, TSR_OK, error);
}

/* A segment in its unit, which unit_at has at `unit`: the sizes of its n segments
 * first, then they.  False where the unit is not that.  By a warp. */
static __device__ bool find_part(const job &j, int object, size_t unit, int segment,
                                 int n, const uint8_t **data, uint32_t *size)
{
    const int lane = threadIdx.x % WARP;
    const uint64_t at = j.unit_at[unit], bytes = j.unit_at[unit + 1] - at;
    const uint8_t *sizes = j.items[object].data + at;
    uint64_t before = 0, all = 0;
    uint32_t own = 0;

    if (bytes < 4ull * n)
        return false;
    for (int i = lane; i < n; i += WARP) {
        const uint8_t *s = sizes + 4 * i;
        const uint32_t v = s[0] | s[1] << 8 | s[2] << 16 | (uint32_t)s[3] << 24;
        before += i < segment ? v : 0;
        own = i == segment ? v : own;
        all += v;
    }
    for (int by = WARP / 2; by; by /= 2) {
        before += __shfl_xor_sync(ALL, before, by);
        all += __shfl_xor_sync(ALL, all, by);
    }
    *size = __shfl_sync(ALL, own, segment % WARP);
    *data = sizes + 4 * n + before;
    return all == bytes - 4ull * n;
}

/* ---- decoder ---- */

enum {
    MOST = 8 * 2 * WARP,        /* bytes of words that eight runs can take */
    RING = 2 * MOST,
    FLOATS = RING,              /* where a warp has a table of 32 floats */
    WARP_BYTES = 2 * RING       /* of shared memory */
};

/* Shared memory, by addresses of 32 bits. */
static __device__ uint32_t load_shared8(uint32_t at)
{
    uint32_t v;
    asm("ld.shared.u8 %0, [%1];" : "=r"(v) : "r"(at));
    return v;
}

static __device__ uint32_t load_shared32(uint32_t at)
{
    uint32_t v;
    asm("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(at));
    return v;
}

/* In order with stores. */
static __device__ uint32_t load_shared16(uint32_t at)
{
    uint32_t v;
    asm volatile("ld.shared.u16 %0, [%1];" : "=r"(v) : "r"(at) : "memory");
    return v;
}

static __device__ void store_shared32(uint32_t at, uint32_t v)
{
    asm volatile("st.shared.u32 [%0], %1;" : : "r"(at), "r"(v) : "memory");
}

/* Slots of all tables, their entries, and for each warp a ring of words and a
 * table of floats. */
struct rows_memory {
    uint32_t slots, entries, ring;  /* addresses */

    __host__ __device__ rows_memory(uint32_t begin, int tables, int warp)
    {
        slots = (begin + SLOTS - 1) / SLOTS * SLOTS;
        entries = slots + (uint32_t)tables * SLOTS;
        const uint32_t end = entries + (uint32_t)tables * STRIDE * 4;
        ring = (end + RING - 1) / RING * RING + (uint32_t)warp * WARP_BYTES;
    }
};

struct decoder {
    uint32_t ring;          /* address of RING bytes, aligned to RING */
    uint32_t x, sum;
    uint32_t pos, size;     /* bytes of words: used, and all */
    uint32_t filled;        /* bytes of words that came into the ring */
    uint32_t ahead;         /* the next four bytes of this lane */
    const uint32_t *next;   /* after them; aligned, the words are shifted */
    uint32_t shift;
    int32_t left;           /* bytes of the segment from `next` on */
    uint32_t bad;

    /* Touches nothing but whole words of memory that hold a byte of the
     * segment. */
    __device__ void load()
    {
        const uint32_t low = left > 0 ? __ldg(next) : 0;
        const uint32_t high = left > 4 ? __ldg(next + 1) : 0;
        ahead = __funnelshift_r(low, high, shift);
        next += WARP;
        left -= 4 * WARP;
    }

    /* The segment at p; where it is not one, nothing of it is read. */
    __device__ void open(const uint8_t *p, uint32_t bytes, uint32_t seed)
    {
        const int lane = threadIdx.x % WARP;

        bad = bytes < SEGMENT_HEAD || bytes % 2 == 0 || *p != 3;
        x = LOW_STATE;
        sum = pos = size = filled = 0;
        left = 0;
        if (!bad) {
            const uint8_t *s = p + 1 + 4 * lane;
            x = s[0] | s[1] << 8 | s[2] << 16 | (uint32_t)s[3] << 24;
            bad = x < LOW_STATE;
            size = bytes - SEGMENT_HEAD;
        }
        const uint32_t odd = (uint32_t)(uintptr_t)(p + SEGMENT_HEAD) & 3;
        next = (const uint32_t *)(p + SEGMENT_HEAD - odd) + lane;
        shift = 8 * odd;
        left = size ? (int32_t)(size + odd) - 4 * lane : 0;
        load();
    }

    /* Brings the words of eight runs; zeros beyond the end. */
    __device__ void fill()
    {
#pragma unroll 1
        while (filled - pos < MOST) {
            store_shared32(ring + filled % RING + 4 * (threadIdx.x % WARP), ahead);
            filled += 4 * WARP;
            load();
            __syncwarp();
        }
    }

    /* Lanes whose state has become less than 2^16 take a word, in order. */
    __device__ void take_words(uint32_t before)
    {
        const bool takes = x < LOW_STATE;
        const uint32_t mask = __ballot_sync(ALL, takes);
        const uint32_t at = (pos + 2 * __popc(mask & before)) % RING;
        const uint32_t word = load_shared16(ring | at);

        x = takes ? x << 16 | word : x;
        pos += 2 * __popc(mask);
    }

    /* A symbol of each lane. */
    template <bool WHOLE>
    __device__ uint32_t take(uint32_t slots, uint32_t entries, uint32_t before,
                             bool active)
    {
        const uint32_t s = load_shared8(slots | (x & (SLOTS - 1)));
        const uint32_t e = load_shared32(entries + 4 * s);
        /* f * (x >> 12) + slot - start: e is f - 4096 over start */
        const uint32_t y = ((int32_t)e >> 16) * ((x >> BITS) + 65536) + (x - e);

        x = WHOLE || active ? y : x;
        sum = WHOLE || active ? sum * FACTOR + s : sum;
        take_words(before);
        return s;
    }

    /* A symbol of a table of 2^bits equal ones; bits 0: nothing but the sum
     * changes. */
    __device__ uint32_t take_uniform(int bits, uint32_t before, bool active)
    {
        const uint32_t slot = x & (SLOTS - 1);
        const uint32_t s = slot >> (BITS - bits);

        if (active) {
            x = (x >> BITS << (BITS - bits)) + (slot & ((SLOTS >> bits) - 1));
            sum = sum * FACTOR + s;
        }
        take_words(before);
        return s;
    }

    /* What escapes add to magnitudes. */
    __device__ uint32_t take_escapes(bool open, uint32_t before, bool active)
    {
        uint32_t more = 0;

#pragma unroll 1
        for (int at = 0; __any_sync(ALL, open); at += ESCAPE_BITS) {
            if (at == ESCAPE_BITS * ESCAPE_RUNS) {
                bad = 1;
                break;
            }
            fill();
            const uint32_t s = take_uniform(open ? ESCAPE_BITS + 1 : 0, before,
                                            active);
            if (open)
                more += (s & 7) << at;
            open &= s > 7;
        }
        fill();
        return more;
    }

    /* The value of symbol s, already taken, and all that belongs to it.  The
     * words of two runs were there before s. */
    __device__ int take_rest(uint32_t s, const coding &k, bool any_low,
                             uint32_t before, bool active)
    {
        int hi = level_of(s), tail = 0;

        if (any_low)
            tail = (int)take_uniform(k.low, before, active);
        const bool open = active && s >= ESCAPE_SYMBOL;
        if (__any_sync(ALL, open)) {
            const int a = k.reach + 1 + (int)take_escapes(open, before, active);
            hi = !open ? hi : s & 1 ? -a : a;
            bad |= abs(value_of(hi, tail, k.low)) > 32767;
        }
        return value_of(hi, tail, k.low);
    }

    /* Was the segment sound? */
    __device__ bool close(uint32_t seed) const
    {
        const uint32_t end = LOW_STATE | ((seed ^ sum * FACTOR) & 0xffff);
        return __all_sync(ALL, !bad && x == end && pos == size);
    }
};

/* The tables of all classes, by a thread block. */
static __device__ void load_tables(const tsri_kv_gpu_tables &tables,
                                   const rows_memory &memory)
{
    const uint32_t slots = (uint32_t)tables.tables * SLOTS / 4;
    const uint32_t entries = (uint32_t)tables.tables * STRIDE;

    for (uint32_t i = threadIdx.x; i < slots; i += blockDim.x)
        store_shared32(memory.slots + 4 * i,
                       __ldg((const uint32_t *)tables.slot + i));
    for (uint32_t i = threadIdx.x; i < entries; i += blockDim.x)
        store_shared32(memory.entries + 4 * i, __ldg(tables.entry + i));
    __syncthreads();
}

/* ---- encoder ---- */

/* Words go down from the end of a slot.  Records should be loaded before the words
 * of several runs are put: no load of shared memory is moved over a store. */
struct writer {
    uint16_t *slot;
    uint32_t first;     /* word */
    uint32_t x;

    __device__ void give_words(bool gives, uint32_t before)
    {
        const uint32_t mask = __ballot_sync(ALL, gives);

        first -= __popc(mask);
        if (gives) {
            slot[first + __popc(mask & before)] = (uint16_t)x;
            x >>= 16;
        }
    }

    /* A symbol of each lane. */
    template <bool WHOLE>
    __device__ void put(uint2 code, uint32_t before, bool active)
    {
        const uint32_t f = code.y >> 20;

        give_words((WHOLE || active) && x >> 20 >= f, before);
        const uint32_t q = __funnelshift_r(
            __umulhi(x + (code.y >> 5 & 1), code.x), 0, code.y);
        const uint32_t y = x + (q << BITS) - q * f + (code.y >> 6 & 0x1fff);
        x = WHOLE || active ? y : x;
    }

    /* A symbol of a table of 2^bits equal ones. */
    __device__ void put_uniform(uint32_t s, int bits, uint32_t before, bool active)
    {
        const int rest = BITS - bits;

        active &= bits > 0;
        give_words(active && x >> (20 + rest) >= 1, before);
        if (active)
            x = (x >> rest << BITS) + (x & ((1u << rest) - 1)) + (s << rest);
    }
};

/* A value as its symbols. */
struct symbols {
    uint32_t first, low;
    int escape;         /* what is over the reach; negative: none */

    __device__ symbols(int q, const coding &k)
    {
        const int shifted = q + (1 << k.low >> 1), hi = shifted >> k.low;

        escape = abs(hi) - k.reach - 1;
        first = 2 * (escape < 0 ? abs(hi) : (int)ESCAPE_LEVEL) - (hi < 0);
        low = shifted & ((1 << k.low) - 1);
    }
    __device__ bool open(int at) const
    {
        return escape >= 0 && (!at || escape >> at);
    }
    __device__ uint32_t part(int at) const
    {
        const int rest = escape >> at;
        return open(at) ? (rest & 7) | (rest > 7) << ESCAPE_BITS : 0;
    }
};

/* Magnitudes below this are no escapes. */
static __device__ int first_escape(const coding &k)
{
    return k.low ? (k.reach << k.low) + (1 << k.low >> 1) : k.reach + 1;
}

/* A lane's sum with a strip's symbols. */
static __device__ uint32_t add_symbols(uint32_t sum, const symbols &s,
                                       bool any_low, bool active)
{
    uint32_t next = sum * FACTOR + s.first;

    if (any_low)
        next = next * FACTOR + s.low;
    for (int at = 0; __any_sync(ALL, active && s.open(at)); at += ESCAPE_BITS)
        next = next * FACTOR + s.part(at);
    return active ? next : sum;
}

/* All runs of a strip, last first. */
static __device__ void put_symbols(writer &w, const symbols &s, uint2 code, int low,
                                   bool any_low, uint32_t before, bool active)
{
    int end = 0;

    while (__any_sync(ALL, active && s.open(end)))
        end += ESCAPE_BITS;
    while (end) {
        end -= ESCAPE_BITS;
        w.put_uniform(s.part(end), s.open(end) ? ESCAPE_BITS + 1 : 0, before,
                      active);
    }
    if (any_low)
        w.put_uniform(s.low, low, before, active);
    w.put<false>(code, before, active);
}

/* The head before the words; returns the bytes of the segment. */
static __device__ uint32_t finish(const writer &w, size_t slot)
{
    const int lane = threadIdx.x % WARP;
    uint8_t *p = (uint8_t *)(w.slot + w.first) - 4 * WARP;

    ((uint16_t *)p)[2 * lane] = (uint16_t)w.x;
    ((uint16_t *)p)[2 * lane + 1] = (uint16_t)(w.x >> 16);
    if (!lane)
        p[-1] = 3;
    return (uint32_t)((uint8_t *)w.slot + slot - p) + 1;
}
#endif

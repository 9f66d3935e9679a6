/* SPDX-License-Identifier: BSD-2-Clause */
#include <tessera/error.h>
#include "entropy/cuda/plan.cuh"

enum {
    MOST = 2 * WARP * ROWS,     /* bytes of words that ROWS rows can take */
    RING = 2 * MOST
};

/* A segment as it is being decoded: a lane's state and sum, and the words. */
struct segment {
    const uint8_t *words;
    uint32_t x, sum;
    uint32_t pos, size;     /* bytes of words: used, and all */
    uint32_t lanes;
    bool sound;
};

/* The state of every lane that has become less than 2^16 takes a word, in the
 * order of the lanes; `ring` is a shared address, pos and RING are bytes. */
static __device__ void take_words(uint32_t &x, uint32_t &pos, uint32_t ring,
                                  uint32_t before)
{
    uint32_t taken;
    asm volatile("{\n"
        ".reg .pred p;\n"
        ".reg .b32 m, r, w;\n"
        "setp.lt.u32 p, %0, 0x10000;\n"
        "vote.sync.ballot.b32 m, p, 0xffffffff;\n"
        "popc.b32 %1, m;\n"
        "and.b32 r, m, %4;\n"
        "popc.b32 r, r;\n"
        "mad.lo.u32 r, r, 2, %2;\n"
        "lop3.b32 r, r, %5, %3, 0xEA;\n"
        "ld.shared.u16 w, [r];\n"
        "@p prmt.b32 %0, %0, w, 0x1054;\n"
        "}" : "+r"(x), "=r"(taken) : "r"(pos), "r"(ring), "r"(before), "n"(RING - 1)
        : "memory");
    pos += 2 * taken;
}

static __device__ void store_shared(uint32_t at, uint32_t value)
{
    asm volatile("st.shared.u32 [%0], %1;" : : "r"(at), "r"(value) : "memory");
}

static __device__ uint32_t load16(const uint8_t *p)
{
    return __ldg(p) | __ldg(p + 1) << 8;
}

static __device__ segment open_segment(const uint8_t *p, uint64_t size,
                                       uint32_t seed, int lane)
{
    segment s = { p, seed, 0, 0, 0, 1, true };

    if (!size)
        return s;
    const uint32_t head = __ldg(p);
    s.lanes = head & 2 ? 8 << 2 * (head & 1) : 1 << 2 * (head & 1);
    s.words = p + 1 + 4 * s.lanes;
    s.sound = head < 4 && size >= 1 + 4 * s.lanes && size % 2;
    if (!s.sound)
        return s;
    s.size = (uint32_t)size - 1 - 4 * s.lanes;
    if (lane < s.lanes)
        s.x = load16(p + 1 + 4 * lane) | load16(p + 3 + 4 * lane) << 16;
    s.sound = __all_sync(ALL, s.x >= LOW);
    return s;
}

/* The words near `pos` in shared memory: 64 are loaded ahead into a register
 * of each lane, so that nothing waits for device memory. */
struct ring {
    uint32_t base;          /* shared address of RING bytes, aligned to RING */
    uint32_t filled;        /* bytes of the words that came here */
    uint32_t safe;          /* ROWS rows may be taken while pos is below */
    uint32_t ahead;         /* the next two words */
    const uint32_t *next;   /* after them: aligned, the words are shifted */
    uint32_t shift;
    int32_t left;           /* bytes of the segment from `next` on */

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
    __device__ void open(const segment &s, int lane)
    {
        const uint32_t odd = (uint32_t)(uintptr_t)s.words & 3;
        next = (const uint32_t *)(s.words - odd) + lane;
        shift = 8 * odd;
        left = (int32_t)(s.size + odd) - 4 * lane;
        filled = safe = 0;
        load();
    }
    /* Brings the words of ROWS rows; are there as many? */
    __device__ bool fill(const segment &s, int lane)
    {
#pragma unroll 1
        while (filled - s.pos < MOST) {
            store_shared(base + filled % RING + 4 * lane, ahead);
            filled += 4 * WARP;
            load();
            __syncwarp();
        }
        if (s.size - s.pos < MOST)
            return false;
        safe = min(filled, s.size) - MOST + 1;
        return true;
    }
};

/* One row of 32 symbols; its slots' entry.  Beyond the end of the words it reads
 * anything, and pos is then beyond `size`. */
static __device__ uint32_t row(segment &s, uint32_t ring, const uint32_t *slots,
                               uint32_t bits, uint32_t before)
{
    const uint32_t e = slots[s.x & ((1u << bits) - 1)];

    /* f * (x >> p) + bias: what stands over bias in e >> 8 is f * 2^12. */
    s.x = (e >> 20) * ((s.x >> bits) - 4096) + (e >> 8);
    take_words(s.x, s.pos, ring, before);
    return e;
}

/* A run in rows of 32 tokens of one channel. */
static __device__ void rows(segment &s, ring &r, const tsri_gpu_plan &plan,
                            const tsri_gpu_run &run, const tsri_gpu_matrix &m,
                            const place &p, const uint32_t *slots)
{
    const uint32_t before = lanes_before();

    for (int c = 0; c < run.count; c++) {
        const column col = find_column(plan, m, p, run.first + c);
        uint8_t *out = col.data + p.lane;
        uint32_t left = p.tokens;

        for (; left >= ROWS * WARP; left -= ROWS * WARP) {
            uint32_t e[ROWS];
            if (s.pos >= r.safe && !r.fill(s, p.lane))
                break;
#pragma unroll
            for (int i = 0; i < ROWS; i++) {
                e[i] = row(s, r.base, slots, plan.bits, before);
                out[i * WARP] = (uint8_t)(e[i] + col.offset);
            }
            s.sum = add_symbols(s.sum, e);
            out += ROWS * WARP;
        }
        for (; left; left -= WARP, out += WARP) {
            r.fill(s, p.lane);
            const uint32_t e = row(s, r.base, slots, plan.bits, before);
            s.sound = s.pos <= s.size;
            if (!s.sound)
                return;
            *out = (uint8_t)(e + col.offset);
            s.sum = (s.sum + (e & 255)) * K;
        }
    }
}

/* Any run: symbols are looked up by halving the list of starts. */
static __device__ void symbols(segment &s, const tsri_gpu_plan &plan,
                               const tsri_gpu_run &run,
                               const tsri_gpu_matrix &m, const place &p)
{
    const uint16_t *start = plan.start + plan.first[run.table] + run.table;
    const uint32_t size = plan.first[run.table + 1] - plan.first[run.table];
    walk at = { 0, 0 };

    at.step(p.lane, p.tokens);
    for (;;) {
        const bool active = p.lane < s.lanes && at.channel < run.count;
        const uint32_t slot = s.x & ((1u << plan.bits) - 1);
        uint32_t v = 0;

        if (!__any_sync(ALL, active))
            return;
        for (uint32_t step = 128; step; step /= 2)
            if (v + step < size && start[v + step] <= slot)
                v += step;
        uint32_t x = (start[v + 1] - start[v]) * (s.x >> plan.bits) + slot -
                     start[v];
        const bool takes = active && x < LOW;
        const uint32_t mask = __ballot_sync(ALL, takes);
        if (s.size - s.pos < 2 * __popc(mask)) {
            s.sound = false;
            return;
        }
        if (takes)
            x = x << 16 | load16(s.words + s.pos +
                                 2 * __popc(mask & lanes_before()));
        s.pos += 2 * __popc(mask);
        if (active) {
            const column col = find_column(plan, m, p, run.first + at.channel);
            s.x = x;
            s.sum = (s.sum + v) * K;
            col.data[at.token] = (uint8_t)(v + col.offset);
        }
        at.step(s.lanes, p.tokens);
    }
}

/* The slots of a class, by all warps of the thread block. */
static __device__ void load_slots(uint32_t *slots, const tsri_gpu_plan &plan,
                                  uint32_t table)
{
    const uint32_t *from = plan.slot + ((size_t)table << plan.bits);

    __syncthreads();
    if (plan.bits < 2)
        for (unsigned i = threadIdx.x; i < 1u << plan.bits; i += blockDim.x)
            slots[i] = __ldg(from + i);
    else
        for (unsigned i = threadIdx.x; i < 1u << plan.bits >> 2; i += blockDim.x)
            ((uint4 *)slots)[i] = __ldg((const uint4 *)from + i);
    __syncthreads();
}

static __global__ __launch_bounds__(WARPS * WARP, RESIDENT)
void decode(tsri_gpu_plan plan, const uint8_t *data, uint64_t size,
            const uint64_t *offset, uint64_t blocks, tsri_gpu_matrix m,
            int32_t *status)
{
    extern __shared__ __align__(1024) uint8_t shared[];
    const place p = find_place(plan, m);
    segment s = { data, LOW, 0, 0, 0, 1, false };
    ring r = { (uint32_t)__cvta_generic_to_shared(shared) +
               threadIdx.x / WARP * RING };
    uint32_t *slots = (uint32_t *)(shared + blockDim.x / WARP * RING);

    if (p.tokens && offset[blocks] == size)
        s = open_segment(data + offset[p.block],
                         offset[p.block + 1] - offset[p.block], p.seed, p.lane);
    if (s.sound)
        r.open(s, p.lane);
    for (int i = plan.first_run[p.group]; i < plan.first_run[p.group + 1]; i++) {
        const tsri_gpu_run run = plan.runs[i];
        const bool slotted = plan.slot &&
            plan.first[run.table + 1] - plan.first[run.table] > 1;
        if (slotted)
            load_slots(slots, plan, run.table);
        if (!s.sound)
            continue;
        if (slotted && s.lanes == WARP && p.tokens % WARP == 0)
            rows(s, r, plan, run, m, p, slots);
        else
            symbols(s, plan, run, m, p);
    }
    if (!p.tokens)
        return;
    s.sound &= s.pos == s.size;
    s.sound &= p.lane >= s.lanes || s.x == (p.seed ^ (s.sum & 0xffff));
    s.sound = __all_sync(ALL, s.sound);
    if (!p.lane)
        status[p.block] = s.sound ? TSR_OK : TSR_E_CORRUPT;
}

extern "C" cudaError_t tsri_launch_decode(const tsri_gpu_plan *plan,
                                          const uint8_t *data, uint64_t size,
                                          const uint64_t *offset,
                                          const tsri_gpu_matrix *out,
                                          int32_t *status, cudaStream_t stream)
{
    const size_t tiles = count_tiles(plan, out);
    const unsigned warps = choose_warps(tiles);
    const size_t grid = (tiles + warps - 1) / warps * plan->groups;
    const size_t bytes = (plan->slot ? sizeof(uint32_t) << plan->bits : 0) +
                         warps * RING;

    if (grid > INT32_MAX)
        return cudaErrorInvalidValue;
    decode<<<(unsigned)grid, warps * WARP, bytes, stream>>>(
        *plan, data, size, offset, tiles * plan->groups, *out, status);
    return cudaGetLastError();
}

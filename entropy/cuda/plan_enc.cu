/* SPDX-License-Identifier: BSD-2-Clause */
#include <tessera/error.h>
#include "entropy/cuda/plan.cuh"

enum : uint32_t {
    BYTE = 8 * 2048,            /* of costs, in 1/2048 bit */
    ENOUGH = 16384 * BYTE       /* 32 lanes from here on */
};

/* A block as it is being coded: a lane's state, and the words, which go down
 * from the end of the slot. */
struct writer {
    uint16_t *slot;
    uint32_t first;     /* word */
    uint32_t x, lanes;
    uint32_t limits;    /* all limits, or-ed: is one TSRI_GPU_BAD? */
};

/* A class in shared memory. */
static __device__ void load_code(tsri_gpu_code *code, const tsri_gpu_plan &plan,
                                 uint32_t table)
{
    const uint4 *from = (const uint4 *)(plan.code + table);

    __syncthreads();
    for (unsigned i = threadIdx.x; i < sizeof *code / sizeof *from; i += blockDim.x)
        ((uint4 *)code)[i] = __ldg(from + i);
    __syncthreads();
}

/* ROWS rows, the tokens from `in` on. */
static __device__ void load_rows(uint32_t s[ROWS], const uint8_t *in)
{
#pragma unroll
    for (int i = 0; i < ROWS; i++)
        s[i] = __ldg(in + i * WARP);
}

/* ---- first pass: sums of the lanes, and what the symbols cost ---- */

struct account {
    uint32_t sum;
    uint32_t cost;      /* at most ENOUGH */
    uint32_t limits;    /* as of a writer, of some symbols */
};

static __device__ void add_cost(account &a, uint32_t cost)
{
    a.cost = min(a.cost + cost, (uint32_t)ENOUGH);
}

/* A run for 32 lanes, in rows of 32 tokens of one channel. */
template <bool COSTS>
static __device__ void add_rows(account &a, const tsri_gpu_plan &plan,
                                const tsri_gpu_run &run,
                                const tsri_gpu_matrix &m, const place &p,
                                const tsri_gpu_code *code)
{
    for (int c = 0; c < run.count; c++) {
        const column col = find_column(plan, m, p, run.first + c);
        const uint8_t *in = col.data + p.lane;
        uint32_t t = 0;

#pragma unroll 2
        for (; t + ROWS * WARP <= p.tokens; t += ROWS * WARP, in += ROWS * WARP) {
            uint32_t s[ROWS], cost = 0;
            load_rows(s, in);
#pragma unroll
            for (int i = 0; i < ROWS; i++) {
                s[i] -= col.offset;
                if (COSTS)
                    cost += code->cost[s[i] & 255];
            }
            a.sum = add_symbols(a.sum, s);
            if (COSTS)
                add_cost(a, cost);
        }
        for (; t < p.tokens; t += WARP, in += WARP) {
            const uint32_t s = (__ldg(in) - col.offset) & 255;
            a.sum = (a.sum + s) * K;
            if (COSTS)
                add_cost(a, code->cost[s]);
        }
    }
}

/* Any run, for any number of lanes. */
static __device__ void add_run(account &a, const tsri_gpu_plan &plan,
                               const tsri_gpu_run &run,
                               const tsri_gpu_matrix &m, const place &p,
                               const tsri_gpu_code *code, uint32_t lanes)
{
    walk at = { 0, 0 };

    if (p.lane >= lanes)
        return;
    for (at.step(p.lane, p.tokens); at.channel < run.count;
         at.step(lanes, p.tokens)) {
        const column col = find_column(plan, m, p, run.first + at.channel);
        const uint32_t s = (__ldg(col.data + at.token) - col.offset) & 255;
        a.sum = (a.sum + s) * K;
        a.limits |= code->limit[s];
        add_cost(a, code->cost[s]);
    }
}

static __device__ bool is_single(const tsri_gpu_plan &plan, int table)
{
    return plan.first[table + 1] - plan.first[table] == 1;
}

/* Costs are not counted where the plan says how many lanes there are. */
static __device__ account add_up(const tsri_gpu_plan &plan,
                                 const tsri_gpu_matrix &m, const place &p,
                                 tsri_gpu_code *code, uint32_t lanes)
{
    account a = { 0, 0, 0 };

    for (int i = plan.first_run[p.group]; i < plan.first_run[p.group + 1]; i++) {
        const tsri_gpu_run run = plan.runs[i];
        const bool fast = lanes == WARP && p.tokens % WARP == 0 &&
                          !is_single(plan, run.table);
        load_code(code, plan, run.table);
        if (fast && plan.lanes)
            add_rows<false>(a, plan, run, m, p, code);
        else if (fast)
            add_rows<true>(a, plan, run, m, p, code);
        else if (p.tokens)
            add_run(a, plan, run, m, p, code, lanes);
    }
    for (int by = WARP / 2; by; by /= 2)
        a.cost = min(a.cost + __shfl_xor_sync(ALL, a.cost, by), (uint32_t)ENOUGH);
    return a;
}

/* ---- second pass: the words, last symbol first ---- */

/* Every active lane whose state has reached `limit` gives a word away, in the
 * order of the lanes. */
static __device__ void give_words(writer &w, uint32_t limit, bool active,
                                  uint32_t before)
{
    asm volatile("{\n"
        ".reg .pred p, q;\n"
        ".reg .b32 m, r;\n"
        ".reg .b64 a;\n"
        "setp.ne.u32 q, %4, 0;\n"
        "setp.ge.and.u32 p, %0, %3, q;\n"
        "vote.sync.ballot.b32 m, p, 0xffffffff;\n"
        "popc.b32 r, m;\n"
        "sub.u32 %1, %1, r;\n"
        "and.b32 r, m, %5;\n"
        "popc.b32 r, r;\n"
        "add.u32 r, r, %1;\n"
        "mad.wide.u32 a, r, 2, %2;\n"
        "@p st.global.u16 [a], %0;\n"
        "@p shr.u32 %0, %0, 16;\n"
        "}" : "+r"(w.x), "+r"(w.first)
        : "l"(w.slot), "r"(limit), "r"((uint32_t)active), "r"(before) : "memory");
}

/* One symbol a lane. */
static __device__ void put(writer &w, const tsri_gpu_code *code, uint32_t symbol,
                           bool active, uint32_t before)
{
    const uint32_t limit = code->limit[symbol], add = code->add[symbol];

    w.limits |= limit;
    give_words(w, limit & ~127u, active, before);
    const uint32_t q = __funnelshift_r(
        __umulhi(w.x + (limit >> 5 & 1), code->mul[symbol]), 0, limit);
    const uint32_t x = w.x + (add >> 16) + q * (add & 0xffff);
    w.x = active ? x : w.x;
}

static __device__ void put_rows(writer &w, const tsri_gpu_plan &plan,
                                const tsri_gpu_run &run,
                                const tsri_gpu_matrix &m, const place &p,
                                const tsri_gpu_code *code)
{
    const uint32_t before = lanes_before();

    for (int c = run.count; c-- > 0;) {
        const column col = find_column(plan, m, p, run.first + c);
        const uint8_t *in = col.data + p.lane + p.tokens;
        uint32_t t = p.tokens, s[ROWS], next[ROWS];

        for (; t % (ROWS * WARP); t -= WARP)
            put(w, code, (__ldg(in -= WARP) - col.offset) & 255, true, before);
        if (t)
            load_rows(next, in -= ROWS * WARP);
        for (; t; t -= ROWS * WARP) {
#pragma unroll
            for (int i = 0; i < ROWS; i++)
                s[i] = next[i];
            if (t > ROWS * WARP)
                load_rows(next, in -= ROWS * WARP);
#pragma unroll
            for (int i = ROWS; i-- > 0;)
                put(w, code, (s[i] - col.offset) & 255, true, before);
        }
    }
}

static __device__ void put_symbols(writer &w, const tsri_gpu_plan &plan,
                                   const tsri_gpu_run &run,
                                   const tsri_gpu_matrix &m, const place &p,
                                   const tsri_gpu_code *code)
{
    const uint64_t n = (uint64_t)run.count * p.tokens;

    for (uint64_t row = (n + w.lanes - 1) / w.lanes; row-- > 0;) {
        const uint64_t at = row * w.lanes + p.lane;
        const bool active = p.lane < w.lanes && at < n;
        const column col = find_column(plan, m, p, run.first +
                                       (int)(active ? at / p.tokens : 0));
        const uint8_t v = __ldg(col.data + (active ? at % p.tokens : 0));
        put(w, code, (v - col.offset) & 255, active, lanes_before());
    }
}

/* The head before the words; returns the bytes of the block. */
static __device__ uint32_t finish(const writer &w, size_t slot, int lane)
{
    uint8_t *p = (uint8_t *)(w.slot + w.first) - 4 * w.lanes;

    if (lane < w.lanes) {
        ((uint16_t *)p)[2 * lane] = (uint16_t)w.x;
        ((uint16_t *)p)[2 * lane + 1] = (uint16_t)(w.x >> 16);
    }
    if (!lane)
        p[-1] = w.lanes == 1 ? 0 : w.lanes == 4 ? 1 : w.lanes == 8 ? 2 : 3;
    return (uint32_t)((uint8_t *)w.slot + slot - p) + 1;
}

/* As many lanes as tsri_rans_finish() takes. */
static __device__ uint32_t choose_lanes(const tsri_gpu_plan &plan, uint32_t cost)
{
    return plan.lanes ? plan.lanes :
           cost < 2048 * BYTE ? 1 : cost < 4096 * BYTE ? 4 :
           cost < ENOUGH ? 8 : 32;
}

static __global__ __launch_bounds__(WARPS * WARP, RESIDENT)
void encode(tsri_gpu_plan plan, tsri_gpu_matrix m, uint8_t *slots, size_t slot,
            uint32_t *size, int32_t *status)
{
    __shared__ __align__(16) tsri_gpu_code code;
    const place p = find_place(plan, m);
    const uint32_t likely = plan.lanes ? plan.lanes : WARP;
    account a = add_up(plan, m, p, &code, likely);
    writer w = { (uint16_t *)(slots + p.block * slot), (uint32_t)(slot / 2), 0,
                 choose_lanes(plan, a.cost), a.limits };
    bool costs = false;     /* is there a symbol that takes room? */

    /* A small block is added up again, by all warps or none. */
    if (__syncthreads_or(p.tokens && w.lanes != likely)) {
        const account again = add_up(plan, m, p, &code, w.lanes);
        a.sum = again.sum;
    }
    w.x = p.seed ^ (a.sum & 0xffff);
    for (int i = plan.first_run[p.group + 1]; i-- > plan.first_run[p.group];) {
        const tsri_gpu_run run = plan.runs[i];
        if (is_single(plan, run.table))
            continue;
        costs = true;
        load_code(&code, plan, run.table);
        if (!p.tokens)
            continue;
        if (w.lanes == WARP && p.tokens % WARP == 0)
            put_rows(w, plan, run, m, p, &code);
        else
            put_symbols(w, plan, run, m, p, &code);
    }
    if (!p.tokens)
        return;
    const bool sound = __all_sync(ALL, !(w.limits & TSRI_GPU_BAD));
    const uint32_t bytes = sound && costs ? finish(w, slot, p.lane) : 0;
    if (!p.lane) {
        size[p.block] = bytes;
        status[p.block] = sound ? TSR_OK : TSR_E_ARG;
    }
}

extern "C" cudaError_t tsri_launch_encode(const tsri_gpu_plan *plan,
                                          const tsri_gpu_matrix *in,
                                          uint8_t *slots, size_t slot,
                                          uint32_t *size, int32_t *status,
                                          cudaStream_t stream)
{
    const size_t tiles = count_tiles(plan, in);
    const unsigned warps = choose_warps(tiles);
    const size_t grid = (tiles + warps - 1) / warps * plan->groups;

    if (grid > INT32_MAX)
        return cudaErrorInvalidValue;
    encode<<<(unsigned)grid, warps * WARP, 0, stream>>>(*plan, *in, slots, slot,
                                                        size, status);
    return cudaGetLastError();
}

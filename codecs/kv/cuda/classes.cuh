/* SPDX-License-Identifier: BSD-2-Clause */
/* Which table each column of a matrix of codes is written with, found by a thread block
 * as entropy/classes.c finds it, which has the reasons: integers only, and of equal
 * costs the same one is taken. */
#ifndef TSR_CODECS_KV_CUDA_CLASSES_CUH
#define TSR_CODECS_KV_CUDA_CLASSES_CUH
#include "codecs/kv/cuda/coded.cuh"
#include "codecs/kv/cuda/put.cuh"

enum {
    CODES = 256, TRAINED = 48, SOME = TRAINED + 1,
    PITCH = CODES + 2,          /* of rows that lanes read beside each other */
    TABLE_BITS = 12, TABLE_SUM = 1 << TABLE_BITS,
    NEAR_CHOOSE = 2,
    DEAR = (TABLE_BITS + 1) * 2048
};

/* Codes [row][column]. */
struct code_matrix {
    uint8_t *code;
    uint32_t rows, columns;     /* rows: 1..4096 */

    __device__ size_t values() const { return (size_t)rows * columns; }
};

/* What a table asks of symbols -before .. CODES - before - 1, in 1/2048 bit. */
struct price_list {
    uint16_t cost[PITCH];
    int before, low, high, mean;
};

/* Counts of a channel begin with its first value. */
struct counted {
    int first, width, mean;
};

struct counting {
    uint32_t hist[WARP][CODES + 1];
};

/* Tables that are being found, and then are; in shared memory, but frequencies. */
struct class_bank {
    price_list price[MOST_TABLES];
    uint16_t size[MOST_TABLES];
    uint8_t use[MOST_TABLES];   /* where the frequencies of a table are */
    int tables;
    uint16_t *freq;             /* [MOST_TABLES][CODES], in scratch */

    __device__ const uint16_t *frequencies(int k) const
    {
        return freq + use[k] * CODES;
    }
};

/* 2048 * (TABLE_BITS - log2(f)), rounded up, as entropy/bank.c has it. */
static __device__ uint16_t price_of(uint32_t f)
{
    const int e = 31 - __clz(f);
    uint64_t m = (uint64_t)f << (31 - e);
    uint32_t log = (uint32_t)e;

    for (int i = 0; i < 11; i++) {
        m = m * m >> 31;
        log = log << 1 | (uint32_t)(m >> 32);
        m >>= m >> 32;
    }
    log = ((uint32_t)TABLE_BITS << 11) - log;
    return (uint16_t)(f >> TABLE_BITS ? 0 : log ? log : 1);
}

/* By a warp: the prices of n frequencies; `open`: of others beside them, too. */
static __device__ void set_prices(price_list &p, const uint16_t *freq, int n, bool open)
{
    const int before = open ? (CODES - n) / 2 : 0;
    uint32_t total = 0;

    __syncwarp();
    for (int i = lane_of(); i < CODES; i += WARP) {
        const int k = i - before;
        p.cost[i] = k >= 0 && k < n ? price_of(freq[k]) : (uint16_t)DEAR;
        total += k >= 0 && k < n ? (uint32_t)k * freq[k] : 0;
    }
    total = sum_of(total);
    if (!lane_of()) {
        p.before = before;
        p.low = -before;
        p.high = open ? CODES - before : n;
        p.mean = (int)((16 * total + TABLE_SUM / 2) >> TABLE_BITS);
    }
    __syncwarp();
}

/* By a warp: hist[CODES], not all 0. */
static __device__ counted count_from_first(const uint32_t *hist)
{
    const int lane = lane_of();
    uint32_t has = 0, best = 0, total = 0, sum = 0;
    counted c;

    for (int i = 0; i < 8; i++)
        has |= (uint32_t)(hist[8 * lane + i] > 0) << i;
    const uint32_t any = __ballot_sync(ALL, has), below = any & ((1u << lane) - 1);
    const int from = 31 - __clz(below ? below : any);
    const uint32_t theirs = __shfl_sync(ALL, has, from);
    int last = 8 * from + 31 - __clz(theirs) - (below ? 0 : CODES);
    for (int p = 8 * lane; has; has >>= 1, p++)
        if (has & 1) {          /* the longest gap, the first that is complete */
            const uint32_t at = last < -1 ? CODES + p : p;
            best = max(best, (uint32_t)(p - last - 1) << 9 | (511 - at));
            last = p;
        }
    for (int by = WARP / 2; by; by /= 2)
        best = max(best, __shfl_xor_sync(ALL, best, by));
    c.first = best >> 9 ? (511 - (best & 511)) % CODES : 0;
    c.width = CODES - (best >> 9);
    for (int i = lane; i < c.width; i += WARP) {
        const uint32_t n = hist[(c.first + i) % CODES];
        sum += n;
        total += i * n;
    }
    sum = sum_of(sum);
    c.mean = (int)((16 * sum_of(total) + sum / 2) / sum);
    return c;
}

/* Where channel and table come together to within `near`; false: nowhere. */
static __device__ bool find_near(const price_list &p, const counted &c, int near,
                                 int *begin, int *end)
{
    const int most = p.high - c.width, middle = (p.mean - c.mean + 8) >> 4;

    *begin = min(max(middle - near, p.low), most);
    *end = min(max(middle + near, p.low), most);
    return most >= p.low;
}

/* ---- counting ---- */

/* Columns from `first` on, WARP of them, by a thread block. */
static __device__ void count_columns(const code_matrix &m, uint32_t first, counting &c)
{
    const uint32_t column = first + lane_of();

    __syncthreads();
    for (int i = threadIdx.x; i < WARP * (CODES + 1); i += THREADS)
        (&c.hist[0][0])[i] = 0;
    __syncthreads();
    for (uint32_t r = threadIdx.x / WARP; r < m.rows && column < m.columns; r += WARPS)
        atomicAdd(&c.hist[lane_of()][m.code[(size_t)r * m.columns + column]], 1u);
    __syncthreads();
}

/* Histograms of the columns that tables are made by, and of one that has all values;
 * how many they are. */
static __device__ int count_some(const code_matrix &m, counting &c, uint32_t *some)
{
    const int n = min(m.columns, (uint32_t)TRAINED), v = threadIdx.x;
    uint64_t all = 0;

    for (uint32_t first = 0; first < m.columns; first += WARP) {
        count_columns(m, first, c);
        for (int i = 0; i < WARP; i++)
            all += c.hist[i][v];
        for (int i = 0; i < n; i++) {
            const uint32_t column = (uint32_t)((uint64_t)i * m.columns / n) - first;
            if (column < WARP)
                some[i * CODES + v] = c.hist[column][v];
        }
    }
    some[n * CODES + v] = (uint32_t)(all / m.columns) + (all > 0);
    __syncthreads();
    return n + 1;
}

/* ---- choice ---- */

/* By a warp: the cheapest table of a column, and its offset; false: none takes it. */
static __device__ bool choose(const class_bank &b, const uint32_t *hist, uint8_t *cls,
                              uint8_t *offset)
{
    enum { EACH = 2 * NEAR_CHOOSE + 1 };
    const counted is = count_from_first(hist);
    uint64_t best = UINT64_MAX;

    for (int o = lane_of(); o < EACH * b.tables; o += WARP) {
        const price_list &p = b.price[o / EACH];
        int begin, end;
        uint32_t sum = 0;
        const bool fits = find_near(p, is, NEAR_CHOOSE, &begin, &end);
        const int at = begin + o % EACH;
        if (!fits || at > end)
            continue;
        for (int i = 0; i < is.width; i++)
            sum += hist[(is.first + i) % CODES] * p.cost[at + i];
        best = min(best, (uint64_t)sum << 32 | (uint32_t)(o << 20 | at));
    }
    for (int by = WARP / 2; by; by /= 2)
        best = min(best, __shfl_xor_sync(ALL, best, by));
    if (best == UINT64_MAX)
        return false;
    if (!lane_of()) {
        *cls = (uint8_t)(((uint32_t)best >> 20) / EACH);
        *offset = (uint8_t)(is.first - (int)(best & 1023));
    }
    return true;
}

/* By a thread block, of all columns. */
static __device__ bool choose_classes(const code_matrix &m, counting &c,
                                      const class_bank &b, uint8_t *cls, uint8_t *offset)
{
    bool good = true;

    for (uint32_t first = 0; first < m.columns; first += WARP) {
        count_columns(m, first, c);
        for (uint32_t i = threadIdx.x / WARP; i < WARP && first + i < m.columns;
             i += WARPS)
            good &= choose(b, c.hist[i], cls + first + i, offset + first + i);
    }
    return __syncthreads_and(good);
}
#endif

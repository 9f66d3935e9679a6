/* SPDX-License-Identifier: BSD-2-Clause */
/* The tables that a matrix of codes is written with, made by a thread block as
 * entropy/classes.c makes them: in its integers and its order, so that they are the
 * CPU's. */
#ifndef TSR_CODECS_KV_CUDA_CLASSES_TRAIN_CUH
#define TSR_CODECS_KV_CUDA_CLASSES_TRAIN_CUH
#include "codecs/kv/cuda/classes.cuh"

enum { ROUNDS = 24, GAIN_SHIFT = 13, NEAR_TRAIN = 1, FEW = 4096 };

struct chosen {
    uint32_t cost;
    int table, at;
};

struct training {
    uint16_t count[SOME][PITCH];
    counted channel[SOME];
    uint32_t own[SOME];
    chosen choice[SOME];
    uint32_t mass[WARPS][CODES];
    uint16_t freq[WARPS][CODES];
    int base[MOST_TABLES];
    uint64_t random, sum;
    int drawn;
};

/* By a warp: what a channel costs from place `at` of a table on. */
static __device__ uint32_t cost_at(const training &t, const price_list &p, int c, int at)
{
    uint32_t sum = 0;

    for (int i = lane_of(); i < t.channel[c].width; i += WARP)
        sum += (uint32_t)t.count[c][i] * p.cost[p.before + at + i];
    return sum_of(sum);
}

/* By a warp: the frequencies of the n counts in its `mass`. */
static __device__ uint16_t *make_table(training &t, int n)
{
    const int warp = threadIdx.x / WARP;

    __syncwarp();
    if (n > 0)
        normalise(t.mass[warp], n, TABLE_BITS, t.freq[warp]);
    else if (!lane_of())        /* a class of nothing */
        t.freq[warp][0] = TABLE_SUM;
    __syncwarp();
    return t.freq[warp];
}

static __device__ uint16_t *table_of_channel(training &t, int c)
{
    __syncwarp();
    for (int i = lane_of(); i < t.channel[c].width; i += WARP)
        t.mass[threadIdx.x / WARP][i] = t.count[c][i];
    return make_table(t, t.channel[c].width);
}

static __device__ void read_channels(training &t, const uint32_t *some, int n)
{
    for (int c = threadIdx.x / WARP; c < n; c += WARPS) {
        const counted is = count_from_first(some + c * CODES);
        uint32_t sum = 0;
        for (int i = lane_of(); i < CODES; i += WARP)
            t.count[c][i] = (uint16_t)some[c * CODES + (is.first + i) % CODES];
        if (!lane_of())
            t.channel[c] = is;
        __syncwarp();
        const uint16_t *freq = table_of_channel(t, c);
        for (int i = lane_of(); i < is.width; i += WARP)
            sum += (uint32_t)t.count[c][i] * price_of(freq[i]);
        sum = sum_of(sum);
        if (!lane_of()) {
            t.own[c] = sum;
            t.choice[c] = { UINT32_MAX, 0, 0 };
        }
    }
    __syncthreads();
}

static __device__ uint32_t excess(const training &t, int c)
{
    return t.choice[c].cost > t.own[c] ? t.choice[c].cost - t.own[c] : 0;
}

/* By one thread: a channel with the chance of its excess; -1: none has any. */
static __device__ int draw(training &t, int n)
{
    uint64_t sum = 0;

    for (int c = 0; c < n; c++)
        sum += excess(t, c);
    if (!sum)
        return -1;
    t.random = t.random * 6364136223846793005u + 1442695040888963407u;
    uint64_t at = (t.random ^ t.random >> 32) % sum;
    for (int c = 0;; c++) {
        const uint32_t some = excess(t, c);
        if (at < some)
            return c;
        at -= some;
    }
}

static __device__ void choose_seeds(training &t, class_bank &b, int n, int most)
{
    for (int seed = 0; seed >= 0 && b.tables < most; seed = t.drawn) {
        const int k = b.tables;
        if (threadIdx.x < WARP) {
            set_prices(b.price[k], table_of_channel(t, seed), t.channel[seed].width,
                       true);
            if (!threadIdx.x)
                t.choice[seed] = { t.own[seed], k, 0 };
        }
        __syncthreads();
        for (int c = threadIdx.x / WARP; c < n; c += WARPS) {
            int begin, end;
            if (!find_near(b.price[k], t.channel[c], NEAR_TRAIN, &begin, &end))
                continue;
            for (int at = begin; at <= end; at++) {
                const uint32_t cost = cost_at(t, b.price[k], c, at);
                if (!lane_of() && cost < t.choice[c].cost)
                    t.choice[c] = { cost, k, at };
            }
        }
        __syncthreads();
        if (!threadIdx.x) {
            b.tables = k + 1;
            t.drawn = draw(t, n);
        }
        __syncthreads();
    }
}

/* By a warp: table k of the channels that have chosen it. */
static __device__ void update_table(training &t, class_bank &b, int n, int k)
{
    int first = INT32_MAX, last = INT32_MIN;

    for (int c = 0; c < n; c++)
        if (t.choice[c].table == k) {
            first = min(first, t.choice[c].at);
            last = max(last, t.choice[c].at + t.channel[c].width - 1);
        }
    const int size = last < first ? 0 : last - first + 1;
    for (int i = lane_of(); i < size; i += WARP) {
        uint32_t sum = 0;
        for (int c = 0; c < n; c++) {
            const uint32_t at = (uint32_t)(first + i - t.choice[c].at);
            if (t.choice[c].table == k && at < (uint32_t)t.channel[c].width)
                sum += t.count[c][at];
        }
        t.mass[threadIdx.x / WARP][i] = sum;
    }
    const uint16_t *freq = make_table(t, size);
    for (int i = lane_of(); i < max(size, 1); i += WARP)
        b.freq[k * CODES + i] = freq[i];
    set_prices(b.price[k], freq, max(size, 1), true);
    if (!lane_of()) {
        b.size[k] = (uint16_t)max(size, 1);
        t.base[k] = first;
    }
}

static __device__ void update_tables(training &t, class_bank &b, int n)
{
    for (int k = threadIdx.x / WARP; k < b.tables; k += WARPS)
        update_table(t, b, n, k);
    __syncthreads();
    for (int c = threadIdx.x; c < n; c += THREADS)
        t.choice[c].at -= t.base[t.choice[c].table];
    __syncthreads();
}

/* By a warp: the best table of a channel.  Lanes have offers in order: what it has,
 * then tables, and places in them. */
static __device__ void update_choice(training &t, const class_bank &b, int c)
{
    enum { EACH = 2 * NEAR_TRAIN + 1 };
    const counted is = t.channel[c];
    const chosen old = t.choice[c];
    uint64_t best = UINT64_MAX;

    for (int o = lane_of(); o < 1 + EACH * b.tables; o += WARP) {
        const int k = o ? (o - 1) / EACH : old.table;
        int at = old.at, begin, end;
        uint32_t sum = 0;
        if (o) {
            const bool fits = find_near(b.price[k], is, NEAR_TRAIN, &begin, &end);
            at = begin + (o - 1) % EACH;
            if (!fits || at > end)
                continue;
        }
        const uint16_t *cost = b.price[k].cost + b.price[k].before + at;
        for (int i = 0; i < is.width; i++)
            sum += (uint32_t)t.count[c][i] * cost[i];
        best = min(best, (uint64_t)sum << 32 | (uint32_t)(o << 20 | k << 10 | (at + 512)));
    }
    for (int by = WARP / 2; by; by /= 2)
        best = min(best, __shfl_xor_sync(ALL, best, by));
    __syncwarp();
    if (!lane_of())
        t.choice[c] = { (uint32_t)(best >> 32), (int)(best >> 10 & 1023),
                        (int)(best & 1023) - 512 };
}

/* By one thread. */
static __device__ uint32_t used_tables(const training &t, int n)
{
    uint32_t used = 0;

    for (int c = 0; c < n; c++)
        used |= 1u << t.choice[c].table;
    return used;
}

static __device__ void fill_empty(training &t, const class_bank &b, int n)
{
    const uint32_t used = used_tables(t, n);

    for (int k = 0; k < b.tables; k++) {
        const int c = used >> k & 1 ? -1 : draw(t, n);
        if (c >= 0)
            t.choice[c] = { t.own[c], k, 0 };
    }
}

/* Leaves out tables that no channel has, and sets the prices of what they hold. */
static __device__ void finish_tables(training &t, class_bank &b, int n)
{
    if (!threadIdx.x) {
        const uint32_t used = used_tables(t, n);
        int kept = 0;
        for (int k = 0; k < b.tables; k++)
            if (used >> k & 1) {
                b.size[kept] = b.size[k];
                b.use[kept++] = (uint8_t)k;
            }
        b.tables = kept;
    }
    __syncthreads();
    for (int k = threadIdx.x / WARP; k < b.tables; k += WARPS)
        set_prices(b.price[k], b.frequencies(k), b.size[k], false);
    __syncthreads();
}

/* By a thread block: at most `most` tables of n histograms. */
static __device__ void train(training &t, class_bank &b, const uint32_t *some, int n,
                             int most)
{
    uint64_t before = UINT64_MAX;

    if (!threadIdx.x) {
        b.tables = 0;
        t.random = 1;
    }
    read_channels(t, some, n);
    choose_seeds(t, b, n, most);
    for (int round = 0; round < ROUNDS; round++) {
        update_tables(t, b, n);
        for (int c = threadIdx.x / WARP; c < n; c += WARPS)
            update_choice(t, b, c);
        __syncthreads();
        uint64_t cost = 0;
        for (int c = 0; c < n; c++)
            cost += t.choice[c].cost;
        __syncthreads();
        if (cost + (cost >> GAIN_SHIFT) >= before)
            break;
        before = cost;
        if (!threadIdx.x)
            fill_empty(t, b, n);
        __syncthreads();
    }
    update_tables(t, b, n);
    finish_tables(t, b, n);
}
#endif

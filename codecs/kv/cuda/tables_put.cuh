/* SPDX-License-Identifier: BSD-2-Clause */
/* Frequency tables as entropy/tables.c writes them, and strings of bytes by models
 * that learn. */
#ifndef TSR_CODECS_KV_CUDA_TABLES_PUT_CUH
#define TSR_CODECS_KV_CUDA_TABLES_PUT_CUH
#include "codecs/kv/cuda/classes.cuh"
#include "codecs/kv/cuda/range_put.cuh"

enum {
    TABLE_BYTES = 8 * CODES + 16,   /* of a table at most */
    MODES = 3,                      /* that have differences */
    NEAR_SHAPES = 18                /* families x phases x scales */
};

/* What tables are written in, in shared memory. */
struct telling {
    shaping shape[WARPS];
    uint16_t like[WARPS][CODES];
    int quarters[MOST_TABLES], scale[MOST_TABLES];
    uint32_t distance[MOST_TABLES][NEAR_SHAPES];
    uint32_t bytes[MOST_TABLES];
    uint32_t model[17][WARP], nibble[WARP];
    uint32_t string_bytes[2];
};

/* Bits, the first one lowest in the first byte; data == NULL: only counted. */
struct bits_out {
    uint8_t *data;
    uint32_t bits;

    __device__ void put(uint32_t value, int n)
    {
        for (int i = 0; data && i < n; i++) {
            const uint32_t at = bits + i;
            if (at % 8 == 0)
                data[at / 8] = 0;
            data[at / 8] |= (uint8_t)((value >> i & 1) << at % 8);
        }
        bits += n;
    }
    __device__ void golomb(uint32_t v, int k)
    {
        const uint32_t u = v + (1u << k);
        const int len = 31 - __clz(u);

        put((1u << (len - k)) - 1, len - k + 1);
        put(u - (1u << len), len);
    }
    __device__ void code(uint32_t v, int k)
    {
        const uint32_t quotient = v >> k;

        if (quotient < 2) {
            put((1u << quotient) - 1, (int)quotient + 1);
            put(v & ((1u << k) - 1), k);
        } else {
            put(3, 2);
            golomb(v - (2u << k), k);
        }
    }
};

/* A shape that is like a table: freq[0] stands at `begin` of it. */
struct likeness {
    const uint16_t *freq;
    int n, shape, begin, centre;
};

/* ---- likeness ---- */

/* Four times the mean of a table, and the scale of its variance. */
static __device__ void find_moments(const tsri_kv_gpu_shapes &known,
                                    const uint16_t *freq, int n, int *quarters,
                                    int *scale)
{
    const uint64_t total = TABLE_SUM - n;
    uint64_t sum = 0, squares = 0;

    for (uint64_t i = 0; i < (uint64_t)n; i++) {
        sum += i * (freq[i] - 1u);
        squares += i * i * (freq[i] - 1u);
    }
    uint64_t variance = ((squares * total - sum * sum) << 16) / (total * total);
    variance -= min(variance, (uint64_t)(65536 / 12));
    *quarters = (int)((4 * sum + total / 2) / total);
    for (*scale = 0; *scale < SHAPE_SCALES - 1; ++*scale) {
        const int border = 2 * *scale + 1;
        if ((variance * known.inverse[border % 8] >> 28) >> (10 + border / 8) == 0)
            break;
    }
}

/* By a warp: shape i of those near a table; false: there is none. */
static __device__ bool shape_near(const tsri_kv_gpu_shapes &known, telling &w, int k,
                                  int i, int n, likeness *l)
{
    const int warp = threadIdx.x / WARP, at = w.quarters[k] + i / 3 % 3 - 1;
    const int scale = min(max(w.scale[k] + i % 3 - 1, 0), SHAPE_SCALES - 1);

    if (at < 0 || at / 4 >= n)
        return false;
    l->shape = (i / 9 * SHAPE_PHASES + at % 4) * SHAPE_SCALES + scale;
    l->n = shape_table(known, w.shape[warp], l->shape, TABLE_BITS, 0, w.like[warp],
                       &l->centre);
    l->freq = w.like[warp];
    l->begin = at / 4 - l->centre;
    return l->n > 0;
}

static __device__ void find_distances(const tsri_kv_gpu_shapes &known, telling &w,
                                      const class_bank &b)
{
    if (threadIdx.x < b.tables && b.size[threadIdx.x] > 1)
        find_moments(known, b.frequencies(threadIdx.x), b.size[threadIdx.x],
                     &w.quarters[threadIdx.x], &w.scale[threadIdx.x]);
    __syncthreads();
    for (int task = threadIdx.x / WARP; task < b.tables * NEAR_SHAPES; task += WARPS) {
        const int k = task / NEAR_SHAPES, n = b.size[k];
        const uint16_t *freq = b.frequencies(k);
        uint32_t sum = 0;
        likeness l;
        __syncwarp();
        const bool is = n > 1 && shape_near(known, w, k, task % NEAR_SHAPES, n, &l);
        __syncwarp();
        for (int i = lane_of(); is && i < n; i += WARP) {
            const int at = i - l.begin;
            sum += abs(freq[i] - (at >= 0 && at < l.n ? l.freq[at] : 1));
        }
        sum = sum_of(sum);
        if (!lane_of())
            w.distance[k][task % NEAR_SHAPES] = is ? sum : UINT32_MAX;
    }
    __syncthreads();
}

/* By a warp: the nearest shape of table k; false: none is near. */
static __device__ bool find_likeness(const tsri_kv_gpu_shapes &known, telling &w, int k,
                                     int n, likeness *l)
{
    int best = 0;

    for (int i = 1; i < NEAR_SHAPES; i++)
        if (w.distance[k][i] < w.distance[k][best])
            best = i;
    return w.distance[k][best] != UINT32_MAX && shape_near(known, w, k, best, n, l);
}

/* ---- tables ---- */

/* A table by differences, all of whose frequencies are positive. */
static __device__ __noinline__ void put_mode(bits_out &out, const uint16_t *freq, int n,
                                             int mode, const likeness &l)
{
    const bool shape = mode == table_model::SHAPE;
    table_model m = { mode, n, 1, TABLE_SUM };

    m.mean = shape ? 64 : 16 * (TABLE_SUM / n);
    m.like = l.freq;
    m.like_n = l.n;
    m.like_at = l.begin;
    out.put((uint32_t)mode + 4, 3);
    out.golomb((uint32_t)n - 1, 4);
    if (shape) {
        out.put((uint32_t)l.shape, 10);
        out.golomb((uint32_t)(l.begin + l.centre), 4);
    }
    for (int i = 0; i < n - 1; i++) {
        const bool after_run = m.zeros >= 2;
        if (after_run) {
            const int begin = i;
            for (; i < n - 1 && freq[i] == m.predict(i); i++)
                m.follow(freq[i]);
            out.golomb((uint32_t)(i - begin), 0);
            m.zeros = 0;
            if (i == n - 1)
                break;
        }
        const int d = freq[i] - m.predict(i);
        const uint32_t code = (d < 0 ? -2 * d - 1 : 2 * d) - after_run;
        out.code(code, m.order());
        m.learn(code, after_run);
        m.follow(freq[i]);
    }
}

/* By a warp: is table k a shape as it is? */
static __device__ bool is_shape(const tsri_kv_gpu_shapes &known, telling &w,
                                const uint16_t *freq, int n, const likeness &l,
                                int *reach)
{
    const int warp = threadIdx.x / WARP, place = l.begin + l.centre;
    bool same = true;
    int centre;

    *reach = min(place, n - 1 - place);
    if (*reach > 127)
        return false;
    __syncwarp();
    const int got = shape_table(known, w.shape[warp], l.shape, TABLE_BITS, *reach,
                                w.like[warp], &centre);
    __syncwarp();
    for (int i = lane_of(); got == n && i < n; i += WARP)
        same &= w.like[warp][i] == freq[i];
    return got == n && place == centre && __all_sync(ALL, same);
}

/* By a warp: table k; its bytes. */
static __device__ uint32_t put_table(const tsri_kv_gpu_shapes &known, telling &w,
                                     const uint16_t *freq, int n, int k, uint8_t *to)
{
    const int lane = lane_of();
    bits_out out = { to, 0 }, count = { NULL, 0 };
    likeness l = {};
    int reach;

    __syncwarp();
    const bool shaped = find_likeness(known, w, k, n, &l);
    if (shaped && is_shape(known, w, freq, n, l, &reach)) {
        if (!lane) {
            out.put(table_model::ALL_SHAPE + 4, 3);
            out.put((uint32_t)l.shape, 10);
            out.put((uint32_t)reach, 7);
        }
        return (3 + 10 + 7 + 7) / 8;
    }
    __syncwarp();
    if (shaped)
        find_likeness(known, w, k, n, &l);
    __syncwarp();
    if (lane < (shaped ? MODES : MODES - 1))
        put_mode(count, freq, n, lane, l);
    int mode = 0;
    uint32_t least = UINT32_MAX;
    for (int i = 0; i < (shaped ? MODES : MODES - 1); i++) {
        const uint32_t bits = __shfl_sync(ALL, count.bits, i);
        if (bits < least) {
            least = bits;
            mode = i;
        }
    }
    if (!lane)
        put_mode(out, freq, n, mode, l);
    return (least + 7) / 8;
}

/* By a thread block: all tables, table[MOST_TABLES][TABLE_BYTES]. */
static __device__ void put_tables(const tsri_kv_gpu_shapes &known, telling &w,
                                  const class_bank &b, uint8_t *table)
{
    find_distances(known, w, b);
    for (int k = threadIdx.x / WARP; k < b.tables; k += WARPS) {
        const uint32_t bytes = put_table(known, w, b.frequencies(k), b.size[k], k,
                                         table + k * TABLE_BYTES);
        if (!lane_of())
            w.bytes[k] = bytes;
    }
    __syncthreads();
}

/* ---- strings ---- */

static __device__ void put_nibble(range_out &out, uint32_t *model, int s)
{
    nibble n(model);
    const uint32_t start = __shfl_sync(ALL, n.above, s);
    const uint32_t end = __shfl_sync(ALL, n.above, max(s - 1, 0));
    const uint32_t below = range_in::part(out.range, start, 15);

    out.narrow(below, range_in::part(out.range, s ? end : 1u << 15, 15) - below);
    n.learn(model, s);
}

/* By a warp: n bytes, or nibbles where there is one model; the bytes, known to its
 * first lane. */
static __device__ uint32_t put_string(uint32_t (*model)[WARP], int models,
                                      const uint8_t *v, uint32_t n, uint8_t *to)
{
    range_out out(to, lane_of() == 0);

    for (int i = 0; i < models; i++)
        model[i][lane_of()] = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (models > 1)
            put_nibble(out, model[16], v[i] >> 4);
        put_nibble(out, model[models > 1 ? v[i] >> 4 : 0], v[i] & 15);
    }
    return out.finish();
}

/* By a thread block: classes, then offsets, of n columns, string_room(n) bytes apart. */
static __host__ __device__ inline size_t string_room(size_t columns)
{
    return 4 * columns + 64;
}

static __device__ void put_strings(telling &w, const uint8_t *cls, const uint8_t *offset,
                                   uint32_t n, uint8_t *to)
{
    const int warp = threadIdx.x / WARP;

    __syncthreads();
    if (warp < 2) {
        const uint32_t bytes = warp
            ? put_string(w.model, 17, offset, n, to + string_room(n))
            : put_string(&w.nibble, 1, cls, n, to);
        if (!lane_of())
            w.string_bytes[warp] = bytes;
    }
    __syncthreads();
}
#endif

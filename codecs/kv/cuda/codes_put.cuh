/* SPDX-License-Identifier: BSD-2-Clause */
/* A matrix of codes written the shorter way by a thread block: packed, or with tables,
 * a class for each column and blocks of words (docs/kv-format.md 6.1). */
#ifndef TSR_CODECS_KV_CUDA_CODES_PUT_CUH
#define TSR_CODECS_KV_CUDA_CODES_PUT_CUH
#include "codecs/kv/cuda/classes_train.cuh"
#include "codecs/kv/cuda/far.cuh"
#include "codecs/kv/cuda/rows.cuh"
#include "codecs/kv/cuda/tables_put.cuh"

enum {
    CLASSES = 1,            /* form of codes */
    BLOCK_CODES = 1 << 18, BLOCK_HEAD = 160, MOST_BLOCKS = 64,
    AHEAD = 4               /* rows whose records are loaded before words are put */
};

/* Where a unit's room in scratch has what, for matrices of so many values and columns. */
struct recode_room {
    size_t code, row;       /* values: as they are, and by class and column */
    size_t word;            /* blocks, each in room for its longest */
    size_t some, freq, table, string;
    size_t cls, offset, order;
    size_t out;             /* the unit */
    size_t all;

    __host__ __device__ size_t take(size_t n)
    {
        const size_t at = all;
        all += (n + 15) / 16 * 16;
        return at;
    }
};

static __host__ __device__ inline recode_room recode_room_of(size_t values, size_t columns,
                                                             size_t plain)
{
    recode_room r = {};

    r.code = r.take(values);
    r.row = r.take(values);
    r.word = r.take(2 * values + MOST_BLOCKS * BLOCK_HEAD);
    r.some = r.take(SOME * CODES * 4);
    r.freq = r.take(MOST_TABLES * CODES * 2);
    r.table = r.take(MOST_TABLES * TABLE_BYTES);
    r.string = r.take(2 * string_room(columns));
    r.cls = r.take(columns);
    r.offset = r.take(columns);
    r.order = r.take(2 * columns);
    r.out = r.take(plain + values + 64);
    return r;
}

/* The largest matrix of a unit. */
static __host__ __device__ inline recode_room room_of_job(const job &j)
{
    const int tokens = j.tile < j.tokens ? j.tile : j.tokens;
    size_t values = 0, columns = 0;

    for (int i = 0; i < 2 * j.planes; i++) {
        const grid g = grid_of(j, i / 2, tokens, tokens, i % 2);
        const size_t channels = j.channels[i / 2], halves = 2 * (size_t)g.row();
        const size_t most = halves > 2 * channels ? halves : 2 * channels;
        const size_t n = tokens * channels, h = g.rows() * halves;
        columns = most > columns ? most : columns;
        values = n > values ? n : values;
        values = h > values ? h : values;
    }
    return recode_room_of(values > columns ? values : columns, columns, j.plain_bytes);
}

/* ---- a thread block ---- */

struct workplace {
    class_bank bank;
    union {
        counting count;
        training train;
        telling tell;
        uint2 record[MOST_TABLES][CODES];
    };
    uint32_t block_bytes[MOST_BLOCKS];
    int begin[MOST_TABLES + 1];     /* where the columns of a class begin */
    int least, most;
};

struct recoding {
    workplace *w;
    const tsri_kv_gpu_shapes *shapes;
    const uint8_t *from;    /* what is left of the packed unit */
    uint8_t *room;
    recode_room at;
    uint32_t size;          /* written of the unit */

    __device__ uint8_t *code() const { return room + at.code; }
    __device__ uint8_t *row() const { return room + at.row; }
    __device__ uint8_t *cls() const { return room + at.cls; }
    __device__ uint8_t *offset() const { return room + at.offset; }
    __device__ uint16_t *order() const { return (uint16_t *)(room + at.order); }
    __device__ uint8_t *out() const { return room + at.out + size; }
    __device__ void put(const void *data, size_t n)
    {
        move(out(), (const uint8_t *)data, (uint32_t)n, threadIdx.x, THREADS);
        size += (uint32_t)n;
    }
    __device__ void put_number(uint32_t v, int n)
    {
        if (!threadIdx.x)
            put_bytes(out(), v, n);
        size += n;
    }
    /* n bytes of the packed unit as they are. */
    __device__ void copy(size_t n)
    {
        put(from, n);
        from += n;
    }
};

/* ---- blocks ---- */

/* What entropy/bank.c has of a symbol of frequency f that begins at `start`. */
static __device__ uint2 record_of(uint32_t start, uint32_t f)
{
    if (f == 1)
        return make_uint2(UINT32_MAX, f << 20 | (start + TABLE_SUM - 1) << 6);
    const int shift = 31 + (32 - __clz(f - 1));
    const uint64_t one = 1ull << shift, down = one / f, rest = one % f;
    const bool up = !rest || f - rest <= one >> 32;

    return make_uint2((uint32_t)(down + (up && rest)),
                      f << 20 | start << 6 | (uint32_t)!up << 5 | (uint32_t)(shift - 32));
}

static __device__ void set_records(workplace &w)
{
    __syncthreads();
    if (threadIdx.x < w.bank.tables) {
        const uint16_t *freq = w.bank.frequencies(threadIdx.x);
        uint32_t start = 0;
        for (int i = 0; i < w.bank.size[threadIdx.x]; i++) {
            w.record[threadIdx.x][i] = record_of(start, freq[i]);
            start += freq[i];
        }
    }
    __syncthreads();
}

/* Some tokens of all columns: the runs of their classes one after another. */
struct block {
    const workplace *w;
    const uint8_t *row;
    uint32_t rows, number;

    __device__ uint32_t count(int k) const
    {
        return (w->begin[k + 1] - w->begin[k]) * rows;
    }
    __device__ const uint8_t *run(int k) const
    {
        return row + (size_t)w->begin[k] * rows;
    }
};

/* By a warp: how many lanes a block has, by what its symbols cost; 0: nothing. */
static __device__ uint32_t lanes_of(const block &b)
{
    enum : uint64_t { BYTE = 8 * 2048, ENOUGH = 16384 * BYTE };
    uint64_t cost = 0;

    for (int k = 0; k < b.w->bank.tables && cost < ENOUGH; k++) {
        const uint16_t *price = b.w->bank.price[k].cost;
        const uint8_t *v = b.run(k);
        const uint32_t n = b.count(k);
        for (uint32_t i = 0; i < n && cost < ENOUGH; i += 16 * WARP) {
            uint32_t part = 0;
            for (uint32_t at = i + lane_of(); at < min(n, i + 16 * WARP); at += WARP)
                part += price[v[at]];
            cost += sum_of(part);
        }
    }
    return !cost ? 0 : cost < 2048 * BYTE ? 1 : cost < 4096 * BYTE ? 4
        : cost < ENOUGH ? 8 : 32;
}

static __device__ uint32_t sum_of_lane(const block &b, uint32_t lanes)
{
    uint32_t sum = 0;

    for (int k = 0; k < b.w->bank.tables; k++) {
        const uint8_t *v = b.run(k);
        const uint32_t n = lane_of() < lanes ? b.count(k) : 0;
#pragma unroll 8
        for (uint32_t i = lane_of(); i < n; i += lanes)
            sum = (sum + v[i]) * FACTOR;
    }
    return sum;
}

static __device__ void put_run(const block &b, int k, uint32_t lanes, writer &out)
{
    const uint2 *record = b.w->record[k];
    const uint8_t *v = b.run(k);
    const uint32_t n = b.count(k), before = lanes_before();

    for (uint32_t row = (n + lanes - 1) / lanes; row; row -= min(row, (uint32_t)AHEAD)) {
        uint2 code[AHEAD];
        bool active[AHEAD];
#pragma unroll
        for (int a = 0; a < AHEAD; a++) {
            const uint32_t i = (row - 1 - a) * lanes + lane_of();
            active[a] = a < row && lane_of() < lanes && i < n;
            code[a] = record[active[a] ? v[i] : 0];
        }
#pragma unroll
        for (int a = 0; a < AHEAD; a++)
            out.put<false>(code[a], before, active[a]);
    }
}

/* By a warp: a block, its words down from `end`, which is even; its bytes. */
static __device__ uint32_t put_block(const block &b, uint8_t *end)
{
    const uint32_t lanes = lanes_of(b), lane = lane_of();
    uint16_t *words = (uint16_t *)end - b.rows * b.w->begin[b.w->bank.tables];
    writer out = { words, (uint32_t)((uint16_t *)end - words), 0 };

    if (!lanes)
        return 0;
    out.x = LOW_STATE | ((b.number ^ sum_of_lane(b, lanes)) & 0xffff);
    for (int k = b.w->bank.tables; k-- > 0;)
        if (b.w->bank.size[k] > 1)
            put_run(b, k, lanes, out);
    uint8_t *p = (uint8_t *)(out.slot + out.first) - 4 * lanes;
    if (lane < lanes) {
        ((uint16_t *)p)[2 * lane] = (uint16_t)out.x;
        ((uint16_t *)p)[2 * lane + 1] = (uint16_t)(out.x >> 16);
    }
    if (!lane)      /* of 1, 4, 8, 32 */
        p[-1] = (uint8_t)(lanes == 1 ? 0 : lanes == 4 ? 1 : lanes == 8 ? 2 : 3);
    return (uint32_t)(end - p) + 1;
}

/* ---- a matrix of codes ---- */

/* Columns by class, equal ones in order: a thread has a class. */
static __device__ void sort_columns(recoding &r, uint32_t columns)
{
    workplace &w = *r.w;
    const int k = threadIdx.x;
    const uint8_t *cls = r.cls();

    __syncthreads();
    if (k < MOST_TABLES) {
        int n = 0;
        for (uint32_t c = 0; c < columns; c++)
            n += cls[c] < k;
        w.begin[k] = n;
        for (uint32_t c = 0; c < columns; c++)
            if (cls[c] == k)
                r.order()[n++] = (uint16_t)c;
    }
    if (!k)
        w.begin[MOST_TABLES] = (int)columns;
    __syncthreads();
}

/* The rows of a block, by class and column, less offsets. */
static __device__ void move_rows(recoding &r, const code_matrix &m, uint32_t first,
                                 uint32_t n)
{
    uint8_t *to = r.row() + (size_t)first * m.columns;

    for (uint32_t p = threadIdx.x / WARP; p < m.columns; p += WARPS) {
        const uint32_t c = r.order()[p];
        const uint8_t offset = r.offset()[c];
        const uint8_t *v = m.code + (size_t)first * m.columns + c;
        for (uint32_t t = lane_of(); t < n; t += WARP)
            to[(size_t)p * n + t] = (uint8_t)(v[(size_t)t * m.columns] - offset);
    }
}

static __device__ uint8_t *end_of_block(const recoding &r, const code_matrix &m,
                                        uint32_t first, uint32_t n, uint32_t number)
{
    return r.room + r.at.word + 2 * (size_t)(first + n) * m.columns +
        (size_t)(number + 1) * BLOCK_HEAD;
}

/* Blocks into their rooms; how many, with so many rows each. */
static __device__ __noinline__ uint32_t put_blocks(recoding &r, const code_matrix &m,
                                                   uint32_t each)
{
    const uint32_t blocks = (m.rows + each - 1) / each;

    sort_columns(r, m.columns);
    for (uint32_t i = 0; i < blocks; i++)
        move_rows(r, m, i * each, min(each, m.rows - i * each));
    set_records(*r.w);
    for (uint32_t i = threadIdx.x / WARP; i < blocks; i += WARPS) {
        const uint32_t first = i * each, n = min(each, m.rows - first);
        const block b = { r.w, r.row() + (size_t)first * m.columns, n, i };
        const uint32_t bytes = put_block(b, end_of_block(r, m, first, n, i));
        if (!lane_of())
            r.w->block_bytes[i] = bytes;
    }
    __syncthreads();
    return blocks;
}

/* Tables, classes, offsets. */
static __device__ __noinline__ uint32_t put_classes(recoding &r, const code_matrix &m)
{
    workplace &w = *r.w;
    uint32_t bytes = 1 + 2 + 2 * 4;

    put_tables(*r.shapes, w.tell, w.bank, r.room + r.at.table);
    put_strings(w.tell, r.cls(), r.offset(), m.columns, r.room + r.at.string);
    for (int k = 0; k < w.bank.tables; k++)
        bytes += w.tell.bytes[k];
    return bytes + w.tell.string_bytes[0] + w.tell.string_bytes[1];
}

/* What put_classes() has made, to the unit. */
static __device__ void write_classes(recoding &r, const code_matrix &m,
                                     const uint32_t *bytes, const uint32_t *strings)
{
    r.put_number(CLASSES | TABLE_BITS << 8 | (uint32_t)r.w->bank.tables << 16, 3);
    for (int k = 0; k < r.w->bank.tables; k++)
        r.put(r.room + r.at.table + k * TABLE_BYTES, bytes[k]);
    for (int i = 0; i < 2; i++) {
        r.put_number(strings[i], 4);
        r.put(r.room + r.at.string + i * string_room(m.columns), strings[i]);
    }
}

static __device__ void write_blocks(recoding &r, const code_matrix &m, uint32_t each,
                                    uint32_t blocks)
{
    for (uint32_t i = 0; i < blocks; i++)
        r.put_number(r.w->block_bytes[i], 4);
    for (uint32_t i = 0; i < blocks; i++) {
        const uint32_t first = i * each, n = min(each, m.rows - first);
        const uint32_t bytes = r.w->block_bytes[i];
        r.put(end_of_block(r, m, first, n, i) - bytes, bytes);
    }
}

/* Tables and classes of a matrix; false: not every column has one that takes it. */
static __device__ __noinline__ bool find_classes(recoding &r, const code_matrix &m)
{
    workplace &w = *r.w;
    uint32_t *some = (uint32_t *)(r.room + r.at.some);

    __syncthreads();
    if (!threadIdx.x)
        w.bank.freq = (uint16_t *)(r.room + r.at.freq);
    const int n = count_some(m, w.count, some);
    train(w.train, w.bank, some, n, m.values() < FEW ? 1 : MOST_TABLES);
    return choose_classes(m, w.count, w.bank, r.cls(), r.offset());
}

/* A matrix in r.code(), the shorter way; packed[] has it in `bits` each. */
static __device__ __noinline__ void put_codes(recoding &r, uint32_t rows,
                                              uint32_t columns, int bits,
                                              const uint8_t *packed)
{
    __shared__ uint32_t bytes[MOST_TABLES], strings[2];
    const code_matrix m = { r.code(), rows, columns };
    const size_t packed_bytes = (m.values() * bits + 7) / 8;
    const uint32_t each = min(max(BLOCK_CODES / columns, 64u), 4096u);

    if (find_classes(r, m)) {
        uint32_t all = put_classes(r, m);
        if (threadIdx.x < MOST_TABLES)
            bytes[threadIdx.x] = r.w->tell.bytes[threadIdx.x];
        if (threadIdx.x < 2)
            strings[threadIdx.x] = r.w->tell.string_bytes[threadIdx.x];
        const uint32_t blocks = put_blocks(r, m, each);
        for (uint32_t i = 0; i < blocks; i++)
            all += 4 + r.w->block_bytes[i];
        if (all < 1 + packed_bytes) {
            write_classes(r, m, bytes, strings);
            write_blocks(r, m, each, blocks);
            __syncthreads();
            return;
        }
    }
    r.put_number(PACKED, 1);
    r.put(packed, packed_bytes);
    __syncthreads();
}
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* The matrices of profiles: of transforms, and of what token ids say.  Every output
 * is a chain of fused multiply-adds from 0 in rising order, as on the CPU: no
 * matrix units, no parts of sums.  A thread block has 128 x 128 outputs, a thread 8
 * x 8 of them, four and four rows and columns that are 64 apart. */
#include "codecs/kv/cuda/kv.cuh"

enum {
    THREADS = 256,
    SIDE = 128,             /* rows and columns of a thread block */
    DEEP = 16,              /* terms that are in shared memory at a time */
    PAD = 4,                /* so that a column's stores go to all banks */
    OWN = 8,                /* rows and columns of a thread */
    EACH = SIDE * DEEP / THREADS    /* terms that a thread brings */
};

/* A group's product: rows are tokens of all objects. */
struct product {
    const tsri_kv_gpu_group *g;
    size_t rows;
    int row, column;        /* the first of the thread block */
    int deep, columns;      /* terms; outputs */
    const float *b;         /* [deep][b_pitch] */
    int b_pitch;
    int back;               /* WORDS: of the token so many before */
};

/* INVERSE is of values, RESTORED of coefficients with what they took over. */
enum kind { FORWARD, INVERSE, RESTORED, WORDS };

/* Where a row is: its object and token. */
static __device__ bool is_row(const job &j, size_t row, int *object, uint32_t *t)
{
    if (row >= (size_t)j.objects * j.tokens)
        return false;
    *object = (int)(row / j.tokens);
    *t = (uint32_t)(row % j.tokens);
    return j.object[*object].good && *t >= j.object[*object].sinks;
}

/* Left factors of eight rows, a term each. */
template <kind KIND>
struct left {
    const float *x;
    const int16_t *q;       /* INVERSE: instead of x */
    int term;
    float step[EACH];       /* of rows; 1 without q; 0: there is no such row */
    size_t pitch;

    __device__ left(const job &j, const product &p) : x(NULL), q(NULL)
    {
        const size_t row = p.row + threadIdx.x / DEEP;

        term = threadIdx.x % DEEP;
        pitch = KIND == FORWARD ? p.g->values : p.g->pitch;
        const size_t at = row * pitch + term +
            (KIND == FORWARD ? p.g->values_before : p.g->pitch_before) * p.rows;
        if (KIND == FORWARD)
            x = j.x + at;
        else if (KIND == RESTORED)
            x = j.z + at;
        else
            q = j.values + at;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            uint32_t t;
            int object;
            step[i] = 0;
            if (!is_row(j, row + i * (THREADS / DEEP), &object, &t))
                continue;
            const tsri_kv_gpu_object &o = j.object[object];
            step[i] = KIND != INVERSE ? 1
                : scaled(level_step(o.step[0], o.used),
                         -boost_of(j, o, j.items[object].data, t));
        }
    }
    __device__ void load(int first, int deep, float v[EACH]) const
    {
        const bool in = first + term < deep;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const size_t at = i * (THREADS / DEEP) * pitch + first;
            v[i] = !in || step[i] == 0 ? 0
                : KIND != INVERSE ? __ldg(x + at)
                : __fmul_rn((float)__ldg(q + at), step[i]);
        }
    }
    __device__ bool is_empty() const
    {
        return false;
    }
    __device__ void store(float to[DEEP][SIDE + PAD], const float v[EACH]) const
    {
#pragma unroll
        for (int i = 0; i < EACH; i++)
            to[term][threadIdx.x / DEEP + i * (THREADS / DEEP)] = v[i];
    }
};

/* The same of embeddings. */
template <>
struct left<WORDS> {
    const uint16_t *e;
    int term, hidden;
    int32_t id[EACH];       /* of rows; negative: zeros */

    __device__ left(const job &j, const product &p)
        : e(j.embedding), hidden(j.hidden)
    {
        const size_t row = p.row + threadIdx.x / DEEP;

        term = threadIdx.x % DEEP;
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            uint32_t t;
            int object;
            id[i] = -1;
            if (!is_row(j, row + i * (THREADS / DEEP), &object, &t))
                continue;
            const int32_t *ids = j.object[object].ids;
            if (ids && t >= (uint32_t)p.back && ids[t - p.back] < j.vocabulary)
                id[i] = ids[t - p.back];
        }
    }
    __device__ void load(int first, int deep, float v[EACH]) const
    {
        const bool in = first + term < deep;
#pragma unroll
        for (int i = 0; i < EACH; i++)
            v[i] = !in || id[i] < 0 ? 0
                : half_value(false, __ldg(e + (size_t)id[i] * hidden + first + term));
    }
    __device__ void store(float to[DEEP][SIDE + PAD], const float v[EACH]) const
    {
#pragma unroll
        for (int i = 0; i < EACH; i++)
            to[term][threadIdx.x / DEEP + i * (THREADS / DEEP)] = v[i];
    }
    /* Do all rows of the thread block say nothing? */
    __device__ bool is_empty() const
    {
        bool empty = true;

        for (int i = 0; i < EACH; i++)
            empty &= id[i] < 0;
        return __syncthreads_and(empty);
    }
};

/* Right factors: a column of eight terms. */
struct right {
    const float *at;
    int column, term;
    bool in;

    __device__ right(const product &p)
        : column(threadIdx.x % SIDE), term(threadIdx.x / SIDE)
    {
        at = p.b + (size_t)term * p.b_pitch + p.column + column;
        in = p.column + column < p.columns;
    }
    __device__ void load(const product &p, int first, float v[EACH]) const
    {
#pragma unroll
        for (int i = 0; i < EACH; i++) {
            const int k = first + i * (THREADS / SIDE);
            v[i] = in && k + term < p.deep ? __ldg(at + (size_t)k * p.b_pitch) : 0;
        }
    }
    __device__ void store(float to[DEEP][SIDE], const float v[EACH]) const
    {
#pragma unroll
        for (int i = 0; i < EACH; i++)
            to[term + i * (THREADS / SIDE)][column] = v[i];
    }
};

/* Rows or columns of a thread. */
static __device__ int own_of(int base, int i)
{
    return base * 4 + i % 4 + i / 4 * (SIDE / 2);
}

static __device__ void add_term(const float a[SIDE + PAD], const float b[SIDE],
                                float c[OWN][OWN])
{
    const int y = threadIdx.x / 16, x = threadIdx.x % 16;
    const float4 a0 = *(const float4 *)(a + 4 * y);
    const float4 a1 = *(const float4 *)(a + 4 * y + SIDE / 2);
    const float4 b0 = *(const float4 *)(b + 4 * x);
    const float4 b1 = *(const float4 *)(b + 4 * x + SIDE / 2);
    const float u[OWN] = { a0.x, a0.y, a0.z, a0.w, a1.x, a1.y, a1.z, a1.w };
    const float v[OWN] = { b0.x, b0.y, b0.z, b0.w, b1.x, b1.y, b1.z, b1.w };

#pragma unroll
    for (int i = 0; i < OWN; i++)
#pragma unroll
        for (int k = 0; k < OWN; k++)
            c[i][k] = __fmaf_rn(u[i], v[k], c[i][k]);
}

template <kind KIND>
static __device__ void multiply(const job &j, const product &p, float c[OWN][OWN])
{
    __shared__ __align__(16) float a[2][DEEP][SIDE + PAD], b[2][DEEP][SIDE];
    const left<KIND> from(j, p);
    const right by(p);
    float u[EACH], v[EACH];
    int now = 0;

    if (from.is_empty())
        return;
    from.load(0, p.deep, u);
    by.load(p, 0, v);
    for (int first = 0; first < p.deep; first += DEEP, now ^= 1) {
        const int n = min(p.deep - first, (int)DEEP);
        from.store(a[now], u);
        by.store(b[now], v);
        __syncthreads();
        if (first + DEEP < p.deep) {
            from.load(first + DEEP, p.deep, u);
            by.load(p, first + DEEP, v);
        }
        if (n == DEEP) {
#pragma unroll
            for (int k = 0; k < DEEP; k++)
                add_term(a[now][k], b[now][k], c);
        } else {
#pragma unroll 1
            for (int k = 0; k < n; k++)
                add_term(a[now][k], b[now][k], c);
        }
    }
}

/* Coefficients of a row to values; false where one is none. */
static __device__ bool put_values(const job &j, const product &p, size_t row,
                                  int object, uint32_t t, int column,
                                  const float c[4])
{
    const float inverse = scaled(j.inverse[0], boost_at(j, object, t));
    short4 q = make_short4(0, 0, 0, 0);
    bool good = true;

    if (column >= p.columns)
        return true;
    if (j.z) {      /* quantised later; there is room for whole fours */
        *(float4 *)(j.z + p.g->pitch_before * p.rows + row * p.g->pitch + column) =
            make_float4(c[0], c[1], c[2], c[3]);
        return true;
    }
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const float v = __fmul_rn(c[k], inverse);
        const bool coded = column + k < p.columns;
        const short value = coded && is_value(v) ? (short)round_value(v) : 0;
        good &= !coded || is_value(v);
        (k == 0 ? q.x : k == 1 ? q.y : k == 2 ? q.z : q.w) = value;
    }
    *(short4 *)(j.values + p.g->pitch_before * p.rows + row * p.g->pitch +
                column) = q;
    return good;
}

/* x: of all groups. */
static __device__ void put_factors(float *x, const product &p, size_t row,
                                   int column, const float c[4])
{
    float *to = x + p.g->values_before * p.rows + row * p.columns + column;

#pragma unroll
    for (int k = 0; k < 4; k++)
        if (column + k < p.columns)
            to[k] = c[k];
}

template <kind KIND>
static __device__ void put_outputs(const job &j, const product &p,
                                   const float c[OWN][OWN])
{
    const int y = threadIdx.x / 16, x = threadIdx.x % 16;
    float *to = KIND == WORDS ? j.said + p.back * j.all_values * p.rows : j.x;

#pragma unroll
    for (int i = 0; i < OWN; i++) {
        const size_t row = p.row + own_of(y, i);
        uint32_t t;
        int object;
        if (!is_row(j, row, &object, &t))
            continue;
#pragma unroll
        for (int k = 0; k < OWN; k += 4) {
            const int column = p.column + own_of(x, k);
            if (KIND != FORWARD)
                put_factors(to, p, row, column, c[i] + k);
            else if (!put_values(j, p, row, object, t, column, c[i] + k))
                refuse(j, object);
        }
    }
}

/* columns_tiles, row_tiles: thread blocks of a group; back: of the product. */
template <kind KIND>
static __global__ __launch_bounds__(THREADS, 2)
void products(job j, int column_tiles, int row_tiles, int back)
{
    const int n = blockIdx.x / column_tiles;
    float c[OWN][OWN];
    product p;

    p.g = j.group + n / row_tiles;
    p.rows = (size_t)j.objects * j.tokens;
    p.row = n % row_tiles * SIDE;
    p.column = blockIdx.x % column_tiles * SIDE;
    p.deep = KIND == FORWARD ? p.g->values : KIND == WORDS ? j.hidden
                                                           : p.g->coefs;
    p.columns = KIND == FORWARD ? p.g->coefs : p.g->values;
    p.b = KIND == FORWARD ? p.g->forward : KIND == WORDS ? p.g->words
                                                         : p.g->inverse;
    p.b_pitch = KIND == FORWARD ? p.g->columns : p.g->values;
    p.back = back;
    if (!p.b || p.column >= p.columns || !are_rows_wanted(j, p.row, SIDE))
        return;
#pragma unroll
    for (int i = 0; i < OWN; i++)
#pragma unroll
        for (int k = 0; k < OWN; k++)
            c[i][k] = 0;
    if (KIND == WORDS)
        p.b += (size_t)back * j.hidden * p.b_pitch;
    multiply<KIND>(j, p, c);
    put_outputs<KIND>(j, p, c);
}

/* ---- launch ---- */

template <kind KIND>
static cudaError_t launch(const job *j, int back, cudaStream_t stream)
{
    const int columns = KIND == FORWARD ? j->most_coefs : j->most_values;
    const int column_tiles = (columns + SIDE - 1) / SIDE;
    const size_t rows = (size_t)j->objects * j->tokens;
    const size_t row_tiles = (rows + SIDE - 1) / SIDE;
    const size_t grid = column_tiles * row_tiles * j->groups;

    if (rows > INT32_MAX - SIDE || grid > INT32_MAX)
        return cudaErrorInvalidValue;
    if (grid)
        products<KIND><<<(unsigned)grid, THREADS, 0, stream>>>(
            *j, column_tiles, (int)row_tiles, back);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_forward(const job *j, cudaStream_t stream)
{
    return launch<FORWARD>(j, 0, stream);
}

extern "C" cudaError_t tsri_kv_gpu_inverse(const job *j, cudaStream_t stream)
{
    return j->z ? launch<RESTORED>(j, 0, stream) : launch<INVERSE>(j, 0, stream);
}

extern "C" cudaError_t tsri_kv_gpu_words(const job *j, cudaStream_t stream)
{
    cudaError_t error = cudaSuccess;

    for (int back = 0; !error && back < j->predictors; back++)
        error = launch<WORDS>(j, back, stream);
    return error;
}

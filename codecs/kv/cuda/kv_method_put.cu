/* SPDX-License-Identifier: BSD-2-Clause */
/* Units of published methods made from the cache, in their packed forms: how long
 * their parts are follows from the shape and from how many tokens are of which
 * class, so that all of them are written where they belong.  Groups' numbers come
 * first, then codes, for which they are read again. */
#include "codecs/kv/cuda/put.cuh"

enum { MOST_DIM = 2048, MOST_TOKENS = 4096 };

/* Where the parts of a unit are, from its beginning on; behind the byte that says
 * their form. */
struct plan {
    uint32_t number;        /* channels' or heads' numbers */
    uint32_t half[2], code[2];
    uint32_t size;
    int bits;               /* of codes that are of no grid */
    grid g[2];
    bool grids;

    __device__ uint32_t take(uint32_t n)
    {
        size += 1 + n;
        return size - n;
    }
    __device__ void take_codes(int k, uint32_t n, int of)
    {
        code[k] = take((n * of + 7) / 8);
    }
    __device__ void take_grid(int k)
    {
        grids = true;
        if (!g[k].tokens)
            return;
        half[k] = take(4 * g[k].rows() * g[k].row());
        take_codes(k, g[k].tokens * g[k].channels, g[k].bits);
    }
};

static __device__ int salient_of(const job &j, const unit &u)
{
    return j.salient[(size_t)u.object * j.tiles + u.tile];
}

static __device__ plan plan_of(const job &j, const unit &u)
{
    const uint32_t n = u.tokens * u.channels, bytes = element_bytes(j.dtype);
    plan p = {};

    switch (j.method) {
    case FP8:
        p.number = p.take(n);
        break;
    case LOSSLESS:
        p.number = p.take(n * bytes);
        break;
    case CACHEGEN:
        p.size = u.tokens * bytes;      /* scales */
        p.bits = 32 - __clz(2 * (bins_of(j, u.layer, u.plane) / 2 - 1));
        p.take_codes(0, n, p.bits);
        break;
    case KIVI:
        p.g[0] = grid_of(j, u.plane, kivi_tokens(j, u), u.tokens, 0);
        p.size = (u.tokens - p.g[0].tokens) * u.channels * bytes;
        p.take_grid(0);
        break;
    case TURBOQUANT:
        p.g[0] = grid_of(j, u.plane, u.tokens, u.tokens, 0);
        if (u.plane) {
            p.take_grid(0);
            break;
        }
        p.number = p.take(2 * u.tokens * (u.channels / u.dim));
        p.bits = j.param[0];
        p.take_codes(0, n, p.bits);
        break;
    default:
        if (is_separable(j, u.plane))
            p.number = p.take(2 * u.channels);
        for (int k = 0; k < 2; k++) {
            const int salient = salient_of(j, u);
            p.g[k] = grid_of(j, u.plane, k ? u.tokens - salient : salient,
                             u.tokens, k);
            p.take_grid(k);
        }
    }
    return p;
}

/* ---- a unit that is being made ---- */

struct making {
    unit u;
    plan p;
    uint8_t *to;
    const uint16_t *order;  /* tokens that are salient, then others; or NULL */
    bool good;

    __device__ making(const job &j, size_t n) : u(), order(NULL)
    {
        find_unit(j, n, u);
        good = j.object[u.object].good;
        if (!good)
            return;
        p = plan_of(j, u);
        to = j.items[u.object].data +
            j.unit_at[u.object * ((size_t)j.groups * j.tiles + 1) +
                      (size_t)u.number * j.tiles + u.tile];
    }
    __device__ int token(int k, int row) const
    {
        return order ? order[k * p.g[0].tokens + row] : row;
    }
    __device__ const uint8_t *element(const job &j, int t, int c) const
    {
        return find_token(j, j.items[u.object], u.number, u.first + t) +
            c / u.dim * j.head_stride + c % u.dim * element_bytes(j.dtype);
    }
    __device__ float value(const job &j, int t, int c)
    {
        const float v = load_element(j.dtype, element(j, t, c));

        good &= is_finite(v);
        return v;
    }
    /* Of a grid: channels that have numbers are divided by them. */
    __device__ float share(const job &j, int t, int c)
    {
        const float v = value(j, t, c);
        return p.grids && p.number
            ? __fdiv_rn(v, value_at(TSR_KV_F16, to + p.number + 2 * c)) : v;
    }
    __device__ float put_half(uint32_t at, float v)
    {
        const uint32_t half = half_of(v, good);

        to[at] = (uint8_t)half;
        to[at + 1] = (uint8_t)(half >> 8);
        return half_value(false, (uint16_t)half);
    }
    __device__ void finish(const job &j) const
    {
        if (!good)
            refuse(j, u.object);
    }
};

/* By a thread block: where methods have classes, the tokens of either. */
static __device__ const uint16_t *order_tokens(const job &j, const unit &u,
                                               uint16_t *order)
{
    if (!j.rank)
        return NULL;
    const int32_t *rank = j.rank + (size_t)u.object * j.tokens + u.first;
    const int salient = salient_of(j, u);
    for (int t = threadIdx.x; t < u.tokens; t += THREADS)
        order[rank[t] < 0 ? salient - 1 - rank[t] : rank[t]] = (uint16_t)t;
    __syncthreads();
    return order;
}

/* ---- sizes ---- */

static __global__ __launch_bounds__(THREADS) void size_units(job j, size_t units)
{
    const size_t n = (size_t)blockIdx.x * THREADS + threadIdx.x;
    unit u = {};

    if (n >= units)
        return;
    find_unit(j, n, u);
    j.segment_size[n] = j.object[u.object].good ? plan_of(j, u).size : 0;
}

/* ---- numbers ---- */

/* zipcache and mikv: of each channel sqrt(max |x|), 1 where it is 0. */
static __global__ __launch_bounds__(THREADS) void put_channels(job j, int parts)
{
    making m(j, blockIdx.x / parts);
    const int c = (int)(blockIdx.x % parts) * THREADS + (int)threadIdx.x;
    float most = 0;

    if (!m.good || !m.p.number || c >= m.u.channels)
        return;
    for (int t = 0; t < m.u.tokens; t++)
        most = fmaxf(most, fabsf(m.value(j, t, c)));
    const float s = m.put_half(m.p.number + 2 * c,
                               most > 0 ? __fsqrt_rn(most) : 1);
    m.good &= s > 0;
    m.finish(j);
}

/* The least value, the first where several are, and the largest. */
struct limits {
    float least, most;
    int first;

    __device__ void take(float v, int i)
    {
        if (first < 0 || v < least) {
            least = v;
            first = i;
        }
        most = v > most ? v : most;
    }
    __device__ void join(unsigned by)
    {
        const float v = __shfl_xor_sync(ALL, least, by);
        const int i = __shfl_xor_sync(ALL, first, by);

        most = fmaxf(most, __shfl_xor_sync(ALL, most, by));
        if (i >= 0 && (first < 0 || v < least || (v == least && i < first))) {
            least = v;
            first = i;
        }
    }
};

static __device__ void put_numbers(making &m, int k, size_t group, const limits &of)
{
    const float last = (float)((1 << m.p.g[k].bits) - 1);
    const uint32_t at = m.p.half[k] + 4 * (uint32_t)group;
    const float width = of.most == of.least ? 0 : __fsub_rn(of.most, of.least);

    m.put_half(at, __fdiv_rn(width, last));
    m.put_half(at + 2, of.least);
}

/* Groups of a channel in several tokens: a thread has one. */
static __device__ void measure_channels(const job &j, making &m, int k, int part,
                                        int parts)
{
    const grid &g = m.p.g[k];
    const size_t n = (size_t)g.rows() * g.channels;

    for (size_t i = (size_t)part * THREADS + threadIdx.x; i < n;
         i += (size_t)parts * THREADS) {
        const int first = (int)(i / g.channels) * g.token_group;
        const int end = min(first + g.token_group, g.tokens);
        limits of = { 0, -INFINITY, -1 };
        for (int r = first; r < end; r++)
            of.take(m.share(j, m.token(k, r), (int)(i % g.channels)), r);
        put_numbers(m, k, i, of);
    }
}

/* Groups of channels of a token: a warp has one. */
static __device__ void measure_tokens(const job &j, making &m, int k, int part,
                                      int parts)
{
    const grid &g = m.p.g[k];
    const int each = g.groups(), row = g.row();
    const size_t n = (size_t)g.tokens * row;

    for (size_t i = (size_t)part * WARPS + threadIdx.x / WARP; i < n;
         i += (size_t)parts * WARPS) {
        const int group = (int)(i % row), t = m.token(k, (int)(i / row));
        const int in = group % each * g.channel_group;
        const int first = group / each * g.segment + in;
        const int end = first + min(g.channel_group, g.segment - in);
        limits of = { 0, -INFINITY, -1 };
        for (int c = first + (int)(threadIdx.x % WARP); c < end; c += WARP)
            of.take(m.share(j, t, c), c);
        for (unsigned by = WARP / 2; by; by /= 2)
            of.join(by);
        if (threadIdx.x % WARP == 0)
            put_numbers(m, k, i, of);
    }
}

/* cachegen: the largest magnitude of a token, which its own type has. */
static __device__ void measure_scales(const job &j, making &m, int part, int parts)
{
    const int bytes = element_bytes(j.dtype);

    for (int t = part * WARPS + (int)(threadIdx.x / WARP); t < m.u.tokens;
         t += parts * WARPS) {
        float most = 0;
        for (int c = threadIdx.x % WARP; c < m.u.channels; c += WARP)
            most = fmaxf(most, fabsf(m.value(j, t, c)));
        for (unsigned by = WARP / 2; by; by /= 2)
            most = fmaxf(most, __shfl_xor_sync(ALL, most, by));
        uint32_t v = 0;
        store_element(j.dtype, (uint8_t *)&v, most);
        if ((int)(threadIdx.x % WARP) < bytes)
            m.to[t * bytes + threadIdx.x % WARP] =
                (uint8_t)(v >> 8 * (threadIdx.x % WARP));
    }
}

/* ---- turned keys ---- */

static __device__ uint32_t nearest(float y, int bits)
{
    const int half = 1 << (bits - 1);
    const float a = fabsf(y);
    int i = 0;

    while (i < half - 1 && a > __fadd_rn(level_above(bits, i),
                                         level_above(bits, i + 1)) / 2)
        i++;
    return y < 0 ? half - 1 - i : half + i;
}

/* Channels first .. first + n - 1 of token t, whole heads: their lengths, and codes
 * to scratch; by a thread block. */
static __device__ void turn_heads(const job &j, making &m, int t, int first, int n,
                                  float *x, float *scale, uint8_t *code)
{
    const int dim = m.u.dim;

    for (int i = threadIdx.x; i < n; i += THREADS)
        x[i] = m.value(j, t, first + i);
    __syncthreads();
    for (int h = threadIdx.x; h < n / dim; h += THREADS) {
        double sum = 0;         /* in order: every sum is rounded */
        for (int d = 0; d < dim; d++)
            sum = __dadd_rn(sum, __dmul_rn(x[h * dim + d], x[h * dim + d]));
        scale[h] = sum > 0 ? (float)__ddiv_rn(1, __dsqrt_rn(sum)) : 0;
        m.put_half(m.p.number + 2 * (t * (m.u.channels / dim) + first / dim + h),
                   (float)__dsqrt_rn(sum));
    }
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += THREADS)
        x[i] = is_negative(j, m.u.layer, i % dim) ? -x[i] : x[i];
    transform_heads(x, n, dim);
    for (int i = threadIdx.x; i < n; i += THREADS)
        code[(size_t)t * m.u.channels + first + i] =
            (uint8_t)nearest(__fmul_rn(x[i], scale[i / dim]), m.p.bits);
    __syncthreads();
}

static __device__ void turn_keys(const job &j, making &m, uint8_t *code, int part,
                                 int parts)
{
    __shared__ float x[MOST_DIM], scale[THREADS];
    const int width = max(m.u.dim, (int)THREADS) / m.u.dim * m.u.dim;

    for (int t = part; t < m.u.tokens; t += parts)
        for (int c = 0; c < m.u.channels; c += width)
            turn_heads(j, m, t, c, min(width, m.u.channels - c), x, scale, code);
}

static __global__ __launch_bounds__(THREADS) void measure(job j, int parts)
{
    __shared__ uint16_t order[MOST_TOKENS];
    const size_t n = blockIdx.x / parts;
    const int part = (int)(blockIdx.x % parts);
    making m(j, n);

    if (!m.good)
        return;
    m.order = order_tokens(j, m.u, order);
    if (j.method == CACHEGEN)
        measure_scales(j, m, part, parts);
    if (j.method == TURBOQUANT && !m.u.plane)
        turn_keys(j, m, j.unit_room + n * j.unit_bytes, part, parts);
    for (int k = 0; k < 2 && m.p.grids; k++) {
        if (m.p.g[k].tokens && m.p.g[k].channel_group == 1)
            measure_channels(j, m, k, part, parts);
        else if (m.p.g[k].tokens)
            measure_tokens(j, m, k, part, parts);
    }
    m.finish(j);
}

/* ---- codes ---- */

static __device__ uint32_t grid_code(const job &j, making &m, int k, int row, int c)
{
    const grid &g = m.p.g[k];
    const int group = c / g.segment * g.groups() + c % g.segment / g.channel_group;
    const uint8_t *half = m.to + m.p.half[k] +
        4 * ((size_t)(row / g.token_group) * g.row() + group);
    const float scale = value_at(TSR_KV_F16, half);
    const float base = value_at(TSR_KV_F16, half + 2);
    const float x = m.share(j, m.token(k, row), c);
    const float v = scale > 0 ? __fdiv_rn(__fsub_rn(x, base), scale) : 0;

    return (uint32_t)__float2int_rn(fminf(fmaxf(v, 0), (float)((1 << g.bits) - 1)));
}

static __device__ uint32_t cachegen_code(const job &j, making &m, int t, int c)
{
    const float middle = (float)(bins_of(j, m.u.layer, m.u.plane) / 2 - 1);
    const float s = value_at(j.dtype, m.to + t * element_bytes(j.dtype));
    const float factor = s > 1e-30f ? __fdiv_rn(middle, s) : 0;

    return (uint32_t)__float2int_rn(
        __fadd_rn(__fmul_rn(m.value(j, t, c), factor), middle));
}

static __device__ uint32_t code_of(const job &j, making &m, const uint8_t *turned,
                                   int k, int row, int c)
{
    if (m.p.grids)
        return grid_code(j, m, k, row, c);
    return j.method == CACHEGEN ? cachegen_code(j, m, row, c)
                                : turned[(size_t)row * m.u.channels + c];
}

/* Eight codes are whole bytes. */
static __device__ void put_eight(const job &j, making &m, const uint8_t *turned,
                                 int k, uint32_t first, uint32_t n, int bits)
{
    uint8_t *to = m.to + m.p.code[k] + (size_t)(first / 8) * bits;
    const uint32_t count = min(n - first, 8u);
    uint64_t word = 0;

    for (uint32_t i = 0; i < count; i++) {
        const uint32_t at = first + i;
        word |= (uint64_t)code_of(j, m, turned, k, (int)(at / m.u.channels),
                                  (int)(at % m.u.channels)) << i * bits;
    }
    for (uint32_t i = 0; 8 * i < count * bits; i++)
        to[i] = (uint8_t)(word >> 8 * i);
}

static __device__ void put_all(const job &j, making &m, const uint8_t *turned,
                               int part, int parts)
{
    for (int k = 0; k < 2; k++) {
        const uint32_t n = (m.p.grids ? m.p.g[k].tokens : k ? 0 : m.u.tokens) *
                           m.u.channels;
        const int bits = m.p.grids ? m.p.g[k].bits : m.p.bits;
        for (uint32_t i = 8 * (part * THREADS + threadIdx.x); m.p.code[k] && i < n;
             i += 8 * parts * THREADS)
            put_eight(j, m, turned, k, i, n, bits);
    }
}

/* Elements as they are, or as fp8 has them. */
static __device__ void put_elements(const job &j, making &m, int part, int parts)
{
    const bool fp8 = j.method == FP8;
    const int type = !fp8 ? j.dtype : j.param[0] == 4 ? TSR_KV_E4M3 : TSR_KV_E5M2;
    const int bytes = element_bytes(type), first = fp8 ? 0 : m.p.g[0].tokens;
    const uint32_t n = (m.u.tokens - first) * m.u.channels;
    uint8_t *to = m.to + m.p.number;

    for (uint32_t i = part * THREADS + threadIdx.x; i < n; i += parts * THREADS) {
        uint32_t v = 0;
        store_element(type, (uint8_t *)&v, m.value(j, first + (int)(i / m.u.channels),
                                                   (int)(i % m.u.channels)));
        for (int b = 0; b < bytes; b++)
            to[(size_t)i * bytes + b] = (uint8_t)(v >> 8 * b);
    }
}

/* lossless: any bits. */
static __device__ void put_source(const job &j, const making &m, int part, int parts)
{
    const int bytes = element_bytes(j.dtype);
    const uint32_t n = m.u.tokens * m.u.channels;
    uint8_t *to = m.to + m.p.number;

    for (uint32_t i = part * THREADS + threadIdx.x; i < n; i += parts * THREADS) {
        const uint8_t *from = m.element(j, (int)(i / m.u.channels),
                                        (int)(i % m.u.channels));
        for (int b = 0; b < bytes; b++)
            to[(size_t)i * bytes + b] = from[b];
    }
}

static __device__ void put_forms(const making &m)
{
    if (m.p.number)
        m.to[m.p.number - 1] = AS_IT_IS;
    for (int k = 0; k < 2; k++) {
        if (m.p.half[k])
            m.to[m.p.half[k] - 1] = AS_IT_IS;
        if (m.p.code[k])
            m.to[m.p.code[k] - 1] = PACKED;
    }
}

static __global__ __launch_bounds__(THREADS) void put_codes(job j, int parts)
{
    __shared__ uint16_t order[MOST_TOKENS];
    const size_t n = blockIdx.x / parts;
    const int part = (int)(blockIdx.x % parts);
    making m(j, n);

    if (!m.good)
        return;
    m.order = order_tokens(j, m.u, order);
    if (!part && !threadIdx.x)
        put_forms(m);
    if (j.method == FP8 || j.method == KIVI)
        put_elements(j, m, part, parts);
    if (j.method == LOSSLESS)
        put_source(j, m, part, parts);
    put_all(j, m, j.unit_room + n * j.unit_bytes, part, parts);
    m.finish(j);
}

/* ---- launch ---- */

extern "C" cudaError_t tsri_kv_gpu_size_method(const job *j, cudaStream_t stream)
{
    const size_t units = count_units(j), blocks = (units + THREADS - 1) / THREADS;

    if (blocks > INT32_MAX)
        return cudaErrorInvalidValue;
    size_units<<<(unsigned)blocks, THREADS, 0, stream>>>(*j, units);
    return cudaGetLastError();
}

extern "C" cudaError_t tsri_kv_gpu_put_units(const job *j, cudaStream_t stream)
{
    const size_t units = count_units(j);
    const int across = (most_channels(j) + THREADS - 1) / THREADS;
    const int parts = count_parts(j);

    if (!parts || units * across > INT32_MAX)
        return cudaErrorInvalidValue;
    if (j->rank)
        put_channels<<<(unsigned)(units * across), THREADS, 0, stream>>>(*j, across);
    if (j->method != FP8 && j->method != LOSSLESS)
        measure<<<(unsigned)(units * parts), THREADS, 0, stream>>>(*j, parts);
    put_codes<<<(unsigned)(units * parts), THREADS, 0, stream>>>(*j, parts);
    return cudaGetLastError();
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Units of kvquant made from the cache: levels for a sample of what is not far, as
 * vq/scalar_train.c makes them, then codes. */
#include "codecs/kv/cuda/far.cuh"

enum { ROUNDS = 200 };

/* Offsets and inverse ranges of vectors. */
static __device__ float share(const far &f, size_t i)
{
    const size_t v = f.vector_of(i);
    const float range = value_of_half(f.half()[2 * v + 1]);
    const float inverse = __fdiv_rn(1, range > 0 ? range : 1e-30f);

    return __fmul_rn(__fsub_rn(f.near(i), value_of_half(f.half()[2 * v])), inverse);
}

/* ---- levels ---- */

/* Different values in rising order, and sums of those before each. */
struct run {
    float *x;               /* first all samples */
    uint32_t *weight;
    double *first, *second;
    int n;

    __device__ run(const far &f) : n(0)
    {
        const size_t room = sample_room(f.n) + 1;

        first = (double *)(f.room + f.at.sample);
        second = first + room;
        x = (float *)(second + room);
        weight = (uint32_t *)(x + room);
    }
    /* The first value that is over `limit`. */
    __device__ int first_over(float limit) const
    {
        int low = 0, high = n;

        while (low < high) {
            const int mid = (low + high) / 2;
            if (x[mid] > limit)
                high = mid;
            else
                low = mid + 1;
        }
        return low;
    }
    __device__ int quantile(int i, int count) const
    {
        const double at = __ddiv_rn(__dmul_rn((double)weight[n], i + .5), (double)count);
        int low = 0, high = n - 1;

        while (low < high) {
            const int mid = (low + high) / 2;
            if ((double)weight[mid + 1] > at)
                high = mid;
            else
                low = mid + 1;
        }
        return low;
    }
};

struct training {
    float level[MOST_LEVELS], above[MOST_LEVELS], next[MOST_LEVELS];
    int end[MOST_LEVELS];   /* of the cells, in the run */
    int count, now;
    bool same, ready;
};

/* The largest float that is not over the middle of two levels. */
static __device__ float middle_of(float a, float b)
{
    const double low = a, high = b, sum = __dadd_rn(low, high);
    const double lost = fabs(low) > fabs(high) ? __dsub_rn(high, __dsub_rn(sum, low))
                                               : __dsub_rn(low, __dsub_rn(sum, high));
    const float mid = __double2float_rn(sum / 2);

    return (double)mid > sum / 2 || ((double)mid == sum / 2 && lost < 0)
        ? nextafterf(mid, -INFINITY) : mid;
}

/* t.next becomes the levels; by a warp, which then knows the cells' ends. */
static __device__ void set_levels(training &t, const run &r)
{
    const int lane = threadIdx.x % WARP;

    __syncwarp();
    if (lane == 0)
        t.count = t.now;
    if (lane < MOST_LEVELS) {
        const int i = min(lane, t.now - 1);
        t.level[lane] = t.next[i];
        t.above[lane] = lane + 1 < t.now ? middle_of(t.next[i], t.next[i + 1])
                                         : INFINITY;
        t.end[lane] = r.first_over(t.above[lane]);
    }
    __syncwarp();
}

/* Quantiles, each once. */
static __device__ void start(training &t, const run &r, int count)
{
    t.now = 0;
    for (int i = 0; i < count; i++) {
        const float x = r.x[r.quantile(i, count)];
        if (!t.now || x > t.next[t.now - 1])
            t.next[t.now++] = x;
    }
}

/* Means of the cells. */
static __device__ void move(training &t, const run &r)
{
    int from = 0;

    t.now = 0;
    for (int i = 0; i < t.count; from = t.end[i++]) {
        const int to = t.end[i];
        if (to <= from)
            continue;
        const double mean = __ddiv_rn(__dsub_rn(r.first[to], r.first[from]),
                                      (double)(r.weight[to] - r.weight[from]));
        const float within = fminf(fmaxf(__double2float_rn(mean), r.x[from]),
                                   r.x[to - 1]);
        if (!t.now || within > t.next[t.now - 1])
            t.next[t.now++] = within;
    }
    t.same = t.now == t.count;
    for (int i = 0; i < t.now; i++)
        t.same &= __float_as_uint(t.next[i]) == __float_as_uint(t.level[i]);
}

/* One more level, at the far end of the cell of the largest error. */
static __device__ void split(training &t, const run &r)
{
    double most = -1;
    int which = -1, begin = 0, from = 0;

    for (int i = 0; i < t.count; from = t.end[i++]) {
        const int to = t.end[i];
        if (to <= from + 1)
            continue;
        const double sum = __dsub_rn(r.first[to], r.first[from]);
        const double w = (double)(r.weight[to] - r.weight[from]);
        const double error = __dsub_rn(__dsub_rn(r.second[to], r.second[from]),
                                       __ddiv_rn(__dmul_rn(sum, sum), w));
        if (error > most || which < 0) {
            most = error;
            which = i;
            begin = from;
        }
    }
    t.ready = which < 0;
    if (t.ready)
        return;
    const float low = r.x[begin], high = r.x[t.end[which] - 1];
    const bool up = __dsub_rn(high, t.level[which]) > __dsub_rn(t.level[which], low);
    for (int i = t.count; i > which + up; i--)
        t.next[i] = t.level[i - 1];
    for (int i = 0; i < which + up; i++)
        t.next[i] = t.level[i];
    t.next[which + up] = up ? high : low;
    t.now = t.count + 1;
}

/* By a warp. */
static __device__ void find_levels(training &t, const run &r, int count)
{
    const bool first = threadIdx.x % WARP == 0;

    if (first)
        start(t, r, count);
    set_levels(t, r);
    for (int round = 0; round < ROUNDS; round++) {
        if (first)
            move(t, r);
        __syncwarp();
        const bool same = t.same;
        set_levels(t, r);
        while (t.count < count) {
            if (first)
                split(t, r);
            __syncwarp();
            if (t.ready)
                break;
            set_levels(t, r);
        }
        if (same)
            break;
    }
}

/* Some of the values that are not far; returns how many.  By a thread block. */
static __device__ int take_samples(const far &f, run &r, size_t room)
{
    __shared__ int taken;
    const size_t every = (f.n + SAMPLES - 1) / SAMPLES;

    if (!threadIdx.x)
        taken = 0;
    __syncthreads();
    for (size_t k = threadIdx.x; k < room; k += THREADS) {
        const size_t i = k * every;
        const bool is = i < f.n && !f.is_far(i);
        const float y = is ? share(f, i) : 0;
        r.x[k] = !is ? INFINITY : y < -1 ? -1 : y > 1 ? 1 : __fadd_rn(y, 0);
        if (is)
            atomicAdd(&taken, 1);
    }
    __syncthreads();
    return taken;
}

/* Batcher's, in place: n is a power of two. */
static __device__ void sort(float *x, int n)
{
    for (int size = 2; size <= n; size *= 2)
        for (int by = size / 2; by; by /= 2) {
            for (int i = threadIdx.x; i < n / 2; i += THREADS) {
                const int a = i / by * 2 * by + i % by, b = a + by;
                const float low = x[a], high = x[b];
                if ((low > high) == !(a & size)) {
                    x[a] = high;
                    x[b] = low;
                }
            }
            __syncthreads();
        }
}

/* Sums in order, n samples. */
static __device__ void fill(run &r, int n)
{
    r.weight[0] = 0;
    r.first[0] = r.second[0] = 0;
    for (int i = 0; i < n; r.n++) {
        const float x = r.x[i];
        uint32_t weight = 0;
        do
            weight++;
        while (++i < n && r.x[i] == x);
        const double sum = __dmul_rn(weight, x);
        r.x[r.n] = x;
        r.weight[r.n + 1] = r.weight[r.n] + weight;
        r.first[r.n + 1] = __dadd_rn(r.first[r.n], sum);
        r.second[r.n + 1] = __dadd_rn(r.second[r.n], __dmul_rn(sum, x));
    }
}

/* A thread block has a unit. */
static __global__ __launch_bounds__(THREADS) void train(job j)
{
    __shared__ training t;
    __shared__ int different;
    const far f(j, blockIdx.x);
    const bool own = !j.has_level || !j.has_level[f.u.number];
    run r(f);

    if (!f.good || !f.n)
        return;
    if (own) {
        const size_t room = sample_room(f.n);
        const int n = take_samples(f, r, room);
        sort(r.x, (int)room);
        if (!threadIdx.x) {
            if (!n)
                r.x[0] = 0;
            fill(r, max(n, 1));
            different = r.n;
        }
        __syncthreads();
        r.n = different;
        if (threadIdx.x < WARP)
            find_levels(t, r, 1 << j.param[0]);
    } else if (threadIdx.x < WARP) {
        if (threadIdx.x < MOST_LEVELS)
            t.next[threadIdx.x] = j.level[(size_t)f.u.number * MOST_LEVELS + threadIdx.x];
        if (!threadIdx.x)
            t.now = 1 << j.param[0];
        set_levels(t, r);
    }
    __syncthreads();
    if (!threadIdx.x)
        f.head().levels = own ? t.count : 0;
    if (threadIdx.x < MOST_LEVELS) {
        f.head().level[threadIdx.x] = t.level[threadIdx.x];
        f.head().above[threadIdx.x] = t.above[threadIdx.x];
    }
}

/* ---- the unit ---- */

struct level_codes {
    const far &f;

    __device__ uint32_t operator()(size_t i) const
    {
        const float v = share(f, i), *above = f.head().above;
        uint32_t code = 0;

        for (int k = 0; k < MOST_LEVELS; k++)
            code += v > above[k];
        return code;
    }
};

static __device__ void put_raw(const job &j, const far &f, uint8_t *to, int part,
                               int parts, bool &good)
{
    const int bytes = element_bytes(j.dtype), channels = f.u.channels;

    for (int i = part * THREADS + (int)threadIdx.x; i < f.raw * channels;
         i += parts * THREADS) {
        uint32_t v = 0;
        store_element(j.dtype, (uint8_t *)&v, f.value(j, i / channels, i % channels,
                                                      good));
        put_bytes(to + (size_t)i * bytes, v, bytes);
    }
}

/* Whose they are and, where they are the unit's own, what; the bytes. */
static __device__ size_t put_levels(const far &f, uint8_t *to, bool writes)
{
    const far_head &head = f.head();

    if (writes)
        to[0] = head.levels ? 0 : 1;
    if (writes && head.levels) {
        to[1] = (uint8_t)head.levels;
        for (int i = 0; i < head.levels; i++)
            put_bytes(to + 2 + 4 * i, __float_as_uint(head.level[i]), 4);
    }
    return head.levels ? 2 + 4 * head.levels : 1;
}

static __global__ __launch_bounds__(THREADS) void put_kvquant(job j, int parts)
{
    const far f(j, blockIdx.x / parts);
    const int part = (int)(blockIdx.x % parts);
    bool good = true;

    if (!f.good)
        return;
    uint8_t *to = f.to(j);
    put_raw(j, f, to, part, parts, good);
    to += f.raw_bytes(j);
    if (f.n) {
        put_list(j, f, to, part, parts, good);
        to += list_bytes(f);
        to += put_levels(f, to, !part && !threadIdx.x);
        put_halves(to, f.half(), 2 * f.vectors, part, parts);
        to += 1 + 4 * f.vectors;
        put_codes(to, f.n, j.param[0], part, parts, level_codes{ f });
    }
    if (!good)
        refuse(j, f.u.object);
}

/* ---- launch ---- */

extern "C" cudaError_t tsri_kv_gpu_size_kvquant(const job *j, cudaStream_t stream)
{
    const cudaError_t error = tsri_kv_gpu_mark(j, stream);

    if (error)
        return error;
    train<<<(unsigned)count_units(j), THREADS, 0, stream>>>(*j);
    return tsri_kv_gpu_code_marks(j, stream);
}

extern "C" cudaError_t tsri_kv_gpu_put_kvquant(const job *j, cudaStream_t stream)
{
    const int parts = count_parts(j);

    put_kvquant<<<(unsigned)count_units(j) * parts, THREADS, 0, stream>>>(*j, parts);
    return cudaGetLastError();
}

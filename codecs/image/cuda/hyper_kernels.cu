/* SPDX-License-Identifier: BSD-2-Clause */
/* Kernels of the entropy model of "hyper".  What they compute is defined by
 * hyper_predict.c, bit for bit. */
#include "codecs/image/cuda/hyper_kernels.h"
#include "lib/nn/cuda/iconv.cuh"

namespace {

constexpr int THREADS = iconv::THREADS, TILE = iconv::TILE;
constexpr int LIMIT = 2047, ONE = 128, SYMBOL_MAX = 239;
constexpr int CLASS_SLOPE = 4, CLASS_ZERO = 20;

iconv::layer layer_of(const hyk_layer &l)
{
    return { l.weight, l.bias, l.tiles, l.taps, l.chunks, l.shift, l.out };
}

/* Windows of 3 x 3 begin one position up and left: at the border. */
iconv::map window_of(const hyk_map &m)
{
    return { m.data, m.row, m.stride };
}

iconv::map dense(const uint8_t *data, uint32_t stride, int positions)
{
    return { data, stride * static_cast<uint32_t>(positions), stride };
}

iconv::places of_pass(const hyk_pass &p)
{
    return { p.width, 2, p.odd, p.positions };
}

unsigned blocks_of(const hyk_layer &l, int positions)
{
    return static_cast<unsigned>(l.tiles) * ((positions + TILE - 1) / TILE);
}

__device__ uint8_t *at(const hyk_map &m, int y, int x)
{
    return m.data + static_cast<size_t>(y + 1) * m.row +
           static_cast<size_t>(x + 1) * m.stride;
}

__device__ int clamp(int v, int low, int high)
{
    return min(max(v, low), high);
}

__device__ int relu(int v)
{
    return clamp(v, 0, LIMIT);
}

/* ---- features ---- */

/* As the encoder of hyper.c rounds z; NaN is 0. */
__device__ int z_of(float v)
{
    return v >= HYK_Z    ? HYK_Z
           : v > -HYK_Z  ? __float2int_rn(v)
           : v <= -HYK_Z ? -HYK_Z
                         : 0;
}

__global__ void enter(hyk_map map, uint16_t *symbol, const float *from, int channels,
                      int height, int width)
{
    const int plane = height * width;
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= channels * plane)
        return;
    const int c = i / plane, place = i % plane;
    int z;
    if (from) {
        z = z_of(from[static_cast<size_t>(place) * channels + c]);
        symbol[i] = static_cast<uint16_t>(z + HYK_Z);
    } else {
        z = symbol[i] - HYK_Z;
    }
    iconv::put(at(map, place / width, place % width), c, ONE * z);
}

__global__ void __launch_bounds__(THREADS) features(hyk_features f, iconv::layer l,
                                                    iconv::map m, iconv::places p)
{
    __shared__ iconv::shared mem;
    const int tile = static_cast<int>(blockIdx.x) % l.tiles;
    const int first = static_cast<int>(blockIdx.x) / l.tiles * TILE;

    iconv::run(mem, l, m, p, tile, first);
    for (int i = threadIdx.x; i < TILE * TILE; i += THREADS) {
        const int row = i % TILE, column = i / TILE, o = tile * TILE + row;
        if (first + column >= p.n || o >= l.out)
            continue;
        const iconv::place to = iconv::place_of(p, first + column);
        const int v = relu(iconv::total(mem, l, tile, row, column));
        if (f.shuffle == 1)
            iconv::put(at(f.out, to.y, to.x), f.channel + o, v);
        else
            iconv::put(at(f.out, 2 * to.y + o % 4 / 2, 2 * to.x + o % 2),
                       f.channel + o / 4, v);
    }
}

/* ---- predictions ---- */

__global__ void __launch_bounds__(THREADS) hidden(iconv::layer l, iconv::map m,
                                                  iconv::places p, uint8_t *out,
                                                  uint32_t stride)
{
    __shared__ iconv::shared mem;
    const int tile = static_cast<int>(blockIdx.x) % l.tiles;
    const int first = static_cast<int>(blockIdx.x) / l.tiles * TILE;

    iconv::run(mem, l, m, p, tile, first);
    for (int i = threadIdx.x; i < TILE * TILE; i += THREADS) {
        const int row = i % TILE, column = i / TILE;
        if (first + column < p.n) /* beyond l.out: zeros that nothing weighs */
            iconv::put(out + static_cast<size_t>(first + column) * stride,
                       tile * TILE + row,
                       relu(iconv::total(mem, l, tile, row, column)));
    }
}

__device__ int class_of(int t)
{
    const int wide = clamp(t, INT16_MIN, INT16_MAX);
    return clamp((wide * CLASS_SLOPE + CLASS_ZERO * ONE + ONE / 2) >> 7, 0,
                 HYK_CLASSES - 1);
}

__device__ int nearest(float d)
{
    return d >= SYMBOL_MAX    ? SYMBOL_MAX
           : d > -SYMBOL_MAX  ? __float2int_rn(d)
           : d <= -SYMBOL_MAX ? -SYMBOL_MAX
                              : 0; /* NaN */
}

/* Where the next predictions read a value; channel 0 says which positions are
 * known: the anchors, between their pass and the next group. */
__device__ void publish_at(const hyk_pass &p, int c, iconv::place at_, int value)
{
    iconv::put(at(p.map, at_.y, at_.x), p.map_channel + p.first + c,
               clamp(value, -LIMIT, LIMIT));
}

__device__ void mark(const hyk_pass &p, int i)
{
    const iconv::places anchors = { p.width, 2, 0, 0 };
    const iconv::place a = iconv::place_of(anchors, i);
    if (a.y < p.height)
        iconv::put(at(p.map, a.y, a.x), 0, p.odd ? 0 : ONE);
}

__device__ void quantise_at(const hyk_pass &p, int c, int i, int mean, int cls)
{
    const iconv::places places = { p.width, 2, p.odd, p.positions };
    const iconv::place to = iconv::place_of(places, i);
    const size_t place = static_cast<size_t>(to.y) * p.width + to.x;
    const size_t plane = static_cast<size_t>(p.height) * p.width;
    int s = 0;

    if (cls >= p.skip) {
        const float y = p.y[(p.first + c) * p.y_channel + place * p.y_place];
        s = nearest(__fsub_rn(y, static_cast<float>(mean) / ONE));
    }
    const int fixed = ONE * s + mean;
    p.symbol[static_cast<size_t>(c) * p.positions + i] = static_cast<int16_t>(s);
    p.fixed[(p.first + c) * plane + place] = static_cast<int16_t>(fixed);
    publish_at(p, c, to, fixed);
}

/* The last layer; QUANTISE: what the encoder does with it. */
template <bool QUANTISE>
__global__ void __launch_bounds__(THREADS) predict(iconv::layer l, iconv::map m,
                                                   hyk_pass p)
{
    __shared__ iconv::shared mem;
    const int tile = static_cast<int>(blockIdx.x) % l.tiles;
    const int first = static_cast<int>(blockIdx.x) / l.tiles * TILE;
    const iconv::places places = { p.positions, 1, 0, p.positions };

    iconv::run(mem, l, m, places, tile, first);
    for (int k = threadIdx.x; k < TILE / 2 * TILE; k += THREADS) {
        const int row = k / TILE * 2, column = k % TILE, i = first + column;
        const int c = (tile * TILE + row) / 2;
        if (i >= p.positions || c >= p.channels)
            continue;
        const int mean = clamp(iconv::total(mem, l, tile, row, column), -LIMIT,
                               LIMIT);
        const int cls = class_of(iconv::total(mem, l, tile, row + 1, column));
        const size_t to = static_cast<size_t>(c) * p.positions + i;
        p.class_of[to] = static_cast<uint8_t>(cls);
        if (QUANTISE)
            quantise_at(p, c, i, mean, cls);
        else
            p.mean[to] = static_cast<int16_t>(mean);
    }
    if (QUANTISE && tile == 0) { /* there may be one more anchor than others */
        const int last = first + TILE + (first + TILE == p.positions);
        for (int i = first + threadIdx.x; i < last; i += THREADS)
            mark(p, i);
    }
}

__global__ void publish(hyk_pass p, const int32_t *rank, const int16_t *symbol,
                        const uint8_t *radius, int anchors)
{
    const iconv::places places = { p.width, 2, p.odd, p.positions };
    const size_t plane = static_cast<size_t>(p.height) * p.width;
    const int e = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);

    if (e < anchors)
        mark(p, e);
    if (e >= p.channels * p.positions)
        return;
    const int c = e / p.positions;
    const iconv::place to = iconv::place_of(places, e % p.positions);
    const int s = rank && rank[e] >= 0 ? symbol[rank[e]] - radius[p.class_of[e]] : 0;
    const int fixed = ONE * s + p.mean[e];
    p.fixed[(p.first + c) * plane + static_cast<size_t>(to.y) * p.width + to.x] =
        static_cast<int16_t>(fixed);
    publish_at(p, c, to, fixed);
}

/* ---- the list of what is coded ---- */

constexpr int EACH = 16, PORTION = THREADS * EACH;
static_assert(PORTION == HYK_PORTION, "what the host is told of");

/* How many of 16 classes are coded. */
__device__ int coded_of(uint4 v, int skip)
{
    const uint32_t words[4] = { v.x, v.y, v.z, v.w };
    int n = 0;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int k = 0; k < 4; k++)
            n += static_cast<int>(words[i] >> 8 * k & 255) >= skip;
    return n;
}

/* The sum of v over the block, and over the threads below. */
struct scanned { int below, all; };

__device__ scanned scan(int v, int *warps)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int sum = v, below = 0, all = 0;

    for (int by = 1; by < 32; by *= 2) {
        const int other = __shfl_up_sync(~0u, sum, by);
        sum += lane >= by ? other : 0;
    }
    if (lane == 31)
        warps[warp] = sum;
    __syncthreads();
    for (int w = 0; w < THREADS / 32; w++) {
        below += w < warp ? warps[w] : 0;
        all += warps[w];
    }
    __syncthreads();
    return { below + sum - v, all };
}

/* What comes before the block's portion is counted again by every block: reading
 * a byte an element is cheaper than waiting for other blocks. */
__device__ int coded_before(const hyk_list &l, int *warps)
{
    const uint4 *classes = reinterpret_cast<const uint4 *>(l.class_of);
    int n = 0;
    for (int i = threadIdx.x; i < static_cast<int>(blockIdx.x) * THREADS;
         i += THREADS)
        n += coded_of(classes[i], l.skip);
    return scan(n, warps).all;
}

/* What the encoder's list says of element i, of class c. */
__device__ int place_of_symbol(const hyk_list &l, int i, int c, int to, bool &escapes)
{
    const int v = l.symbol[i], r = l.radius[c];
    const bool out = v < -r || v > r;
    if (out) {
        l.escape[to] = static_cast<int16_t>(v);
        escapes = true;
    }
    return l.first[c] + (out ? 2 * r + 1 : v + r);
}

__global__ void __launch_bounds__(THREADS) compact(hyk_list l)
{
    __shared__ uint16_t coded[PORTION];
    __shared__ int warps[THREADS / 32];
    const int before = coded_before(l, warps);
    const int first = (static_cast<int>(blockIdx.x) * THREADS +
                       static_cast<int>(threadIdx.x)) * EACH;
    int mine = 0;
    bool escapes = false;

    for (int i = first; i < min(first + EACH, l.n); i++)
        mine += l.class_of[i] >= l.skip;
    const scanned s = scan(mine, warps);
    int to = s.below;
    for (int i = first; i < min(first + EACH, l.n); i++) {
        const int c = l.class_of[i];
        for (int p = 0; p < l.passes; p++)
            if (l.start[p] == i)
                l.coded_start[p] = before + to;
        if (l.rank)
            l.rank[i] = c >= l.skip ? before + to : -1;
        if (c < l.skip)
            continue;
        coded[to] = static_cast<uint16_t>(
            l.symbol ? place_of_symbol(l, i, c, before + to, escapes) : c);
        to++;
    }
    escapes = __syncthreads_or(escapes);
    for (int i = threadIdx.x; i < s.all; i += THREADS)
        l.coded[before + i] = coded[i];
    if (threadIdx.x == 0 && l.portion)
        l.portion[blockIdx.x] = 2 * before + escapes;
    if (blockIdx.x == gridDim.x - 1 && threadIdx.x == 0)
        l.coded_start[l.passes] = before + s.all;
}

unsigned cover(size_t n, int each)
{
    return static_cast<unsigned>((n + each - 1) / each);
}

} /* namespace */

cudaError_t hyk_enter(const hyk_map *map, uint16_t *symbol, const float *from,
                      int channels, int height, int width, cudaStream_t stream)
{
    const size_t n = static_cast<size_t>(channels) * height * width;
    enter<<<cover(n, THREADS), THREADS, 0, stream>>>(*map, symbol, from, channels,
                                                     height, width);
    return cudaGetLastError();
}

cudaError_t hyk_features_run(const hyk_features *f, cudaStream_t stream)
{
    const iconv::places p = { f->width, 1, 0, f->height * f->width };
    features<<<blocks_of(f->layer, p.n), THREADS, 0, stream>>>(
        *f, layer_of(f->layer), window_of(f->in), p);
    return cudaGetLastError();
}

cudaError_t hyk_hidden(const hyk_layer *layer, const hyk_pass *p, uint8_t *out,
                       uint32_t out_stride, cudaStream_t stream)
{
    hidden<<<blocks_of(*layer, p->positions), THREADS, 0, stream>>>(
        layer_of(*layer), window_of(p->map), of_pass(*p), out, out_stride);
    return cudaGetLastError();
}

cudaError_t hyk_hidden_next(const hyk_layer *layer, const uint8_t *in,
                            uint32_t in_stride, int positions, uint8_t *out,
                            uint32_t out_stride, cudaStream_t stream)
{
    const iconv::places p = { positions, 1, 0, positions };
    hidden<<<blocks_of(*layer, positions), THREADS, 0, stream>>>(
        layer_of(*layer), dense(in, in_stride, positions), p, out, out_stride);
    return cudaGetLastError();
}

cudaError_t hyk_predict(const hyk_layer *layer, const uint8_t *in,
                        uint32_t in_stride, const hyk_pass *p, cudaStream_t stream)
{
    predict<false><<<blocks_of(*layer, p->positions), THREADS, 0, stream>>>(
        layer_of(*layer), dense(in, in_stride, p->positions), *p);
    return cudaGetLastError();
}

cudaError_t hyk_quantise(const hyk_layer *layer, const uint8_t *in,
                         uint32_t in_stride, const hyk_pass *p, cudaStream_t stream)
{
    predict<true><<<blocks_of(*layer, p->positions), THREADS, 0, stream>>>(
        layer_of(*layer), dense(in, in_stride, p->positions), *p);
    return cudaGetLastError();
}

cudaError_t hyk_compact(const hyk_list *list, cudaStream_t stream)
{
    compact<<<cover(static_cast<size_t>(list->n), PORTION), THREADS, 0, stream>>>(
        *list);
    return cudaGetLastError();
}

cudaError_t hyk_publish(const hyk_pass *p, const int32_t *rank,
                        const int16_t *symbol, const uint8_t *radius,
                        cudaStream_t stream)
{
    const int anchors = (p->height * p->width + 1) / 2;
    const size_t n = static_cast<size_t>(p->channels) * p->positions;
    publish<<<cover(n > static_cast<size_t>(anchors) ? n : anchors, THREADS),
              THREADS, 0, stream>>>(*p, rank, symbol, radius, anchors);
    return cudaGetLastError();
}

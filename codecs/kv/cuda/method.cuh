/* SPDX-License-Identifier: BSD-2-Clause */
/* A tile of a plane as a published method holds it: where its parts are, and what
 * they say.  docs/kv-format.md section 6 is the format. */
#ifndef TSR_CODECS_KV_CUDA_METHOD_CUH
#define TSR_CODECS_KV_CUDA_METHOD_CUH
#include "codecs/kv/cuda/kv.cuh"

enum {
    CACHEGEN = 1, KIVI = 2, KVQUANT = 3, GEAR = 4, ZIPCACHE = 5, MIKV = 6,
    TURBOQUANT = 7, FP8 = 8, LOSSLESS = 9, VQ = 10
};
enum { AS_IT_IS = 255, MOST_OCTAVES = 7, MOST_STAGES = 8, MOST_LEVELS = 16 };

/* An element at any address, as it is. */
static __device__ uint32_t element_at(int dtype, const uint8_t *p)
{
    uint32_t v = p[0];

    for (int i = 1; i < element_bytes(dtype); i++)
        v |= (uint32_t)p[i] << 8 * i;
    return v;
}

static __device__ float float_of(int dtype, uint32_t element)
{
    return load_element(dtype, (const uint8_t *)&element);
}

static __device__ float value_at(int dtype, const uint8_t *p)
{
    return float_of(dtype, element_at(dtype, p));
}

/* n <= 25 bits from bit `first` on, of data that has them. */
static __device__ uint32_t bits_at(const uint8_t *data, size_t first, int n)
{
    const uint8_t *p = data + first / 8;
    const int skip = (int)(first % 8);
    uint32_t v = 0;

    for (int i = 0; 8 * i < skip + n; i++)
        v |= (uint32_t)p[i] << 8 * i;
    return v >> skip & ((1u << n) - 1);
}

/* A matrix of codes: in so many bits each; or, once they have been decoded, in
 * bytes column by column. */
struct codes {
    const uint8_t *at;
    int bits;               /* 0: bytes */
    uint32_t rows, columns;

    __device__ uint32_t get(size_t row, size_t column) const
    {
        return bits ? bits_at(at, (row * columns + column) * bits, bits)
                    : at[column * rows + row];
    }
};

/* Bits of exponent and fraction. */
static __device__ int2 layout_of(int dtype)
{
    return dtype == TSR_KV_F16 ? make_int2(5, 10) :
           dtype == TSR_KV_BF16 ? make_int2(8, 7) :
           dtype == TSR_KV_F32 ? make_int2(8, 23) :
           dtype == TSR_KV_E4M3 ? make_int2(4, 3) : make_int2(5, 2);
}

/* A matrix of floats, all bits of them: as they are, or the low bits of their
 * fractions and codes of what stands above. */
struct elements {
    const uint8_t *at;
    int dtype, octaves, least, top;     /* top: bits of the fraction in a code */
    codes code;

    __device__ uint32_t get(size_t row, size_t column, bool &good) const
    {
        const size_t i = row * code.columns + column;
        if (octaves == AS_IT_IS)
            return element_at(dtype, at + i * element_bytes(dtype));
        const int2 l = layout_of(dtype);
        const int rest = l.y - top;
        const int v = (int)code.get(row, column) - 128;
        const uint32_t size = v < 0 ? -1 - v : v, place = size >> top;
        const uint32_t e = place ? place + least - 1 : 0;
        good &= !(place >> octaves) & !(e >> l.x);
        return (v < 0 ? 1u << (l.x + l.y) : 0) | e << l.y |
            (size & ((1u << top) - 1)) << rest | bits_at(at, i * rest, rest);
    }
    /* One that must be finite. */
    __device__ float value(size_t row, size_t column, bool &good) const
    {
        const float v = float_of(dtype, get(row, column, good));
        good &= is_finite(v);
        return v;
    }
};

/* Groups with a scale and a minimum. */
struct grid {
    int tokens, channels, segment, token_group, channel_group, bits;
    elements half;
    codes code;

    __host__ __device__ int groups() const      /* of a segment */
    {
        return (segment + channel_group - 1) / channel_group;
    }
    __host__ __device__ int row() const         /* groups of a row of them */
    {
        return channels / segment * groups();
    }
    __host__ __device__ int rows() const
    {
        return (tokens + token_group - 1) / token_group;
    }
    __device__ float value(int t, int c, bool &good) const
    {
        const int group = c / segment * groups() + c % segment / channel_group;
        const int r = t / token_group;
        const float scale = half.value(r, 2 * group, good);
        const float base = half.value(r, 2 * group + 1, good);

        return __fadd_rn(__fmul_rn((float)code.get(t, c), scale), base);
    }
};

/* 32 values of a tile: which of them are listed, and how many before them are. */
struct listed {
    uint32_t mask, before;
};

/* Codebooks of vq: of a plane's stage stage the first word of group g is
 * at[(stage * groups + g) * entries * dims]. */
typedef tsri_kv_gpu_books books;

/* A tile of a plane, and where its parts are. */
struct unit {
    int object, number, layer, plane, tile; /* number: of the plane */
    int first, tokens, channels, dim;
    int dtype;              /* of the source */
    bool good;
    int raw;                /* tokens that are as they are: kivi's last ones,
                               kvquant's first */
    const uint8_t *part;    /* those, or cachegen's scales, gear's factors */
    int bins;               /* cachegen */
    int rank;               /* gear */
    elements element;       /* fp8, lossless; heads' or channels' numbers */
    codes code;
    grid g[2];              /* of tokens that are salient, that are not */
    const listed *list;     /* kvquant, gear: of what is not raw; and the listed
                               values */
    const uint8_t *value;
    float level[MOST_LEVELS];   /* kvquant */
    codes stage[MOST_STAGES];   /* vq: entries up to 256 */
    const uint8_t *word[MOST_STAGES];   /* vq: others */

    __device__ size_t values() const { return (size_t)tokens * channels; }
};

static __device__ bool is_separable(const job &j, int plane)
{
    return j.method == MIKV || plane;
}

/* What of a plane's tile of n tokens groups are, where all of them are of class k;
 * sizes only. */
static __host__ __device__ inline grid grid_of(const job &j, int plane, int n,
                                               int tile_tokens, int k)
{
    const int channels = j.channels[plane], dim = j.dim[plane];
    const int group = j.param[1];
    grid g = {};

    g.tokens = n;
    g.channels = channels;
    g.segment = dim;
    g.token_group = 1;
    g.channel_group = dim;
    g.bits = j.param[0];
    switch (j.method) {
    case KIVI:
    case GEAR:
        if (plane)
            g.channel_group = group ? group : dim;
        else
            g.channel_group = 1;
        if (!plane)
            g.token_group = group ? group : n > 0 ? n : 1;
        break;
    case ZIPCACHE:
        g.segment = channels;
        g.channel_group = plane ? channels : 1;
        g.token_group = plane ? 1 : tile_tokens;
        g.bits = j.param[k];
        break;
    case MIKV:
        g.bits = j.param[k];
        break;
    default:
        g.bits = j.param[plane];
    }
    return g;
}

/* The n-th unit of all, without its parts. */
static __device__ void find_unit(const job &j, size_t n, unit &u)
{
    u.tile = (int)(n % j.tiles);
    u.number = (int)(n / j.tiles % (j.layers * j.planes));
    u.object = (int)(n / j.tiles / (j.layers * j.planes));
    u.layer = u.number / j.planes;
    u.plane = u.number % j.planes;
    u.first = u.tile * j.tile;
    u.tokens = min(j.tile, j.tokens - u.first);
    u.channels = j.channels[u.plane];
    u.dim = j.dim[u.plane];
    u.dtype = j.object[u.object].dtype;
}

static __device__ int bins_of(const job &j, int layer, int plane)
{
    /* Layers below `first` have `fine` bins, the others `coarse`. */
    const int level = j.param[0];
    const int first = level == 3 ? 0 : level == 4 ? 20 : plane ? 2 :
                      level == 1 ? 20 : 10;
    const int fine = level == 1 ? 16 : 32;
    const int coarse = level == 1 ? 12 : level == 3 ? 32 : 16;

    if (j.param[1])
        return j.param[1];
    return (level == 0 && j.layers < 10) || layer < first ? fine : coarse;
}

/* Tokens of the tile that are quantised. */
static __device__ int kivi_tokens(const job &j, const unit &u)
{
    const int r = j.param[2];
    const int kept = !r ? 0 : !u.plane ? j.tokens % r : min(r, j.tokens);
    return min(max(j.tokens - kept - u.first, 0), u.tokens);
}

/* Of the normal distribution, those above 0: of 2, 3 and 4 bits. */
static __device__ float level_above(int bits, int i)
{
    static const float level[] = {
        0.452780f, 1.510418f,
        0.245094f, 0.756005f, 1.343909f, 2.151946f,
        0.128395f, 0.388048f, 0.656759f, 0.942340f,
        1.256231f, 1.618046f, 2.069017f, 2.732589f
    };
    return level[(1 << (bits - 1)) - 2 + i];
}

static __device__ bool is_negative(const job &j, int layer, int d)
{
    uint64_t z = (uint64_t)j.param[2] + 1337ull * layer +
                 (d / 64 + 1) * 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    z ^= z >> 31;
    return z >> d % 64 & 1;
}

/* By a thread block: the Hadamard transform, not scaled, of each head in x, which
 * has n values.  Waits for the block before it reads and when it is done. */
static __device__ void transform_heads(float *x, int n, int dim)
{
    for (int h = 1; h < dim; h *= 2) {
        __syncthreads();
        for (int i = threadIdx.x; i < n / 2; i += (int)blockDim.x) {
            const int a = i / h * 2 * h + i % h;
            const float v = x[a], w = x[a + h];
            x[a] = __fadd_rn(v, w);
            x[a + h] = __fsub_rn(v, w);
        }
    }
    __syncthreads();
}
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Units of methods that list what is far out by itself, kvquant and gear, while they
 * are made: what a unit's room in scratch holds, and the parts both write. */
#ifndef TSR_CODECS_KV_CUDA_FAR_CUH
#define TSR_CODECS_KV_CUDA_FAR_CUH
#include "codecs/kv/cuda/put.cuh"

enum { SAMPLES = 16384 };

/* What becomes known of a unit. */
struct far_head {
    uint32_t list_bytes, count;     /* of coded decisions; values that are far */
    int levels;                     /* kvquant: of its own; 0: the profile's */
    float level[MOST_LEVELS], above[MOST_LEVELS];
};

/* Offsets in the room, for so many tokens. */
struct far_room {
    size_t x;               /* floats [tokens][channels]; gear: then what is left */
    size_t word;            /* listed, of 32 values each */
    size_t list;            /* coded decisions; before, a byte of each value */
    size_t half;            /* numbers of vectors (gear: of groups), two each */
    size_t middle;          /* of a vector, floats: in place of what is far */
    size_t code;            /* gear: bytes */
    size_t factor;          /* gear: floats [heads]([rank][tokens], [rank][dim]) */
    size_t sample;          /* kvquant: see kv_kvquant_put.cu */
    size_t all;

    __host__ __device__ size_t take(size_t n)
    {
        const size_t at = all;
        all += (n + 15) / 16 * 16;
        return at;
    }
};

/* The power of two that takes the samples of n values. */
static __host__ __device__ inline size_t sample_room(size_t n)
{
    size_t room = 1;

    while (room < n && room < SAMPLES)
        room *= 2;
    return room;
}

static __host__ __device__ inline int gear_rank(const job &j, int plane, int tokens)
{
    const int most = tokens < j.dim[plane] ? tokens : j.dim[plane];
    return j.param[2] < most ? j.param[2] : most;
}

static __host__ __device__ inline far_room far_room_of(const job &j, int plane,
                                                       int tokens)
{
    const size_t channels = j.channels[plane], n = tokens * channels;
    const bool gear = j.method == GEAR;
    const size_t rows = gear ? (size_t)tokens * j.heads[plane] : tokens;
    const size_t vectors = plane ? rows : channels;
    far_room r = {};

    r.take(sizeof(far_head));
    r.x = r.take(4 * n);
    r.word = r.take((n + 31) / 32 * sizeof(listed));
    r.list = r.take(2 * n + 16);
    r.middle = r.take(4 * vectors);
    if (gear) {
        const grid g = grid_of(j, plane, tokens, tokens, 0);
        r.half = r.take(4 * (size_t)g.rows() * g.row());
        r.code = r.take(n);
        r.factor = r.take(4 * (size_t)j.heads[plane] * gear_rank(j, plane, tokens) *
                          (tokens + j.dim[plane]));
        return r;
    }
    r.half = r.take(4 * vectors);
    r.sample = r.take(24 * (sample_room(n) + 1));
    return r;
}

struct far {
    unit u;
    far_room at;
    uint8_t *room;
    int raw, rows;          /* tokens that are as they are; others */
    size_t n, length, vectors;      /* values of these; of a vector of them */
    bool good;

    __device__ far(const job &j, size_t number) : u()
    {
        find_unit(j, number, u);
        good = j.object[u.object].good && !*j.items[u.object].status;
        at = far_room_of(j, u.plane, u.tokens);
        room = j.unit_room + number * j.unit_bytes;
        raw = j.method == KVQUANT ? min(max(j.param[2] - u.first, 0), u.tokens) : 0;
        rows = u.tokens - raw;
        n = (size_t)rows * u.channels;
        length = !u.plane ? rows : j.method == GEAR ? u.dim : u.channels;
        vectors = n ? n / length : 0;
    }
    __device__ far_head &head() const { return *(far_head *)room; }
    __device__ float *x() const { return (float *)(room + at.x); }
    __device__ listed *word() const { return (listed *)(room + at.word); }
    __device__ uint8_t *list() const { return room + at.list; }
    __device__ uint16_t *half() const { return (uint16_t *)(room + at.half); }
    __device__ float *middle() const { return (float *)(room + at.middle); }
    __device__ uint8_t *code() const { return room + at.code; }
    __device__ float *factor() const { return (float *)(room + at.factor); }
    __device__ size_t raw_bytes(const job &j) const
    {
        return (size_t)raw * u.channels * element_bytes(j.dtype);
    }
    /* Of value i, once it is known which are far. */
    __device__ bool is_far(size_t i) const { return word()[i / 32].mask >> i % 32 & 1; }
    __device__ size_t vector_of(size_t i) const
    {
        return u.plane ? i / length : i % u.channels;
    }
    __device__ float near(size_t i) const
    {
        return is_far(i) ? middle()[vector_of(i)] : x()[i];
    }
    /* Where the unit goes. */
    __device__ uint8_t *to(const job &j) const
    {
        return j.items[u.object].data +
            j.unit_at[u.object * ((size_t)j.groups * j.tiles + 1) +
                      (size_t)u.number * j.tiles + u.tile];
    }
    /* Value c of token t of the tile as the method sees it. */
    __device__ float value(const job &j, int t, int c, bool &finite) const
    {
        place p = {};

        p.object = u.object;
        p.layer = u.layer;
        p.plane = u.plane;
        return load_value(j, j.items[u.object], p, (uint32_t)(u.first + t), c, finite);
    }
};

/* The threads that share a vector: one, or a warp. */
template <int SIZE> struct team {
    __device__ static uint32_t lane() { return SIZE == 1 ? 0 : threadIdx.x % WARP; }
    __device__ static uint32_t sum(uint32_t v)
    {
        return SIZE == 1 ? v : __reduce_add_sync(ALL, v);
    }
    __device__ static uint32_t ballot(bool is)
    {
        return SIZE == 1 ? is : __ballot_sync(ALL, is);
    }
};

static __device__ float value_of_half(uint16_t half)
{
    return half_value(false, half);
}

static __device__ void put_bytes(uint8_t *to, uint32_t v, int n)
{
    for (int i = 0; i < n; i++)
        to[i] = (uint8_t)(v >> 8 * i);
}

/* n halves, as they are, behind their form, by the threads of `parts` blocks. */
static __device__ void put_halves(uint8_t *to, const uint16_t *half, size_t n, int part,
                                  int parts)
{
    if (!part && !threadIdx.x)
        *to = AS_IT_IS;
    for (size_t i = (size_t)part * THREADS + threadIdx.x; i < n;
         i += (size_t)parts * THREADS)
        put_bytes(to + 1 + 2 * i, half[i], 2);
}

/* n codes behind their form; eight of them are whole bytes. */
template <class codes_of>
static __device__ void put_codes(uint8_t *to, size_t n, int bits, int part, int parts,
                                 const codes_of &code)
{
    if (!part && !threadIdx.x)
        *to = PACKED;
    for (size_t i = 8 * ((size_t)part * THREADS + threadIdx.x); i < n;
         i += 8 * (size_t)parts * THREADS) {
        const int count = (int)min(n - i, (size_t)8);
        uint32_t word = 0;
        for (int k = 0; k < count; k++)
            word |= code(i + k) << k * bits;
        put_bytes(to + 1 + i / 8 * bits, word, (count * bits + 7) / 8);
    }
}

static __device__ size_t list_bytes(const far &f)
{
    return 4 + f.head().list_bytes + 2 * (size_t)f.head().count;
}

/* Coded decisions, and the values that are far. */
static __device__ void put_list(const job &j, const far &f, uint8_t *to, int part,
                                int parts, bool &good)
{
    const size_t first = (size_t)part * THREADS + threadIdx.x;
    const size_t step = (size_t)parts * THREADS, bytes = f.head().list_bytes;

    if (!first)
        put_bytes(to, (uint32_t)bytes, 4);
    for (size_t i = first; i < bytes; i += step)
        to[4 + i] = f.list()[i];
    for (size_t w = first; 32 * w < f.n; w += step) {
        const listed l = f.word()[w];
        uint8_t *at = to + 4 + bytes + 2 * (size_t)l.before;
        for (uint32_t mask = l.mask; mask; mask &= mask - 1, at += 2) {
            const size_t i = 32 * w + __ffs(mask) - 1;
            const float v = f.value(j, f.raw + (int)(i / f.u.channels),
                                    (int)(i % f.u.channels), good);
            put_bytes(at, half_of(v, good), 2);
        }
    }
}

/* Bytes of what is behind the list. */
static __device__ size_t tail_bytes(const job &j, const far &f)
{
    const size_t codes = 1 + (f.n * j.param[0] + 7) / 8;
    const int own = f.head().levels;

    if (j.method == KVQUANT)
        return 1 + (own ? 1 + 4 * own : 0) + 1 + 4 * f.vectors + codes;
    const grid g = grid_of(j, f.u.plane, f.u.tokens, f.u.tokens, 0);
    return 2 * (size_t)j.heads[f.u.plane] * gear_rank(j, f.u.plane, f.u.tokens) *
        (f.u.tokens + f.u.dim) + 1 + 4 * (size_t)g.rows() * g.row() + codes;
}
#endif

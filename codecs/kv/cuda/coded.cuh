/* SPDX-License-Identifier: BSD-2-Clause */
/* What entropy-coded parts of published methods begin with: frequency tables and
 * strings of the range coder (docs/entropy.md, docs/kv-format.md section 6.1).
 * They go from symbol to symbol, so a warp reads each: all lanes hold what the
 * coder knows, and share the work on tables and models. */
#ifndef TSR_CODECS_KV_CUDA_CODED_CUH
#define TSR_CODECS_KV_CUDA_CODED_CUH
#include "codecs/kv/cuda/kv.cuh"

enum {
    MOST_SYMBOLS = 256, MOST_TABLES = 16, MOST_BITS = 15,   /* of a bank */
    SHAPE_SCALES = 72, SHAPE_PHASES = 4, SHAPES = 2 * SHAPE_SCALES * SHAPE_PHASES,
    EDGES = 4 * 128 + 8     /* of a shape's symbols, in quarters from its mean */
};

/* A bank in shared memory: those tables that classes can name. */
struct bank {
    int bits, tables;
    uint16_t size[MOST_TABLES];
    uint16_t start[MOST_TABLES][MOST_SYMBOLS + 1];
};

/* What a shape is made in, and what reading needs besides, in shared memory. */
struct shaping {
    uint32_t mass[MOST_SYMBOLS], tail[EDGES + 1];
};
struct reading : shaping {
    uint16_t freq[MOST_SYMBOLS], like[MOST_SYMBOLS];
    uint32_t model[17][WARP];
};

static __device__ int lane_of()
{
    return threadIdx.x % WARP;
}

static __device__ int32_t shortest_of(int32_t v)
{
    for (int by = WARP / 2; by; by /= 2)
        v = min(v, __shfl_xor_sync(ALL, v, by));
    return v;
}

static __device__ uint32_t sum_of(uint32_t v)
{
    for (int by = WARP / 2; by; by /= 2)
        v += __shfl_xor_sync(ALL, v, by);
    return v;
}

/* ---- frequencies from counts ---- */

/* Webster's rule, as tsri_freq_normalise() has it: of the symbols this warp's lanes
 * offer, c / div, the one that gains most, or loses least; the first of equals. */
static __device__ int pick(const uint32_t *count, const uint16_t *freq, int n,
                           bool more)
{
    uint64_t c = 0, div = 0;
    int best = INT32_MAX;

    for (int i = lane_of(); i < n; i += WARP) {
        const uint64_t d = 2ull * freq[i] + (more ? 1 : -1ull);
        if (!more && freq[i] == 1)
            continue;
        if (best == INT32_MAX || (more ? count[i] * div > c * d
                                       : count[i] * div < c * d)) {
            best = i;
            c = count[i];
            div = d;
        }
    }
    for (int by = WARP / 2; by; by /= 2) {
        const uint64_t oc = __shfl_xor_sync(ALL, c, by);
        const uint64_t od = __shfl_xor_sync(ALL, div, by);
        const int other = __shfl_xor_sync(ALL, best, by);
        const uint64_t theirs = oc * div, mine = c * od;
        if (other != INT32_MAX &&
            (best == INT32_MAX || (more ? theirs > mine : theirs < mine) ||
             (theirs == mine && other < best))) {
            best = other;
            c = oc;
            div = od;
        }
    }
    return best;
}

/* n counts, not all 0, below 2^32 together, to frequencies of the sum 2^bits; both
 * in shared memory; by a warp. */
static __device__ __noinline__ void normalise(const uint32_t *count, int n, int bits,
                                              uint16_t *freq)
{
    uint32_t own = 0;

    for (int i = lane_of(); i < n; i += WARP)
        own += count[i];
    const uint32_t sum = sum_of(own);
    own = 0;
    for (int i = lane_of(); i < n; i += WARP) {
        const uint32_t f = (uint32_t)(((uint64_t)count[i] << bits) / sum);
        freq[i] = (uint16_t)(f ? f : 1);
        own += freq[i];
    }
    int left = (1 << bits) - (int)sum_of(own);
    __syncwarp();
    while (left) {
        const int i = pick(count, freq, n, left > 0);
        __syncwarp();
        if (!lane_of())
            freq[i] += left > 0 ? 1 : -1;
        __syncwarp();
        left -= left > 0 ? 1 : -1;
    }
}

/* ---- shapes ---- */

/* The mass above `edge` quarters from the mean. */
static __device__ uint32_t mass_above(const uint32_t *tail, int edge)
{
    return edge >= 0 ? tail[edge] : (1u << 30) - tail[-edge];
}

static __device__ void set_tails(const tsri_kv_gpu_shapes &known, int scale,
                                 bool gauss, uint32_t *tail)
{
    __syncwarp();
    for (int i = lane_of(); gauss && i <= EDGES; i += WARP) {
        const uint64_t z = (uint64_t)i * known.inverse[scale % 8] >>
                           (11 + scale / 8);
        const uint64_t at = z >> 11, rest = z & 2047;
        tail[i] = at >= TSRI_KV_GPU_TAILS - 1 ? 0 : known.gauss[at] -
            (uint32_t)((uint64_t)(known.gauss[at] - known.gauss[at + 1]) * rest >>
                       11);
    }
    if (!gauss && !lane_of()) {
        uint32_t v = tail[0] = 1u << 29;
        for (int i = 1; i <= EDGES; i++)
            tail[i] = v = __umulhi(v, known.decay[scale]);
    }
    __syncwarp();
}

/* tsri_shape_table(): how many frequencies, 0: no such shape. */
static __device__ __noinline__ int shape_table(const tsri_kv_gpu_shapes &known,
                                               shaping &room, int shape, int bits,
                                               int reach, uint16_t *freq, int *centre)
{
    const int scale = shape % SHAPE_SCALES;
    const int phase = shape / SHAPE_SCALES % SHAPE_PHASES;
    int first = -reach, last = reach;

    if (shape >= SHAPES || reach > (1 << bits) / 2 - 1)
        return 0;
    set_tails(known, scale, shape < SHAPES / 2, room.tail);
    for (int s = lane_of() - 128; s < 128; s += WARP) {
        const uint32_t mass = mass_above(room.tail, 4 * s - 2 - phase) -
                              mass_above(room.tail, 4 * s + 2 - phase);
        room.mass[s + 128] = mass;
        if (mass >> (30 - bits)) {
            first = min(first, s);
            last = max(last, s);
        }
    }
    first = min(shortest_of(first), 0);
    last = max(-shortest_of(-last), 0);
    __syncwarp();
    normalise(room.mass + 128 + first, last - first + 1, bits, freq);
    *centre = -first;
    return last - first + 1;
}

/* ---- bits, the first one lowest in the first byte ---- */

struct bits_in {
    const uint8_t *data;
    uint64_t at, end;
    bool bad;

    /* n <= 25; beyond the end bits are 0 and it is bad. */
    __device__ uint32_t get(int n)
    {
        const uint64_t first = at / 8;
        uint32_t v = 0;

        for (int i = 0; i < 4; i++)
            if (8 * (first + i) < end)
                v |= (uint32_t)data[first + i] << 8 * i;
        v = v >> at % 8 & ((1u << n) - 1);
        at += n;
        bad |= at > end;
        return v;
    }
    /* Exponential Golomb codes of order k. */
    __device__ uint32_t golomb(int k)
    {
        int len = k;

        while (get(1) && !bad)
            if (++len > 18)
                bad = true;
        return bad ? 0 : get(len) + (1u << len) - (1u << k);
    }
    /* A quotient below 2 in unary, or a Golomb code behind that. */
    __device__ uint32_t code(int k)
    {
        uint32_t quotient = 0;

        while (quotient < 2 && get(1))
            quotient++;
        return (quotient << k) + (quotient < 2 ? get(k) : golomb(k));
    }
};

/* ---- a table ---- */

/* What is known before frequency i; entropy/tables.c has the same. */
struct table_model {
    enum { BEFORE, LINE, SHAPE, ALL_SHAPE };
    int mode, n, floor;
    uint32_t left, mean;
    int zeros;
    int32_t f1, f2;         /* the frequencies before */
    const uint16_t *like;   /* what predicts, like_n of them from like_at on */
    int like_n, like_at;

    __device__ int32_t predict(int i) const
    {
        const int k = i - like_at;

        if (mode == SHAPE)
            return k >= 0 && k < like_n ? like[k] : floor;
        if (i == 0)
            return floor;
        return mode == BEFORE || i == 1 ? f1 : max(floor, 2 * f1 - f2);
    }
    __device__ bool fits(int32_t f, int least, int i) const
    {
        return f >= least && f <= (int32_t)left - floor * (n - 1 - i);
    }
    __device__ void follow(uint16_t f)
    {
        left -= f;
        f2 = f1;
        f1 = f;
    }
    __device__ void set(uint16_t *freq, int i, int32_t f)
    {
        if (!lane_of())
            freq[i] = (uint16_t)f;
        follow((uint16_t)f);
    }
    __device__ void learn(uint32_t code, bool after_run)
    {
        mean = (mean + 16 * code) / 2;
        zeros = code || after_run ? 0 : zeros + 1;
    }
    __device__ int order() const
    {
        int k = 0;
        while (24u << k <= mean)
            k++;
        return k;
    }
};

static __device__ int get_run(bits_in &in, table_model &m, uint16_t *freq, int i)
{
    const uint32_t run = in.golomb(0);

    in.bad |= run > (uint32_t)(m.n - 1 - i);
    for (uint32_t k = 0; k < run && !in.bad; k++, i++) {
        const int32_t f = m.predict(i);
        in.bad |= !m.fits(f, INT32_MIN, i);
        if (!in.bad)
            m.set(freq, i, f);
    }
    return i;
}

static __device__ void get_frequencies(bits_in &in, table_model &m, uint16_t *freq)
{
    for (int i = 0; i < m.n - 1 && !in.bad; i++) {
        const bool after_run = m.zeros >= 2;
        if (after_run) {
            i = get_run(in, m, freq, i);
            m.zeros = 0;
            if (in.bad || i == m.n - 1)
                break;
        }
        const uint32_t code = in.code(m.order()), folded = code + after_run;
        const int32_t d = folded & 1 ? -(int32_t)(folded / 2) - 1
                                     : (int32_t)(folded / 2);
        const int32_t f = m.predict(i) + d;
        in.bad |= !m.fits(f, m.floor, i);
        m.learn(code, after_run);
        m.set(freq, i, f);
    }
    if (!lane_of())
        freq[m.n - 1] = (uint16_t)m.left;
}

static __device__ int get_differences(const tsri_kv_gpu_shapes &known,
                                      reading &room, bits_in &in, int mode,
                                      int floor, int bits)
{
    const uint32_t last = in.golomb(4);
    table_model m = { mode, (int)last + 1, floor, 1u << bits };

    if (in.bad || last >= 1u << bits || last >= MOST_SYMBOLS)
        return 0;
    m.mean = 16 * ((1u << bits) / (last + 1));
    if (mode == table_model::SHAPE) {
        const int shape = (int)in.get(10);
        const uint32_t place = in.golomb(4);
        int centre;
        m.mean = 64;
        if (in.bad || place > last)
            return 0;
        m.like = room.like;
        m.like_n = shape_table(known, room, shape, bits, 0, room.like, &centre);
        m.like_at = (int)place - centre;
        if (!m.like_n)
            return 0;
    }
    get_frequencies(in, m, room.freq);
    return m.n;
}

/* A table into room.freq; how many symbols, 0: it is none. */
static __device__ int get_table(const tsri_kv_gpu_shapes &known, reading &room,
                                bits_in &in, int bits)
{
    const int mode = (int)in.get(2), floor = (int)in.get(1);
    int n = 0, centre;

    if (mode == table_model::ALL_SHAPE) {
        const int shape = (int)in.get(10), reach = (int)in.get(7);
        n = floor && !in.bad ? shape_table(known, room, shape, bits, reach,
                                           room.freq, &centre) : 0;
    } else {
        n = get_differences(known, room, in, mode, floor, bits);
    }
    while (in.at % 8)
        in.bad |= in.get(1);
    __syncwarp();
    return in.bad ? 0 : n;
}

/* Where the symbols of room.freq start; false: the table is none. */
static __device__ bool set_starts(const reading &room, int n, int bits,
                                  uint16_t *start)
{
    const int lane = lane_of();
    uint32_t before = 0;
    bool good = true;

    for (int first = 0; first < n; first += WARP) {
        const int i = first + lane;
        const uint32_t f = i < n ? room.freq[i] : 0;
        uint32_t sum = f;
        good &= i >= n || f;
        for (int by = 1; by < WARP; by *= 2) {
            const uint32_t other = __shfl_up_sync(ALL, sum, by);
            sum += lane >= by ? other : 0;
        }
        if (i < n && start)
            start[i] = (uint16_t)(before + sum - f);
        before += __shfl_sync(ALL, sum, WARP - 1);
    }
    if (start && !lane)
        start[n] = (uint16_t)before;
    return __all_sync(ALL, good) && before == 1u << bits;
}

/* A bank from data[0..size); the bytes used, 0: it is none. */
static __device__ uint64_t get_bank(const tsri_kv_gpu_shapes &known, reading &room,
                                    const uint8_t *data, uint64_t size, bank &to)
{
    const int bits = size ? data[0] : 0;
    uint64_t used = 1;
    uint32_t tables = 0;
    int shift = 0;

    if (bits < 1 || bits > MOST_BITS)
        return 0;
    do {                    /* at most 1024 in number: two bytes */
        if (used >= size || shift > 7)
            return 0;
        tables |= (uint32_t)(data[used] & 127) << shift;
        shift += 7;
    } while (data[used++] & 128);
    if (!tables || tables > 1024 || (shift > 7 && tables < 128))
        return 0;
    for (uint32_t t = 0; t < tables; t++) {
        bits_in in = { data + used, 0, 8 * (size - used), false };
        const int n = get_table(known, room, in, bits);
        if (!n || !set_starts(room, n, bits,
                              t < MOST_TABLES ? to.start[t] : NULL))
            return 0;
        used += in.at / 8;
        if (!lane_of() && t < MOST_TABLES)
            to.size[t] = (uint16_t)n;
        __syncwarp();
    }
    if (!lane_of()) {
        to.bits = bits;
        to.tables = min((int)tables, (int)MOST_TABLES);
    }
    __syncwarp();
    return used;
}

/* ---- the range coder: entropy/range.c has the encoder ---- */

struct range_in {
    const uint8_t *at, *end;
    uint32_t code, range, low;
    bool sound;

    __device__ range_in(const uint8_t *data, size_t size)
        : at(data), end(data + size), code(0), range(UINT32_MAX), low(0),
          sound(!size || data[size - 1])
    {
        for (int i = 0; i < 4; i++)
            code = code << 8 | next();
        sound = sound && code < range;
    }
    __device__ uint32_t next()
    {
        return at < end ? *at++ : 0;
    }
    __device__ static uint32_t part(uint32_t range, uint32_t slot, int bits)
    {
        return (uint32_t)((uint64_t)range * slot >> bits);
    }
    __device__ void take(uint32_t start, uint32_t end_, int bits)
    {
        const uint32_t below = part(range, start, bits);

        narrow(below, part(range, end_, bits) - below);
    }
    __device__ void narrow(uint32_t below, uint32_t size)
    {
        code -= below;
        low += below;
        range = size;
        while (range < 1u << 24) {
            code = code << 8 | next();
            low <<= 8;
            range <<= 8;
        }
    }
    __device__ bool ends() const
    {
        const uint32_t shortest = 0 - low < range ? 0 - low
                                                  : (0 - low) & 0xffffff;
        return sound && at == end && code == shortest;
    }
};

static __device__ uint32_t towards(uint32_t p, bool up, int rate)
{
    return up ? p + ((UINT16_MAX - p) >> rate) : p - (p >> rate);
}

/* Symbols 0..15: lane i has the estimates of those above i, fast and slow in a word;
 * lane 15 how many have been seen. */
struct nibble {
    uint32_t seen, fast, slow, above;   /* above: of 2^15 slots, those above this lane's */

    __device__ explicit nibble(const uint32_t *model)
    {
        const int lane = lane_of();
        const uint32_t word = model[lane], first = (uint32_t)(15 - lane) << 12;

        seen = __shfl_sync(ALL, word, 15);
        fast = seen ? word & 0xffff : first;
        slow = seen ? word >> 16 : first;
        above = lane < 15 ? 4u * (15 - lane) +
                            ((fast + slow) * ((1u << 15) - 64) >> 17) : 0;
    }
    __device__ void learn(uint32_t *model, int s)
    {
        const int lane = lane_of(), rate = 32 - __clz(seen + 1);

        fast = towards(fast, s > lane, min(rate, 4));
        slow = towards(slow, s > lane, rate);
        if (lane < 15)
            model[lane] = fast | slow << 16;
        else if (lane == 15)
            model[lane] = seen + (rate < 7);
    }
};

static __device__ int get_nibble(range_in &in, uint32_t *model)
{
    nibble n(model);
    const uint32_t beyond = __ballot_sync(ALL, lane_of() < 15 && in.code <
                                          range_in::part(in.range, n.above, 15));
    const int s = __ffs(~beyond) - 1;
    const uint32_t start = __shfl_sync(ALL, n.above, s);
    const uint32_t end = __shfl_sync(ALL, n.above, max(s - 1, 0));

    in.take(start, s ? end : 1u << 15, 15);
    n.learn(model, s);
    return s;
}

/* n bytes, or where `last` is below 16 nibbles, at most `last`; false: they are
 * none. */
static __device__ bool get_string(reading &room, const uint8_t *data, size_t size,
                                  int n, int last, uint8_t *out)
{
    range_in in(data, size);
    bool sound = true;

    for (int i = 0; i < 17; i++)
        room.model[i][lane_of()] = 0;
    for (int i = 0; i < n; i++) {
        int v = get_nibble(in, room.model[16]);
        if (last >= 16)
            v = v << 4 | get_nibble(in, room.model[v]);
        sound &= v <= last;
        if (!lane_of())
            out[i] = (uint8_t)v;
    }
    __syncwarp();
    return sound && in.ends();
}

/* Decisions by one model, whose rate is LAST_RATE from the 64th on. */
enum { LAST_RATE = 7 };

static __device__ int rate_of(size_t decision)
{
    return decision < 64 ? 32 - __clz((uint32_t)decision + 1) : (int)LAST_RATE;
}

struct decisions {
    range_in in;
    uint32_t fast, slow;

    __device__ decisions(const uint8_t *data, size_t size)
        : in(data, size), fast(1 << 15), slow(1 << 15) {}
    __device__ bool next(int rate)
    {
        const uint32_t below = range_in::part(in.range, (fast + slow) / 2, 16);
        const bool bit = in.code < below;

        in.narrow(bit ? 0 : below, bit ? below : in.range - below);
        fast = towards(fast, bit, min(rate, 4));
        slow = towards(slow, bit, rate);
        return bit;
    }
    /* Decisions i .. i + n - 1, n <= 32; i is a multiple of 32. */
    __device__ uint32_t next_word(size_t i, int n)
    {
        uint32_t mask = 0;

        if (i < 64)
            for (int k = 0; k < n; k++)
                mask |= (uint32_t)next(rate_of(i + k)) << k;
        else
            for (int k = 0; k < n; k++)
                mask |= (uint32_t)next(LAST_RATE) << k;
        return mask;
    }
};
#endif

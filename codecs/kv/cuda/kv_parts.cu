/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the parts of published methods' units are.  Parts whose sizes follow from
 * the shape stay where they are; those that are entropy-coded are decoded into
 * scratch, in which each unit has a place.  A thread block has a unit: a warp reads
 * tables and lists, which go from symbol to symbol, and each takes blocks of
 * codes. */
#include "codecs/kv/cuda/coded.cuh"
#include "codecs/kv/cuda/method.cuh"

enum { WARPS = 4, THREADS = WARPS * WARP, MOST_BLOCKS = 4096 };
enum { PACKED = 0, CLASSES = 1 };   /* forms of codes */
enum { SLOT_BITS = 12, BLOCK_CODES = 1 << 18 };
enum : uint32_t { LOW = 1 << 16, FACTOR = 0x9E35 };

struct workplace {
    bank tables;
    union {
        reading read;
        uint8_t slot[WARPS][1 << SLOT_BITS];
    };
    int begin[MOST_TABLES + 1];     /* where the columns of a class begin */
    uint64_t used;
    int32_t error;
};

/* What is left of a unit, and of its place in scratch; whatever is wrong with it
 * stays.  All threads have the same. */
struct reader {
    const uint8_t *at, *end;
    uint8_t *room, *room_end;
    int32_t error;

    __device__ void refuse(int32_t why)
    {
        error = error ? error : why;
    }
    __device__ const uint8_t *take(size_t n)
    {
        if (n > (size_t)(end - at)) {
            refuse(TSR_E_CORRUPT);
            return at;
        }
        at += n;
        return at - n;
    }
    __device__ uint32_t take32()
    {
        const uint8_t *p = take(4);
        return error ? 0 : element_at(TSR_KV_F32, p);
    }
    /* n bytes of scratch, 16-byte aligned. */
    __device__ uint8_t *own(size_t n)
    {
        n = (n + 15) / 16 * 16;
        if (n > (size_t)(room_end - room)) {
            refuse(TSR_E_LIMIT);
            return room;
        }
        room += n;
        return room - n;
    }
};

/* ---- blocks of codes ---- */

/* What the warps know of a matrix. */
struct matrix {
    const workplace *w;
    const uint16_t *order;      /* columns by class */
    const uint8_t *offset;      /* of each column */
    uint8_t *out;               /* [column][rows] */
    uint32_t rows;
    int alphabet;
};

static __device__ uint32_t load16(const uint8_t *p)
{
    return p[0] | p[1] << 8;
}

/* A lane of a block that is being decoded; the words are the warp's. */
struct lane_state {
    uint32_t x, sum;
    const uint8_t *word, *end;
    uint32_t lanes;
};

static __device__ int symbol_of(const uint16_t *start, int size, const uint8_t *slots,
                                bool slotted, uint32_t slot)
{
    int v = 0;

    if (slotted)
        return slots[slot];
    for (int step = 128; step; step /= 2)
        if (v + step < size && start[v + step] <= slot)
            v += step;
    return v;
}

static __device__ void fill_slots(const uint16_t *start, int size, uint8_t *slots)
{
    __syncwarp();
    for (int v = 0; v < size; v++)
        for (int i = start[v] + lane_of(); i < start[v + 1]; i += WARP)
            slots[i] = (uint8_t)v;
    __syncwarp();
}

/* The columns of class k, n rows from `first` on; false where words are missing or
 * a code is none. */
static __device__ bool decode_run(const matrix &m, int k, uint32_t first, uint32_t n,
                                  uint8_t *slots, lane_state &s)
{
    const bank &b = m.w->tables;
    const uint16_t *start = b.start[k];
    const int count = m.w->begin[k + 1] - m.w->begin[k], bits = b.bits;
    const uint16_t *order = m.order + m.w->begin[k];
    const bool slotted = bits <= SLOT_BITS;
    const uint32_t before = (1u << lane_of()) - 1;
    int column = 0;
    uint32_t row = lane_of();
    bool good = true;

    if (slotted)
        fill_slots(start, b.size[k], slots);
    for (;;) {
        while (row >= n && column < count) {
            row -= n;
            column++;
        }
        const bool active = lane_of() < s.lanes && column < count;
        if (!__any_sync(ALL, active))
            return __all_sync(ALL, good);
        const uint32_t slot = s.x & ((1u << bits) - 1);
        const int v = symbol_of(start, b.size[k], slots, slotted, slot);
        uint32_t x = (start[v + 1] - start[v]) * (s.x >> bits) + slot - start[v];
        const uint32_t takes = __ballot_sync(ALL, active && x < LOW);
        if ((s.end - s.word) / 2 < __popc(takes))
            return false;
        if (active && x < LOW)
            x = x << 16 | load16(s.word + 2 * __popc(takes & before));
        s.word += 2 * __popc(takes);
        if (active) {
            const int c = order[column];
            const uint8_t code = (uint8_t)(v + m.offset[c]);
            s.x = x;
            s.sum = (s.sum + v) * FACTOR;
            m.out[(size_t)c * m.rows + first + row] = code;
            good &= code < m.alphabet;
        }
        row += s.lanes;
    }
}

/* A block, rows first .. first + n - 1, by a warp. */
static __device__ bool decode_block(const matrix &m, const uint8_t *p, uint32_t size,
                                    uint32_t seed, uint32_t first, uint32_t n,
                                    uint8_t *slots)
{
    lane_state s = { seed, 0, p + size, p + size, 1 };

    if (size) {
        const int head = p[0];
        s.lanes = head & 2 ? 8 << 2 * (head & 1) : 1 << 2 * (head & 1);
        if (head > 3 || size < 1 + 4 * s.lanes || size % 2 == 0)
            return false;
        if (lane_of() < s.lanes)
            s.x = element_at(TSR_KV_F32, p + 1 + 4 * lane_of());
        s.word = p + 1 + 4 * s.lanes;
        if (!__all_sync(ALL, s.x >= LOW))
            return false;
    }
    for (int k = 0; k < m.w->tables.tables; k++)
        if (m.w->begin[k + 1] > m.w->begin[k] &&
            !decode_run(m, k, first, n, slots, s))
            return false;
    return __all_sync(ALL, s.word == s.end && (lane_of() >= s.lanes ||
                      s.x == (seed ^ (s.sum & 0xffff))));
}

/* Columns by class, equal ones in order; false: there is no such class. */
static __device__ bool sort_columns(workplace &w, const uint8_t *cls, uint32_t columns,
                                    uint16_t *order)
{
    bool good = true;
    int n = 0;

    for (int k = 0; k < MOST_TABLES; k++) {
        if (!lane_of())
            w.begin[k] = n;
        for (uint32_t first = 0; first < columns; first += WARP) {
            const uint32_t c = first + lane_of();
            const bool is = c < columns && cls[c] == k;
            const uint32_t mask = __ballot_sync(ALL, is);
            good &= !is | (k < w.tables.tables);
            if (is)
                order[n + __popc(mask & ((1u << lane_of()) - 1))] = (uint16_t)c;
            n += __popc(mask);
        }
    }
    if (!lane_of())
        w.begin[MOST_TABLES] = n;
    return __all_sync(ALL, good);
}

/* By a warp: bank, classes, offsets, before the blocks; the bytes, 0: none. */
static __device__ uint64_t get_classes(const job &j, workplace &w, reader in,
                                       uint32_t columns, uint8_t *cls,
                                       uint8_t *offset, uint16_t *order)
{
    const uint8_t *begin = in.at;

    in.at += get_bank(*j.shapes, w.read, in.at, in.end - in.at, w.tables);
    if (in.at == begin)
        return 0;
    for (int i = 0; i < 2; i++) {
        const uint32_t size = in.take32();
        const uint8_t *data = in.take(size);
        if (in.error || !get_string(w.read, data, size, (int)columns,
                                    i ? 255 : MOST_TABLES - 1, i ? offset : cls))
            return 0;
    }
    return sort_columns(w, cls, columns, order) ? in.at - begin : 0;
}

/* Codes of which the form says that classes of columns have tables. */
static __device__ codes get_coded(const job &j, workplace &w, reader &in,
                                  uint32_t rows, uint32_t columns, int alphabet)
{
    const uint32_t each = min(max(BLOCK_CODES / columns, 64u), 4096u);
    const uint32_t blocks = (rows + each - 1) / each;
    uint8_t *out = in.own((size_t)rows * columns), *keep = in.room;
    uint8_t *cls = in.own(columns), *offset = in.own(columns);
    uint16_t *order = (uint16_t *)in.own(2 * (size_t)columns);
    const codes c = { out, 0, rows, columns };

    in.room = keep;
    if (in.error)
        return c;
    if (threadIdx.x < WARP) {
        const uint64_t used = get_classes(j, w, in, columns, cls, offset, order);
        if (!threadIdx.x) {
            w.used = used;
            w.error = used ? TSR_OK : TSR_E_CORRUPT;
        }
    }
    __syncthreads();
    in.at += w.used;
    in.refuse(w.error);
    __syncthreads();        /* from here on blocks may set it */
    const uint8_t *sizes = in.take(4 * (size_t)blocks), *at = in.at;
    const matrix m = { &w, order, offset, out, rows, alphabet };
    for (uint32_t b = 0; b < blocks && !in.error; b++) {
        const uint32_t size = element_at(TSR_KV_F32, sizes + 4 * b);
        at = in.take(size);
        if (!in.error && b % WARPS == threadIdx.x / WARP &&
            !decode_block(m, at, size, LOW | (b & 0xffff), b * each,
                          min(each, rows - b * each),
                          w.slot[threadIdx.x / WARP]) && !lane_of())
            w.error = TSR_E_CORRUPT;
    }
    __syncthreads();
    in.refuse(w.error);
    __syncthreads();
    return c;
}

/* ---- parts ---- */

static __device__ codes get_codes(const job &j, workplace &w, reader &in,
                                  uint32_t rows, uint32_t columns, int alphabet)
{
    const int bits = 32 - __clz(alphabet - 1);
    const uint8_t form = in.error || in.at == in.end ? 2 : *in.at;
    const size_t all = (size_t)rows * columns * bits, bytes = (all + 7) / 8;

    in.take(1);
    if (form > CLASSES)
        in.refuse(TSR_E_CORRUPT);
    if (form == CLASSES && !in.error)
        return get_coded(j, w, in, rows, columns, alphabet);
    const uint8_t *p = in.take(bytes);
    if (!in.error && all % 8 && p[bytes - 1] >> all % 8)
        in.refuse(TSR_E_CORRUPT);
    return { p, bits, rows, columns };
}

static __device__ elements get_elements(const job &j, workplace &w, reader &in,
                                        int dtype, uint32_t rows, uint32_t columns)
{
    const size_t n = (size_t)rows * columns;
    const uint8_t form = in.error || in.at == in.end ? 254 : *in.at;
    const int fraction = layout_of(dtype).y;
    elements e = { in.at + 1, dtype, form, 0, 0, { NULL, 0, rows, columns } };

    in.take(1);
    if (form == AS_IT_IS) {
        in.take(n * element_bytes(dtype));
        return e;
    }
    const uint8_t *least = in.take(1);
    if (form > MOST_OCTAVES || in.error) {
        in.refuse(TSR_E_CORRUPT);
        return e;
    }
    e.least = *least;
    e.top = min(max(5 - form, 0), fraction);
    e.at = in.take((n * (fraction - e.top) + 7) / 8);
    e.code = get_codes(j, w, in, rows, columns, 256);
    return e;
}

static __device__ void get_grid(const job &j, workplace &w, reader &in, grid &g)
{
    if (!g.tokens)
        return;
    g.half = get_elements(j, w, in, TSR_KV_F16, g.rows(), 2 * g.row());
    g.code = get_codes(j, w, in, g.tokens, g.channels, 1 << g.bits);
}

/* n decisions, 32 to a word, by a warp; how many are yes, UINT32_MAX: they are
 * none. */
static __device__ uint32_t get_decisions(const uint8_t *data, uint32_t size, size_t n,
                                         listed *list)
{
    decisions d(data, size);
    uint32_t count = 0;

    for (size_t i = 0; i < n; i += 32) {
        const uint32_t mask = d.next_word(i, (int)min(n - i, (size_t)32));
        if (!lane_of())
            list[i / 32] = { mask, count };
        count += __popc(mask);
    }
    return d.in.ends() ? count : UINT32_MAX;
}

static __device__ void get_list(workplace &w, reader &in, unit &u, size_t n)
{
    const uint32_t size = in.take32();
    const uint8_t *data = in.take(size);
    listed *list = (listed *)in.own((n + 31) / 32 * sizeof *list);

    u.list = list;
    if (in.error)
        return;
    if (threadIdx.x < WARP) {
        const uint32_t count = get_decisions(data, size, n, list);
        if (!threadIdx.x)
            w.used = count;
    }
    __syncthreads();
    const uint64_t count = w.used;
    __syncthreads();
    if (count == UINT32_MAX)
        in.refuse(TSR_E_CORRUPT);
    else
        u.value = in.take(2 * count);
}

/* ---- methods ---- */

static __device__ void get_both(const job &j, workplace &w, unit &u, reader &in)
{
    const int salient = j.salient[(size_t)u.object * j.tiles + u.tile];

    if (is_separable(j, u.plane))
        u.element = get_elements(j, w, in, TSR_KV_F16, 1, u.channels);
    for (int k = 0; k < 2; k++) {
        u.g[k] = grid_of(j, u.plane, k ? u.tokens - salient : salient, u.tokens, k);
        get_grid(j, w, in, u.g[k]);
    }
}

static __device__ void get_turned(const job &j, workplace &w, unit &u, reader &in)
{
    if (u.plane) {
        u.g[0] = grid_of(j, u.plane, u.tokens, u.tokens, 0);
        get_grid(j, w, in, u.g[0]);
        return;
    }
    u.element = get_elements(j, w, in, TSR_KV_F16, u.tokens, u.channels / u.dim);
    u.code = get_codes(j, w, in, u.tokens, u.channels, 1 << j.param[0]);
}

/* The levels of the unit or of the profile. */
static __device__ void get_levels(const job &j, unit &u, reader &in, int most)
{
    const uint8_t *own = in.take(1);
    int n = most;

    if (in.error || *own > 1 || (*own && (!j.has_level || !j.has_level[u.number]))) {
        in.refuse(TSR_E_CORRUPT);
        return;
    }
    const bool told = *own == 0;
    if (told) {
        const uint8_t *count = in.take(1);
        n = in.error ? 0 : *count;
    }
    if (n < 1 || n > most)
        in.refuse(TSR_E_CORRUPT);
    const uint8_t *data = told ? in.take(4 * (size_t)n) : NULL;
    for (int i = 0; i < MOST_LEVELS && !in.error; i++) {
        u.level[i] = i >= n ? u.level[n - 1] :
            told ? value_at(TSR_KV_F32, data + 4 * i)
                 : j.level[(size_t)u.number * MOST_LEVELS + i];
        if (!(fabsf(u.level[i]) <= 1e30f) ||
            (i && i < n && !(u.level[i] > u.level[i - 1])))
            in.refuse(TSR_E_CORRUPT);
    }
}

static __device__ void get_kvquant(const job &j, workplace &w, unit &u, reader &in)
{
    u.raw = min(max(j.param[2] - u.first, 0), u.tokens);
    u.part = in.take((size_t)u.raw * u.channels * element_bytes(u.dtype));
    const int n = u.tokens - u.raw;
    if (!n)
        return;
    get_list(w, in, u, (size_t)n * u.channels);
    get_levels(j, u, in, 1 << j.param[0]);
    u.element = get_elements(j, w, in, TSR_KV_F16, u.plane ? n : 1,
                             u.plane ? 2 : 2 * u.channels);
    u.code = get_codes(j, w, in, n, u.channels, 1 << j.param[0]);
}

static __device__ void get_gear(const job &j, workplace &w, unit &u, reader &in)
{
    const int heads = u.channels / u.dim;

    u.rank = min(j.param[2], min(u.tokens, u.dim));
    get_list(w, in, u, u.values());
    u.part = in.take(2 * (size_t)heads * u.rank * (u.tokens + u.dim));
    u.g[0] = grid_of(j, u.plane, u.tokens, u.tokens, 0);
    get_grid(j, w, in, u.g[0]);
}

static __device__ void get_vq(const job &j, workplace &w, unit &u, reader &in)
{
    const books &b = j.books[u.number];
    const size_t n = (size_t)u.tokens * b.groups;

    for (int i = 0; i < b.stages; i++)
        if (b.entries <= 256) {
            u.stage[i] = get_codes(j, w, in, u.tokens, b.groups, b.entries);
        } else {
            const int rest = (int)(n % b.digits);
            const uint64_t bits = n / b.digits * b.bits + b.rest_bits[rest];
            const size_t bytes = (bits + 7) / 8;
            u.word[i] = in.take(bytes);
            if (!in.error && bits % 8 && u.word[i][bytes - 1] >> bits % 8)
                in.refuse(TSR_E_CORRUPT);
        }
}

static __device__ void get_parts(const job &j, workplace &w, unit &u, reader &in)
{
    switch (j.method) {
    case FP8:
        u.element = get_elements(j, w, in, j.param[0] == 4 ? TSR_KV_E4M3
                                                           : TSR_KV_E5M2,
                                 u.tokens, u.channels);
        break;
    case LOSSLESS:
        u.element = get_elements(j, w, in, u.dtype, u.tokens, u.channels);
        break;
    case CACHEGEN:
        u.bins = bins_of(j, u.layer, u.plane);
        u.part = in.take((size_t)u.tokens * element_bytes(u.dtype));
        u.code = get_codes(j, w, in, u.tokens, u.channels,
                           2 * (u.bins / 2 - 1) + 1);
        break;
    case KIVI:
        u.g[0] = grid_of(j, u.plane, kivi_tokens(j, u), u.tokens, 0);
        u.raw = u.tokens - u.g[0].tokens;
        u.part = in.take((size_t)u.raw * u.channels * element_bytes(u.dtype));
        get_grid(j, w, in, u.g[0]);
        break;
    case KVQUANT:
        get_kvquant(j, w, u, in);
        break;
    case GEAR:
        get_gear(j, w, u, in);
        break;
    case TURBOQUANT:
        get_turned(j, w, u, in);
        break;
    case VQ:
        get_vq(j, w, u, in);
        break;
    default:
        get_both(j, w, u, in);
    }
}

static __global__ __launch_bounds__(THREADS) void find_parts(job j)
{
    __shared__ workplace w;
    const size_t n = blockIdx.x;
    unit u = {};

    find_unit(j, n, u);
    const tsri_kv_gpu_item &item = j.items[u.object];
    const uint64_t *at = j.unit_at + u.object * ((size_t)j.groups * j.tiles + 1) +
        (size_t)u.number * j.tiles + u.tile;
    reader in = { item.data, item.data, j.unit_room + n * j.unit_bytes,
                  j.unit_room + (n + 1) * j.unit_bytes, 0 };
    const bool wanted = j.object[u.object].good && j.base[u.number] &&
        levels_of(j, u.object, u.tile);
    if (wanted && j.method == LOSSLESS && u.dtype != j.dtype)
        in.refuse(TSR_E_ARG);
    if (wanted) {
        in.at += at[0];
        in.end += at[1];
        get_parts(j, w, u, in);
        if (in.at != in.end)
            in.refuse(TSR_E_CORRUPT);
    }
    if (threadIdx.x)
        return;
    if (in.error)
        atomicCAS(item.status, TSR_OK, in.error);
    u.good = wanted && !in.error;
    ((unit *)j.units)[n] = u;
}

/* ---- sizes ---- */

static size_t rounded(size_t n)
{
    return (n + 15) / 16 * 16;
}

static size_t grid_room(const job *j, int plane, int n, int tile_tokens)
{
    const grid g = grid_of(*j, plane, n, tile_tokens, 0);
    return rounded(2 * (size_t)g.rows() * g.row()) +
           rounded((size_t)n * g.channels);
}

/* Bytes of scratch of a unit at most: codes, a byte each; lists; and while they are
 * read, classes, offsets and order of the columns of a matrix. */
extern "C" size_t tsri_kv_gpu_unit_bytes(const job *j)
{
    const int n = j->tile < j->tokens ? j->tile : j->tokens;
    size_t most = 0;

    for (int p = 0; p < j->planes; p++) {
        const size_t channels = (size_t)j->channels[p], values = n * channels;
        size_t bytes = rounded(values) + 8 * rounded(2 * channels) +
                       rounded(2 * (size_t)n * j->heads[p]);
        if (j->method == KVQUANT || j->method == GEAR)
            bytes += rounded((values + 31) / 32 * sizeof(listed)) +
                     rounded(2 * (size_t)n);
        if (j->method == VQ)
            bytes += 7 * rounded(values);
        if (j->method == KIVI || j->method == GEAR || j->method == TURBOQUANT)
            bytes += grid_room(j, p, n, n);
        if (j->method == ZIPCACHE || j->method == MIKV)     /* either class may
                                                               have them all */
            bytes += 2 * grid_room(j, p, n, n);
        most = bytes > most ? bytes : most;
    }
    return j->method && n ? most : 0;
}

extern "C" size_t tsri_kv_gpu_unit_size(void)
{
    return sizeof(unit);
}

extern "C" cudaError_t tsri_kv_gpu_parts(const job *j, cudaStream_t stream)
{
    const size_t units = (size_t)j->objects * j->groups * j->tiles;

    if (units > INT32_MAX)
        return cudaErrorInvalidValue;
    find_parts<<<(unsigned)units, THREADS, 0, stream>>>(*j);
    return cudaGetLastError();
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* What is learnt within a packet on top of a table.  A packet has about as many
 * codes of a book as the book has codewords, so there is little to learn from and
 * no time to forget: the table is a prior worth half as many codes as there are
 * codewords, that of a context four times as many, to which each occurrence adds
 * (Dirichlet; the first one less, as Pitman and Yor's), and a few guesses what the code will be, each trusted as
 * far as it was right before, add to the weights of the codewords they name. */
#include <string.h>
#include "codecs/audio/codes_impl.h"

enum {
    AGAIN_MAX = 1 << 11,    /* of 2^18: what an occurrence adds */
    LEARNT_MAX = 1 << 22,
    GUESSES = 3,
    TRUST_START = 512, TRUST_MAX = 63488, TRUST_RATE = 5   /* of 2^16 */
};

/* How often a guess was right where those before it were wrong, times 2^16. */
typedef struct trust {
    uint16_t p, seen;
} trust;

/* The arrays of a book stand one behind another. */
typedef struct book {
    uint32_t *learnt;   /* [codewords] */
    uint32_t *after;    /* [codewords] 1 + the code that last followed, 0: none */
    uint32_t *beside;   /* [codewords] 1 + the code that last stood beside this
                           one of the coarser book */
    uint32_t *sum;      /* [codewords + 1] Fenwick tree of what was learnt */
    trust trusts[2][GUESSES];
    uint32_t all;       /* sum of what was learnt */
    bool same;          /* is the code that of the frame before? */
    const struct alphabet *of;
} book;

/* What books of one size share. */
typedef struct alphabet {
    int codewords, top; /* top: the highest power of two in codewords */
    uint32_t again;     /* what an occurrence adds where no table is given */
    uint32_t *even;     /* starts of equal slots */
} alphabet;

struct tsri_codes_adapt {
    alphabet of[2];     /* of book 0, of the others */
    uint32_t *memory;
    book books[TSR_AUDIO_MAX_BOOKS];
};

static size_t book_size(int codewords)
{
    return 4 * (size_t)codewords + 1;
}

static bool open_alphabet(alphabet *a, tsr_context *ctx, int codewords)
{
    const size_t n = (size_t)codewords;

    a->codewords = codewords;
    a->top = 1 << (31 - __builtin_clz((unsigned)codewords));
    a->again = (uint32_t)tsri_min((2 << TSRI_CODES_BITS) / codewords, AGAIN_MAX);
    a->even = tsri_alloc(ctx, n + 1, sizeof *a->even);
    for (size_t i = 0; a->even && i <= n; i++)
        a->even[i] = (uint32_t)(((uint64_t)i << TSRI_CODES_BITS) / n);
    return a->even;
}

/* The array `beside` is looked up by codes of the coarser book, so all arrays are
 * as long as those of the largest. */
static void place_books(tsri_codes_adapt *a, int books, size_t n)
{
    for (int k = 0; k < books; k++) {
        uint32_t *m = a->memory + (size_t)k * book_size((int)n);
        a->books[k] = (book){ .learnt = m, .after = m + n, .beside = m + 2 * n,
                              .sum = m + 3 * n, .of = &a->of[k > 0] };
    }
}

tsr_error tsri_codes_adapt_open(tsri_codes_adapt **out, tsr_context *ctx,
                                int books, const int words[2])
{
    tsri_codes_adapt *a = tsri_calloc(ctx, 1, sizeof *a);
    const int most = tsri_max(words[0], words[1]);

    *out = a;
    if (!a)
        return TSR_E_NOMEM;
    a->memory = tsri_alloc(ctx, (size_t)books * book_size(most),
                           sizeof *a->memory);
    if (!a->memory || !open_alphabet(&a->of[0], ctx, words[0]) ||
        !open_alphabet(&a->of[1], ctx, words[1])) {
        tsri_codes_adapt_close(out, ctx);
        return TSR_E_NOMEM;
    }
    place_books(a, books, (size_t)most);
    return TSR_OK;
}

void tsri_codes_adapt_close(tsri_codes_adapt **out, tsr_context *ctx)
{
    if (*out) {
        tsri_free(ctx, (*out)->memory);
        tsri_free(ctx, (*out)->of[0].even);
        tsri_free(ctx, (*out)->of[1].even);
    }
    tsri_free(ctx, *out);
    *out = NULL;
}

/* ---- what was learnt ---- */

/* The tree anew. */
static void plant(book *b, int n)
{
    b->all = b->sum[0] = 0;
    for (int i = 1; i <= n; i++)
        b->sum[i] = 0;
    for (int i = 1; i <= n; i++) {
        const int up = i + (i & -i);
        b->sum[i] += b->learnt[i - 1];
        b->all += b->learnt[i - 1];
        if (up <= n)
            b->sum[up] += b->sum[i];
    }
}

static void grow(book *b, int n, int s, uint32_t again)
{
    const uint32_t more = b->learnt[s] ? again : (5 * again + 7) / 8;

    b->learnt[s] += more;
    b->all += more;
    for (int i = s + 1; i <= n; i += i & -i)
        b->sum[i] += more;
    if (b->all <= LEARNT_MAX)
        return;
    for (int i = 0; i < n; i++)
        b->learnt[i] = (b->learnt[i] + 1) / 2;
    plant(b, n);
}

void tsri_codes_adapt_reset(tsri_codes_adapt *a, int first, int n)
{
    const size_t each = book_size(tsri_max(a->of[0].codewords,
                                           a->of[1].codewords));

    for (int k = first; k < first + n; k++) {
        book *b = &a->books[k];
        memset(b->learnt, 0, each * sizeof *b->learnt);
        b->all = 0;
        for (int i = 0; i < 2 * GUESSES; i++)
            b->trusts[i / GUESSES][i % GUESSES] = (trust){ TRUST_START, 0 };
        b->same = false;
    }
}

/* ---- guesses ---- */

/* Which codeword each guess names, -1: none; no two the same. */
typedef struct guesses {
    int code[GUESSES];
    uint64_t weight[GUESSES];
    trust *trusts;
} guesses;

static int distinct(const guesses *g, int i, int code)
{
    for (int j = 0; j < i; j++)
        if (g->code[j] == code)
            return -1;
    return code;
}

/* Returns the sum of all weights. */
static uint64_t guess(book *b, const tsri_codes_view *v, int f, int k, guesses *g)
{
    const int last = f ? *tsri_codes_at(v, f - 1, k) : -1;
    const bool still = k ? f && *tsri_codes_at(v, f, k - 1) ==
                                *tsri_codes_at(v, f - 1, k - 1) : b->same;
    uint64_t all = (1 << TSRI_CODES_BITS) + b->all;

    g->trusts = b->trusts[still];
    g->code[0] = last;
    g->code[1] = distinct(g, 1, f ? (int)b->after[last] - 1 : -1);
    g->code[2] = distinct(g, 2, k ? (int)b->beside[*tsri_codes_at(v, f, k - 1)] - 1
                                  : -1);
    for (int i = GUESSES - 1; i >= 0; i--) {
        const uint32_t p = g->trusts[i].p;
        g->weight[i] = g->code[i] < 0 ? 0 : all * p / ((1 << 16) - p);
        all += g->weight[i];
    }
    return all;
}

static void learn(guesses *g, int s)
{
    for (int i = 0; i < GUESSES; i++) {
        trust *t = &g->trusts[i];
        const int rate = tsri_min(2 + t->seen, TRUST_RATE);
        if (g->code[i] < 0)
            continue;
        t->p = (uint16_t)(g->code[i] == s ? t->p + ((TRUST_MAX - t->p) >> rate)
                                          : t->p - (t->p >> rate));
        t->seen = (uint16_t)tsri_min(t->seen + 1, TRUST_RATE);
        if (g->code[i] == s)
            break;
    }
}

/* ---- slots ---- */

/* All that tells where a codeword's slots begin. */
typedef struct slots {
    tsri_codes_table table;
    const book *b;
    guesses g;
    uint64_t scale;
} slots;

/* Where codeword s begins; learnt: by those before it. */
static uint32_t start_of(const slots *w, int s, uint32_t learnt)
{
    uint64_t before = tsri_codes_begin(&w->table, s) + (uint64_t)learnt;

    for (int i = 0; i < GUESSES; i++)
        before += w->g.code[i] < s ? w->g.weight[i] : 0;
    return tsri_codes_start((uint32_t)s, before, w->scale);
}

static uint32_t learnt_before(const book *b, int s)
{
    uint32_t sum = 0;

    for (; s > 0; s -= s & -s)
        sum += b->sum[s];
    return sum;
}

static int find(const alphabet *a, const slots *w, uint32_t slot)
{
    uint32_t before = 0;
    int s = 0;

    for (int step = a->top; step; step /= 2) {
        const int to = s + step;
        if (to < a->codewords &&
            start_of(w, to, before + w->b->sum[to]) <= slot) {
            s = to;
            before += w->b->sum[to];
        }
    }
    return s;
}

static int code_slots(const alphabet *a, tsri_codes_pen *pen, const slots *w,
                      int s)
{
    uint32_t before, start, end = 1 << TSRI_CODES_BITS;

    if (pen->reads)
        s = find(a, w, tsri_range_slot(&pen->dec, TSRI_CODES_BITS));
    before = learnt_before(w->b, s);
    start = start_of(w, s, before);
    if (s + 1 < a->codewords)
        end = start_of(w, s + 1, before + w->b->learnt[s]);
    if (pen->reads)
        tsri_range_take(&pen->dec, start, end, TSRI_CODES_BITS);
    else
        tsri_range_put_slots(&pen->enc, start, end, TSRI_CODES_BITS);
    return s;
}

void tsri_codes_adaptive(tsri_codes_adapt *a, tsri_codes_pen *pen,
                         const tsri_codes_view *v, int f, int k,
                         const tsri_codes_table *table)
{
    uint16_t *code = tsri_codes_at(v, f, k);
    book *b = &a->books[k];
    const alphabet *of = b->of;
    slots w = { .table = { .start = of->even }, .b = b };

    if (table)
        w.table = *table;
    w.scale = tsri_codes_scale((uint32_t)of->codewords, guess(b, v, f, k, &w.g));
    const int s = code_slots(of, pen, &w, *code);
    if (pen->reads)
        *code = (uint16_t)s;
    learn(&w.g, s);
    grow(b, of->codewords, s, table ? of->again / 8 : of->again);
    b->same = s == w.g.code[0];
    if (f)
        b->after[w.g.code[0]] = (uint32_t)s + 1;
    if (k)
        b->beside[*tsri_codes_at(v, f, k - 1)] = (uint32_t)s + 1;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>
#include "entropy/bank_impl.h"
#include "entropy/classes.h"
#include "entropy/freq.h"

enum {
    VALUES = 256,
    MAX_CHANNELS = 1 << 20,
    MAX_SUM = 1 << 28,  /* so that sums of all costs fit 64 bits */
    ROUNDS = 24,
    NEAR_TRAIN = 1, NEAR_CHOOSE = 2,    /* offsets tried around the means */
    GAIN_SHIFT = 13     /* a round that gains less than 2^-13 is the last */
};

/* A histogram from its first value on: those behind its longest gap. */
typedef struct channel {
    uint32_t count[VALUES];
    int first, width;   /* width 0: nothing was counted */
    uint64_t sum;
    int64_t mean;       /* in 1/16 */
} channel;

static int find_first(const uint32_t *hist)
{
    int first = 0, longest = 0, gap = 0;

    for (int i = 0; i < 2 * VALUES; i++) {
        gap = hist[i % VALUES] ? 0 : gap + 1;
        if (gap > longest && gap < VALUES) {
            longest = gap;
            first = (i + 1) % VALUES;
        }
    }
    return first;
}

static int64_t mean_of(const uint32_t *count, int n, uint64_t sum)
{
    uint64_t total = 0;

    for (int i = 0; i < n; i++)
        total += (uint64_t)i * count[i];
    return sum ? (int64_t)((16 * total + sum / 2) / sum) : 0;
}

static void read_channel(channel *ch, const uint32_t *hist)
{
    ch->first = find_first(hist);
    ch->width = 0;
    ch->sum = 0;
    for (int i = 0; i < VALUES; i++) {
        ch->count[i] = hist[(ch->first + i) % VALUES];
        ch->sum += ch->count[i];
        if (ch->count[i])
            ch->width = i + 1;
    }
    ch->mean = mean_of(ch->count, ch->width, ch->sum);
}

/* ---- costs ---- */

/* What a table asks of symbols -before .. VALUES - before - 1: those it has not
 * are dear, but can be had if it is made anew. */
typedef struct prices {
    uint16_t cost[VALUES];
    int before, low, high;  /* the first of a channel may be at low..high less
                               its width */
    int64_t mean;           /* of the table, in 1/16 */
} prices;

typedef struct choice {
    uint64_t cost;
    int table, at;  /* index in its table of the channel's first value */
} choice;

/* Takes (table, at) if that is cheaper than what there is. */
static void offer(const channel *ch, const prices *p, int table, int at,
                  choice *best)
{
    const uint16_t *cost = p->cost + p->before + at;
    uint64_t sum = 0;

    for (int i = 0; i < ch->width && sum < best->cost; i++)
        sum += (uint64_t)ch->count[i] * cost[i];
    if (sum < best->cost)
        *best = (choice){ sum, table, at };
}

static void offer_near(const channel *ch, const prices *p, int table, int near,
                       choice *best)
{
    const int most = p->high - ch->width;
    const int64_t apart = p->mean - ch->mean + 8;
    const int middle = (int)(apart >= 0 ? apart / 16 : -((15 - apart) / 16));
    const int begin = tsri_clamp(middle - near, p->low, most);
    const int end = tsri_clamp(middle + near, p->low, most);

    if (most < p->low)
        return;
    for (int at = begin; at <= end; at++)
        offer(ch, p, table, at, best);
}

/* The prices of a table, with room for others to all sides if `open`. */
static void set_prices(prices *p, const tsri_bank *bank, int table, bool open)
{
    const uint32_t first = bank->first[table];
    const int n = (int)(bank->first[table + 1] - first);
    uint32_t freq[VALUES];

    p->before = open ? (VALUES - n) / 2 : 0;
    p->low = -p->before;
    p->high = open ? VALUES - p->before : n;
    for (int i = 0; i < VALUES; i++)
        p->cost[i] = (uint16_t)((bank->bits + 1) * 2048);
    for (int i = 0; i < n; i++) {
        p->cost[p->before + i] = bank->cost[first + (uint32_t)i];
        freq[i] = (uint32_t)bank->range[first + (uint32_t)i] >> 16;
    }
    p->mean = mean_of(freq, n, (uint64_t)1 << bank->bits);
}

static bool counts(const tsri_bank *bank, int table)
{
    return bank->first[table + 1] - bank->first[table] <= VALUES;
}

static void set_offset(const channel *ch, const choice *c, uint8_t *cls,
                       uint8_t *offset)
{
    *cls = (uint8_t)c->table;
    *offset = (uint8_t)(ch->first - c->at);
}

/* ---- choice from a bank ---- */

tsr_error tsri_classes_choose(tsr_context *ctx, const tsri_bank *bank,
                              const uint32_t (*hist)[256], int channels,
                              uint8_t *cls, uint8_t *offset, uint64_t *cost)
{
    const int tables = tsri_min(bank->tables, TSRI_CLASSES_MAX);
    prices *p = tsri_alloc(ctx, (size_t)tables, sizeof *p);
    tsr_error error = p ? TSR_OK : tsri_nomem(ctx);

    *cost = 0;
    for (int t = 0; !error && t < tables; t++)
        if (counts(bank, t))
            set_prices(&p[t], bank, t, false);
    for (int c = 0; !error && c < channels; c++) {
        choice best = { UINT64_MAX, 0, 0 };
        channel ch;
        read_channel(&ch, hist[c]);
        for (int t = 0; t < tables; t++)
            if (counts(bank, t))
                offer_near(&ch, &p[t], t, NEAR_CHOOSE, &best);
        if (best.cost == UINT64_MAX)
            error = tsri_fail(ctx, TSR_E_ARG, "channel %d has %d values, more "
                              "than any table", c, ch.width);
        set_offset(&ch, &best, &cls[c], &offset[c]);
        *cost += best.cost;
    }
    tsri_free(ctx, p);
    return error;
}

/* ---- training ---- */

/* Sums of the channels of a class.  Symbol s, which may be before the table's
 * first, is at s + VALUES. */
typedef struct sums {
    uint64_t count[3 * VALUES];
    int first, last;    /* of those that are not 0; last < first: none */
} sums;

typedef struct trainer {
    tsr_context *ctx;
    channel *ch;
    choice *chosen;
    uint64_t *own;      /* what each channel costs with a table of its own */
    sums *sum;
    prices *price;
    tsri_classes *out;
    int channels, most;
    uint64_t random;
} trainer;

static void add_channel(sums *s, const channel *ch, int at)
{
    if (!ch->width)
        return;
    for (int i = 0; i < ch->width; i++)
        s->count[VALUES + at + i] += ch->count[i];
    s->first = tsri_min(s->first, VALUES + at);
    s->last = tsri_max(s->last, VALUES + at + ch->width - 1);
}

static void clear(sums *s)
{
    memset(s->count, 0, sizeof s->count);
    s->first = 3 * VALUES;
    s->last = -1;
}

/* The table of the sums; a class of nothing gets a table of one symbol. */
static tsr_error make_table(const sums *s, int bits, uint16_t *freq,
                            uint16_t *size)
{
    const int n = s->last - s->first + 1;

    *size = (uint16_t)tsri_max(n, 1);
    if (n > 0)
        return tsri_freq_normalise(s->count + s->first, n, bits, freq);
    *freq = (uint16_t)(1u << bits);
    return TSR_OK;
}

/* Prices of tables begin..tables, whose frequencies are at `freq`. */
static tsr_error set_all_prices(trainer *t, int begin, const uint16_t *freq)
{
    tsri_bank *bank;

    TSR_TRY(tsri_bank_open(&bank, t->ctx, t->out->bits, freq,
                           t->out->sizes + begin, t->out->tables - begin));
    for (int i = begin; i < t->out->tables; i++)
        set_prices(&t->price[i], bank, i - begin, true);
    tsri_bank_close(&bank, t->ctx);
    return TSR_OK;
}

/* Adds a table of one channel. */
static tsr_error add_seed(trainer *t, int c)
{
    uint16_t freq[VALUES];
    const int k = t->out->tables++;

    clear(&t->sum[k]);
    add_channel(&t->sum[k], &t->ch[c], 0);
    TSR_TRY(make_table(&t->sum[k], t->out->bits, freq, &t->out->sizes[k]));
    return set_all_prices(t, k, freq);
}

/* What each channel costs with its own table. */
static tsr_error find_own(trainer *t)
{
    for (int c = 0; c < t->channels; c++) {
        choice best = { UINT64_MAX, 0, 0 };
        t->out->tables = 0;
        TSR_TRY(add_seed(t, c));
        offer(&t->ch[c], &t->price[0], 0, 0, &best);
        t->own[c] = best.cost;
        t->chosen[c] = (choice){ UINT64_MAX, 0, 0 };
    }
    t->out->tables = 0;
    return TSR_OK;
}

/* What a channel pays above what it would with its own table. */
static uint64_t excess(const trainer *t, int c)
{
    const uint64_t cost = t->chosen[c].cost;
    return cost > t->own[c] ? cost - t->own[c] : 0;
}

/* A channel with the chance of its excess (k-means++); -1: none has any.  The
 * dearest ones would be the odd ones. */
static int draw(trainer *t)
{
    uint64_t sum = 0, at;

    for (int c = 0; c < t->channels; c++)
        sum += excess(t, c);
    if (!sum)
        return -1;
    t->random = t->random * 6364136223846793005u + 1442695040888963407u;
    at = (t->random ^ t->random >> 32) % sum;
    for (int c = 0;; c++) {
        const uint64_t some = excess(t, c);
        if (at < some)
            return c;
        at -= some;
    }
}

static tsr_error choose_seeds(trainer *t)
{
    for (int c = 0; c >= 0 && t->out->tables < t->most; c = draw(t)) {
        const int k = t->out->tables;
        TSR_TRY(add_seed(t, c));
        t->chosen[c] = (choice){ t->own[c], k, 0 };
        for (int i = 0; i < t->channels; i++)
            offer_near(&t->ch[i], &t->price[k], k, NEAR_TRAIN, &t->chosen[i]);
    }
    return TSR_OK;
}

/* New tables for the present choices.  A table's symbols change their indices,
 * and those of the channels with them. */
static tsr_error update_tables(trainer *t)
{
    uint16_t *freq = t->out->freq;

    for (int k = 0; k < t->out->tables; k++)
        clear(&t->sum[k]);
    for (int c = 0; c < t->channels; c++)
        add_channel(&t->sum[t->chosen[c].table], &t->ch[c], t->chosen[c].at);
    for (int k = 0; k < t->out->tables; k++) {
        TSR_TRY(make_table(&t->sum[k], t->out->bits, freq, &t->out->sizes[k]));
        freq += t->out->sizes[k];
    }
    for (int c = 0; c < t->channels; c++)
        if (t->ch[c].width)
            t->chosen[c].at -= t->sum[t->chosen[c].table].first - VALUES;
    return set_all_prices(t, 0, t->out->freq);
}

/* The best table of each channel; returns what they cost. */
static uint64_t update_choices(trainer *t)
{
    uint64_t sum = 0;

    for (int c = 0; c < t->channels; c++) {
        choice *best = &t->chosen[c];
        const choice old = *best;
        best->cost = UINT64_MAX;
        offer(&t->ch[c], &t->price[old.table], old.table, old.at, best);
        for (int k = 0; k < t->out->tables; k++)
            offer_near(&t->ch[c], &t->price[k], k, NEAR_TRAIN, best);
        sum += best->cost;
    }
    return sum;
}

/* Classes without channels take one each. */
static void fill_empty(trainer *t)
{
    bool used[TSRI_CLASSES_MAX] = { false };

    for (int c = 0; c < t->channels; c++)
        used[t->chosen[c].table] = true;
    for (int k = 0; k < t->out->tables; k++) {
        const int c = used[k] ? -1 : draw(t);
        if (c >= 0)
            t->chosen[c] = (choice){ t->own[c], k, 0 };
    }
}

/* Leaves out tables that no channel has. */
static void drop_unused(trainer *t)
{
    int number[TSRI_CLASSES_MAX], n = 0;
    uint16_t *from = t->out->freq, *to = from;
    bool used[TSRI_CLASSES_MAX] = { false };

    for (int c = 0; c < t->channels; c++)
        used[t->chosen[c].table] = true;
    for (int k = 0; k < t->out->tables; k++) {
        const uint16_t size = t->out->sizes[k];
        number[k] = n;
        if (used[k]) {
            memmove(to, from, size * sizeof *to);
            to += size;
            t->out->sizes[n++] = size;
        }
        from += size;
    }
    t->out->tables = n;
    for (int c = 0; c < t->channels; c++)
        t->chosen[c].table = number[t->chosen[c].table];
}

static tsr_error train(trainer *t)
{
    uint64_t before = UINT64_MAX;

    TSR_TRY(find_own(t));
    TSR_TRY(choose_seeds(t));
    for (int round = 0; round < ROUNDS; round++) {
        TSR_TRY(update_tables(t));
        const uint64_t cost = update_choices(t);
        if (cost + (cost >> GAIN_SHIFT) >= before)
            break;
        before = cost;
        fill_empty(t);
    }
    TSR_TRY(update_tables(t));
    drop_unused(t);
    return TSR_OK;
}

static tsr_error open_trainer(trainer *t, const uint32_t (*hist)[256])
{
    const size_t n = (size_t)t->channels, k = (size_t)t->most;

    t->ch = tsri_alloc(t->ctx, n, sizeof *t->ch);
    t->chosen = tsri_alloc(t->ctx, n, sizeof *t->chosen);
    t->own = tsri_alloc(t->ctx, n, sizeof *t->own);
    t->sum = tsri_alloc(t->ctx, k, sizeof *t->sum);
    t->price = tsri_alloc(t->ctx, k, sizeof *t->price);
    if (!t->ch || !t->chosen || !t->own || !t->sum || !t->price)
        return tsri_nomem(t->ctx);
    for (int c = 0; c < t->channels; c++) {
        read_channel(&t->ch[c], hist[c]);
        if (t->ch[c].sum >= MAX_SUM)
            return tsri_fail(t->ctx, TSR_E_ARG, "channel %d has too many "
                             "tokens to train with", c);
    }
    return TSR_OK;
}

tsr_error tsri_classes_train(tsr_context *ctx, const uint32_t (*hist)[256],
                             int channels, int most, int bits,
                             tsri_classes *out, uint8_t *cls, uint8_t *offset)
{
    trainer t = { .ctx = ctx, .out = out, .channels = channels, .most = most,
                  .random = 1 };

    if (channels < 1 || channels > MAX_CHANNELS || most < 1 ||
        most > TSRI_CLASSES_MAX || bits < 8 || bits > TSRI_BANK_MAX_BITS)
        return tsri_fail(ctx, TSR_E_ARG, "%d classes of %d bits for %d channels",
                         most, bits, channels);
    out->bits = bits;
    out->tables = 0;
    tsr_error error = open_trainer(&t, hist);
    if (!error)
        error = train(&t);
    for (int c = 0; !error && c < channels; c++)
        set_offset(&t.ch[c], &t.chosen[c], &cls[c], &offset[c]);
    tsri_free(ctx, t.ch);
    tsri_free(ctx, t.chosen);
    tsri_free(ctx, t.own);
    tsri_free(ctx, t.sum);
    tsri_free(ctx, t.price);
    return error;
}

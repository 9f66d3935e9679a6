/* SPDX-License-Identifier: BSD-2-Clause */
#include "entropy/range.h"

/* What has been coded is known to lie in [low, low + range).  Bytes leave when
 * the range is below 2^24; a carry then goes into those that have left. */
enum { LEAST = 1 << 24, FAST = 4, SLOW = 7, BIT_BITS = 16, NIBBLE_BITS = 15 };

/* ---- models ---- */

/* How fast a model learns: by 2^-rate of what is missing. */
typedef struct rates { int fast, slow; } rates;

static rates next_rates(uint16_t *seen)
{
    const int rate = 32 - __builtin_clz(*seen + 1u);

    *seen = (uint16_t)(*seen + (rate < SLOW));
    return (rates){ tsri_min(rate, FAST), rate };
}

static inline uint16_t towards(uint16_t p, bool up, int rate)
{
    return (uint16_t)(up ? p + ((UINT16_MAX - p) >> rate) : p - (p >> rate));
}

static void start_bit(tsri_range_bit *m)
{
    if (!m->seen)
        m->fast = m->slow = 1 << 15;
}

/* The probability of a 1, times 2^16: from 71 to 2^16 - 71. */
static uint32_t chance(const tsri_range_bit *m)
{
    return ((uint32_t)m->fast + m->slow) / 2;
}

static void learn_bit(tsri_range_bit *m, int bit)
{
    const rates r = next_rates(&m->seen);

    m->fast = towards(m->fast, bit, r.fast);
    m->slow = towards(m->slow, bit, r.slow);
}

static void start_nibble(tsri_range_nibble *m)
{
    for (int i = 0; i < 15 && !m->seen; i++)
        m->fast[i] = m->slow[i] = (uint16_t)((15 - i) << 12);
}

/* Of 2^15 slots, those of the symbols above i; i = -1..15.  Each symbol has at
 * least 4. */
static uint32_t above(const tsri_range_nibble *m, int i)
{
    const uint32_t all = 1 << NIBBLE_BITS, least = 4;

    if (i < 0 || i == 15)
        return i < 0 ? all : 0;
    return least * (uint32_t)(15 - i) +
           (((uint32_t)m->fast[i] + m->slow[i]) * (all - 16 * least) >> 17);
}

static void learn_nibble(tsri_range_nibble *m, int symbol)
{
    const rates r = next_rates(&m->seen);

    for (int i = 0; i < 15; i++) {
        m->fast[i] = towards(m->fast[i], symbol > i, r.fast);
        m->slow[i] = towards(m->slow[i], symbol > i, r.slow);
    }
}

/* The part of a range that is below `slot` of 2^bits slots. */
static inline uint32_t part(uint32_t range, uint32_t slot, int bits)
{
    return (uint32_t)((uint64_t)range * slot >> bits);
}

/* ---- encoder ---- */

void tsri_range_enc_open(tsri_range_enc *enc, uint8_t *out, size_t room)
{
    *enc = (tsri_range_enc){ .range = UINT32_MAX, .out = out, .at = out,
                             .end = out + room };
}

static void put_byte(tsri_range_enc *enc, uint8_t byte)
{
    if (enc->at < enc->end)
        *enc->at++ = byte;
    else
        enc->full = true;
}

static void carry(tsri_range_enc *enc)
{
    uint8_t *p = enc->at;

    if (enc->low >> 32)
        while (p > enc->out && ++*--p == 0)
            ;
    enc->low &= UINT32_MAX;
}

/* Narrows to slots start .. start + size - 1 of 2^bits. */
static void narrow(tsri_range_enc *enc, uint32_t start, uint32_t size, int bits)
{
    const uint32_t below = part(enc->range, start, bits);

    enc->low += below;
    enc->range = part(enc->range, start + size, bits) - below;
    while (enc->range < LEAST) {
        carry(enc);
        put_byte(enc, (uint8_t)(enc->low >> 24));
        enc->low = enc->low << 8 & UINT32_MAX;
        enc->range <<= 8;
    }
}

void tsri_range_put_slots(tsri_range_enc *enc, uint32_t start, uint32_t end,
                          int bits)
{
    narrow(enc, start, end - start, bits);
}

void tsri_range_put_bit(tsri_range_enc *enc, tsri_range_bit *model, int bit)
{
    start_bit(model);
    const uint32_t one = chance(model);
    narrow(enc, bit ? 0 : one, bit ? one : (1 << BIT_BITS) - one, BIT_BITS);
    learn_bit(model, bit);
}

void tsri_range_put_tree(tsri_range_enc *enc, tsri_range_bit *tree, int nbits,
                         uint32_t value)
{
    for (uint32_t at = 1; nbits-- > 0;) {
        const int bit = value >> nbits & 1;
        tsri_range_put_bit(enc, &tree[at], bit);
        at = 2 * at + (uint32_t)bit;
    }
}

void tsri_range_put_nibble(tsri_range_enc *enc, tsri_range_nibble *model,
                           int symbol)
{
    start_nibble(model);
    const uint32_t start = above(model, symbol);
    narrow(enc, start, above(model, symbol - 1) - start, NIBBLE_BITS);
    learn_nibble(model, symbol);
}

void tsri_range_put_byte(tsri_range_enc *enc, tsri_range_byte *model, int byte)
{
    tsri_range_put_nibble(enc, &model->high, byte >> 4);
    tsri_range_put_nibble(enc, &model->low[byte >> 4], byte & 15);
}

void tsri_range_put_direct(tsri_range_enc *enc, uint32_t value, int nbits)
{
    if (nbits > 16) {
        nbits -= 16;
        narrow(enc, value >> 16, 1, nbits);
        value &= 0xffff;
        nbits = 16;
    }
    narrow(enc, value, 1, nbits);
}

void tsri_range_put_gamma(tsri_range_enc *enc, tsri_range_gamma *model,
                          uint32_t value)
{
    const uint32_t v = value + 1;
    const int more = 31 - __builtin_clz(v); /* bits below the highest */

    for (int i = 0; i < more; i++)
        tsri_range_put_bit(enc, &model->length[i], 1);
    if (more < TSRI_RANGE_GAMMA_MAX - 1)
        tsri_range_put_bit(enc, &model->length[more], 0);
    if (!more)
        return;
    tsri_range_put_bit(enc, &model->second[more], v >> (more - 1) & 1);
    tsri_range_put_direct(enc, v & ((1u << (more - 1)) - 1), more - 1);
}

/* How far from low the number with the fewest bytes lies that is in the range:
 * it has no byte more if there is such a one, else one.  Zeros behind a stream
 * are not written. */
static uint32_t shortest(uint32_t low, uint32_t range)
{
    return 0 - low < range ? 0 - low : (0 - low) & (LEAST - 1);
}

tsr_error tsri_range_finish(tsri_range_enc *enc, size_t *size)
{
    carry(enc);
    enc->low += shortest((uint32_t)enc->low, enc->range);
    carry(enc);
    if (enc->low)
        put_byte(enc, (uint8_t)(enc->low >> 24));
    while (enc->at > enc->out && !enc->at[-1])
        enc->at--;
    *size = (size_t)(enc->at - enc->out);
    return enc->full ? TSR_E_ARG : TSR_OK;
}

/* ---- decoder ---- */

static uint32_t next_byte(tsri_range_dec *dec)
{
    return dec->at < dec->end ? *dec->at++ : 0;
}

void tsri_range_dec_open(tsri_range_dec *dec, const uint8_t *data, size_t size)
{
    *dec = (tsri_range_dec){ .at = data, .end = data + size,
                             .range = UINT32_MAX,
                             .sound = !size || data[size - 1] };
    for (int i = 0; i < 4; i++)
        dec->code = dec->code << 8 | next_byte(dec);
    dec->sound = dec->sound && dec->code < dec->range;
}

static void take(tsri_range_dec *dec, uint32_t start, uint32_t size, int bits)
{
    const uint32_t below = part(dec->range, start, bits);

    dec->code -= below;
    dec->low += below;
    dec->range = part(dec->range, start + size, bits) - below;
    while (dec->range < LEAST) {
        dec->code = dec->code << 8 | next_byte(dec);
        dec->low <<= 8;
        dec->range <<= 8;
    }
}

int tsri_range_get_bit(tsri_range_dec *dec, tsri_range_bit *model)
{
    start_bit(model);
    const uint32_t one = chance(model);
    const int bit = dec->code < part(dec->range, one, BIT_BITS);
    take(dec, bit ? 0 : one, bit ? one : (1 << BIT_BITS) - one, BIT_BITS);
    learn_bit(model, bit);
    return bit;
}

uint32_t tsri_range_get_tree(tsri_range_dec *dec, tsri_range_bit *tree,
                             int nbits)
{
    uint32_t at = 1;

    for (int i = 0; i < nbits; i++)
        at = 2 * at + (uint32_t)tsri_range_get_bit(dec, &tree[at]);
    return at - (1u << nbits);
}

int tsri_range_get_nibble(tsri_range_dec *dec, tsri_range_nibble *model)
{
    int s = 0;

    start_nibble(model);
    while (dec->code < part(dec->range, above(model, s), NIBBLE_BITS))
        s++;
    const uint32_t start = above(model, s);
    take(dec, start, above(model, s - 1) - start, NIBBLE_BITS);
    learn_nibble(model, s);
    return s;
}

int tsri_range_get_byte(tsri_range_dec *dec, tsri_range_byte *model)
{
    const int high = tsri_range_get_nibble(dec, &model->high);
    return high << 4 | tsri_range_get_nibble(dec, &model->low[high]);
}

/* A damaged code may be too large. */
uint32_t tsri_range_slot(const tsri_range_dec *dec, int bits)
{
    const uint64_t most = (1u << bits) - 1;
    const uint64_t slot = ((((uint64_t)dec->code + 1) << bits) - 1) / dec->range;

    return (uint32_t)(slot < most ? slot : most);
}

void tsri_range_take(tsri_range_dec *dec, uint32_t start, uint32_t end, int bits)
{
    take(dec, start, end - start, bits);
}

/* At most 16 bits. */
static uint32_t get_few(tsri_range_dec *dec, int nbits)
{
    const uint32_t value = tsri_range_slot(dec, nbits);

    take(dec, value, 1, nbits);
    return value;
}

uint32_t tsri_range_get_direct(tsri_range_dec *dec, int nbits)
{
    if (nbits <= 16)
        return get_few(dec, nbits);
    const uint32_t high = get_few(dec, nbits - 16);
    return high << 16 | get_few(dec, 16);
}

uint32_t tsri_range_get_gamma(tsri_range_dec *dec, tsri_range_gamma *model)
{
    const int most = TSRI_RANGE_GAMMA_MAX - 1;
    int more = 0;
    uint32_t v;

    while (more < most && tsri_range_get_bit(dec, &model->length[more]))
        more++;
    if (!more)
        return 0;
    v = 2 | (uint32_t)tsri_range_get_bit(dec, &model->second[more]);
    return (v << (more - 1) | tsri_range_get_direct(dec, more - 1)) - 1;
}

tsr_error tsri_range_dec_end(const tsri_range_dec *dec)
{
    return dec->sound && dec->at == dec->end &&
           dec->code == shortest(dec->low, dec->range)
               ? TSR_OK : TSR_E_CORRUPT;
}

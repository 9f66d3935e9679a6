/* SPDX-License-Identifier: BSD-2-Clause */
/* The entropy coder on the data of bench/entropy, which builds and runs it. */
#include "config.h"
#include "bench/entropy_data.h"
#include "entropy/freq.h"
#include "entropy/rans.h"
#include "lib/bytes.h"

enum { BITS = 12 };

/* Sends a table with each block.  Symbols become 16 bits wide for the coder,
 * which is counted. */
typedef struct coder {
    tsr_context *ctx;
    tsri_rans_enc *enc;
    uint16_t first, size;   /* the table's symbols are first .. first + size - 1 */
    uint16_t sym[ENTROPY_BLOCK];
} coder;

static void count_symbols(const uint8_t *sym, uint64_t *count)
{
    uint32_t part[4][256] = { { 0 } };

    for (size_t i = 0; i < ENTROPY_BLOCK; i += 4)
        for (size_t k = 0; k < 4; k++)
            part[k][sym[i + k]]++;
    for (int s = 0; s < 256; s++)
        count[s] = (uint64_t)part[0][s] + part[1][s] + part[2][s] + part[3][s];
}

static tsri_bank *own_bank(coder *c, const uint8_t *sym, uint16_t *freq)
{
    uint64_t count[256];
    tsri_bank *bank = NULL;

    count_symbols(sym, count);
    for (c->first = 0; !count[c->first];)
        c->first++;
    for (c->size = (uint16_t)(256 - c->first); !count[c->first + c->size - 1];)
        c->size--;
    if (!tsri_freq_normalise(count + c->first, c->size, BITS, freq))
        tsri_bank_open(&bank, c->ctx, BITS, freq, &c->size, 1);
    return bank;
}

static size_t put_head(const coder *c, const uint16_t *freq, uint8_t *out)
{
    size_t n = 2;

    out[0] = (uint8_t)c->first;
    out[1] = (uint8_t)(c->size - 1);
    for (int i = 0; i < c->size; i++)
        n += tsri_put_varint(out + n, freq[i]);
    return n;
}

static size_t get_head(coder *c, const uint8_t *in, size_t size, uint16_t *freq)
{
    size_t n = 2;

    c->first = in[0];
    c->size = (uint16_t)(in[1] + 1);
    for (int i = 0; i < c->size; i++) {
        uint64_t f = 0;
        n += tsri_get_varint(in + n, size - n, &f);
        freq[i] = (uint16_t)f;
    }
    return n;
}

/* The table, then the segment. */
static size_t encode(void *arg, const uint8_t *sym, uint8_t *out)
{
    coder *c = arg;
    uint16_t freq[256];
    tsri_bank *own = own_bank(c, sym, freq);
    const size_t head = own ? put_head(c, freq, out) : 0;
    const uint8_t *data;
    size_t size = 0;

    for (size_t i = 0; i < ENTROPY_BLOCK; i++)
        c->sym[i] = (uint16_t)(sym[i] - c->first);
    if (own && !tsri_rans_put(c->enc, own, NULL, 0, c->sym, ENTROPY_BLOCK) &&
        !tsri_rans_finish(c->enc, 0, 32, &data, &size)) {
        memcpy(out + head, data, size);
        size += head;
    }
    tsri_bank_close(&own, c->ctx);
    return size;
}

static int decode(void *arg, const uint8_t *in, size_t size, uint8_t *sym)
{
    coder *c = arg;
    uint16_t freq[256];
    tsri_bank *own = NULL;
    const size_t head = get_head(c, in, size, freq);
    tsri_rans_dec dec;

    if (tsri_bank_open(&own, c->ctx, BITS, freq, &c->size, 1))
        return 0;
    tsr_error error = tsri_rans_dec_open(&dec, c->ctx, in + head, size - head, 0);
    if (!error)
        error = tsri_rans_get(&dec, own, NULL, 0, c->sym, ENTROPY_BLOCK);
    if (!error)
        error = tsri_rans_dec_end(&dec);
    for (size_t i = 0; i < ENTROPY_BLOCK; i++)
        sym[i] = (uint8_t)(c->sym[i] + c->first);
    tsri_bank_close(&own, c->ctx);
    return !error;
}

int main(void)
{
    static coder c;

    if (tsr_context_open(&c.ctx, NULL) || tsri_rans_enc_open(&c.enc, c.ctx))
        return 1;
    for (int i = 0; i < ENTROPY_SETS; i++)
        entropy_time(&entropy_sets[i], "tessera, a table in each block", &c,
                     encode, decode);
    tsri_rans_enc_close(&c.enc);
    tsr_context_close(&c.ctx);
    return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The C side of tests/golden (its README.md has the language of the
 * descriptions): encodes and decodes what a description says.  A file that
 * cannot be read ends the program. */
#ifndef TSR_TESTS_GOLDEN_H
#define TSR_TESTS_GOLDEN_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tessera/stream.h>
#include "entropy/bigtable.h"

enum { GOLDEN_BANKS = 8, GOLDEN_STEPS = 64, GOLDEN_ITEMS = 65536 };

/** One line of content. */
typedef struct golden_step {
    enum { GOLDEN_RUN, GOLDEN_BITS, GOLDEN_TOKENS } kind;
    int which;               /* bank or alphabet */
    size_t n;
    uint16_t *cls, *sym;     /* of a run */
    uint32_t *value;         /* of bits (cls: how many) and tokens */
} golden_step;

typedef struct golden {
    tsr_context *ctx;
    uint32_t check;
    int lanes, banks, alphabets, steps;
    tsri_bank *bank[GOLDEN_BANKS];
    tsri_bigtable *alphabet[GOLDEN_BANKS];
    golden_step step[GOLDEN_STEPS];
    uint8_t *out;            /* of a container */
    size_t out_bytes;
} golden;

static inline void golden_need(int condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "golden: %s\n", what);
    exit(99);
}

/** A whole file and a 0 behind it; free() it. */
static inline char *golden_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    char *text = malloc(1 << 20);
    golden_need(file && text, path);
    *size = fread(text, 1, (1 << 20) - 1, file);
    text[*size] = 0;
    fclose(file);
    return text;
}

/** What stands before the next `end`; *rest goes behind it, or to NULL. */
static inline char *golden_cut(char **rest, char end)
{
    char *word = *rest, *p = word ? strchr(word, end) : NULL;
    if (p)
        *p = 0;
    *rest = p ? p + 1 : NULL;
    return word;
}

/** The numbers after a key; a:b becomes two. */
static inline size_t golden_numbers(char *text, uint32_t *v)
{
    size_t n = 0;
    for (char *p = text; *p; n++) {
        golden_need(n < GOLDEN_ITEMS, "too many numbers");
        v[n] = (uint32_t)strtoul(p, &p, 10);
        p += strspn(p, " :");
    }
    return n;
}

/** A bank is a line `bank` and the lines `table` after it. */
static inline void golden_bank(golden *g, int bits, char **rest, uint32_t *v)
{
    static uint16_t freq[GOLDEN_ITEMS];
    uint16_t sizes[64];
    size_t all = 0, tables = 0;

    while (*rest && !strncmp(*rest, "table ", 6)) {
        char *line = golden_cut(rest, '\n');
        const size_t n = golden_numbers(line + 6, v);
        sizes[tables++] = (uint16_t)n;
        for (size_t i = 0; i < n; i++)
            freq[all++] = (uint16_t)v[i];
    }
    golden_need(!tsri_bank_open(&g->bank[g->banks++], g->ctx, bits, freq, sizes,
                                (int)tables), "a bank");
}

static inline void golden_alphabet(golden *g, const uint32_t *v, size_t n)
{
    golden_need(!tsri_bigtable_open(&g->alphabet[g->alphabets++], g->ctx, v, n),
                "an alphabet");
}

static inline void golden_zipf(golden *g, uint32_t n)
{
    uint32_t *freq = malloc(n * sizeof *freq);
    for (uint32_t i = 0; i < n; i++)
        freq[i] = (uint32_t)(1000000 / (1 + (uint64_t)i * 7919 % n));
    golden_alphabet(g, freq, n);
    free(freq);
}

/** A line of content: `kind` has `pair` numbers an item after `head` others. */
static inline void golden_content(golden *g, const char *key, const uint32_t *v,
                                  size_t n)
{
    golden_step *s = &g->step[g->steps++];
    const int mixed = !strcmp(key, "mixed"), bits = !strcmp(key, "bits");
    const size_t head = bits ? 0 : !strcmp(key, "run") ? 2 : 1;

    golden_need(g->steps <= GOLDEN_STEPS, "too many lines");
    s->kind = bits ? GOLDEN_BITS : !strcmp(key, "tokens") ? GOLDEN_TOKENS
                                                          : GOLDEN_RUN;
    s->which = bits ? 0 : (int)v[0];
    s->n = (n - head) / (mixed || bits ? 2 : 1);
    s->cls = calloc(s->n + 1, sizeof *s->cls);
    s->sym = calloc(s->n + 1, sizeof *s->sym);
    s->value = calloc(s->n + 1, sizeof *s->value);
    for (size_t i = 0; i < s->n; i++) {
        const uint32_t *item = v + head + (mixed || bits ? 2 * i : i);
        s->cls[i] = (uint16_t)(mixed ? item[0] : bits ? item[1] :
                               head == 2 ? v[1] : 0);
        s->sym[i] = (uint16_t)(mixed ? item[1] : item[0]);
        s->value[i] = item[0];
    }
}

static inline tsr_error golden_append(void *cookie, const void *data,
                                      size_t size)
{
    golden *g = cookie;
    g->out = realloc(g->out, g->out_bytes + size + 1);
    memcpy(g->out + g->out_bytes, data, size);
    g->out_bytes += size;
    return TSR_OK;
}

/** `chunk TYPE stream pts hexdigits`. */
static inline void golden_chunk(tsr_stream_writer *w, char *line)
{
    const char *type = golden_cut(&line, ' ');
    const int stream = atoi(golden_cut(&line, ' '));
    const uint64_t pts = strtoull(golden_cut(&line, ' '), NULL, 10);
    const char *hex = line ? line : "";
    const size_t n = strlen(hex) / 2;
    uint8_t *data = malloc(n + 1);

    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        golden_need(sscanf(hex + 2 * i, "%2x", &byte) == 1, "hexadecimal digits");
        data[i] = (uint8_t)byte;
    }
    golden_need(!tsr_stream_writer_chunk(w, TSR_FOURCC((uint8_t)type[0],
                    (uint8_t)type[1], (uint8_t)type[2], (uint8_t)type[3]),
                    stream, pts, data, n), "a chunk");
    free(data);
}

/** Writes the container of the remaining lines to g->out. */
static inline void golden_container(golden *g, int kind, char *rest)
{
    const tsr_sink sink = { g, golden_append };
    tsr_stream_writer *w;

    golden_need(!tsr_stream_writer_open(&w, g->ctx, &sink, kind), "a container");
    for (char *line; (line = golden_cut(&rest, '\n'));)
        if (!strncmp(line, "chunk ", 6))
            golden_chunk(w, line + 6);
    golden_need(!tsr_stream_writer_finish(w), "the end of a container");
    tsr_stream_writer_close(&w);
}

/** Cuts comments and the blanks before them. */
static inline void golden_strip(char *text)
{
    char *to = text;
    for (char *p = text; *p; p++) {
        if (*p == '#')
            p += strcspn(p, "\n");
        while (*p == '\n' && to > text && to[-1] == ' ')
            to--;
        *to++ = *p;
    }
    *to = 0;
}

static inline void golden_open(golden *g, tsr_context *ctx, const char *path)
{
    size_t size;
    char *text = golden_file(path, &size), *rest = text, *line;
    uint32_t *v = malloc(GOLDEN_ITEMS * sizeof *v);

    *g = (golden){ .ctx = ctx, .lanes = 1 };
    golden_strip(text);
    while ((line = golden_cut(&rest, '\n'))) {
        const char *key = golden_cut(&line, ' ');
        if (!strcmp(key, "kind")) {
            golden_container(g, atoi(line), rest);
            break;
        }
        const size_t n = line ? golden_numbers(line, v) : 0;
        if (!strcmp(key, "check"))
            g->check = v[0];
        else if (!strcmp(key, "lanes"))
            g->lanes = (int)v[0];
        else if (!strcmp(key, "bank"))
            golden_bank(g, (int)v[0], &rest, v);
        else if (!strcmp(key, "alphabet"))
            golden_alphabet(g, v, n);
        else if (!strcmp(key, "zipf"))
            golden_zipf(g, v[0]);
        else if (*key && strcmp(key, "segment"))
            golden_content(g, key, v, n);
    }
    free(v);
    free(text);
}

static inline void golden_close(golden *g)
{
    for (int i = 0; i < g->banks; i++)
        tsri_bank_close(&g->bank[i], g->ctx);
    for (int i = 0; i < g->alphabets; i++)
        tsri_bigtable_close(&g->alphabet[i], g->ctx);
    for (int i = 0; i < g->steps; i++) {
        free(g->step[i].cls);
        free(g->step[i].sym);
        free(g->step[i].value);
    }
    free(g->out);
}

/** The segment, into g->out. */
static inline void golden_encode(golden *g)
{
    tsri_rans_enc *enc;
    const uint8_t *data = NULL;
    size_t size = 0;
    tsr_error e = tsri_rans_enc_open(&enc, g->ctx);

    for (int k = 0; k < g->steps && !e; k++) {
        const golden_step *s = &g->step[k];
        if (s->kind == GOLDEN_RUN)
            e = tsri_rans_put(enc, g->bank[s->which], s->cls, 0, s->sym, s->n);
        else if (s->kind == GOLDEN_TOKENS)
            e = tsri_bigtable_put32(g->alphabet[s->which], enc, s->value, s->n);
        else
            for (size_t i = 0; i < s->n && !e; i++)
                e = tsri_rans_put_bits(enc, s->value[i], s->cls[i]);
    }
    if (!e)
        e = tsri_rans_finish(enc, g->check, g->lanes, &data, &size);
    golden_need(!e, "encoding");
    golden_append(g, data, size);
    tsri_rans_enc_close(&enc);
}

/** Decodes; *same tells whether it is what the description says. */
static inline tsr_error golden_decode(const golden *g, const uint8_t *data,
                                      size_t size, int *same)
{
    static uint16_t sym[GOLDEN_ITEMS];
    static uint32_t token[GOLDEN_ITEMS];
    tsri_rans_dec dec;
    tsr_error e = tsri_rans_dec_open(&dec, g->ctx, data, size, g->check);

    *same = 1;
    for (int k = 0; k < g->steps && !e; k++) {
        const golden_step *s = &g->step[k];
        if (s->kind == GOLDEN_RUN) {
            e = tsri_rans_get(&dec, g->bank[s->which], s->cls, 0, sym, s->n);
            *same &= e || !memcmp(sym, s->sym, 2 * s->n);
        } else if (s->kind == GOLDEN_TOKENS) {
            e = tsri_bigtable_get32(g->alphabet[s->which], &dec, token, s->n);
            *same &= e || !memcmp(token, s->value, 4 * s->n);
        } else {
            for (size_t i = 0; i < s->n; i++)
                *same &= tsri_rans_get_bits(&dec, s->cls[i]) == s->value[i];
        }
    }
    return e ? e : tsri_rans_dec_end(&dec);
}
#endif

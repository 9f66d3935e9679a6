/* SPDX-License-Identifier: BSD-2-Clause */
#include <inttypes.h>
#include <stdio.h>
#include "tools/chunks.h"
#include "tools/json.h"
#include "tools/say.h"
#include "tools/sound/sound.h"

enum { BAR = 30 };

/* All that is told of one file. */
typedef struct report {
    const char *name;
    tsr_audio_info i;
    double seconds;
    int here;               /* the model is on this machine */
    int checked;
    chunks found;           /* of --check */
} report;

static double kbits(const report *r, double bytes)
{
    return r->seconds > 0 ? 8e-3 * bytes / r->seconds : 0;
}

/* Of the bits that fixed codes take, the part that is not needed. */
static double saved(const report *r)
{
    return r->i.fixed_bits ? 1 - 8 * (double)r->i.token_bytes /
                             (double)r->i.fixed_bits : 0;
}

static void row(const report *r, const char *name, uint64_t bytes)
{
    const double part = r->i.file_bytes
        ? (double)bytes / (double)r->i.file_bytes : 0;
    const int bar = part > 1 ? BAR : (int)(part * BAR + 0.5);
    printf("  %-14s %10" PRIu64 "  %5.1f %%  %7.3f%s%.*s\n", name, bytes,
           100 * part, kbits(r, (double)bytes), bar ? "  " : "", bar,
           "##############################");
}

static void print_bytes(const report *r)
{
    char name[16];
    printf("  %-14s %10s  %7s  %7s\n", "part", "bytes", "share", "kbit/s");
    row(r, "header", r->i.header_bytes);
    if (!r->i.droppable)
        row(r, "codes", r->i.token_bytes);
    for (int b = 0; r->i.droppable && b < r->i.books; b++) {
        snprintf(name, sizeof name, "book %d", b + 1);
        row(r, name, r->i.book_bytes[b]);
    }
    printf("  %-14s %10" PRIu64 "           %7.3f\n", "file", r->i.file_bytes,
           kbits(r, (double)r->i.file_bytes));
}

static void print_check(const report *r)
{
    printf("check      %" PRIu64 " of %" PRIu64 " chunks are sound%s\n",
           r->found.sound, r->found.sound + r->found.lost,
           r->found.damage.truncated ? "; the end is missing" : "");
}

static void print_hash(const report *r)
{
    for (size_t b = 0; b < sizeof r->i.model_hash; b++)
        printf("%02x", r->i.model_hash[b]);
}

/* Codes a second of so many books. */
static double tokens_rate(const report *r, int books)
{
    return r->i.hop ? (double)books * r->i.groups * r->i.rate / r->i.hop : 0;
}

/* Bits that tell codewords apart. */
static int width(int codewords)
{
    int bits = 1;
    while (bits < 16 && 1 << bits < codewords)
        bits++;
    return bits;
}

/* What the codes of books first .. first + n - 1 take at fixed widths. */
static double token_kbits(const report *r, int first, int n)
{
    const int zero = first == 0 && n;
    return 1e-3 * tokens_rate(r, 1) * (zero * width(r->i.first_codewords) +
                                       (n - zero) * width(r->i.other_codewords));
}

const char *sound_book_sizes(const tsr_audio_info *i, char text[32])
{
    if (i->books == 1 || i->first_codewords == i->other_codewords)
        snprintf(text, 32, "%d", i->first_codewords);
    else
        snprintf(text, 32, "%d and %d", i->first_codewords, i->other_codewords);
    return text;
}

static void print_codes(const report *r)
{
    char text[32];

    printf("codec      %s, %d book%s of %s, %.4g frames a second%s\n",
           r->i.codec[0] ? r->i.codec : "unknown", r->i.books,
           r->i.books == 1 ? "" : "s", sound_book_sizes(&r->i, text),
           r->i.hop ? (double)r->i.rate / r->i.hop : 0,
           r->i.live ? ", live" : "");
    if (r->i.semantic_books)
        printf("tokens     semantic %.4g a second, %.4f kbit/s; acoustic %.4g a"
               " second, %.4f kbit/s, of fixed codes\n",
               tokens_rate(r, r->i.semantic_books),
               token_kbits(r, 0, r->i.semantic_books),
               tokens_rate(r, r->i.books - r->i.semantic_books),
               token_kbits(r, r->i.semantic_books,
                           r->i.books - r->i.semantic_books));
    printf("packets    %" PRIu64 ", %" PRIu64 " frame%s\n", r->i.packets,
           r->i.frames, r->i.frames == 1 ? "" : "s");
    printf("entropy    %s, %s %.1f %% of the %.4f kbit/s of fixed codes\n",
           sound_entropy_name(r->i.entropy),
           saved(r) < 0 ? "costs" : "saves",
           100 * (saved(r) < 0 ? -saved(r) : saved(r)),
           kbits(r, (double)r->i.fixed_bits / 8));
}

static void print_text(const report *r)
{
    printf("%s\n", r->name);
    printf("sound      %.3f s, %d Hz, %d channel%s", r->seconds, r->i.rate,
           r->i.channels, r->i.channels == 1 ? "" : "s");
    if (r->i.groups > 1)
        printf(" in %d groups", r->i.groups);
    printf("\nrate       %.3f kbit/s\n", kbits(r, (double)r->i.file_bytes));
    print_codes(r);
    printf("model      %s%s\nhash       ", r->i.model_name[0]
           ? r->i.model_name : "without a name",
           r->here ? "" : ", not on this machine");
    print_hash(r);
    printf("\n");
    if (r->checked)
        print_check(r);
    print_bytes(r);
}

static void print_json_bytes(const report *r)
{
    printf(", \"file_bytes\": %" PRIu64 ", \"header_bytes\": %" PRIu64
           ", \"token_bytes\": %" PRIu64 ", \"books_bytes\": [",
           r->i.file_bytes, r->i.header_bytes, r->i.token_bytes);
    for (int b = 0; r->i.droppable && b < r->i.books; b++)
        printf("%s%" PRIu64, b ? ", " : "", r->i.book_bytes[b]);
    printf("], \"bit_rate\": ");
    json_number(1e3 * kbits(r, (double)r->i.file_bytes), 3);
    printf(", \"fixed_bits\": %" PRIu64 ", \"saved\": ", r->i.fixed_bits);
    json_number(saved(r), 6);
}

static const char *truth(int value)
{
    return value ? "true" : "false";
}

static void print_json(const report *r)
{
    printf("{\"file\": ");
    json_string(r->name);
    printf(", \"duration\": ");
    json_number(r->seconds, 6);
    printf(", \"rate\": %d, \"channels\": %d, \"groups\": %d, \"samples\": %"
           PRIu64 ", \"codec\": ", r->i.rate, r->i.channels, r->i.groups,
           r->i.samples);
    json_string(r->i.codec);
    printf(", \"semantic_books\": %d", r->i.semantic_books);
    printf(", \"books\": %d, \"codewords\": %d, \"first_codewords\": %d, "
           "\"other_codewords\": %d, \"hop\": %d, \"frames\": %" PRIu64
           ", \"packets\": %" PRIu64 ", \"entropy\": ", r->i.books,
           r->i.codewords, r->i.first_codewords, r->i.other_codewords, r->i.hop,
           r->i.frames, r->i.packets);
    json_string(sound_entropy_name(r->i.entropy));
    printf(", \"live\": %s, \"droppable\": %s, \"model\": ",
           truth(r->i.live), truth(r->i.droppable));
    json_string(r->i.model_name);
    printf(", \"model_here\": %s, \"model_hash\": \"", truth(r->here));
    print_hash(r);
    printf("\"");
    print_json_bytes(r);
    if (r->checked)
        printf(", \"chunks_sound\": %" PRIu64 ", \"chunks_lost\": %" PRIu64
               ", \"truncated\": %s", r->found.sound, r->found.lost,
               truth(r->found.damage.truncated));
    printf(", \"damaged\": %s}\n", truth(r->i.damaged));
}

static int probe(tsr_context *ctx, const args *a, input *in, report *r)
{
    const tsr_source source = input_source(in);
    tsr_error error;
    int rc = a->check ? input_rewindable(in) : RC_OK;

    if (rc)
        return rc;
    error = tsr_audio_probe(ctx, &source, &r->i);
    if (error)
        return in->fault ? input_failed(in) : say_failure(in->name, error);
    if (r->i.rate > 0)
        r->seconds = (double)r->i.samples / r->i.rate;
    if (!a->check)
        return RC_OK;
    rc = input_rewind(in);
    if (!rc)
        rc = chunks_check(ctx, in, &r->found);
    r->checked = 1;
    r->i.damaged |= r->found.bad;
    return rc;
}

int sound_info(tsr_context *ctx, const args *a, input *in)
{
    report r = { .name = in->name };
    tsr_model *model = NULL;
    int rc = probe(ctx, a, in, &r);

    if (rc)
        return rc;
    r.here = !tsr_model_open_hash(&model, ctx, r.i.model_hash,
                                  sizeof r.i.model_hash);
    tsr_model_unref(&model);
    say_take_detail();
    if (a->json)
        print_json(&r);
    else
        print_text(&r);
    return r.i.damaged ? say_error(RC_INPUT, r.name, "is damaged") : RC_OK;
}

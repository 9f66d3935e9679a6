/* SPDX-License-Identifier: BSD-2-Clause */
/* How fast pictures or sounds in memory become streams in memory and come back:
 *
 *     gpu_speed [-option VALUE]... MODEL FILE...
 *
 * FILE: PPM pictures, or raw floats (mono, at the model's rate) for a model of
 * sound; all of one size.  One context and the model stay open.  A round codes
 * every file; what is printed, as one line of JSON, are seconds of the rounds.
 *
 * -device cpu  -precision auto|fp32|fp16|bf16  -threads 1: of the context
 * -batch 16,1  measures with so many files of a call, one after the other; 1
 *              takes the calls for a single one
 * -lanes 1     instead with so many threads, each with a context of its own and
 *              its share of the files
 * -seconds 1 -rounds 10   rounds go on until both are reached, 200 at most
 * -quality 50  of pictures; -books 0 -search -1 -entropy 0 -window -1: of sound
 * -save PREFIX writes what the first file became: PREFIX.stream, PREFIX.out
 *              (samples), PREFIX.codes (where the API gives them)
 *
 * Before the rounds everything is coded with all memory that the library takes
 * filled with a pattern; "differ" counts what came out otherwise in rounds. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include "bench/gpu_speed.h"

#define MEMORY (UINT64_C(8) << 30)  /* wide networks take more than the default */

enum { MAX_ROUNDS = 200, WARM = 4 };

static bool poison;     /* memory is filled with a pattern */
bool quiet;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double processor(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
        1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* ---- what the library is given ---- */

static void *take(void *cookie, size_t size, size_t align)
{
    void *memory = NULL;
    (void)cookie;
    if (posix_memalign(&memory, align < 64 ? 64 : align, size))
        return NULL;
    if (poison)
        memset(memory, 0xA5, size);
    return memory;
}

static void give(void *cookie, void *memory)
{
    (void)cookie;
    free(memory);
}

static void say(void *cookie, tsr_log_level level, const char *text)
{
    (void)cookie;
    if (level <= TSR_LOG_WARNING && !quiet)
        fprintf(stderr, "gpu_speed: %s\n", text);
}

/* ---- rounds ---- */

static bool equal(const bytes *a, const bytes *b)
{
    return a->size == b->size && !memcmp(a->data, b->data, a->size);
}

static void forget(lane *l, bool decode)
{
    for (int i = 0; i < l->b->count; i++) {
        item *it = &l->b->items[i];
        it->want.at = 0;
        if (!decode) {
            it->stream.size = 0;
            continue;
        }
        tsr_image_free(l->context, &it->back);
        it->heard.size = 0;
        if (it->heard.data)
            memset(it->heard.data, 0xA5, it->heard.room);
    }
}

/* Seconds of a round. */
static double round_of(lane *lanes, int n, bool decode)
{
    pthread_t thread[MAX_FILES];
    forget(lanes, decode);
    for (int i = 0; i < n; i++)
        lanes[i].decode = decode;
    const double start = now();
    for (int i = 1; i < n; i++)
        if (pthread_create(&thread[i], NULL, code_files, &lanes[i]))
            fail("thread", TSR_E_NOMEM);
    code_files(&lanes[0]);
    for (int i = 1; i < n; i++)
        pthread_join(thread[i], NULL);
    return now() - start;
}

/* The samples that came back, as bytes without gaps. */
static bytes samples_of(const item *it, bool audio)
{
    bytes b = { 0 };
    const tsr_image *im = &it->back;
    const size_t row = (size_t)im->width * (size_t)im->channels *
        (size_t)(im->bits / 8);
    if (audio)
        need("memory", append(&b, it->heard.data, it->heard.size));
    else
        for (int y = 0; y < im->height; y++)
            need("memory", append(&b, (uint8_t *)im->data +
                                  (size_t)y * im->stride, row));
    return b;
}

/* Keeps the first results, or counts the files whose results differ now. */
static int differing(bench *b, bool decode, bool keep)
{
    int differ = 0;
    for (int i = 0; i < b->count; i++) {
        item *it = &b->items[i];
        bytes got = { 0 }, *want = decode ? &it->want_back : &it->want;
        if (decode)
            got = samples_of(it, b->audio);
        else
            need("memory", append(&got, it->stream.data, it->stream.size));
        if (keep) {
            *want = got;
        } else {
            differ += !equal(&got, want);
            free(got.data);
        }
    }
    return differ;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* first: nothing has been coded yet. */
static void measure(lane *lanes, int n, bool decode, bool first)
{
    bench *b = lanes[0].b;
    double took[MAX_ROUNDS], sum = 0, used = 0;
    int rounds = 0, differ = 0;

    poison = true;
    round_of(lanes, n, decode);
    poison = false;
    differ += differing(b, decode, first);
    const double start = now();
    for (int i = 0; i < WARM && (i < 1 || now() - start < 2 * b->o.seconds); i++)
        round_of(lanes, n, decode);
    while (rounds < MAX_ROUNDS &&
           (rounds < b->o.rounds || sum < b->o.seconds)) {
        const double cpu = processor();
        took[rounds] = round_of(lanes, n, decode);
        used += processor() - cpu;
        sum += took[rounds++];
        differ += differing(b, decode, false);
    }
    qsort(took, (size_t)rounds, sizeof *took, ascending);
    printf("\"%s\": {\"median\": %.6g, \"least\": %.6g, \"p90\": %.6g, "
           "\"cpu\": %.6g, \"rounds\": %d, \"differ\": %d}%s",
           decode ? "decode" : "encode", took[rounds / 2], took[0],
           took[rounds * 9 / 10], used / rounds, rounds, differ,
           decode ? "}, " : ", ");
}

/* ---- the program ---- */

static int precision_of(const char *name)
{
    static const char *const names[] = { "auto", "fp32", "fp16", "bf16" };

    for (int i = 0; i < 4; i++)     /* in the order of enum tsr_precision */
        if (!strcmp(name, names[i]))
            return i;
    fail(name, TSR_E_ARG);
    return 0;
}

/* like: a lane whose model is taken, or NULL. */
static void open_lane(lane *l, bench *b, const lane *like)
{
    tsr_context_settings s;
    *l = (lane){ .b = b };
    tsr_context_settings_init(&s);
    s.threads = b->o.threads;
    s.logger.log = say;
    s.allocator.alloc = take;
    s.allocator.free = give;
    s.device = b->o.device;
    s.precision = precision_of(b->o.precision);
    s.max_memory = MEMORY;
    need("context", tsr_context_open(&l->context, &s));
    if (like)
        l->model = tsr_model_ref(like->model);
    else
        need(b->o.model, tsr_model_open(&l->model, l->context, b->o.model));
}

static bool is(const char *option, const char *name, const char *value,
               const char **text, int *whole, double *real)
{
    if (strcmp(option + 1, name))
        return false;
    if (text)
        *text = value;
    if (whole)
        *whole = atoi(value);
    if (real)
        *real = atof(value);
    return true;
}

/* Reads options, returns the index of the first argument behind them. */
static int read_options(options *o, int argc, char **argv)
{
    int i = 1;
    *o = (options){ .device = "cpu", .precision = "auto", .threads = 1,
                    .batches = "1", .rounds = 10, .seconds = 1, .quality = 50,
                    .search = -1, .window = -1 };
    for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        const char *a = argv[i], *v = argv[i + 1];
        if (!is(a, "device", v, &o->device, NULL, NULL) &&
            !is(a, "precision", v, &o->precision, NULL, NULL) &&
            !is(a, "save", v, &o->save, NULL, NULL) &&
            !is(a, "threads", v, NULL, &o->threads, NULL) &&
            !is(a, "batch", v, &o->batches, NULL, NULL) &&
            !is(a, "lanes", v, NULL, &o->lanes, NULL) &&
            !is(a, "rounds", v, NULL, &o->rounds, NULL) &&
            !is(a, "seconds", v, NULL, NULL, &o->seconds) &&
            !is(a, "quality", v, NULL, NULL, &o->quality) &&
            !is(a, "books", v, NULL, &o->books, NULL) &&
            !is(a, "search", v, NULL, &o->search, NULL) &&
            !is(a, "entropy", v, NULL, &o->entropy, NULL) &&
            !is(a, "window", v, NULL, NULL, &o->window))
            fail(a, TSR_E_ARG);
    }
    return i;
}

/* Measures with each number of the list; returns how many lanes were opened. */
static int measure_all(bench *b, lane *lanes)
{
    const char *list = b->o.batches;
    int open = 1;

    for (bool first = true; *list; first = false) {
        char *end;
        const long n = strtol(list, &end, 10);
        if (end == list || n < 1 || n > b->count || (*end && *end != ','))
            fail(b->o.batches, TSR_E_ARG);
        const int threads = b->o.lanes ? (int)n : 1;
        for (; open < threads; open++)
            open_lane(&lanes[open], b, &lanes[0]);
        for (int i = 0; i < threads; i++) {
            lanes[i].first = i;
            lanes[i].step = threads;
        }
        b->batch = b->o.lanes ? 1 : (int)n;
        printf("\"%ld\": {", n);
        measure(lanes, threads, false, first);
        measure(lanes, threads, true, first);
        list = *end ? end + 1 : end;
    }
    return open;
}

int main(int argc, char **argv)
{
    static bench b;
    static lane lanes[MAX_FILES];
    size_t total = 0;
    int at = read_options(&b.o, argc, argv), n;

    b.count = argc - at - 1;
    if (b.count < 1 || b.count > MAX_FILES || b.o.rounds < 1 ||
        b.o.rounds > MAX_ROUNDS) {
        fprintf(stderr, "gpu_speed [-option VALUE]... MODEL FILE...\n");
        return 2;
    }
    b.o.model = argv[at];
    open_lane(&lanes[0], &b, NULL);
    quiet = true;       /* the question may be answered by an error */
    b.audio = !tsr_audio_model_describe(lanes[0].context, lanes[0].model,
                                        &b.sound);
    quiet = false;
    for (int i = 0; i < b.count; i++)
        (b.audio ? read_sound : read_picture)(&b.items[i], argv[at + 1 + i]);
    printf("{");
    n = measure_all(&b, lanes);
    for (int i = 0; i < b.count; i++)
        total += b.items[i].want.size;
    printf("\"files\": %d, \"bytes\": %zu, \"db\": %.3f, \"device\": \"%s\"}\n",
           b.count, total, fidelity(&b),
           tsr_context_device(lanes[0].context));
    if (b.o.save)
        save(&lanes[0]);
    for (int i = 0; i < b.count; i++)
        tsr_image_free(lanes[0].context, &b.items[i].back);
    for (int i = 0; i < n; i++) {
        tsr_model_unref(&lanes[i].model);
        tsr_context_close(&lanes[i].context);
    }
    return 0;
}

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
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <tessera/audio.h>
#include <tessera/image.h>
#include <tessera/tokens.h>

#define MEMORY (UINT64_C(8) << 30)  /* wide networks take more than the default */

enum { MAX_FILES = 64, MAX_ROUNDS = 200, WARM = 4 };

typedef struct bytes {
    uint8_t *data;
    size_t size, room, at;  /* at: what a reader has taken */
} bytes;

/* One file: what it is, and what became of it. */
typedef struct item {
    tsr_image image;        /* of pictures */
    float *sound;           /* of sound, with its samples */
    size_t samples;
    bytes stream, want;     /* want: of the first time; it is what is decoded */
    tsr_image back;
    bytes heard;            /* floats */
    bytes want_back;
} item;

typedef struct options {
    const char *device, *precision, *save, *model, *batches;
    int threads, lanes, rounds, books, search, entropy;
    double seconds, quality, window;
} options;

typedef struct bench {
    options o;
    bool audio;
    int batch;              /* of the calls now; 1 with threads */
    tsr_audio_model_info sound;
    item items[MAX_FILES];
    int count;
} bench;

/* A context and the model, and the files it looks after. */
typedef struct lane {
    bench *b;
    tsr_context *context;
    tsr_model *model;
    int first, step;
    bool decode;
} lane;

static bool poison, quiet;

static void fail(const char *what, tsr_error error)
{
    fprintf(stderr, "gpu_speed: %s: %s\n", what,
            error ? tsr_error_string(error) : "failed");
    exit(1);
}

static void need(const char *what, tsr_error error)
{
    if (error)
        fail(what, error);
}

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

/* ---- memory ---- */

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

static tsr_error append(void *cookie, const void *data, size_t size)
{
    bytes *b = cookie;
    if (b->size + size > b->room) {
        b->room = 2 * (b->size + size);
        b->data = realloc(b->data, b->room);
        if (!b->data)
            return TSR_E_NOMEM;
    }
    memcpy(b->data + b->size, data, size);
    b->size += size;
    return TSR_OK;
}

static tsr_error read_bytes(void *cookie, void *data, size_t size, size_t *got)
{
    bytes *b = cookie;
    *got = size < b->size - b->at ? size : b->size - b->at;
    memcpy(data, b->data + b->at, *got);
    b->at += *got;
    return TSR_OK;
}

static bool equal(const bytes *a, const bytes *b)
{
    return a->size == b->size && !memcmp(a->data, b->data, a->size);
}

/* ---- files ---- */

static bytes whole_file(const char *path)
{
    bytes b = { 0 };
    uint8_t part[65536];
    size_t n;
    FILE *f = fopen(path, "rb");
    if (!f)
        fail(path, TSR_E_IO);
    while ((n = fread(part, 1, sizeof part, f)))
        need(path, append(&b, part, n));
    fclose(f);
    return b;
}

static void read_picture(item *it, const char *path)
{
    bytes b = whole_file(path);
    int used = 0;
    tsr_image *im = &it->image;
    need(path, append(&b, "", 1));
    if (sscanf((char *)b.data, "P6 %d %d 255%n", &im->width, &im->height,
               &used) != 2 || !used || im->width < 1 || im->height < 1)
        fail(path, TSR_E_FORMAT);
    im->channels = 3;
    im->bits = 8;
    im->stride = 3 * (size_t)im->width;
    im->data = b.data + used + 1;
    if (b.size - 2 - (size_t)used < im->stride * (size_t)im->height)
        fail(path, TSR_E_TRUNCATED);
}

static void read_sound(item *it, const char *path)
{
    bytes b = whole_file(path);
    it->sound = (float *)(void *)b.data;
    it->samples = b.size / sizeof(float);
    if (!it->samples)
        fail(path, TSR_E_TRUNCATED);
}

/* ---- one file ---- */

static tsr_error read_floats(void *cookie, float *samples, size_t n, size_t *got)
{
    bytes *b = cookie;      /* in floats: data of an item, size its samples */
    *got = n < b->size - b->at ? n : b->size - b->at;
    memcpy(samples, (float *)(void *)b->data + b->at, *got * sizeof *samples);
    b->at += *got;
    return TSR_OK;
}

static tsr_error begin(void *cookie, int rate, int channels)
{
    (void)cookie, (void)rate;
    return channels == 1 ? TSR_OK : TSR_E_UNSUPPORTED;
}

static tsr_error write_floats(void *cookie, const float *samples, size_t n)
{
    return append(cookie, samples, n * sizeof *samples);
}

static void image_settings(const bench *b, tsr_image_settings *s)
{
    tsr_image_settings_init(s);
    s->quality = b->o.quality;
}

static void audio_settings(const bench *b, tsr_audio_settings *s)
{
    tsr_audio_settings_init(s);
    s->books = b->o.books;
    s->search = b->o.search;
    s->entropy = b->o.entropy;
    s->window = b->o.window;
}

static void encode_one(lane *l, item *it)
{
    const tsr_sink sink = { &it->stream, append };
    if (l->b->audio) {
        bytes in = { (uint8_t *)it->sound, it->samples, 0, 0 };
        const tsr_audio_source source = { &in, read_floats, it->samples };
        tsr_audio_settings s;
        audio_settings(l->b, &s);
        need("encode", tsr_audio_encode(l->context, l->model, &s, &source,
                                        &sink));
    } else {
        tsr_image_settings s;
        image_settings(l->b, &s);
        need("encode", tsr_image_encode(l->context, l->model, &s, &it->image,
                                        &sink));
    }
}

static void decode_one(lane *l, item *it)
{
    const tsr_source source = { &it->want, read_bytes };
    if (l->b->audio) {
        const tsr_audio_sink sink = { &it->heard, begin, write_floats };
        need("decode", tsr_audio_decode(l->context, l->model, NULL, &source, 0,
                                        UINT64_MAX, &sink));
    } else {
        need("decode", tsr_image_decode(l->context, l->model, NULL, &source,
                                        &it->back));
    }
}

/* ---- all files ---- */

static void encode_sounds(lane *l, item *it, int n)
{
    tsr_audio_source sounds[MAX_FILES];
    tsr_sink sinks[MAX_FILES] = { 0 };
    bytes in[MAX_FILES];
    tsr_audio_settings s;

    audio_settings(l->b, &s);
    for (int i = 0; i < n; i++) {
        in[i] = (bytes){ (uint8_t *)it[i].sound, it[i].samples, 0, 0 };
        sounds[i] = (tsr_audio_source){ &in[i], read_floats, it[i].samples };
        sinks[i] = (tsr_sink){ &it[i].stream, append };
    }
    need("encode", tsr_audio_encode_batch(l->context, l->model, &s, (size_t)n,
                                          sounds, sinks, NULL));
}

static void decode_sounds(lane *l, item *it, int n)
{
    tsr_source sources[MAX_FILES] = { 0 };
    tsr_audio_sink sinks[MAX_FILES];

    for (int i = 0; i < n; i++) {
        sources[i] = (tsr_source){ &it[i].want, read_bytes };
        sinks[i] = (tsr_audio_sink){ &it[i].heard, begin, write_floats };
    }
    need("decode", tsr_audio_decode_batch(l->context, l->model, NULL, (size_t)n,
                                          sources, sinks, NULL));
}

static void encode_pictures(lane *l, item *it, int n)
{
    tsr_image images[MAX_FILES];
    tsr_sink sinks[MAX_FILES] = { 0 };
    tsr_image_settings s;

    image_settings(l->b, &s);
    for (int i = 0; i < n; i++) {
        images[i] = it[i].image;
        sinks[i] = (tsr_sink){ &it[i].stream, append };
    }
    need("encode", tsr_image_encode_batch(l->context, l->model, &s, (size_t)n,
                                          images, sinks, NULL));
}

static void decode_pictures(lane *l, item *it, int n)
{
    tsr_image images[MAX_FILES];
    tsr_source sources[MAX_FILES] = { 0 };

    for (int i = 0; i < n; i++)
        sources[i] = (tsr_source){ &it[i].want, read_bytes };
    need("decode", tsr_image_decode_batch(l->context, l->model, NULL, (size_t)n,
                                          sources, images, NULL));
    for (int i = 0; i < n; i++)
        it[i].back = images[i];
}

static void code_several(lane *l, item *it, int n)
{
    if (l->b->audio)
        (l->decode ? decode_sounds : encode_sounds)(l, it, n);
    else
        (l->decode ? decode_pictures : encode_pictures)(l, it, n);
}

static void *work(void *cookie)
{
    lane *l = cookie;
    const int batch = l->b->batch;

    for (int i = 0; batch > 1 && i < l->b->count; i += batch) {
        const int n = batch < l->b->count - i ? batch : l->b->count - i;
        code_several(l, &l->b->items[i], n);
    }
    if (batch > 1)
        return NULL;
    for (int i = l->first; i < l->b->count; i += l->step)
        (l->decode ? decode_one : encode_one)(l, &l->b->items[i]);
    return NULL;
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
        if (pthread_create(&thread[i], NULL, work, &lanes[i]))
            fail("thread", TSR_E_NOMEM);
    work(&lanes[0]);
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

/* ---- what it was ---- */

/* Mean over the files of the signal-to-noise ratio, for pictures to 255. */
static double fidelity(const bench *b)
{
    double sum = 0;
    for (int i = 0; i < b->count; i++) {
        const item *it = &b->items[i];
        const float *heard = (const float *)(void *)it->want_back.data;
        double error = 0, power = 0;
        size_t n = it->want_back.size;
        if (b->audio) {
            n = it->samples;
            if (it->want_back.size != n * sizeof(float))
                fail("another length came back", 0);
        }
        for (size_t t = 0; t < n; t++) {
            const double x = b->audio ? it->sound[t]
                                      : ((uint8_t *)it->image.data)[t];
            const double y = b->audio ? heard[t] : it->want_back.data[t];
            error += (x - y) * (x - y);
            power += b->audio ? x * x : 255.0 * 255.0;
        }
        sum += 10 * log10(power / error);
    }
    return sum / b->count;
}

static void write_file(const char *prefix, const char *end, const void *data,
                       size_t size)
{
    char path[4096];
    snprintf(path, sizeof path, "%s.%s", prefix, end);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f))
        fail(path, TSR_E_IO);
}

/* Codes of the first sound, [frames][books] as uint16_t. */
static void save_sound_codes(lane *l)
{
    const item *it = &l->b->items[0];
    const int books = l->b->o.books ? l->b->o.books : l->b->sound.books;
    const size_t room = it->samples / (size_t)l->b->sound.hop + 2;
    uint16_t *codes = malloc(room * (size_t)books * sizeof *codes);
    size_t frames = 0, got = 0;
    tsr_audio_encoder *encoder;
    tsr_audio_settings s;
    tsr_error error = TSR_OK;

    audio_settings(l->b, &s);
    s.books = books;
    need("codes", tsr_audio_encoder_open(&encoder, l->context, l->model, &s));
    need("codes", tsr_audio_encoder_push(encoder, it->sound, it->samples));
    need("codes", tsr_audio_encoder_finish(encoder));
    while (codes && frames < room && !error) {
        error = tsr_audio_encoder_pull_codes(
            encoder, codes + frames * (size_t)books, room - frames, &got);
        frames += error ? 0 : got;
    }
    if (error && error != TSR_E_EOF)
        fail("codes", error);
    tsr_audio_encoder_close(&encoder);
    write_file(l->b->o.save, "codes", codes,
               frames * (size_t)books * sizeof *codes);
    free(codes);
}

static void save(lane *l)
{
    item *it = &l->b->items[0];
    const tsr_source source = { &it->want, read_bytes };
    tsr_tokens_model about;
    tsr_tokens t;

    quiet = true;       /* the next question may be answered by an error */
    const bool tokens = !tsr_tokens_describe(l->context, l->model, &about);
    quiet = false;
    write_file(l->b->o.save, "stream", it->want.data, it->want.size);
    write_file(l->b->o.save, "out", it->want_back.data, it->want_back.size);
    if (l->b->audio) {
        save_sound_codes(l);
    } else if (tokens) {
        it->want.at = 0;
        need("tokens", tsr_tokens_read(l->context, l->model, &source, &t, NULL,
                                       NULL));
        write_file(l->b->o.save, "codes", t.id, (size_t)t.height *
                   (size_t)t.width * sizeof *t.id);
        tsr_tokens_free(l->context, &t);
    }
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

/* SPDX-License-Identifier: BSD-2-Clause */
/* What stands between whoever makes inputs and a target: contexts, files, and the
 * twin of a run, the same input once more with memory that runs out.
 *
 * A target need not expect that: its first FUZZ_CHECK() that does not hold after
 * an allocation failed ends the twin, and its blocks are freed.  What the twin
 * looks for is a library that crashes; or, where the target comes to its end all
 * the same, one that still holds memory. */
#include "tests/fuzz/fuzz.h"
#include <setjmp.h>
#include <unistd.h>
#undef malloc
#undef calloc
#undef realloc
#undef aligned_alloc
#undef free

enum { BLOCKS = 1 << 14 };

static struct {
    bool on;                /* this run is a twin */
    bool rich;              /* nothing fails for now */
    bool failed;            /* an allocation did */
    unsigned seen;          /* allocations of the library so far */
    unsigned at;            /* the one that fails, from 1 */
    bool for_ever;          /* and all later ones */
    void *block[BLOCKS];
    int blocks;
    tsr_context *context[2];
    jmp_buf end;
} twin;

/* ---- memory ---- */

static void *keep(void *memory)
{
    if (twin.on && memory) {
        if (twin.blocks == BLOCKS) {
            free(memory);
            return NULL;
        }
        twin.block[twin.blocks++] = memory;
    }
    return memory;
}

static void drop(const void *memory)
{
    for (int i = twin.blocks - 1; i >= 0; i--)
        if (twin.block[i] == memory) {
            twin.block[i] = twin.block[--twin.blocks];
            return;
        }
}

void *fuzz_aligned_alloc(size_t align, size_t size)
{
    return keep(aligned_alloc(align, size));
}

void *fuzz_malloc(size_t size)
{
    return keep(malloc(size));
}

void *fuzz_calloc(size_t n, size_t size)
{
    return keep(calloc(n, size));
}

void *fuzz_realloc(void *memory, size_t size)
{
    if (memory)
        drop(memory);
    return keep(realloc(memory, size));
}

void fuzz_free(void *memory)
{
    drop(memory);
    free(memory);
}

static void *library_alloc(void *cookie, size_t size, size_t align)
{
    (void)cookie;
    const size_t rounded = (size + align - 1) / align * align;
    if (!twin.rich) {
        twin.seen++;
        if (twin.on && (twin.seen == twin.at ||
                        (twin.for_ever && twin.seen > twin.at))) {
            twin.failed = true;
            return NULL;
        }
    }
    return rounded < size ? NULL : fuzz_aligned_alloc(align, rounded);
}

static void library_free(void *cookie, void *memory)
{
    (void)cookie;
    fuzz_free(memory);
}

/* ---- what targets ask for ---- */

void fuzz_failed(const char *file, int line, const char *condition)
{
    if (twin.failed)
        longjmp(twin.end, 1);
    fprintf(stderr, "%s:%d: %s\n", file, line, condition);
    abort();
}

tsr_context *fuzz_context(bool plain)
{
    static tsr_context *lasting[2];
    tsr_context **all = twin.on ? twin.context : lasting;
    tsr_context_settings s;

    if (!all[plain]) {
        tsr_context_settings_init(&s);
        s.allocator = (tsr_allocator){ NULL, library_alloc, library_free };
        s.backend = "c";
        s.max_pixels = FUZZ_PIXELS;
        s.max_memory = FUZZ_MEMORY;
        twin.rich = true;
        FUZZ_CHECK(!tsr_context_open(&all[plain], &s));
        twin.rich = false;
        if (plain)
            all[plain]->cpu = 0;
    }
    return all[plain];
}

const char *fuzz_file(const char *ending, const void *data, size_t size)
{
    static char path[64];

    snprintf(path, sizeof path, "./fuzz_%ld%s", (long)getpid(), ending);
    FILE *file = fopen(path, "wb");
    if (!file || (size && fwrite(data, 1, size, file) != size) || fclose(file)) {
        perror(path);
        abort();
    }
    return path;
}

/* ---- runs ---- */

/* The same input while allocation `at` fails. */
static void run_twin(const uint8_t *data, size_t size, unsigned at, bool for_ever)
{
    twin.on = true;
    twin.failed = false;
    twin.seen = 0;
    twin.at = at;
    twin.for_ever = for_ever;
    if (!setjmp(twin.end)) {
        fuzz_target(data, size);
        for (int i = 0; i < 2; i++)
            tsr_context_close(&twin.context[i]);
        twin.failed = false;    /* what is wrong now is wrong */
        FUZZ_CHECK(!twin.blocks);
    }
    while (twin.blocks)
        free(twin.block[--twin.blocks]);
    twin.context[0] = twin.context[1] = NULL;
    twin.on = twin.rich = twin.failed = false;
}

void fuzz_run(const uint8_t *data, size_t size, int twins)
{
    uint32_t hash = 2166136261;

    twin.seen = 0;
    fuzz_target(data, size);
    const unsigned n = twin.seen;
    for (size_t i = 0; i < size && twins; i++)
        hash = (hash ^ data[i]) * 16777619;
    for (int i = 0; i < twins && n; i++, hash = hash * 747796405 + 2891336453)
        run_twin(data, size, 1 + (hash >> 8) % n, hash >> 7 & 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int twins = -1;

    if (twins < 0)
        twins = getenv("FUZZ_TWIN") != NULL;
    fuzz_run(data, size, twins);
    return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Vectors of published codecs in tests/vectors: their files, their tolerances,
 * their models. */
#ifndef TSR_TESTS_VECTOR_H
#define TSR_TESTS_VECTOR_H
#include <math.h>
#include <unistd.h>
#include "tests/tensors.h"
#include <tessera/model.h>
#include "lib/nn/seq.h"

/** A file's path below the source tree; one buffer, overwritten. */
static inline const char *vector_file(const char *vector, const char *file)
{
    static char path[512];
    snprintf(path, sizeof path, "tests/vectors/%s/%s", vector, file);
    return path;
}

/** A whole file and a 0 behind it; free() it. */
static inline char *vector_text(const char *vector, const char *file)
{
    size_t size;
    char *text = (char *)check_file(vector_file(vector, file), &size);
    text = realloc(text, size + 1);
    assert_non_null(text);
    text[size] = 0;
    return text;
}

static inline bool vector_has(const char *vector, const char *array)
{
    char file[160];
    snprintf(file, sizeof file, "%s.npy", array);
    return access(check_path(vector_file(vector, file)), R_OK) == 0;
}

/** Array `name`; free() its data. */
__attribute__((format(printf, 2, 3)))
static inline check_npy vector_array(const char *vector, const char *name, ...)
{
    char base[96], file[160];
    va_list args;
    va_start(args, name);
    vsnprintf(base, sizeof base, name, args);
    va_end(args);
    snprintf(file, sizeof file, "%s.npy", base);
    return check_npy_read(vector_file(vector, file));
}

/** What the vector allows for an array: 10 times the reference's own rounding
 *  error, and 1e-6 of the largest value. */
static inline double vector_tolerance(const char *meta, const char *name,
                                      const check_npy *a)
{
    const char *table = strstr(meta, "\"float32_vs_float64\":");
    char key[96];
    double top = 0;

    assert_non_null(table);
    for (size_t i = 0; i < a->count; i++)
        top = fmax(top, fabs(((float *)a->data)[i]));
    snprintf(key, sizeof key, "\"%s\": ", name);
    const char *at = strstr(table, key);
    assert_non_null(at);
    return fmax(10 * strtod(at + strlen(key), NULL), 1e-6 * top);
}

/** Copies what the vector stores into the generated list. */
static inline void vector_stored(tsr_context *ctx, const char *vector,
                                 check_tensors *list)
{
    tsr_model *stored;
    if (access(check_path(vector_file(vector, "weights_stored.safetensors")),
               R_OK))
        return;
    assert_int_equal(tsr_model_open(&stored, ctx, check_path(vector_file(
                                        vector, "weights_stored.safetensors"))),
                     TSR_OK);
    for (size_t i = 0; i < tsr_model_tensor_count(stored); i++) {
        const tsr_tensor *from = tsr_model_tensor_at(stored, i);
        check_tensor *to = check_tensors_find(list, from->name);
        assert_int_equal(to->bytes, from->bytes);
        memcpy(to->data, from->data, to->bytes);
    }
    tsr_model_unref(&stored);
}

/** Makes the weights of a vector by its weights_spec.json, and checks them.
 *  finish: makes those that follow from others, or NULL. */
static inline check_tensors vector_weights(tsr_context *ctx, const char *vector,
                                           void (*finish)(check_tensors *))
{
    check_tensors list = { NULL, 0 };
    char hex[65], want[65];

    char *spec = vector_text(vector, "weights_spec.json");
    check_text(spec, "sha256", want, sizeof want);
    const uint64_t seed = (uint64_t)check_field(spec, "seed", 0);
    for (char *line = strchr(spec, '\n'); line && line[1] == '{';
         line = strchr(line + 1, '\n')) {
        char *end = strchr(line + 1, '\n');
        if (end)
            *end = 0;
        check_generate(&list, seed, line + 1);
        if (end)
            *end = '\n';
    }
    vector_stored(ctx, vector, &list);
    if (finish)
        finish(&list);
    check_digest(&list, hex);
    assert_string_equal(hex, want);
    free(spec);
    return list;
}
/* ---- vectors of sound ---- */

/** One vector on one set of kernels. */
typedef struct vector_bench {
    const char *name;
    char *meta;             /**< text of meta.json */
    tsr_context *ctx;
    tsr_model *model;
    int compared;           /**< arrays */
} vector_bench;

static inline void vector_close(vector_bench *b)
{
    tsr_model_unref(&b->model);
    tsr_context_close(&b->ctx);
    free(b->meta);
}

/** Turns a stored array [1][channels][n] into rows of time; free() them. */
static inline float *vector_rows(const check_npy *a)
{
    const size_t n = a->shape[a->rank - 1], c = a->count / n;
    float *x = malloc((a->count + 1) * sizeof *x);

    assert_non_null(x);
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < c; i++)
            x[t * c + i] = ((float *)a->data)[i * n + t];
    return x;
}

/** Compares rows of time with a stored array. */
static inline void vector_compare(vector_bench *b, const float *x, size_t n,
                                  const char *name)
{
    check_npy want = vector_array(b->name, "%s", name);
    float *y = vector_rows(&want);
    double worst = 0;

    assert_int_equal(n, want.shape[want.rank - 1]);
    for (size_t i = 0; i < want.count; i++)
        worst = fmax(worst, fabs((double)x[i] - (double)y[i]));
    const double allowed = vector_tolerance(b->meta, name, &want);
    if (!(worst <= allowed))
        fail_msg("%s %s: off by %g, allowed %g", b->name, name, worst, allowed);
    b->compared++;
    free(y);
    free(want.data);
}

/** All outputs of a net for n samples; free() them. */
static inline float *vector_run(vector_bench *b, const tsri_seq *seq,
                                const float *x, size_t n, size_t *out)
{
    tsri_seq_stream *stream;

    assert_int_equal(tsri_seq_open(&stream, seq, b->ctx, false), TSR_OK);
    assert_int_equal(tsri_seq_push(stream, x, n, true, true), TSR_OK);
    *out = tsri_seq_ready(stream);
    assert_int_equal(*out, tsri_seq_out_length(seq, n));
    float *y = malloc((*out * (size_t)tsri_seq_out_channels(seq) + 1) *
                      sizeof *y);
    assert_non_null(y);
    assert_int_equal(tsri_seq_take(stream, y, *out), *out);
    tsri_seq_close(&stream);
    return y;
}
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TSR_BENCH_GPU_SPEED_H
#define TSR_BENCH_GPU_SPEED_H
#include <stdbool.h>
#include <stdint.h>
#include <tessera/audio.h>
#include <tessera/image.h>

enum { MAX_FILES = 64 };

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

/* Warnings of the library are not printed. */
extern bool quiet;

/* Both end the program, need() where there is an error. */
void fail(const char *what, tsr_error error);
void need(const char *what, tsr_error error);

/* A tsr_sink and a tsr_source of bytes. */
tsr_error append(void *cookie, const void *data, size_t size);
tsr_error read_bytes(void *cookie, void *data, size_t size, size_t *got);

void read_picture(item *it, const char *path);
void read_sound(item *it, const char *path);

void audio_settings(const bench *b, tsr_audio_settings *s);
/* Codes the files of a lane; NULL.  For a thread. */
void *code_files(void *lane);

/* Mean over the files of the signal-to-noise ratio in dB, for pictures to 255. */
double fidelity(const bench *b);
/* Writes what became of the first file. */
void save(lane *l);
#endif

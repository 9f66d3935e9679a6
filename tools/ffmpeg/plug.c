/* SPDX-License-Identifier: BSD-2-Clause */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/ffmpeg/plug.h"

enum { LINE_BYTES = 1024, MAX_THREADS = 256 };

typedef struct shared shared;
struct shared {
    shared *next;
    tsr_model *model;
    int holders;
    char name[];
};

static pthread_mutex_t process_lock = PTHREAD_MUTEX_INITIALIZER;
static tsr_context *process_context;
static shared *models;
static char reason[LINE_BYTES];     /* what the library said last */

void plug_lock(void)
{
    pthread_mutex_lock(&process_lock);
    reason[0] = 0;
}

void plug_unlock(void)
{
    pthread_mutex_unlock(&process_lock);
}

const char *plug_reason(tsr_error error)
{
    return *reason ? reason : tsr_error_string(error);
}

/* One write for the whole line: other threads and the host write there too. */
static void say(const char *format, va_list args)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static char last[LINE_BYTES];
    char line[LINE_BYTES];

    vsnprintf(line, sizeof line, format, args);
    pthread_mutex_lock(&lock);
    /* Hosts that rebuild their filters fail again and again the same way. */
    if (strcmp(line, last)) {
        fprintf(stderr, "tessera: %s\n", line);
        memcpy(last, line, sizeof last);
    }
    pthread_mutex_unlock(&lock);
}

__attribute__((format(printf, 1, 2)))
static void say_line(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
}

void plug_say_once(int *place, const char *format, ...)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    va_list args;
    int said;

    pthread_mutex_lock(&lock);
    said = *place;
    *place = 1;
    pthread_mutex_unlock(&lock);
    if (said)
        return;
    va_start(args, format);
    say(format, args);
    va_end(args);
}

/* ---- the context ---- */

static void take_message(void *cookie, tsr_log_level level, const char *message)
{
    if (level <= TSR_LOG_WARNING)
        snprintf(cookie, LINE_BYTES, "%s", message);
}

static int threads_wanted(void)
{
    static int said;
    const char *text = getenv("TESSERA_THREADS");
    char *end;
    long n;

    if (!text || !*text)
        return 0;
    n = strtol(text, &end, 10);
    if (!*end && n >= 0 && n <= MAX_THREADS)
        return (int)n;
    plug_say_once(&said, "TESSERA_THREADS: '%s' is not 0..%d; using all "
                  "processors", text, MAX_THREADS);
    return 0;
}

static tsr_error open_context(tsr_context **context, int threads, char *message)
{
    tsr_context_settings settings;

    tsr_context_settings_init(&settings);
    settings.threads = threads;
    settings.logger = (tsr_logger){ message, take_message };
    return tsr_context_open(context, &settings);
}

tsr_context *plug_context(void)
{
    return process_context;
}

/* ---- models ---- */

static shared *find(const char *name)
{
    shared *s = models;
    while (s && strcmp(s->name, name))
        s = s->next;
    return s;
}

static tsr_error add(const char *name)
{
    const size_t n = strlen(name) + 1;
    shared *s = malloc(sizeof *s + n);
    tsr_error error = s ? TSR_OK : TSR_E_NOMEM;

    if (!error && !process_context)
        error = open_context(&process_context, threads_wanted(), reason);
    if (!error)
        error = tsr_model_open(&s->model, process_context, name);
    if (error) {
        free(s);
        return error;
    }
    memcpy(s->name, name, n);
    s->holders = 0;
    s->next = models;
    models = s;
    return TSR_OK;
}

tsr_model *plug_model(const char *name)
{
    tsr_error error = TSR_OK;
    shared *s;

    plug_lock();
    s = find(name);
    if (!s && !(error = add(name)))
        s = models;
    if (s)
        s->holders++;
    else
        say_line("%s: %s", name, plug_reason(error));
    if (!models)
        tsr_context_close(&process_context);
    plug_unlock();
    return s ? s->model : NULL;
}

void plug_model_unref(tsr_model **model)
{
    shared **at = &models, *s;

    if (!model || !*model)
        return;
    plug_lock();
    while (*at && (*at)->model != *model)
        at = &(*at)->next;
    s = *at;
    if (s && !--s->holders) {
        *at = s->next;
        tsr_model_unref(&s->model);
        free(s);
    }
    /* Its threads run code that the host may be about to unload. */
    if (!models)
        tsr_context_close(&process_context);
    plug_unlock();
    *model = NULL;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line: one table of options per command, from which both the
 * parser and the help text are made.  Spellings are ffmpeg's; the long GNU
 * forms are names of the same option. */
#ifndef TOOLS_ARGS_H
#define TOOLS_ARGS_H
#include <stddef.h>

enum { ARGS_MAX_FILES = 4096, ARGS_MAX_LIST = 16 };

/** The values of an option that may be given many times. */
typedef struct args_list {
    const char *item[ARGS_MAX_LIST];
    int n;
} args_list;

/** Everything an option can set; each command reads its part. */
typedef struct args {
    const char *in, *out;
    args_list inputs;   /**< of commands that take many; else in */
    const char *model, *codec, *format;
    const char *codec_v, *codec_a;  /**< of pictures, of sound; else codec */
    const char *backend, *cpuflags, *progress, *loglevel;
    const char *device, *precision;
    double quality;     /**< below 0: not given */
    int threads;
    double max_pixels;
    double max_memory;  /**< bytes; 0, the default, is the library's */
    int yes, no, nostdin, stats, nostats, hide_banner;
    int container, noalpha;
    int interleave;     /**< of codes; 0: not given */
    int json, check;
    const char *tensor, *codes;
    const char *profile, *method, *layout, *dims, *dtype, *rope;
    const char *stats_file, *metric;
    const char *layer_range, *token_range;
    double step, value_ratio, pos0, base_step;
    int predict, match, anchor, join, plain, hadamard;
    int heads, levels, level, sinks, recent, boost, tile, chunk, no_ids;
    int k, seed, iterations, batch, random;
    const char *sizes;  /**< of codebooks: "4096,1024" */
    const char *find, *part;                /**< of tokens */
    double threshold;                       /**< 0: not given */
    double tolerance;
    double bitrate, packet, window;         /**< of sound; 0: not given */
    double start, length, until;            /**< seconds; 0: not given */
    int books, live, droppable, rate, channels;
    int search;                 /**< -compression_level; -1: not given */
    const char *entropy, *sample_format;
    args_list map;
    int no_video, no_audio;
    int frames;                             /**< -frames:v; 0: not given */
    const char *size, *frame_rate, *pixel_format;
    const char *arch, *name, *licence;      /**< of import */
    int half, dry_run;
    const char *token_file, *ca_file, *endpoint, *region;   /**< of stores */
    double timeout;                         /**< seconds; 0: not given */
    int retries;                            /**< below 0: not given */
    double capacity, max_object;            /**< bytes; 0: not given */
    int connections;                        /**< 0: not given */
    const char *listen, *store, *cert, *key;                /**< of serve */
    int per_ip, open;
    double upload_memory;                   /**< bytes; 0: not given */
    double grace;                           /**< seconds; below 0: not given */
    int all, long_list;                     /**< of ls, rm */
    /** What these and -f were before the input was named: it is of that form. */
    struct { const char *format, *size, *frame_rate, *pixel_format; } of_input;
    const char *ids, *policy, *cache;       /**< of push and pull */
    double deadline;
    int floor, ceiling, replace;
    int help;
    const char **file;  /**< what is no option; points into argv */
    int files;
} args;

typedef enum opt_kind {
    OPT_FLAG, OPT_TEXT, OPT_INT, OPT_NUMBER,
    OPT_LIST,           /**< a text for an args_list */
    OPT_SCALED,         /**< a number with k, M, G or T behind it, or nothing */
    OPT_TIME            /**< seconds: 90, 90s, 1:30, 0:01:30.5, 500ms */
} opt_kind;

typedef struct opt {
    const char *names;  /**< as the help shows them: "-q --quality"; one dash
                             or two is the same; NULL ends a table */
    const char *value;  /**< how the help calls the value, or all that it can
                             be: "auto|c"; NULL for a flag */
    const char *help;
    opt_kind kind;
    size_t offset;      /**< of the field in args */
    double min, max;    /**< of a number */
} opt;

enum { CMD_MAX_TABLES = 9 };

typedef struct command {
    const char *name;
    const char *summary;  /**< one line */
    const char *synopsis; /**< what follows the name: "[options] [-i] IN" */
    const char *verbs;    /**< words that can follow the name; may be NULL */
    const char *takes;    /**< endings of its files, "tess mov"; NULL: any */
    const char *usage;    /**< examples, one a line, indented */
    const char *notes;    /**< after the options; may be NULL */
    const opt *tables[CMD_MAX_TABLES + 1]; /**< NULL ends them */
    int sides;            /**< 1: -f -s -r -pix_fmt before the input are of the
                               input, after it of the output */
    int (*run)(args *a);  /**< returns an exit status */
} command;

/** Options that several commands share. */
extern const opt args_output_options[]; /**< -o -y -n -stats -progress ... */
extern const opt args_engine_options[]; /**< -threads -backend ... */
extern const opt args_common_options[]; /**< -v -hide_banner -h */

/** Sets the defaults, then reads argv[0..argc-1] by the command's tables.
 *  Returns an exit status; has said what was wrong. */
int args_parse(args *a, const command *cmd, int argc, char **argv);

/** The first of the names in *at, without its dashes, into `name`; moves *at
 *  behind it.  0 when there are no more. */
enum { ARGS_NAME_SIZE = 32 };
int args_next_name(const char **at, char name[ARGS_NAME_SIZE]);

/** Of the names, the one most like `word`, or NULL if none is near.  `next`
 *  yields the names one after the other, then NULL. */
const char *args_nearest(const char *word, const char *(*next)(void *cookie),
                         void *cookie);

/** The option of a command that has the name `word`, without dashes, or NULL;
 *  and the name that is most like it, or NULL. */
const opt *args_find(const command *cmd, const char *word);
const char *args_near(const command *cmd, const char *word);
int args_has_name(const char *names, const char *word);

/** Seconds, of a time as ffmpeg spells them; NAN: `text` is none. */
double args_time(const char *text);

/** "-" and "pipe:" mean standard input or output. */
int args_is_pipe(const char *path);
#endif

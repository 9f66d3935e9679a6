/* SPDX-License-Identifier: BSD-2-Clause */
/* What is behind tools/media/in.h: readers of one kind of input each.  They
 * give all there is at the rate, size and number of channels of the file; in.c
 * cuts, scales, mixes and resamples. */
#ifndef TOOLS_MEDIA_READER_H
#define TOOLS_MEDIA_READER_H
#include "tools/media/in.h"

typedef struct media_reader media_reader;

enum { STILL_NO, STILL_YES, STILL_PERHAPS };

struct media_reader {
    /** Next item: frames count their time from the start of the file, sound in
     *  samples of the file's own rate.  Returns an exit status, has said what
     *  was wrong. */
    int (*next)(media_reader *r, media_in_item *item, int *end);
    /** To a second or more before `seconds`, where that can be done; NULL: it
     *  cannot. */
    void (*seek)(media_reader *r, double seconds);
    /** After the last item: says what was odd, without saying it twice. */
    void (*warn)(media_reader *r);
    void (*close)(media_reader *r);
    media_in_info info; /**< of the file; `still` as above */
    uint64_t faults;
};

/** What a reader is opened with. */
typedef struct media_setup {
    tsr_context *ctx;
    const args *a;
    input *in;
    media_in_want want;
} media_setup;

/** Each returns an exit status, has said what was wrong, and leaves *r NULL
 *  then. */
int media_open_picture(media_reader **r, const media_setup *s);
int media_open_wav(media_reader **r, const media_setup *s);
int media_open_y4m(media_reader **r, const media_setup *s);
int media_open_raw(media_reader **r, const media_setup *s);
int media_open_av(media_reader **r, const media_setup *s);

/** Whether the build has libav. */
int media_has_av(void);

/** The size that -s names.  Returns an exit status; has said what was wrong. */
int media_size(const char *text, int *width, int *height);

/** The rate that -r names, 25/1 for NULL; as above. */
int media_rate(const char *text, uint32_t *num, uint32_t *den);
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#include "tools/media/choose.h"
#include "tools/media/map.h"
#include "tools/say.h"

static int list(const packets_in *p, media_stream *streams)
{
    const int n = packets_in_streams(p);
    for (int i = 0; i < n; i++)
        streams[i] = (media_stream){
            packets_in_stream(p, i)->type == TSR_MEDIA_VIDEO ? 'v' : 'a', 0
        };
    return n;
}

static int left_out(const args *a, char kind)
{
    return kind == 'v' ? a->no_video : a->no_audio;
}

int choose_streams(const args *a, const input *in, const packets_in *p,
                   int as[TSR_MEDIA_MAX_STREAMS])
{
    media_stream streams[TSR_MEDIA_MAX_STREAMS];
    const int n = list(p, streams);
    int taken = 0;
    const int rc = media_map_all(a, streams, n, as);

    if (rc)
        return rc;
    for (int i = 0; i < n; i++) {
        as[i] = as[i] && !left_out(a, streams[i].kind) ? 0 : -1;
        taken += !as[i];
    }
    return taken ? RC_OK : say_error(RC_USAGE, in->name, "no stream is left");
}

static int first_of(const args *a, const media_stream *streams, int n, char kind)
{
    for (int i = 0; i < n && !left_out(a, kind); i++)
        if (streams[i].kind == kind)
            return i;
    return -1;
}

int choose_pair(const args *a, const input *in, const packets_in *p, int *video,
                int *audio)
{
    media_stream streams[TSR_MEDIA_MAX_STREAMS];
    const int n = list(p, streams);
    media_choice choice = { first_of(a, streams, n, 'v'),
                            first_of(a, streams, n, 'a') };
    const int rc = media_map(a, in->name, streams, n, &choice);

    if (rc)
        return rc;
    *video = a->no_video ? -1 : choice.video;
    *audio = a->no_audio ? -1 : choice.audio;
    return *video >= 0 || *audio >= 0 ? RC_OK
        : say_error(RC_USAGE, in->name, "no stream is left");
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* What the controller's reports (control.c), its picture of the link
 * (control_rate.c) and its policies (control_policy.c) share. */
#ifndef TSR_NET_CONTROL_IMPL_H
#define TSR_NET_CONTROL_IMPL_H
#include <tessera/kv_control.h>

enum { TSRI_LEVELS = 3, TSRI_SAMPLES = 8 };

/** What is known of the link. */
typedef struct tsri_link {
    double seconds[TSRI_SAMPLES];   /**< of the last requests, latest first */
    double bytes[TSRI_SAMPLES];     /**< and their bytes */
    double shared[TSRI_SAMPLES];    /**< and how many were under way meanwhile */
    int samples;
    int busy;                       /**< requests under way */
    double area, time;              /**< integral of busy over time, and to when */
    double prior;                   /**< bytes a second before any sample; or 0 */
} tsri_link;

/** Counts requests: +1 when one begins, -1 when one has ended. */
void tsri_link_busy(tsri_link *link, double now, int change);
/** A request that began when `area` was that, at `given`. */
void tsri_link_sample(tsri_link *link, double given, double area, double begin,
                      double end, uint64_t bytes);
/** Seconds a byte of the whole link and seconds of waiting a request.  0: nothing
 *  is known. */
double tsri_link_pace(const tsri_link *link, double *latency);

typedef enum tsri_fate {
    TSRI_OPEN,              /**< is fetched */
    TSRI_REMAKE,            /**< is to be recomputed */
    TSRI_REMAKING,
    TSRI_REMADE,
    TSRI_LOST
} tsri_fate;

/** One chunk. */
typedef struct tsri_part {
    uint64_t bytes[TSRI_LEVELS];
    uint16_t got[TSRI_LEVELS];      /**< layers, from the first on */
    uint8_t known;                  /**< bytes are */
    uint8_t fate;
    uint8_t ended;                  /**< nothing finer is asked for */
    uint8_t busy;                   /**< a request is under way: */
    uint8_t first_level, last_level;
    uint16_t layers;                /**< from got[first_level] on */
    uint64_t asked, came;           /**< its bytes as believed, and so far */
    uint64_t received;              /**< the control's then */
    double given, area;             /**< tsri_link's then */
    int older, newer;               /**< requests under way; -1: none */
} tsri_part;

typedef struct tsri_policy tsri_policy;

struct tsr_kv_control {
    tsr_kv_control_settings set;
    const tsri_policy *policy;
    tsri_part *part;
    double *recompute;
    tsri_link link;
    int oldest, newest;             /**< requests under way, as given out */
    uint64_t under_way;             /**< their bytes that have not come */
    uint64_t received;              /**< bytes so far */
    int watched;                    /**< progress is reported */
    uint64_t known_sum[TSRI_LEVELS];/**< over the chunks known */
    int known;
    uint64_t due_known;             /**< the floor's bytes not yet asked for, of */
    int due_unknown;                /**< chunks known; and how many are not */
    int front;                      /**< chunks before it are there or lost */
    int down, up;                   /**< where to look for floors next */
    int finer[TSRI_LEVELS];         /**< and for chunks to refine, going down */
    int remaking;                   /**< that chunk, or -1 */
    int remakes;                    /**< chunks that wait for that */
    int remade, lost;
    double decode[TSRI_LEVELS];     /**< seconds a chunk up to that level, all
                                         layers; 0: not seen */
    int undecoded;                  /**< fetches not reported as decoded */
    int done;
};

struct tsri_policy {
    const char *name;
    tsr_kv_step (*next)(tsr_kv_control *control, double now, int room);
};

/** NULL outside. */
const tsri_policy *tsri_policy_at(int i);

/** Bytes of the levels first..last, guessed where they are not known. */
uint64_t tsri_part_bytes(const tsr_kv_control *control, int chunk, int first,
                         int last);
int tsri_part_has_floor(const tsr_kv_control *control, int chunk);
/** Its floor is to be fetched and not under way. */
int tsri_part_due(const tsr_kv_control *control, int chunk);
/** Sets the fate and keeps the sums in step. */
void tsri_part_fate(tsr_kv_control *control, int chunk, tsri_fate fate);

/** Gives out a request for the levels first..last of `layers` layers, from the
 *  first on that is not there. */
tsr_kv_step tsri_give_fetch(tsr_kv_control *control, double now, int chunk,
                            int first, int last, int layers);
/** Drops a fetch of it that is under way. */
tsr_kv_step tsri_give_recompute(tsr_kv_control *control, double now, int chunk);

/** Seconds until all floors are fetched and decoded; 0 where nothing is known. */
double tsri_floor_time(const tsr_kv_control *control, double now);
/** When `slack` times that will be beyond the deadline, and it will be longer than
 *  `least`, if nothing comes until then; HUGE_VAL: never. */
double tsri_stall_time(const tsr_kv_control *control, double slack,
                       double least);
/** Seconds until what is under way and `bytes` more, up to that level, are
 *  fetched and decoded. */
double tsri_more_time(const tsr_kv_control *control, double now, uint64_t bytes,
                      int level);
#endif

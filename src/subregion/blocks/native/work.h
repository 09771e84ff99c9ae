/* Windows of one grid that are being read, by any number of threads at once: fetched, decoded, copied. */
#ifndef SUBREGION_WORK_H
#define SUBREGION_WORK_H

#include "plan.h"

#include <stdint.h>

typedef struct {
    sr_grid *grid;
    sr_window *windows;
    int64_t count;
    int64_t limit; /* decoded bytes that others keep; 0: they keep none */
    sr_plan plan;
    uint8_t *done; /* of each group: whether all that is wanted of its block was copied */
    int64_t next;  /* the share that no thread has begun */
    int64_t share; /* groups that a thread takes at once */
    int mapped, cold;
} sr_work;

/* Plan the windows for so many threads; returns 0 if there is no memory. */
int sr_work_begin(sr_work *work, int64_t threads);
void sr_work_free(sr_work *work);

/* How many threads can have a part of it. */
int64_t sr_work_shares(const sr_work *work);
/* Whether some of it would be left because it was decoded not long ago. */
int sr_work_is_late(const sr_work *work);
/* Do what no other thread has begun, until all of it is done. */
void sr_work_run(sr_work *work, sr_scratch *scratch);

#endif

/* Which blocks windows want: each once, with all who want a part of it, in the order of the file. */
#ifndef SUBREGION_PLAN_H
#define SUBREGION_PLAN_H

#include "grid.h"

#include <stdint.h>

/* One block that one window wants. */
typedef struct {
    int64_t offset; /* in the file */
    int64_t number; /* of the block */
    int64_t window;
} sr_piece;

typedef struct {
    sr_piece *pieces;
    int64_t count, room;
    int64_t *groups; /* where the pieces of each block begin, and the end */
    int64_t group_count;
} sr_plan;

/* Plan windows of a grid; returns 0 if there is no memory. What was made is to be freed all the same. */
int sr_plan_make(sr_plan *plan, const sr_grid *grid, const sr_window *windows, int64_t count);
void sr_plan_free(sr_plan *plan);

/* The first piece of a group. */
static inline const sr_piece *sr_first_of(const sr_plan *plan, int64_t group)
{
    return &plan->pieces[plan->groups[group]];
}

#endif

#include "plan.h"

#include <stdlib.h>

static int make_room(sr_plan *plan)
{
    const int64_t room = 2 * plan->room + 16;
    sr_piece *pieces = realloc(plan->pieces, (size_t)room * sizeof(sr_piece));
    if (!pieces)
        return 0;
    plan->pieces = pieces;
    plan->room = room;
    return 1;
}

/* Add the blocks that a window wants; returns 0 if there is no memory. */
static int add(sr_plan *plan, const sr_grid *grid, const sr_window *window, int64_t place)
{
    const int64_t first_row = window->row / grid->block_rows, first_col = window->col / grid->block_cols;
    const int64_t last_row = (window->row + window->height - 1) / grid->block_rows;
    const int64_t last_col = (window->col + window->width - 1) / grid->block_cols;
    for (int64_t plane = 0; plane < grid->planes; plane++) {
        if (grid->planes > 1 && !sr_wants_plane(grid, window, plane))
            continue;
        for (int64_t row = first_row; row <= last_row; row++) {
            if (!sr_touches(window->row, window->height, window->row_step, row, grid->block_rows))
                continue;
            for (int64_t col = first_col; col <= last_col; col++) {
                if (!sr_touches(window->col, window->width, window->col_step, col, grid->block_cols))
                    continue;
                if (plan->count == plan->room && !make_room(plan))
                    return 0;
                const int64_t number = (plane * grid->rows + row) * grid->cols + col;
                plan->pieces[plan->count++] = (sr_piece){grid->offsets[number], number, place};
            }
        }
    }
    return 1;
}

static int in_order(const void *one, const void *other)
{
    const sr_piece *a = one, *b = other;
    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return a->window < b->window ? -1 : a->window > b->window;
}

/* Bring pieces into the order of the file, and together those of one block. */
static int group(sr_plan *plan, const sr_grid *grid, int64_t windows)
{
    const int apart = grid->codec.compressor == SR_RAW; /* nothing is decoded that could be shared */
    plan->groups = malloc((size_t)(plan->count + 1) * sizeof(int64_t));
    if (!plan->groups)
        return 0;
    if (windows > 1 && !apart)
        qsort(plan->pieces, (size_t)plan->count, sizeof(sr_piece), in_order);
    for (int64_t place = 0; place < plan->count; place++)
        if (place == 0 || apart || plan->pieces[place].number != plan->pieces[place - 1].number)
            plan->groups[plan->group_count++] = place;
    plan->groups[plan->group_count] = plan->count;
    return 1;
}

int sr_plan_make(sr_plan *plan, const sr_grid *grid, const sr_window *windows, int64_t count)
{
    for (int64_t place = 0; place < count; place++)
        if (!add(plan, grid, &windows[place], place))
            return 0;
    return group(plan, grid, count);
}

void sr_plan_free(sr_plan *plan)
{
    free(plan->pieces);
    free(plan->groups);
    *plan = (sr_plan){0};
}

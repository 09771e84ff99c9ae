#include "work.h"

#include <stdlib.h>

/* After so many looks that found bytes in memory, only one question in so many is answered by a look. */
#define WARM 8
/* Decoded bytes that a thread takes at once, at most, where several share the work. */
#define RUN_NBYTES (800 << 10)
/* Pieces of work that a thread gets at least, so that all end at about the same time. */
#define SHARES 8
/* Bytes of a block as it lies that are announced in one call, at most; of a larger one, only rows that are wanted. */
#define ANNOUNCED (1 << 20)

/* Decoded bytes so far, in this process: a clock by which blocks are told to have been decoded lately. */
static int64_t decoded_so_far;

/* Whether blocks are to be taken from the map, which is made where it pays. */
static int can_map(sr_grid *grid)
{
    if (!grid->mappable || grid->map.spoiled)
        return 0;
    if (grid->map.base)
        return 1;
    if (grid->unmapped > 0) {
        grid->unmapped--;
        return 0;
    }
    if (sr_next(&grid->mapping) != 0) /* another thread does it */
        return 0;
    if (!sr_map_open(&grid->map, grid->descriptor, grid->size)) {
        grid->mappable = 0;
        return 0;
    }
    return 1;
}

/* Whether bytes have to come from the disk; it is looked at now and then only. */
static int is_cold(sr_grid *grid, int64_t offset)
{
    grid->looks++;
    if (grid->warm >= WARM && grid->looks % WARM)
        return 0;
    if (sr_is_cold(grid->descriptor, offset)) {
        grid->warm = 0;
        return 1;
    }
    grid->warm++;
    return 0;
}

int sr_work_begin(sr_work *work, int64_t threads)
{
    sr_grid *grid = work->grid;
    sr_plan *plan = &work->plan;
    if (!sr_plan_make(plan, grid, work->windows, work->count))
        return 0;
    work->done = calloc((size_t)plan->group_count + 1, 1);
    if (!work->done)
        return 0;
    work->mapped = can_map(grid);
    if (plan->count)
        work->cold = is_cold(grid, plan->pieces[0].offset);
    if (threads > 1) {
        const int64_t fitting = RUN_NBYTES / sr_most(1, grid->codec.nbytes);
        work->share = sr_most(1, sr_least(fitting, plan->group_count / (SHARES * threads)));
    } else {
        work->share = plan->group_count + 1;
    }
    return 1;
}

void sr_work_free(sr_work *work)
{
    sr_plan_free(&work->plan);
    free(work->done);
    work->done = NULL;
}

int64_t sr_work_shares(const sr_work *work)
{
    return (work->plan.group_count + work->share - 1) / work->share;
}

/* Whether so little was decoded since then that what could be kept would still be there. */
static int is_late(int64_t before, int64_t now, int64_t limit)
{
    return before != 0 && now - before <= limit / 2;
}

int sr_work_is_late(const sr_work *work)
{
    const sr_grid *grid = work->grid;
    if (!grid->keeps || !work->limit)
        return 0;
    for (int64_t group = 0; group < work->plan.group_count; group++) {
        const int64_t number = sr_first_of(&work->plan, group)->number;
        if (grid->nbytes[number] &&
            is_late(grid->seen[number], decoded_so_far + grid->codec.nbytes, work->limit))
            return 1;
    }
    return 0;
}

/* The same of one block that is about to be decoded, which is noted. */
static int was_late(const sr_work *work, int64_t number)
{
    const int64_t now = sr_add(&decoded_so_far, work->grid->codec.nbytes);
    const int64_t before = work->grid->seen[number];
    work->grid->seen[number] = now;
    return is_late(before, now, work->limit);
}

/* Tell the disk of a block; of one that lies as it is, of the rows that are wanted. */
static void announce(const sr_work *work, int64_t group)
{
    const sr_grid *grid = work->grid;
    const sr_piece *piece = sr_first_of(&work->plan, group);
    const int64_t nbytes = grid->nbytes[piece->number];
    if (nbytes <= 0 || piece->offset > grid->size - nbytes)
        return; /* of no bytes the disk would be told that it is all up to the end of the file */
    if (grid->codec.compressor != SR_RAW || nbytes <= ANNOUNCED) {
        sr_announce(grid->descriptor, piece->offset, nbytes);
        return;
    }
    const sr_window *window = &work->windows[piece->window];
    const sr_part part = sr_part_of(grid, window, piece->number);
    for (int64_t row = 0; row < part.rows; row++)
        sr_announce(grid->descriptor,
                    piece->offset + grid->start + (part.inner_row + row * window->row_step) * grid->strides.row +
                        part.inner_col * grid->strides.col,
                    ((part.cols - 1) * window->col_step + 1) * grid->strides.col);
}

/* The stored bytes of a block, from the map or the file; NULL if they cannot be had. */
static const uint8_t *fetch(const sr_grid *grid, sr_scratch *scratch, int64_t offset, int64_t count, int mapped)
{
    if (mapped)
        return grid->map.base + offset;
    if (grid->codec.compressor == SR_RAW && grid->codec.predictor == 1)
        return NULL; /* only some of it is wanted */
    if (!sr_reserve(&scratch->stored, &scratch->stored_size, count))
        return NULL;
    return sr_read(grid->descriptor, offset, count, scratch->stored) ? scratch->stored : NULL;
}

/* Compare a block with its checksum, once; returns 0 if it is another. */
static int verify(const sr_grid *grid, int64_t number, const uint8_t *stored, int64_t count)
{
    if (!grid->verified || grid->verified[number])
        return 1;
    if (sr_crc32c(stored, (size_t)count) != (grid->sums ? grid->sums[number] : SR_CRC32C_RESIDUE))
        return 0;
    grid->verified[number] = 1;
    return 1;
}

/* Which bytes of a decoded block a group wants; returns how many it must have. */
static int64_t extent(const sr_work *work, int64_t group, int64_t *begin, int64_t *end)
{
    const sr_grid *grid = work->grid;
    const sr_plan *plan = &work->plan;
    const int64_t number = sr_first_of(plan, group)->number, row_nbytes = grid->codec.row_nbytes;
    int64_t top = grid->block_rows, bottom = 0;
    *begin = 0;
    *end = grid->codec.nbytes;
    if (row_nbytes == 0)
        return grid->codec.nbytes;
    for (int64_t place = plan->groups[group]; place < plan->groups[group + 1]; place++) {
        const sr_window *window = &work->windows[plan->pieces[place].window];
        const sr_part part = sr_part_of(grid, window, number);
        top = sr_least(top, part.inner_row);
        bottom = sr_most(bottom, part.inner_row + (part.rows - 1) * window->row_step + 1);
    }
    *begin = top * row_nbytes;
    *end = bottom * row_nbytes;
    return number / grid->cols % grid->rows == grid->rows - 1 ? grid->last_rows * row_nbytes : grid->codec.nbytes;
}

/* Do all that is wanted of one block; returns 0 if it is left to others. */
static int carry_out(sr_work *work, int64_t group, sr_scratch *scratch, int mapped)
{
    const sr_grid *grid = work->grid;
    const sr_plan *plan = &work->plan;
    const int64_t first = plan->groups[group], stop = plan->groups[group + 1];
    const int64_t number = plan->pieces[first].number;
    const int64_t offset = grid->offsets[number], count = grid->nbytes[number];
    if (count == 0) {
        for (int64_t place = first; place < stop; place++)
            sr_fill_part(grid, &work->windows[plan->pieces[place].window], number);
        return 1;
    }
    if (offset < 0 || count < 0 || offset > grid->size - count)
        return 0;
    if (grid->keeps && work->limit && was_late(work, number))
        return 0;
    const uint8_t *stored = fetch(grid, scratch, offset, count, mapped), *decoded;
    if (!stored || !verify(grid, number, stored, count))
        return 0;
    int64_t begin, end;
    const int64_t needed = extent(work, group, &begin, &end);
    if (!sr_decode(&grid->codec, scratch, stored, count, needed, begin, end, &decoded))
        return 0;
    for (int64_t place = first; place < stop; place++)
        sr_copy_part(grid, &work->windows[plan->pieces[place].window], number, decoded + grid->start);
    return 1;
}

void sr_work_run(sr_work *work, sr_scratch *scratch)
{
    const int guarded = work->mapped ? sr_guard_enter(&work->grid->map) : -1;
    for (;;) {
        const int64_t first = sr_next(&work->next) * work->share;
        if (first >= work->plan.group_count)
            break;
        const int64_t stop = sr_least(first + work->share, work->plan.group_count);
        for (int64_t group = first; work->cold && group < stop; group++)
            announce(work, group);
        for (int64_t group = first; group < stop; group++)
            work->done[group] = (uint8_t)carry_out(work, group, scratch, guarded >= 0);
    }
    sr_guard_leave(guarded);
}

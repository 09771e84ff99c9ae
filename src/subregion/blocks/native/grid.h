/* One level as a grid of blocks, windows of it, and which pixels of a block go where in which window. */
#ifndef SUBREGION_GRID_H
#define SUBREGION_GRID_H

#include "copy.h"
#include "decode.h"
#include "guard.h"

#include <stdint.h>

/* Bytes of the largest sample. */
#define SR_SAMPLE 64

/* Where the blocks of a level lie, what is done to them, and what was found out about them. */
typedef struct {
    int descriptor;
    int mappable; /* whether blocks may be taken from a map */
    int keeps;    /* whether blocks that are wanted again soon are left to others, who keep them */
    int64_t size; /* of the file */
    int64_t height, width;
    const int64_t *offsets;
    const int64_t *nbytes; /* 0: never written */
    const uint32_t *sums;  /* CRC-32C of each; NULL: none */
    int64_t planes, rows, cols;
    int64_t block_rows, block_cols;
    int64_t samples;   /* of a pixel that a plane holds */
    int64_t last_rows; /* that the lowest blocks must hold */
    int64_t start;     /* where the first sample of a decoded block lies */
    sr_codec codec;
    sr_strides strides; /* of a decoded block */
    uint8_t fill[SR_SAMPLE];
    uint8_t *verified; /* which blocks were compared with their checksums; NULL: none are */
    int64_t *seen;     /* when each was decoded; see work.c */
    sr_map map;
    int64_t unmapped; /* reads to go before it is worth a map */
    int64_t mapping;  /* threads that came to make it */
    int64_t looks, warm;
} sr_grid;

/* One window of a level that is wanted, and where its pixels go. */
typedef struct {
    int64_t row, col, height, width, row_step, col_step;
    uint8_t *out;
    sr_strides strides;
    int32_t bands;
    int32_t *chosen; /* which; NULL: all, in order */
} sr_window;

/* The part of one block that a window wants: its first pixel in the block and in the result. */
typedef struct {
    int64_t inner_row, inner_col, outer_row, outer_col, rows, cols;
} sr_part;

static inline int64_t sr_least(int64_t one, int64_t other)
{
    return one < other ? one : other;
}

static inline int64_t sr_most(int64_t one, int64_t other)
{
    return one > other ? one : other;
}

/* How many steps it takes to get so far, rounded up. */
static inline int64_t sr_up(int64_t number, int64_t step)
{
    return number > 0 ? (number + step - 1) / step : 0;
}

/* Whether a level agrees with itself, and whether a window lies inside of it and its output has so many rows and
 * columns, and a place for each of its bands. Nothing looks again afterwards. */
int sr_grid_fits(const sr_grid *grid);
int sr_window_fits(const sr_grid *grid, const sr_window *window, int64_t rows, int64_t cols);
int sr_bands_fit(const sr_grid *grid, const sr_window *window);

/* Whether any pixel of an interval, of which each `step`-th is taken, lies in a block. */
static inline int sr_touches(int64_t start, int64_t length, int64_t step, int64_t block, int64_t size)
{
    return step == 1 || sr_up(block * size - start, step) * step < sr_least(length, (block + 1) * size - start);
}

/* Whether a window wants samples of a plane. */
int sr_wants_plane(const sr_grid *grid, const sr_window *window, int64_t plane);

/* Which part of a block a window wants, which it touches. */
sr_part sr_part_of(const sr_grid *grid, const sr_window *window, int64_t number);
/* Copy it from a decoded block, whose first sample is given. */
void sr_copy_part(const sr_grid *grid, const sr_window *window, int64_t number, const uint8_t *decoded);
/* The same of a block that was never written. */
void sr_fill_part(const sr_grid *grid, const sr_window *window, int64_t number);

#endif

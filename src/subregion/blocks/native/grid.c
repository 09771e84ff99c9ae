#include "grid.h"

int sr_grid_fits(const sr_grid *grid)
{
    if (grid->height > grid->rows * grid->block_rows || grid->width > grid->cols * grid->block_cols)
        return 0;
    if (grid->samples < 1 || grid->block_rows < 1 || grid->block_cols < 1)
        return 0;
    return grid->start + (grid->block_rows - 1) * grid->strides.row + (grid->block_cols - 1) * grid->strides.col +
               (grid->samples - 1) * grid->strides.sample + grid->codec.itemsize <=
           grid->codec.nbytes;
}

int sr_window_fits(const sr_grid *grid, const sr_window *window, int64_t rows, int64_t cols)
{
    if (window->row < 0 || window->col < 0 || window->height < 1 || window->width < 1)
        return 0;
    if (window->height > grid->height - window->row || window->width > grid->width - window->col)
        return 0;
    return window->row_step > 0 && window->col_step > 0 && rows == sr_up(window->height, window->row_step) &&
           cols == sr_up(window->width, window->col_step);
}

int sr_bands_fit(const sr_grid *grid, const sr_window *window)
{
    const int64_t all = grid->planes * grid->samples;
    if (!window->chosen) /* the last of several planes may hold fewer samples than the others */
        return window->bands == all || (grid->planes > 1 && window->bands < all);
    for (int32_t k = 0; k < window->bands; k++)
        if (window->chosen[k] < 0 || window->chosen[k] >= all)
            return 0;
    return 1;
}

static int64_t band_of(const sr_window *window, int32_t k)
{
    return window->chosen ? window->chosen[k] : k;
}

int sr_wants_plane(const sr_grid *grid, const sr_window *window, int64_t plane)
{
    for (int32_t k = 0; k < window->bands; k++)
        if (band_of(window, k) / grid->samples == plane)
            return 1;
    return 0;
}

/* The first pixel of a block that is taken, where it goes, and how many there are. */
static void overlap(int64_t start, int64_t length, int64_t step, int64_t block, int64_t size, int64_t *inner,
                    int64_t *outer, int64_t *count)
{
    const int64_t first = sr_up(block * size - start, step);
    const int64_t stop = sr_up(sr_least(length, (block + 1) * size - start), step);
    *inner = start + first * step - block * size;
    *outer = first;
    *count = stop - first;
}

sr_part sr_part_of(const sr_grid *grid, const sr_window *window, int64_t number)
{
    sr_part part;
    overlap(window->row, window->height, window->row_step, number / grid->cols % grid->rows, grid->block_rows,
            &part.inner_row, &part.outer_row, &part.rows);
    overlap(window->col, window->width, window->col_step, number % grid->cols, grid->block_cols, &part.inner_col,
            &part.outer_col, &part.cols);
    return part;
}

static uint8_t *place_of(const sr_window *window, const sr_part *part)
{
    return window->out + part->outer_row * window->strides.row + part->outer_col * window->strides.col;
}

void sr_copy_part(const sr_grid *grid, const sr_window *window, int64_t number, const uint8_t *decoded)
{
    const int swapped = grid->codec.predictor == 1 ? grid->codec.swapped : 0; /* a predictor had to do it */
    const sr_part part = sr_part_of(grid, window, number);
    uint8_t *to = place_of(window, &part);
    sr_strides here = grid->strides;
    decoded += part.inner_row * here.row + part.inner_col * here.col;
    here.row *= window->row_step;
    here.col *= window->col_step;
    if (grid->planes == 1) {
        sr_copy(decoded, here, to, window->strides, part.rows, part.cols, window->bands, window->chosen,
                grid->codec.itemsize, swapped);
        return;
    }
    const int64_t plane = number / (grid->rows * grid->cols);
    for (int32_t k = 0; k < window->bands; k++) {
        const int64_t band = band_of(window, k);
        if (band / grid->samples == plane)
            sr_copy(decoded + band % grid->samples * here.sample, here, to + k * window->strides.sample,
                    window->strides, part.rows, part.cols, 1, NULL, grid->codec.itemsize, swapped);
    }
}

void sr_fill_part(const sr_grid *grid, const sr_window *window, int64_t number)
{
    const sr_part part = sr_part_of(grid, window, number);
    const int64_t plane = number / (grid->rows * grid->cols);
    uint8_t *to = place_of(window, &part);
    for (int32_t k = 0; k < window->bands; k++)
        if (grid->planes == 1 || band_of(window, k) / grid->samples == plane)
            sr_fill(grid->fill, to + k * window->strides.sample, window->strides, part.rows, part.cols, 1,
                    grid->codec.itemsize);
}

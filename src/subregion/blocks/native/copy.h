/* Rectangles of samples, from a block into a result: any strides, steps and choice of bands. */
#ifndef SUBREGION_COPY_H
#define SUBREGION_COPY_H

#include <stdint.h>

/* Bytes from one row, column and sample to the next. */
typedef struct {
    int64_t row, col, sample;
} sr_strides;

/* `chosen` says which sample of the block becomes each of `samples` of the result; NULL: as they are. `swapped`:
 * bytes of each number whose order is turned round (a complex sample has two); 0: none. */
void sr_copy(const uint8_t *from, sr_strides here, uint8_t *to, sr_strides there, int64_t rows, int64_t cols,
             int64_t samples, const int32_t *chosen, int itemsize, int swapped);
/* The same sample everywhere. */
void sr_fill(const uint8_t *sample, uint8_t *to, sr_strides there, int64_t rows, int64_t cols, int64_t samples,
             int itemsize);

#endif

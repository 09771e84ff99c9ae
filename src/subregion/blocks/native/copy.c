#include "copy.h"

#include <string.h>

#define COPY_LINE(N)                                                                                        \
    static void line##N(const uint8_t *from, int64_t here, uint8_t *to, int64_t there, int64_t count)       \
    {                                                                                                       \
        for (int64_t i = 0; i < count; i++, from += here, to += there)                                      \
            memcpy(to, from, N);                                                                            \
    }

COPY_LINE(1)
COPY_LINE(2)
COPY_LINE(3)
COPY_LINE(4)
COPY_LINE(6)
COPY_LINE(8)
COPY_LINE(12)
COPY_LINE(16)

static void line(const uint8_t *from, int64_t here, uint8_t *to, int64_t there, int64_t count, int64_t size)
{
    switch (size) {
    case 1:
        line1(from, here, to, there, count);
        break;
    case 2:
        line2(from, here, to, there, count);
        break;
    case 3:
        line3(from, here, to, there, count);
        break;
    case 4:
        line4(from, here, to, there, count);
        break;
    case 6:
        line6(from, here, to, there, count);
        break;
    case 8:
        line8(from, here, to, there, count);
        break;
    case 12:
        line12(from, here, to, there, count);
        break;
    case 16:
        line16(from, here, to, there, count);
        break;
    default:
        for (int64_t i = 0; i < count; i++, from += here, to += there)
            memcpy(to, from, (size_t)size);
    }
}

static void line_swapped(const uint8_t *from, int64_t here, uint8_t *to, int64_t there, int64_t count, int size,
                         int part)
{
    for (int64_t i = 0; i < count; i++, from += here, to += there)
        for (int first = 0; first < size; first += part)
            for (int k = 0; k < part; k++)
                to[first + k] = from[first + part - 1 - k];
}

void sr_copy(const uint8_t *from, sr_strides here, uint8_t *to, sr_strides there, int64_t rows, int64_t cols,
             int64_t samples, const int32_t *chosen, int itemsize, int swapped)
{
    const int64_t pixel = samples * itemsize;
    const int whole = !chosen && !swapped && here.sample == itemsize && there.sample == itemsize;
    for (int64_t row = 0; row < rows; row++, from += here.row, to += there.row) {
        if (whole && here.col == pixel && there.col == pixel) {
            memcpy(to, from, (size_t)(cols * pixel));
        } else if (whole) {
            line(from, here.col, to, there.col, cols, pixel);
        } else {
            for (int64_t k = 0; k < samples; k++) {
                const uint8_t *first = from + (chosen ? chosen[k] : k) * here.sample;
                if (swapped)
                    line_swapped(first, here.col, to + k * there.sample, there.col, cols, itemsize, swapped);
                else
                    line(first, here.col, to + k * there.sample, there.col, cols, itemsize);
            }
        }
    }
}

void sr_fill(const uint8_t *sample, uint8_t *to, sr_strides there, int64_t rows, int64_t cols, int64_t samples,
             int itemsize)
{
    for (int64_t row = 0; row < rows; row++, to += there.row)
        for (int64_t k = 0; k < samples; k++)
            line(sample, 0, to + k * there.sample, there.col, cols, itemsize);
}

/* Frames of Blosc (format 2), of which only those blocks are decoded that hold what is wanted.
 *
 * A header of 16 bytes, the place of each block, and the blocks. A block is one stream, or one for each byte of
 * a sample; each stands behind its length, and is stored as it is if it could not be made shorter. */
#include "decode.h"

#include <string.h>

enum { FRAME_SHUFFLED = 1, FRAME_PLAIN = 2, FRAME_BITS = 4, FRAME_UNKNOWN = 8, FRAME_WHOLE = 0x10 };
#define HEADER 16
#define MOST_STREAMS 16

static int64_t number(const uint8_t *at)
{
    return (int64_t)((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
}

static int compressor_of(int flags)
{
    switch (flags >> 5) {
    case 1:
        return SR_LZ4;
    case 3:
        return SR_ZLIB;
    case 4:
        return SR_ZSTD;
    default:
        return -1; /* BloscLZ, Snappy */
    }
}

/* Decode the streams of a block. */
static int block(int compressor, sr_scratch *scratch, const uint8_t *stored, int64_t count, int64_t at,
                 int64_t nbytes, int64_t streams, uint8_t *out)
{
    const int64_t size = nbytes / streams;
    if (size * streams != nbytes)
        return 0;
    for (int64_t k = 0; k < streams; k++, out += size) {
        if (at < 0 || at > count - 4)
            return 0;
        const int64_t length = number(stored + at);
        at += 4;
        if (length <= 0 || length > count - at)
            return 0;
        if (length == size)
            memcpy(out, stored + at, (size_t)size);
        else if (!sr_stream(compressor, scratch, stored + at, length, out, size))
            return 0;
        at += length;
    }
    return 1;
}

int sr_blosc(sr_scratch *scratch, const uint8_t *stored, int64_t count, int64_t nbytes, int64_t start,
             int64_t stop, uint8_t *out)
{
    if (count < HEADER || stored[0] != 2 || stored[1] != 1 || stored[2] & FRAME_UNKNOWN)
        return 0;
    const int flags = stored[2];
    const int64_t itemsize = stored[3], size = number(stored + 8);
    if (number(stored + 4) != nbytes || number(stored + 12) != count || size <= 0 || size > nbytes ||
        itemsize == 0)
        return 0;
    if (flags & FRAME_PLAIN) {
        if (count != HEADER + nbytes)
            return 0;
        memcpy(out + start, stored + HEADER + start, (size_t)(stop - start));
        return 1;
    }
    const int compressor = compressor_of(flags);
    if (compressor < 0 || !sr_has(compressor))
        return 0;
    const int64_t blocks = (nbytes + size - 1) / size;
    if (blocks > (count - HEADER) / 4)
        return 0;
    const int bytes = (flags & FRAME_SHUFFLED) && itemsize > 1;
    const int bits = !bytes && (flags & FRAME_BITS) && size >= itemsize;
    if ((bytes || bits) && !sr_reserve(&scratch->spare, &scratch->spare_size, size))
        return 0;
    for (int64_t k = start / size; k * size < stop; k++) {
        const int64_t here = k * size + size > nbytes ? nbytes - k * size : size;
        const int split = !(flags & FRAME_WHOLE) && here == size;
        if (split && itemsize > MOST_STREAMS)
            return 0;
        uint8_t *into = bytes || bits ? scratch->spare : out + k * size;
        if (!block(compressor, scratch, stored, count, number(stored + HEADER + 4 * k), here,
                   split ? itemsize : 1, into))
            return 0;
        if (bytes)
            sr_unshuffle(into, here, itemsize, out + k * size);
        else if (bits)
            sr_bitunshuffle(into, here, itemsize, out + k * size);
    }
    return 1;
}

/* What was done to samples before they were compressed, undone. */
#include "decode.h"

#include <string.h>

#define UNSHUFFLE(N)                                                                                       \
    static void unshuffle##N(const uint8_t *restrict data, int64_t count, uint8_t *restrict out)           \
    {                                                                                                      \
        for (int64_t i = 0; i < count; i++)                                                                \
            for (int k = 0; k < N; k++)                                                                    \
                out[i * N + k] = data[k * count + i];                                                      \
    }

UNSHUFFLE(2)
UNSHUFFLE(4)
UNSHUFFLE(8)

/* Bytes that fill no sample stand behind the others as they are. */
void sr_unshuffle(const uint8_t *data, int64_t nbytes, int64_t itemsize, uint8_t *out)
{
    const int64_t count = nbytes / itemsize, rest = count * itemsize;
    switch (itemsize) {
    case 2:
        unshuffle2(data, count, out);
        break;
    case 4:
        unshuffle4(data, count, out);
        break;
    case 8:
        unshuffle8(data, count, out);
        break;
    default:
        for (int64_t k = 0; k < itemsize; k++)
            for (int64_t i = 0; i < count; i++)
                out[i * itemsize + k] = data[k * count + i];
    }
    memcpy(out + rest, data + rest, (size_t)(nbytes - rest));
}

/* Exchange rows and columns of 8 x 8 bits. */
static uint64_t transposed(uint64_t bits)
{
    uint64_t other = (bits ^ bits >> 7) & 0x00AA00AA00AA00AAu;
    bits ^= other ^ other << 7;
    other = (bits ^ bits >> 14) & 0x0000CCCC0000CCCCu;
    bits ^= other ^ other << 14;
    other = (bits ^ bits >> 28) & 0x00000000F0F0F0F0u;
    return bits ^ other ^ other << 28;
}

/* Bit k of byte b of all samples lie together; where samples are no multiple of 8, nothing was moved. */
void sr_bitunshuffle(const uint8_t *data, int64_t nbytes, int64_t itemsize, uint8_t *out)
{
    const int64_t count = nbytes / itemsize, line = count / 8;
    if (count % 8) {
        memcpy(out, data, (size_t)nbytes);
        return;
    }
    for (int64_t byte = 0; byte < itemsize; byte++) {
        const uint8_t *from = data + byte * 8 * line;
        for (int64_t group = 0; group < line; group++) {
            uint64_t bits = 0;
            for (int k = 0; k < 8; k++)
                bits |= (uint64_t)from[k * line + group] << (8 * k);
            bits = transposed(bits);
            for (int k = 0; k < 8; k++)
                out[(group * 8 + k) * itemsize + byte] = (uint8_t)(bits >> (8 * k));
        }
    }
    const int64_t rest = count * itemsize;
    memcpy(out + rest, data + rest, (size_t)(nbytes - rest));
}

void sr_swap(uint8_t *data, int64_t count, int itemsize)
{
    for (int64_t i = 0; i < count; i++, data += itemsize)
        for (int k = 0; k < itemsize / 2; k++) {
            const uint8_t byte = data[k];
            data[k] = data[itemsize - 1 - k];
            data[itemsize - 1 - k] = byte;
        }
}

#define ADD_UP(TYPE)                                                                                       \
    static void add_up_##TYPE(uint8_t *row, int64_t count, int64_t samples)                                \
    {                                                                                                      \
        for (int64_t i = samples; i < count; i++) {                                                        \
            TYPE before, here;                                                                             \
            memcpy(&before, row + (i - samples) * (int64_t)sizeof(TYPE), sizeof(TYPE));                    \
            memcpy(&here, row + i * (int64_t)sizeof(TYPE), sizeof(TYPE));                                  \
            here = (TYPE)(here + before);                                                                  \
            memcpy(row + i * (int64_t)sizeof(TYPE), &here, sizeof(TYPE));                                  \
        }                                                                                                  \
    }

ADD_UP(uint8_t)
ADD_UP(uint16_t)
ADD_UP(uint32_t)
ADD_UP(uint64_t)

int sr_undo_differences(uint8_t *row, int64_t cols, int samples, int itemsize)
{
    const int64_t count = cols * samples;
    switch (itemsize) {
    case 1:
        add_up_uint8_t(row, count, samples);
        return 1;
    case 2:
        add_up_uint16_t(row, count, samples);
        return 1;
    case 4:
        add_up_uint32_t(row, count, samples);
        return 1;
    case 8:
        add_up_uint64_t(row, count, samples);
        return 1;
    default:
        return 0;
    }
}

/* The bytes of all samples were put apart, the highest first, and replaced by their differences. */
void sr_undo_float_differences(uint8_t *row, int64_t nbytes, int samples, int itemsize, uint8_t *spare)
{
    const int64_t count = nbytes / itemsize;
    const uint16_t probe = 1;
    uint8_t first;
    memcpy(&first, &probe, 1);
    add_up_uint8_t(row, nbytes, samples);
    memcpy(spare, row, (size_t)nbytes);
    for (int k = 0; k < itemsize; k++) {
        const uint8_t *from = spare + (int64_t)(first ? itemsize - 1 - k : k) * count;
        for (int64_t i = 0; i < count; i++)
            row[i * itemsize + k] = from[i];
    }
}

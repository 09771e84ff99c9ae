/* The door through which all stored bytes come: any bytes, any kind of block that a file can ask for.
 *
 * With clang: cc -fsanitize=fuzzer,address,undefined. Without: build with -DALONE, and give it a number of
 * mutations, a seed and the files of the corpus. */
#include "decode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD 12
#define MOST (1 << 18)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first bytes say what kind of block it is; the rest are the block. */
static int codec_of(const uint8_t *head, sr_codec *codec, int64_t *rows)
{
    static const int sizes[4] = {1, 2, 4, 8};
    memset(codec, 0, sizeof *codec);
    codec->compressor = head[0] % 6;
    codec->itemsize = sizes[head[1] & 3];
    codec->predictor = 1 + (head[1] >> 2) % 3;
    codec->swapped = head[1] >> 6 & 1;
    codec->samples = 1 + head[2] % 4;
    codec->exact = head[3] & 1;
    codec->checked = head[3] >> 1 & 1;
    if (codec->compressor != SR_BLOSC && codec->predictor == 1 && head[3] & 4)
        codec->shuffle = codec->itemsize;
    *rows = 1 + head[4];
    codec->row_nbytes = (1 + head[5]) * (int64_t)codec->samples * codec->itemsize;
    codec->nbytes = *rows * codec->row_nbytes;
    if (codec->predictor == 3 && (codec->itemsize == 1 || codec->samples != 1))
        return 0;
    return codec->nbytes <= MOST;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sr_scratch scratch;
    sr_codec codec;
    int64_t rows;
    if (size < HEAD || !codec_of(data, &codec, &rows))
        return 0;
    const int64_t first = data[6] % rows, stop = first + 1 + data[7] % (rows - first);
    const int64_t needed = data[3] & 8 ? stop * codec.row_nbytes : codec.nbytes;
    /* A copy of its own, so that what is read beyond it is seen. */
    uint8_t *stored = malloc(size - HEAD + 1);
    memcpy(stored, data + HEAD, size - HEAD);
    stored = realloc(stored, size - HEAD ? size - HEAD : 1);
    const uint8_t *decoded;
    volatile uint32_t sum = sr_crc32c(stored, size - HEAD);
    if (sr_decode(&codec, &scratch, stored, (int64_t)(size - HEAD), needed, first * codec.row_nbytes,
                  stop * codec.row_nbytes, &decoded))
        for (int64_t at = first * codec.row_nbytes; at < stop * codec.row_nbytes && at < needed; at++)
            sum += decoded[at];
    free(stored);
    sr_scratch_free(&scratch); /* so that nothing is left from the block before */
    return 0;
}

#ifdef ALONE
static uint64_t state;

static uint32_t any(uint32_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % below;
}

int main(int count, char **arguments)
{
    const long wanted = atol(arguments[1]);
    state = strtoull(arguments[2], NULL, 10);
    for (long done = 0; done < wanted; done++) {
        FILE *file = fopen(arguments[3 + done % (count - 3)], "rb");
        static uint8_t data[1 << 17];
        if (!file)
            return 2;
        size_t size = fread(data, 1, sizeof data, file);
        fclose(file);
        for (uint32_t k = done < count - 3 ? 0 : 1 + any(6); k && size; k--) {
            switch (any(5)) {
            case 0:
                data[any((uint32_t)size)] ^= (uint8_t)(1 << any(8));
                break;
            case 1:
                data[any((uint32_t)size)] = (uint8_t)any(256);
                break;
            case 2:
                size = any((uint32_t)size) + 1;
                break;
            case 3:
                memset(data + any((uint32_t)size), any(2) ? 255 : 0, 1);
                break;
            default: /* what a header holds */
                data[any(size < 64 ? (uint32_t)size : 64)] ^= (uint8_t)(1 + any(255));
            }
        }
        LLVMFuzzerTestOneInput(data, size);
    }
    printf("%ld blocks\n", wanted);
    return 0;
}
#endif

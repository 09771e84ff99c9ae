#include "decode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef SR_HAVE_LZ4
#include <lz4.h>
#endif
#ifdef SR_HAVE_ZSTD
#include <zstd.h>
#endif
#ifdef SR_HAVE_DEFLATE
#include <libdeflate.h>
#endif

int sr_has(int compressor)
{
    switch (compressor) {
    case SR_RAW:
    case SR_BLOSC: /* its frames; what is in them may still be missing */
        return 1;
#ifdef SR_HAVE_ZSTD
    case SR_ZSTD:
        return 1;
#endif
#ifdef SR_HAVE_DEFLATE
    case SR_ZLIB:
    case SR_GZIP:
        return 1;
#endif
#ifdef SR_HAVE_LZ4
    case SR_LZ4:
        return 1;
#endif
    default:
        return 0;
    }
}

const char *sr_library(int number, char *version, size_t size)
{
    version[0] = 0;
    switch (number) {
    case 0:
#ifdef SR_HAVE_LZ4
        snprintf(version, size, "%s", LZ4_versionString());
#endif
        return "liblz4";
    case 1:
#ifdef SR_HAVE_ZSTD
        snprintf(version, size, "%s", ZSTD_versionString());
#endif
        return "libzstd";
    case 2:
#ifdef SR_HAVE_DEFLATE
        snprintf(version, size, "%s", LIBDEFLATE_VERSION_STRING);
#endif
        return "libdeflate";
    default:
        return NULL;
    }
}

int sr_reserve(uint8_t **buffer, int64_t *size, int64_t wanted)
{
    if (wanted <= *size)
        return 1;
    if ((uint64_t)wanted > PTRDIFF_MAX)
        return 0;
    free(*buffer);
    *buffer = malloc((size_t)wanted);
    *size = *buffer ? wanted : 0;
    return *buffer != NULL;
}

int64_t sr_scratch_size(const sr_scratch *scratch)
{
    int64_t size = scratch->stored_size > scratch->decoded_size ? scratch->stored_size : scratch->decoded_size;
    return size > scratch->spare_size ? size : scratch->spare_size;
}

void sr_scratch_free(sr_scratch *scratch)
{
    free(scratch->stored);
    free(scratch->decoded);
    free(scratch->spare);
#ifdef SR_HAVE_ZSTD
    ZSTD_freeDCtx(scratch->zstd);
#endif
#ifdef SR_HAVE_DEFLATE
    if (scratch->deflate)
        libdeflate_free_decompressor(scratch->deflate);
#endif
    memset(scratch, 0, sizeof *scratch);
}

#ifdef SR_HAVE_ZSTD
static int64_t undo_zstd(sr_scratch *scratch, const uint8_t *stored, int64_t count, uint8_t *out, int64_t room)
{
    if (!scratch->zstd && !(scratch->zstd = ZSTD_createDCtx()))
        return -1;
    /* The first frame is the block; what follows is not looked at. */
    size_t frame = ZSTD_findFrameCompressedSize(stored, (size_t)count);
    if (ZSTD_isError(frame))
        return -1;
    size_t found = ZSTD_decompressDCtx(scratch->zstd, out, (size_t)room, stored, frame);
    return ZSTD_isError(found) ? -1 : (int64_t)found;
}
#endif

#ifdef SR_HAVE_DEFLATE
static int64_t undo_deflate(int compressor, sr_scratch *scratch, const uint8_t *stored, int64_t count,
                            uint8_t *out, int64_t room)
{
    if (!scratch->deflate && !(scratch->deflate = libdeflate_alloc_decompressor()))
        return -1;
    size_t used = 0, found = 0;
    enum libdeflate_result result;
    if (compressor == SR_ZLIB)
        result = libdeflate_zlib_decompress_ex(scratch->deflate, stored, (size_t)count, out, (size_t)room, &used,
                                               &found);
    else
        result = libdeflate_gzip_decompress_ex(scratch->deflate, stored, (size_t)count, out, (size_t)room, &used,
                                               &found);
    if (result != LIBDEFLATE_SUCCESS || (compressor == SR_GZIP && used != (size_t)count))
        return -1; /* gzip may have several members */
    return (int64_t)found;
}
#endif

#ifdef SR_HAVE_LZ4
static int64_t undo_lz4(const uint8_t *stored, int64_t count, uint8_t *out, int64_t room)
{
    if (count > INT32_MAX || room > INT32_MAX)
        return -1;
    return LZ4_decompress_safe((const char *)stored, (char *)out, (int)count, (int)room);
}
#endif

/* Undo one stream; returns how many bytes came out, or -1. */
static int64_t undo(int compressor, sr_scratch *scratch, const uint8_t *stored, int64_t count, uint8_t *out,
                    int64_t room)
{
    (void)scratch;
    switch (compressor) {
#ifdef SR_HAVE_ZSTD
    case SR_ZSTD:
        return undo_zstd(scratch, stored, count, out, room);
#endif
#ifdef SR_HAVE_DEFLATE
    case SR_ZLIB:
    case SR_GZIP:
        return undo_deflate(compressor, scratch, stored, count, out, room);
#endif
#ifdef SR_HAVE_LZ4
    case SR_LZ4:
        return undo_lz4(stored, count, out, room);
#endif
    default:
        (void)stored, (void)count, (void)out, (void)room;
        return -1;
    }
}

int sr_stream(int compressor, sr_scratch *scratch, const uint8_t *stored, int64_t count, uint8_t *out,
              int64_t nbytes)
{
    return undo(compressor, scratch, stored, count, out, nbytes) == nbytes;
}

static uint32_t little(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static int undo_predictor(const sr_codec *codec, sr_scratch *scratch, uint8_t *data, int64_t start, int64_t stop)
{
    const int64_t row = codec->row_nbytes, pixel = (int64_t)codec->samples * codec->itemsize;
    const int64_t first = start / row * row;
    if (codec->predictor == 3 && !sr_reserve(&scratch->spare, &scratch->spare_size, row))
        return 0;
    for (int64_t at = first; at < stop; at += row) {
        if (codec->predictor == 3) {
            sr_undo_float_differences(data + at, row, codec->samples, codec->itemsize, scratch->spare);
            continue;
        }
        if (codec->swapped)
            sr_swap(data + at, row / codec->itemsize, codec->itemsize);
        if (!sr_undo_differences(data + at, row / pixel, codec->samples, codec->itemsize))
            return 0;
    }
    return 1;
}

int sr_decode(const sr_codec *codec, sr_scratch *scratch, const uint8_t *stored, int64_t count, int64_t needed,
              int64_t start, int64_t stop, const uint8_t **decoded)
{
    if (codec->checked) {
        if (count < 4)
            return 0;
        count -= 4;
    }
    if (codec->compressor == SR_RAW && !codec->shuffle && codec->predictor == 1) {
        *decoded = stored;
        return count >= needed;
    }
    if (!sr_reserve(&scratch->decoded, &scratch->decoded_size, codec->nbytes))
        return 0;
    uint8_t *out = scratch->decoded;
    if (codec->shuffle) {
        if (!sr_reserve(&scratch->spare, &scratch->spare_size, codec->nbytes))
            return 0;
        out = scratch->spare;
        start = 0;
        stop = codec->nbytes;
    }
    int64_t found;
    if (codec->compressor == SR_BLOSC) {
        if (!sr_blosc(scratch, stored, count, codec->nbytes, start, stop, out))
            return 0;
        found = codec->nbytes;
    } else if (codec->compressor == SR_RAW) {
        if (codec->shuffle && count != codec->nbytes)
            return 0; /* samples whose bytes were put apart lie elsewhere in a block of another size */
        found = count < codec->nbytes ? count : codec->nbytes;
        memcpy(out, stored, (size_t)found);
    } else if (codec->compressor == SR_LZ4) { /* numcodecs puts the size in front */
        if (count < 4 || little(stored) != codec->nbytes)
            return 0;
        found = undo(SR_LZ4, scratch, stored + 4, count - 4, out, codec->nbytes);
    } else {
        found = undo(codec->compressor, scratch, stored, count, out, codec->nbytes);
    }
    if (found < needed || (codec->exact && found != codec->nbytes))
        return 0;
    if (codec->shuffle) {
        sr_unshuffle(out, codec->nbytes, codec->shuffle, scratch->decoded);
        out = scratch->decoded;
    }
    if (codec->predictor != 1 && !undo_predictor(codec, scratch, out, start, stop))
        return 0;
    *decoded = out;
    return 1;
}

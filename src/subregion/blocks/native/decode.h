/* From the stored bytes of a block to its samples: one door, behind which are the libraries of the system.
 *
 * Nothing here knows Python, allocates by what a file says, or ends the process. Whatever is not plainly right
 * is refused; whoever asked then tries another way, which knows how to say what is wrong. */
#ifndef SUBREGION_DECODE_H
#define SUBREGION_DECODE_H

#include <stddef.h>
#include <stdint.h>

enum { SR_RAW, SR_ZSTD, SR_ZLIB, SR_GZIP, SR_LZ4, SR_BLOSC };

/* What is done to all blocks of a level. */
typedef struct {
    int compressor;
    int shuffle;        /* bytes of a sample whose bytes were put apart (numcodecs' Shuffle); 0: none */
    int predictor;      /* as in TIFF: 1 none, 2 differences, 3 floating point */
    int itemsize;       /* bytes of a sample, which a predictor has to know */
    int swapped;        /* bytes of each number whose order is not that of the machine; 0: it is */
    int samples;        /* samples of a pixel */
    int exact;          /* whether a block must hold nbytes; otherwise what is needed of it is enough */
    int checked;        /* whether stored bytes end with their CRC-32C */
    int64_t nbytes;     /* of a full block, decoded */
    int64_t row_nbytes; /* of a row; 0 if rows do not lie one behind the other */
} sr_codec;

/* What a thread keeps from block to block. */
typedef struct {
    uint8_t *stored;    /* where blocks are read to */
    int64_t stored_size;
    uint8_t *decoded;   /* where they are decoded to */
    int64_t decoded_size;
    uint8_t *spare;     /* between two steps */
    int64_t spare_size;
    void *zstd;
    void *deflate;
} sr_scratch;

/* Make room; returns 0 if there is none. */
int sr_reserve(uint8_t **buffer, int64_t *size, int64_t wanted);
void sr_scratch_free(sr_scratch *scratch);
/* How many bytes the largest of its buffers has. */
int64_t sr_scratch_size(const sr_scratch *scratch);

/* Decode a block, of which at least `needed` bytes must be there, and those from `start` to `stop` are wanted.
 *
 * Returns 1 and where its first byte is, or would be; only what is wanted of it need be there. Returns 0 if it
 * cannot be decoded. Samples behind a predictor have the byte order of the machine. */
int sr_decode(const sr_codec *codec, sr_scratch *scratch, const uint8_t *stored, int64_t count, int64_t needed,
              int64_t start, int64_t stop, const uint8_t **decoded);

/* Whether a compressor was there when this was built. */
int sr_has(int compressor);
/* Its name and version, for people; NULL for the next after the last. */
const char *sr_library(int number, char *version, size_t size);

/* CRC-32C (Castagnoli), as zarr and iSCSI have it. */
uint32_t sr_crc32c(const uint8_t *data, size_t count);
/* That of any bytes that are followed by their own. */
#define SR_CRC32C_RESIDUE 0x48674BC7u

/* blosc.c */
int sr_blosc(sr_scratch *scratch, const uint8_t *stored, int64_t count, int64_t nbytes, int64_t start,
             int64_t stop, uint8_t *out);
/* Undo one stream of a compressor, which must give exactly so many bytes. */
int sr_stream(int compressor, sr_scratch *scratch, const uint8_t *stored, int64_t count, uint8_t *out,
              int64_t nbytes);

/* filters.c */
void sr_unshuffle(const uint8_t *data, int64_t nbytes, int64_t itemsize, uint8_t *out);
void sr_bitunshuffle(const uint8_t *data, int64_t nbytes, int64_t itemsize, uint8_t *out);
void sr_swap(uint8_t *data, int64_t count, int itemsize);
int sr_undo_differences(uint8_t *row, int64_t cols, int samples, int itemsize);
void sr_undo_float_differences(uint8_t *row, int64_t nbytes, int samples, int itemsize, uint8_t *spare);

#endif

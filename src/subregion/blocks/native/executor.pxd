# cython: language_level=3
"""What `executor.pyx` uses of Python's own C, and of the sources beside it."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t


cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8(object text) except NULL
    int PySlice_Unpack(object slice, Py_ssize_t *start, Py_ssize_t *stop, Py_ssize_t *step) except -1
    Py_ssize_t PySlice_AdjustIndices(Py_ssize_t length, Py_ssize_t *start, Py_ssize_t *stop, Py_ssize_t step)


cdef extern from "decode.h" nogil:
    ctypedef struct sr_codec:
        int compressor, shuffle, predictor, itemsize, swapped, samples, exact, checked
        int64_t nbytes, row_nbytes

    ctypedef struct sr_scratch:
        pass

    int SR_RAW, SR_ZSTD, SR_ZLIB, SR_GZIP, SR_LZ4, SR_BLOSC
    int sr_has(int compressor)
    const char *sr_library(int number, char *version, size_t size)
    void sr_scratch_free(sr_scratch *scratch)
    int64_t sr_scratch_size(const sr_scratch *scratch)
    uint32_t sr_crc32c(const uint8_t *data, size_t count)


cdef extern from "copy.h" nogil:
    ctypedef struct sr_strides:
        int64_t row, col, sample


cdef extern from "guard.h" nogil:
    ctypedef struct sr_map:
        int spoiled

    void sr_map_close(sr_map *map)
    void sr_guard_forget_threads()
    int64_t sr_size(int descriptor)
    int sr_state(const char *path, int64_t *state)


cdef extern from "grid.h" nogil:
    int SR_SAMPLE

    ctypedef struct sr_grid:
        int descriptor, mappable, keeps
        int64_t size, height, width
        const int64_t *offsets
        const int64_t *nbytes
        const uint32_t *sums
        int64_t planes, rows, cols, block_rows, block_cols, samples, last_rows, start
        sr_codec codec
        sr_strides strides
        uint8_t fill[64]
        uint8_t *verified
        int64_t *seen
        sr_map map
        int64_t unmapped

    ctypedef struct sr_window:
        int64_t row, col, height, width, row_step, col_step
        uint8_t *out
        sr_strides strides
        int32_t bands
        int32_t *chosen

    int sr_grid_fits(const sr_grid *grid)
    int sr_window_fits(const sr_grid *grid, const sr_window *window, int64_t rows, int64_t cols)
    int sr_bands_fit(const sr_grid *grid, const sr_window *window)


cdef extern from "plan.h" nogil:
    ctypedef struct sr_piece:
        int64_t number

    ctypedef struct sr_plan:
        int64_t group_count

    const sr_piece *sr_first_of(const sr_plan *plan, int64_t group)


cdef extern from "work.h" nogil:
    ctypedef struct sr_work:
        sr_grid *grid
        sr_window *windows
        int64_t count, limit
        sr_plan plan
        uint8_t *done
        int mapped

    int sr_work_begin(sr_work *work, int64_t threads)
    void sr_work_free(sr_work *work)
    int64_t sr_work_shares(const sr_work *work)
    int sr_work_is_late(const sr_work *work)
    void sr_work_run(sr_work *work, sr_scratch *scratch)

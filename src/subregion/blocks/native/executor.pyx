# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""Carries out reads of a grid of blocks without the interpreter: planned, fetched, decoded, copied in one call.

What it cannot do, it hands back: the numbers of the blocks that are left to `blocks.execute`.
"""

from cpython.buffer cimport PyBUF_ND, PyBUF_STRIDED, PyBuffer_Release, PyObject_GetBuffer
from cpython.slice cimport PySlice_Check
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memcpy


from numpy import empty

from subregion.geometry.window import Window


cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8(object text) except NULL
    int PySlice_Unpack(object slice, Py_ssize_t *start, Py_ssize_t *stop, Py_ssize_t *step) except -1
    Py_ssize_t PySlice_AdjustIndices(Py_ssize_t length, Py_ssize_t *start, Py_ssize_t *stop, Py_ssize_t step)


cdef extern from "decode.h" nogil:
    ctypedef struct sr_codec:
        int compressor, shuffle, predictor, itemsize, swapped, samples, exact, checked
        int64_t nbytes, row_nbytes

    ctypedef struct sr_scratch:
        uint8_t *stored
        int64_t stored_size

    int SR_RAW, SR_ZSTD, SR_ZLIB, SR_GZIP, SR_LZ4, SR_BLOSC
    uint32_t SR_CRC32C_RESIDUE
    int sr_has(int compressor)
    const char *sr_library(int number, char *version, size_t size)
    int sr_reserve(uint8_t **buffer, int64_t *size, int64_t wanted)
    void sr_scratch_free(sr_scratch *scratch)
    int64_t sr_scratch_size(const sr_scratch *scratch)
    int sr_decode(const sr_codec *codec, sr_scratch *scratch, const uint8_t *stored, int64_t count,
                  int64_t needed, int64_t start, int64_t stop, const uint8_t **decoded)
    uint32_t sr_crc32c(const uint8_t *data, size_t count)


cdef extern from "copy.h" nogil:
    ctypedef struct sr_strides:
        int64_t row, col, sample

    void sr_copy(const uint8_t *source, sr_strides here, uint8_t *to, sr_strides there, int64_t rows,
                 int64_t cols, int64_t samples, const int32_t *chosen, int itemsize, int swapped)
    void sr_fill(const uint8_t *sample, uint8_t *to, sr_strides there, int64_t rows, int64_t cols,
                 int64_t samples, int itemsize)


cdef extern from "guard.h" nogil:
    ctypedef struct sr_map:
        uint8_t *base
        int64_t size
        int spoiled

    int sr_map_open(sr_map *map, int descriptor, int64_t size)
    void sr_map_close(sr_map *map)
    int sr_guard_enter(sr_map *map)
    void sr_guard_leave(int number)
    void sr_guard_forget_threads()
    int sr_read(int descriptor, int64_t offset, int64_t count, uint8_t *out)
    int64_t sr_size(int descriptor)
    int sr_state(const char *path, int64_t *state)
    int sr_is_cold(int descriptor, int64_t offset)
    void sr_announce(int descriptor, int64_t offset, int64_t count)
    int64_t sr_next(int64_t *number)
    int64_t sr_add(int64_t *number, int64_t count)


#: Compressors by the names that codecs give them.
_COMPRESSORS = {
    "raw": SR_RAW, "zstd": SR_ZSTD, "zlib": SR_ZLIB, "gzip": SR_GZIP, "lz4": SR_LZ4, "blosc": SR_BLOSC
}
#: After so many looks that found bytes in memory, only one question in so many is answered by a look.
cdef int64_t WARM = 8
#: Bytes of each buffer that a thread keeps for its next call, at most.
cdef int64_t KEPT = 8 << 20
#: Decoded bytes that a thread takes at once, at most, where several share the work.
cdef int64_t RUN_NBYTES = 800 << 10
#: A limit of bytes, and a number of threads, that no machine has: more are as good as so many.
cdef int64_t LARGEST = 1 << 60
cdef int64_t THREADS = 1 << 20
#: Pieces of work that a thread gets at least, so that all end at about the same time.
cdef int64_t SHARES = 8


def has(compressor: str) -> bool:
    """Tell whether a compressor was there when this was built."""
    number = _COMPRESSORS.get(compressor)
    return number is not None and bool(sr_has(number))


def libraries() -> dict[str, str]:
    """Return the names of the system's codec libraries, with their versions; empty where one was not there."""
    cdef char version[64]
    cdef const char *name
    found = {}
    for number in range(16):
        name = sr_library(number, version, 64)
        if name == NULL:
            break
        found[name.decode()] = version.decode()
    return found


def crc32c(const uint8_t[::1] data) -> int:
    """Return the CRC-32C of bytes."""
    return sr_crc32c(&data[0] if data.shape[0] else NULL, data.shape[0])


def looks_like(path: str, tuple state) -> object:
    """Tell whether a file has this size, time of change, number, device and time of status; None: unknown."""
    cdef int64_t now[5]
    cdef const char *name
    cdef int found
    try:
        name = PyUnicode_AsUTF8(path)
    except UnicodeEncodeError:
        return None
    with nogil:
        found = sr_state(name, now)
    if not found:
        return None
    return (
        now[0] == state[0] and now[1] == state[1] and now[4] == state[4]
        and <uint64_t>now[2] == state[2] and <uint64_t>now[3] == state[3]
    )


def forget_threads() -> None:
    """Forget, in a child that was forked, what the threads of its parent were doing."""
    sr_guard_forget_threads()


cdef class _Scratch:
    """What a thread keeps from block to block; taken and given back while the interpreter is held."""

    cdef sr_scratch of

    def __dealloc__(self):
        sr_scratch_free(&self.of)


cdef list _idle = []


cdef _Scratch _take_scratch():
    try:
        return _idle.pop()
    except IndexError:
        return _Scratch.__new__(_Scratch)


cdef _give_back(_Scratch scratch):
    if sr_scratch_size(&scratch.of) <= KEPT and len(_idle) < 64:
        _idle.append(scratch)


cdef struct Place:
    int64_t row, col, height, width


cdef struct Read:
    int64_t row, col, height, width, row_step, col_step
    uint8_t *out
    sr_strides strides
    int32_t bands
    int32_t *chosen  # NULL: all, in order


#: One block that one read wants.
cdef struct Piece:
    int64_t offset
    int64_t number
    int64_t read


cdef int _in_order(const void *one, const void *other) noexcept nogil:
    cdef const Piece *a = <const Piece *>one
    cdef const Piece *b = <const Piece *>other
    if a.offset != b.offset:
        return -1 if a.offset < b.offset else 1
    if a.number != b.number:
        return -1 if a.number < b.number else 1
    return -1 if a.read < b.read else a.read > b.read


#: Decoded bytes so far, in this process: a clock by which blocks are told to have been decoded lately.
cdef int64_t _decoded = 0


#: One level as numbers: where its blocks lie, and what is done to them. See `BlockTable`.
cdef struct Grid:
    int descriptor, mappable, keeps
    int64_t size
    const int64_t *offsets
    const int64_t *nbytes
    const uint32_t *sums
    int64_t planes, rows, cols, block_rows, block_cols, samples, last_rows, start
    sr_codec codec
    sr_strides strides
    uint8_t fill[64]
    uint8_t *verified  # which blocks were compared with their checksums
    int again          # whether that was when the file was open before
    int64_t *seen      # when each was decoded, by that clock
    sr_map map
    int64_t unmapped   # reads to go before it is worth a map
    int64_t mapping    # threads that came to make it
    int64_t looks, warm


cdef class _Notes:
    """What is noted of the blocks of a file as it is, for all times that it is open."""

    cdef uint8_t *verified
    cdef int64_t *seen

    def __dealloc__(self):
        free(self.verified)
        free(self.seen)


cdef class BlockTable:
    """The blocks of one level: where they lie, and how they become samples.

    Parameters
    ----------
    file : SourceFile
        Its descriptor is read by position, and mapped if `mappable`.
    mappable : bool
        Whether blocks may be taken from a map.
    shape : tuple of int
        Rows, columns and bands of the level.
    offsets, nbytes : ndarray of int64, shape (planes, block rows, block columns)
        Where each lies; 0 bytes: never written.
    block : tuple of int
        Rows and columns of a block.
    samples : int
        How many samples of a pixel a plane holds.
    dtype : numpy.dtype
        Of the outputs: that of the samples, in the byte order of the machine.
    codec : dict
        What is done to all blocks; see `sr_codec`.
    strides : tuple of int
        Bytes from one row, column and sample to the next in a decoded block.
    start : int
        Where its first sample lies.
    last_rows : int
        Rows that the lowest blocks must hold.
    fill : bytes
        A sample of a block that was never written.
    sums : ndarray of uint32 or None
        CRC-32C of the stored bytes of each block.
    keeps : bool
        Whether blocks that are wanted again soon are handed back, to be kept decoded.
    notes : _Notes or None
        Those of the same file when it was open before.
    """

    cdef readonly object file, dtype
    cdef readonly bint keeps
    cdef int64_t height, width
    cdef readonly int64_t bands
    cdef Grid grid
    cdef Py_buffer _views[3]
    cdef int _held
    cdef tuple _about
    cdef _Notes _notes

    def __cinit__(self, file, bint mappable, shape, offsets, nbytes, block, int64_t samples, dtype, dict codec,
                  strides, int64_t start, int64_t last_rows, bytes fill, sums, bint keeps,
                  _Notes notes=None):
        cdef Grid *grid = &self.grid
        cdef int64_t count
        self._about = (
            mappable, shape, offsets, nbytes, block, samples, dtype, codec, strides, start, last_rows, fill, sums,
            keeps
        )
        self.file = file
        self.dtype = dtype
        self.height, self.width, self.bands = shape
        grid.descriptor = file.descriptor
        grid.size = file.size
        grid.mappable = mappable
        grid.planes, grid.rows, grid.cols = offsets.shape
        grid.block_rows, grid.block_cols = block
        grid.samples = samples
        grid.last_rows = last_rows
        grid.start = start
        grid.strides.row, grid.strides.col, grid.strides.sample = strides
        grid.codec.compressor = _COMPRESSORS[codec["compressor"]]
        grid.codec.shuffle = codec.get("shuffle", 0)
        grid.codec.predictor = codec.get("predictor", 1)
        grid.codec.itemsize = codec["itemsize"]
        grid.codec.swapped = codec.get("swapped", 0)
        grid.codec.samples = samples
        grid.codec.exact = codec.get("exact", False)
        grid.codec.checked = codec.get("checked", False)
        grid.codec.nbytes = codec["nbytes"]
        grid.codec.row_nbytes = codec.get("row_nbytes", 0)
        if len(fill) != grid.codec.itemsize or len(fill) > 64:
            raise ValueError("a sample to fill with has the size of a sample")
        memcpy(grid.fill, <const uint8_t *>fill, len(fill))
        PyObject_GetBuffer(offsets, &self._views[0], PyBUF_ND)
        self._held = 1
        PyObject_GetBuffer(nbytes, &self._views[1], PyBUF_ND)
        self._held = 2
        grid.offsets = <const int64_t *>self._views[0].buf
        grid.nbytes = <const int64_t *>self._views[1].buf
        count = grid.planes * grid.rows * grid.cols
        if sums is not None:
            PyObject_GetBuffer(sums, &self._views[2], PyBUF_ND)
            self._held = 3
            grid.sums = <const uint32_t *>self._views[2].buf
        self._check(count)
        grid.again = notes is not None
        self._notes = <_Notes>_Notes.__new__(_Notes) if notes is None else notes
        if notes is None and (sums is not None or grid.codec.checked):
            self._notes.verified = <uint8_t *>calloc(count, 1)
            if self._notes.verified == NULL:
                raise MemoryError
        grid.keeps = self.keeps = keeps
        if notes is None and keeps:
            self._notes.seen = <int64_t *>calloc(count, sizeof(int64_t))
            if self._notes.seen == NULL:
                raise MemoryError
        grid.verified, grid.seen = self._notes.verified, self._notes.seen
        # A map costs more than it saves the first window, unless only some of a block is touched.
        grid.unmapped = 0 if grid.codec.compressor == SR_RAW else 1

    def __dealloc__(self):
        cdef Grid *grid = &self.grid
        sr_map_close(&grid.map)
        for place in range(self._held):
            PyBuffer_Release(&self._views[place])

    cdef _check(self, int64_t count):
        """Refuse a level that does not agree with itself: nothing below looks again."""
        cdef Grid *grid = &self.grid
        reach = (
            grid.start + (grid.block_rows - 1) * grid.strides.row + (grid.block_cols - 1) * grid.strides.col
            + (grid.samples - 1) * grid.strides.sample + grid.codec.itemsize
        )
        listed = self._views[0].len == self._views[1].len == count * <int64_t>sizeof(int64_t)
        if grid.sums != NULL:
            listed = listed and self._views[2].len == count * <int64_t>sizeof(uint32_t)
        if not listed or self.height > grid.rows * grid.block_rows or self.width > grid.cols * grid.block_cols:
            raise ValueError("a level needs as many blocks as its size says")
        if min(grid.samples, grid.block_rows, grid.block_cols) < 1 or reach > grid.codec.nbytes:
            raise ValueError("the samples of a block lie inside of it")

    def on(self, file) -> "BlockTable":
        """Return the same of the same file that was opened again, or closed; it has the same notes."""
        return BlockTable(file, *self._about, self._notes)

    @property
    def cut(self):
        """Whether the file became shorter since it was opened, for however short a time that was noticed."""
        return bool(self.grid.map.spoiled) or sr_size(self.grid.descriptor) < self.grid.size

    def fits(self, list reads):
        """Tell whether outputs have the type of the samples, so that these are only copied."""
        for read in reads:
            dtype = read[2].dtype
            if dtype is not self.dtype and dtype != self.dtype:
                return False
        return True

    def read(self, list reads, limit):
        """Carry out reads in this thread.

        Parameters
        ----------
        reads : list of WindowRead
            Of this level; outputs have its type.
        limit : int
            Decoded bytes that are kept by whoever keeps some; 0 if nobody does.

        Returns
        -------
        list of int or None
            Numbers of the blocks that are left; None if there are none.
        """
        job = self.job(reads, limit, 1)
        job.run()
        return job.left()

    def window(self, region, limit, int64_t most):
        """Read a plain window of all bands into a new array: what is wanted nearly always.

        Parameters
        ----------
        region : Window or tuple of two slices
            Which pixels.
        limit : int
            See `read`.
        most : int
            Bytes of the array, at most.

        Returns
        -------
        ndarray, shape (rows, columns, bands), or None
            None for any other region, and where something cannot be read: others know what to do or say then.
        """
        cdef Place place
        if not self._place(region, &place):
            return None
        if place.height > most // place.width // self.bands // self.grid.codec.itemsize:
            return None
        out = empty((place.height, place.width, self.bands), self.dtype)
        job = <Job>Job.__new__(Job, self, 1, limit)
        job._take_window(&place, out)
        job._begin(1)
        if job.wanted_again():
            return None
        job.run()
        return out if job.left() is None else None

    def shape_of(self, region):
        """Return rows and columns of a plain window, as `window` takes them; None for any other region."""
        cdef Place place
        return (place.height, place.width) if self._place(region, &place) else None

    def windows(self, list regions, list outs, limit, threads):
        """Return work that reads plain windows of all bands, each into an array of its shape and this type."""
        cdef Place place
        job = <Job>Job.__new__(Job, self, len(regions), limit)
        for region, out in zip(regions, outs):
            if not self._place(region, &place):
                raise ValueError("a region is no plain window")
            job._take_window(&place, out)
        job._begin(threads)
        return job

    cdef bint _place(self, object region, Place *place):
        """Resolve a plain window inside the level; returns False for any other region."""
        cdef Py_ssize_t row, row_stop, col, col_stop, step
        if type(region) is Window:
            try:
                place.row, place.col = region.row, region.col
                place.height, place.width = region.height, region.width
            except OverflowError:  # beyond any image
                return False
        elif type(region) is tuple and len(region) == 2 and PySlice_Check(region[0]) and PySlice_Check(region[1]):
            try:
                PySlice_Unpack(region[0], &row, &row_stop, &step)
                if step != 1:
                    return False
                place.height = PySlice_AdjustIndices(self.height, &row, &row_stop, 1)
                PySlice_Unpack(region[1], &col, &col_stop, &step)
            except (TypeError, ValueError):
                return False
            if step != 1:
                return False
            place.width = PySlice_AdjustIndices(self.width, &col, &col_stop, 1)
            place.row, place.col = row, col
        else:
            return False
        return (
            place.row >= 0 and place.col >= 0 and place.height > 0 and place.width > 0
            and place.height <= self.height - place.row and place.width <= self.width - place.col
        )

    def job(self, list reads, limit, threads):
        """Return the same as work that so many threads may share; see `read`."""
        job = <Job>Job.__new__(Job, self, len(reads), limit)
        for read in reads:
            job._take(read)
        job._begin(threads)
        return job


cdef bint _can_map(Grid *grid) noexcept nogil:
    """Whether blocks are to be taken from the map, which is made where it pays."""
    if not grid.mappable or grid.map.spoiled:
        return False
    if grid.map.base == NULL:
        if grid.unmapped > 0:
            grid.unmapped -= 1
            return False
        if sr_next(&grid.mapping) != 0:  # another thread does it
            return False
        if not sr_map_open(&grid.map, grid.descriptor, grid.size):
            grid.mappable = False
            return False
    return True


cdef bint _is_cold(Grid *grid, int64_t offset) noexcept nogil:
    """Whether bytes have to come from the disk; it is looked at now and then only."""
    grid.looks += 1
    if grid.warm >= WARM and grid.looks % WARM:
        return False
    if sr_is_cold(grid.descriptor, offset):
        grid.warm = 0
        return True
    grid.warm += 1
    return False


cdef class Job:
    """Reads of one level that are being carried out, by any number of threads at once."""

    cdef BlockTable table
    cdef Grid *grid
    cdef Read *reads
    cdef int64_t count
    cdef Py_buffer *views
    cdef int64_t held
    cdef Piece *pieces
    cdef int64_t piece_count, room
    cdef int64_t *groups  # where the pieces of each block begin, and the end
    cdef int64_t group_count
    cdef uint8_t *done  # whether all that is wanted of each was copied
    cdef int64_t next_group, at_once
    cdef int64_t limit
    cdef bint mapped, cold

    def __cinit__(self, BlockTable table, int64_t count, limit):
        self.table = table
        self.grid = &table.grid
        self.limit = min(limit, LARGEST)
        self.count = count
        self.reads = <Read *>calloc(self.count, sizeof(Read))
        self.views = <Py_buffer *>calloc(self.count, sizeof(Py_buffer))
        if self.reads == NULL or self.views == NULL:
            raise MemoryError

    cdef _begin(self, threads):
        """Plan what was taken."""
        cdef int64_t place, number
        with nogil:
            for place in range(self.count):
                if not self._plan(place):
                    with gil:
                        raise MemoryError
            if not self._group():
                with gil:
                    raise MemoryError
        self.mapped = _can_map(self.grid)
        if self.piece_count:
            self.cold = _is_cold(self.grid, self.pieces[0].offset)
        if threads > 1:
            number = RUN_NBYTES // max(1, self.grid.codec.nbytes)
            self.at_once = max(1, min(number, self.group_count // (SHARES * <int64_t>min(threads, THREADS))))
        else:
            self.at_once = self.group_count + 1

    def __dealloc__(self):
        cdef int64_t place
        for place in range(self.held):
            PyBuffer_Release(&self.views[place])
        if self.reads != NULL:
            for place in range(self.count):
                free(self.reads[place].chosen)
        free(self.reads)
        free(self.views)
        free(self.pieces)
        free(self.groups)
        free(self.done)

    cdef _take(self, object asked):
        """Note down one `WindowRead` as numbers."""
        cdef Py_buffer *view = &self.views[self.held]
        cdef Read *read = &self.reads[self.held]
        _, window, out, bands, steps = asked
        PyObject_GetBuffer(out, view, PyBUF_STRIDED)
        self.held += 1
        read.row, read.col = window.row, window.col
        read.height, read.width = window.height, window.width
        read.row_step, read.col_step = steps
        self._check(read, view, bands is None)
        if bands is None:
            return
        if len(bands) != read.bands:
            raise ValueError("an output has a place for each band")
        read.chosen = <int32_t *>malloc(read.bands * sizeof(int32_t) + 1)
        if read.chosen == NULL:
            raise MemoryError
        for place, band in enumerate(bands):
            if not 0 <= band < self.grid.planes * self.grid.samples:
                raise ValueError("a band that is not there")
            read.chosen[place] = band

    cdef _take_window(self, const Place *place, object out):
        """Note down a read of all bands of a window."""
        cdef Read *read = &self.reads[self.held]
        cdef Py_buffer *view = &self.views[self.held]
        PyObject_GetBuffer(out, view, PyBUF_STRIDED)
        self.held += 1
        read.row, read.col, read.height, read.width = place.row, place.col, place.height, place.width
        read.row_step = read.col_step = 1
        self._check(read, view, True)

    cdef _check(self, Read *read, const Py_buffer *view, bint all_bands):
        """Note down where a read goes to; refuse one that leaves the level or its output."""
        cdef Grid *grid = self.grid
        cdef BlockTable table = self.table
        if view.ndim != 3 or view.itemsize != grid.codec.itemsize:
            raise ValueError("an output has three axes, and the type of the samples")
        read.out = <uint8_t *>view.buf
        read.strides.row, read.strides.col = view.strides[0], view.strides[1]
        read.strides.sample = view.strides[2]
        read.bands = view.shape[2]
        if (
            min(read.row, read.col) < 0 or min(read.height, read.width, read.row_step, read.col_step) < 1
            or read.height > table.height - read.row or read.width > table.width - read.col
            or view.shape[0] != _up(read.height, read.row_step)
            or view.shape[1] != _up(read.width, read.col_step)
        ):
            raise ValueError("a window lies inside of its level, and its output has its size")
        if all_bands and read.bands != grid.planes * grid.samples:
            # The last of several planes may hold fewer samples than the others.
            if grid.planes == 1 or read.bands > grid.planes * grid.samples:
                raise ValueError("an output has a place for each band")

    cdef bint _plan(self, int64_t place) noexcept nogil:
        """Add the blocks that a read wants; returns False if there is no memory."""
        cdef Grid *grid = self.grid
        cdef Read *read = &self.reads[place]
        cdef int64_t first_row = read.row // grid.block_rows
        cdef int64_t last_row = (read.row + read.height - 1) // grid.block_rows
        cdef int64_t first_col = read.col // grid.block_cols
        cdef int64_t last_col = (read.col + read.width - 1) // grid.block_cols
        cdef int64_t plane, row, col, number
        for plane in range(grid.planes):
            if grid.planes > 1 and not self._wants(read, plane):
                continue
            for row in range(first_row, last_row + 1):
                if not _touches(read.row, read.height, read.row_step, row, grid.block_rows):
                    continue
                for col in range(first_col, last_col + 1):
                    if not _touches(read.col, read.width, read.col_step, col, grid.block_cols):
                        continue
                    if self.piece_count == self.room and not self._make_room():
                        return False
                    number = (plane * grid.rows + row) * grid.cols + col
                    self.pieces[self.piece_count].offset = grid.offsets[number]
                    self.pieces[self.piece_count].number = number
                    self.pieces[self.piece_count].read = place
                    self.piece_count += 1
        return True

    cdef bint _make_room(self) noexcept nogil:
        cdef int64_t room = 2 * self.room + 16
        cdef Piece *pieces = <Piece *>realloc(self.pieces, room * sizeof(Piece))
        if pieces == NULL:
            return False
        self.pieces, self.room = pieces, room
        return True

    cdef bint _wants(self, const Read *read, int64_t plane) noexcept nogil:
        """Whether a read wants samples of a plane."""
        cdef int32_t k
        for k in range(read.bands):
            if (read.chosen[k] if read.chosen != NULL else k) // self.grid.samples == plane:
                return True
        return False

    cdef bint _group(self) noexcept nogil:
        """Bring pieces into the order of the file, and together those of one block."""
        cdef int64_t place
        cdef bint apart = self.grid.codec.compressor == SR_RAW  # nothing is decoded that could be shared
        self.groups = <int64_t *>malloc((self.piece_count + 1) * sizeof(int64_t))
        self.done = <uint8_t *>calloc(self.piece_count + 1, 1)
        if self.groups == NULL or self.done == NULL:
            return False
        if self.count > 1 and not apart:
            qsort(self.pieces, self.piece_count, sizeof(Piece), _in_order)
        for place in range(self.piece_count):
            if place == 0 or apart or self.pieces[place].number != self.pieces[place - 1].number:
                self.groups[self.group_count] = place
                self.group_count += 1
        self.groups[self.group_count] = self.piece_count
        return True

    def run(self):
        """Do what no other thread has begun, until all of it is done."""
        cdef _Scratch scratch = _take_scratch()
        cdef Grid *grid = self.grid
        cdef int guarded = -1
        cdef bint mapped
        cdef int64_t first, group
        with nogil:
            mapped = self.mapped
            if mapped:
                guarded = sr_guard_enter(&grid.map)
                mapped = guarded >= 0
            while True:
                first = sr_next(&self.next_group) * self.at_once
                if first >= self.group_count:
                    break
                for group in range(first, min(first + self.at_once, self.group_count)):
                    if self.cold:
                        self._announce(group)
                for group in range(first, min(first + self.at_once, self.group_count)):
                    self.done[group] = self._carry_out(group, &scratch.of, mapped)
            sr_guard_leave(guarded)
        _give_back(scratch)

    @property
    def shares(self):
        """How many threads can have a part of it."""
        return (self.group_count + self.at_once - 1) // self.at_once

    def left(self):
        """Return the numbers of the blocks that are left; None if there are none."""
        cdef int64_t group
        cdef Grid *grid = self.grid
        # What was cut may have been read as zeros, up to the end of its last page without any fault.
        if self.mapped and self.table.cut:
            return [self.pieces[self.groups[group]].number for group in range(self.group_count)]
        found = None
        for group in range(self.group_count):
            if not self.done[group]:
                if found is None:
                    found = []
                found.append(self.pieces[self.groups[group]].number)
        return found

    def wanted_again(self):
        """Tell, before it is begun, whether some of it would be left because it was decoded not long ago.

        Whoever does all again that is not done whole asks first: what was begun is decoded a second time, and
        then seems to be wanted again too.
        """
        cdef int64_t group, number
        cdef Grid *grid = self.grid
        if not grid.keeps or not self.limit:
            return False
        for group in range(self.group_count):
            number = self.pieces[self.groups[group]].number
            if grid.nbytes[number] and _is_late(grid.seen[number], _decoded + grid.codec.nbytes, self.limit):
                return True
        return False

    cdef void _announce(self, int64_t group) noexcept nogil:
        """Tell the disk of a block; of one that lies as it is, of the rows that are wanted."""
        cdef Grid *grid = self.grid
        cdef const Piece *piece = &self.pieces[self.groups[group]]
        cdef int64_t row, rows, cols, inner_row, inner_col, outer_row, outer_col
        if grid.nbytes[piece.number] <= 0 or piece.offset > grid.size - grid.nbytes[piece.number]:
            return  # of no bytes the disk would be told that it is all up to the end of the file
        if grid.codec.compressor != SR_RAW or grid.nbytes[piece.number] <= 1 << 20:
            sr_announce(grid.descriptor, piece.offset, grid.nbytes[piece.number])
            return
        cdef const Read *read = &self.reads[piece.read]
        self._place(read, piece.number, &inner_row, &inner_col, &outer_row, &outer_col, &rows, &cols)
        for row in range(rows):
            sr_announce(
                grid.descriptor,
                piece.offset + grid.start + (inner_row + row * read.row_step) * grid.strides.row
                + inner_col * grid.strides.col,
                ((cols - 1) * read.col_step + 1) * grid.strides.col,
            )

    cdef void _place(self, const Read *read, int64_t number, int64_t *inner_row, int64_t *inner_col,
                     int64_t *outer_row, int64_t *outer_col, int64_t *rows, int64_t *cols) noexcept nogil:
        """Tell which part of a block a read wants, and where it goes."""
        cdef Grid *grid = self.grid
        cdef int64_t row = number // grid.cols % grid.rows
        cdef int64_t col = number % grid.cols
        _overlap(read.row, read.height, read.row_step, row, grid.block_rows, inner_row, outer_row, rows)
        _overlap(read.col, read.width, read.col_step, col, grid.block_cols, inner_col, outer_col, cols)

    cdef bint _carry_out(self, int64_t group, sr_scratch *scratch, bint mapped) noexcept nogil:
        """Do all that is wanted of one block; returns False if it is left to others."""
        cdef Grid *grid = self.grid
        cdef int64_t first = self.groups[group], stop = self.groups[group + 1]
        cdef int64_t number = self.pieces[first].number
        cdef int64_t offset = grid.offsets[number], count = grid.nbytes[number]
        cdef int64_t begin, end, needed, place
        cdef const uint8_t *stored
        cdef const uint8_t *decoded
        if count == 0:
            for place in range(first, stop):
                self._fill(&self.reads[self.pieces[place].read], number)
            return True
        if offset < 0 or count < 0 or offset > grid.size - count:
            return False
        if grid.keeps and self.limit and self._lately(number):
            return False
        if mapped:
            stored = grid.map.base + offset
        elif grid.codec.compressor == SR_RAW and grid.codec.predictor == 1:
            return False  # only some of it is wanted
        else:
            if not sr_reserve(&scratch.stored, &scratch.stored_size, count):
                return False
            if not sr_read(grid.descriptor, offset, count, scratch.stored):
                return False
            stored = scratch.stored
        # A block is compared when it comes from the disk: those of a file that was closed may do so again.
        if grid.verified != NULL and (
            not grid.verified[number] or (grid.again and (self.cold or sr_is_cold(grid.descriptor, offset)))
        ):
            if sr_crc32c(stored, count) != (grid.sums[number] if grid.sums != NULL else SR_CRC32C_RESIDUE):
                return False
            grid.verified[number] = 1
        needed = self._extent(number, first, stop, &begin, &end)
        if not sr_decode(&grid.codec, scratch, stored, count, needed, begin, end, &decoded):
            return False
        for place in range(first, stop):
            self._copy(&self.reads[self.pieces[place].read], number, decoded + grid.start)
        return True

    cdef bint _lately(self, int64_t number) noexcept nogil:
        """Whether a block was decoded not long ago, so that others better keep it."""
        cdef int64_t now = sr_add(&_decoded, self.grid.codec.nbytes)
        cdef int64_t before = self.grid.seen[number]
        self.grid.seen[number] = now
        return _is_late(before, now, self.limit)

    cdef int64_t _extent(self, int64_t number, int64_t first, int64_t stop, int64_t *begin,
                         int64_t *end) noexcept nogil:
        """Tell which bytes of a decoded block are wanted; returns how many it must have."""
        cdef Grid *grid = self.grid
        cdef int64_t row_nbytes = grid.codec.row_nbytes
        cdef int64_t place, inner_row, inner_col, outer_row, outer_col, rows, cols, top, bottom
        cdef const Read *read
        begin[0], end[0] = 0, grid.codec.nbytes
        if row_nbytes == 0:
            return grid.codec.nbytes
        top, bottom = grid.block_rows, 0
        for place in range(first, stop):
            read = &self.reads[self.pieces[place].read]
            self._place(read, number, &inner_row, &inner_col, &outer_row, &outer_col, &rows, &cols)
            top = min(top, inner_row)
            bottom = max(bottom, inner_row + (rows - 1) * read.row_step + 1)
        begin[0], end[0] = top * row_nbytes, bottom * row_nbytes
        if number // grid.cols % grid.rows == grid.rows - 1:
            return grid.last_rows * row_nbytes
        return grid.codec.nbytes

    cdef void _copy(self, const Read *read, int64_t number, const uint8_t *decoded) noexcept nogil:
        """Copy what a read wants of a decoded block."""
        cdef Grid *grid = self.grid
        cdef int64_t inner_row, inner_col, outer_row, outer_col, rows, cols, plane, band
        cdef sr_strides here = grid.strides
        cdef uint8_t *to
        cdef int32_t k
        cdef int swapped = grid.codec.swapped if grid.codec.predictor == 1 else 0
        self._place(read, number, &inner_row, &inner_col, &outer_row, &outer_col, &rows, &cols)
        decoded += inner_row * here.row + inner_col * here.col
        here.row, here.col = here.row * read.row_step, here.col * read.col_step
        to = read.out + outer_row * read.strides.row + outer_col * read.strides.col
        if grid.planes == 1:
            sr_copy(decoded, here, to, read.strides, rows, cols, read.bands, read.chosen,
                    grid.codec.itemsize, swapped)
            return
        plane = number // (grid.rows * grid.cols)
        for k in range(read.bands):
            band = read.chosen[k] if read.chosen != NULL else k
            if band // grid.samples == plane:
                sr_copy(decoded + band % grid.samples * here.sample, here, to + k * read.strides.sample,
                        read.strides, rows, cols, 1, NULL, grid.codec.itemsize, swapped)

    cdef void _fill(self, const Read *read, int64_t number) noexcept nogil:
        """Put into a result what a block holds that was never written."""
        cdef Grid *grid = self.grid
        cdef int64_t inner_row, inner_col, outer_row, outer_col, rows, cols, plane
        cdef uint8_t *to
        cdef int32_t k
        self._place(read, number, &inner_row, &inner_col, &outer_row, &outer_col, &rows, &cols)
        to = read.out + outer_row * read.strides.row + outer_col * read.strides.col
        plane = number // (grid.rows * grid.cols)
        for k in range(read.bands):
            if grid.planes == 1 or (read.chosen[k] if read.chosen != NULL else k) // grid.samples == plane:
                sr_fill(grid.fill, to + k * read.strides.sample, read.strides, rows, cols, 1,
                        grid.codec.itemsize)


cdef inline bint _is_late(int64_t before, int64_t now, int64_t limit) noexcept nogil:
    """Whether so little was decoded since then that what could be kept would still be there."""
    return before != 0 and now - before <= limit // 2


cdef inline int64_t _up(int64_t number, int64_t step) noexcept nogil:
    return (number + step - 1) // step if number > 0 else 0


cdef inline bint _touches(int64_t start, int64_t length, int64_t step, int64_t block, int64_t size) noexcept nogil:
    """Whether any of the pixels that are taken of an interval lies in a block."""
    return step == 1 or _up(block * size - start, step) * step < min(length, (block + 1) * size - start)


cdef inline void _overlap(int64_t start, int64_t length, int64_t step, int64_t block, int64_t size,
                          int64_t *inner, int64_t *outer, int64_t *count) noexcept nogil:
    """Tell the first pixel of a block that is taken, where it goes, and how many there are."""
    cdef int64_t first = _up(block * size - start, step)
    cdef int64_t stop = _up(min(length, (block + 1) * size - start), step)
    inner[0], outer[0], count[0] = start + first * step - block * size, first, stop - first

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# cython: freethreading_compatible=True
"""Carries out reads of a grid of blocks without the interpreter: planned, fetched, decoded, copied in one call.

This is its door: Python's levels, windows and arrays become numbers here, which C works with (`work.c`). What it
cannot do, it hands back: the numbers of the blocks that are left to `blocks.execute`.
"""

from cpython.buffer cimport PyBUF_ND, PyBUF_STRIDED, PyBuffer_Release, PyObject_GetBuffer
from cpython.slice cimport PySlice_Check
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from numpy import empty

from subregion.geometry.window import Window


#: Compressors by the names that codecs give them.
_COMPRESSORS = {
    "raw": SR_RAW, "zstd": SR_ZSTD, "zlib": SR_ZLIB, "gzip": SR_GZIP, "lz4": SR_LZ4, "blosc": SR_BLOSC
}
#: Bytes of each buffer that a thread keeps for its next call, at most.
cdef int64_t KEPT = 8 << 20
#: A limit of bytes, and a number of threads, that no machine has: more are as good as so many.
cdef int64_t LARGEST = 1 << 60
cdef int64_t THREADS = 1 << 20


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


cdef class _Notes:
    """When blocks of a file as it is were decoded, for all times that it is open: they are kept as long."""

    cdef int64_t *seen

    def __dealloc__(self):
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
    cdef readonly int64_t bands
    cdef sr_grid grid
    cdef Py_buffer _views[3]
    cdef int _held
    cdef tuple _about
    cdef _Notes _notes

    def __cinit__(self, file, bint mappable, shape, offsets, nbytes, block, int64_t samples, dtype, dict codec,
                  strides, int64_t start, int64_t last_rows, bytes fill, sums, bint keeps,
                  _Notes notes=None):
        cdef sr_grid *grid = &self.grid
        cdef int64_t count
        self._about = (
            mappable, shape, offsets, nbytes, block, samples, dtype, codec, strides, start, last_rows, fill, sums,
            keeps
        )
        self.file = file
        self.dtype = dtype
        grid.height, grid.width, self.bands = shape
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
        if len(fill) != grid.codec.itemsize or len(fill) > SR_SAMPLE:
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
        listed = self._views[0].len == self._views[1].len == count * <int64_t>sizeof(int64_t)
        if sums is not None:
            listed = listed and self._views[2].len == count * <int64_t>sizeof(uint32_t)
        if not listed or not sr_grid_fits(grid):
            raise ValueError("a level has as many blocks as its size says, and their samples lie inside of them")
        self._notes = <_Notes>_Notes.__new__(_Notes) if notes is None else notes
        if sums is not None or grid.codec.checked:
            # Noted anew each time that the file is opened: meanwhile blocks may have to come from the disk again,
            # and no look at one byte tells that of all pages of a block.
            grid.verified = <uint8_t *>calloc(count, 1)
            if grid.verified == NULL:
                raise MemoryError
        grid.keeps = self.keeps = keeps
        if notes is None and keeps:
            self._notes.seen = <int64_t *>calloc(count, sizeof(int64_t))
            if self._notes.seen == NULL:
                raise MemoryError
        grid.seen = self._notes.seen
        # A map costs more than it saves the first window, unless only some of a block is touched.
        grid.unmapped = 0 if grid.codec.compressor == SR_RAW else 1

    def __dealloc__(self):
        cdef sr_grid *grid = &self.grid
        sr_map_close(&grid.map)
        free(grid.verified)
        for place in range(self._held):
            PyBuffer_Release(&self._views[place])

    def on(self, file) -> "BlockTable":
        """Return the same of the same file that was opened again, or closed; what was decoded is noted for both."""
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
        cdef sr_window wanted
        if not self._resolve(region, &wanted):
            return None
        if wanted.height > most // wanted.width // self.bands // self.grid.codec.itemsize:
            return None
        out = empty((wanted.height, wanted.width, self.bands), self.dtype)
        job = <Job>Job.__new__(Job, self, 1, limit)
        job._take_window(&wanted, out)
        job._begin(1)
        if job.wanted_again():
            return None
        job.run()
        return out if job.left() is None else None

    def shape_of(self, region):
        """Return rows and columns of a plain window, as `window` takes them; None for any other region."""
        cdef sr_window wanted
        return (wanted.height, wanted.width) if self._resolve(region, &wanted) else None

    def windows(self, list regions, list outs, limit, threads):
        """Return work that reads plain windows of all bands, each into an array of its shape and this type."""
        cdef sr_window wanted
        job = <Job>Job.__new__(Job, self, len(regions), limit)
        for region, out in zip(regions, outs):
            if not self._resolve(region, &wanted):
                raise ValueError("a region is no plain window")
            job._take_window(&wanted, out)
        job._begin(threads)
        return job

    cdef bint _resolve(self, object region, sr_window *wanted):
        """Resolve a plain window inside the level; returns False for any other region."""
        cdef Py_ssize_t row, row_stop, col, col_stop, step
        if type(region) is Window:
            try:
                wanted.row, wanted.col = region.row, region.col
                wanted.height, wanted.width = region.height, region.width
            except OverflowError:  # beyond any image
                return False
        elif type(region) is tuple and len(region) == 2 and PySlice_Check(region[0]) and PySlice_Check(region[1]):
            try:
                PySlice_Unpack(region[0], &row, &row_stop, &step)
                if step != 1:
                    return False
                wanted.height = PySlice_AdjustIndices(self.grid.height, &row, &row_stop, 1)
                PySlice_Unpack(region[1], &col, &col_stop, &step)
            except (TypeError, ValueError):
                return False
            if step != 1:
                return False
            wanted.width = PySlice_AdjustIndices(self.grid.width, &col, &col_stop, 1)
            wanted.row, wanted.col = row, col
        else:
            return False
        wanted.row_step = wanted.col_step = 1
        wanted.chosen = NULL
        return sr_window_fits(&self.grid, wanted, wanted.height, wanted.width)

    def job(self, list reads, limit, threads):
        """Return the same as work that so many threads may share; see `read`."""
        job = <Job>Job.__new__(Job, self, len(reads), limit)
        for read in reads:
            job._take(read)
        job._begin(threads)
        return job


cdef class Job:
    """Reads of one level that are being carried out, by any number of threads at once."""

    cdef BlockTable table
    cdef sr_work work
    cdef Py_buffer *views
    cdef int64_t held

    def __cinit__(self, BlockTable table, int64_t count, limit):
        cdef sr_work *work = &self.work
        self.table = table
        work.grid = &table.grid
        work.limit = min(limit, LARGEST)
        work.count = count
        work.windows = <sr_window *>calloc(count, sizeof(sr_window))
        self.views = <Py_buffer *>calloc(count, sizeof(Py_buffer))
        if work.windows == NULL or self.views == NULL:
            raise MemoryError

    cdef _begin(self, threads):
        """Plan what was taken."""
        cdef int64_t count = min(threads, THREADS)
        cdef int begun
        with nogil:
            begun = sr_work_begin(&self.work, count)
        if not begun:
            raise MemoryError

    def __dealloc__(self):
        cdef int64_t place
        for place in range(self.held):
            PyBuffer_Release(&self.views[place])
        sr_work_free(&self.work)
        if self.work.windows != NULL:
            for place in range(self.work.count):
                free(self.work.windows[place].chosen)
        free(self.work.windows)
        free(self.views)

    cdef _take(self, object asked):
        """Note down one `WindowRead` as numbers."""
        cdef Py_buffer *view = &self.views[self.held]
        cdef sr_window *wanted = &self.work.windows[self.held]
        _, window, out, bands, steps = asked
        PyObject_GetBuffer(out, view, PyBUF_STRIDED)
        self.held += 1
        wanted.row, wanted.col = window.row, window.col
        wanted.height, wanted.width = window.height, window.width
        wanted.row_step, wanted.col_step = steps
        self._aim(wanted, view)
        if bands is not None:
            if len(bands) != wanted.bands:
                raise ValueError("an output has a place for each band")
            wanted.chosen = <int32_t *>malloc(wanted.bands * sizeof(int32_t) + 1)
            if wanted.chosen == NULL:
                raise MemoryError
            for place, band in enumerate(bands):
                wanted.chosen[place] = band
        if not sr_bands_fit(self.work.grid, wanted):
            raise ValueError("an output has a place for each band, and there is such a band")

    cdef _take_window(self, const sr_window *resolved, object out):
        """Note down a read of all bands of a window."""
        cdef sr_window *wanted = &self.work.windows[self.held]
        cdef Py_buffer *view = &self.views[self.held]
        PyObject_GetBuffer(out, view, PyBUF_STRIDED)
        self.held += 1
        wanted[0] = resolved[0]
        self._aim(wanted, view)
        if not sr_bands_fit(self.work.grid, wanted):
            raise ValueError("an output has a place for each band")

    cdef _aim(self, sr_window *wanted, const Py_buffer *view):
        """Note down where a read goes to; refuse one that leaves the level or its output."""
        if view.ndim != 3 or view.itemsize != self.work.grid.codec.itemsize:
            raise ValueError("an output has three axes, and the type of the samples")
        wanted.out = <uint8_t *>view.buf
        wanted.strides.row, wanted.strides.col = view.strides[0], view.strides[1]
        wanted.strides.sample = view.strides[2]
        wanted.bands = view.shape[2]
        if not sr_window_fits(self.work.grid, wanted, view.shape[0], view.shape[1]):
            raise ValueError("a window lies inside of its level, and its output has its size")

    def run(self):
        """Do what no other thread has begun, until all of it is done."""
        cdef _Scratch scratch = _take_scratch()
        with nogil:
            sr_work_run(&self.work, &scratch.of)
        _give_back(scratch)

    @property
    def shares(self):
        """How many threads can have a part of it."""
        return sr_work_shares(&self.work)

    def left(self):
        """Return the numbers of the blocks that are left; None if there are none."""
        cdef int64_t group
        cdef const sr_plan *plan = &self.work.plan
        # What was cut may have been read as zeros, up to the end of its last page without any fault.
        if self.work.mapped and self.table.cut:
            return [sr_first_of(plan, group).number for group in range(plan.group_count)]
        found = None
        for group in range(plan.group_count):
            if not self.work.done[group]:
                if found is None:
                    found = []
                found.append(sr_first_of(plan, group).number)
        return found

    def wanted_again(self):
        """Tell, before it is begun, whether some of it would be left because it was decoded not long ago.

        Whoever does all again that is not done whole asks first: what was begun is decoded a second time, and
        then seems to be wanted again too.
        """
        return bool(sr_work_is_late(&self.work))

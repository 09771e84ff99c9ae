"""Where the blocks of a Huffman-coded JPEG begin, found for thousands of places at once.

Where a block ends is known only when all of its symbols were read, so decoding goes from the front. But a
decoder that is dropped anywhere into the bits soon falls into step with one that came from the front: codes
that were read wrong meet the true ones after some hundred bits. So many decoders start at once, far apart,
as lanes of NumPy arrays. Then each goes on into the part of the next one until it stands at a block that this
one has seen, too. So nothing is left to luck: what comes out is what a decoder from the front would find.
(S. T. Klein, Y. Wiseman: Parallel Huffman decoding with applications to JPEG files. The Computer Journal 46,
2003.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from subregion.forks import computed_once

#: A block has at most 64 symbols of at most 31 bits; so many bytes are wanted behind the last one.
MARGIN = 256
#: How far apart decoders start, in bits. Half as far, and many do not fall into step before the next begins.
_STRIDE = 1 << 12
#: Idle lanes are thrown out when they are this part of all.
_IDLE = 0.3

_LENGTH, _ADVANCE = 0x1F, 5


@dataclass(frozen=True, slots=True)
class HuffmanTable:
    """The codes of one table.

    Parameters
    ----------
    counts : tuple of int
        How many codes there are of 1 to 16 bits.
    symbols : bytes
        What they stand for, in the order of the codes.
    """

    counts: tuple[int, ...]
    symbols: bytes

    def codes(self) -> list[tuple[int, int, int]]:
        """List symbol, code and bits of the code (JPEG, annex C)."""
        found, code, k = [], 0, 0
        for bits, count in enumerate(self.counts, 1):
            for _ in range(count):
                found.append((self.symbols[k], code, bits))
                code += 1
                k += 1
            code <<= 1
        return found

    @property
    def valid(self) -> bool:
        """Whether the codes fit into their bits."""
        return len(self.symbols) == sum(self.counts) and all(
            code >> bits == 0 for _, code, bits in self.codes()
        )

    def with_symbols(self, wanted: range) -> HuffmanTable | None:
        """Return a table with further symbols, in which all codes of this one stay what they are.

        New codes are put behind the longest, where a table always has room for one at least, because
        no code may be all ones. None if there is no room for all.
        """
        missing = bytes(symbol for symbol in wanted if symbol not in self.symbols)
        if not missing:
            return self
        codes = self.codes()
        _, last, longest = codes[-1] if codes else (0, -1, 1)
        for bits in range(longest, 17):
            free = (1 << bits) - 1 - ((last + 1) << (bits - longest))
            if free >= len(missing):
                counts = list(self.counts)
                counts[bits - 1] += len(missing)
                return HuffmanTable(tuple(counts), self.symbols + missing)
        return None

    def lookup(self, dc: bool) -> NDArray[np.int32]:
        """Return for each 16 bits how many bits the symbol in front takes, and by how much it advances.

        Magnitude bits are counted as part of the symbol. What is no code takes one bit, so that a decoder
        that is out of step goes on.
        """
        table = np.full(1 << 16, 1 | 1 << _ADVANCE, np.int32)
        for symbol, code, bits in self.codes():
            run, size = symbol >> 4, symbol & 15
            if dc:
                advance, size = 1, min(symbol, 15)
            elif size == 0 and run < 15:
                advance = 64  # the end of the block
            else:
                advance = run + 1
            table[code << (16 - bits) : (code + 1) << (16 - bits)] = (
                min(bits + size, 31) | advance << _ADVANCE
            )
        return table


@dataclass(frozen=True, slots=True)
class BlockTables:
    """The tables of the blocks of a unit, in their order.

    Parameters
    ----------
    dc, ac : tuple of HuffmanTable
        One for each block.
    """

    dc: tuple[HuffmanTable, ...]
    ac: tuple[HuffmanTable, ...]


class BlockFinder:
    """Finds the blocks of a stream, piece by piece.

    Parameters
    ----------
    tables : BlockTables
        The tables of the blocks of a unit.
    """

    def __init__(self, tables: BlockTables) -> None:
        self._phases = len(tables.dc)
        distinct: dict[tuple[bool, HuffmanTable], int] = {}
        lookups: list[NDArray[np.int32]] = []
        bases = []
        for pair in zip(tables.dc, tables.ac, strict=True):
            for dc, table in zip((True, False), pair, strict=True):
                if (dc, table) not in distinct:
                    distinct[dc, table] = len(lookups) << 16
                    lookups.append(table.lookup(dc))
                bases.append(distinct[dc, table])
        # One more phase, in which a lane stands still.
        bases += [len(lookups) << 16] * 2
        lookups.append(np.zeros(1 << 16, np.int32))
        self._lookup = np.concatenate(lookups)
        self._bases = np.array(bases, np.int64)

    def find(self, data: NDArray[np.uint8], start: int, phase: int, stop: int) -> NDArray[np.uint8]:
        """Mark the blocks that begin from bit `start` up to the first at `stop` or later.

        Parameters
        ----------
        data : ndarray of uint8
            The bits, with `MARGIN` bytes more than `stop` needs.
        start, phase : int
            Where a block is known to begin, and which of its unit it is.
        stop : int
            The bit after the last one to look at.

        Returns
        -------
        ndarray of uint8
            For each bit 0, or 1 + the number in its unit of the block that begins there.
        """
        self._data = data
        self._words = words_of(data)
        seen = np.zeros(8 * len(data), np.uint8)
        starts = np.arange(start, max(stop, start + 1), _STRIDE)
        phases = np.zeros(len(starts), np.int64)
        phases[0] = phase
        ends, ended = self._run(starts, phases, np.append(starts[1:], stop), seen)
        self._join(starts, ends, ended, seen, stop)
        return seen

    def _run(
        self,
        at: NDArray[np.int64],
        phase: NDArray[np.int64],
        limit: NDArray[np.int64],
        seen: NDArray[np.uint8],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Let each lane run through its part; return where the block behind it begins, and its phase."""
        ends, ended = np.empty_like(at), np.empty_like(at)
        lanes, at, k, idle = np.arange(len(at)), at.copy(), np.zeros_like(at), 0
        while True:
            begun = np.flatnonzero(k == 0)
            places = at[begun]
            over = places >= limit[begun]
            if over.any():
                here = begun[over]
                ends[lanes[here]], ended[lanes[here]] = at[here], phase[here]
                phase[here], k[here] = self._phases, 1
                idle += len(here)
                if idle == len(lanes):
                    return ends, ended
                if idle > _IDLE * len(lanes):
                    kept = phase < self._phases
                    lanes, at, phase, limit, k = (each[kept] for each in (lanes, at, phase, limit, k))
                    idle = 0
                    begun = np.flatnonzero(k == 0)
                else:
                    begun = begun[~over]
                places = at[begun]
            seen[places] = phase[begun] + 1
            self._step(at, phase, k)

    def _step(self, at: NDArray[np.int64], phase: NDArray[np.int64], k: NDArray[np.int64]) -> None:
        """Read one symbol in each lane."""
        peek = (self._words.take(at >> 3) >> (16 - (at & 7)).astype(np.uint32)) & 0xFFFF
        entry = self._lookup.take(self._bases.take(2 * phase + (k > 0)) + peek)
        at += entry & _LENGTH
        k += entry >> _ADVANCE
        done = np.flatnonzero(k >= 64)
        k[done] = 0
        following = phase[done] + 1
        following[following == self._phases] = 0
        phase[done] = following

    def _join(
        self,
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
        ended: NDArray[np.int64],
        seen: NDArray[np.uint8],
        stop: int,
    ) -> None:
        """Follow the truth from lane to lane, and keep of each what it runs through."""
        met, trails = self._meet(ends, ended, seen, stop)
        cuts = np.searchsorted(trails[:, 0], np.arange(len(starts) + 1)).tolist()
        lane = 0
        while True:
            at, high = int(ends[lane]), int(met[lane])
            trail = trails[cuts[lane] : cuts[lane + 1], 1:]
            if high < 0:
                trail = np.array(self._trail(at, int(ended[lane]), seen, stop))
                high = int(trail[-1, 0])
            seen[starts[lane + 1] if lane + 1 < len(starts) else stop : high] = 0
            seen[trail[:, 0]] = trail[:, 1] + 1
            if high >= stop:
                return
            lane = int(np.searchsorted(starts, high, "right")) - 1

    def _meet(
        self, ends: NDArray[np.int64], ended: NDArray[np.int64], seen: NDArray[np.uint8], stop: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Let all lanes go on until each meets the one that has begun where it is.

        Returns
        -------
        met : ndarray of int64
            Where that was; -1 if it took too long, as in monotonous parts it may.
        trails : ndarray of int64, shape (blocks, 3)
            The lane, the place and the number in its unit of each block on the way there, lane by lane.
        """
        lanes, met = np.arange(len(ends)), np.full(len(ends), -1, np.int64)
        at, phase, k = ends.copy(), ended.copy(), np.zeros_like(ends)
        trails = []
        while True:
            begun = np.flatnonzero(k == 0)
            trails.append(np.stack([lanes[begun], at[begun], phase[begun]], axis=1))
            done = begun[(at[begun] >= stop) | (seen[at[begun]] == phase[begun] + 1)]
            met[lanes[done]] = at[done]
            leaving = at - ends[lanes] > 2 * _STRIDE
            leaving[done] = True
            if leaving.any():
                kept = ~leaving
                lanes, at, phase, k = (each[kept] for each in (lanes, at, phase, k))
                if not len(lanes):
                    break
            self._step(at, phase, k)
        trail = np.concatenate(trails)
        return met, trail[np.argsort(trail[:, 0], kind="stable")]

    def _trail(self, at: int, phase: int, seen: NDArray[np.uint8], stop: int) -> list[tuple[int, int]]:
        """Go on from one place, symbol by symbol, until a lane is met: what arrays of one do slowly."""
        data, seen_at = self._data.data, seen.data
        lookup, bases = self._lookup_list, self._bases.tolist()
        trail = [(at, phase)]
        while at < stop and seen_at[at] != phase + 1:
            base, k = bases[2 * phase], 0
            while k < 64:
                byte = at >> 3
                peek = (data[byte] << 16 | data[byte + 1] << 8 | data[byte + 2]) >> 8 - (at & 7) & 0xFFFF
                entry = lookup[base + peek]
                at += entry & _LENGTH
                if k == 0:
                    base = bases[2 * phase + 1]
                k += entry >> _ADVANCE
            phase = phase + 1 if phase + 1 < self._phases else 0
            trail.append((at, phase))
        return trail

    @computed_once
    def _lookup_list(self) -> list[int]:
        found: list[int] = self._lookup.tolist()
        return found


def words_of(data: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return the 32 bits from each byte on; the last ones are filled up with zeros."""
    padded = np.concatenate([data, np.zeros(3, np.uint8)]).astype(np.uint32)
    words: NDArray[np.uint32] = padded[3:].copy()
    for k, shift in enumerate((24, 16, 8)):
        words |= padded[k : k - 3] << np.uint32(shift)
    return words

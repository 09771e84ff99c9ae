"""The images or videos of a dataset, found by their ids: those of a file stay, those in memory are edited."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from subregion.collections.coco_file import Lists, parse
from subregion.collections.coco_schema import Entry, Member, typed
from subregion.errors import RecordError, UnsupportedFormatError, shown

#: Sizes beyond are no sizes of images.
_LARGEST = 1 << 40


class Entries(ABC):
    """The list of images, or of videos, of a dataset.

    Parameters
    ----------
    owner : str
        The file, or what else holds the list, to name in messages.
    key : str
        ``"images"`` or ``"videos"``.
    """

    def __init__(self, owner: str, key: str) -> None:
        self.owner = owner
        self.key = key
        self._index: dict[Any, int] = {}

    @property
    @abstractmethod
    def ids(self) -> Sequence[Any]:
        """The ids, in the order of the list."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def find(self, entry_id: Any) -> int | None:
        """Return the place of the entry with an id; None if there is none."""

    @abstractmethod
    def document(self, place: int) -> Mapping[str, Any]:
        """Return an entry with all that is in it."""

    @abstractmethod
    def typed(self, place: int, kind: type[Entry]) -> Entry:
        """Return what is known of an entry, checked."""

    @abstractmethod
    def members(self, video_id: Any) -> list[Member]:
        """Return what places the entries that belong to a video in it."""

    @abstractmethod
    def sizes(self) -> NDArray[np.int64]:
        """Return height and width of each entry; 0 where none is written, or what is written is none."""

    def named(self, place: int) -> str:
        """Name an entry in messages."""
        return f"{self.owner}: {self.key[:-1]} {shown(self.ids[place])}"

    def as_list(self, found: object) -> list[Any]:
        """Return the list if it is one; a dataset may have none of videos."""
        if found is None and self.key == "videos":
            return []
        if not isinstance(found, list):
            raise UnsupportedFormatError(
                f"{self.owner}: is no dataset in the COCO format: {self.key}={shown(found)} must be a list."
            )
        return found

    def ids_of(self, entries: list[Any]) -> list[Any]:
        """Return the ids of entries in memory."""
        try:
            return [entry["id"] for entry in entries]
        except (TypeError, LookupError, AttributeError):  # one of them is malformed
            return [self.id_at(place, entry) for place, entry in enumerate(entries)]

    def id_at(self, place: int, entry: Any) -> Any:
        """Return the id of an entry in memory."""
        if not isinstance(entry, Mapping):
            raise RecordError(f"{self.owner}: {self.key}[{place}]={shown(entry)} must be an object.")
        if "id" not in entry:
            raise RecordError(f"{self.owner}: {self.key}[{place}] has no 'id': {shown(dict(entry))}.")
        return entry["id"]

    def indexed(self, ids: Sequence[Any]) -> dict[Any, int]:
        """Return the place of each id.

        Raises
        ------
        RecordError
            If an id is missing, is no value that can be looked up, or is given twice.
        """
        try:
            index = dict(zip(ids, range(len(ids)), strict=True))
        except TypeError:
            index = {}
        if len(index) == len(ids) and None not in index and float not in set(map(type, index)):
            return index
        index = {}
        for place, entry_id in enumerate(ids):
            where = f"{self.owner}: {self.key}[{place}]"
            try:
                first = index.setdefault(entry_id, place)
            except TypeError:
                raise RecordError(
                    f"{where}.id={shown(entry_id)} must be a number or a text, or what else can be looked up."
                ) from None
            if entry_id is None or entry_id != entry_id:
                raise RecordError(f"{where}.id={shown(entry_id)} must be a number or a text.")
            if first != place:
                raise RecordError(
                    f"{where}: the id {shown(entry_id)} is that of {self.key}[{first}] already; "
                    f"each needs one of its own."
                )
        return index


class _Id(msgspec.Struct, gc=False):
    id: Any


class _Sized(msgspec.Struct, gc=False):
    height: Any = None
    width: Any = None


# Made on import; see `coco_schema`.
_read_ids = msgspec.json.Decoder(list[_Id]).decode
_read_sizes = msgspec.json.Decoder(list[_Sized]).decode
_read_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode


def _sizes(pairs: Iterable[tuple[Any, Any]]) -> NDArray[np.int64]:
    return np.array([(_size(height), _size(width)) for height, width in pairs], np.int64).reshape(-1, 2)


def _size(value: Any) -> int:
    if type(value) is int:
        return value if 0 < value < _LARGEST else 0
    if isinstance(value, float | np.integer | np.floating) and 0 < value < _LARGEST and value == int(value):
        return int(value)
    return 0


class FileEntries(Entries):
    """Entries that stay as they are.

    Parameters
    ----------
    owner, key
        See `Entries`.
    source : bytes or list of Mapping
        The list as JSON; or its entries.

    Raises
    ------
    SubregionError
        If it is no list of objects that have an id each.
    """

    def __init__(self, owner: str, key: str, source: bytes | Sequence[Any]) -> None:
        super().__init__(owner, key)
        self._source = source
        self._members: dict[Any, list[Member]] | None = None
        self._entries: list[Any]
        if isinstance(source, bytes):
            try:
                self._ids = [entry.id for entry in _read_ids(source)]
                self._entries = _read_raw(source)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self._source = source = parse(owner, source)  # what is wrong is said with the value
        if not isinstance(source, bytes):
            self._entries = self.as_list(source)
            self._ids = self.ids_of(self._entries)
        self._index = self.indexed(self._ids)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.owner, self.key, self._source)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def ids(self) -> Sequence[Any]:
        """The ids, in the order of the list."""
        return self._ids

    def find(self, entry_id: Any) -> int | None:
        """Return the place of the entry with an id; None if there is none."""
        try:
            return self._index.get(entry_id)
        except TypeError:
            return None

    def document(self, place: int) -> Mapping[str, Any]:
        """Return an entry with all that is in it."""
        entry = self._entries[place]
        found: Mapping[str, Any] = (
            parse(self.named(place), bytes(entry)) if isinstance(entry, msgspec.Raw) else entry
        )
        return found

    def typed(self, place: int, kind: type[Entry]) -> Entry:
        """Return what is known of an entry, checked."""
        entry = self._entries[place]
        if isinstance(entry, msgspec.Raw):
            try:
                return msgspec.json.decode(entry, type=kind)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass  # what is wrong is said below, with the value
        return typed(self.document(place), kind, self.named(place))

    def sizes(self) -> NDArray[np.int64]:
        """Return height and width of each entry; 0 where none is written, or what is written is none."""
        if isinstance(self._source, bytes):
            found = _read_sizes(self._source)
            return _sizes((each.height, each.width) for each in found)
        return _sizes((each.get("height"), each.get("width")) for each in self._entries)

    def members(self, video_id: Any) -> list[Member]:
        """Return what places the entries that belong to a video in it."""
        if self._members is None:
            members: dict[Any, list[Member]] = {}
            for place in range(len(self)):
                member = self.typed(place, Member)
                try:
                    members.setdefault(member.video_id, []).append(member)
                except TypeError:
                    continue  # whoever reads the image hears of it
            self._members = members
        return self._members.get(video_id, [])


class LiveEntries(Entries):
    """Entries of a dataset in memory, whose later edits are seen.

    Parameters
    ----------
    owner, key
        See `Entries`.
    dataset : Mapping
        What holds the list. It may hold none of videos.

    Raises
    ------
    SubregionError
        As for `FileEntries`, now or when it is looked at after an edit.
    """

    def __init__(self, owner: str, key: str, dataset: Mapping[str, Any]) -> None:
        super().__init__(owner, key)
        self._dataset = dataset
        self._index = self.indexed(self.ids_of(self._list))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_index": {}}

    @property
    def _list(self) -> list[Any]:
        return self.as_list(self._dataset.get(self.key))

    def __len__(self) -> int:
        return len(self._list)

    @property
    def ids(self) -> Sequence[Any]:
        """The ids, in the order of the list, as they are when it is looked at."""
        return LiveIds(self)

    def find(self, entry_id: Any) -> int | None:
        """Return the place of the entry with an id; None if there is none."""
        entries = self._list
        try:
            place = self._index.get(entry_id)
        except TypeError:
            return None
        if place is None or place >= len(entries) or not self._is_at(place, entries[place], entry_id):
            # The first look, or the list was edited since.
            self._index = self.indexed(self.ids_of(entries))
            place = self._index.get(entry_id)
        return place

    def _is_at(self, place: int, entry: Any, entry_id: Any) -> bool:
        found = self.id_at(place, entry)
        try:
            return found is entry_id or bool(found == entry_id)
        except (TypeError, ValueError):  # an array, which does not compare to a bool
            return False

    def document(self, place: int) -> Mapping[str, Any]:
        """Return an entry with all that is in it."""
        entry = self._list[place]
        self.id_at(place, entry)
        found: Mapping[str, Any] = entry
        return found

    def typed(self, place: int, kind: type[Entry]) -> Entry:
        """Return what is known of an entry, checked."""
        return typed(self.document(place), kind, self.named(place))

    def sizes(self) -> NDArray[np.int64]:
        """Return height and width of each entry; 0 where none is written, or what is written is none."""
        return _sizes((each.get("height"), each.get("width")) for each in self._list)

    def members(self, video_id: Any) -> list[Member]:
        """Return what places the entries that belong to a video in it."""
        # Any entry may have moved to another video since the last look.
        entries = self._list
        self._index = self.indexed(self.ids_of(entries))
        return [
            typed(entry, Member, self.named(place))
            for place, entry in enumerate(entries)
            if entry.get("video_id") == video_id
        ]


class LiveIds(Sequence[Any]):
    """The ids of a list that may be edited: a view, which costs nothing to make.

    Parameters
    ----------
    entries : LiveEntries
        The list.
    """

    def __init__(self, entries: LiveEntries) -> None:
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, place: int) -> Any: ...

    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...

    def __getitem__(self, place: int | slice) -> Any:
        entries = self._entries._list
        if isinstance(place, slice):
            return self._entries.ids_of(entries[place])
        return self._entries.id_at(place, entries[place])

    def __iter__(self) -> Iterator[Any]:
        return iter(self._entries.ids_of(self._entries._list))

    def __contains__(self, entry_id: object) -> bool:
        return self._entries.find(entry_id) is not None

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal to lists, and like them it changes

    def __repr__(self) -> str:
        return repr(list(self))


def entries_of(dataset: Lists | Mapping[str, Any], owner: str) -> tuple[Entries, Entries]:
    """Return the images and the videos of a dataset.

    Parameters
    ----------
    dataset : Lists or Mapping
        From a file, or what the user holds, and may edit. Where that has no list of images but something that
        can be gone through, as the rows of a database, they are read now, once.
    owner : str
        See `Entries`.
    """
    if isinstance(dataset, Lists):
        return FileEntries(owner, "images", dataset.images), FileEntries(owner, "videos", dataset.videos)
    return _in_memory(dataset, owner, "images"), _in_memory(dataset, owner, "videos")


def _in_memory(dataset: Mapping[str, Any], owner: str, key: str) -> Entries:
    found = dataset.get(key)
    if isinstance(found, list | str | bytes | Mapping) or not isinstance(found, Iterable):
        return LiveEntries(owner, key, dataset)
    return FileEntries(owner, key, list(found))

"""Images and the cache of their converted copies: what every collection has, however it is read."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subregion.blocks.wholes import Tally
from subregion.cache.prepare import Told, prepare
from subregion.cache.verify import Depth, VerifyReport, verify_assets
from subregion.cache.workdir import make_store
from subregion.errors import RegionTypeError, shown
from subregion.progress import counted

if TYPE_CHECKING:
    from subregion.cache.backend import Backend
    from subregion.cache.limits import Size
    from subregion.cache.store import Store
    from subregion.records import ImageRecord


class CachedImages(ABC):
    """Images whose converted copies are made, looked after and found in a cache.

    `Frames` adds how they are read. The images themselves are told by `image_ids` and `record`, which
    subclasses supply.

    Parameters
    ----------
    workdir, backend, hashid_mode, max_size
        See `Frames`.
    """

    def __init__(
        self,
        workdir: str | os.PathLike[str] | None = None,
        backend: Backend = None,
        hashid_mode: str = "PATH",
        *,
        max_size: Size = None,
    ) -> None:
        self._store = self._counting(make_store(workdir, backend, hashid_mode, max_size=max_size))
        self._backend = backend
        self._workdir = None if workdir is None else os.fspath(workdir)

    @property
    @abstractmethod
    def image_ids(self) -> Sequence[Hashable]:
        """The ids of all images, in order."""

    @abstractmethod
    def record(self, image_id: Any) -> ImageRecord:
        """Return what is known of an image.

        Raises
        ------
        UnknownImageError
            If there is no such image.
        """

    def __len__(self) -> int:
        return len(self.image_ids)

    def __contains__(self, image_id: object) -> bool:
        """Whether there is an image with this id; nothing is read."""
        try:
            return image_id in self.image_ids
        except (TypeError, ValueError):  # what cannot be compared is no id
            return False

    @property
    def backend(self) -> Backend:
        """How images are stored, as it was given; setting it forgets what was opened."""
        return self._backend

    @backend.setter
    def backend(self, backend: Backend) -> None:
        store = make_store(
            self._workdir, backend, self._store.mode, warn=False, max_size=self._store.max_size
        )
        self._store.forget()
        self._backend, self._store = backend, self._counting(store)

    def _counting(self, store: Store) -> Store:
        """Have what windows cost be counted, where sources are read as they are."""
        return replace(store, tally=Tally()) if store.recipe.kind == "none" else store

    @property
    def hashid_mode(self) -> str:
        """What names a source."""
        return self._store.mode

    @property
    def workdir(self) -> Path:
        """The folder that holds the cache."""
        return self.cache_dpath.parent.parent

    @property
    def cache_dpath(self) -> Path:
        """The folder that holds the entries."""
        return Path(self._store.folder.path)

    def __repr__(self) -> str:
        folder = os.fspath(self.workdir)
        return f"<{type(self).__name__}: {self._count_shown()}, backend={self.backend!r}, workdir={folder!r}>"

    def _count_shown(self) -> str:
        """Tell how many images there are; nothing is opened for it."""
        return f"{len(self.image_ids)} images"

    def prepare(
        self,
        image_ids: Iterable[Any] | None = None,
        workers: int = 0,
        use_stamp: bool = True,
        executor: Executor | None = None,
        progress: bool | Told = True,
    ) -> None:
        """Make every converted copy that is not there yet.

        Parameters
        ----------
        image_ids : iterable of hashable or None
            Which images; None for all.
        workers : int
            How many images to convert at once, in threads. With 0 one after the other; the blocks of each
            are compressed on all cores either way.
        use_stamp : bool
            Whether to trust the note of an earlier run for images whose source and copy are unchanged.
        executor : concurrent.futures.Executor or None
            Runs the conversions instead of threads of ours: processes, or a cluster.
        progress : bool or callable
            Whether to show a bar on standard error, if that is a terminal. Or what is called in this thread
            whenever an image is done, with how many are, how many there are, and the id of that one; what it
            raises ends the work.

        Raises
        ------
        PrepareError
            After everything else was done, listing every image that failed and why.
        """
        prepare(self._store, self._these(image_ids), self.record, workers, use_stamp, executor, progress)

    def verify(
        self,
        image_ids: Iterable[Any] | None = None,
        *,
        deep: bool = False,
        pixels: bool = False,
        repair: bool = False,
        progress: bool = True,
    ) -> VerifyReport:
        """Look whether the converted copies are there, as they were written, and of the sources as they are.

        Without options the manifest of each copy, the sizes of its files, and what tells where its pixels are
        and what they mean are compared: some 0.2 ms for each. Nothing is changed unless `repair` is true.

        Parameters
        ----------
        image_ids : iterable of hashable or None
            Which images; None for all.
        deep : bool
            Whether to compare every byte of the copies with its checksum, at the speed of the disk.
        pixels : bool
            Whether to compare every pixel with the source, which is decoded for that; of a lossy copy, with
            what a conversion makes of the source now.
        repair : bool
            Whether to make anew what is damaged, stale or missing. Damaged copies of sources that are gone
            are kept.
        progress : bool
            Whether to show a bar on standard error, if that is a terminal.

        Returns
        -------
        VerifyReport
            `ok`, `checked`, and `damaged`, `stale`, `missing` and `orphaned` with a reason for each. It can
            be printed, and `to_dict` makes JSON of it.

        Raises
        ------
        SubregionError
            If an image cannot be described, or the cache folder cannot be read.
        """
        assets = [
            (image_id, asset) for image_id in self._these(image_ids) for asset in self.record(image_id).assets
        ]
        shown_assets = counted(assets, "verifying copies", progress)
        return verify_assets(self._store, shown_assets, Depth(deep, pixels), repair)

    def _these(self, image_ids: Iterable[Any] | None) -> list[Any]:
        """Return the images that are meant; None is all."""
        if isinstance(image_ids, str | bytes) or not isinstance(image_ids, Iterable | None):
            raise RegionTypeError(
                f"image_ids={shown(image_ids)}: a list of ids is needed, such as [{shown(image_ids)}]."
            )
        return list(self.image_ids if image_ids is None else image_ids)

"""Collections in which each image is one file, and the lazy image of one file."""

from __future__ import annotations

import functools
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subregion.cache.workdir import make_store
from subregion.collections.folder import find_images
from subregion.errors import (
    ConfigError,
    IdentityError,
    RegionTypeError,
    SourceNotFoundError,
    UnknownImageError,
    shown,
)
from subregion.frames import Frames
from subregion.image import AlignableImageData, LazyFrame
from subregion.notices import warn_caller
from subregion.paths import path_of
from subregion.records import Asset, ImageRecord
from subregion.views import View

if TYPE_CHECKING:
    from subregion.cache.backend import Backend
    from subregion.cache.limits import Size


class SimpleFrames(Frames):
    """A collection in which each image is one file.

    Parameters
    ----------
    id_to_path : mapping
        From image id to path, or to an `Asset` that says which picture of a file is meant. Relative paths
        are relative to the folder that is current now.
    workdir, backend, hashid_mode, max_size
        See `Frames`.
    palette : str
        What pixels of palette files are: ``"rgb"``, their colours, or ``"index"``, one band of indices. Files
        without a palette are as ever.
    id_to_hashid : mapping or None
        From image id to the hash of its content, for ``hashid_mode="GIVEN"``.
    orientation : str
        Whether rows and columns of all images are those that are ``"stored"``, or as viewers turn them by
        their EXIF tag: ``"upright"``.

    Examples
    --------
    >>> frames = SimpleFrames.demo()
    >>> len(frames)
    6
    >>> frames.image_ids[0]
    'astronaut.png'
    >>> frames[0].shape
    (512, 512, 3)
    """

    def __init__(
        self,
        id_to_path: Mapping[Any, str | os.PathLike[str] | Asset],
        workdir: str | os.PathLike[str] | None = None,
        backend: Backend = None,
        hashid_mode: str = "PATH",
        *,
        id_to_hashid: Mapping[Any, str] | None = None,
        max_size: Size = None,
        palette: str = "rgb",
        orientation: str = "stored",
    ) -> None:
        if not isinstance(id_to_path, Mapping):
            raise RegionTypeError(
                f"id_to_path must map ids to paths, not be a {type(id_to_path).__name__}; "
                f"for a list of paths write dict(enumerate(paths))."
            )
        super().__init__(workdir, backend, hashid_mode, max_size=max_size)
        if self.hashid_mode == "GIVEN" and id_to_hashid is None:
            raise ConfigError("hashid_mode='GIVEN' needs id_to_hashid, a mapping from image id to hash.")
        if not isinstance(id_to_hashid, Mapping | None):
            raise ConfigError(f"id_to_hashid must map ids to hashes, not be a {type(id_to_hashid).__name__}.")
        self._id_to_path = dict(id_to_path)
        self._id_to_hashid = None if id_to_hashid is None else dict(id_to_hashid)
        self._root = os.getcwd()
        self._view = View(palette=palette, orientation=orientation)
        self._ids: list[Any] | None = None

    @classmethod
    def from_folder(
        cls,
        folder: str | os.PathLike[str],
        pattern: str | Sequence[str] = "**/*",
        workdir: str | os.PathLike[str] | None = None,
        backend: Backend = None,
        hashid_mode: str = "PATH",
        *,
        max_size: Size = None,
        palette: str = "rgb",
        orientation: str = "stored",
    ) -> SimpleFrames:
        """Collect the images of a folder; a zarr folder is one image.

        Files that cannot be images, by name and first bytes, and links that lead nowhere are passed over,
        with one warning that tells how many. A file that is named like an image is taken, whatever is in it.

        Parameters
        ----------
        folder : path
            Where to look.
        pattern : str or sequence of str
            Which files, as for `pathlib.Path.glob`; hidden ones are passed over.
        workdir, backend, hashid_mode, max_size, palette, orientation
            See `SimpleFrames`.

        Returns
        -------
        SimpleFrames
            Ids are paths relative to `folder`, with forward slashes, sorted.

        Raises
        ------
        SourceNotFoundError
            If there is no such folder, or no image in it.
        """
        found = find_images(folder, pattern)
        if found.remark is not None:
            warn_caller(found.remark)
        return cls(
            found.paths,
            workdir,
            backend,
            hashid_mode,
            max_size=max_size,
            palette=palette,
            orientation=orientation,
        )

    @classmethod
    def demo(
        cls,
        workdir: str | os.PathLike[str] | None = None,
        backend: Backend = None,
        hashid_mode: str = "PATH",
        *,
        max_size: Size = None,
    ) -> SimpleFrames:
        """Collect photographs that ship with scikit-image.

        Raises
        ------
        SourceNotFoundError
            If scikit-image is not installed.
        """
        import importlib.util

        spec = importlib.util.find_spec("skimage")
        if spec is None or spec.origin is None:
            raise SourceNotFoundError("the demo pictures need scikit-image: pip install 'subregion[demo]'.")
        folder = Path(spec.origin).parent / "data"
        paths = {name: folder / name for name in DEMO_PICTURES if (folder / name).exists()}
        return cls(paths, workdir, backend, hashid_mode, max_size=max_size)

    @property
    def image_ids(self) -> Sequence[Hashable]:
        """The ids of all images, in the order in which they were given."""
        if self._ids is None:
            self._ids = list(self._id_to_path)
        return self._ids

    def __len__(self) -> int:
        return len(self._id_to_path)

    def _count_shown(self) -> str:
        return f"{len(self._id_to_path)} images"

    def __contains__(self, image_id: object) -> bool:
        """Whether there is an image with this id; nothing is read."""
        try:
            return image_id in self._id_to_path
        except TypeError:
            return False

    def record(self, image_id: Any) -> ImageRecord:
        """Return what is known of an image; see `Frames.record`."""
        try:
            path = self._id_to_path[image_id]
        except (KeyError, TypeError):
            raise _unknown_image(image_id, self._id_to_path) from None
        hashid = None
        if self._id_to_hashid is not None:
            hashid = self._id_to_hashid.get(image_id)
            if not isinstance(hashid, str | None):
                raise IdentityError(
                    f"image {shown(image_id)}: its hash must be text, not a {type(hashid).__name__}."
                )
        try:
            return _one_file(image_id, path, self._root, hashid, self._view)  # type: ignore[arg-type]  # a path is hashable
        except TypeError:
            path_of(path, f"image {shown(image_id)}")  # says what it is instead
            raise

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_ids": None}


#: What `SimpleFrames.demo` shows, of scikit-image's data that ship in its wheel.
DEMO_PICTURES = ("astronaut.png", "brick.png", "coffee.png", "hubble_deep_field.jpg", "ihc.png", "retina.jpg")


@functools.lru_cache(maxsize=4096)  # images are read many times, and windows take microseconds
def _one_file(
    image_id: Any, path: str | os.PathLike[str] | Asset, root: str, hashid: str | None, view: View
) -> ImageRecord:
    if isinstance(path, Asset):  # what it says itself comes first
        more: dict[str, Any] = {
            key: value for key, value in view.document.items() if key not in path.view.document
        }
        if hashid is not None:
            more["hashid"] = hashid
        return ImageRecord(image_id, (replace(path, **more) if more else path,))
    absolute = os.path.normpath(os.path.join(root, path_of(path, f"image {shown(image_id)}")))
    return ImageRecord(image_id, (Asset(absolute, hashid=hashid, **view.document),))


def _unknown_image(image_id: Any, known: Mapping[Any, Any]) -> UnknownImageError:
    import difflib
    import itertools

    wanted, names = shown(image_id), [shown(name) for name in itertools.islice(known, 1000)]
    close = difflib.get_close_matches(wanted, names, n=3)
    hint = f" Did you mean {', '.join(close)}?" if close else ""
    return UnknownImageError(f"no image with id {wanted} among {len(known)}.{hint}")


def open_image(
    path: str | bytes | os.PathLike[str],
    backend: Backend = "auto",
    workdir: str | os.PathLike[str] | None = None,
    hashid_mode: str = "PATH",
    frame: int | None = None,
    *,
    palette: str = "rgb",
    labels: bool = False,
    picture: str | None = None,
    orientation: str = "stored",
    page: int | None = None,
    series: int | None = None,
    level: int | None = None,
    t: int | None = None,
    z: int | None = None,
    c: int | None = None,
    axes: str | None = None,
    max_size: Size = None,
) -> LazyFrame:
    """Open one image as an array that is read when it is indexed.

    Parameters
    ----------
    path : str, bytes or os.PathLike
        The file.
    backend : None, str or dict
        How it is stored for reading; see `Frames`. ``"auto"`` makes a converted copy on the first read, if
        the file is slow to read by window.
    workdir : path or None
        Where copies are kept; None is the user's cache folder.
    hashid_mode : str
        What names the source; see `Frames`.
    frame : int or None
        Which frame of a video file, counted from 0; None for other files, and for the first.
    palette : str
        What pixels of a palette are: ``"rgb"``, their colours, or ``"index"``, one band of indices.
    labels : bool
        Whether values are names of classes or objects, of which no average means anything.
    picture : str or None
        Which picture beside a whole slide: ``"label"``, ``"macro"`` or ``"thumbnail"``; None is the slide.
    orientation : str
        Whether rows and columns are those that are ``"stored"``, or as a viewer turns a photograph by its
        EXIF tag: ``"upright"``.
    page : int or None
        Which page of a TIFF, or frame of an animation, counted from 0; with `series`, which page of that.
    series : int or None
        Which of the pictures of a file: series of a TIFF, images of a zarr group.
    level : int or None
        Which resolution is the image, 0 being the full one.
    t, z, c : int or None
        Which position along time, depth and channels; by default the first, the first, and all channels.
    axes : str or None
        What the axes of an array without names are, such as ``"cyx"``.
    max_size : int, str or None
        How many bytes all copies under `workdir` may have; see `Frames`.

    Returns
    -------
    LazyFrame
        Nothing is opened before it is asked for something.

    Examples
    --------
    >>> import subregion
    >>> picture = subregion.open(SimpleFrames.demo().record("retina.jpg").default_asset.path, backend=None)
    >>> picture[500:600, 300:500].shape
    (100, 200, 3)
    """
    store = make_store(workdir, backend, hashid_mode, warn=False, max_size=max_size)
    asset = Asset(
        os.path.abspath(path_of(path)),
        frame=frame,
        palette=palette,
        labels=labels,
        picture=picture,
        orientation=orientation,
        page=page,
        series=series,
        level=level,
        t=t,
        z=z,
        c=c,
        axes=axes,
    )
    record = ImageRecord(None, (asset,))
    return LazyFrame(AlignableImageData.from_store(record, store))

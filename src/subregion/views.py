"""Which picture of a file is meant, and what its samples are: one frozen value."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field, fields
from typing import Any

from subregion.errors import RecordError, shown
from subregion.notices import short_repr


@dataclass(frozen=True, slots=True)
class View:
    """Which picture of a file is meant, and what its samples are.

    Parameters
    ----------
    frame : int or None
        Which frame of a video file, counted from 0 in the order of presentation; None for other files, and
        for the first frame.
    palette : str
        What pixels of a palette are: ``"rgb"``, their colours, or ``"index"``, one band of indices.
    labels : bool
        Whether values are names of classes or objects, of which no average means anything.
    picture : str or None
        Which picture beside a whole slide: ``"label"``, ``"macro"`` or ``"thumbnail"``; None for the slide,
        and for other files.
    orientation : str
        Whether rows and columns are those that are ``"stored"``, or as a viewer turns them by the EXIF tag:
        ``"upright"``.
    page : int or None
        Which page of a TIFF, or frame of an animation, counted from 0; with `series`, which page of that.
    series : int or None
        Which picture: a series of a TIFF as `tifffile` tells them apart, an image of a zarr group.
    level : int or None
        Which resolution is the image, 0 being the full one.
    t, z, c : int or None
        Which position along time, depth and channels. None is the first of time and depth, and all channels.
    axes : str or None
        What the axes of an array without names are, in their order: letters of ``"yxczts"``.

    Raises
    ------
    RecordError
        If a value is of another type, or has no meaning.
    """

    frame: int | None = None
    palette: str = "rgb"
    labels: bool = False
    picture: str | None = None
    orientation: str = "stored"
    page: int | None = None
    series: int | None = None
    level: int | None = None
    t: int | None = None
    z: int | None = None
    c: int | None = None
    axes: str | None = None
    name: str = field(init=False, repr=False, compare=False)

    __repr__ = short_repr

    def __post_init__(self) -> None:
        for name in ("frame", *PLACES):
            object.__setattr__(self, name, _checked_place(name, getattr(self, name)))
        if not isinstance(self.palette, str) or self.palette not in PALETTES:
            raise RecordError(f"palette={shown(self.palette)}: allowed are 'rgb', 'index'.")
        if not isinstance(self.labels, bool):
            raise RecordError(f"labels={shown(self.labels)}: allowed are True, False.")
        if self.picture is not None and (
            not isinstance(self.picture, str) or self.picture not in BESIDE_SLIDES
        ):
            listed = ", ".join(map(repr, BESIDE_SLIDES))
            raise RecordError(f"picture={shown(self.picture)}: allowed are {listed}, None.")
        if not isinstance(self.orientation, str) or self.orientation not in ORIENTATIONS:
            raise RecordError(f"orientation={shown(self.orientation)}: allowed are 'stored', 'upright'.")
        object.__setattr__(self, "axes", _checked_axes(self.axes))
        # A string keeps its hash, and what is open is looked up by it at every read.
        object.__setattr__(self, "name", repr(self.document) if self.document else "")

    @property
    def document(self) -> dict[str, Any]:
        """What is not as it is by default, for manifests and names of entries."""
        values = ((each.name, getattr(self, each.name), each.default) for each in fields(self) if each.init)
        return {name: value for name, value, default in values if value != default}

    @classmethod
    def from_document(cls, document: Any) -> View:
        """Read it from a manifest.

        Raises
        ------
        ValueError
            If it is malformed.
        """
        if not isinstance(document, dict) or not document.keys() <= set(VIEW_OPTIONS):
            raise ValueError("no picture of a file")
        return cls(**document)

    def check_only(self, path: str, kind: str, *names: str) -> None:
        """Refuse what makes no sense for a kind of file.

        Raises
        ------
        RecordError
            Naming the file, the option and what it is.
        """
        for name, value in self.document.items():
            if name not in names and name not in _FOR_ALL:
                out = "frames of an animation are chosen by page=" if name == "frame" else "leave it out"
                raise RecordError(f"{path}: {name}={shown(value)} is asked for, but it is {kind}; {out}.")

    @property
    def chosen(self) -> bool:
        """Whether one of several pictures of a file is meant, or its axes are told."""
        return any(getattr(self, name) is not None for name in (*PLACES, "axes"))


def _checked_place(name: str, value: Any) -> int | None:
    """Return a position as a plain number."""
    if value is None:
        return None
    if isinstance(value, slice | list | tuple | range):
        raise RecordError(
            f"{name}={shown(value)}: an image is one position of {name}. Open one image for each, and stack "
            f"them: np.stack([subregion.open(path, {name}=i)[:] for i in ...])."
        )
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if number < 0:
        raise RecordError(f"{name}={shown(value)}: must be a whole number, at least 0, or None.")
    return number


def _checked_axes(axes: Any) -> str | None:
    if axes is None:
        return None
    letters = axes.lower() if isinstance(axes, str) else ""
    if not {"y", "x"} <= set(letters) <= set(AXES) or len(set(letters)) != len(letters):
        raise RecordError(f"axes={shown(axes)}: name each axis once, in order: y, x and any of c, z, t, s.")
    return letters


PALETTES = ("rgb", "index")
BESIDE_SLIDES = ("label", "macro", "thumbnail")
ORIENTATIONS = ("stored", "upright")
#: The options that are positions in a file of several pictures, and the letters of `View.axes`.
PLACES = ("page", "series", "level", "t", "z", "c")
AXES = "yxczts"
#: What can be said of any file.
_FOR_ALL = ("palette", "labels", "orientation")
#: A file as it is.
AS_IT_IS = View()
#: The options that make a view.
VIEW_OPTIONS = tuple(each.name for each in fields(View) if each.init)
#: What they are by default.
VIEW_DEFAULTS = {name: getattr(AS_IT_IS, name) for name in VIEW_OPTIONS}

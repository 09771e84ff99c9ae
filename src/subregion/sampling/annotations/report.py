"""What was passed over, or mended, while annotations were read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

UNKNOWN_IMAGE = "unknown image"
UNKNOWN_CATEGORY = "unknown category"
NO_BOX = "no box"
MALFORMED_BOX = "malformed box"
NEGATIVE_BOX = "box of negative size"
MALFORMED_TRACK = "malformed track id"
MALFORMED_POLYGON = "malformed polygon"
MALFORMED_MASK = "malformed mask"
MASK_OF_OTHER_SIZE = "mask of another size"
MALFORMED_KEYPOINTS = "malformed keypoints"
OUTSIDE = "box outside the image"
MISSING_CHANNEL = "missing channel"

#: What each count of a report means.
MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        UNKNOWN_IMAGE: "left out: the dataset has no image with this id",
        UNKNOWN_CATEGORY: "kept without category: the dataset has none with this id",
        NO_BOX: "kept without box: no window finds it",
        MALFORMED_BOX: "kept without box: what stands there is not four finite numbers",
        NEGATIVE_BOX: "kept without box: its width or height is negative",
        MALFORMED_TRACK: "kept without track: its id is no whole number",
        MALFORMED_POLYGON: "left out of its segmentation: not three or more points of two finite numbers",
        MALFORMED_MASK: "kept without segmentation: its run lengths do not fill its size",
        MASK_OF_OTHER_SIZE: "kept without segmentation: its mask has another size than the image",
        MALFORMED_KEYPOINTS: "kept without keypoints: what stands there is no list of points",
        OUTSIDE: "kept: a window there finds it, and nothing of it is visible",
        MISSING_CHANNEL: "filled: the image has no channel of this name",
    }
)


class Report(Mapping[str, int]):
    """How many annotations were passed over or mended, by reason; a reason that never came up counts 0.

    Parameters
    ----------
    counts : Mapping
        From reason to number.

    Examples
    --------
    >>> report = Report({"no box": 2}) + Report({"no box": 1, "unknown image": 0})
    >>> report["no box"], report["unknown image"], len(report), bool(Report())
    (3, 0, 1, False)
    """

    __slots__ = ("_counts",)

    def __init__(self, counts: Mapping[str, int] | None = None) -> None:
        self._counts = {reason: int(count) for reason, count in (counts or {}).items() if count}

    def __getitem__(self, reason: str) -> int:
        return self._counts.get(reason, 0)

    def __iter__(self) -> Iterator[str]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)

    def __contains__(self, reason: object) -> bool:
        return reason in self._counts

    def __add__(self, other: Mapping[str, int]) -> Report:
        return Report({reason: self[reason] + other.get(reason, 0) for reason in (*self, *other)})

    def __hash__(self) -> int:
        return hash(frozenset(self._counts.items()))

    def __repr__(self) -> str:
        return f"Report({self._counts})"

    def __str__(self) -> str:
        lines = [f"{count:>10}  {reason} ({MEANINGS.get(reason, reason)})" for reason, count in self.items()]
        return "\n".join(lines) or "nothing was passed over"

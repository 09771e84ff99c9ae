"""A collection of one record, for tests of what records mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from subregion import Frames, ImageRecord


class Single(Frames):
    """A collection of one record."""

    def __init__(self, record: ImageRecord, **options: Any) -> None:
        super().__init__(**options)
        self._record = record

    @property
    def image_ids(self) -> Sequence[int]:
        return [1]

    def record(self, image_id: Any) -> ImageRecord:
        return self._record

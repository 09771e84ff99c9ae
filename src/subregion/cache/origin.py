"""What an entry was made of, and how: all that its name follows from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from subregion.cache.backend import FORMAT_VERSION, Recipe
from subregion.cache.identity import MODES, Identity
from subregion.records import Asset


@dataclass(frozen=True, slots=True)
class Origin:
    """What an entry was made of, and how.

    Parameters
    ----------
    source : str
        Path of the source when it was converted.
    mode : str
        What names its content; one of `identity.MODES`.
    value : str
        What it is named by: a path, or a hash.
    frame : int or None
        Which frame of a video file.
    recipe : Recipe
        How it is stored.
    version : int
        Of the format; entries of others are never served.
    """

    source: str
    mode: str
    value: str
    frame: int | None
    recipe: Recipe
    version: int = FORMAT_VERSION

    @classmethod
    def of(cls, source: str, identity: Identity, recipe: Recipe) -> Origin:
        """Say how a source is to be stored that was identified."""
        return cls(source, identity.mode, identity.value, identity.frame, recipe)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Origin:
        """Read it from a manifest.

        Raises
        ------
        ValueError, LookupError, TypeError, AttributeError
            If it is malformed.
        """
        source, mode, value, frame = (document[key] for key in ("source", "mode", "identity", "frame"))
        if not isinstance(source, str) or not isinstance(value, str) or "\0" in source or mode not in MODES:
            raise ValueError("no source that was ever identified")
        if type(frame) is not int and frame is not None:
            raise ValueError("frames have whole numbers")
        recipe = Recipe(str(document["kind"]), tuple(sorted(document["config"].items())))
        return cls(source, mode, value, frame, recipe, int(document["version"]))

    @property
    def document(self) -> dict[str, Any]:
        """The same for a manifest."""
        return {
            "source": self.source,
            "mode": self.mode,
            "identity": self.value,
            "frame": self.frame,
            **self.recipe.document,
            "version": self.version,
        }

    @property
    def key(self) -> str:
        """The name of the entry; where the source was found is no part of it."""
        names: list[Any] = [self.mode, self.value, {**self.recipe.document, "version": self.version}]
        if self.frame is not None:
            names.append({"frame": self.frame})
        document = json.dumps(names, sort_keys=True)
        return hashlib.blake2b(document.encode("utf-8", "surrogateescape"), digest_size=20).hexdigest()

    @property
    def asset(self) -> Asset:
        """The source, as a collection names it."""
        return Asset(self.source, hashid=self.value if self.mode == "GIVEN" else None, frame=self.frame)

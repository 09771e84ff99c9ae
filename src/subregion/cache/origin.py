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
from subregion.views import View


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
    view : View
        Which picture of the source is meant.
    recipe : Recipe
        How it is stored.
    version : int
        Of the format; entries of others are never served.
    """

    source: str
    mode: str
    value: str
    view: View
    recipe: Recipe
    version: int = FORMAT_VERSION

    @classmethod
    def of(cls, source: str, identity: Identity, recipe: Recipe) -> Origin:
        """Say how a source is to be stored that was identified."""
        return cls(source, identity.mode, identity.value, identity.view, recipe)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Origin:
        """Read it from a manifest.

        Raises
        ------
        ValueError, LookupError, TypeError, AttributeError
            If it is malformed.
        """
        source, mode, value, view = (document[key] for key in ("source", "mode", "identity", "view"))
        if not isinstance(source, str) or not isinstance(value, str) or "\0" in source or mode not in MODES:
            raise ValueError("no source that was ever identified")
        recipe = Recipe(str(document["kind"]), tuple(sorted(document["config"].items())))
        return cls(source, mode, value, View.from_document(view), recipe, int(document["version"]))

    @property
    def document(self) -> dict[str, Any]:
        """The same for a manifest."""
        return {
            "source": self.source,
            "mode": self.mode,
            "identity": self.value,
            "view": self.view.document,
            **self.recipe.document,
            "version": self.version,
        }

    @property
    def key(self) -> str:
        """The name of the entry; where the source was found is no part of it."""
        names: list[Any] = [self.mode, self.value, {**self.recipe.document, "version": self.version}]
        if view := self.view.document:
            names.append(view)
        document = json.dumps(names, sort_keys=True)
        return hashlib.blake2b(document.encode("utf-8", "surrogateescape"), digest_size=20).hexdigest()

    @property
    def asset(self) -> Asset:
        """The source, as a collection names it."""
        return Asset(self.source, hashid=self.value if self.mode == "GIVEN" else None, **self.view.document)

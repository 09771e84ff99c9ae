"""One damaged file: which seed of which kind, and what is done to it, from numbers alone."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from fuzz import formats, seeds

_MOST = 4


@dataclass(frozen=True)
class Case:
    """A damaged file.

    Parameters
    ----------
    kind : str
        Key of `seeds.kinds`.
    number : int
        Which of its cases.
    seed : int
        Where the dice of the whole run start.
    steps : tuple of int or None
        Which of the damages are done; None for all. Each has dice of its own, so that fewer can be tried.
    """

    kind: str
    number: int
    seed: int = 0
    steps: tuple[int, ...] | None = None

    @property
    def name(self) -> str:
        """A name for files."""
        return f"{self.kind.replace(' ', '-')}-{self.seed}-{self.number}"

    def write(self, made: dict[str, Path], folder: Path) -> tuple[str, str, tuple[int, ...]]:
        """Write it into an empty folder.

        Parameters
        ----------
        made : dict
            The seeds of the kind, by name.
        folder : pathlib.Path
            Where it goes.

        Returns
        -------
        str
            The seed that it was.
        str
            What is to be opened.
        tuple of int
            The damages that were done.
        """
        kind = seeds.kinds()[self.kind]
        dice = random.Random(f"{self.seed} {self.kind} {self.number}")
        names = sorted(made)
        seed = names[dice.randrange(len(names))]
        other = made[names[dice.randrange(len(names))]]
        shutil.copytree(made[seed], folder, dirs_exist_ok=True, symlinks=True)
        opened = (folder / ".opened").read_text()
        (folder / ".opened").unlink()
        count = dice.choice([1, 1, 1, 2, 3, _MOST])
        steps = tuple(step for step in range(count) if self.steps is None or step in self.steps)
        for step in steps:
            self._damage(kind, folder, opened, other, step)
        return seed, opened, steps

    def _damage(self, kind: seeds.Kind, folder: Path, opened: str, other: Path, step: int) -> None:
        dice = random.Random(f"{self.seed} {self.kind} {self.number} {step}")
        files = list(seeds.files_below(folder, kind.targets or opened))
        if not files:
            return
        path = files[dice.randrange(len(files))]
        if kind.targets and dice.random() < 0.04:
            _replace(path, dice)
            return
        others = list(seeds.files_below(other, kind.targets or (other / ".opened").read_text()))
        another = others[dice.randrange(len(others))].read_bytes() if others else b""
        how = kind.how
        if how == "json" and path.read_bytes()[:1] not in (b"{", b"["):
            how = ""
        if how == "tiff" and path.suffix != ".tif":
            how = {".jpg": "jpeg", ".npy": "npy", ".json": "json"}.get(path.suffix, "")
        path.write_bytes(formats.mutated(path.read_bytes(), how, dice, another))


def _replace(path: Path, dice: random.Random) -> None:
    """Put something else in the place of a file."""
    path.unlink()
    how = dice.randrange(5)
    if how == 0:
        os.mkfifo(path)
    elif how == 1:
        path.mkdir()
    elif how == 2:
        path.symlink_to(path.name)
    elif how == 3:
        path.symlink_to("/dev/zero")

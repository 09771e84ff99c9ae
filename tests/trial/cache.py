"""Answers of the oracle, kept on disk between runs."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from trial import oracle
from trial.workers import Worker, WorkerDiedError


def ask_and_keep(decoder: str, path: str, folder: str) -> dict[str, object]:
    """Ask one decoder and store its arrays; runs in a child process.

    Parameters
    ----------
    decoder : str
        A key of `oracle.DECODERS`.
    path : str
        The picture.
    folder : str
        Where the arrays go.

    Returns
    -------
    dict
        JSON: kind, answers (without arrays) and errors.
    """
    verdict = oracle.ask(decoder, path)
    answers = []
    for answer in verdict.answers:
        digest = hashlib.sha256(answer.array.tobytes()).hexdigest()[:24]
        name = f"{digest}-{answer.array.dtype.str[1:]}-{'x'.join(map(str, answer.array.shape))}.npy"
        target = os.path.join(folder, name)
        if not os.path.exists(target):
            temporary = f"{target}.{os.getpid()}.npy"
            np.save(temporary, answer.array)
            os.replace(temporary, target)
        answers.append({"decoder": answer.decoder, "file": name, "note": answer.note})
    return {"kind": verdict.kind, "answers": answers, "errors": verdict.errors}


class OracleCache:
    """The oracle with a memory.

    Parameters
    ----------
    folder : pathlib.Path
        Made if missing; can be deleted at any time.
    worker : Worker
        Where the decoders run.
    """

    def __init__(self, folder: Path, worker: Worker) -> None:
        self.folder = folder
        self.worker = worker
        folder.mkdir(parents=True, exist_ok=True)

    def verdict(self, path: Path) -> dict[str, object]:
        """Give all answers for a file, from the cache if it was asked before.

        Parameters
        ----------
        path : pathlib.Path
            The picture.

        Returns
        -------
        dict
            ``folder``, ``kind``, ``answers`` (decoder, file, note) and ``errors``.
        """
        # Some decoders look at the extension, so it belongs to the identity.
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:32] + path.suffix.lower()
        place = self.folder / digest[:2] / digest
        summary = place / f"verdict-{oracle.VERSION}.json"
        if summary.exists():
            known: dict[str, object] = json.loads(summary.read_text())
            return {**known, "folder": str(place)}
        place.mkdir(parents=True, exist_ok=True)
        kind = "unknown"
        answers: list[object] = []
        errors: dict[str, str] = {}
        for decoder in oracle.DECODERS:
            try:
                part = self.worker.call(ask_and_keep, decoder, str(path), str(place))
            except WorkerDiedError as death:
                errors[decoder] = f"died: {death}"
            except RuntimeError as error:
                errors[decoder] = str(error)[:300]
            else:
                kind = part["kind"]
                answers += part["answers"]
                errors.update(part["errors"])
        verdict: dict[str, object] = {"kind": kind, "answers": answers, "errors": errors}
        temporary = summary.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(verdict))
        temporary.replace(summary)
        return {**verdict, "folder": str(place)}

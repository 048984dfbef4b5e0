"""`location.json`: where the corpus of a run lies, seen from the run: both move together. No torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from isodiff.data.manifest import FILE as MANIFEST
from isodiff.errors import InputError
from isodiff.serialization import read_result, write_result

_FILE = "location.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Location:
    """A path relative to the run's folder; absolute in files of earlier versions."""

    corpus: str


def write_location(folder: Path, corpus: Path) -> None:
    """Write down that the run in `folder` learns from `corpus`."""
    relative = os.path.relpath(corpus.resolve(), folder.resolve())
    write_result(folder / _FILE, _Location(corpus=relative))


def corpus_of(folder: Path) -> Path:
    """The folder of a run's corpus: where it was, or in the study that the run is part of.

    Raises:
        InputError: no run there, or no corpus where it was.
    """
    written = read_result(_Location, folder / _FILE)
    place = Path(os.path.normpath(folder.resolve() / written.corpus))
    for found in (place, folder.resolve().parent.parent / "corpus"):
        if (found / MANIFEST).exists():
            return found
    raise InputError(
        f"the corpus of {folder} is not at {place} any more; move it back there, or beside the folder of "
        "runs as 'corpus'"
    )

"""`location.json`: where the corpus of a run lies, seen from the run: both move together. No torch."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from isodiff.data.manifest import FILE as MANIFEST
from isodiff.data.manifest import read_manifest
from isodiff.errors import InputError
from isodiff.runs.spec import RunSpec
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
    """The folder of a run's corpus: where it was, or in the study that the run is part of; its hash decides.

    Raises:
        InputError: no run there, or no corpus where it was.
    """
    wanted = RunSpec.read(folder).corpus.hash
    places = [folder.resolve().parent.parent / "corpus"]
    if (folder / _FILE).exists():
        written = read_result(_Location, folder / _FILE)
        places.insert(0, Path(os.path.normpath(folder.resolve() / written.corpus)))
    there = [place for place in places if (place / MANIFEST).exists()]
    if not there:
        raise InputError(
            f"the corpus of {folder} is not at {places[0]} any more; give its folder with --corpus, or move "
            "it back there, or beside the folder of runs as 'corpus'"
        )
    return next((place for place in there if _hash(place) == wanted), there[0])


def point_to(corpus: Path, runs: Path) -> None:
    """Let those of a study's runs that lost sight of this corpus, which is theirs, find it again."""
    sha256 = read_manifest(corpus).hash
    for file in runs.glob("*/spec.json"):
        with suppress(InputError):  # a damaged spec is told of where it is needed
            if RunSpec.read(file.parent).corpus.hash == sha256 and not _sees(file.parent, sha256):
                write_location(file.parent, corpus)


def _sees(run: Path, sha256: str) -> bool:
    try:
        return _hash(corpus_of(run)) == sha256
    except InputError:
        return False


def _hash(corpus: Path) -> str | None:
    try:
        return read_manifest(corpus).hash
    except InputError:
        return None

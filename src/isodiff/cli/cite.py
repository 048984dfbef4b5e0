"""`isodiff cite RUN`: what to cite for a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from isodiff.cli import Answer
from isodiff.errors import InputError
from isodiff.families import family_named
from isodiff.files import read_json
from isodiff.references import bibtex, keys_of


def run(folder: Annotated[Path, tyro.conf.Positional], /) -> Answer:
    """BibTeX of what a run used: its family, its optimiser, the parts of its network, isodiff.

    Args:
        folder: the run's folder.
    """
    if not (folder / "spec.json").exists():
        raise InputError(f"{folder} is not a run; it has no spec.json")
    spec = read_json(folder / "spec.json")
    keys = keys_of(spec, family_named(spec["family"]["name"]).reference)
    text = bibtex(keys)
    return Answer({"keys": keys, "bibtex": text}, text)

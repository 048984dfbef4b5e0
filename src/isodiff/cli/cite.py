"""`isodiff cite RUN`: what to cite for a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from isodiff.cli import Answer
from isodiff.families import family_named
from isodiff.references import bibtex, keys_of
from isodiff.runs.spec import RunSpec


def run(folder: Annotated[Path, tyro.conf.Positional], /) -> Answer:
    """BibTeX of what a run used: its family, its optimizer, the parts of its network, isodiff.

    Args:
        folder: the run's folder.
    """
    spec = RunSpec.read(folder).to_json()
    keys = keys_of(spec, family_named(spec["family"]["name"]).reference)
    text = bibtex(keys)
    return Answer({"keys": keys, "bibtex": text}, text)

"""Print the BibTeX of what a run used."""

from __future__ import annotations

from isodiff.cli.options import RunFolder
from isodiff.cli.verb import Answer
from isodiff.families import family_named
from isodiff.references import bibtex, entries, keys_of
from isodiff.runs.spec import RunSpec


def run(folder: RunFolder) -> Answer:
    """BibTeX of what a run used: its family, its optimizer, the parts of its network, isodiff."""
    spec = RunSpec.read(folder).to_json()
    family = family_named(spec["family"]["name"])
    own = entries(family.bibtex)
    keys = keys_of(spec, family.reference, own)
    text = bibtex(keys, own)
    return Answer({"keys": keys, "bibtex": text}, text)

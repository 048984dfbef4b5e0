"""Classify texts by density: the class under which a run finds each likeliest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from isodiff.cli.evaluation_text import classification_text
from isodiff.cli.options import Opening, RunFolder
from isodiff.cli.verb import Answer, resumable
from isodiff.errors import one_line
from isodiff.evaluate.classification import ClassificationSettings, classify, split_named
from isodiff.serialization import to_json


@resumable
def run(
    folder: RunFolder,
    items: Annotated[Path, Positional, arg(metavar="ITEMS")],
    opening: Opening,
    settings: Annotated[ClassificationSettings, arg(name="")],
) -> Answer:
    """Classify texts by density: the class under which a run finds each likeliest (arXiv 2303.16203).

    The result is written to tasks/NAME.json in the run's folder, where reports find it.

    Args:
        items: JSON lines with text and label; or test, validation or train, the documents of that split of
            the run's corpus, which begin with their labels.
    """
    split = None if items.exists() else split_named(str(items))
    result = classify(opening.load(folder), split or items, settings, opening.device)
    for one in result.malformed:
        said = one_line(f"isodiff classify: {items} line {one.line}: {one.reason}")
        print(said, file=sys.stderr)
    return Answer(to_json(result), classification_text(result))

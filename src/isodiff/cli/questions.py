"""Write sums in words with worked answers, to fine-tune on and to test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional

from isodiff.cli.options import Folder, Number, Seed
from isodiff.cli.verb import Answer
from isodiff.data.qa_format import write_questions
from isodiff.evaluate.arithmetic import Split, arithmetic
from isodiff.serialization import to_json


@dataclass(frozen=True, kw_only=True)
class _QuestionFiles:
    """Where the questions lie, how many, and of which seed."""

    files: dict[str, str]
    train: int
    test: int
    seed: int


def run(
    folder: Annotated[Folder, Positional],
    *,
    train: Number = 20_000,
    test: Number = 500,
    seed: Seed = 0,
) -> Answer:
    """Write train.jsonl and test.jsonl: additions of two digits and word problems of two steps.

    Answers are worked out and end in `#### n`. No sum of the test set is in any training set, whatever the
    seeds. The files are for isodiff finetune RUN --data train.jsonl --test test.jsonl.

    Args:
        folder: Where the files go.
        train: Questions to learn from.
        test: Questions to answer.
    """
    sizes: dict[Split, int] = {"train": train, "test": test}
    sets = {split: arithmetic(seed, size, split) for split, size in sizes.items()}
    for split, questions in sets.items():
        write_questions(folder / f"{split}.jsonl", questions)
    first = sets["train"][0]
    files = {split: str(folder / f"{split}.jsonl") for split in sets}
    found = _QuestionFiles(files=files, train=train, test=test, seed=seed)
    said = "\n".join(f"{files[split]}: {size} questions" for split, size in sizes.items())
    return Answer(to_json(found), f"{said}\n\n{first.prompt}{first.response}")

"""`isodiff classify`: the example of the page on a tiny run, texts in words, and what is refused."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from isodiff.cli import main
from isodiff.data.tokens import Corpus
from isodiff.serialization import read_result
from isodiff.task_results import ClassificationResult
from tests.cli.tiny_runs import answer, corpus, trained
from tests.docs.test_commands import commands

PAGE = "docs/classification.md"
SMALLER = {
    r"--shape \S+": "--shape 1x16x2",
    r"--budget \S+": "--budget 3e9 --recipe.batch-size 4 --validation.windows 8 --validation.draws 1",
    r"--recipe.batch-size 32": "",
    "test(.*)": r"test --limit 12 --draws 8\1",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's, made by its commands."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in commands(PAGE, "One worked example"):
            words = line.partition(" #")[0]
            for printed, smaller in SMALLER.items():
                if "train" in words or "classify" in words:
                    words = re.sub(printed, smaller, words)
            globbed = [
                str(path)
                for word in words.split()[1:]
                for path in (folder.glob(word) if "*" in word else [word])
            ]
            assert main(globbed) == 0, line
    (found,) = (folder / "runs").iterdir()
    return found


@pytest.fixture(scope="module")
def speeches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose documents have no labels."""
    folder = tmp_path_factory.mktemp("speeches")
    return trained(folder, "masked", corpus(folder))


def test_the_example_of_the_page_runs(run: Path, capsys):
    assert len(commands(PAGE, "One worked example")) >= 4
    race, full = (
        read_result(ClassificationResult, run / "tasks" / f"test-labels{end}.json")
        for end in ("", "-full")
    )
    assert race.classes == full.classes == tuple("0123456789")
    assert race.num_items == full.num_items == 12 and race.kind == "bound"
    assert full.num_forwards == 12 * 10 * (8 + 1) and full.forwards_per_item == 90
    assert race.num_forwards and race.num_forwards <= full.num_forwards
    assert race.items and full.items
    for one in (race, full):
        right = sum(one.confusion[i][i] for i in range(10))
        assert one.items and one.accuracy == right / 12
        pairs = Counter((item.gold, item.chosen) for item in one.items)
        assert {
            (i, j): n for i, row in enumerate(one.confusion) for j, n in enumerate(row) if n
        } == pairs
    told = Corpus.open(run.parents[1] / "digits")
    tokens, starts = told.split("test"), told.documents("test")[:12, 0]
    assert [one.gold for one in race.items] == [tokens.read(int(i), int(i) + 1)[0] for i in starts]


def test_what_is_said_to_people(run: Path, capsys):
    assert main(["classify", str(run), "validation", "--limit", "3", "--draws", "2"]) == 0
    said = capsys.readouterr().out
    assert "on validation-labels: accuracy" in said and "3 items, 30.0 forwards per item" in said
    assert "right  → 0  → 1" in said and "equal priors; bound, at most 2 draws per class" in said


def texts(folder: Path, *values: object) -> Path:
    file = folder / "texts.jsonl"
    file.write_text("\n".join(map(json.dumps, values)))
    return file


WELL = {"text": "fellow citizens", "label": "good"}
ILL = {"text": "ruin", "label": "bad"}


def test_texts_whose_class_is_said_in_words(speeches: Path, tmp_path: Path):
    file = texts(tmp_path, WELL, ILL, {"text": "x"})
    words = ("--prompt", "A {label} speech: ", "--draws", "4")
    said = answer("classify", speeches, file, *words)
    assert said["classes"] == ["bad", "good"] and said["num_items"] == said["num_malformed"] + 1
    assert said["prompts"] == ["A bad speech: ", "A good speech: "] and said["chance"] == 0.5
    more = answer("classify", speeches, file, *words, "--classes", "good", "bad", "dull")
    assert more["classes"] == ["good", "bad", "dull"] and len(more["confusion"]) == 3


def test_labels_of_a_file(run: Path, tmp_path: Path):
    """The same images as text: the same answers."""
    told = Corpus.open(run.parents[1] / "digits")
    starts = told.documents("test")[:4, 0]
    documents = [
        told.tokenizer.decode(told.split("test").read(int(start), int(start) + 65))
        for start in starts
    ]
    file = texts(tmp_path, *({"text": one[1:], "label": int(one[0])} for one in documents))
    found = answer("classify", run, file, "--draws", "4")
    again = answer("classify", run, "test", "--limit", "4", "--draws", "4")
    assert found["confusion"] == again["confusion"]
    assert found["num_forwards"] == again["num_forwards"]


BAD = [
    (
        "run",
        [{"text": "a" * 64, "label": 12}],
        (),
        "line 1: label '12' is none of the classes 0, 1",
    ),
    ("run", None, ("--classes", "3"), "classes '3': classification takes two or more"),
    ("run", None, ("--classes", "3", "x"), "class 'x' is none of the labels that run"),
    ("run", None, ("--classes", "3", "3"), "classification takes two or more, each once"),
    ("speeches", None, (), "never saw labels: its training documents do not begin with tokens"),
    ("speeches", [WELL], (), "never saw labels"),
    (
        "speeches",
        [WELL],
        ("--prompt", "A {label} speech: "),
        "classes 'good': classification takes",
    ),
    ("speeches", [WELL, ILL], ("--prompt", "A speech: "), "lacks {label}"),
    (
        "speeches",
        [WELL | {"text": "x" * 90}, ILL | {"text": "x" * 90}],
        ("--prompt", "{label} "),
        "too long",
    ),
    ("run", [{"text": "a", "label": 1}], ("--draws", "0"), "draws must be at least 1, got 0"),
]


@pytest.mark.parametrize(("which", "lines", "words", "message"), BAD)
def test_bad_input_is_one_line(which, lines, words, message, tmp_path, request, capsys):
    folder = request.getfixturevalue(which)
    what = "validation" if lines is None else str(texts(tmp_path, *lines))
    capsys.readouterr()  # of the run's training, where this test is the first to need it
    assert main(["classify", str(folder), what, *words]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said and "\n" not in said


def test_training_with_labels_needs_labels(speeches: Path, capsys):
    given = ["--corpus", str(speeches.parents[1] / "corpus"), "--budget", "2e9", "--out"]
    given += [str(speeches.parent), "--shape", "1x16x2", "--length", "32"]
    assert main(["train", "masked", *given, "--recipe.labels-given", "0.9"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "has no labels to give: its documents do not begin with tokens of their own" in said

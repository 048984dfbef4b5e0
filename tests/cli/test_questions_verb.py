"""`isodiff questions` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isodiff.cli import main
from isodiff.data.qa_format import read_questions
from isodiff.evaluate.arithmetic import arithmetic


def test_both_files_are_written_and_read_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "sums"
    words = ["questions", str(folder), "--train", "40", "--test", "7", "--seed", "3"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == {name: str(folder / f"{name}.jsonl") for name in ("train", "test")}
    for split, size in (("train", 40), ("test", 7)):
        questions, malformed = read_questions(folder / f"{split}.jsonl")
        assert questions == arithmetic(3, size, split) and not malformed
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "train.jsonl: 40 questions" in text and "Question: " in text and "#### " in text


def test_no_question_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["questions", str(tmp_path), "--test", "0"]) == 2
    assert "--test must be at least 1, got 0" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

"""Evaluations that are interrupted go on where they were, say how far they are, and leave nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_runs

from isodiff.cli import main
from isodiff.data.qa_format import write_questions
from isodiff.evaluate.arithmetic import arithmetic
from isodiff.runs.resumable import Kept, anew

ITEMS = [
    {"query": f"Congress of {year}:", "choices": ["the Senate", "a house"], "gold": 0}
    for year in range(1790, 1796)
]
WORDS = [
    {"context": "citizens of the", "continuation": "Senate"},
    {"context": "and House of", "continuation": "Reps"},
]
TASKS = {
    "choices": ["task", "choices.jsonl", "--draws", "4", "--batch-tokens", "40"],
    "words": ["task", "words.jsonl", "--task", "lambada", "--batch-tokens", "40"],
    "text": ["text", "text.txt", "--batch-size", "2", "--budget", "33"],
    "held out": ["split", "--split", "train", "--windows", "130", "--draws", "2"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("interrupted")
    tiny_runs.corpus(made)
    for name, values in (("choices", ITEMS), ("words", WORDS)):
        (made / f"{name}.jsonl").write_text("\n".join(map(json.dumps, values)))
    (made / "text.txt").write_text("We the People of the United States, in Order to form " * 4)
    write_questions(made / "train.jsonl", arithmetic(0, 60, "train"))
    write_questions(made / "test.jsonl", arithmetic(0, 6, "test"))
    return made


@pytest.fixture(scope="module")
def masked(folder: Path) -> Path:
    return tiny_runs.trained(folder, "masked", folder / "corpus")


def interrupted_after(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C once so many are known."""
    keep = Kept.keep

    def stop(self: Kept) -> None:
        keep(self)
        if self.number + 1 == pieces:
            raise KeyboardInterrupt

    monkeypatch.setattr(Kept, "keep", stop)


def left(run: Path) -> list[Path]:
    return list(run.rglob(".*.pieces"))


def goes_on(
    run: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same answer as without interruption, and what was known is not asked again."""
    whole = tiny_runs.answer(*words)
    with monkeypatch.context() as patch:
        interrupted_after(2, patch)
        assert main([*words, "--json"]) == 130
    said = capsys.readouterr()
    assert said.out == "" and "interrupted; the same command goes on from here" in said.err
    (file,) = left(run)
    kept = file.read_text()
    assert kept.count("\n") == 2
    file.write_text(kept + "[2, [0.12")  # torn: a power cut
    worked: list[int] = []
    keep = Kept.keep
    with monkeypatch.context() as patch:
        patch.setattr(Kept, "keep", lambda self: (worked.append(self.number), keep(self))[1])
        assert tiny_runs.answer(*words) == whole
    assert worked[0] == 2 and left(run) == []


@pytest.mark.parametrize("task", TASKS)
def test_an_evaluation_goes_on(
    task: str,
    folder: Path,
    masked: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command, *words = [str(folder / word) if "." in word else word for word in TASKS[task]]
    goes_on(masked, ["evaluate", command, str(masked), *words], monkeypatch, capsys)


def test_answers_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tiny_runs.trained(folder, "autoregressive", folder / "corpus")
    data = ["--data", str(folder / "train.jsonl"), "--test", str(folder / "test.jsonl")]
    words = [*data, "--length", "110", "--epochs", "8", "--out", str(folder / "tuned")]
    words += ["--batch-answers", "1", "--threads", "1", "--validation.windows", "4"]
    tuned = folder / "tuned"
    goes_on(tuned, ["finetune", str(base), *words], monkeypatch, capsys)


def test_pieces_of_another_question_are_not_taken(
    folder: Path, masked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["evaluate", "task", str(masked), str(folder / "choices.jsonl")]
    words += ["--batch-tokens", "40"]
    other = tiny_runs.answer(*words, "--draws", "2")
    with monkeypatch.context() as patch:
        interrupted_after(2, patch)
        assert main([*words, "--draws", "8"]) == 130
    assert len(left(masked)) == 1
    assert tiny_runs.answer(*words, "--draws", "2") == other
    left(masked)[0].unlink()


def test_it_says_how_far_it_is(
    folder: Path,
    masked: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("isodiff.progress.LOG_SECONDS", 0.0)
    words = [str(folder / "choices.jsonl"), "--task", "piqa", "--batch-tokens", "40"]
    assert main(["evaluate", "task", str(masked), *words]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("piqa  1/6 items  ") and lines[0].endswith(" s")
    assert lines[-1].startswith("piqa  6/6 items  ") and lines[-1].endswith("/s  ETA 0 s")
    assert main(["sample", str(masked), "--num", "3", "--batch-size", "1"]) == 0
    assert "sample  2/3 texts  " in capsys.readouterr().err


def test_verbs_that_begin_again_say_so(
    monkeypatch: pytest.MonkeyPatch, masked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Kept, "__call__", stop)
    assert main(["sample", str(masked)]) == 130
    assert "isodiff sample: interrupted; nothing was written" in capsys.readouterr().err


def test_nothing_is_kept_where_nobody_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with Kept("what", 2, "units", folder=tmp_path) as pieces:
        assert [pieces(1, lambda: 1.5), anew(1, lambda: 2)] == [1.5, 2]
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", range(6))
def test_a_damaged_piece_is_worked_out_again(place: int, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Kept("x", 3, "items", folder=tmp_path) as pieces:
        for number in range(3):
            pieces(1, lambda number=number: [number, {"nats": 7.25}])
        raise KeyboardInterrupt
    (file,) = left(tmp_path)
    data = bytearray(file.read_bytes())
    lines = data.split(b"\n")
    data[len(lines[0]) + 1 + place * (len(lines[1]) - 1) // 5] ^= 1
    file.write_bytes(bytes(data))
    known = Kept("x", 3, "items", folder=tmp_path).known
    assert known == {number: [number, {"nats": 7.25}] for number in (0, 2)}

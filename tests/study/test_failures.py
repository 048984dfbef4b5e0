"""What a study does when parts of it fail, and when its folder was moved: nothing good is lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny_study

from isodiff.cli import main
from isodiff.data.corpora import prepare
from isodiff.study.jobs import (
    CalibrateSteps,
    DescribeRuns,
    DrawTexts,
    Job,
    ListSamplers,
    MeasurePoint,
    ScoreHeldOut,
    TrainRun,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny.yaml, and out/ with the study done; its corpus lies in out/corpus."""
    place = tmp_path_factory.mktemp("failures")
    corpus = tiny_study.small_corpus(place / "out" / "corpus")
    tiny_study.write_study(place / "tiny.yaml", corpus)
    with pytest.MonkeyPatch.context() as patch:
        tiny_study.in_this_process(patch)
        assert study(place) == 0
    return place


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> Path:
    """A copy, which is a study that was moved: the first one's corpus is out of its sight."""
    shutil.copytree(finished, tmp_path / "copy")
    text = (finished / "tiny.yaml").read_text()
    (tmp_path / "copy" / "tiny.yaml").write_text(
        text.replace(str(finished), str(tmp_path / "copy"))
    )
    return tmp_path / "copy"


def study(place: Path, *words: str, out: str = "out") -> int:
    return main(["study", str(place / "tiny.yaml"), "--out", str(place / out), *BRIEF, *words])


BRIEF = ["--workers", "1", "--bootstrap", "0"]
RESULTS = ("samples.json", "frontier.json", "fits.json")


def results(out: Path) -> dict[str, dict]:
    return {name: json.loads((out / name).read_text()) for name in RESULTS}


@pytest.mark.parametrize("kind", [TrainRun, DrawTexts, ListSamplers, ScoreHeldOut, MeasurePoint])
def test_what_fails_is_said_and_tried_again_and_good_files_stay(
    kind: type[Job],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, before = place / "out", results(place / "out")
    lost = sorted((out / "runs").iterdir())[0]
    shutil.rmtree(lost)
    shutil.rmtree(out / "frontier")
    with monkeypatch.context() as patch:
        asked = tiny_study.in_this_process(patch, lambda job: isinstance(job, kind))
        assert study(place) == 1
    said = capsys.readouterr()
    assert sum(isinstance(job, kind) for job in asked) % 2 == 0, "each is tried twice"
    assert "Traceback" not in said.err
    last = said.err.splitlines()[-1]
    assert last.startswith("isodiff study: ") and "killed (SIGKILL)" in last
    assert said.out.splitlines()[-1] == str(out / "report.html")
    after = results(out)
    assert after["samples.json"] and after["frontier.json"]["points"]
    if kind is TrainRun:
        assert json.loads((lost / "record.json").read_text())["status"] == "failed"
    elif kind is DrawTexts:
        assert after["samples.json"] == before["samples.json"]
    else:
        assert after["frontier.json"] == before["frontier.json"]
    tiny_study.in_this_process(monkeypatch)
    assert study(place) == 0
    assert json.loads((lost / "record.json").read_text())["status"] == "done"
    assert set(results(out)["samples.json"]) == {"autoregressive"}


@pytest.mark.parametrize("kind", [DescribeRuns, CalibrateSteps])
@pytest.mark.parametrize("verb", [["study"], ["plan", "study"]])
def test_what_cannot_be_planned_is_one_line(
    kind: type[Job],
    verb: list[str],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny_study.in_this_process(monkeypatch, lambda job: isinstance(job, kind))
    words = [str(place / "tiny.yaml"), "--out", str(place / "new"), "--workers", "2"]
    assert main([*verb, *words]) == 1
    said = capsys.readouterr()
    assert said.out == "" and said.err.splitlines()[-1].startswith(f"isodiff {verb[0]}: ")
    assert "Traceback" not in said.err and not (place / "new" / "plan.json").exists()


def test_a_study_of_which_nothing_is_left_says_why(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_study.in_this_process(monkeypatch, lambda job: isinstance(job, TrainRun))
    assert study(place, out="new") == 1
    assert "all 2 runs failed, the first by this: run " in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "location", ["as written", "of an earlier version", "lost", "of another corpus"]
)
def test_a_study_that_was_moved_keeps_its_samples_and_frontier(
    location: str, place: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its folder, or all that it needs; as it is, or with whole paths that lead nowhere."""
    moved, other = place / "renamed", finished / "other"
    if not other.exists():
        prepare([finished / "tiny.yaml"], other, tokenizer="bytes", validation=0.2, test=0.2)
    (place / "out").rename(moved)
    text = (place / "tiny.yaml").read_text()
    (place / "tiny.yaml").write_text(text.replace(str(place / "out"), str(moved)))
    for file in moved.glob("runs/*/location.json"):
        if location == "lost":
            file.unlink()
        elif location == "of another corpus":
            file.write_text(json.dumps({"corpus": str(other)}))
        elif location == "of an earlier version":
            file.write_text(json.dumps({"corpus": str(place / "out" / "corpus")}))
    before, points = results(moved), sorted((moved / "frontier").iterdir())
    for verb in (["sample", "--num", "1"], ["evaluate", "split", "--windows", "4"]):
        run = next((moved / "runs").iterdir())
        where = 2 if verb[0] == "evaluate" else 1
        assert main([*verb[:where], str(run), *verb[where:]]) == 0
    tiny_study.in_this_process(monkeypatch)
    assert study(place, out="renamed") == 0
    after = results(moved)
    assert after["samples.json"] == before["samples.json"]
    assert after["frontier.json"]["points"] == before["frontier.json"]["points"]
    assert sorted((moved / "frontier").iterdir()) == points


def test_runs_that_lost_sight_of_their_corpus_are_told_where_it_is(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The corpus alone was moved, and the study's file says where to."""
    (place / "out" / "corpus").rename(tmp_path / "elsewhere")
    text = (place / "tiny.yaml").read_text()
    new = text.replace(str(place / "out" / "corpus"), str(tmp_path / "elsewhere"))
    (place / "tiny.yaml").write_text(new)
    for file in (place / "out").glob("runs/*/location.json"):
        file.write_text(json.dumps({"corpus": "/nowhere"}))
    before = results(place / "out")
    tiny_study.in_this_process(monkeypatch)
    assert study(place) == 0
    assert results(place / "out")["samples.json"] == before["samples.json"]
    run = next((place / "out" / "runs").iterdir())
    assert main(["sample", str(run), "--num", "1"]) == 0


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("maskd", "no family 'maskd'; did you mean 'masked'?"),
        ("{name: masked, objektive: nelbo}", "no option 'objektive'; did you mean 'objective'?"),
        ("{name: block, block_size: 0}", "block_size must be at least 1, got 0"),
    ],
)
def test_a_wrong_family_is_told_before_any_text_is_prepared(
    family: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny_study.in_this_process(monkeypatch)
    changes = (
        ("prepared: nowhere", "source: sotu, tokenizer: bytes"),
        ("[autoregressive]", f"[{family}]"),
    )
    tiny_study.write_study(tmp_path / "tiny.yaml", Path("nowhere"), *changes)
    assert study(tmp_path) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out" / "corpus").exists()

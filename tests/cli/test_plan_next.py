"""`isodiff plan next` as a user meets it: from a study, from run folders, from a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isodiff.cli import main
from isodiff.network.shape import LADDER
from tests.report.planted import write_study

STUDY = """
name: presidents
corpus: {source: sotu}
families: [autoregressive, masked]
budgets: [{flops: 1e11, shapes: [6k]}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("next") / "presidents"
    write_study(place, families={"autoregressive": 1.0, "masked": 1.4})
    (place.parent / "study.yaml").write_text(STUDY)
    return place


def said(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    assert main(["plan", "next", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_a_study_and_its_runs_give_one_proposal(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    words = [folder.parent / "study.yaml", "--out", folder, "--num", "2", "--json"]
    found = json.loads(said(capsys, *words))
    assert found["target"] == 1e13 and found["allowance"] == 2e13
    assert 1 <= len(found["runs"]) <= 2
    assert found["error_after"] < found["error"]
    for run in found["runs"]:
        assert run["family"] in ("autoregressive", "masked")
        assert run["shape"] in LADDER
        assert run["flops"] == pytest.approx(6 * run["parameters"] * run["tokens"], rel=0.01)
    assert any("is left out: diverged" in line for line in found["warnings"])
    again = json.loads(said(capsys, folder, "--num", "2", "--json"))
    assert {**again, "source": None} == {**found, "source": None}


def test_the_table_says_what_it_costs_what_it_brings_and_why(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    text = said(capsys, folder, "--num", "3", "--budget-left", "5e12", "--budget", "4e13")
    assert "At 4e+13 FLOPs" in text and "nats per token" in text and "% sure" in text
    assert "of 5e+12: the standard error of the verdict should fall by" in text
    assert "goes with the verdict" in text and "a run's noise is" in text
    text = said(capsys, folder, "--num", "1", "--verdict", "multiplier")
    assert "masked needs the compute of autoregressive for equal loss" in text


def test_published_runs_have_no_shapes(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, "published:2602.15014", "--num", "1", "--json"))
    assert found["families"][0] == "autoregressive" and found["runs"][0]["shape"] is None
    assert found["confidence"] > 0.999
    text = said(capsys, "published:2602.15014", "--num", "1")
    assert "More runs will hardly change that." in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["next", "--num", "2"], "nothing to fit; give run folders"),
        (["next", "none", "--num", "2"], "none does not exist"),
        (
            ["next", "published:2203.15556", "--num", "2"],
            "a verdict compares two families, and 1 of 1 has",
        ),
        (["next", "published:2602.15014", "--num", "0"], "--num must be at least 1, got 0"),
        (["next", "x", "--law", "laws.json"], "no option --law"),
        (["next", "x", "--num", "1", "--out", "y"], "--out is the folder of a study"),
        (["study", "x.yaml", "y.yaml"], "unexpected 'y.yaml'"),
        (["next", "x.yaml", "y"], "give one study, or run folders"),
        (["study", "x.yaml", "--budget-left", "1e9"], "no option --budget-left"),
        (["x.yaml", "--next", "3"], "no command 'x.yaml'; did you mean 'isodiff plan next'?"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["plan", *options]) == 2
    found = capsys.readouterr()
    assert message in found.err and found.err.count("\n") == 1 and found.out == ""

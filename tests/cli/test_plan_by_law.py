"""`isodiff plan --budget --law` as a user meets it; plans of studies are in tests/study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isodiff.cli import main


def answer(capsys: pytest.CaptureFixture[str], *options: str) -> dict:
    assert main(["plan", *options, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_fresh_install_plans_by_published_laws(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "--budget", "1e21", "--law", "published:2602.15014")
    assert set(found["families"]) == {"autoregressive", "masked", "uniform", "interpolating"}
    for row in found["families"].values():
        assert {"N", "D", "loss", "loss_interval", "batch_tokens", "learning_rate"} <= row.keys()
    assert found["recommendation"]["family"] in found["families"]


def test_the_text_gives_the_table_the_reasons_and_the_warnings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--budget", "1e23", "--law", "published:2602.15014", "--data-limit", "1e10"]
    assert main(["plan", *options]) == 0
    text = capsys.readouterr().out
    assert (
        "1e+23 FLOPs and a text of 10G tokens, by the parametric law of published:2602.15014"
        in text
    )
    assert "epochs" in text and "Recommended: " in text
    assert "beyond 10 times a law is a guess" in text
    assert "critical batch size" in text and "arXiv 2512.10858" in text


def test_own_laws_are_planned_by(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    laws = tmp_path / "laws.json"
    fit = [
        "fit",
        "published:2203.15556",
        "--law",
        "parametric",
        "--bootstrap",
        "50",
        "--out",
        str(laws),
    ]
    assert main(fit) == 0
    capsys.readouterr()
    found = answer(capsys, "--budget", "1e22", "--law", str(laws))
    assert found["families"]["autoregressive"]["N"] == pytest.approx(9.12e9, rel=0.01)
    assert main(["plan", "--budget", "1e22", "--law", str(laws)]) == 0
    assert "the only family with a law" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "plan what? give a study.yaml, or --budget FLOPs with --law"),
        (["--budget", "1e21"], "plan what?"),
        (["--law", "published:2602.15014"], "plan what?"),
        (["--budget", "1e21", "--law", "published:1"], "no published laws"),
        (["--budget", "-1", "--law", "published:2510.03280"], "--budget is -1.0"),
        (["x.yaml", "--budget", "1e21"], "plan without a study"),
        (["x.yaml"], "x.yaml does not exist"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["plan", *options]) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1 and said.out == ""

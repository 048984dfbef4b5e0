"""`isodiff plan budget` as a user meets it; plans of studies are in tests/study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isodiff.cli import main

PRINTED = ["1e21", "--law", "published:2510.03280"]


def answer(capsys: pytest.CaptureFixture[str], *options: str) -> dict:
    assert main(["plan", "budget", *options, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_fresh_install_plans_by_published_laws(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "1e21", "--law", "published:2602.15014")
    assert set(found["families"]) == {"autoregressive", "masked", "uniform", "interpolating"}
    for row in found["families"].values():
        assert {"N", "D", "loss", "loss_interval", "batch_tokens", "learning_rate"} <= row.keys()
    assert found["recommendation"]["family"] in found["families"]


def test_the_text_gives_the_table_the_reasons_and_the_warnings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["5e21", "--law", "published:2602.15014", "--data-limit", "1e10"]
    assert main(["plan", "budget", *options]) == 0
    text = capsys.readouterr().out
    assert (
        "5e+21 FLOPs and a text of 10B tokens, by the parametric law of published:2602.15014"
        in text
    )
    assert "epochs" in text and "Recommended: " in text
    assert "beyond 10 times a law is a guess" in text
    assert "critical batch size" in text and "arXiv 2512.10858" in text


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A law that `isodiff fit` wrote."""
    file = tmp_path_factory.mktemp("laws") / "laws.json"
    fit = ["fit", "published:2203.15556", "--law", "parametric", "--bootstrap", "20"]
    assert main([*fit, "--out", str(file)]) == 0
    return file


def test_own_laws_are_planned_by(capsys: pytest.CaptureFixture[str], fitted: Path) -> None:
    found = answer(capsys, "1e22", "--law", str(fitted))
    assert found["families"]["autoregressive"]["N"] == pytest.approx(9.12e9, rel=0.01)
    assert main(["plan", "budget", "1e22", "--law", str(fitted)]) == 0
    assert "the only family with a law" in capsys.readouterr().out


def test_devices_give_hours_memory_and_speed_to_every_family(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["1e21", "--law", "published:2602.15014", "--device", "h100x8"]
    found = answer(capsys, *options, "--data-limit", "1e11", "--sampler-steps", "64")
    assert found["setting"]["device"]["count"] == 8 and found["data_limit"] == 1e11
    rows = found["families"]
    for row in rows.values():
        assert row["training"]["hours"] == pytest.approx(1e21 / (8 * 989.5e12 * 0.4) / 3600)
        assert row["memory"]["devices_needed"] >= 1 and row["epochs"] >= 1
    looks = {name: row["inference"]["evaluations"] for name, row in rows.items()}
    assert looks["autoregressive"] == 2048
    for name in ("masked", "uniform", "interpolating"):
        assert looks[name] == pytest.approx(64)
    flops = {name: row["inference"]["flops_per_token"] for name, row in rows.items()}
    # masks show all positions at every step, the interpolating family each token twice
    assert flops["masked"] > 10 * flops["autoregressive"] > 10 * flops["interpolating"] / 2
    reasons = " ".join(found["recommendation"]["reasons"])
    assert "training it takes 3.66 days on h100x8 at 40% of the peak" in reasons
    assert "it does not fit one h100 (" in reasons and "in equal parts it fits 2" in reasons
    assert "on one h100 it writes at most" in reasons


def test_a_training_throughput_takes_the_place_of_the_devices_arithmetic(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = answer(capsys, *PRINTED, "--training-throughput", "1e9")
    row = found["families"]["masked"]
    assert row["training"]["hours"] == pytest.approx(row["D"] / 1e9 / 3600)
    assert row["training"]["basis"] == "training_throughput"
    assert any("would do more FLOPs than h100 can at its peak" in w for w in found["warnings"])


def test_devices_too_small_are_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["1e22", "--law", "published:2510.03280", "--device", "rtx4090"]
    found = answer(capsys, *options)
    needed = found["families"]["masked"]["memory"]["devices_needed"]
    assert needed > 1
    assert any("rtx4090 has too little memory for masked" in line for line in found["warnings"])
    reasons = " ".join(found["recommendation"]["reasons"])
    assert f"in equal parts it fits {needed}" in reasons
    found = answer(capsys, *options, "--length", "100000")
    assert found["families"]["masked"]["memory"]["devices_needed"] is None
    reasons = " ".join(found["recommendation"]["reasons"])
    assert "do not fit one rtx4090 unless they are computed again" in reasons


def test_a_family_that_nobody_knows_here_has_no_speed(
    capsys: pytest.CaptureFixture[str], fitted: Path, tmp_path: Path
) -> None:
    laws = tmp_path / "laws.json"
    value = json.loads(fitted.read_text().replace('"autoregressive"', '"other"'))
    laws.write_text(json.dumps({key: value[key] for key in value if key != "checksum"}))
    found = answer(capsys, "1e22", "--law", str(laws))
    assert found["families"]["other"]["inference"]["flops_per_token"] is None
    assert main(["plan", "budget", "1e22", "--law", str(laws)]) == 0
    assert "other" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "which command? one of budget, next, study"),
        (["budget", "1e21"], "give --law LAW"),
        (["budget", "--law", "published:2602.15014"], "give FLOPS"),
        (["budget", "1e21", "--law", "published:1"], "no published laws"),
        (["budget", "-1", "--law", "published:2510.03280"], "FLOPS must be more than 0, got -1"),
        (["study", "x.yaml", "--budget", "1e21"], "no option --budget"),
        (["study", "x.yaml", "--device", "h100"], "--device must be cpu, cuda"),
        (["--budget", "1e21", "--law", "x"], "no command '--budget'; did you mean"),
        (["budget", *PRINTED, "--device", "h1000"], "no device 'h1000'; did you mean 'h100'?"),
        (["budget", *PRINTED, "--throughput", "0"], "--throughput must be more than 0, got 0"),
        (
            ["budget", *PRINTED, "--training-throughput", "0"],
            "--training-throughput must be more than 0",
        ),
        (["budget", *PRINTED, "--price", "-1"], "--price must be more than 0, got -1"),
        (["budget", "1e30", *PRINTED[1:]], "1e+30 FLOPs are 1e+09 times the largest fitted budget"),
        (["budget", "1", *PRINTED[1:]], "3e+18 times below the smallest fitted budget"),
        (["budget", *PRINTED, "--utilization", "40"], "--utilization must be at most 1, got 40"),
        (["budget", *PRINTED, "--vocab-size", "0"], "--vocab-size must be at least 1, got 0"),
        (["budget", *PRINTED, "--data-limit", "nan"], "--data-limit must be a finite number"),
        (["study", "x.yaml"], "x.yaml does not exist"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["plan", *options]) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1 and said.out == ""

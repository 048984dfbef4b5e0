"""`isodiff fit` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from isodiff.cli import main

INTERVAL = {"value", "low", "high"}


def answer(capsys: pytest.CaptureFixture[str], *options: str) -> dict:
    assert main(["fit", *options, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json_has_the_promised_shape(capsys: pytest.CaptureFixture[str]) -> None:
    fit = answer(capsys, "published:2602.15014", "--law", "isoflop", "--bootstrap", "50")
    assert {"law", "protocol", "bootstrap", "seed", "flops", "source", "warnings"} <= fit.keys()
    assert fit["parameters_convention"] == "non_embedding"
    assert set(fit["families"]) == {"autoregressive", "masked", "uniform", "interpolating"}
    for family in fit["families"].values():
        for key in ("N_exponent", "D_exponent", "L_exponent", "multiplier_vs_autoregressive"):
            assert set(family[key]) == INTERVAL
            assert family[key]["low"] <= family[key]["value"] <= family[key]["high"]
        assert {"flops", "N_opt", "L_opt", "D_opt", "sizes"} <= family["budgets"][0].keys()
        assert family["refused"] == []
        assert {"flops", "accepted", "reason", "points", "line"} <= family["curves"][0].keys()
        assert set(family["curves"][0]["line"][0]) == {"parameters", "nats"}
        for symbol in ("L", "N"):
            assert set(family["bands"][symbol][0]) == {"flops", "value", "low", "high"}


def test_out_writes_the_same_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "new" / "fits.json"
    fit = answer(capsys, "published:2602.15014", "--bootstrap", "20", "--out", str(out))
    written = json.loads(out.read_text())
    assert len(written.pop("checksum")) == 64 and written == fit


def test_text_names_multipliers_refusals_and_protocol(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = tmp_path / "points.csv"
    lines = ["family,budget,parameters,tokens,nats"]
    lines += [f"masked,1e18,{n}e6,{1e12 / 6 / n},{loss}" for n, loss in ((1, 4), (2, 3), (4, 4))]
    lines += [f"masked,1e19,{n}e6,{1e13 / 6 / n},{loss}" for n, loss in ((1, 3), (2, 4), (4, 3))]
    table.write_text("\n".join(lines))
    assert main(["fit", str(table)]) == 0
    text = capsys.readouterr().out
    assert "refused: concave" in text
    assert "unknown: 1 accepted budgets" in text
    assert "masked  unknown: no autoregressive runs to compare with" in text
    assert "Per family and budget a least-squares parabola" in text
    assert main(["fit", "published:2602.15014", "--bootstrap", "0"]) == 0
    text = capsys.readouterr().out
    assert "E = " in text and "no bootstrap was asked for" in text


def test_the_parametric_law_as_json_and_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("published:2203.15556", "--law", "parametric", "--bootstrap", "50")
    fit = answer(capsys, *options)
    promised = {"E", "A", "B", "alpha", "beta", "objective", "exponents", "intervals", "num_points"}
    assert promised <= fit.keys()
    assert {"N", "D"} <= fit["exponents"].keys()
    assert fit["num_points"] == 240 and fit["resampling"] == "case"
    assert main(["fit", *options]) == 0
    text = capsys.readouterr().out
    assert "Left out and predicted: the 24 runs of most compute" in text
    assert "predicted" in text and "observed" in text
    assert "Without one run the exponent of N* moves by at most" in text
    assert main(["fit", "published:2602.15014", "--law", "parametric", "--bootstrap", "0"]) == 0
    assert "What the families share" in capsys.readouterr().out


def test_conventions_and_hubers_regression(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("published:2602.15014", "--bootstrap", "20", "--conventions", "--huber")
    fit = answer(capsys, *options)
    assert fit["huber"] and len(fit["conventions"]["rows"]) == 8
    assert set(fit["conventions"]["moved"]) == set(fit["families"])
    assert main(["fit", *options]) == 0
    text = capsys.readouterr().out
    assert "The same runs under other conventions of C and N" in text
    assert "Left out and predicted: the largest budget, 1e+20 FLOPs" in text
    assert "The form of the parabola moves N* by" in text
    assert "Huber-regression parabola" in text


def test_the_law_of_repeated_data(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("published:2305.16264", "--law", "repeated", "--bootstrap", "20")
    fit = answer(capsys, *options)
    assert {"R_D", "R_N", "objective", "published", "profile"} <= fit.keys()
    assert len(fit["profile"][0]) == 2
    assert main(["fit", *options]) == 0
    text = capsys.readouterr().out
    assert "R_D 95.37 [5.19, inf], not identified" in text
    assert "as printed: R_D 15.39, R_N 5.31, objective 0.0158259" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing to fit"),
        (["published:2602.15014", "--law", "repeated"], "do not say how long their text is"),
        (
            ["published:2203.15556", "--law", "parametric", "--no-irreducible"],
            "is for --law isoflop",
        ),
        (["published:2602.15014", "--resample", "case"], "--resample is for --law parametric"),
        (
            ["published:2203.15556", "--law", "parametric", "--huber"],
            "--huber is for --law isoflop",
        ),
        (["published:2203.15556", "--flops", "exact"], "knows C = 6ND only"),
        (["published:2203.15556", "--parameters", "total"], "leave --parameters out"),
        (["published:0"], "no published points"),
        (["missing.csv"], "does not exist"),
        (["missing"], "does not exist"),
        (["published:2602.15014", "--bootstrap", "-5"], "--bootstrap must be at least 0, got -5"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_two(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["fit", *options]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.count("\n") == 1


def test_the_verb_imports_no_torch() -> None:
    code = (
        "import sys; from isodiff.cli import main; "
        "code = main(['fit', 'published:2602.15014', '--json']); "
        "sys.exit(code or 3 * ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    fit = json.loads(done.stdout)
    assert fit["bootstrap"] == 1000

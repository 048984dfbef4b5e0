"""Tables that no law can be fitted to: one line that says what is wrong and how to mend it, exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from isodiff.cli import main

HEAD = "family,budget,parameters,tokens,nats,kind"
SIZES = (1e6, 2e6, 4e6, 8e6, 1.6e7)


def loss(size: float, tokens: float) -> float:
    return 1.7 + 400 / size**0.34 + 400 / tokens**0.3


def rows(budgets: tuple[float, ...] = (1e15, 1e16), sizes: tuple[float, ...] = SIZES) -> list[str]:
    """A family on a planted surface."""
    return [
        f"masked,{budget},{size},{budget / 6 / size},{loss(size, budget / 6 / size)},bound"
        for budget in budgets
        for size in sizes
    ]


def changed(place: int, value: str) -> list[str]:
    """The planted runs, with one field of the second changed."""
    lines = rows()
    fields = lines[1].split(",")
    fields[place] = value
    return [lines[0], ",".join(fields), *lines[2:]]


BAD = {
    "not a number": (changed(4, "nan"), "line 3: nats must be a finite number, got 'nan'"),
    "infinite": (changed(4, "inf"), "line 3: nats must be a finite number, got 'inf'"),
    "negative": (changed(4, "-1"), "line 3: nats must be more than 0, got '-1'"),
    "mixed": (changed(5, "exact"), "mark each, and give them as two families"),
    "unmarked": (changed(5, ""), "mark each, and give them as two families"),
    "odd mark": (
        changed(5, "maybe"),
        "line 3: kind must be one of 'exact', 'bound', got 'maybe'",
    ),
    "one budget": (rows(budgets=(1e15,), sizes=(*SIZES, 3.2e7)), "has one budget only"),
    "no runs": ([], "no points"),
}
FEW = {
    "isoflop": "no IsoFLOP curve of .* has a minimum inside its sizes (too_few_sizes); run three sizes",
    "parametric": "masked has 4 runs; a law of 5 parameters needs 6 at least",
}


def refused(lines: list[str], law: str, capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    table = folder / "points.csv"
    table.write_text("\n".join([HEAD, *lines]) + "\n")
    assert main(["fit", str(table), "--law", law, "--bootstrap", "10"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and said.err.startswith("isodiff fit: ")
    return said.err


@pytest.mark.parametrize("law", ["isoflop", "parametric"])
@pytest.mark.parametrize("case", BAD)
def test_bad_tables(
    case: str, law: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines, message = BAD[case]
    assert message in refused(lines, law, capsys, tmp_path)


@pytest.mark.parametrize("law", FEW)
def test_fewer_runs_than_constants(
    law: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    said = refused(rows(sizes=(1e6, 4e6)), law, capsys, tmp_path)
    assert all(part in said for part in FEW[law].split(".*"))


def test_repeated_data_need_the_length_of_the_text_and_runs_enough(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert "do not say how long their text is" in refused(rows(), "repeated", capsys, tmp_path)
    table = tmp_path / "few.csv"
    lines = [f"{HEAD},unique_tokens", *(f"{line},1e8" for line in rows())]
    table.write_text("\n".join(lines))
    assert main(["fit", str(table), "--law", "repeated"]) == 2
    assert "masked has 10 runs; up to 10 constants" in capsys.readouterr().err


def test_a_family_without_autoregressive_runs_beside_it_has_laws_but_no_multiplier(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = tmp_path / "points.csv"
    table.write_text("\n".join([HEAD, *rows()]))
    assert main(["fit", str(table), "--bootstrap", "10"]) == 0
    text = capsys.readouterr().out
    assert "masked  unknown: no autoregressive runs to compare with" in text
    assert "no family is named autoregressive: there are no multipliers" in text
    assert "N* ~ C^p, p = 0.4" in text

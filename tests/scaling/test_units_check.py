"""Units of a table that cannot be are refused, unusual ones said: one line each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isodiff.cli import main
from isodiff.errors import InputError
from isodiff.scaling import Point, fit_isoflop, published_points, read_points
from isodiff.scaling.units_check import checked_units

CHINCHILLA, FOUR = (published_points(f"published:{n}") for n in ("2203.15556", "2602.15014"))


@pytest.mark.parametrize("data", [CHINCHILLA, FOUR])
def test_published_runs_are_as_they_should_be(data) -> None:
    assert checked_units(data) == data


@pytest.mark.parametrize("data", [CHINCHILLA, FOUR])
@pytest.mark.parametrize(
    ("n", "d", "said"),
    [
        (1e6, 1, "parameters in millions"),
        (1, 1e9, "tokens in billions"),
        (1e6, 1e9, "parameters in millions and tokens in billions"),
        (1e9, 1e9, "parameters in billions and tokens in billions"),
        (1e9, 1e12, "parameters in billions and tokens in trillions"),
    ],
)
def test_units_of_sizes_and_tokens_are_guessed(data, n: float, d: float, said: str) -> None:
    other = [replace(p, parameters=p.parameters / n, tokens=p.tokens / d) for p in data.points]
    with pytest.raises(InputError) as error:
        checked_units(replace(data, points=tuple(other)))
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("factor", [1e-21, 1e-18, 1e-3, 1e5])
def test_budgets_in_other_units_are_refused(factor: float) -> None:
    other = tuple(replace(p, budget=p.budget * factor) for p in FOUR.points)
    with pytest.raises(InputError, match="times the budget; give FLOPs"):
        checked_units(replace(FOUR, points=other))


def changed(loss: Callable[[Point], float], data=CHINCHILLA):
    return replace(data, points=tuple(replace(p, nats=float(loss(p))) for p in data.points))


@pytest.mark.parametrize("data", [CHINCHILLA, FOUR])
def test_perplexities_are_refused(data) -> None:
    with pytest.raises(InputError, match="perplexities"):
        checked_units(changed(lambda p: np.exp(p.nats), data))


@pytest.mark.parametrize("data", [CHINCHILLA, FOUR])
@pytest.mark.parametrize(
    ("factor", "said"), [(1 / np.log(2), "bits per token"), (1 / np.log(2) / 4.3, "bits per byte")]
)
def test_bits_are_asked_about(data, factor: float, said: str) -> None:
    *_, last = checked_units(changed(lambda p: p.nats * factor, data)).warnings
    assert said in last and "\n" not in last


@pytest.mark.parametrize("data", [CHINCHILLA, FOUR])
def test_sizes_and_tokens_that_seem_swapped_are_asked_about(data) -> None:
    other = tuple(replace(p, parameters=p.tokens, tokens=p.parameters) for p in data.points)
    *_, last = checked_units(replace(data, points=other)).warnings
    assert "not swapped" in last


@pytest.mark.parametrize("factor", [0.75, 1.25])
def test_other_text_and_tokenizers_pass(factor: float) -> None:
    data = changed(lambda p: p.nats * factor)
    assert checked_units(data) == data


def test_a_table_in_millions_is_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["family,budget,parameters,tokens,nats"]
    lines += [
        f"{p.family},{p.budget},{p.parameters / 1e6},{p.tokens},{p.nats}" for p in FOUR.points
    ]
    path = tmp_path / "points.csv"
    path.write_text("\n".join(lines))
    assert main(["fit", str(path)]) == 2
    out = capsys.readouterr()
    assert out.out == "" and out.err.count("\n") == 1 and "parameters in millions" in out.err
    path.write_text("\n".join(lines).replace("e+", "e").replace("autoregressive,", "gpt-2,"))
    with pytest.raises(InputError, match="parameters in millions"):
        read_points([str(path)])


def test_points_of_ones_own_are_not_checked() -> None:
    """A library's user may count in any units; a table's reader says what it takes."""
    other = [replace(p, parameters=p.parameters / 1e6) for p in FOUR.points]
    assert fit_isoflop(other, bootstrap=0).families

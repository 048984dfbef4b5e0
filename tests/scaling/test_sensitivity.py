"""One set of runs under every convention of C and N."""

from __future__ import annotations

from pathlib import Path

import pytest

from isodiff.errors import InputError
from isodiff.scaling import fit_data_constrained, fit_isoflop, fit_parametric, read_points
from isodiff.scaling.sensitivity import moved, under_each

PUBLISHED = ["published:2602.15014"]


def test_every_convention_once_and_each_as_if_asked_for() -> None:
    rows = under_each(PUBLISHED, lambda points: fit_isoflop(points, bootstrap=0)).rows
    pairs = [(row.flops, row.parameters) for row in rows]
    assert len(set(pairs)) == len(pairs) == 8
    assert pairs[0] == ("budget", "non_embedding")
    for row in rows:
        flops = None if row.flops == "budget" else row.flops
        points = read_points(PUBLISHED, flops, row.parameters)
        assert row.families == fit_isoflop(points, bootstrap=0).numbers()
    spans = moved(rows)
    low, high = spans["autoregressive"]["N_exponent"] or (0, 0)
    assert (low, high) == pytest.approx((0.524, 0.641), abs=1e-3)  # docs/laws.md
    low, high = spans["masked"]["multiplier_vs_autoregressive"] or (0, 0)
    assert (low, high) == pytest.approx((14.62, 16.01), abs=0.01)


def test_the_surface_depends_on_n_and_the_allocation_on_both() -> None:
    rows = under_each(PUBLISHED, lambda points: fit_parametric(points, bootstrap=0)).rows
    masked = {(r.flops, r.parameters): r.families["masked"] for r in rows}
    one, other = masked["budget", "non_embedding"], masked["6ND", "non_embedding"]
    assert one["alpha"] == pytest.approx(other["alpha"])
    assert one["N_exponent"] != pytest.approx(other["N_exponent"], abs=0.005)
    # embeddings in N flatten small networks: another alpha, another E
    total = masked["budget", "total"]
    assert total["alpha"] > 1.5 * one["alpha"] and total["E"] > one["E"] + 0.1


def test_a_source_with_one_convention_has_one_row() -> None:
    rows = under_each(
        ["published:2305.16264"], lambda points: fit_data_constrained(points, bootstrap=0)
    ).rows
    assert [(row.flops, row.parameters) for row in rows] == [("6ND", "as given")]
    assert rows[0].families["autoregressive"]["R_D"] == pytest.approx(95.4, abs=0.1)


def test_a_family_without_a_law_has_no_numbers(tmp_path: Path) -> None:
    table = tmp_path / "points.csv"
    lines = ["family,budget,parameters,tokens,nats"]
    lines += [f"masked,1e18,{n}e6,{1e12 / 6 / n},{loss}" for n, loss in ((1, 4), (2, 3), (4, 4))]
    table.write_text("\n".join(lines))
    rows = under_each([str(table)], lambda points: fit_isoflop(points, bootstrap=0)).rows
    assert [row.flops for row in rows] == ["budget", "6ND"]
    assert set(rows[0].families["masked"].values()) == {None}
    assert moved(rows)["masked"]["N_exponent"] is None


def test_what_is_not_there_is_an_error() -> None:
    with pytest.raises(InputError, match="no published points"):
        under_each(["published:0"], lambda points: fit_isoflop(points, bootstrap=0))

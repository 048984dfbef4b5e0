"""The published IsoFLOP points of arXiv 2602.15014 give the published laws."""

from __future__ import annotations

import csv
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

from isodiff.errors import InputError
from isodiff.scaling import fit_isoflop, published_points, table_points
from isodiff.scaling.point_sources import PUBLISHED_FAMILIES, published_parameters


@pytest.fixture(scope="module")
def fit() -> dict:
    return fit_isoflop(published_points("published:2602.15014")).to_json()


# Multipliers: the paper's 14, 23, 32. Exponents of N*: those of its figure read by eye.
@pytest.mark.parametrize(
    ("family", "multiplier", "paper", "n_exponent", "by_eye", "l_exponent"),
    [
        ("autoregressive", 1.0, 1, 0.6269, 0.63, -0.1736),
        ("masked", 14.62, 14, 0.5229, 0.52, -0.0635),
        ("uniform", 23.59, 23, 0.6610, 0.67, -0.1333),
        ("interpolating", 31.59, 32, 0.5585, 0.56, -0.1767),
    ],
)
def test_the_published_laws(
    fit: dict,
    family: str,
    multiplier: float,
    paper: float,
    n_exponent: float,
    by_eye: float,
    l_exponent: float,
) -> None:
    found = fit["families"][family]
    found_multiplier = found["multiplier_vs_autoregressive"]
    assert found_multiplier["value"] == pytest.approx(multiplier, abs=0.01)
    assert found_multiplier["value"] == pytest.approx(paper, rel=0.05)
    assert found_multiplier["low"] <= paper <= found_multiplier["high"]
    assert found["N_exponent"]["value"] == pytest.approx(n_exponent, abs=1e-4)
    assert found["N_exponent"]["value"] == pytest.approx(by_eye, abs=0.02)
    assert found["L_exponent"]["value"] == pytest.approx(l_exponent, abs=1e-4)
    assert len(found["budgets"]) == 5 and not found["refused"]


# Lowest losses at 6e18 and 1e20, read by eye off the paper's figure to 0.01 nats.
@pytest.mark.parametrize(
    ("family", "first", "last"),
    [
        ("autoregressive", 2.857, 2.365),
        ("masked", 3.376, 2.824),
        ("uniform", 3.543, 2.937),
        ("interpolating", 3.60, 3.01),
    ],
)
def test_the_lowest_losses_are_those_of_the_figure(
    fit: dict, family: str, first: float, last: float
) -> None:
    rows = fit["families"][family]["budgets"]
    assert [rows[0]["L_opt"], rows[-1]["L_opt"]] == pytest.approx([first, last], abs=0.012)


# Measured once, to show how far a convention moves the result; docs/laws.md has the table.
@pytest.mark.parametrize(
    ("flops", "convention", "exponents", "multipliers"),
    [
        (None, "core", (0.6410, 0.5370, 0.6780, 0.5738), (14.60, 23.53, 31.48)),
        (None, "total", (0.5423, 0.4184, 0.5417, 0.4438), (14.92, 24.15, 32.65)),
        ("exact", "non_embedding", (0.6411, 0.5430, 0.6880, 0.5789), (15.77, 24.69, 32.89)),
        ("6ND", "non_embedding", (0.6059, 0.5034, 0.6252, 0.5349), (15.44, 25.77, 35.00)),
    ],
)
def test_conventions_move_the_exponents_more_than_the_multipliers(
    flops: str, convention: str, exponents: tuple, multipliers: tuple
) -> None:
    points = published_points("published:2602.15014", flops, convention)
    families = fit_isoflop(points, bootstrap=0).to_json()["families"]
    order = ("autoregressive", "masked", "uniform", "interpolating")
    found = [families[name]["N_exponent"]["value"] for name in order]
    assert found == pytest.approx(exponents, abs=1e-4)
    found = [families[name]["multiplier_vs_autoregressive"]["value"] for name in order[1:]]
    assert found == pytest.approx(multipliers, abs=0.01)


def test_the_figures_own_axis_flattens_the_law(tmp_path: Path) -> None:
    """`params_as_plotted` counts one vocabulary matrix: exponents fall by 0.05 to 0.08."""
    source = files("isodiff.scaling") / "data" / "isoflop_2602_15014.csv"
    rows = list(csv.DictReader(source.read_text().splitlines()))
    table = tmp_path / "plotted.csv"
    lines = ["family,budget,parameters,tokens,nats"]
    lines += [
        f"{PUBLISHED_FAMILIES[r['family']]},{r['flops_budget']},{r['params_as_plotted']},{r['tokens']},"
        f"{r['val_loss_nats_per_token']}"
        for r in rows
    ]
    table.write_text("\n".join(lines))
    families = fit_isoflop(table_points(table), bootstrap=0).to_json()["families"]
    found = {name: family["N_exponent"]["value"] for name, family in families.items()}
    assert found == pytest.approx(
        {"autoregressive": 0.5786, "masked": 0.4593, "uniform": 0.5887, "interpolating": 0.4881},
        abs=1e-4,
    )


def test_points_are_the_digitized_ones() -> None:
    points = published_points("published:2602.15014").points
    assert Counter(point.family for point in points) == {
        "autoregressive": 32,
        "masked": 25,
        "uniform": 28,
        "interpolating": 35,
    }
    assert {point.kind for point in points if point.family == "autoregressive"} == {"exact"}
    assert {point.kind for point in points if point.family != "autoregressive"} == {"bound"}
    assert len({point.id for point in points}) == 120


# Millions of parameters by name in the paper's ladder: core, non-embedding, total.
@pytest.mark.parametrize(
    ("depth", "width", "core", "non_embedding", "total"),
    [
        (6, 256, 4.7, 6.1, 22.5),
        (8, 512, 25.2, 28.6, 61.3),
        (12, 768, 84.9, 92.4, 141.6),
        (20, 1024, 251.7, 268.0, 333.5),
        (28, 2176, 1591.0, 1639.2, 1778.5),
    ],
)
def test_parameters_of_the_ladder(
    depth: int, width: int, core: float, non_embedding: float, total: float
) -> None:
    millions = {name: value / 1e6 for name, value in published_parameters(depth, width).items()}
    wanted = {"core": core, "non_embedding": non_embedding, "total": total}
    assert millions == pytest.approx(wanted, abs=0.051)


def test_attention_adds_what_the_reference_says() -> None:
    """Bidirectional scores are 40 % of the budgeted FLOPs at 34M and 15 % at 2121M; AR half."""
    budgeted = published_points("published:2602.15014").points
    exact = published_points("published:2602.15014", "exact").points
    extra = {e.id: e.flops / b.flops - 1 for e, b in zip(exact, budgeted, strict=True)}
    assert extra["mdlm-34M-6e18"] == pytest.approx(0.40, abs=0.006)
    assert extra["ar-34M-6e18"] == pytest.approx(0.20, abs=0.003)
    assert extra["duo-2121M-1e20"] == pytest.approx(0.15, abs=0.006)


def test_the_other_sets_are_there() -> None:
    assert len(published_points("published:2203.15556").points) == 240
    repeated = published_points("published:2305.16264").points
    assert len(repeated) == 182
    assert max(p.tokens / (p.unique_tokens or 0) for p in repeated) > 1000


def test_an_unknown_set_names_the_known_one() -> None:
    with pytest.raises(InputError, match=r"there is published:2602\.15014"):
        published_points("published:2602.1501")

"""Laws and rules as printed: they give the numbers that their papers give."""

from __future__ import annotations

import numpy as np
import pytest

from isodiff.scaling.laws.load import printed_laws, printed_repetition, printed_rules
from isodiff.scaling.laws.loss_surface import SIX, Surface
from isodiff.scaling.planning.family_plan import (
    NOT_COVERED,
    adamw_recipe,
    best_epochs,
    published_rule,
)

QUOKKA = printed_laws()["2510.03280"]["families"]["masked"]
NOISES = printed_laws()["2512.10858"]["families"]


def power(law: dict[str, float], x: float) -> float:
    return law["k"] * x ** law["exponent"]


def quokka() -> Surface:
    law = QUOKKA["parametric"]
    return Surface.of(
        np.array(
            [[np.log(law["A"]), law["alpha"], np.log(law["B"]), law["beta"], np.log(law["E"])]]
        )
    )


# Tables 2 and 5 of arXiv 2510.03280: N, then C and D by its first and its second method.
@pytest.mark.parametrize(
    ("n", "c1", "d1", "c2", "d2"),
    [
        (4e8, 9.46e19, 39.3e9, 1.06e20, 44.3e9),
        (1e9, 5.62e20, 93.5e9, 6.68e20, 111.2e9),
        (1e10, 4.96e22, 825.2e9, 6.74e22, 1.1e12),
        (6.7e10, 2.01e24, 5.0e12, 3.05e24, 7.6e12),
        (1.75e11, 1.30e25, 12.4e12, 2.09e25, 19.9e12),
        (2.8e11, 3.24e25, 19.3e12, 5.35e25, 31.8e12),
        (5.2e11, 1.08e26, 34.6e12, 1.85e26, 59.3e12),
        (1e12, 3.86e26, 64.2e12, 6.86e26, 114.3e12),
        (1e13, 3.41e28, 566.4e12, 6.93e28, 1153.9e12),
    ],
)
def test_quokkas_tables(n: float, c1: float, d1: float, c2: float, d2: float) -> None:
    laws = QUOKKA["isoflop"]
    assert power(laws["N"], c1) == pytest.approx(n, rel=0.01)
    assert power(laws["D"], c1) == pytest.approx(d1, rel=0.01)
    assert 6 * n * d1 / c1 == pytest.approx(1, abs=0.004)
    best = quokka().optimum(np.log([c2]), SIX)
    assert np.exp(best.log_n[0, 0]) == pytest.approx(n, rel=0.022)
    assert np.exp(best.log_d[0, 0]) == pytest.approx(d2, rel=0.023)


@pytest.mark.parametrize(
    ("n", "d", "nats"),
    [(4e8, 44.3e9, 3.287), (1e9, 96e9, 3.048), (1e10, 1.1e12, 2.672), (8e9, 2.3e12, 2.652)],
)
def test_quokkas_losses(n: float, d: float, nats: float) -> None:
    assert quokka().nats(np.log([n]), np.log([d]))[0, 0] == pytest.approx(nats, abs=1.2e-3)


# The three large runs of arXiv 2512.10858 before cooldown, as its law foretells them.
@pytest.mark.parametrize(
    ("noise", "c", "predicted", "measured"),
    [
        ("masked", 1.00e21, 2.471, 2.495),
        ("uniform", 1.015e21, 2.504, 2.538),
        ("uniform", 1.019e22, 2.220, 2.275),
    ],
)
def test_the_laws_of_noise_foretell_its_large_runs(
    noise: str, c: float, predicted: float, measured: float
) -> None:
    found = power(NOISES[noise]["isoflop"]["L"], c)
    assert found == pytest.approx(predicted, abs=1.5e-3)
    assert 1.005 < measured / found < 1.03  # all three came out above


def test_uniform_noise_closes_in_on_masks_but_where_it_crosses_is_unknown() -> None:
    def gap(c: float) -> float:
        return (
            power(NOISES["uniform"]["isoflop"]["L"], c) / power(NOISES["masked"]["isoflop"]["L"], c)
            - 1
        )

    assert [gap(c) for c in (1e18, 1e20, 1e22)] == pytest.approx([0.032, 0.020, 0.0078], abs=5e-4)

    def crossing(kind: str) -> float:
        masked, uniform = (NOISES[noise][kind]["L"] for noise in ("masked", "uniform"))
        return (uniform["k"] / masked["k"]) ** (1 / (masked["exponent"] - uniform["exponent"]))

    assert crossing("isoflop") == pytest.approx(2.0e23, rel=0.05)
    assert crossing("raw_minima") == pytest.approx(4.4e25, rel=0.05)


def test_all_noises_have_laws_of_one_budget() -> None:
    for law in NOISES.values():
        assert set(law["isoflop"]) == {"N", "D", "L"}
        # C / (6 N D) is 1.1 to 1.7 in sizes measured: attention counted, the vocabulary not
        for c in (1e18, 1e20):
            share = c / (6 * power(law["isoflop"]["N"], c) * power(law["isoflop"]["D"], c))
            assert 1.0 < share < 1.9


def test_batch_laws() -> None:
    batch = published_rule("critical_batch_tokens", "masked", tokens=1e10)
    assert batch.value == pytest.approx(10**-2.4 * 1e10**0.8225)
    assert not batch.beyond and batch.source == "arXiv 2512.10858"
    assert published_rule("critical_batch_tokens", "masked", tokens=1e12).beyond
    found = published_rule("critical_batch_tokens", "autoregressive", tokens=1e10)
    assert found == NOT_COVERED


def test_the_recipe_of_adamw() -> None:
    """As others read the rule: 1.4e-3 for 0.44G parameters and 10G tokens, 3.2e-4 for 3.65G."""
    batch, rate = adamw_recipe("autoregressive", 0.44e9, 1e10)
    assert rate.value == pytest.approx(1.4e-3, rel=0.05) and not rate.beyond
    assert batch.value == pytest.approx(0.58 * 1e10**0.571) and not batch.beyond
    _, large = adamw_recipe("autoregressive", 3.65e9, 1e10)
    assert large.value == pytest.approx(3.2e-4, rel=0.05) and large.beyond
    _, borrowed = adamw_recipe("masked(objective=low_variance)", 0.44e9, 1e10)
    assert borrowed.value == rate.value and borrowed.beyond
    _, tiny = adamw_recipe("autoregressive", 1e5, 1e7)
    assert tiny.value < 5e-3 and tiny.beyond


@pytest.mark.parametrize(
    ("unique", "printed", "observed"),
    [
        (25e6, 2.3e18, 3.6e18),
        (50e6, 1.05e19, 1.3e19),
        (100e6, 4.7e19, 2.6e19),
        (500e6, 1.6e21, None),
        (1e9, 7.1e21, None),
        (1e10, 1.05e24, None),
    ],
)
def test_critical_compute(unique: float, printed: float, observed: float | None) -> None:
    found = published_rule("critical_compute", "masked", unique_tokens=unique)
    assert found.value == pytest.approx(printed, rel=0.03)
    assert found.beyond == (unique > 5e8)
    if observed:
        assert 0.5 < found.value / observed < 2
    assert published_rule("critical_compute", "uniform", unique_tokens=unique) == NOT_COVERED


def test_repetition_and_epochs() -> None:
    assert printed_repetition("autoregressive") == (15, 31.93)
    assert printed_repetition("masked(objective=low_variance)") == (500, 512.85)
    assert printed_repetition("uniform") is None
    found = best_epochs("masked", 1e9, 1e8)
    assert found.value == pytest.approx(105, abs=1)
    assert best_epochs("uniform", 1e9, 1e8) == NOT_COVERED


def test_every_rule_has_a_source_and_families_that_exist() -> None:
    from isodiff.families import FAMILIES

    for name, rule in printed_rules().items():
        assert rule["source"].startswith("arXiv ") and rule["statement"], name
        known = rule.get("families") or rule["values"]
        assert set(known) <= {*FAMILIES, "hybrid"}, name

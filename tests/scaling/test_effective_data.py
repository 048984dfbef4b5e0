"""The worth of repeated text, against printed tables and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from isodiff.scaling.laws.effective_data import AS_NEW, UNIT, Repeats, Saturating, Unimodal
from isodiff.scaling.laws.load import printed_laws

QUOKKA = printed_laws()["2510.03280"]["unimodal"]
SHAPE = np.array(
    [QUOKKA["p"], np.log(QUOKKA["gamma"]), np.log(QUOKKA["c"]), QUOKKA["m"], QUOKKA["k"]]
)


def once(n: float, epochs: float, unique: float = 1e8, useful: float = 1e12) -> Repeats:
    log = [np.log([x]) for x in (n, unique * epochs, unique, useful)]
    return Repeats.of(*log)


# D'/U of arXiv 2305.16264's form, by R_D and epochs.
@pytest.mark.parametrize(
    ("r", "worth"),
    [
        (15.39, {1: 1, 2: 1.968, 4: 3.726, 10: 7.81, 50: 15.75, 1e6: 16.39}),
        (31.93, {4: 3.863, 10: 8.84, 50: 26.0, 100: 31.5}),
        (500, {4: 3.991, 50: 47.7, 100: 90.8, 1000: 433.2}),
        (512.85, {100: 91.0, 1000: 440.7}),
    ],
)
def test_saturating_data_is_worth_what_it_should(r: float, worth: dict[float, float]) -> None:
    shape = np.log([[r, 5.0]])
    for epochs, times in worth.items():
        found = Saturating().effective(shape, once(1e8, epochs))
        assert np.exp(found.log_d[0, 0]) / 1e8 == pytest.approx(times, rel=2e-3)


def test_parameters_beyond_the_useful_size_saturate_too() -> None:
    shape = np.log([[15.0, 5.0]])
    small = Saturating().effective(shape, once(1e7, 1, useful=1e8))
    assert small.log_n[0, 0] == pytest.approx(np.log(1e7))
    large = Saturating().effective(shape, once(1e12, 1, useful=1e8))
    assert np.exp(large.log_n[0, 0]) == pytest.approx(6e8, rel=1e-3)


def test_with_no_decay_repetitions_are_new() -> None:
    found = Saturating().effective(np.array([[AS_NEW, AS_NEW]]), once(1e11, 300, useful=1e8))
    assert found.log_n[0, 0] == pytest.approx(np.log(1e11), abs=1e-9)
    assert found.log_d[0, 0] == pytest.approx(np.log(3e10), abs=1e-9)


@pytest.mark.parametrize("form", [Saturating(), Unimodal()], ids=["saturating", "unimodal"])
def test_slopes_are_finite_differences(form) -> None:
    rng = np.random.default_rng(0)
    log = [rng.uniform(15, 23, 40), rng.uniform(18, 26, 40), rng.uniform(17, 22, 40)]
    at = Repeats.of(*log, rng.uniform(14, 22, 40))
    shape = (
        np.array([[2.0, 1.0], [3.5, 0.2]])
        if len(form.names) == 2
        else np.stack([SHAPE, SHAPE + 0.1])
    )
    found = form.effective(shape, at)
    for j in range(shape.shape[1]):
        step = np.zeros(shape.shape[1])
        step[j] = 1e-6
        up, down = form.effective(shape + step, at), form.effective(shape - step, at)
        for name in ("n", "d"):
            slope = (getattr(up, f"log_{name}") - getattr(down, f"log_{name}")) / 2e-6
            assert getattr(found, f"slope_{name}")[..., j] == pytest.approx(
                slope, rel=1e-5, abs=1e-7
            )


# Table 3 of arXiv 2510.03280: epochs up to which more is better; columns U = 10M, 100M, ... 1000T.
TABLE_3 = {
    4e8: (70, 175, 430, 1057, 2593, 6357, 15585, 38205, 93651),
    1e9: (42, 105, 260, 641, 1572, 3857, 9456, 23180, 56821),
    1e10: (11, 29, 73, 181, 447, 1098, 2693, 6603, 16187),
    6.7e10: (1, 9, 25, 63, 157, 388, 953, 2339, 5736),
    1.75e11: (1, 4, 14, 37, 93, 229, 564, 1385, 3398),
    2.8e11: (1, 1, 10, 28, 71, 177, 436, 1072, 2629),
    5.2e11: (1, 1, 7, 20, 50, 126, 311, 764, 1875),
    1e12: (1, 1, 4, 13, 35, 88, 217, 535, 1312),
    1e13: (1, 1, 1, 1, 9, 24, 61, 151, 373),
}


@pytest.mark.parametrize("n", TABLE_3)
def test_the_best_epochs_are_quokkas_table(n: float) -> None:
    for power, wanted in enumerate(TABLE_3[n]):
        found = Unimodal().best_epochs(SHAPE, np.log(n), np.log(10.0 ** (7 + power)))
        assert found == pytest.approx(wanted, abs=1.0, rel=1.5e-3)


def test_the_best_epochs_are_a_peak() -> None:
    log_n, log_u = np.log(1e9), np.log(1e8)
    best = Unimodal().best_epochs(SHAPE, log_n, log_u)
    beside = [
        Unimodal().effective(SHAPE[None], once(1e9, e)).log_d[0, 0]
        for e in (best * 0.99, best, best * 1.01)
    ]
    assert beside[1] == max(beside)
    assert Unimodal().best_epochs(SHAPE, np.log(1e15), log_u) == 1.0


# Table 4: on a text of U the best size trained for its best epochs. Printed constants are rounded.
@pytest.mark.parametrize(
    ("unique", "size", "epochs"),
    [
        (1e7, 41e6, 247),
        (1e8, 95e6, 356),
        (1e9, 222e6, 569),
        (1e11, 1.6e9, 1151),
        (1e13, 8.7e9, 2947),
        (1e15, 47.1e9, 7543),
    ],
)
def test_the_best_size_for_a_text_is_about_quokkas(
    unique: float, size: float, epochs: float
) -> None:
    fresh = QUOKKA["fresh"]

    def loss(log_n: float) -> float:
        best = Unimodal().best_epochs(SHAPE, log_n, np.log(unique))
        worth = Unimodal().effective(SHAPE[None], once(np.exp(log_n), best, unique)).log_d[0, 0]
        return fresh["A"] * np.exp(-fresh["alpha"] * log_n) + fresh["B"] * np.exp(
            -fresh["beta"] * worth
        )

    log_n = minimize_scalar(loss, bounds=(UNIT - 7, UNIT + 7), method="bounded").x
    assert np.exp(log_n) == pytest.approx(size, rel=0.28)
    assert Unimodal().best_epochs(SHAPE, log_n, np.log(unique)) == pytest.approx(epochs, rel=0.2)


@pytest.mark.filterwarnings("error")
def test_a_useful_size_of_next_to_nothing_is_no_overflow() -> None:
    at = Repeats.of(*(np.array([x]) for x in (np.log(1e9), np.log(1e10), np.log(1e10), -800.0)))
    found = Saturating().effective(np.array([[2.0, -30.0], [2.0, 3.0]]), at)
    assert np.isfinite(found.log_n).all() and np.isfinite(found.log_d).all()

"""The verdict says what the records say, and no more."""

import json
import math

import pytest

from isodiff.report.page import verdict_text
from isodiff.report.ranking import FamilyRanking
from isodiff.report.sections.verdict import errors_sentence, multiplier_sentence, study_verdict
from isodiff.report.study_folder import read_study_folder
from isodiff.scaling.fitting.bootstrap import Quantity
from isodiff.serialization import to_json
from tests.report.planted import FAMILIES, write, write_study


def best_by_hand(records, family, budget):
    """(bits, standard error, id) of the lowest finished run, from the raw JSON."""
    found = [
        (v["value"], v["standard_error"], r["id"])
        for r in records
        if r["status"] == "done"
        and r["spec"]["family"]["name"] == family
        and r["spec"]["budget"] == budget
        for v in [r["results"]["validation"]["bits_per_byte"]]
    ]
    return min(found)


def test_numbers_are_those_of_the_records_and_the_fits(whole):
    folder, records, _ = whole
    found = study_verdict(read_study_folder(folder))
    value = to_json(found)
    fits = json.loads((folder / "fits.json").read_text())["families"]
    assert [row["family"] for row in value["families"]] == list(FAMILIES)
    for row in value["families"]:
        family = row["family"]
        for best in row["best"]:
            bits, error, run = best_by_hand(records, family, best["budget"])
            assert best["run"] == run and best["num_runs"] == 4
            assert best["bits_per_byte"]["value"] == bits
            assert best["bits_per_byte"]["standard_error"] == error
            assert best["kind"] == ("exact" if family == "autoregressive" else "bound")
        assert [best["budget"] for best in row["best"]] == [1e11, 1e12, 1e13]
        last = max(fits[family]["budgets"], key=lambda minimum: minimum["budget"])
        assert row["optimum"]["N_opt"] == last["N_opt"]
        assert row["optimum"]["D_opt"] == last["D_opt"]
        multiplier = fits[family]["multiplier_vs_autoregressive"]
        for end in ("value", "low", "high"):
            assert row["multiplier_vs_autoregressive"][end] == multiplier[end]
    assert value["num_runs"] == {"done": 48, "diverged": 1, "failed": 1, "missing": 1}
    assert json.loads(json.dumps(value, allow_nan=False)) == value


def test_the_difference_carries_its_standard_error(whole):
    folder, records, _ = whole
    found = study_verdict(read_study_folder(folder))
    ranked = sorted((best_by_hand(records, f, 1e13), f) for f in FAMILIES)
    (one, first), (two, second) = ranked[:2]
    lead = to_json(found)["lead"]
    assert (lead["first"], lead["second"]) == (first, second)
    assert lead["difference"]["value"] == pytest.approx(two[0] - one[0])
    assert lead["difference"]["standard_error"] == pytest.approx(math.hypot(one[1], two[1]))
    assert f"{first} is best: {one[0]:.4f} ± {one[1]:.4f} bits per byte" in found.sentences[0]
    assert f"{two[0] - one[0]:.3f} ± {math.hypot(one[1], two[1]):.3f} below" in found.sentences[0]
    assert (
        f"{second} is an upper bound, so the true difference may be smaller" in found.sentences[0]
    )


def move(folder, records, family, kind, shift):
    """Every loss of a family, moved to `shift` above the reference's, and of this kind."""
    reference = [r for r in records if r["spec"]["family"]["name"] == "autoregressive"]
    runs = [r for r in records if r["spec"]["family"]["name"] == family]
    for run, other in zip(runs, reference, strict=False):
        if run["status"] != "done" or other["status"] != "done":
            continue
        new, old = run["results"]["validation"], other["results"]["validation"]
        new["kind"] = kind
        for unit in ("bits_per_byte", "nats_per_token"):
            new[unit]["value"] = old[unit]["value"] + shift
            new[unit]["standard_error"] = old[unit]["standard_error"] = 0.01
        for one in (run, other):
            write(folder / "runs" / one["id"] / "record.json", one)


@pytest.mark.parametrize(
    ("kind", "shift", "said"),
    [
        ("exact", 0.02, "autoregressive and masked cannot be told apart"),
        ("exact", 0.03, "autoregressive is best"),
        ("bound", 0.03, "masked is an upper bound, so the true difference may be smaller"),
        ("bound", -0.03, "masked is an upper bound, so the true difference can only be larger"),
        ("exact", -0.03, "masked is best"),
    ],
)
def test_words_follow_noise_and_bounds(tmp_path, kind, shift, said):
    families = {"autoregressive": 1.0, "masked": 2.0}
    records = write_study(tmp_path, families=families, budgets=(1e12,), fits=False)
    move(tmp_path, records, "masked", kind, shift)
    found = study_verdict(read_study_folder(tmp_path))
    assert said in found.sentences[0]
    # two standard errors of 0.01 each: 2 x 0.0141 = 0.028
    assert found.lead.told_apart == (abs(shift) > 2 * math.sqrt(2) * 0.01)
    if kind == "exact":
        assert "upper bound" not in found.sentences[0]


def test_text_is_ascii_and_its_table_is_aligned(whole):
    text = verdict_text(read_study_folder(whole[0]))
    assert text.isascii()
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("family"))
    place = lines[start].index("1.0e12 FLOPs")
    rows = lines[start + 1 : start + 1 + len(FAMILIES)]
    assert [row.split()[0] for row in rows] == list(FAMILIES)
    assert all(row[place : place + 2] in ("= ", "<=") and row[place - 1] == " " for row in rows)


def test_variants_of_a_family_are_kept_apart(tmp_path):
    records = write_study(tmp_path, families={"masked": 2.0, "other": 1.0}, fits=False)
    for record in records:
        if record["spec"]["family"]["name"] == "other":
            record["spec"]["family"] = {"name": "masked", "option": "plain"}
            write(tmp_path / "runs" / record["id"] / "record.json", record)
    found = read_study_folder(tmp_path)
    assert found.families == ("masked(option=low_variance)", "masked(option=plain)")
    assert all(len(one.best) == 3 for one in study_verdict(found).families)


def test_a_lone_family_is_judged_alone(tmp_path):
    write_study(tmp_path, families={"masked": 2.0}, budgets=(1e11,))
    found = study_verdict(read_study_folder(tmp_path))
    assert "no other family has a finished run there" in found.sentences[0]
    assert to_json(found)["lead"]["difference"] is None
    assert "not known: no autoregressive runs to compare with" in found.sentences[1]


@pytest.mark.parametrize(("factor", "said"), [(9.0, False), (450.0, True), (None, False)])
def test_far_extrapolation_is_said(whole, tmp_path, factor, said):
    fits = json.loads((whole[0] / "fits.json").read_text())
    fits["families"]["masked"]["extrapolation"] = factor
    write(tmp_path / "fits.json", fits)
    write(tmp_path / "study.json", json.loads((whole[0] / "study.json").read_text()))
    (tmp_path / "runs").symlink_to(whole[0] / "runs")
    found = study_verdict(read_study_folder(tmp_path))
    assert ("For masked that law is read more than 10 times below" in found.sentences[1]) == said


def test_what_the_intervals_hold_is_said() -> None:
    def rows(*known: bool) -> list[FamilyRanking]:
        return [FamilyRanking(family="masked", scatter_known=one) for one in known]

    assert "is not in it" in errors_sentence(rows(True, True))
    assert "[low, high] hold nothing else" in errors_sentence(rows(True, False))


def test_families_without_a_price_have_a_reason() -> None:
    known = Quantity(value=20, low=10, high=40, reason=None)
    refused = Quantity(
        value=None, low=None, high=None, reason="too few accepted budgets of uniform"
    )
    prices = {"autoregressive": None, "masked": known, "uniform": refused}
    rows = [
        FamilyRanking(family=name, multiplier_vs_autoregressive=price)
        for name, price in prices.items()
    ]
    said = multiplier_sentence(rows)
    assert "20 [10, 40] for masked." in said
    assert said.endswith(" Not known elsewhere: too few accepted budgets of uniform.")
    assert "Not known" not in multiplier_sentence(rows[:2])

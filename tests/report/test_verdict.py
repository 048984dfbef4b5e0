"""The verdict says what the records say, and no more."""

import copy
import json
import math
from html import escape
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from isodiff.record import Mean
from isodiff.report.format import ratio, spread, with_error
from isodiff.report.lead import BestSize, RunScatter, lead_of
from isodiff.report.page import verdict_text
from isodiff.report.ranking import FamilyRanking
from isodiff.report.sections.verdict import (
    errors_sentence,
    multiplier_sentence,
    study_verdict,
    verdict_section,
)
from isodiff.report.study_folder import read_study_folder
from isodiff.scaling.fitting.bootstrap import Quantity
from isodiff.serialization import to_json
from isodiff.units import short
from tests.report.planted import BYTES_PER_TOKEN, FAMILIES, write, write_study


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


def scatter_by_hand(folder, records):
    """Root mean square of all families' scatter about their parabolas, each family's, and the freedom."""
    fits = json.loads((folder / "fits.json").read_text())["families"]
    rows = {}
    for family, fit in fits.items():
        units = [
            loss["bits_per_byte"]["value"] / loss["nats_per_token"]["value"]
            for r in records
            if r["status"] == "done" and r["spec"]["family"]["name"] == family
            for loss in [r["results"]["validation"]]
        ]
        noise = fit["noise"]
        rows[family] = (noise["nats"] * sum(units) / len(units), noise["degrees_of_freedom"])
    freedom = sum(count for _, count in rows.values())
    pooled = math.sqrt(sum(bits**2 * count for bits, count in rows.values()) / freedom)
    return pooled, {family: max(pooled, bits) for family, (bits, _) in rows.items()}, freedom


def test_numbers_are_those_of_the_records_and_the_fits(whole):
    folder, records, _ = whole
    found = study_verdict(read_study_folder(folder))
    value = to_json(found)
    fits = json.loads((folder / "fits.json").read_text())["families"]
    _, scatter, _ = scatter_by_hand(folder, records)
    assert [row["family"] for row in value["families"]] == list(FAMILIES)
    for row in value["families"]:
        family = row["family"]
        for best in row["best"]:
            bits, error, run = best_by_hand(records, family, best["budget"])
            assert best["runs"] == [run] and best["num_sizes"] == 4
            assert best["bits_per_byte"]["value"] == bits
            assert best["evaluation_error"] == error
            whole_error = math.hypot(error, scatter[family])
            assert best["bits_per_byte"]["standard_error"] == pytest.approx(whole_error)
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
    pooled, scatter, freedom = scatter_by_hand(folder, records)
    errors = [math.hypot(one[1], scatter[first]), math.hypot(two[1], scatter[second])]
    assert (lead["first"], lead["second"]) == (first, second)
    assert lead["difference"]["value"] == pytest.approx(two[0] - one[0])
    assert lead["difference"]["standard_error"] == pytest.approx(math.hypot(*errors))
    assert lead["scatter"]["bits"] == pytest.approx(pooled)
    assert (lead["scatter"]["degrees_of_freedom"], freedom) == (12, 12)
    assert lead["scatter"]["source"] == "parabolas"
    beyond = two[0] - one[0] > stats.t.isf(0.04 / (4 * 4), 12) * math.hypot(*errors)
    assert lead["told_apart"] == beyond
    assert f"{one[0]:.4f} ± {errors[0]:.4f} bits per byte" in found.sentences[0]
    assert (
        f"{two[0] - one[0]:.3f} ± {math.hypot(*errors):.3f} {'below' if beyond else 'above'}"
        in found.sentences[0]
    )
    assert f"({pooled:.2g} bits per byte, by runs about their parabolas, 12" in found.sentences[-1]
    assert f"at most {two[0] - one[0]:.3f}" in found.sentences[0]  # the second is a bound


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
        ("exact", 0.04, "autoregressive and masked cannot be told apart"),
        ("exact", 0.09, "autoregressive is best"),
        ("bound", 0.09, "at most 0.090 ± 0.015 below masked"),
        ("bound", -0.09, "at least 0.090 ± 0.015 below autoregressive"),
        ("exact", -0.09, "masked is best"),
    ],
)
def test_words_follow_noise_and_bounds(tmp_path, kind, shift, said):
    families = {"autoregressive": 1.0, "masked": 2.0}
    records = write_study(tmp_path, families=families)
    move(tmp_path, records, "masked", kind, shift)
    found = study_verdict(read_study_folder(tmp_path))
    assert said in found.sentences[0]
    # two standard errors of 0.01 each, and runs that scatter by about 0.004: error 0.015; four sizes, of
    # which the luckiest counts, two families and 6 degrees of freedom: Student's t at .04 / 8 is 3.7
    assert 0.0142 < found.lead.difference.standard_error < 0.0160
    assert found.lead.told_apart == (abs(shift) > 0.06)
    if kind == "exact":
        assert "at most" not in found.sentences[0] and "at least" not in found.sentences[0]


def test_without_anything_that_shows_scatter_nobody_is_best(tmp_path):
    """However far apart: one run a family."""
    families = {"autoregressive": 1.0, "masked": 20.0}
    write_study(tmp_path, families=families, budgets=(1e12,), sizes=(9_000,), fits=False)
    found = study_verdict(read_study_folder(tmp_path))
    assert not found.lead.told_apart and found.lead.scatter is None
    assert "cannot be told apart, as nothing shows how runs scatter" in found.sentences[0]
    assert "of the evaluation alone" in found.sentences[-1]


@pytest.mark.parametrize(("families", "sizes"), [(2, 1), (2, 4), (3, 2), (7, 1)])
def test_a_lead_is_beyond_student_of_families_and_sizes(families, sizes):
    scatter = RunScatter(bits=0.01, degrees_of_freedom=5, source="seeds")
    error = math.sqrt(0.01**2 * (1 / 2 + 1 / 3) + 0.004**2 + 0.003**2)
    needed = stats.t.isf(0.04 / families / sizes, 5) * error

    def one(bits, seeds, evaluation):
        mean = Mean(bits, 0.0, seeds)
        return BestSize(
            budget=1.0,
            runs=("",) * seeds,
            num_sizes=sizes,
            kind="exact",
            bits_per_byte=mean,
            nats_per_token=mean,
            evaluation_error=evaluation,
            scatter=0.01,
        )

    for factor in (0.99, 1.01):
        rows = [("a", one(2.0, 2, 0.004)), ("b", one(2.0 + factor * needed, 3, 0.003))]
        rows += [(str(i), one(9.0, 3, 0.003)) for i in range(families - 2)]
        assert lead_of(rows, 1.0, scatter).told_apart == (factor > 1)
    assert not lead_of(rows, 1.0, None).told_apart


SEEDED = {"autoregressive": (2.0, 2.02, 2.04), "masked": (1.90, 2.06, 2.10), "uniform": (2.5,)}


def seeded(folder, losses=SEEDED, deviations=None, size=9_000, **changed):
    """One size, one budget: runs of these bits per byte, a seed each; and their records."""
    made = []
    for family, bits in losses.items():
        (record,) = [
            one
            for one in write_study(
                folder / "parts" / family,
                families={family: 1.0},
                budgets=(1e12,),
                sizes=(size,),
                fits=False,
            )
            if one["status"] == "done"
        ]
        for seed, value in enumerate(bits):
            one = copy.deepcopy(record)
            one["spec"] |= {"seed": seed} | changed
            one["id"] = f"{family}{size}-{seed}"
            loss = one["results"]["validation"]
            loss["kind"] = "exact"
            loss["bits_per_byte"] |= {"value": value, "standard_error": 0.03}
            if deviations is not None:
                loss["deviations"] = deviations[family]
            write(folder / "runs" / one["id"] / "record.json", one)
            made.append(one)
        study = json.loads((folder / "parts" / family / "study.json").read_text())
    study["study"]["families"] = [*losses]
    write(folder / "study.json", study)
    return made


def test_seeds_are_averaged_and_the_luckiest_run_wins_nothing(tmp_path):
    """masked has the lowest run, autoregressive the lowest mean."""
    seeded(tmp_path)
    found = study_verdict(read_study_folder(tmp_path))
    first, second, third = (one.best[0] for one in found.families)
    assert (found.lead.first, found.lead.second) == ("autoregressive", "masked")
    assert [first.bits, second.bits, third.bits] == pytest.approx([2.02, 2.02, 2.5])
    assert [len(one.runs) for one in (first, second, third)] == [3, 3, 1]
    own = [np.var(SEEDED[name], ddof=1) for name in ("autoregressive", "masked")]
    pooled = np.mean(own)
    assert found.lead.scatter.bits == pytest.approx(math.sqrt(pooled))
    assert found.lead.scatter.degrees_of_freedom == 4
    # A family that scatters more than the others is given its own scatter.
    variances = [pooled / 3, own[1] / 3, pooled]
    for one, variance in zip((first, second, third), variances, strict=True):
        error = math.sqrt(variance + 0.03**2)
        assert one.bits_per_byte.standard_error == pytest.approx(error)
    wanted = math.sqrt(sum(variances[:2]) + 2 * 0.03**2)
    assert found.lead.difference.standard_error == pytest.approx(wanted)
    assert not found.lead.told_apart
    assert "by runs that differ in their seed, 4 degrees of freedom" in found.sentences[-1]


def test_the_lowest_mean_counts_among_sizes(tmp_path):
    seeded(tmp_path, {"masked": (2.1, 2.2)})
    seeded(tmp_path, {"masked": (2.0, 2.4)}, size=21_000)
    (only,) = study_verdict(read_study_folder(tmp_path)).families
    assert only.best[0].bits == pytest.approx(2.15) and only.best[0].num_sizes == 2
    assert set(only.best[0].runs) == {"masked9000-0", "masked9000-1"}


@pytest.mark.parametrize("same", [True, False])
def test_runs_that_met_the_same_text_are_compared_on_it(tmp_path, same):
    hard = [0.02, -0.01, 0.015, -0.025]
    apart = [0.001, -0.001, 0.001, -0.001]
    losses = {"autoregressive": (2.0, 2.001), "masked": (2.05, 2.051)}
    other = [a + b for a, b in zip(hard, apart, strict=True)]
    deviations = {"autoregressive": hard, "masked": other if same else [*other[:3], 0.0, 0.0]}
    seeded(tmp_path, losses, deviations)
    found = study_verdict(read_study_folder(tmp_path))
    between = 0.5e-6  # variance of each family's mean over seeds, 0.001^2 / 2 / 2 each
    evaluation = 4 / 3 * sum(d**2 for d in apart)
    if not same:
        own = [
            n / (n - 1) * sum(d**2 for d in deviations[f])
            for n, f in ((4, "autoregressive"), (5, "masked"))
        ]
        evaluation = sum(own)
    assert found.lead.difference.standard_error == pytest.approx(math.sqrt(between + evaluation))
    assert found.lead.told_apart == same


def test_text_is_ascii_and_its_table_is_aligned(whole):
    text = verdict_text(read_study_folder(whole[0]))
    assert text.isascii()
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("family")]
    for start, heading in zip(starts, ("bits per byte", "1.0e12 FLOPs"), strict=True):
        place = lines[start].index(heading)
        rows = lines[start + 1 : start + 1 + len(FAMILIES)]
        assert [row.split()[0] for row in rows] == list(FAMILIES)
        assert all(row[place : place + 2] in ("= ", "<=") for row in rows)
        assert all(row[place - 1] == " " for row in rows)


def test_the_verdict_is_a_sentence_a_picture_a_table_then_prose(whole):
    found = read_study_folder(whole[0])
    first, picture, table, prose, budgets = verdict_section(found).blocks
    sentences = study_verdict(found).sentences
    assert (first.style, first.lines) == ("lead", [sentences[0]])
    assert picture.name == "loss" and table.fold == "" and budgets.fold
    assert tuple(prose.lines) == sentences[1:]
    page = Path(whole[2].report).read_text()
    parts = ['class="lead"', '<figure class="figure">', "<table", escape(sentences[1]), "<details>"]
    places = [page.index(part) for part in parts]
    assert places == sorted(places)
    text = verdict_text(found)
    assert picture.caption not in text and len(sentences[0]) < 200


def test_the_table_holds_the_study_s_own_numbers(whole):
    folder, records, _ = whole
    fits = json.loads((folder / "fits.json").read_text())["families"]
    table = verdict_section(read_study_folder(folder)).blocks[2]
    assert [column.name for column in table.columns[:4]] == [
        *("family", "bits per byte", "compute", "best size")
    ]
    _, scatter, _ = scatter_by_hand(folder, records)
    for family, row in zip(FAMILIES, table.rows, strict=True):
        bits, error, _ = best_by_hand(records, family, 1e13)
        last = max(fits[family]["budgets"], key=lambda minimum: minimum["budget"])
        price = fits[family]["multiplier_vs_autoregressive"]
        mark = "=" if family == "autoregressive" else "≤"
        shown = [cell.text for cell in row]
        assert shown[0] == family
        assert shown[1] == f"{mark} {with_error(Mean(bits, math.hypot(error, scatter[family]), 1))}"
        assert shown[3] == spread(last["N_opt"], (last["N_low"], last["N_high"]))
        assert row[3].note.startswith(f"{short(last['D_opt'])} tokens")
        if family == "autoregressive":
            assert (shown[2], row[2].note) == ("1", "reference")
        else:
            assert shown[2] == spread(price["value"], (price["low"], price["high"]), ratio)


def test_the_picture_holds_the_best_sizes_and_the_laws_in_bits(whole):
    folder, records, _ = whole
    found = read_study_folder(folder)
    picture = verdict_section(found).blocks[1].wide.to_dict(validate=False)
    rows = {name: json.loads(text) for name, text in picture["datasets"].items()}
    band, line, _, marks = (rows[layer["data"]["name"]] for layer in picture["layer"])
    for family in FAMILIES:
        for budget in (1e11, 1e12, 1e13):
            bits, _, run = best_by_hand(records, family, budget)
            (mark,) = [row for row in marks if row["note"].endswith(f"run {run}")]
            assert mark["value"] == bits and mark["low"] < bits < mark["high"]
            assert mark["flops"] == pytest.approx(budget, rel=5e-3)
        law = found.fit(family).bands.L
        drawn = [row["value"] for row in line if row["family"] == family]
        nats = BYTES_PER_TOKEN * math.log(2)
        assert drawn == pytest.approx([point.value / nats for point in law])
        lows = [row["low"] for row in band if row["family"] == family]
        assert lows == pytest.approx([point.low / nats for point in law if point.low])


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
    assert "not known where no number stands: no autoregressive runs" in found.sentences[1]


@pytest.mark.parametrize(("factor", "said"), [(9.0, False), (450.0, True), (None, False)])
def test_far_extrapolation_is_said(whole, tmp_path, factor, said):
    fits = json.loads((whole[0] / "fits.json").read_text())
    fits["families"]["masked"]["extrapolation"] = factor
    write(tmp_path / "fits.json", fits)
    write(tmp_path / "study.json", json.loads((whole[0] / "study.json").read_text()))
    (tmp_path / "runs").symlink_to(whole[0] / "runs")
    found = study_verdict(read_study_folder(tmp_path))
    far = "For masked the law of autoregressive is read more than 10 times below"
    assert any(far in sentence for sentence in found.sentences) == said


def test_what_the_intervals_hold_is_said() -> None:
    def rows(*known: bool) -> list[FamilyRanking]:
        return [FamilyRanking(family="masked", scatter_known=one) for one in known]

    scatter = RunScatter(bits=0.0123, degrees_of_freedom=9, source="seeds")
    assert "(0.012 bits per byte, by runs that" in errors_sentence(rows(True, True), scatter)
    assert "[low, high]" not in errors_sentence(rows(True, True), scatter)
    assert "[low, high] hold the evaluation alone" in errors_sentence(rows(True, False), scatter)
    assert "scatter is not known" in errors_sentence(rows(True), None)


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
    assert said.endswith("where no number stands: too few accepted budgets of uniform.")
    assert multiplier_sentence(rows[:2]) is None

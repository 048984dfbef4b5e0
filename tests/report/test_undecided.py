"""What is not decided is said in one line, with the runs that would decide it: and they would."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from isodiff.cli import main
from isodiff.record import Mean, Record
from isodiff.report.lead import BestSize, RunScatter, lead_of
from isodiff.report.page import verdict_text
from isodiff.report.sections import undecided
from isodiff.report.sections.verdict import study_verdict
from isodiff.report.study_folder import read_study_folder
from isodiff.scaling import fit_isoflop, record_points
from isodiff.serialization import from_json
from isodiff.units import clock
from tests.report.planted import write, write_study

SCATTER = RunScatter(bits=0.01, degrees_of_freedom=9, source="seeds")


def family(bits: float, seeds: int, evaluation: float = 0.001) -> BestSize:
    return BestSize(
        budget=1e12,
        runs=("",) * seeds,
        num_sizes=2,
        kind="exact",
        bits_per_byte=Mean(bits, 0.0, seeds),
        nats_per_token=Mean(bits, 0.0, seeds),
        evaluation_error=evaluation,
        scatter=0.01,
    )


@pytest.mark.parametrize("gap", [0.008, 0.015, 0.02])
def test_further_seeds_are_the_fewest_after_which_the_rule_decides(gap):
    def lead(further):
        rows = [("a", family(2.0, 1 + further)), ("b", family(2.0 + gap, 2 + further))]
        return lead_of([*rows, ("c", family(2.5, 1 + further))], 1e12, SCATTER)

    found = lead(0)
    assert found.tied == ("b",) and not found.told_apart
    assert found.further_seeds is not None and found.further_seeds > 1
    assert not lead(found.further_seeds - 1).told_apart
    assert lead(found.further_seeds).told_apart
    # by hand: q^2 (s^2 (1/(1+m) + 1/(2+m)) + e^2) < gap^2
    q = stats.t.isf(0.04 / (3 * 2), 9)
    enough = [
        m for m in range(1, 500) if q**2 * (1e-4 * (1 / (1 + m) + 1 / (2 + m)) + 2e-6) < gap**2
    ]
    assert found.further_seeds == enough[0]


def test_no_number_of_seeds_beats_the_error_of_evaluation():
    rows = [("a", family(2.0, 1, 0.02)), ("b", family(2.01, 1, 0.02))]
    assert lead_of(rows, 1e12, SCATTER).further_seeds is None
    assert lead_of(rows, 1e12, None).further_seeds is None  # nothing shows how runs scatter


def not_decided(folder) -> list[str]:
    return [
        one
        for one in study_verdict(read_study_folder(folder)).sentences
        if one.startswith("Not decided")
    ]


def test_the_tie_for_second_place_is_said_with_runs_and_time(tmp_path):
    """The second and third are nearly as good as each other; the first is far ahead."""
    families = {"autoregressive": 1.0, "masked": 8.0, "uniform": 8.6}
    records = write_study(tmp_path, families=families)
    for record in records:
        if record["status"] == "done":  # evaluated so well that seeds can decide
            for unit in ("nats_per_token", "bits_per_byte"):
                record["results"]["validation"][unit]["standard_error"] = 1e-4
            write(tmp_path / "runs" / record["id"] / "record.json", record)
    (said,) = not_decided(tmp_path)
    assert "autoregressive" not in said
    pattern = r"(masked|uniform) against (masked|uniform) \(about (\d+) more runs, (.+) of training: (\d+) "
    found = re.search(pattern, said)
    assert found, said
    runs, seeds = int(found[3]), int(found[5])
    assert runs == 2 * seeds
    speeds = {
        name: np.median([r["flops"]["exact"] / r["wall_seconds"] for r in records if one(r, name)])
        for name in ("masked", "uniform")
    }
    minutes = seeds * sum(1e13 / speed for speed in speeds.values()) / 60
    assert found[4] == clock(60 * minutes)
    assert said in " ".join(verdict_text(read_study_folder(tmp_path)).split())


def one(record, name: str) -> bool:
    spec = record["spec"]
    return record["status"] == "done" and (spec["family"]["name"], spec["budget"]) == (name, 1e13)


def test_a_study_that_decides_everything_has_no_such_line(tmp_path):
    write_study(tmp_path, families={"autoregressive": 1.0, "masked": 4.0, "uniform": 30.0})
    assert not_decided(tmp_path) == []


def test_the_runs_that_narrow_a_multiplier_are_those_of_plan_next(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        undecided, "WIDE_MULTIPLIER", 1.5
    )  # noise that leaves curves their minima gives 1.8
    records = write_study(tmp_path, families={"autoregressive": 1.0, "masked": 2.0}, fits=False)
    rng = np.random.default_rng(3)
    for record in records:
        if record["status"] == "done":
            loss = record["results"]["validation"]
            factor = math.exp(rng.normal(0, 0.014))
            for unit in ("nats_per_token", "bits_per_byte"):
                loss[unit]["value"] *= factor
            write(tmp_path / "runs" / record["id"] / "record.json", record)
    made = [from_json(Record, record, "record.json") for record in records]
    fits = fit_isoflop(record_points(made, "runs", flops="exact"), bootstrap=200)
    write(tmp_path / "fits.json", fits.to_json())
    price = fits.to_json()["families"]["masked"]["multiplier_vs_autoregressive"]
    assert price["high"] / price["low"] > 1.5
    (said,) = not_decided(tmp_path)
    found = re.search(
        r"the multiplier of masked to a factor of 1.5 \(about (\d+) more runs, ", said
    )
    assert found and said.endswith("named by isodiff plan next)."), said
    ask = ["plan", "next", str(tmp_path), "--verdict", "multiplier", "--num", "32", "--json"]
    assert main(ask) == 0
    left = [run["error_after"] for run in json.loads(capsys.readouterr().out)["runs"]]
    narrow = math.log(1.5) / (2 * stats.norm.isf(0.025))
    num = int(found[1])
    assert left[num - 1] <= narrow
    assert all(error > narrow for error in left[: num - 1])


def test_one_run_a_family_asks_for_a_second_seed(tmp_path):
    families = {"autoregressive": 1.0, "masked": 20.0}
    write_study(tmp_path, families=families, budgets=(1e12,), sizes=(9_000,), fits=False)
    (said,) = not_decided(tmp_path)
    assert "train a second seed" in said


def test_the_multiplier_that_cannot_be_planned_says_why(tmp_path):
    """Two sizes a budget have no parametric law to plan with."""
    write_study(tmp_path, families={"autoregressive": 1.0, "masked": 4.0})
    study = read_study_folder(tmp_path)
    fits = json.loads((tmp_path / "fits.json").read_text())
    fits["families"]["masked"]["multiplier_vs_autoregressive"]["high"] *= 9
    write(tmp_path / "fits.json", fits)
    few = tuple(run for run in study.runs if run.family != "autoregressive")
    found = study_verdict(replace(read_study_folder(tmp_path), runs=few)).sentences
    assert any("the multiplier of masked to a factor of 2 (" in one for one in found)
    assert not any("named by" in one for one in found)

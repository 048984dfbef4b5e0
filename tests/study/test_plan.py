"""Budgets, steps and time of a plan."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isodiff.errors import InputError
from isodiff.families import FAMILIES
from isodiff.network.shape import LAPTOP, Backbone, Shape
from isodiff.runs.build import describe, make_family, measure
from isodiff.runs.spec import CorpusIdentity, Recipe, RunSpec
from isodiff.serialization import read_result, write_result
from isodiff.study import plan
from isodiff.study.jobs import PlannedRun, StepSeconds
from isodiff.study.plan import SLACK, fit_to, makespan, speed_key


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(FAMILIES)),
    shape=st.sampled_from(sorted(LAPTOP)),
    length=st.sampled_from([32, 100, 256]),
    batch=st.integers(1, 32),
    budget=st.floats(1e8, 1e16),
    mlp=st.sampled_from(["gelu", "swiglu"]),
)
def test_every_accepted_run_is_within_half_a_percent_of_its_budget(
    name, shape, length, batch, budget, mlp
):
    spec = RunSpec(
        family=describe(make_family({"name": name}, 257)),
        shape=Shape.parse(shape),
        budget=budget,
        length=length,
        corpus=CorpusIdentity(hash="x", vocab_size=257, tokenizer="bytes"),
        backbone=Backbone(mlp=mlp),
        recipe=Recipe(batch_size=batch),
    )
    size = measure(spec, 257)
    try:
        steps = size.steps(spec)
    except InputError as error:
        assert "needs >= 100" in str(error)
        assert budget < 100 * size.step_flops
        return
    assert abs(size.flops(spec, steps)["exact"] / budget - 1) <= 0.005


def spec_of(budget: float) -> RunSpec:
    return RunSpec(
        family={"name": "masked"},
        shape=Shape.parse("6k"),
        budget=budget,
        length=32,
        corpus=CorpusIdentity(hash="x", vocab_size=257, tokenizer="bytes"),
    )


def planned(budget: float, steps: float) -> PlannedRun:
    counts = {"tokens": 1e6, "epochs": 0.1, "parameters": 10**4, "weight_bytes": 10**5}
    more = {"step_flops": 1e6, "step_positions": 512}
    spec = spec_of(budget)
    return PlannedRun(id=spec.id, spec=spec, steps=steps, **counts, **more)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spec": {"seed": 1}}, "run .* has the spec of run "),
        ({"spec": {"budget": 2e9}}, "run .* has the spec of run "),
        ({"steps": 0}, r"runs\[0\].steps"),
        ({"step_flops": -1.0}, r"runs\[0\].step_flops"),
        ({"start": -1}, r"runs\[0\].start"),
        ({"precision": "float16"}, r"runs\[0\].precision"),
    ],
)
def test_a_plan_that_was_changed_by_hand_is_refused(change, said, tmp_path):
    """Another seed would be trained into the folder of the run that was planned."""
    file = tmp_path / "plan.json"
    write_result(file, plan.StudyPlan(id="x", runs=(planned(1e9, 100),)))
    assert read_result(plan.StudyPlan, file).runs == (planned(1e9, 100),)
    value = json.loads(file.read_text())
    run = value["runs"][0]
    run |= {**change, "spec": run["spec"] | change.get("spec", {})}
    file.write_text(json.dumps(value))
    with pytest.raises(InputError, match=r"plan.json was altered: its checksum does not fit"):
        read_result(plan.StudyPlan, file)
    del value["checksum"]
    file.write_text(json.dumps(value))
    with pytest.raises(InputError, match=said):
        read_result(plan.StudyPlan, file)


def test_a_spec_is_the_same_after_a_round_trip():
    spec = spec_of(1e9)
    again = RunSpec.from_json(spec.to_json())
    assert again == spec
    assert again.id == spec.id
    assert RunSpec.from_json({**spec.to_json(), "seed": 1}).id != spec.id


def test_makespan_of_two_workers():
    assert makespan([3, 3, 2, 2, 2], 2) == 7
    assert makespan([5], 2) == 5


def test_minutes_are_filled_exactly():
    runs = [planned(b, b / 1e6) for b in (1e9, 2e9, 3e9)]
    seconds = {speed_key(runs[0].spec): StepSeconds(step=0.01, evaluation=1.0)}
    factor = fit_to(runs, seconds, 1, 600.0)
    assert factor * 6000 * 0.01 + 3 * 1.3 == pytest.approx(600)
    with pytest.raises(InputError, match="evaluating 3 runs alone takes"):
        fit_to(runs, seconds, 1, 4.0)


def test_the_minutes_that_are_asked_for_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [planned(1e9, 1000)]
    seconds = {speed_key(runs[0].spec): StepSeconds(step=0.9, evaluation=1.0)}
    monkeypatch.setattr(plan, "described", lambda *_, **__: runs)
    monkeypatch.setattr(plan, "calibrated", lambda *_: seconds)
    unused: Any = SimpleNamespace(members=[None])
    with pytest.raises(InputError, match=r"1 minutes, 0\.0 of them for calibration") as refused:
        plan.plan_study(unused, Path(), unused, 1.0)
    asked = re.search(r"allow (\d+) minutes", str(refused.value))
    assert asked and int(asked[1]) == 2
    assert fit_to(runs, seconds, 1, int(asked[1]) * 60 * SLACK) * 1000 >= 100

"""A branch that shares a prefix with a longer run ends as if it had been trained alone, bit for bit."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from specs import small
from test_resume import interrupted, newest

from isodiff.errors import InputError
from isodiff.provenance import Provenance
from isodiff.record import Record
from isodiff.runs import checkpoint
from isodiff.runs.build import load, measure
from isodiff.runs.metrics import ValidationRow, read_metrics
from isodiff.runs.spec import RunSpec
from isodiff.train.branching import LogSteps
from isodiff.train.loop import train

STEPS = (180, 170, 110)
WSD = {"schedule": "wsd", "warmup_steps": 10, "precision": "float32", "learning_rate": 1e-2}


def budgets(corpus, name: str = "masked", most: int = STEPS[0], **recipe: Any) -> list[RunSpec]:
    """The longest run and two branches."""
    lengths = (most, *STEPS[1:])
    return [small(corpus, name, steps=n, recipe={**WSD, **recipe}) for n in lengths]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs trained by themselves, each once."""
    return tmp_path_factory.mktemp("alone")


def facts(record: Record) -> Record:
    """A record without its clock, and without who trained which steps."""
    flops = dataclasses.replace(record.flops, trained=None)
    clock: dict[str, Any] = {"wall_seconds": None, "tokens_per_second": None}
    return dataclasses.replace(
        record, flops=flops, shared_prefix=None, provenance=Provenance(), **clock
    )


def assert_same(alone: Path, together: Path, spec: RunSpec, corpus) -> None:
    """The run trained in `alone`, and in `together` as far as it is not trained yet."""
    ours, theirs = (train(spec, place / spec.id, corpus) for place in (alone, together))
    assert facts(ours) == facts(theirs)
    assert newest(alone / spec.id) == newest(together / spec.id)


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("autoregressive", {}),
        ("masked", {}),
        ("masked", {"ema": 0.9, "micro_batch_size": 2}),
        ("gaussian", {"ema": 0.9, "parametrization": "complete_p"}),
    ],
)
def test_branches_equal_runs_trained_alone(name, recipe, corpus, alone, tmp_path):
    # From 400 steps on, a run by itself writes its loss at every other step only.
    most = 420 if name == "autoregressive" else STEPS[0]
    specs = budgets(corpus, name, most, **recipe)
    longest, *branches = specs
    together = tmp_path / "together"
    grown = train(longest, together / longest.id, corpus, branches=branches)
    assert grown.shared_prefix is None and grown.flops.trained == grown.flops.exact
    for spec in specs:
        assert_same(alone, together, spec, corpus)
    step = measure(longest, corpus.vocab_size).step_flops
    for spec, steps in zip(branches, STEPS[1:], strict=True):
        record = train(spec, together / spec.id, corpus)
        assert record.shared_prefix.run == longest.id
        assert record.shared_prefix.step == steps - round(0.2 * steps)
        assert record.flops.trained == pytest.approx(round(0.2 * steps) * step)
        assert record.flops.exact == pytest.approx(steps * step)
        # The rows before the branching are there too, at the branch's own steps.
        rows = [(place / spec.id / "metrics.jsonl").read_bytes() for place in (alone, together)]
        assert rows[0] == rows[1]
        assert [row.step for row in record.curve] == [steps // 2]


def test_a_branch_is_not_the_longest_run_cut_short(corpus, tmp_path):
    """The comparison can fail: without its cooldown a branch is another network."""
    longest, branch, _ = budgets(corpus)
    train(longest, tmp_path / longest.id, corpus, branches=[branch])
    left = checkpoint.steps(tmp_path / branch.id / "checkpoint")[-1]
    before = (left / "model.safetensors").read_bytes()
    train(branch, tmp_path / branch.id, corpus)
    last = checkpoint.steps(tmp_path / branch.id / "checkpoint")[-1]
    assert last.name == "step_00000170" and left.name == "step_00000136"
    assert (last / "model.safetensors").read_bytes() != before


@pytest.mark.parametrize(
    ("at", "checkpoint_seconds"), [(50, 0.0), (88, 0.0), (89, 0.0), (88, 1e9), (100, 1e9)]
)
def test_an_interrupted_longest_run_and_an_interrupted_branch(
    at, checkpoint_seconds, corpus, alone, tmp_path
):
    """Before, right at and after a branching; with a checkpoint of its own by then and without one."""
    longest, *branches = budgets(corpus, ema=0.9)
    together = tmp_path / "together"
    interrupted(
        *(longest, together / longest.id, corpus, at),
        branches=branches,
        checkpoint_seconds=checkpoint_seconds,
    )
    left = checkpoint.steps(together / branches[-1].id / "checkpoint")
    assert len(left) == (at >= 88)
    train(longest, together / longest.id, corpus, branches=branches)
    interrupted(branches[0], together / branches[0].id, corpus, 150)
    for spec in (longest, *branches):
        assert_same(alone, together, spec, corpus)
    again = train(branches[0], together / branches[0].id, corpus)
    assert again.shared_prefix.step == 136
    assert again.flops.trained < 0.21 * again.flops.exact


def test_a_run_that_has_begun_by_itself_is_left_alone(corpus, tmp_path):
    longest, branch, _ = budgets(corpus)
    interrupted(branch, tmp_path / branch.id, corpus, 20)
    before = newest(tmp_path / branch.id)
    train(longest, tmp_path / longest.id, corpus, branches=[branch])
    assert newest(tmp_path / branch.id) == before
    record = train(branch, tmp_path / branch.id, corpus)
    assert record.shared_prefix is None and record.flops.trained == record.flops.exact


def test_a_branch_can_be_looked_at_before_it_is_trained(corpus, tmp_path):
    longest, branch, _ = budgets(corpus)
    train(longest, tmp_path / longest.id, corpus, branches=[branch])
    with pytest.raises(InputError, match="is not a run"):
        load(tmp_path / branch.id)
    train(branch, tmp_path / branch.id, corpus)
    assert load(tmp_path / branch.id).spec == branch


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"length": 16}, {"recipe": {}}, {"recipe": {"schedule": "wsd"}}]
)
def test_what_is_no_branch_is_refused(change, corpus, tmp_path):
    longest, branch, _ = budgets(corpus)
    if "recipe" in change:
        both = [small(corpus, steps=n, **change) for n in (200, 120)]
    else:
        both = [longest, dataclasses.replace(branch, **change)]
    with pytest.raises(InputError, match=f"run {both[1].id} is no branch of {both[0].id}"):
        train(both[0], tmp_path / "x", corpus, branches=both[1:])
    with pytest.raises(InputError, match="is no branch"):
        train(branch, tmp_path / "x", corpus, branches=[longest])


def test_a_run_that_chooses_options_on_the_way_has_no_branches(corpus, tmp_path):
    options = {"block_size": 4, "objective": "nelbo", "adapt_every": 30}
    both = [small(corpus, "block", steps=n, options=options, recipe=WSD) for n in (200, 120)]
    with pytest.raises(InputError, match="cannot have branches: with adapt_every"):
        train(both[0], tmp_path / "x", corpus, branches=both[1:])


def test_old_checkpoints_know_no_shared_prefix(corpus, tmp_path):
    """One written before prefixes were shared is gone on from."""
    spec = small(corpus)
    interrupted(spec, tmp_path, corpus, 40)
    state = checkpoint.steps(tmp_path / "checkpoint")[-1] / "state.json"
    value = json.loads(state.read_text())
    assert value.pop("trunk", "absent") is None
    state.write_text(json.dumps(value))
    assert train(spec, tmp_path, corpus).shared_prefix is None


def test_rows_are_those_of_a_run_by_itself(corpus, tmp_path):
    _, branch, _ = budgets(corpus)
    train(branch, tmp_path, corpus)
    steps = LogSteps(170, branch.validation.curve_points)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert all(map(steps.includes, rows))
    assert sum(isinstance(row, ValidationRow) for row in rows) == 1
    assert [steps.loss(n) for n in (1, 399)] == [True, True]
    assert [LogSteps(400, 4).loss(n) for n in (1, 2, 399)] == [False, True, False]

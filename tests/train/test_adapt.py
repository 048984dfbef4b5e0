"""Options adapted on the way: chosen from the weights so far, counted, and resumed bit for bit."""

import pytest
from specs import small
from test_resume import interrupted, newest

from isodiff.families.block import RANGES
from isodiff.runs import checkpoint
from isodiff.runs.build import load, measure
from isodiff.runs.metrics import AdaptRow, LossRow, read_metrics
from isodiff.runs.spec import RunSpec
from isodiff.train.loop import train

OPTIONS = {"block_size": 4, "objective": "nelbo", "adapt_every": 30}


def searching(corpus) -> RunSpec:
    recipe = {"precision": "float32", "learning_rate": 1e-2}
    return small(corpus, "block", options=OPTIONS, recipe=recipe)


@pytest.fixture(scope="module")
def straight(corpus, tmp_path_factory):
    """The folder of the run, never interrupted, and its record."""
    folder = tmp_path_factory.mktemp("straight")
    return folder, train(searching(corpus), folder, corpus)


def searches(folder) -> list[AdaptRow]:
    return [row for row in read_metrics(folder / "metrics.jsonl") if isinstance(row, AdaptRow)]


def test_the_range_of_noise_is_searched_at_its_cadence(corpus, straight):
    folder, record = straight
    spec, found = searching(corpus), searches(folder)
    assert [row.step for row in found] == [30, 60, 90]
    for row in found:
        variances = {(low, high): value for low, high, value in row.adapted["variances"]}
        assert tuple(variances) == RANGES
        chosen = row.adapted["low"], row.adapted["high"]
        assert variances[chosen] == min(variances.values()) < variances[0.0, 1.0]
    # The spec, and with it the run's identity and its bound, stay as they were.
    assert load(folder).family.low == 0 and load(folder).family.high == 1
    assert record.spec.family == spec.family


def test_flops_follow_the_range_in_force(corpus, straight):
    """Another range masks another share, and the head runs on masks."""
    spec, (folder, record) = searching(corpus), straight
    ranges = [(0.0, 1.0), *((r.adapted["low"], r.adapted["high"]) for r in searches(folder))]
    assert len(set(ranges)) > 1
    search = measure(spec, corpus.vocab_size).step_flops / 3  # a forward pass over the whole range
    want = 3 * search
    for (low, high), steps in zip(ranges, (30, 30, 30, record.steps - 90), strict=True):
        family = {**spec.family, "low": low, "high": high}
        size = measure(RunSpec.from_json({**spec.to_json(), "family": family}), corpus.vocab_size)
        want += steps * size.step_flops
    assert record.flops.exact == pytest.approx(want, rel=1e-12)
    # However the searches ended, the budget is spent to within half a step.
    assert abs(record.flops.exact / spec.budget - 1) < 0.005
    assert record.steps != 100
    rows = [row for row in read_metrics(folder / "metrics.jsonl") if isinstance(row, LossRow)]
    assert rows[-1].flops == record.flops.exact and rows[-1].step == record.steps


@pytest.mark.parametrize("at", [30, 31, 75])
def test_a_search_between_checkpoints_is_resumed_bit_for_bit(at: int, corpus, straight, tmp_path):
    """Killed right at a search, after it, and on the way to the next one."""
    spec = searching(corpus)
    folder, record = straight
    interrupted(spec, tmp_path / "broken", corpus, at)
    last = checkpoint.steps(tmp_path / "broken" / "checkpoint")[-1]
    assert last.name == f"step_{at - 1:08d}"
    again = train(spec, tmp_path / "broken", corpus)
    assert newest(folder) == newest(tmp_path / "broken")
    assert searches(folder) == searches(tmp_path / "broken")
    assert again.flops == record.flops and again.results == record.results

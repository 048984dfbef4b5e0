"""A run as objects: family, network, optimizer, corpus, made from its spec in one place."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from isodiff.bounds import check_fields
from isodiff.cost.flops import conventions, training_flops
from isodiff.data.tokens import Corpus
from isodiff.errors import InputError, nearest, shown
from isodiff.families import Family, family_named
from isodiff.network.transformer import Transformer
from isodiff.rng import stream
from isodiff.runs import checkpoint
from isodiff.runs.device import check_device
from isodiff.runs.ema import AveragedWeights
from isodiff.runs.location import corpus_of
from isodiff.runs.parametrization import initialize, query_scale
from isodiff.runs.spec import CorpusIdentity, RunSpec, num_steps


def make_family(description: dict[str, Any], vocab_size: int) -> Family:
    """The family of a spec: {"name": ..., option: value, ...}."""
    options = {key: value for key, value in description.items() if key != "name"}
    if not isinstance(name := description.get("name"), str):
        raise InputError(f"family {shown(description)} lacks a name")
    cls = family_named(name)
    known = [f.name for f in fields(cls) if f.name != "vocab_size"]  # type: ignore[arg-type]
    for key in options:
        if key not in known:
            raise InputError(
                f"family {cls.name} has no option {shown(key)}{nearest(str(key), known)}; "
                f"options: {', '.join(known) or 'none'}"
            )
    check_fields(cls, options)
    return cls(vocab_size=vocab_size, **options)  # type: ignore[call-arg]


def describe(family: Family) -> dict[str, Any]:
    """The family as a spec writes it: its name and every option, defaults too."""
    options = {f.name: getattr(family, f.name) for f in fields(family)}  # type: ignore[arg-type]
    del options["vocab_size"]
    return {"name": family.name, **options}


def corpus_identity(corpus: Corpus) -> CorpusIdentity:
    """What a spec says of its corpus."""
    return CorpusIdentity(
        hash=corpus.hash,
        vocab_size=corpus.vocab_size,
        tokenizer=corpus.manifest.tokenizer.name,
    )


def make_network(spec: RunSpec, family: Family) -> Transformer:
    """The network of a spec, its weights drawn from the spec's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(spec.seed, "weights").initial_seed())
        network = Transformer(
            vocab_size=family.vocab_size,
            num_states=family.num_states,
            shape=spec.shape,
            backbone=spec.backbone,
            timed=family.time_conditioned,
            vectors=family.vectors,
            query_scale=query_scale(spec.recipe, spec.shape),
        )
    if spec.recipe.parametrization == "complete_p":
        initialize(network)
    return network


@dataclass(frozen=True, slots=True)
class Size:
    """Parameters and FLOPs of a run, counted on the meta device."""

    total: int
    non_embedding: int
    core: int
    step_flops: float
    step_tokens: int
    step_positions: int
    vocab_size: int

    def flops(self, spec: RunSpec, steps: int) -> dict[str, float]:
        """Training FLOPs of `steps` steps under every convention."""
        counted = conventions(
            exact=self.step_flops * steps,
            tokens=self.step_tokens * steps,
            shape=spec.shape,
            backbone=spec.backbone,
            vocab_size=self.vocab_size,
            non_embedding=self.non_embedding,
        )
        return {str(name): value for name, value in counted.items()}

    def steps(self, spec: RunSpec) -> int:
        """Steps that spend the spec's budget."""
        what = f"{spec.family['name']} at shape {spec.shape}, batch {spec.recipe.batch_size}"
        return num_steps(spec.budget, self.step_flops, what=what)


def measure(spec: RunSpec, vocab_size: int) -> Size:
    """Count parameters and FLOPs of a spec without making its weights."""
    family = make_family(spec.family, vocab_size)
    with torch.device("meta"):
        network = make_network(spec, family)
    views = family.training_views(spec.recipe.batch_size, spec.length)
    exact, _ = training_flops(
        views,
        shape=spec.shape,
        backbone=spec.backbone,
        vocab_size=vocab_size,
        timed=family.time_conditioned,
    )
    return Size(
        total=network.num_parameters,
        non_embedding=network.num_non_embedding,
        core=spec.shape.core_parameters,
        step_flops=float(exact),
        step_tokens=spec.recipe.batch_size * spec.length,
        step_positions=sum(view.inputs.shape[0] * view.inputs.shape[1] for view in views),
        vocab_size=vocab_size,
    )


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained run, ready to evaluate or sample; its weights are those of `step`."""

    spec: RunSpec
    family: Family
    network: Transformer
    corpus: Corpus
    folder: Path
    step: int


def load(folder: Path, *, corpus: Path | None = None, device: str = "cpu") -> Trained:
    """The newest weights of the run in `folder` (averaged ones where the recipe averages).

    The corpus gives the tokenizer; without `corpus` it is looked for by runs/location.py.

    Raises:
        InputError: no run or no whole checkpoint there, or a corpus of another tokenizer.
    """
    check_device(device)
    spec = RunSpec.read(folder)
    place = corpus_of(folder) if corpus is None else corpus
    text = Corpus.open(place)
    check_corpus(spec, text, place)
    family = make_family(spec.family, text.vocab_size)
    network = make_network(spec, family)

    def use(place: Path, state: checkpoint.State) -> int:
        checkpoint.load_weights(place, network)
        if spec.recipe.ema is not None:
            average = AveragedWeights(network, spec.recipe.ema)
            checkpoint.load_average(place, average)
            network.load_state_dict(average.weights)
        return state.step

    finished = (folder / "record.json").exists()
    step = checkpoint.newest(folder / "checkpoint", spec.id, use, finished=finished)
    if step is None:
        raise InputError(f"{folder} has no checkpoint yet; train it first")
    return Trained(spec, family, network.to(device).eval(), text, folder, step)


def check_corpus(spec: RunSpec, corpus: Corpus, place: Path) -> None:
    """A run may only meet the corpus that its spec names; or, if that is a tokenizer alone, any of that."""
    known = (corpus.hash, corpus.manifest.without_text.hash)
    if spec.corpus.hash not in known or spec.corpus.vocab_size != corpus.vocab_size:
        raise InputError(
            f"corpus {place} (hash {corpus.hash[:12]}, vocabulary {corpus.vocab_size}) is not the one of "
            f"run {spec.id} (hash {spec.corpus.hash[:12]}, vocabulary {spec.corpus.vocab_size})"
        )

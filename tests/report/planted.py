"""A study's folder with planted losses: L = E + A / N^a + B / D^b, D = C / (6 N x price)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isodiff.record import Record, identity
from isodiff.scaling import fit_isoflop, record_points
from isodiff.scaling.pareto_result import frontier_result
from isodiff.scaling.sampler_points import SamplerPoint, TextStatistics
from isodiff.serialization import from_json, to_json

FAMILIES = {"autoregressive": 1.0, "masked": 2.0, "uniform": 2.9, "interpolating": 1.6}
SIZES = (9_000, 21_000, 50_000, 118_000)
BYTES_PER_TOKEN = 2.7
TEXT = (
    "Fellow citizens of the Senate and of the House: the state of the Union is, as ever,\n  sound. "
)
PROVENANCE = {
    "isodiff": "0.1.0",
    "python": "3.12.3",
    "torch": "2.13.0",
    "git_revision": "9e1b49e0c1d2",
    "cpu": "Imagined CPU @ 3 GHz",
    "num_cores": 4,
}


def loss(size: float, tokens: float, price: float) -> float:
    """Nats per token of a run."""
    return 1.6 + 30 / size**0.36 + 90 / (tokens / price) ** 0.33


def record(family: str, price: float, budget: float, size: int, rng: np.random.Generator) -> dict:
    """A finished run."""
    tokens = budget / (6 * size)
    nats = loss(size, tokens, price) + rng.normal(0, 0.006)
    exact = budget * (1 + rng.uniform(-4e-3, 4e-3))
    width = round((size / 24) ** 0.5)
    spec = {
        "family": {"name": family, "option": "low_variance"},
        "shape": {"depth": 2, "width": width, "heads": 2},
        "budget": budget,
        "length": 128,
        "seed": 0,
        "recipe": {"batch_size": 16},
    }
    bits = nats / BYTES_PER_TOKEN / math.log(2)
    error = 0.011 + 0.004 * rng.random()
    steps = round(tokens / (16 * 128))
    return {
        "id": identity(spec),
        "status": "done",
        "message": None,
        "spec": spec,
        "parameters": {"total": size + 4096 * width, "non_embedding": size, "core": size},
        "flops": {"planned": budget, "exact": exact, "no_attention": exact, "6ND": exact},
        "tokens": tokens,
        "epochs": tokens / 2.1e6,
        "steps": steps,
        "results": {
            "validation": {
                "kind": "exact" if family == "autoregressive" else "bound",
                "nats_per_token": {"value": nats, "standard_error": error, "num": 512},
                "bits_per_byte": {
                    "value": bits,
                    "standard_error": error / BYTES_PER_TOKEN / math.log(2),
                    "num": 512,
                },
                "protocol": "512 windows of 128 tokens, 2 noise draws each, seed 0",
            }
        },
        "curve": [
            {
                "step": round(steps * share),
                "flops": exact * share,
                "nats_per_token": loss(size, tokens * share, price) + rng.normal(0, 0.02),
                "standard_error": 0.03,
            }
            for share in (0.06, 0.12, 0.25, 0.5, 0.75)
        ],
        "wall_seconds": 31.4,
        "tokens_per_second": tokens / 31.4,
        "provenance": PROVENANCE,
        "device": "cpu",
    }


def stopped(template: dict, seed: int, status: str, message: str) -> dict:
    """A run that did not finish."""
    spec = {**template["spec"], "seed": seed}
    return {
        "id": identity(spec),
        "status": status,
        "message": message,
        "spec": spec,
        "parameters": {"non_embedding": template["parameters"]["non_embedding"]},
        "flops": {"planned": spec["budget"]},
        "results": {},
        "curve": [],
        "provenance": PROVENANCE,
    }


def write_study(
    folder: Path,
    *,
    families: dict[str, float] = FAMILIES,
    budgets: Sequence[float] = (1e11, 1e12, 1e13),
    sizes: Sequence[int] = SIZES,
    fits: bool = True,
    frontier: bool = False,
    **changes: Any,
) -> list[dict]:
    """Write a whole study; returns its records."""
    rng = np.random.default_rng(7)
    records = [
        record(family, price, budget, round(size * (budget / budgets[0]) ** 0.45), rng)
        for family, price in families.items()
        for budget in budgets
        for size in sizes
    ]
    if records:
        records.append(stopped(records[-1], 1, "diverged", "loss nan at step 812"))
        records.append(stopped(records[0], 1, "failed", "worker 2 was killed (out of memory)"))
    for one in records:
        write(folder / "runs" / one["id"] / "record.json", one)
    study = {
        "name": "Presidents, small",
        "description": "Four families on two centuries of speeches, three budgets.",
        "study": {"families": list(families), "budgets": [{"flops": b} for b in budgets]},
        "id": "8c1fd20a9b7e",
        "minutes": 8,
        "corpus": {
            "source": ["sotu"],
            "hash": "41a0c6ef52d9",
            "tokenizer": "bpe:1024",
            "vocab_size": 1024,
            "train_tokens": 2_100_000,
            "train_bytes": 5_670_000,
        },
        "provenance": PROVENANCE,
        "planned_runs": len(records) + 1,
        "wall_seconds": 461.0,
    }
    write(folder / "study.json", {**study, **changes})
    if fits and records:
        made = [from_json(Record, one, "record.json") for one in records]
        points = record_points(made, "runs", flops="exact")
        write(folder / "fits.json", fit_isoflop(points, bootstrap=200).to_json())
    samples = {
        family: {
            "run": next(r["id"] for r in records if r["spec"]["family"]["name"] == family),
            "sampler": "ancestral, 128 steps",
            "texts": [TEXT * 9, "And so we go on. " * 4],
            "nfe": 128,
        }
        for family in families
        if records
    }
    write(folder / "samples.json", samples)
    if frontier:
        write(folder / "frontier.json", planted_frontier(records))
    return records


HELD_OUT = {
    "nats_per_token": math.log(9.0),
    "generative_perplexity": 9.0,
    "bits_per_byte": 2.1,
    "entropy": 3.0,
    "distinct_2": 0.98,
    "repetition": 0.01,
    "divergence": 0.0002,
}


def planted_frontier(records: Sequence[dict]) -> dict[str, Any]:
    """Samplers of each family's lowest run at each budget: slower is better, and one cheats."""
    best: dict[tuple[str, float], dict] = {}
    for one in records:
        if one["status"] == "done":
            best.setdefault((one["spec"]["family"]["name"], one["spec"]["budget"]), one)
    points = []
    for place, ((family, budget), one) in enumerate(best.items()):
        for steps in (8, 32, 128):
            quality = (1 + 40 / steps) * (1 + place / 3) * (1e13 / budget) ** 0.1
            values = {**HELD_OUT, "generative_perplexity": 12 * quality, "entropy": 2.9}
            if steps == 8 and family == "masked":
                values["entropy"] = 2.0
            means = {
                key: part for name, value in values.items() for key, part in named(name, value)
            }
            speed = 4e5 / steps / (budget / 1e11) ** 0.3 * (1 + 0.5 * place)
            points.append(
                {
                    "run": one["id"],
                    "family": family,
                    "budget": budget,
                    "sampler": "ancestral",
                    "steps": steps,
                    "nfe": float(steps),
                    "tokens_per_second": speed,
                    "tokens_per_second_low": speed * 0.97,
                    "tokens_per_second_high": speed * 1.02,
                    "calls": 5,
                    "calls_alone": 3,
                    "batch": 32,
                    "latency_seconds": 0.002 * steps,
                    "latency_seconds_low": 0.0019 * steps,
                    "latency_seconds_high": 0.0022 * steps,
                    "num_texts": 150,
                    "length": 128,
                    "judge": "autoregressive run abc",
                    "device": "cpu",
                    "dtype": "float32",
                    "threads": 1,
                    "workers": 2,
                    **means,
                    "nats_per_token": math.log(values["generative_perplexity"]),
                    "nats_per_token_se": 0.01,
                }
            )
    held_out = {key: part for name, value in HELD_OUT.items() for key, part in named(name, value)}
    found = frontier_result(
        [from_json(SamplerPoint, point, "planted") for point in points],
        held_out=from_json(TextStatistics, held_out, "planted"),
        replicates=200,
    )
    return to_json(found)


def named(name: str, value: float) -> list[tuple[str, float]]:
    """A mean and its standard error under their two keys."""
    return [(name, value), (f"{name}_se", 0.01 * abs(value))]


def write(path: Path, value: Any) -> None:
    """A JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))

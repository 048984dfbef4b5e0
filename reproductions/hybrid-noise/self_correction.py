r"""Does self-correction make better texts than the same model reaches by a lower temperature?

    isodiff study reproductions/hybrid-noise/study.yaml --out runs/hybrid-noise
    isodiff train autoregressive --corpus runs/hybrid-noise/corpus --shape 38k --budget 6e12 \
        --recipe.batch-size 8 --recipe.learning-rate 6e-3 --backbone.rotary-base 100 --out runs/reference
    python reproductions/hybrid-noise/self_correction.py runs/hybrid-noise runs/reference/*

Fluency is cheap for texts of little variety, so corrected texts are compared with those that the same model
writes without correction at the *same unigram entropy*: ancestral samples at several temperatures make a
curve of the reference model's nats per token against entropy, read between its points. Those have as many
evaluations as the corrected ones have at most. Standard errors: bootstrap over texts, the curve included.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isodiff.evaluate.generation import entropy
from isodiff.families import sample, undecided
from isodiff.provenance import provenance
from isodiff.rng import Streams
from isodiff.runs.build import Trained, load
from isodiff.serialization import to_json
from isodiff.study.sampling import as_texts, held_out_texts, reference_model_named

TEMPERATURES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
CORRECTIONS = (16, 64, 128)
STEPS = 128
BATCH = 64


def drawn(run: Trained, reference: str, texts: int, **options: Any) -> dict[str, np.ndarray]:
    """Entropy, nats per token and network evaluations of every text."""
    sampler, rows, nfe = run.family.sampler(**options), [], []
    for first in range(0, texts, BATCH):
        rng = Streams(0, min(BATCH, texts - first), first=first)
        prompt = undecided(len(rng), run.spec.length)
        tokens, count = sample(run.family, run.network, prompt, sampler, rng=rng)
        rows.append(tokens.numpy())
        nfe.append(count.numpy())
    return {
        **scored(run, reference, np.concatenate(rows)),
        "nfe": np.concatenate(nfe).astype(float),
    }


def scored(run: Trained, reference: str, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Entropy and the reference model's nats per token of every text."""
    said = as_texts(ids, run.corpus.tokenizer)
    scores = reference_model_named(reference, run.corpus.tokenizer, "cpu").score(said)
    return {
        "entropy": np.array([entropy(one.ids) for one in said]),
        "nats": scores.nats / scores.num_tokens,
    }


def at_equal_entropy(
    corrected: dict[str, np.ndarray], curve: list[dict[str, np.ndarray]], rng: np.random.Generator
) -> dict[str, Any]:
    """Nats per token of the corrected texts minus those of the curve at their entropy; negative is better."""

    def difference(pick: np.ndarray) -> tuple[float, bool]:
        where = corrected["entropy"][pick].mean()
        points = sorted((one["entropy"][pick].mean(), one["nats"][pick].mean()) for one in curve)
        x, y = zip(*points, strict=True)
        inside = x[0] <= where <= x[-1]
        return float(corrected["nats"][pick].mean() - np.interp(where, x, y)), bool(inside)

    texts = len(corrected["nats"])
    value, inside = difference(np.arange(texts))
    again = [difference(rng.integers(0, texts, texts))[0] for _ in range(500)]
    return {"value": value, "se": float(np.std(again)), "within_the_curve": inside}


def means(found: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean of each, and its standard error."""
    out = {}
    for name, values in found.items():
        out[name] = float(values.mean())
        out[f"{name}_se"] = float(values.std(ddof=1) / len(values) ** 0.5)
    return out


def main() -> None:
    """Measure every run of the study, print the table, write result JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("study", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("-o", type=Path, default=Path(__file__).with_name("self_correction.json"))
    arguments = parser.parse_args()
    reference, rows = str(arguments.reference), []
    folders = sorted(path.parent for path in arguments.study.glob("runs/*/record.json"))
    runs = sorted((load(f) for f in folders), key=lambda r: (r.spec.family["p_u"], r.spec.seed))
    print("| p_u | seed | corrections | entropy | nats | nfe | minus ancestral at equal entropy |")
    print("|---|---|---|---|---|---|---|")
    for run in runs:
        steps = STEPS + max(CORRECTIONS)
        curve = [
            drawn(run, reference, arguments.texts, steps=steps, temperature=t) for t in TEMPERATURES
        ]
        row: dict[str, Any] = {
            "p_u": run.spec.family["p_u"],
            "seed": run.spec.seed,
            "run": run.spec.id,
            "ancestral": {str(t): means(one) for t, one in zip(TEMPERATURES, curve, strict=True)},
            "corrected": {},
        }
        for count in CORRECTIONS:
            found = drawn(run, reference, arguments.texts, steps=STEPS, corrections=count)
            gain = at_equal_entropy(found, curve, np.random.default_rng(0))
            outside = "" if gain["within_the_curve"] else " (outside)"
            row["corrected"][str(count)] = {**means(found), "minus_ancestral": gain}
            print(
                f"| {row['p_u']} | {row['seed']} | {count} | {found['entropy'].mean():.3f} "
                f"| {found['nats'].mean():.3f} | {found['nfe'].mean():.0f} "
                f"| {gain['value']:+.3f} ± {gain['se']:.3f}{outside} |",
                flush=True,
            )
        rows.append(row)
    run = runs[0]
    held = held_out_texts(run, arguments.texts)
    result = {
        "texts": arguments.texts,
        "length": run.spec.length,
        "steps": STEPS,
        "judge": json.loads((arguments.reference / "record.json").read_text())["results"],
        "held_out": means(scored(run, reference, np.stack([one.ids for one in held]))),
        "rows": rows,
        "provenance": to_json(provenance()),
    }
    arguments.o.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

"""Published IsoFLOP points that ship with the package.

`2602.15014`: "Scaling Beyond Masked Diffusion" (arXiv 2602.15014), 120 runs of four families on
SlimPajama (2048 tokens, vocabulary 32 001), digitised from the IsoFLOP figure of the paper's
public project page: losses within about 0.002 nats, two overlapping markers at 6e19 left out. The
three diffusion families are bounds. Parameters are recomputed from width and depth, because the
figure's axis counts one of the two vocabulary matrices.
"""

from __future__ import annotations

import csv
from importlib.resources import files

from isodiff.errors import InputError, nearest
from isodiff.record import Convention
from isodiff.scaling.points import Parameters, Point, Points

FAMILIES = {
    "ar": "autoregressive",
    "mdlm": "masked",
    "duo": "uniform",
    "esolm": "interpolating",
}
SETS = ("2602.15014",)
LENGTH, VOCABULARY, CONDITION = 2048, 32001, 128


def published_points(
    name: str, flops: Convention | None = None, parameters: Parameters = "non_embedding"
) -> Points:
    """The points of `published:ARXIV`. The paper's budgets leave attention scores out.

    Raises:
        InputError: no such set ships with the package.
    """
    arxiv = name.removeprefix("published:")
    if arxiv not in SETS:
        known = ", ".join(f"published:{known}" for known in SETS)
        raise InputError(f"no published points {name!r}{nearest(arxiv, SETS)}; there is {known}")
    table = files("isodiff.scaling") / "data" / f"isoflop_{arxiv.replace('.', '_')}.csv"
    with table.open(encoding="utf-8") as lines:
        points = tuple(published_point(row, flops, parameters) for row in csv.DictReader(lines))
    return Points(points, f"published:{arxiv}", flops or "budget", parameters)


def published_point(row: dict[str, str], flops: Convention | None, convention: Parameters) -> Point:
    """One row of the digitised table."""
    depth, width = int(row["depth"]), int(row["width"])
    budget, tokens = float(row["flops_budget"]), float(row["tokens"])
    family = FAMILIES[row["family"]]
    counts = parameters(depth, width)
    # Scores and their weighted sum: 4 T^2 d per layer forward, half of it where causal; x3 to train.
    scores = 12 * LENGTH * depth * width * (0.5 if family == "autoregressive" else 1.0)
    costs = {
        None: budget,
        "no_attention": budget,
        "exact": budget + scores * tokens,
        "6ND": 6 * counts["non_embedding"] * tokens,
    }
    return Point(
        family=family,
        budget=budget,
        flops=costs[flops],
        parameters=counts[convention],
        tokens=tokens,
        nats=float(row["val_loss_nats_per_token"]),
        id=f"{row['family']}-{row['model']}-{budget:.0e}".replace("e+", "e"),
        kind="exact" if family == "autoregressive" else "bound",
    )


def parameters(depth: int, width: int) -> dict[Parameters, int]:
    """Parameters of the paper's network, by convention.

    `core` is 12 n d^2, the matrices of the blocks. `non_embedding` adds norms, biases, the
    modulation by the noise level and its embedding: everything but the two vocabulary matrices.
    `total` adds those.
    """
    d, c = width, CONDITION
    core = 12 * depth * d * d
    norms_and_biases = 7 * d  # two norms (d each); MLP biases (4d and d)
    modulation = 6 * d * (c + 1)
    time = (256 + 1) * c + (c + 1) * c
    head = d + 2 * d * (c + 1) + VOCABULARY
    rest = depth * (norms_and_biases + modulation) + time + head
    return {
        "core": core,
        "non_embedding": core + rest,
        "total": core + rest + 2 * VOCABULARY * d,
    }

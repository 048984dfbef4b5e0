"""Published points that ship with the package, by arXiv number.

`2602.15014`: "Scaling Beyond Masked Diffusion", 120 runs of four families on SlimPajama (2048
tokens, vocabulary 32 001), digitized from the IsoFLOP figure of the paper's public project page:
losses within about 0.002 nats, two overlapping markers at 6e19 left out. The three diffusion
families are bounds. Parameters are recomputed from width and depth, because the figure's axis
counts one of the two vocabulary matrices.

`2203.15556`: the runs of Chinchilla (Hoffmann et al. 2022), 245 points that arXiv 2404.10102
digitized from its figure 4; D = C / 6N. Like that paper's fits, these leave out the five highest
losses, which are not at the end of training.

`2305.16264`: 182 runs with repeated data (Muennighoff et al. 2023): parameters, tokens seen,
unique tokens, final loss. C = 6ND.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
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
TABLES = {
    "2602.15014": "isoflop_2602_15014.csv",
    "2203.15556": "chinchilla_2203_15556.csv",
    "2305.16264": "data_constrained_2305_16264.csv",
}
LENGTH, VOCABULARY, CONDITION = 2048, 32001, 128
UNFINISHED = 5
"""Points of Chinchilla that are left out: the highest losses."""


def published_points(
    name: str, flops: Convention | None = None, parameters: Parameters | None = None
) -> Points:
    """The points of `published:ARXIV`.

    The budgets of 2602.15014 leave attention scores out; its parameters are non-embedding unless
    asked otherwise. The other two give one count of each: C = 6ND, N as printed.

    Raises:
        InputError: no such set ships with the package, or it does not know the convention.
    """
    arxiv = name.removeprefix("published:")
    if arxiv not in TABLES:
        known = ", ".join(f"published:{known}" for known in TABLES)
        raise InputError(f"no published points {name!r}{nearest(arxiv, TABLES)}; there is {known}")
    source = f"published:{arxiv}"
    if arxiv == "2602.15014":
        convention = parameters or "non_embedding"
        points = tuple(isoflop_point(row, flops, convention) for row in rows(arxiv))
        return Points(points, source, flops or "budget", convention)
    if flops in ("exact", "no_attention"):
        raise InputError(f"{source} knows C = 6ND only; leave --flops out")
    if parameters is not None:
        raise InputError(f"{source} gives its own parameters; leave --parameters out")
    if arxiv == "2305.16264":
        points = tuple(repeated_point(row) for row in rows(arxiv))
        return Points(points, source, "6ND", "as given")
    every = sorted(map(chinchilla_point, rows(arxiv)), key=lambda point: point.nats)
    left_out = f"the {UNFINISHED} highest losses are left out, as in arXiv 2404.10102"
    return Points(tuple(every[:-UNFINISHED]), source, "6ND", "as given", (left_out,))


def rows(arxiv: str) -> Iterator[dict[str, str]]:
    """The lines of a table."""
    table = files("isodiff.scaling") / "data" / TABLES[arxiv]
    with table.open(encoding="utf-8") as lines:
        yield from csv.DictReader(lines)


def chinchilla_point(row: dict[str, str]) -> Point:
    """One run of arXiv 2203.15556."""
    flops, parameters = float(row["flops"]), float(row["params"])
    return Point(
        family="autoregressive",
        budget=flops,
        flops=flops,
        parameters=parameters,
        tokens=flops / (6 * parameters),
        nats=float(row["loss"]),
        id=f"{parameters:.3g}-{flops:.3g}".replace("e+", "e"),
        kind="exact",
    )


def repeated_point(row: dict[str, str]) -> Point:
    """One run of arXiv 2305.16264."""
    parameters, tokens = float(row["N"]), float(row["D"])
    return Point(
        family="autoregressive",
        budget=6 * parameters * tokens,
        flops=6 * parameters * tokens,
        parameters=parameters,
        tokens=tokens,
        nats=float(row["loss"]),
        id=row["name"],
        kind="exact",
        unique_tokens=float(row["U"]),
    )


def isoflop_point(row: dict[str, str], flops: Convention | None, convention: Parameters) -> Point:
    """One run of arXiv 2602.15014."""
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
    """Parameters of the network of arXiv 2602.15014, by convention.

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

"""Where points come from: run folders, tables, or a published set that ships with the package.

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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from isodiff.errors import InputError, nearest
from isodiff.record import Convention, read_records
from isodiff.scaling.points import Parameters, Point, Points, record_points
from isodiff.scaling.table_files import is_table
from isodiff.scaling.tables import lowest_losses, table_points
from isodiff.scaling.units_check import checked_units

PUBLISHED_FAMILIES = {
    "ar": "autoregressive",
    "mdlm": "masked",
    "duo": "uniform",
    "esolm": "interpolating",
}
PUBLISHED = {
    "2602.15014": "isoflop_2602_15014.csv",
    "2203.15556": "chinchilla_2203_15556.csv",
    "2305.16264": "data_constrained_2305_16264.csv",
}
_LENGTH, _VOCABULARY, _CONDITION = 2048, 32001, 128
_UNFINISHED = 5
"""Points of Chinchilla that are left out: the highest losses."""


def read_points(
    sources: Sequence[str],
    flops: Convention | None = None,
    parameters: Parameters | None = None,
    columns: Mapping[str, str] | None = None,
    best_of_sweep: bool = False,
) -> Points:
    """Points of a `published:ARXIV` set, of any number of tables, or of any number of run folders.

    `flops=None` takes the budget itself as C; `parameters=None` takes non-embedding parameters,
    or the table's own. `columns` says which column of a table is which field of a point, where its
    name does not. `best_of_sweep` keeps the run of lowest loss of each family, size and number of tokens.

    Raises:
        InputError: nothing is there, a table is malformed, or the convention is not known for
            this source.
    """
    if not sources:
        raise InputError(
            "nothing to fit; give run folders, tables of points or published:2602.15014"
        )
    published = [source for source in sources if source.startswith("published:")]
    tables = [source for source in sources if source not in published and is_table(Path(source))]
    if published and len(sources) > 1:
        raise InputError(f"{published[0]} is fitted alone; give it as the only source")
    if tables and len(tables) < len(sources):
        other = next(source for source in sources if source not in tables)
        raise InputError(f"{tables[0]} is a table and {other} is none; fit them apart")
    if columns and not tables:
        raise InputError("--columns is for tables of points; leave it out")
    if tables:
        found = table_points(list(map(Path, tables)), flops, parameters, columns, best_of_sweep)
        return checked_units(_with_known_families(found))
    if published:
        found = published_points(sources[0], flops, parameters)
    else:
        records = read_records(Path(source) for source in sources)
        found = record_points(records, ", ".join(sources), flops, parameters or "non_embedding")
    return lowest_losses(found) if best_of_sweep else found


def _with_known_families(data: Points) -> Points:
    """Usual names of families (`AR`, `MDLM`) as those that laws compare by, and a word about each."""
    known = {name: name for name in PUBLISHED_FAMILIES.values()} | PUBLISHED_FAMILIES
    present = {point.family for point in data.points}
    plain = {name: "".join(filter(str.isalnum, name.lower())) for name in present}
    named = {name: known.get(plain[name], name) for name in sorted(present)}
    named = {old: new for old, new in named.items() if old != new and new not in present}
    if not named:
        return data
    points = tuple(replace(p, family=named.get(p.family, p.family)) for p in data.points)
    said = (f"family {old!r} is read as {new!r}" for old, new in named.items())
    return replace(data, points=points, warnings=(*data.warnings, *said))


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
    if arxiv not in PUBLISHED:
        known = ", ".join(f"published:{known}" for known in PUBLISHED)
        raise InputError(
            f"no published points {name!r}{nearest(arxiv, PUBLISHED)}; there is {known}"
        )
    source = f"published:{arxiv}"
    if arxiv == "2602.15014":
        convention = parameters or "non_embedding"
        points = tuple(_isoflop_point(row, flops, convention) for row in _published_rows(arxiv))
        return Points(points, source, flops or "budget", convention)
    if flops in ("exact", "no_attention"):
        raise InputError(f"{source} knows C = 6ND only; leave --flops out")
    if parameters is not None:
        raise InputError(f"{source} gives its own parameters; leave --parameters out")
    if arxiv == "2305.16264":
        points = tuple(_repeated_point(row) for row in _published_rows(arxiv))
        return Points(points, source, "6ND")
    every = sorted(chinchilla_points(), key=lambda point: point.nats)
    left_out = f"the {_UNFINISHED} highest losses are left out, as in arXiv 2404.10102"
    return Points(tuple(every[:-_UNFINISHED]), source, "6ND", warnings=(left_out,))


def _published_rows(arxiv: str) -> Iterator[dict[str, str]]:
    table = files("isodiff.scaling") / "data" / PUBLISHED[arxiv]
    with table.open(encoding="utf-8") as lines:
        yield from csv.DictReader(lines)


def chinchilla_points() -> list[Point]:
    """All 245 points of arXiv 2203.15556, unfinished runs too."""
    points = []
    for row in _published_rows("2203.15556"):
        flops, parameters = float(row["flops"]), float(row["params"])
        name = f"{parameters:.3g}-{flops:.3g}".replace("e+", "e")
        points.append(_plain_point(row, name, flops, parameters, flops / (6 * parameters)))
    return points


def _repeated_point(row: dict[str, str]) -> Point:
    parameters, tokens = float(row["N"]), float(row["D"])
    point = _plain_point(row, row["name"], 6 * parameters * tokens, parameters, tokens)
    return replace(point, unique_tokens=float(row["U"]))


def _plain_point(
    row: dict[str, str], name: str, flops: float, parameters: float, tokens: float
) -> Point:
    nats = float(row["loss"])
    return Point("autoregressive", flops, flops, parameters, tokens, nats, id=name, kind="exact")


def _isoflop_point(row: dict[str, str], flops: Convention | None, convention: Parameters) -> Point:
    depth, width, family = int(row["depth"]), int(row["width"]), PUBLISHED_FAMILIES[row["family"]]
    budget, tokens = float(row["flops_budget"]), float(row["tokens"])
    counts = published_parameters(depth, width)
    # Scores and their weighted sum: 4 T^2 d per layer forward, half of it where causal; x3 to train.
    scores = 12 * _LENGTH * depth * width * (0.5 if family == "autoregressive" else 1.0)
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


def published_parameters(depth: int, width: int) -> dict[Parameters, int]:
    """Parameters of the network of arXiv 2602.15014, by convention.

    `core` is 12 n d^2, the matrices of the blocks. `non_embedding` adds norms, biases, the
    modulation by the noise level and its embedding: everything but the two vocabulary matrices.
    `total` adds those.
    """
    d, c = width, _CONDITION
    core = 12 * depth * d * d
    norms_and_biases = 7 * d  # two norms (d each); MLP biases (4d and d)
    modulation = 6 * d * (c + 1)
    time = (256 + 1) * c + (c + 1) * c
    head = d + 2 * d * (c + 1) + _VOCABULARY
    rest = core + depth * (norms_and_biases + modulation) + time + head
    return {"core": core, "non_embedding": rest, "total": rest + 2 * _VOCABULARY * d}

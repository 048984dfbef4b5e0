"""Where points come from: run folders, a CSV table, or a published set that ships with the package.

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
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from isodiff.errors import InputError, nearest
from isodiff.record import Convention, read_records
from isodiff.scaling.points import Parameters, Point, Points, record_points
from isodiff.serialization import from_json

_COLUMNS = ("family", "budget", "parameters", "tokens", "nats")
_OPTIONAL = ("standard_error", "unique_tokens", "kind")
_LEGEND = f"columns are {','.join(_COLUMNS)}[,{','.join(_OPTIONAL)}]"
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
) -> Points:
    """Points of a `published:ARXIV` set, of one CSV table, or of any number of run folders.

    `flops=None` takes the budget itself as C; `parameters=None` takes non-embedding parameters,
    or the table's own.

    Raises:
        InputError: nothing is there, the table is malformed, or the convention is not known for
            this source.
    """
    alone = [s for s in sources if s.startswith("published:") or s.lower().endswith(".csv")]
    if not sources:
        raise InputError("nothing to fit; give run folders, a points.csv or published:2602.15014")
    if alone and len(sources) > 1:
        raise InputError(f"{alone[0]} is fitted alone; give it as the only source")
    if sources[0].startswith("published:"):
        return published_points(sources[0], flops, parameters)
    if alone:
        return table_points(Path(sources[0]), flops, parameters)
    records = read_records(Path(source) for source in sources)
    return record_points(records, ", ".join(sources), flops, parameters or "non_embedding")


def table_points(
    path: Path, flops: Convention | None = None, parameters: Parameters | None = None
) -> Points:
    """Points of a CSV with the columns `_COLUMNS` and, if wanted, `_OPTIONAL`.

    Units: FLOPs, parameters and tokens as plain numbers (1e18), losses in nats per token; kind is
    exact or bound. A row that repeats an earlier one exactly is dropped, with a warning. C is the
    budget, or with `flops="6ND"` six times parameters times tokens.

    Raises:
        InputError: the table is malformed, or does not know the convention.
    """
    if parameters is not None:
        raise InputError(f"{path} gives its own parameters; leave --parameters out")
    if flops in ("exact", "no_attention"):
        raise InputError(f"{path} gives budgets only; use --flops 6ND or leave --flops out")
    points: dict[Point, None] = {}
    warnings: list[str] = []
    for where, cells in _table_rows(path):
        filled = {name: cell for name, cell in cells.items() if cell or name in _COLUMNS}
        point = from_json(Point, {"flops": cells["budget"], **filled}, where, mend="")
        if flops == "6ND":
            point = replace(point, flops=6 * point.parameters * point.tokens)
        if point in points:
            warnings.append(f"{where} repeats an earlier line; it is counted once")
        points[point] = None
    if not points:
        raise InputError(f"{path} holds no points, only column names")
    return Points(tuple(points), str(path), flops or "budget", "as given", tuple(warnings))


def _table_rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give a table of points, or run folders") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save the table as UTF-8") from None
    reader = csv.reader(io.StringIO(text))
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_columns(f"{path}, line 1", header)
        for row in reader:
            where, cells = f"{path}, line {reader.line_num}", [cell.strip() for cell in row]
            if not any(cells):
                continue
            if len(cells) != len(header):
                raise InputError(f"{where}: {len(cells)} cells under {len(header)} column names")
            yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not CSV ({error})") from None


def _check_columns(where: str, header: Sequence[str]) -> None:
    known = (*_COLUMNS, *_OPTIONAL)
    for name, count in Counter(header).items():
        if name not in known:
            raise InputError(f"{where}: unknown column {name!r}{nearest(name, known)}; {_LEGEND}")
        if count > 1:
            raise InputError(f"{where}: column {name!r} stands twice; {_LEGEND}")
    for name in _COLUMNS:
        if name not in header:
            raise InputError(f"{where}: column {name!r} is missing; {_LEGEND}")


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

"""Tables as people publish them: any usual names, any order, any format, two of C, N and D."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings

from isodiff.cli import main
from isodiff.errors import InputError
from isodiff.scaling import read_points
from isodiff.scaling.columns import parse_columns
from isodiff.scaling.points import Point, Points

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
Rows = list[dict[str, Any]]


def as_csv(rows: Rows, delimiter: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_parquet(rows: Rows) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


def columns_of(rows: Rows) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


FORMATS: dict[str, Callable[[Rows], bytes]] = {
    "a.csv": as_csv,
    "a.CSV": as_csv,
    "a.tsv": lambda rows: as_csv(rows, "\t"),
    "semicolons.csv": lambda rows: as_csv(rows, ";"),
    "blanks.txt": lambda rows: b" " + as_csv(rows, " ").replace(b" ", b"   "),
    "bom.csv": lambda rows: b"\xef\xbb\xbf" + as_csv(rows),
    "utf16.txt": lambda rows: as_csv(rows, "\t").decode().encode("utf-16"),
    "comment.csv": lambda rows: b"# made by hand\n" + as_csv(rows),
    "a.csv.gz": lambda rows: gzip.compress(as_csv(rows)),
    "a.tsv.bz2": lambda rows: bz2.compress(as_csv(rows, "\t")),
    "a.jsonl.xz": lambda rows: lzma.compress(FORMATS["a.jsonl"](rows)),
    "a.parquet.zst": lambda rows: pa.compress(as_parquet(rows), "zstd", asbytes=True),
    "a.jsonl": lambda rows: "\n".join(map(json.dumps, rows)).encode(),
    "a.NDJSON": lambda rows: "\r\n\r\n".join(map(json.dumps, rows)).encode(),
    "rows.json": lambda rows: json.dumps(rows).encode(),
    "rows.json.gz": lambda rows: gzip.compress(json.dumps(rows).encode()),
    "wrapped.json": lambda rows: json.dumps({"version": 1, "runs": rows}).encode(),
    "columns.json": lambda rows: json.dumps(columns_of(rows)).encode(),
    "numbered.json": lambda rows: json.dumps(
        {name: dict(enumerate(cells)) for name, cells in columns_of(rows).items()}
    ).encode(),
    "split.json": lambda rows: json.dumps(
        {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}
    ).encode(),
    "named.json": lambda rows: json.dumps({f"run {i}": r for i, r in enumerate(rows)}).encode(),
    "a.parquet": as_parquet,
}


def read(folder: Path, name: str, data: bytes, columns: str | None = None, **how: Any) -> Points:
    (folder / name).write_bytes(data)
    chosen = None if columns is None else parse_columns(columns)
    return read_points([str(folder / name)], columns=chosen, **how)


def numbers(points: Sequence[Point]) -> list[tuple[float, ...]]:
    return [(p.budget, p.parameters, p.tokens, p.nats) for p in points]


RUNS = [
    {"params": 1e8 * i, "tokens": 3e9 / i, "FLOPs": 1.8e18, "val_loss": 3 + 0.1 * (i - 2) ** 2}
    for i in (1, 2, 3)
]
EXPECTED = [(r["FLOPs"], r["params"], r["tokens"], r["val_loss"]) for r in RUNS]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_points(tmp_path: Path, name: str) -> None:
    points = read(tmp_path, name, FORMATS[name](RUNS))
    assert numbers(points.points) == EXPECTED
    assert any("autoregressive, as no column tells families" in said for said in points.warnings)


# Headers and a row or two as published; what is to come out: C, N, D, loss.
PUBLISHED: dict[str, tuple[str, str | None, tuple[float, ...], tuple[str, str]]] = {
    "analyzing-chinchilla svg_extracted_data.csv": (
        "x,y,color,Model Size,Training FLOP,hex_color,loss\n154.0,140.6,#fae,6.8e9,1e19,#fae,5.0\n",
        None,
        (1e19, 6.8e9, 1e19 / 6 / 6.8e9, 5.0),
        ("budget", "as given"),
    ),
    "chinchilla df.csv": (
        "C,N,D,loss\n1.4e18,73824672,3154403320,3.4\n",
        None,
        (1.4e18, 73824672, 3154403320, 3.4),
        ("budget", "as given"),
    ),
    "scaling-law-analysis isoflops.csv": (
        "source,provenance,dataset,model,condition,experiment,tokens,params,budget,loss\n"
        + "a,b,c,d,,e,16e9,1e9,1e20,2.5\n" * 1,
        None,
        (1e20, 1e9, 16e9, 2.5),
        ("budget", "as given"),
    ),
    "marin raw isoflop-comma.csv": (
        '"Name","parameter_count","throughput/total_tokens","throughput/total_gflops",'
        '"eval/paloma/macro_loss","trainer.train_batch_size","model.hidden_dim"\n'
        '"exp","669160448","7787380736","30000190274.0","3.5","32","1280"\n',
        None,
        (30000190274e9, 669160448, 7787380736, 3.5),
        ("budget", "as given"),
    ),
    "llama3 isoflops_points.csv": (
        "compute_budget,training_tokens,validation_loss,x_page,y_page\n6e18,1.5e9,0.92,74.4,42.0\n",
        None,
        (6e18, 6e18 / 6 / 1.5e9, 1.5e9, 0.92),
        ("budget", "C/6D"),
    ),
    "llama3 by --columns": (
        "compute_budget,training_tokens,validation_loss,x_page,y_page\n6e18,1.5e9,0.92,74.4,42.0\n",
        "C=compute_budget,D=training_tokens,loss=validation_loss",
        (6e18, 6e18 / 6 / 1.5e9, 1.5e9, 0.92),
        ("budget", "C/6D"),
    ),
    "steplaw dense_lr_bs_loss.csv": (
        "h,ffnh,numh,numl,lr,bs,ti,loss,smooth loss,exp_name,D,N,D/N\n"
        "960,9368,15,7,3e-4,736,66342,2.41,2.39,step,1e11,2e8,500\n",
        None,
        (6 * 2e8 * 1e11, 2e8, 1e11, 2.41),
        ("6ND", "as given"),
    ),
    "OLMo-ladder 190M-1xC.csv": (
        "_step,eval/c4_en-validation/CrossEntropyLoss,eval/pile/CrossEntropyLoss,throughput/total_tokens,"
        "throughput/total_training_Gflops\n50,8.1,8.2,2e7,4e7\n100,6.9,7.0,4e7,8e7\n",
        "loss=eval/c4_en-validation/CrossEntropyLoss",
        (8e16, 8e16 / 6 / 4e7, 4e7, 6.9),
        ("budget", "C/6D"),
    ),
    "gemstones hot.jsonl": (
        '{"run_name":"a","params_active_precise":5e8,"width":1,"tokens":1e10,"step":2385,"final_loss":3.1}',
        None,
        (6 * 5e8 * 1e10, 5e8, 1e10, 3.1),
        ("6ND", "as given"),
    ),
    "datablations": (
        "name,N,D,U,loss\n2b8,2.81e9,32e9,4e9,2.72\n",
        None,
        (6 * 2.81e9 * 32e9, 2.81e9, 32e9, 2.72),
        ("6ND", "as given"),
    ),
    "scaling exp_data/models/rpj.json": (
        json.dumps(
            {
                "name": "rpj",
                "dataset_name": "rpj",
                "hyperparameters": {"tokens": 5e7, "params": 1e7, "z_loss": 1e-4},
                "open_lm_args": ["--lr", "0.003"],
                "results": [{"loss": 6.3, "tokens": 245760}, {"loss": 6.1, "tokens": 174077952}],
            }
        ),
        "loss=results.1.loss",
        (6 * 1e7 * 5e7, 1e7, 5e7, 6.1),
        ("6ND", "as given"),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tables_are_read_as_they_are(tmp_path: Path, name: str) -> None:
    text, columns, expected, conventions = PUBLISHED[name]
    suffix = ".csv"
    if text.startswith("{"):
        suffix = ".json" if name.endswith(".json") else ".jsonl"
    points = read(tmp_path, f"table{suffix}", text.encode(), columns)
    assert numbers(points.points) == [pytest.approx(expected)]
    assert (points.flops, points.parameters) == conventions


USUAL = {
    "C": ["C", "compute", "FLOPs", "Training FLOPs", "train_flops", "compute_budget", "Budget"],
    "N": ["N", "params", "Num Params", "n_params", "parameters", "model_size", "Parameter Count"],
    "D": ["D", "tokens", "Train Tokens", "tokens_seen", "training_tokens", "num-tokens"],
    "loss": ["loss", "val_loss", "Validation Loss", "eval/loss", "final_loss", "cross_entropy"],
}
COUNT = st.floats(1e6, 1e25).map(lambda value: float(f"{value:.6g}"))


@QUICK
@given(
    st.fixed_dictionaries({key: st.sampled_from(names) for key, names in USUAL.items()}),
    st.sampled_from(["C", "N", "D", None]),
    st.permutations(["C", "N", "D", "loss", "note", "lr"]),
    st.sampled_from([str, str.upper, str.lower, str.title]),
    st.lists(st.tuples(COUNT, COUNT, st.floats(0.01, 13)), min_size=1, max_size=4, unique=True),
    st.sampled_from(list(FORMATS)),
)
def test_any_usual_names_in_any_order_and_format(
    tmp_path: Path,
    names: dict[str, str],
    without: str | None,
    order: list[str],
    case: Callable[[str], str],
    runs: list[tuple[float, float, float]],
    name: str,
) -> None:
    rows, expected = [], []
    for n, d, loss in runs:
        cells = {"C": 6 * n * d, "N": n, "D": d, "loss": loss, "note": "x", "lr": 3e-4}
        rows.append({case(names.get(key, key)): cells[key] for key in order if key != without})
        expected.append((6 * n * d, n, d, loss))
    points = read(tmp_path, name, FORMATS[name](rows))
    for found, right in zip(numbers(points.points), expected, strict=True):
        assert found == pytest.approx(right, rel=1e-12)
    assert (points.flops, points.parameters) == (
        "6ND" if without == "C" else "budget",
        "C/6D" if without == "N" else "as given",
    )


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        ("params (M),tokens_B,loss", "70,1.4,3", (6 * 7e7 * 1.4e9, 7e7, 1.4e9)),
        ("N,D,loss", "70M,1.4T,3", (6 * 7e7 * 1.4e12, 7e7, 1.4e12)),
        ("N,D,loss", '"70,000,000",1.4b,3', (6 * 7e7 * 1.4e9, 7e7, 1.4e9)),
        ("PFLOPs,N,loss", "1000,1e8,3", (1e18, 1e8, 1e18 / 6e8)),
        ("compute (PF-days),N,loss", "1,1e8,3", (8.64e19, 1e8, 8.64e19 / 6e8)),
        ("total_gflops,D,loss", "1e9,1e9,3", (1e18, 1e18 / 6e9, 1e9)),
        ("N [M params],D (tokens),Loss (nats/token)", "70,1e9,3", (6 * 7e7 * 1e9, 7e7, 1e9)),
        ("C (1e18 FLOPs),numParams,valLoss", "0.6,1e8,3", (6e17, 1e8, 1e9)),
        ("Training compute (FLOP),D (B tokens),evalLoss", "6e17,1,3", (6e17, 1e8, 1e9)),
        ("N,n,D,loss", "1e8,7,1e9,3", (6e17, 1e8, 1e9)),
        ("train/loss,val/loss,N,D", "9,3,1e8,1e9", (6e17, 1e8, 1e9)),
        ("loss,tokens/params,D,C", "3,20,1e9,6e17", (6e17, 1e8, 1e9)),
        ("D/N,N,C,loss", "20,1e8,6e17,3", (6e17, 1e8, 1e9)),
        ("loss,z_loss,tokens/param,N,C", "3,1e-4,20,1e8,6e17", (6e17, 1e8, 1e9)),
    ],
)
def test_units_in_names_and_numbers(
    tmp_path: Path, header: str, row: str, expected: tuple[float, float, float]
) -> None:
    points = read(tmp_path, "a.csv", f"{header}\n{row}\n".encode())
    assert numbers(points.points) == [pytest.approx((*expected, 3.0))]


def test_columns_are_chosen_scaled_multiplied_and_fixed(tmp_path: Path) -> None:
    text = b"a,b,steps,batch,c\n2,3.5,100,64,x\n"
    (point,) = read(
        tmp_path, "a.csv", text, "N=a*1e9,loss=B,D=steps*batch*2048,family==masked"
    ).points
    assert (point.family, point.parameters, point.nats) == ("masked", 2e9, 3.5)
    assert point.tokens == 100 * 64 * 2048
    (point,) = read(tmp_path, "a.csv", text, "N=7e7,L=b,tokens=steps,family=c").points
    assert (point.family, point.parameters, point.tokens) == ("x", 7e7, 100)


@pytest.mark.parametrize(
    ("header", "columns", "message"),
    [
        ("compute_budget,params,loss", "C=compute_bugdet", "did you mean 'compute_budget'?"),
        ("C,N,loss", "C=zzz", "no column 'zzz' for budget; there are 'C', 'N', 'loss'"),
        ("C,N,loss", "famil=C", "--columns knows no field 'famil'; did you mean 'family'?"),
        ("C,N,loss", "C", "--columns takes C=COLUMN,N=COLUMN,..., got 'C'"),
        ("C,N,loss", "", "--columns takes C=COLUMN,N=COLUMN,..., got ''"),
        ("C,N,loss", "C=C,budget=N", "--columns gives budget twice"),
        ("C,N,loss", "family=masked", "is family==masked"),
        ("C,N,los", None, "column 'nats' is missing; did you mean 'los'?"),
        (
            "C,N,perplexity",
            None,
            "'perplexity' is no loss in nats; add a column of nats per token (its",
        ),
        ("C,N,bpb", None, "'bpb' is no loss in nats; add a column of nats per token (bits times"),
        ("C,lr,loss", None, "column 'tokens' is missing; name it by --columns D=COLUMN"),
        ("C,tokns,loss", None, "column 'tokens' is missing; did you mean 'tokns'?"),
        ("C,N,a/loss,b/loss", None, "several columns may be nats: 'a/loss', 'b/loss'; choose"),
        ("C,N,c4 loss,pile loss", None, "which column is the loss? name one by --columns loss="),
        ("C,N,loss,loss", None, "column 'loss' stands twice"),
    ],
)
def test_what_cannot_be_told_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    header: str,
    columns: str | None,
    message: str,
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n" + ",".join("3" for _ in header.split(",")) + "\n")
    options = [] if columns is None else ["--columns", columns]
    assert main(["fit", str(path), *options]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert message in said.err


DAMAGED: Mapping[str, tuple[bytes, str]] = {
    "a.csv.gz": (b"no gzip at all", "is damaged"),
    "cut.csv.gz": (gzip.compress(b"C,N,loss\n" * 100)[:30], "is damaged"),
    "a.csv.xz": (b"\xfd7zXZ\x00junk", "is damaged"),
    "a.csv.bz2": (b"BZh9junk", "is damaged"),
    "a.csv.zst": (b"(\xb5/\xfd junk", "is damaged"),
    "a.parquet": (b"PAR1 and nothing more PAR1", "is not Parquet"),
    "a.xlsx": (b"PK", "save the sheet as CSV"),
    "a.pkl": (b"\x80\x04", "pickles are never opened"),
    "a.jsonl": (b'{"C": 1, "N": 1, "loss": 1}\n{"C": ', "line 2: not JSON"),
    "list.jsonl": (b"[1, 2]", "line 1: a row is an object of named values"),
    "a.json": (b"[1, 2]", "row 1: a row is an object of named values"),
    "cut.json": (b'[{"C": 1', "is not valid JSON"),
    "number.json": (b"3", "holds no table"),
    "deep.jsonl": (b"[" * 100_000, "nested too deeply"),
    "long.jsonl": (b'{"C": ' + b"9" * 5000 + b"}", "line 1: not JSON"),
    "empty.json": (b"[]", "is empty"),
    "nan.json": (
        b'[{"C": 1e18, "N": NaN, "loss": 3}]',
        "parameters must be a finite number",
    ),
    "null.json": (
        b'[{"C": 1e18, "N": null, "loss": 3}]',
        "parameters must be a number",
    ),
    "big.json": (
        b'[{"C": 1e18, "N": 1' + b"0" * 400 + b', "loss": 3}]',
        "parameters must be a finite number",
    ),
    "big-loss.json": (
        b'[{"C": 1e18, "N": 1e8, "loss": 1' + b"0" * 400 + b"}]",
        "nats must be",
    ),
    "huge.csv": (b"N,D,loss\n1e200,1e200,3\n", "budget must be a finite number"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_table_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    data, message = DAMAGED[name]
    (tmp_path / name).write_bytes(data)
    assert main(["fit", str(tmp_path / name)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and len(said.err) < 500
    assert message in said.err and str(tmp_path / name) in said.err


@QUICK
@given(
    st.binary(max_size=200), st.sampled_from(["csv", "tsv", "json", "jsonl", "parquet", "csv.gz"])
)
def test_no_bytes_do_anything_but_give_points_or_one_line(
    tmp_path: Path, data: bytes, suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data)
    try:
        assert read_points([str(path)]).points
    except InputError as error:
        assert str(path) in str(error)


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isodiff.scaling.table_files.LARGEST_TABLE", 1 << 20)
    with pytest.raises(InputError, match="holds more than 1 MB"):
        read(tmp_path, "a.csv.gz", gzip.compress(b"1,2\n" * (1 << 19)))
    monkeypatch.setattr("isodiff.scaling.table_files.MOST_CELLS", 100)
    with pytest.raises(InputError, match="more than 100 cells"):
        read(tmp_path, "a.csv", b"C,N,loss\n" + b"1,1,1\n" * 50)
    with pytest.raises(InputError, match="more than 100 cells"):
        read(tmp_path, "a.parquet", as_parquet(RUNS * 10))


def test_without_pyarrow_the_install_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match="pip install pyarrow"):
        read(tmp_path, "a.parquet", as_parquet(RUNS))


HISTORY = """run,_step,params,tokens,val_loss,lr
b,10,2e8,1e9,,1
a,10,1e8,1e9,4,1
a,30,1e8,,3,1
a,20,1e8,2e9,3.5,1
b,20,,2e9,3.2,1
b,30,,3e9,,1
c,10,3e8,1e9,,1
"""


def test_a_history_gives_the_last_row_with_a_loss_of_each_run(tmp_path: Path) -> None:
    points = read(tmp_path, "a.csv", HISTORY.encode())
    assert {p.id: (p.parameters, p.tokens, p.nats) for p in points.points} == {
        "a": (1e8, 2e9, 3.0),
        "b": (2e8, 2e9, 3.2),
    }
    assert any("1 runs are left out, which have no loss" in said for said in points.warnings)
    assert "histories (_step): the last row of each run is taken" in points.warnings


def test_a_history_without_names_is_one_run_or_refused(tmp_path: Path) -> None:
    one = b"_step,N,D,loss\n2,1e8,2e9,3\n1,1e8,1e9,4\n"
    (point,) = read(tmp_path, "1B-2xC.csv", one).points
    assert (point.id, point.nats) == ("1B-2xC", 3.0)
    for other in (b"3,2e8,3e9,2\n", b"3,1e8,1e9,2\n"):
        with pytest.raises(InputError, match="of several runs; say which column names them"):
            read(tmp_path, "a.csv", one + other)


def test_a_table_of_runs_with_their_last_step_is_no_history(tmp_path: Path) -> None:
    rows = b"Name,State,_step,N,D,loss\na,finished,9,1e8,1e9,3\n"
    rows += b"b,crashed,3,1e8,1e9,9\nc,finished,5,2e8,1e9,2\n"
    points = read(tmp_path, "a.csv", rows)
    assert [p.id for p in points.points] == ["a", "c"]
    assert any("1 runs are left out, whose state is not finished" in s for s in points.warnings)


def test_a_sweep_gives_the_best_of_each_size_and_tokens(tmp_path: Path) -> None:
    text = b"N,D,lr,loss\n1e8,1.000e9,1,3.3\n1e8,1.004e9,2,3.1\n"
    text += b"1e8,1.003e9,3,nan\n1e8,2e9,1,3.0\n2e8,1e9,1,inf\n"
    with pytest.raises(InputError, match="line 4: nats must be a finite number"):
        read(tmp_path, "a.csv", text)
    points = read(tmp_path, "a.csv", text, best_of_sweep=True)
    assert [(p.parameters, p.tokens, p.nats) for p in points.points] == [
        (1e8, 1.004e9, 3.1),
        (1e8, 2e9, 3.0),
    ]
    assert any("2 runs of the sweep are left out" in said for said in points.warnings)
    assert any("is kept: 2 of 3" in said for said in points.warnings)


def test_families_are_told_by_their_column_or_by_groups_of_runs(tmp_path: Path) -> None:
    groups = b"experiment,N,D,loss\n" + b"".join(
        f"{name},{n}e8,1e9,3.{n}\n".encode() for name in "ab" for n in (1, 2, 3)
    )
    assert {p.family for p in read(tmp_path, "a.csv", groups).points} == {"a", "b"}
    each = b"experiment,N,D,loss\na,1e8,1e9,3\nb,2e8,1e9,2.9\n"
    assert {p.family for p in read(tmp_path, "a.csv", each).points} == {"autoregressive"}
    usual = read(
        tmp_path, "a.csv", b"method,N,D,loss\nAR,1e8,1e9,3\nEso-LM,1e8,1e9,4\nmine,1e8,1e9,5\n"
    )
    assert [p.family for p in usual.points] == ["autoregressive", "interpolating", "mine"]
    assert "family 'AR' is read as 'autoregressive'" in usual.warnings
    both = read(tmp_path, "a.csv", b"family,N,D,loss\nAR,1e8,1e9,3\nautoregressive,1e8,1e9,4\n")
    assert [p.family for p in both.points] == ["AR", "autoregressive"]


def test_a_column_that_looks_like_a_field_is_said_to_be_unread(tmp_path: Path) -> None:
    text = b"family,budget,parameters,tokens,nats,standart_error\nx,1e18,1e8,2e9,3,0.1\n"
    (said,) = read(tmp_path, "a.csv", text).warnings
    assert "column 'standart_error' is not read; did you mean 'standard_error'?" in said


def test_several_tables_are_one_study(tmp_path: Path) -> None:
    for name, row in (("one.csv", "masked,1e8,1e9,3"), ("two.csv", "masked,2e8,1e9,2.9")):
        (tmp_path / name).write_text(f"family,N,D,loss\n{row}\n")
    both = [str(tmp_path / name) for name in ("one.csv", "two.csv")]
    assert [p.parameters for p in read_points(both).points] == [1e8, 2e8]
    (tmp_path / "two.csv").write_text("family,C,D,loss\nmasked,1e18,1e9,2.9\n")
    with pytest.raises(InputError, match="not all give the same of C, N and D"):
        read_points(both)
    with pytest.raises(InputError, match="--columns is for tables"):
        read_points(["published:2203.15556"], columns={"budget": "C"})


@pytest.mark.parametrize(
    "name", ["a.csv", "a.tsv", "rows.json", "a.jsonl", "a.parquet", "a.csv.gz"]
)
def test_a_table_given_as_a_law_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).write_bytes(FORMATS[name](RUNS))
    assert main(["plan", "budget", "1e20", "--law", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert "is no law but a table; fit it first: isodiff fit" in said and said.count("\n") == 1


def test_fit_reads_a_foreign_table_and_every_convention_with_the_same_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["compute_bdgt,size_n,xent"]
    for budget in (1e17, 1e18):
        center = 1e8 * (budget / 1e17) ** 0.5
        lines += [
            f"{budget},{center * 2**i},{3 - budget / 1e18 + 0.1 * i * i}" for i in range(-2, 3)
        ]
    path, out = tmp_path / "a.csv", tmp_path / "law.json"
    path.write_text("\n".join(lines))
    words = ["--columns", "C=compute_bdgt,N=size_n,loss=xent", "--bootstrap", "0", "--conventions"]
    assert main(["fit", str(path), *words, "--out", str(out)]) == 0
    law = json.loads(out.read_text())
    assert law["families"]["autoregressive"]["laws"]["N"]["exponent"] == pytest.approx(0.5)
    assert [row["flops"] for row in law["conventions"]["rows"]] == ["budget", "6ND"]
    assert "D = C/6N" in capsys.readouterr().out


def test_the_next_runs_are_planned_from_a_table_in_any_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"family": family, "N": n, "D": d, "loss": 1.7 + k * 400 / n**0.34 + 410 / d**0.28}
        for family, k in (("autoregressive", 1.0), ("masked", 1.2))
        for n in (1e7, 3e7, 1e8)
        for d in (1e9, 3e9, 1e10)
    ]
    path = tmp_path / "a.jsonl"
    path.write_bytes(FORMATS["a.jsonl"](rows))
    assert main(["plan", "next", str(path), "--num", "1", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 1

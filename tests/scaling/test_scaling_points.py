"""Points from records and from tables, and what is said of those that cannot be used."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isodiff.errors import InputError
from isodiff.record import Record
from isodiff.scaling import fit_isoflop, read_points, record_points, table_points
from isodiff.scaling.points import family_labels
from isodiff.serialization import from_json

HEADER = "family,budget,parameters,tokens,nats"
ROW = "masked,1e18,1e8,2e9,3.2"


def record(run: str, **changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = {
        "id": run,
        "status": "done",
        "spec": {
            "family": {"name": "masked"},
            "shape": {"depth": 2, "width": 64, "heads": 1},
            "budget": 1e12,
            "seed": 0,
        },
        "parameters": {"total": 300, "non_embedding": 200, "core": 100},
        "flops": {"planned": 1e12, "exact": 1.001e12, "no_attention": 0.9e12, "6ND": 0.8e12},
        "tokens": 5000,
        "results": {
            "validation": {
                "kind": "bound",
                "nats_per_token": {"value": 3.5, "standard_error": 0.01, "num": 64},
                "noise_error": 0.003,
                "bits_per_byte": {"value": 2.5, "standard_error": 0.01, "num": 64},
            }
        },
    }
    return {**value, **changes}


def typed(*records: dict[str, Any]) -> list[Record]:
    return [from_json(Record, value, "record.json") for value in records]


def write(folder: Path, *records: dict[str, Any]) -> str:
    for value in records:
        path = folder / str(value["id"]) / "record.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(value))
    return str(folder)


@pytest.mark.parametrize(
    ("flops", "convention", "c", "n"),
    [
        (None, None, 1e12, 200),
        ("exact", "total", 1.001e12, 300),
        ("no_attention", "core", 0.9e12, 100),
        ("6ND", "non_embedding", 0.8e12, 200),
    ],
)
def test_a_record_is_a_point(tmp_path: Path, flops: Any, convention: Any, c: float, n: int) -> None:
    points = read_points([write(tmp_path, record("a"))], flops, convention)
    (point,) = points.points
    assert (point.family, point.budget, point.id, point.kind) == ("masked", 1e12, "a", "bound")
    assert (point.flops, point.parameters, point.tokens) == (c, n, 5000)
    assert (point.nats, point.standard_error, point.noise_error) == (3.5, 0.01, 0.003)
    assert points.flops == (flops or "budget")
    assert points.parameters == (convention or "non_embedding")


def test_only_finished_runs_enter(tmp_path: Path) -> None:
    lost = record("b", status="diverged", results={})
    points = read_points([write(tmp_path, record("a"), lost, record("c", status="failed"))])
    assert [point.id for point in points.points] == ["a"]
    assert points.warnings == ("run b is left out: diverged", "run c is left out: failed")


def on_plateau_of(entropy: float, run: str, nats: float, error: float = 0.01) -> dict[str, Any]:
    """A record with this loss on a corpus of this unigram entropy."""
    value = copy.deepcopy(record(run))
    value["results"]["unigram_nats"] = entropy
    value["results"]["validation"]["nats_per_token"] = {
        "value": nats,
        "standard_error": error,
        "num": 64,
    }
    return value


@pytest.mark.parametrize(
    ("nats", "error", "left"),
    [
        (2.84, 0.004, True),  # 0.95 of 3 nats is 2.85
        (2.84, 0.006, False),
        (2.86, 0.0, False),
        (3.1, 0.01, False),
        (2.0, 0.1, True),
    ],
)
def test_a_run_must_be_clearly_below_the_unigram_entropy(
    nats: float, error: float, left: bool
) -> None:
    runs = typed(record("a"), on_plateau_of(3.0, "b", nats, error))
    assert [point.id for point in record_points(runs, "runs").points] == (
        ["a", "b"] if left else ["a"]
    )


def test_runs_on_the_plateau_are_left_out_in_one_line(tmp_path: Path) -> None:
    stuck = [on_plateau_of(3.0, f"s{i}", 2.95) for i in range(3)]
    stuck[0]["spec"]["family"] = {"name": "uniform"}
    points = read_points([write(tmp_path, record("a"), on_plateau_of(3.0, "b", 2.4), *stuck)])
    assert [point.id for point in points.points] == ["a", "b"]  # a knows no entropy
    (line,) = points.warnings
    assert line.startswith("3 of 5 runs are left out, as they have not left the unigram plateau")
    assert "uniform 1, masked 2" in line
    assert "5% and 2 standard errors below the 3.000 nats per token" in line


def test_where_all_runs_are_on_the_plateau_there_is_nothing_to_fit() -> None:
    with pytest.raises(InputError, match="1 of 1 runs are left out, as they have not left"):
        record_points(typed(on_plateau_of(3.0, "a", 2.95)), "runs")


def test_no_finished_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished run"):
        read_points([write(tmp_path, record("a", status="failed"))])


@pytest.mark.parametrize("key", ["results", "tokens", "parameters"])
def test_a_damaged_record_is_named(key: str) -> None:
    damaged = record("a")
    del damaged[key]
    with pytest.raises(InputError, match="run a cannot be fitted"):
        record_points(typed(damaged), "runs")


def test_a_loss_that_is_not_a_number_is_named() -> None:
    damaged = copy.deepcopy(record("a"))
    damaged["results"]["validation"]["nats_per_token"]["value"] = float("nan")
    with pytest.raises(InputError, match="run a: nats must be a finite number, got nan"):
        record_points(typed(damaged), "runs")


def test_one_name_with_several_options_is_several_families() -> None:
    records = [
        record(
            f"r{size}",
            spec={**record("")["spec"], "family": {"name": "block", "size": size, "x": 1}},
        )
        for size in (4, 16)
    ]
    records.append(record("m"))
    points = record_points(typed(*records), "runs").points
    assert [point.family for point in points] == ["masked", "block(size=16)", "block(size=4)"]


FAMILY = st.fixed_dictionaries(
    {"name": st.sampled_from(["block", "masked"])},
    optional={"size": st.sampled_from([None, 4, 4.0, 8]), "to": st.sampled_from([[1], [2], "a"])},
)


@given(st.lists(FAMILY, min_size=1, max_size=6))
def test_labels_name_the_options_in_which_families_of_one_name_differ(
    families: list[dict[str, Any]],
) -> None:
    for family, label in zip(families, family_labels(families), strict=True):
        same = [other for other in families if other["name"] == family["name"]]
        varied = [
            f"{key}={family.get(key)}"
            for key in ("size", "to")
            if any(other.get(key) != family.get(key) for other in same)
        ]
        assert label == family["name"] + (f"({', '.join(varied)})" if varied else "")


def test_runs_on_different_text_are_not_mixed_in_silence() -> None:
    def on(text: str, run: str) -> dict[str, Any]:
        return record(run, spec={**record(run)["spec"], "corpus": {"id": text}, "length": 64})

    assert not record_points(typed(on("a", "1"), on("a", "2")), "runs").warnings
    (warning,) = record_points(typed(on("a", "1"), on("b", "2")), "runs").warnings
    assert "differ in corpus" in warning


def table(folder: Path, *lines: str) -> Path:
    path = folder / "points.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_table_is_read(tmp_path: Path) -> None:
    path = table(tmp_path, HEADER + ",standard_error", ROW + ",0.01", "", "uniform,1e18,1e8,2e9,3,")
    points = read_points([str(path)])
    first, second = points.points
    assert (first.family, first.budget, first.parameters) == ("masked", 1e18, 1e8)
    assert (first.tokens, first.nats, first.standard_error) == (2e9, 3.2, 0.01)
    assert (second.family, second.standard_error) == ("uniform", None)
    assert first.flops == 1e18
    assert table_points(path, "6ND").points[0].flops == 6 * 1e8 * 2e9


def test_a_repeated_line_counts_once(tmp_path: Path) -> None:
    points = table_points(table(tmp_path, HEADER, ROW, ROW))
    assert len(points.points) == 1
    assert points.warnings[0].endswith("line 3 repeats an earlier line; it is counted once")


def test_a_table_may_mark_kinds_and_unique_tokens(tmp_path: Path) -> None:
    path = table(tmp_path, HEADER + ",kind,unique_tokens", ROW + ",bound,1e9", ROW + "1,bound,")
    first, second = read_points([str(path)]).points
    assert (first.kind, first.unique_tokens) == ("bound", 1e9)
    assert (second.kind, second.unique_tokens) == ("bound", None)


def test_a_family_is_exact_or_a_bound_but_not_both(tmp_path: Path) -> None:
    path = table(tmp_path, HEADER + ",kind", ROW + ",bound", ROW + "1,exact", ROW + "2,")
    with pytest.raises(InputError, match="the losses of masked are exact in some runs and bounds"):
        fit_isoflop(read_points([str(path)]))


def test_a_record_knows_how_long_its_text_was(tmp_path: Path) -> None:
    (point,) = read_points([write(tmp_path, record("a", epochs=2.5))]).points
    assert point.unique_tokens == 2000


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            [HEADER + ",kind", ROW + ",guess"],
            "line 2: kind must be one of 'exact', 'bound', got 'guess'",
        ),
        (
            [HEADER + ",unique_tokens", ROW + ",-3"],
            "line 2: unique_tokens must be more than 0, got '-3'",
        ),
        (
            [HEADER, "masked,1e18,1e8,2e9,much"],
            "line 2: nats must be a number, got 'much'",
        ),
        (
            [HEADER, ROW, "masked,1e18,1e8,2e9,nan"],
            "line 3: nats must be a finite number, got 'nan'",
        ),
        (
            [HEADER, "masked,1e18,1e8,2e9,-1"],
            "line 2: nats must be more than 0, got '-1'",
        ),
        (
            [HEADER, "masked,inf,1e8,2e9,3"],
            "line 2: budget must be a finite number, got 'inf'",
        ),
        (
            [HEADER, "masked,1e18,0,2e9,3"],
            "line 2: parameters must be more than 0, got '0'",
        ),
        ([HEADER, "masked,1e18,1e8,,3"], "line 2: tokens must be a number, got ''"),
        (
            [HEADER, ",1e18,1e8,2e9,3"],
            "line 2: family must not be empty",
        ),
        ([HEADER, ROW + ",1"], "line 2: 6 cells under 5 column names"),
        (
            [HEADER + ",standard_error", ROW + ",-1"],
            "line 2: standard_error must be at least 0, got '-1'",
        ),
        ([HEADER.replace("nats", "nat")], "line 1: column 'nats' is missing; did you mean 'nat'?"),
        ([HEADER.replace(",nats", "")], "line 1: column 'nats' is missing; name it by --columns"),
        ([HEADER + ",nats"], "line 1: column 'nats' stands twice"),
        ([HEADER], "holds no points, only column names"),
        ([""], "is empty; columns are family,budget,"),
    ],
)
def test_a_bad_table_is_refused_by_line(tmp_path: Path, lines: list[str], message: str) -> None:
    path = table(tmp_path, *lines)
    with pytest.raises(InputError) as error:
        table_points(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_what_a_source_cannot_give_is_refused(tmp_path: Path) -> None:
    path = str(table(tmp_path, HEADER, ROW))
    with pytest.raises(InputError, match="leave --parameters out"):
        read_points([path], None, "total")
    with pytest.raises(InputError, match="use --flops 6ND"):
        read_points([path], "exact")
    with pytest.raises(InputError, match=r"is a table and .* is none"):
        read_points([path, str(tmp_path)])
    with pytest.raises(InputError, match="nothing to fit"):
        read_points([])
    with pytest.raises(InputError, match="does not exist"):
        read_points([str(tmp_path / "none.csv")])
    (tmp_path / "latin.csv").write_bytes(b"family\xe9")
    with pytest.raises(InputError, match="UTF-8"):
        read_points([str(tmp_path / "latin.csv")])

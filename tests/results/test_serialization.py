"""Results survive the way to JSON and back; what is damaged is one clear line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from isodiff.errors import InputError, without_folders
from isodiff.serialization import IfAny, Said, from_json, read_result, to_json, write_result


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    value: float | None
    reason: IfAny[str] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    name: str
    power: Annotated[float, Field(alias="N^2/3")]
    parts: dict[str, Part]
    ends: tuple[float, float] | None = None


WHOLE = Whole(
    name="w", power=2.0, parts={"a": Part(value=None, reason="none"), "b": Part(value=1.5)}
)


def test_json_has_aliases_nulls_and_no_empty_reasons() -> None:
    assert to_json(WHOLE) == {
        "name": "w",
        "N^2/3": 2.0,
        "parts": {"a": {"value": None, "reason": "none"}, "b": {"value": 1.5}},
        "ends": None,
    }


def test_there_and_back(tmp_path: Path) -> None:
    write_result(tmp_path / "whole.json", WHOLE)
    assert read_result(Whole, tmp_path / "whole.json") == WHOLE


def test_results_by_name_have_a_checksum_each(tmp_path: Path) -> None:
    """So that who reads such a file finds results under all names."""
    file, both = tmp_path / "parts.json", {"a": Part(value=1.0), "b": Part(value=None)}
    write_result(file, both)
    assert read_result(dict[str, Part], file) == both
    text = file.read_text()
    assert set(json.loads(text)) == {"a", "b"}
    for old, new in (('"a"', '"c"'), ("1.0", "1.5")):
        file.write_text(text.replace(old, new))
        with pytest.raises(InputError, match=r"parts.json was altered: its checksum does not fit"):
            read_result(dict[str, Part], file)
    write_result(file, {})
    assert file.read_text() == "{}\n"
    assert read_result(dict[str, Part], file) == {}


def test_keys_of_later_versions_are_ignored() -> None:
    assert from_json(Whole, {**to_json(WHOLE), "later": 1}, "w.json") == WHOLE


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], r"w\.json: must be a mapping, got"),
        ({**to_json(WHOLE), "parts": {"a": {}}}, r"w\.json: parts\.a\.value is missing"),
        ({**to_json(WHOLE), "ends": [1.0]}, r"w\.json: ends"),
    ],
)
def test_damage_is_named(value: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_json(Whole, value, "w.json")


@dataclass(frozen=True, slots=True)
class Row:
    kind: Literal["exact", "bound"]
    nats: Annotated[float, Field(gt=0, allow_inf_nan=False)]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            {"kind": "exact", "nats": "-1"},
            "t.csv, line 2: nats must be more than 0, got '-1'",
        ),
        (
            {"kind": "exact", "nats": "x"},
            "t.csv, line 2: nats must be a number, got 'x'",
        ),
        (
            {"kind": "?", "nats": 1},
            "t.csv, line 2: kind must be one of 'exact', 'bound', got '?'",
        ),
        ({"kind": "exact"}, "t.csv, line 2: nats is missing"),
    ],
)
def test_what_is_wrong_is_said_with_what_stands_there(value: dict, said: str) -> None:
    with pytest.raises(InputError) as error:
        from_json(Row, value, "t.csv, line 2", mend="")
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/home/me/out/runs", "runs"),
        ("~/texts/a.txt", "a.txt"),
        ("no law in /home/me/out/runs: fit it", "no law in runs: fit it"),
        ("[Errno 13] Permission denied: '/srv/a/b.json'", "[Errno 13] Permission denied: 'b.json'"),
        ("gpt2:/home/me/vocab, hf:a/b", "gpt2:vocab, hf:a/b"),
        (f"{Path.cwd()}/some folder/a.txt", "some folder/a.txt"),
        ("/home/me/texts/", "texts/"),
        ("runs/demo and 3/4 of https://x.org/a/b", "runs/demo and 3/4 of https://x.org/a/b"),
    ],
)
def test_what_is_given_away_does_not_say_where_things_lie(text: str, said: str) -> None:
    assert without_folders(text) == said
    assert to_json(Told(why=text)) == {"why": said}


@dataclass(frozen=True, slots=True)
class Told:
    why: Said

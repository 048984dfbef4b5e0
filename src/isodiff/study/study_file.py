"""A study's YAML file: what is wrong with it, in one line."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from isodiff.bounds import first_wrong
from isodiff.errors import InputError, nearest, shown
from isodiff.network.shape import Backbone
from isodiff.runs.recipes import with_named_recipe
from isodiff.runs.spec import Recipe, Validation
from isodiff.study.study import Budget, CorpusSource, FrontierSettings, Sampling, Study
from isodiff.study.yaml_file import read_yaml


def read_study(path: Path) -> Study:
    """The study in a YAML file.

    Raises:
        InputError: not YAML, an unknown key (the nearest known one is offered), a missing or wrong value.
    """
    value = read_yaml(path)
    if not isinstance(value, dict):
        raise InputError(f"{path} must hold a mapping with name, corpus, families and budgets")
    try:
        return TypeAdapter(Study).validate_python(with_named_recipe(value))
    except ValidationError as error:
        raise InputError(f"{path}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    """The first problem of a validation, in one line; a misspelled key before the key it leaves missing."""
    strange = [p for p in error.errors() if p["type"] == "unexpected_keyword_argument"]
    if not strange:
        return re.sub(r"^recipe\[\d+\]", "recipe", first_wrong(error))
    *path, key = strange[0]["loc"]
    path = path[:1] if path[:1] == ["recipe"] else path
    known = _keys_at(path)
    place = ".".join(str(part) for part in path) or "the study"
    return (
        f"unknown key {shown(key)} in {place}{nearest(str(key), known)}; keys: {', '.join(known)}"
    )


_SECTIONS = {
    "corpus": CorpusSource,
    "budgets": Budget,
    "recipe": Recipe,
    "backbone": Backbone,
    "validation": Validation,
    "sampling": Sampling,
    "frontier": FrontierSettings,
}


def _keys_at(path: list[Any]) -> list[str]:
    """Known keys of the section that an error's location points to."""
    section = _SECTIONS.get(str(path[0]), Study) if path else Study
    return [f.name for f in dataclasses.fields(section)]

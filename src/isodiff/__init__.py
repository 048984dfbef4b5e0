"""isodiff: language-model families compared at matched compute.

The names below are loaded when first used, so `import isodiff` imports neither torch nor scipy. Verbs live in
their modules: `isodiff.train.loop.train`, `isodiff.evaluate.validation.evaluate`,
`isodiff.study.runner.run_study`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isodiff.data.corpora import prepare
    from isodiff.data.tokens import Corpus
    from isodiff.evaluate.likelihood import likelihood
    from isodiff.families import FAMILIES, Family, blank, sample
    from isodiff.network.shape import Backbone, Shape
    from isodiff.scaling.isoflop import fit_isoflop
    from isodiff.scaling.parametric import fit_parametric
    from isodiff.scaling.repeated import fit_repeated
    from isodiff.study.study import Study, read_study
    from isodiff.train.run import load
    from isodiff.train.spec import Recipe, RunSpec, Validation

PUBLIC = {
    "prepare": "isodiff.data.corpora",
    "Corpus": "isodiff.data.tokens",
    "likelihood": "isodiff.evaluate.likelihood",
    "FAMILIES": "isodiff.families",
    "Family": "isodiff.families",
    "blank": "isodiff.families",
    "sample": "isodiff.families",
    "Backbone": "isodiff.network.shape",
    "Shape": "isodiff.network.shape",
    "fit_isoflop": "isodiff.scaling.isoflop",
    "fit_parametric": "isodiff.scaling.parametric",
    "fit_repeated": "isodiff.scaling.repeated",
    "Study": "isodiff.study.study",
    "read_study": "isodiff.study.study",
    "load": "isodiff.train.run",
    "Recipe": "isodiff.train.spec",
    "RunSpec": "isodiff.train.spec",
    "Validation": "isodiff.train.spec",
}

__all__ = [
    "FAMILIES",
    "Backbone",
    "Corpus",
    "Family",
    "Recipe",
    "RunSpec",
    "Shape",
    "Study",
    "Validation",
    "blank",
    "fit_isoflop",
    "fit_parametric",
    "fit_repeated",
    "likelihood",
    "load",
    "prepare",
    "read_study",
    "sample",
]


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'isodiff' has no attribute {name!r}")
    return getattr(importlib.import_module(PUBLIC[name]), name)

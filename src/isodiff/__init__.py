"""isodiff: language-model families compared at matched compute.

The names below are loaded when first used, so `import isodiff` imports neither torch nor scipy. Verbs live in
their modules: `isodiff.train.loop.train`, `isodiff.runs.validation.evaluate`,
`isodiff.study.runner.run_study`.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # as typing's, which takes longer to import than everything here
if TYPE_CHECKING:
    from typing import Any

    from isodiff.data.corpora import prepare
    from isodiff.data.tokens import Corpus
    from isodiff.evaluate.likelihood import likelihood
    from isodiff.families import FAMILIES, Family, sample, undecided
    from isodiff.network.shape import Backbone, Shape
    from isodiff.runs.build import load
    from isodiff.runs.spec import Recipe, RunSpec, Validation
    from isodiff.scaling.laws.data_constrained import fit_data_constrained
    from isodiff.scaling.laws.isoflop import fit_isoflop
    from isodiff.scaling.laws.parametric import fit_parametric
    from isodiff.study.study import Study
    from isodiff.study.study_file import read_study

PUBLIC = {
    "prepare": "isodiff.data.corpora",
    "Corpus": "isodiff.data.tokens",
    "likelihood": "isodiff.evaluate.likelihood",
    "FAMILIES": "isodiff.families",
    "Family": "isodiff.families",
    "undecided": "isodiff.families",
    "sample": "isodiff.families",
    "Backbone": "isodiff.network.shape",
    "Shape": "isodiff.network.shape",
    "fit_isoflop": "isodiff.scaling.laws.isoflop",
    "fit_parametric": "isodiff.scaling.laws.parametric",
    "fit_data_constrained": "isodiff.scaling.laws.data_constrained",
    "Study": "isodiff.study.study",
    "read_study": "isodiff.study.study_file",
    "load": "isodiff.runs.build",
    "Recipe": "isodiff.runs.spec",
    "RunSpec": "isodiff.runs.spec",
    "Validation": "isodiff.runs.spec",
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
    "fit_data_constrained",
    "fit_isoflop",
    "fit_parametric",
    "likelihood",
    "load",
    "prepare",
    "read_study",
    "sample",
    "undecided",
]


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'isodiff' has no attribute {name!r}")
    return getattr(importlib.import_module(PUBLIC[name]), name)

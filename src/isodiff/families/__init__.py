"""Every module of this folder is a family or shared by families: importing the package registers all."""

from __future__ import annotations

import importlib
import pkgutil

from isodiff.families.base import FAMILIES, Family, Likelihood, family_named, undecided
from isodiff.families.sampling import sample, sample_trajectories

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "FAMILIES",
    "Family",
    "Likelihood",
    "family_named",
    "sample",
    "sample_trajectories",
    "undecided",
]

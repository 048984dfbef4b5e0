"""Scaling laws: points in, laws with intervals out. Numpy and scipy only, no torch."""

from isodiff.scaling.laws.data_constrained import DataConstrainedFit, fit_data_constrained
from isodiff.scaling.laws.isoflop import IsoflopFit, fit_isoflop
from isodiff.scaling.laws.parametric import ParametricFit, fit_parametric
from isodiff.scaling.point_sources import published_points, read_points
from isodiff.scaling.points import Point, Points, record_points
from isodiff.scaling.tables import table_points

__all__ = [
    "DataConstrainedFit",
    "IsoflopFit",
    "ParametricFit",
    "Point",
    "Points",
    "fit_data_constrained",
    "fit_isoflop",
    "fit_parametric",
    "published_points",
    "read_points",
    "record_points",
    "table_points",
]

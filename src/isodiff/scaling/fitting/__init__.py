"""Numerical methods of the fits."""

"""Measuring trained runs."""

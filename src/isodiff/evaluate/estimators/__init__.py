"""Estimators of likelihoods: what to ask a network about a text, and how sure the answer is."""

"""Training: a spec in, a record out."""

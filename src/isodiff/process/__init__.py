"""Forward noise: mathematics only."""

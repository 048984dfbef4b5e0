"""Other people's programs: lm-evaluation-harness (the extra `harness`), and their checkpoints."""

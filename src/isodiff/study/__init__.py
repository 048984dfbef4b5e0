"""Studies: families x budgets x sizes x seeds at matched compute. Torch lives in the workers only."""

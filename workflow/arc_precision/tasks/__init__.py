"""ARC tasks: grids, loading, augmentation, a small grid DSL and a task generator."""

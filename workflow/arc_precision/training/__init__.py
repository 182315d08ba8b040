"""GRPO runs: the trainer, the rewards of its completions, and the segments that a run is made of."""

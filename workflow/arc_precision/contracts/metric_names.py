"""Names of the metrics of an evaluated checkpoint; `evaluation.task_metrics` computes them."""

# A task counts as solved only if one and the same program is right on all its grids. A weaker score would let one #
# completion be right on the train pairs and another on the test pairs.
METRICS: dict[str, str] = {
    "pass@1": "Expected share of tasks solved by one completion: all train and test grids right, by one program.",
    "pass@k": "Chance that one of k completions or more solves the task; unbiased: 1 - C(n-c, k) / C(n, k) for c of n.",
    "solved_any": "Share of tasks that at least one completion solves. Grows with the number of completions.",
    "two_attempts": "Score of ARC Prize: two attempts per test grid, chosen by votes without knowing the answer.",
    "train_pass": "Share of completions that are right on every train pair.",
    "test_pass": "Share of completions that are right on every test pair.",
    "train_pixels": "Mean pixel score over train grids; 0 for a completion without valid grids.",
    "test_pixels": "Mean pixel score over test grids; 0 for a completion without valid grids.",
    "valid_share": "Share of completions whose program ran and gave valid grids.",
    "truncated_share": "Share of completions cut at the limit.",
    "completion_tokens": "Mean length of a completion, in tokens.",
    "tokens_per_task": "Tokens of all completions of a task together, prompts not counted.",
    "reward": "Mean reward that training would give.",
}


def powers_of_two(n: int) -> list[int]:
    """The k at which pass@k is given for n completions: 1, 2, 4, ... and n itself."""
    ks = [2**i for i in range(n.bit_length()) if 2**i <= n]
    return ks if n < 1 or ks[-1] == n else [*ks, n]


def metric_names(n_samples: int) -> list[str]:
    """The metrics that evaluation with so many completions per task has."""
    passes = [f"pass@{k}" for k in powers_of_two(n_samples)]
    return [*passes, *(name for name in METRICS if not name.startswith("pass@"))]

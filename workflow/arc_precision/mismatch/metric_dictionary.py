"""The scalars of `mismatch_metrics`: what each says, its formula, and what is healthy.

The tables of `docs/metrics.md` are generated from `METRICS` by

    PYTHONPATH=workflow python -m arc_precision.mismatch.metric_dictionary docs/metrics.md

In the formulas d = logp_trainer - logp_sampler per token, r = exp(d), D = the sum of d over a sequence of n tokens and
R = exp(D); m is the mask.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

ESS_SEQUENCES = 30  # of fewer an effective sample size says little: of B sequences it is at least 1 / B
BAND = (0.9, 1.1)
SEQUENCE_RATIO_CAP = 3.0  # TRL's default: its `sequence_mask` correction drops sequences above this ratio


@dataclass(frozen=True)
class Metric:
    """One entry of the dictionary. `healthy` is the range that `source` publishes, or the value for engines that
    agree."""

    key: str
    meaning: str
    formula: str
    direction: str
    unit: str
    healthy: str
    source: str


METRICS: tuple[Metric, ...] = (
    Metric("token_count", "tokens the mask selects", "Σ m", "-", "tokens", "-", "-"),
    Metric("sequence_count", "sequences with at least one such token", "Σ_b [Σ_t m > 0]", "-", "sequences", "-", "-"),
    Metric(
        "nonfinite_count",
        "tokens whose d is not finite; left out of the token metrics",
        "Σ m [d not finite]",
        "lower is better",
        "tokens",
        "0",
        "-",
    ),
    Metric(
        "nonfinite_sequence_count",
        "sequences that hold such a token; left out of the sequence metrics",
        "Σ_b [any d not finite]",
        "lower is better",
        "sequences",
        "0",
        "-",
    ),
    Metric("logp_diff_abs_mean", "mean absolute difference", "mean |d|", "lower is better", "nats", "-", "TRL, slime"),
    Metric("logp_diff_std", "spread of the difference", "std d", "lower is better", "nats", "-", "-"),
    Metric(
        "logp_diff_abs_p95",
        "95th percentile of the absolute difference",
        "p95 |d|",
        "lower is better",
        "nats",
        "-",
        "-",
    ),
    Metric("logp_diff_abs_max", "largest absolute difference", "max |d|", "lower is better", "nats", "-", "TRL"),
    Metric(
        "kl_sampler_trainer_k1",
        "KL(sampler‖trainer), unbiased and noisy; may be negative",
        "mean(-d)",
        "near 0",
        "nats",
        "abs. value below 0.1",
        "verl `kl`",
    ),
    Metric(
        "kl_sampler_trainer_k2",
        "KL(sampler‖trainer), second order, never negative",
        "mean(d²/2)",
        "lower is better",
        "nats²",
        "-",
        "oat `kl_sample_train_v2`",
    ),
    Metric(
        "kl_sampler_trainer_k3",
        "KL(sampler‖trainer), unbiased and never negative; the one to read",
        "mean(exp d - d - 1)",
        "lower is better",
        "nats",
        "below 1e-3",
        "verl `k3_kl`; threshold NeMo-RL",
    ),
    Metric("is_ratio_mean", "mean importance ratio", "mean r", "near 1", "ratio", "0.5 to 2", "verl `rollout_is_mean`"),
    Metric("is_ratio_std", "its spread", "std r", "lower is better", "ratio", "below 1", "verl `rollout_is_std`"),
    Metric("is_ratio_min", "its smallest value", "min r", "near 1", "ratio", "-", "verl `rollout_is_min`"),
    Metric("is_ratio_max", "its largest value", "max r", "near 1", "ratio", "-", "verl `rollout_is_max`"),
    Metric(
        "is_ratio_frac_outside_band",
        f"share of tokens whose ratio lies outside [{BAND[0]}, {BAND[1]}]",
        f"mean [r < {BAND[0]} or r > {BAND[1]}]",
        "lower is better",
        "share",
        "-",
        "-",
    ),
    Metric(
        "chi2_token",
        "χ²(trainer‖sampler) of tokens",
        "mean r² - 1",
        "near 0",
        "-",
        "below 1",
        "verl `chi2_token`",
    ),
    Metric(
        "ess_token",
        "effective sample size of tokens, as a share",
        "(mean r)² / mean r²",
        "higher is better",
        "share",
        "above 0.5, alert below 0.3",
        "verl `rollout_is_eff_sample_size`",
    ),
    Metric(
        "probs_pearson",
        "Pearson correlation of the two probabilities over tokens",
        "corr(p_trainer, p_sampler)",
        "higher is better",
        "-",
        "near 1",
        "verl `rollout_actor_probs_pearson_corr`, MiniMax-M1 (arXiv 2506.13585)",
    ),
    Metric(
        "token_mult_prob_error",
        "mean multiplicative error of a probability",
        "mean exp|d|",
        "near 1",
        "ratio",
        "below 1.05; a rising trend is the alarm",
        "NeMo-RL `token_mult_prob_error`",
    ),
    Metric(
        "seq_log_ratio_mean", "mean log-ratio of whole sequences", "mean D", "near 0", "nats", "-", "slime, TRL (sum)"
    ),
    Metric("seq_log_ratio_std", "its spread", "std D", "lower is better", "nats", "-", "-"),
    Metric("seq_log_ratio_min", "its smallest value", "min D", "near 0", "nats", "-", "-"),
    Metric("seq_log_ratio_max", "its largest value", "max D", "near 0", "nats", "-", "-"),
    Metric(
        "ess_seq",
        "effective sample size of sequences, as a share",
        "(mean R)² / mean R²",
        "higher is better",
        "share",
        f"above 0.5, alert below 0.3, of {ESS_SEQUENCES} sequences or more",
        "as `ess_token`, with R",
    ),
    Metric(
        "chi2_seq",
        "χ²(trainer‖sampler) of sequences, with ratios scaled to a mean of 1: never negative",
        "mean R² / (mean R)² - 1 = 1 / `ess_seq` - 1",
        "near 0",
        "-",
        "-",
        "verl `chi2_seq`, scaled",
    ),
    Metric(
        "seq_log_sum_ratio", "logarithm of the sum of sequences' ratios: pools steps", "ln Σ R", "-", "nats", "-", "-"
    ),
    Metric(
        "seq_log_sum_ratio_sq", "logarithm of the sum of their squares: pools steps", "ln Σ R²", "-", "nats", "-", "-"
    ),
    Metric(
        "seq_frac_masked",
        f"share of sequences whose ratio is above {SEQUENCE_RATIO_CAP:g}: what TRL's default correction would drop",
        f"mean [R > {SEQUENCE_RATIO_CAP:g}]",
        "lower is better",
        "share",
        "0",
        "TRL `sequence_mask`",
    ),
    Metric(
        "ppl_ratio",
        "perplexity of the trainer over that of the sampler, per sequence",
        "mean exp(-D / n)",
        "near 1",
        "ratio",
        "-",
        "verl `ppl_ratio`",
    ),
    Metric(
        "log_ppl_abs_diff",
        "absolute difference of log-perplexity, per sequence",
        "mean |D / n|",
        "lower is better",
        "nats",
        "-",
        "verl `log_ppl_abs_diff`",
    ),
)


def metrics_table() -> str:
    """The dictionary as a Markdown table."""
    lines = [
        "| name | what it is | formula | direction | unit | healthy | source |",
        "|---|---|---|---|---|---|---|",
    ]
    for m in METRICS:
        cells = (f"`{m.key}`", m.meaning, m.formula, m.direction, m.unit, m.healthy, m.source)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def with_metrics_table(document: str) -> str:
    """`document` with the current table between its two table markers."""
    head, _, rest = document.partition("<!-- metrics: begin -->\n")
    _, _, tail = rest.partition("<!-- metrics: end -->")
    return f"{head}<!-- metrics: begin -->\n{metrics_table()}\n<!-- metrics: end -->{tail}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_metrics_table(path.read_text(encoding="utf-8")), encoding="utf-8")

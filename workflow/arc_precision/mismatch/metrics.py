"""Mismatch metrics: how far apart trainer and sampler are on the same tokens.

`mismatch_metrics` gives every scalar at once and is cheap enough for every optimizer step; `by_position` and
`by_probability_decile` give the two profiles shown once per checkpoint. `metric_dictionary` says what the scalars mean.

The metrics describe the sampler's and the trainer's own probabilities: give them log-probs from before any
importance-sampling correction, truncation or masking.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from arc_precision.mismatch.metric_dictionary import BAND, METRICS, SEQUENCE_RATIO_CAP

Logps = np.ndarray  # float, (batch, tokens): natural log-probability of each completion token
Mask = np.ndarray  # bool or 0/1, (batch, tokens): true where a token counts; what lies elsewhere is never read

# Log-ratios are clamped to +-20 before exp, as verl does (`SAFETY_BOUND`), so that exp stays finite. Effective sample
# sizes need no clamp: they do not depend on the scale of the weights.
LOG_CLAMP = 20.0


def mismatch_metrics(logp_trainer: Logps, logp_sampler: Logps, mask: Mask) -> dict[str, float]:
    """Every metric of `METRICS`, in its order.

    Arrays have shape (batch, tokens). With d = logp_trainer - logp_sampler per token, r = exp(d), D = the sum of d over
    a sequence of n tokens and R = exp(D). Standard deviations are of the population (ddof 0). Computed in float64.

    A token whose log-prob is not finite in either engine cannot enter a mean: it is counted in `nonfinite_count`, and
    its sequence in `nonfinite_sequence_count`. A metric that is undefined (no tokens; Pearson of constant
    probabilities) is NaN.

    Raises ValueError if the shapes differ.
    """
    trainer, sampler, mask = _checked(logp_trainer, logp_sampler, mask)
    d_all = np.where(mask, _difference(trainer, sampler), 0.0)
    finite = np.isfinite(d_all)
    token = mask & finite
    d = d_all[token]

    lengths = mask.sum(axis=1)
    sequence = (lengths > 0) & finite.all(axis=1)
    seq_d = d_all[sequence].sum(axis=1)
    log_ppl_diff = -seq_d / lengths[sequence]

    metrics = dict.fromkeys((metric.key for metric in METRICS), np.nan)
    metrics |= {
        "token_count": mask.sum(),
        "sequence_count": (lengths > 0).sum(),
        "nonfinite_count": (mask & ~finite).sum(),
        "nonfinite_sequence_count": (~finite).any(axis=1).sum(),
    }
    if d.size > 0:
        r = _exp(d)
        abs_d = np.abs(d)
        metrics |= {
            "logp_diff_abs_mean": abs_d.mean(),
            "logp_diff_std": d.std(),
            "logp_diff_abs_p95": np.quantile(abs_d, 0.95),
            "logp_diff_abs_max": abs_d.max(),
            "kl_sampler_trainer_k1": -d.mean(),
            "kl_sampler_trainer_k2": 0.5 * np.square(d).mean(),
            # expm1, because exp(d) - 1 loses its digits at the |d| ~ 1e-6 of float32; its last bit can fall below d.
            "kl_sampler_trainer_k3": np.maximum(np.expm1(_clamp(d)) - d, 0.0).mean(),
            "is_ratio_mean": r.mean(),
            "is_ratio_std": r.std(),
            "is_ratio_min": r.min(),
            "is_ratio_max": r.max(),
            "is_ratio_frac_outside_band": ((r < BAND[0]) | (r > BAND[1])).mean(),
            "chi2_token": np.square(r).mean() - 1.0,
            "ess_token": effective_share(*_log_sums(d), d.size),
            "probs_pearson": _pearson(np.exp(trainer[token]), np.exp(sampler[token])),
            "token_mult_prob_error": _exp(abs_d).mean(),
        }
    if seq_d.size > 0:
        seq_r = _exp(seq_d)
        log_sum, log_sum_sq = _log_sums(seq_d)
        ess = effective_share(log_sum, log_sum_sq, seq_d.size)
        metrics |= {
            "seq_log_ratio_mean": seq_d.mean(),
            "seq_log_ratio_std": seq_d.std(),
            "seq_log_ratio_min": seq_d.min(),
            "seq_log_ratio_max": seq_d.max(),
            "ess_seq": ess,
            "chi2_seq": 1 / ess - 1,
            "seq_log_sum_ratio": log_sum,
            "seq_log_sum_ratio_sq": log_sum_sq,
            "seq_frac_masked": (seq_r > SEQUENCE_RATIO_CAP).mean(),
            "ppl_ratio": _exp(log_ppl_diff).mean(),
            "log_ppl_abs_diff": np.abs(log_ppl_diff).mean(),
        }
    return {key: float(value) for key, value in metrics.items()}


def effective_share(log_sum: ArrayLike, log_sum_sq: ArrayLike, count: ArrayLike) -> np.ndarray:
    """Effective sample size of importance weights as a share of their number: (mean R)² / mean R² (Kish 1965).

    From ln Σ R, ln Σ R² and the count; of any shape. It does not depend on the weights' scale. Sums and
    counts of several steps add up, `logsumexp` of the logarithms, to the value of all of them together.
    """
    return np.minimum(np.exp(2 * np.asarray(log_sum) - log_sum_sq - np.log(count)), 1.0)


def step_design_effect(mean: ArrayLike, std: ArrayLike, count: ArrayLike) -> float:
    """How many times larger the variance of a step's mean D is than if its sequences erred independently (Kish 1965).

    From mean and standard deviation of D (population) and the number of sequences, each (steps,), of steps in order. 1:
    the errors of a step's sequences average out; as many as a step has sequences: all move together. With a correlation
    ρ between the D of a step's B sequences it is 1 + (B - 1) ρ. What the mean does slowly, over many steps, is no error
    that a step's sequences share: so the variance of the means is that of successive differences (von Neumann 1941).
    Steps with a value that is not finite or with fewer than two sequences are left out. NaN with fewer than two steps,
    or where D does not vary within them.
    """
    mean, std, count = (np.asarray(values, dtype=float) for values in (mean, std, count))
    known = np.isfinite(mean) & np.isfinite(std) & (count > 1)
    mean, count, within = mean[known], count[known], np.square(std[known]) * count[known] / (count[known] - 1)
    of_mean = within / count
    expected = (of_mean[1:] + of_mean[:-1]).sum()
    if not expected > 0:
        return float("nan")
    ratio = np.square(np.diff(mean)).sum() / expected
    return float(ratio / (1 + (ratio - 1) / count.mean()))


def by_position(logp_trainer: Logps, logp_sampler: Logps, mask: Mask, bin_tokens: int = 64) -> pd.DataFrame:
    """The mismatch along the completion: one row per `bin_tokens` columns of the (batch, tokens) arrays.

    Columns: `position_from` and `position_to` (half-open, in tokens from the start of the completion) and those of
    `_profile`.
    """
    trainer, sampler, mask = _checked(logp_trainer, logp_sampler, mask)
    bins = np.broadcast_to(np.arange(mask.shape[1]) // bin_tokens, mask.shape)
    bin_count = -(-mask.shape[1] // bin_tokens)
    profile = _profile(_difference(trainer[mask], sampler[mask]), bins[mask], bin_count)
    start = profile.index.to_numpy() * bin_tokens
    profile.insert(0, "position_from", start)
    profile.insert(1, "position_to", np.minimum(start + bin_tokens, mask.shape[1]))
    return profile


def by_probability_decile(logp_trainer: Logps, logp_sampler: Logps, mask: Mask) -> pd.DataFrame:
    """The mismatch by how likely the token was: one row per tenth of the range of probability.

    Fixed tenths, so that a row means the same in every arm. A token is placed by the geometric mean of its two
    probabilities: placed by one engine's own, noise alone would show a slope, as the place and d would hold the same
    error (Bland and Altman, 1986). A NaN stands in the first row. Columns: `probability_from`, `probability_to` and
    those of `_profile`.
    """
    trainer, sampler, mask = _checked(logp_trainer, logp_sampler, mask)
    trainer, sampler = trainer[mask], sampler[mask]
    probability = np.nan_to_num(np.exp((trainer + sampler) / 2), nan=0.0)
    profile = _profile(_difference(trainer, sampler), np.clip(probability * 10, 0, 9).astype(int), 10)
    profile.insert(0, "probability_from", profile.index.to_numpy() / 10)
    profile.insert(1, "probability_to", (profile.index.to_numpy() + 1) / 10)
    return profile


def _checked(logp_trainer: Logps, logp_sampler: Logps, mask: Mask) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    trainer = np.asarray(logp_trainer, dtype=np.float64)
    sampler = np.asarray(logp_sampler, dtype=np.float64)
    mask = np.asarray(mask).astype(bool)
    if not trainer.shape == sampler.shape == mask.shape or mask.ndim != 2:
        raise ValueError(
            f"logp_trainer {trainer.shape}, logp_sampler {sampler.shape} and mask {mask.shape} must have one and the "
            "same shape (batch, tokens)."
        )
    return trainer, sampler, mask


def _difference(trainer: np.ndarray, sampler: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, and is counted as not finite
        return trainer - sampler


def _clamp(x: np.ndarray) -> np.ndarray:
    return np.clip(x, -LOG_CLAMP, LOG_CLAMP)


def _exp(x: np.ndarray) -> np.ndarray:
    return np.exp(_clamp(x))


def _log_sums(log_ratios: np.ndarray) -> tuple[float, float]:
    """ln of the sum of the ratios and of their squares, from their logarithms."""
    return logsumexp(log_ratios), logsumexp(2 * log_ratios)


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    if x.std() == 0 or y.std() == 0:
        return float("nan")
    return np.corrcoef(x, y)[0, 1]


def _profile(d: np.ndarray, bins: np.ndarray, bin_count: int) -> pd.DataFrame:
    """d (tokens,) summarised per bin: `token_count`, `nonfinite_count` (left out of the rest), `logp_diff_mean`
    (signed), `logp_diff_std`, `logp_diff_abs_mean`, `logp_diff_abs_p95`. Empty bins have a count of 0 and NaN."""
    finite = np.isfinite(d)
    frame = pd.DataFrame({"bin": bins, "d": np.where(finite, d, np.nan), "abs_d": np.where(finite, np.abs(d), np.nan)})
    groups = frame.groupby("bin")
    profile = pd.DataFrame(
        {
            "token_count": groups.size(),
            "nonfinite_count": groups["d"].apply(lambda values: values.isna().sum()),
            "logp_diff_mean": groups["d"].mean(),
            "logp_diff_std": groups["d"].std(ddof=0),
            "logp_diff_abs_mean": groups["abs_d"].mean(),
            "logp_diff_abs_p95": groups["abs_d"].quantile(0.95),
        }
    ).reindex(range(bin_count))
    counts = ["token_count", "nonfinite_count"]
    profile[counts] = profile[counts].fillna(0).astype(int)
    return profile

"""The mismatch split by cause.

*Observed causes.* The same tokens are scored under several settings, from the trainer as it trains to the sampler as it
sampled. Each cause is a switch that changes one coordinate of the setting. Throwing the switches one after the other
leads from one end to the other, and the differences between neighbours add up to d:

    d = logp_trainer - logp_sampler = d_1 + ... + d_k,    d_i = logp before switch i - logp after it

The share of a cause is Cov(d_i, d) / Var(d). Shares sum to 1; a negative one belongs to a cause that cancels others.

*Order.* The size of a difference depends on the place of its switch in the order. Other orders lead through other
settings: with the engine first, for instance, the two engines are compared in half precision, and both roundings are
then those of one engine. Every order whose settings were scored is computed, with two restrictions. The roundings keep
their stated order, because all of them set the number format. If a side is in float32, and so rounds nothing, only the
stated order is computed, because the other side's rounding is that of its own engine. "Reversed" is the order farthest
from the stated one: it disagrees with it on the most pairs of switches, and of several such orders it is the last
enumerated. If the shares move little between orders, the attribution is sound. If they move, the causes interact, and
the range of the shares says how strongly.

*Counterfactual causes* were not in effect, or stand outside the chain. The amount that each would add to d is measured
by itself (`counterfactual_table`); for truncation and penalties it is computed from full float32 logits
(`processing.processed_logprobs`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from arc_precision.mismatch.metrics import Logps, Mask
from arc_precision.mismatch.number_format import EXACT, with_float32_head

# Log-probs are rounded to this grid (9e-13 nats; float32 itself resolves 6e-8 at one nat). On a common grid float64
# subtracts and adds without rounding below 4,096 nats, so a chain sums to d to the last bit, in any order of addition.
GRID_NATS = 2.0**-40


class Setting(NamedTuple):
    """The setting under which a log-prob was computed."""

    engine: Literal["trainer", "sampler"]
    dtype: str  # a number format by name
    adapter: Literal["applied", "merged"]  # LoRA beside the base model, or merged into its weights
    phase: Literal["prefill", "decode"]  # all tokens at once, or one at a time over the KV cache
    storage: Literal["plain", "float8"] = "plain"  # of weights, or of keys and values


@dataclass(frozen=True)
class Cause:
    """A switch, which sets one coordinate of a `Setting` to a value."""

    name: str
    coordinate: str
    value: str


def observed_causes(
    trainer_dtype: str,
    sampler_dtype: str,
    merged: bool | None,
    head_apart: bool = False,
    float8: bool = False,
) -> tuple[Setting, tuple[Cause, ...]]:
    """The setting the trainer computes in, and the causes, in the stated order, that lead to the sampled log-probs.

    Args:
        trainer_dtype, sampler_dtype: number formats by name.
        merged: whether the run sampled from merged weights; None without an adapter.
        head_apart: whether the rounding of a head is a cause of its own, and not part of its side's rounding.
        float8: whether the sampler had weights, or keys and values, in float8.

    Decoding comes last, because its log-probs exist only as the run sampled.
    """
    exact_heads = with_float32_head(trainer_dtype), with_float32_head(sampler_dtype)
    causes = [
        (head_apart and trainer_dtype != exact_heads[0], Cause("trainer_head", "dtype", exact_heads[0])),
        (True, Cause("trainer_rounding", "dtype", EXACT)),
        (True, Cause("engine", "engine", "sampler")),
        (True, Cause("sampler_rounding", "dtype", exact_heads[1] if head_apart else sampler_dtype)),
        (head_apart and sampler_dtype != exact_heads[1], Cause("sampler_head", "dtype", sampler_dtype)),
        (float8, Cause("float8", "storage", "float8")),
        (merged, Cause("merge", "adapter", "merged")),
        (True, Cause("decode", "phase", "decode")),
    ]
    start = Setting("trainer", trainer_dtype, "applied", "prefill")
    return start, tuple(cause for there, cause in causes if there)


def settings_along(start: Setting, order: Sequence[Cause]) -> list[Setting]:
    """The settings passed through when the switches are thrown in this order; one more than there are causes."""
    settings = [start]
    for cause in order:
        settings.append(settings[-1]._replace(**{cause.coordinate: cause.value}))
    return settings


def available_orders(
    scored: Mapping[Setting, Logps], start: Setting, causes: Sequence[Cause]
) -> list[tuple[Cause, ...]]:
    """The orders of `causes` that pass through scored settings only, all roundings in the stated order.

    The module's docstring lists the restrictions. The stated order comes first, the order that disagrees with it on the
    most pairs last. Raises ValueError if a setting of the stated order is missing.
    """
    stated = settings_along(start, causes)
    missing = [setting for setting in stated if setting not in scored]
    if missing:
        raise ValueError(f"No log-probs were scored for {missing[0]}; the chain needs {stated}.")
    if EXACT in (start.dtype, stated[-1].dtype):
        return [tuple(causes)]
    rank = {cause: i for i, cause in enumerate(causes)}

    def disagreements(order: Sequence[Cause]) -> int:
        return sum(rank[a] > rank[b] for a, b in combinations(order, 2))

    def roundings(order: Sequence[Cause]) -> list[Cause]:
        return [cause for cause in order if cause.coordinate == "dtype"]

    orders = [
        order
        for order in permutations(causes)
        if not disagreements(roundings(order)) and all(setting in scored for setting in settings_along(start, order))
    ]
    return sorted(orders, key=disagreements)


def chain_steps(scored: Mapping[Setting, Logps], start: Setting, order: Sequence[Cause], mask: Mask) -> pd.DataFrame:
    """d per token and its parts: one row per token of the mask, in row-major order, a column per cause, in nats.

    The columns of a row sum to its d exactly (see `GRID_NATS`). Log-probs and mask have shape (batch, tokens).
    """
    mask = np.asarray(mask).astype(bool)
    on_grid = [
        np.round(np.asarray(scored[setting], dtype=np.float64)[mask] / GRID_NATS) * GRID_NATS
        for setting in settings_along(start, order)
    ]
    with np.errstate(invalid="ignore"):  # inf - inf is NaN
        return pd.DataFrame({c.name: on_grid[i] - on_grid[i + 1] for i, c in enumerate(order)})


def shares_of_variance(steps: pd.DataFrame) -> pd.Series:
    """Cov(d_i, d) / Var(d) per cause, where d is the sum of a row; they sum to 1. NaN if d does not vary."""
    d = steps.sum(axis=1)
    variance = d.var(ddof=0)
    if not variance > 0:
        return pd.Series(np.nan, index=steps.columns)
    return (steps - steps.mean()).mul(d - d.mean(), axis=0).mean() / variance


def cause_table(scored: Mapping[Setting, Logps], start: Setting, causes: Sequence[Cause], mask: Mask) -> pd.DataFrame:
    """The observed causes: one row per cause in the stated order, then `total`, which is d itself.

    Columns: `mean` (signed) and `mean_abs` in nats, and the share of variance: `share` in the stated order,
    `share_reversed` (NaN if no other order was scored), `share_lowest` and `share_highest` over the available orders,
    of which there are `order_count`. Tokens whose log-prob is not finite in some setting are left out and counted in
    `nonfinite_count`; `token_count` has all.
    """
    orders = available_orders(scored, start, causes)
    every = [chain_steps(scored, start, order, mask) for order in orders]
    finite = np.logical_and.reduce([np.isfinite(steps).all(axis=1) for steps in every])
    stated = every[0][finite]
    shares = pd.DataFrame([shares_of_variance(steps[finite]) for steps in every])
    table = pd.DataFrame(
        {
            "mean": stated.mean(),
            "mean_abs": stated.abs().mean(),
            "share": shares.iloc[0],
            "share_reversed": shares.iloc[-1] if len(orders) > 1 else np.nan,
            "share_lowest": shares.min(),
            "share_highest": shares.max(),
        }
    ).loc[[cause.name for cause in causes]]
    d = stated.sum(axis=1)
    table.loc["total"] = [d.mean(), d.abs().mean(), *table.iloc[:, 2:4].sum(min_count=1), np.nan, np.nan]
    return table.assign(order_count=len(orders), token_count=finite.size, nonfinite_count=int((~finite).sum()))


def counterfactual_table(
    logp_trainer: Logps, logp_sampler: Logps, alternatives: Mapping[str, tuple[Logps, Logps]], mask: Mask
) -> pd.DataFrame:
    """The amounts that changes of the sampler would add to d: one row per alternative.

    `alternatives` maps a name to the sampler's log-probs of the same tokens (without, with) the change; both come from
    one engine and dtype, so that they differ in nothing else. All arrays have shape (batch, tokens). The shift of d is
    `without - with`, as d is trainer minus sampler. Columns: `shift_mean`, `shift_abs_mean`, `shift_abs_max` in nats;
    `share`, the share of variance the change would have in the new d, Cov(shift, d + shift) / Var(d + shift); and
    `never_drawn_count`, tokens that the change makes impossible, such as those outside top_p's nucleus: their shift is
    infinite, so they are counted instead.
    """
    mask = np.asarray(mask).astype(bool)
    d = np.asarray(logp_trainer, dtype=np.float64)[mask] - np.asarray(logp_sampler, dtype=np.float64)[mask]
    rows = {}
    for name, (without, with_change) in alternatives.items():
        after = np.asarray(with_change, dtype=np.float64)[mask]
        drawn = after > -np.inf
        shift = np.asarray(without, dtype=np.float64)[mask][drawn] - after[drawn]
        rows[name] = {
            "shift_mean": shift.mean(),
            "shift_abs_mean": np.abs(shift).mean(),
            "shift_abs_max": np.abs(shift).max(),
            "share": shares_of_variance(pd.DataFrame({"shift": shift, "d": d[drawn]}))["shift"],
            "token_count": mask.sum(),
            "never_drawn_count": (~drawn).sum(),
        }
    return pd.DataFrame.from_dict(rows, orient="index")

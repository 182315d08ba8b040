"""The audited checkpoints: causes of the mismatch, counterfactuals, and profiles over a completion."""

from collections.abc import Callable

import pandas as pd

from arc_precision.contracts.audit_files import read_chain
from arc_precision.contracts.layout import BASE, Checkpoint
from arc_precision.report.results import Results
from arc_precision.report.schema import AuditedStep, CauseRow, CounterfactualRow, ProfileRow

_SUMS = ("token_count", "never_drawn_count")
_EXTREMES: dict[str, Callable] = {
    "share_lowest": pd.Series.min,
    "share_highest": pd.Series.max,
    "in_effect": pd.Series.any,
}


def audited_steps(results: Results, arms: list[str]) -> list[AuditedStep]:
    """Every audited step of every arm, its seeds together, from the chain.json of each (contracts.audit_files)."""
    chains = {checkpoint: read_chain(path) for checkpoint, path in results.chains.items()}
    order = [BASE, *arms]
    steps = sorted(
        {(arm, c.step) for c in chains for arm in order if c.arm == arm}, key=lambda s: (s[1], order.index(s[0]))
    )
    return [_audited_step(arm, step, chains) for arm, step in steps]


def _audited_step(arm: str, step: int, chains: dict[Checkpoint, dict]) -> AuditedStep:
    ours = [chain for checkpoint, chain in chains.items() if (checkpoint.arm, checkpoint.step) == (arm, step)]
    return AuditedStep(
        arm=arm,
        step=step,
        n_seeds=len(ours),
        causes=[CauseRow(**row) for row in _together(ours, "causes", "cause", CauseRow)],
        counterfactuals=[
            CounterfactualRow(**row) for row in _together(ours, "counterfactuals", "name", CounterfactualRow)
        ],
        orders=ours[0]["orders"],
        metrics=_means(ours, "metrics"),
        noise_floor=_means(ours, "noise_floor"),
        by_position=_profile(ours, "by_position", "position"),
        by_probability=_profile(ours, "by_probability_decile", "probability"),
    )


def _means(chains: list[dict], key: str) -> dict[str, float]:
    return pd.DataFrame([chain[key] for chain in chains], dtype=float).mean().to_dict()


def _together(chains: list[dict], table: str, key: str, model) -> list[dict]:
    """Rows of a table, one per value of `key`, over all seeds."""
    rows = pd.DataFrame([row for chain in chains for row in chain[table]])
    if rows.empty:
        return []
    columns = [name for name in model.model_fields if name != key and name in rows]
    grouped = rows.groupby(key, sort=False)[columns]
    return grouped.agg({name: _how(name) for name in columns}).reset_index().to_dict("records")


def _how(column: str) -> Callable:
    return pd.Series.sum if column in _SUMS else _EXTREMES.get(column, pd.Series.mean)


def _profile(chains: list[dict], table: str, what: str) -> list[ProfileRow]:
    """Rows of a profile, one per bin, over all seeds."""
    renamed = [
        {table: [row | {"from": row[f"{what}_from"], "to": row[f"{what}_to"]} for row in chain[table]]}
        for chain in chains
    ]
    return [ProfileRow(**row) for row in _together(renamed, table, "from", ProfileRow)]

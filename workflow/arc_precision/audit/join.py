"""The audited log-probs of a checkpoint joined: causes, counterfactuals, metrics and profiles."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from arc_precision.config.audit import AuditJoinSlice, Processing
from arc_precision.contracts.audit_files import AUDIT, CHAIN_SCHEMA_VERSION, batch_variant
from arc_precision.contracts.numbers import or_null
from arc_precision.contracts.parquet import read_rows
from arc_precision.mismatch.chain import (
    GRID_NATS,
    Cause,
    Setting,
    available_orders,
    cause_table,
    chain_steps,
    counterfactual_table,
    observed_causes,
    settings_along,
)
from arc_precision.mismatch.metrics import Logps, Mask, by_position, by_probability_decile, mismatch_metrics
from arc_precision.mismatch.number_format import EXACT, number_format, with_float32_head


def chain(slice: AuditJoinSlice, files: Iterable[Path]) -> dict[str, Any]:
    """The contents of `chain.json`, as `contracts.audit_files` describes them, from the audit's Parquet files.

    Raises:
        ValueError: the files do not hold the same completions, or lack a setting that the chain needs.
        ArithmeticError: the chain does not sum to d; that is a fault of the program.
    """
    scored, mask = read_scored(files)
    plain = {setting: logps for (setting, variant), logps in scored.items() if not variant}
    start, causes = _causes(slice)
    table = cause_table(plain, start, causes, mask)
    orders = available_orders(plain, start, causes)
    for order in orders:
        check_sum(plain, start, order, mask)
    trainer, sampler = plain[start], plain[settings_along(start, causes)[-1]]
    return {
        "schema_version": CHAIN_SCHEMA_VERSION,
        "trainer_dtype": slice.trainer_dtype,
        "sampler_dtype": slice.sampler_dtype,
        "trainer_head": slice.trainer_head,
        "sampler_head": slice.sampler_head,
        "float8": slice.float8,
        "merged": slice.merged,
        "sampling": slice.in_effect.model_dump(),
        "metrics": _numbers(mismatch_metrics(trainer, sampler, mask)),
        "causes": _records(table.rename_axis("cause").reset_index()),
        "orders": [[cause.name for cause in order] for order in orders],
        "counterfactuals": _records(counterfactuals(slice, scored, mask).rename_axis("name").reset_index()),
        "noise_floor": _numbers(mismatch_metrics(trainer, scored[start, batch_variant(slice.other_batch_size)], mask)),
        "by_position": _records(by_position(trainer, sampler, mask)),
        "by_probability_decile": _records(by_probability_decile(trainer, sampler, mask)),
    }


def read_scored(files: Iterable[Path]) -> tuple[dict[tuple[Setting, str], Logps], Mask]:
    """Log-probs (completions, tokens) by setting and variant, and their mask, from the audit's files.

    Raises:
        ValueError: a file scores other completions than the first.
    """
    logprobs: dict[tuple[Setting, str], dict[tuple[str, int], list[float]]] = {}
    tokens: dict[tuple[str, int], list[int]] = {}
    for path in files:
        for row in read_rows(path, AUDIT):
            key = row["row_id"], row["sample"]
            if tokens.setdefault(key, row["token_ids"]) != row["token_ids"]:
                raise ValueError(f"{path}: row {key[0]}, sample {key[1]} has other tokens than in the files before it")
            logprobs.setdefault((Setting(*row["setting"].split("/")), row["variant"]), {})[key] = row["logprobs"]
    lengths = [len(ids) for ids in tokens.values()]
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    scored = {}
    for name, values in logprobs.items():
        if values.keys() != tokens.keys():
            raise ValueError(f"{'/'.join(name[0])} {name[1]}: {len(values)} of {len(tokens)} completions are scored")
        scored[name] = np.zeros(mask.shape)
        scored[name][mask] = np.concatenate([values[key] for key in tokens])
    return scored, mask


def check_sum(scored: Mapping[Setting, Logps], start: Setting, order: tuple[Cause, ...], mask: Mask) -> None:
    """Raise ArithmeticError unless the steps of an order sum to d, token by token and to the last bit.

    d is computed from the log-probs on the grid of `chain_steps`. Tokens with log-probs that are not finite are
    skipped.
    """
    first, last = (scored[setting][mask] for setting in (start, settings_along(start, order)[-1]))
    d = (np.round(first / GRID_NATS) - np.round(last / GRID_NATS)) * GRID_NATS
    total = chain_steps(scored, start, order, mask).sum(axis=1, skipna=False).to_numpy()
    wrong = np.isfinite(total) & (total != d)
    if wrong.any():
        token, names = int(wrong.argmax()), [cause.name for cause in order]
        raise ArithmeticError(f"the chain {names} sums to {total[token]} at token {token}, where d is {d[token]}")


def counterfactuals(slice: AuditJoinSlice, scored: Mapping[tuple[Setting, str], Logps], mask: Mask) -> pd.DataFrame:
    """The rows of `counterfactual_table`, and whether each was in effect.

    They are compared with d as it is without any processing of logits. If the arm's sampler processes logits, the
    effect of the processing, computed in float32, is subtracted from its log-probs.
    """
    start, causes = _causes(slice)
    drawn = settings_along(start, causes)[-1]
    prefill = drawn._replace(phase="prefill")
    exact = Setting("trainer", EXACT, "applied", "prefill")
    unprocessed = scored[exact, Processing().name]
    alternatives = {
        batch_variant(slice.other_batch_size): (
            scored[prefill, ""],
            scored[prefill, batch_variant(slice.other_batch_size)],
        )
    }
    if slice.merged is False and not slice.float8:
        alternatives["merged adapter"] = scored[prefill, ""], scored[prefill._replace(adapter="merged"), ""]
    if any(cause.name.endswith("_head") for cause in causes):
        # Both sides change. As d is their difference, the trainer's change can be charged to the sampler.
        rounded = Setting("sampler", drawn.dtype, "applied", "prefill")
        trainer, sampler = (scored[side._replace(dtype=with_float32_head(side.dtype)), ""] for side in (start, rounded))
        alternatives["float32 heads"] = scored[rounded, ""] + trainer - scored[start, ""], sampler
    for processing in slice.processings:
        alternatives[processing.name] = unprocessed, scored[exact, processing.name]
    sampler = scored[drawn, ""]
    if slice.in_effect != Processing():
        # A token just outside float32's nucleus may have been drawn in another dtype.
        kept = np.isfinite(scored[exact, slice.in_effect.name])
        mask = mask & kept
        sampler = np.where(kept, sampler + unprocessed - scored[exact, slice.in_effect.name], 0.0)
    table = counterfactual_table(scored[start, ""], sampler, alternatives, mask)
    table.insert(0, "in_effect", [name == slice.in_effect.name for name in table.index])
    return table


def _causes(slice: AuditJoinSlice) -> tuple[Setting, tuple[Cause, ...]]:
    trainer = number_format(slice.trainer_dtype, slice.trainer_head)
    sampler = number_format(slice.sampler_dtype, slice.sampler_head)
    return observed_causes(trainer, sampler, slice.merged, slice.head_apart, slice.float8)


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: or_null(value) for key, value in values.items()}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [_numbers(row) for row in table.to_dict("records")]

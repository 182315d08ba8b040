"""The audit's files for a checkpoint, in `audit/<arm>/seed-<s>/step-<n>/`.

`draw.parquet`, `trainer.<format>.parquet` and `sampler.<format>.<adapter>.parquet` hold the log-probs of the same
completions, one file per engine, in the columns of `AUDIT`; formats are named as in `mismatch.number_format`.
`chain.json` joins them. Its keys:

    schema_version          CHAIN_SCHEMA_VERSION
    trainer_dtype, sampler_dtype, trainer_head, sampler_head, float8, merged     the arm, as audited; merged is null
                            without an adapter
    sampling                the sampler's processing of the logits: {repetition_penalty, top_k, top_p}
    metrics                 {every key of mismatch.metric_dictionary.METRICS: number or null}, trainer as it trains
                            against the sampler as it sampled
    causes                  list, one row per observed cause in the stated order, then `total`, which is d itself:
                            cause, mean, mean_abs, share, share_reversed, share_lowest, share_highest, order_count,
                            token_count, nonfinite_count            (mismatch.chain.cause_table)
    orders                  list of lists of cause names: the stated order first, the one called reversed last
    counterfactuals         list, one row per change of the sampler:
                            name, in_effect, shift_mean, shift_abs_mean, shift_abs_max, share, token_count,
                            never_drawn_count                       (mismatch.chain.counterfactual_table)
                            Names: `merged adapter` (where the run applies one, and not in float8),
                            `batch size <n>`, `float32 heads` (with audit.head and a head that rounds: float32 on both
                            sides), and such as `top_p 0.95`. `in_effect` is true if this arm samples so: then the row
                            has the amount added to d, otherwise the amount that would be added to a d without any
                            such processing.
    noise_floor             {keys as in metrics}, the trainer against itself with the other batch size
    by_position             list of rows of mismatch.metrics.by_position
    by_probability_decile   list of rows of mismatch.metrics.by_probability_decile

Numbers that are undefined are null.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa

from arc_precision.contracts.parquet import contract
from arc_precision.contracts.whole import read_object

AUDIT = contract(
    3,
    {
        "row_id": (pa.string(), "Row of the task file."),
        "sample": (pa.int32(), "Number of the completion."),
        "setting": (
            pa.string(),
            "engine/format/adapter/phase/storage, such as sampler/float16/applied/prefill/plain.",
        ),
        "variant": (pa.string(), "Empty; or what else was changed, such as `batch size 3` or `top_p 0.95`."),
        "token_ids": (pa.list_(pa.int32()), "The completion's tokens."),
        "logprobs": (pa.list_(pa.float64()), "Log-probability of each token under the setting, in nats."),
    },
)

CHAIN_SCHEMA_VERSION = 2
CHAIN = (
    *("schema_version", "trainer_dtype", "sampler_dtype", "trainer_head", "sampler_head", "float8", "merged"),
    *(
        "sampling",
        "metrics",
        "causes",
        "orders",
        "counterfactuals",
        "noise_floor",
        "by_position",
        "by_probability_decile",
    ),
)


def read_chain(path: Path) -> dict[str, Any]:
    """A chain.json.

    Raises:
        DamagedFile: it is not whole.
    """
    return read_object(path, CHAIN_SCHEMA_VERSION, CHAIN)


def setting_name(
    engine: str, form: str, adapter: str = "applied", phase: str = "prefill", storage: str = "plain"
) -> str:
    """A `mismatch.chain.Setting` as the column `setting` has it."""
    return "/".join((engine, form, adapter, phase, storage))


def batch_variant(batch_size: int) -> str:
    """Scoring with another batch size as the column `variant` has it."""
    return f"batch size {batch_size}"

"""audit/**/<engine>.parquet: log-probs of the audited tokens under one engine setting; chain.json joins them."""

import pyarrow as pa

from arc_precision.contracts.parquet import contract

AUDIT = contract(
    1,
    {
        "row_id": (pa.string(), "Row of the task file."),
        "sample": (pa.int32(), "Number of the completion."),
        "setting": (pa.string(), "Engine setting, such as trainer/float16 or sampler/float16/prefill."),
        "token_ids": (pa.list_(pa.int32()), "The completion's tokens."),
        "logprobs": (pa.list_(pa.float64()), "Log-probability of each token under the setting, in nats."),
    },
)

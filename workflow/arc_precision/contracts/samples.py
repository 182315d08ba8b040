"""samples/**/*.parquet: one completion per row."""

import pyarrow as pa

from arc_precision.contracts.parquet import contract

SAMPLES = contract(
    1,
    {
        "row_id": (pa.string(), "Row of the task file."),
        "sample": (pa.int32(), "Number of the completion, from 0."),
        "completion": (pa.string(), "Its text, special tokens left out."),
        "token_ids": (pa.list_(pa.int32()), "Its tokens, the end token included."),
        "logprobs": (pa.list_(pa.float32()), "The sampler's log-probability of each token, in nats."),
        "truncated": (pa.bool_(), "Cut at max_completion_tokens."),
    },
)

"""The effect of truncation and penalties on log-probs, from full logits.

vLLM's prompt log-probs skip the processors of sampling, so their effect on given tokens is computed here.
"""

import numpy as np


def processed_logprobs(
    logits: np.ndarray,
    token_ids: np.ndarray,
    context_ids: np.ndarray,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    repetition_penalty: float = 1.0,
) -> np.ndarray:
    """The log-probs (T,) with which a vLLM sampler with these settings draws `token_ids`, from full logits.

    `logits` (T, V) are the raw ones, float32, before each of the T completion tokens `token_ids`; `context_ids` (P,) is
    the prompt. The order is vLLM's: repetition penalty (positive logits of tokens in prompt or completion so far are
    divided by it, negative ones multiplied), temperature, top_k (0 is off), top_p among the remaining tokens. A removed
    token has log-prob -inf. The computation is in float64, so a token exactly at the edge of a nucleus may be kept here
    and removed in vLLM's float32, or the reverse.

    Raises ValueError if temperature is not above 0 (greedy decoding has no log-probs to speak of).
    """
    if not temperature > 0:
        raise ValueError(f"temperature: {temperature} has no distribution; write a number above 0.")
    seen = np.zeros(logits.shape[1], dtype=bool)
    seen[context_ids] = True
    processed = np.empty(len(token_ids))
    for t, token in enumerate(token_ids):
        row = logits[t].astype(np.float64)
        penalised = np.where(row > 0, row / repetition_penalty, row * repetition_penalty)
        row = np.where(seen, penalised, row) / temperature
        kept = _truncated(row, top_k, top_p)
        largest = kept.max()
        log_normaliser = largest + np.log(np.exp(kept - largest).sum())
        processed[t] = row[token] - log_normaliser if row[token] >= kept.min() else -np.inf
        seen[token] = True
    return processed


def _truncated(row: np.ndarray, top_k: int, top_p: float) -> np.ndarray:
    """The logits of a row (V,) that top_k and top_p keep, in any order."""
    kept = row
    if top_k > 0:
        kept = row[row >= np.partition(row, -min(top_k, row.size))[-min(top_k, row.size)]]
    if top_p < 1:
        probabilities = np.exp(kept - kept.max())
        limit = (1 - top_p) * probabilities.sum()
        # Tokens below a V-th of the limit sum to less than the limit and all go; only the few others need sorting.
        candidates = probabilities >= limit / kept.size
        order = np.argsort(probabilities[candidates])
        sums = probabilities[~candidates].sum() + np.cumsum(probabilities[candidates][order])
        removed = min((sums <= limit).sum(), order.size - 1)
        kept = kept[candidates][order[removed:]]
    return kept

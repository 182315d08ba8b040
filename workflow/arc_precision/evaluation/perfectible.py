"""The perfectible set: tasks that the base model solves sometimes, neither never nor always (arXiv 2510.26788)."""

from pathlib import Path

from arc_precision.config.data import PerfectibleSlice
from arc_precision.evaluation.drawing import CHUNK_PROMPTS, draw
from arc_precision.evaluation.scoring import score_rows
from arc_precision.sampling.engines import Sampler


def keep_perfectible(
    sampler: Sampler, model_path: Path, rows: list[dict], slice: PerfectibleSlice, workers: int
) -> tuple[list[dict], dict[str, float]]:
    """Rows whose share of solved completions lies in the band, in order; and the share of every row that was tried.

    Stops at the first chunk after which enough rows are kept.
    """
    band = slice.perfectible
    kept: list[dict] = []
    rates: dict[str, float] = {}
    for first in range(0, len(rows), CHUNK_PROMPTS):
        chunk = rows[first : first + CHUNK_PROMPTS]
        samples = [
            row for batch in draw(sampler, model_path, chunk, band.n_samples, band.seed + first) for row in batch
        ]
        by_id = {row["row_id"]: row for row in chunk}
        solved = dict.fromkeys(by_id, 0)
        for score in score_rows(by_id, samples, "arc-v2-no-pixel-score", slice.sandbox, workers, slice.thinking):
            solved[score["row_id"]] += score["solved"]
        rates |= {row_id: count / band.n_samples for row_id, count in solved.items()}
        kept += [row for row in chunk if band.min_rate <= rates[row["row_id"]] <= band.max_rate]
        if band.n_tasks and len(kept) >= band.n_tasks:
            return kept[: band.n_tasks], rates
    return kept, rates

"""The model card of a warmed-up model: its training examples, its loss, and its score on new tasks."""

from typing import Any

from arc_precision.svg import COLORS, Axis, Figure

CARD = """# {name}, warmed up on tasks and their programs

| | |
|---|---|
| Parameters | {parameters:,} |
| Tasks | {learnt:,} learnt from, {passes:.2f} times each; {dropped:,} dropped as too long |
| Completions learnt, tokens | {completion_tokens[mean]:.0f} on average, 95th percentile {completion_tokens[p95]:.0f} |
| Prompts, tokens | {prompt_tokens[mean]:.0f} on average |
| Steps | {steps:,} in {seconds_training:.0f} seconds on {device} |
| Loss, nats per token | {loss_first:.3f} at first, {loss_last:.3f} at the end, {held_out_loss:.3f} on held-out tasks |

![Loss](../{loss_figure})

## What it solves

{n_before} new tasks of the generator, {n_samples} completions each at temperature 1, through the sampler and sandbox of
training. A completion solves a task when its program gives every grid. In parentheses the standard error over tasks.

| | before | after |
|---|---|---|
{rows}

Files: `metrics.json` has every figure of the training, `SHA256SUMS` tells the weights apart.
"""

ROWS = {
    "solved": "solved, share of completions",
    "solved_sometimes_share": "tasks solved sometimes, neither never nor always",
    "valid_share": "valid programs, share of completions",
    "completion_tokens_mean": "length of a completion, tokens",
    "truncated_share": "cut off, share of completions",
}


def card(name: str, metrics: dict[str, Any], before: dict[str, Any], after: dict[str, Any], loss_figure: str) -> str:
    """The card in Markdown.

    Args:
        name: Of the model that was started from.
        metrics: Content of `metrics.json`.
        before: Trial of that model.
        after: Trial of the warmed-up one.
        loss_figure: Path of the loss's figure, from the folder above the model's.
    """
    rows = [f"| {text} | {_cell(before, key)} | {_cell(after, key)} |" for key, text in ROWS.items()]
    return CARD.format(
        **metrics | {"dropped": sum(metrics["dropped"].values())},
        name=name,
        learnt=metrics["tasks"] - metrics["held_out_tasks"],
        n_before=before["tasks"],
        n_samples=before["n_samples"],
        rows="\n".join(rows),
        loss_figure=loss_figure,
    )


def _cell(trial: dict[str, Any], key: str) -> str:
    if key == "solved":
        return f"{trial['solved_share']:.3f} ({trial['solved_share_standard_error']:.3f})"
    return f"{trial[key]:.0f}" if key == "completion_tokens_mean" else f"{trial[key]:.3f}"


def loss_figure(history: list[dict[str, Any]]) -> str:
    """The loss of the training by step, as SVG."""
    steps, losses = [line["step"] for line in history], [line["loss"] for line in history]
    figure = Figure("Loss", Axis("step", 0, max(steps)), Axis("loss, nats per token", 0, 1.05 * max(losses)))
    figure.line(steps, losses, COLORS[0])
    return figure.svg()

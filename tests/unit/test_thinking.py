"""Programs behind the thinking part, in evaluation and in training."""

import pytest

from arc_precision.config.sandbox import SandboxConfig
from arc_precision.config.thinking import Thinking
from arc_precision.evaluation.scoring import score_rows
from arc_precision.sandbox import extract_program
from arc_precision.tasks.grids import Pair, Task, grid_from_json
from arc_precision.training.scoring import Scorer

TAGS = Thinking()
RIGHT, WRONG = (f"\n```python\ndef transform(grid):\n    return {what}\n```\n" for what in ("grid[::-1]", "grid"))
PROGRAM = "def transform(grid):\n    return grid[::-1]"
HOLDS = {
    "behind": (f"<think>\n{WRONG}\n</think>\n{RIGHT}", ""),
    "nothing thought": (RIGHT, ""),
    "empty part": (f"<think>\n\n</think>\n\n{RIGHT}", ""),
    "begun by the prompt": (f"{WRONG}</think>{RIGHT}", "Q<think>\n"),
    "twice": (f"<think>{WRONG}</think>{WRONG}<think>{WRONG}</think>{RIGHT}", ""),
    "named in the question": (RIGHT, "Write <think> first."),
}
HOLDS_NONE = {
    "unclosed": (f"<think>\n{RIGHT}", ""),
    "unclosed, begun by the prompt": (RIGHT, "Q<think>\n"),
    "unclosed the second time": (f"<think>a</think>{RIGHT}<think>{RIGHT}", ""),
    "nothing behind": (f"<think>{RIGHT}</think>", ""),
}


@pytest.mark.parametrize(("completion", "prompt"), HOLDS.values(), ids=HOLDS)
def test_the_program_behind_the_thinking_part_is_taken(completion, prompt):
    assert extract_program(completion, TAGS, prompt) == PROGRAM


@pytest.mark.parametrize(("completion", "prompt"), HOLDS_NONE.values(), ids=HOLDS_NONE)
def test_within_the_thinking_part_there_is_no_program(completion, prompt):
    assert extract_program(completion, TAGS, prompt) is None
    assert extract_program(completion) == PROGRAM  # without the setting tags are any text


def test_other_tags():
    tags = Thinking(open="[T]", close="[/T]")
    assert extract_program(f"[T]{WRONG}[/T]{RIGHT}", tags) == PROGRAM
    assert extract_program(f"[T]{RIGHT}", tags) is None
    assert extract_program(f"<think>{RIGHT}", tags) == PROGRAM


def test_evaluation_and_training_take_the_same_programs():
    cases = [*HOLDS.values(), *HOLDS_NONE.values()]
    pair = {"input": [[1], [2]], "output": [[2], [1]]}
    names = [f"row-{number}" for number in range(len(cases))]
    rows = {
        name: {
            "row_id": name,
            "task_id": "t",
            "train": [pair],
            "test": [pair],
            "prompt": prompt,
            "seen_in_training": None,
        }
        for name, (_, prompt) in zip(names, cases, strict=True)
    }
    samples = [
        {"row_id": name, "sample": 0, "completion": completion, "token_ids": [1], "truncated": False}
        for name, (completion, _) in zip(names, cases, strict=True)
    ]
    sandbox = SandboxConfig(min_level="none")
    scored = list(score_rows(rows, samples, "arc-v2-no-pixel-score", sandbox, 1, TAGS))
    assert [row["solved"] for row in scored] == [True] * len(HOLDS) + [False] * len(HOLDS_NONE)
    assert {row["verdict"] for row in scored[len(HOLDS) :]} == {"no_program"}

    grids = Pair(grid_from_json(pair["input"]), grid_from_json(pair["output"]))
    task, prompts = Task("t", (grids,), (grids,)), {name: row["prompt"] for name, row in rows.items()}
    scorer = Scorer(dict.fromkeys(names, task), "arc-v2-no-pixel-score", sandbox, 1, TAGS, prompts)
    assert scorer.start(names, [completion for completion, _ in cases])() == [row["reward"] for row in scored]
    scorer.close()

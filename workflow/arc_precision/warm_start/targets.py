"""The answer that a model should learn for a prompt: predicted grids, then the program."""

from arc_precision.config.warm_start import TargetConfig
from arc_precision.prompts import PromptFormat, grid_text
from arc_precision.tasks.grids import Task


def target_text(style: TargetConfig, prompt_format: PromptFormat, task: Task, program: str) -> str:
    """The completion for the task's first test input.

    Args:
        style: The form of the text before the program.
        prompt_format: Gives the words of the grids.
        task: As the prompt shows it.
        program: In its fence.
    """
    parts = [
        f"Output of example {number}:\n{grid_text(prompt_format, pair.output)}\n\n"
        for number, pair in enumerate(task.train[: style.train_outputs], start=1)
    ]
    if style.test_output:
        parts.append(f"Output of the test example:\n{grid_text(prompt_format, task.test[0].output)}\n\n")
    return "".join([*parts, program])

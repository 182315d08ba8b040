"""From completions to verdicts on their programs."""

from collections.abc import Iterator, Sequence

from arc_precision.config.sandbox import SandboxConfig
from arc_precision.config.thinking import Thinking
from arc_precision.sandbox import Limits, Verdict, extract_program, run_each_once
from arc_precision.sandbox.reuse import Run
from arc_precision.tasks.grids import Task


def limits_of(sandbox: SandboxConfig) -> Limits:
    """The configured limits on one program."""
    return Limits(sandbox.cpu_s, sandbox.wall_s, sandbox.memory_mb, sandbox.max_side)


def judged(
    run: Run,
    completions: Sequence[str],
    tasks: Sequence[Task],
    thinking: Thinking | None = None,
    prompts: Sequence[str] | None = None,
) -> Iterator[tuple[str | None, Verdict, bool]]:
    """For each completion, in order: its program, the verdict on it, and whether the verdict comes from an equal
    program.

    Args:
        run: runs programs in the sandbox, such as `Sandbox.run`.
        tasks: of each completion; the program runs on the inputs of all pairs.
        thinking: no program is taken from inside the thinking part.
        prompts: of each completion; needed with `thinking`.
    """
    before = prompts or [""] * len(completions)
    programs = [extract_program(text, thinking, prompt) for text, prompt in zip(completions, before, strict=True)]
    grids = [[pair.input for pair in task.pairs] for task in tasks]
    verdicts = run_each_once(run, programs, grids)
    return ((program, *found) for program, found in zip(programs, verdicts, strict=True))

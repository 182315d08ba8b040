"""Tasks as prompts: the tiny model's own format, and BARC's chat."""

from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedTokenizerBase

from arc_precision.tasks.grids import Grid, Task

PromptFormat = Literal["dsl", "barc"]

COLOR_NAMES = ("Black", "Blue", "Red", "Green", "Yellow", "Gray", "Pink", "Orange", "Purple", "Brown")

SYSTEM = (
    "You are a world-class puzzle solver, and you know Python programming by heart. "
    "You find the rule behind a puzzle and provide Python solutions."
)
_INSTRUCTION = (
    "Each example below shows an input grid and the output grid that one hidden rule makes of it. "
    "Grids are 2D arrays written as strings: cells are colors separated by spaces, rows are separated by newlines.\n"
    "Here are the input and output grids for the reference examples:\n"
)
_TEST = "Here is the input grid for the test example:\n"
_REQUEST = (
    "\n\nWrite a Python function `transform` that can convert any given input grid to its output grid "
    "by the rule that the reference examples follow."
)
PREFILL = (
    "Let's solve this puzzle using Python code with the common library functions. "
    "We think about the rule first, and then write the function `transform`, which takes the input grid and returns "
    "the output grid. Here is the Python code with the comments describing how to solve the problem:\n"
)


def render(prompt_format: PromptFormat, task: Task, test_index: int, tokenizer: PreTrainedTokenizerBase) -> str:
    """The prompt for a task, all train pairs and one test input, with every special token written out.

    Count its tokens with `tokenizer(text, add_special_tokens=False)`.

    Raises:
        ValueError: the format is a chat and the tokenizer has no chat template.
    """
    if prompt_format == "dsl":
        from arc_precision.tasks.tokenizer import render_prompt

        return render_prompt(task, test_index)
    return chat_prompt(barc_question(task, test_index), tokenizer)


def barc_question(task: Task, test_index: int) -> str:
    """The user's turn of BARC's chat."""
    examples = "".join(
        f"Example {i}\nInput:\n{grid_text(pair.input)}\n\nOutput:\n{grid_text(pair.output)}\n\n"
        for i, pair in enumerate(task.train, start=1)
    )
    return _INSTRUCTION + examples + _TEST + grid_text(task.test[test_index].input) + _REQUEST


def grid_text(grid: Grid) -> str:
    """A grid in colour names, cells separated by spaces and rows by newlines."""
    return "\n".join(" ".join(COLOR_NAMES[cell] for cell in row) for row in grid.tolist())


def chat_prompt(question: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """System, user and the beginning of the assistant's turn, which the model goes on from."""
    if tokenizer.chat_template is None:
        raise ValueError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template, which prompt format 'barc' needs; "
            "use the model's instruction-tuned tokenizer, or write 'dsl' for the embedded model"
        )
    messages = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": question},
        {"role": "assistant", "content": PREFILL},
    ]
    return tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=True)


@dataclass(frozen=True)
class PromptWriter:
    """Writes prompts of one format for one model."""

    prompt_format: PromptFormat
    tokenizer: PreTrainedTokenizerBase
    max_prompt_tokens: int

    def __call__(self, task: Task, test_index: int) -> tuple[str, int]:
        """The prompt's text and its length in tokens, which may be more than `max_prompt_tokens`.

        The `dsl` format shows fewer pairs where all of them are too long. BARC's chat always shows all of them, as the
        models that read it were trained.
        """
        shown = task
        if self.prompt_format == "dsl":
            from arc_precision.tasks import tokenizer as tiny

            shown = tiny.fit_prompt(task, test_index, self.max_prompt_tokens) or _smallest_pairs(task, 2)
        text = render(self.prompt_format, shown, test_index, self.tokenizer)
        return text, len(self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids)


def _smallest_pairs(task: Task, n: int) -> Task:
    by_size = sorted(task.train, key=lambda pair: pair.input.size + pair.output.size)
    return Task(task.task_id, tuple(by_size[:n]), task.test)

"""Tasks as prompts: the tiny model's own format, and BARC's chat."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from arc_precision.chat import MARK, chat_prompt
from arc_precision.tasks.grids import MAX_SIDE, N_COLORS, Grid, Pair, Task

if TYPE_CHECKING:  # seconds of imports that a process without a tokenizer does not need
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

PromptFormat = Literal["dsl", "barc"]

MAX_CHAT_PAIRS = 99

COLOR_NAMES = ("Black", "Blue", "Red", "Green", "Yellow", "Gray", "Pink", "Orange", "Purple", "Brown")

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


def render(prompt_format: PromptFormat, task: Task, test_index: int, tokenizer: "PreTrainedTokenizerBase") -> str:
    """The prompt for a task, all train pairs and one test input, with every special token written out.

    Count its tokens with `tokenizer(text, add_special_tokens=False)`.

    Raises:
        ValueError: the format is a chat and the tokenizer has no chat template.
    """
    if prompt_format == "dsl":
        from arc_precision.language.tokenizer import render_prompt

        return render_prompt(task, test_index)
    return chat_prompt(barc_question(task, test_index), tokenizer)


def barc_question(task: Task, test_index: int) -> str:
    """The user's turn of BARC's chat."""
    return _question(_texts(_words(_shown_grids(task, test_index))))


def grid_text(prompt_format: PromptFormat, grid: Grid) -> str:
    """A grid as the prompts of this format write it, without a newline at its end."""
    if prompt_format == "dsl":
        return "\n".join("".join(map(str, row)) for row in grid.tolist())
    return _texts(_words([grid]))[0]


def _shown_grids(task: Task, test_index: int) -> list[Grid]:
    """Input and output of each train pair, and the test input."""
    return [grid for pair in task.train for grid in (pair.input, pair.output)] + [task.test[test_index].input]


def _question(grids: list[str]) -> str:
    examples = "".join(
        [
            f"Example {i}\nInput:\n{shown}\n\nOutput:\n{answer}\n\n"
            for i, (shown, answer) in enumerate(zip(grids[:-1:2], grids[1::2], strict=True), start=1)
        ]
    )
    return _INSTRUCTION + examples + _TEST + grids[-1] + _REQUEST


# A grid's text is a sequence of words, one per cell: the name of its colour after the end of a row, for a row's first
# cell, or after a space. Eight bytes hold every word, so numpy looks up all words of all grids at once.
_ROW_START = N_COLORS
_GRID_END = 2 * N_COLORS
_GRID_END_TEXT = "\f"
_WORDS = np.array([f"{sign}{name}".encode() for sign in " \n" for name in COLOR_NAMES] + [_GRID_END_TEXT], dtype="S8")


def _words(grids: list[Grid]) -> np.ndarray:
    """The grids as indices into `_WORDS`, a grid's end after each: uint8 (cells + grids,)."""
    end = bytes([_GRID_END])
    cells = np.frombuffer(b"".join([grid.tobytes() + end for grid in grids]), dtype=np.uint8)
    return cells + np.concatenate([_row_starts(*grid.shape) for grid in grids])


@cache
def _row_starts(height: int, width: int) -> np.ndarray:
    """What is added to the first cell of each row; uint8 (height * width + 1,)."""
    starts = np.zeros(height * width + 1, dtype=np.uint8)
    starts[: height * width : width] = _ROW_START
    return starts


def _texts(words: np.ndarray) -> list[str]:
    """Each grid in colour names, cells separated by spaces and rows by newlines."""
    text = _WORDS.view(np.uint64).take(words).tobytes().translate(None, b"\0").decode()
    return [grid[1:] for grid in text.split(_GRID_END_TEXT)[:-1]]


# ------------------------------------------------------------------------------------------------ text and length


class WritePrompt(Protocol):
    """Makes prompts of one format for one model."""

    def __call__(self, task: Task, test_index: int) -> tuple[str, int]:
        """The prompt's text and its length in tokens, which may be more than the model is to read.

        The `dsl` format shows few pairs, and fewer where they are too long. BARC's chat always shows all of them, as
        the models that read it were trained.
        """


def prompt_writer(
    prompt_format: PromptFormat, tokenizer: "PreTrainedTokenizerBase", max_prompt_tokens: int
) -> WritePrompt:
    """The fastest writer that gives exactly what the tokenizer gives.

    Tokenizing a prompt takes many times longer than all else that is done to a task. A grid is written in so few words
    that its tokens can be counted without; that the tokenizer counts the same is tried first.

    Raises:
        ValueError: as `render`.
    """
    exact = TokenizedPrompts(prompt_format, tokenizer, max_prompt_tokens)
    fast = DslPrompts(max_prompt_tokens) if prompt_format == "dsl" else CountedChat.measure(exact)
    if fast is not None and all(fast(task, 0) == exact(task, 0) for task in _trial_tasks()):
        return fast
    logger.info("The tokenizer does not treat each cell of a grid alone; counting tokens will take long.")
    return exact


def _trial_tasks() -> Iterator[Task]:
    """Every colour at every corner of every grid, and large grids in all numbers of pairs that are usual."""
    rng = np.random.default_rng(0)
    for color in range(N_COLORS):
        yield _task([np.full((1, 1), color, dtype=np.int8)] * 3)
    for n_pairs in range(1, 11):
        sides = rng.integers(1, MAX_SIDE + 1, size=(2 * n_pairs + 1, 2))
        yield _task([rng.integers(0, N_COLORS, size=side, dtype=np.int8) for side in sides])


def _task(grids: list[Grid]) -> Task:
    """A task that shows these grids."""
    train = tuple(map(Pair, grids[:-1:2], grids[1::2]))
    return Task("trial", train, (Pair(grids[-1], grids[-1]),))


@dataclass(frozen=True)
class TokenizedPrompts:
    """Counts tokens with the tokenizer."""

    prompt_format: PromptFormat
    tokenizer: "PreTrainedTokenizerBase"
    max_prompt_tokens: int

    def __call__(self, task: Task, test_index: int) -> tuple[str, int]:
        """See `WritePrompt`."""
        shown = _shown_by_dsl(task, test_index, self.max_prompt_tokens) if self.prompt_format == "dsl" else task
        text = render(self.prompt_format, shown, test_index, self.tokenizer)
        return text, len(self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids)


@dataclass(frozen=True)
class DslPrompts:
    """Counts the embedded model's tokens by the format's own formula."""

    max_prompt_tokens: int

    def __call__(self, task: Task, test_index: int) -> tuple[str, int]:
        """See `WritePrompt`."""
        from arc_precision.language.tokenizer import count_prompt_tokens, render_prompt

        shown = _shown_by_dsl(task, test_index, self.max_prompt_tokens)
        return render_prompt(shown, test_index), count_prompt_tokens(shown, test_index)


def _shown_by_dsl(task: Task, test_index: int, max_prompt_tokens: int) -> Task:
    from arc_precision.language.tokenizer import fit_prompt

    by_size = sorted(task.train, key=lambda pair: pair.input.size + pair.output.size)
    return fit_prompt(task, test_index, max_prompt_tokens) or Task(task.task_id, tuple(by_size[:2]), task.test)


@dataclass(frozen=True)
class CountedChat:
    """Counts the tokens of BARC's chat by adding up words.

    That is exact for a tokenizer that splits text into words before anything else: it gives a cell the same tokens
    wherever it stands, but for whether a space or the end of a row comes before it.
    """

    before: str
    """What the chat template puts before the user's turn."""
    after: str
    """What it puts after."""
    word_tokens: np.ndarray
    """Tokens of each of `_WORDS`: int64 (21,)."""
    other_tokens: tuple[int, ...]
    """Tokens of all but the grids' words, by number of train pairs."""

    def __call__(self, task: Task, test_index: int) -> tuple[str, int]:
        """See `WritePrompt`.

        Raises:
            ValueError: the task has more than `MAX_CHAT_PAIRS` train pairs.
        """
        n_pairs = len(task.train)
        if n_pairs > MAX_CHAT_PAIRS:
            raise ValueError(f"task {task.task_id}: {n_pairs} train pairs; a prompt holds {MAX_CHAT_PAIRS} at most")
        words = _words(_shown_grids(task, test_index))
        n_tokens = self.other_tokens[n_pairs] + int(self.word_tokens.take(words).sum())
        return self.before + _question(_texts(words)) + self.after, n_tokens

    @classmethod
    def measure(cls, exact: TokenizedPrompts) -> "CountedChat | None":
        """Count words by the difference that they make to a prompt; None if it depends on the word before."""

        def tokens(*test_input: list[int], n_pairs: int = 1) -> int:
            black = np.zeros((1, 1), dtype=np.int8)
            return exact(_task([black] * 2 * n_pairs + [np.array(test_input, dtype=np.int8)]), 0)[1]

        alone = tokens([0])
        after_space = [tokens([0, color]) - alone for color in range(N_COLORS)]
        after_row = [tokens([0], [color]) - alone for color in range(N_COLORS)]
        for one, other in product(range(N_COLORS), repeat=2):
            first = alone + after_row[one] - after_row[0]
            if tokens([one, other]) != first + after_space[other] or tokens([one], [other]) != first + after_row[other]:
                return None
        # A grid of one black cell counts as black after the end of a row; what is too much in that is taken off here.
        others = [tokens([0], n_pairs=n) - (2 * n + 1) * after_row[0] for n in range(MAX_CHAT_PAIRS + 1)]
        before, _, after = chat_prompt(MARK, exact.tokenizer).partition(MARK)
        return cls(before, after, np.array([*after_space, *after_row, 0]), tuple(others))

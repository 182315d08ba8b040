"""Prompts for a model: a task through a template of `resources/prompts`, and the chat template of the model."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Protocol

import numpy as np

from arc_precision.chat import chat_prompt
from arc_precision.prompt_templates import Chat, ShownTask, load_template, task_of_grids, trial_task
from arc_precision.tasks.grids import MAX_SIDE, N_COLORS, Grid, Task
from arc_precision.tasks.writing import COLOR_NAMES as COLOR_NAMES
from arc_precision.tasks.writing import WRITINGS, words

if TYPE_CHECKING:  # imports of several seconds, which a process without a tokenizer avoids
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

PromptFormat = str
"""The name of a template that comes with the workflow, or the path of another."""

MAX_CHAT_PAIRS = 99

_MARK = "(question)"
"""Stands for any question while the text around it is measured."""


def render(prompt_format: PromptFormat, task: Task, test_index: int, tokenizer: "PreTrainedTokenizerBase") -> str:
    """The prompt for a task, all train pairs and one test input, with every special token written out.

    Count its tokens with `tokenizer(text, add_special_tokens=False)`.

    Raises:
        ValueError: the template fails, or it is a chat and the tokenizer's chat template cannot hold it.
    """
    template = load_template(prompt_format)
    said = template.render(ShownTask(task, test_index))
    return said if isinstance(said, str) else chat_prompt(said, tokenizer, template.name)


def barc_question(task: Task, test_index: int) -> str:
    """The user's turn of BARC's chat."""
    return load_template("barc").render(ShownTask(task, test_index)).user


def grid_text(prompt_format: PromptFormat, grid: Grid) -> str:
    """A grid as the prompts of this format write it, without a newline at its end."""
    return WRITINGS[load_template(prompt_format).writing].texts([grid])[0]


# ------------------------------------------------------------------------------------------------ text and length


class WritePrompt(Protocol):
    """Makes prompts of one format for one model."""

    def __call__(self, task: Task, test_index: int) -> tuple[str, int]:
        """The prompt's text and its length in tokens, which may be more than the model is to read.

        A template that sets `most_pairs` shows at most that many pairs, and fewer if they are too long. Other templates
        always show all pairs.
        """


def prompt_writer(
    prompt_format: PromptFormat, tokenizer: "PreTrainedTokenizerBase", max_prompt_tokens: int
) -> WritePrompt:
    """The fastest writer with exactly the token counts of the tokenizer.

    Tokenizing a prompt takes many times longer than all other work on a task. A grid is written in so few words that
    its tokens can be counted without the tokenizer; a trial first compares both counts.

    Raises:
        ValueError: as `render`.
    """
    exact = TokenizedPrompts(prompt_format, tokenizer, max_prompt_tokens)
    for fast in (DslPrompts(max_prompt_tokens), CountedChat.measure(exact)):
        if fast is not None and all(fast(task, 0) == exact(task, 0) for task in _trial_tasks()):
            return fast
    logger.info("The tokenizer does not treat each cell of a grid alone; counting tokens will take long.")
    return exact


def _trial_tasks() -> Iterator[Task]:
    """Every colour at every corner of every grid, large grids in all usual numbers of pairs, and many pairs."""
    rng = np.random.default_rng(0)
    for color in range(N_COLORS):
        yield task_of_grids([np.full((1, 1), color, dtype=np.int8)] * 3)
    for n_pairs, largest in [*((n, MAX_SIDE) for n in range(1, 11)), (30, 3)]:
        sides = rng.integers(1, largest + 1, size=(2 * n_pairs + 1, 2))
        yield task_of_grids([rng.integers(0, N_COLORS, size=side, dtype=np.int8) for side in sides])


@dataclass(frozen=True)
class TokenizedPrompts:
    """Counts tokens with the tokenizer."""

    prompt_format: PromptFormat
    tokenizer: "PreTrainedTokenizerBase"
    max_prompt_tokens: int

    def __call__(self, task: Task, test_index: int) -> tuple[str, int]:
        """See `WritePrompt`."""
        for shown in load_template(self.prompt_format).choices(task):
            text = render(self.prompt_format, shown, test_index, self.tokenizer)
            n_tokens = len(self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids)
            if n_tokens <= self.max_prompt_tokens:
                break
        return text, n_tokens


@dataclass(frozen=True)
class DslPrompts:
    """Writes the embedded model's prompts and counts their tokens by a formula."""

    max_prompt_tokens: int

    def __call__(self, task: Task, test_index: int) -> tuple[str, int]:
        """See `WritePrompt`."""
        from arc_precision.language.tokenizer import count_prompt_tokens, render_prompt

        for shown in load_template("dsl").choices(task):
            if (n_tokens := count_prompt_tokens(shown, test_index)) <= self.max_prompt_tokens:
                break
        return render_prompt(shown, test_index), n_tokens


@dataclass(frozen=True)
class CountedChat:
    """Counts the tokens of a prompt by adding up words.

    The sum is exact for a tokenizer that first splits text into words. The tokens of a cell then depend only on the
    text before it, another cell or the end of a row.
    """

    prompt_format: PromptFormat
    max_prompt_tokens: int
    before: str
    """The chat template's text before the user's turn; empty without a chat."""
    after: str
    """Its text after the user's turn."""
    word_tokens: np.ndarray
    """Tokens of each word of a grid, as `tasks.writing.words` numbers them: int64 (21,)."""
    other_tokens: tuple[int, ...]
    """Tokens of all but the grids' words, by number of train pairs."""

    def __call__(self, task: Task, test_index: int) -> tuple[str, int]:
        """See `WritePrompt`.

        Raises:
            ValueError: more than `MAX_CHAT_PAIRS` train pairs of the task are to be shown.
        """
        template = load_template(self.prompt_format)
        for chosen in template.choices(task):
            n_pairs = len(chosen.train)
            if n_pairs > MAX_CHAT_PAIRS:
                raise ValueError(f"task {task.task_id}: {n_pairs} train pairs; a prompt holds {MAX_CHAT_PAIRS} at most")
            shown = ShownTask(chosen, test_index)
            n_tokens = self.other_tokens[n_pairs] + int(self.word_tokens.take(words(shown.grids)).sum())
            if n_tokens <= self.max_prompt_tokens:
                break
        said = template.render(shown)
        return self.before + (said if isinstance(said, str) else said.user) + self.after, n_tokens

    @classmethod
    def measure(cls, exact: TokenizedPrompts) -> "CountedChat | None":
        """Count the tokens of each word by the difference that it makes to a prompt. None if the difference depends on
        the word before, or if the prompt shows more of its grids than their cells in one way of writing."""
        shown = ShownTask(trial_task(), 0)
        said = load_template(exact.prompt_format).render(shown)
        if len(shown.texts) != 1 or shown.sizes_shown:
            return None

        def tokens(*test_input: list[int], n_pairs: int = 1) -> int:
            black = np.zeros((1, 1), dtype=np.int8)
            grids = [black] * 2 * n_pairs + [np.array(test_input, dtype=np.int8)]
            text = render(exact.prompt_format, task_of_grids(grids), 0, exact.tokenizer)
            return len(exact.tokenizer(text, add_special_tokens=False, verbose=False).input_ids)

        alone = tokens([0])
        after_cell = [tokens([0, color]) - alone for color in range(N_COLORS)]
        after_row = [tokens([0], [color]) - alone for color in range(N_COLORS)]
        for one, other in product(range(N_COLORS), repeat=2):
            first = alone + after_row[one] - after_row[0]
            if tokens([one, other]) != first + after_cell[other] or tokens([one], [other]) != first + after_row[other]:
                return None
        # A grid of one black cell is counted as black after the end of a row; the surplus is subtracted here.
        others = [tokens([0], n_pairs=n) - (2 * n + 1) * after_row[0] for n in range(MAX_CHAT_PAIRS + 1)]
        before, after = _around(said, exact)
        word_tokens = np.array([*after_cell, *after_row, 0])
        return cls(exact.prompt_format, exact.max_prompt_tokens, before, after, word_tokens, tuple(others))


def _around(said: str | Chat, exact: TokenizedPrompts) -> tuple[str, str]:
    """The text of a chat around the user's turn."""
    if isinstance(said, str):
        return "", ""
    name = load_template(exact.prompt_format).name
    before, _, after = chat_prompt(replace(said, user=_MARK), exact.tokenizer, name).partition(_MARK)
    return before, after

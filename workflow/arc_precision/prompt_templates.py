"""Prompts as Jinja templates: a task becomes a text, or a chat if the template has blocks named after the speakers.

docs/models.md describes the variables and the form of a template.
"""

import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined, Template, TemplateSyntaxError, nodes

from arc_precision.prompt_files import PROMPTS, ROOT, prompt_file
from arc_precision.tasks.grids import Grid, Pair, Task
from arc_precision.tasks.writing import WRITINGS

VARIABLES = ("pairs", "test_input")
TURNS = ("system", "user", "assistant")
MOST_PAIRS = "most_pairs"

_ENVIRONMENT = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@dataclass(frozen=True)
class Chat:
    """The chat before the model continues: a question, perhaps with a system text and the beginning of the answer."""

    user: str
    system: str | None = None
    assistant: str | None = None


class ShownTask:
    """A task as a template sees it. All grids are written at once as soon as the template uses the text of one."""

    def __init__(self, task: Task, test_index: int) -> None:
        self.grids: list[Grid] = [grid for pair in task.train for grid in (pair.input, pair.output)]
        self.grids.append(task.test[test_index].input)
        self.texts: dict[str, list[str]] = {}
        """Texts of all grids, by form; only forms that the template has used."""
        self.sizes_shown = False
        shown = [ShownGrid(self, number) for number in range(len(self.grids))]
        pairs = [{"input": one, "output": other} for one, other in zip(shown[:-1:2], shown[1::2], strict=True)]
        self.variables = dict(zip(VARIABLES, (pairs, shown[-1]), strict=True))


class ShownGrid:
    """A grid as a template sees it: its text in the ways of `WRITINGS`, and its sides."""

    def __init__(self, task: ShownTask, number: int) -> None:
        self._task, self._number = task, number

    def __getattr__(self, name: str) -> str | int:
        task, number = self._task, self._number
        if name in ("height", "width"):
            task.sizes_shown = True
            return task.grids[number].shape[name == "width"]
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in WRITINGS:
            raise ValueError(f"a grid has no {name!r}; write one of {', '.join(WRITINGS)}, height, width")
        if name not in task.texts:
            task.texts[name] = WRITINGS[name].texts(task.grids)
        return task.texts[name][number]

    def __str__(self) -> str:
        raise TypeError(f"a grid has no text of its own; write .{', .'.join(WRITINGS)} after it")


@dataclass(frozen=True)
class PromptTemplate:
    """A template that can be rendered."""

    file: Path
    template: Template
    is_chat: bool
    most_pairs: int | None
    """Largest number of pairs that is shown; None: all pairs, of any length."""

    @property
    def name(self) -> str:
        """Its name in messages: the name of a bundled template, the path of another."""
        return self.file.stem if self.file.parent == ROOT / PROMPTS else str(self.file)

    def render(self, shown: ShownTask) -> str | Chat:
        """The text or the chat.

        Raises:
            ValueError: the template fails; the sentence has its file and line.
        """
        try:
            if not self.is_chat:
                return self.template.render(shown.variables)
            turns = _turns(self.template, shown.variables)
        except Exception as error:  # a template is a program: it may raise anything
            raise _fault(self.file, _line(error, self.file), str(error) or type(error).__name__) from None
        # A newline at the end of the answer's beginning counts.
        return Chat(**{name: text if name == "assistant" else text.strip() for name, text in turns.items()})

    def choices(self, task: Task) -> Iterator[Task]:
        """The task with the pairs to show, then with smaller and fewer pairs, for prompts that would be too long."""
        if self.most_pairs is None:
            yield task
            return
        by_size = sorted(task.train, key=lambda pair: pair.input.size + pair.output.size)
        yield Task(task.task_id, task.train[: self.most_pairs], task.test)
        for n_pairs in range(self.most_pairs, 1, -1):
            yield Task(task.task_id, tuple(by_size[:n_pairs]), task.test)

    @property
    def writing(self) -> str:
        """Its form of grids, a name of `WRITINGS`: the first one that it uses, or `lists` if it shows no grid."""
        shown = ShownTask(trial_task(), 0)
        self.render(shown)
        return next(iter(shown.texts), "lists")


def _turns(template: Template, variables: dict[str, Any]) -> dict[str, str]:
    context = template.new_context(variables)
    try:
        return {name: "".join(block(context)) for name, block in template.blocks.items()}
    except Exception:
        template.environment.handle_exception()  # raises it again, with the template's lines in the traceback


@cache
def load_template(prompt: str) -> PromptTemplate:
    """The template with a name or a path, rendered once as a test.

    Raises:
        ValueError: there is no such template, or it cannot be rendered; one sentence, with file and line.
    """
    file = prompt_file(prompt)
    try:
        source = file.read_text(encoding="utf-8")
        tree = _ENVIRONMENT.parse(source, filename=str(file))
        code = _ENVIRONMENT.compile(tree, filename=str(file))
    except UnicodeDecodeError:
        raise ValueError(f"model.prompt: {file} is no text in UTF-8; write the path of a Jinja template") from None
    except TemplateSyntaxError as error:
        raise _fault(file, error.lineno, error.message) from None
    _check_names(tree, file)
    template = Template.from_code(_ENVIRONMENT, code, _ENVIRONMENT.make_globals(None))
    loaded = PromptTemplate(file, template, bool(template.blocks), _most_pairs(tree, file))
    loaded.render(ShownTask(trial_task(), 0))
    return loaded


def trial_task(n_pairs: int = 2) -> Task:
    """A small task of black grids."""
    grid = np.zeros((2, 3), dtype=np.int8)
    return task_of_grids([grid] * (2 * n_pairs + 1))


def task_of_grids(grids: Sequence[Grid]) -> Task:
    """A task that shows these grids: input and output of each train pair, and a test input."""
    train = tuple(map(Pair, grids[:-1:2], grids[1::2]))
    return Task("trial", train, (Pair(grids[-1], grids[-1]),))


def _check_names(tree: nodes.Template, file: Path) -> None:
    """Refuse faults that rendering one task may not reach: unknown variables in branches, and text outside all
    turns."""
    for name in tree.find_all(nodes.Name):
        if name.ctx == "load" and name.name not in _known_names(tree):
            raise _fault(file, name.lineno, f"{name.name!r} is undefined; a prompt is given {' and '.join(VARIABLES)}")
    blocks = list(tree.find_all(nodes.Block))
    for block in blocks:
        if block.name not in TURNS:
            raise _fault(file, block.lineno, f"no one is called {block.name!r}; name blocks {', '.join(TURNS)}")
    if blocks and not any(block.name == "user" for block in blocks):
        raise _fault(file, blocks[0].lineno, "a chat needs a question; write a block named user")
    for output in tree.body if blocks else ():
        if isinstance(output, nodes.Output) and not all(_is_blank(node) for node in output.nodes):
            raise _fault(file, output.lineno, "in a chat all text stands in blocks; put this text into one")


def _known_names(tree: nodes.Template) -> set[str]:
    own = {name.name for name in tree.find_all(nodes.Name) if name.ctx in ("store", "param")}
    own |= {macro.name for macro in tree.find_all(nodes.Macro)}
    return {*VARIABLES, *_ENVIRONMENT.globals, "loop", "caller", "varargs", "kwargs", *own}


def _is_blank(node: nodes.Node) -> bool:
    return isinstance(node, nodes.TemplateData) and not node.data.strip()


def _most_pairs(tree: nodes.Template, file: Path) -> int | None:
    for node in tree.body:
        if isinstance(node, nodes.Assign) and getattr(node.target, "name", None) == MOST_PAIRS:
            value = getattr(node.node, "value", None)
            if type(value) is not int or value < 1:
                raise _fault(file, node.lineno, f"{MOST_PAIRS} is not a whole number above 0; write one, such as 3")
            return value
    return None


def _line(error: Exception, file: Path) -> int | None:
    """The template's line that raised. Jinja puts it into the traceback."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return lines[-1] if lines else None


def _fault(file: Path, line: int | None, message: Any) -> ValueError:
    where = f"{file}, line {line}" if line else str(file)
    return ValueError(f"model.prompt: {where}: {' '.join(str(message).split())}")

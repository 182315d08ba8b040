"""Programs are found in completions as a Markdown reader and a Python parser would."""

import os
import subprocess
import sys

import pytest

from arc_precision.sandbox import extract_program

PROGRAM = "def transform(grid):\n    return grid"


def fenced(program: str, language: str = "python", fence: str = "```") -> str:
    return f"{fence}{language}\n{program}\n{fence}"


@pytest.mark.parametrize("language", ["python", "py", "Python", "PY"])
def test_fenced_block_is_found_in_either_spelling(language):
    assert extract_program(f"Let me think.\n\n{fenced(PROGRAM, language)}\nThat is it.") == PROGRAM


@pytest.mark.parametrize("language", ["", "json", "python3", "text", "c"])
def test_blocks_in_other_languages_are_not_programs(language):
    assert extract_program(fenced(PROGRAM, language)) is None


def test_last_complete_program_wins():
    second = PROGRAM.replace("grid", "g")
    assert extract_program(fenced(PROGRAM) + "\nBetter:\n" + fenced(second)) == second


@pytest.mark.parametrize(
    "later",
    ["x = 1", "def transform(grid)\n    return grid", "def solve(g):\n    return g", "def f():\n    transform = 1"],
    ids=["no transform", "syntax error", "other function", "local name"],
)
def test_later_blocks_that_are_no_programs_are_passed_over(later):
    assert extract_program(fenced(PROGRAM) + "\n" + fenced(later)) == PROGRAM


def test_open_fence_of_a_truncated_completion_is_not_a_program():
    assert extract_program(f"```python\n{PROGRAM}\n") is None
    assert extract_program(f"{fenced(PROGRAM)}\nand\n```python\n{PROGRAM}\n    # better\n") == PROGRAM


def test_unfenced_completion_counts_if_all_of_it_is_a_program():
    assert extract_program(PROGRAM) == PROGRAM
    assert extract_program(f"Here is the program:\n{PROGRAM}") is None
    assert extract_program("import numpy as np\nx = 1") is None


@pytest.mark.parametrize(
    "program",
    [
        "transform = lambda grid: grid",
        "from common import crop as transform",
        "if True:\n    def transform(grid):\n        return grid",
        "class transform:\n    pass",
    ],
)
def test_any_binding_at_the_top_level_defines_transform(program):
    assert extract_program(fenced(program)) == program


def test_longer_fences_hold_shorter_ones():
    program = 'TEXT = """\n```python\n```\n"""\n' + PROGRAM
    assert extract_program(fenced(program, fence="````")) == program


def test_indented_block_and_windows_line_ends_are_read():
    indented = "\n".join("   " + line for line in fenced(PROGRAM).split("\n"))
    assert extract_program(f"1. Like so:\n{indented}") == PROGRAM
    assert extract_program(fenced(PROGRAM).replace("\n", "\r\n")).replace("\r", "") == PROGRAM


@pytest.mark.parametrize(
    "hostile",
    [
        "def transform(grid): return '\0'",
        "def transform(grid): return '\ud800'",
        "def transform(grid): return " + "(" * 5000 + ")" * 5000,
        "def transform(grid): return " + "-" * 50000 + "1",
        "def transform(grid): return " + "1+" * 50000 + "1",
        "def transform(grid): return " + "[" * 3000,
        "def transform(grid): return f'" + "{" * 1000,
        "x" * 1_000_000,
        "",
    ],
    ids=["null byte", "surrogate", "nesting", "signs", "sum", "brackets", "f-string", "one name", "empty"],
)
def test_sources_that_upset_parsers_give_no_program_and_no_error(hostile):
    assert extract_program(fenced(hostile)) is None


LINES = {
    "blanks behind a fence": "```" + " " * 1_000_000 + "x y",
    "tabs before a fence": "\t" * 1_000_000 + "``` x y",
    "a fence of backticks": "`" * 1_000_000 + " x y",
    "blanks around a language": "```" + " " * 500_000 + "python" + " " * 500_000 + "x",
    "short fences": "``` x y\n" * 100_000,
}
READ = f"""
import resource, sys
from arc_precision.sandbox import extract_program
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
program = {fenced(PROGRAM)!r}
assert extract_program(program + chr(10) + sys.stdin.read()) is not None
"""


@pytest.mark.parametrize("lines", LINES.values(), ids=LINES)
def test_long_lines_are_read_in_linear_time(lines):
    """20 CPU seconds are a hundred times more than linear time takes, and too few for quadratic time."""
    done = subprocess.run([sys.executable, "-c", READ], input=lines, text=True, env=os.environ, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr


def test_programs_have_a_longest_length():
    filler = "\n#" + "x" * (50_000 - len(PROGRAM) - 2)
    assert extract_program(fenced(PROGRAM + filler)) == PROGRAM + filler
    assert extract_program(fenced(PROGRAM + filler + "x")) is None


def test_all_blocks_that_are_tried_have_a_longest_length():
    other = "transform.x = 0\n#" + "x" * 20_000
    for blocks, found in (([other] * 2, PROGRAM), ([other] * 3, None), (["x" * 20_000] * 3, PROGRAM)):
        assert extract_program("\n".join(map(fenced, [PROGRAM, *blocks]))) == found


def test_a_name_with_a_long_row_of_accents_is_not_compiled():
    """It would take a minute: the compiler puts them in order, in a time that grows as the square of their number."""
    named = PROGRAM + "\nx{} = 0"
    assert extract_program(fenced(named.format("\u0301\u0316" * 20))) is not None
    assert extract_program(fenced(named.format("\u0301\u0316" * 500))) is None
    assert extract_program(fenced(PROGRAM + "\n# " + "\u6b64" * 900)) is not None


def test_warnings_of_the_compiler_are_not_shown(recwarn):
    assert extract_program(fenced(PROGRAM + "\nx = '\\d'")) is not None
    assert not recwarn.list

"""From a model's completion to the program in it."""

import re
import symtable
import textwrap
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arc_precision.config.thinking import Thinking

# The quantifiers are possessive: no backtracking, so every line that a model may write is read in linear time.
_OPENING = re.compile(r"[ \t]*+(`{3,}+)[ \t]*+(\S*+)[ \t]*+")
# Characters of one completion that are compiled. With some sources the compiler's time grows faster than their length:
# as the square of the number of keys in a pattern, or of the length of a row of accents in a name, which it sorts.
_MAX_CHARACTERS = 50_000
_MANY_ACCENTS = re.compile(r"[^\x00-\x7f]{1000}")
_LANGUAGES = {"python", "py"}


def extract_program(completion: str, thinking: "Thinking | None" = None, prompt: str = "") -> str | None:
    """The program a completion holds, or None.

    It is the last closed block fenced as ```` ```python ```` or ```` ```py ```` that compiles and defines `transform`
    at its top level. A completion without any fence counts when it is itself such a program. A fence that a truncated
    completion leaves open is not a block. Blocks are tried until they have 50,000 characters together, and one with a
    row of 1,000 characters beyond ASCII is no program.

    Args:
        thinking: the tags around the thinking part; no program is taken from inside it.
        prompt: the text before the completion; some chat templates begin the thinking part there.
    """
    if thinking:
        begun = thinking.open if prompt.rstrip().endswith(thinking.open) else ""
        completion = f"{begun}{completion}".rpartition(thinking.close)[2]
        if thinking.open in completion:
            return None
    blocks, fenced = _python_blocks(completion)
    if not fenced:
        blocks = [completion]
    n_characters = 0
    for block in reversed(blocks):
        if "transform" not in block:
            continue
        n_characters += len(block)
        if n_characters > _MAX_CHARACTERS:
            return None
        if _defines_transform(block):
            return block
    return None


def _python_blocks(text: str) -> tuple[list[str], bool]:
    """The closed Python blocks of a text in order, and whether the text opens any fence at all."""
    blocks: list[str] = []
    fence, language, start, fenced = "", "", 0, False
    lines = text.split("\n")
    for number, line in enumerate(lines):
        opening = _OPENING.fullmatch(line.rstrip("\r"))
        if opening is None:
            continue
        if not fence:
            fence, language = opening[1], opening[2].lower()
            start, fenced = number + 1, True
        elif len(opening[1]) >= len(fence) and not opening[2]:
            if language in _LANGUAGES:
                blocks.append(textwrap.dedent("\n".join(lines[start:number])))
            fence = ""
    return blocks, fenced


def _defines_transform(source: str) -> bool:
    if _MANY_ACCENTS.search(source):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, "<program>", "exec", dont_inherit=True)
            names = symtable.symtable(source, "<program>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False  # ValueError: null bytes, lone surrogates; the last two: nesting deeper than the parser takes
    if "transform" not in names.get_identifiers():
        return False
    symbol = names.lookup("transform")
    return symbol.is_assigned() or symbol.is_imported()

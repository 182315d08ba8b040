"""The tiny model's tokens and prompt.

Ids 0 to 255 are the bytes, so any text can be spelled, and a grid cell, a digit, is one token. Above them stand added
tokens: the control and structure tokens, the fixed chunks of a program's text, and the primitives' names.

The tokenizer adds nothing by itself: a prompt's text begins with the begin token's own text, so its ids are the same
with and without `add_special_tokens`.
"""

import json
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from arc_precision.language import programs as text
from arc_precision.language.dsl import PRIMITIVES
from arc_precision.language.programs import Program
from arc_precision.tasks.grids import Grid, Task

CONTEXT_TOKENS = 1536
MAX_PROMPT_PAIRS = 3

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
INPUT, OUTPUT, TEST, PROGRAM = "<in>", "<out>", "<test>", "<prog>"

_ADDED = [PAD, BOS, EOS, INPUT, OUTPUT, TEST, PROGRAM]
_ADDED += [text.HEAD, text.LINE, text.OPEN, text.SEPARATOR, text.CLOSE, text.FOOT, *PRIMITIVES]
# Unused tokens give every id of the model a text and make the number of embedding rows a multiple of 32.
_ADDED += [f"<unused_{i}>" for i in range(-len(_ADDED) % 32)]

TOKEN_IDS = {token: 256 + i for i, token in enumerate(_ADDED)}
VOCABULARY_SIZE = 256 + len(_ADDED)
PAD_ID, BOS_ID, EOS_ID = (TOKEN_IDS[token] for token in (PAD, BOS, EOS))
COLOR_ZERO_ID = ord("0")
_NEWLINE_ID = ord("\n")

MAX_COMPLETION_TOKENS = 2 + 3 * (4 + 2 * 2) + 1
"""The longest program of three steps: head, foot and end; per step four tokens and two colours of two tokens each."""


def save_tokenizer(folder: Path) -> None:
    """Write the tokenizer's two files, which transformers and vLLM load."""
    tokenizer = Tokenizer(models.BPE(vocab=_byte_symbols(), merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=token in (PAD, BOS, EOS)) for token in _ADDED])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "model_max_length": CONTEXT_TOKENS,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def _byte_symbols() -> dict[str, int]:
    """The character that byte-level BPE writes for each byte: its own, or one above 255 where that has no glyph."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {chr(b) if b in printable else chr(256 + hidden.index(b)): b for b in range(256)}


def _grid_text(grid: Grid) -> str:
    return "".join("".join(map(str, row)) + "\n" for row in grid.tolist())


def render_prompt(task: Task, test_index: int) -> str:
    """The prompt's text: every train pair, then the input of one test pair.

    One token per cell, one per row end, and one per structure mark; `fit_prompt` keeps it within a number of tokens.
    """
    pairs = "".join(INPUT + _grid_text(pair.input) + OUTPUT + _grid_text(pair.output) for pair in task.train)
    return BOS + pairs + TEST + _grid_text(task.test[test_index].input) + PROGRAM


def _grid_tokens(grid: Grid) -> int:
    return grid.shape[0] * (grid.shape[1] + 1)


def count_prompt_tokens(task: Task, test_index: int) -> int:
    """How many tokens `render_prompt` gives."""
    pairs = sum(2 + _grid_tokens(pair.input) + _grid_tokens(pair.output) for pair in task.train)
    return 3 + pairs + _grid_tokens(task.test[test_index].input)


def fit_prompt(task: Task, test_index: int, max_tokens: int = CONTEXT_TOKENS - MAX_COMPLETION_TOKENS) -> Task | None:
    """The task with as many of its train pairs as the model is trained to read and `max_tokens` allow.

    It shows the first three pairs; if they are too long, the smallest three, then the smallest two. None if even those
    do not fit.
    """
    by_size = sorted(task.train, key=lambda pair: pair.input.size + pair.output.size)
    for train in (task.train[:MAX_PROMPT_PAIRS], tuple(by_size[:3]), tuple(by_size[:2])):
        fitted = Task(task.task_id, train, task.test)
        if count_prompt_tokens(fitted, test_index) <= max_tokens:
            return fitted
    return None


def _grid_ids(grid: Grid) -> np.ndarray:
    ids = np.full((grid.shape[0], grid.shape[1] + 1), _NEWLINE_ID, dtype=np.int16)
    ids[:, :-1] = grid
    ids[:, :-1] += COLOR_ZERO_ID
    return ids.ravel()


def prompt_ids(task: Task, test_index: int) -> tuple[np.ndarray, np.ndarray]:
    """The tokenizer's ids of `render_prompt`, computed faster, and a mask of the output grids; int16 and bool."""
    parts, in_output = [[BOS_ID]], [False]
    for pair in task.train:
        parts += [[TOKEN_IDS[INPUT]], _grid_ids(pair.input), [TOKEN_IDS[OUTPUT]], _grid_ids(pair.output)]
        in_output += [False, False, False, True]
    parts += [[TOKEN_IDS[TEST]], _grid_ids(task.test[test_index].input), [TOKEN_IDS[PROGRAM]]]
    in_output += [False, False, False]
    ids = np.concatenate(parts).astype(np.int16)
    return ids, np.repeat(in_output, [len(part) for part in parts])


def completion_ids(program: Program) -> np.ndarray:
    """The tokenizer's ids of `completion_text`, computed faster, and the end token; int16."""
    tokens = [text.HEAD]
    for name, colors in program:
        tokens += [text.LINE, name, text.OPEN]
        for color in colors:
            tokens += [text.SEPARATOR, str(color)]
        tokens.append(text.CLOSE)
    tokens += [text.FOOT, EOS]
    return np.array([TOKEN_IDS[token] if token in TOKEN_IDS else ord(token) for token in tokens], dtype=np.int16)

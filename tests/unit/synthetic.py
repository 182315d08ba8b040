"""Made-up data in real formats: ARC tasks, BARC's file, and a tokenizer with a chat template like Llama 3's."""

import gzip
from functools import cache
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from arc_precision.tasks.grids import Pair, Task

N_TRAIN_WEIGHTS = {2: 355, 3: 1281, 4: 433, 5: 123, 6: 43, 7: 17, 8: 6, 10: 2}
"""How many train pairs BARC's tasks have."""
MAX_CELLS = 4500
"""Cells of a BARC task, all grids together."""

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def random_task(rng: np.random.Generator, task_id: str = "task", max_side: int = 30, min_side: int = 1) -> Task:
    """A task of random grids; each input is mostly background, each output has the input's size or another."""
    weights = np.array([*N_TRAIN_WEIGHTS.values()])
    while True:
        n_train = int(rng.choice([*N_TRAIN_WEIGHTS], p=weights / weights.sum()))
        keep_size = rng.random() < 0.7
        pairs = []
        for _ in range(n_train + 1):
            sides = rng.integers(min_side, max_side + 1, size=4)
            pairs.append(Pair(_grid(rng, *sides[:2]), _grid(rng, *(sides[:2] if keep_size else sides[2:]))))
        if sum(pair.input.size + pair.output.size for pair in pairs) <= MAX_CELLS:
            return Task(task_id, tuple(pairs[:-1]), tuple(pairs[-1:]))


def _grid(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    grid = rng.integers(0, 10, size=(height, width), dtype=np.int8)
    grid[rng.random((height, width)) < 0.6] = 0
    return grid


def task_json(task: Task) -> dict:
    """A task in ARC's JSON."""
    return {
        part: [{"input": pair.input.tolist(), "output": pair.output.tolist()} for pair in pairs]
        for part, pairs in (("train", task.train), ("test", task.test))
    }


def write_barc_file(path: Path, n_tasks: int, seed: int, min_side: int = 10, max_side: int = 30) -> None:
    """A file in the format of BARC's `dataset_100k.json.gz`: one gzipped, indented object of tasks by name."""
    rng = np.random.default_rng(seed)
    with gzip.open(path, "wt", compresslevel=1) as file:
        for index in range(n_tasks):
            task = random_task(rng, min_side=min_side, max_side=max_side)
            file.write("{" if index == 0 else ",")
            file.write(f'\n  "barc_{index:06}": {_indented_json(task)}')
        file.write("\n}")


def _indented_json(task: Task) -> str:
    """`json.dumps(task_json(task), indent=2)` two levels deep, many times faster."""

    def grid(cells: np.ndarray) -> str:
        zeros, places = _indented_zeros(*cells.shape)
        text = zeros.copy()
        text[places] += cells.ravel().astype(np.uint8)
        return text.tobytes().decode()

    def pairs(part: tuple[Pair, ...]) -> str:
        shown = [f'{{\n        "input": {grid(p.input)},\n        "output": {grid(p.output)}\n      }}' for p in part]
        return "[\n      " + ",\n      ".join(shown) + "\n    ]"

    return f'{{\n    "train": {pairs(task.train)},\n    "test": {pairs(task.test)}\n  }}'


@cache
def _indented_zeros(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of a grid of zeros, and the positions of the zeros."""
    row = "\n          [" + ",".join(["\n            0"] * width) + "\n          ]"
    text = np.frombuffer(f"[{','.join([row] * height)}\n        ]".encode(), dtype=np.uint8)
    return text, np.flatnonzero(text == ord("0"))


def chat_tokenizer(texts: list[str], vocabulary_size: int = 1000) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on texts, with Llama 3's way of splitting words, special tokens and chat."""
    tokenizer = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated")
    characters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, characters])
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[AddedToken(token, special=True) for token in special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=special[0],
        eos_token=special[-1],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )

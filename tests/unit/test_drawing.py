"""Completions drawn in chunks, their scores, and the tasks that are kept because they are solved sometimes."""

import pytest
from transformers import AutoTokenizer

from arc_precision.config.data import PerfectibleConfig, PerfectibleSlice
from arc_precision.config.sandbox import SandboxConfig
from arc_precision.contracts.samples import SAMPLES
from arc_precision.contracts.scores import SCORES
from arc_precision.evaluation import drawing, perfectible
from arc_precision.evaluation.drawing import draw
from arc_precision.evaluation.perfectible import keep_perfectible
from arc_precision.evaluation.scoring import score_rows
from arc_precision.language.tokenizer import save_tokenizer
from arc_precision.sampling.engines import Completion

FLIP = "def transform(grid):\n    return grid[::-1]\n"
SAME = "def transform(grid):\n    return grid\n"
ANSWER = "def transform(grid):\n    return grid * 0 + [[2], [1]]\n"  # of the test grid of row 1
FAULTY = "def transform(grid):\n    return grid + None\n"


class NotingSampler:
    """Remembers prompts and seeds, and draws the text of a function of both."""

    def __init__(self, tokenizer, text=lambda number: "x") -> None:
        self._tokenizer, self._text = tokenizer, text
        self.calls: list[tuple[list, list[int]]] = []

    def generate(self, prompts, seeds):
        done = sum(len(seeds) for _, seeds in self.calls)
        self.calls.append(([tuple(prompt) for prompt in prompts], list(seeds)))
        texts = [self._text(done + number) for number in range(len(seeds))]
        ids = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        return [Completion(tokens, [-0.5] * len(tokens), len(tokens) > 5) for tokens in ids]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(model_folder):
    return AutoTokenizer.from_pretrained(model_folder)


def task_row(number: int) -> dict:
    """A task whose answer is its input upside down; the test grid is the other way round than the train grid."""
    pairs = [{"input": [[number % 10], [1 + place]], "output": [[1 + place], [number % 10]]} for place in (0, 1)]
    return {
        "row_id": f"row-{number}", "task_id": f"task-{number}", "train": pairs[:1], "test": pairs[1:],
        "prompt": str(number), "seen_in_training": number % 2 == 0,
    }  # fmt: skip


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_drawn_rows_stand_in_the_order_of_the_tasks(chunk, model_folder, tokenizer, monkeypatch):
    monkeypatch.setattr(drawing, "CHUNK_PROMPTS", chunk)
    rows = [task_row(number) for number in range(7)]
    sampler = NotingSampler(tokenizer, lambda number: str(number))
    batches = list(draw(sampler, model_folder, rows, 2, seed=5))
    assert [len(batch) for batch in batches] == [2 * len(rows[first : first + chunk]) for first in range(0, 7, chunk)]
    drawn = [row for batch in batches for row in batch]
    assert all(set(row) == set(SAMPLES.names) for row in drawn)
    assert [(row["row_id"], row["sample"]) for row in drawn] == [(f"row-{n}", s) for n in range(7) for s in range(2)]
    assert [row["completion"] for row in drawn] == [str(number) for number in range(14)]
    prompts = [prompt for prompts, _ in sampler.calls for prompt in prompts]
    assert prompts == [tuple(tokenizer(str(n), add_special_tokens=False)["input_ids"]) for n in range(7) for _ in "ab"]


def test_seeds_differ_by_row_sample_and_seed_and_not_by_chunk(model_folder, tokenizer, monkeypatch):
    """There are more rows than one chunk has, so seeds that began again in every chunk would be used twice."""
    rows = [task_row(number) for number in range(70)]

    def seeds(seed, chunk):
        monkeypatch.setattr(drawing, "CHUNK_PROMPTS", chunk)
        sampler = NotingSampler(tokenizer)
        list(draw(sampler, model_folder, rows, 3, seed))
        return [seed for _, seeds in sampler.calls for seed in seeds]

    first = seeds(0, 64)
    assert len(set(first)) == len(first) == 210
    assert seeds(0, 16) == first
    assert not set(first) & set(seeds(1, 64))


def test_scores_are_those_of_the_completions(tokenizer):
    rows = {row["row_id"]: row for row in map(task_row, range(2))}
    texts = [*(f"```python\n{code}```" for code in (FLIP, SAME, ANSWER, FAULTY)), "no program"]
    samples = [
        {"row_id": "row-1", "sample": number, "completion": text, "token_ids": [1, 2, 3], "truncated": number == 4}
        for number, text in enumerate(texts)
    ]
    sandbox = SandboxConfig(min_level="none")
    scored = list(score_rows(rows, samples, "arc-v2-no-pixel-score", sandbox, workers=1))
    assert all(set(row) == set(SCORES.names) for row in scored)
    right, same, answer, faulty, nothing = scored
    assert [row["sample"] for row in scored] == [0, 1, 2, 3, 4] and {row["task_id"] for row in scored} == {"task-1"}
    assert right["solved"] and (right["train_correct"], right["test_correct"], right["reward"]) == (1, 1, 10)
    assert right["outputs"] == [[[1], [1]], [[2], [1]]]
    # [1, 1] upside down is itself: the train grid is right and the test grid is not.
    assert not same["solved"] and (same["train_correct"], same["test_correct"]) == (1, 0)
    assert not answer["solved"] and (answer["train_correct"], answer["test_correct"]) == (0, 1)
    assert same["reward"] == answer["reward"] == 1 + 9 / 2
    assert (faulty["verdict"], faulty["exception_type"], faulty["outputs"]) == ("exception", "TypeError", None)
    assert nothing["verdict"] == "no_program" and nothing["program"] is None
    assert [row["reward"] for row in (faulty, nothing)] == [0, 0]
    assert nothing["truncated"] and not right["truncated"] and right["completion_tokens"] == 3
    assert not right["seen_in_training"]


def test_without_answers_programs_run_and_only_train_grids_count(tokenizer):
    row = task_row(1) | {"test": [{**pair, "output": None} for pair in task_row(1)["test"]]}
    samples = [
        {"row_id": "row-1", "sample": number, "completion": text, "token_ids": [1], "truncated": False}
        for number, text in enumerate((f"```python\n{FLIP}```", f"```python\n{FAULTY}```"))
    ]
    sandbox = SandboxConfig(min_level="none")
    ran, faulty = score_rows({"row-1": row}, samples, "arc-v2-no-pixel-score", sandbox, workers=1)
    assert ran["outputs"] == [[[1], [1]], [[2], [1]]] and faulty["outputs"] is None
    assert (ran["train_correct"], ran["train_total"], ran["train_pixels"]) == (1, 1, 1.0)
    for scored in (ran, faulty):
        assert (scored["test_correct"], scored["test_total"]) == (0, 0)
        assert scored["test_pixels"] is scored["solved"] is scored["reward"] is None


@pytest.mark.parametrize(
    ("n_tasks", "kept", "tried"), [(None, [1, 2, 5, 6], 8), (2, [1, 2], 4), (3, [1, 2, 5], 8), (4, [1, 2, 5, 6], 8)]
)
def test_tasks_solved_sometimes_are_kept_until_there_are_enough(
    n_tasks, kept, tried, model_folder, tokenizer, monkeypatch
):
    """Task n is solved by n % 4 of 3 completions; the band takes 1 and 2, ends included. Chunks of four tasks."""
    monkeypatch.setattr(drawing, "CHUNK_PROMPTS", 4)
    monkeypatch.setattr(perfectible, "CHUNK_PROMPTS", 4)
    monkeypatch.setattr(
        perfectible,
        "score_rows",
        lambda rows, samples, *_: (
            {"row_id": s["row_id"], "solved": s["sample"] < int(s["row_id"].split("-")[1]) % 4} for s in samples
        ),
    )
    band = PerfectibleConfig(n_tasks=n_tasks, n_samples=3, min_rate=1 / 3, max_rate=2 / 3)
    sampler = NotingSampler(tokenizer)
    slice = PerfectibleSlice.model_construct(perfectible=band, sandbox=SandboxConfig())
    rows, rates = keep_perfectible(sampler, model_folder, [task_row(n) for n in range(8)], slice, workers=1)
    assert [row["row_id"] for row in rows] == [f"row-{number}" for number in kept]
    assert rates == {f"row-{number}": number % 4 / 3 for number in range(tried)}
    seeds = [seed for _, seeds in sampler.calls for seed in seeds]
    assert len(set(seeds)) == len(seeds) == 3 * tried

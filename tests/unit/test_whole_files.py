"""Only whole files of results are accepted."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from arc_precision.contracts.parquet import contract, count_rows, read_rows, read_table, write_rows
from arc_precision.contracts.steps import FACTS, SCHEMA_VERSION, STEP, read_facts, read_run
from arc_precision.contracts.whole import DamagedFile, read_object

NUMBERS = contract(3, {"number": (pa.int64(), "A number."), "text": (pa.string(), "A text.")})


def write_segment(folder, first, stop, last=None, stopped_at=None):
    rows = [
        dict.fromkeys(STEP) | {"schema_version": SCHEMA_VERSION, "step": step}
        for step in range(first, (last or stop) + 1)
    ]
    (folder / f"steps-{stop}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    status = "failed" if stopped_at else "running"
    facts = dict.fromkeys(FACTS) | {"schema_version": SCHEMA_VERSION, "status": status, "stopped_at": stopped_at}
    (folder / f"facts-{stop}.json").write_text(json.dumps(facts))


def steps_of(folder, *stops, **options):
    files = [folder / f"steps-{stop}.jsonl" for stop in stops]
    facts = [path for stop in stops if (path := folder / f"facts-{stop}.json").exists()]
    return [row["step"] for row in read_run(files, facts, STEP, **options)]


def test_segments_are_one_run(tmp_path):
    write_segment(tmp_path, 1, 10)
    write_segment(tmp_path, 11, 20)
    assert steps_of(tmp_path, 10, 20) == [*range(1, 21)]


def test_a_run_that_stopped_has_rows_up_to_there_and_empty_segments_after_it(tmp_path):
    write_segment(tmp_path, 1, 10)
    write_segment(tmp_path, 11, 20, last=13, stopped_at=13)
    write_segment(tmp_path, 14, 30, last=13, stopped_at=13)
    assert steps_of(tmp_path, 10, 20, 30) == [*range(1, 14)]
    (tmp_path / "steps-30.jsonl").write_text(
        json.dumps(dict.fromkeys(STEP) | {"schema_version": SCHEMA_VERSION, "step": 14}) + "\n"
    )
    with pytest.raises(DamagedFile, match="steps-30.jsonl: damaged .1 rows where no steps belong"):
        steps_of(tmp_path, 10, 20, 30)


@pytest.mark.parametrize("kind", ["steps", "facts"])
def test_files_of_an_earlier_version_are_told_with_the_command_that_makes_them_again(tmp_path, kind):
    """What earlier versions called by the same names was not the same."""
    write_segment(tmp_path, 1, 10)
    (path,) = tmp_path.glob(f"{kind}-10.*")
    path.write_text(path.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 1'))
    with pytest.raises(DamagedFile) as fault:
        steps_of(tmp_path, 10)
    again = f"make it again with: snakemake --forcerun {path}"
    assert str(fault.value) == f"{path}: damaged (schema_version 1 where {SCHEMA_VERSION} is read); {again}"


def test_a_missing_segment_is_seen_in_the_next(tmp_path):
    write_segment(tmp_path, 1, 10)
    write_segment(tmp_path, 21, 30)
    with pytest.raises(DamagedFile, match="steps-30.jsonl: damaged .10 rows where steps 11 to 30 belong"):
        steps_of(tmp_path, 10, 30)


def test_a_segment_without_facts_is_still_being_written(tmp_path):
    write_segment(tmp_path, 1, 10)
    (tmp_path / "facts-10.json").unlink()
    steps = tmp_path / "steps-10.jsonl"
    steps.write_text(steps.read_text()[:-20])
    assert steps_of(tmp_path, 10, running=True) == [*range(1, 10)]
    with pytest.raises(DamagedFile, match="its last line has no end"):
        steps_of(tmp_path, 10)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_version": 1}, f"schema_version 1 where {SCHEMA_VERSION} is read"),
        ({"status": ...}, "status is missing"),
        ({"stopped_at": ...}, "stopped_at is missing"),
    ],
)
def test_facts_of_another_shape_are_refused(tmp_path, change, reason):
    write_segment(tmp_path, 1, 10)
    path = tmp_path / "facts-10.json"
    facts = json.loads(path.read_text()) | change
    path.write_text(json.dumps({key: value for key, value in facts.items() if value is not ...}))
    with pytest.raises(DamagedFile, match=f"facts-10.json: damaged .{reason}"):
        read_facts(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a": ', "[" * 100_000, "\x00"])
def test_what_is_no_object_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DamagedFile, match="a.json: damaged ") as fault:
        read_object(tmp_path / "a.json", None, ())
    assert len(str(fault.value).splitlines()) == 1


READERS = {
    "rows": lambda path: list(read_rows(path, NUMBERS)),
    "table": lambda path: read_table(path, NUMBERS, ["text"]),
    "count": lambda path: count_rows(path, NUMBERS),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_parquet_file_is_read_whole_or_not_at_all(tmp_path, read):
    path = tmp_path / "numbers.parquet"
    write_rows(path, NUMBERS, [[{"number": i, "text": f"text {i}"} for i in range(1000)]])
    read(path)
    whole = path.read_bytes()
    for kept in (0, 4, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(DamagedFile, match="numbers.parquet: damaged ") as fault:
            read(path)
        assert len(str(fault.value).splitlines()) == 1


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_parquet_file_that_lacks_a_column_or_is_of_another_version_is_refused(tmp_path, read):
    path = tmp_path / "numbers.parquet"
    pq.write_table(pa.table({"number": [1]}).replace_schema_metadata(NUMBERS.metadata), path)
    with pytest.raises(DamagedFile, match="numbers.parquet: damaged .column text is missing"):
        read(path)
    pq.write_table(pa.table({"number": [1], "text": ["a"]}), path)
    with pytest.raises(DamagedFile, match="numbers.parquet: damaged .schema_version None where 3 is read"):
        read(path)

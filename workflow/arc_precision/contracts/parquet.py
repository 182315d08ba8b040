"""Reading and writing Parquet files that follow a contract."""

from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from arc_precision.contracts.whole import DamagedFile


def contract(version: int, columns: dict[str, tuple[pa.DataType, str]]) -> pa.Schema:
    """A schema with a version and a description per column."""
    fields = [pa.field(name, kind, metadata={"description": text}) for name, (kind, text) in columns.items()]
    return pa.schema(fields, metadata={"schema_version": str(version)})


def write_rows(path: Path | str, schema: pa.Schema, batches: Iterable[list[dict]]) -> int:
    """Write batches of rows, one row group each, and return how many rows there were.

    Raises:
        ValueError: a row lacks a column or has one that the contract does not know.
    """
    n_rows = 0
    names = set(schema.names)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in batches:
            for row in batch:
                if row.keys() != names:
                    raise ValueError(f"{path}: columns {sorted(row.keys() ^ names)} do not fit the contract")
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            n_rows += len(batch)
    return n_rows


@contextmanager
def opened(path: Path | str, schema: pa.Schema) -> Iterator[pq.ParquetFile]:
    """A file that follows a contract.

    Raises:
        DamagedFile: the file is not whole, lacks a column, or follows another version of the contract.
    """
    try:
        file = pq.ParquetFile(path)
        found = (file.schema_arrow.metadata or {}).get(b"schema_version")
        if found != schema.metadata[b"schema_version"]:
            wanted = schema.metadata[b"schema_version"].decode()
            raise DamagedFile(path, f"schema_version {found and found.decode()} where {wanted} is read")
        if missing := set(schema.names) - set(file.schema_arrow.names):
            raise DamagedFile(path, f"column {min(missing)} is missing")
        yield file
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise DamagedFile(path, error) from None


def count_rows(path: Path | str, schema: pa.Schema) -> int:
    """How many rows a file has.

    Raises:
        DamagedFile: as `opened`.
    """
    with opened(path, schema) as file:
        return file.metadata.num_rows


def read_table(path: Path | str, schema: pa.Schema, columns: list[str]) -> pa.Table:
    """Columns of a file, as one Arrow table.

    Raises:
        DamagedFile: as `opened`.
    """
    with opened(path, schema) as file:
        return file.read(columns=columns).combine_chunks()


def read_rows(
    path: Path | str, schema: pa.Schema, columns: list[str] | None = None, numbers: Container[int] | None = None
) -> Iterator[dict]:
    """Rows of a file in its order, one at a time, a row group in memory at once.

    Args:
        columns: only these; None: all.
        numbers: only the rows with these numbers, from 0; None: all.

    Raises:
        DamagedFile: as `opened`.
    """
    first = 0
    with opened(path, schema) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=columns)
            n_rows = len(table)
            if numbers is not None:
                wanted = [number - first for number in range(first, first + n_rows) if number in numbers]
                table = table.take(pa.array(wanted, pa.int64()))
            yield from table.to_pylist()
            first += n_rows

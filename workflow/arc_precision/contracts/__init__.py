"""The contracts between stages: the columns of every file under results/, one module per kind of file.

Parquet files carry `schema_version` in their metadata, JSON and JSONL files as a key. A stage imports the modules of
the files that it reads and writes, so that a new column in one file leaves the other stages as they are.
"""

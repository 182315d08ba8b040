"""Write the table of docs/staleness.md (`make staleness`)."""

import tempfile
from pathlib import Path

from conftest import ROOT, copy_pipeline, finish
from tqdm import tqdm

from arc_precision.staleness.table import document, table

PAGE = ROOT / "docs" / "staleness.md"

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, tqdm(desc="keys") as bar:
        root = copy_pipeline(Path(folder))
        finish(root)
        rows = table(root, lambda key: bar.update(1))
    introduction, _, _ = PAGE.read_text().partition("| key |")
    PAGE.write_text(introduction + document(rows))

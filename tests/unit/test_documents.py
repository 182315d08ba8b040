"""Files that documents and commands name are there."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"\b(?:workflow|tests|benchmarks|experiments|envs)/[\w./-]+\.(?:py|smk|yaml|md|txt)\b")
LINK = re.compile(r"\]\((?!http)([^)#\s]*)#?([^)\s]*)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def test_every_file_that_is_named_exists():
    texts = [ROOT / "Makefile", *ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("experiments/*.yaml")]
    named = {(path.name, name) for path in texts for name in NAMED.findall(path.read_text())}
    assert len(named) > 20
    assert not [pair for pair in named if not (ROOT / pair[1]).exists() and pair[1] != "experiments/NAME.yaml"]


def test_the_citation_is_of_the_last_release():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    version, date = re.search(r"^## (\d\S*) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).groups()
    assert (citation["version"], citation["date-released"]) == (version, date)


def anchors(document: Path) -> set[str]:
    """The anchors of its headings, as GitHub names them."""
    headings = HEADING.findall(document.read_text())
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_to_a_file_and_a_heading():
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("config/*.md")]
    links = [(document, *link) for document in documents for link in LINK.findall(document.read_text())]
    assert len(links) > 50
    for document, file, anchor in links:
        target = document.parent / file if file else document
        assert target.exists() and (not anchor or anchor in anchors(target)), (document.name, file, anchor)

"""The card of a warmed-up model and the figure of its loss, from the files of the training and of the two trials."""

import argparse
import json
from pathlib import Path

from arc_precision.cli import run
from arc_precision.warm_start.card import card, loss_figure


def main() -> None:
    """Parse arguments, write card and figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="of the model that was started from")
    parser.add_argument("--metrics", type=Path, required=True, help="metrics.json of the training")
    parser.add_argument("--history", type=Path, required=True, help="its log, a JSON object per line")
    parser.add_argument("--before", type=Path, required=True, help="trial of the model that was started from")
    parser.add_argument("--after", type=Path, required=True, help="trial of the warmed-up model")
    parser.add_argument("--figure", type=Path, required=True, help="SVG file to write")
    parser.add_argument("--card", type=Path, required=True, help="Markdown file to write")
    args = parser.parse_args()

    history = [json.loads(line) for line in args.history.read_text().splitlines()]
    metrics, before, after = (json.loads(path.read_text()) for path in (args.metrics, args.before, args.after))
    args.figure.write_text(loss_figure(history))
    args.card.write_text(card(args.name, metrics, before, after, args.figure.name))


if __name__ == "__main__":
    run(main)

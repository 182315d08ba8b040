"""Check the base model and describe it: its files by SHA-256, its prompts, and facts about its weights.

Every other job follows this one, so it refuses models that transformers cannot load. Writes one manifest of the whole
model and one of its tokenizer, so that data depend on the tokenizer alone.
"""

import argparse
import json
from pathlib import Path

from transformers import AutoTokenizer

from arc_precision.chat import chat_facts
from arc_precision.cli import run
from arc_precision.model.folder import weight_files
from arc_precision.model.loading import check_loading
from arc_precision.model.weight_facts import weight_facts
from arc_precision.prompt_templates import Chat, ShownTask, load_template, trial_task

SCHEMA_VERSION = 1


def hashes(lines: list[str]) -> dict[str, str]:
    """SHA-256 by file name."""
    return dict(line.split("=", 1) for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--on-hub", default="", help="ORG/NAME@COMMIT, where the folder is the Hub's")
    parser.add_argument("--prompt", required=True, help="template of the prompts, a name or a file")
    parser.add_argument("--model-files", nargs="+", required=True, help="name=SHA-256")
    parser.add_argument("--tokenizer-files", nargs="+", required=True, help="name=SHA-256")
    parser.add_argument("--output-model", type=Path, required=True)
    parser.add_argument("--output-tokenizer", type=Path, required=True)
    args = parser.parse_args()

    check_loading(args.path)
    template = load_template(args.prompt)
    said = template.render(ShownTask(trial_task(), 0))
    tokenizer = AutoTokenizer.from_pretrained(args.path)
    chat = chat_facts(said, tokenizer, template.name) if isinstance(said, Chat) else None
    weights = [path for path in weight_files(args.path) if path.suffix == ".safetensors"]
    of_tokenizer = {"schema_version": SCHEMA_VERSION, "files": hashes(args.tokenizer_files), "chat": chat}
    files = hashes(args.model_files) | of_tokenizer["files"]
    model = {
        "schema_version": SCHEMA_VERSION,
        "on_hub": args.on_hub or None,
        "files": files,
        "weights": weight_facts(weights),
    }
    args.output_model.write_text(json.dumps(model, indent=1, sort_keys=True) + "\n")
    args.output_tokenizer.write_text(json.dumps(of_tokenizer, indent=1, sort_keys=True) + "\n")


run(main)

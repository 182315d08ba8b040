"""Turn a GGUF file into a Hugging Face model folder in bfloat16.

python workflow/tools/convert_gguf.py --gguf FILE --end-token '<|im_end|>' --output-dir DIR
"""

import argparse
from pathlib import Path

from arc_precision.cli import run
from arc_precision.model.gguf import convert_gguf


def main() -> None:
    """Parse arguments, convert."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gguf", type=Path, required=True, help="the file")
    parser.add_argument("--end-token", required=True, help="token that ends a turn of the chat")
    parser.add_argument("--output-dir", type=Path, required=True, help="folder for the model")
    args = parser.parse_args()
    if not args.gguf.is_file():
        raise ValueError(f"--gguf: {args.gguf}: no such file; write the path of an existing one")
    convert_gguf(args.gguf, args.end_token, args.output_dir)


if __name__ == "__main__":
    run(main)

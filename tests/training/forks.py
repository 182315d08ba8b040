"""Scripts in processes of their own, forked from one that has imported PyTorch, vLLM and TRL once.

vLLM allows one engine per process, and importing takes longer than most of what tests do with it.
"""

import faulthandler
import json
import os
import runpy
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

WORKFLOW = Path(__file__).parents[2] / "workflow"
ENVIRONMENT = {"PYTHONPATH": str(WORKFLOW), "OMP_NUM_THREADS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
TIMEOUT_S = 500


def run_script(script: Path, *arguments: object) -> None:
    """Run a script as `python SCRIPT ARGUMENTS` does. Raises AssertionError with the end of its output if it fails."""
    with tempfile.NamedTemporaryFile("r") as output:
        server().stdin.write(json.dumps([output.name, *map(str, (script, *arguments))]) + "\n")
        server().stdin.flush()
        status = server().stdout.readline()
        assert status == "0\n", f"status {status}{output.read()[-3000:]}"


@cache
def server() -> subprocess.Popen:
    """It ends with this process."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, __file__], env=os.environ | ENVIRONMENT, **pipes)


def serve() -> None:
    """Run one script after the other. The forked process leaves this function and ends as every process does."""
    import vllm.v1.engine.llm_engine
    import vllm.v1.worker.cpu_worker  # noqa: F401

    import arc_precision.training.segment  # noqa: F401

    for line in sys.stdin:
        output, script, *arguments = json.loads(line)
        child = os.fork()
        if not child:
            become(script, arguments, output)
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def become(script: str, arguments: list[str], output: str) -> None:
    """Run the script in this process."""
    written = os.open(output, os.O_WRONLY)
    for stream, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, written), (2, written)):
        os.dup2(file, stream)
    faulthandler.dump_traceback_later(TIMEOUT_S, exit=True)
    sys.argv = [script, *arguments]
    sys.path[0] = str(Path(script).parent)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    serve()

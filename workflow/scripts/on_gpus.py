"""Run a command on GPUs of this machine: `on_gpus.py N alone|shared COMMAND ...`.

A command that is to be `alone` waits until N GPUs are free of commands that this user has started in this way, and
keeps such commands away; a `shared` one goes to the N that hold the fewest, none of them alone. It sees its own GPUs
only, in CUDA_VISIBLE_DEVICES. Where that variable names N already, as in a job of a pool, nothing is chosen. Not
covered: what other programs and users do on the GPUs.
"""

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

WAIT_S = 1.0


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES says, or all GPUs of the machine by number."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return given.split(",")
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True).stdout
    except FileNotFoundError:
        listed = ""
    n_gpus = sum(line.startswith("GPU ") for line in listed.splitlines())
    if not n_gpus:
        raise SystemExit("error: device: cuda, but nvidia-smi shows no GPU on this machine; write device: cpu")
    return [str(i) for i in range(n_gpus)]


def claim(gpus: list[str], n: int, alone: bool, folder: Path) -> list[str]:
    """`n` of `gpus`, claimed until this process and those that it becomes or starts have ended; waits for them.

    A claim is a lock on the GPU's file, exclusive or shared, and on one `GPU.SLOT` for each that shares it. The kernel
    gives locks up with their holder, however that ends.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    told = False
    while True:
        with open(folder / "choosing", "w") as choosing:
            fcntl.flock(choosing, fcntl.LOCK_EX)
            locks = [(gpu, _lock(folder / gpu, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)) for gpu in gpus]
            claims = [(*_first_free_slot(folder, gpu), lock, gpu) for gpu, lock in locks if lock is not None]
            claims.sort(key=lambda claim: claim[0])
            n_taken = n if len(claims) >= n else 0
            for i, (_, slot_lock, lock, _) in enumerate(claims):
                for file in (slot_lock, lock):
                    if i < n_taken:
                        os.set_inheritable(file, True)
                    else:
                        os.close(file)  # before others look
        if n_taken:
            return [gpu for *_, gpu in claims[:n]]
        if not told:
            print(f"waiting for {n} of GPUs {', '.join(gpus)}", file=sys.stderr, flush=True)
            told = True
        time.sleep(WAIT_S)


def _lock(path: Path, kind: int) -> int | None:
    """The locked file, or None where others hold a lock that excludes it."""
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def _first_free_slot(folder: Path, gpu: str) -> tuple[int, int]:
    """How many commands a GPU holds, and the locked file of the next one's slot."""
    for slot in count():
        file = _lock(folder / f"{gpu}.{slot}", fcntl.LOCK_EX)
        if file is not None:
            return slot, file


def main() -> None:
    n, alone, command = int(sys.argv[1]), sys.argv[2] == "alone", sys.argv[3:]
    gpus = visible_gpus()
    if len(gpus) < n:
        raise SystemExit(
            f"error: {n} GPUs are asked for, but {len(gpus)} can be seen; lower training.processes or resources.*.gpu"
        )
    if len(gpus) > n or "CUDA_VISIBLE_DEVICES" not in os.environ:
        chosen = claim(gpus, n, alone, Path(tempfile.gettempdir()) / f"arc-precision-gpus-{os.getuid()}")
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()

"""Run a command on the least busy GPUs of this machine: `on_gpus.py N COMMAND ...`.

Where no more than N GPUs are visible, as in a job of a pool, nothing is chosen. Otherwise the command sees, in
CUDA_VISIBLE_DEVICES, the N that hold the fewest commands started in this way by this user. Not covered: what other
programs do on the GPUs.
"""

import fcntl
import os
import sys
import tempfile
from itertools import count
from pathlib import Path


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES says, or all GPUs of the machine by number."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return given.split(",")
    import pynvml  # only where there are GPUs

    pynvml.nvmlInit()
    return [str(i) for i in range(pynvml.nvmlDeviceGetCount())]


def claim(gpus: list[str], n: int, folder: Path) -> list[str]:
    """The `n` least busy of `gpus`, claimed until this process and those that it becomes or starts have ended.

    A claim is a locked file `GPU.SLOT`; the kernel gives it up with its holder, however that ends.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    with open(folder / "choosing", "w") as choosing:
        fcntl.flock(choosing, fcntl.LOCK_EX)
        claims = sorted((_first_free_slot(folder, gpu) for gpu in gpus), key=lambda claim: claim[0])[:n]
    for _, _, file in claims:
        os.set_inheritable(file, True)
    return [gpu for _, gpu, _ in claims]


def _first_free_slot(folder: Path, gpu: str) -> tuple[int, str, int]:
    for slot in count():
        file = os.open(folder / f"{gpu}.{slot}", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return slot, gpu, file
        except BlockingIOError:
            os.close(file)


def main() -> None:
    n, command = int(sys.argv[1]), sys.argv[2:]
    gpus = visible_gpus()
    if len(gpus) > n:
        chosen = claim(gpus, n, Path(tempfile.gettempdir()) / f"arc-precision-gpus-{os.getuid()}")
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
    os.execvp(command[0], command)  # files that are not inherited close here, those of GPUs not chosen among them


if __name__ == "__main__":
    main()

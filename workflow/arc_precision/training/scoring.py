"""Rewards of a batch of completions, computed while the trainer does other work."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from arc_precision.config.sandbox import SandboxConfig
from arc_precision.sandbox import Limits, Sandbox, extract_program, run_each_once
from arc_precision.scoring.rewards import reward, solved
from arc_precision.tasks.grids import Task


class Scorer:
    """A sandbox kept open for a whole segment.

    Args:
        tasks: by row id.
        reward_name: name of the reward.
    """

    def __init__(self, tasks: dict[str, Task], reward_name: str, sandbox: SandboxConfig, workers: int) -> None:
        self._tasks = tasks
        self._reward_name = reward_name
        limits = Limits(sandbox.cpu_s, sandbox.wall_s, sandbox.memory_mb, sandbox.max_side)
        self._sandbox = Sandbox(limits, workers=workers, min_level=sandbox.min_level)
        self._thread = ThreadPoolExecutor(1)
        self.isolation_level = self._sandbox.level
        self.verdicts: Counter[str] = Counter()
        self.n_solved = 0
        self.n_reused = 0
        self.rewards: list[float] = []

    def start(self, row_ids: list[str], completions: list[str]) -> Callable[[], list[float]]:
        """Start running a batch; the returned function waits for its rewards.

        Raises (when waiting):
            SandboxFault: the sandbox itself failed, again and again. That is never a reward of 0.
        """
        return self._thread.submit(self._score, row_ids, completions).result

    def take(self) -> tuple[Counter[str], int, int, list[float]]:
        """Verdict counts, solved completions, completions whose program did not have to run again, and rewards since
        the last call."""
        taken = self.verdicts, self.n_solved, self.n_reused, self.rewards
        self.verdicts, self.n_solved, self.n_reused, self.rewards = Counter(), 0, 0, []
        return taken

    def close(self) -> None:
        """End the sandbox's processes."""
        self._thread.shutdown()
        self._sandbox.__exit__(None, None, None)

    def _score(self, row_ids: list[str], completions: list[str]) -> list[float]:
        tasks = [self._tasks[row_id] for row_id in row_ids]
        programs = [extract_program(completion) for completion in completions]
        grids = [[pair.input for pair in task.pairs] for task in tasks]
        rewards = []
        verdicts = run_each_once(self._sandbox.run, programs, grids)
        for (verdict, reused), task in zip(verdicts, tasks, strict=True):
            rewards.append(reward(self._reward_name, verdict, task))
            self.verdicts[verdict.status] += 1
            self.n_solved += solved(verdict, task)
            self.n_reused += reused
        self.rewards += rewards
        return rewards

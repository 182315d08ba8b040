"""Rewards of a batch of completions, computed while the trainer does other work."""

import copy
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from arc_precision.config.sandbox import SandboxConfig
from arc_precision.config.thinking import Thinking
from arc_precision.sandbox import Sandbox
from arc_precision.scoring.completions import judged, limits_of
from arc_precision.scoring.rewards import reward, solved
from arc_precision.tasks.grids import Task


class Scored(float):
    """A reward that carries the sandbox's verdict."""

    def __new__(cls, reward: float, verdict: str) -> "Scored":
        """`verdict`: one of `sandbox.STATUSES`."""
        scored = super().__new__(cls, reward)
        scored.verdict = verdict
        return scored


class Scorer:
    """A sandbox kept open for a whole segment.

    Args:
        tasks: by row id.
        reward_name: name of the reward.
        thinking: no program is taken from inside the thinking part.
        prompts: by row id; needed with `thinking`.
    """

    def __init__(
        self,
        tasks: dict[str, Task],
        reward_name: str,
        sandbox: SandboxConfig,
        workers: int,
        thinking: Thinking | None = None,
        prompts: dict[str, str] | None = None,
    ) -> None:
        self._tasks = tasks
        self._thinking = thinking
        self._prompts = prompts or {}
        self._reward_name = reward_name
        self._sandbox = Sandbox(limits_of(sandbox), workers=workers, min_level=sandbox.min_level)
        self._thread = ThreadPoolExecutor(1)
        self.isolation_level = self._sandbox.level
        self.verdicts: Counter[str] = Counter()
        self.n_solved = 0
        self.n_reused = 0
        self.rewards: list[float] = []

    def beside(self, tasks: dict[str, Task], prompts: dict[str, str]) -> "Scorer":
        """The scorer of another run, with tasks of its own and the same pool, in which batches run one after the
        other."""
        other = copy.copy(self)
        other._tasks, other._prompts = tasks, prompts
        other.take()
        return other

    def start(self, row_ids: list[str], completions: list[str]) -> Callable[[], list[Scored]]:
        """Start running a batch; the returned function waits for its rewards.

        Raises (when waiting):
            SandboxFault: the sandbox itself failed repeatedly. Such a failure is never a reward of 0.
        """
        return self._thread.submit(self._score, row_ids, completions).result

    def take(self) -> tuple[Counter[str], int, int, list[float]]:
        """Since the last call: counts of verdicts, solved completions, completions whose program was not run because an
        equal one was, and rewards."""
        taken = self.verdicts, self.n_solved, self.n_reused, self.rewards
        self.verdicts, self.n_solved, self.n_reused, self.rewards = Counter(), 0, 0, []
        return taken

    def close(self) -> None:
        """End the sandbox's processes, for all runs."""
        self._thread.shutdown()
        self._sandbox.__exit__(None, None, None)

    def _score(self, row_ids: list[str], completions: list[str]) -> list[Scored]:
        tasks = [self._tasks[row_id] for row_id in row_ids]
        prompts = [self._prompts.get(row_id, "") for row_id in row_ids]
        found = judged(self._sandbox.run, completions, tasks, self._thinking, prompts)
        scored = []
        for (_, verdict, reused), task in zip(found, tasks, strict=True):
            scored.append(Scored(reward(self._reward_name, verdict, task), verdict.status))
            self.verdicts[verdict.status] += 1
            self.n_solved += solved(verdict, task)
            self.n_reused += reused
        self.rewards += map(float, scored)
        return scored

"""Several runs in one process, which share the base weights and one sampler and draw their completions in one batch.

Each run is a thread with a trainer of its own. One thread runs at a time: it has the *turn* until it waits for
completions or rewards, and then the next run has it, always in the same order. So nothing depends on how the operating
system schedules threads, and collective operations of data-parallel processes meet in the same order. Random generators
and accelerate's account of a gradient accumulation belong to the process, so each run takes their states along with its
turn. The sampler is called from the thread that made it, because vLLM keeps a CUDA stream per thread.
"""

import copy
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from accelerate.state import GradientState

from arc_precision.sampling.engines import Completion, Sampler


class Turns:
    """Passes the turn among runs 0 to n - 1 in cyclic order, without the runs that have ended."""

    def __init__(self, n: int) -> None:
        self._changed = threading.Condition()
        self._current = 0
        self._fault: BaseException | None = None
        self._held_s = [0.0] * n
        self._since_s = time.perf_counter()
        self.running = set(range(n))

    def clock_s(self, run: int) -> float:
        """Seconds of the run's own turns so far. Over all runs they add up to the time that has passed."""
        now = time.perf_counter() - self._since_s if self._current == run else 0.0
        return self._held_s[run] + now

    def share(self, run: int, seconds: float) -> None:
        """Charge the time that one run spent for all running runs to each of them in equal parts."""
        self._held_s[run] -= seconds
        for other in self.running:
            self._held_s[other] += seconds / len(self.running)

    @contextmanager
    def elsewhere(self, run: int) -> Iterator[None]:
        """Give the other runs their turns while the body waits for something that needs no turn."""
        states = process_states()
        self._next(run)
        yield
        self.wait(run)
        set_process_states(states)

    def wait(self, run: int) -> None:
        """Wait for the run's turn. Raises RuntimeError when another run failed meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self._current == run or self._fault)
            if self._fault:
                raise RuntimeError("another run of this job failed") from self._fault

    def end(self, run: int, fault: BaseException | None = None) -> None:
        """The run has ended; with a fault all others end as well."""
        self.running.discard(run)
        self._fault = self._fault or fault
        self._next(run)

    def _next(self, run: int) -> None:
        with self._changed:
            now = time.perf_counter()
            self._held_s[self._current] += now - self._since_s
            self._since_s = now
            later = [other for other in self.running if other > run]
            self._current = min(later or self.running, default=run)
            self._changed.notify_all()


class Together:
    """`n` runs over one sampler."""

    def __init__(self, sampler: Sampler, n: int) -> None:
        self.turns = Turns(n)
        self._sampler = sampler
        self._calls: SimpleQueue = SimpleQueue()
        self._asked: dict[int, tuple[Sequence[Sequence[int]], Sequence[int]]] = {}
        self._drawn: dict[int, list[Completion]] = {}

    def sampler(self, run: int) -> "MemberSampler":
        """The sampler as one run sees it: its own batch, its own adapter."""
        return MemberSampler(self, run, self._sampler)

    def run(self, functions: Sequence[Callable[[], None]]) -> None:
        """Call each run's function in a thread of its own.

        Raises the exception of the run that failed first, after all have ended.
        """
        faults: list[BaseException] = []
        states = process_states()
        device = torch.cuda.current_device() if torch.cuda.is_initialized() else None

        def body(run: int) -> None:
            try:
                if device is not None:
                    torch.cuda.set_device(device)
                self.turns.wait(run)
                set_process_states(states)
                functions[run]()
                self.turns.end(run)
            except BaseException as fault:
                faults.append(fault)
                self.turns.end(run, fault)
            self._calls.put(None)

        threads = [threading.Thread(target=body, args=(run,), daemon=True) for run in range(len(functions))]
        for thread in threads:
            thread.start()
        n_ended = 0
        while n_ended < len(threads):
            call = self._calls.get()
            n_ended += call is None
            if call is not None:
                call()
        for thread in threads:
            thread.join()
        if faults:
            raise faults[0]

    def generate(self, run: int, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[Completion]:
        """Completions of one run's prompts, drawn once all running runs have asked for theirs."""
        self._asked[run] = (prompts, seeds)
        while run not in self._drawn:
            if self.turns.running <= self._asked.keys():
                self._draw(run)
            else:
                with self.turns.elsewhere(run):
                    pass
        return self._drawn.pop(run)

    def load_adapter(self, run: int, folder: Path) -> None:
        """Sample one run's completions with the adapter saved in a folder from now on."""
        self._on_sampler_thread(lambda: self._sampler.load_adapter(folder, run))

    def load_weights(self, weights: Iterator[tuple[str, torch.Tensor]]) -> None:
        """Replace the weights of the sampler, which all runs use."""
        self._on_sampler_thread(lambda: self._sampler.load_weights(weights))

    def _draw(self, run: int) -> None:
        runs = sorted(self._asked)
        prompts = [prompt for asking in runs for prompt in self._asked[asking][0]]
        seeds = [seed for asking in runs for seed in self._asked[asking][1]]
        slots = [asking for asking in runs for _ in self._asked[asking][0]]
        began = time.perf_counter()
        completions = iter(self._on_sampler_thread(lambda: self._sampler.generate(prompts, seeds, slots)))
        self.turns.share(run, time.perf_counter() - began)
        for asking in runs:
            self._drawn[asking] = [next(completions) for _ in self._asked[asking][0]]
        self._asked.clear()

    def _on_sampler_thread(self, function: Callable[[], Any]) -> Any:
        done: SimpleQueue = SimpleQueue()

        def call() -> None:
            # The sampler's draws from the process's generators must not affect the run that has the turn.
            states = process_states()
            try:
                result = function(), None
            except BaseException as fault:
                result = None, fault
            set_process_states(states)
            done.put(result)

        self._calls.put(call)
        result, fault = done.get()
        if fault is not None:
            raise fault
        return result


class MemberSampler:
    """One run's sampler; `sampling.engines.Sampler` describes its methods."""

    def __init__(self, together: Together, run: int, sampler: Sampler) -> None:
        self._together, self._run = together, run
        self.dtype, self.observed = sampler.dtype, sampler.observed

    def generate(self, prompts: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[Completion]:
        """One completion per prompt, with the run's adapter."""
        return self._together.generate(self._run, prompts, seeds)

    def load_adapter(self, folder: Path) -> None:
        """Use this adapter from now on."""
        self._together.load_adapter(self._run, folder)

    def load_weights(self, weights: Iterator[tuple[str, torch.Tensor]]) -> None:
        """Replace the sampler's weights. Only for a run that is alone."""
        self._together.load_weights(weights)


def sharing_weights(model: torch.nn.Module) -> torch.nn.Module:
    """A copy of a model whose modules are new and whose parameters and buffers are the model's own tensors."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def process_states() -> tuple:
    """States of the random generators of Python, numpy and PyTorch, and of accelerate's gradient accumulation."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    gradient = {key: copy.copy(value) for key, value in GradientState._shared_state.items()}
    return gradient, random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


def set_process_states(states: tuple) -> None:
    """Put back what `process_states` gave."""
    gradient, python, numpy, cpu, cuda = states
    GradientState._shared_state.clear()
    GradientState._shared_state.update({key: copy.copy(value) for key, value in gradient.items()})
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)

"""Runs of one process: one batch for all, turns in a fixed order, own random states, ends without harm to other
runs."""

import random
import threading

import numpy as np
import pytest
import torch
from accelerate.state import GradientState

from arc_precision.sampling.engines import Completion
from arc_precision.training.runs_together import Together, Turns, sharing_weights


class SharedSampler:
    """Gives every prompt a completion that says which prompt, seed and slot it had."""

    dtype, observed = torch.float32, {}

    def __init__(self):
        self.batches, self.adapters, self.threads = [], {}, set()

    def generate(self, prompts, seeds, slots):
        random.random(), np.random.rand(), torch.rand(1)  # a sampler may draw from the process's generators
        self.threads.add(threading.current_thread())
        self.batches.append(list(slots))
        return [Completion([*p, seed, slot], [], False) for p, seed, slot in zip(prompts, seeds, slots, strict=True)]

    def load_adapter(self, folder, slot):
        self.threads.add(threading.current_thread())
        self.adapters.setdefault(slot, []).append(folder)


def steps(sampler, run, n_steps, drawn):
    for step in range(n_steps):
        sampler.load_adapter(f"{run}/{step}")
        drawn[run].append([completion.token_ids for completion in sampler.generate([[run], [step]], [7, 8])])


def test_each_run_gets_its_own_completions_from_one_batch_per_step():
    sampler = SharedSampler()
    together, drawn = Together(sampler, 3), {0: [], 1: [], 2: []}
    together.run([lambda run=run: steps(together.sampler(run), run, 4, drawn) for run in range(3)])
    assert sampler.batches == [[0, 0, 1, 1, 2, 2]] * 4
    for run in range(3):
        assert drawn[run] == [[[run, 7, run], [step, 8, run]] for step in range(4)]
        assert sampler.adapters[run] == [f"{run}/{step}" for step in range(4)]
    assert sampler.threads == {threading.current_thread()}


def test_a_run_that_ends_early_leaves_the_others_going():
    sampler = SharedSampler()
    together, drawn = Together(sampler, 3), {0: [], 1: [], 2: []}
    together.run([lambda run=run, n=n: steps(together.sampler(run), run, n, drawn) for run, n in enumerate((3, 1, 2))])
    assert sampler.batches == [[0, 0, 1, 1, 2, 2], [0, 0, 2, 2], [0, 0]]
    assert [len(drawn[run]) for run in range(3)] == [3, 1, 2]


def test_a_fault_ends_all_runs_and_is_the_one_that_is_raised():
    together, drawn = Together(SharedSampler(), 2), {0: [], 1: []}

    def fail():
        together.sampler(1).generate([[0]], [0])
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        together.run([lambda: steps(together.sampler(0), 0, 9, drawn), fail])
    assert len(drawn[0]) < 9


def test_a_sampler_fault_reaches_the_caller():
    sampler = SharedSampler()
    sampler.generate = lambda *arguments: 1 // 0
    together = Together(sampler, 1)
    with pytest.raises(ZeroDivisionError):
        together.run([lambda: together.sampler(0).generate([[0]], [0])])


def draws(run, together, n_steps):
    """The draws of a run from the process's generators, before and after each wait."""
    random.seed(run)
    np.random.seed(run)
    torch.manual_seed(run)
    found = []
    for _ in range(n_steps):
        found.append((random.random(), np.random.rand(), torch.rand(1).item()))
        together.sampler(run).generate([[0]], [0])
        with together.turns.elsewhere(run):
            pass
    return found


def test_random_numbers_do_not_depend_on_the_company():
    def collect(runs):
        found = {}
        together = Together(SharedSampler(), len(runs))
        together.run([lambda run=run: found.__setitem__(run, draws(run, together, 3)) for run in runs])
        return found

    assert collect([0, 1, 2])[0] == collect([0])[0]


def test_the_account_of_a_gradient_accumulation_is_each_run_s_own():
    """accelerate keeps one account per process; a run that waits between two passes must find its own again."""
    together, found = Together(SharedSampler(), 2), {0: [], 1: []}

    def work(run):
        for number in range(3):
            GradientState()._set_sync_gradients((number + run) % 2 == 0)
            with together.turns.elsewhere(run):
                pass
            found[run].append(GradientState().sync_gradients)

    together.run([lambda run=run: work(run) for run in range(2)])
    assert found == {0: [True, False, True], 1: [False, True, False]}


def test_a_batch_is_charged_to_all_runs_in_equal_parts():
    turns = Turns(3)
    before = [turns._held_s[run] for run in range(3)]
    turns.share(1, 9.0)
    assert [turns._held_s[run] - was for run, was in enumerate(before)] == [3.0, -6.0, 3.0]
    turns.end(2)
    now = list(turns._held_s)
    turns.share(0, 4.0)
    assert turns._held_s[1] - now[1] == 2.0 and turns._held_s[2] == now[2]


def test_one_run_has_the_turn_at_a_time_and_turns_go_round():
    together, order, inside = Together(SharedSampler(), 3), [], []

    def work(run):
        for _ in range(3):
            inside.append(run)
            order.append(run)
            assert inside == [run]
            inside.remove(run)
            with together.turns.elsewhere(run):
                pass

    together.run([lambda run=run: work(run) for run in range(3)])
    assert order == [0, 1, 2] * 3


def test_a_copy_shares_tensors_and_no_modules():
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    other = sharing_weights(model)
    assert all(a is b for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert all(a is b for a, b in zip(model.buffers(), other.buffers(), strict=True))
    assert other[0] is not model[0]

import json

import numpy as np
from synthetic import random_task

from arc_precision.tasks.augment import Augmentation, draw_augmentation, row_rng


def _draw(k):
    return draw_augmentation(row_rng(0, "source", "task", k), 4)


def test_invert_undoes_apply_for_every_flip_and_turn():
    rng = np.random.default_rng(0)
    grid = rng.integers(0, 10, size=(3, 5), dtype=np.int8)
    kinds = set()
    for k in range(200):
        augmentation = _draw(k)
        kinds.add((augmentation.flip, augmentation.quarter_turns))
        assert np.array_equal(augmentation.invert(augmentation.apply(grid)), grid)
    assert len(kinds) == 8


def test_apply_flips_then_turns_then_recolors():
    grid = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.int8)
    colors = (0, 2, 3, 4, 5, 6, 7, 8, 9, 1)
    for turns in range(4):
        expected = np.array(colors)[np.rot90(np.fliplr(grid), turns)]
        assert np.array_equal(Augmentation(True, turns, colors, (0,)).apply(grid), expected)


def test_task_gets_one_augmentation_for_all_grids_and_new_order():
    task = random_task(np.random.default_rng(1), max_side=6)
    augmentation = draw_augmentation(row_rng(0, "s", "t", 3), len(task.train))
    augmented = augmentation.apply_to_task(task)
    assert sorted(augmentation.order) == list(range(len(task.train)))
    for place, original in enumerate(augmentation.order):
        assert np.array_equal(augmentation.invert(augmented.train[place].output), task.train[original].output)
    assert np.array_equal(augmentation.apply(task.test[0].input), augmented.test[0].input)


def test_record_gives_the_augmentation_back():
    augmentation = _draw(7)
    record = json.loads(augmentation.to_json())
    again = Augmentation(record["flip"], record["quarter_turns"], tuple(record["colors"]), tuple(record["order"]))
    assert again == augmentation


def test_draws_depend_on_each_part_of_the_key_and_nothing_else():
    keys = [(0, "s", "t", 0), (1, "s", "t", 0), (0, "r", "t", 0), (0, "s", "u", 0), (0, "s", "t", 1)]
    draws = [row_rng(*key).random() for key in keys]
    assert len(set(draws)) == len(keys)
    assert [row_rng(*key).random() for key in reversed(keys)] == draws[::-1]


def test_background_moves_once_in_ten_draws():
    moved_or_free = [_draw(k).colors[0] != 0 for k in range(3000)]
    # A full permutation, one draw in ten, leaves 0 in place one time in ten; 4 standard deviations are 0.02.
    assert abs(np.mean(moved_or_free) - 0.09) < 0.02

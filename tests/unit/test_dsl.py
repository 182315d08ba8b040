"""The grid language: the effect of each primitive, and properties of all of them."""

import subprocess
import sys
from itertools import product
from pathlib import Path
from random import Random

import numpy as np
import pytest

from arc_precision.language import dsl
from arc_precision.language.dsl import PRIMITIVES, Ink, NotApplicable, Paint
from arc_precision.language.programs import COLOR_TYPES, KEEPS_SHAPE
from arc_precision.tasks.scenes import ANYWHERE, halves, hidden_symmetric, hidden_tiled, magnified, odd_panel, rings

# Rows are separated by spaces; after the name come the colours.
EXAMPLES = [
    ("flip_h", "12 34", "21 43"),
    ("flip_v", "12 34", "34 12"),
    ("transpose", "123 456", "14 25 36"),
    ("rot90", "12 34", "31 42"),
    ("rot180", "12 34", "43 21"),
    ("rot270", "12 34", "24 13"),
    ("crop_content", "000 012 000", "12"),
    ("crop_color 2", "1020 0200", "02 20"),
    ("crop_rarest", "11120 11002", "20 02"),
    ("crop_largest_object", "1022 0020 3000", "22 20"),
    ("crop_smallest_object", "1022 0022", "1"),
    ("crop_largest_cluster", "100 003 000 220 030", "22 03"),
    ("crop_most_colors", "11011 11012", "11 12"),
    ("crop_symmetric", "11012 11011", "11 11"),
    ("trim_border", "111 121 111", "2"),
    ("left_half", "123 456", "1 4"),
    ("right_half", "123 456", "3 6"),
    ("top_half", "12 34 56", "12"),
    ("bottom_half", "12 34 56", "56"),
    ("panel_odd", "10510510 01501502", "10 02"),
    ("panels_to_cells", "10520 01502", "12"),
    ("and_halves 7", "101 222 110", "700"),
    ("or_halves 7", "101 222 110", "777"),
    ("xor_halves 7", "101 222 110", "077"),
    ("nor_halves 7", "100 222 110", "007"),
    ("overlay_halves", "100 999 220", "120"),
    ("upscale_2", "10", "1100 1100"),
    ("upscale_3", "1", "111 111 111"),
    ("upscale_by_colors", "12", "1122 1122"),
    ("downscale_3", "111222 111222 111222", "12"),
    ("dedupe_lines", "1122 1122 3344", "12 34"),
    ("tile_1x2", "12", "1212"),
    ("tile_2x2", "12", "1212 1212"),
    ("mirror_right", "12", "1221"),
    ("mirror_down", "12 34", "12 34 34 12"),
    ("mirror_both", "12", "1221 1221"),
    ("tile_turned", "12 34", "1231 3442 2443 1321"),
    ("fractal", "10 01", "1000 0100 0010 0001"),
    ("fractal_commonest", "12 22", "0012 0022 1212 2222"),
    ("gravity_up", "010 102", "112 000"),
    ("gravity_down", "110 002", "000 112"),
    ("gravity_left", "0102", "1200"),
    ("gravity_right", "0120", "0012"),
    ("shift_down", "12 34", "00 12"),
    ("sort_rows", "110 010 000 200", "000 010 200 110"),
    ("recolor 1 5", "121", "525"),
    ("swap_colors 1 2", "1023", "2013"),
    ("swap_two", "1022", "2011"),
    ("keep_color 2", "1223", "0220"),
    ("remove_color 2", "1223", "1003"),
    ("paint_all 4", "1023", "4044"),
    ("keep_commonest", "1223", "0220"),
    ("keep_rarest", "1220", "1000"),
    ("recolor_even_columns 5", "1101", "5101"),
    ("outline 3", "000 010 000", "333 313 333"),
    ("outline_diagonal 3", "000 010 000", "303 010 303"),
    ("fill_enclosed 4", "1110 1010 1110", "1110 1410 1110"),
    ("hollow", "111 111 111", "111 101 111"),
    ("paint_interior 2", "111 111 111", "111 121 111"),
    ("fill_boxes 3", "10 11", "13 11"),
    ("solid_boxes", "10 11", "11 11"),
    ("symmetrize_h", "100 230", "101 232"),
    ("repair_symmetry 9", "1291 3443", "1221 3443"),
    ("repair_tiling 9", "1212 1912", "1212 1212"),
    ("hidden_patch 9", "123321 456994 456654", "65"),
    ("ray_down", "10 00 20", "10 10 20"),
    ("rays_diagonal", "000 010 000", "101 010 101"),
    ("connect", "1001 0000 1002", "1111 1000 1002"),
    ("connect_with 3", "1001 0000 1002", "1331 3000 1002"),
    ("paint_empty_lines 2", "100 000", "122 222"),
    ("reverse_rings", "1111 1221 1221 1111", "2222 2112 2112 2222"),
    ("rarest_cell", "1122 1000", "2"),
    ("colors_by_count", "1120 1000", "1 2"),
    ("bars_by_count", "1120 1000", "111 200"),
    ("keep_largest", "1022 1020 0000 3000", "0022 0020 0000 0000"),
    ("color_smallest 5", "1022 0020", "5022 0020"),
    ("denoise", "1022 0020", "0022 0020"),
    ("color_open 6", "11100 10102 11100", "11100 10106 11100"),
    ("unify_commonest", "1120 0003", "1110 0001"),
    ("unify_rarest", "112", "222"),
]


def grid(text: str) -> np.ndarray:
    return np.array([[int(cell) for cell in row] for row in text.split()], dtype=np.int8)


@pytest.mark.parametrize(("call", "given", "expected"), EXAMPLES, ids=[call for call, _, _ in EXAMPLES])
def test_example(call, given, expected):
    name, *colors = call.split()
    np.testing.assert_array_equal(PRIMITIVES[name](grid(given), *map(int, colors)), grid(expected))


def test_every_primitive_has_an_example_and_a_one_line_docstring():
    assert {call.split()[0] for call, _, _ in EXAMPLES} == set(PRIMITIVES)
    assert 60 <= len(PRIMITIVES) <= 100
    for function in PRIMITIVES.values():
        assert function.__doc__ and "\n" not in function.__doc__


def _random_grids(count: int) -> list[np.ndarray]:
    rng = Random(0)
    kinds = [*ANYWHERE, halves, hidden_symmetric, hidden_tiled, magnified, odd_panel, rings]
    grids = []
    for i in range(count):
        palette = rng.sample(range(1, 10), rng.randint(1, 4))
        grids.append(kinds[i % len(kinds)](rng, rng.randint(1, 12), rng.randint(1, 12), palette, palette[0]))
    return grids


GRIDS = _random_grids(120)


def _calls(name: str, given: np.ndarray):
    """Colours for a call: those that the grid shows for colours to read, any for colours to draw with."""
    shown = [int(color) for color in np.unique(given) if color] or [1]
    pick = {Paint: [7, shown[-1]], Ink: shown[:2]}
    choices = [pick.get(kind, [0, shown[0]]) for kind in COLOR_TYPES[name]]
    return list(product(*choices))


def _run(name: str, given: np.ndarray, colors: tuple[int, ...]):
    try:
        return PRIMITIVES[name](given, *colors)
    except NotApplicable:
        return None


@pytest.mark.parametrize("name", PRIMITIVES)
def test_result_is_a_fresh_grid_and_the_input_is_left_alone(name):
    applied = 0
    for given in GRIDS:
        for colors in _calls(name, given):
            before = given.copy()
            result = _run(name, given, colors)
            np.testing.assert_array_equal(given, before)
            if result is None:
                continue
            applied += 1
            assert result.dtype == np.int8 and result.ndim == 2 and result.flags.c_contiguous
            assert 1 <= min(result.shape) and max(result.shape) <= 30
            assert set(np.unique(result)) <= set(np.unique(given)) | set(colors) | {0}
            assert not np.shares_memory(result, given)
            if name in KEEPS_SHAPE:
                assert result.shape == given.shape
    assert applied > 0


@pytest.mark.parametrize("name", PRIMITIVES)
def test_renaming_colors_commutes(name):
    rng = np.random.default_rng(1)
    for given in GRIDS[:60]:
        renaming = np.concatenate([[0], rng.permutation(9) + 1]).astype(np.int8)
        for colors in _calls(name, given):
            plain = _run(name, given, colors)
            renamed = _run(name, renaming[given], tuple(int(renaming[color]) for color in colors))
            assert (plain is None) == (renamed is None)
            if plain is not None:
                np.testing.assert_array_equal(renaming[plain], renamed)


def test_ties_colors_out_of_range_and_results_too_large_are_refused():
    with pytest.raises(NotApplicable, match="no single answer"):
        PRIMITIVES["crop_largest_object"](grid("101"))
    with pytest.raises(ValueError, match="0 to 9"):
        PRIMITIVES["paint_all"](grid("1"), 10)
    with pytest.raises(NotApplicable, match="60 x 1"):
        PRIMITIVES["mirror_down"](np.ones((30, 1), dtype=np.int8))


def test_lists_are_accepted():
    np.testing.assert_array_equal(PRIMITIVES["flip_h"]([[1, 2]]), grid("21"))


def test_star_import_exposes_the_primitives_alone_and_needs_numpy_alone():
    program = (
        "import sys; from dsl import *; names = set(dir()) - {'sys'};"
        "print(*sorted(n for n in names if n[0] != '_'));"
        "print(*sorted(m for m in sys.modules if m.split('.')[0] in ('arc_precision', 'torch', 'pydantic')))"
    )
    folder = Path(dsl.__file__).parent
    run = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    names, modules = run.stdout.split("\n")[:2]
    assert names.split() == sorted(PRIMITIVES) and not modules

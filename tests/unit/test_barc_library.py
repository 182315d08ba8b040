"""The `common` library that programs import: signatures, hand-made cases and properties on random grids."""

import inspect
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from arc_precision.sandbox import barc_library as common
from arc_precision.sandbox.barc_library import Color

LIBRARY = Path(common.__file__)

# Parameter names with their defaults, as programs written for BARC's library expect them.
SIGNATURES = {
    "flood_fill": "grid, x, y, color, connectivity=4",
    "draw_line": "grid, x, y, end_x=None, end_y=None, length=None, direction=None, color=None, stop_at_color=()",
    "find_connected_components": "grid, background=0, connectivity=4, monochromatic=True",
    "randomly_scatter_points": "grid, color, density=0.5, background=0",
    "scale_pattern": "pattern, scale_factor",
    "scale_sprite": "sprite, factor",
    "blit": "grid, sprite, x=0, y=0, background=None",
    "blit_object": "grid, obj, background=0",
    "blit_sprite": "grid, sprite, x, y, background=0",
    "bounding_box": "grid, background=0",
    "bounding_box_mask": "grid, background=0",
    "object_position": "obj, background=0, anchor='upper left'",
    "object_colors": "obj, background=0",
    "crop": "grid, background=0",
    "translate": "obj, x, y, background=0",
    "collision": "_=None, object1=None, object2=None, x1=0, y1=0, x2=0, y2=0, background=0",
    "contact": "_=None, object1=None, object2=None, x1=0, y1=0, x2=0, y2=0, background=0, connectivity=4",
    "randomly_spaced_indices": "max_len, n_indices, border_size=1, padding=1",
    "check_between_objects": "obj1, obj2, x, y, padding=0, background=0",
    "random_free_location_for_sprite": ("grid, sprite, background=0, border_size=0, padding=0, padding_connectivity=8"),
    "random_free_location_for_object": "*args, **kwargs",
    "object_interior": "grid, background=0",
    "object_boundary": "grid, background=0",
    "object_neighbors": "grid, background=0, connectivity=4",
    "orbit": "grid, x, y, symmetries",
    "detect_translational_symmetry": "grid, ignore_colors=(0,), background=None",
    "detect_mirror_symmetry": "grid, ignore_colors=(0,), background=None",
    "detect_rotational_symmetry": "grid, ignore_colors=(0,), background=None",
    "visualize": "input_generator, transform, n_examples=5, n_attempts=100",
    "apply_symmetry": "sprite, symmetry_type, background=0",
    "apply_diagonal_symmetry": "sprite, background=0",
    "is_contiguous": "bitmask, background=0, connectivity=4",
    "generate_sprite": (
        "n, m, symmetry_type, fill_percentage=0.5, max_colors=9, color_palate=None, connectivity=4, background=0"
    ),
    "random_sprite": "n, m, density=0.5, symmetry=None, color_palette=None, connectivity=4, background=0",
    "detect_objects": (
        "grid, _=None, predicate=None, background=0, monochromatic=False, connectivity=None, "
        "allowed_dimensions=None, colors=None, can_overlap=False"
    ),
    "TranslationalSymmetry": "translate_x, translate_y",
    "MirrorSymmetry": "mirror_x, mirror_y",
    "RotationalSymmetry": "center_x, center_y",
}
OTHER_NAMES = [
    "Any", "Callable", "Color", "List", "NDArray", "Optional", "Set", "Symmetry", "Tuple", "Union", "np", "numpy",
    "random",
]  # fmt: skip


def grid(text: str) -> np.ndarray:
    """A grid from rows of digits; '.' is 0. The first index runs down the rows."""
    return np.array([[int(cell) for cell in row.replace(".", "0")] for row in text.split()])


def assert_grids(actual, *expected: str) -> None:
    assert [obj.tolist() for obj in actual] == [grid(text).tolist() for text in expected]


@pytest.fixture(autouse=True)
def seeded():
    random.seed(0)
    np.random.seed(0)


def random_grids(count: int = 40, side: int = 8) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    shapes = rng.integers(1, side + 1, (count, 2))
    return [np.where(rng.random(shape) < 0.5, rng.integers(1, 4, shape), 0) for shape in shapes]


# ---------------------------------------------------------------------------------------------------------- the module


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    parameters = inspect.signature(getattr(common, name)).parameters.values()
    assert ", ".join(str(p.replace(annotation=p.empty)) for p in parameters) == SIGNATURES[name]


def test_star_import_gives_exactly_the_published_names():
    program = (
        f"import sys; sys.path.insert(0, {str(LIBRARY.parent)!r}); before = set(dir()); from barc_library import *; "
    )
    program += "print(*sorted(set(dir()) - before - {'before'})); import sys; print('scipy' in sys.modules)"
    out = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True).stdout
    names, scipy_loaded = out.splitlines()
    assert names.split() == sorted([*SIGNATURES, *OTHER_NAMES])
    assert scipy_loaded == "False"


def test_every_function_is_documented():
    assert all(getattr(common, name).__doc__ for name in SIGNATURES)


def test_colors():
    assert [Color.BLACK, Color.BLUE, Color.RED, Color.GREEN, Color.YELLOW] == [0, 1, 2, 3, 4]
    assert [Color.GREY, Color.PINK, Color.ORANGE, Color.TEAL, Color.MAROON] == [5, 6, 7, 8, 9]
    assert [Color.GRAY, Color.PURPLE, Color.BROWN, Color.TRANSPARENT, Color.BACKGROUND] == [5, 8, 9, 0, 0]
    assert Color.ALL_COLORS == list(range(10))
    assert Color.NOT_BLACK == list(range(1, 10))


READ_ONLY_CALLS = {
    "find_connected_components": lambda g: common.find_connected_components(g),
    "scale_pattern": lambda g: common.scale_pattern(g, 2),
    "scale_sprite": lambda g: common.scale_sprite(g, 2),
    "bounding_box": lambda g: common.bounding_box(g),
    "bounding_box_mask": lambda g: common.bounding_box_mask(g),
    "object_position": lambda g: common.object_position(g),
    "object_colors": lambda g: common.object_colors(g),
    "crop": lambda g: common.crop(g),
    "translate": lambda g: common.translate(g, 1, 1),
    "collision": lambda g: common.collision(object1=g, object2=g),
    "contact": lambda g: common.contact(object1=g, object2=g),
    "check_between_objects": lambda g: common.check_between_objects(g, g, 0, 0),
    "random_free_location_for_sprite": lambda g: common.random_free_location_for_sprite(g, np.zeros((1, 1), int)),
    "random_free_location_for_object": lambda g: common.random_free_location_for_object(g, np.zeros((1, 1), int)),
    "object_interior": lambda g: common.object_interior(g),
    "object_boundary": lambda g: common.object_boundary(g),
    "object_neighbors": lambda g: common.object_neighbors(g),
    "orbit": lambda g: common.orbit(g, 0, 0, [common.MirrorSymmetry(1, None)]),
    "detect_translational_symmetry": lambda g: common.detect_translational_symmetry(g),
    "detect_mirror_symmetry": lambda g: common.detect_mirror_symmetry(g),
    "detect_rotational_symmetry": lambda g: common.detect_rotational_symmetry(g),
    "is_contiguous": lambda g: common.is_contiguous(g),
    "detect_objects": lambda g: common.detect_objects(g, connectivity=4, allowed_dimensions=[(1, 2)]),
    "blit_sprite": lambda g: common.blit_sprite(np.zeros((4, 4), int), g, 1, 1),
    "blit_object": lambda g: common.blit_object(np.zeros((4, 4), int), g),
}


@pytest.mark.parametrize("name", READ_ONLY_CALLS)
def test_arguments_are_left_alone(name):
    for g in random_grids():
        before = g.copy()
        g.flags.writeable = False
        READ_ONLY_CALLS[name](g)
        assert np.array_equal(g, before)


# ----------------------------------------------------------------------------------------------------------- drawing


def test_flood_fill():
    g = grid("""11.
                .1.
                ..1""")
    assert common.flood_fill(g, 0, 0, 5) is None
    assert_grids([g], "55. .5. ..1")
    common.flood_fill(g, 1, 1, 7, connectivity=8)
    assert_grids([g], "77. .7. ..1")
    common.flood_fill(g, 2, 2, 7)
    common.flood_fill(g, 2, 2, 3, connectivity=8)
    assert_grids([g], "33. .3. ..3")
    common.flood_fill(g, -1, 0, 4)
    assert_grids([g], "33. 43. 443")
    common.flood_fill(g, np.array([0]), np.array([2]), 6)  # what np.where gives for a single cell
    assert_grids([g], "336 436 443")


def test_flood_fill_with_the_same_color_changes_nothing_and_a_full_grid_needs_no_recursion():
    g = np.ones((30, 30), int)
    common.flood_fill(g, 3, 4, 1)
    assert (g == 1).all()
    common.flood_fill(g, 3, 4, 2)
    assert (g == 2).all()
    with pytest.raises(IndexError):
        common.flood_fill(g, 30, 0, 1)
    with pytest.raises(ValueError, match="connectivity is 6"):
        common.flood_fill(g, 0, 0, 1, connectivity=6)


def test_draw_line_to_an_end():
    g = np.zeros((3, 4), int)
    assert common.draw_line(g, 0, 0, end_x=2, end_y=2, color=1) == (2, 2)
    assert_grids([g], "1... .1.. ..1.")
    assert common.draw_line(g, 0.0, 3, end_x=0, end_y=1.0, color=2) == (0, 1)
    assert_grids([g], "1222 .1.. ..1.")


def test_draw_line_along_a_direction():
    g = np.zeros((3, 4), int)
    assert common.draw_line(g, 1, 1, direction=(0, 1), color=3) == (1, 3)
    assert common.draw_line(g, 2, 0, direction=(-5, 0), length=2, color=4) == (1, 0)
    assert_grids([g], ".... 4333 4...")


def test_draw_line_takes_only_the_signs_of_a_slanted_line():
    g = np.zeros((4, 4), int)
    assert common.draw_line(g, 0, 0, end_x=3, end_y=1, color=1) == (3, 3)
    assert_grids([g], "1... .1.. ..1. ...1")


def test_draw_line_stops_before_a_color_and_enters_from_outside():
    g = grid(".... ..2. ....")
    assert common.draw_line(g, 1, 0, direction=(0, 1), color=1, stop_at_color=[2]) == (1, 1)
    assert_grids([g], ".... 112. ....")
    assert common.draw_line(g, 1, 2, direction=(0, 1), color=1, stop_at_color=[2]) == (1, 2)
    assert common.draw_line(g, -2, 3, direction=(1, 0), color=5) == (2, 3)
    assert_grids([g], "...5 1125 ...5")
    assert common.draw_line(g, 7, 7, direction=(1, 0), color=5) == (7, 7)


@pytest.mark.parametrize("arguments", [{"end_x": 1}, {}, {"direction": (1, 0), "x": 0.5}, {"end_x": 1.5, "end_y": 0}])
def test_draw_line_refuses(arguments):
    with pytest.raises(ValueError, match="draw_line needs"):
        common.draw_line(np.zeros((3, 3), int), **{"x": 0, "y": 0, "color": 1, **arguments})


def test_blit_clips_and_keeps_transparent_cells():
    sprite = grid("12 .3")
    g = np.full((3, 3), 7)
    assert common.blit(g, sprite, 2, 1) is g
    assert_grids([g], "777 777 712")
    assert_grids([common.blit(np.full((3, 3), 7), sprite, 1.9, -1)], "777 277 377")
    assert_grids([common.blit(np.full((3, 3), 7), sprite, background=0)], "127 737 777")
    assert_grids([common.blit_sprite(np.full((3, 3), 7), sprite, 0, 1)], "712 773 777")
    assert_grids([common.blit_sprite(np.full((3, 3), 7), sprite, 0, 1, background=3)], "712 707 777")
    assert_grids(
        [
            common.blit_object(
                np.full((2, 3), 7),
                grid(
                    "..4 ...",
                ),
            )
        ],
        "774 777",
    )
    assert_grids([common.blit(np.full((2, 2), 7), sprite, -5, 9)], "77 77")


def test_blit_of_a_part_of_the_grid_onto_itself_copies_what_was_there():
    g = grid("12...")
    assert_grids([common.blit(g, g[:, :4], 0, 1)], "112..")


def test_randomly_scatter_points():
    for density, painted in [(0.5, 13), (0.0, 0), (1.0, 20)]:
        g = np.zeros((5, 5), int)
        g[0] = 4
        assert common.randomly_scatter_points(g, 2, density) is g
        assert np.count_nonzero(g == 2) == painted
        assert (g[0] == 4).all()


# ------------------------------------------------------------------------------------------------ sprites and objects


def test_scaling():
    assert_grids([common.scale_sprite(grid("12 3."), 2)], "1122 1122 33.. 33..")
    assert_grids([common.scale_pattern(grid("12"), 3)], "111222 111222 111222")


def test_bounding_box_crop_and_mask():
    g = grid(".... ..5. .6.. ....")
    assert common.bounding_box(g) == (1, 1, 2, 2)
    assert all(type(value) is int for value in common.bounding_box(g))
    assert_grids([common.crop(g)], ".5 6.")
    assert_grids([common.bounding_box_mask(g)], ".... .11. .11. ....")
    assert common.bounding_box(g + 1, background=1) == (1, 1, 2, 2)


def test_bounding_box_of_nothing():
    g = np.zeros((3, 4), int)
    assert common.bounding_box(g) == (3, 4, -3, -4)
    assert common.crop(g).shape == (0, 0)
    assert not common.bounding_box_mask(g).any()


def test_crop_is_a_view():
    g = grid("... .1. ...")
    common.crop(g)[:] = 9
    assert g[1, 1] == 9


@pytest.mark.parametrize(
    ("anchor", "position"),
    [
        ("upper left", (1, 0)), ("upper right", (2, 0)), ("lower left", (1, 2)), ("lower right", (2, 2)),
        ("center", (1.5, 1)), ("upper center", (1.5, 0)), ("lower center", (1.5, 2)), ("left center", (1, 1)),
        ("right center", (2, 1)), ("Top Left", (1, 0)), ("bottomright", (2, 2)),
    ],
)  # fmt: skip
def test_object_position(anchor, position):
    found = common.object_position(grid("... 111 11. ..."), anchor=anchor)
    assert found == position
    assert [type(value) for value in found] == [type(value) for value in position]


def test_object_position_refuses():
    with pytest.raises(ValueError, match="anchor is 'middle'"):
        common.object_position(grid("1"), anchor="middle")


def test_object_colors():
    assert sorted(common.object_colors(grid("123 .11"))) == [1, 2, 3]
    assert sorted(common.object_colors(grid("123 .11"), background=1)) == [0, 2, 3]
    assert common.object_colors(grid("..")) == []


def test_translate():
    assert_grids([common.translate(grid("12 3."), 1, 0)], ".. 12")
    assert_grids([common.translate(grid("12 34"), 0, -1, background=5)], "25 45")
    assert_grids([common.translate(grid("12 34"), 3, 0)], ".. ..")


def test_collision():
    plus = grid(".1. 111 .1.")
    dot = grid("1")
    assert [common.collision(object1=plus, object2=dot, x2=x, y2=0) for x in range(-1, 4)] == [False] * 2 + [
        True, False, False]  # fmt: skip
    assert common.collision(object1=dot, object2=plus, x1=5, y1=6, x2=4, y2=5)
    assert not common.collision(object1=dot, object2=plus, x1=5, y1=6, x2=3, y2=4.0, background=0)
    assert common.collision(object1=grid("."), object2=grid("."), background=1)


def test_contact():
    dot = grid("1")
    for x in range(-2, 3):
        for y in range(-2, 3):
            assert common.contact(object1=dot, object2=dot, x2=x, y2=y) == (abs(x) + abs(y) <= 1)
            assert common.contact(object1=dot, object2=dot, x1=-x, y1=-y, connectivity=8) == (max(abs(x), abs(y)) <= 1)
    assert type(common.contact(object1=dot, object2=dot)) is bool
    with pytest.raises(ValueError, match="it must be 4 or 8"):
        common.contact(object1=dot, object2=dot, connectivity=5)


def test_check_between_objects():
    left, right = grid("111.... 111.... ......."), grid("....... .....22 .....22")
    between = [cell for cell in np.ndindex(3, 7) if common.check_between_objects(left, right, *cell)]
    assert between == [(1, 3), (1, 4)]
    assert not any(common.check_between_objects(left, right, *cell, padding=1) for cell in between)
    assert common.check_between_objects(left.T, right.T, 3, 1)
    assert common.check_between_objects(right, left, 1, 4)


def test_random_free_location_for_sprite():
    g = grid("1111 1..1 1..1 1111")
    assert common.random_free_location_for_sprite(g, grid("22 22")) == (1, 1)
    assert {common.random_free_location_for_sprite(g, grid("2.")) for _ in range(50)} == {
        (1, 1), (1, 2), (2, 1), (2, 2)
    }  # fmt: skip
    assert common.random_free_location_for_object(g, grid("22 22")) == (1, 1)
    with pytest.raises(ValueError, match="no free location"):
        common.random_free_location_for_sprite(g, grid("2"), padding=1)
    with pytest.raises(ValueError, match="no free location"):
        common.random_free_location_for_sprite(g, grid("22222"))


@pytest.mark.parametrize("padding_connectivity", [4, 8])
def test_random_free_location_keeps_padding_and_border(padding_connectivity):
    g = np.zeros((7, 7), int)
    g[3, 3] = 1
    places = {
        common.random_free_location_for_sprite(
            g, grid("2"), border_size=1, padding=1, padding_connectivity=padding_connectivity
        )
        for _ in range(400)
    }
    distance = {4: lambda dx, dy: abs(dx) + abs(dy), 8: lambda dx, dy: max(abs(dx), abs(dy))}[padding_connectivity]
    assert places == {(x, y) for x in range(1, 6) for y in range(1, 6) if distance(x - 3, y - 3) > 1}


def test_randomly_spaced_indices():
    for _ in range(50):
        indices = common.randomly_spaced_indices(20, 4, border_size=2, padding=2)
        assert len(indices) == 4
        assert (np.diff(indices) > 2).all()
        assert indices[0] >= 2 and indices[-1] < 18
    with pytest.raises(IndexError):
        common.randomly_spaced_indices(5, 4, border_size=0, padding=1)


# -------------------------------------------------------------------------------------------------------- components


def test_find_connected_components():
    g = grid("""12.
                1.3
                .33""")
    assert_grids(common.find_connected_components(g), "1.. 1.. ...", ".2. ... ...", "... ..3 .33")
    assert_grids(common.find_connected_components(g, monochromatic=False), "12. 1.. ...", "... ..3 .33")
    assert_grids(common.find_connected_components(g, monochromatic=False, connectivity=8), "12. 1.3 .33")
    assert_grids(common.find_connected_components(grid("11 33"), background=3), "11 33")


def test_components_of_one_color_are_joined_at_corners_only_by_8():
    g = grid("1. .1")
    assert len(common.find_connected_components(g)) == 2
    assert len(common.find_connected_components(g, connectivity=8)) == 1
    assert common.find_connected_components(np.zeros((2, 2), int)) == []
    with pytest.raises(ValueError, match="connectivity is None"):
        common.find_connected_components(g, connectivity=None)


def test_components_of_a_mask_are_integers():
    (component,) = common.find_connected_components(np.array([[True, True, False]]))
    assert component.tolist() == [[1, 1, 0]]
    assert component.dtype.kind == "i"


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("monochromatic", [True, False])
def test_components_are_a_partition_into_separate_connected_objects(connectivity, monochromatic):
    for g in random_grids():
        components = common.find_connected_components(g, connectivity=connectivity, monochromatic=monochromatic)
        assert np.array_equal(sum(components, np.zeros_like(g)), g)
        for i, component in enumerate(components):
            assert component.shape == g.shape
            assert common.is_contiguous(component, connectivity=connectivity)
            for other in components[i + 1 :]:
                same_color = common.object_colors(component) == common.object_colors(other)
                if same_color or not monochromatic:
                    assert not common.contact(object1=component, object2=other, connectivity=connectivity)


def test_a_spiral_is_one_component():
    spiral = np.zeros((29, 29), int)
    x, y, dx, dy = 0, 0, 0, 1
    for length in [28, 28, *(side for k in range(13, 0, -1) for side in (2 * k, 2 * k))]:
        common.draw_line(spiral, x, y, end_x=x + dx * length, end_y=y + dy * length, color=1)
        x, y, dx, dy = x + dx * length, y + dy * length, dy, -dx
    assert np.count_nonzero(spiral) > 350
    assert common.is_contiguous(spiral)
    assert len(common.find_connected_components(spiral)) == 1


def test_is_contiguous():
    assert common.is_contiguous(grid("12 .3"))
    assert not common.is_contiguous(grid("1. .1"))
    assert common.is_contiguous(grid("1. .1"), connectivity=8)
    assert not common.is_contiguous(grid(".."))
    assert common.is_contiguous(grid("1.1"), background=1)


def test_interior_boundary_and_neighbors():
    ring = grid("""......
                   .1111.
                   .1..1.
                   .1111.
                   ......""")
    filled = "...... .1111. .1111. .1111. ......"
    assert_grids([common.object_interior(ring)], filled)
    assert_grids([common.object_boundary(ring)], "...... .1111. .1..1. .1111. ......")
    assert_grids([common.object_boundary(grid(filled))], "...... .1111. .1..1. .1111. ......")
    assert_grids([common.object_neighbors(grid(filled))], ".1111. 1....1 1....1 1....1 .1111.")
    assert_grids([common.object_neighbors(grid(filled), connectivity=8)], "111111 1....1 1....1 1....1 111111")
    assert_grids([common.object_neighbors(ring)], ".1111. 1....1 1.11.1 1....1 .1111.")


def test_a_hole_on_the_edge_is_not_interior_and_edge_cells_are_boundary():
    assert_grids([common.object_interior(grid("111 1.1"))], "111 1.1")
    assert_grids([common.object_interior(grid("11. 1.1 .11"))], "11. 111 .11")  # closed for steps over sides
    assert common.object_boundary(np.ones((2, 2), int)).all()
    assert_grids([common.object_boundary(np.ones((3, 3), int))], "111 1.1 111")


def test_masks_are_boolean():
    for mask in (common.object_interior, common.object_boundary, common.object_neighbors, common.bounding_box_mask):
        assert mask(grid("1. ..")).dtype == bool


# --------------------------------------------------------------------------------------------------- detect_objects


def test_detect_objects_without_a_source_finds_nothing():
    assert common.detect_objects(grid("12")) == []


def test_detect_objects_by_connectivity():
    g = grid("""12..
                ..33
                4...""")
    assert_grids(common.detect_objects(g, connectivity=4), "12.. .... ....", ".... ..33 ....", ".... .... 4...")
    assert_grids(
        common.detect_objects(g, connectivity=4, monochromatic=True, colors=[3, 4]), ".... ..33 ....", ".... .... 4..."
    )
    assert_grids(common.detect_objects(g, connectivity=4, predicate=lambda s: s.shape == (1, 1)), ".... .... 4...")
    assert_grids(common.detect_objects(grid("51"), connectivity=4, background=5), "51")


def test_detect_objects_passes_the_sprite_to_the_predicate():
    seen = []
    common.detect_objects(grid("..... .12.. .3..."), connectivity=4, predicate=lambda s: seen.append(s.tolist()))
    assert seen == [[[1, 2], [3, 0]]]


def test_detect_objects_by_dimensions():
    g = grid("11.2")
    windows = ["11..", ".1..", "...2"]
    assert_grids(common.detect_objects(g, allowed_dimensions=[(1, 2)], can_overlap=True), *windows)
    assert_grids(common.detect_objects(g, allowed_dimensions=[(1, 2)]), "...2", "11..")
    assert_grids(common.detect_objects(g, allowed_dimensions=[(1, 2)], colors=[2]), "...2")
    assert_grids(common.detect_objects(g, allowed_dimensions=[(1, 2)], predicate=lambda s: (s == 1).all()), "11..")
    assert common.detect_objects(g, allowed_dimensions=[(2, 2)]) == []


def test_components_stay_beside_dimensions_only_if_the_whole_grid_has_them():
    g = grid("1.1")
    assert common.detect_objects(g, connectivity=4, allowed_dimensions=[(1, 1)], can_overlap=True)
    assert_grids(common.detect_objects(g, connectivity=4, allowed_dimensions=[(1, 3)], can_overlap=True),
                 "1..", "..1", "1.1")  # fmt: skip
    assert_grids(common.detect_objects(g, connectivity=4, monochromatic=True, allowed_dimensions=[(5, 5)]))


def test_detect_objects_covers_as_much_as_possible():
    assert_grids(common.detect_objects(grid("1111"), allowed_dimensions=[(1, 2)]), "11..", "..11")
    # Three cells: one pair and nothing else. The pair that comes last is chosen, because not every cell is covered.
    assert_grids(common.detect_objects(grid("111"), allowed_dimensions=[(1, 2)]), ".11")
    # Larger first: taking the triple leaves one cell, which the pair cannot cover alone.
    assert_grids(common.detect_objects(grid("11111"), allowed_dimensions=[(1, 2), (1, 3)]), "111..", "...11")


def best_cover(masks: list[np.ndarray]) -> int:
    if not masks:
        return 0
    first, *rest = masks
    taken = np.count_nonzero(first) + best_cover([mask for mask in rest if not (mask & first).any()])
    return max(taken, best_cover(rest))


def test_detect_objects_cover_is_optimal_and_disjoint():
    for g in random_grids(count=30, side=4):
        candidates = common.detect_objects(g, allowed_dimensions=[(2, 2), (1, 2)], can_overlap=True)
        chosen = common.detect_objects(g, allowed_dimensions=[(2, 2), (1, 2)])
        cells = [obj != 0 for obj in chosen]
        assert sum(cells, np.zeros(g.shape, int)).max(initial=0) <= 1
        assert sum(mask.sum() for mask in cells) == best_cover([obj != 0 for obj in candidates])
        assert all(any(np.array_equal(obj, candidate) for candidate in candidates) for obj in chosen)


# -------------------------------------------------------------------------------------------------------- symmetries


def test_apply_of_the_symmetries():
    assert common.TranslationalSymmetry(2, -1).apply(1, 1, iters=3) == (7, -2)
    assert common.MirrorSymmetry(2, None).apply(0, 5) == (4, 5)
    assert common.MirrorSymmetry(1.5, 0.5).apply(0, 0) == (3, 1)
    assert common.MirrorSymmetry(1.5, 0.5).apply(3, 7, iters=2) == (3, 7)
    assert common.RotationalSymmetry(1, 1).apply(0, 0) == (0, 2)
    assert common.RotationalSymmetry(1, 1).apply(0, 0, iters=-1) == (2, 0)
    assert common.RotationalSymmetry(0.5, 0.5).apply(0, 0, iters=2) == (1, 1)
    xs, ys = common.MirrorSymmetry(1.5, None).apply(np.array([0, 1]), np.array([4, 5]))
    assert (xs.tolist(), ys.tolist(), xs.dtype.kind) == ([3, 2], [4, 5], "i")
    assert all(type(value) is int for value in common.RotationalSymmetry(0.5, 0.5).apply(1, 1))
    assert repr(common.MirrorSymmetry(1.5, None)) == "MirrorSymmetry(mirror_x=1.5, mirror_y=None)"
    assert repr(common.TranslationalSymmetry(1, 2)) == "TranslationalSymmetry(translate_x=1, translate_y=2)"
    assert all(issubclass(kind, common.Symmetry) for kind in (common.MirrorSymmetry, common.RotationalSymmetry))


def test_orbit():
    canvas = np.zeros((4, 5), int)
    assert sorted(common.orbit(canvas, 1, 1, [common.TranslationalSymmetry(0, 2)])) == [(1, 1), (1, 3)]
    assert sorted(common.orbit(canvas, 0, 0, [common.MirrorSymmetry(1.5, None)])) == [(0, 0), (3, 0)]
    assert sorted(common.orbit(canvas, 0, 1, [common.RotationalSymmetry(1.5, 1.5)])) == [(0, 1), (1, 3), (2, 0), (3, 2)]
    steps = [common.TranslationalSymmetry(1, 0), common.TranslationalSymmetry(0, 1)]
    assert sorted(common.orbit(canvas, 2, 3, steps)) == sorted(np.ndindex(4, 5))
    assert common.orbit(canvas, 2, 3, []) == [(2, 3)]


def describe(symmetry) -> dict:
    return vars(symmetry)


def test_detect_translational_symmetry():
    tiles = np.tile(grid("12 34"), (3, 3))
    found = common.detect_translational_symmetry(tiles)
    assert [describe(s) for s in found] == [
        {"translate_x": -2, "translate_y": 0},
        {"translate_x": 0, "translate_y": -2},
    ]
    stairs = grid("1... .1.. ..1. ...1")
    assert [describe(s) for s in common.detect_translational_symmetry(stairs, ignore_colors=[], background=0)] == [
        {"translate_x": 1, "translate_y": 1}
    ]
    assert common.detect_translational_symmetry(grid("12 34"), ignore_colors=[]) == []


def test_detect_translational_symmetry_sees_through_an_occluder():
    tiles = np.tile(grid("123"), (1, 4))
    tiles[0, 4:6] = 9
    (symmetry,) = common.detect_translational_symmetry(tiles, ignore_colors=[9])
    assert abs(symmetry.translate_y) == 3


def test_detect_mirror_symmetry():
    picture = grid("12321 45654 12321")
    found = [describe(s) for s in common.detect_mirror_symmetry(picture)]
    assert found == [
        {"mirror_x": 1, "mirror_y": None},
        {"mirror_x": None, "mirror_y": 2},
        {"mirror_x": 1, "mirror_y": 2},
    ]
    assert [describe(s) for s in common.detect_mirror_symmetry(grid("1221"))] == [
        {"mirror_x": 0, "mirror_y": None},
        {"mirror_x": None, "mirror_y": 1.5},
    ]
    occluded = picture.copy()
    occluded[0, 0] = 9
    (best, *_) = common.detect_mirror_symmetry(occluded, ignore_colors=[9])
    assert describe(best) == {"mirror_x": 1, "mirror_y": None}


def test_detect_rotational_symmetry():
    symmetry = common.detect_rotational_symmetry(grid("1.1 .5. 1.1"))
    assert (symmetry.center_x, symmetry.center_y) == (1, 1)
    even = common.detect_rotational_symmetry(grid(".... .33. .33. ...."))
    assert (even.center_x, even.center_y) == (1.5, 1.5)
    assert common.detect_rotational_symmetry(grid("12 34"), ignore_colors=[]) is None
    assert common.detect_rotational_symmetry(np.zeros((3, 3), int)) is None


def test_a_found_rotation_restores_an_occluded_picture():
    quarter = np.arange(1, 10).reshape(3, 3) % 7 + 1
    top = np.hstack([quarter, np.rot90(quarter, -1)])
    picture = np.vstack([top, np.rot90(top, 2)])
    damaged = picture.copy()
    damaged[1:3, 1:4] = 9
    symmetry = common.detect_rotational_symmetry(damaged, ignore_colors=[9])
    for x, y in np.argwhere(damaged == 9):
        colors = {int(damaged[cell]) for cell in common.orbit(damaged, x, y, [symmetry])} - {9}
        assert colors == {picture[x, y]}


# ----------------------------------------------------------------------------------------------------- random sprites


def test_apply_symmetry():
    assert_grids([common.apply_symmetry(grid("1. 23 .4"), "horizontal")], "14 23 14")
    assert_grids([common.apply_symmetry(grid("12. ..3"), "vertical")], "121 3.3")
    g = grid("1. ..")
    assert common.apply_symmetry(g, "vertical") is g
    assert_grids([g], "11 ..")
    assert_grids([common.apply_diagonal_symmetry(grid("1.2 34. ..5"))], "132 34. 2.5")
    with pytest.raises(ValueError, match="symmetry_type is 'radial'"):
        common.apply_symmetry(g, "radial")
    with pytest.raises(ValueError, match="square sprite, not 1 x 2"):
        common.apply_diagonal_symmetry(grid("12"))


SYMMETRIC = {
    "not_symmetric": lambda s: True,
    "horizontal": lambda s: np.array_equal(s, s[::-1]),
    "vertical": lambda s: np.array_equal(s, s[:, ::-1]),
    "mirror": lambda s: np.array_equal(s, s[::-1]) and np.array_equal(s, s[:, ::-1]),
    "diagonal": lambda s: np.array_equal(s, s.T) or np.array_equal(s, s[::-1, ::-1].T),
    "radial": lambda s: np.array_equal(s, np.rot90(s)),
}


@pytest.mark.parametrize("symmetry", SYMMETRIC)
@pytest.mark.parametrize("connectivity", [4, 8])
def test_random_sprite_keeps_its_promises(symmetry, connectivity):
    for _ in range(25):
        sprite = common.random_sprite([3, 4, 5], range(3, 6), symmetry=symmetry, connectivity=connectivity)
        assert sprite.shape[0] in (3, 4, 5) and sprite.shape[1] in (3, 4, 5)
        assert common.is_contiguous(sprite, connectivity=connectivity)
        assert common.crop(sprite).shape == sprite.shape
        assert SYMMETRIC[symmetry](sprite)


def test_random_sprite_of_every_symmetry_colors_and_background():
    kinds = {tuple(kind for kind in SYMMETRIC if SYMMETRIC[kind](common.random_sprite(4, 4))) for _ in range(60)}
    assert len(kinds) > 3
    sprite = common.random_sprite(4, 5, color_palette=[2, 3], background=7)
    assert set(sprite.flat) <= {2, 3, 7}
    assert (common.random_sprite(1, 4) != 0).all()
    with pytest.raises(ValueError, match="radial symmetry needs a square sprite, not 2 x 3"):
        common.generate_sprite(2, 3, "radial")
    with pytest.raises(ValueError, match="symmetry is 'spiral'; it must be one of not_symmetric"):
        common.generate_sprite(2, 3, "spiral")


def test_generate_sprite_fills_the_share_asked_for():
    for share in (0.25, 0.5, 1.0):
        sprite = common.generate_sprite(6, 4, "not_symmetric", fill_percentage=share)
        assert np.count_nonzero(sprite) == share * 24
    assert len(common.object_colors(common.generate_sprite(6, 6, "mirror", max_colors=1))) == 1


@pytest.mark.parametrize("symmetry", ["horizontal", "mirror", "not_symmetric"])
def test_a_long_thin_sprite_touches_both_ends_although_its_density_is_too_low_for_that(symmetry):
    assert common.crop(common.random_sprite(2, 12, density=0.1, symmetry=symmetry)).shape == (2, 12)


def test_the_seed_decides_everything_random():
    def draw():
        random.seed(5)
        np.random.seed(5)
        sprite = common.random_sprite(range(3, 8), range(3, 8))
        canvas = common.randomly_scatter_points(np.zeros((9, 9), int), 3, density=0.3)
        return sprite.tolist(), canvas.tolist(), common.randomly_spaced_indices(20, 3).tolist()

    assert draw() == draw()


def test_visualize(capsys):
    def transform(g):
        if g[0, 0] == 2:
            raise KeyError("odd")
        return g + 1

    inputs = iter([grid("12 34"), grid("2"), grid("5")])
    common.visualize(lambda: next(inputs), transform, n_examples=2, n_attempts=3)
    out = capsys.readouterr().out
    assert "Input 1:\n13\n24\nOutput 1:\n24\n35\n" in out
    assert "Input 2:\n5\nOutput 2:\n6\n" in out
    assert "1 of 3 attempts failed" in out and "KeyError" in out

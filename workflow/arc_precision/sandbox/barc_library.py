"""The `common` library: helpers for programs that transform coloured grids.

Models trained on the BARC programs write `from common import *` and call the names below, so this module is what
that import finds inside the sandbox. Names, parameters and behaviour follow BARC's library (`seeds/common.py` of
github.com/xu3kev/BARC, arXiv 2411.02272), where the first index of a grid is x and the second is y: `grid[x, y]`.

Three conventions hold everywhere:

* `background` is the colour that counts as empty. It is black unless stated.
* A *sprite* is a small array that holds only the pattern; an *object* is an array as large as the grid it was found
  in, with everything but the object set to background. Detection returns objects, so their place is not lost.
* `blit*`, `draw_line`, `flood_fill`, `randomly_scatter_points` and `apply_*` write into their first argument; `crop`
  returns a view; everything else leaves its arguments alone and returns new arrays.

Random helpers draw from the global state of `random` and `numpy.random`. The module needs numpy only and is cheap to
import. `numpy`, `np`, `random` and the common names of `typing` are exported because programs use them unimported.
"""

import itertools
import math
import random
import traceback
from collections.abc import Iterator
from typing import Any, Callable, List, Optional, Set, Tuple, Union  # noqa: UP035 (programs use these names)

import numpy
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Any", "Callable", "List", "NDArray", "Optional", "Set", "Tuple", "Union", "np", "numpy", "random",
    "Color", "MirrorSymmetry", "RotationalSymmetry", "Symmetry", "TranslationalSymmetry",
    "apply_diagonal_symmetry", "apply_symmetry", "blit", "blit_object", "blit_sprite", "bounding_box",
    "bounding_box_mask", "check_between_objects", "collision", "contact", "crop", "detect_mirror_symmetry",
    "detect_objects", "detect_rotational_symmetry", "detect_translational_symmetry", "draw_line",
    "find_connected_components", "flood_fill", "generate_sprite", "is_contiguous", "object_boundary",
    "object_colors", "object_interior", "object_neighbors", "object_position", "orbit",
    "random_free_location_for_object", "random_free_location_for_sprite", "random_sprite",
    "randomly_scatter_points", "randomly_spaced_indices", "scale_pattern", "scale_sprite", "translate", "visualize",
]  # fmt: skip

Grid = NDArray[np.int_]
Mask = NDArray[np.bool_]
num = int | float


class Color:
    """The ten colours. Several have two names; TRANSPARENT and BACKGROUND are other names of BLACK."""

    BLACK = TRANSPARENT = BACKGROUND = 0
    BLUE = 1
    RED = 2
    GREEN = 3
    YELLOW = 4
    GREY = GRAY = 5
    PINK = 6
    ORANGE = 7
    TEAL = PURPLE = 8
    MAROON = BROWN = 9

    ALL_COLORS = list(range(10))
    NOT_BLACK = list(range(1, 10))


# ------------------------------------------------------------------------------------------- connectivity and masks

_SIDES = [(0, 1), (0, -1), (1, 0), (-1, 0)]
_NEIGHBORS = {4: _SIDES, 8: [*_SIDES, (1, 1), (1, -1), (-1, 1), (-1, -1)]}


def _neighbors(connectivity: int) -> list[tuple[int, int]]:
    """Steps from a cell to its 4 or 8 neighbours."""
    if connectivity not in _NEIGHBORS:
        raise ValueError(f"connectivity is {connectivity!r}; it must be 4 or 8")
    return _NEIGHBORS[connectivity]


class _Regions:
    """The regions of equal neighbouring values of a 2-D array, taken one after the other."""

    def __init__(self, values: NDArray, connectivity: int) -> None:
        self._height, self._width = values.shape
        self._stride = self._width + 2
        # A flat list with a wall of None around it: no bounds to check, and 30x30 cells take about half a
        # millisecond. Cells that were taken turn into wall.
        wall = [None] * self._stride
        self._cells = wall + [cell for row in values.tolist() for cell in (None, *row, None)] + wall
        self._steps = [dx * self._stride + dy for dx, dy in _neighbors(connectivity)]

    def take(self, x: int, y: int) -> list[int]:
        """Removes the region around (x, y) and returns the flat indices of its cells in the array."""
        cells, steps = self._cells, self._steps
        start = (x + 1) * self._stride + y + 1
        value = cells[start]
        cells[start] = None
        region = [start]
        for cell in region:  # grows while it is walked
            for step in steps:
                neighbor = cell + step
                if cells[neighbor] == value:
                    cells[neighbor] = None
                    region.append(neighbor)
        return [(cell // self._stride - 1) * self._width + cell % self._stride - 1 for cell in region]

    def all_but(self, background: Any) -> Iterator[tuple[Any, list[int]]]:
        """Value and cells of each region whose value is not `background`, by first cell in reading order."""
        for x in range(self._height):
            for y in range(self._width):
                value = self._cells[(x + 1) * self._stride + y + 1]
                if value is not None and value != background:
                    yield value, self.take(x, y)


def _common_cells(
    shape: tuple[int, int], patch_shape: tuple[int, int], x: int, y: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where an array and a patch laid on it at (x, y) coincide: the slices into the array and into the patch."""

    def spans(length: int, patch_length: int, offset: int) -> tuple[slice, slice]:
        start = max(offset, 0)
        stop = max(start, min(offset + patch_length, length))
        return slice(start, stop), slice(start - offset, stop - offset)

    rows, patch_rows = spans(shape[0], patch_shape[0], x)
    columns, patch_columns = spans(shape[1], patch_shape[1], y)
    return (rows, columns), (patch_rows, patch_columns)


def _masks_overlap(mask: Mask, other: Mask, x: int, y: int) -> bool:
    """Whether a cell is set in `mask` and in `other` laid on it at (x, y)."""
    cells, other_cells = _common_cells(mask.shape, other.shape, x, y)
    return bool((mask[cells] & other[other_cells]).any())


def _dilate(mask: Mask, connectivity: int) -> Mask:
    """The mask together with all neighbours of its cells."""
    grown = mask.copy()
    for dx, dy in _neighbors(connectivity):
        target, source = _common_cells(mask.shape, mask.shape, dx, dy)
        grown[target] |= mask[source]
    return grown


def _framed(array: NDArray, value: Any) -> NDArray:
    """The array with a frame of one cell of `value` around it."""
    framed = np.full((array.shape[0] + 2, array.shape[1] + 2), value, dtype=array.dtype)
    framed[1:-1, 1:-1] = array
    return framed


# ------------------------------------------------------------------------------------------------ drawing on a grid


def flood_fill(grid: Grid, x: int, y: int, color: int, connectivity: int = 4) -> None:
    """Paints the connected region of equal colour around (x, y), in place.

    connectivity: 4 joins cells that share a side, 8 also those that share a corner. Raises IndexError if (x, y) is
    outside the grid; negative coordinates count from the end, and arrays of one element are taken, as in numpy.
    """
    _neighbors(connectivity)
    if grid[x, y] == color:
        return
    start = [np.asarray(i).item() % side for i, side in zip((x, y), grid.shape, strict=True)]
    grid.flat[_Regions(grid, connectivity).take(*start)] = color


def draw_line(
    grid: Grid,
    x: num,
    y: num,
    end_x: num | None = None,
    end_y: num | None = None,
    length: int | None = None,
    direction: tuple[int, int] | None = None,
    color: int | None = None,
    stop_at_color: list[int] = (),
) -> tuple[int, int]:
    """Draws a straight or diagonal line from (x, y), in place, and returns the last cell drawn.

    The line goes either to (end_x, end_y) or along `direction` for `length` cells, to the edge if no length is
    given. Only the signs of the direction count: a line to a point that is neither straight nor diagonal from the
    start goes diagonally, for as many cells as the longer side has. Cells outside the grid are passed over, so a
    line may start outside. The first cell that has one of `stop_at_color` ends the line and stays as it is. If
    nothing was drawn, (x, y) is returned.

    Raises ValueError for coordinates that are not whole numbers and if neither end nor direction is given.
    """
    if (end_x is None) != (end_y is None):
        raise ValueError("draw_line needs both end_x and end_y, or neither")
    if any(value != int(value) for value in (x, y, end_x or 0, end_y or 0)):
        raise ValueError(f"draw_line needs whole coordinates, not ({x}, {y}) to ({end_x}, {end_y})")
    x, y = int(x), int(y)
    if end_x is not None:
        direction = int(end_x) - x, int(end_y) - y
        length = max(abs(direction[0]), abs(direction[1])) + 1
    elif direction is None:
        raise ValueError("draw_line needs end_x and end_y, or a direction")
    elif length is None:
        length = 2 * max(grid.shape)

    dx, dy = (int(step > 0) - int(step < 0) for step in direction)
    end = x, y
    for i in range(length):
        cell = x + i * dx, y + i * dy
        if 0 <= cell[0] < grid.shape[0] and 0 <= cell[1] < grid.shape[1]:
            if grid[cell] in stop_at_color:
                break
            grid[cell] = color
            end = cell
    return end


def randomly_scatter_points(grid: Grid, color: int, density: float = 0.5, background: int = Color.BLACK) -> Grid:
    """Paints random background cells, in place, until they make up `density` of all cells; returns the grid.

    Paints every background cell if there are too few of them.
    """
    free = np.flatnonzero(grid == background)
    count = min(math.ceil(density * grid.size), free.size)
    grid.flat[np.random.choice(free, count, replace=False)] = color
    return grid


def blit(grid: Grid, sprite: Grid, x: num = 0, y: num = 0, background: int | None = None) -> Grid:
    """Copies the sprite onto the grid with its first cell at (x, y), in place; returns the grid.

    Cells that fall outside the grid are dropped. With `background` given, sprite cells of that colour are not
    copied; by default all are. Fractions of x and y are cut off.
    """
    cells, sprite_cells = _common_cells(grid.shape, sprite.shape, int(x), int(y))
    source = sprite[sprite_cells]
    visible = True if background is None else source != background
    np.copyto(grid[cells], source, where=visible, casting="unsafe")
    return grid


def blit_object(grid: Grid, obj: Grid, background: int = Color.BLACK) -> Grid:
    """Draws an object onto the grid at its own place, in place; returns the grid."""
    return blit(grid, obj, background=background)


def blit_sprite(grid: Grid, sprite: Grid, x: num, y: num, background: int = Color.BLACK) -> Grid:
    """Draws the non-background cells of a sprite with its first cell at (x, y), in place; returns the grid."""
    return blit(grid, sprite, x=x, y=y, background=background)


# -------------------------------------------------------------------------------------------- sprites and their place


def scale_sprite(sprite: Grid, factor: int) -> Grid:
    """Every cell becomes a block of factor x factor cells."""
    return sprite.repeat(factor, axis=0).repeat(factor, axis=1)


def scale_pattern(pattern: Grid, scale_factor: int) -> Grid:
    """An older name of `scale_sprite`."""
    return scale_sprite(pattern, scale_factor)


def bounding_box(grid: Grid, background: int = Color.BLACK) -> tuple[int, int, int, int]:
    """The smallest box around all non-background cells, as (x, y, extent along x, extent along y).

    For a grid of background alone it is (n, m, -n, -m), where (n, m) is the grid's shape.
    """
    n, m = grid.shape
    occupied = grid != background
    xs = np.flatnonzero(occupied.any(axis=1))
    ys = np.flatnonzero(occupied.any(axis=0))
    if xs.size == 0:
        return n, m, -n, -m
    return int(xs[0]), int(ys[0]), int(xs[-1] - xs[0]) + 1, int(ys[-1] - ys[0]) + 1


def bounding_box_mask(grid: Grid, background: int = Color.BLACK) -> Mask:
    """True for the cells inside the bounding box of the non-background cells."""
    x, y, w, h = bounding_box(grid, background)
    mask = np.zeros(grid.shape, dtype=bool)
    mask[x : x + w, y : y + h] = True
    return mask


def crop(grid: Grid, background: int = Color.BLACK) -> Grid:
    """The part of the grid inside the bounding box: the sprite of an object.

    It is a view, so writing to it changes the grid. A grid of background alone gives shape (0, 0).
    """
    x, y, w, h = bounding_box(grid, background)
    return grid[x : x + w, y : y + h]


# The share of a box's extent that lies before the anchor, along x and along y.
_ANCHORS = {
    "upperleft": (0, 0), "uppercenter": (0.5, 0), "upperright": (1, 0),
    "leftcenter": (0, 0.5), "center": (0.5, 0.5), "rightcenter": (1, 0.5),
    "lowerleft": (0, 1), "lowercenter": (0.5, 1), "lowerright": (1, 1),
}  # fmt: skip


def object_position(obj: Grid, background: int = Color.BLACK, anchor: str = "upper left") -> tuple[num, num]:
    """The (x, y) of a point of the object's bounding box: int where it is a cell, float where it is between two.

    anchor: "center", or "upper" or "lower" with "left", "center" or "right", or "left center", "right center".
    "top" and "bottom" may stand for "upper" and "lower"; case and spaces do not matter. Left to right runs along x,
    upper to lower along y.
    """
    key = anchor.lower().replace(" ", "").replace("top", "upper").replace("bottom", "lower")
    if key not in _ANCHORS:
        raise ValueError(f"anchor is {anchor!r}; write for example 'upper left', 'center' or 'lower center'")
    x, y, w, h = bounding_box(obj, background)
    along_x, along_y = _ANCHORS[key]
    position = x + along_x * (w - 1), y + along_y * (h - 1)
    return tuple(int(value) if value == int(value) else value for value in position)


def object_colors(obj: Grid, background: int = Color.BLACK) -> list[int]:
    """The different colours of the object, without background."""
    # Programs take the first colour or object of a list, so the order is the one BARC's library has: a set's.
    return list(set(obj.flat) - {background})


def translate(obj: Grid, x: int, y: int, background: int = Color.BLACK) -> Grid:
    """A copy moved by (x, y). What leaves the array is lost and what becomes free is background."""
    return blit(np.full_like(obj, background), obj, x, y)


def collision(
    _: Any | None = None,
    object1: Grid | None = None,
    object2: Grid | None = None,
    x1: num = 0,
    y1: num = 0,
    x2: num = 0,
    y2: num = 0,
    background: int = Color.BLACK,
) -> bool:
    """Whether two sprites or objects overlap when the first is at (x1, y1) and the second at (x2, y2).

    The objects are given by keyword; the first positional argument is not used.
    """
    return _masks_overlap(object1 != background, object2 != background, int(x2 - x1), int(y2 - y1))


def contact(
    _: Any | None = None,
    object1: Grid | None = None,
    object2: Grid | None = None,
    x1: num = 0,
    y1: num = 0,
    x2: num = 0,
    y2: num = 0,
    background: int = Color.BLACK,
    connectivity: int = 4,
) -> bool:
    """Whether two sprites or objects touch or overlap when they are at (x1, y1) and (x2, y2).

    connectivity: with 4 a common side is touching, with 8 a common corner as well. The objects are given by
    keyword; the first positional argument is not used.
    """
    mask1, mask2 = object1 != background, object2 != background
    x, y = int(x2 - x1), int(y2 - y1)
    return any(_masks_overlap(mask1, mask2, x + dx, y + dy) for dx, dy in [(0, 0), *_neighbors(connectivity)])


def check_between_objects(
    obj1: Grid, obj2: Grid, x: int, y: int, padding: int = 0, background: int = Color.BLACK
) -> bool:
    """Whether the cell (x, y) lies in the gap between the bounding boxes of two objects, along x or along y.

    padding: across the gap, the cell must also be this far inside the extent that both boxes share.
    """
    x1, y1, w1, h1 = bounding_box(obj1, background)
    x2, y2, w2, h2 = bounding_box(obj2, background)

    def in_gap(at: int, start1: int, extent1: int, start2: int, extent2: int) -> bool:
        return start1 + extent1 <= at < start2 or start2 + extent2 <= at < start1

    def shared(at: int, start1: int, extent1: int, start2: int, extent2: int) -> bool:
        return max(start1, start2) + padding <= at < min(start1 + extent1, start2 + extent2) - padding

    along_x, along_y = (x, x1, w1, x2, w2), (y, y1, h1, y2, h2)
    return (in_gap(*along_x) and shared(*along_y)) or (in_gap(*along_y) and shared(*along_x))


def randomly_spaced_indices(max_len: int, n_indices: int, border_size: int = 1, padding: int = 1) -> Grid:
    """Random, sorted indices below `max_len` with at least `padding` indices between two of them.

    border_size: the first `border_size` indices and, if it is not 0, the last two are never chosen. Raises
    IndexError when the indices chosen so far leave no room for the next.
    """
    if border_size > 0:
        inner = randomly_spaced_indices(max_len - border_size - 2, n_indices, border_size=0, padding=padding)
        return inner + border_size
    chosen = []
    while len(chosen) < n_indices:
        chosen.append(random.choice([i for i in range(max_len) if all(abs(i - c) > padding for c in chosen)]))
    return np.array(sorted(chosen), dtype=int)


def random_free_location_for_sprite(
    grid: Grid,
    sprite: Grid,
    background: int = Color.BLACK,
    border_size: int = 0,
    padding: int = 0,
    padding_connectivity: int = 8,
) -> tuple[int, int]:
    """A random (x, y) at which the sprite lies inside the grid and covers none of its non-background cells.

    border_size: cells to leave free along every edge. padding: cells to leave free around what is in the grid, in
    steps of `padding_connectivity` (4 or 8). Raises ValueError if there is no such place.
    """
    occupied = grid != background
    for _ in range(padding):
        occupied = _dilate(occupied, padding_connectivity)
    pattern = sprite != background
    free = [
        (x, y)
        for x in range(border_size, grid.shape[0] + 1 - border_size - sprite.shape[0])
        for y in range(border_size, grid.shape[1] + 1 - border_size - sprite.shape[1])
        if not _masks_overlap(occupied, pattern, x, y)
    ]
    if not free:
        raise ValueError("the grid has no free location for the sprite")
    return random.choice(free)


def random_free_location_for_object(*args: Any, **kwargs: Any) -> tuple[int, int]:
    """An older name of `random_free_location_for_sprite`."""
    return random_free_location_for_sprite(*args, **kwargs)


# ------------------------------------------------------------------------------------------------------------ objects


def find_connected_components(
    grid: Grid, background: int = Color.BLACK, connectivity: int = 4, monochromatic: bool = True
) -> list[Grid]:
    """The connected components of the non-background cells, each as an object (an array of the grid's shape).

    connectivity: 4 joins cells that share a side, 8 also those that share a corner. monochromatic: if true, only
    cells of one colour are joined, and the components come colour by colour; within that, by their first cell in
    reading order.
    """
    values, empty = (grid, background) if monochromatic else (grid != background, False)
    regions = _Regions(values, connectivity).all_but(empty)
    if monochromatic:
        rank = {color: i for i, color in enumerate(object_colors(grid, background))}
        regions = sorted(regions, key=lambda region: rank[region[0]])
    return [_object(grid, cells, background) for _, cells in regions]


def _object(grid: Grid, cells: list[int], background: int) -> Grid:
    """An object that has the grid's colours in the given cells. Boolean grids give integers."""
    obj = np.full(grid.shape, background, dtype=np.result_type(grid, int))
    obj.flat[cells] = grid.flat[cells]
    return obj


def is_contiguous(bitmask: Grid, background: int = Color.BLACK, connectivity: int = 4) -> bool:
    """Whether the non-background cells form exactly one connected component, whatever their colours."""
    return sum(1 for _ in _Regions(bitmask != background, connectivity).all_but(False)) == 1


def object_interior(grid: Grid, background: int = Color.BLACK) -> Mask:
    """True for the object's own cells and for those it encloses: all that the border does not reach.

    The outside spreads from the border over cells that share a side.
    """
    outside = _framed((grid != background).astype(int), 0)
    flood_fill(outside, 0, 0, color=2)
    return outside[1:-1, 1:-1] != 2


def object_boundary(grid: Grid, background: int = Color.BLACK) -> Mask:
    """True for the object's cells that share a side with its outside or lie on the edge of the grid."""
    outside = _framed(~object_interior(grid, background), True)
    return (grid != background) & _dilate(outside, connectivity=4)[1:-1, 1:-1]


def object_neighbors(grid: Grid, background: int = Color.BLACK, connectivity: int = 4) -> Mask:
    """True for the background cells next to the object's boundary.

    connectivity: with 4 a common side is next to, with 8 a common corner as well.
    """
    return (grid == background) & _dilate(object_boundary(grid, background), connectivity)


def detect_objects(
    grid: Grid,
    _: Any | None = None,
    predicate: Callable[[Grid], bool] | None = None,
    background: int = Color.BLACK,
    monochromatic: bool = False,
    connectivity: int | None = None,
    allowed_dimensions: list[tuple[int, int]] | None = None,
    colors: list[int] | None = None,
    can_overlap: bool = False,
) -> list[Grid]:
    """The objects of a grid that fit a description, each as an array of the grid's shape.

    Candidates come from two sources, each used only if it is asked for; with neither there are none:

    * `connectivity` (4 or 8): the connected components, as `find_connected_components` with `monochromatic` finds
      them. If `allowed_dimensions` is given too, they stay only where the whole grid has one of these dimensions.
    * `allowed_dimensions` (a list of (n, m)): every n x m window of the grid that is not all background.

    predicate: keeps the candidates for whose sprite (the cropped component, or the window) it is true.
    colors: keeps the candidates that have only these colours and background.
    can_overlap: if false, the result is a subset without overlaps that covers as many cells as possible: first the
    candidates that overlap no other, then the chosen ones, both by falling area of the bounding box and number of
    cells. The search for it is exact and can take exponential time where many candidates overlap.
    """
    objects = []
    if connectivity:
        objects = find_connected_components(grid, background, connectivity, monochromatic)
        if colors:
            objects = [obj for obj in objects if np.isin(obj, [*colors, background]).all()]
        if predicate:
            objects = [obj for obj in objects if predicate(crop(obj, background))]
    if allowed_dimensions:
        objects = [obj for obj in objects if obj.shape in allowed_dimensions]
        objects += _windows(grid, predicate, background, allowed_dimensions, colors, exclude=objects)
    return objects if can_overlap else _without_overlaps(objects, background)


def _windows(
    grid: Grid,
    predicate: Callable[[Grid], bool] | None,
    background: int,
    dimensions: list[tuple[int, int]],
    colors: list[int] | None,
    exclude: list[Grid],
) -> list[Grid]:
    """The windows of the given dimensions that pass the filters of `detect_objects`, as objects."""
    occupied = grid != background
    foreign = np.zeros(grid.shape, dtype=bool) if colors is None else ~np.isin(grid, [*colors, background])
    found = []
    for n, m in dimensions:
        for x in range(grid.shape[0] - n + 1):
            for y in range(grid.shape[1] - m + 1):
                window = slice(x, x + n), slice(y, y + m)
                if not occupied[window].any() or foreign[window].any():
                    continue
                if predicate is not None and not predicate(grid[window]):
                    continue
                obj = np.full(grid.shape, background)
                obj[window] = grid[window]
                if not any(np.array_equal(obj, other) for other in exclude):
                    found.append(obj)
    return found


def _without_overlaps(objects: list[Grid], background: int) -> list[Grid]:
    """The subset of `objects` that `detect_objects` describes under `can_overlap`.

    Among subsets that cover equally much, objects early in the order are preferred if every cell is covered, and
    avoided otherwise: the choice BARC's depth-first search makes.
    """

    def size(obj: Grid) -> tuple[int, int]:
        return crop(obj, background).size, np.count_nonzero(obj != background)

    objects = sorted(objects, key=size, reverse=True)
    masks = [int.from_bytes(np.packbits(obj != background).tobytes()) for obj in objects]  # a set of cells is an int

    groups = []  # (cells, objects): objects of different groups share no cell, so each group is a search of its own
    for i, mask in enumerate(masks):
        joined = [group for group in groups if group[0] & mask]
        groups = [group for group in groups if not group[0] & mask]
        for cells, _ in joined:
            mask |= cells
        groups.append((mask, sorted([i, *itertools.chain.from_iterable(members for _, members in joined)])))

    overlapping = [group for group in groups if len(group[1]) > 1]
    best = [_largest_cover(masks, members) for _, members in overlapping]
    if any(_cover(masks, chosen) != cells for chosen, (cells, _) in zip(best, overlapping, strict=True)):
        best = [
            _last_cover(masks, members, _cover(masks, chosen).bit_count())
            for chosen, (_, members) in zip(best, overlapping, strict=True)
        ]
    alone = sorted(members[0] for _, members in groups if len(members) == 1)
    return [objects[i] for i in [*alone, *sorted(itertools.chain.from_iterable(best))]]


def _cover(masks: list[int], chosen: list[int]) -> int:
    """All cells of the chosen masks."""
    cells = 0
    for i in chosen:
        cells |= masks[i]
    return cells


def _largest_cover(masks: list[int], candidates: list[int]) -> list[int]:
    """The disjoint masks that cover most cells: of all such choices the first, where taking comes before leaving."""
    best: list[int] = []
    best_size = 0

    def search(candidates: list[int], chosen: list[int], covered: int) -> None:
        nonlocal best, best_size
        if covered.bit_count() > best_size:
            best, best_size = chosen, covered.bit_count()
        reachable = list(itertools.accumulate((masks[i] for i in reversed(candidates)), lambda a, b: a | b))[::-1]
        for k, i in enumerate(candidates):
            if (covered | reachable[k]).bit_count() <= best_size:
                return
            rest = [j for j in candidates[k + 1 :] if not masks[j] & masks[i]]
            search(rest, [*chosen, i], covered | masks[i])

    search(candidates, [], 0)
    return best


def _last_cover(masks: list[int], candidates: list[int], size: int) -> list[int]:
    """The disjoint masks that cover `size` cells, the most possible: of all such choices the last in that order."""

    def search(candidates: list[int], chosen: list[int], covered: int) -> list[int] | None:
        if covered.bit_count() == size:
            return chosen
        reachable = covered
        for k in reversed(range(len(candidates))):
            i = candidates[k]
            reachable |= masks[i]
            if reachable.bit_count() < size:
                continue
            rest = [j for j in candidates[k + 1 :] if not masks[j] & masks[i]]
            found = search(rest, [*chosen, i], covered | masks[i])
            if found is not None:
                return found
        return None

    return search(candidates, [], 0)


# --------------------------------------------------------------------------------------------------------- symmetries


class Symmetry:
    """A map of grid cells onto each other that keeps the picture as it is."""

    def apply(self, x: num, y: num, iters: int = 1) -> tuple[num, num]:
        """The image of the point (x, y) after `iters` applications. x and y may be arrays of coordinates."""
        raise NotImplementedError

    def _iter_range(self, grid_shape: tuple[int, int]) -> tuple[int, int]:
        """The range of `iters`, end exclusive, that reaches every image inside a grid of this shape."""
        raise NotImplementedError


def _whole(value: Any) -> Any:
    """Coordinates as integers: arrays are cut off, floats rounded, the rest is whole already."""
    if isinstance(value, np.ndarray):
        return value.astype(int)
    return round(value) if isinstance(value, float) else value


class TranslationalSymmetry(Symmetry):
    """Repeats along the vector (translate_x, translate_y)."""

    def __init__(self, translate_x: int, translate_y: int) -> None:
        self.translate_x, self.translate_y = translate_x, translate_y

    def apply(self, x: num, y: num, iters: int = 1) -> tuple[num, num]:
        return _whole(x + iters * self.translate_x), _whole(y + iters * self.translate_y)

    def __repr__(self) -> str:
        return f"TranslationalSymmetry(translate_x={self.translate_x}, translate_y={self.translate_y})"

    def _iter_range(self, grid_shape: tuple[int, int]) -> tuple[int, int]:
        steps = [
            math.ceil(side / abs(step))
            for side, step in zip(grid_shape, (self.translate_x, self.translate_y), strict=True)
            if step != 0
        ]
        most = max(steps, default=0)
        return -most, most + 1


class MirrorSymmetry(Symmetry):
    """Reflects in the line x = mirror_x, in the line y = mirror_y, or in both. None leaves a coordinate alone."""

    def __init__(self, mirror_x: num | None, mirror_y: num | None) -> None:
        self.mirror_x, self.mirror_y = mirror_x, mirror_y

    def apply(self, x: num, y: num, iters: int = 1) -> tuple[num, num]:
        if iters % 2 == 0:
            return x, y
        if self.mirror_x is not None:
            x = 2 * self.mirror_x - x
        if self.mirror_y is not None:
            y = 2 * self.mirror_y - y
        return _whole(x), _whole(y)

    def __repr__(self) -> str:
        return f"MirrorSymmetry(mirror_x={self.mirror_x}, mirror_y={self.mirror_y})"

    def _iter_range(self, grid_shape: tuple[int, int]) -> tuple[int, int]:
        return 0, 2


class RotationalSymmetry(Symmetry):
    """Turns by 90 degrees around (center_x, center_y); `apply` with negative `iters` turns the other way."""

    def __init__(self, center_x: num, center_y: num) -> None:
        self.center_x, self.center_y = center_x, center_y

    def apply(self, x: num, y: num, iters: int = 1) -> tuple[num, num]:
        x, y = x - self.center_x, y - self.center_y
        for _ in range(iters % 4):
            x, y = y, -x
        return _whole(x + self.center_x), _whole(y + self.center_y)

    def __repr__(self) -> str:
        return f"RotationalSymmetry(center_x={self.center_x}, center_y={self.center_y})"

    def _iter_range(self, grid_shape: tuple[int, int]) -> tuple[int, int]:
        return 0, 4


def orbit(grid: Grid, x: int, y: int, symmetries: list[Symmetry]) -> list[tuple[int, int]]:
    """The cells of the grid that (x, y) reaches when the symmetries are applied in turn, each any number of times.

    Only the grid's shape counts, so it is usually the output grid. A path that leaves the grid between two
    symmetries is not followed.
    """
    points = [(x, y)]
    for symmetry in symmetries:
        images = (
            symmetry.apply(px, py, iters) for px, py in points for iters in range(*symmetry._iter_range(grid.shape))
        )
        inside = (p for p in images if 0 <= p[0] < grid.shape[0] and 0 <= p[1] < grid.shape[1])
        points = list(dict.fromkeys(inside))  # each point once, or the next symmetry would do its work repeatedly
    return list(set(points))


def _symmetry_counts(
    grid: Grid, ignore_colors: list[int], background: int | None
) -> Callable[[Symmetry], tuple[int, int, int]]:
    """A function that counts how a symmetry maps the cells that are neither ignored nor background.

    Returns how many go to a cell of the same colour, how many leave the grid, and how many go to a cell of another
    colour that is not ignored.
    """
    n, m = grid.shape
    ignored = np.isin(grid, ignore_colors)
    xs, ys = np.nonzero(~ignored if background is None else ~ignored & (grid != background))
    colors = grid[xs, ys]

    def count(symmetry: Symmetry) -> tuple[int, int, int]:
        image_x, image_y = symmetry.apply(xs, ys)
        inside = (image_x >= 0) & (image_x < n) & (image_y >= 0) & (image_y < m)
        image_x, image_y = image_x[inside], image_y[inside]
        same = grid[image_x, image_y] == colors[inside]
        conflicts = np.count_nonzero(~same & ~ignored[image_x, image_y])
        return np.count_nonzero(same), inside.size - image_x.size, conflicts

    return count


def detect_translational_symmetry(
    grid: Grid, ignore_colors: list[int] = (Color.BLACK,), background: int | None = None
) -> list[TranslationalSymmetry]:
    """The best translation along x and the best along y that map the picture onto itself, where they exist.

    If there is neither, the best diagonal one with positive steps, or an empty list. A translation counts if no
    cell goes to a cell of another colour, and is better the more cells keep their colour, less 0.01 for each that
    leaves the grid; of equal ones the smaller (more negative) step is taken. Cells of `ignore_colors` match
    everything, such as an occluder; cells of `background` are not mapped but must not be covered.
    """
    count = _symmetry_counts(grid, ignore_colors, background)
    n, m = grid.shape

    def best(steps: list[tuple[int, int]]) -> list[TranslationalSymmetry]:
        ranked = []
        for dx, dy in steps:
            symmetry = TranslationalSymmetry(dx, dy)
            same, outside, conflicts = count(symmetry)
            score = same - 0.01 * outside - 100_000 * conflicts
            if score > 0:
                ranked.append((score, -dx - dy, symmetry))
        return [max(ranked, key=lambda entry: entry[:2])[2]] if ranked else []

    along_x = best([(sign * dx, 0) for sign in (1, -1) for dx in range(1, n)])
    along_y = best([(0, sign * dy) for sign in (1, -1) for dy in range(1, m)])
    return along_x + along_y or best([(dx, dy) for dx in range(1, n) for dy in range(1, m)])


def _half_steps(n: int) -> list[num]:
    """0, 0.5, 1, ... n - 0.5: the cells of an axis and the places between them."""
    return [i + half for i in range(n) for half in (0, 0.5)]


def _centers(grid: Grid) -> list[tuple[num, num]]:
    """All points that are the middle of a cell or a corner between four cells."""
    n, m = grid.shape
    return [(x + half, y + half) for x in range(n) for y in range(m) for half in (0, 0.5)]


def detect_mirror_symmetry(
    grid: Grid, ignore_colors: list[int] = (Color.BLACK,), background: int | None = None
) -> list[MirrorSymmetry]:
    """The reflections that map the picture onto itself and keep most cells; several if they are equally good.

    Reflections in a line of constant x, of constant y and in both at once are tried, through cells and between
    them. None may map a cell to a cell of another colour; each cell kept counts 1 and each that leaves the grid
    -0.01. Cells of `ignore_colors` match everything; cells of `background` are not mapped but must not be covered.
    """
    count = _symmetry_counts(grid, ignore_colors, background)
    candidates = [
        *((x, None) for x in _half_steps(grid.shape[0])),
        *((None, y) for y in _half_steps(grid.shape[1])),
        *_centers(grid),
    ]
    best, best_score = [], 0
    for mirror_x, mirror_y in candidates:
        symmetry = MirrorSymmetry(mirror_x, mirror_y)
        same, outside, conflicts = count(symmetry)
        score = same - 0.01 * outside
        if conflicts or not same or score < best_score:
            continue
        best = [*best, symmetry] if score == best_score else [symmetry]
        best_score = score
    return best


def detect_rotational_symmetry(
    grid: Grid, ignore_colors: list[int] = (Color.BLACK,), background: int | None = None
) -> RotationalSymmetry | None:
    """The rotation by 90 degrees that maps the picture onto itself best, or None.

    Each cell kept counts 1, each that leaves the grid -5, each that goes to another colour -1000; the sum must be
    positive. Cells of `ignore_colors` match everything; cells of `background` are not mapped but must not be
    covered. The result has `center_x` and `center_y`.
    """
    count = _symmetry_counts(grid, ignore_colors, background)
    best, best_score = None, 0
    for center in _centers(grid):
        symmetry = RotationalSymmetry(*center)
        same, outside, conflicts = count(symmetry)
        score = same - 5 * outside - 1000 * conflicts
        if score > best_score:
            best, best_score = symmetry, score
    return best


# ------------------------------------------------------------------------------------------------------ random sprites


def apply_symmetry(sprite: Grid, symmetry_type: str, background: int = Color.BLACK) -> Grid:
    """Makes the sprite its own mirror image, in place, and returns it.

    "horizontal" reflects x, "vertical" reflects y. Where both cells of a pair are filled, the first one wins.
    """
    if symmetry_type not in ("horizontal", "vertical"):
        raise ValueError(f"symmetry_type is {symmetry_type!r}; it must be 'horizontal' or 'vertical'")
    lines = sprite if symmetry_type == "horizontal" else sprite.T
    half = len(lines) // 2
    first, mirrored = lines[:half], lines[::-1][:half]
    first[...] = np.where(first != background, first, mirrored)
    mirrored[...] = first
    return sprite


def apply_diagonal_symmetry(sprite: Grid, background: int = Color.BLACK) -> Grid:
    """Makes a square sprite equal to its transpose, in place, and returns it.

    Where both cells of a pair are filled, the one above the main diagonal (x < y) wins.
    """
    if sprite.shape[0] != sprite.shape[1]:
        raise ValueError(f"diagonal symmetry needs a square sprite, not {sprite.shape[0]} x {sprite.shape[1]}")
    upper = np.triu(np.where(sprite != background, sprite, sprite.T))
    sprite[...] = upper + np.triu(upper, 1).T
    return sprite


_SQUARE_SYMMETRIES = ("diagonal", "radial")
_SYMMETRIES = ("not_symmetric", "horizontal", "vertical", "mirror", *_SQUARE_SYMMETRIES)


def generate_sprite(
    n: int,
    m: int,
    symmetry_type: str,
    fill_percentage: float = 0.5,
    max_colors: int = 9,
    color_palate: list[int] | None = None,
    connectivity: int = 4,
    background: int = Color.BLACK,
) -> Grid:
    """A random n x m sprite: one connected pattern with the given symmetry.

    symmetry_type: "not_symmetric", "horizontal" (reflects x), "vertical" (reflects y), "mirror" (both), "diagonal"
    (one of the two diagonals, square only) or "radial" (turns by 90 degrees, square only). fill_percentage: the
    share of cells to fill, 0 to 1. color_palate: the colours to use; by default up to `max_colors` random ones, few
    of them mostly. connectivity: 4 or 8, the steps in which the pattern grows.
    """
    if symmetry_type not in _SYMMETRIES:
        raise ValueError(f"symmetry is {symmetry_type!r}; it must be one of {', '.join(_SYMMETRIES)}")
    if symmetry_type in _SQUARE_SYMMETRIES and n != m:
        raise ValueError(f"{symmetry_type} symmetry needs a square sprite, not {n} x {m}")
    if color_palate is None:
        n_colors = 1
        while n_colors < max_colors and random.random() < 0.3:
            n_colors += 1
        color_palate = random.sample([color for color in Color.ALL_COLORS if color != background], n_colors)

    # The start is next to its own images, and every further cell next to an earlier one, so the pattern is connected.
    x, y = random.randrange(n), random.randrange(m)
    if symmetry_type in ("horizontal", "mirror", "radial"):
        x = n // 2
    if symmetry_type in ("vertical", "mirror", "radial"):
        y = m // 2
    other_diagonal = symmetry_type == "diagonal" and random.random() < 0.5
    if symmetry_type == "diagonal":
        y = n - 1 - x if other_diagonal else x

    def images(x: int, y: int) -> list[tuple[int, int]]:
        flip_x, flip_y = n - 1 - x, m - 1 - y
        match symmetry_type:
            case "not_symmetric":
                return [(x, y)]
            case "horizontal":
                return [(x, y), (flip_x, y)]
            case "vertical":
                return [(x, y), (x, flip_y)]
            case "mirror":
                return [(x, y), (flip_x, y), (x, flip_y), (flip_x, flip_y)]
            case "radial":
                return [(x, y), (y, flip_x), (flip_x, flip_y), (flip_y, x)]
            case "diagonal":
                return [(x, y), (flip_y, flip_x) if other_diagonal else (y, x)]

    sprite = np.full((n, m), background)
    steps = _neighbors(connectivity)
    color = color_palate[0]
    filled: set[tuple[int, int]] = set()
    while len(filled) < fill_percentage * n * m:
        for cell in images(x, y):
            sprite[cell] = color
            filled.add(cell)
        if random.random() < 1 / 3:
            color = random.choice(color_palate)
        dx, dy = random.choice(steps)
        x, y = min(max(x + dx, 0), n - 1), min(max(y + dy, 0), m - 1)
    return sprite


def random_sprite(
    n: int | list[int] | range,
    m: int | list[int] | range,
    density: float = 0.5,
    symmetry: str | None = None,
    color_palette: list[int] | None = None,
    connectivity: int = 4,
    background: int = Color.BLACK,
) -> Grid:
    """A random sprite of shape (n, m): one connected pattern that touches all four sides.

    n, m: sizes, or lists or ranges to choose from. density: the share of cells to fill, varied a little and kept
    between 0.4 and 0.95, or exactly 1; more where touching all sides needs it. symmetry: as in `generate_sprite`, by
    default a random one that the sizes allow. color_palette: the colours to use, by default a few random ones.
    """
    shapes = list(itertools.product(*([size] if isinstance(size, int | np.integer) else size for size in (n, m))))
    squares = [shape for shape in shapes if shape[0] == shape[1]]
    chosen = symmetry or random.choice(_SYMMETRIES if squares else _SYMMETRIES[: -len(_SQUARE_SYMMETRIES)])
    width, height = random.choice(squares if chosen in _SQUARE_SYMMETRIES else shapes)
    share = 1 if density == 1 else min(max(random.gauss(density, 0.1), 0.4), 0.95)
    while True:
        sprite = generate_sprite(
            width,
            height,
            chosen,
            fill_percentage=share,
            color_palate=color_palette,
            connectivity=connectivity,
            background=background,
        )
        if crop(sprite, background).shape == sprite.shape:
            return sprite
        share = min(share + 0.01, 1)  # a little fuller each time, because the share may be too small for the shape


def visualize(
    input_generator: Callable[[], Grid], transform: Callable[[Grid], Grid], n_examples: int = 5, n_attempts: int = 100
) -> None:
    """Prints up to `n_examples` generated inputs with their outputs, and how many of the attempts raised."""
    shown, errors = 0, []
    for _ in range(n_attempts):
        if shown == n_examples:
            break
        try:
            input_grid = input_generator()
            output_grid = transform(input_grid.copy())
        except Exception:  # the callers' functions may fail in any way, and a failure is what is shown
            errors.append(traceback.format_exc())
            continue
        shown += 1
        for title, grid in (("Input", input_grid), ("Output", output_grid)):
            print(f"{title} {shown}:")
            for y in range(grid.shape[1]):
                print("".join(str(color) for color in grid[:, y]))
    if errors:
        print(f"{len(errors)} of {shown + len(errors)} attempts failed, the first with:\n{errors[0]}")

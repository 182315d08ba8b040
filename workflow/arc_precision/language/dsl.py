"""A small language of grid transformations: each primitive maps a grid, and up to two colours, to a new grid.

A program is a Python function `transform(grid)` that applies one primitive after another. Completions import this file
itself as `dsl`, so it needs numpy alone.

Words used below: background is colour 0. An *object* is a set of touching cells (diagonals count) of one colour; a
*block* is the same without diagonals; a *cluster* is a set of touching cells (diagonals count) of any colours but
background.

No primitive treats one of the colours 1 to 9 differently from another, so renaming these colours in a grid and in the
arguments renames them in the result. A grid that would require a choice between colours (with two largest objects of
one size, for example) raises `NotApplicable`.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache, wraps
from typing import NewType

import numpy as np

MAX_SIDE = 30

Grid = np.ndarray
Color = NewType("Color", int)
"""A colour that the grid shows, background included: 0 to 9."""
Ink = NewType("Ink", int)
"""A colour that the grid shows, other than background: 1 to 9."""
Paint = NewType("Paint", int)
"""A colour to draw with, shown by the grid or not: 1 to 9."""

Redrawn = NewType("Redrawn", np.ndarray)
"""A grid with the shape of the given one."""

PRIMITIVES: dict[str, Callable[..., Grid]] = {}


class NotApplicable(ValueError):
    """The primitive has no meaning for this grid."""


def primitive(function: Callable[..., Grid]) -> Callable[..., Grid]:
    """Make a function a primitive of the language: it takes int8 and returns a new int8 array with sides 1 to 30."""

    @wraps(function)
    def checked(grid: Grid, *colors: int) -> Grid:
        for color in colors:
            if not 0 <= color <= 9:
                raise NotApplicable(f"a colour is 0 to 9, not {color}")
        result = np.array(function(np.ascontiguousarray(grid, dtype=np.int8), *colors), dtype=np.int8, order="C")
        height, width = result.shape
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
            raise NotApplicable(f"the result would have {height} x {width} cells")
        return result

    PRIMITIVES[function.__name__] = checked
    return checked


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise NotApplicable(reason)


# ------------------------------------------------------------------------------------------------ shared parts

ORTHOGONAL = ((0, 1), (1, 0), (0, -1), (-1, 0))
DIAGONAL = ((1, 1), (1, -1), (-1, 1), (-1, -1))
ALL_AROUND = ORTHOGONAL + DIAGONAL


@lru_cache(maxsize=2048)
def _flood(cells: bytes, height: int, width: int, diagonal: bool) -> tuple[Grid, Grid]:
    stride = width + 2  # a border of zeros on every side saves all bounds checks
    padded = bytearray(stride * (height + 2))
    for row in range(height):
        padded[(row + 1) * stride + 1 : (row + 2) * stride - 1] = cells[row * width : (row + 1) * width]
    steps = [dr * stride + dc for dr, dc in (ALL_AROUND if diagonal else ORTHOGONAL)]
    labels = [0] * len(padded)
    sizes = [0]
    for start, color in enumerate(padded):
        if color and not labels[start]:
            label = len(sizes)
            labels[start] = label
            stack = [start]
            for cell in stack:
                for step in steps:
                    near = cell + step
                    if padded[near] == color and not labels[near]:
                        labels[near] = label
                        stack.append(near)
            sizes.append(len(stack))
    label_grid = np.array(labels, dtype=np.int16).reshape(height + 2, stride)[1:-1, 1:-1]
    size_array = np.array(sizes)
    label_grid.flags.writeable = size_array.flags.writeable = False
    return label_grid, size_array


def _label(grid: Grid, diagonal: bool = True) -> tuple[Grid, Grid]:
    """Number the regions of equal, non-zero values 1 to n: each cell's label (0: none), and sizes (n + 1,) by label."""
    return _flood(grid.tobytes(), *grid.shape, diagonal)


def _clusters(grid: Grid) -> tuple[Grid, Grid]:
    return _label((grid != 0).astype(np.int8))


def _crop(grid: Grid, mask: Grid) -> Grid:
    """The part of the grid inside the bounding box of the mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    _require(len(rows) > 0, "there is nothing to crop")
    return grid[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _crops(grid: Grid, labels: Grid, count: int) -> list[Grid]:
    return [_crop(grid, labels == label) for label in range(1, count + 1)]


def _only(values: np.ndarray, wanted: int) -> int:
    """Index of the one entry that equals `wanted`."""
    (found,) = np.nonzero(values == wanted)
    _require(len(found) == 1, "no single answer")
    return int(found[0])


def _largest(values: np.ndarray) -> int:
    _require(len(values) > 0, "nothing to compare")
    return _only(values, values.max())


def _smallest(values: np.ndarray) -> int:
    _require(len(values) > 0, "nothing to compare")
    return _only(values, values.min())


def _counts(grid: Grid) -> np.ndarray:
    """How many cells show each colour; shape (10,), background counted as 0."""
    counts = np.bincount(grid.ravel(), minlength=10)
    counts[0] = 0
    return counts


def _commonest(grid: Grid) -> int:
    counts = _counts(grid)
    _require(counts.max() > 0, "the grid is empty")
    return _largest(counts)


def _rarest(grid: Grid) -> int:
    counts = _counts(grid)
    _require(counts.max() > 0, "the grid is empty")
    return _smallest(np.where(counts == 0, counts.max() + 1, counts))


def _over(front: Grid, back: Grid) -> Grid:
    return np.where(front == 0, back, front)


def _neighbours(grid: Grid, steps: tuple[tuple[int, int], ...]) -> Iterator[Grid]:
    """For each step, the grid of the values found one such step away (0 outside)."""
    height, width = grid.shape
    padded = np.zeros((height + 2, width + 2), dtype=grid.dtype)
    padded[1:-1, 1:-1] = grid
    for dr, dc in steps:
        yield padded[1 + dr : 1 + dr + height, 1 + dc : 1 + dc + width]


def _enclosed(grid: Grid) -> Grid:
    """Mask of the enclosed background cells: no orthogonal path over background leads from them to the edge."""
    labels, sizes = _label((grid == 0).astype(np.int8), diagonal=False)
    inside = np.ones(len(sizes), dtype=bool)
    inside[0] = False
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        inside[edge] = False
    return inside[labels]


def _halves(grid: Grid) -> tuple[Grid, Grid]:
    """The two equal parts beside a one-colour separator line, else the halves along the longer side."""
    height, width = grid.shape
    if width % 2 and width > 2 and grid[0, width // 2] and (grid[:, width // 2] == grid[0, width // 2]).all():
        return grid[:, : width // 2], grid[:, width // 2 + 1 :]
    if height % 2 and height > 2 and grid[height // 2, 0] and (grid[height // 2] == grid[height // 2, 0]).all():
        return grid[: height // 2], grid[height // 2 + 1 :]
    if width % 2 == 0 and (width > height or height % 2):
        return grid[:, : width // 2], grid[:, width // 2 :]
    _require(height % 2 == 0, "no two equal halves")
    return grid[: height // 2], grid[height // 2 :]


def _panels(grid: Grid) -> list[list[Grid]]:
    """The equal parts, row by row, between separator lines of one colour that cross the whole grid."""
    bounds = []
    for lines in (grid, grid.T):
        separators = [i for i, line in enumerate(lines) if line[0] and (line == line[0]).all()]
        edges = [-1, *separators, len(lines)]
        bounds.append([(a + 1, b) for a, b in zip(edges, edges[1:], strict=False) if b - a > 1])
    panels = [[grid[top:bottom, left:right] for left, right in bounds[1]] for top, bottom in bounds[0]]
    _require(len(bounds[0]) * len(bounds[1]) > 1, "no separator lines")
    _require(len({panel.shape for row in panels for panel in row}) == 1, "the parts between separators differ in shape")
    return panels


# ------------------------------------------------------------------------------------------------ turn and mirror


@primitive
def flip_h(grid: Grid) -> Grid:
    """Mirror left and right."""
    return grid[:, ::-1]


@primitive
def flip_v(grid: Grid) -> Grid:
    """Mirror top and bottom."""
    return grid[::-1]


@primitive
def transpose(grid: Grid) -> Grid:
    """Exchange rows and columns."""
    return grid.T


@primitive
def rot90(grid: Grid) -> Grid:
    """Turn a quarter clockwise."""
    return np.rot90(grid, -1)


@primitive
def rot180(grid: Grid) -> Grid:
    """Turn by a half."""
    return grid[::-1, ::-1]


@primitive
def rot270(grid: Grid) -> Grid:
    """Turn a quarter counter-clockwise."""
    return np.rot90(grid)


# ------------------------------------------------------------------------------------------------ cut out


@primitive
def crop_content(grid: Grid) -> Grid:
    """The bounding box of everything that is not background."""
    return _crop(grid, grid != 0)


@primitive
def crop_color(grid: Grid, color: Color) -> Grid:
    """The bounding box of one colour."""
    return _crop(grid, grid == color)


@primitive
def crop_rarest(grid: Grid) -> Grid:
    """The bounding box of the rarest colour."""
    return _crop(grid, grid == _rarest(grid))


@primitive
def crop_largest_object(grid: Grid) -> Grid:
    """The bounding box of the largest object."""
    labels, sizes = _label(grid)
    return _crop(grid, labels == 1 + _largest(sizes[1:]))


@primitive
def crop_smallest_object(grid: Grid) -> Grid:
    """The bounding box of the smallest of at least two objects."""
    labels, sizes = _label(grid)
    _require(len(sizes) > 2, "fewer than two objects")
    return _crop(grid, labels == 1 + _smallest(sizes[1:]))


@primitive
def crop_largest_cluster(grid: Grid) -> Grid:
    """The bounding box of the largest cluster."""
    labels, sizes = _clusters(grid)
    return _crop(grid, labels == 1 + _largest(sizes[1:]))


@primitive
def crop_most_colors(grid: Grid) -> Grid:
    """The bounding box of the cluster, of at least two, with the most colours."""
    labels, sizes = _clusters(grid)
    _require(len(sizes) > 2, "fewer than two clusters")
    colors = np.array([len(np.unique(grid[labels == label])) for label in range(1, len(sizes))])
    return _crop(grid, labels == 1 + _largest(colors))


@primitive
def crop_symmetric(grid: Grid) -> Grid:
    """The bounding box of the one cluster, of at least two, that mirrors left to right."""
    labels, sizes = _clusters(grid)
    _require(len(sizes) > 2, "fewer than two clusters")
    crops = _crops(grid, labels, len(sizes) - 1)
    return crops[_only(np.array([int((crop == crop[:, ::-1]).all()) for crop in crops]), 1)]


@primitive
def trim_border(grid: Grid) -> Grid:
    """Drop the outermost rows and columns."""
    _require(min(grid.shape) > 2, "too small to trim")
    return grid[1:-1, 1:-1]


@primitive
def left_half(grid: Grid) -> Grid:
    """The columns left of the middle."""
    return grid[:, : grid.shape[1] // 2]


@primitive
def right_half(grid: Grid) -> Grid:
    """The columns right of the middle."""
    return grid[:, (grid.shape[1] + 1) // 2 :]


@primitive
def top_half(grid: Grid) -> Grid:
    """The rows above the middle."""
    return grid[: grid.shape[0] // 2]


@primitive
def bottom_half(grid: Grid) -> Grid:
    """The rows below the middle."""
    return grid[(grid.shape[0] + 1) // 2 :]


# ------------------------------------------------------------------------------------------------ compare parts


@primitive
def panel_odd(grid: Grid) -> Grid:
    """The one panel between separator lines, of at least three, that no other equals."""
    panels = [panel for row in _panels(grid) for panel in row]
    _require(len(panels) > 2, "fewer than three panels")
    content = [panel.tobytes() for panel in panels]
    return panels[_only(np.array([content.count(panel) for panel in content]), 1)]


@primitive
def panels_to_cells(grid: Grid) -> Grid:
    """One cell for each panel between separator lines: its commonest colour."""
    return np.array([[_commonest(panel) if panel.any() else 0 for panel in row] for row in _panels(grid)])


@primitive
def and_halves(grid: Grid, color: Paint) -> Grid:
    """Paint the cells that both halves fill, on background."""
    first, second = _halves(grid)
    return ((first != 0) & (second != 0)) * np.int8(color)


@primitive
def or_halves(grid: Grid, color: Paint) -> Grid:
    """Paint the cells that either half fills, on background."""
    first, second = _halves(grid)
    return ((first != 0) | (second != 0)) * np.int8(color)


@primitive
def xor_halves(grid: Grid, color: Paint) -> Grid:
    """Paint the cells that just one half fills, on background."""
    first, second = _halves(grid)
    return ((first != 0) ^ (second != 0)) * np.int8(color)


@primitive
def nor_halves(grid: Grid, color: Paint) -> Grid:
    """Paint the cells that neither half fills, on background."""
    first, second = _halves(grid)
    return ((first == 0) & (second == 0)) * np.int8(color)


@primitive
def overlay_halves(grid: Grid) -> Grid:
    """Lay the first half over the second."""
    return _over(*_halves(grid))


# ------------------------------------------------------------------------------------------------ scale and repeat


def _scale(grid: Grid, factor: int) -> Grid:
    _require(1 < factor and max(grid.shape) * factor <= MAX_SIDE, "too large to scale up")
    return grid.repeat(factor, 0).repeat(factor, 1)


def _tile(grid: Grid, down: int, across: int) -> Grid:
    _require(grid.shape[0] * down <= MAX_SIDE and grid.shape[1] * across <= MAX_SIDE, "too large to repeat")
    return np.concatenate([np.concatenate([grid] * down)] * across, axis=1)


@primitive
def upscale_2(grid: Grid) -> Grid:
    """Make every cell 2 x 2."""
    return _scale(grid, 2)


@primitive
def upscale_3(grid: Grid) -> Grid:
    """Make every cell 3 x 3."""
    return _scale(grid, 3)


@primitive
def upscale_by_colors(grid: Grid) -> Grid:
    """Make every cell n x n, n being the number of colours."""
    return _scale(grid, np.count_nonzero(_counts(grid)))


@primitive
def downscale_3(grid: Grid) -> Grid:
    """Keep one cell of every 3 x 3."""
    _require(grid.shape[0] % 3 == 0 and grid.shape[1] % 3 == 0, "sides are not multiples of 3")
    return grid[::3, ::3]


@primitive
def dedupe_lines(grid: Grid) -> Grid:
    """Drop each row and each column that equals the one before it."""
    grid = grid[np.append(True, (grid[1:] != grid[:-1]).any(1))]
    return grid[:, np.append(True, (grid[:, 1:] != grid[:, :-1]).any(0))]


@primitive
def tile_1x2(grid: Grid) -> Grid:
    """Two copies side by side."""
    return _tile(grid, 1, 2)


@primitive
def tile_2x2(grid: Grid) -> Grid:
    """Two rows of two copies."""
    return _tile(grid, 2, 2)


@primitive
def mirror_right(grid: Grid) -> Grid:
    """The grid, and to its right its mirror image."""
    return np.concatenate([grid, grid[:, ::-1]], axis=1)


@primitive
def mirror_down(grid: Grid) -> Grid:
    """The grid, and below it its mirror image."""
    return np.concatenate([grid, grid[::-1]])


@primitive
def mirror_both(grid: Grid) -> Grid:
    """The grid with its mirror images to the right, below, and across."""
    right = np.concatenate([grid, grid[:, ::-1]], axis=1)
    return np.concatenate([right, right[::-1]])


@primitive
def tile_turned(grid: Grid) -> Grid:
    """A square grid with turned copies: a quarter clockwise to the right, counter-clockwise below, a half across."""
    _require(grid.shape[0] == grid.shape[1], "the grid is not square")
    return np.block([[grid, np.rot90(grid, -1)], [np.rot90(grid), np.rot90(grid, 2)]])


def _place_copies(grid: Grid, where: Grid) -> Grid:
    _require(grid.shape[0] ** 2 <= MAX_SIDE and grid.shape[1] ** 2 <= MAX_SIDE, "too large to repeat inside itself")
    (height, width) = grid.shape
    return (where[:, None, :, None] * grid[None, :, None, :]).reshape(height * height, width * width)


@primitive
def fractal(grid: Grid) -> Grid:
    """A copy of the grid for each of its own cells that is not background."""
    return _place_copies(grid, grid != 0)


@primitive
def fractal_commonest(grid: Grid) -> Grid:
    """A copy of the grid for each of its own cells of the commonest colour, background included."""
    return _place_copies(grid, grid == _largest(np.bincount(grid.ravel())))


# ------------------------------------------------------------------------------------------------ move


def _fall(grid: Grid, axis: int, to_end: bool) -> Grid:
    order = np.argsort(grid != 0 if to_end else grid == 0, axis=axis, kind="stable")
    return np.take_along_axis(grid, order, axis)


@primitive
def gravity_up(grid: Grid) -> Redrawn:
    """Let every cell rise, keeping its order in its column."""
    return _fall(grid, 0, False)


@primitive
def gravity_down(grid: Grid) -> Redrawn:
    """Let every cell fall, keeping its order in its column."""
    return _fall(grid, 0, True)


@primitive
def gravity_left(grid: Grid) -> Redrawn:
    """Let every cell slide left, keeping its order in its row."""
    return _fall(grid, 1, False)


@primitive
def gravity_right(grid: Grid) -> Redrawn:
    """Let every cell slide right, keeping its order in its row."""
    return _fall(grid, 1, True)


@primitive
def shift_down(grid: Grid) -> Redrawn:
    """Move everything down by one row."""
    return np.concatenate([np.zeros_like(grid[:1]), grid[:-1]])


@primitive
def sort_rows(grid: Grid) -> Redrawn:
    """Sort the rows by how many of their cells are filled, fewest first; equals keep their order."""
    return grid[np.argsort((grid != 0).sum(1), kind="stable")]


# ------------------------------------------------------------------------------------------------ recolour


@primitive
def recolor(grid: Grid, old: Color, new: Paint) -> Redrawn:
    """Give the cells of one colour another."""
    _require(old != new, "a colour is replaced by itself")
    return np.where(grid == old, np.int8(new), grid)


@primitive
def swap_colors(grid: Grid, first: Ink, second: Ink) -> Redrawn:
    """Exchange two colours."""
    _require(first != second, "a colour is exchanged with itself")
    return np.where(grid == first, np.int8(second), np.where(grid == second, np.int8(first), grid))


@primitive
def swap_two(grid: Grid) -> Redrawn:
    """Exchange the two colours of a grid that has just two."""
    present = np.flatnonzero(_counts(grid))
    _require(len(present) == 2, "not two colours")
    return np.where(grid == 0, 0, present.sum() - grid)


@primitive
def keep_color(grid: Grid, color: Ink) -> Redrawn:
    """Erase every colour but one."""
    return np.where(grid == color, grid, 0)


@primitive
def remove_color(grid: Grid, color: Ink) -> Redrawn:
    """Erase one colour."""
    return np.where(grid == color, 0, grid)


@primitive
def paint_all(grid: Grid, color: Paint) -> Redrawn:
    """Give everything that is not background one colour."""
    return (grid != 0) * np.int8(color)


@primitive
def keep_commonest(grid: Grid) -> Redrawn:
    """Erase every colour but the commonest."""
    return np.where(grid == _commonest(grid), grid, 0)


@primitive
def keep_rarest(grid: Grid) -> Redrawn:
    """Erase every colour but the rarest."""
    return np.where(grid == _rarest(grid), grid, 0)


@primitive
def recolor_even_columns(grid: Grid, color: Paint) -> Redrawn:
    """Give the filled cells of the first, third, fifth... column one colour."""
    grid = grid.copy()
    columns = grid[:, ::2]
    columns[columns != 0] = color
    return grid


# ------------------------------------------------------------------------------------------------ around and inside


def _paint_around(grid: Grid, color: int, steps: tuple[tuple[int, int], ...]) -> Grid:
    near = np.any([values != 0 for values in _neighbours(grid, steps)], axis=0)
    return np.where((grid == 0) & near, np.int8(color), grid)


@primitive
def outline(grid: Grid, color: Paint) -> Redrawn:
    """Paint the background all around every filled cell."""
    return _paint_around(grid, color, ALL_AROUND)


@primitive
def outline_diagonal(grid: Grid, color: Paint) -> Redrawn:
    """Paint the background diagonally next to every filled cell."""
    return _paint_around(grid, color, DIAGONAL)


@primitive
def fill_enclosed(grid: Grid, color: Paint) -> Redrawn:
    """Paint the background that cannot be reached from the edge of the grid."""
    return np.where(_enclosed(grid), np.int8(color), grid)


def _interior(grid: Grid) -> Grid:
    return np.all([values == grid for values in _neighbours(grid, ALL_AROUND)], axis=0) & (grid != 0)


@primitive
def hollow(grid: Grid) -> Redrawn:
    """Erase the cells that only their own colour surrounds."""
    return np.where(_interior(grid), 0, grid)


@primitive
def paint_interior(grid: Grid, color: Paint) -> Redrawn:
    """Paint the cells that only their own colour surrounds."""
    return np.where(_interior(grid), np.int8(color), grid)


def _fill_boxes(grid: Grid, fill: Callable[[int], int]) -> Grid:
    """Paint the background in the bounding box of each object, in the order of the objects' first cells."""
    labels, sizes = _label(grid)
    grid = grid.copy()
    for label in range(1, len(sizes)):
        mask = labels == label
        box = _crop(grid, mask)
        box[box == 0] = fill(int(grid[mask][0]))
    return grid


@primitive
def fill_boxes(grid: Grid, color: Paint) -> Redrawn:
    """Paint the background inside the bounding box of every object."""
    return _fill_boxes(grid, lambda _: color)


@primitive
def solid_boxes(grid: Grid) -> Redrawn:
    """Fill the background inside the bounding box of every object with the object's colour."""
    return _fill_boxes(grid, lambda own: own)


# ------------------------------------------------------------------------------------------------ symmetry and repair


@primitive
def symmetrize_h(grid: Grid) -> Redrawn:
    """Fill background with the colours of its mirror place, left to right."""
    return _over(grid, grid[:, ::-1])


def _repair_symmetry(grid: Grid, hidden: int) -> Grid:
    views = [lambda g: g[:, ::-1], lambda g: g[::-1], lambda g: g[::-1, ::-1]]
    if grid.shape[0] == grid.shape[1]:
        views += [lambda g: g.T, lambda g: g[::-1, ::-1].T, np.rot90]
    for view in views * 2:
        missing = grid == hidden
        if not missing.any():
            return grid
        seen = view(grid)
        both_known = ~missing & (seen != hidden)
        compared = np.count_nonzero(both_known)
        if compared and np.count_nonzero((seen == grid) & both_known) / compared > 0.95:
            grid = np.where(missing, seen, grid)
    _require(not (grid == hidden).any(), "symmetry does not explain the hidden cells")
    return grid


def _periods(grid: Grid, known: Grid) -> list[int]:
    """The numbers of rows by which known cells can be shifted down without contradiction; always includes the
    height."""
    differ = ((grid[:, None] != grid[None]) & known[:, None] & known[None]).any(2)
    above, below = np.nonzero(differ)
    broken = set((below - above).tolist())
    return [shift for shift in range(1, len(grid) + 1) if shift not in broken]


def _repair_tiling(grid: Grid, hidden: int) -> Grid:
    """Repeat the smallest tile, of at most 64 cells and about half the grid, that the known cells determine."""
    known = grid != hidden
    height, width = grid.shape
    largest = min(64, grid.size // 2 + 1)
    sizes = [(d * a, d, a) for d in _periods(grid, known) for a in _periods(grid.T, known.T) if d * a <= largest]
    for _, down, across in sorted(sizes):
        index = (np.arange(height)[:, None] % down) * across + np.arange(width) % across
        tile = np.full(down * across, hidden, dtype=np.int8)
        tile[index[known]] = grid[known]
        repaired = tile[index]
        if (repaired == grid)[known].all() and not (tile == hidden).any():
            return repaired
    raise NotApplicable("no tiling explains the hidden cells")


@primitive
def repair_symmetry(grid: Grid, hidden: Color) -> Redrawn:
    """Replace the cells of one colour according to the symmetry of the grid."""
    _require((grid == hidden).any(), "nothing is hidden")
    return _repair_symmetry(grid, hidden)


@primitive
def repair_tiling(grid: Grid, hidden: Color) -> Redrawn:
    """Replace the cells of one colour according to the repeating pattern of the grid."""
    _require((grid == hidden).any(), "nothing is hidden")
    return _repair_tiling(grid, hidden)


@primitive
def hidden_patch(grid: Grid, hidden: Color) -> Grid:
    """The bounding box of one colour, filled according to the symmetry or else to a repeating pattern of the grid."""
    mask = grid == hidden
    _require(mask.any() and not mask.all(), "nothing is hidden, or everything")
    try:
        return _crop(_repair_symmetry(grid, hidden), mask)
    except NotApplicable:
        return _crop(_repair_tiling(grid, hidden), mask)


# ------------------------------------------------------------------------------------------------ lines


@primitive
def ray_down(grid: Grid) -> Redrawn:
    """Let every filled cell colour the background below it, down to the next filled cell."""
    source = np.where(grid != 0, np.arange(grid.shape[0])[:, None], 0)
    return np.take_along_axis(grid, np.maximum.accumulate(source, axis=0), 0)


@primitive
def rays_diagonal(grid: Grid) -> Redrawn:
    """Let every filled cell, row by row, colour the background on its four diagonals, up to the next filled cell."""
    result = grid.copy()
    height, width = grid.shape
    for row, column in np.argwhere(grid).tolist():
        for dr, dc in DIAGONAL:
            r, c = row + dr, column + dc
            while 0 <= r < height and 0 <= c < width and not grid[r, c]:
                result[r, c] = grid[row, column]
                r, c = r + dr, c + dc
    return result


def _between(grid: Grid) -> Grid:
    """Row by row, the colour of the filled cells that stand on both sides of a stretch of background; elsewhere 0."""
    result = np.zeros_like(grid)
    for row in range(grid.shape[0]):
        filled = np.flatnonzero(grid[row]).tolist()
        for left, right in zip(filled, filled[1:], strict=False):
            if grid[row, left] == grid[row, right]:
                result[row, left + 1 : right] = grid[row, left]
    return result


@primitive
def connect(grid: Grid) -> Redrawn:
    """Join filled cells of one colour that face each other in a column, then in a row, by a line of that colour."""
    return _over(grid, _over(_between(grid.T).T, _between(grid)))


@primitive
def connect_with(grid: Grid, color: Paint) -> Redrawn:
    """Join filled cells of one colour that face each other in a row or a column by a line of another colour."""
    return np.where((_between(grid) != 0) | (_between(grid.T).T != 0), np.int8(color), grid)


@primitive
def paint_empty_lines(grid: Grid, color: Paint) -> Redrawn:
    """Paint the rows and columns that are all background."""
    rows, columns = ~grid.any(1), ~grid.any(0)
    _require(rows.any() or columns.any(), "no empty line")
    return np.where(rows[:, None] | columns[None, :], np.int8(color), grid)


@primitive
def reverse_rings(grid: Grid) -> Redrawn:
    """Turn concentric one-colour rings inside out: the outermost gets the innermost one's colour."""
    depth = (min(grid.shape) + 1) // 2
    colors = [grid[i, i] for i in range(depth)]
    result = grid.copy()
    for i in range(depth):
        ring = (slice(i, grid.shape[0] - i), slice(i, grid.shape[1] - i))
        inside = grid[ring]
        for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
            _require((edge == colors[i]).all(), "not made of rings")
        result[ring] = colors[depth - 1 - i]
    return result


# ------------------------------------------------------------------------------------------------ count


def _ranked(grid: Grid) -> list[tuple[int, int]]:
    """(cells, colour) of every colour, commonest first."""
    counts = _counts(grid)
    ranked = sorted(((int(counts[color]), int(color)) for color in np.flatnonzero(counts)), reverse=True)
    _require(len(ranked) > 0 and len({cells for cells, _ in ranked}) == len(ranked), "the colours have no single order")
    return ranked


@primitive
def rarest_cell(grid: Grid) -> Grid:
    """A single cell of the rarest colour."""
    return np.array([[_rarest(grid)]])


@primitive
def colors_by_count(grid: Grid) -> Grid:
    """A column of the colours, commonest first."""
    return np.array([[color] for _, color in _ranked(grid)])


@primitive
def bars_by_count(grid: Grid) -> Grid:
    """A bar for each colour, as long as it has cells, commonest first."""
    ranked = _ranked(grid)
    _require(ranked[0][0] <= MAX_SIDE, "too many cells for a bar")
    result = np.zeros((len(ranked), ranked[0][0]), dtype=np.int8)
    for row, (cells, color) in zip(result, ranked, strict=True):
        row[:cells] = color
    return result


# ------------------------------------------------------------------------------------------------ objects


@primitive
def keep_largest(grid: Grid) -> Redrawn:
    """Erase every object smaller than the largest."""
    labels, sizes = _label(grid)
    return np.where((sizes == sizes.max())[labels], grid, 0)


@primitive
def color_smallest(grid: Grid, color: Paint) -> Redrawn:
    """Paint the smallest blocks."""
    labels, sizes = _label(grid, diagonal=False)
    _require(len(sizes) > 1, "the grid is empty")
    smallest = sizes == sizes[1:].min()
    return np.where(smallest[labels], np.int8(color), grid)


@primitive
def denoise(grid: Grid) -> Redrawn:
    """Erase the objects of a single cell."""
    labels, sizes = _label(grid)
    return np.where((sizes == 1)[labels], 0, grid)


@primitive
def color_open(grid: Grid, color: Paint) -> Redrawn:
    """Paint the blocks that border on no enclosed background."""
    labels, sizes = _label(grid, diagonal=False)
    closed = np.zeros(len(sizes), dtype=bool)
    for near in _neighbours(_enclosed(grid), ORTHOGONAL):
        closed[labels[near]] = True
    return np.where((grid != 0) & ~closed[labels], np.int8(color), grid)


def _unify(grid: Grid, choose: Callable[[Grid], int]) -> Grid:
    labels, sizes = _clusters(grid)
    colors = [0] + [choose(grid[labels == label]) for label in range(1, len(sizes))]
    return np.array(colors, dtype=np.int8)[labels]


@primitive
def unify_commonest(grid: Grid) -> Redrawn:
    """Give every cluster its own commonest colour."""
    return _unify(grid, _commonest)


@primitive
def unify_rarest(grid: Grid) -> Redrawn:
    """Give every cluster its own rarest colour."""
    return _unify(grid, _rarest)


__all__ = [*PRIMITIVES]

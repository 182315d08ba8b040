"""ARC-like input grids, one function for each kind of picture.

Each takes a random generator, the wanted height and width, a palette of colours from 1 to 9, and the colour that the
program's first step needs (or None). It returns an int8 grid, often but not always of the wanted shape.
"""

from collections.abc import Callable, Sequence
from random import Random

import numpy as np

from arc_precision.tasks.grids import Grid

Palette = Sequence[int]
Scene = Callable[[Random, int, int, Palette, int | None], Grid]


# ------------------------------------------------------------------------------------------------ shared parts


def _empty(height: int, width: int) -> Grid:
    return np.zeros((height, width), dtype=np.int8)


def _bytes(rng: Random, height: int, width: int) -> np.ndarray:
    return np.frombuffer(rng.randbytes(height * width), dtype=np.uint8).reshape(height, width)


def _filled(rng: Random, height: int, width: int, palette: Palette) -> Grid:
    return np.array(palette, dtype=np.int8)[_bytes(rng, height, width) % len(palette)]


def _noise(rng: Random, height: int, width: int, palette: Palette, low: float, high: float) -> Grid:
    """Random cells, a share of them between `low` and `high` filled."""
    share = rng.uniform(low, high)
    return _filled(rng, height, width, palette) * (_bytes(rng, height, width) < 256 * share)


def _others(palette: Palette, color: int | None) -> Palette:
    """The palette without one colour; never empty."""
    return [c for c in palette if c != color] or [c for c in range(1, 10) if c != color][:2]


def _blob(rng: Random, largest: int = 4) -> Grid:
    """A connected shape of ones, drawn by a random walk, in a box of at most `largest` a side."""
    height, width = rng.randint(1, largest), rng.randint(1, largest)
    blob = _empty(height, width)
    row, column = rng.randrange(height), rng.randrange(width)
    for _ in range(rng.randint(2, height * width + 1)):
        blob[row, column] = 1
        if rng.random() < 0.5:
            row = min(height - 1, max(0, row + rng.choice((-1, 1))))
        else:
            column = min(width - 1, max(0, column + rng.choice((-1, 1))))
    return blob


def _box(rng: Random, smallest: int, largest: int, color: int) -> Grid:
    return np.full((rng.randint(smallest, largest), rng.randint(smallest, largest)), color, dtype=np.int8)


def _draw(grid: Grid, shape: Grid, top: int, left: int) -> None:
    view = grid[top : top + shape.shape[0], left : left + shape.shape[1]]
    np.copyto(view, shape, where=shape != 0)


def _place(rng: Random, grid: Grid, shape: Grid) -> None:
    """Draw the shape at a place where it touches nothing, if six tries find one."""
    height, width = shape.shape
    room_down, room_across = grid.shape[0] - height, grid.shape[1] - width
    if room_down < 0 or room_across < 0:
        return
    for _ in range(6):
        top, left = rng.randint(0, room_down), rng.randint(0, room_across)
        if not grid[max(0, top - 1) : top + height + 1, max(0, left - 1) : left + width + 1].any():
            _draw(grid, shape, top, left)
            return


def _window(rng: Random, grid: Grid, largest: int) -> Grid:
    """A view of a random rectangle of the grid, at most `largest` a side."""
    height, width = (min(side, rng.randint(1, largest)) for side in grid.shape)
    top, left = rng.randint(0, grid.shape[0] - height), rng.randint(0, grid.shape[1] - width)
    return grid[top : top + height, left : left + width]


def _speckle(rng: Random, grid: Grid, cells: int, palette: Palette) -> None:
    for _ in range(cells):
        grid[rng.randrange(grid.shape[0]), rng.randrange(grid.shape[1])] = rng.choice(palette)


def _mirror_columns(grid: Grid) -> None:
    width = grid.shape[1]
    grid[:, (width + 1) // 2 :] = grid[:, : width // 2][:, ::-1]


# ------------------------------------------------------------------------------------------------ anywhere


def noise(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Random cells."""
    return _noise(rng, height, width, palette, 0.15, 0.8)


def sparse(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Few random cells."""
    return _noise(rng, height, width, palette, 0.1, 0.4)


def full(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """No background."""
    return _filled(rng, height, width, palette)


def dots(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """One to six single cells."""
    grid = _empty(height, width)
    _speckle(rng, grid, rng.randint(1, max(1, min(6, height * width // 5))), palette)
    return grid


def lines(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Rows and columns of one colour."""
    grid = _empty(height, width)
    for _ in range(rng.randint(1, 4)):
        if rng.random() < 0.5:
            grid[rng.randrange(height)] = rng.choice(palette)
        else:
            grid[:, rng.randrange(width)] = rng.choice(palette)
    return grid


def mirrored(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Symmetric left to right, top to bottom, or both."""
    grid = _noise(rng, height, width, palette, 0.4, 1)
    kind = rng.random()
    if kind < 0.7:
        _mirror_columns(grid)
    if kind > 0.3:
        _mirror_columns(grid.T)
    return grid


def tiled(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """A small tile, repeated."""
    tile = _noise(rng, rng.randint(1, 3), rng.randint(1, 3), palette, 0.6, 1)
    return np.tile(tile, (height // tile.shape[0] + 1, width // tile.shape[1] + 1))[:height, :width]


# ------------------------------------------------------------------------------------------------ objects


def rectangles(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Up to five rectangles, some hollow; mostly apart."""
    grid = _empty(height, width)
    apart = rng.random() < 0.6
    for _ in range(rng.randint(1, 5)):
        box = _box(rng, 1, 5, rng.choice(palette))[:height, :width]
        if rng.random() < 0.3:
            box[1:-1, 1:-1] = 0
        if apart:
            _place(rng, grid, box)
        else:
            _draw(grid, box, rng.randint(0, height - box.shape[0]), rng.randint(0, width - box.shape[1]))
    return grid


def noisy_rectangles(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Rectangles with stray cells, and some cells missing."""
    grid = rectangles(rng, height, width, palette, wanted)
    _speckle(rng, grid, rng.randint(1, 6), [*palette * 4, *[0] * len(palette)])
    return grid


def sprites(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Up to five small shapes apart from each other, of one colour each or of many."""
    grid = _empty(height, width)
    colorful = rng.random() < 0.3
    for _ in range(rng.randint(1, 5)):
        blob = _blob(rng)
        _place(rng, grid, blob * (_filled(rng, *blob.shape, palette) if colorful else np.int8(rng.choice(palette))))
    return grid


def spotted_boxes(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Filled boxes apart from each other, some with spots of a second colour."""
    grid = _empty(height, width)
    for _ in range(rng.randint(2, 4)):
        box = _box(rng, 2, 4, rng.choice(palette))
        _speckle(rng, box, rng.randint(0, 3), [rng.choice(palette)])
        _place(rng, grid, box)
    return grid


def one_symmetric(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Small patterns apart from each other; just one, or all but one, made symmetric."""
    grid = _empty(height, width)
    count = rng.randint(2, 4)
    odd, rule = rng.randrange(count), rng.random() < 0.5
    for i in range(count):
        if (i == odd) == rule:
            half = _noise(rng, rng.randint(2, 4), rng.randint(1, 2), palette[:2], 0.7, 0.7)
            _place(rng, grid, np.concatenate([half, half[:, ::-1]], axis=1))
        else:
            _place(rng, grid, _noise(rng, 3, 3, palette[:2], 0.7, 0.7))
    return grid


def frames(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Up to three frames, some with a gap or a filling."""
    grid = _empty(height, width)
    for _ in range(rng.randint(1, 3)):
        box = _box(rng, 3, 6, rng.choice(palette))
        box[1:-1, 1:-1] = 0
        if rng.random() < 0.3:
            _speckle(rng, box, 1, [0])
        if rng.random() < 0.3:
            box[1:-1, 1:-1] = rng.choice(palette)
        _place(rng, grid, box)
    return grid


def cluttered_frames(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Frames among single cells and shapes."""
    grid = frames(rng, height, width, palette, wanted)
    _speckle(rng, grid, rng.randint(0, 5), palette)
    for _ in range(rng.randint(0, 2)):
        _place(rng, grid, _blob(rng) * np.int8(rng.choice(palette)))
    return grid


def chipped_boxes(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Up to three filled boxes apart from each other, some without a corner."""
    grid = _empty(height, width)
    for _ in range(rng.randint(1, 3)):
        box = _box(rng, 2, 5, rng.choice(palette))
        if rng.random() < 0.5:
            box[rng.choice((0, -1)), rng.choice((0, -1))] = 0
        _place(rng, grid, box)
    return grid


# ------------------------------------------------------------------------------------------------ made for a purpose


def _hide(rng: Random, grid: Grid, color: int | None) -> Grid:
    for _ in range(rng.choice((1, 1, 2))):
        _window(rng, grid, 4)[:] = color or 0
    return grid


def hidden_symmetric(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """A fourfold symmetric pattern, partly hidden under the wanted colour."""
    if rng.random() < 0.5:
        width = height
    grid = _filled(rng, height, width, _others(palette, wanted))
    if height == width and rng.random() < 0.4:
        grid = np.maximum(grid, grid.T)
    _mirror_columns(grid)
    _mirror_columns(grid.T)
    return _hide(rng, grid, wanted)


def hidden_tiled(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """A repeated tile, partly hidden under the wanted colour."""
    tile = _filled(rng, rng.randint(1, 4), rng.randint(1, 4), _others(palette, wanted))
    grid = np.tile(tile, (height // tile.shape[0] + 1, width // tile.shape[1] + 1))[:height, :width]
    return _hide(rng, grid, wanted)


def marked_block(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """A rectangle of the wanted colour in dense noise."""
    grid = _noise(rng, height, width, palette, 0.7, 1)
    _window(rng, grid, 4)[:] = wanted or 0
    return grid


def _panels(rng: Random, palette: Palette, down: int, across: int, alike: bool) -> Grid:
    tall, wide = rng.randint(2, 4), rng.randint(2, 4)
    separator = rng.randint(1, 9)
    grid = np.full((down * (tall + 1) - 1, across * (wide + 1) - 1), separator, dtype=np.int8)
    colors = _others(palette, separator)
    common = _noise(rng, tall, wide, colors, 0.2, 0.8)
    odd = rng.randrange(down * across)
    for i in range(down * across):
        own = _noise(rng, tall, wide, [rng.choice(colors)] if rng.random() < 0.5 else colors, 0.1, 0.9)
        top, left = i // across * (tall + 1), i % across * (wide + 1)
        grid[top : top + tall, left : left + wide] = common if alike and i != odd else own
    return grid


def panels(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Equal panels between separator lines."""
    down, across = rng.choice(((1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (3, 3)))
    return _panels(rng, palette, down, across, alike=False)


def odd_panel(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Three or more equal panels between separator lines, all but one alike."""
    down, across = rng.choice(((1, 3), (2, 2), (2, 3), (3, 1), (3, 2), (3, 3)))
    return _panels(rng, palette, down, across, alike=True)


def halves(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Two equal parts, beside or above each other by the parity of the wanted colour, mostly with a separator line."""
    height, width = min(height, 6), min(width, 7)
    first, second = (palette[:1], palette[-1:]) if rng.random() < 0.6 else (palette, palette)
    parts = [_noise(rng, height, width, colors, 0.25, 0.7) for colors in (first, second)]
    axis = rng.randint(0, 1) if wanted is None else wanted % 2
    if rng.random() < 0.6:
        parts.insert(1, np.full((height, 1) if axis else (1, width), rng.randint(1, 9), dtype=np.int8))
    return np.concatenate(parts, axis=axis)


def small(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """At most 4 x 4."""
    height, width = min(height, rng.randint(1, 4)), min(width, rng.randint(1, 4))
    return _noise(rng, height, height if rng.random() < 0.5 else width, palette, 0.3, 1)


def small_full(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """2 x 2 or 3 x 3 without background."""
    side = rng.randint(2, 3)
    return _filled(rng, side, side, palette)


def magnified(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Noise whose every cell is 2 x 2 or 3 x 3."""
    factor = rng.choice((2, 2, 3))
    cells = _noise(rng, rng.randint(1, 12 // factor), rng.randint(1, 12 // factor), palette, 0.3, 1)
    return cells.repeat(factor, 0).repeat(factor, 1)


def stripes(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """A small pattern with its rows and columns drawn out unevenly."""
    cells = _filled(rng, rng.randint(1, 4), rng.randint(1, 4), palette)
    for axis in (0, 1):
        cells = cells.repeat([rng.randint(1, 3) for _ in range(cells.shape[axis])], axis)
    return cells


def bars(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Bars of various lengths that stand on one side."""
    grid = _empty(height, width)
    for column in range(0, width, rng.choice((1, 2))):
        grid[height - rng.randint(0, height) :, column] = rng.choice(palette)
    return np.rot90(grid, rng.randrange(4))


def two_colors(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Any two colours."""
    return rng.choice((full, noise, rectangles))(rng, height, width, rng.sample(range(1, 10), 2), wanted)


def half_drawn(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Noise on one side only."""
    grid = _empty(height, width)
    side = max(1, width // 2)
    grid[:, :side] = _noise(rng, height, side, palette, 0.2, 0.6)
    if rng.random() < 0.4:
        grid[height // 2 :] = 0
    return np.rot90(grid, rng.randrange(4))


def facing(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Pairs of cells of one colour that face each other in a row or a column."""
    grid = _empty(height, width)
    for _ in range(rng.randint(1, 4)):
        line = grid[rng.randrange(height)] if rng.random() < 0.5 else grid[:, rng.randrange(width)]
        color = rng.choice(palette)
        line[rng.randrange(len(line))] = line[rng.randrange(len(line))] = color
    return grid


def rings(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """Concentric square rings."""
    side = rng.randint(3, 10)
    grid = _empty(side, side)
    for i in range((side + 1) // 2):
        grid[i : side - i, i : side - i] = rng.choice(palette)
    return grid


ANYWHERE: tuple[Scene, ...] = (
    noise, noise, sparse, full, dots, lines, mirrored, tiled,
    rectangles, noisy_rectangles, sprites, chipped_boxes, small,
)  # fmt: skip


def anything(rng: Random, height: int, width: int, palette: Palette, wanted: int | None) -> Grid:
    """One of the kinds that suit most primitives."""
    return rng.choice(ANYWHERE)(rng, height, width, palette, wanted)

"""Generated tasks: random programs of the grid language, and grids that they change.

Task `index` of a `seed` does not depend on the tasks generated before it, so work can be split at will.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

from arc_precision.language.dsl import PRIMITIVES, Ink, Paint
from arc_precision.language.programs import COLOR_TYPES, Program, Step, completion_text, run_program, same_grid, solves
from arc_precision.language.search import one_step_programs
from arc_precision.tasks import scenes
from arc_precision.tasks.grids import Pair, Task
from arc_precision.tasks.scenes import Scene

DEFAULT_DEPTHS = (0.45, 0.40, 0.15)
"""Weights of programs with one, two and three steps."""

PALETTE_SIZES = {1: 0.2, 2: 0.3, 3: 0.25, 4: 0.15, 5: 0.1}


@dataclass(frozen=True)
class GeneratedTask:
    """A task and the program that explains it."""

    task: Task
    program: Program

    @property
    def completion(self) -> str:
        """The program as a model should write it."""
        return completion_text(self.program)


def generate_tasks(seed: int, depths: tuple[float, ...] = DEFAULT_DEPTHS) -> Iterator[GeneratedTask]:
    """Tasks 0, 1, 2, ... of a seed, without end.

    `depths` weighs programs of 1, 2, ... steps, and so sets the difficulty.
    """
    return (generate_task(seed, index, depths) for index in count())


def generate_task(seed: int, index: int, depths: tuple[float, ...] = DEFAULT_DEPTHS) -> GeneratedTask:
    """Task `index` of a seed: two or three train pairs and one test pair.

    Every pair changes, no two inputs are equal, not all outputs are equal, and neither a single step nor the program
    without one of its steps does the same.

    Each primitive should be equally frequent: one is drawn first, then programs around it until one of them is
    suitable.
    """
    rng = Random(f"{seed}/{index}")
    depth = rng.choices(range(1, len(depths) + 1), depths)[0]
    while True:
        wanted = rng.choice(_NAMES)
        for _ in range(60):
            palette = rng.sample(range(1, 10), rng.choices([*PALETTE_SIZES], PALETTE_SIZES.values())[0])
            program = _draw_program(rng, depth, wanted, palette)
            pairs = _draw_pairs(rng, program, palette)
            if pairs is not None and not _explained_by_less(program, pairs):
                task = Task(f"generated-{seed}-{index}", pairs[:-1], pairs[-1:])
                return GeneratedTask(task, _order_exchanges(program, pairs[0]))


_NAMES = [*PRIMITIVES]


def _draw_program(rng: Random, depth: int, wanted: str, palette: list[int]) -> Program:
    names = rng.choices(_NAMES, k=depth)
    names[rng.randrange(depth)] = wanted
    colors = list(palette)
    steps: list[Step] = []
    for name in names:
        arguments: list[int] = []
        for kind in COLOR_TYPES[name]:
            if kind is Paint:
                choices = range(1, 10) if rng.random() < 0.75 else colors
            else:
                choices = [0] if kind is not Ink and rng.random() < 0.25 else colors
            arguments.append(rng.choice(choices))
        colors += [color for color, kind in zip(arguments, COLOR_TYPES[name], strict=True) if kind is Paint]
        steps.append((name, tuple(arguments)))
    return tuple(steps)


def _order_exchanges(program: Program, first_pair: Pair) -> Program:
    """Name the two colours of an exchange in the order in which the first input shows them.

    Both orders do the same, and a random choice would be noise for a model that learns from these programs. This order
    survives a renaming of the colours, unlike the order of the numbers.
    """
    seen = dict.fromkeys(first_pair.input.ravel().tolist())
    rank = {color: position for position, color in enumerate(seen)}
    return tuple(
        (name, tuple(sorted(colors, key=lambda color: rank.get(color, len(rank)))) if name == "swap_colors" else colors)
        for name, colors in program
    )


def _draw_pairs(rng: Random, program: Program, palette: list[int]) -> tuple[Pair, ...] | None:
    """Three or four pairs on one kind of scene, or None where the program does not suit it."""
    name, colors = program[0]
    scene = rng.choice(_SCENES.get(name, (scenes.anything,))) if rng.random() < 0.85 else scenes.anything
    if scene is scenes.anything:
        scene = rng.choice(scenes.ANYWHERE)
    read = colors[0] if colors and COLOR_TYPES[name][0] is not Paint else None

    large = rng.random() < 0.16
    shortest, longest, longest_output = (8, 16, 18) if large else (2, 12, 15)
    height, width = rng.randint(shortest, longest), rng.randint(shortest, longest)
    spread = 0 if rng.random() < 0.3 else 3
    square = rng.random() < 0.4
    same_palette = rng.random() < 0.7

    wanted_pairs = 4 if rng.random() < 0.88 else 3
    pairs: list[Pair] = []
    misses = 0
    while len(pairs) < wanted_pairs:
        if misses > len(pairs) + 1:
            return None
        tall = min(longest, max(shortest, height + rng.randint(-spread, spread)))
        wide = tall if square else min(longest, max(shortest, width + rng.randint(-spread, spread)))
        shades = [*palette]
        if not same_palette:
            shades = sorted({*rng.sample(range(1, 10), len(palette)), *([read] if read else [])})
        rng.shuffle(shades)
        grid = scene(rng, tall, wide, shades, read)
        output = run_program(program, grid) if grid.any() and max(grid.shape) <= 18 else None
        if output is None or max(output.shape) > longest_output or not output.any() or same_grid(output, grid):
            misses += 1
        else:
            pairs.append(Pair(grid, output))
    different_inputs = len({(pair.input.shape, pair.input.tobytes()) for pair in pairs}) == len(pairs)
    different_outputs = any(not same_grid(pair.output, pairs[0].output) for pair in pairs[1:])
    return tuple(pairs) if different_inputs and different_outputs else None


def _explained_by_less(program: Program, pairs: tuple[Pair, ...]) -> bool:
    if len(program) == 1:
        return False
    if any(solves(program[:i] + program[i + 1 :], pairs) for i in range(len(program))):
        return True
    return next(one_step_programs(pairs), None) is not None


_SPREAD_OUT = (scenes.sprites, scenes.rectangles)
_COLORED = (scenes.anything, scenes.rectangles, scenes.sprites)
_SIDED = (scenes.anything, scenes.tiled, scenes.mirrored)
_GROWN = (scenes.small, scenes.anything)

_SCENES: dict[str, tuple[Scene, ...]] = {
    "crop_content": (scenes.sprites, scenes.rectangles, scenes.dots, scenes.anything),
    "crop_color": (*_SPREAD_OUT, scenes.marked_block),
    "crop_rarest": _COLORED,
    "crop_largest_object": _SPREAD_OUT,
    "crop_smallest_object": _SPREAD_OUT,
    "crop_largest_cluster": _SPREAD_OUT,
    "crop_most_colors": (scenes.spotted_boxes,),
    "crop_symmetric": (scenes.one_symmetric,),
    "trim_border": (scenes.frames, scenes.mirrored, scenes.anything),
    "left_half": _SIDED,
    "right_half": _SIDED,
    "top_half": _SIDED,
    "bottom_half": _SIDED,
    "panel_odd": (scenes.odd_panel,),
    "panels_to_cells": (scenes.panels,),
    "and_halves": (scenes.halves,),
    "or_halves": (scenes.halves,),
    "xor_halves": (scenes.halves,),
    "nor_halves": (scenes.halves,),
    "overlay_halves": (scenes.halves,),
    "upscale_2": (scenes.small,),
    "upscale_3": (scenes.small,),
    "upscale_by_colors": (scenes.small,),
    "downscale_3": (scenes.magnified,),
    "dedupe_lines": (scenes.magnified, scenes.stripes),
    "tile_1x2": (scenes.small,),
    "tile_2x2": (scenes.small,),
    "mirror_right": _GROWN,
    "mirror_down": _GROWN,
    "mirror_both": _GROWN,
    "tile_turned": (scenes.small,),
    "fractal": (scenes.small,),
    "fractal_commonest": (scenes.small_full,),
    "gravity_up": (scenes.dots, scenes.sparse),
    "gravity_down": (scenes.dots, scenes.sparse),
    "gravity_left": (scenes.dots, scenes.sparse),
    "gravity_right": (scenes.dots, scenes.sparse),
    "sort_rows": (scenes.sparse, scenes.bars),
    "recolor": (*_COLORED, scenes.full),
    "swap_colors": (*_COLORED, scenes.full),
    "swap_two": (scenes.two_colors,),
    "keep_color": _COLORED,
    "remove_color": (*_COLORED, scenes.full),
    "paint_all": _COLORED,
    "keep_commonest": (scenes.anything, scenes.rectangles),
    "keep_rarest": (scenes.anything, scenes.rectangles),
    "recolor_even_columns": (scenes.bars, scenes.lines, scenes.rectangles, scenes.full),
    "outline": (scenes.dots, scenes.sprites, scenes.rectangles),
    "outline_diagonal": (scenes.dots,),
    "fill_enclosed": (scenes.cluttered_frames, scenes.frames),
    "hollow": (scenes.rectangles, scenes.chipped_boxes),
    "paint_interior": (scenes.rectangles, scenes.chipped_boxes),
    "fill_boxes": (scenes.sprites, scenes.chipped_boxes, scenes.rectangles),
    "solid_boxes": (scenes.sprites, scenes.chipped_boxes),
    "symmetrize_h": (scenes.half_drawn, scenes.sprites),
    "repair_symmetry": (scenes.hidden_symmetric,),
    "repair_tiling": (scenes.hidden_tiled,),
    "hidden_patch": (scenes.hidden_symmetric, scenes.hidden_tiled),
    "ray_down": (scenes.dots,),
    "rays_diagonal": (scenes.dots,),
    "connect": (scenes.facing, scenes.dots),
    "connect_with": (scenes.facing, scenes.dots),
    "paint_empty_lines": (scenes.lines, scenes.sparse),
    "reverse_rings": (scenes.rings,),
    "rarest_cell": (scenes.anything, scenes.sprites, scenes.full),
    "colors_by_count": (scenes.anything, scenes.full, scenes.bars),
    "bars_by_count": (scenes.anything, scenes.bars, scenes.dots),
    "keep_largest": _SPREAD_OUT,
    "color_smallest": (*_SPREAD_OUT, scenes.bars),
    "denoise": (scenes.noisy_rectangles,),
    "color_open": (scenes.cluttered_frames, scenes.frames),
    "unify_commonest": (scenes.spotted_boxes, scenes.noisy_rectangles),
    "unify_rarest": (scenes.spotted_boxes, scenes.noisy_rectangles),
}
"""The kinds of scene that a first step can change; first steps that are missing here can change most kinds."""

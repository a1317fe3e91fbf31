"""Solids: spheres, cubes and cylinders on a table, ray-traced by seed, with the exact pixels of each.

The table is the plane z = 0. The camera looks along y, so that x grows to the right of it and y away from it; its own
turning round the table would be no other picture than the turned things and lamps, which lie and hang anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vlm_demo.training.worlds.world import SOLIDS, Picture, Thing, drawn_colour

MATERIALS = ("rubber", "metal")
SIZES = {"large": 0.7, "small": 0.36}  # half the width
TINTS = {
    "gray": (100, 100, 100),
    "red": (185, 32, 32),
    "blue": (42, 75, 215),
    "green": (29, 125, 30),
    "brown": (125, 74, 30),
    "purple": (129, 38, 192),
    "cyan": (41, 205, 208),
    "yellow": (255, 235, 50),
    "orange": (245, 125, 20),
}
MANY = np.array([6, 10, 16, 18, 17, 14, 10, 9], dtype=float) / 100  # of 1 to 8 solids
LEAST = 0.4  # the share of a solid that has to be seen
SAMPLES = 10  # points of the lamp from which its shadow is cast
STEP = 0.07  # a difference of light that shows stairs
EDGE = 22  # how sharp the edges of cubes and cylinders are
FAR = np.float32(1e9)
GAMMA = 2.2

Vector = np.ndarray  # float32 [..., 3]


@dataclass(frozen=True)
class Solid:
    """One solid: what it is, where it stands, how far it is turned, and its light as shares of red, green and blue."""

    shape: str
    colour: str
    material: str
    size: str
    x: float
    y: float
    yaw: float
    tint: Vector

    @property
    def half(self) -> float:
        """Half the height: cubes are as wide as fits into the others' circle."""
        return SIZES[self.size] * (0.78 if self.shape == "cube" else 1)

    @property
    def middle(self) -> Vector:
        """The centre in the room."""
        return np.array([self.x, self.y, self.half], np.float32)

    def hit(self, origin: Vector, along: Vector) -> np.ndarray:
        """How far along each ray (unit vectors from ``origin``) it meets the solid; FAR = never."""
        start, along, half = self._turned(origin - self.middle), self._turned(along), self.half
        if self.shape == "sphere":
            return _quadratic(_dot(along, start), _dot(start, start) - half * half, np.float32(1))
        steep = np.where(np.abs(along) < 1e-6, np.float32(1e-6), along)
        one, two = (-half - start) / steep, (half - start) / steep
        near, far = np.minimum(one, two), np.maximum(one, two)
        if self.shape == "cube":
            first = np.maximum(np.maximum(near[..., 0], near[..., 1]), near[..., 2])
            last = np.minimum(np.minimum(far[..., 0], far[..., 1]), far[..., 2])
            return np.where((first < last) & (first > 1e-3), first, FAR)
        flat, across = start[..., :2], along[..., :2]
        a = np.maximum(_dot(across, across), 1e-9)
        b, c = _dot(flat, across), _dot(flat, flat) - half * half
        root = np.sqrt(np.maximum(b * b - a * c, 0))
        first = np.maximum((-b - root) / a, near[..., 2])
        last = np.minimum((-b + root) / a, far[..., 2])
        return np.where((b * b > a * c) & (first < last) & (first > 1e-3), first, FAR)

    def normal(self, point: Vector) -> Vector:
        """Which way the surface faces there; at the edges it bends softly, as if they were rounded."""
        local = self._turned(point - self.middle) / self.half
        if self.shape == "cube":
            local = np.sign(local) * np.abs(local) ** EDGE
        elif self.shape == "cylinder":
            rim = np.sqrt(_dot(local[..., :2], local[..., :2]))[..., None]
            side = local[..., :2] / np.maximum(rim, 1e-6) * rim**EDGE
            local = np.concatenate([side, np.sign(local[..., 2:]) * np.abs(local[..., 2:]) ** EDGE], -1)
        return _unit(self._turned(local, back=True))

    def corners(self) -> Vector:
        """Points of its surface whose hull is the solid's."""
        around = np.linspace(0, 2 * math.pi, 32, endpoint=False)
        if self.shape == "sphere":
            ring = np.stack([np.outer(np.sin(around / 2), f(around)) for f in (np.cos, np.sin)], -1).reshape(-1, 2)
            points = np.column_stack([ring, np.repeat(np.cos(around / 2), len(around))])
        else:
            if self.shape == "cube":
                flat = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
            else:
                flat = np.column_stack([np.cos(around), np.sin(around)])
            points = np.concatenate([np.column_stack([flat, np.full(len(flat), z)]) for z in (-1, 1)])
        return self._turned(points.astype(np.float32) * self.half, back=True) + self.middle

    def _turned(self, vectors: Vector, back: bool = False) -> Vector:
        if self.shape != "cube":
            return vectors
        c, s = np.float32(math.cos(self.yaw)), np.float32(math.sin(self.yaw) * (-1 if back else 1))
        x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
        return np.stack([c * x + s * y, c * y - s * x, z], -1)


@dataclass(frozen=True)
class Camera:
    """Where it is, its directions right, up and forward (rows of ``axes``), its focal length, the picture's size."""

    place: Vector
    axes: np.ndarray
    focal: float
    width: int
    height: int

    def rays(self, x: np.ndarray, y: np.ndarray) -> Vector:
        """Unit vectors through these points of the picture."""
        right = (x - self.width / 2) / self.focal
        up = (self.height / 2 - y) / self.focal
        local = np.stack([right, up, np.ones_like(right)], -1).astype(np.float32)
        return _unit(local @ self.axes)

    def seen_at(self, points: Vector) -> np.ndarray:
        """Where points of the room are in the picture: float [n, 2]."""
        right, up, forward = ((points - self.place) @ self.axes.T).T
        scale = self.focal / forward
        return np.column_stack([self.width / 2 + right * scale, self.height / 2 - up * scale])

    def outline(self, solid: Solid) -> np.ndarray:
        """The convex hull of the solid in the picture."""
        points = self.seen_at(solid.corners()).astype(float)
        around = np.linspace(0, 2 * math.pi, 72, endpoint=False)
        furthest = (points @ np.stack([np.cos(around), np.sin(around)])).argmax(0)
        return points[furthest[furthest != np.roll(furthest, 1)]]


def draw_solids(rng: np.random.Generator, held_out: bool = False) -> Picture:
    """A table with 1 to 8 solids; ``held_out`` looks from higher up onto a ground that training never sees.

    ``facts``, one of each thing: ``positions`` (x to the right, y away from the camera, z), ``sizes``, ``materials``.
    """
    camera = _camera(rng, held_out)
    solids = _placed(rng, camera)
    columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    x, y = columns.ravel() + np.float32(0.5), rows.ravel() + np.float32(0.5)
    shares = [0.0]
    while min(shares) < LEAST:
        boxes = [_box(camera.outline(solid)) for solid in solids]
        which, far, alone = _first_hits(camera, solids, boxes, x, y)
        shares = [float((which == i + 1).sum() / max(n, 1)) for i, n in enumerate(alone)]
        if min(shares) < LEAST:
            del solids[int(np.argmin(shares))]
    studio = Studio(rng, camera, solids, held_out)
    colours = studio.coloured(camera.rays(x, y), which, far).reshape(camera.height, camera.width, 3)
    seen = which.reshape(camera.height, camera.width)
    _smooth_edges(camera, studio, boxes, seen, colours)
    pixels = 255 * np.clip(colours, 0, 1) ** (1 / GAMMA)
    pixels += rng.normal(0, rng.uniform(0, 2.5), pixels.shape[:2])[..., None]
    things = tuple(
        Thing(solid.shape, solid.colour, camera.outline(solid), share, (solid.material, solid.size))
        for solid, share in zip(solids, shares, strict=True)
    )
    facts = {
        "positions": tuple((solid.x, solid.y, solid.half) for solid in solids),
        "sizes": tuple(solid.size for solid in solids),
        "materials": tuple(solid.material for solid in solids),
    }
    image = Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))
    return Picture("solids", image, things, facts, seen.astype(np.uint8))


def _camera(rng: np.random.Generator, held_out: bool) -> Camera:
    height = int(rng.choice([120, 144, 160, 180, 192, 240], p=[0.2, 0.15, 0.2, 0.15, 0.15, 0.15]))
    width = height if rng.random() < 0.2 else height * 4 // 3
    tilt = math.radians(rng.uniform(41, 48) if held_out else rng.uniform(24, 39))
    distance = rng.uniform(10.2, 12.2)
    target = np.array([rng.uniform(-0.3, 0.3), rng.uniform(-0.2, 0.6), 0.3])
    forward = np.array([0, math.cos(tilt), -math.sin(tilt)])
    axes = np.array([[1, 0, 0], [0, math.sin(tilt), math.cos(tilt)], forward], np.float32)
    place = (target - forward * distance).astype(np.float32)
    return Camera(place, axes, max(width, height * 1.2) * rng.uniform(1.0, 1.22), width, height)


def _placed(rng: np.random.Generator, camera: Camera) -> list[Solid]:
    """Solids that neither touch one another nor leave the picture; at least one."""
    count = 1 + int(rng.choice(len(MANY), p=MANY))
    shapes, colours = _some(rng, SOLIDS, 0.7), _some(rng, tuple(TINTS), 0.5)
    materials, sizes = _some(rng, MATERIALS, 0.85), _some(rng, tuple(SIZES), 0.85)
    solids: list[Solid] = []
    for n in range(count):
        shape, colour, material, size = (
            str(options[int(rng.integers(len(options)))]) for options in (shapes, colours, materials, sizes)
        )
        rgb = np.array(TINTS[colour]) + rng.uniform(0, 0.4) * (np.array(drawn_colour(colour, rng)) - TINTS[colour])
        tint = ((rgb / 255) ** GAMMA).astype(np.float32)
        for _ in range(1000 if n == 0 else 60):
            x, y, yaw = (float(value) for value in rng.uniform((-4.2, -3.4, 0), (4.2, 4.4, math.pi / 2)))
            solid = Solid(shape, colour, material, size, x, y, yaw, tint)
            x0, y0, x1, y1 = _box(camera.outline(solid))
            inside = min(x0, y0) > 2 and x1 < camera.width - 2 and y1 < camera.height - 2
            if inside and all(_apart(solid, other) for other in solids):
                solids.append(solid)
                break
    return solids


def _some(rng: np.random.Generator, names: Sequence[str], all_of_them: float) -> list[str]:
    """All of the names or, so that some things are alike, few of them."""
    few = 1 + int(rng.integers(3))
    return list(names) if rng.random() < all_of_them else list(rng.permutation(list(names))[:few])


def _apart(one: Solid, two: Solid) -> bool:
    wide = sum(SIZES[solid.size] * (1.1 if solid.shape == "cube" else 1) for solid in (one, two))
    return math.hypot(one.x - two.x, one.y - two.y) > wide + 0.2


def _box(outline: np.ndarray) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = outline.min(0), outline.max(0)
    return float(x0) - 1, float(y0) - 1, float(x1) + 1, float(y1) + 1


def _first_hits(
    camera: Camera, solids: Sequence[Solid], boxes: Sequence[tuple], x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Which solid is met at each point (0 = none, i + 1), how far it is, and how many points meet each, seen or not."""
    which, far, alone = np.zeros(len(x), int), np.full(len(x), FAR), []
    for i, (solid, (x0, y0, x1, y1)) in enumerate(zip(solids, boxes, strict=True)):
        near = np.flatnonzero((x > x0) & (x < x1) & (y > y0) & (y < y1))
        t = solid.hit(camera.place, camera.rays(x[near], y[near]))
        alone.append(int((t < FAR).sum()))
        first = t < far[near]
        far[near[first]], which[near[first]] = t[first], i + 1
    return which, far, alone


def _smooth_edges(
    camera: Camera, studio: Studio, boxes: Sequence[tuple], seen: np.ndarray, colours: np.ndarray
) -> None:
    """Colour the pixels where another thing or face begins anew, each as the mean of its four quarters."""
    edge = np.zeros(seen.shape, bool)
    light = np.sqrt(np.clip(colours[..., 1], 0, 1))
    for one, two in (((slice(1, None),), (slice(-1),)), ((slice(None), slice(1, None)), (slice(None), slice(-1)))):
        differs = (seen[one] != seen[two]) | (np.abs(light[one] - light[two]) > STEP)
        edge[one] |= differs
        edge[two] |= differs
    rows, columns = np.nonzero(edge)
    quarters = np.array([0.25, 0.75], np.float32)
    x = (columns[:, None] + np.tile(quarters, 2)).ravel()
    y = (rows[:, None] + np.repeat(quarters, 2)).ravel()
    which, far, _ = _first_hits(camera, studio.solids, boxes, x, y)
    found = studio.coloured(camera.rays(x, y), which, far)
    colours[edge] = np.clip(found, 0, 1).reshape(-1, 4, 3).mean(1)


class Studio:
    """The table and the lamps, and what light comes from where. All light is linear, not yet as a screen shows it."""

    def __init__(self, rng: np.random.Generator, camera: Camera, solids: Sequence[Solid], held_out: bool) -> None:
        self.camera, self.solids = camera, solids
        side = rng.choice([-1.0, 1.0])
        lamp = np.array([side * rng.uniform(1, 6), rng.uniform(-5.5, 4), rng.uniform(5.5, 8.5)])
        self.lamp = lamp.astype(np.float32)
        self.other = _unit(np.array([-side * rng.uniform(3, 6), rng.uniform(-6, -2), rng.uniform(3, 6)], np.float32))
        turn = np.arange(SAMPLES) * 2.399963 + rng.uniform(0, 6)  # a sunflower's seeds
        radius = rng.uniform(0.25, 0.8) * np.sqrt((np.arange(SAMPLES) + 0.5) / SAMPLES)
        disc = np.column_stack([np.cos(turn) * radius, np.sin(turn) * radius, np.zeros(SAMPLES)])
        self.lamps = (lamp + disc).astype(np.float32)
        self.strength = np.float32(rng.uniform(0.62, 0.8))
        self.fill = np.float32(rng.uniform(0.12, 0.26))
        self.ambient = np.float32(rng.uniform(0.2, 0.32))
        grey = rng.uniform(0.3, 0.42) if held_out else rng.uniform(0.5, 0.82)
        hue = np.array([-0.5, 0.1, 1]) if held_out else np.array([1, 0.25, -1])
        self.ground = ((grey * (1 + rng.uniform(0, 0.09) * hue)) ** GAMMA).astype(np.float32)
        self.fall = (rng.uniform(-0.035, 0.035, 2)).astype(np.float32)
        self.dim = np.float32(rng.uniform(0.004, 0.014))
        self.sky = np.float32(rng.uniform(0.3, 0.65))
        self.turn = np.float32(rng.uniform(0, 2 * math.pi))

    def coloured(self, rays: Vector, which: np.ndarray, far: np.ndarray) -> Vector:
        """What the camera sees along rays that first meet the solid ``which`` (0 = the table) so ``far`` away."""
        colours = np.empty_like(rays)
        table = np.flatnonzero(which == 0)
        points = self._on_table(self.camera.place, rays[table])
        colours[table] = self._table(points) * self._table_light(points, self._shade(points, None))[:, None]
        for i, solid in enumerate(self.solids):
            mine = np.flatnonzero(which == i + 1)
            points = self.camera.place + rays[mine] * far[mine, None]
            colours[mine] = self._surface(solid, points, rays[mine])
        return colours

    def _surface(self, solid: Solid, points: Vector, rays: Vector) -> Vector:
        normal = solid.normal(points)
        lit = self._shade(points, solid)
        toward, other = _unit(self.lamp - points), self.other
        colour = self._matt(solid, points, normal, lit)
        half = _unit(toward - rays)
        gleam = np.maximum(_dot(half, normal), 0)
        if solid.material == "rubber":
            return colour + (0.09 * lit * gleam**14)[:, None]
        facing = _dot(rays, normal)[:, None]
        mirrored = rays - 2 * facing * normal
        edge = (1 - np.clip(-facing, 0, 1)) ** 5
        tint = 0.12 + 0.88 * solid.tint
        shine = self._around(solid, points, mirrored) * (tint + (0.8 - tint) * edge * 0.5)
        second = np.maximum(_dot(_unit(other - rays), normal), 0)
        spots = 1.3 * lit * gleam**160 + 0.35 * second**120
        return 0.3 * colour + 0.85 * shine + spots[:, None]

    def _matt(self, solid: Solid, points: Vector, normal: Vector, lit: np.ndarray) -> Vector:
        """The solid's own colour in the light that falls on it."""
        key = np.maximum(_dot(normal, _unit(self.lamp - points)), 0) * lit
        fill = np.maximum(normal @ self.other, 0)
        sky = self.ambient * (0.72 + 0.28 * normal[:, 2])
        return solid.tint * (1.08 * self.strength * key + self.fill * fill + sky)[:, None]

    def _around(self, solid: Solid, points: Vector, along: Vector) -> Vector:
        """What a mirror there would show: lamps, the table, the other solids."""
        lamp = _unit(self.lamp - points)
        glow = 2.2 * np.exp(30 * (_dot(along, lamp) - 1)) + 1.1 * np.exp(14 * (along @ self.other - 1))
        across, away = along[:, 0], along[:, 1]
        panels = 0.5 + 0.5 * np.tanh(4 * np.hypot(across, away) * np.sin(3 * np.arctan2(across, away) + self.turn))
        found = np.repeat((self.sky * (0.35 + 0.5 * along[:, 2] + 0.6 * panels) + glow)[:, None], 3, -1)
        down = np.flatnonzero(along[:, 2] < -0.02)
        met = self._on_table(points[down], along[down])
        found[down] = self._table(met) * self._table_light(met, self._shade(met, None))[:, None]
        nearest = np.full(len(points), FAR)
        for other in self.solids:
            if other is solid:
                continue
            toward = other.middle - solid.middle
            t = other.hit(points, along) if float(toward @ toward) < 16 else nearest
            met_it = np.flatnonzero(t < nearest)
            if len(met_it):
                nearest[met_it] = t[met_it]
                there = points[met_it] + along[met_it] * t[met_it, None]
                found[met_it] = self._matt(other, there, other.normal(there), np.ones(len(there), np.float32))
        return found

    def _on_table(self, origin: Vector, along: Vector) -> Vector:
        """Where rays meet the table, or its far end."""
        return origin + along * (origin[..., 2] / np.maximum(-along[..., 2], 0.03))[..., None]

    def _table(self, points: Vector) -> Vector:
        """The table's own colour, which dims and shifts a little over its width."""
        x, y = points[:, 0], points[:, 1]
        level = (1 + x * self.fall[0] + y * self.fall[1]) / (1 + self.dim * (x * x + y * y))
        return self.ground * np.clip(level, 0.25, 1.3)[:, None]

    def _table_light(self, points: Vector, lit: np.ndarray) -> np.ndarray:
        """The light on the table; less of it comes in close to a solid."""
        toward = self.lamp - points
        distance = np.sqrt(_dot(toward, toward))
        sky = np.full(len(points), self.ambient + 0.5 * self.fill)
        for solid in self.solids:
            gap = (points[:, 0] - solid.x) ** 2 + (points[:, 1] - solid.y) ** 2
            sky *= 1 - 0.55 * np.exp(-0.9 * gap / solid.half**2)
        return sky + 1.1 * self.strength * toward[:, 2] / distance * lit

    def _shade(self, points: Vector, own: Solid | None) -> np.ndarray:
        """The share of the lamp that is seen from each point, 0..1."""
        dark = np.zeros((SAMPLES, len(points)), bool)
        for solid in self.solids:
            if solid is own:
                continue
            near = self._possibly_shaded(points, solid)
            if len(near):
                start = points[near]
                along = _unit(self.lamps[:, None] - start)
                dark[:, near] |= solid.hit(start, along) < FAR
        return 1 - dark.mean(0, dtype=np.float32)

    def _possibly_shaded(self, points: Vector, solid: Solid) -> np.ndarray:
        """Points from which the middle of the lamp is near the solid or behind it."""
        toward = _unit(self.lamp - points)
        to_solid = solid.middle - points
        along = _dot(to_solid, toward)
        apart = _dot(to_solid, to_solid) - along * along
        return np.flatnonzero((along > 0) & (apart < (SIZES[solid.size] * 1.35 + 0.1 * along) ** 2))


def _quadratic(b: np.ndarray, c: np.ndarray, a: np.float32) -> np.ndarray:
    """The nearer root in front of the ray's start, or FAR."""
    root = b * b - a * c
    t = (-b - np.sqrt(np.maximum(root, 0))) / a
    return np.where((root > 0) & (t > 1e-3), t, FAR)


def _unit(vectors: Vector) -> Vector:
    return vectors / np.sqrt(_dot(vectors, vectors))[..., None]


def _dot(one: Vector, two: Vector) -> np.ndarray:
    return np.einsum("...i,...i->...", one, two)

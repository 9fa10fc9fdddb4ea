"""Where everything of a picture of a flow stands: states in layers from top to bottom, lines between them.

After Sugiyama, Tagawa and Toda, "Methods for Visual Understanding of Hierarchical System Structures" (1981), with two
changes. All transitions to one state share one line as soon as they can, so that a state that everything falls to costs
one line and not ten. And a transition's words stand in a layer of their own, beside its line, so that nothing can lie
under them. Lines cross layers straight down, each in a place that is its own there, and turn only between two layers:
that is why no line crosses a box.

It is one algorithm, in one file: its steps hand a few tables on to each other, and divided, each part would need all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hourbank.drawing.flow import Flow

APART = 22  # between neighbours in a layer
TRACK = 11  # between parallel lines
ARROW = 13
LOOP = 24
MARGIN = 18


class Item(NamedTuple):
    """What has a place in a layer.

    `role` is state (`of` its name), note (what many fall to: that state), label (`of` source, `to` target), line (all
    that leads down to the state `of`) or rise (up to it).
    """

    role: str
    of: str
    to: str = ""
    rank: int = 0


class Size(NamedTuple):
    """Pixels left and right of an item's own line, and its height."""

    left: float
    right: float
    height: float


class Box(NamedTuple):
    """Pixels, from the upper left corner of the picture."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass
class Layout:
    """Where things are, in pixels.

    Attributes
    ----------
    boxes : dict
        States by name.
    notes : dict
        By the state that many fall to: what says so, above it.
    labels : dict
        The words of a transition, by source and target.
    lines : dict
        The points of a transition, by source and target; the source of a note's is empty.
    """

    width: float = 0
    height: float = 0
    boxes: dict[str, Box] = field(default_factory=dict)
    notes: dict[str, Box] = field(default_factory=dict)
    labels: dict[tuple[str, str], Box] = field(default_factory=dict)
    lines: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)


def arrange(flow: Flow, size: Callable[[Item], Size]) -> Layout:
    """Place a flow; `size` gives the room that a state, a note or a label takes."""
    layers = _layers(flow)
    for below in _loose(flow):
        # in the lowest place where it does not make the picture wider
        lowest = max(max(layers.values()) - max(layers[name] for name in below), 1)
        places = [layers | {name: layers[name] + down for name in below} for down in range(lowest, 0, -1)]
        layers = min(places, key=lambda layers: _arranged(flow, layers, size).width)
    if any(layers[target] == 0 for target in flow.shared):  # the note needs a layer of its own
        layers = {name: layer + 1 for name, layer in layers.items()}
    return _arranged(flow, layers, size)


def _arranged(flow: Flow, layers: dict[str, int], size: Callable[[Item], Size]) -> Layout:
    chains = _chains(flow, layers)
    ranks = _order(flow, chains)
    segments = list(dict.fromkeys(pair for chain in chains.values() for pair in itertools.pairwise(chain)))
    room = {item: size(item) if item.role not in ("line", "rise") else Size(0, 0, 0) for row in ranks for item in row}
    # a transition to itself is a loop beside its state
    loops = {
        edge.source: size(Item("label", edge.source, edge.source)) for edge in flow.edges if edge.source == edge.target
    }
    x = _columns(ranks, segments, room, loops, _happy_segments(flow, chains))
    return _route(ranks, chains, room, loops, x)


def rows(flow: Flow) -> list[str]:
    """Return the states from top to bottom: what only notes lead to last, the happy path first within a layer."""
    layers, loose = _layers(flow), set[str]().union(*_loose(flow))
    return sorted(flow.states, key=lambda name: (name in loose, layers[name], name not in flow.happy))  # stable


def _layers(flow: Flow) -> dict[str, int]:
    """Return each state's layer: below everything that leads to it, loops aside."""
    ahead: dict[str, list[str]] = {name: [] for name in flow.states}
    for edge in flow.edges:
        ahead[edge.source].append(edge.target)
    for name, following in itertools.pairwise(flow.happy):
        ahead[name].remove(following)
        ahead[name].insert(0, following)
    finished = _finished([*flow.happy[:1], *flow.states], ahead)
    layers = dict.fromkeys(flow.states, 0)
    for name in reversed(finished):  # a topological order, but for the edges that close a loop
        for target in ahead[name]:
            if finished[target] < finished[name]:
                layers[target] = max(layers[target], layers[name] + 1)
    return layers


def _finished(starts: Iterable[str], ahead: dict[str, list[str]]) -> dict[str, int]:
    """Return when a depth-first search leaves each state; iterative, since a chain may be long."""
    entered, finished = set(), {}
    for start in starts:
        stack = [(start, iter(ahead[start]))] if start not in entered else []
        entered.add(start)
        while stack:
            name, rest = stack[-1]
            target = next((target for target in rest if target not in entered), None)
            if target is None:
                finished[name] = len(finished)
                stack.pop()
            else:
                entered.add(target)
                stack.append((target, iter(ahead[target])))
    return finished


def _loose(flow: Flow) -> list[set[str]]:
    """Return the parts of a flow to which nothing but notes leads."""
    parts: list[set[str]] = []
    for target in flow.shared:
        below, todo = set(), [target]
        while todo:
            if (name := todo.pop()) not in below:
                below.add(name)
                todo += [edge.target for edge in flow.edges if edge.source == name]
        for part in [part for part in parts if part & below]:
            parts.remove(part)
            below |= part
        parts.append(below)
    joined = {edge.target for edge in flow.edges for part in parts if edge.target in part and edge.source not in part}
    return [part for part in parts if not part & (joined | {*flow.happy[:1]})]


def _chains(flow: Flow, layers: dict[str, int]) -> dict[tuple[str, str], list[Item]]:
    """Return the items that each transition passes, from top to bottom."""
    chains = {}
    for edge in flow.edges:
        above, below = layers[edge.source] * 2, layers[edge.target] * 2
        source, target = Item("state", edge.source, rank=above), Item("state", edge.target, rank=below)
        label = [Item("label", edge.source, edge.target, above + 1 if below > above else above - 1)] * bool(edge.words)
        skip = len(label)
        if edge.source == edge.target:
            continue
        if below > above:
            lines = [Item("line", edge.target, rank=rank) for rank in range(above + 1 + skip, below)]
            chains[edge.source, edge.target] = [source, *label, *lines, target]
        else:
            lines = [Item("rise", edge.target, rank=rank) for rank in range(below + 1, above - skip)]
            chains[edge.source, edge.target] = [target, *lines, *label, source]
    for name in flow.shared:
        rank = layers[name] * 2
        lines = [Item("line", name, rank=rank - 1)]
        chains["", name] = [Item("note", name, rank=rank - 2), *lines, Item("state", name, rank=rank)]
    for name, layer in layers.items():
        chains[name, ""] = [Item("state", name, rank=layer * 2)]
    return chains


def _happy_segments(flow: Flow, chains: dict[tuple[str, str], list[Item]]) -> set[tuple[Item, Item]]:
    return {
        pair
        for way in itertools.pairwise(flow.happy)
        if way in chains and chains[way][0].of == way[0]
        for pair in itertools.pairwise(chains[way])
    }


def _order(flow: Flow, chains: dict[tuple[str, str], list[Item]]) -> list[list[Item]]:
    """Return the items of each rank from left to right, with few crossings, the happy path first."""
    happy = {item for pair in _happy_segments(flow, chains) for item in pair}
    items = list(dict.fromkeys(item for chain in chains.values() for item in chain))
    ranks: list[list[Item]] = [[] for _ in range(max((item.rank for item in items), default=-1) + 1)]
    for item in sorted(items, key=lambda item: item not in happy):  # stable: else as the definition has it
        ranks[item.rank].append(item)
    up: dict[Item, list[Item]] = {item: [] for item in items}
    down: dict[Item, list[Item]] = {item: [] for item in items}
    for above, below in dict.fromkeys(pair for chain in chains.values() for pair in itertools.pairwise(chain)):
        up[below].append(above)
        down[above].append(below)
    best, fewest = [list(row) for row in ranks], _crossings(ranks, down)
    for sweep in range(12):
        places = range(len(ranks)) if sweep % 2 == 0 else range(len(ranks) - 1, -1, -1)
        for rank in places:
            near = up if sweep % 2 == 0 else down
            _sort_by_neighbours(ranks, rank, near, happy)
        _swap_neighbours(ranks, up, down, happy)
        if (count := _crossings(ranks, down)) < fewest:
            best, fewest = [list(row) for row in ranks], count
    return best


def _sort_by_neighbours(ranks: list[list[Item]], rank: int, near: dict[Item, list[Item]], happy: set[Item]) -> None:
    other = {}
    for row in ranks[max(rank - 1, 0) : rank + 2]:
        other |= {item: place for place, item in enumerate(row)}
    row = ranks[rank]

    def place(item: Item) -> tuple[bool, float]:
        places = [other[neighbour] for neighbour in near[item]]
        return item not in happy, sum(places) / len(places) if places else row.index(item)

    ranks[rank] = sorted(row, key=place)


def _swap_neighbours(
    ranks: list[list[Item]], up: dict[Item, list[Item]], down: dict[Item, list[Item]], happy: set[Item]
) -> None:
    """Swap two that stand side by side while that takes a crossing away."""
    improved = True
    while improved:
        improved = False
        for rank, row in enumerate(ranks):
            above = {item: place for place, item in enumerate(ranks[rank - 1])} if rank else {}
            below = {item: place for place, item in enumerate(ranks[rank + 1])} if rank + 1 < len(ranks) else {}
            for place in range(len(row) - 1):
                left, right = row[place], row[place + 1]
                if left in happy:
                    continue
                as_is = swapped = 0
                for near, places in ((up, above), (down, below)):
                    for one, two in itertools.product(near[left], near[right]):
                        as_is += places[one] > places[two]
                        swapped += places[one] < places[two]
                if swapped < as_is:
                    row[place], row[place + 1] = right, left
                    improved = True


def _crossings(ranks: list[list[Item]], down: dict[Item, list[Item]]) -> int:
    count = 0
    for row, below in itertools.pairwise(ranks):
        place = {item: number for number, item in enumerate(below)}
        ends = [[place[target] for target in down[item]] for item in row]
        for left, right in itertools.combinations(ends, 2):
            count += sum(one > two for one, two in itertools.product(left, right))
    return count


def _columns(
    ranks: list[list[Item]],
    segments: Sequence[tuple[Item, Item]],
    room: dict[Item, Size],
    loops: dict[str, Size],
    happy: set[tuple[Item, Item]],
) -> dict[Item, float]:
    """Return the x of each item's line: as far left as may be, with as many lines straight as may be.

    As Brandes and Köpf do ("Fast and Simple Horizontal Coordinate Assignment", 2001): items that a straight line joins
    are one block, blocks are pushed to the left as a whole. Lines that cross are never both straight, so blocks keep
    their order in every layer, and pushing ends.
    """
    top = _blocks(ranks, segments, happy)
    after: dict[Item, list[tuple[Item, float]]] = {item: [] for item in top.values()}
    waiting = dict.fromkeys(after, 0)
    for row in ranks:
        for left, right in itertools.pairwise(row):
            distance = room[left].right + _beside(left, loops) + APART + room[right].left
            after[top[left]].append((top[right], distance))
            waiting[top[right]] += 1
    x = dict.fromkeys(after, 0.0)
    for item, block in top.items():
        x[block] = max(x[block], room[item].left)
    ready = [block for block, count in waiting.items() if count == 0]
    while ready:
        block = ready.pop()
        for following, distance in after[block]:
            x[following] = max(x[following], x[block] + distance)
            waiting[following] -= 1
            if waiting[following] == 0:
                ready.append(following)
    return {item: x[block] for item, block in top.items()}


def _blocks(
    ranks: list[list[Item]], segments: Sequence[tuple[Item, Item]], happy: set[tuple[Item, Item]]
) -> dict[Item, Item]:
    """Return for each item the uppermost of those that a straight line joins with it."""
    place = {item: number for row in ranks for number, item in enumerate(row)}

    def importance(segment: tuple[Item, Item]) -> int:
        if segment in happy:
            return 0
        roles = {item.role for item in segment}
        return 1 if roles <= {"line", "rise"} else 3 if roles == {"label", "state"} else 2

    straight: list[list[tuple[int, int]]] = [[] for _ in ranks]
    below: dict[Item, Item] = {}
    above: dict[Item, Item] = {}
    for upper, lower in sorted(segments, key=importance):
        one, two = place[upper], place[lower]
        if upper in below or lower in above or any((one < a) != (two < b) for a, b in straight[upper.rank]):
            continue
        straight[upper.rank].append((one, two))
        below[upper], above[lower] = lower, upper
    top: dict[Item, Item] = {}
    for item in place:
        top[item] = top[above[item]] if item in above else item
    return top


def _beside(item: Item, loops: dict[str, Size]) -> float:
    loop = loops.get(item.of) if item.role == "state" else None
    return LOOP + loop.left + loop.right if loop else 0


@dataclass
class _Track:
    """Lines of one channel that come together: where they enter it above and leave it below, and how deep they turn."""

    key: tuple[Item, str]
    tops: list[float]
    bottoms: list[float]
    depth: int = 0

    @property
    def span(self) -> tuple[float, float]:
        return min(self.tops + self.bottoms), max(self.tops + self.bottoms)

    @property
    def is_straight(self) -> bool:
        low, high = self.span
        return high - low < 0.5


def _route(
    ranks: list[list[Item]],
    chains: dict[tuple[str, str], list[Item]],
    room: dict[Item, Size],
    loops: dict[str, Size],
    x: dict[Item, float],
) -> Layout:
    layout = Layout()
    shift = MARGIN - min((x[item] - room[item].left for item in x), default=0)
    x = {item: value + shift for item, value in x.items()}
    layout.width = max((x[item] + room[item].right + _beside(item, loops) for item in x), default=0) + MARGIN
    ports = _ports(chains, room, x)
    turns: dict[tuple[Item, Item], float] = {}
    y, bands = float(MARGIN), []
    for rank, row in enumerate(ranks):
        height = max((room[item].height for item in row), default=0)
        height = max([height, *(loops[item.of].height for item in row if item.role == "state" and item.of in loops)])
        bands.append((y, y + height))
        y += height
        channel = list(dict.fromkeys((pair, rising) for pair, rising in _segments(chains) if pair[0].rank == rank))
        if channel:
            y = _turn(channel, ports, turns, y, arrows=rank % 2 == 1)
    layout.height = y + MARGIN
    for item in x:
        size, (top, bottom) = room[item], bands[item.rank]
        middle = (top + bottom) / 2
        box = Box(x[item] - size.left, middle - size.height / 2, x[item] + size.right, middle + size.height / 2)
        if item.role == "state":
            layout.boxes[item.of] = box
        elif item.role == "note":
            layout.notes[item.of] = box
        elif item.role == "label":
            layout.labels[item.of, item.to] = box
    for name, size in loops.items():
        box = layout.boxes[name]
        middle, out = (box.top + box.bottom) / 2, box.right + LOOP
        layout.lines[name, name] = [
            (box.right, middle - 8),
            (out, middle - 8),
            (out, middle + 8),
            (box.right, middle + 8),
        ]
        left = out + size.left
        layout.labels[name, name] = Box(out, middle - size.height / 2, left + size.right, middle + size.height / 2)
    for way, chain in chains.items():
        if len(chain) > 1:
            points = _points(chain, ports, turns, layout)
            rises = way[0] != "" and chain[0].of != way[0]
            layout.lines[way] = points[::-1] if rises else points
    return layout


def _segments(chains: dict[tuple[str, str], list[Item]]) -> list[tuple[tuple[Item, Item], bool]]:
    return [
        (pair, way[0] != "" and chain[0].of != way[0])
        for way, chain in chains.items()
        for pair in itertools.pairwise(chain)
    ]


Ports = dict[tuple[Item, Item], tuple[float, float]]


def _ports(
    chains: dict[tuple[str, str], list[Item]],
    room: dict[Item, Size],
    x: dict[Item, float],
) -> Ports:
    """Return where each segment leaves its upper item and enters its lower one."""
    sides: dict[tuple[Item, bool], dict[str | Item, list[tuple[Item, Item]]]] = {}
    for (upper, lower), rising in dict.fromkeys(_segments(chains)):
        # all that arrives at a state comes together; what leaves it has a place each
        sides.setdefault((upper, True), {}).setdefault("in" if rising else lower, []).append((upper, lower))
        sides.setdefault((lower, False), {}).setdefault(upper if rising else "in", []).append((upper, lower))
    found: dict[tuple[Item, Item], list[float]] = {}
    for (item, is_bottom), groups in sides.items():
        places = _places(item, is_bottom, groups, room, x)
        for key, pairs in groups.items():
            for pair in pairs:
                found.setdefault(pair, [x[pair[0]], x[pair[1]]])[0 if is_bottom else 1] = places[key]
    return {pair: (ends[0], ends[1]) for pair, ends in found.items()}


def _places(
    item: Item,
    is_bottom: bool,
    groups: dict[str | Item, list[tuple[Item, Item]]],
    room: dict[Item, Size],
    x: dict[Item, float],
) -> dict[str | Item, float]:
    if item.role != "state":
        return dict.fromkeys(groups, x[item])
    size, middle = room[item], x[item]
    low, high = middle - size.left + 16, middle + size.right - 16
    wanted = {}
    for key, pairs in groups.items():
        others = [x[pair[1] if is_bottom else pair[0]] for pair in pairs]
        wanted[key] = min(max(others[0], low), high) if len(others) == 1 else middle
    order = sorted(wanted, key=lambda key: (wanted[key], sum(x[pair[is_bottom]] for pair in groups[key])))
    gap = min(12, (high - low) / max(len(order) - 1, 1))
    for left, right in itertools.pairwise(order):
        wanted[right] = max(wanted[right], wanted[left] + gap)
    limit = high
    for key in reversed(order):
        wanted[key] = min(wanted[key], limit)
        limit = wanted[key] - gap
    return wanted


def _turn(
    channel: list[tuple[tuple[Item, Item], bool]],
    ports: Ports,
    turns: dict[tuple[Item, Item], float],
    y: float,
    *,
    arrows: bool,
) -> float:
    """Give each line of a channel the height at which it turns; return where the channel ends."""
    tracks: dict[tuple[Item, str], _Track] = {}
    for (upper, lower), rising in channel:
        key = (upper, "rise") if rising else (lower, "fall")
        track = tracks.setdefault(key, _Track(key, [], []))
        start, end = ports[upper, lower]
        track.tops.append(start)
        track.bottoms.append(end)
    turning = [track for track in tracks.values() if not track.is_straight]
    _stack(turning)
    depth = max((track.depth for track in turning), default=0)
    rising = any(rises for _, rises in channel)
    before = ARROW if rising and not arrows else 7
    for (upper, lower), rises in channel:
        track = tracks[(upper, "rise") if rises else (lower, "fall")]
        turns[upper, lower] = y + before + (track.depth - 1) * TRACK if track.depth else y
    after = ARROW + 3 if arrows else 5
    return y + before + max(depth - 1, 0) * TRACK + after


def _stack(tracks: list[_Track]) -> None:
    """Give tracks depths from 1 on, such that none lies on another, with few crossings."""
    above: dict[int, set[int]] = {number: set() for number in range(len(tracks))}
    wishes = []
    for one, two in itertools.combinations(range(len(tracks)), 2):
        for first, second in ((one, two), (two, one)):
            # where the second leaves below what enters above: the first must have turned before
            if _meet(tracks[first].tops, tracks[second].bottoms):
                above[second].add(first)
        costs = _cost(tracks[one], tracks[two]), _cost(tracks[two], tracks[one])
        if costs[0] != costs[1]:
            wishes.append((-abs(costs[0] - costs[1]), (one, two) if costs[0] < costs[1] else (two, one)))
    for _, (first, second) in sorted(wishes):
        if not _reaches(above, first, second):
            above[second].add(first)
    done: list[int] = []
    while len(done) < len(tracks):
        rest = [number for number in above if number not in done]
        # where lines change places, each would have to be above the other: then one of them is
        number = next((number for number in rest if above[number] <= set(done)), rest[0])
        depth = max((tracks[other].depth for other in above[number]), default=0) + 1
        taken = {tracks[other].depth for other in done if _overlap(tracks[other], tracks[number])}
        tracks[number].depth = next(free for free in itertools.count(depth) if free not in taken)
        done.append(number)


def _overlap(one: _Track, other: _Track) -> bool:
    return one.span[0] - 8 <= other.span[1] and other.span[0] - 8 <= one.span[1]


def _meet(some: list[float], others: list[float]) -> bool:
    return any(abs(one - other) < 6 for one in some for other in others)


def _cost(upper: _Track, lower: _Track) -> int:
    """Count crossings if the one turns above the other."""
    low, high = upper.span
    count = sum(low < x < high for x in lower.tops)
    low, high = lower.span
    return count + sum(low < x < high for x in upper.bottoms)


def _reaches(above: dict[int, set[int]], start: int, goal: int) -> bool:
    """Whether `goal` must be above `start`."""
    todo, seen = [start], set()
    while todo:
        if (number := todo.pop()) == goal:
            return True
        if number not in seen:
            seen.add(number)
            todo += above[number]
    return False


def _points(
    chain: list[Item],
    ports: Ports,
    turns: dict[tuple[Item, Item], float],
    layout: Layout,
) -> list[tuple[float, float]]:
    first, last = chain[0], chain[-1]
    start = layout.notes[first.of] if first.role == "note" else layout.boxes[first.of]
    points = [(ports[chain[0], chain[1]][0], start.bottom)]
    for pair in itertools.pairwise(chain):
        enter, leave = ports[pair]
        if abs(enter - leave) >= 0.5:
            points += [(enter, turns[pair]), (leave, turns[pair])]
    points.append((ports[chain[-2], chain[-1]][1], layout.boxes[last.of].top))
    return points

"""The labels of COCO-Stuff: ids 1 to 91 are things, 92 to 182 stuff; 0 is unlabelled.

https://github.com/nightrome/cocostuff/blob/master/labels.txt
"""

from __future__ import annotations

__all__ = ["ABSENT", "NAMES", "THINGS", "first_release"]

THINGS = 91
"""The highest id of a thing."""

ABSENT = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91})
"""Things of which there is no annotation: 171 of 182 labels are used."""

_TEXT = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant,
street sign, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear,
zebra, giraffe, hat, backpack, umbrella, shoe, eye glasses, handbag, tie, suitcase, frisbee, skis,
snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket,
bottle, plate, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli,
carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, mirror, dining table, window,
desk, toilet, door, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink,
refrigerator, blender, book, clock, vase, scissors, teddy bear, hair drier, toothbrush, hair brush,
banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet,
ceiling-other, ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, dirt,
door-stuff, fence, floor-marble, floor-other, floor-stone, floor-tile, floor-wood, flower, fog,
food-other, fruit, furniture-other, grass, gravel, ground-other, hill, house, leaves, light, mat,
metal, mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement, pillow, plant-other,
plastic, platform, playingfield, railing, railroad, river, road, rock, roof, rug, salad, sand, sea,
shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw, structural-other, table,
tent, textile-other, towel, tree, vegetable, wall-brick, wall-concrete, wall-other, wall-panel,
wall-stone, wall-tile, wall-wood, water-other, waterdrops, window-blind, window-other, wood
"""

NAMES: dict[int, str] = {
    i: name.strip() for i, name in enumerate(_TEXT.replace("\n", " ").split(","), 1)
}
"""Names by id."""


def first_release() -> dict[int, str]:
    """Names by the values of the 10k set's first release (1.0): 1 is unlabelled, 2 to 81 the 80
    things, 82 to 172 stuff."""
    used = [name for id_, name in NAMES.items() if id_ not in ABSENT]
    return dict(enumerate(used, 2))

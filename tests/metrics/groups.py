"""Evaluation of whole groups in parts of any size and order, for the tests of protocols."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np

from granum.metrics._group_pairing import GroupPairing
from granum.metrics.base import Context, Protocol, Result
from granum.store.dataset import Dataset


def in_group_parts(
    protocol: Protocol, truth: Dataset, guess: Dataset, cuts: Sequence[int], seed: int
) -> Result:
    """The result from some groups at a time, in a shuffled order, as if other processes had
    counted them. ``cuts``: where parts begin, and the end."""
    pairing = GroupPairing(
        truth,
        guess,
        needs=protocol.needs,
        kinds=(protocol.truth_kinds, protocol.kinds),
        scale_free=protocol.scale_free,
    )
    pairing.__dict__["cuts"] = list(cuts)
    context = Context(truth.categories, None, None, len(truth), groups=truth.groups)
    states = []
    for number in np.random.default_rng(seed).permutation(len(pairing)).tolist():
        mine, theirs, _ = pairing.part(number)
        states.append(pickle.loads(pickle.dumps(protocol.state(mine, theirs, context))))
    return protocol.result(states, context)

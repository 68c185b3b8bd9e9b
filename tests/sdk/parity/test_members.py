"""Each member of a whole is held to its own reference, and what changed places is said."""

from __future__ import annotations

import numpy as np
import pytest

from medsdk.parity.members import check_members

NAMES = ("one", "two", "three")
rng = np.random.default_rng(4)
WANT = {
    name: {
        "logits": rng.normal(0, 1, (1, 2)).astype(np.float32),
        "features": rng.normal(0, 1, (1, 5)).astype(np.float32),
    }
    for name in NAMES
}
WITHIN = {"logits": 1e-3, "features": 1e-3}


def test_members_that_agree_say_nothing():
    got = {name: {key: a + np.float32(5e-4) for key, a in WANT[name].items()} for name in NAMES}
    found = check_members("slices", got, WANT, WITHIN)
    assert (found.problems, found.order) == ((), None)


def test_members_in_another_order():
    got = dict(zip(NAMES, reversed(WANT.values()), strict=True))
    found = check_members("slices", got, WANT, WITHIN)
    assert found.order == "the slices are in another order: reversed, all 3 agree"
    # The one in the middle is right; of the others both outputs are another member's.
    assert len(found.problems) == 4
    assert found.problems[0].startswith("one: output ")


def test_a_member_that_is_another_one():
    got = {**WANT, "two": WANT["one"]}
    found = check_members("folds", got, WANT, WITHIN)
    assert found.order is None
    assert len(found.problems) == 2
    for text in found.problems:
        assert text.startswith("two: output ")
        assert text.endswith("two gives what one should give: one stands in place of the other")


def test_one_output_alone():
    """The other output is where it should be, so the members are in their order."""
    logits = dict(zip(NAMES, (WANT[name]["logits"] for name in reversed(NAMES)), strict=True))
    got = {name: {**WANT[name], "logits": logits[name]} for name in NAMES}
    found = check_members("slices", got, WANT, WITHIN)
    assert found.order is None
    assert len(found.problems) == 2


@pytest.mark.parametrize(
    ("got", "said"),
    [
        ({name: WANT[name] for name in NAMES[:2]}, "three: it is missing"),
        ({**WANT, "four": WANT["one"]}, "four: no such member is stored"),
        ({**WANT, "two": {"logits": WANT["two"]["logits"]}}, "two: output 'features' is missing"),
    ],
)
def test_what_is_missing_or_too_many(got, said):
    found = check_members("slices", got, WANT, WITHIN)
    assert found.problems == (said,)
    assert found.order is None

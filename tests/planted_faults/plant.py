"""What a planted fault is, and when it counts as caught."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.planted_faults.workshop import Workshop

Stage = Literal[
    "inputs",
    "cases",
    "manifest",
    "bundle",
    "open",
    "preprocess",
    "network",
    "decode",
    "decide",
    "series",
    "mask",
]
"""Where the fault is said to be: `inputs` of an export, `cases` of a measurement, `manifest` where
the bundle is refused unread, `bundle` as a whole, `series` and `mask` of members, and the stages of
`medsdk verify`."""


@dataclass(frozen=True)
class Alarm:
    """One thing that a check said.

    Attributes:
        stage: Where it says the fault is; `chain` for the way from the bytes to the decision,
            which only says that there is one.
        message: The words.
    """

    stage: str
    message: str


Check = Callable[[Workshop, bool], tuple[Alarm, ...]]
"""Runs a check, on what is sound or with the fault planted, and gives its alarms."""


@dataclass(frozen=True)
class Plant:
    """A fault, where it is planted, and what must be said of it.

    Attributes:
        fault: In the words of the list of faults.
        where: Where it is planted.
        stage: The stage that must say so, and no other but the chain.
        leads_to: Regular expression that the first message of the stage must match.
        check: The check.
    """

    fault: str
    where: str
    stage: Stage
    leads_to: str
    check: Check


@dataclass(frozen=True)
class Proof:
    """What became of one plant.

    Attributes:
        plant: Which one.
        stages: Stages that raised an alarm, the chain left out, in order.
        message: The first message of the expected stage; empty where there is none.
        faults: Why it is no proof; empty where it is one.
    """

    plant: Plant
    stages: tuple[str, ...]
    message: str
    faults: tuple[str, ...]


def prove(plant: Plant, workshop: Workshop) -> Proof:
    """Run one plant's check on what is sound and with the fault."""
    faults = [
        f"false alarm: {alarm.stage}: {alarm.message}" for alarm in plant.check(workshop, False)
    ]
    alarms = [alarm for alarm in plant.check(workshop, True) if alarm.stage != "chain"]
    stages = tuple(dict.fromkeys(alarm.stage for alarm in alarms))
    message = next((alarm.message for alarm in alarms if alarm.stage == plant.stage), "")
    if not alarms:
        faults.append("not caught")
    elif stages != (plant.stage,):
        faults.append(f"caught at {', '.join(stages)}, expected at {plant.stage}")
    elif not re.search(plant.leads_to, message):
        faults.append(f"the message does not lead to it: {message}")
    return Proof(plant, stages, message, tuple(faults))

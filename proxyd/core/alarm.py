"""What a person has to mend although everything serves."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """`reason`: what is wrong, in a line; `to_do`: what ends it."""

    reason: str
    to_do: str

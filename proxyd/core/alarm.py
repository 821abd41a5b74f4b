"""What a person has to mend although everything serves."""

from dataclasses import dataclass

from proxyd.core.trouble import TroubleKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """`reason`: what is wrong, in a line; `to_do`: what ends it; `kind`: as which trouble others are told of it."""

    reason: str
    to_do: str
    kind: TroubleKind = TroubleKind.CACHE_NOT_DURABLE

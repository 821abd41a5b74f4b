"""How an option is declared: type, default, documentation and what of it works today, in one place.

The JSON Schema, the commented example and the error messages are made from these declarations.
"""

from collections.abc import Callable
from typing import Any, Literal, Self, TypeVar, cast, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

TODAY = "x-today"


class Options(BaseModel):
    """A mapping in the file. Frozen; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_empty(cls, written: object) -> object:
        """Accept `admin:` with every key under it commented out."""
        return {} if written is None else written

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return itself, which is frozen: pydantic copies each default for each host (half the time of loading)."""
        return self


def option(
    default: Any = ...,
    doc: str = "",
    *,
    today: list[Any] | None = None,
    factory: Callable[[], Any] | None = None,
    sample: Any = None,
) -> Any:
    """Declare an option with its default and its documentation; `sample`: what the example has in place of a default.

    `today` lists the values, as written, that ask for what the daemon does in this version; None: every value works.
    """
    extra: JsonDict | None = None if today is None else {TODAY: today}
    if factory is not None:
        return Field(default_factory=factory, description=doc, json_schema_extra=extra)
    return Field(
        default=default, description=doc, json_schema_extra=extra, examples=None if sample is None else [sample]
    )


def switch(kind: type[Options]) -> BeforeValidator:
    """Read false as None and true as a mapping of `kind` with its defaults."""
    return BeforeValidator(
        lambda written: None if written is False else {} if written is True else written,
        json_schema_input_type=bool | kind | None,
    )


def may_be_off(kind: Any) -> BeforeValidator:
    """Read false as None, where true would not say what is meant."""
    return BeforeValidator(
        lambda written: None if written is False else written, json_schema_input_type=Literal[False] | kind | None
    )


def meant(field: FieldInfo, written: object) -> object:
    """Return what the option's own reading makes of a value: forms that people paste, as the one that it has."""
    for one in reversed(field.metadata):  # pydantic has the last one read first
        if isinstance(one, BeforeValidator):
            written = cast("Callable[[object], object]", one.func)(written)
    return written


def nested(annotation: object) -> type["Options"] | None:
    """Return the mapping that an option may be, or that its entries are."""
    if isinstance(annotation, type) and issubclass(annotation, Options):
        return annotation
    return next((found for one in get_args(annotation) if (found := nested(one))), None)


M = TypeVar("M", bound=Options)


def overlay(under: M, over: M) -> M:
    """Return `under` with everything that was written in `over` on top, mappings key by key."""
    changes: dict[str, object] = {}
    for name in over.model_fields_set:
        ours, theirs = getattr(over, name), getattr(under, name)
        both = isinstance(ours, Options) and type(ours) is type(theirs)
        changes[name] = overlay(theirs, ours) if both else ours
    return under.model_copy(update=changes)


def today(field: FieldInfo) -> list[Any] | None:
    """Return the values of an option that work in this version, each in one form, or None when all do."""
    extra = field.json_schema_extra
    if not isinstance(extra, dict) or TODAY not in extra:
        return None
    found: list[Any] = []
    for one in cast("list[Any]", extra[TODAY]):
        if (value := meant(field, one)) not in found:
            found.append(value)
    return found

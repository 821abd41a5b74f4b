"""Every event that the daemon logs, read from its source.

`python -m tests.support.log_events` writes their list in docs/logs.md anew.
"""

import ast
from collections.abc import Iterator

from tests.support.daemon import ROOT

DOCUMENT = ROOT / "docs" / "logs.md"
_BEGIN, _END = "<!-- events -->\n", "<!-- end of events -->\n"
_LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}


def events() -> list[tuple[str, str, str]]:
    """Return logger, event and level of each. Fails on one whose name is made when it happens."""
    found = set()
    for file in sorted((ROOT / "proxyd").rglob("*.py")):
        tree = ast.parse(file.read_text())
        loggers = [*_loggers(tree)]
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(value=called, attr=level), args=[name, *_]) if level in _LEVELS:
                    logger = next(_loggers(called), loggers[0] if _is_log(called) else None)
                    if logger is not None:
                        found |= {(logger, one, _LEVELS[level]) for one in _names(name, f"{file}:{node.lineno}")}
                case _:
                    pass
    return sorted(found)


def field_names() -> set[str]:
    """Return the names of all fields that are written beside the events."""
    found: set[str] = set()
    for file in sorted((ROOT / "proxyd").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.keyword(arg="extra", value=value):
                    found |= {key for one in ast.walk(value) if isinstance(one, ast.Dict) for key in _keys(one)}
                case ast.Assign(targets=[ast.Name(id="fields" | "extra")], value=ast.Dict() as value):
                    found |= {*_keys(value)}
                case _:
                    pass
    return found


def listed() -> str:
    """Return the list as it stands in the document."""
    return DOCUMENT.read_text().partition(_BEGIN)[2].partition(_END)[0]


def table() -> str:
    """Return the list as it should be."""
    rows = [f"| `{logger}` | {event} | {level} |\n" for logger, event, level in events()]
    return "\n| logger | event | level |\n|---|---|---|\n" + "".join(rows) + "\n"


def _keys(node: ast.Dict) -> Iterator[str]:
    for key in node.keys:
        if isinstance(key, ast.Constant):
            yield str(key.value)


def _is_log(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "_log"


def _loggers(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="getLogger"), args=[ast.Constant(value=str(name))]):
                yield name
            case _:
                pass


def _names(node: ast.expr, place: str) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(name)):
            yield name
        case ast.IfExp(body=one, orelse=other):
            yield from (*_names(one, place), *_names(other, place))
        case _:
            raise AssertionError(f"{place}: an event needs a name that stays; what changes belongs into its fields")


if __name__ == "__main__":
    before, _, rest = DOCUMENT.read_text().partition(_BEGIN)
    DOCUMENT.write_text(before + _BEGIN + table() + _END + rest.partition(_END)[2])

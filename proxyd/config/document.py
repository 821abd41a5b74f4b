"""A YAML file as plain data that remembers where each value was written."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from proxyd.config.origin import Origin

Location = tuple[str | int, ...]
_MERGE = "tag:yaml.org,2002:merge"
_NULL, _BOOL = "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool"
_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
#: What has brackets is a list for YAML, if it begins with no colon.
_IPV6_KEY = re.compile(r"\[([0-9A-Fa-f]*:[0-9A-Fa-f:.]+)\]:((?:\s.*)?)")
_MAX_DEPTH = 30
#: For each character that was written, of which a few are an alias: a small text that unfolds into more is a bomb.
_MAX_NODES_EACH, _MAX_NODES = 100, 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One thing that is wrong: line and column count from 1. `file`: an included one; None: the main one."""

    line: int
    column: int
    location: str
    message: str
    file: str | None = None

    def show(self, file: Path | str) -> str:
        """Return `FILE:LINE:COL: key.path: message`."""
        key = f"{self.location}: " if self.location else ""
        return f"{self.file or file}:{self.line}:{self.column}: {key}{self.message}"


class ConfigError(Exception):
    """The file cannot be used; every mistake in it, in the order of the file, then those of included ones.

    `origin`: the files that were read, as far as they are known.
    """

    def __init__(self, file: Path | str, mistakes: list[Mistake], *, origin: Origin | None = None) -> None:
        self.file = file
        self.mistakes = sorted(mistakes, key=lambda one: (one.file or "", one.line, one.column, one.location))
        self.origin = origin or Origin()
        super().__init__("\n".join(one.show(file) for one in self.mistakes))

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        mistakes = [
            {
                "file": str(one.file or self.file),
                "line": one.line,
                "column": one.column,
                "key": one.location,
                "message": one.message,
            }
            for one in self.mistakes
        ]
        return {"file": str(self.file), "mistakes": mistakes}


class Document:
    """The data of a YAML text. `mistakes` holds duplicate keys and the like."""

    def __init__(self, text: str) -> None:
        self.mistakes: list[Mistake] = []
        self._marks: dict[Location, yaml.Node] = {}
        self._keys: dict[Location, yaml.Node] = {}
        self._visited, self._most = 0, min(_MAX_NODES, _MAX_NODES_EACH * len(text))
        node = None
        try:
            node = _compose(text)
        except yaml.MarkedYAMLError as error:
            self.mistakes.append(_syntax_mistake(error, text))
        except (yaml.YAMLError, RecursionError) as error:
            self.mistakes.append(Mistake(line=1, column=1, location="", message=f"this is not YAML: {error}"))
        self.data: object = None if node is None else self._build(node, (), 0)

    def mistake(self, location: Location, message: str, *, at_key: bool = False) -> Mistake:
        """Return a mistake with the place of `location`, or of its nearest parent that was written."""
        place: Location = location
        marks = self._keys if at_key else self._marks
        while place and place not in marks:
            place = place[:-1]
            marks = self._marks
        node = marks.get(place)
        line, column = (node.start_mark.line + 1, node.start_mark.column + 1) if node else (1, 1)
        return Mistake(line=line, column=column, location=dotted(location), message=message)

    def written(self, location: Location) -> str | None:
        """Return a scalar as it stands in the file."""
        node = self._marks.get(location)
        return node.value if isinstance(node, yaml.ScalarNode) else None

    def _build(self, node: yaml.Node, location: Location, depth: int) -> object:
        self._visited += 1
        if depth > _MAX_DEPTH or self._visited > self._most:
            if not self.mistakes or "nested" not in self.mistakes[-1].message:
                self.mistakes.append(self.mistake(location, "too deeply nested or too many aliases: write it out"))
            return None
        self._marks.setdefault(location, node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(one, (*location, index), depth + 1) for index, one in enumerate(node.value)]
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, location: Location, depth: int) -> dict[str, object]:
        built: dict[str, object] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                message = _no_key(key_node) or "a key must be plain text, in quotes if it has [ or {"
                self.mistakes.append(_at(key_node, dotted(location), message))
                continue
            key = str(key_node.value)
            if key.startswith("x-"):  # for anchors
                continue
            place = (*location, key)
            if key in built:
                first = self._keys[place].start_mark.line + 1
                message = f"written twice, first on line {first}: remove one"
                self.mistakes.append(_at(key_node, dotted(place), message))
                continue
            self._keys[place] = key_node
            built[key] = self._build(value_node, place, depth + 1)
        for one in merged:
            other = self._build(one, location, depth + 1) if isinstance(one, yaml.MappingNode) else None
            if not isinstance(other, dict):
                self.mistakes.append(_at(one, dotted(location), "<< needs a mapping"))
                continue
            for key, value in other.items():
                built.setdefault(key, value)
        return built


def _compose(text: str) -> yaml.Node | None:
    """Return the root node: by libyaml, six times as fast; PyYAML's own parser says better what is wrong."""
    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.compose(text, Loader=fast)
    except yaml.YAMLError:
        return yaml.compose(text, Loader=yaml.SafeLoader)


def dotted(location: Location) -> str:
    """Return `hosts.example.com.upstream[0]` for its parts."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _scalar(node: yaml.Node) -> object:
    """Return the value with YAML 1.2's rules where 1.1 surprises: no base-60 numbers, no dates, no octals."""
    text = str(node.value)
    if node.tag == _NULL:
        return None
    if node.tag == _BOOL:
        return text.lower() in ("true", "yes", "on")
    if node.tag == _INT and text.lstrip("+-").isdigit():
        return int(text)
    if node.tag == _FLOAT:
        try:
            return float(text)
        except ValueError:
            return text
    return text


def _no_key(node: yaml.Node) -> str | None:
    """Return what to write for an address in brackets, or None when it is none."""
    one = node.value[0] if isinstance(node, yaml.SequenceNode) and len(node.value) == 1 else None
    if not isinstance(one, yaml.ScalarNode) or _IPV6_KEY.fullmatch(f"[{one.value}]:") is None:
        return None
    return f'an IPv6 address as a key needs quotes: write "{one.value}":'


def _at(node: yaml.Node, location: str, message: str) -> Mistake:
    return Mistake(line=node.start_mark.line + 1, column=node.start_mark.column + 1, location=location, message=message)


def _syntax_mistake(error: yaml.MarkedYAMLError, text: str) -> Mistake:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.splitlines() or [""]
    written = lines[min(line, len(lines) - 1)].strip()
    problem = error.problem or "cannot be read"
    if written.startswith("*"):
        key, _, rest = written.partition(":")
        problem = f'a name that starts with * needs quotes: write "{key}":{rest}'
    elif problem.startswith("found undefined alias"):  # whose name may be a password
        problem = "what begins with * is an alias (of &NAME): in quotes it is text"
    elif "\t" in lines[min(line, len(lines) - 1)]:
        problem = "YAML does not allow tabs for indentation: use spaces"
    elif address := _IPV6_KEY.fullmatch(written):
        problem = f'an IPv6 address as a key needs quotes: write "{address[1]}":{address[2]}'
    return Mistake(line=line + 1, column=column + 1, location="", message=f"YAML syntax: {problem}")

"""The documents as their readers see them: snippets, links, commands."""

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

from tests.support.daemon import ROOT

_FENCE = re.compile(r"^( *)```(.*)$")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_PREFIXES = re.compile(r"^(\$ )?(sudo )?(/opt/proxyd/bin/)?(?=proxyd\b)")


@dataclass(frozen=True)
class Snippet:
    """A fenced block. `kind`: all that stands behind the opening fence."""

    file: Path
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def documents() -> list[Path]:
    """Return what people read, below the root; the changelog and the decisions tell of other versions too."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    return sorted(one.relative_to(ROOT) for one in found if one.name != "CHANGELOG.md")


@cache
def snippets(file: Path) -> tuple[Snippet, ...]:
    """Return the fenced blocks of a document."""
    found, opened, kind, indent, lines = [], 0, "", 0, list[str]()
    for number, line in enumerate((ROOT / file).read_text("utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if not opened and fence:
            opened, indent, kind, lines = number, len(fence[1]), fence[2].strip(), []
        elif fence and not fence[2]:
            found.append(Snippet(file, opened + 1, kind, "".join(f"{one[indent:]}\n" for one in lines)))
            opened = 0
        elif opened:
            lines.append(line)
    assert not opened, f"{file}:{opened}: a fence without end"
    return tuple(found)


def snippet(file: str, part: str) -> Snippet:
    """Return the one block of a document in which `part` stands."""
    (found,) = [one for one in snippets(Path("docs") / file) if part in one.text]
    return found


def links(file: Path) -> Iterator[str]:
    """Yield the links of a document that are no URLs."""
    for target in _LINK.findall(_prose(file)):
        if "://" not in target and not target.startswith("mailto:"):
            yield target


def codes(file: Path) -> Iterator[str]:
    """Yield what is code within the text of a document."""
    yield from _CODE.findall(_prose(file))


def commands(file: Path) -> Iterator[list[str]]:
    """Yield the arguments of each `proxyd …` that stands in a block for a shell."""
    lines = [line for one in snippets(file) if one.kind == "sh" for line in shell_lines(one.text)]
    yield from filter(None, map(_arguments, lines))


def service_commands() -> dict[str, str]:
    """Return each `systemctl …` and `journalctl …` that people are told to type, without `sudo`, and one place of it.

    From the documents, what units say of themselves, and what alerts tell to do. A form without a unit is none.
    """
    found = dict[str, str]()
    for file in documents():
        lines = [line for one in snippets(file) if one.kind == "sh" for line in shell_lines(one.text)]
        for line in (*lines, *codes(file)):
            found.setdefault(_of_service(line), str(file))
    for path in (*(ROOT / "systemd").iterdir(), ROOT / "docs" / "prometheus-alerts.yaml"):
        text = path.read_text("utf-8")
        lines = [*re.findall(r"^#\s+(\w+ctl .+)$", text, re.MULTILINE), *re.findall(r'do: "(.+)"', text)]
        for line in (*(part for one in lines for part in one.split("; ")), *_CODE.findall(text)):
            found.setdefault(_of_service(line), path.name)
    found.pop("", None)
    return found


def _of_service(line: str) -> str:
    """Return a command for systemd as it is typed, or nothing; what the shell has for itself is left in it."""
    if not re.match(r"(sudo )?(systemctl|journalctl) ", line) or "…" in line:
        return ""
    words = shlex.split(line.removeprefix("sudo "), comments=True)
    has_unit = words[0] == "journalctl" or any("proxyd" in one or "." in one for one in words[1:])
    return re.sub(r"\s+#.*$", "", line.removeprefix("sudo ")).strip() if has_unit else ""


def mentions(file: Path) -> Iterator[list[str]]:
    """Yield the same of each within the text, where a command may stand for itself; a form (`[HOST…]`) is none."""
    yield from (found for one in codes(file) if not re.search(r"[\[…]", one) and (found := _arguments(one)))


def examples(command: click.Command) -> Iterator[list[str]]:
    """Yield the same of each example in a command's help."""
    yield from filter(None, (_arguments(line.strip()) for line in (command.epilog or "").splitlines()))


def commands_below(command: click.Command) -> Iterator[click.Command]:
    """Yield a command and all below it that help shows."""
    yield command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None and not found.hidden:
                yield from commands_below(found)


def shell_lines(text: str) -> list[str]:
    """Return the commands, a continued one as one line, without comments."""
    joined = re.sub(r"\\\n\s*", "", text)
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]


def _arguments(line: str) -> list[str]:
    """Return what comes behind `proxyd`, until the shell has a word for itself; of other programs nothing."""
    bare = _PREFIXES.sub("", line)
    words = shlex.split(bare, comments=True)[1:] if bare.startswith("proxyd ") else []
    end = next((index for index, word in enumerate(words) if word in ("|", ">", ">>", "&&", ";", "&", "<", "2>")), None)
    return words[:end]


def _prose(file: Path) -> str:
    """Return a document without its blocks."""
    kept, inside = [], False
    for line in (ROOT / file).read_text("utf-8").splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def run(block: Snippet, places: Mapping[str, object], *, cwd: Path | None = None) -> str:
    """Run a block, with other words for some of its own, in a shell that stops at a failure; return its output."""
    text = block.text
    for written, real in places.items():
        assert written in text, f"{block}: no {written}"
        text = text.replace(written, str(real))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
    )
    assert done.returncode == 0, f"{block}: {done.stderr}"
    return done.stdout

"""`proxyd man`: the manual page, from what `--help` says."""

import inspect
from collections.abc import Iterator

import click

from proxyd.cli.examples import examples
from proxyd.version import RELEASED, __version__

_END = (
    ("FILES", "/etc/proxyd/config.yaml", "the configuration; without it, or -c, ./config.yaml"),
    ("FILES", "/var/lib/proxyd", "certificates, keys and state"),
    ("FILES", "/run/proxyd/control.sock", "how the commands reach the daemon"),
    ("SIGNALS", "HUP", "the file is read again, as by the command reload; one with mistakes changes nothing"),
    ("SIGNALS", "TERM, INT", "no new connections; what is in flight is finished, then it ends"),
    ("EXIT STATUS", "0", "done"),
    ("EXIT STATUS", "1", "done, but something needs attention"),
    ("EXIT STATUS", "2", "wrong input"),
    ("EXIT STATUS", "3", "the daemon cannot be reached"),
)


@click.command(hidden=True, epilog=examples("proxyd man | man -l -"))
@click.pass_context
def man(ctx: click.Context) -> None:
    """Print the manual page."""
    click.echo(manual_page(ctx.find_root()), nl=False)


def manual_page(root: click.Context) -> str:
    """Return the page of a program and all its commands, in the form of man(7)."""
    name = root.info_name or ""
    summary = (root.command.help or "").strip().rstrip(".")
    lines = [
        f'.TH {_text(name.upper())} 8 "{RELEASED:%Y-%m-%d}" "{_text(name)} {_text(__version__)}"',
        ".SH NAME",
        f"{_text(name)} \\- {_text(summary)}",
        ".SH SYNOPSIS",
        *_usage(root),
        ".SH OPTIONS",
        *_options(root),
        ".SH COMMANDS",
    ]
    for context in _commands(root):
        lines += [f".SS {_text(context.command_path)}", *_usage(context), ".PP", *_paragraphs(context.command.help)]
        lines += [*_options(context), *_epilog(context.command)]
    section = ""
    for title, term, meaning in _END:
        lines += [f".SH {title}"] if title != section else []
        lines += [".TP", f".B {_text(term)}", _text(meaning)]
        section = title
    return "\n".join(lines) + "\n"


def _commands(parent: click.Context) -> Iterator[click.Context]:
    group = parent.command
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        if command is None or command.hidden:
            continue
        context = click.Context(command, info_name=name, parent=parent)
        if not isinstance(command, click.Group):
            yield context
        yield from _commands(context)


def _usage(context: click.Context) -> list[str]:
    pieces = " ".join(context.command.collect_usage_pieces(context))
    return [".PP", f".B {_text(context.command_path)}", _text(pieces)]


def _options(context: click.Context) -> list[str]:
    """Return what each option does; --help once, at the beginning."""
    options = [one for one in context.command.get_params(context) if isinstance(one, click.Option)]
    shown = [one for one in options if context.parent is None or one.name != "help"]
    records = [record for one in shown if (record := one.get_help_record(context))]
    return [line for term, meaning in records for line in (".TP", f".B {_text(term)}", _text(meaning))]


def _epilog(command: click.Command) -> list[str]:
    """Return what stands at the end of a command's help: its examples."""
    return [".PP", *_paragraphs(command.epilog)] if command.epilog else []


def _paragraphs(text: str | None) -> Iterator[str]:
    """Lines as they are after a \\b, as click has it; else running text."""
    for number, paragraph in enumerate(click.unstyle(text or "").strip().split("\n\n")):
        if number:
            yield ".PP"
        lines = [line.rstrip() for line in inspect.cleandoc(paragraph).split("\n")]
        if lines[0] == "\b":
            yield from (".nf", *map(_text, lines[1:]), ".fi")
        else:
            yield _text(" ".join(lines))


def _text(text: str) -> str:
    """Return text that means nothing to troff."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("\n", " ")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain

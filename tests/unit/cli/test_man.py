"""The manual page has what --help has."""

import click
import pytest

from proxyd.cli.main import cli
from proxyd.cli.man import manual_page


def _page() -> str:
    return manual_page(click.Context(cli, info_name="proxyd"))


#: These have commands of their own, and no options.
_GROUPS = ("man", "config", "cert")


@pytest.mark.parametrize("name", [one for one in cli.list_commands(click.Context(cli)) if one not in _GROUPS])
def test_every_command_is_in_it_with_its_options(name: str) -> None:
    context = click.Context(cli, info_name="proxyd")
    command = cli.get_command(context, name)
    assert command is not None
    section = _page().partition(f"\n.SS proxyd {name}\n")[2].partition("\n.SS ")[0]
    own = click.Context(command, info_name=name, parent=context)
    options = [one for one in command.get_params(own) if isinstance(one, click.Option) and one.name != "help"]
    assert options
    for one in options:
        assert one.help is not None
        assert f".B {', '.join(one.opts)}".replace("-", "\\-") in section
        assert one.help.replace("-", "\\-") in section
    for line in (command.epilog or "").splitlines()[1:]:
        assert f"\n{line}\n".replace("-", "\\-") in section


def test_it_does_not_name_itself() -> None:
    assert "proxyd man" not in _page()


def test_no_text_is_taken_for_a_request() -> None:
    @click.command(help=".starts with a dot\n\n'and a quote \\ and a backslash")
    def odd() -> None: ...

    page = manual_page(click.Context(click.Group("x", help="X.", commands={"odd": odd}), info_name="x"))
    assert "\n\\&.starts with a dot\n" in page
    assert "\n\\&'and a quote \\e and a backslash\n" in page

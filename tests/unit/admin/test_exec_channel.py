"""Alerts to a real program."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from proxyd.admin.alert_channel import ChannelError
from proxyd.admin.exec_channel import ExecChannel
from tests.support.notices import notice


async def test_json_on_stdin_and_words_in_the_environment(tmp_path: Path) -> None:
    script = f'cat > {tmp_path}/body; echo "$1 $PROXYD_ALERT_SEVERITY $PROXYD_ALERT_HOSTS" > {tmp_path}/words'
    channel = ExecChannel(["/bin/sh", "-c", script, "sh", "a;b"], name="exec", timeout=timedelta(seconds=10))
    await channel.send(notice())
    assert json.loads((tmp_path / "body").read_text())["summary"] == notice().summary
    assert (tmp_path / "words").read_text() == "a;b critical example.com\n"


async def test_failing_and_hanging_ones_are_said() -> None:
    failing = ExecChannel(["/bin/sh", "-c", "echo no network; exit 1"], name="exec", timeout=timedelta(seconds=10))
    with pytest.raises(ChannelError, match="ended with status 1: no network"):
        await failing.send(notice())
    hanging = ExecChannel(["/bin/sleep", "600"], name="exec", timeout=timedelta(seconds=0.2))
    with pytest.raises(ChannelError, match="had not ended after"):
        await hanging.send(notice())

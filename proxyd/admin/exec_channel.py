"""Notices to a program: JSON on its standard input, the most important in its environment."""

import json
from collections.abc import Sequence
from datetime import timedelta

from proxyd.admin.alert_channel import ChannelError
from proxyd.admin.program import run_program
from proxyd.core.notice import Notice


class ExecChannel:
    """Implements AlertChannel: status 0 is taken."""

    kind = "exec"

    def __init__(self, command: Sequence[str], *, name: str, timeout: timedelta) -> None:
        self.name = name
        self._command = command
        self._timeout = timeout

    async def send(self, notice: Notice) -> None:
        document = notice.to_document()
        hosts = dict.fromkeys(host.text for one in notice.troubles for host in one.hosts)
        environment = {
            "PROXYD_ALERT_ID": notice.id,
            "PROXYD_ALERT_EVENT": notice.event,
            "PROXYD_ALERT_KIND": str(document["kind"] or ""),
            "PROXYD_ALERT_SEVERITY": str(document["severity"]),
            "PROXYD_ALERT_SUMMARY": notice.summary,
            "PROXYD_ALERT_HOSTS": " ".join([*hosts][:50]),
        }
        body = json.dumps(document, ensure_ascii=False).encode()
        run = await run_program(
            self._command, environment=environment, seconds=self._timeout.total_seconds(), stdin=body + b"\n"
        )
        if run.trouble is not None:
            raise ChannelError(run.trouble)

"""`proxyd check --alerts`: does what is told arrive?"""

import asyncio
import socket
from collections.abc import Callable, Sequence

from proxyd.admin.alert_channel import ChannelError
from proxyd.admin.http_call import call
from proxyd.config.alert import AlertOptions
from proxyd.config.values import is_credential
from proxyd.core.clock import Clock
from proxyd.core.notice import Notice
from proxyd.core.trouble import Urgency
from proxyd.daemon.alerts import channel_of


class AlertCheck:
    """Sends a test through each channel, once. `document` has for scripts what `tell` says."""

    def __init__(self, alerts: Sequence[AlertOptions], *, tell: Callable[[str], None], clock: Clock) -> None:
        self._alerts = alerts
        self._tell = tell
        self._clock = clock
        self.document: list[dict[str, object]] = []

    async def run(self) -> bool:
        """Return whether all of them took it."""
        if not self._alerts:
            self._tell("alerts: there are none: nobody is told when a host needs somebody (docs/alerts.md)")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._trouble(one)) for one in self._alerts]
        for options, task in zip(self._alerts, tasks, strict=True):
            trouble = task.result()
            self.document.append({"channel": options.shown, "kind": options.kind, "trouble": trouble})
            self._tell(f"alert by {options.shown}: {trouble or 'taken: look whether it arrived'}")
        return not any(task.result() for task in tasks)

    async def _trouble(self, options: AlertOptions) -> str | None:
        if unread := _unread(options):
            return f"only the service can read it: {unread}; nothing was sent, its log says whether this channel works"
        now, server = self._clock.now(), socket.gethostname()
        notice = Notice(event="test", kind=None, urgency=Urgency.NOTICED, at=now, server=server)
        try:
            if channel := channel_of(options, self._clock):
                await channel.send(notice)
            elif options.heartbeat is not None:
                await call(options.heartbeat.get_secret_value(), method="GET", ca=options.ca)
        except ChannelError as error:
            return str(error)
        return None


def _unread(options: AlertOptions) -> str | None:
    """Return what stands for a secret that systemd passes to the service alone."""
    password = options.mail.password if options.mail else None
    secrets = (options.webhook, options.heartbeat, options.secret, password)
    written = (one.get_secret_value() for one in secrets if one is not None)
    return next((one for one in written if is_credential(one)), None)

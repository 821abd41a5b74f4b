"""h2load of nghttp2 as a load generator: 16 connections with 8 streams each, a number of requests, then it ends."""

import re
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.load import Counted

REQUESTS = 20_000
# What a browser sends beside the path, the same with each request.
BROWSER = (
    "user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
    "accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "accept-language: en-GB,en;q=0.9,de;q=0.8",
    "accept-encoding: gzip, deflate, br",
    'sec-ch-ua: "Chromium";v="120", "Not?A_Brand";v="8"',
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Linux"',
    "sec-fetch-site: same-origin",
    "sec-fetch-mode: no-cors",
    "sec-fetch-dest: image",
    "referer: https://host00000.bench.example.com/index.html",
    "cookie: session=0123456789abcdef0123456789abcdef; theme=dark",
)


class H2load:
    """Makes requests of a server, one path after the other; the handshakes of its connections are a part of it."""

    def __init__(self, port: int, host: str, *, lines: Sequence[str], paths: int) -> None:
        self._urls = "".join(f"https://{host}/{'' if paths == 1 else number}\n" for number in range(paths))
        self._command = ["h2load", f"-n{REQUESTS}", "-c16", "-m8", f"--connect-to=127.0.0.1:{port}"]
        self._command += [f"-H{line}" for line in lines]

    def run(self) -> Counted:
        """Make the requests."""
        with tempfile.TemporaryDirectory() as directory:
            urls, log = Path(directory, "urls"), Path(directory, "log")
            urls.write_text(self._urls)
            command = [*self._command, f"--input-file={urls}", f"--log-file={log}"]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            times = sorted(int(one.split("\t")[2]) / 1000 for one in log.read_text().splitlines())
        done, good = _found(r"finished in ([\d.]+)(m?s),", said), _found(r"(\d+) 2xx,", said)
        version, cipher = _found(r"TLS Protocol: TLSv(\S+)", said), _found(r"Cipher: (\S+)", said)
        errors = REQUESTS - int(good[1])
        return Counted(
            requests=int(good[1]),
            errors=errors,
            error=_found(r"requests: .*", said)[0] if errors else "",
            seconds=float(done[1]) / (1000 if done[2] == "ms" else 1),
            p50=statistics.median(times),
            p99=times[len(times) * 99 // 100],
            tls=f"TLS {version[1]} {cipher[1]}",
        )


def _found(pattern: str, text: str) -> re.Match[str]:
    found = re.search(pattern, text)
    if found is None:
        raise SystemExit(f"h2load says something else than it used to:\n{text}")
    return found

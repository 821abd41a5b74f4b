"""nginx as a plain reverse proxy with TLS, to compare with."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pebble.server import free_port
from tests.support.daemon import accepts, eventually

#: It changes nothing that it need not: no buffers, no redirects, no names of fields that it does not take.
_CONFIG = """
daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log; worker_processes 1; user root;
events {{}}
http {{ access_log off; client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  merge_slashes off; absolute_redirect off; underscores_in_headers on; ignore_invalid_headers off;
  client_max_body_size 0; large_client_header_buffers 4 16k; proxy_buffer_size 64k; proxy_buffers 4 64k;
  server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {pem}; ssl_certificate_key {pem};
    location / {{ proxy_pass http://127.0.0.1:{upstream}; proxy_http_version 1.1; proxy_set_header Host $http_host;
      proxy_buffering off; proxy_request_buffering off; proxy_redirect off; proxy_pass_header Date;
      proxy_pass_header Server; }} }} }}
"""


@contextlib.contextmanager
def nginx(directory: Path, *, pem: Path, upstream: int) -> Iterator[int]:
    """Run it before an upstream, with key and certificates of a file; give the port it listens on."""
    port, config = free_port(), directory / "nginx.conf"
    config.write_text(_CONFIG.format(directory=directory, port=port, pem=pem, upstream=upstream))
    process = subprocess.Popen(["nginx", "-c", config, "-e", directory / "start.log"])
    try:
        eventually(lambda: accepts(port), what=(directory / "start.log").read_text)
        yield port
    finally:
        process.terminate()
        process.wait(10)

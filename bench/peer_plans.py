"""The servers side by side: one worker each, the same certificate and upstream, the same header lines to it, TLS 1.3.

nginx and Caddy are there twice: with one line of JSON a request, as proxyd writes it, and without.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from string import Template

from bench.cache import host_name, make_cache
from bench.daemon import environment
from bench.peer import PeerPlan
from pebble.server import free_port

HOST = "host00000.bench.example.com"
_HOSTS = 100
_BIN = Path(__file__).resolve().parent / "bin"
_ROOT = _BIN.parent.parent


_PROXYD = Template("""\
listen: {https: "127.0.0.1:$port", http: "127.0.0.1:$http"}
admin: {listen: []}
cache: $cache
acme: {server: "https://127.0.0.1:1/dir"}
log: {format: json}
workers: $workers
hosts:
$hosts
""")
_NGINX = Template("""\
worker_processes $workers;
daemon off;
pid $directory/$name.pid;
error_log stderr warn;
events { worker_connections 8192; }
http {
  log_format line escape=json '{"time":"$$time_iso8601","host":"$$host","client":"$$remote_addr",'
    '"method":"$$request_method","target":"$$request_uri","status":$$status,"bytes":$$body_bytes_sent,"seconds":$$request_time,'
    '"request_id":"$$request_id","user_agent":"$$http_user_agent"}';
  access_log $log;
  client_body_temp_path $directory/$name.body;
  proxy_temp_path $directory/$name.proxy;
  fastcgi_temp_path $directory/$name.fastcgi;
  uwsgi_temp_path $directory/$name.uwsgi;
  scgi_temp_path $directory/$name.scgi;
  map $$http_upgrade $$connection_to_upstream { default upgrade; '' ''; }
  upstream app { server 127.0.0.1:$upstream; keepalive 128; keepalive_requests 1000000000; }
  server {
    listen 127.0.0.1:$port ssl http2 backlog=4096$reuseport;
    server_name $host;
    ssl_certificate $pem;
    ssl_certificate_key $pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    keepalive_requests 1000000000;
    http2_max_concurrent_streams 128;
    keepalive_timeout 75s;
    client_max_body_size 0;
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
      proxy_set_header Host $$host;
      proxy_set_header Connection $$connection_to_upstream;
      proxy_set_header Upgrade $$http_upgrade;
      proxy_set_header X-Forwarded-For $$remote_addr;
      proxy_set_header X-Forwarded-Proto https;
      proxy_set_header X-Forwarded-Host $$host;
      proxy_set_header X-Request-ID $$request_id;
    }
  }
}
""")
_HAPROXY = Template("""\
global
  nbthread 1
  maxconn 8192
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384
defaults
  mode http
  timeout connect 3s
  timeout client 75s
  timeout server 60s
  timeout tunnel 1h
  option forwardfor
  http-reuse always
frontend front
  bind 127.0.0.1:$port ssl crt $pem alpn h2,http/1.1 ssl-min-ver TLSv1.2 backlog 4096
  acl served hdr(host) -i $host
  http-request deny deny_status 421 unless served
  unique-id-format %[uuid]
  unique-id-header X-Request-ID
  http-request set-header X-Forwarded-Proto https
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  default_backend app
backend app
  server one 127.0.0.1:$upstream
""")
_CADDY = Template("""\
{
  admin off
  auto_https off
  persist_config off
  storage file_system $directory/$name.storage
}
https://$host:$port {
  bind 127.0.0.1
  tls $pem $pem
  $log
  reverse_proxy 127.0.0.1:$upstream {
    header_up X-Request-ID {http.request.uuid}
    transport http {
      keepalive_idle_conns_per_host 128
    }
  }
}
""")
_CADDY_LOG = Template("""log {
    output file $directory/$name.log {
      roll_disabled
    }
    format json
  }""")


class Plans:
    """Writes configurations into `directory`; `root` is what the certificate chains to."""

    def __init__(self, directory: Path, *, upstream: int) -> None:
        self._directory = directory
        self._upstream = upstream
        make_cache(directory, _HOSTS, upstream=upstream, https=0, http=0)
        self.root = directory / "root.pem"
        self._pem = directory / "cache" / HOST  # the key, then the chain: all of them read that

    def all(self) -> list[PeerPlan]:
        """Return all, proxyd first."""
        return [
            self._proxyd("proxyd", workers=1),
            self._proxyd("proxyd, 2 workers", workers=2),
            self._nginx("nginx", f"{self._directory}/nginx.log line buffer=64k flush=1s"),
            self._nginx("nginx, 2 workers", f"{self._directory}/nginx-2.log line buffer=64k flush=1s", workers=2),
            self._nginx("nginx, no log", "off"),
            self._haproxy("HAProxy, no log"),
            self._caddy("Caddy", log=True),
            self._caddy("Caddy, no log", log=False),
        ]

    def _proxyd(self, name: str, *, workers: int) -> PeerPlan:
        port = free_port()
        cache = shutil.copytree(self._directory / "cache", self._directory / f"cache-{workers}")
        hosts = [f"  {host_name(number)}: http://127.0.0.1:{self._upstream}" for number in range(_HOSTS)]
        words = {"port": port, "http": free_port(), "cache": cache, "workers": workers, "hosts": "\n".join(hosts)}
        file = self._directory / f"{_slug(name)}.yaml"
        file.write_text(_PROXYD.substitute(words))
        command = [sys.executable, "-m", "proxyd", "run", "-c", str(file)]
        version = _said([sys.executable, "-m", "proxyd", "--version"])
        commit = _said(["git", "-C", str(_ROOT), "rev-parse", "--short", "HEAD"])
        return PeerPlan(
            name=name,
            version=f"{version} ({commit})",
            command=command,
            port=port,
            twin=workers > 1,
            environment=environment(self._directory),
        )

    def _nginx(self, name: str, log: str, *, workers: int = 1) -> PeerPlan:
        port = free_port()
        reuseport = " reuseport" if workers > 1 else ""
        file = self._write(_NGINX, name, port, log=log, workers=str(workers), reuseport=reuseport)
        version = _said(["/usr/sbin/nginx", "-v"]).removeprefix("nginx version: nginx/")
        command = ["/usr/sbin/nginx", "-c", str(file)]
        return PeerPlan(name=name, version=version, command=command, port=port, twin=log == "off" or workers > 1)

    def _haproxy(self, name: str) -> PeerPlan:
        port = free_port()
        file = self._write(_HAPROXY, name, port)
        version = _said(["/usr/sbin/haproxy", "-v"]).split()[2]
        return PeerPlan(name=name, version=version, command=["/usr/sbin/haproxy", "-db", "-f", str(file)], port=port)

    def _caddy(self, name: str, *, log: bool) -> PeerPlan:
        port = free_port()
        words = {"directory": str(self._directory), "name": _slug(name)}
        file = self._write(_CADDY, name, port, log=_CADDY_LOG.substitute(words) if log else "")
        command = [str(_BIN / "caddy"), "run", "--adapter", "caddyfile", "--config", str(file)]
        found = re.search(r"caddyserver/caddy/v2\s+v(\S+)", _said([str(_BIN / "caddy"), "build-info"]))
        # GOMAXPROCS: the nearest to one worker.
        homes = {"GOMAXPROCS": "1", "HOME": str(self._directory), "XDG_CONFIG_HOME": str(self._directory)}
        version = found[1] if found else "unknown"
        return PeerPlan(name=name, version=version, command=command, port=port, twin=not log, environment=homes)

    def _write(self, text: Template, name: str, port: int, *, log: str = "", **more: str) -> Path:
        file = self._directory / f"{_slug(name)}.conf"
        words = {"directory": str(self._directory), "name": _slug(name), "host": HOST, "pem": str(self._pem)}
        file.write_text(text.substitute(words, port=port, upstream=self._upstream, log=log, **more))
        return file


def _slug(name: str) -> str:
    return name.lower().replace(", ", "-").replace(" ", "-")


def _said(command: list[str]) -> str:
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True)
    return (done.stdout or done.stderr).strip()

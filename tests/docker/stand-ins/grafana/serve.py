"""Answers /api/health while what is provisioned can be read; no Grafana."""

import http.server
import os
import pathlib

NEEDED = [
    "/etc/grafana/provisioning/datasources/prometheus.yaml",
    "/etc/grafana/provisioning/dashboards/needledrop.yaml",
    "/etc/grafana/dashboards/overview.json",
]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        whole = all(pathlib.Path(file).read_text() for file in NEEDED) and "PROMETHEUS_URL" in os.environ
        self.send_response(200 if whole and self.path == "/api/health" else 404)
        self.end_headers()
        self.wfile.write(b'{"database": "a stand-in, no Grafana"}\n')


http.server.ThreadingHTTPServer(("", 3000), Handler).serve_forever()

"""A stand-in for Grafana. Answers /api/health with 200 if the provisioned files can be read."""

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
        is_complete = all(pathlib.Path(file).read_text() for file in NEEDED) and "PROMETHEUS_URL" in os.environ
        self.send_response(200 if is_complete and self.path == "/api/health" else 404)
        self.end_headers()
        self.wfile.write(b'{"database": "a stand-in, not Grafana"}\n')


http.server.ThreadingHTTPServer(("", 3000), Handler).serve_forever()

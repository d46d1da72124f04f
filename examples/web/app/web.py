#!/usr/bin/env python3
"""A web server that shows one page. It fills in the page for each request, so a mistake in it shows as an error 500.

Writes the port that it listens on to the file `port` beside it, as soon as it answers.
"""

import os
import string
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent


class Page(BaseHTTPRequestHandler):
    """Answers every path with the page."""

    def do_GET(self) -> None:
        try:
            template = string.Template((HERE / "page.html").read_text())
            body = template.substitute(deployment=os.environ.get("DEPLOYMENT_ID", "nobody")).encode()
        except (OSError, KeyError, ValueError) as problem:
            self.log_error("cannot fill in the page: %r", problem)
            self.send_error(500, "the page cannot be filled in")
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serves on loopback until the process is ended; the port is the first argument, 0 for a free one."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    with ThreadingHTTPServer(("127.0.0.1", port), Page) as server:
        (HERE / "port").write_text(str(server.server_port))
        server.serve_forever()


if __name__ == "__main__":
    main()

"""MLflow's own server, whose bare address opens a ready-made view instead of its start page.

`python -m study.tracking.front PARENT URI ARTIFACTS PORT FRAGMENT` is the process that `study.tracking.serve` starts,
and that ends with it (PARENT, its process id): all of MLflow's routes, checks and static files, on loopback only.
"""

import json
import os
import signal
import sys
from pathlib import Path

from study.runtime.parent import end_with

HOST = "127.0.0.1"
HEAD_ENDS = "</head>"
"""What comes before it runs before MLflow's own scripts, which are deferred."""
STOP_SECONDS = 2
"""How long open connections may delay the end."""


def opening_at(page: str, fragment: str) -> str:
    """MLflow's page, showing `fragment` (`#/...`) where its address has no fragment of its own.

    It is done in the page because a browser keeps the fragment to itself: a server cannot tell its bare address from
    the address of a run.
    """
    quoted = json.dumps(fragment).replace("<", "\\u003c")
    script = f"<script>if (!location.hash) location.replace({quoted})</script>"
    return page.replace(HEAD_ENDS, script + HEAD_ENDS, 1)


def main(uri: str, artifacts: str, port: str, fragment: str) -> None:
    """Serve the store `uri` (`sqlite:///FILE`) until SIGINT or SIGTERM; the bare address shows `fragment`."""
    import uvicorn  # first: MLflow turns its checks of requests on where it finds a server imported
    from flask import Response, request
    from mlflow.server import app as pages
    from mlflow.server.constants import ARTIFACT_ROOT_ENV_VAR, BACKEND_STORE_URI_ENV_VAR
    from mlflow.server.fastapi_app import app
    from mlflow.server.handlers import initialize_backend_stores

    os.environ |= {BACKEND_STORE_URI_ENV_VAR: uri, ARTIFACT_ROOT_ENV_VAR: artifacts}
    initialize_backend_stores()
    page = opening_at(Path(str(pages.static_folder), "index.html").read_text(), fragment)

    @pages.before_request
    def start_page() -> Response | None:
        if request.path != "/":
            return None
        return Response(page, headers={"Cache-Control": "no-store"})

    uvicorn.run(app, host=HOST, port=int(port), log_level="warning", timeout_graceful_shutdown=STOP_SECONDS)


if __name__ == "__main__":
    end_with(int(sys.argv[1]), signal.SIGTERM)
    main(*sys.argv[2:])

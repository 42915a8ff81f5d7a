"""The API's documentation at /docs: Swagger UI out of an installed package, so that it works without a network."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse

from .page import Assets
from .policy import policy

FILES = "/tagbrush/docs"
PARAMETERS = {"deepLinking": True, "defaultModelsExpandDepth": 0, "filter": True, "displayRequestDuration": True}


def mount_docs(app: FastAPI) -> None:
    """Serve the documentation of `app` and what it is shown with."""
    assert app.openapi_url is not None, "there is nothing to document"
    openapi_url = app.openapi_url

    def docs(request: Request) -> HTMLResponse:
        place = request.scope.get("root_path", "")
        page = get_swagger_ui_html(
            openapi_url=place + openapi_url,
            title=f"{app.title} API",
            swagger_js_url=f"{place}{FILES}/swagger-ui-bundle.js",
            swagger_css_url=f"{place}{FILES}/swagger-ui.css",
            swagger_favicon_url=f"{place}/tagbrush/assets/css/brush.svg",
            swagger_ui_parameters=PARAMETERS,
        )
        page.headers["Content-Security-Policy"] = policy(bytes(page.body))
        return page

    app.add_api_route("/docs", docs, include_in_schema=False)
    app.mount(FILES, Assets(directory=Path(str(resources.files("fastapi_swagger") / "resources"))), name="docs")

"""The server that shows the page to this machine alone, or to who knows a password."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from animevsr.app.page import Page, build
from animevsr.utils.resources import cache_folder

PORT = 7860
# a browser that keeps to it asks no other host for anything: no font, no script, no picture
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' data: blob:"


def make_server(page: Page, host: str, port: int, password: str | None) -> uvicorn.Server:
    """What serves the page.

    Raises:
        ValueError: other machines could reach it, and there is no password.
    """
    if not is_local(host) and not password:
        raise ValueError(f'host {host}: others could reach it; give a --password')
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    if is_local(host):  # a page of elsewhere whose name was made to point here is not answered
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[host, 'localhost', '127.0.0.1', '[::1]'])

    @app.middleware('http')
    async def keep_to_this_host(request, call):
        origin = request.headers.get('origin')
        hosts = request.headers.get('host'), request.headers.get('x-forwarded-host')  # of a proxy
        if origin and request.method not in ('GET', 'HEAD') and urlsplit(origin).netloc not in hosts:
            return PlainTextResponse('from another site', 403)  # which could fill the disk by uploads
        response = await call(request)
        response.headers['Content-Security-Policy'] = POLICY
        return response

    theme = gr.themes.Default(
        font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace'], primary_hue='blue'
    )
    blocks = build(page)
    login = ('animevsr', password) if password else None
    app = gr.mount_gradio_app(
        app,
        blocks,
        path='/',
        auth=login,
        allowed_paths=blocks.allowed_paths,
        theme=theme,
        pwa=False,
        footer_links=[],
    )
    blocks.has_launched = True  # else Gradio does not check the paths of what it is sent
    # a tab that is open keeps a connection, for which uvicorn would wait for ever
    config = uvicorn.Config(app, host=host, port=port, log_level='warning', timeout_graceful_shutdown=1)
    return Server(config)


class Server(uvicorn.Server):
    """Says nothing of the connections that it cuts when it stops."""

    async def shutdown(self, sockets: Any = None) -> None:
        logging.getLogger('uvicorn.error').setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


def is_local(host: str) -> bool:
    if host == 'localhost':
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(
    host: str = '127.0.0.1',
    port: int = PORT,
    password: str | None = None,
    device: str = 'auto',
    say: Callable = lambda text: None,
) -> None:
    """Show the page until it is stopped (Ctrl+C); `say(text)` tells where.

    Raises:
        ValueError: see `make_server`.
    """
    page = Page(cache_folder() / 'app', device)
    try:
        server = make_server(page, host, port, password)
        say(f'animevsr: open http://{host}:{port} in a browser; Ctrl+C stops')
        server.run()
    finally:
        page.close()

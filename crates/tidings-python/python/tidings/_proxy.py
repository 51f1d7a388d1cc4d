"""Passes the requests and WebSockets of pages on to the server: for `tidings.fastapi.panel`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from urllib.parse import quote, urlsplit

import httpx
from fastapi import FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import Response, StreamingResponse
from starlette.requests import HTTPConnection
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from . import aio

#: Headers of one connection, which are not passed on (RFC 9110, section 7.6.1), and those that
#: belong to the application: its name, its cookies, and the page's origin, which is checked here.
OWN = frozenset(
    "connection cookie host keep-alive origin proxy-authenticate proxy-authorization te trailer "
    "transfer-encoding upgrade".split()
)
#: Headers of a handshake, which the WebSocket to the server makes anew.
HANDSHAKE = "sec-websocket-"
#: Seconds in which the server must answer. A stream may be quiet for any time afterwards.
TIMEOUT = 30.0

Token = str | Callable[[HTTPConnection], str] | None


class Proxy:
    """Passes requests on. `token` is for requests that bring none of their own."""

    def __init__(self, token: Token) -> None:
        self._token = token

    async def request(self, request: Request, client: aio.Client, path: str) -> Response:
        """Passes a request on, and streams the answer."""
        if _is_foreign(request):
            raise HTTPException(403, "this is for pages of this service only")
        http = _http(request.app, client)
        passed = http.build_request(
            request.method,
            _url(client.url, path, request),
            headers=self._headers(request),
            content=None if request.method in ("GET", "HEAD") else request.stream(),
            timeout=httpx.Timeout(TIMEOUT, read=None),
        )
        try:
            answer = await http.send(passed, stream=True)
        except httpx.HTTPError as error:
            raise HTTPException(502, f"no answer from the Tidings server: {error}") from None

        async def body() -> AsyncIterator[bytes]:
            try:
                async for part in answer.aiter_raw():
                    yield part
            finally:
                await answer.aclose()

        response = StreamingResponse(body(), answer.status_code)
        response.raw_headers = [(k.lower(), v) for k, v in answer.headers.raw if _passes(k.decode())]
        return response

    async def socket(self, socket: WebSocket, client: aio.Client, path: str) -> None:
        """Passes a WebSocket on, until one side closes it."""
        if _is_foreign(socket):
            # Without `accept`, the handshake is answered with 403.
            return await socket.close()
        url = _url(client.url.replace("http", "ws", 1), path, socket)
        headers = [(k, v) for k, v in self._headers(socket) if not k.startswith(HANDSHAKE)]
        try:
            server = await connect(
                url,
                additional_headers=headers,
                subprotocols=[Subprotocol(name) for name in socket.scope["subprotocols"]] or None,
                ssl=_trust(client) if url.startswith("wss:") else None,
                proxy=None,
                user_agent_header=None,
                compression=None,
                max_size=None,
                # The server sends pings. A page that stalls would not see the answers to these.
                ping_interval=None,
                open_timeout=TIMEOUT,
            )
        except (OSError, TimeoutError, InvalidStatus):
            return await socket.close(1013, "no answer from the Tidings server")
        async with server:
            await socket.accept(server.subprotocol)
            ways = [
                asyncio.create_task(_to_server(socket, server)),
                asyncio.create_task(_to_page(server, socket)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)

    def _headers(self, connection: HTTPConnection) -> list[tuple[str, str]]:
        headers = [(k, v) for k, v in connection.headers.items() if _passes(k)]
        if connection.client is not None:
            headers.append(("x-forwarded-for", connection.client.host))
        if self._token is not None and not _has_token(connection):
            token = self._token(connection) if callable(self._token) else self._token
            headers.append(("authorization", f"Bearer {token}"))
        return headers


async def _to_server(socket: WebSocket, server: ClientConnection) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        try:
            await server.send(message["bytes"] if text is None else text)
        except ConnectionClosed:
            return


async def _to_page(server: ClientConnection, socket: WebSocket) -> None:
    try:
        while True:
            message = await server.recv()
            if isinstance(message, str):
                await socket.send_text(message)
            else:
                await socket.send_bytes(message)
    except ConnectionClosed as closed:
        # Pages act on the server's own code. None was sent if the connection broke.
        code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1012, "")
        await socket.close(code, reason)


def _passes(header: str) -> bool:
    return header.lower() not in OWN


def _has_token(connection: HTTPConnection) -> bool:
    offered = connection.headers.get("sec-websocket-protocol", "").split(",")
    return (
        "authorization" in connection.headers
        or "token" in connection.query_params
        or any(name.strip().startswith("bearer.") for name in offered)
    )


def _is_foreign(connection: HTTPConnection) -> bool:
    """Whether a page of another origin has sent this. The server sees no origin any more."""
    origin = connection.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != connection.headers.get("host")


def _url(base: str, path: str, connection: HTTPConnection) -> str:
    query = connection.url.query
    return f"{base.rstrip('/')}/{quote(path, safe='/:~')}" + (f"?{query}" if query else "")


def _trust(client: aio.Client) -> ssl.SSLContext:
    ca = client._core.options.ca
    return ssl.create_default_context(cadata=None if ca is None else ca.decode())


def _http(app: FastAPI, client: aio.Client) -> httpx.AsyncClient:
    """Returns the connections to the server that the application's requests share."""
    found = getattr(app.state, "tidings_http", None)
    if isinstance(found, httpx.AsyncClient):
        return found
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    trust: ssl.SSLContext | bool = _trust(client) if client.url.startswith("https:") else True
    app.state.tidings_http = httpx.AsyncClient(limits=limits, verify=trust, trust_env=False)
    return app.state.tidings_http  # type: ignore[no-any-return]

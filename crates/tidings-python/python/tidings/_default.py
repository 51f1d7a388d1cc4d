"""The client that the integrations use if they are given none."""

from __future__ import annotations

from ._client import Client

_client: Client | None = None


def client() -> Client:
    """Returns the program's own client: made of the environment when it is first asked
    for, unless `set_client` has named another."""
    global _client
    if _client is None:
        _client = Client()
    return _client


def set_client(client: Client) -> None:
    """Names the client that `tidings.tqdm` and the other integrations use."""
    global _client
    _client = client

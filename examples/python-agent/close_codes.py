"""What a client does after a close. Generated from the protocol: do not edit."""

#: By close code; after any other code a client tries again with backoff.
RECONNECT = {
    1000: "backoff",
    1001: "backoff",
    1002: "never",
    1003: "never",
    1007: "never",
    1008: "never",
    1009: "never",
    1011: "backoff",
    1012: "backoff",
    1013: "backoff",
    4401: "never",
    4403: "never",
    4408: "now",
    4409: "never",
    4429: "backoff",
}

#: Codes after which another token may help.
TOKEN = {4401, 4403}

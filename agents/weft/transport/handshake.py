"""Both ends prove that they know the pipeline's token, without sending it, and say who they are.

    client: Hello(nonce)            server: Challenge(nonce, proof of the client's nonce)
    client: Proof(identity, proof)  server: Welcome, or the line that says why not

The proofs are HMAC-SHA-256 under the token over both nonces, the identity and the direction, so
that neither end can be made to answer for the other.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Literal, TypeVar

import msgspec

from weft.transport.wire import Connection, FrameReader

PROTOCOL_VERSION = 2
TIMEOUT = 10.0
"""Seconds for the whole exchange."""


class HandshakeError(Exception):
    """The peer is not one of ours, or will not have us. One line."""


class Identity(msgspec.Struct, array_like=True, frozen=True):
    """Who dials, and what for: a `link` between two nodes, or the `directory`."""

    purpose: Literal["link", "directory"]
    incarnation: int
    target: int
    """For links: the incarnation that is meant; another one at that address must refuse."""
    pipeline: str


class _Hello(msgspec.Struct, array_like=True):
    version: int
    nonce: bytes


class _Challenge(msgspec.Struct, array_like=True):
    nonce: bytes
    proof: bytes


class _Proof(msgspec.Struct, array_like=True):
    identity: Identity
    proof: bytes


class _Verdict(msgspec.Struct, array_like=True):
    refused: str = ""


def _prove(token: str, direction: bytes, *parts: bytes) -> bytes:
    mac = hmac.new(token.encode(), direction, hashlib.sha256)
    for part in parts:
        mac.update(len(part).to_bytes(4, "big") + part)
    return mac.digest()


_encode = msgspec.msgpack.encode
_T = TypeVar("_T")


async def greet(
    connection: Connection, reader: FrameReader, token: str, identity: Identity
) -> None:
    """The dialling side. Raises `HandshakeError`, `ConnectionError` or `TimeoutError`."""
    nonce = secrets.token_bytes(16)
    connection.send(_encode(_Hello(PROTOCOL_VERSION, nonce)))
    challenge = _decode(await reader.read(TIMEOUT), _Challenge)
    expected = _prove(token, b"server", nonce, challenge.nonce)
    if not hmac.compare_digest(expected, challenge.proof):
        raise HandshakeError("the peer does not know this pipeline's token")
    proof = _prove(token, b"client", nonce, challenge.nonce, _encode(identity))
    connection.send(_encode(_Proof(identity, proof)))
    verdict = _decode(await reader.read(TIMEOUT), _Verdict)
    if verdict.refused:
        raise HandshakeError(verdict.refused)


async def receive(connection: Connection, reader: FrameReader, token: str) -> Identity:
    """The listening side, up to the proven identity; `welcome` or `refuse` ends it.

    Raises `HandshakeError`, `ConnectionError` or `TimeoutError`.
    """
    hello = _decode(await reader.read(TIMEOUT), _Hello)
    if hello.version != PROTOCOL_VERSION:
        raise HandshakeError(
            f"the peer speaks protocol version {hello.version}, this process {PROTOCOL_VERSION}"
        )
    nonce = secrets.token_bytes(16)
    connection.send(_encode(_Challenge(nonce, _prove(token, b"server", hello.nonce, nonce))))
    answer = _decode(await reader.read(TIMEOUT), _Proof)
    expected = _prove(token, b"client", hello.nonce, nonce, _encode(answer.identity))
    if not hmac.compare_digest(expected, answer.proof):
        raise HandshakeError("the peer does not know this pipeline's token")
    return answer.identity


def welcome(connection: Connection) -> None:
    connection.send(_encode(_Verdict()))


def refuse(connection: Connection, why: str) -> None:
    connection.send(_encode(_Verdict(why)))
    connection.close()


def _decode(frame: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.msgpack.decode(frame, type=kind)
    except msgspec.MsgspecError:
        raise HandshakeError("the peer does not speak this protocol") from None

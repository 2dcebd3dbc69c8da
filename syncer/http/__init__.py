"""The polite client: GET, and the POST that obtains a token, with waits, retries and errors made for people.

Invariant: no request leaves while the source has said to wait or we were asked to stop, and no answer costs
more memory than it may. It knows HTTP and nothing of what is asked: a platform's ways come in as `Manners`.
"""

from __future__ import annotations

from syncer.http.answer import Answer, Incomplete, Rate, Refused, TooLarge, wait_of
from syncer.http.client import NO_ANSWER, Client, Manners, Traffic, segment
from syncer.http.gate import Clock, Gate, doing
from syncer.http.session import Token, jwt_lifetime

__all__ = [
    "NO_ANSWER",
    "Answer",
    "Client",
    "Clock",
    "Gate",
    "Incomplete",
    "Manners",
    "Rate",
    "Refused",
    "Token",
    "TooLarge",
    "Traffic",
    "doing",
    "jwt_lifetime",
    "segment",
    "wait_of",
]

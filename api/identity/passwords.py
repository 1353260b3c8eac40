"""Passwords, as argon2id hashes. Hashing takes 20 MiB and 50 ms of a core, so it runs in threads, few at a time."""

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from core.errors import Unavailable

# OWASP's second choice for argon2id: 19 MiB, two passes, one lane.
_MEMORY_KIB, _PASSES, _LANES = 19_456, 2, 1
_THREADS, _WAITING = 2, 64


class HashingBusy(Unavailable):
    """Too many passwords are being looked at; more would only eat memory."""

    code = "sign_in_busy"


class Passwords:
    """Hashes and verifies passwords without holding up the event loop."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=_LANES)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="argon2")
        self._waiting = 0
        self._nobodys = self._hasher.hash(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        """The hash to store. Raises HashingBusy."""
        return await self._run(lambda: self._hasher.hash(_normal(password)))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether it is the password of `stored`; None takes as long and is never right. Raises HashingBusy."""
        return await self._run(lambda: self._verify(stored, password))

    def is_outdated(self, stored: str) -> bool:
        """Whether today's parameters are others than those `stored` was made with."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, stored: str | None, password: str) -> bool:
        try:
            return self._hasher.verify(stored or self._nobodys, _normal(password)) and stored is not None
        except (VerificationError, InvalidHashError):
            return False

    async def _run[T](self, work: Callable[[], T]) -> T:
        if self._waiting >= _WAITING:
            raise HashingBusy("too many people sign in at this moment; try again in a few seconds")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def generate() -> str:
    """A password nobody guesses, for somebody who will choose his own."""
    return secrets.token_urlsafe(15)


def _normal(password: str) -> str:
    """The same letters typed on two keyboards are the same password."""
    return unicodedata.normalize("NFKC", password)

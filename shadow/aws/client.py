"""AWS IoT's data plane. boto3 blocks, so it works in a few threads; nobody waits longer than the setting says."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import boto3  # type: ignore[import-untyped]  # it ships no types
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
from prometheus_client import Counter, Histogram

from core.errors import Unavailable
from core.settings import ShadowSettings
from shadow.algebra import Tree
from shadow.errors import (
    InvalidShadowRequest,
    ShadowNotFound,
    ShadowNotUtf8,
    ShadowRefused,
    ShadowTooLarge,
    ShadowVersionConflict,
    TooManyShadowRequests,
)
from shadow.model import Key, decode

ASKED = Counter("milkrun_shadow_aws_requests_total", "Questions to AWS IoT's data plane", ["operation", "result"])
ANSWERED = Histogram("milkrun_shadow_aws_seconds", "Time until AWS IoT's data plane answered", ["operation"])


class AwsUnavailable(Unavailable):
    """AWS IoT does not answer, or not to these credentials. A change may have been made all the same."""

    code = "aws_unavailable"


class IotData:
    """A client of `iot-data`, `async with` from opening to closing. Credentials are the AWS SDK's own affair."""

    def __init__(self, settings: ShadowSettings) -> None:
        most, wait_s = settings.aws_connections, settings.aws_timeout_s
        self._timeout_s = wait_s
        self._turns = asyncio.Semaphore(most)
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="aws")
        config = Config(
            connect_timeout=wait_s,
            read_timeout=wait_s,
            max_pool_connections=most,
            # A second try of an update might be refused for the version that the first one made.
            retries={"total_max_attempts": 1},
        )
        self._client = boto3.session.Session().client(
            "iot-data",
            region_name=settings.aws_region or None,
            endpoint_url=settings.aws_endpoint_url or None,
            config=config,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    async def get(self, key: Key) -> Tree:
        """Raises ShadowRefused, AwsUnavailable."""
        return _document(await self._ask("get_thing_shadow", key))

    async def update(self, key: Key, payload: bytes) -> Tree:
        """Raises ShadowRefused, AwsUnavailable."""
        return _document(await self._ask("update_thing_shadow", key, payload=payload))

    async def delete(self, key: Key) -> Tree:
        """Raises ShadowRefused, AwsUnavailable."""
        return _document(await self._ask("delete_thing_shadow", key))

    async def names(self, key: Key) -> list[str]:
        """Named shadows of the key's thing. Raises ShadowRefused, AwsUnavailable."""
        names: list[str] = []
        more: dict[str, Any] = {}
        while True:
            page = await self._call("list_named_shadows_for_thing", key, {"thingName": str(key.thing), **more})
            names += page.get("results", ())
            if not page.get("nextToken"):
                return names
            more = {"nextToken": page["nextToken"]}

    async def _ask(self, operation: str, key: Key, **more: object) -> Mapping[str, Any]:
        name = {"shadowName": key.name} if key.name else {}
        return await self._call(operation, key, {"thingName": str(key.thing), **name, **more}, read=_read)

    async def _call(
        self,
        operation: str,
        key: Key,
        arguments: Mapping[str, object],
        *,
        read: Callable[[Any], Mapping[str, Any]] = dict,
    ) -> Mapping[str, Any]:
        ask = getattr(self._client, operation)
        loop = asyncio.get_running_loop()
        try:
            with ANSWERED.labels(operation).time():
                async with asyncio.timeout(2 * self._timeout_s), self._turns:
                    said = await loop.run_in_executor(self._threads, lambda: read(ask(**arguments)))
        except ClientError as error:
            refused = _refusal(error, key)
            ASKED.labels(operation, str(getattr(refused, "aws_code", 503))).inc()
            raise refused from error
        except (BotoCoreError, TimeoutError) as error:
            ASKED.labels(operation, "503").inc()
            raise AwsUnavailable(f"AWS IoT does not answer: {str(error)[:200] or 'no answer in time'}") from error
        ASKED.labels(operation, "accepted").inc()
        return said


def _read(said: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"payload": said["payload"].read()}


def _document(said: Mapping[str, Any]) -> Tree:
    found = decode(said["payload"])
    assert isinstance(found, dict)
    return found


def _refusal(error: Any, key: Key) -> ShadowRefused | AwsUnavailable:
    """AWS's error as ours, by its code; what is about our own rights there is nobody's fault who asks here."""
    said = error.response.get("Error", {})
    code, message = str(said.get("Code", "")), str(said.get("Message", ""))
    known: dict[str, Callable[[], ShadowRefused]] = {
        "ResourceNotFoundException": lambda: ShadowNotFound(key.name or str(key.thing)),
        "ConflictException": ShadowVersionConflict,
        "InvalidRequestException": lambda: InvalidShadowRequest(message),
        "RequestEntityTooLargeException": ShadowTooLarge,
        "UnsupportedDocumentEncodingException": ShadowNotUtf8,
        "ThrottlingException": TooManyShadowRequests,
    }
    return known[code]() if code in known else AwsUnavailable(f"AWS IoT answers {code or 'an error'}: {message[:200]}")

"""A shadow and what may be asked of it, pure: documents as AWS IoT writes them, and the messages that go with them."""

from dataclasses import dataclass, replace
from typing import Any

import msgspec

from core import topics
from core.tenancy import Thing
from shadow import algebra
from shadow.algebra import Leaf, Tree
from shadow.errors import (
    InvalidShadowRequest,
    ShadowForbidden,
    ShadowNotFound,
    ShadowNotUtf8,
    ShadowRefused,
    ShadowTooLarge,
    ShadowVersionConflict,
)

LAST_KNOWN = "$milkrun"
"""The named shadow that nobody writes: what the platform last knew of the device."""

MOST_LEVELS = 6
MOST_TOKEN_BYTES = 64
_REMEMBERED = 16  # more than the requests a device may have unanswered; a backlog adds its own

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode

type Message = tuple[str, bytes]
"""The rest of a shadow topic, such as `update/delta`, and the payload."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which shadow: `name` is empty for the classic one."""

    thing: Thing
    name: str

    def topic(self, rest: str) -> str:
        return topics.shadow(self.thing, self.name, rest)


@dataclass(frozen=True, slots=True)
class Section:
    """`desired` or `reported`: its state and, in the same shape, when each leaf was last set. Empty means absent."""

    state: Tree
    stamps: Tree

    def patched(self, patch: Tree | None, at_s: int) -> "Section":
        """With `patch` laid over it; None clears it."""
        if patch is None:
            return EMPTY
        state = algebra.merge(self.state, patch)
        return Section(state, algebra.restamp(state, self.stamps, patch, at_s)) if state else EMPTY


EMPTY = Section({}, {})


@dataclass(frozen=True, slots=True)
class Document:
    """A shadow as it is kept. `version` grows by one with each change and outlives deletion.

    `recent` are the marks of the last requests that changed it, so that one delivered again is recognised.
    """

    version: int = 0
    exists: bool = False
    desired: Section = EMPTY
    reported: Section = EMPTY
    recent: tuple[int, ...] = ()

    def delta(self) -> Tree:
        return algebra.delta(self.desired.state, self.reported.state)

    def leaves(self, most: int) -> frozenset[Leaf]:
        """What search knows of it: values desired, reported and differing, the first `most` by field."""
        if not self.exists:
            return frozenset()
        trees = {"delta": self.delta(), "desired": self.desired.state, "reported": self.reported.state}
        found = {leaf for field, tree in trees.items() if tree for leaf in algebra.leaves(field, tree)}
        return frozenset(found if len(found) <= most else sorted(found, key=lambda leaf: leaf[:2])[:most])

    def remembering(self, mark: int, since: "Document") -> "Document":
        """With one mark more; kept are all since that document, which one transaction made, and those of before."""
        return replace(self, recent=(*self.recent, mark)[-(_REMEMBERED + self.version - since.version) :])


NOTHING = Document()


@dataclass(frozen=True, slots=True)
class Update:
    """What an update request asks. `patches` holds the sections it names; None as a patch clears the section."""

    patches: dict[str, Tree | None]
    version: int | None
    token: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The shadow after a request, the document that answers it, and all messages that tell of it, in order."""

    document: Document
    answer: Tree
    messages: tuple[Message, ...]


# --- reading a request ---------------------------------------------------------------------------------------------


def read(payload: bytes) -> Tree:
    """The JSON object of an update request. Raises ShadowNotUtf8, InvalidShadowRequest."""
    try:
        body = decode(payload)
    except UnicodeDecodeError as error:
        raise ShadowNotUtf8 from error
    except RecursionError as error:
        raise _too_deep() from error
    except msgspec.MsgspecError as error:
        if not _is_utf8(payload):
            raise ShadowNotUtf8 from error
        raise InvalidShadowRequest("Invalid JSON") from error
    if not isinstance(body, dict):
        raise InvalidShadowRequest("Invalid JSON")
    return body


def read_leniently(payload: bytes) -> Tree:
    """The JSON object of a get or delete request, whose payload does not matter but for its token."""
    try:
        return read(payload)
    except ShadowRefused:
        return {}


def token_of(body: Tree) -> str | None:
    """Raises InvalidShadowRequest."""
    token = body.get("clientToken")
    if token is not None and (not isinstance(token, str) or len(token.encode()) > MOST_TOKEN_BYTES):
        raise InvalidShadowRequest("Invalid clientToken")
    return token


def read_update(body: Tree) -> Update:
    """Raises InvalidShadowRequest."""
    token = token_of(body)
    if "state" not in body:
        raise InvalidShadowRequest("Missing required node: state")
    state, version = body["state"], body.get("version")
    if state is None:
        state = {"desired": None, "reported": None}
    if not isinstance(state, dict):
        raise InvalidShadowRequest("State node must be an object")
    if version is not None and (not isinstance(version, int) or isinstance(version, bool) or version < 0):
        raise InvalidShadowRequest("Invalid version")
    patches = {name: state[name] for name in ("desired", "reported") if name in state}
    for name, patch in patches.items():
        if patch is not None and not isinstance(patch, dict):
            raise InvalidShadowRequest(f"{name.capitalize()} node must be an object")
        _check(patch)
    return Update(patches, version, token)


def _check(patch: Tree | None) -> None:
    try:
        if algebra.depth(patch) > MOST_LEVELS:
            raise _too_deep()
    except RecursionError as error:
        raise _too_deep() from error
    if not algebra.is_storable(patch):
        raise InvalidShadowRequest("State contains an invalid node")


def _too_deep() -> InvalidShadowRequest:
    return InvalidShadowRequest(f"JSON contains too many levels of nesting; maximum is {MOST_LEVELS}")


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


# --- answering it ----------------------------------------------------------------------------------------------------


def get(key: Key, before: Document, token: str | None, at_s: int) -> Outcome:
    """The whole shadow. Raises ShadowNotFound."""
    if not before.exists:
        raise missing(key)
    state, metadata = _sections(before)
    if differing := before.delta():
        state["delta"] = differing
    answer = {"state": state, "metadata": metadata, "version": before.version, **_tail(token, at_s)}
    return Outcome(before, answer, (("get/accepted", encode(answer)),))


def update(before: Document, request: Update, at_s: int, *, most_bytes: int) -> Outcome:
    """Lay the request over the shadow, which is made if there is none. Raises ShadowVersionConflict, ShadowTooLarge."""
    if request.version is not None and request.version != before.version:
        raise ShadowVersionConflict
    sections = {"desired": before.desired, "reported": before.reported}
    for name, patch in request.patches.items():
        sections[name] = sections[name].patched(patch, at_s)
    after = Document(before.version + 1, True, **sections, recent=before.recent)
    if sum(len(encode(section.state)) for section in sections.values() if section.state) > most_bytes:
        raise ShadowTooLarge
    tail = _tail(request.token, at_s)
    stamps = {name: algebra.stamp(patch, at_s) for name, patch in request.patches.items()}
    answer = {"state": request.patches, "metadata": stamps, "version": after.version, **tail}
    messages = [("update/accepted", encode(answer))]
    if differing := after.delta():
        wanted = algebra.project(after.desired.stamps, differing)
        news = {"state": differing, "metadata": wanted, "version": after.version, **tail}
        messages.append(("update/delta", encode(news)))
    previous = _whole(before) if before.exists else None
    messages.append(("update/documents", encode({"previous": previous, "current": _whole(after), **tail})))
    return Outcome(after, answer, tuple(messages))


def delete(key: Key, before: Document, token: str | None, at_s: int) -> Outcome:
    """Forget the shadow but for its version, which goes on. Raises ShadowNotFound."""
    if not before.exists:
        raise missing(key)
    after = Document(version=before.version + 1, recent=before.recent)
    answer = {"version": before.version, **_tail(token, at_s)}
    return Outcome(after, answer, (("delete/accepted", encode(answer)),))


def refusal(verb: topics.ShadowVerb, error: ShadowRefused, token: str | None, at_s: int) -> Message:
    """What the device reads on the `rejected` topic."""
    body = {"code": error.aws_code, "message": str(error), **_tail(token, at_s)}
    return f"{verb.value}/rejected", encode(body)


def missing(key: Key) -> ShadowNotFound:
    return ShadowNotFound(key.name or str(key.thing))


def guard_last_known(key: Key) -> None:
    """Raises ShadowForbidden where somebody would write what the platform itself says."""
    if key.name == LAST_KNOWN:
        raise ShadowForbidden


def _sections(document: Document) -> tuple[Tree, Tree]:
    present = {"desired": document.desired, "reported": document.reported}
    state: Tree = {name: section.state for name, section in present.items() if section.state}
    return state, {name: present[name].stamps for name in state}


def _whole(document: Document) -> Tree:
    state, metadata = _sections(document)
    return {"state": state, "metadata": metadata, "version": document.version}


def _tail(token: str | None, at_s: int) -> dict[str, Any]:
    return {"timestamp": at_s} if token is None else {"timestamp": at_s, "clientToken": token}

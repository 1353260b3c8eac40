"""Signing in: what passes, what is limited, and that neither answer nor time tells who exists."""

import asyncio
from datetime import timedelta

import pytest

from api.access import Role
from api.http.errors import TooMany
from api.identity import model
from api.identity.errors import ChooseTenant, InvalidToken, LoginFailed
from api.identity.login import csrf_of, source_of
from api.identity.model import Change, Status
from api.identity.passwords import Passwords
from api.identity.service import IdentityService
from api.identity.store import USERS, AuditFilter
from core.settings import Settings
from tests.api.identity.conftest import ACME, PASSWORD, SOMEBODY, ZETA, HeldClock, Platform, add_user, serve

pytestmark = [pytest.mark.db, pytest.mark.redis]

HOME, AWAY = "192.0.2.1", "198.51.100.7"


async def test_a_browser_signs_in_is_known_and_signs_out(platform: Platform):
    await platform.user(ACME, "ann@example.com", Role.TENANT_ADMIN)
    async with platform.http() as http:
        assert (await http.get("/v1/session")).status_code == 401
        answer = await http.post("/v1/session", json={"email": " Ann@Example.com", "password": PASSWORD})
        assert answer.status_code == 200
        me = answer.json()
        assert (me["email"], me["role"], me["tenant"], me["kind"]) == (
            "ann@example.com",
            "tenant_admin",
            "acme",
            "user",
        )
        again = await http.get("/v1/session")
        assert again.json() == me
        assert (await http.get("/v1/users")).status_code == 200
        out = await http.delete("/v1/session", headers={"X-CSRF-Token": me["csrf"]})
        assert out.status_code == 204
        assert "milkrun_session" not in http.cookies
        http.cookies.set("milkrun_session", answer.cookies["milkrun_session"])
        assert (await http.get("/v1/session")).status_code == 401, "the session itself has ended, not the cookie alone"


async def test_the_cookie_is_for_this_site_and_no_script(platform: Platform, identity_settings: Settings):
    await platform.user(ACME, "ann@example.com", Role.VIEWER)
    form = {"email": "ann@example.com", "password": PASSWORD}
    async with platform.http() as http:
        cookie = (await http.post("/v1/session", json=form)).headers["set-cookie"]
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= parts
    assert "secure" not in parts, "on http a browser would not send it"
    public = identity_settings.api.model_copy(update={"public_url": "https://milkrun.example"})
    async with serve(identity_settings.model_copy(update={"api": public})) as (_, url), platform.http() as http:
        cookie = (await http.post(f"{url}/v1/session", json=form)).headers["set-cookie"]
    assert "secure" in {part.strip().lower() for part in cookie.split(";")}


async def test_a_change_by_cookie_needs_the_csrf_token_and_our_own_origin(platform: Platform):
    await platform.user(ACME, "ann@example.com", Role.TENANT_ADMIN)
    await platform.user(ACME, "bob@example.com", Role.TENANT_ADMIN)
    form = {"email": "new@example.com", "role": "viewer"}
    async with platform.signed_in("ann@example.com") as ann, platform.signed_in("bob@example.com") as bob:
        right = ann.headers["X-CSRF-Token"]
        statuses = {}
        for name, headers in {
            "wrong": {"X-CSRF-Token": "x"},
            "empty": {"X-CSRF-Token": ""},
            "somebody else's": {"X-CSRF-Token": bob.headers["X-CSRF-Token"]},
            "the cookie's own": {"X-CSRF-Token": ann.cookies["milkrun_session"]},
            "foreign origin": {"X-CSRF-Token": right, "Origin": "https://evil.example"},
            "origin null": {"X-CSRF-Token": right, "Origin": "null"},
            "another port": {"X-CSRF-Token": right, "Origin": platform.url + "0"},
        }.items():
            answer = await ann.post("/v1/users", json=form, headers=headers)
            statuses[name] = (answer.status_code, answer.json()["code"])
        del ann.headers["X-CSRF-Token"]
        answer = await ann.post("/v1/users", json=form)
        statuses["missing"] = (answer.status_code, answer.json()["code"])
        assert set(statuses.values()) == {(403, "csrf_refused")}
        assert (await ann.get("/v1/users")).status_code == 200, "reading needs none"
        own = await ann.post("/v1/users", json=form, headers={"X-CSRF-Token": right, "Origin": platform.url})
        assert own.status_code == 201


async def test_a_foreign_page_cannot_sign_a_browser_in(platform: Platform):
    await platform.user(ACME, "ann@example.com", Role.VIEWER)
    form = {"email": "ann@example.com", "password": PASSWORD}
    async with platform.http() as http:
        answer = await http.post("/v1/session", json=form, headers={"Origin": "https://evil.example"})
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf_refused")
        plain = await http.post("/v1/session", content=b"{}", headers={"Content-Type": "text/plain"})
        assert plain.status_code in {415, 422}


async def test_whatever_is_wrong_is_answered_alike(platform: Platform):
    await platform.user(ACME, "ann@example.com", Role.VIEWER)
    off = await platform.user(ACME, "off@example.com", Role.VIEWER)
    await platform.user(ACME, "locked@example.com", Role.VIEWER)
    accounts = platform.identity.accounts
    await accounts.change(SOMEBODY, USERS, off.owner, off.id, Change(status=Status.DISABLED))
    async with platform.http() as http:

        async def refusal(**form: str) -> dict[str, object]:
            answer = await http.post("/v1/session", json=form)
            assert answer.status_code == 401
            body = answer.json()
            del body["request_id"]
            return body

        for _ in range(3):
            await refusal(email="locked@example.com", password="wrong password")
        answers = [
            await refusal(email="ann@example.com", password="wrong password"),
            await refusal(email="nobody@example.com", password=PASSWORD),
            await refusal(email="off@example.com", password=PASSWORD),
            await refusal(email="locked@example.com", password=PASSWORD),
            await refusal(email="no address", password=PASSWORD),
            await refusal(email="ann@example.com", password=PASSWORD, tenant="zeta"),
            await refusal(email="ann@example.com", password=PASSWORD, tenant="no such tenant"),
            await refusal(email="ann@example.com", password=PASSWORD, tenant="!"),
        ]
    assert answers == answers[:1] * len(answers)
    assert answers[0]["code"] == "login_failed"


async def test_a_password_is_hashed_for_an_unknown_address_too(service: IdentityService, monkeypatch):
    await add_user(service, ACME, "ann@example.com", Role.VIEWER)
    looked_at = []
    verify = Passwords._verify

    def counted(self: Passwords, stored: str | None, password: str) -> bool:
        looked_at.append((stored or self._nobodys).rpartition("$")[0].rpartition("$")[0])
        return verify(self, stored, password)

    monkeypatch.setattr(Passwords, "_verify", counted)
    for email in ("ann@example.com", "nobody@example.com", "no address"):
        with pytest.raises(LoginFailed):
            await service.logins.login(email, "wrong password", None, ip=HOME)
    assert len(looked_at) == 3
    assert len(set(looked_at)) == 1, "with the same work"


async def test_an_account_is_locked_after_too_many_wrong_passwords_and_opens_with_time(
    service: IdentityService, clock: HeldClock
):
    user = await add_user(service, ACME, "ann@example.com", Role.VIEWER)
    for _ in range(3):
        await _fails(service, "ann@example.com", "wrong password")
    await _fails(service, "ann@example.com", PASSWORD, ip=AWAY)
    shown = await service.accounts.show(USERS, user.owner, user.id)
    assert shown.locked_until == clock() + timedelta(seconds=900)
    rows = await service.accounts.audit_log(user.owner, AuditFilter(action="user.locked"), limit=10)
    assert [row.target for row in rows] == [user.id]
    clock.move(seconds=899)
    await _fails(service, "ann@example.com", PASSWORD)
    clock.move(seconds=1)
    await service.logins.login("ann@example.com", PASSWORD, None, ip=HOME)
    assert (await service.accounts.show(USERS, user.owner, user.id)).locked_until is None


async def test_a_right_password_forgets_the_wrong_ones_and_so_does_time(service: IdentityService, clock: HeldClock):
    await add_user(service, ACME, "ann@example.com", Role.VIEWER)
    for _ in range(3):
        for _ in range(2):
            await _fails(service, "ann@example.com", "wrong password")
        await service.logins.login("ann@example.com", PASSWORD, None, ip=HOME)
    for _ in range(2):
        await _fails(service, "ann@example.com", "wrong password")
        clock.move(seconds=901)
        await _fails(service, "ann@example.com", "wrong password")
    clock.move(seconds=901)
    await service.logins.login("ann@example.com", PASSWORD, None, ip=HOME)


async def test_many_guesses_at_once_are_no_more_than_one_after_another(service: IdentityService, monkeypatch):
    await add_user(service, ACME, "ann@example.com", Role.VIEWER)
    hashes = []
    verify = Passwords._verify

    def counted(self: Passwords, stored: str | None, password: str) -> bool:
        hashes.append(stored)
        return verify(self, stored, password)

    monkeypatch.setattr(Passwords, "_verify", counted)
    guesses = (service.logins.login("ann@example.com", f"guess number {n}", None, ip=f"10.0.0.{n}") for n in range(20))
    results = await asyncio.gather(*guesses, return_exceptions=True)
    assert {type(result) for result in results} == {LoginFailed}
    assert len([stored for stored in hashes if stored is not None]) == 3, "the account allows three"


async def test_one_network_address_has_so_many_attempts_whoever_they_are_for(
    service: IdentityService, clock: HeldClock
):
    await add_user(service, ACME, "ann@example.com", Role.VIEWER)
    for n in range(20):
        await _fails(service, f"user{n}@example.com", "wrong password")
    with pytest.raises(TooMany) as limited:
        await service.logins.login("ann@example.com", PASSWORD, None, ip=HOME)
    assert limited.value.retry_after_s == 45.0
    await service.logins.login("ann@example.com", PASSWORD, None, ip=AWAY)
    clock.move(seconds=45)
    await service.logins.login("ann@example.com", PASSWORD, None, ip=HOME)
    # Signing in rightly uses nothing up.
    await service.logins.login("ann@example.com", PASSWORD, None, ip=HOME)


async def test_the_limit_of_an_address_is_told_with_the_time_to_wait(platform: Platform):
    async with platform.http() as http:
        for n in range(20):
            form = {"email": f"user{n}@example.com", "password": "wrong password"}
            assert (await http.post("/v1/session", json=form)).status_code == 401
        answer = await http.post("/v1/session", json={"email": "x@example.com", "password": "wrong password"})
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert 1 <= int(answer.headers["retry-after"]) <= 46


async def test_the_same_address_in_two_tenants_is_asked_which(platform: Platform):
    for tenant in (ACME, ZETA):
        await platform.user(tenant, "ann@example.com", Role.VIEWER)
    form = {"email": "ann@example.com", "password": PASSWORD}
    async with platform.http() as http:
        asked = await http.post("/v1/session", json=form)
        assert (asked.status_code, asked.json()["code"]) == (409, "tenant_required")
        assert sorted(error["message"] for error in asked.json()["errors"]) == ["acme", "zeta"]
        assert "set-cookie" not in asked.headers
        told = await http.post("/v1/session", json={**form, "tenant": "zeta"})
        assert (told.status_code, told.json()["tenant"]) == (200, "zeta")


async def test_only_those_tenants_are_named_whose_password_it_is(service: IdentityService):
    await add_user(service, ACME, "ann@example.com", Role.VIEWER)
    other = await add_user(service, ZETA, "ann@example.com", Role.VIEWER)
    await service.accounts.set_password(SOMEBODY, other.owner, other.id, "another pass phrase")
    _, session, _ = await service.logins.login("ann@example.com", PASSWORD, None, ip=HOME)
    assert session.principal.tenant == ACME


async def test_a_user_of_the_same_address_elsewhere_is_no_way_around_the_lock(service: IdentityService):
    """Whoever runs a tenant can make any address a user there and set its password: his own guess is always right."""
    await add_user(service, ACME, "ann@example.com", Role.VIEWER)
    mine = await add_user(service, ZETA, "ann@example.com", Role.VIEWER)
    outcomes = []
    for n, guess in enumerate(["guess one two", "guess two three", "guess three four", PASSWORD]):
        await service.accounts.set_password(SOMEBODY, mine.owner, mine.id, guess)
        try:
            _, session, _ = await service.logins.login("ann@example.com", guess, None, ip=f"10.0.0.{n}")
            outcomes.append(session.principal.tenant)
        except ChooseTenant:
            outcomes.append("both")
    assert outcomes == [ZETA, ZETA, ZETA, ZETA], "the fourth would have told that the guess was right for acme too"


async def test_a_session_ends_after_idleness_and_after_its_longest_time(service: IdentityService, clock: HeldClock):
    await add_user(service, ACME, "ann@example.com", Role.VIEWER)
    idle, _, _ = await service.logins.login("ann@example.com", PASSWORD, None, ip=HOME)
    busy, session, _ = await service.logins.login("ann@example.com", PASSWORD, None, ip=HOME)
    assert session.principal.expires_at == clock() + timedelta(days=7)
    for _ in range(14):
        clock.move(hours=11, minutes=59)
        await service.by_session(busy)
    with pytest.raises(InvalidToken):
        await service.by_session(idle)
    clock.move(hours=1)
    with pytest.raises(InvalidToken):
        await service.by_session(busy)
    await service.logins.sweep()
    async with service._operator.unscoped(reason="count what is left") as tx:
        assert await tx.one("SELECT count(*) AS n FROM user_session") == {"n": 0}


@pytest.mark.parametrize("cookie", ["", "x", "A" * 43, "A" * 44, "A" * 42 + "\n", "' OR 1=1 --", "é" * 43])
async def test_no_made_up_cookie_is_a_session(service: IdentityService, cookie):
    with pytest.raises(InvalidToken):
        await service.by_session(cookie)


async def test_changing_ones_own_password_wants_the_old_one_and_ends_the_other_sessions(platform: Platform):
    await platform.user(ACME, "ann@example.com", Role.VIEWER)
    new = "a wholly new pass phrase"
    async with platform.signed_in("ann@example.com") as here, platform.signed_in("ann@example.com") as there:
        wrong = await here.post("/v1/me/password", json={"current": "wrong password", "new": new})
        assert (wrong.status_code, wrong.json()["code"]) == (401, "login_failed")
        weak = await here.post("/v1/me/password", json={"current": PASSWORD, "new": "aaaaaaaaaaaaaaaa"})
        assert (weak.status_code, weak.json()["code"]) == (422, "invalid_account")
        changed = await here.post("/v1/me/password", json={"current": PASSWORD, "new": new})
        assert changed.status_code == 200, changed.text
        assert (await there.get("/v1/session")).status_code == 401
        assert (await here.get("/v1/session")).json()["csrf"] == changed.json()["csrf"]
    async with platform.signed_in("ann@example.com", new):
        pass


async def test_a_token_has_no_session_and_no_password(platform: Platform):
    async with platform.http(await platform.token(ACME)) as http:
        for answer in (
            await http.get("/v1/session"),
            await http.delete("/v1/session"),
            await http.post("/v1/me/password", json={"current": PASSWORD, "new": PASSWORD}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (409, "not_a_person")


async def test_old_hashes_are_made_anew_when_somebody_signs_in(service: IdentityService, monkeypatch):
    user = await add_user(service, ACME, "ann@example.com", Role.VIEWER)
    async with service._operator.unscoped(reason="look at the hash") as tx:
        before = await tx.one("SELECT password_hash FROM user_account WHERE user_id = %s", (user.id,))
    monkeypatch.setattr(Passwords, "is_outdated", lambda *_: True)
    await service.logins.login("ann@example.com", PASSWORD, None, ip=HOME)
    monkeypatch.undo()
    async with service._operator.unscoped(reason="look at the hash") as tx:
        after = await tx.one("SELECT password_hash FROM user_account WHERE user_id = %s", (user.id,))
    assert before != after
    await service.logins.login("ann@example.com", PASSWORD, None, ip=HOME)


def test_ipv6_attempts_are_counted_for_the_subscriber_and_not_for_each_of_his_addresses():
    assert source_of("2001:db8:1:2::1") == source_of("2001:db8:1:2:ffff::9") == "2001:db8:1:2::/64"
    assert source_of("2001:db8:1:3::1") != source_of("2001:db8:1:2::1")
    assert source_of("::ffff:192.0.2.1") == source_of("192.0.2.1") == "192.0.2.1"
    assert source_of("unix") == "unix"


def test_a_csrf_token_does_not_lead_back_to_its_cookie():
    assert csrf_of("a") != csrf_of("b")
    assert "a" * 43 not in csrf_of("a" * 43)
    assert model.email_of(" A@b.C ") == "a@b.c"


async def _fails(service: IdentityService, email: str, password: str, *, ip: str = HOME) -> None:
    with pytest.raises(LoginFailed):
        await service.logins.login(email, password, None, ip=ip)

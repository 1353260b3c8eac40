"""What passes as an access token, an API key or a session, and all that does not."""

import asyncio
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.access import Role, Scope
from api.identity import keys, model
from api.identity.errors import InvalidToken
from api.identity.keys import LEEWAY_S
from api.identity.model import Actor, Change, Rights, Status
from api.identity.service import CACHE_S, IdentityService
from api.identity.store import CLIENTS, KEYS, USERS
from core.settings import Settings
from tests.api.identity.conftest import ACME, PASSWORD, SOMEBODY, ZETA, HeldClock, Platform, add_client, add_user
from tests.api.identity.forge import FORGERIES, Forge

pytestmark = [pytest.mark.db, pytest.mark.redis]

OWNER = model.owner_of(ACME)


async def _forge(service: IdentityService, good: str) -> Forge:
    private = (await service.keys.signing()).jwk.private_key
    assert isinstance(private, Ed25519PrivateKey)
    return Forge(good, private)


async def test_no_forged_token_passes_and_the_good_one_does(platform: Platform):
    good = await platform.token(ACME)
    forge = await _forge(platform.identity, good)
    assert len(FORGERIES) >= 40
    answers = {}
    async with platform.http() as http:
        for name, make in FORGERIES.items():
            answer = await http.get("/v1/me", headers={"Authorization": f"Bearer {make(forge)}"})
            answers[name] = (answer.status_code, answer.headers.get("www-authenticate", "")[:6])
        mine = await http.get("/v1/me", headers={"Authorization": f"Bearer {good}"})
    assert {name: answer for name, answer in answers.items() if answer != (401, "Bearer")} == {}
    assert (mine.status_code, mine.json()["tenant"]) == (200, "acme")


async def test_a_forger_who_could_sign_is_the_control(service: IdentityService):
    """The forge makes good tokens where nothing is wrong with them, so its bad ones fail for the reason they name."""
    client, _ = await add_client(service, ACME)
    forge = await _forge(service, (await service.issue(client)).token)
    principal = await service.by_bearer(forge.signed())
    assert (principal.id, principal.tenant) == (client.id, ACME)


async def test_every_refusal_says_why_to_the_metrics_alone(service: IdentityService):
    client, _ = await add_client(service, ACME)
    forge = await _forge(service, (await service.issue(client)).token)
    reasons = {}
    for name, make in FORGERIES.items():
        with pytest.raises(InvalidToken) as refused:
            await service.by_bearer(make(forge))
        reasons[name] = refused.value.reason
    assert reasons["unknown kid"] == "unknown_key"
    assert reasons["signature altered"] == "bad_signature"
    assert reasons["expired"] == "expired_token"
    assert reasons["a client that never was"] == reasons["another tenant, rightly signed"] == "client_disabled"
    assert reasons["another generation"] == "superseded"
    assert len(set(reasons.values())) < 15, "a label of a metric must not grow with what strangers send"


async def test_a_token_is_good_from_its_issue_to_its_end_and_the_stated_leeway(
    service: IdentityService, clock: HeldClock
):
    client, _ = await add_client(service, ACME)
    token = (await service.issue(client)).token
    clock.move(seconds=-LEEWAY_S)
    await service.by_bearer(token)
    clock.move(seconds=-1)
    with pytest.raises(InvalidToken):
        await service.by_bearer(token)
    clock.move(seconds=1 + LEEWAY_S + 60 + LEEWAY_S - 1)
    await service.by_bearer(token)
    clock.move(seconds=1)
    with pytest.raises(InvalidToken, match="expired"):
        await service.by_bearer(token)


async def test_a_token_has_the_scopes_that_were_asked_for_and_no_more(platform: Platform):
    client, secret = await platform.client(ACME, scopes=frozenset({Scope.DEVICES_READ, Scope.LIVE_READ}))
    async with platform.http() as http:
        form = {"grant_type": "client_credentials", "client_id": client.id, "client_secret": secret}
        whole = (await http.post("/oauth/token", data=form)).json()
        less = (await http.post("/oauth/token", data={**form, "scope": "live:read"})).json()
        more = await http.post("/oauth/token", data={**form, "scope": "live:read users:write"})
        me = await http.get("/v1/me", headers={"Authorization": f"Bearer {less['access_token']}"})
    assert (whole["scope"], whole["token_type"], whole["expires_in"]) == ("devices:read live:read", "Bearer", 60)
    assert less["scope"] == "live:read"
    assert me.json()["scopes"] == ["live:read"]
    assert (more.status_code, more.json()["error"]) == (400, "invalid_scope")


async def test_a_disabled_client_gets_no_token_and_its_tokens_end(platform: Platform):
    client, secret = await platform.client(ACME)
    token = await platform.exchange(client, secret)
    await platform.identity.accounts.change(SOMEBODY, CLIENTS, OWNER, client.id, Change(status=Status.DISABLED))
    async with platform.http() as http:
        form = {"grant_type": "client_credentials"}
        refused = await http.post("/oauth/token", data=form, auth=(client.id, secret))
        me = await http.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    assert refused.headers["www-authenticate"].startswith("Basic")
    assert me.status_code == 401


async def test_a_token_from_before_the_client_was_changed_or_its_secret_taken_is_refused(service: IdentityService):
    client, secret = await add_client(service, ACME)
    before = (await service.issue(client)).token
    accounts = service.accounts
    changed = await accounts.change(SOMEBODY, CLIENTS, OWNER, client.id, Change(scopes=frozenset({Scope.DEVICES_READ})))
    with pytest.raises(InvalidToken) as refused:
        await service.by_bearer(before)
    assert refused.value.reason == "superseded"
    between = (await service.issue(changed)).token
    assert (await service.by_bearer(between)).scopes == {Scope.DEVICES_READ}
    await accounts.rotate_secret(SOMEBODY, OWNER, client.id, overlap=timedelta())
    with pytest.raises(InvalidToken):
        await service.by_bearer(between)
    assert await service.by_secret(client.id, secret) is None


async def test_disabling_and_enabling_again_brings_no_old_token_back(service: IdentityService):
    client, _ = await add_client(service, ACME)
    token = (await service.issue(client)).token
    for status in (Status.DISABLED, Status.ACTIVE):
        await service.accounts.change(SOMEBODY, CLIENTS, OWNER, client.id, Change(status=status))
    with pytest.raises(InvalidToken):
        await service.by_bearer(token)


async def test_another_process_hears_of_a_disabled_client_within_the_stated_time(
    platform: Platform, identity_settings: Settings
):
    client, _ = await platform.client(ACME)
    token = (await platform.identity.issue(client)).token
    other = IdentityService(app=platform.services.app, operator=platform.services.operator, settings=identity_settings)
    await other.keys.open()
    await other.by_bearer(token)
    await platform.identity.accounts.change(SOMEBODY, CLIENTS, OWNER, client.id, Change(status=Status.DISABLED))
    await asyncio.sleep(CACHE_S + 0.1)
    with pytest.raises(InvalidToken):
        await other.by_bearer(token)
    other.passwords.close()


async def test_a_rotated_secret_and_the_one_before_both_work_until_the_overlap_is_over(
    service: IdentityService, clock: HeldClock
):
    client, old = await add_client(service, ACME)
    token = (await service.issue(client)).token
    _, new = await service.accounts.rotate_secret(SOMEBODY, OWNER, client.id, overlap=timedelta(hours=1))
    assert await service.by_secret(client.id, old)
    assert await service.by_secret(client.id, new)
    await service.by_bearer(token)
    clock.move(hours=1)
    assert await service.by_secret(client.id, old) is None
    assert await service.by_secret(client.id, new)
    # A second rotation does not lengthen the life of what was ending.
    _, newest = await service.accounts.rotate_secret(SOMEBODY, OWNER, client.id, overlap=timedelta(hours=9))
    assert await service.by_secret(client.id, old) is None
    shown = await service.accounts.client(OWNER, client.id)
    assert len(shown.secrets) == 2
    assert await service.by_secret(client.id, newest)


async def _key(service: IdentityService, **more: object) -> tuple[model.ApiKey, str]:
    return await service.accounts.add_key(SOMEBODY, OWNER, name="gate", rights=Rights(Role.INTEGRATION), **more)


async def test_an_api_key_speaks_for_itself_until_it_is_disabled_or_over(service: IdentityService, clock: HeldClock):
    key, text = await _key(service, expires_at=clock() + timedelta(days=1))
    principal = await service.by_bearer(text)
    assert (principal.kind, principal.id, principal.tenant, principal.expires_at) == (
        "key",
        key.id,
        ACME,
        key.expires_at,
    )
    assert (await service.accounts.show(KEYS, OWNER, key.id)).last_used_at == clock()
    await service.accounts.change(SOMEBODY, KEYS, OWNER, key.id, Change(status=Status.DISABLED))
    assert await _reason(service, text) == "key_disabled"
    _, short = await _key(service, expires_at=clock() + timedelta(minutes=1))
    await service.by_bearer(short)
    clock.move(minutes=1)
    assert await _reason(service, short) == "key_expired"


async def test_no_altered_api_key_passes(service: IdentityService):
    key, text = await _key(service)
    _, other = await _key(service)
    secret, others_secret = text[-43:], other[-43:]
    last = "A" if secret[-1] != "A" else "B"
    for forged in (
        f"mk_{key.id}_{others_secret}",
        f"mk_{key.id}_{secret[:-1]}{last}",
        f"mk_{key.id}_{secret[:-1]}",
        f"mk_{key.id}_{'A' * 43}",
        f"mk_{key.id}_",
        f"mk_{key.id}",
        f"mk_{'0' * 22}_{secret}",
        f"mk_{key.id.upper()}_{secret}",
        f"mk__{secret}",
        f"MK_{key.id}_{secret}",
        text + "\n",
        "mk_'--_" + secret,
    ):
        with pytest.raises(InvalidToken):
            await service.by_bearer(forged)
    assert (await service.by_bearer(text)).id == key.id


async def test_a_session_ends_when_its_user_is_disabled_demoted_or_gets_another_password(service: IdentityService):
    accounts = service.accounts

    async def change_by(change: Change) -> None:
        await accounts.change(SOMEBODY, USERS, OWNER, user.id, change)

    async def another_password() -> None:
        await accounts.set_password(SOMEBODY, OWNER, user.id, PASSWORD)

    for n, end in enumerate(
        (
            lambda: change_by(Change(status=Status.DISABLED)),
            lambda: change_by(Change(role=Role.VIEWER)),
            another_password,
        )
    ):
        user = await add_user(service, ACME, f"ann{n}@example.com", Role.DISPATCHER)
        cookie, session, _ = await service.logins.login(user.email, PASSWORD, ACME, ip="192.0.2.1")
        assert await service.still_valid([session.principal]) == [True]
        await end()
        with pytest.raises(InvalidToken):
            await service.by_session(cookie)
        assert await service.still_valid([session.principal]) == [False]
    _, again, _ = await service.logins.login(user.email, PASSWORD, ACME, ip="192.0.2.1")
    assert await service.still_valid([again.principal, session.principal]) == [True, False]


async def test_what_was_valid_is_asked_again_for_each_kind(service: IdentityService, clock: HeldClock):
    user = await add_user(service, ACME, "ann@example.com", Role.VIEWER)
    _, session, _ = await service.logins.login(user.email, PASSWORD, None, ip="192.0.2.1")
    client, _ = await add_client(service, ACME)
    token = await service.by_bearer((await service.issue(client)).token)
    _, text = await _key(service)
    key = await service.by_bearer(text)
    everyone = [session.principal, token, key]
    assert await service.still_valid(everyone) == [True, True, True]
    assert await service.still_valid([]) == []
    elsewhere = model.principal("client", await service.accounts.show(CLIENTS, OWNER, client.id))
    foreign = [type(elsewhere)(**{name: getattr(elsewhere, name) for name in elsewhere.__slots__} | {"tenant": ZETA})]
    assert await service.still_valid(foreign) == [False]
    await service.accounts.change(SOMEBODY, USERS, OWNER, user.id, Change(name="Ann"))
    assert await service.still_valid(everyone) == [True, True, True], "a name is no right"
    clock.move(seconds=60)
    assert await service.still_valid(everyone) == [True, False, True], "a token ends with its time"
    await service.accounts.change(SOMEBODY, KEYS, OWNER, key.id, Change(role=Role.VIEWER))
    assert await service.still_valid(everyone) == [True, False, False]


@pytest.mark.parametrize(
    ("form", "auth", "status", "error"),
    [
        ({"grant_type": "password"}, True, 400, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, False, 401, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": "x", "client_secret": "y"}, False, 401, "invalid_client"),
        ({"grant_type": "client_credentials", "client_secret": "y"}, True, 400, "invalid_request"),
        ({"grant_type": "client_credentials", "client_id": "another"}, True, 401, "invalid_client"),
        ({"grant_type": "client_credentials", "scope": "nothing:at_all"}, True, 400, "invalid_scope"),
    ],
)
async def test_a_token_request_fails_as_rfc_6749_says(platform: Platform, form, auth, status, error):
    client, secret = await platform.client(ACME)
    async with platform.http() as http:
        answer = await http.post("/oauth/token", data=form, auth=(client.id, secret) if auth else None)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error", "error_description"}


async def test_a_token_request_that_is_no_form_or_says_things_twice_is_refused(platform: Platform):
    client, secret = await platform.client(ACME)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    async with platform.http() as http:
        for body, headers in (
            (b"grant_type=client_credentials&grant_type=client_credentials", form),
            (b"grant_type=client_credentials&scope=\xff", form),
            (b"&".join(b"a%d=1" % n for n in range(100)), form),
            (b"grant_type=", form),
            (b'{"grant_type": "client_credentials"}', {"Content-Type": "application/json"}),
            (b"grant_type=client_credentials", {}),
        ):
            answer = await http.post("/oauth/token", content=body, headers=headers, auth=(client.id, secret))
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), body[:40]
        for authorization in ("Basic", "Basic !!!", "Basic eA==", "Bearer x", "Basic /w=="):
            headers = {**form, "Authorization": authorization}
            answer = await http.post("/oauth/token", content=b"grant_type=client_credentials", headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), authorization


async def test_the_metadata_leads_to_a_token_and_to_the_key_that_checks_it(platform: Platform):
    client, secret = await platform.client(ACME)
    async with platform.http() as http:
        about = (await http.get("/.well-known/oauth-authorization-server")).json()
        form = {"grant_type": about["grant_types_supported"][0]}
        token = (await http.post(about["token_endpoint"], data=form, auth=(client.id, secret))).json()["access_token"]
        published = (await http.get(about["jwks_uri"])).json()["keys"]
    forge = await _forge(platform.identity, token)
    assert forge.claims["iss"] == about["issuer"]
    assert [key["kid"] for key in published] == [forge.header["kid"]]
    assert published[0].keys() == {"kty", "crv", "x", "kid", "alg", "use"}, "a private part must not be there"
    assert set(about["scopes_supported"]) == {scope.value for scope in Scope}


async def test_one_look_at_the_store_serves_everybody_who_asks_at_once(service: IdentityService):
    client, _ = await add_client(service, ACME)
    token = (await service.issue(client)).token
    looks = 0
    load = service._clients._load

    async def counted(client_id: str):
        nonlocal looks
        looks += 1
        return await load(client_id)

    service._clients._load = counted
    principals = await asyncio.gather(*(service.by_bearer(token) for _ in range(200)))
    assert {principal.id for principal in principals} == {client.id}
    assert looks == 1


async def _reason(service: IdentityService, token: str) -> str:
    with pytest.raises(InvalidToken) as refused:
        await service.by_bearer(token)
    return refused.value.reason


def test_the_command_line_is_nobody_elses_actor():
    assert Actor.command_line("x" * 100).principal.id == "cli:" + "x" * 60
    assert keys.ALGORITHM == "EdDSA"

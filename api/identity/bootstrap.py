"""The first operator client, which exists before anybody can ask the API for one."""

import secrets

from api.access import Role
from api.identity import model
from api.identity.accounts import facts, hash_of
from api.identity.errors import InvalidAccount
from api.identity.model import OPERATORS, Actor, Client, Rights, Status
from api.identity.store import CLIENTS, IdentityStore
from core.clock import Clock, utc_now
from core.db import Database

_SECRET_MIN = 32


async def ensure_operator_client(
    operator: Database | str, client_id: str, secret: str, *, name: str = "local stack", clock: Clock = utc_now
) -> bool:
    """See to it that an operator client `client_id` has the secret `secret`; whether anything had to be done.

    `operator` is the milkrun_operator login. A client with another secret gets this one instead of what it had, whose
    tokens are void; a disabled one stays disabled, since somebody decided so. Safe to run at each start and in several
    places at once. Raises InvalidAccount for a secret that could be guessed.
    """
    if isinstance(operator, str):
        async with Database(operator, pool_size=1) as database:
            return await ensure_operator_client(database, client_id, secret, name=name, clock=clock)
    if len(secret) < _SECRET_MIN:
        raise InvalidAccount(f"the secret of an operator client has at least {_SECRET_MIN} characters")
    store, now, by = IdentityStore(), clock(), Actor.command_line("milkrun up")
    wanted = Client(
        owner=OPERATORS,
        id=client_id,
        name=name,
        rights=Rights(Role.OPERATOR),
        created_at=now,
        updated_at=now,
        created_by=by.principal.id,
    )
    async with operator.unscoped(reason="operators' clients belong to no tenant") as tx:
        is_new = await store.add_client(tx, wanted)
        client = await store.load(tx, CLIENTS, OPERATORS, client_id, lock=True)
        assert client is not None
        if client.status is not Status.ACTIVE or hash_of(secret) in await store.secret_hashes(tx, client, now):
            return False
        if not is_new:
            await store.end_secrets(tx, client, until=now, at=now)
            client = model.renewed(client, now)
            await store.save(tx, CLIENTS, client)
        await store.add_secret(tx, client, secrets.token_hex(8), hash_of(secret), now)
        action = "client.created" if is_new else "client.secret_rotated"
        await store.add_audit(tx, OPERATORS, by, now, action=action, target=client_id, before=None, after=facts(client))
    return True

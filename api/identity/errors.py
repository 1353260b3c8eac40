"""What identity refuses, each with the code that clients rely on."""

from collections.abc import Sequence

from api.http.errors import Unauthorized
from core.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable
from core.tenancy import TenantId


class InvalidToken(Unauthorized):
    """An access token, API key or session that is not good (any more); `reason` is for metrics and logs alone."""

    code = "invalid_token"

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class LoginFailed(Unauthorized):
    """Unknown address, wrong password, disabled or locked: one answer, so that it tells nothing."""

    code = "login_failed"


class ChooseTenant(Conflict):
    """Address and password are right in several tenants; the caller says which one he means."""

    code = "tenant_required"

    def __init__(self, message: str, *, tenants: Sequence[TenantId | None]) -> None:
        super().__init__(message)
        self.tenants = tenants


class GrantRefused(Forbidden):
    """Nobody hands out, changes or takes over more rights than he has."""

    code = "grant_refused"


class InvalidAccount(Invalid):
    """A role, scope, site, address, name, password or end that an account cannot have."""

    code = "invalid_account"


class UserNotFound(NotFound):
    """No such user in this tenant; another tenant's reads the same."""

    code = "user_not_found"


class ClientNotFound(NotFound):
    """No such API client in this tenant; another tenant's reads the same."""

    code = "client_not_found"


class KeyNotFound(NotFound):
    """No such API key in this tenant; another tenant's reads the same."""

    code = "api_key_not_found"


class UserExists(Conflict):
    """The tenant has a user with this e-mail address."""

    code = "user_exists"


class LastAdmin(Conflict):
    """The tenant would be left without anybody who can manage it."""

    code = "last_admin"


class NotAPerson(Conflict):
    """Only a user who signs in has this: a password, a session."""

    code = "not_a_person"


class InvalidKeys(Unavailable):
    """The folder of signing keys cannot be used; the message says which file and why."""

    code = "invalid_signing_keys"

"""docs/identity.md says what the code does."""

import re

from api.access import ROLE_SCOPES, Role, Scope
from api.identity import model
from api.identity.keys import LEEWAY_S, RESCAN_S
from core.settings import IdentitySettings
from tests.house.tree import ROOT

PAGE = (ROOT / "docs/identity.md").read_text(encoding="utf-8")


def test_the_table_of_roles_and_scopes_is_the_codes():
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    head = next(line for line in lines if line.startswith("| scope |"))
    roles = [Role(name) for name in re.findall(r"`(\w+)`", head)]
    rows = {line.split("|")[1].strip(" `"): line.split("|")[2:-1] for line in lines if re.match(r"\| `\w+:\w+` ", line)}
    said = {role: {Scope(scope) for scope, cells in rows.items() if cells[n].strip()} for n, role in enumerate(roles)}
    assert said == {role: set(scopes) for role, scopes in ROLE_SCOPES.items()}
    assert set(rows) == set(Scope)


def test_the_numbers_on_the_page_are_the_defaults():
    settings = IdentitySettings()
    for said in (
        f"{settings.session_idle_s // 3600} hours after it was last used",
        f"{settings.session_max_s // 86_400} days after it began",
        f"{model.PASSWORD_MIN} to {model.PASSWORD_MAX} characters",
        f"{settings.login_attempts} wrong passwords in a row lock the account for {settings.lock_s // 60} minutes",
        f"{settings.address_attempts} failed attempts in {settings.address_window_s // 60} minutes",
        f"good for {settings.token_ttl_s // 60} minutes",
        f"works for {settings.secret_overlap_hours:g} hours more",
        f"more than {LEEWAY_S} s off",
        f"within {RESCAN_S:g} seconds",
        f"for {settings.key_lead_s / 60:g} minutes",
    ):
        assert said in " ".join(PAGE.split()), said

"""A row for each command that has --as: its words against a tenant that is not the actor's.

Names in braces are filled in: with those of the operator's tenant, or with some that do not exist,
of the same length.  A command without --as has its reason here.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """Words after the command's name.

    `lists`: an administrator of another tenant gets a list without anything of this one; others
    are refused.  `code`: exit code of that list.
    """

    words: str = ""
    lists: bool = False
    code: int = 0


_TENANT = "--tenant {tenant}"
_WHY = "--reason x"

ROWS: Mapping[str, Row] = {
    "account find": Row(f"--rpps 10000001916 {_TENANT}"),
    "account group add": Row(f"new {_TENANT}"),
    "account group list": Row(_TENANT),
    "account group member add": Row(f"bloc {{own}} {_TENANT}"),
    "account group member list": Row(f"bloc {_TENANT}"),
    "account group member remove": Row(f"bloc {{login}} {_TENANT}"),
    "account group remove": Row(f"bloc {_TENANT}"),
    "account list": Row(lists=True),
    "account resume": Row("{login}"),
    "account show": Row("{login}"),
    "account suspend": Row(f"{{login}} {_WHY}"),
    "audit export": Row(),
    "audit search": Row(lists=True),
    "audit show": Row("9.9", lists=True, code=1),
    "audit verify": Row(),
    "break-glass agree": Row("{access}"),
    "break-glass end": Row("{access}"),
    "break-glass list": Row(lists=True),
    "break-glass open": Row(f"{{box}} {_WHY}"),
    "domain add": Row("new.mssante.fr"),
    "domain list": Row(lists=True),
    "domain quota": Row("{domain} 1T"),
    "domain remove": Row("{domain} --yes"),
    "grant end": Row("{grant}"),
    "grant give": Row("{box} --account {own} --right read"),
    "grant list": Row(lists=True),
    "mailbox add": Row("neu@{domain} --type PER --rpps 10000001916"),
    "mailbox alias add": Row("{box} coeur2@{domain}"),
    "mailbox alias end": Row("{box} coeur@{domain}"),
    "mailbox alias list": Row("{box}"),
    "mailbox close": Row(f"{{box}} {_WHY} --yes"),
    "mailbox delete": Row(f"{{box}} {_WHY} --yes"),
    "mailbox folder add": Row("{box} Projets"),
    "mailbox folder list": Row(f"{{box}} --names {_WHY}"),
    "mailbox folder remove": Row("{box} Projets --yes"),
    "mailbox folder rename": Row("{box} Projets Archives"),
    "mailbox import": Row("{csv}"),
    "mailbox keep": Row(f"{{box}} --until 2099-01-01 {_WHY}"),
    "mailbox list": Row(lists=True),
    "mailbox quota": Row("{box} 1G"),
    "mailbox restore": Row(f"{{box}} {_WHY}"),
    "mailbox resume": Row("{box}"),
    "mailbox sent": Row(lists=True),
    "mailbox set": Row("{box} --description x"),
    "mailbox show": Row("{box}"),
    "mailbox suspend": Row(f"{{box}} {_WHY}"),
    "message delete": Row("{message} --mailbox {box}"),
    "message export": Row(f"{{box}} {_WHY}"),
    "message flag": Row("{message} --mailbox {box} --add seen"),
    "message list": Row(f"{{box}} --subjects {_WHY}"),
    "message move": Row("{message} Archive --mailbox {box}"),
    "message restore": Row("{message} --mailbox {box}"),
    "message show": Row(f"{{message}} --content {_WHY}"),
    "queue drop": Row(f"--all {_WHY} --yes"),
    "queue hold": Row(f"--all {_WHY}"),
    "queue list": Row(lists=True),
    "queue pause": Row(f"--all {_WHY}"),
    "queue release": Row("--all"),
    "queue resume": Row("--all"),
    "queue retry": Row("--all"),
    "queue rules add": Row(f"--all {_WHY}"),
    "queue rules list": Row(),
    "queue rules remove": Row("1"),
    "queue show": Row("1", lists=True, code=1),
    "queue summary": Row(lists=True),
    "report departure": Row("{login}"),
    "report one-factor": Row(lists=True),
    "report unreadable": Row(lists=True, code=1),  # the other tenant's own mailbox is
    "report unused": Row(lists=True),
    "role end": Row("{role}"),
    "role give": Row(f"{{login}} manager {_TENANT}"),
    "role list": Row(lists=True),
    "search": Row(lists=True),
    "team absent": Row("{box}"),
    "team begin": Row("{box} {members}"),
    "team end": Row("{box}"),
    "tenant add": Row("new"),
    "tenant list": Row(lists=True),
    "tenant rename": Row("{tenant} --title x"),
    "tenant show": Row("{tenant}"),
    "tenant take": Row("clinique {domain}"),
    "trace": Row("{message}", lists=True, code=1),
}

_PERSON = "makes or names a person: whoever may do it could act as anybody (decision 83)"
_OWN = "the owner logs in for it anyway, with both factors"
_MACHINE = "about this machine and its files, which are the Unix user's"
_LIST = "the white list is public, and the same for all tenants"

WITHOUT: Mapping[str, str] = {
    "account add": _PERSON,
    "account close": _PERSON,
    "account export": "all that is kept of a person, for that person alone (decision 83)",
    "account identifier add": _PERSON,
    "account identifier end": _PERSON,
    "account import": _PERSON,
    "account rename": _PERSON,
    "audit anchor": _MACHINE,
    "audit key": _MACHINE,
    "config check": _MACHINE,
    "config reference": _MACHINE,
    "credential add app-password": _OWN,
    "credential add certificate": _PERSON,
    "credential add oidc": _PERSON,
    "credential add password": _PERSON,
    "credential add recovery": _PERSON,
    "credential add totp": _PERSON,
    "credential list": _PERSON,
    "credential revoke": _PERSON,
    "db current": _MACHINE,
    "db upgrade": _MACHINE,
    "demo": _MACHINE,
    "init": _MACHINE,
    "keys list": _MACHINE,
    "keys rotate": _MACHINE,
    "machine list": _MACHINE,
    "machine retire": _MACHINE,
    "message send": "needs the right to send, which the door for submission will ask for",
    "serve": _MACHINE,
    "store check": _MACHINE,
    "store gc": _MACHINE,
    "store rewrite": _MACHINE,
    **dict.fromkeys(
        (
            *("whitelist diff", "whitelist explain peer", "whitelist explain server"),
            *("whitelist history", "whitelist refresh", "whitelist status", "whitelist verify"),
        ),
        _LIST,
    ),
}

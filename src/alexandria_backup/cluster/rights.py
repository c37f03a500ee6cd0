"""What grants a right in a cluster, as commands to type."""

import re
import shlex

from alexandria_backup.cluster.kinds import Wanted

_ACCOUNT = re.compile(r'User "system:serviceaccount:([a-z0-9.-]+):([a-z0-9.-]+)"')
_USER = re.compile(r'User "([^"\s]+)"')


def rule_for(wanted: Wanted, said: str = "") -> str:
    """Return the commands that grant what is wanted; who is refused stands in what was said."""
    role = f"alexandria-{wanted.verb}-{wanted.kind.plural}"
    namespace = ("--namespace", wanted.namespace or "default")
    name = ("--resource-name", wanted.name) if wanted.name else ()
    create = shlex.join(
        (
            *("kubectl", "create", "role", role, f"--verb={wanted.verb}"),
            *(f"--resource={wanted.resource}", *name, *namespace),
        )
    )
    account, user = _ACCOUNT.search(said), _USER.search(said)
    if account:
        subject = shlex.quote(f"--serviceaccount={account[1]}:{account[2]}")
    elif user:
        subject = shlex.quote(f"--user={user[1]}")
    else:
        subject = "--serviceaccount=NAMESPACE:NAME"
    bind = shlex.join(("kubectl", "create", "rolebinding", role, f"--role={role}"))
    return f"{create} && {bind} {subject} {shlex.join(namespace)}"

"""The optional libraries: nothing needs them until a cluster or Vault is used."""

import subprocess
import sys
from importlib.metadata import requires

#: Fails where one of them is imported; the last words are the program's.
_WITHOUT = """
import sys
for name in ("kr8s", "hvac", "yaml", "requests"):
    sys.modules[name] = None
from alexandria_backup.cli.main import invoke
sys.exit(invoke(sys.argv[1:]))
"""


def without_extras(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _WITHOUT, *words], capture_output=True, text=True, check=False
    )


def test_the_program_works_without_them() -> None:
    shown = without_extras("restore", "--help")
    assert (shown.returncode, shown.stderr) == (0, "")


def test_it_says_what_to_install_where_one_is_needed(tmp_path: object) -> None:
    asked = without_extras("--values", "/dev/null", "run", "list")
    assert "Traceback" not in asked.stderr
    vault = subprocess.run(
        [sys.executable, "-c", _WITHOUT, "doctor"],
        capture_output=True,
        text=True,
        check=False,
        env={
            "HOME": "/nonexistent",
            "ALEXANDRIA_VAULT__ENABLED": "true",
            "ALEXANDRIA_STATE_DIR": str(tmp_path),
        },
    )
    assert "pip install 'alexandria-backup[vault]'" in vault.stdout


def test_what_vault_needs_is_installed_with_it() -> None:
    """Helm values name it, and a host that asks Vault alone has no `kubernetes` extra."""
    names = {
        requirement.partition(";")[0].strip().lower()
        for requirement in requires("alexandria-backup") or ()
        if "extra == 'vault'" in requirement.replace('"', "'")
    }
    assert {name.partition(">")[0] for name in names} == {"hvac", "pyyaml"}

"""``aos_core.check_installation()``: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version

from .database import Database, Row
from .errors import InstallationError, ProviderError
from .net.client import Client
from .net.message import HttpRequest, Limits
from .net.wait import run
from .secrets import master_key
from .store import installation as statements
from .store.secrets import key_usage

Finding = tuple[str, str, str, str | None]

#: Packages of the private directory beside the server, and what each is for.
PACKAGES = {
    "httptools": "calls to models",
    "fastjsonschema": "checks of tool arguments",
    "openai": "the sdk carrier",
    "anthropic": "the sdk carrier",
    "requests": "HTTP tools of the outside worker",
}


def check(database: Database) -> list[Finding]:
    """Look at every part of the installation.

    Returns:
        ``(component, status, detail, hint)`` each; status: ok, missing, unreachable.
    """
    findings: list[Finding] = [("python", "ok", sys.version.split()[0], None)]
    findings.extend(_extension(e["name"], e["version"]) for e in statements.extensions(database))
    findings.extend(_package(name, use) for name, use in PACKAGES.items())
    findings.append(_master_key(database))
    findings.extend(_provider(database, provider) for provider in statements.providers(database))
    findings.extend(
        _lost_function(s["name"], s["function_name"]) for s in statements.lost_functions(database)
    )
    return findings


def _extension(name: str, installed: str | None) -> Finding:
    if installed is not None:
        return f"extension {name}", "ok", installed, None
    hint = (
        "Only for workers and maintenance that pg_cron keeps going: add pg_cron to"
        " shared_preload_libraries, restart, CREATE EXTENSION pg_cron."
        if name == "pg_cron"
        else f"CREATE EXTENSION {name};"
    )
    return f"extension {name}", "missing", "not created in this database", hint


def _lost_function(skill: str, function: str) -> Finding:
    return (
        f"skill {skill}",
        "missing",
        f"function {function} does not exist any more",
        "Create the function again, or set is_active of the skill to false in aos_skills.skill.",
    )


def _package(name: str, use: str) -> Finding:
    try:
        return f"package {name}", "ok", f"{version(name)}, for {use}", None
    except PackageNotFoundError:
        return f"package {name}", "missing", f"for {use}", "Run make install for this server."


def _master_key(database: Database) -> Finding:
    """Whether stored secrets can be opened; what is in the file is not shown."""
    used = {row["key_id"]: row["sealed"] for row in key_usage(database)}
    sealed = sum(used.values())
    needed = f"secrets and ticket keys that need it: {sealed}"
    try:
        keys = [key.key_id for key in master_key.read()]
    except InstallationError as error:
        hint = error.hint if sealed else f"Only for secrets and ticket keys: {error.hint}"
        return "master key", "missing", f"{error.message}; {needed}", hint
    lost = [key_id for key_id in used if key_id not in keys]
    if lost:
        detail = f"{', '.join(lost)} not in {master_key.path()}; {needed}"
        hint = "Put the line back, below the first one, or set the secrets again."
        return "master key", "missing", detail, hint
    detail = f"{master_key.path()}, current key {keys[0]}; {needed}"
    if any(key_id != keys[0] for key_id in used):
        hint = "SELECT aos_meta.rotate_secrets() seals them all with the current key."
        return "master key", "ok", detail, hint
    return "master key", "ok", detail, None


def _provider(database: Database, provider: Row) -> Finding:
    component, base_url = f"provider {provider['provider']}", provider["base_url"]
    secret, variable = provider["secret_name"], provider["api_key_env"]
    if provider["secret_owner"] is not None:
        return component, "ok", f"key in the secret {secret} of {provider['secret_owner']}", None
    if variable is not None and os.environ.get(variable):
        return component, "ok", f"key in {variable}", None
    if variable is not None or secret is not None:
        places, ways = [], []
        if secret is not None:
            places.append(f"the secret {secret} is not stored")
            ways.append("Store it with aos_meta.set_secret")
        if variable is not None:
            places.append(f"{variable} is not in the server's environment")
            ways.append(f"set {variable} for the server and restart it")
        hint = ", or ".join(ways) + ", or drive agents of this provider from outside."
        return component, "missing", " and ".join(places), hint[0].upper() + hint[1:]
    # A provider without a key is a server of one's own: whether it is up costs nobody anything.
    try:
        response = run(
            Client().exchange(HttpRequest("GET", base_url), Limits(2.0, 2.0, 1 << 20)),
            database.interrupts,
        )
    except ProviderError as error:
        hint = f"Start the server at {base_url}, or correct base_url in aos_meta.provider."
        return component, "unreachable", error.message, hint
    return component, "ok", f"{base_url} answers (HTTP {response.status})", None

"""``aos_core.check_installation()``: what is there, what is missing, and what to do about it."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version

from .database import Database
from .errors import ProviderError
from .net.client import Client
from .net.message import HttpRequest, Limits
from .net.wait import run
from .store import installation as statements

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
    findings.extend(
        _provider(database, p["provider"], p["base_url"], p["api_key_env"])
        for p in statements.providers(database)
    )
    findings.extend(
        _lost_function(s["name"], s["function_name"]) for s in statements.lost_functions(database)
    )
    return findings


def _extension(name: str, installed: str | None) -> Finding:
    if installed is not None:
        return f"extension {name}", "ok", installed, None
    hint = (
        "Only for SQL on a timetable: add pg_cron to shared_preload_libraries, restart,"
        " CREATE EXTENSION pg_cron."
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


def _provider(database: Database, name: str, base_url: str, variable: str | None) -> Finding:
    component = f"provider {name}"
    if variable is not None:
        if os.environ.get(variable):
            return component, "ok", f"key in {variable}", None
        return (
            component,
            "missing",
            f"{variable} is not in the server's environment",
            f"Set {variable} for the server and restart it, or drive agents of this provider"
            " from outside.",
        )
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

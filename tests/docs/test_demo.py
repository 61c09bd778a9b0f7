"""The READMEs show what the demo prints; here a scripted model says what the real one said."""

from __future__ import annotations

import re
import subprocess

import pytest

from cluster import CHECKOUT, Cluster, pg_config
from servers.scripted_provider import Script, ScriptedProvider, scripted_provider

__all__ = ["scripted_provider"]  # a fixture

#: What differs from run to run: ids, tokens, seconds, and the widths that follow from them.
_VARYING = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "ID"),
    (re.compile(r'"call_id":"[^"]+"'), '"call_id":"CALL"'),
    (re.compile(r"\|\s*\d*\s*\|\s*\d*\s*\|\s*\d+\.\d+$"), "| USAGE"),
    (re.compile(r"-{2,}"), "--"),
    (re.compile(r"\s+"), " "),
)


def _plain(output: str) -> list[str]:
    lines = []
    for line in output.strip().splitlines():
        for pattern, word in _VARYING:
            line = pattern.sub(word, line.rstrip())
        lines.append(line)
    return lines


@pytest.mark.parametrize("page", ["README.md", "README_KO.md"])
def test_a_readme_shows_what_the_demo_prints(
    page: str, cluster: Cluster, scripted_provider: ScriptedProvider
) -> None:
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    shown = re.search(r"demo transcript: begin.*?```console\n(.*?)\n```", text, re.DOTALL)
    assert shown is not None
    script = Script(scripted_provider, "qwen2.5-coder-1.5b")
    script.call(("order_status", {"order_id": 1002})).say("DHL has tracking number JD014600003.")
    with cluster.database("demo_of_the_readme") as database:
        printed = subprocess.run(
            [
                f"{pg_config('--bindir')}/psql", "-X", "-q", "-d", database.conninfo(),
                "-v", "provider=local",
                "-v", f"base_url={scripted_provider.openai_url.removesuffix('/v1')}",
                "-f", "examples/demo.sql",
            ],
            cwd=CHECKOUT, capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert printed.stderr == ""
    assert _plain(printed.stdout) == _plain(shown[1])
    assert script.pending() == []

#!/usr/bin/env python3
"""Write the model presets: sql/aos_meta/presets.sql and the tables of docs/models.md.

Usage:
    scripts/build_presets.py                            write both from scripts/presets.facts.json
    scripts/build_presets.py --check                    only say whether both are up to date
    scripts/build_presets.py --refresh --as-of 2026-11-23 [--wheels DIRECTORY]
        read the facts anew from the packages pinned in scripts/presets.requirements.txt, then write

Which models are presets is decided in preset_rows.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import preset_facts
from preset_facts import PRICES, PresetError
from preset_rows import CHOSEN, PROVIDERS, presets_of

ROOT = Path(__file__).resolve().parent.parent
FACTS = ROOT / "scripts" / "presets.facts.json"
SQL = ROOT / "sql" / "aos_meta" / "presets.sql"
DOCS = ROOT / "docs" / "models.md"


def quote(value: str | None) -> str:
    """Write a text as an SQL literal."""
    return "null" if value is None else "'" + value.replace("'", "''") + "'"


def packages_of(facts: Mapping[str, Any]) -> str:
    """Name the packages that the facts come from."""
    pairs = (pin.rsplit("-", 1) for pin in facts["packages"])
    return " and ".join(f"{name.replace('_', '-')} {version}" for name, version in pairs)


def sql_rows(rows: list[list[str]]) -> str:
    """Join rows to the list after VALUES."""
    return ",\n".join(f"    ({', '.join(row)})" for row in rows) + ";\n"


def render_sql(facts: Mapping[str, Any]) -> str:
    """Write presets.sql."""
    providers = [
        [quote(provider), quote(driver), quote(url), quote(env and env.lower()), quote(env), "true"]
        for provider, driver, url, env in PROVIDERS
    ]
    models = [
        [quote(preset.model_id), quote(preset.name), quote(preset.provider), quote(preset.driver)]
        + [str(preset.context_window), str(preset.max_output_tokens or "null")]
        + [preset.prices.get(column, "null") for column, _, _ in PRICES]
        + [quote(json.dumps(preset.capabilities)), quote(json.dumps(preset.options)), "true"]
        for preset in presets_of(facts)
    ]
    return f"""\
-- Providers and models that every installation starts with, as of {facts["as_of"]}.
-- Written by scripts/build_presets.py; do not edit. Prices and limits are those of the packages
-- {packages_of(facts)}. To renew: docs/models.md, "How the presets are made".

insert into aos_meta.provider
    (provider, driver, base_url, secret_name, api_key_env, is_builtin)
values
{sql_rows(providers)}
-- Prices are US dollars for a million tokens.
insert into aos_meta.llm_model_registry
    (model_id, model_name, provider, driver, context_window, max_output_tokens,
     {", ".join(column for column, _, _ in PRICES)}, capabilities, options, is_builtin)
values
{sql_rows(models)}"""


def table_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """Write the table of docs/models.md, line by line."""
    yield f"Prices as of {facts['as_of']}, in US dollars for a million tokens."
    yield ""
    titles = "model, provider, driver, context, most output, input, cached, cache write, output"
    yield "| " + titles.replace(", ", " | ") + " |"
    yield "|---|---|---|--:|--:|--:|--:|--:|--:|"
    drivers = {row[0]: row[1] for row in PROVIDERS}
    for preset in presets_of(facts):
        cells = [f"`{preset.name}`", preset.provider, preset.driver or drivers[preset.provider]]
        cells += [f"{preset.context_window:,}", f"{preset.max_output_tokens or 0:,}"]
        cells += [preset.prices.get(column, "") for column, _, _ in PRICES]
        if preset.capabilities.get("embedding"):
            cells[2] = f"embedding, {preset.capabilities['dimensions']} dimensions"
        if not preset.max_output_tokens:
            cells[4] = ""
        # A star: the prices of long requests differ. Two: the vendor announced other prices.
        marks = "\\*" * ("price_tiers" in preset.options)
        marks += "\\*\\*" * ("price_changes" in preset.options)
        cells[5] += marks
        yield "| " + " | ".join(cells) + " |"


def render_docs(text: str, facts: Mapping[str, Any]) -> str:
    """Put the table into docs/models.md, between its two markers."""
    begin, end = "<!-- begin presets -->\n", "<!-- end presets -->\n"
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    return before + begin + "\n".join(table_lines(facts)) + "\n" + end + after


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if out of date")
    parser.add_argument("--refresh", action="store_true", help="read the facts anew")
    parser.add_argument("--as-of", default=date.today().isoformat(), help="day of the prices")
    parser.add_argument("--wheels", type=Path, help="directory that holds the pinned wheels")
    options = parser.parse_args(arguments)
    facts_text = FACTS.read_text() if FACTS.exists() else ""
    if options.refresh:
        with tempfile.TemporaryDirectory() as scratch:
            if not options.wheels:
                preset_facts.download(Path(scratch))
            facts = preset_facts.collect(
                options.wheels or Path(scratch),
                preset_facts.REQUIREMENTS.read_text(),
                CHOSEN,
                options.as_of,
            )
        facts_text = json.dumps(facts, indent=1) + "\n"
    facts = json.loads(facts_text)
    wanted = {
        FACTS: facts_text,
        SQL: render_sql(facts),
        DOCS: render_docs(DOCS.read_text(), facts),
    }
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{'out of date' if options.check else 'written'}: {path.relative_to(ROOT)}")
        if not options.check:
            path.write_text(wanted[path])
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except PresetError as error:
        sys.exit(f"build_presets: {error}")

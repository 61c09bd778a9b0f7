"""The worker's loop is never busy for long: other turns' claims have to be kept meanwhile."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cluster import CHECKOUT

#: Notes the thread in which a module is first looked for, and sends a request to nobody.
PROGRAM = """
import asyncio, importlib.abc, sys, threading
sys.path.insert(0, sys.argv[1])
found_in = {}
class Notes(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        found_in.setdefault(name, threading.current_thread())
sys.meta_path.insert(0, Notes())
from pgagentos.errors import ProviderError
from pgagentos.net.message import HttpRequest, Limits
from pgagentos.providers.base import Endpoint
from pgagentos.worker.model_clients import ModelClients
async def send():
    clients = ModelClients()
    assert sys.argv[2] not in found_in
    url = "http://127.0.0.1:9/v1"
    try:
        await clients.send(HttpRequest("POST", url), Endpoint("p", sys.argv[3], url), Limits())
    except ProviderError as error:
        print(error.kind)
    await clients.close()
asyncio.run(send())
print(found_in[sys.argv[2]] is threading.main_thread())
"""


@pytest.mark.parametrize(
    ("sdk", "driver"), [("openai", "openai_responses"), ("anthropic", "anthropic")]
)
def test_an_sdk_is_loaded_outside_the_loop(sdk: str, driver: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(CHECKOUT / "plpy_src"), sdk, driver],
        capture_output=True,
        text=True,
    )
    assert (done.stdout.split(), done.stderr) == (["connection", "False"], "")
